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

}  // namespace tinytorch
