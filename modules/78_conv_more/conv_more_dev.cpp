// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 78: More convolutions, poolings and norms
//
// Module 09 builds convolution, pooling and batch norm for images. This chapter takes the same parts to signals (one dimension) and volumes (three), to the transposed convolutions, to pooling with a given
// output size, and to norms that do not look at other examples. Nothing here is a new kernel: `convolution` and `im2col` never asked how many spatial dimensions there are, and the rest is composed, so gradients of every order follow.
//
//     conv1d, conv3d              convolution            (N, C, L), (N, C, D, H, W)
//     conv_transpose1d/2d/3d      convolution_input      the gradient of a convolution, as a layer
//     avg_pool1d, avg_pool3d      im2col, sum, divide
//     max_pool1d, max_pool3d      max_pool2d, once or twice, with gathered positions
//     adaptive pools              a product with an averaging matrix; a maximum per dimension
//     group_norm, instance_norm   batch_norm of (1, N * groups, ...)

// %%
//| after 09
//| export nn/fold.h
#include "tinytorch/nn/image_layers.h"
//| export nn/fold.cpp
#include <ostream>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/windows.h"
//| export nn/more_conv.h
#include <concepts>
#include <string_view>
#include "tinytorch/nn/conv.h"
//| export nn/more_conv.cpp
#include <ostream>
#include <string>
#include <variant>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/image_checks.h"
//| export nn/more_pool.h
#include <utility>
#include "tinytorch/nn/image_layers.h"
#include "tinytorch/nn/pool.h"
//| export nn/more_pool.cpp
#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/pool.h"
#include "tinytorch/nn/windows.h"
//| export nn/half_images.cpp
#include <optional>
#include <tuple>
#include "tinytorch/core/half_precision.h"
#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/more_pool.h"
#include "tinytorch/nn/norm.h"
#include "tinytorch/nn/pool.h"
#include "tinytorch/nn/windows.h"
//| export nn/more_norm.h
#include "tinytorch/nn/norm.h"
//| export nn/more_norm.cpp
#include <ostream>
#include <tuple>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/batch_norm_layer-inl.h"
#include "tinytorch/nn/image_checks.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/windows.h"

