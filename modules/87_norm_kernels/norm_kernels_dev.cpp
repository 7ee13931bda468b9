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
// # Library chapter 87: Norm kernels
//
// This chapter continues chapter 77: again each number is read once, while all that must be known about it is at hand. Layer norm and batch norm take off a mean and divide by a deviation, over other numbers: layer norm over each row, which the cache holds, batch norm over each channel of the whole batch, which it does not. So layer norm reads memory once, forward and backward, and batch norm twice: once for the moments, once to write. Backward it takes some channels at a time, so few that the second cache holds their planes: these are summed, and read again while they are there. The planes of a channel lie far apart, and a processor fetches nothing ahead across the end of a page, so while one plane is summed the next is asked for. Together that is a hundredth of a ResNet-20's step.
// RMS norm is layer norm around 0 in place of the mean: the same walks with another center, and a gradient without the mean of `h`.
//
//     layer norm    row --> moments --> (x - mean) rstd w + b            three rows under way (chapter 77): the sum of one, the squares of the one before, and the results of the one before that
//     RMS norm      row --> squares --> (x - 0) rstd w
//     group norm    rows of a group's channels --> moments --> (x - mean) rstd w_c + b_c, channel by channel
//     batch norm    all of channel c --> moments | again all of it --> (x - mean_c) scale_c + shift_c
//
// Group norm is between the two. A group's numbers lie side by side like a row's, and the cache holds them, but weight and bias belong to channels, so the walk that writes goes channel by channel. Where the channels are last, a group is a band of columns: the moments of each column are computed side by side and then joined to those of the group, whose mean is the mean of the means, and whose variance is the mean of the variances plus the variance of the means.
//
// With `x^` the normalized input and `h` the gradient times the weight, the gradient of the input is `rstd (h - mean(h) - x^ mean(h x^))`, over a row or over a channel: two sums, then a walk that writes. The statistics of a row are computed again, from the cache, and once for the gradients of input and weight, which are made in one walk; those of a channel were results of the forward pass and are kept.
//
// The mean is a double. Rounded to float it would shift all of a row whose mean is large beside its spread, so the kernels take off the rounded mean, which is exact or nearly so, and then the rest: `(x - center) scale + shift`, where `shift` holds what rounding left.

// %%
//| after 16
//| export kernels/normalization_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/normalization.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/moments.h"
#include "tinytorch/kernels/normalization_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/more_norm.h"
#include "tinytorch/nn/norm.h"
#include "tinytorch/nn/rms_norm.h"

// %%
//| export kernels/normalization.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include "tinytorch/kernels/normalization_kernels.h"
#include "tinytorch/kernels/row_vectors-inl.h"

// %%
#include <cstdio>
#include <tuple>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/roofline.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/more_norm.h"
#include "tinytorch/nn/norm.h"
#include "tinytorch/nn/rms_norm.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export kernels/normalization_kernels.h
namespace kernels {

struct GradientSums {
  double grad = 0;      // sum of the gradient
  double products = 0;  // sum of the gradient times (x - center)
};

// Layer norm or RMS norm of rows of `count` > 0 numbers; weight and bias may be null.
template <class T>
struct RowNormTable {
  // `rows` > 0 rows that follow each other. With beyond_cache results are written past the caches, and a task ends with flush().
  void (*forward)(const T* x, std::int64_t rows, std::int64_t count, const T* weight, const T* bias, double eps, bool beyond_cache, T* out);
  // At most 8 rows: the gradient of their input, when that of their result is `grad`. For the gradient of the weight totals[j] += the sum of grad * normalized x over the rows, unless `totals` is null.
  void (*backward)(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* weight, double eps, T* out, double* totals);
};

// Group norm of one group: `channels` rows of `count` > 0 numbers, of which each has a number of weight and bias; both may be null.
template <class T>
struct GroupNormTable {
  void (*forward)(const T* x, std::int64_t channels, std::int64_t count, const T* weight, const T* bias, double eps, T* out);
  // The gradient of its input, when that of its result is `grad`, and for each channel the sums for the gradients of weight and bias.
  void (*backward)(const T* grad, const T* x, std::int64_t channels, std::int64_t count, const T* weight, double eps, T* out, double* of_weight, double* of_bias);
};

template <class T>
struct NormalizationTable {
  RowNormTable<T> layer_norm;
  RowNormTable<T> rms_norm;
  GroupNormTable<T> group_norm;
  void (*flush)();
  // out = (x - center) * scale + shift, for one channel and for one row of channels.
  void (*affine)(const T* x, std::int64_t count, T center, T scale, T shift, T* out);
  void (*affine_channels)(const T* x, std::int64_t count, const T* centers, const T* scales, const T* shifts, T* out);
  // Of one plane; numbers `ahead` of these are asked for, which are the next one's.
  GradientSums (*gradient_sums)(const T* grad, const T* x, std::int64_t count, T center, std::int64_t ahead);
  // out = grad * a + (x - center) * b + c
  void (*combine)(const T* grad, const T* x, std::int64_t count, T center, T a, T b, T c, T* out);
  // The same of rows of channels: sums[c] and products[c] += those of up to sixteen rows, and one row of the result.
  void (*gradient_sums_channels)(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* centers, double* sums, double* products);
  void (*combine_channels)(const T* grad, const T* x, std::int64_t count, const T* centers, const T* a, const T* b, const T* c, T* out);
};

struct NormalizationKernels {
  NormalizationTable<float> in_float;
  NormalizationTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(NormalizationKernels, normalization_kernels)

}  // namespace kernels

// %%
//| export kernels/normalization.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Up to a vector of numbers at `from`, which may be null: then `fill`.
template <class T>
HWY_INLINE Vector<T> load_or(const T* from, std::int64_t i, std::int64_t lanes, T fill) {
  return from == nullptr ? hn::Set(Tag<T>(), fill) : load_lanes(from + i, lanes);
}

// How a row is normalized: (x - center) * scale + shift.
template <class T>
struct RowScale {
  T center, scale, shift;
};
// Around the row's mean, or around 0 with the sum of squares.
template <bool kCentered, class T>
HWY_INLINE RowScale<T> scale_of(const Moments& row, std::int64_t count, double eps) {
  const double rstd = 1 / __builtin_sqrt(row.squares / static_cast<double>(count) + eps);
  if constexpr (!kCentered) return {T{0}, static_cast<T>(rstd), T{0}};
  const T center = static_cast<T>(row.mean);
  return {center, static_cast<T>(rstd), static_cast<T>((static_cast<double>(center) - row.mean) * rstd)};
}
template <bool kCentered, class T>
HWY_INLINE RowScale<T> row_scale(const T* x, std::int64_t count, double eps) {
  return scale_of<kCentered, T>(kCentered ? moments(x, count) : Moments{0, sum_of_squares(x, count)}, count, eps);
}
template <class T>
HWY_INLINE Vector<T> normalized(Vector<T> x, const RowScale<T>& row) {
  const Tag<T> d;
  return hn::MulAdd(hn::Sub(x, hn::Set(d, row.center)), hn::Set(d, row.scale), hn::Set(d, row.shift));
}

// What writes a row's results, vector by vector.
template <bool kBeyondCache, class T>
struct WriteNormalized {
  const T* x;
  RowScale<T> row;
  const T *weight, *bias;
  T* out;
  HWY_INLINE void operator()(std::int64_t i, std::int64_t lanes) const {
    write_lanes<kBeyondCache>(hn::MulAdd(normalized<T>(load_lanes(x + i, lanes), row), load_or(weight, i, lanes, T{1}), load_or(bias, i, lanes, T{0})), out + i, lanes);
  }
};

// The moments of a row whose sum is `sum`, or of one that is not centered the sum of squares in their place; meanwhile the sum of the row behind it if there is one, and use(i, lanes) for each vector.
template <bool kCentered, class T, class Use>
HWY_INLINE Moments moments_under_way(const T* x, std::int64_t count, double sum, bool one_more, double* next_sum, Use use) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  Spread<T> spread(static_cast<T>(sum / static_cast<double>(count)));
  Squares<T> squares;
  Totals<T> next;
  std::int64_t i = 0;
  for (; i + 8 * L <= count; i += 8 * L) {
    fetch_far_ahead<8 * L>(x + i);
    for (std::int64_t v = 0; v < 8; v += 4) {
      if constexpr (kCentered) spread.add_four_vectors(x + i + v * L);
      else squares.add_two_vectors(x + i + v * L), squares.add_two_vectors(x + i + (v + 2) * L);
    }
    if constexpr (kCentered) {
      const T* const at = x + count + i;
      if (one_more)
        next.add(sum_of_eight(hn::LoadU(d, at), hn::LoadU(d, at + L), hn::LoadU(d, at + 2 * L), hn::LoadU(d, at + 3 * L), hn::LoadU(d, at + 4 * L), hn::LoadU(d, at + 5 * L), hn::LoadU(d, at + 6 * L), hn::LoadU(d, at + 7 * L)));
    }
    for (std::int64_t v = 0; v < 8; ++v) use(i + v * L, L);
  }
  for (std::int64_t k = i; k < count; k += L) {
    const std::int64_t lanes = count - k < L ? count - k : L;
    if (kCentered && one_more) next.add(load_lanes(x + count + k, lanes));
    use(k, lanes);
  }
  *next_sum = next.total();
  if constexpr (!kCentered) return {0, squares.total(x + i, count - i)};
  spread.add_rest(x + i, count - i);
  return spread.moments(count);
}

