// From the lesson modules/04_losses/losses_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/loss.h"

#include <algorithm>
#include <cmath>

#include "tinytorch/core/more_loops.h"

namespace tinytorch {

// `loss` as it is for Reduction::None; the sum or the mean of all its elements, a 0-d tensor, for Sum and
// Mean.
// Throws ValueError for any other number. O(numel).
Tensor apply_reduction(const Tensor& loss, std::int64_t reduction) {
  if (reduction == Reduction::None) return loss;
  if (reduction == Reduction::Sum) return loss.sum();
  TORCH_CHECK_VALUE(reduction == Reduction::Mean, reduction, " is not a valid value for reduction");
  return loss.mean();
}

namespace {
// (self - target)^2, reduced; the shapes broadcast. Throws NotImplementedError when both are integers.
// O(numel).
Tensor mse_loss_cpu(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  const Tensor difference = self - target;
  TORCH_CHECK_NOT_IMPLEMENTED(difference.is_floating_point(), "\"mse_cpu\" not implemented for '",
                              difference.scalar_type(),
                              "'\n[mse_loss] convert one side with to(kFloat) first.");
  return apply_reduction(difference.pow(2), reduction);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> op::mse_loss(
    "mse_loss", {.cpu = mse_loss_cpu});

Tensor mse_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  return op::mse_loss(self, target, reduction);
}

namespace {
// |self - target|; `name` goes into the error when both are integers.
Tensor absolute_difference(const char* name, const Tensor& self, const Tensor& target) {
  const Tensor difference = self - target;
  TORCH_CHECK_NOT_IMPLEMENTED(difference.is_floating_point(), "\"", name, "\" not implemented for '",
                              difference.scalar_type(), "'\n[loss] convert one side with to(kFloat) first.");
  return difference.abs();
}
}  // namespace

Tensor l1_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  return apply_reduction((self - target).abs(), reduction);
}

namespace {
Tensor smooth_l1_loss_cpu(const Tensor& self, const Tensor& target, std::int64_t reduction, double beta) {
  const Tensor d = absolute_difference("smooth_l1_cpu", self, target);
  return apply_reduction(where(d < beta, d.pow(2) * (0.5 / beta), d - 0.5 * beta), reduction);
}

Tensor huber_loss_cpu(const Tensor& self, const Tensor& target, std::int64_t reduction, double delta) {
  const Tensor d = absolute_difference("huber_cpu", self, target);
  return apply_reduction(where(d <= delta, d.pow(2) * 0.5, (d - 0.5 * delta) * delta), reduction);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, double)> op::smooth_l1_loss(
    "smooth_l1_loss", {.cpu = smooth_l1_loss_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, double)> op::huber_loss(
    "huber_loss", {.cpu = huber_loss_cpu});

Tensor smooth_l1_loss(const Tensor& self, const Tensor& target, std::int64_t reduction, double beta) {
  TORCH_CHECK(beta >= 0, "smooth_l1_loss does not support negative values for beta.\n[smooth_l1_loss] got ",
              beta, ".");
  return beta == 0 ? l1_loss(self, target, reduction) : op::smooth_l1_loss(self, target, reduction, beta);
}

Tensor huber_loss(const Tensor& self, const Tensor& target, std::int64_t reduction, double delta) {
  TORCH_CHECK(delta > 0, "huber_loss does not support non-positive values for delta.\n[huber_loss] got ",
              delta, ".");
  return op::huber_loss(self, target, reduction, delta);
}

Tensor kl_div(const Tensor& self, const Tensor& target, std::int64_t reduction, bool log_target) {
  TORCH_CHECK(self.is_floating_point() && target.is_floating_point(),
              "kl_div: Integral inputs not supported.\n[kl_div] got ", self.scalar_type(), " and ",
              target.scalar_type(), "; convert with to(kFloat) first.");
  if (log_target) return apply_reduction(target.exp() * (target - self), reduction);
  // 0 * log(0) counts 0: the logarithm is taken of 1 there.
  const Tensor positive = where(target > 0, target, ones_like(target));
  return apply_reduction(target * positive.log() - target * self, reduction);
}

namespace {
bool is_given(const std::optional<Tensor>& tensor) { return tensor.has_value() && tensor->defined(); }

// losses * weight, reduced.
Tensor weigh_and_reduce(const Tensor& loss, const std::optional<Tensor>& weight, std::int64_t reduction) {
  return apply_reduction(is_given(weight) ? loss * *weight : loss, reduction);
}
}  // namespace

namespace {
// (1 - target) * x + (1 + (pos_weight - 1) * target) * log(1 + exp(-x)) for one logit x. No finite x
// overflows, and small losses keep their digits.
template <class T>
T bce_of_logit(T x, T target, T pos_weight) {
  const T log_term = std::max(-x, T{0}) + std::log1p(std::exp(-std::abs(x)));
  return (1 - target) * x + (1 + (pos_weight - 1) * target) * log_term;
}
}  // namespace

namespace {
Tensor bce_with_logits_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                           const std::optional<Tensor>& pos_weight, std::int64_t reduction) {
  const Tensor loss = empty(self.sizes(), self.options());
  const Tensor labels = to_dtype(target, self.scalar_type());
  // Without weights, a single 1 is read for every element, by a stride of 0.
  const Tensor positive =
      is_given(pos_weight) ? to_dtype(*pos_weight, self.scalar_type()) : ones({}, self.options());
  const Tensor factor = expand(positive, self.sizes());
  const StridedLoop<4> loop(self.sizes(),
                            {loss.strides(), self.strides(), labels.strides(), factor.strides()});
  dispatch_floating_types(self.scalar_type(), "log_sigmoid_cpu", [&]<class T>() {
    T* const out = loss.data<T>();
    const T* const x = self.data<T>();
    const T* const t = labels.data<T>();
    const T* const w = factor.data<T>();
    loop.run([&](const auto& at, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i)
        out[at[0] + i * step[0]] =
            bce_of_logit(x[at[1] + i * step[1]], t[at[2] + i * step[2]], w[at[3] + i * step[3]]);
    });
  });
  return weigh_and_reduce(loss, weight, reduction);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&,
                          const std::optional<Tensor>&, std::int64_t)>
    op::binary_cross_entropy_with_logits("binary_cross_entropy_with_logits", {.cpu = bce_with_logits_cpu});

Tensor binary_cross_entropy_with_logits(const Tensor& self, const Tensor& target,
                                        const std::optional<Tensor>& weight,
                                        const std::optional<Tensor>& pos_weight, std::int64_t reduction) {
  TORCH_CHECK_VALUE(target.sizes() == self.sizes(), "Target size (", target.sizes(),
                    ") must be the same as input size (", self.sizes(), ")");
  return op::binary_cross_entropy_with_logits(self, target, weight, pos_weight, reduction);
}

namespace {
Tensor binary_cross_entropy_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                                std::int64_t reduction) {
  const Tensor loss = empty(self.sizes(), self.options());
  const Tensor labels = to_dtype(target, self.scalar_type());
  dispatch_floating_types(self.scalar_type(), "binary_cross_entropy", [&]<class T>() {
    zip_into<T, T, T>(loss, self, labels, [](T p, T t) {
      TORCH_CHECK(p >= 0 && p <= 1,
                  "all elements of input should be between 0 and 1\n[binary_cross_entropy] found ", p,
                  "; for logits use binary_cross_entropy_with_logits.");
      return (t - 1) * std::max(std::log1p(-p), T{-100}) - t * std::max(std::log(p), T{-100});
    });
  });
  return weigh_and_reduce(loss, weight, reduction);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t)>
    op::binary_cross_entropy("binary_cross_entropy", {.cpu = binary_cross_entropy_cpu});

Tensor binary_cross_entropy(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                            std::int64_t reduction) {
  TORCH_CHECK_VALUE(target.sizes() == self.sizes(), "Using a target size (", target.sizes(),
                    ") that is different to the input size (", self.sizes(),
                    ") is deprecated. Please ensure they have the same size.");
  TORCH_CHECK(target.scalar_type() == self.scalar_type(), "Found dtype ", target.scalar_type(), " but expected ",
              self.scalar_type(), "\n[binary_cross_entropy] of the target; convert it with target.to(input.dtype()).");
  return op::binary_cross_entropy(self, target, weight, reduction);
}

}  // namespace tinytorch
