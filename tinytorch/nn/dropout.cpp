// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/dropout.h"

#include <ostream>

namespace tinytorch {

namespace {
void check_dropout_probability(double p) {
  TORCH_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got ", p);
}
}  // namespace

namespace {
// A random tensor like `input`, to multiply it with: 0 with probability p, otherwise 1 / (1 - p). For p = 1
// all zeros.
Tensor dropout_mask(const Tensor& input, double p) {
  if (p == 1) return zeros_like(input);
  Tensor mask = empty_like(input);
  mask.bernoulli_(1 - p);
  return mask.div_(1 - p);
}
}  // namespace

Tensor dropout(const Tensor& input, double p, bool train) {
  check_dropout_probability(p);
  if (!train || p == 0 || input.numel() == 0) return input;
  return input * dropout_mask(input, p);
}

Tensor& dropout_(Tensor& input, double p, bool train) {
  check_dropout_probability(p);
  if (!train || p == 0 || input.numel() == 0) return input;
  return input.mul_(dropout_mask(input, p));
}

nn::DropoutImpl::DropoutImpl(const DropoutOptions& options_) : options(options_) { DropoutImpl::reset(); }

void nn::DropoutImpl::reset() { check_dropout_probability(options.p()); }

Tensor nn::DropoutImpl::forward(Tensor input) {
  return options.inplace() ? dropout_(input, options.p(), is_training())
                           : dropout(input, options.p(), is_training());
}

void nn::DropoutImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Dropout(p=" << options.p() << ", inplace=" << (options.inplace() ? "true" : "false")
         << ')';
}

}  // namespace tinytorch
