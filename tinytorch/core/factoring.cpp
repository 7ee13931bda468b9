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
    tau = below == T{0} ? T{0} : (beta - alpha) / beta;
    x[0] = T{1};
    if (below != T{0}) divide_by(x + 1, alpha - beta, n - 1);
  }
};

// The T of H1 H2 ... = I - V T V^T, upper triangular, for the reflections in the rows of v.
template <class T>
Tensor together(const Block<T>& v, const T* tau) {
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
    const Tensor factors = together(v, tau);
    subtract_product(x, mm(mm(x.tensor(), v.tensor().t()), last_first ? factors.t() : factors), v.tensor());
    return;
  }
  for (std::int64_t step = 0; step < v.rows; ++step) {
    const std::int64_t j = last_first ? v.rows - 1 - step : step, n = x.columns - j;
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
      product_of_reflections(matrix_at<T>(Q, b), a.part(0, 0, count, m), tau.data());
    });
  });
  return {Q, R};
}

// Turns the columns p and q of x (rows x n) by the angle with this cosine and sine.
template <class T>
void rotate_columns(T* x, std::int64_t rows, std::int64_t n, std::int64_t p, std::int64_t q, T cosine, T sine) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const T a = x[i * n + p], b = x[i * n + q];
    x[i * n + p] = cosine * a - sine * b;
    x[i * n + q] = sine * a + cosine * b;
  }
}

// Cosine and sine of the smaller angle that diagonalises [[a, c], [c, b]]. Golub and Van Loan, algorithm 8.4.1.
template <class T>
std::pair<T, T> jacobi_angle(T a, T b, T c) {
  if (c == T{0}) return {T{1}, T{0}};
  const T zeta = (b - a) / (2 * c);
  const T tangent = std::copysign(T{1}, zeta) / (std::abs(zeta) + std::hypot(T{1}, zeta));
  const T cosine = 1 / std::hypot(T{1}, tangent);
  return {cosine, cosine * tangent};
}

// Makes the symmetric a (n x n) diagonal; v, which begins as the identity, holds the eigenvectors in its columns.
template <class T>
void diagonalise(T* a, T* v, std::int64_t n) {
  for (int sweep = 0; sweep < 60; ++sweep) {
    bool changed = false;
    for (std::int64_t p = 0; p < n; ++p) {
      for (std::int64_t q = p + 1; q < n; ++q) {
        const T off = a[p * n + q];
        if (std::abs(off) <= std::numeric_limits<T>::epsilon() / 8 * std::sqrt(std::abs(a[p * n + p] * a[q * n + q])) || std::abs(off) < std::numeric_limits<T>::min()) continue;
        changed = true;
        const auto [cosine, sine] = jacobi_angle(a[p * n + p], a[q * n + q], off);
        rotate_columns(a, n, n, p, q, cosine, sine);
        for (std::int64_t i = 0; i < n; ++i) {
          const T x = a[p * n + i], y = a[q * n + i];
          a[p * n + i] = cosine * x - sine * y;
          a[q * n + i] = sine * x + cosine * y;
        }
        rotate_columns(v, n, n, p, q, cosine, sine);
      }
    }
    if (!changed) return;
  }
}

