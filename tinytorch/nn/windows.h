// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>

#include "tinytorch/nn/image_checks.h"

namespace tinytorch {

// How many places a window of `kernel` elements, `dilation` apart, has in `size` elements with `padding` more on each side, in steps of `stride`. Not
// positive when it does not fit. Source: aten/src/ATen/native/ConvUtils.h.
std::int64_t conv_output_size(std::int64_t size, std::int64_t kernel, std::int64_t stride = 1, std::int64_t padding = 0, std::int64_t dilation = 1);

// How many windows of `grid` there are along each dimension of an image without its padding.
DimVector places_of(const WindowGrid& grid, IntArrayRef spatial);

// The CPU layer of an operator that is written with Tensor functions: `f`, with the layers above switched off.
template <auto f>
struct Kernel;
template <class R, class... Args, R (*f)(Args...)>
struct Kernel<f> {
  static R call(Args... args) {
    const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
    return f(std::forward<Args>(args)...);
  }
};

// ---- For such kernels.
// `self` with `padding` zeros on both sides of each of its last dimensions; `self` when there are none. O(numel).
Tensor surrounded(const Tensor& self, IntArrayRef padding);
// What lies inside that padding, as a view.
Tensor inside(const Tensor& padded, IntArrayRef padding);
// The windows of `image` (C, spatial...), which has its padding already, as a view (C, kernel..., places...).
Tensor windows(const Tensor& image, const WindowGrid& grid);
// columns (C * volume(kernel), places) = the windows of `image`.
void copy_windows(const Tensor& columns, const Tensor& image, const WindowGrid& grid);
// image += each of `columns`, at its window's place.
void add_windows(const Tensor& image, const Tensor& columns, const WindowGrid& grid);

namespace op {
// The windows of (N, C, spatial...) as columns (N, C * volume(kernel), places), and the sum of columns at their places in images of a given size: each the
// other's adjoint. Arguments: [output size,] kernel, dilation, padding, stride, one number for each spatial dimension. O(numel of the columns).
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> im2col;
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> col2im;
}  // namespace op

}  // namespace tinytorch
