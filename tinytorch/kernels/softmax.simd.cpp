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

}  // namespace tinytorch
