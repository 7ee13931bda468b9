// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <string>

#include "tinytorch/core/tensor.h"

namespace tinytorch {

// What a device from outside brings: memory, and copies to and from it. Addresses are the device's; the host does not read through them. Calls come from any thread.
// Source: c10/core/Allocator.h, aten/src/ATen/detail/PrivateUse1HooksInterface.h.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceIndex device_count() const { return 1; }
  // The address of memory for nbytes > 0. Throws when there is no room.
  virtual void* allocate(std::size_t nbytes, DeviceIndex index) = 0;
  virtual void deallocate(void* address, std::size_t nbytes, DeviceIndex index) noexcept = 0;
  // nbytes > 0. When they return, the copy is done, and everything that was asked of the device before it.
  virtual void copy_to_device(void* address, const void* host, std::size_t nbytes, DeviceIndex index) = 0;
  virtual void copy_from_device(void* host, const void* address, std::size_t nbytes, DeviceIndex index) = 0;
  // An operator without a kernel for the device was computed on the CPU (chapter 66): its arguments came over, its results go back.
  virtual void fell_back(const char* /*operator_name*/) {}
};

// Makes `backend` the one of all devices of type PrivateUse1, and `name` the name of their type. The backend lives as long as the process. Throws if there is one already.
void register_backend(const std::string& name, Backend& backend);
// The backend of a device. Throws if there is no such device.
Backend& backend_of(const char* function, const Device& device);

// A dense tensor without values in the memory of a device from outside. For its kernels.
Tensor empty_on_device(IntArrayRef sizes, ScalarType type, const Device& device);
// Where the first element of a device's tensor lies, in the device's memory. Throws for a tensor of the host.
void* device_address(const Tensor& self);

template <>
inline constexpr bool is_plain_argument<Device> = true;
namespace op {
extern Operator<Tensor(const Tensor&, const Device&)> to_device;
}

}  // namespace tinytorch
