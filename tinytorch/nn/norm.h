// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <ostream>
#include <tuple>

#include "tinytorch/core/autograd.h"
#include "tinytorch/nn/image_layers.h"

namespace tinytorch {

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

// Mean and variance (divided by the count) of one channel, and what follows from them. float is summed in double.
struct ChannelStatistics {
  double mean = 0;
  double variance = 0;
};

// The statistics of channel `c` of contiguous data (N, C, L). REQUIRES: N L >= 1. O(N L), two passes.
template <class T>
ChannelStatistics channel_statistics(const T* data, std::int64_t c, std::int64_t N, std::int64_t C, std::int64_t L) {
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
}

// All dimensions of (N, C, ...) but the channels'.
DimVector all_but_channels(const Tensor& input);
// A vector (C) in a shape that broadcasts beside (N, C, ...).
Tensor per_channel(const Tensor& vector, const Tensor& input);
// `input` with every channel's mean taken off and divided by sqrt(variance + eps), by differentiable operators.
Tensor normalized_channels(const Tensor& input, double eps);
// The gradient of a training batch norm with respect to its input, when that of its result is `grad`. `weight` may be undefined. Made of differentiable operators.
Tensor batch_norm_input_grad(const Tensor& grad, const Tensor& input, const Tensor& weight, double eps);

// Moves the running averages (C) towards `mean` and `variance` (divided by the count) of a batch of `count` numbers per channel. Records nothing.
void update_running_averages(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum);

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

}  // namespace tinytorch
