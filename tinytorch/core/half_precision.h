// From the lesson modules/83_half_precision/half_precision_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tinytorch/core/loops.h"

namespace tinytorch {

namespace detail {
// Collects the arguments of a call and says which type its floating-point result shall have.
class ResultType {
 public:
  void see(const Tensor& tensor) {
    if (!tensor.defined() || !tensor.is_floating_point()) return;
    const std::size_t rank = tensor.impl().wrapped_number ? 0 : tensor.dim() == 0 ? 1 : 2;
    types_[rank] = types_[rank] ? promoteTypes(*types_[rank], tensor.scalar_type()) : tensor.scalar_type();
  }
  void see(const std::optional<Tensor>& tensor) {
    if (tensor) see(*tensor);
  }
  void see(TensorList tensors) {
    for (const Tensor& tensor : tensors) see(tensor);
  }
  template <class T>
    requires is_plain_argument<T>
  void see(const T&) {}

  ScalarType type() const {
    for (std::size_t rank = 3; rank-- > 0;)
      if (types_[rank]) return *types_[rank];
    return kFloat;
  }

 private:
  std::optional<ScalarType> types_[3];
};

// The argument with float in place of Half and BFloat16; floating-point tensors are first rounded to `rounded` when one is given.
inline Tensor widened(const Tensor& tensor, std::optional<ScalarType> rounded) {
  if (!tensor.defined() || !tensor.is_floating_point()) return tensor;
  const Tensor exact = rounded && isReducedFloatingType(*rounded) ? to_dtype(tensor, *rounded) : tensor;
  return isReducedFloatingType(exact.scalar_type()) ? to_dtype(exact, kFloat) : exact;
}
inline std::optional<Tensor> widened(const std::optional<Tensor>& tensor, std::optional<ScalarType> rounded) {
  return tensor ? std::optional<Tensor>(widened(*tensor, rounded)) : std::nullopt;
}
inline std::vector<Tensor> widened(TensorList tensors, std::optional<ScalarType> rounded) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) result.push_back(widened(tensor, rounded));
  return result;
}
template <class T>
  requires is_plain_argument<T>
const T& widened(const T& argument, std::optional<ScalarType>) {
  return argument;
}

// A float result rounded to `type`.
inline Tensor narrowed(const Tensor& result, ScalarType type) {
  return result.defined() && result.scalar_type() == kFloat && isReducedFloatingType(type) ? to_dtype(result, type) : result;
}
template <class... T>
std::tuple<T...> narrowed(const std::tuple<T...>& results, ScalarType type) {
  return std::apply([type](const auto&... result) { return std::tuple<T...>(narrowed(result, type)...); }, results);
}

constexpr LayerSet above_cpu = LayerSet(Layer::HalfPrecision) | Layer::InplaceOrView | Layer::Autograd;

template <auto& Op, bool RoundFirst, class Signature>
struct InFloat;

template <auto& Op, bool RoundFirst, class R, class... Args>
struct InFloat<Op, RoundFirst, Operator<R(Args...)>> {
  static R call(Args... args) {
    const ExcludeLayersGuard guard(above_cpu);
    ResultType seen;
    (seen.see(args), ...);
    const std::optional<ScalarType> rounded = RoundFirst ? std::optional(seen.type()) : std::nullopt;
    return narrowed(Op(widened(args, rounded)...), seen.type());
  }
};

// Checked before the operands become float copies.
inline void refuse_overlap(const Tensor& self, const Tensor& argument) {
  if (argument.defined()) check_no_partial_overlap(self, argument);
}
template <class T>
void refuse_overlap(const Tensor&, const T&) {}

// In place: computed on a float copy of self, which is written back rounded.
template <auto& Op, bool RoundFirst, class... Args>
struct InFloat<Op, RoundFirst, Operator<const Tensor&(const Tensor&, Args...)>> {
  static const Tensor& call(const Tensor& self, Args... args) {
    const ExcludeLayersGuard guard(above_cpu);
    if (!isReducedFloatingType(self.scalar_type())) {
      // Refused here, where the operand's dtype still has its name. What is drawn may be written as any dtype.
      ResultType seen;
      (seen.see(args), ...);
      constexpr bool is_drawn = (std::is_same_v<std::remove_cvref_t<Args>, std::optional<Generator>> || ...);
      TORCH_CHECK(is_drawn || self.is_floating_point(), "result type ", seen.type(), " can't be cast to the desired output type ", self.scalar_type());
      return Op(self, widened(args, std::nullopt)...), self;
    }
    check_no_internal_overlap(self);
    (refuse_overlap(self, args), ...);
    const Tensor copy = to_dtype(self, kFloat);
    Op(copy, widened(args, std::nullopt)...);
    copy_into(self, copy);
    return self;
  }
};
}  // namespace detail

// Gives operators a layer for Half and BFloat16 that computes in float. At start-up only.
template <auto&... Ops>
void compute_in_float() {
  (Ops.set(Layer::HalfPrecision, &detail::InFloat<Ops, false, std::remove_cvref_t<decltype(Ops)>>::call), ...);
}
// The same where operands are rounded to their common type first: for comparisons, choices and remainders.
template <auto&... Ops>
void round_and_compute_in_float() {
  (Ops.set(Layer::HalfPrecision, &detail::InFloat<Ops, true, std::remove_cvref_t<decltype(Ops)>>::call), ...);
}

}  // namespace tinytorch
