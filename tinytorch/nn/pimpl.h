// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <ostream>
#include <type_traits>
#include <utility>

#include "tinytorch/core/error.h"
#include "tinytorch/core/record_function.h"

namespace tinytorch {

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

}  // namespace tinytorch
