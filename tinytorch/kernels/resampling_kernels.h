// From the lesson modules/55_resampling_kernels/resampling_kernels_dev.cpp:
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

}  // namespace tinytorch
