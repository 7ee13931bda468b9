// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"

namespace tinytorch {

static_assert(sizeof(Tensor) == sizeof(void*), "a Tensor is a handle, one pointer wide");

}  // namespace tinytorch
