// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 89: Kernels of a training step
//
// Module 14's profiler, laid on a step of LeNet-5, found its products at a quarter of the time. The rest stood in places of which nobody thinks as work: which of four pixels is the largest (chapter 55), where a gradient passes a `relu`, what the slope of `gelu` is. Each is a line of a lesson, composed of operators that are fast by themselves:
//
//     gelu_backward:  x * x, x * square, * 0.04, + x, * 0.8, tanh, t * t, 1 - , * x, ...          17 operators, each a walk over all numbers
//     here:           read g and x once, all of it in registers, write once                        1 walk
//
// This chapter follows the profile: slopes of activations, numbers that are picked by position, steps of an LSTM, rows of tables; and at the end of a step the optimizer, all parameters in one walk.

// %%
//| after 16
//| export kernels/slope_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/slopes.cpp
#include <cstdint>
#include <limits>
#include <type_traits>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/slope_kernels.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/more_activations.h"
//| export kernels/positions.cpp
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/pool.h"
//| export kernels/recurrent_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/recurrent.cpp
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <tuple>
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/recurrent_kernels.h"
#include "tinytorch/nn/recurrent.h"
//| export kernels/optimizer_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/optimizer_steps.cpp
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/optimizer_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/optim/adagrad.h"
#include "tinytorch/optim/adam.h"
#include "tinytorch/optim/rmsprop.h"
#include "tinytorch/optim/sgd.h"
//| export kernels/bag_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/table_rows.cpp
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/bag_kernels.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/embedding_bag.h"
#include "tinytorch/nn/embedding_ops.h"

// %%
//| export kernels/slopes.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/slope_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"
//| export kernels/recurrent.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/recurrent_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"
//| export kernels/optimizer_steps.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/optimizer_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"
//| export kernels/bags.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/bag_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/embedding_bag.h"
#include "tinytorch/nn/embedding_ops.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/more_activations.h"
#include "tinytorch/nn/recurrent.h"
#include "tinytorch/optim/adagrad.h"
#include "tinytorch/optim/adam.h"
#include "tinytorch/optim/rmsprop.h"
#include "tinytorch/optim/sgd.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Slopes
//
// The gradient of an activation is the gradient that arrives, times the slope at the place where the forward pass was. Some slopes need what went in, others what came out:
//
//     relu      g where y > 0, else 0         from the result y; where y is NaN, g passes, as in module 05
//     sigmoid   g y (1 - y)                   from the result
//     tanh      g (1 - y y)                   from the result
//     silu      g s (1 + x (1 - s))           from the input x, with s = sigmoid(x)
//     gelu      g (c + x d)                   c = (1 + erf(x / sqrt 2)) / 2, the share of a normal distribution below x, and d its density
//     gelu tanh g (s + 2 x s (1 - s) u')      s = sigmoid(2 u), where u = sqrt(2 / pi) (x + 0.044715 x^3)
//     hardswish 0 where x <= -3, g where x >= 3, else g (x / 3 + 1 / 2)
//
// Others have numbers of their own besides, the ones that the forward pass was called with:
//
//     elu             g alpha exp(x) where x <= 0, else g
//     softplus        g sigmoid(beta x) where beta x <= threshold, else g
//     leaky relu      g where x > 0, else slope g
//     hardtanh        g where low < x < high, else 0                            relu6 is hardtanh between 0 and 6; hardsigmoid's slope is a sixth between -3 and 3
//     logit           0 where x < low or x > high, NaN where x < 0 or x > 1, else g / (x (1 - x))
//     shrinking       0 where low <= x <= high, else g                          hardshrink and softshrink; threshold, with no lower end
//
// The line of `gelu tanh` follows from module 76's form of `gelu`, `x s`. By the product rule its slope is `s + x s'`, and the derivative of `sigmoid(2 u)` is `2 s (1 - s) u'`. Written with tanh it would need `1 - t t`, which loses digits where t is near 1; `s (1 - s)` loses fewer, and one exponential serves for all.
//
// Losses of distances have slopes too: `mse_loss` 2 (x - t), `smooth_l1_loss` (x - t) / beta, cut between -1 and 1, and `huber_loss` x - t, cut between -delta and delta. One kernel does all three, factor (x - t) cut between two ends, which for `mse_loss` are infinite. What arrives is one number if the loss was reduced. The slope for the target is the same with x and t exchanged.
//
// `glu` opens and closes a gate: of the two halves a and b along a dimension it makes `a sigmoid(b)`. In memory the halves are blocks that take turns, as long as half of the dimension times everything behind it; nothing has to be copied. As views and two operators, forward and backward, it had taken twice PyTorch's time: the second half of a row is no contiguous tensor, so sigmoid walked it row by row, and the gradient of each half was a tensor as large as the input, half of it zeros, and the two were added.
//
//     glu       a s                           s = sigmoid(b);  the gradients: g s of a,  g a s (1 - s) of b

// %%
//| export kernels/slope_kernels.h
namespace kernels {

// out[i] = grad[i] * slope at i, for i < count; `saved` holds results for relu, sigmoid and tanh, inputs for the others. `out` may be grad. O(count).
template <class T>
struct SlopeTable {
  using Kernel = void (*)(const T* grad, const T* saved, std::int64_t count, T* out);
  Kernel relu, sigmoid, tanh, silu, gelu, gelu_tanh, hardswish;
  // With the numbers p and q of the activation; `x` holds inputs.
  using ShapedKernel = void (*)(const T* grad, const T* x, std::int64_t count, T p, T q, T* out);
  ShapedKernel elu, softplus, leaky_relu, hardtanh, shrink, logit;
  // out[i] = a[i] sigmoid(b[i]), and the gradients of both.
  void (*gate)(const T* a, const T* b, std::int64_t count, T* out);
  void (*gate_backward)(const T* grad, const T* a, const T* b, std::int64_t count, T* grad_a, T* grad_b);
  // out[i] = grad[i grad_step] factor (a[i] - b[i]), the difference cut between -most and most; grad_step 0 or 1.
  void (*clipped_difference)(const T* grad, std::int64_t grad_step, const T* a, const T* b, std::int64_t count, T factor, T most, T* out);
};

struct SlopeKernels {
  SlopeTable<float> in_float;
  SlopeTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(SlopeKernels, slope_kernels)

}  // namespace kernels

// %%
//| export kernels/slopes.simd.cpp
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

// %% [markdown]
// As in chapter 77, a gradient is an operator with two implementations: the composition of modules 05 and 95, which also serves wherever a backward pass is recorded, and the kernel. The gradient that arrives and the saved tensor have the same sizes; where they lie differently in memory, they are made contiguous first; two whose channels are last give such a gradient.

// %%
//| export kernels/slopes.cpp
// Of chapters 74, 95 and 97.
Tensor distance_backward(const Tensor& g, const Tensor& a, const Tensor& b, std::int64_t reduction, double factor, double most);
Tensor logit_backward(const Tensor& g, const Tensor& self, double low, double high);
Tensor gelu_backward(const Tensor& g, const Tensor& x, bool tanh_approximation);
Tensor hardsigmoid_backward(const Tensor& g, const Tensor& self);
Tensor hardswish_backward(const Tensor& g, const Tensor& self);
Tensor glu_backward(const Tensor& g, const Tensor& self, std::int64_t dim);

namespace {
template <class T>
const kernels::SlopeTable<T>& slope_table() {
  using namespace kernels;
  static constexpr const SlopeKernels* tables[] = TINYTORCH_PER_CAPABILITY(slope_kernels);
  const SlopeKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool has_slope_kernel(const Tensor& grad, const Tensor& saved) {
  const ScalarType type = saved.scalar_type();
  return saved.numel() >= kernels::kFewElements && (type == kFloat || type == kDouble) && grad.scalar_type() == type && grad.sizes() == saved.sizes();
}

// grad times the slopes at `saved`, as a new tensor, in their order of memory if they share one; `numbers` are those that the kernel takes besides. REQUIRES: has_slope_kernel.
template <class Pick, class... Numbers>
Tensor times_slopes(const Tensor& grad, const Tensor& saved, Pick pick, const Numbers&... numbers) {
  const bool alike = grad.strides() == saved.strides() && is_dense(saved);
  const Tensor g = alike ? grad : grad.contiguous(), s = alike ? saved : saved.contiguous(), result = empty_beside(s, s.sizes(), s.scalar_type());
  const auto run = [&]<class T>() {
    const auto kernel = pick(slope_table<T>());
    parallel_for(0, s.numel(), kernels::kElementwiseGrain, [&, from = g.data<T>(), at = s.data<T>(), to = result.data<T>()](std::int64_t first, std::int64_t stop) {
      kernel(from + first, at + first, stop - first, numbers.template to<T>()..., to + first);
    });
  };
  if (s.scalar_type() == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return result;
}

// The gradient of an activation: (gradient of the result, what was saved).
using SlopeOperator = Operator<Tensor(const Tensor&, const Tensor&)>;

template <auto& Op, auto Pick>
Tensor slope_tuned(const Tensor& grad, const Tensor& saved) {
  return has_slope_kernel(grad, saved) ? times_slopes(grad, saved, Pick) : Op.function(Layer::CPU)(grad, saved);
}

Tensor relu_backward_composed(const Tensor& g, const Tensor& y) { return where(y <= 0, zeros({}, g.options()), g); }
Tensor sigmoid_backward_composed(const Tensor& g, const Tensor& y) { return g * (y * (1 - y)); }
Tensor tanh_backward_composed(const Tensor& g, const Tensor& y) { return g * (1 - y * y); }
Tensor silu_backward_composed(const Tensor& g, const Tensor& x) {
  const Tensor s = sigmoid(x);
  return g * (s * (x * (1 - s) + 1));
}
Tensor gelu_backward_composed(const Tensor& g, const Tensor& x) { return gelu_backward(g, x, false); }
Tensor gelu_tanh_backward_composed(const Tensor& g, const Tensor& x) { return gelu_backward(g, x, true); }

constinit SlopeOperator relu_backward_op("relu_backward", {.cpu = relu_backward_composed});
constinit SlopeOperator sigmoid_backward_op("sigmoid_backward", {.cpu = sigmoid_backward_composed});
constinit SlopeOperator tanh_backward_op("tanh_backward", {.cpu = tanh_backward_composed});
constinit SlopeOperator silu_backward_op("silu_backward", {.cpu = silu_backward_composed});
constinit SlopeOperator gelu_backward_op("gelu_backward", {.cpu = gelu_backward_composed});
constinit SlopeOperator gelu_tanh_backward_op("gelu_tanh_backward", {.cpu = gelu_tanh_backward_composed});
constinit SlopeOperator hardswish_backward_op("hardswish_backward", {.cpu = hardswish_backward});

// The same with two numbers of the activation: (gradient of the result, input, p, q).
using ShapedSlopeOperator = Operator<Tensor(const Tensor&, const Tensor&, const Scalar&, const Scalar&)>;

template <auto& Op, auto Pick>
Tensor shaped_slope_tuned(const Tensor& grad, const Tensor& x, const Scalar& p, const Scalar& q) {
  return has_slope_kernel(grad, x) ? times_slopes(grad, x, Pick, p, q) : Op.function(Layer::CPU)(grad, x, p, q);
}

Tensor elu_backward_composed(const Tensor& g, const Tensor& x, const Scalar& alpha, const Scalar&) {
  return where(x <= 0, g * (exp(where(x > 0, zeros_like(x), x)) * alpha), g);  // where x > 0 the exponential must not overflow: its gradient would be 0 * inf
}
Tensor softplus_backward_composed(const Tensor& g, const Tensor& x, const Scalar& beta, const Scalar& threshold) {
  const Tensor scaled = x * beta;
  return where(scaled > threshold, g, g * sigmoid(scaled));
}
Tensor leaky_relu_backward_composed(const Tensor& g, const Tensor& x, const Scalar& slope, const Scalar&) { return where(x > 0, g, g * slope); }
Tensor hardtanh_backward_composed(const Tensor& g, const Tensor& x, const Scalar& low, const Scalar& high) { return where(logical_or(x <= low, x >= high), zeros({}, g.options()), g); }
Tensor shrink_backward_composed(const Tensor& g, const Tensor& x, const Scalar& low, const Scalar& high) { return where(logical_and(x >= low, x <= high), zeros({}, g.options()), g); }

constinit ShapedSlopeOperator elu_backward_op("elu_backward", {.cpu = elu_backward_composed});
constinit ShapedSlopeOperator softplus_backward_op("softplus_backward", {.cpu = softplus_backward_composed});
constinit ShapedSlopeOperator leaky_relu_backward_op("leaky_relu_backward", {.cpu = leaky_relu_backward_composed});
constinit ShapedSlopeOperator hardtanh_backward_op("hardtanh_backward", {.cpu = hardtanh_backward_composed});
Tensor logit_backward_composed(const Tensor& g, const Tensor& x, const Scalar& low, const Scalar& high) { return logit_backward(g, x, low.toDouble(), high.toDouble()); }
constinit ShapedSlopeOperator logit_backward_op("logit_backward", {.cpu = logit_backward_composed});
constinit ShapedSlopeOperator shrink_backward_op("shrink_backward", {.cpu = shrink_backward_composed});

constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, std::int64_t, double, double)> distance_backward_op("distance_backward", {.cpu = distance_backward});

Tensor distance_backward_tuned(const Tensor& g, const Tensor& a, const Tensor& b, std::int64_t reduction, double factor, double most) {
  const ScalarType type = a.scalar_type();
  const bool ours = (type == kFloat || type == kDouble) && b.scalar_type() == type && g.scalar_type() == type && a.sizes() == b.sizes() && a.numel() > 0;
  if (!ours) return distance_backward(g, a, b, reduction, factor, most);
  const std::int64_t step = reduction == Reduction::None ? 1 : 0;
  const double scale = reduction == Reduction::Mean ? factor / static_cast<double>(a.numel()) : factor;
  const Tensor grad = g.contiguous(), x = a.contiguous(), y = b.contiguous(), result = empty(a.sizes(), type);
  const auto run = [&]<class T>() {
    parallel_for(0, a.numel(), kernels::kElementwiseGrain,
                 [=, kernel = slope_table<T>().clipped_difference, arrives = grad.data<T>(), from = x.data<T>(), target = y.data<T>(), to = result.data<T>()](std::int64_t first, std::int64_t stop) {
                   kernel(arrives + first * step, step, from + first, target + first, stop - first, static_cast<T>(scale), static_cast<T>(most), to + first);
                 });
  };
  if (type == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return result;
}

// Of chapter 95's gradients; for the target, a and b change places.
Tensor distance_gradient(const Tensor& g, const Tensor& a, const Tensor& b, std::int64_t reduction, double factor, double most) {
  return is_recording() ? distance_backward(g, a, b, reduction, factor, most) : distance_backward_op(g, a, b, reduction, factor, most);
}

// The blocks of glu's input: `count` pairs of halves, each half of `length` numbers.
struct GatedBlocks {
  std::int64_t count = 1, length = 1;
};

GatedBlocks gated_blocks(const Tensor& self, std::int64_t dim) {
  GatedBlocks blocks;
  for (std::int64_t d = 0; d < self.dim(); ++d) (d < dim ? blocks.count : blocks.length) *= self.size(d);
  blocks.length /= 2;
  return blocks;
}

// visit(block, first, count) for pieces of the blocks, on all threads.
template <class F>
void for_gated_pieces(const GatedBlocks& blocks, F visit) {
  parallel_for(0, blocks.count * blocks.length, kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) {
    while (first < stop) {
      const std::int64_t at = first % blocks.length, count = std::min(blocks.length - at, stop - first);
      visit(first / blocks.length, at, count);
      first += count;
    }
  });
}

bool has_gate_kernel(const Tensor& self) {
  return self.numel() >= kernels::kFewElements && (self.scalar_type() == kFloat || self.scalar_type() == kDouble);
}

Tensor glu_tuned(const Tensor& self, std::int64_t dim) {
  if (!has_gate_kernel(self)) return op::glu.function(Layer::CPU)(self, dim);
  const Tensor x = self.contiguous();
  DimVector sizes(self.sizes());
  sizes[static_cast<std::size_t>(dim)] /= 2;
  const Tensor result = empty(sizes, self.options());
  const GatedBlocks blocks = gated_blocks(self, dim);
  const auto run = [&]<class T>() {
    for_gated_pieces(blocks, [&, gate = slope_table<T>().gate, from = x.data<T>(), to = result.data<T>()](std::int64_t block, std::int64_t at, std::int64_t count) {
      const T* const a = from + 2 * block * blocks.length + at;
      gate(a, a + blocks.length, count, to + block * blocks.length + at);
    });
  };
  if (self.scalar_type() == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return result;
}

constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> glu_backward_op("glu_backward", {.cpu = glu_backward});

Tensor glu_backward_tuned(const Tensor& g, const Tensor& self, std::int64_t dim) {
  if (!has_gate_kernel(self) || g.scalar_type() != self.scalar_type()) return glu_backward(g, self, dim);
  const Tensor grad = g.contiguous(), x = self.contiguous(), result = empty(self.sizes(), self.options());
  const GatedBlocks blocks = gated_blocks(self, dim);
  const auto run = [&]<class T>() {
    for_gated_pieces(blocks, [&, back = slope_table<T>().gate_backward, arrived = grad.data<T>(), from = x.data<T>(), to = result.data<T>()](std::int64_t block, std::int64_t at, std::int64_t count) {
      const std::int64_t first = 2 * block * blocks.length + at, second = first + blocks.length;
      back(arrived + block * blocks.length + at, from + first, from + second, count, to + first, to + second);
    });
  };
  if (self.scalar_type() == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return result;
}

template <auto& Op>
Tensor shaped_slope(const Tensor& g, const Tensor& x, const Scalar& p, const Scalar& q = 0) {
  return is_recording() ? Op.function(Layer::CPU)(g, x, p, q) : Op(g, x, p, q);
}
}  // namespace

// %%
//| export kernels/slopes.cpp
//| registers
void register_tuned_slopes() {
  relu_backward_op.set(Layer::TunedCPU, slope_tuned<relu_backward_op, [](const auto& table) { return table.relu; }>);
  sigmoid_backward_op.set(Layer::TunedCPU, slope_tuned<sigmoid_backward_op, [](const auto& table) { return table.sigmoid; }>);
  tanh_backward_op.set(Layer::TunedCPU, slope_tuned<tanh_backward_op, [](const auto& table) { return table.tanh; }>);
  silu_backward_op.set(Layer::TunedCPU, slope_tuned<silu_backward_op, [](const auto& table) { return table.silu; }>);
  gelu_backward_op.set(Layer::TunedCPU, slope_tuned<gelu_backward_op, [](const auto& table) { return table.gelu; }>);
  gelu_tanh_backward_op.set(Layer::TunedCPU, slope_tuned<gelu_tanh_backward_op, [](const auto& table) { return table.gelu_tanh; }>);
  hardswish_backward_op.set(Layer::TunedCPU, slope_tuned<hardswish_backward_op, [](const auto& table) { return table.hardswish; }>);
  distance_backward_op.set(Layer::TunedCPU, distance_backward_tuned);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  kernels::fused_gradient<op::mse_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction) { return distance_gradient(g, self, target, reduction, 2, infinity); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction) { return distance_gradient(g, target, self, reduction, 2, infinity); });
  kernels::fused_gradient<op::smooth_l1_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> beta) { return distance_gradient(g, self, target, reduction, 1 / beta.value, beta); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> beta) { return distance_gradient(g, target, self, reduction, 1 / beta.value, beta); });
  kernels::fused_gradient<op::huber_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> delta) { return distance_gradient(g, self, target, reduction, 1, delta); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> delta) { return distance_gradient(g, target, self, reduction, 1, delta); });
  op::glu.set(Layer::TunedCPU, glu_tuned);
  glu_backward_op.set(Layer::TunedCPU, glu_backward_tuned);
  kernels::fused_gradient<op::hardswish>([](const Tensor& g, Input<0> x) { return is_recording() ? hardswish_backward(g, x) : hardswish_backward_op(g, x); });
  kernels::fused_gradient<op::hardsigmoid>([](const Tensor& g, Input<0> x) { return is_recording() ? hardsigmoid_backward(g, x) : hardtanh_backward_op(g / 6, x, -3, 3); });
  kernels::fused_gradient<op::glu>([](const Tensor& g, Input<0> x, Arg<1, std::int64_t> dim) { return is_recording() ? glu_backward(g, x, dim) : glu_backward_op(g, x, dim); });
  kernels::fused_gradient<op::relu>([](const Tensor& g, Output y) { return is_recording() ? relu_backward_composed(g, y) : relu_backward_op(g, y); });
  kernels::fused_gradient<op::sigmoid>([](const Tensor& g, Output y) { return is_recording() ? sigmoid_backward_composed(g, y) : sigmoid_backward_op(g, y); });
  kernels::fused_gradient<op::tanh>([](const Tensor& g, Output y) { return is_recording() ? tanh_backward_composed(g, y) : tanh_backward_op(g, y); });
  kernels::fused_gradient<op::silu>([](const Tensor& g, Input<0> x) { return is_recording() ? silu_backward_composed(g, x) : silu_backward_op(g, x); });
  kernels::fused_gradient<op::gelu>([](const Tensor& g, Input<0> x, Arg<1, bool> tanh_approximation) {
    if (is_recording()) return gelu_backward(g, x, tanh_approximation);
    return tanh_approximation ? gelu_tanh_backward_op(g, x) : gelu_backward_op(g, x);
  });
  elu_backward_op.set(Layer::TunedCPU, shaped_slope_tuned<elu_backward_op, [](const auto& table) { return table.elu; }>);
  softplus_backward_op.set(Layer::TunedCPU, shaped_slope_tuned<softplus_backward_op, [](const auto& table) { return table.softplus; }>);
  leaky_relu_backward_op.set(Layer::TunedCPU, shaped_slope_tuned<leaky_relu_backward_op, [](const auto& table) { return table.leaky_relu; }>);
  hardtanh_backward_op.set(Layer::TunedCPU, shaped_slope_tuned<hardtanh_backward_op, [](const auto& table) { return table.hardtanh; }>);
  logit_backward_op.set(Layer::TunedCPU, shaped_slope_tuned<logit_backward_op, [](const auto& table) { return table.logit; }>);
  shrink_backward_op.set(Layer::TunedCPU, shaped_slope_tuned<shrink_backward_op, [](const auto& table) { return table.shrink; }>);
  kernels::fused_gradient<op::elu>([](const Tensor& g, Input<0> x, Arg<1, Scalar> alpha) { return shaped_slope<elu_backward_op>(g, x, alpha.value); });
  kernels::fused_gradient<op::softplus>([](const Tensor& g, Input<0> x, Arg<1, Scalar> beta, Arg<2, Scalar> threshold) { return shaped_slope<softplus_backward_op>(g, x, beta.value, threshold.value); });
  kernels::fused_gradient<op::leaky_relu>([](const Tensor& g, Input<0> x, Arg<1, Scalar> slope) { return shaped_slope<leaky_relu_backward_op>(g, x, slope.value); });
  kernels::fused_gradient<op::hardtanh>([](const Tensor& g, Input<0> x, Arg<1, Scalar> low, Arg<2, Scalar> high) { return shaped_slope<hardtanh_backward_op>(g, x, low.value, high.value); });
  kernels::fused_gradient<op::logit>([](const Tensor& g, Input<0> x, Arg<1, double> low, Arg<2, double> high) { return shaped_slope<logit_backward_op>(g, x, low.value, high.value); });
  kernels::fused_gradient<op::threshold>([](const Tensor& g, Input<0> x, Arg<1, Scalar> threshold) { return shaped_slope<shrink_backward_op>(g, x, -std::numeric_limits<double>::infinity(), threshold.value); });
  const auto shrinks = [](const Tensor& g, Input<0> x, Arg<1, Scalar> width) { return shaped_slope<shrink_backward_op>(g, x, -width.value.toDouble(), width.value); };
  kernels::fused_gradient<op::hardshrink>(shrinks);
  kernels::fused_gradient<op::softshrink>(shrinks);
}

