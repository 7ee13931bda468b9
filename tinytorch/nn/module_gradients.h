// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch::nn {
class Module;

// What autograd adds to Module.
class ModuleGradients {
 public:
  // Forgets the gradients of all parameters: makes them undefined, or zero if not set_to_none.
  void zero_grad(bool set_to_none = true);
};
}  // namespace tinytorch::nn
