// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

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

namespace tinytorch {

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

}  // namespace tinytorch
