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
// # Library chapter 69: Pictures of another size
//
// A network that draws (a segmenter, an autoencoder, a diffusion model) makes its picture larger again on the way out. Each pixel of the result lies somewhere in the input, mostly between pixels, and is a weighted sum of its neighbours there. The weights
// depend on sizes alone, so resizing is linear: its gradient is the transposed matrix. Resizing along one dimension is an operator, `resample`, whose matrix is a table of neighbours and weights, and its gradient is `resample` with that table transposed; `grid_sample`, whose weights depend on numbers, is composed of `gather`, products and sums, and autograd finds its gradient by itself. No exercises.
//
//     input     a       b       c          3 pixels, centres at 0.5, 1.5, 2.5
//     output  . | . . | . . | . .          7 pixels: output i has its centre at (i + 0.5) * 3 / 7
//     nearest   the pixel it falls into                 1 neighbour
//     linear    a line between two centres              2 neighbours in each dimension
//     cubic     a smooth curve through four of them     4 neighbours in each dimension
//     area      the mean of what it covers              adaptive average pooling (chapter 78)
//
// Two questions have more than one answer, and networks trained with one answer fail with the other. *Where are the centres?* With `align_corners` the outermost centres coincide, and pixels are points on a grid; without it pixels are little squares, and
// the pictures' edges coincide. *What is the scale?* `out / in`, or the factor that the caller gave, which differ when the size was rounded.

// %%
//| after 10
//| export nn/resize.h
#include <optional>
#include <ostream>
#include <variant>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/pimpl.h"
//| export nn/resize.cpp
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
//| export nn/grid_sample.h
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>
#include "tinytorch/core/dispatch.h"
#include "tinytorch/nn/image_options.h"
#include "tinytorch/nn/resize.h"
//| export nn/grid_sample.cpp
#include <algorithm>
#include <vector>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/more_ops.h"
//| export nn/pixels.h
#include <optional>
#include <ostream>
#include <tuple>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/expanding_array.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/pimpl.h"
//| export nn/pixels.cpp
#include <utility>
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/more_pool.h"

//| export nn/edges.h
#include <ostream>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/expanding_array.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/padding.h"
#include "tinytorch/nn/pimpl.h"
//| export nn/edges.cpp
#include <algorithm>
#include <cstdlib>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/edges.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <sstream>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/edges.h"
#include "tinytorch/nn/grid_sample.h"
#include "tinytorch/nn/pixels.h"
#include "tinytorch/nn/more_pool.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Resizing

// %%
//| export nn/resize.h
// ---- (N, C, spatial...) to output_size, one or as many numbers as there are spatial dimensions. `scales` are the factors that the caller asked for; without them they follow from the sizes.
// O(numel of the result) for each neighbour and dimension. Throws for empty sizes and other numbers of dimensions. Source: aten/src/ATen/native/UpSample.h.
Tensor upsample_nearest1d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales = std::nullopt);
Tensor upsample_nearest2d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor upsample_nearest3d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_d = std::nullopt, std::optional<double> scales_h = std::nullopt,
                          std::optional<double> scales_w = std::nullopt);
// As those, but by the output pixel's centre instead of its corner, as other libraries do.
Tensor _upsample_nearest_exact1d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales = std::nullopt);
Tensor _upsample_nearest_exact2d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor _upsample_nearest_exact3d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_d = std::nullopt, std::optional<double> scales_h = std::nullopt,
                                 std::optional<double> scales_w = std::nullopt);
// Floating point only.
Tensor upsample_linear1d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales = std::nullopt);
Tensor upsample_bilinear2d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor upsample_trilinear3d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_d = std::nullopt, std::optional<double> scales_h = std::nullopt,
                            std::optional<double> scales_w = std::nullopt);
Tensor upsample_bicubic2d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
// With anti-aliasing: where the picture becomes smaller, the window grows with what an output pixel covers, so that nothing is skipped. As Pillow's resize.
Tensor _upsample_bilinear2d_aa(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor _upsample_bicubic2d_aa(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);

namespace op {
// Weighted sums of places along `dim`, of which `self` has `size`: number i of the result's is the sum of weights[j] times place index[j], for j from starts[i] to starts[i + 1].
// starts (one more than the result has places) and index are Long, weights double. Floating point only. O(numel of the result for each neighbour).
extern Operator<Tensor(const Tensor& self, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights)> resample;
// Pixel (i, j) of the result is pixel (rows[i], columns[j]) of self (N, C, H, W), of any dtype. The lists do not fall.
extern Operator<Tensor(const Tensor& self, IntArrayRef rows, IntArrayRef columns)> pick_pixels;
// Its gradient: each pixel of images of `size` is the sum of `grad` over those that are it.
extern Operator<Tensor(const Tensor& grad, IntArrayRef size, IntArrayRef rows, IntArrayRef columns)> pick_pixels_backward;
}  // namespace op

// The tables of op::resample in vectors, read once all of them is known to be in order.
struct ResampleTables {
  // Throws where they do not belong to dimension `dim`, of `size` places, of a tensor of `sizes`.
  ResampleTables(IntArrayRef sizes, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights);
  std::int64_t count() const { return static_cast<std::int64_t>(starts.size()) - 1; }

  std::size_t dim;
  std::int64_t outer, inner;  // how often the dimension comes, and how far apart its places are in contiguous data
  std::vector<std::int64_t> starts, index;
  std::vector<double> weights;
};

// %% [markdown]
// One dimension at a time: for each output position a few input positions and their weights, as rows of a sparse matrix. Row i has the entries from `starts[i]` to `starts[i + 1]`, a form that is called *compressed sparse rows*. Two dimensions are one after the other, so bilinear needs 2 + 2 products for a pixel instead of 4, and
// bicubic 4 + 4 instead of 16.
//
// The nearest pixel needs no sum, and of pictures both dimensions are picked at once: `pick_pixels` copies, with a row of input positions for each dimension.
//
// The transposed matrix has a row for each input position: the outputs that used it. It is made by counting: how many entries each row has says where it begins, and then each entry goes to the next free place of its row.

// %%
//| export nn/resize.cpp
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

// %%
//| export nn/resize.cpp
namespace {
// The weights are doubles already, so only the numbers are widened.
Tensor resample_in_float(const Tensor& self, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  return to_dtype(op::resample(detail::widened(self, {}), dim, size, starts, index, weights), self.scalar_type());
}
}  // namespace

// %%
//| export nn/resize.cpp
//| registers
void register_resampling_in_float() {
  op::resample.set(Layer::HalfPrecision, resample_in_float);
  compute_in_float<op::pick_pixels_backward>();
}

// %%
//| export nn/resize.cpp
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

// %%
TEST_CASE("upsample: nearest, linear between centres, corners that coincide") {
  const Tensor x = tensor({{{0.0, 4.0, 8.0}}});
  CHECK_EQ(upsample_nearest1d(x, 6), tensor({{{0.0, 0.0, 4.0, 4.0, 8.0, 8.0}}}));
  CHECK_EQ(upsample_nearest1d(x, 2), tensor({{{0.0, 4.0}}}));
  CHECK_EQ(_upsample_nearest_exact1d(x, 2), tensor({{{0.0, 8.0}}}));
  CHECK_EQ(upsample_linear1d(x, 6, false), tensor({{{0.0, 1.0, 3.0, 5.0, 7.0, 8.0}}}));
  CHECK_EQ(upsample_linear1d(x, 5, true), tensor({{{0.0, 2.0, 4.0, 6.0, 8.0}}}));
  CHECK_EQ(upsample_linear1d(x, 1, true), tensor({{{0.0}}}));
  // A constant picture stays constant, whatever the weights.
  for (const Tensor& y : {upsample_bicubic2d(ones({1, 1, 3, 4}), {7, 5}, false), upsample_bicubic2d(ones({1, 1, 3, 4}), {2, 9}, true), _upsample_bicubic2d_aa(ones({1, 1, 9, 7}), {2, 3}, false)})
    CHECK_CLOSE(y, ones_like(y), 1e-6, 0.0);
  // Anti-aliasing looks at every pixel; linear interpolation skips most of them.
  const Tensor dots = zeros({1, 1, 1, 9});
  dots[0][0][0][0] = 9;
  CHECK_EQ(upsample_bilinear2d(dots, {1, 1}, false).item<float>(), 0);
  CHECK(_upsample_bilinear2d_aa(dots, {1, 1}, false).item<float>() > 0);
  CHECK_ERROR(upsample_nearest2d(x, {2, 2}), "It is expected input_size equals to 4, but got size 3");
  CHECK_ERROR(upsample_linear1d(x, 0, false), "Input and output sizes should be greater than 0, but got input (W: 3) output (W: 0)");
  CHECK_ERROR(upsample_linear1d(x.to(kLong), 2, false), "\"compute_indices_weights_linear\" not implemented for 'Long'");
}

TEST_CASE("resample: rows of neighbours and weights, along any dimension, transposed in the gradient, and wrong tables") {
  const Tensor starts = tensor({0, 2, 2, 3}), index = tensor({0, 2, 1}), weights = tensor({0.5, 2.0, -1.0}, kDouble);
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}).requires_grad_();
  const Tensor y = op::resample(x, 1, 3, starts, index, weights);
  CHECK_EQ(y.detach(), tensor({{6.5, 0.0, -2.0}, {14.0, 0.0, -5.0}}));
  CHECK_EQ(op::resample(x.detach().t(), 0, 3, starts, index, weights), y.detach().t());
  y.backward(tensor({{1.0, 10.0, 100.0}, {2.0, 20.0, 200.0}}));
  CHECK_EQ(x.grad(), tensor({{0.5, -100.0, 2.0}, {1.0, -200.0, 4.0}}));
  CHECK_ERROR(op::resample(x, 2, 3, starts, index, weights), "resample: dimension 2 is out of range for a tensor of sizes [2, 3]");
  CHECK_ERROR(op::resample(x, 0, 2, starts, index, weights), "resample: index 2 is out of range for a dimension of 2 places");
  CHECK_ERROR(op::resample(x, 1, 3, tensor({0, 3, 2, 3}), index, weights), "resample: starts must rise from 0 to the number of weights, 3");
  CHECK_ERROR(op::resample(x, 1, 3, starts, index, weights.slice(0, 0, 2)), "resample: expected vectors of starts (Long, not empty), index (Long) and weights (double, as many as index)");
  // Images with channels last stay so.
  const Tensor image = randn({2, 3, 4, 5}), last = image.contiguous(MemoryFormat::ChannelsLast);
  const Tensor resized = upsample_bilinear2d(last, {7, 3}, false);
  CHECK(resized.is_contiguous(MemoryFormat::ChannelsLast));
  CHECK_CLOSE(resized, upsample_bilinear2d(image, {7, 3}, false), 1e-6, 1e-6);
}