// %%
//| lesson
// The reference's results of f().
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard reference;
  return f();
}

// Runs f once for each capability of this machine.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// Runs f with this many threads.
template <class F>
auto with_threads(int threads, F f) {
  const int before = get_num_threads();
  set_num_threads(threads);
  auto result = f();
  set_num_threads(before);
  return result;
}

struct Activation {
  const char* name;
  Tensor (*call)(const Tensor&);
  bool bends = false;  // everywhere: it has a second derivative that is not zero
};

const Activation kActivations[] = {
    {"relu", [](const Tensor& x) { return relu(x); }},
    {"sigmoid", [](const Tensor& x) { return sigmoid(x); }, true},
    {"tanh", [](const Tensor& x) { return tanh(x); }, true},
    {"silu", [](const Tensor& x) { return silu(x); }, true},
    {"gelu", [](const Tensor& x) { return gelu(x); }, true},
    {"gelu tanh", [](const Tensor& x) { return gelu(x, "tanh"); }, true},
    {"elu", [](const Tensor& x) { return elu(x, 0.7); }, true},
    {"selu", [](const Tensor& x) { return selu(x); }, true},
    {"softplus", [](const Tensor& x) { return softplus(x, 1.5, 4); }, true},
    {"leaky relu", [](const Tensor& x) { return leaky_relu(x, 0.2); }},
    {"hardtanh", [](const Tensor& x) { return hardtanh(x, -0.75, 1.25); }},
    {"threshold", [](const Tensor& x) { return threshold(x, 0.25, 7); }},
    {"hardshrink", [](const Tensor& x) { return hardshrink(x, 0.75); }},
    {"softshrink", [](const Tensor& x) { return softshrink(x, 0.75); }},
    {"hardsigmoid", [](const Tensor& x) { return hardsigmoid(x); }},
    {"hardswish", [](const Tensor& x) { return hardswish(x); }, true},
    {"logit", [](const Tensor& x) { return logit(x); }},  // NaN of what is no probability
    {"logit, cut", [](const Tensor& x) { return logit(x, 0.25); }, true},
};

Tensor gradient_at(const Activation& activation, const Tensor& x, const Tensor& grad) {
  const Tensor leaf = x.detach().clone().requires_grad_();
  activation.call(leaf).backward(grad);
  return leaf.grad();
}

// %%
TEST_CASE("slopes: as the reference, for few numbers and many, dense and not, in float and double, with any number of threads") {
  manual_seed(670);
  for (const Activation& activation : kActivations) {
    for (const ScalarType type : {kFloat, kDouble}) {
      for (const DimVector& sizes : {DimVector{5}, DimVector{128}, DimVector{131}, DimVector{7, 45}, DimVector{3, 300, 200}}) {
        CAPTURE(activation.name);
        CAPTURE(sizes);
        const Tensor x = randn(sizes, type) * 3, g = randn(sizes, type), turned = randn(sizes, type).transpose(0, -1).contiguous().transpose(0, -1);
        const Tensor expected = by_reference([&] { return gradient_at(activation, x, g); }), expected_turned = by_reference([&] { return gradient_at(activation, turned, g); });
        const double tolerance = type == kFloat ? 4e-6 : 1e-14;
        for_each_capability([&] {
          CHECK_CLOSE(gradient_at(activation, x, g), expected, tolerance, tolerance);
          CHECK_CLOSE(gradient_at(activation, turned, g), expected_turned, tolerance, tolerance);
        });
        CHECK_EQ(with_threads(1, [&] { return gradient_at(activation, x, g); }), with_threads(3, [&] { return gradient_at(activation, x, g); }));
      }
    }
  }
}

TEST_CASE("glu: gates of every dimension, its gradients, and their derivatives, as the composition") {
  manual_seed(672);
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const DimVector& sizes : {DimVector{2}, DimVector{130}, DimVector{9, 34}, DimVector{6, 5, 8}, DimVector{4, 300, 126}}) {
      const Tensor x = randn(sizes, type) * 3, turned = randn(sizes, type).transpose(0, -1).contiguous().transpose(0, -1);
      for (std::int64_t dim = 0; dim < x.dim(); ++dim) {
        if (x.size(dim) % 2 != 0) continue;
        CAPTURE(sizes);
        CAPTURE(dim);
        const double tolerance = type == kFloat ? 4e-6 : 1e-14;
        for (const Tensor& input : {x, turned}) {
          const Tensor a = input.narrow(dim, 0, input.size(dim) / 2), b = input.narrow(dim, input.size(dim) / 2, input.size(dim) / 2), s = sigmoid(b);
          const Tensor g = randn(a.sizes(), type), expected = cat({g * s, g * a * (s * (1 - s))}, dim);
          for_each_capability([&] {
            const Tensor leaf = input.detach().clone().requires_grad_(), result = glu(leaf, dim);
            result.backward(g);
            CHECK_CLOSE(result.detach(), a * s, tolerance, tolerance);
            CHECK_CLOSE(leaf.grad(), expected, tolerance, tolerance);
          });
          const auto gradient = [&] {
            const Tensor leaf = input.detach().clone().requires_grad_();
            return autograd::grad({glu(leaf, dim)}, {leaf}, {g})[0];
          };
          CHECK_EQ(with_threads(1, gradient), with_threads(3, gradient));
        }
      }
    }
  }
  const Tensor x = randn({140}, kDouble).requires_grad_(), direction = randn({140}, kDouble);
  const Tensor slope = autograd::grad({glu(x).sum()}, {x}, {}, std::nullopt, true)[0];
  const auto slope_at = [&](const Tensor& at) {
    const Tensor leaf = at.detach().clone().requires_grad_();
    return autograd::grad({glu(leaf).sum()}, {leaf})[0];
  };
  const Tensor exact = autograd::grad({(slope * direction).sum()}, {x})[0];
  CHECK_CLOSE((exact * direction).sum(), ((slope_at(x + direction * 1e-6) - slope_at(x - direction * 1e-6)) * direction).sum() / 2e-6, 1e-6, 1e-6);
}

