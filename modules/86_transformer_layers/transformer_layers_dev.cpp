// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 86: Transformer layers, RMSNorm and beam search
//
// The transformer of 2017 has two stacks. The *encoder* reads the whole input at once. The *decoder* writes: it attends to what it has written, as GPT does, and in a second attention to the encoder's result, the *memory*. This chapter has both as libtorch spells them: sequences first, `(T, B, C)`,
// normalization behind each sum (post-norm), and the names of the parameters that `state_dict` files have.
//
//     src (S, B, C) ──► encoder layers: self-attention, feed-forward ──► memory (S, B, C)
//                                                                          │ keys, values
//     tgt (T, B, C) ──► decoder layers: self-attention (masked) ──► attention to memory ──► feed-forward ──► (T, B, C)
//
// Masks are those of `MultiheadAttention`: a Bool `true` *hides*, a floating-point mask is added to the scores.

// %%
//| after 12
//| export nn/rms_norm.h
#include <optional>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/rms_norm.cpp
#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/loops.h"
//| export nn/transformer.h
#include <functional>
#include <utility>
#include <variant>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/nn/any.h"
#include "tinytorch/nn/attention.h"
#include "tinytorch/nn/containers.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/linear.h"
//| export nn/transformer.cpp
#include <limits>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/more_init.h"
//| export models/beam_search.h
#include <optional>
#include <vector>
#include "tinytorch/models/generate.h"
//| export models/beam_search.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"

// %%
#include "tito/lesson.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Options
//
// `TransformerOptions(d_model, nhead)` describes a whole model, the other options one layer or one stack. A stack is made from one layer, which it copies: the copies draw weights of their own and then take over those of the original, so all layers of a stack begin alike, as in libtorch.

// %%
//| export nn/transformer.h
TORCH_ENUM_DECLARE(GELU);

// Source: torch/csrc/api/include/torch/nn/options/{transformerlayer, transformercoder, transformer}.h.
namespace nn {

namespace detail {
// What stands between the two linear layers of the feed-forward network.
using transformer_activation_t = std::variant<enumtype::kReLU, enumtype::kGELU, std::function<Tensor(const Tensor&)>>;
}  // namespace detail

struct TransformerEncoderLayerOptions {
  TransformerEncoderLayerOptions(std::int64_t d_model, std::int64_t nhead);
  using activation_t = detail::transformer_activation_t;
  TORCH_ARG(std::int64_t, d_model);
  TORCH_ARG(std::int64_t, nhead);
  TORCH_ARG(std::int64_t, dim_feedforward) = 2048;
  TORCH_ARG(double, dropout) = 0.1;
  TORCH_ARG(activation_t, activation) = tinytorch::kReLU;
};

struct TransformerDecoderLayerOptions {
  TransformerDecoderLayerOptions(std::int64_t d_model, std::int64_t nhead);
  using activation_t = detail::transformer_activation_t;
  TORCH_ARG(std::int64_t, d_model);
  TORCH_ARG(std::int64_t, nhead);
  TORCH_ARG(std::int64_t, dim_feedforward) = 2048;
  TORCH_ARG(double, dropout) = 0.1;
  TORCH_ARG(activation_t, activation) = tinytorch::kReLU;
};

// ---- One layer.

// Self-attention and a feed-forward network, each added to its input and normalized. Source: torch/csrc/api/src/nn/modules/transformer.cpp.
class TransformerEncoderLayerImpl : public Cloneable<TransformerEncoderLayerImpl> {
 public:
  TransformerEncoderLayerImpl(std::int64_t d_model, std::int64_t nhead);
  explicit TransformerEncoderLayerImpl(TransformerEncoderLayerOptions options_);
  void reset() override;
  void reset_parameters();
  // src (S, B, d_model) -> the same sizes. src_mask (S, S) or (B nhead, S, S), src_key_padding_mask (B, S).
  Tensor forward(const Tensor& src, const Tensor& src_mask = {}, const Tensor& src_key_padding_mask = {});