TEST_CASE("pick_pixels: pixels by their rows and columns, and the sums of what they were picked for") {
  const Tensor x = arange(6.0).view({1, 1, 2, 3}).requires_grad_();
  const Tensor y = op::pick_pixels(x, {0, 1, 1}, {0, 2});
  CHECK_EQ(y.detach()[0][0], tensor({{0.0, 2.0}, {3.0, 5.0}, {3.0, 5.0}}));
  y.backward(tensor({{1.0, 2.0}, {10.0, 20.0}, {100.0, 200.0}}).view({1, 1, 3, 2}));
  CHECK_EQ(x.grad()[0][0], tensor({{1.0, 0.0, 2.0}, {110.0, 0.0, 220.0}}));
  CHECK_EQ(op::pick_pixels(x.detach().to(kByte), {1}, {1, 1})[0][0], tensor({{4, 4}}).to(kByte));
}

TEST_CASE("upsample: the gradient of a pixel is the sum of the weights with which it was used") {
  const Tensor x = zeros({1, 1, 3}, requires_grad());
  upsample_linear1d(x, 6, false).sum().backward();
  CHECK_CLOSE(x.grad(), full({1, 1, 3}, 2.0), 1e-6, 0.0);
  x.mutable_grad().zero_();
  upsample_nearest1d(x, 2).sum().backward();
  CHECK_EQ(x.grad(), tensor({{{1.0, 1.0, 0.0}}}));
}

// %% [markdown]
// ## interpolate and Upsample
//
// One function in front of all of them, with the options of Python's. The layer `Upsample` has no parameters.

// %%
//| export nn/resize.h
TORCH_ENUM_DECLARE(Nearest);
TORCH_ENUM_DECLARE(Bilinear);
TORCH_ENUM_DECLARE(Bicubic);
TORCH_ENUM_DECLARE(Trilinear);
TORCH_ENUM_DECLARE(Area);
TORCH_ENUM_DECLARE(NearestExact);

namespace nn {

// Source: torch/csrc/api/include/torch/nn/options/upsampling.h.
struct UpsampleOptions {
  using mode_t = std::variant<enumtype::kNearest, enumtype::kLinear, enumtype::kBilinear, enumtype::kBicubic, enumtype::kTrilinear>;
  TORCH_ARG(std::optional<std::vector<std::int64_t>>, size) = std::nullopt;
  TORCH_ARG(std::optional<std::vector<double>>, scale_factor) = std::nullopt;
  TORCH_ARG(mode_t, mode) = kNearest;
  TORCH_ARG(std::optional<bool>, align_corners) = std::nullopt;
};

namespace functional {
struct InterpolateFuncOptions {
  using mode_t = std::variant<enumtype::kNearest, enumtype::kLinear, enumtype::kBilinear, enumtype::kBicubic, enumtype::kTrilinear, enumtype::kArea, enumtype::kNearestExact>;
  TORCH_ARG(std::optional<std::vector<std::int64_t>>, size) = std::nullopt;      // the spatial sizes of the result, or
  TORCH_ARG(std::optional<std::vector<double>>, scale_factor) = std::nullopt;    // what to multiply the input's by
  TORCH_ARG(mode_t, mode) = kNearest;
  TORCH_ARG(std::optional<bool>, align_corners) = std::nullopt;
  TORCH_ARG(std::optional<bool>, recompute_scale_factor) = std::nullopt;         // true: the scale follows from the rounded sizes
  TORCH_ARG(bool, antialias) = false;
};

// (N, C, spatial...) with one to three spatial dimensions, in another size. Throws unless exactly one of size and scale_factor is given, and where the mode does not suit the number of dimensions.
Tensor interpolate(const Tensor& input, const InterpolateFuncOptions& options = {});
}  // namespace functional

class UpsampleImpl : public Cloneable<UpsampleImpl> {
 public:
  explicit UpsampleImpl(UpsampleOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);
  UpsampleOptions options;
};
TORCH_MODULE(Upsample);

}  // namespace nn

// %%
//| export nn/resize.cpp
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

// %%
TEST_CASE("interpolate: sizes, factors, modes and their errors; Upsample") {
  namespace F = nn::functional;
  const Tensor x = arange(6, kFloat).view({1, 1, 2, 3});
  CHECK_EQ(F::interpolate(x, F::InterpolateFuncOptions().scale_factor(std::vector<double>{2, 1})), x.repeat_interleave(2, 2));
  CHECK_EQ(F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<std::int64_t>{1, 1}).mode(kArea)).item<float>(), 2.5F);
  nn::Upsample layer(nn::UpsampleOptions().scale_factor(std::vector<double>{2, 2}).mode(kBilinear).align_corners(true));
  CHECK_EQ(layer(x).sizes(), IntArrayRef({1, 1, 4, 6}));
  CHECK_EQ(layer(x)[0][0][3][5].item<float>(), 5);
  std::ostringstream text;
  text << layer << nn::Upsample(nn::UpsampleOptions().size(std::vector<std::int64_t>{4, 4}));
  CHECK_EQ(text.str(), "torch::nn::Upsample(scale_factor=[2, 2], mode=kBilinear)torch::nn::Upsample(size=[4, 4], mode=kNearest)");
  CHECK_ERROR(F::interpolate(x), "either size or scale_factor should be defined");
  CHECK_ERROR(F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<std::int64_t>{2}).mode(kLinear)), "Got 4D input, but linear mode needs 3D input");
  CHECK_ERROR(F::interpolate(x, F::InterpolateFuncOptions().align_corners(true)), "align_corners option can only be set with the interpolating modes");
}

// %% [markdown]
// ## Sampling at any place
//
// `grid_sample` reads a picture at the places that a grid names, from -1 at the left (top) edge to 1 at the right (bottom) one. A spatial transformer network (Jaderberg et al. 2015) learns the grid, so the gradient for the *places* matters: it flows through the weights
// `x - floor(x)`, and the places themselves are found with `floor`, whose gradient is zero.
//
//     place x between pixels i and i+1      (i+1 - x) * v[i]  +  (x - i) * v[i+1]
//     d / dx                                v[i+1] - v[i]
//
// Places outside read zeros, the nearest pixel of the border, or the picture's reflection. Both of the latter move every place into the picture, those that are nowhere too: in PyTorch's kernels NaN, and infinity under reflection, ends up at the first row or column of a picture, and at the last one of a volume. With zeros such a place is outside, and bilinear weights of NaN give NaN.

// %%
//| export nn/grid_sample.h
TORCH_ENUM_DECLARE(Border);
TORCH_ENUM_DECLARE(Reflection);

// `input` (N, C, H, W) or (N, C, D, H, W) read at the places of `grid` (N, out..., 2 or 3), whose numbers are x, y(, z) from -1 to 1: (N, C, out...). Modes: 0 bilinear, 1 nearest, 2 bicubic (4-d only). Padding: 0 zeros, 1 border, 2 reflection.
// O(numel of the result * neighbours). Throws where sizes do not fit. Source: aten/src/ATen/native/GridSampler.cpp.
Tensor grid_sampler(const Tensor& input, const Tensor& grid, std::int64_t interpolation_mode, std::int64_t padding_mode, bool align_corners);
// The grid of the affine maps `theta` (N, 2, 3) or (N, 3, 4) over an output of `size` (N, C, (D,) H, W): (N, (D,) H, W, 2 or 3).
Tensor affine_grid_generator(const Tensor& theta, IntArrayRef size, bool align_corners);

namespace op {
// Images (N, C, H W) of `height` rows read at rows y and columns x (N, out), which need not be whole: of the four pixels around, each counts as much as it is near. Outside are zeros. (N, C, out). All of one floating-point dtype.
extern Operator<Tensor(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height)> read_bilinear;
// The same of the nearest pixel: y and x are rounded, of two that are as near to the even one.
extern Operator<Tensor(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height)> read_nearest;

// Where the places of a grid (N, out..., D) are in pictures of these sizes, in pixels and moved as the padding says: (N, outs) for each of the D dimensions, rows before columns.
extern Operator<std::vector<Tensor>(const Tensor& grid, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners)> grid_places;
}  // namespace op

namespace nn::functional {
// Source: torch/csrc/api/include/torch/nn/options/vision.h.
struct GridSampleFuncOptions {
  using mode_t = std::variant<enumtype::kBilinear, enumtype::kNearest, enumtype::kBicubic>;
  using padding_mode_t = std::variant<enumtype::kZeros, enumtype::kBorder, enumtype::kReflection>;
  TORCH_ARG(mode_t, mode) = kBilinear;
  TORCH_ARG(padding_mode_t, padding_mode) = kZeros;
  TORCH_ARG(std::optional<bool>, align_corners) = std::nullopt;
};
inline Tensor grid_sample(const Tensor& input, const Tensor& grid, const GridSampleFuncOptions& options = {}) {
  return grid_sampler(input, grid, static_cast<std::int64_t>(options.mode().index()), static_cast<std::int64_t>(options.padding_mode().index()), options.align_corners().value_or(false));
}
// affine_grid_generator with its checks. Throws for sizes that do not fit and theta that is no matrix of floating-point numbers.
Tensor affine_grid(const Tensor& theta, const IntArrayRef& size, bool align_corners = false);
}  // namespace nn::functional

