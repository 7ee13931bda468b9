// From the lesson modules/85_resampling_kernels/resampling_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

template <class T>
struct ResamplingTable {
  // out[i] = the sum of weights[j] * from[index[j] * count + i] for j < entries, for `count` numbers side by side.
  void (*rows)(const T* from, std::int64_t count, const std::int64_t* index, const T* weights, std::int64_t entries, T* out);
  // out[i] = the sum of weights[k * count + i] * numbers[index[k * count + i]] for k < entries: as many for each of `count` results.
  void (*line)(const T* numbers, std::int64_t count, const std::int32_t* index, const T* weights, std::int64_t entries, T* out);
};

struct ResamplingKernels {
  ResamplingTable<float> in_float;
  ResamplingTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ResamplingKernels, resampling_kernels)

}  // namespace kernels

namespace kernels {

// Pixels by their bits: of `count` pixels of `channels` numbers each, number x is the one at row + columns[x] * channels.
template <class U>
using PickRow = void (*)(const U* row, const std::int64_t* columns, std::int64_t count, std::int64_t channels, U* out);

struct PickKernels {
  PickRow<std::uint8_t> of_1;
  PickRow<std::uint16_t> of_2;
  PickRow<std::uint32_t> of_4;
  PickRow<std::uint64_t> of_8;
};

TINYTORCH_DECLARE_PER_CAPABILITY(PickKernels, pick_kernels)

}  // namespace kernels

namespace kernels {

// `count` places (y, x) at which planes of height x width are read, and for each of some channels a plane and a row of results.
template <class T>
struct Reading {
  const T *y, *x;
  std::int64_t count, height, width;
  std::int64_t channels;
  std::int64_t out;  // from one channel's results to the next one's
};

// One coordinate of a grid: pixel = (number + 1) scale - shift, moved by the padding (1 to the border, 2 reflected between low and low + span) to 0 to last.
template <class T>
struct GridAxis {
  T scale, shift;
  std::int64_t padding;
  T low, span, last;
  T* places;
};

template <class T>
struct ReadingTable {
  // Places of `count` pairs of numbers, of which the first are along x.
  void (*place)(const T* grid, std::int64_t count, const GridAxis<T>& y, const GridAxis<T>& x);
  // results[c * out + o] = what stands at place o of plane c, or at the pixel nearest to it.
  void (*read)(const Reading<T>& places, const T* planes, T* results);
  void (*read_nearest)(const Reading<T>& places, const T* planes, T* results);
  // dy[o] += the sum over the channels of grad[c * out + o] times the slope of plane c along y at place o; and dx likewise.
  void (*slopes)(const Reading<T>& places, const T* planes, const T* grad, T* dy, T* dx);
  // Adds grad[c * out + o] times their weights to the four pixels of plane c at place o.
  void (*give_back)(const Reading<T>& places, const T* grad, T* planes);
};

struct ReadingKernels {
  ReadingTable<float> in_float;
  ReadingTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ReadingKernels, reading_kernels)

}  // namespace kernels

}  // namespace tinytorch
