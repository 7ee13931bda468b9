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
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace {
void check_square(const char* name, const Tensor& A) {
  TORCH_CHECK(A.dim() >= 2, name, ": The input tensor A must have at least 2 dimensions.");
  TORCH_CHECK(A.size(-1) == A.size(-2), name, ": A must be batches of square matrices, but they are ", A.size(-2), " by ", A.size(-1), " matrices");
}
void check_real(const char* name, const Tensor& A) {
  TORCH_CHECK(A.is_floating_point(), name, ": Expected a floating point or complex tensor as input. Got ", A.scalar_type());
  TORCH_CHECK_NOT_IMPLEMENTED(A.scalar_type() == kFloat || A.scalar_type() == kDouble, name, ": Low precision dtypes not supported. Got ", A.scalar_type(), "\n[", name, "] convert with to(kFloat) first.");
}

// Whether there are several matrices: errors then say which one.
std::string batch_element(const Tensor& A, std::int64_t b) { return A.dim() > 2 ? str("(Batch element ", b, "): ") : ""; }

std::int64_t matrix_count(const Tensor& A) {
  std::int64_t count = 1;
  for (std::int64_t d = 0; d < A.dim() - 2; ++d) count *= A.size(d);
  return count;
}

// Makes the rows `a` (n x n) upper triangular and does the same to the rows `b` (n x k). Gives the sign of the row exchanges, and the 1-based number of the first zero pivot, or 0.
template <class T>
std::pair<int, std::int64_t> eliminate(T* a, std::int64_t n, T* b, std::int64_t k) {
  int sign = 1;
  std::int64_t zero_pivot = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    // The largest number of column j from the diagonal down.
    std::int64_t pivot = j;
    for (std::int64_t i = j + 1; i < n; ++i)
      if (std::abs(a[i * n + j]) > std::abs(a[pivot * n + j])) pivot = i;
    if (pivot != j) {
      std::swap_ranges(a + j * n, a + (j + 1) * n, a + pivot * n);
      std::swap_ranges(b + j * k, b + (j + 1) * k, b + pivot * k);
      sign = -sign;
    }
    if (a[j * n + j] == T{0}) {
      if (zero_pivot == 0) zero_pivot = j + 1;
      continue;
    }
    for (std::int64_t i = j + 1; i < n; ++i) {
      const T factor = a[i * n + j] / a[j * n + j];
      if (factor == T{0}) continue;
      for (std::int64_t c = j; c < n; ++c) a[i * n + c] -= factor * a[j * n + c];
      for (std::int64_t c = 0; c < k; ++c) b[i * k + c] -= factor * b[j * k + c];
    }
  }
  return {sign, zero_pivot};
}

// b := a^-1 b for a triangular a (n x n).
template <class T>
void substitute(const T* a, std::int64_t n, T* b, std::int64_t k, bool upper, bool unit) {
  for (std::int64_t step = 0; step < n; ++step) {
    const std::int64_t i = upper ? n - 1 - step : step;
    for (std::int64_t j = upper ? i + 1 : 0; j < (upper ? n : i); ++j)
      for (std::int64_t c = 0; c < k; ++c) b[i * k + c] -= a[i * n + j] * b[j * k + c];
    if (!unit)
      for (std::int64_t c = 0; c < k; ++c) b[i * k + c] /= a[i * n + i];
  }
}

// A copy in the order of rows, whatever the input's memory.
Tensor row_copy(const Tensor& A) {
  const Tensor copy = empty(A.sizes(), A.scalar_type());
  copy_into(copy, A);
  return copy;
}

Tensor linalg_inv_cpu(const Tensor& A) {
  const Tensor work = row_copy(A);
  const std::int64_t n = A.size(-1);
  const Tensor result = zeros(A.sizes(), A.scalar_type());
  dispatch_floating_types(A.scalar_type(), "linalg_inv", [&]<class T>() {
    for (std::int64_t b = 0; b < matrix_count(A) && n > 0; ++b) {
      T* const a = work.data<T>() + b * n * n;
      T* const x = result.data<T>() + b * n * n;
      for (std::int64_t i = 0; i < n; ++i) x[i * n + i] = T{1};
      const std::int64_t zero_pivot = eliminate(a, n, x, n).second;
      TORCH_CHECK(zero_pivot == 0, "linalg.inv: ", batch_element(A, b), "The diagonal element ", zero_pivot, " is zero, the inversion could not be completed because the input matrix is singular.");
      substitute(a, n, x, n, true, false);
    }
  });
  return result;
}

Tensor linalg_solve_cpu(const Tensor& A, const Tensor& B) {
  const Tensor work = row_copy(A);
  const Tensor result = row_copy(B);
  const std::int64_t n = A.size(-1), k = B.size(-1);
  dispatch_floating_types(A.scalar_type(), "linalg_solve", [&]<class T>() {
    for (std::int64_t b = 0; b < matrix_count(A); ++b) {
      T* const a = work.data<T>() + b * n * n;
      T* const x = result.data<T>() + b * n * k;
      TORCH_CHECK(eliminate(a, n, x, k).second == 0, "torch.linalg.solve: ", batch_element(A, b), "The solver failed because the input matrix is singular.");
      substitute(a, n, x, k, true, false);
    }
  });
  return result;
}

