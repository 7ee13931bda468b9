// From the lesson modules/76_vector_math/vector_math_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/core/tensor.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/rows.h"

namespace tinytorch {

namespace kernels {

// Whether the reference is called before anything else is asked.
inline bool are_few(const Tensor& self, const Tensor& other) { return self.numel() < kFewElements && other.numel() < kFewElements; }

// self to the power of 1, 2, 3, 1/2, -1/2 or -1, which is two operations at most, as in the reference and in PyTorch; undefined for other exponents and what has no kernel. Chapter 79 has powers in general.
Tensor simple_power(const Tensor& self, double exponent);

// Whether a result of so many elements of so many bytes is larger than the caches.
inline bool passes_caches(std::int64_t numel, std::size_t element) { return numel * static_cast<std::int64_t>(element) > last_cache_bytes(); }

}  // namespace kernels

}  // namespace tinytorch
