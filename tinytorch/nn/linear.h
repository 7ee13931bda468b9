// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

// input (..., in) x weight (out, in) transposed + bias (out) -> (..., out). Without `bias` nothing is added.
// The dtypes of input and weight must agree. O(numel(input) * out) time. Source:
// torch/nn/functional/linear.h.
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = Tensor());

namespace nn::functional {
inline Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = Tensor()) {
  return tinytorch::linear(input, weight, bias);
}
}  // namespace nn::functional

namespace nn {

struct LinearOptions {
  LinearOptions(std::int64_t in_features, std::int64_t out_features)
      : in_features_(in_features), out_features_(out_features) {}
  TORCH_ARG(std::int64_t, in_features);
  TORCH_ARG(std::int64_t, out_features);
  TORCH_ARG(bool, bias) = true;
};

// y = x W^T + b for x (..., in_features) -> (..., out_features); see linear(). Both tensors are born uniform
// on [-1/sqrt(in), 1/sqrt(in)]. Source: torch/csrc/api/src/nn/modules/linear.cpp.
class LinearImpl : public Cloneable<LinearImpl> {
 public:
  LinearImpl(std::int64_t in_features, std::int64_t out_features);
  explicit LinearImpl(const LinearOptions& options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);

  LinearOptions options;
  Tensor weight;  // (out_features, in_features)
  Tensor bias;    // (out_features), or undefined
};
TORCH_MODULE(Linear);

}  // namespace nn

}  // namespace tinytorch
