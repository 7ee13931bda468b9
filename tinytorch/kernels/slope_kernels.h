// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// out[i] = grad[i] * slope at i, for i < count; `saved` holds results for relu, sigmoid and tanh, inputs for the others. `out` may be grad. O(count).
template <class T>
struct SlopeTable {
  using Kernel = void (*)(const T* grad, const T* saved, std::int64_t count, T* out);
  Kernel relu, sigmoid, tanh, silu, gelu, gelu_tanh, hardswish;
  // With the numbers p and q of the activation; `x` holds inputs.
  using ShapedKernel = void (*)(const T* grad, const T* x, std::int64_t count, T p, T q, T* out);
  ShapedKernel elu, softplus, leaky_relu, hardtanh, shrink, logit;
  // out[i] = a[i] sigmoid(b[i]), and the gradients of both.
  void (*gate)(const T* a, const T* b, std::int64_t count, T* out);
  void (*gate_backward)(const T* grad, const T* a, const T* b, std::int64_t count, T* grad_a, T* grad_b);
  // out[i] = grad[i grad_step] factor (a[i] - b[i]), the difference cut between -most and most; grad_step 0 or 1.
  void (*clipped_difference)(const T* grad, std::int64_t grad_step, const T* a, const T* b, std::int64_t count, T factor, T most, T* out);
};

struct SlopeKernels {
  SlopeTable<float> in_float;
  SlopeTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(SlopeKernels, slope_kernels)

}  // namespace kernels

}  // namespace tinytorch
