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

// out (rows, windows) = A (rows, K) x pixels (K, windows), added to what is there if `adds`. A is a panel: element (i, k) is a[k * rows + i]; rows of out are out_row apart. The K numbers are the first `in_run` of each of `runs` stretches of `run_step` numbers.
template <class T>
struct WindowTile {
  const T* a;
  const std::int64_t* offsets;
  std::int64_t runs, in_run, run_step;
  WindowVector<T> left, right;
  std::int64_t out_row;
  bool adds;
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

template <class T>
struct WindowTable {
  int rows, lanes;  // of the largest tile: rows, and windows in each of its two vectors
  void (*tile)(const WindowTile<T>& tile, int rows);
  void (*lines)(const WindowLines<T>& lines);
};

struct WindowKernels {
  WindowTable<float> in_float;
  WindowTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(WindowKernels, window_kernels)

}  // namespace kernels

}  // namespace tinytorch
