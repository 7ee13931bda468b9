// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include <cmath>
#include <limits>

#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace {
Tensor sum_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    // Floating-point sums run in double, so that a long float sum does not lose its small terms.
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    const Tensor total = fold<Acc, T>(self, mask, keepdim, Acc{0}, [](Acc a, T x) { return a + static_cast<Acc>(x); });
    return std::is_floating_point_v<T> ? to_dtype(total, self.scalar_type()) : total;
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::sum("sum", {.cpu = sum_cpu});
Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::sum(self, dim, keepdim); }
Tensor sum(const Tensor& self) { return op::sum(self, {}, false); }

Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: ",
              self.scalar_type());
  const std::vector<bool> mask = reduction_mask(self, dim);
  std::int64_t count = 1;
  for (std::size_t i = 0; i < mask.size(); ++i) count *= mask[i] ? self.sizes()[i] : 1;
  return sum(self, dim, keepdim) / count;
}
Tensor mean(const Tensor& self) { return mean(self, {}, false); }

namespace {
// The larger of two, where NaN wins: a comparison alone would lose it.
template <class T>
bool beats(T candidate, T best) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(candidate)) return !std::isnan(best);
  return candidate > best;
}

Tensor amax_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  TORCH_CHECK(!dim.empty() || self.numel() > 0, "amax(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  for (std::size_t i = 0; i < mask.size(); ++i)
    TORCH_CHECK_INDEX(!mask[i] || self.sizes()[i] > 0, "amax(): Expected reduction dim ", i, " to have non-zero size.");
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    const T lowest = std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
    return fold<T, T>(self, mask, keepdim, lowest, [](T a, T x) { return beats(x, a) ? x : a; });
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::amax("amax", {.cpu = amax_cpu});
Tensor amax(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::amax(self, dim, keepdim); }

namespace {
std::tuple<Tensor, Tensor> largest(const char* name, const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  TORCH_CHECK_INDEX(size > 0, name, "(): Expected reduction dim ", dim, " to have non-zero size.");
  std::vector<bool> mask(self.sizes().size());
  if (!mask.empty()) mask[static_cast<std::size_t>(dim)] = true;
  const DimVector sizes = reduced_sizes(self.sizes(), mask, keepdim);
  const Tensor values = empty(sizes, self.options());
  const Tensor indices = empty(sizes, kLong);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_row<T>(self, dim, [&](std::int64_t k, const T* row, std::int64_t stride) {
      std::int64_t best = 0;
      for (std::int64_t j = 1; j < size; ++j)
        if (beats(row[j * stride], row[best * stride])) best = j;
      values.data<T>()[k] = row[best * stride];
      indices.data<std::int64_t>()[k] = best;
    });
  });
  return {values, indices};
}
std::tuple<Tensor, Tensor> max_cpu(const Tensor& self, std::int64_t dim, bool keepdim) { return largest("max", self, dim, keepdim); }
Tensor argmax_cpu(const Tensor& self, std::int64_t dim, bool keepdim) { return std::get<1>(largest("argmax", self, dim, keepdim)); }
}  // namespace
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::max("max", {.cpu = max_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t, bool)> op::argmax("argmax", {.cpu = argmax_cpu});
std::tuple<Tensor, Tensor> max(const Tensor& self, std::int64_t dim, bool keepdim) { return op::max(self, wrap_dim(dim, self.dim()), keepdim); }
Tensor argmax(const Tensor& self, std::int64_t dim, bool keepdim) { return op::argmax(self, wrap_dim(dim, self.dim()), keepdim); }
Tensor max(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0, "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  return amax(self, {});
}
Tensor argmax(const Tensor& self) {
  TORCH_CHECK_INDEX(self.numel() > 0, "argmax(): Expected reduction dim to be specified for input.numel() == 0.");
  return argmax(flatten(self), 0);
}

}  // namespace tinytorch
