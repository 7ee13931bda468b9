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
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 65: Two bytes a weight
//
// A language model that writes one token after the other multiplies one row by each of its matrices, and uses each weight once. GPT-2 has 124 million of them: 248 million operations, which take a core 3 ms, and 496 MB in float32, which take it 25 ms to read. Such a product is limited by bytes, so the way to make it
// faster is to have fewer of them. In BFloat16 or Half a weight has two.
//
//     float32     s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm      8 bits of exponent, 23 of mantissa
//     bfloat16    s eeeeeeee mmmmmmm                      the upper half of a float: its range, 2 to 3 digits
//     float16     s eeeee mmmmmmmmmm                      3 digits, from 6e-8 to 65504
//
// Chapter 83 makes floats of such operands first. Then 2 bytes are read, 4 written and 4 read again: more than in float32. Here a weight is widened where it is used, in a register, and its float is never in memory:
//
//     chapter 83    weights --2 B--> [widen] --4 B--> memory --4 B--> [multiply, add]
//     here          weights --2 B--> [widen, multiply, add]                              sums in float, rounded once at the end
//
// For many rows each weight is used many times, and arithmetic is the limit again: there some columns of the matrix at a time are widened into a buffer, and module 16 multiplies. The second part does the same for the keys and values of attention, and lets a whole GPT run. No exercises.

// %%
//| after 16
//| export kernels/half_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/half_products.h
#include "tinytorch/core/tensor.h"
#include "tinytorch/kernels/half_kernels.h"
//| export kernels/half_products.cpp
#include <algorithm>
#include <cstdint>
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
//| export kernels/half_attention.cpp
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/embedding_ops.h"
#include "tinytorch/nn/flash_attention.h"
#include "tinytorch/nn/layer_norm.h"

// %%
//| export kernels/half_products.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <cstdint>
#include <type_traits>
#include "tinytorch/kernels/half_kernels.h"

// %%
#include <bit>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/half.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/storage.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/models/gpt.h"
#include "tinytorch/nn/attention.h"
#include "tinytorch/nn/flash_attention.h"
#include "tinytorch/nn/linear.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// # Products
//
// ## What is compiled for each capability
//
// Both formats have the same functions, so a table for each of them. They see a number of two bytes as its bits.

// %%
//| export kernels/half_kernels.h
namespace kernels {
// Some columns of a product: sums (M, columns) = A (M, K) x B (K, columns), where A is float and B Half or BFloat16, by its bits. Rows of A and of `sums` are contiguous.
struct HalfProduct {
  const float* a;
  std::int64_t a_row;
  const std::uint16_t* b;
  std::int64_t b_line;  // from one line of B to the next: a line is a column or a row, see HalfTable
  std::int64_t M, K, columns;
  float* sums;
  std::int64_t sums_row;
};

enum class HalfOperation : std::uint8_t { Add, Subtract, SubtractFrom, Multiply, Divide, DivideInto, Relu, Negate, Absolute };

// What is compiled for one capability and format.
struct HalfTable {
  void (*multiply_columns)(const HalfProduct& product);  // B's columns lie contiguous, as those of a Linear's weight transposed
  void (*multiply_rows)(const HalfProduct& product);     // B's rows do; at most 64 rows of A
  void (*widen)(float* to, const std::uint16_t* from, std::int64_t count);
  void (*narrow)(std::uint16_t* to, const float* from, std::int64_t count);  // to the nearest, ties to even
  // to = alpha * sums + beta * start, rounded once; without a start (nullptr) nothing is added.
  void (*finish)(std::uint16_t* to, const float* sums, float alpha, const std::uint16_t* start, float beta, std::int64_t count);
  // to = a + b, a - b, b - a, a * b, a / b, b / a, relu(a), -a or |a|, number by number, rounded once; without a b (nullptr) `number` stands for all of its numbers.
  void (*combine)(HalfOperation operation, std::uint16_t* to, const std::uint16_t* a, const std::uint16_t* b, float number, std::int64_t count);
  float (*sum)(const std::uint16_t* from, std::int64_t count);  // in float
  // sums[i] = the sum of number i of each of `lines` lines, for i < count; from one line to the next it is `line`.
  void (*sum_lines)(const std::uint16_t* from, std::int64_t line, std::int64_t lines, std::int64_t count, float* sums);
};

struct HalfKernels {
  HalfTable of_half, of_bfloat16;
};

TINYTORCH_DECLARE_PER_CAPABILITY(HalfKernels, half_kernels)
}  // namespace kernels

// %% [markdown]
// ## Widening and narrowing
//
// A BFloat16 becomes a float by sixteen zeros at its end: a shift. Back, the lower half is rounded away: adding 0x7FFF carries into the upper half where the lower one is more than half of its last place; one more is added where that place is odd, so that ties go to even. A NaN must not be carried into
// infinity, and is written as such.
//
// Half has another exponent. Processors with AVX2 convert it by an instruction (F16C). Elsewhere it is arithmetic: the bits, moved to a float's places, stand for a number that is too small by the difference of the biases, and multiplying by 2^112 puts that right, infinity included. Numbers below 2^-14 have no
// leading one; as the mantissa of 0.5 they are that number plus 0.5. Back, the same: adding a number with the right exponent lets the addition round.

// %%
//| export kernels/half_products.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;
using Bits = hn::Rebind<std::uint16_t, Floats>;  // half a register
using FloatVector = hn::Vec<Floats>;
using WordVector = hn::Vec<Words>;
using BitVector = hn::Vec<Bits>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Floats()));
constexpr int kCacheLine = 32;  // numbers of two bytes in 64
constexpr int kAhead = 2048;    // a page: the processor does not look beyond its end by itself
constexpr bool kConvertsHalf = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

HWY_INLINE WordVector word(std::uint32_t bits) { return hn::Set(Words(), bits); }
HWY_INLINE FloatVector as_float(WordVector bits) { return hn::BitCast(Floats(), bits); }
HWY_INLINE WordVector as_word(FloatVector x) { return hn::BitCast(Words(), x); }
// The lower 16 bits of words that have no others.
HWY_INLINE BitVector lower(WordVector bits) { return hn::DemoteTo(Bits(), hn::BitCast(hn::RebindToSigned<Floats>(), bits)); }

struct BFloat16Format {
  static HWY_INLINE FloatVector widen(BitVector bits) { return as_float(hn::ShiftLeft<16>(hn::PromoteTo(Words(), bits))); }
  static HWY_INLINE BitVector narrow(FloatVector x) {
    const WordVector bits = as_word(x);
    const WordVector odd = hn::And(hn::ShiftRight<16>(bits), word(1));
    const WordVector rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, word(0x7FFF)), odd));
    return lower(hn::IfThenElse(hn::RebindMask(Words(), hn::IsNaN(x)), word(0x7FC0), rounded));
  }
};

