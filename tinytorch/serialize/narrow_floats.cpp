// From the lesson modules/85_weights/weights_dev.cpp:
// edit the module, not this file.

#include "tinytorch/serialize/narrow_floats.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace tinytorch {

namespace {
float from_float16(std::uint32_t bits) {
  const std::uint32_t sign = (bits & 0x8000) << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1f;
  const std::uint32_t fraction = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);  // infinity or NaN
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = static_cast<float>(fraction) * 0x1p-24f;  // subnormal, or zero
  return sign ? -small : small;
}

template <class Convert>
void widen(const void* from, std::size_t count, float* to, Convert convert) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes + 2 * i, 2);
    to[i] = convert(std::uint32_t{bits});
  }
}
}  // namespace

void serialize::widen_float16(const void* from, std::size_t count, float* to) { widen(from, count, to, from_float16); }
void serialize::widen_bfloat16(const void* from, std::size_t count, float* to) {
  widen(from, count, to, [](std::uint32_t bits) { return std::bit_cast<float>(bits << 16); });
}

}  // namespace tinytorch