// Rows that stay in a near cache, three of them under way at once as for softmax (chapter 77): the moments of one, the sum of the next, and the results of the one before.
template <bool kCentered, bool kBeyondCache, class T>
void short_row_norm(const T* x, std::int64_t rows, std::int64_t count, const T* weight, const T* bias, double eps, T* out) {
  const auto write = [=](std::int64_t row, Moments of_row) HWY_ATTR { return WriteNormalized<kBeyondCache, T>{x + row * count, scale_of<kCentered, T>(of_row, count, eps), weight, bias, out + row * count}; };
  double sum = 0;
  if constexpr (kCentered) sums_of<1, false>(&x, count, &sum, [](auto v) HWY_ATTR { return v; });
  auto before = write(0, moments_under_way<kCentered>(x, count, sum, rows > 1, &sum, [](std::int64_t, std::int64_t) {}));
  for (std::int64_t row = 1; row < rows; ++row)
    before = write(row, moments_under_way<kCentered>(x + row * count, count, sum, row + 1 < rows, &sum, [before](std::int64_t i, std::int64_t lanes) HWY_ATTR { before(i, lanes); }));
  for (std::int64_t i = 0; i < count; i += kLanes<T>) before(i, count - i < kLanes<T> ? count - i : kLanes<T>);
}

template <bool kCentered, class T>
void row_norm(const T* x, std::int64_t rows, std::int64_t count, const T* weight, const T* bias, double eps, bool beyond_cache, T* out) {
  constexpr std::int64_t short_row = 4096;  // numbers of which the first two caches hold three rows
  beyond_cache = beyond_cache && is_aligned_row(out, count);
  if (count <= short_row) return beyond_cache ? short_row_norm<kCentered, true>(x, rows, count, weight, bias, eps, out) : short_row_norm<kCentered, false>(x, rows, count, weight, bias, eps, out);
  for (std::int64_t row = 0; row < rows; ++row, x += count, out += count) {
    const RowScale<T> scale = row_scale<kCentered>(x, count, eps);
    write_vectors(x, count, out, beyond_cache, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
      return hn::MulAdd(normalized<T>(v, scale), load_or(weight, i, lanes, T{1}), load_or(bias, i, lanes, T{0}));
    });
  }
}

void flush_normalized() { hwy::FlushStream(); }

// The gradient of the input of one row.
template <bool kCentered, class T>
void row_input_gradient(const T* grad, const T* x, std::int64_t count, const T* weight, const RowScale<T>& row, T* out) {
  const Tag<T> d;
  Totals<T> sums, products;
  for_each_vector(x, count, [&](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
    const Vector<T> h = hn::Mul(load_or(grad, i, lanes, T{0}), load_or(weight, i, lanes, T{1}));  // 0 behind the row's end
    if constexpr (kCentered) sums.add(h);
    products.add(hn::Mul(h, normalized<T>(v, row)));
  });
  const Vector<T> mean = hn::Set(d, static_cast<T>(sums.total() / static_cast<double>(count)));
  const Vector<T> mean_product = hn::Set(d, static_cast<T>(products.total() / static_cast<double>(count)));
  for_each_vector(x, count, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
    const Vector<T> h = hn::Mul(load_or(grad, i, lanes, T{0}), load_or(weight, i, lanes, T{1}));
    const Vector<T> rest = hn::NegMulAdd(normalized<T>(v, row), mean_product, hn::Sub(h, mean));
    put(hn::Mul(rest, hn::Set(Tag<T>(), row.scale)), out + i, lanes);
  });
}

// totals += the rows' share in the gradient of the weight.
template <class T>
void add_weight_gradient(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const RowScale<T>* scales, double* totals) {
  const Tag<T> d;
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) {
    Vector<T> sum = hn::Zero(d);
    for (std::int64_t r = 0; r < rows; ++r) sum = hn::MulAdd(hn::LoadU(d, grad + r * count + j), normalized<T>(hn::LoadU(d, x + r * count + j), scales[r]), sum);
    add_to(totals + j, sum);
  }
  for (; j < count; ++j)
    for (std::int64_t r = 0; r < rows; ++r)
      totals[j] += static_cast<double>(grad[r * count + j]) * static_cast<double>((x[r * count + j] - scales[r].center) * scales[r].scale + scales[r].shift);
}

template <bool kCentered, class T>
void row_norm_backward(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* weight, double eps, T* out, double* totals) {
  RowScale<T> scales[8] = {};
  for (std::int64_t r = 0; r < rows; ++r) scales[r] = row_scale<kCentered>(x + r * count, count, eps);
  if (totals != nullptr) add_weight_gradient(grad, x, rows, count, scales, totals);
  for (std::int64_t r = 0; r < rows; ++r) row_input_gradient<kCentered>(grad + r * count, x + r * count, count, weight, scales[r], out + r * count);
}

template <class T>
void affine(const T* x, std::int64_t count, T center, T scale, T shift, T* out) {
  const RowScale<T> row{center, scale, shift};
  for_each_vector(x, count, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR { put(normalized<T>(v, row), out + i, lanes); });
}

template <class T>
void affine_channels(const T* x, std::int64_t count, const T* centers, const T* scales, const T* shifts, T* out) {
  for_each_vector(x, count, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
    put(hn::MulAdd(hn::Sub(v, load_or(centers, i, lanes, T{0})), load_or(scales, i, lanes, T{0}), load_or(shifts, i, lanes, T{0})), out + i, lanes);
  });
}

template <class T>
GradientSums gradient_sums(const T* grad, const T* x, std::int64_t count, T center, std::int64_t ahead) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  const Vector<T> centers = hn::Set(d, center);
  Totals<T> sums, products;
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    const T *const g = grad + i, *const at = x + i;
    fetch_ahead<4 * L>(g, ahead * static_cast<std::int64_t>(sizeof(T)));
    fetch_ahead<4 * L>(at, ahead * static_cast<std::int64_t>(sizeof(T)));
    const Vector<T> g0 = hn::LoadU(d, g), g1 = hn::LoadU(d, g + L), g2 = hn::LoadU(d, g + 2 * L), g3 = hn::LoadU(d, g + 3 * L);
    const Vector<T> left = hn::MulAdd(g0, hn::Sub(hn::LoadU(d, at), centers), hn::Mul(g1, hn::Sub(hn::LoadU(d, at + L), centers)));
    const Vector<T> right = hn::MulAdd(g2, hn::Sub(hn::LoadU(d, at + 2 * L), centers), hn::Mul(g3, hn::Sub(hn::LoadU(d, at + 3 * L), centers)));
    sums.add(hn::Add(hn::Add(g0, g1), hn::Add(g2, g3)));
    products.add(hn::Add(left, right));
  }
  for_each_vector(grad + i, count - i, [&](std::int64_t j, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    sums.add(g);
    products.add(hn::Mul(g, hn::Sub(load_or(x, i + j, lanes, T{0}), centers)));
  });
  return {sums.total(), products.total()};
}

template <class T>
void combine(const T* grad, const T* x, std::int64_t count, T center, T a, T b, T c, T* out) {
  const Tag<T> d;
  const Vector<T> centers = hn::Set(d, center), as = hn::Set(d, a), bs = hn::Set(d, b), cs = hn::Set(d, c);
  for_each_vector(grad, count, [=](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    put(hn::MulAdd(g, as, hn::MulAdd(hn::Sub(load_or(x, i, lanes, T{0}), centers), bs, cs)), out + i, lanes);
  });
}

template <class T>
void group_norm(const T* x, std::int64_t channels, std::int64_t count, const T* weight, const T* bias, double eps, T* out) {
  const RowScale<T> group = row_scale<true>(x, channels * count, eps);
  for (std::int64_t c = 0; c < channels; ++c) {
    const T w = weight == nullptr ? T{1} : weight[c], b = bias == nullptr ? T{0} : bias[c];
    affine(x + c * count, count, group.center, group.scale * w, group.shift * w + b, out + c * count);
  }
}

template <class T>
void group_norm_backward(const T* grad, const T* x, std::int64_t channels, std::int64_t count, const T* weight, double eps, T* out, double* of_weight, double* of_bias) {
  const RowScale<T> group = row_scale<true>(x, channels * count, eps);
  const double scale = static_cast<double>(group.scale), shift = static_cast<double>(group.shift), numbers = static_cast<double>(channels * count);
  double sum = 0, products = 0;  // of h, and of h with the normalized input
  for (std::int64_t c = 0; c < channels; ++c) {
    const GradientSums channel = gradient_sums(grad + c * count, x + c * count, count, group.center, count);
    of_bias[c] = channel.grad;
    of_weight[c] = scale * channel.products + shift * channel.grad;
    const double w = weight == nullptr ? 1.0 : static_cast<double>(weight[c]);
    sum += w * of_bias[c];
    products += w * of_weight[c];
  }
  const double mean = sum / numbers, mean_product = products / numbers;
  const T b = static_cast<T>(-scale * scale * mean_product), rest = static_cast<T>(-scale * (mean + shift * mean_product));
  for (std::int64_t c = 0; c < channels; ++c) {
    const T a = group.scale * (weight == nullptr ? T{1} : weight[c]);
    combine(grad + c * count, x + c * count, count, group.center, a, b, rest, out + c * count);
  }
}

