// From the lesson modules/87_norm_kernels/norm_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

struct GradientSums {
  double grad = 0;      // sum of the gradient
  double products = 0;  // sum of the gradient times (x - center)
};

// Layer norm or RMS norm of rows of `count` > 0 numbers; weight and bias may be null.
template <class T>
struct RowNormTable {
  // `rows` > 0 rows that follow each other. With beyond_cache results are written past the caches, and a task ends with flush().
  void (*forward)(const T* x, std::int64_t rows, std::int64_t count, const T* weight, const T* bias, double eps, bool beyond_cache, T* out);
  // At most 8 rows: the gradient of their input, when that of their result is `grad`. For the gradient of the weight totals[j] += the sum of grad * normalized x over the rows, unless `totals` is null.
  void (*backward)(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* weight, double eps, T* out, double* totals);
};

// Group norm of one group: `channels` rows of `count` > 0 numbers, of which each has a number of weight and bias; both may be null.
template <class T>
struct GroupNormTable {
  void (*forward)(const T* x, std::int64_t channels, std::int64_t count, const T* weight, const T* bias, double eps, T* out);
  // The gradient of its input, when that of its result is `grad`, and for each channel the sums for the gradients of weight and bias.
  void (*backward)(const T* grad, const T* x, std::int64_t channels, std::int64_t count, const T* weight, double eps, T* out, double* of_weight, double* of_bias);
};

template <class T>
struct NormalizationTable {
  RowNormTable<T> layer_norm;
  RowNormTable<T> rms_norm;
  GroupNormTable<T> group_norm;
  void (*flush)();
  // out = (x - center) * scale + shift, for one channel and for one row of channels.
  void (*affine)(const T* x, std::int64_t count, T center, T scale, T shift, T* out);
  void (*affine_channels)(const T* x, std::int64_t count, const T* centers, const T* scales, const T* shifts, T* out);
  // Of one plane; numbers `ahead` of these are asked for, which are the next one's.
  GradientSums (*gradient_sums)(const T* grad, const T* x, std::int64_t count, T center, std::int64_t ahead);
  // out = grad * a + (x - center) * b + c
  void (*combine)(const T* grad, const T* x, std::int64_t count, T center, T a, T b, T c, T* out);
  // The same of rows of channels: sums[c] and products[c] += those of up to sixteen rows, and one row of the result.
  void (*gradient_sums_channels)(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* centers, double* sums, double* products);
  void (*combine_channels)(const T* grad, const T* x, std::int64_t count, const T* centers, const T* a, const T* b, const T* c, T* out);
};

struct NormalizationKernels {
  NormalizationTable<float> in_float;
  NormalizationTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(NormalizationKernels, normalization_kernels)

}  // namespace kernels

}  // namespace tinytorch
