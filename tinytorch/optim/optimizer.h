// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/autograd.h"

namespace tinytorch {

namespace optim {

// What an optimizer remembers for one parameter (momentum buffers, step counts). Tensors and numbers are listed by name, so that
// a checkpoint can hold them. Source: torch/csrc/api/include/torch/optim/optimizer.h.
class OptimizerParamState {
 public:
  virtual ~OptimizerParamState() = default;
  virtual std::unique_ptr<OptimizerParamState> clone() const = 0;
  // The tensors and the counters of this state, by name, to read and to write.
  virtual std::vector<std::pair<std::string, Tensor*>> named_tensors() = 0;
  virtual std::vector<std::pair<std::string, std::int64_t*>> named_counters() = 0;
};

// The settings of a parameter group.
class OptimizerOptions {
 public:
  virtual ~OptimizerOptions() = default;
  virtual std::unique_ptr<OptimizerOptions> clone() const = 0;
  virtual double get_lr() const = 0;
  virtual void set_lr(double lr) = 0;
};

template <class Derived>
class OptimizerCloneableParamState : public OptimizerParamState {
  std::unique_ptr<OptimizerParamState> clone() const override { return std::make_unique<Derived>(static_cast<const Derived&>(*this)); }
};

template <class Derived>
class OptimizerCloneableOptions : public OptimizerOptions {
  std::unique_ptr<OptimizerOptions> clone() const override { return std::make_unique<Derived>(static_cast<const Derived&>(*this)); }
  double get_lr() const override { return static_cast<const Derived&>(*this).lr(); }
  void set_lr(double rate) override { static_cast<Derived&>(*this).lr(rate); }
};

}  // namespace optim

namespace optim {

// Parameters that share settings. Without settings of its own a group takes the optimizer's defaults.
class OptimizerParamGroup {
 public:
  OptimizerParamGroup(std::vector<Tensor> params) : params_(std::move(params)) {}
  OptimizerParamGroup(std::vector<Tensor> params, std::unique_ptr<OptimizerOptions> options)
      : params_(std::move(params)), options_(std::move(options)) {}
  OptimizerParamGroup(const OptimizerParamGroup& other) : params_(other.params_), options_(other.options_ ? other.options_->clone() : nullptr) {}
  OptimizerParamGroup(OptimizerParamGroup&&) = default;
  OptimizerParamGroup& operator=(OptimizerParamGroup&&) = default;
  ~OptimizerParamGroup() = default;

  bool has_options() const { return options_ != nullptr; }
  OptimizerOptions& options();
  const OptimizerOptions& options() const;
  void set_options(std::unique_ptr<OptimizerOptions> options) { options_ = std::move(options); }
  std::vector<Tensor>& params() { return params_; }
  const std::vector<Tensor>& params() const { return params_; }

 private:
  std::vector<Tensor> params_;
  std::unique_ptr<OptimizerOptions> options_;
};

// Changes parameters by their gradients. State is kept per parameter, under the address of its TensorImpl.
class Optimizer {
 public:
  using LossClosure = std::function<Tensor()>;
  using State = std::unordered_map<void*, std::unique_ptr<OptimizerParamState>>;

  Optimizer(std::vector<OptimizerParamGroup> groups, std::unique_ptr<OptimizerOptions> defaults);
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;
  virtual ~Optimizer() = default;

  // One update of every parameter that has a gradient. A closure, if given, computes the loss and its gradients first; its result
  // is returned, or an undefined tensor.
  virtual Tensor step(LossClosure closure = nullptr) = 0;
  // The name under which a checkpoint keeps it.
  virtual std::string name() const = 0;
  // A fresh state for one parameter, for loading.
  virtual std::unique_ptr<OptimizerParamState> make_state() const = 0;

  void add_param_group(const OptimizerParamGroup& group);
  void zero_grad(bool set_to_none = true);
  std::vector<OptimizerParamGroup>& param_groups() { return groups_; }
  const std::vector<OptimizerParamGroup>& param_groups() const { return groups_; }
  State& state() { return state_; }
  const State& state() const { return state_; }
  const OptimizerOptions& defaults() const { return *defaults_; }

 protected:
  // The loss of the closure, computed with recording on; undefined without one.
  static Tensor evaluate(const LossClosure& closure);
  // The state of `parameter`, made at first use.
  template <class StateType>
  StateType& state_of(const Tensor& parameter);

 private:
  std::vector<OptimizerParamGroup> groups_;
  std::unique_ptr<OptimizerOptions> defaults_;
  State state_;
};

}  // namespace optim

template <class StateType>
StateType& optim::Optimizer::state_of(const Tensor& parameter) {
  std::unique_ptr<OptimizerParamState>& entry = state_[parameter.unsafeGetTensorImpl()];
  if (!entry) entry = make_state();
  return static_cast<StateType&>(*entry);
}

}  // namespace tinytorch
