// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/sequential.h"

#include <ostream>

namespace tinytorch {

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

// Calls the first module with `inputs` and each later one with the output of the one before. Returns the last
// output. Throws if there are no modules.
nn::AnyValue nn::SequentialImpl::any_forward(std::span<AnyValue> inputs) {
  TORCH_CHECK(!is_empty(), "Cannot call forward() on an empty Sequential");
  AnyValue value = modules_[0].call(inputs);
  for (std::size_t i = 1; i < size(); ++i) value = modules_[i].call(std::span<AnyValue>(&value, 1));
  return value;
}

}  // namespace tinytorch