template <class T>
void gradient_sums_channels(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* centers, double* sums, double* products) {
  const Tag<T> d;
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) {
    const Vector<T> center = hn::LoadU(d, centers + j);
    Vector<T> sum = hn::Zero(d), product = hn::Zero(d);
    for (std::int64_t r = 0; r < rows; ++r) {
      const Vector<T> g = hn::LoadU(d, grad + r * count + j);
      sum = hn::Add(sum, g);
      product = hn::MulAdd(g, hn::Sub(hn::LoadU(d, x + r * count + j), center), product);
    }
    add_to(sums + j, sum);
    add_to(products + j, product);
  }
  for (; j < count; ++j)
    for (std::int64_t r = 0; r < rows; ++r) {
      sums[j] += static_cast<double>(grad[r * count + j]);
      products[j] += static_cast<double>(grad[r * count + j]) * static_cast<double>(x[r * count + j] - centers[j]);
    }
}

template <class T>
void combine_channels(const T* grad, const T* x, std::int64_t count, const T* centers, const T* a, const T* b, const T* c, T* out) {
  for_each_vector(grad, count, [=](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    const Vector<T> distance = hn::Sub(load_or(x, i, lanes, T{0}), load_or(centers, i, lanes, T{0}));
    put(hn::MulAdd(g, load_or(a, i, lanes, T{0}), hn::MulAdd(distance, load_or(b, i, lanes, T{0}), load_or(c, i, lanes, T{0}))), out + i, lanes);
  });
}

template <bool kCentered, class T>
constexpr RowNormTable<T> row_norm_table_of() {
  return {row_norm<kCentered, T>, row_norm_backward<kCentered, T>};
}
template <class T>
constexpr NormalizationTable<T> normalization_table_of() {
  return {row_norm_table_of<true, T>(), row_norm_table_of<false, T>(), {group_norm<T>, group_norm_backward<T>}, flush_normalized, affine<T>, affine_channels<T>, gradient_sums<T>, combine<T>, gradient_sums_channels<T>, combine_channels<T>};
}
}  // namespace

