// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/pixels.h"

#include <utility>

#include "tinytorch/core/indexing.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/more_pool.h"

namespace tinytorch {

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

}  // namespace tinytorch
