// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>

#include "tinytorch/core/tensor.h"
#include "tinytorch/kernels/gemm_kernels.h"

namespace tinytorch {

namespace kernels {

// activation(beta * self + alpha * mat1 x mat2) where these kernels compute it: all float or all double, and `self` broadcasts to the result. Elsewhere nothing.
std::optional<Tensor> addmm_with(Activation activation, const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha);

}  // namespace kernels

}  // namespace tinytorch
