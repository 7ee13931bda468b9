// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 80: Kernels of integers, positions and halves
//
// Labels, token ids, masks and positions are integers and bools. Between two products a program counts them, compares them, looks for the largest, asks where a mask is true, and reads and writes at those places. The kernels of chapters 76 to 79 take floats; integers went through the reference loops, which ran at 0.1 to 0.7 of PyTorch's speed (one thread, 1,024 x 1,024 numbers).
//
// Nothing here is clever about numbers: sums of integers are exact in any order, and wrap around at the same places. What costs is elsewhere, and it is three things:
//
//     a loop that the compiler had to write for every x86-64        16 bytes at a time, without a comparison of two int64
//     one result that each step waits for                           best = max(best, x[i]): the next maximum begins when the last is there
//     a jump that nobody can guess                                  if (mask[i]) ...: a wrong guess costs some 15 cycles, and half of them are wrong
//
// The chapter has arithmetic, comparisons, sums and extremes of integers; and the places where a mask is true, with reading and writing at given places. At the end numbers of two bytes get the kernels of floats, a piece at a time.

// %%
//| after 16
//| export kernels/data_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/bits.h
#include <cstddef>
#include <cstdint>
#include "tinytorch/kernels/data_kernels.h"
//| export kernels/integers.cpp
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pointwise_ops.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/more_activations.h"
//| export kernels/half_elementwise.cpp
#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
//| export kernels/places.cpp
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <vector>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pointwise_ops.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/parallel.h"
//| export kernels/padding.cpp
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/padding.h"

// %%
//| export kernels/data.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <cstdint>
#include <cstring>
#include <type_traits>
#include "tinytorch/kernels/data_kernels.h"

// %%
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/more_activations.h"
#include "tinytorch/nn/padding.h"
#include "tito/lesson.h"
#include <cmath>

// %%
namespace tinytorch {

// %% [markdown]
// ## The same loops, for the machine that runs them
//
// The reference loops are already what a compiler can make vectors of. It has two reasons not to: the package is compiled for every x86-64, whose vectors hold two int64 and cannot compare them, and a step of 0, for `x + 1`, is a variable that it knows nothing about. So here stand plain loops again, in a source that is compiled once for each CPU capability (chapter 16), with a loop of their own for a single number on either side.
//
// Arithmetic is done with unsigned numbers. They wrap around by the rules of C++, where a signed sum that is too large is undefined and a compiler may use that; PyTorch's results are the same bits.
//
//     100 + 100 in 8 bits:   0110 0100 + 0110 0100 = 1100 1000      200 unsigned, -56 signed: one addition for both
//
// A shift by as many places as there are bits, or more, is undefined as well, and processors differ. The operators have zeros there, and ones on the right of a negative number: a choice between two numbers that are both there. A negative count of places, read without its sign, is one of the large ones.
//
// No processor shifts bytes in vectors, but all shift words. Eight bytes are shifted as one word, and a mask takes away what crossed from one byte into the next. Where each byte has its own count of places, there are three steps, of 1, 2 and 4 places, and a bit of the count says whether its byte takes part.
//
// A sum or a maximum is a chain: each step needs the result of the one before, one to four cycles later, while the processor could begin two or three vectors in every cycle. Four chains over four quarters of a row, joined at its end, keep it busy.

// %%
//| export kernels/data_kernels.h
namespace kernels {

// Loops over integers. Results wrap around. `out` overlaps no operand.
template <class T>
struct IntegerTable {
  // out[i] = f(a[i a_step], b[i b_step]) for i < count; a step is 0 or 1, one of them is 1.
  template <class Out>
  using Pair = void (*)(const T* a, std::int64_t a_step, const T* b, std::int64_t b_step, std::int64_t count, Out* out);
  Pair<T> add, sub, mul, maximum, minimum, shift_left, shift_right;
  Pair<bool> eq, ne, lt, le, gt, ge;
  void (*clamp)(const T* x, std::int64_t count, T low, T high, T* out);
  void (*abs)(const T* x, std::int64_t count, T* out);

  // Of a row; the extremes of one that is not empty.
  std::int64_t (*sum)(const T* x, std::int64_t count);
  std::int64_t (*product)(const T* x, std::int64_t count);
  std::int64_t (*count_nonzero)(const T* x, std::int64_t count);
  T (*largest)(const T* x, std::int64_t count);
  T (*smallest)(const T* x, std::int64_t count);
  std::int64_t (*first_place)(const T* x, std::int64_t count, T value);  // of an equal number; count if there is none
  // Of columns: row x, of `count` numbers, goes into what is there.
  void (*sum_into)(const T* x, std::int64_t count, std::int64_t* totals);
  void (*product_into)(const T* x, std::int64_t count, std::int64_t* totals);
  void (*largest_into)(const T* x, std::int64_t count, T* best);
  void (*smallest_into)(const T* x, std::int64_t count, T* best);
  void (*place_into)(const T* x, std::int64_t count, const T* best, std::int64_t row, std::int64_t* places);  // places[j] = row where x[j] is best[j]
};

template <class U>
struct BitsTable {
  void (*reverse)(const U* from, std::int64_t count, U* to);  // to[i] = from[count - 1 - i]
  void (*fill)(U* to, std::int64_t count, U value);
  void (*choose)(const std::uint8_t* mask, const U* a, std::int64_t a_step, const U* b, std::int64_t b_step, std::int64_t count, U* out);  // out[i] = mask[i] != 0 ? a[i a_step] : b[i b_step]
};

// out[i] = x[i] where that is above `threshold`, else `value`.
template <class T>
using KeepAbove = void (*)(const T* x, std::int64_t count, T threshold, T value, T* out);

struct DataKernels {
  KeepAbove<std::int64_t> longs_above;
  KeepAbove<std::int32_t> ints_above;
  KeepAbove<std::int16_t> shorts_above;
  KeepAbove<std::int8_t> chars_above;
  KeepAbove<std::uint8_t> bytes_above;
  IntegerTable<std::int64_t> of_long;
  IntegerTable<std::int32_t> of_int;
  IntegerTable<std::uint8_t> of_byte;  // and of bools, which are 0 or 1
  BitsTable<std::uint8_t> of_1;
  BitsTable<std::uint16_t> of_2;
  BitsTable<std::uint32_t> of_4;
  BitsTable<std::uint64_t> of_8;
  bool (*are_within)(const std::int64_t* at, std::int64_t count, std::int64_t size);  // whether all are in [0, size)
};

TINYTORCH_DECLARE_PER_CAPABILITY(DataKernels, data_kernels)

// Those for the capability in use.
const DataKernels& chosen_data_kernels();

}  // namespace kernels

// %%
//| export kernels/data.simd.cpp
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

// %%
//| export kernels/integers.cpp
const kernels::DataKernels& kernels::chosen_data_kernels() {
  static constexpr const DataKernels* tables[] = TINYTORCH_PER_CAPABILITY(data_kernels);
  return for_capability(tables);
}

// %%
//| export kernels/bits.h
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

// %% [markdown]
// Chapters 76 and 77 have put their kernels for floats in the same places of the table of operators. What this chapter puts there asks for the dtype first, and hands anything but integers to what stood there before.
//
// `where` needs no arithmetic, so it takes any dtype by its bits. The reference copies one operand and jumps over the other where the mask is false, and of a random mask half of the guesses are wrong; here both numbers are read, and one is chosen. `threshold` is a comparison and such a choice in one walk; with a mask in between, it would be three walks.

// %%
//| export kernels/integers.cpp
namespace {
// The kernel that a call went to before this chapter, or the reference.
template <auto& Op>
decltype(Op.function(Layer::TunedCPU)) beneath = nullptr;

template <auto& Op, class F>
void put_above(F kernel) {
  const auto standing = Op.function(Layer::TunedCPU);
  if (standing == kernel) return;  // registered again
  beneath<Op> = standing != nullptr ? standing : Op.function(Layer::CPU);
  Op.set(Layer::TunedCPU, kernel);
}

template <class T>
const kernels::IntegerTable<T>& integer_table() {
  const kernels::DataKernels& chosen = kernels::chosen_data_kernels();
  if constexpr (std::is_same_v<T, std::int64_t>) return chosen.of_long;
  else if constexpr (std::is_same_v<T, std::int32_t>) return chosen.of_int;
  else return chosen.of_byte;
}

bool has_integers(const Tensor& x) { return x.scalar_type() == kLong || x.scalar_type() == kInt || x.scalar_type() == kByte; }

// Calls f<T>.
template <class F>
void in_integer_type(ScalarType type, F f) {
  if (type == kLong) f.template operator()<std::int64_t>();
  else if (type == kInt) f.template operator()<std::int32_t>();
  else f.template operator()<std::uint8_t>();
}

// f(self, other), both contiguous and of the same sizes or one of them a single number that does not decide the dtype; else an undefined tensor.
template <class Out, class Pick>
Tensor zipped_integers(const Tensor& self, const Tensor& other, Pick pick) {
  const Tensor& larger = self.numel() < other.numel() ? other : self;
  const Tensor& smaller = self.numel() < other.numel() ? self : other;
  if (larger.numel() < kernels::kFewElements || !has_integers(larger) || !self.is_contiguous() || !other.is_contiguous()) return {};
  const bool single = smaller.numel() == 1 && smaller.dim() <= larger.dim();
  if (!single && self.sizes() != other.sizes()) return {};
  const ScalarType type = larger.scalar_type();
  if (smaller.scalar_type() != type && (!single || result_type(self, other) != type)) return {};
  const Tensor number = smaller.scalar_type() == type ? smaller : op::to_dtype.function(Layer::CPU)(smaller, type);
  const Tensor result = empty(larger.sizes(), std::is_same_v<Out, bool> ? kBool : type);
  in_integer_type(type, [&]<class T>() {
    using Result = std::conditional_t<std::is_same_v<Out, bool>, bool, T>;
    const auto kernel = pick(integer_table<T>());
    const T *const a = (&smaller == &self ? number : self).template data<T>(), *const b = (&smaller == &self ? other : number).template data<T>();
    const std::int64_t a_step = self.numel() > 1, b_step = other.numel() > 1;
    parallel_for(0, result.numel(), kernels::kElementwiseGrain,
                 [&, out = result.data<Result>()](std::int64_t first, std::int64_t stop) { kernel(a + first * a_step, a_step, b + first * b_step, b_step, stop - first, out + first); });
  });
  return result;
}

// What is done for many elements is not inlined: operators on few, of whatever dtype, only pass through here, and need not save registers for it.
template <auto& Op, auto Pick, class Result>
[[gnu::noinline]] Tensor zip_many(const Tensor& self, const Tensor& other) {
  const Tensor result = zipped_integers<Result>(self, other, Pick);
  return result.defined() ? result : beneath<Op>(self, other);
}

template <auto& Op, auto Pick, class Result = void>
Tensor zip_integers(const Tensor& self, const Tensor& other) {
  return kernels::are_few(self, other) ? Op.function(Layer::CPU)(self, other) : zip_many<Op, Pick, Result>(self, other);
}

template <auto& Op, auto Pick>
Tensor compare_integers(const Tensor& self, const Tensor& other) { return zip_integers<Op, Pick, bool>(self, other); }

template <auto& Op, auto Pick>
[[gnu::noinline]] Tensor add_many(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  const Tensor result = alpha.equal(1) ? zipped_integers<void>(self, other, Pick) : Tensor();
  return result.defined() ? result : beneath<Op>(self, other, alpha);
}

template <auto& Op, auto Pick>
Tensor add_integers(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return kernels::are_few(self, other) ? Op.function(Layer::CPU)(self, other, alpha) : add_many<Op, Pick>(self, other, alpha);
}

Tensor not_of_integers(const Tensor& self) {
  if (!has_integers(self)) return beneath<op::logical_not>(self);
  const Tensor result = zipped_integers<bool>(self, empty({}, self.scalar_type()).fill_(0), [](const auto& table) { return table.eq; });
  return result.defined() ? result : beneath<op::logical_not>(self);
}

Tensor abs_of_integers(const Tensor& self) {
  if (!has_integers(self) || self.numel() < kernels::kFewElements || !self.is_contiguous()) return beneath<op::abs>(self);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_integer_type(self.scalar_type(), [&]<class T>() {
    parallel_for(0, self.numel(), kernels::kElementwiseGrain,
                 [&, x = self.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) { integer_table<T>().abs(x + first, stop - first, out + first); });
  });
  return result;
}

// Bounds that are integers leave the dtype as it is; what a byte cannot be, the reference has a sentence for.
Tensor clamp_integers(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  const auto has_kernel = [&](const std::optional<Scalar>& bound) { return !bound || (bound->type() == kLong && (self.scalar_type() != kByte || (bound->toLong() >= 0 && bound->toLong() <= 255))); };
  const bool ours = has_integers(self) && self.numel() >= kernels::kFewElements && self.is_contiguous() && has_kernel(min) && has_kernel(max);
  if (!ours) return beneath<op::clamp>(self, min, max);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_integer_type(self.scalar_type(), [&]<class T>() {
    const T low = min ? min->to<T>() : std::numeric_limits<T>::min(), high = max ? max->to<T>() : std::numeric_limits<T>::max();
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, x = self.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      integer_table<T>().clamp(x + first, stop - first, low, high, out + first);
    });
  });
  return result;
}

