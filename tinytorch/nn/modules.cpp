// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/modules.h"

#include <ostream>

#include "tinytorch/core/dispatch.h"

namespace tinytorch {

nn::FunctionalImpl::FunctionalImpl(Function function) : function_(std::move(function)) {}
nn::ReLUImpl::ReLUImpl(const ReLUOptions& options_) : options(options_) {}
nn::LeakyReLUImpl::LeakyReLUImpl(const LeakyReLUOptions& options_) : options(options_) {}
nn::ELUImpl::ELUImpl(const ELUOptions& options_) : options(options_) {}
nn::GELUImpl::GELUImpl(const GELUOptions& options_) : options(options_) {}
nn::SoftplusImpl::SoftplusImpl(const SoftplusOptions& options_) : options(options_) {}
nn::SoftmaxImpl::SoftmaxImpl(std::int64_t dim) : SoftmaxImpl(SoftmaxOptions(dim)) {}
nn::SoftmaxImpl::SoftmaxImpl(const SoftmaxOptions& options_) : options(options_) {}
nn::LogSoftmaxImpl::LogSoftmaxImpl(std::int64_t dim) : LogSoftmaxImpl(LogSoftmaxOptions(dim)) {}
nn::LogSoftmaxImpl::LogSoftmaxImpl(const LogSoftmaxOptions& options_) : options(options_) {}

namespace {
// What `self` holds before it is overwritten: a copy where a graph may want to keep it.
Tensor unwritten(const Tensor& self) { return layers_of(self).has(Layer::Autograd) ? self.clone() : self; }
}  // namespace

const Tensor& leaky_relu_(const Tensor& self, const Scalar& negative_slope) {
  self.copy_(leaky_relu(unwritten(self), negative_slope));
  return self;
}
const Tensor& elu_(const Tensor& self, const Scalar& alpha, const Scalar& scale, const Scalar& input_scale) {
  self.copy_(elu(unwritten(self), alpha, scale, input_scale));
  return self;
}

void nn::FunctionalImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Functional()"; }
void nn::ReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ReLU(" << (options.inplace() ? "inplace=true" : "") << ')';
}
void nn::LeakyReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::LeakyReLU(negative_slope=" << options.negative_slope() << (options.inplace() ? ", inplace=true" : "")
         << ')';
}
void nn::ELUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ELU(alpha=" << options.alpha() << (options.inplace() ? ", inplace=true" : "") << ')';
}
void nn::GELUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::GELU()"; }
void nn::SigmoidImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Sigmoid()"; }
void nn::TanhImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Tanh()"; }
void nn::SiLUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::SiLU()"; }
void nn::SoftplusImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Softplus(beta=" << options.beta() << ", threshold=" << options.threshold() << ')';
}
void nn::SoftmaxImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softmax(dim=" << options.dim() << ')'; }
void nn::LogSoftmaxImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::LogSoftmax(dim=" << options.dim() << ')';
}

}  // namespace tinytorch
