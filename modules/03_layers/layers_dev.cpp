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
// # Module 03: Layers
//
// So far a network is a handful of tensors and a function that you must call with all of them in the right order. That works for two matrices. For two hundred it does not: somebody has to know which tensors are to be trained,
// what they are called in a file, whether the network is just being trained or used, and how the whole thing is copied. This module builds the object that knows: `Module`, a tree of named tensors with a `forward` at each node.
//
//     a multi-layer perceptron, MLP ("net")           what the tree answers
//      ├── fc1: Linear                                 parameters()        what training changes
//      │     ├── weight (32, 64)   ── "fc1.weight"     state_dict()        what a file stores, by name
//      │     └── bias   (32)       ── "fc1.bias"       train() / eval()    how dropout behaves, for all of it
//      └── fc2: Linear                                 to(kDouble)         another type, for all of it
//            ├── weight (10, 32)   ── "fc2.weight"     clone()             an independent copy
//            └── bias   (10)       ── "fc2.bias"       std::cout << net    what it is
//
// At the end you read weights that PyTorch trained, put them into your own MLP by name, and classify real handwritten
// digits with it.
//
// **Objectives.** After this module you can
//
// - build `Module`: registration, the walk over a tree, names with dots, training mode, printing;
// - load a state dict so that either everything is loaded or nothing has changed;
// - initialise weights so that a signal survives many layers, with PyTorch's random numbers;
// - write `linear`, inverted dropout and a multi-layer perceptron, and say what each costs in time and memory;
// - explain why a `Linear` in C++ is a handle on a `LinearImpl`, and what copying either of them means.
//
// **Where it sits.** Modules 01 and 02 gave tensors and activation functions. Losses (04) and gradients (05) come
// next; optimizers (06) ask a module for `parameters()`, and the trainer (08) writes its `state_dict()` to a file.
// The names and signatures are those of PyTorch's C++ frontend, `torch::nn`.
//
// **Prerequisites**: modules 00 to 02, classes with virtual functions, `std::shared_ptr`.

// %%
//| export core/arg.h
#include <utility>
//| export core/ordered_dict.h
#include <functional>
#include <initializer_list>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>
#include "tinytorch/core/error.h"
//| export core/enum.h
#include <variant>
//| export nn/pimpl.h
#include <concepts>
#include <cstddef>
#include <memory>
#include <ostream>
#include <type_traits>
#include <utility>
#include "tinytorch/core/error.h"
#include "tinytorch/core/record_function.h"
//| export nn/module.h
#include <concepts>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/ordered_dict.h"
#include "tinytorch/nn/module_extensions.h"
#include "tinytorch/nn/pimpl.h"
//| export nn/module.cpp
#include <cxxabi.h>
#include <cstdlib>
#include <ostream>
#include <typeinfo>
#include "tinytorch/nn/cloneable.h"
//| export nn/cloneable.h
#include "tinytorch/nn/module.h"
//| export nn/init.h
#include <tuple>
#include <variant>
#include "tinytorch/core/enum.h"
#include "tinytorch/core/ops.h"
//| export nn/init.cpp
#include <cmath>
#include "tinytorch/core/dispatch.h"
//| export nn/linear.h
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/linear.cpp
#include <cmath>
#include <ostream>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"
//| export nn/dropout.h
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/dropout.cpp
#include <ostream>
//| export nn/mlp.h
#include "tinytorch/nn/linear.h"
//| export nn/mlp.cpp
#include <ostream>
#include "tinytorch/nn/activations.h"

// %%
#include "tito/lesson.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <sstream>
#include "tinytorch/core/generator.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/core/npy.h"
#include "tinytorch/nn/activations.h"

// %%
namespace tinytorch {

// %% [markdown]
// Before any code of this module: the file `digits_mlp.npy` holds the weights of a network that reads handwritten
// digits. Each row of its first matrix belongs to one hidden unit and has one number per pixel, so a row is a picture
// of what the unit looks for: `#` ink, `o` no ink.

// %%
DEMO("what four units of a trained layer look for") {
  const std::vector<NumericArray> arrays = read_npy(find_data("digits_mlp.npy"), 4);
  for (std::size_t y = 0; y < 8; ++y) {
    for (const std::size_t unit : {8U, 17U, 21U, 30U}) {
      for (std::size_t x = 0; x < 8; ++x) {
        const double weight = arrays[0].values[unit * 64 + y * 8 + x];
        std::printf("%s ", weight > 0.25 ? "#" : weight < -0.25 ? "o" : ".");
      }
      std::printf("    ");
    }
    std::printf("\n");
  }
}

// %% [markdown]
// ## Part 1: Foundations and building blocks
//
// ### What a layer is
//
// A layer is a function with tensors that belong to it. `Linear` maps a *batch* $x$ of shape (B, in), B samples with one row each, to
//
//     y = x W^T + b          W: (out, in)   b: (out)   y: (B, out)       2 B in out floating-point operations
//
// A network is a composition of such functions, and a composition is again a function with tensors that belong to it.
// So one class is enough: a `Module` owns *parameters* (tensors that training changes), *buffers* (tensors that
// belong to it and are not trained, such as a running mean) and *children* (other modules). Everything that a
// framework does to a model is a walk over this tree.
//
// ### A dictionary that remembers the order
//
// Names must be unique, and their order must not change between two runs: the optimizer of module 06 (the code that changes the parameters
// in training) and a checkpoint (a file with the state of a training run) both rely on the order in which parameters were registered. A hash map alone forgets it, a vector alone is slow to
// search. PyTorch keeps both:
//
//     items:  [ ("weight", W) , ("bias", b) ]          in the order of insertion
//                   ▲               ▲
//     index:  { "weight": 0 ,  "bias": 1 }             finds a name in O(1)

// %%
//| export core/ordered_dict.h
// A dictionary that iterates in the order of insertion. Finding is O(1), erasing O(size).
// A reference or iterator into it is good until the next insertion. Source:
// torch/csrc/api/include/torch/ordered_dict.h.
template <class Key, class Value>
class OrderedDict {
 public:
  class Item {
   public:
    Item(Key key, Value value) : pair_(std::move(key), std::move(value)) {}
    Value& operator*() { return value(); }
    const Value& operator*() const { return value(); }
    Value* operator->() { return &value(); }
    const Value* operator->() const { return &value(); }
    const Key& key() const noexcept { return pair_.first; }
    Value& value() noexcept { return pair_.second; }
    const Value& value() const noexcept { return pair_.second; }
    const std::pair<Key, Value>& pair() const noexcept { return pair_; }

   private:
    std::pair<Key, Value> pair_;
  };
  using Iterator = typename std::vector<Item>::iterator;
  using ConstIterator = typename std::vector<Item>::const_iterator;

  // `key_description` names a key in errors: "Parameter 'weight' already defined".
  explicit OrderedDict(std::string key_description = "Key") : key_description_(std::move(key_description)) {}
  OrderedDict(std::initializer_list<Item> items) {
    for (const Item& item : items) insert(item.key(), item.value());
  }

  const std::string& key_description() const noexcept { return key_description_; }
  std::size_t size() const noexcept { return items_.size(); }
  bool is_empty() const noexcept { return items_.empty(); }

  Iterator begin() { return items_.begin(); }
  Iterator end() { return items_.end(); }
  ConstIterator begin() const { return items_.begin(); }
  ConstIterator end() const { return items_.end(); }
  Item& front() { return at_position(*this, 0); }
  const Item& front() const { return at_position(*this, 0); }
  Item& back() { return at_position(*this, items_.size() - 1); }
  const Item& back() const { return at_position(*this, items_.size() - 1); }
  Item& operator[](std::size_t position) { return at_position(*this, position); }
  const Item& operator[](std::size_t position) const { return at_position(*this, position); }

  Value* find(const Key& key) noexcept { return find_in(*this, key); }
  const Value* find(const Key& key) const noexcept { return find_in(*this, key); }
  bool contains(const Key& key) const noexcept { return index_.count(key) > 0; }
  // The value of an existing key: throws if there is none, unlike std::map.
  Value& operator[](const Key& key) { return at_key(*this, key); }
  const Value& operator[](const Key& key) const { return at_key(*this, key); }

  // Throws if the key exists.
  Value& insert(Key key, Value value) {
    TORCH_CHECK(!contains(key), key_description_, " '", key, "' already defined");
    index_.emplace(key, items_.size());
    items_.emplace_back(std::move(key), std::move(value));
    return items_.back().value();
  }
  void update(const OrderedDict& other) {
    for (const Item& item : other) insert(item.key(), item.value());
  }
  void erase(const Key& key);
  void clear() {
    index_.clear();
    items_.clear();
  }
  void reserve(std::size_t capacity) { items_.reserve(capacity); }

  const std::vector<Item>& items() const noexcept { return items_; }
  std::vector<Key> keys() const { return collect<Key>(&Item::key); }
  std::vector<Value> values() const {
    return collect<Value>([](const Item& item) { return item.value(); });
  }
  std::vector<std::pair<Key, Value>> pairs() const { return collect<std::pair<Key, Value>>(&Item::pair); }

 private:
  template <class T, class F>
  std::vector<T> collect(F part) const {
    std::vector<T> parts;
    for (const Item& item : items_) parts.push_back(std::invoke(part, item));
    return parts;
  }
  template <class Self>
  static auto& at_position(Self& self, std::size_t position) {
    TORCH_CHECK(position < self.size(), "Index ", position, " is out of bounds\n[OrderedDict] it has ",
                self.size(), " items");
    return self.items_[position];
  }
  template <class Self>
  static auto find_in(Self& self, const Key& key) -> decltype(&self.items_.front().value()) {
    const auto found = self.index_.find(key);
    return found == self.index_.end() ? nullptr : &self.items_[found->second].value();
  }
  template <class Self>
  static auto& at_key(Self& self, const Key& key) {
    auto* value = find_in(self, key);
    TORCH_CHECK(value != nullptr, self.key_description_, " '", key, "' is not defined");
    return *value;
  }

  std::unordered_map<Key, std::size_t> index_;
  std::vector<Item> items_;
  std::string key_description_ = "Key";
};

// %%
//| export core/ordered_dict.h
template <class Key, class Value>
void OrderedDict<Key, Value>::erase(const Key& key) {
  const auto found = index_.find(key);
  TORCH_CHECK(found != index_.end(), "Key '", key, "' doesn't exist");
  const std::size_t position = found->second;
  index_.erase(found);
  items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(position));
  for (auto& [name, place] : index_)
    if (place > position) --place;
}

// %%
//| lesson
// Names in one line, so that a failing check shows them.
std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

// %%
TEST_CASE("OrderedDict: finds by name, iterates in the order of insertion") {
  OrderedDict<std::string, int> dict("Number");
  dict.insert("three", 3);
  dict.insert("one", 1);
  dict.insert("two", 2);
  CHECK_EQ(joined(dict.keys()), "three one two");
  CHECK_EQ(dict["one"], 1);
  CHECK_EQ(dict[0].key(), "three");
  CHECK_ERROR(dict.insert("one", 5), "Number 'one' already defined");
  CHECK_ERROR(dict["four"], "Number 'four' is not defined");
  dict.erase("three");
  CHECK_EQ(dict["two"], 2);
  CHECK_EQ(dict[1].key(), "two");
  for (auto& item : dict) *item *= 10;
  CHECK(dict.values() == std::vector<int>{10, 20});
  CHECK_ERROR(dict.erase("three"), "Key 'three' doesn't exist");
}

// %% [markdown]
// ### Handles
//
// In Python every object is a reference, so `net.fc1` and a local variable can be the same layer. In C++ a plain
// `LinearImpl` is a value: copying it copies its members. PyTorch's C++ frontend gets Python's behaviour from a thin
// handle, `ModuleHolder<LinearImpl>`, which holds a `std::shared_ptr` and forwards `->` to it. The macro
// `TORCH_MODULE(Linear)` makes the handle class `Linear` for `LinearImpl`.
//
//     Linear a(4, 3);        a ──┐
//     Linear b = a;          b ──┴──► LinearImpl { weight, bias }     one layer, two handles: weights are tied
//     auto c = a->clone();   c ─────► LinearImpl { weight, bias }     another layer
//     Linear d = nullptr;    d ──► (empty)                            for a member that is filled later
//
// What libtorch's handle holds is a `std::shared_ptr<LinearImpl>`. `std::shared_ptr` is a template, so 150 layers need
// 150 classes of it, which the compiler makes anew for every file that includes the layers: an eighth of its memory and
// a tenth of its time for all of TinyTorch's header. The handle here holds a `std::shared_ptr<void>`, which is one
// class for all, and knows by its own type what it points to. `ptr()` makes the typed one when it is asked for, and so
// returns a value where libtorch's returns a reference.

// %%
//| export nn/pimpl.h
namespace nn {

class Module;

namespace detail {
struct ModuleHolderIndicator {};
// Begins the record of a forward pass under the module's type, as typeid spells it, and its address.
void begin_record(RecordFunction& record, const Module& module);
}  // namespace detail

// A handle on a module, such as Linear for LinearImpl.
template <class T>
concept ModuleHandle = std::is_base_of_v<detail::ModuleHolderIndicator, std::remove_cvref_t<T>>;

// A shared handle on a module of type `Contained`: copies refer to one module. Made by TORCH_MODULE; the
// arguments of its constructor are those of the module's. Source: torch/csrc/api/include/torch/nn/pimpl.h.
template <class Contained>
class ModuleHolder : public detail::ModuleHolderIndicator {
 public:
  using ContainedType = Contained;

  ModuleHolder() : impl_(std::make_shared<Contained>()) {
    static_assert(std::is_default_constructible_v<Contained>,
                  "You are trying to default construct a module which has no default constructor. Use = "
                  "nullptr to give it the empty "
                  "state (e.g. `Linear linear = nullptr;` instead of `Linear linear;`).");
  }
  ModuleHolder(std::nullptr_t) {}
  ModuleHolder(std::shared_ptr<Contained> module) : impl_(std::move(module)) {}
  template <class Head, class... Tail>
    requires(sizeof...(Tail) > 0 || !std::derived_from<std::remove_cvref_t<Head>, ModuleHolder>)
  explicit ModuleHolder(Head&& head, Tail&&... tail)
      : impl_(std::make_shared<Contained>(std::forward<Head>(head), std::forward<Tail>(tail)...)) {}

