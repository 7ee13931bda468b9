// From the lesson modules/50_copy_kernels/copy_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace kernels {

// Copies `from`, which broadcasts to to's sizes, into `to`, on the threads of the pool and without a call through the dispatcher. Other dtypes are converted. REQUIRES: they do not overlap, and `to` is not stretched. O(to.numel()).
void copy_elements(const Tensor& to, const Tensor& from);

// Bytes of this machine's largest cache; 32 MB where it does not tell.
std::int64_t last_cache_bytes();

// What std::memcpy does, by vectors where that is slow.
void copy_bytes(void* to, const void* from, std::int64_t count);

}  // namespace kernels

}  // namespace tinytorch
