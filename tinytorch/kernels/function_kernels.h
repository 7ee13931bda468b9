// From the lesson modules/79_function_kernels/function_kernels_dev.cpp:
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
  Kernel log1p, expm1, sin, cos, tan, atan, elu, softplus, log_sigmoid, mish;
  Kernel exp2, log2, log10, asin, acos, erfinv, sinh, cosh, asinh, acosh, atanh, erfc, lgamma, digamma, trigamma;
  Kernel frac, sign, logit, hardsigmoid, hardswish, hardtanh, threshold, hardshrink, softshrink;  // logit, hardtanh: between p and q. threshold: q up to p. The others: p on both sides of 0.
  // out[i] = whether x[i] is one.
  using Question = void (*)(const T* x, std::int64_t count, bool* out);
  Question isnan, isinf, isfinite;
  // out[i] = f(a[i], b[i b_step]), b_step 0 or 1; `out` may be a.
  using PairKernel = void (*)(const T* a, const T* b, std::int64_t b_step, std::int64_t count, T p, T* out);
  PairKernel fmod, remainder, floor_divide, bce_with_logits;  // the last one: the binary cross-entropy of logits a with targets b
  PairKernel atan2, hypot, pow, power_of_base, prelu;         // power_of_base: b^a; prelu: a with slope b
  PairKernel copysign, logaddexp;
  PairKernel squared_error, smooth_l1, huber, bce;            // of a and targets b, with beta or delta p; bce of probabilities a
  void (*nan_to_num)(const T* x, std::int64_t count, T nan, T posinf, T neginf, T* out);
  // The product of `count` numbers, and totals[i] *= x[i] for i < count; both in double.
  double (*product)(const T* x, std::int64_t count);
  void (*multiply_to)(const T* x, std::int64_t count, double* totals);
};

struct FunctionKernels {
  FunctionTable<float> in_float;
  FunctionTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(FunctionKernels, function_kernels)

}  // namespace kernels

}  // namespace tinytorch
