// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/resize.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/more_pool.h"

namespace tinytorch {

namespace {
// Rows of neighbours and weights.
struct Taps {
  std::vector<std::int64_t> starts{0}, index;
  std::vector<double> weights;

  void add(std::int64_t at, double weight) {
    index.push_back(at);
    weights.push_back(weight);
  }
  void end_row() { starts.push_back(static_cast<std::int64_t>(index.size())); }
};

enum class Filter { Nearest, NearestExact, Linear, Cubic, LinearAntialias, CubicAntialias };

// How many input pixels one output pixel stands for.
double input_step(Filter kernel, std::int64_t in, std::int64_t out, bool align_corners, std::optional<double> scale) {
  if (align_corners && kernel != Filter::Nearest && kernel != Filter::NearestExact) return out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
  return scale && *scale > 0 ? 1 / *scale : static_cast<double>(in) / static_cast<double>(out);
}

double input_place(std::int64_t output, double step, bool align_corners) {
  return align_corners ? step * static_cast<double>(output) : step * (static_cast<double>(output) + 0.5) - 0.5;
}

// Keys' cubic convolution (1981): the weight of a neighbour at `distance`; a = -0.75 here, -0.5 with anti-aliasing, as in PyTorch.
double cubic(double distance, double a) {
  const double x = std::abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

Taps nearest_taps(Filter kernel, std::int64_t in, std::int64_t out, double step) {
  Taps taps;
  const double centre = kernel == Filter::NearestExact ? 0.5 : 0;
  for (std::int64_t i = 0; i < out; ++i) {
    // In single precision, as PyTorch decides which pixel it is.
    const auto place = static_cast<std::int64_t>(std::floor((static_cast<float>(i) + static_cast<float>(centre)) * static_cast<float>(step)));
    taps.add(std::min(place, in - 1), 1);
    taps.end_row();
  }
  return taps;
}

Taps linear_taps(std::int64_t in, std::int64_t out, double step, bool align_corners) {
  Taps taps;
  for (std::int64_t i = 0; i < out; ++i) {
    const double place = in == out ? static_cast<double>(i) : std::max(input_place(i, step, align_corners), 0.0);
    const std::int64_t low = std::min(static_cast<std::int64_t>(place), in - 1);
    const double high_weight = std::min(place - static_cast<double>(low), 1.0);
    taps.add(low, 1 - high_weight);
    taps.add(std::min(low + 1, in - 1), high_weight);
    taps.end_row();
  }
  return taps;
}

Taps cubic_taps(std::int64_t in, std::int64_t out, double step, bool align_corners) {
  Taps taps;
  for (std::int64_t i = 0; i < out; ++i) {
    const double place = in == out ? static_cast<double>(i) : input_place(i, step, align_corners);
    const auto low = static_cast<std::int64_t>(std::floor(place));
    for (std::int64_t k = low - 1; k < low + 3; ++k) taps.add(std::clamp<std::int64_t>(k, 0, in - 1), cubic(place - static_cast<double>(k), -0.75));
    taps.end_row();
  }
  return taps;
}

// The window is as wide as what the output pixel covers; its weights are made to sum to one.
Taps antialias_taps(Filter kernel, std::int64_t in, std::int64_t out, double step) {
  const bool is_cubic = kernel == Filter::CubicAntialias;
  const double stretch = std::max(step, 1.0);
  const double reach = (is_cubic ? 2 : 1) * stretch;
  Taps taps;
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = step * (static_cast<double>(i) + 0.5);
    const std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - reach + 0.5), 0);
    const std::int64_t end = std::min<std::int64_t>(static_cast<std::int64_t>(centre + reach + 0.5), in);
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t j = first; j < end; ++j) {
      const double distance = (static_cast<double>(j) - centre + 0.5) / stretch;
      weights.push_back(is_cubic ? cubic(distance, -0.5) : std::max(0.0, 1 - std::abs(distance)));
      sum += weights.back();
    }
    for (std::size_t k = 0; k < weights.size(); ++k) taps.add(first + static_cast<std::int64_t>(k), weights[k] / sum);
    taps.end_row();
  }
  return taps;
}

