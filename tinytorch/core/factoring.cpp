// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/custom_function.h"
#include "tinytorch/core/linalg.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/matrix_blocks.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace {
using matrices::batch_of, matrices::Block, matrices::check_matrix, matrices::divide_by, matrices::for_each_matrix, matrices::matrix_at, matrices::matrix_count, matrices::mT, matrices::row_copy, matrices::subtract_multiple;

constexpr std::int64_t kFewReflections = 32;  // that are put together

// In sixteen sums, which lie in vectors side by side. A single one would have to be added up in its order, number by number: a compiler may not change how numbers are rounded.
template <class T>
T dot(const T* a, const T* b, std::int64_t n) {
  T total{0};
  std::int64_t i = 0;
  if (constexpr std::int64_t kSums = 16; n >= kSums) {
    T sums[kSums] = {};
    for (; i + kSums <= n; i += kSums)
      for (std::int64_t lane = 0; lane < kSums; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    for (const T sum : sums) total += sum;
  }
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// The square root of the sum of squares, also where squares over- or underflow.
template <class T>
T length(const T* x, std::int64_t n) {
  const T squares = dot(x, x, n);
  if (std::isnan(squares)) return squares;
  if (squares > std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon() && squares <= std::numeric_limits<T>::max()) return std::sqrt(squares);
  T largest{0};
  for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  if (largest == T{0} || std::isinf(largest)) return largest;
  T sum{0};
  for (std::int64_t i = 0; i < n; ++i) sum += (x[i] / largest) * (x[i] / largest);
  return largest * std::sqrt(sum);
}

// x becomes the v of a reflection I - tau v v^T that takes x to (beta, 0, ..., 0). v begins with 1, and tau is 0 if there is nothing to do.
template <class T>
struct Reflection {
  T tau, beta;

  Reflection(T* x, std::int64_t n) {
    const T alpha = x[0], below = length(x + 1, n - 1);
    beta = below == T{0} ? alpha : -std::copysign(std::hypot(alpha, below), alpha);
    if (below != T{0}) divide_by(x + 1, alpha - beta, n - 1);
    x[0] = T{1};
    tau = below == T{0} ? T{0} : 2 / dot(x, x, n);  // a reflection for this very v, also where numbers too small for all digits were divided
  }
};

// The T of H1 H2 ... = I - V T V^T, upper triangular, for the reflections in the rows of v.
template <class T>
Tensor triangular_factor(const Block<T>& v, const T* tau) {
  const std::int64_t count = v.rows;
  const Tensor products = mm(v.tensor(), v.tensor().t()), result = zeros({count, count}, scalar_type_of<T>());
  const T* const g = products.data<T>();
  T* const t = result.data<T>();
  for (std::int64_t j = 0; j < count; ++j) {
    t[j * count + j] = tau[j];
    for (std::int64_t i = 0; i < j; ++i) {
      T sum{0};
      for (std::int64_t k = i; k < j; ++k) sum += t[i * count + k] * g[j * count + k];
      t[i * count + j] = -tau[j] * sum;
    }
  }
  return result;
}

// Applies the reflections in the rows of v to each row of x, the first one first or the last one first. v's row j is zero before j.
template <class T>
void reflect_rows(const Block<T>& x, const Block<T>& v, const T* tau, bool last_first) {
  if (x.rows * v.rows > kFewReflections * kFewReflections) {
    const Tensor factors = triangular_factor(v, tau);
    subtract_product(x, mm(mm(x.tensor(), v.tensor().t()), last_first ? factors.t() : factors), v.tensor());
    return;
  }
  for (std::int64_t step = 0; step < v.rows; ++step) {
    const std::int64_t j = last_first ? v.rows - 1 - step : step, n = x.columns - j;
    if (tau[j] == T{0}) continue;
    const T* const mirror = v.row(j) + j;
    for (std::int64_t i = 0; i < x.rows; ++i) subtract_multiple(x.row(i) + j, tau[j] * dot(mirror, x.row(i) + j, n), mirror, n);
  }
}

// The rows of a are A's columns. Makes them the reflections that make A upper triangular, and puts R's columns into the rows of r.
template <class T>
void reflect_to_triangle(const Block<T>& a, const Block<T>& r, T* tau) {
  const std::int64_t m = a.columns, n = a.rows, count = std::min(m, n);
  for (std::int64_t first = 0; first < count; first += kFewReflections) {
    const std::int64_t stop = std::min(first + kFewReflections, count);
    for (std::int64_t j = first; j < stop; ++j) {
      const Reflection<T> reflection(a.row(j) + j, m - j);
      tau[j] = reflection.tau;
      std::copy_n(a.row(j), j, r.row(j));
      r(j, j) = reflection.beta;
      std::fill_n(a.row(j), j, T{0});
      reflect_rows(a.part(j + 1, j, stop - j - 1, m - j), a.part(j, j, 1, m - j), tau + j, false);
    }
    reflect_rows(a.part(stop, first, n - stop, m - first), a.part(first, first, stop - first, m - first), tau + first, false);
  }
  for (std::int64_t j = count; j < n; ++j) std::copy_n(a.row(j), m, r.row(j));
}

// The first columns of the product of the reflections in the rows of v, into the rows of q. Backwards, so that a reflection meets only the columns that those after it have changed.
template <class T>
void product_of_reflections(const Block<T>& q, const Block<T>& v, const T* tau) {
  for (std::int64_t i = 0; i < q.rows; ++i) {
    std::fill_n(q.row(i), q.columns, T{0});
    q(i, i) = T{1};
  }
  for (std::int64_t first = (v.rows - 1) / kFewReflections * kFewReflections; first >= 0; first -= kFewReflections) {
    const std::int64_t count = std::min(kFewReflections, v.rows - first), n = q.columns - first;
    reflect_rows(q.part(first, first, q.rows - first, n), v.part(first, first, count, n), tau + first, true);
  }
}

// Q (..., m, q_columns) and R (..., min(m, n), n), as rows of their transposes.
std::pair<Tensor, Tensor> transposed_qr(const Tensor& A, std::int64_t q_columns) {
  const std::int64_t m = A.size(-2), n = A.size(-1), count = std::min(m, n);
  const Tensor columns = row_copy(mT(A)), Q = empty(batch_of(A, {q_columns, m}), A.scalar_type()), R = zeros(batch_of(A, {n, count}), A.scalar_type());
  dispatch_floating_types(A.scalar_type(), "linalg_qr", [&]<class T>() {
    std::vector<T> tau(static_cast<std::size_t>(count));
    for_each_matrix<T>(columns, [&](std::int64_t b, const Block<T>& a) {
      reflect_to_triangle(a, matrix_at<T>(R, b), tau.data());
      if (q_columns > 0) product_of_reflections(matrix_at<T>(Q, b), a.part(0, 0, count, m), tau.data());
    });
  });
  return {Q, R};
}

// What to multiply a matrix with so that its largest entry is between 1 and 2, and squares neither over- nor underflow: a power of two, which rounds nothing. NaN if an entry is not finite.
template <class T>
class Scale {
 public:
  void include(const T* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      largest_ = std::max(largest_, std::abs(x[i]));
      finite_ = finite_ && std::isfinite(x[i]);
    }
  }
  T factor() const {
    if (!finite_) return std::numeric_limits<T>::quiet_NaN();
    constexpr int kMost = std::numeric_limits<T>::max_exponent - 2;
    return largest_ == T{0} ? T{1} : std::ldexp(T{1}, std::clamp(-std::ilogb(largest_), -kMost, kMost));
  }

 private:
  T largest_{0};
  bool finite_ = true;
};

// Rotations of neighbouring rows, which are kept until there are many and then done strip by strip: a strip stays in the cache for all of them.
template <class T>
class Rotations {
 public:
  explicit Rotations(const Block<T>& x) : x_(x) {}

  // Row k becomes c row k + s row k + 1, and that c row k + 1 - s row k.
  void add(std::int64_t k, double c, double s) {
    if (x_.rows == 0) return;
    waiting_.push_back({k, static_cast<T>(c), static_cast<T>(s)});
    if (waiting_.size() >= static_cast<std::size_t>(kSweeps * x_.rows)) finish();
  }
  void finish() {
    for (std::int64_t first = 0; first < x_.columns; first += kStrip)
      for (const Rotation& r : waiting_) rotate(x_.row(r.k) + first, x_.row(r.k + 1) + first, r.c, r.s, std::min(kStrip, x_.columns - first));
    waiting_.clear();
  }

 private:
  static constexpr std::int64_t kSweeps = 16, kStrip = 64;
  struct Rotation {
    std::int64_t k;
    T c, s;
  };
  static void rotate(T* __restrict x, T* __restrict y, T c, T s, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const T a = x[i], b = y[i];
      x[i] = c * a + s * b;
      y[i] = c * b - s * a;
    }
  }
  Block<T> x_;
  std::vector<Rotation> waiting_;
};

