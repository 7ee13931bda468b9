// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/mlp.h"

#include <ostream>

#include "tinytorch/nn/activations.h"

namespace tinytorch {

nn::MLPImpl::MLPImpl(std::vector<std::int64_t> sizes_) : sizes(std::move(sizes_)) {
  TORCH_CHECK(sizes.size() >= 2, "an MLP needs at least an input and an output size, but got ", IntArrayRef(sizes));
  MLPImpl::reset();
}

void nn::MLPImpl::reset() {
  layers.clear();
  for (std::size_t i = 1; i < sizes.size(); ++i)
    layers.push_back(register_module("fc" + std::to_string(i), Linear(sizes[i - 1], sizes[i])));
}

// The scores of each sample. `input` is (B, ...); everything behind B is flattened.
Tensor nn::MLPImpl::forward(const Tensor& input) {
  Tensor x = input.flatten(1);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i > 0) x = relu(x);
    x = layers[i](x);
  }
  return x;
}

}  // namespace tinytorch
