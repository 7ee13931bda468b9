// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/tensor.h"

namespace tinytorch {

// The gradient of permute: `grad` with its dimensions put back. A view.
Tensor permute_backward(const Tensor& grad, IntArrayRef dims);
// The gradient of softmax along `dim`: (N..., C) like `grad` and `result`, the softmax. O(numel).
Tensor softmax_backward(const Tensor& grad, const Tensor& result, std::int64_t dim);

}  // namespace tinytorch