// The cosine and sine that take (x, y) to (r, 0).
struct Angle {
  double c = 1, s = 0, r;

  Angle(double x, double y) : r(x) {
    if (y == 0) return;
    const double squares = x * x + y * y;  // of scaled numbers: they do not overflow
    r = squares > 1e-290 ? std::sqrt(squares) : std::hypot(x, y);
    c = x / r;
    s = y / r;
  }
};

// The diagonal of a matrix and what is beside it, n numbers each, in double also for float: they are few, and a rounding error in them would stay in the values. `negligible`: beside numbers of 1.
struct Diagonals {
  double *d, *e;
  std::int64_t n;
  double negligible;

  std::int64_t block_before(std::int64_t last) const;
};

// w := A v, of the upper triangle of a symmetric A.
template <class T>
void multiply_symmetric(T* w, const Block<T>& a, const T* v) {
  std::fill_n(w, a.rows, T{0});
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* const row = a.row(i);
    w[i] += dot(row + i, v + i, a.rows - i);
    subtract_multiple(w + i + 1, -v[i], row + i + 1, a.rows - i - 1);
  }
}

// Makes a symmetric A, whose upper triangle is read, tridiagonal. A's rows become, from the diagonal on, the reflections' vectors.
template <class T>
void reflect_to_tridiagonal(const Block<T>& a, const Diagonals& out, T* tau, T* w) {
  const std::int64_t n = a.rows;
  for (std::int64_t j = 0; j < n; ++j) {
    out.d[j] = a(j, j);
    if (j == n - 1) break;
    const std::int64_t rest = n - 1 - j;
    const Block<T> below = a.part(j + 1, j + 1, rest, rest);
    T* const v = a.row(j) + j + 1;
    const Reflection<T> reflection(v, rest);
    tau[j] = reflection.tau;
    out.e[j] = reflection.beta;
    std::fill_n(a.row(j), j + 1, T{0});
    if (tau[j] == T{0}) continue;
    // H A H = A - v w^T - w v^T with w = tau A v - (tau^2 v^T A v / 2) v
    multiply_symmetric(w, below, v);
    const T half = tau[j] * tau[j] * dot(v, w, rest) / 2;
    for (std::int64_t i = 0; i < rest; ++i) w[i] = tau[j] * w[i] - half * v[i];
    for (std::int64_t i = 0; i < rest; ++i) {
      subtract_multiple(below.row(i) + i, v[i], w + i, rest - i);
      subtract_multiple(below.row(i) + i, w[i], v + i, rest - i);
    }
  }
}

