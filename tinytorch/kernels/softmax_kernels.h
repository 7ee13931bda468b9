// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// What a softmax must know of a row: its maximum, and the sum of exp(x - maximum).
struct SoftmaxSum {
  double maximum = 0;
  double sum = 0;
};

// A softmax along columns takes so many in one call, and fewer than kFewestColumns more; or fewer, but no fewer than kFewestColumns, a vector of any capability.
inline constexpr std::int64_t kSoftmaxColumns = 256, kFewestColumns = 16;

// Each takes one row of `count` > 0 numbers. With `beyond_cache` results are written past the caches, and a task ends with flush(). O(count).
template <class T>
struct SoftmaxTable {
  SoftmaxSum (*sum)(const T* x, std::int64_t count);
  void (*softmax)(const T* x, std::int64_t count, bool beyond_cache, T* out);
  void (*log_softmax)(const T* x, std::int64_t count, bool beyond_cache, T* out);
  // factor * softmax(x): the gradient of a cross-entropy, but for the target's place.
  void (*scaled_softmax)(const T* x, std::int64_t count, double factor, T* out);
  // result * (grad - sum of grad * result) and grad - exp(result) * sum of grad.
  void (*softmax_backward)(const T* grad, const T* result, std::int64_t count, T* out);
  void (*log_softmax_backward)(const T* grad, const T* result, std::int64_t count, T* out);
  // Along each column of a matrix whose rows are `step` numbers apart, in x and in out. REQUIRES: rows > 0, kFewestColumns <= columns < kSoftmaxColumns + kFewestColumns.
  void (*softmax_of_columns)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*log_softmax_of_columns)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*softmax_backward_of_columns)(const T* grad, const T* result, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*log_softmax_backward_of_columns)(const T* grad, const T* result, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*flush)();
};

struct SoftmaxKernels {
  SoftmaxTable<float> in_float;
  SoftmaxTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(SoftmaxKernels, softmax_kernels)

}  // namespace kernels

}  // namespace tinytorch
