// From the lesson modules/80_data_kernels/data_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <cstdint>
#include <cstring>
#include <type_traits>
#include "tinytorch/kernels/data_kernels.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T, class Out, auto F>
void walk_pair(const T* a, std::int64_t a_step, const T* b, std::int64_t b_step, std::int64_t count, Out* __restrict out) {
  if (a_step == 0) {
    const T left = *a;
    for (std::int64_t i = 0; i < count; ++i) out[i] = F(left, b[i]);
  } else if (b_step == 0) {
    const T right = *b;
    for (std::int64_t i = 0; i < count; ++i) out[i] = F(a[i], right);
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = F(a[i], b[i]);
  }
}

template <class T>
void clamp_numbers(const T* x, std::int64_t count, T low, T high, T* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T above = x[i] < low ? low : x[i];
    out[i] = high < above ? high : above;
  }
}

template <class T>
void keep_above(const T* x, std::int64_t count, T threshold, T value, T* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] > threshold ? x[i] : value;
}

// The lowest number stays what it is: there is no positive one for it.
template <class T>
void magnitudes(const T* x, std::int64_t count, T* __restrict out) {
  using U = std::make_unsigned_t<T>;
  for (std::int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_signed_v<T>) out[i] = x[i] < 0 ? static_cast<T>(U{0} - static_cast<U>(x[i])) : x[i];
    else out[i] = x[i];
  }
}

// Four chains over four quarters of a row, and what is left over.
template <class Acc, class T, class F>
inline Acc fold_row(const T* x, std::int64_t count, Acc first, F f) {
  Acc a = first, b = first, c = first, d = first;
  const std::int64_t quarter = count / 4;
  for (std::int64_t i = 0; i < quarter; ++i) {
    a = f(a, x[i]);
    b = f(b, x[i + quarter]);
    c = f(c, x[i + 2 * quarter]);
    d = f(d, x[i + 3 * quarter]);
  }
  for (std::int64_t i = 4 * quarter; i < count; ++i) a = f(a, x[i]);
  return f(f(a, b), f(c, d));
}

constexpr auto plus = [](auto a, auto b) { return static_cast<decltype(a)>(a + static_cast<decltype(a)>(b)); };
constexpr auto larger_of = [](auto a, auto b) { return b > a ? b : a; };
constexpr auto smaller_of = [](auto a, auto b) { return b < a ? b : a; };

template <class T>
std::int64_t sum_row(const T* x, std::int64_t count) {
  if constexpr (sizeof(T) > 1) {
    return static_cast<std::int64_t>(fold_row(x, count, std::uint64_t{0}, plus));
  } else {
    // 2^16 bytes fit into 32 bits, and twice as many of these into a vector.
    std::int64_t total = 0;
    for (std::int64_t i = 0; i < count; i += 1 << 16) total += static_cast<std::int64_t>(fold_row(x + i, count - i < 1 << 16 ? count - i : 1 << 16, std::uint32_t{0}, plus));
    return total;
  }
}

template <class T>
std::int64_t product_row(const T* x, std::int64_t count) {
  return static_cast<std::int64_t>(fold_row(x, count, std::uint64_t{1}, [](std::uint64_t a, auto b) { return a * static_cast<std::uint64_t>(b); }));
}

template <class T>
std::int64_t count_nonzero_row(const T* x, std::int64_t count) {
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < count; i += 1 << 16) {
    std::uint32_t found = 0;  // in 32 bits, as the sum of bytes
    for (std::int64_t j = i, stop = count - i < 1 << 16 ? count : i + (1 << 16); j < stop; ++j) found += x[j] != 0;
    total += found;
  }
  return total;
}

template <class T, auto F>
T extreme_of_row(const T* x, std::int64_t count) {
  return fold_row(x, count, x[0], F);
}

// 256 numbers are compared before anything is decided.
template <class T>
std::int64_t first_place_of(const T* x, std::int64_t count, T value) {
  std::int64_t i = 0;
  for (; i + 256 <= count; i += 256) {
    int found = 0;
    for (std::int64_t j = 0; j < 256; ++j) found |= x[i + j] == value;
    if (found != 0) break;
  }
  while (i < count && x[i] != value) ++i;
  return i;
}

template <class T>
void sum_columns(const T* x, std::int64_t count, std::int64_t* __restrict totals) {
  for (std::int64_t j = 0; j < count; ++j) totals[j] = static_cast<std::int64_t>(static_cast<std::uint64_t>(totals[j]) + static_cast<std::uint64_t>(x[j]));
}

