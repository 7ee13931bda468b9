// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// Windows of an output row, as many as a vector has lanes: pixel of window j under kernel number k is corner[offsets[k] + j]. The first `count` of them are stored at `out`; the others are read.
template <class T>
struct WindowVector {
  const T* corner;
  T* out;
  int count;
};

// out (rows, windows) = A (rows, K) x pixels (K, windows), added to what is there if `adds`. The sums of row i start from start[i]. A is a panel: element (i, k) is a[k * rows + i]; rows of out are out_row apart. The K numbers are the first `in_run` of each of `runs` stretches of `run_step` numbers.
template <class T>
struct WindowTile {
  const T* a;
  const std::int64_t* offsets;
  std::int64_t runs, in_run, run_step;
  WindowVector<T> left, right;
  std::int64_t out_row;
  bool adds;
  const T* start;
};

// out (M, K) = sum over images, rows and columns of a[m * a_line + image * a_image + row * a_row + column] * b[offsets[k] + image * b_image + row * b_row + column], added to what is there if `adds`.
// Nothing behind `width` columns is read.
template <class T>
struct WindowLines {
  const T* a;
  std::int64_t a_line, a_image, a_row;
  const T* b;
  const std::int64_t* offsets;
  std::int64_t b_image, b_row;
  std::int64_t images, rows, width;
  std::int64_t M, K;
  T* out;
  std::int64_t out_row;
  bool adds;
};

// Windows of neighbouring rows under a kernel of one channel: out[i * out_row + j] = start + sum over t < taps of weights[t] * corner[i * row + offsets[t] + j], for i < rows and j < count. Numbers up to a whole vector are read.
template <class T>
struct WindowRows {
  const T* corner;
  std::int64_t row;
  const std::int64_t* offsets;
  std::int64_t taps;
  const T* weights;
  T* out;
  std::int64_t out_row;
  std::int64_t slides;  // how many numbers of the kernel in turn lie one row apart: offsets[t + 1] = offsets[t] + row within so many; 1 if none do
  T start;
};

template <class T>
struct WindowTable {
  int rows, lanes;  // of the largest tile: rows, and windows in each of its two vectors
  void (*tile)(const WindowTile<T>& tile, int rows);
  void (*one_channel)(const WindowRows<T>& windows, int rows, int count);  // REQUIRES: rows <= 8, count <= lanes
  void (*lines)(const WindowLines<T>& lines);
};

struct WindowKernels {
  WindowTable<float> in_float;
  WindowTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(WindowKernels, window_kernels)

}  // namespace kernels

}  // namespace tinytorch
