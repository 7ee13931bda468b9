// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 93: Containers, layers and initialisation
//
// Module 03 builds `Module`, `Linear`, dropout and a network with a hand-written `forward`. This chapter adds what real
// model code is written with: containers (`Sequential`, `ModuleList`, `ModuleDict`) and the type erasure behind them,
// the activation functions of module 02 as layers, layers that only change shapes, the other dropouts, and the rest of
// `nn::init`. Names, options, printed text and error sentences are libtorch's.
//
//     Sequential(Linear, ReLU, Linear)   calls its children one after the other; each call goes through AnyModule
//     ModuleList, ModuleDict             only hold children, so that the walk of module 03 finds them
//     Functional(f)                      any function as a module

// %%
//| after 03
//| export nn/any.h
#include <any>
#include <array>
#include <span>
#include <tuple>
#include <typeinfo>
#include "tinytorch/nn/module.h"
//| export nn/any.cpp
#include <typeinfo>
//| export nn/sequential.h
#include "tinytorch/nn/any.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/sequential.cpp
#include <ostream>
//| export nn/containers.h
#include "tinytorch/nn/any.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/containers.cpp
#include <ostream>
//| export nn/modules.h
#include <functional>
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/modules.cpp
#include <ostream>
#include "tinytorch/core/dispatch.h"
//| export nn/more_layers.h
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/linear.h"
//| export nn/more_layers.cpp
#include <cmath>
#include <ostream>
#include "tinytorch/nn/init.h"
//| export nn/more_dropout.h
#include "tinytorch/nn/dropout.h"
//| export nn/more_dropout.cpp
#include <cmath>
#include <ostream>
#include "tinytorch/core/more_ops.h"
//| export nn/more_init.h
#include "tinytorch/nn/init.h"
//| export nn/more_init.cpp
#include <algorithm>
#include <cmath>
#include <vector>
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/more_ops.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <vector>
#include "tinytorch/core/generator.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/mlp.h"

// %%
namespace tinytorch {

// %%
//| lesson
// Names in one line, so that a failing check shows them.
std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

// What a module prints.
template <class M>
std::string printed(const M& module) {
  std::ostringstream text;
  text << module;
  return text.str();
}

// %% [markdown]
// ## Any module
//
// `Sequential` holds modules whose `forward` functions have different signatures, and `forward` is not a
// virtual function: a base class could declare it with only one signature. So the container stores, beside
// each module, *how to call it*: a pointer to a function made from a template while the module's type was
// still known. This is called type erasure, and the dispatcher's table in module 01 works in the same way.
//
//     AnyModule                                    call_forward<LinearImpl>(module, values)
//     ┌──────────┐                                   1. LinearImpl& m = static_cast<LinearImpl&>(module)
//     │ module ●─┼──► LinearImpl                     2. take a Tensor out of values[0]
//     │ call   ●─┼──► call_forward<LinearImpl>       3. m.forward(that)
//     └──────────┘                                   4. pack the result into an AnyValue
//
// Arguments and results travel as `AnyValue`, which is `std::any` with libtorch's error messages. A Tensor is
// one pointer wide, so it fits into the `any` itself and no memory is allocated.
//
// A function pointer does not know default arguments. libtorch wants a macro in each such class; here the
// compiler is asked, for each number of arguments, whether `forward` can be called with that many (a
// `requires` expression), and the call takes the version that fits.

// %%
//| export nn/any.h
namespace nn {

// A value of any copyable type. Source: torch/csrc/api/include/torch/nn/modules/container/any_value.h.
class AnyValue {
 public:
  template <class T>
    requires(!std::same_as<std::remove_cvref_t<T>, AnyValue>)
  explicit AnyValue(T&& value) : content_(std::forward<T>(value)) {}

  // The value if it is of exactly type T, else nullptr.
  template <class T>
  T* try_get() {
    return std::any_cast<T>(&content_);
  }
  // The value, or an error that names both types.
  template <class T>
  T get() {
    T* const value = try_get<T>();
    TORCH_CHECK(value != nullptr, "Attempted to cast AnyValue to ", detail::demangle(typeid(T).name()),
                ", but its actual type is ", detail::demangle(type_info().name()));
    return *value;
  }
  const std::type_info& type_info() const noexcept { return content_.type(); }

 private:
  std::any content_;
};

namespace detail {

using AnyForward = AnyValue (*)(Module& module, std::span<AnyValue> arguments);

[[noreturn]] void fail_argument_count(const std::type_info& module, std::size_t expected,
                                      std::size_t received);
[[noreturn]] void fail_argument_type(std::size_t index, const std::type_info& expected,
                                     const std::type_info& received);

// The value as a parameter of type T: `const Tensor&` binds to it, `Tensor` takes it out.
template <class T>
T&& take_argument(std::span<AnyValue> arguments, std::size_t index) {
  static_assert(!std::is_lvalue_reference_v<T> || std::is_const_v<std::remove_reference_t<T>>,
                "Modules stored inside AnyModule must not take references. Use pointers instead.");
  auto* const value = arguments[index].template try_get<std::decay_t<T>>();
  if (value == nullptr) fail_argument_type(index, typeid(std::decay_t<T>), arguments[index].type_info());
  return static_cast<T&&>(*value);
}

// Calls M::forward, whose parameters are Args, with the first of them.
template <class M, class... Args>
struct ForwardCaller {
  template <std::size_t... I>
  static constexpr bool callable(std::index_sequence<I...>) {
    return requires(M& module) {
      module.forward(std::declval<std::tuple_element_t<I, std::tuple<Args...>>>()...);
    };
  }
  template <std::size_t... I>
  static AnyValue call_first(M& module, std::span<AnyValue> arguments, std::index_sequence<I...>) {
    return AnyValue(
        module.forward(take_argument<std::tuple_element_t<I, std::tuple<Args...>>>(arguments, I)...));
  }
  template <std::size_t Count>
  static AnyValue call_with(M& module, std::span<AnyValue> arguments) {
    using First = std::make_index_sequence<Count>;
    if constexpr (callable(First{}))
      if (arguments.size() == Count) return call_first(module, arguments, First{});
    if constexpr (Count > 0) {
      return call_with<Count - 1>(module, arguments);
    } else {
      fail_argument_count(typeid(M), sizeof...(Args), arguments.size());
    }
  }
  static AnyValue call(Module& module, std::span<AnyValue> arguments) {
    return call_with<sizeof...(Args)>(static_cast<M&>(module), arguments);
  }
};

template <class M, class R, class Class, class... Args>
constexpr AnyForward caller_of(R (Class::*)(Args...)) {
  static_assert(!std::is_void_v<R>,
                "AnyModule cannot store modules that return void (you can return a dummy value).");
  return &ForwardCaller<M, Args...>::call;
}
template <class M, class R, class Class, class... Args>
constexpr AnyForward caller_of(R (Class::*)(Args...) const) {
  return &ForwardCaller<M, Args...>::call;
}

// How to call a module of type M: its any_forward() if it has one (Sequential), else its forward().
template <class M>
constexpr AnyForward forward_of() {
  if constexpr (requires(M& module, std::span<AnyValue> arguments) { module.any_forward(arguments); }) {
    return [](Module& module, std::span<AnyValue> arguments) {
      return static_cast<M&>(module).any_forward(arguments);
    };
  } else {
    static_assert(
        requires { &M::forward; },
        "Can only store a module with one forward() method that is not a template and has no overloads in an "
        "AnyModule.");
    return caller_of<M>(&M::forward);
  }
}

}  // namespace detail

// A module of any type together with the way to call its forward(). Copies share the module.
// Source: torch/csrc/api/include/torch/nn/modules/container/any.h.
class AnyModule {
 public:
  AnyModule() = default;
  template <ModuleType M>
  explicit AnyModule(std::shared_ptr<M> module)
      : module_(std::move(module)), forward_(detail::forward_of<M>()), type_(&typeid(M)) {}
  template <ModuleType M>
  explicit AnyModule(M&& module)
      : AnyModule(std::make_shared<std::remove_cvref_t<M>>(std::forward<M>(module))) {}
  template <class M>
  explicit AnyModule(const ModuleHolder<M>& holder) : AnyModule(holder.ptr()) {}
  template <ModuleType M>
  AnyModule& operator=(std::shared_ptr<M> module) {
    return *this = AnyModule(std::move(module));
  }

  bool is_empty() const noexcept { return module_ == nullptr; }
  const std::type_info& type_info() const;
  std::shared_ptr<Module> ptr() const;
  template <ModuleType T>
  std::shared_ptr<T> ptr() const;
  // The module as what it is: get<LinearImpl>() is a reference, get<Linear>() a handle. Throws if it is another type.
  template <ModuleType T>
  T& get() const {
    return *ptr<T>();
  }
  template <ModuleHandle T>
  T get() const {
    return T(ptr<typename T::ContainedType>());
  }
  AnyModule clone(const std::optional<Device>& device = std::nullopt) const;

  // Calls the module's forward(). Types must match exactly: an int does not become a double on the way.
  template <class... Args>
  AnyValue any_forward(Args&&... arguments);
  AnyValue call(std::span<AnyValue> arguments) const;
  template <class ReturnType = Tensor, class... Args>
  ReturnType forward(Args&&... arguments) {
    return any_forward(std::forward<Args>(arguments)...).template get<ReturnType>();
  }

