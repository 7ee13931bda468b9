// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/edges.h"

#include <algorithm>
#include <cstdlib>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

nn::LocalResponseNormImpl::LocalResponseNormImpl(std::int64_t size) : LocalResponseNormImpl(LocalResponseNormOptions(size)) {}
nn::LocalResponseNormImpl::LocalResponseNormImpl(const LocalResponseNormOptions& options_) : options(options_) {}
nn::CrossMapLRN2dImpl::CrossMapLRN2dImpl(std::int64_t size) : CrossMapLRN2dImpl(CrossMapLRN2dOptions(size)) {}
nn::CrossMapLRN2dImpl::CrossMapLRN2dImpl(const CrossMapLRN2dOptions& options_) : options(options_) {}

Tensor nn::CrossMapLRN2dImpl::forward(const Tensor& input) {
  TORCH_CHECK(input.dim() == 4, "CrossMapLRN2d: Expected input to be 4D, got ", input.dim(), "D instead.");
  return functional::local_response_norm(input, LocalResponseNormOptions(options.size()).alpha(options.alpha()).beta(options.beta()).k(static_cast<double>(options.k())));
}

Tensor nn::functional::local_response_norm(const Tensor& input, const LocalResponseNormFuncOptions& options) {
  TORCH_CHECK(input.dim() >= 3, "Expected 3D or higher dimensionality input (got ", input.dim(), " dimensions)");
  const std::int64_t C = input.size(1);
  const Tensor squares = input * input;
  // The channel at distance k, with zeros beyond the ends; then the sum over the distances.
  Tensor strength = zeros_like(squares);
  for (std::int64_t k = -(options.size() / 2); k <= (options.size() - 1) / 2; ++k) {
    const std::int64_t count = C - std::abs(k);
    if (count <= 0) continue;
    DimVector gap(input.sizes());
    gap[1] = C - count;
    const Tensor part = squares.narrow(1, std::max<std::int64_t>(k, 0), count), none = zeros(gap, input.options());
    strength = strength + (k > 0 ? cat({part, none}, 1) : cat({none, part}, 1));
  }
  return input / (strength / static_cast<double>(options.size()) * options.alpha() + options.k()).pow(options.beta());
}

}  // namespace tinytorch
