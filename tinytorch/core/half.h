// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace tinytorch {

namespace detail {
// The float that a Half of these bits stands for, and the bits of the Half nearest to a float.
constexpr float float_from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7FFFU;
  if (magnitude < 0x0400U) {  // subnormal: so many times 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x03FFU) << 13);
  return std::bit_cast<float>(sign | ((magnitude << 13) + (112U << 23)));  // the exponents' biases are 15 and 127
}

constexpr std::uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<std::uint16_t>(sign | 0x7E00U);   // NaN
  if (magnitude >= 0x477FF000U) return static_cast<std::uint16_t>(sign | 0x7C00U);  // 65520 and more: infinity
  if (magnitude < 0x38800000U) {
    // Below 2^-14 Halfs are multiples of 2^-24, as floats next to 0.5 are: adding 0.5 rounds.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F)));
  }
  const std::uint32_t odd = magnitude >> 13 & 1U;
  return static_cast<std::uint16_t>(sign | (magnitude - (112U << 23) + 0x0FFFU + odd) >> 13);
}

constexpr float float_from_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

constexpr std::uint16_t bfloat16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return 0x7FC0U;  // NaN
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}
}  // namespace detail

// Numbers of two bytes. Both convert to float and back by themselves; what is computed with them is computed in float and rounded.
// Source: c10/util/Half.h.
struct alignas(2) Half {
  struct from_bits_t {};
  Half() = default;
  constexpr Half(std::uint16_t bits, from_bits_t) : x(bits) {}
  constexpr Half(float value) : x(detail::half_from_float(value)) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr Half(T value) : Half(static_cast<float>(value)) {}
  constexpr operator float() const { return detail::float_from_half(x); }
  static constexpr from_bits_t from_bits() { return {}; }

  std::uint16_t x;
};

// Source: c10/util/BFloat16.h.
struct alignas(2) BFloat16 {
  struct from_bits_t {};
  BFloat16() = default;
  constexpr BFloat16(std::uint16_t bits, from_bits_t) : x(bits) {}
  constexpr BFloat16(float value) : x(detail::bfloat16_from_float(value)) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr BFloat16(T value) : BFloat16(static_cast<float>(value)) {}
  constexpr operator float() const { return detail::float_from_bfloat16(x); }
  static constexpr from_bits_t from_bits() { return {}; }

  std::uint16_t x;
};

template <class T>
concept ReducedFloat = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <ReducedFloat T>
constexpr T operator+(T a, T b) { return T(static_cast<float>(a) + static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator-(T a, T b) { return T(static_cast<float>(a) - static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator*(T a, T b) { return T(static_cast<float>(a) * static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator/(T a, T b) { return T(static_cast<float>(a) / static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator-(T a) { return T(-static_cast<float>(a)); }
template <ReducedFloat T>
constexpr T& operator+=(T& a, T b) { return a = a + b; }
template <ReducedFloat T>
constexpr T& operator-=(T& a, T b) { return a = a - b; }
template <ReducedFloat T>
constexpr T& operator*=(T& a, T b) { return a = a * b; }
template <ReducedFloat T>
constexpr T& operator/=(T& a, T b) { return a = a / b; }

}  // namespace tinytorch