// Where the block that ends at `last` begins: after the last off-diagonal number that is negligible beside its neighbours, which becomes 0.
std::int64_t Diagonals::block_before(std::int64_t last) const {
  std::int64_t first = last;
  while (first > 0 && std::abs(e[first - 1]) > std::max(negligible * (std::abs(d[first - 1]) + std::abs(d[first])), std::numeric_limits<double>::min())) --first;
  if (first > 0) e[first - 1] = 0;
  return first;
}

// Calls step(first, last) for the last block that is not diagonal, until there is none. In practice two steps for each value; 60 are far more than enough.
template <class Step>
void until_diagonal(const Diagonals& m, Step step) {
  std::int64_t last = m.n - 1;
  for (std::int64_t steps = 0; last > 0 && steps < 60 * m.n;) {
    const std::int64_t first = m.block_before(last);
    if (first == last) {
      --last;
    } else {
      step(first, last);
      ++steps;
    }
  }
}

// One implicit QR step on rows first to last of a tridiagonal matrix, with Wilkinson's shift. Golub and Van Loan, algorithm 8.3.2.
template <class T>
void symmetric_step(const Diagonals& m, std::int64_t first, std::int64_t last, Rotations<T>& rotations) {
  double *const d = m.d, *const e = m.e;
  const double delta = (d[last - 1] - d[last]) / 2, off = e[last - 1];
  const double shift = d[last] - off * (off / (delta + std::copysign(std::hypot(delta, off), delta)));
  double x = d[first] - shift, bulge = e[first];
  for (std::int64_t k = first; k < last; ++k) {
    const auto [c, s, r] = Angle(x, bulge);
    if (k > first) e[k - 1] = r;
    // The two rows from the left, then the two columns from the right.
    const double aa = c * d[k] + s * e[k], ab = c * e[k] + s * d[k + 1], ba = c * e[k] - s * d[k], bb = c * d[k + 1] - s * e[k];
    d[k] = c * aa + s * ab;
    e[k] = c * ab - s * aa;
    d[k + 1] = c * bb - s * ba;
    rotations.add(k, c, s);
    if (k + 1 == last) break;
    x = e[k];
    bulge = s * e[k + 1];
    e[k + 1] *= c;
  }
}

// The product of reflections that leave the first coordinate alone: v's row j is zero before j + 1.
template <class T>
void product_from_second(const Block<T>& q, const Block<T>& v, const T* tau) {
  const std::int64_t n = q.rows;
  std::fill_n(q.row(0), n, T{0});
  for (std::int64_t i = 1; i < n; ++i) q(i, 0) = T{0};
  q(0, 0) = T{1};
  if (n > 1) product_of_reflections(q.part(1, 1, n - 1, n - 1), v.part(0, 1, n - 1, n - 1), tau);
}

// What is used again for each matrix of a batch.
template <class T>
struct Workspace {
  std::vector<double> diagonals;
  std::vector<T> numbers;

  // Room for the diagonals of n numbers, and for `count` others.
  Diagonals begin(std::int64_t n, std::int64_t count) {
    diagonals.resize(static_cast<std::size_t>(2 * n));
    numbers.resize(static_cast<std::size_t>(count));
    return {diagonals.data(), diagonals.data() + n, n, std::numeric_limits<T>::epsilon() / 4};
  }
};

// Eigenvalues of the symmetric A, whose upper triangle is read and overwritten, and eigenvectors in the rows of v, which may be empty.
template <class T>
void eigen_of_symmetric(const Block<T>& a, T* values, const Block<T>& v, Workspace<T>& space) {
  const std::int64_t n = a.rows;
  Scale<T> scale;
  for (std::int64_t i = 0; i < n; ++i) scale.include(a.row(i) + i, n - i);
  const T factor = scale.factor();
  if (std::isnan(factor)) {
    std::fill_n(values, n, factor);
    std::fill_n(v.data, v.rows * n, factor);
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) divide_by(a.row(i) + i, 1 / factor, n - i);
  const Diagonals m = space.begin(n, 2 * n);
  T *const tau = space.numbers.data(), *const w = tau + n;
  reflect_to_tridiagonal(a, m, tau, w);
  if (v.rows > 0) product_from_second(v, a, tau);
  Rotations<T> rotations(v);
  until_diagonal(m, [&](std::int64_t first, std::int64_t last) { symmetric_step(m, first, last, rotations); });
  rotations.finish();
  for (std::int64_t i = 0; i < n; ++i) values[i] = static_cast<T>(m.d[i] / static_cast<double>(factor));
}

// Eigenvalues, ascending, and eigenvectors, empty if they are not wanted.
std::pair<Tensor, Tensor> symmetric_eigen(const Tensor& A, bool lower, bool with_vectors) {
  const std::int64_t n = A.size(-1);
  const Tensor work = row_copy(lower ? mT(A) : A);
  const Tensor V = empty(batch_of(A, {with_vectors ? n : 0, n}), A.scalar_type()), L = empty(batch_of(A, {n}), A.scalar_type());
  dispatch_floating_types(A.scalar_type(), "linalg_eigh", [&]<class T>() {
    Workspace<T> space;
    for_each_matrix<T>(work, [&](std::int64_t b, const Block<T>& a) {
      if (n > 0) eigen_of_symmetric(a, L.data<T>() + b * n, matrix_at<T>(V, b), space);
    });
  });
  const auto [values, order] = L.sort(-1);
  if (!with_vectors) return {values, V};
  return {values, row_copy(mT(V.gather(-2, order.unsqueeze(-1).expand(V.sizes()))))};
}

