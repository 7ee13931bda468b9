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
// # Library chapter 68: Solving and factoring matrices
//
// Networks multiply matrices; around them stand programs that also solve with them: whitening, Kalman filters, Gaussian processes, low-rank adapters, second-order optimizers, losses with a determinant in them. PyTorch calls LAPACK for these. Here they are
// LAPACK's classical algorithms, a page or two each, and their gradients, which are short once each factorization is differentiated as an equation. No exercises.
//
//     A x = b            elimination with row exchanges              n^3 / 3 multiplications
//     A = L L^T          Cholesky, A symmetric and positive          n^3 / 6
//     A = Q R            Householder reflections                     m n^2 - n^3 / 3 for R, and again for Q
//     A = V diag(l) V^T  reflections to a tridiagonal matrix,        2/3 n^3
//                        then rotations, A symmetric                 n^2, and some 5 n^3 for V
//     A = U diag(s) V^T  QR where m > n; reflections to a            4/3 n^3
//                        bidiagonal matrix, then rotations           n^2, and some 10 n^3 for U and V
//
// All take batches: the last two dimensions are the matrix, those before count matrices, which are worked one after the other. They compute in the input's own dtype, float or double.
//
// *A gradient by implicit differentiation.* X = A^-1 is defined by A X = I. Differentiate: dA X + A dX = 0, so dX = -X dA X. For a loss with gradient G for X, the gradient for A is what makes <G, dX> = <.., dA>: it is -X^T G X^T. No step of the elimination is
// differentiated; the same trick gives all gradients of this chapter, and makes second derivatives follow, because they are products of matrices again.

// %%
//| after 09
//| export core/linalg_methods.h
//| extends Tensor
#include <cstdint>
#include <optional>
#include <tuple>

namespace tinytorch {
class Tensor;

// The Tensor methods of chapter 68. Each calls the function of its name (linalg.h, pairs.h), where it is documented.
class LinalgMethods {
 public:
  Tensor inverse() const;
  Tensor det() const;
  Tensor logdet() const;
  std::tuple<Tensor, Tensor> slogdet() const;
  Tensor cholesky(bool upper = false) const;
  Tensor cholesky_solve(const Tensor& input2, bool upper = false) const;
  std::tuple<Tensor, Tensor> qr(bool some = true) const;
  std::tuple<Tensor, Tensor, Tensor> svd(bool some = true, bool compute_uv = true) const;
  Tensor pinverse(double rcond = 1e-15) const;
  Tensor matrix_power(std::int64_t n) const;
  Tensor matrix_exp() const;
  Tensor cov(std::int64_t correction = 1) const;
  Tensor cov(std::int64_t correction, const std::optional<Tensor>& fweights) const;
  Tensor cov(std::int64_t correction, const std::optional<Tensor>& fweights, const std::optional<Tensor>& aweights) const;
  Tensor corrcoef() const;
};
}  // namespace tinytorch

// %%
//| export core/linalg.h
#include <optional>
#include <string_view>
#include <tuple>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/optional_array_ref.h"
//| export core/matrix_blocks.h
#include <cstdint>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
//| export core/solving.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>
#include "tinytorch/core/custom_function.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/linalg.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/matrix_blocks.h"
#include "tinytorch/core/more_ops.h"
//| export core/factoring.cpp
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
//| export core/pairs.h
#include <optional>
#include "tinytorch/core/ops.h"
//| export core/pairs.cpp
#include <cmath>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pairs.h"
//| export core/linalg_methods.cpp
#include "tinytorch/core/linalg.h"
#include "tinytorch/core/pairs.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/linalg.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pairs.h"
#include "tinytorch/core/tensor_data.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Neighbours and products
//
// The textbooks' loops touch all of the matrix in each of n rounds, and a matrix of 512 rows, a megabyte, does not fit into the cache next to the core: each round fetches it again. Two rules make the same algorithms fast.
//
// *Inner loops run over neighbours in memory*, down a column that is contiguous, or along a row: the compiler makes vector instructions of them. The rows of a matrix are the columns of its transpose, so to have contiguous columns, which elimination wants, is to transpose first. LAPACK has them always: it is written in Fortran.
//
// *The bulk is a product of matrices.* A product of n x n matrices fetches n^2 numbers for n^3 multiplications, and the library's own (module 16, where it is there) is tuned for that. So a matrix is cut: a few columns are worked by loops, and what they do to all others is put off and done at once,
// by one product.

// %%
//| export core/matrix_blocks.h
// For chapter 68's sources: pieces of matrices that are worked by loops, and by products where they are large.
namespace matrices {

// A piece of a matrix in memory. Loops want its columns to be contiguous (row_stride 1), or its rows (column_stride 1).
template <class T>
struct Block {
  T* data;
  std::int64_t rows, columns, row_stride, column_stride;

  T& operator()(std::int64_t i, std::int64_t j) const { return data[i * row_stride + j * column_stride]; }
  T* row(std::int64_t i) const { return data + i * row_stride; }
  T* column(std::int64_t j) const { return data + j * column_stride; }
  Block part(std::int64_t i, std::int64_t j, std::int64_t part_rows, std::int64_t part_columns) const { return {row(i) + j * column_stride, part_rows, part_columns, row_stride, column_stride}; }
  Block t() const { return {data, columns, rows, column_stride, row_stride}; }
  Tensor tensor() const { return from_blob(data, {rows, columns}, {row_stride, column_stride}, scalar_type_of<T>()); }
};

// A copy of (..., m, n) in the order of rows, whatever the input's memory.
Tensor row_copy(const Tensor& A);

// Of (..., m, n): how many matrices, the sizes before m and n followed by `matrix`, and each matrix transposed.
inline std::int64_t matrix_count(const Tensor& A) {
  std::int64_t count = 1;
  for (std::int64_t d = 0; d < A.dim() - 2; ++d) count *= A.size(d);
  return count;
}
inline DimVector batch_of(const Tensor& A, IntArrayRef matrix = {}) {
  DimVector sizes(IntArrayRef(A.sizes().data(), A.sizes().size() - 2));
  for (const std::int64_t size : matrix) sizes.push_back(size);
  return sizes;
}
inline Tensor mT(const Tensor& x) { return x.transpose(-2, -1); }

// Matrix b of the contiguous x.
template <class T>
Block<T> matrix_at(const Tensor& x, std::int64_t b) {
  const std::int64_t rows = x.size(-2), columns = x.size(-1);
  return {x.data<T>() + b * rows * columns, rows, columns, columns, 1};
}

// Calls f(b, matrix_at(x, b)) for each matrix.
template <class T, class F>
void for_each_matrix(const Tensor& x, F f) {
  const std::int64_t count = matrix_count(x);
  Block<T> matrix = matrix_at<T>(x, 0);
  for (std::int64_t b = 0; b < count; ++b, matrix.data += matrix.rows * matrix.columns) f(b, matrix);
}

// y -= factor x
template <class T>
void subtract_multiple(T* __restrict y, T factor, const T* __restrict x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] -= factor * x[i];
}

// x /= divisor
template <class T>
void divide_by(T* x, T divisor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] /= divisor;
}

// c -= a b
template <class T>
void subtract_product(const Block<T>& c, const Tensor& a, const Tensor& b) {
  if (c.column_stride != 1) return subtract_product(c.t(), b.t(), a.t());
  const Tensor product = mm(a, b);
  for (std::int64_t i = 0; i < c.rows; ++i) subtract_multiple(c.row(i), T{1}, product.data<T>() + i * c.columns, c.columns);
}

// Throws, in the words of PyTorch's function `name`, unless A is a matrix or a batch of them, `square` if so wanted, of float or double.
void check_matrix(const char* name, const Tensor& A, bool square = false);

}  // namespace matrices

// %% [markdown]
// ## Elimination
//
// Subtract multiples of the row with the pivot from the rows below, until the matrix is triangular. The pivot is the largest number left in its column: with a small one the multiples are large and rounding errors grow with them.
//
//     2  1 | 3      exchange     4  1 | 5      row 2 - 0.5 row 1     4  1   | 5
//     4  1 | 5     -------->     2  1 | 3     ----------------->     0  0.5 | 0.5      then x2 = 1, x1 = 1
//
// The multiples go where the zeros arise. Then the matrix holds its factors: P A = L U, with the multiples in L below a diagonal of ones, and P the exchanges. A X = B is two triangular systems, L (U X) = P B, and the inverse is the X for B = I.
//
// *By halves* (Toledo 1997). Factor the left half of the columns, exchange the right half's rows alike, and solve L11 U12 = A12. The right half now lacks nothing but A22 - L21 U12, a product; factor what is left. The left half is again two halves, down to 32 columns, for which loops are as good.
//
//     [ A11 A12 ]      [ L11\U11  A12 ]      [ L11\U11  U12             ]
//     [ A21 A22 ]  ->  [   L21    A22 ]  ->  [   L21    A22 - L21 U12   ]  ->  the same with the last block
//
// A triangular system is halved in the same way: solve for the upper half of X, subtract a product from the lower half of B, solve for the lower half. So is Cholesky, which needs no exchanges and half of the work. LAPACK cuts off one strip of columns after the other, and calls the products of a tuned BLAS too.
//
// The determinant is the product of the pivots, with a minus for each exchange. It over- and underflows soon (0.1^100 is 1e-100, and float ends at 1e-38), so `slogdet` gives its sign and the logarithm of its size.

// %%
//| export core/linalg.h
// ---- Of square matrices (..., n, n), float or double. O(n^3) for each.
Tensor linalg_inv(const Tensor& A);  // throws for a singular matrix
inline Tensor inverse(const Tensor& self) { return linalg_inv(self); }
Tensor linalg_det(const Tensor& A);  // (...)
inline Tensor det(const Tensor& self) { return linalg_det(self); }
std::tuple<Tensor, Tensor> linalg_slogdet(const Tensor& A);  // the sign, 0 for a singular matrix, and log |det|
inline std::tuple<Tensor, Tensor> slogdet(const Tensor& self) { return linalg_slogdet(self); }
Tensor logdet(const Tensor& self);  // NaN for a negative determinant, -inf for a singular matrix
// X with A X = B, or X A = B unless `left`. B is (..., n, k), or (..., n) with the batch dimensions of A; they broadcast otherwise. Throws for a singular matrix.
Tensor linalg_solve(const Tensor& A, const Tensor& B, bool left = true);
// The lower (upper) triangular L (U) with A = L L^T (U^T U). Only that triangle of A is read. Throws unless A is positive definite.
Tensor linalg_cholesky(const Tensor& A, bool upper = false);
inline Tensor cholesky(const Tensor& self, bool upper = false) { return linalg_cholesky(self, upper); }
// As linalg_solve, of a triangular A: only that triangle is read, and not the diagonal when it is to be ones. A zero on the diagonal gives infinities. O(n^2 k).
Tensor linalg_solve_triangular(const Tensor& self, const Tensor& B, bool upper, bool left = true, bool unitriangular = false);
// X with A X = self for the factor of A that linalg_cholesky gave.
Tensor cholesky_solve(const Tensor& self, const Tensor& input2, bool upper = false);

namespace op {
extern Operator<Tensor(const Tensor&)> linalg_inv;
extern Operator<Tensor(const Tensor&)> linalg_det;
extern Operator<Tensor(const Tensor&, const Tensor&)> linalg_solve;
extern Operator<Tensor(const Tensor&, bool)> linalg_cholesky;
extern Operator<Tensor(const Tensor&, const Tensor&, bool, bool)> linalg_solve_triangular;
}  // namespace op