 private:
  std::shared_ptr<Module> module_;
  detail::AnyForward forward_ = nullptr;
  const std::type_info* type_ = nullptr;
};

}  // namespace nn

// In libtorch a module whose forward() has default arguments lists them with this macro. Here they are found
// without it.
#define FORWARD_HAS_DEFAULT_ARGS(...)

// %%
//| export nn/any.h
template <nn::ModuleType T>
std::shared_ptr<T> nn::AnyModule::ptr() const {
  TORCH_CHECK(type_info() == typeid(T), "Attempted to cast module of type ", detail::demangle(type_->name()),
              " to type ", detail::demangle(typeid(T).name()));
  return std::static_pointer_cast<T>(module_);
}

template <class... Args>
nn::AnyValue nn::AnyModule::any_forward(Args&&... arguments) {
  std::array<AnyValue, sizeof...(Args)> values{AnyValue(std::forward<Args>(arguments))...};
  return call(values);
}

// %%
//| export nn/any.cpp
void nn::detail::fail_argument_count(const std::type_info& module, std::size_t expected,
                                     std::size_t received) {
  TORCH_CHECK(false, demangle(module.name()), "'s forward() method expects ", expected,
              " argument(s), but received ", received, ".");
}

void nn::detail::fail_argument_type(std::size_t index, const std::type_info& expected,
                                    const std::type_info& received) {
  TORCH_CHECK(false, "Expected argument #", index, " to be of type ", demangle(expected.name()),
              ", but received value of type ", demangle(received.name()));
}

const std::type_info& nn::AnyModule::type_info() const {
  TORCH_CHECK(!is_empty(), "Cannot call type_info() on an empty AnyModule");
  return *type_;
}

std::shared_ptr<nn::Module> nn::AnyModule::ptr() const {
  TORCH_CHECK(!is_empty(), "Cannot call ptr() on an empty AnyModule");
  return module_;
}

nn::AnyModule nn::AnyModule::clone(const std::optional<Device>& device) const {
  AnyModule copy = *this;
  if (!is_empty()) copy.module_ = module_->clone(device);
  return copy;
}

nn::AnyValue nn::AnyModule::call(std::span<AnyValue> arguments) const {
  TORCH_CHECK(!is_empty(), "Cannot call forward() on an empty AnyModule");
  RecordFunction record(RecordScope::MODULE);
  if (record.isActive()) detail::begin_record(record, *module_);
  return forward_(*module_, arguments);
}

// %%
TEST_CASE("AnyModule: calls forward without knowing the type, and fills default arguments") {
  struct Powers : nn::Module {
    double forward(double base, int exponent = 2, double factor = 1) {
      return std::pow(base, exponent) * factor;
    }
  };
  nn::AnyModule any(Powers{});
  CHECK_EQ(any.forward<double>(3.0), 9.0);
  CHECK_EQ(any.forward<double>(3.0, 3), 27.0);
  CHECK_EQ(any.forward<double>(3.0, 3, 10.0), 270.0);
  CHECK_ERROR(any.forward<double>(), "'s forward() method expects 3 argument(s), but received 0.");
  CHECK_ERROR(any.forward<double>(3),
              "Expected argument #0 to be of type double, but received value of type int");
  CHECK_ERROR(any.forward(3.0),
              "Attempted to cast AnyValue to tinytorch::Tensor, but its actual type is double");
  CHECK_ERROR(nn::AnyModule().forward(1), "Cannot call forward() on an empty AnyModule");

  const nn::Linear layer(2, 2);
  nn::AnyModule wrapped(layer);
  CHECK_EQ(&wrapped.get<nn::LinearImpl>(), layer.get());
  CHECK(wrapped.get<nn::Linear>()->weight.is_same(layer->weight));
  CHECK(!wrapped.clone().get<nn::Linear>()->weight.is_same(layer->weight));
  CHECK_ERROR(
      wrapped.get<nn::Dropout>(),
      "Attempted to cast module of type torch::nn::LinearImpl to type torch::nn::DropoutImpl");
}

// %% [markdown]
// ## Sequential
//
// Function composition, as a module: each child's output is the next one's input. Only the first child may
// take several arguments.
//
//                 0                1                2
//     x ──►    Linear    ──► Functional(relu) ──► Linear    ──► y      each arrow is an AnyValue
//           AnyModule::call    AnyModule::call   AnyModule::call
//
// libtorch does not allow a `Sequential` in a `Sequential`, because its `forward` is a template. Ours offers
// `any_forward` beside it, so nesting works, as it does in Python.

// %%
//| export nn/sequential.h
namespace nn {

// What an AnyModule can be made of: a module, a shared_ptr to one, a holder.
template <class M>
concept ConvertsToAnyModule =
    std::constructible_from<AnyModule, M> && !std::same_as<std::remove_cvref_t<M>, AnyModule>;

// A module with its name: Sequential({{"fc", Linear(4, 3)}, {"act", Functional(relu)}}).
class NamedAnyModule {
 public:
  template <ConvertsToAnyModule M>
  NamedAnyModule(std::string name, M&& module)
      : name_(std::move(name)), module_(std::forward<M>(module)) {}
  NamedAnyModule(std::string name, AnyModule module) : name_(std::move(name)), module_(std::move(module)) {}
  const std::string& name() const noexcept { return name_; }
  AnyModule& module() noexcept { return module_; }
  const AnyModule& module() const noexcept { return module_; }

 private:
  std::string name_;
  AnyModule module_;
};

// Modules called one after the other, named "0", "1", ... unless they are given names.
// Source: torch/csrc/api/include/torch/nn/modules/container/sequential.h.
class SequentialImpl : public Cloneable<SequentialImpl> {
 public:
  using Iterator = std::vector<AnyModule>::iterator;
  using ConstIterator = std::vector<AnyModule>::const_iterator;

  SequentialImpl() = default;
  template <class... Modules>
    requires(sizeof...(Modules) > 0 && (std::constructible_from<AnyModule, Modules> && ...) &&
             !(std::same_as<std::remove_cvref_t<Modules>, SequentialImpl> && ...))
  explicit SequentialImpl(Modules&&... modules) {
    (push_back(std::forward<Modules>(modules)), ...);
  }
  explicit SequentialImpl(OrderedDict<std::string, AnyModule>&& modules);
  explicit SequentialImpl(std::initializer_list<NamedAnyModule> modules);

  void reset() override {}
  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  // Calls the modules one after the other, the first with `inputs`.
  template <class ReturnType = Tensor, class... Inputs>
  ReturnType forward(Inputs&&... inputs);
  AnyValue any_forward(std::span<AnyValue> inputs);

  void push_back(std::string name, AnyModule module);
  void push_back(AnyModule module) { push_back(std::to_string(size()), std::move(module)); }
  template <ConvertsToAnyModule M>
  void push_back(M&& module) {
    push_back(AnyModule(std::forward<M>(module)));
  }
  template <ConvertsToAnyModule M>
  void push_back(std::string name, M&& module) {
    push_back(std::move(name), AnyModule(std::forward<M>(module)));
  }
  template <class Container>
  void extend(const Container& container) {
    for (const auto& module : container) push_back(module);
  }

  Iterator begin() { return modules_.begin(); }
  Iterator end() { return modules_.end(); }
  ConstIterator begin() const { return modules_.begin(); }
  ConstIterator end() const { return modules_.end(); }
  std::size_t size() const noexcept { return modules_.size(); }
  bool is_empty() const noexcept { return modules_.empty(); }

  // The module at a position, as itself: at<LinearImpl>(0), or without its type: ptr(0), sequential[0].
  template <ModuleType T>
  T& at(std::size_t index) const {
    return checked(index).template get<T>();
  }
  std::shared_ptr<Module> ptr(std::size_t index) const { return checked(index).ptr(); }
  template <ModuleType T>
  std::shared_ptr<T> ptr(std::size_t index) const {
    return checked(index).template ptr<T>();
  }
  std::shared_ptr<Module> operator[](std::size_t index) const { return ptr(index); }

 private:
  const AnyModule& checked(std::size_t index) const {
    TORCH_CHECK(index < size(), "Index out of range\n[Sequential] asked for ", index, " of ", size());
    return modules_[index];
  }
  std::vector<AnyModule> modules_;
};

class Sequential : public ModuleHolder<SequentialImpl> {
 public:
  using ModuleHolder<SequentialImpl>::ModuleHolder;
  Sequential() = default;
  Sequential(std::initializer_list<NamedAnyModule> modules);
};

}  // namespace nn

// %%
//| export nn/sequential.h
template <class ReturnType, class... Inputs>
ReturnType nn::SequentialImpl::forward(Inputs&&... inputs) {
  std::array<AnyValue, sizeof...(Inputs)> values{AnyValue(std::forward<Inputs>(inputs))...};
  AnyValue output = any_forward(values);
  ReturnType* const value = output.try_get<ReturnType>();
  TORCH_CHECK(value != nullptr, "The type of the return value is ",
              detail::demangle(output.type_info().name()), ", but you asked for type ",
              detail::demangle(typeid(ReturnType).name()));
  return std::move(*value);
}

// %%
//| export nn/sequential.cpp
nn::Sequential::Sequential(std::initializer_list<NamedAnyModule> modules) : ModuleHolder(std::make_shared<SequentialImpl>(modules)) {}

nn::SequentialImpl::SequentialImpl(OrderedDict<std::string, AnyModule>&& modules) {
  for (auto& item : modules) push_back(item.key(), std::move(item.value()));
}

nn::SequentialImpl::SequentialImpl(std::initializer_list<NamedAnyModule> modules) {
  for (const NamedAnyModule& named : modules) push_back(named.name(), named.module());
}

void nn::SequentialImpl::push_back(std::string name, AnyModule module) {
  register_module(std::move(name), module.ptr());
  modules_.push_back(std::move(module));
}

// The clone keeps the names, which live in the registered children.
std::shared_ptr<nn::Module> nn::SequentialImpl::clone(const std::optional<Device>& device) const {
  const auto copy = std::make_shared<SequentialImpl>();
  const std::vector<std::string> names = named_children().keys();
  copy->train(is_training());  // before it has children: each keeps its own mode
  for (std::size_t i = 0; i < size(); ++i) copy->push_back(names[i], modules_[i].clone(device));
  return copy;
}

void nn::SequentialImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Sequential"; }

// %%
//| export nn/sequential.cpp
// Calls the first module with `inputs` and each later one with the output of the one before. Returns the last
// output. Throws if there are no modules.
nn::AnyValue nn::SequentialImpl::any_forward(std::span<AnyValue> inputs) {
  TORCH_CHECK(!is_empty(), "Cannot call forward() on an empty Sequential");
  AnyValue value = modules_[0].call(inputs);
  for (std::size_t i = 1; i < size(); ++i) value = modules_[i].call(std::span<AnyValue>(&value, 1));
  return value;
}

// %%
TEST_CASE("Sequential: the output of one is the input of the next") {
  struct Sum : nn::Module {
    Tensor forward(const Tensor& a, const Tensor& b) { return a + b; }
  };
  struct Times : nn::Module {
    explicit Times(double factor) : factor_(factor) {}
    Tensor forward(Tensor x) { return x * factor_; }
    double factor_;
  };
  struct Item : nn::Module {
    double forward(Tensor x) { return x.item<double>(); }
  };
  nn::Sequential net(Sum{}, Times(10), Times(0.5));
  CHECK_EQ(net->forward(tensor(1.0), tensor(3.0)), tensor(20.0));
  CHECK_EQ(net->size(), 3);
  net->push_back(Item{});
  CHECK_EQ(net->forward<double>(tensor(1.0), tensor(1.0)), 10.0);
  CHECK_ERROR(net->forward(tensor(1.0), tensor(1.0)),
              "The type of the return value is double, but you asked for type tinytorch::Tensor");

  nn::Sequential outer(nn::Sequential(Times(2), Times(3)), Times(7));
  CHECK_EQ(outer->forward(tensor(1.0)), tensor(42.0));
  nn::Sequential empty_one;
  CHECK_ERROR(empty_one->forward(tensor(1.0)), "Cannot call forward() on an empty Sequential");
}

// %%
TEST_CASE("Sequential: names, access by type, clone and printing") {
  nn::Sequential net({{"fc", nn::Linear(4, 3)}, {"drop", nn::Dropout(0.5)}});
  CHECK_EQ(joined(net->named_children().keys()), "fc drop");
  CHECK_EQ(net->at<nn::LinearImpl>(0).options.out_features(), 3);
  CHECK_ERROR(net->ptr(2), "Index out of range");
  CHECK_ERROR(net->push_back("fc", nn::Dropout(0.5)), "Submodule 'fc' already defined");
  CHECK_EQ(net->size(), 2);

  net->at<nn::DropoutImpl>(1).train(false);
  const auto copy = std::dynamic_pointer_cast<nn::SequentialImpl>(net->clone());
  CHECK_EQ(joined(copy->named_children().keys()), "fc drop");
  CHECK(copy->is_training());
  CHECK(!copy->ptr(1)->is_training());
  CHECK(!copy->at<nn::LinearImpl>(0).weight.is_alias_of(net->at<nn::LinearImpl>(0).weight));
  CHECK_EQ(copy->at<nn::LinearImpl>(0).weight, net->at<nn::LinearImpl>(0).weight);

  nn::Sequential numbered(nn::Linear(2, 2), nn::Dropout());
  CHECK_EQ(joined(numbered->named_children().keys()), "0 1");
  std::ostringstream text;
  text << numbered;
  CHECK_EQ(text.str(),
           "torch::nn::Sequential(\n  (0): torch::nn::Linear(in_features=2, out_features=2, bias=true)\n  (1): "
           "torch::nn::Dropout(p=0.5, inplace=false)\n)");
}

// %% [markdown]
// ## Lists and dictionaries of modules
//
// A `std::vector<Linear>` as a member holds the layers, but the walk of module 03 does not find them: they would not be
// trained, saved or converted. A `ModuleList` is a vector that registers what is put into it, a `ModuleDict` a
// dictionary. Neither has a `forward`: how their modules are combined is the code of the network that owns them.
//
//     ModuleList heads                    parameters of the owner
//     [0] Linear(32, 10)                  "heads.0.weight"  "heads.0.bias"
//     [1] Linear(32, 4)                   "heads.1.weight"  "heads.1.bias"
//
// As in libtorch, taking a module out of a `ModuleDict` (`pop`, `clear`) leaves its registration in place.

// %%
//| export nn/containers.h
namespace nn {

// Modules by position, registered as "0", "1", ...; without a forward of its own.
// Source: torch/csrc/api/include/torch/nn/modules/container/modulelist.h.
class ModuleListImpl : public Cloneable<ModuleListImpl> {
 public:
  using Iterator = std::vector<std::shared_ptr<Module>>::iterator;
  using ConstIterator = std::vector<std::shared_ptr<Module>>::const_iterator;

