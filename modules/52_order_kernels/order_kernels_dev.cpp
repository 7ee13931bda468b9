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
// # Library chapter 52: Kernels of distances and order
//
// Which points are near, and which numbers are largest? `cdist`, `sort` and `topk` stand behind nearest neighbours, losses that compare all pairs of a batch, the five best guesses of a classifier and the sampling of text. Each of them can be written so that it does the least arithmetic, or the fewest comparisons, and is slow: a comparison that the processor
// cannot guess costs as much as dozens of additions, and a difference that goes through memory costs more than to compute it twice. Milliseconds of one thread of an AMD EPYC with AVX-512:
//
//                                            before       here          PyTorch
//     cdist, 512 rows and 512 rows of 64     5.6          0.37          0.46
//     cdist of norms 1 and infinity          6.0, 49      0.50, 0.89    3.8, 7.0
//
// The chapter has two parts: distances of rows and their gradients, in which differences never leave the registers; and rows that are put in order without comparing two numbers.

// %%
//| after 16 79
//| export kernels/distance_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/distances.cpp
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pairs.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/distance_kernels.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
//| export kernels/ordering.cpp
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <tuple>
#include <type_traits>
#include <utility>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/parallel.h"

// %%
//| export kernels/distances.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/distance_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pairs.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/roofline.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Distances of rows
//
// `cdist` of P and R rows with M columns has P R M differences, and the reference (chapter 68) stores them. |a|^2 + |b|^2 - 2 a.b would need no memory and one matrix product, but for two points that are near each other and far from 0 it subtracts large numbers that are nearly equal: of rows of 1000s and of 1000 + 1/64 the squares agree in 5 of 7 digits, and PyTorch's distance for them is 0 where 0.0856 is right, and up to 3.5 for a row from itself. So here differences are squared and added, as a matrix product would do with products:
//
//     x2, 64 rows, turned      [ k = 0: 64 numbers ][ k = 1: 64 numbers ] ...            read once for 256 rows of x1
//     registers                4 rows of x1  x  2 vectors of distances: 8 sums that do not wait for each other
//     for each k               2 vectors of x2, 4 numbers of x1:  d = a - b,  sum += d d
//
// No sum is split between lanes, so nothing has to be added across a vector in the end, and each distance is made by the same operations wherever it stands. After 128 columns the sums are added to the distances so far, so that in long rows no number is added to one that is thousands of times larger.
//
// The gradient needs the differences again, and a sum of them for each row of x1: of `weight (a - b)` over the rows b, where the weight is what reaches the distance, divided by it. In the reference every difference of P R M is stored twice; here it lives in a register between a subtraction and a multiplication. Sums are taken over 32 rows of x2 at a time, which stay in the second cache while all rows of x1 meet them. PyTorch takes the weights out of the sum, which makes it one matrix product, and subtracts two large numbers again.
//
// Of the norm 1 a difference counts only by its sign, and what reaches the distance is the weight. So a vector of ones gets the sign bits of a vector of differences; where these are 0 or NaN they stand for themselves. (Where all numbers are finite, which their sums tell, nobody asks for NaN.) Of the norm infinity the differences count whose size is the distance, all of them if there are several, as in PyTorch; and so a second number is read for each pair of rows:
//
//     a - b            3      -5       5       0       NaN        the distance of (.., 3, -5, 5, 0) is 5
//     p = 1            1      -1       1       0       NaN        times the weight, added
//     p = infinity     0      -1       1       0                  a row with a NaN is at distance NaN, and so is its weight

// %%
//| export kernels/distance_kernels.h
namespace kernels {

// Of 64 rows, turned (count, 64), and `rows` rows at `a`: totals[r 64 + j] (+)= the sum of |d| (p = 1) or d^2 (p = 2), or the largest |d|, over the columns, for the first `width` j and perhaps some more. d = a[r a_row + k] - panel[k 64 + j].
template <class T>
struct DistanceTable {
  using Kernel = void (*)(const T* a, std::int64_t a_row, std::int64_t rows, const T* panel, std::int64_t count, std::int64_t width, T* totals);
  Kernel first, second, largest;
  void (*turn)(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t count, T* panel);  // panel[k 64 + j] = x[j x_row + k]
  void (*roots)(const T* totals, std::int64_t count, T* out);
  // Of `rows` rows at a and `others` rows at b, all of M numbers: out[i M + k] += the sum over j of weights[i weights_row + j] (a[i M + k] - b[j M + k]). `lengths`, which lie as the weights do, are distances.
  using Pull = void (*)(const T* a, std::int64_t rows, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out);
  Pull add_weighted;       // without lengths
  Pull add_signed;         // of the signs of the differences, without lengths; REQUIRES: none is NaN
  Pull add_signed_or_nan;  // the same of any differences
  Pull add_largest;        // of the signs of those differences whose size is the distance
};

inline constexpr std::int64_t kPanelRows = 64, kPanelColumns = 128;  // of a turned piece of x2

struct DistanceKernels {
  DistanceTable<float> in_float;
  DistanceTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(DistanceKernels, distance_kernels)

}  // namespace kernels

// %%
//| export kernels/distances.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// How a difference joins what was before, and how two totals become one.
struct FirstNorm {
  template <class V>
  static HWY_INLINE V with(V total, V difference) { return hn::Add(total, hn::Abs(difference)); }
  template <class V>
  static HWY_INLINE V both(V a, V b) { return hn::Add(a, b); }
};
struct SecondNorm {
  template <class V>
  static HWY_INLINE V with(V total, V difference) { return hn::MulAdd(difference, difference, total); }
  template <class V>
  static HWY_INLINE V both(V a, V b) { return hn::Add(a, b); }
};
struct LargestNorm {
  template <class V>
  static HWY_INLINE V with(V total, V difference) { return both(total, hn::Abs(difference)); }
  // NaN stays.
  template <class V>
  static HWY_INLINE V both(V a, V b) { return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::IsNaN(b)), b, a); }
};

