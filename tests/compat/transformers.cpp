// Attention and the transformer of 2017: options, names, masks, stacks made of one layer, parts of one's own, gradients.
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <iostream>
#include <string>
#include <tuple>

namespace nn = torch::nn;
using torch::Tensor;

void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

template <class Module>
Module filled(Module module) {
  module->to(torch::kDouble);
  torch::NoGradGuard no_grad;
  double start = 0;
  for (Tensor& parameter : module->parameters()) parameter.copy_(torch::sin(torch::arange(parameter.numel(), torch::kDouble) * 0.7 + (start += 1)).view_as(parameter) * 0.5);
  return module;
}

Tensor numbers(torch::IntArrayRef sizes, double start = 0) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return torch::cos(torch::arange(count, torch::kDouble) * 1.3 + start).view(sizes);
}

// In hundred-thousandths: sums of floats end differently.
Tensor rounded(const Tensor& x) { return torch::round(x.detach() * 1e5); }

void gradients(const nn::Module& module) {
  for (const auto& item : module.named_parameters()) {
    if (item.value().grad().defined()) std::cout << item.key() << " " << torch::round((item.value().grad() * torch::arange(1, item.value().numel() + 1, torch::kDouble).view_as(item.value())).sum() * 1e5).item<double>() << "\n";
    else std::cout << item.key() << " none\n";
  }
}

