// From the lesson modules/02_activations/activations_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>

#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/scalar_type.h"

namespace tinytorch {
class Tensor;

// The activations that PyTorch offers as methods. Each calls the function of its name (nn/activations.h).
class ActivationMethods {
 public:
  Tensor relu() const;
  Tensor& relu_() const;
  Tensor sigmoid() const;
  Tensor tanh() const;
  Tensor softmax(std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt) const;
  Tensor log_softmax(std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt) const;
  Tensor logsumexp(IntArrayRef dim, bool keepdim = false) const;
};
}  // namespace tinytorch