  bool is_empty() const noexcept { return impl_ == nullptr; }
  explicit operator bool() const noexcept { return !is_empty(); }
  std::shared_ptr<Contained> ptr() const {
    checked();
    return std::static_pointer_cast<Contained>(impl_);
  }
  Contained* get() { return static_cast<Contained*>(checked()); }
  const Contained* get() const { return static_cast<const Contained*>(checked()); }
  Contained* operator->() { return get(); }
  const Contained* operator->() const { return get(); }
  Contained& operator*() { return *get(); }
  const Contained& operator*() const { return *get(); }

  template <class... Args, class M = Contained>
  auto operator()(Args&&... args) -> decltype(std::declval<M&>().forward(std::forward<Args>(args)...)) {
    RecordFunction record(RecordScope::MODULE);
    if constexpr (std::is_convertible_v<M*, Module*>)
      if (record.isActive()) detail::begin_record(record, *get());
    return get()->forward(std::forward<Args>(args)...);
  }
  template <class Arg>
  decltype(auto) operator[](Arg&& arg) {
    return (*get())[std::forward<Arg>(arg)];
  }

 protected:
  std::shared_ptr<void> impl_;  // a Contained

 private:
  void* checked() const {
    TORCH_CHECK(impl_ != nullptr, "Accessing empty ModuleHolder");
    return impl_.get();
  }
};

namespace detail {
// The module class that a name stands for: LinearImpl, for LinearImpl and for its handle Linear.
template <class T>
struct ModuleOf {
  using type = T;
};
template <ModuleHandle T>
struct ModuleOf<T> {
  using type = typename T::ContainedType;
};
}  // namespace detail

template <class Contained>
std::ostream& operator<<(std::ostream& out, const ModuleHolder<Contained>& module) {
  return out << *module;
}

}  // namespace nn

// TORCH_MODULE(Linear); defines the handle class Linear of LinearImpl.
#define TORCH_MODULE_IMPL(Name, ImplType)                        \
  class Name : public ::tinytorch::nn::ModuleHolder<ImplType> {  \
   public:                                                       \
    using ::tinytorch::nn::ModuleHolder<ImplType>::ModuleHolder; \
    using Impl [[maybe_unused]] = ImplType;                      \
  }
#define TORCH_MODULE(Name) TORCH_MODULE_IMPL(Name, Name##Impl)

// %%
TEST_CASE("handles: copies share, nullptr is empty, and arguments go to the constructor") {
  struct CounterImpl {
    explicit CounterImpl(int start, int step = 1) : value(start), step_(step) {}
    int forward() { return value += step_; }
    int value;
    int step_;
  };
  using Counter = nn::ModuleHolder<CounterImpl>;
  Counter a(5, 2);
  Counter b = a;
  CHECK_EQ(b(), 7);
  CHECK_EQ(a->value, 7);
  CHECK(a.ptr() == b.ptr());
  Counter later = nullptr;
  CHECK(later.is_empty());
  CHECK_ERROR(later->value, "Accessing empty ModuleHolder");
  later = Counter(1);
  CHECK_EQ(later(), 2);
}

// %% [markdown]
// ### The module tree
//
// Here is the whole class. `register_parameter("weight", tensor)` does two things: it stores the tensor under its
// name, and it returns a reference to it so that the layer can keep a member `weight`. Both are handles on one
// `TensorImpl`, so an optimizer that changes the registered tensor in place changes the member, too.
//
//     struct Net : nn::Module {                                  parameters_: { "scale": ● }
//       Net() {                                                                         │
//         scale = register_parameter("scale", ones({3}));        member scale: ● ───────┴──► TensorImpl (3)
//         fc = register_module("fc", nn::Linear(3, 2));
//       }                                                        children_:   { "fc": ● }
//       Tensor scale;                                                                 │
//       nn::Linear fc = nullptr;                                 member fc: ●  ───────┴────► LinearImpl
//     };
//
// A tensor that is only a member and never registered still works in `forward`. It is simply unknown to everything else: it is not trained, not saved,
// not converted and not cloned. This is among the most common bugs in real model code, and nothing warns about it.
//
// A parameter is a plain Tensor, as in libtorch: there is no wrapper type. What makes it a parameter is where it is registered. It passes through an
// operator, `op::parameter`, that has nothing to do yet. Module 05 will give this operator a function on its layer Autograd (a layer of module 01's dispatcher, no layer of a
// network), which marks the tensor as one whose gradient is wanted: `requires_grad`. Until then the flag changes nothing.

// %%
//| export nn/module.h
namespace op {
// What a tensor goes through when it becomes a parameter: (tensor, requires_grad) -> the same tensor.
extern Operator<Tensor(const Tensor&, bool)> parameter;
}  // namespace op

namespace nn {

// A node in a tree of named parameters (trained), buffers (kept, not trained) and submodules. Derive from it,
// register what belongs to the module in the constructor, and write forward(); hold it in a std::shared_ptr
// or a ModuleHolder. Names must not be empty, contain a dot, or be used twice for the same kind. Source:
// torch/csrc/api/include/torch/nn/module.h.
class Module : public std::enable_shared_from_this<Module>, public ModuleExtensions {
 public:
  using ModuleApplyFunction = std::function<void(Module&)>;
  using ConstModuleApplyFunction = std::function<void(const Module&)>;
  using NamedModuleApplyFunction = std::function<void(const std::string&, Module&)>;
  using ConstNamedModuleApplyFunction = std::function<void(const std::string&, const Module&)>;
  using ModulePointerApplyFunction = std::function<void(const std::shared_ptr<Module>&)>;
  using NamedModulePointerApplyFunction =
      std::function<void(const std::string&, const std::shared_ptr<Module>&)>;

  Module();
  explicit Module(std::string name);
  Module(const Module&);
  Module& operator=(const Module&);
  Module(Module&&) noexcept;
  Module& operator=(Module&&) noexcept;
  virtual ~Module();

  // Registration. The references returned are good until the next registration of the same kind; keep the value.
  // A parameter may be undefined (a Linear without bias): then it has a name and is left out of all lists.
  Tensor& register_parameter(std::string name, Tensor tensor, bool requires_grad = true);
  Tensor& register_buffer(std::string name, Tensor tensor);
  template <class M>
  std::shared_ptr<M> register_module(std::string name, std::shared_ptr<M> module);
  template <class M>
  std::shared_ptr<M> register_module(std::string name, ModuleHolder<M> holder);
  template <class M>
  std::shared_ptr<M> replace_module(const std::string& name, std::shared_ptr<M> module);
  template <class M>
  std::shared_ptr<M> replace_module(const std::string& name, ModuleHolder<M> holder);
  void unregister_module(const std::string& name);

  // What the tree holds, a module before its children, in the order of registration. Names are joined by dots: "fc1.weight".
  std::vector<Tensor> parameters(bool recurse = true) const;
  OrderedDict<std::string, Tensor> named_parameters(bool recurse = true) const;
  std::vector<Tensor> buffers(bool recurse = true) const;
  OrderedDict<std::string, Tensor> named_buffers(bool recurse = true) const;
  std::vector<std::shared_ptr<Module>> modules(bool include_self = true) const;
  OrderedDict<std::string, std::shared_ptr<Module>> named_modules(
      const std::string& name_prefix = std::string(), bool include_self = true) const;
  std::vector<std::shared_ptr<Module>> children() const;
  OrderedDict<std::string, std::shared_ptr<Module>> named_children() const;

  // Calls `function` for this module and then for each submodule, with its full name where it takes one.
  void apply(const ModuleApplyFunction& function);
  void apply(const ConstModuleApplyFunction& function) const;
  void apply(const NamedModuleApplyFunction& function, const std::string& name_prefix = std::string());
  void apply(const ConstNamedModuleApplyFunction& function,
             const std::string& name_prefix = std::string()) const;
  void apply(const ModulePointerApplyFunction& function) const;
  void apply(const NamedModulePointerApplyFunction& function,
             const std::string& name_prefix = std::string()) const;

  // Parameters and buffers by name: the state that a file stores. The tensors share their data with the module's.
  OrderedDict<std::string, Tensor> state_dict() const;
  // The names that load_state_dict did not find in the state, and those it had no use for.
  struct IncompatibleKeys {
    std::vector<std::string> missing_keys;
    std::vector<std::string> unexpected_keys;
  };
  IncompatibleKeys load_state_dict(const OrderedDict<std::string, Tensor>& state, bool strict = true);

  // Training mode of the whole tree; layers such as Dropout ask for it.
  virtual void train(bool on = true);
  void eval() { train(false); }
  virtual bool is_training() const noexcept { return is_training_; }

  // Casts or moves all parameters and buffers of the tree. They stay the same tensors, so handles on them see the change. Gradients are left where they are.
  virtual void to(ScalarType dtype, bool non_blocking = false);
  virtual void to(Device device, bool non_blocking = false);
  virtual void to(Device device, ScalarType dtype, bool non_blocking = false) { to(device), to(dtype, non_blocking); }

  // An independent copy, on `device` if one is named; implemented by Cloneable.
  virtual std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const;

  // The module as one of another type, or nullptr: module->as<nn::Linear>(), module->as<nn::LinearImpl>().
  template <class M>
  auto* as() noexcept {
    return dynamic_cast<typename detail::ModuleOf<M>::type*>(this);
  }
  template <class M>
  const auto* as() const noexcept {
    return dynamic_cast<const typename detail::ModuleOf<M>::type*>(this);
  }

  // The name given to the constructor, or else that of the C++ type.
  const std::string& name() const;
  // Writes one line about this module alone; operator<< writes the tree.
  virtual void pretty_print(std::ostream& stream) const;

 protected:
  OrderedDict<std::string, Tensor> parameters_;

 private:
  friend class CloneableModule;
  friend std::ostream& operator<<(std::ostream& stream, const Module& module);

  virtual void clone_(Module&) {}
  void apply_to_submodules(const NamedModulePointerApplyFunction& function,
                           const std::string& name_prefix = std::string()) const;
  OrderedDict<std::string, Tensor> named_tensors(OrderedDict<std::string, Tensor> Module::*own,
                                                 bool recurse) const;
  void pretty_print_recursive(std::ostream& stream, const std::string& indentation) const;
  std::shared_ptr<Module> shared_from_this_checked() const;

  OrderedDict<std::string, Tensor> buffers_;
  OrderedDict<std::string, std::shared_ptr<Module>> children_;
  mutable std::optional<std::string> name_;
  bool is_training_ = true;
};

std::ostream& operator<<(std::ostream& stream, const Module& module);

template <class T>
concept ModuleType = std::derived_from<std::remove_cvref_t<T>, Module>;

namespace detail {
// A readable name of a C++ type, from typeid(T).name(). Modules are named as in PyTorch: torch::nn::LinearImpl.
std::string demangle(const char* name);
// Throws unless `name` may name a `kind` ("Parameter", "Buffer", "Submodule").
void check_name(const char* kind, const std::string& name);
}  // namespace detail

}  // namespace nn

// %%
//| export nn/module.h
template <class M>
std::shared_ptr<M> nn::Module::register_module(std::string name, std::shared_ptr<M> module) {
  static_assert(ModuleType<M>,
                "register_module takes a module: a class derived from nn::Module, or its holder");
  detail::check_name("Submodule", name);
  TORCH_CHECK(module != nullptr, "Submodule '", name,
              "' is empty\n[register_module] construct it before registering it");
  children_.insert(std::move(name), module);
  return module;
}

template <class M>
std::shared_ptr<M> nn::Module::register_module(std::string name, ModuleHolder<M> holder) {
  return register_module(std::move(name), holder.ptr());
}

template <class M>
std::shared_ptr<M> nn::Module::replace_module(const std::string& name, std::shared_ptr<M> module) {
  children_[name] = module;
  return module;
}

template <class M>
std::shared_ptr<M> nn::Module::replace_module(const std::string& name, ModuleHolder<M> holder) {
  return replace_module(name, holder.ptr());
}

// %%
//| export nn/module.cpp
namespace {
Tensor parameter_cpu(const Tensor& tensor, bool) { return tensor; }

std::string join_name(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, bool)> op::parameter("parameter", {.cpu = parameter_cpu});

// %%
//| export nn/module.cpp
std::string nn::detail::demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                    std::free);
  std::string readable = status == 0 ? text.get() : name;
  for (std::size_t at = 0; (at = readable.find("tinytorch::nn::", at)) != std::string::npos; ++at) readable.erase(at, 4);
  return readable;
}

void nn::detail::check_name(const char* kind, const std::string& name) {
  TORCH_CHECK(!name.empty(), kind, " name must not be empty");
  TORCH_CHECK(name.find('.') == std::string::npos, kind, " name must not contain a dot (got '", name,
              "')\n[register] dots join the names of modules, as in fc1.weight; use an underscore");
}

// %%
//| export nn/module.cpp
nn::Module::Module() : parameters_("Parameter"), buffers_("Buffer"), children_("Submodule") {}

nn::Module::Module(std::string name) : Module() { name_ = std::move(name); }

// As the compiler would write them; here, because in the header each file with a module of its own would compile them anew.
nn::Module::Module(const Module&) = default;
nn::Module& nn::Module::operator=(const Module&) = default;
nn::Module::Module(Module&&) noexcept = default;
nn::Module& nn::Module::operator=(Module&&) noexcept = default;
nn::Module::~Module() = default;

void nn::detail::begin_record(RecordFunction& record, const Module& module) { record.before(typeid(module).name(), -1, &module); }

// The dynamic type is not known in the constructor, so the name is looked up when it is first asked for.
const std::string& nn::Module::name() const {
  if (!name_) name_ = detail::demangle(typeid(*this).name());
  return *name_;
}

Tensor& nn::Module::register_parameter(std::string name, Tensor tensor, bool requires_grad) {
  detail::check_name("Parameter", name);
  if (tensor.defined()) {
    tensor = op::parameter(tensor, requires_grad);
  } else if (requires_grad) {
    TORCH_WARN(
        "An undefined tensor cannot require grad. Ignoring the `requires_grad=true` function parameter.");
  }
  return parameters_.insert(std::move(name), std::move(tensor));
}

Tensor& nn::Module::register_buffer(std::string name, Tensor tensor) {
  detail::check_name("Buffer", name);
  return buffers_.insert(std::move(name), std::move(tensor));
}

void nn::Module::unregister_module(const std::string& name) {
  TORCH_CHECK(children_.contains(name), "No Module with name `", name, "` is registered");
  children_.erase(name);
}

