// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/pool.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/padding.h"
#include "tinytorch/nn/windows.h"

namespace tinytorch {

std::int64_t pooling_output_shape(std::int64_t size, std::int64_t kernel, std::int64_t padding, std::int64_t stride, std::int64_t dilation, bool ceil_mode) {
  const std::int64_t down = conv_output_size(size, kernel, stride, padding, dilation);
  if (!ceil_mode) return down;
  const std::int64_t free = size + 2 * padding - dilation * (kernel - 1) - 1;
  const std::int64_t up = free + stride - 1 < 0 ? 0 : (free + stride - 1) / stride + 1;
  return (up - 1) * stride >= size + padding ? up - 1 : up;  // the last window must begin inside
}

namespace {
std::tuple<Tensor, Tensor> max_pool2d_cpu(const Tensor& self, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  const Tensor planes = self.contiguous();
  DimVector sizes(self.sizes());
  const std::size_t first = sizes.size() - 2;
  const DimVector size{sizes[first], sizes[first + 1]};
  for (std::size_t d = 0; d < 2; ++d) sizes[first + d] = output[d];
  const Tensor indices = empty(sizes, kLong);
  const std::int64_t count = volume(size) == 0 ? 0 : planes.numel() / volume(size);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for (std::int64_t p = 0; p < count; ++p)
      max_pool_plane(indices.data<std::int64_t>() + p * volume(output), planes.data<T>() + p * volume(size), size, output, kernel, stride, padding, dilation);
  });
  return {planes.flatten(-2).gather(-1, indices.flatten(-2)).view(sizes), indices};
}

// The number of windows in each dimension, after all checks.
DimVector pooled_size(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  check_pooling(self, kernel, stride, padding, dilation);
  DimVector output;
  for (std::size_t d = 0; d < 2; ++d)
    output.push_back(pooling_output_shape(self.size(static_cast<std::int64_t>(d) - 2), kernel[d], padding[d], stride[d], dilation[d], ceil_mode));
  TORCH_CHECK(output[0] >= 1 && output[1] >= 1, "Given input size: (", self.size(-3), "x", self.size(-2), "x", self.size(-1), "). Calculated output size: (", self.size(-3), "x",
              output[0], "x", output[1], "). Output size is too small");
  return output;
}
}  // namespace

constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> op::max_pool2d_with_indices(
    "max_pool2d_with_indices", {.cpu = max_pool2d_cpu, .autograd = gradient_of<op::max_pool2d_with_indices>([](const Tensor& g, OutputAt<1> indices, Sizes<0> sizes) {
                                  return put_at_winners(g, indices, sizes, [](const Tensor& from, IntArrayRef to, std::int64_t dim, const Tensor& at) {
                                    return scatter_add(zeros(to, from.options()), dim, at, from);
                                  });
                                })});

std::tuple<Tensor, Tensor> max_pool2d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  const DimVector kernel = pool_pair("max_pool2d", "kernel_size", kernel_size);
  const DimVector step = pool_pair("max_pool2d", "stride", stride, kernel);
  const DimVector around = pool_pair("max_pool2d", "padding", padding);
  const DimVector apart = pool_pair("max_pool2d", "dilation", dilation);
  const DimVector output = pooled_size(self, kernel, step, around, apart, ceil_mode);
  const auto [values, indices] = op::max_pool2d_with_indices(self, output, kernel, step, around, apart);
  return {in_format_of(self, values), in_format_of(self, indices)};
}

Tensor max_pool2d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  return std::get<0>(max_pool2d_with_indices(self, kernel_size, stride, padding, dilation, ceil_mode));
}

// By how many elements each of `count` windows along a dimension is divided: those inside the image of `size` elements and, with count_include_pad, inside its padding. O(count).
std::vector<std::int64_t> window_lengths(std::int64_t count, std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, bool count_include_pad) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t begin = i * stride - padding;
    const std::int64_t end = std::min(begin + kernel, size + padding);
    lengths.push_back(count_include_pad ? end - begin : std::min(end, size) - std::max<std::int64_t>(begin, 0));
  }
  return lengths;
}