template <class T>
void product_columns(const T* x, std::int64_t count, std::int64_t* __restrict totals) {
  for (std::int64_t j = 0; j < count; ++j) totals[j] = static_cast<std::int64_t>(static_cast<std::uint64_t>(totals[j]) * static_cast<std::uint64_t>(x[j]));
}

template <class T, auto F>
void extreme_of_columns(const T* x, std::int64_t count, T* __restrict best) {
  for (std::int64_t j = 0; j < count; ++j) best[j] = F(best[j], x[j]);
}

template <class T>
void place_in_columns(const T* x, std::int64_t count, const T* best, std::int64_t row, std::int64_t* __restrict places) {
  for (std::int64_t j = 0; j < count; ++j) places[j] = x[j] == best[j] ? row : places[j];
}

template <class U>
void reverse_numbers(const U* from, std::int64_t count, U* __restrict to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = from[count - 1 - i];
}

template <class U>
void fill_numbers(U* to, std::int64_t count, U value) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = value;
}

// An index that is negative, or beyond the highest, leaves a sign bit: no jump, and no comparison.
bool are_indices_within(const std::int64_t* at, std::int64_t count, std::int64_t size) {
  const auto highest = static_cast<std::uint64_t>(size) - 1;
  std::uint64_t signs = 0;
  for (std::int64_t i = 0; i < count; ++i) signs |= static_cast<std::uint64_t>(at[i]) | (highest - static_cast<std::uint64_t>(at[i]));
  return static_cast<std::int64_t>(signs) >= 0;
}

template <class U>
void choose_numbers(const std::uint8_t* mask, const U* a, std::int64_t a_step, const U* b, std::int64_t b_step, std::int64_t count, U* __restrict out) {
  const auto walk = [&](auto left, auto right) {
    for (std::int64_t i = 0; i < count; ++i) {
      const U chosen = left(i), other = right(i);  // both are read: a choice, not a jump
      out[i] = mask[i] != 0 ? chosen : other;
    }
  };
  const auto of_a = [a](std::int64_t i) { return a[i]; };
  const auto of_b = [b](std::int64_t i) { return b[i]; };
  const auto single_a = [x = *a](std::int64_t) { return x; };
  const auto single_b = [x = *b](std::int64_t) { return x; };
  if (a_step == 0 && b_step == 0) walk(single_a, single_b);
  else if (a_step == 0) walk(single_a, of_b);
  else if (b_step == 0) walk(of_a, single_b);
  else walk(of_a, of_b);
}

// Bits moved by any number of places, as in chapter 74.
template <class T>
constexpr int kBits = static_cast<int>(sizeof(T) * 8);

template <class T>
T shifted_left(T x, T places) {
  using U = std::make_unsigned_t<T>;
  const U n = static_cast<U>(places), moved = static_cast<U>(static_cast<U>(x) << (n & (kBits<T> - 1)));
  return n < kBits<T> ? static_cast<T>(moved) : T{0};
}

template <class T>
T shifted_right(T x, T places) {
  const auto n = static_cast<std::make_unsigned_t<T>>(places);
  if constexpr (std::is_signed_v<T>) return static_cast<T>(x >> (n < kBits<T> ? n : kBits<T> - 1));  // the last place is the sign
  else return n < kBits<T> ? static_cast<T>(x >> (n & (kBits<T> - 1))) : T{0};
}

// Bytes have no shifts of their own in vectors, but words of eight do: what crossed from one byte into the next is masked away.
template <bool kLeft>
std::uint64_t shifted_word(std::uint64_t word, unsigned places) {
  const auto kept = static_cast<std::uint8_t>(kLeft ? 255U << places : 255U >> places);
  return (kLeft ? word << places : word >> places) & (kept * std::uint64_t{0x0101010101010101});
}

// Each byte by its own number of places, in steps of 1, 2 and 4, which the number's bits choose. Where another of its bits is set, nothing is left.
template <bool kLeft>
std::uint64_t shifted_bytes(std::uint64_t word, std::uint64_t places) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  const auto spread = [](std::uint64_t bits) { return (bits << 8) - bits; };  // a byte's lowest bit to all of it
  for (unsigned bit = 0; bit < 3; ++bit) {
    const std::uint64_t moves = spread(places >> bit & kOnes);
    word = (shifted_word<kLeft>(word, 1U << bit) & moves) | (word & ~moves);
  }
  const std::uint64_t others = places & (kOnes * 248);
  const std::uint64_t any = ((((others & (kOnes * 127)) + kOnes * 127) | others) >> 7) & kOnes;
  return word & ~spread(any);
}

