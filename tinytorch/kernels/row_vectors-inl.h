// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <cstdint>

#include "tinytorch/kernels/reduction_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

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

}  // namespace tinytorch
