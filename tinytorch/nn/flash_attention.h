// From the lesson modules/11_attention/attention_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <tuple>

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace op {
// (output, logsumexp) of query, key, value, dropout_p, is_causal, attn_mask, scale.
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, double, bool, const std::optional<Tensor>&, std::optional<double>)>
    _scaled_dot_product_flash_attention_for_cpu;
extern Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, bool, const std::optional<Tensor>&, std::optional<double>)>
    _scaled_dot_product_flash_attention_for_cpu_backward;
}  // namespace op

namespace nn::detail {
// Uninitialised (B, H, L, E) whose rows are dense, and whose batches, heads and positions follow each other in memory as those of `like` do.
Tensor empty_heads(IntArrayRef sizes, const Tensor& like);
}  // namespace nn::detail

// Attention in blocks: query (B, H, L, E), key (B, Hk, S, E), value (B, Hk, S, Ev), where Hk divides H -> (output (B, H, L, Ev), logsumexp (B, H, L)). attn_mask: floating point, added to the scores, broadcasts to
// (B, H, L, S), gets no gradient. dropout_p must be 0. logsumexp has no gradient. O(L S E) time; O((L + S) E) memory for what is returned and saved. Throws on other dtypes, dimensions and sizes.
// Source: aten/src/ATen/native/cpu/FlashAttentionKernel.cpp; Dao et al., FlashAttention, 2022.
std::tuple<Tensor, Tensor> _scaled_dot_product_flash_attention_for_cpu(const Tensor& query, const Tensor& key, const Tensor& value, double dropout_p = 0.0, bool is_causal = false,
                                                                       const std::optional<Tensor>& attn_mask = std::nullopt, std::optional<double> scale = std::nullopt);
// Its gradients for query, key and value, from that of the output, and from output and logsumexp. Not differentiable itself.
std::tuple<Tensor, Tensor, Tensor> _scaled_dot_product_flash_attention_for_cpu_backward(const Tensor& grad_out, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out,
                                                                                        const Tensor& logsumexp, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask = std::nullopt,
                                                                                        std::optional<double> scale = std::nullopt);

}  // namespace tinytorch