// %%
TEST_CASE("registration: names are checked, and registering returns the same tensor") {
  nn::Module module("Net");
  const Tensor w = ones({2});
  const Tensor registered = module.register_parameter("w", w);
  CHECK(registered.is_same(w));
  CHECK_ERROR(module.register_parameter("w", w), "Parameter 'w' already defined");
  CHECK_ERROR(module.register_parameter("", w), "Parameter name must not be empty");
  CHECK_ERROR(module.register_parameter("a.b", w), "Parameter name must not contain a dot (got 'a.b')");
  CHECK_ERROR(module.register_buffer("a.b", w), "Buffer name must not contain a dot");

  const auto child = std::make_shared<nn::Module>("Child");
  CHECK(module.register_module("child", child) == child);
  CHECK_ERROR(module.register_module("child", child), "Submodule 'child' already defined");
  CHECK_ERROR(module.register_module("x.y", child), "Submodule name must not contain a dot");
  CHECK_ERROR(module.register_module("empty", std::shared_ptr<nn::Module>()), "Submodule 'empty' is empty");
  CHECK_ERROR(module.replace_module("missing", child), "Submodule 'missing' is not defined");
  const auto other = std::make_shared<nn::Module>("Other");
  module.replace_module("child", other);
  CHECK(module.children()[0] == other);
  CHECK_EQ(other->name(), "Other");
}

// %% [markdown]
// ### Walking the tree
//
// Every question to a module is answered by one walk: visit the children in order, each before its own children, and
// build the full name on the way down.
//
//     net                      visits, in this order
//      ├── features            "features"
//      │     ├── 0             "features.0"
//      │     └── 1             "features.1"
//      └── head                "head"
//
// The walk costs O(modules) calls and one string per module. It is not on the path of `forward`. It hands out
// shared pointers, also to the module where it starts: `std::enable_shared_from_this` lets an object find the
// shared_ptr that holds it. A module on the stack has none, and `modules()` says so.

// %% {"nbgrader": {"grade": false, "grade_id": "03-walk", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/module.cpp
// Calls `function` with the full name of each submodule and the submodule itself: a module before its
// children, children in the order of registration. Does not visit this module. The full name is
// `name_prefix`, the names on the way down, and dots between.
//
// TODO: Visit every child, then what is below it.
// APPROACH: 1. For each item of children_, join name_prefix and its key: join_name knows about the empty prefix.
//           2. Call the function with that name and the child.
//           3. Let the child do the same for its own children, with the full name as their prefix.
// EXAMPLE: a child "fc1" of a child "encoder", with name_prefix "net", is visited as "net.encoder.fc1".
void nn::Module::apply_to_submodules(const NamedModulePointerApplyFunction& function,
                                     const std::string& name_prefix) const {
  // BEGIN SOLUTION
  for (const auto& child : children_) {
    const std::string qualified_name = join_name(name_prefix, child.key());
    function(qualified_name, child.value());
    child.value()->apply_to_submodules(function, qualified_name);
  }
  // END SOLUTION
}

// %%
//| mistake 03-walk children-only
//| says The walk stops at the direct children. A child has children of its own: call apply_to_submodules on it, with its full name as the prefix.
#if 0
void nn::Module::apply_to_submodules(const NamedModulePointerApplyFunction& function, const std::string& name_prefix) const {
  for (const auto& child : children_) function(join_name(name_prefix, child.key()), child.value());
}
#endif

// %%
//| mistake 03-walk loses-prefix
//| says Deeper names must carry the whole way down: pass the joined name to the child's own walk, not only the child's key.
#if 0
void nn::Module::apply_to_submodules(const NamedModulePointerApplyFunction& function, const std::string& name_prefix) const {
  for (const auto& child : children_) {
    function(join_name(name_prefix, child.key()), child.value());
    child.value()->apply_to_submodules(function, child.key());
  }
}
#endif

// %%
//| export nn/module.cpp
std::shared_ptr<nn::Module> nn::Module::shared_from_this_checked() const {
  const std::shared_ptr<const Module> self = weak_from_this().lock();
  TORCH_CHECK(self != nullptr,
              "It looks like you attempted to retrieve your top-level module as a shared_ptr, but it is not "
              "stored in a shared_ptr. Use "
              "std::make_shared<",
              name(),
              "> instead of creating your module on the stack, or alternatively do not try to access your "
              "top-level module at all by "
              "passing /*include_self=*/false to modules() or named_modules()");
  return std::const_pointer_cast<Module>(self);
}

// %%
//| export nn/module.cpp
void nn::Module::apply(const ModuleApplyFunction& function) {
  apply(NamedModuleApplyFunction([&](const std::string&, Module& module) { function(module); }));
}

void nn::Module::apply(const ConstModuleApplyFunction& function) const {
  apply(ConstNamedModuleApplyFunction([&](const std::string&, const Module& module) { function(module); }));
}

void nn::Module::apply(const NamedModuleApplyFunction& function, const std::string& name_prefix) {
  function(name_prefix, *this);
  apply_to_submodules(
      [&](const std::string& name, const std::shared_ptr<Module>& module) { function(name, *module); },
      name_prefix);
}

void nn::Module::apply(const ConstNamedModuleApplyFunction& function, const std::string& name_prefix) const {
  function(name_prefix, *this);
  apply_to_submodules(
      [&](const std::string& name, const std::shared_ptr<Module>& module) { function(name, *module); },
      name_prefix);
}

void nn::Module::apply(const ModulePointerApplyFunction& function) const {
  function(shared_from_this_checked());
  apply_to_submodules([&](const std::string&, const std::shared_ptr<Module>& module) { function(module); });
}

void nn::Module::apply(const NamedModulePointerApplyFunction& function,
                       const std::string& name_prefix) const {
  function(name_prefix, shared_from_this_checked());
  apply_to_submodules(function, name_prefix);
}

// %%
//| export nn/module.cpp
OrderedDict<std::string, std::shared_ptr<nn::Module>> nn::Module::named_modules(
    const std::string& name_prefix, bool include_self) const {
  OrderedDict<std::string, std::shared_ptr<Module>> result;
  const NamedModulePointerApplyFunction collect =
      [&](const std::string& name, const std::shared_ptr<Module>& module) { result.insert(name, module); };
  if (include_self) {
    apply(collect, name_prefix);
  } else {
    apply_to_submodules(collect, name_prefix);
  }
  return result;
}

std::vector<std::shared_ptr<nn::Module>> nn::Module::modules(bool include_self) const {
  return named_modules(std::string(), include_self).values();
}

OrderedDict<std::string, std::shared_ptr<nn::Module>> nn::Module::named_children() const { return children_; }
std::vector<std::shared_ptr<nn::Module>> nn::Module::children() const { return children_.values(); }

// %%
//| lesson
// A tree to test with: root { a { inner }, b }, each with one parameter.
struct Leaf : nn::Module {
  explicit Leaf(double value) { value_ = register_parameter("value", full({2}, value)); }
  Tensor value_;
};
struct Branch : nn::Module {
  explicit Branch(double value) : Module("Branch") {
    scale_ = register_parameter("scale", full({1}, value));
    inner_ = register_module("inner", std::make_shared<Leaf>(value + 1));
    count_ = register_buffer("count", zeros({}, kLong));
  }
  Tensor scale_;
  std::shared_ptr<Leaf> inner_;
  Tensor count_;
};
struct Root : nn::Module {
  Root() : Module("Root") {
    a_ = register_module("a", std::make_shared<Branch>(10));
    b_ = register_module("b", std::make_shared<Leaf>(20));
    last_ = register_parameter("last", full({1}, 30.0));
  }
  std::shared_ptr<Branch> a_;
  std::shared_ptr<Leaf> b_;
  Tensor last_;
};

// %% {"nbgrader": {"grade": true, "grade_id": "03-walk-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("apply: every module once, parents first, with its full name") {
  const auto root = std::make_shared<Root>();
  CHECK_EQ(joined(root->named_modules("net").keys()), "net net.a net.a.inner net.b");
  CHECK_EQ(joined(root->named_modules("", false).keys()), "a a.inner b");
  CHECK_EQ(root->modules().size(), 4);
  CHECK_EQ(root->modules()[1].get(), root->a_.get());
  int visited = 0;
  root->apply([&](nn::Module&) { ++visited; });
  CHECK_EQ(visited, 4);
  // BEGIN HIDDEN TESTS
  Root on_the_stack;
  CHECK_ERROR(on_the_stack.modules(), "not stored in a shared_ptr. Use std::make_shared<Root>");
  CHECK_EQ(on_the_stack.modules(false).size(), 3);
  root->unregister_module("a");
  CHECK_EQ(joined(root->named_modules("net").keys()), "net net.b");
  CHECK_ERROR(root->unregister_module("a"), "No Module with name `a` is registered");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Parameters by name
//
// `named_parameters()` and `named_buffers()` ask the same question of two dictionaries, so one function answers both.
// It receives a *pointer to member*: `own` says which dictionary of a module to look into, and `module.*own` is that
// dictionary.
//
//     walk            own tensors           result
//     ""         ->   last             ->   "last"
//     "a"        ->   scale            ->   "a.scale"
//     "a.inner"  ->   value            ->   "a.inner.value"
//     "b"        ->   value            ->   "b.value"
//
// The tests below write into parameters while a `const AutoDispatchBelowAutograd guard;` lives: from module 05 on, a parameter requires a
// gradient and refuses to be overwritten in the middle of a computation.

// %% {"nbgrader": {"grade": false, "grade_id": "03-named-tensors", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/module.cpp
// The tensors in the dictionary `own` of this module and, with `recurse`, of all submodules, under their full
// names in the order of the walk. Undefined tensors are left out. O(tensors); the tensors share their data
// with the module's.
//
// TODO: Collect the tensors of each module on the walk under their full names.
// APPROACH: 1. Write a lambda that takes a module's full name and the module, and inserts its defined tensors
//              as join_name(name, key).
//           2. Call it for this module alone, or hand it to apply().
// EXAMPLE: Linear(2, 3) as "fc" in a module gives "fc.weight", "fc.bias"; without bias only "fc.weight".
// HINT: apply(const ConstNamedModuleApplyFunction&) visits this module with the name "", then everything
// below. `module.*own` is the dictionary.
OrderedDict<std::string, Tensor> nn::Module::named_tensors(OrderedDict<std::string, Tensor> Module::*own,
                                                           bool recurse) const {
  // BEGIN SOLUTION
  OrderedDict<std::string, Tensor> result;
  const ConstNamedModuleApplyFunction collect = [&](const std::string& name, const Module& module) {
    for (const auto& item : module.*own)
      if (item->defined()) result.insert(join_name(name, item.key()), item.value());
  };
  if (recurse) {
    apply(collect);
  } else {
    collect(std::string(), *this);
  }
  return result;
  // END SOLUTION
}

// %%
//| mistake 03-named-tensors own-only
//| says With recurse, the tensors of the submodules belong to the result, too: an optimizer that gets only the top module's own parameters trains nothing below it.
#if 0
OrderedDict<std::string, Tensor> nn::Module::named_tensors(OrderedDict<std::string, Tensor> Module::*own, bool recurse) const {
  OrderedDict<std::string, Tensor> result;
  (void)recurse;
  for (const auto& item : this->*own)
    if (item->defined()) result.insert(item.key(), item.value());
  return result;
}
#endif

// %%
//| export nn/module.cpp
OrderedDict<std::string, Tensor> nn::Module::named_parameters(bool recurse) const {
  return named_tensors(&Module::parameters_, recurse);
}
std::vector<Tensor> nn::Module::parameters(bool recurse) const { return named_parameters(recurse).values(); }
OrderedDict<std::string, Tensor> nn::Module::named_buffers(bool recurse) const {
  return named_tensors(&Module::buffers_, recurse);
}
std::vector<Tensor> nn::Module::buffers(bool recurse) const { return named_buffers(recurse).values(); }

// %% {"nbgrader": {"grade": true, "grade_id": "03-named-tensors-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("named_parameters: full names, in the order of registration, sharing data") {
  const auto root = std::make_shared<Root>();
  CHECK_EQ(joined(root->named_parameters().keys()), "last a.scale a.inner.value b.value");
  CHECK_EQ(joined(root->named_parameters(false).keys()), "last");
  CHECK_EQ(root->named_parameters()["a.inner.value"], full({2}, 11.0));
  CHECK_EQ(root->parameters().size(), 4);
  CHECK_EQ(joined(root->named_buffers().keys()), "a.count");
  CHECK_EQ(root->buffers(false).size(), 0);

  const AutoDispatchBelowAutograd guard;  // writes into parameters as such
  root->named_parameters()["b.value"].fill_(7);
  CHECK_EQ(root->b_->value_, full({2}, 7.0));

  root->a_->register_parameter("unused", {}, false);
  CHECK_EQ(root->parameters().size(), 4);
  // BEGIN HIDDEN TESTS
  const auto above = std::make_shared<Branch>(1);
  above->register_module("root", root);
  CHECK_EQ(joined(above->named_parameters().keys()), "scale inner.value root.last root.a.scale root.a.inner.value root.b.value");
  CHECK_EQ(joined(above->named_buffers().keys()), "count root.a.count");
  CHECK(above->named_parameters()["root.a.scale"].is_same(root->a_->scale_));
  CHECK_EQ(joined(Leaf(3).named_parameters().keys()), "value");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Training mode
//
// Some layers behave differently while a network is trained: dropout drops, batch normalisation uses the statistics
// of the batch. Each module keeps a flag, and `train()` sets it for the whole tree. `train` is virtual so that a
// module may do more, for example keep a frozen part in evaluation mode for good. So the call must go through the
// children's own `train`.
//
//     net->eval()  ──►  net                is_training() false
//                        ├── fc1           is_training() false
//                        └── drop          is_training() false: hands its input through

// %% {"nbgrader": {"grade": false, "grade_id": "03-train", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/module.cpp
// Puts this module and everything below it into training mode, or with `false` into evaluation mode.
//
// TODO: Set the mode here and in all children.
// APPROACH: 1. Call train(on) of each child. 2. Set is_training_.
// EXAMPLE: after net->eval(), net->is_training() and net->fc1->is_training() are false.
void nn::Module::train(bool on) {
  // BEGIN SOLUTION
  for (const auto& child : children_) child.value()->train(on);
  is_training_ = on;
  // END SOLUTION
}

