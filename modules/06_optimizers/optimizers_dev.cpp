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
// Module 05 answers the question "which way is down?" for every parameter. This module decides how far to go. The plain answer, `p -= lr * grad`, is one line, and it trains badly: it creeps along valleys, jumps out of ravines, and
// treats a weight that is pushed in every step like one that is pushed once in a thousand.
//
// Better answers *remember*. Momentum keeps a running sum of gradients, Adam keeps a running mean of the gradient and of its square. That memory is the systems side of this module: it exists once **per parameter element**, it can be larger than
// the model, it must be saved with the model, and every step reads and writes all of it.
//
// **Objectives.** After this module you can
//
// - derive momentum, Nesterov's variant, what RMSprop divides by, Adam's bias correction, and say what decoupled weight decay changes;
// - implement SGD, RMSprop, Adam and AdamW with parameter groups so that every step gives PyTorch's numbers;
// - say where an optimizer keeps its state, why it is keyed by parameter, and what it costs in bytes and in time;
// - recognize three common faults of training runs by what the loss does.
//
// **Where it sits.** Below it: gradients from module 05 and the parameters of module 03's tree. Above it: the training loop of module 08, which saves this module's state, and the fused (one pass over memory) and sharded (spread over machines) versions of modules 16 and 19.
//
// **Prerequisites.** Modules 01 to 05, and library chapter 90 for the operators that the text names; gradients and the exponential mean (introduced below).

// %%
//| export optim/optimizer.h
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
//| export optim/optimizer.cpp
#include <algorithm>
//| export optim/sgd.h
#include "tinytorch/optim/optimizer.h"
//| export optim/sgd.cpp
#include "tinytorch/core/ops.h"
//| export optim/adagrad.h
#include "tinytorch/optim/optimizer.h"
//| export optim/adagrad.cpp
#include "tinytorch/core/more_ops.h"
//| export optim/rmsprop.h
#include "tinytorch/optim/optimizer.h"
//| export optim/rmsprop.cpp
#include "tinytorch/core/more_ops.h"
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
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/mlp.h"
#include "tinytorch/nn/module.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### Why one step length does not fit
//
// Near a minimum a loss looks like a bowl: `f = (c1 x1^2 + c2 x2^2 + ...) / 2`, with a curvature `c` in each direction. The slope along a coordinate is `c x`, so a step of gradient descent multiplies it by `1 - lr * c`. That shrinks only while `lr < 2 / c`, so the
// *steepest* direction limits the rate, and the *flattest* direction then needs about `c_max / c_min` steps. This ratio is the condition number, and for networks it is large.
//
//       steep across (c = 25)                         lr too large:  x -> -1.1 x -> 1.2 x ...   bounces out
//       \  |  /                                       lr just right for it:  the flat direction crawls
//        \ | /
//     ----\|/----------------------------->  flat along (c = 1)
//
// All methods of this module cost O(1) arithmetic per element and step. They differ in what they remember, so in bytes:
//
//       method                 remembers per element             extra memory, as multiples of the parameters
//       SGD                    nothing                           0
//       SGD with momentum      running sum of gradients          1
//       Adagrad                sum of g^2                        1
//       RMSprop                running mean of g^2               1 (centered 2, with momentum one more)
//       Adam, AdamW            running mean of g and of g^2      2
//       AMSGrad                also the largest mean of g^2      3
//
// Part 2 measures that column.
//
// ### What every optimizer has
//
// An optimizer is a list of *groups*: parameters that share settings (a smaller rate for pretrained layers, no weight decay for biases). Its state is a map from parameter to whatever the method remembers for it.
//
//       Optimizer
//         param_groups                                      state
//         ┌───────────────────────────────────┐             TensorImpl* of fc1.weight --> { step 7, exp_avg (32, 64), exp_avg_sq (32, 64) }
//         │ [fc1.weight, fc2.weight]  lr 1e-3 │             TensorImpl* of fc2.weight --> { step 7, exp_avg (10, 32), ... }
//         │ [fc1.bias,   fc2.bias  ]  lr 1e-3 │             TensorImpl* of fc1.bias   --> { step 7, ... }
//         └───────────────────────────────────┘             (a parameter that never had a gradient has no entry)
//
// The key is the address of the parameter's TensorImpl, not its name and not its data: an optimizer knows no modules, and `module.to(dtype)` may replace the data but keeps the tensor. An address is a safe key because the groups hold the tensors,
// so none of them can be freed and its address given to another.
//
// The code begins with what these boxes are made of. A *state* is a few named tensors and counters, *options* are a few named settings, one of which is the rate; `fields()` lists either by name and address, so that code which knows no SGD or Adam (a checkpoint, a
// schedule) can read and write them. The two templates write `clone()` and the access to the rate for every concrete class. Read over them now; `SGDOptions` and `SGDParamState`, further down, show how little is left to say for each optimizer.

// %%
//| export optim/optimizer.h
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

// %%
//| export optim/optimizer.h
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

// %%
//| export optim/optimizer.h
template <class StateType>
StateType& optim::Optimizer::state_of(const Tensor& parameter) {
  std::unique_ptr<OptimizerParamState>& entry = state_[parameter.unsafeGetTensorImpl()];
  if (!entry) entry = std::make_unique<StateType>();
  return static_cast<StateType&>(*entry);
}

// %%
//| export optim/optimizer.cpp
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

// %%
//| export optim/optimizer.cpp
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

// %% [markdown]
// The first concrete optimizer is SGD. Its update comes below; its interface stands here, so that groups can be tested on it. `TORCH_ARG` (module 03) makes a private member with setters and getters of its name: `options.momentum()` reads
// the momentum, `options.momentum(0.9)` sets it, and `state.momentum_buffer()` is a reference to the tensor itself, which can be assigned and changed in place.

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

 public:
  Fields fields() override;
};

struct SGDParamState : public OptimizerCloneableParamState<SGDParamState> {
  TORCH_ARG(Tensor, momentum_buffer);

 public:
  Fields fields() override;
};

// Stochastic gradient descent: p -= lr * v with v = momentum * v + (1 - dampening) * g, where g includes weight_decay * p.
// Source: torch/csrc/api/src/optim/sgd.cpp; Sutskever et al. 2013.
class SGD : public Optimizer {
 public:
  SGD(std::vector<OptimizerParamGroup> groups, SGDOptions defaults);
  SGD(std::vector<Tensor> params, SGDOptions defaults);
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "SGD"; }
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
  std::unique_ptr<OptimizerParamState> make_state() const override;
};

}  // namespace optim

// %%
//| export optim/sgd.cpp
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

// %% [markdown]
// Adding a group is where mistakes of the user can be found, so that is where they are refused. A parameter that stands in two groups would be updated twice per step. A tensor that is not a leaf (`is_leaf()` of module 05: a result of a recorded operator) gets no gradient: an optimizer that accepted it would
// do nothing, without a word.
//
// A group's options may say only what differs. In Python, `{"params": p, "weight_decay": 0.1}` takes everything else from the optimizer's defaults. C++ options
// have no "not given", so libtorch compares: a field that still has the value of the options' *constructor* takes the default's value.
//
//       group:     SGDOptions(0.01)                      lr 0.01   momentum 0     weight_decay 0
//       defaults:  SGDOptions(0.1).momentum(0.9)         lr 0.1    momentum 0.9   weight_decay 0
//       inherit    what is as the constructor left it    lr 0.01   momentum 0.9   weight_decay 0
//
// The price: a group cannot ask for a constructor's value that differs from the defaults (`weight_decay(0)` beside defaults with 0.5 becomes 0.5). Who wants that
// leaves the defaults alone and gives the setting to the groups that need it. `inherit()` does the comparison; `fields()`, which it uses, lists the options by name, and will
// serve module 08 to write them into a checkpoint.

// %% {"nbgrader": {"grade": false, "grade_id": "06-add-group", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/optimizer.cpp
// Appends a copy of `group`; without options of its own it gets a copy of the defaults (a copy: a scheduler changes each group's
// rate by itself), and its own options inherit from the defaults. Throws, and changes nothing, if a tensor is no leaf, or stands in another group or
// twice in this one, or if the options are of another optimizer.
//
// TODO: Check every parameter of the group, then append it.
// APPROACH: 1. "can't optimize a non-leaf Tensor". 2. "some parameters appear in more than one parameter group", by is_same() with
//           the parameters seen before it. 3. Copy the group; set_options(defaults_->clone()) where it has none, else options().inherit(*defaults_). 4. Append
//           it to param_groups_.
// EXAMPLE: optim::SGD({a, b}, 0.1).add_param_group({{a}}) throws.
// HINT: collect what is known so far in one vector: the parameters of all groups, then those of this group one by one.
void optim::Optimizer::add_param_group(const OptimizerParamGroup& group) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 06-add-group keeps-duplicates
//| says A parameter was accepted twice. It would be updated twice in every step, with one momentum buffer for both.
#if 0
void optim::Optimizer::add_param_group(const OptimizerParamGroup& group) {
  for (const Tensor& parameter : group.params()) TORCH_CHECK(parameter.is_leaf(), "can't optimize a non-leaf Tensor");
  OptimizerParamGroup added(group);
  if (added.has_options()) added.options().inherit(*defaults_);
  else added.set_options(defaults_->clone());
  param_groups_.push_back(std::move(added));
}
#endif

// %%
//| mistake 06-add-group checks-only-this-group
//| says The parameters of the earlier groups count, too: compare with all that the optimizer has, not only within the new group.
#if 0
void optim::Optimizer::add_param_group(const OptimizerParamGroup& group) {
  std::vector<Tensor> known;
  for (const Tensor& parameter : group.params()) {
    TORCH_CHECK(parameter.is_leaf(), "can't optimize a non-leaf Tensor");
    for (const Tensor& other : known) TORCH_CHECK(!other.is_same(parameter), "some parameters appear in more than one parameter group");
    known.push_back(parameter);
  }
  OptimizerParamGroup added(group);
  if (added.has_options()) added.options().inherit(*defaults_);
  else added.set_options(defaults_->clone());
  param_groups_.push_back(std::move(added));
}
#endif

