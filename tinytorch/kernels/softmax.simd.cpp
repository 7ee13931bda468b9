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
    fetch_ahead<4 * L>(x + i, count * static_cast<std::int64_t>(sizeof(T)));  // what lies behind these numbers: the next piece or row
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
    const Vector<T> e = exp_below_zero<T>(hn::Sub(hn::LoadU(d, x + place), hn::Load(d, maxima + k)));
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
      [](Vector<T> g, Vector<T> y, Vector<T> total) HWY_ATTR { return hn::NegMulAdd(exp_below_zero<T>(y), total, g); });
}

void flush_softmax() { hwy::FlushStream(); }

template <class T>
constexpr SoftmaxTable<T> softmax_table_of() {
  return {row_sum<T>, softmax<T>, log_softmax<T>, scaled_softmax<T>, softmax_backward<T>, log_softmax_backward<T>, softmax_of_columns<T>, log_softmax_of_columns<T>, softmax_backward_of_columns<T>, log_softmax_backward_of_columns<T>, flush_softmax};
}
}  // namespace

constinit const SoftmaxKernels softmax_kernels = {softmax_table_of<float>(), softmax_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
