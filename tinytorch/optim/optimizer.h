// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/autograd.h"

namespace tinytorch {

namespace serialize {
class OutputArchive;
class InputArchive;
}  // namespace serialize

namespace optim {

// One value of a group's options or of a parameter's state, to read and to write. Listed by name, so that a checkpoint can hold it.
using Field = std::variant<Tensor*, std::deque<Tensor>*, double*, std::int64_t*, bool*, std::optional<double>*, std::optional<std::int64_t>*, std::optional<std::string>*>;
using Fields = std::vector<std::pair<std::string, Field>>;

// What an optimizer remembers for one parameter (momentum buffers, step counts). Source: torch/csrc/api/include/torch/optim/optimizer.h.
class OptimizerParamState {
 public:
  virtual ~OptimizerParamState() = default;
  virtual std::unique_ptr<OptimizerParamState> clone() const = 0;
  virtual Fields fields();  // throws NotImplementedError unless overridden: such an optimizer trains, but cannot be saved
  // Whether it is about all parameters as one vector, instead of one parameter of its sizes.
  virtual bool spans_all_parameters() const { return false; }
};

// The settings of a parameter group.
class OptimizerOptions {
 public:
  virtual ~OptimizerOptions() = default;
  virtual std::unique_ptr<OptimizerOptions> clone() const = 0;
  virtual double get_lr() const = 0;
  virtual void set_lr(double lr) = 0;
  virtual Fields fields();  // none, unless overridden
  // Gives each field that still has its constructor's value the value of `defaults`. Throws if those are of another optimizer.
  virtual void inherit(OptimizerOptions& defaults) = 0;
};

// Copies each field of `to` that is equal to the one of `untouched` from `from`. The three list the same fields.
void copy_untouched(OptimizerOptions& to, OptimizerOptions&& untouched, OptimizerOptions& from);
// Throws: the options of a group belong to another optimizer.
[[noreturn]] void refuse_foreign_options();

template <class Derived>
class OptimizerCloneableParamState : public OptimizerParamState {
  std::unique_ptr<OptimizerParamState> clone() const override { return std::make_unique<Derived>(static_cast<const Derived&>(*this)); }
};

template <class Derived>
class OptimizerCloneableOptions : public OptimizerOptions {
  std::unique_ptr<OptimizerOptions> clone() const override { return std::make_unique<Derived>(static_cast<const Derived&>(*this)); }

 public:
  double get_lr() const override { return static_cast<const Derived&>(*this).lr(); }
  void set_lr(double rate) override { static_cast<Derived&>(*this).lr(rate); }
  void inherit(OptimizerOptions& defaults) override {
    if (dynamic_cast<Derived*>(&defaults) == nullptr) refuse_foreign_options();
    if constexpr (std::is_default_constructible_v<Derived>) {
      copy_untouched(*this, Derived(), defaults);
    } else if constexpr (std::is_constructible_v<Derived, double>) {
      copy_untouched(*this, Derived(1e-3), defaults);  // SGDOptions, whose rate libtorch compares with 1e-3
    }
  }
};

}  // namespace optim

namespace optim {

// Parameters that share settings. Without settings of its own a group takes the optimizer's defaults.
class OptimizerParamGroup {
 public:
  OptimizerParamGroup(std::vector<Tensor> params);
  OptimizerParamGroup(std::vector<Tensor> params, std::unique_ptr<OptimizerOptions> options);
  OptimizerParamGroup(const OptimizerParamGroup& other);  // with options of its own
  OptimizerParamGroup(OptimizerParamGroup&&) noexcept;
  OptimizerParamGroup& operator=(OptimizerParamGroup&&) noexcept;
  ~OptimizerParamGroup();

  bool has_options() const { return options_ != nullptr; }
  OptimizerOptions& options();
  const OptimizerOptions& options() const;
  void set_options(std::unique_ptr<OptimizerOptions> options);
  std::vector<Tensor>& params() { return params_; }
  const std::vector<Tensor>& params() const { return params_; }
  // The rate before any scheduler changed it; the first scheduler writes it down.
  std::optional<double>& initial_lr() { return initial_lr_; }
  const std::optional<double>& initial_lr() const { return initial_lr_; }

 private:
  std::vector<Tensor> params_;
  std::unique_ptr<OptimizerOptions> options_;
  std::optional<double> initial_lr_;
};

// Changes parameters by their gradients. State is kept per parameter, under the address of its TensorImpl.
class Optimizer {
 public:
  using LossClosure = std::function<Tensor()>;
  using State = std::unordered_map<void*, std::unique_ptr<OptimizerParamState>>;

  Optimizer(std::vector<OptimizerParamGroup> groups, std::unique_ptr<OptimizerOptions> defaults);
  Optimizer(std::vector<Tensor> parameters, std::unique_ptr<OptimizerOptions> defaults);
  Optimizer(const Optimizer&) = delete;
  Optimizer(Optimizer&&);
  Optimizer& operator=(const Optimizer&) = delete;
  Optimizer& operator=(Optimizer&&);
  virtual ~Optimizer();

  // One update of every parameter that has a gradient. A closure, if given, computes the loss and its gradients first; its result
  // is returned, or an undefined tensor.
  virtual Tensor step(LossClosure closure = nullptr) = 0;
  // The name under which a checkpoint keeps it, and a fresh state for one parameter, for loading. An optimizer that overrides neither trains,
  // but cannot be saved.
  virtual std::string name() const;
  virtual std::unique_ptr<OptimizerParamState> make_state() const;

  void add_param_group(const OptimizerParamGroup& group);
  void add_parameters(const std::vector<Tensor>& parameters);
  void zero_grad(bool set_to_none = true);
  std::vector<OptimizerParamGroup>& param_groups() noexcept { return param_groups_; }
  const std::vector<OptimizerParamGroup>& param_groups() const noexcept { return param_groups_; }
  // Those of the first group.
  std::vector<Tensor>& parameters();
  const std::vector<Tensor>& parameters() const;
  // How many parameters there are in all groups.
  std::size_t size() const noexcept;
  State& state() noexcept { return state_; }
  const State& state() const noexcept { return state_; }
  OptimizerOptions& defaults() noexcept { return *defaults_; }
  const OptimizerOptions& defaults() const noexcept { return *defaults_; }

  // A fused kernel: updates all parameters of a group that have a gradient in one walk and returns true, or changes nothing and returns false.
  using GroupStep = bool (*)(Optimizer& optimizer, OptimizerParamGroup& group);

  // State, options and rates, to and from an archive: module 08 defines both.
  void save(serialize::OutputArchive& archive) const;
  void load(serialize::InputArchive& archive);

 protected:
  // The loss of the closure, computed with recording on; undefined without one.
  static Tensor evaluate(const LossClosure& closure);
  // The state of `parameter`, made at first use.
  template <class StateType>
  StateType& state_of(const Tensor& parameter);

  std::vector<OptimizerParamGroup> param_groups_;
  State state_;
  std::unique_ptr<OptimizerOptions> defaults_;
};

}  // namespace optim

template <class StateType>
StateType& optim::Optimizer::state_of(const Tensor& parameter) {
  std::unique_ptr<OptimizerParamState>& entry = state_[parameter.unsafeGetTensorImpl()];
  if (!entry) entry = std::make_unique<StateType>();
  return static_cast<StateType&>(*entry);
}

}  // namespace tinytorch
