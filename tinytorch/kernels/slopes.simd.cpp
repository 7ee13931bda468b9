// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/slope_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// out = f(d, grad, saved), two vectors at a time, so that one waits for its exponential while the other computes.
template <class T, class F>
HWY_INLINE void walk_pairs(const T* grad, const T* saved, std::int64_t count, T* out, F f) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    for (const std::int64_t at : {i, i + lanes}) AskAhead(grad + at), AskAhead(saved + at), AskAhead(out + at);
    const auto first = f(d, hn::LoadU(d, grad + i), hn::LoadU(d, saved + i));
    const auto second = f(d, hn::LoadU(d, grad + i + lanes), hn::LoadU(d, saved + i + lanes));
    hn::StoreU(first, d, out + i);
    hn::StoreU(second, d, out + i + lanes);
  }
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(d, hn::LoadU(d, grad + i), hn::LoadU(d, saved + i)), d, out + i);
  if (i < count) StorePart(f(d, LoadPart(d, grad + i, count - i), LoadPart(d, saved + i, count - i)), d, out + i, count - i);
}

template <class T, auto F>
void walk_slopes(const T* grad, const T* saved, std::int64_t count, T* out) {
  walk_pairs(grad, saved, count, out, F);
}

template <class T, auto F>
void walk_shaped(const T* grad, const T* x, std::int64_t count, T p, T q, T* out) {
  walk_pairs(grad, x, count, out, [p, q](auto d, auto g, auto v) HWY_ATTR { return F(d, g, v, hn::Set(d, p), hn::Set(d, q)); });
}

constexpr auto relu_slope = [](auto d, auto g, auto y) { return hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), g); };

constexpr auto sigmoid_slope = [](auto d, auto g, auto y) { return hn::Mul(g, hn::Mul(y, hn::Sub(hn::Set(d, hn::TFromD<decltype(d)>{1}), y))); };

constexpr auto tanh_slope = [](auto d, auto g, auto y) { return hn::Mul(g, hn::NegMulAdd(y, y, hn::Set(d, hn::TFromD<decltype(d)>{1}))); };

constexpr auto silu_slope = [](auto d, auto g, auto x) {
  const auto one = hn::Set(d, hn::TFromD<decltype(d)>{1});
  const auto s = Sigmoid(d, x);
  return hn::Mul(g, hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one)));
};

constexpr auto gelu_slope = [](auto d, auto g, auto x) {
  using T = hn::TFromD<decltype(d)>;
  const auto half = hn::Set(d, T{0.5});
  const auto below = hn::MulAdd(half, Erf(d, hn::Mul(x, hn::Set(d, static_cast<T>(0.70710678118654752440)))), half);
  const auto density = hn::Mul(Exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, T{-0.5}))), hn::Set(d, static_cast<T>(0.39894228040143267794)));
  return hn::Mul(g, hn::MulAdd(x, density, below));
};

constexpr auto gelu_tanh_slope = [](auto d, auto g, auto x) {
  using T = hn::TFromD<decltype(d)>;
  constexpr double twice_scale = 2 * 0.79788456080286535588;  // 2 sqrt(2 / pi)
  const auto one = hn::Set(d, T{1}), square = hn::Mul(x, x), scale = hn::Set(d, static_cast<T>(twice_scale));
  const auto s = hn::Div(one, hn::Add(one, Exp(d, hn::Mul(x, hn::NegMulSub(square, hn::Set(d, static_cast<T>(twice_scale * 0.044715)), scale)))));
  const auto slope_of_u = hn::MulAdd(square, hn::Set(d, static_cast<T>(twice_scale * 3 * 0.044715)), scale);
  return hn::Mul(g, hn::MulAdd(hn::Mul(x, slope_of_u), hn::Mul(s, hn::Sub(one, s)), s));
};

constexpr auto hardswish_slope = [](auto d, auto g, auto x) {
  using T = hn::TFromD<decltype(d)>;
  const auto three = hn::Set(d, T{3});
  const auto between = hn::Mul(g, hn::Add(hn::Div(x, three), hn::Set(d, T{0.5})));
  return hn::IfThenZeroElse(hn::Le(x, hn::Neg(three)), hn::IfThenElse(hn::Ge(x, three), g, between));
};

constexpr auto gate_of = [](auto d, auto a, auto b) { return hn::Mul(a, Sigmoid(d, b)); };

