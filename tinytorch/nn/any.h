// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.
#pragma once

#include <any>
#include <array>
#include <span>
#include <tuple>
#include <typeinfo>

#include "tinytorch/nn/module.h"

namespace tinytorch {

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

}  // namespace tinytorch