  ModuleListImpl() = default;
  template <class... Modules>
    requires(sizeof...(Modules) > 0 && (std::constructible_from<AnyModule, Modules> && ...) &&
             !(std::same_as<std::remove_cvref_t<Modules>, ModuleListImpl> && ...))
  explicit ModuleListImpl(Modules&&... modules) {
    (push_back(std::forward<Modules>(modules)), ...);
  }

  void reset() override {}
  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  void push_back(std::shared_ptr<Module> module);
  template <class M>
  void push_back(const ModuleHolder<M>& holder) {
    push_back(std::shared_ptr<Module>(holder.ptr()));
  }
  template <ModuleType M>
  void push_back(M&& module) {
    push_back(std::shared_ptr<Module>(std::make_shared<std::remove_cvref_t<M>>(std::forward<M>(module))));
  }
  template <class Container>
  void extend(const Container& container) {
    for (const auto& module : container) push_back(module);
  }
  // Puts the module before the one at `index`; the later ones move up by one place and name.
  void insert(std::size_t index, std::shared_ptr<Module> module);
  template <class M>
  void insert(std::size_t index, const ModuleHolder<M>& holder) {
    insert(index, std::shared_ptr<Module>(holder.ptr()));
  }
  template <ModuleType M>
  void insert(std::size_t index, M&& module) {
    insert(index, std::shared_ptr<Module>(std::make_shared<std::remove_cvref_t<M>>(std::forward<M>(module))));
  }

  Iterator begin() { return modules_.begin(); }
  Iterator end() { return modules_.end(); }
  ConstIterator begin() const { return modules_.begin(); }
  ConstIterator end() const { return modules_.end(); }
  std::size_t size() const noexcept { return modules_.size(); }
  bool is_empty() const noexcept { return modules_.empty(); }

  // The module at a position, as what it is (at throws if it is another type, ptr<T> gives nullptr), or without its type.
  template <ModuleType T>
  T& at(std::size_t index) const;
  std::shared_ptr<Module> ptr(std::size_t index) const;
  template <ModuleType T>
  std::shared_ptr<T> ptr(std::size_t index) const {
    return std::dynamic_pointer_cast<T>(ptr(index));
  }
  std::shared_ptr<Module> operator[](std::size_t index) const { return ptr(index); }

 private:
  std::vector<std::shared_ptr<Module>> modules_;
};
TORCH_MODULE(ModuleList);

// Modules by name, registered under that name; without a forward of its own.
// Source: torch/csrc/api/include/torch/nn/modules/container/moduledict.h.
class ModuleDictImpl : public Cloneable<ModuleDictImpl> {
 public:
  using Modules = OrderedDict<std::string, std::shared_ptr<Module>>;
  using Pairs = std::vector<std::pair<std::string, std::shared_ptr<Module>>>;
  using Iterator = Modules::Iterator;
  using ConstIterator = Modules::ConstIterator;

  ModuleDictImpl() = default;
  explicit ModuleDictImpl(const Pairs& modules);
  explicit ModuleDictImpl(const Modules& modules);

  void reset() override {}
  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  // Adds modules, or replaces those whose names are there.
  void update(const Pairs& modules);
  template <class Container>
  void update(const Container& container) {
    for (const auto& item : container) insert(item.key(), item.value());
  }
  // Takes a module out and returns it. It stays registered.
  std::shared_ptr<Module> pop(const std::string& key);
  void clear();

  Pairs items() const;
  std::vector<std::string> keys() const;
  std::vector<std::shared_ptr<Module>> values() const;
  Iterator begin() { return modules_.begin(); }
  Iterator end() { return modules_.end(); }
  ConstIterator begin() const { return modules_.begin(); }
  ConstIterator end() const { return modules_.end(); }
  std::size_t size() const noexcept { return modules_.size(); }
  bool empty() const noexcept { return modules_.is_empty(); }
  bool contains(const std::string& key) const noexcept;
  std::shared_ptr<Module> operator[](const std::string& key) const;
  template <ModuleType T>
  T& at(const std::string& key) const;

