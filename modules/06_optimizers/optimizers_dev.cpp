// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Module 06: Optimizers
//
// (opening)

// %%
//| export optim/optimizer.h
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/autograd.h"
//| export optim/sgd.h
#include "tinytorch/optim/optimizer.h"
//| export optim/sgd.cpp
#include "tinytorch/core/ops.h"
//| export optim/adam.h
#include <tuple>
#include "tinytorch/optim/optimizer.h"
//| export optim/adam.cpp
#include <cmath>
#include "tinytorch/core/more_ops.h"
//| export optim/lr_scheduler.h
#include "tinytorch/optim/optimizer.h"
//| export optim/lr_scheduler.cpp
#include <cmath>

// %%
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations

// %%
//| export optim/optimizer.h
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

// %%
//| export optim/optimizer.h
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

  // One update of every parameter that has a gradient. A closure, if given, computes the loss and its gradients first; its result is returned.
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

// %%
//| export optim/optimizer.h
template <class StateType>
StateType& optim::Optimizer::state_of(const Tensor& parameter) {
  std::unique_ptr<OptimizerParamState>& entry = state_[parameter.unsafeGetTensorImpl()];
  if (!entry) entry = make_state();
  return static_cast<StateType&>(*entry);
}

// %%
//| export optim/optimizer.cpp
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

// %%
//| export optim/optimizer.cpp
void optim::Optimizer::add_param_group(const OptimizerParamGroup& group) {
  for (const Tensor& parameter : group.params()) {
    TORCH_CHECK(parameter.is_leaf(), "can't optimize a non-leaf Tensor");
    for (const OptimizerParamGroup& other : groups_)
      for (const Tensor& known : other.params())
        TORCH_CHECK(!known.is_same(parameter), "some parameters appear in more than one parameter group");
  }
  OptimizerParamGroup added(group);
  if (!added.has_options()) added.set_options(defaults_->clone());
  groups_.push_back(std::move(added));
}

// %%
//| export optim/optimizer.cpp
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

Tensor optim::Optimizer::evaluate(const LossClosure& closure) {
  if (!closure) return {};
  const AutoGradMode recording(true);
  return closure();
}

// %%
//| export optim/sgd.h
namespace optim {

struct SGDOptions : public OptimizerCloneableOptions<SGDOptions> {
  SGDOptions(double lr);
  TORCH_ARG(double, lr);
  TORCH_ARG(double, momentum) = 0;
  TORCH_ARG(double, dampening) = 0;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(bool, nesterov) = false;
};

struct SGDParamState : public OptimizerCloneableParamState<SGDParamState> {
  TORCH_ARG(Tensor, momentum_buffer);

 public:
  std::vector<std::pair<std::string, Tensor*>> named_tensors() override { return {{"momentum_buffer", &momentum_buffer()}}; }
  std::vector<std::pair<std::string, std::int64_t*>> named_counters() override { return {}; }
};

// Stochastic gradient descent: p -= lr * v with v = momentum * v + (1 - dampening) * g, where g includes weight_decay * p.
// Source: torch/csrc/api/src/optim/sgd.cpp; Sutskever et al. 2013.
class SGD : public Optimizer {
 public:
  SGD(std::vector<OptimizerParamGroup> groups, SGDOptions defaults);
  SGD(std::vector<Tensor> params, SGDOptions defaults) : SGD({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "SGD"; }
  std::unique_ptr<OptimizerParamState> make_state() const override { return std::make_unique<SGDParamState>(); }
};

}  // namespace optim

// %%
//| export optim/sgd.cpp
optim::SGDOptions::SGDOptions(double lr) : lr_(lr) {}

optim::SGD::SGD(std::vector<OptimizerParamGroup> groups, SGDOptions defaults) : Optimizer(std::move(groups), std::make_unique<SGDOptions>(defaults)) {
  TORCH_CHECK(defaults.lr() >= 0, "Invalid learning rate: ", defaults.lr());
  TORCH_CHECK(defaults.momentum() >= 0, "Invalid momentum value: ", defaults.momentum());
  TORCH_CHECK(defaults.weight_decay() >= 0, "Invalid weight_decay value: ", defaults.weight_decay());
  TORCH_CHECK(!defaults.nesterov() || (defaults.momentum() > 0 && defaults.dampening() == 0),
              "Nesterov momentum requires a momentum and zero dampening");
}

// %%
//| export optim/sgd.cpp
Tensor optim::SGD::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    const auto& options = static_cast<const SGDOptions&>(group.options());
    for (const Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      Tensor update = parameter.grad();
      if (options.weight_decay() != 0) update = update.add(parameter, options.weight_decay());
      if (options.momentum() != 0) {
        Tensor& buffer = state_of<SGDParamState>(parameter).momentum_buffer();
        if (!buffer.defined()) {
          buffer = update.clone();
        } else {
          buffer.mul_(options.momentum()).add_(update, 1 - options.dampening());
        }
        update = options.nesterov() ? update.add(buffer, options.momentum()) : buffer;
      }
      parameter.add_(update, -options.lr());
    }
  }
  return loss;
}

