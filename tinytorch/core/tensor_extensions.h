// The methods that lessons add to Tensor.
// Generated from the lessons 00_setup to 89_training_kernels: edit the module, not this file.
#pragma once

#include "tinytorch/core/device_methods.h"
#include "tinytorch/core/more_methods.h"
#include "tinytorch/nn/activation_methods.h"
#include "tinytorch/core/autograd_methods.h"
#include "tinytorch/core/history_methods.h"
#include "tinytorch/core/breadth_methods.h"
#include "tinytorch/core/overload_methods.h"
#include "tinytorch/core/linalg_methods.h"

namespace tinytorch {

class TensorExtensions : public DeviceMethods, public MoreMethods, public ActivationMethods, public AutogradMethods, public HistoryMethods, public BreadthMethods, public OverloadMethods, public LinalgMethods {};

}  // namespace tinytorch
