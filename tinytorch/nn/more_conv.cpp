// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_conv.h"

#include <ostream>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/image_checks.h"

namespace tinytorch {

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

DimVector nn::detail::output_padding_for(IntArrayRef wanted, IntArrayRef least, IntArrayRef stride) {
  TORCH_CHECK(wanted.size() == least.size(), "output_size must have ", least.size(), " or ", least.size() + 2, " elements (got ", wanted.size(), ")");
  DimVector extra;
  for (std::size_t d = 0; d < least.size(); ++d) {
    TORCH_CHECK(wanted[d] >= least[d] && wanted[d] < least[d] + stride[d], "requested an output size of ", wanted, ", but valid sizes range from ", least, " to ",
                in_parentheses(least), " + stride - 1");
    extra.push_back(wanted[d] - least[d]);
  }
  return extra;
}

}  // namespace tinytorch
