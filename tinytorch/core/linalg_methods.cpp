// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/linalg_methods.h"

#include "tinytorch/core/linalg.h"
#include "tinytorch/core/pairs.h"

namespace tinytorch {

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

}  // namespace tinytorch
