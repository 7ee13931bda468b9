// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/small_vector.h"

namespace tinytorch {

// A new tensor over the same storage.
Tensor alias(const Tensor& self, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset) {
  const LayerSet layers = self.impl().layers - Layer::Autograd;
  return make_tensor(self.storage(), self.scalar_type(), layers, sizes, strides, offset);
}

namespace {
// Elements that are evenly spaced: `count` of them, `stride` apart.
struct Chunk {
  std::int64_t count = 1;
  std::int64_t stride = 1;
};

// The chunks of memory laid out as (sizes, strides), the last one first. O(dims).
SmallVector<Chunk, 5> chunks_of(IntArrayRef sizes, IntArrayRef strides) {
  SmallVector<Chunk, 5> chunks;
  Chunk* chunk = nullptr;  // the one that is being gathered
  for (std::size_t i = sizes.size(); i-- > 0;) {
    const bool continues = chunk != nullptr && (sizes[i] == 1 || strides[i] == chunk->count * chunk->stride);
    if (!continues) {
      chunk = &chunks.add();
      chunk->stride = strides[i];
    }
    chunk->count *= sizes[i];
  }
  if (chunks.empty()) chunks.add();  // a 0-d tensor has one element
  return chunks;
}
}  // namespace

// The strides with which memory laid out as (sizes, strides) can be seen in the shape `shape`, or nothing if only a copy can.
// REQUIRES: both have the same number of elements. O(dims).
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape) {
  if (multiply_sizes(sizes) == 0) return contiguous_strides(shape);
  DimVector result(shape.size());
  std::size_t next = shape.size();  // the next dimension of `shape` to place, from the back
  for (const Chunk& chunk : chunks_of(sizes, strides)) {
    std::int64_t placed = 1;
    while (next > 0 && (placed < chunk.count || shape[next - 1] == 1)) {
      --next;
      result[next] = placed * chunk.stride;
      placed *= shape[next];
    }
    if (placed != chunk.count) return std::nullopt;
  }
  return result;
}

namespace {
Tensor view_cpu(const Tensor& self, IntArrayRef size) {
  const DimVector shape = infer_shape(size, self.numel());
  const std::optional<DimVector> strides = compute_stride(self.sizes(), self.strides(), shape);
  TORCH_CHECK(strides.has_value(),
              "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous "
              "subspaces). Use .reshape(...) instead.\n[view] sizes ",
              self.sizes(), ", strides ", self.strides(), ", asked for ", size);
  return alias(self, shape, *strides, self.storage_offset());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::view("view", {.cpu = view_cpu});
Tensor view(const Tensor& self, IntArrayRef size) { return op::view(self, size); }

Tensor reshape(const Tensor& self, IntArrayRef shape) {
  const DimVector sizes = infer_shape(shape, self.numel());
  return compute_stride(self.sizes(), self.strides(), sizes) ? view(self, sizes) : view(in_row_order(self), sizes);
}

namespace {
// A view of `self` with sizes `size`: new dimensions in front, and dimensions of size 1 stretched, both with stride 0. O(dims), no data is copied.
// REQUIRES: counted from the last, each size of self is 1 or the one in `size`, which has at least as many.
Tensor expand_cpu(const Tensor& self, IntArrayRef size) {
  const std::size_t added = size.size() - self.sizes().size();
  DimVector strides(size.size());
  for (std::size_t i = added; i < size.size(); ++i)
    if (self.sizes()[i - added] == size[i]) strides[i] = self.strides()[i - added];
  return alias(self, size, strides, self.storage_offset());
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::expand("expand", {.cpu = expand_cpu});

Tensor expand(const Tensor& self, IntArrayRef size) {
  TORCH_CHECK(size.size() >= self.sizes().size(), "expand(CPU", self.scalar_type(), "Type{", self.sizes(), "}, size=", size,
              "): the number of sizes provided (", size.size(), ") must be greater or equal to the number of dimensions in the tensor (",
              self.dim(), ")");
  DimVector sizes(size);
  const std::size_t added = size.size() - self.sizes().size();
  for (std::size_t i = size.size(); i-- > 0;) {
    const std::int64_t old = i < added ? 1 : self.sizes()[i - added];
    TORCH_CHECK(size[i] != -1 || i >= added, "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension ", i);
    if (size[i] == -1) sizes[i] = old;
    TORCH_CHECK(old == sizes[i] || old == 1, "The expanded size of the tensor (", sizes[i], ") must match the existing size (", old,
                ") at non-singleton dimension ", i, ".  Target sizes: ", size, ".  Tensor sizes: ", self.sizes());
  }
  return op::expand(self, sizes);
}

namespace {
// The view at `index` of dimension `dim`, which disappears. REQUIRES: 0 <= dim < self.dim(), 0 <= index < size(dim). O(dims).
Tensor select_cpu(const Tensor& self, std::int64_t dim, std::int64_t index) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const auto d = static_cast<std::size_t>(dim);
  sizes.erase(d);
  strides.erase(d);
  return alias(self, sizes, strides, self.storage_offset() + index * self.strides()[d]);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t)> op::select("select", {.cpu = select_cpu});

Tensor select(const Tensor& self, std::int64_t dim, std::int64_t index) {
  TORCH_CHECK_INDEX(self.dim() > 0, "select() cannot be applied to a 0-dim tensor.");
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t size = self.size(d);
  TORCH_CHECK_INDEX(index >= -size && index < size, "select(): index ", index, " out of range for tensor of size ", self.sizes(), " at dimension ", d);
  return op::select(self, d, index < 0 ? index + size : index);
}

// All windows of `size` neighbours along `dimension`, `step` apart. The sizes are those of self, except that `dimension` has the number
// of whole windows, and a last dimension of length `size` is added. `dimension` may be negative.
// Allocates no memory for elements, whatever the sizes: writing into a window writes into self. O(dims).
// Throws "maximum size for tensor at dimension D is S but size is W" if a window is longer than the dimension, "step is N but must be > 0" for such a step.
Tensor unfold(const Tensor& self, std::int64_t dimension, std::int64_t size, std::int64_t step) {
  const auto d = static_cast<std::size_t>(wrap_dim(dimension, self.dim()));
  const std::int64_t length = self.dim() == 0 ? 1 : self.sizes()[d];
  TORCH_CHECK(size >= 0, "size is ", size, " but must be >= 0");
  TORCH_CHECK(size <= length, "maximum size for tensor at dimension ", d, " is ", length, " but size is ", size);
  TORCH_CHECK(step > 0, "step is ", step, " but must be > 0");
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const std::int64_t stride = self.dim() == 0 ? 1 : strides[d];
  if (self.dim() > 0) {
    sizes[d] = (length - size) / step + 1;
    strides[d] = stride * step;
  }
  sizes.push_back(size);
  strides.push_back(stride);
  return as_strided(self, sizes, strides);
}

}  // namespace tinytorch
