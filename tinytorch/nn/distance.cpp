// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/distance.h"

#include <algorithm>
#include <ostream>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

nn::PairwiseDistanceImpl::PairwiseDistanceImpl(const PairwiseDistanceOptions& options_) : options(options_) {}
nn::CosineSimilarityImpl::CosineSimilarityImpl(const CosineSimilarityOptions& options_) : options(options_) {}

Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p, double eps, bool keepdim) {
  return norm(x1 - x2 + eps, p, {-1}, keepdim);
}

Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, std::int64_t dim, double eps) {
  TORCH_CHECK(x1.is_floating_point() || x2.is_floating_point(),
              "expected common dtype to be floating point, yet common dtype is ", promoteTypes(x1.scalar_type(), x2.scalar_type()));
  const auto unit = [&](const Tensor& x) { return x / clamp_min(norm(x, 2, {dim}, true), eps); };
  const std::int64_t dims = std::max(x1.dim(), x2.dim());
  const std::int64_t wrapped = wrap_dim(dim, dims);
  if (x1.dim() == x2.dim()) return (unit(x1) * unit(x2)).sum({wrapped});
  const Tensor both = x1 * zeros_like(x2) + x2 * zeros_like(x1);  // of the common shape
  return cosine_similarity(x1.expand(both.sizes()), x2.expand(both.sizes()), wrapped, eps);
}

Tensor nn::functional::normalize(const Tensor& input, const NormalizeFuncOptions& options) {
  TORCH_CHECK(input.is_floating_point(), "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ",
              input.scalar_type());
  return input / clamp_min(norm(input, options.p(), {options.dim()}, true), options.eps());
}
Tensor nn::functional::pairwise_distance(const Tensor& x1, const Tensor& x2, const PairwiseDistanceFuncOptions& options) {
  return tinytorch::pairwise_distance(x1, x2, options.p(), options.eps(), options.keepdim());
}
Tensor nn::functional::cosine_similarity(const Tensor& x1, const Tensor& x2, const CosineSimilarityFuncOptions& options) {
  return tinytorch::cosine_similarity(x1, x2, options.dim(), options.eps());
}

void nn::PairwiseDistanceImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::PairwiseDistance(p=" << options.p() << ", eps=" << options.eps()
         << ", keepdim=" << (options.keepdim() ? "true" : "false") << ')';
}
void nn::CosineSimilarityImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::CosineSimilarity(dim=" << options.dim() << ", eps=" << options.eps() << ')';
}

}  // namespace tinytorch
