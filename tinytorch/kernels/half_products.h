// From the lesson modules/65_half_kernels/half_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/tensor.h"
#include "tinytorch/kernels/half_kernels.h"

namespace tinytorch {

namespace kernels {
// The table that runs here. REQUIRES: `type` is Half or BFloat16.
const HalfTable& half_table(ScalarType type);

// Whether `x` is Half or BFloat16, and tuned kernels are asked for.
bool is_tuned_half(const Tensor& x);
}  // namespace kernels

}  // namespace tinytorch
