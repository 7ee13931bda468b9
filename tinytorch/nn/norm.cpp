// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/norm.h"

#include <cmath>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/batch_norm_layer-inl.h"

namespace tinytorch {

namespace {
std::tuple<Tensor, Tensor, Tensor> batch_norm_cpu(const Tensor& self, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const Tensor input = self.contiguous();
  const std::int64_t N = input.size(0), C = input.size(1);
  const std::int64_t L = N * C == 0 ? 0 : input.numel() / (N * C);
  const Tensor result = empty(input.sizes(), input.scalar_type());
  const Tensor means = empty({C}, input.scalar_type());
  const Tensor variances = empty({C}, input.scalar_type());
  dispatch_floating_types(input.scalar_type(), "batch_norm", [&]<class T>() {
    const T* const from = input.data<T>();
    T* const to = result.data<T>();
    for (std::int64_t c = 0; c < C; ++c) {
      const ChannelStatistics statistics = N * L == 0 ? ChannelStatistics{} : channel_statistics(from, c, N, C, L);
      means.data<T>()[c] = static_cast<T>(statistics.mean);
      variances.data<T>()[c] = static_cast<T>(statistics.variance);
      const double scale = (weight ? static_cast<double>(weight->select(0, c).item<T>()) : 1.0) / std::sqrt(statistics.variance + eps);
      const double shift = (bias ? static_cast<double>(bias->select(0, c).item<T>()) : 0.0) - statistics.mean * scale;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t i = (n * C + c) * L; i < (n * C + c + 1) * L; ++i) to[i] = static_cast<T>(static_cast<double>(from[i]) * scale + shift);
    }
  });
  return {result, means, variances};
}

}  // namespace

DimVector all_but_channels(const Tensor& input) {
  DimVector dims{0};
  for (std::int64_t d = 2; d < input.dim(); ++d) dims.push_back(d);
  return dims;
}

Tensor per_channel(const Tensor& vector, const Tensor& input) {
  DimVector sizes(static_cast<std::size_t>(input.dim()) - 1, 1);
  sizes[0] = vector.size(0);
  return vector.view(sizes);
}

Tensor normalized_channels(const Tensor& input, double eps) {
  const DimVector dims = all_but_channels(input);
  const Tensor centered = input - input.mean(dims, true);
  return centered * (centered.square().mean(dims, true) + eps).rsqrt();
}

// 1/s * (g - mean(g) - x̂ * mean(g x̂)) for each channel, where g = grad * weight, x̂ is the normalized input and s = sqrt(variance + eps). Sizes as `input`. O(numel).
Tensor batch_norm_input_grad(const Tensor& grad, const Tensor& input, const Tensor& weight, double eps) {
  const DimVector dims = all_but_channels(input);
  const Tensor centered = input - input.mean(dims, true);
  const Tensor inverse = (centered.square().mean(dims, true) + eps).rsqrt();
  const Tensor x = centered * inverse;
  const Tensor g = weight.defined() ? grad * per_channel(weight, input) : grad;
  return inverse * (g - g.mean(dims, true) - x * (g * x).mean(dims, true));
}

constinit Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> op::batch_norm(
    "batch_norm", {.cpu = batch_norm_cpu,
                   .autograd = gradient_of<op::batch_norm>(
                       [](const Tensor& g, Input<0> input, Input<1> weight, Arg<3, double> eps) { return batch_norm_input_grad(g, input, weight, eps); },
                       [](const Tensor& g, Input<0> input, Arg<3, double> eps) { return (g * normalized_channels(input, eps)).sum(all_but_channels(input)); },
                       [](const Tensor& g) { return g.sum(all_but_channels(g)); })});

