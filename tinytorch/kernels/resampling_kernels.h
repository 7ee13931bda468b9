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

// Of `count` places, which is a multiple of 16: four indices of a plane (-1: outside) and their weights, one after the other for all places each; and how far a place is behind the row and the column above it.
template <class T>
struct PlaceTable {
  std::int64_t count;
  const std::int32_t* index;
  const T *weights, *fy, *fx;
};

template <class T>
struct ReadingTable {
  // The table of the places (y[o], x[o]) for o < written. Behind them, up to `count`, stand places outside.
  void (*find)(const T* y, const T* x, std::int64_t written, std::int64_t height, std::int64_t width, std::int64_t count, std::int32_t* index, T* weights, T* fy, T* fx);
  // out[o] = what stands at place o of a plane, for the first `written` places.
  void (*read)(const T* plane, const PlaceTable<T>& places, std::int64_t written, T* out);
  // dy[o - first] += grad[o] times the slope of the plane along y at place o, and dx likewise, for places from `first` to `stop`, whole vectors of 16; those behind `written` have no gradient.
  void (*slopes)(const T* plane, const PlaceTable<T>& places, const T* grad, std::int64_t first, std::int64_t stop, std::int64_t written, T* dy, T* dx);
};

struct ReadingKernels {
  ReadingTable<float> in_float;
  ReadingTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ReadingKernels, reading_kernels)

}  // namespace kernels

}  // namespace tinytorch