// `Rows` rows and two vectors of distances, which stay in registers.
template <class Norm, int Rows, class D, class T>
HWY_INLINE void add_tile(D d, const T* a, std::int64_t a_row, const T* panel, std::int64_t count, T* totals) {
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> sums[Rows][2];
  HWY_UNROLL(4)
  for (auto& row : sums) row[0] = row[1] = hn::Zero(d);
  for (std::int64_t k = 0; k < count; ++k) {
    const auto left = hn::LoadU(d, panel + k * kPanelRows), right = hn::LoadU(d, panel + k * kPanelRows + lanes);
    HWY_UNROLL(4)
    for (int r = 0; r < Rows; ++r) {
      const auto number = hn::Set(d, a[r * a_row + k]);
      sums[r][0] = Norm::with(sums[r][0], hn::Sub(number, left));
      sums[r][1] = Norm::with(sums[r][1], hn::Sub(number, right));
    }
  }
  HWY_UNROLL(4)
  for (int r = 0; r < Rows; ++r) {
    T* const to = totals + r * kPanelRows;
    hn::StoreU(Norm::both(hn::LoadU(d, to), sums[r][0]), d, to);
    hn::StoreU(Norm::both(hn::LoadU(d, to + lanes), sums[r][1]), d, to + lanes);
  }
}

template <class T, class Norm>
void add_distances(const T* a, std::int64_t a_row, std::int64_t rows, const T* panel, std::int64_t count, std::int64_t width, T* totals) {
  const hn::CappedTag<T, 16> d;
  constexpr std::int64_t step = 2 * static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<T, 16>()));
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4)
    for (std::int64_t j = 0; j < width; j += step) add_tile<Norm, 4>(d, a + i * a_row, a_row, panel + j, count, totals + i * kPanelRows + j);
  for (; i < rows; ++i)
    for (std::int64_t j = 0; j < width; j += step) add_tile<Norm, 1>(d, a + i * a_row, a_row, panel + j, count, totals + i * kPanelRows + j);
}

template <class T>
void turn_rows(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t count, T* panel) {
  for (std::int64_t j = 0; j < rows; ++j)
    for (std::int64_t k = 0; k < count; ++k) panel[k * kPanelRows + j] = x[j * x_row + k];
}

// `out` has room for `count` numbers, `totals` for a panel's.
template <class T>
void roots_of(const T* totals, std::int64_t count, T* out) {
  const hn::CappedTag<T, 16> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<T, 16>()));
  T roots[kPanelRows];
  for (std::int64_t j = 0; j < count; j += lanes) hn::StoreU(hn::Sqrt(hn::LoadU(d, totals + j)), d, roots + j);
  for (std::int64_t j = 0; j < count; ++j) out[j] = roots[j];
}

// What a difference adds to a gradient.
struct Weighted {
  static constexpr bool kReadsLength = false;
  template <class V>
  static HWY_INLINE V with(V sum, V weight, V, V difference) { return hn::MulAdd(weight, difference, sum); }
};
// The weight times the sign of the difference; of NaN it is 0, or NaN. To choose between two vectors takes AVX2 longer than between one and 0.
template <bool KeepsNaN>
struct Signed {
  static constexpr bool kReadsLength = false;
  template <class V>
  static HWY_INLINE V with(V sum, V weight, V, V difference) {
    const hn::DFromV<V> d;
    const auto has_sign = hn::Gt(hn::Abs(difference), hn::Zero(d));
    const auto sign = hn::CopySignToAbs(hn::Set(d, hn::TFromV<V>{1}), difference);
    if constexpr (KeepsNaN) return hn::MulAdd(weight, hn::IfThenElse(has_sign, sign, difference), sum);
    else return hn::MulAdd(weight, hn::IfThenElseZero(has_sign, sign), sum);
  }
};
// The weight times the sign of a difference of the distance's size.
struct LargestOnly {
  static constexpr bool kReadsLength = true;
  template <class V>
  static HWY_INLINE V with(V sum, V weight, V length, V difference) {
    const hn::DFromV<V> d;
    const auto is_largest = hn::Eq(hn::Abs(difference), length);
    return hn::MulAdd(weight, hn::IfThenElseZero(is_largest, hn::CopySignToAbs(hn::Set(d, hn::TFromV<V>{1}), difference)), sum);
  }
};

// Of `Rows` rows, in `Vectors` vectors of columns; load and store reach them.
template <class Pull, int Rows, int Vectors, class T, class Load, class Store>
HWY_INLINE void add_weighted_tile(const T* a, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out, Load load, Store store) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  hn::Vec<decltype(d)> sums[Rows][Vectors];
  for (auto& row : sums)
    for (auto& sum : row) sum = hn::Zero(d);
  for (std::int64_t j = 0; j < others; ++j) {
    HWY_UNROLL(2)
    for (int v = 0; v < Vectors; ++v) {
      const auto other = load(b + j * M + v * lanes);
      HWY_UNROLL(4)
      for (int r = 0; r < Rows; ++r) {
        const auto weight = hn::Set(d, weights[r * weights_row + j]);
        auto length = weight;
        if constexpr (Pull::kReadsLength) length = hn::Set(d, lengths[r * weights_row + j]);
        sums[r][v] = Pull::with(sums[r][v], weight, length, hn::Sub(load(a + r * M + v * lanes), other));
      }
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v) store(hn::Add(load(out + r * M + v * lanes), sums[r][v]), out + r * M + v * lanes);
}

