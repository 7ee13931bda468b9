// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <limits>
#include <optional>

#include "tinytorch/core/accessor.h"
#include "tinytorch/core/device.h"
#include "tinytorch/core/memory_format.h"
#include "tinytorch/core/scalar_type.h"

namespace tinytorch {
class Storage;
class Tensor;
class TensorOptions;

// Devices, conversion and access. Source: aten/src/ATen/core/TensorBase.h.
class DeviceMethods {
 public:
  Device device() const;  // the CPU, or a device from outside (core/backend.h)
  DeviceIndex get_device() const { return device().index(); }
  bool is_cpu() const { return device().is_cpu(); }
  bool is_cuda() const { return device().is_cuda(); }

  // The tensor with another dtype or on another device, or itself when it is so already (a copy of itself with `copy`). Throws for a device that is not there. O(numel).
  // It lies as `memory_format` says; nothing, or Preserve, keeps the order. `options` may name it instead.
  Tensor to(ScalarType dtype, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(TypeMeta dtype, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(Device device, ScalarType dtype, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(const TensorOptions& options, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(const Tensor& other, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor toType(ScalarType dtype) const;
  Tensor type_as(const Tensor& other) const;
  Tensor cpu() const;
  Tensor cuda() const;  // throws: there is none

  MemoryFormat suggest_memory_format() const;  // the one that the strides are in
  Layout layout() const { return kStrided; }
  std::int64_t ndimension() const;
  std::size_t nbytes() const;
  std::size_t itemsize() const;
  std::string toString() const;  // "CPUFloatType"
  Tensor& zero_() const;

  // The elements as a[i][j]: no check of an index, no call. REQUIRES that the tensor outlives the accessor. Throws if the tensor has not N dimensions, or another dtype than T.
  template <class T, std::size_t N>
  TensorAccessor<T, N> accessor() const&;
  template <class T, std::size_t N>
  TensorAccessor<T, N> accessor() && = delete;
  // The same with sizes and strides inside, as kernels for a graphics card want it; with 32 bits the tensor must have fewer than 2^31 elements.
  template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits>
  PackedTensorAccessor32<T, N, PtrTraits> packed_accessor32() const&;
  template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits>
  PackedTensorAccessor64<T, N, PtrTraits> packed_accessor64() const&;
  template <class T>
  const T* const_data_ptr() const;
  template <class T>
  T* mutable_data_ptr() const;

  // Gives this tensor the sizes `size`, densely, last dimension fastest. What the storage held stays; what is added is uninitialised, and views of it see the same storage. Throws for a tensor that
  // requires gradients, and for memory that someone else owns (from_blob) when it would have to grow. O(bytes that move).
  const Tensor& resize_(IntArrayRef size) const;
  const Tensor& resize_as_(const Tensor& other) const;
  // Lets this tensor, for every handle on it, lie in other memory: in all of `source`, or from element `storage_offset` of it with these sizes and strides (dense without). Its dtype stays; the storage grows
  // when it must. Without a source there are no elements. Throws for a tensor that requires gradients, and for a source tensor of another dtype.
  Tensor& set_() const;
  Tensor& set_(const Storage& source) const;
  Tensor& set_(const Storage& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride = {}) const;
  Tensor& set_(const Tensor& source) const;
  Tensor& set_(const Tensor& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride = {}) const;
  // Puts the data, sizes and dtype of `new_data` under this tensor, for every handle on it. What autograd knows about it stays.
  void set_data(const Tensor& new_data) const;

 private:
  void* checked_data(ScalarType type) const;  // throws if the dtype is another
  IntArrayRef checked_sizes(std::size_t dims) const;  // throws if there are not so many dimensions
  IntArrayRef all_strides() const;
  void check_below_2_31() const;
};

namespace detail {
// Whether a tensor requires gradients. Chapter 83 sets it, when there is an autograd to ask.
using TensorQuestion = bool (*)(const Tensor&);
inline constinit TensorQuestion asks_for_gradients = nullptr;
}
}  // namespace tinytorch

namespace tinytorch {

template <class T, std::size_t N>
TensorAccessor<T, N> DeviceMethods::accessor() const& {
  const IntArrayRef sizes = checked_sizes(N);
  return {static_cast<T*>(checked_data(scalar_type_of<std::remove_const_t<T>>())), sizes.data(), all_strides().data()};
}

template <class T, std::size_t N, template <class U> class PtrTraits>
PackedTensorAccessor32<T, N, PtrTraits> DeviceMethods::packed_accessor32() const& {
  check_below_2_31();
  const IntArrayRef sizes = checked_sizes(N);
  return {static_cast<T*>(checked_data(scalar_type_of<std::remove_const_t<T>>())), sizes.data(), all_strides().data()};
}

template <class T, std::size_t N, template <class U> class PtrTraits>
PackedTensorAccessor64<T, N, PtrTraits> DeviceMethods::packed_accessor64() const& {
  const IntArrayRef sizes = checked_sizes(N);
  return {static_cast<T*>(checked_data(scalar_type_of<std::remove_const_t<T>>())), sizes.data(), all_strides().data()};
}

template <class T>
const T* DeviceMethods::const_data_ptr() const {
  return static_cast<const T*>(checked_data(scalar_type_of<T>()));
}
template <class T>
T* DeviceMethods::mutable_data_ptr() const {
  return static_cast<T*>(checked_data(scalar_type_of<T>()));
}

}  // namespace tinytorch
