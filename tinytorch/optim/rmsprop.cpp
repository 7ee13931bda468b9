// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/rmsprop.h"

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

optim::RMSpropOptions::RMSpropOptions(double lr) : lr_(lr) {}
optim::Fields optim::RMSpropOptions::fields() {
  return {{"lr", &lr_}, {"alpha", &alpha_}, {"eps", &eps_}, {"weight_decay", &weight_decay_}, {"momentum", &momentum_}, {"centered", &centered_}};
}
optim::Fields optim::RMSpropParamState::fields() {
  return {{"step", &step_}, {"square_avg", &square_avg_}, {"momentum_buffer", &momentum_buffer_}, {"grad_avg", &grad_avg_}};
}
optim::RMSprop::RMSprop(std::vector<Tensor> params, RMSpropOptions defaults) : RMSprop({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
std::unique_ptr<optim::OptimizerParamState> optim::RMSprop::make_state() const { return std::make_unique<RMSpropParamState>(); }

optim::RMSprop::RMSprop(std::vector<OptimizerParamGroup> groups, RMSpropOptions defaults)
    : Optimizer(std::move(groups), std::make_unique<RMSpropOptions>(defaults)) {
  TORCH_CHECK(defaults.lr() >= 0, "Invalid learning rate: ", defaults.lr());
  TORCH_CHECK(defaults.eps() >= 0, "Invalid epsilon value: ", defaults.eps());
  TORCH_CHECK(defaults.momentum() >= 0, "Invalid momentum value: ", defaults.momentum());
  TORCH_CHECK(defaults.weight_decay() >= 0, "Invalid weight_decay value: ", defaults.weight_decay());
  TORCH_CHECK(defaults.alpha() >= 0, "Invalid alpha value: ", defaults.alpha());
}

// One update of `parameter` (in place) by `grad`, which has the weight decay in it already. A new `state` gets zeros for square_avg, and for grad_avg and
// momentum_buffer only where the options use them. REQUIRES: recording is off. O(elements).
namespace {
void rmsprop_update(const Tensor& parameter, const Tensor& grad, optim::RMSpropParamState& state, const optim::RMSpropOptions& options) {
  if (!state.square_avg().defined()) state.square_avg(zeros_like(parameter));
  state.step(state.step() + 1);
  state.square_avg().mul_(options.alpha()).addcmul_(grad, grad, 1 - options.alpha());
  Tensor variance = state.square_avg();
  if (options.centered()) {
    if (!state.grad_avg().defined()) state.grad_avg(zeros_like(parameter));
    state.grad_avg().mul_(options.alpha()).add_(grad, 1 - options.alpha());
    variance = state.square_avg().addcmul(state.grad_avg(), state.grad_avg(), -1.0);
  }
  const Tensor divisor = variance.sqrt().add_(options.eps());
  if (options.momentum() > 0) {
    if (!state.momentum_buffer().defined()) state.momentum_buffer(zeros_like(parameter));
    state.momentum_buffer().mul_(options.momentum()).addcdiv_(grad, divisor, 1.0);
    parameter.add_(state.momentum_buffer(), -options.lr());
  } else {
    parameter.addcdiv_(grad, divisor, -options.lr());
  }
}
}  // namespace

Tensor optim::RMSprop::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    if (group_step != nullptr && group_step(*this, group)) continue;
    const auto& options = static_cast<const RMSpropOptions&>(group.options());
    for (const Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      const Tensor grad = options.weight_decay() == 0 ? parameter.grad() : parameter.grad().add(parameter, options.weight_decay());
      rmsprop_update(parameter, grad, state_of<RMSpropParamState>(parameter), options);
    }
  }
  return loss;
}

}  // namespace tinytorch
