// From the lesson modules/56_product_convolutions/product_convolutions_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <vector>

#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace kernels {

// Convolutions of float or double whose operands lie as those of a product do; arguments are those of op::convolution, op::convolution_input and op::convolution_weight, and have been checked. An undefined tensor says that the convolution is of another kind. The same bits for any number of threads.
// 1 x 1 kernels without padding, images in rows or with their channels last, of any stride, in one, two or three dimensions.
Tensor pointwise_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, std::int64_t groups);
Tensor pointwise_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups);
Tensor pointwise_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups);

// Images (N, C, H, W) in one group, or in as many groups as there are channels: results have their channels last. Images in rows are turned as they are read.
Tensor channels_last_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups);
Tensor channels_last_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups);
Tensor channels_last_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups);

// One dimension of the gradient of the input: what the pixels of phase `phase` of the stride need. Padded place q * stride + phase takes part in the windows q - t of the taps i with i * dilation = t * stride + phase.
struct PhaseOfInput {
  PhaseOfInput(std::int64_t phase, std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation);
  std::int64_t first, count;             // its pixels are q = first, first + 1, ...
  std::int64_t start;                    // where the first of them lies in the input
  std::vector<std::int64_t> taps, back;  // which numbers of the kernel, and t
};

}  // namespace kernels

}  // namespace tinytorch