namespace {
Tensor channel_affine_cpu(const Tensor& input, const Tensor& scale, const Tensor& shift) {
  TORCH_CHECK(input.dim() >= 2, "channel_affine needs an input of at least two dimensions, (N, C, ...), but got ", input.sizes());
  return (input * per_channel(scale, input)).add_(per_channel(shift, input));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> op::channel_affine(
    "channel_affine", {.cpu = channel_affine_cpu,
                       .autograd = gradient_of<op::channel_affine>([](const Tensor& g, Input<1> scale) { return g * per_channel(scale, g); },
                                                                   [](const Tensor& g, Input<0> input) { return (g * input).sum(all_but_channels(g)); },
                                                                   [](const Tensor& g) { return g.sum(all_but_channels(g)); })});

namespace {
void check_per_channel(const char* name, const std::optional<Tensor>& vector, std::int64_t channels) {
  TORCH_CHECK(!vector || vector->numel() == channels, name, " should contain ", channels, " elements not ", vector ? vector->numel() : 0,
              "\n[batch_norm] one for each of the input's channels, dimension 1.");
}
std::optional<Tensor> if_defined(const std::optional<Tensor>& tensor) { return tensor && tensor->defined() ? tensor : std::nullopt; }
}  // namespace

// running = (1 - momentum) * running + momentum * new, in place, without recording. The new variance is the unbiased one: the sum of squares divided by count - 1.
void update_running_averages(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum) {
  const NoGradGuard no_grad;
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  running_mean.mul_(1 - momentum).add_(mean, momentum);
  running_var.mul_(1 - momentum).add_(variance, momentum * unbiased);
}

Tensor batch_norm(const Tensor& input, const std::optional<Tensor>& weight_or_none, const std::optional<Tensor>& bias_or_none, const std::optional<Tensor>& mean_or_none,
                  const std::optional<Tensor>& var_or_none, bool training, double momentum, double eps, bool) {
  const auto weight = if_defined(weight_or_none), bias = if_defined(bias_or_none), running_mean = if_defined(mean_or_none), running_var = if_defined(var_or_none);
  TORCH_CHECK(input.dim() >= 2, "batch_norm needs an input of at least two dimensions, (N, C, ...), but got ", input.sizes());
  TORCH_CHECK(training || running_mean, "running_mean must be defined in evaluation mode");
  TORCH_CHECK(training || running_var, "running_var must be defined in evaluation mode");
  check_per_channel("running_mean", running_mean, input.size(1));
  check_per_channel("running_var", running_var, input.size(1));
  check_per_channel("weight", weight, input.size(1));
  check_per_channel("bias", bias, input.size(1));
  TORCH_CHECK(input.is_floating_point(), "\"batch_norm\" not implemented for '", input.scalar_type(), "'\n[batch_norm] convert with to(kFloat) first.");
  if (!training) {
    Tensor scale = (*running_var + eps).rsqrt();
    if (weight) scale = scale * *weight;
    Tensor shift = -(*running_mean * scale);
    if (bias) shift = shift + *bias;
    return op::channel_affine(input.to(scale.scalar_type()), scale, shift).to(input.scalar_type());  // beside averages in float an image in half precision stays one
  }
  const auto [result, mean, variance] = op::batch_norm(input, weight, bias, eps);
  if (running_mean && running_var) update_running_averages(*running_mean, *running_var, mean.detach(), variance.detach(), input.numel() / input.size(1), momentum);
  return in_format_of(input, result);
}

Tensor nn::BatchNorm2dImpl::forward(const Tensor& input) { return forward_batch_norm(*this, input); }

void nn::check_values_per_channel(const Tensor& input) {
  TORCH_CHECK_VALUE(input.dim() < 2 || input.numel() != input.size(1), "Expected more than 1 value per channel when training, got input size ", input.sizes(),
                    "\n[batch_norm] one value has no variance: use larger batches, or call eval() when you do not train.");
}

Tensor nn::functional::batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const BatchNormFuncOptions& options) {
  if (options.training()) check_values_per_channel(input);
  return tinytorch::batch_norm(input, options.weight(), options.bias(), running_mean, running_var, options.training(), options.momentum().value_or(0), options.eps());
}

}  // namespace tinytorch
