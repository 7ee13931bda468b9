// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/adam.h"

#include <cmath>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

optim::AdamOptions::AdamOptions(double lr) : lr_(lr) {}
optim::Fields optim::AdamOptions::fields() {
  auto& [beta1, beta2] = betas_;
  return {{"lr", &lr_}, {"beta1", &beta1}, {"beta2", &beta2}, {"eps", &eps_}, {"weight_decay", &weight_decay_}, {"amsgrad", &amsgrad_}};
}
optim::AdamWOptions::AdamWOptions(double lr) : lr_(lr) {}
optim::Fields optim::AdamWOptions::fields() {
  auto& [beta1, beta2] = betas_;
  return {{"lr", &lr_}, {"beta1", &beta1}, {"beta2", &beta2}, {"eps", &eps_}, {"weight_decay", &weight_decay_}, {"amsgrad", &amsgrad_}};
}
optim::Fields optim::AdamParamState::fields() {
  return {{"step", &step_}, {"exp_avg", &exp_avg_}, {"exp_avg_sq", &exp_avg_sq_}, {"max_exp_avg_sq", &max_exp_avg_sq_}};
}
optim::Adam::Adam(std::vector<Tensor> params, AdamOptions defaults) : Adam({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
std::unique_ptr<optim::OptimizerParamState> optim::Adam::make_state() const { return std::make_unique<AdamParamState>(); }
optim::AdamW::AdamW(std::vector<Tensor> params, AdamWOptions defaults) : AdamW({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
std::unique_ptr<optim::OptimizerParamState> optim::AdamW::make_state() const { return std::make_unique<AdamParamState>(); }

namespace {
template <class Options>
void check_adam(const Options& options) {
  TORCH_CHECK(options.lr() >= 0, "Invalid learning rate: ", options.lr());
  TORCH_CHECK(options.eps() >= 0, "Invalid epsilon value: ", options.eps());
  const auto [beta1, beta2] = options.betas();
  TORCH_CHECK(0 <= beta1 && beta1 < 1.0, "Invalid beta parameter at index 0: ", beta1);
  TORCH_CHECK(0 <= beta2 && beta2 < 1.0, "Invalid beta parameter at index 1: ", beta2);
  TORCH_CHECK(options.weight_decay() >= 0, "Invalid weight_decay value: ", options.weight_decay());
}
}  // namespace

optim::Adam::Adam(std::vector<OptimizerParamGroup> groups, AdamOptions defaults) : Optimizer(std::move(groups), std::make_unique<AdamOptions>(defaults)) {
  check_adam(defaults);
}
optim::AdamW::AdamW(std::vector<OptimizerParamGroup> groups, AdamWOptions defaults)
    : Optimizer(std::move(groups), std::make_unique<AdamWOptions>(defaults)) {
  check_adam(defaults);
}

// One update of `parameter` (in place) by `grad`, without weight decay. A new `state` gets its zeros here; max_exp_avg_sq only for
// amsgrad. REQUIRES: recording is off. O(elements).
namespace {
template <class Options>
void adam_update(const Tensor& parameter, const Tensor& grad, optim::AdamParamState& state, const Options& options) {
  const auto [beta1, beta2] = options.betas();
  if (!state.exp_avg().defined()) {
    state.exp_avg(zeros_like(parameter));
    state.exp_avg_sq(zeros_like(parameter));
    if (options.amsgrad()) state.max_exp_avg_sq(zeros_like(parameter));
  }
  state.step(state.step() + 1);
  state.exp_avg().mul_(beta1).add_(grad, 1 - beta1);
  state.exp_avg_sq().mul_(beta2).addcmul_(grad, grad, 1 - beta2);

  const double correction1 = 1 - std::pow(beta1, static_cast<double>(state.step()));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(state.step()));
  Tensor square = state.exp_avg_sq();
  if (options.amsgrad()) {
    state.max_exp_avg_sq().copy_(maximum(state.max_exp_avg_sq(), square));
    square = state.max_exp_avg_sq();
  }
  const Tensor denominator = square.sqrt().div_(std::sqrt(correction2)).add_(options.eps());
  parameter.addcdiv_(state.exp_avg(), denominator, -options.lr() / correction1);
}
}  // namespace

Tensor optim::Adam::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    if (group_step != nullptr && group_step(*this, group)) continue;
    const auto& options = static_cast<const AdamOptions&>(group.options());
    for (const Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      Tensor grad = parameter.grad();
      if (options.weight_decay() != 0) grad = grad.add(parameter, options.weight_decay());
      adam_update(parameter, grad, state_of<AdamParamState>(parameter), options);
    }
  }
  return loss;
}

// One update of every parameter that has a gradient: first the decay p *= 1 - lr * weight_decay, then Adam's update by the gradient alone.
Tensor optim::AdamW::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    if (group_step != nullptr && group_step(*this, group)) continue;
    const auto& options = static_cast<const AdamWOptions&>(group.options());
    for (const Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      parameter.mul_(1 - options.lr() * options.weight_decay());
      adam_update(parameter, parameter.grad(), state_of<AdamParamState>(parameter), options);
    }
  }
  return loss;
}

}  // namespace tinytorch
