// From the lesson modules/87_norm_kernels/norm_kernels_dev.cpp:
// edit the module, not this file.

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

namespace tinytorch {

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

}  // namespace tinytorch
