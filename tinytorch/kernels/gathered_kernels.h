// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

template <class T>
struct GatherTable {
  // to[k * width + j] = from[k_offsets[k] + offsets[j]] for j < count, and 0 for count <= j < width. No number at or behind `end` is read; `to` has room for 16 numbers more than width * K. REQUIRES: count <= width <= 64.
  void (*pack_gathered)(T* to, int width, const T* from, const T* end, const std::int64_t* k_offsets, const std::int64_t* offsets, int count, std::int64_t K);
};

struct GatherKernels {
  GatherTable<float> in_float;
  GatherTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(GatherKernels, gather_kernels)

}  // namespace kernels

}  // namespace tinytorch