template <class T>
void gate_backward(const T* grad, const T* a, const T* b, std::int64_t count, T* grad_a, T* grad_b) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  const auto one = hn::Set(d, T{1});
  const auto slopes = [&](auto g, auto x, auto s) HWY_ATTR { return hn::Mul(hn::Mul(g, x), hn::Mul(s, hn::Sub(one, s))); };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto g = hn::LoadU(d, grad + i), s = Sigmoid(d, hn::LoadU(d, b + i));
    hn::StoreU(hn::Mul(g, s), d, grad_a + i);
    hn::StoreU(slopes(g, hn::LoadU(d, a + i), s), d, grad_b + i);
  }
  if (i == count) return;
  const auto g = LoadPart(d, grad + i, count - i), s = Sigmoid(d, LoadPart(d, b + i, count - i));
  StorePart(hn::Mul(g, s), d, grad_a + i, count - i);
  StorePart(slopes(g, LoadPart(d, a + i, count - i), s), d, grad_b + i, count - i);
}

template <class T>
void clipped_difference(const T* grad, std::int64_t grad_step, const T* a, const T* b, std::int64_t count, T factor, T most, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  const auto high = hn::Set(d, most), low = hn::Set(d, -most), scale = hn::Set(d, factor), one_grad = hn::Set(d, grad[0]);
  const auto of = [&](auto g, auto x, auto y) HWY_ATTR {
    const auto difference = hn::Sub(x, y);
    const auto cut = hn::IfThenElse(hn::Lt(difference, low), low, hn::IfThenElse(hn::Gt(difference, high), high, difference));  // NaN stays
    return hn::Mul(hn::Mul(g, scale), cut);
  };
  std::int64_t i = 0;
  if (grad_step == 0) {
    for (; i + lanes <= count; i += lanes) hn::StoreU(of(one_grad, hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
    if (i < count) StorePart(of(one_grad, LoadPart(d, a + i, count - i), LoadPart(d, b + i, count - i)), d, out + i, count - i);
    return;
  }
  for (; i + lanes <= count; i += lanes) hn::StoreU(of(hn::LoadU(d, grad + i), hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  if (i < count) StorePart(of(LoadPart(d, grad + i, count - i), LoadPart(d, a + i, count - i), LoadPart(d, b + i, count - i)), d, out + i, count - i);
}

constexpr auto elu_slope = [](auto d, auto g, auto x, auto alpha, auto) {
  const auto zero = hn::Zero(d);
  return hn::IfThenElse(hn::Le(x, zero), hn::Mul(g, hn::Mul(Exp(d, hn::Min(x, zero)), alpha)), g);
};

constexpr auto softplus_slope = [](auto d, auto g, auto x, auto beta, auto threshold) {
  const auto scaled = hn::Mul(x, beta);
  return hn::IfThenElse(hn::Gt(scaled, threshold), g, hn::Mul(g, Sigmoid(d, scaled)));
};

constexpr auto leaky_relu_slope = [](auto d, auto g, auto x, auto slope, auto) { return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), g, hn::Mul(g, slope)); };

constexpr auto hardtanh_slope = [](auto, auto g, auto x, auto low, auto high) { return hn::IfThenZeroElse(hn::Or(hn::Le(x, low), hn::Ge(x, high)), g); };

constexpr auto shrink_slope = [](auto, auto g, auto x, auto low, auto high) { return hn::IfThenZeroElse(hn::And(hn::Ge(x, low), hn::Le(x, high)), g); };

constexpr auto logit_slope = [](auto d, auto g, auto x, auto low, auto high) {
  using T = hn::TFromD<decltype(d)>;
  const auto zero = hn::Zero(d), one = hn::Set(d, T{1});
  const auto slope = hn::Div(g, hn::Mul(x, hn::Sub(one, x)));
  const auto is_share = hn::And(hn::Ge(x, zero), hn::Le(x, one));
  return hn::IfThenZeroElse(hn::Or(hn::Lt(x, low), hn::Gt(x, high)), hn::IfThenElse(is_share, slope, hn::Set(d, static_cast<T>(__builtin_nan("")))));
};

template <class T>
constexpr SlopeTable<T> slope_table_of() {
  return {.relu = walk_slopes<T, relu_slope>,
          .sigmoid = walk_slopes<T, sigmoid_slope>,
          .tanh = walk_slopes<T, tanh_slope>,
          .silu = walk_slopes<T, silu_slope>,
          .gelu = walk_slopes<T, gelu_slope>,
          .gelu_tanh = walk_slopes<T, gelu_tanh_slope>,
          .hardswish = walk_slopes<T, hardswish_slope>,
          .elu = walk_shaped<T, elu_slope>,
          .softplus = walk_shaped<T, softplus_slope>,
          .leaky_relu = walk_shaped<T, leaky_relu_slope>,
          .hardtanh = walk_shaped<T, hardtanh_slope>,
          .shrink = walk_shaped<T, shrink_slope>,
          .logit = walk_shaped<T, logit_slope>,
          .gate = walk_slopes<T, gate_of>,
          .gate_backward = gate_backward<T>,
          .clipped_difference = clipped_difference<T>};
}
}  // namespace

constinit const SlopeKernels slope_kernels = {slope_table_of<float>(), slope_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
