// From the lesson modules/11_attention/attention_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <tuple>

#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/flash_attention.h"
#include "tinytorch/nn/linear.h"

namespace tinytorch {

// softmax(query key^T * scale + mask) value, for query (..., L, E), key (..., S, E) and value (..., S, Ev) -> (..., L, Ev). All of one floating-point dtype; batch dimensions broadcast.
//   attn_mask   broadcasts to (..., L, S). Bool: true where a query may look at a key. Floating point: added to the scores. A query that may look nowhere gets zeros.
//   dropout_p   each weight becomes 0 with this probability, and the others are scaled up; also outside of training: the caller decides
//   is_causal   query i sees keys 0 ... i. Not together with a mask.
//   scale       default 1 / sqrt(E)
//   enable_gqa  key and value (..., Hk, S, E) may have fewer heads than query (..., H, L, E): each serves H / Hk neighbouring ones
// Without dropout, and unless the mask needs a gradient, it runs in blocks: O(L S E) time and O((L + S) E) memory, forwards and backwards. Otherwise memory is O(L S).
// Throws on other dtypes, on sizes that do not fit, and when both a mask and is_causal are given. Source: aten/src/ATen/native/transformers/attention.cpp.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask = std::nullopt,
                                    double dropout_p = 0.0, bool is_causal = false, std::optional<double> scale = std::nullopt, bool enable_gqa = false);

// The same as it is written down: (output, weights (..., L, S)), where the weights are those after dropout. O(L S) memory.
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask = std::nullopt,
                                                              double dropout_p = 0.0, bool is_causal = false, std::optional<double> scale = std::nullopt, bool enable_gqa = false);

namespace nn::detail {
// What is added to scores (..., L, S): 0 where a query may look, -inf where it may not.
Tensor attention_bias(const std::optional<Tensor>& attn_mask, bool is_causal, std::int64_t L, std::int64_t S, ScalarType dtype);
// (..., Hk, S, E) -> (..., heads, S, E): each head serves heads / Hk neighbours.
Tensor share_heads(const Tensor& x, std::int64_t heads);
// (L, B, H * D) -> (B, H, L, D), and back.
Tensor split_heads(const Tensor& x, std::int64_t heads);
Tensor merge_heads(const Tensor& x);
// Queries, keys and values (L, B, E) by three matrices that lie in one: weight (3 E, E), bias (3 E) or undefined.
std::tuple<Tensor, Tensor, Tensor> in_projection_packed(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& weight, const Tensor& bias);
}  // namespace nn::detail

namespace nn {

// Source: torch/csrc/api/include/torch/nn/options/activation.h.
struct MultiheadAttentionOptions {
  MultiheadAttentionOptions(std::int64_t embed_dim, std::int64_t num_heads) : embed_dim_(embed_dim), num_heads_(num_heads), kdim_(embed_dim), vdim_(embed_dim) {}
  TORCH_ARG(std::int64_t, embed_dim);
  TORCH_ARG(std::int64_t, num_heads);
  TORCH_ARG(double, dropout) = 0.0;           // of the attention weights
  TORCH_ARG(bool, bias) = true;               // of all projections
  TORCH_ARG(bool, add_bias_kv) = false;       // a learned key and value behind the given ones
  TORCH_ARG(bool, add_zero_attn) = false;     // a key and value of zeros behind the given ones
  TORCH_ARG(std::int64_t, kdim);              // features of key; default embed_dim
  TORCH_ARG(std::int64_t, vdim);              // features of value; default embed_dim
};

namespace functional {

struct MultiheadAttentionForwardFuncOptions {
  MultiheadAttentionForwardFuncOptions(std::int64_t embed_dim_to_check, std::int64_t num_heads, Tensor in_proj_weight, Tensor in_proj_bias, Tensor bias_k, Tensor bias_v, bool add_zero_attn,
                                       double dropout_p, Tensor out_proj_weight, Tensor out_proj_bias);
  TORCH_ARG(std::int64_t, embed_dim_to_check);
  TORCH_ARG(std::int64_t, num_heads);
  TORCH_ARG(Tensor, in_proj_weight);
  TORCH_ARG(Tensor, in_proj_bias);
  TORCH_ARG(Tensor, bias_k);
  TORCH_ARG(Tensor, bias_v);
  TORCH_ARG(bool, add_zero_attn);
  TORCH_ARG(double, dropout_p);
  TORCH_ARG(Tensor, out_proj_weight);
  TORCH_ARG(Tensor, out_proj_bias);
  TORCH_ARG(bool, training) = true;
  TORCH_ARG(Tensor, key_padding_mask);
  TORCH_ARG(bool, need_weights) = true;
  TORCH_ARG(Tensor, attn_mask);
  TORCH_ARG(bool, use_separate_proj_weight) = false;
  TORCH_ARG(Tensor, q_proj_weight);
  TORCH_ARG(Tensor, k_proj_weight);
  TORCH_ARG(Tensor, v_proj_weight);
  TORCH_ARG(Tensor, static_k);  // (B * H, S, D): keys and values that are projected already
  TORCH_ARG(Tensor, static_v);
  TORCH_ARG(bool, average_attn_weights) = true;
};

// query (L, B, E), key (S, B, kdim), value (S, B, vdim) -> (output (L, B, E), weights). The weights are (B, L, S), averaged over the heads, or (B, H, L, S), or undefined without need_weights; then attention runs in
// blocks. S counts bias_k and the key of zeros, too. attn_mask (L, S) or (B * H, L, S) and key_padding_mask (B, S): Bool, true = HIDDEN, or floating point, added to the scores.
// O(L S E + (L + S) E^2). Throws on sizes that do not fit. Source: torch/csrc/api/include/torch/nn/functional/activation.h.
std::tuple<Tensor, Tensor> multi_head_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, const MultiheadAttentionForwardFuncOptions& options);

}  // namespace functional

// Attention with num_heads heads and projections in front and behind (Vaswani et al., 2017): see functional::multi_head_attention_forward for shapes and masks. Sequences come first: (L, B, E). in_proj_weight is
// xavier-uniform, biases are 0, out_proj is born as a Linear. Source: torch/csrc/api/src/nn/modules/activation.cpp.
class MultiheadAttentionImpl : public Cloneable<MultiheadAttentionImpl> {
 public:
  MultiheadAttentionImpl(std::int64_t embed_dim, std::int64_t num_heads);
  explicit MultiheadAttentionImpl(const MultiheadAttentionOptions& options_);
  void reset() override;
  void _reset_parameters();
  std::tuple<Tensor, Tensor> forward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& key_padding_mask = {}, bool need_weights = true, const Tensor& attn_mask = {},
                                     bool average_attn_weights = true);

  MultiheadAttentionOptions options;
  bool _qkv_same_embed_dim = true;
  Tensor in_proj_weight;  // (3 E, E), or undefined where kdim or vdim is not E
  Tensor in_proj_bias;    // (3 E)
  Tensor bias_k, bias_v;  // (1, 1, E)
  Linear out_proj = nullptr;
  Tensor q_proj_weight, k_proj_weight, v_proj_weight;  // (E, E), (E, kdim), (E, vdim)
  std::int64_t head_dim = 0;
};
TORCH_MODULE(MultiheadAttention);

}  // namespace nn

}  // namespace tinytorch
