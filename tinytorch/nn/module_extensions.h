// The methods that lessons add to Module.
// Generated from the lessons 00_setup to 89_training_kernels: edit the module, not this file.
#pragma once

#include "tinytorch/nn/module_gradients.h"
#include "tinytorch/nn/module_serialization.h"

namespace tinytorch::nn {

class ModuleExtensions : public ModuleGradients, public ModuleSerialization {};

}  // namespace tinytorch::nn