// Makes a square A, whose columns are the rows of a, bidiagonal by reflections from the left, which become a's rows, and from the right, the rows of `right` from the second column on.
template <class T>
void reflect_to_bidiagonal(const Block<T>& a, const Block<T>& right, const Diagonals& out, T* left_tau, T* right_tau, T* dots, T* z) {
  const std::int64_t n = a.rows;
  for (std::int64_t j = 0; j < n; ++j) {
    // The right reflection of the step before, tau z u^T, and the dot products for this step's left one, while a column is in the cache.
    const auto finish_column = [&](std::int64_t c) {
      if (j > 0) subtract_multiple(a.row(c) + j, right_tau[j - 1] * right(j - 1, c), z + j, n - j);
    };
    finish_column(j);
    T* const v = a.row(j) + j;
    const Reflection<T> from_left(v, n - j);
    left_tau[j] = from_left.tau;
    out.d[j] = from_left.beta;
    std::fill_n(a.row(j), j, T{0});
    std::fill_n(right.row(j), j + 1, T{0});
    if (j == n - 1) break;
    for (std::int64_t c = j + 1; c < n; ++c) {
      finish_column(c);
      dots[c] = from_left.tau * dot(v, a.row(c) + j, n - j);
      right(j, c) = a(c, j) - dots[c];  // row j of A
    }
    const Reflection<T> from_right(right.row(j) + j + 1, n - 1 - j);
    right_tau[j] = from_right.tau;
    out.e[j] = from_right.beta;
    std::fill_n(z, n, T{0});
    for (std::int64_t c = j + 1; c < n; ++c) {
      T* const column = a.row(c) + j + 1;
      subtract_multiple(column, dots[c], v + 1, n - 1 - j);
      subtract_multiple(z + j + 1, -right(j, c), column, n - 1 - j);
    }
  }
}

// A QR step of B^T B with this shift for the bidiagonal B, without computing B^T B: Golub and Kahan's, in LAPACK's bdsqr.
template <class T>
void bidiagonal_step(const Diagonals& m, std::int64_t first, std::int64_t last, double shift, Rotations<T>& left, Rotations<T>& right) {
  double *const d = m.d, *const e = m.e;
  double x = (std::abs(d[first]) - shift) * (std::copysign(1.0, d[first]) + shift / d[first]), bulge = e[first];
  for (std::int64_t k = first; k < last; ++k) {
    const Angle of_columns(x, bulge);
    if (k > first) e[k - 1] = of_columns.r;
    x = of_columns.c * d[k] + of_columns.s * e[k];
    e[k] = of_columns.c * e[k] - of_columns.s * d[k];
    bulge = of_columns.s * d[k + 1];
    d[k + 1] *= of_columns.c;
    const Angle of_rows(x, bulge);
    d[k] = of_rows.r;
    x = of_rows.c * e[k] + of_rows.s * d[k + 1];
    d[k + 1] = of_rows.c * d[k + 1] - of_rows.s * e[k];
    e[k] = x;
    if (k + 1 < last) {
      bulge = of_rows.s * e[k + 1];
      e[k + 1] *= of_rows.c;
    }
    right.add(k, of_columns.c, of_columns.s);
    left.add(k, of_rows.c, of_rows.s);
  }
}

// The same with shift 0, which loses no digits of small values (Demmel and Kahan 1990). If a diagonal number is 0, the last one and what is beside it become 0 at once.
template <class T>
void bidiagonal_step_without_shift(const Diagonals& m, std::int64_t first, std::int64_t last, Rotations<T>& left, Rotations<T>& right) {
  double *const d = m.d, *const e = m.e;
  double c = 1, row_c = 1, row_s = 0;
  for (std::int64_t k = first; k < last; ++k) {
    const Angle of_columns(c * d[k], e[k]);
    if (k > first) e[k - 1] = row_s * of_columns.r;
    const Angle of_rows(row_c * of_columns.r, of_columns.s * d[k + 1]);
    d[k] = of_rows.r;
    right.add(k, of_columns.c, of_columns.s);
    left.add(k, of_rows.c, of_rows.s);
    c = of_columns.c;
    row_c = of_rows.c;
    row_s = of_rows.s;
  }
  const double rest = c * d[last];
  d[last] = rest * row_c;
  e[last - 1] = rest * row_s;
}

// The smaller singular value of [[a, b], [0, c]]: the larger one is half of the sum of two lengths, and their product is |a c|.
double smaller_singular_value(double a, double b, double c) {
  const double twice_larger = std::hypot(std::abs(a) + std::abs(c), b) + std::hypot(std::abs(a) - std::abs(c), b);
  return twice_larger == 0 ? 0 : 2 * std::abs(a) * (std::abs(c) / twice_larger);
}

