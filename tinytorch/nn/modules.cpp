// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/modules.h"

#include <ostream>

namespace tinytorch {

void nn::FunctionalImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Functional()"; }
void nn::ReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ReLU(" << (options.inplace() ? "inplace=true" : "") << ')';
}
void nn::LeakyReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::LeakyReLU(negative_slope=" << options.negative_slope() << ')';
}
void nn::ELUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ELU(alpha=" << options.alpha() << ')';
}
void nn::GELUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::GELU()"; }
void nn::SigmoidImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Sigmoid()"; }
void nn::TanhImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Tanh()"; }
void nn::SiLUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::SiLU()"; }
void nn::SoftplusImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Softplus(beta=" << options.beta() << ", threshold=" << options.threshold() << ')';
}
void nn::SoftmaxImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Softmax(dim=" << options.dim() << ')';
}
void nn::LogSoftmaxImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::LogSoftmax(dim=" << options.dim() << ')';
}

}  // namespace tinytorch
