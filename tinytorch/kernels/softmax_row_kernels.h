// From the lesson modules/71_attention_kernels/attention_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

template <class T>
struct SoftmaxRowTable {
  // scores[j] = exp(scores[j] - maximum) for j < count, where the maximum is that of *maximum and all scores (0 in its place while that is -inf); *sum = correction * *sum + their sum. Returns the correction, exp(*maximum before - *maximum). A NaN stays one.
  T (*absorb)(T* scores, std::int64_t count, T* maximum, T* sum);
  // scores[j] = exp(scores[j] - logsumexp); grad[j] = scores[j] * (grad[j] - delta).
  void (*weigh)(T* scores, T* grad, std::int64_t count, T logsumexp, T delta);
  // x[j] *= factor.
  void (*scale)(T* x, std::int64_t count, T factor);
  T (*dot)(const T* a, const T* b, std::int64_t count);
};

struct SoftmaxRowKernels {
  SoftmaxRowTable<float> in_float;
  SoftmaxRowTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(SoftmaxRowKernels, softmax_row_kernels)

}  // namespace kernels

}  // namespace tinytorch
