// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>

#include "tinytorch/core/ops.h"

namespace tinytorch {

// The p-norm distances between the rows of x1 (..., P, M) and those of x2 (..., R, M): (..., P, R). Batches broadcast. O(P R M) time and memory. The gradient at distance 0 is 0. Throws unless M is the same and p >= 0.
Tensor cdist(const Tensor& x1, const Tensor& x2, double p = 2);
namespace op {
extern Operator<Tensor(const Tensor&, const Tensor&, double)> cdist;
}  // namespace op
// The p-norm distances between the rows i < j of self (N, M), row by row of the upper triangle: N (N - 1) / 2 numbers. The gradient at distance 0 is 0; for p = infinity
// all coordinates that are equally far apart get it. O(N^2 M). Throws unless self has two dimensions and p >= 0.
Tensor pdist(const Tensor& self, double p = 2);
// The covariances of the rows of self (variables, observations), or of one variable (observations). `correction` 1 divides by n - 1; fweights count repeats of observations (integers), aweights weigh them.
Tensor cov(const Tensor& self, std::int64_t correction = 1, const std::optional<Tensor>& fweights = {}, const std::optional<Tensor>& aweights = {});
// The covariances divided by the standard deviations, from -1 to 1.
Tensor corrcoef(const Tensor& self);
namespace nn::functional {
using tinytorch::pdist;
}  // namespace nn::functional

}  // namespace tinytorch