constinit const NormalizationKernels normalization_kernels = {normalization_table_of<float>(), normalization_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/normalization.cpp
namespace {
template <class T>
const kernels::NormalizationTable<T>& normalization_table() {
  using namespace kernels;
  static constexpr const NormalizationKernels* tables[] = TINYTORCH_PER_CAPABILITY(normalization_kernels);
  const NormalizationKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// Of layer norm, which is centered, or of RMS norm.
template <bool kCentered, class T>
const kernels::RowNormTable<T>& row_norm_table() {
  return kCentered ? normalization_table<T>().layer_norm : normalization_table<T>().rms_norm;
}

template <class F>
void in_normalized_type(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

bool can_normalize(const Tensor& x) { return (x.scalar_type() == kFloat || x.scalar_type() == kDouble) && x.numel() > 0; }

// A dense copy if it is defined, which keeps the memory of the pointer.
Tensor dense_or_none(const std::optional<Tensor>& x) { return x && x->defined() ? x->contiguous() : Tensor(); }
template <class T>
const T* data_or_null(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

// Pieces of rows or channels that are worth a task.
constexpr std::int64_t kNormalizationWork = 1 << 15;
std::int64_t rows_together(std::int64_t count) { return std::max<std::int64_t>(1, kNormalizationWork / count); }

// REQUIRES: can_normalize(input).
template <bool kCentered>
Tensor normalized_by_rows(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const Tensor x = input.contiguous(), result = empty(x.sizes(), x.scalar_type()), w = dense_or_none(weight), b = dense_or_none(bias);
  const std::int64_t count = multiply_sizes(normalized_shape);
  in_normalized_type(x.scalar_type(), [&]<class T>() {
    const auto kernel = row_norm_table<kCentered, T>().forward;
    const bool beyond_cache = x.numel() * static_cast<std::int64_t>(sizeof(T)) > kernels::last_cache_bytes();
    parallel_for(0, x.numel() / count, rows_together(count), [&, from = x.data<T>(), scale = data_or_null<T>(w), shift = data_or_null<T>(b), to = result.data<T>()](std::int64_t first, std::int64_t stop) {
      kernel(from + first * count, stop - first, count, scale, shift, eps, beyond_cache, to + first * count);
      if (beyond_cache) normalization_table<T>().flush();
    });
  });
  return result;
}

Tensor layer_norm_tuned(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  if (!can_normalize(input)) return op::layer_norm.function(Layer::CPU)(input, normalized_shape, weight, bias, eps);
  return normalized_by_rows<true>(input, normalized_shape, weight, bias, eps);
}

Tensor rms_norm_tuned(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, double eps) {
  if (!can_normalize(input)) return op::rms_norm.function(Layer::CPU)(input, normalized_shape, weight, eps);
  return normalized_by_rows<false>(input, normalized_shape, weight, {}, eps);
}

// ---- Gradients. On the layer CPU they are the formulas of modules 12 and 09 and of chapter 86, of differentiable operators.
DimVector last_dims(std::int64_t dims) {
  DimVector last;
  for (std::int64_t i = 1; i <= dims; ++i) last.push_back(-i);
  return last;
}

// The sizes of the last `dims` dimensions.
DimVector row_sizes(const Tensor& x, std::int64_t dims) {
  DimVector sizes;
  for (std::int64_t d = x.dim() - dims; d < x.dim(); ++d) sizes.push_back(x.size(d));
  return sizes;
}

template <bool kCentered>
Tensor normalized_rows(const Tensor& input, std::int64_t dims, double eps, Tensor* rstd) {
  const Tensor centered = kCentered ? input - input.mean(last_dims(dims), true) : input;
  *rstd = rsqrt((centered * centered).mean(last_dims(dims), true) + eps);
  return centered * *rstd;
}

template <bool kCentered>
Tensor row_norm_backward_composed(const Tensor& grad, const Tensor& input, std::int64_t dims, const std::optional<Tensor>& weight, double eps) {
  Tensor rstd;
  const Tensor x = normalized_rows<kCentered>(input, dims, eps, &rstd);
  const Tensor h = weight && weight->defined() ? grad * *weight : grad;
  return rstd * ((kCentered ? h - h.mean(last_dims(dims), true) : h) - x * (h * x).mean(last_dims(dims), true));
}

// The sum over all rows of grad times the normalized input: the gradient of the weight.
template <bool kCentered>
Tensor row_norm_weight_composed(const Tensor& grad, const Tensor& input, std::int64_t dims, double eps) {
  const DimVector sizes = row_sizes(input, dims);
  const Tensor product = grad * (kCentered ? op::layer_norm(input, sizes, {}, {}, eps) : op::rms_norm(input, sizes, {}, eps));
  DimVector rows;
  for (std::int64_t d = 0; d < input.dim() - dims; ++d) rows.push_back(d);
  return rows.empty() ? product : product.sum(rows);
}

// The gradients of input and weight; that of the weight only if it is asked for.
using RowNormGradients = std::tuple<Tensor, Tensor>;
template <bool kCentered>
RowNormGradients row_norm_gradients_composed(const Tensor& grad, const Tensor& input, std::int64_t dims, const std::optional<Tensor>& weight, double eps, bool of_weight) {
  return {row_norm_backward_composed<kCentered>(grad, input, dims, weight, eps), of_weight ? row_norm_weight_composed<kCentered>(grad, input, dims, eps) : Tensor()};
}
using RowNormBackward = Operator<RowNormGradients(const Tensor&, const Tensor&, std::int64_t, const std::optional<Tensor>&, double, bool)>;
constinit RowNormBackward layer_norm_backward_op("layer_norm_backward", {.cpu = row_norm_gradients_composed<true>});
constinit RowNormBackward rms_norm_backward_op("rms_norm_backward", {.cpu = row_norm_gradients_composed<false>});
template <bool kCentered>
RowNormBackward& row_norm_backward_op = kCentered ? layer_norm_backward_op : rms_norm_backward_op;

// Both in one walk, so that each row's statistics are computed once. Segments of rows have totals of their own for the weight, which are joined in order, and take 32 MB together at most.
template <bool kCentered>
RowNormGradients row_norm_backward_tuned(const Tensor& grad, const Tensor& input, std::int64_t dims, const std::optional<Tensor>& weight, double eps, bool of_weight) {
  if (!can_normalize(input) || grad.scalar_type() != input.scalar_type()) return row_norm_backward_op<kCentered>.function(Layer::CPU)(grad, input, dims, weight, eps, of_weight);
  constexpr std::int64_t kTogether = 8, kMostSegments = 64, kMostTotals = std::int64_t{1} << 22;
  const Tensor g = grad.contiguous(), x = input.contiguous(), w = dense_or_none(weight), result = empty(x.sizes(), x.scalar_type());
  const Tensor total = of_weight ? empty(row_sizes(x, dims), x.scalar_type()) : Tensor();
  const std::int64_t count = multiply_sizes(row_sizes(x, dims)), rows = x.numel() / count;
  const std::int64_t most = std::min(rows, of_weight ? std::min(kMostSegments, std::max<std::int64_t>(1, kMostTotals / count)) : kMostSegments);
  const std::int64_t segments = std::clamp<std::int64_t>(x.numel() / (kNormalizationWork / 8), 1, most);
  in_normalized_type(x.scalar_type(), [&]<class T>() {
    std::vector<double> totals(static_cast<std::size_t>(of_weight ? segments * count : 0));
    kernels::run_tasks(segments, [&, kernel = row_norm_table<kCentered, T>().backward, from = g.data<T>(), at = x.data<T>(), scale = data_or_null<T>(w), to = result.data<T>()](std::int64_t s) {
      const std::int64_t stop = rows * (s + 1) / segments;
      for (std::int64_t row = rows * s / segments; row < stop; row += kTogether)
        kernel(from + row * count, at + row * count, std::min(kTogether, stop - row), count, scale, eps, to + row * count, of_weight ? totals.data() + s * count : nullptr);
    });
    if (!of_weight) return;
    for (std::int64_t s = 1; s < segments; ++s)
      for (std::int64_t j = 0; j < count; ++j) totals[static_cast<std::size_t>(j)] += totals[static_cast<std::size_t>(s * count + j)];
    std::transform(totals.begin(), totals.begin() + count, total.data<T>(), [](double sum) { return static_cast<T>(sum); });
  });
  return {result, total};
}

// ---- Batch norm, of contiguous (N, C, L).

struct ChannelShape {
  std::int64_t N, C, L;
  explicit ChannelShape(const Tensor& x) : N(x.size(0)), C(x.size(1)), L(x.numel() / (N * C)) {}
  ChannelShape(std::int64_t rows, std::int64_t channels) : N(rows), C(channels), L(1) {}
};

// Channels [first, stop).
struct Channels {
  std::int64_t first, stop;
  std::int64_t count() const { return stop - first; }
};

// Calls f(plane, c) for each plane of L numbers of these channels.
template <class F>
void for_planes(const ChannelShape& s, Channels some, F f) {
  parallel_for(0, s.N * some.count(), rows_together(s.L), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) {
      const std::int64_t c = some.first + i % some.count();
      f(i / some.count() * s.C + c, c);
    }
  });
}

// Images with channels last are a matrix (N H W, C), of which each row has all channels once.
Tensor matrix_of_channels(const Tensor& x) { return x.permute({0, 2, 3, 1}).view({-1, x.size(1)}); }
Tensor images_of_channels(const Tensor& matrix, IntArrayRef sizes) { return matrix.view({sizes[0], sizes[2], sizes[3], sizes[1]}).permute({0, 3, 1, 2}); }

std::tuple<Tensor, Tensor, Tensor> batch_norm_tuned(const Tensor& self, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const auto reference = [&] { return op::batch_norm.function(Layer::CPU)(self, weight, bias, eps); };
  if (!can_normalize(self)) return reference();
  if (has_channels_last(self)) {
    const auto [matrix, mean, variance] = batch_norm_tuned(matrix_of_channels(self), weight, bias, eps);
    return {images_of_channels(matrix, self.sizes()), mean, variance};
  }
  const Tensor x = self.contiguous(), w = dense_or_none(weight), b = dense_or_none(bias);
  const ChannelShape s(x);
  const auto channels = static_cast<std::size_t>(s.C);
  std::vector<double> means(channels), variances(channels);
  if (!kernels::moments_over(x.view({s.N, s.C, s.L}), {0, 2}, means.data(), variances.data())) return reference();
  const Tensor result = empty(x.sizes(), x.scalar_type()), mean = empty({s.C}, x.scalar_type()), variance = empty({s.C}, x.scalar_type());
  in_normalized_type(x.scalar_type(), [&]<class T>() {
    std::vector<T> scales(channels), shifts(channels);
    T* const centers = mean.data<T>();
    for (std::size_t c = 0; c < channels; ++c) {
      const double scale = (w.defined() ? static_cast<double>(w.data<T>()[c]) : 1.0) / std::sqrt(variances[c] + eps);
      centers[c] = static_cast<T>(means[c]);
      variance.data<T>()[c] = static_cast<T>(variances[c]);
      scales[c] = static_cast<T>(scale);
      shifts[c] = static_cast<T>((b.defined() ? static_cast<double>(b.data<T>()[c]) : 0.0) - (means[c] - static_cast<double>(centers[c])) * scale);
    }
    const kernels::NormalizationTable<T>& table = normalization_table<T>();
    const T* const from = x.data<T>();
    T* const to = result.data<T>();
    if (s.L == 1) {
      parallel_for(0, s.N, rows_together(s.C), [&](std::int64_t first, std::int64_t stop) {
        for (std::int64_t n = first; n < stop; ++n) table.affine_channels(from + n * s.C, s.C, centers, scales.data(), shifts.data(), to + n * s.C);
      });
    } else {
      for_planes(s, {0, s.C}, [&](std::int64_t plane, std::int64_t channel) {
        const auto c = static_cast<std::size_t>(channel);
        table.affine(from + plane * s.L, s.L, centers[c], scales[c], shifts[c], to + plane * s.L);
      });
    }
  });
  return {result, mean, variance};
}

Tensor channel_affine_tuned(const Tensor& self, const Tensor& scale, const Tensor& shift) {
  const auto fits = [&](const Tensor& vector) { return vector.scalar_type() == self.scalar_type() && vector.dim() == 1 && vector.size(0) == self.size(1); };
  if (!can_normalize(self) || self.dim() < 2 || !fits(scale) || !fits(shift)) return op::channel_affine.function(Layer::CPU)(self, scale, shift);
  if (has_channels_last(self)) return images_of_channels(channel_affine_tuned(matrix_of_channels(self), scale, shift), self.sizes());
  const Tensor x = self.contiguous(), by = scale.contiguous(), plus = shift.contiguous(), result = empty(x.sizes(), x.scalar_type());
  const ChannelShape s(x);
  in_normalized_type(x.scalar_type(), [&]<class T>() {
    const kernels::NormalizationTable<T>& table = normalization_table<T>();
    const std::vector<T> centers(static_cast<std::size_t>(s.C));
    if (s.L == 1) {
      parallel_for(0, s.N, rows_together(s.C), [&, from = x.data<T>(), to = result.data<T>()](std::int64_t first, std::int64_t stop) {
        for (std::int64_t n = first; n < stop; ++n) table.affine_channels(from + n * s.C, s.C, centers.data(), by.data<T>(), plus.data<T>(), to + n * s.C);
      });
    } else {
      for_planes(s, {0, s.C}, [&, from = x.data<T>(), to = result.data<T>()](std::int64_t plane, std::int64_t c) { table.affine(from + plane * s.L, s.L, T{0}, by.data<T>()[c], plus.data<T>()[c], to + plane * s.L); });
    }
  });
  return result;
}

// What both gradients need of each channel of a matrix (N, C): sums over the batch, with the means of the forward pass as centers. Segments of rows have sums of their own, which are joined in order.
template <class T>
std::vector<kernels::GradientSums> matrix_gradient_sums(const ChannelShape& s, const T* grad, const T* x, const T* centers) {
  constexpr std::int64_t together = 16;
  const std::int64_t segments = std::clamp<std::int64_t>(s.N * s.C / kNormalizationWork, 1, std::min<std::int64_t>(16, (s.N + together - 1) / together));
  std::vector<double> totals(static_cast<std::size_t>(2 * segments * s.C));
  kernels::run_tasks(segments, [&](std::int64_t segment) {
    double* const sums = totals.data() + 2 * segment * s.C;
    const std::int64_t stop = s.N * (segment + 1) / segments;
    for (std::int64_t row = s.N * segment / segments; row < stop; row += together)
      normalization_table<T>().gradient_sums_channels(grad + row * s.C, x + row * s.C, std::min(together, stop - row), s.C, centers, sums, sums + s.C);
  });
  std::vector<kernels::GradientSums> joined(static_cast<std::size_t>(s.C));
  for (std::size_t segment = 0; segment < static_cast<std::size_t>(segments); ++segment)
    for (std::size_t c = 0; c < joined.size(); ++c) {
      joined[c].grad += totals[2 * segment * joined.size() + c];
      joined[c].products += totals[(2 * segment + 1) * joined.size() + c];
    }
  return joined;
}

// The same of some channels of (N, C, L).
template <class T>
std::vector<kernels::GradientSums> channel_gradient_sums(const ChannelShape& s, Channels some, const T* grad, const T* x, const T* centers) {
  const std::int64_t segments = s.C >= 32 ? 1 : std::clamp<std::int64_t>(s.N * s.L / kNormalizationWork, 1, std::min<std::int64_t>(s.N, 16));
  std::vector<kernels::GradientSums> partial(static_cast<std::size_t>(some.count() * segments));
  parallel_for(0, some.count() * segments, rows_together(std::max<std::int64_t>(1, s.N * s.L / segments)), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t c = some.first + task / segments, segment = task % segments;
      kernels::GradientSums so_far;
      for (std::int64_t n = s.N * segment / segments; n < s.N * (segment + 1) / segments; ++n) {
        const std::int64_t at = (n * s.C + c) * s.L;
        const kernels::GradientSums plane = normalization_table<T>().gradient_sums(grad + at, x + at, s.L, centers[c], s.C * s.L);
        so_far.grad += plane.grad;
        so_far.products += plane.products;
      }
      partial[static_cast<std::size_t>(task)] = so_far;
    }
  });
  std::vector<kernels::GradientSums> sums(static_cast<std::size_t>(some.count()));
  for (std::size_t task = 0; task < partial.size(); ++task) {
    kernels::GradientSums& channel = sums[task / static_cast<std::size_t>(segments)];
    channel.grad += partial[task].grad;
    channel.products += partial[task].products;
  }
  return sums;
}

// How many channels are summed before their planes are read again: their numbers, of two arrays, stay in the second caches of all threads; together they have at least a page of each image, which is read in one go.
std::int64_t channels_at_once(const ChannelShape& s, std::int64_t element) {
  constexpr std::int64_t kPage = 4096;
  const std::int64_t cached = get_num_threads() * kernels::cache_sizes().second / 4 / (2 * s.N * s.L * element);
  return std::clamp<std::int64_t>(cached, std::min(s.C, (kPage + s.L * element - 1) / (s.L * element)), s.C);
}

// The gradients of input, weight and bias, with the mean and the variance that the forward pass gave.
using NormGradients = std::tuple<Tensor, Tensor, Tensor>;
NormGradients batch_norm_backward_composed(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& weight, const Tensor&, const Tensor&, double eps) {
  const DimVector dims = all_but_channels(input);
  return {batch_norm_input_grad(grad, input, weight.value_or(Tensor()), eps), (grad * normalized_channels(input, eps)).sum(dims), grad.sum(dims)};
}
constinit Operator<NormGradients(const Tensor&, const Tensor&, const std::optional<Tensor>&, const Tensor&, const Tensor&, double)> batch_norm_backward_op("batch_norm_backward", {.cpu = batch_norm_backward_composed});

NormGradients batch_norm_backward_tuned(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& weight, const Tensor& mean, const Tensor& variance, double eps) {
  if (!can_normalize(input) || grad.scalar_type() != input.scalar_type()) return batch_norm_backward_op.function(Layer::CPU)(grad, input, weight, mean, variance, eps);
  if (has_channels_last(input)) {
    const auto [matrix, of_weight, of_bias] = batch_norm_backward_tuned(matrix_of_channels(grad.contiguous(MemoryFormat::ChannelsLast)), matrix_of_channels(input), weight, mean, variance, eps);
    return {images_of_channels(matrix, input.sizes()), of_weight, of_bias};
  }
  const Tensor g = grad.contiguous(), x = input.contiguous(), w = dense_or_none(weight), result = empty(x.sizes(), x.scalar_type());
  const ChannelShape s(x);
  const Tensor weight_grad = empty({s.C}, x.scalar_type()), bias_grad = empty({s.C}, x.scalar_type());
  in_normalized_type(x.scalar_type(), [&]<class T>() {
    const T* const centers = mean.data<T>();
    const auto channels = static_cast<std::size_t>(s.C);
    std::vector<T> as(channels), bs(channels), cs(channels);
    const auto take = [&](const std::vector<kernels::GradientSums>& sums, std::int64_t first) {
      auto c = static_cast<std::size_t>(first);
      for (const kernels::GradientSums& sum : sums) {
        const double rstd = 1 / std::sqrt(static_cast<double>(variance.data<T>()[c]) + eps), count = static_cast<double>(s.N * s.L);
        const double a = rstd * (w.defined() ? static_cast<double>(w.data<T>()[c]) : 1.0);
        as[c] = static_cast<T>(a);
        bs[c] = static_cast<T>(-a * rstd * rstd * sum.products / count);
        cs[c] = static_cast<T>(-a * sum.grad / count);
        weight_grad.data<T>()[c] = static_cast<T>(sum.products * rstd);
        bias_grad.data<T>()[c] = static_cast<T>(sum.grad);
        ++c;
      }
    };
    const kernels::NormalizationTable<T>& table = normalization_table<T>();
    const T *const from = g.data<T>(), *const at = x.data<T>();
    T* const to = result.data<T>();
    if (s.L == 1) {
      take(matrix_gradient_sums(s, from, at, centers), 0);
      parallel_for(0, s.N, rows_together(s.C), [&](std::int64_t first, std::int64_t stop) {
        for (std::int64_t i = first * s.C; i < stop * s.C; i += s.C) table.combine_channels(from + i, at + i, s.C, centers, as.data(), bs.data(), cs.data(), to + i);
      });
      return;
    }
    const std::int64_t at_once = channels_at_once(s, sizeof(T));
    for (std::int64_t begin = 0; begin < s.C; begin += at_once) {
      const Channels some{begin, std::min(s.C, begin + at_once)};
      take(channel_gradient_sums(s, some, from, at, centers), begin);
      for_planes(s, some, [&](std::int64_t plane, std::int64_t channel) {
        const auto c = static_cast<std::size_t>(channel);
        table.combine(from + plane * s.L, at + plane * s.L, s.L, centers[c], as[c], bs[c], cs[c], to + plane * s.L);
      });
    }
  });
  return {result, weight_grad, bias_grad};
}

// ---- Group norm, of contiguous (N, C, L): the channels of a group lie beside each other.

// Whether its kernel computes it. Where groups are few and long, batch norm's sums in segments occupy more threads; what does not fit together the reference refuses.
bool can_normalize_groups(const Tensor& x, std::int64_t groups, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias) {
  if (!can_normalize(x) || x.dim() < 2 || groups <= 0 || x.size(1) % groups != 0) return false;
  const auto fits = [&](const std::optional<Tensor>& vector) { return !vector || !vector->defined() || (vector->scalar_type() == x.scalar_type() && vector->dim() == 1 && vector->size(0) == x.size(1)); };
  return fits(weight) && fits(bias) && (x.size(0) * groups >= 8 || x.numel() <= 8 * kNormalizationWork);
}

// Images with channels last are N matrices (H W, C). Moments of each column are joined to those of its group.
struct GroupMoments {
  std::vector<double> means, rstds;  // for each example and channel, those of the channel's group
};
GroupMoments group_moments(const Tensor& matrices, std::int64_t groups, double eps) {
  const std::int64_t columns = matrices.size(0) * matrices.size(2), channels = matrices.size(2) / groups;
  std::vector<double> means(static_cast<std::size_t>(columns)), variances(means.size());
  TORCH_CHECK(kernels::moments_over(matrices, {1}, means.data(), variances.data()), "group_norm: the moments of ", matrices.sizes(), " have no kernel");
  for (auto first = means.begin(), squares = variances.begin(); first != means.end(); first += channels, squares += channels) {
    const double count = static_cast<double>(channels), mean = std::accumulate(first, first + channels, 0.0) / count;
    double variance = 0;
    for (std::int64_t c = 0; c < channels; ++c) variance += (squares[c] + (first[c] - mean) * (first[c] - mean)) / count;
    std::fill(first, first + channels, mean);
    std::fill(squares, squares + channels, 1 / std::sqrt(variance + eps));
  }
  return {std::move(means), std::move(variances)};
}

// Each row of (N, L, C) for itself, f(example, row).
template <class F>
void for_rows_of_channels(const Tensor& matrices, F f) {
  const std::int64_t rows = matrices.size(1);
  parallel_for(0, matrices.size(0) * rows, rows_together(matrices.size(2)), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t row = first; row < stop; ++row) f(row / rows, row);
  });
}