template <class Pull, int Rows, class T>
HWY_INLINE void add_weighted_rows(const T* a, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  const auto load = [d](const T* x) HWY_ATTR { return hn::LoadU(d, x); };
  const auto store = [d](auto v, T* to) HWY_ATTR { hn::StoreU(v, d, to); };
  std::int64_t k = 0;
  for (; k + 2 * lanes <= M; k += 2 * lanes) add_weighted_tile<Pull, Rows, 2>(a + k, b + k, others, M, weights, lengths, weights_row, out + k, load, store);
  for (; k + lanes <= M; k += lanes) add_weighted_tile<Pull, Rows, 1>(a + k, b + k, others, M, weights, lengths, weights_row, out + k, load, store);
  if (k == M) return;
  const std::int64_t columns = M - k;
  add_weighted_tile<Pull, Rows, 1>(a + k, b + k, others, M, weights, lengths, weights_row, out + k, [d, columns](const T* x) HWY_ATTR { return LoadPart(d, x, columns); },
                             [d, columns](auto v, T* to) HWY_ATTR { StorePart(v, d, to, columns); });
}

template <class T, class Pull>
void add_weighted_differences(const T* a, std::int64_t rows, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out) {
  const auto lengths_of = [=](std::int64_t i) { return Pull::kReadsLength ? lengths + i * weights_row : nullptr; };
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4) add_weighted_rows<Pull, 4>(a + i * M, b, others, M, weights + i * weights_row, lengths_of(i), weights_row, out + i * M);
  for (; i < rows; ++i) add_weighted_rows<Pull, 1>(a + i * M, b, others, M, weights + i * weights_row, lengths_of(i), weights_row, out + i * M);
}

template <class T>
constexpr DistanceTable<T> distance_table_of() {
  return {add_distances<T, FirstNorm>, add_distances<T, SecondNorm>, add_distances<T, LargestNorm>, turn_rows<T>, roots_of<T>,
          add_weighted_differences<T, Weighted>, add_weighted_differences<T, Signed<false>>, add_weighted_differences<T, Signed<true>>, add_weighted_differences<T, LargestOnly>};
}
}  // namespace

constinit const DistanceKernels distance_kernels = {distance_table_of<float>(), distance_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/distances.cpp
namespace {
template <class T>
const kernels::DistanceTable<T>& distance_table() {
  using namespace kernels;
  static constexpr const DistanceKernels* tables[] = TINYTORCH_PER_CAPABILITY(distance_kernels);
  const DistanceKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// `height` rows of x1 and `width` rows of x2, all with M columns: their distances in out[i out_row + j].
template <class T>
void distances_of_block(const T* x1, std::int64_t height, const T* x2, std::int64_t width, std::int64_t M, double p, T* out, std::int64_t out_row) {
  const auto& table = distance_table<T>();
  const auto kernel = p == 2 ? table.second : p == 1 ? table.first : table.largest;
  using kernels::kPanelColumns, kernels::kPanelRows;
  std::vector<T> totals(static_cast<std::size_t>(height * kPanelRows)), panel(static_cast<std::size_t>(std::min(M, kPanelColumns) * kPanelRows));
  for (std::int64_t begin = 0; begin < M; begin += kPanelColumns) {
    const std::int64_t count = std::min(kPanelColumns, M - begin);
    table.turn(x2 + begin, M, width, count, panel.data());
    kernel(x1 + begin, M, height, panel.data(), count, width, totals.data());
  }
  for (std::int64_t i = 0; i < height; ++i) {
    const T* const from = totals.data() + i * kPanelRows;
    if (p == 2) table.roots(from, width, out + i * out_row);
    else std::copy(from, from + width, out + i * out_row);
  }
}

// x1 (batch, P, M), x2 (batch, R, M), out (batch, P, R).
template <class T>
void distances(const T* x1, const T* x2, std::int64_t batch, std::int64_t P, std::int64_t R, std::int64_t M, double p, T* out) {
  constexpr std::int64_t tall = 256, wide = kernels::kPanelRows;
  const std::int64_t down = (P + tall - 1) / tall, across = (R + wide - 1) / wide;
  parallel_for(0, batch * down * across, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(P, tall) * std::min(R, wide) * M)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t b = task / (down * across), i = task / across % down * tall, j = task % across * wide;
      distances_of_block(x1 + (b * P + i) * M, std::min(tall, P - i), x2 + (b * R + j) * M, std::min(wide, R - j), M, p, out + (b * P + i) * R + j, R);
    }
  });
}

// x with all dimensions but the last two stretched to `batch`, contiguous.
Tensor with_batch(const Tensor& x, IntArrayRef batch) {
  DimVector sizes(batch);
  sizes.push_back(x.size(-2));
  sizes.push_back(x.size(-1));
  return (x.sizes() == sizes ? x : x.expand(sizes)).contiguous();
}

bool have_distance_kernel(const Tensor& x1, const Tensor& x2) {
  const ScalarType type = x1.scalar_type();
  return (type == kFloat || type == kDouble) && x2.scalar_type() == type && x1.size(-2) * x2.size(-2) * x1.size(-1) >= kernels::kFewElements && x1.numel() > 0 && x2.numel() > 0;
}