struct HalfFormat {
  static HWY_INLINE FloatVector widen(BitVector bits) {
    if constexpr (kConvertsHalf) return hn::PromoteTo(Floats(), hn::BitCast(hn::Rebind<hwy::float16_t, Floats>(), bits));
    const WordVector wide = hn::PromoteTo(Words(), bits);
    const WordVector sign = hn::ShiftLeft<16>(hn::And(wide, word(0x8000))), magnitude = hn::And(wide, word(0x7FFF));
    const FloatVector normal = hn::Mul(as_float(hn::Add(hn::ShiftLeft<13>(magnitude), word(224U << 23))), hn::Set(Floats(), 0x1p-112F));
    const FloatVector small = hn::Sub(as_float(hn::Or(magnitude, word(126U << 23))), hn::Set(Floats(), 0.5F));
    const auto is_small = hn::RebindMask(Floats(), hn::Lt(magnitude, word(0x0400)));
    return as_float(hn::Or(as_word(hn::IfThenElse(is_small, small, normal)), sign));
  }
  static HWY_INLINE BitVector narrow(FloatVector x) {
    if constexpr (kConvertsHalf) return hn::BitCast(Bits(), hn::DemoteTo(hn::Rebind<hwy::float16_t, Floats>(), x));
    const WordVector bits = as_word(x);
    const WordVector sign = hn::And(hn::ShiftRight<16>(bits), word(0x8000)), magnitude = hn::And(bits, word(0x7FFFFFFF));
    const WordVector odd = hn::And(hn::ShiftRight<13>(magnitude), word(1));
    const WordVector normal = hn::ShiftRight<13>(hn::Sub(hn::Add(hn::Add(magnitude, word(0x0FFF)), odd), word(112U << 23)));
    const WordVector small = hn::Sub(as_word(hn::Add(as_float(magnitude), hn::Set(Floats(), 0.5F))), word(126U << 23));
    WordVector result = hn::IfThenElse(hn::Lt(magnitude, word(0x38800000)), small, normal);
    result = hn::IfThenElse(hn::Lt(magnitude, word(0x477FF000)), result, word(0x7C00));  // 65520 and more
    result = hn::IfThenElse(hn::Lt(word(0x7F800000), magnitude), word(0x7E00), result);  // NaN
    return lower(hn::Or(result, sign));
  }
};

template <class Format>
HWY_INLINE FloatVector load(const std::uint16_t* from) {
  return Format::widen(hn::LoadU(Bits(), from));
}

// The first `count` numbers, then zeros.
template <class Format>
HWY_INLINE FloatVector load_first(const std::uint16_t* from, std::int64_t count) {
  if (count >= kLanes) return load<Format>(from);
  std::uint16_t buffer[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) buffer[i] = from[i];
  return load<Format>(buffer);
}
HWY_INLINE FloatVector load_first(const float* from, std::int64_t count) {
  if (count >= kLanes) return hn::LoadU(Floats(), from);
  float buffer[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) buffer[i] = from[i];
  return hn::LoadU(Floats(), buffer);
}

// Stores the first `count` numbers.
HWY_INLINE void store_first(FloatVector x, float* to, std::int64_t count) {
  if (count >= kLanes) return hn::StoreU(x, Floats(), to);
  float buffer[kLanes];
  hn::StoreU(x, Floats(), buffer);
  for (std::int64_t i = 0; i < count; ++i) to[i] = buffer[i];
}
HWY_INLINE void store_first(BitVector bits, std::uint16_t* to, std::int64_t count) {
  if (count >= kLanes) return hn::StoreU(bits, Bits(), to);
  std::uint16_t buffer[kLanes];
  hn::StoreU(bits, Bits(), buffer);
  for (std::int64_t i = 0; i < count; ++i) to[i] = buffer[i];
}

template <class Format>
void widen(float* to, const std::uint16_t* from, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(load<Format>(from + i), Floats(), to + i);
  if (i < count) store_first(load_first<Format>(from + i, count - i), to + i, count - i);
}

template <class Format>
void narrow(std::uint16_t* to, const float* from, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(Format::narrow(hn::LoadU(Floats(), from + i)), Bits(), to + i);
  if (i < count) store_first(Format::narrow(load_first(from + i, count - i)), to + i, count - i);
}

template <class Format>
void finish(std::uint16_t* to, const float* sums, float alpha, const std::uint16_t* start, float beta, std::int64_t count) {
  const FloatVector scale = hn::Set(Floats(), alpha), start_scale = hn::Set(Floats(), beta);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    FloatVector x = hn::Mul(scale, load_first(sums + i, count - i));
    if (start != nullptr) x = hn::MulAdd(start_scale, load_first<Format>(start + i, count - i), x);
    store_first(Format::narrow(x), to + i, count - i);
  }
}

template <class Format, class F>
HWY_INLINE void combine_by(std::uint16_t* to, const std::uint16_t* a, const std::uint16_t* b, float number, std::int64_t count, F f) {
  const FloatVector same = hn::Set(Floats(), number);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(Format::narrow(f(load<Format>(a + i), b == nullptr ? same : load<Format>(b + i))), Bits(), to + i);
  if (i < count) store_first(Format::narrow(f(load_first<Format>(a + i, count - i), b == nullptr ? same : load_first<Format>(b + i, count - i))), to + i, count - i);
}

template <class Format>
void combine(HalfOperation operation, std::uint16_t* to, const std::uint16_t* a, const std::uint16_t* b, float number, std::int64_t count) {
  switch (operation) {
    case HalfOperation::Add: return combine_by<Format>(to, a, b, number, count, [](auto x, auto y) HWY_ATTR { return hn::Add(x, y); });
    case HalfOperation::Subtract: return combine_by<Format>(to, a, b, number, count, [](auto x, auto y) HWY_ATTR { return hn::Sub(x, y); });
    case HalfOperation::SubtractFrom: return combine_by<Format>(to, a, b, number, count, [](auto x, auto y) HWY_ATTR { return hn::Sub(y, x); });
    case HalfOperation::Multiply: return combine_by<Format>(to, a, b, number, count, [](auto x, auto y) HWY_ATTR { return hn::Mul(x, y); });
    case HalfOperation::Divide: return combine_by<Format>(to, a, b, number, count, [](auto x, auto y) HWY_ATTR { return hn::Div(x, y); });
    case HalfOperation::DivideInto: return combine_by<Format>(to, a, b, number, count, [](auto x, auto y) HWY_ATTR { return hn::Div(y, x); });
    case HalfOperation::Relu: return combine_by<Format>(to, a, b, number, count, [](auto x, auto) HWY_ATTR { return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(Floats())), x); });
    case HalfOperation::Negate: return combine_by<Format>(to, a, b, number, count, [](auto x, auto) HWY_ATTR { return hn::Neg(x); });
    case HalfOperation::Absolute: return combine_by<Format>(to, a, b, number, count, [](auto x, auto) HWY_ATTR { return hn::Abs(x); });
  }
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Dot products with columns
//
// A Linear keeps its weight as (out, in), so the columns of what it multiplies by lie contiguous. One row is multiplied with columns of four quarters of the matrix at a time, as in module 16: four streams, each from one end of its quarter to the other. With one stream through the whole matrix a core has too few lines under way, and read 12.5 GB/s where it now reads 18 to 20 (AVX2). On an Intel processor with AVX-512 asking for lines a page ahead made it 1.15 to 1.19 times as fast; on an AMD processor with AVX2 it made float32's a tenth slower. So only AVX-512's kernel asks.
// With more rows a column is used more often: eight vectors of it, or so many that each row has two sums or more which need not wait for each other. Columns that are shorter than that, as the keys of attention are, lie so near to each other that eight of them are one stream: each is one sum, and eight sums need not wait for each other.
//
//     a:        [ k ... k + 15 ][ k + 16 ... k + 31 ] ...      float
//     column j: [ k ... k + 15 ][ k + 16 ... k + 31 ] ...      widened, times a's vectors, into sums 0, 1, ..., which are added up at the end

