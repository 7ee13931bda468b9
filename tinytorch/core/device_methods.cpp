// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/device_methods.h"

#include <cstring>
#include <string>
#include <utility>

#include "tinytorch/core/backend.h"
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/layouts.h"

namespace tinytorch {

namespace {
const Tensor& tensor_of(const DeviceMethods& methods) { return static_cast<const Tensor&>(methods); }

Tensor converted(const Tensor& self, ScalarType dtype, bool copy, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = memory_format.value_or(MemoryFormat::Preserve);
  const bool lies_so = format == MemoryFormat::Preserve || self.suggest_memory_format() == format;  // as PyTorch asks: any strides that are not channels last pass for Contiguous
  if (dtype == self.scalar_type()) return copy || !lies_so ? clone(self, format) : self;
  const Tensor result = to_dtype(self, dtype);
  return format == MemoryFormat::Preserve ? result : result.contiguous(format);
}
}  // namespace

Device DeviceMethods::device() const { return tensor_of(*this).storage()->device(); }

Tensor DeviceMethods::to(ScalarType dtype, bool, bool copy, std::optional<MemoryFormat> memory_format) const { return converted(tensor_of(*this), dtype, copy, memory_format); }
Tensor DeviceMethods::to(TypeMeta dtype, bool, bool copy, std::optional<MemoryFormat> memory_format) const { return converted(tensor_of(*this), dtype, copy, memory_format); }

Tensor DeviceMethods::to(Device device, ScalarType dtype, bool, bool copy, std::optional<MemoryFormat> memory_format) const {
  const Tensor& self = tensor_of(*this);
  if (device.is_cpu() && !self.is_elsewhere()) return converted(self, dtype, copy, memory_format);
  const Tensor result = to_device(self.is_elsewhere() ? self : converted(self, dtype, false, memory_format), device);
  return converted(result, dtype, copy && result.is_same(self), self.is_elsewhere() ? memory_format : std::nullopt);
}

Tensor DeviceMethods::to(const TensorOptions& options, bool, bool copy, std::optional<MemoryFormat> memory_format) const {
  TORCH_CHECK(!options.layers().has(Layer::Autograd), "Operators taking TensorOptions cannot take a TensorOptions with options.requires_grad set as true. This isn't implemented yet.");
  const Tensor& self = tensor_of(*this);
  return to(options.has_device() ? options.device() : device(), options.dtype_opt().value_or(self.scalar_type()), false, copy, format_of(options, memory_format));
}

Tensor DeviceMethods::to(const Tensor& other, bool, bool copy, std::optional<MemoryFormat> memory_format) const { return to(other.device(), other.scalar_type(), false, copy, memory_format); }
Tensor DeviceMethods::toType(ScalarType dtype) const { return to(dtype); }
Tensor DeviceMethods::type_as(const Tensor& other) const { return to(other); }
Tensor DeviceMethods::cpu() const { return to_host(tensor_of(*this)); }

Tensor DeviceMethods::cuda() const {
  require_cpu("cuda", kCUDA);
  return cpu();
}

std::int64_t DeviceMethods::ndimension() const { return tensor_of(*this).dim(); }
std::size_t DeviceMethods::nbytes() const { return static_cast<std::size_t>(tensor_of(*this).numel()) * itemsize(); }
std::size_t DeviceMethods::itemsize() const { return tensor_of(*this).element_size(); }
std::string DeviceMethods::toString() const { return DeviceTypeName(device().type()) + tinytorch::toString(tensor_of(*this).scalar_type()) + "Type"; }
Tensor& DeviceMethods::zero_() const { return tensor_of(*this).fill_(0); }

void* DeviceMethods::checked_data(ScalarType type) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.scalar_type() == type, "expected scalar type ", type, " but found ", self.scalar_type(),
              "\n[accessor] ask for the tensor's own type, or convert with to() first.");
  return self.data_ptr();
}

IntArrayRef DeviceMethods::checked_sizes(std::size_t dims) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.sizes().size() == dims, "TensorAccessor expected ", dims, " dims but tensor has ", self.dim());
  return self.sizes();
}

IntArrayRef DeviceMethods::all_strides() const { return tensor_of(*this).strides(); }

void DeviceMethods::check_below_2_31() const {
  TORCH_CHECK(tensor_of(*this).numel() <= std::numeric_limits<std::int32_t>::max(), "numel needs to be smaller than int32_t max; otherwise, please use packed_accessor64");
}

