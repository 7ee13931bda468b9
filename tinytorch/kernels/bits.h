// From the lesson modules/80_data_kernels/data_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tinytorch/kernels/data_kernels.h"

namespace tinytorch {

namespace kernels {

// Calls f<U> with an unsigned type of so many bytes: to move numbers, their bits are enough. REQUIRES: bytes is 1, 2, 4 or 8.
template <class F>
void with_bits(std::size_t bytes, F f) {
  if (bytes == 1) f.template operator()<std::uint8_t>();
  else if (bytes == 2) f.template operator()<std::uint16_t>();
  else if (bytes == 4) f.template operator()<std::uint32_t>();
  else f.template operator()<std::uint64_t>();
}

template <class U>
const BitsTable<U>& bits_table() {
  if constexpr (sizeof(U) == 1) return chosen_data_kernels().of_1;
  else if constexpr (sizeof(U) == 2) return chosen_data_kernels().of_2;
  else if constexpr (sizeof(U) == 4) return chosen_data_kernels().of_4;
  else return chosen_data_kernels().of_8;
}

}  // namespace kernels

}  // namespace tinytorch