// %%
//| export kernels/half_products.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Rows rows of a, from row i on, with column j of b. Each row has Vectors sums.
template <class Format, int Rows, int Vectors>
HWY_INLINE void multiply_column(const HalfProduct& p, std::int64_t i, std::int64_t j) {
  FloatVector sums[Rows * Vectors];
  HWY_UNROLL(8)
  for (int s = 0; s < Rows * Vectors; ++s) sums[s] = hn::Zero(Floats());
  const float* const a = p.a + i * p.a_row;
  const std::uint16_t* const b = p.b + j * p.b_line;
  std::int64_t k = 0;
  for (; k + Vectors * kLanes <= p.K; k += Vectors * kLanes) {
    for (int v = 0; v < Vectors * kLanes; v += kCacheLine) hwy::Prefetch(b + k + v + kAhead);
    HWY_UNROLL(8)
    for (int v = 0; v < Vectors; ++v) {
      const FloatVector weights = load<Format>(b + k + v * kLanes);
      HWY_UNROLL(4)
      for (int r = 0; r < Rows; ++r) sums[r * Vectors + v] = hn::MulAdd(hn::LoadU(Floats(), a + r * p.a_row + k + v * kLanes), weights, sums[r * Vectors + v]);
    }
  }
  for (; k < p.K; k += kLanes) {
    const FloatVector weights = load_first<Format>(b + k, p.K - k);
    HWY_UNROLL(4)
    for (int r = 0; r < Rows; ++r) sums[r * Vectors] = hn::MulAdd(load_first(a + r * p.a_row + k, p.K - k), weights, sums[r * Vectors]);
  }
  HWY_UNROLL(4)
  for (int r = 0; r < Rows; ++r) {
    FloatVector sum = sums[r * Vectors];
    HWY_UNROLL(8)
    for (int v = 1; v < Vectors; ++v) sum = hn::Add(sum, sums[r * Vectors + v]);
    p.sums[(i + r) * p.sums_row + j] = hn::GetLane(hn::SumOfLanes(Floats(), sum));
  }
}

// One row with four columns that are `apart` from each other, from column j on. Each has two sums.
template <class Format>
HWY_INLINE void multiply_apart(const HalfProduct& p, std::int64_t j, std::int64_t apart) {
  FloatVector even[4], odd[4];
  HWY_UNROLL(4)
  for (int c = 0; c < 4; ++c) even[c] = odd[c] = hn::Zero(Floats());
  const std::uint16_t* const b = p.b + j * p.b_line;
  const std::int64_t next = apart * p.b_line;
  std::int64_t k = 0;
  for (; k + 2 * kLanes <= p.K; k += 2 * kLanes) {
    const FloatVector left = hn::LoadU(Floats(), p.a + k), right = hn::LoadU(Floats(), p.a + k + kLanes);
    HWY_UNROLL(4)
    for (int c = 0; c < 4; ++c) {
      if (HWY_TARGET == HWY_AVX3) hwy::Prefetch(b + c * next + k + kAhead);
      even[c] = hn::MulAdd(left, load<Format>(b + c * next + k), even[c]);
      odd[c] = hn::MulAdd(right, load<Format>(b + c * next + k + kLanes), odd[c]);
    }
  }
  for (; k < p.K; k += kLanes) {
    const FloatVector row = load_first(p.a + k, p.K - k);
    HWY_UNROLL(4)
    for (int c = 0; c < 4; ++c) even[c] = hn::MulAdd(row, load_first<Format>(b + c * next + k, p.K - k), even[c]);
  }
  HWY_UNROLL(4)
  for (int c = 0; c < 4; ++c) p.sums[j + c * apart] = hn::GetLane(hn::SumOfLanes(Floats(), hn::Add(even[c], odd[c])));
}

// One row with Columns short columns, from column j on.
template <class Format, int Columns>
HWY_INLINE void multiply_short_columns(const HalfProduct& p, std::int64_t j) {
  FloatVector sums[Columns];
  HWY_UNROLL(8)
  for (int c = 0; c < Columns; ++c) sums[c] = hn::Zero(Floats());
  const std::uint16_t* const b = p.b + j * p.b_line;
  std::int64_t k = 0;
  for (; k + kLanes <= p.K; k += kLanes) {
    const FloatVector row = hn::LoadU(Floats(), p.a + k);
    HWY_UNROLL(8)
    for (int c = 0; c < Columns; ++c) {
      if (k % kCacheLine == 0) hwy::Prefetch(b + c * p.b_line + k + kAhead);
      sums[c] = hn::MulAdd(row, load<Format>(b + c * p.b_line + k), sums[c]);
    }
  }
  if (k < p.K) {
    const FloatVector row = load_first(p.a + k, p.K - k);
    HWY_UNROLL(8)
    for (int c = 0; c < Columns; ++c) sums[c] = hn::MulAdd(row, load_first<Format>(b + c * p.b_line + k, p.K - k), sums[c]);
  }
  HWY_UNROLL(8)
  for (int c = 0; c < Columns; ++c) p.sums[j + c] = hn::GetLane(hn::SumOfLanes(Floats(), sums[c]));
}

template <class Format>
void multiply_columns(const HalfProduct& p) {
  std::int64_t j = 0;
  if (p.M == 1 && p.K <= 8 * kLanes) {
    for (; j + 8 <= p.columns; j += 8) multiply_short_columns<Format, 8>(p, j);
    for (; j + 4 <= p.columns; j += 4) multiply_short_columns<Format, 4>(p, j);
  } else if (p.M == 1) {
    const std::int64_t quarter = p.columns / 4;
    for (; j < quarter; ++j) multiply_apart<Format>(p, j, quarter);
    j = 4 * quarter;
  }
  for (; j < p.columns; ++j) {
    std::int64_t i = 0;
    for (; i + 4 <= p.M; i += 4) multiply_column<Format, 4, 2>(p, i, j);
    for (; i + 2 <= p.M; i += 2) multiply_column<Format, 2, 4>(p, i, j);
    if (i < p.M) multiply_column<Format, 1, 8>(p, i, j);
  }
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Rows that are contiguous
//
// Number k of a row of a multiplies row k of b. Here, too, four streams are read at a time: four rows from end to end, and the sums wait in the first cache. Of a wide matrix as many columns are done at a time as there is room for sums. One row with a narrow matrix, as the values of attention are, keeps its sums in registers.

// %%
//| export kernels/half_products.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// One row with four vectors of columns, from column j on.
template <class Format>
HWY_INLINE void multiply_narrow_rows(const HalfProduct& p, std::int64_t j) {
  FloatVector sums[4];
  HWY_UNROLL(4)
  for (int v = 0; v < 4; ++v) sums[v] = hn::Zero(Floats());
  for (std::int64_t k = 0; k < p.K; ++k) {
    const std::uint16_t* const line = p.b + k * p.b_line + j;
    for (int v = 0; v < 4 * kLanes; v += kCacheLine) hwy::Prefetch(line + v + kAhead);
    const FloatVector factor = hn::Set(Floats(), p.a[k]);
    HWY_UNROLL(4)
    for (int v = 0; v < 4; ++v) sums[v] = hn::MulAdd(factor, load<Format>(line + v * kLanes), sums[v]);
  }
  HWY_UNROLL(4)
  for (int v = 0; v < 4; ++v) hn::StoreU(sums[v], Floats(), p.sums + j + v * kLanes);
}

// Adds Lines rows of b, from row k on and times their factors in a row of a, to `count` sums.
template <class Format, int Lines>
HWY_INLINE void add_rows(const float* factors, const std::uint16_t* lines, std::int64_t b_line, std::int64_t count, float* sums) {
  FloatVector factor[Lines];
  HWY_UNROLL(4)
  for (int l = 0; l < Lines; ++l) factor[l] = hn::Set(Floats(), factors[l]);
  std::int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    FloatVector sum = hn::LoadU(Floats(), sums + j);
    HWY_UNROLL(4)
    for (int l = 0; l < Lines; ++l) sum = hn::MulAdd(factor[l], load<Format>(lines + l * b_line + j), sum);
    hn::StoreU(sum, Floats(), sums + j);
  }
  if (j == count) return;
  FloatVector sum = load_first(sums + j, count - j);
  HWY_UNROLL(4)
  for (int l = 0; l < Lines; ++l) sum = hn::MulAdd(factor[l], load_first<Format>(lines + l * b_line + j, count - j), sum);
  store_first(sum, sums + j, count - j);
}

