// From the lesson modules/65_half_kernels/half_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>

#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/embedding_ops.h"
#include "tinytorch/nn/flash_attention.h"
#include "tinytorch/nn/layer_norm.h"

namespace tinytorch {

namespace {
using Forward = std::tuple<Tensor, Tensor>;
using Backward = std::tuple<Tensor, Tensor, Tensor>;

const std::uint16_t* head_of(const Tensor& x, std::int64_t b, std::int64_t h) { return static_cast<const std::uint16_t*>(x.data_ptr()) + b * x.stride(0) + h * x.stride(1); }

// (output (B, H, 1, Ev), logsumexp (B, H, 1)) for query (B, H, 1, E), keys (B, Hk, S, E) and values (B, Hk, S, Ev), none of them empty. O(B H S (E + Ev)).
Forward attend_one_query(const Tensor& query, const Tensor& key, const Tensor& value, double scale) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const std::int64_t B = query.size(0), H = query.size(1), E = query.size(3), S = key.size(2), Ev = value.size(3), group = H / key.size(1);
  const Tensor q = to_dtype(query, kFloat).contiguous() * scale;
  const Tensor keys = key.stride(3) == 1 ? key : key.contiguous(), values = value.stride(3) == 1 ? value : value.contiguous();
  const Tensor scores = empty({B, H, S}, kFloat), logsumexp = empty({B, H, 1}, kFloat), output = empty({B, H, 1, Ev}, query.scalar_type()), sums = empty({B, H, Ev}, kFloat);
  const kernels::HalfTable& table = kernels::half_table(query.scalar_type());
  kernels::run_tasks(B * H, [&](std::int64_t head) {
    table.multiply_columns({q.data<float>() + head * E, E, head_of(keys, head / H, head % H / group), keys.stride(2), 1, E, S, scores.data<float>() + head * S, S});
  });
  const Tensor weights = softmax(scores, -1);
  kernels::run_tasks(B * H, [&](std::int64_t head) {
    const float* const weight = weights.data<float>() + head * S;
    const std::int64_t largest = std::max_element(weight, weight + S) - weight;
    logsumexp.data<float>()[head] = scores.data<float>()[head * S + largest] - std::log(weight[largest]);
    float* const sum = sums.data<float>() + head * Ev;
    table.multiply_rows({weight, S, head_of(values, head / H, head % H / group), values.stride(2), 1, S, Ev, sum, Ev});
    table.narrow(static_cast<std::uint16_t*>(output.data_ptr()) + head * Ev, sum, Ev);
  });
  return {output, logsumexp};
}

Forward attention_of_halves(const Tensor& query, const Tensor& key, const Tensor& value, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const bool masked = attn_mask && attn_mask->defined();
  const bool one = query.size(2) == 1 && !is_causal && !masked && query.numel() > 0 && key.numel() > 0 && value.numel() > 0;
  if (one && kernels::is_tuned_half(query)) return attend_one_query(query, key, value, scale.value_or(1 / std::sqrt(static_cast<double>(query.size(3)))));
  const ExcludeLayersGuard guard(detail::above_cpu);
  const auto wide = [](const auto& x) { return detail::widened(x, std::nullopt); };
  const auto [output, logsumexp] = op::_scaled_dot_product_flash_attention_for_cpu(wide(query), wide(key), wide(value), dropout_p, is_causal, wide(attn_mask), scale);
  return {detail::narrowed(output, query.scalar_type()), logsumexp};
}

Backward attention_backward_of_halves(const Tensor& grad_out, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out, const Tensor& logsumexp, double dropout_p, bool is_causal,
                                      const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const auto wide = [](const auto& x) { return detail::widened(x, std::nullopt); };
  return detail::narrowed(op::_scaled_dot_product_flash_attention_for_cpu_backward(wide(grad_out), wide(query), wide(key), wide(value), wide(out), logsumexp, dropout_p, is_causal, wide(attn_mask), scale),
                          query.scalar_type());
}
}  // namespace

void register_half_transformer() {
  compute_in_float<op::layer_norm, op::embedding_dense_backward>();
  op::_scaled_dot_product_flash_attention_for_cpu.set(Layer::HalfPrecision, attention_of_halves);
  op::_scaled_dot_product_flash_attention_for_cpu_backward.set(Layer::HalfPrecision, attention_backward_of_halves);
}

}  // namespace tinytorch
