// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <ostream>
#include <tuple>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/expanding_array.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/pimpl.h"

namespace tinytorch {

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

}  // namespace tinytorch