// %%
namespace tinytorch {

// %%
//| lesson
// What a module prints.
template <class M>
std::string printed(const M& module) {
  std::ostringstream text;
  text << module;
  return text.str();
}

// %% [markdown]
// ## Windows as columns: Unfold and Fold

// %%
//| export nn/fold.h
// The windows of `self` (N, C, H, W) as columns (N, C * kH * kW, windows), or of (C, H, W) without N. O(result.numel()).
Tensor im2col(const Tensor& self, IntArrayRef kernel_size, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride);
// The image of size `output_size` (H, W) in which each window's column is added to its place: the adjoint of im2col.
Tensor col2im(const Tensor& self, IntArrayRef output_size, IntArrayRef kernel_size, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride);

// Source: torch/csrc/api/include/torch/nn/options/fold.h.
namespace nn {

struct UnfoldOptions {
  UnfoldOptions(ExpandingArray<2> kernel_size) : kernel_size_(kernel_size) {}
  TORCH_ARG(ExpandingArray<2>, kernel_size);
  TORCH_ARG(ExpandingArray<2>, dilation) = 1;
  TORCH_ARG(ExpandingArray<2>, padding) = 0;
  TORCH_ARG(ExpandingArray<2>, stride) = 1;
};
struct FoldOptions {
  FoldOptions(ExpandingArray<2> output_size, ExpandingArray<2> kernel_size) : output_size_(output_size), kernel_size_(kernel_size) {}
  TORCH_ARG(ExpandingArray<2>, output_size);
  TORCH_ARG(ExpandingArray<2>, kernel_size);
  TORCH_ARG(ExpandingArray<2>, dilation) = 1;
  TORCH_ARG(ExpandingArray<2>, padding) = 0;
  TORCH_ARG(ExpandingArray<2>, stride) = 1;
};

namespace functional {
using UnfoldFuncOptions = UnfoldOptions;
using FoldFuncOptions = FoldOptions;
inline Tensor unfold(const Tensor& input, const UnfoldFuncOptions& options) {
  return im2col(input, options.kernel_size(), options.dilation(), options.padding(), options.stride());
}
inline Tensor fold(const Tensor& input, const FoldFuncOptions& options) {
  return col2im(input, options.output_size(), options.kernel_size(), options.dilation(), options.padding(), options.stride());
}
}  // namespace functional

class UnfoldImpl : public Cloneable<UnfoldImpl> {
 public:
  UnfoldImpl(ExpandingArray<2> kernel_size);
  explicit UnfoldImpl(const UnfoldOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::unfold(input, options); }
  UnfoldOptions options;
};
TORCH_MODULE(Unfold);

class FoldImpl : public Cloneable<FoldImpl> {
 public:
  FoldImpl(ExpandingArray<2> output_size, ExpandingArray<2> kernel_size);
  explicit FoldImpl(const FoldOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::fold(input, options); }
  FoldOptions options;
};
TORCH_MODULE(Fold);

}  // namespace nn

// %%
//| export nn/fold.cpp
nn::UnfoldImpl::UnfoldImpl(ExpandingArray<2> kernel_size) : UnfoldImpl(UnfoldOptions(kernel_size)) {}
nn::UnfoldImpl::UnfoldImpl(const UnfoldOptions& options_) : options(options_) {}
nn::FoldImpl::FoldImpl(ExpandingArray<2> output_size, ExpandingArray<2> kernel_size) : FoldImpl(FoldOptions(output_size, kernel_size)) {}
nn::FoldImpl::FoldImpl(const FoldOptions& options_) : options(options_) {}

namespace {
WindowGrid checked_grid(IntArrayRef kernel_size, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride) {
  const WindowGrid grid{expanded_to("kernel_size", kernel_size, 2), expanded_to("stride", stride, 2), expanded_to("padding", padding, 2), expanded_to("dilation", dilation, 2)};
  TORCH_CHECK(grid.kernel[0] > 0 && grid.kernel[1] > 0, "kernel size should be greater than zero, but got kernel_height: ", grid.kernel[0], " kernel_width: ", grid.kernel[1]);
  TORCH_CHECK(grid.dilation[0] > 0 && grid.dilation[1] > 0, "dilation should be greater than zero, but got dilation_height: ", grid.dilation[0],
              " dilation_width: ", grid.dilation[1]);
  TORCH_CHECK(grid.padding[0] >= 0 && grid.padding[1] >= 0, "padding should be non-negative, but got pad_height: ", grid.padding[0], " pad_width: ", grid.padding[1]);
  TORCH_CHECK(grid.stride[0] > 0 && grid.stride[1] > 0, "stride should be greater than zero, but got stride_height: ", grid.stride[0], " stride_width: ", grid.stride[1]);
  return grid;
}
}  // namespace

Tensor im2col(const Tensor& self, IntArrayRef kernel_size, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride) {
  const WindowGrid grid = checked_grid(kernel_size, dilation, padding, stride);
  const bool batched = self.dim() == 4;
  TORCH_CHECK((batched || self.dim() == 3) && volume(batched ? spatial_sizes(self.sizes()) : self.sizes()) > 0 && self.size(batched ? 1 : 0) > 0,
              "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: ", self.sizes());
  const Tensor input = batched ? self : self.unsqueeze(0);
  const DimVector places = places_of(grid, spatial_sizes(input.sizes()));
  TORCH_CHECK(places[0] > 0 && places[1] > 0, "Given input with spatial size ", in_parentheses(spatial_sizes(input.sizes())), ", kernel_size=", in_parentheses(grid.kernel),
              ", dilation=", in_parentheses(grid.dilation), ", padding=", in_parentheses(grid.padding),
              ", calculated shape of the array of sliding blocks as ", in_parentheses(places), ", but its components must be at least one.");
  const Tensor columns = op::im2col(input, grid.kernel, grid.dilation, grid.padding, grid.stride);
  return batched ? columns : columns.squeeze(0);
}

Tensor col2im(const Tensor& self, IntArrayRef output_size, IntArrayRef kernel_size, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride) {
  const WindowGrid grid = checked_grid(kernel_size, dilation, padding, stride);
  const DimVector size = expanded_to("output_size", output_size, 2);
  const bool batched = self.dim() == 3;
  TORCH_CHECK((batched || self.dim() == 2) && self.size(-1) > 0 && self.size(-2) > 0,
              "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, but got: ", self.sizes());
  TORCH_CHECK(self.size(-2) % volume(grid.kernel) == 0, "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got input.size(1)=",
              self.size(-2), " and kernel_size=", in_parentheses(grid.kernel), ".");
  const DimVector places = places_of(grid, size);
  TORCH_CHECK(self.size(-1) == volume(places), "Given output_size=", in_parentheses(size), ", kernel_size=", in_parentheses(grid.kernel),
              ", dilation=", in_parentheses(grid.dilation), ", padding=", in_parentheses(grid.padding), ", stride=", in_parentheses(grid.stride),
              ", expected size of input's dimension 2 to match the calculated number of sliding blocks ", places[0], " * ", places[1], " = ", volume(places),
              ", but got input.size(2)=", self.size(-1), ".");
  const Tensor image = op::col2im(batched ? self : self.unsqueeze(0), size, grid.kernel, grid.dilation, grid.padding, grid.stride);
  return batched ? image : image.squeeze(0);
}

void nn::UnfoldImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Unfold(kernel_size=" << options.kernel_size() << ", dilation=" << options.dilation() << ", padding=" << options.padding()
         << ", stride=" << options.stride() << ')';
}

void nn::FoldImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Fold(output_size=" << options.output_size() << ", kernel_size=" << options.kernel_size() << ", dilation=" << options.dilation()
         << ", padding=" << options.padding() << ", stride=" << options.stride() << ')';
}

// %%
TEST_CASE("Unfold and Fold: columns and back, errors") {
  const Tensor image = arange(9.0).view({1, 3, 3});
  const Tensor columns = nn::Unfold(2)(image);
  CHECK_EQ(columns, tensor({{0.0, 1.0, 3.0, 4.0}, {1.0, 2.0, 4.0, 5.0}, {3.0, 4.0, 6.0, 7.0}, {4.0, 5.0, 7.0, 8.0}}));
  CHECK_EQ(nn::Fold(3, 2)(columns), image * tensor({{1.0, 2.0, 1.0}, {2.0, 4.0, 2.0}, {1.0, 2.0, 1.0}}));
  CHECK_EQ(im2col(image.unsqueeze(0), {1, 3}, 1, {0, 1}, 1).sizes(), IntArrayRef({1, 3, 9}));
  CHECK_ERROR(im2col(image, 5, 1, 0, 1),
              "Given input with spatial size (3, 3), kernel_size=(5, 5), dilation=(1, 1), padding=(0, 0), calculated shape of the array of sliding blocks as (0, 0)");
  CHECK_ERROR(col2im(zeros({1, 4, 5}), 3, 2, 1, 0, 1), "expected size of input's dimension 2 to match the calculated number of sliding blocks 2 * 2 = 4, but got input.size(2)=5.");
  CHECK_EQ(printed(nn::Unfold(2)), "torch::nn::Unfold(kernel_size=[2, 2], dilation=[1, 1], padding=[0, 0], stride=[1, 1])");
}

// %% [markdown]
// ## Convolutions of one and three dimensions, and the transposed ones
//
// A transposed convolution goes from small to large: each input element lays the kernel, times its value, over the output. Which output size is meant is not always clear, because several sizes have the same number of windows; `output_padding` decides.
//
//     stride 2, kernel 3:    input  a b c      output   a a (a+b) b (b+c) c c        size (3 - 1) * 2 + 3 = 7

// %%
//| export nn/more_conv.h
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

// %%
//| export nn/more_conv.h
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

// %%
//| export nn/more_conv.cpp
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

// %%
//| export nn/more_conv.cpp
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

// %%
TEST_CASE("conv1d, conv3d: conv2d with another number of dimensions") {
  manual_seed(1);
  const Tensor signal = randn({2, 4, 9}, kDouble);
  const Tensor kernel = randn({6, 2, 3}, kDouble);
  CHECK_CLOSE(conv1d(signal, kernel, {}, 2, 1, 2, 2), conv2d(signal.unsqueeze(2), kernel.unsqueeze(2), {}, {1, 2}, {0, 1}, {1, 2}, 2).squeeze(2));
  CHECK_CLOSE(conv1d(signal[1], kernel, {}, 2, 1, 2, 2), conv1d(signal, kernel, {}, 2, 1, 2, 2)[1]);
  // A kernel of depth 2 is the sum of two convolutions of neighbouring slices.
  const Tensor volume_in = randn({1, 2, 3, 4, 5}, kDouble);
  const Tensor weight = randn({3, 2, 2, 2, 2}, kDouble);
  const Tensor expected = conv2d(volume_in.select(2, 0), weight.select(2, 0)) + conv2d(volume_in.select(2, 1), weight.select(2, 1));
  CHECK_CLOSE(conv3d(volume_in, weight).select(2, 0), expected);
  CHECK_ERROR(conv1d(ones({3}), kernel), "Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of size: [3]");
  nn::Conv1d layer(nn::Conv1dOptions(4, 6, 3).stride(2).padding(2).padding_mode(kCircular));
  CHECK_EQ(layer(randn({2, 4, 9})).sizes(), IntArrayRef({2, 6, 6}));
  CHECK_EQ(printed(layer), "torch::nn::Conv1d(4, 6, kernel_size=3, stride=2, padding=2, padding_mode=kCircular)");
  CHECK_EQ(nn::Conv3d(2, 3, 2)(randn({2, 3, 4, 5})).sizes(), IntArrayRef({3, 2, 3, 4}));
  // By name: the odd zero of an even kernel stands at the end.
  CHECK_CLOSE(conv1d(signal, kernel, {}, 1, "same", 2, 2), conv1d(signal, kernel, {}, 1, 2, 2, 2));
  CHECK_EQ(conv1d(ones({1, 1, 4}), ones({1, 1, 2}), {}, 1, "same").flatten(), tensor({2.0, 2.0, 2.0, 1.0}));
  CHECK_CLOSE(conv3d(volume_in, weight, {}, 1, "valid"), conv3d(volume_in, weight));
  CHECK_EQ(conv3d(volume_in, weight, {}, 1, "same").sizes(), IntArrayRef({1, 3, 3, 4, 5}));
  CHECK_ERROR(conv1d(signal, kernel, {}, 2, "same", 1, 2), "padding='same' is not supported for strided convolutions");
  CHECK_ERROR(conv1d(signal, kernel, {}, 1, "full", 1, 2), "Invalid padding string: 'full'");
  namespace F = nn::functional;
  CHECK_EQ(F::conv1d(signal, kernel, F::Conv1dFuncOptions().stride(2).padding(1).dilation(2).groups(2)), conv1d(signal, kernel, {}, 2, 1, 2, 2));
  CHECK_EQ(F::conv1d(signal, kernel, F::Conv1dFuncOptions().padding(kSame).groups(2)), conv1d(signal, kernel, {}, 1, "same", 1, 2));
  CHECK_EQ(F::conv3d(volume_in, weight, F::Conv3dFuncOptions().padding(kValid)), conv3d(volume_in, weight));
}

// %%
TEST_CASE("transposed convolutions: kernels laid over the output") {
  const Tensor x = tensor({1.0, 2.0, 3.0}).view({1, 1, 3});
  CHECK_EQ(conv_transpose1d(x, ones({1, 1, 3}), {}, 2).flatten(), tensor({1.0, 1.0, 3.0, 2.0, 5.0, 3.0, 3.0}));
  CHECK_EQ(conv_transpose1d(x, ones({1, 1, 3}), {}, 2, 1, 1).flatten(), tensor({1.0, 3.0, 2.0, 5.0, 3.0, 3.0}));
  CHECK_EQ(conv_transpose1d(x, ones({1, 1, 3}), tensor({10.0}), 2).size(2), 7);
  CHECK_ERROR(conv_transpose1d(x, ones({1, 1, 3}), {}, 2, 0, 2), "output padding must be smaller than either stride or dilation, but got output_padding [2], stride [2]");
  CHECK_ERROR(conv_transpose1d(x, ones({2, 1, 3})), "Given transposed=1, weight of size [2, 1, 3], expected input[1, 1, 3] to have 2 channels, but got 1 channels instead");

  nn::ConvTranspose2d layer(nn::ConvTranspose2dOptions(4, 6, 3).stride(2).padding(1).groups(2));
  const Tensor image = randn({2, 4, 3, 4});
  CHECK_EQ(layer(image).sizes(), IntArrayRef({2, 6, 5, 7}));
  CHECK_EQ(layer->forward(image, IntArrayRef({6, 8})).sizes(), IntArrayRef({2, 6, 6, 8}));
  CHECK_EQ(layer->forward(image, IntArrayRef({2, 6, 6, 8})).sizes(), IntArrayRef({2, 6, 6, 8}));
  CHECK_ERROR(layer->forward(image, IntArrayRef({7, 8})), "requested an output size of [7, 8], but valid sizes range from 5 7 to 6 8 (for an input of [3, 4])");
  CHECK_ERROR(layer->forward(image, IntArrayRef({7})), "output_size must have 2 or 4 elements (got 1)");
  CHECK_ERROR(nn::ConvTranspose2d(nn::ConvTranspose2dOptions(4, 6, 3).padding_mode(kReflect))(image), "Only `zeros` padding mode is supported for ConvTranspose2d");
  namespace F = nn::functional;
  CHECK_EQ(F::conv_transpose1d(x, ones({1, 1, 3}), F::ConvTranspose1dFuncOptions().stride(2).padding(1).output_padding(1)), conv_transpose1d(x, ones({1, 1, 3}), {}, 2, 1, 1));
  CHECK_EQ(F::conv_transpose2d(image, layer->weight, F::ConvTranspose2dFuncOptions().bias(layer->bias).stride(2).padding(1).groups(2)), layer(image));
  CHECK_EQ(F::conv_transpose3d(ones({1, 1, 2, 2, 2}), ones({1, 2, 2, 2, 2}), F::ConvTranspose3dFuncOptions().dilation(2)).sizes(), IntArrayRef({1, 2, 4, 4, 4}));
  CHECK_EQ(printed(layer), "torch::nn::ConvTranspose2d(4, 6, kernel_size=[3, 3], stride=[2, 2], padding=[1, 1], groups=2)");
  CHECK_EQ(nn::ConvTranspose3d(1, 2, 2)(ones({1, 2, 2, 2})).sizes(), IntArrayRef({2, 3, 3, 3}));
}

// %% [markdown]
// ## Pooling
//
// A maximum over a box is a maximum over its depth of maxima over its slices; the position follows the same way: where in depth, and there, where in the slice.

// %%
//| export nn/more_pool.h
Tensor max_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1, bool ceil_mode = false);
std::tuple<Tensor, Tensor> max_pool1d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1,
                                                   bool ceil_mode = false);