Tensor hardtanh_integers(const Tensor& self, const Scalar& min, const Scalar& max) {
  return has_integers(self) && min.type() == kLong && max.type() == kLong ? clamp_integers(self, min, max) : beneath<op::hardtanh>(self, min, max);
}

// Numbers of one dtype, by their bits: with a random mask a jump would be guessed wrong half of the time.
Tensor where_by_bits(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const auto hand_down = [&] { return beneath<op::where>(condition, self, other); };
  const ScalarType type = self.scalar_type();
  const auto lies_beside_mask = [&](const Tensor& x) { return x.numel() == 1 ? x.dim() <= condition.dim() : x.is_contiguous() && x.sizes() == condition.sizes(); };
  const bool ours = type != kFloat && type != kDouble && other.scalar_type() == type && condition.scalar_type() == kBool && condition.is_contiguous();
  if (!ours || condition.numel() < kernels::kFewElements || !lies_beside_mask(self) || !lies_beside_mask(other)) return hand_down();
  const Tensor result = empty(condition.sizes(), type);
  const auto* const mask = static_cast<const std::uint8_t*>(condition.data_ptr());
  const std::int64_t a_step = self.numel() > 1, b_step = other.numel() > 1;
  kernels::with_bits(self.element_size(), [&]<class U>() {
    const auto choose = kernels::bits_table<U>().choose;
    const U *const a = static_cast<const U*>(self.data_ptr()), *const b = static_cast<const U*>(other.data_ptr());
    parallel_for(0, result.numel(), kernels::kElementwiseGrain, [=, out = static_cast<U*>(result.data_ptr())](std::int64_t first, std::int64_t stop) {
      choose(mask + first, a + first * a_step, a_step, b + first * b_step, b_step, stop - first, out + first);
    });
  });
  return result;
}

// Calls f<T> with any integer dtype; with no other.
template <class F>
void in_any_integer_type(ScalarType type, F f) {
  if (type == kLong) f.template operator()<std::int64_t>();
  else if (type == kInt) f.template operator()<std::int32_t>();
  else if (type == kShort) f.template operator()<std::int16_t>();
  else if (type == kChar) f.template operator()<std::int8_t>();
  else if (type == kByte) f.template operator()<std::uint8_t>();
}

template <class T>
kernels::KeepAbove<T> keep_above() {
  const kernels::DataKernels& chosen = kernels::chosen_data_kernels();
  if constexpr (std::is_same_v<T, std::int64_t>) return chosen.longs_above;
  else if constexpr (std::is_same_v<T, std::int32_t>) return chosen.ints_above;
  else if constexpr (std::is_same_v<T, std::int16_t>) return chosen.shorts_above;
  else if constexpr (std::is_same_v<T, std::int8_t>) return chosen.chars_above;
  else return chosen.bytes_above;
}

// If the dtype holds both numbers; the reference knows what else they become.
Tensor threshold_integers(const Tensor& self, const Scalar& threshold, const Scalar& value) {
  Tensor result;
  if (self.numel() >= kernels::kFewElements && self.is_contiguous() && threshold.type() == kLong && value.type() == kLong) {
    in_any_integer_type(self.scalar_type(), [&]<class T>() {
      const auto holds = [](const Scalar& number) { return number.toLong() >= std::numeric_limits<T>::min() && number.toLong() <= std::numeric_limits<T>::max(); };
      if (!holds(threshold) || !holds(value)) return;
      result = empty(self.sizes(), self.scalar_type());
      parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, x = self.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
        keep_above<T>()(x + first, stop - first, threshold.to<T>(), value.to<T>(), out + first);
      });
    });
  }
  return result.defined() ? result : beneath<op::threshold>(self, threshold, value);
}
}  // namespace

// %%
//| export kernels/integers.cpp
//| registers
void register_integer_arithmetic() {
  put_above<op::add>(add_integers<op::add, [](const auto& table) { return table.add; }>);
  put_above<op::sub>(add_integers<op::sub, [](const auto& table) { return table.sub; }>);
  put_above<op::mul>(zip_integers<op::mul, [](const auto& table) { return table.mul; }>);
  put_above<op::maximum>(zip_integers<op::maximum, [](const auto& table) { return table.maximum; }>);
  put_above<op::minimum>(zip_integers<op::minimum, [](const auto& table) { return table.minimum; }>);
  put_above<op::eq>(compare_integers<op::eq, [](const auto& table) { return table.eq; }>);
  put_above<op::ne>(compare_integers<op::ne, [](const auto& table) { return table.ne; }>);
  put_above<op::lt>(compare_integers<op::lt, [](const auto& table) { return table.lt; }>);
  put_above<op::le>(compare_integers<op::le, [](const auto& table) { return table.le; }>);
  put_above<op::gt>(compare_integers<op::gt, [](const auto& table) { return table.gt; }>);
  put_above<op::ge>(compare_integers<op::ge, [](const auto& table) { return table.ge; }>);
  put_above<op::bitwise_left_shift>(zip_integers<op::bitwise_left_shift, [](const auto& table) { return table.shift_left; }>);
  put_above<op::bitwise_right_shift>(zip_integers<op::bitwise_right_shift, [](const auto& table) { return table.shift_right; }>);
  put_above<op::clamp>(clamp_integers);
  put_above<op::hardtanh>(hardtanh_integers);
  put_above<op::threshold>(threshold_integers);
  put_above<op::where>(where_by_bits);
  put_above<op::abs>(abs_of_integers);
  put_above<op::logical_not>(not_of_integers);
}

// %%
//| lesson
// What f() gives with the reference loops.
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard guard;
  return f();
}

// f() is what the reference gives, for each capability, and with five threads.
template <class F>
void check_as_reference(F f) {
  const auto expected = by_reference(f);
  const auto check = [&] {
    const auto got = f();
    CHECK_EQ(got, expected);
    CHECK_EQ(got.scalar_type(), expected.scalar_type());
  };
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    check();
  }
  const int before = get_num_threads();
  set_num_threads(5);
  check();
  set_num_threads(before);
}

template <class F>
std::string refusal_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what_without_backtrace();
  }
  return "no refusal";
}

// %%
TEST_CASE("integers: arithmetic and comparisons are exact, for tensors and numbers on either side") {
  manual_seed(800);
  for (const ScalarType type : {kLong, kInt, kByte}) {
    const Tensor x = randint(0, 200, {37, 919}).to(type), y = randint(0, 200, {37, 919}).to(type);
    check_as_reference([&] { return x + y; });
    check_as_reference([&] { return x - y; });
    check_as_reference([&] { return x * y; });
    check_as_reference([&] { return x + 7; });
    check_as_reference([&] { return 7 - x; });
    check_as_reference([&] { return x * 3; });
    check_as_reference([&] { return x.add(y, 2); });
    check_as_reference([&] { return abs(x - y); });
    // Other dtypes, rows that are stretched and turned matrices go on to the reference.
    check_as_reference([&] { return x + y.select(0, 1); });
    check_as_reference([&] { return x.t() - y.t(); });
    check_as_reference([&] { return x + 0.5; });
    check_as_reference([&] { return x + full({1, 1, 1}, 5, kLong); });
    check_as_reference([&] { return x < 99.5; });
  }
}

TEST_CASE("integers: threshold keeps what is above it, for each dtype and at the ends of its range") {
  manual_seed(807);
  for (const ScalarType type : {kLong, kInt, kShort, kChar, kByte}) {
    CAPTURE(type);
    const std::int64_t lowest = type == kByte ? 0 : -128, highest = type == kByte ? 255 : 127;
    const Tensor x = randint(lowest, highest + 1, {37, 919}).to(type);
    for (const std::int64_t limit : {lowest, std::int64_t{40}, highest - 1, highest}) check_as_reference([&] { return threshold(x, limit, 7); });
    check_as_reference([&] { return threshold(x, 40, lowest); });
    check_as_reference([&] { return threshold(x.t(), 40, 7); });
    check_as_reference([&] { return threshold(x, 39.5, 7); });
  }
  const Tensor ends = tensor({std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, std::int64_t{0}, std::int64_t{1}, std::numeric_limits<std::int64_t>::max()}).repeat({200});
  CHECK_EQ(threshold(ends, 0, 5), tensor({std::int64_t{5}, std::int64_t{5}, std::int64_t{5}, std::int64_t{1}, std::numeric_limits<std::int64_t>::max()}).repeat({200}));
}

TEST_CASE("integers: sums so far of each dtype, 64 bits wide and with their sign") {
  manual_seed(808);
  for (const ScalarType type : {kLong, kInt, kShort, kChar, kByte}) {
    CAPTURE(type);
    const std::int64_t lowest = type == kByte ? 0 : -100;
    for (const DimVector& sizes : {DimVector{3, 40, 300}, DimVector{70'003}, DimVector{37, 919}, DimVector{6, 300, 17}, DimVector{900, 3}}) {
      CAPTURE(sizes);
      const Tensor x = randint(lowest, 128, sizes).to(type);
      for (std::int64_t dim = 0; dim < x.dim(); ++dim) check_as_reference([&] { return cumsum(x, dim); });
    }
    CHECK_EQ(cumsum(full({1000}, 127, type), 0), arange(1, 1001) * 127);
  }
  const Tensor large = full({2, 600}, std::numeric_limits<std::int64_t>::max(), kLong);
  CHECK_EQ(cumsum(large, 1)[1][599].item<std::int64_t>(), -600);  // 600 (2^63 - 1) = 300 2^64 - 600
}

TEST_CASE("integers: what does not fit wraps around, and the ends of the range are ordered") {
  manual_seed(806);
  for (const ScalarType type : {kLong, kInt, kByte}) {
    const std::int64_t highest = type == kLong ? std::numeric_limits<std::int64_t>::max() : type == kInt ? std::numeric_limits<std::int32_t>::max() : 255;
    const std::int64_t lowest = type == kByte ? 0 : -highest - 1;
    const Tensor top = full({1000}, highest, type), bottom = full({1000}, lowest, type);
    for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
      const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
      CHECK_EQ(top + 1, bottom);
      CHECK_EQ(top + top, full({1000}, type == kByte ? 254 : -2, type));
      CHECK_EQ(bottom - 1, top);
      CHECK_EQ(top * top, full({1000}, 1, type));
      CHECK_EQ(abs(bottom), bottom);
    }
    const Tensor x = randint(0, 200, {37, 919}).to(type), y = randint(0, 200, {37, 919}).to(type);
    x.select(0, 3).fill_(highest);
    y.select(0, 4).fill_(highest);
    x.select(0, 5).fill_(lowest);
    y.select(1, 6).fill_(lowest);
    check_as_reference([&] { return maximum(x, y); });
    check_as_reference([&] { return minimum(x, y); });
    check_as_reference([&] { return x == y; });
    check_as_reference([&] { return x != 100; });
    check_as_reference([&] { return x < y; });
    check_as_reference([&] { return x <= 100; });
    check_as_reference([&] { return x > y; });
    check_as_reference([&] { return full({}, 100, type) >= x; });
    const Tensor places = (randint(-9, 76, {37, 919})).to(type);
    check_as_reference([&] { return bitwise_left_shift(x, places); });
    check_as_reference([&] { return bitwise_right_shift(x, places); });
    check_as_reference([&] { return bitwise_left_shift(x, full({}, 3, kLong)); });
    check_as_reference([&] { return bitwise_right_shift(full({1}, lowest, type), places); });
    check_as_reference([&] { return bitwise_right_shift(x, y); });
    for (const std::int64_t n : {0, 1, 7, 8, 63, 64}) {
      check_as_reference([&] { return bitwise_left_shift(x, full({}, n, type)); });
      check_as_reference([&] { return bitwise_right_shift(x, full({}, n, type)); });
    }
    check_as_reference([&] { return bitwise_left_shift(full({1}, 77, type), places); });
    check_as_reference([&] { return bitwise_right_shift(full({1}, highest, type), places); });
    check_as_reference([&] { return logical_not(x); });
    check_as_reference([&] { return where(x < y, x, y); });
    check_as_reference([&] { return where(x < y, x, full({}, 9, type)); });
    check_as_reference([&] { return where(x < y, full({1, 1}, 9, type), y); });
    check_as_reference([&] { return where(x < y, full({}, 1, type), full({}, 2, type)); });
    check_as_reference([&] { return where(x < y, x, y.select(0, 0)); });
    check_as_reference([&] { return where(x < y, x > 20, y > 20); });
    check_as_reference([&] { return where((x < y).t(), x.t().to(kHalf), y.t().to(kHalf)); });
    check_as_reference([&] { return clamp(x, 20, 100); });
    check_as_reference([&] { return clamp(x, std::nullopt, 100); });
    check_as_reference([&] { return clamp(x, 100, 20); });
    check_as_reference([&] { return clamp(x, 20.5, 100); });
    check_as_reference([&] { return clamp(x, 0, 255); });
  }
}

// %% [markdown]
// ## Sums, extremes and where they stand
//
// A tensor whose reduced dimensions are neighbours is (outer, size, inner): the numbers of one result are a row where inner is 1, and else one column of many. Rows are cut into pieces of 32,768 numbers, columns into strips, and these are what threads share. Integers may be joined in any order, so no fixed order must be kept, as sums of floats need it.
//
// The position of a maximum would be a second number to carry through the loop, and a jump or a choice in every step. The kernel asks two questions instead: what is the largest number, and where does it stand first? Both loops are short, and the second often stops early. Down columns it walks from the last row to the first, and every row that has the best number overwrites the place; what remains is the first.
//
//     column  3 9 4 9 1      best 9      row 3: place = 3      row 1: place = 1      the result, as the reference's
//
// Sums so far (`cumsum`) are of 64 bits for every integer dtype. Down columns a row of the result is a vector sum. Along a row each sum needs the one before, so four rows are walked together, and the processor has four additions that do not wait for each other.

// %%
//| export kernels/integers.cpp
namespace {
// A contiguous tensor around its reduced dimensions.
struct ReducedForm {
  std::int64_t outer = 1, size = 1, inner = 1;
};

constexpr std::int64_t kShortestRow = 16;  // of columns beside each other that a kernel pays for

// Nothing where there are few numbers, nothing to join, gaps in memory, or kept dimensions between reduced ones.
std::optional<ReducedForm> reduced_form(const Tensor& self, IntArrayRef dim) {
  if (self.numel() < kernels::kFewElements || !self.is_contiguous()) return {};
  const std::vector<bool> mask = reduction_mask(self, dim);
  ReducedForm form;
  bool reducing = false;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (self.sizes()[i] == 1) continue;
    if (mask[i] && reducing && form.inner > 1) return {};
    reducing = reducing || mask[i];
    (mask[i] ? form.size : reducing ? form.inner : form.outer) *= self.sizes()[i];
  }
  return form.size > 1 && (form.inner == 1 || form.inner >= kShortestRow) ? std::optional(form) : std::nullopt;
}

// How numbers of type T become one of type Acc.
template <class T, class Acc>
struct IntegerFold {
  Acc first;
  Acc (*row)(const T*, std::int64_t);
  void (*row_into)(const T*, std::int64_t, Acc*);
  Acc (*join)(Acc, Acc);
};

constexpr std::int64_t kStrip = 256;  // columns

// f(outer, first column, columns) for each strip, on the threads of the pool.
template <class F>
void for_strips(const ReducedForm& form, F f) {
  const std::int64_t strips = (form.inner + kStrip - 1) / kStrip, each = std::min(form.inner, kStrip) * form.size;
  parallel_for(0, form.outer * strips, std::max<std::int64_t>(1, kernels::kElementwiseGrain / each), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) f(i / strips, i % strips * kStrip, std::min(kStrip, form.inner - i % strips * kStrip));
  });
}