// The sign and the pivots' sizes, of each matrix: f(b, sign, pivots).
template <class F>
void for_each_pivots(const Tensor& A, F f) {
  const Tensor work = row_copy(A);
  const std::int64_t n = A.size(-1);
  dispatch_floating_types(A.scalar_type(), "linalg_det", [&]<class T>() {
    for (std::int64_t b = 0; b < matrix_count(A); ++b) {
      T* const a = work.data<T>() + b * n * n;
      const int sign = eliminate(a, n, static_cast<T*>(nullptr), 0).first;
      f(b, sign, a);
    }
  });
}

DimVector batch_sizes(const Tensor& A) { return DimVector(IntArrayRef(A.sizes().data(), A.sizes().size() - 2)); }

Tensor linalg_det_cpu(const Tensor& A) {
  const Tensor result = empty(batch_sizes(A), A.scalar_type());
  const std::int64_t n = A.size(-1);
  for_each_pivots(A, [&]<class T>(std::int64_t b, int sign, const T* a) {
    T product = static_cast<T>(sign);
    for (std::int64_t i = 0; i < n; ++i) product *= a[i * n + i];
    result.data<T>()[b] = product;
  });
  return result;
}

Tensor linalg_cholesky_cpu(const Tensor& A, bool upper) {
  const Tensor L = row_copy(upper ? A.transpose(-2, -1) : A);
  const std::int64_t n = A.size(-1);
  dispatch_floating_types(A.scalar_type(), "linalg_cholesky", [&]<class T>() {
    for (std::int64_t b = 0; b < matrix_count(A); ++b) {
      T* const l = L.data<T>() + b * n * n;
      for (std::int64_t j = 0; j < n; ++j) {
        // Row j of L from the rows above: l_jc = (a_jc - sum of l_jk l_ck) / l_cc, and what is left of a_jj is the square of l_jj.
        for (std::int64_t c = 0; c <= j; ++c) {
          T rest = l[j * n + c];
          for (std::int64_t k = 0; k < c; ++k) rest -= l[j * n + k] * l[c * n + k];
          TORCH_CHECK(c < j || rest > T{0}, "linalg.cholesky: ", batch_element(A, b), "The factorization could not be completed because the input is not positive-definite (the leading minor of order ", j + 1,
                             " is not positive-definite).");
          l[j * n + c] = c < j ? rest / l[c * n + c] : std::sqrt(rest);
        }
        for (std::int64_t c = j + 1; c < n; ++c) l[j * n + c] = T{0};
      }
    }
  });
  return upper ? row_copy(L.transpose(-2, -1)) : L;
}

Tensor linalg_solve_triangular_cpu(const Tensor& A, const Tensor& B, bool upper, bool unitriangular) {
  const Tensor a = row_copy(A);
  const Tensor result = row_copy(B);
  const std::int64_t n = A.size(-1), k = B.size(-1);
  dispatch_floating_types(A.scalar_type(), "linalg_solve_triangular", [&]<class T>() {
    for (std::int64_t b = 0; b < matrix_count(A); ++b) substitute(a.data<T>() + b * n * n, n, result.data<T>() + b * n * k, k, upper, unitriangular);
  });
  return result;
}
}  // namespace

namespace {
Tensor mT(const Tensor& x) { return x.transpose(-2, -1); }

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
    const Tensor sign = empty(batch_sizes(A), A.scalar_type());
    const Tensor logarithm = empty(batch_sizes(A), A.scalar_type());
    const std::int64_t n = A.size(-1);
    for_each_pivots(A, [&]<class T>(std::int64_t b, int exchanges, const T* a) {
      T s = static_cast<T>(exchanges), sum{0};
      for (std::int64_t i = 0; i < n; ++i) {
        const T pivot = a[i * n + i];
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
  check_square("linalg.inv", A);
  check_real("linalg.inv", A);
  return op::linalg_inv(A);
}

Tensor linalg_det(const Tensor& A) {
  check_square("linalg.det", A);
  check_real("linalg.det", A);
  return op::linalg_det(A);
}

std::tuple<Tensor, Tensor> linalg_slogdet(const Tensor& A) {
  check_square("linalg.slogdet", A);
  check_real("linalg.slogdet", A);
  const variable_list results = SignAndLogDeterminant::apply(A);
  return {results[0], results[1]};
}

Tensor logdet(const Tensor& self) {
  check_square("logdet", self);
  check_real("logdet", self);
  const auto [sign, logarithm] = linalg_slogdet(self);
  return where(sign == -1, full({}, std::numeric_limits<double>::quiet_NaN(), self.options()), logarithm);
}

namespace {
// Both with the batch dimensions of both.
std::pair<Tensor, Tensor> with_common_batch(const char* name, const Tensor& A, const Tensor& B) {
  TORCH_CHECK(A.scalar_type() == B.scalar_type(), name, ": Expected A and B to have the same dtype, but found A of type ", A.scalar_type(), " and B of type ", B.scalar_type(), " instead");
  const DimVector batch = infer_size(batch_sizes(A), batch_sizes(B));
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
  check_square("linalg.solve", A);
  check_real("linalg.solve", A);
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
  check_square("linalg.cholesky", A);
  check_real("linalg.cholesky", A);
  return op::linalg_cholesky(A, upper);
}

Tensor linalg_solve_triangular(const Tensor& self, const Tensor& B, bool upper, bool left, bool unitriangular) {
  check_square("linalg.solve_triangular", self);
  check_real("linalg.solve_triangular", self);
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