void attention() {
  auto layer = filled(nn::MultiheadAttention(nn::MultiheadAttentionOptions(6, 2)));
  std::cout << *layer << "\n";
  for (const auto& item : layer->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  const Tensor query = numbers({3, 2, 6});
  const Tensor key = numbers({4, 2, 6}, 1);
  const Tensor value = numbers({4, 2, 6}, 2);
  const auto [output, weights] = layer(query, key, value);
  std::cout << rounded(output) << "\n" << rounded(weights) << "\n";
  output.pow(2).sum().backward();
  gradients(*layer);
  const auto [same, none] = layer(query, key, value, Tensor(), /*need_weights=*/false);
  std::cout << torch::allclose(same, output) << none.defined() << "\n";

  const Tensor padding = torch::tensor({{0, 0, 0, 1}, {0, 1, 0, 0}}, torch::kBool);
  const auto [padded, padded_weights] = layer(query, key, value, padding);
  std::cout << rounded(padded) << "\n" << rounded(padded_weights) << "\n";
  const Tensor later = torch::triu(torch::full({3, 4}, -INFINITY, torch::kDouble), 1);
  const auto [causal, causal_weights] = layer(query, key, value, Tensor(), true, later);
  std::cout << rounded(causal[0]) << "\n" << rounded(causal_weights) << "\n";
  const auto [each, each_weights] = layer(query, key, value, Tensor(), true, later, /*average_attn_weights=*/false);
  std::cout << torch::allclose(each, causal) << " " << each_weights.sizes() << "\n";

  auto other = filled(nn::MultiheadAttention(nn::MultiheadAttentionOptions(6, 3).kdim(4).vdim(4).bias(false)));
  for (const auto& item : other->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  std::cout << rounded(std::get<0>(other(query, numbers({4, 2, 4}), numbers({4, 2, 4}, 1)))) << "\n";
  auto extra = filled(nn::MultiheadAttention(nn::MultiheadAttentionOptions(6, 2).add_bias_kv(true).add_zero_attn(true)));
  for (const auto& item : extra->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  const auto [longer, longer_weights] = extra(query, key, value, padding);
  std::cout << rounded(longer) << "\n" << longer_weights.sizes() << "\n";
  show("heads", [] { nn::MultiheadAttention(6, 4); });
}

void layers() {
  auto encoder = filled(nn::TransformerEncoderLayer(nn::TransformerEncoderLayerOptions(6, 2).dim_feedforward(5).dropout(0.0)));
  std::cout << *encoder << "\n";
  for (const auto& item : encoder->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  const Tensor src = numbers({3, 2, 6});
  const Tensor padding = torch::tensor({{0, 0, 1}, {0, 0, 0}}, torch::kBool);
  const Tensor later = nn::TransformerImpl::generate_square_subsequent_mask(3);
  std::cout << later << "\n" << rounded(encoder(src)) << "\n" << rounded(encoder(src, later.to(torch::kDouble), padding)) << "\n";
  encoder(src).pow(3).sum().backward();
  gradients(*encoder);

  auto decoder = filled(nn::TransformerDecoderLayer(nn::TransformerDecoderLayerOptions(6, 3).dim_feedforward(5).dropout(0.0).activation(torch::kGELU)));
  std::cout << *decoder << "\n";
  for (const auto& item : decoder->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  const Tensor tgt = numbers({3, 2, 6}, 3);
  std::cout << rounded(decoder(tgt, src)) << "\n" << rounded(decoder(tgt, src, later.to(torch::kDouble), Tensor(), Tensor(), padding)) << "\n";
  decoder(tgt, src).pow(3).sum().backward();
  gradients(*decoder);
  auto own = filled(nn::TransformerEncoderLayer(nn::TransformerEncoderLayerOptions(4, 1).dim_feedforward(3).dropout(0).activation([](const Tensor& x) { return torch::tanh(x) * 2; })));
  std::cout << rounded(own(numbers({2, 1, 4}))) << "\n";
  std::cout << own->options.d_model() << own->options.nhead() << own->options.dim_feedforward() << " " << own->options.dropout() << "\n";
}

void stacks() {
  // All layers of a stack begin as the one that it was made of.
  nn::TransformerEncoder encoder(nn::TransformerEncoderOptions(nn::TransformerEncoderLayerOptions(4, 2).dim_feedforward(3).dropout(0.0), 2).norm(nn::AnyModule(nn::LayerNorm(nn::LayerNormOptions({4})))));
  std::cout << *encoder << "\n";
  const auto parameters = encoder->named_parameters();
  std::cout << parameters.size() << torch::equal(parameters["layers.0.linear1.weight"], parameters["layers.1.linear1.weight"]) << "\n";
  filled(encoder);
  std::cout << rounded(encoder(numbers({2, 2, 4}))) << "\n";
  auto decoder = filled(nn::TransformerDecoder(nn::TransformerDecoderLayer(nn::TransformerDecoderLayerOptions(4, 1).dim_feedforward(3).dropout(0.0)), 2));
  std::cout << decoder->parameters().size() << "\n" << rounded(decoder(numbers({2, 2, 4}), numbers({3, 2, 4}, 1))) << "\n";

  torch::manual_seed(6);
  encoder->to(torch::kFloat);  // parameters are drawn in their own dtype
  encoder->reset_parameters();
  decoder->layers[0]->as<nn::TransformerDecoderLayer>()->reset_parameters();
  for (const auto& item : encoder->named_parameters()) std::cout << item.key() << " " << rounded(item.value().flatten()[0]).item<double>() << "\n";
  for (const auto& item : decoder->layers[0]->named_parameters()) std::cout << item.key() << " " << rounded(item.value().flatten()[0]).item<double>() << "\n";
  std::cout << encoder->norm.is_empty() << decoder->norm.is_empty() << "\n";

  auto model = filled(nn::Transformer(nn::TransformerOptions(4, 2, 1, 1).dim_feedforward(3).dropout(0.0)));
  std::cout << *model << "\n";
  for (const auto& item : model->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  const Tensor src = numbers({3, 2, 4});
  const Tensor tgt = numbers({2, 2, 4}, 1);
  const Tensor later = nn::TransformerImpl::generate_square_subsequent_mask(2).to(torch::kDouble);
  std::cout << rounded(model(src, tgt)) << "\n" << rounded(model(src, tgt, Tensor(), later)) << "\n";
  model(src, tgt, Tensor(), later).pow(3).sum().backward();
  gradients(*model);
  const auto copy = std::dynamic_pointer_cast<nn::TransformerImpl>(model->clone());
  std::cout << torch::equal(copy->forward(src, tgt), model(src, tgt)) << "\n";

  // An encoder of one's own.
  nn::TransformerEncoder small(nn::TransformerEncoderOptions(nn::TransformerEncoderLayerOptions(4, 1).dim_feedforward(2).dropout(0.0), 1));
  auto mixed = filled(nn::Transformer(nn::TransformerOptions(4, 2).num_decoder_layers(1).dim_feedforward(3).dropout(0.0).custom_encoder(nn::AnyModule(small))));
  std::cout << mixed->parameters().size() << "\n" << rounded(mixed(src, tgt)) << "\n";
  show("batch", [&] { model(src, numbers({2, 1, 4})); });
  show("features", [&] { model(src, numbers({2, 2, 3})); });
}

// The same numbers for a seed.
void beginnings() {
  torch::manual_seed(3);
  nn::MultiheadAttention attention(6, 2);
  std::cout << rounded(attention->in_proj_weight[0]) << rounded(attention->out_proj->weight[5]) << "\n";
  torch::manual_seed(4);
  nn::TransformerDecoderLayer layer(nn::TransformerDecoderLayerOptions(4, 2).dim_feedforward(3));
  std::cout << rounded(layer->linear2->weight) << rounded(layer->multihead_attn->in_proj_weight[11]) << "\n";
  torch::manual_seed(5);
  nn::Transformer model(nn::TransformerOptions(4, 2, 1, 2).dim_feedforward(3));
  for (const auto& item : model->named_parameters())
    if (item.value().dim() == 2) std::cout << item.key() << " " << rounded(item.value()[0][0]).item<double>() << "\n";
}

int main() {
  std::cout << std::boolalpha;  // printing some modules leaves it on in libtorch
  attention();
  layers();
  stacks();
  beginnings();
}
