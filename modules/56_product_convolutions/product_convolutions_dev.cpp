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
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 56: Convolutions that are products as they stand
//
// Module 09 makes columns of an image so that a convolution becomes a product; chapter 75 leaves the columns out and lets a kernel find its pixels by tables. Some convolutions need neither: their operands lie in memory as those of a product do. Two kinds are common:
//
//     1 x 1 kernels             y (M, places) = weight (M, C) x image (C, places)                 two layers of three in a ResNet-50, most of a MobileNet's work
//     channels last             the pixels under one row of the kernel are one contiguous line     what PyTorch's `channels_last` is made for
//
// And one kind is no product at all, though it is written as one: *depthwise* convolutions, whose every channel has a kernel of its own. A product with one row uses each number that it loads once.
//
// What this is worth was found by timing convolutions of many shapes beside PyTorch's, not only those that the benchmark had: 1 x 1 kernels took twice the time of their products.

// %%
//| after 16
//| export kernels/product_convolution.h
#include <optional>
#include <vector>
#include "tinytorch/core/tensor.h"
//| export kernels/channel_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/product_convolution.cpp
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/channel_kernels.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/windows.h"

// %%
//| export kernels/channel.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/channel_kernels.h"

// %%
#include <cstdio>
#include <limits>
#include <vector>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/conv.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## What is asked
//
// Each function computes the convolutions of its kind, with a bias or without, and gives an undefined tensor for all others, which chapter 75 then computes its ways. Results are in the input's order of memory, so nothing is turned around for an image whose channels are last.

// %%
//| export kernels/product_convolution.h
namespace kernels {

// Convolutions of float or double whose operands lie as those of a product do; arguments are those of op::convolution, op::convolution_input and op::convolution_weight, and have been checked. An undefined tensor says that the convolution is of another kind. The same bits for any number of threads.
// 1 x 1 kernels without padding, images in rows or with their channels last, of any stride, in one, two or three dimensions.
Tensor pointwise_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, std::int64_t groups);
Tensor pointwise_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups);
Tensor pointwise_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups);

// Images (N, C, H, W) in one group, or in as many groups as there are channels: results have their channels last. Images in rows are turned as they are read.
Tensor channels_last_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups);
Tensor channels_last_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups);
Tensor channels_last_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups);

// One dimension of the gradient of the input: what the pixels of phase `phase` of the stride need. Padded place q * stride + phase takes part in the windows q - t of the taps i with i * dilation = t * stride + phase.
struct PhaseOfInput {
  PhaseOfInput(std::int64_t phase, std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation);
  std::int64_t first, count;             // its pixels are q = first, first + 1, ...
  std::int64_t start;                    // where the first of them lies in the input
  std::vector<std::int64_t> taps, back;  // which numbers of the kernel, and t
};

}  // namespace kernels

// %% [markdown]
// ## 1 x 1
//
// One image in rows is a matrix (C, places) already, and all images with their channels last are one (N places, C):
//
//     rows               y_n (M, L)   = w (M, C)    x  x_n (C, L)         for each image n        + bias, a column for all columns
//                        dx_n (C, L)  = w^T (C, M)  x  dy_n (M, L)
//                        dw (M, C)    = sum over n of  dy_n (M, L) x x_n^T (L, C)
//     channels last      y (N L, M)   = x (N L, C)  x  w^T (C, M)         for all images at once  + bias, a row for all rows
//                        dx (N L, C)  = dy (N L, M) x  w (M, C)
//                        dw (M, C)    = dy^T (M, N L) x x (N L, C)
//
// The bias is what the products start from: module 16 takes a start of any strides, and a stride of 0 makes a matrix of a row or of a column. Groups are parts of rows or of columns: only the distances change. A stride takes every second pixel and leaves the others alone, so the pixels that count are copied first (a quarter of them), and the gradient of those that do not is zero.
//
// The sum over images in the rows' `dw` is a product for each image, added to what is there. Where an image has few places, that would write the result as often as there are images for little work each; such gradients stay with chapter 75, which sums over all places of all images in one product.

// %%
//| export kernels/product_convolution.cpp
namespace {
bool channels_are_last(const Tensor& images) {
  const MemoryFormat format = images.suggest_memory_format();
  return format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d;
}

// Uninitialised images; with their channels last if those of `like` are.
Tensor empty_images(IntArrayRef sizes, const Tensor& like) { return empty(sizes, like.scalar_type(), like.suggest_memory_format()); }

// As a matrix or a stack of such, without gaps: images in rows, or with their channels last.
Tensor without_gaps(const Tensor& images) { return images.contiguous(images.suggest_memory_format()); }

bool is_one(std::int64_t size) { return size == 1; }

// A 1 x 1 convolution as products. Channels are of one group.
struct Pointwise {
  Pointwise(IntArrayRef input_sizes, IntArrayRef weight_sizes, IntArrayRef stride_, IntArrayRef padding, std::int64_t groups)
      : G(groups), N(input_sizes[0]), M(weight_sizes[0] / groups), C(weight_sizes[1]), stride(stride_), places(input_sizes) {
    const bool no_padding = std::all_of(padding.begin(), padding.end(), [](std::int64_t p) { return p == 0; });
    // A product for each channel alone would have no sum to compute.
    fits = no_padding && std::all_of(weight_sizes.begin() + 2, weight_sizes.end(), is_one) && M * C >= 16;
    for (std::size_t d = 0; d < stride.size(); ++d) {
      places[2 + d] = (places[2 + d] + stride[d] - 1) / stride[d];
      L *= places[2 + d];
    }
  }

  bool strides() const { return !std::all_of(stride.begin(), stride.end(), is_one); }

  // The pixels of `images` that windows lie on, as a view.
  Tensor taken(const Tensor& images) const {
    Tensor view = images;
    for (std::size_t d = 0; d < stride.size(); ++d)
      if (stride[d] > 1) view = slice(view, static_cast<std::int64_t>(2 + d), 0, std::nullopt, stride[d]);
    return view;
  }

  // Sizes of images with `channels` channels and a pixel for each window.
  DimVector sizes(std::int64_t channels) const {
    DimVector all(places);
    all[1] = channels;
    return all;
  }

  std::int64_t G, N, M, C, L = 1;
  bool fits;
  IntArrayRef stride;
  DimVector places;
};

template <class F>
void with_type_of(const Tensor& x, F f) {
  if (x.scalar_type() == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

// out (rows, columns) = a (rows, K) x b (K, columns) + start, if that has data.
template <class T>
void multiply_to(T* out, std::int64_t out_row, std::int64_t rows, std::int64_t columns, std::int64_t K, kernels::MatrixView<T> a, kernels::MatrixView<T> b, kernels::MatrixView<T> start = {nullptr, 0, 0}) {
  kernels::multiply<T>(rows, columns, K, T{1}, a, b, T{1}, start, out, out_row);
}

// The numbers of a bias one after the other; none without a bias.
template <class T>
class BiasNumbers {
 public:
  explicit BiasNumbers(const std::optional<Tensor>& bias) : memory_(bias ? bias->contiguous() : Tensor()) {}
  // From channel c on.
  const T* at(std::int64_t c) const { return memory_.defined() ? memory_.data<T>() + c : nullptr; }

 private:
  Tensor memory_;
};

// Images `from` to images `to`, as many channels of one as of the other side of the weights: to_n (A, L) = W (A, B) x from_n (B, L) + bias (A) for each image and group, W's element (i, k) being w[i * w_row + k * w_column].
template <class T>
void map_channels(const Pointwise& p, const T* from, std::int64_t B, const T* w, std::int64_t w_row, std::int64_t w_column, const BiasNumbers<T>& bias, T* to, std::int64_t A, bool last) {
  if (last || p.L == 1) {  // an image of one pixel has its channels last in any order
    for (std::int64_t g = 0; g < p.G; ++g) multiply_to<T>(to + g * A, p.G * A, p.N * p.L, A, B, {from + g * B, p.G * B, 1}, {w + g * p.M * p.C, w_column, w_row}, {bias.at(g * A), 0, 1});
    return;
  }
  const auto map_one = [&](std::int64_t i) {
    const std::int64_t g = i % p.G;
    multiply_to<T>(to + i * A * p.L, p.L, A, p.L, B, {w + g * p.M * p.C, w_row, w_column}, {from + i * B * p.L, p.L, 1}, {bias.at(g * A), 1, 0});
  };
  // Images are tasks where all threads get one; of fewer the threads share each product.
  if (p.N * p.G >= get_num_threads()) return kernels::run_tasks(p.N * p.G, map_one);
  for (std::int64_t i = 0; i < p.N * p.G; ++i) map_one(i);
}
}  // namespace

Tensor kernels::pointwise_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, std::int64_t groups) {
  const Pointwise p(input.sizes(), weight.sizes(), stride, padding, groups);
  if (!p.fits) return {};
  const Tensor x = p.strides() ? p.taken(input).contiguous(input.suggest_memory_format()) : without_gaps(input), w = weight.contiguous();
  const Tensor result = empty_images(p.sizes(p.G * p.M), input);
  with_type_of(input, [&]<class T>() { map_channels<T>(p, x.data<T>(), p.C, w.data<T>(), p.C, 1, BiasNumbers<T>(bias), result.data<T>(), p.M, channels_are_last(input)); });
  return result;
}

Tensor kernels::pointwise_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups) {
  const Pointwise p(input_sizes, weight.sizes(), stride, padding, groups);
  if (!p.fits) return {};
  const Tensor y = without_gaps(grad), w = weight.contiguous();
  const Tensor result = empty_images(p.sizes(p.G * p.C), grad);
  with_type_of(grad, [&]<class T>() { map_channels<T>(p, y.data<T>(), p.M, w.data<T>(), 1, p.C, BiasNumbers<T>({}), result.data<T>(), p.C, channels_are_last(grad)); });
  if (!p.strides()) return result;
  const Tensor whole = empty_images(input_sizes, grad);
  fill_(whole, 0);
  copy_(p.taken(whole), result);
  return whole;
}

