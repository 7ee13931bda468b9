// From the lesson modules/81_image_options/image_options_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/image_layers.h"

#include <cmath>

namespace tinytorch {

std::vector<std::int64_t> nn::detail::same_padding(IntArrayRef kernel, IntArrayRef dilation) {
  std::vector<std::int64_t> amounts;
  for (std::size_t d = kernel.size(); d-- > 0;) {
    const std::int64_t total = dilation[d] * (kernel[d] - 1);
    amounts.push_back(total / 2);
    amounts.push_back(total - total / 2);
  }
  return amounts;
}

std::vector<std::int64_t> nn::detail::both_sides(IntArrayRef padding) {
  std::vector<std::int64_t> amounts;
  for (std::size_t d = padding.size(); d-- > 0;) amounts.insert(amounts.end(), 2, padding[d]);
  return amounts;
}

Tensor nn::detail::pad_with(const Tensor& input, const std::vector<std::int64_t>& amounts, const functional::PadFuncOptions::mode_t& mode) {
  return functional::pad(input, functional::PadFuncOptions(amounts).mode(mode));
}

void nn::init_convolution(Tensor& weight, Tensor& bias, std::int64_t fan_in) {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  init::uniform_(bias, -bound, bound);
}

}  // namespace tinytorch