  TransformerEncoderLayerOptions options;
  MultiheadAttention self_attn = nullptr;
  Linear linear1 = nullptr, linear2 = nullptr;
  Dropout dropout = nullptr, dropout1 = nullptr, dropout2 = nullptr;
  LayerNorm norm1 = nullptr, norm2 = nullptr;
};
TORCH_MODULE(TransformerEncoderLayer);

// Self-attention, attention to the memory, and a feed-forward network, each added to its input and normalized.
class TransformerDecoderLayerImpl : public Cloneable<TransformerDecoderLayerImpl> {
 public:
  TransformerDecoderLayerImpl(std::int64_t d_model, std::int64_t nhead);
  explicit TransformerDecoderLayerImpl(TransformerDecoderLayerOptions options_);
  void reset() override;
  void reset_parameters();
  // tgt (T, B, d_model), memory (S, B, d_model) -> (T, B, d_model). tgt_mask (T, T), memory_mask (T, S), the padding masks (B, T) and (B, S).
  Tensor forward(Tensor tgt, const Tensor& memory, const Tensor& tgt_mask = {}, const Tensor& memory_mask = {}, const Tensor& tgt_key_padding_mask = {},
                 const Tensor& memory_key_padding_mask = {});

  TransformerDecoderLayerOptions options;
  MultiheadAttention self_attn = nullptr, multihead_attn = nullptr;
  Linear linear1 = nullptr, linear2 = nullptr;
  Dropout dropout = nullptr, dropout1 = nullptr, dropout2 = nullptr, dropout3 = nullptr;
  LayerNorm norm1 = nullptr, norm2 = nullptr, norm3 = nullptr;
};
TORCH_MODULE(TransformerDecoderLayer);

// ---- Stacks.

struct TransformerEncoderOptions {
  TransformerEncoderOptions(TransformerEncoderLayer encoder_layer, std::int64_t num_layers);
  TransformerEncoderOptions(const TransformerEncoderLayerOptions& encoder_layer_options, std::int64_t num_layers);
  TORCH_ARG(TransformerEncoderLayer, encoder_layer) = nullptr;
  TORCH_ARG(std::int64_t, num_layers);
  TORCH_ARG(AnyModule, norm);  // behind the last layer, if there is one
};

struct TransformerDecoderOptions {
  TransformerDecoderOptions(TransformerDecoderLayer decoder_layer, std::int64_t num_layers);
  TransformerDecoderOptions(const TransformerDecoderLayerOptions& decoder_layer_options, std::int64_t num_layers);
  TORCH_ARG(TransformerDecoderLayer, decoder_layer) = nullptr;
  TORCH_ARG(std::int64_t, num_layers);
  TORCH_ARG(AnyModule, norm);
};

class TransformerEncoderImpl : public Cloneable<TransformerEncoderImpl> {
 public:
  TransformerEncoderImpl(TransformerEncoderLayer encoder_layer, std::int64_t num_layers);
  explicit TransformerEncoderImpl(TransformerEncoderOptions options_);
  void reset() override;
  void reset_parameters();  // draws those of every layer anew; the normalization is copied from the options again
  Tensor forward(const Tensor& src, const Tensor& src_mask = {}, const Tensor& src_key_padding_mask = {});

  TransformerEncoderOptions options;
  ModuleList layers = nullptr;
  AnyModule norm;  // a copy of the options', or empty
};
TORCH_MODULE(TransformerEncoder);

class TransformerDecoderImpl : public Cloneable<TransformerDecoderImpl> {
 public:
  TransformerDecoderImpl(TransformerDecoderLayer decoder_layer, std::int64_t num_layers);
  explicit TransformerDecoderImpl(TransformerDecoderOptions options_);
  void reset() override;
  void reset_parameters();  // draws those of every layer anew; the normalization is copied from the options again
  Tensor forward(const Tensor& tgt, const Tensor& memory, const Tensor& tgt_mask = {}, const Tensor& memory_mask = {}, const Tensor& tgt_key_padding_mask = {},
                 const Tensor& memory_key_padding_mask = {});