Tensor kernels::pointwise_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups) {
  constexpr std::int64_t kEnoughPlaces = 128;
  const Pointwise p(input.sizes(), weight_sizes, stride, padding, groups);
  const bool last = channels_are_last(grad) || p.L == 1;
  if (!p.fits || (!last && p.L < kEnoughPlaces)) return {};
  const Tensor y = without_gaps(grad), x = p.taken(input).contiguous(grad.suggest_memory_format());
  const Tensor result = empty(weight_sizes, input.scalar_type());
  with_type_of(input, [&]<class T>() {
    for (std::int64_t g = 0; g < p.G; ++g) {
      T* const out = result.data<T>() + g * p.M * p.C;
      if (last) {
        multiply_to<T>(out, p.C, p.M, p.C, p.N * p.L, {y.data<T>() + g * p.M, 1, p.G * p.M}, {x.data<T>() + g * p.C, p.G * p.C, 1});
        continue;
      }
      for (std::int64_t n = 0; n < p.N; ++n)
        multiply_to<T>(out, p.C, p.M, p.C, p.L, {y.data<T>() + (n * p.G + g) * p.M * p.L, p.L, 1}, {x.data<T>() + (n * p.G + g) * p.C * p.L, 1, p.L}, {n > 0 ? out : nullptr, p.C, 1});
    }
  });
  return result;
}

// %% [markdown]
// ## Windows of images whose channels are last
//
// In an image (rows, columns, channels) the pixels under one row of a kernel are one line of `kW C` numbers, and the line of the next window begins `stride C` numbers further on. That is a matrix, (windows of a row, kW C), whose rows overlap; and a tile can read its left operand where it lies, with any distance between rows:
//
//     image row      p0 p1 p2 p3 p4 ...            each p is C numbers
//     window 0       [p0 p1 p2]                    A (windows, 3 C): row i begins at i * stride * C
//     window 1          [p1 p2 p3]
//     window 2             [p2 p3 p4]              y row (windows, M) = sum over the kernel's rows of A (windows, kW C) x W (kW C, M)
//
// So a convolution is a sum of `kH` products for each row of windows, and nothing of the image is packed. Only the weights are, once, in strips of as many output channels as a tile has columns, their numbers in the order in which the image has them: rows and columns of the kernel, then channels. With a dilation the pixels of a window are no longer neighbours;
// then each number of the kernel is a line of its own, of C numbers.
//
// Module 16's tile could add one product after the other to the result in memory. With three channels a line is 9 numbers long, and a tile would move as many vectors of results as it multiplies. This one takes a list of lines and sums over all of them in registers.
//
// What a tile's sums are added to, `start`, is as in module 16: the bias, one line for all rows of a tile, for the first lines, and the result so far for those that follow.
//
// Padding is a copy of the image with zeros around it. A task copies the rows that its windows meet, just before it reads them, so that the copy stays in the second cache. A copy of all images would go to the last cache, or to memory, and come back from there: for 3 x 3 with stride 2 from 128 to 128 channels of 4 images of 56 x 56 that cost 7 % of the convolution, and 6 % of all three with the gradients.
//
// And if lines are copied anyway, an image in rows can be turned on the way: a copy that puts channels last, row by row, costs little more than one that moves lines. So images in rows come here too where these tiles suit them better than those of chapter 75, which decides that. To put the channels of all images last before anything is multiplied would be one more way through memory, there and back: for 3 x 3 with stride 2 from 64 to 128 channels of 8 images of 56 x 56 it is a tenth of the time.

// %%
//| export kernels/channel_kernels.h
namespace kernels {

// A tile of a sum of products: out[i * out_row + j] = start[i * start_row + j] + sum over l < lines and k < length of a[offsets[l] + i * a_row + k * a_k] * b[l * b_line + k * b_k + j]. Without a start (nullptr) nothing is added; it may be `out`.
// Forward, a row i is a window and j an output channel: k are the numbers of a line. For the gradient of the weights a row is an input channel, and k are the windows of a row.
template <class T>
struct PixelTile {
  const T* a;
  std::int64_t a_row, a_k;
  const std::int64_t* offsets;
  std::int64_t lines, length;
  const T* b;
  std::int64_t b_line, b_k;
  T* out;
  std::int64_t out_row;
  const T* start;
  std::int64_t start_row;
};

}  // namespace kernels

// %%
//| export kernels/channel.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Tag<T>>;
template <class T>
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag<T>()));

// As in module 16: twelve rows of two vectors where there are 32 registers.
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 12 : HWY_TARGET == HWY_SCALAR ? 4 : 6;

// The first `count` numbers at `from`, then zeros.
template <class T>
HWY_INLINE Vector<T> load_first(const T* from, int count) {
  const Tag<T> d;
  if (count >= kLanes<T>) return hn::LoadU(d, from);
  T buffer[kLanes<T>] = {};
  for (int j = 0; j < count; ++j) buffer[j] = from[j];
  return hn::LoadU(d, buffer);
}

// The first `count` numbers of a vector of results.
template <class T>
HWY_INLINE void store_first(Vector<T> sum, T* out, int count) {
  const Tag<T> d;
  if (count >= kLanes<T>) return hn::StoreU(sum, d, out);
  T buffer[kLanes<T>];
  hn::StoreU(sum, d, buffer);
  for (int j = 0; j < count; ++j) out[j] = buffer[j];
}

// Rows rows and one or two Vectors of columns. Each pointer leads to four rows, as in module 16: one for all would need more distances than there are registers.
template <class T, int Rows, int Vectors>
void pixel_tile(const PixelTile<T>& tile, int columns) {
  constexpr int kPointers = (Rows + 3) / 4;
  const Tag<T> d;
  Vector<T> left[Rows];
  Vector<T> right[Rows];
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) left[i] = right[i] = hn::Zero(d);
  const std::int64_t row = tile.a_row, a_k = tile.a_k, b_k = tile.b_k;
  for (std::int64_t l = 0; l < tile.lines; ++l) {
    const T* a[kPointers];
    HWY_UNROLL(3)
    for (int q = 0; q < kPointers; ++q) a[q] = tile.a + tile.offsets[l] + q * 4 * row;
    const T* b = tile.b + l * tile.b_line;
    for (std::int64_t k = 0; k < tile.length; ++k) {
      const Vector<T> b_left = hn::LoadU(d, b);
      Vector<T> b_right = b_left;
      if (Vectors == 2) b_right = hn::LoadU(d, b + kLanes<T>);
      HWY_UNROLL(12)
      for (int i = 0; i < Rows; ++i) {
        const Vector<T> factor = hn::Set(d, a[i / 4][i % 4 * row]);
        left[i] = hn::MulAdd(factor, b_left, left[i]);
        if (Vectors == 2) right[i] = hn::MulAdd(factor, b_right, right[i]);
      }
      HWY_UNROLL(3)
      for (int q = 0; q < kPointers; ++q) a[q] += a_k;
      b += b_k;
    }
  }
  if (tile.start != nullptr) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      const T* const start = tile.start + i * tile.start_row;
      left[i] = hn::Add(left[i], load_first(start, columns));
      if (Vectors == 2) right[i] = hn::Add(right[i], load_first(start + kLanes<T>, columns - kLanes<T>));
    }
  }
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) {
    T* const out = tile.out + i * tile.out_row;
    store_first<T>(left[i], out, columns);
    if (Vectors == 2) store_first<T>(right[i], out + kLanes<T>, columns - kLanes<T>);
  }
}

template <class T, int... Index>
HWY_INLINE void choose_tile(const PixelTile<T>& tile, int rows, int columns, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const PixelTile<T>&, int);
  static constexpr Kernel narrow[] = {pixel_tile<T, Index + 1, 1>...};
  static constexpr Kernel wide[] = {pixel_tile<T, Index + 1, 2>...};
  (columns <= kLanes<T> ? narrow : wide)[rows - 1](tile, columns);
}

