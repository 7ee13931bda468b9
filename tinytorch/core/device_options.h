// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <iosfwd>
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
  std::optional<Layout> layout_opt() const { return has_layout_ ? std::optional(kStrided) : std::nullopt; }
  std::optional<bool> pinned_memory_opt() const { return has_pinned_memory_ ? std::optional(false) : std::nullopt; }
  bool has_layout() const { return has_layout_; }
  bool has_pinned_memory() const { return has_pinned_memory_; }
  // What `empty`, the `*_like` functions and `to` lay elements out in; other functions do not ask.
  [[nodiscard]] TensorOptions memory_format(std::optional<MemoryFormat> memory_format) const;
  std::optional<MemoryFormat> memory_format_opt() const { return memory_format_; }
  bool has_memory_format() const { return memory_format_.has_value(); }

 protected:
  void set_device(std::optional<Device> device) { device_ = device; }
  void set_memory_format(std::optional<MemoryFormat> format) { memory_format_ = format; }

 private:
  std::optional<Device> device_;
  std::optional<MemoryFormat> memory_format_;
  bool has_layout_ = false;
  bool has_pinned_memory_ = false;
};

// Options that name one thing only: `zeros({2}, device(kCPU))`.
TensorOptions device(const Device& device);
TensorOptions layout(Layout layout);
TensorOptions memory_format(MemoryFormat memory_format);
// "TensorOptions(dtype=long int, device=cpu (default), ...": what is named, and of the rest what it will be.
std::ostream& operator<<(std::ostream& out, const TensorOptions& options);
}  // namespace tinytorch
