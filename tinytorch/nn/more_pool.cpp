// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_pool.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/pool.h"
#include "tinytorch/nn/windows.h"

namespace tinytorch {

namespace {
// `values` with one more number in front, for a dimension of size 1.
DimVector behind(std::int64_t first, IntArrayRef values) {
  DimVector all{first};
  for (const std::int64_t value : values) all.push_back(value);
  return all;
}

// One number or three as three; `if_none` when there is none and that is allowed.
DimVector triple(const char* function, const char* name, IntArrayRef values, IntArrayRef if_none = {}) {
  TORCH_CHECK(values.size() == 1 || values.size() == 3 || (values.empty() && !if_none.empty()), function, ": ", name, " must either be ", if_none.empty() ? "" : "omitted, ",
              "a single int, or a tuple of three ints");
  if (values.empty()) return if_none;
  return values.size() == 3 ? DimVector(values) : DimVector(3, values[0]);
}

// (N, C, D, H, W) or (C, D, H, W) as (N C, D, H, W).
Tensor as_slices(const Tensor& self) {
  return self.reshape({self.dim() == 5 ? self.size(0) * self.size(1) : self.size(0), self.size(-3), self.size(-2), self.size(-1)});
}

void check_dims(const char* function, const Tensor& self, std::int64_t dims) {
  TORCH_CHECK(self.dim() == dims + 1 || self.dim() == dims + 2, function, "(): Expected ", dims + 1, "D or ", dims + 2, "D tensor, but got ", self.sizes());
}
}  // namespace

std::tuple<Tensor, Tensor> max_pool1d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  check_dims("max_pool1d", self, 1);
  const DimVector step = stride.empty() ? DimVector(kernel_size) : DimVector(stride);
  const auto [values, indices] =
      max_pool2d_with_indices(self.unsqueeze(-2), behind(1, kernel_size), behind(1, step), behind(0, padding), behind(1, dilation), ceil_mode);
  return {values.squeeze(-2), indices.squeeze(-2)};
}

Tensor max_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  return std::get<0>(max_pool1d_with_indices(self, kernel_size, stride, padding, dilation, ceil_mode));
}

std::tuple<Tensor, Tensor> max_pool3d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  check_dims("max_pool3d", self, 3);
  const DimVector kernel = triple("max_pool3d", "kernel_size", kernel_size);
  const DimVector step = triple("max_pool3d", "stride", stride, kernel);
  const DimVector around = triple("max_pool3d", "padding", padding);
  const DimVector apart = triple("max_pool3d", "dilation", dilation);
  const auto slice_part = [](const DimVector& values) { return IntArrayRef(values.data() + 1, 2); };
  // The maxima of each slice: (N C, D, oH, oW).
  const auto [in_slice, where] = max_pool2d_with_indices(as_slices(self), slice_part(kernel), slice_part(step), slice_part(around), slice_part(apart), ceil_mode);
  // And of these, along the depth: (N C, 1, oD, oH oW).
  const auto [values, depth] =
      max_pool2d_with_indices(in_slice.flatten(2).unsqueeze(1), {kernel[0], 1}, {step[0], 1}, {around[0], 0}, {apart[0], 1}, ceil_mode);
  const Tensor places = where.flatten(1).gather(1, depth.flatten(1)).view(depth.sizes());
  const Tensor slices = depth.floor_divide(depth.size(3));
  DimVector sizes(self.sizes());
  sizes[sizes.size() - 3] = values.size(2);
  sizes[sizes.size() - 2] = in_slice.size(2);
  sizes[sizes.size() - 1] = in_slice.size(3);
  return {in_format_of(self, values.reshape(sizes)), in_format_of(self, (slices * (self.size(-2) * self.size(-1)) + places).reshape(sizes))};
}

Tensor max_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool ceil_mode) {
  return std::get<0>(max_pool3d_with_indices(self, kernel_size, stride, padding, dilation, ceil_mode));
}

Tensor avg_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, bool ceil_mode, bool count_include_pad) {
  check_dims("avg_pool1d", self, 1);
  const DimVector step = stride.empty() ? DimVector(kernel_size) : DimVector(stride);
  return avg_pool2d(self.unsqueeze(-2), behind(1, kernel_size), behind(1, step), behind(0, padding), ceil_mode, count_include_pad).squeeze(-2);
}

