// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <variant>

namespace tinytorch {

// Names for choices, as types: `kFanIn` is a value of its own type, and a parameter that takes a few of them
// is a std::variant. Source: torch/csrc/api/include/torch/enum.h.
#define TORCH_ENUM_DECLARE(name) \
  namespace enumtype {           \
  struct k##name {};             \
  }                              \
  inline constexpr enumtype::k##name k##name{}

TORCH_ENUM_DECLARE(Linear);
TORCH_ENUM_DECLARE(Conv1D);
TORCH_ENUM_DECLARE(Conv2D);
TORCH_ENUM_DECLARE(Conv3D);
TORCH_ENUM_DECLARE(ConvTranspose1D);
TORCH_ENUM_DECLARE(ConvTranspose2D);
TORCH_ENUM_DECLARE(ConvTranspose3D);
TORCH_ENUM_DECLARE(Sigmoid);
TORCH_ENUM_DECLARE(Tanh);
TORCH_ENUM_DECLARE(ReLU);
TORCH_ENUM_DECLARE(LeakyReLU);
TORCH_ENUM_DECLARE(FanIn);
TORCH_ENUM_DECLARE(FanOut);

}  // namespace tinytorch
