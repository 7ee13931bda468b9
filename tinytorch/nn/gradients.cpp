// From the lesson modules/64_gradient_table/gradient_table_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/gradient_formulas.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

void register_activation_gradients() {
  gradient<op::relu, op::relu_>([](const Tensor& g, Output result) { return where(result <= 0, zeros({}, g.options()), g); });
  gradient<op::sigmoid>([](const Tensor& g, Output result) { return g * (result * (1 - result)); });
  gradient<op::tanh>([](const Tensor& g, Output result) { return g * (1 - result * result); });
  gradient<op::softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) { return softmax_backward(g, result, dim); });
  gradient<op::log_softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) { return g - exp(result) * g.sum(dim.value, true); });
}

}  // namespace tinytorch
