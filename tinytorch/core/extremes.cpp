// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <cmath>
#include <limits>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace {
// The larger (smaller) of two, where NaN wins.
template <class T>
T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  return a < b ? b : a;
}
template <class T>
T smaller(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  return b < a ? b : a;
}
Tensor maximum_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return larger(x, y); });
}
Tensor minimum_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return smaller(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::maximum("maximum", {.cpu = maximum_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::minimum("minimum", {.cpu = minimum_cpu});
Tensor maximum(const Tensor& self, const Tensor& other) { return op::maximum(self, other); }
Tensor minimum(const Tensor& self, const Tensor& other) { return op::minimum(self, other); }

namespace {
ScalarType clamp_type(const Tensor& self, const std::optional<Scalar>& min,
                      const std::optional<Scalar>& max) {
  ScalarType type = self.scalar_type();
  for (const std::optional<Scalar>& bound : {min, max})
    if (bound) type = result_type(empty(self.sizes(), type), wrapped_scalar(*bound));
  return type;
}

Tensor clamp_cpu(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  const Tensor input = to_dtype(self, clamp_type(self, min, max));
  const Tensor result = empty(input.sizes(), input.scalar_type());
  dispatch_all_types(input.scalar_type(), [&]<class T>() {
    const std::optional<T> low = min ? std::optional<T>(min->to<T>()) : std::nullopt;
    const std::optional<T> high = max ? std::optional<T>(max->to<T>()) : std::nullopt;
    map_into<T, T>(result, input, [low, high](T x) {
      if (low) x = larger(x, *low);
      return high ? smaller(x, *high) : x;
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const std::optional<Scalar>&, const std::optional<Scalar>&)>
    op::clamp("clamp", {.cpu = clamp_cpu});

Tensor clamp(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  TORCH_CHECK(min || max, "torch.clamp: At least one of 'min' or 'max' must not be None");
  return op::clamp(self, min, max);
}
Tensor clamp_min(const Tensor& self, const Scalar& min) { return clamp(self, min, std::nullopt); }
Tensor clamp_max(const Tensor& self, const Scalar& max) { return clamp(self, std::nullopt, max); }

namespace {
Tensor amin_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  TORCH_CHECK(self.numel() > 0 || !dim.empty(),
              "amin(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  for (std::size_t i = 0; i < mask.size(); ++i)
    TORCH_CHECK_INDEX(!mask[i] || self.sizes()[i] > 0, "amin(): Expected reduction dim ", i,
                      " to have non-zero size.");
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    const T highest =
        std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
    return fold<T, T>(self, mask, keepdim, highest, [](T a, T x) { return smaller(a, x); });
  });
}

std::tuple<Tensor, Tensor> min_cpu(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  TORCH_CHECK_INDEX(size > 0, "min(): Expected reduction dim ", dim, " to have non-zero size.");
  std::vector<bool> mask(self.sizes().size());
  if (!mask.empty()) mask[static_cast<std::size_t>(dim)] = true;
  const DimVector sizes = reduced_sizes(self.sizes(), mask, keepdim);
  const Tensor values = empty(sizes, self.options());
  const Tensor indices = empty(sizes, kLong);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_row<T>(self, dim, [&](std::int64_t k, const T* row, std::int64_t stride) {
      std::int64_t best = 0;
      for (std::int64_t j = 1; j < size; ++j) {
        const T x = row[j * stride];
        const T lowest = row[best * stride];
        if (x < lowest || (x != x && lowest == lowest)) best = j;  // the first NaN wins
      }
      values.data<T>()[k] = row[best * stride];
      indices.data<std::int64_t>()[k] = best;
    });
  });
  return {values, indices};
}
Tensor argmin_cpu(const Tensor& self, std::int64_t dim, bool keepdim) {
  TORCH_CHECK_INDEX(self.dim() == 0 || self.size(dim) > 0, "argmin(): Expected reduction dim ", dim,
                    " to have non-zero size.");
  return std::get<1>(min_cpu(self, dim, keepdim));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::amin("amin", {.cpu = amin_cpu});
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::min("min",
                                                                                          {.cpu = min_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t, bool)> op::argmin("argmin", {.cpu = argmin_cpu});

Tensor amin(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::amin(self, dim, keepdim); }
Tensor min(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0,
              "min(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  return amin(self);
}
std::tuple<Tensor, Tensor> min(const Tensor& self, std::int64_t dim, bool keepdim) {
  return op::min(self, wrap_dim(dim, self.dim()), keepdim);
}
Tensor argmin(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim) {
  if (dim) return op::argmin(self, wrap_dim(*dim, self.dim()), keepdim);
  TORCH_CHECK_INDEX(self.numel() > 0,
                    "argmin(): Expected reduction dim to be specified for input.numel() == 0.");
  const Tensor position = op::argmin(reshape(self, {-1}), 0, false);
  return keepdim ? reshape(position, DimVector(self.sizes().size(), 1)) : position;
}

}  // namespace tinytorch
