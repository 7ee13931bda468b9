// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/fold.h"

#include <ostream>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/windows.h"

namespace tinytorch {

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

}  // namespace tinytorch
