// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <algorithm>

#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
Tensor as_strided_cpu(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  const std::int64_t first = storage_offset.value_or(self.storage_offset());
  const bool is_empty = multiply_sizes(size) == 0;
  double last = static_cast<double>(first);  // of a position: a double does not overflow, and is exact where it can be in bounds
  for (std::size_t i = 0; i < size.size(); ++i) last += static_cast<double>(size[i] - 1) * static_cast<double>(stride[i]);
  const double needed = (last + 1) * static_cast<double>(self.element_size());
  TORCH_CHECK(is_empty || needed <= static_cast<double>(self.storage()->nbytes()), "setStorage: sizes ", size, ", strides ", stride,
              ", storage offset ", first, ", and itemsize ", self.element_size(), " requiring a storage size of ",
              static_cast<std::size_t>(needed), " are out of bounds for storage of size ", self.storage()->nbytes());
  return alias(self, size, stride, first);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, std::optional<std::int64_t>)> op::as_strided("as_strided",
                                                                                                         {.cpu = as_strided_cpu});

Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  TORCH_CHECK(size.size() == stride.size(), "mismatch in length of strides and shape");
  for (const std::int64_t step : stride)
    TORCH_CHECK(step >= 0, "as_strided: Negative strides are not supported at the moment, got strides: ", stride);
  TORCH_CHECK(storage_offset.value_or(0) >= 0, "Tensor: invalid storage offset ", storage_offset.value_or(0));
  return op::as_strided(self, size, stride, storage_offset);
}

DimVector infer_shape(IntArrayRef shape, std::int64_t numel) {
  DimVector sizes(shape);
  std::int64_t known = 1;
  bool overflow = false;
  std::optional<std::size_t> open;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      TORCH_CHECK(!open, "only one dimension can be inferred");
      open = i;
    } else {
      TORCH_CHECK(shape[i] >= 0, "invalid shape dimension ", shape[i], " at index ", i, " of shape ", shape);
      overflow = __builtin_mul_overflow(known, shape[i], &known) || overflow;
    }
  }
  if (open && known > 0 && !overflow && numel % known == 0) {
    sizes[*open] = numel / known;
    return sizes;
  }
  TORCH_CHECK(!(open && known == 0 && numel == 0), "cannot reshape tensor of 0 elements into shape ", shape,
              " because the unspecified dimension size -1 can be any value and is ambiguous");
  TORCH_CHECK(!open && !overflow && known == numel, "shape '", shape, "' is invalid for input of size ", numel);
  return sizes;
}

namespace {
Tensor slice_cpu(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t end, std::int64_t step) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const auto d = static_cast<std::size_t>(dim);
  const std::int64_t offset = self.storage_offset() + start * strides[d];
  sizes[d] = end > start ? 1 + (end - start - 1) / step : 0;
  if (__builtin_mul_overflow(strides[d], step, &strides[d])) strides[d] = 0;  // then there is at most one element
  return alias(self, sizes, strides, offset);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t, std::int64_t)> op::slice("slice", {.cpu = slice_cpu});

// Elements start, start + step, ... below end of one dimension. Bounds count from the end when negative and are clamped, as in Python.
Tensor slice(const Tensor& self, std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) {
  TORCH_CHECK_INDEX(self.dim() > 0, "slice() cannot be applied to a 0-dim tensor.");
  TORCH_CHECK(step > 0, "slice step must be positive");
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t size = self.size(d);
  auto clamp = [size](std::int64_t bound) { return std::clamp<std::int64_t>(bound < 0 ? bound + size : bound, 0, size); };
  const std::int64_t first = clamp(start.value_or(0));
  const std::int64_t last = std::max(first, clamp(end.value_or(size)));
  return op::slice(self, d, first, last, step);
}

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
