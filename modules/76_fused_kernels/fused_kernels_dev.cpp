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
// # Library chapter 76: Reductions, normalizations and copies in vectors
//
// Chapter 77 is about operators that give one element for each element. Here several elements become one (`sum`, `max`, `var`), a row is normalized by what it is made of (`layer_norm`, `batch_norm`), or elements only change their places (`contiguous` of a transposed
// tensor). All three are limited by memory: the arithmetic is an addition for each number read. So what counts is that every line of memory is read once, in order, by all threads, and that what was read is used while it is in the cache. No exercises.
//
//     sum over the last dimension        sum over the first              sum over both
//
//     [ ------> ]  r0                    [ | | | | ]                     [ ------> ]   a number for each piece,
//     [ ------> ]  r1                    [ v v v v ]                     [ ------> ]   then these, in their order
//     [ ------> ]  r2                      c c c c
//
// **The same bits for any number of threads.** A sum of floating-point numbers depends on the order of its additions. Here the order is fixed by the sizes: a row is one task, or, where it is long, its pieces of 65,536 elements are; the pieces' sums are added in their order. Sums of floats run in
// double, in several lanes at once. That is as exact as the reference and costs nothing, since memory is slower than the additions.
//
// How production does it: PyTorch's `aten/src/ATen/native/cpu/SumKernel.cpp` (cascade summation in float), `ReduceOpsKernel.cpp`, `layer_norm_kernel.cpp` and `batch_norm_kernel.cpp`; for copies `native/cpu/CopyKernel.cpp` and `native/Copy.cpp` (`copy_transpose_valid`). Reductions over pieces and
// then over their results are what every GPU library does (NVIDIA's CUB), with the same care for the order when results must repeat.

// %%
//| after 16
//| export kernels/reduction_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/reduction.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/reduction_kernels.h"
//| export kernels/reductions.cpp
#include <vector>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/reductions.h"
//| export kernels/reductions.h
#include "tinytorch/core/tensor.h"
#include "tinytorch/kernels/reduction_kernels.h"
//| export kernels/normalizations.cpp
#include <cmath>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/reductions.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/norm.h"
//| export kernels/copies.cpp
#include <cstring>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/reductions.h"

// %%
#include <chrono>
#include <cmath>
#include <iostream>
#include <limits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/norm.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The table
//
// As in chapter 77, what is compiled for each capability knows arrays only.

// %%
//| export kernels/reduction_kernels.h
namespace kernels {

// Loops for T float or double. A row is `n` numbers, one behind the other; columns stand side by side, number j of column i at x[j * stride + i].
template <class T>
struct ReductionKernels {
  double (*sum)(const T* x, std::int64_t n);
  double (*squared_deviations)(const T* x, std::int64_t n, double mean);  // the sum of (x - mean)^2
  // For `width` columns of n numbers: totals[i] = the sum of column i; of (x - means[i])^2.
  void (*column_sums)(const T* x, std::int64_t n, std::int64_t stride, std::int64_t width, double* totals);
  void (*column_squared_deviations)(const T* x, std::int64_t n, std::int64_t stride, std::int64_t width, const double* means, double* totals);
  // The place of the first NaN, else of the first largest (or smallest) number. REQUIRES: n > 0.
  std::int64_t (*extreme)(const T* x, std::int64_t n, bool largest);
  void (*column_extremes)(const T* x, std::int64_t n, std::int64_t stride, std::int64_t width, bool largest, std::int64_t* places);
  // y = (x - mean) * scale * weight[i] + bias[i], computed in double; weight and bias may be null.
  void (*normalize)(const T* x, T* y, std::int64_t n, double mean, double scale, const T* weight, const T* bias);
  // The gradient of a row's normalization towards its input: scale * (h - mean(h) - x' mean(h x')), h = g * weight, x' = (x - mean) * scale.
  void (*normalize_backward)(const T* g, const T* x, T* out, std::int64_t n, double mean, double scale, const T* weight);
  // y[i * y_stride + j] = x[j * x_stride + i] for i < rows, j < columns.
  void (*transpose)(const T* x, std::int64_t x_stride, T* y, std::int64_t y_stride, std::int64_t rows, std::int64_t columns);
};

TINYTORCH_DECLARE_PER_CAPABILITY(ReductionKernels<float>, reduction_kernels_float)
TINYTORCH_DECLARE_PER_CAPABILITY(ReductionKernels<double>, reduction_kernels_double)

}  // namespace kernels

// %% [markdown]
// ## Sums in double
//
// A vector of eight doubles is filled from eight floats. Four such vectors make 32 sums that do not wait for each other: an addition takes four cycles, and one chain would use a quarter of what the adder can do.

// %%
//| export kernels/reduction.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using Doubles = hn::ScalableTag<double>;
using OneDouble = hn::CappedTag<double, 1>;

// As many doubles as D has lanes, from T's.
template <class D, class T>
HWY_INLINE hn::Vec<D> load_as_double(D d, const T* x) {
  if constexpr (sizeof(T) == 8) {
    return hn::LoadU(d, x);
  } else {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, D>(), x));
  }
}
template <class D, class T>
HWY_INLINE void store_from_double(D d, hn::Vec<D> v, T* y) {
  if constexpr (sizeof(T) == 8) {
    hn::StoreU(v, d, y);
  } else {
    const hn::Rebind<T, D> narrow;
    hn::StoreU(hn::DemoteTo(narrow, v), narrow, y);
  }
}

// Calls step(d, i) for whole vectors of doubles, then for single ones.
template <class Step>
HWY_INLINE void in_double_steps(std::int64_t n, Step step) {
  const Doubles d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + N <= n; i += N) step(d, i);
  for (; i < n; ++i) step(OneDouble(), i);
}

// The sum of term(d, i) over i < n, where term gives the vector of terms that begins at i.
template <class Term>
HWY_INLINE double sum_of(std::int64_t n, Term term) {
  const Doubles d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 4 * N <= n; i += 4 * N) {
    s0 = hn::Add(s0, term(d, i));
    s1 = hn::Add(s1, term(d, i + N));
    s2 = hn::Add(s2, term(d, i + 2 * N));
    s3 = hn::Add(s3, term(d, i + 3 * N));
  }
  for (; i + N <= n; i += N) s0 = hn::Add(s0, term(d, i));
  double total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) total += hn::GetLane(term(OneDouble(), i));
  return total;
}

template <class T>
double row_sum(const T* x, std::int64_t n) {
  return sum_of(n, [x](auto d, std::int64_t i) { return load_as_double(d, x + i); });
}

template <class T>
double row_squared_deviations(const T* x, std::int64_t n, double mean) {
  return sum_of(n, [x, mean](auto d, std::int64_t i) {
    const auto deviation = hn::Sub(load_as_double(d, x + i), hn::Set(d, mean));
    return hn::Mul(deviation, deviation);
  });
}

