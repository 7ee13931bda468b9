// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/conv.h"

#include <algorithm>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/windows.h"

namespace tinytorch {

namespace {
struct ConvShape {
  ConvShape(IntArrayRef input, IntArrayRef weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups)
      : grid{spatial_sizes(weight), stride, padding, dilation},
        places(places_of(grid, spatial_sizes(input))),
        G(groups),
        N(input[0]),
        M(weight[0] / groups),
        K(weight[1] * volume(grid.kernel)),
        L(volume(places)) {}

  // (N, O, places...)
  DimVector output_sizes() const {
    DimVector sizes{N, G * M};
    for (const std::int64_t size : places) sizes.push_back(size);
    return sizes;
  }

  WindowGrid grid;
  DimVector places;
  std::int64_t G, N, M, K, L;
};
}  // namespace

// The convolution of input (N, C, spatial...) with weight (O, C / groups, kernel...): (N, O, places...). REQUIRES: sizes that fit, one dtype; the caller has checked. Makes the columns
// of one image only.
Tensor convolution_cpu(const Tensor& input, const Tensor& weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ConvShape shape(input.sizes(), weight.sizes(), stride, padding, dilation, groups);
  const auto& [grid, places, G, N, M, K, L] = shape;
  const Tensor image = surrounded(input, padding);
  const Tensor kernels = weight.reshape({G, M, K});
  const Tensor columns = empty({G, K, L}, input.scalar_type());
  const Tensor result = empty({N, G, M, L}, input.scalar_type());
  for (std::int64_t n = 0; n < N; ++n) {
    copy_windows(columns.view({G * K, L}), image.select(0, n), grid);
    for (std::int64_t g = 0; g < G; ++g) copy_into(result.select(0, n).select(0, g), kernels.select(0, g).mm(columns.select(0, g)));
  }
  return result.view(shape.output_sizes());
}

// The gradient of a convolution with respect to its input, of sizes `input_sizes`, when that of its result is `grad` (N, O, places...). REQUIRES as for convolution_cpu.
Tensor convolution_input_cpu(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                             std::int64_t groups) {
  const auto [grid, places, G, N, M, K, L] = ConvShape(input_sizes, weight.sizes(), stride, padding, dilation, groups);
  const Tensor kernels = weight.reshape({G, M, K});
  const Tensor gradient = grad.reshape({N, G, M, L});
  const Tensor columns = empty({G, K, L}, grad.scalar_type());
  const Tensor result = surrounded(zeros(input_sizes, grad.scalar_type()), padding);
  for (std::int64_t n = 0; n < N; ++n) {
    for (std::int64_t g = 0; g < G; ++g) copy_into(columns.select(0, g), kernels.select(0, g).t().mm(gradient.select(0, n).select(0, g)));
    add_windows(result.select(0, n), columns.view({G * K, L}), grid);
  }
  return inside(result, padding).contiguous();
}

// The gradient of a convolution with respect to its weight, of sizes `weight_sizes`, when that of its result is `grad` (N, O, places...). REQUIRES as for convolution_cpu.
Tensor convolution_weight_cpu(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                              std::int64_t groups) {
  const auto [grid, places, G, N, M, K, L] = ConvShape(input.sizes(), weight_sizes, stride, padding, dilation, groups);
  const Tensor image = surrounded(input, padding);
  const Tensor gradient = grad.reshape({N, G, M, L});
  const Tensor columns = empty({G, K, L}, input.scalar_type());
  const Tensor sum = zeros({G, K, M}, input.scalar_type());
  for (std::int64_t n = 0; n < N; ++n) {
    copy_windows(columns.view({G * K, L}), image.select(0, n), grid);
    for (std::int64_t g = 0; g < G; ++g) sum.select(0, g).add_(columns.select(0, g).mm(gradient.select(0, n).select(0, g).t()));
  }
  return sum.transpose(1, 2).reshape(weight_sizes);
}

namespace {
// The bias (O) beside (N, O, places...): as (O, 1, 1, ...).
Tensor beside_channels(const Tensor& bias, std::size_t spatial) {
  DimVector sizes{bias.size(0)};
  sizes.resize(1 + spatial, 1);
  return bias.view(sizes);
}

// The sums, and then the bias, where they lie: nobody else has seen them.
Tensor convolution_and_bias_cpu(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const Tensor sums = convolution_cpu(input, weight, stride, padding, dilation, groups);
  return bias ? sums.add_(beside_channels(*bias, stride.size())) : sums;
}

// The gradient of the bias: `grad` (N, O, places...) summed over images and places.
Tensor sum_for_each_channel(const Tensor& grad) {
  DimVector dims{0};
  for (std::int64_t d = 2; d < grad.dim(); ++d) dims.push_back(d);
  return grad.sum(dims);
}
}  // namespace

using Dims = DimVector;  // in the lists below, which are long
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> op::convolution(
    "convolution",
    {.cpu = Kernel<convolution_and_bias_cpu>::call,
     .autograd = gradient_of<op::convolution>(
         [](const Tensor& g, Sizes<0> sizes, Input<1> weight, Arg<3, Dims> stride, Arg<4, Dims> padding, Arg<5, Dims> dilation, Arg<6, std::int64_t> groups) {
           return op::convolution_input(g, weight, sizes, stride.value, padding.value, dilation.value, groups);
         },
         [](const Tensor& g, Input<0> input, Sizes<1> sizes, Arg<3, Dims> stride, Arg<4, Dims> padding, Arg<5, Dims> dilation, Arg<6, std::int64_t> groups) {
           return op::convolution_weight(input, g, sizes, stride.value, padding.value, dilation.value, groups);
         },
         [](const Tensor& g) { return sum_for_each_channel(g); })});
constinit Operator<Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> op::convolution_input(
    "convolution_input",
    {.cpu = Kernel<convolution_input_cpu>::call,
     .autograd = gradient_of<op::convolution_input>(
         [](const Tensor& g, Input<1> weight, Arg<3, Dims> stride, Arg<4, Dims> padding, Arg<5, Dims> dilation, Arg<6, std::int64_t> groups) {
           return op::convolution(g, weight, {}, stride.value, padding.value, dilation.value, groups);
         },
         [](const Tensor& g, Input<0> grad, Sizes<1> sizes, Arg<3, Dims> stride, Arg<4, Dims> padding, Arg<5, Dims> dilation, Arg<6, std::int64_t> groups) {
           return op::convolution_weight(g, grad, sizes, stride.value, padding.value, dilation.value, groups);
         })});
constinit Operator<Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> op::convolution_weight(
    "convolution_weight",
    {.cpu = Kernel<convolution_weight_cpu>::call,
     .autograd = gradient_of<op::convolution_weight>(
         [](const Tensor& g, Sizes<0> sizes, Input<1> grad, Arg<3, Dims> stride, Arg<4, Dims> padding, Arg<5, Dims> dilation, Arg<6, std::int64_t> groups) {
           return op::convolution_input(grad, g, sizes, stride.value, padding.value, dilation.value, groups);
         },
         [](const Tensor& g, Input<0> input, Arg<3, Dims> stride, Arg<4, Dims> padding, Arg<5, Dims> dilation, Arg<6, std::int64_t> groups) {
           return op::convolution(input, g, {}, stride.value, padding.value, dilation.value, groups);
         })});

Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias_or_none, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                   bool transposed, IntArrayRef output_padding, std::int64_t groups) {
  TORCH_CHECK(weight.dim() > 2, "weight should have at least three dimensions");
  const std::size_t dims = spatial_sizes(weight.sizes()).size();
  const std::optional<Tensor> bias = bias_or_none && bias_or_none->defined() ? bias_or_none : std::nullopt;
  const WindowGrid grid{spatial_sizes(weight.sizes()), expanded_to("stride", stride, dims), expanded_to("padding", padding, dims), expanded_to("dilation", dilation, dims)};
  check_convolution(input, weight, bias, grid, transposed, groups);
  Tensor result;
  if (!transposed) {
    result = op::convolution(input, weight, bias, grid.stride, grid.padding, grid.dilation, groups);
  } else {
    const DimVector extra = expanded_to("output_padding", output_padding, dims);
    DimVector sizes{input.size(0), weight.size(1) * groups};
    std::vector<std::int64_t> beyond(2 * dims);  // whole strides of output padding, where no window lies: zeros
    for (std::size_t d = 0; d < dims; ++d) {
      TORCH_CHECK(extra[d] >= 0, "negative output_padding is not supported");
      TORCH_CHECK(extra[d] < std::max(grid.stride[d], grid.dilation[d]), "output padding must be smaller than either stride or dilation, but got output_padding ",
                  IntArrayRef(extra), ", stride ", IntArrayRef(grid.stride), " and dilation ", IntArrayRef(grid.dilation));
      sizes.push_back((input.sizes()[2 + d] - 1) * grid.stride[d] - 2 * grid.padding[d] + grid.dilation[d] * (grid.kernel[d] - 1) + extra[d] % grid.stride[d] + 1);
      beyond[2 * (dims - d) - 1] = extra[d] - extra[d] % grid.stride[d];
      TORCH_CHECK(sizes.back() > 0, "Given input size per channel: ", in_parentheses(spatial_sizes(input.sizes()), " x "), ". Calculated output size per channel: ", in_parentheses(spatial_sizes(sizes), " x "),
                  ". Output size is too small");
    }
    result = op::convolution_input(input, weight, sizes, grid.stride, grid.padding, grid.dilation, groups);
    if (*std::max_element(beyond.begin(), beyond.end()) > 0) result = nn::detail::pad_with(result, beyond, kConstant);
  }
  result = in_format_of(weight, in_format_of(input, result));
  return bias && transposed ? result.add_(beside_channels(*bias, dims)) : result;  // where the sums lie: nobody else has seen them
}

