// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.
#pragma once

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
