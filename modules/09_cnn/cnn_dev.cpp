// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Module 09: Convolutional networks
//
// To the network of module 03 an image is a list of numbers. Shuffle the pixels of all images in the same way, and it learns exactly as well: that neighbours belong together is something it cannot use, and a digit that moves by one pixel is a new input to it.
// A convolution builds two facts about images into the network: what is near belongs together, and what helps in one place helps in all of them. A layer becomes a small window of weights that slides over the image.
//
// This module builds that layer three times. v1 is seven nested loops that you can check by hand. v2 sees the windows as a *view* (module 01's strides), copies them into a matrix and multiplies: the form in which frameworks have computed convolutions for ten years.
// v3 does the same one image at a time, in a fraction of the memory, and brings its own gradients. Around it come pooling, batch normalization, and two networks that made history: LeNet-5 and ResNet-20.
//
// **Objectives.** After this module you can
//
// - say how large the output of any convolution or pooling is, and how many weights and multiplications it takes, before you run it;
// - turn a convolution into a product of matrices, and derive its three gradients, which are convolutions themselves;
// - say what batch normalization computes in training and in evaluation, and which faults come from mixing them up;
// - predict and measure what im2col costs in memory, and why v3 does not pay it;
// - build and train a residual network, and say what the shortcut does to gradients.
//
// **Where it sits.** Below it: strides and views (01), modules (03), autograd (05), the training loop (08). Library chapter 78 takes the same parts to one and three dimensions and to the transposed layers. Module 16 makes the matrix product under it fast.
//
// **Prerequisites.** Modules 01 to 08; the chapters 93 and 97, which come prebuilt.

// %%
//| export nn/windows.h
#include <utility>
#include "tinytorch/nn/image_checks.h"
//| export nn/windows.cpp
#include <algorithm>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
//| export nn/conv.h
#include <concepts>
#include <ostream>
#include <string_view>
#include <variant>
#include "tinytorch/nn/image_layers.h"
//| export nn/conv.cpp
#include <algorithm>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/windows.h"
//| export nn/pool.h
#include <tuple>
#include <vector>
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/ops.h"
//| export nn/pool.cpp
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
//| export nn/norm.h
#include <optional>
#include <ostream>
#include <tuple>
#include "tinytorch/core/autograd.h"
#include "tinytorch/nn/image_layers.h"
//| export nn/batch_norm_layer-inl.h
#include <cstddef>
#include <cstdint>
#include "tinytorch/nn/norm.h"
//| export nn/norm.cpp
#include <cmath>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/batch_norm_layer-inl.h"
//| export models/lenet.h
#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/linear.h"
//| export models/lenet.cpp
#include <ostream>
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/pool.h"
#include "tinytorch/nn/windows.h"
//| export models/resnet.h
#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/norm.h"
#include "tinytorch/nn/sequential.h"
//| export models/resnet.cpp
#include <ostream>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/init.h"
#include "tinytorch/nn/padding.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/vision.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/mlp.h"
#include "tinytorch/nn/more_layers.h"
#include "tinytorch/optim/sgd.h"
#include "tinytorch/serialize/save.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### A window slides over an image
//
// A *kernel* is a small array of weights. It is laid over the image, each weight is multiplied with the pixel under it, the products are added, and the sum is one pixel of the output. Then the kernel moves on. Mathematicians call this cross-correlation (a convolution
// turns the kernel around first); since the weights are learned, networks do not care, and everybody says convolution.
//
//         image (4 x 4)           kernel (3 x 3)        output (2 x 2)
//       ┌───────────┐
//       │ 1   2   0 │ 1             1   0  -1
//       │ 0   1   3 │ 2      *      1   0  -1     =      -2   0
//       │ 1   0   1 │ 0             1   0  -1            -4  -2
//       └───────────┘
//         0   2   1   3             first window: (1 - 0) + (0 - 3) + (1 - 1) = -2
//
// An image has channels (red, green, blue), and a layer makes many outputs from all of them. So the input is `(N, C, H, W)`, the weight `(O, C, kH, kW)`, the output `(N, O, oH, oW)`:
//
//       out[n, o, y, x] = bias[o] + sum over c, i, j of  weight[o, c, i, j] * image[n, c, y * stride - padding + i * dilation, x * stride - padding + j * dilation]
//
// Four settings say where the windows lie. *Padding* puts zeros around the image, so that the border is seen as often as the middle. *Stride* is the step from window to window. *Dilation* is the step from weight to weight inside a window. *Groups* cut the channels into
// independent parts: each output channel sees only the input channels of its group.
//
//       stride 2            dilation 2              groups 2
//       ▣▣▣· · ·            ▣·▣·▣ ·                 channels 0 1 | 2 3   in
//       · ·▣▣▣·             · · · · ·                        │       │
//       · · · ·▣▣▣          ▣·▣·▣ ·                 channels 0 1 | 2 3   out
//
// A window of `k` weights, `d` apart, covers `d (k - 1) + 1` pixels. It fits into `size + 2 padding` pixels, in steps of `stride`, this many times:
//
//       output size = floor((size + 2 padding - d (k - 1) - 1) / stride) + 1
//
// This formula is the one that people get wrong when a convolution meets a linear layer. Cost: `N O oH oW (C / groups) kH kW` multiplications, for `O (C / groups) kH kW` weights. A linear layer from the same input to the same output would have `C H W O oH oW` weights.

// %%
//| export nn/windows.h
// How many places a window of `kernel` elements, `dilation` apart, has in `size` elements with `padding` more on each side, in steps of `stride`. Not
// positive when it does not fit. Source: aten/src/ATen/native/ConvUtils.h.
std::int64_t conv_output_size(std::int64_t size, std::int64_t kernel, std::int64_t stride = 1, std::int64_t padding = 0, std::int64_t dilation = 1);

// %% {"nbgrader": {"grade": false, "grade_id": "09-conv-output-size", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/windows.cpp
// floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, and 0 when the window does not fit. REQUIRES: kernel, stride, dilation >= 1, padding >= 0. O(1).
//
// TODO: Count the places of a window.
// APPROACH: how many pixels does one window cover? How far can its first pixel move? In steps of stride, how many stops is that, the first one included?
// EXAMPLE: conv_output_size(28, 5) is 24; with stride 2 it is 12; conv_output_size(32, 3, 1, 1) is 32.
// HINT: C++ rounds a quotient towards 0, which is not down for a negative one: ask first whether the window fits.
std::int64_t conv_output_size(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  // BEGIN SOLUTION
  const std::int64_t covered = dilation * (kernel - 1) + 1;
  const std::int64_t free = size + 2 * padding - covered;
  return free < 0 ? 0 : free / stride + 1;
  // END SOLUTION
}

// %%
//| mistake 09-conv-output-size forgets-the-first-place
//| says The window that does not move at all is a place too: add 1 to the number of steps.
#if 0
std::int64_t conv_output_size(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  const std::int64_t free = size + 2 * padding - (dilation * (kernel - 1) + 1);
  return free < 0 ? 0 : (free + stride - 1) / stride;
}
#endif

// %%
//| mistake 09-conv-output-size multiplies-the-kernel-by-the-dilation
//| says A window of k weights that are d apart covers d (k - 1) + 1 pixels, not d k: behind the last weight comes nothing.
#if 0
std::int64_t conv_output_size(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  const std::int64_t free = size + 2 * padding - dilation * kernel;
  return free < 0 ? 0 : free / stride + 1;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-conv-output-size-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("conv_output_size: places of a window") {
  CHECK_EQ(conv_output_size(28, 5), 24);
  CHECK_EQ(conv_output_size(28, 5, 2), 12);
  CHECK_EQ(conv_output_size(32, 3, 1, 1), 32);
  CHECK_EQ(conv_output_size(7, 3, 2), 3);
  CHECK_EQ(conv_output_size(7, 3, 1, 0, 2), 3);
  CHECK_EQ(conv_output_size(7, 3, 1, 0, 3), 1);
  CHECK_EQ(conv_output_size(5, 5), 1);
  CHECK_EQ(conv_output_size(4, 5), 0);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(conv_output_size(4, 5, 3), 0);
  for (std::int64_t size = 1; size < 12; ++size)
    for (std::int64_t kernel = 1; kernel < 5; ++kernel)
      for (std::int64_t stride = 1; stride < 4; ++stride)
        for (std::int64_t padding = 0; padding < 3; ++padding)
          for (std::int64_t dilation = 1; dilation < 4; ++dilation) {
            std::int64_t places = 0;
            for (std::int64_t start = -padding; start + dilation * (kernel - 1) < size + padding; start += stride) ++places;
            CHECK_EQ(conv_output_size(size, kernel, stride, padding, dilation), places);
          }
  // END HIDDEN TESTS
}

// %% [markdown]
// ### v1: the formula as loops
//
// The sum above, written down. It will stay the judge of everything that follows: slow, and obviously right.
//
//       for each image n, output channel o, place (y, x):
//           sum = 0
//           for each input channel c of o's group, each weight (i, j):
//               if that pixel is inside the image:  sum += weight * pixel
//
// Output channel `o` belongs to group `o / (O / groups)`, which owns `C / groups` input channels. Padding needs no memory: a pixel outside of the image counts as 0.

// %%
//| lesson
// Where the windows of a 2-d convolution lie. Rows and columns alike, to keep the loops short.
struct Setting {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
};

// %% {"nbgrader": {"grade": false, "grade_id": "09-conv2d-loops", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
// The convolution of input (N, C, H, W) with weight (O, C / groups, kH, kW), both Double and contiguous: (N, O, oH, oW). O(N O oH oW C / groups kH kW).
//
// TODO: Write the seven loops.
// APPROACH: 1. The output's sizes by conv_output_size. 2. Loops over n, o, y, x. 3. Inside them a sum over c, i, j. 4. Skip pixels outside of the image.
// EXAMPLE: an image of ones and a 3 x 3 kernel of ones give nines; with padding 1, the corners are fours.
// HINT: row = y * stride - padding + i * dilation. The input channel is group * (C / groups) + c.
Tensor conv2d_loops(const Tensor& input, const Tensor& weight, const Setting& setting) {
  // BEGIN SOLUTION
  const auto [stride, padding, dilation, groups] = setting;
  const std::int64_t N = input.size(0), C = input.size(1), H = input.size(2), W = input.size(3);
  const std::int64_t O = weight.size(0), per_group = weight.size(1), kH = weight.size(2), kW = weight.size(3);
  const std::int64_t oH = conv_output_size(H, kH, stride, padding, dilation);
  const std::int64_t oW = conv_output_size(W, kW, stride, padding, dilation);
  const Tensor result = empty({N, O, oH, oW}, kDouble);
  const double* const pixels = input.data<double>();
  const double* const weights = weight.data<double>();
  double* out = result.data<double>();
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t o = 0; o < O; ++o)
      for (std::int64_t y = 0; y < oH; ++y)
        for (std::int64_t x = 0; x < oW; ++x) {
          const std::int64_t first = o / (O / groups) * per_group;
          double sum = 0;
          for (std::int64_t c = 0; c < per_group; ++c)
            for (std::int64_t i = 0; i < kH; ++i)
              for (std::int64_t j = 0; j < kW; ++j) {
                const std::int64_t row = y * stride - padding + i * dilation;
                const std::int64_t column = x * stride - padding + j * dilation;
                if (row < 0 || row >= H || column < 0 || column >= W) continue;
                sum += weights[((o * per_group + c) * kH + i) * kW + j] * pixels[((n * C + first + c) * H + row) * W + column];
              }
          *out++ = sum;
        }
  return result;
  // END SOLUTION
}

