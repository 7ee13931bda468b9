// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/arg.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

// The p-norm of x1 - x2 + eps over the last dimension; the shapes broadcast. O(numel).
Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p = 2, double eps = 1e-6, bool keepdim = false);
// The cosine of the angle between x1 and x2 along `dim`; no length counts less than eps. The shapes broadcast. O(numel).
Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, std::int64_t dim = 1, double eps = 1e-8);

namespace nn {

struct PairwiseDistanceOptions {
  TORCH_ARG(double, p) = 2.0;
  TORCH_ARG(double, eps) = 1e-6;
  TORCH_ARG(bool, keepdim) = false;
};
struct CosineSimilarityOptions {
  TORCH_ARG(std::int64_t, dim) = 1;
  TORCH_ARG(double, eps) = 1e-8;
};

namespace functional {
struct NormalizeFuncOptions {
  TORCH_ARG(double, p) = 2.0;
  TORCH_ARG(std::int64_t, dim) = 1;
  TORCH_ARG(double, eps) = 1e-12;
};
// input / its p-norm along `dim`, which counts no less than eps.
Tensor normalize(const Tensor& input, const NormalizeFuncOptions& options = {});

using PairwiseDistanceFuncOptions = PairwiseDistanceOptions;
using CosineSimilarityFuncOptions = CosineSimilarityOptions;
Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, const PairwiseDistanceFuncOptions& options = {});
Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, const CosineSimilarityFuncOptions& options = {});
}  // namespace functional

class PairwiseDistanceImpl : public Cloneable<PairwiseDistanceImpl> {
 public:
  explicit PairwiseDistanceImpl(const PairwiseDistanceOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& x1, const Tensor& x2) { return functional::pairwise_distance(x1, x2, options); }
  PairwiseDistanceOptions options;
};
TORCH_MODULE(PairwiseDistance);

class CosineSimilarityImpl : public Cloneable<CosineSimilarityImpl> {
 public:
  explicit CosineSimilarityImpl(const CosineSimilarityOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& x1, const Tensor& x2) { return functional::cosine_similarity(x1, x2, options); }
  CosineSimilarityOptions options;
};
TORCH_MODULE(CosineSimilarity);

}  // namespace nn

}  // namespace tinytorch
