// The methods that lessons add to TensorOptions.
// Generated from the lessons 00_setup to 86_transformer_layers: edit the module, not this file.
#pragma once

#include "tinytorch/core/autograd_options.h"

namespace tinytorch {

class OptionsExtensions : public AutogradOptions {};

}  // namespace tinytorch