Taps taps_of(Filter kernel, std::int64_t in, std::int64_t out, bool align_corners, std::optional<double> scale) {
  const double step = input_step(kernel, in, out, align_corners, scale);
  if (kernel == Filter::Nearest || kernel == Filter::NearestExact) return nearest_taps(kernel, in, out, step);
  if (kernel == Filter::Linear) return linear_taps(in, out, step, align_corners);
  if (kernel == Filter::Cubic) return cubic_taps(in, out, step, align_corners);
  return antialias_taps(kernel, in, out, step);
}

// The table of the transposed matrix, which has `size` rows.
Taps transposed(const ResampleTables& tables, std::int64_t size) {
  Taps taps;
  taps.starts.assign(static_cast<std::size_t>(size) + 1, 0);
  for (const std::int64_t at : tables.index) ++taps.starts[static_cast<std::size_t>(at) + 1];
  for (std::size_t i = 1; i < taps.starts.size(); ++i) taps.starts[i] += taps.starts[i - 1];
  taps.index.resize(tables.index.size());
  taps.weights.resize(tables.index.size());
  std::vector<std::int64_t> next(taps.starts);
  for (std::int64_t row = 0; row < tables.count(); ++row)
    for (auto j = static_cast<std::size_t>(tables.starts[static_cast<std::size_t>(row)]); j < static_cast<std::size_t>(tables.starts[static_cast<std::size_t>(row) + 1]); ++j) {
      const auto place = static_cast<std::size_t>(next[static_cast<std::size_t>(tables.index[j])]++);
      taps.index[place] = row;
      taps.weights[place] = tables.weights[j];
    }
  return taps;
}

Tensor resample(const Tensor& self, std::int64_t dim, const Taps& taps) { return op::resample(self, dim, self.size(dim), tensor(taps.starts), tensor(taps.index), tensor(taps.weights, kDouble)); }

Tensor resample_cpu(const Tensor& self, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights) {
  const ResampleTables tables(self.sizes(), dim, size, starts, index, weights);
  const Tensor x = self.contiguous();
  DimVector sizes(x.sizes());
  sizes[tables.dim] = tables.count();
  const Tensor result = empty(sizes, x.scalar_type());
  dispatch_floating_types(x.scalar_type(), "resample", [&]<class T>() {
    T* to = result.data<T>();
    for (std::int64_t n = 0; n < tables.outer; ++n) {
      const T* const from = x.data<T>() + n * size * tables.inner;
      for (std::int64_t row = 0; row < tables.count(); ++row, to += tables.inner)
        for (std::int64_t i = 0; i < tables.inner; ++i) {
          T sum{0};
          for (auto j = static_cast<std::size_t>(tables.starts[static_cast<std::size_t>(row)]); j < static_cast<std::size_t>(tables.starts[static_cast<std::size_t>(row) + 1]); ++j)
            sum += static_cast<T>(tables.weights[j]) * from[tables.index[j] * tables.inner + i];
          to[i] = sum;
        }
    }
  });
  return result;
}

Tensor resample_backward(const Tensor& grad, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights) {
  DimVector sizes(grad.sizes());
  sizes[static_cast<std::size_t>(dim)] = size;
  return resample(grad, dim, transposed(ResampleTables(sizes, dim, size, starts, index, weights), size));
}
}  // namespace

