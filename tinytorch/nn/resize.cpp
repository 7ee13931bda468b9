// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tinytorch/core/indexing.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/more_pool.h"

namespace tinytorch {

namespace {
// The k-th neighbour of each output position, and its weight.
struct Tap {
  std::vector<std::int64_t> index;
  std::vector<double> weight;
};
using Taps = std::vector<Tap>;

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
  Tap tap;
  const double centre = kernel == Filter::NearestExact ? 0.5 : 0;
  for (std::int64_t i = 0; i < out; ++i) {
    // In single precision, as PyTorch decides which pixel it is.
    const auto place = static_cast<std::int64_t>(std::floor((static_cast<float>(i) + static_cast<float>(centre)) * static_cast<float>(step)));
    tap.index.push_back(std::min(place, in - 1));
  }
  return {tap};
}

Taps linear_taps(std::int64_t in, std::int64_t out, double step, bool align_corners) {
  Taps taps(2);
  for (std::int64_t i = 0; i < out; ++i) {
    const double place = in == out ? static_cast<double>(i) : std::max(input_place(i, step, align_corners), 0.0);
    const std::int64_t low = std::min(static_cast<std::int64_t>(place), in - 1);
    const double high_weight = std::min(place - static_cast<double>(low), 1.0);
    taps[0].index.push_back(low);
    taps[0].weight.push_back(1 - high_weight);
    taps[1].index.push_back(std::min(low + 1, in - 1));
    taps[1].weight.push_back(high_weight);
  }
  return taps;
}

Taps cubic_taps(std::int64_t in, std::int64_t out, double step, bool align_corners) {
  Taps taps(4);
  for (std::int64_t i = 0; i < out; ++i) {
    const double place = in == out ? static_cast<double>(i) : input_place(i, step, align_corners);
    const auto low = static_cast<std::int64_t>(std::floor(place));
    for (std::int64_t k = 0; k < 4; ++k) {
      taps[static_cast<std::size_t>(k)].index.push_back(std::clamp<std::int64_t>(low - 1 + k, 0, in - 1));
      taps[static_cast<std::size_t>(k)].weight.push_back(cubic(place - static_cast<double>(low - 1 + k), -0.75));
    }
  }
  return taps;
}

// The window is as wide as what the output pixel covers; its weights are made to sum to one.
Taps antialias_taps(Filter kernel, std::int64_t in, std::int64_t out, double step) {
  const bool is_cubic = kernel == Filter::CubicAntialias;
  const double stretch = std::max(step, 1.0);
  const double reach = (is_cubic ? 2 : 1) * stretch;
  Taps taps(static_cast<std::size_t>(std::ceil(reach)) * 2 + 1);
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
    for (std::size_t k = 0; k < taps.size(); ++k) {
      taps[k].index.push_back(std::min(first + static_cast<std::int64_t>(k), in - 1));
      taps[k].weight.push_back(k < weights.size() ? weights[k] / sum : 0);
    }
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

// The weighted sum of the neighbours along `dim`.
Tensor resample(const Tensor& self, std::int64_t dim, const Taps& taps) {
  Tensor sum;
  for (const Tap& tap : taps) {
    Tensor part = index_select(self, dim, tensor(tap.index));
    if (!tap.weight.empty()) {
      DimVector shape(static_cast<std::size_t>(self.dim()), 1);
      shape[static_cast<std::size_t>(dim)] = -1;
      part = part * tensor(tap.weight, kDouble).to(self.scalar_type()).view(shape);
    }
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

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
  Tensor result = self;
  for (std::size_t d = dims; d-- > 0;) result = resample(result, static_cast<std::int64_t>(d) + 2, taps_of(kernel, input_size[d], output_size[d], align_corners, scales[d]));
  return in_format_of(self, result);
}
}  // namespace

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