TEST_CASE("slopes: of distances, for both sides, reduced and not, as the reference") {
  manual_seed(673);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 4e-6 : 1e-14;
    for (const DimVector& sizes : {DimVector{1}, DimVector{7, 45}, DimVector{300, 220}}) {
      CAPTURE(sizes);
      const Tensor x = randn(sizes, type) * 2, t = randn(sizes, type), turned = randn(sizes, type).transpose(0, -1).contiguous().transpose(0, -1), g = randn(sizes, type);
      x.flatten()[0].fill_(std::numeric_limits<double>::quiet_NaN());
      for (const std::int64_t reduction : {Reduction::None, Reduction::Mean, Reduction::Sum}) {
        for (int loss = 0; loss < 3; ++loss) {
          const auto gradients = [&] {
            const Tensor a = x.clone().requires_grad_(), b = (sizes.size() == 1 ? t : turned).clone().requires_grad_();
            const Tensor value = loss == 0 ? mse_loss(a, b, reduction) : loss == 1 ? smooth_l1_loss(a, b, reduction, 0.7) : huber_loss(a, b, reduction, 1.3);
            value.backward(reduction == Reduction::None ? g : full({}, 0.5, type));
            return stack({a.grad(), b.grad()});
          };
          const Tensor expected = by_reference(gradients);
          CHECK(isnan(expected.flatten()[0]).item<bool>());
          for_each_capability([&] { CHECK_CLOSE(gradients(), expected, tolerance, tolerance); });
          const Tensor alone = with_threads(1, gradients), together = with_threads(3, gradients);
          CHECK_EQ(alone.nan_to_num(), together.nan_to_num());
        }
      }
    }
  }
}

TEST_CASE("slopes: near the exact ones where digits are lost easily") {
  // In float, against the composition in double. Far to the left the slopes of gelu are small: 1e-7 beside 1 is one unit of the last place.
  const Tensor x = linspace(-12, 12, 4801, kDouble), g = ones_like(x);
  for (const Activation& activation : kActivations) {
    CAPTURE(activation.name);
    const Tensor exact = by_reference([&] { return gradient_at(activation, x.to(kFloat).to(kDouble), g); });
    for_each_capability([&] { CHECK_CLOSE(gradient_at(activation, x.to(kFloat), g.to(kFloat)).to(kDouble), exact, 2e-6, 3e-7); });
  }
}

TEST_CASE("slopes: zeros, infinities and NaN are as the reference's; relu's slope at zero is zero") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  // Repeated, for the kernels take 128 numbers and more.
  const Tensor x = tensor({0.F, -0.F, 1.F, -1.F, nan, infinity, -infinity, 1e-30F, -1e-30F, 3e38F}).repeat({14}), g = full_like(x, 2);
  for (const Activation& activation : kActivations) {
    if (std::string(activation.name).starts_with("gelu")) continue;  // infinity times a density of 0
    CAPTURE(activation.name);
    const Tensor expected = by_reference([&] { return gradient_at(activation, x, g); });
    for_each_capability([&] { CHECK_CLOSE(gradient_at(activation, x, g), expected, 1e-6, 1e-30); });
  }
  for_each_capability([&] { CHECK_EQ(gradient_at(kActivations[0], x, g).slice(0, 0, 4), tensor({0.F, 0.F, 2.F, 0.F})); });
}

TEST_CASE("slopes: second derivatives of a recorded backward pass") {
  manual_seed(671);
  const Tensor point = randn({150}, kDouble), direction = randn({150}, kDouble), weights = randn({150}, kDouble);
  for (const Activation& activation : kActivations) {
    if (!activation.bends) continue;
    CAPTURE(activation.name);
    const auto slope = [&](const Tensor& at, bool record) {
      const Tensor leaf = at.clone().requires_grad_();
      return std::pair(leaf, autograd::grad({(activation.call(leaf) * weights).sum()}, {leaf}, {}, std::nullopt, record)[0]);
    };
    const double step = 1e-5;
    const Tensor differences = (slope(point + direction * step, false).second - slope(point - direction * step, false).second) / (2 * step);
    const auto [leaf, first] = slope(point, true);
    CHECK_CLOSE(autograd::grad({(first * direction).sum()}, {leaf})[0], differences, 1e-6, 1e-7);
  }
}

// %% [markdown]
// ## Numbers picked by position
//
// `gather` picks numbers by their positions, and in the backward pass `scatter_add_` puts gradients back where the numbers came from; those of max pooling take the same way. The reference takes any shape along any dimension, and for that makes a tensor of positions first. Beside a contiguous tensor of the form (outer, size, inner) with indices (outer, picked, inner) an
// index is a distance of `inner` numbers. All indices are looked at before anything is written, since an error must leave nothing behind.
//
// Along the last dimension a task has some of the rows. Along others it has a strip of 256 columns, which no other task writes to, and goes through all indices for it: that much of a matrix stays in a core's cache while they jump from row to row.
//
// The gradient of `gather` knows its indices from the forward pass, so it need not look whether they are in range. Each task fills its own rows or strips with zeros and adds the gradients to them while they lie in the core's cache. Within a row they are added in the order of the indices, as the reference does; no
// two tasks write to the same row or strip.
//
// `nll_loss` picks one number of each sample, and its gradient has one number a sample that is not zero, at the class. Chapter 95 composes it: which samples are ignored, what each counts, the sum of that, and a `scatter_add_` into zeros, some ten operators. Written out it is zeros, and one walk over the targets that knows all this.

// %%
//| export kernels/positions.cpp
// Of chapter 95.
Tensor nll_loss_backward(const Tensor& g, const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index);

namespace {
struct PickedAlong {
  std::int64_t outer, size, picked, inner;
};

// Nothing unless the indices are contiguous and of the same sizes as `sizes` beside `dim`.
std::optional<PickedAlong> picked_form(IntArrayRef sizes, std::int64_t dim, const Tensor& index) {
  if (sizes.empty() || index.sizes().size() != sizes.size() || index.scalar_type() != kLong || index.numel() == 0 || !index.is_contiguous()) return {};
  PickedAlong form{1, 1, index.size(dim), 1};
  for (std::int64_t d = 0; d < index.dim(); ++d) {
    const std::int64_t size = sizes[static_cast<std::size_t>(d)];
    if (d != dim && index.size(d) != size) return {};
    (d < dim ? form.outer : d == dim ? form.size : form.inner) *= size;
  }
  return form;
}

bool all_within(const Tensor& index, std::int64_t size) {
  std::atomic<bool> within = true;
  parallel_for(0, index.numel(), 16384, [&, at = index.data<std::int64_t>()](std::int64_t begin, std::int64_t end) {
    if (!kernels::chosen_data_kernels().are_within(at + begin, end - begin, size)) within.store(false, std::memory_order_relaxed);
  });
  return within;
}

// Nothing unless `self` is contiguous, too, and all indices are in range.
std::optional<PickedAlong> picked_along(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const std::optional<PickedAlong> form = self.is_contiguous() && self.numel() > 0 ? picked_form(self.sizes(), dim, index) : std::nullopt;
  return form && all_within(index, form->size) ? form : std::nullopt;
}

// Calls f(place in self, place in the indices) for every index, on the threads of the pool. Those that may have the same place in self are called in their order, by one thread, which before calls prepare(first place, how many) for the
// rows and the columns of `self` that are its own.
template <class F, class Prepare>
void for_picked(const PickedAlong& form, const std::int64_t* at, F f, Prepare prepare) {
  constexpr std::int64_t kStrip = 256;
  const std::int64_t strips = (form.inner + kStrip - 1) / kStrip, each = std::min(form.inner, kStrip) * form.picked;
  parallel_for(0, form.outer * strips, std::max<std::int64_t>(1, 16384 / each), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t row = task / strips * form.picked, base = task / strips * form.size * form.inner;
      if (form.inner == 1) {
        prepare(base, form.size);
        for (std::int64_t k = row; k < row + form.picked; ++k) f(base + at[k], k);
        continue;
      }
      const std::int64_t first = task % strips * kStrip, stop = std::min(form.inner, first + kStrip);
      for (std::int64_t i = 0; i < form.size; ++i) prepare(base + i * form.inner + first, stop - first);
      for (std::int64_t k = row; k < row + form.picked; ++k)
        for (std::int64_t j = first; j < stop; ++j) f(base + at[k * form.inner + j] * form.inner + j, k * form.inner + j);
    }
  });
}

template <class F>
void for_picked(const PickedAlong& form, const std::int64_t* at, F f) {
  for_picked(form, at, f, [](std::int64_t, std::int64_t) {});
}

Tensor gather_tuned(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const std::optional<PickedAlong> form = picked_along(self, dim, index);
  if (!form) return op::gather.function(Layer::CPU)(self, dim, index);
  const Tensor result = empty(index.sizes(), self.scalar_type());
  kernels::with_bits(self.element_size(), [&]<class U>() {
    for_picked(*form, index.data<std::int64_t>(), [x = static_cast<const U*>(self.data_ptr()), out = static_cast<U*>(result.data_ptr())](std::int64_t place, std::int64_t i) { out[i] = x[place]; });
  });
  return result;
}

// What scatter_ and scatter_add_ write beside each other; nothing where the reference shall do it.
std::optional<PickedAlong> scattered_along(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const bool ours = src.sizes() == index.sizes() && src.is_contiguous() && src.scalar_type() == self.scalar_type() && !src.is_alias_of(self) && !index.is_alias_of(self);
  return ours ? picked_along(self, dim, index) : std::nullopt;
}

const Tensor& scatter_tuned(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const std::optional<PickedAlong> form = scattered_along(self, dim, index, src);
  if (!form) return op::scatter_.function(Layer::CPU)(self, dim, index, src);
  kernels::with_bits(self.element_size(), [&]<class U>() {
    for_picked(*form, index.data<std::int64_t>(), [x = static_cast<U*>(self.data_ptr()), from = static_cast<const U*>(src.data_ptr())](std::int64_t place, std::int64_t i) { x[place] = from[i]; });
  });
  return self;
}

const Tensor& scatter_add_tuned(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const ScalarType type = self.scalar_type();
  const bool has_kernel = type == kFloat || type == kDouble || type == kLong;
  const std::optional<PickedAlong> form = has_kernel ? scattered_along(self, dim, index, src) : std::nullopt;
  if (!form) return op::scatter_add_.function(Layer::CPU)(self, dim, index, src);
  const auto add = [&]<class T>(T) {
    for_picked(*form, index.data<std::int64_t>(), [x = self.data<T>(), from = src.data<T>()](std::int64_t place, std::int64_t i) { x[place] += from[i]; });
  };
  if (type == kFloat) add(float{});
  else if (type == kDouble) add(double{});
  else add(std::int64_t{});
  return self;
}

// The gradient of gather: `g` at the places it came from and zeros beside. The indices were looked at in the forward pass. Where no place is met `twice`, nothing needs to be read in order to add to it.
Tensor gather_backward(const Tensor& g, IntArrayRef sizes, std::int64_t dim, const Tensor& index, bool twice = true) {
  const ScalarType type = g.scalar_type();
  const std::optional<PickedAlong> form = !is_recording() && (type == kFloat || type == kDouble) ? picked_form(sizes, dim, index) : std::nullopt;
  if (!form) {
    const Tensor whole = zeros(sizes, g.options());
    return is_recording() ? scatter_add(whole, dim, index, g) : scatter_add_(whole, dim, index, g.contiguous());
  }
  const Tensor from = g.contiguous(), result = empty(sizes, type);
  const auto add = [&]<class T>(T) {
    T* const x = result.data<T>();
    const T* const y = from.data<T>();
    const auto fill = [x](std::int64_t first, std::int64_t count) { std::fill_n(x + first, count, T{0}); };
    if (twice) for_picked(*form, index.data<std::int64_t>(), [x, y](std::int64_t place, std::int64_t i) { x[place] += y[i]; }, fill);
    else for_picked(*form, index.data<std::int64_t>(), [x, y](std::int64_t place, std::int64_t i) { x[place] = T{0} + y[i]; }, fill);  // of -0, too, the sum is 0
  };
  if (type == kFloat) add(float{});
  else add(double{});
  return result;
}

constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t, std::int64_t)> nll_loss_backward_op("nll_loss_backward", {.cpu = nll_loss_backward});

// What a mean divides by: how many samples are not ignored, or the sum of their weights.
template <class T>
double weight_of_samples(const std::int64_t* target, std::int64_t count, const T* weight, std::int64_t ignore_index) {
  if (weight == nullptr) return static_cast<double>(count - std::count(target, target + count, ignore_index));
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += target[i] == ignore_index ? 0 : static_cast<double>(weight[target[i]]);
  return total;
}

// Of samples (N, C) and targets (N), or of positions (N, C, K) and targets (N, K), which were looked at in the forward pass.
Tensor nll_loss_backward_tuned(const Tensor& g, const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const ScalarType type = self.scalar_type();
  if ((type != kFloat && type != kDouble) || g.scalar_type() != type) return nll_loss_backward(g, self, target, weight, reduction, ignore_index);
  const std::int64_t C = self.size(1), K = self.dim() == 3 ? self.size(2) : 1, step = reduction == Reduction::None ? 1 : 0;
  const Tensor labels = target.contiguous(), arrives = g.contiguous(), factors = weight ? weight->contiguous() : Tensor(), result = zeros(self.sizes(), type);
  const auto walk = [&]<class T>(T) {
    const std::int64_t* const t = labels.data<std::int64_t>();
    const T *const grad = arrives.data<T>(), *const factor = factors.defined() ? factors.data<T>() : nullptr;
    const T total = reduction == Reduction::Mean ? static_cast<T>(weight_of_samples(t, labels.numel(), factor, ignore_index)) : T{1};
    parallel_for(0, labels.numel(), 16384, [=, out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop;) {
        const std::int64_t n = i / K, end = std::min(stop, (n + 1) * K);
        for (; i < end; ++i) {
          if (t[i] == ignore_index) continue;
          const T counts = factor == nullptr ? grad[i * step] : grad[i * step] * factor[t[i]];
          out[(n * C + t[i] - n) * K + i] = T{0} - counts / total;
        }
      }
    });
  };
  if (type == kFloat) walk(float{});
  else walk(double{});
  return result;
}
}  // namespace

