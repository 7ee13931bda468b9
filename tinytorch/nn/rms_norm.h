// From the lesson modules/86_transformer_layers/transformer_layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

// x / sqrt(mean(x^2) + eps) * weight over the last dimensions, whose sizes are `normalized_shape`. input (*, normalized_shape), floating point; weight, where given, has the sizes
// normalized_shape. Without `eps` it is the dtype's machine epsilon. O(numel). Throws if the sizes do not fit. Source: Zhang and Sennrich 2019.
Tensor rms_norm(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight = {}, std::optional<double> eps = std::nullopt);

namespace op {
// The same, with the eps that is meant. input and weight have one dtype.
extern Operator<Tensor(const Tensor&, IntArrayRef, const std::optional<Tensor>&, double)> rms_norm;
}  // namespace op

namespace nn {

struct RMSNormOptions {
  RMSNormOptions(std::vector<std::int64_t> normalized_shape) : normalized_shape_(std::move(normalized_shape)) {}
  TORCH_ARG(std::vector<std::int64_t>, normalized_shape);
  TORCH_ARG(std::optional<double>, eps) = std::nullopt;
  TORCH_ARG(bool, elementwise_affine) = true;
};

// rms_norm() with a weight of ones to learn from, or without.
class RMSNormImpl : public Cloneable<RMSNormImpl> {
 public:
  RMSNormImpl(std::vector<std::int64_t> normalized_shape);
  explicit RMSNormImpl(RMSNormOptions options_);
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);

  RMSNormOptions options;
  Tensor weight;  // normalized_shape, or undefined
};
TORCH_MODULE(RMSNorm);

}  // namespace nn

}  // namespace tinytorch
