// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>
#include <variant>

#include "tinytorch/core/enum.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace nn::init {

using NonlinearityType = std::variant<enumtype::kLinear, enumtype::kSigmoid, enumtype::kTanh, enumtype::kReLU,
                                      enumtype::kLeakyReLU>;
using FanModeType = std::variant<enumtype::kFanIn, enumtype::kFanOut>;

// The factor by which the weights in front of an activation function are scaled. `param` is the slope of
// leaky_relu.
double calculate_gain(NonlinearityType nonlinearity, double param = 0.01);

// Each fills `tensor` in place, below autograd, and returns it. Random ones draw from the default generator.
Tensor constant_(Tensor tensor, Scalar value);
Tensor zeros_(Tensor tensor);
Tensor ones_(Tensor tensor);
Tensor eye_(Tensor matrix);
Tensor uniform_(Tensor tensor, double low = 0, double high = 1);
Tensor normal_(Tensor tensor, double mean = 0, double std = 1);

// He et al. 2015: variance gain^2 / fan. `a` is the slope of the leaky_relu behind the layer. At least two
// dimensions.
Tensor kaiming_uniform_(Tensor tensor, double a = 0, FanModeType mode = kFanIn,
                        NonlinearityType nonlinearity = kLeakyReLU);
Tensor kaiming_normal_(Tensor tensor, double a = 0, FanModeType mode = kFanIn,
                       NonlinearityType nonlinearity = kLeakyReLU);
// Glorot and Bengio 2010: variance gain^2 * 2 / (fan_in + fan_out). At least two dimensions.
Tensor xavier_uniform_(Tensor tensor, double gain = 1.0);
Tensor xavier_normal_(Tensor tensor, double gain = 1.0);

// How many inputs feed one output unit, and how many outputs one input unit feeds. Weights are (out, in,
// kernel sizes...).
std::tuple<std::int64_t, std::int64_t> _calculate_fan_in_and_fan_out(const Tensor& tensor);

}  // namespace nn::init

}  // namespace tinytorch