// %%
//| mistake 03-train forgets-children
//| says The mode belongs to the whole tree: a Dropout inside a network must hear of net->eval(). Call train(on) of every child.
#if 0
void nn::Module::train(bool on) { is_training_ = on; }
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "03-train-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("train and eval: the whole tree changes mode") {
  const auto root = std::make_shared<Root>();
  CHECK(root->a_->inner_->is_training());
  root->eval();
  CHECK(!root->is_training());
  CHECK(!root->a_->is_training());
  CHECK(!root->a_->inner_->is_training());
  root->a_->train();
  CHECK(root->a_->inner_->is_training());
  CHECK(!root->b_->is_training());
  // BEGIN HIDDEN TESTS
  struct Frozen : nn::Module {
    void train(bool) override { nn::Module::train(false); }
  };
  const auto frozen = root->b_->register_module("frozen", std::make_shared<Frozen>());
  root->train();
  CHECK(root->is_training());
  CHECK(root->b_->is_training());
  CHECK(!frozen->is_training());  // its own train() decides
  root->train(false);
  CHECK(!root->a_->inner_->is_training());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Another type for the whole tree
//
// `net->to(kDouble)` must change the registered tensor *and* the member `weight` that the layer's `forward` uses.
// Putting a new tensor into the dictionary would leave the member on the old one. So the new data goes under the
// existing `TensorImpl`, where every handle finds it:
//
//     parameters_["weight"] ●──┐                                    ┌── old storage, float  (freed)
//                              ├──► TensorImpl { storage ───────────┤
//     member weight         ●──┘                                    └─► new storage, double
//
// It runs below autograd (module 01's guard): changing the type of a weight is not a step of the computation.

// %%
//| export nn/module.cpp
void nn::Module::to(ScalarType dtype, bool non_blocking) {
  const AutoDispatchBelowAutograd guard;
  for (const auto& child : children_) child.value()->to(dtype, non_blocking);
  for (const Tensor& tensor : parameters(false)) tensor.set_data(tensor.to(dtype));
  for (const Tensor& tensor : buffers(false)) tensor.set_data(tensor.to(dtype));
}

void nn::Module::to(Device device, bool non_blocking) {
  require_device("Module::to", device);
  const AutoDispatchBelowAutograd guard;
  for (const auto& child : children_) child.value()->to(device, non_blocking);
  for (const Tensor& tensor : parameters(false)) tensor.set_data(to_device(tensor, device));
  for (const Tensor& tensor : buffers(false)) tensor.set_data(to_device(tensor, device));
}

// %%
TEST_CASE("to: members and registered tensors change together") {
  const auto root = std::make_shared<Root>();
  root->to(kDouble);
  CHECK_EQ(root->a_->scale_, full({1}, 10.0, kDouble));
  CHECK_EQ(root->b_->value_.scalar_type(), kDouble);
  CHECK(root->b_->value_.is_same(root->b_->parameters()[0]));
}

// %% [markdown]
// ### Printing
//
// `std::cout << net` shows the tree in libtorch's words, so that two logs can be compared line by line:
//
//     Root(
//       (a): Branch(                   two spaces more for each level,
//         (inner): Leaf                the child's name in parentheses,
//       )                              a closing line only where there were children
//       (b): Leaf
//     )

// %%
//| export nn/module.cpp
// Writes this module's own text and, if there are children, each on a line of its own, two spaces deeper than
// `indentation`. No newline at the end.
void nn::Module::pretty_print_recursive(std::ostream& stream, const std::string& indentation) const {
  pretty_print(stream);
  if (children_.is_empty()) return;
  const std::string deeper = indentation + "  ";
  stream << "(\n";
  for (const auto& child : children_) {
    stream << deeper << '(' << child.key() << "): ";
    child.value()->pretty_print_recursive(stream, deeper);
    stream << '\n';
  }
  stream << indentation << ')';
}

void nn::Module::pretty_print(std::ostream& stream) const { stream << name(); }

std::ostream& nn::operator<<(std::ostream& stream, const Module& module) {
  module.pretty_print_recursive(stream, std::string());
  return stream;
}

// %%
TEST_CASE("printing: the tree, two spaces a level") {
  struct Named : nn::Module {
    explicit Named(std::string name) : Module(std::move(name)) {}
  };
  auto root = std::make_shared<Named>("Root");
  std::ostringstream alone;
  alone << *root;
  CHECK_EQ(alone.str(), "Root");

  auto middle = root->register_module("a", std::make_shared<Named>("Branch"));
  middle->register_module("inner", std::make_shared<Named>("Leaf"));
  root->register_module("b", std::make_shared<Named>("Leaf"));
  std::ostringstream tree;
  tree << *root;
  CHECK_EQ(tree.str(), "Root(\n  (a): Branch(\n    (inner): Leaf\n  )\n  (b): Leaf\n)");
}

// %% [markdown]
// ### The state dict
//
// A state dict is the tree laid flat: every parameter and buffer under its full name. Files store it, and loading
// copies *into* the existing tensors, so that members, optimizers and everything else that holds a handle sees the
// loaded values.
//
//     file                           model                          outcome
//     "fc1.weight" (32, 64)   ──►    fc1.weight (32, 64)            copied
//     "fc1.bias"   (32)       ──►    fc1.bias   (16)                size mismatch
//     "head.bias"             ──►    (nothing)                      unexpected key
//     (nothing)               ──►    fc2.bias                       missing key
//
// A loader that stops at the first problem leaves a model that is half old and half new, and whoever catches the
// error does not know it. So decide first, then write: this is the same discipline that a checkpoint on disk needs
// (module 08).

// %%
//| export nn/module.cpp
OrderedDict<std::string, Tensor> nn::Module::state_dict() const {
  OrderedDict<std::string, Tensor> state;
  apply([&](const std::string& name, const Module& module) {
    for (const auto* own : {&module.parameters_, &module.buffers_})
      for (const auto& item : *own)
        if (item->defined()) state.insert(join_name(name, item.key()), item.value());
  });
  return state;
}

namespace {
// "a", "b", "c"
std::string quoted_list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "\"" : ", \"") + name + "\"";
  return text;
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "03-load-state-dict", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/module.cpp
//| exercise design
// Copies the tensors of `state` into the module's own of the same name, converting their dtype. Returns the
// names of the module's tensors that `state` lacks and those in `state` that the module lacks. Throws an
// Error if a tensor's sizes differ or, with `strict`, if any name is missing or unexpected; the error names
// all problems at once, and then the module is unchanged. `state` may be the module's own state_dict().
//
// TODO: Design a load that does everything or nothing.
// APPROACH: You decide how to split the work. What the tests ask for: after an error every value is as before;
//           the message begins "Error(s) in loading state_dict for NAME:" with NAME from name(), and holds
//           a line 'Missing key(s) in state_dict: "fc1.bias". ',
//           a line 'Unexpected key(s) in state_dict: "head.bias". ', and for each wrong shape
//           'size mismatch for fc1.bias: copying a param with shape [32] from checkpoint, the shape in current
//           model is [16].' (all on one line).
// EXAMPLE: net->load_state_dict(other->state_dict()) makes two nets of one shape compute the same.
// HINT: quoted_list() writes the names, str() of module 00 joins a message, copy_ converts the dtype. Copy while an AutoDispatchBelowAutograd guard lives, as the test above does.
nn::Module::IncompatibleKeys nn::Module::load_state_dict(const OrderedDict<std::string, Tensor>& state,
                                                         bool strict) {
  // BEGIN SOLUTION
  const OrderedDict<std::string, Tensor> own = state_dict();
  IncompatibleKeys keys;
  std::string problems;
  for (const auto& item : state)
    if (!own.contains(item.key())) keys.unexpected_keys.push_back(item.key());
  for (const auto& item : own) {
    const Tensor* const loaded = state.find(item.key());
    if (loaded == nullptr) {
      keys.missing_keys.push_back(item.key());
    } else if (loaded->sizes() != item->sizes()) {
      problems += str("\n\tsize mismatch for ", item.key(), ": copying a param with shape ", loaded->sizes(),
                      " from checkpoint, the shape in current model is ", item->sizes(), ".");
    }
  }
  if (strict && !keys.unexpected_keys.empty())
    problems = "\n\tUnexpected key(s) in state_dict: " + quoted_list(keys.unexpected_keys) + ". " + problems;
  if (strict && !keys.missing_keys.empty())
    problems = "\n\tMissing key(s) in state_dict: " + quoted_list(keys.missing_keys) + ". " + problems;
  TORCH_CHECK(problems.empty(), "Error(s) in loading state_dict for ", name(), ":", problems);

  // Nothing can fail from here on.
  const AutoDispatchBelowAutograd guard;
  for (const auto& item : own)
    if (const Tensor* const loaded = state.find(item.key())) item->copy_(*loaded);
  return keys;
  // END SOLUTION
}

// %%
//| mistake 03-load-state-dict half-loaded
//| says The model is half loaded when the error comes: check every name and every shape first, and copy only when all of them fit.
#if 0
nn::Module::IncompatibleKeys nn::Module::load_state_dict(const OrderedDict<std::string, Tensor>& state, bool strict) {
  const OrderedDict<std::string, Tensor> own = state_dict();
  IncompatibleKeys keys;
  std::string problems;
  const AutoDispatchBelowAutograd guard;
  for (const auto& item : state)
    if (!own.contains(item.key())) keys.unexpected_keys.push_back(item.key());
  for (const auto& item : own) {
    const Tensor* const loaded = state.find(item.key());
    if (loaded == nullptr) {
      keys.missing_keys.push_back(item.key());
    } else if (loaded->sizes() != item->sizes()) {
      problems += str("\n\tsize mismatch for ", item.key(), ": copying a param with shape ", loaded->sizes(), " from checkpoint, the shape in current model is ", item->sizes(), ".");
    } else {
      item->copy_(*loaded);
    }
  }
  if (strict && !keys.unexpected_keys.empty()) problems = "\n\tUnexpected key(s) in state_dict: " + quoted_list(keys.unexpected_keys) + ". " + problems;
  if (strict && !keys.missing_keys.empty()) problems = "\n\tMissing key(s) in state_dict: " + quoted_list(keys.missing_keys) + ". " + problems;
  TORCH_CHECK(problems.empty(), "Error(s) in loading state_dict for ", name(), ":", problems);
  return keys;
}
#endif

// %%
//| mistake 03-load-state-dict rebinds
//| says The values must be copied into the module's own tensors: storing other tensors leaves every member (weight, bias) on the old ones.
#if 0
nn::Module::IncompatibleKeys nn::Module::load_state_dict(const OrderedDict<std::string, Tensor>& state, bool strict) {
  OrderedDict<std::string, Tensor> own = state_dict();
  IncompatibleKeys keys;
  for (const auto& item : state) {
    if (own.contains(item.key())) own[item.key()] = item.value();
    else keys.unexpected_keys.push_back(item.key());
  }
  for (const auto& item : own)
    if (!state.contains(item.key())) keys.missing_keys.push_back(item.key());
  TORCH_CHECK(!strict || (keys.missing_keys.empty() && keys.unexpected_keys.empty()), "Error(s) in loading state_dict for ", name(), ":\n\tMissing key(s) in state_dict: ", quoted_list(keys.missing_keys), ". \n\tUnexpected key(s) in state_dict: ", quoted_list(keys.unexpected_keys), ". ");
  return keys;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "03-load-state-dict-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("load_state_dict: everything or nothing") {
  using State = OrderedDict<std::string, Tensor>;
  struct Two : nn::Module {
    Two() : Module("Two") {
      w = register_parameter("w", zeros({2}));
      v = register_parameter("v", zeros({3}));
      steps = register_buffer("steps", zeros({}, kLong));
    }
    Tensor w, v, steps;
  };
  Two net;
  const State good({{"w", tensor({1.0, 2.0})}, {"v", tensor({3.0, 4.0, 5.0})}, {"steps", tensor(7)}});

  SUBCASE("values are copied into the module's own tensors") {
    const Tensor before = net.w;
    net.load_state_dict(good);
    CHECK_EQ(net.w, tensor({1.0, 2.0}));
    CHECK_EQ(net.v, tensor({3.0, 4.0, 5.0}));
    CHECK_EQ(net.steps, tensor(7));
    CHECK(net.w.is_same(before));
    CHECK(!net.w.is_alias_of(good["w"]));
  }
  SUBCASE("an error names every problem, and changes nothing") {
    const State bad({{"w", tensor({1.0, 2.0})}, {"v", ones({4})}, {"head", ones({1})}});
    CHECK_ERROR(net.load_state_dict(bad), "Error(s) in loading state_dict for Two:");
    CHECK_ERROR(net.load_state_dict(bad), "Missing key(s) in state_dict: \"steps\". ");
    CHECK_ERROR(net.load_state_dict(bad), "Unexpected key(s) in state_dict: \"head\". ");
    CHECK_ERROR(net.load_state_dict(bad),
                "size mismatch for v: copying a param with shape [4] from checkpoint, the shape in current "
                "model is [3].");
    CHECK_EQ(net.w, zeros({2}));
  }
  SUBCASE("without strict, what fits is loaded and the rest is reported") {
    const auto keys =
        net.load_state_dict(State({{"w", tensor({1.0, 2.0}, kDouble)}, {"head", ones({1})}}), false);
    CHECK_EQ(net.w, tensor({1.0, 2.0}));
    CHECK_EQ(joined(keys.missing_keys), "v steps");
    CHECK_EQ(joined(keys.unexpected_keys), "head");
    // BEGIN HIDDEN TESTS
    CHECK_ERROR(net.load_state_dict(State({{"w", ones({1})}}), false), "size mismatch for w");
    CHECK_EQ(net.w, tensor({1.0, 2.0}));
    net.load_state_dict(net.state_dict());
    CHECK_EQ(net.w, tensor({1.0, 2.0}));
    // END HIDDEN TESTS
  }
}

// %% [markdown]
// ### Copies that are copies
//
// Copying a handle shares the module. The copy constructor of a module is not the answer either: it copies handles on
// tensors and children, so the two objects would be different trees over the same weights. `clone()` makes new
// tensors. A base class cannot construct an object of a class that it does not know, so the derived class tells its
// base: `class LinearImpl : public Cloneable<LinearImpl>`.
//
//     auto b = a;                          same module               a ●──┬──► Impl ──► weight
//                                                                    b ●──┘
//     auto b = LinearImpl(*a);             two modules,              a ●─────► Impl ──┬──► weight
//                                          one weight (rarely wanted) b ●────► Impl ──┘
//     auto b = a->clone();                 two of everything         a ●─────► Impl ──► weight
//                                                                    b ●─────► Impl ──► weight
//
// `Cloneable` copies the object (its options, its mode), empties the dictionaries of the copy, lets `reset()`
// register fresh tensors and children, and then fills them. This is why every layer registers in `reset()` and not in
// its constructor, and why `clone()` also draws random numbers: `reset()` initialises, and the values are thrown
// away.

