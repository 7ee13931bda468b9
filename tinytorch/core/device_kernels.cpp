// From the lesson modules/66_backends/backends_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/device_kernels.h"

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/module.h"

namespace tinytorch {

void detail::OneDevice::see(const Tensor& tensor) {
  ++argument_;
  if (!tensor.defined() || (!tensor.is_elsewhere() && tensor.dim() == 0)) return;
  const Device device = tensor.storage()->device();
  if (!device_) device_ = device;
  TORCH_CHECK(*device_ == device, "Expected all tensors to be on the same device, but found at least two devices, ", *device_, " and ", device, "!\n[", operator_name_, "] tensor ", argument_, " lies on ", device,
              "; move it with to(\"", *device_, "\") first.");
}

void detail::OneDevice::see(TensorList tensors) {
  for (const Tensor& tensor : tensors) see(tensor);
}

namespace {
// Where an argument lay at the forward call.
struct PlaceOf {
  PlaceOf() = default;
  explicit PlaceOf(const Tensor& tensor) : device(tensor.storage()->device()) {}
  Device device = kCPU;
};
}  // namespace

void register_devices() {
  gradient<op::to_device>([](const Tensor& g, Arg<0, PlaceOf> from) { return to_device(g, from.value.device); });
  op::permute.set(Layer::PrivateUse1, op::permute.function(Layer::CPU));
  op::parameter.set(Layer::PrivateUse1, op::parameter.function(Layer::CPU));
}

}  // namespace tinytorch
