// From the lesson modules/62_product_ways/product_ways_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/fused_products.h"

#include <optional>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/kernels/products.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

namespace {
Tensor addmm_then_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  const Tensor sum = addmm(self, mat1, mat2, beta, alpha);
  return use_gelu ? gelu(sum) : relu(sum);
}

Tensor addmm_activation_autograd(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  if (is_recording() && (self.requires_grad() || mat1.requires_grad() || mat2.requires_grad())) return addmm_then_activation(self, mat1, mat2, beta, alpha, use_gelu);
  const ExcludeLayersGuard below(Layer::Autograd);
  return op::_addmm_activation(self, mat1, mat2, beta, alpha, use_gelu);
}

Tensor addmm_activation_tuned(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  const std::optional<Tensor> result = use_gelu ? std::nullopt : kernels::addmm_with(kernels::Activation::ReLU, self, mat1, mat2, beta, alpha);
  return result ? *result : op::_addmm_activation.function(Layer::CPU)(self, mat1, mat2, beta, alpha, use_gelu);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&, bool)>
    op::_addmm_activation("_addmm_activation", {.cpu = addmm_then_activation, .autograd = addmm_activation_autograd});

Tensor _addmm_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  check_addmm(self, mat1, mat2);
  return op::_addmm_activation(self, mat1, mat2, beta, alpha, use_gelu);
}

void register_fused_products() { op::_addmm_activation.set(Layer::TunedCPU, addmm_activation_tuned); }

}  // namespace tinytorch
