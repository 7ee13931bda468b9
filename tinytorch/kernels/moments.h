// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace kernels {

// Mean and variance (divided by the count) of `self` over the dimensions `dim`, for each place that remains, in row-major order. Returns false, and writes nothing, where a tuned reduction would hand it down.
bool moments_over(const Tensor& self, IntArrayRef dim, double* means, double* variances);

}  // namespace kernels

}  // namespace tinytorch