Tensor max_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1, bool ceil_mode = false);
// The position counts in the flattened volume.
std::tuple<Tensor, Tensor> max_pool3d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1,
                                                   bool ceil_mode = false);
Tensor avg_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, bool ceil_mode = false, bool count_include_pad = true);
Tensor avg_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, bool ceil_mode = false, bool count_include_pad = true,
                  std::optional<std::int64_t> divisor_override = std::nullopt);
// Means and maxima over windows chosen so that the output has the given size: output i of a dimension covers [floor(i size / count), ceil((i + 1) size / count)). The maxima also give their positions in
// the flattened image.
Tensor adaptive_avg_pool1d(const Tensor& self, IntArrayRef output_size);
Tensor adaptive_avg_pool2d(const Tensor& self, IntArrayRef output_size);
Tensor adaptive_avg_pool3d(const Tensor& self, IntArrayRef output_size);
std::tuple<Tensor, Tensor> adaptive_max_pool1d(const Tensor& self, IntArrayRef output_size);
std::tuple<Tensor, Tensor> adaptive_max_pool2d(const Tensor& self, IntArrayRef output_size);
std::tuple<Tensor, Tensor> adaptive_max_pool3d(const Tensor& self, IntArrayRef output_size);

namespace op {
// The means of adaptive_avg_pool2d: (..., H, W) of a floating-point dtype and {h, w} -> (..., h, w).
extern Operator<Tensor(const Tensor&, IntArrayRef)> _adaptive_avg_pool2d;
// Its gradient: each pixel of an image of `size` {H, W} gets, of each window that holds it, `grad` divided by the number of the window's pixels. grad, size.
extern Operator<Tensor(const Tensor&, IntArrayRef)> _adaptive_avg_pool2d_backward;
}  // namespace op

// The range of input elements that output i of `count` covers: (first, how many). REQUIRES: 0 <= i < count.
std::pair<std::int64_t, std::int64_t> adaptive_range(std::int64_t i, std::int64_t count, std::int64_t size);

// %%
//| export nn/more_pool.cpp
namespace {
// `values` with one more number in front, for a dimension of size 1.
DimVector behind(std::int64_t first, IntArrayRef values) {
  DimVector all{first};
  for (const std::int64_t value : values) all.push_back(value);
  return all;
}

// One number or three as three; `if_none` when there is none and that is allowed.
DimVector triple(const char* function, const char* name, IntArrayRef values, IntArrayRef if_none = {}) {
  TORCH_CHECK(values.size() == 1 || values.size() == 3 || (values.empty() && !if_none.empty()), function, ": ", name, " must either be ", if_none.empty() ? "" : "omitted, ",
              "a single int, or a tuple of three ints");
  if (values.empty()) return if_none;
  return values.size() == 3 ? DimVector(values) : DimVector(3, values[0]);
}

// (N, C, D, H, W) or (C, D, H, W) as (N C, D, H, W).
Tensor as_slices(const Tensor& self) {
  return self.reshape({self.dim() == 5 ? self.size(0) * self.size(1) : self.size(0), self.size(-3), self.size(-2), self.size(-1)});
}

void check_dims(const char* function, const Tensor& self, std::int64_t dims) {
  TORCH_CHECK(self.dim() == dims + 1 || self.dim() == dims + 2, function, "(): Expected ", dims + 1, "D or ", dims + 2, "D tensor, but got ", self.sizes());
}
}  // namespace

std::tuple<Tensor, Tensor> max_pool1d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  check_dims("max_pool1d", self, 1);
  const DimVector step = stride.empty() ? DimVector(kernel_size) : DimVector(stride);
  const auto [values, indices] =
      max_pool2d_with_indices(self.unsqueeze(-2), behind(1, kernel_size), behind(1, step), behind(0, padding), behind(1, dilation), ceil_mode);
  return {values.squeeze(-2), indices.squeeze(-2)};
}

Tensor max_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  return std::get<0>(max_pool1d_with_indices(self, kernel_size, stride, padding, dilation, ceil_mode));
}

std::tuple<Tensor, Tensor> max_pool3d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  check_dims("max_pool3d", self, 3);
  const DimVector kernel = triple("max_pool3d", "kernel_size", kernel_size);
  const DimVector step = triple("max_pool3d", "stride", stride, kernel);
  const DimVector around = triple("max_pool3d", "padding", padding);
  const DimVector apart = triple("max_pool3d", "dilation", dilation);
  const auto slice_part = [](const DimVector& values) { return IntArrayRef(values.data() + 1, 2); };
  // The maxima of each slice: (N C, D, oH, oW).
  const auto [in_slice, where] = max_pool2d_with_indices(as_slices(self), slice_part(kernel), slice_part(step), slice_part(around), slice_part(apart), ceil_mode);
  // And of these, along the depth: (N C, 1, oD, oH oW).
  const auto [values, depth] =
      max_pool2d_with_indices(in_slice.flatten(2).unsqueeze(1), {kernel[0], 1}, {step[0], 1}, {around[0], 0}, {apart[0], 1}, ceil_mode);
  const Tensor places = where.flatten(1).gather(1, depth.flatten(1)).view(depth.sizes());
  const Tensor slices = depth.floor_divide(depth.size(3));
  DimVector sizes(self.sizes());
  sizes[sizes.size() - 3] = values.size(2);
  sizes[sizes.size() - 2] = in_slice.size(2);
  sizes[sizes.size() - 1] = in_slice.size(3);
  return {in_format_of(self, values.reshape(sizes)), in_format_of(self, (slices * (self.size(-2) * self.size(-1)) + places).reshape(sizes))};
}

Tensor max_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  return std::get<0>(max_pool3d_with_indices(self, kernel_size, stride, padding, dilation, ceil_mode));
}

Tensor avg_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, bool ceil_mode, bool count_include_pad) {
  check_dims("avg_pool1d", self, 1);
  const DimVector step = stride.empty() ? DimVector(kernel_size) : DimVector(stride);
  return avg_pool2d(self.unsqueeze(-2), behind(1, kernel_size), behind(1, step), behind(0, padding), ceil_mode, count_include_pad).squeeze(-2);
}

// Sums over the slices, then over the depth, each with divisor 1; then one division by the number of elements of each window.
Tensor avg_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, bool ceil_mode, bool count_include_pad,
                  std::optional<std::int64_t> divisor_override) {
  check_dims("avg_pool3d", self, 3);
  const DimVector kernel = triple("avg_pool3d", "kernel_size", kernel_size);
  const DimVector step = triple("avg_pool3d", "stride", stride, kernel);
  const DimVector around = triple("avg_pool3d", "padding", padding);
  TORCH_CHECK(!divisor_override || *divisor_override != 0, "divisor must be not zero");
  const auto slice_part = [](const DimVector& values) { return IntArrayRef(values.data() + 1, 2); };
  const Tensor in_slice = avg_pool2d(as_slices(self), slice_part(kernel), slice_part(step), slice_part(around), ceil_mode, true, 1);
  const Tensor sums = avg_pool2d(in_slice.flatten(2).unsqueeze(1), {kernel[0], 1}, {step[0], 1}, {around[0], 0}, ceil_mode, true, 1);
  DimVector sizes(self.sizes());
  const std::size_t first = sizes.size() - 3;
  const DimVector output{sums.size(2), in_slice.size(2), in_slice.size(3)};
  Tensor divisor = full({}, divisor_override ? static_cast<double>(*divisor_override) : 1.0, kDouble);
  for (std::size_t d = 0; d < 3; ++d) {
    DimVector shape(3, 1);
    shape[d] = output[d];
    if (!divisor_override) divisor = divisor * tensor(window_lengths(output[d], sizes[first + d], kernel[d], step[d], around[d], count_include_pad), kDouble).view(shape);
  }
  for (std::size_t d = 0; d < 3; ++d) sizes[first + d] = output[d];
  return div(sums.reshape(sizes), divisor.to(self.scalar_type()), self.is_floating_point() ? std::nullopt : std::optional<std::string_view>("trunc"));
}

// %% [markdown]
// With a given output size the windows differ in length. The mean over a box is the mean along one dimension of means along the others; along one dimension it is a product with a matrix whose rows average, and its gradient is a product with the same matrix, turned around. For images this is an operator, for which chapter 55 has a kernel. The maximum is taken along one dimension after the other, and each takes the positions of the earlier ones along; but where the given size divides the image's, as it does in most networks, all windows are of one length, and `max_pool2d` does it.

// %%
//| export nn/more_pool.cpp
std::pair<std::int64_t, std::int64_t> adaptive_range(std::int64_t i, std::int64_t count, std::int64_t size) {
  const std::int64_t begin = i * size / count;
  return {begin, ((i + 1) * size + count - 1) / count - begin};
}

namespace {
// The matrix (count, size) whose row i averages its range.
Tensor averaging_matrix(std::int64_t count, std::int64_t size, ScalarType type) {
  const Tensor matrix = zeros({count, size}, type);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto [begin, length] = adaptive_range(i, count, size);
    matrix.select(0, i).narrow(0, begin, length).fill_(1 / static_cast<double>(length));
  }
  return matrix;
}

// `self` times `matrix`, turned around, along dimension -d: a row of the matrix makes a number.
Tensor product_along(const Tensor& self, std::int64_t d, const Tensor& matrix) { return matmul(self.transpose(-d, -1), matrix.t()).transpose(-d, -1); }

