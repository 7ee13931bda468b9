// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>
#include <vector>

#include "tinytorch/core/layouts.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

// How many windows a pooling layer has along a dimension; rounded up in ceil_mode. Source: aten/src/ATen/native/Pool.h.
std::int64_t pooling_output_shape(std::int64_t size, std::int64_t kernel, std::int64_t padding, std::int64_t stride, std::int64_t dilation, bool ceil_mode);

// By how many elements the sum of each of `count` windows along a dimension is divided; its contract stands at its definition.
std::vector<std::int64_t> window_lengths(std::int64_t count, std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, bool count_include_pad);

// The largest element of each window of (N, C, H, W) or (C, H, W), and where it stands in its plane (Long). Stride: the kernel's size when not given. Padding: at most half of the kernel.
Tensor max_pool2d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1, bool ceil_mode = false);
std::tuple<Tensor, Tensor> max_pool2d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1,
                                                   bool ceil_mode = false);
// The mean of each window. Padding counts as zeros, or not at all without count_include_pad; divisor_override replaces the number of elements.
Tensor avg_pool2d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, bool ceil_mode = false, bool count_include_pad = true,
                  std::optional<std::int64_t> divisor_override = std::nullopt);

namespace op {
// The largest elements of windows and their positions: (..., H, W) -> (..., oH, oW) twice, of its dtype and Long. self, output, kernel, stride, padding, dilation.
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> max_pool2d_with_indices;
// The sums of windows of (N, C, H, W), of which parts that lie outside count as zeros; that of window (y, x) divided by rows[y] columns[x], whole numbers towards zero. self, rows, columns, kernel, stride, padding -> (N, C, oH, oW).
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> window_means;
// Its gradient: each pixel of an image of `size` gets the sum of `grad`, divided likewise, over the windows that hold it. grad, size, rows, columns, kernel, stride, padding.
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> window_means_backward;
}  // namespace op

// The gradient of max pooling: put(grad, sizes, dim, indices) makes zeros of `sizes` and adds the numbers of `grad` to them where `indices` points along `dim`. As rows of places, (..., H W); with channels last, where a pixel's channels lie beside each other, as (N, H W, C).
template <class Put>
Tensor put_at_winners(const Tensor& grad, const Tensor& indices, IntArrayRef sizes, Put put) {
  const std::size_t first = sizes.size() - 2;
  const std::int64_t places = sizes[first] * sizes[first + 1];
  if (has_channels_last(indices)) {
    const auto as_table = [](const Tensor& images) { return images.permute({0, 2, 3, 1}).flatten(1, 2); };
    return put(as_table(grad), {sizes[0], places, sizes[1]}, 1, as_table(indices)).view({sizes[0], sizes[2], sizes[3], sizes[1]}).permute({0, 3, 1, 2});
  }
  DimVector flat(sizes.slice(0, first + 1));
  flat.back() = places;
  return put(grad.flatten(-2), flat, static_cast<std::int64_t>(first), indices.flatten(-2)).view(sizes);
}

// For each window of a plane (H, W), where its largest element stands: winners[y * oW + x] = row * W + column. Rows and columns outside of the plane do not count. The first of equal elements wins; NaN
// wins over numbers. REQUIRES: every window has an element inside. The settings are (rows, columns). O(oH oW kH kW).
template <class T>
void max_pool_plane(std::int64_t* winners, const T* plane, IntArrayRef size, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  for (std::int64_t y = 0; y < output[0]; ++y)
    for (std::int64_t x = 0; x < output[1]; ++x) {
      std::int64_t best = -1;
      for (std::int64_t i = 0; i < kernel[0]; ++i)
        for (std::int64_t j = 0; j < kernel[1]; ++j) {
          const std::int64_t row = y * stride[0] - padding[0] + i * dilation[0];
          const std::int64_t column = x * stride[1] - padding[1] + j * dilation[1];
          if (row < 0 || row >= size[0] || column < 0 || column >= size[1]) continue;
          const std::int64_t here = row * size[1] + column;
          if (best < 0 || plane[here] > plane[best] || plane[here] != plane[here]) best = here;
        }
      *winners++ = best;
    }
}

}  // namespace tinytorch