template <class T>
void any_pixel_tile(const PixelTile<T>& tile, int rows, int columns) {
  choose_tile(tile, rows, columns, std::make_integer_sequence<int, kTileRows>());
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## A kernel for each channel
//
// A depthwise convolution sums `kH kW` products for each number of its result, channel by channel. With the channels last a vector holds the same pixel of sixteen channels, and the weights, in the order (kernel, channels), are a vector too. Eight windows are summed side by side, so that eight sums wait for nothing but their own last step, and a vector of weights is loaded once for eight:
//
//     for each vector of channels, for each number of the kernel:    v = weights[number][channels]
//                                                                    sum[0 .. 7] += v * image[window 0 .. 7, number][channels]
//
// So little work for each pixel cannot pay for a copy with zeros around it. The windows at an image's edge leave out what lies beyond it: those of the first and last rows some rows of the kernel, and each window at the left and right edge has a list of its own, of the kernel's columns that it meets. The gradient of the weights does
// the same the other way around: windows are sorted by the numbers of the kernel that they meet, and those alike are summed together.

// %%
//| export kernels/channel_kernels.h
namespace kernels {

// Windows in an image whose channels are last: out[i * out_step + c] = start[c] + sum over t < taps of weights[t * channels + c] * image[at + i * step + offsets[t] + c], for i < windows and c < channels.
template <class T>
struct ChannelWindows {
  const T* image;
  std::int64_t at;    // of the first window's corner, which may lie beside the image
  std::int64_t step;  // from one window to the next
  const std::int64_t* offsets;
  std::int64_t taps;
  const T* weights;
  T* out;
  std::int64_t out_step, windows, channels;
  std::int64_t slides;  // how many numbers of the kernel in a row are as far apart as windows: offsets[t + 1] = offsets[t] + step within so many; 1 if none are
  const T* start;
};

// The gradient of such weights: out[numbers[t] * channels + c] += sum over l < lines and i < windows of grad[grad_at[l] + i * channels + c] * image[at[l] + i * step + offsets[t] + c], for t < taps and first <= c < stop.
template <class T>
struct ChannelSums {
  const T* image;
  const std::int64_t* at;  // of each row of windows, in the image and in the gradient
  const std::int64_t* grad_at;
  std::int64_t lines, windows, step;
  const std::int64_t* offsets;
  const std::int64_t* numbers;
  std::int64_t taps;
  const T* grad;
  T* out;
  std::int64_t channels, first, stop;
};

template <class T>
struct ChannelTable {
  int rows, columns;  // of the largest tile; these are two vectors, of which a tile of up to half as many columns reads one
  void (*tile)(const PixelTile<T>& tile, int rows, int columns);
  void (*by_channel)(const ChannelWindows<T>& windows);
  void (*sums_by_channel)(const ChannelSums<T>& sums);
};

struct ChannelKernels {
  ChannelTable<float> in_float;
  ChannelTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ChannelKernels, channel_kernels)

}  // namespace kernels

// %%
//| export kernels/channel.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Windows [i, i + Windows), channels [c, c + lanes of d).
template <int Windows, class D, class T>
HWY_INLINE void sum_windows(D d, const ChannelWindows<T>& p, std::int64_t i, std::int64_t c) {
  hn::Vec<D> sums[Windows];
  const hn::Vec<D> start = hn::LoadU(d, p.start + c);
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) sums[j] = start;
  const std::int64_t at = p.at + i * p.step + c;
  for (std::int64_t t = 0; t < p.taps; ++t) {
    const auto weights = hn::LoadU(d, p.weights + t * p.channels + c);
    const T* const pixels = p.image + (at + p.offsets[t]);
    HWY_UNROLL(8)
    for (int j = 0; j < Windows; ++j) sums[j] = hn::MulAdd(weights, hn::LoadU(d, pixels + j * p.step), sums[j]);
  }
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) hn::StoreU(sums[j], d, p.out + (i + j) * p.out_step + c);
}

// The same where windows and the kernel's Columns columns are neighbours, so that a pixel is under up to Columns of the windows: it is loaded once for all.
template <int Windows, int Columns, class D, class T>
HWY_INLINE void slide_windows(D d, const ChannelWindows<T>& p, std::int64_t i, std::int64_t c) {
  hn::Vec<D> sums[Windows];
  const hn::Vec<D> start = hn::LoadU(d, p.start + c);
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) sums[j] = start;
  const std::int64_t at = p.at + i * p.step + c;
  for (std::int64_t t = 0; t < p.taps; t += Columns) {
    hn::Vec<D> weights[Columns];
    HWY_UNROLL(7)
    for (int k = 0; k < Columns; ++k) weights[k] = hn::LoadU(d, p.weights + (t + k) * p.channels + c);
    const T* const pixels = p.image + (at + p.offsets[t]);
    HWY_UNROLL(14)
    for (int x = 0; x < Windows + Columns - 1; ++x) {
      const auto pixel = hn::LoadU(d, pixels + x * p.step);
      HWY_UNROLL(7)
      for (int k = 0; k < Columns; ++k)
        if (x >= k && x - k < Windows) sums[x - k] = hn::MulAdd(weights[k], pixel, sums[x - k]);
    }
  }
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) hn::StoreU(sums[j], d, p.out + (i + j) * p.out_step + c);
}

// All windows, channels [c, c + lanes of d).
template <class D, class T>
HWY_INLINE void sum_row(D d, const ChannelWindows<T>& p, std::int64_t c) {
  std::int64_t i = 0;
  if (p.slides == 3)
    for (; i + 8 <= p.windows; i += 8) slide_windows<8, 3>(d, p, i, c);
  if (p.slides == 5)
    for (; i + 8 <= p.windows; i += 8) slide_windows<8, 5>(d, p, i, c);
  if (p.slides == 7)
    for (; i + 8 <= p.windows; i += 8) slide_windows<8, 7>(d, p, i, c);
  for (; i + 8 <= p.windows; i += 8) sum_windows<8>(d, p, i, c);
  if (i + 4 <= p.windows) sum_windows<4>(d, p, i, c), i += 4;
  if (i + 2 <= p.windows) sum_windows<2>(d, p, i, c), i += 2;
  if (i < p.windows) sum_windows<1>(d, p, i, c);
}

template <class T>
void sum_by_channel(const ChannelWindows<T>& p) {
  const Tag<T> d;
  const hn::CappedTag<T, 4> few;
  const hn::CappedTag<T, 1> one;
  constexpr std::int64_t kFew = static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<T, 4>()));
  std::int64_t c = 0;
  for (; c + kLanes<T> <= p.channels; c += kLanes<T>) sum_row(d, p, c);
  for (; c + kFew <= p.channels; c += kFew) sum_row(few, p, c);
  for (; c < p.channels; ++c) sum_row(one, p, c);
}

// Taps numbers of the kernel from t on, channels [c, c + lanes of d).
template <int Taps, class D, class T>
void sum_taps(D d, const ChannelSums<T>& p, std::int64_t t, std::int64_t c) {
  hn::Vec<D> sums[Taps];
  HWY_UNROLL(9)
  for (int k = 0; k < Taps; ++k) sums[k] = hn::LoadU(d, p.out + p.numbers[t + k] * p.channels + c);
  for (std::int64_t l = 0; l < p.lines; ++l) {
    const T* const grad = p.grad + p.grad_at[l] + c;
    const T* pixels[Taps];
    HWY_UNROLL(9)
    for (int k = 0; k < Taps; ++k) pixels[k] = p.image + (p.at[l] + p.offsets[t + k] + c);
    for (std::int64_t i = 0; i < p.windows; ++i) {
      const auto slope = hn::LoadU(d, grad + i * p.channels);
      HWY_UNROLL(9)
      for (int k = 0; k < Taps; ++k) sums[k] = hn::MulAdd(slope, hn::LoadU(d, pixels[k] + i * p.step), sums[k]);
    }
  }
  HWY_UNROLL(9)
  for (int k = 0; k < Taps; ++k) hn::StoreU(sums[k], d, p.out + p.numbers[t + k] * p.channels + c);
}

template <class D, class T>
void sum_all_taps(D d, const ChannelSums<T>& p, std::int64_t c) {
  std::int64_t t = 0;
  for (; t + 9 <= p.taps; t += 9) sum_taps<9>(d, p, t, c);
  if (t + 6 <= p.taps) sum_taps<6>(d, p, t, c), t += 6;
  for (; t + 4 <= p.taps; t += 4) sum_taps<4>(d, p, t, c);
  for (; t < p.taps; ++t) sum_taps<1>(d, p, t, c);
}

template <class T>
void sum_slopes_by_channel(const ChannelSums<T>& p) {
  const Tag<T> d;
  const hn::CappedTag<T, 1> one;
  std::int64_t c = p.first;
  for (; c + kLanes<T> <= p.stop; c += kLanes<T>) sum_all_taps(d, p, c);
  for (; c < p.stop; ++c) sum_all_taps(one, p, c);
}

template <class T>
constexpr ChannelTable<T> table_of = {kTileRows, 2 * kLanes<T>, any_pixel_tile<T>, sum_by_channel<T>, sum_slopes_by_channel<T>};
}  // namespace

