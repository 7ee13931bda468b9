// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/dispatch.h"

namespace tinytorch {

void fail_undefined_argument(const char* name) {
  throw Error(std::string("Expected a proper Tensor but got None (or an undefined Tensor in C++)\n[") + name +
              "] an argument is a default-constructed Tensor; give it a value first, for example with empty() or zeros().");
}

void fail_no_layer(const char* name, LayerSet left) {
  if (left.has(Layer::Elsewhere)) fail_no_kernel_elsewhere(name);
  throw NotImplementedError(std::string("Could not run '") + name + "' with these arguments: no layer of the operator accepts them.");
}

// Called once at start-up: lets each module add its layers to the operators of earlier ones. It stands here because every program that uses an operator links this file.
void register_all();
namespace {
[[maybe_unused]] const bool registered_at_startup = (register_all(), true);
}

}  // namespace tinytorch
