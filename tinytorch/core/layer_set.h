// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/record_function.h"
#include "tinytorch/core/scalar.h"

namespace tinytorch {

// The layers that an operator can have, from the lowest to the highest. A call runs the highest one that its arguments ask for. Source: c10/core/DispatchKey.h.
// PrivateUse1 is for a device from outside (chapter 84). Elsewhere is no layer but a mark: of tensors on such a device, and of operators that have no function for it.
enum class Layer : std::uint8_t { CPU, TunedCPU, HalfPrecision, PrivateUse1, InplaceOrView, Autograd, Elsewhere = 31 };
inline constexpr std::size_t kLayerCount = 6;

// A set of layers, as bits. Source: c10/core/DispatchKeySet.h.
class LayerSet {
 public:
  constexpr LayerSet() = default;
  constexpr LayerSet(Layer layer) : bits_(static_cast<std::uint32_t>(1U << static_cast<unsigned>(layer))) {}
  constexpr bool has(Layer layer) const { return (bits_ & LayerSet(layer).bits_) != 0; }
  // Whether there is nothing to run: no layer, or the mark Elsewhere, which is the sign.
  constexpr bool empty() const { return static_cast<std::int32_t>(bits_) <= 0; }
  constexpr Layer highest() const { return static_cast<Layer>(std::bit_width(bits_) - 1); }
  friend constexpr LayerSet operator|(LayerSet a, LayerSet b) { return from_bits(a.bits_ | b.bits_); }
  friend constexpr LayerSet operator&(LayerSet a, LayerSet b) { return from_bits(a.bits_ & b.bits_); }
  friend constexpr LayerSet operator-(LayerSet a, LayerSet b) { return from_bits(a.bits_ & ~b.bits_); }
  friend constexpr bool operator==(LayerSet a, LayerSet b) = default;

 private:
  static constexpr LayerSet from_bits(std::uint32_t bits) {
    LayerSet set;
    set.bits_ = bits;
    return set;
  }
  std::uint32_t bits_ = 0;
};

// What a thread carries along: layers switched off, and modes, whose bits belong to later modules. Worker threads
// and engines copy it from the thread that started them. Source: c10/core/impl/LocalDispatchKeySet.h.
struct ThreadState {
  LayerSet excluded;
  std::uint32_t modes = 0;
};
inline thread_local constinit ThreadState current_thread_state{};
inline ThreadState& thread_state() { return current_thread_state; }

// Puts a thread state in place for a scope.
class ThreadStateGuard {
 public:
  explicit ThreadStateGuard(ThreadState state) : saved_(thread_state()) { thread_state() = state; }
  ~ThreadStateGuard() { thread_state() = saved_; }
  ThreadStateGuard(const ThreadStateGuard&) = delete;
  ThreadStateGuard& operator=(const ThreadStateGuard&) = delete;

 private:
  ThreadState saved_;
};

// Switches layers off for a scope.
class ExcludeLayersGuard {
 public:
  explicit ExcludeLayersGuard(LayerSet layers) : saved_(thread_state().excluded) {
    thread_state().excluded = saved_ | layers;
  }
  ~ExcludeLayersGuard() { thread_state().excluded = saved_; }
  ExcludeLayersGuard(const ExcludeLayersGuard&) = delete;
  ExcludeLayersGuard& operator=(const ExcludeLayersGuard&) = delete;

 private:
  LayerSet saved_;
};

// For code that changes parameters as such (initialisation, loading): runs below the layers above InplaceOrView, so
// that writes are still counted. Source: aten/src/ATen/core/LegacyTypeDispatch.h.
class AutoDispatchBelowAutograd : public ExcludeLayersGuard {
 public:
  AutoDispatchBelowAutograd() : ExcludeLayersGuard(Layer::Autograd) {}
};

// Layers that every new tensor is born with beside its backend's, and the modes of a thread in which each is shown to op::created, whatever its options ask for.
// A later module may add to them, at start-up.
inline constinit LayerSet birth_layers{};
inline constinit std::uint32_t birth_modes = 0;

// Which layers an argument asks for. Plain values ask for none; tensor.h adds tensors, lists of them and options.
// A type that is not listed does not compile: a silent "none" for a list of tensors once swallowed gradients.
template <class T>
inline constexpr bool is_plain_argument =
    std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_same_v<T, Scalar> || std::is_same_v<T, IntArrayRef>;
template <class T>
inline constexpr bool is_plain_argument<std::optional<T>> = is_plain_argument<T>;

template <class T>
  requires is_plain_argument<T>
constexpr LayerSet layers_of(const T&) {
  return {};
}
template <class T>
  requires is_plain_argument<T>
constexpr bool is_undefined(const T&) {
  return false;
}

// Notes the tensors among arguments and results, for an observer; tensor.h has the overloads that find some.
template <class T>
  requires is_plain_argument<T>
void note_tensors(RecordFunction&, const T&) {}

}  // namespace tinytorch