  TransformerDecoderOptions options;
  ModuleList layers = nullptr;
  AnyModule norm;  // a copy of the options', or empty
};
TORCH_MODULE(TransformerDecoder);

// ---- The whole.

struct TransformerOptions {
  TransformerOptions();
  TransformerOptions(std::int64_t d_model, std::int64_t nhead);
  TransformerOptions(std::int64_t d_model, std::int64_t nhead, std::int64_t num_encoder_layers, std::int64_t num_decoder_layers);
  using activation_t = detail::transformer_activation_t;
  TORCH_ARG(std::int64_t, d_model) = 512;
  TORCH_ARG(std::int64_t, nhead) = 8;
  TORCH_ARG(std::int64_t, num_encoder_layers) = 6;
  TORCH_ARG(std::int64_t, num_decoder_layers) = 6;
  TORCH_ARG(std::int64_t, dim_feedforward) = 2048;
  TORCH_ARG(double, dropout) = 0.1;
  TORCH_ARG(activation_t, activation) = tinytorch::kReLU;
  TORCH_ARG(AnyModule, custom_encoder);
  TORCH_ARG(AnyModule, custom_decoder);
};

// An encoder and a decoder, each with a normalization at its end; all matrices are drawn xavier-uniform. Source: Vaswani et al. 2017; torch/csrc/api/src/nn/modules/transformer.cpp.
class TransformerImpl : public Cloneable<TransformerImpl> {
 public:
  explicit TransformerImpl(TransformerOptions options_ = {});
  void reset() override;
  void reset_parameters();
  // src (S, B, d_model), tgt (T, B, d_model) -> (T, B, d_model); masks as in the layers.
  Tensor forward(const Tensor& src, const Tensor& tgt, const Tensor& src_mask = {}, const Tensor& tgt_mask = {}, const Tensor& memory_mask = {}, const Tensor& src_key_padding_mask = {},
                 const Tensor& tgt_key_padding_mask = {}, const Tensor& memory_key_padding_mask = {});
  // (sz, sz): 0 where a position may look, -inf at later positions; to be added to scores.
  static Tensor generate_square_subsequent_mask(std::int64_t sz);

  TransformerOptions options;
  AnyModule encoder, decoder;
};
TORCH_MODULE(Transformer);

}  // namespace nn

// %% [markdown]
// ## Layers

// %%
//| export nn/transformer.cpp
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

// %% [markdown]
// ## Stacks

// %%
//| export nn/transformer.cpp
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

// %%
TEST_CASE("Transformer: parameter names, masks and errors") {
  nn::Transformer model(nn::TransformerOptions(8, 2, 2, 1).dim_feedforward(12));
  const auto parameters = model->named_parameters();
  CHECK_EQ(parameters.size(), 2 * 12 + 18 + 4);
  CHECK_EQ(parameters["encoder.layers.1.self_attn.in_proj_weight"].sizes(), IntArrayRef({24, 8}));
  CHECK_EQ(parameters["encoder.norm.weight"].sizes(), IntArrayRef({8}));
  CHECK_EQ(parameters["decoder.layers.0.multihead_attn.out_proj.bias"].sizes(), IntArrayRef({8}));
  CHECK_EQ(parameters["decoder.layers.0.linear1.weight"].sizes(), IntArrayRef({12, 8}));
  CHECK_EQ(nn::TransformerImpl::generate_square_subsequent_mask(2), tensor({{0.0F, -INFINITY}, {0.0F, 0.0F}}));
  const Tensor x = zeros({3, 2, 8});
  CHECK_ERROR(model(x, zeros({3, 1, 8})), "src and tgt should have equal batch size (at dim 1), but got 2 and 1");
  CHECK_ERROR(model(x, zeros({3, 2, 7})), "src and tgt should have same feature size as d_model (at dim 2), but got 8 and 7 while d_model is 8");
  CHECK_EQ(model->clone()->parameters().size(), parameters.size());
}

