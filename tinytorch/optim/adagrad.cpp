// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/adagrad.h"

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

optim::AdagradOptions::AdagradOptions(double lr) : lr_(lr) {}
optim::Fields optim::AdagradOptions::fields() {
  return {{"lr", &lr_}, {"lr_decay", &lr_decay_}, {"weight_decay", &weight_decay_}, {"initial_accumulator_value", &initial_accumulator_value_}, {"eps", &eps_}};
}
optim::Fields optim::AdagradParamState::fields() { return {{"sum", &sum_}, {"step", &step_}}; }
optim::Adagrad::Adagrad(std::vector<Tensor> params, AdagradOptions defaults) : Adagrad({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
std::unique_ptr<optim::OptimizerParamState> optim::Adagrad::make_state() const { return std::make_unique<AdagradParamState>(); }

optim::Adagrad::Adagrad(std::vector<OptimizerParamGroup> groups, AdagradOptions defaults)
    : Optimizer(std::move(groups), std::make_unique<AdagradOptions>(defaults)) {
  TORCH_CHECK(defaults.lr() >= 0, "Invalid learning rate: ", defaults.lr());
  TORCH_CHECK(defaults.lr_decay() >= 0, "Invalid lr_decay value: ", defaults.lr_decay());
  TORCH_CHECK(defaults.weight_decay() >= 0, "Invalid weight_decay value: ", defaults.weight_decay());
  TORCH_CHECK(defaults.initial_accumulator_value() >= 0, "Invalid initial_accumulator_value value: ", defaults.initial_accumulator_value());
  TORCH_CHECK(defaults.eps() >= 0, "Invalid epsilon value: ", defaults.eps());
  // Unlike the others', its sums are there before the first step, as in PyTorch.
  for (const OptimizerParamGroup& group : param_groups())
    for (const Tensor& parameter : group.params()) state_of<AdagradParamState>(parameter).sum(full_like(parameter, defaults.initial_accumulator_value()));
}

namespace {
void adagrad_update(const Tensor& parameter, const Tensor& grad, optim::AdagradParamState& state, const optim::AdagradOptions& options) {
  if (!state.sum().defined()) state.sum(full_like(parameter, options.initial_accumulator_value()));
  state.step(state.step() + 1);
  const Tensor update = options.weight_decay() == 0 ? grad : grad.add(parameter, options.weight_decay());
  const double rate = options.lr() / (1 + static_cast<double>(state.step() - 1) * options.lr_decay());
  state.sum().addcmul_(update, update, 1.0);
  parameter.addcdiv_(update, state.sum().sqrt().add_(options.eps()), -rate);
}
}  // namespace

Tensor optim::Adagrad::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    if (group_step != nullptr && group_step(*this, group)) continue;
    const auto& options = static_cast<const AdagradOptions&>(group.options());
    for (const Tensor& parameter : group.params())
      if (parameter.grad().defined()) adagrad_update(parameter, parameter.grad(), state_of<AdagradParamState>(parameter), options);
  }
  return loss;
}

}  // namespace tinytorch
