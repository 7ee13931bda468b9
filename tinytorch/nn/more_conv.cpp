// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_conv.h"

#include <ostream>
#include <string>
#include <variant>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/image_checks.h"

namespace tinytorch {

Tensor nn::Conv1dImpl::forward(const Tensor& input) {
  return detail::of_batch("conv1d", input, 1, [&](const Tensor& batch) { return detail::convolve(batch, weight, bias, options); });
}
Tensor nn::Conv3dImpl::forward(const Tensor& input) {
  return detail::of_batch("conv3d", input, 3, [&](const Tensor& batch) { return detail::convolve(batch, weight, bias, options); });
}

nn::Conv1dImpl::Conv1dImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<1> kernel_size) : Conv1dImpl(Conv1dOptions(in_channels, out_channels, kernel_size)) {}
nn::Conv1dImpl::Conv1dImpl(const Conv1dOptions& options_) : ConvNdImpl(options_) {}
nn::Conv3dImpl::Conv3dImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<3> kernel_size) : Conv3dImpl(Conv3dOptions(in_channels, out_channels, kernel_size)) {}
nn::Conv3dImpl::Conv3dImpl(const Conv3dOptions& options_) : ConvNdImpl(options_) {}

namespace {
Tensor conv_nd(const char* name, std::int64_t dims, const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding,
               IntArrayRef dilation, bool transposed, IntArrayRef output_padding, std::int64_t groups) {
  return nn::detail::of_batch(name, input, dims, [&](const Tensor& batch) {
    return convolution(batch, weight, bias, stride, padding, dilation, transposed, output_padding, groups);
  });
}
}  // namespace

Tensor conv1d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  return conv_nd("conv1d", 1, input, weight, bias, stride, padding, dilation, false, 0, groups);
}
Tensor conv3d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  return conv_nd("conv3d", 3, input, weight, bias, stride, padding, dilation, false, 0, groups);
}

Tensor conv_named_padding(std::int64_t dims, const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, std::string_view padding, IntArrayRef dilation,
                          std::int64_t groups) {
  TORCH_CHECK(padding == "same" || padding == "valid", "Invalid padding string: '", padding, "'\n[conv", dims, "d] it is \"same\", \"valid\" or a number.");
  const auto convolve = [&](const Tensor& x) { return dims == 1 ? conv1d(x, weight, bias, stride, 0, dilation, groups) : conv3d(x, weight, bias, stride, 0, dilation, groups); };
  const bool fits = weight.dim() == dims + 2 && (input.dim() == dims + 1 || input.dim() == dims + 2);
  if (padding == "valid" || !fits) return convolve(input);  // which says what is wrong with other shapes
  for (const std::int64_t s : stride) TORCH_CHECK(s == 1, "padding='same' is not supported for strided convolutions");
  return convolve(nn::detail::pad_with(input, nn::detail::same_padding(spatial_sizes(weight.sizes()), expanded_to("dilation", dilation, static_cast<std::size_t>(dims))), kConstant));
}

Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef output_padding,
                        std::int64_t groups, IntArrayRef dilation) {
  return conv_nd("conv_transpose1d", 1, input, weight, bias, stride, padding, dilation, true, output_padding, groups);
}
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef output_padding,
                        std::int64_t groups, IntArrayRef dilation) {
  return conv_nd("conv_transpose2d", 2, input, weight, bias, stride, padding, dilation, true, output_padding, groups);
}
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef output_padding,
                        std::int64_t groups, IntArrayRef dilation) {
  return conv_nd("conv_transpose3d", 3, input, weight, bias, stride, padding, dilation, true, output_padding, groups);
}

namespace {
// As libtorch prints a vector: 5 7.
std::string spaced(IntArrayRef sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text += str(text.empty() ? "" : " ", size);
  return text;
}
}  // namespace

DimVector nn::detail::output_padding_for(IntArrayRef wanted, IntArrayRef least, IntArrayRef stride, IntArrayRef input) {
  const std::size_t D = least.size();
  TORCH_CHECK(wanted.size() == D || wanted.size() == D + 2, "output_size must have ", D, " or ", D + 2, " elements (got ", wanted.size(), ")");
  if (wanted.size() == D + 2) wanted = IntArrayRef(wanted.data() + 2, D);
  DimVector most;
  for (std::size_t d = 0; d < D; ++d) most.push_back(least[d] + stride[d] - 1);
  DimVector extra;
  for (std::size_t d = 0; d < D; ++d) {
    TORCH_CHECK(wanted[d] >= least[d] && wanted[d] <= most[d], "requested an output size of ", wanted, ", but valid sizes range from ", spaced(least), " to ", spaced(most), " (for an input of ", input, ")");
    extra.push_back(wanted[d] - least[d]);
  }
  return extra;
}

namespace {
// Calls f(padding) with the options' padding: a name or numbers.
template <std::size_t D, class F>
Tensor with_padding(const nn::detail::conv_padding_t<D>& padding, F f) {
  if (std::holds_alternative<enumtype::kSame>(padding)) return f("same");
  const ExpandingArray<D> numbers = nn::detail::padding_numbers(padding);
  return f(IntArrayRef(numbers));
}
}  // namespace

Tensor nn::functional::conv1d(const Tensor& input, const Tensor& weight, const Conv1dFuncOptions& options) {
  return with_padding<1>(options.padding(), [&](const auto& padding) { return tinytorch::conv1d(input, weight, options.bias(), options.stride(), padding, options.dilation(), options.groups()); });
}
Tensor nn::functional::conv3d(const Tensor& input, const Tensor& weight, const Conv3dFuncOptions& options) {
  return with_padding<3>(options.padding(), [&](const auto& padding) { return tinytorch::conv3d(input, weight, options.bias(), options.stride(), padding, options.dilation(), options.groups()); });
}
Tensor nn::functional::conv_transpose1d(const Tensor& input, const Tensor& weight, const ConvTranspose1dFuncOptions& options) {
  return tinytorch::conv_transpose1d(input, weight, options.bias(), options.stride(), options.padding(), options.output_padding(), options.groups(), options.dilation());
}
Tensor nn::functional::conv_transpose2d(const Tensor& input, const Tensor& weight, const ConvTranspose2dFuncOptions& options) {
  return tinytorch::conv_transpose2d(input, weight, options.bias(), options.stride(), options.padding(), options.output_padding(), options.groups(), options.dilation());
}
Tensor nn::functional::conv_transpose3d(const Tensor& input, const Tensor& weight, const ConvTranspose3dFuncOptions& options) {
  return tinytorch::conv_transpose3d(input, weight, options.bias(), options.stride(), options.padding(), options.output_padding(), options.groups(), options.dilation());
}

}  // namespace tinytorch
