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
// # Library chapter 77: Row kernels
//
// Sums, variances, maxima, softmax: each number is read, a few operations are done with it, and it is never seen again. By module 16's roofline such work lies far to the left. What decides is how many bytes pass between memory and the core, so this chapter does one thing again and
// again: it reads each number once, while everything that must be known about it is at hand.
//
//     composed:   x --read--> mean --> x - mean --write--> d --read--> d * d --write--> ... --> sum          7 or 8 passes over memory
//     here:       x --read--> [ a row, or a piece of some thousand numbers, stays in the first cache:        1 pass
//                               sum it, walk it again around its mean, walk it again to write ]
//
// The second theme is order. `a + (b + c)` and `(a + b) + c` differ in the last bits, so a fast sum must say in which order it adds. Here the order follows from the sizes and the vector length alone, never from threads: pieces are cut at fixed places, and their results are joined in the order of the pieces.

// %%
//| after 16
//| export kernels/reduction_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/reductions.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/moments.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/reduction_kernels.h"
//| export kernels/fused_gradient.h
#include <type_traits>
#include <utility>
#include "tinytorch/core/gradient.h"
//| export kernels/softmax_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/softmax.cpp
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/softmax_kernels.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
//| export kernels/moments.h
#include "tinytorch/core/tensor.h"

// %%
//| export kernels/reductions.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include "tinytorch/kernels/reduction_kernels.h"
#include "tinytorch/kernels/row_vectors-inl.h"
//| export kernels/softmax.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include "tinytorch/kernels/row_vectors-inl.h"
#include "tinytorch/kernels/softmax_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"
//| export kernels/row_vectors-inl.h
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <cstdint>
#include "tinytorch/kernels/reduction_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <cstdio>
#include <limits>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/roofline.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Adding in vectors
//
// A loop that adds float after float does one addition per 3 or 4 cycles, because each waits for the one before, and it loses low bits when the sum has grown. Vectors cure both, if the additions are arranged as a tree. Eight vectors are added pairwise; the result, one vector, is widened to double and added to running totals:
//
//     x0 + x1   x2 + x3   x4 + x5   x6 + x7        float: four additions that wait for nobody
//         \      /            \      /
//          +----+              +----+              float: two
//               \              /
//                +------------+                    float: one       -> widened -> total (double)
//
// So a float takes part in three additions in float, and the rest is double: the sum is as exact as the reference's, which adds in double from the first number on. (PyTorch's `cascade_sum` stays in float and keeps a ladder of partial sums instead: `aten/src/ATen/native/cpu/SumKernel.cpp`.)
//
// Squares are taken in double from the beginning: the square of 1e30 is no float.
//
// What is left behind the last whole vector is one more vector, with zeros in the lanes that are no numbers of the row (in a variance, with the mean, whose difference from itself is 0). Short rows, such as the 49 numbers of an image of 7 x 7, are hardly anything else: number by number, `instance_norm` took two to three times as long on them.
//
// What is added this fast waits for memory. The processor sees a walk and fetches ahead of it by itself, but only to the end of a page of 4 KB: what lies behind it in memory may be anywhere. A row of 1,024 floats is a page, so every row would begin with a wait. The kernel asks for what lies a page ahead;
// behind the last row it asks in vain, which is no error.
//
// A row that is walked more than once is read from memory in the first walk only. Asking in that walk for the next row makes memory's work and the waiting for it come at once, and the second walk, in which the processor computes, leaves memory idle. So a variance asks for it in the walk that computes most, over the squares. Softmax has a better way, below.

// %%
//| export kernels/reduction_kernels.h
namespace kernels {

// As wide as a T, for positions beside numbers.
template <class T>
struct PositionOf;
template <>
struct PositionOf<float> {
  using type = std::int32_t;
};
template <>
struct PositionOf<double> {
  using type = std::int64_t;
};
template <class T>
using Position = typename PositionOf<T>::type;

// What a variance is made of: the mean of some numbers, and the sum of their squared distances to it.
struct Moments {
  double mean = 0;
  double squares = 0;
};

// Numbers that a kernel for columns may touch behind the last column of its totals.
inline constexpr std::int64_t kColumnPadding = 16;

template <class T>
struct ReductionTable {
  // Of the `count` numbers at x, which may begin anywhere. O(count).
  double (*sum)(const T* x, std::int64_t count);
  // The same of four runs of `count` numbers each.
  void (*four_sums)(const T* const* runs, std::int64_t count, double* sums);
  double (*sum_of_magnitudes)(const T* x, std::int64_t count);
  double (*sum_of_squares)(const T* x, std::int64_t count);
  // Reads x twice: choose `count` so that it stays in the first cache. REQUIRES: count > 0.
  Moments (*moments)(const T* x, std::int64_t count);
  // Where the first largest (smallest) number stands; the first NaN, if there is one. REQUIRES: count > 0.
  std::int64_t (*extreme)(const T* x, std::int64_t count, bool largest);

  // Of the columns of a matrix whose rows are `step` numbers apart; the totals have room for kColumnPadding numbers more than `columns`.
  // totals[j] += the sum of column j.
  void (*add_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, double* totals);
  // mean[j] and squares[j] are of `count` numbers before and of count + rows after.
  void (*moments_of_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, double* mean, double* squares, std::int64_t count);
  // best[j] and position[j] become those of a number of column j that beats best[j]; row r has the position first + r.
  void (*extreme_of_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* best, Position<T>* position, std::int64_t first, bool largest);
  // The same without positions.
  void (*extreme_values_of_rows)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* best, bool largest);
};

struct ReductionKernels {
  ReductionTable<float> in_float;
  ReductionTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ReductionKernels, reduction_kernels)

}  // namespace kernels

// %%
//| export kernels/row_vectors-inl.h
// For *.simd.cpp files, which define TINYTORCH_CAPABILITY.
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Tag<T>>;
template <class T>
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag<T>()));

// Totals in double of vectors of T.
template <class T>
class Totals;

template <>
class Totals<double> {
 public:
  HWY_INLINE void add(Vector<double> v) { sum_ = hn::Add(sum_, v); }
  HWY_INLINE void add_squares(Vector<double> v) { sum_ = hn::MulAdd(v, v, sum_); }
  HWY_INLINE void add(const Totals& other) { sum_ = hn::Add(sum_, other.sum_); }
  HWY_INLINE double total() const { return hn::GetLane(hn::SumOfLanes(Tag<double>(), sum_)); }

 private:
  Vector<double> sum_ = hn::Zero(Tag<double>());
};

// The lower and the upper half of a vector of floats, as doubles.
#if HWY_TARGET == HWY_SCALAR  // a vector of one number has no upper half
constexpr bool kHasUpperHalf = false;
HWY_INLINE Vector<double> lower_half(Vector<float> v) { return hn::PromoteTo(Tag<double>(), v); }
HWY_INLINE Vector<double> upper_half(Vector<float>) { return hn::Zero(Tag<double>()); }
#else
constexpr bool kHasUpperHalf = true;
HWY_INLINE Vector<double> lower_half(Vector<float> v) { return hn::PromoteTo(Tag<double>(), hn::LowerHalf(hn::Half<Tag<float>>(), v)); }
HWY_INLINE Vector<double> upper_half(Vector<float> v) { return hn::PromoteTo(Tag<double>(), hn::UpperHalf(hn::Half<Tag<float>>(), v)); }
#endif

template <>
class Totals<float> {
 public:
  HWY_INLINE void add(Vector<float> v) {
    lower_.add(lower_half(v));
    upper_.add(upper_half(v));
  }
  HWY_INLINE void add_squares(Vector<float> v) {
    lower_.add_squares(lower_half(v));
    upper_.add_squares(upper_half(v));
  }
  HWY_INLINE void add(const Totals& other) {
    lower_.add(other.lower_);
    upper_.add(other.upper_);
  }
  HWY_INLINE double total() const {
    Totals<double> both = lower_;
    both.add(upper_);
    return both.total();
  }

 private:
  Totals<double> lower_, upper_;
};

// Has `count` numbers fetched that lie a page behind x, or so many bytes, whether or not there are any.
template <std::int64_t count, class T>
HWY_INLINE void fetch_ahead(const T* x, std::int64_t bytes = 4096) {
  const auto ahead = reinterpret_cast<std::uintptr_t>(x) + static_cast<std::uintptr_t>(bytes);
  HWY_UNROLL(8)
  for (std::uintptr_t line = 0; line < static_cast<std::uintptr_t>(count) * sizeof(T); line += 64) hwy::Prefetch(reinterpret_cast<const T*>(ahead + line));
}

// While x walks through 8 KB, has the 8 KB that lie 16 KB behind fetched into the second cache, from their two pages in turns; `count` numbers more with each call.
template <std::int64_t count, class T>
HWY_INLINE void fetch_far_ahead(const T* x) {
  constexpr std::uintptr_t page = 4096, line = 64;
  const std::uintptr_t ahead = reinterpret_cast<std::uintptr_t>(x) + 4 * page, pages = ahead / (2 * page) * (2 * page), first = ahead % (2 * page) / line;
  HWY_UNROLL(8)
  for (std::uintptr_t k = first; k < first + static_cast<std::uintptr_t>(count) * sizeof(T) / line; ++k) __builtin_prefetch(reinterpret_cast<const T*>(pages + k % 2 * page + k / 2 * line), 0, 2);
}

// The sum of eight vectors, as a tree.
template <class V>
HWY_INLINE V sum_of_eight(V a, V b, V c, V d, V e, V f, V g, V h) {
  return hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, d)), hn::Add(hn::Add(e, f), hn::Add(g, h)));
}

// Less than a vector of numbers, and `fill` behind them.
template <class T>
HWY_INLINE Vector<T> load_some(const T* x, std::int64_t count, T fill) {
  const Tag<T> d;
  return hn::IfThenElse(hn::FirstN(d, static_cast<std::size_t>(count)), LoadPart(d, x, count), hn::Set(d, fill));
}

// The sums of f(x) over `count` numbers of each run, where f is for vectors and f(0) is 0. Each run's numbers are added in the same order, however many runs there are.
template <int Runs, bool Asks = Runs == 1, class T, class F>
HWY_INLINE void sums_of(const T* const* runs, std::int64_t count, double* sums, F f) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  Totals<T> totals[Runs];
  std::int64_t i = 0;
  for (; i + 8 * L <= count; i += 8 * L) {
    HWY_UNROLL(4)
    for (int r = 0; r < Runs; ++r) {
      const T* const at = runs[r] + i;
      if constexpr (Asks) fetch_ahead<8 * L>(at);
      totals[r].add(sum_of_eight(f(hn::LoadU(d, at)), f(hn::LoadU(d, at + L)), f(hn::LoadU(d, at + 2 * L)), f(hn::LoadU(d, at + 3 * L)), f(hn::LoadU(d, at + 4 * L)),
                                 f(hn::LoadU(d, at + 5 * L)), f(hn::LoadU(d, at + 6 * L)), f(hn::LoadU(d, at + 7 * L))));
    }
  }
  for (int r = 0; r < Runs; ++r) {
    std::int64_t k = i;
    for (; k + L <= count; k += L) totals[r].add(f(hn::LoadU(d, runs[r] + k)));
    if (k < count) totals[r].add(f(load_some(runs[r] + k, count - k, T{0})));
    sums[r] = totals[r].total();
  }
}

template <class T, class F>
HWY_INLINE double sum_of(const T* x, std::int64_t count, F f) {
  double sum;
  sums_of<1>(&x, count, &sum, f);
  return sum;
}

template <class T>
double sum(const T* x, std::int64_t count) {
  return sum_of(x, count, [](auto v) HWY_ATTR { return v; });
}

template <class T>
void four_sums(const T* const* runs, std::int64_t count, double* sums) {
  sums_of<4>(runs, count, sums, [](auto v) HWY_ATTR { return v; });
}

// The sum of squares.
template <class T>
class Squares {
 public:
  HWY_INLINE void add_two_vectors(const T* x) {
    even_.add_squares(hn::LoadU(Tag<T>(), x));
    odd_.add_squares(hn::LoadU(Tag<T>(), x + kLanes<T>));
  }
  // The last numbers, and all of them together.
  HWY_INLINE double total(const T* x, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 2 * kLanes<T> <= count; i += 2 * kLanes<T>) add_two_vectors(x + i);
    even_.add(odd_);
    double rest = even_.total();
    for (; i < count; ++i) rest += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return rest;
  }

 private:
  Totals<T> even_, odd_;
};

template <class T>
double sum_of_squares(const T* x, std::int64_t count) {
  return Squares<T>().total(x, count);
}

// Calls f(i, v, count) for each vector of x; count is the number of lanes that are x's, and `fill` is in the others.
template <class T, class F>
HWY_INLINE void for_each_vector(const T* x, std::int64_t count, F f, T fill = T{0}) {
  const Tag<T> d;
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) f(i, hn::LoadU(d, x + i), kLanes<T>);
  if (i < count) f(i, load_some(x + i, count - i, fill), count - i);
}
template <class T>
HWY_INLINE void put(Vector<T> v, T* out, std::int64_t count) {
  if (count == kLanes<T>) hn::StoreU(v, Tag<T>(), out);
  else StorePart(v, Tag<T>(), out, count);
}

// Whether a row of `count` numbers at `out` can be written past the caches (chapter 76), in whole aligned vectors.
template <class T>
HWY_INLINE bool is_aligned_row(const T* out, std::int64_t count) {
  return count % kLanes<T> == 0 && reinterpret_cast<std::uintptr_t>(out) % (kLanes<T> * sizeof(T)) == 0;
}
// out[i] = f(i, v, lanes) for each vector of x; past the caches if that is wanted and possible. Whoever lets other threads read it calls hwy::FlushStream() first.
template <class T, class F>
HWY_INLINE void write_vectors(const T* x, std::int64_t count, T* out, bool beyond_cache, F f) {
  if (beyond_cache && is_aligned_row(out, count)) {
    for_each_vector(x, count, [&](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR { hn::Stream(f(i, v, lanes), Tag<T>(), out + i); });
  } else {
    for_each_vector(x, count, [&](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR { put<T>(f(i, v, lanes), out + i, lanes); });
  }
}

// Up to a vector of numbers.
template <class T>
HWY_INLINE Vector<T> load_lanes(const T* x, std::int64_t lanes) {
  return lanes == kLanes<T> ? hn::LoadU(Tag<T>(), x) : load_some(x, lanes, T{0});
}
// Writes them, past the caches or else with a line asked for that is written a page later, as reading asks ahead: a store waits for its line too.
template <bool kBeyondCache, class T>
HWY_INLINE void write_lanes(Vector<T> v, T* out, std::int64_t lanes) {
  if constexpr (kBeyondCache) {
    hn::Stream(v, Tag<T>(), out);
  } else {
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(out) + 4096), 1);
    put(v, out, lanes);
  }
}

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());

// The largest of the numbers seen. NaN is passed over or is the result, as the processor has it.
template <class T>
class Largest {
 public:
  HWY_INLINE void see_eight_vectors(const T* x) {
    for (std::int64_t v = 0; v < 8; v += 4) {
      a_ = hn::Max(hn::LoadU(d_, x + v * kLanes<T>), a_);
      b_ = hn::Max(hn::LoadU(d_, x + (v + 1) * kLanes<T>), b_);
      c_ = hn::Max(hn::LoadU(d_, x + (v + 2) * kLanes<T>), c_);
      e_ = hn::Max(hn::LoadU(d_, x + (v + 3) * kLanes<T>), e_);
    }
  }
  HWY_INLINE void see(const T* x, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 8 * kLanes<T> <= count; i += 8 * kLanes<T>) see_eight_vectors(x + i);
    for (; i + kLanes<T> <= count; i += kLanes<T>) a_ = hn::Max(hn::LoadU(d_, x + i), a_);
    if (i < count) b_ = hn::Max(load_some(x + i, count - i, -kInfinity<T>), b_);
  }
  HWY_INLINE T value() const { return hn::GetLane(hn::MaxOfLanes(d_, hn::Max(hn::Max(a_, b_), hn::Max(c_, e_)))); }

 private:
  Tag<T> d_;
  Vector<T> a_ = hn::Set(d_, -kInfinity<T>), b_ = a_, c_ = a_, e_ = a_;
};

