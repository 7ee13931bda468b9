// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/linear.h"

namespace tinytorch {

namespace nn {

// Linear layers fc1, fc2, ... with relu between them: (B, ...) -> (B, sizes.back()), where the product of the
// sizes behind B is sizes.front().
class MLPImpl : public Cloneable<MLPImpl> {
 public:
  // Features at the input, of each hidden layer, and at the output: {64, 32, 10}.
  explicit MLPImpl(std::vector<std::int64_t> sizes);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::nn::MLP"; }
  Tensor forward(const Tensor& input);

  std::vector<std::int64_t> sizes;
  std::vector<Linear> layers;
};
TORCH_MODULE(MLP);

}  // namespace nn

}  // namespace tinytorch
