// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <ostream>
#include <string_view>
#include <variant>

#include "tinytorch/nn/image_layers.h"

namespace tinytorch {

// The convolution of `input` (N, C, spatial...) with `weight` (O, C / groups, kernel...) and `bias` (O) or none, for any number of spatial dimensions. With `transposed`, the transposed convolution: the
// gradient of a convolution with respect to its input, as a function of its own; then `weight` is (C, O / groups, kernel...), and `output_padding` says which of the input sizes that have the same
// output size is meant. O(N O places C / groups volume(kernel)); the columns of one image are made, and nothing but the arguments is kept for the backward pass.
// Source: aten/src/ATen/native/Convolution.cpp.
Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                   bool transposed, IntArrayRef output_padding, std::int64_t groups);

// input (N, C, H, W) or (C, H, W), weight (O, C / groups, kH, kW), bias (O) -> (N, O, oH, oW). Padding is a number, one for each dimension, or "same" (the output has the
// input's size; stride 1 only) or "valid" (none).
Tensor conv2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias = {}, IntArrayRef stride = 1, IntArrayRef padding = 0, IntArrayRef dilation = 1,
              std::int64_t groups = 1);
Tensor conv2d_named_padding(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, std::string_view padding, IntArrayRef dilation,
                            std::int64_t groups);
template <std::convertible_to<std::string_view> Name>  // a template, because the number 0 is also a null pointer
Tensor conv2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, const Name& padding, IntArrayRef dilation = 1,
              std::int64_t groups = 1) {
  return conv2d_named_padding(input, weight, bias, stride, padding, dilation, groups);
}

namespace op {
// The third argument is the bias, or none.
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> convolution;
// The gradient of a convolution with respect to its input, whose sizes are the third argument, and to its weight.
extern Operator<Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> convolution_input;
extern Operator<Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> convolution_weight;
}  // namespace op

namespace nn::detail {
// The convolution of a batch (N, C, spatial...) as a layer with these options computes it.
template <std::size_t D>
Tensor convolve(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions<D>& options) {
  const bool same = std::holds_alternative<enumtype::kSame>(options.padding());
  const ExpandingArray<D> padding = padding_numbers(options.padding());
  if (!same && std::holds_alternative<enumtype::kZeros>(options.padding_mode()))
    return convolution(input, weight, bias, options.stride(), padding, options.dilation(), false, 0, options.groups());
  const std::vector<std::int64_t> amounts = same ? same_padding(options.kernel_size(), options.dilation()) : both_sides(padding);
  return convolution(pad_with(input, amounts, pad_mode_of(options.padding_mode())), weight, bias, options.stride(), 0, options.dilation(), false, 0, options.groups());
}
}  // namespace nn::detail

namespace nn {

// The convolution of (N, C, H, W) or (C, H, W); see conv2d(). Padding of another kind than zeros is put around the input first.
class Conv2dImpl : public ConvNdImpl<2, Conv2dImpl> {
 public:
  Conv2dImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<2> kernel_size);
  explicit Conv2dImpl(const Conv2dOptions& options_);
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(Conv2d);

namespace functional {
Tensor conv2d(const Tensor& input, const Tensor& weight, const Conv2dFuncOptions& options = {});
}  // namespace functional

}  // namespace nn

}  // namespace tinytorch
