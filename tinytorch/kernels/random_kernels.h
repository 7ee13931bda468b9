// From the lesson modules/51_random_kernels/random_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// `words` are words of mt19937's state, which are not tempered yet.
template <class T>
struct RandomTable {
  static constexpr int kWords = sizeof(T) / 4;  // that a number takes
  void (*uniform)(T* out, const std::uint32_t* words, std::int64_t count, T low, T width);             // low + width * u, one rounding where multiplication and addition are one instruction
  void (*normal)(T* out, const std::uint32_t* words, std::int64_t count, T mean, T std);               // by blocks of 16; REQUIRES: count is a multiple of 16
  void (*bernoulli)(T* out, const std::uint32_t* words, std::int64_t count, double p);                 // two words for a number, also for float
};

struct RandomKernels {
  void (*next_words)(std::uint32_t* words, std::int64_t count);  // makes words[0] to words[count - 1] of the 624 in front of them; REQUIRES: count is a multiple of 16
  bool fused;                                                    // whether multiplication and addition round once
  RandomTable<float> in_float;
  RandomTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(RandomKernels, random_kernels)

}  // namespace kernels

}  // namespace tinytorch