// Singular values of a square A, whose columns are the rows of a, and the vectors in the rows of u and v, which may be empty. Overwrites a.
template <class T>
void svd_of_square(const Block<T>& a, T* values, const Block<T>& u, const Block<T>& v, Workspace<T>& space) {
  const std::int64_t n = a.rows;
  Scale<T> scale;
  scale.include(a.data, n * n);
  const T factor = scale.factor();
  if (std::isnan(factor)) {
    std::fill_n(values, n, factor);
    std::fill_n(u.data, u.rows * n, factor);
    std::fill_n(v.data, v.rows * n, factor);
    return;
  }
  divide_by(a.data, 1 / factor, n * n);
  const Diagonals m = space.begin(n, n * (n + 4));
  const Block<T> right{space.numbers.data(), n, n, n, 1};
  T *const left_tau = right.row(n), *const right_tau = left_tau + n;
  reflect_to_bidiagonal(a, right, m, left_tau, right_tau, right_tau + n, right_tau + 2 * n);
  if (u.rows > 0) {
    product_of_reflections(u, a, left_tau);
    product_from_second(v, right, right_tau);
  }
  Rotations<T> left_rotations(u), right_rotations(v);
  until_diagonal(m, [&](std::int64_t first, std::int64_t last) {
    const double shift = smaller_singular_value(m.d[last - 1], m.e[last - 1], m.d[last]), relative = shift / m.d[first];
    const bool singular = std::find(m.d + first, m.d + last + 1, 0.0) != m.d + last + 1;
    if (singular || relative * relative < m.negligible) bidiagonal_step_without_shift(m, first, last, left_rotations, right_rotations);
    else bidiagonal_step(m, first, last, shift, left_rotations, right_rotations);
  });
  left_rotations.finish();
  right_rotations.finish();
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::signbit(m.d[i]) && v.rows > 0) divide_by(v.row(i), T{-1}, n);
    values[i] = static_cast<T>(std::abs(m.d[i]) / static_cast<double>(factor));
  }
}

// U, S and V^T; without vectors, S only. A tall matrix becomes square by QR first: A = Q R = (Q U) S V^T.
std::tuple<Tensor, Tensor, Tensor> singular_values(const Tensor& A, bool full, bool with_vectors) {
  const bool wide = A.size(-2) < A.size(-1);
  const Tensor tall = wide ? mT(A) : A;
  const std::int64_t m = tall.size(-2), n = tall.size(-1), vectors = with_vectors ? n : 0;
  const auto [Q, work] = m > n ? transposed_qr(tall, !with_vectors ? 0 : full ? m : n) : std::pair(Tensor(), row_copy(mT(tall)));
  const Tensor left = empty(batch_of(A, {vectors, n}), A.scalar_type()), right = empty(left.sizes(), A.scalar_type()), lengths = empty(batch_of(A, {n}), A.scalar_type());
  dispatch_floating_types(A.scalar_type(), "linalg_svd", [&]<class T>() {
    Workspace<T> space;
    for_each_matrix<T>(work, [&](std::int64_t b, const Block<T>& a) {
      if (n > 0) svd_of_square(a, lengths.data<T>() + b * n, matrix_at<T>(left, b), matrix_at<T>(right, b), space);
    });
  });
  const auto [S, order] = lengths.sort(-1, true);
  if (!with_vectors) return {Tensor(), S, Tensor()};
  const Tensor rows = order.unsqueeze(-1).expand(left.sizes());
  Tensor u = left.gather(-2, rows);
  const Tensor v = right.gather(-2, rows);
  if (m > n) {
    u = matmul(u, Q.narrow(-2, 0, n));
    if (full) u = cat({u, Q.narrow(-2, n, m - n)}, -2);
  }
  return {row_copy(mT(wide ? v : u)), S, wide ? u : v};
}
}  // namespace

