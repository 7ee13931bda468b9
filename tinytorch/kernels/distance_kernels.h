// From the lesson modules/52_order_kernels/order_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// Of 64 rows, turned (count, 64), and `rows` rows at `a`: totals[r 64 + j] (+)= the sum of |d| (p = 1) or d^2 (p = 2), or the largest |d|, over the columns, for the first `width` j and perhaps some more. d = a[r a_row + k] - panel[k 64 + j].
template <class T>
struct DistanceTable {
  using Kernel = void (*)(const T* a, std::int64_t a_row, std::int64_t rows, const T* panel, std::int64_t count, std::int64_t width, T* totals);
  Kernel first, second, largest;
  void (*turn)(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t count, T* panel);  // panel[k 64 + j] = x[j x_row + k]
  void (*roots)(const T* totals, std::int64_t count, T* out);
  // Of `rows` rows at a and `others` rows at b, all of M numbers: out[i M + k] += the sum over j of weights[i weights_row + j] (a[i M + k] - b[j M + k]). `lengths`, which lie as the weights do, are distances.
  using Pull = void (*)(const T* a, std::int64_t rows, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out);
  Pull add_weighted;       // without lengths
  Pull add_signed;         // of the signs of the differences, without lengths; REQUIRES: none is NaN
  Pull add_signed_or_nan;  // the same of any differences
  Pull add_largest;        // of the signs of those differences whose size is the distance
};

inline constexpr std::int64_t kPanelRows = 64, kPanelColumns = 128;  // of a turned piece of x2

struct DistanceKernels {
  DistanceTable<float> in_float;
  DistanceTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(DistanceKernels, distance_kernels)

}  // namespace kernels

}  // namespace tinytorch
