// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string_view>

#include "tinytorch/core/layer_set.h"
#include "tinytorch/core/promotion.h"

namespace tinytorch {

[[noreturn]] void fail_undefined_argument(const char* name);
[[noreturn]] void fail_no_kernel_elsewhere(const char* name);  // chapter 84
[[noreturn]] void fail_no_layer(const char* name, LayerSet left);

// An operator: a name and one function per layer. It is a global object, initialised before any code runs (constinit). Source: aten/src/ATen/core/dispatch/Dispatcher.h.
template <class Signature>
class Operator;

template <class R, class... Args>
class Operator<R(Args...)> {
 public:
  using Function = R (*)(Args...);
  struct Layers {
    Function cpu = nullptr;
    Function inplace_or_view = nullptr;
    Function autograd = nullptr;
  };

  constexpr Operator(const char* name, Layers layers) : name_(name) {
    set(Layer::CPU, layers.cpu);
    set(Layer::InplaceOrView, layers.inplace_or_view);
    set(Layer::Autograd, layers.autograd);
  }
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  R operator()(Args... args) const;

  const char* name() const { return name_; }
  // Adds or replaces the function of one layer. At start-up only: calls do not lock.
  constexpr void set(Layer layer, Function implementation) {
    table_[static_cast<std::size_t>(layer)] = implementation;
    if (implementation == nullptr) return;
    registered_ = (layer == Layer::PrivateUse1 ? registered_ - Layer::Elsewhere : registered_) | layer;
  }
  Function function(Layer layer) const { return table_[static_cast<std::size_t>(layer)]; }

 private:
  // Calls the function of one layer; an observer, if there is one (module 14), sees the call.
  R run(Layer layer, Args... args) const {
    if (record_observer.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
      return run_observed(layer, std::forward<Args>(args)...);
    return function(layer)(std::forward<Args>(args)...);
  }
  R run_observed(Layer layer, Args... args) const;

  const char* name_;
  LayerSet registered_ = Layer::Elsewhere;
  std::array<Function, kLayerCount> table_{};
};

// Calls the highest layer that is registered, asked for by an argument, and not excluded in this thread.
template <class R, class... Args>
R Operator<R(Args...)>::operator()(Args... args) const {
  if ((is_undefined(args) || ...)) fail_undefined_argument(name_);
  const LayerSet layers = ((layers_of(args) | ...) & registered_) - thread_state().excluded;
  if (layers.empty()) fail_no_layer(name_, layers);
  return run(layers.highest(), std::forward<Args>(args)...);
}

// Kept apart from run(), so that a call that nobody watches stays small.
template <class R, class... Args>
[[gnu::noinline]] R Operator<R(Args...)>::run_observed(Layer layer, Args... args) const {
  RecordFunction record(RecordScope::FUNCTION);
  if (record.isActive()) {
    (note_tensors(record, args), ...);
    record.before(name_, -1, this, layer);
  }
  R result = function(layer)(std::forward<Args>(args)...);
  if (record.isActive()) note_tensors(record, result);
  return result;
}

}  // namespace tinytorch