Tensor matrices_of_channels(const Tensor& x) { return x.permute({0, 2, 3, 1}).view({x.size(0), -1, x.size(1)}); }

template <class T>
Tensor group_norm_of_matrices(const Tensor& x, std::int64_t groups, const T* weight, const T* bias, double eps) {
  const Tensor result = empty(x.sizes(), x.scalar_type());
  const std::int64_t C = x.size(2);
  const GroupMoments moments = group_moments(x, groups, eps);
  std::vector<T> centers, scales, shifts;
  for (std::size_t i = 0; i < moments.means.size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(C);
    const double scale = moments.rstds[i] * (weight == nullptr ? 1.0 : static_cast<double>(weight[c]));
    centers.push_back(static_cast<T>(moments.means[i]));
    scales.push_back(static_cast<T>(scale));
    shifts.push_back(static_cast<T>((bias == nullptr ? 0.0 : static_cast<double>(bias[c])) - (moments.means[i] - static_cast<double>(centers[i])) * scale));
  }
  for_rows_of_channels(x, [&, from = x.data<T>(), to = result.data<T>()](std::int64_t n, std::int64_t row) {
    normalization_table<T>().affine_channels(from + row * C, C, centers.data() + n * C, scales.data() + n * C, shifts.data() + n * C, to + row * C);
  });
  return result;
}

Tensor group_norm_tuned(const Tensor& input, std::int64_t groups, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  if (!can_normalize_groups(input, groups, weight, bias)) return op::group_norm.function(Layer::CPU)(input, groups, weight, bias, eps);
  const Tensor w = dense_or_none(weight), b = dense_or_none(bias);
  if (has_channels_last(input)) {
    Tensor rows;
    in_normalized_type(input.scalar_type(), [&]<class T>() { rows = group_norm_of_matrices(matrices_of_channels(input), groups, data_or_null<T>(w), data_or_null<T>(b), eps); });
    return images_of_channels(rows, input.sizes());
  }
  const Tensor x = input.contiguous(), result = empty(x.sizes(), x.scalar_type());
  const ChannelShape s(x);
  const std::int64_t channels = s.C / groups, count = channels * s.L;
  in_normalized_type(x.scalar_type(), [&]<class T>() {
    parallel_for(0, s.N * groups, rows_together(count), [&, from = x.data<T>(), scale = data_or_null<T>(w), shift = data_or_null<T>(b), to = result.data<T>()](std::int64_t first, std::int64_t stop) {
      for (std::int64_t row = first; row < stop; ++row) {
        const std::int64_t c = row % groups * channels;
        normalization_table<T>().group_norm.forward(from + row * count, channels, s.L, scale == nullptr ? nullptr : scale + c, shift == nullptr ? nullptr : shift + c, eps, to + row * count);
      }
    });
  });
  return result;
}

