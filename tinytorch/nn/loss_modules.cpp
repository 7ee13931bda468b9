// From the lesson modules/04_losses/losses_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/loss_modules.h"

#include <ostream>

namespace tinytorch {

namespace {
void warn_about_sizes(const Tensor& input, const Tensor& target) {
  if (target.sizes() == input.sizes()) return;
  TORCH_WARN("Using a target size (", target.sizes(), ") that is different to the input size (",
             input.sizes(),
             "). This will likely lead to incorrect results due to broadcasting. Please ensure they have the "
             "same size.");
}
}  // namespace

Tensor nn::functional::l1_loss(const Tensor& input, const Tensor& target, const L1LossFuncOptions& options) {
  return tinytorch::l1_loss(input, target, enumtype::reduction_get_enum(options.reduction()));
}

Tensor nn::functional::mse_loss(const Tensor& input, const Tensor& target,
                                const MSELossFuncOptions& options) {
  warn_about_sizes(input, target);
  return tinytorch::mse_loss(input, target, enumtype::reduction_get_enum(options.reduction()));
}

Tensor nn::functional::smooth_l1_loss(const Tensor& input, const Tensor& target,
                                      const SmoothL1LossFuncOptions& options) {
  warn_about_sizes(input, target);
  return tinytorch::smooth_l1_loss(input, target, enumtype::reduction_get_enum(options.reduction()),
                                   options.beta().value_or(1.0));
}

Tensor nn::functional::smooth_l1_loss(const Tensor& input, const Tensor& target,
                                      const SmoothL1LossFuncOptions& options, double beta) {
  TORCH_CHECK(!options.beta().has_value(), "expected beta not to be provided in 'options', but got ",
              options.beta().value_or(0));
  return smooth_l1_loss(input, target, SmoothL1LossFuncOptions(options).beta(beta));
}

Tensor nn::functional::huber_loss(const Tensor& input, const Tensor& target,
                                  const HuberLossFuncOptions& options) {
  warn_about_sizes(input, target);
  return tinytorch::huber_loss(input, target, enumtype::reduction_get_enum(options.reduction()),
                               options.delta());
}

Tensor nn::functional::kl_div(const Tensor& input, const Tensor& target, const KLDivFuncOptions& options) {
  if (std::holds_alternative<enumtype::kMean>(options.reduction())) {
    TORCH_WARN(
        "reduction: 'mean' divides the total loss by both the batch size and the support size."
        "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
        "'mean' will be changed to behave the same as 'batchmean' in the next major release.");
  }
  const Tensor loss = tinytorch::kl_div(input, target, enumtype::reduction_get_enum(options.reduction()),
                                        options.log_target());
  const bool by_batch = std::holds_alternative<enumtype::kBatchMean>(options.reduction()) && input.dim() > 0;
  return by_batch ? loss / input.size(0) : loss;
}

Tensor nn::functional::binary_cross_entropy(const Tensor& input, const Tensor& target,
                                            const BinaryCrossEntropyFuncOptions& options) {
  return tinytorch::binary_cross_entropy(input, target, options.weight(),
                                         enumtype::reduction_get_enum(options.reduction()));
}

Tensor nn::functional::binary_cross_entropy_with_logits(
    const Tensor& input, const Tensor& target, const BinaryCrossEntropyWithLogitsFuncOptions& options) {
  return tinytorch::binary_cross_entropy_with_logits(input, target, options.weight(), options.pos_weight(),
                                                     enumtype::reduction_get_enum(options.reduction()));
}

Tensor nn::functional::nll_loss(const Tensor& input, const Tensor& target,
                                const NLLLossFuncOptions& options) {
  TORCH_CHECK(input.dim() >= 2, "Expected 2 or more dimensions (got ", input.dim(), ")");
  return tinytorch::nll_loss(input, target, options.weight(),
                             enumtype::reduction_get_enum(options.reduction()), options.ignore_index());
}

Tensor nn::functional::cross_entropy(const Tensor& input, const Tensor& target,
                                     const CrossEntropyFuncOptions& options) {
  return tinytorch::cross_entropy_loss(input, target, options.weight(),
                                       enumtype::reduction_get_enum(options.reduction()),
                                       options.ignore_index(), options.label_smoothing());
}

nn::L1LossImpl::L1LossImpl(const L1LossOptions& options_) : options(options_) {}
void nn::L1LossImpl::reset() {}
void nn::L1LossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::L1Loss()"; }
Tensor nn::L1LossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::l1_loss(input, target, options);
}

