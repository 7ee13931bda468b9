// Attention and transformers: masks, weights, layers and stacks, with parameters that no random stream decides.
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <string>

namespace nn = torch::nn;
namespace F = torch::nn::functional;
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

// Numbers of double precision that are the same everywhere.
void fill(nn::Module& module) {
  module.to(torch::kDouble);
  torch::NoGradGuard no_grad;
  double start = 0;
  for (Tensor& parameter : module.parameters()) parameter.copy_(torch::sin(torch::arange(parameter.numel(), torch::kDouble) * 0.7 + (start += 1)).view_as(parameter) * 0.5);
}

Tensor numbers(torch::IntArrayRef sizes, double start = 0) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return torch::cos(torch::arange(count, torch::kDouble) * 1.3 + start).view(sizes);
}

void attention() {
  nn::MultiheadAttention layer(nn::MultiheadAttentionOptions(4, 2));
  fill(*layer);
  const Tensor query = numbers({3, 2, 4});
  const Tensor key = numbers({5, 2, 4}, 1);
  const auto [output, weights] = layer(query, key, key);
  std::cout << *layer << "\n" << output << "\n" << weights << "\n";
  Tensor padding = torch::zeros({2, 5}, torch::kBool);
  padding[1].slice(0, 3).fill_(true);
  const Tensor mask = torch::triu(torch::ones({3, 5}), 1).to(torch::kBool);
  const auto [masked, masked_weights] = layer(query, key, key, padding, true, mask);
  std::cout << masked << "\n" << masked_weights << "\n";
  const auto [quiet, none] = layer(query, key, key, Tensor(), /*need_weights=*/false);
  std::cout << torch::allclose(quiet, output) << none.defined() << "\n";
  const auto [averaged, each] = layer(query, key, key, Tensor(), true, Tensor(), /*average_attn_weights=*/false);
  std::cout << each.sizes() << "\n";
  for (const auto& item : layer->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";

  nn::MultiheadAttention other(nn::MultiheadAttentionOptions(4, 2).kdim(3).vdim(5).bias(false).add_bias_kv(true).add_zero_attn(true));
  fill(*other);
  const auto [result, its_weights] = other(query, numbers({5, 2, 3}), numbers({5, 2, 5}));
  std::cout << result.sizes() << its_weights.sizes() << "\n" << result[0] << "\n";
  for (const auto& item : other->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  show("sizes", [&] { layer(query, numbers({5, 3, 4}), key); });
  show("heads", [&] { nn::MultiheadAttention(nn::MultiheadAttentionOptions(5, 2)); });
  show("no batch", [&] { layer(numbers({3, 4}), numbers({5, 4}), numbers({5, 4})); });
}

void layers() {
  nn::TransformerEncoderLayer encoder(nn::TransformerEncoderLayerOptions(4, 2).dim_feedforward(6).dropout(0));
  fill(*encoder);
  std::cout << *encoder << "\n" << encoder(numbers({3, 2, 4})) << "\n";
  nn::TransformerEncoderLayer with_gelu(nn::TransformerEncoderLayerOptions(4, 1).dim_feedforward(6).dropout(0).activation(torch::kGELU));
  fill(*with_gelu);
  const Tensor causal = nn::TransformerImpl::generate_square_subsequent_mask(3).to(torch::kDouble);
  std::cout << causal << "\n" << with_gelu(numbers({3, 2, 4}), causal) << "\n";
  nn::TransformerDecoderLayer decoder(nn::TransformerDecoderLayerOptions(4, 2).dim_feedforward(6).dropout(0));
  fill(*decoder);
  std::cout << *decoder << "\n" << decoder(numbers({3, 2, 4}), numbers({5, 2, 4}, 2), causal) << "\n";
}

void stacks() {
  nn::TransformerEncoder encoder(nn::TransformerEncoderOptions(nn::TransformerEncoderLayerOptions(4, 2).dim_feedforward(6).dropout(0), 2).norm(nn::AnyModule(nn::LayerNorm(nn::LayerNormOptions({4})))));
  fill(*encoder);
  std::cout << encoder(numbers({3, 2, 4})) << "\n" << encoder->parameters().size() << "\n";
  nn::Transformer whole(nn::TransformerOptions(4, 2, 1, 1).dim_feedforward(6).dropout(0));
  fill(*whole);
  whole->eval();
  const Tensor output = whole(numbers({3, 2, 4}), numbers({2, 2, 4}, 1));
  std::cout << output << "\n";
  output.pow(2).sum().backward();
  for (const auto& item : whole->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << " " << item.value().grad().abs().sum() << "\n";
  show("width", [&] { whole(numbers({3, 2, 5}), numbers({2, 2, 5})); });
  show("batches", [&] { whole(numbers({3, 2, 4}), numbers({2, 1, 4})); });
}

int main() {
  std::cout << std::boolalpha;
  attention();
  layers();
  stacks();
  std::cout << torch::scaled_dot_product_attention(numbers({1, 2, 3, 2}), numbers({1, 2, 4, 2}, 1), numbers({1, 2, 4, 2}, 2)) << "\n";
  std::cout << torch::scaled_dot_product_attention(numbers({1, 2, 3, 2}), numbers({1, 2, 3, 2}, 1), numbers({1, 2, 3, 2}, 2), {}, 0.0, /*is_causal=*/true) << "\n";
}
