// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_modules.h"

#include <ostream>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"

namespace tinytorch {

Tensor nn::functional::selu(Tensor input, const SELUFuncOptions& options) {
  return options.inplace() ? selu_(input) : tinytorch::selu(input);
}
Tensor nn::functional::relu6(Tensor input, const ReLU6FuncOptions& options) {
  return options.inplace() ? relu6_(input) : tinytorch::relu6(input);
}
Tensor nn::functional::glu(const Tensor& input, const GLUFuncOptions& options) {
  TORCH_CHECK(input.dim() != 0, "glu does not support scalars because halving size must be even");
  return tinytorch::glu(input, options.dim());
}
Tensor nn::functional::hardshrink(const Tensor& input, const HardshrinkFuncOptions& options) {
  return tinytorch::hardshrink(input, options.lambda());
}
Tensor nn::functional::softshrink(const Tensor& input, const SoftshrinkFuncOptions& options) {
  return tinytorch::softshrink(input, options.lambda());
}
Tensor nn::functional::hardtanh(Tensor input, const HardtanhFuncOptions& options) {
  return options.inplace() ? hardtanh_(input, options.min_val(), options.max_val())
                           : tinytorch::hardtanh(input, options.min_val(), options.max_val());
}
Tensor nn::functional::celu(Tensor input, const CELUFuncOptions& options) {
  return options.inplace() ? celu_(input, options.alpha()) : tinytorch::celu(input, options.alpha());
}
Tensor nn::functional::rrelu(Tensor input, const RReLUFuncOptions& options) {
  return options.inplace() ? rrelu_(input, options.lower(), options.upper(), options.training())
                           : tinytorch::rrelu(input, options.lower(), options.upper(), options.training());
}
Tensor nn::functional::threshold(Tensor input, const ThresholdFuncOptions& options) {
  return options.inplace() ? threshold_(input, options.threshold(), options.value())
                           : tinytorch::threshold(input, options.threshold(), options.value());
}
Tensor nn::functional::prelu(const Tensor& input, const Tensor& weight) { return tinytorch::prelu(input, weight); }
Tensor nn::functional::mish(const Tensor& input) { return tinytorch::mish(input); }
Tensor nn::functional::logsigmoid(const Tensor& input) { return log_sigmoid(input); }
Tensor nn::functional::softsign(const Tensor& input) { return input / (input.abs() + 1); }
Tensor nn::functional::tanhshrink(const Tensor& input) { return input - input.tanh(); }
Tensor nn::functional::softmin(const Tensor& input, const SoftminFuncOptions& options) {
  return tinytorch::softmax(-input, options.dim(), options.dtype());
}

Tensor nn::functional::gumbel_softmax(const Tensor& logits, const GumbelSoftmaxFuncOptions& options) {
  const Tensor noise = -empty_like(logits).exponential_().log();
  const Tensor soft = tinytorch::softmax((logits + noise) / options.tau(), options.dim());
  if (!options.hard()) return soft;
  const Tensor chosen = soft.detach().argmax(options.dim(), /*keepdim=*/true);
  const Tensor one_hot = scatter(zeros_like(logits), options.dim(), chosen, ones({}, logits.options()).expand(chosen.sizes()));
  return one_hot - soft.detach() + soft;
}

nn::SELUImpl::SELUImpl(const SELUOptions& options_) : options(options_) {}
nn::ReLU6Impl::ReLU6Impl(const ReLU6Options& options_) : options(options_) {}
nn::HardtanhImpl::HardtanhImpl(const HardtanhOptions& options_) : options(options_) {}
nn::CELUImpl::CELUImpl(const CELUOptions& options_) : options(options_) {}
nn::GLUImpl::GLUImpl(const GLUOptions& options_) : options(options_) {}
nn::HardshrinkImpl::HardshrinkImpl(const HardshrinkOptions& options_) : options(options_) {}
nn::SoftshrinkImpl::SoftshrinkImpl(const SoftshrinkOptions& options_) : options(options_) {}
nn::ThresholdImpl::ThresholdImpl(double threshold, double value) : ThresholdImpl(ThresholdOptions(threshold, value)) {}
nn::ThresholdImpl::ThresholdImpl(const ThresholdOptions& options_) : options(options_) {}
nn::SoftminImpl::SoftminImpl(std::int64_t dim) : SoftminImpl(SoftminOptions(dim)) {}
nn::SoftminImpl::SoftminImpl(const SoftminOptions& options_) : options(options_) {}
nn::RReLUImpl::RReLUImpl(const RReLUOptions& options_) : options(options_) {}
nn::PReLUImpl::PReLUImpl(const PReLUOptions& options_) : options(options_) { PReLUImpl::reset(); }

Tensor nn::Softmax2dImpl::forward(const Tensor& input) {
  TORCH_CHECK(input.dim() == 3 || input.dim() == 4, "Softmax2d requires a 3D or 4D tensor as input");
  return tinytorch::softmax(input, -3);
}

Tensor nn::RReLUImpl::forward(Tensor input) {
  return functional::rrelu(std::move(input), functional::RReLUFuncOptions()
                                                 .lower(options.lower())
                                                 .upper(options.upper())
                                                 .training(is_training())
                                                 .inplace(options.inplace()));
}

void nn::PReLUImpl::reset() { weight = register_parameter("weight", full({options.num_parameters()}, options.init())); }

namespace {
const char* in_place_text(bool inplace, const char* text = ", inplace=true") { return inplace ? text : ""; }
}  // namespace

void nn::SELUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::SELU(" << in_place_text(options.inplace(), "inplace=true") << ')';
}
void nn::ReLU6Impl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ReLU6(" << in_place_text(options.inplace(), "inplace=true") << ')';
}
void nn::HardtanhImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Hardtanh(min_val=" << options.min_val() << ", max_val=" << options.max_val()
         << in_place_text(options.inplace()) << ')';
}
void nn::CELUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::CELU(alpha=" << options.alpha() << in_place_text(options.inplace()) << ')';
}
void nn::RReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::RReLU(lower=" << options.lower() << ", upper=" << options.upper() << in_place_text(options.inplace())
         << ')';
}
void nn::ThresholdImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Threshold(threshold=" << options.threshold() << ", value=" << options.value()
         << in_place_text(options.inplace()) << ')';
}
void nn::GLUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::GLU(dim=" << options.dim() << ')'; }
void nn::HardshrinkImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Hardshrink(" << options.lambda() << ')';
}
void nn::SoftshrinkImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Softshrink(" << options.lambda() << ')';
}
void nn::PReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::PReLU(num_parameters=" << options.num_parameters() << ')';
}
void nn::SoftminImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softmin(dim=" << options.dim() << ')'; }
void nn::LogSigmoidImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::LogSigmoid()"; }
void nn::MishImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Mish()"; }
void nn::SoftsignImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softsign()"; }
void nn::TanhshrinkImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Tanhshrink()"; }
void nn::Softmax2dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softmax2d()"; }

}  // namespace tinytorch
