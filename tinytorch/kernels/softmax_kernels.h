// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// A softmax along columns takes so many in one call, and fewer than kFewestColumns more; or fewer, but no fewer than kFewestColumns, a vector of any capability.
inline constexpr std::int64_t kSoftmaxColumns = 256, kFewestColumns = 16;

// The first three take `rows` > 0 rows of `count` > 0 numbers that follow each other, the gradients one row. With `beyond_cache` results are written past the caches, and a task ends with flush(). O(rows * count).
template <class T>
struct SoftmaxTable {
  // For each row its maximum, and the logarithm of the sum of exp(x - maximum).
  void (*sums)(const T* x, std::int64_t rows, std::int64_t count, double* maxima, double* log_sums);
  // factors[row] * softmax(x), without them softmax(x).
  void (*softmax)(const T* x, std::int64_t rows, std::int64_t count, const T* factors, bool beyond_cache, T* out);
  void (*log_softmax)(const T* x, std::int64_t rows, std::int64_t count, bool beyond_cache, T* out);
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
