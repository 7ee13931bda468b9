// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

Tensor eye(std::int64_t n, std::int64_t m, const TensorOptions& options) {
  TORCH_CHECK(n >= 0, "n must be greater or equal to 0, got ", n);
  TORCH_CHECK(m >= 0, "m must be greater or equal to 0, got ", m);
  const Tensor result = zeros({n, m}, options.dtype());
  fill_(diagonal(result), 1);
  return created(result, options);
}
Tensor eye(std::int64_t n, const TensorOptions& options) { return eye(n, n, options); }

// Counts from the nearer end, so that both ends are exact.
Tensor linspace(const Scalar& start, const Scalar& end, std::int64_t steps, const TensorOptions& options) {
  TORCH_CHECK(steps >= 0, "number of steps must be non-negative");
  const Tensor result = empty({steps}, options.dtype());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Wide = std::conditional_t<std::is_floating_point_v<T>, T, float>;
    const auto first = start.to<T>();
    const auto last = end.to<T>();
    const Wide step =
        steps > 1 ? (static_cast<Wide>(last) - static_cast<Wide>(first)) / static_cast<Wide>(steps - 1)
                  : Wide{0};
    T* const out = result.data<T>();
    for (std::int64_t i = 0; i < steps; ++i) {
      const bool near_start = i < steps / 2 || steps == 1;
      out[i] = static_cast<T>(near_start ? static_cast<Wide>(first) + step * static_cast<Wide>(i)
                                         : static_cast<Wide>(last) - step * static_cast<Wide>(steps - i - 1));
    }
  });
  return created(result, options);
}

namespace {
// A copy of self in which the elements of the last two dimensions stay where keep(row, column).
template <class F>
Tensor triangle(const Tensor& self, F keep) {
  const Tensor result = clone(self);
  const std::int64_t rows = self.size(-2);
  const std::int64_t columns = self.size(-1);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    T* out = result.data<T>();
    for (std::int64_t i = 0; i < self.numel(); ++i, ++out)
      if (!keep(i / columns % rows, i % columns)) *out = T{};
  });
  return result;
}
Tensor tril_cpu(const Tensor& self, std::int64_t diagonal) {
  return triangle(self, [=](std::int64_t row, std::int64_t column) { return column - row <= diagonal; });
}
Tensor triu_cpu(const Tensor& self, std::int64_t diagonal) {
  return triangle(self, [=](std::int64_t row, std::int64_t column) { return column - row >= diagonal; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::tril("tril", {.cpu = tril_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::triu("triu", {.cpu = triu_cpu});

Tensor tril(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() >= 2, "tril: input tensor must have at least 2 dimensions");
  return op::tril(self, diagonal);
}
Tensor triu(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() >= 2, "triu: input tensor must have at least 2 dimensions");
  return op::triu(self, diagonal);
}

// One step along the diagonal is one along each of the two dimensions: their strides add up. The diagonal becomes the last dimension.
Tensor diagonal(const Tensor& self, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  const std::int64_t row = wrap_dim(dim1, self.dim());
  const std::int64_t column = wrap_dim(dim2, self.dim());
  TORCH_CHECK(row != column, "diagonal dimensions cannot be identical ", dim1, ", ", dim2);
  const std::int64_t rows = self.size(row) + std::min<std::int64_t>(offset, 0);
  const std::int64_t columns = self.size(column) - std::max<std::int64_t>(offset, 0);
  const std::int64_t length = std::max<std::int64_t>(0, std::min(rows, columns));
  DimVector sizes;
  DimVector strides;
  for (std::int64_t d = 0; d < self.dim(); ++d) {
    if (d == row || d == column) continue;
    sizes.push_back(self.size(d));
    strides.push_back(self.stride(d));
  }
  sizes.push_back(length);
  strides.push_back(self.stride(row) + self.stride(column));
  const std::int64_t first = offset >= 0 ? offset * self.stride(column) : -offset * self.stride(row);
  return as_strided(self, sizes, strides, self.storage_offset() + (length > 0 ? first : 0));
}

}  // namespace tinytorch