 private:
  void insert(const std::string& key, std::shared_ptr<Module> module);
  Modules modules_;
};
TORCH_MODULE(ModuleDict);

}  // namespace nn

// %%
//| export nn/containers.h
template <nn::ModuleType T>
T& nn::ModuleListImpl::at(std::size_t index) const {
  const std::shared_ptr<T> module = ptr<T>(index);
  TORCH_CHECK(module != nullptr, "Unable to cast module[", index, "] to ", detail::demangle(typeid(T).name()));
  return *module;
}

template <nn::ModuleType T>
T& nn::ModuleDictImpl::at(const std::string& key) const {
  const auto module = std::dynamic_pointer_cast<T>(modules_[key]);
  TORCH_CHECK(module != nullptr, "Unable to cast module[", key, "] to ", detail::demangle(typeid(T).name()));
  return *module;
}

// %%
//| export nn/containers.cpp
void nn::ModuleDictImpl::clear() { modules_.clear(); }
nn::ModuleDictImpl::Pairs nn::ModuleDictImpl::items() const { return modules_.pairs(); }
std::vector<std::string> nn::ModuleDictImpl::keys() const { return modules_.keys(); }
std::vector<std::shared_ptr<nn::Module>> nn::ModuleDictImpl::values() const { return modules_.values(); }
bool nn::ModuleDictImpl::contains(const std::string& key) const noexcept { return modules_.contains(key); }
std::shared_ptr<nn::Module> nn::ModuleDictImpl::operator[](const std::string& key) const { return modules_[key]; }

nn::ModuleDictImpl::ModuleDictImpl(const Pairs& modules) { update(modules); }
nn::ModuleDictImpl::ModuleDictImpl(const Modules& modules) { update(modules); }

std::shared_ptr<nn::Module> nn::ModuleListImpl::clone(const std::optional<Device>& device) const {
  const auto copy = std::make_shared<ModuleListImpl>();
  copy->train(is_training());  // before it has children: each keeps its own mode
  for (const auto& module : modules_) copy->push_back(module->clone(device));
  return copy;
}

void nn::ModuleListImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::ModuleList"; }

void nn::ModuleListImpl::push_back(std::shared_ptr<Module> module) {
  register_module(std::to_string(size()), module);
  modules_.push_back(std::move(module));
}

void nn::ModuleListImpl::insert(std::size_t index, std::shared_ptr<Module> module) {
  TORCH_CHECK(index <= size(), "Index out of range");
  if (index == size()) return push_back(std::move(module));
  modules_.insert(modules_.begin() + static_cast<std::ptrdiff_t>(index), std::move(module));
  for (std::size_t i = index; i + 1 < size(); ++i) replace_module(std::to_string(i), modules_[i]);
  register_module(std::to_string(size() - 1), modules_.back());
}

std::shared_ptr<nn::Module> nn::ModuleListImpl::ptr(std::size_t index) const {
  TORCH_CHECK(index < size(), "Index out of range\n[ModuleList] asked for ", index, " of ", size());
  return modules_[index];
}

// %%
//| export nn/containers.cpp
std::shared_ptr<nn::Module> nn::ModuleDictImpl::clone(const std::optional<Device>& device) const {
  const auto copy = std::make_shared<ModuleDictImpl>();
  copy->train(is_training());
  for (const auto& item : modules_) copy->insert(item.key(), item.value()->clone(device));
  return copy;
}

void nn::ModuleDictImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::ModuleDict"; }

void nn::ModuleDictImpl::update(const Pairs& modules) {
  for (const auto& [key, module] : modules) insert(key, module);
}

std::shared_ptr<nn::Module> nn::ModuleDictImpl::pop(const std::string& key) {
  std::shared_ptr<Module> module = modules_[key];
  modules_.erase(key);
  return module;
}

void nn::ModuleDictImpl::insert(const std::string& key, std::shared_ptr<Module> module) {
  if (modules_.contains(key)) {
    replace_module(key, module);
    modules_[key] = std::move(module);
  } else {
    register_module(key, module);
    modules_.insert(key, std::move(module));
  }
}

// %%
TEST_CASE("ModuleList: registered by position, and inserting moves the names") {
  nn::ModuleList list(nn::Linear(1, 2), nn::Dropout(0.25));
  CHECK_EQ(joined(list->named_parameters().keys()), "0.weight 0.bias");
  CHECK_EQ(printed(list),
           "torch::nn::ModuleList(\n  (0): torch::nn::Linear(in_features=1, out_features=2, bias=true)\n  (1): "
           "torch::nn::Dropout(p=0.25, inplace=false)\n)");
  list->insert(0, nn::Linear(3, 4));
  CHECK_EQ(list->size(), 3);
  CHECK_EQ(list->at<nn::LinearImpl>(1).options.in_features(), 1);
  CHECK_EQ(list->named_children()["1"].get(), &list->at<nn::LinearImpl>(1));
  CHECK_EQ(list->named_children()["2"].get(), list->ptr(2).get());
  CHECK_ERROR(list->at<nn::DropoutImpl>(0), "Unable to cast module[0] to torch::nn::DropoutImpl");
  CHECK(list->ptr<nn::DropoutImpl>(0) == nullptr);
  CHECK_ERROR(list->ptr(3), "Index out of range");
  CHECK_ERROR(list->insert(4, nn::Dropout(0.5)), "Index out of range");

  list->at<nn::DropoutImpl>(2).eval();
  const auto copy = std::dynamic_pointer_cast<nn::ModuleListImpl>(list->clone());
  CHECK(copy->is_training());
  CHECK(!copy->ptr(2)->is_training());
  CHECK(!copy->at<nn::LinearImpl>(0).weight.is_alias_of(list->at<nn::LinearImpl>(0).weight));
  nn::ModuleList longer;
  longer->extend(*list);
  CHECK(longer->ptr(1) == list->ptr(1));
}

// %%
TEST_CASE("ModuleDict: registered by name, replaced by update") {
  nn::ModuleDict dict(nn::ModuleDictImpl::Pairs{{"x", nn::Linear(1, 2).ptr()}, {"y", nn::Dropout(0.5).ptr()}});
  CHECK_EQ(joined(dict->keys()), "x y");
  CHECK_EQ(printed(dict),
           "torch::nn::ModuleDict(\n  (x): torch::nn::Linear(in_features=1, out_features=2, bias=true)\n  (y): "
           "torch::nn::Dropout(p=0.5, inplace=false)\n)");
  CHECK_ERROR(dict->at<nn::DropoutImpl>("x"), "Unable to cast module[x] to torch::nn::DropoutImpl");
  CHECK_ERROR(dict[std::string("z")], "Key 'z' is not defined");
  dict->update(nn::ModuleDictImpl::Pairs{{"x", nn::Linear(5, 6).ptr()}});
  CHECK_EQ(dict->at<nn::LinearImpl>("x").options.in_features(), 5);
  CHECK_EQ(dict->parameters()[0].sizes(), IntArrayRef({6, 5}));
  CHECK_EQ(joined(std::dynamic_pointer_cast<nn::ModuleDictImpl>(dict->clone())->keys()), "x y");
  CHECK(dict->pop("y") != nullptr);
  CHECK(!dict->contains("y"));
  CHECK_EQ(dict->children().size(), 2);
  CHECK_ERROR(dict->pop("y"), "Key 'y' is not defined");
}

// %% [markdown]
// ## Activation functions as layers
//
// An activation function has no tensors of its own, so a function would do, and inside a hand-written `forward` it
// does. `Sequential` needs a module. `Functional` wraps any function, and the classes below give those of module 02 a
// name, options and a line in a printed network; chapter 97 adds the others. As in libtorch each comes as a module and
// as a function of `nn::functional` that takes the same options:
//
//     nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.2))(x)
//     nn::functional::leaky_relu(x, nn::functional::LeakyReLUFuncOptions().negative_slope(0.2))
//
// With `inplace` the result overwrites the input. For relu that takes no memory; `leaky_relu_` and `elu_` compute the
// result first and copy it, so that gradients follow from those of the parts.

// %%
//| export nn/modules.h
// leaky_relu and elu over the elements of `self`, which they return.
const Tensor& leaky_relu_(const Tensor& self, const Scalar& negative_slope = 0.01);
const Tensor& elu_(const Tensor& self, const Scalar& alpha = 1, const Scalar& scale = 1, const Scalar& input_scale = 1);

// %%
//| export nn/modules.h
// Source: torch/csrc/api/include/torch/nn/options/activation.h.
namespace nn {

struct ReLUOptions {
  ReLUOptions(bool inplace = false) : inplace_(inplace) {}
  TORCH_ARG(bool, inplace);
};
struct LeakyReLUOptions {
  TORCH_ARG(double, negative_slope) = 1e-2;
  TORCH_ARG(bool, inplace) = false;
};
struct ELUOptions {
  TORCH_ARG(double, alpha) = 1.0;
  TORCH_ARG(bool, inplace) = false;
};
struct GELUOptions {
  TORCH_ARG(std::string, approximate) = "none";
};
struct SoftplusOptions {
  TORCH_ARG(double, beta) = 1.0;
  TORCH_ARG(double, threshold) = 20.0;
};
struct SoftmaxOptions {
  SoftmaxOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
};
struct LogSoftmaxOptions {
  LogSoftmaxOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
};

}  // namespace nn

// %%
//| export nn/modules.h
namespace nn::functional {

using ReLUFuncOptions = ReLUOptions;
using LeakyReLUFuncOptions = LeakyReLUOptions;
using ELUFuncOptions = ELUOptions;
using GELUFuncOptions = GELUOptions;
using SoftplusFuncOptions = SoftplusOptions;
struct SoftmaxFuncOptions {
  SoftmaxFuncOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
  TORCH_ARG(std::optional<ScalarType>, dtype) = std::nullopt;
};
struct LogSoftmaxFuncOptions {
  LogSoftmaxFuncOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
  TORCH_ARG(std::optional<ScalarType>, dtype) = std::nullopt;
};

inline Tensor relu(Tensor input, const ReLUFuncOptions& options = {}) {
  return options.inplace() ? tinytorch::relu_(input) : tinytorch::relu(input);
}
inline Tensor leaky_relu(Tensor input, const LeakyReLUFuncOptions& options = {}) {
  return options.inplace() ? tinytorch::leaky_relu_(input, options.negative_slope())
                           : tinytorch::leaky_relu(input, options.negative_slope());
}
inline Tensor elu(Tensor input, const ELUFuncOptions& options = {}) {
  return options.inplace() ? tinytorch::elu_(input, options.alpha()) : tinytorch::elu(input, options.alpha());
}
inline Tensor gelu(const Tensor& input, const GELUFuncOptions& options = {}) {
  return tinytorch::gelu(input, options.approximate());
}
inline Tensor silu(const Tensor& input) { return tinytorch::silu(input); }
inline Tensor softplus(const Tensor& input, const SoftplusFuncOptions& options = {}) {
  return tinytorch::softplus(input, options.beta(), options.threshold());
}
inline Tensor softmax(const Tensor& input, const SoftmaxFuncOptions& options) {
  return tinytorch::softmax(input, options.dim(), options.dtype());
}
inline Tensor log_softmax(const Tensor& input, const LogSoftmaxFuncOptions& options) {
  return tinytorch::log_softmax(input, options.dim(), options.dtype());
}

}  // namespace nn::functional

// %%
//| export nn/modules.h
namespace nn {

// Any function of a Tensor as a module: Functional(relu), Functional(elu, 0.5, 1.0, 1.0) with further arguments bound.
class FunctionalImpl : public Cloneable<FunctionalImpl> {
 public:
  using Function = std::function<Tensor(Tensor)>;
  explicit FunctionalImpl(Function function);
  template <class F, class... Args>
    requires(sizeof...(Args) > 0)
  explicit FunctionalImpl(F function, Args&&... args)
      : function_([function, ... bound = std::forward<Args>(args)](Tensor input) { return function(input, bound...); }) {}
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return function_(std::move(input)); }
  Tensor operator()(Tensor input) { return forward(std::move(input)); }

 private:
  Function function_;
};
TORCH_MODULE(Functional);

class ReLUImpl : public Cloneable<ReLUImpl> {
 public:
  explicit ReLUImpl(const ReLUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::relu(input, options); }
  ReLUOptions options;
};
TORCH_MODULE(ReLU);
class LeakyReLUImpl : public Cloneable<LeakyReLUImpl> {
 public:
  explicit LeakyReLUImpl(const LeakyReLUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::leaky_relu(input, options); }
  LeakyReLUOptions options;
};
TORCH_MODULE(LeakyReLU);
class ELUImpl : public Cloneable<ELUImpl> {
 public:
  explicit ELUImpl(const ELUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::elu(input, options); }
  ELUOptions options;
};
TORCH_MODULE(ELU);
class GELUImpl : public Cloneable<GELUImpl> {
 public:
  explicit GELUImpl(const GELUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::gelu(input, options); }
  GELUOptions options;
};
TORCH_MODULE(GELU);

}  // namespace nn

// %%
//| export nn/modules.h
namespace nn {

class SigmoidImpl : public Cloneable<SigmoidImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return sigmoid(input); }
};
TORCH_MODULE(Sigmoid);
class TanhImpl : public Cloneable<TanhImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return tanh(input); }
};
TORCH_MODULE(Tanh);
class SiLUImpl : public Cloneable<SiLUImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return silu(input); }
};
TORCH_MODULE(SiLU);
class SoftplusImpl : public Cloneable<SoftplusImpl> {
 public:
  explicit SoftplusImpl(const SoftplusOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::softplus(input, options); }
  SoftplusOptions options;
};
TORCH_MODULE(Softplus);
class SoftmaxImpl : public Cloneable<SoftmaxImpl> {
 public:
  explicit SoftmaxImpl(std::int64_t dim);
  explicit SoftmaxImpl(const SoftmaxOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return softmax(input, options.dim()); }
  SoftmaxOptions options;
};
TORCH_MODULE(Softmax);
class LogSoftmaxImpl : public Cloneable<LogSoftmaxImpl> {
 public:
  explicit LogSoftmaxImpl(std::int64_t dim);
  explicit LogSoftmaxImpl(const LogSoftmaxOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return log_softmax(input, options.dim()); }
  LogSoftmaxOptions options;
};
TORCH_MODULE(LogSoftmax);

}  // namespace nn

// %%
//| export nn/modules.cpp
nn::FunctionalImpl::FunctionalImpl(Function function) : function_(std::move(function)) {}
nn::ReLUImpl::ReLUImpl(const ReLUOptions& options_) : options(options_) {}
nn::LeakyReLUImpl::LeakyReLUImpl(const LeakyReLUOptions& options_) : options(options_) {}
nn::ELUImpl::ELUImpl(const ELUOptions& options_) : options(options_) {}
nn::GELUImpl::GELUImpl(const GELUOptions& options_) : options(options_) {}
nn::SoftplusImpl::SoftplusImpl(const SoftplusOptions& options_) : options(options_) {}
nn::SoftmaxImpl::SoftmaxImpl(std::int64_t dim) : SoftmaxImpl(SoftmaxOptions(dim)) {}
nn::SoftmaxImpl::SoftmaxImpl(const SoftmaxOptions& options_) : options(options_) {}
nn::LogSoftmaxImpl::LogSoftmaxImpl(std::int64_t dim) : LogSoftmaxImpl(LogSoftmaxOptions(dim)) {}
nn::LogSoftmaxImpl::LogSoftmaxImpl(const LogSoftmaxOptions& options_) : options(options_) {}

namespace {
// What `self` holds before it is overwritten: a copy where a graph may want to keep it.
Tensor unwritten(const Tensor& self) { return layers_of(self).has(Layer::Autograd) ? self.clone() : self; }
}  // namespace

