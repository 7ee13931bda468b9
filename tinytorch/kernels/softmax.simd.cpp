// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include "tinytorch/kernels/row_vectors-inl.h"
#include "tinytorch/kernels/softmax_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
constexpr std::int64_t kShortRow = 8192;   // numbers that a near cache holds
constexpr std::int64_t kRowPiece = 2048;

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());

// exp(x) for x that is at most a little above 0: 0 where the result would be denormal, which nothing beside the largest of a row notices.
template <class T>
HWY_INLINE Vector<T> exp_below_zero(Vector<T> x) {
  const Tag<T> d;
  const Vector<T> lowest = hn::Set(d, sizeof(T) == 4 ? T{-87} : T{-708});
  return hn::IfThenZeroElse(hn::Lt(x, lowest), ExpReduced<true>(d, x, hn::Max(x, lowest)));
}

// The maximum, or NaN if there is one.
template <class T>
HWY_INLINE T maximum_of(const T* x, std::int64_t count) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  Vector<T> a = hn::Set(d, -kInfinity<T>), b = a, c = a, e = a;
  auto nans = hn::IsNaN(a);
  const auto take = [&](Vector<T>& best, Vector<T> v) HWY_ATTR {
    nans = hn::Or(nans, hn::IsNaN(v));
    best = hn::Max(best, v);
  };
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    fetch_ahead<4 * L>(x + i);
    take(a, hn::LoadU(d, x + i));
    take(b, hn::LoadU(d, x + i + L));
    take(c, hn::LoadU(d, x + i + 2 * L));
    take(e, hn::LoadU(d, x + i + 3 * L));
  }
  for (; i + L <= count; i += L) take(a, hn::LoadU(d, x + i));
  if (i < count) take(b, load_some(x + i, count - i, -kInfinity<T>));
  if (!hn::AllFalse(d, nans)) return static_cast<T>(__builtin_nan(""));
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(a, b), hn::Max(c, e))));
}

// The sum of exp(x - maximum); put(i, exponential, count) sees each vector of them.
template <class T, class Put>
HWY_INLINE double sum_of_exponentials(const T* x, std::int64_t count, T maximum, Put put) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  const Vector<T> m = hn::Set(d, maximum);
  Totals<T> totals;
  const auto one = [&](std::int64_t i) HWY_ATTR {
    const Vector<T> e = exp_below_zero<T>(hn::Sub(hn::LoadU(d, x + i), m));
    put(i, e, L);
    return e;
  };
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    const Vector<T> a = one(i), b = one(i + L), c = one(i + 2 * L), e = one(i + 3 * L);
    totals.add(hn::Add(hn::Add(a, b), hn::Add(c, e)));
  }
  for (; i + L <= count; i += L) totals.add(one(i));
  if (i < count) {
    const Vector<T> e = exp_below_zero<T>(hn::Sub(load_some(x + i, count - i, -kInfinity<T>), m));
    put(i, e, count - i);
    totals.add(e);
  }
  return totals.total();
}

struct PutNothing {
  template <class V>
  HWY_INLINE void operator()(std::int64_t, V, std::int64_t) const {}
};

template <class T>
HWY_INLINE double exponential(double x) {
  return static_cast<double>(hn::GetLane(Exp(Tag<double>(), hn::Set(Tag<double>(), x))));
}

// In pieces: each is read twice while the cache holds it.
template <class T>
SoftmaxSum row_sum(const T* x, std::int64_t count) {
  T maximum = -kInfinity<T>;
  double sum = 0;
  for (std::int64_t i = 0; i < count; i += kRowPiece) {
    const std::int64_t length = count - i < kRowPiece ? count - i : kRowPiece;
    const T highest = maximum_of(x + i, length);
    if (highest == -kInfinity<T>) continue;  // adds nothing
    if (!(highest <= maximum)) {
      sum *= exponential<T>(static_cast<double>(maximum) - static_cast<double>(highest));
      maximum = highest;
    }
    sum += sum_of_exponentials(x + i, length, maximum, PutNothing());
  }
  return {static_cast<double>(maximum), sum};
}

template <class T>
HWY_INLINE void write_softmax(const T* x, std::int64_t count, double factor, bool beyond_cache, T* out) {
  const Tag<T> d;
  if (count <= kShortRow) {
    // Results that pass the cache by are made in a row that stays in it.
    HWY_ALIGN T row[kShortRow];
    T* const exponentials = beyond_cache ? row : out;
    const double sum = sum_of_exponentials(x, count, maximum_of(x, count), [exponentials](std::int64_t i, Vector<T> e, std::int64_t lanes) HWY_ATTR { put(e, exponentials + i, lanes); });
    const Vector<T> scale = hn::Set(d, static_cast<T>(factor / sum));
    write_vectors(static_cast<const T*>(exponentials), count, out, beyond_cache, [=](std::int64_t, Vector<T> e, std::int64_t) HWY_ATTR { return hn::Mul(e, scale); });
  } else {
    const SoftmaxSum row = row_sum(x, count);
    const Vector<T> scale = hn::Set(d, static_cast<T>(factor / row.sum)), m = hn::Set(d, static_cast<T>(row.maximum));
    write_vectors(x, count, out, beyond_cache, [=](std::int64_t, Vector<T> v, std::int64_t) HWY_ATTR { return hn::Mul(exp_below_zero<T>(hn::Sub(v, m)), scale); });
  }
}

template <class T>
void softmax(const T* x, std::int64_t count, bool beyond_cache, T* out) {
  write_softmax(x, count, 1.0, beyond_cache, out);
}
template <class T>
void scaled_softmax(const T* x, std::int64_t count, double factor, T* out) {
  write_softmax(x, count, factor, false, out);
}

template <class T>
void log_softmax(const T* x, std::int64_t count, bool beyond_cache, T* out) {
  const Tag<T> d;
  const SoftmaxSum row = row_sum(x, count);
  const Vector<T> m = hn::Set(d, static_cast<T>(row.maximum));
  const Vector<T> log_sum = hn::Set(d, static_cast<T>(hn::GetLane(Log(Tag<double>(), hn::Set(Tag<double>(), row.sum)))));
  write_vectors(x, count, out, beyond_cache, [=](std::int64_t, Vector<T> v, std::int64_t) HWY_ATTR { return hn::Sub(hn::Sub(v, m), log_sum); });
}

template <class T>
void softmax_backward(const T* grad, const T* result, std::int64_t count, T* out) {
  const Tag<T> d;
  Totals<T> totals;
  for_each_vector(grad, count, [&](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    totals.add(hn::Mul(g, lanes == kLanes<T> ? hn::LoadU(d, result + i) : load_some(result + i, lanes, T{0})));
  });
  const Vector<T> total = hn::Set(d, static_cast<T>(totals.total()));
  for_each_vector(grad, count, [=](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    const Vector<T> y = lanes == kLanes<T> ? hn::LoadU(Tag<T>(), result + i) : load_some(result + i, lanes, T{0});
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
    const Vector<T> y = lanes == kLanes<T> ? hn::LoadU(Tag<T>(), result + i) : load_some(result + i, lanes, T{0});
    put(hn::NegMulAdd(exp_below_zero<T>(y), total, g), out + i, lanes);
  });
}

void flush_softmax() { hwy::FlushStream(); }

template <class T>
constexpr SoftmaxTable<T> softmax_table_of() {
  return {row_sum<T>, softmax<T>, log_softmax<T>, scaled_softmax<T>, softmax_backward<T>, log_softmax_backward<T>, flush_softmax};
}
}  // namespace

constinit const SoftmaxKernels softmax_kernels = {softmax_table_of<float>(), softmax_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