void StorageImpl::resize(std::size_t nbytes) {
  TORCH_CHECK(deleter_ == nullptr, "Trying to resize storage that is not resizable");
  void* const before = data_;
  const std::size_t nbytes_before = nbytes_;
  take_bytes(nbytes);
  if (data_ != before && data_ != nullptr && before != nullptr) std::memcpy(data_, before, nbytes < nbytes_before ? nbytes : nbytes_before);
  give_bytes_back(before, nbytes_before);
}

const Tensor& DeviceMethods::resize_(IntArrayRef size) const {
  const Tensor& self = tensor_of(*this);
  TensorImpl& impl = self.impl();
  TORCH_CHECK(detail::asks_for_gradients == nullptr || !detail::asks_for_gradients(self),
              "cannot resize variables that require grad\n[resize_] its gradient would have other sizes; resize a detach() of it.");
  const std::int64_t numel = multiply_sizes(size);
  std::int64_t needed = 0;
  TORCH_CHECK(!__builtin_mul_overflow(numel + impl.offset, static_cast<std::int64_t>(self.element_size()), &needed),
              "Storage size calculation overflowed with sizes=", size);
  if (numel > 0 && static_cast<std::size_t>(needed) > impl.storage->nbytes()) impl.storage->resize(static_cast<std::size_t>(needed));
  impl.set_geometry(size, contiguous_strides(size), impl.offset);
  return self;
}

const Tensor& DeviceMethods::resize_as_(const Tensor& other) const { return resize_(other.sizes()); }

Tensor& DeviceMethods::set_(const Storage& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride) const {
  const Tensor& self = tensor_of(*this);
  TensorImpl& impl = self.impl();
  TORCH_CHECK(detail::asks_for_gradients == nullptr || !detail::asks_for_gradients(self),
              "a leaf Variable that requires grad is being used in an in-place operation.\n[set_] it would lose its history with its memory; use a detach() of it.");
  TORCH_CHECK(source->device() == self.device(), "Attempted to set the storage of a tensor on device \"", self.device(), "\" to a storage on different device \"", source->device(), "\".");
  TORCH_CHECK(storage_offset >= 0, "Tensor: invalid storage offset ", storage_offset);
  const std::int64_t numel = multiply_sizes(size);
  const DimVector steps = stride.empty() ? contiguous_strides(size) : DimVector(stride);
  TORCH_CHECK(size.size() == steps.size(), "unequal size length (", size.size(), ") and stride length (", steps.size(), ")");
  std::int64_t last = storage_offset, needed = 0;
  bool fits = true;
  for (std::size_t d = 0; d < size.size() && numel > 0; ++d) {
    std::int64_t reach = 0;
    fits = fits && steps[d] >= 0 && !__builtin_mul_overflow(size[d] - 1, steps[d], &reach) && !__builtin_add_overflow(last, reach, &last);
  }
  fits = fits && !__builtin_mul_overflow(last + 1, static_cast<std::int64_t>(self.element_size()), &needed);
  TORCH_CHECK(fits, "Storage size calculation overflowed with sizes=", size, " and strides=", IntArrayRef(steps));
  if (numel > 0 && static_cast<std::size_t>(needed) > source->nbytes()) source->resize(static_cast<std::size_t>(needed));
  impl.storage = source;
  impl.set_geometry(size, steps, storage_offset);
  return const_cast<Tensor&>(self);
}

Tensor& DeviceMethods::set_() const { return set_(Storage(make_intrusive<StorageImpl>(std::size_t{0})), 0, {0}); }

Tensor& DeviceMethods::set_(const Storage& source) const {
  return set_(source, 0, {static_cast<std::int64_t>(source->nbytes() / static_cast<std::size_t>(tensor_of(*this).element_size()))});
}

Tensor& DeviceMethods::set_(const Tensor& source) const {
  if (&source.impl() == &tensor_of(*this).impl()) return const_cast<Tensor&>(tensor_of(*this));
  return set_(source, source.storage_offset(), source.sizes(), source.strides());
}

Tensor& DeviceMethods::set_(const Tensor& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(source.scalar_type() == self.scalar_type(), "Could not set tensor of type ", source.dtype().name(), " to a tensor of type ", self.dtype().name());
  return set_(source.storage(), storage_offset, size, stride);
}

void DeviceMethods::set_data(const Tensor& new_data) const {
  TensorImpl& to = tensor_of(*this).impl();
  const TensorImpl& from = new_data.impl();
  if (to.metadata != nullptr && to.dtype != from.dtype) to.metadata->dtype_changes();
  to.storage = from.storage;
  to.dtype = from.dtype;
  const LayerSet history = LayerSet(Layer::Autograd) | Layer::InplaceOrView;
  to.layers = (to.layers & history) | (from.layers - history);
  to.set_geometry(from.sizes, from.strides, from.offset);
}

}  // namespace tinytorch