// %%
//| export kernels/positions.cpp
//| registers
void register_tuned_positions() {
  op::gather.set(Layer::TunedCPU, gather_tuned);
  op::scatter_.set(Layer::TunedCPU, scatter_tuned);
  op::scatter_add_.set(Layer::TunedCPU, scatter_add_tuned);
  kernels::fused_gradient<op::gather>(
      [](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Input<2> index) { return gather_backward(g, sizes, dim, index); },
      no_gradient);
  nll_loss_backward_op.set(Layer::TunedCPU, nll_loss_backward_tuned);
  const auto picks = [](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction, Arg<4, std::int64_t> ignore_index) {
    const std::optional<Tensor> factors = weight.defined() ? std::optional<Tensor>(weight) : std::nullopt;
    if (is_recording()) return nll_loss_backward(g, self, target, factors, reduction, ignore_index);
    return nll_loss_backward_op(g, self, target, factors, reduction, ignore_index);
  };
  kernels::fused_gradient<op::nll_loss>(picks);
  kernels::fused_gradient<op::nll_loss2d>(picks);
  kernels::fused_gradient<op::max_pool2d_with_indices>([](const Tensor& g, OutputAt<1> indices, Sizes<0> sizes, Arg<2, DimVector> kernel, Arg<3, DimVector> stride, Arg<5, DimVector> dilation) {
    const auto overlap = [&](std::size_t d) { return (kernel.value[d] - 1) * dilation.value[d] >= stride.value[d]; };
    const bool twice = overlap(0) || overlap(1);
    return put_at_winners(g, indices, sizes, [twice](const Tensor& from, IntArrayRef to, std::int64_t dim, const Tensor& at) { return gather_backward(from, to, dim, at, twice); });
  });
}

// %%
TEST_CASE("nll_loss: its gradient of samples and of images as the composition, weighted, ignored and not reduced") {
  manual_seed(674);
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const DimVector& sizes : {DimVector{9, 5}, DimVector{3, 4, 7}, DimVector{40, 3, 30, 31}}) {
      DimVector places(sizes);
      places.erase(1);
      const Tensor x = randn(sizes, type), w = rand({sizes[1]}, type), t = randint(0, sizes[1], places), g = randn(places, type);
      t.flatten().slice(0, 0, t.numel(), 5).fill_(-7);
      for (const std::int64_t reduction : {Reduction::None, Reduction::Mean, Reduction::Sum}) {
        for (const std::optional<Tensor>& weight : {std::optional<Tensor>(), std::optional<Tensor>(w)}) {
          const auto gradient = [&] {
            const Tensor leaf = x.clone().requires_grad_();
            nll_loss(leaf, t, weight, reduction, -7).backward(reduction == Reduction::None ? g : full({}, 0.5, type));
            return leaf.grad();
          };
          const double tolerance = type == kFloat ? 1e-5 : 1e-13;
          CHECK_CLOSE(gradient(), by_reference(gradient), tolerance, tolerance * 1e-3);
          CHECK_EQ(with_threads(1, gradient), with_threads(3, gradient));
        }
      }
    }
  }
}

TEST_CASE("gather, scatter_ and scatter_add_: as the reference along any dimension, with places met twice; gradients too") {
  manual_seed(673);
  for (const ScalarType type : {kFloat, kDouble, kLong, kInt, kByte}) {
    for (const std::int64_t dim : {0, 1, 2}) {
      const Tensor x = (randn({4, 5, 60}) * 10).to(type), g = (randn({4, 5, 60}) * 10).to(type);
      for (const Tensor& index : {randint(0, x.size(dim), {4, 5, 60}), randint(0, x.size(dim), {4, 5, 60}).narrow(2, 0, 7), randint(0, x.size(dim), {4, 5, 7}), randint(0, x.size(dim), {2, 3, 7})}) {
        CAPTURE(dim);
        CAPTURE(index.sizes());
        const auto results = [&] { return std::vector<Tensor>{gather(x, dim, index), scatter(x, dim, index, g), scatter(x, dim, index, 3), scatter_add(x, dim, index, g)}; };
        const std::vector<Tensor> expected = by_reference(results), tuned = results();
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_EQ(tuned[i], expected[i]);
        if (!x.is_floating_point()) continue;
        const auto gradient = [&] {
          const Tensor leaf = x.clone().requires_grad_();
          gather(leaf, dim, index).backward(g.slice(0, 0, index.size(0)).slice(1, 0, index.size(1)).slice(2, 0, index.size(2)));
          return leaf.grad();
        };
        CHECK_EQ(gradient(), by_reference(gradient));
      }
    }
  }
  const Tensor wide = randn({90, 700}), values = randn({120, 700}), rows = randint(0, 90, {120, 700});
  const auto in_strips = [&] { return std::vector<Tensor>{gather(wide, 0, rows), scatter_add(wide, 0, rows, values), scatter(wide, 0, rows, values)}; };
  const std::vector<Tensor> expected = by_reference(in_strips), together = with_threads(3, in_strips);
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK_EQ(together[i], expected[i]);
  const Tensor own = arange(6, kFloat), index = tensor({0L, 0L, 1L, 5L, 5L, 5L});
  CHECK_EQ(own.clone().scatter_add_(0, index, own), tensor({1.F, 3.F, 2.F, 3.F, 4.F, 17.F}));
}

TEST_CASE("gather, scatter_ and scatter_add_: an index outside of a row is an error, and nothing was written") {
  const Tensor x = zeros({2, 3}), index = tensor({{0L, 1L}, {2L, 3L}});
  CHECK_ERROR(gather(x, 1, index), "index 3 is out of bounds");
  CHECK_ERROR(scatter_add_(x, 1, index, ones({2, 2})), "index 3 is out of bounds");
  CHECK_ERROR(scatter_(x, 1, index, ones({2, 2})), "index 3 is out of bounds for dimension 1 with size 3");
  CHECK_EQ(x, zeros({2, 3}));
  CHECK_ERROR(gather(x, 1, tensor({{0L, -1L}, {2L, 0L}})), "index -1 is out of bounds");
  const Tensor large = randn({300, 400});
  for (const std::int64_t dim : {0, 1}) {
    for (const std::int64_t bad : {-1, 300 + 100 * static_cast<int>(dim)}) {
      const Tensor places = randint(0, 300, {300, 400});
      places.select(0, 299).select(0, 399).fill_(bad);
      CHECK_ERROR(gather(large, dim, places), "is out of bounds for dimension");
    }
  }
}

TEST_CASE("gather: second derivatives of a recorded backward pass") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}}, kDouble).requires_grad_(), index = tensor({{2L, 0L, 2L}});
  const Tensor first = autograd::grad({gather(x, 1, index).pow(3).sum()}, {x}, {}, std::nullopt, true)[0];
  CHECK_CLOSE(first.detach(), tensor({{3.0, 0.0, 54.0}}, kDouble), 1e-12, 1e-12);
  CHECK_CLOSE(autograd::grad({first.sum()}, {x})[0], tensor({{6.0, 0.0, 36.0}}, kDouble), 1e-12, 1e-12);
}

// %% [markdown]
// ## A step of an LSTM
//
// Chapter 54 says what `_thnn_fused_lstm_cell` computes, as ten operators. Here it is one walk over the units: eight gates and c come in, and all between them and h', c' and the workspace stays in registers.
//
//     for each row of the batch, for 16 units at a time (AVX-512, float)
//       load   input gates + hidden gates   at j, H + j, 2 H + j, 3 H + j           the four gates of one unit are H numbers apart
//       i f o = sigmoid    g = tanh         four chains of some 25 operations that do not wait for each other
//       c' = f c + i g     h' = o tanh(c')
//       store  c', h', and i f g o in the workspace
//
// With everything in registers, arithmetic is what takes time: 16 rows of 128 units took 5.0 microseconds beside a product of 10, where the ten operators took 8.3, and in training a node each (AVX-512, one thread). Five of a unit's operations are divisions, which occupy their unit for 16 cycles a vector and more. The processor has an instruction for a *guess* of 1 / x,
// which is right in 14 bits; one step of Newton's method, y + y (1 - x y), doubles that. So AVX-512's kernel for floats divides nothing and takes 4.25.
//
// The gradient reads the four gates from the workspace, both cells and what arrived, and needs one tanh. What H leaves over at a row's end is a vector too, of which a mask loads and stores a part: a unit's numbers are the same wherever it stands.

// %%
//| export kernels/recurrent_kernels.h
namespace kernels {

// For `rows` rows of H units that lie behind one another, gates as rows of 4 H. O(rows H).
template <class T>
struct LSTMTable {
  void (*step)(const T* input_gates, const T* hidden_gates, const T* cx, std::int64_t rows, std::int64_t H, T* hy, T* cy, T* workspace);
  // Of grad_hy and grad_cy one may be null.
  void (*gradient)(const T* grad_hy, const T* grad_cy, const T* cx, const T* cy, const T* workspace, std::int64_t rows, std::int64_t H, T* grad_gates, T* grad_cx);
};

struct RecurrentKernels {
  LSTMTable<float> in_float;
  LSTMTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(RecurrentKernels, recurrent_kernels)

}  // namespace kernels

// %%
//| export kernels/recurrent.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// 1 / x for x from 1 to 2^30.
template <class D, class V>
HWY_INLINE V Inverse(D d, V x) {
  const V one = hn::Set(d, hn::TFromD<D>{1});
  if constexpr (HWY_TARGET == HWY_AVX3 && sizeof(hn::TFromD<D>) == 4) {
    const V guess = hn::ApproximateReciprocal(x);
    return hn::MulAdd(guess, hn::NegMulAdd(x, guess, one), guess);
  } else {
    return hn::Div(one, x);
  }
}

// sigmoid within 4 units of the last place, and exactly NaN for NaN; at least exp(-87), of doubles exp(-700).
template <class D, class V>
HWY_INLINE V GateSigmoid(D d, V x) {
  using T = hn::TFromD<D>;
  const V within = hn::Max(hn::Neg(hn::Abs(x)), hn::Set(d, sizeof(T) == 4 ? T{-87} : T{-700}));
  const V e = ExpReduced<true>(d, within, within), inverse = Inverse(d, hn::Add(hn::Set(d, T{1}), e));
  const V y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(e, inverse), inverse);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// How a vector's numbers are loaded and stored: all of them, or the first `count`.
struct WholeVector {
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    return hn::LoadU(d, from);
  }
  template <class D, class T>
  HWY_INLINE void store(hn::Vec<D> v, D d, T* to) const {
    hn::StoreU(v, d, to);
  }
};
struct PartOfVector {
  std::int64_t count;
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    return LoadPart(d, from, count);
  }
  template <class D, class T>
  HWY_INLINE void store(hn::Vec<D> v, D d, T* to) const {
    StorePart(v, d, to, count);
  }
};

// Calls at(access, unit) for all of H units.
template <class T, class At>
HWY_INLINE void for_units(std::int64_t H, At at) {
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  std::int64_t j = 0;
  for (; j + lanes <= H; j += lanes) at(WholeVector(), j);
  if (j < H) at(PartOfVector{H - j}, j);
}

template <class T>
void lstm_step(const T* input_gates, const T* hidden_gates, const T* cx, std::int64_t rows, std::int64_t H, T* hy, T* cy, T* workspace) {
  const hn::ScalableTag<T> d;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T *const a = input_gates + row * 4 * H, *const b = hidden_gates + row * 4 * H, *const before = cx + row * H;
    T *const h = hy + row * H, *const c = cy + row * H, *const gates = workspace + row * 4 * H;
    for_units<T>(H, [=](auto access, std::int64_t j) HWY_ATTR {
      const auto sum = [=](std::int64_t at) HWY_ATTR { return hn::Add(access.load(d, a + at), access.load(d, b + at)); };
      const auto i = GateSigmoid(d, sum(j)), f = GateSigmoid(d, sum(H + j)), g = Tanh(d, sum(2 * H + j)), o = GateSigmoid(d, sum(3 * H + j));
      const auto next = hn::MulAdd(i, g, hn::Mul(f, access.load(d, before + j)));
      access.store(next, d, c + j);
      access.store(hn::Mul(o, Tanh(d, next)), d, h + j);
      access.store(i, d, gates + j);
      access.store(f, d, gates + H + j);
      access.store(g, d, gates + 2 * H + j);
      access.store(o, d, gates + 3 * H + j);
    });
  }
}

template <class T>
void lstm_gradient(const T* grad_hy, const T* grad_cy, const T* cx, const T* cy, const T* workspace, std::int64_t rows, std::int64_t H, T* grad_gates, T* grad_cx) {
  const hn::ScalableTag<T> d;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T *const dh = grad_hy == nullptr ? nullptr : grad_hy + row * H, *const dc = grad_cy == nullptr ? nullptr : grad_cy + row * H;
    const T *const before = cx + row * H, *const after = cy + row * H, *const gates = workspace + row * 4 * H;
    T *const to = grad_gates + row * 4 * H, *const to_before = grad_cx + row * H;
    for_units<T>(H, [=](auto access, std::int64_t j) HWY_ATTR {
      const auto one = hn::Set(d, T{1});
      const auto i = access.load(d, gates + j), f = access.load(d, gates + H + j), g = access.load(d, gates + 2 * H + j), o = access.load(d, gates + 3 * H + j);
      const auto slope = [=](auto gate) HWY_ATTR { return hn::Mul(gate, hn::Sub(one, gate)); };  // of a sigmoid
      auto at_cell = dc == nullptr ? hn::Zero(d) : access.load(d, dc + j), at_shown = hn::Zero(d);
      if (dh != nullptr) {
        const auto arrived = access.load(d, dh + j), shown = Tanh(d, access.load(d, after + j));
        at_cell = hn::MulAdd(hn::Mul(arrived, o), hn::NegMulAdd(shown, shown, one), at_cell);
        at_shown = hn::Mul(arrived, shown);
      }
      access.store(hn::Mul(hn::Mul(at_cell, g), slope(i)), d, to + j);
      access.store(hn::Mul(hn::Mul(at_cell, access.load(d, before + j)), slope(f)), d, to + H + j);
      access.store(hn::Mul(hn::Mul(at_cell, i), hn::NegMulAdd(g, g, one)), d, to + 2 * H + j);
      access.store(hn::Mul(at_shown, slope(o)), d, to + 3 * H + j);
      access.store(hn::Mul(at_cell, f), d, to_before + j);
    });
  }
}