const Tensor& leaky_relu_(const Tensor& self, const Scalar& negative_slope) {
  self.copy_(leaky_relu(unwritten(self), negative_slope));
  return self;
}
const Tensor& elu_(const Tensor& self, const Scalar& alpha, const Scalar& scale, const Scalar& input_scale) {
  self.copy_(elu(unwritten(self), alpha, scale, input_scale));
  return self;
}

// %%
//| export nn/modules.cpp
void nn::FunctionalImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Functional()"; }
void nn::ReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ReLU(" << (options.inplace() ? "inplace=true" : "") << ')';
}
void nn::LeakyReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::LeakyReLU(negative_slope=" << options.negative_slope() << (options.inplace() ? ", inplace=true" : "")
         << ')';
}
void nn::ELUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ELU(alpha=" << options.alpha() << (options.inplace() ? ", inplace=true" : "") << ')';
}
void nn::GELUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::GELU()"; }
void nn::SigmoidImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Sigmoid()"; }
void nn::TanhImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Tanh()"; }
void nn::SiLUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::SiLU()"; }
void nn::SoftplusImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Softplus(beta=" << options.beta() << ", threshold=" << options.threshold() << ')';
}
void nn::SoftmaxImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softmax(dim=" << options.dim() << ')'; }
void nn::LogSoftmaxImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::LogSoftmax(dim=" << options.dim() << ')';
}

// %%
TEST_CASE("activation modules: the function, with its options") {
  namespace F = nn::functional;
  const Tensor x = tensor({-2.0, 0.0, 3.0});
  CHECK_EQ(nn::ReLU()(x), relu(x));
  CHECK_EQ(nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.5))(x), tensor({-1.0, 0.0, 3.0}));
  CHECK_EQ(nn::ELU(nn::ELUOptions().alpha(2))(x), elu(x, 2));
  CHECK_EQ(nn::GELU(nn::GELUOptions().approximate("tanh"))(x), gelu(x, "tanh"));
  CHECK_EQ(nn::Sigmoid()(x), sigmoid(x));
  CHECK_EQ(nn::Tanh()(x), tanh(x));
  CHECK_EQ(nn::SiLU()(x), silu(x));
  CHECK_EQ(nn::Softplus(nn::SoftplusOptions().beta(2))(x), softplus(x, 2));
  CHECK_EQ(nn::Softmax(0)(x), softmax(x, 0));
  CHECK_EQ(nn::LogSoftmax(0)(x), log_softmax(x, 0));
  CHECK_EQ(nn::Functional(relu)(x), relu(x));
  CHECK_EQ(nn::Functional(leaky_relu, 0.5)(x), leaky_relu(x, 0.5));
  CHECK_EQ(F::elu(x, F::ELUFuncOptions().alpha(0.5)), elu(x, 0.5));
  CHECK_EQ(F::gelu(x), gelu(x));
  CHECK_EQ(F::softplus(x, F::SoftplusFuncOptions().threshold(1)), softplus(x, 1, 1));
  CHECK_EQ(F::softmax(x, F::SoftmaxFuncOptions(0).dtype(kDouble)), softmax(x, 0, kDouble));
  CHECK_EQ(F::log_softmax(x, 0), log_softmax(x, 0));
}

// %%
TEST_CASE("activation modules: in place, and printed") {
  const Tensor x = tensor({-2.0, 0.0, 3.0});
  Tensor y = x.clone();
  CHECK(nn::ReLU(nn::ReLUOptions(true))(y).is_same(y));
  CHECK_EQ(y, relu(x));
  y = x.clone();
  CHECK(nn::LeakyReLU(nn::LeakyReLUOptions().inplace(true))(y).is_same(y));
  CHECK_EQ(y, leaky_relu(x));
  y = x.clone();
  CHECK(nn::ELU(nn::ELUOptions().alpha(2).inplace(true))(y).is_same(y));
  CHECK_EQ(y, elu(x, 2));

  CHECK_EQ(printed(nn::ReLU()), "torch::nn::ReLU()");
  CHECK_EQ(printed(nn::ReLU(true)), "torch::nn::ReLU(inplace=true)");
  CHECK_EQ(printed(nn::LeakyReLU(nn::LeakyReLUOptions().inplace(true))),
           "torch::nn::LeakyReLU(negative_slope=0.01, inplace=true)");
  CHECK_EQ(printed(nn::ELU(nn::ELUOptions().alpha(0.5).inplace(true))), "torch::nn::ELU(alpha=0.5, inplace=true)");
  CHECK_EQ(printed(nn::GELU(nn::GELUOptions().approximate("tanh"))), "torch::nn::GELU()");
  CHECK_EQ(printed(nn::Softplus()), "torch::nn::Softplus(beta=1, threshold=20)");
  CHECK_EQ(printed(nn::Softmax(-1)), "torch::nn::Softmax(dim=-1)");
  CHECK_EQ(printed(nn::LogSoftmax(1)), "torch::nn::LogSoftmax(dim=1)");
  CHECK_EQ(printed(nn::Functional(relu)), "torch::nn::Functional()");
}

// %% [markdown]
// ## What the abstraction costs
//
// A `forward` through `Sequential` boxes the argument, calls through a function pointer, unboxes, and boxes
// the result again. How much is that next to the work of a layer? The network below is small on purpose: with
// a large one the difference could not be seen. Walking the tree is measured, too: it makes strings, and an
// optimizer should therefore ask for `parameters()` once and not in every step.

// %%
//| export nn/more_layers.h
namespace nn {

// Gives its input back. For a place where a layer is expected and nothing shall happen.
class IdentityImpl : public Cloneable<IdentityImpl> {
 public:
  IdentityImpl() = default;
  template <class... Ignored>
    requires(sizeof...(Ignored) > 0 && !(std::derived_from<std::remove_cvref_t<Ignored>, Module> && ...))
  explicit IdentityImpl(Ignored&&...) {}
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return input; }
};
TORCH_MODULE(Identity);

}  // namespace nn

// %%
//| lesson
// Something to measure, and the time of its fastest call.
struct Candidate {
  std::string name;
  std::function<Tensor()> run;
  double seconds = 1e9;
};

// Measures all of them in turns and keeps the fastest sample of each: what disturbs a measurement only makes it slower.
void measure_in_turns(std::vector<Candidate>& candidates) {
  for (int round = 0; round < 5; ++round)
    for (Candidate& candidate : candidates)
      candidate.seconds = std::min(candidate.seconds,
                                   measure([&] { do_not_optimize(candidate.run()); }, {.samples = 3}).minimum);
}

// %%
DEMO("direct calls, a Module and a Sequential; and one walk over the tree") {
  nn::MLP net(std::vector<std::int64_t>{8, 8, 8, 8, 8});
  nn::Sequential sequential;
  for (std::size_t i = 0; i < net->layers.size(); ++i) {
    if (i > 0) sequential->push_back(nn::ReLU());
    sequential->push_back(net->layers[i]);
  }
  const Tensor x = nn::init::normal_(empty({1, 8}));
  const auto direct = [&] {
    Tensor y = x;
    for (std::size_t i = 0; i < net->layers.size(); ++i) {
      if (i > 0) y = relu(y);
      y = linear(y, net->layers[i]->weight, net->layers[i]->bias);
    }
    return y;
  };
  nn::Sequential identities;
  for (int i = 0; i < 100; ++i) identities->push_back(nn::Identity());

  std::vector<Candidate> ways = {
      {"functions, called directly", direct},
      {"the MLP's forward", [&] { return net->forward(x); }},
      {"the same layers in a Sequential", [&] { return sequential->forward(x); }},
      {"100 Identity modules in a Sequential", [&] { return identities->forward(x); }},
      {"parameters() of the MLP (8 tensors)", [&] { return net->parameters()[0]; }}};
  measure_in_turns(ways);
  for (const Candidate& way : ways) {
    const std::size_t before = memory::stats().allocations;
    way.run();
    std::printf("%-44s %10s   %zu allocations of tensor data\n", way.name.c_str(), format_seconds(way.seconds).c_str(),
                memory::stats().allocations - before);
  }
}

// %% [markdown]
// ## Layers that change shapes, and one of two inputs
//
// `Flatten` and `Unflatten` give a chain of layers the shapes that it needs; they return views where the strides allow
// it. `Bilinear` combines two inputs: each output unit k has a matrix W_k, and the output is x1 W_k x2 + b_k. Written as
// two products it needs no loop over k:
//
//     x1 (N, I) x W as (I, K J)  ->  (N, K, J)  times x2 (N, 1, J)  summed over J  ->  (N, K)

// %%
//| export nn/more_layers.h
// For each k: sum over i and j of input1[..., i] * weight[k, i, j] * input2[..., j], plus bias[k]. input1 (..., I) and
// input2 (..., J) have the same leading sizes; weight (K, I, J); the result is (..., K). O(N K I J).
Tensor bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias = Tensor());

namespace nn {

struct FlattenOptions {
  TORCH_ARG(std::int64_t, start_dim) = 1;
  TORCH_ARG(std::int64_t, end_dim) = -1;
};

// Joins dimensions, by default all but the batch: (B, 1, 8, 8) -> (B, 64).
class FlattenImpl : public Cloneable<FlattenImpl> {
 public:
  explicit FlattenImpl(const FlattenOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return input.flatten(options.start_dim(), options.end_dim()); }

  FlattenOptions options;
};
TORCH_MODULE(Flatten);

struct UnflattenOptions {
  UnflattenOptions(std::int64_t dim, std::vector<std::int64_t> sizes) : dim_(dim), sizes_(std::move(sizes)) {}
  TORCH_ARG(std::int64_t, dim);
  TORCH_ARG(std::vector<std::int64_t>, sizes);
};

// Splits the dimension `dim` into `sizes`, one of which may be -1: (B, 64) -> (B, 1, 8, 8).
class UnflattenImpl : public Cloneable<UnflattenImpl> {
 public:
  UnflattenImpl(std::int64_t dim, std::vector<std::int64_t> sizes);
  explicit UnflattenImpl(UnflattenOptions options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);

  UnflattenOptions options;
};
TORCH_MODULE(Unflatten);

struct BilinearOptions {
  BilinearOptions(std::int64_t in1_features, std::int64_t in2_features, std::int64_t out_features)
      : in1_features_(in1_features), in2_features_(in2_features), out_features_(out_features) {}
  TORCH_ARG(std::int64_t, in1_features);
  TORCH_ARG(std::int64_t, in2_features);
  TORCH_ARG(std::int64_t, out_features);
  TORCH_ARG(bool, bias) = true;
};

// bilinear() with a weight and bias of its own, born uniform on [-1/sqrt(in1), 1/sqrt(in1)].
class BilinearImpl : public Cloneable<BilinearImpl> {
 public:
  BilinearImpl(std::int64_t in1_features, std::int64_t in2_features, std::int64_t out_features);
  explicit BilinearImpl(const BilinearOptions& options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input1, const Tensor& input2) { return bilinear(input1, input2, weight, bias); }

