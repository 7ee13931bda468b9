// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// As wide as a T, for positions beside numbers.
template <class T>
struct PositionOf;
template <>
struct PositionOf<float> {
  using type = std::int32_t;
};
template <>
struct PositionOf<double> {
  using type = std::int64_t;
};
template <class T>
using Position = typename PositionOf<T>::type;

// What a variance is made of: the mean of some numbers, and the sum of their squared distances to it.
struct Moments {
  double mean = 0;
  double squares = 0;
};

// Numbers that a kernel for columns may touch behind the last column of its totals.
inline constexpr std::int64_t kColumnPadding = 16;

template <class T>
struct ReductionTable {
  // Of the `count` numbers at x, which may begin anywhere. O(count).
  double (*sum)(const T* x, std::int64_t count);
  // The same of four runs of `count` numbers each.
  void (*four_sums)(const T* const* runs, std::int64_t count, double* sums);
  double (*sum_of_magnitudes)(const T* x, std::int64_t count);
  double (*sum_of_squares)(const T* x, std::int64_t count);
  // Reads x twice: choose `count` so that it stays in the first cache. REQUIRES: count > 0.
  Moments (*moments)(const T* x, std::int64_t count);
  // Where the first largest (smallest) number stands; the first NaN, if there is one. REQUIRES: count > 0.
  std::int64_t (*extreme)(const T* x, std::int64_t count, bool largest);

  // Of the columns of a matrix whose rows are `step` numbers apart; the totals have room for kColumnPadding numbers more than `columns`.
  // totals[j] += the sum of column j.
  void (*add_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, double* totals);
  // mean[j] and squares[j] are of `count` numbers before and of count + rows after.
  void (*moments_of_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, double* mean, double* squares, std::int64_t count);
  // best[j] and position[j] become those of a number of column j that beats best[j]; row r has the position first + r.
  void (*extreme_of_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* best, Position<T>* position, std::int64_t first, bool largest);
  // The same without positions.
  void (*extreme_values_of_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* best, bool largest);
};

struct ReductionKernels {
  ReductionTable<float> in_float;
  ReductionTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ReductionKernels, reduction_kernels)

}  // namespace kernels

}  // namespace tinytorch