// totals[i] = the sum over j of term(d, j, i): columns i, i + 1, ... of line j. Four vectors of columns at a time.
template <class Term>
HWY_INLINE void column_sums_of(std::int64_t n, std::int64_t width, double* totals, Term term) {
  const Doubles d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + 4 * N <= width; i += 4 * N) {
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (std::int64_t j = 0; j < n; ++j) {
      s0 = hn::Add(s0, term(d, j, i));
      s1 = hn::Add(s1, term(d, j, i + N));
      s2 = hn::Add(s2, term(d, j, i + 2 * N));
      s3 = hn::Add(s3, term(d, j, i + 3 * N));
    }
    hn::StoreU(s0, d, totals + i);
    hn::StoreU(s1, d, totals + i + N);
    hn::StoreU(s2, d, totals + i + 2 * N);
    hn::StoreU(s3, d, totals + i + 3 * N);
  }
  const auto strip = [&](auto tag, std::int64_t at) {
    auto s = hn::Zero(tag);
    for (std::int64_t j = 0; j < n; ++j) s = hn::Add(s, term(tag, j, at));
    hn::StoreU(s, tag, totals + at);
  };
  for (; i + N <= width; i += N) strip(d, i);
  for (; i < width; ++i) strip(OneDouble(), i);
}

template <class T>
void column_sums(const T* x, std::int64_t n, std::int64_t stride, std::int64_t width, double* totals) {
  column_sums_of(n, width, totals, [=](auto d, std::int64_t j, std::int64_t i) { return load_as_double(d, x + j * stride + i); });
}

template <class T>
void column_squared_deviations(const T* x, std::int64_t n, std::int64_t stride, std::int64_t width, const double* means, double* totals) {
  column_sums_of(n, width, totals, [=](auto d, std::int64_t j, std::int64_t i) {
    const auto deviation = hn::Sub(load_as_double(d, x + j * stride + i), hn::LoadU(d, means + i));
    return hn::Mul(deviation, deviation);
  });
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## The largest, and where it is
//
// Keeping an index beside each lane's maximum is one comparison and two selections for each vector. It is cheaper to ask first *how large*, for a block of a thousand numbers, and to look for the place only in blocks that have something larger than what was seen: in data
// without order those are few. A NaN counts as larger than everything; a comparison with itself finds it.

// %%
//| export kernels/reduction.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

template <class D, class V = hn::Vec<D>>
HWY_INLINE V better_of(D, V a, V b, bool largest) {
  return largest ? hn::Max(a, b) : hn::Min(a, b);
}

template <class T>
std::int64_t row_extreme(const T* x, std::int64_t n, bool largest) {
  constexpr std::int64_t block = 1024;
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t place = 0;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t end = begin + block < n ? begin + block : n;
    auto a = hn::Set(d, x[begin]), b = a;
    auto nans = hn::IsNaN(a);
    std::int64_t i = begin;
    for (; i + 2 * N <= end; i += 2 * N) {
      const auto u = hn::LoadU(d, x + i), v = hn::LoadU(d, x + i + N);
      nans = hn::Or(nans, hn::Or(hn::IsNaN(u), hn::IsNaN(v)));
      a = better_of(d, a, u, largest);
      b = better_of(d, b, v, largest);
    }
    a = better_of(d, a, b, largest);
    T best = hn::GetLane(largest ? hn::MaxOfLanes(d, a) : hn::MinOfLanes(d, a));
    bool any_nan = !hn::AllFalse(d, nans);
    for (; i < end; ++i) {
      any_nan = any_nan || x[i] != x[i];
      if (largest ? x[i] > best : x[i] < best) best = x[i];
    }
    if (any_nan) {
      for (i = begin; x[i] == x[i]; ++i) {
      }
      return i;
    }
    if (largest ? best > x[place] : best < x[place]) {
      for (i = begin; x[i] != best; ++i) {
      }
      place = i;
    }
  }
  return place;
}

template <class T>
void column_extremes(const T* x, std::int64_t n, std::int64_t stride, std::int64_t width, bool largest, std::int64_t* places) {
  const auto strip = [&](auto d, std::int64_t at) {
    using D = decltype(d);
    const hn::RebindToSigned<D> di;
    using Index = hn::TFromD<hn::RebindToSigned<D>>;
    auto best = hn::LoadU(d, x + at);
    auto place = hn::Zero(di);
    for (std::int64_t j = 1; j < n; ++j) {
      const auto v = hn::LoadU(d, x + j * stride + at);
      const auto beats = largest ? hn::Gt(v, best) : hn::Lt(v, best);
      const auto wins = hn::AndNot(hn::IsNaN(best), hn::Or(beats, hn::IsNaN(v)));
      best = hn::IfThenElse(wins, v, best);
      place = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, static_cast<Index>(j)), place);
    }
    HWY_ALIGN Index lanes[hn::MaxLanes(D())];
    hn::Store(place, di, lanes);
    for (std::size_t k = 0; k < hn::Lanes(d); ++k) places[at + static_cast<std::int64_t>(k)] = lanes[k];
  };
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + N <= width; i += N) strip(d, i);
  for (; i < width; ++i) strip(hn::CappedTag<T, 1>(), i);
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Rows that are normalized, and tiles that are turned
//
// A row of a layer norm is read three times (sum, deviations, result), but only the first time from memory. Its gradient needs two sums over the row and then each element, where the composed formula of module 12 makes nine tensors.
//
// To transpose is to read lines and write columns: each line of memory holds 16 floats, and if they go to 16 places far from each other, 16 lines are touched to write 64 bytes. So the work is cut into tiles of 16 x 16: 16 lines are read, 16 lines are written, and between
// them 4 x 4 numbers at a time change places in registers.
//
//     a0 a1 a2 a3       interleave rows 0, 2 and 1, 3      a0 c0 a1 c1    and those with each other     a0 b0 c0 d0
//     b0 b1 b2 b3       ----------------------------->     b0 d0 b1 d1    ------------------------->    a1 b1 c1 d1
//     c0 c1 c2 c3                                          a2 c2 a3 c3                                  a2 b2 c2 d2
//     d0 d1 d2 d3                                          b2 d2 b3 d3                                  a3 b3 c3 d3

// %%
//| export kernels/reduction.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

template <class T>
void normalize_row(const T* x, T* y, std::int64_t n, double mean, double scale, const T* weight, const T* bias) {
  in_double_steps(n, [=](auto d, std::int64_t i) {
    auto v = hn::Mul(hn::Sub(load_as_double(d, x + i), hn::Set(d, mean)), hn::Set(d, scale));
    if (weight != nullptr) v = hn::Mul(v, load_as_double(d, weight + i));
    if (bias != nullptr) v = hn::Add(v, load_as_double(d, bias + i));
    store_from_double(d, v, y + i);
  });
}