// %%
//| export optim/adam.h
namespace optim {

struct AdamOptions : public OptimizerCloneableOptions<AdamOptions> {
  AdamOptions(double lr = 1e-3) : lr_(lr) {}
  using betas_t = std::tuple<double, double>;
  TORCH_ARG(double, lr);
  TORCH_ARG(betas_t, betas) = std::make_tuple(0.9, 0.999);
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(bool, amsgrad) = false;
};

struct AdamWOptions : public OptimizerCloneableOptions<AdamWOptions> {
  AdamWOptions(double lr = 1e-3) : lr_(lr) {}
  using betas_t = std::tuple<double, double>;
  TORCH_ARG(double, lr);
  TORCH_ARG(betas_t, betas) = std::make_tuple(0.9, 0.999);
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 1e-2;
  TORCH_ARG(bool, amsgrad) = false;
};

struct AdamParamState : public OptimizerCloneableParamState<AdamParamState> {
  TORCH_ARG(std::int64_t, step) = 0;
  TORCH_ARG(Tensor, exp_avg);
  TORCH_ARG(Tensor, exp_avg_sq);
  TORCH_ARG(Tensor, max_exp_avg_sq);

 public:
  std::vector<std::pair<std::string, Tensor*>> named_tensors() override {
    return {{"exp_avg", &exp_avg()}, {"exp_avg_sq", &exp_avg_sq()}, {"max_exp_avg_sq", &max_exp_avg_sq()}};
  }
  std::vector<std::pair<std::string, std::int64_t*>> named_counters() override { return {{"step", &step()}}; }
};

// Adam: a step of lr * m / (sqrt(v) + eps) with running means m of the gradient and v of its square, both corrected for starting at 0;
// weight decay is added to the gradient. Source: Kingma and Ba 2015; torch/csrc/api/src/optim/adam.cpp.
class Adam : public Optimizer {
 public:
  Adam(std::vector<OptimizerParamGroup> groups, AdamOptions defaults = {});
  Adam(std::vector<Tensor> params, AdamOptions defaults = {}) : Adam({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "Adam"; }
  std::unique_ptr<OptimizerParamState> make_state() const override { return std::make_unique<AdamParamState>(); }
};

// AdamW: Adam whose weight decay shrinks the parameter itself, apart from the gradient. Source: Loshchilov and Hutter 2019.
class AdamW : public Optimizer {
 public:
  AdamW(std::vector<OptimizerParamGroup> groups, AdamWOptions defaults = {});
  AdamW(std::vector<Tensor> params, AdamWOptions defaults = {}) : AdamW({OptimizerParamGroup(std::move(params))}, std::move(defaults)) {}
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "AdamW"; }
  std::unique_ptr<OptimizerParamState> make_state() const override { return std::make_unique<AdamParamState>(); }
};

}  // namespace optim

// %%
//| export optim/adam.cpp
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

// %%
//| export optim/adam.cpp
namespace {
// One update of `parameter` by `grad`, as Adam and AdamW share it.
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
  state.exp_avg_sq().mul_(beta2).add_(grad * grad, 1 - beta2);

