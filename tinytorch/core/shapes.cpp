// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
Tensor permute_cpu(const Tensor& self, IntArrayRef dims) {
  DimVector sizes(dims.size());
  DimVector strides(dims.size());
  std::vector<bool> seen(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto from = static_cast<std::size_t>(wrap_dim(dims[i], self.dim()));
    TORCH_CHECK(!seen[from], "permute(): duplicate dims are not allowed.");
    seen[from] = true;
    sizes[i] = self.sizes()[from];
    strides[i] = self.strides()[from];
  }
  return alias(self, sizes, strides, self.storage_offset());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::permute("permute", {.cpu = permute_cpu});

Tensor permute(const Tensor& self, IntArrayRef dims) {
  TORCH_CHECK(dims.size() == self.sizes().size(), "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of dimensions i.e. input.dim() = ",
              self.dim(), " is not equal to len(dims) = ", dims.size());
  return op::permute(self, dims);
}

Tensor transpose(const Tensor& self, std::int64_t dim0, std::int64_t dim1) {
  const std::int64_t a = wrap_dim(dim0, self.dim());
  const std::int64_t b = wrap_dim(dim1, self.dim());
  DimVector dims(self.sizes().size());
  for (std::size_t i = 0; i < dims.size(); ++i) dims[i] = static_cast<std::int64_t>(i);
  if (!dims.empty()) std::swap(dims[static_cast<std::size_t>(a)], dims[static_cast<std::size_t>(b)]);
  return permute(self, dims);
}

Tensor t(const Tensor& self) {
  TORCH_CHECK(self.dim() <= 2, "t() expects a tensor with <= 2 dimensions, but self is ", self.dim(), "D");
  return self.dim() < 2 ? transpose(self, 0, 0) : transpose(self, 0, 1);
}

Tensor flatten(const Tensor& self, std::int64_t start_dim, std::int64_t end_dim) {
  const auto first = static_cast<std::size_t>(wrap_dim(start_dim, self.dim()));
  const auto last = static_cast<std::size_t>(wrap_dim(end_dim, self.dim()));
  TORCH_CHECK(first <= last, "flatten() has invalid args: start_dim cannot come after end_dim");
  if (self.dim() == 0) return reshape(self, {1});
  DimVector shape;
  for (std::size_t i = 0; i < first; ++i) shape.push_back(self.sizes()[i]);
  shape.push_back(multiply_sizes(IntArrayRef(self.sizes().data() + first, last - first + 1)));
  for (std::size_t i = last + 1; i < self.sizes().size(); ++i) shape.push_back(self.sizes()[i]);
  return reshape(self, shape);
}

Tensor squeeze(const Tensor& self) {
  DimVector shape;
  for (const std::int64_t size : self.sizes())
    if (size != 1) shape.push_back(size);
  return view(self, shape);
}

Tensor squeeze(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  DimVector shape(self.sizes());
  if (self.dim() > 0 && self.size(d) == 1) shape.erase(static_cast<std::size_t>(d));
  return view(self, shape);
}

Tensor unsqueeze(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim() + 1);
  DimVector shape(self.sizes());
  shape.insert(static_cast<std::size_t>(d), 1);
  return view(self, shape);
}

Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length) {
  TORCH_CHECK(self.dim() > 0, "narrow() cannot be applied to a 0-dim tensor.");
  TORCH_CHECK(length >= 0, "narrow(): length must be non-negative.");
  const std::int64_t size = self.size(dim);
  TORCH_CHECK_INDEX(start >= -size && start <= size, "start out of range (expected to be in range of [", -size, ", ", size, "], but got ", start, ")");
  const std::int64_t first = start < 0 ? start + size : start;
  TORCH_CHECK(first + length <= size, "start (", first, ") + length (", length, ") exceeds dimension size (", size, ").");
  return slice(self, dim, first, first + length);
}

}  // namespace tinytorch