template <class T>
void normalize_row_backward(const T* g, const T* x, T* out, std::int64_t n, double mean, double scale, const T* weight) {
  const auto h_at = [=](auto d, std::int64_t i) {
    const auto grad = load_as_double(d, g + i);
    return weight == nullptr ? grad : hn::Mul(grad, load_as_double(d, weight + i));
  };
  const auto normal_at = [=](auto d, std::int64_t i) { return hn::Mul(hn::Sub(load_as_double(d, x + i), hn::Set(d, mean)), hn::Set(d, scale)); };
  const double count = static_cast<double>(n);
  const double h_mean = sum_of(n, h_at) / count;
  const double product_mean = sum_of(n, [=](auto d, std::int64_t i) { return hn::Mul(h_at(d, i), normal_at(d, i)); }) / count;
  in_double_steps(n, [=](auto d, std::int64_t i) {
    const auto rest = hn::NegMulAdd(normal_at(d, i), hn::Set(d, product_mean), hn::Sub(h_at(d, i), hn::Set(d, h_mean)));
    store_from_double(d, hn::Mul(rest, hn::Set(d, scale)), out + i);
  });
}

// y[i][j] = x[j][i] for a square that fills registers of 16 bytes: 4 x 4 floats, 2 x 2 doubles.
HWY_INLINE void turn(const float* x, std::int64_t x_stride, float* y, std::int64_t y_stride) {
  const hn::Full128<float> d;
  const auto a = hn::LoadU(d, x), b = hn::LoadU(d, x + x_stride), c = hn::LoadU(d, x + 2 * x_stride), e = hn::LoadU(d, x + 3 * x_stride);
  const auto ac_low = hn::InterleaveLower(d, a, c), ac_high = hn::InterleaveUpper(d, a, c);
  const auto be_low = hn::InterleaveLower(d, b, e), be_high = hn::InterleaveUpper(d, b, e);
  hn::StoreU(hn::InterleaveLower(d, ac_low, be_low), d, y);
  hn::StoreU(hn::InterleaveUpper(d, ac_low, be_low), d, y + y_stride);
  hn::StoreU(hn::InterleaveLower(d, ac_high, be_high), d, y + 2 * y_stride);
  hn::StoreU(hn::InterleaveUpper(d, ac_high, be_high), d, y + 3 * y_stride);
}
HWY_INLINE void turn(const double* x, std::int64_t x_stride, double* y, std::int64_t y_stride) {
  const hn::Full128<double> d;
  const auto a = hn::LoadU(d, x), b = hn::LoadU(d, x + x_stride);
  hn::StoreU(hn::InterleaveLower(d, a, b), d, y);
  hn::StoreU(hn::InterleaveUpper(d, a, b), d, y + y_stride);
}

template <class T>
void transpose(const T* x, std::int64_t x_stride, T* y, std::int64_t y_stride, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t square = 16 / sizeof(T), tile = 16;
  for (std::int64_t i0 = 0; i0 < rows; i0 += tile) {
    const std::int64_t i1 = i0 + tile < rows ? i0 + tile : rows;
    for (std::int64_t j0 = 0; j0 < columns; j0 += tile) {
      const std::int64_t j1 = j0 + tile < columns ? j0 + tile : columns;
      std::int64_t i = i0;
      for (; i + square <= i1; i += square) {
        std::int64_t j = j0;
        for (; j + square <= j1; j += square) turn(x + j * x_stride + i, x_stride, y + i * y_stride + j, y_stride);
        for (; j < j1; ++j)
          for (std::int64_t k = 0; k < square; ++k) y[(i + k) * y_stride + j] = x[j * x_stride + i + k];
      }
      for (; i < i1; ++i)
        for (std::int64_t j = j0; j < j1; ++j) y[i * y_stride + j] = x[j * x_stride + i];
    }
  }
}

}  // namespace

template <class T>
constexpr ReductionKernels<T> reduction_table() {
  return {.sum = row_sum<T>,
          .squared_deviations = row_squared_deviations<T>,
          .column_sums = column_sums<T>,
          .column_squared_deviations = column_squared_deviations<T>,
          .extreme = row_extreme<T>,
          .column_extremes = column_extremes<T>,
          .normalize = normalize_row<T>,
          .normalize_backward = normalize_row_backward<T>,
          .transpose = transpose<T>};
}
constinit const ReductionKernels<float> reduction_kernels_float = reduction_table<float>();
constinit const ReductionKernels<double> reduction_kernels_double = reduction_table<double>();

}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/reductions.h
namespace kernels {

// The loops for the capability in use. T is float or double.
template <class T>
const ReductionKernels<T>& reduction_kernels();

}  // namespace kernels

// %%
//| export kernels/reductions.cpp
template <>
const kernels::ReductionKernels<float>& kernels::reduction_kernels<float>() {
  static constexpr const ReductionKernels<float>* tables[] = TINYTORCH_PER_CAPABILITY(reduction_kernels_float);
  return for_capability(tables);
}
template <>
const kernels::ReductionKernels<double>& kernels::reduction_kernels<double>() {
  static constexpr const ReductionKernels<double>* tables[] = TINYTORCH_PER_CAPABILITY(reduction_kernels_double);
  return for_capability(tables);
}

// %% [markdown]
// ## The operators
//
// A reduction over any dimensions comes down to one form: neighbouring dimensions of the same kind (kept or reduced) are one, so a tensor is `(outer, n, inner)` with n to be reduced; when reduced dimensions have kept ones between them, the last group goes first and the others
// follow on the smaller result.