// totals[0], totals[1], ... += the lanes of v.
HWY_INLINE void add_to(double* totals, Vector<double> v) { hn::StoreU(hn::Add(hn::LoadU(Tag<double>(), totals), v), Tag<double>(), totals); }
HWY_INLINE void add_to(double* totals, Vector<float> v) {
  add_to(totals, lower_half(v));
  if constexpr (kHasUpperHalf) add_to(totals + kLanes<double>, upper_half(v));
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/reductions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
double sum_of_magnitudes(const T* x, std::int64_t count) {
  return sum_of(x, count, [](auto v) HWY_ATTR { return hn::Abs(v); });
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Variance: two passes over what the cache holds
//
// The textbook's `mean(x^2) - mean(x)^2` needs one pass and loses everything when the mean is large beside the spread: both terms are then nearly equal. Two ways are good. *Two passes*: first the mean, then the sum of `(x - mean)^2`. *Welford's* keeps a mean and a sum of squares and corrects both with each number: one pass, but a
// division for each number and a chain of operations that wait for each other. Chan, Golub and LeVeque join whole groups instead of numbers:
//
//     group a: n_a numbers, mean m_a, squares s_a  --+        delta = m_b - m_a,  n = n_a + n_b
//                                                    +-->     m = m_a + delta n_b / n
//     group b: n_b numbers, mean m_b, squares s_b  --+        s = s_a + s_b + delta^2 n_a n_b / n
//
// So: two passes over each piece, which is small enough to stay in the first cache, and one joining per piece. Memory is read once, as by Welford, and the arithmetic is that of two plain loops. The mean that the second pass takes off is rounded to T, which makes the differences exact or nearly so; what the rounding left over is
// the differences' own mean, and corrects both results. As in a sum, four vectors are added in T before they become doubles: converting them costs more than adding, and three roundings of positive numbers are 3 ulp at most.

// %%
//| export kernels/row_vectors-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// From sums of the differences to `center`: of `count` numbers.
HWY_INLINE Moments moments_around(double center, double differences, double squares, double count) {
  const double left_over = differences / count;
  const double spread = squares - differences * left_over;
  return {center + left_over, spread < 0 ? 0 : spread};  // below 0 by rounding only; NaN stays
}

// The moments of numbers that are spread around `center`.
template <class T>
class Spread {
 public:
  explicit HWY_INLINE Spread(T center) : center_(center), centers_(hn::Set(Tag<T>(), center)) {}
  HWY_INLINE void add_four_vectors(const T* x) {
    const Vector<T> a = beside(x), b = beside(x + kLanes<T>), c = beside(x + 2 * kLanes<T>), e = beside(x + 3 * kLanes<T>);
    differences_.add(hn::Add(hn::Add(a, b), hn::Add(c, e)));
    squares_.add(hn::Add(hn::MulAdd(a, a, hn::Mul(b, b)), hn::MulAdd(c, c, hn::Mul(e, e))));
  }
  // Numbers that are not whole groups of four vectors.
  HWY_INLINE void add_rest(const T* x, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 4 * kLanes<T> <= count; i += 4 * kLanes<T>) add_four_vectors(x + i);
    for (; i + kLanes<T> <= count; i += kLanes<T>) add(beside(x + i));
    if (i < count) add(hn::Sub(load_some(x + i, count - i, center_), centers_));  // behind the end the difference is 0
  }
  HWY_INLINE Moments moments(std::int64_t count) const { return moments_around(static_cast<double>(center_), differences_.total(), squares_.total(), static_cast<double>(count)); }

 private:
  HWY_INLINE Vector<T> beside(const T* x) const { return hn::Sub(hn::LoadU(Tag<T>(), x), centers_); }
  HWY_INLINE void add(Vector<T> difference) {
    differences_.add(difference);
    squares_.add_squares(difference);
  }

  T center_;
  Vector<T> centers_;
  Totals<T> differences_, squares_;
};

template <class T>
Moments moments(const T* x, std::int64_t count) {
  constexpr std::int64_t L = kLanes<T>;
  double total;
  sums_of<1, false>(&x, count, &total, [](auto v) HWY_ATTR { return v; });
  Spread<T> spread(static_cast<T>(total / static_cast<double>(count)));
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    fetch_ahead<4 * L>(x + i, count * static_cast<std::int64_t>(sizeof(T)));  // the next piece or row
    spread.add_four_vectors(x + i);
  }
  spread.add_rest(x + i, count - i);
  return spread.moments(count);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## The largest, and where it stands
//
// Carrying a position along with each maximum doubles the work of the loop. Two passes over a cached piece are shorter: the first finds the largest number, the second looks for the first place that has it, and ends there. NaN counts as larger than all (and smaller than all, for a minimum): vector maxima drop NaNs, so the first pass
// remembers whether it saw one.
//
// Of columns, which have a place in memory for each best number, both are carried along; where only the numbers are wanted (`amax`, `amin`), maxima and what was NaN.

// %%
//| export kernels/reductions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// The first i with condition(x[i]), which exists.
template <class T, class Condition>
HWY_INLINE std::int64_t first_place(const T* x, std::int64_t count, Condition condition) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  std::int64_t i = 0;
  for (; i + L <= count; i += L) {
    const auto found = condition(hn::LoadU(d, x + i));
    if (!hn::AllFalse(d, found)) return i + hn::FindFirstTrue(d, found);
  }
  for (; i < count; ++i)
    if (!hn::AllFalse(d, condition(hn::Set(d, x[i])))) return i;
  return 0;
}

template <class T>
std::int64_t extreme(const T* x, std::int64_t count, bool largest) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  T best = x[0];
  bool nan = best != best;
  std::int64_t i = 0;
  if (count >= L) {
    // The smallest is the largest of the negated numbers.
    const Vector<T> sign = hn::Set(d, largest ? T{1} : T{-1});
    Vector<T> bests[4];
    for (auto& b : bests) b = hn::Mul(sign, hn::LoadU(d, x));
    auto nans = hn::IsNaN(bests[0]);
    const auto take = [&](Vector<T>& b, std::int64_t at) HWY_ATTR {
      const Vector<T> v = hn::Mul(sign, hn::LoadU(d, x + at));
      nans = hn::Or(nans, hn::IsNaN(v));
      b = hn::Max(b, v);
    };
    for (; i + 4 * L <= count; i += 4 * L) {
      take(bests[0], i);
      take(bests[1], i + L);
      take(bests[2], i + 2 * L);
      take(bests[3], i + 3 * L);
    }
    for (; i + L <= count; i += L) take(bests[0], i);
    best = hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(bests[0], bests[1]), hn::Max(bests[2], bests[3]))));
    if (!largest) best = -best;
    nan = !hn::AllFalse(d, nans);
  }
  for (; i < count; ++i) {
    nan = nan || x[i] != x[i];
    if (largest ? x[i] > best : x[i] < best) best = x[i];
  }
  if (nan) return first_place(x, count, [](auto v) HWY_ATTR { return hn::IsNaN(v); });
  const Vector<T> wanted = hn::Set(d, best);
  return first_place(x, count, [wanted](auto v) HWY_ATTR { return hn::Eq(v, wanted); });
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Columns
//
// To sum the columns of a matrix one must not walk down them: each step would fetch a cache line for one number. The walk stays along the rows, with a total for each column, and takes eight rows at a time, so that totals are loaded and stored once for eight numbers. A strip is one cache line wide; every line is then read by
// neighbouring instructions, also when the rows are a power of two apart and compete for the same places in the cache.
//
//     totals  | t0 t1 t2 ... |     one cache line of columns at a time
//                 ^
//     row r   | x  .  .      |  \.
//     row r+1 | x  .  .      |   >  eight rows: a tree, then one addition to the totals
//     ...     | x            |  /
//
// The last columns, less than a line, are copied beside zeros first, so that one loop does all.

// %%
//| export kernels/reductions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
constexpr std::int64_t kStrip = 64 / static_cast<std::int64_t>(sizeof(T));

// Calls f(at, step, rows, j) for each strip of columns j, j + 1, ..., and each group of at most eight rows, of which the first begins at `at`.
template <class T, class F>
HWY_INLINE void for_each_strip(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, F f) {
  for (std::int64_t r = 0; r < rows; r += 8, x += 8 * step) {
    const std::int64_t group = rows - r < 8 ? rows - r : 8;
    std::int64_t j = 0;
    for (; j + kStrip<T> <= columns; j += kStrip<T>) f(x + j, step, group, j, r);
    if (j == columns) continue;
    HWY_ALIGN T copy[8 * kStrip<T>] = {};
    for (std::int64_t i = 0; i < group; ++i)
      for (std::int64_t k = j; k < columns; ++k) copy[i * kStrip<T> + k - j] = x[i * step + k];
    f(static_cast<const T*>(copy), kStrip<T>, group, j, r);
  }
}

template <class T>
void add_rows(const T* x, std::int64_t x_step, std::int64_t all_rows, std::int64_t columns, double* totals) {
  for_each_strip(x, x_step, all_rows, columns, [totals](const T* at, std::int64_t step, std::int64_t rows, std::int64_t j, std::int64_t) HWY_ATTR {
    const Tag<T> d;
    for (std::int64_t k = 0; k < kStrip<T>; k += kLanes<T>, at += kLanes<T>) {
      if (rows == 8) {
        add_to(totals + j + k, sum_of_eight(hn::LoadU(d, at), hn::LoadU(d, at + step), hn::LoadU(d, at + 2 * step), hn::LoadU(d, at + 3 * step), hn::LoadU(d, at + 4 * step),
                                            hn::LoadU(d, at + 5 * step), hn::LoadU(d, at + 6 * step), hn::LoadU(d, at + 7 * step)));
      } else {
        for (std::int64_t r = 0; r < rows; ++r) add_to(totals + j + k, hn::LoadU(d, at + r * step));
      }
    }
  });
}

// Joins the moments of some columns with those of `rows` numbers around `center`, whose differences to it have these sums.
HWY_INLINE void join_moments(double* mean, double* squares, Vector<double> center, Vector<double> differences, Vector<double> difference_squares, double count, double rows) {
  const Tag<double> d;
  const Vector<double> left_over = hn::Mul(differences, hn::Set(d, 1 / rows));
  const Vector<double> rounded = hn::NegMulAdd(differences, left_over, difference_squares);
  const Vector<double> spread = hn::IfThenZeroElse(hn::Lt(rounded, hn::Zero(d)), rounded);  // below 0 by rounding only; NaN stays
  const Vector<double> before = hn::LoadU(d, mean);
  const Vector<double> delta = hn::Sub(hn::Add(center, left_over), before);
  hn::StoreU(hn::MulAdd(delta, hn::Set(d, rows / (count + rows)), before), d, mean);
  hn::StoreU(hn::Add(hn::LoadU(d, squares), hn::MulAdd(hn::Mul(delta, delta), hn::Set(d, count * rows / (count + rows)), spread)), d, squares);
}

// The sums of the differences of up to eight rows to their mean, and of their squares, for one vector of columns.
template <class T>
HWY_INLINE void absorb_rows(const T* at, std::int64_t step, std::int64_t rows, double* mean, double* squares, double count) {
  const Tag<T> d;
  const Tag<double> wide;
  Vector<T> sum = hn::LoadU(d, at);
  for (std::int64_t r = 1; r < rows; ++r) sum = hn::Add(sum, hn::LoadU(d, at + r * step));
  const Vector<T> center = hn::Mul(sum, hn::Set(d, T{1} / static_cast<T>(rows)));
  Vector<T> differences = hn::Zero(d);
  Vector<double> lower = hn::Zero(wide), upper = lower;
  for (std::int64_t r = 0; r < rows; ++r) {
    const Vector<T> difference = hn::Sub(hn::LoadU(d, at + r * step), center);
    differences = hn::Add(differences, difference);
    if constexpr (sizeof(T) == 4) {
      const Vector<double> a = lower_half(difference), b = upper_half(difference);
      lower = hn::MulAdd(a, a, lower);
      upper = hn::MulAdd(b, b, upper);
    } else {
      lower = hn::MulAdd(difference, difference, lower);
    }
  }
  const double added = static_cast<double>(rows);
  if constexpr (sizeof(T) == 4) {
    join_moments(mean, squares, lower_half(center), lower_half(differences), lower, count, added);
    if constexpr (kHasUpperHalf) join_moments(mean + kLanes<double>, squares + kLanes<double>, upper_half(center), upper_half(differences), upper, count, added);
  } else {
    join_moments(mean, squares, center, differences, lower, count, added);
  }
}

template <class T>
void moments_of_rows(const T* x, std::int64_t x_step, std::int64_t all_rows, std::int64_t columns, double* mean, double* squares, std::int64_t count) {
  for_each_strip(x, x_step, all_rows, columns, [=](const T* at, std::int64_t step, std::int64_t rows, std::int64_t j, std::int64_t before) HWY_ATTR {
    const double already = static_cast<double>(count + before);
    for (std::int64_t k = 0; k < kStrip<T>; k += kLanes<T>) {
      if (rows == 8) absorb_rows(at + k, step, 8, mean + j + k, squares + j + k, already);
      else absorb_rows(at + k, step, rows, mean + j + k, squares + j + k, already);
    }
  });
}

template <class T>
void extreme_of_rows(const T* x, std::int64_t x_step, std::int64_t all_rows, std::int64_t columns, T* best, Position<T>* position, std::int64_t first, bool largest) {
  const Tag<T> d;
  const Vector<T> sign = hn::Set(d, largest ? T{1} : T{-1});
  for_each_strip(x, x_step, all_rows, columns, [=](const T* at, std::int64_t step, std::int64_t rows, std::int64_t j, std::int64_t before) HWY_ATTR {
    const hn::RebindToSigned<Tag<T>> whole;
    for (std::int64_t k = 0; k < kStrip<T>; k += kLanes<T>) {
      auto where = hn::LoadU(whole, position + j + k);
      Vector<T> best_here = hn::LoadU(d, best + j + k), highest = hn::Mul(sign, best_here);
      for (std::int64_t r = 0; r < rows; ++r) {
        const Vector<T> candidate = hn::LoadU(d, at + k + r * step), height = hn::Mul(sign, candidate);
        const auto beats = hn::Or(hn::Gt(height, highest), hn::AndNot(hn::IsNaN(highest), hn::IsNaN(height)));
        best_here = hn::IfThenElse(beats, candidate, best_here);
        highest = hn::IfThenElse(beats, height, highest);
        where = hn::IfThenElse(hn::RebindMask(whole, beats), hn::Set(whole, static_cast<Position<T>>(first + before + r)), where);
      }
      hn::StoreU(best_here, d, best + j + k);
      hn::StoreU(where, whole, position + j + k);
    }
  });
}

template <bool kLargest, class T>
HWY_INLINE Vector<T> extreme_of_group(const T* at, std::int64_t step, std::int64_t rows, Vector<T> best) {
  const Tag<T> d;
  auto nans = hn::IsNaN(best);
  for (std::int64_t r = 0; r < rows; ++r) {
    const Vector<T> v = hn::LoadU(d, at + r * step);
    nans = hn::Or(nans, hn::IsNaN(v));
    best = kLargest ? hn::Max(best, v) : hn::Min(best, v);
  }
  return hn::IfThenElse(nans, hn::Set(d, static_cast<T>(__builtin_nan(""))), best);
}

template <bool kLargest, class T>
void extreme_values(const T* x, std::int64_t x_step, std::int64_t all_rows, std::int64_t columns, T* best) {
  for_each_strip(x, x_step, all_rows, columns, [best](const T* at, std::int64_t step, std::int64_t rows, std::int64_t j, std::int64_t) HWY_ATTR {
    const Tag<T> d;
    for (std::int64_t k = j; k < j + kStrip<T>; k += kLanes<T>, at += kLanes<T>) {
      const Vector<T> so_far = hn::LoadU(d, best + k);
      hn::StoreU(rows == 8 ? extreme_of_group<kLargest>(at, step, 8, so_far) : extreme_of_group<kLargest>(at, step, rows, so_far), d, best + k);
    }
  });
}

