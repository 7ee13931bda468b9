// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/basic_ops.h"

namespace tinytorch {

std::int64_t multiply_unusual_sizes(IntArrayRef sizes) {
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

TensorOptions Tensor::options() const {
  return TensorOptions(scalar_type()).device(is_elsewhere() ? storage()->device() : Device(DeviceType::CPU)).layout(kStrided);
}

Tensor& Tensor::operator=(const Tensor& other) && { return copy_(other); }
Tensor& Tensor::operator=(Tensor&& other) && { return copy_(other); }
Tensor& Tensor::operator=(const Scalar& value) && { return fill_(value); }

}  // namespace tinytorch
