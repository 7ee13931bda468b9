// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>

#include "tinytorch/core/generator.h"
#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace autograd {
// f(input), whose inner values are not kept: the backward pass computes them again, with the same random numbers from the default
// generator. The same values and gradients as f(input), for `input` and for parameters that f uses. Source: torch/utils/checkpoint.py (reentrant); Chen et al. 2016.
Tensor checkpoint(const std::function<Tensor(const Tensor&)>& f, const Tensor& input);
}  // namespace autograd

}  // namespace tinytorch
