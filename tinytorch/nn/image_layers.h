// From the lesson modules/81_image_options/image_options_dev.cpp:
// edit the module, not this file.
#pragma once

#include <vector>

#include "tinytorch/core/autograd.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/image_options.h"
#include "tinytorch/nn/init.h"

namespace tinytorch {

namespace nn {

// What Conv1d, Conv2d and Conv3d have in common. The weight is (out, in / groups, kernel...), born uniform on [-1/sqrt(fan_in), 1/sqrt(fan_in)] as the bias.
// Source: torch/csrc/api/include/torch/nn/modules/conv.h.
template <std::size_t D, class Derived>
class ConvNdImpl : public Cloneable<Derived> {
 public:
  explicit ConvNdImpl(const ConvOptions<D>& options_) : options(options_) { ConvNdImpl::reset(); }
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  ConvOptions<D> options;
  Tensor weight;
  Tensor bias;  // (out), or undefined
};

// Fills a new weight and bias, in this order. `fan_in` is what feeds one output element.
void init_convolution(Tensor& weight, Tensor& bias, std::int64_t fan_in);

}  // namespace nn

template <std::size_t D, class Derived>
void nn::ConvNdImpl<D, Derived>::reset() {
  TORCH_CHECK(options.in_channels() > 0 && options.groups() > 0 && options.out_channels() > 0, "in_channels, groups and out_channels must be a positive integer.");
  TORCH_CHECK(options.in_channels() % options.groups() == 0, "in_channels must be divisible by groups");
  TORCH_CHECK(options.out_channels() % options.groups() == 0, "out_channels must be divisible by groups");
  if (std::holds_alternative<enumtype::kSame>(options.padding()))
    for (const std::int64_t stride : *options.stride()) TORCH_CHECK(stride == 1, "padding='same' is not supported for strided convolutions");
  DimVector sizes{options.out_channels(), options.in_channels() / options.groups()};
  for (const std::int64_t size : *options.kernel_size()) sizes.push_back(size);
  weight = this->register_parameter("weight", empty(sizes));
  bias = this->register_parameter("bias", options.bias() ? empty({options.out_channels()}) : Tensor(), options.bias());
  reset_parameters();
}

template <std::size_t D, class Derived>
void nn::ConvNdImpl<D, Derived>::reset_parameters() {
  init_convolution(weight, bias, std::get<0>(init::_calculate_fan_in_and_fan_out(weight)));
}

template <std::size_t D, class Derived>
void nn::ConvNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Conv" << D << "d(" << options.in_channels() << ", " << options.out_channels() << ", kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride();
  if (std::holds_alternative<enumtype::kValid>(options.padding())) stream << ", padding='valid'";
  else if (std::holds_alternative<enumtype::kSame>(options.padding())) stream << ", padding='same'";
  else if (*std::get<0>(options.padding()) != *ExpandingArray<D>(0)) stream << ", padding=" << std::get<0>(options.padding());
  if (*options.dilation() != *ExpandingArray<D>(1)) stream << ", dilation=" << options.dilation();
  if (options.groups() != 1) stream << ", groups=" << options.groups();
  if (!options.bias()) stream << ", bias=false";
  if (!std::holds_alternative<enumtype::kZeros>(options.padding_mode())) stream << ", padding_mode=" << detail::name_of(options.padding_mode());
  stream << ')';
}

namespace nn {

// What BatchNorm1d, 2d and 3d have in common. Source: torch/csrc/api/include/torch/nn/modules/batchnorm.h.
template <std::size_t D, class Derived>
class BatchNormImplBase : public Cloneable<Derived> {
 public:
  explicit BatchNormImplBase(const BatchNormOptions& options_) : options(options_) { BatchNormImplBase::reset(); }
  void reset() override;
  void reset_running_stats();
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::BatchNorm" << D << "d" << options; }

  BatchNormOptions options;
  Tensor weight, bias;               // (C), or undefined without affine
  Tensor running_mean, running_var;  // (C), or undefined without track_running_stats
  Tensor num_batches_tracked;        // 0-d, Long
};

}  // namespace nn

template <std::size_t D, class Derived>
void nn::BatchNormImplBase<D, Derived>::reset() {
  const std::int64_t features = options.num_features();
  weight = this->register_parameter("weight", options.affine() ? empty({features}) : Tensor(), options.affine());
  bias = this->register_parameter("bias", options.affine() ? empty({features}) : Tensor(), options.affine());
  const bool tracks = options.track_running_stats();
  running_mean = this->register_buffer("running_mean", tracks ? empty({features}) : Tensor());
  running_var = this->register_buffer("running_var", tracks ? empty({features}) : Tensor());
  num_batches_tracked = this->register_buffer("num_batches_tracked", tracks ? zeros({}, kLong) : Tensor());
  reset_running_stats();
  reset_parameters();
}

template <std::size_t D, class Derived>
void nn::BatchNormImplBase<D, Derived>::reset_running_stats() {
  if (!options.track_running_stats()) return;
  running_mean.zero_();
  running_var.fill_(1);
  num_batches_tracked.zero_();
}

template <std::size_t D, class Derived>
void nn::BatchNormImplBase<D, Derived>::reset_parameters() {
  if (!options.affine()) return;
  const NoGradGuard no_grad;
  weight.fill_(1);
  bias.zero_();
}

namespace nn::detail {
// The amounts that functional::pad needs so that a convolution of stride 1 keeps the size: for each dimension, the last one first, what goes in front and behind.
std::vector<std::int64_t> same_padding(IntArrayRef kernel, IntArrayRef dilation);
// The same for equal amounts on both sides.
std::vector<std::int64_t> both_sides(IntArrayRef padding);
// Puts a convolution layer's padding of another kind than zeros around `input`.
Tensor pad_with(const Tensor& input, const std::vector<std::int64_t>& amounts, const functional::PadFuncOptions::mode_t& mode);
}  // namespace nn::detail

}  // namespace tinytorch
