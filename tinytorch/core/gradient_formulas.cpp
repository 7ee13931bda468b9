// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/gradient_formulas.h"

#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

// The gradient of permute: `grad` with its dimensions put back. A view.
Tensor permute_backward(const Tensor& grad, IntArrayRef dims) {
  DimVector inverse(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) inverse[static_cast<std::size_t>(wrap_dim(dims[i], grad.dim()))] = static_cast<std::int64_t>(i);
  return grad.permute(inverse);
}

// The gradient of softmax along `dim`: (N..., C) like `grad` and `result`, the softmax. O(numel).
Tensor softmax_backward(const Tensor& grad, const Tensor& result, std::int64_t dim) {
  const Tensor weighted = grad * result;
  return weighted - result * weighted.sum(dim, true);
}

}  // namespace tinytorch
