// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/engine.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/saved_variable.h"

namespace tinytorch {

// Options for a tensor that requires gradients: `zeros({2}, requires_grad())`.
inline TensorOptions requires_grad(bool requires_grad = true) { return TensorOptions().requires_grad(requires_grad); }

}  // namespace tinytorch