// %%
//| export nn/module.cpp
std::shared_ptr<nn::Module> nn::Module::clone(const std::optional<Device>&) const {
  TORCH_CHECK(false, "clone() has not been implemented for ", name(), ". Subclass torch::nn::Cloneable<",
              name(), "> instead of torch::nn::Module to inherit the ability to clone.");
}

// %%
//| export nn/cloneable.h
namespace nn {

// What a clone needs that is the same for every type of module: all but the copy itself.
class CloneableModule : public Module {
 public:
  using Module::Module;

  // Registers and initialises everything that belongs to the module; called by its constructor and by clone().
  virtual void reset() = 0;

  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;

 private:
  virtual CloneableModule* new_copy() const = 0;    // by the copy constructor: handles on the same tensors
  virtual bool assign_from(const Module& other) = 0;  // by copy assignment; false when `other` is of another type
  void clone_(Module& other) final;
};

// Gives `Derived` a clone(): class LinearImpl : public Cloneable<LinearImpl>. REQUIRES: reset() registers all
// parameters, buffers and children anew. Source: torch/csrc/api/include/torch/nn/cloneable.h.
template <class Derived>
class Cloneable : public CloneableModule {
 public:
  using CloneableModule::CloneableModule;

 private:
  CloneableModule* new_copy() const final { return new Derived(static_cast<const Derived&>(*this)); }
  bool assign_from(const Module& other) final {
    const auto* same_type = dynamic_cast<const Derived*>(&other);
    if (same_type != nullptr) static_cast<Derived&>(*this) = *same_type;
    return same_type != nullptr;
  }
};

}  // namespace nn

// %% [markdown]
// The template is as small as it can be. A virtual function of a class template is compiled for every class that derives from it, in every file
// that includes the header, called or not: with all of `clone()` inside of `Cloneable`, as libtorch has it, a hundred kinds of layers cost each
// program seconds of compile time. What does not depend on the type stands in a class without a parameter, and is compiled once.

// %%
//| export nn/module.cpp
namespace {
void check_same_count(const char* what, const char* registration, std::size_t fresh, std::size_t old) {
  TORCH_CHECK(fresh == old, "The cloned module does not have the same number of ", what,
              " as the original module after calling reset(). Are you sure you called ", registration,
              "() inside reset() and not the constructor?");
}
}  // namespace

std::shared_ptr<nn::Module> nn::CloneableModule::clone(const std::optional<Device>& device) const {
  const AutoDispatchBelowAutograd guard;
  const std::shared_ptr<CloneableModule> copy(new_copy());
  copy->parameters_.clear();
  copy->buffers_.clear();
  copy->children_.clear();
  copy->reset();

  check_same_count("parameters", "register_parameter", copy->parameters_.size(), parameters_.size());
  for (const auto& item : named_parameters(/*recurse=*/false))
    copy->parameters_[item.key()].set_data(item->clone());
  check_same_count("buffers", "register_buffer", copy->buffers_.size(), buffers_.size());
  for (const auto& item : named_buffers(/*recurse=*/false))
    copy->buffers_[item.key()].set_data(item->clone());
  check_same_count("child modules", "register_module", copy->children_.size(), children_.size());
  for (const auto& child : children_) copy->children_[child.key()]->clone_(*child.value());
  if (device) copy->to(*device);
  return copy;
}

// Makes this module, which reset() of its parent has just built, a copy of `other`.
void nn::CloneableModule::clone_(Module& other) {
  TORCH_CHECK(assign_from(*other.clone()),
              "Attempted to clone submodule, but it is of a different type than the submodule it was to be "
              "cloned into");
}

// %%
TEST_CASE("clone: new tensors, same values; a handle shares") {
  struct ScaleImpl : nn::Cloneable<ScaleImpl> {
    explicit ScaleImpl(double start) : start_(start) { reset(); }
    void reset() override { factor = register_parameter("factor", full({2}, start_)); }
    double start_;
    Tensor factor;
  };
  auto scale = std::make_shared<ScaleImpl>(1.0);
  const AutoDispatchBelowAutograd guard;  // writes into parameters as such
  scale->factor.fill_(5);
  scale->eval();
  const auto same = scale;
  const auto copy = std::dynamic_pointer_cast<ScaleImpl>(scale->clone());
  CHECK_EQ(copy->factor, full({2}, 5.0));
  CHECK(!copy->factor.is_alias_of(scale->factor));
  CHECK(copy->factor.is_same(copy->named_parameters()["factor"]));
  CHECK(!copy->is_training());
  scale->factor.fill_(6);
  CHECK_EQ(same->factor, full({2}, 6.0));
  CHECK_EQ(copy->factor, full({2}, 5.0));

  nn::Module plain("Net");
  CHECK_ERROR(plain.clone(), "clone() has not been implemented for Net. Subclass torch::nn::Cloneable<Net>");
  CHECK(scale->as<ScaleImpl>() == scale.get());
  CHECK(scale->as<Root>() == nullptr);
}

// %% [markdown]
// ### Where weights begin
//
// If the weights of a layer with $n$ inputs are independent, with mean 0 and variance $\sigma^2$, the output has variance $n \sigma^2$ times that
// of the input. Over 10 layers that is the 10th power of a number: above 1 the signal explodes, below 1 it vanishes,
// and the gradients of module 05 do the same on the way back. The variance must be about $1/n$, or $2/n$ behind a
// ReLU, which removes half of the signal:
//
//     the signal over 10 layers     σ² too small    ▇▆▄▃▂▁▁▁▁▁
//                                   σ² = gain² / n  ▅▅▅▅▅▅▅▅▅▅
//                                   σ² too large    ▁▂▃▅▇█████
//
//     fan_in  = inputs of one output unit        W (out, in): fan_in = in, fan_out = out
//     gain    = makes up for what the activation takes away: linear, sigmoid 1; tanh 5/3; relu √2; leaky_relu(a) √(2 / (1 + a²))
//     Kaiming:  std = gain / √fan                uniform on [-bound, bound] has std = bound / √3,
//     Xavier:   std = gain √(2 / (in + out))     so bound = √3 · std              (library chapter 93)
//     (the first names of the authors, Kaiming He and Xavier Glorot; std: the standard deviation σ)
//
// PyTorch's `Linear` calls `kaiming_uniform_` with a = √5 for the weight. Put in: gain = √(2/6), std = 1/√(3 in),
// bound = 1/√in. That is the rule of PyTorch's predecessor Lua Torch in new words, kept so that old results stay reproducible. It is
// smaller than what He et al. derived for ReLU networks; many training scripts set it anew.

// %%
//| export core/enum.h
// Names for choices, as types: `kFanIn` is a value of its own type, and a parameter that takes a few of them
// is a std::variant. Source: torch/csrc/api/include/torch/enum.h.
#define TORCH_ENUM_DECLARE(name) \
  namespace enumtype {           \
  struct k##name {};             \
  }                              \
  inline constexpr enumtype::k##name k##name{}

TORCH_ENUM_DECLARE(Linear);
TORCH_ENUM_DECLARE(Conv1D);
TORCH_ENUM_DECLARE(Conv2D);
TORCH_ENUM_DECLARE(Conv3D);
TORCH_ENUM_DECLARE(ConvTranspose1D);
TORCH_ENUM_DECLARE(ConvTranspose2D);
TORCH_ENUM_DECLARE(ConvTranspose3D);
TORCH_ENUM_DECLARE(Sigmoid);
TORCH_ENUM_DECLARE(Tanh);
TORCH_ENUM_DECLARE(ReLU);
TORCH_ENUM_DECLARE(LeakyReLU);
TORCH_ENUM_DECLARE(FanIn);
TORCH_ENUM_DECLARE(FanOut);

// %%
//| export nn/init.h
namespace nn::init {

using NonlinearityType =
    std::variant<enumtype::kLinear, enumtype::kConv1D, enumtype::kConv2D, enumtype::kConv3D,
                 enumtype::kConvTranspose1D, enumtype::kConvTranspose2D, enumtype::kConvTranspose3D,
                 enumtype::kSigmoid, enumtype::kTanh, enumtype::kReLU, enumtype::kLeakyReLU>;
using FanModeType = std::variant<enumtype::kFanIn, enumtype::kFanOut>;

// The factor by which the weights in front of an activation function are scaled. `param` is the slope of
// leaky_relu.
double calculate_gain(NonlinearityType nonlinearity, double param = 0.01);

// Each fills `tensor` in place with random numbers from the default generator, below autograd, and returns it.
Tensor uniform_(Tensor tensor, double low = 0, double high = 1);
Tensor normal_(Tensor tensor, double mean = 0, double std = 1);

// He et al. 2015: variance gain^2 / fan. `a` is the slope of the leaky_relu behind the layer. At least two
// dimensions.
// Without them, `mode` is kFanIn and `nonlinearity` kLeakyReLU. That is said in the source: as default arguments they would have every file that includes this header compile both variants.
Tensor kaiming_uniform_(Tensor tensor, double a = 0);
Tensor kaiming_uniform_(Tensor tensor, double a, FanModeType mode);
Tensor kaiming_uniform_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity);
Tensor kaiming_normal_(Tensor tensor, double a = 0);
Tensor kaiming_normal_(Tensor tensor, double a, FanModeType mode);
Tensor kaiming_normal_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity);
// How many inputs feed one output unit, and how many outputs one input unit feeds. Weights are (out, in,
// kernel sizes...).
std::tuple<std::int64_t, std::int64_t> _calculate_fan_in_and_fan_out(const Tensor& tensor);

}  // namespace nn::init

// %%
//| export nn/init.cpp
double nn::init::calculate_gain(NonlinearityType nonlinearity, double param) {
  if (std::holds_alternative<enumtype::kTanh>(nonlinearity)) return 5.0 / 3.0;
  if (std::holds_alternative<enumtype::kReLU>(nonlinearity)) return std::sqrt(2.0);
  if (std::holds_alternative<enumtype::kLeakyReLU>(nonlinearity))
    return std::sqrt(2.0 / (1.0 + param * param));
  return 1.0;
}

std::tuple<std::int64_t, std::int64_t> nn::init::_calculate_fan_in_and_fan_out(const Tensor& tensor) {
  TORCH_CHECK(
      tensor.dim() >= 2,
      "Fan in and fan out cannot be computed for tensor with fewer than 2 dimensions\n[init] got sizes ",
      tensor.sizes());
  std::int64_t kernel = 1;
  for (std::int64_t d = 2; d < tensor.dim(); ++d) kernel *= tensor.size(d);
  return {tensor.size(1) * kernel, tensor.size(0) * kernel};
}

// %%
//| export nn/init.cpp
Tensor nn::init::uniform_(Tensor tensor, double low, double high) {
  const AutoDispatchBelowAutograd guard;
  return tensor.uniform_(low, high);
}

Tensor nn::init::normal_(Tensor tensor, double mean, double std) {
  const AutoDispatchBelowAutograd guard;
  return tensor.normal_(mean, std);
}

// %%
//| export nn/init.cpp
namespace {
// gain / sqrt(fan); 0 for a layer without inputs, whose weight is empty.
double kaiming_std(const Tensor& tensor, double a, const nn::init::FanModeType& mode,
                   const nn::init::NonlinearityType& nonlinearity) {
  const auto [fan_in, fan_out] = nn::init::_calculate_fan_in_and_fan_out(tensor);
  const std::int64_t fan = std::holds_alternative<enumtype::kFanIn>(mode) ? fan_in : fan_out;
  return fan == 0 ? 0.0 : nn::init::calculate_gain(nonlinearity, a) / std::sqrt(static_cast<double>(fan));
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "03-kaiming-uniform", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/init.cpp
// Fills `tensor` with uniform random numbers around 0 whose standard deviation is gain / sqrt(fan). Returns
// `tensor`.
//
// TODO: Turn the standard deviation into the bound of a uniform distribution, and fill.
// APPROACH: 1. kaiming_std() gives the standard deviation. 2. Numbers uniform on [-b, b] have b / sqrt(3).
//           3. init::uniform_.
// EXAMPLE: for a weight (10, 100) and a = sqrt(5) all values lie in [-0.1, 0.1].
Tensor nn::init::kaiming_uniform_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity) {
  // BEGIN SOLUTION
  const double bound = std::sqrt(3.0) * kaiming_std(tensor, a, mode, nonlinearity);
  return nn::init::uniform_(tensor, -bound, bound);
  // END SOLUTION
}

// %%
//| mistake 03-kaiming-uniform std-as-bound
//| says Numbers that are uniform on [-b, b] have the standard deviation b / sqrt(3), not b: the bound is sqrt(3) times the standard deviation.
#if 0
Tensor nn::init::kaiming_uniform_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity) {
  const double bound = kaiming_std(tensor, a, mode, nonlinearity);
  return uniform_(tensor, -bound, bound);
}
#endif

// %%
//| export nn/init.cpp
Tensor nn::init::kaiming_normal_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity) {
  return nn::init::normal_(tensor, 0, kaiming_std(tensor, a, mode, nonlinearity));
}

Tensor nn::init::kaiming_uniform_(Tensor tensor, double a) { return kaiming_uniform_(std::move(tensor), a, kFanIn, kLeakyReLU); }
Tensor nn::init::kaiming_uniform_(Tensor tensor, double a, FanModeType mode) { return kaiming_uniform_(std::move(tensor), a, mode, kLeakyReLU); }
Tensor nn::init::kaiming_normal_(Tensor tensor, double a) { return kaiming_normal_(std::move(tensor), a, kFanIn, kLeakyReLU); }
Tensor nn::init::kaiming_normal_(Tensor tensor, double a, FanModeType mode) { return kaiming_normal_(std::move(tensor), a, mode, kLeakyReLU); }

// %% [markdown]
// The expected numbers below were recorded from PyTorch: the same seed gives the same weights.