  BilinearOptions options;
  Tensor weight;  // (out_features, in1_features, in2_features)
  Tensor bias;    // (out_features), or undefined
};
TORCH_MODULE(Bilinear);

namespace functional {
inline Tensor bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias = Tensor()) {
  return tinytorch::bilinear(input1, input2, weight, bias);
}
}  // namespace functional

}  // namespace nn

// %%
//| export nn/more_layers.cpp
nn::FlattenImpl::FlattenImpl(const FlattenOptions& options_) : options(options_) {}
nn::UnflattenImpl::UnflattenImpl(std::int64_t dim, std::vector<std::int64_t> sizes) : UnflattenImpl(UnflattenOptions(dim, std::move(sizes))) {}
nn::UnflattenImpl::UnflattenImpl(UnflattenOptions options_) : options(std::move(options_)) {}
nn::BilinearImpl::BilinearImpl(std::int64_t in1_features, std::int64_t in2_features, std::int64_t out_features)
    : BilinearImpl(BilinearOptions(in1_features, in2_features, out_features)) {}
nn::BilinearImpl::BilinearImpl(const BilinearOptions& options_) : options(options_) { BilinearImpl::reset(); }

namespace {
void check_bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias) {
  TORCH_CHECK(input1.dim() == input2.dim(), "bilinear(): input dimensions do not match: got ", input1.dim(), " and ",
              input2.dim());
  for (std::int64_t d = 0; d + 1 < input1.dim(); ++d)
    TORCH_CHECK(input1.size(d) == input2.size(d), "bilinear(): input batch dimensions do not match at dim ", d, ": got ",
                input1.size(d), " and ", input2.size(d));
  TORCH_CHECK(weight.dim() == 3, "bilinear(): weight must have 3 dimensions, got ", weight.dim());
  TORCH_CHECK(input1.size(-1) == weight.size(1), "bilinear(): input1 size does not match weight size: got ",
              input1.size(-1), " but expected ", weight.size(1));
  TORCH_CHECK(input2.size(-1) == weight.size(2), "bilinear(): input2 size does not match weight size: got ",
              input2.size(-1), " but expected ", weight.size(2));
  TORCH_CHECK(!bias.defined() || bias.size(0) == weight.size(0), "bilinear(): bias size does not match weight size: got ",
              bias.defined() ? bias.size(0) : 0, " but expected ", weight.size(0));
}
}  // namespace

Tensor bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias) {
  check_bilinear(input1, input2, weight, bias);
  const std::int64_t K = weight.size(0);
  const std::int64_t I = weight.size(1);
  const std::int64_t J = weight.size(2);
  DimVector sizes(input1.sizes());
  sizes.back() = 1;
  const std::int64_t N = multiply_sizes(sizes);
  sizes.back() = K;
  const Tensor left = input1.reshape({N, I}).mm(weight.permute({1, 0, 2}).reshape({I, K * J})).view({N, K, J});
  const Tensor output = (left * input2.reshape({N, 1, J})).sum({-1}).to(left.scalar_type()).view(sizes);
  return bias.defined() ? output + bias : output;
}

// %%
//| export nn/more_layers.cpp
void nn::IdentityImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Identity()"; }

void nn::FlattenImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Flatten(start_dim=" << options.start_dim() << ", end_dim=" << options.end_dim() << ')';
}

Tensor nn::UnflattenImpl::forward(const Tensor& input) {
  const auto dim = static_cast<std::size_t>(wrap_dim(options.dim(), input.dim()));
  DimVector sizes;
  for (std::size_t d = 0; d < dim; ++d) sizes.push_back(input.sizes()[d]);
  for (const std::int64_t size : options.sizes()) sizes.push_back(size);
  for (std::size_t d = dim + 1; d < input.sizes().size(); ++d) sizes.push_back(input.sizes()[d]);
  return input.view(sizes);
}

void nn::UnflattenImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Unflatten(dim=" << options.dim() << ", unflattened_size={";
  for (std::size_t i = 0; i < options.sizes().size(); ++i) stream << (i > 0 ? ", " : "") << options.sizes()[i];
  stream << "})";
}

void nn::BilinearImpl::reset() {
  weight = register_parameter("weight", empty({options.out_features(), options.in1_features(), options.in2_features()}));
  bias = options.bias() ? register_parameter("bias", empty({options.out_features()}))
                        : register_parameter("bias", Tensor(), /*requires_grad=*/false);
  reset_parameters();
}

void nn::BilinearImpl::reset_parameters() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(options.in1_features()));
  init::uniform_(weight, -bound, bound);
  if (bias.defined()) init::uniform_(bias, -bound, bound);
}

void nn::BilinearImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Bilinear(in1_features=" << options.in1_features() << ", in2_features=" << options.in2_features()
         << ", out_features=" << options.out_features() << ", bias=" << (options.bias() ? "true" : "false") << ')';
}

// %%
TEST_CASE("Identity, Flatten and Unflatten: views, no copies") {
  const Tensor images = zeros({5, 1, 8, 8});
  nn::Flatten flatten;
  CHECK_EQ(flatten(images).sizes(), IntArrayRef({5, 64}));
  CHECK(flatten(images).is_alias_of(images));
  CHECK_EQ(nn::Flatten(nn::FlattenOptions().start_dim(0).end_dim(1))(images).sizes(), IntArrayRef({5, 8, 8}));
  CHECK(nn::Identity()(images).is_same(images));
  CHECK(nn::Identity(54, true)(images).is_same(images));
  nn::Unflatten unflatten(1, std::vector<std::int64_t>{1, 8, -1});
  CHECK_EQ(unflatten(flatten(images)).sizes(), IntArrayRef({5, 1, 8, 8}));
  CHECK(unflatten(flatten(images)).is_alias_of(images));
  CHECK_EQ(nn::Unflatten(nn::UnflattenOptions(-2, {4, 2}))(zeros({8, 3})).sizes(), IntArrayRef({4, 2, 3}));
  CHECK_EQ(printed(nn::Identity()), "torch::nn::Identity()");
  CHECK_EQ(printed(flatten), "torch::nn::Flatten(start_dim=1, end_dim=-1)");
  CHECK_EQ(printed(nn::Unflatten(1, std::vector<std::int64_t>{2, 3})),
           "torch::nn::Unflatten(dim=1, unflattened_size={2, 3})");
}

// %%
TEST_CASE("Bilinear: PyTorch's weights for the same seed, and its outputs") {
  manual_seed(1);
  nn::Bilinear layer(2, 3, 2);
  CHECK_CLOSE(layer->weight, tensor({{{0.364346087, -0.312101543, -0.137080774}, {0.331893951, -0.665696383, 0.42406413}},
                                     {{-0.145469755, 0.359736234, 0.0982998535}, {-0.0865810886, 0.196123779, 0.0348828398}}}));
  CHECK_CLOSE(layer->bias, tensor({0.258255303, -0.27556023}));
  CHECK_CLOSE(layer(ones({1, 2}), ones({1, 3})), tensor({{0.263680816, 0.181431681}}), 1e-5, 1e-6);
  CHECK_EQ(layer(ones({4, 5, 2}), ones({4, 5, 3})).sizes(), IntArrayRef({4, 5, 2}));
  CHECK_EQ(printed(layer), "torch::nn::Bilinear(in1_features=2, in2_features=3, out_features=2, bias=true)");
  CHECK_ERROR(bilinear(ones({2, 3}), ones({3, 3}), ones({1, 3, 3})),
              "bilinear(): input batch dimensions do not match at dim 0: got 2 and 3");
  CHECK_ERROR(bilinear(ones({2, 3}), ones({2, 3}), ones({1, 3, 4})),
              "bilinear(): input2 size does not match weight size: got 3 but expected 4");
}

// %% [markdown]
// ## Other dropouts
//
// Neighbouring pixels of a feature map say nearly the same, so dropping single pixels removes little. `Dropout2d` and
// `Dropout3d` drop whole channels: the mask is (N, C, 1, 1) and broadcasts. *Alpha dropout* goes with `selu`, whose
// outputs have mean 0 and variance 1: dropped values become selu's lower limit, and an affine map restores mean and
// variance.
//
//     dropout         mask (N, C, H, W)      0 or x / (1 - p)
//     dropout2d       mask (N, C, 1, 1)      0 or x / (1 - p)
//     alpha_dropout   mask (N, C, H, W)      a (-1.758) + b  or  a x + b

// %%
//| export nn/more_dropout.h
// As dropout, with one decision for each (n, c) of an input (N, C, ...): at least two dimensions.
Tensor feature_dropout(const Tensor& input, double p, bool train);
Tensor& feature_dropout_(Tensor& input, double p, bool train);
// Dropped elements become -1.7581 (the lower limit of selu), then all are scaled and shifted so that an input of mean 0
// and variance 1 keeps both. Klambauer et al., Self-Normalizing Neural Networks, 2017.
Tensor alpha_dropout(const Tensor& input, double p, bool train);
Tensor& alpha_dropout_(Tensor& input, double p, bool train);
Tensor feature_alpha_dropout(const Tensor& input, double p, bool train);
Tensor& feature_alpha_dropout_(Tensor& input, double p, bool train);

namespace nn {

using Dropout2dOptions = DropoutOptions;
using Dropout3dOptions = DropoutOptions;
using AlphaDropoutOptions = DropoutOptions;
using FeatureAlphaDropoutOptions = DropoutOptions;

// dropout2d(): (N, C, H, W) or (C, H, W); drops channels.
class Dropout2dImpl : public Cloneable<Dropout2dImpl> {
 public:
  explicit Dropout2dImpl(const Dropout2dOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input);
  Dropout2dOptions options;
};
TORCH_MODULE(Dropout2d);

// dropout3d(): (N, C, D, H, W) or (C, D, H, W); drops channels.
class Dropout3dImpl : public Cloneable<Dropout3dImpl> {
 public:
  explicit Dropout3dImpl(const Dropout3dOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input);
  Dropout3dOptions options;
};
TORCH_MODULE(Dropout3d);

class AlphaDropoutImpl : public Cloneable<AlphaDropoutImpl> {
 public:
  explicit AlphaDropoutImpl(const AlphaDropoutOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input);
  AlphaDropoutOptions options;
};
TORCH_MODULE(AlphaDropout);

class FeatureAlphaDropoutImpl : public Cloneable<FeatureAlphaDropoutImpl> {
 public:
  explicit FeatureAlphaDropoutImpl(const FeatureAlphaDropoutOptions& options_ = {}) : options(options_) {
    FeatureAlphaDropoutImpl::reset();
  }
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input);
  FeatureAlphaDropoutOptions options;
};
TORCH_MODULE(FeatureAlphaDropout);

