// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <type_traits>
#include <utility>

#include "tinytorch/core/gradient.h"

namespace tinytorch {

namespace kernels {

// What Op does in the layer Autograd, with gradients that stand on tuned kernels, and with those before.
template <auto& Op, class Function = typename std::remove_cvref_t<decltype(Op)>::Function>
struct FusedGradient;

template <auto& Op, class Result, class... Args>
struct FusedGradient<Op, Result (*)(Args...)> {
  static inline Result (*before)(Args...) = nullptr;
  static inline Result (*fused)(Args...) = nullptr;
  static Result call(Args... args) {
    const bool tuned = (birth_layers - thread_state().excluded).has(Layer::TunedCPU) && !(layers_of(args) | ...).has(Layer::Elsewhere);
    return (tuned ? fused : before)(std::forward<Args>(args)...);
  }
};

// Has `recorded` record the calls of Op that run tuned kernels, and leaves those that ask for the reference to what recorded them before.
template <auto& Op>
void fused_recording(decltype(FusedGradient<Op>::fused) recorded) {
  using Choice = FusedGradient<Op>;
  Choice::before = Op.function(Layer::Autograd);
  Choice::fused = recorded;
  Op.set(Layer::Autograd, Choice::call);
}

// The same with the gradients `functions`.
template <auto& Op, class... Fs>
void fused_gradient(Fs... functions) {
  fused_recording<Op>(gradient_of<Op>(functions...));
}

}  // namespace kernels

}  // namespace tinytorch