// The gradients of input, weight and bias.
NormGradients group_norm_backward_composed(const Tensor& grad, const Tensor& input, std::int64_t groups, const std::optional<Tensor>& weight, double eps) {
  const DimVector dims = all_but_channels(input);
  return {group_norm_input_grad(grad, input, groups, weight.value_or(Tensor()), eps), (grad * normalized_groups(input, groups, eps)).sum(dims), grad.sum(dims)};
}
constinit Operator<NormGradients(const Tensor&, const Tensor&, std::int64_t, const std::optional<Tensor>&, double)> group_norm_backward_op("group_norm_backward", {.cpu = group_norm_backward_composed});

// The sum of each channel over the examples, whose sums stand below one another.
template <class T>
Tensor over_examples(const std::vector<double>& sums, std::int64_t channels) {
  const Tensor result = empty({channels}, scalar_type_of<T>());
  std::vector<double> totals(static_cast<std::size_t>(channels));
  for (std::size_t i = 0; i < sums.size(); ++i) totals[i % totals.size()] += sums[i];
  for (std::size_t c = 0; c < totals.size(); ++c) result.data<T>()[c] = static_cast<T>(totals[c]);
  return result;
}

template <class T>
NormGradients group_norm_backward_of_matrices(const Tensor& grad, const Tensor& x, std::int64_t groups, const T* weight, double eps) {
  const Tensor result = empty(x.sizes(), x.scalar_type());
  const std::int64_t N = x.size(0), L = x.size(1), C = x.size(2);
  const std::size_t in_group = static_cast<std::size_t>(C / groups);
  const GroupMoments moments = group_moments(x, groups, eps);
  const std::vector<T> centers(moments.means.begin(), moments.means.end());
  std::vector<double> of_weight(moments.means.size()), of_bias(of_weight.size());
  std::vector<T> as(of_weight.size()), bs(of_weight.size()), cs(of_weight.size());
  kernels::run_tasks(N, [&](std::int64_t n) {
    const std::vector<kernels::GradientSums> sums = matrix_gradient_sums(ChannelShape(L, C), grad.data<T>() + n * L * C, x.data<T>() + n * L * C, centers.data() + n * C);
    const auto weight_at = [&](std::size_t c) { return weight == nullptr ? 1.0 : static_cast<double>(weight[c]); };
    for (std::size_t group = 0; group < sums.size(); group += in_group) {
      const std::size_t at = static_cast<std::size_t>(n * C) + group;
      const double rstd = moments.rstds[at], numbers = static_cast<double>(in_group) * static_cast<double>(L);
      double mean = 0, mean_product = 0;  // of h, and of h with the normalized input
      for (std::size_t c = 0; c < in_group; ++c) {
        of_bias[at + c] = sums[group + c].grad;
        of_weight[at + c] = rstd * (sums[group + c].products - (moments.means[at] - static_cast<double>(centers[at])) * sums[group + c].grad);
        mean += weight_at(group + c) * of_bias[at + c] / numbers;
        mean_product += weight_at(group + c) * of_weight[at + c] / numbers;
      }
      for (std::size_t c = 0; c < in_group; ++c) {
        as[at + c] = static_cast<T>(rstd * weight_at(group + c));
        bs[at + c] = static_cast<T>(-rstd * rstd * mean_product);
        cs[at + c] = static_cast<T>(-rstd * (mean - (moments.means[at] - static_cast<double>(centers[at])) * rstd * mean_product));
      }
    }
  });
  for_rows_of_channels(x, [&, from = grad.data<T>(), at = x.data<T>(), to = result.data<T>()](std::int64_t n, std::int64_t row) {
    normalization_table<T>().combine_channels(from + row * C, at + row * C, C, centers.data() + n * C, as.data() + n * C, bs.data() + n * C, cs.data() + n * C, to + row * C);
  });
  return {result, over_examples<T>(of_weight, C), over_examples<T>(of_bias, C)};
}

NormGradients group_norm_backward_tuned(const Tensor& grad, const Tensor& input, std::int64_t groups, const std::optional<Tensor>& weight, double eps) {
  if (!can_normalize_groups(input, groups, weight, {}) || grad.scalar_type() != input.scalar_type() || grad.sizes() != input.sizes()) return group_norm_backward_op.function(Layer::CPU)(grad, input, groups, weight, eps);
  const Tensor w = dense_or_none(weight);
  NormGradients gradients;
  if (has_channels_last(input)) {
    in_normalized_type(input.scalar_type(), [&]<class T>() {
      gradients = group_norm_backward_of_matrices(matrices_of_channels(grad.contiguous(MemoryFormat::ChannelsLast)), matrices_of_channels(input), groups, data_or_null<T>(w), eps);
    });
    std::get<0>(gradients) = images_of_channels(std::get<0>(gradients), input.sizes());
    return gradients;
  }
  const Tensor g = grad.contiguous(), x = input.contiguous(), result = empty(x.sizes(), x.scalar_type());
  const ChannelShape s(x);
  const std::int64_t channels = s.C / groups, count = channels * s.L;
  in_normalized_type(x.scalar_type(), [&]<class T>() {
    // Each example's sums for itself, joined in the order of the examples.
    std::vector<double> of_weight(static_cast<std::size_t>(s.N * s.C)), of_bias(of_weight.size());
    parallel_for(0, s.N * groups, rows_together(count), [&, from = g.data<T>(), at = x.data<T>(), scale = data_or_null<T>(w), to = result.data<T>()](std::int64_t first, std::int64_t stop) {
      for (std::int64_t row = first; row < stop; ++row)
        normalization_table<T>().group_norm.backward(from + row * count, at + row * count, channels, s.L, scale == nullptr ? nullptr : scale + row % groups * channels, eps, to + row * count,
                                                     of_weight.data() + row * channels, of_bias.data() + row * channels);
    });
    gradients = {result, over_examples<T>(of_weight, s.C), over_examples<T>(of_bias, s.C)};
  });
  return gradients;
}

std::optional<Tensor> if_given(const Tensor& x) { return x.defined() ? std::optional(x) : std::nullopt; }

// Chapter 64's nodes ask each gradient for itself, so that the walk for the sums would be made three times. These make it once.
class NormNode : public Node {
 public:
  NormNode(const Tensor& input, const std::optional<Tensor>& weight) : input_(input, false), weight_(weight.value_or(Tensor()), false) {}

  variable_list apply(variable_list&& grads) override {
    variable_list result(3);
    if (!grads[0].defined()) return result;
    const Tensor input = input_.unpack(*this);
    std::tie(result[0], result[1], result[2]) = gradients(grads[0], input, if_given(weight_.unpack(*this)));
    for (std::size_t i = 0; i < 3; ++i)
      if (!next_edge(i).is_valid()) result[i] = Tensor();
    return result;
  }
  void release_variables() override {
    input_.reset();
    weight_.reset();
  }

 private:
  virtual NormGradients gradients(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& weight) = 0;

  SavedVariable input_, weight_;
};

// Calls `below`, the operator without recording, and makes its results remember `make()`, a node, where one of the three inputs needs a gradient. `keep(node, results)` may keep some of them.
template <class Below, class Make, class Keep>
auto recorded_norm(const Tensor& self, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, Below below, Make make, Keep keep) {
  const auto computed = [&] {
    const ExcludeLayersGuard guard(Layer::Autograd);
    return below();
  };
  if (!is_recording() || !(detail::needs_grad(self) || detail::needs_grad(weight) || detail::needs_grad(bias))) return computed();
  const auto node = make();
  detail::append_edges(*node, self);
  detail::append_edges(*node, weight);
  detail::append_edges(*node, bias);
  auto results = computed();
  keep(node, results);
  return results;
}

template <bool kCentered>
class RowNormNode : public NormNode {
 public:
  RowNormNode(const Tensor& input, std::size_t dims, const std::optional<Tensor>& weight, double eps) : NormNode(input, weight), dims_(static_cast<std::int64_t>(dims)), eps_(eps) {}
  std::string name() const override { return detail::node_name(kCentered ? op::layer_norm.name() : op::rms_norm.name()); }

 private:
  NormGradients gradients(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& weight) override {
    const bool of_weight = next_edge(1).is_valid();
    const auto [of_input, total] = is_recording() ? row_norm_gradients_composed<kCentered>(grad, input, dims_, weight, eps_, of_weight) : row_norm_backward_op<kCentered>(grad, input, dims_, weight, eps_, of_weight);
    return {of_input, total, kCentered ? grad : Tensor()};  // the engine sums that of the bias over the rows
  }

  std::int64_t dims_;
  double eps_;
};

Tensor layer_norm_recorded(const Tensor& self, IntArrayRef shape, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  return recorded_norm(
      self, weight, bias, [&] { return op::layer_norm(self, shape, weight, bias, eps); }, [&] { return make_node<RowNormNode<true>>(self, shape.size(), weight, eps); },
      [](const auto& node, const Tensor& result) { set_history(result, node); });
}
Tensor rms_norm_recorded(const Tensor& self, IntArrayRef shape, const std::optional<Tensor>& weight, double eps) {
  return recorded_norm(
      self, weight, std::nullopt, [&] { return op::rms_norm(self, shape, weight, eps); }, [&] { return make_node<RowNormNode<false>>(self, shape.size(), weight, eps); },
      [](const auto& node, const Tensor& result) { set_history(result, node); });
}

