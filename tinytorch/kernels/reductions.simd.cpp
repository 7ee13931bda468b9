// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include "tinytorch/kernels/reduction_kernels.h"
#include "tinytorch/kernels/row_vectors-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
double sum_of_magnitudes(const T* x, std::int64_t count) {
  return sum_of(x, count, [](auto v) HWY_ATTR { return hn::Abs(v); });
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

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

}  // namespace tinytorch