constinit const ChannelKernels channel_kernels = {table_of<float>, table_of<double>};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Both, put together
//
// A task of the products is some rows of windows, so many that their pixels stay in the second cache while all strips of the weights pass by. Rows of several small images are one task. Long lines are cut, and several short ones are one call of the tile: so a part of the weights stays in the second cache while the windows of a task pass by. A call may be four times as long as module 16's blocks of K. Each call but the first loads a tile of results, adds and stores it, and with 160 numbers a call (5 x 5, 32 channels) that took 3 to 5 % of the time; that a strip of the weights then comes from the second cache for each tile, and not from the first, costs less. Each number of the result is summed in the kernel's order whatever the tasks are, so its bits depend on neither them nor threads.
//
// The gradient of the input is the convolution of the result's gradient with the kernel turned around, and with input and output channels exchanged: for the packing of weights these are other distances, of which some are negative. With a stride, a pixel was met by some of the kernel's numbers only: with stride 2 and 3 x 3, one at an even place by those in the middle, one at an odd
// place by those outside. So the pixels of each *phase* of the stride are a convolution of their own, of stride 1, with a part of the kernel:
//
//     padded places      0  1  2  3  4  5  6        window j meets the places 2 j, 2 j + 1, 2 j + 2 by the numbers 0, 1, 2
//     windows           [0  0  0]                   odd places:   dx[2 q + 1] = dy[q] w[1]
//                             [1  1  1]             even places:  dx[2 q]     = dy[q - 1] w[2] + dy[q] w[0]
//                                   [2  2  2]
//
// Together they multiply as often as the forward pass. Each writes its pixels where they belong, `stride` pixels apart, so nothing is put together afterwards.
//
// The gradient of the weights asks the same tile for something else. A number of it, for input channel c and output channel m under one number of the kernel, sums over all windows: `dw (C, M) = A^T (C, windows) x dy (windows, M)`, where A's lines are pixels at a distance of `stride C`. So a row of the tile is a channel, one number from the next, and a step of the sum is a window. Nothing is packed at all, but for zeros behind the channels of `dy` where these fill no vector. Some 256 windows at a time pass by, whose strip of `dy` stays in the first cache while the channels and the numbers of the kernel take their turns.

// %%
//| export kernels/product_convolution.cpp
namespace {
template <class T>
const kernels::ChannelTable<T>& channel_table() {
  using namespace kernels;
  static constexpr const ChannelKernels* tables[] = TINYTORCH_PER_CAPABILITY(channel_kernels);
  if constexpr (std::is_same_v<T, float>) return for_capability(tables).in_float;
  else return for_capability(tables).in_double;
}

struct Plane {
  std::int64_t rows, columns;
};

std::int64_t pieces_of(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

// Weights wherever they lie: what leads from input channel c to output channel m under number (row, column) of the kernel is data[m * to + c * from + row * row_step + column * column_step].
template <class T>
struct KernelView {
  const T* data;
  std::int64_t to, from, row_step, column_step;
};

// Images (N, size, C) without gaps, and the windows in them.
struct PixelWindows {
  std::int64_t N, C, M;
  Plane size, output, kernel, stride, padding, dilation;

  std::int64_t row() const { return size.columns * C; }
  std::int64_t image() const { return size.rows * row(); }
  std::int64_t rows() const { return N * output.rows; }  // of windows, in all images
  std::int64_t taps() const { return kernel.rows * kernel.columns; }

  // The first row of pixels, of all images, under the windows of row `i`, and how many rows a window reaches over.
  std::int64_t first_pixels(std::int64_t i) const { return i / output.rows * size.rows + i % output.rows * stride.rows - padding.rows; }
  std::int64_t reach() const { return (kernel.rows - 1) * dilation.rows + 1; }
  // Where the first window of row `i` begins; beside the image where it is padded.
  std::int64_t corner(std::int64_t i) const { return first_pixels(i) * row() - padding.columns * C; }
  // Which rows of the kernel lie in the image under the windows of row `i`, and which columns under those of column `i`: [first, second).
  std::pair<std::int64_t, std::int64_t> rows_inside(std::int64_t i) const { return inside(i % output.rows * stride.rows - padding.rows, size.rows, kernel.rows, dilation.rows); }
  std::pair<std::int64_t, std::int64_t> columns_inside(std::int64_t i) const { return inside(i * stride.columns - padding.columns, size.columns, kernel.columns, dilation.columns); }
  static std::pair<std::int64_t, std::int64_t> inside(std::int64_t corner, std::int64_t size, std::int64_t kernel, std::int64_t dilation) {
    const std::int64_t begin = corner >= 0 ? 0 : std::min(kernel, pieces_of(-corner, dilation));
    return {begin, std::clamp<std::int64_t>(pieces_of(size - corner, dilation), begin, kernel)};
  }
  // Where the pixels under a number of the kernel lie, from a window's corner on.
  std::int64_t offset(std::int64_t i, std::int64_t j) const { return i * dilation.rows * row() + j * dilation.columns * C; }
};

// Images, their channels put last if they are not, with zeros around them: `in_front` of them, and behind them up to `size`. Their rows, of all images, are counted with the zeros.
template <class T>
struct Bordered {
  Bordered(const Tensor& images_, Plane in_front_, Plane size_) : images(images_), in_front(in_front_), size(size_) {}

  std::int64_t channels() const { return images.size(1); }

  // Whether these are the images as they lie.
  bool bare() const { return images.is_contiguous(MemoryFormat::ChannelsLast) && size.rows == images.size(2) && size.columns == images.size(3); }

  // Copies the rows from `first` on to `out` (rows, size.columns, channels), without gaps. The threads share many rows.
  void copy(std::int64_t first, const Tensor& out) const {
    const std::int64_t rows = out.size(0), parts = in_parallel_region() ? 1 : get_num_threads();
    kernels::run_pieces({0, rows, pieces_of(rows, parts)}, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end;) {
        // The rest of an image, or whole images.
        const std::int64_t row = (first + i) % size.rows, whole = row == 0 ? (end - i) / size.rows : 0;
        const std::int64_t count = whole > 0 ? whole * size.rows : std::min(end - i, size.rows - row);
        copy_images((first + i) / size.rows, std::max<std::int64_t>(1, whole), row, out.narrow(0, i, count));
        i += count;
      }
    });
  }

  // Copies all of them, if they are not bare: the same images, bare.
  Bordered whole() const {
    if (bare()) return *this;
    const Tensor result = empty({images.size(0), channels(), size.rows, size.columns}, images.scalar_type(), MemoryFormat::ChannelsLast);
    copy(0, result.permute({0, 2, 3, 1}).view({-1, size.columns, channels()}));
    return {result, {0, 0}, size};
  }

  Tensor images;
  Plane in_front, size;

 private:
  // Copies rows of `count` images from the n-th on, of each as many, from its row `first` on.
  void copy_images(std::int64_t n, std::int64_t count, std::int64_t first, const Tensor& out) const {
    const std::int64_t columns = images.size(3), rows = out.size(0) / count;
    const std::int64_t begin = std::clamp<std::int64_t>(in_front.rows, first, first + rows), stop = std::clamp<std::int64_t>(in_front.rows + images.size(2), begin, first + rows);  // of pixels
    const std::int64_t before = in_front.columns * channels(), line = columns * channels(), wide = size.columns * channels();
    T* to = out.data<T>();
    for (std::int64_t i = 0; i < count * rows; ++i, to += wide) {
      const bool has_pixels = first + i % rows >= begin && first + i % rows < stop;
      if (!has_pixels) std::fill_n(to, wide, T{0});
      else std::fill_n(to, before, T{0}), std::fill_n(to + before + line, wide - before - line, T{0});
    }
    if (begin == stop) return;
    copy_(out.view({count, rows, size.columns, channels()}).narrow(1, begin - first, stop - begin).narrow(2, in_front.columns, columns),
          images.narrow(0, n, count).narrow(2, begin - in_front.rows, stop - begin).permute({0, 2, 3, 1}));
  }
};

// Some of their rows: where they lie in bare images, else a copy of these.
template <class T>
class BorderedRows {
 public:
  BorderedRows(const Bordered<T>& x, std::int64_t first, std::int64_t stop) : first_(x.bare() ? 0 : first), rows_(x.bare() ? x.images : empty({stop - first, x.size.columns, x.channels()}, x.images.scalar_type())) {
    if (!x.bare()) x.copy(first, rows_);
  }
  std::int64_t first() const { return first_; }  // the row at data()
  const T* data() const { return rows_.data<T>(); }

 private:
  std::int64_t first_;
  Tensor rows_;
};

// Where results go: that of window x in row i, of all images, to i / rows * image + i % rows * row + x * pixel.
struct PixelPlaces {
  std::int64_t rows, image, row, pixel;

  std::int64_t at(std::int64_t i, std::int64_t x) const { return i / rows * image + i % rows * row + x * pixel; }
};

// Lines of one length under a window, for one call of the tile: where they begin, and which number of the packed weights is met first.
struct Lines {
  std::vector<std::int64_t> offsets;
  std::int64_t length, k;
};