// %%
TEST_CASE("Transformer: reset_parameters draws every layer anew") {
  manual_seed(2);
  nn::TransformerEncoder encoder(nn::TransformerEncoderOptions(nn::TransformerEncoderLayerOptions(4, 2).dim_feedforward(3), 2).norm(nn::AnyModule(nn::LayerNorm(nn::LayerNormOptions({4})))));
  nn::TransformerDecoder decoder(nn::TransformerDecoderLayer(nn::TransformerDecoderLayerOptions(4, 2).dim_feedforward(3)), 2);
  {
    const NoGradGuard no_grad;
    for (const Tensor& parameter : encoder->parameters()) parameter.fill_(0.5);
    for (const Tensor& parameter : decoder->parameters()) parameter.fill_(0.5);
  }
  encoder->reset_parameters();
  decoder->reset_parameters();
  const auto parameters = encoder->named_parameters();
  CHECK_EQ(parameters.size(), 2 * 12 + 2);
  CHECK_EQ(parameters["norm.weight"].detach(), ones({4}));
  CHECK_EQ(parameters["layers.1.norm2.bias"].detach(), zeros({4}));
  CHECK_EQ(parameters["layers.1.self_attn.in_proj_bias"].detach(), zeros({12}));
  CHECK(!parameters["layers.0.linear1.weight"].equal(parameters["layers.1.linear1.weight"]));  // each is drawn for itself now
  CHECK_EQ(decoder->parameters().size(), 36);
  // All but the weight behind the heads, which MultiheadAttention leaves alone, libtorch's too.
  for (const auto& item : decoder->named_parameters()) CHECK_EQ(item.value().detach().equal(full(item.value().sizes(), 0.5)), item.key().ends_with("out_proj.weight"));
  CHECK(encoder->norm.get<nn::LayerNorm>()->weight.is_same(parameters["norm.weight"]));
  const Tensor x = randn({3, 1, 4});
  CHECK_EQ(decoder(x, encoder(x)).sizes(), x.sizes());
}

// %%
TEST_CASE("Transformer: the decoder does not see the future, nor anyone the padding") {
  manual_seed(1);
  nn::Transformer model(nn::TransformerOptions(8, 2, 1, 1).dim_feedforward(12).activation(kGELU));
  model->eval();
  const NoGradGuard no_grad;
  const Tensor src = randn({4, 2, 8});
  const Tensor tgt = randn({3, 2, 8});
  const Tensor mask = nn::TransformerImpl::generate_square_subsequent_mask(3);
  const Tensor result = model(src, tgt, Tensor(), mask);
  const Tensor other_end = tgt.clone();
  other_end[2].fill_(5);
  CHECK_CLOSE(model(src, other_end, Tensor(), mask).narrow(0, 0, 2), result.narrow(0, 0, 2), 1e-5, 1e-6);

  const Tensor hidden = tensor({{0, 0, 0, 1}, {0, 0, 0, 1}}) == 1;  // the last position of src is padding
  const Tensor padded = model(src, tgt, Tensor(), mask, Tensor(), hidden, Tensor(), hidden);
  const Tensor other_padding = src.clone();
  other_padding[3].fill_(5);
  CHECK_CLOSE(model(other_padding, tgt, Tensor(), mask, Tensor(), hidden, Tensor(), hidden), padded, 1e-5, 1e-6);
  CHECK_CLOSE(model(src.narrow(0, 0, 3), tgt, Tensor(), mask), padded, 1e-5, 1e-6);
}

// %% [markdown]
// ## RMSNorm
//
// Layer normalization without the mean. With `r = 1 / sqrt(mean(x^2) + eps)`, `n = x r` the normalized row and `h` the gradient times the weight, the gradient has two of layer norm's three terms: a row moved up is another row here, but a row made larger is still the same.
//
//     grad_x = r * ( h  -  n * mean(h * n) )
//                    |     +-- the direction "make the whole row larger"
//                    +-- what it would be with a constant r
//
// The operator has the plain loop, and that formula made of operators; chapter 87 has a kernel for both.

// %%
//| export nn/rms_norm.h
// x / sqrt(mean(x^2) + eps) * weight over the last dimensions, whose sizes are `normalized_shape`. input (*, normalized_shape), floating point; weight, where given, has the sizes
// normalized_shape. Without `eps` it is the dtype's machine epsilon. O(numel). Throws if the sizes do not fit. Source: Zhang and Sennrich 2019.
Tensor rms_norm(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight = {}, std::optional<double> eps = std::nullopt);