// %%
//| export core/solving.cpp
Tensor matrices::row_copy(const Tensor& A) {
  const Tensor copy = empty(A.sizes(), A.scalar_type());
  copy_into(copy, A);
  return copy;
}

void matrices::check_matrix(const char* name, const Tensor& A, bool square) {
  TORCH_CHECK(A.dim() >= 2, name, ": The input tensor A must have at least 2 dimensions.");
  TORCH_CHECK(!square || A.size(-1) == A.size(-2), name, ": A must be batches of square matrices, but they are ", A.size(-2), " by ", A.size(-1), " matrices");
  TORCH_CHECK(A.is_floating_point(), name, ": Expected a floating point or complex tensor as input. Got ", A.scalar_type());
  TORCH_CHECK_NOT_IMPLEMENTED(A.scalar_type() == kFloat || A.scalar_type() == kDouble, name, ": Low precision dtypes not supported. Got ", A.scalar_type(), "\n[", name, "] convert with to(kFloat) first.");
}

namespace {
using matrices::batch_of, matrices::Block, matrices::check_matrix, matrices::divide_by, matrices::for_each_matrix, matrices::matrix_at, matrices::matrix_count, matrices::mT, matrices::row_copy, matrices::subtract_multiple;

constexpr std::int64_t kFewColumns = 32;  // what is worked by loops

// Whether there are several matrices: errors then say which one.
std::string batch_element(const Tensor& A, std::int64_t b) { return A.dim() > 2 ? str("(Batch element ", b, "): ") : ""; }

// B := A^-1 B for a triangular A, of which only that triangle is read, and not the diagonal if it is `unit`. Either B has contiguous rows, or both have contiguous columns.
template <class T>
void substitute(const Block<T>& a, const Block<T>& b, bool upper, bool unit) {
  const std::int64_t n = a.rows, half = n / 2;
  if (n > kFewColumns) {
    const Block<T> above = b.part(0, 0, half, b.columns), below = b.part(half, 0, n - half, b.columns);
    const Block<T> first = a.part(0, 0, half, half), last = a.part(half, half, n - half, n - half);
    if (upper) {
      substitute(last, below, upper, unit);
      subtract_product(above, a.part(0, half, half, n - half).tensor(), below.tensor());
      substitute(first, above, upper, unit);
    } else {
      substitute(first, above, upper, unit);
      subtract_product(below, a.part(half, 0, n - half, half).tensor(), above.tensor());
      substitute(last, below, upper, unit);
    }
  } else if (b.column_stride == 1) {
    for (std::int64_t step = 0; step < n; ++step) {
      const std::int64_t i = upper ? n - 1 - step : step;
      for (std::int64_t j = upper ? i + 1 : 0; j < (upper ? n : i); ++j) subtract_multiple(b.row(i), a(i, j), b.row(j), b.columns);
      if (!unit) divide_by(b.row(i), a(i, i), b.columns);
    }
  } else {
    for (std::int64_t c = 0; c < b.columns; ++c) {
      T* const x = b.column(c);
      for (std::int64_t step = 0; step < n; ++step) {
        const std::int64_t j = upper ? n - 1 - step : step;
        if (!unit) x[j] /= a(j, j);
        if (upper) subtract_multiple(x, x[j], a.column(j), j);
        else subtract_multiple(x + j + 1, x[j], a.column(j) + j + 1, n - j - 1);
      }
    }
  }
}

// For each j in turn, exchanges row j with row pivots[j]. Columns are contiguous.
template <class T>
void exchange_rows(const Block<T>& a, const std::int64_t* pivots, std::int64_t count) {
  for (std::int64_t c = 0; c < a.columns; ++c)
    for (std::int64_t j = 0; j < count; ++j) std::swap(a(j, c), a(pivots[j], c));
}

// A := L\U, with at least as many rows as columns, which are contiguous. Where a column has no pivot but 0, nothing is subtracted.
template <class T>
void eliminate(const Block<T>& a, std::int64_t* pivots) {
  const std::int64_t m = a.rows, n = a.columns, half = n / 2;
  if (n <= kFewColumns) {
    for (std::int64_t j = 0; j < n; ++j) {
      T* const column = a.column(j);
      std::int64_t pivot = j;
      for (std::int64_t i = j + 1; i < m; ++i)
        if (std::abs(column[i]) > std::abs(column[pivot])) pivot = i;
      pivots[j] = pivot;
      if (pivot != j)
        for (std::int64_t c = 0; c < n; ++c) std::swap(a(j, c), a(pivot, c));
      if (column[j] == T{0}) continue;
      divide_by(column + j + 1, column[j], m - j - 1);
      for (std::int64_t c = j + 1; c < n; ++c) subtract_multiple(a.column(c) + j + 1, a(j, c), column + j + 1, m - j - 1);
    }
    return;
  }
  const Block<T> left = a.part(0, 0, m, half), right = a.part(0, half, m, n - half);
  const Block<T> above = right.part(0, 0, half, n - half), below = right.part(half, 0, m - half, n - half);
  eliminate(left, pivots);
  exchange_rows(right, pivots, half);
  substitute(left.part(0, 0, half, half), above, false, true);
  subtract_product(below, left.part(half, 0, m - half, half).tensor(), above.tensor());
  eliminate(below, pivots + half);
  exchange_rows(left.part(half, 0, m - half, half), pivots + half, n - half);
  for (std::int64_t j = half; j < n; ++j) pivots[j] += half;
}

// Exchanges the triangles of a square matrix, by tiles: a column by itself would fetch a line of the cache for each number.
template <class T>
void transpose_in_place(const Block<T>& a) {
  constexpr std::int64_t kTile = 16;
  for (std::int64_t below = 0; below < a.rows; below += kTile)
    for (std::int64_t right = 0; right <= below; right += kTile)
      for (std::int64_t i = below; i < std::min(below + kTile, a.rows); ++i)
        for (std::int64_t j = right; j < std::min(right + kTile, i); ++j) std::swap(a(i, j), a(j, i));
}

// The 1-based number of the first pivot that is zero, or 0.
template <class T>
std::int64_t zero_pivot(const Block<T>& factors) {
  for (std::int64_t j = 0; j < factors.rows; ++j)
    if (factors(j, j) == T{0}) return j + 1;
  return 0;
}

// Solves A X = B for each matrix of A, which becomes its factors, and X, which is B before. check(b, zero_pivot) may throw.
template <class Check>
void solve_in_place(const Tensor& A, const Tensor& X, Check check) {
  const std::int64_t n = A.size(-1);
  std::vector<std::int64_t> pivots(static_cast<std::size_t>(n));
  dispatch_floating_types(A.scalar_type(), "linalg_solve", [&]<class T>() {
    for_each_matrix<T>(A, [&](std::int64_t b, const Block<T>& rows) {
      transpose_in_place(rows);
      const Block<T> lu = rows.t(), x = matrix_at<T>(X, b);
      eliminate(lu, pivots.data());
      check(b, zero_pivot(lu));
      for (std::int64_t j = 0; j < n; ++j)
        if (const std::int64_t other = pivots[static_cast<std::size_t>(j)]; other != j) std::swap_ranges(x.row(j), x.row(j) + x.columns, x.row(other));
      substitute(lu, x, false, true);
      substitute(lu, x, true, false);
    });
  });
}

Tensor linalg_inv_cpu(const Tensor& A) {
  const Tensor X = zeros(A.sizes(), A.scalar_type());
  X.diagonal(0, -2, -1).fill_(1);
  solve_in_place(row_copy(A), X, [&A](std::int64_t b, std::int64_t zero) {
    TORCH_CHECK(zero == 0, "linalg.inv: ", batch_element(A, b), "The diagonal element ", zero, " is zero, the inversion could not be completed because the input matrix is singular.");
  });
  return X;
}

Tensor linalg_solve_cpu(const Tensor& A, const Tensor& B) {
  const Tensor X = row_copy(B);
  solve_in_place(row_copy(A), X, [&A](std::int64_t b, std::int64_t zero) {
    TORCH_CHECK(zero == 0, "torch.linalg.solve: ", batch_element(A, b), "The solver failed because the input matrix is singular.");
  });
  return X;
}

// The sign of the exchanges and the factors of each matrix, with the pivots on the diagonal: f(b, sign, factors). They are those of the transpose, which has the same determinant, and whose columns are the rows in memory.
template <class F>
void for_each_pivots(const Tensor& A, F f) {
  const Tensor work = row_copy(A);
  std::vector<std::int64_t> pivots(static_cast<std::size_t>(A.size(-1)));
  dispatch_floating_types(A.scalar_type(), "linalg_det", [&]<class T>() {
    for_each_matrix<T>(work, [&](std::int64_t b, const Block<T>& factors) {
      eliminate(factors.t(), pivots.data());
      int sign = 1;
      for (std::int64_t j = 0; j < factors.rows; ++j)
        if (pivots[static_cast<std::size_t>(j)] != j) sign = -sign;
      f(b, sign, factors);
    });
  });
}

Tensor linalg_det_cpu(const Tensor& A) {
  const Tensor result = empty(batch_of(A), A.scalar_type());
  for_each_pivots(A, [&]<class T>(std::int64_t b, int sign, const Block<T>& factors) {
    T product = static_cast<T>(sign);
    for (std::int64_t j = 0; j < factors.rows; ++j) product *= factors(j, j);
    result.data<T>()[b] = product;
  });
  return result;
}

// A := U of A = U^T U in the upper triangle of the leftmost square, and U^-T A in the columns after it. Rows are contiguous. Gives the 1-based number of the first diagonal element that is not positive, or 0.
template <class T>
std::int64_t factor_positive(const Block<T>& a) {
  const std::int64_t m = a.rows, n = a.columns, half = m / 2;
  if (m <= kFewColumns) {
    for (std::int64_t i = 0; i < m; ++i) {
      T* const row = a.row(i);
      if (!(row[i] > T{0})) return i + 1;
      row[i] = std::sqrt(row[i]);
      divide_by(row + i + 1, row[i], n - i - 1);
      for (std::int64_t r = i + 1; r < m; ++r) subtract_multiple(a.row(r) + r, row[r], row + r, n - r);
    }
    return 0;
  }
  if (const std::int64_t failed = factor_positive(a.part(0, 0, half, n))) return failed;
  const Block<T> rest = a.part(half, half, m - half, n - half);
  subtract_product(rest, a.part(0, half, half, m - half).tensor().t(), a.part(0, half, half, n - half).tensor());
  const std::int64_t failed = factor_positive(rest);
  return failed == 0 ? 0 : half + failed;
}

Tensor linalg_cholesky_cpu(const Tensor& A, bool upper) {
  const Tensor result = row_copy(A);
  dispatch_floating_types(A.scalar_type(), "linalg_cholesky", [&]<class T>() {
    for_each_matrix<T>(result, [&](std::int64_t b, const Block<T>& factor) {
      if (!upper) transpose_in_place(factor);
      const std::int64_t failed = factor_positive(factor);
      TORCH_CHECK(failed == 0, "linalg.cholesky: ", batch_element(A, b), "The factorization could not be completed because the input is not positive-definite (the leading minor of order ", failed,
                  " is not positive-definite).");
      for (std::int64_t i = 1; i < factor.rows; ++i) std::fill_n(factor.row(i), i, T{0});
      if (!upper) transpose_in_place(factor);
    });
  });
  return result;
}

Tensor linalg_solve_triangular_cpu(const Tensor& A, const Tensor& B, bool upper, bool unitriangular) {
  const Tensor X = row_copy(B);
  dispatch_floating_types(A.scalar_type(), "linalg_solve_triangular", [&]<class T>() {
    for_each_matrix<T>(A.contiguous(), [&](std::int64_t b, const Block<T>& a) { substitute(a, matrix_at<T>(X, b), upper, unitriangular); });
  });
  return X;
}
}  // namespace