std::vector<Lines> lines_of(const PixelWindows& p, std::int64_t longest) {
  const std::int64_t in_line = p.dilation.columns == 1 ? p.kernel.columns : 1;  // numbers of the kernel that make one line
  const std::int64_t length = in_line * p.C, pieces = pieces_of(length, longest), most = std::max<std::int64_t>(1, longest / length);
  std::vector<Lines> all;
  for (std::int64_t tap = 0; tap < p.taps(); tap += in_line) {
    const std::int64_t begin = p.offset(tap / p.kernel.columns, tap % p.kernel.columns);
    if (pieces == 1 && !all.empty() && static_cast<std::int64_t>(all.back().offsets.size()) < most) {
      all.back().offsets.push_back(begin);
      continue;
    }
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      const std::int64_t first = length * piece / pieces;
      all.push_back({{begin + first}, length * (piece + 1) / pieces - first, tap * p.C + first});
    }
  }
  return all;
}

// y (N, output, M), at its places, = the windows of x (N, size, C) times w, and the bias (M), unless that is null. REQUIRES: all windows lie in x.
template <class T>
void convolve_pixels(const PixelWindows& p, const Bordered<T>& x, const KernelView<T>& w, const T* bias, const PixelPlaces& places, T* y) {
  const kernels::GemmTable<T>& gemm = kernels::gemm_table<T>();
  const kernels::ChannelTable<T>& table = channel_table<T>();
  const std::int64_t K = p.taps() * p.C, strips = pieces_of(p.M, table.columns);
  const auto channels_of = [&](std::int64_t s) { return std::min<std::int64_t>(table.columns, p.M - s * table.columns); };
  const auto width_of = [&](std::int64_t s) { return channels_of(s) * 2 <= table.columns ? table.columns / 2 : table.columns; };
  const Tensor packed = empty({strips * table.columns * K}, std::is_same_v<T, float> ? kFloat : kDouble);
  T* const panels = packed.data<T>();
  kernels::run_tasks(strips * p.taps(), [&](std::int64_t task) {
    const std::int64_t s = task / p.taps(), tap = task % p.taps();
    const T* const from = w.data + s * table.columns * w.to + tap / p.kernel.columns * w.row_step + tap % p.kernel.columns * w.column_step;
    const int width = static_cast<int>(width_of(s));
    gemm.pack(panels + s * table.columns * K + tap * p.C * width, width, from, w.to, w.from, static_cast<int>(channels_of(s)), p.C);
  });
  const std::vector<Lines> all_lines = lines_of(p, 4 * kernels::block_sizes(kernels::cache_sizes(), sizeof(T), table.rows, table.columns).K);
  const std::int64_t row_bytes = p.stride.rows * p.row() * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t in_cache = std::max<std::int64_t>(1, kernels::cache_sizes().second / 8 / row_bytes);
  // As many for each thread.
  const std::int64_t threads = get_num_threads(), pieces = std::min(p.rows(), pieces_of(pieces_of(p.rows(), in_cache), threads) * threads);
  const std::int64_t tiles = pieces_of(p.output.columns, table.rows), step = p.stride.columns * p.C;
  kernels::run_tasks(pieces, [&](std::int64_t piece) {
    const std::int64_t first = p.rows() * piece / pieces, stop = p.rows() * (piece + 1) / pieces;
    const BorderedRows<T> pixels(x, p.first_pixels(first), p.first_pixels(stop - 1) + p.reach());
    for (std::int64_t s = 0; s < strips; ++s) {
      for (const Lines& lines : all_lines) {
        const std::int64_t width = width_of(s);
        kernels::PixelTile<T> tile{nullptr, step, 1, lines.offsets.data(), static_cast<std::int64_t>(lines.offsets.size()), lines.length, panels + s * table.columns * K + lines.k * width, lines.length * width, width, nullptr, places.pixel, nullptr, 0};
        for (std::int64_t row = first; row < stop; ++row) {
          for (std::int64_t t = 0; t < tiles; ++t) {
            const std::int64_t window = p.output.columns * t / tiles, next = p.output.columns * (t + 1) / tiles;
            tile.a = pixels.data() + (p.corner(row) - pixels.first() * p.row()) + window * step;
            tile.out = y + places.at(row, window) + s * table.columns;
            // The first lines' sums are added to the bias, the others' to what is there.
            if (lines.k > 0) tile.start = tile.out, tile.start_row = tile.out_row;
            else if (bias != nullptr) tile.start = bias + s * table.columns;
            table.tile(tile, static_cast<int>(next - window), static_cast<int>(channels_of(s)));
          }
        }
      }
    }
  });
}

// Neighbouring windows of a row that meet the same columns [begin, stop) of the kernel.
struct WindowsAlike {
  std::int64_t first, count, begin, stop;
  std::int64_t in_row() const { return stop - begin; }
};

std::vector<WindowsAlike> windows_alike(const PixelWindows& p) {
  std::vector<WindowsAlike> all;
  for (std::int64_t i = 0; i < p.output.columns; ++i) {
    const auto [begin, stop] = p.columns_inside(i);
    if (!all.empty() && all.back().begin == begin && all.back().stop == stop) ++all.back().count;
    else all.push_back({i, 1, begin, stop});
  }
  return all;
}

// What such windows are summed with: the kernel's numbers in these columns, row by row.
template <class T>
struct Numbers {
  std::vector<std::int64_t> offsets;
  std::vector<T> weights;

  Numbers(const PixelWindows& p, const WindowsAlike& alike, const KernelView<T>& w) {
    for (std::int64_t r = 0; r < p.kernel.rows; ++r)
      for (std::int64_t column = alike.begin; column < alike.stop; ++column) {
        offsets.push_back(p.offset(r, column));
        for (std::int64_t c = 0; c < p.C; ++c) weights.push_back(w.data[c * w.to + r * w.row_step + column * w.column_step]);
      }
  }
};

// y (N, output, C), at its places, = the windows of x (N, size, C), channel by channel, times w, whose `to` leads from channel to channel, and the bias (C), unless that is null.
template <class T>
void convolve_channels(const PixelWindows& p, const T* x, const KernelView<T>& w, const T* bias, const PixelPlaces& places, T* y) {
  const std::vector<WindowsAlike> groups = windows_alike(p);
  std::vector<Numbers<T>> numbers;
  for (const WindowsAlike& alike : groups) numbers.emplace_back(p, alike, w);
  std::vector<T> starts(static_cast<std::size_t>(p.C));
  if (bias != nullptr) std::copy_n(bias, p.C, starts.begin());
  const auto kernel = channel_table<T>().by_channel;
  const std::int64_t step = p.stride.columns * p.C;
  parallel_for(0, p.rows(), std::max<std::int64_t>(1, 32768 / (p.output.columns * p.C * p.taps())), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t row = first; row < stop; ++row) {
      const auto [begin, end] = p.rows_inside(row);
      for (std::size_t i = 0; i < groups.size(); ++i) {
        const WindowsAlike& alike = groups[i];
        const std::int64_t in_row = alike.in_row();
        kernel({x, p.corner(row) + alike.first * step, step, numbers[i].offsets.data() + begin * in_row, (end - begin) * in_row, numbers[i].weights.data() + begin * in_row * p.C, y + places.at(row, alike.first), places.pixel, alike.count, p.C,
                p.stride.columns == p.dilation.columns ? in_row : 1, starts.data()});
      }
    }
  });
}

// The weights with their input channels last too, so that they are packed line by line; a kernel for each channel as it is.
Tensor in_packing_order(const Tensor& weight, bool by_channel) { return by_channel ? weight : weight.contiguous(MemoryFormat::ChannelsLast); }

// sums (taps, C, columns) = over all windows, pixels of x (N, size, C) times slopes g (N, output, columns). REQUIRES: no padding; columns fill vectors.
template <class T>
void multiply_pixels(const PixelWindows& p, const Bordered<T>& x, const T* g, std::int64_t columns, T* sums) {
  // So many windows at a time that a strip of their slopes stays in the first cache while all pixels pass by.
  constexpr std::int64_t kWindows = 256;
  const kernels::ChannelTable<T>& table = channel_table<T>();
  const std::int64_t rows_at_once = std::max<std::int64_t>(1, kWindows / p.output.columns), chunks = pieces_of(p.rows(), rows_at_once);
  const std::int64_t tiles = pieces_of(p.C, table.rows), strips = pieces_of(columns, table.columns);
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t first = p.rows() * chunk / chunks, stop = p.rows() * (chunk + 1) / chunks;
    const BorderedRows<T> pixels(x, p.first_pixels(first), p.first_pixels(stop - 1) + p.reach());
    std::vector<std::int64_t> corners;
    for (std::int64_t row = first; row < stop; ++row) corners.push_back(p.corner(row) - pixels.first() * p.row());
    kernels::run_tasks(strips * p.taps(), [&](std::int64_t task) {
      const std::int64_t s = task / p.taps(), tap = task % p.taps();
      const int width = static_cast<int>(std::min<std::int64_t>(table.columns, columns - s * table.columns));
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t c = p.C * t / tiles, next = p.C * (t + 1) / tiles;
        T* const out = sums + (tap * p.C + c) * columns + s * table.columns;
        const kernels::PixelTile<T> tile{pixels.data() + p.offset(tap / p.kernel.columns, tap % p.kernel.columns) + c, 1, p.stride.columns * p.C, corners.data(), stop - first, p.output.columns, g + first * p.output.columns * columns + s * table.columns, p.output.columns * columns,
                                         columns, out, columns, chunk > 0 ? out : nullptr, columns};
        table.tile(tile, static_cast<int>(next - c), width);
      }
    });
  }
}