// %%
//| export nn/grid_sample.cpp
namespace {
// From -1..1 to pixels: 0..size-1 between the outermost centres, or -0.5..size-0.5 between the edges.
Tensor to_pixels(const Tensor& places, std::int64_t size, bool align_corners) {
  const auto count = static_cast<double>(size);
  return align_corners ? (places + 1) * ((count - 1) / 2) : (places + 1) * (count / 2) - 0.5;
}

// Folds places back into [low, low + span], as in mirrors on both sides.
Tensor reflected(const Tensor& places, double low, double span) {
  if (span == 0) return zeros_like(places);
  const Tensor distance = (places - low).abs();
  const Tensor turns = (distance.detach() / span).floor();
  const Tensor rest = distance - turns * span;
  return where(turns.remainder(2) == 0, rest + low, span - rest + low);
}

// Moves places outside to where the padding says they read, and what is no number after that to `nowhere`.
Tensor padded_places(const Tensor& places, std::int64_t size, std::int64_t padding_mode, bool align_corners, double nowhere) {
  const auto last = static_cast<double>(size - 1);
  if (padding_mode == 0) return places;
  const Tensor near = padding_mode == 1 ? places : align_corners ? reflected(places, 0, last) : reflected(places, -0.5, last + 1);
  return where(near.isnan(), full({}, nowhere, places.options()), near.clamp(0, last));
}

std::vector<Tensor> grid_places_composed(const Tensor& grid, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  const auto dims = static_cast<std::int64_t>(spatial.size());
  // The grid's last number is of the first spatial dimension.
  std::vector<Tensor> places;
  for (std::int64_t d = 0; d < dims; ++d) {
    const std::int64_t size = spatial[static_cast<std::size_t>(d)];
    const Tensor place = padded_places(to_pixels(grid.select(-1, dims - 1 - d).flatten(1), size, align_corners), size, padding_mode, align_corners, dims == 2 ? 0 : static_cast<double>(size - 1));
    // With zeros around a volume, a place that is no number is outside of it. As it is, it would make weights of NaN, and these do not let zeros be zeros.
    places.push_back(dims == 3 && padding_mode == 0 ? where(place.isfinite(), place, full({}, -2, place.options())) : place);
  }
  return places;
}

// Reads flat (N, C, pixels) at whole places, one tensor of them (N, out) for each dimension, as (N, C, out). Outside there are zeros.
Tensor read_at(const Tensor& flat, const std::vector<Tensor>& places, IntArrayRef spatial) {
  Tensor index, inside;
  for (std::size_t d = 0; d < places.size(); ++d) {
    const Tensor fits = (places[d] >= 0).logical_and(places[d] <= static_cast<double>(spatial[d] - 1));
    const Tensor at = where(fits, places[d], zeros_like(places[d])).to(kLong);
    index = index.defined() ? index * spatial[d] + at : at;
    inside = inside.defined() ? inside.logical_and(fits) : fits;
  }
  const Tensor values = flat.gather(2, index.unsqueeze(1).expand({flat.size(0), flat.size(1), index.size(1)}));
  return where(inside.unsqueeze(1), values, zeros({}, flat.options()));
}

// Linear weights in every dimension: 2^D corners.
Tensor sample_linear(const Tensor& flat, const std::vector<Tensor>& places, IntArrayRef spatial) {
  const std::size_t dims = places.size();
  Tensor sum;
  for (std::size_t corner = 0; corner < (std::size_t{1} << dims); ++corner) {
    std::vector<Tensor> at;
    Tensor weight;
    for (std::size_t d = 0; d < dims; ++d) {
      const bool upper = (corner >> (dims - 1 - d) & 1) != 0;
      const Tensor low = places[d].detach().floor();
      const Tensor part = upper ? places[d] - low : low + 1 - places[d];
      at.push_back(upper ? low + 1 : low);
      weight = weight.defined() ? weight * part : part;
    }
    const Tensor value = read_at(flat, at, spatial) * weight.unsqueeze(1);
    sum = sum.defined() ? sum + value : value;
  }
  return sum;
}

Tensor read_bilinear_composed(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  TORCH_CHECK(images.dim() == 3 && y.dim() == 2 && y.sizes() == x.sizes() && y.size(0) == images.size(0) && height > 0 && images.size(2) % height == 0,
              "read_bilinear: expected images (N, C, H W) of ", height, " rows and places (N, out), but got ", images.sizes(), ", ", y.sizes(), " and ", x.sizes());
  return sample_linear(images, {y, x}, {height, images.size(2) / height});
}

Tensor read_nearest_composed(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) { return read_at(images, {y.round(), x.round()}, {height, images.size(2) / height}); }

// Where somebody wants a gradient these two are composed of operators that have one. Views come here too, and go on to the layers below.
Tensor read_nearest_recorded(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (is_recording() && images.requires_grad()) return read_nearest_composed(images, y, x, height);
  const ExcludeLayersGuard guard(Layer::Autograd);
  return op::read_nearest(images, y, x, height);
}

std::vector<Tensor> grid_places_recorded(const Tensor& grid, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  if (is_recording() && grid.requires_grad()) return grid_places_composed(grid, spatial, padding_mode, align_corners);
  const ExcludeLayersGuard guard(Layer::Autograd);
  return op::grid_places(grid, spatial, padding_mode, align_corners);
}

// Keys' weights of the four neighbours at distances t + 1, t, 1 - t and 2 - t.
std::vector<Tensor> cubic_weights(const Tensor& t) {
  constexpr double a = -0.75;
  const auto near = [](const Tensor& x) { return ((x * (a + 2)) - (a + 3)) * x * x + 1; };
  const auto far = [](const Tensor& x) { return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a; };
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

Tensor sample_cubic(const Tensor& flat, const std::vector<Tensor>& places, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  const Tensor y0 = places[0].detach().floor();
  const Tensor x0 = places[1].detach().floor();
  const std::vector<Tensor> wy = cubic_weights(places[0] - y0);
  const std::vector<Tensor> wx = cubic_weights(places[1] - x0);
  Tensor sum;
  for (std::int64_t i = 0; i < 4; ++i) {
    Tensor row;
    for (std::int64_t j = 0; j < 4; ++j) {
      // Each neighbour is padded by itself.
      const Tensor y = padded_places(y0 + (i - 1), spatial[0], padding_mode, align_corners, 0);
      const Tensor x = padded_places(x0 + (j - 1), spatial[1], padding_mode, align_corners, 0);
      const Tensor value = read_at(flat, {y, x}, spatial) * wx[static_cast<std::size_t>(j)].unsqueeze(1);
      row = row.defined() ? row + value : value;
    }
    row = row * wy[static_cast<std::size_t>(i)].unsqueeze(1);
    sum = sum.defined() ? sum + row : row;
  }
  return sum;
}
}  // namespace

// Made of operators that know their gradients, so with recording on, the same function is called.
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, std::int64_t)> op::read_bilinear("read_bilinear", {.cpu = read_bilinear_composed, .autograd = read_bilinear_composed});
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, std::int64_t)> op::read_nearest("read_nearest", {.cpu = read_nearest_composed, .autograd = read_nearest_recorded});
constinit Operator<std::vector<Tensor>(const Tensor&, IntArrayRef, std::int64_t, bool)> op::grid_places("grid_places", {.cpu = grid_places_composed, .autograd = grid_places_recorded});

Tensor grid_sampler(const Tensor& input, const Tensor& grid, std::int64_t interpolation_mode, std::int64_t padding_mode, bool align_corners) {
  const std::int64_t dims = input.dim() - 2;
  TORCH_CHECK(input.scalar_type() == grid.scalar_type(), "grid_sampler(): expected input and grid to have same dtype, but input has ", input.dtype(), " and grid has ", grid.dtype());
  TORCH_CHECK(dims == 2 || dims == 3, "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes ", input.sizes(), " and grid with sizes ", grid.sizes());
  TORCH_CHECK(input.size(0) == grid.size(0), "grid_sampler(): expected grid and input to have same batch size, but got input with sizes ", input.sizes(), " and grid with sizes ", grid.sizes());
  TORCH_CHECK(grid.size(-1) == dims, "grid_sampler(): expected grid to have size ", dims, " in last dimension, but got grid with sizes ", grid.sizes());
  TORCH_CHECK(grid.dim() == input.dim(), "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes ", input.sizes(), " and grid with sizes ", grid.sizes());
  for (std::int64_t d = 2; d < input.dim(); ++d)
    TORCH_CHECK(input.size(d) > 0, "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes ", input.sizes(), " with dimension ", d, " being empty");
  TORCH_CHECK(interpolation_mode != 2 || dims == 2, "grid_sampler(): bicubic interpolation only supports 4D input");
  TORCH_CHECK_NOT_IMPLEMENTED(input.is_floating_point(), "\"grid_sampler_", dims, "d_cpu\" not implemented for '", input.scalar_type(), "'\n[grid_sample] convert with to(kFloat) first.");
  const IntArrayRef spatial(input.sizes().data() + 2, static_cast<std::size_t>(dims));
  const Tensor flat = input.flatten(2);
  const std::vector<Tensor> places = op::grid_places(grid, spatial, interpolation_mode == 2 ? 0 : padding_mode, align_corners);
  Tensor result;
  if (interpolation_mode == 0) {
    result = dims == 2 ? op::read_bilinear(flat, places[0], places[1], spatial[0]) : sample_linear(flat, places, spatial);
  } else if (interpolation_mode == 2) {
    result = sample_cubic(flat, places, spatial, padding_mode, align_corners);
  } else {
    result = dims == 2 ? op::read_nearest(flat, places[0], places[1], spatial[0]) : read_at(flat, {places[0].round(), places[1].round(), places[2].round()}, spatial);
  }
  DimVector sizes{input.size(0), input.size(1)};
  for (std::int64_t d = 1; d <= dims; ++d) sizes.push_back(grid.size(d));
  return result.reshape(sizes);
}

Tensor affine_grid_generator(const Tensor& theta, IntArrayRef size, bool align_corners) {
  const std::size_t dims = size.size() - 2;
  // For each dimension the centres of its pixels, from -1 to 1.
  std::vector<Tensor> base;
  for (std::size_t d = 0; d < dims; ++d) {
    const std::int64_t count = size[size.size() - 1 - d];
    const auto shrink = align_corners ? 1.0 : static_cast<double>(count - 1) / static_cast<double>(count);
    const Tensor places = count == 1 ? zeros({1}, theta.options()) : linspace(-1, 1, count, theta.options()) * shrink;
    DimVector shape(dims, 1);
    shape[dims - 1 - d] = count;
    base.push_back(places.view(shape).expand(IntArrayRef(size.data() + 2, dims)));
  }
  base.push_back(ones(IntArrayRef(size.data() + 2, dims), theta.options()));
  const Tensor points = stack(base, -1).reshape({1, -1, static_cast<std::int64_t>(dims) + 1});
  DimVector sizes{size[0]};
  for (std::size_t d = 0; d < dims; ++d) sizes.push_back(size[d + 2]);
  sizes.push_back(static_cast<std::int64_t>(dims));
  return points.expand({size[0], points.size(1), points.size(2)}).bmm(theta.transpose(1, 2)).view(sizes);
}

Tensor nn::functional::affine_grid(const Tensor& theta, const IntArrayRef& size, bool align_corners) {
  TORCH_CHECK(theta.is_floating_point(), "Expected theta to have floating point type, but got ", theta.dtype());
  TORCH_CHECK(size.size() == 4 || size.size() == 5, "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size ", size);
  const auto dims = static_cast<std::int64_t>(size.size()) - 2;
  TORCH_CHECK(theta.dim() == 3 && theta.size(-2) == dims && theta.size(-1) == dims + 1, "Expected a batch of ", dims, "D affine matrices of shape Nx", dims, "x", dims + 1, " for size ", size,
              ". Got ", theta.sizes(), ".");
  TORCH_CHECK(*std::min_element(size.begin(), size.end()) > 0, "Expected non-zero, positive output size. Got ", size);
  return affine_grid_generator(theta, size, align_corners);
}