nn::MSELossImpl::MSELossImpl(const MSELossOptions& options_) : options(options_) {}
void nn::MSELossImpl::reset() {}
void nn::MSELossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::MSELoss()"; }
Tensor nn::MSELossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::mse_loss(input, target, options);
}

nn::SmoothL1LossImpl::SmoothL1LossImpl(const SmoothL1LossOptions& options_) : options(options_) {}
void nn::SmoothL1LossImpl::reset() {}
void nn::SmoothL1LossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::SmoothL1Loss"; }
Tensor nn::SmoothL1LossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::smooth_l1_loss(input, target, options);
}

nn::HuberLossImpl::HuberLossImpl(const HuberLossOptions& options_) : options(options_) {}
void nn::HuberLossImpl::reset() {}
void nn::HuberLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::HuberLoss"; }
Tensor nn::HuberLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::huber_loss(input, target, options);
}

nn::KLDivLossImpl::KLDivLossImpl(const KLDivLossOptions& options_) : options(options_) {}
void nn::KLDivLossImpl::reset() {}
void nn::KLDivLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::KLDivLoss()"; }
Tensor nn::KLDivLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::kl_div(input, target, options);
}

namespace {
// A copy, so that a clone of the module does not share its buffer with the options.
Tensor register_weight(nn::Module& module, const char* name, const Tensor& weight) {
  return weight.defined() ? module.register_buffer(name, weight.clone()) : Tensor();
}
}  // namespace

nn::BCELossImpl::BCELossImpl(const BCELossOptions& options_) : options(options_) { BCELossImpl::reset(); }
void nn::BCELossImpl::reset() { weight = register_weight(*this, "weight", options.weight()); }
void nn::BCELossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::BCELoss()"; }
Tensor nn::BCELossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::binary_cross_entropy(input, target, BCELossOptions(options).weight(weight));
}

nn::BCEWithLogitsLossImpl::BCEWithLogitsLossImpl(const BCEWithLogitsLossOptions& options_)
    : options(options_) {
  BCEWithLogitsLossImpl::reset();
}
void nn::BCEWithLogitsLossImpl::reset() {
  weight = register_weight(*this, "weight", options.weight());
  pos_weight = register_weight(*this, "pos_weight", options.pos_weight());
}
void nn::BCEWithLogitsLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::BCEWithLogitsLoss()";
}
Tensor nn::BCEWithLogitsLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::binary_cross_entropy_with_logits(
      input, target, BCEWithLogitsLossOptions(options).weight(weight).pos_weight(pos_weight));
}

nn::NLLLossImpl::NLLLossImpl(const NLLLossOptions& options_) : options(options_) { NLLLossImpl::reset(); }
void nn::NLLLossImpl::reset() { weight = register_weight(*this, "weight", options.weight()); }
void nn::NLLLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::NLLLoss()"; }
Tensor nn::NLLLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::nll_loss(input, target, NLLLossOptions(options).weight(weight));
}

nn::CrossEntropyLossImpl::CrossEntropyLossImpl(const CrossEntropyLossOptions& options_) : options(options_) {
  CrossEntropyLossImpl::reset();
}
void nn::CrossEntropyLossImpl::reset() { weight = register_weight(*this, "weight", options.weight()); }
void nn::CrossEntropyLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::CrossEntropyLoss()";
}
Tensor nn::CrossEntropyLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::cross_entropy(input, target, CrossEntropyLossOptions(options).weight(weight));
}

}  // namespace tinytorch
