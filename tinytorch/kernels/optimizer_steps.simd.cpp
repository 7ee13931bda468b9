// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/optimizer_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The same for a tag of as many lanes as wanted: a whole vector, or one lane for the last numbers.
template <class D, class T>
HWY_INLINE void adam_vector(D d, const AdamStep<T>& s, T* parameter, const T* grad, T* exp_avg, T* exp_avg_sq, T* max_exp_avg_sq) {
  const auto p = hn::Mul(hn::LoadU(d, parameter), hn::Set(d, s.decay));
  const auto g = hn::MulAdd(p, hn::Set(d, s.gradient_decay), hn::LoadU(d, grad));
  const auto m = hn::MulAdd(g, hn::Set(d, s.one_minus_beta1), hn::Mul(hn::LoadU(d, exp_avg), hn::Set(d, s.beta1)));
  auto v = hn::MulAdd(hn::Mul(g, g), hn::Set(d, s.one_minus_beta2), hn::Mul(hn::LoadU(d, exp_avg_sq), hn::Set(d, s.beta2)));
  hn::StoreU(m, d, exp_avg);
  hn::StoreU(v, d, exp_avg_sq);
  if (max_exp_avg_sq != nullptr) {
    const auto before = hn::LoadU(d, max_exp_avg_sq);
    v = hn::IfThenElse(hn::Or(hn::Gt(v, before), hn::IsNaN(v)), v, before);
    hn::StoreU(v, d, max_exp_avg_sq);
  }
  const auto denominator = hn::MulAdd(hn::Sqrt(v), hn::Set(d, s.root_scale), hn::Set(d, s.eps));
  hn::StoreU(hn::NegMulAdd(hn::Set(d, s.rate), hn::Div(m, denominator), p), d, parameter);
}

// Calls step(tag, i) for `count` numbers, which walks these arrays.
template <class T, class F, class... Arrays>
HWY_INLINE void for_vectors(std::int64_t count, F step, const Arrays*... arrays) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  std::int64_t i = 0;
  for (; i + L <= count; i += L) {
    (AskAhead(arrays + i), ...);
    step(d, i);
  }
  for (; i < count; ++i) step(one, i);
}

template <class T>
void adam(const AdamStep<T>& s, std::int64_t count, T* parameter, const T* grad, T* exp_avg, T* exp_avg_sq, T* max_exp_avg_sq) {
  for_vectors<T>(count, [&](auto tag, std::int64_t i) HWY_ATTR {
    adam_vector(tag, s, parameter + i, grad + i, exp_avg + i, exp_avg_sq + i, max_exp_avg_sq == nullptr ? nullptr : max_exp_avg_sq + i);
  }, parameter, grad, exp_avg, exp_avg_sq);
}

template <class D, class T>
HWY_INLINE void sgd_vector(D d, const SGDStep<T>& s, T* parameter, const T* grad, T* buffer) {
  const auto p = hn::LoadU(d, parameter);
  auto update = hn::MulAdd(p, hn::Set(d, s.weight_decay), hn::LoadU(d, grad));
  if (buffer != nullptr) {
    auto kept = update;
    if (!s.first) kept = hn::MulAdd(update, hn::Set(d, s.one_minus_dampening), hn::Mul(hn::LoadU(d, buffer), hn::Set(d, s.momentum)));
    hn::StoreU(kept, d, buffer);
    update = s.nesterov ? hn::MulAdd(kept, hn::Set(d, s.momentum), update) : kept;
  }
  hn::StoreU(hn::NegMulAdd(update, hn::Set(d, s.rate), p), d, parameter);
}

template <class T>
void sgd(const SGDStep<T>& s, std::int64_t count, T* parameter, const T* grad, T* buffer) {
  for_vectors<T>(count, [&](auto tag, std::int64_t i) HWY_ATTR { sgd_vector(tag, s, parameter + i, grad + i, buffer == nullptr ? nullptr : buffer + i); }, parameter, grad, buffer == nullptr ? grad : buffer);
}

// RMSprop and Adagrad round where the operators of module 06's updates do, but for the momentum's product.
template <class D, class T>
HWY_INLINE void rmsprop_vector(D d, const RMSpropStep<T>& s, T* parameter, const T* grad, T* square_avg, T* grad_avg, T* buffer) {
  const auto p = hn::LoadU(d, parameter), alpha = hn::Set(d, s.alpha), rest = hn::Set(d, s.one_minus_alpha);
  const auto g = hn::MulAdd(hn::Set(d, s.weight_decay), p, hn::LoadU(d, grad));
  auto variance = hn::MulAdd(hn::Mul(rest, g), g, hn::Mul(hn::LoadU(d, square_avg), alpha));
  hn::StoreU(variance, d, square_avg);
  if (grad_avg != nullptr) {
    const auto mean = hn::MulAdd(rest, g, hn::Mul(hn::LoadU(d, grad_avg), alpha));
    hn::StoreU(mean, d, grad_avg);
    variance = hn::NegMulAdd(mean, mean, variance);
  }
  const auto divisor = hn::Add(hn::Sqrt(variance), hn::Set(d, s.eps)), rate = hn::Set(d, -s.rate);
  if (buffer == nullptr) return hn::StoreU(hn::Add(p, hn::Div(hn::Mul(rate, g), divisor)), d, parameter);
  const auto kept = hn::MulAdd(hn::LoadU(d, buffer), hn::Set(d, s.momentum), hn::Div(g, divisor));
  hn::StoreU(kept, d, buffer);
  hn::StoreU(hn::MulAdd(rate, kept, p), d, parameter);
}

template <class T>
void rmsprop(const RMSpropStep<T>& s, std::int64_t count, T* parameter, const T* grad, T* square_avg, T* grad_avg, T* buffer) {
  for_vectors<T>(count, [&](auto tag, std::int64_t i) HWY_ATTR {
    rmsprop_vector(tag, s, parameter + i, grad + i, square_avg + i, grad_avg == nullptr ? nullptr : grad_avg + i, buffer == nullptr ? nullptr : buffer + i);
  }, parameter, grad, square_avg);
}

template <class D, class T>
HWY_INLINE void adagrad_vector(D d, const AdagradStep<T>& s, T* parameter, const T* grad, T* sum) {
  const auto p = hn::LoadU(d, parameter);
  const auto g = hn::MulAdd(hn::Set(d, s.weight_decay), p, hn::LoadU(d, grad));
  const auto squares = hn::MulAdd(g, g, hn::LoadU(d, sum));
  hn::StoreU(squares, d, sum);
  const auto divisor = hn::Add(hn::Sqrt(squares), hn::Set(d, s.eps));
  hn::StoreU(hn::Add(p, hn::Div(hn::Mul(hn::Set(d, -s.rate), g), divisor)), d, parameter);
}

template <class T>
void adagrad(const AdagradStep<T>& s, std::int64_t count, T* parameter, const T* grad, T* sum) {
  for_vectors<T>(count, [&](auto tag, std::int64_t i) HWY_ATTR { adagrad_vector(tag, s, parameter + i, grad + i, sum + i); }, parameter, grad, sum);
}

template <class T>
constexpr OptimizerTable<T> optimizer_table_of() {
  return {adam<T>, sgd<T>, rmsprop<T>, adagrad<T>};
}
}  // namespace

constinit const OptimizerKernels optimizer_kernels = {optimizer_table_of<float>(), optimizer_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