// Writes the fold of each row to `out`. Long rows are cut into pieces, which are joined at the end.
template <class T, class Acc>
void fold_rows(const ReducedForm& form, const T* x, const IntegerFold<T, Acc>& fold, Acc* out) {
  const std::int64_t pieces = (form.size + kernels::kElementwiseGrain - 1) / kernels::kElementwiseGrain;
  if (pieces == 1) {
    parallel_for(0, form.outer, std::max<std::int64_t>(1, kernels::kElementwiseGrain / form.size), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) out[i] = fold.row(x + i * form.size, form.size);
    });
    return;
  }
  std::vector<Acc> parts(static_cast<std::size_t>(form.outer * pieces));
  kernels::run_tasks(form.outer * pieces, [&](std::int64_t task) {
    const std::int64_t begin = task % pieces * kernels::kElementwiseGrain;
    parts[static_cast<std::size_t>(task)] = fold.row(x + task / pieces * form.size + begin, std::min(kernels::kElementwiseGrain, form.size - begin));
  });
  for (std::int64_t i = 0; i < form.outer; ++i) {
    Acc total = fold.first;
    for (std::int64_t piece = 0; piece < pieces; ++piece) total = fold.join(total, parts[static_cast<std::size_t>(i * pieces + piece)]);
    out[i] = total;
  }
}

template <class T, class Acc>
void fold_integers(const ReducedForm& form, const T* x, const IntegerFold<T, Acc>& fold, Acc* out) {
  if (form.inner == 1) return fold_rows(form, x, fold, out);
  for_strips(form, [&](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    Acc* const to = out + outer * form.inner + column;
    std::fill_n(to, columns, fold.first);
    for (std::int64_t row = 0; row < form.size; ++row) fold.row_into(x + (outer * form.size + row) * form.inner + column, columns, to);
  });
}

template <class T>
IntegerFold<T, std::int64_t> summing() {
  const auto join = [](std::int64_t a, std::int64_t b) { return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b)); };
  return {0, integer_table<T>().sum, integer_table<T>().sum_into, join};
}
template <class T>
IntegerFold<T, std::int64_t> multiplying() {
  const auto join = [](std::int64_t a, std::int64_t b) { return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b)); };
  return {1, integer_table<T>().product, integer_table<T>().product_into, join};
}
template <class T, bool kLargest>
IntegerFold<T, T> taking_extreme() {
  const kernels::IntegerTable<T>& table = integer_table<T>();
  if constexpr (kLargest) return {std::numeric_limits<T>::lowest(), table.largest, table.largest_into, [](T a, T b) { return b > a ? b : a; }};
  else return {std::numeric_limits<T>::max(), table.smallest, table.smallest_into, [](T a, T b) { return b < a ? b : a; }};
}

Tensor sum_integers(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const bool bools = self.scalar_type() == kBool;
  const std::optional<ReducedForm> form = bools || has_integers(self) ? reduced_form(self, dim) : std::nullopt;
  if (!form) return beneath<op::sum>(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), kLong);
  in_integer_type(bools ? kByte : self.scalar_type(), [&]<class T>() { fold_integers(*form, static_cast<const T*>(self.data_ptr()), summing<T>(), result.data<std::int64_t>()); });
  return result;
}

Tensor prod_integers(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReducedForm> form = has_integers(self) ? reduced_form(self, dim) : std::nullopt;
  if (!form) return beneath<op::prod>(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), kLong);
  in_integer_type(self.scalar_type(), [&]<class T>() { fold_integers(*form, self.data<T>(), multiplying<T>(), result.data<std::int64_t>()); });
  return result;
}

// Of neighbouring rows: each sum waits for the one before, and those of several rows do not wait for each other.
template <std::size_t kRows, class T>
void sum_together(const T* x, std::int64_t count, std::int64_t* out) {
  std::array<std::uint64_t, kRows> totals{};
  for (std::int64_t i = 0; i < count; ++i)
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::int64_t at = static_cast<std::int64_t>(r) * count + i;
      out[at] = static_cast<std::int64_t>(totals[r] += static_cast<std::uint64_t>(std::int64_t{x[at]}));
    }
}

template <class T>
void sum_rows_so_far(const T* x, std::int64_t rows, std::int64_t count, std::int64_t* out) {
  constexpr std::int64_t together = 4;
  parallel_for(0, (rows + together - 1) / together, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (together * count)), [=](std::int64_t first, std::int64_t stop) {
    std::int64_t row = first * together;
    for (; row + together <= std::min(rows, stop * together); row += together) sum_together<together>(x + row * count, count, out + row * count);
    for (; row < std::min(rows, stop * together); ++row) sum_together<1>(x + row * count, count, out + row * count);
  });
}

// Down columns each row of the result is the one before and a row of numbers.
template <class T>
void sum_columns_so_far(const ReducedForm& form, const T* x, std::int64_t* out) {
  for_strips(form, [&, add = integer_table<std::int64_t>().add](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    std::array<std::int64_t, kStrip> widened;
    const std::int64_t first = outer * form.size * form.inner + column;
    std::copy_n(x + first, columns, out + first);
    for (std::int64_t at = first + form.inner; at < first + form.size * form.inner; at += form.inner) {
      const std::int64_t* row = widened.data();
      if constexpr (std::is_same_v<T, std::int64_t>) row = x + at;
      else std::copy_n(x + at, columns, widened.data());
      add(out + at - form.inner, 1, row, 1, columns, out + at);
    }
  });
}

// Sums so far are 64 bits wide whatever their numbers are. Those are widened on their way: as a tensor of their own they would be written and read once more, eight bytes each.
Tensor cumsum_integers(const Tensor& self, std::int64_t dim) {
  const std::optional<ReducedForm> form = self.dim() > 0 ? reduced_form(self, {dim}) : std::nullopt;
  if (!form) return beneath<op::cumsum>(self, dim);
  Tensor result;
  in_any_integer_type(self.scalar_type(), [&]<class T>() {
    result = empty(self.sizes(), kLong);
    if (form->inner == 1) sum_rows_so_far(self.data<T>(), form->outer, form->size, result.data<std::int64_t>());
    else sum_columns_so_far(*form, self.data<T>(), result.data<std::int64_t>());
  });
  return result.defined() ? result : beneath<op::cumsum>(self, dim);
}

// any is the largest of bools, all the smallest.
template <auto& Op, bool kAny>
Tensor truth_of_bools(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReducedForm> form = self.scalar_type() == kBool ? reduced_form(self, dim) : std::nullopt;
  if (!form) return Op.function(Layer::CPU)(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), kBool);
  IntegerFold<std::uint8_t, std::uint8_t> fold = taking_extreme<std::uint8_t, kAny>();
  fold.first = !kAny;
  fold_integers(*form, static_cast<const std::uint8_t*>(self.data_ptr()), fold, static_cast<std::uint8_t*>(result.data_ptr()));
  return result;
}

template <auto& Op, bool kLargest>
Tensor extreme_of_integers(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReducedForm> form = has_integers(self) ? reduced_form(self, dim) : std::nullopt;
  if (!form) return beneath<Op>(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), self.scalar_type());
  in_integer_type(self.scalar_type(), [&]<class T>() { fold_integers(*form, self.data<T>(), taking_extreme<T, kLargest>(), result.data<T>()); });
  return result;
}

// places[i] = where best[i] stands first among its numbers.
template <class T>
void first_places(const ReducedForm& form, const T* x, const T* best, std::int64_t* places) {
  const kernels::IntegerTable<T>& table = integer_table<T>();
  if (form.inner == 1) {
    parallel_for(0, form.outer, std::max<std::int64_t>(1, kernels::kElementwiseGrain / form.size), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) places[i] = table.first_place(x + i * form.size, form.size, best[i]);
    });
    return;
  }
  for_strips(form, [&](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    const std::int64_t at = outer * form.inner + column;
    for (std::int64_t row = form.size; row-- > 0;) table.place_into(x + (outer * form.size + row) * form.inner + column, columns, best + at, row, places + at);
  });
}

template <auto& Op, bool kLargest>
std::tuple<Tensor, Tensor> extreme_and_place(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::optional<ReducedForm> form = has_integers(self) && self.dim() > 0 ? reduced_form(self, {dim}) : std::nullopt;
  if (!form) return {};
  const DimVector sizes = reduced_sizes(self.sizes(), reduction_mask(self, {dim}), keepdim);
  const Tensor values = empty(sizes, self.scalar_type()), places = empty(sizes, kLong);
  in_integer_type(self.scalar_type(), [&]<class T>() {
    fold_integers(*form, self.data<T>(), taking_extreme<T, kLargest>(), values.data<T>());
    first_places(*form, self.data<T>(), values.data<T>(), places.data<std::int64_t>());
  });
  return {values, places};
}

template <auto& Op, bool kLargest>
std::tuple<Tensor, Tensor> extreme_with_place(const Tensor& self, std::int64_t dim, bool keepdim) {
  auto result = extreme_and_place<Op, kLargest>(self, dim, keepdim);
  return std::get<0>(result).defined() ? result : beneath<Op>(self, dim, keepdim);
}

template <auto& Op, bool kLargest>
Tensor place_of_extreme(const Tensor& self, std::int64_t dim, bool keepdim) {
  const Tensor places = std::get<1>(extreme_and_place<Op, kLargest>(self, dim, keepdim));
  return places.defined() ? places : beneath<Op>(self, dim, keepdim);
}
}  // namespace

// %%
//| export kernels/integers.cpp
//| registers
void register_integer_reductions() {
  put_above<op::sum>(sum_integers);
  put_above<op::prod>(prod_integers);
  put_above<op::cumsum>(cumsum_integers);
  op::any.set(Layer::TunedCPU, truth_of_bools<op::any, true>);
  op::all.set(Layer::TunedCPU, truth_of_bools<op::all, false>);
  put_above<op::amax>(extreme_of_integers<op::amax, true>);
  put_above<op::amin>(extreme_of_integers<op::amin, false>);
  put_above<op::max>(extreme_with_place<op::max, true>);
  put_above<op::min>(extreme_with_place<op::min, false>);
  put_above<op::argmax>(place_of_extreme<op::argmax, true>);
  put_above<op::argmin>(place_of_extreme<op::argmin, false>);
}

