// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/optimizer.h"

#include <algorithm>

namespace tinytorch {

optim::Fields optim::OptimizerOptions::fields() { return {}; }

void optim::copy_untouched(OptimizerOptions& to, OptimizerOptions&& untouched, OptimizerOptions& from) {
  const Fields own_fields = to.fields();
  const Fields first_fields = untouched.fields();
  const Fields default_fields = from.fields();
  for (std::size_t i = 0; i < own_fields.size(); ++i) {
    std::visit(
        [&](auto* own) {
          using Value = std::remove_pointer_t<decltype(own)>;
          if constexpr (!std::is_same_v<Value, Tensor> && !std::is_same_v<Value, std::deque<Tensor>>) {  // options hold no tensors
            if (*own == *std::get<Value*>(first_fields.at(i).second)) *own = *std::get<Value*>(default_fields.at(i).second);
          }
        },
        own_fields[i].second);
  }
}

void optim::refuse_foreign_options() {
  throw TypeError("the options of this parameter group are of another optimizer\n[add_param_group] give the group the options type of its optimizer, such as SGDOptions to SGD.");
}

optim::Fields optim::OptimizerParamState::fields() {
  throw NotImplementedError("fields() is not implemented for this optimizer's state\n[save] override it to list the tensors and numbers that a checkpoint must hold.");
}

std::string optim::Optimizer::name() const {
  throw NotImplementedError("name() is not implemented for this optimizer\n[save] override name() and make_state(), and fields() of its state and options, so that it can be saved.");
}

std::unique_ptr<optim::OptimizerParamState> optim::Optimizer::make_state() const {
  throw NotImplementedError("make_state() is not implemented for this optimizer\n[load] override it to return a fresh state for one parameter.");
}

std::size_t optim::Optimizer::size() const noexcept {
  std::size_t count = 0;
  for (const OptimizerParamGroup& group : param_groups_) count += group.params().size();
  return count;
}

optim::OptimizerOptions& optim::OptimizerParamGroup::options() {
  TORCH_CHECK(has_options(), "this parameter group has no options yet\n[optim] add it to an optimizer, or give it options.");
  return *options_;
}

const optim::OptimizerOptions& optim::OptimizerParamGroup::options() const {
  return const_cast<OptimizerParamGroup&>(*this).options();
}

optim::OptimizerParamGroup::OptimizerParamGroup(std::vector<Tensor> params) : params_(std::move(params)) {}
optim::OptimizerParamGroup::OptimizerParamGroup(std::vector<Tensor> params, std::unique_ptr<OptimizerOptions> options)
    : params_(std::move(params)), options_(std::move(options)) {}
optim::OptimizerParamGroup::OptimizerParamGroup(const OptimizerParamGroup& other)
    : params_(other.params_), options_(other.options_ ? other.options_->clone() : nullptr), initial_lr_(other.initial_lr_) {}
optim::OptimizerParamGroup::OptimizerParamGroup(OptimizerParamGroup&&) noexcept = default;
optim::OptimizerParamGroup& optim::OptimizerParamGroup::operator=(OptimizerParamGroup&&) noexcept = default;
optim::OptimizerParamGroup::~OptimizerParamGroup() = default;
void optim::OptimizerParamGroup::set_options(std::unique_ptr<OptimizerOptions> options) { options_ = std::move(options); }

optim::Optimizer::Optimizer(std::vector<OptimizerParamGroup> groups, std::unique_ptr<OptimizerOptions> defaults) : defaults_(std::move(defaults)) {
  for (const OptimizerParamGroup& group : groups) add_param_group(group);
}

optim::Optimizer::Optimizer(std::vector<Tensor> parameters, std::unique_ptr<OptimizerOptions> defaults)
    : Optimizer(std::vector<OptimizerParamGroup>{OptimizerParamGroup(std::move(parameters))}, std::move(defaults)) {}
optim::Optimizer::Optimizer(Optimizer&&) = default;
optim::Optimizer& optim::Optimizer::operator=(Optimizer&&) = default;
optim::Optimizer::~Optimizer() = default;

void optim::Optimizer::add_parameters(const std::vector<Tensor>& parameters) { add_param_group(OptimizerParamGroup(parameters)); }
std::vector<Tensor>& optim::Optimizer::parameters() { return param_groups_.at(0).params(); }
const std::vector<Tensor>& optim::Optimizer::parameters() const { return param_groups_.at(0).params(); }

Tensor optim::Optimizer::evaluate(const LossClosure& closure) {
  if (!closure) return {};
  const AutoGradMode recording(true);
  return closure();
}

// Appends a copy of `group`; without options of its own it gets a copy of the defaults (a copy: a scheduler changes each group's
// rate by itself), and its own options inherit from the defaults. Throws, and changes nothing, if a tensor is no leaf, or stands in another group or
// twice in this one, or if the options are of another optimizer.
void optim::Optimizer::add_param_group(const OptimizerParamGroup& group) {
  std::vector<Tensor> known;
  for (const OptimizerParamGroup& other : param_groups_) known.insert(known.end(), other.params().begin(), other.params().end());
  for (const Tensor& parameter : group.params()) {
    TORCH_CHECK(parameter.is_leaf(), "can't optimize a non-leaf Tensor\n[add_param_group] pass the tensor that the user made, not a result of an operator; detach() makes a leaf.");
    TORCH_CHECK(std::none_of(known.begin(), known.end(), [&](const Tensor& other) { return other.is_same(parameter); }),
                "some parameters appear in more than one parameter group\n[add_param_group] each would be updated more than once per step.");
    known.push_back(parameter);
  }
  OptimizerParamGroup added(group);
  if (added.has_options()) {
    added.options().inherit(*defaults_);
  } else {
    added.set_options(defaults_->clone());
  }
  param_groups_.push_back(std::move(added));
}

// Forgets the gradients of all parameters in all groups: makes them undefined, or, if not set_to_none, fills them with zeros outside of any
// graph. Parameters without a gradient stay without one. O(1) per parameter, or O(elements) for zeros.
void optim::Optimizer::zero_grad(bool set_to_none) {
  for (OptimizerParamGroup& group : param_groups_) {
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