namespace {
// `input` with a batch dimension, for functions that also take one image.
Tensor as_batch(const char* name, const Tensor& input, std::int64_t dims) {
  TORCH_CHECK(input.dim() == dims + 1 || input.dim() == dims + 2, "Expected ", dims + 1, "D (unbatched) or ", dims + 2, "D (batched) input to ", name,
              ", but got input of size: ", input.sizes());
  return input.dim() == dims + 2 ? input : input.unsqueeze(0);
}
}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const Tensor result = convolution(as_batch("conv2d", input, 2), weight, bias, stride, padding, dilation, false, 0, groups);
  return input.dim() == 4 ? result : result.squeeze(0);
}

Tensor conv2d_named_padding(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, std::string_view padding, IntArrayRef dilation,
                            std::int64_t groups) {
  const bool images = weight.dim() == 4 && (input.dim() == 3 || input.dim() == 4);
  if (padding == "valid" || !images) return conv2d(input, weight, bias, stride, 0, dilation, groups);  // which says what is wrong with other shapes
  TORCH_CHECK(padding == "same", "Invalid padding string: '", padding, "'\n[conv2d] it is \"same\", \"valid\" or a number.");
  for (const std::int64_t s : stride) TORCH_CHECK(s == 1, "padding='same' is not supported for strided convolutions");
  const std::vector<std::int64_t> amounts = nn::detail::same_padding(spatial_sizes(weight.sizes()), expanded_to("dilation", dilation, 2));
  return conv2d(nn::detail::pad_with(input, amounts, kConstant), weight, bias, 1, 0, dilation, groups);
}

nn::Conv2dImpl::Conv2dImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<2> kernel_size) : Conv2dImpl(Conv2dOptions(in_channels, out_channels, kernel_size)) {}
nn::Conv2dImpl::Conv2dImpl(const Conv2dOptions& options_) : ConvNdImpl(options_) {}

Tensor nn::Conv2dImpl::forward(const Tensor& input) {
  const Tensor result = detail::convolve(as_batch("conv2d", input, 2), weight, bias, options);
  return input.dim() == 4 ? result : result.squeeze(0);
}

Tensor nn::functional::conv2d(const Tensor& input, const Tensor& weight, const Conv2dFuncOptions& options) {
  if (std::holds_alternative<enumtype::kSame>(options.padding()))
    return tinytorch::conv2d(input, weight, options.bias(), options.stride(), "same", options.dilation(), options.groups());
  return tinytorch::conv2d(input, weight, options.bias(), options.stride(), detail::padding_numbers(options.padding()), options.dilation(), options.groups());
}

}  // namespace tinytorch