ResampleTables::ResampleTables(IntArrayRef sizes, std::int64_t dim_, std::int64_t size, const Tensor& starts_, const Tensor& index_, const Tensor& weights_) {
  TORCH_CHECK(dim_ >= 0 && dim_ < static_cast<std::int64_t>(sizes.size()), "resample: dimension ", dim_, " is out of range for a tensor of sizes ", sizes);
  TORCH_CHECK(sizes[static_cast<std::size_t>(dim_)] == size, "resample: expected ", size, " places in dimension ", dim_, ", but got a tensor of sizes ", sizes);
  const auto is_vector = [](const Tensor& t, ScalarType type) { return t.dim() == 1 && t.scalar_type() == type; };
  TORCH_CHECK(is_vector(starts_, kLong) && starts_.numel() > 0 && is_vector(index_, kLong) && is_vector(weights_, kDouble) && index_.numel() == weights_.numel(),
              "resample: expected vectors of starts (Long, not empty), index (Long) and weights (double, as many as index), but got sizes ", starts_.sizes(), ", ", index_.sizes(), " and ", weights_.sizes(), " of ",
              starts_.dtype(), ", ", index_.dtype(), " and ", weights_.dtype());
  dim = static_cast<std::size_t>(dim_);
  outer = inner = 1;
  for (std::size_t d = 0; d < sizes.size(); ++d)
    if (d != dim) (d < dim ? outer : inner) *= sizes[d];
  const auto copied = [](auto& to, const Tensor& from) {
    using Value = typename std::remove_reference_t<decltype(to)>::value_type;
    const Tensor dense = from.contiguous();
    to.assign(dense.template data<Value>(), dense.template data<Value>() + dense.numel());
  };
  copied(starts, starts_);
  copied(index, index_);
  copied(weights, weights_);
  for (const std::int64_t at : index) TORCH_CHECK(at >= 0 && at < size, "resample: index ", at, " is out of range for a dimension of ", size, " places");
  bool rises = starts.front() == 0 && starts.back() == index_.numel();
  for (std::size_t i = 1; i < starts.size(); ++i) rises = rises && starts[i] >= starts[i - 1];
  TORCH_CHECK(rises, "resample: starts must rise from 0 to the number of weights, ", index_.numel());
}

constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, const Tensor&, const Tensor&, const Tensor&)> op::resample(
    "resample", {.cpu = resample_cpu,
                 .autograd = gradient_of<op::resample>(
                     [](const Tensor& g, Arg<1, std::int64_t> dim, Arg<2, std::int64_t> size, Input<3> starts, Input<4> index, Input<5> weights) {
                       return resample_backward(g, dim.value, size.value, starts, index, weights);
                     },
                     no_gradient, no_gradient, no_gradient)});

namespace {
Tensor places_of(IntArrayRef list) { return tensor(std::vector<std::int64_t>(list.begin(), list.end())); }

Tensor pick_pixels_cpu(const Tensor& self, IntArrayRef rows, IntArrayRef columns) { return index_select(index_select(self, 3, places_of(columns)), 2, places_of(rows)); }

Tensor pick_pixels_backward_cpu(const Tensor& grad, IntArrayRef size, IntArrayRef rows, IntArrayRef columns) {
  const Tensor of_rows = zeros({grad.size(0), grad.size(1), size[0], grad.size(3)}, grad.scalar_type()).index_add(2, places_of(rows), grad);
  return zeros({grad.size(0), grad.size(1), size[0], size[1]}, grad.scalar_type()).index_add(3, places_of(columns), of_rows);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef)> op::pick_pixels(
    "pick_pixels", {.cpu = pick_pixels_cpu, .autograd = gradient_of<op::pick_pixels>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> rows, Arg<2, DimVector> columns) {
                      return op::pick_pixels_backward(g, spatial_sizes(sizes), rows.value, columns.value);
                    })});
constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef)> op::pick_pixels_backward(
    "pick_pixels_backward", {.cpu = pick_pixels_backward_cpu, .autograd = gradient_of<op::pick_pixels_backward>([](const Tensor& g, Arg<2, DimVector> rows, Arg<3, DimVector> columns) {
                               return op::pick_pixels(g, rows.value, columns.value);
                             })});

