// From the lesson modules/82_more_functions/more_functions_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/adaptive.h"

#include <cmath>
#include <ostream>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

nn::AdaptiveLogSoftmaxWithLossImpl::AdaptiveLogSoftmaxWithLossImpl(std::int64_t in_features, std::int64_t n_classes, std::vector<std::int64_t> starts)
    : AdaptiveLogSoftmaxWithLossImpl(AdaptiveLogSoftmaxWithLossOptions(in_features, n_classes, std::move(starts))) {}
nn::AdaptiveLogSoftmaxWithLossImpl::AdaptiveLogSoftmaxWithLossImpl(AdaptiveLogSoftmaxWithLossOptions options_) : options(std::move(options_)) {
  AdaptiveLogSoftmaxWithLossImpl::reset();
}

void nn::AdaptiveLogSoftmaxWithLossImpl::reset() {
  const std::vector<std::int64_t>& given = options.cutoffs();
  bool rising = !given.empty() && given.front() >= 1 && given.back() <= options.n_classes() - 1;
  for (std::size_t i = 1; i < given.size(); ++i) rising = rising && given[i] > given[i - 1];
  TORCH_CHECK(rising, "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is between 1 and n_classes-1");
  cutoffs = given;
  cutoffs.push_back(options.n_classes());
  shortlist_size = cutoffs.front();
  n_clusters = static_cast<std::int64_t>(cutoffs.size()) - 1;
  head_size = shortlist_size + n_clusters;

  head = register_module("head", Linear(LinearOptions(options.in_features(), head_size).bias(options.head_bias())));
  tail = register_module("tail", ModuleList());
  for (std::size_t i = 0; i + 1 < cutoffs.size(); ++i) {
    const auto features = static_cast<std::int64_t>(std::floor(static_cast<double>(options.in_features()) / std::pow(options.div_value(), static_cast<double>(i + 1))));
    tail->push_back(Sequential(Linear(LinearOptions(options.in_features(), features).bias(false)), Linear(LinearOptions(features, cutoffs[i + 1] - cutoffs[i]).bias(false))));
  }
}

void nn::AdaptiveLogSoftmaxWithLossImpl::reset_parameters() {
  head->reset_parameters();
  for (const auto& module : *tail)
    for (const auto& layer : module->children()) layer->as<LinearImpl>()->reset_parameters();
}

void nn::AdaptiveLogSoftmaxWithLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AdaptiveLogSoftmaxWithLoss"; }

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::cluster_scores(std::int64_t cluster, const Tensor& input) {
  return tail->ptr(static_cast<std::size_t>(cluster))->as<SequentialImpl>()->forward(input);
}

nn::ASMoutput nn::AdaptiveLogSoftmaxWithLossImpl::forward(const Tensor& input, const Tensor& target) {
  TORCH_CHECK(input.size(0) == target.size(0), "Input and target should have the same size in the batch dimension.");
  if (target.numel() > 0) {
    const auto least = target.min().item<std::int64_t>();
    const auto most = target.max().item<std::int64_t>();
    TORCH_CHECK(least >= 0 && most < options.n_classes(), "Target values should be in [0, ", options.n_classes() - 1, "], but values in range [", least, ", ", most, "] were found. ");
  }
  // What the head is asked for: a class, or the cluster that the class is in.
  Tensor of_head = target.clone();
  Tensor output = zeros({target.size(0)}, input.options());
  for (std::int64_t cluster = 0; cluster < n_clusters; ++cluster) {
    const std::int64_t low = cutoffs[static_cast<std::size_t>(cluster)];
    const std::int64_t high = cutoffs[static_cast<std::size_t>(cluster) + 1];
    const Tensor rows = target.ge(low).logical_and(target.lt(high)).nonzero().squeeze(1);
    if (rows.numel() == 0) continue;
    const Tensor among = log_softmax(cluster_scores(cluster, input.index_select(0, rows)), 1);
    const Tensor wanted = (target.index_select(0, rows) - low).unsqueeze(1);
    output = output.index_add(0, rows, among.gather(1, wanted).squeeze(1));
    of_head.index_put_({rows}, shortlist_size + cluster);
  }
  output = output + log_softmax(head(input), 1).gather(1, of_head.unsqueeze(1)).squeeze(1);
  return {output, (-output).mean().item<double>()};
}

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::all_log_probs(const Tensor& input, const Tensor& head_output) {
  const Tensor of_head = log_softmax(head_output, 1);
  std::vector<Tensor> parts{of_head.narrow(1, 0, shortlist_size)};
  for (std::int64_t cluster = 0; cluster < n_clusters; ++cluster)
    parts.push_back(log_softmax(cluster_scores(cluster, input), 1) + of_head.select(1, shortlist_size + cluster).unsqueeze(1));
  return cat(parts, 1);
}

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::log_prob(const Tensor& input) { return all_log_probs(input, head(input)); }

Tensor nn::AdaptiveLogSoftmaxWithLossImpl::predict(const Tensor& input) {
  const Tensor head_output = head(input);
  Tensor output = head_output.argmax(1);
  const Tensor rare = output.ge(shortlist_size).nonzero().squeeze(1);
  if (rare.numel() > 0) output.index_put_({rare}, all_log_probs(input.index_select(0, rare), head_output.index_select(0, rare)).argmax(1));
  return output;
}

}  // namespace tinytorch