// out[i] = x[i x_step] shifted by places[i places_step], in words of eight bytes.
template <bool kLeft>
void shift_bytes(const std::uint8_t* x, std::int64_t x_step, const std::uint8_t* places, std::int64_t places_step, std::int64_t count, std::uint8_t* __restrict out) {
  constexpr std::int64_t kWord = 8;
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  const auto eight = [](const std::uint8_t* from) {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof(word));
    return word;
  };
  const auto walk = [&](auto word_at) {
    std::int64_t i = 0;
    for (; i + kWord <= count; i += kWord) {
      const std::uint64_t word = word_at(i);
      std::memcpy(out + i, &word, sizeof(word));
    }
    for (; i < count; ++i) out[i] = static_cast<std::uint8_t>(shifted_bytes<kLeft>(x[i * x_step], places[i * places_step]));
  };
  if (places_step == 0 && *places > 7) walk([](std::int64_t) { return std::uint64_t{0}; });
  else if (places_step == 0) walk([=, all = unsigned{*places}](std::int64_t i) { return shifted_word<kLeft>(eight(x + i), all); });
  else if (x_step == 0) walk([=, all = *x * kOnes](std::int64_t i) { return shifted_bytes<kLeft>(all, eight(places + i)); });
  else walk([=](std::int64_t i) { return shifted_bytes<kLeft>(eight(x + i), eight(places + i)); });
}

template <class T, bool kLeft>
void shift_numbers(const T* a, std::int64_t a_step, const T* b, std::int64_t b_step, std::int64_t count, T* __restrict out) {
  if constexpr (!std::is_same_v<T, std::uint8_t>) walk_pair<T, T, kLeft ? shifted_left<T> : shifted_right<T>>(a, a_step, b, b_step, count, out);
  else shift_bytes<kLeft>(a, a_step, b, b_step, count, out);
}

template <class T>
constexpr IntegerTable<T> integer_table_of() {
  using W = std::conditional_t<(sizeof(T) < 4), std::uint32_t, std::make_unsigned_t<T>>;  // what is shorter than int would become a signed int
  return {
      .add = walk_pair<T, T, [](T a, T b) { return static_cast<T>(static_cast<W>(a) + static_cast<W>(b)); }>,
      .sub = walk_pair<T, T, [](T a, T b) { return static_cast<T>(static_cast<W>(a) - static_cast<W>(b)); }>,
      .mul = walk_pair<T, T, [](T a, T b) { return static_cast<T>(static_cast<W>(a) * static_cast<W>(b)); }>,
      .maximum = walk_pair<T, T, larger_of>,
      .minimum = walk_pair<T, T, smaller_of>,
      .shift_left = shift_numbers<T, true>,
      .shift_right = shift_numbers<T, false>,
      .eq = walk_pair<T, bool, [](T a, T b) { return a == b; }>,
      .ne = walk_pair<T, bool, [](T a, T b) { return a != b; }>,
      .lt = walk_pair<T, bool, [](T a, T b) { return a < b; }>,
      .le = walk_pair<T, bool, [](T a, T b) { return a <= b; }>,
      .gt = walk_pair<T, bool, [](T a, T b) { return b < a; }>,
      .ge = walk_pair<T, bool, [](T a, T b) { return b <= a; }>,
      .clamp = clamp_numbers<T>,
      .abs = magnitudes<T>,
      .sum = sum_row<T>,
      .product = product_row<T>,
      .count_nonzero = count_nonzero_row<T>,
      .largest = extreme_of_row<T, larger_of>,
      .smallest = extreme_of_row<T, smaller_of>,
      .first_place = first_place_of<T>,
      .sum_into = sum_columns<T>,
      .product_into = product_columns<T>,
      .largest_into = extreme_of_columns<T, larger_of>,
      .smallest_into = extreme_of_columns<T, smaller_of>,
      .place_into = place_in_columns<T>,
  };
}

template <class U>
constexpr BitsTable<U> bits_table_of() {
  return {reverse_numbers<U>, fill_numbers<U>, choose_numbers<U>};
}
}  // namespace

constinit const DataKernels data_kernels = {keep_above<std::int64_t>, keep_above<std::int32_t>, keep_above<std::int16_t>, keep_above<std::int8_t>, keep_above<std::uint8_t>,
                                            integer_table_of<std::int64_t>(), integer_table_of<std::int32_t>(), integer_table_of<std::uint8_t>(),
                                            bits_table_of<std::uint8_t>(), bits_table_of<std::uint16_t>(), bits_table_of<std::uint32_t>(), bits_table_of<std::uint64_t>(), are_indices_within};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
