// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/module.h"

#include <cxxabi.h>
#include <cstdlib>
#include <ostream>
#include <typeinfo>

#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

namespace {
Tensor parameter_cpu(const Tensor& tensor, bool) { return tensor; }

std::string join_name(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, bool)> op::parameter("parameter", {.cpu = parameter_cpu});

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

// Calls `function` with the full name of each submodule and the submodule itself: a module before its
// children, children in the order of registration. Does not visit this module. The full name is
// `name_prefix`, the names on the way down, and dots between.
void nn::Module::apply_to_submodules(const NamedModulePointerApplyFunction& function,
                                     const std::string& name_prefix) const {
  for (const auto& child : children_) {
    const std::string qualified_name = join_name(name_prefix, child.key());
    function(qualified_name, child.value());
    child.value()->apply_to_submodules(function, qualified_name);
  }
}

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

// The tensors in the dictionary `own` of this module and, with `recurse`, of all submodules, under their full
// names in the order of the walk. Undefined tensors are left out. O(tensors); the tensors share their data
// with the module's.
OrderedDict<std::string, Tensor> nn::Module::named_tensors(OrderedDict<std::string, Tensor> Module::*own,
                                                           bool recurse) const {
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
}

OrderedDict<std::string, Tensor> nn::Module::named_parameters(bool recurse) const {
  return named_tensors(&Module::parameters_, recurse);
}
std::vector<Tensor> nn::Module::parameters(bool recurse) const { return named_parameters(recurse).values(); }
OrderedDict<std::string, Tensor> nn::Module::named_buffers(bool recurse) const {
  return named_tensors(&Module::buffers_, recurse);
}
std::vector<Tensor> nn::Module::buffers(bool recurse) const { return named_buffers(recurse).values(); }

// Puts this module and everything below it into training mode, or with `false` into evaluation mode.
void nn::Module::train(bool on) {
  for (const auto& child : children_) child.value()->train(on);
  is_training_ = on;
}

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

// Copies the tensors of `state` into the module's own of the same name, converting their dtype. Returns the
// names of the module's tensors that `state` lacks and those in `state` that the module lacks. Throws an
// Error if a tensor's sizes differ or, with `strict`, if any name is missing or unexpected; the error names
// all problems at once, and then the module is unchanged. `state` may be the module's own state_dict().
nn::Module::IncompatibleKeys nn::Module::load_state_dict(const OrderedDict<std::string, Tensor>& state,
                                                         bool strict) {
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
}

std::shared_ptr<nn::Module> nn::Module::clone(const std::optional<Device>&) const {
  TORCH_CHECK(false, "clone() has not been implemented for ", name(), ". Subclass torch::nn::Cloneable<",
              name(), "> instead of torch::nn::Module to inherit the ability to clone.");
}

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

}  // namespace tinytorch
