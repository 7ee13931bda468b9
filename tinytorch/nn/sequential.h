// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/any.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

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

}  // namespace tinytorch