class GroupNormNode : public NormNode {
 public:
  GroupNormNode(const Tensor& input, std::int64_t groups, const std::optional<Tensor>& weight, double eps) : NormNode(input, weight), groups_(groups), eps_(eps) {}
  std::string name() const override { return detail::node_name(op::group_norm.name()); }

 private:
  NormGradients gradients(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& weight) override {
    return is_recording() ? group_norm_backward_composed(grad, input, groups_, weight, eps_) : group_norm_backward_op(grad, input, groups_, weight, eps_);
  }

  std::int64_t groups_;
  double eps_;
};

Tensor group_norm_recorded(const Tensor& self, std::int64_t groups, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  return recorded_norm(
      self, weight, bias, [&] { return op::group_norm(self, groups, weight, bias, eps); }, [&] { return make_node<GroupNormNode>(self, groups, weight, eps); },
      [](const auto& node, const Tensor& result) { set_history(result, node); });
}

class BatchNormNode : public NormNode {
 public:
  BatchNormNode(const Tensor& input, const std::optional<Tensor>& weight, double eps) : NormNode(input, weight), eps_(eps) {}
  void keep(const Tensor& mean, const Tensor& variance) {
    mean_ = SavedVariable(mean, true);
    variance_ = SavedVariable(variance, true);
  }
  std::string name() const override { return detail::node_name(op::batch_norm.name()); }

  void release_variables() override {
    NormNode::release_variables();
    mean_.reset();
    variance_.reset();
  }

 private:
  NormGradients gradients(const Tensor& grad, const Tensor& input, const std::optional<Tensor>& weight) override {
    const Tensor mean = mean_.unpack(*this), variance = variance_.unpack(*this);
    return is_recording() ? batch_norm_backward_composed(grad, input, weight, mean, variance, eps_) : batch_norm_backward_op(grad, input, weight, mean, variance, eps_);
  }

  SavedVariable mean_, variance_;
  double eps_;
};

std::tuple<Tensor, Tensor, Tensor> batch_norm_recorded(const Tensor& self, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  return recorded_norm(
      self, weight, bias, [&] { return op::batch_norm(self, weight, bias, eps); }, [&] { return make_node<BatchNormNode>(self, weight, eps); },
      [](const auto& node, const std::tuple<Tensor, Tensor, Tensor>& results) {
        node->keep(std::get<1>(results), std::get<2>(results));
        std::apply([&](const auto&... result) { (set_history(result, node), ...); }, results);
      });
}
}  // namespace

// %%
//| export kernels/normalization.cpp
//| registers
void register_tuned_normalization() {
  op::layer_norm.set(Layer::TunedCPU, layer_norm_tuned);
  op::batch_norm.set(Layer::TunedCPU, batch_norm_tuned);
  op::channel_affine.set(Layer::TunedCPU, channel_affine_tuned);
  op::rms_norm.set(Layer::TunedCPU, rms_norm_tuned);
  op::group_norm.set(Layer::TunedCPU, group_norm_tuned);
  layer_norm_backward_op.set(Layer::TunedCPU, row_norm_backward_tuned<true>);
  rms_norm_backward_op.set(Layer::TunedCPU, row_norm_backward_tuned<false>);
  group_norm_backward_op.set(Layer::TunedCPU, group_norm_backward_tuned);
  batch_norm_backward_op.set(Layer::TunedCPU, batch_norm_backward_tuned);
  compute_in_float<layer_norm_backward_op, rms_norm_backward_op>();
  kernels::fused_recording<op::layer_norm>(layer_norm_recorded);
  kernels::fused_recording<op::rms_norm>(rms_norm_recorded);
  kernels::fused_recording<op::group_norm>(group_norm_recorded);
  kernels::fused_recording<op::batch_norm>(batch_norm_recorded);
}

// %%
//| lesson
// The reference's results of f().
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard reference;
  return f();
}

// Runs f once for each capability of this machine.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// Runs f with this many threads.
template <class F>
auto with_threads(int threads, F f) {
  const int before = get_num_threads();
  set_num_threads(threads);
  auto result = f();
  set_num_threads(before);
  return result;
}

// %%
TEST_CASE("layer norm, RMS norm and batch norm: results and gradients as the reference, for each form of input") {
  manual_seed(772);
  const auto compare = [](auto results, ScalarType type) {
    const std::vector<Tensor> expected = by_reference(results);
    const double tolerance = type == kFloat ? 2e-5 : 1e-11;
    for_each_capability([&] {
      const std::vector<Tensor> tuned = results();
      for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance);
    });
    const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
  };
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const bool affine : {false, true}) {
      for (const DimVector& sizes : {DimVector{4, 7}, DimVector{19, 64}, DimVector{2, 3, 33}, DimVector{300, 130}, DimVector{3, 5000}}) {
        CAPTURE(sizes);
        const std::int64_t count = sizes[sizes.size() - 1];
        const Tensor x = randn(sizes, type) * 3 + 1, g = randn(sizes, type), weight = randn({count}, type), bias = randn({count}, type);
        compare([&] {
          const Tensor a = x.clone().requires_grad_(), w = weight.clone().requires_grad_(), b = bias.clone().requires_grad_();
          const Tensor y = affine ? layer_norm(a, {count}, w, b) : layer_norm(a, {count});
          y.backward(g);
          return affine ? std::vector<Tensor>{y.detach(), a.grad(), w.grad(), b.grad()} : std::vector<Tensor>{y.detach(), a.grad()};
        }, type);
        compare([&] {
          const Tensor a = x.clone().requires_grad_(), w = weight.clone().requires_grad_();
          const Tensor y = affine ? rms_norm(a, {count}, w, 1e-3) : rms_norm(a, {count});
          y.backward(g);
          return affine ? std::vector<Tensor>{y.detach(), a.grad(), w.grad()} : std::vector<Tensor>{y.detach(), a.grad()};
        }, type);
      }
      for (const DimVector& sizes : {DimVector{6, 5}, DimVector{4, 3, 7}, DimVector{3, 4, 5, 6}, DimVector{16, 2, 33, 70}, DimVector{5, 40, 6, 6}}) {
        CAPTURE(sizes);
        const std::int64_t C = sizes[1];
        const Tensor x = (randn(sizes, type) * 3 + 1).transpose(0, -1).contiguous().transpose(0, -1), g = randn(sizes, type), weight = randn({C}, type), bias = randn({C}, type);
        compare([&] {
          const Tensor a = x.clone().requires_grad_(), w = weight.clone().requires_grad_(), b = bias.clone().requires_grad_();
          const auto [y, mean, variance] = op::batch_norm(a, affine ? std::optional(w) : std::nullopt, affine ? std::optional(b) : std::nullopt, 1e-5);
          y.backward(g);
          std::vector<Tensor> all{y.detach(), mean.detach(), variance.detach(), a.grad()};
          if (affine) {
            all.push_back(w.grad());
            all.push_back(b.grad());
          }
          return all;
        }, type);
      }
    }
  }
}

TEST_CASE("batch norm and channel_affine: images with channels last and matrices as the reference, and the order in memory stays") {
  manual_seed(775);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 2e-5 : 1e-11;
    for (const DimVector& sizes : {DimVector{2, 3, 5, 4}, DimVector{3, 37, 6, 7}, DimVector{4, 64, 20, 20}, DimVector{333, 130}, DimVector{1, 16, 1, 9}}) {
      CAPTURE(sizes);
      const bool is_image = sizes.size() == 4;
      const auto laid_out = [&](const Tensor& t) { return is_image ? t.contiguous(MemoryFormat::ChannelsLast) : t; };
      const Tensor x = laid_out(randn(sizes, type) * 2 + 3), g = laid_out(randn(sizes, type)), weight = randn({sizes[1]}, type), bias = randn({sizes[1]}, type);
      const auto results = [&] {
        const Tensor a = x.clone().requires_grad_(), w = weight.clone().requires_grad_(), b = bias.clone().requires_grad_();
        const auto [y, mean, variance] = op::batch_norm(a, w, b, 1e-5);
        y.backward(g);
        const Tensor plain = op::channel_affine(x, weight, bias);
        return std::vector<Tensor>{y.detach(), plain, a.grad(), mean.detach(), variance.detach(), w.grad(), b.grad()};
      };
      const std::vector<Tensor> expected = by_reference(results);
      for_each_capability([&] {
        const std::vector<Tensor> tuned = results();
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance);
        for (std::size_t i = 0; i < 2; ++i) CHECK_EQ(tuned[i].strides(), x.strides());
      });
      const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
      for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
    }
  }
}

TEST_CASE("batch norm: gradients of more channels than the cache holds are those of the reference, and the same bits for any number of threads") {
  manual_seed(876);
  // One channel at a time, which alone is a megabyte of both arrays; six at a time, of which the last have fewer.
  for (const DimVector& sizes : {DimVector{16, 5, 96, 96}, DimVector{64, 70, 14, 14}}) {
    CAPTURE(sizes);
    const Tensor x = randn(sizes) * 2 + 3, g = randn(sizes), weight = randn({sizes[1]}), bias = randn({sizes[1]});
    const auto results = [&] {
      const Tensor a = x.clone().requires_grad_(), w = weight.clone().requires_grad_(), b = bias.clone().requires_grad_();
      const auto [y, mean, variance] = op::batch_norm(a, w, b, 1e-5);
      y.backward(g);
      return std::vector<Tensor>{y.detach(), a.grad(), w.grad(), b.grad()};
    };
    const std::vector<Tensor> expected = by_reference(results);
    for_each_capability([&] {
      const std::vector<Tensor> tuned = results();
      for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], 2e-5, i < 2 ? 2e-5 : 2e-3);
    });
    const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
  }
}