// %%
//| export kernels/reductions.cpp
namespace {
bool is_real(const Tensor& self) { return self.scalar_type() == kFloat || self.scalar_type() == kDouble; }

template <class F>
decltype(auto) for_real(ScalarType type, F f) {
  return type == kFloat ? f.template operator()<float>() : f.template operator()<double>();
}

// The last group of masked dimensions, as (outer, n, inner); `begin` and `end` say which dimensions those are.
struct Group {
  std::int64_t outer = 1, n = 1, inner = 1;
  std::size_t begin = 0, end = 0;
};
Group last_group(IntArrayRef sizes, const std::vector<bool>& mask) {
  Group group;
  std::size_t d = sizes.size();
  for (; d > 0 && !mask[d - 1]; --d) group.inner *= sizes[d - 1];
  group.end = d;
  for (; d > 0 && (mask[d - 1] || sizes[d - 1] == 1); --d) group.n *= sizes[d - 1];
  group.begin = d;
  for (; d > 0; --d) group.outer *= sizes[d - 1];
  return group;
}

// How much one task reads, and where long rows and columns are cut.
constexpr std::int64_t kTaskElements = 1 << 15;
constexpr std::int64_t kPiece = 1 << 16;
constexpr std::int64_t kColumnStrip = 64;

// part(first, size, o, columns, width, out): reduces rows [first, first + size) of (outer o; columns .. + width) into out[0 .. width). The parts are added in their order.
template <class Part>
void add_parts(const Group& group, double* totals, Part part) {
  const std::int64_t strip = group.inner == 1 ? 1 : kColumnStrip;
  const std::int64_t strips = (group.inner + strip - 1) / strip;
  const std::int64_t length = std::max<std::int64_t>(1, kPiece / strip);
  const std::int64_t pieces = std::max<std::int64_t>(1, (group.n + length - 1) / length);
  std::vector<double> partial(pieces > 1 ? static_cast<std::size_t>(pieces * group.outer * group.inner) : 0);
  const std::int64_t task_elements = std::max<std::int64_t>(1, std::min(length, group.n) * strip);
  parallel_for(0, group.outer * strips * pieces, std::max<std::int64_t>(1, kTaskElements / task_elements), [&](std::int64_t begin, std::int64_t stop) {
    for (std::int64_t task = begin; task < stop; ++task) {
      const std::int64_t piece = task % pieces, column = task / pieces % strips * strip, o = task / pieces / strips;
      double* const out = (pieces > 1 ? partial.data() + piece * group.outer * group.inner : totals) + o * group.inner + column;
      part(piece * length, std::min(length, group.n - piece * length), o, column, std::min(strip, group.inner - column), out);
    }
  });
  if (pieces == 1) return;
  const std::int64_t results = group.outer * group.inner;
  for (std::int64_t i = 0; i < results; ++i) {
    totals[i] = 0;
    for (std::int64_t piece = 0; piece < pieces; ++piece) totals[i] += partial[static_cast<std::size_t>(piece * results + i)];
  }
}

template <class T>
void group_sums(const T* x, const Group& group, double* totals) {
  const kernels::ReductionKernels<T>& table = kernels::reduction_kernels<T>();
  add_parts(group, totals, [&](std::int64_t first, std::int64_t size, std::int64_t o, std::int64_t column, std::int64_t width, double* out) {
    const T* const from = x + (o * group.n + first) * group.inner + column;
    if (group.inner == 1) *out = table.sum(from, size);
    else table.column_sums(from, size, group.inner, width, out);
  });
}

template <class T>
void group_squared_deviations(const T* x, const Group& group, const double* means, double* totals) {
  const kernels::ReductionKernels<T>& table = kernels::reduction_kernels<T>();
  add_parts(group, totals, [&](std::int64_t first, std::int64_t size, std::int64_t o, std::int64_t column, std::int64_t width, double* out) {
    const T* const from = x + (o * group.n + first) * group.inner + column;
    const double* const mean = means + o * group.inner + column;
    if (group.inner == 1) *out = table.squared_deviations(from, size, *mean);
    else table.column_squared_deviations(from, size, group.inner, width, mean, out);
  });
}

// The sum over the masked dimensions, in double; the reduced dimensions stay with size 1. REQUIRES: self is contiguous.
Tensor sum_in_double(const Tensor& self, std::vector<bool> mask) {
  const Group group = last_group(self.sizes(), mask);
  DimVector sizes(self.sizes());
  bool more = false;
  for (std::size_t d = 0; d < mask.size(); ++d) {
    if (d >= group.begin && d < group.end) {
      sizes[d] = 1;
      mask[d] = false;
    }
    more = more || (mask[d] && sizes[d] != 1);
  }
  const Tensor totals = empty(sizes, kDouble);
  for_real(self.scalar_type(), [&]<class T>() { group_sums(self.data<T>(), group, totals.data<double>()); });
  return more ? sum_in_double(totals, mask) : totals;
}

// A contiguous double tensor of the result's values, in the result's dtype and sizes.
Tensor as_result(const Tensor& values, IntArrayRef sizes, ScalarType type) {
  const Tensor result = empty(sizes, type);
  const double* const from = values.data<double>();
  for_real(type, [&]<class T>() {
    for (std::int64_t i = 0; i < result.numel(); ++i) result.data<T>()[i] = static_cast<T>(from[i]);
  });
  return result;
}

Tensor sum_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  if (!is_real(self) || self.numel() == 0) return op::sum.function(Layer::CPU)(self, dim, keepdim);
  const std::vector<bool> mask = reduction_mask(self, dim);
  return as_result(sum_in_double(self.contiguous(), mask), reduced_sizes(self.sizes(), mask, keepdim), self.scalar_type());
}

// The variance in double over one group of dimensions; undefined if there are several, or the input is no case for these kernels.
Tensor variance_in_double(const Tensor& self, const std::vector<bool>& mask, double correction) {
  if (!is_real(self) || self.numel() == 0) return {};
  const Group group = last_group(self.sizes(), mask);
  for (std::size_t d = 0; d < mask.size(); ++d)
    if (mask[d] && self.sizes()[d] != 1 && (d < group.begin || d >= group.end)) return {};
  const Tensor input = self.contiguous();
  const std::int64_t results = group.outer * group.inner;
  const Tensor values = empty({results}, kDouble);
  std::vector<double> means(static_cast<std::size_t>(results));
  for_real(self.scalar_type(), [&]<class T>() {
    group_sums(input.data<T>(), group, means.data());
    for (double& mean : means) mean /= static_cast<double>(group.n);
    group_squared_deviations(input.data<T>(), group, means.data(), values.data<double>());
  });
  const double divisor = std::max(0.0, static_cast<double>(group.n) - correction);
  for (std::int64_t i = 0; i < results; ++i) values.data<double>()[i] /= divisor;
  return values;
}

Tensor var_tuned(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  const Tensor values = variance_in_double(self, mask, correction);
  if (!values.defined()) return op::var.function(Layer::CPU)(self, dim, correction, keepdim);
  return as_result(values, reduced_sizes(self.sizes(), mask, keepdim), self.scalar_type());
}
Tensor std_tuned(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  const Tensor values = variance_in_double(self, mask, correction);
  if (!values.defined()) return op::std.function(Layer::CPU)(self, dim, correction, keepdim);
  return as_result(sqrt(values), reduced_sizes(self.sizes(), mask, keepdim), self.scalar_type());
}

