// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/tensor_impl.h"

namespace tinytorch {

// The strides of a dense tensor with these sizes, the last dimension fastest; a size of 0 counts as 1. O(dims).
DimVector contiguous_strides(IntArrayRef sizes) {
  DimVector strides(sizes.size(), 1);
  std::int64_t step = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    strides[i] = step;
    step *= sizes[i] > 1 ? sizes[i] : 1;
  }
  return strides;
}

std::int64_t multiply_sizes(IntArrayRef sizes) {
  std::int64_t product = 1;
  bool overflow = false;
  bool none = false;
  for (const std::int64_t size : sizes) {
    TORCH_CHECK(size >= 0, "Trying to create tensor with negative dimension ", size, ": ", sizes);
    overflow = __builtin_mul_overflow(product, size, &product) || overflow;
    none = none || size == 0;
  }
  if (none) return 0;
  TORCH_CHECK(!overflow, "Storage size calculation overflowed with sizes=", sizes, "\nThe number of elements does not fit into 64 bits.");
  return product;
}

TensorImpl::TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, IntArrayRef steps, std::int64_t first)
    : storage(std::move(where)), dtype(type), layers(isReducedFloatingType(type) ? asked | Layer::HalfPrecision : asked) {
  set_geometry(shape, steps, first);
}

TensorImpl::TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, std::int64_t count)
    : storage(std::move(where)), sizes(shape), strides(contiguous_strides(shape)), numel(count), dtype(type),
      layers(isReducedFloatingType(type) ? asked | Layer::HalfPrecision : asked) {}

TensorImpl::TensorImpl(const TensorImpl& same, LayerSet asked)
    : storage(same.storage), sizes(same.sizes), strides(same.strides), offset(same.offset), numel(same.numel), dtype(same.dtype), layers(asked), contiguous(same.contiguous) {}

void TensorImpl::set_geometry(IntArrayRef shape, IntArrayRef steps, std::int64_t first) {
  sizes.assign(shape);
  strides.assign(steps);
  offset = first;
  numel = multiply_sizes(sizes);
  // Dense when every stride is the product of the sizes behind it; a size of 1 may have any stride.
  contiguous = true;
  std::int64_t step = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    if (sizes[i] == 1) continue;
    contiguous = contiguous && strides[i] == step;
    step *= sizes[i];
  }
  contiguous = contiguous || numel == 0;
}

}  // namespace tinytorch