// %%
TEST_CASE("grid_sample: the identity, a shift, what lies outside, gradients for the places") {
  namespace F = nn::functional;
  const Tensor x = arange(12, kDouble).view({1, 1, 3, 4});
  const Tensor same = tensor({{{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}}, kDouble);
  for (const bool align_corners : {false, true})
    CHECK_CLOSE(F::grid_sample(x, F::affine_grid(same, x.sizes(), align_corners), F::GridSampleFuncOptions().align_corners(align_corners)), x, 1e-12, 1e-12);
  const Tensor middle = zeros({1, 1, 1, 2}, TensorOptions(kDouble).requires_grad(true));
  const Tensor read = F::grid_sample(x, middle);
  CHECK_EQ(read.item<double>(), 5.5);
  read.sum().backward();
  CHECK_CLOSE(middle.grad(), tensor({2.0, 6.0}, kDouble).view({1, 1, 1, 2}), 1e-12, 0.0);  // half a width is two pixels of 1, half a height 1.5 pixels of 4
  const Tensor outside = tensor({-3.0, -3.0}, kDouble).view({1, 1, 1, 2});
  CHECK_EQ(F::grid_sample(x, outside).item<double>(), 0);
  CHECK_EQ(F::grid_sample(x, outside, F::GridSampleFuncOptions().padding_mode(kBorder)).item<double>(), 0);
  CHECK_EQ(F::grid_sample(x + 7, outside, F::GridSampleFuncOptions().padding_mode(kBorder)).item<double>(), 7);
  CHECK_EQ(F::grid_sample(x, outside, F::GridSampleFuncOptions().padding_mode(kReflection).mode(kNearest)).item<double>(), 11);
  CHECK_CLOSE(F::grid_sample(ones_like(x), middle.detach(), F::GridSampleFuncOptions().mode(kBicubic)), ones({1, 1, 1, 1}, kDouble), 1e-12, 0.0);
  CHECK_ERROR(F::grid_sample(x, zeros({2, 1, 1, 2}, kDouble)), "grid_sampler(): expected grid and input to have same batch size, but got input with sizes [1, 1, 3, 4] and grid with sizes [2, 1, 1, 2]");
  CHECK_ERROR(F::affine_grid(same, {1, 1, 3}), "affine_grid only supports 4D and 5D sizes");
}

// %%
// Recorded from PyTorch 2.15.0.
TEST_CASE("grid_sample: places that are no number or infinite read what PyTorch reads, and have no gradient of their own") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const Tensor places = tensor({nan, 0.3, 0.3, nan, nan, nan, infinity, 0.3, -infinity, 0.3, 0.3, infinity, 1e30, 0.2, -1e30, 0.2, 0.1, -1e38}, kDouble).view({1, 1, 9, 2});
  for (const ScalarType type : {kDouble, kFloat}) {
    const Tensor image = arange(1, 21, kDouble).view({1, 1, 4, 5}).to(type), grid = places.to(type);
    const auto check = [&](std::int64_t mode, std::int64_t padding, bool align_corners, const std::vector<double>& expected) {
      CAPTURE(mode);
      CAPTURE(padding);
      const Tensor read = grid_sampler(image, grid, mode, padding, align_corners).flatten();
      CHECK_CLOSE(read.slice(0, 0, static_cast<std::int64_t>(expected.size())), tensor(expected, type), 1e-5, 1e-6);
      // How often a place of 1e30 is reflected is lost in rounding, but not that it ends in the image.
      const Tensor rest = read.slice(0, static_cast<std::int64_t>(expected.size()));
      CHECK((rest >= 1).logical_and(rest <= 20).all().item<bool>());
    };
    check(0, 0, false, {nan, nan, nan, nan, nan, nan, 0, 0, 0});
    check(0, 1, false, {11.5, 3.75, 1, 15.5, 11.5, 18.75, 14.5, 10.5, 3.25});
    check(0, 2, false, {11.5, 3.75, 1, 11.5, 11.5, 3.75, 10.5});
    check(0, 1, true, {10.75, 3.6, 1, 14.75, 10.75, 18.6, 14, 10, 3.2});
    check(0, 2, true, {10.75, 3.6, 1, 10.75, 10.75, 3.6, 10});
    check(1, 0, false, {0, 0, 0, 0, 0, 0, 0, 0, 0});
    check(1, 1, false, {11, 4, 1, 15, 11, 19, 15, 11, 3});
    check(1, 2, true, {11, 4, 1, 11, 11, 4, 11});
    check(2, 1, false, {nan, nan, nan, nan, nan, nan, 14.32, 10.32, 3.296875});
  }
  const Tensor volume = arange(1, 25).to(kFloat).view({1, 1, 2, 3, 4}), grid = tensor({nan, 0.3, 0.2, 0.3, nan, 0.1, 0.2, 0.2, nan, infinity, 0.1, 0.1}).to(kFloat).view({1, 1, 1, 4, 3});
  for (const std::int64_t padding : {1, 2}) CHECK_CLOSE(grid_sampler(volume, grid, 0, padding, false).flatten().slice(0, 0, 3), tensor({18.2, 18.3, 20.1}).to(kFloat), 1e-5, 0);
  CHECK_EQ(grid_sampler(volume, grid, 1, 1, false).flatten(), tensor({20.0, 23.0, 19.0, 20.0}).to(kFloat));
  // The pixels that are read get the gradient; a place that was no number has none.
  const Tensor image = arange(1, 21, kDouble).view({1, 1, 4, 5}).requires_grad_(), leaf = places.slice(2, 0, 2).clone().requires_grad_();
  for (const std::int64_t padding : {1, 2}) {
    const variable_list gradients = autograd::grad({grid_sampler(image, leaf, 0, padding, false).sum()}, {image, leaf});
    CHECK_CLOSE(gradients[1].flatten(), tensor({0.0, 10.0, 2.5, 0.0}, kDouble), 1e-12, 1e-12);
    const Tensor pixels = zeros({4, 5}, kDouble);
    pixels[2][0].fill_(0.9);
    pixels[3][0].fill_(0.1);
    pixels[0][2].fill_(0.25);
    pixels[0][3].fill_(0.75);
    CHECK_CLOSE(gradients[0].view({4, 5}), pixels, 1e-12, 1e-12);
  }
}

// %% [markdown]
// ## Pixels as channels
//
// A convolution that shall make a picture r times as large can give r^2 channels for each, and lay them out as pixels afterwards: `pixel_shuffle` (Shi et al. 2016) is a reshape and a permute, and cheaper than a convolution over the large picture.
//
//     4 channels of 1 x 1      a | b | c | d        one channel of 2 x 2      a b
//                                                                            c d
//
// `channel_shuffle` (Zhang et al. 2017) mixes the channels of grouped convolutions, which otherwise never meet.
//
// `max_unpool` puts the maxima of a pooling back to where they were found, with zeros around them. `lp_pool` is the p-norm of each window, between a sum (p = 1) and a maximum (p = infinity). `fractional_max_pool` (Graham 2014) chooses its windows at random so that the
// picture shrinks by a factor that is no whole number.

// %%
//| export nn/pixels.h
// (..., C r^2, H, W) as (..., C, H r, W r), and back. A copy. Throws where r does not divide.
Tensor pixel_shuffle(const Tensor& self, std::int64_t upscale_factor);
Tensor pixel_unshuffle(const Tensor& self, std::int64_t downscale_factor);
// The channels of self (N, C, ...), seen as `groups` rows of C / groups, read by columns: each new group holds some of every old one. A copy. Throws unless groups divides C.
Tensor channel_shuffle(const Tensor& self, std::int64_t groups);
// Zeros of `output_size` (the spatial dimensions) with the values of `self` at the places `indices`, as max_pool2d_with_indices counts them. (C, H, W) or (N, C, H, W), in 3d one dimension more. Throws for places outside.
Tensor max_unpool2d(const Tensor& self, const Tensor& indices, IntArrayRef output_size);
Tensor max_unpool3d(const Tensor& self, const Tensor& indices, IntArrayRef output_size, IntArrayRef stride, IntArrayRef padding);
// Maxima over windows at places that `random_samples` (N, C, 2 or 3), numbers of [0, 1), decide; with their places. Source: aten/src/ATen/native/FractionalMaxPool2d.cpp.
std::tuple<Tensor, Tensor> fractional_max_pool2d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef output_size, const Tensor& random_samples);
std::tuple<Tensor, Tensor> fractional_max_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef output_size, const Tensor& random_samples);

// %%
//| export nn/pixels.cpp
Tensor pixel_shuffle(const Tensor& self, std::int64_t upscale_factor) {
  TORCH_CHECK(self.dim() >= 3, "pixel_shuffle expects input to have at least 3 dimensions, but got input with ", self.dim(), " dimension(s)");
  TORCH_CHECK(upscale_factor > 0, "pixel_shuffle expects a positive upscale_factor, but got ", upscale_factor);
  const std::int64_t r = upscale_factor, C = self.size(-3), H = self.size(-2), W = self.size(-1);
  TORCH_CHECK(C % (r * r) == 0, "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but input.size(-3)=", C, " is not divisible by ", r * r);
  DimVector split(IntArrayRef(self.sizes().data(), self.sizes().size() - 3));
  DimVector sizes = split;
  for (const std::int64_t size : {C / (r * r), r, r, H, W}) split.push_back(size);
  for (const std::int64_t size : {C / (r * r), H * r, W * r}) sizes.push_back(size);
  // (..., C, r, r, H, W) -> (..., C, H, r, W, r)
  const Tensor x = self.reshape(split);
  return in_format_of(self, x.transpose(-4, -2).transpose(-3, -2).transpose(-2, -1).reshape(sizes));
}

Tensor channel_shuffle(const Tensor& self, std::int64_t groups) {
  TORCH_CHECK(self.dim() > 2, "channel_shuffle expects input with > 2 dims, but got input with sizes ", self.sizes());
  const std::int64_t C = self.size(1);
  TORCH_CHECK(groups > 0, "Number of groups to divide channels in must be positive. Value of groups:", groups);
  TORCH_CHECK(C % groups == 0, "Number of channels must be divisible by groups. Got ", C, " channels and ", groups, " groups.");
  DimVector split{self.size(0), groups, C / groups};
  for (std::int64_t d = 2; d < self.dim(); ++d) split.push_back(self.size(d));
  return self.reshape(split).transpose(1, 2).reshape(self.sizes());
}

Tensor pixel_unshuffle(const Tensor& self, std::int64_t downscale_factor) {
  TORCH_CHECK(self.dim() >= 3, "pixel_unshuffle expects input to have at least 3 dimensions, but got input with ", self.dim(), " dimension(s)");
  TORCH_CHECK(downscale_factor > 0, "pixel_unshuffle expects a positive downscale_factor, but got ", downscale_factor);
  const std::int64_t r = downscale_factor, C = self.size(-3), H = self.size(-2), W = self.size(-1);
  TORCH_CHECK(H % r == 0, "pixel_unshuffle expects height to be divisible by downscale_factor, but input.size(-2)=", H, " is not divisible by ", r);
  TORCH_CHECK(W % r == 0, "pixel_unshuffle expects width to be divisible by downscale_factor, but input.size(-1)=", W, " is not divisible by ", r);
  DimVector split(IntArrayRef(self.sizes().data(), self.sizes().size() - 3));
  DimVector sizes = split;
  for (const std::int64_t size : {C, H / r, r, W / r, r}) split.push_back(size);
  for (const std::int64_t size : {C * r * r, H / r, W / r}) sizes.push_back(size);
  // (..., C, H, r, W, r) -> (..., C, r, r, H, W)
  const Tensor x = self.reshape(split);
  return in_format_of(self, x.transpose(-3, -2).transpose(-4, -2).transpose(-3, -1).reshape(sizes));
}