template <class T>
void extreme_values_of_rows(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* best, bool largest) {
  (largest ? extreme_values<true, T> : extreme_values<false, T>)(x, step, rows, columns, best);
}

template <class T>
constexpr ReductionTable<T> table_of() {
  return {sum<T>, four_sums<T>, sum_of_magnitudes<T>, sum_of_squares<T>, moments<T>, extreme<T>, add_rows<T>, moments_of_rows<T>, extreme_of_rows<T>, extreme_values_of_rows<T>};
}
}  // namespace

constinit const ReductionKernels reduction_kernels = {table_of<float>(), table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Any tensor as rows or columns
//
// A tensor has up to so many dimensions in any order of strides, some of which are reduced. Sorted by strides, with neighbours merged that follow each other in memory, nearly all of them become one of two forms, by what lies innermost:
//
//     x (8, 3, 32, 32).sum({0, 2, 3})     kept 3 | reduced 8, 1024        rows:    runs of 1024 numbers that are added up
//     x (512, 784).sum(0)                 kept 784 | reduced 512          columns: totals of 784, walked over 512 times
//     x (512, 784).t().sum(1)             the same memory, so the same form
//
// Everything else (an innermost stride that is not 1, as in `x[:, ::2]`, integers, empty tensors, errors) is handed down to the reference.

// %%
//| export kernels/reductions.cpp
namespace {
template <class T>
const kernels::ReductionTable<T>& reduction_table() {
  using namespace kernels;
  static constexpr const ReductionKernels* tables[] = TINYTORCH_PER_CAPABILITY(reduction_kernels);
  const ReductionKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

constexpr std::size_t kMostAxes = 8;

// A dimension to walk along: `step` numbers further in the tensor, `result_step` in the result.
struct Axis {
  std::int64_t size, step, result_step;
};

struct Axes {
  std::array<Axis, kMostAxes> axes;
  std::size_t count = 0;

  Axis& back() { return axes[count - 1]; }
  const Axis& back() const { return axes[count - 1]; }
  void add(Axis axis) { axes[count++] = axis; }
  std::int64_t numel() const {
    std::int64_t product = 1;
    for (std::size_t i = 0; i < count; ++i) product *= axes[i].size;
    return product;
  }
  Axes without_last() const {
    Axes rest = *this;
    if (rest.count > 0) --rest.count;
    return rest;
  }
};

struct Place {
  std::int64_t offset = 0, result = 0;
};

// Where place `i` is, counted with the last axis running fastest.
Place place_of(const Axes& axes, std::int64_t i) {
  Place place;
  for (std::size_t a = axes.count; a-- > 0;) {
    const Axis& axis = axes.axes[a];
    const std::int64_t at = a == 0 ? i : i % axis.size;
    if (a > 0) i /= axis.size;
    place.offset += at * axis.step;
    place.result += at * axis.result_step;
  }
  return place;
}

// The reduction of a tensor as loops, from the outermost in memory to the innermost.
struct ReductionPlan {
  Axes kept, reduced;
  bool rows = false;        // whether the innermost axis is a reduced one: runs; else it is kept: columns
  std::int64_t results = 1;  // how many numbers the result has
  std::int64_t count = 1;    // how many numbers make one of them
};

// None unless self is float or double, of this form and not empty. `dim` as in reductions: none is all.
std::optional<ReductionPlan> plan_reduction(const Tensor& self, IntArrayRef dim) {
  const ScalarType type = self.scalar_type();
  const std::size_t dims = self.sizes().size();
  if ((type != kFloat && type != kDouble) || dims == 0 || dims > kMostAxes || self.numel() == 0) return std::nullopt;
  std::array<bool, kMostAxes> is_reduced{};
  for (const std::int64_t d : dim) {
    const std::int64_t at = d < 0 ? d + self.dim() : d;
    if (at < 0 || at >= self.dim() || is_reduced[static_cast<std::size_t>(at)]) return std::nullopt;  // the reference says what is wrong
    is_reduced[static_cast<std::size_t>(at)] = true;
  }
  if (dim.empty()) is_reduced.fill(true);

  // Sort what is longer than 1 by strides, the largest first.
  struct Dimension {
    Axis axis;
    bool reduced;
  };
  std::array<Dimension, kMostAxes> sorted{};
  std::size_t count = 0;
  std::int64_t result_step = 1;
  for (std::size_t d = dims; d-- > 0;) {
    const std::int64_t size = self.sizes()[d], step = self.strides()[d];
    const bool reduced = is_reduced[d];
    if (size > 1) {
      if (step <= 0) return std::nullopt;
      std::size_t at = count++;
      for (; at > 0 && sorted[at - 1].axis.step <= step; --at) sorted[at] = sorted[at - 1];
      sorted[at] = {{size, step, reduced ? 0 : result_step}, reduced};
    }
    if (!reduced) result_step *= size;
  }

  ReductionPlan plan;
  for (std::size_t i = 0; i < count; ++i) {
    const Axis& axis = sorted[i].axis;
    Axes& axes = sorted[i].reduced ? plan.reduced : plan.kept;
    const bool follows = i > 0 && sorted[i - 1].reduced == sorted[i].reduced && axes.back().step == axis.step * axis.size && axes.back().result_step == axis.result_step * axis.size;
    if (follows) axes.back() = {axes.back().size * axis.size, axis.step, axis.result_step};
    else axes.add(axis);
    (sorted[i].reduced ? plan.count : plan.results) *= axis.size;
  }
  plan.rows = count == 0 || sorted[count - 1].reduced;
  if (count > 0 && sorted[count - 1].axis.step != 1) return std::nullopt;
  if (plan.reduced.count == 0) plan.reduced.add({1, 1, 0});  // only dimensions of size 1 are reduced
  return plan;
}

// The sizes of the result.
DimVector sizes_after(const Tensor& self, IntArrayRef dim, bool keepdim) {
  DimVector sizes;
  const std::int64_t dims = self.dim();
  for (std::int64_t d = 0; d < dims; ++d) {
    bool reduced = dim.empty();
    for (const std::int64_t r : dim) reduced = reduced || r == d || r + dims == d;
    if (!reduced) sizes.push_back(self.size(d));
    else if (keepdim) sizes.push_back(1);
  }
  return sizes;
}

template <class F>
void in_reduced_type(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}
}  // namespace

// %% [markdown]
// ## Pieces and threads
//
// Work is cut at places that follow from sizes. With enough results, threads divide the results. With few (the sum of everything is one), the reduced numbers are cut into segments as well, each with a partial result of its own, and the partial results are joined in order:
//
//     sum of 4 M numbers     | segment 0 | segment 1 | ... | segment 63 |       64 tasks, on any thread
//                                  s0    +     s1    + ... +     s63            one thread, in this order
//
// A run is walked in pieces that stay in the first cache, so a kernel may read its piece twice.
//
// Who reads a piece only once, as a sum does, should read several at a time. A processor fetches ahead along each stream of addresses that it sees, and one stream, that ends at every page, keeps too few lines under way: a sum of 512 MB in four streams, rows or pieces from four places of the task's part of memory, reads 21 GB/s where one stream reads 14 (one core, AVX2), and 39 instead of 27 where the
// numbers are in the last cache.

// %%
//| export kernels/reductions.cpp
namespace {
constexpr std::int64_t kPiece = 4096;        // numbers that stay in the first cache
constexpr std::int64_t kTaskWork = 1 << 16;  // numbers that are worth a task
constexpr std::int64_t kEnoughTasks = 32;    // for any number of threads

// In how many segments the `units` of one result are cut, of `unit` numbers each, when there are `tasks` tasks without that.
std::int64_t segments_of(std::int64_t tasks, std::int64_t units, std::int64_t unit) {
  if (tasks >= kEnoughTasks || tasks * units * unit <= kTaskWork) return 1;
  const std::int64_t per_segment = std::max<std::int64_t>(1, kTaskWork / unit);
  return std::max<std::int64_t>(1, std::min(kEnoughTasks * 2, (units + per_segment - 1) / per_segment));
}

// How many tasks of so much work are done together.
std::int64_t grain_of(std::int64_t work) { return std::max<std::int64_t>(1, kTaskWork / std::max<std::int64_t>(1, work)); }

// Calls f(task) for all tasks, some of them together if one has little work.
template <class F>
void for_tasks(std::int64_t tasks, std::int64_t work, F f) {
  parallel_for(0, tasks, grain_of(work), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) f(task);
  });
}

// For each result: join(partial, x, count, position) for each of its pieces in order, beginning with Partial(), then finish(place, partial). Partials of segments are joined by join(partial, other). If there is a
// join.four(runs, count), it makes the partials of four pieces at a time, each from Partial(): four streams keep memory busier than one.
template <class T, class Partial, class Join, class Finish>
void reduce_rows(const ReductionPlan& plan, const T* x, Join join, Finish finish) {
  const std::int64_t length = plan.reduced.back().size, pieces = (length + kPiece - 1) / kPiece;
  const Axes outer = plan.reduced.without_last();
  const std::int64_t units = outer.numel() * pieces;
  constexpr bool reads_four = requires(std::array<const T*, 4> runs) { join.four(runs, length); };
  const auto absorb = [&](Partial& partial, const T* from, std::int64_t first, std::int64_t stop) {
    for (std::int64_t unit = first; unit < stop;) {
      const std::int64_t begin = unit % pieces * kPiece;
      const std::int64_t run = pieces == units ? 0 : unit / pieces;
      const T* const at = from + (run == 0 ? 0 : place_of(outer, run).offset) + begin;
      if constexpr (reads_four) {
        // Of up to sixteen pieces, one of each quarter at a time; joined in their order.
        const std::int64_t quarter = std::min<std::int64_t>({4, (stop - unit) / 4, (length - begin) / kPiece / 4});
        if (quarter > 0) {
          std::array<Partial, 16> partials;
          for (std::int64_t p = 0; p < quarter; ++p) {
            std::array<const T*, 4> runs;
            for (std::size_t r = 0; r < 4; ++r) runs[r] = at + (static_cast<std::int64_t>(r) * quarter + p) * kPiece;
            const std::array<Partial, 4> four = join.four(runs, kPiece);
            for (std::size_t r = 0; r < 4; ++r) partials[r * static_cast<std::size_t>(quarter) + static_cast<std::size_t>(p)] = four[r];
          }
          for (std::int64_t p = 0; p < 4 * quarter; ++p) join(partial, partials[static_cast<std::size_t>(p)]);
          unit += 4 * quarter;
          continue;
        }
      }
      join(partial, at, std::min(kPiece, length - begin), run * length + begin);
      ++unit;
    }
  };
  const std::int64_t segments = segments_of(plan.results, units, std::min(length, kPiece));
  if (segments == 1) {
    const auto reduce = [&](std::int64_t i) {
      const Place place = place_of(plan.kept, i);
      Partial partial;
      absorb(partial, x + place.offset, 0, units);
      finish(place.result, partial);
    };
    parallel_for(0, plan.results, grain_of(plan.count), [&](std::int64_t first, std::int64_t stop) {
      std::int64_t i = first;
      if constexpr (reads_four) {
        // Where a row is a piece, one row of each quarter of the task's at a time.
        const std::int64_t quarter = units == 1 ? (stop - first) / 4 : 0;
        for (; i < first + quarter; ++i) {
          std::array<std::int64_t, 4> results;
          std::array<const T*, 4> runs;
          for (std::size_t r = 0; r < 4; ++r) {
            const Place place = place_of(plan.kept, i + static_cast<std::int64_t>(r) * quarter);
            results[r] = place.result;
            runs[r] = x + place.offset;
          }
          const std::array<Partial, 4> partials = join.four(runs, length);
          for (std::size_t r = 0; r < 4; ++r) finish(results[r], partials[r]);
        }
        i = first + 4 * quarter;
      }
      for (; i < stop; ++i) reduce(i);
    });
    return;
  }
  std::vector<Partial> partials(static_cast<std::size_t>(plan.results * segments));
  for_tasks(plan.results * segments, plan.count / segments, [&](std::int64_t task) {
    const std::int64_t s = task % segments;
    Partial partial;  // on this thread's stack, away from the others' cache lines
    absorb(partial, x + place_of(plan.kept, task / segments).offset, units * s / segments, units * (s + 1) / segments);
    partials[static_cast<std::size_t>(task)] = partial;
  });
  for (std::int64_t i = 0; i < plan.results; ++i) {
    Partial& partial = partials[static_cast<std::size_t>(i * segments)];
    for (std::int64_t s = 1; s < segments; ++s) join(partial, partials[static_cast<std::size_t>(i * segments + s)]);
    finish(place_of(plan.kept, i).result, partial);
  }
}

constexpr std::int64_t kColumns = 1024;  // whose totals stay in the first cache
constexpr std::int64_t kRowGroup = 64;   // rows of one call

// The same for columns. begin(columns) makes a partial result for up to kColumns columns, which has absorb(x, step, rows, columns, position) and join(other, columns); then finish(place, partial, column).
template <class T, class Begin, class Finish>
void reduce_columns(const ReductionPlan& plan, const T* x, Begin begin, Finish finish) {
  using Partial = decltype(begin(0));
  const Axis columns = plan.kept.back(), rows = plan.reduced.back();
  const Axes outer_kept = plan.kept.without_last(), outer_reduced = plan.reduced.without_last();
  const std::int64_t chunks = (columns.size + kColumns - 1) / kColumns, groups = (rows.size + kRowGroup - 1) / kRowGroup;
  const std::int64_t units = outer_reduced.numel() * groups, blocks = outer_kept.numel() * chunks;
  const std::int64_t width = std::min(columns.size, kColumns);
  const std::int64_t segments = segments_of(blocks, units, std::min(rows.size, kRowGroup) * width);
  // Columns `width * block` and on: units [first, stop) into `partial`.
  const auto absorb = [&](Partial& partial, std::int64_t block, std::int64_t first, std::int64_t stop) {
    const std::int64_t j = block % chunks * kColumns, count = std::min(kColumns, columns.size - j);
    const T* const from = x + place_of(outer_kept, block / chunks).offset + j;
    for (std::int64_t unit = first; unit < stop; ++unit) {
      const std::int64_t row = unit % groups * kRowGroup, outer = unit / groups;
      partial.absorb(from + place_of(outer_reduced, outer).offset + row * rows.step, rows.step, std::min(kRowGroup, rows.size - row), count, outer * rows.size + row);
    }
  };
  const auto write = [&](const Partial& partial, std::int64_t block) {
    const std::int64_t j = block % chunks * kColumns, count = std::min(kColumns, columns.size - j);
    const std::int64_t place = place_of(outer_kept, block / chunks).result + j * columns.result_step;
    for (std::int64_t k = 0; k < count; ++k) finish(place + k * columns.result_step, partial, static_cast<std::size_t>(k));
  };
  if (segments == 1) {
    for_tasks(blocks, plan.count * width, [&](std::int64_t block) {
      Partial partial = begin(width);
      absorb(partial, block, 0, units);
      write(partial, block);
    });
    return;
  }
  std::vector<Partial> partials(static_cast<std::size_t>(blocks * segments), begin(width));
  for_tasks(blocks * segments, plan.count * width / segments, [&](std::int64_t task) {
    const std::int64_t s = task % segments;
    absorb(partials[static_cast<std::size_t>(task)], task / segments, units * s / segments, units * (s + 1) / segments);
  });
  for (std::int64_t block = 0; block < blocks; ++block) {
    Partial& partial = partials[static_cast<std::size_t>(block * segments)];
    for (std::int64_t s = 1; s < segments; ++s) partial.join(partials[static_cast<std::size_t>(block * segments + s)], width);
    write(partial, block);
  }
}
}  // namespace

