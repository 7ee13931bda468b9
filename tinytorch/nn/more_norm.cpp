// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_norm.h"

#include <ostream>
#include <tuple>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/batch_norm_layer-inl.h"
#include "tinytorch/nn/image_checks.h"

namespace tinytorch {

Tensor nn::BatchNorm1dImpl::forward(const Tensor& input) { return forward_batch_norm(*this, input); }
Tensor nn::BatchNorm3dImpl::forward(const Tensor& input) { return forward_batch_norm(*this, input); }

Tensor nn::functional::instance_norm(const Tensor& input, const InstanceNormFuncOptions& options) {
  return tinytorch::instance_norm(input, options.weight(), options.bias(), options.running_mean(), options.running_var(), options.use_input_stats(), options.momentum(), options.eps());
}

nn::GroupNormImpl::GroupNormImpl(std::int64_t num_groups, std::int64_t num_channels) : GroupNormImpl(GroupNormOptions(num_groups, num_channels)) {}
nn::GroupNormImpl::GroupNormImpl(const GroupNormOptions& options_) : options(options_) { GroupNormImpl::reset(); }

namespace {
std::optional<Tensor> present(const std::optional<Tensor>& tensor) { return tensor && tensor->defined() ? tensor : std::nullopt; }

// x * weight + bias, one number for each channel of (N, C, ...).
Tensor scaled(Tensor x, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias) {
  if (weight && bias && weight->scalar_type() == x.scalar_type() && bias->scalar_type() == x.scalar_type()) return op::channel_affine(x, *weight, *bias);
  if (weight) x = x * per_channel(*weight, x);
  if (bias) x = x + per_channel(*bias, x);
  return x;
}

// (N, C, ...) as one example with a channel for each group.
Tensor as_groups(const Tensor& input, std::int64_t num_groups) { return input.reshape({1, input.size(0) * num_groups, -1}); }

Tensor group_norm_cpu(const Tensor& input, std::int64_t num_groups, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  return scaled(std::get<0>(op::batch_norm(as_groups(input, num_groups), {}, {}, eps)).view(input.sizes()), weight, bias);
}
}  // namespace

Tensor normalized_groups(const Tensor& input, std::int64_t num_groups, double eps) { return normalized_channels(as_groups(input, num_groups), eps).view(input.sizes()); }

Tensor group_norm_input_grad(const Tensor& grad, const Tensor& input, std::int64_t num_groups, const Tensor& weight, double eps) {
  const Tensor h = weight.defined() ? grad * per_channel(weight, input) : grad;
  return batch_norm_input_grad(as_groups(h, num_groups), as_groups(input, num_groups), Tensor(), eps).view(input.sizes());
}

constinit Operator<Tensor(const Tensor&, std::int64_t, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> op::group_norm(
    "group_norm", {.cpu = group_norm_cpu,
                   .autograd = gradient_of<op::group_norm>(
                       [](const Tensor& g, Input<0> input, Arg<1, std::int64_t> groups, Input<2> weight, Arg<4, double> eps) { return group_norm_input_grad(g, input, groups.value, weight, eps.value); },
                       [](const Tensor& g, Input<0> input, Arg<1, std::int64_t> groups, Arg<4, double> eps) { return (g * normalized_groups(input, groups.value, eps.value)).sum(all_but_channels(g)); },
                       [](const Tensor& g) { return g.sum(all_but_channels(g)); })});

Tensor group_norm(const Tensor& input, std::int64_t num_groups, const std::optional<Tensor>& weight_or_none, const std::optional<Tensor>& bias_or_none, double eps, bool) {
  const auto weight = present(weight_or_none), bias = present(bias_or_none);
  TORCH_CHECK(input.dim() >= 2, "Expected at least 2 dimensions for input tensor but received ", input.dim());
  const std::int64_t channels = input.size(1);
  TORCH_CHECK(num_groups > 0, "Expected num groups to be greater than 0, got ", num_groups);
  TORCH_CHECK(channels % num_groups == 0, "Expected number of channels in input to be divisible by num_groups, but got input of shape ", input.sizes(), " and num_groups=", num_groups);
  TORCH_CHECK(!weight || (weight->dim() == 1 && weight->numel() == channels),
              "Expected weight to be a vector of size equal to the number of channels in input, but got weight of shape ", weight ? weight->sizes() : IntArrayRef(),
              " and input of shape ", input.sizes());
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->numel() == channels),
              "Expected bias to be a vector of size equal to the number of channels in input, but got bias of shape ", bias ? bias->sizes() : IntArrayRef(),
              " and input of shape ", input.sizes());
  if (input.numel() == 0) return scaled(input.clone(), weight, bias);
  return in_format_of(input, op::group_norm(input, num_groups, weight, bias, eps));
}

Tensor instance_norm(const Tensor& input, const std::optional<Tensor>& weight_or_none, const std::optional<Tensor>& bias_or_none, const std::optional<Tensor>& mean_or_none,
                     const std::optional<Tensor>& var_or_none, bool use_input_stats, double momentum, double eps, bool) {
  const auto weight = present(weight_or_none), bias = present(bias_or_none), running_mean = present(mean_or_none), running_var = present(var_or_none);
  TORCH_CHECK(use_input_stats || (running_mean && running_var), "Expected running_mean and running_var to be defined when use_input_stats is false");
  TORCH_CHECK(input.dim() >= 3, "instance_norm needs an input of at least three dimensions, (N, C, ...), but got ", input.sizes());
  const std::int64_t N = input.size(0), C = input.size(1);
  TORCH_CHECK_VALUE(!use_input_stats || volume(spatial_sizes(input.sizes())) > 1, "Expected more than 1 spatial element when training, got input size ", input.sizes());
  if (use_input_stats && !running_mean && !running_var && input.numel() > 0) return group_norm(input, C, weight, bias, eps);  // each channel is a group
  DimVector sizes(input.sizes());
  sizes[0] = 1;
  sizes[1] = N * C;
  // Each example's channels move averages of their own, whose means are the new ones.
  const auto repeated = [&](const std::optional<Tensor>& vector) { return vector ? std::optional<Tensor>(repeat(*vector, {N})) : std::nullopt; };
  const std::optional<Tensor> means = repeated(running_mean), variances = repeated(running_var);
  const Tensor result = batch_norm(input.reshape(sizes), {}, {}, means, variances, use_input_stats, momentum, eps);
  if (means && variances && use_input_stats) {
    const NoGradGuard no_grad;
    running_mean->copy_(means->view({N, C}).mean({0}));
    running_var->copy_(variances->view({N, C}).mean({0}));
  }
  return scaled(result.view(input.sizes()), weight, bias);
}

void nn::GroupNormImpl::reset() {
  weight = register_parameter("weight", options.affine() ? empty({options.num_channels()}) : Tensor(), options.affine());
  bias = register_parameter("bias", options.affine() ? empty({options.num_channels()}) : Tensor(), options.affine());
  reset_parameters();
}

void nn::GroupNormImpl::reset_parameters() {
  if (!options.affine()) return;
  const NoGradGuard no_grad;
  weight.fill_(1);
  bias.zero_();
}

void nn::GroupNormImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::GroupNorm(" << options.num_groups() << ", " << options.num_channels() << ", eps=" << options.eps() << ", affine=" << (options.affine() ? "true" : "false")
         << ')';
}

}  // namespace tinytorch