// Sums over the slices, then over the depth, each with divisor 1; then one division by the number of elements of each window.
Tensor avg_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride, IntArrayRef padding, bool ceil_mode, bool count_include_pad,
                  std::optional<std::int64_t> divisor_override) {
  check_dims("avg_pool3d", self, 3);
  const DimVector kernel = triple("avg_pool3d", "kernel_size", kernel_size);
  const DimVector step = triple("avg_pool3d", "stride", stride, kernel);
  const DimVector around = triple("avg_pool3d", "padding", padding);
  TORCH_CHECK(!divisor_override || *divisor_override != 0, "divisor must be not zero");
  const auto slice_part = [](const DimVector& values) { return IntArrayRef(values.data() + 1, 2); };
  const Tensor in_slice = avg_pool2d(as_slices(self), slice_part(kernel), slice_part(step), slice_part(around), ceil_mode, true, 1);
  const Tensor sums = avg_pool2d(in_slice.flatten(2).unsqueeze(1), {kernel[0], 1}, {step[0], 1}, {around[0], 0}, ceil_mode, true, 1);
  DimVector sizes(self.sizes());
  const std::size_t first = sizes.size() - 3;
  const DimVector output{sums.size(2), in_slice.size(2), in_slice.size(3)};
  Tensor divisor = full({}, divisor_override ? static_cast<double>(*divisor_override) : 1.0, kDouble);
  for (std::size_t d = 0; d < 3; ++d) {
    DimVector shape(3, 1);
    shape[d] = output[d];
    if (!divisor_override) divisor = divisor * tensor(window_lengths(output[d], sizes[first + d], kernel[d], step[d], around[d], count_include_pad), kDouble).view(shape);
  }
  for (std::size_t d = 0; d < 3; ++d) sizes[first + d] = output[d];
  return div(sums.reshape(sizes), divisor.to(self.scalar_type()), self.is_floating_point() ? std::nullopt : std::optional<std::string_view>("trunc"));
}

std::pair<std::int64_t, std::int64_t> adaptive_range(std::int64_t i, std::int64_t count, std::int64_t size) {
  const std::int64_t begin = i * size / count;
  return {begin, ((i + 1) * size + count - 1) / count - begin};
}

namespace {
// The matrix (count, size) whose row i averages its range.
Tensor averaging_matrix(std::int64_t count, std::int64_t size, ScalarType type) {
  const Tensor matrix = zeros({count, size}, type);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto [begin, length] = adaptive_range(i, count, size);
    matrix.select(0, i).narrow(0, begin, length).fill_(1 / static_cast<double>(length));
  }
  return matrix;
}

// `self` times `matrix`, turned around, along dimension -d: a row of the matrix makes a number.
Tensor product_along(const Tensor& self, std::int64_t d, const Tensor& matrix) { return matmul(self.transpose(-d, -1), matrix.t()).transpose(-d, -1); }

// The means of ranges along the last dimensions; a new tensor.
Tensor adaptive_means(const Tensor& self, IntArrayRef output) {
  Tensor result = self;
  for (std::size_t d = 1; d <= output.size(); ++d) {
    const std::int64_t count = output[output.size() - d], dim = static_cast<std::int64_t>(d);
    if (count != self.size(-dim)) result = product_along(result, dim, averaging_matrix(count, self.size(-dim), self.scalar_type()));
  }
  return result.is_alias_of(self) ? self.clone() : result.contiguous();
}

// Its gradient. Other than the means it grows with each product, and the last dimension, for which nothing is turned around, comes last.
Tensor adaptive_means_backward(const Tensor& grad, IntArrayRef size) {
  Tensor result = grad;
  for (std::size_t d = size.size(); d >= 1; --d) {
    const std::int64_t length = size[size.size() - d], dim = static_cast<std::int64_t>(d);
    if (length != grad.size(-dim)) result = product_along(result, dim, averaging_matrix(grad.size(-dim), length, grad.scalar_type()).t());
  }
  return result.is_alias_of(grad) ? grad.clone() : result.contiguous();
}

