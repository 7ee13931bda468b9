// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

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

namespace tinytorch {

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

}  // namespace tinytorch