// Turns columns of u (m x n) until they are orthogonal; v (n x n), which begins as the identity, turns with them.
template <class T>
void orthogonalise(T* u, T* v, std::int64_t m, std::int64_t n) {
  for (int sweep = 0; sweep < 60; ++sweep) {
    bool changed = false;
    for (std::int64_t p = 0; p < n; ++p) {
      for (std::int64_t q = p + 1; q < n; ++q) {
        T pp{0}, qq{0}, pq{0};
        for (std::int64_t i = 0; i < m; ++i) {
          pp += u[i * n + p] * u[i * n + p];
          qq += u[i * n + q] * u[i * n + q];
          pq += u[i * n + p] * u[i * n + q];
        }
        if (std::abs(pq) <= std::numeric_limits<T>::epsilon() / 4 * std::sqrt(pp * qq) || std::abs(pq) < std::numeric_limits<T>::min()) continue;
        changed = true;
        const auto [cosine, sine] = jacobi_angle(pp, qq, pq);
        rotate_columns(u, m, n, p, q, cosine, sine);
        rotate_columns(v, n, n, p, q, cosine, sine);
      }
    }
    if (!changed) return;
  }
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
    const std::int64_t n = A.size(-1);
    const Tensor one = lower ? tril(A) : mT(triu(A));
    const Tensor work = row_copy(one + mT(tril(one, -1)));
    const Tensor V = row_copy(eye(n, A.scalar_type()).expand(A.sizes()));
    const Tensor L = empty(batch_of(A, {n}), A.scalar_type());
    dispatch_floating_types(A.scalar_type(), "linalg_eigh", [&]<class T>() {
      for (std::int64_t b = 0; b < matrix_count(A); ++b) {
        T* const a = work.data<T>() + b * n * n;
        diagonalise(a, V.data<T>() + b * n * n, n);
        for (std::int64_t i = 0; i < n; ++i) L.data<T>()[b * n + i] = a[i * n + i];
      }
    });
    const auto [values, order] = L.sort(-1);
    const Tensor vectors = V.gather(-1, order.unsqueeze(-2).expand(V.sizes()));
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

// U (m x n), S and V of a tall A; columns of U that belong to no singular value are still zero.
template <class T>
void svd_of_tall(T* u, T* s, T* v, std::int64_t m, std::int64_t n) {
  orthogonalise(u, v, m, n);
  for (std::int64_t j = 0; j < n; ++j) {
    T length{0};
    for (std::int64_t i = 0; i < m; ++i) length = std::hypot(length, u[i * n + j]);
    s[j] = length;
    for (std::int64_t i = 0; i < m && length > T{0}; ++i) u[i * n + j] /= length;
  }
}

struct SVD : autograd::Function<SVD> {
  static variable_list forward(autograd::AutogradContext* context, const Tensor& A, bool full) {
    const bool wide = A.size(-2) < A.size(-1);
    const Tensor tall = row_copy(wide ? mT(A) : A);
    const std::int64_t m = tall.size(-2), n = tall.size(-1);
    const Tensor turned = row_copy(eye(n, A.scalar_type()).expand(batch_of(A, {n, n})));
    const Tensor lengths = empty(batch_of(A, {n}), A.scalar_type());
    dispatch_floating_types(A.scalar_type(), "linalg_svd", [&]<class T>() {
      for (std::int64_t b = 0; b < matrix_count(A); ++b) svd_of_tall(tall.data<T>() + b * m * n, lengths.data<T>() + b * n, turned.data<T>() + b * n * n, m, n);
    });
    const auto by_length = lengths.sort(-1, true);
    const Tensor &S = std::get<0>(by_length), &order = std::get<1>(by_length);
    const auto sorted = [&order](const Tensor& x) { return x.gather(-1, order.unsqueeze(-2).expand(x.sizes())); };
    Tensor left = sorted(tall);
    const Tensor right = sorted(turned);
    // Columns without a singular value, and those that make U square: the reflections that make U triangular have them, up to the sign of the others.
    if (full || (S == 0).any().item<bool>()) {
      const Tensor Q = mT(transposed_qr(left, m).first);
      const Tensor found = (S > 0).unsqueeze(-2);
      left = where(found, left, Q.narrow(-1, 0, n));
      if (full) left = cat({left, Q.narrow(-1, n, m - n)}, -1);
    }
    const Tensor U = wide ? right : left;
    const Tensor Vh = mT(wide ? left : right);
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

std::tuple<Tensor, Tensor> linalg_eigh(const Tensor& A, std::string_view UPLO) {
  check_matrix("linalg.eigh", A, true);
  TORCH_CHECK(UPLO == "L" || UPLO == "l" || UPLO == "U" || UPLO == "u", "Expected UPLO argument to be 'L' or 'U', but got ", UPLO);
  const variable_list results = SymmetricEigen::apply(A, UPLO == "L" || UPLO == "l");
  return {results[0], results[1]};
}
Tensor linalg_eigvalsh(const Tensor& A, std::string_view UPLO) {
  check_matrix("linalg.eigvalsh", A, true);
  return std::get<0>(linalg_eigh(A, UPLO));
}

std::tuple<Tensor, Tensor, Tensor> linalg_svd(const Tensor& A, bool full_matrices) {
  check_matrix("linalg.svd", A);
  const variable_list results = SVD::apply(A, full_matrices);
  return {results[0], results[1], results[2]};
}
Tensor linalg_svdvals(const Tensor& A) {
  check_matrix("linalg.svdvals", A);
  return std::get<1>(linalg_svd(A, false));
}
std::tuple<Tensor, Tensor, Tensor> svd(const Tensor& self, bool some, bool compute_uv) {
  check_matrix("linalg.svd", self);
  const auto [U, S, Vh] = linalg_svd(self, !some);
  if (compute_uv) return {U, S, mT(Vh)};
  return {zeros(batch_of(self, {self.size(-2), self.size(-2)}), self.options()), S, zeros(batch_of(self, {self.size(-1), self.size(-1)}), self.options())};
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
