// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <tuple>

#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

// ---- Reductions over the dimensions `dim` (none given: over all). O(numel).
Tensor mean(const Tensor& self);
Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim = false);
Tensor amax(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);  // NaN wins
Tensor max(const Tensor& self);
std::tuple<Tensor, Tensor> max(const Tensor& self, std::int64_t dim, bool keepdim = false);  // values and indices (Long)
Tensor argmax(const Tensor& self);  // the position in the flattened tensor
Tensor argmax(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor prod(const Tensor& self);
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor amin(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);
Tensor min(const Tensor& self);
std::tuple<Tensor, Tensor> min(const Tensor& self, std::int64_t dim,
                               bool keepdim = false);  // values and indices
Tensor argmin(const Tensor& self, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false);
Tensor any(const Tensor& self);
Tensor any(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor all(const Tensor& self);
Tensor all(const Tensor& self, std::int64_t dim, bool keepdim = false);
// Sum of squared deviations over (count - 1) when unbiased, over count when not.
Tensor var(const Tensor& self);
Tensor var(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
Tensor std(const Tensor& self);
Tensor std(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, bool unbiased = true,
                                    bool keepdim = false);
std::tuple<Tensor, Tensor> var_mean(const Tensor& self);
// Over (count - correction); nothing means 1.
Tensor var(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false);
Tensor std(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false);
template <std::same_as<bool> Bool>
Tensor var(const Tensor& self, Bool unbiased) {
  return var(self, IntArrayRef(), unbiased);
}
template <std::same_as<bool> Bool>
Tensor std(const Tensor& self, Bool unbiased) {
  return tinytorch::std(self, IntArrayRef(), unbiased);
}
// (sum |x|^p)^(1/p); p = 0 counts what is not 0, +-infinity is the largest and smallest |x|.
Tensor norm(const Tensor& self, const Scalar& p = 2);
Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim = false);
Tensor cumsum(const Tensor& self, std::int64_t dim);
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::int64_t dim = -1,
                                bool descending = false);  // stable; values and indices; NaN is largest
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::optional<bool> stable, std::int64_t dim = -1,
                                bool descending = false);
Tensor argsort(const Tensor& self, std::int64_t dim = -1, bool descending = false);
std::tuple<Tensor, Tensor> topk(const Tensor& self, std::int64_t k, std::int64_t dim = -1,
                                bool largest = true, bool sorted = true);

namespace op {
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> mean;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amax;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> max;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmax;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amin;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> min;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmin;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> prod;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> any;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> all;
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)>
    var;
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> std;
extern Operator<Tensor(const Tensor&, double, IntArrayRef, bool)> norm;
extern Operator<Tensor(const Tensor&, std::int64_t)> cumsum;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> sort;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, std::int64_t, bool, bool)> topk;
}  // namespace op

}  // namespace tinytorch
