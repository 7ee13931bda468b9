// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <string_view>

#include "tinytorch/nn/conv.h"

namespace tinytorch {

// conv2d() for (N, C, L) and (N, C, D, H, W), or one example without N.
Tensor conv1d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias = {}, IntArrayRef stride = 1, IntArrayRef padding = 0, IntArrayRef dilation = 1,
              std::int64_t groups = 1);
Tensor conv3d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias = {}, IntArrayRef stride = 1, IntArrayRef padding = 0, IntArrayRef dilation = 1,
              std::int64_t groups = 1);
// With the padding "same" (stride 1 only) or "valid", as conv2d() takes it.
Tensor conv_named_padding(std::int64_t dims, const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, std::string_view padding, IntArrayRef dilation,
                          std::int64_t groups);
template <std::convertible_to<std::string_view> Name>
Tensor conv1d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, const Name& padding, IntArrayRef dilation = 1, std::int64_t groups = 1) {
  return conv_named_padding(1, input, weight, bias, stride, padding, dilation, groups);
}
template <std::convertible_to<std::string_view> Name>
Tensor conv3d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, const Name& padding, IntArrayRef dilation = 1, std::int64_t groups = 1) {
  return conv_named_padding(3, input, weight, bias, stride, padding, dilation, groups);
}
// The transposed convolutions: weight (C, O / groups, kernel...). The output has (size - 1) * stride - 2 padding + dilation (kernel - 1) + output_padding + 1 elements along each dimension.
Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias = {}, IntArrayRef stride = 1, IntArrayRef padding = 0,
                        IntArrayRef output_padding = 0, std::int64_t groups = 1, IntArrayRef dilation = 1);
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias = {}, IntArrayRef stride = 1, IntArrayRef padding = 0,
                        IntArrayRef output_padding = 0, std::int64_t groups = 1, IntArrayRef dilation = 1);
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias = {}, IntArrayRef stride = 1, IntArrayRef padding = 0,
                        IntArrayRef output_padding = 0, std::int64_t groups = 1, IntArrayRef dilation = 1);

namespace nn {

namespace detail {
// Calls f(batch) with `input`, of `dims` spatial dimensions, as a batch; gives the result the form of the input.
template <class F>
Tensor of_batch(const char* name, const Tensor& input, std::int64_t dims, F f) {
  TORCH_CHECK(input.dim() == dims + 1 || input.dim() == dims + 2, "Expected ", dims + 1, "D (unbatched) or ", dims + 2, "D (batched) input to ", name,
              ", but got input of size: ", input.sizes());
  return input.dim() == dims + 2 ? f(input) : f(input.unsqueeze(0)).select(0, 0);
}
}  // namespace detail

class Conv1dImpl : public ConvNdImpl<1, Conv1dImpl> {
 public:
  Conv1dImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<1> kernel_size);
  explicit Conv1dImpl(const Conv1dOptions& options_);
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(Conv1d);
class Conv3dImpl : public ConvNdImpl<3, Conv3dImpl> {
 public:
  Conv3dImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<3> kernel_size);
  explicit Conv3dImpl(const Conv3dOptions& options_);
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(Conv3d);

// Source: torch/csrc/api/include/torch/nn/options/conv.h.
template <std::size_t D>
struct ConvTransposeOptions {
  using padding_mode_t = detail::conv_padding_mode_t;
  ConvTransposeOptions(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<D> kernel_size)
      : in_channels_(in_channels), out_channels_(out_channels), kernel_size_(kernel_size) {}
  TORCH_ARG(std::int64_t, in_channels);
  TORCH_ARG(std::int64_t, out_channels);
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(ExpandingArray<D>, stride) = 1;
  TORCH_ARG(ExpandingArray<D>, padding) = 0;
  TORCH_ARG(ExpandingArray<D>, output_padding) = 0;
  TORCH_ARG(std::int64_t, groups) = 1;
  TORCH_ARG(bool, bias) = true;
  TORCH_ARG(ExpandingArray<D>, dilation) = 1;
  TORCH_ARG(padding_mode_t, padding_mode) = kZeros;  // forward() refuses any other
};
using ConvTranspose1dOptions = ConvTransposeOptions<1>;
using ConvTranspose2dOptions = ConvTransposeOptions<2>;
using ConvTranspose3dOptions = ConvTransposeOptions<3>;

// What the transposed layers have in common: the weight is (in, out / groups, kernel...).
template <std::size_t D, class Derived>
class ConvTransposeNdImpl : public Cloneable<Derived> {
 public:
  ConvTransposeNdImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<D> kernel_size)
      : ConvTransposeNdImpl(ConvTransposeOptions<D>(in_channels, out_channels, kernel_size)) {}
  explicit ConvTransposeNdImpl(const ConvTransposeOptions<D>& options_) : options(options_) { ConvTransposeNdImpl::reset(); }
  void reset() override;
  void reset_parameters() { init_convolution(weight, bias, std::get<0>(init::_calculate_fan_in_and_fan_out(weight))); }
  void pretty_print(std::ostream& stream) const override;
  // With `output_size` (D sizes, or those of examples and channels before them), the output padding that gives this size instead of the option's.
  Tensor forward(const Tensor& input, const std::optional<IntArrayRef>& output_size = std::nullopt);