// Windows that meet the same numbers of the kernel: some windows of each of some rows.
struct MetAlike {
  std::vector<std::int64_t> offsets, numbers;  // of these numbers
  std::vector<std::int64_t> at, grad_at;       // where the windows of a row begin in the image and in the gradient
  std::int64_t windows;
};

// The windows of rows [first, stop), sorted by what they meet.
std::vector<MetAlike> sorted_by_numbers(const PixelWindows& p, const std::vector<WindowsAlike>& columns, std::int64_t first, std::int64_t stop) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::int64_t>> rows_alike;
  for (std::int64_t row = first; row < stop; ++row) rows_alike[p.rows_inside(row)].push_back(row);
  std::vector<MetAlike> all;
  for (const auto& [met, rows] : rows_alike)
    for (const WindowsAlike& alike : columns) {
      MetAlike& group = all.emplace_back();
      group.windows = alike.count;
      for (std::int64_t r = met.first; r < met.second; ++r)
        for (std::int64_t column = alike.begin; column < alike.stop; ++column) {
          group.offsets.push_back(p.offset(r, column));
          group.numbers.push_back(r * p.kernel.columns + column);
        }
      for (const std::int64_t row : rows) {
        group.at.push_back(p.corner(row) + alike.first * p.stride.columns * p.C);
        group.grad_at.push_back((row * p.output.columns + alike.first) * p.C);
      }
    }
  return all;
}

// The same channel by channel: sums (taps, C). A task has some channels, fewer where there would not be a task for each thread, in whole lines of the cache (a channel's sums are the same in any task); rows of windows go by in chunks, whose pixels stay in the caches while the vectors of channels and the numbers of the kernel pass by.
template <class T>
void multiply_channels(const PixelWindows& p, const T* x, const T* g, T* sums) {
  constexpr std::int64_t kLine = 16, kMost = 64;
  const std::int64_t channels_at_once = std::clamp(pieces_of(p.C, get_num_threads() * kLine) * kLine, kLine, kMost);
  const std::int64_t at_once = std::max<std::int64_t>(1, kernels::cache_sizes().second / 8 / (p.stride.rows * p.size.columns * std::min(kMost, p.C) * static_cast<std::int64_t>(sizeof(T))));
  const std::vector<WindowsAlike> columns = windows_alike(p);
  std::vector<MetAlike> groups;
  for (std::int64_t row = 0; row < p.rows(); row += at_once)
    for (MetAlike& group : sorted_by_numbers(p, columns, row, std::min(p.rows(), row + at_once))) groups.push_back(std::move(group));
  std::fill_n(sums, p.taps() * p.C, T{0});
  const auto kernel = channel_table<T>().sums_by_channel;
  kernels::run_tasks(pieces_of(p.C, channels_at_once), [&](std::int64_t piece) {
    const std::int64_t begin = piece * channels_at_once, end = std::min(p.C, begin + channels_at_once);
    for (const MetAlike& group : groups)
      kernel({x, group.at.data(), group.grad_at.data(), static_cast<std::int64_t>(group.at.size()), group.windows, p.stride.columns * p.C, group.offsets.data(), group.numbers.data(), static_cast<std::int64_t>(group.numbers.size()), g, sums, p.C, begin, end});
  });
}

// `grad` with its channels last and zeros behind them, up to whole vectors: (N, H, W, columns) without gaps.
Tensor with_whole_vectors(const Tensor& grad, std::int64_t lanes) {
  const std::int64_t M = grad.size(1), columns = pieces_of(M, lanes) * lanes;
  const Tensor pixels = grad.permute({0, 2, 3, 1});
  if (columns == M) return pixels.contiguous();
  DimVector sizes(pixels.sizes());
  sizes[3] = columns;
  const Tensor wide = empty(sizes, grad.scalar_type());
  copy_(wide.narrow(3, 0, M), pixels);
  fill_(wide.narrow(3, M, columns - M), 0);
  return wide;
}

Plane plane_of(IntArrayRef two) { return {two[0], two[1]}; }

Tensor channels_last(const Tensor& images) { return images.contiguous(MemoryFormat::ChannelsLast); }

// One group, or a kernel for each channel.
bool takes_groups(IntArrayRef weight_sizes, std::int64_t groups) { return groups == 1 || (weight_sizes[1] == 1 && weight_sizes[0] == groups); }
}  // namespace

Tensor kernels::channels_last_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  if (!takes_groups(weight.sizes(), groups)) return {};
  const IntArrayRef kernel = spatial_sizes(weight.sizes());
  DimVector sizes{input.size(0), weight.size(0)};
  for (const std::int64_t size : places_of({kernel, stride, padding, dilation}, spatial_sizes(input.sizes()))) sizes.push_back(size);
  const Tensor result = empty(sizes, input.scalar_type(), MemoryFormat::ChannelsLast);
  PixelWindows p{input.size(0), input.size(1), sizes[1], {input.size(2), input.size(3)}, {sizes[2], sizes[3]}, plane_of(kernel), plane_of(stride), plane_of(padding), plane_of(dilation)};
  const PixelPlaces places{p.output.rows, p.output.rows * p.output.columns * p.M, p.output.columns * p.M, p.M};
  with_type_of(input, [&]<class T>() {
    const Tensor ordered = in_packing_order(weight, groups > 1);
    const IntArrayRef at = ordered.strides();
    const KernelView<T> w{ordered.data<T>(), at[0], at[1], at[2], at[3]};
    const BiasNumbers<T> starts(bias);
    if (groups > 1) return convolve_channels<T>(p, channels_last(input).data<T>(), w, starts.at(0), places, result.data<T>());
    const Plane around = std::exchange(p.padding, {0, 0});
    p.size = {p.size.rows + 2 * around.rows, p.size.columns + 2 * around.columns};
    convolve_pixels<T>(p, {input, around, p.size}, w, starts.at(0), places, result.data<T>());
  });
  return result;
}

kernels::PhaseOfInput::PhaseOfInput(std::int64_t phase, std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  const auto up = [stride](std::int64_t size) { return (size + stride - 1) / stride; };
  first = padding > phase ? up(padding - phase) : 0;
  count = padding + input > phase ? std::max<std::int64_t>(0, up(padding + input - phase) - first) : 0;
  start = first * stride + phase - padding;
  for (std::int64_t i = 0; i < kernel; ++i)
    if (i * dilation % stride == phase) taps.push_back(i), back.push_back(i * dilation / stride);
}

namespace {
// A dimension of one phase of the gradient of the input: windows of stride 1 in the result's gradient.
struct PhaseWindows {
  explicit PhaseWindows(const kernels::PhaseOfInput& phase)
      : count(phase.count), start(phase.start), taps(static_cast<std::int64_t>(phase.taps.size())), last_tap(taps == 0 ? 0 : phase.taps.back()), tap_step(taps > 1 ? phase.taps[1] - phase.taps[0] : 1),
        apart(taps > 1 ? phase.back[1] - phase.back[0] : 1), begin(phase.first - (taps == 0 ? 0 : phase.back.back())), stop(phase.first + count - (taps == 0 ? 0 : phase.back.front())) {}

  bool empty() const { return count == 0 || taps == 0; }

  std::int64_t count, start;             // its pixels, and where the first of them lies in the input
  std::int64_t taps, last_tap, tap_step;  // numbers of the kernel, from the last one back
  std::int64_t apart;                    // how far apart in the gradient they are
  std::int64_t begin, stop;              // of the gradient: what the windows meet; places beside it are zeros
};

std::vector<PhaseWindows> phases_of(std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  std::vector<PhaseWindows> all;
  for (std::int64_t phase = 0; phase < stride; ++phase) all.emplace_back(kernels::PhaseOfInput(phase, input, kernel, stride, padding, dilation));
  return all;
}

constexpr std::int64_t kFewChannels = 8;

// From the first to the last place that the phases' windows meet, and of the gradient's own.
std::pair<std::int64_t, std::int64_t> places_met(const std::vector<PhaseWindows>& phases, std::int64_t size) {
  std::pair<std::int64_t, std::int64_t> met{0, size};
  for (const PhaseWindows& phase : phases)
    if (!phase.empty()) met = {std::min(met.first, phase.begin), std::max(met.second, phase.stop)};
  return met;
}
}  // namespace