// The places of the largest (smallest) numbers of a group; one for each result. REQUIRES: input is contiguous, group.n > 0.
Tensor places_of(const Tensor& input, const Group& group, bool largest) {
  const Tensor places = empty({group.outer * group.inner}, kLong);
  const std::int64_t strips = (group.inner + kColumnStrip - 1) / kColumnStrip;
  for_real(input.scalar_type(), [&]<class T>() {
    const kernels::ReductionKernels<T>& table = kernels::reduction_kernels<T>();
    const T* const x = input.data<T>();
    std::int64_t* const to = places.data<std::int64_t>();
    const std::int64_t task_elements = std::max<std::int64_t>(1, group.n * std::min(group.inner, kColumnStrip));
    parallel_for(0, group.outer * strips, std::max<std::int64_t>(1, kTaskElements / task_elements), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t task = first; task < stop; ++task) {
        const std::int64_t o = task / strips, column = task % strips * kColumnStrip;
        const T* const from = x + o * group.n * group.inner + column;
        if (group.inner == 1) to[o] = table.extreme(from, group.n, largest);
        else table.column_extremes(from, group.n, group.inner, std::min(kColumnStrip, group.inner - column), largest, to + o * group.inner + column);
      }
    });
  });
  return places;
}

// What stands at the places: the result of the reduction, as many numbers as there are places.
Tensor values_at(const Tensor& input, const Group& group, const Tensor& places) {
  const Tensor values = empty(places.sizes(), input.scalar_type());
  for_real(input.scalar_type(), [&]<class T>() {
    for (std::int64_t i = 0; i < places.numel(); ++i)
      values.data<T>()[i] = input.data<T>()[(i / group.inner * group.n + places.data<std::int64_t>()[i]) * group.inner + i % group.inner];
  });
  return values;
}

// Whether these kernels do it: real numbers, something to choose from, and indices that fit beside floats.
bool can_choose(const Tensor& self, const Group& group) { return is_real(self) && self.numel() > 0 && group.n > 0 && group.n < (std::int64_t{1} << 31); }

Group group_of_dim(const Tensor& self, std::int64_t dim) {
  std::vector<bool> mask(self.sizes().size());
  if (!mask.empty()) mask[static_cast<std::size_t>(dim)] = true;
  Group group;
  for (std::int64_t d = 0; d < self.dim(); ++d) (d < dim ? group.outer : d == dim ? group.n : group.inner) *= self.size(d);
  return group;
}

DimVector sizes_without(const Tensor& self, std::int64_t dim, bool keepdim) {
  std::vector<bool> mask(self.sizes().size());
  if (!mask.empty()) mask[static_cast<std::size_t>(dim)] = true;
  return reduced_sizes(self.sizes(), mask, keepdim);
}

template <auto& Op, bool largest>
std::tuple<Tensor, Tensor> chosen_tuned(const Tensor& self, std::int64_t dim, bool keepdim) {
  const Group group = group_of_dim(self, dim);
  if (!can_choose(self, group)) return Op.function(Layer::CPU)(self, dim, keepdim);
  const Tensor input = self.contiguous();
  const Tensor places = places_of(input, group, largest);
  const DimVector sizes = sizes_without(self, dim, keepdim);
  return {view(values_at(input, group, places), sizes), view(places, sizes)};
}

template <auto& Op, bool largest>
Tensor place_tuned(const Tensor& self, std::int64_t dim, bool keepdim) {
  const Group group = group_of_dim(self, dim);
  if (!can_choose(self, group)) return Op.function(Layer::CPU)(self, dim, keepdim);
  return view(places_of(self.contiguous(), group, largest), sizes_without(self, dim, keepdim));
}

template <auto& Op, bool largest>
Tensor extreme_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const auto reference = [&] { return Op.function(Layer::CPU)(self, dim, keepdim); };
  if (!is_real(self) || self.numel() == 0) return reference();
  const std::vector<bool> mask = reduction_mask(self, dim);
  const Group group = last_group(self.sizes(), mask);
  for (std::size_t d = 0; d < mask.size(); ++d)
    if (mask[d] && self.sizes()[d] != 1 && (d < group.begin || d >= group.end)) return reference();
  if (!can_choose(self, group)) return reference();
  const Tensor input = self.contiguous();
  return view(values_at(input, group, places_of(input, group, largest)), reduced_sizes(self.sizes(), mask, keepdim));
}
}  // namespace

//| registers
void register_tuned_reductions() {
  op::sum.set(Layer::TunedCPU, sum_tuned);
  op::var.set(Layer::TunedCPU, var_tuned);
  op::std.set(Layer::TunedCPU, std_tuned);
  op::max.set(Layer::TunedCPU, chosen_tuned<op::max, true>);
  op::min.set(Layer::TunedCPU, chosen_tuned<op::min, false>);
  op::argmax.set(Layer::TunedCPU, place_tuned<op::argmax, true>);
  op::argmin.set(Layer::TunedCPU, place_tuned<op::argmin, false>);
  op::amax.set(Layer::TunedCPU, extreme_tuned<op::amax, true>);
  op::amin.set(Layer::TunedCPU, extreme_tuned<op::amin, false>);
}

// %%
//| lesson
// f() with the reference kernels.
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard guard;
  return f();
}

// Runs f for each capability that this machine has.
template <class F>
void on_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    f();
  }
}

// %%
TEST_CASE("sum, var and std over any dimensions: tuned against reference, for every layout and capability") {
  on_each_capability([] {
    for (const ScalarType type : {kFloat, kDouble}) {
      manual_seed(2);
      const Tensor plain = rand({6, 37, 70}).to(type) - 0.3;
      for (const Tensor& x : {plain, plain.transpose(0, 2), plain.slice(1, 1, 37, 3), plain.slice(0, 0, 1).expand({6, 37, 70})}) {
        for (const std::vector<std::int64_t>& dims : std::vector<std::vector<std::int64_t>>{{}, {0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}}) {
          for (const bool keepdim : {false, true}) {
            const double tolerance = type == kFloat ? 2e-7 : 1e-14;
            CHECK_CLOSE(x.sum(dims, keepdim), by_reference([&] { return x.sum(dims, keepdim); }), tolerance, tolerance);
            CHECK_CLOSE(var(x, dims, true, keepdim), by_reference([&] { return var(x, dims, true, keepdim); }), tolerance, tolerance);
            CHECK_CLOSE(tinytorch::std(x, dims, false, keepdim), by_reference([&] { return tinytorch::std(x, dims, false, keepdim); }), tolerance, tolerance);
          }
        }
      }
    }
  });
}

TEST_CASE("sums that are cut into pieces: long rows, tall columns, and few of both") {
  for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{{1, 200001}, {3, 70000}, {5000, 3}, {2100, 70}}) {
    const Tensor x = arange(sizes[0] * sizes[1]).view(sizes).to(kFloat) / 1000;
    for (const std::int64_t dim : {0, 1}) CHECK_CLOSE(x.sum(dim), by_reference([&] { return x.sum(dim); }), 2e-7, 0);
    CHECK_CLOSE(x.sum(), by_reference([&] { return x.sum(); }), 2e-7, 0);
  }
}