// %% [markdown]
// ## Sum and norm
//
// The p-norm is `(sum |x|^p)^(1/p)`. For p = 1 and 2 along rows, kernels add magnitudes and squares as they read. For other p, and across rows, it is made of operators that have kernels: powers, their sum, and a root. Those have the dtype of x, whose third powers end at 1e38 in float where x is 7e12, while the reference computes in double. So every sum is looked at: one near either end of the dtype, or one that is no number, is left to the reference.

// %%
//| export kernels/reductions.cpp
namespace {
using ColumnTotals = std::array<double, kColumns + kernels::kColumnPadding>;

void begin_totals(ColumnTotals& totals, std::int64_t columns) { std::fill_n(totals.begin(), columns + kernels::kColumnPadding, 0.0); }

template <class T>
struct ColumnSums {
  ColumnSums(const kernels::ReductionTable<T>& its_table, std::int64_t columns) : table(&its_table) { begin_totals(totals, columns); }
  const kernels::ReductionTable<T>* table;
  ColumnTotals totals;  // only as many as there are columns have values

  void absorb(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, std::int64_t) { table->add_rows(x, step, rows, columns, totals.data()); }
  void join(const ColumnSums& other, std::int64_t columns) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(columns); ++k) totals[k] += other.totals[k];
  }
};

struct RunSum {
  double value = 0;
};

// Joins sums of kernel(x).
template <class T>
struct SumJoin {
  double (*kernel)(const T* x, std::int64_t count);
  void operator()(RunSum& sum, const T* x, std::int64_t count, std::int64_t) const { sum.value += kernel(x, count); }
  void operator()(RunSum& sum, const RunSum& other) const { sum.value += other.value; }
};

// Joins sums.
template <class T>
struct PlainSumJoin : SumJoin<T> {
  void (*four_sums)(const T* const* runs, std::int64_t count, double* sums);
  std::array<RunSum, 4> four(const std::array<const T*, 4>& runs, std::int64_t count) const {
    double sums[4];
    four_sums(runs.data(), count, sums);
    return {RunSum{sums[0]}, RunSum{sums[1]}, RunSum{sums[2]}, RunSum{sums[3]}};
  }
};

// Writes f(the joined sum of each row).
template <class T, class Join, class F>
void sum_rows(const ReductionPlan& plan, const Tensor& self, const Tensor& result, Join join, F f) {
  T* const out = result.data<T>();
  reduce_rows<T, RunSum>(plan, self.data<T>(), join, [=](std::int64_t place, const RunSum& sum) { out[place] = static_cast<T>(f(sum.value)); });
}

Tensor sum_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return op::sum.function(Layer::CPU)(self, dim, keepdim);
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    const kernels::ReductionTable<T>& table = reduction_table<T>();
    if (plan->rows) return sum_rows<T>(*plan, self, result, PlainSumJoin<T>{{table.sum}, table.four_sums}, [](double sum) { return sum; });
    T* const out = result.data<T>();
    reduce_columns<T>(*plan, self.data<T>(), [&](std::int64_t columns) { return ColumnSums<T>(table, columns); },
                      [=](std::int64_t place, const ColumnSums<T>& sums, std::size_t k) { out[place] = static_cast<T>(sums.totals[k]); });
  });
  return result;
}

// By the kernels of powers and of sums. Nothing if a sum comes near to the ends of the dtype, where numbers may have left it on the way; the reference has double.
std::optional<Tensor> norm_by_powers(const Tensor& self, double p, IntArrayRef dim, bool keepdim) {
  const Tensor magnitudes = abs(self);
  const Tensor powers = p == 1 ? magnitudes : p == 2 ? magnitudes * magnitudes : p == 3 ? magnitudes * magnitudes * magnitudes : pow(magnitudes, p);
  const Tensor sums = op::sum(powers, dim, keepdim);
  bool inside = true;
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    using Limits = std::numeric_limits<T>;
    const T least = Limits::min() / (Limits::epsilon() * Limits::epsilon()), most = Limits::max();
    const T* const sum = sums.data<T>();
    inside = std::all_of(sum, sum + sums.numel(), [=](T s) { return s >= least && s <= most; });
  });
  if (!inside) return std::nullopt;
  return p == 1 ? sums : p == 2 ? sqrt(sums) : pow(sums, 1 / p);
}

// p = 1 and 2 over runs have kernels of their own.
Tensor norm_tuned(const Tensor& self, double p, IntArrayRef dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = p != 0 && std::isfinite(p) ? plan_reduction(self, dim) : std::nullopt;
  if (!plan) return op::norm.function(Layer::CPU)(self, p, dim, keepdim);
  if (!plan->rows || (p != 1 && p != 2)) {
    const std::optional<Tensor> norm = norm_by_powers(self, p, dim, keepdim);
    return norm ? *norm : op::norm.function(Layer::CPU)(self, p, dim, keepdim);
  }
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    const kernels::ReductionTable<T>& table = reduction_table<T>();
    if (p == 1) sum_rows<T>(*plan, self, result, SumJoin<T>{table.sum_of_magnitudes}, [](double sum) { return sum; });
    else sum_rows<T>(*plan, self, result, SumJoin<T>{table.sum_of_squares}, [](double sum) { return std::sqrt(sum); });
  });
  return result;
}
}  // namespace

// %% [markdown]
// ## Variance and standard deviation

// %%
//| export kernels/moments.h
namespace kernels {

// Mean and variance (divided by the count) of `self` over the dimensions `dim`, for each place that remains, in row-major order. Returns false, and writes nothing, where a tuned reduction would hand it down.
bool moments_over(const Tensor& self, IntArrayRef dim, double* means, double* variances);

}  // namespace kernels

// %%
//| export kernels/reductions.cpp
namespace {
struct CountedMoments {
  kernels::Moments moments;
  double count = 0;
};

// Joins b's numbers to a's.
void join_moments(CountedMoments& a, const kernels::Moments& b, double b_count) {
  const double total = a.count + b_count, delta = b.mean - a.moments.mean;
  a.moments.squares += b.squares + delta * delta * (a.count * b_count / total);
  a.moments.mean = a.count == 0 ? b.mean : a.moments.mean + delta * (b_count / total);
  a.count = total;
}

template <class T>
struct ColumnMoments {
  ColumnMoments(const kernels::ReductionTable<T>& its_table, std::int64_t columns) : table(&its_table) {
    begin_totals(mean, columns);
    begin_totals(squares, columns);
  }
  const kernels::ReductionTable<T>* table;
  std::int64_t count = 0;
  ColumnTotals mean, squares;

  void absorb(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, std::int64_t) {
    table->moments_of_rows(x, step, rows, columns, mean.data(), squares.data(), count);
    count += rows;
  }
  void join(const ColumnMoments& other, std::int64_t columns) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(columns); ++k) {
      CountedMoments joined{{mean[k], squares[k]}, static_cast<double>(count)};
      join_moments(joined, {other.mean[k], other.squares[k]}, static_cast<double>(other.count));
      mean[k] = joined.moments.mean;
      squares[k] = joined.moments.squares;
    }
    count += other.count;
  }
};

// write(place, mean, squares) for each result.
template <class T, class Write>
void walk_moments(const ReductionPlan& plan, const Tensor& self, Write write) {
  const kernels::ReductionTable<T>& table = reduction_table<T>();
  if (plan.rows) {
    struct Joining {
      const kernels::ReductionTable<T>& kernels;
      void operator()(CountedMoments& so_far, const T* x, std::int64_t count, std::int64_t) const { join_moments(so_far, kernels.moments(x, count), static_cast<double>(count)); }
      void operator()(CountedMoments& so_far, const CountedMoments& other) const { join_moments(so_far, other.moments, other.count); }
    };
    reduce_rows<T, CountedMoments>(plan, self.data<T>(), Joining{table}, [=](std::int64_t place, const CountedMoments& all) { write(place, all.moments.mean, all.moments.squares); });
  } else {
    reduce_columns<T>(
        plan, self.data<T>(), [&](std::int64_t columns) { return ColumnMoments<T>(table, columns); },
        [=](std::int64_t place, const ColumnMoments<T>& all, std::size_t k) { write(place, all.mean[k], all.squares[k]); });
  }
}

// f(variance) for each result.
template <class F>
Tensor variances(const ReductionPlan& plan, const Tensor& self, IntArrayRef dim, double correction, bool keepdim, F f) {
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  const double divisor = std::max(0.0, static_cast<double>(plan.count) - correction);
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    walk_moments<T>(plan, self, [=, out = result.data<T>()](std::int64_t place, double, double squares) { out[place] = static_cast<T>(f(squares / divisor)); });
  });
  return result;
}
}  // namespace

bool kernels::moments_over(const Tensor& self, IntArrayRef dim, double* means, double* variances) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return false;
  const auto count = static_cast<double>(plan->count);
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    walk_moments<T>(*plan, self, [=](std::int64_t place, double mean, double squares) {
      means[place] = mean;
      variances[place] = squares / count;
    });
  });
  return true;
}

namespace {
Tensor var_tuned(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return op::var.function(Layer::CPU)(self, dim, correction, keepdim);
  return variances(*plan, self, dim, correction, keepdim, [](double variance) { return variance; });
}
Tensor std_tuned(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  if (!plan) return op::std.function(Layer::CPU)(self, dim, correction, keepdim);
  return variances(*plan, self, dim, correction, keepdim, [](double variance) { return std::sqrt(variance); });
}
}  // namespace

// %% [markdown]
// ## Maximum and minimum

// %%
//| export kernels/reductions.cpp
namespace {
template <class T>
struct Extreme {
  T value{};
  std::int64_t position = -1;  // none yet
};

// Whether x takes the place of the best: NaN beats all, and the first of equals stays.
template <class T>
bool beats(T x, T best, bool largest) {
  return x != x ? best == best : largest ? x > best : x < best;
}

template <class T>
struct ExtremeOfRuns {
  const kernels::ReductionTable<T>& table;
  bool largest;
  void operator()(Extreme<T>& so_far, const T* x, std::int64_t count, std::int64_t position) const {
    const std::int64_t at = table.extreme(x, count, largest);
    (*this)(so_far, Extreme<T>{x[at], position + at});
  }
  void operator()(Extreme<T>& so_far, const Extreme<T>& other) const {
    if (so_far.position < 0 || beats(other.value, so_far.value, largest)) so_far = other;
  }
};

template <class T>
struct ColumnExtremes {
  ColumnExtremes(const kernels::ReductionTable<T>& its_table, std::int64_t columns, bool the_largest, bool with_positions) : table(&its_table), largest(the_largest), has_positions(with_positions) {
    std::fill_n(best.begin(), columns + kernels::kColumnPadding, T{0});
    std::fill_n(positions.begin(), columns + kernels::kColumnPadding, 0);
  }
  const kernels::ReductionTable<T>* table;
  bool largest, has_positions;
  bool empty = true;
  std::array<T, kColumns + kernels::kColumnPadding> best;
  std::array<kernels::Position<T>, kColumns + kernels::kColumnPadding> positions;

  void absorb(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, std::int64_t position) {
    if (empty) {
      std::copy(x, x + columns, best.begin());
      std::fill_n(positions.begin(), columns, static_cast<kernels::Position<T>>(position));
      empty = false;
    }
    if (has_positions) table->extreme_of_rows(x, step, rows, columns, best.data(), positions.data(), position, largest);
    else table->extreme_values_of_rows(x, step, rows, columns, best.data(), largest);
  }
  void join(const ColumnExtremes& other, std::int64_t columns) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(columns); ++k)
      if (beats(other.best[k], best[k], largest)) {
        best[k] = other.best[k];
        positions[k] = other.positions[k];
      }
  }
};

// Writes the extremes and their positions; either may be undefined. Positions are right for one reduced dimension.
void extremes(const ReductionPlan& plan, const Tensor& self, bool largest, const Tensor& values, const Tensor& indices) {
  in_reduced_type(self.scalar_type(), [&]<class T>() {
    const kernels::ReductionTable<T>& table = reduction_table<T>();
    T* const value = values.defined() ? values.data<T>() : nullptr;
    std::int64_t* const index = indices.defined() ? indices.data<std::int64_t>() : nullptr;
    const auto write = [=](std::int64_t place, T best, std::int64_t position) {
      if (value != nullptr) value[place] = best;
      if (index != nullptr) index[place] = position;
    };
    if (plan.rows) {
      reduce_rows<T, Extreme<T>>(plan, self.data<T>(), ExtremeOfRuns<T>{table, largest}, [=](std::int64_t place, const Extreme<T>& best) { write(place, best.value, best.position); });
    } else {
      reduce_columns<T>(plan, self.data<T>(), [&](std::int64_t columns) { return ColumnExtremes<T>(table, columns, largest, index != nullptr); },
                        [=](std::int64_t place, const ColumnExtremes<T>& best, std::size_t k) { write(place, best.best[k], best.positions[k]); });
    }
  });
}

// As for other reductions; positions of columns are as wide as the numbers.
std::optional<ReductionPlan> plan_extremes(const Tensor& self, IntArrayRef dim) {
  const std::optional<ReductionPlan> plan = plan_reduction(self, dim);
  return plan && plan->count <= std::numeric_limits<std::int32_t>::max() ? plan : std::nullopt;
}

template <bool kLargest>
Tensor extreme_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_extremes(self, dim);
  if (!plan) return (kLargest ? op::amax : op::amin).function(Layer::CPU)(self, dim, keepdim);
  const Tensor result = empty(sizes_after(self, dim, keepdim), self.scalar_type());
  extremes(*plan, self, kLargest, result, Tensor());
  return result;
}

template <bool kLargest>
std::tuple<Tensor, Tensor> extreme_and_index_tuned(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_extremes(self, {dim});
  if (!plan) return (kLargest ? op::max : op::min).function(Layer::CPU)(self, dim, keepdim);
  const DimVector sizes = sizes_after(self, {dim}, keepdim);
  const Tensor values = empty(sizes, self.scalar_type()), indices = empty(sizes, kLong);
  extremes(*plan, self, kLargest, values, indices);
  return {values, indices};
}

template <bool kLargest>
Tensor extreme_index_tuned(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::optional<ReductionPlan> plan = plan_extremes(self, {dim});
  if (!plan) return (kLargest ? op::argmax : op::argmin).function(Layer::CPU)(self, dim, keepdim);
  const Tensor indices = empty(sizes_after(self, {dim}, keepdim), kLong);
  extremes(*plan, self, kLargest, Tensor(), indices);
  return indices;
}
}  // namespace

// %%
//| export kernels/reductions.cpp
//| registers
void register_tuned_reductions() {
  op::sum.set(Layer::TunedCPU, sum_tuned);
  op::norm.set(Layer::TunedCPU, norm_tuned);
  op::var.set(Layer::TunedCPU, var_tuned);
  op::std.set(Layer::TunedCPU, std_tuned);
  op::amax.set(Layer::TunedCPU, extreme_tuned<true>);
  op::amin.set(Layer::TunedCPU, extreme_tuned<false>);
  op::max.set(Layer::TunedCPU, extreme_and_index_tuned<true>);
  op::min.set(Layer::TunedCPU, extreme_and_index_tuned<false>);
  op::argmax.set(Layer::TunedCPU, extreme_index_tuned<true>);
  op::argmin.set(Layer::TunedCPU, extreme_index_tuned<false>);
}

// %%
//| lesson
// The reference's results of f().
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard reference;
  return f();
}

// Runs f once for each capability of this machine.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// Runs f with this many threads.
template <class F>
auto with_threads(int threads, F f) {
  const int before = get_num_threads();
  set_num_threads(threads);
  auto result = f();
  set_num_threads(before);
  return result;
}

struct Reduced {
  Tensor x;
  DimVector dim;
};

