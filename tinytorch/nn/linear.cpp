// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/linear.h"

#include <cmath>
#include <ostream>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"

namespace tinytorch {

// input (..., in), weight (out, in), bias (out) or undefined -> (..., out). One product of O(numel(input) *
// out); the weight is transposed as a view.
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  if (input.dim() == 2 && bias.defined()) return addmm(bias, input, weight.t());
  // Leading dimensions that lie dense in memory are the rows of one matrix.
  if (input.dim() > 2 && bias.defined() && bias.dim() == 1 && weight.dim() == 2 && input.is_contiguous() && input.numel() > 0) {
    DimVector sizes(input.sizes());
    sizes[sizes.size() - 1] = weight.size(0);
    return addmm(bias, input.view({-1, input.size(-1)}), weight.t()).view(sizes);
  }
  const Tensor output = matmul(input, weight.t());
  return bias.defined() ? output + bias : output;
}

nn::LinearImpl::LinearImpl(std::int64_t in_features, std::int64_t out_features)
    : LinearImpl(LinearOptions(in_features, out_features)) {}
nn::LinearImpl::LinearImpl(const LinearOptions& options_) : options(options_) { LinearImpl::reset(); }

void nn::LinearImpl::reset() {
  weight = register_parameter("weight", empty({options.out_features(), options.in_features()}));
  if (options.bias()) {
    bias = register_parameter("bias", empty({options.out_features()}));
  } else {
    bias = register_parameter("bias", Tensor(), /*requires_grad=*/false);
  }
  reset_parameters();
}

void nn::LinearImpl::reset_parameters() {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const std::int64_t fan_in = options.in_features();
  const double bound = fan_in == 0 ? 0.0 : 1.0 / std::sqrt(static_cast<double>(fan_in));
  init::uniform_(bias, -bound, bound);
}

Tensor nn::LinearImpl::forward(const Tensor& input) { return linear(input, weight, bias); }

void nn::LinearImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Linear(in_features=" << options.in_features()
         << ", out_features=" << options.out_features() << ", bias=" << (options.bias() ? "true" : "false")
         << ')';
}

}  // namespace tinytorch
