// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch {
class TensorOptions;

// What autograd adds to TensorOptions: `dtype(kDouble).requires_grad(true)`.
class AutogradOptions {
 public:
  TensorOptions requires_grad(bool requires_grad) const;
  bool requires_grad() const;
};
}  // namespace tinytorch
