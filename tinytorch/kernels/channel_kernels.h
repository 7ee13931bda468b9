// From the lesson modules/56_product_convolutions/product_convolutions_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// A tile of a sum of products: out[i * out_row + j] = start[i * start_row + j] + sum over l < lines and k < length of a[offsets[l] + i * a_row + k * a_k] * b[l * b_line + k * b_k + j]. Without a start (nullptr) nothing is added; it may be `out`.
// Forward, a row i is a window and j an output channel: k are the numbers of a line. For the gradient of the weights a row is an input channel, and k are the windows of a row.
template <class T>
struct PixelTile {
  const T* a;
  std::int64_t a_row, a_k;
  const std::int64_t* offsets;
  std::int64_t lines, length;
  const T* b;
  std::int64_t b_line, b_k;
  T* out;
  std::int64_t out_row;
  const T* start;
  std::int64_t start_row;
};

}  // namespace kernels

namespace kernels {

// Windows in an image whose channels are last: out[i * out_step + c] = start[c] + sum over t < taps of weights[t * channels + c] * image[at + i * step + offsets[t] + c], for i < windows and c < channels.
template <class T>
struct ChannelWindows {
  const T* image;
  std::int64_t at;    // of the first window's corner, which may lie beside the image
  std::int64_t step;  // from one window to the next
  const std::int64_t* offsets;
  std::int64_t taps;
  const T* weights;
  T* out;
  std::int64_t out_step, windows, channels;
  std::int64_t slides;  // how many numbers of the kernel in a row are as far apart as windows: offsets[t + 1] = offsets[t] + step within so many; 1 if none are
  const T* start;
};

// The gradient of such weights: out[numbers[t] * channels + c] += sum over l < lines and i < windows of grad[grad_at[l] + i * channels + c] * image[at[l] + i * step + offsets[t] + c], for t < taps and first <= c < stop.
template <class T>
struct ChannelSums {
  const T* image;
  const std::int64_t* at;  // of each row of windows, in the image and in the gradient
  const std::int64_t* grad_at;
  std::int64_t lines, windows, step;
  const std::int64_t* offsets;
  const std::int64_t* numbers;
  std::int64_t taps;
  const T* grad;
  T* out;
  std::int64_t channels, first, stop;
};

template <class T>
struct ChannelTable {
  int rows, columns;  // of the largest tile; these are two vectors, of which a tile of up to half as many columns reads one
  void (*tile)(const PixelTile<T>& tile, int rows, int columns);
  void (*by_channel)(const ChannelWindows<T>& windows);
  void (*sums_by_channel)(const ChannelSums<T>& sums);
};

struct ChannelKernels {
  ChannelTable<float> in_float;
  ChannelTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ChannelKernels, channel_kernels)

}  // namespace kernels

}  // namespace tinytorch
