// From the lesson modules/55_pooling_kernels/pooling_kernels_dev.cpp:
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
  std::int64_t first, plane;  // where in its plane the corner is, and how large that is: planes behind one another may be one list of rows
  std::int64_t count;
  std::int64_t* winners;  // winners[x] = where in the plane the largest number of window x is: the first one of equals; the last NaN if there is one
  T* values;              // values[x] = that number
  std::int64_t lines;     // how many rows of windows; from one to the next it is corner_step in the plane and result_step in the results
  std::int64_t corner_step, result_step;
};

// One window of an image with channels last, all of whose pixels are in the image: pixel (i, j) has its channels at corner + i * row + j * column, and stands at first + i * place_row + j * place_column of the plane.
template <class T>
struct ChannelWindow {
  const T* corner;
  std::int64_t channels;
  std::int64_t rows, columns, row, column;
  std::int64_t first, place_row, place_column;
  std::int64_t* winners;  // for each channel, as in PoolingRows
  T* values;
};

template <class T>
struct PoolingTable {
  void (*rows)(const PoolingRows<T>& rows);
  void (*channels)(const ChannelWindow<T>& window);
};

struct PoolingKernels {
  PoolingTable<float> in_float;
  PoolingTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(PoolingKernels, pooling_kernels)

}  // namespace kernels

namespace kernels {

// Windows beside each other of images with channels last. They have the same rows, and columns of their own.
template <class T>
struct LineOfWindows {
  const T* from;  // the first of the rows; pixel (i, j) has its channels at from + i * row + j * channels
  std::int64_t channels;
  std::int64_t rows, row;
  std::int64_t count;                             // windows, whose results are `channels` numbers each, behind one another
  const std::int64_t* firsts;                     // their first columns
  const std::int64_t* lengths;                    // how many columns they have
  std::int64_t divisor = 1;                       // of means: window x is divided by divisor * divisors[x]
  const std::int64_t* divisors = nullptr;
  const T* weights = nullptr;                     // of weighted sums: pixel (i, j) counts weights[i * weight_row + j]
  std::int64_t weight_row = 0;
  T* out;
};

constexpr std::int64_t kWidestVector = 16;

// All windows of planes in rows, which follow each other, as their results do.
template <class T>
struct PlanesOfWindows {
  const T* from;
  std::int64_t planes, height, width;
  std::int64_t lines;                                           // of windows in a plane
  const std::int64_t *firsts, *lengths;                         // for each of them the first of its rows, and how many it has
  const std::int64_t* row_divisors;
  std::int64_t count, kernel, stride, padding;                  // windows of a line; window x has the columns from x stride - padding on
  const T* divisors;                                            // window x of line y is divided by row_divisors[y] divisors[x]; kWidestVector numbers behind them are readable
  T* out;
  T* sums;                                                      // room for room_of_sums(), full of zeros
};
template <class T>
std::int64_t room_of_sums(const PlanesOfWindows<T>& planes) {
  const std::int64_t windows = planes.count * planes.stride + planes.kernel, columns = planes.padding + planes.width;
  return (windows > columns ? windows : columns) + (planes.stride + 1) * kWidestVector;
}

template <class T>
struct WindowMeansTable {
  void (*means)(const LineOfWindows<T>& line);
  void (*weighted_sums)(const LineOfWindows<T>& line);
  void (*means_in_rows)(const PlanesOfWindows<T>& planes);
};

struct WindowMeansKernels {
  WindowMeansTable<float> in_float;
  WindowMeansTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(WindowMeansKernels, window_means_kernels)

}  // namespace kernels

}  // namespace tinytorch