namespace op {
// The same, with the eps that is meant. input and weight have one dtype.
extern Operator<Tensor(const Tensor&, IntArrayRef, const std::optional<Tensor>&, double)> rms_norm;
}  // namespace op

namespace nn {

struct RMSNormOptions {
  RMSNormOptions(std::vector<std::int64_t> normalized_shape) : normalized_shape_(std::move(normalized_shape)) {}
  TORCH_ARG(std::vector<std::int64_t>, normalized_shape);
  TORCH_ARG(std::optional<double>, eps) = std::nullopt;
  TORCH_ARG(bool, elementwise_affine) = true;
};

// rms_norm() with a weight of ones to learn from, or without.
class RMSNormImpl : public Cloneable<RMSNormImpl> {
 public:
  RMSNormImpl(std::vector<std::int64_t> normalized_shape);
  explicit RMSNormImpl(RMSNormOptions options_);
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);

  RMSNormOptions options;
  Tensor weight;  // normalized_shape, or undefined
};
TORCH_MODULE(RMSNorm);

}  // namespace nn

// %%
//| export nn/rms_norm.cpp
nn::RMSNormImpl::RMSNormImpl(std::vector<std::int64_t> normalized_shape) : RMSNormImpl(RMSNormOptions(std::move(normalized_shape))) {}
nn::RMSNormImpl::RMSNormImpl(RMSNormOptions options_) : options(std::move(options_)) { RMSNormImpl::reset(); }