TEST_CASE("a long sum of floats keeps its small terms") {
  const Tensor x = full({1 << 22}, 0.1);
  CHECK_CLOSE(x.sum(), tensor(static_cast<float>((1 << 22) * static_cast<double>(0.1f))), 1e-7, 0);
}

TEST_CASE("max, min, argmax, argmin, amax and amin: values, the first place, NaN and infinities") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  on_each_capability([&] {
    for (const ScalarType type : {kFloat, kDouble}) {
      manual_seed(4);
      for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{{3, 5, 70}, {2, 3000, 3}, {1, 1, 1}, {4, 1, 33}}) {
        Tensor x = randint(-9, 9, sizes).to(type);  // with many ties
        for (const bool special : {false, true}) {
          if (special) {
            x = x.clone();
            x.flatten().slice(0, 0, x.numel(), 7).fill_(-inf);
            x.flatten().slice(0, 0, x.numel(), 11).fill_(nan);
          }
          for (std::int64_t dim = 0; dim < 3; ++dim) {
            const auto [value, place] = max(x, dim);
            const auto [expected_value, expected_place] = by_reference([&] { return max(x, dim); });
            CHECK_EQ(value, expected_value);
            CHECK_EQ(place, expected_place);
            CHECK_EQ(std::get<1>(min(x, dim, true)), by_reference([&] { return std::get<1>(min(x, dim, true)); }));
            CHECK_EQ(argmax(x.transpose(0, 2), dim), by_reference([&] { return argmax(x.transpose(0, 2), dim); }));
            CHECK_EQ(argmin(x, dim), by_reference([&] { return argmin(x, dim); }));
            CHECK_EQ(amax(x, {dim}), by_reference([&] { return amax(x, {dim}); }));
          }
          CHECK_EQ(amin(x), by_reference([&] { return amin(x); }));
          CHECK_EQ(amax(x, {0, 2}), by_reference([&] { return amax(x, {0, 2}); }));
        }
      }
    }
  });
  CHECK_ERROR(max(zeros({2, 0}), 1), "Expected reduction dim 1 to have non-zero size.");
}

// %% [markdown]
// ## Normalizations
//
// Forward, one task takes rows and does all three passes over each. The gradient towards the input is one pass too, when nobody records it; towards weight and bias it stays composed: a product and sums over columns, which are fast by now.

// %%
//| export kernels/normalizations.cpp
namespace {
bool tuned_real(const Tensor& self) {
  return (self.scalar_type() == kFloat || self.scalar_type() == kDouble) && layers_of(self).has(Layer::TunedCPU) && !thread_state().excluded.has(Layer::TunedCPU);
}

template <class T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}
Tensor contiguous_or_none(const std::optional<Tensor>& tensor) { return tensor && tensor->defined() ? tensor->contiguous() : Tensor(); }

struct RowMoments {
  double mean, scale;  // scale: 1 / sqrt(variance + eps)
};
template <class T>
RowMoments row_moments(const T* x, std::int64_t size, double eps) {
  const kernels::ReductionKernels<T>& table = kernels::reduction_kernels<T>();
  const double mean = table.sum(x, size) / static_cast<double>(size);
  return {mean, 1 / std::sqrt(table.squared_deviations(x, size, mean) / static_cast<double>(size) + eps)};
}

std::int64_t rows_of_task(std::int64_t size) { return std::max<std::int64_t>(1, (1 << 14) / std::max<std::int64_t>(size, 1)); }

Tensor layer_norm_tuned(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  if ((input.scalar_type() != kFloat && input.scalar_type() != kDouble) || input.numel() == 0)
    return op::layer_norm.function(Layer::CPU)(input, normalized_shape, weight, bias, eps);
  const Tensor x = input.contiguous(), factor = contiguous_or_none(weight), shift = contiguous_or_none(bias);
  const Tensor result = empty(x.sizes(), x.scalar_type());
  const std::int64_t size = multiply_sizes(normalized_shape);
  const auto rows = [&]<class T>() {
    parallel_for(0, x.numel() / size, rows_of_task(size), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t r = first; r < stop; ++r) {
        const T* const row = x.data<T>() + r * size;
        const RowMoments moments = row_moments(row, size, eps);
        kernels::reduction_kernels<T>().normalize(row, result.data<T>() + r * size, size, moments.mean, moments.scale, data_or_null<T>(factor), data_or_null<T>(shift));
      }
    });
  };
  x.scalar_type() == kFloat ? rows.template operator()<float>() : rows.template operator()<double>();
  return result;
}

Tensor layer_norm_rows_backward(const Tensor& g, const Tensor& input, std::int64_t size, const Tensor& weight, double eps) {
  const Tensor grad = g.contiguous(), x = input.contiguous(), factor = weight.defined() ? weight.contiguous() : Tensor();
  const Tensor result = empty(x.sizes(), x.scalar_type());
  const auto rows = [&]<class T>() {
    parallel_for(0, x.numel() / size, rows_of_task(size), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t r = first; r < stop; ++r) {
        const T* const row = x.data<T>() + r * size;
        const RowMoments moments = row_moments(row, size, eps);
        kernels::reduction_kernels<T>().normalize_backward(grad.data<T>() + r * size, row, result.data<T>() + r * size, size, moments.mean, moments.scale,
                                                           data_or_null<T>(factor));
      }
    });
  };
  x.scalar_type() == kFloat ? rows.template operator()<float>() : rows.template operator()<double>();
  return result;
}

// The same as operators, for when it is recorded.
Tensor layer_norm_composed_backward(const Tensor& grad, const Tensor& input, std::size_t dims, const Tensor& weight, double eps) {
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const Tensor centered = input - input.mean(last, true);
  const Tensor scale = rsqrt((centered * centered).mean(last, true) + eps);
  const Tensor normalized = centered * scale;
  const Tensor h = weight.defined() ? grad * weight : grad;
  return scale * (h - h.mean(last, true) - normalized * (h * normalized).mean(last, true));
}