namespace {
// What the backward of a part of the results gives where none arrived.
Tensor or_zeros(const Tensor& gradient, const Tensor& like) { return gradient.defined() ? gradient : zeros_like(like); }

// X plus its transpose, with the diagonal once.
Tensor mirrored(const Tensor& upper) { return upper + mT(triu(upper, 1)); }

// dA of A = Q R with R square: (gQ + Q mirrored(triu(gR R^T - Q^T gQ))) R^-T.
Tensor square_qr_backward(const Tensor& gQ, const Tensor& gR, const Tensor& Q, const Tensor& R) {
  const Tensor inner = matmul(gR, mT(R)) - matmul(mT(Q), gQ);
  const Tensor left = gQ + matmul(Q, mirrored(triu(inner)));
  return mT(linalg_solve_triangular(R, mT(left), true));
}

struct QR : autograd::Function<QR> {
  static variable_list forward(autograd::AutogradContext* context, const Tensor& A, bool complete, bool with_q) {
    const std::int64_t m = A.size(-2), n = A.size(-1), k = std::min(m, n);
    const auto [columns_of_q, columns_of_r] = transposed_qr(A, with_q ? (complete ? m : k) : 0);
    const Tensor Q = with_q ? row_copy(mT(columns_of_q)) : empty({0}, A.scalar_type());
    const Tensor R = row_copy(mT(complete && m > k ? cat({columns_of_r, zeros(batch_of(A, {n, m - k}), A.scalar_type())}, -1) : columns_of_r));
    context->save_for_backward({Q, R});
    context->saved_data["complete"] = complete;
    context->saved_data["with_q"] = with_q;
    return {Q, R};
  }
  static variable_list backward(autograd::AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &Q = saved[0], &R = saved[1];
    TORCH_CHECK(context->saved_data["with_q"].toBool(), "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(A, mode='reduced') if you are going to require gradients wrt. A.");
    const std::int64_t m = Q.size(-2), n = R.size(-1);
    TORCH_CHECK(!context->saved_data["complete"].toBool() || m <= n, "The QR decomposition is not differentiable when mode='complete' and nrows > ncols.");
    const Tensor gQ = or_zeros(gradients[0], Q), gR = or_zeros(gradients[1], R);
    if (m >= n) return {square_qr_backward(gQ, gR, Q, R), Tensor(), Tensor()};
    // A = [X Y] with a square X = Q U, and Y = Q V: what arrives at V comes from Y, and through Q = X U^-1 from X.
    const Tensor gU = gR.narrow(-1, 0, m), gV = gR.narrow(-1, m, n - m), U = R.narrow(-1, 0, m), V = R.narrow(-1, m, n - m);
    const Tensor through_q = gQ + matmul(matmul(Q, V), mT(gV));
    return {cat({square_qr_backward(through_q, gU, Q, U), matmul(Q, gV)}, -1), Tensor(), Tensor()};
  }
};

struct SymmetricEigen : autograd::Function<SymmetricEigen> {
  static variable_list forward(autograd::AutogradContext* context, const Tensor& A, bool lower) {
    const auto [values, vectors] = symmetric_eigen(A, lower, true);
    context->save_for_backward({values, vectors});
    return {values, vectors};
  }
  static variable_list backward(autograd::AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &L = saved[0], &V = saved[1];
    Tensor inner = diag_embed(or_zeros(gradients[0], L));
    if (gradients[1].defined()) {
      const Tensor identity = eye(L.size(-1), L.options());
      const Tensor differences = L.unsqueeze(-2) - L.unsqueeze(-1) + identity;  // of any value on the diagonal, where the numerator is zero
      // Only the antisymmetric part turns V; the rest would change its lengths. The result is symmetric, whichever triangle was read.
      const Tensor turn = matmul(mT(V), gradients[1]);
      inner = inner + (turn - mT(turn)) / 2 / differences;
    }
    return {matmul(V, matmul(inner, mT(V))), Tensor()};
  }
};

struct SVD : autograd::Function<SVD> {
  static variable_list forward(autograd::AutogradContext* context, const Tensor& A, bool full) {
    const auto [U, S, Vh] = singular_values(A, full, true);
    context->save_for_backward({U, S, Vh});
    return {U, S, Vh};
  }
  static variable_list backward(autograd::AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const std::int64_t k = saved[1].size(-1);
    const auto used = [](const Tensor& gradient, std::int64_t dim, std::int64_t count) {
      TORCH_CHECK(!gradient.defined() || gradient.size(dim) == count,
                  "svd_backward: The singular vectors beyond the first min(m, n) are not unique, so they have no gradient\n[svd] use full_matrices = false (some = true).");
      return gradient;
    };
    const Tensor gU = used(gradients[0], -1, k), gVh = used(gradients[2], -2, k);
    const Tensor U = saved[0].narrow(-1, 0, k), Vh = saved[2].narrow(-2, 0, k);
    const Tensor& S = saved[1];
    Tensor inner = diag_embed(or_zeros(gradients[1], S));
    if (!gU.defined() && !gVh.defined()) return {matmul(U, matmul(inner, Vh)), Tensor()};
    const Tensor identity = eye(k, S.options());
    const Tensor squares = S * S;
    const Tensor E = squares.unsqueeze(-2) - squares.unsqueeze(-1) + identity;
    const auto skew = [](const Tensor& x) { return x - mT(x); };
    Tensor beside;  // of directions outside of the columns of U, or of V
    if (gU.defined()) {
      const Tensor UtgU = matmul(mT(U), gU);
      inner = inner + skew(UtgU) / E * S.unsqueeze(-2);
      if (U.size(-2) > k) beside = matmul((gU - matmul(U, UtgU)) / S.unsqueeze(-2), Vh);
    }
    if (gVh.defined()) {
      const Tensor VtgV = matmul(Vh, mT(gVh));
      inner = inner + S.unsqueeze(-1) * (skew(VtgV) / E);
      if (Vh.size(-1) > k) {
        const Tensor rest = matmul(U, (gVh - matmul(mT(VtgV), Vh)) / S.unsqueeze(-1));
        beside = beside.defined() ? beside + rest : rest;
      }
    }
    const Tensor gA = matmul(U, matmul(inner, Vh));
    return {beside.defined() ? gA + beside : gA, Tensor()};
  }
};
}  // namespace

std::tuple<Tensor, Tensor> linalg_qr(const Tensor& A, std::string_view mode) {
  TORCH_CHECK(mode == "reduced" || mode == "complete" || mode == "r", "qr received unrecognized mode '", mode, "' but expected one of 'reduced' (default), 'r', or 'complete'");
  check_matrix("linalg.qr", A);
  const variable_list results = QR::apply(A, mode == "complete", mode != "r");
  return {results[0], results[1]};
}

namespace {
void check_triangle(std::string_view UPLO) { TORCH_CHECK(UPLO == "L" || UPLO == "l" || UPLO == "U" || UPLO == "u", "Expected UPLO argument to be 'L' or 'U', but got ", UPLO); }
}  // namespace

std::tuple<Tensor, Tensor> linalg_eigh(const Tensor& A, std::string_view UPLO) {
  check_matrix("linalg.eigh", A, true);
  check_triangle(UPLO);
  const variable_list results = SymmetricEigen::apply(A, UPLO == "L" || UPLO == "l");
  return {results[0], results[1]};
}
Tensor linalg_eigvalsh(const Tensor& A, std::string_view UPLO) {
  check_matrix("linalg.eigvalsh", A, true);
  if (A.requires_grad() && GradMode::is_enabled()) return std::get<0>(linalg_eigh(A, UPLO));  // the gradient needs the vectors
  check_triangle(UPLO);
  return symmetric_eigen(A, UPLO == "L" || UPLO == "l", false).first;
}

