// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <string_view>
#include <tuple>

#include "tinytorch/core/ops.h"
#include "tinytorch/core/optional_array_ref.h"

namespace tinytorch {

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

}  // namespace tinytorch
