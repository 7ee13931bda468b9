// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>

#include "tinytorch/core/ops.h"

namespace tinytorch {

// Row indices[i, ...] of `weight` (V, D), for each index: sizes of `indices` + (D), in the dtype of `weight`.
// `indices` is Long or Int, any shape; each index is in [0, V). In the backward pass the row `padding_idx`
// receives no gradient (-1: none is left out), and with `scale_grad_by_freq` what a row receives is divided by
// the number of its positions in `indices`. The gradient is dense; `sparse` must be false.
// Throws IndexError for an index out of range. O(numel(indices) * D) time, independent of V.
// Source: aten/src/ATen/native/Embedding.cpp.
Tensor embedding(const Tensor& weight, const Tensor& indices, std::int64_t padding_idx = -1,
                 bool scale_grad_by_freq = false, bool sparse = false);
// The gradient of embedding() with respect to its weight: (num_weights, D), from grad_output, whose sizes are
// those of `indices` + (D). O(num_weights * D + numel(grad_output)).
Tensor embedding_dense_backward(const Tensor& grad_output, const Tensor& indices, std::int64_t num_weights,
                                std::int64_t padding_idx, bool scale_grad_by_freq);
// Scales the rows of `self` that `indices` names to a norm of max_norm, those that are longer. A layer calls it
// on its parameter under a NoGradGuard. O(numel(indices) * D).
const Tensor& embedding_renorm_(const Tensor& self, const Tensor& indices, double max_norm, double norm_type);

namespace op {
// (weight, indices, padding_idx, scale_grad_by_freq)
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, bool)> embedding;
// (grad_output, indices, num_weights, padding_idx, scale_grad_by_freq)
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, std::int64_t, bool)>
    embedding_dense_backward;
}  // namespace op

namespace nn::functional {
// The gradient of an embedding without its zeros, (rows, values): `rows` (U) of Long, ascending, each row that `indices`
// names except `padding_idx`; `values` (U, D), the sum of grad_output over the positions of the row, in the order of the positions.
// For a step of gradient descent: weight.index_add_(0, rows, values, -lr). The sizes of `grad_output` are those of
// `indices` + (D). O(N log N + N D) time for N positions; memory besides the result: O(N) numbers.
std::tuple<Tensor, Tensor> embedding_row_gradient(const Tensor& grad_output, const Tensor& indices,
                                                  std::int64_t padding_idx = -1);
}  // namespace nn::functional

}  // namespace tinytorch