namespace {
template <class T>
void rms_norm_rows(const T* x, const T* weight, std::int64_t rows, std::int64_t size, double eps, T* out) {
  for (std::int64_t row = 0; row < rows; ++row, x += size, out += size) {
    double squares = 0;
    for (std::int64_t i = 0; i < size; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const T scale = static_cast<T>(1 / std::sqrt(squares / static_cast<double>(size) + eps));
    for (std::int64_t i = 0; i < size; ++i) out[i] = x[i] * scale * (weight == nullptr ? T{1} : weight[i]);
  }
}

Tensor rms_norm_cpu(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, double eps) {
  const Tensor x = input.contiguous(), result = empty(x.sizes(), x.options());
  const Tensor scale = weight && weight->defined() ? weight->contiguous() : Tensor();
  const std::int64_t size = multiply_sizes(normalized_shape);
  dispatch_floating_types(x.scalar_type(), "rms_norm", [&]<class T>() {
    if (x.numel() > 0) rms_norm_rows(x.data<T>(), scale.defined() ? scale.data<T>() : nullptr, x.numel() / size, size, eps, result.data<T>());
  });
  return result;
}

// The gradient of the input, whose last `dims` dimensions were normalized.
Tensor rms_norm_backward(const Tensor& grad, const Tensor& input, std::size_t dims, const Tensor& weight, double eps) {
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const Tensor r = rsqrt((input * input).mean(last, true) + eps);
  const Tensor normalized = input * r;
  const Tensor h = weight.defined() ? grad * weight : grad;
  return r * (h - normalized * (h * normalized).mean(last, true));
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, const std::optional<Tensor>&, double)> op::rms_norm(
    "rms_norm",
    {.cpu = rms_norm_cpu,
     .autograd = gradient_of<op::rms_norm>(
         [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Input<2> weight, Arg<3, double> eps) {
           return rms_norm_backward(g, input, shape.value.size(), weight, eps.value);
         },
         [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Arg<3, double> eps) { return g * op::rms_norm(input, IntArrayRef(shape.value), {}, eps.value); })});

Tensor rms_norm(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, std::optional<double> eps) {
  const std::size_t dims = normalized_shape.size();
  TORCH_CHECK(dims >= 1, "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = ", normalized_shape);
  const IntArrayRef sizes = input.sizes();
  std::string expected;
  for (const std::int64_t size : normalized_shape) expected += str(", ", size);
  TORCH_CHECK(sizes.size() >= dims && IntArrayRef(sizes.data() + (sizes.size() - dims), dims) == normalized_shape, "Given normalized_shape=", normalized_shape,
              ", expected input with shape [*", expected, "], but got input of size", sizes, "\n[rms_norm] the last sizes of the input are the normalized ones.");
  const bool scaled = weight && weight->defined();
  TORCH_CHECK(!scaled || weight->sizes() == normalized_shape, "Expected weight to be of same shape as normalized_shape, but got weight of shape ",
              scaled ? weight->sizes() : IntArrayRef(), " and normalized_shape = ", normalized_shape, "\n[rms_norm] each normalized element has one weight.");
  const double smallest = input.scalar_type() == kDouble ? std::numeric_limits<double>::epsilon() : static_cast<double>(std::numeric_limits<float>::epsilon());
  const bool one_dtype = !scaled || weight->scalar_type() == input.scalar_type();
  const Tensor result = op::rms_norm(input, normalized_shape, one_dtype ? weight : std::nullopt, eps.value_or(smallest));
  return one_dtype ? result : (result * *weight).to(input.scalar_type());
}

void nn::RMSNormImpl::reset() {
  weight = options.elementwise_affine() ? register_parameter("weight", ones(options.normalized_shape())) : register_parameter("weight", Tensor(), /*requires_grad=*/false);
}

Tensor nn::RMSNormImpl::forward(const Tensor& input) { return rms_norm(input, options.normalized_shape(), weight, options.eps()); }

void nn::RMSNormImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "torch::nn::RMSNorm(" << IntArrayRef(options.normalized_shape()) << ", elementwise_affine=" << options.elementwise_affine() << ')';
}

// %%
//| export nn/rms_norm.cpp
//| registers
void register_half_rms_norm() { compute_in_float<op::rms_norm>(); }

// %%
TEST_CASE("RMSNorm: rows of mean square 1, sizes that fit") {
  CHECK_CLOSE(rms_norm(tensor({3.0, 4.0}, kDouble), {2}, {}, 0.0), tensor({3.0, 4.0}, kDouble) / std::sqrt(12.5), 1e-14, 1e-14);
  CHECK_CLOSE(rms_norm(tensor({3.0, 4.0}, kDouble), {2}, tensor({2.0, -1.0}, kDouble), 0.0), tensor({6.0, -4.0}, kDouble) / std::sqrt(12.5), 1e-14, 1e-14);
  const Tensor x = arange(1, 7, kFloat).view({2, 3}).requires_grad_();
  nn::RMSNorm norm(std::vector<std::int64_t>{3});
  CHECK_EQ(norm->parameters().size(), 1);
  CHECK_CLOSE(norm(x).pow(2).mean(1).detach(), ones({2}), 1e-5, 1e-5);
  // Making a row larger changes nothing, so the gradient is orthogonal to the row.
  (norm(x) * tensor({1.0, 2.0, -1.0})).sum().backward();
  CHECK_CLOSE((x.grad() * x.detach()).sum(1), zeros({2}), 0.0, 1e-5);
  CHECK_ERROR(rms_norm(x, {2}), "Given normalized_shape=[2], expected input with shape [*, 2], but got input of size[2, 3]");
  CHECK_ERROR(rms_norm(x, {3}, ones({2})), "Expected weight to be of same shape as normalized_shape, but got weight of shape [2]");
  CHECK_ERROR(rms_norm(arange(3), {3}), "\"rms_norm\" not implemented for 'Long'");
  // In half precision it is computed in float; a weight of another dtype leaves the input's.
  const Tensor half = x.detach().to(kHalf), weight = tensor({1.5, -1.0, 0.25}, kDouble);
  CHECK_EQ(rms_norm(half, {3}, weight.to(kHalf), 0.5), rms_norm(half.to(kFloat), {3}, weight.to(kFloat), 0.5).to(kHalf));
  CHECK_EQ(rms_norm(x.detach(), {3}, weight).scalar_type(), kFloat);
  CHECK_CLOSE(rms_norm(x.detach(), {3}, weight), rms_norm(x.detach(), {3}, weight.to(kFloat)));
}

// %% [markdown]
// ## Beam search
//
// Greedy writing takes the best next token, and may walk into a corner from which only unlikely tokens lead on. The most probable *text* is a maximum over all texts; beam search keeps the `k` best beginnings:
//
//     step 1        step 2 (all V continuations of each, the best k of all)
//     "the"  -0.9   "the cat" -1.4     kept       both may come from one beam: beams compete,
//     "a"    -1.1   "a dog"   -1.5     kept       so the caches must follow their parents
//                   "the dog" -2.0
//
// Scores are sums of log probabilities, so long texts are less probable than short ones: at the end each is divided by `length^length_penalty`. A text that has reached its end token leaves the beams.

// %%
//| export models/beam_search.h
namespace models {

struct BeamSearchOptions {
  TORCH_ARG(std::int64_t, beams) = 4;
  TORCH_ARG(std::int64_t, max_new_tokens) = 50;
  TORCH_ARG(double, length_penalty) = 1.0;  // 0: the sum of log probabilities itself
  TORCH_ARG(std::optional<std::int64_t>, end_token) = std::nullopt;
};

// A continuation that was found.
struct Hypothesis {
  std::vector<std::int64_t> tokens;  // the new ones, with the end token
  double log_probability = 0;        // of all of them together
  double score = 0;                  // log_probability / length^length_penalty
};

// The best continuations of `prompt`, at most `beams`, the best score first; where as many texts have ended as there are beams, only those. With as many beams as there are texts it finds the best one; with one beam it writes greedily. Stops when as many texts have
// ended as there are beams. O(max_new_tokens * beams) columns through the model.
std::vector<Hypothesis> beam_search(GPT& model, const std::vector<std::int64_t>& prompt, const BeamSearchOptions& options = {});

}  // namespace models

// %%
//| export models/beam_search.cpp
namespace {
double scored(const models::Hypothesis& text, double length_penalty) { return text.log_probability / std::pow(static_cast<double>(text.tokens.size()), length_penalty); }
}  // namespace

std::vector<models::Hypothesis> models::beam_search(GPT& model, const std::vector<std::int64_t>& prompt, const BeamSearchOptions& options) {
  TORCH_CHECK_VALUE(options.beams() >= 1, "beam_search needs at least one beam, but got ", options.beams());
  TORCH_CHECK_VALUE(!prompt.empty(), "the prompt is empty\n[beam_search] begin with one token, such as the end of a text.");
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(*model);
  const auto beams = static_cast<std::size_t>(options.beams());
  GPTCache cache(model->options.n_layer());
  Tensor tokens = tensor(prompt).unsqueeze(0);
  std::vector<Hypothesis> alive(1), ended;
  for (std::int64_t step = 0; step < options.max_new_tokens() && !alive.empty() && ended.size() < beams; ++step) {
    // All continuations of all beams compete.
    const Tensor next = log_softmax(next_token_logits(model, tokens, Tensor(), &cache).to(kDouble), 1);
    const std::int64_t V = next.size(1);
    std::vector<double> before;
    for (const Hypothesis& beam : alive) before.push_back(beam.log_probability);
    const Tensor totals = (next + tensor(before, kDouble).unsqueeze(1)).view({-1});
    const auto [best, places] = topk(totals, std::min<std::int64_t>(2 * options.beams(), totals.size(0)));

    std::vector<Hypothesis> going_on;
    std::vector<std::int64_t> parents, chosen;
    for (std::int64_t i = 0; i < best.size(0) && going_on.size() < beams; ++i) {
      const std::int64_t place = places[i].item<std::int64_t>();
      Hypothesis text = alive[static_cast<std::size_t>(place / V)];
      text.tokens.push_back(place % V);
      text.log_probability = best[i].item<double>();
      if (options.end_token() == place % V) {
        ended.push_back(std::move(text));
        continue;
      }
      parents.push_back(place / V);
      chosen.push_back(place % V);
      going_on.push_back(std::move(text));
    }
    alive = std::move(going_on);
    if (alive.empty()) break;
    // Each beam goes on from its parent's past.
    const Tensor rows = tensor(parents);
    cache.reorder(rows);
    tokens = cat({tokens.index_select(0, rows), tensor(chosen).unsqueeze(1)}, 1);
  }
  if (ended.size() < beams) ended.insert(ended.end(), alive.begin(), alive.end());
  for (Hypothesis& text : ended) text.score = text.tokens.empty() ? 0 : scored(text, options.length_penalty());
  std::stable_sort(ended.begin(), ended.end(), [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  if (ended.size() > beams) ended.resize(beams);
  return ended;
}

// %%
//| lesson
models::GPT small_gpt() {
  manual_seed(3);
  models::GPT model(models::GPTOptions(4, 8).n_layer(1).n_head(1).n_embd(6));
  const NoGradGuard no_grad;
  for (const Tensor& parameter : model->parameters()) parameter.normal_(0, 0.6);
  return model;
}

// The log probability of `text` after `prompt`, in one pass.
double log_probability(models::GPT& model, std::vector<std::int64_t> prompt, const std::vector<std::int64_t>& text) {
  const NoGradGuard no_grad;
  const std::size_t start = prompt.size();
  prompt.insert(prompt.end(), text.begin(), text.end());
  const Tensor next = log_softmax(model(tensor(prompt).unsqueeze(0))[0].to(kDouble), 1);
  double sum = 0;
  for (std::size_t i = 0; i < text.size(); ++i) sum += next[static_cast<std::int64_t>(start + i - 1)][text[i]].item<double>();
  return sum;
}

// %%
TEST_CASE("beam search: enough beams find the best of all texts, one beam is greedy") {
  models::GPT model = small_gpt();
  const std::vector<std::int64_t> prompt = {1, 2};
  std::vector<std::int64_t> best_text;
  double best = -std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i < 64; ++i) {
    const std::vector<std::int64_t> text = {i / 16, i / 4 % 4, i % 4};
    const double value = log_probability(model, prompt, text);
    if (value > best) {
      best = value;
      best_text = text;
    }
  }
  const auto found = models::beam_search(model, prompt, models::BeamSearchOptions().beams(64).max_new_tokens(3));
  REQUIRE_EQ(found.size(), 64);
  CHECK_EQ(found[0].tokens, best_text);
  CHECK_CLOSE(found[0].log_probability, best, 1e-5, 1e-6);
  CHECK_CLOSE(found[0].score, best / 3, 1e-5, 1e-6);
  // Every one of them has the probability that one pass gives: the caches followed their parents.
  for (std::size_t i = 0; i < found.size(); i += 7) CHECK_CLOSE(found[i].log_probability, log_probability(model, prompt, found[i].tokens), 1e-5, 1e-6);

  const auto greedy = models::generate(model, {prompt}, models::GenerateOptions().max_new_tokens(5).sampling(models::SamplingOptions().temperature(0)))[0];
  CHECK_EQ(models::beam_search(model, prompt, models::BeamSearchOptions().beams(1).max_new_tokens(5))[0].tokens, greedy);
}

// %%
TEST_CASE("beam search: what has ended is not continued, and length counts as asked") {
  models::GPT model = small_gpt();
  const std::vector<std::int64_t> prompt = {1, 2};
  for (const double penalty : {0.0, 1.0, 2.0}) {
    const auto found = models::beam_search(model, prompt, models::BeamSearchOptions().beams(4).max_new_tokens(6).end_token(3).length_penalty(penalty));
    REQUIRE(!found.empty());
    CHECK_LE(found.size(), 4);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const std::vector<std::int64_t>& text = found[i].tokens;
      const auto end = std::find(text.begin(), text.end(), 3);
      CHECK((end == text.end() ? text.size() == 6 : end == text.end() - 1));
      CHECK_CLOSE(found[i].score, found[i].log_probability / std::pow(static_cast<double>(text.size()), penalty), 1e-9, 0.0);
      if (i > 0) CHECK_LE(found[i].score, found[i - 1].score);
    }
  }
  CHECK_ERROR(models::beam_search(model, prompt, models::BeamSearchOptions().beams(0)), "beam_search needs at least one beam");
  CHECK_ERROR(models::beam_search(model, {}, models::BeamSearchOptions()), "the prompt is empty");
}

// %%
}  // namespace tinytorch
