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

TensorImpl::TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, std::int64_t count)
    : storage(std::move(where)), sizes(shape), strides(contiguous_strides(shape)), numel(count), dtype(type),
      layers(isReducedFloatingType(type) ? asked | Layer::HalfPrecision : asked) {}

}  // namespace tinytorch
