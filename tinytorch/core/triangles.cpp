// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include <algorithm>

#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/matrix_ops.h"

namespace tinytorch {

namespace {
// A copy of self in which the elements of the last two dimensions stay where keep(row, column).
template <class F>
Tensor triangle(const Tensor& self, F keep) {
  const Tensor result = clone(self, MemoryFormat::Contiguous);
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
