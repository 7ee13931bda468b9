// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/device_options.h"

#include <ostream>

#include "tinytorch/core/tensor_options.h"

namespace tinytorch {

TensorOptions DeviceOptions::device(std::optional<Device> device) const {
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).device_ = device;
  return changed;
}

TensorOptions DeviceOptions::device(DeviceType type, DeviceIndex index) const { return device(Device(type, index)); }

TensorOptions device(const Device& device) { return TensorOptions(device); }

TensorOptions DeviceOptions::layout(Layout layout) const {
  TORCH_CHECK_NOT_IMPLEMENTED(layout == kStrided, "Could not run 'empty' with the layout ", layout, "\n[layout] tensors are strided here.");
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).has_layout_ = true;
  return changed;
}
TensorOptions DeviceOptions::pinned_memory(bool pinned) const {
  TORCH_CHECK(!pinned, "Cannot pin memory: there is no graphics card to copy it to.");
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).has_pinned_memory_ = true;
  return changed;
}
TensorOptions DeviceOptions::memory_format(std::optional<MemoryFormat> memory_format) const {
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).memory_format_ = memory_format;
  return changed;
}
TensorOptions layout(Layout layout) { return TensorOptions().layout(layout); }
TensorOptions memory_format(MemoryFormat memory_format) { return TensorOptions(memory_format); }

std::ostream& operator<<(std::ostream& out, const TensorOptions& options) {
  const auto print = [&out](const char* label, const auto& value, bool named) { out << label << value << (named ? "" : " (default)"); };
  const bool gradients = options.layers().has(Layer::Autograd);
  // Before module 05 options have no requires_grad that could be named.
  const bool names_gradients = [](const auto& all) {
    if constexpr (requires { all.has_requires_grad(); }) return all.has_requires_grad();
    else return false;
  }(options);
  print("TensorOptions(dtype=", options.dtype(), options.has_dtype());
  print(", device=", options.device(), options.has_device());
  print(", layout=", options.layout(), options.has_layout());
  print(", requires_grad=", gradients ? "true" : "false", gradients || names_gradients);
  print(", pinned_memory=", "false", options.has_pinned_memory());
  out << ", memory_format=";
  if (options.has_memory_format()) out << *options.memory_format_opt();
  else out << "(nullopt)";
  return out << ")";
}

}  // namespace tinytorch
