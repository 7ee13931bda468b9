// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/optimizer.h"

#include <algorithm>

namespace tinytorch {

optim::OptimizerOptions& optim::OptimizerParamGroup::options() {
  TORCH_CHECK(has_options(), "this parameter group has no options yet\n[optim] add it to an optimizer, or give it options.");
  return *options_;
}

const optim::OptimizerOptions& optim::OptimizerParamGroup::options() const {
  return const_cast<OptimizerParamGroup&>(*this).options();
}

optim::Optimizer::Optimizer(std::vector<OptimizerParamGroup> groups, std::unique_ptr<OptimizerOptions> defaults) : defaults_(std::move(defaults)) {
  for (const OptimizerParamGroup& group : groups) add_param_group(group);
}

Tensor optim::Optimizer::evaluate(const LossClosure& closure) {
  if (!closure) return {};
  const AutoGradMode recording(true);
  return closure();
}

// Appends a copy of `group`; without options of its own it gets a copy of the defaults (a copy: a scheduler changes each group's
// rate by itself). Throws, and changes nothing, if a tensor is no leaf, or stands in another group or twice in this one.
void optim::Optimizer::add_param_group(const OptimizerParamGroup& group) {
  std::vector<Tensor> known;
  for (const OptimizerParamGroup& other : groups_) known.insert(known.end(), other.params().begin(), other.params().end());
  for (const Tensor& parameter : group.params()) {
    TORCH_CHECK(parameter.is_leaf(), "can't optimize a non-leaf Tensor\n[add_param_group] pass the tensor that the user made, not a result of an operator; detach() makes a leaf.");
    TORCH_CHECK(std::none_of(known.begin(), known.end(), [&](const Tensor& other) { return other.is_same(parameter); }),
                "some parameters appear in more than one parameter group\n[add_param_group] each would be updated more than once per step.");
    known.push_back(parameter);
  }
  OptimizerParamGroup added(group);
  if (!added.has_options()) added.set_options(defaults_->clone());
  groups_.push_back(std::move(added));
}

// Forgets the gradients of all parameters in all groups: makes them undefined, or, if not set_to_none, fills them with zeros outside of any
// graph. Parameters without a gradient stay without one. O(1) per parameter, or O(elements) for zeros.
void optim::Optimizer::zero_grad(bool set_to_none) {
  for (OptimizerParamGroup& group : groups_) {
    for (const Tensor& parameter : group.params()) {
      Tensor& grad = parameter.mutable_grad();
      if (!grad.defined()) continue;
      if (set_to_none) {
        grad = Tensor();
      } else {
        grad = grad.detach();
        grad.zero_();
      }
    }
  }
}

}  // namespace tinytorch