// Rows, columns, both, of odd lengths, transposed, beginning in the middle, with gaps, long enough for several segments.
std::vector<Reduced> reductions(ScalarType type) {
  manual_seed(77);
  const Tensor image = randn({3, 5, 7, 9}, type), matrix = randn({37, 131}, type), wide = randn({67, 1203}, type);
  const auto sliced = [](const Tensor& x, std::int64_t dim, std::int64_t first, std::int64_t stop) { return x.slice(dim, first, stop); };
  return {{image, {}},          {image, {1}},        {image, {3}},      {image, {0, 2, 3}}, {image, {1, 2}},  {image.permute({0, 2, 3, 1}), {0, 1, 2}}, {image.permute({3, 1, 0, 2}), {1, 3}}, {matrix, {0}},
          {matrix, {1}},        {matrix.t(), {1}},   {wide, {0}},       {wide, {1}},        {wide, {0, 1}},   {sliced(matrix, 1, 1, 100), {0}},         {sliced(matrix, 1, 3, 20), {1}},       {sliced(matrix, 0, 5, 9), {}},
          {randn({1}, type), {0}}, {randn({2, 1, 3}, type), {1}}, {randn({300000}, type), {}}, {randn({70000, 3}, type), {0}}, {randn({2, 70001}, type), {1}}, {randn({3, 3000, 5, 4}, type), {0, 2}}};
}

// All reductions of one tensor.
std::vector<Tensor> all_reductions(const Tensor& x, const DimVector& dim) {
  std::vector<Tensor> all{op::sum(x, dim, false), op::var(x, dim, 1, true), op::std(x, dim, 0, false), op::amax(x, dim, true), op::amin(x, dim, false), op::norm(x, 1, dim, false), op::norm(x, 2, dim, true)};
  if (dim.size() != 1) return all;
  const auto [largest, at] = op::max(x, dim[0], false);
  const auto [smallest, low] = op::min(x, dim[0], true);
  for (const Tensor& t : {largest, at, smallest, low, op::argmax(x, dim[0], false), op::argmin(x, dim[0], false)}) all.push_back(t);
  return all;
}

// %%
TEST_CASE("reductions: what the reference gives, for all forms of tensors") {
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const Reduced& r : reductions(type)) {
      CAPTURE(r.x.sizes());
      CAPTURE(r.dim);
      const std::vector<Tensor> expected = by_reference([&] { return all_reductions(r.x, r.dim); });
      for_each_capability([&] {
        const std::vector<Tensor> tuned = all_reductions(r.x, r.dim);
        const double tolerance = type == kFloat ? 1e-6 : 1e-13;
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance * (i == 0 ? 100 : 1));
      });
    }
  }
}

TEST_CASE("reductions: the same bits for any number of threads") {
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const Reduced& r : reductions(type)) {
      CAPTURE(r.x.sizes());
      const std::vector<Tensor> alone = with_threads(1, [&] { return all_reductions(r.x, r.dim); });
      for (const int threads : {2, 3, 7}) {
        const std::vector<Tensor> together = with_threads(threads, [&] { return all_reductions(r.x, r.dim); });
        for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
      }
    }
  }
}

TEST_CASE("reductions: NaN, infinities and zeros of both signs") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const double odd : {nan, infinity, -infinity, 0.0, -0.0}) {
    for (const std::int64_t place : {0, 1, 7, 8, 30, 36}) {
      for (const ScalarType type : {kFloat, kDouble}) {
        const Tensor x = (arange(37 * 3).remainder(5) - 2).to(type).view({37, 3});
        x.select(0, place).select(0, 1).fill_(odd);
        if (place > 7) x.select(0, 3).select(0, 1).fill_(odd);
        for (const Tensor& t : {x, x.t().contiguous().t(), x.t().contiguous(), x.t()}) {
          for (const std::int64_t dim : {0, 1}) {
            const std::vector<Tensor> expected = by_reference([&] { return all_reductions(t, {dim}); });
            for_each_capability([&] {
              const std::vector<Tensor> tuned = all_reductions(t, {dim});
              for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], 1e-6, 1e-7);
            });
          }
        }
      }
    }
  }
}

TEST_CASE("variance: a mean that is large beside the spread, and squares that are no floats") {
  manual_seed(5);
  const Tensor spread = randn({1000, 40}, kDouble);
  const Tensor x = (spread + 10000.0).to(kFloat);
  for (const std::int64_t dim : {0, 1}) {
    const Tensor exact = x.to(kDouble).var(DimVector{dim}, true);
    for_each_capability([&] { CHECK_CLOSE(op::var(x, {dim}, 1, false).to(kDouble), exact, 1e-6, 0.0); });
  }
  const Tensor large = full({100}, 1e30, kFloat);
  for_each_capability([&] {
    CHECK_CLOSE(op::norm(large, 2, {}, false), full({}, 1e31, kFloat), 1e-6, 0.0);
    CHECK_EQ(op::var(large, {}, 1, false), zeros({}));
  });
}

TEST_CASE("norm: of any p, along rows and columns, and where powers leave the dtype") {
  manual_seed(79);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 2e-6 : 1e-13;
    const Tensor x = randn({40, 6, 70}, type);
    Tensor broken = x.clone();
    broken[3].fill_(0);
    broken[4].mul_(type == kFloat ? 1e30 : 1e200);
    broken[5].mul_(type == kFloat ? 1e-30 : 1e-200);
    broken[6].fill_(std::numeric_limits<double>::quiet_NaN());
    broken[7].fill_(std::numeric_limits<double>::infinity());
    for (const double p : {0.5, 1.0, 1.5, 2.0, 3.0, 4.0, -1.0, -2.5}) {
      CAPTURE(p);
      for (const DimVector& dim : {DimVector{}, DimVector{0}, DimVector{1}, DimVector{-1}, DimVector{0, 2}}) {
        for (const Tensor& view : {x, x.transpose(0, 2), x.slice(2, 0, 70, 3)}) {
          const Tensor expected = op::norm.function(Layer::CPU)(view, p, dim, true);
          for_each_capability([&] { CHECK_CLOSE(op::norm(view, p, dim, true), expected, tolerance, 0.0); });
        }
      }
      CHECK_CLOSE(op::norm(broken, p, {1, 2}, false), op::norm.function(Layer::CPU)(broken, p, {1, 2}, false), tolerance, 0.0);
    }
  }
}

TEST_CASE("sum: a million floats lose nothing") {
  // 0.1f is not 1/10; what is summed is exactly 2^20 times the float.
  const Tensor x = full({1 << 20}, 0.1f, kFloat);
  for_each_capability([&] { CHECK_EQ(x.sum().item<double>(), static_cast<double>(0.1f) * (1 << 20)); });
}

TEST_CASE("sum: rows and pieces that are summed in fours are what each gives alone") {
  manual_seed(78);
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor rows = randn({133, 901}, type), pieces = randn({2, 4096 * 37 + 11}, type);
    for_each_capability([&] {
      const Tensor sums = rows.sum(1);
      for (std::int64_t i = 0; i < rows.size(0); ++i) CHECK_EQ(sums[i], rows[i].sum());
      // Two rows are cut into segments of some pieces; a piece that is missing, or there twice, shows.
      Tensor whole = zeros({}, kDouble);
      for (std::int64_t at = 0; at < pieces.size(1); at += 4096) whole = whole + pieces[1].slice(0, at, std::min<std::int64_t>(at + 4096, pieces.size(1))).to(kDouble).sum();
      CHECK_CLOSE(pieces.sum(1)[1].to(kDouble), whole, 0, type == kFloat ? 1e-3 : 1e-10);
    });
  }
  // Every number once, in a sum that is exact.
  CHECK_EQ(arange(1 << 19, kDouble).sum().item<double>(), static_cast<double>((std::int64_t{1} << 19) - 1) * (1 << 18));
}

// %% [markdown]
// ## Softmax: three walks over a cached row, one over memory
//
// `softmax(x) = exp(x - m) / s` with the row's maximum m and `s = sum of exp(x - m)`. Three walks: the maximum; exponentials, which are written, and their sum; division. A row of some thousand numbers stays in the first cache meanwhile, so memory sees one read and one write.
//
// A row that the cache does not hold (a vocabulary of 50,000 words, in float64) would come from memory three times. There module 02's *online* form is used, on pieces: the sum of a piece is taken against the piece's own maximum, and the sum so far shrinks when a larger maximum comes. Then only one more walk writes the
// results; the exponentials are computed twice, which is cheaper than fetching:
//
//     piece 0            piece 1              piece 2
//     m0, s0   -->  m = max(m0, m1)   -->  ...                  then  out = exp(x - m) / s
//                   s = s0 exp(m0 - m) + s1
//
// ### Three rows under way
//
// Walks that come one after the other use the processor one-sidedly: the first only reads, the second only computes, the third only writes, and memory waits for its turn. Rows do not depend on each other, though. So the walks of three rows are made one loop, in which something of each kind is always at hand, and the processor, which looks some hundred instructions ahead, does them side by side:
//
//     row r - 1    read again from the first cache, scaled, written
//     row r        exponentials, their sum
//     row r + 1    its maximum
//     four pages further on, into the second cache:  what memory should bring meanwhile
//
// This is *software pipelining*, which compilers do within a loop and here goes across three. The instruction that asks ahead has lines fetched into the second cache only: a core has few places for lines on their way into the first cache, and a line from memory holds one of them all the while; the second cache has more (16 and 48 in the cores of Intel's servers since 2021). Asked for into the first, `cross_entropy` took 43.8 ms instead of 40.4.
// Asking two pages in turns gained another fiftieth, for memory reads from several of its banks at once.
//
//     512 MB, rows of 1,024 floats, one core      softmax    cross_entropy    layer_norm (chapter 87)
//     three walks one after the other, the next
//     row asked for in the one that computes most   62 ms        55 ms            57 ms
//     three rows under way                          49           39               49
//     moving the bytes and nothing else             45           34               45
//
// Rows that no near cache holds three of go the old way.
//
// An exponential of a softmax has fewer operations than `exp` (chapter 76). Its argument is never above 0, so the power of two is never too large, and it is cut off where the power's bits become those of 0, so that no comparison makes the result 0. NaN is not looked for either: whether or not the maximum takes notice of it, its own exponential is NaN, and so is the sum.
//
// ### Columns
//
// Along another dimension than the last, a tensor is a stack of matrices whose *columns* become probabilities. The walks are the same three, and go along the rows, as for sums of columns: a strip of 256 columns has a maximum and a total for each of them in the first cache. Four rows are taken at a time. Their exponentials are added in float
// and then to the totals in double, which are loaded and stored once for four numbers:
//
//     maxima  | m0 m1 m2 ... |      1st walk: the largest of four rows and m
//     totals  | s0 s1 s2 ... |      2nd walk: out = exp(x - m), and (e0 + e1) + (e2 + e3) is added to s
//                 ^                 3rd walk: out * (1 / s)
//     row r   | x  .  .      |  \.
//     row r+1 | x  .  .      |   >  four rows
//     ...     | x            |  /
//
// When the columns do not fill the last vector, it begins earlier and holds some of the columns before it a second time. No lane is ever idle, and both results for such a column are the same bits. Fewer than 16 columns, which may be less than a vector, are handed down.
//
// `log_softmax` writes `x - m - log(s)`, cross-entropy needs m and s only and writes nothing. The backward passes are of the same kind: a sum along the row, and a walk that writes. Along columns they take the same strips, with a total for each column.

// %%
//| export kernels/softmax_kernels.h
namespace kernels {

// A softmax along columns takes so many in one call, and fewer than kFewestColumns more; or fewer, but no fewer than kFewestColumns, a vector of any capability.
inline constexpr std::int64_t kSoftmaxColumns = 256, kFewestColumns = 16;

// The first three take `rows` > 0 rows of `count` > 0 numbers that follow each other, the gradients one row. With `beyond_cache` results are written past the caches, and a task ends with flush(). O(rows * count).
template <class T>
struct SoftmaxTable {
  // For each row its maximum, and the logarithm of the sum of exp(x - maximum).
  void (*sums)(const T* x, std::int64_t rows, std::int64_t count, double* maxima, double* log_sums);
  // factors[row] * softmax(x), without them softmax(x).
  void (*softmax)(const T* x, std::int64_t rows, std::int64_t count, const T* factors, bool beyond_cache, T* out);
  void (*log_softmax)(const T* x, std::int64_t rows, std::int64_t count, bool beyond_cache, T* out);
  // result * (grad - sum of grad * result) and grad - exp(result) * sum of grad.
  void (*softmax_backward)(const T* grad, const T* result, std::int64_t count, T* out);
  void (*log_softmax_backward)(const T* grad, const T* result, std::int64_t count, T* out);
  // Along each column of a matrix whose rows are `step` numbers apart, in x and in out. REQUIRES: rows > 0, kFewestColumns <= columns < kSoftmaxColumns + kFewestColumns.
  void (*softmax_of_columns)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*log_softmax_of_columns)(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*softmax_backward_of_columns)(const T* grad, const T* result, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*log_softmax_backward_of_columns)(const T* grad, const T* result, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out);
  void (*flush)();
};

struct SoftmaxKernels {
  SoftmaxTable<float> in_float;
  SoftmaxTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(SoftmaxKernels, softmax_kernels)

}  // namespace kernels

// %%
//| export kernels/softmax.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
constexpr std::int64_t kShortRow = 8192;   // numbers that a near cache holds
constexpr std::int64_t kRowPiece = 2048;

template <class T>
HWY_INLINE T largest_of(const T* x, std::int64_t count) {
  Largest<T> largest;
  largest.see(x, count);
  return largest.value();
}

template <class T>
bool has_nan(const T* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    if (x[i] != x[i]) return true;
  return false;
}

// The sum of exp(x - maximum), and meanwhile the largest of the `behind` numbers that follow. use(i, exponentials, lanes) sees each vector of them.
template <class T, class Use>
HWY_INLINE double sum_of_exponentials(const T* x, std::int64_t count, T maximum, std::int64_t behind, T* largest_behind, Use use) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  const Vector<T> m = hn::Set(d, maximum);
  const T* const next = x + count;
  Largest<T> largest;
  Totals<T> totals;
  const auto one = [&](std::int64_t i) HWY_ATTR {
    const Vector<T> e = ExpBelowZero(d, hn::Sub(hn::LoadU(d, x + i), m));
    use(i, e, L);
    return e;
  };
  std::int64_t i = 0, seen = 0;
  for (; i + 8 * L <= count; i += 8 * L) {
    fetch_far_ahead<8 * L>(x + i);
    totals.add(sum_of_eight(one(i), one(i + L), one(i + 2 * L), one(i + 3 * L), one(i + 4 * L), one(i + 5 * L), one(i + 6 * L), one(i + 7 * L)));
    if (i + 8 * L <= behind) largest.see_eight_vectors(next + i), seen += 8 * L;
  }
  for (; i + L <= count; i += L) totals.add(one(i));
  if (i < count) {
    const Vector<T> e = ExpBelowZero(d, hn::Sub(load_some(x + i, count - i, -kInfinity<T>), m));
    use(i, e, count - i);
    totals.add(e);
  }
  largest.see(next + seen, behind - seen);
  *largest_behind = largest.value();
  return totals.total();
}

struct UseNothing {
  template <class V>
  HWY_INLINE void operator()(std::int64_t, V, std::int64_t) const {}
};

template <class T>
HWY_INLINE double exponential(double x) {
  return static_cast<double>(hn::GetLane(Exp(Tag<double>(), hn::Set(Tag<double>(), x))));
}