template <class Format>
void multiply_rows(const HalfProduct& p) {
  constexpr std::int64_t kSums = 4096;  // 16 KB
  const std::int64_t strip = kSums / p.M / kLanes * kLanes;
  std::int64_t done = 0;
  if (p.M == 1 && p.columns <= 16 * kLanes)
    for (; done + 4 * kLanes <= p.columns; done += 4 * kLanes) multiply_narrow_rows<Format>(p, done);
  for (std::int64_t first = done; first < p.columns; first += strip) {
    const std::int64_t count = p.columns - first < strip ? p.columns - first : strip;
    for (std::int64_t i = 0; i < p.M; ++i)
      for (std::int64_t j = 0; j < count; j += kLanes) store_first(hn::Zero(Floats()), p.sums + i * p.sums_row + first + j, count - j);
    const auto add = [&]<int Lines>(std::int64_t k, std::integral_constant<int, Lines>) {
      for (std::int64_t i = 0; i < p.M; ++i) add_rows<Format, Lines>(p.a + i * p.a_row + k, p.b + k * p.b_line + first, p.b_line, count, p.sums + i * p.sums_row + first);
    };
    std::int64_t k = 0;
    for (; k + 4 <= p.K; k += 4) add(k, std::integral_constant<int, 4>());
    for (; k < p.K; ++k) add(k, std::integral_constant<int, 1>());
  }
}

// The next three add a block of numbers apart from the total before it, so that no number is added to one that is thousands of times larger.
template <class Format>
float sum(const std::uint16_t* from, std::int64_t count) {
  constexpr std::int64_t kBlock = 256 * kLanes;
  FloatVector total = hn::Zero(Floats());
  for (std::int64_t first = 0; first < count; first += kBlock) {
    const std::int64_t stop = count - first < kBlock ? count : first + kBlock;
    FloatVector sums[4] = {hn::Zero(Floats()), hn::Zero(Floats()), hn::Zero(Floats()), hn::Zero(Floats())};
    std::int64_t i = first;
    for (; i + 4 * kLanes <= stop; i += 4 * kLanes) {
      HWY_UNROLL(4)
      for (int v = 0; v < 4; ++v) sums[v] = hn::Add(sums[v], load<Format>(from + i + v * kLanes));
    }
    for (; i < stop; i += kLanes) sums[0] = hn::Add(sums[0], load_first<Format>(from + i, stop - i));
    total = hn::Add(total, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
  }
  return hn::GetLane(hn::SumOfLanes(Floats(), total));
}

template <class Format, int Vectors>
HWY_INLINE void sum_columns(const std::uint16_t* from, std::int64_t line, std::int64_t lines, std::int64_t count, float* to) {
  constexpr std::int64_t kBlock = 256;
  FloatVector totals[Vectors];
  for (auto& total : totals) total = hn::Zero(Floats());
  for (std::int64_t first = 0; first < lines; first += kBlock) {
    const std::int64_t stop = lines - first < kBlock ? lines : first + kBlock;
    FloatVector sums[Vectors];
    for (auto& sum : sums) sum = hn::Zero(Floats());
    for (std::int64_t l = first; l < stop; ++l) {
      HWY_UNROLL(4)
      for (int v = 0; v < Vectors; ++v) sums[v] = hn::Add(sums[v], load_first<Format>(from + l * line + v * kLanes, Vectors > 1 ? kLanes : count));
    }
    for (int v = 0; v < Vectors; ++v) totals[v] = hn::Add(totals[v], sums[v]);
  }
  for (int v = 0; v < Vectors; ++v) store_first(totals[v], to + v * kLanes, Vectors > 1 ? kLanes : count);
}

template <class Format>
void sum_lines(const std::uint16_t* from, std::int64_t line, std::int64_t lines, std::int64_t count, float* sums) {
  std::int64_t j = 0;
  for (; j + 4 * kLanes <= count; j += 4 * kLanes) sum_columns<Format, 4>(from + j, line, lines, count - j, sums + j);
  for (; j < count; j += kLanes) sum_columns<Format, 1>(from + j, line, lines, count - j, sums + j);
}

template <class Format>
constexpr HalfTable table_of = {multiply_columns<Format>, multiply_rows<Format>, widen<Format>, narrow<Format>, finish<Format>, combine<Format>, sum<Format>, sum_lines<Format>};
}  // namespace

constinit const HalfKernels half_kernels = {table_of<HalfFormat>, table_of<BFloat16Format>};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## The product
//
// The operands come from `mm` and `addmm` with any strides. A few rows are made floats and dense, which costs nothing beside the matrix; a matrix that has no contiguous lines at all is copied. Of more than sixteen rows (eight, where the matrix's rows are contiguous) each few would widen the matrix again, and that takes longer than to widen it in panels of about
// a megabyte, of which module 16's packed product takes each.

// %%
//| export kernels/half_products.h
namespace kernels {
// The table that runs here. REQUIRES: `type` is Half or BFloat16.
const HalfTable& half_table(ScalarType type);

// Whether `x` is Half or BFloat16, and tuned kernels are asked for.
bool is_tuned_half(const Tensor& x);
}  // namespace kernels

// %%
//| export kernels/half_products.cpp
const kernels::HalfTable& kernels::half_table(ScalarType type) {
  static constexpr const HalfKernels* tables[] = TINYTORCH_PER_CAPABILITY(half_kernels);
  const HalfKernels& kernels = for_capability(tables);
  return type == kHalf ? kernels.of_half : kernels.of_bfloat16;
}

bool kernels::is_tuned_half(const Tensor& x) { return isReducedFloatingType(x.scalar_type()) && (layers_of(x) - thread_state().excluded).has(Layer::TunedCPU); }