// What may be empty, as in PyTorch: dimension 0 alone, or all but those that are pooled.
enum class MayBeEmpty { Batch, BatchAndChannels };

DimVector checked_output(const char* function, const Tensor& self, IntArrayRef output_size, std::int64_t dims, MayBeEmpty may_be_empty) {
  TORCH_CHECK(output_size.size() == 1 || static_cast<std::int64_t>(output_size.size()) == dims, function, ": output_size must be ", dims);
  check_dims(function, self, dims);
  for (std::int64_t d = may_be_empty == MayBeEmpty::Batch ? 1 : self.dim() - dims; d < self.dim(); ++d)
    TORCH_CHECK(self.size(d) > 0, function, "(): Expected input to have non-zero size for non-batch dimensions, but input has sizes ", self.sizes(), " with dimension ", d,
                " being empty\n[", function, "] ", may_be_empty == MayBeEmpty::Batch ? "only dimension 0 may be of size 0." : "a window needs a pixel at least.");
  for (const std::int64_t size : output_size)
    TORCH_CHECK(size >= 0, function, ": elements of output_size must be greater than or equal to 0 but received ", output_size);
  return output_size.size() == 1 ? DimVector(static_cast<std::size_t>(dims), output_size[0]) : DimVector(output_size);
}

Tensor adaptive_avg(const char* function, const Tensor& self, IntArrayRef output_size, std::int64_t dims) {
  const DimVector output = checked_output(function, self, output_size, dims, dims == 3 ? MayBeEmpty::Batch : MayBeEmpty::BatchAndChannels);
  TORCH_CHECK(self.is_floating_point(), "\"", function, "\" not implemented for '", self.scalar_type(), "'\n[", function, "] convert with to(kFloat) first.");
  // One window over everything, at the end of most networks for images, is a mean as any other.
  if (self.numel() > 0 && volume(output) == 1) {
    DimVector spatial;
    for (std::int64_t d = dims; d >= 1; --d) spatial.push_back(-d);
    return self.mean(spatial, true);
  }
  return dims == 2 ? in_format_of(self, op::_adaptive_avg_pool2d(self, output)) : adaptive_means(self, output);
}

// How long each window is in the last two dimensions, if those of one dimension are all of one length and meet; nothing otherwise.
std::optional<std::array<std::int64_t, 2>> even_windows(const Tensor& self, IntArrayRef output) {
  const std::int64_t height = self.size(-2), width = self.size(-1);
  if (output[0] == 0 || output[1] == 0 || height % output[0] != 0 || width % output[1] != 0) return std::nullopt;
  return std::array{height / output[0], width / output[1]};
}

std::tuple<Tensor, Tensor> adaptive_max(const char* function, const Tensor& self, IntArrayRef output_size, std::int64_t dims) {
  const DimVector output = checked_output(function, self, output_size, dims, MayBeEmpty::Batch);
  // Windows of one length are those of max_pool2d, which has a kernel.
  if (const auto window = dims == 2 && self.numel() > 0 ? even_windows(self, output) : std::nullopt) return max_pool2d_with_indices(self, *window);
  Tensor values = self;
  Tensor positions = zeros(self.sizes(), kLong);
  std::int64_t step = 1;  // how far apart neighbours along this dimension are in the flattened image
  for (std::int64_t d = 1; d <= dims; ++d) {
    const std::int64_t count = output[static_cast<std::size_t>(dims - d)];
    std::vector<Tensor> best, where;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto [begin, length] = adaptive_range(i, count, self.size(-d));
      const auto [largest, index] = values.narrow(-d, begin, length).max(-d, true);
      best.push_back(largest);
      where.push_back(positions.narrow(-d, begin, length).gather(-d, index) + (index + begin) * step);
    }
    if (count > 0) {
      values = cat(best, -d);
      positions = cat(where, -d);
    } else {
      values = values.narrow(-d, 0, 0);
      positions = positions.narrow(-d, 0, 0);
    }
    step *= self.size(-d);
  }
  return {values, positions};
}
}  // namespace