// See SoftmaxTable. In pieces: each is read twice while the cache holds it.
template <class T>
void row_sums(const T* x, std::int64_t rows, std::int64_t count, double* maxima, double* log_sums) {
  const auto piece_at = [=](std::int64_t row, std::int64_t i) { return row == rows ? 0 : count - i < kRowPiece ? count - i : kRowPiece; };
  T highest = largest_of(x, piece_at(0, 0));
  for (std::int64_t row = 0; row < rows; ++row) {
    T maximum = -kInfinity<T>;
    double sum = 0;
    for (std::int64_t i = 0; i < count; i += kRowPiece) {
      const std::int64_t length = piece_at(row, i), behind = i + length < count ? piece_at(row, i + length) : piece_at(row + 1, 0);
      T highest_behind;
      if (highest == -kInfinity<T>) {  // adds nothing
        if (has_nan(x, length)) sum = __builtin_nan("");
        highest_behind = largest_of(x + length, behind);
      } else {
        if (!(highest <= maximum)) {
          if (sum != 0) sum *= exponential<T>(static_cast<double>(maximum) - static_cast<double>(highest));
          maximum = highest;
        }
        sum += sum_of_exponentials(x, length, maximum, behind, &highest_behind, UseNothing());
      }
      highest = highest_behind;
      x += length;
    }
    maxima[row] = static_cast<double>(maximum);
    log_sums[row] = sum;
  }
  for_each_vector(static_cast<const double*>(log_sums), rows, [=](std::int64_t i, Vector<double> sum, std::int64_t lanes) HWY_ATTR { put(Log(Tag<double>(), sum), log_sums + i, lanes); });
}

// Rows of at most kShortRow numbers, three of them under way at once: while the exponentials of one are added, the maximum of the next is looked for, and the one before is finished and written. exponentials_at(row) is where a row's are kept, or nullptr; finish(row, maximum, sum) returns what writes a vector of that row when it is called as write(i, lanes).
template <bool kBeyondCache, class T, class At, class Finish>
HWY_INLINE void for_rows_under_way(const T* x, std::int64_t rows, std::int64_t count, At exponentials_at, Finish finish) {
  const auto keep = [](T* to, std::int64_t i, Vector<T> e, std::int64_t lanes) HWY_ATTR {
    if (to == nullptr) return;
    if constexpr (kBeyondCache) put(e, to + i, lanes);
    else write_lanes<false>(e, to + i, lanes);
  };
  T maximum = largest_of(x, count), next;
  T* to = exponentials_at(0);
  double sum = sum_of_exponentials(x, count, maximum, rows > 1 ? count : 0, &next, [=](std::int64_t i, Vector<T> e, std::int64_t lanes) HWY_ATTR { keep(to, i, e, lanes); });
  auto write = finish(0, maximum, sum);
  for (std::int64_t row = 1; row < rows; ++row) {
    maximum = next;
    to = exponentials_at(row);
    sum = sum_of_exponentials(x + row * count, count, maximum, row + 1 < rows ? count : 0, &next, [=](std::int64_t i, Vector<T> e, std::int64_t lanes) HWY_ATTR {
      write(i, lanes);
      keep(to, i, e, lanes);
    });
    write = finish(row, maximum, sum);
  }
  for (std::int64_t i = 0; i < count; i += kLanes<T>) write(i, count - i < kLanes<T> ? count - i : kLanes<T>);
}

// One row's results: its exponentials, scaled; or its numbers, less two.
template <bool kBeyondCache, class T>
struct WriteScaled {
  const T* exponentials;
  T scale;
  T* out;
  HWY_INLINE void operator()(std::int64_t i, std::int64_t lanes) const {
    const Vector<T> result = hn::Mul(load_lanes(exponentials + i, lanes), hn::Set(Tag<T>(), scale));
    if constexpr (kBeyondCache) write_lanes<true>(result, out + i, lanes);
    else put(result, out + i, lanes);  // over the exponentials, whose line is at hand
  }
};
template <bool kBeyondCache, class T>
struct WriteLogarithms {
  const T* x;
  T maximum, log_sum;
  T* out;
  HWY_INLINE void operator()(std::int64_t i, std::int64_t lanes) const {
    write_lanes<kBeyondCache>(hn::Sub(hn::Sub(load_lanes(x + i, lanes), hn::Set(Tag<T>(), maximum)), hn::Set(Tag<T>(), log_sum)), out + i, lanes);
  }
};

template <class T>
HWY_INLINE T log_of(double x) {
  return static_cast<T>(hn::GetLane(Log(Tag<double>(), hn::Set(Tag<double>(), x))));
}

template <bool kBeyondCache, class T>
void short_softmax(const T* x, std::int64_t rows, std::int64_t count, const T* factors, T* out) {
  // Where the results are; of those that pass the caches by, in two rows that stay there.
  HWY_ALIGN T kept[kBeyondCache ? 2 : 1][kBeyondCache ? kShortRow : 1];
  const auto exponentials_at = [&](std::int64_t row) { return kBeyondCache ? kept[row % 2] : out + row * count; };
  for_rows_under_way<kBeyondCache>(x, rows, count, exponentials_at, [&](std::int64_t row, T, double sum) {
    const double factor = factors == nullptr ? 1.0 : static_cast<double>(factors[row]);
    return WriteScaled<kBeyondCache, T>{exponentials_at(row), static_cast<T>(factor / sum), out + row * count};
  });
}

template <class T>
void softmax(const T* x, std::int64_t rows, std::int64_t count, const T* factors, bool beyond_cache, T* out) {
  if (count <= kShortRow) return beyond_cache && is_aligned_row(out, count) ? short_softmax<true>(x, rows, count, factors, out) : short_softmax<false>(x, rows, count, factors, out);
  for (std::int64_t row = 0; row < rows; ++row, x += count, out += count) {
    const Tag<T> d;
    double maximum, log_sum;
    row_sums(x, 1, count, &maximum, &log_sum);
    const double factor = factors == nullptr ? 1.0 : static_cast<double>(factors[row]);
    const Vector<T> scale = hn::Set(d, static_cast<T>(factor * exponential<T>(-log_sum))), m = hn::Set(d, static_cast<T>(maximum));
    write_vectors(x, count, out, beyond_cache, [=](std::int64_t, Vector<T> v, std::int64_t) HWY_ATTR { return hn::Mul(ExpBelowZero(Tag<T>(), hn::Sub(v, m)), scale); });
  }
}

template <bool kBeyondCache, class T>
void short_log_softmax(const T* x, std::int64_t rows, std::int64_t count, T* out) {
  for_rows_under_way<kBeyondCache>(x, rows, count, [](std::int64_t) -> T* { return nullptr; }, [=](std::int64_t row, T maximum, double sum) {
    return WriteLogarithms<kBeyondCache, T>{x + row * count, maximum, log_of<T>(sum), out + row * count};
  });
}

template <class T>
void log_softmax(const T* x, std::int64_t rows, std::int64_t count, bool beyond_cache, T* out) {
  if (count <= kShortRow) return beyond_cache && is_aligned_row(out, count) ? short_log_softmax<true>(x, rows, count, out) : short_log_softmax<false>(x, rows, count, out);
  for (std::int64_t row = 0; row < rows; ++row, x += count, out += count) {
    const Tag<T> d;
    double maximum, log_sum;
    row_sums(x, 1, count, &maximum, &log_sum);
    const Vector<T> m = hn::Set(d, static_cast<T>(maximum)), l = hn::Set(d, static_cast<T>(log_sum));
    write_vectors(x, count, out, beyond_cache, [=](std::int64_t, Vector<T> v, std::int64_t) HWY_ATTR { return hn::Sub(hn::Sub(v, m), l); });
  }
}

template <class T>
void softmax_backward(const T* grad, const T* result, std::int64_t count, T* out) {
  const Tag<T> d;
  Totals<T> totals;
  for_each_vector(grad, count, [&](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    totals.add(hn::Mul(g, load_lanes(result + i, lanes)));
  });
  const Vector<T> total = hn::Set(d, static_cast<T>(totals.total()));
  for_each_vector(grad, count, [=](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    const Vector<T> y = load_lanes(result + i, lanes);
    put(hn::Mul(y, hn::Sub(g, total)), out + i, lanes);
  });
}

template <class T>
void log_softmax_backward(const T* grad, const T* result, std::int64_t count, T* out) {
  const Tag<T> d;
  Totals<T> totals;
  for_each_vector(grad, count, [&](std::int64_t, Vector<T> g, std::int64_t) HWY_ATTR { totals.add(g); });
  const Vector<T> total = hn::Set(d, static_cast<T>(totals.total()));
  for_each_vector(grad, count, [=](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    const Vector<T> y = load_lanes(result + i, lanes);
    put(hn::NegMulAdd(ExpBelowZero(Tag<T>(), y), total, g), out + i, lanes);
  });
}

// What a softmax keeps of each column, for whole vectors of them. If columns are left over, the last vector begins before them and holds some columns again, so that it is whole.
template <class T>
struct ColumnSoftmax {
  static constexpr std::int64_t kRoom = kSoftmaxColumns + 2 * kFewestColumns;
  HWY_ALIGN T maxima[kRoom];
  HWY_ALIGN double totals[kRoom];
  HWY_ALIGN T finish[kRoom];  // what results are multiplied with, or for log_softmax what is taken off
};

// Calls f(k, at) for each vector, which is kept at k and stands `at` columns from the left.
template <class T, class F>
HWY_INLINE void for_each_vector_of_columns(std::int64_t columns, F f) {
  const std::int64_t last = columns - kLanes<T>;
  for (std::int64_t k = 0; k < columns; k += kLanes<T>) f(k, k < last ? k : last);
}

// Four rows at a time, so that maxima are loaded and stored once for four numbers.
template <class T>
HWY_INLINE void maxima_of_columns(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* maxima) {
  const Tag<T> d;
  for_each_vector_of_columns<T>(columns, [=](std::int64_t k, std::int64_t) HWY_ATTR { hn::Store(hn::Set(d, -kInfinity<T>), d, maxima + k); });
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4, x += 4 * step) {
    for_each_vector_of_columns<T>(columns, [=](std::int64_t k, std::int64_t at) HWY_ATTR {
      const Vector<T> a = hn::Max(hn::LoadU(d, x + at), hn::LoadU(d, x + at + step)), b = hn::Max(hn::LoadU(d, x + at + 2 * step), hn::LoadU(d, x + at + 3 * step));
      hn::Store(hn::Max(hn::Load(d, maxima + k), hn::Max(a, b)), d, maxima + k);
    });
  }
  for (; r < rows; ++r, x += step)
    for_each_vector_of_columns<T>(columns, [=](std::int64_t k, std::int64_t at) HWY_ATTR { hn::Store(hn::Max(hn::Load(d, maxima + k), hn::LoadU(d, x + at)), d, maxima + k); });
}

// The sums along the columns of value(place, k), which gives the vector whose first number stands `place` numbers behind the matrix's first, and whose sums are kept at k.
template <class T, class Value>
HWY_INLINE void sums_of_columns(std::int64_t step, std::int64_t rows, std::int64_t columns, double* totals, Value value) {
  for_each_vector_of_columns<T>(columns, [=](std::int64_t k, std::int64_t) HWY_ATTR {
    for (std::int64_t lane = 0; lane < kLanes<T>; ++lane) totals[k + lane] = 0;
  });
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    for_each_vector_of_columns<T>(columns, [=](std::int64_t k, std::int64_t at) HWY_ATTR {
      const std::int64_t place = r * step + at;
      const Vector<T> a = value(place, k), b = value(place + step, k), c = value(place + 2 * step, k), e = value(place + 3 * step, k);
      add_to(totals + k, hn::Add(hn::Add(a, b), hn::Add(c, e)));
    });
  }
  for (; r < rows; ++r) for_each_vector_of_columns<T>(columns, [=](std::int64_t k, std::int64_t at) HWY_ATTR { add_to(totals + k, value(r * step + at, k)); });
}

// The sums of exp(x - maximum); put(place, exponential) sees each vector of them, `place` numbers behind x.
template <class T, class Put>
HWY_INLINE void sums_of_exponentials(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, const T* maxima, double* totals, Put put) {
  const Tag<T> d;
  sums_of_columns<T>(step, rows, columns, totals, [=](std::int64_t place, std::int64_t k) HWY_ATTR {
    const Vector<T> e = ExpBelowZero(Tag<T>(), hn::Sub(hn::LoadU(d, x + place), hn::Load(d, maxima + k)));
    put(place, e);
    return e;
  });
}

template <class T>
void softmax_of_columns(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  ColumnSoftmax<T> of;
  maxima_of_columns(x, step, rows, columns, of.maxima);
  sums_of_exponentials(x, step, rows, columns, of.maxima, of.totals, [=](std::int64_t place, Vector<T> e) HWY_ATTR { hn::StoreU(e, d, out + place); });
  const std::int64_t last = (columns - 1) / L * L;  // where the last vector is kept
  for (std::int64_t k = 0; k < last + L; ++k) of.finish[k] = static_cast<T>(1 / of.totals[k]);
  for (std::int64_t r = 0; r < rows; ++r, out += step) {
    // What the last vector shares with the one before is read before that is written.
    const Vector<T> end = hn::Mul(hn::LoadU(d, out + columns - L), hn::Load(d, of.finish + last));
    for (std::int64_t k = 0; k < last; k += L) hn::StoreU(hn::Mul(hn::LoadU(d, out + k), hn::Load(d, of.finish + k)), d, out + k);
    hn::StoreU(end, d, out + columns - L);
  }
}

template <class T>
void log_softmax_of_columns(const T* x, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out) {
  const Tag<T> d;
  const Tag<double> wide;
  ColumnSoftmax<T> of;
  maxima_of_columns(x, step, rows, columns, of.maxima);
  sums_of_exponentials(x, step, rows, columns, of.maxima, of.totals, [](std::int64_t, Vector<T>) HWY_ATTR {});
  for_each_vector_of_columns<T>(columns, [&of, wide](std::int64_t k, std::int64_t) HWY_ATTR {
    for (std::int64_t lane = k; lane < k + kLanes<T>; lane += kLanes<double>) hn::Store(Log(wide, hn::Load(wide, of.totals + lane)), wide, of.totals + lane);
    for (std::int64_t lane = k; lane < k + kLanes<T>; ++lane) of.finish[lane] = static_cast<T>(of.totals[lane]);
  });
  for (std::int64_t r = 0; r < rows; ++r, x += step, out += step) {
    for_each_vector_of_columns<T>(columns, [&of, d, x, out](std::int64_t k, std::int64_t at) HWY_ATTR {
      hn::StoreU(hn::Sub(hn::Sub(hn::LoadU(d, x + at), hn::Load(d, of.maxima + k)), hn::Load(d, of.finish + k)), d, out + at);
    });
  }
}

// f(g, y, total) for each vector of the gradient and of the result, with the sum along their columns of term(g, y).
template <class T, class Term, class F>
HWY_INLINE void gradients_of_columns(const T* grad, const T* result, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out, Term term, F f) {
  const Tag<T> d;
  ColumnSoftmax<T> of;
  sums_of_columns<T>(step, rows, columns, of.totals, [=](std::int64_t place, std::int64_t) HWY_ATTR { return term(hn::LoadU(d, grad + place), result + place); });
  for_each_vector_of_columns<T>(columns, [&of](std::int64_t k, std::int64_t) HWY_ATTR {
    for (std::int64_t lane = k; lane < k + kLanes<T>; ++lane) of.finish[lane] = static_cast<T>(of.totals[lane]);
  });
  for (std::int64_t r = 0; r < rows; ++r, grad += step, result += step, out += step) {
    for_each_vector_of_columns<T>(columns, [&of, d, grad, result, out, f](std::int64_t k, std::int64_t at) HWY_ATTR {
      hn::StoreU(f(hn::LoadU(d, grad + at), hn::LoadU(d, result + at), hn::Load(d, of.finish + k)), d, out + at);
    });
  }
}

template <class T>
void softmax_backward_of_columns(const T* grad, const T* result, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out) {
  gradients_of_columns(
      grad, result, step, rows, columns, out, [](Vector<T> g, const T* y) HWY_ATTR { return hn::Mul(g, hn::LoadU(Tag<T>(), y)); },
      [](Vector<T> g, Vector<T> y, Vector<T> total) HWY_ATTR { return hn::Mul(y, hn::Sub(g, total)); });
}

template <class T>
void log_softmax_backward_of_columns(const T* grad, const T* result, std::int64_t step, std::int64_t rows, std::int64_t columns, T* out) {
  gradients_of_columns(
      grad, result, step, rows, columns, out, [](Vector<T> g, const T*) HWY_ATTR { return g; },
      [](Vector<T> g, Vector<T> y, Vector<T> total) HWY_ATTR { return hn::NegMulAdd(ExpBelowZero(Tag<T>(), y), total, g); });
}