// %% [markdown]
// **Gradients.** With G the gradient of the result:
//
//     X = A^-1          dA = -X^T G X^T
//     A X = B           dB = A^-T G        dA = -dB X^T
//     det A             dA = G cofactors(A) = G det(A) A^-T where A is not singular
//     log |det A|       dA = G A^-T
//     A = L L^T         dA = L^-T P L^-1, P the symmetric matrix with the lower triangle of L^T G, half of it
//
// Of a singular matrix the cofactors are computed one by one, as determinants of the matrix without a row and a column: n^2 determinants, and rare.

// %%
//| export core/solving.cpp
namespace {
// The cofactors of every matrix: (-1)^(i + j) times the determinant without row i and column j.
Tensor cofactors(const Tensor& A) {
  const std::int64_t n = A.size(-1);
  const auto without = [n](const Tensor& x, std::int64_t dim, std::int64_t i) { return cat({x.narrow(dim, 0, i), x.narrow(dim, i + 1, n - i - 1)}, dim); };
  std::vector<Tensor> rows;
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<Tensor> row;
    for (std::int64_t j = 0; j < n; ++j) row.push_back(linalg_det(without(without(A, -2, i), -1, j)) * ((i + j) % 2 == 0 ? 1 : -1));
    rows.push_back(stack(row, -1));
  }
  return stack(rows, -2);
}

Tensor det_backward(const Tensor& grad, const Tensor& A, const Tensor& det) {
  if (A.numel() == 0) return zeros_like(A);
  const Tensor g = grad.unsqueeze(-1).unsqueeze(-1);
  const bool singular = (det == 0).any().item<bool>();
  return singular ? g * cofactors(A) : g * det.unsqueeze(-1).unsqueeze(-1) * mT(linalg_inv(A));
}

Tensor cholesky_backward(const Tensor& grad, const Tensor& result, bool upper) {
  const Tensor L = upper ? mT(result) : result;
  const Tensor G = upper ? mT(grad) : grad;
  const Tensor lower = tril(matmul(mT(L), G));
  const Tensor P = (lower + mT(tril(lower, -1))) * 0.5;
  // L^-T P L^-1, where P L^-1 is the transpose of L^-T P^T
  const Tensor left = linalg_solve_triangular(mT(L), P, true);
  return mT(linalg_solve_triangular(mT(L), mT(left), true));
}
}  // namespace

constinit Operator<Tensor(const Tensor&)> op::linalg_inv("linalg_inv", {
    .cpu = linalg_inv_cpu,
    .autograd = gradient_of<op::linalg_inv>([](const Tensor& g, Output X) { return -matmul(mT(X), matmul(g, mT(X))); })});