Tensor cdist_tuned(const Tensor& x1, const Tensor& x2, double p) {
  const ScalarType type = x1.scalar_type();
  const std::int64_t P = x1.size(-2), R = x2.size(-2), M = x1.size(-1);
  if (!have_distance_kernel(x1, x2) || !(p == 1 || p == 2 || std::isinf(p))) return op::cdist.function(Layer::CPU)(x1, x2, p);
  DimVector sizes = infer_size(x1.sizes().slice(0, x1.sizes().size() - 2), x2.sizes().slice(0, x2.sizes().size() - 2));
  const std::int64_t batch = multiply_sizes(sizes);
  const Tensor a = with_batch(x1, sizes), b = with_batch(x2, sizes);
  sizes.push_back(P);
  sizes.push_back(R);
  const Tensor result = empty(sizes, type);
  if (type == kFloat) distances(a.data<float>(), b.data<float>(), batch, P, R, M, p, result.data<float>());
  else distances(a.data<double>(), b.data<double>(), batch, P, R, M, p, result.data<double>());
  return result;
}
}  // namespace

// %%
//| export kernels/distances.cpp
Tensor cdist_backward(const Tensor& g, const Tensor& x1, const Tensor& x2, const Tensor& result, double p);  // chapter 68

namespace {
// a (batch, P, M), b (batch, R, M), weights and lengths (batch, P, R), out (batch, P, M). `lengths` is null for kernels that read none.
template <class T>
void weigh_differences(typename kernels::DistanceTable<T>::Pull add, const T* a, const T* b, const T* weights, const T* lengths, std::int64_t batch, std::int64_t P, std::int64_t R, std::int64_t M, T* out) {
  constexpr std::int64_t tall = 64, together = 32;
  const std::int64_t down = (P + tall - 1) / tall;
  parallel_for(0, batch * down, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(P, tall) * R * M)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t n = task / down, i = task % down * tall, rows = std::min(tall, P - i);
      T* const sums = out + (n * P + i) * M;
      std::fill(sums, sums + rows * M, T{0});
      for (std::int64_t j = 0; j < R; j += together)
        add(a + (n * P + i) * M, rows, b + (n * R + j) * M, std::min(together, R - j), M, weights + (n * P + i) * R + j, lengths == nullptr ? nullptr : lengths + (n * P + i) * R + j, R, sums);
    }
  });
}

using DistanceGradient = Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double)>;
constinit DistanceGradient cdist_backward_op("_cdist_backward", {.cpu = cdist_backward});

Tensor cdist_backward_tuned(const Tensor& g, const Tensor& x1, const Tensor& x2, const Tensor& result, double p) {
  if ((p != 1 && p != 2 && !std::isinf(p)) || !have_distance_kernel(x1, x2) || g.scalar_type() != x1.scalar_type()) return cdist_backward(g, x1, x2, result, p);
  DimVector sizes(result.sizes().slice(0, result.sizes().size() - 2));
  const std::int64_t batch = multiply_sizes(sizes), P = x1.size(-2), R = x2.size(-2), M = x1.size(-1);
  const Tensor a = with_batch(x1, sizes), b = with_batch(x2, sizes), arriving = g.contiguous();
  sizes.push_back(P);
  sizes.push_back(M);
  const Tensor out = empty(sizes, x1.scalar_type());
  const auto run = [&]<class T>() {
    const auto& table = distance_table<T>();
    const T* const pulls = arriving.data<T>();
    if (p == 1) {
      // A difference is NaN only of numbers that are not finite, and neither is their sum then.
      const bool are_finite = std::isfinite(a.sum().item<double>()) && std::isfinite(b.sum().item<double>());
      return weigh_differences<T>(are_finite ? table.add_signed : table.add_signed_or_nan, a.data<T>(), b.data<T>(), pulls, nullptr, batch, P, R, M, out.data<T>());
    }
    const Tensor distance = result.contiguous(), weights = empty(result.sizes(), x1.scalar_type());
    const T* const lengths = distance.data<T>();
    // A row at distance 0 from another is pulled nowhere.
    if (p == 2) {
      std::transform(pulls, pulls + arriving.numel(), lengths, weights.data<T>(), [](T pull, T length) { return length == T{0} ? T{0} : pull / length; });
      return weigh_differences<T>(table.add_weighted, a.data<T>(), b.data<T>(), weights.data<T>(), nullptr, batch, P, R, M, out.data<T>());
    }
    std::transform(pulls, pulls + arriving.numel(), lengths, weights.data<T>(), [](T pull, T length) { return std::isnan(length) ? length : length == T{0} ? pull * T{0} : pull; });
    weigh_differences<T>(table.add_largest, a.data<T>(), b.data<T>(), weights.data<T>(), lengths, batch, P, R, M, out.data<T>());
  };
  if (x1.scalar_type() == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return out;
}

Tensor cdist_gradient(const Tensor& g, const Tensor& x1, const Tensor& x2, const Tensor& result, double p) {
  return is_recording() ? cdist_backward(g, x1, x2, result, p) : cdist_backward_op(g, x1, x2, result, p);
}
}  // namespace

// %%
//| export kernels/distances.cpp
//| registers
void register_tuned_distances() {
  op::cdist.set(Layer::TunedCPU, cdist_tuned);
  cdist_backward_op.set(Layer::TunedCPU, cdist_backward_tuned);
  kernels::fused_gradient<op::cdist>(
      [](const Tensor& g, Input<0> x1, Input<1> x2, Output result, Arg<2, double> p) { return cdist_gradient(g, x1, x2, result, p.value); },
      [](const Tensor& g, Input<0> x1, Input<1> x2, Output result, Arg<2, double> p) { return cdist_gradient(g.transpose(-2, -1), x2, x1, result.transpose(-2, -1), p.value); });
}