// The functions take `training` as an option. As in libtorch it is on by default for dropout and off for alpha dropout.
namespace functional {
struct DropoutFuncOptions {
  TORCH_ARG(double, p) = 0.5;
  TORCH_ARG(bool, training) = true;
  TORCH_ARG(bool, inplace) = false;
};
using Dropout2dFuncOptions = DropoutFuncOptions;
using Dropout3dFuncOptions = DropoutFuncOptions;
struct AlphaDropoutFuncOptions {
  TORCH_ARG(double, p) = 0.5;
  TORCH_ARG(bool, training) = false;
  TORCH_ARG(bool, inplace) = false;
};
struct FeatureAlphaDropoutFuncOptions {
  TORCH_ARG(double, p) = 0.5;
  TORCH_ARG(bool, training) = false;
  TORCH_ARG(bool, inplace) = false;
};
Tensor dropout(Tensor input, const DropoutFuncOptions& options = {});
Tensor dropout2d(Tensor input, const Dropout2dFuncOptions& options = {});
Tensor dropout3d(Tensor input, const Dropout3dFuncOptions& options = {});
Tensor alpha_dropout(Tensor input, const AlphaDropoutFuncOptions& options = {});
Tensor feature_alpha_dropout(Tensor input, const FeatureAlphaDropoutFuncOptions& options = {});
}  // namespace functional

}  // namespace nn

// %%
//| export nn/more_dropout.cpp
nn::Dropout2dImpl::Dropout2dImpl(const Dropout2dOptions& options_) : options(options_) { Dropout2dImpl::reset(); }
nn::Dropout3dImpl::Dropout3dImpl(const Dropout3dOptions& options_) : options(options_) { Dropout3dImpl::reset(); }
nn::AlphaDropoutImpl::AlphaDropoutImpl(const AlphaDropoutOptions& options_) : options(options_) { AlphaDropoutImpl::reset(); }

namespace {
void check_probability(double p) {
  TORCH_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got ", p);
}

// Whether dropout leaves `input` as it is; checks p.
bool nothing_to_drop(const Tensor& input, double p, bool train) {
  check_probability(p);
  return !train || p == 0 || input.numel() == 0;
}

// 1 where an element, or with `by_feature` a whole channel (n, c), is kept, else 0; broadcasts against `input`.
Tensor keep_mask(const Tensor& input, double p, bool by_feature) {
  if (!by_feature) return empty_like(input).bernoulli_(1 - p);
  TORCH_CHECK(input.dim() >= 2, "Feature dropout requires at least 2 dimensions in the input");
  DimVector sizes(static_cast<std::size_t>(input.dim()), 1);
  sizes[0] = input.size(0);
  sizes[1] = input.size(1);
  return empty(sizes, input.options()).bernoulli_(1 - p);
}

// What alpha dropout computes, as input * factor + shift.
struct Affine {
  Tensor factor;
  Tensor shift;
};
Affine alpha_affine(const Tensor& input, double p, bool by_feature) {
  constexpr double kAlpha = 1.7580993408473766;  // -(lower limit of selu)
  const double scale = 1 / std::sqrt((kAlpha * kAlpha * p + 1) * (1 - p));
  const Tensor keep = keep_mask(input, p, by_feature);
  return {keep * scale, (keep - 1) * (kAlpha * scale) + kAlpha * scale * p};
}

Tensor alpha_dropped(const Tensor& input, double p, bool by_feature) {
  if (p == 1) return input * zeros({}, input.options());
  const Affine map = alpha_affine(input, p, by_feature);
  return input * map.factor + map.shift;
}

Tensor& alpha_dropped_(Tensor& input, double p, bool by_feature) {
  if (p == 1) return input.mul_(zeros({}, input.options()));
  const Affine map = alpha_affine(input, p, by_feature);
  return input.mul_(map.factor).add_(map.shift);
}
}  // namespace

// %%
//| export nn/more_dropout.cpp
Tensor feature_dropout(const Tensor& input, double p, bool train) {
  if (nothing_to_drop(input, p, train)) return input;
  if (p == 1) return input * zeros({}, input.options());
  return input * keep_mask(input, p, true).div_(1 - p);
}
Tensor& feature_dropout_(Tensor& input, double p, bool train) {
  if (nothing_to_drop(input, p, train)) return input;
  if (p == 1) return input.mul_(zeros({}, input.options()));
  return input.mul_(keep_mask(input, p, true).div_(1 - p));
}
Tensor alpha_dropout(const Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped(input, p, false);
}
Tensor& alpha_dropout_(Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped_(input, p, false);
}
Tensor feature_alpha_dropout(const Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped(input, p, true);
}
Tensor& feature_alpha_dropout_(Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped_(input, p, true);
}

// %%
//| export nn/more_dropout.cpp
namespace {
// Drops channels of a batch of `batched_dim` dimensions, or of a single sample, which has one less.
Tensor drop_channels(Tensor input, const nn::functional::DropoutFuncOptions& options, std::int64_t batched_dim) {
  const bool batched = input.dim() == batched_dim;
  Tensor samples = batched ? input : input.unsqueeze(0);
  const Tensor result = options.inplace() ? feature_dropout_(samples, options.p(), options.training())
                                          : feature_dropout(samples, options.p(), options.training());
  if (options.inplace()) return input;
  return batched ? result : result.squeeze(0);
}
}  // namespace

Tensor nn::functional::dropout(Tensor input, const DropoutFuncOptions& options) {
  return options.inplace() ? tinytorch::dropout_(input, options.p(), options.training())
                           : tinytorch::dropout(input, options.p(), options.training());
}
Tensor nn::functional::dropout2d(Tensor input, const Dropout2dFuncOptions& options) {
  return drop_channels(std::move(input), options, 4);
}
Tensor nn::functional::dropout3d(Tensor input, const Dropout3dFuncOptions& options) {
  return drop_channels(std::move(input), options, 5);
}
Tensor nn::functional::alpha_dropout(Tensor input, const AlphaDropoutFuncOptions& options) {
  return options.inplace() ? tinytorch::alpha_dropout_(input, options.p(), options.training())
                           : tinytorch::alpha_dropout(input, options.p(), options.training());
}
Tensor nn::functional::feature_alpha_dropout(Tensor input, const FeatureAlphaDropoutFuncOptions& options) {
  return options.inplace() ? tinytorch::feature_alpha_dropout_(input, options.p(), options.training())
                           : tinytorch::feature_alpha_dropout(input, options.p(), options.training());
}

// %%
//| export nn/more_dropout.cpp
namespace {
void print_dropout(std::ostream& stream, const char* name, const nn::DropoutOptions& options) {
  stream << "torch::nn::" << name << "(p=" << options.p() << ", inplace=" << (options.inplace() ? "true" : "false") << ')';
}

template <class FuncOptions>
FuncOptions func_options(const nn::DropoutOptions& options, bool training) {
  return FuncOptions().p(options.p()).inplace(options.inplace()).training(training);
}
}  // namespace

void nn::Dropout2dImpl::reset() { check_probability(options.p()); }
void nn::Dropout3dImpl::reset() { check_probability(options.p()); }
void nn::AlphaDropoutImpl::reset() { check_probability(options.p()); }
void nn::FeatureAlphaDropoutImpl::reset() { check_probability(options.p()); }

Tensor nn::Dropout2dImpl::forward(Tensor input) {
  return functional::dropout2d(std::move(input), func_options<functional::Dropout2dFuncOptions>(options, is_training()));
}
Tensor nn::Dropout3dImpl::forward(Tensor input) {
  return functional::dropout3d(std::move(input), func_options<functional::Dropout3dFuncOptions>(options, is_training()));
}
Tensor nn::AlphaDropoutImpl::forward(Tensor input) {
  return functional::alpha_dropout(std::move(input),
                                   func_options<functional::AlphaDropoutFuncOptions>(options, is_training()));
}
Tensor nn::FeatureAlphaDropoutImpl::forward(Tensor input) {
  return functional::feature_alpha_dropout(
      std::move(input), func_options<functional::FeatureAlphaDropoutFuncOptions>(options, is_training()));
}

void nn::Dropout2dImpl::pretty_print(std::ostream& stream) const { print_dropout(stream, "Dropout2d", options); }
void nn::Dropout3dImpl::pretty_print(std::ostream& stream) const { print_dropout(stream, "Dropout3d", options); }
void nn::AlphaDropoutImpl::pretty_print(std::ostream& stream) const { print_dropout(stream, "AlphaDropout", options); }
void nn::FeatureAlphaDropoutImpl::pretty_print(std::ostream& stream) const {
  print_dropout(stream, "FeatureAlphaDropout", options);
}

// %%
TEST_CASE("feature dropout: a channel stays or goes as a whole") {
  manual_seed(1);
  const Tensor x = ones({4, 8, 2, 3});
  const Tensor y = nn::Dropout2d(0.25)(x);
  const Tensor channels = y.flatten(2);
  CHECK_EQ(channels.amax({2}), -(-channels).amax({2}));  // all alike within a channel
  const Tensor values = channels.select(2, 0).flatten();
  for (std::int64_t i = 0; i < 32; ++i) {
    const double value = values[i].item<double>();
    CHECK((value == 0 || std::abs(value - 1 / 0.75) < 1e-6));
  }
  CHECK(y.eq(0).sum().item<int>() > 0);
  CHECK(y.eq(0).sum().item<int>() < 100);
  CHECK_EQ(nn::Dropout2d(0.25)(ones({8, 2, 3})).sizes(), IntArrayRef({8, 2, 3}));
  CHECK_EQ(nn::Dropout3d(1.0)(ones({1, 2, 2, 2, 2})), zeros({1, 2, 2, 2, 2}));
  CHECK_ERROR(feature_dropout(ones({3}), 0.5, true), "Feature dropout requires at least 2 dimensions in the input");

  nn::Dropout2d in_place(nn::Dropout2dOptions(0.5).inplace(true));
  const Tensor z = ones({1, 64, 2, 2});
  CHECK(in_place(z).is_same(z));
  CHECK(z.eq(0).sum().item<int>() > 0);
  in_place->eval();
  CHECK(in_place(x).is_same(x));
  CHECK_EQ(x, ones({4, 8, 2, 3}));
  CHECK_EQ(printed(in_place), "torch::nn::Dropout2d(p=0.5, inplace=true)");
  CHECK_ERROR(nn::Dropout3d(1.5), "dropout probability has to be between 0 and 1, but got 1.5");
}

// %%
TEST_CASE("alpha dropout: two values, and mean and variance stay") {
  manual_seed(2);
  const Tensor y = alpha_dropout(ones({8}), 0.5, true);
  for (std::int64_t i = 0; i < 8; ++i) {  // PyTorch's two values
    const double value = y[i].item<double>();
    CHECK((std::abs(value - 1.66559887) < 1e-6 || std::abs(value + 0.779193938) < 1e-6));
  }
  const Tensor x = randn({200, 100});
  const Tensor z = nn::AlphaDropout(0.2)(x);
  CHECK_CLOSE(z.mean().item<double>(), 0.0, 0, 0.03);
  CHECK_CLOSE((z * z).mean().item<double>(), 1.0, 0, 0.05);
  CHECK(nn::functional::alpha_dropout(x).is_same(x));  // training is off by default, as in libtorch
  CHECK_EQ(nn::FeatureAlphaDropout(0.5)(ones({2, 3, 4})).sizes(), IntArrayRef({2, 3, 4}));
  CHECK_EQ(printed(nn::FeatureAlphaDropout(nn::FeatureAlphaDropoutOptions(0.2).inplace(true))),
           "torch::nn::FeatureAlphaDropout(p=0.2, inplace=true)");
}