// %%
//| mistake 09-conv2d-loops turns-the-kernel
//| says This is the mathematician's convolution: the kernel is turned around. Networks lay it on as it is, weight (i, j) over pixel (y + i, x + j).
#if 0
Tensor conv2d_loops(const Tensor& input, const Tensor& weight, const Setting& setting) {
  const auto [stride, padding, dilation, groups] = setting;
  const std::int64_t N = input.size(0), C = input.size(1), H = input.size(2), W = input.size(3);
  const std::int64_t O = weight.size(0), per_group = weight.size(1), kH = weight.size(2), kW = weight.size(3);
  const std::int64_t oH = conv_output_size(H, kH, stride, padding, dilation);
  const std::int64_t oW = conv_output_size(W, kW, stride, padding, dilation);
  const Tensor result = empty({N, O, oH, oW}, kDouble);
  const double* const pixels = input.data<double>();
  const double* const weights = weight.data<double>();
  double* out = result.data<double>();
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t o = 0; o < O; ++o)
      for (std::int64_t y = 0; y < oH; ++y)
        for (std::int64_t x = 0; x < oW; ++x) {
          const std::int64_t first = o / (O / groups) * per_group;
          double sum = 0;
          for (std::int64_t c = 0; c < per_group; ++c)
            for (std::int64_t i = 0; i < kH; ++i)
              for (std::int64_t j = 0; j < kW; ++j) {
                const std::int64_t row = y * stride - padding + i * dilation;
                const std::int64_t column = x * stride - padding + j * dilation;
                if (row < 0 || row >= H || column < 0 || column >= W) continue;
                sum += weights[((o * per_group + c) * kH + kH - 1 - i) * kW + kW - 1 - j] * pixels[((n * C + first + c) * H + row) * W + column];
              }
          *out++ = sum;
        }
  return result;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-conv2d-loops-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("conv2d_loops: the formula, by hand") {
  const Tensor image = tensor({1, 2, 0, 1, 0, 1, 3, 2, 1, 0, 1, 0, 0, 2, 1, 3}, kDouble).view({1, 1, 4, 4});
  const Tensor edge = tensor({1, 0, -1, 1, 0, -1, 1, 0, -1}, kDouble).view({1, 1, 3, 3});
  CHECK_EQ(conv2d_loops(image, edge, {}), tensor({-2, 0, -4, -2}, kDouble).view({1, 1, 2, 2}));
  CHECK_EQ(conv2d_loops(ones({1, 2, 3, 3}, kDouble), ones({1, 2, 3, 3}, kDouble), {.padding = 1}),
           tensor({8, 12, 8, 12, 18, 12, 8, 12, 8}, kDouble).view({1, 1, 3, 3}));
  const Tensor one_weight = tensor({0, 0, 0, 1}, kDouble).view({1, 1, 2, 2});  // picks the pixel below to the right
  CHECK_EQ(conv2d_loops(image, one_weight, {.stride = 2}), tensor({1, 2, 2, 3}, kDouble).view({1, 1, 2, 2}));
  CHECK_EQ(conv2d_loops(image, one_weight, {.dilation = 3}), tensor({3}, kDouble).view({1, 1, 1, 1}));
  const Tensor two_channels = cat({ones({1, 1, 2, 2}, kDouble), full({1, 1, 2, 2}, 10, kDouble)}, 1);
  CHECK_EQ(conv2d_loops(two_channels, ones({2, 1, 1, 1}, kDouble), {.groups = 2}), two_channels);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(conv2d_loops(cat({image, image * 2}, 0), edge, {}).select(0, 1), conv2d_loops(image, edge, {}).select(0, 0) * 2);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Windows are a view
//
// The loops read each pixel up to `kH kW` times, in small pieces. To make a matrix product of them, the windows must stand side by side. In module 01 you saw that a sliding window needs no copy: it is a matter of strides. In one dimension, the windows of length 3 of a
// vector of 6 are a `(3, 4)` view whose both strides are 1:
//
//       vector          0 1 2 3 4 5
//       place ->        0 1 2 3           element i of the window at place p
//       i = 0           0 1 2 3           is vector[p * stride + i * dilation]
//       i = 1           1 2 3 4
//       i = 2           2 3 4 5           strides: (dilation, stride), no element copied
//
// An image has two such dimensions, a volume three; so each spatial dimension gives *two* dimensions of the view, one for the weight (`i`) and one for the place. With the channels: `(C, kH, kW, oH, oW)`. Read as a matrix `(C kH kW, oH oW)`, each column is one window.
//
//                       place (0,0) (0,1) (0,2) ...
//       channel 0, (0,0)   ┌                     ┐
//       channel 0, (0,1)   │                     │      weight (O, C kH kW)  x  columns (C kH kW, oH oW)
//           ...            │      columns        │
//       channel C-1,(2,2)  └                     ┘      =  out (O, oH oW)
//
// A view with these strides cannot be *reshaped* to that matrix without a copy, because a column's elements overlap with the next one's. The copy is called **im2col**. The way back, adding each column to where it came from, is **col2im**.
//
// Nothing here asks how many spatial dimensions there are, so the code does not fix them. `WindowGrid` (chapter 81) says where windows lie: `kernel`, `stride`, `padding` and `dilation`, one number for each dimension. Two helpers are given: `surrounded` puts zeros around images, `inside` is the view without them.

// %%
//| export nn/windows.h
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

// %%
//| export nn/windows.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "09-windows", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/windows.cpp
// The view (C, kernel..., places...) of `image` (C, spatial...): element (c, i..., p...) is image[c, p * stride + i * dilation, ...]. The image has its padding already, so
// grid.padding does not count here. O(dims); no element is copied.
//
// TODO: Find sizes and strides of the view.
// APPROACH: 1. The channel keeps its size and stride. 2. For each spatial dimension, the kernel's size; what moves by one weight moves dilation pixels. 3. For each spatial
// dimension, the number of places; what moves by one place moves stride pixels. 4. alias(image, sizes, strides, offset).
// EXAMPLE: a contiguous (1, 4, 4) image and a 3 x 3 kernel: sizes (1, 3, 3, 2, 2), strides (16, 4, 1, 4, 1).
// HINT: image.strides()[d + 1] is the stride of spatial dimension d. conv_output_size with padding 0 counts the places.
Tensor windows(const Tensor& image, const WindowGrid& grid) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 09-windows stride-and-dilation-change-places
//| says Stride and dilation have changed places: from weight to weight it is dilation pixels, from window to window stride pixels.
#if 0
Tensor windows(const Tensor& image, const WindowGrid& grid) {
  DimVector sizes{image.size(0)};
  DimVector strides{image.strides()[0]};
  for (std::size_t d = 0; d < grid.kernel.size(); ++d) {
    sizes.push_back(grid.kernel[d]);
    strides.push_back(grid.stride[d] * image.strides()[d + 1]);
  }
  for (std::size_t d = 0; d < grid.kernel.size(); ++d) {
    sizes.push_back(conv_output_size(image.sizes()[d + 1], grid.kernel[d], grid.dilation[d], 0, grid.stride[d]));
    strides.push_back(grid.dilation[d] * image.strides()[d + 1]);
  }
  return alias(image, sizes, strides, image.storage_offset());
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-windows-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("windows: a view with two dimensions for each spatial one") {
  const Tensor image = arange(16.0).view({1, 4, 4});
  const Tensor view = windows(image, {{3, 3}, {1, 1}, {0, 0}, {1, 1}});
  CHECK_EQ(view.sizes(), IntArrayRef({1, 3, 3, 2, 2}));
  CHECK_EQ(view.strides(), IntArrayRef({16, 4, 1, 4, 1}));
  CHECK(view.is_alias_of(image));
  CHECK_EQ(view.select(4, 1).select(3, 1).select(0, 0), tensor({{5.0, 6.0, 7.0}, {9.0, 10.0, 11.0}, {13.0, 14.0, 15.0}}));

  const Tensor row = arange(9.0).view({1, 9});
  CHECK_EQ(windows(row, {{2}, {3}, {0}, {4}}), tensor({{0.0, 3.0}, {4.0, 7.0}}).view({1, 2, 2}));
  CHECK_EQ(windows(row, {{3}, {2}, {0}, {1}}), tensor({{0.0, 2.0, 4.0, 6.0}, {1.0, 3.0, 5.0, 7.0}, {2.0, 4.0, 6.0, 8.0}}).view({1, 3, 4}));
  // BEGIN HIDDEN TESTS
  const Tensor narrow = arange(40.0).view({2, 4, 5}).slice(2, 1, 4);  // not contiguous, with an offset
  CHECK_EQ(windows(narrow, {{4, 1}, {1, 2}, {0, 0}, {1, 1}}).reshape({2, 4, 2}),
           tensor({1.0, 3.0, 6.0, 8.0, 11.0, 13.0, 16.0, 18.0, 21.0, 23.0, 26.0, 28.0, 31.0, 33.0, 36.0, 38.0}).view({2, 4, 2}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Columns to images
//
// With the view, im2col is one copy: `columns`, seen in the shape of the windows, becomes what the windows show. Its adjoint, col2im, goes the other way. A pixel was copied into several windows, so it receives the *sum* of what stands in them, as always on the way back:
//
//       image  a b c d                        columns  a b c            sums back:   a   b+b   c+c   d
//       im2col, windows of 2   ----------->            b c d    ------>
//
// `StridedLoop` (module 01) walks over operands of one shape with their own strides. Here one of them is the window view, whose elements overlap; since the walk is a plain loop, one addition after the other, overlapping is no danger.

// %%
//| export nn/windows.cpp
namespace {
// `columns` (rows, places) in the shape of the windows of `image`: (C, kernel..., places...).
Tensor as_windows(const Tensor& columns, const Tensor& view) { return alias(columns, view.sizes(), contiguous_strides(view.sizes()), columns.storage_offset()); }
}  // namespace

void copy_windows(const Tensor& columns, const Tensor& image, const WindowGrid& grid) {
  const Tensor view = windows(image, grid);
  copy_into(as_windows(columns, view), view);
}

// %% {"nbgrader": {"grade": false, "grade_id": "09-add-windows", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/windows.cpp
// Adds each of `columns` (C * volume(kernel), places; contiguous) to its window of `image` (C, spatial...), padding included. One dtype. O(columns.numel()); no memory.
//
// TODO: Add the columns into the windows.
// APPROACH: 1. The windows of the image, as a view. 2. The columns in the same shape (as_windows). 3. Walk over both: window += column.
// EXAMPLE: an image of four zeros, windows of two, columns of ones (2, 3): the image becomes 1 2 2 1.
// HINT: zip_into<T, T, T>(out, a, b, f) writes out = f(a, b), and out may be a; dispatch_all_types(type, "name" or not, ...) gives T.
void add_windows(const Tensor& image, const Tensor& columns, const WindowGrid& grid) {
  // BEGIN SOLUTION
  const Tensor view = windows(image, grid);
  const Tensor addends = as_windows(columns, view);
  dispatch_all_types(image.scalar_type(), [&]<class T>() { zip_into<T, T, T>(view, view, addends, [](T sum, T addend) { return static_cast<T>(sum + addend); }); });
  // END SOLUTION
}

// %%
//| mistake 09-add-windows the-last-window-wins
//| says Windows overlap: a pixel gets the sum of all windows that it was copied into. This assigns, so only the last one counts.
#if 0
void add_windows(const Tensor& image, const Tensor& columns, const WindowGrid& grid) {
  const Tensor view = windows(image, grid);
  copy_into(view, as_windows(columns, view));
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-add-windows-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("add_windows: a pixel receives the sum of its windows") {
  const Tensor image = zeros({1, 4});
  add_windows(image, ones({2, 3}), {{2}, {1}, {0}, {1}});
  CHECK_EQ(image, tensor({{1.0, 2.0, 2.0, 1.0}}));
  add_windows(image, tensor({{1.0, 2.0}, {10.0, 20.0}}), {{2}, {2}, {0}, {1}});
  CHECK_EQ(image, tensor({{2.0, 12.0, 4.0, 21.0}}));
  const Tensor square = zeros({1, 3, 3}, kDouble);
  add_windows(square, ones({4, 4}, kDouble), {{2, 2}, {1, 1}, {0, 0}, {1, 1}});
  CHECK_EQ(square, tensor({{1, 2, 1}, {2, 4, 2}, {1, 2, 1}}, kDouble).view({1, 3, 3}));
}

// %% [markdown]
// Now both become operators, for any batch: PyTorch calls them `im2col` and `col2im` (in `nn.functional`: unfold and fold). Each is the other's gradient, so two lines give derivatives of every order.
//
//                      im2col                                    d im2col  =  col2im
//       (N, C, H, W)  ────────►  (N, C kH kW, oH oW)
//                      ◄────────                                 d col2im  =  im2col
//                      col2im

// %%
//| export nn/windows.h
namespace op {
// The windows of (N, C, spatial...) as columns (N, C * volume(kernel), places), and the sum of columns at their places in images of a given size: each the
// other's adjoint. Arguments: [output size,] kernel, dilation, padding, stride, one number for each spatial dimension. O(numel of the columns).
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> im2col;
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef)> col2im;
}  // namespace op

// %%
//| export nn/windows.cpp
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

// %%
TEST_CASE("im2col and col2im: windows as columns and back, each the other's gradient") {
  const Tensor image = arange(9.0).view({1, 1, 3, 3});
  const Tensor columns = op::im2col(image, {2, 2}, {1, 1}, {0, 0}, {1, 1});
  CHECK_EQ(columns, tensor({{0.0, 1.0, 3.0, 4.0}, {1.0, 2.0, 4.0, 5.0}, {3.0, 4.0, 6.0, 7.0}, {4.0, 5.0, 7.0, 8.0}}).view({1, 4, 4}));
  CHECK_EQ(op::col2im(columns, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}), image * tensor({{1.0, 2.0, 1.0}, {2.0, 4.0, 2.0}, {1.0, 2.0, 1.0}}));
  // Adjoint: <im2col(a), b> = <a, col2im(b)> for all a and b.
  manual_seed(1);
  const Tensor a = randn({2, 3, 5, 4}, kDouble);
  const Tensor b = randn({2, 3 * 6, 3 * 2}, kDouble);
  const Tensor back = op::col2im(b, {5, 4}, {2, 3}, {1, 2}, {1, 1}, {2, 1});
  CHECK_CLOSE((op::im2col(a, {2, 3}, {1, 2}, {1, 1}, {2, 1}) * b).sum(), (a * back).sum());
  a.requires_grad_();
  (op::im2col(a, {2, 3}, {1, 2}, {1, 1}, {2, 1}) * b).sum().backward();
  CHECK_CLOSE(a.grad(), back);
}

// %% [markdown]
// ### v2: one product of matrices
//
// With columns a convolution is `weight (O, C kH kW) x columns (C kH kW, L)`, for each image. Since `im2col` and `matmul` have gradients, so has this, for nothing. Twelve lines, and module 16's fast product will make it faster without a change here.

// %%
//| lesson
// v2: the same convolution as conv2d_loops, as im2col and a product. Any dtype; differentiable. The columns, kH * kW times the image, are kept for the backward pass.
Tensor conv2d_columns(const Tensor& input, const Tensor& weight, const Setting& setting) {
  const std::int64_t N = input.size(0), O = weight.size(0), G = setting.groups, kH = weight.size(2), kW = weight.size(3);
  const std::int64_t oH = conv_output_size(input.size(2), kH, setting.stride, setting.padding, setting.dilation);
  const std::int64_t oW = conv_output_size(input.size(3), kW, setting.stride, setting.padding, setting.dilation);
  const Tensor columns = op::im2col(input, {kH, kW}, DimVector(2, setting.dilation), DimVector(2, setting.padding), DimVector(2, setting.stride)).view({N, G, -1, oH * oW});
  return matmul(weight.view({1, G, O / G, -1}), columns).view({N, O, oH, oW});
}

// Inputs for comparing versions: settings, and an image and a weight that fit them.
struct Trial {
  Setting setting;
  Tensor input, weight;
};

std::vector<Trial> trials() {
  manual_seed(9);
  const auto trial = [](Setting setting, IntArrayRef input, IntArrayRef weight) { return Trial{setting, randn(input, kDouble), randn(weight, kDouble)}; };
  return {trial({}, {2, 3, 5, 6}, {4, 3, 3, 2}),
          trial({.stride = 2, .padding = 1}, {2, 2, 6, 5}, {3, 2, 3, 3}),
          trial({.stride = 3, .padding = 2, .dilation = 2}, {1, 2, 7, 9}, {2, 2, 3, 4}),
          trial({.padding = 1, .groups = 2}, {2, 4, 4, 4}, {6, 2, 3, 3}),
          trial({.stride = 2, .groups = 3}, {1, 3, 5, 5}, {3, 1, 2, 2}),
          trial({}, {1, 1, 1, 1}, {1, 1, 1, 1})};
}

// %%
TEST_CASE("conv2d: the columns give what the loops give") {
  for (const Trial& trial : trials()) {
    CAPTURE(trial.weight.sizes());
    CHECK_CLOSE(conv2d_columns(trial.input, trial.weight, trial.setting), conv2d_loops(trial.input, trial.weight, trial.setting));
  }
}

// %% [markdown]
// ### v3: an operator of its own
//
// v2 has one flaw: for a 3 x 3 kernel the columns are nine times the input, of the whole batch, and autograd keeps them until the backward pass. But they can be made again at any time, from the input, which is kept anyway. So v3 is an operator: it makes the columns of *one* image, multiplies,
// and uses the same memory for the next image.
//
//       for each image:   image ──copy_windows──► columns (G, C/G kH kW, L)      one image's columns, used again
//                                                     │
//            for each group:  kernels[g] (O/G, C/G kH kW)  x  columns[g]  ──►  result[n][g] (O/G, L)
//
// An operator of its own needs gradients of its own. What are they? The product `Y = W X` (X: the columns) has two:
//
//       Y = W X          dX = W^T dY          dW = dY X^T
//
// `dX` are columns; the way back from columns to the image is `add_windows`. So
//
// - **input gradient**: transposed kernels times the output's gradient, added into the windows;
// - **weight gradient**: the input's columns (made again) times the output's gradient, summed over all images;
// - **bias gradient**: the bias is added to every place of its channel, so it receives the sum over images and places.
//
// All three maps, `Y(X, W)`, `dX(dY, W)` and `dW(X, dY)`, are linear in each of their two arguments, so the gradients of one are the others again. Three functions, and derivatives of every order exist:
//
//       convolution(x, w, b)         d/dx: convolution_input(g, w)      d/dw: convolution_weight(x, g)      d/db: g.sum({0, 2, ...})
//       convolution_input(y, w)      d/dy: convolution(g, w)            d/dw: convolution_weight(g, y)
//       convolution_weight(x, y)     d/dx: convolution_input(y, g)      d/dy: convolution(x, g)
//
// The bias could be added by an operator of its own, which is a pass over the result: read every number, add, write it back. It is an argument of the convolution, as PyTorch's operator has it, because a kernel has better places for it, such as the registers in which it sums (chapter 75). The loops below compute the sums, and
// what stands in front of them adds the bias where they lie.
//
// `convolution_input` is a layer in its own right: it goes from the small output to the large input, and is what people call a *transposed convolution* (chapter 78).

// %%
//| export nn/conv.h
// The convolution of `input` (N, C, spatial...) with `weight` (O, C / groups, kernel...) and `bias` (O) or none, for any number of spatial dimensions. With `transposed`, the transposed convolution: the
// gradient of a convolution with respect to its input, as a function of its own; then `weight` is (C, O / groups, kernel...), and `output_padding` says which of the input sizes that have the same
// output size is meant. O(N O places C / groups volume(kernel)); the columns of one image are made, and nothing but the arguments is kept for the backward pass.
// Source: aten/src/ATen/native/Convolution.cpp.
Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                   bool transposed, IntArrayRef output_padding, std::int64_t groups);

// input (N, C, H, W) or (C, H, W), weight (O, C / groups, kH, kW), bias (O) -> (N, O, oH, oW). Padding is a number, one for each dimension, or "same" (the output has the
// input's size; stride 1 only) or "valid" (none).
Tensor conv2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias = {}, IntArrayRef stride = 1, IntArrayRef padding = 0, IntArrayRef dilation = 1,
              std::int64_t groups = 1);
Tensor conv2d_named_padding(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, std::string_view padding, IntArrayRef dilation,
                            std::int64_t groups);
template <std::convertible_to<std::string_view> Name>  // a template, because the number 0 is also a null pointer
Tensor conv2d(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, const Name& padding, IntArrayRef dilation = 1,
              std::int64_t groups = 1) {
  return conv2d_named_padding(input, weight, bias, stride, padding, dilation, groups);
}

namespace op {
// The third argument is the bias, or none.
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> convolution;
// The gradient of a convolution with respect to its input, whose sizes are the third argument, and to its weight.
extern Operator<Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> convolution_input;
extern Operator<Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef, std::int64_t)> convolution_weight;
}  // namespace op

// %% [markdown]
// The three share one geometry, worked out once from the sizes of input and weight. `G` groups, `N` images, and the three sides of the products: `M = O / G` output channels of a group, `K = C / G * volume(kernel)` rows of its columns, `L` places.

// %%
//| export nn/conv.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "09-convolution", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/conv.cpp
// The convolution of input (N, C, spatial...) with weight (O, C / groups, kernel...): (N, O, places...). REQUIRES: sizes that fit, one dtype; the caller has checked. Makes the columns
// of one image only.
//
// TODO: Compute the convolution, one image after the other.
// APPROACH: 1. ConvShape has N, G, M, K and L; `surrounded` pads the input. 2. View the weight as G matrices (M, K), the result as (N, G, M, L). 3. For each image, copy its windows into
// `columns` (G, K, L), which serve again for the next. 4. For each group, the product goes into the result with copy_into.
// HINT: x.select(0, n) is x[n]. copy_windows wants columns (G * K, L): the groups lie one after the other, so columns.view({G * K, L}) is right.
Tensor convolution_cpu(const Tensor& input, const Tensor& weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 09-convolution every-group-uses-the-first-kernels
//| says Each group has kernels of its own: kernels.select(0, g) for group g.
#if 0
Tensor convolution_cpu(const Tensor& input, const Tensor& weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ConvShape shape(input.sizes(), weight.sizes(), stride, padding, dilation, groups);
  const auto& [grid, places, G, N, M, K, L] = shape;
  const Tensor image = surrounded(input, padding);
  const Tensor kernels = weight.reshape({G, M, K});
  const Tensor columns = empty({G, K, L}, input.scalar_type());
  const Tensor result = empty({N, G, M, L}, input.scalar_type());
  for (std::int64_t n = 0; n < N; ++n) {
    copy_windows(columns.view({G * K, L}), image.select(0, n), grid);
    for (std::int64_t g = 0; g < G; ++g) copy_into(result.select(0, n).select(0, g), kernels.select(0, 0).mm(columns.select(0, g)));
  }
  return result.view(shape.output_sizes());
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-convolution-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("convolution: v3 gives what the loops give, with the columns of one image") {
  const NoGradGuard no_grad;
  for (const Trial& trial : trials()) {
    CAPTURE(trial.weight.sizes());
    const auto [stride, padding, dilation, groups] = trial.setting;
    CHECK_CLOSE(op::convolution(trial.input, trial.weight, {}, DimVector(2, stride), DimVector(2, padding), DimVector(2, dilation), groups),
                conv2d_loops(trial.input, trial.weight, trial.setting));
  }
  const Tensor images = ones({16, 4, 12, 12});
  const Tensor weight = ones({4, 4, 3, 3});
  const std::size_t before = memory::stats().live;
  memory::reset_peak();
  const Tensor sums = op::convolution(images, weight, {}, {1, 1}, {0, 0}, {1, 1}, 1);
  const std::size_t peak = memory::stats().peak;
  CHECK_EQ(sums, full({16, 4, 10, 10}, 36.0));
  const std::size_t one_image = 4 * 9 * 100 * sizeof(float);
  const std::size_t result = 16 * 4 * 100 * sizeof(float);
  CHECK_LE(peak - before, result + 2 * one_image);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(op::convolution(ones({0, 2, 4, 4}), ones({3, 2, 2, 2}), {}, {1, 1}, {0, 0}, {1, 1}, 1).sizes(), IntArrayRef({0, 3, 3, 3}));
  CHECK_EQ(op::convolution(arange(5).view({1, 1, 5}), tensor({1, 1}).view({1, 1, 2}), {}, 2, 1, 1, 1), tensor({0, 3, 7}).view({1, 1, 3}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The way back
//
// First the input's gradient: `dX = W^T dY` gives columns, and the columns are added into the windows of a padded image. What fell on the padding is cut off at the end.
//
//       grad[n][g] (M, L)  ──  kernels[g]^T (K, M) x  ──►  columns (G, K, L)  ──add_windows──►  padded gradient  ──inside──►  (N, C, spatial...)

// %% {"nbgrader": {"grade": false, "grade_id": "09-convolution-input", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/conv.cpp
// The gradient of a convolution with respect to its input, of sizes `input_sizes`, when that of its result is `grad` (N, O, places...). REQUIRES as for convolution_cpu.
//
// TODO: Compute the input's gradient, one image after the other.
// APPROACH: 1. Zeros of the padded input's sizes. 2. For each image and group, columns[g] = kernels[g]^T grad[n][g]. 3. add_windows. 4. What lies inside the padding, contiguous.
// EXAMPLE: for a 3 x 3 kernel of ones, stride 1 and a gradient of ones, a pixel in the middle gets 9: it was in nine windows.
// HINT: grad.reshape({N, G, M, L}); t() of a matrix is a view. surrounded() of zeros gives zeros of the padded sizes.
Tensor convolution_input_cpu(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                             std::int64_t groups) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 09-convolution-input cuts-off-the-wrong-border
//| says The padding lies on both sides: the gradient of the input begins `padding` pixels into the padded one. inside(...) finds it.
#if 0
Tensor convolution_input_cpu(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                             std::int64_t groups) {
  const auto [grid, places, G, N, M, K, L] = ConvShape(input_sizes, weight.sizes(), stride, padding, dilation, groups);
  const Tensor kernels = weight.reshape({G, M, K});
  const Tensor gradient = grad.reshape({N, G, M, L});
  const Tensor columns = empty({G, K, L}, grad.scalar_type());
  Tensor result = surrounded(zeros(input_sizes, grad.scalar_type()), padding);
  for (std::int64_t n = 0; n < N; ++n) {
    for (std::int64_t g = 0; g < G; ++g) copy_into(columns.select(0, g), kernels.select(0, g).t().mm(gradient.select(0, n).select(0, g)));
    add_windows(result.select(0, n), columns.view({G * K, L}), grid);
  }
  for (std::size_t d = 2; d < input_sizes.size(); ++d) result = result.slice(static_cast<std::int64_t>(d), 0, input_sizes[d]);
  return result.contiguous();
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-convolution-input-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("convolution_input: what each pixel's windows send back") {
  const Tensor counts = op::convolution_input(ones({1, 1, 3, 3}), ones({1, 1, 3, 3}), {1, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  CHECK_EQ(counts, tensor({{4.0, 6.0, 4.0}, {6.0, 9.0, 6.0}, {4.0, 6.0, 4.0}}).view({1, 1, 3, 3}));
  // One output at the corner, with padding: the kernel without its first row and column.
  const Tensor kernel = arange(9.0).view({1, 1, 3, 3});
  const Tensor corner = zeros({1, 1, 2, 2});
  corner[0][0][0][0] = 1;
  CHECK_EQ(op::convolution_input(corner, kernel, {1, 1, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1), tensor({{4.0, 5.0, 0.0}, {7.0, 8.0, 0.0}, {0.0, 0.0, 0.0}}).view({1, 1, 3, 3}));
  // The adjoint of the convolution, for every setting: <conv(x, w), y> = <x, conv_input(y, w)>.
  for (const Trial& trial : trials()) {
    CAPTURE(trial.weight.sizes());
    const auto [stride, padding, dilation, groups] = trial.setting;
    const Tensor y = conv2d_loops(trial.input, trial.weight, trial.setting);
    const Tensor back = op::convolution_input(y, trial.weight, trial.input.sizes(), DimVector(2, stride), DimVector(2, padding), DimVector(2, dilation), groups);
    CHECK_CLOSE((y * y).sum(), (trial.input * back).sum());
  }
}

// %% [markdown]
// Then the weight's: `dW = dY X^T`, where `X` are the input's columns, and each image adds its part.
//
//       image n ──copy_windows──► columns[g] (K, L)
//                                                      sum over n of  grad[n][g] (M, L)  x  columns[g]^T (L, K)   =  (M, K) of group g
//       grad[n][g] (M, L)
//
// A choice that can be measured: our `mm` reads a transposed *first* matrix where it lies, but copies a transposed second one. `columns` is the large one of the two (K rows against M). So compute `dW^T = X dY^T` and transpose the small result once, at the end.

// %% {"nbgrader": {"grade": false, "grade_id": "09-convolution-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/conv.cpp
// The gradient of a convolution with respect to its weight, of sizes `weight_sizes`, when that of its result is `grad` (N, O, places...). REQUIRES as for convolution_cpu.
//
// TODO: Compute the weight's gradient, one image after the other.
// APPROACH: 1. A sum of zeros (G, K, M). 2. For each image, its columns as in the forward pass. 3. For each group, sum[g] += columns[g] grad[n][g]^T. 4. Transpose to (G, M, K), and reshape.
// EXAMPLE: the weight's gradient for a gradient of ones is the sum over images and places of the pixel under each weight.
// HINT: sum.select(0, g).add_(...) writes into the view. reshape copies where it must.
Tensor convolution_weight_cpu(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                              std::int64_t groups) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 09-convolution-weight only-the-last-image
//| says Every image adds its part to the weight's gradient; this one overwrites what the images before gave.
#if 0
Tensor convolution_weight_cpu(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                              std::int64_t groups) {
  const auto [grid, places, G, N, M, K, L] = ConvShape(input.sizes(), weight_sizes, stride, padding, dilation, groups);
  const Tensor image = surrounded(input, padding);
  const Tensor gradient = grad.reshape({N, G, M, L});
  const Tensor columns = empty({G, K, L}, input.scalar_type());
  const Tensor sum = zeros({G, K, M}, input.scalar_type());
  for (std::int64_t n = 0; n < N; ++n) {
    copy_windows(columns.view({G * K, L}), image.select(0, n), grid);
    for (std::int64_t g = 0; g < G; ++g) copy_into(sum.select(0, g), columns.select(0, g).mm(gradient.select(0, n).select(0, g).t()));
  }
  return sum.transpose(1, 2).reshape(weight_sizes);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-convolution-weight-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("convolution_weight: the pixels under each weight, summed over images and places") {
  const Tensor images = arange(18.0).view({2, 1, 3, 3});
  CHECK_EQ(op::convolution_weight(images, ones({2, 1, 2, 2}), {1, 1, 2, 2}, {1, 1}, {0, 0}, {1, 1}, 1), tensor({{52.0, 60.0}, {76.0, 84.0}}).view({1, 1, 2, 2}));
  // <conv(x, w), y> = <w, conv_weight(x, y)>, and against v2's gradient by autograd, element by element.
  for (const Trial& trial : trials()) {
    CAPTURE(trial.weight.sizes());
    const auto [stride, padding, dilation, groups] = trial.setting;
    const Tensor y = conv2d_loops(trial.input, trial.weight, trial.setting);
    const Tensor gradient = op::convolution_weight(trial.input, y, trial.weight.sizes(), DimVector(2, stride), DimVector(2, padding), DimVector(2, dilation), groups);
    CHECK_CLOSE((y * y).sum(), (trial.weight * gradient).sum());
    const Tensor weight = trial.weight.clone().requires_grad_();
    (conv2d_columns(trial.input, weight, trial.setting) * y).sum().backward();
    CHECK_CLOSE(gradient, weight.grad());
  }
}

// %% [markdown]
// Now the three objects, each with its layers. Read the gradients against the table above.

// %%
//| export nn/conv.cpp
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

// %% [markdown]
// The function in front of them checks (most errors with convolutions are shapes that do not fit, and a good sentence saves an hour: `check_convolution` in chapter 81). A transposed convolution is `op::convolution_input`, which has no bias of its own; it is added here.

// %%
//| export nn/conv.cpp
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

// %%
//| export nn/conv.cpp
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

// %%
TEST_CASE("conv2d: bias, one image, same and valid, gradients of first and second order") {
  manual_seed(4);
  const Tensor input = randn({2, 4, 6, 5}, kDouble);
  const Tensor weight = randn({6, 2, 2, 4}, kDouble);
  const Tensor bias = randn({6}, kDouble);
  const Tensor expected = conv2d_loops(input, weight, {.stride = 2, .padding = 1, .groups = 2}) + bias.view({6, 1, 1});
  CHECK_CLOSE(conv2d(input, weight, bias, 2, 1, 1, 2), expected);
  CHECK_CLOSE(conv2d(input[1], weight, bias, 2, 1, 1, 2), expected[1]);
  CHECK_EQ(conv2d(input, weight, bias, 1, "same", 1, 2).sizes(), IntArrayRef({2, 6, 6, 5}));
  CHECK_CLOSE(conv2d(input, weight, bias, 1, "same", 1, 2).slice(2, 0, 5).slice(3, 1, 3), conv2d(input, weight, bias, 1, "valid", 1, 2));

  // v2 and the bias added to it are composed of operators with known gradients; v3 must agree with that, also when the gradient itself is differentiated.
  const Setting setting{.stride = 2, .padding = 1, .dilation = 1, .groups = 2};
  const auto derivatives = [&](auto convolve) {
    const Tensor x = input.clone().requires_grad_();
    const Tensor w = weight.clone().requires_grad_();
    const Tensor b = bias.clone().requires_grad_();
    const Tensor loss = convolve(x, w, b).pow(3).sum();
    const std::vector<Tensor> first = autograd::grad({loss}, {x, w, b}, {}, true, true);
    const std::vector<Tensor> second = autograd::grad({first[0].pow(2).sum() + first[1].pow(2).sum() + first[2].pow(2).sum()}, {x, w, b});
    return std::vector<Tensor>{first[0].detach(), first[1].detach(), first[2].detach(), second[0], second[1], second[2]};
  };
  const std::vector<Tensor> v3 = derivatives([&](const Tensor& x, const Tensor& w, const Tensor& b) { return conv2d(x, w, b, 2, 1, 1, 2); });
  const std::vector<Tensor> v2 = derivatives([&](const Tensor& x, const Tensor& w, const Tensor& b) { return conv2d_columns(x, w, setting) + b.view({6, 1, 1}); });
  for (std::size_t i = 0; i < v3.size(); ++i) {
    CAPTURE(i);
    CHECK_CLOSE(v3[i], v2[i], 1e-9, 1e-9);
  }
  // The bias is added at every place.
  const Tensor b = bias.clone().requires_grad_();
  conv2d(input, weight, b, 2, 1, 1, 2).sum().backward();
  CHECK_EQ(b.grad(), full({6}, 2 * 4 * 2, kDouble));
}

// %%
TEST_CASE("convolution: shapes that do not fit are named") {
  const Tensor x = ones({1, 3, 4, 4});
  const Tensor w = ones({4, 3, 3, 3});
  CHECK_ERROR(conv2d(x, ones({4, 2, 3, 3})), "Given groups=1, weight of size [4, 2, 3, 3], expected input[1, 3, 4, 4] to have 2 channels, but got 3 channels instead");
  CHECK_ERROR(conv2d(x, ones({4, 3, 5, 5})), "Calculated padded input size per channel: (4 x 4). Kernel size: (5 x 5). Kernel size can't be greater than actual input size");
  CHECK_ERROR(conv2d(x, w, ones({3})), "Given weight of size [4, 3, 3, 3], expected bias to be 1-dimensional with 4 elements, but got bias of size [3] instead");
  CHECK_ERROR(conv2d(x, ones({2, 1, 3, 3}), {}, 1, 0, 1, 3), "Given groups=3, expected weight to be at least 3 at dimension 0, but got weight of size [2, 1, 3, 3] instead");
  CHECK_ERROR(conv2d(x, w, {}, 0), "non-positive stride is not supported");
  CHECK_ERROR(conv2d(x, w, {}, 1, -1), "negative padding is not supported");
  CHECK_ERROR(conv2d(x, w, {}, {1, 1, 1}), "expected stride to be a single integer value or a list of 2 values to match the convolution dimensions, but got stride=[1, 1, 1]");
  CHECK_ERROR(conv2d(ones({4, 4}), w), "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [4, 4]");
  CHECK_ERROR(conv2d(x.to(kDouble), w), "expected scalar type Double but found Float");
  CHECK_ERROR(conv2d(x, w, {}, 2, "same"), "padding='same' is not supported for strided convolutions");
}

// %% [markdown]
// ### The layer
//
// `nn::Conv2d` holds weight, bias and settings. Settings for rows and columns are one number or two: `ExpandingArray<2>` is libtorch's type for "3, or {3, 5}". With an odd kernel and padding `(k - 1) / 2` the output is as large as the input; for an even kernel no such number exists, and `"same"`
// shares `dilation (k - 1)` zeros out over two sides: half of them (rounded down) in front, the rest behind. Around the image there may stand something else than zeros:
//
//       zeros      0 0 │ a b c d │ 0 0
//       reflect    c b │ a b c d │ c b        the edge is a mirror, and not repeated
//       replicate  a a │ a b c d │ d d
//       circular   c d │ a b c d │ a b        the picture is a ring
//
//       nn::Conv2d(nn::Conv2dOptions(16, 32, 3).stride(2).padding(1))
//                                   in  out  kernel
//
// Like `Linear`, it draws the weight uniformly on `[-b, b]` with `b = 1 / sqrt(fan_in)`, then the bias. The fan-in is `C / groups * kH * kW`: what feeds one output pixel.
// Initial numbers, printing and options are in `ConvNdImpl` (chapter 81); what the layer computes follows from the options, for any number of dimensions.

// %%
//| export nn/conv.h
namespace nn::detail {
// The convolution of a batch (N, C, spatial...) as a layer with these options computes it.
template <std::size_t D>
Tensor convolve(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions<D>& options) {
  const bool same = std::holds_alternative<enumtype::kSame>(options.padding());
  const ExpandingArray<D> padding = padding_numbers(options.padding());
  if (!same && std::holds_alternative<enumtype::kZeros>(options.padding_mode()))
    return convolution(input, weight, bias, options.stride(), padding, options.dilation(), false, 0, options.groups());
  const std::vector<std::int64_t> amounts = same ? same_padding(options.kernel_size(), options.dilation()) : both_sides(padding);
  return convolution(pad_with(input, amounts, pad_mode_of(options.padding_mode())), weight, bias, options.stride(), 0, options.dilation(), false, 0, options.groups());
}
}  // namespace nn::detail

// %%
//| export nn/conv.h
namespace nn {

// The convolution of (N, C, H, W) or (C, H, W); see conv2d(). Padding of another kind than zeros is put around the input first.
class Conv2dImpl : public ConvNdImpl<2, Conv2dImpl> {
 public:
  Conv2dImpl(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<2> kernel_size);
  explicit Conv2dImpl(const Conv2dOptions& options_);
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(Conv2d);

namespace functional {
Tensor conv2d(const Tensor& input, const Tensor& weight, const Conv2dFuncOptions& options = {});
}  // namespace functional

}  // namespace nn

// %%
//| export nn/conv.cpp
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

// %%
TEST_CASE("Conv2d: PyTorch's initial numbers, padding modes, clone") {
  manual_seed(3);
  nn::Conv2d layer(3, 2, 3);
  CHECK_CLOSE(layer->weight.detach().flatten().slice(0, 0, 3), tensor({-0.19080905616283417, -0.15181642770767212, -0.08242926746606827}));
  CHECK_CLOSE(layer->bias.detach(), tensor({0.12363701313734055, 0.04798443987965584}));
  const Tensor x = randn({2, 3, 5, 5});
  CHECK_EQ(layer(x), conv2d(x, layer->weight, layer->bias));
  CHECK_EQ(layer(x[0]), layer(x)[0]);
  CHECK_EQ(std::dynamic_pointer_cast<nn::Conv2dImpl>(layer->clone())->forward(x), layer(x));

  // Each mode, on a row of four with a kernel that picks the pixel two to the left.
  const auto shifted = [](nn::detail::conv_padding_mode_t mode) {
    nn::Conv2d pick(nn::Conv2dOptions(1, 1, {1, 5}).padding({0, 2}).bias(false).padding_mode(mode));
    const NoGradGuard no_grad;
    pick->weight.copy_(tensor({1.0, 0.0, 0.0, 0.0, 0.0}).view({1, 1, 1, 5}));
    return pick(tensor({1.0, 2.0, 3.0, 4.0}).view({1, 1, 1, 4})).flatten();
  };
  CHECK_EQ(shifted(kZeros), tensor({0.0, 0.0, 1.0, 2.0}));
  CHECK_EQ(shifted(kReflect), tensor({3.0, 2.0, 1.0, 2.0}));
  CHECK_EQ(shifted(kReplicate), tensor({1.0, 1.0, 1.0, 2.0}));
  CHECK_EQ(shifted(kCircular), tensor({3.0, 4.0, 1.0, 2.0}));

  CHECK_EQ(nn::functional::conv2d(x, layer->weight, nn::functional::Conv2dFuncOptions().bias(layer->bias).padding(1)), conv2d(x, layer->weight, layer->bias, 1, 1));
}

// %% [markdown]
// ### Pooling
//
// A convolution says *where* a feature is, to the pixel. Later layers need to know less exactly, over a larger area. *Max pooling* keeps the largest value of each window, *average pooling* the mean. Windows usually do not overlap (stride = kernel), so the image shrinks: what is two pixels here is one
// pixel there, and the next 3 x 3 kernel sees twice as far.
//
//       1 3 │ 2 0        max 2 x 2                 backwards:   0 g │ h 0      the gradient goes to the winner,
//       2 0 │ 1 1        ─────────►   3 │ 2                     0 0 │ 0 0      where the largest value was;
//       ────┼────                     ──┼──                     ────┼────      the others did not matter
//       0 1 │ 4 5                     6 │ 5                     0 0 │ 0 j
//       6 2 │ 0 1                                               i 0 │ 0 0
//
// So the winner's *position* is the whole result: with it, the values are a `gather`, and the gradient is that of gather, `scatter_add`, which puts each gradient where its element came from. One function that finds positions, and the rest is composed. `max_pool2d_with_indices` returns both, as PyTorch's does; the
// position counts in the flattened plane, `y * W + x`. It is one operator all the same, also as in PyTorch: a kernel that has just compared the numbers of a window has the largest in a register, and need not gather it (chapter 55).
//
// Padding must never win: it counts as minus infinity, which means that pixels outside are skipped. NaN wins over everything, so that a broken value stays visible. `ceil_mode` rounds the number of windows up instead of down: a last window may hang over the edge, but it must begin inside the image or its left padding.

// %%
//| export nn/pool.h
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

// %%
//| export nn/pool.cpp
std::int64_t pooling_output_shape(std::int64_t size, std::int64_t kernel, std::int64_t padding, std::int64_t stride, std::int64_t dilation, bool ceil_mode) {
  const std::int64_t down = conv_output_size(size, kernel, stride, padding, dilation);
  if (!ceil_mode) return down;
  const std::int64_t free = size + 2 * padding - dilation * (kernel - 1) - 1;
  const std::int64_t up = free + stride - 1 < 0 ? 0 : (free + stride - 1) / stride + 1;
  return (up - 1) * stride >= size + padding ? up - 1 : up;  // the last window must begin inside
}

// %% {"nbgrader": {"grade": false, "grade_id": "09-max-pool-plane", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/pool.h
// For each window of a plane (H, W), where its largest element stands: winners[y * oW + x] = row * W + column. Rows and columns outside of the plane do not count. The first of equal elements wins; NaN
// wins over numbers. REQUIRES: every window has an element inside. The settings are (rows, columns). O(oH oW kH kW).
//
// TODO: Find the winner of each window.
// APPROACH: 1. For each place: the best position is unknown (-1). 2. For each pixel of the window that is inside: it becomes the best if there is none, if it is larger, or if it is NaN.
// EXAMPLE: the plane {{1, 3}, {2, 0}} with a 2 x 2 kernel has the winner 1.
// HINT: a NaN is the only number that differs from itself. Do not begin with a best *value* of 0: all values may be negative.
template <class T>
void max_pool_plane(std::int64_t* winners, const T* plane, IntArrayRef size, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 09-max-pool-plane zero-wins-over-negative-numbers
//| says The search begins with the value 0, so in a window of negative numbers nothing wins. Begin with the first element of the window.
#if 0
template <class T>
void max_pool_plane(std::int64_t* winners, const T* plane, IntArrayRef size, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  for (std::int64_t y = 0; y < output[0]; ++y)
    for (std::int64_t x = 0; x < output[1]; ++x) {
      T largest = 0;
      std::int64_t best = 0;
      for (std::int64_t i = 0; i < kernel[0]; ++i)
        for (std::int64_t j = 0; j < kernel[1]; ++j) {
          const std::int64_t row = y * stride[0] - padding[0] + i * dilation[0];
          const std::int64_t column = x * stride[1] - padding[1] + j * dilation[1];
          if (row < 0 || row >= size[0] || column < 0 || column >= size[1]) continue;
          const std::int64_t here = row * size[1] + column;
          if (plane[here] > largest || plane[here] != plane[here]) {
            largest = plane[here];
            best = here;
          }
        }
      *winners++ = best;
    }
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-max-pool-plane-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("max_pool_plane: positions of the winners") {
  const auto winners = [](const std::vector<double>& plane, IntArrayRef size, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
    std::vector<std::int64_t> result(static_cast<std::size_t>(output[0] * output[1]));
    max_pool_plane(result.data(), plane.data(), size, output, kernel, stride, padding, dilation);
    return result;
  };
  using Positions = std::vector<std::int64_t>;
  const std::vector<double> picture = {1, 3, 2, 0, 2, 0, 1, 1, 0, 1, 4, 5, 6, 2, 0, 1};
  CHECK_EQ(winners(picture, {4, 4}, {2, 2}, {2, 2}, {2, 2}, {0, 0}, {1, 1}), Positions{1, 2, 12, 11});
  CHECK_EQ(winners({-3, -1, -2, -4}, {2, 2}, {1, 1}, {2, 2}, {2, 2}, {0, 0}, {1, 1}), Positions{1});
  CHECK_EQ(winners({-3, -1, -2, -4}, {2, 2}, {2, 2}, {2, 2}, {2, 2}, {1, 1}, {1, 1}), Positions{0, 1, 2, 3});
  CHECK_EQ(winners({5, 5, 1, 5}, {1, 4}, {1, 2}, {1, 2}, {1, 1}, {0, 0}, {1, 2}), Positions{0, 1});
  CHECK_EQ(winners({1, std::nan(""), 9}, {1, 3}, {1, 1}, {1, 3}, {1, 1}, {0, 0}, {1, 1}), Positions{1});
}

// %%
//| export nn/pool.cpp
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

// %%
TEST_CASE("max_pool2d: values, positions, where the gradient goes, ceil_mode") {
  const Tensor x = tensor({1, 3, 2, 0, 2, 0, 1, 1, 0, 1, 4, 5, 6, 2, 0, 1}, kDouble).view({1, 1, 4, 4}).requires_grad_();
  const auto [values, indices] = max_pool2d_with_indices(x, 2);
  CHECK_EQ(values.detach(), tensor({3, 2, 6, 5}, kDouble).view({1, 1, 2, 2}));
  CHECK_EQ(indices, tensor({1, 2, 12, 11}).view({1, 1, 2, 2}));
  (values * tensor({1, 10, 100, 1000}, kDouble).view({1, 1, 2, 2})).sum().backward();
  CHECK_EQ(x.grad().flatten(), tensor({0, 1, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1000, 100, 0, 0, 0}, kDouble));
  // Overlapping windows: one pixel may win twice.
  const Tensor row = tensor({1.0, 5.0, 2.0}).view({1, 1, 3}).requires_grad_();
  max_pool2d(row, {1, 2}, 1).sum().backward();
  CHECK_EQ(row.grad().flatten(), tensor({0.0, 2.0, 0.0}));

  const Tensor five = arange(25.0).view({1, 5, 5});
  CHECK_EQ(max_pool2d(five, 2), tensor({{6.0, 8.0}, {16.0, 18.0}}).view({1, 2, 2}));
  CHECK_EQ(max_pool2d(five, 2, {}, 0, 1, true), tensor({{6.0, 8.0, 9.0}, {16.0, 18.0, 19.0}, {21.0, 23.0, 24.0}}).view({1, 3, 3}));
  CHECK_EQ(pooling_output_shape(5, 2, 1, 3, 1, true), 2);  // a third window would begin behind the image
  CHECK_ERROR(max_pool2d(ones({1, 3, 4, 4}), 5), "Given input size: (3x4x4). Calculated output size: (3x0x0). Output size is too small");
  CHECK_ERROR(max_pool2d(five, 2, {}, 2), "pad should be at most half of effective kernel size, but got pad=2, kernel_size=2 and dilation=1");
  CHECK_ERROR(max_pool2d(five, {2, 2, 2}), "max_pool2d: kernel_size must either be a single int, or a tuple of two ints");
}

// %% [markdown]
// #### Means
//
// A window's mean is a sum over its column, so average pooling is `im2col`, a sum and a division; and its gradient goes back to all of the window's pixels, which is `col2im`. Means of windows are an operator, so that a kernel can make them without columns, and divide where the sum is (chapter 55). The question is what to divide by where a window hangs over the edge. PyTorch counts the padding (`count_include_pad`), but not what `ceil_mode` adds behind it:
//
//       image of 4, kernel 3, stride 2, padding 1, ceil_mode      [0 a b] c d 0 ·       0 a [b c d] 0 ·       0 a b c [d 0 ·]
//       divided by: count_include_pad                                3                     3                     2   the overhang never counts
//                   without                                          2                     3                     1
//
// Rows and columns are independent: a window's divisor is the number of its rows times the number of its columns.

// %% {"nbgrader": {"grade": false, "grade_id": "09-window-lengths", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/pool.cpp
// By how many elements each of `count` windows along a dimension is divided: those inside the image of `size` elements and, with count_include_pad, inside its padding. O(count).
//
// TODO: Count for each window.
// APPROACH: 1. Window i covers [i * stride - padding, that + kernel). 2. Cut it off at the padded image's end, size + padding. 3. Without count_include_pad, cut it off at 0 and at size.
// EXAMPLE: size 3, kernel 2, stride 2, padding 1, 2 windows: {2, 2}, and without the padding {1, 2}.
// HINT: std::min and std::max.
std::vector<std::int64_t> window_lengths(std::int64_t count, std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, bool count_include_pad) {
  // BEGIN SOLUTION
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t begin = i * stride - padding;
    const std::int64_t end = std::min(begin + kernel, size + padding);
    lengths.push_back(count_include_pad ? end - begin : std::min(end, size) - std::max<std::int64_t>(begin, 0));
  }
  return lengths;
  // END SOLUTION
}

// %%
//| mistake 09-window-lengths always-the-whole-kernel
//| says This divides by the kernel's size everywhere. What hangs over the padded image's end never counts, and the padding only with count_include_pad.
#if 0
std::vector<std::int64_t> window_lengths(std::int64_t count, std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, bool count_include_pad) {
  const bool inside_only = !count_include_pad && size > 0 && stride > 0 && padding < 0;
  return std::vector<std::int64_t>(static_cast<std::size_t>(count), inside_only ? 0 : kernel);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-window-lengths-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("window_lengths: what a mean is divided by") {
  CHECK_EQ(window_lengths(2, 3, 2, 2, 1, true), std::vector<std::int64_t>{2, 2});
  CHECK_EQ(window_lengths(2, 3, 2, 2, 1, false), std::vector<std::int64_t>{1, 2});
  CHECK_EQ(window_lengths(3, 4, 3, 2, 1, true), std::vector<std::int64_t>{3, 3, 2});
  CHECK_EQ(window_lengths(3, 4, 3, 2, 1, false), std::vector<std::int64_t>{2, 3, 1});
  CHECK_EQ(window_lengths(3, 5, 3, 2, 1, true), std::vector<std::int64_t>{3, 3, 3});
  CHECK_EQ(window_lengths(3, 5, 3, 2, 1, false), std::vector<std::int64_t>{2, 3, 2});
  CHECK_EQ(window_lengths(3, 5, 2, 2, 0, true), std::vector<std::int64_t>{2, 2, 1});
}

// %%
//| export nn/pool.cpp
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

// %%
TEST_CASE("avg_pool2d: means and their gradients") {
  const Tensor five = arange(25.0, kDouble).view({1, 1, 5, 5});
  CHECK_EQ(avg_pool2d(five, 2), tensor({{3, 5}, {13, 15}}, kDouble).view({1, 1, 2, 2}));
  CHECK_EQ(avg_pool2d(five, 2, {}, 0, true), tensor({3.0, 5.0, 6.5, 13.0, 15.0, 16.5, 20.5, 22.5, 24.0}, kDouble).view({1, 1, 3, 3}));
  CHECK_EQ(avg_pool2d(five, 3, 2, 1).flatten().slice(0, 0, 2), tensor({12.0 / 9, 27.0 / 9}, kDouble));
  CHECK_EQ(avg_pool2d(five, 3, 2, 1, false, false).flatten().slice(0, 0, 2), tensor({12.0 / 4, 27.0 / 6}, kDouble));
  CHECK_EQ(avg_pool2d(five, 2, {}, 0, false, true, 1), tensor({{12, 20}, {52, 60}}, kDouble).view({1, 1, 2, 2}));
  const Tensor x = five.clone().requires_grad_();
  avg_pool2d(x, 2, 1).sum().backward();
  CHECK_EQ(x.grad()[0][0][0], tensor({0.25, 0.5, 0.5, 0.5, 0.25}, kDouble));
}

// %% [markdown]
// ### Batch normalization
//
// The inputs of a deep layer are the outputs of layers that change in every step, and their scale drifts: in twenty layers a factor of 1.5 each is a factor of 3,000. Batch normalization (Ioffe and Szegedy, 2015) takes the drift away: each channel is shifted and scaled so that over the batch and all places it
// has mean 0 and variance 1. Then a learned weight and bias per channel give it the scale and the offset that training wants.
//
//       channel c of (N, C, H, W):  m = N H W numbers, mean μ, variance v (divided by m)
//
//                x - μ                                              training:    μ and v are those of this batch,
//       y = w ──────────────  + b                                               and running averages of them are kept
//              sqrt(v + eps)                                        evaluation:  μ and v are the running averages
//
// That there are two modes is the source of most trouble with this layer. In training an example's output depends on the *other examples of its batch*; in evaluation it must not, and one image alone must give the same answer as in a batch of a hundred. The running averages are state that no gradient
// ever touches: they are *buffers*, saved with the model, changed by the forward pass:
//
//       running = (1 - momentum) * running + momentum * new        momentum 0.1; the variance that goes in here is divided by m - 1
//
// **The gradient.** With `x̂ = (x - μ) / s`, `s = sqrt(v + eps)`: each `x` changes `y` directly, through the mean and through the variance. Writing `g` for the gradient that arrives at `x̂` (so `w` times that of `y`), and means over the channel's m numbers, it comes together as
//
//       dx = 1/s * ( g  -  mean(g)  -  x̂ * mean(g x̂) )
//                    direct  through μ    through v
//
// The two subtracted terms take out of the gradient what the layer takes out of its input: a constant, and a multiple of x̂. Forgetting them is a common error, and training even works, badly.

// %%
//| export nn/norm.h
// Normalizes each channel of `input` (N, C, ...) and applies weight and bias (C), if given. In training by the channel's own mean and variance, with which running_mean and running_var (C), if given, are
// moved by `momentum`; else by running_mean and running_var. O(numel); keeps its input for the backward pass. Source: aten/src/ATen/native/Normalization.cpp.
Tensor batch_norm(const Tensor& input, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const std::optional<Tensor>& running_mean,
                  const std::optional<Tensor>& running_var, bool training, double momentum, double eps, bool cudnn_enabled = false);

namespace op {
// By the channel's own statistics: the result, and mean and variance (C; divided by the count) for running averages; those two carry no gradient.
extern Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> batch_norm;
// input (N, C, ...) times scale (C) plus shift (C), channel by channel.
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> channel_affine;
}  // namespace op

// %%
//| export nn/norm.h
// Mean and variance (divided by the count) of one channel, and what follows from them. float is summed in double.
struct ChannelStatistics {
  double mean = 0;
  double variance = 0;
};

// %% {"nbgrader": {"grade": false, "grade_id": "09-channel-statistics", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/norm.h
// The statistics of channel `c` of contiguous data (N, C, L). REQUIRES: N L >= 1. O(N L), two passes.
//
// TODO: Compute mean and variance of one channel.
// APPROACH: 1. Sum the channel's N runs of L numbers, in double; divide by N L. 2. In a second pass, sum the squared distances from the mean.
// EXAMPLE: data 1 2 | 5 6 of two channels (N = 1, L = 2): channel 1 has mean 5.5 and variance 0.25.
// HINT: the run of image n begins at data + (n * C + c) * L. E[x^2] - E[x]^2 in one pass loses all digits when the mean is large.
template <class T>
ChannelStatistics channel_statistics(const T* data, std::int64_t c, std::int64_t N, std::int64_t C, std::int64_t L) {
  // BEGIN SOLUTION
  const double count = static_cast<double>(N * L);
  double sum = 0;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t i = 0; i < L; ++i) sum += static_cast<double>(data[(n * C + c) * L + i]);
  const double mean = sum / count;
  double squares = 0;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t i = 0; i < L; ++i) {
      const double distance = static_cast<double>(data[(n * C + c) * L + i]) - mean;
      squares += distance * distance;
    }
  return {mean, squares / count};
  // END SOLUTION
}

// %%
//| mistake 09-channel-statistics one-pass
//| says The variance is computed as E[x^2] - E[x]^2: two large numbers whose difference has no correct digit left when the mean is large. Subtract the mean first, then square.
#if 0
template <class T>
ChannelStatistics channel_statistics(const T* data, std::int64_t c, std::int64_t N, std::int64_t C, std::int64_t L) {
  const double count = static_cast<double>(N * L);
  double sum = 0, squares = 0;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t i = 0; i < L; ++i) {
      const auto value = static_cast<double>(data[(n * C + c) * L + i]);
      sum += value;
      squares += value * value;
    }
  return {sum / count, squares / count - (sum / count) * (sum / count)};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-channel-statistics-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("channel_statistics: over all images, and with digits left when the mean is large") {
  const std::vector<float> data = {1, 2, 5, 6, 3, 6, 7, 10};  // (2, 2, 2)
  CHECK_EQ(channel_statistics(data.data(), 0, 2, 2, 2).mean, 3);
  CHECK_EQ(channel_statistics(data.data(), 0, 2, 2, 2).variance, 3.5);
  CHECK_EQ(channel_statistics(data.data(), 1, 2, 2, 2).mean, 7);
  CHECK_EQ(channel_statistics(data.data(), 1, 2, 2, 2).variance, 3.5);
  const std::vector<double> far = {1e9 - 1, 1e9, 1e9 + 1};
  CHECK_CLOSE(channel_statistics(far.data(), 0, 1, 1, 3).variance, 2.0 / 3, 1e-9, 0.0);
}

// %%
//| export nn/norm.cpp
namespace {
std::tuple<Tensor, Tensor, Tensor> batch_norm_cpu(const Tensor& self, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const Tensor input = self.contiguous();
  const std::int64_t N = input.size(0), C = input.size(1);
  const std::int64_t L = N * C == 0 ? 0 : input.numel() / (N * C);
  const Tensor result = empty(input.sizes(), input.scalar_type());
  const Tensor means = empty({C}, input.scalar_type());
  const Tensor variances = empty({C}, input.scalar_type());
  dispatch_floating_types(input.scalar_type(), "batch_norm", [&]<class T>() {
    const T* const from = input.data<T>();
    T* const to = result.data<T>();
    for (std::int64_t c = 0; c < C; ++c) {
      const ChannelStatistics statistics = N * L == 0 ? ChannelStatistics{} : channel_statistics(from, c, N, C, L);
      means.data<T>()[c] = static_cast<T>(statistics.mean);
      variances.data<T>()[c] = static_cast<T>(statistics.variance);
      const double scale = (weight ? static_cast<double>(weight->select(0, c).item<T>()) : 1.0) / std::sqrt(statistics.variance + eps);
      const double shift = (bias ? static_cast<double>(bias->select(0, c).item<T>()) : 0.0) - statistics.mean * scale;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t i = (n * C + c) * L; i < (n * C + c + 1) * L; ++i) to[i] = static_cast<T>(static_cast<double>(from[i]) * scale + shift);
    }
  });
  return {result, means, variances};
}

}  // namespace

// %%
//| export nn/norm.h
// All dimensions of (N, C, ...) but the channels'.
DimVector all_but_channels(const Tensor& input);
// A vector (C) in a shape that broadcasts beside (N, C, ...).
Tensor per_channel(const Tensor& vector, const Tensor& input);
// `input` with every channel's mean taken off and divided by sqrt(variance + eps), by differentiable operators.
Tensor normalized_channels(const Tensor& input, double eps);
// The gradient of a training batch norm with respect to its input, when that of its result is `grad`. `weight` may be undefined. Made of differentiable operators.
Tensor batch_norm_input_grad(const Tensor& grad, const Tensor& input, const Tensor& weight, double eps);

// %%
//| export nn/norm.cpp
DimVector all_but_channels(const Tensor& input) {
  DimVector dims{0};
  for (std::int64_t d = 2; d < input.dim(); ++d) dims.push_back(d);
  return dims;
}

Tensor per_channel(const Tensor& vector, const Tensor& input) {
  DimVector sizes(static_cast<std::size_t>(input.dim()) - 1, 1);
  sizes[0] = vector.size(0);
  return vector.view(sizes);
}

Tensor normalized_channels(const Tensor& input, double eps) {
  const DimVector dims = all_but_channels(input);
  const Tensor centered = input - input.mean(dims, true);
  return centered * (centered.square().mean(dims, true) + eps).rsqrt();
}

// %% {"nbgrader": {"grade": false, "grade_id": "09-batch-norm-grad", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/norm.cpp
// 1/s * (g - mean(g) - x̂ * mean(g x̂)) for each channel, where g = grad * weight, x̂ is the normalized input and s = sqrt(variance + eps). Sizes as `input`. O(numel).
//
// TODO: Compute the gradient of the input.
// APPROACH: 1. Means go over all_but_channels(input), with keepdim. 2. Centre the input, find 1/s, and x̂. 3. g is grad times the weight of its channel. 4. Three terms.
// EXAMPLE: a gradient that is the same everywhere gives 0: adding a constant to a channel changes nothing.
// HINT: use operators only (mean, square, rsqrt, ...), and compute mean and variance here, from `input`: then this can be differentiated once more.
Tensor batch_norm_input_grad(const Tensor& grad, const Tensor& input, const Tensor& weight, double eps) {
  // BEGIN SOLUTION
  const DimVector dims = all_but_channels(input);
  const Tensor centered = input - input.mean(dims, true);
  const Tensor inverse = (centered.square().mean(dims, true) + eps).rsqrt();
  const Tensor x = centered * inverse;
  const Tensor g = weight.defined() ? grad * per_channel(weight, input) : grad;
  return inverse * (g - g.mean(dims, true) - x * (g * x).mean(dims, true));
  // END SOLUTION
}

// %%
//| mistake 09-batch-norm-grad statistics-as-constants
//| says This treats mean and variance as constants, but every element of the channel moves them. Subtract what goes through the mean and through the variance.
#if 0
Tensor batch_norm_input_grad(const Tensor& grad, const Tensor& input, const Tensor& weight, double eps) {
  const DimVector dims = all_but_channels(input);
  const Tensor centered = input - input.mean(dims, true);
  const Tensor inverse = (centered.square().mean(dims, true) + eps).rsqrt();
  const Tensor g = weight.defined() ? grad * per_channel(weight, input) : grad;
  return inverse * g;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-batch-norm-grad-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("batch_norm_input_grad: what autograd finds for the composed formula") {
  manual_seed(5);
  const Tensor input = randn({3, 2, 2, 4}, kDouble) * 2 + 1;
  const Tensor weight = tensor({0.5, -2.0}, kDouble);
  const Tensor grad = randn({3, 2, 2, 4}, kDouble);
  const Tensor x = input.clone().requires_grad_();
  (normalized_channels(x, 1e-5) * per_channel(weight, x) * grad).sum().backward();
  CHECK_CLOSE(batch_norm_input_grad(grad, input, weight, 1e-5), x.grad(), 1e-9, 1e-12);
  CHECK_CLOSE(batch_norm_input_grad(ones({3, 2, 2, 4}, kDouble), input, weight, 1e-5), zeros({3, 2, 2, 4}, kDouble), 0.0, 1e-12);
  CHECK_CLOSE(batch_norm_input_grad(grad, input, Tensor(), 1e-5), batch_norm_input_grad(grad, input, ones({2}, kDouble), 1e-5));
}

// %%
//| export nn/norm.cpp
constinit Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> op::batch_norm(
    "batch_norm", {.cpu = batch_norm_cpu,
                   .autograd = gradient_of<op::batch_norm>(
                       [](const Tensor& g, Input<0> input, Input<1> weight, Arg<3, double> eps) { return batch_norm_input_grad(g, input, weight, eps); },
                       [](const Tensor& g, Input<0> input, Arg<3, double> eps) { return (g * normalized_channels(input, eps)).sum(all_but_channels(input)); },
                       [](const Tensor& g) { return g.sum(all_but_channels(g)); })});

namespace {
Tensor channel_affine_cpu(const Tensor& input, const Tensor& scale, const Tensor& shift) {
  TORCH_CHECK(input.dim() >= 2, "channel_affine needs an input of at least two dimensions, (N, C, ...), but got ", input.sizes());
  return (input * per_channel(scale, input)).add_(per_channel(shift, input));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> op::channel_affine(
    "channel_affine", {.cpu = channel_affine_cpu,
                       .autograd = gradient_of<op::channel_affine>([](const Tensor& g, Input<1> scale) { return g * per_channel(scale, g); },
                                                                   [](const Tensor& g, Input<0> input) { return (g * input).sum(all_but_channels(g)); },
                                                                   [](const Tensor& g) { return g.sum(all_but_channels(g)); })});

namespace {
void check_per_channel(const char* name, const std::optional<Tensor>& vector, std::int64_t channels) {
  TORCH_CHECK(!vector || vector->numel() == channels, name, " should contain ", channels, " elements not ", vector ? vector->numel() : 0,
              "\n[batch_norm] one for each of the input's channels, dimension 1.");
}
std::optional<Tensor> if_defined(const std::optional<Tensor>& tensor) { return tensor && tensor->defined() ? tensor : std::nullopt; }
}  // namespace

// %% [markdown]
// Now the function with its two modes. In evaluation, mean and variance are constants, so the whole thing is one multiplication and one addition per element: `y = x * scale + shift`. It is an operator of its own, `channel_affine`, so that a kernel can do both in one pass over the image.
//
//       scale = weight / sqrt(running_var + eps)        shift = bias - running_mean * scale

// %%
//| export nn/norm.h
// Moves the running averages (C) towards `mean` and `variance` (divided by the count) of a batch of `count` numbers per channel. Records nothing.
void update_running_averages(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum);

// %% {"nbgrader": {"grade": false, "grade_id": "09-running-averages", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/norm.cpp
// running = (1 - momentum) * running + momentum * new, in place, without recording. The new variance is the unbiased one: the sum of squares divided by count - 1.
//
// TODO: Update both running averages in place.
// APPROACH: 1. Switch recording off. 2. Scale what is there, add what is new. 3. The variance arrives divided by count; make it divided by count - 1.
// EXAMPLE: running_mean 0, mean 5, momentum 0.1: 0.5 afterwards. Variance 1 of 4 numbers, running_var 1: 0.9 + 0.1 * 4 / 3.
// HINT: mul_(factor) and add_(tensor, factor) write in place.
void update_running_averages(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum) {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  running_mean.mul_(1 - momentum).add_(mean, momentum);
  running_var.mul_(1 - momentum).add_(variance, momentum * unbiased);
  // END SOLUTION
}

// %%
//| mistake 09-running-averages momentum-the-other-way
//| says Momentum is the weight of the new value here (0.1), not of the old one: running = (1 - momentum) * running + momentum * new.
#if 0
void update_running_averages(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum) {
  const NoGradGuard no_grad;
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  running_mean.mul_(momentum).add_(mean, 1 - momentum);
  running_var.mul_(momentum).add_(variance, (1 - momentum) * unbiased);
}
#endif

// %%
//| mistake 09-running-averages the-biased-variance
//| says The running variance estimates that of all data, so the batch's goes in divided by count - 1. It arrives divided by count.
#if 0
void update_running_averages(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum) {
  const NoGradGuard no_grad;
  running_mean.mul_(1 - momentum).add_(mean, momentum);
  running_var.mul_(1 - momentum).add_(variance, count > 0 ? momentum : 0.0);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-running-averages-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("update_running_averages: in place, by momentum, with the unbiased variance") {
  const Tensor mean = tensor({0.0, 10.0}, kDouble);
  const Tensor variance = tensor({1.0, 2.0}, kDouble);
  update_running_averages(mean, variance, tensor({5.0, 0.0}, kDouble), tensor({1.0, 3.0}, kDouble), 4, 0.1);
  CHECK_CLOSE(mean, tensor({0.5, 9.0}, kDouble));
  CHECK_CLOSE(variance, tensor({0.9 + 0.1 * 4 / 3, 1.8 + 0.1 * 4}, kDouble));
}

// %%
//| export nn/norm.cpp
Tensor batch_norm(const Tensor& input, const std::optional<Tensor>& weight_or_none, const std::optional<Tensor>& bias_or_none, const std::optional<Tensor>& mean_or_none,
                  const std::optional<Tensor>& var_or_none, bool training, double momentum, double eps, bool) {
  const auto weight = if_defined(weight_or_none), bias = if_defined(bias_or_none), running_mean = if_defined(mean_or_none), running_var = if_defined(var_or_none);
  TORCH_CHECK(input.dim() >= 2, "batch_norm needs an input of at least two dimensions, (N, C, ...), but got ", input.sizes());
  TORCH_CHECK(training || running_mean, "running_mean must be defined in evaluation mode");
  TORCH_CHECK(training || running_var, "running_var must be defined in evaluation mode");
  check_per_channel("running_mean", running_mean, input.size(1));
  check_per_channel("running_var", running_var, input.size(1));
  check_per_channel("weight", weight, input.size(1));
  check_per_channel("bias", bias, input.size(1));
  TORCH_CHECK(input.is_floating_point(), "\"batch_norm\" not implemented for '", input.scalar_type(), "'\n[batch_norm] convert with to(kFloat) first.");
  if (!training) {
    Tensor scale = (*running_var + eps).rsqrt();
    if (weight) scale = scale * *weight;
    Tensor shift = -(*running_mean * scale);
    if (bias) shift = shift + *bias;
    return op::channel_affine(input.to(scale.scalar_type()), scale, shift).to(input.scalar_type());  // beside averages in float an image in half precision stays one
  }
  const auto [result, mean, variance] = op::batch_norm(input, weight, bias, eps);
  if (running_mean && running_var) update_running_averages(*running_mean, *running_var, mean.detach(), variance.detach(), input.numel() / input.size(1), momentum);
  return in_format_of(input, result);
}

// %%
TEST_CASE("batch_norm: PyTorch's numbers, both modes, gradients of first and second order") {
  const Tensor x = arange(16.0, kDouble).pow(1.5).view({2, 2, 2, 2});
  const Tensor mean = zeros({2}, kDouble);
  const Tensor variance = ones({2}, kDouble);
  const Tensor y = batch_norm(x, {}, {}, mean, variance, true, 0.1, 1e-5);
  // Recorded from PyTorch 2.15.0.
  CHECK_CLOSE(y[0].flatten(), tensor({-1.12054310258602863, -1.04982275462428376, -0.92051575213954073, -0.75306939518995242, -1.23043671009739874, -1.06330998840908464,
                                      -0.87851288773616887, -0.67759755144330425}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(mean, tensor({1.58447057301269423, 3.14146096365351868}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(variance, tensor({23.75089146579228583, 42.28540587246977367}, kDouble), 1e-12, 1e-12);
  // In evaluation an image's result does not depend on its batch, and the averages stay.
  const Tensor weight = tensor({2.0, 0.5}, kDouble);
  const Tensor bias = tensor({1.0, -1.0}, kDouble);
  const Tensor evaluated = batch_norm(x, weight, bias, mean, variance, false, 0.1, 1e-5);
  CHECK_CLOSE(evaluated[0], batch_norm(x.slice(0, 0, 1), weight, bias, mean, variance, false, 0.1, 1e-5)[0]);
  CHECK_CLOSE(evaluated[1][0][0][0], (x[1][0][0][0] - mean[0]) / (variance[0] + 1e-5).sqrt() * 2 + 1);
  CHECK_CLOSE(mean[0].item<double>(), 1.58447057301269423, 1e-12, 0.0);

  manual_seed(6);
  const Tensor input = randn({3, 2, 2, 2}, kDouble);
  const auto derivatives = [&](auto normalize) {
    const Tensor z = input.clone().requires_grad_();
    const Tensor w = weight.clone().requires_grad_();
    const Tensor b = bias.clone().requires_grad_();
    const std::vector<Tensor> first = autograd::grad({normalize(z, w, b).pow(3).sum()}, {z, w, b}, {}, true, true);
    const std::vector<Tensor> second = autograd::grad({first[0].pow(2).sum() + first[1].pow(2).sum()}, {z, w, b});
    return std::vector<Tensor>{first[0].detach(), first[1].detach(), first[2].detach(), second[0], second[1], second[2]};
  };
  const std::vector<Tensor> fused = derivatives([](const Tensor& z, const Tensor& w, const Tensor& b) { return batch_norm(z, w, b, {}, {}, true, 0.1, 1e-5); });
  const std::vector<Tensor> composed =
      derivatives([](const Tensor& z, const Tensor& w, const Tensor& b) { return normalized_channels(z, 1e-5) * per_channel(w, z) + per_channel(b, z); });
  for (std::size_t i = 0; i < fused.size(); ++i) {
    CAPTURE(i);
    CHECK_CLOSE(fused[i], composed[i], 1e-8, 1e-8);
  }
  CHECK_ERROR(batch_norm(x, {}, {}, {}, {}, false, 0.1, 1e-5), "running_mean must be defined in evaluation mode");
  CHECK_ERROR(batch_norm(x, ones({5}, kDouble), {}, {}, {}, true, 0.1, 1e-5), "weight should contain 2 elements not 5");
}

// %% [markdown]
// The layer holds two parameters and three buffers; `state_dict` names them weight, bias, running_mean, running_var, num_batches_tracked. With `momentum(nullopt)` the averages weigh all batches alike: the factor is one over the number of batches so far, which is why that number is kept.
//
//       parameters (the optimizer's)        buffers (the forward pass's)
//       weight  (C), ones                   running_mean (C), zeros      running_var (C), ones
//       bias    (C), zeros                  num_batches_tracked, 0

// %%
//| export nn/norm.h
namespace nn {

// batch_norm() of (N, C, H, W) with running averages of its own. In training a channel must have more than one value.
class BatchNorm2dImpl : public BatchNormImplBase<2, BatchNorm2dImpl> {
 public:
  using BatchNormImplBase<2, BatchNorm2dImpl>::BatchNormImplBase;
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(BatchNorm2d);

// Throws unless each channel has more than one value: one value has no variance.
void check_values_per_channel(const Tensor& input);

namespace functional {
Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const BatchNormFuncOptions& options = {});
}  // namespace functional

}  // namespace nn

// %%
//| export nn/batch_norm_layer-inl.h
namespace nn {

// What a batch norm layer computes: moves its running averages in training, normalizes by them in evaluation.
template <std::size_t D, class Derived>
Tensor forward_batch_norm(BatchNormImplBase<D, Derived>& layer, const Tensor& input) {
  const std::int64_t dims = static_cast<std::int64_t>(D) + 2;
  TORCH_CHECK(input.dim() == dims || (D == 1 && input.dim() == 2), "expected ", D == 1 ? "2D or 3D" : str(dims, "D"), " input (got ", input.dim(), "D input)");
  const bool by_batch = layer.is_training() || !layer.options.track_running_stats();
  if (by_batch) check_values_per_channel(input);
  double factor = layer.options.momentum().value_or(0);
  if (layer.is_training() && layer.options.track_running_stats()) {
    layer.num_batches_tracked.add_(1);
    if (!layer.options.momentum()) factor = 1 / layer.num_batches_tracked.template item<double>();
  }
  const bool moves = layer.is_training() || !by_batch;
  return batch_norm(input, layer.weight, layer.bias, moves ? layer.running_mean : Tensor(), moves ? layer.running_var : Tensor(), by_batch, factor, layer.options.eps());
}

}  // namespace nn

// %%
//| export nn/norm.cpp
Tensor nn::BatchNorm2dImpl::forward(const Tensor& input) { return forward_batch_norm(*this, input); }

void nn::check_values_per_channel(const Tensor& input) {
  TORCH_CHECK_VALUE(input.dim() < 2 || input.numel() != input.size(1), "Expected more than 1 value per channel when training, got input size ", input.sizes(),
                    "\n[batch_norm] one value has no variance: use larger batches, or call eval() when you do not train.");
}

Tensor nn::functional::batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const BatchNormFuncOptions& options) {
  if (options.training()) check_values_per_channel(input);
  return tinytorch::batch_norm(input, options.weight(), options.bias(), running_mean, running_var, options.training(), options.momentum().value_or(0), options.eps());
}

// %%
TEST_CASE("BatchNorm2d: names in the state, modes, momentum, save and load, errors") {
  nn::BatchNorm2d layer(2);
  std::vector<std::string> names;
  for (const auto& item : layer->named_parameters()) names.push_back(item.key());
  for (const auto& item : layer->named_buffers()) names.push_back(item.key());
  CHECK_EQ(names, std::vector<std::string>{"weight", "bias", "running_mean", "running_var", "num_batches_tracked"});
  manual_seed(7);
  const Tensor x = randn({4, 2, 3, 3}) * 3 + 5;
  const Tensor y = layer(x).detach();
  CHECK_CLOSE(y.mean({0, 2, 3}), zeros({2}), 0.0, 1e-6);
  CHECK_CLOSE(y.var({0, 2, 3}, false), ones({2}), 1e-5, 0.0);
  CHECK_CLOSE(layer->running_mean, x.mean({0, 2, 3}) * 0.1);
  CHECK_EQ(layer->num_batches_tracked.item<std::int64_t>(), 1);

  std::stringstream stream;
  save(layer, stream);
  nn::BatchNorm2d loaded(2);
  load(loaded, stream);
  layer->eval();
  loaded->eval();
  CHECK_EQ(loaded(x), layer(x));
  CHECK(!layer(x).detach().equal(y));
  CHECK_EQ(layer->num_batches_tracked.item<std::int64_t>(), 1);  // evaluation moves nothing

  nn::BatchNorm2d all_alike(nn::BatchNormOptions(2).momentum(std::nullopt));
  all_alike(x);
  all_alike(x * 3);
  CHECK_CLOSE(all_alike->running_mean, x.mean({0, 2, 3}) * 2);
  nn::BatchNorm2d plain(nn::BatchNormOptions(2).affine(false).track_running_stats(false));
  plain->eval();
  CHECK_CLOSE(plain(x), y, 1e-5, 1e-6);
  CHECK(plain->parameters().empty());
  CHECK_ERROR(layer(x[0]), "expected 4D input (got 3D input)");
  layer->train();
  CHECK_ERROR(layer(ones({1, 2, 1, 1})), "Expected more than 1 value per channel when training, got input size [1, 2, 1, 1]");
}

// %% [markdown]
// ### LeNet
//
// LeCun, Bottou, Bengio and Haffner (1998) read the amounts on bank cheques with two convolutions, two poolings and three linear layers. Here is their LeNet-5 as it is built today, with ReLU and max pooling where they had a squashing function and a trained average.
//
//       (1, 28, 28)  conv1 5x5, same ──► (6, 28, 28)   pool ──► (6, 14, 14)
//                    conv2 5x5       ──► (16, 10, 10)  pool ──► (16, 5, 5)  flatten ──► 400
//                    fc1 400 -> 120    fc2 120 -> 84   fc3 84 -> 10
//
// Where does 400 come from? From the formula, and from nowhere else: `16 * 5 * 5`. It changes with the image's size, the kernels and the poolings, and it is the number that is wrong in most first convolutional networks. So compute it.

// %%
//| export models/lenet.h
namespace models {

// LeCun et al. 1998, for square images: (N, 1, size, size) -> (N, classes). Two convolutions with pooling, three linear layers.
class LeNetImpl : public nn::Cloneable<LeNetImpl> {
 public:
  // A kernel of 5 is the original's, for images from 12 x 12; the 8 x 8 digits need one of 3.
  explicit LeNetImpl(std::int64_t image_size_ = 28, std::int64_t kernel_size_ = 5, std::int64_t classes_ = 10);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::models::LeNet"; }
  Tensor forward(const Tensor& input);

  std::int64_t image_size, kernel_size, classes;
  nn::Conv2d conv1 = nullptr, conv2 = nullptr;
  nn::Linear fc1 = nullptr, fc2 = nullptr, fc3 = nullptr;
};
TORCH_MODULE(LeNet);

// How many numbers come out of LeNet's second pooling, for one image.
std::int64_t lenet_features(std::int64_t image_size, std::int64_t kernel_size);

}  // namespace models

// %% {"nbgrader": {"grade": false, "grade_id": "09-lenet-features", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/lenet.cpp
// 16 times the area behind: conv1 (padding kernel_size / 2), pooling by 2, conv2 (no padding), pooling by 2.
//
// TODO: Follow the image's size through the layers.
// APPROACH: one line for each layer, each from the one before, with conv_output_size. A pooling is a window too: kernel 2, stride 2.
// EXAMPLE: lenet_features(28, 5) is 16 * 5 * 5 = 400; lenet_features(8, 3) is 16.
// HINT: the last layer's output has 16 channels and is square.
std::int64_t models::lenet_features(std::int64_t image_size, std::int64_t kernel_size) {
  // BEGIN SOLUTION
  const std::int64_t conv1 = conv_output_size(image_size, kernel_size, 1, kernel_size / 2);
  const std::int64_t pool1 = conv_output_size(conv1, 2, 2);
  const std::int64_t conv2 = conv_output_size(pool1, kernel_size);
  const std::int64_t pool2 = conv_output_size(conv2, 2, 2);
  return 16 * pool2 * pool2;
  // END SOLUTION
}

// %%
//| mistake 09-lenet-features forgets-what-the-kernel-cuts-off
//| says The second convolution has no padding, so it makes the image kernel_size - 1 smaller before the second pooling.
#if 0
std::int64_t models::lenet_features(std::int64_t image_size, std::int64_t kernel_size) {
  const std::int64_t pooled = kernel_size > 0 ? image_size / 2 / 2 : 0;
  return 16 * pooled * pooled;
}
#endif

// %%
//| export models/lenet.cpp
models::LeNetImpl::LeNetImpl(std::int64_t image_size_, std::int64_t kernel_size_, std::int64_t classes_) : image_size(image_size_), kernel_size(kernel_size_), classes(classes_) {
  LeNetImpl::reset();
}

void models::LeNetImpl::reset() {
  const std::int64_t features = lenet_features(image_size, kernel_size);
  TORCH_CHECK(features > 0, "LeNet needs images that are larger than ", image_size, " x ", image_size, " for kernels of ", kernel_size, " x ", kernel_size,
              "\n[LeNet] take smaller kernels; 8 x 8 images need 3 x 3.");
  conv1 = register_module("conv1", nn::Conv2d(nn::Conv2dOptions(1, 6, kernel_size).padding(kernel_size / 2)));
  conv2 = register_module("conv2", nn::Conv2d(6, 16, kernel_size));
  fc1 = register_module("fc1", nn::Linear(features, 120));
  fc2 = register_module("fc2", nn::Linear(120, 84));
  fc3 = register_module("fc3", nn::Linear(84, classes));
}

Tensor models::LeNetImpl::forward(const Tensor& input) {
  Tensor x = max_pool2d(relu(conv1(input)), 2);
  x = max_pool2d(relu(conv2(x)), 2);
  return fc3(relu(fc2(relu(fc1(x.flatten(1))))));
}

// %% {"nbgrader": {"grade": true, "grade_id": "09-lenet-features-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("LeNet: the features are what reaches the linear layers") {
  CHECK_EQ(models::lenet_features(28, 5), 400);
  CHECK_EQ(models::lenet_features(8, 3), 16);
  CHECK_EQ(models::lenet_features(32, 5), 576);
  models::LeNet net(28, 5);
  CHECK_EQ(net(ones({2, 1, 28, 28})).sizes(), IntArrayRef({2, 10}));
  std::int64_t parameters = 0;
  for (const Tensor& parameter : net->parameters()) parameters += parameter.numel();
  CHECK_EQ(parameters, 61706);
  CHECK_ERROR(models::LeNet(8, 5), "LeNet needs images that are larger than 8 x 8 for kernels of 5 x 5");
}

// %% [markdown]
// ### Residual networks
//
// Deeper should be better: a deeper network can always copy its input through the layers that it does not need. In 2015 it was not: 56 layers had a larger *training* error than 20. Copying is hard to learn for layers that begin with random weights. He, Zhang, Ren and Sun made it the default: a block computes what is to be *added*
// to its input.
//
//            ┌───────────────────── shortcut ─────────────────────┐
//       x ───┴─► conv1 3x3 ─► bn1 ─► relu ─► conv2 3x3 ─► bn2 ─► (+) ─► relu ─► out
//
//       d out / d x  =  1  +  d block / d x          the gradient has a way that no weight can shrink
//
// Where the block halves the image (stride 2) and doubles the channels, the shortcut must do the same, without weights: it takes every second pixel and adds channels of zeros. For CIFAR's 32 x 32 images: one convolution, three stages of n blocks with 16, 32 and 64 channels, a global mean, one linear layer. Twenty layers for n = 3.

// %%
//| export models/resnet.h
namespace models {

// Two convolutions with batch norm, and a shortcut around them. He et al. 2015, figure 2.
class BasicBlockImpl : public nn::Cloneable<BasicBlockImpl> {
 public:
  BasicBlockImpl(std::int64_t in_channels_, std::int64_t out_channels_, std::int64_t stride_);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::models::BasicBlock"; }
  Tensor forward(const Tensor& input);
  // The input in the sizes of the output: every stride-th pixel, and zeros for the channels that are missing.
  Tensor shortcut(const Tensor& input) const;

  std::int64_t in_channels, out_channels, stride;
  nn::Conv2d conv1 = nullptr, conv2 = nullptr;
  nn::BatchNorm2d bn1 = nullptr, bn2 = nullptr;
};
TORCH_MODULE(BasicBlock);

// He et al. 2015, section 4.2, for small images: (N, 3, H, W) -> (N, classes), 6 blocks_per_stage + 2 layers. The convolutions have no bias and are born kaiming_normal.
class ResNetImpl : public nn::Cloneable<ResNetImpl> {
 public:
  explicit ResNetImpl(std::int64_t blocks_per_stage_ = 3, std::int64_t classes_ = 10, std::int64_t width_ = 16);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::models::ResNet"; }
  Tensor forward(const Tensor& input);

  std::int64_t blocks_per_stage, classes, width;
  nn::Conv2d conv1 = nullptr;
  nn::BatchNorm2d bn1 = nullptr;
  nn::Sequential layer1 = nullptr, layer2 = nullptr, layer3 = nullptr;
  nn::Linear fc = nullptr;

 private:
  nn::Sequential stage(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) const;
};
TORCH_MODULE(ResNet);

ResNet resnet20(std::int64_t classes = 10);

}  // namespace models

// %%
//| export models/resnet.cpp
models::ResNet models::resnet20(std::int64_t classes) { return ResNet(3, classes); }

models::BasicBlockImpl::BasicBlockImpl(std::int64_t in_channels_, std::int64_t out_channels_, std::int64_t stride_) : in_channels(in_channels_), out_channels(out_channels_), stride(stride_) { BasicBlockImpl::reset(); }

namespace {
// 3 x 3, with padding 1 and no bias: the batch norm behind it has one.
nn::Conv2d conv3x3(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) {
  nn::Conv2d conv(nn::Conv2dOptions(in_channels, out_channels, 3).stride(stride).padding(1).bias(false));
  nn::init::kaiming_normal_(conv->weight, 0, kFanOut, kReLU);
  return conv;
}
}  // namespace

void models::BasicBlockImpl::reset() {
  conv1 = register_module("conv1", conv3x3(in_channels, out_channels, stride));
  bn1 = register_module("bn1", nn::BatchNorm2d(out_channels));
  conv2 = register_module("conv2", conv3x3(out_channels, out_channels, 1));
  bn2 = register_module("bn2", nn::BatchNorm2d(out_channels));
}

Tensor models::BasicBlockImpl::shortcut(const Tensor& input) const {
  if (stride == 1 && in_channels == out_channels) return input;
  const Tensor smaller = input.slice(2, std::nullopt, std::nullopt, stride).slice(3, std::nullopt, std::nullopt, stride);
  return nn::functional::pad(smaller, nn::functional::PadFuncOptions({0, 0, 0, 0, 0, out_channels - in_channels}));
}

// %% {"nbgrader": {"grade": false, "grade_id": "09-basic-block", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/resnet.cpp
// (N, in, H, W) -> (N, out, H / stride, W / stride): relu(shortcut + bn2(conv2(relu(bn1(conv1(input)))))).
//
// TODO: Compute the block.
// APPROACH: read the picture from left to right.
// EXAMPLE: when bn2's weight is 0, the block is relu(shortcut(input)).
// HINT: the sum comes before the last relu.
Tensor models::BasicBlockImpl::forward(const Tensor& input) {
  // BEGIN SOLUTION
  const Tensor hidden = relu(bn1(conv1(input)));
  return relu(shortcut(input) + bn2(conv2(hidden)));
  // END SOLUTION
}

// %%
//| mistake 09-basic-block no-shortcut
//| says The shortcut is missing: this is the plain network that the paper compares with.
#if 0
Tensor models::BasicBlockImpl::forward(const Tensor& input) {
  const Tensor hidden = relu(bn1(conv1(input)));
  return relu(bn2(conv2(hidden)));
}
#endif

// %%
//| mistake 09-basic-block relu-before-the-sum
//| says The relu stands behind the sum. Before it, a block could only ever add: no block could take anything away from its input.
#if 0
Tensor models::BasicBlockImpl::forward(const Tensor& input) {
  const Tensor hidden = relu(bn1(conv1(input)));
  return shortcut(input) + relu(bn2(conv2(hidden)));
}
#endif

// %%
//| export models/resnet.cpp
models::ResNetImpl::ResNetImpl(std::int64_t blocks_per_stage_, std::int64_t classes_, std::int64_t width_) : blocks_per_stage(blocks_per_stage_), classes(classes_), width(width_) {
  ResNetImpl::reset();
}

nn::Sequential models::ResNetImpl::stage(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) const {
  nn::Sequential blocks;
  for (std::int64_t i = 0; i < blocks_per_stage; ++i) blocks->push_back(BasicBlock(i == 0 ? in_channels : out_channels, out_channels, i == 0 ? stride : 1));
  return blocks;
}

void models::ResNetImpl::reset() {
  conv1 = register_module("conv1", conv3x3(3, width, 1));
  bn1 = register_module("bn1", nn::BatchNorm2d(width));
  layer1 = register_module("layer1", stage(width, width, 1));
  layer2 = register_module("layer2", stage(width, 2 * width, 2));
  layer3 = register_module("layer3", stage(2 * width, 4 * width, 2));
  fc = register_module("fc", nn::Linear(4 * width, classes));
}

Tensor models::ResNetImpl::forward(const Tensor& input) {
  Tensor x = relu(bn1(conv1(input)));
  x = layer1(x);
  x = layer2(x);
  x = layer3(x);
  return fc(x.mean({2, 3}));
}

// %% {"nbgrader": {"grade": true, "grade_id": "09-basic-block-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("BasicBlock and ResNet: sums, sizes, parameters") {
  manual_seed(8);
  models::BasicBlock block(2, 4, 2);
  const Tensor x = randn({3, 2, 6, 6});
  const NoGradGuard no_grad;
  const Tensor added = block->bn2(block->conv2(relu(block->bn1(block->conv1(x)))));
  CHECK_EQ(added.sizes(), IntArrayRef({3, 4, 3, 3}));
  CHECK_CLOSE(block(x), relu(block->shortcut(x) + added));
  block->bn2->weight.zero_();
  CHECK_EQ(block(x).slice(1, 0, 2), relu(x.slice(2, 0, 6, 2).slice(3, 0, 6, 2)));
  CHECK_EQ(block(x).slice(1, 2), zeros({3, 2, 3, 3}));

  models::ResNet net = models::resnet20();
  std::int64_t parameters = 0;
  for (const Tensor& parameter : net->parameters()) parameters += parameter.numel();
  CHECK_EQ(parameters, 269'722);
  CHECK(net->named_parameters().contains("layer2.0.bn1.weight"));
  CHECK_EQ(models::ResNet(1, 5, 4)(randn({2, 3, 8, 8})).sizes(), IntArrayRef({2, 5}));
}

// %% [markdown]
// ### Design: a network without its batch norms
//
// In evaluation a batch norm is `y = x * scale + shift` per channel, with constants. A convolution in front of it is linear. So the two together are *one* convolution, with another weight and another bias: nothing is left to compute for the batch norm. Every deployed network is *folded* like this before it is quantized or compiled.
//
//       x ──► conv (W, b or none) ──► bn (μ, v, w, β) ──► y          training
//
//       x ──► conv (W', b') ─────────────────────────────► y         deployment
//
// Only the contract is given. The test judges what the folded layer computes, for layers with and without bias, groups and affine parameters, and that the original layers are as they were.

// %% {"nbgrader": {"grade": false, "grade_id": "09-fold-batch-norm", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise design
// A new convolution with a bias that gives, for every input, what `conv` and then `norm` in evaluation mode give (up to rounding). Takes over all of conv's options but bias. Shares no memory with the two, which are left as they
// are, whatever mode they are in. Its parameters require gradients as any layer's.
//
// TODO: Fold a batch norm into the convolution in front of it.
// APPROACH: yours. Write conv and norm as one formula for output channel o, and read off weight and bias.
// EXAMPLE: weight 1, bias 0, running_mean 0, running_var 1: the same weight, divided by sqrt(1 + eps).
// HINT: conv's bias passes the norm, too. `per_channel` puts a vector beside channels; the weight has its output channels in dimension 0.
nn::Conv2d fold_batch_norm(const nn::Conv2d& conv, const nn::BatchNorm2d& norm) {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  nn::Conv2dOptions options = conv->options;
  nn::Conv2d folded(options.bias(true));
  Tensor scale = (norm->running_var + norm->options.eps()).rsqrt();
  if (norm->weight.defined()) scale = scale * norm->weight;
  Tensor shift = -norm->running_mean;
  if (conv->bias.defined()) shift = shift + conv->bias;
  shift = shift * scale;
  if (norm->bias.defined()) shift = shift + norm->bias;
  folded->weight.copy_(conv->weight * scale.view({-1, 1, 1, 1}));
  folded->bias.copy_(shift);
  return folded;
  // END SOLUTION
}

// %%
//| mistake 09-fold-batch-norm the-old-bias-is-not-scaled
//| says The convolution's own bias goes through the batch norm as well, so it is scaled before the shift is added.
#if 0
nn::Conv2d fold_batch_norm(const nn::Conv2d& conv, const nn::BatchNorm2d& norm) {
  const NoGradGuard no_grad;
  nn::Conv2dOptions options = conv->options;
  nn::Conv2d folded(options.bias(true));
  Tensor scale = (norm->running_var + norm->options.eps()).rsqrt();
  if (norm->weight.defined()) scale = scale * norm->weight;
  Tensor shift = -norm->running_mean * scale;
  if (conv->bias.defined()) shift = shift + conv->bias;
  if (norm->bias.defined()) shift = shift + norm->bias;
  folded->weight.copy_(conv->weight * scale.view({-1, 1, 1, 1}));
  folded->bias.copy_(shift);
  return folded;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-fold-batch-norm-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("fold_batch_norm: one layer that computes what two did") {
  manual_seed(11);
  const auto check = [](const nn::Conv2dOptions& conv_options, const nn::BatchNormOptions& norm_options, IntArrayRef sizes) {
    nn::Conv2d conv(conv_options);
    nn::BatchNorm2d norm(norm_options);
    const NoGradGuard no_grad;
    if (norm->weight.defined()) {
      norm->weight.uniform_(0.5, 2);
      norm->bias.uniform_(-1, 1);
    }
    for (int i = 0; i < 3; ++i) norm(conv(randn(sizes) * 2 + 1));
    const Tensor weight = conv->weight.clone();
    const Tensor mean = norm->running_mean.clone();
    nn::Conv2d folded = fold_batch_norm(conv, norm);
    CHECK(norm->is_training());
    CHECK_EQ(conv->weight, weight);
    CHECK_EQ(norm->running_mean, mean);
    norm->eval();
    const Tensor x = randn(sizes);
    CHECK_CLOSE(folded(x), norm(conv(x)), 1e-4, 1e-5);
    CHECK(!folded->weight.is_alias_of(conv->weight));
    CHECK(folded->weight.requires_grad());
    CHECK(folded->bias.requires_grad());
  };
  check(nn::Conv2dOptions(3, 4, 3).padding(1).bias(false), nn::BatchNormOptions(4), {2, 3, 5, 5});
  check(nn::Conv2dOptions(4, 6, {1, 2}).stride(2).groups(2), nn::BatchNormOptions(6), {2, 4, 4, 4});
  check(nn::Conv2dOptions(2, 2, 1), nn::BatchNormOptions(2).affine(false).eps(0.1), {3, 2, 3, 3});
}

// %% [markdown]
// ### Debug: the answer depends on who asks with you
//
// A service reads digits. Its accuracy in tests is fine. In production, where requests come in batches of any size, the same image gets different answers, depending on the other images in its batch; and the service gets worse from day to day, although nobody trains it.
//
//       image 7 alone:                    3        image 7 with 31 others:   8
//       buffers at the start of the day   ≠        buffers at its end
//
// Find out why, and write it so that neither happens. A caller in the middle of training must find the model in the mode in which it was.

// %%
//| lesson
// As found: the class of each image.
Tensor classify_as_found(nn::Sequential& model, const Tensor& images) {
  const NoGradGuard no_grad;
  return model->forward(images).argmax(1);
}

// %% {"nbgrader": {"grade": false, "grade_id": "09-debug-modes", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// The class of each image (N): Long. An image's class depends on the image and the model only. Changes nothing in the model; its mode afterwards is the one before.
//
// TODO: Write classify so that batches do not matter and nothing drifts.
// APPROACH: NoGradGuard switches recording off. Which layers behave differently in training and evaluation, and what switches them?
// HINT: is_training(), eval(), train(bool).
Tensor classify(nn::Sequential& model, const Tensor& images) {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  const bool was_training = model->is_training();
  model->eval();
  const Tensor classes = model->forward(images).argmax(1);
  model->train(was_training);
  return classes;
  // END SOLUTION
}

// %%
//| mistake 09-debug-modes stays-in-evaluation-mode
//| says The answers are right now, but a training loop that calls this goes on in evaluation mode: give the model back in the mode in which it was.
#if 0
Tensor classify(nn::Sequential& model, const Tensor& images) {
  const NoGradGuard no_grad;
  model->eval();
  return model->forward(images).argmax(1);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-debug-modes-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: a class depends on the image only, and asking changes nothing") {
  manual_seed(12);
  nn::Sequential model(nn::Conv2d(1, 3, 3), nn::BatchNorm2d(3), nn::Flatten());
  const Tensor images = randn({8, 1, 4, 4}) * tensor({1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0}).view({8, 1, 1, 1}) + 3;
  for (int i = 0; i < 20; ++i) model->forward(images);
  const auto alone = [&](auto classifier) {
    std::vector<Tensor> classes;
    for (std::int64_t i = 0; i < 8; ++i) classes.push_back(classifier(model, images.narrow(0, i, 1)));
    return cat(classes);
  };
  const Tensor before = model->named_buffers()["1.running_mean"].clone();
  CHECK_EQ(alone(classify), classify(model, images));
  CHECK_EQ(model->named_buffers()["1.running_mean"], before);
  CHECK(model->is_training());
  model->eval();
  classify(model, images);
  CHECK(!model->is_training());
  model->train();
  CHECK(!alone(classify_as_found).equal(classify_as_found(model, images)));  // the fault was there
}

// %% [markdown]
// ### Debug: it trains, but no better than a linear layer
//
// Cameras and image libraries deliver images as `(N, H, W, C)`, the channels of a pixel side by side. This network wants `(N, C, H, W)`. The function below makes that shape, no error is thrown, the loss falls, and the accuracy stays where a network without convolutions would be.
//
//       memory           r g b r g b r g b ...        (N, H, W, C)
//       what is wanted   r r r ... g g g ... b b b    (N, C, H, W)
//
// Look at what the first channel of its result shows.

// %%
//| lesson
// As found: images (N, H, W, C) as (N, C, H, W).
Tensor channels_first_as_found(const Tensor& images) { return images.reshape({images.size(0), images.size(3), images.size(1), images.size(2)}); }

// %% {"nbgrader": {"grade": false, "grade_id": "09-debug-layout", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// Images (N, H, W, C) as (N, C, H, W), contiguous: result[n, c, y, x] = images[n, y, x, c].
//
// TODO: Write channels_first so that pixel (y, x) of channel c is pixel (y, x) of channel c.
// APPROACH: a reshape keeps the order of the elements in memory and cuts it differently. What changes the order of the dimensions?
// HINT: permute(dims) makes dimension dims[i] of its input dimension i of its result: a view. contiguous() writes it down in the new order.
Tensor channels_first(const Tensor& images) {
  // BEGIN SOLUTION
  return images.permute({0, 3, 1, 2}).contiguous();
  // END SOLUTION
}

// %%
//| mistake 09-debug-layout turns-the-image
//| says Channels come first now, but rows and columns have changed places: the images lie on their sides.
#if 0
Tensor channels_first(const Tensor& images) { return images.permute({0, 3, 2, 1}).contiguous(); }
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "09-debug-layout-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: a channel is a picture") {
  const Tensor images = arange(24.0).view({2, 2, 2, 3});
  const Tensor expected = tensor({{0.0, 3.0}, {6.0, 9.0}});
  CHECK(!channels_first_as_found(images)[0][0].equal(expected));  // the fault was there
  CHECK_EQ(channels_first(images)[0][0], expected);
  CHECK_EQ(channels_first(images)[1][2], expected + 14);
  CHECK_EQ(channels_first(images).sizes(), IntArrayRef({2, 3, 2, 2}));
  CHECK(channels_first(images).is_contiguous());
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// First something to see: what three small kernels find in a handwritten digit that ships with the course. No training; these are weights that one can think of. A trained first layer finds kernels much like them by itself.

// %%
DEMO("a handwritten digit, and what three kernels see in it") {
  const data::datasets::Digits digits;
  const Tensor image = digits.images().narrow(0, 0, 1).to(kDouble);
  const Tensor kernels = tensor({{{0, 0, 0}, {0, 1, 0}, {0, 0, 0}}, {{-1, -1, -1}, {0, 0, 0}, {1, 1, 1}}, {{-1, 0, 1}, {-1, 0, 1}, {-1, 0, 1}}, {{0, -1, 0}, {-1, 4, -1}, {0, -1, 0}}}, kDouble)
                             .view({4, 1, 3, 3});
  const Tensor seen = conv2d(image, kernels, {}, 1, "same");
  static constexpr const char* shades[] = {"  ", "░░", "▒▒", "▓▓", "██"};
  std::printf("  %-19s%-19s%-19s%-19s\n", "the digit", "lower edges", "right edges", "corners and ends");
  for (std::int64_t row = 0; row < 8; ++row) {
    std::printf("  ");
    for (std::int64_t k = 0; k < 4; ++k) {
      const double most = seen[0][k].max().item<double>();
      for (std::int64_t column = 0; column < 8; ++column) {
        const double ink = std::max(seen[0][k][row][column].item<double>() / most, 0.0);
        std::printf("%s", shades[static_cast<int>(ink * 4.49)]);
      }
      std::printf("   ");
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### Time: three versions of one layer
//
// The same multiplications, three times. v1 does them one by one with index arithmetic for each; v2 and v3 copy first, and multiply rows that lie in memory in order.

// %%
DEMO("one layer three times: loops, columns of the batch, columns of one image") {
  const NoGradGuard no_grad;
  std::printf("  %-24s %12s %9s %9s %9s %9s %9s\n", "input, weight", "multiplies", "v1 ms", "v2 ms", "v3 ms", "v1 / v3", "GFLOP/s");
  const auto row = [](IntArrayRef input_sizes, IntArrayRef weight_sizes) {
    manual_seed(1);
    const Tensor x = randn(input_sizes, kDouble);
    const Tensor w = randn(weight_sizes, kDouble);
    const double v1 = measure([&] { do_not_optimize(conv2d_loops(x, w, {})); }, {.samples = 3}).median;
    const double v2 = measure([&] { do_not_optimize(conv2d_columns(x, w, {})); }, {.samples = 3}).median;
    const double v3 = measure([&] { do_not_optimize(conv2d(x, w)); }, {.samples = 3}).median;
    const std::int64_t places = conv_output_size(x.size(2), w.size(2)) * conv_output_size(x.size(3), w.size(3));
    const double multiplies = static_cast<double>(x.size(0) * w.numel() * places);
    const std::string label = str(IntArrayRef(input_sizes), " ", IntArrayRef(weight_sizes));
    std::printf("  %-24s %12.0f %9.2f %9.2f %9.2f %9.1f %9.2f\n", label.c_str(), multiplies, v1 * 1e3, v2 * 1e3, v3 * 1e3, v1 / v3, 2e-9 * multiplies / v3);
  };
  row({8, 1, 28, 28}, {6, 1, 5, 5});
  row({8, 6, 14, 14}, {16, 6, 5, 5});
  row({8, 16, 16, 16}, {16, 16, 3, 3});
  row({8, 64, 8, 8}, {64, 64, 3, 3});
  row({8, 64, 8, 8}, {64, 64, 1, 1});
  std::fflush(stdout);
}

// %% [markdown]
// ### Memory: what the backward pass is given
//
// The forward pass of a training step keeps what its gradients need. v2 keeps the columns of the whole batch, v3 the input, which exists anyway. Composed batch norm keeps several tensors of its input's size; the operator one.
//
//       kept, in inputs      1 x 1  #               3 x 3  #########               5 x 5  #########################      v2 grows with the kernel's area
//                            1 x 1                  3 x 3                          5 x 5                                 v3 does not

// %%
//| lesson
// Bytes per byte of `input` that a forward pass keeps for its backward pass, its result not counted, and the most that it held on the way.
struct ForwardMemory {
  double kept = 0;
  double peak = 0;
};

template <class Forward>
ForwardMemory forward_memory(const Tensor& input, Forward forward) {
  forward(input);  // whatever is made once is made now
  const std::size_t before = memory::stats().live;
  memory::reset_peak();
  const Tensor result = forward(input);
  const auto bytes = static_cast<double>(input.nbytes());
  return {static_cast<double>(memory::stats().live - before - result.nbytes()) / bytes, static_cast<double>(memory::stats().peak - before) / bytes};
}

// %%
TEST_CASE("convolution and batch norm as operators keep nothing but their arguments") {
  const Tensor x = ones({8, 4, 10, 10}).requires_grad_();
  const Tensor w = ones({4, 4, 3, 3}).requires_grad_();
  CHECK_LT(forward_memory(x, [&](const Tensor& input) { return conv2d(input, w); }).kept, 0.01);
  CHECK_GT(forward_memory(x, [&](const Tensor& input) { return conv2d_columns(input, w, {}); }).kept, 5.0);
  CHECK_LT(forward_memory(x, [&](const Tensor& input) { return batch_norm(input, {}, {}, {}, {}, true, 0.1, 1e-5); }).kept, 0.01);
  CHECK_GE(forward_memory(x, [&](const Tensor& input) { return normalized_channels(input, 1e-5); }).kept, 1.0);
}

// %%
DEMO("what a forward pass keeps, in multiples of its input") {
  const Tensor x = randn({32, 16, 16, 16}).requires_grad_();
  const auto report = [](const char* name, const ForwardMemory& use) {
    std::printf("  %-34s kept %5.2f  peak %5.2f   %s%s\n", name, use.kept, use.peak, std::string(static_cast<std::size_t>(use.kept * 4 + 0.5), '#').c_str(),
                std::string(static_cast<std::size_t>(std::max(use.peak - use.kept, 0.0) * 4 + 0.5), '.').c_str());
  };
  for (const std::int64_t k : {1, 3, 5}) {
    const Tensor w = randn({16, 16, k, k}).requires_grad_();
    report(str("conv2d ", k, " x ", k, ", v2: columns").c_str(), forward_memory(x, [&](const Tensor& input) { return conv2d_columns(input, w, {.padding = k / 2}); }));
    report(str("conv2d ", k, " x ", k, ", v3: operator").c_str(), forward_memory(x, [&](const Tensor& input) { return conv2d(input, w, {}, 1, k / 2); }));
  }
  report("batch norm, composed", forward_memory(x, [](const Tensor& input) { return normalized_channels(input, 1e-5); }));
  report("batch norm, operator", forward_memory(x, [](const Tensor& input) { return batch_norm(input, {}, {}, {}, {}, true, 0.1, 1e-5); }));
  report("max_pool2d 2 x 2", forward_memory(x, [](const Tensor& input) { return max_pool2d(input, 2); }));
  std::printf("  '#' is kept for the backward pass; '.' lives during the forward pass\n");
  std::fflush(stdout);
}

// %% [markdown]
// ## Part 3: Production context
//
// Everyone computes the same sums, and nobody computes them in one way only: which algorithm is fastest depends on the sizes, so a library *chooses*.
//
//       size of kernel and image ──►  choose  ──┬── im2col + GEMM          any size (yours; slow_conv2d in PyTorch)
//                                               ├── implicit GEMM          as above, but windows are read while multiplying: no columns in memory
//                                               ├── Winograd               3 x 3, stride 1: 2.25 times fewer multiplications, some lost digits
//                                               ├── FFT                    large kernels
//                                               └── direct, blocked        channels in blocks of the vector's width (oneDNN)
//
// - **PyTorch.** `aten/src/ATen/native/Convolution.cpp` has your checks, `_select_conv_backend` the choice, and `convolution_backward` the two gradients; `aten/src/ATen/native/ConvolutionMM2d.cpp` and `im2col.h` are v3. `aten/src/ATen/native/Normalization.cpp` has `batch_norm` with the running averages;
//   `torch/csrc/api/include/torch/nn/modules/conv.h` the layers. On a GPU, `torch.backends.cudnn.benchmark` *measures* the algorithms for a shape and keeps the fastest.
// - **TensorFlow.** `tensorflow/core/kernels/conv_ops.cc`. Images are `(N, H, W, C)` by default: the channels of a pixel side by side, which suits vectors and tensor cores; PyTorch calls that layout `channels_last` and keeps the shape `(N, C, H, W)`. Only strides differ, as you know from module 01.
// - **JAX.** `jax.lax.conv_general_dilated` (`jax/_src/lax/convolution.py`) is one function for all of them: `lhs_dilation` makes it transposed, `rhs_dilation` dilated, and its transpose rules are your table of three. XLA chooses the algorithm and fuses batch norm and ReLU behind it.
// - **Batch norm in large systems.** With a batch spread over machines, each has statistics of its own; `torch/nn/modules/_functions.py` (SyncBatchNorm) sums them over all machines in every forward pass. Networks for detection train with one or two images and use GroupNorm instead (chapter 78): its statistics stay within an image.
//
// What this module leaves out and production has: blocked memory layouts, fused epilogues (bias and ReLU inside the product), and kernels for each vector width. Module 16 begins with them.

// %% [markdown]
// ## Integration test
//
// LeNet on random images, from a seed: initial weights, convolutions, pooling, gradients and updates are ours; the losses must be PyTorch's, step by step. Then a small residual network must learn digits that it has not seen.

// %%
//| lesson
// The losses of 50 steps of LeNet on 16 random images of 8 x 8, in float64, from seed 0.
std::vector<double> train_lenet() {
  const ScalarType usual = get_default_dtype();
  set_default_dtype(kDouble);
  manual_seed(0);
  models::LeNet net(8, 3);
  const Tensor x = randn({16, 1, 8, 8});
  const Tensor y = randint(0, 10, {16});
  optim::SGD optimizer(net->parameters(), optim::SGDOptions(0.1).momentum(0.9));
  std::vector<double> losses;
  for (int i = 0; i < 50; ++i) {
    const Tensor loss = cross_entropy_loss(net->forward(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item<double>());
  }
  set_default_dtype(usual);
  return losses;
}

// %%
TEST_CASE("LeNet: 50 steps with PyTorch's losses") {
  const std::vector<double> losses = train_lenet();
  // Recorded from PyTorch 2.15.0, float64, seed 0: the same network, randn(16, 1, 8, 8), randint(0, 10, 16), SGD(0.1, momentum 0.9).
  const std::vector<std::pair<std::size_t, double>> expected = {{0, 2.294812776831507}, {1, 2.281193493662074}, {9, 2.012605037931554}, {24, 1.5268092970822689}, {49, 9.222395456351614e-06}};
  for (const auto& entry : expected) {
    CAPTURE(entry.first);
    CHECK_CLOSE(losses.at(entry.first), entry.second, 1e-7, 1e-12);
  }
}

// %%
TEST_CASE("a residual network learns to read digits") {
  manual_seed(1);
  const data::datasets::Digits train(data::datasets::Digits::Mode::kTrain);
  const data::datasets::Digits test(data::datasets::Digits::Mode::kTest);
  const auto colored = [](const Tensor& images) { return images.expand({-1, 3, -1, -1}); };  // ResNet's three channels
  models::ResNet net(1, 10, 4);
  optim::SGD optimizer(net->parameters(), optim::SGDOptions(0.05).momentum(0.9));
  for (int epoch = 0; epoch < 3; ++epoch) {
    const Tensor order = randperm(640);  // a part of the images is enough to see it learn
    for (std::int64_t start = 0; start < order.size(0); start += 16) {
      const Tensor rows = order.narrow(0, start, 16);
      optimizer.zero_grad();
      cross_entropy_loss(net->forward(colored(train.images().index_select(0, rows))), train.targets().index_select(0, rows)).backward();
      optimizer.step();
    }
  }
  net->eval();
  const NoGradGuard no_grad;
  const double accuracy = net->forward(colored(test.images())).argmax(1).eq(test.targets()).to(kDouble).mean().item<double>();
  CHECK_GT(accuracy, 0.8);  // 0.94
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Analyze**. Run `tito run 09`, keep the output, and answer from your numbers.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "09-explain-memory", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. What fits?** From the memory demonstration: for which kernel does v2 keep how much, and why is it not exactly `k * k`? A ResNet-20 runs on a batch of 128 images of 32 x 32; estimate what its first stage (seven convolutions of 16 channels) would keep with v2 and with v3, in MB. What does v3 pay for that in the
// backward pass, and how could you find out whether it is worth it?
// BEGIN SOLUTION
// v2 keeps about k * k times the input (9 for 3 x 3 with padding, so that there are as many windows as pixels; 1 for a 1 x 1 kernel, whose columns are a copy of the input), plus the padded input for a moment. One activation of the first stage is 128 * 16 * 32 * 32 * 4 bytes = 8.4 MB; seven convolutions
// (the first with 3 channels) keep about 6 * 9 * 8.4 + 14 = 467 MB with v2, and their inputs, 52 MB, with v3. v3 copies the windows a second time in the backward pass for the weight's gradient. The time demonstration shows what a copy costs next to the product: compare v2 and v3 in a whole step, forward and backward.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "09-explain-time", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. Where does the time go?** From the time demonstration: which layer reaches the most multiplications per second, and which the least? Explain with the sides of the product (M, K, L) of each layer. A depthwise convolution (groups = channels) needs C times fewer multiplications than a full one. Would it be C times
// faster with v3? Why do mobile networks still use it?
// BEGIN SOLUTION
// The layers with many channels reach the most: M = 64, K = 576, so each copied number is used 64 times. The first layer (M = 6, K = 25) uses each column element 6 times, so copying weighs as much as multiplying. Depthwise, M = 1: each copied number is used once, every product is a (1, k k) x (k k, L), and the
// copy dominates; the time falls far less than the count of multiplications. Mobile networks pair it with 1 x 1 convolutions, which are pure products without windows to copy, and use kernels that read windows directly.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "09-explain-norm", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Statistics of whom?** A colleague trains with batches of 2 because the images are large, and the loss in evaluation is much worse than in training. Explain with running averages. What would you measure to be sure, and what are two ways out? And why may a convolution in front of a batch norm go without a bias?
// BEGIN SOLUTION
// Each training output is normalized by statistics of two images, which are noisy and partly *of the image itself*; the running averages are means over many batches, so in evaluation the network sees other inputs than it was trained with. Measure: the loss on the training images in both modes; or the spread of the batch means around
// running_mean. Ways out: GroupNorm, whose statistics are within an image; larger effective batches for the statistics (synchronized over machines); freezing the norms at pretrained averages. The batch norm subtracts the channel's mean, and with it any constant: a bias in front of it has no effect and gets the gradient 0.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - A convolution is one small set of weights, applied at every place. Its output size is `floor((size + 2 p - d (k - 1) - 1) / s) + 1`; the layer behind it must be told the product of what comes out.
// - Windows are a view; im2col is a copy of that view, and the convolution a product of matrices. Its three gradients are convolutions of each other, so derivatives of every order need three functions.
// - Columns of the whole batch are `k * k` times the input. Made again for one image at a time, they cost a copy instead of memory.
// - Max pooling is the positions of its winners; average pooling a sum over columns.
// - Batch norm has two modes and state that no gradient touches. In training, examples of a batch depend on each other; in evaluation they must not. For deployment it folds into the convolution in front of it.
// - A shortcut makes "change nothing" the default of a block, and gives the gradient a way around every weight.
//
// Chapter 78 has these layers in one and three dimensions, the transposed ones, and the other norms. Module 10 turns from images to text.

// %%
}  // namespace tinytorch
