// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/containers.h"

#include <ostream>

namespace tinytorch {

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

}  // namespace tinytorch