// %% [markdown]
// ## The other initialisations
//
// Module 03 has the family of He et al. Here is the rest of `nn::init`, with PyTorch's random numbers for a seed.
// *Xavier* balances the signal forwards with the gradient backwards, by taking the mean of fan_in and fan_out.
// *Orthogonal* matrices change no length at all, so a deep linear chain keeps its signal exactly; they come from a QR
// decomposition of a random matrix, made unique by a positive diagonal of R. *Dirac* lets a convolution begin as the
// identity.
//
//     random (rows, columns)  --QR-->  Q with orthonormal columns, signs fixed  --x gain-->  weight

// %%
//| export nn/more_init.h
namespace nn::init {

// Each fills `tensor` in place, below autograd, and returns it.
Tensor constant_(Tensor tensor, Scalar value);
Tensor zeros_(Tensor tensor);
Tensor ones_(Tensor tensor);
// 1 on the diagonal of a matrix, 0 elsewhere.
Tensor eye_(Tensor matrix);
// The weight (out, in, kernel...) of a convolution that hands its first min(out, in) channels through: 3 to 5 dimensions.
Tensor dirac_(Tensor tensor);
// Glorot and Bengio 2010: variance gain^2 * 2 / (fan_in + fan_out). At least two dimensions.
Tensor xavier_uniform_(Tensor tensor, double gain = 1.0);
Tensor xavier_normal_(Tensor tensor, double gain = 1.0);
// gain * a random matrix (size(0), the rest) with orthonormal rows or columns, whichever are fewer. O(rows columns^2).
// Saxe et al. 2013.
Tensor orthogonal_(Tensor tensor, double gain = 1.0);
// Normal numbers; in each column of the matrix the part `sparsity` of the rows, rounded up, is 0. Martens 2010.
Tensor sparse_(Tensor tensor, double sparsity, double std = 0.01);

}  // namespace nn::init

// %%
//| export nn/more_init.cpp
Tensor nn::init::constant_(Tensor tensor, Scalar value) {
  const AutoDispatchBelowAutograd guard;
  return tensor.fill_(value);
}

Tensor nn::init::zeros_(Tensor tensor) { return constant_(tensor, 0); }
Tensor nn::init::ones_(Tensor tensor) { return constant_(tensor, 1); }

Tensor nn::init::eye_(Tensor matrix) {
  TORCH_CHECK(matrix.dim() == 2, "Only tensors with 2 dimensions are supported");
  zeros_(matrix);
  const std::int64_t shorter = std::min(matrix.size(0), matrix.size(1));
  const AutoDispatchBelowAutograd guard;
  for (std::int64_t i = 0; i < shorter; ++i) matrix.select(0, i).select(0, i).fill_(1);
  return matrix;
}

Tensor nn::init::dirac_(Tensor tensor) {
  TORCH_CHECK(tensor.dim() >= 3 && tensor.dim() <= 5, "Only tensors with 3, 4, or 5 dimensions are supported");
  zeros_(tensor);
  const AutoDispatchBelowAutograd guard;
  for (std::int64_t channel = 0; channel < std::min(tensor.size(0), tensor.size(1)); ++channel) {
    Tensor kernel = tensor.select(0, channel).select(0, channel);
    while (kernel.dim() > 0) kernel = kernel.select(0, kernel.size(0) / 2);  // the middle of the kernel
    kernel.fill_(1);
  }
  return tensor;
}

// %%
//| export nn/more_init.cpp
namespace {
double xavier_std(const Tensor& tensor, double gain) {
  const auto [fan_in, fan_out] = nn::init::_calculate_fan_in_and_fan_out(tensor);
  return fan_in + fan_out == 0 ? 0.0 : gain * std::sqrt(2.0 / static_cast<double>(fan_in + fan_out));
}
}  // namespace

Tensor nn::init::xavier_uniform_(Tensor tensor, double gain) {
  const double bound = std::sqrt(3.0) * xavier_std(tensor, gain);
  return init::uniform_(tensor, -bound, bound);
}

Tensor nn::init::xavier_normal_(Tensor tensor, double gain) {
  return init::normal_(tensor, 0, xavier_std(tensor, gain));
}

// %% [markdown]
// PyTorch takes Q from LAPACK's QR. With the diagonal of R made positive Q is unique, and then it is also what
// Gram-Schmidt gives: subtract from each column its parts along the columns before it, and scale it to length 1. In
// floating point one pass leaves columns that are slightly askew; a second pass mends that ("twice is enough").

// %%
//| export nn/more_init.cpp
namespace {
// Makes the columns of a (rows, columns) matrix, rows >= columns, orthonormal, each without turning it around.
// `at(i, j)` refers to an element. O(rows columns^2).
void orthonormalize(std::vector<double>& matrix, std::size_t rows, std::size_t columns) {
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return matrix[i * columns + j]; };
  const auto dot = [&](std::size_t j, std::size_t k) {
    double sum = 0;
    for (std::size_t i = 0; i < rows; ++i) sum += at(i, j) * at(i, k);
    return sum;
  };
  for (std::size_t j = 0; j < columns; ++j) {
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t k = 0; k < j; ++k) {
        const double part = dot(j, k);
        for (std::size_t i = 0; i < rows; ++i) at(i, j) -= part * at(i, k);
      }
    }
    const double length = std::sqrt(dot(j, j));
    for (std::size_t i = 0; i < rows; ++i) at(i, j) /= length;
  }
}
}  // namespace

Tensor nn::init::orthogonal_(Tensor tensor, double gain) {
  TORCH_CHECK(tensor.dim() >= 2, "Only tensors with 2 or more dimensions are supported");
  if (tensor.numel() == 0) return tensor;
  const AutoDispatchBelowAutograd guard;
  const std::int64_t rows = tensor.size(0);
  const std::int64_t columns = tensor.numel() / rows;
  const bool wide = rows < columns;
  const Tensor drawn = randn({rows, columns}).to(kDouble);
  const Tensor tall = (wide ? drawn.t() : drawn).contiguous();
  const double* const data = tall.data_ptr<double>();
  std::vector<double> q(data, data + tall.numel());
  orthonormalize(q, static_cast<std::size_t>(tall.size(0)), static_cast<std::size_t>(tall.size(1)));
  std::copy(q.begin(), q.end(), tall.data_ptr<double>());
  tensor.copy_((wide ? tall.t() : tall).reshape(tensor.sizes()));
  return tensor.mul_(gain);
}

Tensor nn::init::sparse_(Tensor tensor, double sparsity, double std) {
  TORCH_CHECK(tensor.dim() == 2, "Only tensors with 2 dimensions are supported");
  const std::int64_t rows = tensor.size(0);
  const auto zeros_per_column = static_cast<std::int64_t>(std::ceil(sparsity * static_cast<double>(rows)));
  init::normal_(tensor, 0, std);
  const AutoDispatchBelowAutograd guard;
  for (std::int64_t column = 0; column < tensor.size(1); ++column) {
    const Tensor order = randperm(rows);
    for (std::int64_t i = 0; i < zeros_per_column; ++i)
      tensor.select(1, column).select(0, order[i].item<std::int64_t>()).fill_(0);
  }
  return tensor;
}

// %%
TEST_CASE("initialisation: PyTorch's numbers for the same seed") {
  manual_seed(1);
  CHECK_CLOSE(nn::init::xavier_uniform_(empty({2, 3})),
              tensor({{0.564442575, -0.483505636, -0.212364629}, {0.514167905, -1.031292439, 0.656957388}}));
  manual_seed(1);
  CHECK_CLOSE(nn::init::xavier_normal_(empty({2, 3}), 1.5),
              tensor({{0.62741375, 0.253226429, 0.0585121848}, {0.589433372, -0.428715646, -0.157604977}}));
  manual_seed(1);
  CHECK_CLOSE(nn::init::orthogonal_(empty({3, 2})),
              tensor({{0.823218346, -0.0506527051}, {0.0767727867, 0.996795416}, {-0.562510073, 0.0619162656}}), 1e-4, 1e-5);
  manual_seed(1);
  CHECK_CLOSE(nn::init::orthogonal_(empty({2, 4}), 2.0),
              tensor({{1.39543581, 0.563202977, 0.130137414, 1.31096339}, {-0.374222577, -0.131066799, -1.85335875, 0.638623595}}),
              1e-4, 1e-5);
  manual_seed(1);
  CHECK_CLOSE(nn::init::sparse_(empty({5, 3}), 0.5),
              tensor({{0.00661352184, 0.0, 0.0},
                      {0.00621317327, -0.00451905979, -0.00166130229},
                      {0.0, 0.00381683907, 0.0},
                      {0.0, 0.0, -0.000582501816},
                      {0.0, 0.0, 0.0}}));
  manual_seed(1);
  Tensor normal = empty({4, 5});
  nn::init::kaiming_normal_(normal, 0, kFanIn, kReLU);
  CHECK_CLOSE(normal[0], tensor({-0.964871585, -0.474488258, -0.413613856, -1.017927527, 0.547511935}));
}

// %%
TEST_CASE("initialisation: constants, identities and their errors") {
  CHECK_EQ(nn::init::constant_(empty({2}), 3), tensor({3.0, 3.0}));
  CHECK_EQ(nn::init::zeros_(ones({2})), zeros({2}));
  CHECK_EQ(nn::init::eye_(empty({2, 3})), tensor({{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}));
  CHECK_EQ(nn::init::dirac_(empty({3, 2, 3})),
           tensor({{{0.0, 1.0, 0.0}, {0.0, 0.0, 0.0}}, {{0.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}, {{0.0, 0.0, 0.0}, {0.0, 0.0, 0.0}}}));
  CHECK_EQ(nn::init::dirac_(empty({1, 2, 2, 3, 3})).flatten().argmax(), tensor(13));
  const Tensor tall = nn::init::orthogonal_(empty({6, 2, 2}), 3.0).view({6, 4});
  CHECK_CLOSE(tall.t().mm(tall), eye(4) * 9, 1e-5, 1e-5);
  CHECK((nn::init::_calculate_fan_in_and_fan_out(empty({8, 3, 5, 5})) == std::tuple<std::int64_t, std::int64_t>(75, 200)));
  CHECK_CLOSE(nn::init::calculate_gain(kTanh), 5.0 / 3.0);
  CHECK_EQ(nn::init::calculate_gain(kConv2D), 1.0);
  CHECK_ERROR(nn::init::orthogonal_(empty({3})), "Only tensors with 2 or more dimensions are supported");
  CHECK_ERROR(nn::init::sparse_(empty({3}), 0.5), "Only tensors with 2 dimensions are supported");
  CHECK_ERROR(nn::init::eye_(empty({3})), "Only tensors with 2 dimensions are supported");
  CHECK_ERROR(nn::init::dirac_(empty({3})), "Only tensors with 3, 4, or 5 dimensions are supported");
}

// %%
}  // namespace tinytorch
