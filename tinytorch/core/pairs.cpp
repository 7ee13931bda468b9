// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/pairs.h"

#include <cmath>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