// The gradient lies in memory as the means do, and so as the images did.
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::_adaptive_avg_pool2d(
    "_adaptive_avg_pool2d", {.cpu = adaptive_means, .autograd = gradient_of<op::_adaptive_avg_pool2d>([](const Tensor& g, Sizes<0> sizes, Output means) {
                               const IntArrayRef size = spatial_sizes(sizes);
                               const Tensor arrived = in_format_of(means, g);
                               return size == spatial_sizes(g.sizes()) ? arrived : op::_adaptive_avg_pool2d_backward(arrived, size);  // of windows of one pixel each
                             })});
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::_adaptive_avg_pool2d_backward(
    "_adaptive_avg_pool2d_backward", {.cpu = adaptive_means_backward, .autograd = gradient_of<op::_adaptive_avg_pool2d_backward>([](const Tensor& g, Sizes<0> sizes) {
                                        return op::_adaptive_avg_pool2d(g, spatial_sizes(sizes));
                                      })});

Tensor adaptive_avg_pool1d(const Tensor& self, IntArrayRef output_size) { return adaptive_avg("adaptive_avg_pool1d", self, output_size, 1); }
Tensor adaptive_avg_pool2d(const Tensor& self, IntArrayRef output_size) { return adaptive_avg("adaptive_avg_pool2d", self, output_size, 2); }
Tensor adaptive_avg_pool3d(const Tensor& self, IntArrayRef output_size) { return adaptive_avg("adaptive_avg_pool3d", self, output_size, 3); }
std::tuple<Tensor, Tensor> adaptive_max_pool1d(const Tensor& self, IntArrayRef output_size) { return adaptive_max("adaptive_max_pool1d", self, output_size, 1); }
std::tuple<Tensor, Tensor> adaptive_max_pool2d(const Tensor& self, IntArrayRef output_size) {
  const auto [values, positions] = adaptive_max("adaptive_max_pool2d", self, output_size, 2);
  return {in_format_of(self, values), in_format_of(self, positions)};
}
std::tuple<Tensor, Tensor> adaptive_max_pool3d(const Tensor& self, IntArrayRef output_size) { return adaptive_max("adaptive_max_pool3d", self, output_size, 3); }