Tensor kernels::channels_last_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  if (!takes_groups(weight.sizes(), groups)) return {};
  const std::vector<PhaseWindows> in_rows = phases_of(input_sizes[2], weight.size(2), stride[0], padding[0], dilation[0]), in_columns = phases_of(input_sizes[3], weight.size(3), stride[1], padding[1], dilation[1]);
  const bool by_channel = groups > 1, strided = stride[0] > 1 || stride[1] > 1;
  // A tile is a vector of the input's channels or two: of a picture's three, most of it would be empty.
  if (strided && !by_channel && input_sizes[1] < kFewChannels) return {};
  const Tensor result = empty(input_sizes, grad.scalar_type(), MemoryFormat::ChannelsLast);
  const auto leaves_zeros = [](const std::vector<PhaseWindows>& phases) { return std::any_of(phases.begin(), phases.end(), [](const PhaseWindows& phase) { return phase.taps == 0; }); };
  if (leaves_zeros(in_rows) || leaves_zeros(in_columns)) fill_(result, 0);
  const std::int64_t C = input_sizes[1], line = input_sizes[3] * C;
  // Of products all windows lie in a copy with zeros around; windows of single channels may hang over the edge.
  const auto [first_row, last_row] = places_met(in_rows, grad.size(2));
  const auto [first_column, last_column] = places_met(in_columns, grad.size(3));
  const Plane around = by_channel ? Plane{0, 0} : Plane{-first_row, -first_column}, size = by_channel ? Plane{grad.size(2), grad.size(3)} : Plane{last_row - first_row, last_column - first_column};
  with_type_of(grad, [&]<class T>() {
    const Tensor ordered = in_packing_order(weight, by_channel), each = by_channel ? channels_last(grad) : Tensor();
    const Bordered<T> bordered(grad, around, size);
    // With a stride each phase would copy the same rows again.
    const Bordered<T> y = strided ? bordered.whole() : bordered;
    const IntArrayRef at = ordered.strides();
    for (const PhaseWindows& rows : in_rows)
      for (const PhaseWindows& columns : in_columns) {
        if (rows.empty() || columns.empty()) continue;
        const PixelWindows p{grad.size(0), grad.size(1), C, size, {rows.count, columns.count}, {rows.taps, columns.taps}, {1, 1}, {-rows.begin - around.rows, -columns.begin - around.columns}, {rows.apart, columns.apart}};
        const PixelPlaces places{rows.count, input_sizes[2] * line, stride[0] * line, stride[1] * C};
        const KernelView<T> w{ordered.data<T>() + rows.last_tap * at[2] + columns.last_tap * at[3], by_channel ? at[0] : at[1], at[0], -rows.tap_step * at[2], -columns.tap_step * at[3]};
        T* const to = result.data<T>() + rows.start * line + columns.start * C;
        if (by_channel) convolve_channels<T>(p, each.data<T>(), w, nullptr, places, to);
        else convolve_pixels<T>(p, y, w, nullptr, places, to);
      }
  });
  return result;
}

Tensor kernels::channels_last_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  if (!takes_groups(weight_sizes, groups)) return {};
  const Plane kernel = plane_of(spatial_sizes(weight_sizes)), around = plane_of(padding);
  PixelWindows p{input.size(0), input.size(1), grad.size(1), {input.size(2), input.size(3)}, {grad.size(2), grad.size(3)}, kernel, plane_of(stride), around, plane_of(dilation)};
  Tensor result;
  with_type_of(input, [&]<class T>() {
    if (groups > 1) {
      const Tensor sums = empty({kernel.rows, kernel.columns, p.C, 1}, input.scalar_type());
      multiply_channels<T>(p, channels_last(input).data<T>(), channels_last(grad).data<T>(), sums.data<T>());
      result = sums.permute({2, 3, 0, 1}).contiguous();
      return;
    }
    p.padding = {0, 0};
    p.size = {p.size.rows + 2 * around.rows, p.size.columns + 2 * around.columns};
    const Tensor slopes = with_whole_vectors(grad, channel_table<T>().columns / 2);
    const Tensor sums = empty({kernel.rows, kernel.columns, p.C, slopes.size(3)}, input.scalar_type());
    multiply_pixels<T>(p, {input, around, p.size}, slopes.data<T>(), slopes.size(3), sums.data<T>());
    result = sums.narrow(3, 0, p.M).permute({3, 2, 0, 1}).contiguous();
  });
  return result;
}

// %%
//| lesson
struct PixelSetting {
  DimVector input, weight, stride, padding, dilation;
  std::int64_t groups = 1;
};

// Whole numbers, which every order of summing gives exactly.
Tensor whole_numbers(IntArrayRef sizes, std::int64_t period, ScalarType type) { return (arange(multiply_sizes(sizes)).remainder(period) - period / 2).to(type).view(sizes); }

// Images as they are, and with their channels last.
std::vector<Tensor> in_both_orders(const Tensor& images) {
  std::vector<Tensor> both{images};
  if (images.dim() == 4) both.push_back(images.contiguous(MemoryFormat::ChannelsLast));
  if (images.dim() == 5) both.push_back(images.contiguous(MemoryFormat::ChannelsLast3d));
  return both;
}

template <class F>
void on_every_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    f();
  }
}

// %%
TEST_CASE("1 x 1 kernels give what the reference gives, forward and backward, in both orders of memory") {
  const std::vector<PixelSetting> settings = {{{3, 5, 6, 7}, {9, 5, 1, 1}, {1, 1}, {0, 0}, {1, 1}, 1},   {{2, 12, 16, 15}, {18, 4, 1, 1}, {1, 1}, {0, 0}, {1, 1}, 3}, {{2, 20, 9, 8}, {33, 20, 1, 1}, {2, 3}, {0, 0}, {1, 1}, 1},
                                              {{2, 16, 40}, {7, 16, 1}, {1}, {0}, {1}, 1},                {{2, 6, 3, 5, 4}, {8, 6, 1, 1, 1}, {1, 2, 1}, {0, 0, 0}, {1, 1, 1}, 1}, {{3, 70, 1, 1}, {40, 70, 1, 1}, {1, 1}, {0, 0}, {1, 1}, 1},
                                              {{5, 12, 2, 2}, {8, 6, 1, 1}, {2, 2}, {0, 0}, {1, 1}, 2}};
  for (const PixelSetting& s : settings) {
    CAPTURE(s.input);
    for (const ScalarType type : {kFloat, kDouble}) {
      const Tensor x = whole_numbers(s.input, 7, type), w = whole_numbers(s.weight, 5, type), bias = whole_numbers({s.weight[0]}, 11, type);
      const auto reference = [&](auto f) {
        const kernels::ReferenceKernelsGuard guard;
        return f();
      };
      const Tensor y = reference([&] { return op::convolution(x, w, bias, s.stride, s.padding, s.dilation, s.groups); });
      const Tensor g = whole_numbers(y.sizes(), 3, type);
      const Tensor dx = reference([&] { return op::convolution_input(g, w, s.input, s.stride, s.padding, s.dilation, s.groups); });
      const Tensor dw = reference([&] { return op::convolution_weight(x, g, s.weight, s.stride, s.padding, s.dilation, s.groups); });
      on_every_capability([&] {
        for (std::size_t order = 0; order < in_both_orders(x).size(); ++order) {
          const Tensor images = in_both_orders(x)[order], grads = in_both_orders(g)[order];
          const Tensor result = kernels::pointwise_convolution(images, w, bias, s.stride, s.padding, s.groups);
          CHECK_EQ(result, y);
          CHECK(result.is_contiguous(images.suggest_memory_format()));
          CHECK_EQ(kernels::pointwise_convolution_input(grads, w, s.input, s.stride, s.padding, s.groups), dx);
          CHECK_EQ(op::convolution_weight(images, grads, s.weight, s.stride, s.padding, s.dilation, s.groups), dw);
        }
      });
    }
  }
  // A gradient in rows of images of at least 128 places, and one of less, which chapter 75 takes.
  CHECK(kernels::pointwise_convolution_weight(ones({2, 4, 16, 8}), ones({2, 8, 16, 8}), {8, 4, 1, 1}, {1, 1}, {0, 0}, 1).defined());
  CHECK(!kernels::pointwise_convolution_weight(ones({2, 4, 11, 11}), ones({2, 8, 11, 11}), {8, 4, 1, 1}, {1, 1}, {0, 0}, 1).defined());
  // Other kinds: wider kernels, padding, a kernel for each channel.
  CHECK(!kernels::pointwise_convolution(ones({1, 16, 4, 4}), ones({16, 16, 1, 3}), {}, {1, 1}, {0, 0}, 1).defined());
  CHECK(!kernels::pointwise_convolution(ones({1, 16, 4, 4}), ones({16, 16, 1, 1}), {}, {1, 1}, {0, 1}, 1).defined());
  CHECK(!kernels::pointwise_convolution(ones({1, 16, 4, 4}), ones({16, 1, 1, 1}), {}, {1, 1}, {0, 0}, 16).defined());
}