template <class T>
constexpr LSTMTable<T> lstm_table_of() {
  return {.step = lstm_step<T>, .gradient = lstm_gradient<T>};
}
}  // namespace

constinit const RecurrentKernels recurrent_kernels = {lstm_table_of<float>(), lstm_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/recurrent.cpp
namespace {
// Calls f(the table of T, T{}) for numbers of this type. REQUIRES: float or double.
template <class F>
void with_lstm_table(ScalarType type, F f) {
  using namespace kernels;
  static constexpr const RecurrentKernels* tables[] = TINYTORCH_PER_CAPABILITY(recurrent_kernels);
  const RecurrentKernels& chosen = for_capability(tables);
  if (type == kFloat) f(chosen.in_float, float{});
  else f(chosen.in_double, double{});
}

bool are_of(ScalarType type, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors)
    if (tensor->scalar_type() != type) return false;
  return type == kFloat || type == kDouble;
}

// Calls f(first row, rows) on the threads of the pool, for cells of these sizes: tasks of some 8,000 units.
template <class F>
void for_rows_of_cells(const Tensor& cell, F f) {
  const std::int64_t H = cell.size(-1);
  parallel_for(0, cell.numel() / H, std::max<std::int64_t>(1, (1 << 13) / H), [&](std::int64_t first, std::int64_t stop) { f(first, stop - first); });
}

std::tuple<Tensor, Tensor, Tensor> fused_lstm_cell_tuned(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx) {
  const ScalarType type = cx.scalar_type();
  if (cx.numel() == 0 || !are_of(type, {&input_gates, &hidden_gates, &cx})) return op::_thnn_fused_lstm_cell.function(Layer::CPU)(input_gates, hidden_gates, cx);
  const Tensor a = input_gates.contiguous(), b = hidden_gates.contiguous(), before = cx.contiguous();
  const Tensor hy = empty(cx.sizes(), type), cy = empty(cx.sizes(), type), workspace = empty(a.sizes(), type);
  with_lstm_table(type, [&]<class T>(const kernels::LSTMTable<T>& table, T) {
    for_rows_of_cells(cx, [&, H = cx.size(-1)](std::int64_t first, std::int64_t rows) {
      const std::int64_t cells = first * H, gates = 4 * cells;
      table.step(a.data<T>() + gates, b.data<T>() + gates, before.data<T>() + cells, rows, H, hy.data<T>() + cells, cy.data<T>() + cells, workspace.data<T>() + gates);
    });
  });
  return {hy, cy, workspace};
}

std::tuple<Tensor, Tensor> fused_lstm_cell_backward_tuned(const std::optional<Tensor>& grad_hy, const std::optional<Tensor>& grad_cy, const Tensor& cx, const Tensor& cy, const Tensor& workspace) {
  const ScalarType type = cx.scalar_type();
  const bool ours = cx.numel() > 0 && are_of(type, {&cy, &workspace, grad_hy ? &*grad_hy : &cx, grad_cy ? &*grad_cy : &cx});
  if (!ours) return op::_thnn_fused_lstm_cell_backward.function(Layer::CPU)(grad_hy, grad_cy, cx, cy, workspace);
  const Tensor dh = grad_hy ? grad_hy->contiguous() : Tensor(), dc = grad_cy ? grad_cy->contiguous() : Tensor();
  const Tensor before = cx.contiguous(), after = cy.contiguous(), saved = workspace.contiguous();
  const Tensor of_gates = empty(saved.sizes(), type), of_cell = empty(cx.sizes(), type);
  with_lstm_table(type, [&]<class T>(const kernels::LSTMTable<T>& table, T) {
    for_rows_of_cells(cx, [&, H = cx.size(-1)](std::int64_t first, std::int64_t rows) {
      const std::int64_t cells = first * H, gates = 4 * cells;
      const auto from = [&](const Tensor& grad) { return grad.defined() ? grad.data<T>() + cells : nullptr; };
      table.gradient(from(dh), from(dc), before.data<T>() + cells, after.data<T>() + cells, saved.data<T>() + gates, rows, H, of_gates.data<T>() + gates, of_cell.data<T>() + cells);
    });
  });
  return {of_gates, of_cell};
}
}  // namespace

// %%
//| export kernels/recurrent.cpp
//| registers
void register_tuned_recurrent() {
  op::_thnn_fused_lstm_cell.set(Layer::TunedCPU, fused_lstm_cell_tuned);
  op::_thnn_fused_lstm_cell_backward.set(Layer::TunedCPU, fused_lstm_cell_backward_tuned);
}

// %%
//| lesson
// What a step gives, and the gradients of a loss of h, of c or of both. The gates and cells are as they lie.
std::vector<Tensor> lstm_step_results(const Tensor& a, const Tensor& b, const Tensor& c, bool of_h, bool of_c) {
  const Tensor x = a.detach().requires_grad_(), y = b.detach().requires_grad_(), cell = c.detach().requires_grad_();
  const auto [h, next, workspace] = _thnn_fused_lstm_cell(x, y, cell);
  const Tensor loss = (of_h ? h.pow(2).sum() : zeros({}, h.scalar_type())) + (of_c ? next.pow(2).sum() : zeros({}, h.scalar_type()));
  const std::vector<Tensor> first = autograd::grad({loss}, {x, y, cell}, {}, true);
  const std::vector<Tensor> recorded = autograd::grad({loss}, {x, y, cell}, {}, std::nullopt, true);
  const std::vector<Tensor> second = autograd::grad({recorded[0].pow(2).sum() + recorded[2].pow(2).sum()}, {x, cell});
  std::vector<Tensor> all{h.detach(), next.detach(), workspace.detach()};
  for (const std::vector<Tensor>& gradients : {first, recorded, second})
    for (const Tensor& gradient : gradients) all.push_back(gradient.detach());
  return all;
}

// %%
TEST_CASE("LSTM step: as the reference, for all sizes, dense and not, in float and double, with any number of threads") {
  manual_seed(674);
  for (const ScalarType type : {kFloat, kDouble})
    for (const DimVector& sizes : {DimVector{3}, DimVector{1, 1}, DimVector{4, 16}, DimVector{5, 19}, DimVector{16, 64}, DimVector{2, 3, 40}, DimVector{300, 131}}) {
      CAPTURE(sizes);
      DimVector four(sizes);
      four.back() *= 4;
      const auto turned = [&](const DimVector& of) { return (randn(of, type) * 3).transpose(0, -1).contiguous().transpose(0, -1); };
      const double tolerance = type == kFloat ? 2e-5 : 1e-13;
      for (const bool dense : {true, false}) {
        const Tensor a = dense ? randn(four, type) * 3 : turned(four), b = dense ? randn(four, type) : turned(four), c = dense ? randn(sizes, type) : turned(sizes);
        for (int losses = 1; losses <= 3; ++losses) {
          const auto results = [&] { return lstm_step_results(a, b, c, (losses & 1) != 0, (losses & 2) != 0); };
          const std::vector<Tensor> expected = by_reference(results);
          for_each_capability([&] {
            const std::vector<Tensor> tuned = results();
            for (std::size_t i = 0; i < tuned.size(); ++i) {
              CAPTURE(i);
              const double allowed = i < 9 ? tolerance : 10 * tolerance;  // second derivatives are sums of squares of the first ones
              CHECK_CLOSE(tuned[i], expected[i], allowed, allowed);
            }
          });
          const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
          for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
        }
      }
    }
}

TEST_CASE("LSTM step: sigmoid and tanh of floats within four units of the last place") {
  const Tensor x = linspace(-30, 30, 4096, kDouble).to(kFloat), exact = x.to(kDouble);
  const Tensor sigmoids = sigmoid(exact), tanhs = tanh(exact);
  for_each_capability([&] {
    const Tensor workspace = std::get<2>(_thnn_fused_lstm_cell(x.repeat({4}), zeros({4 * 4096}), zeros({4096}))).to(kDouble).view({4, 4096});
    for (const std::int64_t gate : {0, 1, 3}) CHECK_CLOSE(workspace[gate], sigmoids, 4 * 0x1p-23, 0.0);
    CHECK_CLOSE(workspace[2], tanhs, 4 * 0x1p-23, 0.0);
  });
}

TEST_CASE("LSTM step: a unit's numbers do not depend on where it stands and on its neighbours") {
  manual_seed(675);
  const Tensor gates = randn({4, 37}) * 2, c = randn({37}), zero = zeros({4, 37});
  for_each_capability([&] {
    const auto step = [&](std::int64_t first, std::int64_t count) {
      const auto part = [&](const Tensor& of_gates) { return of_gates.narrow(1, first, count).reshape(-1); };
      const Tensor a = part(gates).requires_grad_();
      const auto [h, next, workspace] = _thnn_fused_lstm_cell(a, part(zero), c.narrow(0, first, count));
      const Tensor slopes = autograd::grad({(h + next).sum()}, {a})[0];
      return std::vector<Tensor>{h.detach(), next.detach(), workspace.detach().view({4, count}), slopes.view({4, count})};
    };
    const std::vector<Tensor> whole = step(0, 37);
    for (const auto& [first, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 1}, {5, 3}, {1, 16}, {30, 7}, {3, 33}}) {
      const std::vector<Tensor> part = step(first, count);
      for (std::size_t i = 0; i < part.size(); ++i) CHECK_EQ(part[i], whole[i].narrow(-1, first, count));
    }
  });
}

TEST_CASE("LSTM step: far gates, infinities and NaN as the reference's; half precision is left to it") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor special = tensor({0.F, -0.F, 100.F, -100.F, nan, infinity, -infinity, 1e-30F}), gates = special.repeat({4}), c = special.flip({0});
  const auto results = [&] {
    const auto [h, next, workspace] = _thnn_fused_lstm_cell(gates, zeros_like(gates), c);
    return std::vector<Tensor>{h, next, workspace};
  };
  const std::vector<Tensor> expected = by_reference(results);
  for_each_capability([&] {
    const std::vector<Tensor> tuned = results();
    for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], 1e-6, 1e-30);
  });
  const Tensor half = randn({3, 8}).to(kHalf), cell = randn({3, 2}).to(kHalf);
  const auto of_halves = [&] { return std::get<0>(_thnn_fused_lstm_cell(half, half, cell)); };
  CHECK_EQ(of_halves(), by_reference(of_halves));
}

TEST_CASE("LSTM layers: outputs and gradients as the reference's, for each capability and any number of threads") {
  manual_seed(676);
  for (const bool reverse : {false, true}) {
    nn::LSTM lstm(nn::LSTMOptions(11, 35).num_layers(2).bidirectional(reverse));
    const Tensor x = randn({6, 9, 11}), h = randn({reverse ? 4 : 2, 9, 35}), c = randn({reverse ? 4 : 2, 9, 35});
    const auto results = [&] {
      lstm->zero_grad();
      const Tensor input = x.clone().requires_grad_(), first = h.clone().requires_grad_();
      const auto [output, states] = lstm(input, std::make_tuple(first, c));
      (output.pow(2).sum() + std::get<0>(states).sum() + std::get<1>(states).pow(2).sum()).backward();
      std::vector<Tensor> all{output.detach(), input.grad(), first.grad()};
      for (const Tensor& parameter : lstm->parameters()) all.push_back(parameter.grad().clone());
      return all;
    };
    const std::vector<Tensor> expected = by_reference(results);
    for_each_capability([&] {
      const std::vector<Tensor> tuned = results();
      for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], 1e-4, 1e-4);
    });
    const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
  }
}

// %% [markdown]
// ## Optimizers: all parameters in one walk
//
// Module 06 composes Adam's step of eight operators for each parameter and measured what a fused loop gains. Here is that loop in vectors: a step reads p, g, m and v once and writes p, m and v, 28 bytes for a float, and does some twenty operations with them, among them a root and a division. That is limited by memory again.
//
//     composed   mul_ m | add_ m g | mul_ v | addcmul_ v g | sqrt v | div_ | add_ | addcdiv_ p m        8 walks for each parameter
//     fused      p0 p1 ... | p0 ... | p0 p1 |  pieces of all parameters, handed to threads              1 walk, 1 call
//
// A network has many small parameters. Their pieces form one list of tasks, so a step costs one call however many there are (PyTorch: `fused=True`, `aten/src/ATen/native/cpu/FusedAdamKernel.cpp`). A processor fetches ahead of what a loop reads, but not beyond the end of a page, and three or four arrays are at the end of one a thousand numbers later; so the walk asks for what comes a kilobyte later in each. AdamW of 10.8 million parameters takes 0.84 of its time for that (an Intel server, one thread).
// Where tensors have gaps, other dtypes or different ones, nothing is done and the optimizer composes.