// %%
TEST_CASE("integers: sums, extremes and their first places are exact over any dimensions") {
  manual_seed(801);
  for (const ScalarType type : {kLong, kInt, kByte}) {
    // Few different numbers, so that the largest stands in several places.
    for (const Tensor& x : {randint(0, 9, {3, 40, 300}).to(type), randint(0, 200, {33'003}).to(type), randint(0, 50, {60, 3}).to(type), randint(0, 200, {2, 1, 33'000}).to(type)}) {
      CAPTURE(x.sizes());
      check_as_reference([&] { return x.sum(); });
      check_as_reference([&] { return x.max(); });
      check_as_reference([&] { return x.min(); });
      check_as_reference([&] { return argmax(x); });
      for (std::int64_t dim = 0; dim < x.dim(); ++dim) {
        check_as_reference([&] { return x.sum(dim, dim == 1); });
        check_as_reference([&] { return (x * 2 + 1).prod(dim, dim == 1); });
        check_as_reference([&] { return cumsum(x, dim); });
        check_as_reference([&] { return amax(x, dim, dim == 1); });
        check_as_reference([&] { return amin(x, dim == 0 ? DimVector{0} : DimVector{0, dim}); });
        check_as_reference([&] { return std::get<0>(x.max(dim, dim == 1)); });
        check_as_reference([&] { return std::get<1>(x.max(dim, dim == 1)); });
        check_as_reference([&] { return std::get<1>(x.min(dim)); });
        check_as_reference([&] { return argmin(x, dim); });
        check_as_reference([&] { return argmax(x, dim); });
      }
    }
  }
}

TEST_CASE("integers: sums wrap around, bools are counted, and an empty dimension is refused as before") {
  manual_seed(802);
  const Tensor large = full({1000}, std::numeric_limits<std::int64_t>::max(), kLong);
  CHECK_EQ(large.sum().item<std::int64_t>(), -1000);  // 1000 (2^63 - 1) = 500 2^64 - 1000
  CHECK_EQ(full({70'000}, 255, kByte).sum().item<std::int64_t>(), 70'000 * 255);
  CHECK_EQ(full({1000}, std::numeric_limits<std::int32_t>::max(), kInt).sum().item<std::int64_t>(), 1000 * std::int64_t{2'147'483'647});
  const Tensor b = rand({300, 420}) > 0.5;
  check_as_reference([&] { return b.sum(); });
  check_as_reference([&] { return b.sum(1); });
  for (const double share : {0.0, 0.002, 0.998, 1.0}) {
    const Tensor some = rand({300, 420}) < share;
    for (const std::int64_t dim : {0, 1}) {
      check_as_reference([&] { return any(some, dim); });
      check_as_reference([&] { return all(some, dim, true); });
    }
    check_as_reference([&] { return any(some); });
    check_as_reference([&] { return all(some); });
  }
  const Tensor none = zeros({300, 0}, kLong);
  CHECK_EQ(refusal_of([&] { return none.max(1); }), by_reference([&] { return refusal_of([&] { return none.max(1); }); }));
  CHECK_EQ(none.sum(1), zeros({300}, kLong));
}

// %% [markdown]
// ## Where a mask is true
//
// `nonzero` must write one place for each number that is not zero, and nothing for the others. With `if (flag[i])` the processor guesses, and of a random mask half of its guesses are wrong. Without the jump every place is written, and the next one overwrites it unless the flag was 1:
//
//     places[n] = i;   n += flag[i];        n does not move on where the flag is 0
//
// Eight flags that are all 0 are one comparison of 64 bits, so a mask with few true numbers is passed over quickly. The places of a block go into a buffer first, because one more is written than there is room for in the end, and become coordinates from there.
//
// Threads cannot write at once before they know where. So each counts the true flags of its blocks, the counts are added up to where each block begins, and then each writes. This is the prefix sum by which a GPU compacts, and NumPy counts first for the same reason.

// %%
//| export kernels/places.cpp
namespace {
constexpr std::int64_t kBlock = 1024;  // numbers whose places wait in a buffer

// Writes where flags are true, and returns how many are. REQUIRES: count <= kBlock; `places` has room for count + 1.
std::int64_t true_places(const std::uint8_t* flag, std::int64_t count, std::int32_t* places) {
  std::int64_t n = 0, i = 0;
  for (; i + 8 <= count; i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, flag + i, 8);
    if (eight == 0) continue;
    for (std::int64_t j = i; j < i + 8; ++j) {
      places[n] = static_cast<std::int32_t>(j);
      n += flag[j] != 0;
    }
  }
  for (; i < count; ++i) {
    places[n] = static_cast<std::int32_t>(i);
    n += flag[i] != 0;
  }
  return n;
}

// The coordinates of true flags [first, stop) of a tensor of these sizes.
void write_coordinates(const std::uint8_t* flag, std::int64_t first, std::int64_t stop, IntArrayRef sizes, std::int64_t* out) {
  std::array<std::int32_t, kBlock + 1> places;
  const std::size_t last = sizes.size() - 1;
  DimVector outer(last);
  for (std::int64_t i = first; i < stop;) {
    const std::int64_t row = i / sizes[last], column = i % sizes[last];
    const std::int64_t count = std::min({stop - i, sizes[last] - column, kBlock});
    for (std::size_t d = last, rest = static_cast<std::size_t>(row); d-- > 0; rest /= static_cast<std::size_t>(sizes[d])) outer[d] = static_cast<std::int64_t>(rest) % sizes[d];
    const std::int64_t found = true_places(flag + i, count, places.data());
    for (std::int64_t k = 0; k < found; ++k) {
      for (std::size_t d = 0; d < last; ++d) *out++ = outer[d];
      *out++ = column + places[static_cast<std::size_t>(k)];
    }
    i += count;
  }
}

Tensor nonzero_tuned(const Tensor& self) {
  if (self.numel() < kernels::kFewElements || self.dim() == 0) return op::nonzero.function(Layer::CPU)(self);
  const Tensor flags = (self.scalar_type() == kBool ? self : ne(self, wrapped_scalar(0))).contiguous();
  const auto* const flag = static_cast<const std::uint8_t*>(flags.data_ptr());
  const kernels::Pieces pieces{0, self.numel(), kernels::kElementwiseGrain};
  std::vector<std::int64_t> begins(static_cast<std::size_t>(pieces.count() + 1));  // where each piece writes first
  kernels::run_tasks(pieces.count(), [&](std::int64_t i) {
    begins[static_cast<std::size_t>(i + 1)] = kernels::chosen_data_kernels().of_byte.count_nonzero(flag + pieces.first(i), pieces.stop(i) - pieces.first(i));
  });
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  const Tensor result = empty({begins.back(), self.dim()}, kLong);
  kernels::run_tasks(pieces.count(), [&](std::int64_t i) {
    write_coordinates(flag, pieces.first(i), pieces.stop(i), self.sizes(), result.data<std::int64_t>() + begins[static_cast<std::size_t>(i)] * self.dim());
  });
  return result;
}
}  // namespace

// %% [markdown]
// ## Reading and writing at places
//
// `x[mask]`, `x[rows, columns]` and `x[ids]` reach one operator with an index tensor for each of the first dimensions. The reference makes a tensor of zeros, adds each index times its stride to it, each time through the whole tensor with a check that may throw for every number, and walks over the result. The kernel does a block of 1,024 places at a time, so that what it computes stays in the first cache: all checks of a block are one number whose sign tells, without a jump. A place that is out of range is not named here. The reference is asked again, and says which it was in the words it always had.
//
// A write must not begin before every place is known to be in range, so `index_put_` computes all places first. It also finds out whether they grow from one to the next, as those of a mask do. Then no two are the same, and threads may share them. Otherwise the last value for a place must win (or all be added in their order, with `accumulate`), and threads share columns of the rows instead, each going through all places.
//
// Where `roll` reads needs no index: a row of the last dimension that is rolled is two runs of memory that change places, and the row itself comes from as many rows further back as the dimensions before are rolled. `cross` reads three numbers that lie `inner` apart of either tensor and writes three.
//
// PyTorch works in the same way: masks become places, `TensorIterator` walks over them, and the one check that it does is per number (`aten/src/ATen/native/cpu/IndexKernel.cpp`).

// %%
//| export kernels/places.cpp
namespace {
// What index tensors pick of a tensor: `inner` neighbours in memory at each of `count` places.
struct Picked {
  struct Index {
    Tensor kept;  // keeps the memory alive
    const std::int64_t* at;
    std::int64_t step, size, stride;  // of the index, and of the dimension that it indexes
  };
  std::vector<Index> indices;
  std::int64_t count = 0, inner = 1;

  // The places of indices [first, stop). Returns false, and what it wrote means nothing, if one of them is out of range.
  bool places(std::int64_t first, std::int64_t stop, std::int64_t* place) const {
    std::uint64_t signs = 0;
    std::fill_n(place, stop - first, 0);
    for (const Index& index : indices) {
      const std::int64_t* const at = index.at + first * index.step;
      const std::int64_t step = index.step;
      const auto stride = static_cast<std::uint64_t>(index.stride);
      const auto highest = static_cast<std::uint64_t>(index.size - 1);
      for (std::int64_t i = 0; i < stop - first; ++i) {
        const auto number = static_cast<std::uint64_t>(at[i * step]);
        signs |= number | (highest - number);
        place[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(place[i]) + number * stride);
      }
    }
    return static_cast<std::int64_t>(signs) >= 0;
  }
};

// Nothing where there is little to do, or the dimensions that are not indexed do not lie side by side.
std::optional<Picked> picked_from(const Tensor& self, TensorList indices) {
  Picked picked;
  picked.count = indices.front().numel();
  for (std::size_t d = self.sizes().size(); d-- > indices.size(); picked.inner *= self.sizes()[d])
    if (self.sizes()[d] != 1 && self.strides()[d] != picked.inner) return {};
  if (picked.count * picked.inner < kernels::kFewElements || self.numel() == 0) return {};
  for (std::size_t d = 0; d < indices.size(); ++d) {
    if (indices[d].scalar_type() != kLong) return {};
    const Tensor index = indices[d].dim() == 1 ? indices[d] : indices[d].contiguous();
    picked.indices.push_back({index, index.data<std::int64_t>(), index.dim() == 1 ? index.stride(0) : 1, self.sizes()[d], self.strides()[d]});
  }
  return picked;
}

// One number or a row.
template <class U>
void copy_few(U* to, const U* from, std::int64_t count) {
  if (count == 1) *to = *from;
  else kernels::copy_bytes(to, from, count * static_cast<std::int64_t>(sizeof(U)));
}

// Whether all places were in range; if not, some of `out` is missing.
template <class U>
bool read_places(const Picked& picked, const U* x, U* out) {
  std::atomic<bool> in_range = true;
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / picked.inner);
  parallel_for(0, picked.count, grain, [&](std::int64_t begin, std::int64_t end) {
    std::array<std::int64_t, kBlock> place;
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t stop = std::min(end, first + kBlock);
      if (!picked.places(first, stop, place.data())) {
        in_range = false;
        return;
      }
      for (std::int64_t i = first; i < stop; ++i) copy_few(out + i * picked.inner, x + place[static_cast<std::size_t>(i - first)], picked.inner);
    }
  });
  return in_range;
}

Tensor index_tuned(const Tensor& self, TensorList indices) {
  const auto hand_down = [&] { return op::index.function(Layer::CPU)(self, indices); };
  const std::optional<Picked> picked = picked_from(self, indices);
  if (!picked) return hand_down();
  DimVector sizes(indices.front().sizes());
  for (std::size_t d = indices.size(); d < self.sizes().size(); ++d) sizes.push_back(self.sizes()[d]);
  const Tensor result = empty(sizes, self.scalar_type());
  bool in_range = false;
  kernels::with_bits(self.element_size(), [&]<class U>() { in_range = read_places(*picked, static_cast<const U*>(self.data_ptr()), static_cast<U*>(result.data_ptr())); });
  return in_range ? result : hand_down();
}

// All places, or an undefined tensor if one is out of range.
Tensor all_places(const Picked& picked) {
  const Tensor places = empty({picked.count}, kLong);
  std::atomic<bool> in_range = true;
  parallel_for(0, picked.count, kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) {
    if (!picked.places(first, stop, places.data<std::int64_t>() + first)) in_range = false;
  });
  return in_range ? places : Tensor();
}

bool is_growing(const std::int64_t* place, std::int64_t count) {
  std::int64_t not_more = 0;
  for (std::int64_t i = 1; i < count; ++i) not_more |= place[i] <= place[i - 1];
  return not_more == 0;
}

// f(first place, last place, first column, last column), on the threads of the pool: columns are shared, and each task goes through all places; or the places are, where they are known to differ.
template <class F>
void share_places(const Picked& picked, bool differ, F f) {
  if (differ) {
    parallel_for(0, picked.count, std::max<std::int64_t>(1, kernels::kElementwiseGrain / picked.inner), [&](std::int64_t first, std::int64_t stop) { f(first, stop, 0, picked.inner); });
  } else {
    parallel_for(0, picked.inner, std::max<std::int64_t>(64, kernels::kElementwiseGrain / picked.count), [&](std::int64_t first, std::int64_t stop) { f(0, picked.count, first, stop); });
  }
}

// x[place[i] + j] = values[i, j], or the one value that there is.
template <class U>
void write_places(const Picked& picked, const std::int64_t* place, const U* values, bool single, U* x) {
  share_places(picked, is_growing(place, picked.count), [&](std::int64_t first, std::int64_t stop, std::int64_t column, std::int64_t end) {
    for (std::int64_t i = first; i < stop; ++i) {
      if (single) std::fill_n(x + place[i] + column, end - column, *values);
      else copy_few(x + place[i] + column, values + i * picked.inner + column, end - column);
    }
  });
}

template <class T>
void add_places(const Picked& picked, const std::int64_t* place, const T* values, bool single, T* x) {
  share_places(picked, false, [&](std::int64_t first, std::int64_t stop, std::int64_t column, std::int64_t end) {
    for (std::int64_t i = first; i < stop; ++i) {
      T* const to = x + place[i];
      const T* const from = values + (single ? 0 : i * picked.inner);
      for (std::int64_t j = column; j < end; ++j) to[j] = static_cast<T>(to[j] + from[single ? 0 : j]);
    }
  });
}

// Whether all elements are one.
bool is_one_number(const Tensor& x) {
  for (std::size_t d = 0; d < x.sizes().size(); ++d)
    if (x.sizes()[d] != 1 && x.strides()[d] != 0) return false;
  return true;
}

const Tensor& index_put_tuned(const Tensor& self, TensorList indices, const Tensor& values, bool accumulate) {
  const auto hand_down = [&]() -> const Tensor& { return op::index_put_.function(Layer::CPU)(self, indices, values, accumulate); };
  const ScalarType type = self.scalar_type();
  const bool ours = values.scalar_type() == type && !values.is_alias_of(self) && (!accumulate || type == kFloat || type == kDouble || type == kLong);
  const std::optional<Picked> picked = ours ? picked_from(self, indices) : std::nullopt;
  if (!picked || std::any_of(indices.begin(), indices.end(), [&](const Tensor& index) { return index.is_alias_of(self); })) return hand_down();
  const Tensor places = all_places(*picked);
  if (!places.defined()) return hand_down();
  const bool single = is_one_number(values);
  const Tensor from = single ? values : values.contiguous();
  const std::int64_t* const place = places.data<std::int64_t>();
  if (!accumulate) {
    kernels::with_bits(self.element_size(), [&]<class U>() { write_places(*picked, place, static_cast<const U*>(from.data_ptr()), single, static_cast<U*>(self.data_ptr())); });
  } else if (type == kFloat) {
    add_places(*picked, place, from.data<float>(), single, self.data<float>());
  } else if (type == kDouble) {
    add_places(*picked, place, from.data<double>(), single, self.data<double>());
  } else {
    add_places(*picked, place, from.data<std::int64_t>(), single, self.data<std::int64_t>());
  }
  return self;
}

// The number's bits, in vectors of the machine.
const Tensor& fill_tuned(const Tensor& self, const Scalar& value) {
  if (self.numel() < kernels::kFewElements || !self.is_contiguous()) return op::fill_.function(Layer::CPU)(self, value);
  const Tensor number = empty({}, self.scalar_type());
  fill_with(number, value);
  kernels::with_bits(self.element_size(), [&]<class U>() {
    const auto fill = kernels::bits_table<U>().fill;
    U* const to = static_cast<U*>(self.data_ptr());
    const U bits = *static_cast<const U*>(number.data_ptr());
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=](std::int64_t first, std::int64_t stop) { fill(to + first, stop - first, bits); });
  });
  return self;
}

