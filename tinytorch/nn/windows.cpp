// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/windows.h"

#include <algorithm>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

// floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, and 0 when the window does not fit. REQUIRES: kernel, stride, dilation >= 1, padding >= 0. O(1).
std::int64_t conv_output_size(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  const std::int64_t covered = dilation * (kernel - 1) + 1;
  const std::int64_t free = size + 2 * padding - covered;
  return free < 0 ? 0 : free / stride + 1;
}

DimVector places_of(const WindowGrid& grid, IntArrayRef spatial) {
  DimVector result;
  for (std::size_t d = 0; d < grid.kernel.size(); ++d) result.push_back(conv_output_size(spatial[d], grid.kernel[d], grid.stride[d], grid.padding[d], grid.dilation[d]));
  return result;
}

Tensor inside(const Tensor& padded, IntArrayRef padding) {
  DimVector sizes(padded.sizes());
  std::int64_t offset = padded.storage_offset();
  const std::size_t first = sizes.size() - padding.size();
  for (std::size_t d = 0; d < padding.size(); ++d) {
    sizes[first + d] -= 2 * padding[d];
    offset += padding[d] * padded.strides()[first + d];
  }
  return alias(padded, sizes, padded.strides(), offset);
}

Tensor surrounded(const Tensor& self, IntArrayRef padding) {
  if (std::all_of(padding.begin(), padding.end(), [](std::int64_t p) { return p == 0; })) return self;
  DimVector sizes(self.sizes());
  const std::size_t first = sizes.size() - padding.size();
  for (std::size_t d = 0; d < padding.size(); ++d) sizes[first + d] += 2 * padding[d];
  const Tensor result = zeros(sizes, self.scalar_type());
  copy_into(inside(result, padding), self);
  return result;
}

// The view (C, kernel..., places...) of `image` (C, spatial...): element (c, i..., p...) is image[c, p * stride + i * dilation, ...]. The image has its padding already, so
// grid.padding does not count here. O(dims); no element is copied.
Tensor windows(const Tensor& image, const WindowGrid& grid) {
  DimVector sizes{image.size(0)};
  DimVector strides{image.strides()[0]};
  for (std::size_t d = 0; d < grid.kernel.size(); ++d) {
    sizes.push_back(grid.kernel[d]);
    strides.push_back(grid.dilation[d] * image.strides()[d + 1]);
  }
  for (std::size_t d = 0; d < grid.kernel.size(); ++d) {
    sizes.push_back(conv_output_size(image.sizes()[d + 1], grid.kernel[d], grid.stride[d], 0, grid.dilation[d]));
    strides.push_back(grid.stride[d] * image.strides()[d + 1]);
  }
  return alias(image, sizes, strides, image.storage_offset());
}

namespace {
// `columns` (rows, places) in the shape of the windows of `image`: (C, kernel..., places...).
Tensor as_windows(const Tensor& columns, const Tensor& view) { return alias(columns, view.sizes(), contiguous_strides(view.sizes()), columns.storage_offset()); }
}  // namespace

void copy_windows(const Tensor& columns, const Tensor& image, const WindowGrid& grid) {
  const Tensor view = windows(image, grid);
  copy_into(as_windows(columns, view), view);
}

// Adds each of `columns` (C * volume(kernel), places; contiguous) to its window of `image` (C, spatial...), padding included. One dtype. O(columns.numel()); no memory.
void add_windows(const Tensor& image, const Tensor& columns, const WindowGrid& grid) {
  const Tensor view = windows(image, grid);
  const Tensor addends = as_windows(columns, view);
  dispatch_all_types(image.scalar_type(), [&]<class T>() { zip_into<T, T, T>(view, view, addends, [](T sum, T addend) { return static_cast<T>(sum + addend); }); });
}

namespace {
Tensor im2col_cpu(const Tensor& self, IntArrayRef kernel, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride) {
  const WindowGrid grid{kernel, stride, padding, dilation};
  const Tensor image = surrounded(self, padding);
  const Tensor columns = empty({self.size(0), self.size(1) * volume(kernel), volume(places_of(grid, spatial_sizes(self.sizes())))}, self.scalar_type());
  for (std::int64_t n = 0; n < self.size(0); ++n) copy_windows(columns.select(0, n), image.select(0, n), grid);
  return columns;
}

Tensor col2im_cpu(const Tensor& self, IntArrayRef output_size, IntArrayRef kernel, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride) {
  const WindowGrid grid{kernel, stride, padding, dilation};
  DimVector sizes{self.size(0), self.size(1) / volume(kernel)};
  for (std::size_t d = 0; d < output_size.size(); ++d) sizes.push_back(output_size[d] + 2 * padding[d]);
  const Tensor columns = self.contiguous();
  const Tensor image = zeros(sizes, self.scalar_type());
  for (std::int64_t n = 0; n < self.size(0); ++n) add_windows(image.select(0, n), columns.select(0, n), grid);
  return inside(image, padding).contiguous();
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> op::im2col(
    "im2col", {.cpu = Kernel<im2col_cpu>::call,
               .autograd = gradient_of<op::im2col>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> kernel, Arg<2, DimVector> dilation, Arg<3, DimVector> padding,
                                                      Arg<4, DimVector> stride) {
                 return op::col2im(g, spatial_sizes(sizes), kernel.value, dilation.value, padding.value, stride.value);
               })});
constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> op::col2im(
    "col2im", {.cpu = Kernel<col2im_cpu>::call,
               .autograd = gradient_of<op::col2im>([](const Tensor& g, Arg<2, DimVector> kernel, Arg<3, DimVector> dilation, Arg<4, DimVector> padding,
                                                      Arg<5, DimVector> stride) { return op::im2col(g, kernel.value, dilation.value, padding.value, stride.value); })});

}  // namespace tinytorch
