// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// out[d] = the sum of table[ids[i] D + d] over the `count` ids, in their order, without those that are `left_out`, divided by `size`; for d < D. O(count D).
template <class T>
using SumRows = void (*)(const T* table, std::int64_t D, const std::int64_t* ids, std::int64_t count, std::int64_t left_out, T size, T* out);

struct BagKernels {
  SumRows<float> of_float;
  SumRows<double> of_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(BagKernels, bag_kernels)

}  // namespace kernels

}  // namespace tinytorch
