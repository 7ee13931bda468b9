// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/any.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

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

}  // namespace tinytorch
