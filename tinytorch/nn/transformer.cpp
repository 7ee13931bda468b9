// From the lesson modules/86_transformer_layers/transformer_layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/transformer.h"

#include <limits>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/more_init.h"

namespace tinytorch {

nn::TransformerDecoderOptions::TransformerDecoderOptions(TransformerDecoderLayer decoder_layer, std::int64_t num_layers) : decoder_layer_(std::move(decoder_layer)), num_layers_(num_layers) {}
nn::TransformerDecoderOptions::TransformerDecoderOptions(const TransformerDecoderLayerOptions& decoder_layer_options, std::int64_t num_layers)
    : TransformerDecoderOptions(TransformerDecoderLayer(decoder_layer_options), num_layers) {}

nn::TransformerEncoderLayerOptions::TransformerEncoderLayerOptions(std::int64_t d_model, std::int64_t nhead) : d_model_(d_model), nhead_(nhead) {}
nn::TransformerDecoderLayerOptions::TransformerDecoderLayerOptions(std::int64_t d_model, std::int64_t nhead) : d_model_(d_model), nhead_(nhead) {}
nn::TransformerOptions::TransformerOptions() = default;
nn::TransformerOptions::TransformerOptions(std::int64_t d_model, std::int64_t nhead) : d_model_(d_model), nhead_(nhead) {}
nn::TransformerOptions::TransformerOptions(std::int64_t d_model, std::int64_t nhead, std::int64_t num_encoder_layers, std::int64_t num_decoder_layers)
    : d_model_(d_model), nhead_(nhead), num_encoder_layers_(num_encoder_layers), num_decoder_layers_(num_decoder_layers) {}
nn::TransformerEncoderOptions::TransformerEncoderOptions(TransformerEncoderLayer encoder_layer, std::int64_t num_layers) : encoder_layer_(std::move(encoder_layer)), num_layers_(num_layers) {}
nn::TransformerEncoderOptions::TransformerEncoderOptions(const TransformerEncoderLayerOptions& encoder_layer_options, std::int64_t num_layers)
    : TransformerEncoderOptions(TransformerEncoderLayer(encoder_layer_options), num_layers) {}

nn::TransformerEncoderLayerImpl::TransformerEncoderLayerImpl(std::int64_t d_model, std::int64_t nhead) : TransformerEncoderLayerImpl(TransformerEncoderLayerOptions(d_model, nhead)) {}
nn::TransformerEncoderLayerImpl::TransformerEncoderLayerImpl(TransformerEncoderLayerOptions options_) : options(std::move(options_)) { TransformerEncoderLayerImpl::reset(); }
nn::TransformerDecoderLayerImpl::TransformerDecoderLayerImpl(std::int64_t d_model, std::int64_t nhead) : TransformerDecoderLayerImpl(TransformerDecoderLayerOptions(d_model, nhead)) {}
nn::TransformerDecoderLayerImpl::TransformerDecoderLayerImpl(TransformerDecoderLayerOptions options_) : options(std::move(options_)) { TransformerDecoderLayerImpl::reset(); }
nn::TransformerEncoderImpl::TransformerEncoderImpl(TransformerEncoderLayer encoder_layer, std::int64_t num_layers) : TransformerEncoderImpl(TransformerEncoderOptions(std::move(encoder_layer), num_layers)) {}
nn::TransformerEncoderImpl::TransformerEncoderImpl(TransformerEncoderOptions options_) : options(std::move(options_)) { TransformerEncoderImpl::reset(); }
nn::TransformerDecoderImpl::TransformerDecoderImpl(TransformerDecoderLayer decoder_layer, std::int64_t num_layers) : TransformerDecoderImpl(TransformerDecoderOptions(std::move(decoder_layer), num_layers)) {}
nn::TransformerDecoderImpl::TransformerDecoderImpl(TransformerDecoderOptions options_) : options(std::move(options_)) { TransformerDecoderImpl::reset(); }
nn::TransformerImpl::TransformerImpl(TransformerOptions options_) : options(std::move(options_)) { TransformerImpl::reset(); }

namespace {

Tensor activated(const Tensor& x, const nn::detail::transformer_activation_t& activation) {
  if (const auto* function = std::get_if<std::function<Tensor(const Tensor&)>>(&activation)) return (*function)(x);
  return std::holds_alternative<enumtype::kGELU>(activation) ? gelu(x) : relu(x);
}

nn::MultiheadAttention attention_of(std::int64_t d_model, std::int64_t nhead, double dropout) {
  return nn::MultiheadAttention(nn::MultiheadAttentionOptions(d_model, nhead).dropout(dropout));
}

nn::LayerNorm norm_of(std::int64_t d_model) { return nn::LayerNorm(nn::LayerNormOptions({d_model})); }

}  // namespace

void nn::TransformerEncoderLayerImpl::reset() {
  self_attn = register_module("self_attn", attention_of(options.d_model(), options.nhead(), options.dropout()));
  linear1 = register_module("linear1", Linear(options.d_model(), options.dim_feedforward()));
  dropout = register_module("dropout", Dropout(options.dropout()));
  linear2 = register_module("linear2", Linear(options.dim_feedforward(), options.d_model()));
  norm1 = register_module("norm1", norm_of(options.d_model()));
  norm2 = register_module("norm2", norm_of(options.d_model()));
  dropout1 = register_module("dropout1", Dropout(options.dropout()));
  dropout2 = register_module("dropout2", Dropout(options.dropout()));
}

void nn::TransformerEncoderLayerImpl::reset_parameters() {
  self_attn->_reset_parameters();
  linear1->reset_parameters();
  linear2->reset_parameters();
  norm1->reset_parameters();
  norm2->reset_parameters();
}

Tensor nn::TransformerEncoderLayerImpl::forward(const Tensor& src, const Tensor& src_mask, const Tensor& src_key_padding_mask) {
  const Tensor attended = std::get<0>(self_attn(src, src, src, src_key_padding_mask, /*need_weights=*/false, src_mask));
  const Tensor x = norm1(src + dropout1(attended));
  return norm2(x + dropout2(linear2(dropout(activated(linear1(x), options.activation())))));
}

void nn::TransformerDecoderLayerImpl::reset() {
  self_attn = register_module("self_attn", attention_of(options.d_model(), options.nhead(), options.dropout()));
  multihead_attn = register_module("multihead_attn", attention_of(options.d_model(), options.nhead(), options.dropout()));
  linear1 = register_module("linear1", Linear(options.d_model(), options.dim_feedforward()));
  dropout = register_module("dropout", Dropout(options.dropout()));
  linear2 = register_module("linear2", Linear(options.dim_feedforward(), options.d_model()));
  norm1 = register_module("norm1", norm_of(options.d_model()));
  norm2 = register_module("norm2", norm_of(options.d_model()));
  norm3 = register_module("norm3", norm_of(options.d_model()));
  dropout1 = register_module("dropout1", Dropout(options.dropout()));
  dropout2 = register_module("dropout2", Dropout(options.dropout()));
  dropout3 = register_module("dropout3", Dropout(options.dropout()));
}

void nn::TransformerDecoderLayerImpl::reset_parameters() {
  self_attn->_reset_parameters();
  multihead_attn->_reset_parameters();
  linear1->reset_parameters();
  linear2->reset_parameters();
  norm1->reset_parameters();
  norm2->reset_parameters();
  norm3->reset_parameters();
}

Tensor nn::TransformerDecoderLayerImpl::forward(Tensor tgt, const Tensor& memory, const Tensor& tgt_mask, const Tensor& memory_mask, const Tensor& tgt_key_padding_mask,
                                                const Tensor& memory_key_padding_mask) {
  const Tensor own = std::get<0>(self_attn(tgt, tgt, tgt, tgt_key_padding_mask, /*need_weights=*/false, tgt_mask));
  Tensor x = norm1(tgt + dropout1(own));
  const Tensor read = std::get<0>(multihead_attn(x, memory, memory, memory_key_padding_mask, /*need_weights=*/false, memory_mask));
  x = norm2(x + dropout2(read));
  return norm3(x + dropout3(linear2(dropout(activated(linear1(x), options.activation())))));
}

void nn::TransformerEncoderImpl::reset() {
  layers = register_module("layers", ModuleList());
  for (std::int64_t i = 0; i < options.num_layers(); ++i) layers->push_back(options.encoder_layer()->clone());
  if (!options.norm().is_empty()) {
    norm = options.norm().clone();
    register_module("norm", norm.ptr());
  }
}

void nn::TransformerEncoderImpl::reset_parameters() {
  for (std::size_t i = 0; i < layers->size(); ++i) layers->at<TransformerEncoderLayerImpl>(i).reset_parameters();
  if (!norm.is_empty()) unregister_module("norm");
  norm = options.norm().is_empty() ? AnyModule() : options.norm().clone();
  if (!norm.is_empty()) register_module("norm", norm.ptr());
}

Tensor nn::TransformerEncoderImpl::forward(const Tensor& src, const Tensor& src_mask, const Tensor& src_key_padding_mask) {
  TORCH_CHECK(!layers->is_empty(), "TransformerEncoder should have at least one encoder layer.");
  Tensor x = src;
  for (std::size_t i = 0; i < layers->size(); ++i) x = TransformerEncoderLayer(layers->ptr<TransformerEncoderLayerImpl>(i))(x, src_mask, src_key_padding_mask);
  return norm.is_empty() ? x : norm.forward<Tensor>(x);
}

void nn::TransformerDecoderImpl::reset() {
  layers = register_module("layers", ModuleList());
  for (std::int64_t i = 0; i < options.num_layers(); ++i) layers->push_back(options.decoder_layer()->clone());
  if (!options.norm().is_empty()) {
    norm = options.norm().clone();
    register_module("norm", norm.ptr());
  }
}

void nn::TransformerDecoderImpl::reset_parameters() {
  for (std::size_t i = 0; i < layers->size(); ++i) layers->at<TransformerDecoderLayerImpl>(i).reset_parameters();
  if (!norm.is_empty()) unregister_module("norm");
  norm = options.norm().is_empty() ? AnyModule() : options.norm().clone();
  if (!norm.is_empty()) register_module("norm", norm.ptr());
}

Tensor nn::TransformerDecoderImpl::forward(const Tensor& tgt, const Tensor& memory, const Tensor& tgt_mask, const Tensor& memory_mask, const Tensor& tgt_key_padding_mask,
                                           const Tensor& memory_key_padding_mask) {
  TORCH_CHECK(!layers->is_empty(), "TransformerDecoder should have at least one decoder layer.");
  Tensor x = tgt;
  for (std::size_t i = 0; i < layers->size(); ++i)
    x = TransformerDecoderLayer(layers->ptr<TransformerDecoderLayerImpl>(i))(x, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask);
  return norm.is_empty() ? x : norm.forward<Tensor>(x);
}

void nn::TransformerImpl::reset() {
  const std::int64_t C = options.d_model();
  if (options.custom_encoder().is_empty()) {
    const auto layer = TransformerEncoderLayerOptions(C, options.nhead()).dim_feedforward(options.dim_feedforward()).dropout(options.dropout()).activation(options.activation());
    encoder = AnyModule(TransformerEncoder(TransformerEncoderOptions(layer, options.num_encoder_layers()).norm(AnyModule(norm_of(C)))));
  } else {
    encoder = options.custom_encoder().clone();
  }
  register_module("encoder", encoder.ptr());
  if (options.custom_decoder().is_empty()) {
    const auto layer = TransformerDecoderLayerOptions(C, options.nhead()).dim_feedforward(options.dim_feedforward()).dropout(options.dropout()).activation(options.activation());
    decoder = AnyModule(TransformerDecoder(TransformerDecoderOptions(layer, options.num_decoder_layers()).norm(AnyModule(norm_of(C)))));
  } else {
    decoder = options.custom_decoder().clone();
  }
  register_module("decoder", decoder.ptr());
  reset_parameters();
}

void nn::TransformerImpl::reset_parameters() {
  for (const Tensor& parameter : parameters())
    if (parameter.dim() > 1) init::xavier_uniform_(parameter);
}

Tensor nn::TransformerImpl::forward(const Tensor& src, const Tensor& tgt, const Tensor& src_mask, const Tensor& tgt_mask, const Tensor& memory_mask, const Tensor& src_key_padding_mask,
                                    const Tensor& tgt_key_padding_mask, const Tensor& memory_key_padding_mask) {
  TORCH_CHECK(src.dim() == 3 && tgt.dim() == 3, "src and tgt should have 3 dimensions, but got ", src.dim(), " and ", tgt.dim(), "\n[Transformer] they are (length, batch, d_model).");
  TORCH_CHECK(src.size(1) == tgt.size(1), "src and tgt should have equal batch size (at dim 1), but got ", src.size(1), " and ", tgt.size(1),
              "\n[Transformer] sequences come first: (length, batch, d_model); got ", src.sizes(), " and ", tgt.sizes());
  TORCH_CHECK(src.size(2) == options.d_model() && tgt.size(2) == options.d_model(), "src and tgt should have same feature size as d_model (at dim 2), but got ", src.size(2), " and ", tgt.size(2),
              " while d_model is ", options.d_model(), "\n[Transformer] they are (length, batch, d_model); got ", src.sizes(), " and ", tgt.sizes());
  const Tensor memory = encoder.forward<Tensor>(src, src_mask, src_key_padding_mask);
  return decoder.forward<Tensor>(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask);
}

Tensor nn::TransformerImpl::generate_square_subsequent_mask(std::int64_t sz) {
  TORCH_CHECK(sz >= 0, "Input size must be non-negative to generate a valid square subsequent mask, but got ", sz);
  return triu(full({sz, sz}, -std::numeric_limits<double>::infinity(), get_default_dtype()), 1);
}

}  // namespace tinytorch
