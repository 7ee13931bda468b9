// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/init.h"

namespace tinytorch {

namespace nn::init {

// Each fills `tensor` in place, below autograd, and returns it.
Tensor constant_(Tensor tensor, Scalar value);
Tensor zeros_(Tensor tensor);
Tensor ones_(Tensor tensor);
// 1 on the diagonal of a matrix, 0 elsewhere.
Tensor eye_(Tensor matrix);
// The weight (out, in, kernel...) of a convolution that hands its first min(out, in) channels through: 3 to 5 dimensions.
Tensor dirac_(Tensor tensor);
// Glorot and Bengio 2010: variance gain^2 * 2 / (fan_in + fan_out). At least two dimensions.
Tensor xavier_uniform_(Tensor tensor, double gain = 1.0);
Tensor xavier_normal_(Tensor tensor, double gain = 1.0);
// gain * a random matrix (size(0), the rest) with orthonormal rows or columns, whichever are fewer. O(rows columns^2).
// Saxe et al. 2013.
Tensor orthogonal_(Tensor tensor, double gain = 1.0);
// Normal numbers; in each column of the matrix the part `sparsity` of the rows, rounded up, is 0. Martens 2010.
Tensor sparse_(Tensor tensor, double sparsity, double std = 0.01);

}  // namespace nn::init

}  // namespace tinytorch
