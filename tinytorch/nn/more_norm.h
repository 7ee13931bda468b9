// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/norm.h"

namespace tinytorch {

// Normalizes each of `num_groups` groups of channels of each example of (N, C, ...), then applies weight and bias (C), if given. Wu and He, 2018.
Tensor group_norm(const Tensor& input, std::int64_t num_groups, const std::optional<Tensor>& weight = {}, const std::optional<Tensor>& bias = {}, double eps = 1e-5,
                  bool cudnn_enabled = true);
// Normalizes each channel of each example of (N, C, ...), by its own statistics (use_input_stats) or the running ones, then applies weight and bias (C), if given. Ulyanov et al., 2016.
Tensor instance_norm(const Tensor& input, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const std::optional<Tensor>& running_mean,
                     const std::optional<Tensor>& running_var, bool use_input_stats, double momentum, double eps, bool cudnn_enabled = true);

namespace op {
// group_norm() of an input that has elements: the input, the number of groups, weight and bias (C) or nothing, eps.
extern Operator<Tensor(const Tensor&, std::int64_t, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> group_norm;
}  // namespace op

// The input of group_norm() with mean and deviation of its groups taken off, and the gradient of that input when that of the result is `grad`. By differentiable operators; `weight` may be undefined.
Tensor normalized_groups(const Tensor& input, std::int64_t num_groups, double eps);
Tensor group_norm_input_grad(const Tensor& grad, const Tensor& input, std::int64_t num_groups, const Tensor& weight, double eps);

namespace nn {

class BatchNorm1dImpl : public BatchNormImplBase<1, BatchNorm1dImpl> {
 public:
  using BatchNormImplBase<1, BatchNorm1dImpl>::BatchNormImplBase;
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(BatchNorm1d);
class BatchNorm3dImpl : public BatchNormImplBase<3, BatchNorm3dImpl> {
 public:
  using BatchNormImplBase<3, BatchNorm3dImpl>::BatchNormImplBase;
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(BatchNorm3d);

struct GroupNormOptions {
  GroupNormOptions(std::int64_t num_groups, std::int64_t num_channels) : num_groups_(num_groups), num_channels_(num_channels) {}
  TORCH_ARG(std::int64_t, num_groups);
  TORCH_ARG(std::int64_t, num_channels);
  TORCH_ARG(double, eps) = 1e-5;
  TORCH_ARG(bool, affine) = true;
};

class GroupNormImpl : public Cloneable<GroupNormImpl> {
 public:
  GroupNormImpl(std::int64_t num_groups, std::int64_t num_channels);
  explicit GroupNormImpl(const GroupNormOptions& options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return group_norm(input, options.num_groups(), weight, bias, options.eps()); }

  GroupNormOptions options;
  Tensor weight, bias;  // (num_channels), or undefined
};
TORCH_MODULE(GroupNorm);

struct InstanceNormOptions {
  InstanceNormOptions(std::int64_t num_features) : num_features_(num_features) {}
  TORCH_ARG(std::int64_t, num_features);
  TORCH_ARG(double, eps) = 1e-5;
  TORCH_ARG(double, momentum) = 0.1;
  TORCH_ARG(bool, affine) = false;
  TORCH_ARG(bool, track_running_stats) = false;
};
using InstanceNorm1dOptions = InstanceNormOptions;
using InstanceNorm2dOptions = InstanceNormOptions;
using InstanceNorm3dOptions = InstanceNormOptions;

// instance_norm() with parameters and running averages like a batch norm's, both off by default. One example (C, ...) is taken as a batch of one.
template <std::size_t D, class Derived>
class InstanceNormImpl : public BatchNormImplBase<D, Derived> {
 public:
  explicit InstanceNormImpl(const InstanceNormOptions& options_)
      : BatchNormImplBase<D, Derived>(BatchNormOptions(options_.num_features())
                                          .eps(options_.eps())
                                          .momentum(options_.momentum())
                                          .affine(options_.affine())
                                          .track_running_stats(options_.track_running_stats())) {}
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::InstanceNorm" << D << "d" << this->options; }
  Tensor forward(const Tensor& input) {
    const std::int64_t dims = static_cast<std::int64_t>(D) + 2;
    TORCH_CHECK(input.dim() == dims || input.dim() == dims - 1, "expected ", dims - 1, "D or ", dims, "D input (got ", input.dim(), "D input)");
    const Tensor batch = input.dim() == dims ? input : input.unsqueeze(0);
    const Tensor result = instance_norm(batch, this->weight, this->bias, this->running_mean, this->running_var, this->is_training() || !this->options.track_running_stats(),
                                        *this->options.momentum(), this->options.eps());
    return input.dim() == dims ? result : result.select(0, 0);
  }
};
class InstanceNorm1dImpl : public InstanceNormImpl<1, InstanceNorm1dImpl> {
 public:
  using InstanceNormImpl<1, InstanceNorm1dImpl>::InstanceNormImpl;
};
TORCH_MODULE(InstanceNorm1d);
class InstanceNorm2dImpl : public InstanceNormImpl<2, InstanceNorm2dImpl> {
 public:
  using InstanceNormImpl<2, InstanceNorm2dImpl>::InstanceNormImpl;
};
TORCH_MODULE(InstanceNorm2d);
class InstanceNorm3dImpl : public InstanceNormImpl<3, InstanceNorm3dImpl> {
 public:
  using InstanceNormImpl<3, InstanceNorm3dImpl>::InstanceNormImpl;
};
TORCH_MODULE(InstanceNorm3d);

namespace functional {
struct GroupNormFuncOptions {
  GroupNormFuncOptions(std::int64_t num_groups) : num_groups_(num_groups) {}
  TORCH_ARG(std::int64_t, num_groups);
  TORCH_ARG(Tensor, weight) = Tensor();
  TORCH_ARG(Tensor, bias) = Tensor();
  TORCH_ARG(double, eps) = 1e-5;
};
inline Tensor group_norm(const Tensor& input, const GroupNormFuncOptions& options) {
  return tinytorch::group_norm(input, options.num_groups(), options.weight(), options.bias(), options.eps());
}
struct InstanceNormFuncOptions {
  TORCH_ARG(Tensor, running_mean) = Tensor();
  TORCH_ARG(Tensor, running_var) = Tensor();
  TORCH_ARG(Tensor, weight) = Tensor();
  TORCH_ARG(Tensor, bias) = Tensor();
  TORCH_ARG(bool, use_input_stats) = true;
  TORCH_ARG(double, momentum) = 0.1;
  TORCH_ARG(double, eps) = 1e-5;
};
Tensor instance_norm(const Tensor& input, const InstanceNormFuncOptions& options = {});
}  // namespace functional

}  // namespace nn

}  // namespace tinytorch
