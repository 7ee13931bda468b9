// From the lesson modules/82_more_functions/more_functions_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/unique.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/containers.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/sequential.h"

namespace tinytorch {

namespace nn {
// Log-probabilities of the targets, and their negative mean, a plain number. Source: torch/csrc/api/include/torch/nn/modules/adaptive.h.
struct ASMoutput {
  ASMoutput(Tensor output_, double loss_) : output(std::move(output_)), loss(loss_) {}
  Tensor output;
  double loss;
};

// `cutoffs`: where the clusters begin, rising, each between 1 and n_classes - 1; classes are sorted by falling frequency.
struct AdaptiveLogSoftmaxWithLossOptions {
  AdaptiveLogSoftmaxWithLossOptions(std::int64_t in_features, std::int64_t n_classes, std::vector<std::int64_t> cutoffs)
      : in_features_(in_features), n_classes_(n_classes), cutoffs_(std::move(cutoffs)) {}
  TORCH_ARG(std::int64_t, in_features);
  TORCH_ARG(std::int64_t, n_classes);
  TORCH_ARG(std::vector<std::int64_t>, cutoffs);
  TORCH_ARG(double, div_value) = 4.0;
  TORCH_ARG(bool, head_bias) = false;
};

class AdaptiveLogSoftmaxWithLossImpl : public Cloneable<AdaptiveLogSoftmaxWithLossImpl> {
 public:
  AdaptiveLogSoftmaxWithLossImpl(std::int64_t in_features, std::int64_t n_classes, std::vector<std::int64_t> starts);
  explicit AdaptiveLogSoftmaxWithLossImpl(AdaptiveLogSoftmaxWithLossOptions options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  // input (N, in_features), target (N) of Long -> the log-probability of each target, and the loss. A cluster that no target is in costs nothing.
  ASMoutput forward(const Tensor& input, const Tensor& target);
  Tensor log_prob(const Tensor& input);  // (N, in_features) -> (N, n_classes), all of them
  Tensor predict(const Tensor& input);   // (N, in_features) -> (N) of Long, the most probable class; clusters are opened only where they win

  AdaptiveLogSoftmaxWithLossOptions options;
  std::vector<std::int64_t> cutoffs;  // those of the options, and n_classes
  std::int64_t shortlist_size = 0;    // classes that the head decides itself
  std::int64_t n_clusters = 0;
  std::int64_t head_size = 0;
  Linear head = nullptr;
  ModuleList tail;

 private:
  Tensor all_log_probs(const Tensor& input, const Tensor& head_output);
  Tensor cluster_scores(std::int64_t cluster, const Tensor& input);  // (N, classes of the cluster)
};
TORCH_MODULE(AdaptiveLogSoftmaxWithLoss);
}  // namespace nn

}  // namespace tinytorch