// As bytes, whatever the dtype is.
Tensor roll_tuned(const Tensor& self, IntArrayRef behind) {
  std::size_t last = behind.size() - 1;
  while (behind[last] == 0) --last;
  const IntArrayRef sizes = self.sizes();
  std::int64_t rows = 1, length = static_cast<std::int64_t>(self.element_size());
  for (std::size_t d = 0; d < sizes.size(); ++d) (d < last ? rows : length) *= sizes[d];
  const std::int64_t first = length / sizes[last] * behind[last];  // bytes that come first
  const auto source_of = [&](std::int64_t row) {
    std::int64_t source = 0, step = 1;
    for (std::size_t d = last; d-- > 0; row /= sizes[d]) {
      const std::int64_t at = row % sizes[d] - behind[d];
      source += (at < 0 ? at + sizes[d] : at) * step;
      step *= sizes[d];
    }
    return source;
  };
  const bool rows_stay = std::all_of(behind.begin(), behind.begin() + static_cast<std::ptrdiff_t>(last), [](std::int64_t count) { return count == 0; });
  const Tensor x = self.contiguous(), result = empty(sizes, self.scalar_type());
  const auto *const from = static_cast<const std::byte*>(x.data_ptr());
  auto *const to = static_cast<std::byte*>(result.data_ptr());
  parallel_for(0, rows, std::max<std::int64_t>(1, 4 * kernels::kElementwiseGrain / std::max<std::int64_t>(1, length)), [&](std::int64_t begin, std::int64_t stop) {
    for (std::int64_t row = begin; row < stop; ++row) {
      const std::byte* const source = from + (rows_stay ? row : source_of(row)) * length;
      kernels::copy_bytes(to + row * length, source + length - first, first);
      kernels::copy_bytes(to + row * length + first, source, length - first);
    }
  });
  return result;
}

Tensor cross_tuned(const Tensor& self, const Tensor& other, std::int64_t dim) {
  const ScalarType type = self.scalar_type();
  if ((type != kFloat && type != kDouble) || other.scalar_type() != type || other.sizes() != self.sizes()) return op::cross.function(Layer::CPU)(self, other, dim);
  std::int64_t inner = 1;
  for (std::int64_t d = dim + 1; d < self.dim(); ++d) inner *= self.size(d);
  const Tensor x = self.contiguous(), y = other.contiguous(), result = empty(self.sizes(), type);
  const auto run = [&]<class T>(T) {
    parallel_for(0, self.numel() / 3, kernels::kElementwiseGrain, [=, a = x.data<T>(), b = y.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      const auto triple = [=](std::int64_t i, std::int64_t j, std::int64_t k) {
        out[i] = a[j] * b[k] - a[k] * b[j];
        out[j] = a[k] * b[i] - a[i] * b[k];
        out[k] = a[i] * b[j] - a[j] * b[i];
      };
      if (inner == 1)
        for (std::int64_t t = first; t < stop; ++t) triple(3 * t, 3 * t + 1, 3 * t + 2);
      else
        for (std::int64_t t = first; t < stop;) {
          const std::int64_t outer = t / inner, end = std::min(stop, (outer + 1) * inner);
          for (std::int64_t i = t + 2 * outer * inner; t < end; ++t, ++i) triple(i, i + inner, i + 2 * inner);
        }
    });
  };
  if (type == kFloat) run(float{});
  else run(double{});
  return result;
}
}  // namespace

// %%
//| export kernels/places.cpp
//| registers
void register_tuned_places() {
  op::roll.set(Layer::TunedCPU, roll_tuned);
  op::cross.set(Layer::TunedCPU, cross_tuned);
  op::nonzero.set(Layer::TunedCPU, nonzero_tuned);
  op::index.set(Layer::TunedCPU, index_tuned);
  op::index_put_.set(Layer::TunedCPU, index_put_tuned);
  op::fill_.set(Layer::TunedCPU, fill_tuned);
}

// %%
TEST_CASE("places: roll of every dtype's width, of views, along one dimension and several") {
  manual_seed(802);
  for (const ScalarType type : {kByte, kHalf, kFloat, kLong, kBool}) {
    const Tensor x = (randn({6, 5, 40, 3}) * 9).to(kLong).to(type);
    for (const Tensor& view : {x, x.transpose(0, 2), x.slice(2, 1, 40, 2), x.permute({0, 3, 1, 2})}) {
      check_as_reference([&] { return roll(view, 2, 0); });
      check_as_reference([&] { return roll(view, -1, -1); });
      check_as_reference([&] { return roll(view, {1, 2}, {1, 2}); });
      check_as_reference([&] { return roll(view, {2, 3, -4}, {3, 0, 2}); });
      check_as_reference([&] { return roll(view, 7); });
    }
  }
  const Tensor wide = randn({700, 900});
  check_as_reference([&] { return roll(wide, {-3, 250}, {0, 1}); });
  check_as_reference([&] { return roll(wide, 699, 0); });
}

TEST_CASE("places: cross along any dimension, of views, with gradients") {
  manual_seed(804);
  for (const ScalarType type : {kFloat, kDouble, kLong}) {
    const Tensor x = (randn({3, 3, 50, 3}) * 9).to(type), y = (randn({3, 3, 50, 3}) * 9).to(type);
    for (const std::int64_t dim : {0, 1, 3}) {
      check_as_reference([&] { return cross(x, y, dim); });
      check_as_reference([&] { return cross(x.transpose(0, 1), y, dim); });
    }
    check_as_reference([&] { return cross(x.slice(2, 0, 50, 7), y.narrow(2, 4, 1), 0); });
  }
  const Tensor many = randn({30'000, 3}), more = randn({3, 50'000});
  check_as_reference([&] { return cross(many, many.flip({0})); });
  check_as_reference([&] { return cross(more, more.flip({1})); });
  const Tensor a = randn({40, 3}, kDouble).requires_grad_(), b = randn({40, 3}, kDouble).requires_grad_(), g = randn({40, 3}, kDouble);
  cross(a, b, 1).backward(g);
  CHECK_CLOSE(a.grad(), cross(b.detach(), g, 1));
  CHECK_CLOSE(b.grad(), cross(g, a.detach(), 1));
}

TEST_CASE("places: nonzero finds the reference's in order, in masks with few, many and no true numbers") {
  manual_seed(803);
  for (const double share : {0.0, 0.001, 0.5, 0.999, 1.1}) {
    for (const DimVector& sizes : {DimVector{40'003}, DimVector{170, 401}, DimVector{20, 3, 700}, DimVector{12'000, 3}}) {
      const Tensor mask = rand(sizes) < share;
      check_as_reference([&] { return nonzero(mask); });
    }
  }
  Tensor x = randn({300, 200}).relu();
  x.select(0, 7).fill_(std::numeric_limits<double>::quiet_NaN());
  x.select(0, 8).fill_(-0.0);
  check_as_reference([&] { return nonzero(x); });
  check_as_reference([&] { return nonzero(x.t()); });
  check_as_reference([&] { return nonzero(x > 1.5); });
  check_as_reference([&] { return nonzero((x * 10).nan_to_num(3).to(kLong)); });
}

TEST_CASE("places: reading by masks, places and rows gives the reference's numbers") {
  manual_seed(804);
  for (const ScalarType type : {kFloat, kDouble, kLong, kInt, kByte, kHalf, kBool}) {
    const Tensor x = randint(0, 100, {60, 40, 7}).to(type);
    const Tensor rows = randint(-60, 60, {150}), columns = randint(0, 40, {150}), last = randint(0, 7, {150}), grid = randint(0, 60, {20, 5});
    const Tensor mask = rand({60, 40, 7}) > 0.4;
    check_as_reference([&] { return x.index({mask}); });
    check_as_reference([&] { return masked_select(x, mask.select(2, 0).unsqueeze(2)); });
    check_as_reference([&] { return x.index({mask.select(2, 1)}); });
    check_as_reference([&] { return x.index({rows}); });
    check_as_reference([&] { return x.index({grid}); });
    check_as_reference([&] { return x.index({rows, columns}); });
    check_as_reference([&] { return x.index({rows, columns, last}); });
    check_as_reference([&] { return x.index({indexing::Slice(), columns}); });
    check_as_reference([&] { return x.permute({2, 0, 1}).index({last, rows}); });
    check_as_reference([&] { return x.permute({1, 0, 2}).index({columns, rows}); });
    check_as_reference([&] { return x.index({grid.slice(1, 0, 1), columns.slice(0, 0, 40)}); });
  }
}

TEST_CASE("places: writing puts the last value for a place, adds all of them in order, and refuses before it writes") {
  using Indices = std::vector<std::optional<Tensor>>;
  manual_seed(805);
  for (const ScalarType type : {kFloat, kDouble, kLong, kInt, kByte}) {
    const Tensor x = randint(0, 100, {60, 300}).to(type);
    const Tensor mask = rand({60, 300}) > 0.4;
    const Tensor rows = randint(0, 60, {200}), columns = randint(0, 300, {200}), values = randint(0, 100, {200}).to(type), lines = randint(0, 100, {130, 300}).to(type);
    const auto put = [&](const Indices& indices, const Tensor& given, bool accumulate) { return index_put_(x.clone(), indices, given, accumulate); };
    for (const bool accumulate : {false, true}) {
      check_as_reference([&] { return put({mask}, full({}, 5, type), accumulate); });
      check_as_reference([&] { return put({mask}, x.index({mask}) * 2, accumulate); });
      check_as_reference([&] { return put({rows, columns}, values, accumulate); });
      check_as_reference([&] { return put({rows.slice(0, 0, 130)}, lines, accumulate); });
      check_as_reference([&] { return put({rows.slice(0, 0, 130)}, lines.select(0, 0), accumulate); });
      check_as_reference([&] { return put({rows}, full({}, 3, type), accumulate); });
      check_as_reference([&] { return put({std::nullopt, columns.slice(0, 0, 100)}, full({}, 3, type), accumulate); });
    }
    check_as_reference([&] { return masked_scatter(x, mask, lines); });
  }
  // So many that threads could share them; the last piece is the shortest, and must still win.
  const Tensor often = arange(100'000).remainder(7), numbers = arange(100'000);
  check_as_reference([&] { return index_put_(zeros({7}, kLong), Indices{often}, numbers); });
  check_as_reference([&] { return index_put_(zeros({7}, kLong), Indices{often}, numbers, true); });
  const Tensor x = randn({50, 40}), before = x.clone(), bad = tensor({1, 2, 50, 3}).repeat({50});
  const auto all_of = [&](auto f) { return std::pair(refusal_of(f), by_reference([&] { return refusal_of(f); })); };
  for (const auto& [says, expected] : {all_of([&] { index_put_(x, Indices{bad}, full({}, 1.0)); }), all_of([&] { x.index({bad}); }), all_of([&] { op::index(x, std::vector<Tensor>{bad - 60}); }),
                                       all_of([&] { op::index_put_(x, std::vector<Tensor>{bad}, zeros({200, 40}), true); }), all_of([&] { index_put_(x, Indices{bad.clamp(0, 3)}, zeros({7, 9})); })}) {
    CHECK_EQ(says, expected);
    CHECK_NE(says, "no refusal");
  }
  CHECK_EQ(x, before);
}

