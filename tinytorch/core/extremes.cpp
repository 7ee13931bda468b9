// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include <cmath>
#include <limits>

#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/reduction_ops.h"

namespace tinytorch {

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
namespace {
// The extreme of all elements, as the mean of the NaNs where it is one: each of them then has its share of the gradient, as in PyTorch.
Tensor shared_by_nans(const Tensor& self, const Tensor& extreme) {
  const bool matters = layers_of(self).has(Layer::Autograd) && self.is_floating_point() && std::isnan(extreme.item<double>());
  return matters ? self.index({self.isnan()}).mean() : extreme;
}
}  // namespace
Tensor max(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0, "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  return shared_by_nans(self, amax(self, {}));
}
Tensor argmax(const Tensor& self) {
  TORCH_CHECK_INDEX(self.numel() > 0, "argmax(): Expected reduction dim to be specified for input.numel() == 0.");
  return argmax(flatten(self), 0);
}

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
  return shared_by_nans(self, amin(self));
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
