// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/device_options.h"

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
  return static_cast<const TensorOptions&>(*this);
}
TensorOptions DeviceOptions::pinned_memory(bool pinned) const {
  TORCH_CHECK(!pinned, "Cannot pin memory: there is no graphics card to copy it to.");
  return static_cast<const TensorOptions&>(*this);
}
TensorOptions layout(Layout layout) { return TensorOptions().layout(layout); }

}  // namespace tinytorch
