// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/sgd.h"

#include "tinytorch/core/ops.h"

namespace tinytorch {

optim::Fields optim::SGDOptions::fields() {
  return {{"lr", &lr_}, {"momentum", &momentum_}, {"dampening", &dampening_}, {"weight_decay", &weight_decay_}, {"nesterov", &nesterov_}};
}
optim::Fields optim::SGDParamState::fields() { return {{"momentum_buffer", &momentum_buffer_}}; }
optim::SGD::SGD(std::vector<Tensor> params, SGDOptions defaults) : SGD({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
std::unique_ptr<optim::OptimizerParamState> optim::SGD::make_state() const { return std::make_unique<SGDParamState>(); }

optim::SGDOptions::SGDOptions(double lr) : lr_(lr) {}

optim::SGD::SGD(std::vector<OptimizerParamGroup> groups, SGDOptions defaults) : Optimizer(std::move(groups), std::make_unique<SGDOptions>(defaults)) {
  TORCH_CHECK(defaults.lr() >= 0, "Invalid learning rate: ", defaults.lr());
  TORCH_CHECK(defaults.momentum() >= 0, "Invalid momentum value: ", defaults.momentum());
  TORCH_CHECK(defaults.weight_decay() >= 0, "Invalid weight_decay value: ", defaults.weight_decay());
  TORCH_CHECK(!defaults.nesterov() || (defaults.momentum() > 0 && defaults.dampening() == 0),
              "Nesterov momentum requires a momentum and zero dampening");
}

// One update of `parameter` (in place) by `grad`, which stays as it is. The buffer of `state` is used and made only with momentum.
// REQUIRES: recording is off. O(elements); one temporary of the parameter's size for each of weight decay and Nesterov.
namespace {
void sgd_update(const Tensor& parameter, const Tensor& grad, optim::SGDParamState& state, const optim::SGDOptions& options) {
  Tensor update = grad;
  if (options.weight_decay() != 0) update = update.add(parameter, options.weight_decay());
  if (options.momentum() != 0) {
    Tensor& buffer = state.momentum_buffer();
    if (!buffer.defined()) {
      buffer = update.clone();
    } else {
      buffer.mul_(options.momentum()).add_(update, 1 - options.dampening());
    }
    update = options.nesterov() ? update.add(buffer, options.momentum()) : buffer;
  }
  parameter.add_(update, -options.lr());
}
}  // namespace

Tensor optim::SGD::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    if (group_step != nullptr && group_step(*this, group)) continue;
    const auto& options = static_cast<const SGDOptions&>(group.options());
    for (const Tensor& parameter : group.params())
      if (parameter.grad().defined()) sgd_update(parameter, parameter.grad(), state_of<SGDParamState>(parameter), options);
  }
  return loss;
}

}  // namespace tinytorch