namespace {
std::uint16_t* bits_of(const Tensor& x) { return static_cast<std::uint16_t*>(x.data_ptr()); }

// The second operand of a product. Its lines are contiguous: its columns if by_columns, else its rows.
struct HalfMatrix {
  const std::uint16_t* data;
  std::int64_t line;
  bool by_columns;
};

// Columns [first, stop) of a (M, K) x b, into `sums` (M, N). Few rows.
void multiply_in_place(const kernels::HalfTable& table, const Tensor& a, const HalfMatrix& b, std::int64_t first, std::int64_t stop, const Tensor& sums) {
  const std::int64_t K = a.size(1), N = sums.size(1);
  const kernels::HalfProduct product{a.data<float>(), K, b.data + first * (b.by_columns ? b.line : 1), b.line, a.size(0), K, stop - first, sums.data<float>() + first, N};
  (b.by_columns ? table.multiply_columns : table.multiply_rows)(product);
}

// a (M, K) x b into `sums` (M, N), of which a panel of columns at a time is widened.
void multiply_panels(const kernels::HalfTable& table, const Tensor& a, const HalfMatrix& b, const Tensor& sums) {
  const std::int64_t M = a.size(0), K = a.size(1), N = sums.size(1);
  const std::int64_t most = std::clamp<std::int64_t>((1 << 18) / std::max<std::int64_t>(K, 1) / 64 * 64, 64, N);
  const Tensor panel = empty({most, K}, kFloat);
  float* const numbers = panel.data<float>();
  for (std::int64_t j = 0; j < N; j += most) {
    const std::int64_t columns = std::min(most, N - j);
    const std::int64_t lines = b.by_columns ? columns : K, length = b.by_columns ? K : columns;
    const std::uint16_t* const from = b.data + j * (b.by_columns ? b.line : 1);
    parallel_for(0, lines, std::max<std::int64_t>(1, (1 << 15) / std::max<std::int64_t>(length, 1)), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) table.widen(numbers + i * length, from + i * b.line, length);
    });
    const kernels::MatrixView<float> widened{numbers, b.by_columns ? 1 : length, b.by_columns ? length : 1};
    kernels::multiply<float>(M, columns, K, 1, {a.data<float>(), K, 1}, widened, 0, {nullptr, 0, 0}, sums.data<float>() + j, N);
  }
}

// alpha * mat1 (M, K) x mat2 (K, N) (+ beta * start (M, N), if it is defined), summed in float and rounded once to the operands' type. O(M N K).
Tensor product_of_halves(const Tensor& start, const Tensor& mat1, const Tensor& mat2, float beta, float alpha) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const std::int64_t M = mat1.size(0), N = mat2.size(1), K = mat1.size(1);
  const Tensor result = empty({M, N}, mat1.scalar_type());
  if (result.numel() == 0) return result;
  const Tensor a = to_dtype(mat1, kFloat).contiguous();
  const Tensor matrix = mat2.stride(0) == 1 || mat2.stride(1) == 1 ? mat2 : mat2.contiguous();
  const bool by_columns = matrix.stride(0) == 1;
  const HalfMatrix b{bits_of(matrix), matrix.stride(by_columns ? 1 : 0), by_columns};
  const Tensor added = !start.defined() || start.stride(1) == 1 || N == 1 ? start : start.contiguous();
  const Tensor sums = empty({M, N}, kFloat);
  const kernels::HalfTable& table = kernels::half_table(mat1.scalar_type());
  const auto finish = [&](std::int64_t i, std::int64_t first, std::int64_t stop) {
    const std::uint16_t* const from = added.defined() ? bits_of(added) + i * added.stride(0) + first : nullptr;
    table.finish(bits_of(result) + i * N + first, sums.data<float>() + i * N + first, alpha, from, beta, stop - first);
  };
  if (M <= (by_columns ? 16 : 8)) {
    // Some hundred thousand products are a task; of rows it has a piece that is long enough to be a stream.
    const std::int64_t grain = std::max<std::int64_t>(b.by_columns ? 16 : 2048, (1 << 18) / (M * std::max<std::int64_t>(K, 1)) / 16 * 16);
    kernels::run_pieces({0, N, grain}, [&](std::int64_t first, std::int64_t stop) {
      multiply_in_place(table, a, b, first, stop, sums);
      for (std::int64_t i = 0; i < M; ++i) finish(i, first, stop);
    });
  } else {
    multiply_panels(table, a, b, sums);
    parallel_for(0, M, std::max<std::int64_t>(1, (1 << 15) / N), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) finish(i, 0, N);
    });
  }
  return result;
}

Tensor (*mm_in_float)(const Tensor&, const Tensor&) = nullptr;
Tensor (*addmm_in_float)(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&) = nullptr;

Tensor mm_of_halves(const Tensor& self, const Tensor& mat2) {
  if (!kernels::is_tuned_half(self)) return mm_in_float(self, mat2);
  return product_of_halves(Tensor(), self, mat2, 0, 1);
}

Tensor addmm_of_halves(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  const ScalarType type = self.scalar_type();
  if (!kernels::is_tuned_half(self) || mat1.scalar_type() != type || mat2.scalar_type() != type) return addmm_in_float(self, mat1, mat2, beta, alpha);
  const ExcludeLayersGuard guard(detail::above_cpu);
  const Tensor start = expand(self, {mat1.size(0), mat2.size(1)});
  // With beta = 0 the NaNs of `self` do not count.
  const float scale = beta.to<float>();
  return product_of_halves(scale == 0 ? Tensor() : start, mat1, mat2, scale, alpha.to<float>());
}
}  // namespace

// %% [markdown]
// The functions stand on the layer HalfPrecision, in the place of chapter 83's, which they call for what is not theirs: the reference kernels, and operands of two types.

// %%
//| export kernels/half_products.cpp
//| registers
void register_half_products() {
  mm_in_float = op::mm.function(Layer::HalfPrecision);
  addmm_in_float = op::addmm.function(Layer::HalfPrecision);
  op::mm.set(Layer::HalfPrecision, mm_of_halves);
  op::addmm.set(Layer::HalfPrecision, addmm_of_halves);
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

// The matrix with other strides: 0 rows contiguous, 1 columns contiguous, 2 neither.
Tensor laid_out(const Tensor& x, int layout) {
  if (layout == 0) return x;
  if (layout == 1) return x.t().contiguous().t();
  const Tensor wide = zeros({x.size(0), 2 * x.size(1)}, x.scalar_type());
  const Tensor every_other = wide.slice(1, 0, 2 * x.size(1), 2);
  every_other.copy_(x);
  return every_other;
}

// Rounded to `type` the result is at most half a place from the exact one, and the sum in float some places of its own.
// REQUIRES: sizes are the sums of the products' absolute values.
void check_rounded_once(const Tensor& result, const Tensor& exact, const Tensor& sizes, ScalarType type) {
  REQUIRE(result.scalar_type() == type);
  REQUIRE(result.sizes() == exact.sizes());
  if (result.numel() == 0) return;
  const double half_place = type == kHalf ? 0x1p-11 : 0x1p-8, smallest = type == kHalf ? 0x1p-25 : 0.0;
  const Tensor allowed = exact.abs() * half_place + sizes * 2e-6 + smallest;
  CHECK(((result.to(kDouble) - exact).abs() <= allowed).all().item<bool>());
}

// %%
TEST_CASE("half precision in registers: every Half and BFloat16 becomes the float that it is, and that float becomes it again") {
  for_each_capability([&] {
    for (const ScalarType type : {kHalf, kBFloat16}) {
      const kernels::HalfTable& table = kernels::half_table(type);
      std::vector<std::uint16_t> all(1 << 16), back(1 << 16);
      for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
      std::vector<float> wide(1 << 16);
      table.widen(wide.data(), all.data(), 1 << 16);
      table.narrow(back.data(), wide.data(), 1 << 16);
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        const float expected = type == kHalf ? detail::float_from_half(all[i]) : detail::float_from_bfloat16(all[i]);
        if (std::isnan(expected)) wrong += !std::isnan(wide[i]) || !std::isnan(type == kHalf ? detail::float_from_half(back[i]) : detail::float_from_bfloat16(back[i]));
        else wrong += std::bit_cast<std::uint32_t>(wide[i]) != std::bit_cast<std::uint32_t>(expected) || back[i] != all[i];
      }
      CHECK_EQ(wrong, 0);
    }
  });
}