TEST_CASE("channels last: convolutions and their gradients give what the reference gives") {
  const std::vector<PixelSetting> settings = {{{2, 3, 9, 11}, {5, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},      {{1, 4, 12, 30}, {40, 4, 3, 2}, {2, 3}, {1, 2}, {1, 1}, 1},     {{3, 20, 7, 7}, {33, 20, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},
                                              {{2, 6, 13, 10}, {16, 6, 3, 3}, {1, 1}, {2, 2}, {2, 2}, 1},    {{1, 300, 5, 6}, {12, 300, 2, 3}, {1, 1}, {0, 1}, {1, 1}, 1},   {{2, 8, 9, 20}, {8, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 8},
                                              {{1, 21, 12, 15}, {21, 1, 5, 3}, {2, 2}, {2, 1}, {1, 1}, 21},   {{2, 37, 9, 9}, {37, 1, 3, 3}, {1, 1}, {2, 2}, {2, 2}, 37},     {{1, 5, 5, 3}, {2, 5, 4, 3}, {1, 1}, {0, 0}, {1, 1}, 1},
                                              {{2, 24, 14, 13}, {20, 24, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1},  {{2, 3, 17, 16}, {35, 3, 7, 7}, {2, 2}, {3, 3}, {1, 1}, 1},     {{1, 9, 11, 12}, {4, 9, 2, 3}, {3, 4}, {0, 1}, {1, 1}, 1},      {{1, 17, 15, 14}, {7, 17, 4, 3}, {3, 2}, {2, 4}, {2, 3}, 1},
                                              {{2, 19, 14, 15}, {19, 1, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 19},   {{1, 16, 9, 10}, {16, 1, 2, 5}, {3, 2}, {0, 3}, {1, 2}, 16},    {{1, 4, 8, 8}, {5, 4, 2, 2}, {1, 1}, {2, 3}, {1, 1}, 1},        {{1, 20, 6, 6}, {20, 1, 2, 2}, {1, 1}, {3, 2}, {1, 1}, 20}};
  for (const PixelSetting& s : settings) {
    CAPTURE(s.input);
    CAPTURE(s.weight);
    for (const ScalarType type : {kFloat, kDouble}) {
      const Tensor x = whole_numbers(s.input, 7, type), w = whole_numbers(s.weight, 5, type), bias = whole_numbers({s.weight[0]}, 11, type);
      const auto reference = [&](auto f) {
        const kernels::ReferenceKernelsGuard guard;
        return f();
      };
      const Tensor y = reference([&] { return op::convolution(x, w, bias, s.stride, s.padding, s.dilation, s.groups); });
      const Tensor g = whole_numbers(y.sizes(), 3, type);
      const Tensor dx = reference([&] { return op::convolution_input(g, w, s.input, s.stride, s.padding, s.dilation, s.groups); });
      const Tensor dw = reference([&] { return op::convolution_weight(x, g, s.weight, s.stride, s.padding, s.dilation, s.groups); });
      on_every_capability([&] {
        for (const Tensor& weight : in_both_orders(w)) {
          // Images in rows are turned as they are read.
          for (const Tensor& images : in_both_orders(x)) {
            const Tensor result = kernels::channels_last_convolution(images, weight, bias, s.stride, s.padding, s.dilation, s.groups);
            CHECK_EQ(result, y);
            CHECK(result.is_contiguous(MemoryFormat::ChannelsLast));
            CHECK_EQ(op::convolution(images, weight, bias, s.stride, s.padding, s.dilation, s.groups), y);
          }
          for (const Tensor& grad : in_both_orders(g)) {
            const Tensor input_grad = kernels::channels_last_convolution_input(grad, weight, s.input, s.stride, s.padding, s.dilation, s.groups);
            CHECK_EQ(input_grad.defined(), s.groups > 1 || s.input[1] >= 8 || (s.stride[0] == 1 && s.stride[1] == 1));
            if (input_grad.defined()) {
              CHECK_EQ(input_grad, dx);
              CHECK(input_grad.is_contiguous(MemoryFormat::ChannelsLast));
            }
            CHECK_EQ(op::convolution_input(grad, weight, s.input, s.stride, s.padding, s.dilation, s.groups), dx);
          }
        }
        for (const Tensor& images : in_both_orders(x))
          for (const Tensor& grad : in_both_orders(g)) {
            CHECK_EQ(kernels::channels_last_convolution_weight(images, grad, s.weight, s.stride, s.padding, s.dilation, s.groups), dw);
            CHECK_EQ(op::convolution_weight(images, grad, s.weight, s.stride, s.padding, s.dilation, s.groups), dw);
          }
      });
    }
  }
  // Groups of several channels are of another kind.
  CHECK(!kernels::channels_last_convolution(ones({1, 4, 5, 5}).contiguous(MemoryFormat::ChannelsLast), ones({4, 2, 3, 3}), {}, {1, 1}, {0, 0}, {1, 1}, 2).defined());
}

TEST_CASE("products of images: the same bits for any number of threads, and nothing read beside an image") {
  manual_seed(56);
  const int before = get_num_threads();
  const Tensor x = randn({3, 24, 20, 18}).contiguous(MemoryFormat::ChannelsLast), w = randn({36, 24, 3, 3}), one = randn({36, 24, 1, 1}), each = randn({24, 1, 3, 3}), bias = randn({36});
  const auto all = [&] {
    const Tensor y = kernels::channels_last_convolution(x, w, bias, {1, 1}, {1, 1}, {1, 1}, 1);
    return std::vector<Tensor>{y, kernels::channels_last_convolution_input(y, w, x.sizes(), {1, 1}, {1, 1}, {1, 1}, 1), kernels::channels_last_convolution(x, each, bias.narrow(0, 0, 24), {1, 1}, {1, 1}, {1, 1}, 24),
                               kernels::pointwise_convolution(x, one, bias, {1, 1}, {0, 0}, 1), kernels::pointwise_convolution(x.contiguous(), one, bias, {1, 1}, {0, 0}, 1),
                               kernels::pointwise_convolution_weight(x.contiguous(), y.contiguous(), {36, 24, 1, 1}, {1, 1}, {0, 0}, 1), kernels::channels_last_convolution_weight(x, y, w.sizes(), {1, 1}, {1, 1}, {1, 1}, 1),
                               kernels::channels_last_convolution_weight(x, x, each.sizes(), {1, 1}, {1, 1}, {1, 1}, 24)};
  };
  set_num_threads(1);
  const std::vector<Tensor> alone = all();
  for (const int threads : {2, 7}) {
    set_num_threads(threads);
    const std::vector<Tensor> together = all();
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
  }
  set_num_threads(before);
  // What lies under no window does not reach the result, not even as infinity times zero: the second image, a column that the stride leaves out.
  const Tensor infinite = ones({2, 16, 5, 6}).contiguous(MemoryFormat::ChannelsLast);
  infinite.select(0, 1).fill_(std::numeric_limits<float>::infinity());
  infinite.select(3, 1).fill_(std::numeric_limits<float>::infinity());
  CHECK_EQ(kernels::channels_last_convolution(infinite, ones({3, 16, 2, 1}), {}, {1, 2}, {0, 0}, {1, 1}, 1).select(0, 0), full({3, 4, 3}, 32.0F));
  CHECK_EQ(kernels::channels_last_convolution(infinite, ones({16, 1, 2, 1}), {}, {1, 2}, {0, 0}, {1, 1}, 16).select(0, 0), full({16, 4, 3}, 2.0F));
  CHECK_EQ(kernels::pointwise_convolution(infinite, ones({3, 16, 1, 1}), {}, {1, 2}, {0, 0}, 1).select(0, 0), full({3, 5, 3}, 16.0F));
}

// %%
DEMO("a layer of each kind: images in rows, and with their channels last, in GFLOP/s") {
  struct Kind {
    const char* name;
    PixelSetting setting;
  };
  const Kind kinds[] = {{"1 x 1, 64 to 256 channels", {{4, 64, 56, 56}, {256, 64, 1, 1}, {1, 1}, {0, 0}, {1, 1}, 1}},
                        {"3 x 3, stride 2, 128 channels", {{4, 128, 28, 28}, {128, 128, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1}},
                        {"3 x 3 for each of 144 channels", {{4, 144, 28, 28}, {144, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 144}}};
  for (const auto& [name, s] : kinds) {
    const Tensor x = rand(s.input), w = rand(s.weight);
    const Tensor y = op::convolution(x, w, {}, s.stride, s.padding, s.dilation, s.groups);
    const double operations = 2.0 * static_cast<double>(y.numel() * multiply_sizes(IntArrayRef(s.weight).slice(1)));
    std::printf("%-32s", name);
    for (const Tensor& images : in_both_orders(x)) {
      const double time = measure([&] { do_not_optimize(op::convolution(images, w, {}, s.stride, s.padding, s.dilation, s.groups)); }, {.samples = 3}).minimum;
      std::printf("  %7.1f", operations / time * 1e-9);
    }
    std::printf("\n");
  }
}

// %% [markdown]
// ## In production
//
// oneDNN, which computes PyTorch's convolutions on CPUs, has a driver of its own for each of these kinds: `src/cpu/x64/jit_avx512_common_1x1_convolution.cpp`, `jit_uni_dw_convolution.cpp`, and for windows as products of lines `jit_brgemm_conv.cpp`, whose kernel is called a *batch-reduce* product: like the tile here it sums over several pairs of operands in registers. cuDNN calls the same idea an implicit GEMM.
// Chetlur et al., *cuDNN: Efficient Primitives for Deep Learning* (2014), has its reasons; Georganas et al., *High-Performance Deep Learning via a Single Building Block* (2020), those of the batch-reduce product.

// %%
}  // namespace tinytorch
