// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>

namespace tinytorch {
class TensorOptions;

// What autograd adds to TensorOptions: `dtype(kDouble).requires_grad(true)`.
class AutogradOptions {
 public:
  [[nodiscard]] TensorOptions requires_grad(std::optional<bool> requires_grad) const;  // nothing: as if it had not been named
  bool requires_grad() const;
  bool has_requires_grad() const { return has_requires_grad_; }

 private:
  bool has_requires_grad_ = false;
};
}  // namespace tinytorch