  // The means start at 0 and are too small at first: divided by what a constant gradient would have reached.
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(state.step()));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(state.step()));
  Tensor square = state.exp_avg_sq();
  if (options.amsgrad()) {
    state.max_exp_avg_sq().copy_(maximum(state.max_exp_avg_sq(), square));
    square = state.max_exp_avg_sq();
  }
  const Tensor denominator = (square.sqrt() / std::sqrt(correction2)).add_(options.eps());
  parameter.add_(state.exp_avg() / denominator, -options.lr() / correction1);
}
}  // namespace

// %%
//| export optim/adam.cpp
Tensor optim::Adam::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
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

// %%
//| export optim/adam.cpp
Tensor optim::AdamW::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    const auto& options = static_cast<const AdamWOptions&>(group.options());
    for (const Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      parameter.mul_(1 - options.lr() * options.weight_decay());
      adam_update(parameter, parameter.grad(), state_of<AdamParamState>(parameter), options);
    }
  }
  return loss;
}

// %%
//| export optim/lr_scheduler.h
namespace optim {

// Sets the learning rate of every group after each epoch (or step). Source: torch/csrc/api/include/torch/optim/schedulers/lr_scheduler.h.
class LRScheduler {
 public:
  explicit LRScheduler(Optimizer& optimizer);
  virtual ~LRScheduler() = default;
  void step();
  std::int64_t step_count() const { return step_count_; }
  void set_step_count(std::int64_t count) { step_count_ = count; }

 protected:
  // The rates for step_count_, one for each group.
  virtual std::vector<double> get_lrs() = 0;
  std::vector<double> get_current_lrs() const;
  Optimizer& optimizer_;
  std::vector<double> base_lrs_;
  std::int64_t step_count_ = 0;
};

// Multiplies the rate by gamma every step_size steps.
class StepLR : public LRScheduler {
 public:
  StepLR(Optimizer& optimizer, unsigned step_size, double gamma = 0.1) : LRScheduler(optimizer), step_size_(step_size), gamma_(gamma) {}

 private:
  std::vector<double> get_lrs() override;
  unsigned step_size_;
  double gamma_;
};

// From the first rate to eta_min along half a cosine over T_max steps. Source: Loshchilov and Hutter 2017.
class CosineAnnealingLR : public LRScheduler {
 public:
  CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min = 0) : LRScheduler(optimizer), T_max_(T_max), eta_min_(eta_min) {}

 private:
  std::vector<double> get_lrs() override;
  std::int64_t T_max_;
  double eta_min_;
};

}  // namespace optim

// %%
//| export optim/lr_scheduler.cpp
optim::LRScheduler::LRScheduler(Optimizer& optimizer) : optimizer_(optimizer), base_lrs_(get_current_lrs()) {}

std::vector<double> optim::LRScheduler::get_current_lrs() const {
  std::vector<double> rates;
  for (const OptimizerParamGroup& group : optimizer_.param_groups()) rates.push_back(group.options().get_lr());
  return rates;
}

void optim::LRScheduler::step() {
  ++step_count_;
  const std::vector<double> rates = get_lrs();
  std::vector<OptimizerParamGroup>& groups = optimizer_.param_groups();
  TORCH_CHECK(rates.size() == groups.size(), "Number of learning rates not equal to the number of param groups\nNumber of learning rates given: ",
              rates.size(), "\nNumber of param groups: ", groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i) groups[i].options().set_lr(rates[i]);
}

std::vector<double> optim::StepLR::get_lrs() {
  std::vector<double> rates = get_current_lrs();
  if (step_count_ % step_size_ == 0)
    for (double& rate : rates) rate *= gamma_;
  return rates;
}

std::vector<double> optim::CosineAnnealingLR::get_lrs() {
  std::vector<double> rates = base_lrs_;
  const double progress = static_cast<double>(step_count_) / static_cast<double>(T_max_);
  for (double& rate : rates) rate = eta_min_ + (rate - eta_min_) * (1 + std::cos(3.14159265358979323846 * progress)) / 2;
  return rates;
}

// %% [markdown]
// ## Part 2: Systems analysis

// %% [markdown]
// ## Part 3: Production context

// %% [markdown]
// ## Integration test

// %% [markdown]
// ## ML systems thinking

// %% [markdown]
// ## Module summary

// %%
}  // namespace tinytorch
