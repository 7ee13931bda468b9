// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_loss_modules.h"

#include <ostream>

#include "tinytorch/core/formatting.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/more_activations.h"

namespace tinytorch {

namespace {
std::int64_t number_of(const nn::LossReduction& reduction) { return enumtype::reduction_get_enum(reduction); }
}  // namespace

Tensor nn::functional::margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                           const MarginRankingLossFuncOptions& options) {
  TORCH_CHECK(input1.dim() == input2.dim() && input1.dim() == target.dim(),
              "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: ", input1.sizes(),
              ", input2: ", input2.sizes(), ", target: ", target.sizes());
  return tinytorch::margin_ranking_loss(input1, input2, target, options.margin(), number_of(options.reduction()));
}
Tensor nn::functional::hinge_embedding_loss(const Tensor& input, const Tensor& target,
                                            const HingeEmbeddingLossFuncOptions& options) {
  return tinytorch::hinge_embedding_loss(input, target, options.margin(), number_of(options.reduction()));
}
Tensor nn::functional::cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                             const CosineEmbeddingLossFuncOptions& options) {
  return tinytorch::cosine_embedding_loss(input1, input2, target, options.margin(), number_of(options.reduction()));
}
Tensor nn::functional::soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossFuncOptions& options) {
  return tinytorch::soft_margin_loss(input, target, number_of(options.reduction()));
}
Tensor nn::functional::multilabel_margin_loss(const Tensor& input, const Tensor& target,
                                              const MultilabelMarginLossFuncOptions& options) {
  return tinytorch::multilabel_margin_loss(input, target, number_of(options.reduction()));
}
Tensor nn::functional::multilabel_soft_margin_loss(const Tensor& input, const Tensor& target,
                                                   const MultilabelSoftMarginLossFuncOptions& options) {
  Tensor loss = -(target * log_sigmoid(input) + (1 - target) * log_sigmoid(-input));
  if (options.weight().defined()) loss = loss * options.weight();
  return apply_reduction(loss.sum({-1}) / input.size(-1), number_of(options.reduction()));
}
Tensor nn::functional::multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossFuncOptions& options) {
  TORCH_CHECK(options.p() == 1 || options.p() == 2, "only p == 1 and p == 2 supported");
  TORCH_CHECK(!options.weight().defined() || options.weight().dim() == 1, "weight must be one-dimensional");
  return tinytorch::multi_margin_loss(input, target, options.p(), options.margin(), options.weight(),
                                      number_of(options.reduction()));
}
Tensor nn::functional::triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                           const TripletMarginLossFuncOptions& options) {
  return tinytorch::triplet_margin_loss(anchor, positive, negative, options.margin(), options.p(), options.eps(), options.swap(),
                                        number_of(options.reduction()));
}
Tensor nn::functional::triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                                         const TripletMarginWithDistanceLossFuncOptions& options) {
  const auto distance = [&](const Tensor& a, const Tensor& b) {
    return options.distance_function() ? (*options.distance_function())(a, b) : tinytorch::pairwise_distance(a, b);
  };
  const Tensor to_positive = distance(anchor, positive);
  Tensor to_negative = distance(anchor, negative);
  if (options.swap()) to_negative = minimum(to_negative, distance(positive, negative));
  return apply_reduction(clamp_min(to_positive - to_negative + options.margin(), 0), number_of(options.reduction()));
}
Tensor nn::functional::poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNLLLossFuncOptions& options) {
  return tinytorch::poisson_nll_loss(input, target, options.log_input(), options.full(), options.eps(),
                                     number_of(options.reduction()));
}

nn::MarginRankingLossImpl::MarginRankingLossImpl(MarginRankingLossOptions options_) : options(std::move(options_)) {}
nn::HingeEmbeddingLossImpl::HingeEmbeddingLossImpl(HingeEmbeddingLossOptions options_) : options(std::move(options_)) {}
nn::CosineEmbeddingLossImpl::CosineEmbeddingLossImpl(CosineEmbeddingLossOptions options_) : options(std::move(options_)) {}
nn::SoftMarginLossImpl::SoftMarginLossImpl(SoftMarginLossOptions options_) : options(std::move(options_)) {}
nn::MultiLabelMarginLossImpl::MultiLabelMarginLossImpl(MultiLabelMarginLossOptions options_) : options(std::move(options_)) {}
nn::TripletMarginLossImpl::TripletMarginLossImpl(TripletMarginLossOptions options_) : options(std::move(options_)) {}
nn::TripletMarginWithDistanceLossImpl::TripletMarginWithDistanceLossImpl(TripletMarginWithDistanceLossOptions options_) : options(std::move(options_)) {}
nn::PoissonNLLLossImpl::PoissonNLLLossImpl(PoissonNLLLossOptions options_) : options(std::move(options_)) {}
nn::MultiLabelSoftMarginLossImpl::MultiLabelSoftMarginLossImpl(MultiLabelSoftMarginLossOptions options_) : options(std::move(options_)) { MultiLabelSoftMarginLossImpl::reset(); }
nn::MultiMarginLossImpl::MultiMarginLossImpl(MultiMarginLossOptions options_) : options(std::move(options_)) { MultiMarginLossImpl::reset(); }

namespace {
// A copy, so that a clone of the module does not share its buffer with the options.
Tensor weight_buffer(nn::Module& module, const Tensor& weight) {
  return weight.defined() ? module.register_buffer("weight", weight.clone()) : Tensor();
}

const char* reduction_name(const nn::LossReduction& reduction) {
  const char* const names[] = {"kNone", "kMean", "kSum"};
  return names[reduction.index()];
}
}  // namespace

void nn::MultiLabelSoftMarginLossImpl::reset() { weight = weight_buffer(*this, options.weight()); }
Tensor nn::MultiLabelSoftMarginLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::multilabel_soft_margin_loss(input, target, MultiLabelSoftMarginLossOptions(options).weight(weight));
}
void nn::MultiMarginLossImpl::reset() {
  TORCH_CHECK(options.p() == 1 || options.p() == 2, "only p == 1 and p == 2 supported");
  TORCH_CHECK(!options.weight().defined() || options.weight().dim() == 1, "weight must be one-dimensional");
  weight = weight_buffer(*this, options.weight());
}
Tensor nn::MultiMarginLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::multi_margin_loss(input, target, MultiMarginLossOptions(options).weight(weight));
}

void nn::MarginRankingLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::MarginRankingLoss()"; }
void nn::HingeEmbeddingLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::HingeEmbeddingLoss(margin=" << options.margin() << ')';
}
void nn::CosineEmbeddingLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::CosineEmbeddingLoss(margin=" << options.margin() << ')';
}
void nn::SoftMarginLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::SoftMarginLoss()"; }
void nn::MultiLabelMarginLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::MultiLabelMarginLoss()"; }
void nn::MultiLabelSoftMarginLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::MultiLabelSoftMarginLoss()";
}
void nn::MultiMarginLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::MultiMarginLoss(p=" << options.p() << ", margin=" << options.margin() << ", weight=" << options.weight()
         << ", reduction=" << reduction_name(options.reduction()) << ')';
}
void nn::TripletMarginLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::TripletMarginLoss(margin=" << options.margin() << ", p=" << options.p() << ", eps=" << options.eps()
         << ", swap=" << (options.swap() ? "true" : "false") << ')';
}
void nn::TripletMarginWithDistanceLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::TripletMarginWithDistanceLoss(margin=" << options.margin()
         << ", swap=" << (options.swap() ? "true" : "false") << ')';
}
void nn::PoissonNLLLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::PoissonNLLLoss()"; }

}  // namespace tinytorch