// %%
TEST_CASE("distances: as the reference for any size, batch and number of threads, and near points far from 0 keep theirs") {
  manual_seed(798);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    for (const ScalarType type : {kFloat, kDouble}) {
      for (const double p : {1.0, 2.0, infinity}) {
        for (const auto& [P, R, M] : {std::tuple(1, 3, 50), std::tuple(70, 65, 3), std::tuple(5, 130, 129), std::tuple(300, 33, 300)}) {
          const Tensor a = randn({2, P, M}, kDouble), b = randn({2, R, M}, kDouble);
          CHECK_CLOSE(cdist(a.to(type), b.to(type), p), op::cdist.function(Layer::CPU)(a.to(type), b.to(type), p));
          CHECK_CLOSE(cdist(a.to(type), b[0].to(type), p), op::cdist.function(Layer::CPU)(a.to(type), b[0].to(type), p));
        }
        const Tensor x = randn({300, 40}, type), once = cdist(x, x, p);
        CHECK_EQ(cdist(x.slice(0, 7), x.slice(0, 3), p), once.slice(0, 7).slice(1, 3));
        CHECK_EQ(once.diagonal(), zeros({300}, type));
        const int before = get_num_threads();
        set_num_threads(3);
        CHECK_EQ(cdist(x, x, p), once);
        set_num_threads(before);
        Tensor broken = x.clone();
        broken[5][6].fill_(std::nan(""));
        CHECK_EQ(isnan(cdist(broken, x, p)).sum().item<std::int64_t>(), 300);
      }
      const Tensor near = 1000 + arange(0, 64, 1, kDouble).view({64, 1}).expand({64, 30}) / 64;
      CHECK_CLOSE(cdist(near.to(type), near.to(type)), cdist(near, near).to(type), 1e-6, 0.0);
    }
  }
}

TEST_CASE("distances: gradients of the norms 1 and 2 as the reference's, for any size and batch, and a row beside itself receives nothing") {
  manual_seed(799);
  double p = 2;
  const auto gradients = [&p](const Tensor& a, const Tensor& b, const Tensor& weights) {
    const Tensor x1 = a.clone().requires_grad_(), x2 = b.clone().requires_grad_();
    return autograd::grad({(cdist(x1, x2, p) * weights).sum()}, {x1, x2});
  };
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    for (const ScalarType type : {kFloat, kDouble}) {
      const double tolerance = type == kFloat ? 1e-5 : 1e-13;
      for (const auto& [norm, P, R, M] : {std::tuple(2., 1, 3, 50), std::tuple(2., 70, 65, 3), std::tuple(2., 6, 130, 129), std::tuple(2., 67, 33, 40),
                                       std::tuple(1., 1, 3, 50), std::tuple(1., 70, 65, 3), std::tuple(1., 6, 130, 129), std::tuple(1., 67, 33, 40)}) {
        p = norm;
        const Tensor a = randn({2, P, M}, type), b = randn({R, M}, type), weights = randn({2, P, R}, type);
        const auto got = gradients(a, b, weights);
        const auto expected = [&] {
          const kernels::ReferenceKernelsGuard reference;
          return gradients(a, b, weights);
        }();
        for (std::size_t i = 0; i < 2; ++i) CHECK_CLOSE(got[i], expected[i], tolerance, tolerance * 10);
        const int before = get_num_threads();
        set_num_threads(3);
        CHECK_EQ(gradients(a, b, weights)[0], got[0]);
        set_num_threads(before);
      }
      const Tensor x = randn({1, 200}, type);
      for (const double norm : {1., 2.}) {
        p = norm;
        CHECK_EQ(gradients(x, x, ones({1, 1}, type))[0], zeros({1, 200}, type));
      }
      // Of whole numbers many differences are 0, and the signs of the others add up without rounding.
      p = 1;
      const Tensor few = randint(-2, 3, {40, 19}, type), others = randint(-2, 3, {30, 19}, type);
      const Tensor signs = (few.unsqueeze(1) - others).sign();
      CHECK_EQ(gradients(few, others, ones({40, 30}, type))[0], signs.sum(1));
      CHECK_EQ(gradients(few, others, ones({40, 30}, type))[1], -signs.sum(0));
    }
  }
}

// %%
//| lesson
// What reaches a (N, P, M) and b (N, R, M) of weights (N, P, R), by the definition of the norm 1 or infinity. All are doubles without gaps.
std::pair<Tensor, Tensor> gradients_by_definition(const Tensor& a, const Tensor& b, const Tensor& weights, double p) {
  const Tensor to_a = zeros_like(a), to_b = zeros_like(b);
  const std::int64_t P = a.size(1), R = b.size(1), M = a.size(2);
  for (std::int64_t pair = 0; pair < weights.numel(); ++pair) {
    const std::int64_t n = pair / (P * R), i = n * P + pair / R % P, j = n * R + pair % R;
    const auto difference = [&](std::int64_t k) { return a.data<double>()[i * M + k] - b.data<double>()[j * M + k]; };
    double largest = 0;
    for (std::int64_t k = 0; k < M; ++k) largest = std::isnan(difference(k)) || std::fabs(difference(k)) > largest ? std::fabs(difference(k)) : largest;
    for (std::int64_t k = 0; k < M; ++k) {
      const double d = difference(k);
      double slope = d > 0 ? 1 : d < 0 ? -1 : d;
      if (std::isinf(p)) slope = std::isnan(largest) ? largest : std::fabs(d) == largest ? slope : 0;
      to_a.data<double>()[i * M + k] += weights.data<double>()[pair] * slope;
      to_b.data<double>()[j * M + k] -= weights.data<double>()[pair] * slope;
    }
  }
  return {to_a, to_b};
}

// The gradients of all distances, which `weights` reach.
std::pair<Tensor, Tensor> gradients_of_distances(const Tensor& a, const Tensor& b, const Tensor& weights, double p) {
  const Tensor x1 = a.detach().requires_grad_(), x2 = b.detach().requires_grad_();
  const auto both = autograd::grad({cdist(x1, x2, p)}, {x1, x2}, {weights});
  return {both[0], both[1]};
}