// The means of ranges along the last dimensions; a new tensor.
Tensor adaptive_means(const Tensor& self, IntArrayRef output) {
  Tensor result = self;
  for (std::size_t d = 1; d <= output.size(); ++d) {
    const std::int64_t count = output[output.size() - d], dim = static_cast<std::int64_t>(d);
    if (count != self.size(-dim)) result = product_along(result, dim, averaging_matrix(count, self.size(-dim), self.scalar_type()));
  }
  return result.is_alias_of(self) ? self.clone() : result.contiguous();
}

// Its gradient. Other than the means it grows with each product, and the last dimension, for which nothing is turned around, comes last.
Tensor adaptive_means_backward(const Tensor& grad, IntArrayRef size) {
  Tensor result = grad;
  for (std::size_t d = size.size(); d >= 1; --d) {
    const std::int64_t length = size[size.size() - d], dim = static_cast<std::int64_t>(d);
    if (length != grad.size(-dim)) result = product_along(result, dim, averaging_matrix(grad.size(-dim), length, grad.scalar_type()).t());
  }
  return result.is_alias_of(grad) ? grad.clone() : result.contiguous();
}

// What may be empty, as in PyTorch: dimension 0 alone, or all but those that are pooled.
enum class MayBeEmpty { Batch, BatchAndChannels };

DimVector checked_output(const char* function, const Tensor& self, IntArrayRef output_size, std::int64_t dims, MayBeEmpty may_be_empty) {
  TORCH_CHECK(output_size.size() == 1 || static_cast<std::int64_t>(output_size.size()) == dims, function, ": output_size must be ", dims);
  check_dims(function, self, dims);
  for (std::int64_t d = may_be_empty == MayBeEmpty::Batch ? 1 : self.dim() - dims; d < self.dim(); ++d)
    TORCH_CHECK(self.size(d) > 0, function, "(): Expected input to have non-zero size for non-batch dimensions, but input has sizes ", self.sizes(), " with dimension ", d,
                " being empty\n[", function, "] ", may_be_empty == MayBeEmpty::Batch ? "only dimension 0 may be of size 0." : "a window needs a pixel at least.");
  for (const std::int64_t size : output_size)
    TORCH_CHECK(size >= 0, function, ": elements of output_size must be greater than or equal to 0 but received ", output_size);
  return output_size.size() == 1 ? DimVector(static_cast<std::size_t>(dims), output_size[0]) : DimVector(output_size);
}

Tensor adaptive_avg(const char* function, const Tensor& self, IntArrayRef output_size, std::int64_t dims) {
  const DimVector output = checked_output(function, self, output_size, dims, dims == 3 ? MayBeEmpty::Batch : MayBeEmpty::BatchAndChannels);
  TORCH_CHECK(self.is_floating_point(), "\"", function, "\" not implemented for '", self.scalar_type(), "'\n[", function, "] convert with to(kFloat) first.");
  // One window over everything, at the end of most networks for images, is a mean as any other.
  if (self.numel() > 0 && volume(output) == 1) {
    DimVector spatial;
    for (std::int64_t d = dims; d >= 1; --d) spatial.push_back(-d);
    return self.mean(spatial, true);
  }
  return dims == 2 ? in_format_of(self, op::_adaptive_avg_pool2d(self, output)) : adaptive_means(self, output);
}

// How long each window is in the last two dimensions, if those of one dimension are all of one length and meet; nothing otherwise.
std::optional<std::array<std::int64_t, 2>> even_windows(const Tensor& self, IntArrayRef output) {
  const std::int64_t height = self.size(-2), width = self.size(-1);
  if (output[0] == 0 || output[1] == 0 || height % output[0] != 0 || width % output[1] != 0) return std::nullopt;
  return std::array{height / output[0], width / output[1]};
}

std::tuple<Tensor, Tensor> adaptive_max(const char* function, const Tensor& self, IntArrayRef output_size, std::int64_t dims) {
  const DimVector output = checked_output(function, self, output_size, dims, MayBeEmpty::Batch);
  // Windows of one length are those of max_pool2d, which has a kernel.
  if (const auto window = dims == 2 && self.numel() > 0 ? even_windows(self, output) : std::nullopt) return max_pool2d_with_indices(self, *window);
  Tensor values = self;
  Tensor positions = zeros(self.sizes(), kLong);
  std::int64_t step = 1;  // how far apart neighbours along this dimension are in the flattened image
  for (std::int64_t d = 1; d <= dims; ++d) {
    const std::int64_t count = output[static_cast<std::size_t>(dims - d)];
    std::vector<Tensor> best, where;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto [begin, length] = adaptive_range(i, count, self.size(-d));
      const auto [largest, index] = values.narrow(-d, begin, length).max(-d, true);
      best.push_back(largest);
      where.push_back(positions.narrow(-d, begin, length).gather(-d, index) + (index + begin) * step);
    }
    if (count > 0) {
      values = cat(best, -d);
      positions = cat(where, -d);
    } else {
      values = values.narrow(-d, 0, 0);
      positions = positions.narrow(-d, 0, 0);
    }
    step *= self.size(-d);
  }
  return {values, positions};
}
}  // namespace

// The gradient lies in memory as the means do, and so as the images did.
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::_adaptive_avg_pool2d(
    "_adaptive_avg_pool2d", {.cpu = adaptive_means, .autograd = gradient_of<op::_adaptive_avg_pool2d>([](const Tensor& g, Sizes<0> sizes, Output means) {
                               const IntArrayRef size = spatial_sizes(sizes);
                               const Tensor arrived = in_format_of(means, g);
                               return size == spatial_sizes(g.sizes()) ? arrived : op::_adaptive_avg_pool2d_backward(arrived, size);  // of windows of one pixel each
                             })});
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::_adaptive_avg_pool2d_backward(
    "_adaptive_avg_pool2d_backward", {.cpu = adaptive_means_backward, .autograd = gradient_of<op::_adaptive_avg_pool2d_backward>([](const Tensor& g, Sizes<0> sizes) {
                                        return op::_adaptive_avg_pool2d(g, spatial_sizes(sizes));
                                      })});

Tensor adaptive_avg_pool1d(const Tensor& self, IntArrayRef output_size) { return adaptive_avg("adaptive_avg_pool1d", self, output_size, 1); }
Tensor adaptive_avg_pool2d(const Tensor& self, IntArrayRef output_size) { return adaptive_avg("adaptive_avg_pool2d", self, output_size, 2); }
Tensor adaptive_avg_pool3d(const Tensor& self, IntArrayRef output_size) { return adaptive_avg("adaptive_avg_pool3d", self, output_size, 3); }
std::tuple<Tensor, Tensor> adaptive_max_pool1d(const Tensor& self, IntArrayRef output_size) { return adaptive_max("adaptive_max_pool1d", self, output_size, 1); }
std::tuple<Tensor, Tensor> adaptive_max_pool2d(const Tensor& self, IntArrayRef output_size) {
  const auto [values, positions] = adaptive_max("adaptive_max_pool2d", self, output_size, 2);
  return {in_format_of(self, values), in_format_of(self, positions)};
}
std::tuple<Tensor, Tensor> adaptive_max_pool3d(const Tensor& self, IntArrayRef output_size) { return adaptive_max("adaptive_max_pool3d", self, output_size, 3); }

// %%
TEST_CASE("pooling in one and three dimensions") {
  const Tensor row = tensor({1.0, 5.0, 2.0, 4.0, 3.0}).view({1, 1, 5});
  CHECK_EQ(max_pool1d(row, 2).flatten(), tensor({5.0, 4.0}));
  CHECK_EQ(std::get<1>(max_pool1d_with_indices(row, 3, 1, 1)).flatten(), tensor({1, 1, 1, 3, 3}));
  CHECK_EQ(avg_pool1d(row, 2, 1).flatten(), tensor({3.0, 3.5, 3.0, 3.5}));
  CHECK_EQ(avg_pool1d(row[0], 3, 2, 1, false, false), tensor({{3.0, 11.0 / 3, 3.5}}));
  manual_seed(2);
  const Tensor volume_in = randn({2, 3, 5, 6, 7});
  const auto [values, indices] = max_pool3d_with_indices(volume_in, {3, 2, 3}, {2, 2, 1}, {1, 0, 1});
  CHECK_EQ(values.sizes(), IntArrayRef({2, 3, 3, 3, 7}));
  CHECK_EQ(volume_in.flatten(2).gather(2, indices.flatten(2)).view(values.sizes()), values);
  CHECK_EQ(values[1][2][0][1][0], volume_in[1][2].slice(0, 0, 2).slice(1, 2, 4).slice(2, 0, 2).max());
  CHECK_CLOSE(avg_pool3d(volume_in, 2)[1][0][1][2][0], volume_in[1][0].slice(0, 2, 4).slice(1, 4, 6).slice(2, 0, 2).mean(), 1e-5, 1e-6);
  CHECK_EQ(avg_pool3d(ones({1, 1, 3, 3, 3}), 3, 2, 1, false, true)[0][0][0][0][0].item<float>(), 8.0f / 27);
  CHECK_EQ(avg_pool3d(ones({1, 1, 3, 3, 3}), 3, 2, 1, false, false), ones({1, 1, 2, 2, 2}));
}

