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
// grad * factor; `grad` itself when the factor is 1, as the alpha of most sums and products is.
Tensor scaled(const Tensor& grad, const Scalar& factor);

// Whether a matrix lies in memory as a transposed one, which Arg<I, LiesTransposed> keeps of input I.
struct LiesTransposed {
  LiesTransposed() = default;
  explicit LiesTransposed(const Tensor& matrix) : value(matrix.stride(0) == 1 && matrix.stride(1) != 1) {}
  bool value = false;
};
// The gradient of the second factor of a product. It lies in memory as that factor does, so that the gradient of the weight behind x.mm(weight.t()) comes out dense.
Tensor mm_mat2_backward(const Tensor& grad, const Tensor& self, LiesTransposed mat2);

}  // namespace tinytorch
