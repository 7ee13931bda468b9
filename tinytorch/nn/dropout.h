// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

// With `train`, zeroes each element with probability p and scales the others by 1 / (1 - p); without, or with
// p = 0, returns `input` itself. 0 <= p <= 1. Source: aten/src/ATen/native/Dropout.cpp.
Tensor dropout(const Tensor& input, double p, bool train);
// The same in place.
Tensor& dropout_(Tensor& input, double p, bool train);

namespace nn {

struct DropoutOptions {
  DropoutOptions(double p = 0.5) : p_(p) {}
  TORCH_ARG(double, p);
  TORCH_ARG(bool, inplace) = false;
};

// dropout() in training mode, nothing in evaluation mode.
class DropoutImpl : public Cloneable<DropoutImpl> {
 public:
  explicit DropoutImpl(const DropoutOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input);

  DropoutOptions options;
};
TORCH_MODULE(Dropout);

}  // namespace nn

}  // namespace tinytorch