constinit Operator<Tensor(const Tensor&)> op::linalg_det("linalg_det", {
    .cpu = linalg_det_cpu,
    .autograd = gradient_of<op::linalg_det>([](const Tensor& g, Input<0> A, Output det) { return det_backward(g, A, det); })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::linalg_solve("linalg_solve", {
    .cpu = linalg_solve_cpu,
    .autograd = gradient_of<op::linalg_solve>(
        [](const Tensor& g, Input<0> A, Output X) { return -matmul(tinytorch::linalg_solve(mT(A), g), mT(X)); },
        [](const Tensor& g, Input<0> A) { return tinytorch::linalg_solve(mT(A), g); })});
constinit Operator<Tensor(const Tensor&, bool)> op::linalg_cholesky("linalg_cholesky", {
    .cpu = linalg_cholesky_cpu,
    .autograd = gradient_of<op::linalg_cholesky>([](const Tensor& g, Output L, Arg<1, bool> upper) { return cholesky_backward(g, L, upper.value); })});
constinit Operator<Tensor(const Tensor&, const Tensor&, bool, bool)> op::linalg_solve_triangular("linalg_solve_triangular", {
    .cpu = linalg_solve_triangular_cpu,
    .autograd = gradient_of<op::linalg_solve_triangular>(
        [](const Tensor& g, Input<0> A, Output X, Arg<2, bool> upper, Arg<3, bool> unit) {
          const Tensor full = -matmul(tinytorch::linalg_solve_triangular(mT(A), g, !upper.value, true, unit.value), mT(X));
          return upper.value ? triu(full, unit.value ? 1 : 0) : tril(full, unit.value ? -1 : 0);
        },
        [](const Tensor& g, Input<0> A, Arg<2, bool> upper, Arg<3, bool> unit) { return tinytorch::linalg_solve_triangular(mT(A), g, !upper.value, true, unit.value); })});

namespace {
// Two results, of which the second has a gradient: a custom function (chapter 99), since an operator's gradient is that of its first result.
struct SignAndLogDeterminant : autograd::Function<SignAndLogDeterminant> {
  static variable_list forward(autograd::AutogradContext* context, const Tensor& A) {
    const Tensor sign = empty(batch_of(A), A.scalar_type());
    const Tensor logarithm = empty(batch_of(A), A.scalar_type());
    for_each_pivots(A, [&]<class T>(std::int64_t b, int exchanges, const Block<T>& factors) {
      T s = static_cast<T>(exchanges), sum{0};
      for (std::int64_t j = 0; j < factors.rows; ++j) {
        const T pivot = factors(j, j);
        s = pivot == T{0} ? T{0} : pivot < T{0} ? -s : s;
        sum += std::log(std::abs(pivot));
      }
      sign.data<T>()[b] = s;
      logarithm.data<T>()[b] = sum;
    });
    context->save_for_backward({A});
    context->mark_non_differentiable({sign});
    return {sign, logarithm};
  }
  static variable_list backward(autograd::AutogradContext* context, variable_list gradients) {
    const Tensor A = context->get_saved_variables()[0];
    return {gradients[1].unsqueeze(-1).unsqueeze(-1) * mT(linalg_inv(A))};
  }
};
}  // namespace

// %%
//| export core/solving.cpp
Tensor linalg_inv(const Tensor& A) {
  check_matrix("linalg.inv", A, true);
  return op::linalg_inv(A);
}

Tensor linalg_det(const Tensor& A) {
  check_matrix("linalg.det", A, true);
  return op::linalg_det(A);
}

std::tuple<Tensor, Tensor> linalg_slogdet(const Tensor& A) {
  check_matrix("linalg.slogdet", A, true);
  const variable_list results = SignAndLogDeterminant::apply(A);
  return {results[0], results[1]};
}

Tensor logdet(const Tensor& self) {
  check_matrix("logdet", self, true);
  const auto [sign, logarithm] = linalg_slogdet(self);
  return where(sign == -1, full({}, std::numeric_limits<double>::quiet_NaN(), self.options()), logarithm);
}

namespace {
// Both with the batch dimensions of both.
std::pair<Tensor, Tensor> with_common_batch(const char* name, const Tensor& A, const Tensor& B) {
  TORCH_CHECK(A.scalar_type() == B.scalar_type(), name, ": Expected A and B to have the same dtype, but found A of type ", A.scalar_type(), " and B of type ", B.scalar_type(), " instead");
  const DimVector batch = infer_size(batch_of(A), batch_of(B));
  const auto expanded = [&batch](const Tensor& x) {
    DimVector sizes = batch;
    sizes.push_back(x.size(-2));
    sizes.push_back(x.size(-1));
    return x.expand(sizes);
  };
  return {expanded(A), expanded(B)};
}
}  // namespace

Tensor linalg_solve(const Tensor& A, const Tensor& B, bool left) {
  check_matrix("linalg.solve", A, true);
  const bool is_vector = B.dim() == 1 || (B.dim() == A.dim() - 1 && B.sizes() == IntArrayRef(A.sizes().data(), A.sizes().size() - 1));
  TORCH_CHECK(left || !is_vector, "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)");
  const Tensor columns = is_vector ? B.unsqueeze(-1) : left ? B : mT(B);
  TORCH_CHECK(columns.dim() >= 2 && columns.size(-2) == A.size(-1), "linalg.solve: Incompatible shapes of A and B for the equation ", left ? "AX = B" : "XA = B", " (", A.size(-2), "x", A.size(-1), " and ",
              B.dim() > 1 ? B.size(-2) : B.size(0), "x", B.dim() > 1 ? B.size(-1) : 1, ")");
  const auto [matrices, right] = with_common_batch("linalg.solve", left ? A : mT(A), columns);
  const Tensor X = op::linalg_solve(matrices, right);
  return is_vector ? X.squeeze(-1) : left ? X : mT(X);
}

Tensor linalg_cholesky(const Tensor& A, bool upper) {
  check_matrix("linalg.cholesky", A, true);
  return op::linalg_cholesky(A, upper);
}

Tensor linalg_solve_triangular(const Tensor& self, const Tensor& B, bool upper, bool left, bool unitriangular) {
  check_matrix("linalg.solve_triangular", self, true);
  TORCH_CHECK(B.dim() >= 2, "linalg.solve_triangular: The input tensor B must have at least 2 dimensions.");
  const Tensor columns = left ? B : mT(B);
  TORCH_CHECK(columns.size(-2) == self.size(-1), "linalg.solve_triangular: Incompatible shapes of A and B for the equation ", left ? "AX = B" : "XA = B", " (", self.size(-2), "x", self.size(-1), " and ", B.size(-2),
              "x", B.size(-1), ")");
  const auto [matrices, right] = with_common_batch("linalg.solve_triangular", left ? self : mT(self), columns);
  const Tensor X = op::linalg_solve_triangular(matrices, right, upper == left, unitriangular);
  return left ? X : mT(X);
}

// L L^T X = B: once down, once up.
Tensor cholesky_solve(const Tensor& self, const Tensor& input2, bool upper) {
  TORCH_CHECK(self.dim() >= 2, "b should have at least 2 dimensions, but has ", self.dim(), " dimensions instead");
  TORCH_CHECK(input2.dim() >= 2, "u should have at least 2 dimensions, but has ", input2.dim(), " dimensions instead");
  const Tensor L = upper ? mT(input2) : input2;
  return linalg_solve_triangular(mT(L), linalg_solve_triangular(L, self, false), true);
}

// %%
TEST_CASE("linalg: inverse, determinant and solutions, with their gradients") {
  const Tensor A = tensor({{0.0, 2.0}, {4.0, 1.0}}, kDouble);  // the first pivot is 0 without an exchange
  CHECK_CLOSE(inverse(A), tensor({{-0.125, 0.25}, {0.5, 0.0}}, kDouble), 1e-15, 1e-15);
  CHECK_CLOSE(det(A), tensor(-8.0, kDouble), 1e-15, 0.0);
  CHECK_CLOSE(linalg_solve(A, tensor({2.0, 5.0}, kDouble)), tensor({1.0, 1.0}, kDouble), 1e-15, 0.0);
  CHECK_CLOSE(matmul(linalg_solve(A, eye(2, kDouble), false), A), eye(2, kDouble), 1e-15, 1e-15);
  const auto [sign, logarithm] = slogdet(A);
  CHECK_EQ(sign.item<double>(), -1);
  CHECK_CLOSE(logarithm, tensor(std::log(8.0), kDouble), 1e-15, 0.0);
  CHECK(std::isnan(logdet(A).item<double>()));
  // (7 x 7) 1e-60 has a determinant of 1e-420, which no double holds.
  CHECK_EQ(det(eye(7, kDouble) * 1e-60).item<double>(), 0);
  CHECK_CLOSE(logdet(eye(7, kDouble) * 1e-60), tensor(-420 * std::log(10.0), kDouble), 1e-14, 0.0);
  // The gradient of the determinant is the matrix of cofactors, also where A is singular.
  const Tensor S = tensor({{1.0, 2.0}, {2.0, 4.0}}, TensorOptions(kDouble).requires_grad(true));
  det(S).backward();
  CHECK_EQ(S.grad(), tensor({{4.0, -2.0}, {-2.0, 1.0}}, kDouble));
  CHECK_ERROR(inverse(S.detach()), "linalg.inv: The diagonal element 2 is zero, the inversion could not be completed because the input matrix is singular.");
  CHECK_ERROR(linalg_solve(S.detach(), ones({2}, kDouble)), "torch.linalg.solve: The solver failed because the input matrix is singular.");
  CHECK_ERROR(det(ones({2, 3})), "linalg.det: A must be batches of square matrices, but they are 2 by 3 matrices");
  CHECK_ERROR(inverse(ones({2, 2}, kLong)), "linalg.inv: Expected a floating point or complex tensor as input. Got Long");
}

TEST_CASE("linalg: Cholesky and triangular systems") {
  const Tensor A = tensor({{4.0, 2.0}, {2.0, 5.0}}, kDouble);
  const Tensor L = linalg_cholesky(A);
  CHECK_EQ(L, tensor({{2.0, 0.0}, {1.0, 2.0}}, kDouble));
  CHECK_EQ(linalg_cholesky(A, true), L.t());
  CHECK_CLOSE(matmul(A, cholesky_solve(ones({2, 1}, kDouble), L)), ones({2, 1}, kDouble), 1e-15, 0.0);
  CHECK_EQ(linalg_solve_triangular(L, tensor({{2.0}, {3.0}}, kDouble), false), tensor({{1.0}, {1.0}}, kDouble));
  CHECK_EQ(linalg_solve_triangular(L, tensor({{2.0}, {3.0}}, kDouble), false, true, true), tensor({{2.0}, {1.0}}, kDouble));
  CHECK_ERROR(linalg_cholesky(A - 4 * eye(2, kDouble)), "linalg.cholesky: The factorization could not be completed because the input is not positive-definite (the leading minor of order 1 is not positive-definite).");
  CHECK_ERROR(linalg_cholesky(stack({A, -A})), "linalg.cholesky: (Batch element 1): The factorization could not be completed");
}

// %%
//| lesson
// The largest |x|.
double largest(const Tensor& x) { return x.numel() == 0 ? 0.0 : x.abs().max().item<double>(); }

// Sizes around the borders of blocks and halves.
const std::vector<std::int64_t> kBlockSizes = {1, 2, 31, 32, 33, 65, 100, 130};

// %%
TEST_CASE("linalg: elimination by halves solves, also where each pivot comes from another block") {
  manual_seed(4);
  for (const ScalarType type : {kDouble, kFloat}) {
    const double epsilon = type == kDouble ? 1e-15 : 1e-6;
    for (const std::int64_t n : kBlockSizes) {
      const double bound = 100 * epsilon * static_cast<double>(n);
      // In the last row stands what dominates the first column, and so on.
      const Tensor A = (randn({n, n}, type) / n + 3 * eye(n, type)).flip({0});
      CHECK(largest(matmul(A, linalg_inv(A)) - eye(n, type)) < bound);
      for (const std::int64_t k : {1, 3, 40}) {
        const Tensor B = randn({n, k}, type);
        CHECK(largest(matmul(A, linalg_solve(A, B)) - B) < bound);
        CHECK(largest(matmul(linalg_solve(A, B.t(), false), A) - B.t()) < bound);
      }
      // The determinant of L U is the product of U's diagonal, and turning the order of rows makes n (n - 1) / 2 exchanges.
      const Tensor diagonal = rand({n}, type) + 0.5;
      const Tensor U = triu(randn({n, n}, type) / n, 1) + diagonal.diag();
      const Tensor product = matmul(tril(randn({n, n}, type) / n, -1) + eye(n, type), U).flip({0});
      const double sign = n * (n - 1) / 2 % 2 == 0 ? 1 : -1;
      CHECK_CLOSE(det(product), diagonal.prod() * sign, bound, 0.0);
      CHECK_EQ(std::get<0>(slogdet(product)).item<double>(), sign);
      CHECK_CLOSE(std::get<1>(slogdet(product)), diagonal.log().sum(), bound, bound);
    }
  }
}

TEST_CASE("linalg: blocks of singular matrices, and of NaN") {
  Tensor A = randn({65, 65}, kDouble);
  A.select(1, 40).zero_();
  CHECK_EQ(det(A).item<double>(), 0);
  CHECK_EQ(std::get<0>(slogdet(A)).item<double>(), 0);
  CHECK_EQ(std::get<1>(slogdet(A)).item<double>(), -std::numeric_limits<double>::infinity());
  CHECK_ERROR(inverse(A), "linalg.inv: The diagonal element 41 is zero");
  CHECK_ERROR(inverse(stack({eye(65, kDouble), A.t()})), "linalg.inv: (Batch element 1): The diagonal element 65 is zero");
  CHECK_EQ(det(zeros({65, 65})).item<double>(), 0);
  const Tensor missing = full({65, 65}, std::nan(""), TensorOptions(kDouble));
  CHECK(inverse(missing).isnan().all().item<bool>());
  CHECK_ERROR(cholesky(missing), "the leading minor of order 1 is not positive-definite");
  CHECK_EQ(inverse(zeros({2, 0, 0})).sizes(), IntArrayRef({2, 0, 0}));
  CHECK_EQ(det(zeros({2, 0, 0})), ones({2}));
}

TEST_CASE("linalg: Cholesky and triangular systems by halves read one triangle") {
  manual_seed(5);
  for (const ScalarType type : {kDouble, kFloat}) {
    const double epsilon = type == kDouble ? 1e-15 : 1e-6;
    for (const std::int64_t n : kBlockSizes) {
      const double bound = 100 * epsilon * static_cast<double>(n);
      const Tensor unread = full({n, n}, std::nan(""), TensorOptions(type));
      const Tensor X = randn({n, n}, type);
      const Tensor A = matmul(X, X.t()) / n + eye(n, type);
      const Tensor below = tril(ones({n, n}, kBool)), above = triu(ones({n, n}, kBool));
      const Tensor L = cholesky(where(below, A, unread)), U = cholesky(where(above, A, unread), true);
      CHECK_EQ(L, tril(L));
      CHECK_EQ(U, triu(U));
      CHECK(largest(matmul(L, L.t()) - A) < bound);
      CHECK(largest(matmul(U.t(), U) - A) < bound);
      for (const std::int64_t k : {1, 40}) {
        const Tensor B = randn({n, k}, type);
        CHECK(largest(matmul(L, linalg_solve_triangular(where(below, L, unread), B, false)) - B) < bound);
        CHECK(largest(matmul(U, linalg_solve_triangular(where(above, U, unread), B, true)) - B) < bound);
        CHECK(largest(matmul(linalg_solve_triangular(where(above, U, unread), B.t(), true, false), U) - B.t()) < bound);
        const Tensor strictly = tril(X, -1) / n;  // with ones on the diagonal that are not read
        const Tensor unit = where(tril(ones({n, n}, kBool), -1), strictly, unread);
        CHECK(largest(matmul(strictly + eye(n, type), linalg_solve_triangular(unit, B, false, true, true)) - B) < bound);
      }
      Tensor indefinite = A.clone();
      indefinite.select(0, n - 1).select(0, n - 1).fill_(-1);
      CHECK_ERROR(cholesky(indefinite), "the leading minor of order " + std::to_string(n) + " is not positive-definite");
    }
  }
}

// %% [markdown]
// ## QR: reflections
//
// A *Householder reflection* I - tau v v^T mirrors space at a plane. With v = x - beta e1, beta = -sign(x1) |x|, it turns the column x into beta e1: everything below the diagonal becomes zero at once, and because mirroring keeps lengths, rounding errors do not grow. One reflection for each column makes A upper
// triangular; the product of the reflections is Q. Gram-Schmidt, which subtracts projections instead, loses orthogonality as the square of the condition number.
//
// To apply a reflection is to read all columns that are left for one number each, v^T x, and to write them all. Many together are products of matrices (Schreiber and Van Loan 1989): with the vectors as the columns of V,
//
//     H1 H2 ... Hk = I - V T V^T      T upper triangular, k x k, its column j from those before: -tau_j T V^T v_j above tau_j
//
// So 32 columns are worked one by one, each reflection applied to the other columns of the 32 only, and then to all columns after them as X - V (T^T (V^T X)), three products. Q is collected from the last block to the first: then a block changes only the rows and columns from its own on, as all others are still
// the identity's. LAPACK's geqrf and orgqr do the same. Mode "reduced" computes only the first columns of Q, and "r" none.
//
// ## Eigenvalues: reflections, then rotations
//
// No finite number of steps gives eigenvalues, they are roots of a polynomial. But finitely many reach a matrix that is as good as diagonal: a reflection of all coordinates but the first takes the first column to two numbers, and applied from the right as well, to keep the eigenvalues, does the same to the row. After
// n - 2 of them the matrix is *tridiagonal*. Each costs a product of what is left with a vector and an update, H A H = A - v w^T - w v^T, on the upper triangle only.
//
// Then *QR steps* (Francis 1961): T - shift = Q R, and R Q + shift has the same eigenvalues and a smaller last off-diagonal number, if the shift is near an eigenvalue. Wilkinson's shift, an eigenvalue of the last 2 x 2 block, makes its digits triple at each step. Q is never computed: a rotation of the first two
// coordinates makes a bulge beside the tridiagonal, and further rotations of neighbours chase it out at the other end, with the same result.
//
//     x x o .        x x . .        x x . .
//     x x x .   ->   x x x o   ->   x x x .        o: the bulge, here over the diagonal
//     o x x x        . x x x        . x x x
//     . . x x        . o x x        . . x x
//
// A number beside the diagonal that is negligible cuts the matrix in two; the last part is worked until it is a single number, after less than two steps on average. That takes n^2 rotations of a few numbers each, and would be next to nothing, but for the eigenvectors: each rotation turns two of their rows. They are
// kept as rows, which lie in memory as the rotations need them, and rotated a strip of 64 columns at a time, many steps' rotations in a row, while the strip is in the cache. Without vectors none of it happens (`linalg_eigvalsh`).
//
// LAPACK's `syevd`, which PyTorch calls, differs in two places. Half of its way to the tridiagonal is a product of matrices: it collects the updates of a block of columns, and only the products with a vector remain. And it divides: the tridiagonal is cut in the middle, both halves solved, and put together by the
// roots of a rational function, with products of matrices for the vectors (Cuppen 1981). A third way, MRRR (Dhillon and Parlett 2004), computes each vector on its own, in n^2 altogether. All of them fill several times the pages.
//
// ## Singular values: the same from two sides
//
// For A = U diag(s) V^T the two sides may be multiplied with different reflections: one from the left clears a column, one from the right its row, up to the neighbour of the diagonal. The result is *bidiagonal*, B, and B^T B is tridiagonal. Golub and Kahan's step is a QR step on B^T B that computes only with B: squares would
// lose half of the digits. A bulge appears below the diagonal and above it in turn, chased by rotations from the left, which U collects, and from the right, for V. A zero on the diagonal is a singular value that is known: a step without shift brings it to the end.
//
// To bidiagonalise reads the matrix twice per column, and no blocks make that a product of matrices altogether. So the two updates are done when a column is fetched anyway, the one for the right reflection together with the dot product for the next left one. A tall matrix becomes square by QR first (Chan 1982), most of which is products. LAPACK's
// `gesdd` blocks half of the bidiagonalisation too, and divides where this chapter steps.
//
// *Scale.* Squares of 1e200 are no doubles. Before all this the matrix is multiplied with the power of two that brings its largest number near 1, and the values are divided by it in the end: that rounds nothing, except numbers so small beside the largest that they do not count.
//
// Signs and orders are conventions: an eigenvector times -1 is one as well. Values come in order (ascending for `eigh`, descending for `svd`); the vectors' signs are the algorithm's, and other libraries' differ. Losses must not depend on them.

// %%
//| export core/linalg.h
// ---- Factorizations of (..., m, n), float or double.
// Q (..., m, k) with orthonormal columns and upper triangular R (..., k, n); k is min(m, n) for mode "reduced", m for "complete"; "r" gives an empty Q. The signs are LAPACK's. Gradients where m >= n or mode is "reduced". O(m n^2).
std::tuple<Tensor, Tensor> linalg_qr(const Tensor& A, std::string_view mode = "reduced");
inline std::tuple<Tensor, Tensor> qr(const Tensor& self, bool some = true) { return linalg_qr(self, some ? "reduced" : "complete"); }
// Eigenvalues (..., n), ascending, and eigenvectors, the columns of (..., n, n), of symmetric matrices, of which only one triangle is read. Gradients through vectors are infinite where two values are equal.
std::tuple<Tensor, Tensor> linalg_eigh(const Tensor& A, std::string_view UPLO = "L");
Tensor linalg_eigvalsh(const Tensor& A, std::string_view UPLO = "L");
// U (..., m, k), S (..., k) descending, V^T (..., k, n); without full_matrices k is min(m, n), with it U and V^T are square.
std::tuple<Tensor, Tensor, Tensor> linalg_svd(const Tensor& A, bool full_matrices = true);
Tensor linalg_svdvals(const Tensor& A);
std::tuple<Tensor, Tensor, Tensor> svd(const Tensor& self, bool some = true, bool compute_uv = true);  // U, S and V, not its transpose
// The Moore-Penrose inverse (..., n, m); singular values up to rtol times the largest count as zero (max(m, n) times the dtype's epsilon when absent).
Tensor linalg_pinv(const Tensor& A, std::optional<double> rtol = std::nullopt);
inline Tensor pinverse(const Tensor& self, double rcond = 1e-15) { return linalg_pinv(self, rcond); }
// How many singular values count, as Long (...).
Tensor linalg_matrix_rank(const Tensor& A, std::optional<double> tol = std::nullopt);
// X with the least |A X - B|, and of those the smallest: (..., m, n), (..., m, k) or (..., m) -> (..., n, k) or (..., n). Then the squared lengths of the columns of A X - B, for a driver other than LAPACK's gelsy, which is meant where none is named, and empty unless m > n and all ranks are n; the ranks,
// by singular values above rcond times the largest; and an empty tensor, where other drivers of LAPACK put singular values.
std::tuple<Tensor, Tensor, Tensor, Tensor> linalg_lstsq(const Tensor& self, const Tensor& b, std::optional<double> rcond = std::nullopt, std::optional<std::string_view> driver = std::nullopt);
// ---- Norms, in `dtype` where one is named (not a narrower one than self's). `keepdim` leaves sizes of 1.
// (sum |x|^ord)^(1 / ord) over `dim`, over everything when absent; the largest or smallest |x| for infinities, how many are not 0 for 0.
Tensor linalg_vector_norm(const Tensor& self, const Scalar& ord = 2, OptionalIntArrayRef dim = std::nullopt, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt);
// Of the matrices in the dimensions `dim`. "fro": of all elements as of a vector; "nuc": the sum of singular values; 1 (infinity): the largest sum of |x| in a column (row); 2: the largest singular value; negative: the smallest of these.
Tensor linalg_matrix_norm(const Tensor& self, const Scalar& ord, IntArrayRef dim = {-2, -1}, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt);
Tensor linalg_matrix_norm(const Tensor& self, std::string_view ord = "fro", IntArrayRef dim = {-2, -1}, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt);
// The matrix norm where ord is named and there are two dimensions, else the vector norm (2 where none is named).
Tensor linalg_norm(const Tensor& self, const std::optional<Scalar>& ord = std::nullopt, OptionalIntArrayRef dim = std::nullopt, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt);
Tensor linalg_norm(const Tensor& self, std::string_view ord, OptionalIntArrayRef dim = std::nullopt, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt);

// I + A + A^2 / 2 + A^3 / 6 + ... for (..., n, n). O(n^3 log |A|).
Tensor linalg_matrix_exp(const Tensor& self);
// A multiplied with itself n times, by squares: log n products. Of a negative n, the power of the inverse.
Tensor matrix_power(const Tensor& self, std::int64_t n);
Tensor linalg_matrix_power(const Tensor& A, std::int64_t n);
inline Tensor matrix_exp(const Tensor& self) { return linalg_matrix_exp(self); }

// The same under the names of torch::linalg.
namespace linalg {
inline Tensor inv(const Tensor& A) { return linalg_inv(A); }
inline Tensor det(const Tensor& A) { return linalg_det(A); }
inline std::tuple<Tensor, Tensor> slogdet(const Tensor& A) { return linalg_slogdet(A); }
inline Tensor solve(const Tensor& A, const Tensor& B, bool left) { return linalg_solve(A, B, left); }
inline Tensor solve_triangular(const Tensor& A, const Tensor& B, bool upper, bool left, bool unitriangular) { return linalg_solve_triangular(A, B, upper, left, unitriangular); }
inline Tensor cholesky(const Tensor& A) { return linalg_cholesky(A); }
inline std::tuple<Tensor, Tensor> qr(const Tensor& A, std::string_view mode = "reduced") { return linalg_qr(A, mode); }
inline std::tuple<Tensor, Tensor> eigh(const Tensor& A, std::string_view UPLO) { return linalg_eigh(A, UPLO); }
inline Tensor eigvalsh(const Tensor& A, std::string_view UPLO) { return linalg_eigvalsh(A, UPLO); }
inline std::tuple<Tensor, Tensor, Tensor> svd(const Tensor& A, bool full_matrices) { return linalg_svd(A, full_matrices); }
inline Tensor svdvals(const Tensor& A) { return linalg_svdvals(A); }
inline Tensor norm(const Tensor& self, const std::optional<Scalar>& ord, OptionalIntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return linalg_norm(self, ord, dim, keepdim, dtype); }
inline Tensor norm(const Tensor& self, std::string_view ord, OptionalIntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return linalg_norm(self, ord, dim, keepdim, dtype); }
inline Tensor vector_norm(const Tensor& self, const Scalar& ord, OptionalIntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return linalg_vector_norm(self, ord, dim, keepdim, dtype); }
inline Tensor matrix_norm(const Tensor& self, const Scalar& ord, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return linalg_matrix_norm(self, ord, dim, keepdim, dtype); }
inline Tensor matrix_norm(const Tensor& self, std::string_view ord, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return linalg_matrix_norm(self, ord, dim, keepdim, dtype); }
inline Tensor matrix_exp(const Tensor& self) { return linalg_matrix_exp(self); }
inline Tensor matrix_power(const Tensor& A, std::int64_t n) { return linalg_matrix_power(A, n); }
}  // namespace linalg

// %%
//| export core/factoring.cpp
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

// %% [markdown]
// **Gradients.** Differentiate A = Q R with Q^T Q = I: dQ = Q W + ..., where W = Q^T dQ is antisymmetric, and dR R^-1 is upper triangular, so the two can be told apart in Q^T dA R^-1: its lower triangle is W's. The same with A V = V diag(l): W = V^T dV has the entries
//
//     w_ij = (V^T dA V)_ij / (l_j - l_i)        for i != j        dl_i = (V^T dA V)_ii
//
// Two eigenvalues that are equal have no directions of their own, and the quotient says so. Operators record the gradient of one result; these have two or three with gradients, so they are custom functions.

// %%
//| export core/factoring.cpp
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

// %% [markdown]
// *Least squares* is one product with the pseudo-inverse, which also chooses among the solutions where the columns depend on one another. A *matrix exponential* solves x' = A x: x(t) = exp(t A) x(0). Its series is short for a small matrix, so a large one is halved until
// its norm is below 1, and the result squared as often: exp(A) = exp(A / 2^s)^(2^s). Eighteen terms leave 1 / 19!, below the last bit of a double.

// %%
//| export core/factoring.cpp
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

// %%
//| lesson
// The largest entry of |x^T x - I|: 0 for orthonormal columns.
double off_orthonormal(const Tensor& x) { return (x.transpose(-2, -1).matmul(x) - eye(x.size(-1), x.options())).abs().max().item<double>(); }

// %%
TEST_CASE("linalg: pseudo-inverses, ranks, and what is refused") {
  manual_seed(3);
  for (const auto& [m, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{{4, 4}, {6, 3}, {3, 5}, {1, 4}, {5, 1}}) {
    const Tensor A = randn({2, m, n}, kDouble);
    CHECK_CLOSE(matmul(matmul(A, linalg_pinv(A)), A), A, 1e-12, 1e-12);
  }
  CHECK_CLOSE(linalg_eigvalsh(tensor({{2.0, 9.0}, {1.0, 2.0}}, kDouble)), tensor({1.0, 3.0}, kDouble), 1e-14, 0.0);  // the upper 9 is not read
  // A matrix of rank one.
  const Tensor one = outer(tensor({3.0, 0.0, 4.0}, kDouble), tensor({1.0, 2.0, 2.0}, kDouble));
  CHECK_EQ(linalg_matrix_rank(one).item<std::int64_t>(), 1);
  const auto [U, S, Vh] = linalg_svd(one);
  CHECK_CLOSE(S[0], tensor(15.0, kDouble), 1e-14, 0.0);
  CHECK(off_orthonormal(U) < 1e-13);
  CHECK_ERROR(linalg_qr(ones({3})), "linalg.qr: The input tensor A must have at least 2 dimensions.");
  CHECK_ERROR(linalg_eigh(ones({2, 2}), "M"), "Expected UPLO argument to be 'L' or 'U', but got M");
}

// %%
//| lesson
// Shapes around the borders of blocks: square, tall and wide.
const std::vector<std::pair<std::int64_t, std::int64_t>> kBlockShapes = {{1, 1}, {2, 2}, {31, 33}, {32, 32}, {33, 31}, {65, 65}, {100, 33}, {65, 130}, {130, 100}, {130, 1}, {1, 130}};

// %%
TEST_CASE("linalg: QR by blocks of reflections") {
  manual_seed(6);
  for (const ScalarType type : {kDouble, kFloat}) {
    const double epsilon = type == kDouble ? 1e-15 : 1e-6;
    for (const auto& [m, n] : kBlockShapes) {
      const Tensor A = randn({2, m, n}, type);
      for (const char* mode : {"reduced", "complete"}) {
        const auto [Q, R] = linalg_qr(A, mode);
        CHECK(largest(matmul(Q, R) - A) < 100 * epsilon);
        CHECK(off_orthonormal(Q) < 20 * epsilon);
        CHECK_EQ(R, triu(R));
      }
      CHECK_EQ(std::get<1>(linalg_qr(A, "r")), std::get<1>(linalg_qr(A)));
      // Each reflection takes a column of what is nearly the identity to its negative, as LAPACK's do, and one of what is nearly the identity's negative to the opposite.
      const Tensor near_identity = 0.1 / (m + n) * A[0] + eye(m, n, type);
      const auto diagonal = [reflected = std::min(m - 1, n)](const Tensor& x) { return std::get<1>(linalg_qr(x)).diagonal().narrow(0, 0, reflected); };
      CHECK((diagonal(near_identity) < 0).all().item<bool>());
      CHECK((diagonal(-near_identity) > 0).all().item<bool>());
    }
  }
}

TEST_CASE("linalg: QR of tiny, huge and missing numbers") {
  manual_seed(7);
  const Tensor A = randn({40, 35});
  for (const float scale : {1e-30f, 1e30f}) {
    const auto [Q, R] = linalg_qr(A * scale);
    CHECK(largest(matmul(Q, R / scale) - A) < 1e-4);
    CHECK(off_orthonormal(Q) < 1e-5);
  }
  const Tensor mixed = A * where(arange(40).remainder(2) == 0, full({}, 1e30), full({}, 1e-30)).unsqueeze(-1);
  const auto [Q, R] = linalg_qr(mixed);
  CHECK(largest(matmul(Q, R * 1e-30) - mixed * 1e-30) < 1e-4);
  CHECK(off_orthonormal(Q) < 1e-5);
  // Columns that shrink until few digits, and at last none, are left of them.
  const Tensor shrinking = randn({113, 86}) * (arange(86, kFloat) * -1.5).exp();
  CHECK(off_orthonormal(std::get<0>(linalg_qr(shrinking))) < 1e-5);
  CHECK(off_orthonormal(std::get<0>(linalg_svd(shrinking, false))) < 1e-5);
  CHECK_EQ(std::get<0>(linalg_qr(zeros({40, 35}))), eye(40, 35));
  CHECK(std::get<1>(linalg_qr(full({40, 35}, std::nan("")))).isnan().any().item<bool>());
  CHECK_EQ(std::get<0>(linalg_qr(zeros({3, 0}), "complete")), eye(3));
  CHECK_EQ(std::get<1>(linalg_qr(zeros({0, 3}))).sizes(), IntArrayRef({0, 3}));
}

// %%
TEST_CASE("linalg: eigenvalues and eigenvectors of large matrices") {
  manual_seed(8);
  for (const ScalarType type : {kDouble, kFloat}) {
    const double epsilon = type == kDouble ? 1e-15 : 1e-6;
    for (const std::int64_t n : kBlockSizes) {
      const Tensor X = randn({n, n}, type);
      const Tensor A = X + X.t();
      const auto [L, V] = linalg_eigh(stack({A, 2 * A}));
      CHECK(largest(matmul(V * L.unsqueeze(-2), V.transpose(-2, -1)) - stack({A, 2 * A})) < 200 * epsilon);
      CHECK(off_orthonormal(V) < 100 * epsilon);
      CHECK((L.diff() >= 0).all().item<bool>());
      CHECK_EQ(linalg_eigvalsh(A), L[0]);
      // -1 beside 2 on the diagonal: the eigenvalues are 2 - 2 cos(k pi / (n + 1)).
      const Tensor second_difference = 2 * eye(n, type) - ones({n - 1}, type).diag(1) - ones({n - 1}, type).diag(-1);
      CHECK_CLOSE(linalg_eigvalsh(second_difference), 2 - 2 * (arange(1, n + 1, type) * (M_PI / static_cast<double>(n + 1))).cos(), 0.0, 20 * epsilon);
      // Values that repeat, and directions without a value.
      const Tensor Q = std::get<0>(linalg_qr(X)), repeated = arange(n, type).div(5, "floor").clamp_max(3);
      const auto [values, vectors] = linalg_eigh(matmul(Q * repeated, Q.t()));
      CHECK_CLOSE(values, repeated, 0.0, 50 * epsilon);
      CHECK(off_orthonormal(vectors) < 100 * epsilon);
    }
  }
}

TEST_CASE("linalg: singular values and vectors of large matrices") {
  manual_seed(9);
  for (const ScalarType type : {kDouble, kFloat}) {
    const double epsilon = type == kDouble ? 1e-15 : 1e-6;
    for (const auto& [m, n] : kBlockShapes) {
      const std::int64_t k = std::min(m, n);
      const Tensor A = randn({2, m, n}, type);
      for (const bool full : {false, true}) {
        const auto [U, S, Vh] = linalg_svd(A, full);
        CHECK(largest(matmul(U.narrow(-1, 0, k) * S.unsqueeze(-2), Vh.narrow(-2, 0, k)) - A) < 200 * epsilon);
        CHECK(off_orthonormal(U) < 100 * epsilon);
        CHECK(off_orthonormal(Vh.transpose(-2, -1)) < 100 * epsilon);
        CHECK((S >= 0).all().item<bool>());
        CHECK((S.diff() <= 0).all().item<bool>());
        CHECK_EQ(linalg_svdvals(A), S);
      }
      // The plain definition: the squares are the eigenvalues of A^T A.
      const Tensor squares = linalg_eigvalsh(m < n ? matmul(A, A.transpose(-2, -1)) : matmul(A.transpose(-2, -1), A));
      CHECK_CLOSE(linalg_svdvals(A).pow(2), squares.flip({-1}), 100 * epsilon, 1000 * epsilon);
      // A matrix of rank 3.
      const Tensor thin = matmul(randn({m, 3}, type), randn({3, n}, type));
      const auto [U, S, Vh] = linalg_svd(thin, false);
      CHECK(largest(matmul(U * S, Vh) - thin) < 200 * epsilon);
      CHECK(off_orthonormal(U) < 100 * epsilon);
      CHECK(off_orthonormal(Vh.t()) < 100 * epsilon);
      CHECK_EQ(linalg_matrix_rank(thin).item<std::int64_t>(), std::min<std::int64_t>(3, k));
    }
  }
}

TEST_CASE("linalg: eigenvalues and singular values of tiny, huge, missing and zero numbers") {
  manual_seed(10);
  const Tensor X = randn({40, 40}), A = X + X.t(), values = linalg_eigvalsh(A), lengths = linalg_svdvals(X);
  for (const double scale : {1e-310, 1e-200, 1e-42, 1e-30, 1e30, 1e36, 1e200, 1e305}) {
    const ScalarType type = std::abs(std::log10(scale)) > 100 ? kDouble : kFloat;
    const double bound = scale == 1e-42 ? 0.1 : 1e-4;  // of 1e-42, float has two digits
    const Tensor scaled = X.to(type) * scale, symmetric = A.to(type) * scale;
    CHECK(largest(linalg_eigvalsh(symmetric).to(kDouble) / scale - values.to(kDouble)) < bound);
    CHECK(largest(linalg_svdvals(scaled).to(kDouble) / scale - lengths.to(kDouble)) < bound);
    CHECK(off_orthonormal(std::get<1>(linalg_eigh(symmetric))) < 1e-5);
    CHECK(off_orthonormal(std::get<0>(linalg_svd(scaled))) < 1e-5);
  }
  const Tensor mixed = X * where(arange(40).remainder(2) == 0, full({}, 1e30), full({}, 1e-30)).unsqueeze(-1);
  const auto [U, S, Vh] = linalg_svd(mixed);
  CHECK(largest(matmul(U * (S * 1e-30), Vh) - mixed * 1e-30) < 1e-4);
  CHECK(off_orthonormal(U) < 1e-5);
  // A bidiagonal matrix with zeros on its diagonal, first, in the middle and last, and one of nothing but what is beside it.
  for (const std::vector<double>& diagonal : {std::vector<double>{0, 1, 2, 3}, {3, 0, 2, 1}, {1, 2, 3, 0}, {0, 0, 0, 0}}) {
    const Tensor B = from_blob(const_cast<double*>(diagonal.data()), {4}, kDouble).diag() + ones({3}, kDouble).diag(1);
    const auto [u, s, vh] = linalg_svd(B);
    CHECK(largest(matmul(u * s, vh) - B) < 1e-14);
    CHECK(off_orthonormal(u) < 1e-14);
    CHECK(off_orthonormal(vh.t()) < 1e-14);
  }
  CHECK_EQ(linalg_svdvals(zeros({40, 35})), zeros({35}));
  CHECK(off_orthonormal(std::get<0>(linalg_svd(zeros({40, 35})))) < 1e-6);
  CHECK_EQ(std::get<1>(linalg_eigh(zeros({40, 40}))).abs(), eye(40));
  CHECK_EQ(std::get<0>(linalg_eigh(zeros({0, 0}))).sizes(), IntArrayRef({0}));
  CHECK_EQ(std::get<0>(linalg_svd(zeros({3, 0}))), eye(3));
  // Missing numbers end no worse than others; those in the triangle that is not read are not seen.
  for (const double missing : {std::nan(""), static_cast<double>(INFINITY)}) {
    Tensor with_one = A.clone();
    with_one.select(0, 3).select(0, 30).fill_(missing);
    CHECK_EQ(linalg_eigvalsh(with_one), values);
    CHECK(linalg_eigvalsh(with_one, "U").isnan().all().item<bool>());
    CHECK(std::get<1>(linalg_eigh(with_one, "U")).isnan().all().item<bool>());
    CHECK(linalg_svdvals(with_one).isnan().all().item<bool>());
    CHECK(std::get<0>(linalg_svd(with_one)).isnan().all().item<bool>());
    CHECK(linalg_svdvals(with_one.narrow(1, 0, 31)).isnan().all().item<bool>());
  }
}

TEST_CASE("linalg: the gradient of the eigenvalues' sum is the identity; of the singular values' sum U V^T") {
  const Tensor B = tensor({{2.0, 1.0, 0.0}, {1.0, 3.0, 0.5}, {0.0, 0.5, -1.0}}, TensorOptions(kDouble).requires_grad(true));
  linalg_eigvalsh(B).sum().backward();
  CHECK_CLOSE(B.grad(), eye(3, kDouble), 1e-13, 1e-13);
  B.mutable_grad().zero_();
  const auto [U, S, Vh] = linalg_svd(B, false);
  S.sum().backward();
  CHECK_CLOSE(B.grad(), matmul(U, Vh).detach(), 1e-12, 1e-12);
  const Tensor tall = ones({3, 2}, TensorOptions(kDouble).requires_grad(true));
  CHECK_ERROR(std::get<0>(linalg_svd(tall, true)).sum().backward(), "svd_backward: The singular vectors beyond the first min(m, n) are not unique");
  CHECK_ERROR(std::get<1>(linalg_qr(tall, "r")).sum().backward(), "The derivative of linalg.qr depends on Q, which is not computed when mode='r'");
}

// %%
TEST_CASE("linalg: least squares through points, and the smallest of many solutions") {
  // The line through (0, 1), (1, 3), (2, 4): slope 1.5, beginning at 7/6, and it misses by -1/6, 1/3, -1/6.
  const Tensor A = tensor({{1.0, 0.0}, {1.0, 1.0}, {1.0, 2.0}}, TensorOptions(kDouble).requires_grad(true));
  const Tensor y = tensor({1.0, 3.0, 4.0}, kDouble);
  const auto [line, misses, rank, none] = linalg_lstsq(A, y, std::nullopt, "gels");
  CHECK_CLOSE(line, tensor({7.0 / 6, 1.5}, kDouble), 1e-13, 1e-14);
  CHECK_CLOSE(misses, tensor(1.0 / 6, kDouble), 1e-12, 0.0);
  CHECK_EQ(rank.item<std::int64_t>(), 2);
  CHECK_EQ(none.numel(), 0);
  CHECK_EQ(std::get<1>(linalg_lstsq(A, y)).numel(), 0);
  // A step of the matrix changes the slope by its gradient.
  const Tensor gradient = autograd::grad({line[1]}, {A})[0];
  Tensor nearby = A.detach().clone();
  nearby[2][1] += 1e-6;
  CHECK_CLOSE((std::get<0>(linalg_lstsq(nearby, y))[1] - line[1].detach()) / 1e-6, gradient[2][1], 1e-4, 1e-6);
  // x + y + z = 3, twice: of all solutions (1, 1, 1) is the shortest, and there are no residuals.
  const auto [ones_again, empty_misses, rank_one, nothing] = linalg_lstsq(ones({2, 2, 3}, kDouble), full({2, 2, 1}, 3, kDouble));
  CHECK_CLOSE(ones_again, ones({2, 3, 1}, kDouble), 1e-13, 0.0);
  CHECK_EQ(empty_misses.numel(), 0);
  CHECK_EQ(rank_one, tensor({1, 1}));
  CHECK_ERROR(linalg_lstsq(ones({3, 2}), ones({2, 1})), "torch.linalg.lstsq: input.size(-2) should match other.size(-2)");
}

TEST_CASE("linalg: powers of a matrix, of its inverse too") {
  const Tensor fibonacci = tensor({{1, 1}, {1, 0}});
  CHECK_EQ(matrix_power(fibonacci, 6), tensor({{13, 8}, {8, 5}}));
  CHECK_CLOSE(fibonacci.to(kDouble).matrix_power(-3), tensor({{-1.0, 2.0}, {2.0, -3.0}}, kDouble), 1e-13, 1e-13);
  CHECK_EQ(matrix_power(fibonacci, 0), eye(2, kLong));
  CHECK_ERROR(matrix_power(ones({2, 3}), 2), "linalg.matrix_power: A must be batches of square matrices, but they are 2 by 3 matrices");
}

TEST_CASE("linalg: the exponential of a turn, of a diagonal and of a shift") {
  const Tensor turn = tensor({{0.0, -1.0}, {1.0, 0.0}}, kDouble);
  for (const double angle : {0.1, 3.0, -40.0})
    CHECK_CLOSE(matrix_exp(turn * angle), tensor({{std::cos(angle), -std::sin(angle)}, {std::sin(angle), std::cos(angle)}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(matrix_exp(stack({diag(tensor({1.0, -20.0}, kDouble)), tensor({{0.0, 3.0}, {0.0, 0.0}}, kDouble)})),
              stack({diag(tensor({std::exp(1.0), std::exp(-20.0)}, kDouble)), tensor({{1.0, 3.0}, {0.0, 1.0}}, kDouble)}), 1e-12, 1e-14);
  // The trace of exp(A) has the gradient exp(A)^T.
  const Tensor A = tensor({{0.3, 2.0}, {-1.0, 0.5}}, TensorOptions(kDouble).requires_grad(true));
  const Tensor result = matrix_exp(A);
  CHECK_CLOSE(autograd::grad({result.trace()}, {A})[0], result.detach().t(), 1e-12, 1e-13);
  CHECK_ERROR(matrix_exp(ones({2, 3})), "linalg.matrix_exp: A must be batches of square matrices, but they are 2 by 3 matrices");
}

// %% [markdown]
// ## Norms
//
// How large is a matrix? As a list of numbers: by the root of the sum of their squares, which is called Frobenius' norm. As a map: by how much it stretches a vector at most, which is its largest singular value. The sum of all singular values, the *nuclear* norm, is small for
// matrices of low rank, as the sum of |x| is for vectors with few entries; and the largest sum of |x| over a column or a row bounds the stretching without an SVD.

// %%
//| export core/factoring.cpp
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

// %%
TEST_CASE("linalg: norms of vectors and of matrices") {
  const Tensor A = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}, kDouble);
  const auto number = [](const Tensor& x) { return x.item<double>(); };
  CHECK_EQ(number(linalg_norm(A)), doctest::Approx(std::sqrt(91.0)));
  CHECK_EQ(number(linalg_norm(A, "fro")), doctest::Approx(std::sqrt(91.0)));
  CHECK_EQ(number(linalg_norm(A, 1)), 9.0);
  CHECK_EQ(number(linalg_norm(A, -1)), 5.0);
  CHECK_EQ(number(linalg_norm(A, INFINITY)), 15.0);
  CHECK_EQ(number(linalg_norm(A, -INFINITY)), 6.0);
  CHECK_EQ(number(linalg_norm(A, 2)), doctest::Approx(9.508032000695724));
  CHECK_EQ(number(linalg_norm(A, -2)), doctest::Approx(0.7728696356734838));
  CHECK_EQ(number(linalg_norm(A, "nuc")), doctest::Approx(9.508032000695724 + 0.7728696356734838));
  CHECK_EQ(number(linalg_vector_norm(A, 3)), doctest::Approx(std::cbrt(441.0)));
  CHECK_CLOSE(linalg_norm(A, 2, 1), tensor({std::sqrt(14.0), std::sqrt(77.0)}, kDouble));
  CHECK_EQ(linalg_norm(A, 1, {1, 0}, true), tensor({{15.0}}, kDouble));
  CHECK_EQ(linalg_vector_norm(A, 2, std::nullopt, true).sizes(), IntArrayRef({1, 1}));
  CHECK_EQ(linalg_vector_norm(A.to(kFloat), 2, {}, false, kDouble).scalar_type(), kDouble);
  const Tensor x = arange(24, kDouble).view({2, 3, 4});
  CHECK_CLOSE(linalg_matrix_norm(x, 2, {0, 2}), tensor({27.2787409349, 36.7950101113, 47.1030990882}, kDouble), 1e-10, 0.0);
  CHECK_EQ(linalg_matrix_norm(x, 2, {2, 0}, true).sizes(), IntArrayRef({1, 3, 1}));
  CHECK_EQ(linalg_matrix_norm(x, INFINITY, {0, 2}, true), tensor({{{54.0}, {70.0}, {86.0}}}, kDouble));
  CHECK_EQ(linalg_matrix_norm(x, 1, {2, 0}), tensor({54.0, 70.0, 86.0}, kDouble));
  CHECK_EQ(linalg_matrix_norm(zeros({2, 0, 3}), 2), zeros({2}));
  CHECK_EQ(linalg_matrix_norm(zeros({3, 0}), 1), zeros({}));
  CHECK_EQ(linalg::norm(A, 1, std::nullopt, false, std::nullopt), linalg_norm(A, 1));
  CHECK_EQ(linalg::matrix_norm(A, "fro", {0, 1}, false, std::nullopt), linalg_norm(A));
  CHECK_ERROR(linalg_norm(A, 3), "linalg.matrix_norm: Order 3 not supported.");
  CHECK_ERROR(linalg_norm(A, "x"), "linalg.matrix_norm: Order x not supported.");
  CHECK_ERROR(linalg_norm(x, 2), "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got 3D.");
  CHECK_ERROR(linalg_norm(x, 2, {0, 1, 2}), "linalg.norm: If dim is specified, it must be of length 1 or 2. Got [0, 1, 2]");
  CHECK_ERROR(linalg_norm(x[0][0], "fro"), "linalg.matrix_norm: The input tensor A must have at least 2 dimensions.");
  CHECK_ERROR(linalg_matrix_norm(A, "fro", {0, 0}), "linalg.matrix_norm: dims must be different. Got (0, 0)");
  CHECK_ERROR(linalg_vector_norm(tensor({1})), "linalg.vector_norm: Expected a floating point or complex tensor as input. Got Long");
  CHECK_ERROR(linalg_vector_norm(A, 2, std::nullopt, false, kLong), "linalg.vector_norm: dtype should be floating point or complex, but got Long");
  CHECK_ERROR(linalg_vector_norm(A, 2, std::nullopt, false, kFloat), "linalg.vector_norm: the dtype of the input (Double) should be convertible without narrowing to the specified dtype (Float)");
}

// %% [markdown]
// ## Pairs of rows
//
// `cdist` has the distance of each row of one matrix from each of another, for nearest neighbours and clusters. Written as a norm of differences it needs memory for P x R x M numbers. The Euclidean one can do with P x R by |a|^2 + |b|^2 - 2 a.b, which
// cancels where points lie close: PyTorch uses it beyond 25 rows, here the differences are kept. Chapter 52 has a kernel that sums them up without storing them. `pdist`, the distances of one matrix's rows from each other, picks the upper triangle of what `cdist` gives: twice the distances, but none of the N^2 M / 2 differences that a subtraction of picked rows would write.
//
// `cov` treats rows as variables and columns as observations.

// %%
//| export core/pairs.h
// The p-norm distances between the rows of x1 (..., P, M) and those of x2 (..., R, M): (..., P, R). Batches broadcast. O(P R M) time and memory. The gradient at distance 0 is 0. Throws unless M is the same and p >= 0.
Tensor cdist(const Tensor& x1, const Tensor& x2, double p = 2);
namespace op {
extern Operator<Tensor(const Tensor&, const Tensor&, double)> cdist;
}  // namespace op
// The p-norm distances between the rows i < j of self (N, M), row by row of the upper triangle: N (N - 1) / 2 numbers. The gradient at distance 0 is 0; for p = infinity
// all coordinates that are equally far apart get it. O(N^2 M). Throws unless self has two dimensions and p >= 0.
Tensor pdist(const Tensor& self, double p = 2);
// The covariances of the rows of self (variables, observations), or of one variable (observations). `correction` 1 divides by n - 1; fweights count repeats of observations (integers), aweights weigh them.
Tensor cov(const Tensor& self, std::int64_t correction = 1, const std::optional<Tensor>& fweights = {}, const std::optional<Tensor>& aweights = {});
// The covariances divided by the standard deviations, from -1 to 1.
Tensor corrcoef(const Tensor& self);
namespace nn::functional {
using tinytorch::pdist;
}  // namespace nn::functional

// %%
//| export core/pairs.cpp
Tensor norm_backward(const Tensor& g, const Tensor& self, const Tensor& result, double p, IntArrayRef dims, bool keepdim);  // chapter 95

namespace {
Tensor differences_of_rows(const Tensor& x1, const Tensor& x2) { return x1.unsqueeze(-2) - x2.unsqueeze(-3); }

Tensor cdist_cpu(const Tensor& x1, const Tensor& x2, double p) { return differences_of_rows(x1, x2).norm(Scalar(p), {-1}); }

}  // namespace

// The gradient of x1: of each row the sum of what reaches its differences (..., P, R, M). That of x2 is the same with both exchanged.
Tensor cdist_backward(const Tensor& g, const Tensor& x1, const Tensor& x2, const Tensor& result, double p) {
  const Tensor differences = differences_of_rows(x1, x2);
  if (p == 2) return (where(result.eq(0), zeros({}, g.options()), g / result).unsqueeze(-1) * differences).sum({-2});  // divides P x R numbers, not P x R x M
  if (p == 1 || std::isinf(p)) {
    // Norms share what reaches them among equal differences, and have 0 for the sign of NaN; cdist gives each all of it, and NaN, as PyTorch's does. A largest difference that is NaN is one for its whole row.
    const Tensor slope = where(differences.isnan(), differences, differences.sign());
    if (p == 1) return (g.unsqueeze(-1) * slope).sum({-2});
    const Tensor pull = where(result.isnan(), result, g);
    return (pull.unsqueeze(-1) * slope * differences.abs().eq(result.unsqueeze(-1)).to(g.scalar_type())).sum({-2});
  }
  return norm_backward(g, differences, result, p, {-1}, false).sum({-2});
}

constinit Operator<Tensor(const Tensor&, const Tensor&, double)> op::cdist(
    "cdist", {.cpu = cdist_cpu,
              .autograd = gradient_of<op::cdist>(
                  [](const Tensor& g, Input<0> x1, Input<1> x2, Output result, Arg<2, double> p) { return cdist_backward(g, x1, x2, result, p.value); },
                  [](const Tensor& g, Input<0> x1, Input<1> x2, Output result, Arg<2, double> p) { return cdist_backward(g.transpose(-2, -1), x2, x1, result.transpose(-2, -1), p.value); })});

Tensor cdist(const Tensor& x1, const Tensor& x2, double p) {
  TORCH_CHECK(x1.is_floating_point(), "cdist only supports floating-point dtypes, X1 got: ", x1.scalar_type());
  TORCH_CHECK(x2.is_floating_point(), "cdist only supports floating-point dtypes, X2 got: ", x2.scalar_type());
  TORCH_CHECK(x1.dim() >= 2, "cdist only supports at least 2D tensors, X1 got: ", x1.dim(), "D");
  TORCH_CHECK(x2.dim() >= 2, "cdist only supports at least 2D tensors, X2 got: ", x2.dim(), "D");
  TORCH_CHECK(x1.size(-1) == x2.size(-1), "X1 and X2 must have the same number of columns. X1: ", x1.size(-1), " X2: ", x2.size(-1));
  TORCH_CHECK(p >= 0, "cdist only supports non-negative p values");
  return op::cdist(x1, x2, p);
}

Tensor pdist(const Tensor& self, double p) {
  TORCH_CHECK(self.dim() == 2, "pdist only supports 2D tensors, got: ", self.dim(), "D");
  TORCH_CHECK(self.is_floating_point(), "pdist only supports floating-point dtypes");
  TORCH_CHECK(p >= 0, "pdist only supports non-negative p values");
  const std::int64_t N = self.size(0);
  const Tensor rows = triu_indices(N, N, 1);
  return op::cdist(self, self, p).flatten().index_select(0, rows[0] * N + rows[1]);
}

Tensor cov(const Tensor& self, std::int64_t correction, const std::optional<Tensor>& fweights, const std::optional<Tensor>& aweights) {
  TORCH_CHECK(self.dim() <= 2, "cov(): expected input to have two or fewer dimensions but got an input with ", self.dim(), " dimensions");
  TORCH_CHECK(self.scalar_type() != kBool, "cov(): bool dtype is not supported for input");
  Tensor x = self.dim() < 2 ? self.reshape({1, -1}) : self;
  if (!x.is_floating_point()) x = x.to(get_default_dtype());
  const std::int64_t n = x.size(1);
  Tensor weights;
  if (fweights && fweights->defined()) {
    TORCH_CHECK(fweights->dim() <= 1, "cov(): expected fweights to have one or fewer dimensions but got fweights with ", fweights->dim(), " dimensions");
    TORCH_CHECK(!fweights->is_floating_point() && fweights->scalar_type() != kBool, "cov(): expected fweights to have integral dtype but got fweights with ", fweights->scalar_type(), " dtype");
    TORCH_CHECK(fweights->numel() == n, "cov(): expected fweights to have the same numel as there are observations in the input but got ", fweights->numel(), " != ", n);
    TORCH_CHECK(n == 0 || fweights->min().item<double>() >= 0, "cov(): fweights cannot be negative");
    weights = *fweights;
  }
  if (aweights && aweights->defined()) {
    TORCH_CHECK(aweights->dim() <= 1, "cov(): expected aweights to have one or fewer dimensions but got aweights with ", aweights->dim(), " dimensions");
    TORCH_CHECK(aweights->is_floating_point(), "cov(): expected aweights to have floating point dtype but got aweights with ", aweights->scalar_type(), " dtype");
    TORCH_CHECK(aweights->numel() == n, "cov(): expected aweights to have the same numel as there are observations in the input but got ", aweights->numel(), " != ", n);
    TORCH_CHECK(n == 0 || aweights->min().item<double>() >= 0, "cov(): aweights cannot be negative");
    weights = weights.defined() ? weights * *aweights : *aweights;
  }
  const Tensor sum = weights.defined() ? weights.sum() : full({}, static_cast<double>(n), x.options());
  TORCH_CHECK(!weights.defined() || n == 0 || sum.item<double>() != 0, "cov(): weights sum to zero, can't be normalized");
  const Tensor mean = (weights.defined() ? x * weights : x).sum(1, true) / sum;
  const Tensor centred = x - mean;
  // What to divide by: the sum of the weights less the correction, weighted as the observations are.
  Tensor norm = sum - static_cast<double>(correction);
  if (aweights && aweights->defined() && correction != 0) norm = sum - (weights * *aweights).sum() / sum * static_cast<double>(correction);
  const Tensor scaled = (weights.defined() ? centred * weights : centred).to(x.scalar_type());
  return (matmul(centred, scaled.t()) / norm.clamp_min(0).to(x.scalar_type())).squeeze();
}

Tensor corrcoef(const Tensor& self) {
  TORCH_CHECK(self.dim() <= 2, "corrcoef(): expected input to have two or fewer dimensions but got an input with ", self.dim(), " dimensions");
  const Tensor c = cov(self);
  if (c.dim() == 0) return c / c;
  const Tensor deviations = c.diagonal().sqrt();
  return (c / deviations.unsqueeze(-1) / deviations.unsqueeze(0)).clamp(-1, 1);  // rounding may have gone beyond
}

// %%
//| export core/linalg_methods.cpp
namespace {
const Tensor& matrix_of(const LinalgMethods* methods) { return static_cast<const Tensor&>(*methods); }
}  // namespace
Tensor LinalgMethods::inverse() const { return tinytorch::inverse(matrix_of(this)); }
Tensor LinalgMethods::det() const { return tinytorch::det(matrix_of(this)); }
Tensor LinalgMethods::matrix_power(std::int64_t n) const { return tinytorch::matrix_power(matrix_of(this), n); }
Tensor LinalgMethods::matrix_exp() const { return tinytorch::linalg_matrix_exp(matrix_of(this)); }
Tensor LinalgMethods::logdet() const { return tinytorch::logdet(matrix_of(this)); }
std::tuple<Tensor, Tensor> LinalgMethods::slogdet() const { return tinytorch::slogdet(matrix_of(this)); }
Tensor LinalgMethods::cholesky(bool upper) const { return tinytorch::cholesky(matrix_of(this), upper); }
Tensor LinalgMethods::cholesky_solve(const Tensor& input2, bool upper) const { return tinytorch::cholesky_solve(matrix_of(this), input2, upper); }
std::tuple<Tensor, Tensor> LinalgMethods::qr(bool some) const { return tinytorch::qr(matrix_of(this), some); }
std::tuple<Tensor, Tensor, Tensor> LinalgMethods::svd(bool some, bool compute_uv) const { return tinytorch::svd(matrix_of(this), some, compute_uv); }
Tensor LinalgMethods::pinverse(double rcond) const { return tinytorch::pinverse(matrix_of(this), rcond); }
Tensor LinalgMethods::cov(std::int64_t correction) const { return tinytorch::cov(matrix_of(this), correction); }
Tensor LinalgMethods::cov(std::int64_t correction, const std::optional<Tensor>& fweights) const { return tinytorch::cov(matrix_of(this), correction, fweights); }
Tensor LinalgMethods::cov(std::int64_t correction, const std::optional<Tensor>& fweights, const std::optional<Tensor>& aweights) const { return tinytorch::cov(matrix_of(this), correction, fweights, aweights); }
Tensor LinalgMethods::corrcoef() const { return tinytorch::corrcoef(matrix_of(this)); }

// %%
TEST_CASE("pairs: distances, covariances, and the methods") {
  const Tensor x = tensor({{0.0, 0.0}, {3.0, 4.0}}, kDouble);
  CHECK_EQ(cdist(x, tensor({{3.0, 0.0}}, kDouble)), tensor({{3.0}, {4.0}}, kDouble));
  CHECK_EQ(cdist(x, x, 1), tensor({{0.0, 7.0}, {7.0, 0.0}}, kDouble));
  CHECK_ERROR(cdist(x, ones({1, 3}, kDouble)), "X1 and X2 must have the same number of columns. X1: 2 X2: 3");
  const Tensor corners = tensor({{0.0, 0.0}, {3.0, 4.0}, {3.0, 0.0}}, kDouble).requires_grad_();
  CHECK_EQ(pdist(corners).detach(), tensor({5.0, 3.0, 4.0}, kDouble));  // (0, 1), (0, 2), (1, 2)
  CHECK_EQ(nn::functional::pdist(corners, 1).detach(), tensor({7.0, 3.0, 4.0}, kDouble));
  pdist(corners).sum().backward();
  CHECK_CLOSE(corners.grad(), tensor({{-1.6, -0.8}, {0.6, 1.8}, {1.0, -1.0}}, kDouble), 1e-14, 1e-15);
  // As in PyTorch, two coordinates that are equally far apart both get all of what reaches the distance.
  const Tensor even = tensor({{1.0, 2.0, -2.0}, {0.0, 0.0, 0.0}}, kDouble).requires_grad_();
  pdist(even, std::numeric_limits<double>::infinity()).sum().backward();
  CHECK_EQ(even.grad(), tensor({{0.0, 1.0, -1.0}, {0.0, -1.0, 1.0}}, kDouble));
  CHECK_EQ(pdist(ones({1, 2})).sizes(), IntArrayRef({0}));
  CHECK_ERROR(pdist(ones({2})), "pdist only supports 2D tensors, got: 1D");
  CHECK_ERROR(pdist(x, -1), "pdist only supports non-negative p values");
  const Tensor observations = tensor({{1.0, 2.0, 3.0}, {3.0, 2.0, 1.0}}, kDouble);
  CHECK_CLOSE(observations.cov(), tensor({{1.0, -1.0}, {-1.0, 1.0}}, kDouble), 1e-14, 0.0);
  CHECK_CLOSE(observations.corrcoef(), observations.cov(), 1e-14, 0.0);
  CHECK_CLOSE(cov(tensor({1.0, 2.0}, kDouble), 0, tensor({1, 3})), tensor(0.1875, kDouble), 1e-14, 0.0);
  const Tensor A = tensor({{2.0, 1.0}, {1.0, 2.0}}, kDouble);
  CHECK_CLOSE(A.inverse(), linalg_inv(A), 0.0, 0.0);
  CHECK_CLOSE(A.det(), tensor(3.0, kDouble), 1e-15, 0.0);
  CHECK_CLOSE(A.cholesky().det(), tensor(std::sqrt(3.0), kDouble), 1e-15, 0.0);
  CHECK_CLOSE(std::get<1>(A.svd()), tensor({3.0, 1.0}, kDouble), 1e-14, 0.0);
}

// %%
}  // namespace tinytorch
