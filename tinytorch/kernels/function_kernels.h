// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// out[i] = f(x[i]) for i < count; `out` may be x. elu: p is alpha. softplus: beta p, threshold q. O(count).
template <class T>
struct FunctionTable {
  using Kernel = void (*)(const T* x, std::int64_t count, T p, T q, T* out);
  Kernel log1p, expm1, sin, cos, elu, softplus, log_sigmoid, mish;
  // The binary cross-entropy of logits x with targets.
  void (*bce_with_logits)(const T* x, const T* target, std::int64_t count, T* out);
};

struct FunctionKernels {
  FunctionTable<float> in_float;
  FunctionTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(FunctionKernels, function_kernels)

}  // namespace kernels

}  // namespace tinytorch