// Batch norm, (N, C, L): rows of L belong to a channel. A channel is one task, or several where there are few: their sums are added in their order.
std::tuple<Tensor, Tensor, Tensor> batch_norm_tuned(const Tensor& self, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const std::int64_t N = self.size(0), C = self.size(1), L = N * C == 0 ? 0 : self.numel() / (N * C);
  if ((self.scalar_type() != kFloat && self.scalar_type() != kDouble) || L < 8) return op::batch_norm.function(Layer::CPU)(self, weight, bias, eps);
  const Tensor input = self.contiguous(), factor = contiguous_or_none(weight), shift = contiguous_or_none(bias);
  const Tensor result = empty(input.sizes(), input.scalar_type());
  const Tensor means = empty({C}, input.scalar_type()), variances = empty({C}, input.scalar_type());
  const auto channels = [&]<class T>() {
    const kernels::ReductionKernels<T>& table = kernels::reduction_kernels<T>();
    const T* const x = input.data<T>();
    parallel_for(0, C, std::max<std::int64_t>(1, (1 << 14) / (N * L)), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t c = first; c < stop; ++c) {
        const double count = static_cast<double>(N * L);
        double sum = 0, squares = 0;
        for (std::int64_t n = 0; n < N; ++n) sum += table.sum(x + (n * C + c) * L, L);
        const double mean = sum / count;
        for (std::int64_t n = 0; n < N; ++n) squares += table.squared_deviations(x + (n * C + c) * L, L, mean);
        const double variance = squares / count;
        means.data<T>()[c] = static_cast<T>(mean);
        variances.data<T>()[c] = static_cast<T>(variance);
        const double scale = (factor.defined() ? static_cast<double>(factor.data<T>()[c]) : 1.0) / std::sqrt(variance + eps);
        const double start = (shift.defined() ? static_cast<double>(shift.data<T>()[c]) : 0.0) - mean * scale;
        // x * scale + start is (x - center) * scale, but where scale is 0.
        for (std::int64_t n = 0; n < N; ++n) {
          const std::int64_t at = (n * C + c) * L;
          if (scale != 0) table.normalize(x + at, result.data<T>() + at, L, -start / scale, scale, nullptr, nullptr);
          else for (std::int64_t i = 0; i < L; ++i) result.data<T>()[at + i] = static_cast<T>(start);
        }
      }
    });
  };
  input.scalar_type() == kFloat ? channels.template operator()<float>() : channels.template operator()<double>();
  return {result, means, variances};
}
}  // namespace

//| registers
void register_tuned_normalizations() {
  op::layer_norm.set(Layer::TunedCPU, layer_norm_tuned);
  op::batch_norm.set(Layer::TunedCPU, batch_norm_tuned);
  gradient<op::layer_norm>(
      [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Input<2> weight, Arg<4, double> eps) {
        const bool rows = !GradMode::is_enabled() && tuned_real(input) && g.scalar_type() == input.scalar_type() && input.numel() > 0;
        return rows ? layer_norm_rows_backward(g, input, multiply_sizes(shape.value), weight, eps)
                    : layer_norm_composed_backward(g, input, shape.value.size(), weight, eps);
      },
      [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Arg<4, double> eps) { return g * op::layer_norm(input, IntArrayRef(shape.value), {}, {}, eps.value); },
      [](const Tensor& g) { return g; });
}

// %%
TEST_CASE("layer_norm and its gradients: tuned against reference, recorded against not") {
  on_each_capability([] {
    for (const ScalarType type : {kFloat, kDouble}) {
      for (const std::int64_t size : {1, 7, 64, 769}) {
        manual_seed(6);
        const Tensor x = (rand({5, 3, size}) * 4 + 1).to(type).requires_grad_(), weight = rand({size}).to(type).requires_grad_();
        const Tensor bias = rand({size}).to(type).requires_grad_(), towards = (rand({5, 3, size}) - 0.5).to(type);
        const auto f = [&] { return layer_norm(x, {size}, weight, bias); };
        const auto slopes = [&](bool recorded) { return autograd::grad({f()}, {x, weight, bias}, {towards}, true, recorded); };
        const double tolerance = type == kFloat ? 2e-6 : 1e-12;
        CHECK_CLOSE(f().detach(), by_reference(f).detach(), tolerance, tolerance);
        const variable_list expected = by_reference([&] { return slopes(false); });
        for (const bool recorded : {false, true}) {
          const variable_list got = slopes(recorded);
          for (std::size_t i = 0; i < got.size(); ++i) CHECK_CLOSE(got[i].detach(), expected[i].detach(), tolerance * 5, tolerance * 5);
        }
      }
    }
  });
}

TEST_CASE("batch_norm: tuned against reference, with weights of 0") {
  on_each_capability([] {
    for (const ScalarType type : {kFloat, kDouble}) {
      manual_seed(8);
      const Tensor x = (rand({4, 3, 5, 5}) * 4 + 1).to(type), weight = tensor({0.5, 0.0, -2.0}, type), bias = rand({3}).to(type);
      const double tolerance = type == kFloat ? 2e-6 : 1e-12;
      const auto f = [&] { return op::batch_norm(x, weight, bias, 1e-5); };
      const auto got = f(), expected = by_reference(f);
      CHECK_CLOSE(std::get<0>(got), std::get<0>(expected), tolerance, tolerance);
      CHECK_CLOSE(std::get<1>(got), std::get<1>(expected), tolerance, 0);
      CHECK_CLOSE(std::get<2>(got), std::get<2>(expected), tolerance, 0);
    }
  });
}

// %% [markdown]
// ## Copies
//
// `clone`, `contiguous` and `copy_` within one dtype. Where both sides lie flat it is `memcpy`, in pieces for the threads. A transposed source goes through tiles. Everything else is left to the reference.

// %%
//| export kernels/copies.cpp
namespace {
constexpr std::int64_t kCopyGrain = 1 << 18;  // bytes

void copy_flat(const Tensor& to, const Tensor& from) {
  const auto bytes = to.numel() * static_cast<std::int64_t>(to.element_size());
  char* const target = static_cast<char*>(to.data_ptr());
  const char* const source = static_cast<const char*>(from.data_ptr());
  if (bytes == 0) return;
  parallel_for(0, bytes, kCopyGrain, [&](std::int64_t first, std::int64_t stop) { std::memcpy(target + first, source + first, static_cast<std::size_t>(stop - first)); });
}

// The dimension along which the source moves by one, if it is another than the last, else -1.
std::int64_t turned_dim(const Tensor& from) {
  const std::int64_t last = from.dim() - 1;
  if (last < 1 || from.stride(last) == 1 || from.size(last) < 4) return -1;
  for (std::int64_t d = 0; d < last; ++d)
    if (from.stride(d) == 1 && from.size(d) >= 4) return d;
  return -1;
}

// to = from, where `from` moves by one along `dim` and `to` along its last dimension: a transposition for each index of the other dimensions.
template <class T>
void copy_turned(const Tensor& to, const Tensor& from, std::int64_t dim) {
  const std::int64_t last = from.dim() - 1, rows = from.size(dim), columns = from.size(last);
  DimVector sizes, to_strides, from_strides;
  for (std::int64_t d = 0; d < last; ++d) {
    if (d == dim) continue;
    sizes.push_back(from.size(d));
    to_strides.push_back(to.stride(d));
    from_strides.push_back(from.stride(d));
  }
  const auto transpose = kernels::reduction_kernels<T>().transpose;
  const std::int64_t band = 64;  // rows of the result that a task writes
  StridedLoop<2>(sizes, {IntArrayRef(to_strides), IntArrayRef(from_strides)}).run([&](const auto& offset, std::int64_t count, const auto& step) {
    const std::int64_t bands = (rows + band - 1) / band;
    parallel_for(0, count * bands, std::max<std::int64_t>(1, (1 << 15) / (band * columns)), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t task = first; task < stop; ++task) {
        const std::int64_t i = task / bands, row = task % bands * band;
        transpose(static_cast<const T*>(from.data_ptr()) + offset[1] + i * step[1] + row, from.stride(last),
                  static_cast<T*>(to.data_ptr()) + offset[0] + i * step[0] + row * to.stride(dim), to.stride(dim), std::min(band, rows - row), columns);
      }
    });
  });
}