// %%
TEST_CASE("distances: gradients of the norms 1 and infinity by their definition, of equal differences, NaN and infinite numbers too, for any size, batch and strides") {
  manual_seed(800);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto check = [](const Tensor& a, const Tensor& b, const Tensor& weights, double p) {
    const std::int64_t P = a.size(-2), R = b.size(-2), M = a.size(-1);
    const auto of_six = [](const Tensor& x) { return x.to(kDouble).expand({2, 3, x.size(-2), x.size(-1)}).reshape({6, x.size(-2), x.size(-1)}).contiguous(); };
    const auto [to_a, to_b] = gradients_by_definition(of_six(a), of_six(b), of_six(weights), p);
    const auto [got_a, got_b] = gradients_of_distances(a, b, weights, p);
    CHECK_EQ(got_a.to(kDouble), to_a.view({2, 3, P, M}).sum({1}, true));
    CHECK_EQ(got_b.to(kDouble), to_b.view({2, 3, R, M}).sum({0}));
  };
  for (int c = -1; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    std::optional<kernels::ReferenceKernelsGuard> reference;
    if (c < 0) reference.emplace();
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(std::max(c, 0)));
    CAPTURE(c);
    for (const ScalarType type : {kFloat, kDouble}) {
      for (const double p : {1.0, infinity}) {
        for (const auto& [P, R, M] : {std::tuple(2, 3, 2), std::tuple(1, 3, 50), std::tuple(13, 1, 50), std::tuple(19, 7, 1), std::tuple(67, 35, 3), std::tuple(6, 5, 129)}) {
          CAPTURE(type);
          CAPTURE(p);
          CAPTURE(M);
          // Of whole numbers many differences are equal and some are 0, and sums of them are exact.
          const Tensor a = randint(-3, 4, {2, 1, P, M}, type), b = randint(-3, 4, {3, R, M}, type), weights = randint(-4, 5, {2, 3, P, R}, type);
          check(a, b, weights, p);
          const int before = get_num_threads();
          set_num_threads(3);
          check(a, b, weights, p);
          set_num_threads(before);
          a.select(0, 1).select(1, 0).select(1, M / 2).fill_(std::nan(""));
          b.select(0, 2).select(0, R / 2).select(0, 0).fill_(-infinity);
          check(a, b, weights, p);
          weights.select(1, 0).select(1, P - 1).select(1, 0).fill_(std::nan(""));
          check(a, b, weights, p);
          // A number for all pairs, columns, and dimensions of size 1 with strides that nobody steps over.
          check(a, b, ones({}, type).expand({2, 3, P, R}), p);
          check(a.transpose(-1, -2).contiguous().transpose(-1, -2), b.transpose(-1, -2).contiguous().transpose(-1, -2), weights.transpose(-1, -2).contiguous().transpose(-1, -2), p);
          if (P == 1) {
            DimVector strides(a.strides()), of_weights(weights.strides());
            strides[1] = strides[2] = of_weights[2] = 7;
            check(a.as_strided(a.sizes(), strides), b, weights.as_strided(weights.sizes(), of_weights), p);
          }
        }
      }
    }
  }
}

// %% [markdown]
// ## Rows in order
//
// The reference sorts positions, and asks for the numbers at two of them each time it compares; every question may miss the cache. Numbers of a fixed size can be ordered without comparing any two. Their bits, changed so that they order as unsigned integers do, are put into 256 boxes by their last byte, then by the one before, and so on; each pass keeps the order of equal bytes, so the last one leaves everything in order, and equal numbers where they were. This is radix sort: 4 passes for 32 bits, fewer where a byte is the same in all numbers.
//
//     -1.0f   bf800000   negative: flip all bits     407fffff
//      0.0f   00000000   flip the sign               80000000     -0 counts as 0
//      1.0f   3f800000                               bf800000
//      NaN    7fc00000                               ffffffff     the largest; `descending` flips everything once more
//
// Bytes and bools need no pass over bits: they are the boxes themselves. What the reference took 15 milliseconds for, 100,000 bytes, takes a sixtieth of that.
//
// A pass needs 256 counters, which pays from some hundred numbers on. Shorter rows are compared: the position beside the number decides between equal ones, so any way to sort keeps their order. The first few of a long row (`topk`) are kept in order while the row is read: most numbers are behind the last of them, and cost one comparison.

// %%
//| export kernels/ordering.cpp
namespace {
// Bits whose order as unsigned numbers is that of sort: NaN last, both zeros the same.
template <class T>
auto ordered_bits(T x) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(x)) return ~Bits{0};
    const Bits bits = std::bit_cast<Bits>(x == 0 ? T{0} : x), sign = Bits{1} << (sizeof(T) * 8 - 1);
    return (bits & sign) != 0 ? ~bits : bits | sign;
  } else {
    return static_cast<Bits>(static_cast<Bits>(x) ^ (Bits{1} << (sizeof(Bits) * 8 - 1)));
  }
}

template <class Bits>
struct Numbered {
  Bits bits, position;
  bool operator<(const Numbered& other) const { return bits != other.bits ? bits < other.bits : position < other.position; }
};

// By the bits; equal ones keep their order. The row ends in one of the two places, which is returned. `varies` has the bits that are not the same in all numbers. O(n) for each byte that varies.
template <class Bits>
Numbered<Bits>* radix_sort(Numbered<Bits>* row, Numbered<Bits>* other, std::int64_t size, Bits varies) {
  for (std::size_t shift = 0; shift < 8 * sizeof(Bits); shift += 8) {
    if ((varies >> shift & 255) == 0) continue;
    std::array<std::size_t, 256> places{};
    for (std::int64_t i = 0; i < size; ++i) ++places[row[i].bits >> shift & 255];
    std::exclusive_scan(places.begin(), places.end(), places.begin(), std::size_t{0});
    for (std::int64_t i = 0; i < size; ++i) other[places[row[i].bits >> shift & 255]++] = row[i];
    std::swap(row, other);
  }
  return row;
}