namespace {
// "(H: 3, W: 4)" for the last dimensions of a size.
std::string named_sizes(IntArrayRef sizes) {
  constexpr const char* names[] = {"D: ", "H: ", "W: "};
  std::string text = "(";
  for (std::size_t d = 0; d < sizes.size(); ++d) text += str(d == 0 ? "" : ", ", names[3 - sizes.size() + d], sizes[d]);
  return text + ")";
}

Tensor upsample(const Tensor& self, IntArrayRef output_size, Filter kernel, bool align_corners, const std::vector<std::optional<double>>& scales) {
  const std::size_t dims = scales.size();
  TORCH_CHECK(output_size.size() == dims, "It is expected output_size equals to ", dims, ", but got size ", output_size.size());
  TORCH_CHECK(self.dim() == static_cast<std::int64_t>(dims) + 2, "It is expected input_size equals to ", dims + 2, ", but got size ", self.dim());
  const IntArrayRef input_size(self.sizes().data() + 2, dims);
  bool positive = true;
  for (std::size_t d = 0; d < dims; ++d) positive = positive && input_size[d] > 0 && output_size[d] > 0;
  TORCH_CHECK(positive, "Input and output sizes should be greater than 0, but got input ", named_sizes(input_size), " output ", named_sizes(output_size));
  TORCH_CHECK(self.size(1) > 0, "Non-empty ", dims + 2, "D data tensor expected but got a tensor with sizes ", self.sizes());
  const bool weighs = kernel != Filter::Nearest && kernel != Filter::NearestExact;
  TORCH_CHECK_NOT_IMPLEMENTED(!weighs || self.is_floating_point(), "\"compute_indices_weights_", kernel == Filter::Linear || kernel == Filter::LinearAntialias ? "linear" : "cubic",
                              "\" not implemented for '", self.scalar_type(), "'\n[upsample] convert with to(kFloat) first.");
  if (!weighs && dims == 2) {
    const Taps rows = taps_of(kernel, input_size[0], output_size[0], align_corners, scales[0]), columns = taps_of(kernel, input_size[1], output_size[1], align_corners, scales[1]);
    return in_format_of(self, op::pick_pixels(self, rows.index, columns.index));
  }
  // Images with channels last are resized where they lie: their pixels are rows of channels.
  const bool last = dims == 2 && has_channels_last(self);
  Tensor result = last ? self.permute({0, 2, 3, 1}) : self;
  for (std::size_t d = dims; d-- > 0;) {
    const std::int64_t dim = static_cast<std::int64_t>(d) + (last ? 1 : 2);
    const Taps taps = taps_of(kernel, input_size[d], output_size[d], align_corners, scales[d]);
    result = self.is_floating_point() ? resample(result, dim, taps) : index_select(result, dim, tensor(taps.index));
  }
  return last ? result.permute({0, 3, 1, 2}) : in_format_of(self, result);
}
}  // namespace

namespace {
// The weights are doubles already, so only the numbers are widened.
Tensor resample_in_float(const Tensor& self, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  return to_dtype(op::resample(detail::widened(self, {}), dim, size, starts, index, weights), self.scalar_type());
}
}  // namespace

void register_resampling_in_float() {
  op::resample.set(Layer::HalfPrecision, resample_in_float);
  compute_in_float<op::pick_pixels_backward>();
}

Tensor upsample_nearest1d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales) { return upsample(self, output_size, Filter::Nearest, false, {scales}); }
Tensor upsample_nearest2d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::Nearest, false, {scales_h, scales_w});
}
Tensor upsample_nearest3d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_d, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::Nearest, false, {scales_d, scales_h, scales_w});
}
Tensor _upsample_nearest_exact1d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales) { return upsample(self, output_size, Filter::NearestExact, false, {scales}); }
Tensor _upsample_nearest_exact2d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::NearestExact, false, {scales_h, scales_w});
}
Tensor _upsample_nearest_exact3d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_d, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::NearestExact, false, {scales_d, scales_h, scales_w});
}
Tensor upsample_linear1d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales) {
  return upsample(self, output_size, Filter::Linear, align_corners, {scales});
}
Tensor upsample_bilinear2d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::Linear, align_corners, {scales_h, scales_w});
}
Tensor upsample_trilinear3d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_d, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::Linear, align_corners, {scales_d, scales_h, scales_w});
}
Tensor upsample_bicubic2d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::Cubic, align_corners, {scales_h, scales_w});
}
Tensor _upsample_bilinear2d_aa(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::LinearAntialias, align_corners, {scales_h, scales_w});
}
Tensor _upsample_bicubic2d_aa(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h, std::optional<double> scales_w) {
  return upsample(self, output_size, Filter::CubicAntialias, align_corners, {scales_h, scales_w});
}

nn::UpsampleImpl::UpsampleImpl(UpsampleOptions options_) : options(std::move(options_)) {}