TEST_CASE("places: fill_ writes any number in any dtype") {
  for (const ScalarType type : {kFloat, kDouble, kLong, kInt, kShort, kByte, kBool, kHalf, kBFloat16}) {
    check_as_reference([&] { return empty({70'000}, type).fill_(1.75); });
    check_as_reference([&] { return zeros({200, 300}, type).t().fill_(3); });
    check_as_reference([&] { return zeros({200, 300}, type).select(1, 7).fill_(1); });
    CHECK_EQ(empty({70'000}, type).fill_(0), zeros({70'000}, type));
  }
}

// %% [markdown]
// ## Borders
//
// `pad` (chapter 97) pads one dimension after the other, and each time writes a whole tensor. All of them at once are one walk: a row of the result is a row of the input between two borders, or, where a dimension before it is padded with a constant, nothing but that constant. Which row it is, is known before anything is copied: each dimension adds what its position takes, times its stride.
//
//     a b      padded by 1 on all sides,     rows     1 0 1 0        b b'     d | c d | c
//     c d      reflected                                             of row   b | a b | a
//                                            row      1 . 0                   d | c d | c
//                                                     borders of the row      b | a b | a
//
// The middle of a row is one `copy_bytes`; its borders are picked number by number, and are short. Images with channels last are read in the order in which they lie: (N, H, W, C), of which the last dimension has no border.

// %%
//| export kernels/padding.cpp
namespace {
// What the positions of a padded dimension take of it: -1 is the constant.
std::vector<std::int64_t> padded_places(std::int64_t size, std::int64_t before, std::int64_t after, PadMode mode) {
  const PadSource source{size, mode};
  std::vector<std::int64_t> places;
  for (std::int64_t i = -before; i < size + after; ++i) places.push_back(source(i));
  return places;
}

// Rows of a padded tensor, whose last dimension has stride 1 in the input.
struct PaddedRows {
  DimVector sizes;                    // of the result
  std::vector<std::int64_t> starts;   // of the input's row for each of the result's; -1 where all is constant
  std::vector<std::int64_t> columns;  // of the input's row, or -1
  std::int64_t first = 0, stop = 0;   // the columns from `first` to `stop` are neighbours in the input
};

PaddedRows padded_rows(const Tensor& x, IntArrayRef amounts, PadMode mode) {
  PaddedRows rows;
  rows.starts = {0};
  for (std::int64_t d = 0; d < x.dim(); ++d) {
    const auto pair = static_cast<std::size_t>(2 * (x.dim() - 1 - d));
    const std::int64_t before = pair < amounts.size() ? amounts[pair] : 0, after = pair < amounts.size() ? amounts[pair + 1] : 0;
    const std::vector<std::int64_t> places = padded_places(x.size(d), before, after, mode);
    rows.sizes.push_back(static_cast<std::int64_t>(places.size()));
    if (d == x.dim() - 1) {
      rows.columns = places;
      rows.first = std::min(std::max<std::int64_t>(before, 0), rows.sizes.back());
      rows.stop = std::max(rows.first, rows.sizes.back() - std::max<std::int64_t>(after, 0));
      break;
    }
    std::vector<std::int64_t> starts;
    starts.reserve(rows.starts.size() * places.size());
    const std::int64_t stride = x.stride(d);
    for (const std::int64_t start : rows.starts)
      for (const std::int64_t place : places) starts.push_back(start < 0 || place < 0 ? -1 : start + place * stride);
    rows.starts = std::move(starts);
  }
  return rows;
}

template <class U>
void write_padded_rows(const PaddedRows& rows, const U* x, U number, U* out) {
  const auto count = static_cast<std::int64_t>(rows.columns.size()), kept = rows.stop - rows.first;
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / count);
  parallel_for(0, static_cast<std::int64_t>(rows.starts.size()), grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      U* const to = out + i * count;
      const std::int64_t start = rows.starts[static_cast<std::size_t>(i)];
      if (start < 0) {
        std::fill_n(to, count, number);
        continue;
      }
      const auto border = [&](std::int64_t first, std::int64_t stop) {
        for (std::int64_t j = first; j < stop; ++j) {
          const std::int64_t column = rows.columns[static_cast<std::size_t>(j)];
          to[j] = column < 0 ? number : x[start + column];
        }
      };
      border(0, rows.first);
      if (kept > 0) kernels::copy_bytes(to + rows.first, x + start + rows.columns[static_cast<std::size_t>(rows.first)], kept * static_cast<std::int64_t>(sizeof(U)));
      border(rows.stop, count);
    }
  });
}

Tensor pad_in_order(const Tensor& x, IntArrayRef amounts, PadMode mode, double value) {
  const PaddedRows rows = padded_rows(x, amounts, mode);
  const Tensor result = empty(rows.sizes, x.scalar_type());
  if (result.numel() == 0) return result;
  const Tensor number = empty({}, x.scalar_type());
  fill_with(number, value);
  kernels::with_bits(x.element_size(), [&]<class U>() {
    write_padded_rows(rows, static_cast<const U*>(x.data_ptr()), *static_cast<const U*>(number.data_ptr()), static_cast<U*>(result.data_ptr()));
  });
  return result;
}

Tensor pad_tuned(const Tensor& self, IntArrayRef amounts, PadMode mode, double value) {
  bool cuts_all = false;  // of which the reference says what is wrong
  for (std::size_t i = 0; i < amounts.size(); i += 2)
    cuts_all = cuts_all || self.size(self.dim() - 1 - static_cast<std::int64_t>(i / 2)) + std::min<std::int64_t>(amounts[i], 0) + std::min<std::int64_t>(amounts[i + 1], 0) <= 0;
  if (cuts_all || self.numel() < kernels::kFewElements) return op::pad.function(Layer::CPU)(self, amounts, mode, value);
  if (has_channels_last(self)) {
    DimVector all(amounts);
    while (all.size() < 8) all.push_back(0);
    const DimVector moved = {all[4], all[5], all[0], all[1], all[2], all[3], all[6], all[7]};  // of C, W, H, N
    return pad_in_order(self.permute({0, 2, 3, 1}), moved, mode, value).permute({0, 3, 1, 2});
  }
  return pad_in_order(self.stride(-1) == 1 ? self : self.contiguous(), amounts, mode, value);
}

Tensor pad_of_halves(const Tensor& self, IntArrayRef amounts, PadMode mode, double value) {
  return (kernels::is_tuned_half(self) ? pad_tuned : op::pad.function(Layer::CPU))(self, amounts, mode, value);
}
}  // namespace

// %%
//| export kernels/padding.cpp
//| registers
void register_tuned_padding() {
  op::pad.set(Layer::TunedCPU, pad_tuned);
  op::pad.set(Layer::HalfPrecision, pad_of_halves);
}

// %%
TEST_CASE("borders: of all modes, on any sides, of any dtype and order in memory, with gradients, on any number of threads") {
  namespace F = nn::functional;
  manual_seed(807);
  const std::vector<std::vector<std::int64_t>> all_amounts = {{1, 1, 1, 1}, {2, 3}, {0, 0, 1, 2}, {-1, 2, 3, -2}, {0, 0, 0, 0, 1, 1}, {1, 0, 0, 1, 1, 1, 2, 1}, {-2, -3, -5, 0}, {-5, 3}};
  const auto check = [&](const Tensor& x, auto mode) {
    for (const std::vector<std::int64_t>& amounts : all_amounts) {
      CAPTURE(amounts);
      const auto padded = [&](const Tensor& from) { return F::pad(from, F::PadFuncOptions(amounts).mode(mode).value(1.7)); };
      check_as_reference([&] { return padded(x); });
      CHECK_EQ(padded(x).suggest_memory_format(), by_reference([&] { return padded(x); }).suggest_memory_format());
      if (!x.is_floating_point()) continue;
      check_as_reference([&] {
        const Tensor leaf = x.detach().requires_grad_(), result = padded(leaf);
        result.backward((arange(result.numel()).remainder(17) * 0.5).view(result.sizes()).to(x.scalar_type()));
        return leaf.grad();
      });
    }
  };
  const Tensor x = randn({3, 5, 17, 11});
  const auto in_all_modes = [&](const Tensor& given) {
    check(given, kConstant);
    check(given, kReflect);
    check(given, kReplicate);
    check(given, kCircular);
  };
  for (const ScalarType type : {kFloat, kDouble, kLong, kInt, kShort, kByte, kBool, kHalf, kBFloat16}) in_all_modes((x * 10).abs().to(type));
  in_all_modes(x.contiguous(MemoryFormat::ChannelsLast));
  in_all_modes(x.transpose(2, 3));
  in_all_modes(x.slice(3, 0, 11, 2));
  check(randn({4, 16, 70, 50}), kReflect);  // for several threads
  check_as_reference([one = randn({40, 600, 1, 1})] { return F::pad(one, F::PadFuncOptions({1, 0, 2, 1, 3, 0})); });
  const auto all_cut = [&] { return refusal_of([&] { F::pad(x, F::PadFuncOptions({-12, 5, 1, 1})); }); };
  CHECK_EQ(all_cut(), by_reference(all_cut));
  CHECK_EQ(F::pad(x, F::PadFuncOptions({-6, -5, 1, 1})).sizes(), IntArrayRef({3, 5, 19, 0}));
}

// %% [markdown]
// ## Halves, number by number
//
// `x + y` of Half reads four bytes and writes two for each number. By way of float tensors, as chapter 83 goes, five times as much moves: both operands are written as floats and read again, and so is the result. Where the tensors are larger than the caches, all of that goes to memory.
//
// Operators that work number by number need no whole tensors. So a piece of each operand is widened into floats that stay in the caches, the kernel of chapter 76 computes on these, and what it gives is rounded to where it belongs:
//
//     4096 numbers of x --widen--> 16 KB --+
//                                          +--> kernel of chapter 76 --> 16 KB --round--> 4096 numbers of the result
//     4096 numbers of y --widen--> 16 KB --+
//
// PyTorch widens a vector at a time, in registers (`Vectorized<BFloat16>`), for which each of its kernels is compiled once more. Pieces take the kernels that there are, as they are. Only the four operations of arithmetic, `relu`, `neg` and `abs`, which do less than widening and rounding do, have kernels of that kind here too (chapter 65); these walk by rows, so that one operand may be a single row, as a bias is, or a number for each row. Sums are widened in registers as well: over several dimensions the last ones that are neighbours are summed first, to floats, and what is left is a sum of fewer floats. Where pieces begin depends on the sizes alone, so the numbers are the same for any count of threads.

// %%
//| export kernels/half_elementwise.cpp
namespace {
constexpr std::int64_t kPiece = 4096;

std::uint16_t* halves_of(const Tensor& x) { return static_cast<std::uint16_t*>(x.data_ptr()); }

bool comes_in_pieces(const Tensor& self) { return kernels::is_tuned_half(self) && self.numel() >= kernels::kFewElements && self.is_contiguous(); }

// Whether an argument can go along with pieces of `self`: it has as many numbers of the same type in the same order, or is a single number.
bool goes_along(const Tensor& self, const Tensor& x) {
  if (!x.defined() || x.is_elsewhere()) return false;
  return x.dim() == 0 || (x.scalar_type() == self.scalar_type() && x.sizes() == self.sizes() && x.is_contiguous());
}
template <class T>
bool goes_along(const Tensor&, const T&) {
  return true;
}

// Whether a write to a piece of `self` leaves what later pieces read of an argument.
bool stays(const Tensor& self, const Tensor& x) { return same_elements(self, x) || !ranges_overlap(self, x); }
template <class T>
bool stays(const Tensor&, const T&) {
  return true;
}

// Numbers first to first + count of a tensor as floats; other arguments as they are.
Tensor piece_of(const Tensor& x, std::int64_t first, std::int64_t count) {
  if (x.dim() == 0) return isReducedFloatingType(x.scalar_type()) ? op::to_dtype.function(Layer::CPU)(x, kFloat) : x;
  const Tensor floats = empty({count}, kFloat);
  kernels::half_table(x.scalar_type()).widen(floats.data<float>(), halves_of(x) + first, count);
  return floats;
}
template <class T>
const T& piece_of(const T& argument, std::int64_t, std::int64_t) {
  return argument;
}

// The length of pieces of at most `most` into which `count` numbers divide about evenly, so that no piece is left with a few.
std::int64_t even_length(std::int64_t count, std::int64_t most) {
  const std::int64_t pieces = (count + most - 1) / most;
  return (count + pieces - 1) / pieces;
}

// Calls f(first, count) for pieces of `to`, and rounds the floats that it gives to their places there.
template <class F>
void write_in_pieces(const Tensor& to, F f) {
  const kernels::HalfTable& table = kernels::half_table(to.scalar_type());
  parallel_for(0, to.numel(), even_length(to.numel(), kernels::kElementwiseGrain), [&](std::int64_t first, std::int64_t stop) {
    const std::int64_t length = even_length(stop - first, kPiece);
    for (std::int64_t i = first; i < stop; i += length) {
      const std::int64_t count = std::min(length, stop - i);
      const Tensor floats = f(i, count);
      table.narrow(halves_of(to) + i, floats.template data<float>(), count);
    }
  });
}

// The form of an operator for Half and BFloat16 that works in pieces. What it cannot do goes to `whole`, chapter 83's form.
template <auto& Op, class Signature>
struct InPieces;

template <auto& Op, class... Args>
struct InPieces<Op, Operator<Tensor(const Tensor&, Args...)>> {
  static inline Tensor (*whole)(const Tensor&, Args...) = nullptr;

  static Tensor call(const Tensor& self, Args... args) {
    if (!comes_in_pieces(self) || !(goes_along(self, args) && ...)) return whole(self, std::forward<Args>(args)...);
    const Tensor result = empty(self.sizes(), self.scalar_type());
    write_in_pieces(result, [&](std::int64_t first, std::int64_t count) {
      return Op.function(Layer::TunedCPU)(piece_of(self, first, count), piece_of(args, first, count)...);
    });
    return result;
  }
};

template <auto& Op, class... Args>
struct InPieces<Op, Operator<const Tensor&(const Tensor&, Args...)>> {
  static inline const Tensor& (*whole)(const Tensor&, Args...) = nullptr;

  static const Tensor& call(const Tensor& self, Args... args) {
    if (!comes_in_pieces(self) || !((goes_along(self, args) && stays(self, args)) && ...)) return whole(self, std::forward<Args>(args)...);
    write_in_pieces(self, [&](std::int64_t first, std::int64_t count) {
      const Tensor floats = piece_of(self, first, count);
      Op.function(Layer::TunedCPU)(floats, piece_of(args, first, count)...);
      return floats;
    });
    return self;
  }
};

template <auto& Op>
using InPiecesOf = InPieces<Op, std::remove_cvref_t<decltype(Op)>>;

// How the numbers of an operand go along with those of a contiguous `self`, seen as rows of `length`: as many, the same row for each, or one number for each.
struct RowsBeside {
  std::int64_t length;
  enum Kind { Each, OneRow, NumberPerRow, Number } kind;
};

// Nothing if it is stretched in another way, or has another type.
std::optional<RowsBeside> rows_beside(const Tensor& self, const Tensor& x) {
  constexpr std::int64_t kShort = 32;
  if (goes_along(self, x)) return RowsBeside{self.numel(), x.dim() == 0 ? RowsBeside::Number : RowsBeside::Each};
  if (!x.defined() || x.is_elsewhere() || x.scalar_type() != self.scalar_type() || !x.is_contiguous() || x.numel() == 0 || x.dim() > self.dim()) return {};
  IntArrayRef own = x.sizes();
  while (!own.empty() && own[0] == 1) own = own.slice(1);
  if (x.numel() >= kShort && IntArrayRef(self.sizes()).slice(static_cast<std::size_t>(self.dim()) - own.size()) == own) return RowsBeside{x.numel(), RowsBeside::OneRow};
  const std::size_t rows = static_cast<std::size_t>(self.dim()) - 1;
  if (x.dim() == self.dim() && x.size(-1) == 1 && self.size(-1) >= kShort && x.sizes().slice(0, rows) == self.sizes().slice(0, rows)) return RowsBeside{self.size(-1), RowsBeside::NumberPerRow};
  return {};
}

// to = self (operation) other, in registers; without an `other` (undefined) the operation is one of self alone.
void combine_halves(const Tensor& to, kernels::HalfOperation operation, const Tensor& self, const Tensor& other, const RowsBeside& beside) {
  const float number = other.defined() && beside.kind == RowsBeside::Number ? static_cast<float>(other.item().to<double>()) : 0.0F;
  const Tensor floats = beside.kind == RowsBeside::NumberPerRow ? piece_of(other.flatten(), 0, other.numel()) : Tensor();
  const float* const of_row = floats.defined() ? floats.data<float>() : nullptr;
  const std::uint16_t* const numbers = beside.kind == RowsBeside::Each || beside.kind == RowsBeside::OneRow ? halves_of(other) : nullptr;
  const auto combine = kernels::half_table(self.scalar_type()).combine;
  parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, in = halves_of(self), out = halves_of(to)](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first, count = 0; i < stop; i += count) {
      const std::int64_t row = i / beside.length, at = i % beside.length;
      count = std::min(beside.length - at, stop - i);
      combine(operation, out + i, in + i, numbers == nullptr ? nullptr : numbers + at, of_row == nullptr ? number : of_row[row], count);
    }
  });
}