namespace {
Tensor max_unpool(const Tensor& self, const Tensor& indices, IntArrayRef output_size) {
  const auto dims = static_cast<std::int64_t>(output_size.size());
  TORCH_CHECK(indices.scalar_type() == kLong, "elements in indices should be type int64 but got: ", indices.scalar_type());
  TORCH_CHECK(self.dim() == dims + 1 || self.dim() == dims + 2, "Input to max_unpooling", dims, "d should be a ", dims + 1, "d or ", dims + 2, "d Tensor, but got a tensor with ", self.dim(), " dimensions.");
  TORCH_CHECK(self.sizes() == indices.sizes(), "Expected shape of indices to be same as that of the input tensor (", self.sizes(), ") but got indices tensor with shape: ", indices.sizes());
  std::int64_t volume = 1;
  for (const std::int64_t size : output_size) volume *= size;
  if (self.numel() > 0) {
    const auto lowest = indices.min().item<std::int64_t>(), highest = indices.max().item<std::int64_t>();
    TORCH_CHECK(lowest >= 0 && highest < volume, "Found an invalid max index: ", lowest < 0 ? lowest : highest, " (output volumes are of size ", output_size[0], "x", output_size[1],
                dims == 3 ? str("x", output_size[2]) : "", ")");
  }
  const std::int64_t first = self.dim() - dims;
  DimVector flat(IntArrayRef(self.sizes().data(), static_cast<std::size_t>(first)));
  DimVector sizes = flat;
  flat.push_back(volume);
  for (const std::int64_t size : output_size) sizes.push_back(size);
  return zeros(flat, self.options()).scatter(first, indices.flatten(first), self.flatten(first)).view(sizes);
}

// Where the windows begin: `output - 1` of them spread over the input, the last one at its end.
std::vector<std::int64_t> fractional_starts(double sample, std::int64_t input, std::int64_t output, std::int64_t kernel) {
  std::vector<std::int64_t> starts;
  const double step = output > 1 ? static_cast<double>(input - kernel) / static_cast<double>(output - 1) : 0;
  for (std::int64_t i = 0; i + 1 < output; ++i)
    starts.push_back(static_cast<std::int64_t>((static_cast<double>(i) + sample) * step) - static_cast<std::int64_t>(sample * step));
  starts.push_back(input - kernel);
  return starts;
}

std::tuple<Tensor, Tensor> fractional_max_pool(const char* name, const Tensor& self, IntArrayRef kernel_size, IntArrayRef output_size, const Tensor& random_samples) {
  const std::size_t dims = output_size.size();
  const auto D = static_cast<std::int64_t>(dims);
  TORCH_CHECK(self.dim() == D + 1 || self.dim() == D + 2, name, "(): Expected ", D + 1, "D or ", D + 2, "D tensor, but got: ", self.sizes());
  const IntArrayRef spatial(self.sizes().data() + (self.dim() - D), dims);
  for (std::size_t d = 0; d < dims; ++d)
    TORCH_CHECK(output_size[d] + kernel_size[d] - 1 <= spatial[d], name, "(): pool ", dims == 3 ? (d == 0 ? "time" : d == 1 ? "height" : "width") : (d == 0 ? "height" : "width"), " ", kernel_size[d],
                " too large relative to input ", dims == 3 ? (d == 0 ? "time" : d == 1 ? "height" : "width") : (d == 0 ? "height" : "width"), " ", spatial[d]);
  const Tensor planes = self.flatten(0, self.dim() - D - 1);
  const Tensor samples = random_samples.reshape({-1, D});
  TORCH_CHECK(samples.size(0) == planes.size(0), "Expect _random_samples.size(0) equals to input batch size times its channels, but got ", random_samples.sizes(), " for an input of ", self.sizes());
  DimVector sizes(IntArrayRef(self.sizes().data(), self.sizes().size() - dims));
  for (const std::int64_t size : output_size) sizes.push_back(size);
  if (planes.size(0) == 0) return {empty(sizes, self.options()), empty(sizes, kLong)};
  const Tensor numbers = arange(planes[0].numel()).view(spatial);
  std::vector<Tensor> values, places;
  for (std::int64_t plane = 0; plane < planes.size(0); ++plane) {
    Tensor picked = planes[plane];
    Tensor where_from = numbers;
    DimVector windows, order;
    for (std::size_t d = 0; d < dims; ++d) {
      // In two dimensions the first sample is the width's.
      const double sample = samples[plane][static_cast<std::int64_t>(dims == 2 ? 1 - d : d)].item<double>();
      std::vector<std::int64_t> index;
      for (const std::int64_t start : fractional_starts(sample, spatial[d], output_size[d], kernel_size[d]))
        for (std::int64_t k = 0; k < kernel_size[d]; ++k) index.push_back(start + k);
      picked = index_select(picked, static_cast<std::int64_t>(d), tensor(index));
      where_from = index_select(where_from, static_cast<std::int64_t>(d), tensor(index));
      windows.push_back(output_size[d]);
      windows.push_back(kernel_size[d]);
    }
    for (std::int64_t d = 0; d < D; ++d) order.push_back(2 * d);
    for (std::int64_t d = 0; d < D; ++d) order.push_back(2 * d + 1);
    const auto [largest, index] = picked.view(windows).permute(order).flatten(D).max(-1);
    values.push_back(largest);
    places.push_back(where_from.view(windows).permute(order).flatten(D).gather(-1, index.unsqueeze(-1)).squeeze(-1));
  }
  return {stack(values).view(sizes), stack(places).view(sizes)};
}
}  // namespace

Tensor max_unpool2d(const Tensor& self, const Tensor& indices, IntArrayRef output_size) {
  TORCH_CHECK(output_size.size() == 2, "There should be exactly two elements (height, width) in output_size, but got ", output_size.size(), " elements.");
  return max_unpool(self, indices, output_size);
}
Tensor max_unpool3d(const Tensor& self, const Tensor& indices, IntArrayRef output_size, IntArrayRef stride, IntArrayRef padding) {
  TORCH_CHECK(output_size.size() == 3, "There should be exactly three elements (depth, height, width) in output_size, but got ", output_size.size(), " elements.");
  TORCH_CHECK(stride.size() == 3, "There should be exactly three elements (depth, height, width) in stride, but got: ", stride.size(), " elements.");
  TORCH_CHECK(padding.size() == 3, "There should be exactly three elements (depth, height, width) in padding, but got: ", padding.size(), " elements.");
  return max_unpool(self, indices, output_size);
}
std::tuple<Tensor, Tensor> fractional_max_pool2d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef output_size, const Tensor& random_samples) {
  return fractional_max_pool("fractional_max_pool2d", self, kernel_size, output_size, random_samples);
}
std::tuple<Tensor, Tensor> fractional_max_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef output_size, const Tensor& random_samples) {
  return fractional_max_pool("fractional_max_pool3d", self, kernel_size, output_size, random_samples);
}

// %%
TEST_CASE("pixel_shuffle and back; max_unpool puts maxima where they were") {
  const Tensor x = tensor({1, 2, 3, 4}).view({4, 1, 1});
  CHECK_EQ(pixel_shuffle(x, 2), tensor({{{1, 2}, {3, 4}}}));
  const Tensor y = arange(2 * 18 * 2 * 3).view({2, 18, 2, 3});
  CHECK_EQ(pixel_shuffle(y, 3).sizes(), IntArrayRef({2, 2, 6, 9}));
  CHECK_EQ(pixel_unshuffle(pixel_shuffle(y, 3), 3), y);
  CHECK_EQ(channel_shuffle(arange(6).view({1, 6, 1}), 2).flatten(), tensor({0, 3, 1, 4, 2, 5}));
  CHECK_EQ(channel_shuffle(channel_shuffle(y, 3), 6), y);  // rows of columns, and back
  CHECK_ERROR(channel_shuffle(y, 4), "Number of channels must be divisible by groups. Got 18 channels and 4 groups.");
  CHECK_ERROR(pixel_shuffle(y, 2), "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but input.size(-3)=18 is not divisible by 4");
  const Tensor picture = tensor({{{1.0, 5.0}, {2.0, 3.0}}}, requires_grad());
  const std::tuple<Tensor, Tensor> largest = max_pool2d_with_indices(picture, 2);
  const Tensor &pooled = std::get<0>(largest), &places = std::get<1>(largest);
  const Tensor back = max_unpool2d(pooled, places, {2, 2});
  CHECK_EQ(back.detach(), tensor({{{0.0, 5.0}, {0.0, 0.0}}}));
  (back * 3).sum().backward();
  CHECK_EQ(picture.grad(), tensor({{{0.0, 3.0}, {0.0, 0.0}}}));
  CHECK_ERROR(max_unpool2d(pooled.detach(), places + 5, {2, 2}), "Found an invalid max index: 6 (output volumes are of size 2x2");
}

// %% [markdown]
// ## The layers