// %%
//| export kernels/optimizer_kernels.h
namespace kernels {

// The numbers of one step of Adam for one parameter.
template <class T>
struct AdamStep {
  T decay;           // what a parameter is multiplied with first: AdamW; 1 for Adam
  T gradient_decay;  // what of the parameter is added to its gradient: Adam; 0 for AdamW
  T beta1, beta2;
  T one_minus_beta1, one_minus_beta2;
  T root_scale;  // 1 / sqrt(1 - beta2^t)
  T eps;
  T rate;  // lr / (1 - beta1^t)
};

template <class T>
struct SGDStep {
  T weight_decay, momentum, one_minus_dampening, rate;
  bool nesterov;
  bool first;  // the buffer has no value yet
};

template <class T>
struct RMSpropStep {
  T weight_decay, alpha, one_minus_alpha, eps, momentum, rate;
};

template <class T>
struct AdagradStep {
  T weight_decay, eps, rate;
};

template <class T>
struct OptimizerTable {
  // One step for `count` numbers; max_exp_avg_sq is null without amsgrad, buffer without momentum.
  void (*adam)(const AdamStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* exp_avg, T* exp_avg_sq, T* max_exp_avg_sq);
  void (*sgd)(const SGDStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* buffer);
  // grad_avg is null where it is not centered, buffer without momentum.
  void (*rmsprop)(const RMSpropStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* square_avg, T* grad_avg, T* buffer);
  void (*adagrad)(const AdagradStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* sum);
};

struct OptimizerKernels {
  OptimizerTable<float> in_float;
  OptimizerTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(OptimizerKernels, optimizer_kernels)

}  // namespace kernels

// %%
//| export kernels/optimizer_steps.simd.cpp
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

// %%
//| export kernels/optimizer_steps.cpp
namespace {
template <class T>
const kernels::OptimizerTable<T>& optimizer_table() {
  using namespace kernels;
  static constexpr const OptimizerKernels* tables[] = TINYTORCH_PER_CAPABILITY(optimizer_kernels);
  const OptimizerKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// The parameters of a group that have gradients, and what the optimizer keeps for them, in the same order. A list that is not used is empty.
struct StepTensors {
  std::vector<Tensor> parameters, grads, first, second, third;
  std::vector<std::int64_t> counts;  // of the steps, this one included; for SGD whether it is the first
};

// Whether the numbers of `t` lie one after another in the order in which the parameter's do, as rows or with channels last.
bool lies_as(const Tensor& parameter, const Tensor& t) {
  if (parameter.is_contiguous()) return t.is_contiguous() && t.numel() == parameter.numel();
  return parameter.is_contiguous(MemoryFormat::ChannelsLast) && t.sizes() == parameter.sizes() && t.is_contiguous(MemoryFormat::ChannelsLast);
}

// All of one dtype, float or double, dense, in the order of their parameter, and in the host's memory.
bool fit_one_walk(const StepTensors& tensors) {
  const ScalarType type = tensors.parameters[0].scalar_type();
  if (type != kFloat && type != kDouble) return false;
  for (const std::vector<Tensor>* list : {&tensors.parameters, &tensors.grads, &tensors.first, &tensors.second, &tensors.third}) {
    for (std::size_t i = 0; i < list->size(); ++i) {
      const Tensor& t = (*list)[i];
      if (!t.defined() || t.scalar_type() != type || t.is_elsewhere() || !lies_as(tensors.parameters[i], t)) return false;
    }
  }
  return true;
}

// Calls f(i, first, count) for pieces of all parameters, on all threads.
template <class F>
void for_pieces(TensorList parameters, F f) {
  struct Piece {
    std::size_t i;
    std::int64_t first, count;
  };
  constexpr std::int64_t most = 1 << 14;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    for (std::int64_t first = 0; first < parameters[i].numel(); first += most) pieces.push_back({i, first, std::min(most, parameters[i].numel() - first)});
  // Small parameters share a task: tasks end where `most` numbers are together.
  std::vector<std::size_t> ends;
  std::int64_t together = 0;
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    together += pieces[k].count;
    if (together < most && k + 1 < pieces.size()) continue;
    ends.push_back(k + 1);
    together = 0;
  }
  kernels::run_tasks(static_cast<std::int64_t>(ends.size()), [&](std::int64_t task) {
    const auto t = static_cast<std::size_t>(task);
    for (std::size_t k = t == 0 ? 0 : ends[t - 1]; k < ends[t]; ++k) f(pieces[k].i, pieces[k].first, pieces[k].count);
  });
}

template <class T>
T* place_in(TensorList list, std::size_t i, std::int64_t first) {
  return list.empty() ? nullptr : list[i].data<T>() + first;
}

// The operators return whether they did it. On the layer CPU nothing does: the optimizer composes.
using AdamOperator = Operator<bool(TensorList, TensorList, TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, double, bool)>;
bool no_fused_adam(TensorList, TensorList, TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, double, bool) { return false; }
constinit AdamOperator fused_adam("fused_adam", {.cpu = no_fused_adam});

bool fused_adam_tuned(TensorList parameters, TensorList grads, TensorList exp_avgs, TensorList exp_avg_sqs, TensorList max_exp_avg_sqs, IntArrayRef steps, double lr, double beta1, double beta2, double eps,
                      double weight_decay, bool decoupled) {
  const auto walk = [&]<class T>() {
    std::vector<kernels::AdamStep<T>> numbers;
    for (const std::int64_t step : steps) {
      const double correction1 = 1 - std::pow(beta1, static_cast<double>(step)), correction2 = 1 - std::pow(beta2, static_cast<double>(step));
      numbers.push_back({static_cast<T>(decoupled ? 1 - lr * weight_decay : 1), static_cast<T>(decoupled ? 0 : weight_decay), static_cast<T>(beta1), static_cast<T>(beta2), static_cast<T>(1 - beta1),
                         static_cast<T>(1 - beta2), static_cast<T>(1 / std::sqrt(correction2)), static_cast<T>(eps), static_cast<T>(lr / correction1)});
    }
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      optimizer_table<T>().adam(numbers[i], count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(exp_avgs, i, first), place_in<T>(exp_avg_sqs, i, first),
                                place_in<T>(max_exp_avg_sqs, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

using SGDOperator = Operator<bool(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, bool)>;
bool no_fused_sgd(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, bool) { return false; }
constinit SGDOperator fused_sgd("fused_sgd", {.cpu = no_fused_sgd});

bool fused_sgd_tuned(TensorList parameters, TensorList grads, TensorList buffers, IntArrayRef are_first, double lr, double momentum, double dampening, double weight_decay, bool nesterov) {
  const auto walk = [&]<class T>() {
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      const kernels::SGDStep<T> numbers{static_cast<T>(weight_decay), static_cast<T>(momentum), static_cast<T>(1 - dampening), static_cast<T>(lr), nesterov, are_first[i] != 0};
      optimizer_table<T>().sgd(numbers, count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(buffers, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

using RMSpropOperator = Operator<bool(TensorList, TensorList, TensorList, TensorList, TensorList, double, double, double, double, double)>;
bool no_fused_rmsprop(TensorList, TensorList, TensorList, TensorList, TensorList, double, double, double, double, double) { return false; }
constinit RMSpropOperator fused_rmsprop("fused_rmsprop", {.cpu = no_fused_rmsprop});

bool fused_rmsprop_tuned(TensorList parameters, TensorList grads, TensorList square_avgs, TensorList grad_avgs, TensorList buffers, double lr, double alpha, double eps, double weight_decay, double momentum) {
  const auto walk = [&]<class T>() {
    const kernels::RMSpropStep<T> numbers{static_cast<T>(weight_decay), static_cast<T>(alpha), static_cast<T>(1 - alpha), static_cast<T>(eps), static_cast<T>(momentum), static_cast<T>(lr)};
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      optimizer_table<T>().rmsprop(numbers, count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(square_avgs, i, first), place_in<T>(grad_avgs, i, first),
                                   place_in<T>(buffers, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

using AdagradOperator = Operator<bool(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double)>;
bool no_fused_adagrad(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double) { return false; }
constinit AdagradOperator fused_adagrad("fused_adagrad", {.cpu = no_fused_adagrad});

bool fused_adagrad_tuned(TensorList parameters, TensorList grads, TensorList sums, IntArrayRef steps, double lr, double lr_decay, double eps, double weight_decay) {
  const auto walk = [&]<class T>() {
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      const double rate = lr / (1 + static_cast<double>(steps[i] - 1) * lr_decay);
      const kernels::AdagradStep<T> numbers{static_cast<T>(weight_decay), static_cast<T>(eps), static_cast<T>(rate)};
      optimizer_table<T>().adagrad(numbers, count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(sums, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

// The state of `parameter`, made at first use.
template <class State>
State& state_for(optim::Optimizer& optimizer, const Tensor& parameter) {
  std::unique_ptr<optim::OptimizerParamState>& entry = optimizer.state()[parameter.unsafeGetTensorImpl()];
  if (!entry) entry = optimizer.make_state();
  return static_cast<State&>(*entry);
}

// Every parameter of the group that has a gradient, and the gradient.
StepTensors with_gradients(const optim::OptimizerParamGroup& group) {
  StepTensors tensors;
  for (const Tensor& parameter : group.params()) {
    if (!parameter.grad().defined()) continue;
    tensors.parameters.push_back(parameter);
    tensors.grads.push_back(parameter.grad());
  }
  return tensors;
}

// Counts the writes, as operators in place do.
void count_step(const StepTensors& tensors) {
  for (const std::vector<Tensor>* list : {&tensors.parameters, &tensors.first, &tensors.second, &tensors.third})
    for (const Tensor& tensor : *list) detail::bump_version(tensor);
}

template <class Options>
bool step_adam_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group, bool decoupled) {
  const auto& options = static_cast<const Options&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::AdamParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::AdamParamState>(optimizer, parameter);
    if (!state.exp_avg().defined()) {
      state.exp_avg(zeros_like(parameter));
      state.exp_avg_sq(zeros_like(parameter));
      if (options.amsgrad()) state.max_exp_avg_sq(zeros_like(parameter));
    }
    states.push_back(&state);
    tensors.first.push_back(state.exp_avg());
    tensors.second.push_back(state.exp_avg_sq());
    if (options.amsgrad()) tensors.third.push_back(state.max_exp_avg_sq());
    tensors.counts.push_back(state.step() + 1);
  }
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const auto [beta1, beta2] = options.betas();
  const bool done = fused_adam(tensors.parameters, tensors.grads, tensors.first, tensors.second, tensors.third, tensors.counts, options.lr(), beta1, beta2, options.eps(), options.weight_decay(), decoupled);
  if (!done) return false;
  for (std::size_t i = 0; i < states.size(); ++i) states[i]->step(tensors.counts[i]);
  count_step(tensors);
  return true;
}

bool step_sgd_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const optim::SGDOptions&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::SGDParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::SGDParamState>(optimizer, parameter);
    if (options.momentum() == 0) continue;
    states.push_back(&state);
    tensors.counts.push_back(state.momentum_buffer().defined() ? 0 : 1);
    tensors.first.push_back(state.momentum_buffer().defined() ? state.momentum_buffer() : empty_like(parameter));
  }
  tensors.counts.resize(tensors.parameters.size());
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const bool done = fused_sgd(tensors.parameters, tensors.grads, tensors.first, tensors.counts, options.lr(), options.momentum(), options.dampening(), options.weight_decay(), options.nesterov());
  if (!done) return false;
  for (std::size_t i = 0; i < states.size(); ++i) states[i]->momentum_buffer() = tensors.first[i];
  count_step(tensors);
  return true;
}

bool step_rmsprop_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const optim::RMSpropOptions&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::RMSpropParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::RMSpropParamState>(optimizer, parameter);
    if (!state.square_avg().defined()) state.square_avg(zeros_like(parameter));
    if (options.centered() && !state.grad_avg().defined()) state.grad_avg(zeros_like(parameter));
    if (options.momentum() > 0 && !state.momentum_buffer().defined()) state.momentum_buffer(zeros_like(parameter));
    states.push_back(&state);
    tensors.first.push_back(state.square_avg());
    if (options.centered()) tensors.second.push_back(state.grad_avg());
    if (options.momentum() > 0) tensors.third.push_back(state.momentum_buffer());
  }
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const bool done = fused_rmsprop(tensors.parameters, tensors.grads, tensors.first, tensors.second, tensors.third, options.lr(), options.alpha(), options.eps(), options.weight_decay(), options.momentum());
  if (!done) return false;
  for (optim::RMSpropParamState* const state : states) state->step(state->step() + 1);
  count_step(tensors);
  return true;
}

bool step_adagrad_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const optim::AdagradOptions&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::AdagradParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::AdagradParamState>(optimizer, parameter);
    if (!state.sum().defined()) state.sum(full_like(parameter, options.initial_accumulator_value()));
    states.push_back(&state);
    tensors.first.push_back(state.sum());
    tensors.counts.push_back(state.step() + 1);
  }
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const bool done = fused_adagrad(tensors.parameters, tensors.grads, tensors.first, tensors.counts, options.lr(), options.lr_decay(), options.eps(), options.weight_decay());
  if (!done) return false;
  for (std::size_t i = 0; i < states.size(); ++i) states[i]->step(tensors.counts[i]);
  count_step(tensors);
  return true;
}
}  // namespace

// %%
//| export kernels/optimizer_steps.cpp
//| registers
void register_fused_optimizers() {
  fused_adam.set(Layer::TunedCPU, fused_adam_tuned);
  fused_sgd.set(Layer::TunedCPU, fused_sgd_tuned);
  fused_rmsprop.set(Layer::TunedCPU, fused_rmsprop_tuned);
  fused_adagrad.set(Layer::TunedCPU, fused_adagrad_tuned);
  optim::Adam::group_step = [](optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) { return step_adam_group<optim::AdamOptions>(optimizer, group, false); };
  optim::AdamW::group_step = [](optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) { return step_adam_group<optim::AdamWOptions>(optimizer, group, true); };
  optim::SGD::group_step = step_sgd_group;
  optim::RMSprop::group_step = step_rmsprop_group;
  optim::Adagrad::group_step = step_adagrad_group;
}

// %%
//| lesson
// Parameters of odd sizes after some steps of an optimizer, one of them without a gradient at first.
template <class MakeOptimizer>
std::vector<Tensor> stepped(ScalarType type, MakeOptimizer make_optimizer) {
  manual_seed(11);
  std::vector<Tensor> parameters;
  for (const DimVector& sizes : {DimVector{3, 5}, DimVector{1}, DimVector{130, 257}, DimVector{17}, DimVector{}, DimVector{0}}) parameters.push_back(randn(sizes, type).requires_grad_());
  auto optimizer = make_optimizer(parameters);
  for (int step = 0; step < 5; ++step) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (i != 3 || step > 1) parameters[i].mutable_grad() = randn(parameters[i].sizes(), type);
    optimizer.step();
  }
  for (Tensor& parameter : parameters) parameter = parameter.detach();
  return parameters;
}

// %%
TEST_CASE("fused optimizers: the reference's parameters after some steps, with the same bits for any number of threads") {
  using namespace optim;
  const auto compare = [](auto make_optimizer) {
    for (const ScalarType type : {kFloat, kDouble}) {
      const auto run = [&] { return stepped(type, make_optimizer); };
      const std::vector<Tensor> expected = by_reference(run);
      const double tolerance = type == kFloat ? 2e-6 : 1e-14;
      for_each_capability([&] {
        const std::vector<Tensor> tuned = run();
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance);
      });
      const std::vector<Tensor> alone = with_threads(1, run), together = with_threads(3, run);
      for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
    }
  };
  using Parameters = std::vector<Tensor>;
  compare([](const Parameters& p) { return Adam(p, AdamOptions(0.01)); });
  compare([](const Parameters& p) { return Adam(p, AdamOptions(0.01).weight_decay(0.1).amsgrad(true).betas({0.8, 0.95})); });
  compare([](const Parameters& p) { return AdamW(p, AdamWOptions(0.01).weight_decay(0.1)); });
  compare([](const Parameters& p) { return AdamW(p, AdamWOptions(0.01).amsgrad(true)); });
  compare([](const Parameters& p) { return SGD(p, SGDOptions(0.01)); });
  compare([](const Parameters& p) { return SGD(p, SGDOptions(0.01).momentum(0.9).weight_decay(0.1).dampening(0.5)); });
  compare([](const Parameters& p) { return SGD(p, SGDOptions(0.01).momentum(0.9).nesterov(true)); });
  compare([](const Parameters& p) { return RMSprop(p, RMSpropOptions(0.01)); });
  compare([](const Parameters& p) { return RMSprop(p, RMSpropOptions(0.01).alpha(0.9).weight_decay(0.1).momentum(0.9).eps(1e-3)); });
  compare([](const Parameters& p) { return RMSprop(p, RMSpropOptions(0.01).alpha(0.9).centered(true).eps(0.1)); });
  compare([](const Parameters& p) { return Adagrad(p, AdagradOptions(0.01)); });
  compare([](const Parameters& p) { return Adagrad(p, AdagradOptions(0.01).lr_decay(0.3).weight_decay(0.1).initial_accumulator_value(0.5).eps(1e-3)); });
}

TEST_CASE("fused optimizers: parameters with channels last are walked as they lie, and what is kept of them lies so too") {
  if (!birth_layers.has(Layer::TunedCPU)) return;  // TINYTORCH_KERNELS=reference
  static int walks = 0;
  static decltype(optim::Adam::group_step) kept = nullptr;
  kept = std::exchange(optim::Adam::group_step, [](optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) {
    const bool done = kept(optimizer, group);
    walks += done ? 1 : 0;
    return done;
  });
  manual_seed(12);
  const Tensor images = randn({4, 5, 3, 3}), grad = randn({4, 5, 3, 3});
  const auto stepped_in = [&](MemoryFormat order, MemoryFormat order_of_grad) {
    const Tensor parameter = images.clone(order).requires_grad_(), other = ones({3}).requires_grad_();
    optim::Adam optimizer({parameter, other}, optim::AdamOptions(0.1));
    for (int step = 0; step < 3; ++step) {
      parameter.mutable_grad() = (grad * (step + 1)).contiguous(order_of_grad);
      other.mutable_grad() = ones({3});
      optimizer.step();
    }
    const Tensor moment = static_cast<const optim::AdamParamState&>(*optimizer.state().at(parameter.unsafeGetTensorImpl())).exp_avg();
    CHECK(moment.is_contiguous(order));
    CHECK_CLOSE(moment, grad * (0.1 * (0.81 + 2 * 0.9 + 3)), 1e-5, 1e-6);
    return parameter.detach();
  };
  const Tensor expected = stepped_in(MemoryFormat::Contiguous, MemoryFormat::Contiguous);
  CHECK_EQ(walks, 3);
  CHECK_EQ(stepped_in(MemoryFormat::ChannelsLast, MemoryFormat::ChannelsLast), expected);
  CHECK_EQ(walks, 6);
  // A gradient in another order than its parameter is composed.
  CHECK_CLOSE(stepped_in(MemoryFormat::ChannelsLast, MemoryFormat::Contiguous), expected, 1e-5, 1e-5);
  CHECK_EQ(walks, 6);
  optim::Adam::group_step = kept;
}

TEST_CASE("fused optimizers: RMSprop without momentum and Adagrad have the bits of the kernels that they were composed of") {
  using namespace optim;
  const auto compare = [](auto make_optimizer, auto& group_step) {
    for (const ScalarType type : {kFloat, kDouble}) {
      for_each_capability([&] {
        const Tensor fused = stepped(type, make_optimizer)[2];
        const auto kept = group_step;
        group_step = nullptr;
        const Tensor composed = stepped(type, make_optimizer)[2];
        group_step = kept;
        CHECK_EQ(fused, composed);
      });
    }
  };
  using Parameters = std::vector<Tensor>;
  if (!birth_layers.has(Layer::TunedCPU)) return;  // TINYTORCH_KERNELS=reference
  compare([](const Parameters& p) { return RMSprop(p, RMSpropOptions(0.01).weight_decay(0.1)); }, RMSprop::group_step);
  compare([](const Parameters& p) { return RMSprop(p, RMSpropOptions(0.01).centered(true).eps(0.1)); }, RMSprop::group_step);
  compare([](const Parameters& p) { return Adagrad(p, AdagradOptions(0.01).lr_decay(0.3).weight_decay(0.1)); }, Adagrad::group_step);
}

TEST_CASE("fused optimizers: the kernel runs, counts its writes, and leaves to the reference what has gaps") {
  const Tensor p = ones({4}).requires_grad_(), wide = ones({4, 6});
  const Tensor gaps = wide.slice(1, 0, 3).requires_grad_();
  p.mutable_grad() = ones({4});
  optim::AdamW dense({p}, 0.1), strided({gaps}, 0.1);
  optim::OptimizerParamGroup& group = dense.param_groups()[0];
  const bool tuned = birth_layers.has(Layer::TunedCPU);  // not with TINYTORCH_KERNELS=reference
  const auto version = p._version();
  CHECK_EQ(optim::AdamW::group_step(dense, group), tuned);
  if (tuned) CHECK_GT(p._version(), version);
  {
    const kernels::ReferenceKernelsGuard reference;
    CHECK_FALSE(optim::AdamW::group_step(dense, group));
  }
  gaps.mutable_grad() = ones({4, 3});
  CHECK_FALSE(optim::AdamW::group_step(strided, strided.param_groups()[0]));
  strided.step();
  CHECK_CLOSE(gaps.detach(), full({4, 3}, 1 - 0.001 - 0.1), 1e-5, 1e-5);
  CHECK_EQ(wide.slice(1, 3, 6), ones({4, 3}));
}

// %% [markdown]
// ## Rows of tables
//
// An embedding copies rows, `index_select` copies pieces, and their gradients add rows to where they came from. A copy of a whole row is one call of chapter 50's `copy_bytes`; all that is left to do is to divide the work. Reading is easy: each task has some of the results. Adding is not, because several positions may name one row: if each task took some positions,
// two could add to one row at once, and the order, with it the bits, would be a race. So each task owns some *rows* of the table, walks over all positions, and takes those that name its rows, in their order:
//
//     indices    7 2 7 0 2 9 ...           task 0 owns rows 0 to 4:  adds positions 1 3 4
//                                          task 1 owns rows 5 to 9:  adds positions 0 2 5
//
// Every row gets its additions in the order of the positions, as from the reference: the same bits. With one thread there is one task, which reads what it adds from end to end.
//
// `flip` asks for the rows from the last to the first. Its gradient is a `flip` again, so it adds nothing to zeros.
//
// `embedding_bag` (chapter 58) adds rows up by bags. A bag's sums stay in registers while its rows pass: four vectors of columns at a time, so that four additions are under way, and then the next four. No column needs to know of another one, and each gets its additions in the order of the ids.

// %%
//| export kernels/bag_kernels.h
namespace kernels {

// out[d] = the sum of table[ids[i] D + d] over the `count` ids, in their order, without those that are `left_out`, divided by `size`; for d < D. O(count D).
template <class T>
using SumRows = void (*)(const T* table, std::int64_t D, const std::int64_t* ids, std::int64_t count, std::int64_t left_out, T size, T* out);

struct BagKernels {
  SumRows<float> of_float;
  SumRows<double> of_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(BagKernels, bag_kernels)

}  // namespace kernels

// %%
//| export kernels/bags.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
void sum_rows(const T* table, std::int64_t D, const std::int64_t* ids, std::int64_t count, std::int64_t left_out, T size, T* out) {
  const hn::ScalableTag<T> tag;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>()), together = lanes == 1 ? 16 : 4;
  const auto divisor = hn::Set(tag, size);
  std::int64_t d = 0;
  for (; d + together * lanes <= D; d += together * lanes) {
    hn::Vec<hn::ScalableTag<T>> sums[together];
    for (auto& sum : sums) sum = hn::Zero(tag);
    for (std::int64_t i = 0; i < count; ++i) {
      if (ids[i] == left_out) continue;
      const T* const row = table + ids[i] * D + d;
      for (std::int64_t k = 0; k < together; ++k) sums[k] = hn::Add(sums[k], hn::LoadU(tag, row + k * lanes));
    }
    for (std::int64_t k = 0; k < together; ++k) hn::StoreU(hn::Div(sums[k], divisor), tag, out + d + k * lanes);
  }
  for (; d < D; d += lanes) {
    const std::int64_t columns = D - d;
    auto sum = hn::Zero(tag);
    for (std::int64_t i = 0; i < count; ++i) {
      if (ids[i] == left_out) continue;
      const T* const row = table + ids[i] * D + d;
      sum = hn::Add(sum, columns >= lanes ? hn::LoadU(tag, row) : LoadPart(tag, row, columns));
    }
    if (columns >= lanes) hn::StoreU(hn::Div(sum, divisor), tag, out + d);
    else StorePart(hn::Div(sum, divisor), tag, out + d, columns);
  }
}
}  // namespace

constinit const BagKernels bag_kernels = {sum_rows<float>, sum_rows<double>};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/table_rows.cpp
namespace {
// Whether all indices are in [0, rows); the reference says which are not.
bool are_rows(const Tensor& ids, std::int64_t rows) { return rows > 0 && kernels::chosen_data_kernels().are_within(ids.data<std::int64_t>(), ids.numel(), rows); }

// Calls f<T> for dtypes whose elements these functions add; false for others.
template <class F>
bool with_element(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else if (type == kDouble) f.template operator()<double>();
  else if (type == kLong) f.template operator()<std::int64_t>();
  else return false;
  return true;
}

Tensor flat_long(const Tensor& indices) { return indices.to(kLong).contiguous().view({indices.numel()}); }

// Whether they are i, i - 1, i - 2, ...
bool falls_by_one(const std::int64_t* id, std::int64_t count) {
  std::int64_t off = 0;
  for (std::int64_t i = 1; i < count; ++i) off |= id[i] + i - id[0];
  return off == 0;
}

// out (outer, count, inner) = from (outer, rows, inner) at ids (count) along the middle.
template <class T>
void copy_table_rows(T* out, const T* from, const std::int64_t* ids, std::int64_t outer, std::int64_t count, std::int64_t rows, std::int64_t inner) {
  const std::int64_t together = std::max<std::int64_t>(1, (1 << 15) / inner);
  const bool turns = inner == 1 && falls_by_one(ids, count);  // as flip() asks for them
  parallel_for(0, outer * count, together, [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop;) {
      const T* const table = from + i / count * rows * inner;
      const std::int64_t* const id = ids + i % count;
      const std::int64_t picked = std::min(stop - i, count - i % count);  // of this table
      if (turns) kernels::bits_table<T>().reverse(table + id[picked - 1], picked, out + i);
      else if (inner == 1) for (std::int64_t j = 0; j < picked; ++j) out[i + j] = table[id[j]];
      else for (std::int64_t j = 0; j < picked; ++j) kernels::copy_bytes(out + (i + j) * inner, table + id[j] * inner, inner * static_cast<std::int64_t>(sizeof(T)));
      i += picked;
    }
  });
}

// table (rows, D)[ids[i]] += grad (count, D)[i], but for the positions of padding_idx.
template <class T>
void add_table_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows, std::int64_t D, std::int64_t padding_idx) {
  if (D == 1 && padding_idx < 0) {  // so little that the processor shall see nothing else in its way
    for (std::int64_t i = 0; i < count; ++i) table[ids[i]] += grad[i];
    return;
  }
  // To pass over a position costs as much as to add a number or two, so short rows are not divided so often.
  const std::int64_t tasks = std::clamp<std::int64_t>(count * D / (1 << 15), 1, std::min({rows, get_num_threads() == 1 ? std::int64_t{1} : std::int64_t{16}, D / 4 + 1}));
  kernels::run_tasks(tasks, [&](std::int64_t task) {
    const std::int64_t first = rows * task / tasks, stop = rows * (task + 1) / tasks;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = ids[i];
      if (row < first || row >= stop || row == padding_idx) continue;
      T* const to = table + row * D;
      const T* const from = grad + i * D;
      for (std::int64_t d = 0; d < D; ++d) to[d] = static_cast<T>(to[d] + from[d]);
    }
  });
}

Tensor embedding_tuned(const Tensor& weight, const Tensor& indices, std::int64_t padding_idx, bool scale_grad_by_freq) {
  const Tensor ids = flat_long(indices);
  DimVector sizes(indices.sizes());
  sizes.push_back(weight.size(1));
  const bool ours = weight.is_contiguous() && weight.size(1) > 0 && ids.numel() > 0 && are_rows(ids, weight.size(0));
  if (!ours) return op::embedding.function(Layer::CPU)(weight, indices, padding_idx, scale_grad_by_freq);
  const Tensor result = empty(sizes, weight.scalar_type());
  kernels::with_bits(weight.element_size(), [&]<class U>() {
    copy_table_rows(static_cast<U*>(result.data_ptr()), static_cast<const U*>(weight.data_ptr()), ids.data<std::int64_t>(), 1, ids.numel(), weight.size(0), weight.size(1));
  });
  return result;
}

Tensor embedding_backward_tuned(const Tensor& grad_output, const Tensor& indices, std::int64_t num_weights, std::int64_t padding_idx, bool scale_grad_by_freq) {
  const Tensor ids = flat_long(indices);
  const bool is_float = grad_output.scalar_type() == kFloat || grad_output.scalar_type() == kDouble;
  if (!is_float || scale_grad_by_freq || grad_output.numel() == 0 || !are_rows(ids, num_weights))
    return op::embedding_dense_backward.function(Layer::CPU)(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq);
  const Tensor grad = grad_output.contiguous(), result = zeros({num_weights, grad.size(-1)}, grad.scalar_type());
  with_element(grad.scalar_type(),
               [&]<class T>() { add_table_rows(result.data<T>(), grad.data<T>(), ids.data<std::int64_t>(), ids.numel(), num_weights, grad.size(-1), padding_idx); });
  return result;
}

template <class T>
kernels::SumRows<T> sum_rows_kernel() {
  using namespace kernels;
  static constexpr const BagKernels* tables[] = TINYTORCH_PER_CAPABILITY(bag_kernels);
  const BagKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.of_float;
  else return chosen.of_double;
}

// The bags are divided among threads.
Tensor sum_bags_tuned(const Tensor& table, const Tensor& ids, const Tensor& bounds, bool mean, std::int64_t left_out) {
  const std::int64_t D = table.size(1), bags = bounds.numel() - 1;
  const bool ours = (table.scalar_type() == kFloat || table.scalar_type() == kDouble) && are_rows(ids, table.size(0));
  if (!ours) return op::sum_bags.function(Layer::CPU)(table, ids, bounds, mean, left_out);
  const Tensor result = empty({bags, D}, table.scalar_type());
  with_element(table.scalar_type(), [&]<class T>() {
    if constexpr (std::is_floating_point_v<T>) {
      const std::int64_t together = (1 << 15) / std::max<std::int64_t>(1, ids.numel() * D / std::max<std::int64_t>(1, bags)) + 1;
      parallel_for(0, bags, together, [&, sum_rows = sum_rows_kernel<T>(), rows = table.data<T>(), out = result.data<T>(), id = ids.data<std::int64_t>(), bound = bounds.data<std::int64_t>()](std::int64_t first, std::int64_t stop) {
        for (std::int64_t bag = first; bag < stop; ++bag) {
          const std::int64_t* const begin = id + bound[bag];
          const std::int64_t count = bound[bag + 1] - bound[bag], summed = mean ? count - std::count(begin, begin + count, left_out) : 1;
          sum_rows(rows, D, begin, count, left_out, static_cast<T>(std::max<std::int64_t>(1, summed)), out + bag * D);
        }
      });
    }
  });
  return result;
}

// How many numbers lie behind one place of the dimension. Not its stride, which may be anything where the size is 1.
std::int64_t inner_numbers(const Tensor& self, std::int64_t dim) { return multiply_sizes(self.sizes().slice(static_cast<std::size_t>(dim) + 1)); }

Tensor index_select_tuned(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const auto reference = [&] { return op::index_select.function(Layer::CPU)(self, dim, index); };
  if (self.dim() == 0 || self.numel() == 0 || index.numel() == 0 || !self.is_contiguous()) return reference();
  const Tensor ids = flat_long(index);
  const std::int64_t rows = self.size(dim), inner = inner_numbers(self, dim);
  if (!are_rows(ids, rows)) return reference();
  DimVector sizes(self.sizes());
  sizes[static_cast<std::size_t>(dim)] = ids.numel();
  const Tensor result = empty(sizes, self.scalar_type());
  kernels::with_bits(self.element_size(), [&]<class U>() {
    copy_table_rows(static_cast<U*>(result.data_ptr()), static_cast<const U*>(self.data_ptr()), ids.data<std::int64_t>(), self.numel() / (rows * inner), ids.numel(), rows, inner);
  });
  return result;
}

// What is turned around is turned back. Other rows are added to where they came from.
Tensor index_select_backward(const Tensor& g, IntArrayRef sizes, std::int64_t dim, const Tensor& index) {
  const std::int64_t rows = sizes.empty() ? 0 : sizes[static_cast<std::size_t>(dim)];
  if (index.numel() == rows && rows > 0) {
    const Tensor ids = flat_long(index);
    if (ids.data<std::int64_t>()[0] == rows - 1 && falls_by_one(ids.data<std::int64_t>(), rows)) return index_select(g, dim, index);
  }
  return index_add(zeros(sizes, g.options()), dim, index, g);
}

// x (outer, rows, inner) += from (outer, count, inner) at ids (count) along the middle. Tables before the last dimension but one are divided among threads.
template <class T>
void add_along(T* x, const T* from, const std::int64_t* ids, std::int64_t outer, std::int64_t count, std::int64_t rows, std::int64_t inner) {
  if (outer == 1) return add_table_rows(x, from, ids, count, rows, inner, -1);
  parallel_for(0, outer, std::max<std::int64_t>(1, (1 << 15) / (count * inner)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) {
      T* const table = x + i * rows * inner;
      const T* const rows_from = from + i * count * inner;
      if (inner == 1) {
        for (std::int64_t k = 0; k < count; ++k) table[ids[k]] += rows_from[k];
        continue;
      }
      for (std::int64_t k = 0; k < count; ++k)
        for (std::int64_t d = 0; d < inner; ++d) table[ids[k] * inner + d] += rows_from[k * inner + d];
    }
  });
}

// Contiguous tensors that share no memory.
const Tensor& index_add_tuned(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const auto hand_down = [&]() -> const Tensor& { return op::index_add_.function(Layer::CPU)(self, dim, index, source); };
  const bool ours = self.dim() > 0 && source.numel() > 0 && source.dim() == self.dim() && self.is_contiguous() && !source.is_alias_of(self) && !index.is_alias_of(self);
  if (!ours) return hand_down();
  const Tensor ids = flat_long(index), from = source.contiguous();
  const std::int64_t rows = self.size(dim), inner = inner_numbers(self, dim);
  if (!are_rows(ids, rows)) return hand_down();
  const bool done = with_element(self.scalar_type(), [&]<class T>() {
    add_along(self.data<T>(), from.data<T>(), ids.data<std::int64_t>(), self.numel() / (rows * inner), ids.numel(), rows, inner);
  });
  return done ? self : hand_down();
}
}  // namespace

// %%
//| export kernels/table_rows.cpp
//| registers
void register_tuned_table_rows() {
  op::embedding.set(Layer::TunedCPU, embedding_tuned);
  op::embedding_dense_backward.set(Layer::TunedCPU, embedding_backward_tuned);
  op::index_select.set(Layer::TunedCPU, index_select_tuned);
  op::index_add_.set(Layer::TunedCPU, index_add_tuned);
  op::sum_bags.set(Layer::TunedCPU, sum_bags_tuned);
  kernels::fused_gradient<op::index_select>(
      [](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Input<2> index) { return index_select_backward(g, sizes, dim, index); },
      no_gradient);
}

// %%
TEST_CASE("rows of tables: the reference's bits, for repeated indices, with padding, and on any number of threads") {
  manual_seed(774);
  const Tensor table = randn({50, 70}), ids = randint(0, 50, {40, 30}), three = randn({4, 50, 6});
  const auto results = [&] {
    const Tensor weight = table.clone().requires_grad_();
    const Tensor rows = embedding(weight, ids, 3);
    rows.backward(arange(40 * 30 * 70).remainder(17).to(kFloat).view({40, 30, 70}));
    const Tensor narrow = table.narrow(1, 0, 1).contiguous().requires_grad_();
    embedding(narrow, ids, 3).sum().backward();
    const Tensor sum = table.clone();
    sum.index_add_(0, ids.view({1200}), ones({1200, 70}) * 0.1);
    return std::vector<Tensor>{rows.detach(), weight.grad(), narrow.grad(), sum, three.index_select(1, ids.select(0, 0)), three.index_select(2, tensor({5, 0, 5})), three.index_select(0, tensor({3})),
                               three.transpose(0, 1).index_select(1, tensor({2, 2})), table.to(kLong).index_select(0, tensor({49, 0})),
                               three.flip({2}), table.flip({0, 1}), table.to(kByte).flip({1}), table.to(kInt).flip({1}), table.to(kDouble).flip({1}), table.to(kHalf).flip({1}),
                               three.index_add(1, ids.select(0, 0), ones({4, 30, 6}) * 0.1), three.index_add(2, tensor({5, 0, 5}), ones({4, 50, 3}) * 0.1),
                               table.to(kLong).index_add(1, tensor({5, 0, 5}), ones({50, 3}, kLong)), zeros({50}).index_add_(0, ids.view({1200}), ones({1200}) * 0.1),
                               bincount(ids.view({1200})), bincount(ids.view({1200}), ones({1200}) * 0.1, 60),
                               embedding(table.to(kHalf), ids), embedding(table.to(kBFloat16), ids)};
  };
  const std::vector<Tensor> expected = by_reference(results), alone = with_threads(1, results), together = with_threads(3, results);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK_EQ(alone[i], expected[i]);
    CHECK_EQ(together[i], expected[i]);
  }
  const auto turned_gradients = [&] {
    std::vector<Tensor> gradients;
    for (const Tensor& x : {three, table, three.transpose(0, 2), table.to(kDouble), table.to(kHalf), table.select(0, 0)}) {
      for (std::int64_t dim = 0; dim < x.dim(); ++dim) {
        const Tensor leaf = x.detach().requires_grad_();
        const Tensor first = autograd::grad({leaf.flip({dim}).pow(3).sum()}, {leaf}, {}, std::nullopt, true)[0];
        gradients.push_back(first.detach());
        gradients.push_back(autograd::grad({(first * first.detach()).sum()}, {leaf})[0]);
        for (const Tensor& index : {arange(x.size(dim) - 2, -1, -1), arange(x.size(dim) - 1, 0, -1), arange(x.size(dim)), (arange(x.size(dim)) * 3).remainder(x.size(dim))}) {
          leaf.index_select(dim, index).pow(2).sum().backward();
          gradients.push_back(leaf.grad());
          leaf.mutable_grad() = Tensor();
        }
      }
    }
    return gradients;
  };
  const std::vector<Tensor> expected_gradients = by_reference(turned_gradients), their_gradients = turned_gradients(), with_five = with_threads(5, turned_gradients);
  for (std::size_t i = 0; i < expected_gradients.size(); ++i) {
    CAPTURE(i);
    CHECK_EQ(their_gradients[i], expected_gradients[i]);
    CHECK_EQ(with_five[i], expected_gradients[i]);
  }
  CHECK_ERROR(embedding(table, tensor({50})), "index out of range in self");
  CHECK_ERROR(table.index_select(0, tensor({-1})), "index -1 is out of bounds for dimension 0 with size 50");
  // A row of a wider matrix: the stride of its first dimension, of size 1, is the matrix's.
  const Tensor wide = zeros({4, 40}), row = wide.narrow(1, 20, 20).narrow(0, 3, 1);
  row.index_add_(0, zeros({2}, kLong), ones({2, 20}));
  CHECK_EQ(row, full({1, 20}, 2.0));
  CHECK_EQ(row.index_select(0, zeros({3}, kLong)), full({3, 20}, 2.0));
}

TEST_CASE("bags of rows: the reference's bits for every width, with ids that are left out, and on any number of threads") {
  manual_seed(775);
  const Tensor ids = randint(0, 40, {3000}), bounds = tensor({0, 0, 1, 20, 20, 21, 700, 2990});
  for (const ScalarType type : {kFloat, kDouble})
    for (const std::int64_t D : {1, 3, 16, 20, 33, 64, 91, 128, 200}) {
      const Tensor table = randn({40, D}, type);
      table[7].fill_(std::nan(""));
      table[8].fill_(std::numeric_limits<double>::infinity());
      for (const bool mean : {false, true})
        for (const std::int64_t left_out : {-1, 7, 12}) {
          CAPTURE(D);
          CAPTURE(left_out);
          const auto bags = [&] { return op::sum_bags(table, ids, bounds, mean, left_out).nan_to_num(-77, 99, -99); };
          const Tensor expected = by_reference(bags);
          CHECK_EQ(expected.sizes(), IntArrayRef({7, D}));
          CHECK_EQ(expected[0], zeros({D}, type));
          for_each_capability([&] { CHECK_EQ(bags(), expected); });
          CHECK_EQ(with_threads(3, bags), expected);
        }
    }
  // Two rows of a bag and a third that is left out, by hand.
  const Tensor small = tensor({{1.0, 2.0}, {3.0, 5.0}, {7.0, 11.0}});
  CHECK_EQ(op::sum_bags(small, tensor({0, 1, 2}), tensor({0, 3}), true, 1), tensor({{4.0, 6.5}}));
  CHECK_EQ(op::sum_bags(small, tensor({2, 2}), tensor({0, 2, 2}), false, -1), tensor({{14.0, 22.0}, {0.0, 0.0}}));
  CHECK_ERROR(op::sum_bags(small, tensor({0, 3}), tensor({0, 2}), false, -1), "index out of range in self\n[embedding_bag] found the index 3, but the table has 3 rows.");
  CHECK_ERROR(op::sum_bags(small, tensor({-1}), tensor({0, 1}), false, -1), "found the index -1, but the table has 3 rows.");
}

// %%
DEMO("activations with their gradients, of images of LeNet-5: reference and tuned, one thread") {
  const int before = get_num_threads();
  set_num_threads(1);
  const Tensor image = relu(randn({64, 6, 28, 28})), grad = randn({64, 6, 28, 28});
  const auto seconds = [](const auto& f) { return measure([&] { do_not_optimize(f()); }, {.samples = 3}).minimum; };
  const auto compare = [&](const char* what, const auto& f) {
    const double tuned = seconds(f), reference = by_reference([&] { return seconds(f); });
    std::printf("  %-28s %9.1f us   reference %9.1f us   %5.1f times\n", what, tuned * 1e6, reference * 1e6, reference / tuned);
  };
  for (const Activation& activation : kActivations) compare(activation.name, [&] {
    const Tensor leaf = image.detach().requires_grad_();
    activation.call(leaf).backward(grad);
    return leaf.grad();
  });
  set_num_threads(before);
}

DEMO("one step of AdamW for 10.8 million parameters, one thread") {
  const int before_threads = get_num_threads();
  set_num_threads(1);
  std::vector<Tensor> parameters;
  for (int i = 0; i < 75; ++i) parameters.push_back(randn({144000}).requires_grad_());
  for (const Tensor& parameter : parameters) parameter.mutable_grad() = randn({144000});
  optim::AdamW optimizer(parameters, 1e-3);
  optimizer.step();
  const std::size_t before = memory::stats().live;
  memory::reset_peak();
  const auto seconds = [&] { return measure([&] { do_not_optimize(optimizer.step()); }, {.samples = 3}).minimum; };
  const double tuned = seconds(), reference = by_reference(seconds), bytes = 28.0 * 75 * 144000;
  std::printf("  p, g, m, v read, p, m, v written %8.2f GB/s   reference %8.2f GB/s   %5.1f times\n", bytes / tuned * 1e-9, bytes / reference * 1e-9, reference / tuned);
  std::printf("  beside its state, a fused step allocates nothing; the reference's temporaries took %s\n", format_bytes(static_cast<std::int64_t>(memory::stats().peak - before)).c_str());
  set_num_threads(before_threads);
}

// %% [markdown]
// ## Where to read on
//
// PyTorch has slopes as operators of their own (`threshold_backward`, `gelu_backward`, in `aten/src/ATen/native/cpu/Activation.cpp`), written with its `Vectorized` class. Compilers go further: XLA and `torch.compile` join a slope with the product before it, so that the gradient is not written at all.
//
// - **Optimizers.** `torch/optim/_functional` composes, `foreach` makes one call for a list of tensors, `fused` one walk: `aten/src/ATen/native/cpu/FusedAdamKernel.cpp`. XLA and `torch.compile` get there from the composition, by generating such a loop.
// - **Tables.** `aten/src/ATen/native/cpu/IndexKernel.cpp`; for gradients of embeddings `aten/src/ATen/native/Embedding.cpp` divides the rows among threads, too.

// %%
}  // namespace tinytorch