  ConvTransposeOptions<D> options;
  Tensor weight;
  Tensor bias;  // (out), or undefined
};
class ConvTranspose1dImpl : public ConvTransposeNdImpl<1, ConvTranspose1dImpl> {
 public:
  using ConvTransposeNdImpl<1, ConvTranspose1dImpl>::ConvTransposeNdImpl;
};
TORCH_MODULE(ConvTranspose1d);
class ConvTranspose2dImpl : public ConvTransposeNdImpl<2, ConvTranspose2dImpl> {
 public:
  using ConvTransposeNdImpl<2, ConvTranspose2dImpl>::ConvTransposeNdImpl;
};
TORCH_MODULE(ConvTranspose2d);
class ConvTranspose3dImpl : public ConvTransposeNdImpl<3, ConvTranspose3dImpl> {
 public:
  using ConvTransposeNdImpl<3, ConvTranspose3dImpl>::ConvTransposeNdImpl;
};
TORCH_MODULE(ConvTranspose3d);

namespace detail {
// The output padding with which a transposed convolution of `input` (its spatial sizes) gives `wanted` instead of `least`, the sizes without any.
DimVector output_padding_for(IntArrayRef wanted, IntArrayRef least, IntArrayRef stride, IntArrayRef input);
}  // namespace detail

namespace functional {
// Source: torch/csrc/api/include/torch/nn/options/conv.h.
template <std::size_t D>
struct ConvTransposeFuncOptions {
  TORCH_ARG(Tensor, bias) = Tensor();
  TORCH_ARG(ExpandingArray<D>, stride) = 1;
  TORCH_ARG(ExpandingArray<D>, padding) = 0;
  TORCH_ARG(ExpandingArray<D>, output_padding) = 0;
  TORCH_ARG(std::int64_t, groups) = 1;
  TORCH_ARG(ExpandingArray<D>, dilation) = 1;
};
using ConvTranspose1dFuncOptions = ConvTransposeFuncOptions<1>;
using ConvTranspose2dFuncOptions = ConvTransposeFuncOptions<2>;
using ConvTranspose3dFuncOptions = ConvTransposeFuncOptions<3>;
// The functions of the same names, with their arguments in options.
Tensor conv1d(const Tensor& input, const Tensor& weight, const Conv1dFuncOptions& options = {});
Tensor conv3d(const Tensor& input, const Tensor& weight, const Conv3dFuncOptions& options = {});
Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const ConvTranspose1dFuncOptions& options = {});
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const ConvTranspose2dFuncOptions& options = {});
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const ConvTranspose3dFuncOptions& options = {});
}  // namespace functional

}  // namespace nn

template <std::size_t D, class Derived>
void nn::ConvTransposeNdImpl<D, Derived>::reset() {
  TORCH_CHECK(options.in_channels() > 0 && options.groups() > 0 && options.out_channels() > 0, "in_channels, groups and out_channels must be a positive integer.");
  TORCH_CHECK(options.in_channels() % options.groups() == 0, "in_channels must be divisible by groups");
  TORCH_CHECK(options.out_channels() % options.groups() == 0, "out_channels must be divisible by groups");
  DimVector sizes{options.in_channels(), options.out_channels() / options.groups()};
  for (const std::int64_t size : *options.kernel_size()) sizes.push_back(size);
  weight = this->register_parameter("weight", empty(sizes));
  bias = this->register_parameter("bias", options.bias() ? empty({options.out_channels()}) : Tensor(), options.bias());
  reset_parameters();
}

template <std::size_t D, class Derived>
void nn::ConvTransposeNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ConvTranspose" << D << "d(" << options.in_channels() << ", " << options.out_channels() << ", kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride();
  if (*options.padding() != *ExpandingArray<D>(0)) stream << ", padding=" << options.padding();
  if (*options.dilation() != *ExpandingArray<D>(1)) stream << ", dilation=" << options.dilation();
  if (*options.output_padding() != *ExpandingArray<D>(0)) stream << ", output_padding=" << options.output_padding();
  if (options.groups() != 1) stream << ", groups=" << options.groups();
  if (!options.bias()) stream << ", bias=false";
  stream << ')';
}

template <std::size_t D, class Derived>
Tensor nn::ConvTransposeNdImpl<D, Derived>::forward(const Tensor& input, const std::optional<IntArrayRef>& output_size) {
  TORCH_CHECK(std::holds_alternative<enumtype::kZeros>(options.padding_mode()), "Only `zeros` padding mode is supported for ConvTranspose", D, "d");
  const std::string name = str("conv_transpose", D, "d");
  return detail::of_batch(name.c_str(), input, static_cast<std::int64_t>(D), [&](const Tensor& batch) {
    DimVector extra = IntArrayRef(options.output_padding());
    if (output_size) {
      DimVector least;
      for (std::size_t d = 0; d < D; ++d)
        least.push_back((batch.sizes()[2 + d] - 1) * (*options.stride())[d] - 2 * (*options.padding())[d] + (*options.dilation())[d] * ((*options.kernel_size())[d] - 1) + 1);
      extra = detail::output_padding_for(*output_size, least, options.stride(), IntArrayRef(batch.sizes().data() + 2, D));
    }
    return convolution(batch, weight, bias, options.stride(), options.padding(), options.dilation(), true, extra, options.groups());
  });
}

}  // namespace tinytorch