// The forms of the four operations, with a factor only where it is 1. `kTurned` is the operation with its operands exchanged.
template <auto& Op, kernels::HalfOperation kOperation, kernels::HalfOperation kTurned, class... Alpha>
Tensor combined_halves(const Tensor& self, const Tensor& other, Alpha... alpha) {
  const bool turned = self.numel() < other.numel() || (self.dim() == 0 && other.dim() > 0);
  const Tensor &large = turned ? other : self, &beside = turned ? self : other;
  const std::optional<RowsBeside> rows = comes_in_pieces(large) && (alpha.equal(1) && ...) ? rows_beside(large, beside) : std::nullopt;
  if (!rows) return InPiecesOf<Op>::call(self, other, alpha...);
  const Tensor result = empty(large.sizes(), large.scalar_type());
  combine_halves(result, turned ? kTurned : kOperation, large, beside, *rows);
  return result;
}
template <auto& Op, kernels::HalfOperation kOperation, class... Alpha>
const Tensor& combined_halves_in_place(const Tensor& self, const Tensor& other, Alpha... alpha) {
  const std::optional<RowsBeside> rows = comes_in_pieces(self) && (alpha.equal(1) && ...) ? rows_beside(self, other) : std::nullopt;
  if (!rows || !stays(self, other)) return InPiecesOf<Op>::call(self, other, alpha...);
  combine_halves(self, kOperation, self, other, *rows);
  return self;
}

template <auto& Op, kernels::HalfOperation kOperation>
Tensor mapped_halves(const Tensor& self) {
  if (!comes_in_pieces(self)) return InPiecesOf<Op>::call(self);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  combine_halves(result, kOperation, self, Tensor(), {self.numel(), RowsBeside::Number});
  return result;
}

Tensor (*sum_of_whole)(const Tensor&, IntArrayRef, bool) = nullptr;  // chapter 83's form

// The last of its summed dimensions that are neighbours: `self` is (outer, length, inner) around them, and those before `begin` are left.
struct LastSummed {
  std::size_t begin, end;
  std::int64_t outer, length, inner;
};

// REQUIRES: something is summed.
LastSummed last_summed(IntArrayRef sizes, const std::vector<bool>& is_summed) {
  std::size_t end = sizes.size();
  while (!is_summed[end - 1]) --end;
  std::size_t begin = end - 1;
  while (begin > 0 && (is_summed[begin - 1] || sizes[begin - 1] == 1)) --begin;
  return {begin, end, multiply_sizes(sizes.slice(0, begin)), multiply_sizes(sizes.slice(begin, end - begin)), multiply_sizes(sizes.slice(end))};
}

// Numbers are widened in registers on their way into sums, which are floats and rounded once.
Tensor sum_of_halves(const Tensor& self, IntArrayRef dim, bool keepdim) {
  if (!comes_in_pieces(self) || self.numel() <= kernels::kElementwiseGrain) return sum_of_whole(self, dim, keepdim);
  const std::vector<bool> is_summed = reduction_mask(self, dim);
  LastSummed form = last_summed(self.sizes(), is_summed);
  // All numbers are rows, too, of which the last may be shorter.
  constexpr std::int64_t kRow = 1 << 15, kColumns = 64;
  const bool of_all = form.length == self.numel();
  if (of_all) form = {0, 0, (self.numel() + kRow - 1) / kRow, kRow, 1};
  // Short lines are joined in pairs, so that more sums do not wait for each other: a line has `joined` parts, which are summed at the end.
  std::int64_t joined = 1;
  for (; form.inner > 1 && 2 * form.inner <= kColumns && form.length % 2 == 0; form.length /= 2, form.inner *= 2) joined *= 2;
  if (form.inner > 1 && form.inner < 16) return sum_of_whole(self, dim, keepdim);
  const kernels::HalfTable& table = kernels::half_table(self.scalar_type());
  Tensor sums = empty({form.outer, form.inner}, kFloat);
  const std::int64_t strips = (form.inner + kColumns - 1) / kColumns;  // columns that one task sums
  parallel_for(0, form.outer * strips, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (form.length * std::min(form.inner, kColumns))), [&, from = halves_of(self), to = sums.data<float>()](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t o = task / strips, column = task % strips * kColumns, begin = o * form.length * form.inner + column;
      if (form.inner == 1) to[task] = table.sum(from + begin, std::min(form.length, self.numel() - begin));
      else table.sum_lines(from + begin, form.inner, form.length, std::min(kColumns, form.inner - column), to + o * form.inner + column);
    }
  });
  // What else is summed lies before: a sum of floats, of which there are fewer by so much.
  DimVector left, before;
  for (std::size_t i = 0; i < form.begin; ++i) {
    left.push_back(self.sizes()[i]);
    if (is_summed[i]) before.push_back(static_cast<std::int64_t>(i));
  }
  if (joined > 1) before.push_back(static_cast<std::int64_t>(left.size()));
  left.push_back(joined);
  left.push_back(form.inner / joined);
  if (of_all) sums = op::sum.function(Layer::TunedCPU)(sums, {}, false);
  else if (!before.empty()) sums = op::sum.function(Layer::TunedCPU)(sums.view(left), before, false);
  const Tensor result = empty(reduced_sizes(self.sizes(), is_summed, keepdim), self.scalar_type());
  table.narrow(halves_of(result), sums.data<float>(), result.numel());
  return result;
}

// REQUIRES: each operator has a form for tuned kernels.
template <auto&... Ops>
void compute_in_pieces() {
  ((InPieces<Ops, std::remove_cvref_t<decltype(Ops)>>::whole = Ops.function(Layer::HalfPrecision),
    Ops.set(Layer::HalfPrecision, &InPieces<Ops, std::remove_cvref_t<decltype(Ops)>>::call)),
   ...);
}
}  // namespace

// %%
//| export kernels/half_elementwise.cpp
//| registers
void register_half_elementwise() {
  compute_in_pieces<op::add, op::sub, op::mul, op::div, op::neg, op::abs, op::exp, op::log, op::sqrt, op::rsqrt, op::reciprocal, op::erf>();
  compute_in_pieces<op::relu, op::leaky_relu, op::gelu, op::silu, op::sigmoid, op::tanh, op::clamp, op::maximum, op::minimum, op::pow>();
  compute_in_pieces<op::add_, op::sub_, op::mul_, op::div_, op::relu_, op::addcmul, op::addcdiv, op::lerp, op::addcmul_, op::addcdiv_, op::lerp_>();
  using Operation = kernels::HalfOperation;
  op::add.set(Layer::HalfPrecision, combined_halves<op::add, Operation::Add, Operation::Add, const Scalar&>);
  op::sub.set(Layer::HalfPrecision, combined_halves<op::sub, Operation::Subtract, Operation::SubtractFrom, const Scalar&>);
  op::mul.set(Layer::HalfPrecision, combined_halves<op::mul, Operation::Multiply, Operation::Multiply>);
  op::div.set(Layer::HalfPrecision, combined_halves<op::div, Operation::Divide, Operation::DivideInto>);
  op::add_.set(Layer::HalfPrecision, combined_halves_in_place<op::add_, Operation::Add, const Scalar&>);
  op::sub_.set(Layer::HalfPrecision, combined_halves_in_place<op::sub_, Operation::Subtract, const Scalar&>);
  op::mul_.set(Layer::HalfPrecision, combined_halves_in_place<op::mul_, Operation::Multiply>);
  op::div_.set(Layer::HalfPrecision, combined_halves_in_place<op::div_, Operation::Divide>);
  op::relu.set(Layer::HalfPrecision, mapped_halves<op::relu, Operation::Relu>);
  op::neg.set(Layer::HalfPrecision, mapped_halves<op::neg, Operation::Negate>);
  op::abs.set(Layer::HalfPrecision, mapped_halves<op::abs, Operation::Absolute>);
  sum_of_whole = op::sum.function(Layer::HalfPrecision);
  op::sum.set(Layer::HalfPrecision, sum_of_halves);
}

// %%
//| lesson
// Runs f once for each capability that this machine has.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

struct HalfForm {
  const char* name;
  std::function<Tensor(const Tensor&, const Tensor&)> call;
};

