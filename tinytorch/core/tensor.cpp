// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/basic_ops.h"

namespace tinytorch {

std::int64_t wrap_dim(std::int64_t dim, std::int64_t dims) {
  const std::int64_t range = dims == 0 ? 1 : dims;
  TORCH_CHECK_INDEX(dim >= -range && dim < range, "Dimension out of range (expected to be in range of [", -range, ", ", range - 1,
                    "], but got ", dim, ")");
  return dim < 0 ? dim + range : dim;
}

Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset) {
  return Tensor(make_intrusive<TensorImpl>(std::move(storage), type, layers, sizes, strides, offset));
}

std::int64_t Tensor::size(std::int64_t dim) const {
  TORCH_CHECK_INDEX(this->dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  return sizes()[static_cast<std::size_t>(wrap_dim(dim, this->dim()))];
}

std::int64_t Tensor::stride(std::int64_t dim) const {
  TORCH_CHECK_INDEX(this->dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  return strides()[static_cast<std::size_t>(wrap_dim(dim, this->dim()))];
}

void* Tensor::data_ptr() const {
  if (is_elsewhere()) fail_read_elsewhere(impl());
  char* const base = static_cast<char*>(storage()->data());
  return base == nullptr ? nullptr : base + static_cast<std::size_t>(storage_offset()) * element_size();
}

Scalar Tensor::item() const {
  TORCH_CHECK(numel() == 1, "a Tensor with ", numel(), " elements cannot be converted to Scalar\n[item] sizes ", sizes(),
              "; select one element first.");
  if (is_elsewhere()) return to_host(*this).item();
  return dispatch_stored_types(scalar_type(), [this]<class T>() { return Scalar(*data<T>()); });
}

Tensor& Tensor::operator=(const Tensor& other) && { return copy_(other); }
Tensor& Tensor::operator=(Tensor&& other) && { return copy_(other); }
Tensor& Tensor::operator=(const Scalar& value) && { return fill_(value); }

}  // namespace tinytorch