// Whether it was done. REQUIRES: same dtype and sizes, no overlap.
bool copy_fast(const Tensor& to, const Tensor& from) {
  if (to.is_contiguous() && from.is_contiguous()) {
    copy_flat(to, from);
    return true;
  }
  const std::int64_t dim = turned_dim(from);
  if (dim < 0 || to.numel() == 0 || to.stride(-1) != 1 || (to.element_size() != 4 && to.element_size() != 8)) return false;
  to.element_size() == 4 ? copy_turned<float>(to, from, dim) : copy_turned<double>(to, from, dim);
  return true;
}

Tensor clone_tuned(const Tensor& self) {
  if (self.numel() <= 1) return op::clone.function(Layer::CPU)(self);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  return copy_fast(result, self) ? result : op::clone.function(Layer::CPU)(self);
}

const Tensor& copy_tuned(const Tensor& self, const Tensor& src) {
  const bool ours = self.scalar_type() == src.scalar_type() && self.sizes() == src.sizes() && !ranges_overlap(self, src) && self.is_contiguous() && copy_fast(self, src);
  return ours ? self : op::copy_.function(Layer::CPU)(self, src);
}
}  // namespace

//| registers
void register_tuned_copies() {
  op::clone.set(Layer::TunedCPU, clone_tuned);
  op::copy_.set(Layer::TunedCPU, copy_tuned);
}

// %%
TEST_CASE("copies: flat, transposed in every way, of every dtype") {
  on_each_capability([] {
    for (const ScalarType type : {kFloat, kDouble, kInt, kLong, kShort, kBool}) {
      const Tensor x = arange(5 * 19 * 34).view({5, 19, 34}).to(type);
      for (const std::vector<std::int64_t>& order : std::vector<std::vector<std::int64_t>>{{0, 1, 2}, {0, 2, 1}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}, {1, 0, 2}}) {
        const Tensor turned = x.permute(order);
        CHECK_EQ(turned.contiguous(), by_reference([&] { return turned.contiguous(); }));
        const Tensor part = turned.slice(0, 1).slice(2, 0, 9);
        CHECK_EQ(part.clone(), by_reference([&] { return part.clone(); }));
        const Tensor target = zeros(turned.sizes(), type);
        CHECK_EQ(target.copy_(turned), turned);
      }
    }
    const Tensor square = arange(36).view({6, 6});
    const Tensor expected = square.t().contiguous();
    square.copy_(square.t());  // overlaps: as if copied out first
    CHECK_EQ(square, expected);
  });
}

TEST_CASE("reductions and normalizations are the same for any number of threads") {
  manual_seed(9);
  const Tensor x = randn({700, 1100});
  const int before = get_num_threads();
  std::vector<Tensor> results;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    results.push_back(cat({x.sum().view({1}), x.sum(0), x.sum(1), var(x, 0), var(x, 1), layer_norm(x, {1100}).flatten(), x.t().contiguous().flatten()}, 0));
  }
  set_num_threads(before);
  CHECK_EQ(results[1], results[0]);
  CHECK_EQ(results[2], results[0]);
}

// %% [markdown]
// ## What it brings
//
// Measured in turn in one run, as everywhere in this course.

// %%
//| lesson
// The shortest of several runs of f, in seconds.
template <class F>
double seconds_of(F f) {
  double shortest = 1e9;
  for (int run = 0; run < 7; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    shortest = std::min(shortest, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return shortest;
}

// %%
DEMO("tuned against reference: reductions, normalizations, copies") {
  const NoGradGuard no_grad;
  const Tensor x = rand({2048, 1024});
  struct Row {
    const char* name;
    void (*f)(const Tensor&);
  };
  const Row rows[] = {{"sum", [](const Tensor& t) { t.sum(); }},         {"sum over rows", [](const Tensor& t) { t.sum(1); }},
                      {"sum over columns", [](const Tensor& t) { t.sum(0); }}, {"var over rows", [](const Tensor& t) { var(t, 1); }},
                      {"argmax over rows", [](const Tensor& t) { argmax(t, 1); }}, {"max over columns", [](const Tensor& t) { max(t, 0); }},
                      {"layer_norm", [](const Tensor& t) { layer_norm(t, {1024}); }}, {"transposed copy", [](const Tensor& t) { t.t().contiguous(); }}};
  std::cout << "capability " << get_cpu_capability() << ", " << get_num_threads() << " threads, 2048 x 1024 floats\n";
  for (const Row& row : rows) {
    const double tuned = seconds_of([&] { row.f(x); });
    const double reference = by_reference([&] { return seconds_of([&] { row.f(x); }); });
    const double gigabytes = static_cast<double>(x.numel()) * 4e-9;
    std::cout << row.name << ": " << tuned * 1e6 << " us, reads " << gigabytes / tuned << " GB/s, " << reference / tuned << " times as fast as the reference\n";
  }
}

// %% [markdown]
// ## Where to read on
//
// - PyTorch: `aten/src/ATen/native/cpu/SumKernel.cpp`, `ReduceOpsKernel.cpp`, `TensorCompareKernel.cpp`, `layer_norm_kernel.cpp`, `batch_norm_kernel.cpp`, `CopyKernel.cpp`.
// - Higham, *Accuracy and Stability of Numerical Algorithms*, chapter 4: what the order of a sum does to its error.
// - Demmel and Nguyen, "Fast Reproducible Floating-Point Summation" (2013): sums that do not depend on the order at all.
// - Gustavson, Karlsson and Kågström, "Parallel and Cache-Efficient In-Place Matrix Storage Format Conversion" (2012), on transpositions by tiles.

// %%
}  // namespace tinytorch
