// The methods that lessons add to TensorOptions.
// Generated from the lessons 00_setup to 89_training_kernels: edit the module, not this file.
#pragma once

#include "tinytorch/core/device_options.h"
#include "tinytorch/core/autograd_options.h"

namespace tinytorch {

class OptionsExtensions : public DeviceOptions, public AutogradOptions {};

}  // namespace tinytorch