// %%
//| mistake 06-add-group inherits-nothing
//| says A group with options of its own still takes from the defaults what it did not set: here its momentum stayed 0. Call options().inherit(*defaults_).
#if 0
void optim::Optimizer::add_param_group(const OptimizerParamGroup& group) {
  std::vector<Tensor> known;
  for (const OptimizerParamGroup& other : param_groups_) known.insert(known.end(), other.params().begin(), other.params().end());
  for (const Tensor& parameter : group.params()) {
    TORCH_CHECK(parameter.is_leaf(), "can't optimize a non-leaf Tensor");
    for (const Tensor& other : known) TORCH_CHECK(!other.is_same(parameter), "some parameters appear in more than one parameter group");
    known.push_back(parameter);
  }
  OptimizerParamGroup added(group);
  if (!added.has_options()) added.set_options(defaults_->clone());
  param_groups_.push_back(std::move(added));
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "06-add-group-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("parameter groups: own settings or a copy of the defaults, no parameter twice, leaves only") {
  const Tensor a = ones({2}, kDouble);
  const Tensor b = ones({2}, kDouble);
  a.requires_grad_();
  b.requires_grad_();
  optim::SGD optimizer({a}, 0.1);
  optimizer.add_param_group(optim::OptimizerParamGroup({b}, std::make_unique<optim::SGDOptions>(0.01)));
  REQUIRE_EQ(optimizer.param_groups().size(), 2);
  CHECK_EQ(optimizer.param_groups()[0].options().get_lr(), 0.1);
  CHECK_EQ(optimizer.param_groups()[1].options().get_lr(), 0.01);
  optimizer.param_groups()[0].options().set_lr(0.5);
  CHECK_EQ(optimizer.defaults().get_lr(), 0.1);

  CHECK_ERROR(optimizer.add_param_group(optim::OptimizerParamGroup({a})), "some parameters appear in more than one parameter group");
  const Tensor c = ones({2});
  CHECK_ERROR(optimizer.add_param_group(optim::OptimizerParamGroup({c, c})), "some parameters appear in more than one parameter group");
  CHECK_ERROR(optimizer.add_param_group(optim::OptimizerParamGroup({a * 2})), "can't optimize a non-leaf Tensor");
  CHECK_EQ(optimizer.param_groups().size(), 2);

  const Tensor d = ones({2});
  const Tensor e = ones({2});
  optim::SGD with_momentum({optim::OptimizerParamGroup({d}, std::make_unique<optim::SGDOptions>(0.01)),
                            optim::OptimizerParamGroup({e}, std::make_unique<optim::SGDOptions>(optim::SGDOptions(0.02).momentum(0.5)))},
                           optim::SGDOptions(0.1).momentum(0.9));
  const auto momentum_of = [&](std::size_t i) { return static_cast<const optim::SGDOptions&>(with_momentum.param_groups()[i].options()).momentum(); };
  CHECK_EQ(with_momentum.param_groups()[0].options().get_lr(), 0.01);
  CHECK_EQ(momentum_of(0), 0.9);
  CHECK_EQ(momentum_of(1), 0.5);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(with_momentum.size(), 2);
  CHECK_EQ(with_momentum.parameters().size(), 1);
  struct OtherOptions : optim::OptimizerCloneableOptions<OtherOptions> {
    TORCH_ARG(double, lr) = 0.1;

   public:
    optim::Fields fields() override { return {{"lr", &lr_}}; }
  };
  CHECK_ERROR(optimizer.add_param_group(optim::OptimizerParamGroup({c}, std::make_unique<OtherOptions>())), "are of another optimizer");
  CHECK_EQ(optimizer.param_groups().size(), 2);
  (a.sum() + b.sum()).backward();
  optimizer.step();
  CHECK_CLOSE(a.detach(), full({2}, 0.5, kDouble));
  CHECK_CLOSE(b.detach(), full({2}, 0.99, kDouble));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Zeroing gradients
//
// `backward()` *adds* into `grad`. That is what makes accumulation over several batches possible, and it makes forgetting to clear the most common fault of training loops. There are two ways to clear, and the default frees:
//
//       set_to_none (default)                     zero
//       grad ──> (nothing)                        grad ──> [0 0 0 0]
//       memory is free until the next backward    one pass over memory now; the next backward adds to zeros
//       a parameter without gradient is skipped   a gradient of 0 still decays weights and moves by momentum

// %% {"nbgrader": {"grade": false, "grade_id": "06-zero-grad", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/optimizer.cpp
// Forgets the gradients of all parameters in all groups: makes them undefined, or, if not set_to_none, fills them with zeros outside of any
// graph. Parameters without a gradient stay without one. O(1) per parameter, or O(elements) for zeros.
//
// TODO: Clear the gradient of every parameter.
// APPROACH: parameter.mutable_grad() is the gradient, to read and to replace. For zeros: detach it first (a gradient made with create_graph
//           has a history), then zero_().
// EXAMPLE: after zero_grad(), parameter.grad().defined() is false; after zero_grad(false) it is a tensor of zeros.
void optim::Optimizer::zero_grad(bool set_to_none) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 06-zero-grad first-group-only
//| says Only the first group was cleared. An optimizer may have several; the gradients of the others keep adding up.
#if 0
void optim::Optimizer::zero_grad(bool set_to_none) {
  for (const Tensor& parameter : param_groups_.front().params()) {
    Tensor& grad = parameter.mutable_grad();
    if (!grad.defined()) continue;
    if (set_to_none) grad = Tensor();
    else grad.zero_();
  }
}
#endif

// %%
//| mistake 06-zero-grad always-zeros
//| says set_to_none makes the gradient undefined: its memory is free, and a parameter that takes no part in the next step is skipped.
#if 0
void optim::Optimizer::zero_grad(bool set_to_none) {
  static_cast<void>(set_to_none);
  for (OptimizerParamGroup& group : param_groups_)
    for (const Tensor& parameter : group.params())
      if (parameter.grad().defined()) parameter.mutable_grad().zero_();
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "06-zero-grad-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("zero_grad: every group, to nothing or to zeros") {
  const Tensor a = ones({2});
  const Tensor b = ones({3});
  const Tensor idle = ones({1});
  for (const Tensor& parameter : {a, b, idle}) parameter.requires_grad_();
  optim::SGD optimizer({optim::OptimizerParamGroup({a, idle}), optim::OptimizerParamGroup({b})}, 0.1);
  (a.sum() + b.sum()).backward();
  optimizer.zero_grad(false);
  REQUIRE(a.grad().defined());
  CHECK_EQ(a.grad(), zeros({2}));
  CHECK_EQ(b.grad(), zeros({3}));
  CHECK(!idle.grad().defined());
  (a.sum() + b.sum()).backward();
  CHECK_EQ(a.grad(), ones({2}));
  optimizer.zero_grad();
  CHECK(!a.grad().defined());
  CHECK(!b.grad().defined());
  // BEGIN HIDDEN TESTS
  (a * a).sum().backward({}, false, true);
  CHECK(a.grad().requires_grad());
  optimizer.zero_grad(false);
  CHECK(!a.grad().requires_grad());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Momentum
//
// A ball that rolls keeps its speed. Let `v` be a running sum of gradients that forgets by a factor `m` per step:
//
//       v_t = m v_(t-1) + g_t                  p_t = p_(t-1) - lr v_t
//
//       v_t = g_t + m g_(t-1) + m^2 g_(t-2) + ...        a gradient that stays the same adds up to  g / (1 - m)
//
//       along the valley:   → → → →            the same sign each time:  up to 10 x faster at m = 0.9
//       across the valley:  ↑ ↓ ↑ ↓            alternating signs cancel
//
// So the effective rate is `lr / (1 - m)`; whoever raises `m` from 0.9 to 0.99 and keeps `lr` has made the steps ten times longer. Three refinements, in PyTorch's order:
//
// - *weight decay* adds `weight_decay * p` to the gradient first: the gradient of `weight_decay / 2 * |p|^2`;
// - *dampening* `d` scales what joins the sum: `v = m v + (1 - d) g`. The first `v` is `g` itself, undamped (PyTorch does so; the papers start from 0);
// - *Nesterov* looks ahead: it goes along `g + m v`, the direction that the next step would have if the gradient stayed.

// %% {"nbgrader": {"grade": false, "grade_id": "06-sgd-update", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/sgd.cpp
// One update of `parameter` (in place) by `grad`, which stays as it is. The buffer of `state` is used and made only with momentum.
// REQUIRES: recording is off. O(elements); one temporary of the parameter's size for each of weight decay and Nesterov.
//
// TODO: Decay, momentum, Nesterov, and the step, in this order.
// APPROACH: 1. update = grad, plus weight_decay * parameter where there is some. 2. With momentum: an undefined buffer becomes a clone of update; a
//           defined one becomes momentum * buffer + (1 - dampening) * update, in place. 3. update is then the buffer, or with Nesterov
//           update + momentum * buffer. 4. parameter -= lr * update.
// EXAMPLE: lr 0.1, momentum 0.9, gradients 1 and 1: the parameter moves by -0.1 and then by -0.19.
// HINT: a.add(b, alpha) is a + alpha * b in one pass; mul_ and add_ work in place.
namespace {
void sgd_update(const Tensor& parameter, const Tensor& grad, optim::SGDParamState& state, const optim::SGDOptions& options) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 06-sgd-update shares-the-gradient
//| says The buffer is the gradient's own tensor, not a copy: the next backward adds into your momentum, or the buffer's update changes the gradient. Start it from a clone.
#if 0
void sgd_update(const Tensor& parameter, const Tensor& grad, optim::SGDParamState& state, const optim::SGDOptions& options) {
  Tensor update = grad;
  if (options.weight_decay() != 0) update = update.add(parameter, options.weight_decay());
  if (options.momentum() != 0) {
    Tensor& buffer = state.momentum_buffer();
    if (!buffer.defined()) buffer = update;
    else buffer.mul_(options.momentum()).add_(update, 1 - options.dampening());
    update = options.nesterov() ? update.add(buffer, options.momentum()) : buffer;
  }
  parameter.add_(update, -options.lr());
}
#endif

// %%
//| mistake 06-sgd-update dampens-the-first-step
//| says The first buffer is the gradient itself. Dampening begins with the second step (in PyTorch; a start from zeros gives other numbers).
#if 0
void sgd_update(const Tensor& parameter, const Tensor& grad, optim::SGDParamState& state, const optim::SGDOptions& options) {
  Tensor update = grad;
  if (options.weight_decay() != 0) update = update.add(parameter, options.weight_decay());
  if (options.momentum() != 0) {
    Tensor& buffer = state.momentum_buffer();
    if (!buffer.defined()) buffer = zeros_like(parameter);
    buffer.mul_(options.momentum()).add_(update, 1 - options.dampening());
    update = options.nesterov() ? update.add(buffer, options.momentum()) : buffer;
  }
  parameter.add_(update, -options.lr());
}
#endif

// %%
//| mistake 06-sgd-update nesterov-is-momentum
//| says With nesterov the step goes along grad + momentum * buffer, with the buffer that has this gradient in it already; here it went along the buffer.
#if 0
void sgd_update(const Tensor& parameter, const Tensor& grad, optim::SGDParamState& state, const optim::SGDOptions& options) {
  Tensor update = grad;
  if (options.weight_decay() != 0) update = update.add(parameter, options.weight_decay());
  if (options.momentum() != 0) {
    Tensor& buffer = state.momentum_buffer();
    if (!buffer.defined()) buffer = update.clone();
    else buffer.mul_(options.momentum()).add_(update, 1 - options.dampening());
    update = buffer;
  }
  parameter.add_(update, -options.lr());
}
#endif

// %% [markdown]
// The step itself is the same for all methods: for each group, for each parameter that has a gradient, update. Recording is off, because an update is no part of the function that is differentiated; and the write raises the parameter's version, so
// that a graph which still needs the old value notices (module 05). Much later chapter 89 brings a kernel that does a whole group in one walk over memory (the systems part of this module shows why that is faster); `group_step` is where it comes in, and what you write here is what it must agree with.

// %%
//| export optim/sgd.cpp
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

// %% [markdown]
// To test an optimizer one needs no network: fix the gradients and compare the parameter after each step with PyTorch's.
//
//       step 1: g = [ 0.1 -0.4  2.0]      step 2: g = [ 0.3  0.2 -1.0]      step 3: g = [-0.5  0.1  0.25]
//                    |                                 |                                 |
//       p ---------> p1 -----------------------------> p2 -----------------------------> p3      (3, 3): compared

// %%
//| lesson
// The parameter [1, -2, 0.5] after each of three steps with the gradients of the picture: (3, 3), float64.
template <class MakeOptimizer>
Tensor three_steps(MakeOptimizer make_optimizer) {
  const Tensor parameter = tensor({1.0, -2.0, 0.5}, kDouble);
  parameter.requires_grad_();
  const Tensor gradients = tensor({{0.1, -0.4, 2.0}, {0.3, 0.2, -1.0}, {-0.5, 0.1, 0.25}}, kDouble);
  const Tensor history = zeros({3, 3}, kDouble);
  auto optimizer = make_optimizer(std::vector<Tensor>{parameter});
  parameter.mutable_grad() = zeros({3}, kDouble);
  for (std::int64_t i = 0; i < 3; ++i) {
    parameter.mutable_grad().copy_(gradients[i]);
    optimizer.step();
    CHECK_EQ(parameter.grad(), gradients[i]);  // an update reads the gradient, and no more
    history[i].copy_(parameter.detach());
  }
  return history;
}

// %% {"nbgrader": {"grade": true, "grade_id": "06-sgd-update-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("SGD: three steps in PyTorch's numbers, plain, with momentum, dampening, decay and Nesterov") {
  using optim::SGDOptions;
  const auto steps = [](const SGDOptions& options) { return three_steps([&](std::vector<Tensor> p) { return optim::SGD(std::move(p), options); }); };
  // Recorded from PyTorch 2.15.0.
  CHECK_CLOSE(steps(0.1), tensor({{0.99, -1.96, 0.3}, {0.96, -1.98, 0.4}, {1.01, -1.99, 0.375}}, kDouble));
  CHECK_CLOSE(steps(SGDOptions(0.1).momentum(0.9)), tensor({{0.99, -1.96, 0.3}, {0.951, -1.944, 0.22}, {0.9659, -1.9396, 0.123}}, kDouble));
  CHECK_CLOSE(steps(SGDOptions(0.1).momentum(0.9).nesterov(true).weight_decay(0.2)),
              tensor({{0.943, -1.848, 0.101}, {0.825866, -1.750976, 0.117062}, {0.828036492, -1.631381312, -0.008612556}}, kDouble));
  CHECK_CLOSE(steps(SGDOptions(0.1).momentum(0.9).dampening(0.5).weight_decay(0.2)),
              tensor({{0.97, -1.92, 0.29}, {0.9183, -1.8388, 0.1481}, {0.887587, -1.752332, 0.006409}}, kDouble));
  // BEGIN HIDDEN TESTS
  const Tensor untouched = tensor({1.0, 2.0});
  untouched.requires_grad_();
  optim::SGD optimizer({untouched}, SGDOptions(0.1).weight_decay(0.5));
  optimizer.step();  // no gradient: no decay either
  CHECK_EQ(untouched.detach(), tensor({1.0, 2.0}));
  CHECK(optimizer.state().empty());
  // END HIDDEN TESTS
}

// %%
TEST_CASE("SGD: a closure computes the loss, and bad settings are refused") {
  const Tensor p = tensor({2.0}, kDouble);
  p.requires_grad_();
  optim::SGD optimizer({p}, 0.25);
  const Tensor loss = optimizer.step([&] {
    optimizer.zero_grad();
    const Tensor value = (p * p).sum();
    value.backward();
    return value;
  });
  CHECK_EQ(loss.item<double>(), 4.0);
  CHECK_EQ(p.detach(), tensor({1.0}, kDouble));
  CHECK(!optimizer.step().defined());
  CHECK_ERROR(optim::SGD({p}, -1.0), "Invalid learning rate: -1");
  CHECK_ERROR(optim::SGD({p}, optim::SGDOptions(0.1).momentum(-0.5)), "Invalid momentum value: -0.5");
  CHECK_ERROR(optim::SGD({p}, optim::SGDOptions(0.1).nesterov(true)), "Nesterov momentum requires a momentum and zero dampening");
}

// %% [markdown]
// ### Adagrad and RMSprop: divide by what is usual
//
// Momentum mends the direction, but there is still one rate for all elements. A weight that is pushed hard in every step and one whose feature appears once in a thousand examples get the same `lr`. Adagrad divides each element's step by the root of the *sum* of
// its squared gradients so far:
//
//       s = s + g^2                        g:  1  1  1  1 ...  --> s:  1  2  3  4 ...  --> step lr / sqrt(t): ever shorter
//       p = p - lr g / (sqrt(s) + eps)
//                                          g:  0  0  0  1 ...  --> s:  0  0  0  1 ...  --> its first step is lr: a rare feature learns at once
//
// `eps`, a tiny number, only keeps an element that never had a gradient from 0 / 0. The sum only grows, so for a steady gradient each step is shorter than the one before. For convex problems that is what a proof of convergence needs; a network stops learning too early.
// RMSprop forgets: it keeps a running *mean* instead, so the divisor follows the present size of the gradients. The mean is *exponential*: a gradient's share in it shrinks by the factor `a` with every later step. It starts at 0, so at first it is too small.
//
//       v = a v + (1 - a) g^2              a = 0.99: remembers about 100 steps
//       centered: v - (mean of g)^2        the variance: a steady gradient has little of it, so its steps are long
//
// Both are written with two operators of chapter 90 that make one pass over memory: `x.addcmul_(a, b, value)` is `x += value * a * b`, and `x.addcdiv_(a, b, value)` is `x += value * a / b`. Adagrad is given; RMSprop is yours.

// %%
//| export optim/adagrad.h
namespace optim {

struct AdagradOptions : public OptimizerCloneableOptions<AdagradOptions> {
  AdagradOptions(double lr = 1e-2);
  TORCH_ARG(double, lr);
  TORCH_ARG(double, lr_decay) = 0;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(double, initial_accumulator_value) = 0;
  TORCH_ARG(double, eps) = 1e-10;

 public:
  Fields fields() override;
};

struct AdagradParamState : public OptimizerCloneableParamState<AdagradParamState> {
  TORCH_ARG(Tensor, sum);
  TORCH_ARG(std::int64_t, step) = 0;

 public:
  Fields fields() override;
};

// Adagrad: a step of lr * g / (sqrt(sum of g^2) + eps), where the rate may also fall as lr / (1 + steps * lr_decay).
// Source: Duchi et al. 2011; torch/csrc/api/src/optim/adagrad.cpp.
class Adagrad : public Optimizer {
 public:
  Adagrad(std::vector<OptimizerParamGroup> groups, AdagradOptions defaults = {});
  Adagrad(std::vector<Tensor> params, AdagradOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "Adagrad"; }
  std::unique_ptr<OptimizerParamState> make_state() const override;
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
};

}  // namespace optim

// %%
//| export optim/adagrad.cpp
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

// %%
TEST_CASE("Adagrad: three steps in PyTorch's numbers, plain and with every setting") {
  using optim::AdagradOptions;
  const auto steps = [](const AdagradOptions& options) { return three_steps([&](std::vector<Tensor> p) { return optim::Adagrad(std::move(p), options); }); };
  // Recorded from PyTorch 2.15.0.
  CHECK_CLOSE(steps(0.1), tensor({{0.9000000000999999, -1.900000000025, 0.400000000005}, {0.8051316703249486, -1.9447213595649957, 0.4447213595529958}, {0.8896470957835145, -1.966543148583833, 0.4336102484423785}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(steps(AdagradOptions(0.1).lr_decay(0.3).weight_decay(0.2).initial_accumulator_value(0.5).eps(1e-3)),
              tensor({{0.9609941080516987, -1.9251432448482406, 0.4052710772590041}, {0.9195376687340794, -1.9120207198742363, 0.434726359823776}, {0.9399783824539248, -1.8962730322872352, 0.42603644885645625}}, kDouble), 1e-12, 1e-12);
  CHECK_ERROR(optim::Adagrad({ones({1})}, AdagradOptions(0.1).lr_decay(-1)), "Invalid lr_decay value: -1");
}

// %%
//| export optim/rmsprop.h
namespace optim {

struct RMSpropOptions : public OptimizerCloneableOptions<RMSpropOptions> {
  RMSpropOptions(double lr = 1e-2);
  TORCH_ARG(double, lr);
  TORCH_ARG(double, alpha) = 0.99;
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(double, momentum) = 0;
  TORCH_ARG(bool, centered) = false;

 public:
  Fields fields() override;
};

struct RMSpropParamState : public OptimizerCloneableParamState<RMSpropParamState> {
  TORCH_ARG(std::int64_t, step) = 0;
  TORCH_ARG(Tensor, square_avg);
  TORCH_ARG(Tensor, momentum_buffer);
  TORCH_ARG(Tensor, grad_avg);

 public:
  Fields fields() override;
};

// RMSprop: the gradient divided by the root of the running mean of its square (centered: of its variance), with momentum on the quotient.
// Source: Hinton, lecture 6e, 2012; torch/csrc/api/src/optim/rmsprop.cpp.
class RMSprop : public Optimizer {
 public:
  RMSprop(std::vector<OptimizerParamGroup> groups, RMSpropOptions defaults = {});
  RMSprop(std::vector<Tensor> params, RMSpropOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "RMSprop"; }
  std::unique_ptr<OptimizerParamState> make_state() const override;
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
};

}  // namespace optim

// %%
//| export optim/rmsprop.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "06-rmsprop-update", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/rmsprop.cpp
// One update of `parameter` (in place) by `grad`, which has the weight decay in it already. A new `state` gets zeros for square_avg, and for grad_avg and
// momentum_buffer only where the options use them. REQUIRES: recording is off. O(elements).
//
// TODO: Follow the mean of the square, divide by its root, and step.
// APPROACH: 1. Missing buffers: zeros_like(parameter). Count the step. 2. square_avg = alpha * square_avg + (1 - alpha) * grad^2, in place. 3. centered: the same
//           for grad_avg and grad; the divisor is then the root of square_avg - grad_avg^2, otherwise of square_avg; plus eps. 4. With momentum: buffer =
//           momentum * buffer + grad / divisor, and parameter -= lr * buffer; without: parameter -= lr * grad / divisor.
// EXAMPLE: alpha 0.99, first gradient g: square_avg is 0.01 g^2, so the first step is 10 * lr, whatever g is (there is no bias correction).
// HINT: adagrad_update shows the operators; square_avg.addcmul(grad_avg, grad_avg, -1.0) leaves square_avg as it is.
namespace {
void rmsprop_update(const Tensor& parameter, const Tensor& grad, optim::RMSpropParamState& state, const optim::RMSpropOptions& options) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 06-rmsprop-update sums-for-ever
//| says This is Adagrad's sum: without alpha and 1 - alpha nothing is forgotten, and the steps get shorter and shorter.
#if 0
void rmsprop_update(const Tensor& parameter, const Tensor& grad, optim::RMSpropParamState& state, const optim::RMSpropOptions& options) {
  if (!state.square_avg().defined()) state.square_avg(zeros_like(parameter));
  state.step(state.step() + 1);
  state.square_avg().addcmul_(grad, grad, 1.0);
  parameter.addcdiv_(grad, state.square_avg().sqrt().add_(options.eps()), -options.lr());
}
#endif

// %%
//| mistake 06-rmsprop-update overwrites-the-mean
//| says The centered divisor was computed in place, into square_avg itself: the next step starts from the variance instead of the mean of squares. Use addcmul, without the underscore.
#if 0
void rmsprop_update(const Tensor& parameter, const Tensor& grad, optim::RMSpropParamState& state, const optim::RMSpropOptions& options) {
  if (!state.square_avg().defined()) state.square_avg(zeros_like(parameter));
  state.step(state.step() + 1);
  state.square_avg().mul_(options.alpha()).addcmul_(grad, grad, 1 - options.alpha());
  if (options.centered()) {
    if (!state.grad_avg().defined()) state.grad_avg(zeros_like(parameter));
    state.grad_avg().mul_(options.alpha()).add_(grad, 1 - options.alpha());
    state.square_avg().addcmul_(state.grad_avg(), state.grad_avg(), -1.0);
  }
  const Tensor divisor = state.square_avg().sqrt().add_(options.eps());
  if (options.momentum() > 0) {
    if (!state.momentum_buffer().defined()) state.momentum_buffer(zeros_like(parameter));
    state.momentum_buffer().mul_(options.momentum()).addcdiv_(grad, divisor, 1.0);
    parameter.add_(state.momentum_buffer(), -options.lr());
  } else {
    parameter.addcdiv_(grad, divisor, -options.lr());
  }
}
#endif

// %%
//| export optim/rmsprop.cpp
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

// %% {"nbgrader": {"grade": true, "grade_id": "06-rmsprop-update-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("RMSprop: three steps in PyTorch's numbers, plain, with momentum, and centered") {
  using optim::RMSpropOptions;
  const auto steps = [](const RMSpropOptions& options) { return three_steps([&](std::vector<Tensor> p) { return optim::RMSprop(std::move(p), options); }); };
  // Recorded from PyTorch 2.15.0.
  CHECK_CLOSE(steps(0.1), tensor({{9.999990003839443e-07, -1.0000002499999379, -0.4999999500000021}, {-0.9491566954532927, -1.4490134042604461, -0.05098671509435443}, {-0.10267255882170168, -1.6691175513909609, -0.1630943333854926}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(steps(RMSpropOptions(0.1).alpha(0.9).momentum(0.5).weight_decay(0.2)), tensor({{0.6837722673164918, -1.6837722464831615, 0.18377223874506676}, {0.26071751675268157, -1.469580458575004, 0.16330922814067803}, {0.2614576384707921, -1.2814632960018832, 0.11088024803403435}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(steps(RMSpropOptions(0.1).alpha(0.9).centered(true).eps(1e-3)), tensor({{0.6774193548387096, -1.6694214876033058, 0.1672212978369384}, {0.3532242803065272, -1.8168057855957678, 0.3154796338604547}, {0.624164015902595, -1.8917452263368113, 0.27653693122728007}}, kDouble), 1e-10, 1e-10);
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(steps(RMSpropOptions(0.1).alpha(0.9).momentum(0.5).centered(true)), tensor({{0.6666667777777407, -1.6666666944444422, 0.16666667222222212}, {0.17226343979817127, -1.648478498372861, 0.14847847385787236}, {0.1974776574085489, -1.7148896676704883, 0.10038091664737635}}, kDouble), 1e-10, 1e-10);
  CHECK_ERROR(optim::RMSprop({ones({1})}, RMSpropOptions(0.1).alpha(-1)), "Invalid alpha value: -1");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Adam: momentum over RMSprop, from the first step on
//
// Adam joins the two ideas: the direction is a running mean of the gradient (momentum), the length is divided by the usual size of the gradient (RMSprop). And it mends what you saw in RMSprop's example, a first step ten times too long. It keeps two exponential means:
//
//       m = b1 m + (1 - b1) g              mean of the gradient             b1 = 0.9:    remembers about  10 steps
//       v = b2 v + (1 - b2) g^2            mean of its square               b2 = 0.999:  remembers about 1000 steps
//
//       p = p - lr m^ / (sqrt(v^) + eps)
//
// The quotient `m / sqrt(v)` has no unit: multiply the loss by 1000 and Adam takes the same steps. If an element's gradient stays the same, the quotient is 1 and it moves by `lr`; if its sign is noise, the quotient is near 0. So `lr` is, roughly, the largest
// distance an element moves per step, which is why 1e-3 works for so many networks.
//
// The hats are the *bias correction*. Both means start at 0, so at first they are too small. Unroll the recursion with a gradient that stays g:
//
//       m_t = (1 - b1) (1 + b1 + b1^2 + ... + b1^(t-1)) g = (1 - b1^t) g          so     m^ = m / (1 - b1^t)
//
//       step      1      2      3      10     100    1000                        without it, step 1 would divide
//       1-b1^t    0.1    0.19   0.27   0.65   1.0    1.0                         0.1 g by sqrt(0.001 g^2) = 0.03 g:
//       1-b2^t    0.001  0.002  0.003  0.01   0.1    0.63                        three times too far
//
// `eps` stands outside the root and keeps an element whose gradients were all 0 from 0 / 0. AMSGrad divides by the largest `v` so far instead of the present one (element by element: `maximum(a, b)`), so that steps cannot grow again.

// %%
//| export optim/adam.h
namespace optim {

struct AdamOptions : public OptimizerCloneableOptions<AdamOptions> {
  AdamOptions(double lr = 1e-3);
  using betas_t = std::tuple<double, double>;
  TORCH_ARG(double, lr);
  TORCH_ARG(betas_t, betas) = std::make_tuple(0.9, 0.999);
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(bool, amsgrad) = false;

 public:
  Fields fields() override;
};

struct AdamWOptions : public OptimizerCloneableOptions<AdamWOptions> {
  AdamWOptions(double lr = 1e-3);
  using betas_t = std::tuple<double, double>;
  TORCH_ARG(double, lr);
  TORCH_ARG(betas_t, betas) = std::make_tuple(0.9, 0.999);
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 1e-2;
  TORCH_ARG(bool, amsgrad) = false;

 public:
  Fields fields() override;
};

struct AdamParamState : public OptimizerCloneableParamState<AdamParamState> {
  TORCH_ARG(std::int64_t, step) = 0;
  TORCH_ARG(Tensor, exp_avg);
  TORCH_ARG(Tensor, exp_avg_sq);
  TORCH_ARG(Tensor, max_exp_avg_sq);

 public:
  Fields fields() override;
};
using AdamWParamState = AdamParamState;

// Adam: a step of lr * m / (sqrt(v) + eps) with running means m of the gradient and v of its square, both corrected for starting at 0;
// weight decay is added to the gradient. Source: Kingma and Ba 2015; torch/csrc/api/src/optim/adam.cpp.
class Adam : public Optimizer {
 public:
  Adam(std::vector<OptimizerParamGroup> groups, AdamOptions defaults = {});
  Adam(std::vector<Tensor> params, AdamOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "Adam"; }
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
  std::unique_ptr<OptimizerParamState> make_state() const override;
};

// AdamW: Adam whose weight decay shrinks the parameter itself, apart from the gradient. Source: Loshchilov and Hutter 2019.
class AdamW : public Optimizer {
 public:
  AdamW(std::vector<OptimizerParamGroup> groups, AdamWOptions defaults = {});
  AdamW(std::vector<Tensor> params, AdamWOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "AdamW"; }
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
  std::unique_ptr<OptimizerParamState> make_state() const override;
};

}  // namespace optim

// %%
//| export optim/adam.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "06-adam-update", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/adam.cpp
// One update of `parameter` (in place) by `grad`, without weight decay. A new `state` gets its zeros here; max_exp_avg_sq only for
// amsgrad. REQUIRES: recording is off. O(elements).
//
// TODO: Count the step, update both means, correct them, and step.
// APPROACH: 1. Without exp_avg: zeros_like(parameter) for exp_avg, exp_avg_sq and, with amsgrad, max_exp_avg_sq. 2. Count the step *first*: the
//           correction needs t = 1 in the first one. 3. The two means, in place. 4. amsgrad: the elementwise maximum of max_exp_avg_sq and
//           exp_avg_sq, uncorrected, takes the place of exp_avg_sq. 5. sqrt(v) / sqrt(1 - b2^t) + eps is the denominator; the step is
//           lr / (1 - b1^t) * exp_avg / denominator.
// EXAMPLE: in the first step every element moves by almost exactly lr against the sign of its gradient, whatever its size.
// HINT: x.addcmul_(a, b, value) is x += value * a * b, x.addcdiv_(a, b, value) is x += value * a / b.
namespace {
template <class Options>
void adam_update(const Tensor& parameter, const Tensor& grad, optim::AdamParamState& state, const Options& options) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 06-adam-update no-bias-correction
//| says The means start at 0 and are too small at first; without dividing by 1 - beta^t the first steps are too long (about three times with the default betas).
#if 0
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
  Tensor square = state.exp_avg_sq();
  if (options.amsgrad()) {
    state.max_exp_avg_sq().copy_(maximum(state.max_exp_avg_sq(), square));
    square = state.max_exp_avg_sq();
  }
  parameter.addcdiv_(state.exp_avg(), square.sqrt().add_(options.eps()), -options.lr());
}
#endif

// %%
//| mistake 06-adam-update counts-from-zero
//| says The step was counted after its use: in the first one 1 - beta^0 is 0, and the division by it gives NaN or infinity. Count first.
#if 0
template <class Options>
void adam_update(const Tensor& parameter, const Tensor& grad, optim::AdamParamState& state, const Options& options) {
  const auto [beta1, beta2] = options.betas();
  if (!state.exp_avg().defined()) {
    state.exp_avg(zeros_like(parameter));
    state.exp_avg_sq(zeros_like(parameter));
    if (options.amsgrad()) state.max_exp_avg_sq(zeros_like(parameter));
  }
  state.exp_avg().mul_(beta1).add_(grad, 1 - beta1);
  state.exp_avg_sq().mul_(beta2).addcmul_(grad, grad, 1 - beta2);
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(state.step()));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(state.step()));
  Tensor square = state.exp_avg_sq();
  if (options.amsgrad()) {
    state.max_exp_avg_sq().copy_(maximum(state.max_exp_avg_sq(), square));
    square = state.max_exp_avg_sq();
  }
  parameter.addcdiv_(state.exp_avg(), square.sqrt().div_(std::sqrt(correction2)).add_(options.eps()), -options.lr() / correction1);
  state.step(state.step() + 1);
}
#endif

// %%
//| mistake 06-adam-update eps-under-the-root
//| says eps is added to the root, not under it. Under the root its effect is sqrt(eps), ten thousand times as much with the default.
#if 0
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
  parameter.addcdiv_(state.exp_avg(), square.div(correction2).add_(options.eps()).sqrt(), -options.lr() / correction1);
}
#endif

// %%
//| export optim/adam.cpp
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

// %% {"nbgrader": {"grade": true, "grade_id": "06-adam-update-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("Adam: three steps in PyTorch's numbers, plain, with other settings, and AMSGrad") {
  using optim::AdamOptions;
  const auto steps = [](const AdamOptions& options) { return three_steps([&](std::vector<Tensor> p) { return optim::Adam(std::move(p), options); }); };
  // Recorded from PyTorch 2.15.0.
  CHECK_CLOSE(steps(0.1), tensor({{0.90000000999999896, -1.9000000024999999, 0.40000000050000001},
                                  {0.80822190220558987, -1.8733662993763178, 0.37336629670243154},
                                  {0.82431333209578328, -1.8672274133292464, 0.3458018311043603}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(steps(AdamOptions(0.1).betas({0.8, 0.95}).eps(1e-3).weight_decay(0.2)),
              tensor({{0.90033222591362128, -1.9001248439450686, 0.4000475963826749},
                      {0.80119856397720368, -1.8207677061293703, 0.37378994522777031},
                      {0.77589404025510422, -1.7435823241831823, 0.34461371214047781}}, kDouble), 1e-12, 1e-12);
  // BEGIN HIDDEN TESTS
  const Tensor p = tensor({1.0, 1.0});
  p.requires_grad_();
  optim::Adam optimizer({p}, 0.01);
  p.mutable_grad() = tensor({1e-3, 1e3});
  optimizer.step();
  CHECK_CLOSE(p.detach(), tensor({0.99, 0.99}), 1e-4, 0.0);  // whatever the size of the gradient
  p.mutable_grad() = zeros({2});
  for (int i = 0; i < 3; ++i) optimizer.step();
  CHECK(isfinite(p.detach()).all().item<bool>());
  CHECK_ERROR(optim::Adam({p}, AdamOptions(0.1).betas({1.0, 0.9})), "Invalid beta parameter at index 0: 1");
  CHECK_ERROR(optim::Adam({p}, AdamOptions(0.1).eps(-1)), "Invalid epsilon value: -1");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### AdamW: decay that decays
//
// With SGD, adding `weight_decay * p` to the gradient (*L2*, after the penalty whose gradient it is) and shrinking `p` by the factor `1 - lr * weight_decay` are the same. With Adam they are not: what is added to the gradient is then *divided by its usual size* like everything else. A weight with large gradients
// is hardly decayed, a weight with none is decayed by a full `lr`. AdamW takes the decay out of the gradient:
//
//       Adam, L2                                        AdamW, decoupled
//       g + wd p --> m, v --> m^ / sqrt(v^)             p --> p (1 - lr wd)           the same share of every weight
//                    the decay is divided, too          g --> m, v --> m^ / sqrt(v^)  the gradient alone

// %% {"nbgrader": {"grade": false, "grade_id": "06-adamw-step", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/adam.cpp
// One update of every parameter that has a gradient: first the decay p *= 1 - lr * weight_decay, then Adam's update by the gradient alone.
//
// TODO: Write AdamW's step; Adam's, above, shows the form.
// APPROACH: 1. Recording off, closure evaluated. 2. For each group and parameter with a gradient: decay in place, then adam_update.
// EXAMPLE: with lr 0.1, weight_decay 0.2 and p = 1, the decay alone makes p 0.98.
// HINT: the group's options are AdamWOptions. The line with group_step may be left out: it only makes the step faster, once chapter 89 is there.
Tensor optim::AdamW::step(LossClosure closure) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 06-adamw-step adds-to-the-gradient
//| says This is Adam with L2: the decay was added to the gradient and then divided by its usual size. AdamW shrinks the parameter itself.
#if 0
Tensor optim::AdamW::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    const auto& options = static_cast<const AdamWOptions&>(group.options());
    for (const Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      adam_update(parameter, parameter.grad().add(parameter, options.weight_decay()), state_of<AdamParamState>(parameter), options);
    }
  }
  return loss;
}
#endif

// %%
//| mistake 06-adamw-step decay-without-the-rate
//| says The decay is lr * weight_decay. Without lr it does not follow the schedule: when the rate falls, the weights keep shrinking.
#if 0
Tensor optim::AdamW::step(LossClosure closure) {
  const NoGradGuard no_grad;
  const Tensor loss = evaluate(closure);
  for (OptimizerParamGroup& group : param_groups()) {
    const auto& options = static_cast<const AdamWOptions&>(group.options());
    for (const Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      parameter.mul_(1 - options.weight_decay());
      adam_update(parameter, parameter.grad(), state_of<AdamParamState>(parameter), options);
    }
  }
  return loss;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "06-adamw-step-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("AdamW: three steps in PyTorch's numbers, with and without AMSGrad") {
  using optim::AdamWOptions;
  const auto steps = [](const AdamWOptions& options) { return three_steps([&](std::vector<Tensor> p) { return optim::AdamW(std::move(p), options); }); };
  // Recorded from PyTorch 2.15.0.
  CHECK_CLOSE(steps(AdamWOptions(0.1).weight_decay(0.2)), tensor({{0.88000000999999894, -1.8600000024999999, 0.3900000005},
                                                                 {0.77062190200558989, -1.7961662993263177, 0.3555662966924315},
                                                                 {0.77130089385567147, -1.7541040872927198, 0.32089050516051165}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(steps(AdamWOptions(0.1).betas({0.8, 0.95}).amsgrad(true)),
              tensor({{0.89900000999999896, -1.8980000024999999, 0.39950000050000001},
                      {0.80464293365934469, -1.8748560885346133, 0.37785458599494676},
                      {0.82695194901294966, -1.8736124519956043, 0.3544132303341583}}, kDouble), 1e-8, 1e-8);
  // BEGIN HIDDEN TESTS
  const Tensor idle = ones({2});
  idle.requires_grad_();
  optim::AdamW optimizer({idle}, AdamWOptions(0.1).weight_decay(0.5));
  optimizer.step();
  CHECK_EQ(idle.detach(), ones({2}));  // no gradient: no decay
  const Tensor p = tensor({2.0}, kDouble);
  p.requires_grad_();
  optim::AdamW closing({p}, 0.1);
  CHECK_EQ(closing.step([&] {
    const Tensor loss = (p * p).sum();
    loss.backward();
    return loss;
  }).item<double>(), 4.0);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Schedules
//
// A rate that is right at the beginning is too large at the end: near the minimum the noise of the batches keeps the parameters moving by about `lr` for ever. A scheduler lowers the rate of every group, after each epoch or each step.
//
//       StepLR(3, 0.5)               CosineAnnealingLR(T_max)
//       lr ───┐                      lr ──╮
//             └──┐                         ╲
//                └──┐                       ╲
//                   └──                      ╰── eta_min
//
// There are two ways to compute a rate: from the *present* one (StepLR multiplies it by gamma, so a change by hand in between stays), or from the *first* one and the step number (cosine). The second has no memory but the step number, which makes
// resuming simple. In code `step()` sets the rates that `get_lrs()` returns, one for each group. For both schedules here (`counts_first` is true) `step_count_` has counted the present step already: it is 1 in the first `step()`.
//
//       cosine:   lr_t = eta_min + (lr_0 - eta_min) (1 + cos(pi t / T_max)) / 2

// %%
//| export optim/lr_scheduler.h
namespace optim {

// Sets the learning rate of every group after each epoch (or step). Source: torch/csrc/api/include/torch/optim/schedulers/lr_scheduler.h.
class LRScheduler {
 public:
  explicit LRScheduler(Optimizer& optimizer, bool counts_first = false);
  virtual ~LRScheduler() = default;
  void step();
  unsigned step_count() const { return step_count_; }
  // For resuming: the rates themselves are in the optimizer's groups.
  virtual void set_step_count(unsigned count) { step_count_ = count; }
  // The count that stands for the beginning of the schedule.
  virtual unsigned first_count() const { return 0; }
  // Goes to the beginning of the schedule and its rates, made from those before any scheduler.
  void start();

 protected:
  // The rates that step() sets, one for each group. As in libtorch it sees how many steps were taken before this one; with counts_first this one is counted.
  virtual std::vector<double> get_lrs() = 0;
  std::vector<double> get_current_lrs() const;
  void set_lrs(const std::vector<double>& rates);
  Optimizer& optimizer_;
  std::vector<double> base_lrs_;  // before any scheduler
  unsigned step_count_ = 0;

 private:
  bool counts_first_;
};

// Multiplies the rate by gamma every step_size steps. As in libtorch the first step() only begins the schedule, which Python's schedulers do when they are made: the rate falls in step() number
// step_size + 1, 2 step_size + 1, ...
class StepLR : public LRScheduler {
 public:
  StepLR(Optimizer& optimizer, unsigned step_size, double gamma = 0.1);
  unsigned first_count() const override { return 1; }

 private:
  std::vector<double> get_lrs() override;
  unsigned step_size_;
  double gamma_;
};

// From the first rate to eta_min along half a cosine over T_max steps, and up again after that. Source: Loshchilov and Hutter 2017.
class CosineAnnealingLR : public LRScheduler {
 public:
  CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min = 0);

 private:
  std::vector<double> get_lrs() override;
  std::int64_t T_max_;
  double eta_min_;
};

}  // namespace optim

// %%
//| export optim/lr_scheduler.cpp
optim::LRScheduler::LRScheduler(Optimizer& optimizer, bool counts_first) : optimizer_(optimizer), counts_first_(counts_first) {
  for (OptimizerParamGroup& group : optimizer_.param_groups()) {
    if (!group.initial_lr()) group.initial_lr() = group.options().get_lr();
    base_lrs_.push_back(*group.initial_lr());
  }
}

std::vector<double> optim::LRScheduler::get_current_lrs() const {
  std::vector<double> rates;
  for (const OptimizerParamGroup& group : optimizer_.param_groups()) rates.push_back(group.options().get_lr());
  return rates;
}

void optim::LRScheduler::step() {
  if (counts_first_) ++step_count_;
  set_lrs(get_lrs());
  if (!counts_first_) ++step_count_;
}

void optim::LRScheduler::start() {
  set_step_count(first_count());
  set_lrs(base_lrs_);
  set_lrs(get_lrs());
}

void optim::LRScheduler::set_lrs(const std::vector<double>& rates) {
  std::vector<OptimizerParamGroup>& groups = optimizer_.param_groups();
  TORCH_CHECK(rates.size() == groups.size(), "Number of learning rates not equal to the number of param groups\nNumber of learning rates given: ",
              rates.size(), "\nNumber of param groups: ", groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i) groups[i].options().set_lr(rates[i]);
}

optim::StepLR::StepLR(Optimizer& optimizer, unsigned step_size, double gamma) : LRScheduler(optimizer, true), step_size_(step_size), gamma_(gamma) {
  TORCH_CHECK_VALUE(step_size > 0, "StepLR needs a step_size of at least 1, but got 0");
}

std::vector<double> optim::StepLR::get_lrs() {
  std::vector<double> rates = get_current_lrs();
  if (step_count_ > 1 && (step_count_ - 1) % step_size_ == 0)
    for (double& rate : rates) rate *= gamma_;
  return rates;
}

optim::CosineAnnealingLR::CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min)
    : LRScheduler(optimizer, true), T_max_(T_max), eta_min_(eta_min) {
  TORCH_CHECK_VALUE(T_max > 0, "CosineAnnealingLR needs a T_max of at least 1, but got ", T_max);
}

// %% {"nbgrader": {"grade": false, "grade_id": "06-cosine", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/lr_scheduler.cpp
// The rate of each group after step_count_ steps: on half a cosine from its first rate (base_lrs_) at 0 to eta_min_ at T_max_.
//
// TODO: Write the cosine formula for each group.
// APPROACH: progress = step_count_ / T_max_ as a real number, then the formula above with each base rate.
// EXAMPLE: first rate 0.8, eta_min 0.1, T_max 5: 0.733 after one step, 0.1 after five.
// HINT: integer division of 1 by 5 is 0. std::acos(-1.0) is pi.
std::vector<double> optim::CosineAnnealingLR::get_lrs() {
  // BEGIN SOLUTION
  const double progress = static_cast<double>(step_count_) / static_cast<double>(T_max_);
  const double height = (1 + std::cos(std::acos(-1.0) * progress)) / 2;
  std::vector<double> rates = base_lrs_;
  for (double& rate : rates) rate = eta_min_ + (rate - eta_min_) * height;
  return rates;
  // END SOLUTION
}

// %%
//| mistake 06-cosine from-the-present-rate
//| says The formula starts from the first rate. Applied to the present one, which is lower already, it falls much too fast.
#if 0
std::vector<double> optim::CosineAnnealingLR::get_lrs() {
  const double progress = static_cast<double>(step_count_) / static_cast<double>(T_max_);
  const double height = (1 + std::cos(std::acos(-1.0) * progress)) / 2;
  std::vector<double> rates = get_current_lrs();
  for (double& rate : rates) rate = eta_min_ + (rate - eta_min_) * height;
  return rates;
}
#endif

// %%
//| mistake 06-cosine integer-division
//| says step_count_ / T_max_ of two integers is 0 until the very end: the rate stays where it is, and then jumps to eta_min.
#if 0
std::vector<double> optim::CosineAnnealingLR::get_lrs() {
  const double progress = static_cast<double>(step_count_ / T_max_);
  const double height = (1 + std::cos(std::acos(-1.0) * progress)) / 2;
  std::vector<double> rates = base_lrs_;
  for (double& rate : rates) rate = eta_min_ + (rate - eta_min_) * height;
  return rates;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "06-cosine-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("CosineAnnealingLR: PyTorch's rates, for each group from its own first rate") {
  const Tensor a = ones({1});
  const Tensor b = ones({1});
  optim::SGD optimizer({optim::OptimizerParamGroup({a}), optim::OptimizerParamGroup({b}, std::make_unique<optim::SGDOptions>(0.1))}, 0.8);
  optim::CosineAnnealingLR schedule(optimizer, 5, 0.1);
  // Recorded from PyTorch 2.15.0.
  for (const double expected : {0.73315594803123163, 0.55815594803123159, 0.34184405196876844, 0.16684405196876845, 0.1, 0.16684405196876839}) {
    schedule.step();
    CHECK_CLOSE(optimizer.param_groups()[0].options().get_lr(), expected, 1e-12, 0.0);
    CHECK_CLOSE(optimizer.param_groups()[1].options().get_lr(), 0.1, 1e-12, 0.0);
  }
  CHECK_EQ(schedule.step_count(), 6);
  // BEGIN HIDDEN TESTS
  optim::SGD late({a}, 1.0);
  optim::CosineAnnealingLR resumed(late, 4);
  resumed.set_step_count(2);
  resumed.step();
  CHECK_CLOSE(late.param_groups()[0].options().get_lr(), (1 - std::sqrt(0.5)) / 2, 1e-12, 0.0);
  CHECK_ERROR(optim::CosineAnnealingLR(late, 0), "T_max of at least 1");
  // END HIDDEN TESTS
}

// %%
TEST_CASE("StepLR: multiplies the present rate every step_size steps") {
  const Tensor a = ones({1});
  optim::SGD optimizer({a}, 0.8);
  optim::StepLR schedule(optimizer, 2, 0.5);
  for (const double expected : {0.8, 0.8, 0.4, 0.4, 0.2, 0.2}) {
    schedule.step();
    CHECK_EQ(optimizer.param_groups()[0].options().get_lr(), expected);
  }
  optimizer.add_param_group(optim::OptimizerParamGroup({ones({1})}));
  optimizer.param_groups()[0].options().set_lr(1.0);
  schedule.step();
  CHECK_EQ(optimizer.param_groups()[0].options().get_lr(), 0.5);
  CHECK_ERROR(optim::StepLR(optimizer, 0), "step_size of at least 1");
}

// %% [markdown]
// ### Design: the moments of all parameters, in one block
//
// A network has hundreds of parameter tensors, many of them small. The *moments* are Adam's two means, `exp_avg` and `exp_avg_sq`. Adam as written makes two storages for each parameter: hundreds of allocations, scattered over memory. Large systems put the moments of all parameters into *one* storage per
// kind and give each parameter a view into it. Then one `memset` clears them, one file write saves them, one message sends them to another machine, and a *rank* (one of the processes that train together, module 19) that holds a part of the optimizer holds a range of bytes.
//
//       exp_avg of:   fc1.weight (32, 64)        fc1.bias (32)   fc2.weight (10, 32)    fc2.bias (10)
//                    ┌──────────────────────────┬───────────────┬──────────────────────┬─────────┐
//       one storage  │ 2048 elements            │ 32            │ 320                  │ 10      │
//                    └──────────────────────────┴───────────────┴──────────────────────┴─────────┘
//                      view (32, 64), offset 0    offset 2048     offset 2080            offset 2400
//
// Only the contract is given. The test judges what the states do, how many storages were made, and how many bytes they hold.

// %% {"nbgrader": {"grade": false, "grade_id": "06-moments-in-one-block", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise design
// A fresh Adam state for each parameter (step 0, exp_avg and exp_avg_sq of zeros in the parameter's sizes and dtype, contiguous, no memory shared
// between any two of them), in the order of `parameters`. All moments of one dtype lie in one storage, which holds nothing else:
// a model with one dtype makes one allocation, one with two dtypes makes two.
//
// TODO: Lay out the moments and give each state its views.
// APPROACH: yours. How many elements of each dtype? In which order do moments and parameters lie, and who keeps the storage alive?
// EXAMPLE: for parameters of 6 and 2 floats the storage has (6 + 2) * 2 * 4 = 64 bytes.
// HINT: narrow(0, start, length) of a vector is a contiguous view; view(sizes) gives it its shape. A view keeps its storage alive.
std::vector<optim::AdamParamState> moments_in_one_block(const std::vector<Tensor>& parameters) {
  // BEGIN SOLUTION
  std::map<ScalarType, std::int64_t> lengths;
  for (const Tensor& parameter : parameters) lengths[parameter.scalar_type()] += 2 * parameter.numel();
  std::map<ScalarType, Tensor> blocks;
  for (const auto& [type, length] : lengths) blocks[type] = zeros({length}, type);
  std::map<ScalarType, std::int64_t> used;
  const auto take = [&](const Tensor& parameter) {
    std::int64_t& start = used[parameter.scalar_type()];
    const Tensor piece = blocks[parameter.scalar_type()].narrow(0, start, parameter.numel()).view(parameter.sizes());
    start += parameter.numel();
    return piece;
  };
  std::vector<optim::AdamParamState> states(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    states[i].exp_avg(take(parameters[i]));
    states[i].exp_avg_sq(take(parameters[i]));
  }
  return states;
  // END SOLUTION
}

// %%
//| mistake 06-moments-in-one-block a-storage-each
//| says Each moment has a storage of its own. Make one tensor per dtype that is large enough for all, and narrow() views out of it.
#if 0
std::vector<optim::AdamParamState> moments_in_one_block(const std::vector<Tensor>& parameters) {
  std::vector<optim::AdamParamState> states(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    states[i].exp_avg(zeros_like(parameters[i]));
    states[i].exp_avg_sq(zeros_like(parameters[i]));
  }
  return states;
}
#endif

// %%
//| mistake 06-moments-in-one-block moments-overlap
//| says Both moments of a parameter look at the same elements: writing the mean changes the mean of squares. Move on after each of the two.
#if 0
std::vector<optim::AdamParamState> moments_in_one_block(const std::vector<Tensor>& parameters) {
  std::map<ScalarType, std::int64_t> lengths;
  for (const Tensor& parameter : parameters) lengths[parameter.scalar_type()] += 2 * parameter.numel();
  std::map<ScalarType, Tensor> blocks;
  for (const auto& [type, length] : lengths) blocks[type] = zeros({length}, type);
  std::map<ScalarType, std::int64_t> used;
  std::vector<optim::AdamParamState> states(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    std::int64_t& start = used[parameters[i].scalar_type()];
    const Tensor piece = blocks[parameters[i].scalar_type()].narrow(0, start, parameters[i].numel()).view(parameters[i].sizes());
    states[i].exp_avg(piece);
    states[i].exp_avg_sq(piece);
    start += parameters[i].numel();
  }
  return states;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "06-moments-in-one-block-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("moments in one block: separate moments, one allocation per dtype, no byte too many") {
  const std::vector<Tensor> parameters = {ones({3, 2}), ones({2}), ones({4, 5, 2}), ones({}), ones({7})};
  const MemoryStats before = memory::stats();
  std::vector<optim::AdamParamState> states = moments_in_one_block(parameters);
  CHECK_EQ(memory::stats().allocations - before.allocations, 1);
  CHECK_EQ(memory::stats().live - before.live, (6 + 2 + 40 + 1 + 7) * 2 * sizeof(float));
  REQUIRE_EQ(states.size(), parameters.size());
  double mark = 1;
  for (optim::AdamParamState& state : states) {
    for (const Tensor& moment : {state.exp_avg(), state.exp_avg_sq()}) {
      CHECK_EQ(moment.sum().item<double>(), 0.0);  // fresh, and not what another was marked with
      moment.fill_(mark++);
    }
  }
  mark = 1;
  for (std::size_t i = 0; i < states.size(); ++i) {
    CHECK_EQ(states[i].step(), 0);
    for (const Tensor& moment : {states[i].exp_avg(), states[i].exp_avg_sq()}) {
      CHECK_EQ(moment, full(parameters[i].sizes(), mark++));
      CHECK(moment.is_contiguous());
    }
  }
  // BEGIN HIDDEN TESTS
  const std::vector<Tensor> mixed = {ones({3}), ones({2}, kDouble), ones({4})};
  const MemoryStats start = memory::stats();
  std::vector<optim::AdamParamState> others = moments_in_one_block(mixed);
  CHECK_EQ(memory::stats().allocations - start.allocations, 2);
  CHECK_EQ(others[1].exp_avg_sq(), zeros({2}, kDouble));
  CHECK(others[0].exp_avg().is_alias_of(others[2].exp_avg_sq()));
  CHECK_EQ(moments_in_one_block({}).size(), 0);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: a run that stops getting better
//
// Here is a run from a colleague. The loss falls at first, and then it stays at a level, for as long as you like. A smaller rate only lowers the level.
//
//       loss
//        |\
//        | \
//        |  \_/\_/\_/\_/\_/\_     what it does               expected:    |\
//        |                                                                | \__
//        +---------------------- step                                     |    \_______
//
// Read it, run the demonstration, find the reason, and write the function as it should be.

// %%
//| lesson
// As found: minimizes loss(parameter) with Adam; returns the last loss.
double minimize_as_found(const Tensor& parameter, const std::function<Tensor()>& loss, int steps, double lr) {
  double last = 0;
  for (int i = 0; i < steps; ++i) {
    optim::Adam optimizer({parameter}, optim::AdamOptions(lr));
    optimizer.zero_grad();
    const Tensor value = loss();
    value.backward();
    optimizer.step();
    last = value.item<double>();
  }
  return last;
}

// %% {"nbgrader": {"grade": false, "grade_id": "06-debug-plateau", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// Minimizes loss(), a function of `parameter`, with `steps` steps of Adam; returns the last loss. `parameter` is changed in place.
//
// TODO: Write the run so that it converges.
// APPROACH: what does Adam remember from step to step in the version above, and what is its first step, whatever the gradient?
// HINT: "in the first step every element moves by almost exactly lr".
double minimize(const Tensor& parameter, const std::function<Tensor()>& loss, int steps, double lr) {
  // BEGIN SOLUTION
  optim::Adam optimizer({parameter}, optim::AdamOptions(lr));
  double last = 0;
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    const Tensor value = loss();
    value.backward();
    optimizer.step();
    last = value.item<double>();
  }
  return last;
  // END SOLUTION
}

// %%
//| mistake 06-debug-plateau a-new-optimizer-each-step
//| says The optimizer is still made in the loop, so its state is new in every step: no momentum, and each step is a first step, lr long whatever the gradient.
#if 0
double minimize(const Tensor& parameter, const std::function<Tensor()>& loss, int steps, double lr) {
  double last = 0;
  for (int i = 0; i < steps; ++i) {
    optim::Adam optimizer({parameter}, optim::AdamOptions(lr / (1 + i / 50)));
    optimizer.zero_grad();
    const Tensor value = loss();
    value.backward();
    optimizer.step();
    last = value.item<double>();
  }
  return last;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "06-debug-plateau-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: the plateau is gone") {
  const Tensor target = tensor({3.05, -1.02, 0.33}, kDouble);
  const auto run = [&](auto minimizer) {
    const Tensor p = zeros({3}, kDouble);
    p.requires_grad_();
    return minimizer(p, [&] { return (p - target).pow(2).sum(); }, 400, 0.1);
  };
  CHECK_GT(run(minimize_as_found), 1e-3);  // each element is within lr of its target, and no nearer
  CHECK_LT(run(minimize), 1e-8);
  // BEGIN HIDDEN TESTS
  const auto well = [](const Tensor& p) { return (p * tensor({1.0, 4.0}, kDouble)).pow(2).sum() + p.sum(); };
  const Tensor p = tensor({2.0, -1.0}, dtype(kDouble).requires_grad(true)), by_hand = tensor({2.0, -1.0}, dtype(kDouble).requires_grad(true));
  optim::Adam optimizer({by_hand}, optim::AdamOptions(0.02));
  double last = 0;
  for (int i = 0; i < 25; ++i) {
    optimizer.zero_grad();
    const Tensor value = well(by_hand);
    value.backward();
    optimizer.step();
    last = value.item<double>();
  }
  CHECK_EQ(minimize(p, [&] { return well(p); }, 25, 0.02), last);
  CHECK_EQ(p.detach(), by_hand.detach());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: a layer that does not learn
//
// Weight decay is for the matrices of products; biases and the scales of normalization layers (module 09: factors, one per feature, near 1) should not be pulled to 0. So one makes two groups. This function does, and the network it was
// written for trained well. In another network one layer stays exactly as it was initialized, and nothing complains.
//
//       named_parameters()          ends in ".weight"  --> group 0, decayed
//                                   ends in ".bias"    --> group 1, not decayed
//
// Find out which parameters it loses, and write a rule that cannot lose any.

// %%
//| lesson
// As found: the parameters of a module in two groups.
std::vector<optim::OptimizerParamGroup> decay_groups_as_found(const nn::Module& module, double lr, double weight_decay) {
  std::vector<Tensor> decayed;
  std::vector<Tensor> others;
  for (const auto& entry : module.named_parameters()) {
    if (entry.key().ends_with(".weight")) decayed.push_back(entry.value());
    if (entry.key().ends_with(".bias")) others.push_back(entry.value());
  }
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(decayed, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(lr).weight_decay(weight_decay)));
  groups.emplace_back(others, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(lr).weight_decay(0)));
  return groups;
}

// A network with parameters of its own beside those of a layer.
struct ScaledNet : nn::Module {
  ScaledNet() : fc(register_module("fc", nn::Linear(4, 3))) {
    scale = register_parameter("scale", ones({3}));
    mix = register_parameter("mix", ones({3, 2}));
  }
  Tensor forward(const Tensor& x) { return (fc->forward(x) * scale).mm(mix); }
  nn::Linear fc;
  Tensor scale, mix;
};

// %% {"nbgrader": {"grade": false, "grade_id": "06-debug-frozen", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// All parameters of `module`, each in one of two groups of AdamWOptions with rate `lr`: group 0 has those of two or more dimensions, with `weight_decay`,
// group 1 all others, with none.
//
// TODO: Write a rule that puts every parameter into exactly one group.
// APPROACH: which property of a parameter itself, not of its name, says whether it is the matrix of a product?
// HINT: parameters of module 03 may have any name; ask for dim(). An `if` with an `else` cannot lose any.
std::vector<optim::OptimizerParamGroup> decay_groups(const nn::Module& module, double lr, double weight_decay) {
  // BEGIN SOLUTION
  std::vector<Tensor> decayed;
  std::vector<Tensor> others;
  for (const Tensor& parameter : module.parameters()) (parameter.dim() >= 2 ? decayed : others).push_back(parameter);
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(decayed, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(lr).weight_decay(weight_decay)));
  groups.emplace_back(others, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(lr).weight_decay(0)));
  return groups;
  // END SOLUTION
}

// %%
//| mistake 06-debug-frozen everything-decays
//| says Nothing is lost now, but the scale is decayed: it has one dimension, so it belongs with the biases.
#if 0
std::vector<optim::OptimizerParamGroup> decay_groups(const nn::Module& module, double lr, double weight_decay) {
  std::vector<Tensor> decayed;
  std::vector<Tensor> others;
  for (const auto& entry : module.named_parameters()) (entry.key().ends_with(".bias") ? others : decayed).push_back(entry.value());
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(decayed, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(lr).weight_decay(weight_decay)));
  groups.emplace_back(others, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(lr).weight_decay(0)));
  return groups;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "06-debug-frozen-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: every parameter is in exactly one group, and all of them move") {
  manual_seed(1);
  ScaledNet net;
  const auto elements = [](const std::vector<optim::OptimizerParamGroup>& groups) {
    std::vector<std::int64_t> counts;
    for (const optim::OptimizerParamGroup& group : groups) {
      counts.push_back(0);
      for (const Tensor& parameter : group.params()) counts.back() += parameter.numel();
    }
    return counts;
  };
  CHECK_EQ(elements(decay_groups_as_found(net, 0.1, 0.5)), std::vector<std::int64_t>{12, 3});
  CHECK_EQ(elements(decay_groups(net, 0.1, 0.5)), std::vector<std::int64_t>{12 + 6, 3 + 3});

  std::vector<optim::OptimizerParamGroup> groups = decay_groups(net, 0.1, 0.5);
  CHECK_EQ(static_cast<const optim::AdamWOptions&>(groups.at(0).options()).weight_decay(), 0.5);
  CHECK_EQ(static_cast<const optim::AdamWOptions&>(groups.at(1).options()).weight_decay(), 0.0);
  optim::AdamW optimizer(std::move(groups));
  std::vector<Tensor> before;
  for (const Tensor& parameter : net.parameters()) before.push_back(parameter.detach().clone());
  net.forward(randn({5, 4})).pow(2).sum().backward();
  optimizer.step();
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(!net.parameters()[i].detach().equal(before[i]));
  // BEGIN HIDDEN TESTS
  struct Misnamed : nn::Module {
    Misnamed() {
      register_parameter("weight", ones({5}));
      register_parameter("bias", ones({2, 3, 2}));
      register_parameter("temperature", ones({}));
      register_module("inner", std::make_shared<ScaledNet>());
    }
  };
  CHECK_EQ(elements(decay_groups(Misnamed(), 0.1, 0.5)), std::vector<std::int64_t>{12 + 12 + 6, 5 + 1 + 3 + 3});
  const std::vector<optim::OptimizerParamGroup> other = decay_groups(Misnamed(), 0.3, 0.7);
  CHECK_EQ(static_cast<const optim::AdamWOptions&>(other.at(0).options()).weight_decay(), 0.7);
  CHECK_EQ(static_cast<const optim::AdamWOptions&>(other.at(1).options()).lr(), 0.3);
  // END HIDDEN TESTS
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// What does each method do on a ravine, what does it hold in memory, and what does a step cost? All numbers below are measured when the file runs: `tito run 06`.
//
// ### Paths
//
// The ravine is `f = (x^2 + 25 y^2) / 2`, from (-9, 1.6). Each method has the rate that suits it. Look at the first steps of plain descent (it bounces across), at how momentum overshoots the goal and comes back, and at how Adam goes diagonally at
// first: it moves by `lr` in *both* directions, whatever their slopes.

// %%
//| lesson
// f and its gradient without a graph: the path matters here, not the engine.
struct Ravine {
  static constexpr double steep = 25;
  static double value(const Tensor& p) { return (p[0].item<double>() * p[0].item<double>() + steep * p[1].item<double>() * p[1].item<double>()) / 2; }
  static Tensor gradient(const Tensor& p) { return p * tensor({1.0, steep}, kDouble); }
};

// The positions of `steps` steps from (-9, 1.6), and how many it took until f < 1e-3 (0: never).
struct Path {
  std::vector<std::pair<double, double>> points;
  int steps_needed = 0;
};

template <class MakeOptimizer>
Path follow(MakeOptimizer make_optimizer, int steps) {
  const Tensor p = tensor({-9.0, 1.6}, kDouble);
  p.requires_grad_();
  auto optimizer = make_optimizer(std::vector<Tensor>{p});
  Path path;
  for (int i = 0; i <= steps; ++i) {
    const Tensor now = p.detach();
    path.points.emplace_back(now[0].item<double>(), now[1].item<double>());
    if (path.steps_needed == 0 && Ravine::value(now) < 1e-3) path.steps_needed = i;
    p.mutable_grad() = Ravine::gradient(now);
    optimizer.step();
  }
  return path;
}

void draw(const char* title, const Path& path) {
  constexpr int width = 64, height = 11;
  std::vector<std::string> picture(height, std::string(width, ' '));
  for (int row = 0; row < height; ++row)  // contours of f
    for (int column = 0; column < width; ++column) {
      const double x = -10 + 14.0 * column / (width - 1), y = 2 - 4.0 * row / (height - 1);
      const int level = static_cast<int>(std::sqrt((x * x + Ravine::steep * y * y) / 2) / 1.5);
      if (level % 2 == 1) picture[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)] = '.';
    }
  const auto plot = [&](double x, double y, char mark) {
    const auto column = static_cast<std::int64_t>(std::lround((x + 10) / 14 * (width - 1)));
    const auto row = static_cast<std::int64_t>(std::lround((2 - y) / 4 * (height - 1)));
    if (column >= 0 && column < width && row >= 0 && row < height) picture[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)] = mark;
  };
  plot(0, 0, '+');
  for (std::size_t i = 0; i < path.points.size(); ++i) plot(path.points[i].first, path.points[i].second, i == 0 ? 'S' : i < 10 ? static_cast<char>('0' + i) : 'o');
  std::printf("%s: %s\n", title, path.steps_needed > 0 ? (std::to_string(path.steps_needed) + " steps to f < 0.001").c_str() : "does not reach f < 0.001");
  for (const std::string& line : picture) std::printf("  |%s|\n", line.c_str());
}

// %%
DEMO("three paths through a ravine (S start, 1-9 the first steps, o later ones, + the minimum)") {
  const int steps = 300;
  draw("SGD, lr 0.07", follow([](std::vector<Tensor> p) { return optim::SGD(std::move(p), 0.07); }, steps));
  draw("SGD, lr 0.02, momentum 0.9", follow([](std::vector<Tensor> p) { return optim::SGD(std::move(p), optim::SGDOptions(0.02).momentum(0.9)); }, steps));
  draw("Adam, lr 0.5", follow([](std::vector<Tensor> p) { return optim::Adam(std::move(p), 0.5); }, steps));
  std::fflush(stdout);
}

// %% [markdown]
// ### The cliff
//
// Plain descent diverges beyond `2 / c_max = 2 / 25 = 0.08`: not gradually, but as a cliff. Momentum moves the cliff to `2 (1 + m) / c_max`; Adam has none, because its step never exceeds about `lr`. It has a slow end instead: 100 steps of 0.001 go 0.1 far. Here the gradients are exact, so that Adam's mean of them dies out near the minimum
// and it settles even with large rates; with the noise of batches the quotient `m / sqrt(v)` stays away from 0, and it keeps moving by a part of `lr`.

// %%
DEMO("the loss after 100 steps, by learning rate (log10, left is better)") {
  std::printf("  %-8s %-31s %-31s %-31s\n", "lr", "SGD", "momentum 0.9", "Adam");
  const auto cell = [](const Path& path) {
    const auto [x, y] = path.points.back();
    const double value = (x * x + Ravine::steep * y * y) / 2;
    if (!std::isfinite(value) || value > 1e6) return std::string("diverged");
    const double power = std::log10(std::max(value, 1e-12));
    char text[64];
    std::snprintf(text, sizeof text, "%6.1f %s", power, std::string(static_cast<std::size_t>(std::clamp(power + 12, 0.0, 18.0)), '#').c_str());
    return std::string(text);
  };
  for (const double lr : {0.001, 0.01, 0.04, 0.075, 0.085, 0.14, 0.16, 0.5, 2.0}) {
    const Path sgd = follow([&](std::vector<Tensor> p) { return optim::SGD(std::move(p), lr); }, 100);
    const Path momentum = follow([&](std::vector<Tensor> p) { return optim::SGD(std::move(p), optim::SGDOptions(lr).momentum(0.9)); }, 100);
    const Path adam = follow([&](std::vector<Tensor> p) { return optim::Adam(std::move(p), lr); }, 100);
    std::printf("  %-8g %-31s %-31s %-31s\n", lr, cell(sgd).c_str(), cell(momentum).c_str(), cell(adam).c_str());
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### Memory
//
// Two kinds count. *State* stays for the whole training; *temporaries* live during the step, and their peak adds to everything else that is held then. The parameters themselves and their gradients are one unit each.
//
//       parameters  ████████
//       gradients   ████████
//       Adam state  ████████████████        four times the parameters, before the first activation
//       temporaries ████████ (during step)

// %%
//| lesson
struct StepMemory {
  double state = 0;        // bytes kept after the first step, per byte of parameters
  double temporaries = 0;  // the most that was held in between, beyond what was kept
};

template <class MakeOptimizer>
StepMemory step_memory(MakeOptimizer make_optimizer) {
  const Tensor p = ones({1 << 16});
  p.requires_grad_();
  p.mutable_grad() = ones({1 << 16});
  auto optimizer = make_optimizer(std::vector<Tensor>{p});
  const std::size_t before = memory::stats().live;
  optimizer.step();
  const std::size_t kept = memory::stats().live;
  memory::reset_peak();
  optimizer.step();
  const auto bytes = static_cast<double>(p.nbytes());
  return {static_cast<double>(kept - before) / bytes, static_cast<double>(memory::stats().peak - kept) / bytes};
}

// %%
DEMO("what an optimizer holds, in multiples of the parameters") {
  const auto report = [](const char* name, const StepMemory& use) {
    std::printf("  %-28s state %4.1f  temporaries %4.1f   %s%s\n", name, use.state, use.temporaries,
                std::string(static_cast<std::size_t>(use.state * 8 + 0.5), '#').c_str(),
                std::string(static_cast<std::size_t>(use.temporaries * 8 + 0.5), '.').c_str());
  };
  using optim::AdamOptions;
  using optim::SGDOptions;
  report("SGD", step_memory([](std::vector<Tensor> p) { return optim::SGD(std::move(p), 0.1); }));
  report("SGD, weight decay", step_memory([](std::vector<Tensor> p) { return optim::SGD(std::move(p), SGDOptions(0.1).weight_decay(0.1)); }));
  report("SGD, momentum", step_memory([](std::vector<Tensor> p) { return optim::SGD(std::move(p), SGDOptions(0.1).momentum(0.9)); }));
  report("SGD, Nesterov, decay",
         step_memory([](std::vector<Tensor> p) { return optim::SGD(std::move(p), SGDOptions(0.1).momentum(0.9).nesterov(true).weight_decay(0.1)); }));
  report("Adagrad", step_memory([](std::vector<Tensor> p) { return optim::Adagrad(std::move(p)); }));
  report("RMSprop", step_memory([](std::vector<Tensor> p) { return optim::RMSprop(std::move(p)); }));
  report("RMSprop, centered, momentum", step_memory([](std::vector<Tensor> p) { return optim::RMSprop(std::move(p), optim::RMSpropOptions().centered(true).momentum(0.9)); }));
  report("Adam", step_memory([](std::vector<Tensor> p) { return optim::Adam(std::move(p)); }));
  report("AdamW", step_memory([](std::vector<Tensor> p) { return optim::AdamW(std::move(p)); }));
  report("Adam, AMSGrad", step_memory([](std::vector<Tensor> p) { return optim::Adam(std::move(p), AdamOptions().amsgrad(true)); }));
  std::printf("  '#' is state, kept for the whole run; '.' lives during the step\n");
  std::fflush(stdout);
}

// %% [markdown]
// ### Time: v1 composes, v2 walks once, v3 makes one call
//
// Adam as written (v1) calls eight tensor operations for each parameter, and each walks over memory. What must be moved is less: read p, g, m, v; write p, m, v.
//
//       v1: mul_ m | add_ m,g | mul_ v | addcmul_ v,g | sqrt v | div_ | add_ | addcdiv_ p,m      eight calls, eight passes, for each parameter
//       v2: for each i: m, v, p in registers                                                   one call, one pass, for each parameter
//       v3: for each parameter, for each i                                                     one call for the model
//
// v2 is the loop that PyTorch calls the *fused* implementation. v3 also does for all parameters once what v2 does for each: look up four tensors, compute the two corrections. The test holds both to v1's answers before anything is timed.

// %%
//| lesson
// The corrections of one Adam step with the default betas, computed once for all that follows.
struct AdamStep {
  AdamStep(int step, double lr)
      : size(static_cast<float>(lr / (1 - std::pow(0.9, step)))), root_correction(static_cast<float>(std::sqrt(1 - std::pow(0.999, step)))) {}
  float size, root_correction;
};

// The pass itself, over contiguous arrays of n floats.
void adam_pass(float* p, const float* g, float* m, float* v, std::int64_t n, const AdamStep& step) {
  constexpr float b1 = 0.9f, b2 = 0.999f;
  for (std::int64_t i = 0; i < n; ++i) {
    m[i] = b1 * m[i] + (1 - b1) * g[i];
    v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
    p[i] -= step.size * m[i] / (std::sqrt(v[i]) / step.root_correction + 1e-8f);
  }
}

void adam_v2(const Tensor& parameter, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq, int step, double lr) {
  adam_pass(parameter.data<float>(), grad.data<float>(), exp_avg.data<float>(), exp_avg_sq.data<float>(), parameter.numel(), AdamStep(step, lr));
}

// The arrays of one parameter, looked up before the training begins. (Its gradient must then stay where it is: zero_grad(false).)
struct Piece {
  float* p;
  const float* g;
  float* m;
  float* v;
  std::int64_t n;
};

void adam_v3(const std::vector<Piece>& pieces, int step, double lr) {
  const AdamStep now(step, lr);
  for (const Piece& piece : pieces) adam_pass(piece.p, piece.g, piece.m, piece.v, piece.n, now);
}

// The same parameters and gradients for each version.
struct Versions {
  Versions(std::int64_t count, std::int64_t size) {
    manual_seed(2);
    for (std::int64_t i = 0; i < count; ++i) {
      parameters.push_back(randn({size}));
      gradients.push_back(randn({size}));
      parameters.back().requires_grad_();
      parameters.back().mutable_grad() = gradients.back();
    }
    states = moments_in_one_block(parameters);
    for (std::size_t i = 0; i < parameters.size(); ++i)
      pieces.push_back({parameters[i].detach().data<float>(), gradients[i].data<float>(), states[i].exp_avg().data<float>(),
                        states[i].exp_avg_sq().data<float>(), size});
  }
  void step_v2(int step, double lr) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      adam_v2(parameters[i].detach(), gradients[i], states[i].exp_avg(), states[i].exp_avg_sq(), step, lr);
  }
  std::vector<Tensor> parameters, gradients;
  std::vector<optim::AdamParamState> states;  // of v2 and v3
  std::vector<Piece> pieces;
};

// %%
TEST_CASE("Adam: one pass, for each parameter or for all, gives the answers of the composed version") {
  Versions composed(3, 1000), fused(3, 1000), at_once(3, 1000);
  optim::Adam optimizer(composed.parameters, 0.01);
  for (int i = 1; i <= 5; ++i) {
    optimizer.step();
    fused.step_v2(i, 0.01);
    adam_v3(at_once.pieces, i, 0.01);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_CLOSE(fused.parameters[i].detach(), composed.parameters[i].detach(), 1e-5, 1e-5);
    CHECK_EQ(at_once.parameters[i].detach(), fused.parameters[i].detach());
  }
}

// %%
DEMO("what a step costs: one large parameter, and many small ones") {
  const auto row = [](std::int64_t count, std::int64_t size) {
    Versions versions(count, size);
    optim::Adam optimizer(versions.parameters, 1e-3);
    const double elements = static_cast<double>(count * size);
    const double v1 = measure([&] { optimizer.step(); }, {.samples = 5}).median / elements;
    const double v2 = measure([&] { versions.step_v2(10, 1e-3); }, {.samples = 5}).median / elements;
    const double v3 = measure([&] { adam_v3(versions.pieces, 10, 1e-3); }, {.samples = 5}).median / elements;
    std::printf("  %5lld x %-8lld %9.2f %9.2f %9.2f %10.2f %9.1f %9.1f\n", static_cast<long long>(count), static_cast<long long>(size), v1 * 1e9, v2 * 1e9, v3 * 1e9,
                7 * 4 / v2 * 1e-9, v1 / v2, v2 / v3);
  };
  std::printf("  %-16s %9s %9s %9s %10s %9s %9s\n", "tensors x size", "v1 ns/el", "v2 ns/el", "v3 ns/el", "v2 GB/s", "v1 / v2", "v2 / v3");
  for (const std::int64_t size : {1 << 8, 1 << 12, 1 << 16, 1 << 20}) row(1, size);
  for (const std::int64_t size : {16, 256, 4096}) row(200, size);
  std::fflush(stdout);
}

// %% [markdown]
// Things to look for: at which size does v1's cost per element stop falling (below it, the *calls* cost, not the elements)? Does v2's GB/s fall when the four arrays no longer fit into a cache (module 00 measured yours)? For which
// tensors is v3 worth anything over v2?

// %% [markdown]
// ## Part 3: Production context
//
// All frameworks compute the formulas above; they differ in where the state lives and in who fuses the loop.
//
//       PyTorch                     TensorFlow / Keras               JAX / optax
//       optimizer.state[param]      slot variables, one per          state is a value that the caller
//       a map inside the object     (variable, slot name)            carries: pure functions
//            │                           │                                │
//       step() writes p in place    assign ops in the graph          updates, state = opt.update(grads, state)
//                                                                    params = apply_updates(params, updates)
//
// - **PyTorch.** `torch/csrc/api/src/optim/optimizer.cpp` has `add_param_group` and `zero_grad` as you wrote them; `torch/csrc/api/src/optim/adam.cpp` is your `adam_update`, operation by operation. In Python, `torch/optim/adam.py` has three implementations of it: `_single_tensor_adam` (v1 above),
//   `_multi_tensor_adam`, which handles lists of tensors per call (`foreach`, so that small tensors do not pay for calls), and `_fused_adam` (v2; `aten/src/ATen/native/cpu/FusedAdamKernel.cpp`, vectorized).
// - **TensorFlow.** `tensorflow/core/kernels/training_ops.cc` has `ApplyAdam`, one kernel per step and variable as in v2, where Eigen expressions fuse the passes. Keras calls the state "slots" and saves them with the variables.
// - **JAX.** optax (`optax/_src/transform.py`, `scale_by_adam`) makes Adam out of *gradient transformations* that are chained: `chain(scale_by_adam(), add_decayed_weights(wd), scale(-lr))`. Decoupled decay is then just the order of two links. The state is a tree with the parameters' shape, and
//   XLA fuses the whole update into a few loops.
// - **Large models.** Beside a weight of two bytes (half precision) stand eight bytes for its two float32 moments, and four for an exact float32 copy of it that the steps are added to. ZeRO (DeepSpeed, `torch/distributed/optim/zero_redundancy_optimizer.py`) gives each machine a part of the state: your one block, cut into ranges. 8-bit optimizers keep moments as int8 with a scale per block.
//
// Chapter 98 adds L-BFGS, which follows curvature instead of guessing it, and more schedules. What production frameworks have and this module leaves out: sparse gradients, step counts that live on the device, and fused kernels with SIMD (module 16).

// %% [markdown]
// ## Integration test
//
// A two-layer network trained for 100 steps from a seed: parameters, data, loss, gradients and updates are ours; the losses must be PyTorch's, to nine digits.

// %%
//| lesson
// The losses of 100 steps of a small classifier, made from seed 0.
template <class MakeOptimizer>
std::vector<double> train_small_mlp(MakeOptimizer make_optimizer) {
  const ScalarType usual = get_default_dtype();
  set_default_dtype(kDouble);
  manual_seed(0);
  nn::MLP model(std::vector<std::int64_t>{4, 16, 3});
  const Tensor x = randn({32, 4});
  const Tensor y = randint(0, 3, {32});
  auto optimizer = make_optimizer(model->parameters());
  std::vector<double> losses;
  for (int i = 0; i < 100; ++i) {
    const Tensor loss = cross_entropy_loss(model->forward(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item<double>());
  }
  set_default_dtype(usual);
  return losses;
}

// %%
TEST_CASE("optimizers: 100 steps of an MLP with PyTorch's losses") {
  const auto check = [](const std::vector<double>& losses, const std::vector<double>& expected) {
    const std::vector<std::size_t> steps = {0, 1, 9, 49, 99};
    for (std::size_t i = 0; i < steps.size(); ++i) {
      CAPTURE(steps[i]);
      CHECK_CLOSE(losses.at(steps[i]), expected[i], 1e-9, 0.0);
    }
  };
  // Recorded from PyTorch 2.15.0, float64, seed 0: Linear(4, 16), ReLU, Linear(16, 3), randn(32, 4), randint(0, 3, 32).
  check(train_small_mlp([](std::vector<Tensor> p) { return optim::SGD(std::move(p), optim::SGDOptions(0.1).momentum(0.9)); }),
        {1.1960360307868139, 1.166912337830184, 0.96901090929167255, 0.61282825056028412, 0.34688196940485155});
  check(train_small_mlp([](std::vector<Tensor> p) { return optim::Adam(std::move(p), 0.01); }),
        {1.1960360307868139, 1.1612833890415324, 0.97203629949425718, 0.69284450026011002, 0.41244025122923117});
  check(train_small_mlp([](std::vector<Tensor> p) { return optim::AdamW(std::move(p), optim::AdamWOptions(0.01).weight_decay(0.1)); }),
        {1.1960360307868139, 1.1611220169135086, 0.97283407061251936, 0.69877528475766226, 0.42605881405873769});
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Analyze**. Run `tito run 06`, keep the output, and answer from your numbers.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "06-explain-memory", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. What fits?** From the memory demonstration: a model has 7 billion parameters in float32. How many bytes do parameters, gradients and Adam's state take, before the first activation? What do you save with SGD with momentum, and what with zero_grad(set_to_none) between the steps? Which
// of the temporaries that you measured would v2 remove?
// BEGIN SOLUTION
// 7e9 parameters are 28 GB; the gradients are 28 GB, Adam's two moments 56 GB: 112 GB. Momentum needs one buffer, so 28 GB less. set_to_none frees the 28 GB of gradients until backward makes them again, which
// helps when the peak lies in the forward pass; backward's own peak still holds them. v1's denominator is one temporary of the size of the parameter that is being updated (the largest tensor counts, not
// the sum, because they are made one after the other); v2 needs none.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "06-explain-time", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. Bytes or calls?** From the time demonstration: for which sizes is v1 limited by its calls, and for which by memory? A network has 200 parameter tensors of 4096 elements. Estimate the time of one v1 step from your numbers, compare it with the row 200 x 4096, and say which part of it `foreach` (one call for a list of tensors) could save. Why does
// v2 gain at 2^20 elements, although it computes the same, and is it memory that limits it there?
// BEGIN SOLUTION
// v1's time per element falls with size until a few thousand elements: below that the eight dispatches, checks and allocations dominate. On one machine: 188 ns per element at 16 elements, 21.6 at 256, 9.5 at 4096, then no less. So the calls cost about
// (188 - 9) * 16 = 2.9 us per tensor. A step of 200 x 4096 elements takes 200 * 4096 * 9.5 ns = 7.8 ms; the calls are 200 * 2.9 us = 0.6 ms of it, and no more than that can foreach save; for 200 x 16 they are nearly everything. v2 gains 2.4 times at 2^20 because one loop loads and stores
// each element once instead of eight times. Is it limited by memory? Its time per element is the same inside and outside of the caches (about 4 ns, 7 GB/s), so there the limit is the scalar root and division, and vectors (module 16) will help. v3 beats v2 only for tiny tensors, where looking up four tensors and
// computing two powers is more work than 16 elements.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "06-explain-rate", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Who chooses the rate?** From the cliff demonstration: at which rates did plain descent, momentum and Adam fail, and how do these compare with `2 / c` and `2 (1 + m) / c`? A colleague multiplies the loss by 100 to "make gradients larger". What happens to SGD, and what to Adam? What must a checkpoint
// hold so that training goes on as if it had not stopped?
// BEGIN SOLUTION
// SGD diverges between 0.075 and 0.085 (bound 0.08), momentum between 0.14 and 0.16 (bound 0.152). Adam diverges at none of the rates; it is too slow at the small ones (0.001 to 0.01 leave the loss above 10) and best at 0.5 and 2. Scaling the loss by 100 scales SGD's steps
// by 100, past the cliff; Adam's quotient m / sqrt(v) does not change (but for eps). A checkpoint needs the parameters, each parameter's state (moments and its step count, without which the bias correction starts again), the groups' present rates,
// and the scheduler's step number.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - An optimizer is groups of parameters with settings, and a map from parameter to state. The state is what makes it better than plain descent, and what it costs: one buffer for momentum, two for Adam.
// - Momentum sums gradients that agree and cancels those that do not; the effective rate is lr / (1 - m). Adagrad and RMSprop divide each element by the usual size of its gradients; Adam does both, with a correction for means that start at 0. AdamW keeps decay out of that division.
// - Numbers in PyTorch's order of operations give PyTorch's losses, step by step.
// - State must live as long as the training: an optimizer made anew in the loop takes first steps for ever. Groups must cover every parameter, or a layer is frozen without a word.
// - A step is memory-bound: composed operations walk over memory eight times, a fused loop once.
//
// Module 07 brings the batches, and module 08 puts loop, state and checkpoint together.

// %%
}  // namespace tinytorch