// The first k by insertion: most of a long row are behind the k-th so far, which takes one comparison.
template <class T, class Bits>
void keep_first(const T* from, std::int64_t size, std::int64_t step, std::int64_t k, Bits flip, Numbered<Bits>* first) {
  for (std::int64_t j = 0; j < size; ++j) {
    const auto bits = static_cast<Bits>(ordered_bits(from[j * step]) ^ flip);
    if (j >= k && bits >= first[k - 1].bits) continue;
    std::int64_t at = std::min(j, k - 1);
    for (; at > 0 && bits < first[at - 1].bits; --at) first[at] = first[at - 1];
    first[at] = {bits, static_cast<Bits>(j)};
  }
}

constexpr std::int64_t kRadixFrom = 256, kInsertUpTo = 64, kCountFrom = 64;

// The first k in order, in one of the two places, each with room for `size`.
template <class T, class Bits>
const Numbered<Bits>* order_row(const T* from, std::int64_t size, std::int64_t step, std::int64_t k, Bits flip, Numbered<Bits>* row, Numbered<Bits>* other) {
  if (k <= kInsertUpTo && k <= size / 16) {
    keep_first(from, size, step, k, flip, row);
    return row;
  }
  Bits varies = 0;
  for (std::int64_t j = 0; j < size; ++j) {
    const auto bits = static_cast<Bits>(ordered_bits(from[j * step]) ^ flip);
    row[j] = {bits, static_cast<Bits>(j)};
    varies |= bits ^ row[0].bits;
  }
  if (size >= kRadixFrom) return radix_sort(row, other, size, varies);
  std::partial_sort(row, row + k, row + size);
  return row;
}

// The first k of each row (outer, size, inner) along the middle, and where they were.
template <class T>
void order_rows(const T* x, std::int64_t outer, std::int64_t size, std::int64_t inner, std::int64_t k, bool descending, T* values, std::int64_t* indices) {
  using Bits = decltype(ordered_bits(T{}));
  const Bits flip = descending ? ~Bits{0} : Bits{0};
  parallel_for(0, outer * inner, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (8 * size)), [=](std::int64_t first, std::int64_t stop) {
    const Tensor room = empty({2 * size * static_cast<std::int64_t>(sizeof(Numbered<Bits>))}, kByte);
    auto* const row = static_cast<Numbered<Bits>*>(room.data_ptr());
    for (std::int64_t i = first; i < stop; ++i) {
      const T* const from = x + i / inner * size * inner + i % inner;
      const std::int64_t to = i / inner * k * inner + i % inner;
      const Numbered<Bits>* const sorted = order_row(from, size, inner, k, flip, row, row + size);
      for (std::int64_t j = 0; j < k; ++j) {
        const auto position = static_cast<std::int64_t>(sorted[j].position);
        values[to + j * inner] = from[position * inner];
        indices[to + j * inner] = position;
      }
    }
  });
}

// All of each row of bytes, of which there are 256: how many there are of each says where each begins.
template <class T>
void order_bytes(const T* x, std::int64_t outer, std::int64_t size, std::int64_t inner, bool descending, T* values, std::int64_t* indices) {
  const std::size_t flip = (std::is_signed_v<T> ? 128U : 0U) ^ (descending ? 255U : 0U);
  const auto key_of = [flip](T number) { return static_cast<std::size_t>(static_cast<std::uint8_t>(number)) ^ flip; };
  parallel_for(0, outer * inner, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (2 * size)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) {
      const std::int64_t at = i / inner * size * inner + i % inner;
      std::array<std::int64_t, 256> places{};
      for (std::int64_t j = 0; j < size; ++j) ++places[key_of(x[at + j * inner])];
      std::exclusive_scan(places.begin(), places.end(), places.begin(), std::int64_t{0});
      for (std::int64_t j = 0; j < size; ++j) {
        const std::int64_t to = at + places[key_of(x[at + j * inner])]++ * inner;
        values[to] = x[at + j * inner];
        indices[to] = j;
      }
    }
  });
}

// Undefined tensors where the reference shall do it.
std::tuple<Tensor, Tensor> ordered(const Tensor& self, std::int64_t dim, std::int64_t k, bool descending) {
  const ScalarType type = self.scalar_type();
  const bool has_kernel = type != kHalf && type != kBFloat16;
  if (!has_kernel || self.dim() == 0 || self.numel() == 0 || k == 0 || self.size(dim) > std::numeric_limits<std::int32_t>::max()) return {};
  const Tensor x = self.contiguous();
  // Not the stride: that of a dimension of size 1 may be anything.
  const std::int64_t size = x.size(dim), inner = multiply_sizes(x.sizes().slice(static_cast<std::size_t>(dim) + 1));
  DimVector sizes(x.sizes());
  sizes[static_cast<std::size_t>(dim)] = k;
  const Tensor values = empty(sizes, type), indices = empty(sizes, kLong);
  dispatch_all_types(type, [&]<class T>() {
    const std::int64_t outer = x.numel() / (size * inner);
    if constexpr (sizeof(T) == 1)
      if (k == size && size >= kCountFrom) return order_bytes(x.data<T>(), outer, size, inner, descending, values.data<T>(), indices.data<std::int64_t>());
    order_rows(x.data<T>(), outer, size, inner, k, descending, values.data<T>(), indices.data<std::int64_t>());
  });
  return {values, indices};
}