// %%
TEST_CASE("adaptive pooling: ranges that cover the image, positions in the flattened image") {
  const Tensor five = arange(25.0, kDouble).view({1, 1, 5, 5});
  CHECK_CLOSE(adaptive_avg_pool2d(five, 1), full({1, 1, 1, 1}, 12, kDouble));
  CHECK_CLOSE(adaptive_avg_pool2d(five[0], {2, 5})[0][0], tensor({5, 6, 7, 8, 9}, kDouble));  // rows 0, 1, 2
  CHECK_EQ(adaptive_avg_pool2d(five, 5), five);
  CHECK_CLOSE(adaptive_avg_pool1d(five[0][0], 2), tensor({{1, 3}, {6, 8}, {11, 13}, {16, 18}, {21, 23}}, kDouble));
  CHECK_CLOSE(adaptive_avg_pool3d(arange(8.0).view({1, 2, 2, 2}), 1), full({1, 1, 1, 1}, 3.5));
  const auto [values, positions] = adaptive_max_pool2d(five, {2, 3});
  CHECK_EQ(values[0][0], tensor({{11, 13, 14}, {21, 23, 24}}, kDouble));
  CHECK_EQ(positions[0][0], tensor({{11, 13, 14}, {21, 23, 24}}));
  // Windows of one length, and the same windows found by ranges: in one dimension nothing is handed to max_pool2d.
  manual_seed(782);
  const Tensor images = randn({2, 3, 6, 8});
  const auto [even, places] = adaptive_max_pool2d(images, {3, 2});
  const Tensor rows = images.view({2, 3, 3, 2, 2, 4}).permute({0, 1, 2, 4, 3, 5}).reshape({2, 3, 3, 2, 8});
  CHECK_EQ(even, rows.amax({-1}));
  CHECK_EQ(images.flatten(2).gather(2, places.flatten(2)).view_as(even), even);
  CHECK_EQ(std::get<0>(adaptive_max_pool1d(images[0], 4)), images[0].view({3, 6, 4, 2}).amax({-1}));
  CHECK_EQ(std::get<0>(adaptive_max_pool2d(images, {0, 2})).sizes(), IntArrayRef({2, 3, 0, 2}));
  CHECK_EQ(std::get<1>(adaptive_max_pool3d(-arange(8.0).view({1, 2, 2, 2}), {2, 1, 1})).flatten(), tensor({0, 4}));
  // Where nothing is averaged, the result is a tensor of its own all the same.
  const Tensor same = adaptive_avg_pool2d(five, 5);
  same.fill_(1);
  adaptive_avg_pool1d(five[0], 5).fill_(1);
  adaptive_avg_pool3d(five, {1, 5, 5}).fill_(1);
  CHECK_EQ(five, arange(25.0, kDouble).view({1, 1, 5, 5}));
  CHECK_ERROR(adaptive_avg_pool2d(five[0][0], 2), "adaptive_avg_pool2d(): Expected 3D or 4D tensor, but got [5, 5]");
  CHECK_ERROR(adaptive_avg_pool2d(five, {1, 2, 3}), "adaptive_avg_pool2d: output_size must be 2");
}

TEST_CASE("adaptive pooling: images without channels have no largest number, and a batch may be empty") {
  CHECK_ERROR(adaptive_max_pool2d(zeros({2, 0, 4, 5}), 2),
              "adaptive_max_pool2d(): Expected input to have non-zero size for non-batch dimensions, but input has sizes [2, 0, 4, 5] with dimension 1 being empty\n[adaptive_max_pool2d] only dimension 0 may be of size 0.");
  CHECK_ERROR(adaptive_avg_pool2d(zeros({2, 3, 0, 5}), 2), "with dimension 2 being empty\n[adaptive_avg_pool2d] a window needs a pixel at least.");
  CHECK_ERROR(adaptive_max_pool1d(zeros({2, 0, 4}), 2), "adaptive_max_pool1d(): Expected input to have non-zero size for non-batch dimensions");
  CHECK_ERROR(adaptive_max_pool3d(zeros({2, 0, 4, 4, 4}), {2, 1, 4}), "with dimension 1 being empty");
  CHECK_ERROR(adaptive_avg_pool3d(zeros({2, 0, 4, 4, 4}), 2), "adaptive_avg_pool3d(): Expected input to have non-zero size for non-batch dimensions");
  CHECK_EQ(adaptive_avg_pool2d(zeros({2, 0, 4, 5}), 2).sizes(), IntArrayRef({2, 0, 2, 2}));
  CHECK_EQ(adaptive_avg_pool1d(zeros({2, 0, 4}), 2).sizes(), IntArrayRef({2, 0, 2}));
  for (const DimVector& sizes : {DimVector{0, 3, 4, 5}, DimVector{0, 4, 5}}) {
    DimVector pooled(sizes);
    pooled[pooled.size() - 2] = 2;
    pooled[pooled.size() - 1] = 3;
    CHECK_EQ(adaptive_avg_pool2d(zeros(sizes), {2, 3}).sizes(), IntArrayRef(pooled));
    CHECK_EQ(std::get<1>(adaptive_max_pool2d(zeros(sizes), {2, 3})).sizes(), IntArrayRef(pooled));
  }
}

// %% [markdown]
// ## Pooling layers