std::tuple<Tensor, Tensor, Tensor> linalg_svd(const Tensor& A, bool full_matrices) {
  check_matrix("linalg.svd", A);
  const variable_list results = SVD::apply(A, full_matrices);
  return {results[0], results[1], results[2]};
}
Tensor linalg_svdvals(const Tensor& A) {
  check_matrix("linalg.svdvals", A);
  return std::get<1>(A.requires_grad() && GradMode::is_enabled() ? linalg_svd(A, false) : singular_values(A, false, false));  // the gradient needs the vectors
}
std::tuple<Tensor, Tensor, Tensor> svd(const Tensor& self, bool some, bool compute_uv) {
  check_matrix("linalg.svd", self);
  if (compute_uv) {
    const auto [U, S, Vh] = linalg_svd(self, !some);
    return {U, S, mT(Vh)};
  }
  return {zeros(batch_of(self, {self.size(-2), self.size(-2)}), self.options()), linalg_svdvals(self), zeros(batch_of(self, {self.size(-1), self.size(-1)}), self.options())};
}

namespace {
// Singular values above the tolerance, as a mask.
Tensor that_count(const Tensor& S, const Tensor& A, std::optional<double> rtol) {
  const double epsilon = A.scalar_type() == kFloat ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
  return S > S.narrow(-1, 0, 1) * rtol.value_or(epsilon * static_cast<double>(std::max(A.size(-1), A.size(-2))));
}
}  // namespace

Tensor linalg_pinv(const Tensor& A, std::optional<double> rtol) {
  check_matrix("linalg.pinv", A);
  if (A.numel() == 0) return zeros(batch_of(A, {A.size(-1), A.size(-2)}), A.options());
  const auto [U, S, Vh] = linalg_svd(A, false);
  const Tensor counts = that_count(S, A, rtol);
  const Tensor inverse_values = where(counts, where(counts, S, ones_like(S)).reciprocal(), zeros_like(S));
  return matmul(mT(Vh) * inverse_values.unsqueeze(-2), mT(U));
}

Tensor linalg_matrix_rank(const Tensor& A, std::optional<double> tol) {
  check_matrix("linalg.matrix_rank", A);
  if (A.numel() == 0) return zeros(batch_of(A, {}), kLong);
  const Tensor S = linalg_svdvals(A.detach());
  return (tol ? S > *tol : that_count(S, A, std::nullopt)).sum(-1);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> linalg_lstsq(const Tensor& self, const Tensor& b, std::optional<double> rcond, std::optional<std::string_view> driver) {
  check_matrix("torch.linalg.lstsq", self);
  const std::string_view names[] = {"gels", "gelsy", "gelsd", "gelss"};
  TORCH_CHECK(!driver || std::find(std::begin(names), std::end(names), *driver) != std::end(names), "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)");
  TORCH_CHECK(self.scalar_type() == b.scalar_type(), "torch.linalg.lstsq: Expected input and other to have the same dtype, but got input's dtype ", self.scalar_type(), " and other's dtype ", b.scalar_type());
  const std::int64_t m = self.size(-2), n = self.size(-1);
  const bool vectors = b.dim() == self.dim() - 1 && b.sizes() == batch_of(self, {m});
  TORCH_CHECK(vectors || (b.dim() >= 2 && b.size(-2) == m), "torch.linalg.lstsq: input.size(-2) should match other.size(-", vectors ? 1 : 2, ")\n[linalg_lstsq] a matrix of sizes ", self.sizes(),
              " needs a right side of ", m, " rows, but got ", b.sizes());
  const Tensor columns = vectors ? b.unsqueeze(-1) : b;
  const Tensor X = matmul(linalg_pinv(self, rcond), columns);
  const auto [U, S, Vh] = linalg_svd(self.detach(), false);
  const Tensor rank = S.numel() == 0 ? zeros(batch_of(self, {}), kLong) : that_count(S, self, rcond).sum(-1);
  Tensor residuals = empty({0}, self.options());
  if (driver && *driver != "gelsy" && m > n && (rank == n).all().item<bool>()) {
    residuals = (matmul(self, X) - columns).pow(2).sum(-2);
    if (vectors) residuals = residuals.squeeze(-1);
  }
  return {vectors ? X.squeeze(-1) : X, residuals, rank, empty({0}, self.options())};
}

Tensor linalg_matrix_exp(const Tensor& self) {
  check_matrix("linalg.matrix_exp", self, true);
  if (self.numel() == 0) return self.clone();
  const double norm = self.detach().abs().sum(-2).max().item<double>();
  const int halvings = std::isfinite(norm) && norm > 1 ? std::ilogb(norm) + 1 : 0;
  const Tensor A = self / std::ldexp(1.0, halvings);
  const Tensor one = eye(self.size(-1), self.options().requires_grad(false));
  Tensor result = one + A / 18;
  for (int k = 17; k >= 1; --k) result = one + matmul(A, result) / k;
  for (int i = 0; i < halvings; ++i) result = matmul(result, result);
  return result;
}
Tensor matrix_power(const Tensor& self, std::int64_t n) {
  TORCH_CHECK(self.dim() >= 2 && self.size(-1) == self.size(-2), "linalg.matrix_power: A must be batches of square matrices, but they are ", self.dim() < 2 ? 0 : self.size(-2), " by ",
              self.dim() < 2 ? 0 : self.size(-1), " matrices");
  if (n < 0) return matrix_power(linalg_inv(self), -n);
  Tensor result = eye(self.size(-1), self.options()).expand(self.sizes());
  for (Tensor square_of = self; n > 0; n /= 2) {
    if (n % 2 == 1) result = matmul(result, square_of);
    if (n > 1) square_of = matmul(square_of, square_of);
  }
  return result;
}
Tensor linalg_matrix_power(const Tensor& A, std::int64_t n) { return matrix_power(A, n); }

namespace {
// Refuses integers, and a result of a type that has no room for self's numbers.
void check_norm_types(const char* name, const Tensor& self, std::optional<ScalarType> dtype) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), name, ": Expected a floating point or complex tensor as input. Got ", self.scalar_type());
  if (!dtype) return;
  TORCH_CHECK(isFloatingType(*dtype), name, ": dtype should be floating point or complex, but got ", *dtype);
  TORCH_CHECK(promoteTypes(self.scalar_type(), *dtype) == *dtype, name, ": the dtype of the input (", self.scalar_type(), ") should be convertible without narrowing to the specified dtype (", *dtype, ")");
}

