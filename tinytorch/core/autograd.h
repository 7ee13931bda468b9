// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/engine.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/gradient.h"

namespace tinytorch {

// Options for a tensor that requires gradients: `zeros({2}, requires_grad())`.
inline TensorOptions requires_grad(bool requires_grad = true) { return TensorOptions().requires_grad(requires_grad); }

// The gradient of a reduction over `dims` (none: all) of a tensor of `sizes`, stretched back to those sizes. A view.
Tensor unreduce(const Tensor& grad, IntArrayRef sizes, IntArrayRef dims, bool keepdim);

}  // namespace tinytorch
