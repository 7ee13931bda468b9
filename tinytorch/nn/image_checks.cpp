// From the lesson modules/81_image_options/image_options_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/image_checks.h"

#include <algorithm>
#include <sstream>

namespace tinytorch {

std::int64_t volume(IntArrayRef sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) product *= size;
  return product;
}

IntArrayRef spatial_sizes(IntArrayRef sizes) { return {sizes.data() + 2, sizes.size() - 2}; }

std::string in_parentheses(IntArrayRef values, const char* separator) {
  std::ostringstream text;
  for (std::size_t i = 0; i < values.size(); ++i) text << (i == 0 ? "(" : separator) << values[i];
  return text.str() + ")";
}

DimVector expanded_to(const char* name, IntArrayRef values, std::size_t dims) {
  TORCH_CHECK(values.size() == 1 || values.size() == dims, "expected ", name, " to be a single integer value or a list of ", dims,
              " values to match the convolution dimensions, but got ", name, "=", values);
  return values.size() == 1 ? DimVector(dims, values[0]) : DimVector(values);
}

void check_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, const WindowGrid& grid, bool transposed, std::int64_t groups) {
  const std::int64_t k = weight.dim();
  TORCH_CHECK(groups > 0, "non-positive groups is not supported");
  TORCH_CHECK(*std::min_element(grid.stride.begin(), grid.stride.end()) > 0, "non-positive stride is not supported");
  TORCH_CHECK(*std::min_element(grid.padding.begin(), grid.padding.end()) >= 0, "negative padding is not supported");
  TORCH_CHECK(*std::min_element(grid.dilation.begin(), grid.dilation.end()) > 0, "dilation should be greater than zero, but got ", IntArrayRef(grid.dilation));
  TORCH_CHECK(k == input.dim(), "Expected ", k, "-dimensional input for ", k, "-dimensional weight ", weight.sizes(), ", but got ", input.dim(),
              "-dimensional input of size ", input.sizes(), " instead");
  TORCH_CHECK(volume(grid.kernel) > 0 && weight.size(1) > 0, "the weight of a convolution must not be empty, but has sizes ", weight.sizes());
  TORCH_CHECK(weight.size(0) >= groups, "Given groups=", groups, ", expected weight to be at least ", groups, " at dimension 0, but got weight of size ", weight.sizes(),
              " instead");
  TORCH_CHECK(weight.size(0) % groups == 0, "Given groups=", groups, ", expected weight to be divisible by ", groups, " at dimension 0, but got weight of size [",
              weight.sizes(), "] instead");
  const std::int64_t channels = transposed ? weight.size(0) : weight.size(1) * groups;
  TORCH_CHECK(input.size(1) == channels, "Given ", transposed ? "transposed=1" : str("groups=", groups), ", weight of size ", weight.sizes(), ", expected input", input.sizes(),
              " to have ", channels, " channels, but got ", input.size(1),
              " channels instead\n[convolution] the weight is ", transposed ? "(in_channels, out_channels / groups, kernel...)" : "(out_channels, in_channels / groups, kernel...)",
              "; did the layer before change its number of channels?");
  const std::int64_t outputs = transposed ? weight.size(1) * groups : weight.size(0);
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == outputs), "Given ", transposed ? "transposed=1" : "weight of size", transposed ? ", weight of size " : " ", weight.sizes(),
              ", expected bias to be 1-dimensional with ", outputs, " elements, but got bias of size ", bias ? bias->sizes() : IntArrayRef(), " instead");
  TORCH_CHECK(input.scalar_type() == weight.scalar_type() && (!bias || bias->scalar_type() == input.scalar_type()), "expected scalar type ", input.scalar_type(), " but found ",
              input.scalar_type() == weight.scalar_type() ? bias->scalar_type() : weight.scalar_type(), "\n[convolution] input, weight and bias must have one dtype; convert with to().");
  if (transposed) return;
  DimVector padded(spatial_sizes(input.sizes())), covered;
  bool fits = true;
  for (std::size_t d = 0; d < padded.size(); ++d) {
    padded[d] += 2 * grid.padding[d];
    covered.push_back(grid.dilation[d] * (grid.kernel[d] - 1) + 1);
    fits = fits && covered[d] <= padded[d];
  }
  TORCH_CHECK(fits, "Calculated padded input size per channel: ", in_parentheses(padded, " x "), ". Kernel size: ", in_parentheses(covered, " x "),
              ". Kernel size can't be greater than actual input size\n[convolution] pad the input, or pool less before this layer.");
}

DimVector pool_pair(const char* function, const char* name, IntArrayRef values, IntArrayRef if_none) {
  TORCH_CHECK(values.size() == 1 || values.size() == 2 || (values.empty() && !if_none.empty()), function, ": ", name, " must either be ", if_none.empty() ? "" : "omitted, ",
              "a single int, or a tuple of two ints");
  if (values.empty()) return if_none;
  return values.size() == 2 ? DimVector(values) : DimVector(2, values[0]);
}

void check_pooling(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  TORCH_CHECK(kernel[0] > 0 && kernel[1] > 0, "kernel size should be greater than zero, but got kH: ", kernel[0], " kW: ", kernel[1]);
  TORCH_CHECK(stride[0] != 0 && stride[1] != 0, "stride should not be zero");
  TORCH_CHECK(stride[0] > 0 && stride[1] > 0, "stride should be greater than zero, but got dH: ", stride[0], " dW: ", stride[1]);
  TORCH_CHECK(dilation[0] > 0 && dilation[1] > 0, "dilation should be greater than zero, but got dilationH: ", dilation[0], " dilationW: ", dilation[1]);
  const bool dims_fit = self.dim() == 3 || self.dim() == 4;
  bool empty_dim = !dims_fit;
  for (std::int64_t d = 1; dims_fit && d <= 3; ++d) empty_dim = empty_dim || self.size(-d) == 0;
  TORCH_CHECK(!empty_dim, "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:", self.sizes());
  for (std::size_t d = 0; d < 2; ++d) {
    TORCH_CHECK(padding[d] >= 0, "pad must be non-negative, but got pad: ", padding[d]);
    TORCH_CHECK(padding[d] <= (dilation[d] * (kernel[d] - 1) + 1) / 2, "pad should be at most half of effective kernel size, but got pad=", padding[d], ", kernel_size=", kernel[d],
                " and dilation=", dilation[d]);
  }
}

}  // namespace tinytorch
