// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/reduction_ops.h"

namespace tinytorch {

namespace {
// Whether a comes before b in ascending order; NaN is the largest number.
template <class T>
bool before(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  return a < b;
}

// Of every row along `dim`, the first k elements in order, with their indices. Equal elements keep their order.
std::tuple<Tensor, Tensor> first_in_order(const Tensor& self, std::int64_t dim, std::int64_t k,
                                          bool descending) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  DimVector sizes(self.sizes());
  if (!sizes.empty()) sizes[static_cast<std::size_t>(dim)] = k;
  const Tensor values = empty(sizes, self.scalar_type());
  const Tensor indices = empty(sizes, kLong);
  const std::int64_t step = self.dim() == 0 ? 1 : values.stride(dim);
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    // Walks the rows of both at once: row number r of self belongs to row number r of the result.
    std::vector<T*> rows_out;
    for_each_row<T>(values, dim, [&](std::int64_t, T* row, std::int64_t) { rows_out.push_back(row); });
    for_each_row<T>(self, dim, [&](std::int64_t r, const T* row, std::int64_t stride) {
      std::iota(order.begin(), order.end(), std::int64_t{0});
      const auto ahead = [&](std::int64_t i, std::int64_t j) {
        const T a = row[i * stride];
        const T b = row[j * stride];
        if (descending ? before(b, a) : before(a, b)) return true;
        return !(descending ? before(a, b) : before(b, a)) && i < j;
      };
      std::partial_sort(order.begin(), order.begin() + k, order.end(), ahead);
      T* const value = rows_out[static_cast<std::size_t>(r)];
      std::int64_t* const index = indices.data<std::int64_t>() + (value - values.data<T>());
      for (std::int64_t j = 0; j < k; ++j) {
        index[j * step] = order[static_cast<std::size_t>(j)];
        value[j * step] = row[order[static_cast<std::size_t>(j)] * stride];
      }
    });
  });
  return {values, indices};
}

std::tuple<Tensor, Tensor> sort_cpu(const Tensor& self, std::int64_t dim, bool descending) {
  return first_in_order(self, dim, self.dim() == 0 ? 1 : self.size(dim), descending);
}
// `sorted` = false would allow any order; this one is as good as another.
std::tuple<Tensor, Tensor> topk_cpu(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest,
                                    bool) {
  return first_in_order(self, dim, self.dim() == 0 ? 1 : k, largest);
}
}  // namespace
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::sort("sort",
                                                                                           {.cpu = sort_cpu});
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, std::int64_t, bool, bool)>
    op::topk("topk", {.cpu = topk_cpu});

std::tuple<Tensor, Tensor> sort(const Tensor& self, std::int64_t dim, bool descending) {
  return op::sort(self, wrap_dim(dim, self.dim()), descending);
}
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::optional<bool>, std::int64_t dim, bool descending) {
  return sort(self, dim, descending);
}
Tensor argsort(const Tensor& self, std::int64_t dim, bool descending) {
  return std::get<1>(sort(self, dim, descending));
}
std::tuple<Tensor, Tensor> topk(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest,
                                bool sorted) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK(k >= 0 && k <= (self.dim() > 0 ? self.size(d) : 1), "selected index k out of range");
  return op::topk(self, k, d, largest, sorted);
}

}  // namespace tinytorch