// %%
//| export nn/pixels.h
namespace nn {

struct PixelShuffleOptions {
  PixelShuffleOptions(std::int64_t upscale_factor) : upscale_factor_(upscale_factor) {}
  TORCH_ARG(std::int64_t, upscale_factor);
};
struct PixelUnshuffleOptions {
  PixelUnshuffleOptions(std::int64_t downscale_factor) : downscale_factor_(downscale_factor) {}
  TORCH_ARG(std::int64_t, downscale_factor);
};

// What undoes a max pooling of the same kernel, stride and padding. Source: torch/csrc/api/include/torch/nn/options/pooling.h.
template <std::size_t D>
struct MaxUnpoolOptions {
  MaxUnpoolOptions(ExpandingArray<D> kernel_size) : kernel_size_(kernel_size), stride_(kernel_size) {}
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(ExpandingArray<D>, stride);
  TORCH_ARG(ExpandingArray<D>, padding) = 0;
};
template <std::size_t D>
struct LPPoolOptions {
  LPPoolOptions(double norm_type, ExpandingArray<D> kernel_size) : norm_type_(norm_type), kernel_size_(kernel_size), stride_(kernel_size) {}
  TORCH_ARG(double, norm_type);
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(ExpandingArray<D>, stride);
  TORCH_ARG(bool, ceil_mode) = false;
};
template <std::size_t D>
struct FractionalMaxPoolOptions {
  FractionalMaxPoolOptions(ExpandingArray<D> kernel_size) : kernel_size_(kernel_size) {}
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(std::optional<ExpandingArray<D>>, output_size) = std::nullopt;  // one of these
  using ExpandingArrayDouble = ExpandingArray<D, double>;
  TORCH_ARG(std::optional<ExpandingArrayDouble>, output_ratio) = std::nullopt;
  TORCH_ARG(Tensor, _random_samples) = Tensor();
};
using MaxUnpool1dOptions = MaxUnpoolOptions<1>;
using MaxUnpool2dOptions = MaxUnpoolOptions<2>;
using MaxUnpool3dOptions = MaxUnpoolOptions<3>;
using LPPool1dOptions = LPPoolOptions<1>;
using LPPool2dOptions = LPPoolOptions<2>;
using LPPool3dOptions = LPPoolOptions<3>;
using FractionalMaxPool2dOptions = FractionalMaxPoolOptions<2>;
using FractionalMaxPool3dOptions = FractionalMaxPoolOptions<3>;

namespace functional {
using PixelShuffleFuncOptions = PixelShuffleOptions;
using PixelUnshuffleFuncOptions = PixelUnshuffleOptions;
using LPPool1dFuncOptions = LPPool1dOptions;
using LPPool2dFuncOptions = LPPool2dOptions;
using LPPool3dFuncOptions = LPPool3dOptions;
using FractionalMaxPool2dFuncOptions = FractionalMaxPool2dOptions;
using FractionalMaxPool3dFuncOptions = FractionalMaxPool3dOptions;
template <std::size_t D>
struct MaxUnpoolFuncOptions {
  MaxUnpoolFuncOptions(ExpandingArray<D> kernel_size) : kernel_size_(kernel_size), stride_(kernel_size) {}
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(ExpandingArray<D>, stride);
  TORCH_ARG(ExpandingArray<D>, padding) = 0;
  TORCH_ARG(std::optional<std::vector<std::int64_t>>, output_size) = std::nullopt;
};
using MaxUnpool1dFuncOptions = MaxUnpoolFuncOptions<1>;
using MaxUnpool2dFuncOptions = MaxUnpoolFuncOptions<2>;
using MaxUnpool3dFuncOptions = MaxUnpoolFuncOptions<3>;

inline Tensor pixel_shuffle(const Tensor& input, const PixelShuffleFuncOptions& options) { return tinytorch::pixel_shuffle(input, options.upscale_factor()); }
inline Tensor pixel_unshuffle(const Tensor& input, const PixelUnshuffleFuncOptions& options) { return tinytorch::pixel_unshuffle(input, options.downscale_factor()); }
// The maxima back at their places; output_size (spatial, or with batch and channels) chooses among the sizes that pool to the same. Throws for one that does not.
Tensor max_unpool1d(const Tensor& input, const Tensor& indices, const MaxUnpool1dFuncOptions& options);
Tensor max_unpool2d(const Tensor& input, const Tensor& indices, const MaxUnpool2dFuncOptions& options);
Tensor max_unpool3d(const Tensor& input, const Tensor& indices, const MaxUnpool3dFuncOptions& options);
// (sum of x^p)^(1/p) over each window; its gradient is NaN where a window holds only zeros.
Tensor lp_pool1d(const Tensor& input, const LPPool1dFuncOptions& options);
Tensor lp_pool2d(const Tensor& input, const LPPool2dFuncOptions& options);
Tensor lp_pool3d(const Tensor& input, const LPPool3dFuncOptions& options);
std::tuple<Tensor, Tensor> fractional_max_pool2d_with_indices(const Tensor& input, const FractionalMaxPool2dFuncOptions& options);
std::tuple<Tensor, Tensor> fractional_max_pool3d_with_indices(const Tensor& input, const FractionalMaxPool3dFuncOptions& options);
inline Tensor fractional_max_pool2d(const Tensor& input, const FractionalMaxPool2dFuncOptions& options) { return std::get<0>(fractional_max_pool2d_with_indices(input, options)); }
inline Tensor fractional_max_pool3d(const Tensor& input, const FractionalMaxPool3dFuncOptions& options) { return std::get<0>(fractional_max_pool3d_with_indices(input, options)); }
}  // namespace functional

class PixelShuffleImpl : public Cloneable<PixelShuffleImpl> {
 public:
  explicit PixelShuffleImpl(const PixelShuffleOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::PixelShuffle(upscale_factor=" << options.upscale_factor() << ")"; }
  Tensor forward(const Tensor& input) { return pixel_shuffle(input, options.upscale_factor()); }
  PixelShuffleOptions options;
};
TORCH_MODULE(PixelShuffle);
class PixelUnshuffleImpl : public Cloneable<PixelUnshuffleImpl> {
 public:
  explicit PixelUnshuffleImpl(const PixelUnshuffleOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::PixelUnshuffle(downscale_factor=" << options.downscale_factor() << ")"; }
  Tensor forward(const Tensor& input) { return pixel_unshuffle(input, options.downscale_factor()); }
  PixelUnshuffleOptions options;
};
TORCH_MODULE(PixelUnshuffle);

// Layers for one, two and three dimensions. What they do stands in the source.
#define TINYTORCH_UNPOOL_AND_LP_POOL(D)                                                                                                     \
  class MaxUnpool##D##dImpl : public Cloneable<MaxUnpool##D##dImpl> {                                                                       \
   public:                                                                                                                                  \
    MaxUnpool##D##dImpl(ExpandingArray<D> kernel_size);                                                                                     \
    explicit MaxUnpool##D##dImpl(const MaxUnpool##D##dOptions& options_);                                                                   \
    void reset() override {}                                                                                                                \
    void pretty_print(std::ostream& stream) const override;                                                                                 \
    Tensor forward(const Tensor& input, const Tensor& indices, const std::optional<std::vector<std::int64_t>>& output_size = std::nullopt); \
    MaxUnpool##D##dOptions options;                                                                                                         \
  };                                                                                                                                        \
  TORCH_MODULE(MaxUnpool##D##d);                                                                                                            \
  class LPPool##D##dImpl : public Cloneable<LPPool##D##dImpl> {                                                                             \
   public:                                                                                                                                  \
    LPPool##D##dImpl(double norm_type, ExpandingArray<D> kernel_size);                                                                      \
    explicit LPPool##D##dImpl(const LPPool##D##dOptions& options_);                                                                         \
    void reset() override {}                                                                                                                \
    void pretty_print(std::ostream& stream) const override;                                                                                 \
    Tensor forward(const Tensor& input);                                                                                                    \
    LPPool##D##dOptions options;                                                                                                            \
  };                                                                                                                                        \
  TORCH_MODULE(LPPool##D##d);
TINYTORCH_UNPOOL_AND_LP_POOL(1)
TINYTORCH_UNPOOL_AND_LP_POOL(2)
TINYTORCH_UNPOOL_AND_LP_POOL(3)
#undef TINYTORCH_UNPOOL_AND_LP_POOL

#define TINYTORCH_FRACTIONAL_POOL(D)                                                  \
  class FractionalMaxPool##D##dImpl : public Cloneable<FractionalMaxPool##D##dImpl> { \
   public:                                                                            \
    FractionalMaxPool##D##dImpl(ExpandingArray<D> kernel_size);                       \
    explicit FractionalMaxPool##D##dImpl(FractionalMaxPool##D##dOptions options_);    \
    void reset() override;                                                            \
    void pretty_print(std::ostream& stream) const override;                           \
    Tensor forward(const Tensor& input);                                              \
    std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);             \
    FractionalMaxPool##D##dOptions options;                                           \
    Tensor _random_samples;                                                           \
  };                                                                                  \
  TORCH_MODULE(FractionalMaxPool##D##d);
TINYTORCH_FRACTIONAL_POOL(2)
TINYTORCH_FRACTIONAL_POOL(3)
#undef TINYTORCH_FRACTIONAL_POOL

}  // namespace nn

// %%
//| export nn/pixels.cpp
nn::PixelShuffleImpl::PixelShuffleImpl(const PixelShuffleOptions& options_) : options(options_) {}
nn::PixelUnshuffleImpl::PixelUnshuffleImpl(const PixelUnshuffleOptions& options_) : options(options_) {}

namespace nn {
#define TINYTORCH_UNPOOL_AND_LP_POOL(D)                                                                                                                           \
  MaxUnpool##D##dImpl::MaxUnpool##D##dImpl(ExpandingArray<D> kernel_size) : MaxUnpool##D##dImpl(MaxUnpool##D##dOptions(kernel_size)) {}                           \
  MaxUnpool##D##dImpl::MaxUnpool##D##dImpl(const MaxUnpool##D##dOptions& options_) : options(options_) {}                                                         \
  void MaxUnpool##D##dImpl::pretty_print(std::ostream& stream) const {                                                                                            \
    stream << "torch::nn::MaxUnpool" #D "d(kernel_size=" << options.kernel_size() << ", stride=" << options.stride() << ", padding=" << options.padding() << ")"; \
  }                                                                                                                                                               \
  Tensor MaxUnpool##D##dImpl::forward(const Tensor& input, const Tensor& indices, const std::optional<std::vector<std::int64_t>>& output_size) {                  \
    return functional::max_unpool##D##d(                                                                                                                          \
        input, indices,                                                                                                                                           \
        functional::MaxUnpool##D##dFuncOptions(options.kernel_size()).stride(options.stride()).padding(options.padding()).output_size(output_size));              \
  }                                                                                                                                                               \
  LPPool##D##dImpl::LPPool##D##dImpl(double norm_type, ExpandingArray<D> kernel_size) : LPPool##D##dImpl(LPPool##D##dOptions(norm_type, kernel_size)) {}          \
  LPPool##D##dImpl::LPPool##D##dImpl(const LPPool##D##dOptions& options_) : options(options_) {}                                                                  \
  void LPPool##D##dImpl::pretty_print(std::ostream& stream) const {                                                                                               \
    stream << "torch::nn::LPPool" #D "d(norm_type=" << options.norm_type() << ", kernel_size=" << options.kernel_size() << ", stride=" << options.stride()        \
           << ", ceil_mode=" << (options.ceil_mode() ? "true" : "false") << ")";                                                                                  \
  }                                                                                                                                                               \
  Tensor LPPool##D##dImpl::forward(const Tensor& input) { return functional::lp_pool##D##d(input, options); }
TINYTORCH_UNPOOL_AND_LP_POOL(1)
TINYTORCH_UNPOOL_AND_LP_POOL(2)
TINYTORCH_UNPOOL_AND_LP_POOL(3)
#undef TINYTORCH_UNPOOL_AND_LP_POOL

#define TINYTORCH_FRACTIONAL_POOL(D)                                                                                                 \
  FractionalMaxPool##D##dImpl::FractionalMaxPool##D##dImpl(ExpandingArray<D> kernel_size)                                            \
      : FractionalMaxPool##D##dImpl(FractionalMaxPool##D##dOptions(kernel_size)) {}                                                  \
  void FractionalMaxPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::FractionalMaxPool" #D "d()"; }  \
  Tensor FractionalMaxPool##D##dImpl::forward(const Tensor& input) { return functional::fractional_max_pool##D##d(input, options); } \
  std::tuple<Tensor, Tensor> FractionalMaxPool##D##dImpl::forward_with_indices(const Tensor& input) {                                \
    return functional::fractional_max_pool##D##d_with_indices(input, options);                                                       \
  }
TINYTORCH_FRACTIONAL_POOL(2)
TINYTORCH_FRACTIONAL_POOL(3)
#undef TINYTORCH_FRACTIONAL_POOL
}  // namespace nn

