// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.

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

namespace tinytorch {

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

}  // namespace tinytorch