namespace nn {
namespace {
// The output size that is meant: a size that is left out is the input's.
DimVector adaptive_size(const ExpandingArray<1>& size, const Tensor&) { return IntArrayRef(size); }
template <std::size_t D>
DimVector adaptive_size(const ExpandingArrayWithOptionalElem<D>& size, const Tensor& input) {
  DimVector sizes;
  for (std::size_t d = 0; d < D; ++d) sizes.push_back((*size)[d].value_or(input.size(static_cast<std::int64_t>(d) - static_cast<std::int64_t>(D))));
  return sizes;
}

Tensor mean_of_windows(const Tensor& x, const AvgPool1dOptions& o) { return avg_pool1d(x, o.kernel_size(), o.stride(), o.padding(), o.ceil_mode(), o.count_include_pad()); }
Tensor mean_of_windows(const Tensor& x, const AvgPool2dOptions& o) {
  return avg_pool2d(x, o.kernel_size(), o.stride(), o.padding(), o.ceil_mode(), o.count_include_pad(), o.divisor_override());
}
Tensor mean_of_windows(const Tensor& x, const AvgPool3dOptions& o) {
  return avg_pool3d(x, o.kernel_size(), o.stride(), o.padding(), o.ceil_mode(), o.count_include_pad(), o.divisor_override());
}
}  // namespace

#define TINYTORCH_POOL_LAYERS(D, Size)                                                                                                                                     \
  MaxPool##D##dImpl::MaxPool##D##dImpl(ExpandingArray<D> kernel_size) : MaxPool##D##dImpl(MaxPool##D##dOptions(kernel_size)) {}                                            \
  MaxPool##D##dImpl::MaxPool##D##dImpl(const MaxPool##D##dOptions& options_) : options(options_) {}                                                                        \
  void MaxPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::MaxPool" #D "d" << options; }                                                   \
  Tensor MaxPool##D##dImpl::forward(const Tensor& input) { return std::get<0>(forward_with_indices(input)); }                                                              \
  std::tuple<Tensor, Tensor> MaxPool##D##dImpl::forward_with_indices(const Tensor& input) {                                                                                \
    return max_pool##D##d_with_indices(input, options.kernel_size(), options.stride(), options.padding(), options.dilation(), options.ceil_mode());                        \
  }                                                                                                                                                                        \
  AvgPool##D##dImpl::AvgPool##D##dImpl(ExpandingArray<D> kernel_size) : AvgPool##D##dImpl(AvgPool##D##dOptions(kernel_size)) {}                                            \
  AvgPool##D##dImpl::AvgPool##D##dImpl(const AvgPool##D##dOptions& options_) : options(options_) {}                                                                        \
  void AvgPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AvgPool" #D "d" << options; }                                                   \
  Tensor AvgPool##D##dImpl::forward(const Tensor& input) { return mean_of_windows(input, options); }                                                                       \
  AdaptiveAvgPool##D##dImpl::AdaptiveAvgPool##D##dImpl(Size<D> output_size) : AdaptiveAvgPool##D##dImpl(AdaptiveAvgPool##D##dOptions(output_size)) {}                      \
  AdaptiveAvgPool##D##dImpl::AdaptiveAvgPool##D##dImpl(const AdaptiveAvgPool##D##dOptions& options_) : options(options_) {}                                                \
  void AdaptiveAvgPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AdaptiveAvgPool" #D "d(output_size=" << options.output_size() << ')'; } \
  Tensor AdaptiveAvgPool##D##dImpl::forward(const Tensor& input) { return adaptive_avg_pool##D##d(input, adaptive_size(options.output_size(), input)); }                   \
  AdaptiveMaxPool##D##dImpl::AdaptiveMaxPool##D##dImpl(Size<D> output_size) : AdaptiveMaxPool##D##dImpl(AdaptiveMaxPool##D##dOptions(output_size)) {}                      \
  AdaptiveMaxPool##D##dImpl::AdaptiveMaxPool##D##dImpl(const AdaptiveMaxPool##D##dOptions& options_) : options(options_) {}                                                \
  void AdaptiveMaxPool##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::AdaptiveMaxPool" #D "d(output_size=" << options.output_size() << ')'; } \
  Tensor AdaptiveMaxPool##D##dImpl::forward(const Tensor& input) { return std::get<0>(forward_with_indices(input)); }                                                      \
  std::tuple<Tensor, Tensor> AdaptiveMaxPool##D##dImpl::forward_with_indices(const Tensor& input) {                                                                        \
    return adaptive_max_pool##D##d(input, adaptive_size(options.output_size(), input));                                                                                    \
  }                                                                                                                                                                        \
  Tensor functional::max_pool##D##d(const Tensor& input, const MaxPool##D##dFuncOptions& options) { return MaxPool##D##dImpl(options).forward(input); }                    \
  std::tuple<Tensor, Tensor> functional::max_pool##D##d_with_indices(const Tensor& input, const MaxPool##D##dFuncOptions& options) {                                       \
    return MaxPool##D##dImpl(options).forward_with_indices(input);                                                                                                         \
  }                                                                                                                                                                        \
  Tensor functional::avg_pool##D##d(const Tensor& input, const AvgPool##D##dFuncOptions& options) { return AvgPool##D##dImpl(options).forward(input); }                    \
  Tensor functional::adaptive_avg_pool##D##d(const Tensor& input, const AdaptiveAvgPool##D##dFuncOptions& options) {                                                       \
    return AdaptiveAvgPool##D##dImpl(options).forward(input);                                                                                                              \
  }                                                                                                                                                                        \
  Tensor functional::adaptive_max_pool##D##d(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options) {                                                       \
    return AdaptiveMaxPool##D##dImpl(options).forward(input);                                                                                                              \
  }                                                                                                                                                                        \
  std::tuple<Tensor, Tensor> functional::adaptive_max_pool##D##d_with_indices(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options) {                      \
    return AdaptiveMaxPool##D##dImpl(options).forward_with_indices(input);                                                                                                 \
  }
TINYTORCH_POOL_LAYERS(1, ExpandingArray)
TINYTORCH_POOL_LAYERS(2, ExpandingArrayWithOptionalElem)
TINYTORCH_POOL_LAYERS(3, ExpandingArrayWithOptionalElem)
#undef TINYTORCH_POOL_LAYERS
}  // namespace nn

}  // namespace tinytorch