// %% {"nbgrader": {"grade": true, "grade_id": "03-kaiming-uniform-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("kaiming_uniform_: PyTorch's numbers for the same seed") {
  manual_seed(1);
  Tensor fan_out = empty({2, 3});
  nn::init::kaiming_uniform_(fan_out, 0, kFanOut, kReLU);
  CHECK_CLOSE(fan_out,
              tensor({{0.892462015, -0.764489532, -0.335777938}, {0.812970817, -1.630616546, 1.038740754}}));

  manual_seed(0);
  Tensor linear_weight = empty({2, 3});
  CHECK(nn::init::kaiming_uniform_(linear_weight, std::sqrt(5.0)).is_same(linear_weight));
  CHECK_CLOSE(linear_weight,
              tensor({{-0.004322518, 0.309715837, -0.475185335}, {-0.424894601, -0.222368971, 0.154820725}}));
  CHECK_ERROR(nn::init::kaiming_uniform_(empty({3})),
              "Fan in and fan out cannot be computed for tensor with fewer than 2 dimensions");
  // BEGIN HIDDEN TESTS
  const auto within = [](IntArrayRef sizes, double bound) {
    manual_seed(5);
    return nn::init::uniform_(empty(sizes), -bound, bound);
  };
  manual_seed(5);
  const Tensor leaky = nn::init::kaiming_uniform_(empty({50, 20}), 0.2);
  CHECK_CLOSE(leaky, within({50, 20}, std::sqrt(3.0 * 2.0 / 1.04 / 20.0)));
  manual_seed(5);
  const Tensor behind = nn::init::kaiming_uniform_(empty({8, 4, 3, 3}), 0, kFanOut, kReLU);
  CHECK_CLOSE(behind, within({8, 4, 3, 3}, std::sqrt(3.0 * 2.0 / (8.0 * 9.0))));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Options with names
//
// C++ has no keyword arguments. libtorch writes `LinearOptions(4, 3).bias(false)`: a small struct whose setters
// return the struct. The macro `TORCH_ARG(T, name) = default;` makes the private member, two setters and two getters;
// all later options use it.

// %%
//| export core/arg.h
// Declares in an options struct the member `name_` with a setter that can be chained, `options.name(value)`,
// and a getter, `options.name()`. What follows it in the struct is private. Source:
// torch/csrc/api/include/torch/arg.h.
#define TORCH_ARG(T, name)                                 \
 public:                                                   \
  auto name(T new_##name)->decltype(*this) {               \
    this->name##_ = std::move(new_##name);                 \
    return *this;                                          \
  }                                                        \
  const T& name() const noexcept { return this->name##_; } \
  T& name() noexcept { return this->name##_; }             \
                                                           \
 private:                                                  \
  T name##_

// %% [markdown]
// ### Linear
//
// The weight is stored as (out, in): a row per output unit. For the product it is transposed, which costs nothing,
// because `t()` only swaps strides (module 01).
//
//     input (B, in)        weight.t() (in, out)            output (B, out)
//     ┌───────────┐        ┌──────────┐                    ┌──────────┐
//     │ sample 0  │        │ │  │  │  │   each column      │ y[0]     │   + bias, broadcast
//     │ sample 1  │   ×    │ ▼  ▼  ▼  ▼ │   is a row of    =  │ y[1]     │     over the rows
//     │ ...       │        │ unit 0 1 ..│   weight           │ ...      │     (stride 0)
//     └───────────┘        └──────────┘                    └──────────┘
//
// Why (out, in) and not (in, out)? Each output unit's weights lie together: a dot product per output reads memory in
// order, pruning a unit removes a row, and `weight[i]` is the picture of what unit i looks for. It is a convention
// inherited from Lua Torch; TensorFlow's and Flax's Dense store (in, out). Files do not say which one they hold.
//
// First the loops that say what is computed. They are the reference that the fast version is held to.

// %%
//| lesson
// y[b][o] = sum over i of x[b][i] * W[o][i] + bias[o]. Contiguous float tensors.
Tensor linear_v1(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  const std::int64_t B = input.size(0);
  const std::int64_t in = input.size(1);
  const std::int64_t out = weight.size(0);
  const Tensor result = empty({B, out});
  const float* const x = input.data_ptr<float>();
  const float* const W = weight.data_ptr<float>();
  float* const y = result.data_ptr<float>();
  for (std::int64_t b = 0; b < B; ++b) {
    for (std::int64_t o = 0; o < out; ++o) {
      float sum = bias.data_ptr<float>()[o];
      for (std::int64_t i = 0; i < in; ++i) sum += x[b * in + i] * W[o * in + i];
      y[b * out + o] = sum;
    }
  }
  return result;
}

// %%
//| export nn/linear.h
// input (..., in) x weight (out, in) transposed + bias (out) -> (..., out). Without `bias` nothing is added.
// The dtypes of input and weight must agree. O(numel(input) * out) time. Source:
// torch/nn/functional/linear.h.
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = Tensor());

namespace nn::functional {
inline Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = Tensor()) {
  return tinytorch::linear(input, weight, bias);
}
}  // namespace nn::functional

// %% {"nbgrader": {"grade": false, "grade_id": "03-linear", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/linear.cpp
// input (..., in), weight (out, in), bias (out) or undefined -> (..., out). One product of O(numel(input) *
// out); the weight is transposed as a view.
//
// TODO: One matrix product, and the bias where there is one.
// APPROACH: 1. matmul of the input with the transposed weight: it takes any number of leading dimensions.
//           2. Add the bias if it is defined; broadcasting repeats it over the rows.
//           These two are right for every shape. 3. Faster: for a matrix, addmm(bias, input, weight.t()) is bias + input x weight.t() without a second tensor; a contiguous
//           input of more dimensions is a matrix after view({-1, in}).
// EXAMPLE: linear(x (5, 4), W (3, 4), b (3)) is (5, 3). Tensor() is undefined, and bias.defined() asks.
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  // BEGIN SOLUTION
  if (input.dim() == 2 && bias.defined()) return addmm(bias, input, weight.t());
  // Leading dimensions that lie dense in memory are the rows of one matrix.
  if (input.dim() > 2 && bias.defined() && bias.dim() == 1 && weight.dim() == 2 && input.is_contiguous() && input.numel() > 0) {
    DimVector sizes(input.sizes());
    sizes[sizes.size() - 1] = weight.size(0);
    return addmm(bias, input.view({-1, input.size(-1)}), weight.t()).view(sizes);
  }
  const Tensor output = matmul(input, weight.t());
  return bias.defined() ? output + bias : output;
  // END SOLUTION
}

// %%
//| mistake 03-linear no-transpose
//| says The weight is stored as (out, in), a row per output unit: multiply with weight.t(). For a square weight the shapes fit either way, and only the values are wrong.
#if 0
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  const Tensor output = matmul(input, weight);
  return bias.defined() ? output + bias : output;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "03-linear-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("linear: rows of the weight against rows of the input") {
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}});
  const Tensor W = tensor({{1.0, 10.0}, {0.0, 1.0}});
  const Tensor b = tensor({0.5, -0.5});
  CHECK_EQ(linear(x, W, b), tensor({{21.5, 1.5}, {43.5, 3.5}, {65.5, 5.5}}));
  CHECK_EQ(linear(x, W), tensor({{21.0, 2.0}, {43.0, 4.0}, {65.0, 6.0}}));
  CHECK_EQ(linear(x.view({3, 1, 2}), W, b), linear(x, W, b).view({3, 1, 2}));
  CHECK_EQ(linear(x[0], W, b), tensor({21.5, 1.5}));
  CHECK_ERROR(linear(ones({2, 3}), ones({5, 4})), "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
  // BEGIN HIDDEN TESTS
  const Tensor big = arange(24, kFloat).view({4, 6});
  const Tensor weight = arange(18, kFloat).view({3, 6}) - 9;
  CHECK_CLOSE(linear(big, weight, ones({3})), linear_v1(big, weight, ones({3})));
  CHECK_EQ(linear(big.t(), ones({2, 4})).sizes(), IntArrayRef({6, 2}));
  CHECK_EQ(linear(ones({0, 2}), W, b).sizes(), IntArrayRef({0, 2}));
  // END HIDDEN TESTS
}

// %% [markdown]
// Now the layer: options, two tensors, and `reset_parameters`, which draws first the weight and then the bias. The
// order matters if the numbers are to be PyTorch's.

// %%
//| export nn/linear.h
namespace nn {

struct LinearOptions {
  LinearOptions(std::int64_t in_features, std::int64_t out_features)
      : in_features_(in_features), out_features_(out_features) {}
  TORCH_ARG(std::int64_t, in_features);
  TORCH_ARG(std::int64_t, out_features);
  TORCH_ARG(bool, bias) = true;
};

// y = x W^T + b for x (..., in_features) -> (..., out_features); see linear(). Both tensors are born uniform
// on [-1/sqrt(in), 1/sqrt(in)]. Source: torch/csrc/api/src/nn/modules/linear.cpp.
class LinearImpl : public Cloneable<LinearImpl> {
 public:
  LinearImpl(std::int64_t in_features, std::int64_t out_features);
  explicit LinearImpl(const LinearOptions& options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);

  LinearOptions options;
  Tensor weight;  // (out_features, in_features)
  Tensor bias;    // (out_features), or undefined
};
TORCH_MODULE(Linear);

}  // namespace nn

// %%
//| export nn/linear.cpp
nn::LinearImpl::LinearImpl(std::int64_t in_features, std::int64_t out_features)
    : LinearImpl(LinearOptions(in_features, out_features)) {}
nn::LinearImpl::LinearImpl(const LinearOptions& options_) : options(options_) { LinearImpl::reset(); }

void nn::LinearImpl::reset() {
  weight = register_parameter("weight", empty({options.out_features(), options.in_features()}));
  if (options.bias()) {
    bias = register_parameter("bias", empty({options.out_features()}));
  } else {
    bias = register_parameter("bias", Tensor(), /*requires_grad=*/false);
  }
  reset_parameters();
}

void nn::LinearImpl::reset_parameters() {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const std::int64_t fan_in = options.in_features();
  const double bound = fan_in == 0 ? 0.0 : 1.0 / std::sqrt(static_cast<double>(fan_in));
  init::uniform_(bias, -bound, bound);
}

Tensor nn::LinearImpl::forward(const Tensor& input) { return linear(input, weight, bias); }

void nn::LinearImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Linear(in_features=" << options.in_features()
         << ", out_features=" << options.out_features() << ", bias=" << (options.bias() ? "true" : "false")
         << ')';
}

// %%
TEST_CASE("Linear: PyTorch's weights for the same seed, and an optional bias") {
  manual_seed(0);
  nn::Linear layer(3, 2);
  CHECK_CLOSE(layer->weight,
              tensor({{-0.004322518, 0.309715837, -0.475185335}, {-0.424894601, -0.222368971, 0.154820725}}));
  CHECK_CLOSE(layer->bias, tensor({-0.011439145, 0.457774937}));
  CHECK_CLOSE(layer->forward(ones({1, 3})), tensor({{-0.181231144, -0.034667909}}), 1e-5, 1e-6);

  nn::Linear plain(nn::LinearOptions(3, 2).bias(false));
  CHECK_EQ(joined(plain->named_parameters().keys()), "weight");
  CHECK(!plain->bias.defined());
  CHECK_EQ(plain(zeros({1, 3})), zeros({1, 2}));
  std::ostringstream text;
  text << layer << ' ' << plain;
  CHECK_EQ(text.str(),
           "torch::nn::Linear(in_features=3, out_features=2, bias=true) torch::nn::Linear(in_features=3, "
           "out_features=2, bias=false)");
}

// %% [markdown]
// ### Dropout
//
// In training, dropout sets each element to 0 with probability p. That makes the sum that the next layer computes
// smaller by the factor 1 - p on average, so the survivors are multiplied by 1 / (1 - p). In evaluation nothing
// happens at all: the scaling was paid for in training. (The paper of 2014 scaled in evaluation instead; every
// framework has moved it, because inference is what runs a billion times.)
//
//     input      1.0   2.0   3.0   4.0        p = 0.5
//     mask        1     0     1     1         1 with probability 1 - p
//     output     2.0   0.0   6.0   8.0        input * mask / (1 - p): the same expectation
//
// The numbers come from the default generator. PyTorch's own build draws them from another library's stream, so its
// masks differ from ours for the same seed.

// %%
//| export nn/dropout.h
// With `train`, zeroes each element with probability p and scales the others by 1 / (1 - p); without, or with
// p = 0, returns `input` itself. 0 <= p <= 1. Source: aten/src/ATen/native/Dropout.cpp.
Tensor dropout(const Tensor& input, double p, bool train);
// The same in place.
Tensor& dropout_(Tensor& input, double p, bool train);