TEST_CASE("half precision in registers: floats are rounded to the nearest, ties to even") {
  // All floats with some patterns at the end, so that each number of two bytes is met from both sides and in the middle.
  std::vector<float> floats;
  for (std::uint32_t upper = 0; upper < 1 << 16; ++upper)
    for (const std::uint32_t lower : {0x0000U, 0x0001U, 0x0FFFU, 0x1000U, 0x1001U, 0x2000U, 0x3000U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) floats.push_back(std::bit_cast<float>(upper << 16 | lower));
  const auto count = static_cast<std::int64_t>(floats.size());
  std::vector<std::uint16_t> rounded(floats.size());
  for_each_capability([&] {
    for (const ScalarType type : {kHalf, kBFloat16}) {
      kernels::half_table(type).narrow(rounded.data(), floats.data(), count);
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < floats.size(); ++i) {
        if (std::isnan(floats[i])) wrong += !std::isnan(type == kHalf ? detail::float_from_half(rounded[i]) : detail::float_from_bfloat16(rounded[i]));
        else wrong += rounded[i] != (type == kHalf ? detail::half_from_float(floats[i]) : detail::bfloat16_from_float(floats[i]));
      }
      CHECK_EQ(wrong, 0);
    }
  });
}

TEST_CASE("half precision products: sums in float, rounded once, for all sizes and layouts") {
  struct Size {
    std::int64_t M, K, N;
  };
  const std::vector<Size> sizes = {{1, 1, 1}, {1, 7, 3}, {1, 768, 37}, {1, 301, 530}, {2, 33, 64}, {3, 100, 257}, {5, 16, 12}, {8, 48, 300}, {9, 40, 70}, {15, 90, 33}, {40, 65, 129}, {1, 0, 5}, {3, 5, 0}, {0, 5, 3}, {20, 0, 4}, {11, 3000, 150}};
  for_each_capability([&] {
    for (const Size& s : sizes) {
      for (const ScalarType type : {kHalf, kBFloat16}) {
        Generator generator(65);
        const Tensor a = randn({s.M, s.K}, generator).to(type), b = randn({s.K, s.N}, generator).to(type), bias = randn({s.N}, generator).to(type), column = randn({s.M, 1}, generator).to(type);
        const Tensor exact = a.to(kDouble).mm(b.to(kDouble)), size = a.to(kDouble).abs().mm(b.to(kDouble).abs()) + 1;
        for (const int layout : {0, 1, 2}) {
          CAPTURE(s.M);
          CAPTURE(s.K);
          CAPTURE(s.N);
          CAPTURE(layout);
          check_rounded_once(laid_out(a, layout).mm(laid_out(b, layout)), exact, size, type);
          check_rounded_once(addmm(bias, a, laid_out(b, layout)), exact + bias.to(kDouble), size + 4, type);
          check_rounded_once(addmm(column, laid_out(a, layout), laid_out(b, layout), 0.5, -2), exact * -2 + column.to(kDouble) * 0.5, size * 2 + 4, type);
        }
      }
    }
  });
}

TEST_CASE("half precision products: PyTorch's numbers for GPT-2's widths, recorded") {
  // sin(0), sin(1), ... and cos(0), cos(1), ..., rounded to the type: a row of 768 and a weight of (3, 768), of (768, 3) and a bias.
  const auto numbers = [](Tensor (*wave)(const Tensor&), IntArrayRef sizes, ScalarType type) { return wave(arange(multiply_sizes(sizes), kDouble)).to(type).view(sizes); };
  struct Recorded {
    ScalarType type;
    Tensor linear, mm;
  };
  const Recorded recorded[] = {{kHalf, tensor({{1.2578125, -380.25, -91.375}}, kDouble), tensor({{-0.1593017578125, -0.462158203125, -0.343505859375}}, kDouble)},
                               {kBFloat16, tensor({{1.25, -380.0, -91.5}}, kDouble), tensor({{-0.17578125, -0.328125, -0.32421875}}, kDouble)}};
  for_each_capability([&] {
    for (const Recorded& r : recorded) {
      const Tensor x = numbers(sin, {1, 768}, r.type), w = numbers(cos, {768, 3}, r.type), bias = numbers(cos, {3}, r.type);
      CHECK_CLOSE(nn::functional::linear(x, w.view({3, 768}), bias).to(kDouble), r.linear, r.type == kHalf ? 0x1p-10 : 0x1p-7, 1e-4);
      CHECK_CLOSE(x.mm(w).to(kDouble), r.mm, r.type == kHalf ? 0x1p-10 : 0x1p-7, 1e-4);
    }
  });
}

TEST_CASE("half precision products: what is not a number, infinities, and sums beyond the type") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for_each_capability([&] {
    for (const std::int64_t rows : {1, 20}) {
      for (const int layout : {0, 1}) {
        const Tensor a = ones({rows, 3}, kHalf), b = laid_out(tensor({{1.0, inf, inf, nan, 40000.0}, {1.0, 1.0, -inf, 1.0, 40000.0}, {1.0, 1.0, 1.0, 1.0, -40000.0}}, kHalf), layout);
        CHECK_EQ(a.mm(b).to(kDouble)[rows - 1], tensor({3.0, inf, nan, nan, 40000.0}, kDouble));  // 80000 on the way is no infinity
        CHECK_EQ(addmm(full({5}, 40000, kHalf), a, b).to(kDouble)[rows - 1], tensor({40000.0, inf, nan, nan, inf}, kDouble));
        CHECK_EQ(addmm(full({5}, nan, kHalf), a, b, 0, 1).to(kDouble)[0][0].item<double>(), 3.0);
      }
    }
  });
}

TEST_CASE("half precision products: the weight is never widened as a whole, and the reference kernels still widen it") {
  if (!birth_layers.has(Layer::TunedCPU)) return;  // TINYTORCH_KERNELS=reference
  const Tensor x = ones({1, 512}, kBFloat16), w = ones({1024, 512}, kBFloat16), many = ones({64, 512}, kBFloat16);
  const auto peak_of = [](const Tensor& a, const Tensor& b) {
    memory::reset_peak();
    const std::size_t before = memory::stats().live;
    CHECK_EQ(a.mm(b)[0][0].item<float>(), 512.0F);
    return memory::stats().peak - before;
  };
  const std::size_t widened = static_cast<std::size_t>(w.numel()) * sizeof(float);
  CHECK(peak_of(x, w.t()) < widened / 100);
  CHECK(peak_of(x, w.view({512, 1024})) < widened / 100);
  CHECK(peak_of(many, w.t()) < widened);
  const kernels::ReferenceKernelsGuard reference;
  CHECK(peak_of(x, w.t()) > widened);
}

