// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>

#include "tinytorch/core/device.h"
#include "tinytorch/core/memory_format.h"

namespace tinytorch {
class TensorOptions;

// What devices add to TensorOptions: `TensorOptions().device(kCPU).dtype(kLong)`. Source: c10/core/TensorOptions.h.
class DeviceOptions {
 public:
  [[nodiscard]] TensorOptions device(std::optional<Device> device) const;
  [[nodiscard]] TensorOptions device(DeviceType type, DeviceIndex index) const;
  Device device() const { return device_.value_or(Device(DeviceType::CPU)); }
  std::optional<Device> device_opt() const { return device_; }
  DeviceIndex device_index() const { return device().index(); }
  bool has_device() const { return device_.has_value(); }
  // Tensors are strided, and no memory is pinned: anything else is refused here.
  [[nodiscard]] TensorOptions layout(Layout layout) const;
  [[nodiscard]] TensorOptions pinned_memory(bool pinned) const;
  Layout layout() const { return kStrided; }
  bool pinned_memory() const { return false; }

 protected:
  void set_device(std::optional<Device> device) { device_ = device; }

 private:
  std::optional<Device> device_;
};

// Options that name a device only: `zeros({2}, device(kCPU))`.
TensorOptions device(const Device& device);
TensorOptions layout(Layout layout);
}  // namespace tinytorch
