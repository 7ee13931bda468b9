// From the lesson modules/65_half_kernels/half_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <cstdint>
#include <type_traits>
#include "tinytorch/kernels/half_kernels.h"

namespace tinytorch {

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

}  // namespace tinytorch