const std::vector<HalfForm>& half_forms() {
  static const std::vector<HalfForm> forms = {
      {"add", [](const Tensor& x, const Tensor& y) { return add(x, y, 0.5); }},
      {"add of all", [](const Tensor& x, const Tensor& y) { return x + y; }},
      {"add of a number", [](const Tensor& x, const Tensor&) { return x + 0.7; }},
      {"sub", [](const Tensor& x, const Tensor& y) { return x - y; }},
      {"mul", [](const Tensor& x, const Tensor& y) { return x * y; }},
      {"div by a number", [](const Tensor& x, const Tensor&) { return x / 3; }},
      {"add_ of all", [](const Tensor& x, const Tensor& y) { return x.add_(y); }},
      {"add_ of itself", [](const Tensor& x, const Tensor&) { return x.add_(x); }},
      {"mul by a number", [](const Tensor& x, const Tensor&) { return x * 0.3; }},
      {"mul by a tensor of no dimension", [](const Tensor& x, const Tensor& y) { return x * y.flatten()[3]; }},
      {"div", [](const Tensor& x, const Tensor& y) { return x / y; }},
      {"number - x", [](const Tensor& x, const Tensor&) { return 1 - x; }},
      {"number / x", [](const Tensor& x, const Tensor&) { return 0.7 / x; }},
      {"add of a row", [](const Tensor& x, const Tensor& y) { return x + y.select(0, 0); }},
      {"row / x", [](const Tensor& x, const Tensor& y) { return y.narrow(0, 1, 1) / x; }},
      {"sub of a column", [](const Tensor& x, const Tensor& y) { return x - y.narrow(1, 3, 1).contiguous(); }},
      {"column - x", [](const Tensor& x, const Tensor& y) { return y.narrow(1, 5, 1).contiguous() - x; }},
      {"mul_ by a row", [](const Tensor& x, const Tensor& y) { return x.mul_(y.select(0, 1)); }},
      {"add_ of a row of itself", [](const Tensor& x, const Tensor&) { return x.add_(x.select(0, 1).clone()); }},
      {"neg", [](const Tensor& x, const Tensor&) { return -x; }},
      {"abs", [](const Tensor& x, const Tensor&) { return x.abs(); }},
      {"exp", [](const Tensor& x, const Tensor&) { return x.exp(); }},
      {"log", [](const Tensor& x, const Tensor&) { return x.log(); }},
      {"sqrt", [](const Tensor& x, const Tensor&) { return x.sqrt(); }},
      {"rsqrt", [](const Tensor& x, const Tensor&) { return x.rsqrt(); }},
      {"reciprocal", [](const Tensor& x, const Tensor&) { return x.reciprocal(); }},
      {"erf", [](const Tensor& x, const Tensor&) { return x.erf(); }},
      {"relu", [](const Tensor& x, const Tensor&) { return relu(x); }},
      {"leaky_relu", [](const Tensor& x, const Tensor&) { return leaky_relu(x, 0.1); }},
      {"gelu", [](const Tensor& x, const Tensor&) { return gelu(x); }},
      {"gelu tanh", [](const Tensor& x, const Tensor&) { return gelu(x, "tanh"); }},
      {"silu", [](const Tensor& x, const Tensor&) { return silu(x); }},
      {"sigmoid", [](const Tensor& x, const Tensor&) { return x.sigmoid(); }},
      {"tanh", [](const Tensor& x, const Tensor&) { return x.tanh(); }},
      {"clamp", [](const Tensor& x, const Tensor&) { return clamp(x, -1, 2); }},
      {"maximum", [](const Tensor& x, const Tensor& y) { return maximum(x, y); }},
      {"minimum", [](const Tensor& x, const Tensor& y) { return minimum(x, y); }},
      {"square", [](const Tensor& x, const Tensor&) { return x.pow(2); }},
      {"add_", [](const Tensor& x, const Tensor& y) { return x.add_(y, 2); }},
      {"sub_", [](const Tensor& x, const Tensor& y) { return x.sub_(y); }},
      {"mul_", [](const Tensor& x, const Tensor& y) { return x.mul_(y); }},
      {"mul_ by itself", [](const Tensor& x, const Tensor&) { return x.mul_(x); }},
      {"div_", [](const Tensor& x, const Tensor& y) { return x.div_(y); }},
      {"relu_", [](const Tensor& x, const Tensor&) { return relu_(x); }},
      {"addcmul_", [](const Tensor& x, const Tensor& y) { return addcmul_(x, y, y, 0.5); }},
      {"addcdiv_", [](const Tensor& x, const Tensor& y) { return addcdiv_(x, y, y + 3, 0.5); }},
      {"lerp_", [](const Tensor& x, const Tensor& y) { return lerp_(x, y, 0.25); }},
  };
  return forms;
}

// %%
TEST_CASE("half precision, number by number: the same bits in pieces as by way of whole float tensors") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for_each_capability([&] {
    for (const ScalarType type : {kHalf, kBFloat16}) {
      for (const std::int64_t columns : {64, 2500, 16390}) {
        Generator generator(80);
        const Tensor x = (randn({2, columns}, generator) * 3).to(type), y = randn({2, columns}, generator).to(type);
        x.select(0, 1).narrow(0, 0, 8).copy_(tensor({nan, inf, -inf, 0.0, -0.0, 60000.0, 6e-8, -1e-6}, kDouble));
        for (const HalfForm& form : half_forms()) {
          CAPTURE(type);
          CAPTURE(columns);
          CAPTURE(form.name);
          const Tensor got = form.call(x.clone(), y);
          const Tensor apart = zeros({2, 2 * columns}, type).slice(1, 0, 2 * columns, 2);
          apart.copy_(x);  // not contiguous, so it goes by way of floats
          const Tensor wanted = form.call(apart, y).contiguous();
          CHECK_EQ(got.scalar_type(), type);
          CHECK_EQ(got.sizes(), wanted.sizes());
          CHECK(got.isnan().equal(wanted.isnan()));
          CHECK(got.nan_to_num(0).view(kShort).equal(wanted.nan_to_num(0).view(kShort)));
        }
      }
    }
  });
}

TEST_CASE("half precision: sums of all numbers and along each dimension, rounded once") {
  for (const ScalarType type : {kHalf, kBFloat16}) {
    // Whole numbers, whose sums are exact in float whatever their order.
    for (const DimVector& sizes : {DimVector{100'000}, DimVector{1000, 130}, DimVector{3, 50'000}, DimVector{40, 30, 50}, DimVector{2, 200'000}, DimVector{700, 83}, DimVector{3, 601, 20}, DimVector{5000, 9}}) {
      CAPTURE(sizes);
      const Tensor x = (arange(multiply_sizes(sizes)).remainder(13) - 4).to(type).view(sizes);
      const Tensor exact = x.to(kDouble);
      for_each_capability([&] {
        CHECK_EQ(x.sum(), exact.sum().to(type));
        CHECK_EQ(sum(x, {}, true), sum(exact, {}, true).to(type));
        for (const bool keepdim : {false, true}) CHECK_EQ(x.sum({-1}, keepdim), exact.sum({-1}, keepdim).to(type));
        for (std::int64_t d = 0; d < x.dim(); ++d) CHECK_EQ(x.sum({d}, true), exact.sum({d}, true).to(type));
      });
    }
  }
  // A NaN reaches its own sum and no other, a view is summed as it is, and threads change no bit.
  Tensor x = randn({300, 131}, kFloat).to(kBFloat16);
  const Tensor columns = x.sum(0), rows = x.t().sum(1), mixed = x.slice(1, 3, 129).sum(0), wide = randn({70'000, 16}, kFloat).to(kHalf);
  CHECK_CLOSE(columns, x.to(kDouble).sum(0).to(kBFloat16), 0.01, 0.05);
  CHECK_CLOSE(rows, columns, 0.01, 0.05);
  CHECK_CLOSE(mixed, columns.slice(0, 3, 129), 0.01, 0.05);
  CHECK_CLOSE(wide.sum(0), wide.to(kDouble).sum(0).to(kHalf), 1e-3, 1e-2);
  // A dimension of size 1 has any stride, here twice the row, behind which nothing may be read: the memory ends there.
  const std::int64_t length = 200'000;
  std::vector<Half> memory(static_cast<std::size_t>(length), Half(1.5F));
  const Tensor row = from_blob(memory.data(), {1, length}, {2 * length, 1}, kHalf);
  CHECK_EQ(row.sum(0), full({length}, 1.5, kHalf));
  const int threads = get_num_threads();
  set_num_threads(3);
  CHECK_EQ(x.sum(0), columns);
  set_num_threads(threads);
  x[7][130].fill_(std::nan(""));
  CHECK_EQ(isnan(x.sum(0)).sum().item<std::int64_t>(), 1);
  CHECK(isnan(x.sum(1))[7].item<bool>());
  CHECK_EQ(x.sum(0).slice(0, 0, 130), columns.slice(0, 0, 130));

  const Tensor large = full({100'000}, 3.0, kHalf);
  CHECK_EQ(large.sum().item<double>(), std::numeric_limits<double>::infinity());
  CHECK_EQ(large.to(kBFloat16).sum().item<double>(), 299'008.0);  // 300,000, rounded to eight bits
  const Tensor leaf = ones({40'000}, kHalf).requires_grad_();
  leaf.sum().backward();
  CHECK_EQ(leaf.grad(), ones({40'000}, kHalf));
}

TEST_CASE("half precision: sums over several dimensions, neighbours or not, rounded once") {
  for (const ScalarType type : {kHalf, kBFloat16}) {
    for (const DimVector& sizes : {DimVector{8, 20, 16, 32}, DimVector{3, 40, 5, 40, 4}, DimVector{20, 1, 30, 1, 70}, DimVector{130, 2, 200}, DimVector{2, 3, 50'000}}) {
      CAPTURE(sizes);
      // Whole numbers again, whose sums are exact in float.
      const Tensor x = (arange(multiply_sizes(sizes)).remainder(13) - 4).to(type).view(sizes), exact = x.to(kDouble);
      for (std::int64_t picked = 1; picked < 1 << x.dim(); ++picked) {
        DimVector dims;
        for (std::int64_t d = 0; d < x.dim(); ++d)
          if ((picked >> d & 1) != 0) dims.push_back(picked % 3 == 0 ? d - x.dim() : d);
        CAPTURE(dims);
        for_each_capability([&] { CHECK_EQ(sum(x, dims, picked % 2 == 0), sum(exact, dims, picked % 2 == 0).to(type)); });
      }
    }
  }
  // Sums in between stay floats: as Half, 40,000 and its like would be infinite or rounded.
  const Tensor large = ones({4, 40'000, 16}, kHalf);
  large.select(0, 1).neg_();
  large.select(0, 3).neg_();
  CHECK_EQ(sum(large, {0, 2}), zeros({40'000}, kHalf));
  CHECK_EQ(sum(large * 3, {0, 1}), zeros({16}, kHalf));
  manual_seed(809);
  const Tensor x = randn({16, 33, 200}).to(kBFloat16);
  const int threads = get_num_threads();
  set_num_threads(1);
  const Tensor alone = sum(x, {0, 2});
  set_num_threads(3);
  CHECK_EQ(sum(x, {0, 2}), alone);
  set_num_threads(threads);
  CHECK_ERROR(sum(x, {0, 0}), "dim 0 appears multiple times in the list of dims");
  CHECK_ERROR(sum(x, {0, 3}), "Dimension out of range (expected to be in range of [-3, 2], but got 3)");
}

TEST_CASE("half precision, number by number: what does not come in pieces") {
  const Tensor x = (arange(600) / 7).to(kHalf);
  CHECK_EQ((x + ones({600})).scalar_type(), kFloat);
  CHECK_EQ((x + ones({}, kDouble)).scalar_type(), kHalf);
  CHECK_EQ((x * x.to(kBFloat16)).scalar_type(), kFloat);
  CHECK_EQ(x.view({20, 30}) + x.narrow(0, 0, 30), (x.view({20, 30}).to(kFloat) + x.narrow(0, 0, 30).to(kFloat)).to(kHalf));
  CHECK_EQ((1 - x).scalar_type(), kHalf);
  CHECK_ERROR(x.narrow(0, 0, 500).add_(x.narrow(0, 1, 500)), "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location");
  const Tensor channels_last = x.view({2, 3, 10, 10}).contiguous(MemoryFormat::ChannelsLast);
  CHECK(relu(channels_last).is_contiguous(MemoryFormat::ChannelsLast));
  const Tensor leaf = x.detach().clone().requires_grad_();
  (leaf * leaf).sum().backward();
  CHECK_EQ(leaf.grad(), (x.to(kFloat) * 2).to(kHalf));
}

// %% [markdown]
// ## Where to read on
//
// PyTorch's loops of this kind are in `aten/src/ATen/native/cpu`: `BinaryOpsKernel.cpp`, `ReduceOpsKernel.cpp` (four vectors at a time for an inner reduction), `IndexKernel.cpp`; `nonzero` in `aten/src/ATen/native/TensorAdvancedIndexing.cpp` counts by threads first, too.
//
// - **Compaction.** Blelloch, *Prefix Sums and Their Applications* (1990): places, splitting and sorting from one operation. AVX-512 has it as an instruction (`vpcompressd`).
// - **Jumps that cannot be guessed.** *Computer Architecture: A Quantitative Approach* (Hennessy and Patterson), section 3.3; Lemire's *Bitmap decoding* posts for what to do without them.

// %%
}  // namespace tinytorch
