// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// Rows of neighbouring windows, all of whose pixels are in the plane: pixel (i, j) of window x of the first row is corner[x * stride + i * row + j * column].
template <class T>
struct PoolingRows {
  const T* corner;
  std::int64_t readable;  // numbers from the corner to the end of memory: what a vector reads beyond its windows is not used
  std::int64_t rows, columns, row, column, stride;
  std::int64_t first;  // where in the plane the corner is
  std::int64_t count;
  std::int64_t* winners;  // winners[x] = where in the plane the largest number of window x is: the first one of equals; the last NaN if there is one
  std::int64_t lines;     // how many rows of windows; from one to the next it is corner_step in the plane and winners_step in the winners
  std::int64_t corner_step, winners_step;
};

struct PoolingKernels {
  void (*in_float)(const PoolingRows<float>& row);
  void (*in_double)(const PoolingRows<double>& row);
};

TINYTORCH_DECLARE_PER_CAPABILITY(PoolingKernels, pooling_kernels)

}  // namespace kernels

}  // namespace tinytorch
