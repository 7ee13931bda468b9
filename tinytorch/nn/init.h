// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>
#include <variant>

#include "tinytorch/core/enum.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace nn::init {

using NonlinearityType =
    std::variant<enumtype::kLinear, enumtype::kConv1D, enumtype::kConv2D, enumtype::kConv3D,
                 enumtype::kConvTranspose1D, enumtype::kConvTranspose2D, enumtype::kConvTranspose3D,
                 enumtype::kSigmoid, enumtype::kTanh, enumtype::kReLU, enumtype::kLeakyReLU>;
using FanModeType = std::variant<enumtype::kFanIn, enumtype::kFanOut>;

// The factor by which the weights in front of an activation function are scaled. `param` is the slope of
// leaky_relu.
double calculate_gain(NonlinearityType nonlinearity, double param = 0.01);

// Each fills `tensor` in place with random numbers from the default generator, below autograd, and returns it.
Tensor uniform_(Tensor tensor, double low = 0, double high = 1);
Tensor normal_(Tensor tensor, double mean = 0, double std = 1);

// He et al. 2015: variance gain^2 / fan. `a` is the slope of the leaky_relu behind the layer. At least two
// dimensions.
// Without them, `mode` is kFanIn and `nonlinearity` kLeakyReLU. That is said in the source: as default arguments they would have every file that includes this header compile both variants.
Tensor kaiming_uniform_(Tensor tensor, double a = 0);
Tensor kaiming_uniform_(Tensor tensor, double a, FanModeType mode);
Tensor kaiming_uniform_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity);
Tensor kaiming_normal_(Tensor tensor, double a = 0);
Tensor kaiming_normal_(Tensor tensor, double a, FanModeType mode);
Tensor kaiming_normal_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity);
// How many inputs feed one output unit, and how many outputs one input unit feeds. Weights are (out, in,
// kernel sizes...).
std::tuple<std::int64_t, std::int64_t> _calculate_fan_in_and_fan_out(const Tensor& tensor);

}  // namespace nn::init

}  // namespace tinytorch