namespace nn {
namespace {
// The size that pooling came from: the smallest one, or the one that is asked for, which may be larger or smaller by less than a stride.
std::vector<std::int64_t> unpooled_size(const Tensor& input, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, const std::optional<std::vector<std::int64_t>>& output_size) {
  const std::size_t dims = kernel.size();
  std::vector<std::int64_t> sizes;
  for (std::size_t d = 0; d < dims; ++d)
    sizes.push_back((input.sizes()[input.sizes().size() - dims + d] - 1) * stride[d] + kernel[d] - 2 * padding[d]);
  if (!output_size) return sizes;
  std::vector<std::int64_t> wanted;
  if (output_size->size() == dims + 2) wanted.assign(output_size->begin() + 2, output_size->end());
  TORCH_CHECK(wanted.size() == dims, "output_size should be a sequence containing ", dims, " or ", dims + 2, " elements, but it has a length of '", wanted.size(),
              "'\n[max_unpool] give the whole size, with batch and channels in front: libtorch takes no shorter one either.");
  for (std::size_t d = 0; d < dims; ++d) {
    const std::int64_t low = sizes[d] - stride[d], high = sizes[d] + stride[d];
    TORCH_CHECK(low <= wanted[d] && wanted[d] <= high, "invalid output_size ", IntArrayRef(wanted), " (dim ", d, " must be between ", low, " and ", high, ")");
  }
  return wanted;
}

// The p-norm of each window from the mean of its p-th powers.
Tensor norm_from_mean(const Tensor& mean, double norm_type, IntArrayRef kernel) {
  std::int64_t count = 1;
  for (const std::int64_t size : kernel) count *= size;
  return (sign(mean) * relu(abs(mean))).mul(count).pow(1. / norm_type);
}

template <std::size_t D>
DimVector fractional_size(const Tensor& input, const FractionalMaxPoolOptions<D>& options) {
  TORCH_CHECK(options.output_size() || options.output_ratio(), "fractional_max_pool", D, "d requires specifying either an output_size or an output_ratio");
  if (options.output_size()) return IntArrayRef(*options.output_size());
  DimVector sizes;
  for (std::size_t d = 0; d < D; ++d)
    sizes.push_back(static_cast<std::int64_t>(static_cast<double>(input.size(static_cast<std::int64_t>(d) - static_cast<std::int64_t>(D))) * (**options.output_ratio())[d]));
  return sizes;
}

// Two or three random numbers for each channel of each example, unless they are given.
template <std::size_t D>
Tensor fractional_samples(const Tensor& input, const FractionalMaxPoolOptions<D>& options) {
  constexpr auto dims = static_cast<std::int64_t>(D);
  if (options._random_samples().defined()) return options._random_samples();
  return rand({input.dim() == dims + 1 ? 1 : input.size(0), input.size(-dims - 1), dims}, input.options());
}

template <std::size_t D>
void check_fractional(const FractionalMaxPoolOptions<D>& options) {
  TORCH_CHECK(options.output_size() || options.output_ratio(), "FractionalMaxPool", D, "d requires specifying either an output size, or a pooling ratio");
  TORCH_CHECK(!options.output_size() || !options.output_ratio(), "only one of output_size and output_ratio may be specified");
  if (!options.output_ratio()) return;
  for (const double ratio : **options.output_ratio()) TORCH_CHECK(ratio > 0 && ratio < 1, "output_ratio must be between 0 and 1 (got ", *options.output_ratio(), ")");
}
}  // namespace

Tensor functional::max_unpool1d(const Tensor& input, const Tensor& indices, const MaxUnpool1dFuncOptions& options) {
  std::vector<std::int64_t> size = unpooled_size(input, options.kernel_size(), options.stride(), options.padding(), options.output_size());
  size.push_back(1);
  return tinytorch::max_unpool2d(input.unsqueeze(-1), indices.unsqueeze(-1), size).squeeze(-1);
}
Tensor functional::max_unpool2d(const Tensor& input, const Tensor& indices, const MaxUnpool2dFuncOptions& options) {
  return tinytorch::max_unpool2d(input, indices, unpooled_size(input, options.kernel_size(), options.stride(), options.padding(), options.output_size()));
}
Tensor functional::max_unpool3d(const Tensor& input, const Tensor& indices, const MaxUnpool3dFuncOptions& options) {
  return tinytorch::max_unpool3d(input, indices, unpooled_size(input, options.kernel_size(), options.stride(), options.padding(), options.output_size()), options.stride(), options.padding());
}
Tensor functional::lp_pool1d(const Tensor& input, const LPPool1dFuncOptions& options) {
  return norm_from_mean(tinytorch::avg_pool1d(input.pow(options.norm_type()), options.kernel_size(), options.stride(), 0, options.ceil_mode()), options.norm_type(), options.kernel_size());
}
Tensor functional::lp_pool2d(const Tensor& input, const LPPool2dFuncOptions& options) {
  return norm_from_mean(tinytorch::avg_pool2d(input.pow(options.norm_type()), options.kernel_size(), options.stride(), 0, options.ceil_mode()), options.norm_type(), options.kernel_size());
}
Tensor functional::lp_pool3d(const Tensor& input, const LPPool3dFuncOptions& options) {
  return norm_from_mean(tinytorch::avg_pool3d(input.pow(options.norm_type()), options.kernel_size(), options.stride(), 0, options.ceil_mode()), options.norm_type(), options.kernel_size());
}
std::tuple<Tensor, Tensor> functional::fractional_max_pool2d_with_indices(const Tensor& input, const FractionalMaxPool2dFuncOptions& options) {
  return tinytorch::fractional_max_pool2d(input, options.kernel_size(), fractional_size(input, options), fractional_samples(input, options));
}
std::tuple<Tensor, Tensor> functional::fractional_max_pool3d_with_indices(const Tensor& input, const FractionalMaxPool3dFuncOptions& options) {
  return tinytorch::fractional_max_pool3d(input, options.kernel_size(), fractional_size(input, options), fractional_samples(input, options));
}

FractionalMaxPool2dImpl::FractionalMaxPool2dImpl(FractionalMaxPool2dOptions options_) : options(std::move(options_)) { FractionalMaxPool2dImpl::reset(); }
void FractionalMaxPool2dImpl::reset() {
  _random_samples = register_buffer("_random_samples", options._random_samples());
  check_fractional(options);
}
FractionalMaxPool3dImpl::FractionalMaxPool3dImpl(FractionalMaxPool3dOptions options_) : options(std::move(options_)) { FractionalMaxPool3dImpl::reset(); }
void FractionalMaxPool3dImpl::reset() {
  _random_samples = register_buffer("_random_samples", options._random_samples());
  check_fractional(options);
}

}  // namespace nn

// %%
TEST_CASE("layers: unpooling, norms of windows, windows at random places") {
  namespace F = nn::functional;
  const Tensor x = arange(1, 17, kFloat).view({1, 1, 4, 4});
  const std::tuple<Tensor, Tensor> maxima = nn::MaxPool2d(2)->forward_with_indices(x);
  const Tensor &pooled = std::get<0>(maxima), &places = std::get<1>(maxima);
  CHECK_EQ(nn::MaxUnpool2d(2)->forward(pooled, places).sum().item<float>(), 6 + 8 + 14 + 16);
  CHECK_EQ(nn::MaxUnpool2d(2)->forward(pooled, places, std::vector<std::int64_t>{1, 1, 5, 5}).sizes(), IntArrayRef({1, 1, 5, 5}));
  CHECK_ERROR(nn::MaxUnpool2d(2)->forward(pooled, places, std::vector<std::int64_t>{1, 1, 9, 4}), "invalid output_size [9, 4] (dim 0 must be between 2 and 6)");
  const auto [line, line_places] = nn::MaxPool1d(2)->forward_with_indices(x[0][0]);
  CHECK_EQ(nn::MaxUnpool1d(2)->forward(line, line_places)[0], tensor({0.0, 2.0, 0.0, 4.0}));
  CHECK_CLOSE(nn::LPPool2d(2, 2)->forward(x)[0][0][0][0], tensor(std::sqrt(1.0 + 4 + 25 + 36)), 1e-6, 0.0);
  CHECK_CLOSE(F::lp_pool3d(x.unsqueeze(0), nn::LPPool3dOptions(1, {1, 2, 2})).flatten()[0], tensor(14.0), 1e-6, 0.0);
  nn::FractionalMaxPool2d fractional(nn::FractionalMaxPool2dOptions(2).output_size(3));
  const auto [largest, where_from] = fractional->forward_with_indices(x);
  CHECK_EQ(largest.sizes(), IntArrayRef({1, 1, 3, 3}));
  CHECK_EQ(largest.flatten(), x.flatten().gather(0, where_from.flatten()));
  CHECK_EQ(largest[0][0][2][2].item<float>(), 16);
  CHECK_ERROR(nn::FractionalMaxPool2d(nn::FractionalMaxPool2dOptions(2)), "FractionalMaxPool2d requires specifying either an output size, or a pooling ratio");
  std::ostringstream text;
  text << nn::PixelShuffle(2) << nn::PixelUnshuffle(3) << nn::MaxUnpool1d(2) << nn::LPPool2d(nn::LPPool2dOptions(2, {2, 3}));
  CHECK_EQ(text.str(), "torch::nn::PixelShuffle(upscale_factor=2)torch::nn::PixelUnshuffle(downscale_factor=3)torch::nn::MaxUnpool1d(kernel_size=2, stride=2, padding=0)"
                       "torch::nn::LPPool2d(norm_type=2, kernel_size=[2, 3], stride=[2, 3], ceil_mode=false)");
}

// %% [markdown]
// ## Edges, and neighbours among channels
//
// Padding as layers, for a `Sequential`: chapter 97 has the function. And local response normalisation (Krizhevsky et al. 2012), which divides each channel by the strength of its neighbours; batch norm has replaced it, AlexNet's weights still want it.
//
//     y[c] = x[c] / (k + alpha / size * (x[c - size / 2]^2 + ... + x[c + (size - 1) / 2]^2))^beta        channels beyond the ends count as zeros

