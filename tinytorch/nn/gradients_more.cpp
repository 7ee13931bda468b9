// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.

#include <cstdint>
#include <limits>
#include <optional>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/module.h"

namespace tinytorch {

namespace {
constexpr double kSqrtHalf = 0.70710678118654752440;       // 1 / sqrt(2)
constexpr double kNormalDensity = 0.39894228040143267794;  // 1 / sqrt(2 pi)
constexpr double kGeluScale = 0.79788456080286535588;      // sqrt(2 / pi)
}  // namespace

// g times the slope of gelu at x; also the form that chapter 89 records.
Tensor gelu_backward(const Tensor& g, const Tensor& x, bool tanh_approximation) {
  if (!tanh_approximation) {
    const Tensor below = (erf(x * kSqrtHalf) + 1) * 0.5;
    const Tensor density = exp(x * x * -0.5) * kNormalDensity;
    return g * (below + x * density);
  }
  const Tensor square = x * x;
  const Tensor t = tanh((x + x * square * 0.044715) * kGeluScale);
  return g * ((t + 1) * 0.5 + x * (1 - t * t) * ((square * (3 * 0.044715) + 1) * (0.5 * kGeluScale)));
}

namespace {
// exp(x) where x <= 0, and 1 elsewhere: the other branch must not overflow, or its gradient would be 0 * inf.
Tensor exp_below_zero(const Tensor& x) { return exp(where(x > 0, zeros_like(x), x)); }
}  // namespace

void register_more_activation_gradients() {
  gradient<op::leaky_relu>([](const Tensor& g, Input<0> self, Arg<1, Scalar> slope) { return where(self > 0, g, g * slope.value); });
  gradient<op::elu>([](const Tensor& g, Input<0> self, Arg<1, Scalar> alpha) { return where(self <= 0, g * (exp_below_zero(self) * alpha.value), g); });
  gradient<op::gelu>([](const Tensor& g, Input<0> self, Arg<1, bool> tanh_approximation) { return gelu_backward(g, self, tanh_approximation); });
  gradient<op::silu>([](const Tensor& g, Input<0> self) {
    const Tensor s = sigmoid(self);
    return g * (s * (self * (1 - s) + 1));
  });
  gradient<op::softplus>([](const Tensor& g, Input<0> self, Arg<1, Scalar> beta, Arg<2, Scalar> threshold) {
    const Tensor scaled = self * beta.value;
    return where(scaled > threshold.value, g, g * sigmoid(scaled));
  });
  count_writes<op::relu_>();
}

// What reaches each sample of the gradient of the reduced loss, in the shape of the target. A sample counts as much as the weight of its
// class. Ignored ones get 0 whatever the others do: where all are ignored the mean is 0 / 0, and its gradient still
// changes nothing. Weights that are all 0 do give 0 / 0.
Tensor gradient_per_sample(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction,
                  std::int64_t ignore_index) {
  const Tensor ignored = target.eq(ignore_index);
  const Tensor nothing = zeros({}, self.options());
  const Tensor classes = where(ignored, zeros({}, kLong), target);
  const Tensor weights = weight.defined() ? index_select(weight, 0, classes.flatten()).view(target.sizes()) : ones(target.sizes(), self.options());
  if (reduction != Reduction::Mean) return where(ignored, nothing, g * weights);
  return where(ignored, nothing, g * weights / where(ignored, nothing, weights).sum());
}

namespace {
// -coefficient at each sample's class, 0 elsewhere: (N, C), or (N, C, K) for targets (N, K).
Tensor at_targets(const Tensor& coefficient, const Tensor& self, const Tensor& target, std::int64_t ignore_index) {
  const Tensor classes = where(target.eq(ignore_index), zeros({}, kLong), target).unsqueeze(1);
  return scatter_add_(zeros(self.sizes(), self.options()), 1, classes, -coefficient.unsqueeze(1));  // nobody else has the zeros
}

}  // namespace

std::optional<Tensor> if_defined(const Tensor& tensor) { return tensor.defined() ? std::optional(tensor) : std::nullopt; }

// Of nll_loss and nll_loss2d. Of chapter 89 too, which walks over the targets where no graph is recorded.
Tensor nll_loss_backward(const Tensor& g, const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  return at_targets(gradient_per_sample(g, self, target, weight.value_or(Tensor()), reduction, ignore_index), self, target, ignore_index);
}

namespace {
// softmax(self) - one_hot(target), for each sample as much as its loss counts.
Tensor cross_entropy_backward(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction,
                              std::int64_t ignore_index) {
  const Tensor coefficient = gradient_per_sample(g, self, target, weight, reduction, ignore_index);
  return softmax(self, 1) * coefficient.unsqueeze(1) + at_targets(coefficient, self, target, ignore_index);
}

// The gradient of an elementwise loss before its reduction.
Tensor unreduced(const Tensor& g, const Tensor& self, const Tensor& weight, std::int64_t reduction) {
  const Tensor each = reduction == Reduction::Mean ? g / self.numel() : g;
  return weight.defined() ? each * weight : each;
}
}  // namespace

// What reaches a of a loss that is a parabola up to |a - b| = most, with the slope factor (a - b), and a line beyond. Of chapter 89 too, which computes it in one pass.
// `factor` multiplies g, which is one number where the loss is reduced.
Tensor distance_backward(const Tensor& g, const Tensor& a, const Tensor& b, std::int64_t reduction, double factor, double most) {
  const Tensor difference = a - b;
  const Tensor slope = most < std::numeric_limits<double>::infinity() ? clamp(difference, -most, most) : difference;
  return unreduced(g * factor, difference, {}, reduction) * slope;
}

void register_loss_gradients() {
  gradient<op::nll_loss>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                            Arg<4, std::int64_t> ignore_index) { return nll_loss_backward(g, self, target, if_defined(weight), reduction, ignore_index); });
  gradient<op::nll_loss2d>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                              Arg<4, std::int64_t> ignore_index) { return nll_loss_backward(g, self, target, if_defined(weight), reduction, ignore_index); });
  gradient<op::cross_entropy>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                                 Arg<4, std::int64_t> ignore_index) { return cross_entropy_backward(g, self, target, weight, reduction, ignore_index); });
  constexpr double infinity = std::numeric_limits<double>::infinity();
  gradient<op::mse_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction) { return distance_backward(g, self, target, reduction, 2, infinity); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction) { return distance_backward(g, target, self, reduction, 2, infinity); });
  gradient<op::smooth_l1_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> beta) { return distance_backward(g, self, target, reduction, 1 / beta.value, beta); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> beta) { return distance_backward(g, target, self, reduction, 1 / beta.value, beta); });
  gradient<op::huber_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> delta) { return distance_backward(g, self, target, reduction, 1, delta); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> delta) { return distance_backward(g, target, self, reduction, 1, delta); });
  gradient<op::binary_cross_entropy>(
      [](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction) {
        const Tensor spread = clamp_min(self * (1 - self), 1e-12);
        return unreduced(g, self, weight, reduction) * ((self - target) / spread);
      },
      [](const Tensor& g, Input<0> self, Input<2> weight, Arg<3, std::int64_t> reduction) {
        return unreduced(g, self, weight, reduction) * (clamp_min(log(1 - self), -100) - clamp_min(log(self), -100));
      });
  gradient<op::binary_cross_entropy_with_logits>(
      [](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Input<3> pos_weight, Arg<4, std::int64_t> reduction) {
        const Tensor positive = pos_weight.defined() ? pos_weight * target : Tensor(target);
        return unreduced(g, self, weight, reduction) * (sigmoid(self) * (positive + (1 - target)) - positive);
      },
      [](const Tensor& g, Input<0> self, Input<2> weight, Input<3> pos_weight, Arg<4, std::int64_t> reduction) {
        const Tensor slope = pos_weight.defined() ? (pos_weight - 1) * softplus(-self) - self : -self;
        return unreduced(g, self, weight, reduction) * slope;
      });
}

void register_parameters() {
  op::parameter.set(Layer::InplaceOrView, [](const Tensor& tensor, bool requires_grad) {
    if (tensor.defined()) tensor.requires_grad_(requires_grad);
    return tensor;
  });
}

void nn::ModuleGradients::zero_grad(bool set_to_none) {
  for (const Tensor& parameter : static_cast<nn::Module&>(*this).parameters()) {
    Tensor& grad = parameter.mutable_grad();
    if (!grad.defined()) continue;
    if (set_to_none) {
      grad = Tensor();
    } else {
      grad = grad.detach();
      grad.zero_();
    }
  }
}

}  // namespace tinytorch
