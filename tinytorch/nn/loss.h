// From the lesson modules/04_losses/losses_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>

#include "tinytorch/core/ops.h"

namespace tinytorch {

// What becomes of the losses of single elements or samples. Source: aten/src/ATen/core/Reduction.h.
namespace Reduction {
enum Reduction { None, Mean, Sum };
}

// Reduces elementwise losses: None leaves them, Mean gives their mean, Sum their sum. Throws for another
// number.
Tensor apply_reduction(const Tensor& loss, std::int64_t reduction);

// ---- Distances between `self` and `target` by element; shapes broadcast, at least one is floating point.
Tensor mse_loss(const Tensor& self, const Tensor& target,
                std::int64_t reduction = Reduction::Mean);  // (x - y)^2
Tensor l1_loss(const Tensor& self, const Tensor& target,
               std::int64_t reduction = Reduction::Mean);  // |x - y|
// With d = |x - y|: d^2 / (2 beta) below beta, d - beta / 2 from there on. beta >= 0.
Tensor smooth_l1_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean,
                      double beta = 1.0);
// With d = |x - y|: d^2 / 2 up to delta, delta * (d - delta / 2) from there on. delta > 0.
Tensor huber_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean,
                  double delta = 1.0);
// target * (log(target) - self), where `self` holds log-probabilities; with log_target, `target` does too.
Tensor kl_div(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean,
              bool log_target = false);

// ---- Two classes.
// -(target * log(p) + (1 - target) * log(1 - p)) for probabilities p = `self`; logarithms stop at -100.
Tensor binary_cross_entropy(const Tensor& self, const Tensor& target,
                            const std::optional<Tensor>& weight = {},
                            std::int64_t reduction = Reduction::Mean);
// The same of p = sigmoid(self), computed from the logits so that nothing overflows. `pos_weight` multiplies
// the term of the positive class; it and `weight` broadcast to the shape of `self`.
Tensor binary_cross_entropy_with_logits(const Tensor& self, const Tensor& target,
                                        const std::optional<Tensor>& weight = {},
                                        const std::optional<Tensor>& pos_weight = {},
                                        std::int64_t reduction = Reduction::Mean);

// ---- C classes. `self` is (N, C), (C) or (N, C, d1, ...); `target` has class indices (Long or Byte), in the
// same shape without C. Samples whose target is `ignore_index` count nothing. `weight` has one factor per
// class; Mean divides by the sum of the factors of the samples that count: NaN when none does. O(numel).
// -self[n, target[n]], where `self` holds log-probabilities.
Tensor nll_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight = {},
                std::int64_t reduction = Reduction::Mean, std::int64_t ignore_index = -100);
// nll_loss of log_softmax(self), computed in one pass over the logits. A floating-point target of the shape
// of `self` holds probabilities of the classes. `label_smoothing` in [0, 1] gives that part of each target
// evenly to all classes.
Tensor cross_entropy_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight = {},
                          std::int64_t reduction = Reduction::Mean, std::int64_t ignore_index = -100,
                          double label_smoothing = 0.0);

// `reduction` is a Reduction. In nll_loss and cross_entropy: self (N, C), target (N) of Long; the result is a
// scalar, or (N) for None.
namespace op {
// (self, target, weight, reduction, ignore_index)
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t,
                       std::int64_t)>
    nll_loss;
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t,
                       std::int64_t)>
    cross_entropy;
// The same of positions in images: self (N, C, K), target (N, K); for None the result is (N, K).
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t,
                       std::int64_t)>
    nll_loss2d;
// (self, target, reduction); shapes broadcast, the common dtype is a floating-point one
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> mse_loss;
// (self, target, weight, reduction); self and target have one shape
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t)>
    binary_cross_entropy;
// (self, target, weight, pos_weight, reduction)
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&,
                       const std::optional<Tensor>&, std::int64_t)>
    binary_cross_entropy_with_logits;
// (self, target, reduction, beta or delta), which is positive
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, double)> smooth_l1_loss;
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, double)> huber_loss;
}  // namespace op

namespace nn::functional {
// cross_entropy_loss(input.mm(linear_weight.t()), target, {}, Reduction::Mean, ignore_index) in little
// memory, for input (N, D), linear_weight (V, D) and target (N). With gradients, the pieces of the logits are
// recorded and stay alive until the backward pass, unless they are checkpointed.
Tensor linear_cross_entropy(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                            std::int64_t ignore_index = -100);
}  // namespace nn::functional

}  // namespace tinytorch