void flush_softmax() { hwy::FlushStream(); }

template <class T>
constexpr SoftmaxTable<T> softmax_table_of() {
  return {row_sums<T>, softmax<T>, log_softmax<T>, softmax_backward<T>, log_softmax_backward<T>, softmax_of_columns<T>, log_softmax_of_columns<T>, softmax_backward_of_columns<T>, log_softmax_backward_of_columns<T>, flush_softmax};
}
}  // namespace

constinit const SoftmaxKernels softmax_kernels = {softmax_table_of<float>(), softmax_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### The operators
//
// Rows lie along the last dimension of a contiguous tensor, columns along the others. The backward pass and cross-entropy have kernels for rows only; other dimensions are handed down. The gradients that modules 05 and 95 gave are compositions of operators: right, differentiable again, and four to ten passes over memory. So this chapter gives new ones, which use a kernel when nothing is recorded, as in nearly every backward pass. When a
// backward pass is itself recorded, for second derivatives, they are the composition as before:
//
//     backward()                       not recorded   -->  kernel
//     backward(create_graph = true)    recorded       -->  the composition, whose operators have gradients

// %% [markdown]
// A gradient cannot simply be handed down to the layer below, as a result can: the function in the layer Autograd decides what is saved. So the fused gradient stands *beside* the one that was there. A call that would run tuned kernels takes the fused one; a call that asks for the reference takes the gradient of module 05, and
// whoever writes that gradient still sees it at work.

// %%
//| export kernels/fused_gradient.h
namespace kernels {

// What Op does in the layer Autograd, with gradients that stand on tuned kernels, and with those before.
template <auto& Op, class Function = typename std::remove_cvref_t<decltype(Op)>::Function>
struct FusedGradient;

template <auto& Op, class Result, class... Args>
struct FusedGradient<Op, Result (*)(Args...)> {
  static inline Result (*before)(Args...) = nullptr;
  static inline Result (*fused)(Args...) = nullptr;
  static Result call(Args... args) {
    const bool tuned = (birth_layers - thread_state().excluded).has(Layer::TunedCPU) && !(layers_of(args) | ...).has(Layer::Elsewhere);
    return (tuned ? fused : before)(std::forward<Args>(args)...);
  }
};

// Has `recorded` record the calls of Op that run tuned kernels, and leaves those that ask for the reference to what recorded them before.
template <auto& Op>
void fused_recording(decltype(FusedGradient<Op>::fused) recorded) {
  using Choice = FusedGradient<Op>;
  Choice::before = Op.function(Layer::Autograd);
  Choice::fused = recorded;
  Op.set(Layer::Autograd, Choice::call);
}

// The same with the gradients `functions`.
template <auto& Op, class... Fs>
void fused_gradient(Fs... functions) {
  fused_recording<Op>(gradient_of<Op>(functions...));
}

}  // namespace kernels

// %%
//| export kernels/softmax.cpp
// Of chapter 95: what reaches each sample of the gradient of a reduced loss of classes.
Tensor gradient_per_sample(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction, std::int64_t ignore_index);

namespace {
template <class T>
const kernels::SoftmaxTable<T>& softmax_table() {
  using namespace kernels;
  static constexpr const SoftmaxKernels* tables[] = TINYTORCH_PER_CAPABILITY(softmax_kernels);
  const SoftmaxKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool is_float_or_double(const Tensor& x) { return x.scalar_type() == kFloat || x.scalar_type() == kDouble; }

// Whether x has rows for these kernels along `dim`.
bool has_rows(const Tensor& x, std::int64_t dim) { return is_float_or_double(x) && x.dim() > 0 && dim == x.dim() - 1 && x.numel() > 0; }

// f(first, rows) for some rows of `count` numbers at a time, on all threads: 32,768 numbers take some ten microseconds. Of many, twice as many make a piece, whose first row is alone under way.
template <class F>
void for_some_rows(std::int64_t rows, std::int64_t count, F f) {
  const std::int64_t numbers = rows * count < (1 << 22) ? 1 << 15 : 1 << 16;
  parallel_for(0, rows, std::max<std::int64_t>(1, numbers / count), [&](std::int64_t first, std::int64_t stop) { f(first, stop - first); });
}
// f(row) for each.
template <class F>
void for_rows(std::int64_t rows, std::int64_t count, F f) {
  for_some_rows(rows, count, [&](std::int64_t first, std::int64_t some) {
    for (std::int64_t row = first; row < first + some; ++row) f(row);
  });
}

template <class F>
void with_type(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

template <bool kLog>
void softmax_of_rows(const Tensor& x, std::int64_t count, const Tensor& result) {
  with_type(x.scalar_type(), [&]<class T>() {
    const kernels::SoftmaxTable<T>& table = softmax_table<T>();
    const bool beyond_cache = x.numel() * static_cast<std::int64_t>(sizeof(T)) > kernels::last_cache_bytes();
    for_some_rows(x.numel() / count, count, [&, from = x.data<T>(), to = result.data<T>()](std::int64_t first, std::int64_t rows) {
      if constexpr (kLog) table.log_softmax(from + first * count, rows, count, beyond_cache, to + first * count);
      else table.softmax(from + first * count, rows, count, nullptr, beyond_cache, to + first * count);
      if (beyond_cache) table.flush();
    });
  });
}

// Matrices (rows, columns) that follow each other, in strips of columns: calls f(where a strip begins, how many columns it has) on the threads of the pool.
template <class F>
void for_strips(std::int64_t matrices, std::int64_t rows, std::int64_t columns, F f) {
  using kernels::kFewestColumns, kernels::kSoftmaxColumns;
  const std::int64_t strips = (columns + kSoftmaxColumns - kFewestColumns) / kSoftmaxColumns;
  for_rows(matrices * strips, rows * std::min(columns, kSoftmaxColumns), [&](std::int64_t task) {
    const std::int64_t strip = task % strips, first = strip * kSoftmaxColumns;
    f(task / strips * rows * columns + first, strip + 1 < strips ? kSoftmaxColumns : columns - first);
  });
}

template <bool kLog>
void softmax_of_columns(const Tensor& x, std::int64_t rows, std::int64_t columns, const Tensor& result) {
  with_type(x.scalar_type(), [&]<class T>() {
    const auto kernel = kLog ? softmax_table<T>().log_softmax_of_columns : softmax_table<T>().softmax_of_columns;
    for_strips(x.numel() / (rows * columns), rows, columns,
               [&, from = x.data<T>(), to = result.data<T>()](std::int64_t at, std::int64_t width) { kernel(from + at, columns, rows, width, to + at); });
  });
}

// How many columns the matrices have along whose columns a softmax goes, 1 where it goes along rows; 0 if there is no kernel for them.
std::int64_t softmax_columns(const Tensor& self, std::int64_t dim) {
  if (!is_float_or_double(self) || self.dim() == 0 || self.numel() == 0) return 0;
  std::int64_t columns = 1;
  for (std::int64_t d = dim + 1; d < self.dim(); ++d) columns *= self.size(d);
  return columns == 1 || columns >= kernels::kFewestColumns ? columns : 0;
}

template <bool kLog>
Tensor softmax_tuned(const Tensor& self, std::int64_t dim) {
  const std::int64_t columns = softmax_columns(self, dim);
  if (columns == 0) return (kLog ? op::log_softmax : op::softmax).function(Layer::CPU)(self, dim);
  const Tensor x = self.contiguous(), result = empty(self.sizes(), self.scalar_type());
  if (columns == 1) softmax_of_rows<kLog>(x, x.size(dim), result);
  else softmax_of_columns<kLog>(x, x.size(dim), columns, result);
  return result;
}

// Without a kernel: module 05's formulas.
Tensor softmax_backward_composed(const Tensor& grad, const Tensor& result, std::int64_t dim) {
  const Tensor weighted = grad * result;
  return weighted - result * weighted.sum(dim, true);
}
Tensor log_softmax_backward_composed(const Tensor& grad, const Tensor& result, std::int64_t dim) { return grad - exp(result) * grad.sum(dim, true); }

// These operators are called where nothing is recorded only.
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> softmax_backward_op("softmax_backward", {.cpu = softmax_backward_composed});
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> log_softmax_backward_op("log_softmax_backward", {.cpu = log_softmax_backward_composed});

template <bool kLog>
Tensor softmax_backward_tuned(const Tensor& grad, const Tensor& result, std::int64_t dim) {
  const std::int64_t columns = grad.scalar_type() == result.scalar_type() ? softmax_columns(result, dim) : 0;
  if (columns == 0) return (kLog ? log_softmax_backward_op : softmax_backward_op).function(Layer::CPU)(grad, result, dim);
  const Tensor g = grad.contiguous(), y = result.contiguous(), input_grad = empty(y.sizes(), y.scalar_type());
  const std::int64_t count = y.size(dim);
  with_type(y.scalar_type(), [&]<class T>() {
    if (columns > 1) {
      const auto kernel = kLog ? softmax_table<T>().log_softmax_backward_of_columns : softmax_table<T>().softmax_backward_of_columns;
      for_strips(y.numel() / (count * columns), count, columns,
                 [&, from = g.data<T>(), of = y.data<T>(), to = input_grad.data<T>()](std::int64_t at, std::int64_t width) { kernel(from + at, of + at, columns, count, width, to + at); });
      return;
    }
    const auto kernel = kLog ? softmax_table<T>().log_softmax_backward : softmax_table<T>().softmax_backward;
    for_rows(y.numel() / count, count,
             [&, from = g.data<T>(), of = y.data<T>(), to = input_grad.data<T>()](std::int64_t row) { kernel(from + row * count, of + row * count, count, to + row * count); });
  });
  return input_grad;
}

// ---- Cross-entropy of self (N, C) with target (N).

// Whether all targets are classes or ignored; the reference says which are not.
bool are_classes(const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  const std::int64_t* const t = target.data<std::int64_t>();
  return std::all_of(t, t + target.numel(), [=](std::int64_t c) { return c == ignore_index || (c >= 0 && c < classes); });
}

Tensor cross_entropy_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const Tensor labels = target.contiguous();
  if (!has_rows(self, 1) || !are_classes(labels, self.size(1), ignore_index)) return op::cross_entropy.function(Layer::CPU)(self, target, weight, reduction, ignore_index);
  const Tensor x = self.contiguous();
  const Tensor factors = weight && weight->defined() ? weight->contiguous() : Tensor();
  const std::int64_t N = x.size(0), C = x.size(1);
  Tensor result;
  with_type(self.scalar_type(), [&]<class T>() {
    const T* const factor = factors.defined() ? factors.data<T>() : nullptr;
    const std::int64_t* const t = labels.data<std::int64_t>();
    const auto weight_of = [&](std::int64_t n) { return factor == nullptr ? 1.0 : static_cast<double>(factor[t[n]]); };
    std::vector<double> losses(static_cast<std::size_t>(N)), log_sums(static_cast<std::size_t>(N));
    for_some_rows(N, C, [&, from = x.data<T>()](std::int64_t first, std::int64_t rows) {
      double* const loss = losses.data();
      softmax_table<T>().sums(from + first * C, rows, C, loss + first, log_sums.data() + first);
      for (std::int64_t n = first; n < first + rows; ++n) loss[n] = t[n] == ignore_index ? 0 : weight_of(n) * (loss[n] - static_cast<double>(from[n * C + t[n]]) + log_sums[static_cast<std::size_t>(n)]);
    });
    if (reduction == Reduction::None) {
      result = empty({N}, self.scalar_type());
      std::transform(losses.begin(), losses.end(), result.data<T>(), [](double loss) { return static_cast<T>(loss); });
      return;
    }
    double total = 0, total_weight = 0;
    for (std::int64_t n = 0; n < N; ++n) {
      total += losses[static_cast<std::size_t>(n)];
      if (t[n] != ignore_index) total_weight += weight_of(n);
    }
    result = full({}, reduction == Reduction::Mean ? total / total_weight : total, self.scalar_type());
  });
  return result;
}

// (softmax(self) - one at each sample's class) * coefficient, for coefficient (N) and classes (N).
Tensor cross_entropy_backward_composed(const Tensor& coefficient, const Tensor& self, const Tensor& classes) {
  const Tensor at_classes = scatter_add(zeros(self.sizes(), self.options()), 1, classes.unsqueeze(1), -coefficient.unsqueeze(1));
  return softmax(self, 1) * coefficient.unsqueeze(1) + at_classes;
}
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> cross_entropy_backward_op("cross_entropy_backward", {.cpu = cross_entropy_backward_composed});

Tensor cross_entropy_backward_tuned(const Tensor& coefficient, const Tensor& self, const Tensor& classes) {
  if (!has_rows(self, 1) || coefficient.scalar_type() != self.scalar_type()) return cross_entropy_backward_op.function(Layer::CPU)(coefficient, self, classes);
  const Tensor x = self.contiguous(), c = coefficient.contiguous(), labels = classes.contiguous(), input_grad = empty(x.sizes(), x.scalar_type());
  with_type(x.scalar_type(), [&]<class T>() {
    const std::int64_t C = x.size(1);
    for_some_rows(x.size(0), C, [&, from = x.data<T>(), factor = c.data<T>(), t = labels.data<std::int64_t>(), to = input_grad.data<T>()](std::int64_t first, std::int64_t rows) {
      softmax_table<T>().softmax(from + first * C, rows, C, factor + first, false, to + first * C);
      for (std::int64_t n = first; n < first + rows; ++n) to[n * C + t[n]] -= factor[n];  // of one that is ignored the factor is 0
    });
  });
  return input_grad;
}

Tensor cross_entropy_gradient(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const Tensor coefficient = gradient_per_sample(g, self, target, weight, reduction, ignore_index);
  const Tensor classes = where(target.eq(ignore_index), zeros({}, kLong), target);
  return is_recording() ? cross_entropy_backward_composed(coefficient, self, classes) : cross_entropy_backward_op(coefficient, self, classes);
}
}  // namespace

// %%
//| export kernels/softmax.cpp
//| registers
void register_tuned_softmax() {
  op::softmax.set(Layer::TunedCPU, softmax_tuned<false>);
  op::log_softmax.set(Layer::TunedCPU, softmax_tuned<true>);
  op::cross_entropy.set(Layer::TunedCPU, cross_entropy_tuned);
  softmax_backward_op.set(Layer::TunedCPU, softmax_backward_tuned<false>);
  log_softmax_backward_op.set(Layer::TunedCPU, softmax_backward_tuned<true>);
  cross_entropy_backward_op.set(Layer::TunedCPU, cross_entropy_backward_tuned);
  kernels::fused_gradient<op::softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) {
    return is_recording() ? softmax_backward_composed(g, result, dim) : softmax_backward_op(g, result, dim);
  });
  kernels::fused_gradient<op::log_softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) {
    return is_recording() ? log_softmax_backward_composed(g, result, dim) : log_softmax_backward_op(g, result, dim);
  });
  kernels::fused_gradient<op::cross_entropy>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction, Arg<4, std::int64_t> ignore_index) {
    return cross_entropy_gradient(g, self, target, weight, reduction, ignore_index);
  });
}

// %%
TEST_CASE("softmax: forward and backward as the reference, for rows short, odd, long, strided and masked") {
  manual_seed(770);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const DimVector& sizes : {DimVector{3, 1}, DimVector{5, 7}, DimVector{4, 8}, DimVector{2, 3, 33}, DimVector{9, 130}, DimVector{2, 20011}, DimVector{7}}) {
      Tensor x = (randn(sizes, kDouble) * 5).to(type);
      if (x.size(-1) > 20000) x.slice(-1, 0, 5000).fill_(-infinity);  // whole pieces that add nothing
      const Tensor g = randn(sizes, type);
      const auto results = [&] {
        const Tensor a = x.clone().requires_grad_(), b = x.clone().requires_grad_();
        const Tensor y = softmax(a, -1), z = log_softmax(b, -1);
        y.backward(g);
        z.backward(g);
        return std::vector<Tensor>{y.detach(), z.detach(), a.grad(), b.grad()};
      };
      CAPTURE(x.sizes());
      const std::vector<Tensor> expected = by_reference(results);
      const double tolerance = type == kFloat ? 3e-6 : 1e-13;
      for_each_capability([&] {
        const std::vector<Tensor> tuned = results();
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance);
      });
      CHECK_EQ(with_threads(1, [&] { return results()[0]; }), with_threads(3, [&] { return results()[0]; }));
    }
  }
  const Tensor strided = randn({6, 20}).t();
  CHECK_CLOSE(softmax(strided, 1), by_reference([&] { return softmax(strided, 1); }), 1e-6, 1e-7);
  CHECK_CLOSE(softmax(strided, 0), by_reference([&] { return softmax(strided, 0); }), 1e-6, 1e-7);
}

