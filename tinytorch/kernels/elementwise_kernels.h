// From the lesson modules/76_vector_math/vector_math_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// One call of an elementwise kernel: out[i] = f(a[i], b[i], c[i]) for i < count, with a, b or c one number for all i where its step is 0. `out` may be a, b or c, but not overlap them otherwise.
template <class T, class Out = T>
struct Elementwise {
  Out* out;
  const T *a, *b, *c;
  std::int64_t a_step, b_step, c_step;  // 1 or 0
  std::int64_t count;
  T p, q;             // parameters: alpha of add, bounds of clamp, ...
  bool beyond_cache;  // whether to write past the caches
};

template <class T, class Out = T>
using ElementwiseKernel = void (*)(const Elementwise<T, Out>&);

template <class T>
struct ElementwiseTable {
  using Kernel = ElementwiseKernel<T>;
  Kernel exp, log, tanh, sigmoid, erf, relu, leaky_relu, gelu, gelu_tanh, silu;                                // of a; leaky_relu with slope p
  Kernel neg, abs, sqrt, rsqrt, reciprocal, square, cube, floor, ceil, round, trunc, clamp;                          // of a; clamp between p and q
  Kernel add, add_scaled, mul, div, maximum, minimum;                                                          // of a and b; add_scaled is a + p b
  Kernel addcmul, addcdiv, lerp;                                                                               // a + p b c; a + p b / c; from a to b by p
  ElementwiseKernel<T, bool> eq, ne, lt, le, gt, ge;                                                           // of a and b
  void (*where)(T* out, const bool* mask, const T* a, const T* b, std::int64_t a_step, std::int64_t b_step, std::int64_t count);  // a where the mask is true, else b
};

struct ElementwiseKernels {
  ElementwiseTable<float> in_float;
  ElementwiseTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ElementwiseKernels, elementwise_kernels)

}  // namespace kernels

}  // namespace tinytorch
