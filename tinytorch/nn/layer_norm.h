// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

// Normalizes over the last dimensions, whose sizes are `normalized_shape`: (x - mean) / sqrt(var + eps) * weight + bias, with the biased
// variance. input (*, normalized_shape), floating point; weight and bias, where given, have the sizes normalized_shape. The result has input's sizes and
// dtype. O(numel). Throws if the sizes do not fit. `cudnn_enable` is there for PyTorch's signature and has no effect.
// Source: Ba et al. 2016; aten/src/ATen/native/layer_norm.cpp.
Tensor layer_norm(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight = {}, const std::optional<Tensor>& bias = {},
                  double eps = 1e-05, bool cudnn_enable = true);

namespace op {
extern Operator<Tensor(const Tensor&, IntArrayRef, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> layer_norm;
}  // namespace op

namespace nn {

struct LayerNormOptions {
  LayerNormOptions(std::vector<std::int64_t> normalized_shape) : normalized_shape_(std::move(normalized_shape)) {}
  TORCH_ARG(std::vector<std::int64_t>, normalized_shape);
  TORCH_ARG(double, eps) = 1e-5;
  TORCH_ARG(bool, elementwise_affine) = true;
};

// layer_norm() with a weight of ones and a bias of zeros to learn from, or without either. Source: torch/csrc/api/src/nn/modules/normalization.cpp.
class LayerNormImpl : public Cloneable<LayerNormImpl> {
 public:
  LayerNormImpl(std::vector<std::int64_t> normalized_shape);
  explicit LayerNormImpl(LayerNormOptions options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);

  LayerNormOptions options;
  Tensor weight;  // normalized_shape, or undefined
  Tensor bias;    // normalized_shape, or undefined
};
TORCH_MODULE(LayerNorm);

}  // namespace nn

namespace nn::functional {

struct LayerNormFuncOptions {
  LayerNormFuncOptions(std::vector<std::int64_t> normalized_shape) : normalized_shape_(std::move(normalized_shape)) {}
  TORCH_ARG(std::vector<std::int64_t>, normalized_shape);
  TORCH_ARG(Tensor, weight) = {};
  TORCH_ARG(Tensor, bias) = {};
  TORCH_ARG(double, eps) = 1e-5;
};

inline Tensor layer_norm(const Tensor& input, const LayerNormFuncOptions& options) {
  return tinytorch::layer_norm(input, options.normalized_shape(), options.weight(), options.bias(), options.eps());
}

}  // namespace nn::functional

}  // namespace tinytorch