TEST_CASE("half precision products: the same bits for any number of threads, and gradients") {
  const int before = get_num_threads();
  const Tensor x = randn({3, 300}).to(kHalf), w = randn({2000, 300}).to(kHalf), many = randn({100, 300}).to(kHalf);
  set_num_threads(1);
  const Tensor few_alone = x.mm(w.t()), many_alone = many.mm(w.t());
  set_num_threads(3);
  CHECK_EQ(x.mm(w.t()), few_alone);
  CHECK_EQ(many.mm(w.t()), many_alone);
  set_num_threads(before);

  nn::Linear layer(4, 2);
  layer->to(kBFloat16);
  layer->forward(ones({3, 4}, kBFloat16)).sum().backward();
  CHECK_EQ(layer->weight.grad(), full({2, 4}, 3, kBFloat16));
  CHECK_EQ(layer->bias.grad(), full({2}, 3, kBFloat16));
}

// %% [markdown]
// ## Measured
//
// The ladder: the obvious loop, chapter 83's way, this chapter's, and float32 beside them. What counts is weights per second, and the bytes that they are.

// %%
//| lesson
// One row times a matrix with contiguous columns, number by number.
Tensor multiply_one_by_one(const Tensor& x, const Tensor& weight) {
  const std::int64_t N = weight.size(0), K = weight.size(1);
  const Tensor result = empty({1, N}, kBFloat16);
  const BFloat16* const a = x.data<BFloat16>();
  const BFloat16* const w = weight.data<BFloat16>();
  for (std::int64_t j = 0; j < N; ++j) {
    float sum = 0;
    for (std::int64_t k = 0; k < K; ++k) sum += static_cast<float>(a[k]) * static_cast<float>(w[j * K + k]);
    result.data<BFloat16>()[j] = BFloat16(sum);
  }
  return result;
}

// %%
DEMO("one row times 50,257 x 768 weights, as a language model's last layer") {
  const Tensor x = randn({1, 768}), w = randn({50257, 768});
  const Tensor x2 = x.to(kBFloat16), w2 = w.to(kBFloat16);
  const auto show = [&](const char* way, const std::function<Tensor()>& product, double bytes) {
    memory::reset_peak();
    const std::size_t before = memory::stats().live;
    const double seconds = measure([&] { do_not_optimize(product()); }, {.samples = 3}).minimum;
    std::printf("%-36s %10s   %5.1f GB/s of weights   %s beside them\n", way, format_seconds(seconds).c_str(), static_cast<double>(w.numel()) * bytes / seconds * 1e-9,
                format_bytes(static_cast<std::int64_t>(memory::stats().peak - before)).c_str());
  };
  show("float32", [&] { return x.mm(w.t()); }, 4);
  show("bfloat16, one number after the other", [&] { return multiply_one_by_one(x2, w2); }, 2);
  show("bfloat16, made floats first", [&] { return x2.to(kFloat).mm(w2.to(kFloat).t()).to(kBFloat16); }, 2);
  show("bfloat16, in registers", [&] { return x2.mm(w2.t()); }, 2);
}

// %% [markdown]
// # A token's way through a transformer
//
// Besides products a transformer normalizes, adds and looks up. Those operators see a few thousand numbers for a token, and for them chapter 83's way is good: layer normalization and the gradient of an embedding get it here, as their modules come after that chapter. What grows is the cache of keys and values, which each new token reads from end to end: for
// it the cache is what the weights are for a Linear, a matrix of two bytes a number that is used once.
//
//     query (1, E)  x  keys (S, E), by columns   -->  scores (1, S)      float
//     softmax                                    -->  weights (1, S)     float
//     weights (1, S)  x  values (S, Ev), by rows -->  (1, Ev)            rounded once
//
// Many queries at a time, masks and gradients are computed in float. Rounding the logarithms of the sums, which only the backward pass reads, would be felt there: they stay float, as in PyTorch.

// %%
//| export kernels/half_attention.cpp
namespace {
using Forward = std::tuple<Tensor, Tensor>;
using Backward = std::tuple<Tensor, Tensor, Tensor>;

const std::uint16_t* head_of(const Tensor& x, std::int64_t b, std::int64_t h) { return static_cast<const std::uint16_t*>(x.data_ptr()) + b * x.stride(0) + h * x.stride(1); }

// (output (B, H, 1, Ev), logsumexp (B, H, 1)) for query (B, H, 1, E), keys (B, Hk, S, E) and values (B, Hk, S, Ev), none of them empty. O(B H S (E + Ev)).
Forward attend_one_query(const Tensor& query, const Tensor& key, const Tensor& value, double scale) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const std::int64_t B = query.size(0), H = query.size(1), E = query.size(3), S = key.size(2), Ev = value.size(3), group = H / key.size(1);
  const Tensor q = to_dtype(query, kFloat).contiguous() * scale;
  const Tensor keys = key.stride(3) == 1 ? key : key.contiguous(), values = value.stride(3) == 1 ? value : value.contiguous();
  const Tensor scores = empty({B, H, S}, kFloat), logsumexp = empty({B, H, 1}, kFloat), output = empty({B, H, 1, Ev}, query.scalar_type()), sums = empty({B, H, Ev}, kFloat);
  const kernels::HalfTable& table = kernels::half_table(query.scalar_type());
  kernels::run_tasks(B * H, [&](std::int64_t head) {
    table.multiply_columns({q.data<float>() + head * E, E, head_of(keys, head / H, head % H / group), keys.stride(2), 1, E, S, scores.data<float>() + head * S, S});
  });
  const Tensor weights = softmax(scores, -1);
  kernels::run_tasks(B * H, [&](std::int64_t head) {
    const float* const weight = weights.data<float>() + head * S;
    const std::int64_t largest = std::max_element(weight, weight + S) - weight;
    logsumexp.data<float>()[head] = scores.data<float>()[head * S + largest] - std::log(weight[largest]);
    float* const sum = sums.data<float>() + head * Ev;
    table.multiply_rows({weight, S, head_of(values, head / H, head % H / group), values.stride(2), 1, S, Ev, sum, Ev});
    table.narrow(static_cast<std::uint16_t*>(output.data_ptr()) + head * Ev, sum, Ev);
  });
  return {output, logsumexp};
}

Forward attention_of_halves(const Tensor& query, const Tensor& key, const Tensor& value, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const bool masked = attn_mask && attn_mask->defined();
  const bool one = query.size(2) == 1 && !is_causal && !masked && query.numel() > 0 && key.numel() > 0 && value.numel() > 0;
  if (one && kernels::is_tuned_half(query)) return attend_one_query(query, key, value, scale.value_or(1 / std::sqrt(static_cast<double>(query.size(3)))));
  const ExcludeLayersGuard guard(detail::above_cpu);
  const auto wide = [](const auto& x) { return detail::widened(x, std::nullopt); };
  const auto [output, logsumexp] = op::_scaled_dot_product_flash_attention_for_cpu(wide(query), wide(key), wide(value), dropout_p, is_causal, wide(attn_mask), scale);
  return {detail::narrowed(output, query.scalar_type()), logsumexp};
}