// %%
//| export nn/dropout.cpp
namespace {
void check_dropout_probability(double p) {
  TORCH_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got ", p);
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "03-dropout-mask", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/dropout.cpp
namespace {
// A random tensor like `input`, to multiply it with: 0 with probability p, otherwise 1 / (1 - p). For p = 1
// all zeros.
//
// TODO: Draw the mask and scale what survives.
// APPROACH: 1. zeros_like for p == 1: nothing survives, and 1 / (1 - p) has no value.
//           2. empty_like, then bernoulli_ with the probability to keep an element. 3. Divide by that probability.
// EXAMPLE: dropout_mask(x, 0.75) has about a quarter of fours, and zeros. bernoulli_(q) writes 1 with probability q.
Tensor dropout_mask(const Tensor& input, double p) {
  // BEGIN SOLUTION
  if (p == 1) return zeros_like(input);
  Tensor mask = empty_like(input);
  mask.bernoulli_(1 - p);
  return mask.div_(1 - p);
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 03-dropout-mask unscaled
//| says The expectation must stay: an element that survives with probability 1 - p is divided by 1 - p.
#if 0
namespace {
Tensor dropout_mask(const Tensor& input, double p) {
  if (p == 1) return zeros_like(input);
  Tensor mask = empty_like(input);
  mask.bernoulli_(1 - p);
  return mask;
}
}  // namespace
#endif

// %%
//| mistake 03-dropout-mask keeps-p
//| says p is the probability to drop, as everywhere since 2015; an element is kept with probability 1 - p.
#if 0
namespace {
Tensor dropout_mask(const Tensor& input, double p) {
  if (p == 1) return zeros_like(input);
  Tensor mask = empty_like(input);
  mask.bernoulli_(p);
  return mask.div_(1 - p);
}
}  // namespace
#endif

// %%
//| export nn/dropout.cpp
Tensor dropout(const Tensor& input, double p, bool train) {
  check_dropout_probability(p);
  if (!train || p == 0 || input.numel() == 0) return input;
  return input * dropout_mask(input, p);
}

Tensor& dropout_(Tensor& input, double p, bool train) {
  check_dropout_probability(p);
  if (!train || p == 0 || input.numel() == 0) return input;
  return input.mul_(dropout_mask(input, p));
}

// %%
//| export nn/dropout.h
namespace nn {

struct DropoutOptions {
  DropoutOptions(double p = 0.5) : p_(p) {}
  TORCH_ARG(double, p);
  TORCH_ARG(bool, inplace) = false;
};

// dropout() in training mode, nothing in evaluation mode.
class DropoutImpl : public Cloneable<DropoutImpl> {
 public:
  explicit DropoutImpl(const DropoutOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input);

  DropoutOptions options;
};
TORCH_MODULE(Dropout);

}  // namespace nn

// %%
//| export nn/dropout.cpp
nn::DropoutImpl::DropoutImpl(const DropoutOptions& options_) : options(options_) { DropoutImpl::reset(); }

void nn::DropoutImpl::reset() { check_dropout_probability(options.p()); }

Tensor nn::DropoutImpl::forward(Tensor input) {
  return options.inplace() ? dropout_(input, options.p(), is_training())
                           : dropout(input, options.p(), is_training());
}

void nn::DropoutImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Dropout(p=" << options.p() << ", inplace=" << (options.inplace() ? "true" : "false")
         << ')';
}

// %% {"nbgrader": {"grade": true, "grade_id": "03-dropout-mask-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("dropout: drops the share p, and keeps the mean") {
  manual_seed(3);
  const Tensor x = full({100, 100}, 2.0);
  const Tensor y = dropout(x, 0.75, true);
  const double kept = y.ne(0).to(kDouble).mean().item<double>();
  CHECK_CLOSE(kept, 0.25, 0, 0.02);
  CHECK_CLOSE(y.mean().item<double>(), 2.0, 0, 0.16);
  CHECK_EQ(y.max(), tensor(8.0));
  CHECK_EQ(dropout(x, 1.0, true), zeros({100, 100}));
  CHECK_EQ(x, full({100, 100}, 2.0));
  // BEGIN HIDDEN TESTS
  manual_seed(3);
  CHECK_EQ(dropout(x, 0.75, true), y);
  Tensor z = x.clone();
  manual_seed(3);
  dropout_(z, 0.75, true);
  CHECK_EQ(z, y);
  // END HIDDEN TESTS
}

// %%
TEST_CASE("Dropout: off in evaluation mode, and p is checked") {
  const Tensor x = ones({4, 4});
  nn::Dropout drop(0.9);
  drop->eval();
  CHECK(drop(x).is_same(x));
  CHECK_ERROR(nn::Dropout(1.5), "dropout probability has to be between 0 and 1, but got 1.5");
  std::ostringstream text;
  text << nn::Dropout(nn::DropoutOptions(0.3).inplace(true));
  CHECK_EQ(text.str(), "torch::nn::Dropout(p=0.3, inplace=true)");
}

// %% [markdown]
// ### A network: the multi-layer perceptron
//
// The oldest deep network is Linear layers with an activation function *between* them:
//
//     images (B, 1, 8, 8)     fc1          relu         fc2
//     ─────────────────► (B, 64) ──► (B, 32) ──► (B, 32) ──► (B, 10)  logits: one score per digit
//           flatten
//
// There is no activation behind the last layer. A ReLU there would cut away negative scores, and a softmax would be
// computed twice, because the loss of module 04 contains it. Without the activations in between, two Linear layers
// are one: $W_2 (W_1 x) = (W_2 W_1) x$.
//
// A class of your own with a hand-written `forward`, as here, is how most models are written. For a plain chain of
// layers there is also `nn::Sequential(Linear(64, 32), ReLU(), Linear(32, 10))`, in library chapter 93 with the other
// containers: it must call layers whose `forward` functions have different signatures, and how C++ does that is
// explained there.

// %%
//| export nn/mlp.h
namespace nn {

// Linear layers fc1, fc2, ... with relu between them: (B, ...) -> (B, sizes.back()), where the product of the
// sizes behind B is sizes.front().
class MLPImpl : public Cloneable<MLPImpl> {
 public:
  // Features at the input, of each hidden layer, and at the output: {64, 32, 10}.
  explicit MLPImpl(std::vector<std::int64_t> sizes);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::nn::MLP"; }
  Tensor forward(const Tensor& input);

  std::vector<std::int64_t> sizes;
  std::vector<Linear> layers;
};
TORCH_MODULE(MLP);

}  // namespace nn

// %%
//| export nn/mlp.cpp
nn::MLPImpl::MLPImpl(std::vector<std::int64_t> sizes_) : sizes(std::move(sizes_)) {
  TORCH_CHECK(sizes.size() >= 2, "an MLP needs at least an input and an output size, but got ", IntArrayRef(sizes));
  MLPImpl::reset();
}

void nn::MLPImpl::reset() {
  layers.clear();
  for (std::size_t i = 1; i < sizes.size(); ++i)
    layers.push_back(register_module("fc" + std::to_string(i), Linear(sizes[i - 1], sizes[i])));
}

// %% {"nbgrader": {"grade": false, "grade_id": "03-mlp-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/mlp.cpp
// The scores of each sample. `input` is (B, ...); everything behind B is flattened.
//
// TODO: Flatten, then every layer, with relu between two layers and none behind the last.
// APPROACH: 1. input.flatten(1) joins all dimensions from number 1 on. 2. Call each of `layers` on the value so far, with relu between two.
// EXAMPLE: MLP({64, 32, 10}) of images (5, 1, 8, 8) is (5, 10).
Tensor nn::MLPImpl::forward(const Tensor& input) {
  // BEGIN SOLUTION
  Tensor x = input.flatten(1);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i > 0) x = relu(x);
    x = layers[i](x);
  }
  return x;
  // END SOLUTION
}

// %%
//| mistake 03-mlp-forward relu-behind-last
//| says The last layer's scores may be negative: relu stands between two layers, not behind the last one.
#if 0
Tensor nn::MLPImpl::forward(const Tensor& input) {
  Tensor x = input.flatten(1);
  for (std::size_t i = 0; i < layers.size(); ++i) x = relu(layers[i](x));
  return x;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "03-mlp-forward-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("MLP: relu between the layers, none behind the last") {
  nn::MLP net(std::vector<std::int64_t>{2, 2, 1});
  const AutoDispatchBelowAutograd guard;  // writes into parameters as such
  net->layers[0]->weight.copy_(tensor({{1.0, 0.0}, {0.0, 1.0}}));
  net->layers[1]->weight.copy_(tensor({{-1.0, -1.0}}));
  for (nn::Linear& layer : net->layers) layer->bias.zero_();
  CHECK_EQ(net(tensor({{3.0, -5.0}, {-1.0, -1.0}})), tensor({{-3.0}, {0.0}}));
  CHECK_EQ(nn::MLP(std::vector<std::int64_t>{64, 32, 10})(zeros({5, 1, 8, 8})).sizes(), IntArrayRef({5, 10}));
  CHECK_ERROR(nn::MLP(std::vector<std::int64_t>{3}),
              "an MLP needs at least an input and an output size, but got [3]");
  // BEGIN HIDDEN TESTS
  manual_seed(4);
  nn::MLP deep(std::vector<std::int64_t>{6, 5, 4, 3});
  const Tensor images = randn({7, 1, 2, 3});
  const Tensor hidden = relu(deep->layers[1](relu(deep->layers[0](images.reshape({7, 6})))));
  CHECK_EQ(deep(images), deep->layers[2](hidden));
  CHECK(!deep(images).ge(0).all().item<bool>());
  nn::MLP one_layer(std::vector<std::int64_t>{6, 2});
  CHECK_EQ(one_layer(images), one_layer->layers[0](images.reshape({7, 6})));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Real digits
//
// Now use it. PyTorch trained a network of these sizes on four fifths of the 1,797 digits that ship with the course
// and wrote its weights with `np.save`. Module 00's plain reader gives arrays; names make them a state dict;
// `load_state_dict` checks every shape and copies.
//
//     digits_mlp.npy ──read_npy──► arrays ──names──► state dict ──load_state_dict──► MLP
//     optdigits.csv  ──read_numeric_text──► images (1797, 1, 8, 8), labels (1797) ─────► MLP ──argmax──► guesses
//
// Every fifth image was kept out of the training. As a view that is a slice with step 5: the strides are five times
// as large, and no pixel is copied.

// %%
//| lesson
struct Digits {
  Tensor images;  // (N, 1, 8, 8), 0 white to 1 black
  Tensor labels;  // (N), Long
};

Digits read_digits() {
  const NumericArray table = read_numeric_text(find_data("digits/optdigits.csv"));
  const Tensor rows = tensor(table.values).view(table.sizes);
  return {rows.slice(1, 0, 64).reshape({-1, 1, 8, 8}) / 16, rows.select(1, 64).to(kLong)};
}

// The rows that the recorded network has never seen.
Digits held_out(const Digits& all) {
  return {all.images.slice(0, 0, std::nullopt, 5), all.labels.slice(0, 0, std::nullopt, 5)};
}

// The recorded weights under the names of an MLP with one hidden layer.
OrderedDict<std::string, Tensor> recorded_weights() {
  const std::vector<NumericArray> arrays = read_npy(find_data("digits_mlp.npy"), 4);
  const std::vector<std::string> names = {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"};
  OrderedDict<std::string, Tensor> state;
  for (std::size_t i = 0; i < arrays.size(); ++i)
    state.insert(names[i], tensor(arrays[i].values).view(arrays[i].sizes));
  return state;
}

nn::MLP digits_network() {
  nn::MLP net(std::vector<std::int64_t>{64, 32, 10});
  net->load_state_dict(recorded_weights());
  net->eval();
  return net;
}

// Draws images side by side with a line of text below each.
void draw(const std::vector<Tensor>& images, const std::vector<std::string>& captions) {
  for (std::int64_t y = 0; y < 8; ++y) {
    for (const Tensor& image : images) {
      for (std::int64_t x = 0; x < 8; ++x) {
        const auto shade = static_cast<std::size_t>(image[0][y][x].item<double>() * 4.99);
        std::printf("%c%c", " .:+#"[shade], " .:+#"[shade]);
      }
      std::printf("   ");
    }
    std::printf("\n");
  }
  for (const std::string& caption : captions) std::printf("%-19s", caption.c_str());
  std::printf("\n\n");
}

// %%
DEMO("real digits: the first ones, and those that it gets wrong") {
  nn::MLP net = digits_network();
  std::cout << net << '\n';
  const Digits test = held_out(read_digits());
  const Tensor guesses = net(test.images).argmax(1);
  const std::int64_t right = (guesses == test.labels).sum().item<std::int64_t>();
  std::printf("\n%lld of %lld images that the network has never seen are named right\n\n",
              static_cast<long long>(right), static_cast<long long>(test.labels.numel()));

  std::vector<Tensor> images;
  std::vector<std::string> captions;
  const auto show = [&](std::int64_t i) {
    images.push_back(test.images[i]);
    captions.push_back(str("guess ", guesses[i].item<int>(), ", is ", test.labels[i].item<int>()));
    if (images.size() < 5) return;
    draw(images, captions);
    images.clear();
    captions.clear();
  };
  for (std::int64_t i = 0; i < 5; ++i) show(i);
  for (std::int64_t i = 5; i < test.labels.numel(); ++i)
    if (guesses[i].item<int>() != test.labels[i].item<int>()) show(i);
  if (!images.empty()) draw(images, captions);
}

// %%
TEST_CASE("the digits: sizes, labels and a view with every fifth image") {
  const Digits all = read_digits();
  CHECK_EQ(all.images.sizes(), IntArrayRef({1797, 1, 8, 8}));
  CHECK_EQ(all.images.max(), tensor(1.0));
  const Digits test = held_out(all);
  CHECK_EQ(test.labels.numel(), 360);
  CHECK(test.images.is_alias_of(all.images));
  CHECK_EQ(test.images.stride(0), 5 * 64);
  CHECK_EQ(test.labels[1], all.labels[5]);
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// ### What a model weighs
//
// A `Linear` has out · in + out numbers of 4 bytes. The bias hardly counts, and the widest pair of layers decides.
// The allocator of module 01 counts what is really held, so the formula can be checked against it. Training will need
// four times as much: the gradient is as large as the weight, and Adam (module 06) keeps two more numbers for each.

// %%
//| lesson
// A bar of `value` on a scale that ends at `most`.
std::string bar(double value, double most) {
  std::string text;
  for (double step = most / 30; step <= value && text.size() < 30 * 3; step += most / 30) text += "█";
  return text;
}

// What `run` takes from the allocator: the bytes above the level before it, at the worst moment.
std::size_t peak_of(const std::function<void()>& run) {
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  run();
  return memory::stats().peak - before;
}

// %%
//| lesson
// Something to measure, and the time of its fastest call.
struct Candidate {
  std::string name;
  std::function<Tensor()> run;
  double seconds = 1e9;
};

// Measures all of them in turns and keeps the fastest sample of each: what disturbs a measurement only ever
// makes it slower, and a machine that slows down does so for all.
void measure_in_turns(std::vector<Candidate>& candidates) {
  for (int round = 0; round < 5; ++round) {
    for (Candidate& candidate : candidates) {
      const Measurement time = measure([&] { do_not_optimize(candidate.run()); }, {.samples = 3});
      candidate.seconds = std::min(candidate.seconds, time.minimum);
    }
  }
}

// %%
DEMO("what a model weighs, by formula and by the allocator") {
  std::printf("%-22s %12s %14s %14s\n", "sizes", "parameters", "formula", "allocator");
  for (const std::vector<std::int64_t>& sizes : {std::vector<std::int64_t>{64, 32, 10},
                                                 {64, 128, 10},
                                                 {64, 128, 128, 10},
                                                 {784, 512, 512, 10},
                                                 {784, 2048, 10}}) {
    const std::size_t before = memory::stats().live;
    const nn::MLP net(sizes);
    std::int64_t count = 0;
    for (const Tensor& parameter : net->parameters()) count += parameter.numel();
    const std::size_t held = memory::stats().live - before;
    std::printf("%-22s %12lld %14s %14s  %s\n", str(IntArrayRef(sizes)).c_str(),
                static_cast<long long>(count), format_bytes(count * 4).c_str(),
                format_bytes(static_cast<std::int64_t>(held)).c_str(),
                bar(static_cast<double>(count), 2e6).c_str());
  }
  nn::MLP net(std::vector<std::int64_t>{784, 512, 10});
  const std::size_t one = memory::stats().live;
  const nn::MLP tied = net;
  const std::size_t two_handles = memory::stats().live;
  const auto copy = net->clone();
  std::printf("a second handle: %s more, a clone: %s more\n",
              format_bytes(static_cast<std::int64_t>(two_handles - one)).c_str(),
              format_bytes(static_cast<std::int64_t>(memory::stats().live - two_handles)).c_str());
}

// %% [markdown]
// ### Four versions of a Linear
//
//     v1   three loops, as in the formula            one sum at a time: each addition waits for the last
//     v2   matmul(x, W.t()) + b                      rows of the result innermost: many sums at once
//     v3   linear: addmm(b, x, W.t()) = b + x W^T    v2 without a second tensor and a second pass for the bias
//     v4   addmm(b, x, Wt), with Wt stored (in, out) v3 without a hidden copy
//
// The transpose itself is free, but module 01's `mm` wants its second operand contiguous and copies it if it is not:
// out · in numbers, written anew in *every* call. The product needs 2 B in out operations, the copy in out moves.
// With a large batch B nobody notices the copy; with B = 1, which is serving, it is as much work as the product. Look
// for it in the bytes, too. Module 16 writes a kernel that packs small blocks instead, which is what every BLAS does.

// %%
//| lesson
Tensor linear_v2(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  return matmul(input, weight.t()) + bias;
}
// `weight_t` is (in, out), contiguous.
Tensor linear_v4(const Tensor& input, const Tensor& weight_t, const Tensor& bias) {
  return addmm(bias, input, weight_t);
}

// %%
TEST_CASE("linear: the four versions agree") {
  manual_seed(5);
  const nn::Linear layer(70, 30);
  const Tensor x = nn::init::normal_(empty({9, 70}));
  const Tensor expected = linear_v1(x, layer->weight, layer->bias);
  CHECK_CLOSE(linear_v2(x, layer->weight, layer->bias), expected, 1e-5, 1e-5);
  CHECK_CLOSE(linear(x, layer->weight, layer->bias), expected, 1e-5, 1e-5);
  CHECK_CLOSE(linear_v4(x, layer->weight.t().contiguous(), layer->bias), expected, 1e-5, 1e-5);
}

// %%
DEMO("four versions of a Linear(256, 256): time and bytes by batch size") {
  const nn::Linear layer(256, 256);
  const Tensor W = layer->weight;
  const Tensor b = layer->bias;
  const Tensor weight_t = W.t().contiguous();
  std::printf("%-6s %-26s %12s %10s %14s\n", "batch", "version", "us/sample", "GFLOP/s", "peak bytes");
  for (const std::int64_t B : {1, 8, 64, 256}) {
    const Tensor x = nn::init::normal_(empty({B, 256}));
    std::vector<Candidate> versions = {{"v1 loops", [&] { return linear_v1(x, W, b); }},
                                       {"v2 matmul + bias", [&] { return linear_v2(x, W, b); }},
                                       {"v3 linear", [&] { return linear(x, W, b); }},
                                       {"v4 transposed weight", [&] { return linear_v4(x, weight_t, b); }}};
    measure_in_turns(versions);
    double slowest = 0;
    for (const Candidate& version : versions) slowest = std::max(slowest, version.seconds);
    for (const Candidate& version : versions) {
      const std::size_t peak = peak_of([&] { version.run(); });
      const double samples = static_cast<double>(B);
      std::printf("%-6lld %-26s %12.2f %10.2f %14s  %s\n", static_cast<long long>(B), version.name.c_str(),
                  version.seconds / samples * 1e6, 2.0 * 256 * 256 * samples / version.seconds * 1e-9,
                  format_bytes(static_cast<std::int64_t>(peak)).c_str(), bar(version.seconds, slowest).c_str());
    }
  }
}

// %% [markdown]
// ### What initialisation does over depth
//
// Twenty layers of 128 units with relu between them and random input of standard deviation 1. What is left of the
// signal after each layer? Three choices: PyTorch's default for `Linear`, Kaiming for relu, and a normal distribution
// of standard deviation 0.2, which looks harmless. The bars have a logarithmic scale.
//
// Whoever finds that the default does badly here is right: it was made for shallow networks with another activation.
// Deep networks are initialised explicitly, or get normalisation layers (module 09), which restore the scale after
// each layer at run time.

// %%
DEMO("the signal after each of 20 layers, for three initialisations") {
  manual_seed(0);
  struct Choice {
    const char* name;
    std::function<void(const Tensor&)> fill;
  };
  for (const Choice& choice :
       {Choice{"kaiming_uniform_, a = sqrt(5): the default",
               [](const Tensor& w) { nn::init::kaiming_uniform_(w, std::sqrt(5.0)); }},
        Choice{"kaiming_uniform_ for relu",
               [](const Tensor& w) { nn::init::kaiming_uniform_(w, 0, kFanIn, kReLU); }},
        Choice{"normal_ with std 0.2", [](const Tensor& w) { nn::init::normal_(w, 0, 0.2); }}}) {
    std::printf("%s\n", choice.name);
    Tensor x = nn::init::normal_(empty({64, 128}));
    for (int depth = 1; depth <= 20; ++depth) {
      const Tensor weight = empty({128, 128});
      choice.fill(weight);
      x = relu(linear(x, weight));
      if (depth % 4 != 0) continue;
      const double scale = std::sqrt((x * x).mean().item<double>());
      std::printf("  layer %2d  root mean square %10.2e  %s\n", depth, scale,
                  bar(std::log10(scale) + 10, 20).c_str());
    }
  }
}

// %% [markdown]
// ## Part 3: Production context
//
// The three frameworks agree that a model is a tree of named tensors. They disagree about who owns the tensors.
//
//     PyTorch            Module ──owns──► parameters          forward(x) reads self.weight        state is changed in place
//     TensorFlow/Keras   Layer  ──owns──► tf.Variable         call(x), weights built at first call from the input's shape
//     JAX (Flax)         module = description only            apply(params, x): params is a tree of arrays outside, a plain value
//
//     PyTorch    net.fc1.weight ●──► TensorImpl            params = {"fc1": {"kernel": ..., "bias": ...}}    JAX
//                 optimizer     ●──┘  (one object,          new = tree_map(lambda p, g: p - lr * g, params, grads)
//                                      many handles)        (a new tree for each step; old ones stay valid)
//
// **PyTorch.** Read `torch/csrc/api/src/nn/module.cpp` next to your `module.cpp`; the functions have the same names,
// and you will recognise most of the bodies. `torch/csrc/api/include/torch/nn/pimpl.h` and `cloneable.h` are this
// module's holder and `Cloneable`. In Python (`torch/nn/modules/module.py`) registration happens in `__setattr__`:
// assigning a `Parameter` to an attribute registers it. C++ cannot intercept an assignment, so registration is
// explicit. Left out here: forward and backward hooks, `state_dict` hooks and versions, parametrizations, devices,
// lazily built layers. Python's `parameters()` removes duplicates when a tensor is shared; libtorch's, and ours,
// lists it once under each name.
//
// **Saving.** A state dict in a file says nothing about the code: loading needs a model built by the same program
// with the same names. `torch.export` and TensorFlow's SavedModel store the computation as well, so that a server
// needs no model code, and pay with a language in which the computation must be expressible. Module 18 comes back to
// this.
//
// **TensorFlow.** `tf.keras.layers.Dense` (`keras/src/layers/core/dense.py`) creates its kernel, shape (in, out),
// when it sees the first input: `Dense(32)` needs no in_features. PyTorch calls the same idea `LazyLinear`. Tracking
// works through attribute assignment, too (`tensorflow/python/trackable/autotrackable.py`), and checkpoints follow
// the object graph rather than a flat list of names.
//
// **JAX.** There is no module in JAX itself; libraries add them. Flax's `Dense` (`flax/linen/linear.py`) describes;
// `init(key, x)` returns the parameters, and `apply(params, x)` is a pure function, so that `grad`, `vmap` and `jit`
// can transform it, to its derivative, to a function of a batch, to compiled code (`jax/_src/tree_util.py` flattens and rebuilds the tree, which is what `named_parameters()` does
// here). The random key is an argument and no global generator, so the order in which layers are built does not
// change their values. In this module it does: an additional layer in front moves all numbers behind it.
//
// **Production detail.** On a GPU, initialising a model that a checkpoint will overwrite is waste: PyTorch can build it on
// the "meta" device, where tensors have sizes and no memory, and load with `assign=True`. Frameworks fuse not only the
// bias but also the activation into the product (`aten/src/ATen/native/Linear.cpp`).
//
// **Why relu is no part of Linear.** Then why is it a layer of its own in all three? It has nothing to learn, so nothing of it is named or saved; it follows convolutions and norms as well as products, and none stands behind the last layer. As `Linear(activation)` each layer would
// carry every activation as an option (Keras offers that, as a shorthand). The price is a pass over memory that the fusion above takes back, where somebody recognizes the pair.

// %% [markdown]
// ## Integration test
//
// The recorded network, your layers, real images: the scores must be PyTorch's, and the same images must be named
// right. The expected numbers come from `tests/golden/record_digits_mlp.py`.

// %% {"nbgrader": {"grade": true, "grade_id": "03-integration-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("integration: PyTorch's weights read the same digits here") {
  nn::MLP net = digits_network();
  const Digits all = read_digits();
  CHECK_CLOSE(net(all.images.slice(0, 0, 2)),
              tensor({{12.067320, -19.030901, -6.933564, -8.313243, -10.251991, -3.093589, -3.212750,
                       -3.319038, -1.719509, -1.345202},
                      {-17.924984, 9.681493, -8.793445, -8.786239, -0.050050, -14.335608, -7.964053,
                       -6.741122, -0.232562, -8.503272}}),
              1e-4, 1e-4);

  const Digits test = held_out(all);
  const Tensor guesses = net(test.images).argmax(1);
  CHECK_EQ((guesses == test.labels).sum().item<int>(), 351);
  std::vector<std::int64_t> wrong;
  for (std::int64_t i = 0; i < guesses.numel(); ++i)
    if (guesses[i].item<int>() != test.labels[i].item<int>()) wrong.push_back(i * 5);
  CHECK(wrong == std::vector<std::int64_t>{5, 120, 480, 905, 1210, 1495, 1575, 1660, 1690});
}

// %%
TEST_CASE("integration: another class with the same names takes the same state") {
  struct ByHand : nn::Module {
    Tensor forward(const Tensor& x) { return fc2(drop(relu(fc1(x.flatten(1))))); }
    nn::Linear fc1 = register_module("fc1", nn::Linear(64, 32));
    nn::Dropout drop = register_module("drop", nn::Dropout(0.3));
    nn::Linear fc2 = register_module("fc2", nn::Linear(32, 10));
  };
  nn::MLP mlp = digits_network();
  ByHand by_hand;
  by_hand.load_state_dict(mlp->state_dict());
  by_hand.eval();
  const Tensor images = read_digits().images.slice(0, 0, 50);
  CHECK_EQ(by_hand.forward(images), mlp(images));

  const auto copy = std::dynamic_pointer_cast<nn::MLPImpl>(mlp->clone());
  const AutoDispatchBelowAutograd guard;  // writes into parameters as such
  mlp->layers[0]->weight.zero_();
  CHECK_EQ(copy->forward(images), by_hand.forward(images));
  std::ostringstream text;
  text << mlp;
  CHECK_EQ(text.str(),
           "tinytorch::nn::MLP(\n  (fc1): torch::nn::Linear(in_features=64, out_features=32, bias=true)\n"
           "  (fc2): torch::nn::Linear(in_features=32, out_features=10, bias=true)\n)");
}

// %% [markdown]
// ## ML systems thinking
//
// Run the demonstrations (`tito run 03`) before you answer; the questions need your numbers.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "03-explain-layout", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}}
// **1. Batch and layout.** In the table of the four Linear versions, compare v3 with v4 at batch 1 and at batch 256: by
// what factor do time and peak bytes differ, and why does the factor of the time shrink? A server answers single
// requests, a trainer sends batches of 256. Which layout would you store, (out, in) or (in, out), and what else could you
// change instead of the layout?
//
// BEGIN SOLUTION
//
// A good answer gives the factors from the table and the reason: the copy of out · in numbers is made once per call, so
// its cost is divided by the batch, while the product grows with it; at batch 1 there are two operations per weight, so
// moving each weight twice more dominates. The bytes show the copy directly: at batch 1 it is nearly everything, at batch
// 256 it is as large as the output. It weighs what depends on the layout (files and users that expect (out, in), slicing
// of units) and names alternatives that keep it: a product that reads the second operand transposed or packs blocks, a
// transposed copy cached beside the weight (memory against time, and it must be invalidated when the weight changes), or
// batching requests on the server.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "03-explain-ownership", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}}
// **2. Who owns the weights?** In PyTorch a module owns its parameters and the optimizer changes them in place; in
// JAX parameters are values that go in and come out. Take three tasks: (a) two networks that share a weight matrix, (b)
// undoing the last step because the loss became NaN, (c) a model that fills three quarters of the memory. For each,
// which design makes it easy, which makes it hard, and what does the other side do about it? Use the memory that you
// measured for a second handle and for a clone.
//
// BEGIN SOLUTION
//
// (a) Shared handles make tying one line in PyTorch (a second handle costs no tensor memory, by measurement), at the
// price that names list it twice and that `clone` unties; in JAX the same array must be passed to both places by
// hand. (b) With values the old tree is still there; with in-place updates one must have cloned before (the whole
// model once more, by measurement) or reload a checkpoint. (c) In-place needs no second copy; with values old and new
// tree exist together unless buffers are donated (jit's donate_argnums). Answers should say that the choice follows
// from what else the framework wants: transformations need pure functions.

// %% [markdown]
// More to think about, without points:
//
// - A member tensor was never registered. List everything that goes wrong, and for each the moment at which
//   you would notice. Could the framework find it?
// - Why separate `Linear` and `relu` instead of one layer with an `activation` option, as Keras offers?

// %% [markdown]
// ## Module summary
//
// - A `Module` is a node in a tree of named tensors. One recursive walk answers every question: parameters,
//   buffers, state, mode, type, print.
// - Registered tensors and members are handles on one `TensorImpl`. Loading, conversion and updates write
//   *under* the handles; replacing a handle would leave the others behind.
// - A load checks everything, then writes. A model is never half loaded.
// - A handle shares, `clone()` copies, and the copy constructor does neither well. `reset()` is where layers
//   register, so that clones can.
// - Weights start with a variance of about 1 / fan_in, or the signal explodes or dies over depth. The same
//   seed gives PyTorch's weights.
// - `linear` is a product with a transposed view and a broadcast bias; dropout pays its scaling in training,
//   so that inference does nothing.
// - A network is again a module: an MLP registers its layers and composes their `forward` functions.
//
// Your MLP named held-out digits with weights from another framework. Next, module 04 measures how wrong it is, and
// module 05 finds out which way to change each weight.

// %%
}  // namespace tinytorch