namespace {
// Each of (N, C, oH, oW) divided by the product of its row's and its column's number; int64 towards zero.
Tensor divide_windows(const Tensor& windows, IntArrayRef rows, IntArrayRef columns) {
  const Tensor counts = tensor(std::vector<std::int64_t>(rows.begin(), rows.end())).unsqueeze(1) * tensor(std::vector<std::int64_t>(columns.begin(), columns.end()));
  return div(windows, counts.to(windows.scalar_type()), windows.is_floating_point() ? std::nullopt : std::optional<std::string_view>("trunc"));
}

// How far the last windows reach behind the padded image, by ceil_mode: (rows, columns).
DimVector overhang_of(IntArrayRef size, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding) {
  DimVector overhang;
  for (std::size_t d = 0; d < 2; ++d) overhang.push_back(std::max<std::int64_t>((output[d] - 1) * stride[d] + kernel[d] - size[d] - 2 * padding[d], 0));
  return overhang;
}

Tensor window_means_cpu(const Tensor& self, IntArrayRef rows, IntArrayRef columns, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding) {
  const DimVector output{static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(columns.size())};
  const DimVector overhang = overhang_of(spatial_sizes(self.sizes()), output, kernel, stride, padding);
  const bool overhangs = overhang[0] > 0 || overhang[1] > 0;
  const Tensor image = overhangs ? nn::functional::pad(self.contiguous(), std::vector<std::int64_t>{0, overhang[1], 0, overhang[0]}) : self.contiguous();
  const Tensor unfolded = op::im2col(image, kernel, {1, 1}, padding, stride);
  const Tensor sums = unfolded.view({self.size(0), self.size(1), volume(kernel), volume(output)}).sum(2).view({self.size(0), self.size(1), output[0], output[1]});
  return divide_windows(sums, rows, columns);
}

Tensor window_means_backward_cpu(const Tensor& grad, IntArrayRef size, IntArrayRef rows, IntArrayRef columns, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding) {
  const std::int64_t N = grad.size(0), C = grad.size(1);
  const DimVector overhang = overhang_of(size, spatial_sizes(grad.sizes()), kernel, stride, padding);
  const Tensor shares = divide_windows(grad, rows, columns);
  const Tensor unfolded = shares.reshape({N, C, 1, -1}).expand({N, C, volume(kernel), -1}).reshape({N, C * volume(kernel), -1});
  return op::col2im(unfolded, {size[0] + overhang[0], size[1] + overhang[1]}, kernel, {1, 1}, padding, stride).narrow(2, 0, size[0]).narrow(3, 0, size[1]);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> op::window_means(
    "window_means", {.cpu = window_means_cpu,
                     .autograd = gradient_of<op::window_means>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> rows, Arg<2, DimVector> columns, Arg<3, DimVector> kernel, Arg<4, DimVector> stride, Arg<5, DimVector> padding) {
                       return op::window_means_backward(g, spatial_sizes(sizes), rows.value, columns.value, kernel.value, stride.value, padding.value);
                     })});
constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> op::window_means_backward(
    "window_means_backward", {.cpu = window_means_backward_cpu,
                              .autograd = gradient_of<op::window_means_backward>([](const Tensor& g, Arg<2, DimVector> rows, Arg<3, DimVector> columns, Arg<4, DimVector> kernel, Arg<5, DimVector> stride, Arg<6, DimVector> padding) {
                                return op::window_means(g, rows.value, columns.value, kernel.value, stride.value, padding.value);
                              })});

Tensor avg_pool2d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, bool ceil_mode, bool count_include_pad,
                  std::optional<std::int64_t> divisor_override) {
  const DimVector kernel = pool_pair("avg_pool2d", "kernel_size", kernel_size);
  const DimVector step = pool_pair("avg_pool2d", "stride", stride, kernel);
  const DimVector around = pool_pair("avg_pool2d", "padding", padding);
  TORCH_CHECK(!divisor_override || *divisor_override != 0, "divisor must be not zero");
  TORCH_CHECK(self.is_floating_point() || self.scalar_type() == kLong, "\"avg_pool2d\" not implemented for '", self.scalar_type(), "'\n[avg_pool2d] convert with to(kFloat) first.");
  const DimVector output = pooled_size(self, kernel, step, around, {1, 1}, ceil_mode);
  const Tensor image = self.dim() == 4 ? self : self.unsqueeze(0);
  const DimVector size = spatial_sizes(image.sizes());
  const auto lengths = [&](std::size_t d) { return window_lengths(output[d], size[d], kernel[d], step[d], around[d], count_include_pad); };
  const auto equal = [&](std::size_t d, std::int64_t number) { return std::vector<std::int64_t>(static_cast<std::size_t>(output[d]), number); };
  const Tensor result = divisor_override ? op::window_means(image, equal(0, *divisor_override), equal(1, 1), kernel, step, around) : op::window_means(image, lengths(0), lengths(1), kernel, step, around);
  return self.dim() == 4 ? in_format_of(self, result) : result.squeeze(0);
}

}  // namespace tinytorch