// The largest or the smallest over one dimension; the largest of nothing is 0.
Tensor extreme(const Tensor& x, bool largest, std::int64_t dim, bool keepdim) {
  if (!largest) return amin(x, dim, keepdim);
  return x.size(dim) == 0 ? x.sum(dim, keepdim) : amax(x, dim, keepdim);
}

// The two dimensions of a matrix norm, counted from the front.
std::pair<std::int64_t, std::int64_t> matrix_dims(const Tensor& self, IntArrayRef dim, std::optional<ScalarType> dtype) {
  constexpr const char* name = "linalg.matrix_norm";
  TORCH_CHECK(self.dim() >= 2, name, ": The input tensor A must have at least 2 dimensions.");
  check_norm_types(name, self, dtype);
  TORCH_CHECK(dim.size() == 2, name, ": dim must be a 2-tuple. Got ", dim);
  const std::int64_t rows = wrap_dim(dim[0], self.dim()), columns = wrap_dim(dim[1], self.dim());
  TORCH_CHECK(rows != columns, name, ": dims must be different. Got (", rows, ", ", columns, ")");
  return {rows, columns};
}

// The singular values of the matrices in two dimensions, in the last one, joined by f.
template <class F>
Tensor of_singular_values(const Tensor& self, std::int64_t rows, std::int64_t columns, bool keepdim, F f) {
  const Tensor result = f(linalg_svdvals(self.movedim({rows, columns}, {-2, -1})));
  if (!keepdim) return result;
  const auto [first, second] = std::minmax(rows, columns);
  return result.unsqueeze(first).unsqueeze(second);
}
}  // namespace

Tensor linalg_vector_norm(const Tensor& self, const Scalar& ord, OptionalIntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) {
  check_norm_types("linalg.vector_norm", self, dtype);
  return norm(dtype ? self.to(*dtype) : self, ord, dim.value_or(IntArrayRef()), keepdim);
}

Tensor linalg_matrix_norm(const Tensor& self, const Scalar& ord, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) {
  auto [rows, columns] = matrix_dims(self, dim, dtype);
  const double order = ord.toDouble(), size = std::fabs(order);
  TORCH_CHECK(size == 1 || size == 2 || std::isinf(size), "linalg.matrix_norm: Order ", order, " not supported.");
  const Tensor A = dtype ? self.to(*dtype) : self;
  if (size == 2) return of_singular_values(A, rows, columns, keepdim, [&](const Tensor& s) { return extreme(s, order > 0, -1, false); });
  if (std::isinf(size)) std::swap(rows, columns);
  const Tensor sums = linalg_vector_norm(A, 1, rows, keepdim);
  return extreme(sums, order > 0, columns - (!keepdim && rows < columns ? 1 : 0), keepdim);
}

Tensor linalg_matrix_norm(const Tensor& self, std::string_view ord, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) {
  TORCH_CHECK(ord == "fro" || ord == "nuc", "linalg.matrix_norm: Order ", ord, " not supported.");
  const auto [rows, columns] = matrix_dims(self, dim, dtype);
  if (ord == "fro") return linalg_vector_norm(self, 2, {rows, columns}, keepdim, dtype);
  return of_singular_values(dtype ? self.to(*dtype) : self, rows, columns, keepdim, [](const Tensor& s) { return s.sum(-1); });
}

namespace {
void check_norm_dims(const Tensor& self, const OptionalIntArrayRef& dim) {
  TORCH_CHECK(!dim || dim->size() == 1 || dim->size() == 2, "linalg.norm: If dim is specified, it must be of length 1 or 2. Got ", dim.value_or(IntArrayRef()));
  TORCH_CHECK(dim || self.dim() == 1 || self.dim() == 2, "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got ", self.dim(), "D.");
}
}  // namespace

Tensor linalg_norm(const Tensor& self, const std::optional<Scalar>& ord, OptionalIntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) {
  if (dim || ord) check_norm_dims(self, dim);
  const bool is_matrix = dim ? dim->size() == 2 : self.dim() == 2;
  if (!ord || !is_matrix) return linalg_vector_norm(self, ord.value_or(2), dim, keepdim, dtype);
  return linalg_matrix_norm(self, *ord, dim.value_or(IntArrayRef({0, 1})), keepdim, dtype);
}

Tensor linalg_norm(const Tensor& self, std::string_view ord, OptionalIntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) {
  check_norm_dims(self, dim);
  return linalg_matrix_norm(self, ord, dim.value_or(IntArrayRef({0, 1})), keepdim, dtype);
}

}  // namespace tinytorch