// %%
//| export nn/edges.h
namespace nn {

// How many elements to add: left, right, then top, bottom, then front, back; one number for all. Source: torch/csrc/api/include/torch/nn/options/padding.h.
template <std::size_t D>
struct EdgeOptions {
  EdgeOptions(ExpandingArray<D * 2> padding) : padding_(padding) {}
  TORCH_ARG(ExpandingArray<D * 2>, padding);
};
template <std::size_t D>
struct ConstantPadOptions {
  ConstantPadOptions(ExpandingArray<D * 2> padding, double value) : padding_(padding), value_(value) {}
  TORCH_ARG(ExpandingArray<D * 2>, padding);
  TORCH_ARG(double, value);
};

// Layers for one, two and three dimensions. What they do stands in the source: a file that includes them compiles none of it.
#define TINYTORCH_EDGE_LAYER(Name, D)                           \
  using Name##D##dOptions = EdgeOptions<D>;                     \
  class Name##D##dImpl : public Cloneable<Name##D##dImpl> {     \
   public:                                                      \
    Name##D##dImpl(ExpandingArray<D * 2> padding);              \
    explicit Name##D##dImpl(const Name##D##dOptions& options_); \
    void reset() override {}                                    \
    void pretty_print(std::ostream& stream) const override;     \
    Tensor forward(const Tensor& input);                        \
    Name##D##dOptions options;                                  \
  };                                                            \
  TORCH_MODULE(Name##D##d);
TINYTORCH_EDGE_LAYER(ReflectionPad, 1)
TINYTORCH_EDGE_LAYER(ReflectionPad, 2)
TINYTORCH_EDGE_LAYER(ReflectionPad, 3)
TINYTORCH_EDGE_LAYER(ReplicationPad, 1)
TINYTORCH_EDGE_LAYER(ReplicationPad, 2)
TINYTORCH_EDGE_LAYER(ReplicationPad, 3)
TINYTORCH_EDGE_LAYER(ZeroPad, 1)
TINYTORCH_EDGE_LAYER(ZeroPad, 2)
TINYTORCH_EDGE_LAYER(ZeroPad, 3)
#undef TINYTORCH_EDGE_LAYER

#define TINYTORCH_CONSTANT_PAD(D)                                             \
  using ConstantPad##D##dOptions = ConstantPadOptions<D>;                     \
  class ConstantPad##D##dImpl : public Cloneable<ConstantPad##D##dImpl> {     \
   public:                                                                    \
    ConstantPad##D##dImpl(ExpandingArray<D * 2> padding, double value);       \
    explicit ConstantPad##D##dImpl(const ConstantPad##D##dOptions& options_); \
    void reset() override {}                                                  \
    void pretty_print(std::ostream& stream) const override;                   \
    Tensor forward(const Tensor& input);                                      \
    ConstantPad##D##dOptions options;                                         \
  };                                                                          \
  TORCH_MODULE(ConstantPad##D##d);
TINYTORCH_CONSTANT_PAD(1)
TINYTORCH_CONSTANT_PAD(2)
TINYTORCH_CONSTANT_PAD(3)
#undef TINYTORCH_CONSTANT_PAD

struct LocalResponseNormOptions {
  LocalResponseNormOptions(std::int64_t size) : size_(size) {}
  TORCH_ARG(std::int64_t, size);
  TORCH_ARG(double, alpha) = 1e-4;
  TORCH_ARG(double, beta) = 0.75;
  TORCH_ARG(double, k) = 1;
};

namespace functional {
using LocalResponseNormFuncOptions = LocalResponseNormOptions;
// (N, C, spatial...) with each channel divided by the strength of the `size` channels around it. O(numel * size). Throws for fewer than three dimensions.
Tensor local_response_norm(const Tensor& input, const LocalResponseNormFuncOptions& options);
}  // namespace functional

class LocalResponseNormImpl : public Cloneable<LocalResponseNormImpl> {
 public:
  LocalResponseNormImpl(std::int64_t size);
  explicit LocalResponseNormImpl(const LocalResponseNormOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override {
    stream << "torch::nn::LocalResponseNorm(" << options.size() << ", alpha=" << options.alpha() << ", beta=" << options.beta() << ", k=" << options.k() << ")";
  }
  Tensor forward(const Tensor& input) { return functional::local_response_norm(input, options); }
  LocalResponseNormOptions options;
};
TORCH_MODULE(LocalResponseNorm);

// The same for pictures, under the name that Torch 7 had for it.
struct CrossMapLRN2dOptions {
  CrossMapLRN2dOptions(std::int64_t size) : size_(size) {}
  TORCH_ARG(std::int64_t, size);
  TORCH_ARG(double, alpha) = 1e-4;
  TORCH_ARG(double, beta) = 0.75;
  TORCH_ARG(std::int64_t, k) = 1;
};

class CrossMapLRN2dImpl : public Cloneable<CrossMapLRN2dImpl> {
 public:
  CrossMapLRN2dImpl(std::int64_t size);
  explicit CrossMapLRN2dImpl(const CrossMapLRN2dOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override {
    stream << "torch::nn::CrossMapLRN2d(" << options.size() << ", alpha=" << options.alpha() << ", beta=" << options.beta() << ", k=" << options.k() << ")";
  }
  // input (N, C, H, W) -> the same sizes.
  Tensor forward(const Tensor& input);
  CrossMapLRN2dOptions options;
};
TORCH_MODULE(CrossMapLRN2d);

}  // namespace nn

// %%
//| export nn/edges.cpp
namespace nn {
namespace {
template <std::size_t D>
Tensor pad_edges(const Tensor& input, const ExpandingArray<D * 2>& padding, const functional::PadFuncOptions::mode_t& mode, double value = 0) {
  const IntArrayRef amounts(padding);
  return functional::pad(input, functional::PadFuncOptions(amounts.vec()).mode(mode).value(value));
}
}  // namespace

#define TINYTORCH_EDGE_LAYER(Name, D, edge_mode)                                                                                               \
  Name##D##dImpl::Name##D##dImpl(ExpandingArray<D * 2> padding) : Name##D##dImpl(Name##D##dOptions(padding)) {}                                \
  Name##D##dImpl::Name##D##dImpl(const Name##D##dOptions& options_) : options(options_) {}                                                     \
  void Name##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::" #Name #D "d(padding=" << options.padding() << ")"; } \
  Tensor Name##D##dImpl::forward(const Tensor& input) { return pad_edges<D>(input, options.padding(), edge_mode); }
TINYTORCH_EDGE_LAYER(ReflectionPad, 1, kReflect)
TINYTORCH_EDGE_LAYER(ReflectionPad, 2, kReflect)
TINYTORCH_EDGE_LAYER(ReflectionPad, 3, kReflect)
TINYTORCH_EDGE_LAYER(ReplicationPad, 1, kReplicate)
TINYTORCH_EDGE_LAYER(ReplicationPad, 2, kReplicate)
TINYTORCH_EDGE_LAYER(ReplicationPad, 3, kReplicate)
TINYTORCH_EDGE_LAYER(ZeroPad, 1, kConstant)
TINYTORCH_EDGE_LAYER(ZeroPad, 2, kConstant)
TINYTORCH_EDGE_LAYER(ZeroPad, 3, kConstant)
#undef TINYTORCH_EDGE_LAYER

#define TINYTORCH_CONSTANT_PAD(D)                                                                                                                                \
  ConstantPad##D##dImpl::ConstantPad##D##dImpl(ExpandingArray<D * 2> padding, double value) : ConstantPad##D##dImpl(ConstantPad##D##dOptions(padding, value)) {} \
  ConstantPad##D##dImpl::ConstantPad##D##dImpl(const ConstantPad##D##dOptions& options_) : options(options_) {}                                                  \
  void ConstantPad##D##dImpl::pretty_print(std::ostream& stream) const {                                                                                         \
    stream << "torch::nn::ConstantPad" #D "d(padding=" << options.padding() << ", value=" << options.value() << ")";                                             \
  }                                                                                                                                                              \
  Tensor ConstantPad##D##dImpl::forward(const Tensor& input) { return pad_edges<D>(input, options.padding(), kConstant, options.value()); }
TINYTORCH_CONSTANT_PAD(1)
TINYTORCH_CONSTANT_PAD(2)
TINYTORCH_CONSTANT_PAD(3)
#undef TINYTORCH_CONSTANT_PAD
}  // namespace nn

nn::LocalResponseNormImpl::LocalResponseNormImpl(std::int64_t size) : LocalResponseNormImpl(LocalResponseNormOptions(size)) {}
nn::LocalResponseNormImpl::LocalResponseNormImpl(const LocalResponseNormOptions& options_) : options(options_) {}
nn::CrossMapLRN2dImpl::CrossMapLRN2dImpl(std::int64_t size) : CrossMapLRN2dImpl(CrossMapLRN2dOptions(size)) {}
nn::CrossMapLRN2dImpl::CrossMapLRN2dImpl(const CrossMapLRN2dOptions& options_) : options(options_) {}

Tensor nn::CrossMapLRN2dImpl::forward(const Tensor& input) {
  TORCH_CHECK(input.dim() == 4, "CrossMapLRN2d: Expected input to be 4D, got ", input.dim(), "D instead.");
  return functional::local_response_norm(input, LocalResponseNormOptions(options.size()).alpha(options.alpha()).beta(options.beta()).k(static_cast<double>(options.k())));
}

Tensor nn::functional::local_response_norm(const Tensor& input, const LocalResponseNormFuncOptions& options) {
  TORCH_CHECK(input.dim() >= 3, "Expected 3D or higher dimensionality input (got ", input.dim(), " dimensions)");
  const std::int64_t C = input.size(1);
  const Tensor squares = input * input;
  // The channel at distance k, with zeros beyond the ends; then the sum over the distances.
  Tensor strength = zeros_like(squares);
  for (std::int64_t k = -(options.size() / 2); k <= (options.size() - 1) / 2; ++k) {
    const std::int64_t count = C - std::abs(k);
    if (count <= 0) continue;
    DimVector gap(input.sizes());
    gap[1] = C - count;
    const Tensor part = squares.narrow(1, std::max<std::int64_t>(k, 0), count), none = zeros(gap, input.options());
    strength = strength + (k > 0 ? cat({part, none}, 1) : cat({none, part}, 1));
  }
  return input / (strength / static_cast<double>(options.size()) * options.alpha() + options.k()).pow(options.beta());
}

// %%
TEST_CASE("padding layers, and normalisation among channels") {
  const Tensor x = arange(1, 5, kFloat).view({1, 2, 2});
  CHECK_EQ(nn::ZeroPad2d(1)(x).sizes(), IntArrayRef({1, 4, 4}));
  CHECK_EQ(nn::ConstantPad1d(nn::ConstantPad1dOptions({1, 0}, 7))(x)[0], tensor({{7.0, 1.0, 2.0}, {7.0, 3.0, 4.0}}));
  CHECK_EQ(nn::ReflectionPad1d(nn::ReflectionPad1dOptions({1, 0}))(x)[0], tensor({{2.0, 1.0, 2.0}, {4.0, 3.0, 4.0}}));
  CHECK_EQ(nn::ReplicationPad2d(nn::ReplicationPad2dOptions({0, 0, 1, 0}))(x.unsqueeze(0))[0][0], tensor({{1.0, 2.0}, {1.0, 2.0}, {3.0, 4.0}}));
  std::ostringstream text;
  text << nn::ReflectionPad2d(nn::ReflectionPad2dOptions({1, 1, 2, 0})) << nn::ConstantPad1d(nn::ConstantPad1dOptions(2, 3.5)) << nn::LocalResponseNorm(2);
  CHECK_EQ(text.str(), "torch::nn::ReflectionPad2d(padding=[1, 1, 2, 0])torch::nn::ConstantPad1d(padding=[2, 2], value=3.5)torch::nn::LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1)");
  // Channels 1, 2, 3 of one pixel; windows of 2 reach one channel back: (0 + 1) / 2, (1 + 4) / 2, (4 + 9) / 2.
  const Tensor channels = tensor({1.0, 2.0, 3.0}, kDouble).view({1, 3, 1});
  const Tensor normed = nn::LocalResponseNorm(nn::LocalResponseNormOptions(2).alpha(2).beta(1))(channels);
  CHECK_CLOSE(normed.flatten(), tensor({1.0 / 2, 2.0 / 6, 3.0 / 14}, kDouble), 1e-14, 0.0);
  CHECK_EQ(nn::CrossMapLRN2d(nn::CrossMapLRN2dOptions(2).alpha(2).beta(1))(channels.unsqueeze(3)).flatten(), normed.flatten());
  CHECK_ERROR(nn::CrossMapLRN2d(2)(channels), "Expected input to be 4D, got 3D instead.");
  CHECK_ERROR(nn::LocalResponseNorm(2)(ones({2, 2})), "Expected 3D or higher dimensionality input (got 2 dimensions)");
}

// %%
}  // namespace tinytorch