Backward attention_backward_of_halves(const Tensor& grad_out, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out, const Tensor& logsumexp, double dropout_p, bool is_causal,
                                      const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const auto wide = [](const auto& x) { return detail::widened(x, std::nullopt); };
  return detail::narrowed(op::_scaled_dot_product_flash_attention_for_cpu_backward(wide(grad_out), wide(query), wide(key), wide(value), wide(out), logsumexp, dropout_p, is_causal, wide(attn_mask), scale),
                          query.scalar_type());
}
}  // namespace

// %%
//| export kernels/half_attention.cpp
//| registers
void register_half_transformer() {
  compute_in_float<op::layer_norm, op::embedding_dense_backward>();
  op::_scaled_dot_product_flash_attention_for_cpu.set(Layer::HalfPrecision, attention_of_halves);
  op::_scaled_dot_product_flash_attention_for_cpu_backward.set(Layer::HalfPrecision, attention_backward_of_halves);
}

// %%
TEST_CASE("half precision attention: one query reads the cache as it is, many are computed in float") {
  struct Case {
    std::int64_t B, H, Hk, L, S, E, Ev;
    bool causal, masked;
  };
  const std::vector<Case> cases = {{1, 12, 12, 1, 129, 64, 64, false, false}, {2, 4, 2, 1, 33, 20, 9, false, false}, {1, 2, 2, 1, 1, 8, 8, true, false}, {1, 2, 2, 1, 5, 8, 8, false, true}, {2, 3, 3, 17, 17, 16, 16, true, false}};
  for_each_capability([&] {
    for (const Case& c : cases) {
      for (const ScalarType type : {kHalf, kBFloat16}) {
        CAPTURE(c.S);
        Generator generator(65);
        const Tensor q = randn({c.B, c.L, c.H, c.E}, generator).to(type).transpose(1, 2);  // heads lie between each other, as a projection leaves them
        const Tensor k = randn({c.B, c.Hk, 2 * c.S, c.E}, generator).to(type).narrow(2, 0, c.S), v = randn({c.B, c.Hk, 2 * c.S, c.Ev}, generator).to(type).narrow(2, 0, c.S);  // a cache with room
        const Tensor g = randn({c.B, c.H, c.L, c.Ev}, generator).to(type);
        std::optional<Tensor> mask, exact_mask;
        if (c.masked) mask = randn({c.B, 1, c.L, c.S}, generator).to(type), exact_mask = mask->to(kDouble);
        const auto [out, lse] = _scaled_dot_product_flash_attention_for_cpu(q, k, v, 0, c.causal, mask);
        const auto [exact, exact_lse] = _scaled_dot_product_flash_attention_for_cpu(q.to(kDouble), k.to(kDouble), v.to(kDouble), 0, c.causal, exact_mask);
        check_rounded_once(out, exact, ones({}, kDouble), type);
        CHECK_CLOSE(lse.to(kDouble), exact_lse, 1e-5, 1e-5);
        CHECK_EQ(lse.scalar_type(), kFloat);
        const auto [grad_q, grad_k, grad_v] = _scaled_dot_product_flash_attention_for_cpu_backward(g, q, k, v, out, lse, 0, c.causal, mask);
        const auto [exact_q, exact_k, exact_v] = _scaled_dot_product_flash_attention_for_cpu_backward(g.to(kDouble), q.to(kDouble), k.to(kDouble), v.to(kDouble), exact, exact_lse, 0, c.causal, exact_mask);
        const double tolerance = type == kHalf ? 0x1p-9 : 0x1p-6;
        CHECK_EQ(grad_q.scalar_type(), type);
        CHECK_CLOSE(grad_q.to(kDouble), exact_q, tolerance, tolerance);
        CHECK_CLOSE(grad_k.to(kDouble), exact_k, tolerance, tolerance);
        CHECK_CLOSE(grad_v.to(kDouble), exact_v, tolerance, tolerance);
      }
    }
  });
}

TEST_CASE("half precision attention: what is not a number stays in its head, and keys that are infinitely far count nothing") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const Tensor q = ones({1, 2, 1, 4}, kBFloat16), k = ones({1, 2, 3, 4}, kBFloat16), v = full({1, 2, 3, 4}, 2, kBFloat16);
  k.select(1, 0).select(1, 1).fill_(-inf);
  q.select(1, 1).fill_(nan);
  const auto [out, lse] = _scaled_dot_product_flash_attention_for_cpu(q, k, v);
  CHECK_EQ(out.select(1, 0), full({1, 1, 4}, 2, kBFloat16));
  CHECK_CLOSE(lse[0][0][0].item<double>(), 2 + std::log(2.0), 1e-6, 0.0);
  CHECK(out.select(1, 1).isnan().all().item<bool>());
}

TEST_CASE("a GPT in half precision: token by token with a cache it says what it says in float, and learns") {
  manual_seed(65);
  models::GPT model(models::GPTOptions(50, 24).n_layer(2).n_head(4).n_embd(64));
  const Tensor tokens = (arange(20) * 31).remainder(50).view({1, 20});
  for (const ScalarType type : {kHalf, kBFloat16}) {
    CAPTURE(type);
    const double tolerance = type == kHalf ? 0.004 : 0.03;
    model->to(type);
    model->to(kFloat);  // the weights are rounded to the type now, so that only what is computed differs
    const Tensor expected = model->forward(tokens).detach();
    model->loss(tokens, tokens).backward();
    const Tensor expected_gradient = model->wte->weight.grad().clone();
    model->zero_grad();
    model->to(type);
    {
      const NoGradGuard no_grad;
      models::GPTCache cache(2);
      for (std::int64_t t = 0; t < 20; ++t) {
        const Tensor logits = model->forward(tokens.narrow(1, t, 1), &cache);
        REQUIRE(logits.scalar_type() == type);
        CHECK_CLOSE(logits.select(1, 0).to(kFloat), expected.select(1, t), tolerance, tolerance);
      }
      CHECK_EQ(cache.bytes(), 2 * 2 * 32 * 64 * 2U);  // two layers, keys and values, room for 32 positions
    }
    model->loss(tokens, tokens).backward();
    CHECK_EQ(model->wte->weight.grad().scalar_type(), type);
    CHECK_CLOSE(model->wte->weight.grad().to(kFloat), expected_gradient, 10 * tolerance, tolerance);
    model->zero_grad();
    model->to(kFloat);
  }
}

// %% [markdown]
// ## Where to read on
//
// PyTorch multiplies such matrices with oneDNN or with loops of its own (`aten/src/ATen/native/BlasKernel.cpp`, `bf16_gemv_trans`), llama.cpp with dot products like these for each of its formats (`ggml/src/ggml-cpu/vec.cpp`). Newer processors multiply pairs of BFloat16 and add them to a float in one instruction (`vdpbf16ps`, and AMX for
// tiles): that is arithmetic, which a single row does not wait for. Fewer bytes are the way on: eight and four bits a weight.

// %%
}  // namespace tinytorch
