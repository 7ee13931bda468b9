// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/image_layers.h"

namespace tinytorch {

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

}  // namespace tinytorch