TEST_CASE("group norm: results and gradients as the reference, with and without weight and bias, for few and for many groups") {
  manual_seed(871);
  struct Case {
    DimVector sizes;
    std::int64_t groups;
  };
  // Of the last two, one has too few groups for its kernel, and one has long rows.
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 3e-5 : 1e-11;
    for (const Case& c : {Case{{6, 4}, 2}, Case{{2, 6, 5}, 3}, Case{{3, 4, 5, 6}, 4}, Case{{2, 3, 3, 3}, 1}, Case{{5, 40, 6, 6}, 8}, Case{{2, 4, 182, 182}, 2}, Case{{4, 8, 60, 60}, 4}}) {
      CAPTURE(c.sizes);
      const std::int64_t C = c.sizes[1];
      const Tensor strided = (randn(c.sizes, type) * 3 + 1).transpose(0, -1).contiguous().transpose(0, -1), g = randn(c.sizes, type), weight = randn({C}, type), bias = randn({C}, type);
      const Tensor last = c.sizes.size() == 4 ? strided.contiguous(MemoryFormat::ChannelsLast) : strided;
      for (const std::pair<Tensor, int>& setting : std::vector<std::pair<Tensor, int>>{{strided, 0}, {strided, 1}, {strided, 2}, {last, 0}, {last, 1}, {last, 2}}) {
        const Tensor& x = setting.first;
        const int given = setting.second;
        CAPTURE(x.strides());
        CAPTURE(given);
        const auto results = [&] {
          const Tensor a = x.clone().requires_grad_(), w = weight.clone().requires_grad_(), b = bias.clone().requires_grad_();
          const Tensor y = group_norm(a, c.groups, given > 0 ? std::optional(w) : std::nullopt, given > 1 ? std::optional(b) : std::nullopt, 1e-3);
          y.backward(g);
          std::vector<Tensor> all{y.detach(), a.grad()};
          if (given > 0) all.push_back(w.grad());
          if (given > 1) all.push_back(b.grad());
          return all;
        };
        const std::vector<Tensor> expected = by_reference(results);
        for_each_capability([&] {
          const std::vector<Tensor> tuned = results();
          for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance * 10);
        });
        const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
        for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
      }
    }
  }
}

TEST_CASE("group norm: gradients of the second order are what small changes do, and a large mean costs no digits") {
  manual_seed(872);
  const Tensor point = randn({2, 4, 3}, kDouble), scale = randn({4}, kDouble), direction = randn({2, 4, 3}, kDouble), weights = randn({2, 4, 3}, kDouble);
  const auto slope = [&](const Tensor& at, bool record) {
    const Tensor leaf = at.clone().requires_grad_();
    return std::pair(leaf, autograd::grad({(group_norm(leaf, 2, scale) * weights).sum()}, {leaf}, {}, std::nullopt, record)[0]);
  };
  const auto [leaf, first] = slope(point, true);
  const Tensor second = autograd::grad({(first * direction).sum()}, {leaf})[0];
  const double step = 1e-5;
  CHECK_CLOSE(second, (slope(point + direction * step, false).second - slope(point - direction * step, false).second) / (2 * step), 1e-6, 1e-7);
  CHECK_ERROR(op::group_norm(randn({2, 4, 3}), 2, randn({3}), {}, 1e-5), "must match the size");
  const Tensor x = (randn({4, 6, 40}, kDouble) + 3000.0).to(kFloat);
  for_each_capability([&] { CHECK_CLOSE(group_norm(x, 3).to(kDouble), group_norm(x.to(kDouble), 3), 1e-5, 1e-5); });
}

TEST_CASE("layer norm and RMS norm: each row gives among others what it gives alone, and past the caches what it gives in them") {
  manual_seed(875);
  constexpr std::int64_t rows = 7;
  for (const ScalarType type : {kFloat, kDouble})
    for (const std::int64_t count : {1, 7, 16, 130, 1000, 1024, 4096, 4097}) {
      CAPTURE(count);
      const Tensor x = randn({rows, count}, type) * 2 + 3, weight = randn({count}, type), bias = randn({count}, type);
      x[3][count / 2].fill_(std::numeric_limits<double>::quiet_NaN());
      for_each_capability([&] {
        using namespace kernels;
        static constexpr const NormalizationKernels* tables[] = TINYTORCH_PER_CAPABILITY(normalization_kernels);
        const NormalizationKernels& chosen = for_capability(tables);
        for (const bool centered : {true, false}) {
          const auto norm = [&](const Tensor& some) { return centered ? layer_norm(some, {count}, weight, bias) : op::rms_norm(some, {count}, weight, 1e-5); };
          const Tensor together = norm(x), past = empty_like(x);
          const auto past_the_caches = [&](const auto& table, auto* to) {
            using T = std::remove_pointer_t<decltype(to)>;
            (centered ? table.layer_norm : table.rms_norm).forward(x.data<T>(), rows, count, weight.data<T>(), centered ? bias.data<T>() : nullptr, 1e-5, true, to);
            table.flush();
          };
          if (type == kFloat) past_the_caches(chosen.in_float, past.data<float>());
          else past_the_caches(chosen.in_double, past.data<double>());
          for (std::int64_t row = 0; row < rows; ++row) {
            CAPTURE(row);
            if (row == 3) {
              CHECK(together[row].isnan().all().item<bool>());
            } else {
              CHECK_EQ(together[row], norm(x.slice(0, row, row + 1))[0]);
              CHECK_EQ(past[row], together[row]);
            }
          }
        }
      });
    }
}

TEST_CASE("layer norm: a mean that is large beside the spread") {
  manual_seed(773);
  const Tensor spread = randn({8, 100}, kDouble), x = (spread + 3000.0).to(kFloat);
  const Tensor exact = layer_norm(x.to(kDouble), {100});
  for_each_capability([&] { CHECK_CLOSE(layer_norm(x, {100}).to(kDouble), exact, 1e-5, 1e-5); });
}

TEST_CASE("layer norm and RMS norm: gradients of first and second order are what small changes do") {
  manual_seed(774);
  const Tensor point = randn({2, 5}, kDouble), scale = randn({5}, kDouble), direction = randn({2, 5}, kDouble), weights = randn({2, 5}, kDouble);
  const double step = 1e-5;
  for (const bool centered : {true, false}) {
    CAPTURE(centered);
    const auto value = [&](const Tensor& x, const Tensor& w) { return ((centered ? layer_norm(x, {5}, w) : rms_norm(x, {5}, w, 1e-3)) * weights).sum(); };
    const auto slope = [&](const Tensor& at, bool record) {
      const Tensor leaf = at.clone().requires_grad_();
      return std::pair(leaf, autograd::grad({value(leaf, scale)}, {leaf}, {}, std::nullopt, record)[0]);
    };
    const auto along = [&](auto f) { return (f(step) - f(-step)) / (2 * step); };
    CHECK_CLOSE((slope(point, false).second * direction).sum(), along([&](double h) { return value(point + direction * h, scale); }), 1e-6, 1e-7);
    const Tensor w = scale.clone().requires_grad_();
    value(point, w).backward();
    CHECK_CLOSE((w.grad() * direction[0]).sum(), along([&](double h) { return value(point, scale + direction[0] * h); }), 1e-6, 1e-7);
    const auto [leaf, first] = slope(point, true);
    const Tensor second = autograd::grad({(first * direction).sum()}, {leaf})[0];
    CHECK_CLOSE(second, along([&](double h) { return slope(point + direction * h, false).second; }), 1e-6, 1e-7);
  }
}

// %% [markdown]
// ## How near to the roof?
//
// As in chapter 77: bytes per second beside what plain reading reaches, where the bytes are those that must be moved.

// %%
//| lesson
class OneThread {
 public:
  OneThread() { set_num_threads(1); }
  ~OneThread() { set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = get_num_threads();
};

void print_rates(const char* what, double bytes, double tuned, double reference) {
  std::printf("  %-34s %8.2f GB/s   reference %8.2f GB/s   %5.1f times\n", what, bytes / tuned * 1e-9, bytes / reference * 1e-9, reference / tuned);
}

template <class F>
void compare_rates(const char* what, double bytes, F f) {
  const auto seconds = [&] { return measure([&] { do_not_optimize(f()); }, {.samples = 3}).minimum; };
  const double tuned = seconds();
  const double reference = by_reference(seconds);
  print_rates(what, bytes, tuned, reference);
}

// %%
DEMO("norm kernels and the reference, one thread") {
  const OneThread one;
  std::printf("memory gives one thread %.1f GB/s\n", kernels::machine_peaks().bytes_per_second * 1e-9);
  const Tensor x = randn({4096, 1024}), weight = ones({1024}), bias = zeros({1024});
  const double once = 4.0 * 4096 * 1024;
  compare_rates("layer norm", 2 * once, [&] { return layer_norm(x, {1024}, weight, bias); });
  compare_rates("RMS norm", 2 * once, [&] { return rms_norm(x, {1024}, weight); });
}

// %% [markdown]
// ## Where to read on
//
// PyTorch's `aten/src/ATen/native/cpu/layer_norm_kernel.cpp`, `batch_norm_kernel.cpp` and `group_norm_kernel.cpp`: they keep each row's mean and deviation for the backward pass, where this chapter computes those of rows again.

// %%
}  // namespace tinytorch
