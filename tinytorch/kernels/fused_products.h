// From the lesson modules/62_product_ways/product_ways_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/scalar.h"
#include "tinytorch/core/tensor.h"

namespace tinytorch {

// relu(beta * self + alpha * mat1 x mat2), or gelu (with erf) of it: mat1 (M, K), mat2 (K, N), `self` broadcasts to (M, N). Errors are addmm's.
// Source: aten/src/ATen/native/LinearAlgebra.cpp, addmm_activation_out_cpu.
Tensor _addmm_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1, const Scalar& alpha = 1, bool use_gelu = false);

namespace op {
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&, bool)> _addmm_activation;
}  // namespace op

}  // namespace tinytorch
