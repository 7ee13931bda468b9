// From the lesson modules/81_image_options/image_options_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>

#include "tinytorch/core/ops.h"

namespace tinytorch {

// Where windows lie over an image: `kernel` elements, `dilation` apart, a new window every `stride`, over `padding` zeros on each side. One number for each
// spatial dimension.
struct WindowGrid {
  DimVector kernel, stride, padding, dilation;
};

// The product of the sizes.
std::int64_t volume(IntArrayRef sizes);
// The sizes behind the first two, which are batch and channels.
IntArrayRef spatial_sizes(IntArrayRef sizes);

// `values` as one number for each of `dims` dimensions: those given, or the only one for all. Throws unless there are 1 or `dims`; `name` says what they are.
DimVector expanded_to(const char* name, IntArrayRef values, std::size_t dims);
// "(3, 4)"
std::string in_parentheses(IntArrayRef values, const char* separator = ", ");
// Throws unless a convolution of these (N, C, spatial...), (O, C / groups, kernel...) and (O) is possible. grid.kernel is the weight's.
void check_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, const WindowGrid& grid, bool transposed, std::int64_t groups);

// For pooling over (N, C, H, W) or (C, H, W): one number or two as two; `if_none` when there is none and that is allowed.
DimVector pool_pair(const char* function, const char* name, IntArrayRef values, IntArrayRef if_none = {});
// Throws unless input and window make sense.
void check_pooling(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation);

}  // namespace tinytorch