TEST_CASE("softmax: rows of -inf, with NaN and with infinity are as the reference's") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const Tensor x = tensor({{-infinity, -infinity, -infinity}, {0.f, nan, 1.f}, {infinity, 0.f, 1.f}, {-infinity, 2.f, 100.f}, {-1e30f, 0.f, 1e-30f}});
  for_each_capability([&] {
    CHECK_CLOSE(softmax(x, 1), by_reference([&] { return softmax(x, 1); }), 1e-6, 1e-30);
    CHECK_CLOSE(log_softmax(x, 1), by_reference([&] { return log_softmax(x, 1); }), 1e-6, 1e-30);
  });
}

TEST_CASE("softmax and cross-entropy: each row gives among others what it gives alone, and past the caches what it gives in them") {
  manual_seed(775);
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  constexpr std::int64_t rows = 9;
  for (const ScalarType type : {kFloat, kDouble})
    for (const std::int64_t count : {1, 7, 16, 128, 150, 1000, 2048, 2049, 5000, 8192, 8193}) {
      CAPTURE(count);
      const Tensor x = (randn({rows, count}, kDouble) * 5).to(type), target = randint(0, count, {rows});
      x[2].fill_(-infinity);
      x[3][count / 2].fill_(nan);
      x[5][count - 1].fill_(infinity);
      x[6].slice(0, 0, count - 1).fill_(-infinity);
      x[6][0].fill_(nan);  // beside nothing that is larger than -inf, until the row's end
      const auto results = [&](const Tensor& some, const Tensor& classes) { return std::vector<Tensor>{softmax(some, 1), log_softmax(some, 1), cross_entropy_loss(some, classes, std::nullopt, Reduction::None)}; };
      for_each_capability([&] {
        const std::vector<Tensor> together = results(x, target);
        for (std::int64_t row = 0; row < rows; ++row) {
          CAPTURE(row);
          const std::vector<Tensor> alone = results(x.slice(0, row, row + 1), target.slice(0, row, row + 1));
          const bool finite = row < 2 || row == 4 || row > 6;
          for (std::size_t i = 0; i < alone.size(); ++i) {
            CHECK_CLOSE(together[i].slice(0, row, row + 1), alone[i], 0.0, 0.0);
            CHECK_EQ(together[i][row].isnan().any().item<bool>(), !finite);
          }
        }
        const auto past_the_caches = [&](const auto& table, auto* to) {
          table.softmax(x.data<std::remove_pointer_t<decltype(to)>>(), rows, count, nullptr, true, to);
          table.log_softmax(x.data<std::remove_pointer_t<decltype(to)>>(), rows, count, true, to + rows * count);
          table.flush();
        };
        using namespace kernels;
        static constexpr const SoftmaxKernels* tables[] = TINYTORCH_PER_CAPABILITY(softmax_kernels);
        const SoftmaxKernels& chosen = for_capability(tables);
        const Tensor out = empty({2, rows, count}, type);
        if (type == kFloat) past_the_caches(chosen.in_float, out.data<float>());
        else past_the_caches(chosen.in_double, out.data<double>());
        for (std::int64_t i = 0; i < 2; ++i) CHECK_CLOSE(out[i], together[static_cast<std::size_t>(i)], 0.0, 0.0);
      });
    }
}

TEST_CASE("softmax: the smallest weights are exact to some units in the last place, and 0 in the end") {
  for (const ScalarType type : {kFloat, kDouble}) {
    const double end = type == kFloat ? -87.3 : -708.3, nearer = -20, unit = type == kFloat ? 0x1p-23 : 0x1p-52;
    const Tensor x = zeros({200001, 2}, type), gone = tensor({{0.0, end - 1.0}}).to(type);
    x.select(1, 1).copy_(linspace(end, nearer, 200001, kDouble).to(type));
    const Tensor exact = exp(x.select(1, 1).to(kDouble));  // the sum of such a row is 1, or 2^-29 more
    const Tensor sum = exact + 1;
    for_each_capability([&] {
      const Tensor units = ((softmax(x, 1).select(1, 1).to(kDouble) * sum - exact) / exact / unit).abs();
      CHECK_LE(units.max().item<double>(), type == kFloat ? 5.0 : 2.5);  // the division by the sum rounds once more
      CHECK_LE(units.slice(0, 199000, 200001).max().item<double>(), 2.5);  // the last of them, near exp(-20)
      CHECK_EQ(softmax(gone, 1)[0][1].item<double>(), 0.0);
    });
  }
}

TEST_CASE("softmax along columns: as the reference for narrow, odd, wide and strided ones, and the same bits for any number of threads") {
  manual_seed(776);
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const DimVector& sizes : {DimVector{7, 1}, DimVector{1, 40}, DimVector{5, 3}, DimVector{3, 9, 15}, DimVector{2, 6, 16}, DimVector{4, 11, 17}, DimVector{3, 8, 31}, DimVector{2, 5, 9, 7}, DimVector{1, 130, 256}, DimVector{2, 67, 271}, DimVector{3, 6, 272}, DimVector{300, 785}}) {
      const Tensor x = (randn(sizes, kDouble) * 5).to(type);
      const double tolerance = type == kFloat ? 3e-6 : 1e-13;
      for (std::int64_t dim = 0; dim + 1 < x.dim(); ++dim) {
        CAPTURE(sizes);
        CAPTURE(dim);
        const Tensor expected = by_reference([&] { return softmax(x, dim); }), expected_log = by_reference([&] { return log_softmax(x, dim); });
        for_each_capability([&] {
          CHECK_CLOSE(softmax(x, dim), expected, tolerance, 1e-30);
          CHECK_CLOSE(log_softmax(x, dim), expected_log, tolerance, tolerance);
        });
        CHECK_EQ(with_threads(1, [&] { return softmax(x, dim); }), with_threads(5, [&] { return softmax(x, dim); }));
        CHECK_EQ(with_threads(1, [&] { return log_softmax(x, dim); }), with_threads(5, [&] { return log_softmax(x, dim); }));
      }
    }
  }
  // Gradients. What arrives lies in the order of the numbers, or turned around, or is one number for all.
  for (const ScalarType type : {kFloat, kDouble})
    for (const DimVector& sizes : {DimVector{1, 40}, DimVector{3, 9, 15}, DimVector{2, 6, 16}, DimVector{4, 11, 17}, DimVector{2, 5, 9, 7}, DimVector{2, 67, 271}, DimVector{3, 6, 272}, DimVector{300, 785}, DimVector{4, 30, 1}}) {
      const Tensor x = (randn(sizes, kDouble) * 3).to(type), g = randn(sizes, type), turned_g = g.transpose(0, 1).contiguous().transpose(0, 1), same = ones({1}, type).expand(sizes);
      for (std::int64_t dim = 0; dim + 1 < x.dim(); ++dim) {
        CAPTURE(sizes);
        CAPTURE(dim);
        const auto gradients = [&] {
          std::vector<Tensor> result;
          for (const Tensor& arrives : {g, turned_g, same}) {
            const Tensor leaf = x.detach().requires_grad_();
            result.push_back(autograd::grad({softmax(leaf, dim)}, {leaf}, {arrives})[0]);
            result.push_back(autograd::grad({log_softmax(leaf, dim)}, {leaf}, {arrives})[0]);
          }
          return result;
        };
        const std::vector<Tensor> expected = by_reference(gradients), alone = with_threads(1, gradients), together = with_threads(5, gradients);
        for_each_capability([&] {
          const std::vector<Tensor> tuned = gradients();
          for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], type == kFloat ? 1e-5 : 1e-12, type == kFloat ? 5e-5 : 1e-12);
        });
        for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(alone[i], together[i]);
      }
    }
  const Tensor turned = randn({70, 40}).t();
  CHECK_CLOSE(softmax(turned, 0), by_reference([&] { return softmax(turned, 0); }), 1e-6, 1e-7);
  CHECK(softmax(turned, 0).is_contiguous());
}

TEST_CASE("softmax along columns: -inf, NaN and infinity in some columns are as the reference's, and the others do not notice") {
  manual_seed(777);
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const std::int64_t columns : {12, 16, 37, 300}) {
      const Tensor x = randn({9, columns}, type);
      x.select(1, 0).fill_(-infinity);
      x.select(1, columns - 1).fill_(-infinity);
      x.select(1, 1).slice(0, 0, 8).fill_(-infinity);
      for (const std::int64_t row : {0, 5, 8}) {
        x[row][2 + row].fill_(nan);
        x[8 - row][columns - 2 - row].fill_(infinity);
      }
      x.select(1, columns / 2).slice(0, 1, 9).fill_(-1e30);
      CAPTURE(columns);
      const double tolerance = type == kFloat ? 3e-6 : 1e-13;
      const Tensor expected = by_reference([&] { return softmax(x, 0); }), expected_log = by_reference([&] { return log_softmax(x, 0); });
      for_each_capability([&] {
        CHECK_CLOSE(softmax(x, 0), expected, tolerance, 1e-30);
        CHECK_CLOSE(log_softmax(x, 0), expected_log, tolerance, tolerance);
      });
      // Gradients: what is not finite stays in its column.
      const Tensor g = randn({9, columns}, type);
      for (const bool logarithm : {false, true}) {
        const auto gradient = [&](const Tensor& numbers, const Tensor& arrives) {
          const Tensor leaf = numbers.detach().requires_grad_();
          return autograd::grad({logarithm ? log_softmax(leaf, 0) : softmax(leaf, 0)}, {leaf}, {arrives})[0];
        };
        const Tensor slopes = by_reference([&] { return gradient(x, g); });
        for_each_capability([&] { CHECK_CLOSE(gradient(x, g), slopes, type == kFloat ? 1e-5 : 1e-12, type == kFloat ? 1e-5 : 1e-12); });
      }
    }
  }
}

TEST_CASE("softmax along columns: the totals of many rows stay exact") {
  const Tensor x = zeros({100003, 20});  // 1 / 100003 in each place
  for_each_capability([&] { CHECK_CLOSE(softmax(x, 0), full({100003, 20}, 1 / 100003.0), 1e-7, 0.0); });
  CHECK_CLOSE(log_softmax(x, 0), full({100003, 20}, -std::log(100003.0)), 1e-7, 0.0);
}

TEST_CASE("cross-entropy: loss and gradient as the reference, weighted, ignored, for each reduction; and second derivatives") {
  manual_seed(771);
  const Tensor logits = randn({9, 21}, kDouble), weight = rand({21}, kDouble);
  const Tensor target = arange(9) * 2;
  target.select(0, 4).fill_(-100);
  logits[4][3].fill_(std::numeric_limits<double>::quiet_NaN());  // in a row that is ignored: its gradient is 0 times NaN, as PyTorch's
  for (const std::int64_t reduction : {Reduction::None, Reduction::Sum, Reduction::Mean}) {
    for (const bool weighted : {false, true}) {
      const auto results = [&] {
        const Tensor x = logits.clone().requires_grad_();
        const Tensor loss = cross_entropy_loss(x, target, weighted ? std::optional(weight) : std::nullopt, reduction);
        loss.backward(ones_like(loss) * 2);
        return std::vector<Tensor>{loss.detach(), x.grad()};
      };
      const std::vector<Tensor> expected = by_reference(results), tuned = results();
      for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], 1e-13, 1e-14);
    }
  }
  CHECK_ERROR(cross_entropy_loss(logits, full({9}, 21, kLong)), "Target 21 is out of bounds");
  // The second derivative of the loss of one sample: diag(p) - p p^T.
  const Tensor x = randn({1, 3}, kDouble).requires_grad_();
  const Tensor first = autograd::grad({cross_entropy_loss(x, zeros({1}, kLong))}, {x}, {}, std::nullopt, true)[0];
  const Tensor second = autograd::grad({(first * tensor({{1.0, 2.0, 4.0}}, kDouble)).sum()}, {x})[0];
  const Tensor p = softmax(x.detach(), 1);
  const Tensor v = tensor({{1.0, 2.0, 4.0}}, kDouble);
  CHECK_CLOSE(second, p * v - p * (p * v).sum(), 1e-12, 1e-12);
}

// %% [markdown]
// ## How near to the roof?
//
// For work like this the yardstick is bytes per second, compared with what plain reading and copying reach on this machine. Below, for tensors that a large cache holds and that it does not; the bytes are those that must be moved, so a kernel that walks twice over memory shows half.

// %%
//| lesson
class OneThread {
 public:
  OneThread() { set_num_threads(1); }
  ~OneThread() { set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = get_num_threads();
};

void print_rates(const char* what, double bytes, double tuned, double reference) {
  std::printf("  %-34s %8.2f GB/s   reference %8.2f GB/s   %5.1f times\n", what, bytes / tuned * 1e-9, bytes / reference * 1e-9, reference / tuned);
}

template <class F>
void compare_rates(const char* what, double bytes, F f) {
  const auto seconds = [&] { return measure([&] { do_not_optimize(f()); }, {.samples = 3}).minimum; };
  const double tuned = seconds();
  const double reference = by_reference(seconds);
  print_rates(what, bytes, tuned, reference);
}

// %%
DEMO("row kernels and the reference, one thread, 4096 x 1024 floats") {
  const OneThread one;
  std::printf("memory gives one thread %.1f GB/s\n", kernels::machine_peaks().bytes_per_second * 1e-9);
  const Tensor x = randn({4096, 1024}), target = randint(0, 1024, {4096});
  const double once = 4.0 * 4096 * 1024;
  compare_rates("sum of all", once, [&] { return x.sum(); });
  compare_rates("sum of rows", once, [&] { return x.sum(DimVector{1}); });
  compare_rates("sum of columns", once, [&] { return x.sum(DimVector{0}); });
  compare_rates("variance of rows", once, [&] { return x.var(DimVector{1}); });
  compare_rates("variance of columns", once, [&] { return x.var(DimVector{0}); });
  compare_rates("argmax of rows", once, [&] { return argmax(x, 1); });
  compare_rates("argmax of columns", once, [&] { return argmax(x, 0); });
  compare_rates("softmax", 2 * once, [&] { return softmax(x, 1); });
  compare_rates("cross-entropy", once, [&] { return cross_entropy_loss(x, target); });
}

// %% [markdown]
// ## Where to read on
//
// - **Sums.** PyTorch's `aten/src/ATen/native/cpu/SumKernel.cpp` (`cascade_sum`: four levels of partial sums in float, flushed as a counter's bits carry), `ReduceOpsKernel.cpp` and `Reduce.h` (inner and outer reductions, as rows and columns here). *The Accuracy of Floating Point Summation* (Higham, 1993) compares the orders.
// - **Variance.** `aten/src/ATen/native/SharedReduceOps.h` has Welford's and Chan's formulas (`WelfordOps`); `aten/src/ATen/native/cpu/moments_utils.h` sums moments of rows in chunks of 16 vectors and joins them in a cascade.
// - **Softmax.** `aten/src/ATen/native/cpu/SoftMaxKernel.cpp` (`vec_host_softmax_lastdim`: three walks) and `vec_log_softmax_lastdim_kernel`, which takes several rows at a time so that their logarithms make a vector. *Online normalizer calculation for softmax* (Milakov and Gimelshein, 2018).

// %%
}  // namespace tinytorch