// %%
//| export nn/more_pool.h
namespace nn {

// Layers for one, two and three dimensions. What they do stands in the source: a file that includes them compiles none of it.
#define TINYTORCH_POOL_LAYER(Name, D, Size, ...)                \
  class Name##D##dImpl : public Cloneable<Name##D##dImpl> {     \
   public:                                                      \
    Name##D##dImpl(Size<D> size);                               \
    explicit Name##D##dImpl(const Name##D##dOptions& options_); \
    void reset() override {}                                    \
    void pretty_print(std::ostream& stream) const override;     \
    Tensor forward(const Tensor& input);                        \
    __VA_ARGS__                                                 \
    Name##D##dOptions options;                                  \
  };                                                            \
  TORCH_MODULE(Name##D##d);
TINYTORCH_POOL_LAYER(MaxPool, 1, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(MaxPool, 2, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(MaxPool, 3, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(AvgPool, 1, ExpandingArray)
TINYTORCH_POOL_LAYER(AvgPool, 2, ExpandingArray)
TINYTORCH_POOL_LAYER(AvgPool, 3, ExpandingArray)
TINYTORCH_POOL_LAYER(AdaptiveAvgPool, 1, ExpandingArray)
TINYTORCH_POOL_LAYER(AdaptiveAvgPool, 2, ExpandingArrayWithOptionalElem)
TINYTORCH_POOL_LAYER(AdaptiveAvgPool, 3, ExpandingArrayWithOptionalElem)
TINYTORCH_POOL_LAYER(AdaptiveMaxPool, 1, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(AdaptiveMaxPool, 2, ExpandingArrayWithOptionalElem, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(AdaptiveMaxPool, 3, ExpandingArrayWithOptionalElem, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
#undef TINYTORCH_POOL_LAYER

#define TINYTORCH_POOL_FUNCTIONS(D)                                                                                                      \
  Tensor max_pool##D##d(const Tensor& input, const MaxPool##D##dFuncOptions& options);                                                   \
  std::tuple<Tensor, Tensor> max_pool##D##d_with_indices(const Tensor& input, const MaxPool##D##dFuncOptions& options);                  \
  Tensor avg_pool##D##d(const Tensor& input, const AvgPool##D##dFuncOptions& options);                                                   \
  Tensor adaptive_avg_pool##D##d(const Tensor& input, const AdaptiveAvgPool##D##dFuncOptions& options);                                  \
  Tensor adaptive_max_pool##D##d(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options);                                  \
  std::tuple<Tensor, Tensor> adaptive_max_pool##D##d_with_indices(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options);
namespace functional {
TINYTORCH_POOL_FUNCTIONS(1)
TINYTORCH_POOL_FUNCTIONS(2)
TINYTORCH_POOL_FUNCTIONS(3)
}  // namespace functional
#undef TINYTORCH_POOL_FUNCTIONS

}  // namespace nn

// %%
//| export nn/more_pool.cpp
namespace nn {
namespace {
// The output size that is meant: a size that is left out is the input's.
DimVector adaptive_size(const ExpandingArray<1>& size, const Tensor&) { return IntArrayRef(size); }
template <std::size_t D>
DimVector adaptive_size(const ExpandingArrayWithOptionalElem<D>& size, const Tensor& input) {
  DimVector sizes;
  for (std::size_t d = 0; d < D; ++d) sizes.push_back((*size)[d].value_or(input.size(static_cast<std::int64_t>(d) - static_cast<std::int64_t>(D))));
  return sizes;
}

Tensor mean_of_windows(const Tensor& x, const AvgPool1dOptions& o) { return avg_pool1d(x, o.kernel_size(), o.stride(), o.padding(), o.ceil_mode(), o.count_include_pad()); }
Tensor mean_of_windows(const Tensor& x, const AvgPool2dOptions& o) {
  return avg_pool2d(x, o.kernel_size(), o.stride(), o.padding(), o.ceil_mode(), o.count_include_pad(), o.divisor_override());
}
Tensor mean_of_windows(const Tensor& x, const AvgPool3dOptions& o) {
  return avg_pool3d(x, o.kernel_size(), o.stride(), o.padding(), o.ceil_mode(), o.count_include_pad(), o.divisor_override());
}
}  // namespace

#define TINYTORCH_POOL_LAYERS(D, Size)                                                                                                                                     \
  MaxPool##D##dImpl::MaxPool##D##dImpl(ExpandingArray<D> kernel_size) : MaxPool##D##dImpl(MaxPool##D##dOptions(kernel_size)) {}                                            \
  MaxPool##D##dImpl::MaxPool##D##dImpl(const MaxPool##D##dOptions& options_) : options(options_) {}                                                                        \
  void MaxPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::MaxPool" #D "d" << options; }                                                   \
  Tensor MaxPool##D##dImpl::forward(const Tensor& input) { return std::get<0>(forward_with_indices(input)); }                                                              \
  std::tuple<Tensor, Tensor> MaxPool##D##dImpl::forward_with_indices(const Tensor& input) {                                                                                \
    return max_pool##D##d_with_indices(input, options.kernel_size(), options.stride(), options.padding(), options.dilation(), options.ceil_mode());                        \
  }                                                                                                                                                                        \
  AvgPool##D##dImpl::AvgPool##D##dImpl(ExpandingArray<D> kernel_size) : AvgPool##D##dImpl(AvgPool##D##dOptions(kernel_size)) {}                                            \
  AvgPool##D##dImpl::AvgPool##D##dImpl(const AvgPool##D##dOptions& options_) : options(options_) {}                                                                        \
  void AvgPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AvgPool" #D "d" << options; }                                                   \
  Tensor AvgPool##D##dImpl::forward(const Tensor& input) { return mean_of_windows(input, options); }                                                                       \
  AdaptiveAvgPool##D##dImpl::AdaptiveAvgPool##D##dImpl(Size<D> output_size) : AdaptiveAvgPool##D##dImpl(AdaptiveAvgPool##D##dOptions(output_size)) {}                      \
  AdaptiveAvgPool##D##dImpl::AdaptiveAvgPool##D##dImpl(const AdaptiveAvgPool##D##dOptions& options_) : options(options_) {}                                                \
  void AdaptiveAvgPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AdaptiveAvgPool" #D "d(output_size=" << options.output_size() << ')'; } \
  Tensor AdaptiveAvgPool##D##dImpl::forward(const Tensor& input) { return adaptive_avg_pool##D##d(input, adaptive_size(options.output_size(), input)); }                   \
  AdaptiveMaxPool##D##dImpl::AdaptiveMaxPool##D##dImpl(Size<D> output_size) : AdaptiveMaxPool##D##dImpl(AdaptiveMaxPool##D##dOptions(output_size)) {}                      \
  AdaptiveMaxPool##D##dImpl::AdaptiveMaxPool##D##dImpl(const AdaptiveMaxPool##D##dOptions& options_) : options(options_) {}                                                \
  void AdaptiveMaxPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AdaptiveMaxPool" #D "d(output_size=" << options.output_size() << ')'; } \
  Tensor AdaptiveMaxPool##D##dImpl::forward(const Tensor& input) { return std::get<0>(forward_with_indices(input)); }                                                      \
  std::tuple<Tensor, Tensor> AdaptiveMaxPool##D##dImpl::forward_with_indices(const Tensor& input) {                                                                        \
    return adaptive_max_pool##D##d(input, adaptive_size(options.output_size(), input));                                                                                    \
  }                                                                                                                                                                        \
  Tensor functional::max_pool##D##d(const Tensor& input, const MaxPool##D##dFuncOptions& options) { return MaxPool##D##dImpl(options).forward(input); }                    \
  std::tuple<Tensor, Tensor> functional::max_pool##D##d_with_indices(const Tensor& input, const MaxPool##D##dFuncOptions& options) {                                       \
    return MaxPool##D##dImpl(options).forward_with_indices(input);                                                                                                         \
  }                                                                                                                                                                        \
  Tensor functional::avg_pool##D##d(const Tensor& input, const AvgPool##D##dFuncOptions& options) { return AvgPool##D##dImpl(options).forward(input); }                    \
  Tensor functional::adaptive_avg_pool##D##d(const Tensor& input, const AdaptiveAvgPool##D##dFuncOptions& options) {                                                       \
    return AdaptiveAvgPool##D##dImpl(options).forward(input);                                                                                                              \
  }                                                                                                                                                                        \
  Tensor functional::adaptive_max_pool##D##d(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options) {                                                       \
    return AdaptiveMaxPool##D##dImpl(options).forward(input);                                                                                                              \
  }                                                                                                                                                                        \
  std::tuple<Tensor, Tensor> functional::adaptive_max_pool##D##d_with_indices(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options) {                      \
    return AdaptiveMaxPool##D##dImpl(options).forward_with_indices(input);                                                                                                 \
  }
TINYTORCH_POOL_LAYERS(1, ExpandingArray)
TINYTORCH_POOL_LAYERS(2, ExpandingArrayWithOptionalElem)
TINYTORCH_POOL_LAYERS(3, ExpandingArrayWithOptionalElem)
#undef TINYTORCH_POOL_LAYERS
}  // namespace nn

// %%
TEST_CASE("pooling layers: options, printed text") {
  const Tensor x = arange(32.0).view({1, 2, 4, 4});
  CHECK_EQ(nn::MaxPool2d(2)(x), max_pool2d(x, 2));
  CHECK_EQ(nn::MaxPool2d(nn::MaxPool2dOptions({2, 1}).stride(1).padding({1, 0}))(x), max_pool2d(x, {2, 1}, 1, {1, 0}));
  CHECK_EQ(nn::AvgPool2d(nn::AvgPool2dOptions(3).padding(1).count_include_pad(false))(x), avg_pool2d(x, 3, {}, 1, false, false));
  CHECK_EQ(nn::AdaptiveAvgPool2d(nn::AdaptiveAvgPool2dOptions({1, std::nullopt}))(x), adaptive_avg_pool2d(x, {1, 4}));
  CHECK_EQ(nn::functional::max_pool2d(x, nn::functional::MaxPool2dFuncOptions(3).stride(2)), max_pool2d(x, 3, 2));
  CHECK_EQ(std::get<1>(nn::functional::adaptive_max_pool2d_with_indices(x, nn::functional::AdaptiveMaxPool2dFuncOptions({1, 2}))), std::get<1>(adaptive_max_pool2d(x, {1, 2})));
  CHECK_EQ(std::get<1>(nn::functional::adaptive_max_pool1d_with_indices(x[0][0], nn::functional::AdaptiveMaxPool1dFuncOptions(2))), std::get<1>(adaptive_max_pool1d(x[0][0], 2)));
  CHECK_EQ(nn::MaxPool1d(2)(x[0][0]), max_pool1d(x[0][0], 2));
  CHECK_EQ(nn::MaxPool3d(2)(x), max_pool3d(x, 2));
  CHECK_EQ(printed(nn::MaxPool2d(2)), "torch::nn::MaxPool2d(kernel_size=[2, 2], stride=[2, 2], padding=[0, 0], dilation=[1, 1], ceil_mode=false)");
  CHECK_EQ(printed(nn::AvgPool2d(nn::AvgPool2dOptions({2, 3}).stride(1))), "torch::nn::AvgPool2d(kernel_size=[2, 3], stride=[1, 1], padding=[0, 0])");
  CHECK_CLOSE(adaptive_avg_pool2d(x.contiguous(MemoryFormat::ChannelsLast), 1), x.mean({2, 3}, true));
  CHECK_EQ(printed(nn::AdaptiveAvgPool2d(1)), "torch::nn::AdaptiveAvgPool2d(output_size=[1, 1])");
  CHECK_EQ(printed(nn::AdaptiveMaxPool1d(3)), "torch::nn::AdaptiveMaxPool1d(output_size=3)");
}

// %% [markdown]
// ## Norms within an example
//
// Group norm takes mean and variance over a group of channels of *one* example; instance norm over each channel of one example. Both are batch norm of a tensor that is seen as one example with `N * groups` channels, so that no batch is needed, and training and evaluation are the same.
//
//     (N, C, H, W)  seen as  (1, N * groups, C / groups * H * W)
//
// Weight and bias still belong to the channels of the input, so they cannot be the batch norm's: they follow it, as `channel_affine`. The gradient of the input is the batch norm's too, for the gradient times the weight. All of it is one operator, so that chapter 87 can have a kernel that reads a group once.

// %%
//| export nn/more_norm.h
// Normalizes each of `num_groups` groups of channels of each example of (N, C, ...), then applies weight and bias (C), if given. Wu and He, 2018.
Tensor group_norm(const Tensor& input, std::int64_t num_groups, const std::optional<Tensor>& weight = {}, const std::optional<Tensor>& bias = {}, double eps = 1e-5,
                  bool cudnn_enabled = true);
// Normalizes each channel of each example of (N, C, ...), by its own statistics (use_input_stats) or the running ones, then applies weight and bias (C), if given. Ulyanov et al., 2016.
Tensor instance_norm(const Tensor& input, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const std::optional<Tensor>& running_mean,
                     const std::optional<Tensor>& running_var, bool use_input_stats, double momentum, double eps, bool cudnn_enabled = true);

namespace op {
// group_norm() of an input that has elements: the input, the number of groups, weight and bias (C) or nothing, eps.
extern Operator<Tensor(const Tensor&, std::int64_t, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> group_norm;
}  // namespace op

// The input of group_norm() with mean and deviation of its groups taken off, and the gradient of that input when that of the result is `grad`. By differentiable operators; `weight` may be undefined.
Tensor normalized_groups(const Tensor& input, std::int64_t num_groups, double eps);
Tensor group_norm_input_grad(const Tensor& grad, const Tensor& input, std::int64_t num_groups, const Tensor& weight, double eps);

namespace nn {

class BatchNorm1dImpl : public BatchNormImplBase<1, BatchNorm1dImpl> {
 public:
  using BatchNormImplBase<1, BatchNorm1dImpl>::BatchNormImplBase;
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(BatchNorm1d);
class BatchNorm3dImpl : public BatchNormImplBase<3, BatchNorm3dImpl> {
 public:
  using BatchNormImplBase<3, BatchNorm3dImpl>::BatchNormImplBase;
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(BatchNorm3d);

struct GroupNormOptions {
  GroupNormOptions(std::int64_t num_groups, std::int64_t num_channels) : num_groups_(num_groups), num_channels_(num_channels) {}
  TORCH_ARG(std::int64_t, num_groups);
  TORCH_ARG(std::int64_t, num_channels);
  TORCH_ARG(double, eps) = 1e-5;
  TORCH_ARG(bool, affine) = true;
};

class GroupNormImpl : public Cloneable<GroupNormImpl> {
 public:
  GroupNormImpl(std::int64_t num_groups, std::int64_t num_channels);
  explicit GroupNormImpl(const GroupNormOptions& options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return group_norm(input, options.num_groups(), weight, bias, options.eps()); }

  GroupNormOptions options;
  Tensor weight, bias;  // (num_channels), or undefined
};
TORCH_MODULE(GroupNorm);

struct InstanceNormOptions {
  InstanceNormOptions(std::int64_t num_features) : num_features_(num_features) {}
  TORCH_ARG(std::int64_t, num_features);
  TORCH_ARG(double, eps) = 1e-5;
  TORCH_ARG(double, momentum) = 0.1;
  TORCH_ARG(bool, affine) = false;
  TORCH_ARG(bool, track_running_stats) = false;
};
using InstanceNorm1dOptions = InstanceNormOptions;
using InstanceNorm2dOptions = InstanceNormOptions;
using InstanceNorm3dOptions = InstanceNormOptions;

// instance_norm() with parameters and running averages like a batch norm's, both off by default. One example (C, ...) is taken as a batch of one.
template <std::size_t D, class Derived>
class InstanceNormImpl : public BatchNormImplBase<D, Derived> {
 public:
  explicit InstanceNormImpl(const InstanceNormOptions& options_)
      : BatchNormImplBase<D, Derived>(BatchNormOptions(options_.num_features())
                                          .eps(options_.eps())
                                          .momentum(options_.momentum())
                                          .affine(options_.affine())
                                          .track_running_stats(options_.track_running_stats())) {}
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::InstanceNorm" << D << "d" << this->options; }
  Tensor forward(const Tensor& input) {
    const std::int64_t dims = static_cast<std::int64_t>(D) + 2;
    TORCH_CHECK(input.dim() == dims || input.dim() == dims - 1, "expected ", dims - 1, "D or ", dims, "D input (got ", input.dim(), "D input)");
    const Tensor batch = input.dim() == dims ? input : input.unsqueeze(0);
    const Tensor result = instance_norm(batch, this->weight, this->bias, this->running_mean, this->running_var, this->is_training() || !this->options.track_running_stats(),
                                        *this->options.momentum(), this->options.eps());
    return input.dim() == dims ? result : result.select(0, 0);
  }
};
class InstanceNorm1dImpl : public InstanceNormImpl<1, InstanceNorm1dImpl> {
 public:
  using InstanceNormImpl<1, InstanceNorm1dImpl>::InstanceNormImpl;
};
TORCH_MODULE(InstanceNorm1d);
class InstanceNorm2dImpl : public InstanceNormImpl<2, InstanceNorm2dImpl> {
 public:
  using InstanceNormImpl<2, InstanceNorm2dImpl>::InstanceNormImpl;
};
TORCH_MODULE(InstanceNorm2d);
class InstanceNorm3dImpl : public InstanceNormImpl<3, InstanceNorm3dImpl> {
 public:
  using InstanceNormImpl<3, InstanceNorm3dImpl>::InstanceNormImpl;
};
TORCH_MODULE(InstanceNorm3d);

namespace functional {
struct GroupNormFuncOptions {
  GroupNormFuncOptions(std::int64_t num_groups) : num_groups_(num_groups) {}
  TORCH_ARG(std::int64_t, num_groups);
  TORCH_ARG(Tensor, weight) = Tensor();
  TORCH_ARG(Tensor, bias) = Tensor();
  TORCH_ARG(double, eps) = 1e-5;
};
inline Tensor group_norm(const Tensor& input, const GroupNormFuncOptions& options) {
  return tinytorch::group_norm(input, options.num_groups(), options.weight(), options.bias(), options.eps());
}
struct InstanceNormFuncOptions {
  TORCH_ARG(Tensor, running_mean) = Tensor();
  TORCH_ARG(Tensor, running_var) = Tensor();
  TORCH_ARG(Tensor, weight) = Tensor();
  TORCH_ARG(Tensor, bias) = Tensor();
  TORCH_ARG(bool, use_input_stats) = true;
  TORCH_ARG(double, momentum) = 0.1;
  TORCH_ARG(double, eps) = 1e-5;
};
Tensor instance_norm(const Tensor& input, const InstanceNormFuncOptions& options = {});
}  // namespace functional

}  // namespace nn

// %%
//| export nn/more_norm.cpp
Tensor nn::BatchNorm1dImpl::forward(const Tensor& input) { return forward_batch_norm(*this, input); }
Tensor nn::BatchNorm3dImpl::forward(const Tensor& input) { return forward_batch_norm(*this, input); }

Tensor nn::functional::instance_norm(const Tensor& input, const InstanceNormFuncOptions& options) {
  return tinytorch::instance_norm(input, options.weight(), options.bias(), options.running_mean(), options.running_var(), options.use_input_stats(), options.momentum(), options.eps());
}

nn::GroupNormImpl::GroupNormImpl(std::int64_t num_groups, std::int64_t num_channels) : GroupNormImpl(GroupNormOptions(num_groups, num_channels)) {}
nn::GroupNormImpl::GroupNormImpl(const GroupNormOptions& options_) : options(options_) { GroupNormImpl::reset(); }

namespace {
std::optional<Tensor> present(const std::optional<Tensor>& tensor) { return tensor && tensor->defined() ? tensor : std::nullopt; }

// x * weight + bias, one number for each channel of (N, C, ...).
Tensor scaled(Tensor x, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias) {
  if (weight && bias && weight->scalar_type() == x.scalar_type() && bias->scalar_type() == x.scalar_type()) return op::channel_affine(x, *weight, *bias);
  if (weight) x = x * per_channel(*weight, x);
  if (bias) x = x + per_channel(*bias, x);
  return x;
}

// (N, C, ...) as one example with a channel for each group.
Tensor as_groups(const Tensor& input, std::int64_t num_groups) { return input.reshape({1, input.size(0) * num_groups, -1}); }

Tensor group_norm_cpu(const Tensor& input, std::int64_t num_groups, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  return scaled(std::get<0>(op::batch_norm(as_groups(input, num_groups), {}, {}, eps)).view(input.sizes()), weight, bias);
}
}  // namespace

Tensor normalized_groups(const Tensor& input, std::int64_t num_groups, double eps) { return normalized_channels(as_groups(input, num_groups), eps).view(input.sizes()); }

Tensor group_norm_input_grad(const Tensor& grad, const Tensor& input, std::int64_t num_groups, const Tensor& weight, double eps) {
  const Tensor h = weight.defined() ? grad * per_channel(weight, input) : grad;
  return batch_norm_input_grad(as_groups(h, num_groups), as_groups(input, num_groups), Tensor(), eps).view(input.sizes());
}

constinit Operator<Tensor(const Tensor&, std::int64_t, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> op::group_norm(
    "group_norm", {.cpu = group_norm_cpu,
                   .autograd = gradient_of<op::group_norm>(
                       [](const Tensor& g, Input<0> input, Arg<1, std::int64_t> groups, Input<2> weight, Arg<4, double> eps) { return group_norm_input_grad(g, input, groups.value, weight, eps.value); },
                       [](const Tensor& g, Input<0> input, Arg<1, std::int64_t> groups, Arg<4, double> eps) { return (g * normalized_groups(input, groups.value, eps.value)).sum(all_but_channels(g)); },
                       [](const Tensor& g) { return g.sum(all_but_channels(g)); })});

Tensor group_norm(const Tensor& input, std::int64_t num_groups, const std::optional<Tensor>& weight_or_none, const std::optional<Tensor>& bias_or_none, double eps, bool) {
  const auto weight = present(weight_or_none), bias = present(bias_or_none);
  TORCH_CHECK(input.dim() >= 2, "Expected at least 2 dimensions for input tensor but received ", input.dim());
  const std::int64_t channels = input.size(1);
  TORCH_CHECK(num_groups > 0, "Expected num groups to be greater than 0, got ", num_groups);
  TORCH_CHECK(channels % num_groups == 0, "Expected number of channels in input to be divisible by num_groups, but got input of shape ", input.sizes(), " and num_groups=", num_groups);
  TORCH_CHECK(!weight || (weight->dim() == 1 && weight->numel() == channels),
              "Expected weight to be a vector of size equal to the number of channels in input, but got weight of shape ", weight ? weight->sizes() : IntArrayRef(),
              " and input of shape ", input.sizes());
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->numel() == channels),
              "Expected bias to be a vector of size equal to the number of channels in input, but got bias of shape ", bias ? bias->sizes() : IntArrayRef(),
              " and input of shape ", input.sizes());
  if (input.numel() == 0) return scaled(input.clone(), weight, bias);
  return in_format_of(input, op::group_norm(input, num_groups, weight, bias, eps));
}

Tensor instance_norm(const Tensor& input, const std::optional<Tensor>& weight_or_none, const std::optional<Tensor>& bias_or_none, const std::optional<Tensor>& mean_or_none,
                     const std::optional<Tensor>& var_or_none, bool use_input_stats, double momentum, double eps, bool) {
  const auto weight = present(weight_or_none), bias = present(bias_or_none), running_mean = present(mean_or_none), running_var = present(var_or_none);
  TORCH_CHECK(use_input_stats || (running_mean && running_var), "Expected running_mean and running_var to be defined when use_input_stats is false");
  TORCH_CHECK(input.dim() >= 3, "instance_norm needs an input of at least three dimensions, (N, C, ...), but got ", input.sizes());
  const std::int64_t N = input.size(0), C = input.size(1);
  TORCH_CHECK_VALUE(!use_input_stats || volume(spatial_sizes(input.sizes())) > 1, "Expected more than 1 spatial element when training, got input size ", input.sizes());
  if (use_input_stats && !running_mean && !running_var && input.numel() > 0) return group_norm(input, C, weight, bias, eps);  // each channel is a group
  DimVector sizes(input.sizes());
  sizes[0] = 1;
  sizes[1] = N * C;
  // Each example's channels move averages of their own, whose means are the new ones.
  const auto repeated = [&](const std::optional<Tensor>& vector) { return vector ? std::optional<Tensor>(repeat(*vector, {N})) : std::nullopt; };
  const std::optional<Tensor> means = repeated(running_mean), variances = repeated(running_var);
  const Tensor result = batch_norm(input.reshape(sizes), {}, {}, means, variances, use_input_stats, momentum, eps);
  if (means && variances && use_input_stats) {
    const NoGradGuard no_grad;
    running_mean->copy_(means->view({N, C}).mean({0}));
    running_var->copy_(variances->view({N, C}).mean({0}));
  }
  return scaled(result.view(input.sizes()), weight, bias);
}

void nn::GroupNormImpl::reset() {
  weight = register_parameter("weight", options.affine() ? empty({options.num_channels()}) : Tensor(), options.affine());
  bias = register_parameter("bias", options.affine() ? empty({options.num_channels()}) : Tensor(), options.affine());
  reset_parameters();
}

void nn::GroupNormImpl::reset_parameters() {
  if (!options.affine()) return;
  const NoGradGuard no_grad;
  weight.fill_(1);
  bias.zero_();
}

void nn::GroupNormImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::GroupNorm(" << options.num_groups() << ", " << options.num_channels() << ", eps=" << options.eps() << ", affine=" << (options.affine() ? "true" : "false")
         << ')';
}

// %%
TEST_CASE("norms within an example") {
  manual_seed(3);
  const Tensor x = randn({2, 4, 3, 3}, kDouble) * 2 + 1;
  const Tensor grouped = group_norm(x, 2);
  CHECK_CLOSE(grouped.view({2, 2, -1}).mean({2}), zeros({2, 2}, kDouble), 0.0, 1e-12);
  CHECK_CLOSE(grouped.view({2, 2, -1}).var({2}, false), ones({2, 2}, kDouble), 1e-4, 0.0);
  CHECK_CLOSE(group_norm(x.narrow(0, 1, 1), 2)[0], grouped[1]);  // other examples do not matter
  CHECK_CLOSE(group_norm(x, 4), instance_norm(x, {}, {}, {}, {}, true, 0.1, 1e-5));
  CHECK_ERROR(group_norm(x, 3), "Expected number of channels in input to be divisible by num_groups, but got input of shape [2, 4, 3, 3] and num_groups=3");
  CHECK_ERROR(nn::GroupNorm(3, 4)(x.to(kFloat)), "Expected number of channels in input to be divisible by num_groups");  // not before it is called
  nn::GroupNorm layer(2, 4);
  CHECK_CLOSE(layer(x.to(kFloat)).detach(), grouped.to(kFloat), 1e-4, 1e-5);
  CHECK_EQ(printed(layer), "torch::nn::GroupNorm(2, 4, eps=1e-05, affine=true)");

  nn::InstanceNorm2d instance(nn::InstanceNorm2dOptions(4).track_running_stats(true).affine(true));
  const Tensor y = instance(x.to(kFloat)).detach();
  CHECK_CLOSE(instance->running_mean, x.to(kFloat).mean({0, 2, 3}) * 0.1, 1e-4, 1e-6);
  CHECK_CLOSE(instance(x[1].to(kFloat)).detach(), y[1], 1e-4, 1e-5);
  instance->eval();
  CHECK(!instance(x.to(kFloat)).detach().allclose(y));
  CHECK_EQ(printed(nn::InstanceNorm1d(3)), "torch::nn::InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=false, track_running_stats=false)");
  CHECK_ERROR(nn::InstanceNorm2d(4)(ones({4})), "expected 3D or 4D input (got 1D input)");
}

// %%
TEST_CASE("BatchNorm1d and BatchNorm3d") {
  manual_seed(4);
  const Tensor x = randn({5, 3, 2, 2, 2});
  nn::BatchNorm3d volumes(3);
  nn::BatchNorm1d rows(3);
  CHECK_CLOSE(volumes(x).detach().flatten(2), rows(x.flatten(2)).detach());
  CHECK_CLOSE(volumes->running_var, rows->running_var);
  CHECK_CLOSE(rows(randn({6, 3})).detach().mean({0}), zeros({3}), 0.0, 1e-6);
  CHECK_ERROR(rows(x), "expected 2D or 3D input (got 5D input)");
  CHECK_EQ(printed(rows), "torch::nn::BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=true, track_running_stats=true)");
}

// %% [markdown]
// ## Images in half precision
//
// The operators behind all of this are those of module 09, and chapter 83 gives an operator a layer that widens its operands to float and rounds the result once. For batch norm that would be one rounding too many: mean and variance of
// a channel leave the operator for the running averages, which are often kept in float beside an image in half precision, and for the gradient. So they stay float, and only the image is rounded, to the dtype that it came in.
//
// PyTorch hands these convolutions to oneDNN, which adds up in float as well; its results differ from these in the last bit here and there, since the sums are taken in another order.

// %%
//| export nn/half_images.cpp
namespace {
std::tuple<Tensor, Tensor, Tensor> batch_norm_in_float(const Tensor& input, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const auto [result, mean, variance] = op::batch_norm(detail::widened(input, {}), detail::widened(weight, {}), detail::widened(bias, {}), eps);
  return {to_dtype(result, input.scalar_type()), mean, variance};
}
}  // namespace

// %%
//| export nn/half_images.cpp
//| registers
void register_half_images() {
  compute_in_float<op::convolution, op::convolution_input, op::convolution_weight, op::im2col, op::col2im, op::max_pool2d_with_indices, op::window_means, op::window_means_backward, op::_adaptive_avg_pool2d, op::_adaptive_avg_pool2d_backward>();
  op::batch_norm.set(Layer::HalfPrecision, batch_norm_in_float);
}

// %%
TEST_CASE("half precision: a small network reads an image and learns from it") {
  manual_seed(5);
  nn::Conv2d conv(1, 2, 3);
  nn::BatchNorm2d norm(2);
  const auto forward = [&](const Tensor& x) { return max_pool2d(norm(conv(x)), 2); };
  const Tensor image = randn({2, 1, 6, 6});
  const Tensor in_float = forward(image);
  const std::vector<Tensor> gradients = autograd::grad({in_float.square().sum()}, {conv->weight, norm->weight});
  const Tensor variance = norm->running_var.clone();
  for (const ScalarType type : {kHalf, kBFloat16}) {
    CAPTURE(toString(type));
    const double digit = type == kHalf ? 0.002 : 0.016;  // two roundings
    conv->to(type);
    norm->to(type);
    norm->running_mean.zero_();
    norm->running_var.fill_(1);
    const Tensor y = forward(image.to(type));
    CHECK_EQ(y.scalar_type(), type);
    CHECK_CLOSE(y.detach().to(kFloat), in_float.detach(), digit, 4 * digit);
    CHECK_CLOSE(norm->running_var.to(kFloat), variance, digit, digit);
    const std::vector<Tensor> rounded = autograd::grad({y.square().sum()}, {conv->weight, norm->weight});
    CHECK_EQ(rounded[0].scalar_type(), type);
    CHECK_CLOSE(rounded[1].to(kFloat), gradients[1], 4 * digit, 40 * digit);
    conv->to(kFloat);
    norm->to(kFloat);
  }
  // Beside an image in half precision, batch norm's own numbers may stay float.
  const Tensor kept = batch_norm(image.to(kHalf), ones({1}), zeros({1}), {}, {}, true, 0.1, 1e-5);
  CHECK_EQ(kept.scalar_type(), kHalf);
  CHECK_CLOSE(kept.to(kFloat), batch_norm(image, {}, {}, {}, {}, true, 0.1, 1e-5), 0.002, 0.002);
  const Tensor evaluated = batch_norm(image.to(kHalf), {}, {}, tensor({0.5}), tensor({2.0}), false, 0.1, 1e-5);
  CHECK_EQ(evaluated.scalar_type(), kHalf);
  CHECK_CLOSE(evaluated.to(kFloat), (image - 0.5) / std::sqrt(2.0), 0.002, 0.002);
}

// %%
}  // namespace tinytorch