std::tuple<Tensor, Tensor> sort_tuned(const Tensor& self, std::int64_t dim, bool descending) {
  auto result = ordered(self, dim, self.dim() == 0 ? 1 : self.size(dim), descending);
  return std::get<0>(result).defined() ? result : op::sort.function(Layer::CPU)(self, dim, descending);
}

std::tuple<Tensor, Tensor> topk_tuned(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest, bool sorted) {
  auto result = ordered(self, dim, k, largest);
  return std::get<0>(result).defined() ? result : op::topk.function(Layer::CPU)(self, k, dim, largest, sorted);
}
}  // namespace

// %%
//| export kernels/ordering.cpp
//| registers
void register_tuned_ordering() {
  op::sort.set(Layer::TunedCPU, sort_tuned);
  op::topk.set(Layer::TunedCPU, topk_tuned);
}

// %%
TEST_CASE("order: sort and topk give the reference's numbers and positions, equal numbers, zeros and NaN included") {
  manual_seed(796);
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  for (const ScalarType type : {kFloat, kDouble, kInt, kLong, kShort, kByte, kChar, kBool}) {
    for (const DimVector& sizes : {DimVector{7}, DimVector{700}, DimVector{3, 257, 2}, DimVector{40, 1}}) {
      const double factor = type == kInt || type == kLong ? 40'000'000 : type == kShort ? 700 : type == kChar ? 3 : 0.37;
      Tensor x = randint(-40, 40, sizes, kDouble) * factor;
      if (type == kByte) x = x.abs() * 17;
      if (type == kBool) x = x.gt(0);
      if (type == kFloat || type == kDouble) x.flatten().slice(0, 0, 7).copy_(tensor({0.0, nan, -0.0, -infinity, 0.0, -nan, infinity}));
      x = x.to(type);
      for (const Tensor& view : {x, x.dim() == 2 ? x.t() : x.flip(0)}) {
        for (std::int64_t dim = 0; dim < view.dim(); ++dim) {
          for (const bool descending : {false, true}) {
            const auto [values, places] = sort(view, dim, descending);
            const auto [expected, at] = op::sort.function(Layer::CPU)(view, dim, descending);
            CHECK_EQ(places, at);
            CHECK_EQ(values.to(kDouble).nan_to_num(1e9), expected.to(kDouble).nan_to_num(1e9));
            for (const std::int64_t k : {std::int64_t{1}, (view.size(dim) + 1) / 2}) {
              const auto [first, first_places] = topk(view, k, dim, descending);
              CHECK_EQ(first_places, at.narrow(dim, 0, k));
            }
          }
        }
      }
    }
  }
  // A row of a wider matrix: the stride of its first dimension, of size 1, is the matrix's.
  const Tensor wide = randn({4, 600}), row = wide.narrow(1, 300, 300).narrow(0, 3, 1);
  const auto [values, indices] = sort(row, 0);
  CHECK_EQ(values, row);
  CHECK_EQ(indices, zeros({1, 300}, kLong));
}

// %% [markdown]
// ## What it gains
//
// Milliseconds of the kernels and of the reference, in one thread. The gradients are those of both matrices.

// %%
DEMO("distances, gradients and order beside the reference, one thread") {
  const int before = get_num_threads();
  set_num_threads(1);
  const auto line = [](const char* name, auto f) {
    const double tuned = measure(f, {.samples = 7}).minimum;
    const kernels::ReferenceKernelsGuard guard;
    const double reference = measure(f, {.samples = 3}).minimum;
    std::printf("%-32s %8.3f ms, reference %8.3f ms, %5.1f times\n", name, tuned * 1e3, reference * 1e3, reference / tuned);
  };
  const Tensor few = randn({512, 64}).requires_grad_(), others = randn({512, 64}).requires_grad_(), pull = randn({512, 512}), numbers = randn({1024, 1024});
  for (const auto& [name, gradient, p] : {std::tuple("distances, p = 1", "gradients, p = 1", 1.0), std::tuple("distances, p = 2", "gradients, p = 2", 2.0),
                                          std::tuple("distances, p = infinity", "gradients, p = infinity", std::numeric_limits<double>::infinity())}) {
    const Tensor distances = cdist(few, others, p);
    line(name, [&, p = p] { do_not_optimize(cdist(few.detach(), others.detach(), p)); });
    line(gradient, [&] { do_not_optimize(autograd::grad({distances}, {few, others}, {pull}, true)); });
  }
  line("sort of 1,024 rows of 1,024", [&] { do_not_optimize(std::get<0>(sort(numbers, 1))); });
  set_num_threads(before);
}

// %% [markdown]
// ## Where to read on
//
// PyTorch's `aten/src/ATen/native/cpu/DistanceOpsKernel.cpp` has distances and gradients for each norm, in vectors along a row, whose sums are added across the vector for each pair; `_euclidean_dist` in `aten/src/ATen/native/Distance.cpp` is the matrix product that it takes instead where there are more than 25 rows. It sorts by comparing with `std::stable_sort` (`aten/src/ATen/native/cpu/SortingKernel.cpp`), for integers by radix with fbgemm where that is compiled in. On a GPU every library sorts by radix (CUB's `DeviceRadixSort`): there nothing guesses a comparison, and 256 boxes are counted by all threads at once.
//
// - **Distances.** Faiss (Johnson, Douze and Jégou's *Billion-scale similarity search with GPUs*, 2017) for what is done where all pairs are too many.
// - **Order.** *The Art of Computer Programming*, volume 3, section 5.2.5; Terdiman's *Radix Sort Revisited* (2000) for the bits of floats.

// %%
}  // namespace tinytorch