namespace {
using InterpolateMode = nn::functional::InterpolateFuncOptions::mode_t;

constexpr const char* mode_names[] = {"kNearest", "kLinear", "kBilinear", "kBicubic", "kTrilinear", "kArea", "kNearestExact"};
// Of the modes in this order: the number of spatial dimensions that they are for, 0 for any.
constexpr std::int64_t mode_dims[] = {0, 1, 2, 2, 3, 0, 0};
constexpr const char* mode_words[] = {"nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact"};

std::vector<std::int64_t> interpolated_size(const Tensor& input, const nn::functional::InterpolateFuncOptions& options) {
  const auto& size = options.size();
  const auto& scale = options.scale_factor();
  const std::int64_t dims = input.dim() - 2;
  TORCH_CHECK(size || scale, "either size or scale_factor should be defined");
  TORCH_CHECK(!size || !scale, "only one of size or scale_factor should be defined");
  TORCH_CHECK(!scale || static_cast<std::int64_t>(scale->size()) == dims, "scale_factor shape must match input shape. Input is ", dims, "D, scale_factor size is ",
              ArrayRef<double>(scale ? *scale : std::vector<double>()));
  if (size) return *size;
  std::vector<std::int64_t> sizes;
  for (std::int64_t d = 0; d < dims; ++d) sizes.push_back(static_cast<std::int64_t>(std::floor(static_cast<double>(input.size(d + 2)) * (*scale)[static_cast<std::size_t>(d)])));
  return sizes;
}
}  // namespace

Tensor nn::functional::interpolate(const Tensor& input, const InterpolateFuncOptions& options) {
  const InterpolateMode& mode = options.mode();
  const std::size_t which = mode.index();
  const bool plain = which == 0 || which == 5;
  TORCH_CHECK(!plain || !options.align_corners(), "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear");
  const std::int64_t dims = input.dim() - 2;
  TORCH_CHECK(dims >= 1 && dims <= 3, "Input Error: Only 3D, 4D and 5D input Tensors supported (got ", input.dim(), "D) for the modes: nearest | linear | bilinear | bicubic | trilinear (got ",
              mode_names[which], ")");
  TORCH_CHECK(!options.antialias() || (dims == 2 && (which == 2 || which == 3)), "Anti-alias option is only supported for bilinear and bicubic modes");
  TORCH_CHECK(mode_dims[which] == 0 || mode_dims[which] == dims, "Got ", input.dim(), "D input, but ", mode_words[which], " mode needs ", mode_dims[which] + 2, "D input");
  std::vector<std::optional<double>> scales(static_cast<std::size_t>(dims));
  const std::vector<std::int64_t> size = interpolated_size(input, options);
  if (options.scale_factor() && !options.recompute_scale_factor().value_or(false)) scales.assign(options.scale_factor()->begin(), options.scale_factor()->end());
  if (which == 5) return dims == 1 ? tinytorch::adaptive_avg_pool1d(input, size) : dims == 2 ? tinytorch::adaptive_avg_pool2d(input, size) : tinytorch::adaptive_avg_pool3d(input, size);
  const bool align_corners = options.align_corners().value_or(false);
  const Filter kernel = which == 0 ? Filter::Nearest : which == 6 ? Filter::NearestExact : which == 3 ? (options.antialias() ? Filter::CubicAntialias : Filter::Cubic)
                                                       : options.antialias() ? Filter::LinearAntialias : Filter::Linear;
  return upsample(input, size, kernel, align_corners, scales);
}

void nn::UpsampleImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Upsample(";
  if (options.scale_factor()) stream << "scale_factor=" << ArrayRef<double>(*options.scale_factor());
  else stream << "size=" << IntArrayRef(options.size().value_or(std::vector<std::int64_t>()));
  stream << ", mode=" << mode_names[options.mode().index()] << ")";
}

Tensor nn::UpsampleImpl::forward(const Tensor& input) {
  const InterpolateMode mode = std::visit([](const auto& value) { return InterpolateMode(value); }, options.mode());
  return functional::interpolate(input, functional::InterpolateFuncOptions().size(options.size()).scale_factor(options.scale_factor()).mode(mode).align_corners(options.align_corners()));
}

}  // namespace tinytorch
