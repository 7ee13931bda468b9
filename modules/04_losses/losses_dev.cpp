// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---


// %% [markdown]
// # Module 04: Losses

// %%
//| export nn/loss.h
#include <optional>
#include "tinytorch/core/ops.h"
//| export nn/loss.cpp
#include <algorithm>
#include <cmath>
#include "tinytorch/core/loops.h"
//| export nn/classification_loss.cpp
#include <limits>
#include "tinytorch/core/loops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/row_normalizer.h"

// %%
#include "tito/lesson.h"
#include "tinytorch/core/tensor_data.h"

// %%
namespace tinytorch {

// %%
//| export nn/loss.h
// What becomes of the losses of single elements or samples. Source: aten/src/ATen/core/Reduction.h.
namespace Reduction {
enum Reduction { None, Mean, Sum };
}

// Reduces elementwise losses: None leaves them, Mean gives their mean, Sum their sum. Throws for another number.
Tensor apply_reduction(const Tensor& loss, std::int64_t reduction);

// ---- Distances between `self` and `target`, element by element; shapes broadcast, at least one is floating point.
Tensor mse_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean);  // (x - y)^2
Tensor l1_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean);   // |x - y|
// With d = |x - y|: d^2 / (2 beta) below beta, d - beta / 2 from there on. beta >= 0.
Tensor smooth_l1_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean, double beta = 1.0);
// With d = |x - y|: d^2 / 2 up to delta, delta * (d - delta / 2) from there on. delta > 0.
Tensor huber_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean, double delta = 1.0);
// target * (log(target) - self), where `self` holds log-probabilities; with log_target, `target` does too.
Tensor kl_div(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean, bool log_target = false);

// ---- Two classes.
// -(target * log(p) + (1 - target) * log(1 - p)) for probabilities p = `self`; logarithms are kept above -100.
Tensor binary_cross_entropy(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight = {},
                            std::int64_t reduction = Reduction::Mean);
// The same of p = sigmoid(self), computed from the logits so that nothing overflows. `pos_weight` multiplies the term of the
// positive class; it and `weight` broadcast to the shape of `self`.
Tensor binary_cross_entropy_with_logits(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight = {},
                                        const std::optional<Tensor>& pos_weight = {}, std::int64_t reduction = Reduction::Mean);

// ---- C classes. `self` is (N, C), (C) or (N, C, d1, ...); `target` holds class indices (Long or Byte) in the same shape without C.
// Samples whose target is `ignore_index` count nothing. `weight` has one factor per class; Mean divides by the sum of the
// factors of the samples that count, so it is NaN when none does. O(numel).
// -self[n, target[n]], where `self` holds log-probabilities.
Tensor nll_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight = {}, std::int64_t reduction = Reduction::Mean,
                std::int64_t ignore_index = -100);
// nll_loss of log_softmax(self), computed in one pass over the logits. A floating-point target of the shape of `self` holds
// probabilities of the classes. `label_smoothing` in [0, 1] gives that part of each target evenly to all classes.
Tensor cross_entropy_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight = {},
                          std::int64_t reduction = Reduction::Mean, std::int64_t ignore_index = -100, double label_smoothing = 0.0);

// %%
//| export nn/loss.h
// `reduction` is a Reduction. In nll_loss and cross_entropy: self (N, C), target (N) of Long; the result is a scalar, or (N) for None.
namespace op {
// (self, target, weight, reduction, ignore_index)
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t, std::int64_t)> nll_loss;
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t, std::int64_t)> cross_entropy;
// (self, target, weight, reduction); self and target have one shape
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t)> binary_cross_entropy;
// (self, target, weight, pos_weight, reduction)
extern Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, const std::optional<Tensor>&, std::int64_t)>
    binary_cross_entropy_with_logits;
}  // namespace op

// %% {"nbgrader": {"grade": false, "grade_id": "04-apply-reduction", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/loss.cpp
// TODO: Turn the losses of elements into what `reduction` asks for.
Tensor apply_reduction(const Tensor& loss, std::int64_t reduction) {
  // BEGIN SOLUTION
  if (reduction == Reduction::None) return loss;
  if (reduction == Reduction::Sum) return loss.sum();
  TORCH_CHECK_VALUE(reduction == Reduction::Mean, reduction, " is not a valid value for reduction");
  return loss.mean();
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "04-mse-loss", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/loss.cpp
// TODO: Square the differences and reduce them.
Tensor mse_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  // BEGIN SOLUTION
  const Tensor difference = self - target;
  TORCH_CHECK_NOT_IMPLEMENTED(difference.is_floating_point(), "\"mse_cpu\" not implemented for '", difference.scalar_type(),
                              "'\n[mse_loss] convert one side with to(kFloat) first.");
  return apply_reduction(difference.pow(2), reduction);
  // END SOLUTION
}

// %%
//| export nn/loss.cpp
namespace {
// |self - target|; `name` goes into the error when both are integers.
Tensor absolute_difference(const char* name, const Tensor& self, const Tensor& target) {
  const Tensor difference = self - target;
  TORCH_CHECK_NOT_IMPLEMENTED(difference.is_floating_point(), "\"", name, "\" not implemented for '", difference.scalar_type(),
                              "'\n[loss] convert one side with to(kFloat) first.");
  return difference.abs();
}
}  // namespace

Tensor l1_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  return apply_reduction((self - target).abs(), reduction);
}

Tensor smooth_l1_loss(const Tensor& self, const Tensor& target, std::int64_t reduction, double beta) {
  TORCH_CHECK(beta >= 0, "smooth_l1_loss does not support negative values for beta.\n[smooth_l1_loss] got ", beta, ".");
  if (beta == 0) return l1_loss(self, target, reduction);
  const Tensor d = absolute_difference("smooth_l1_cpu", self, target);
  return apply_reduction(where(d < beta, d.pow(2) * (0.5 / beta), d - 0.5 * beta), reduction);
}

Tensor huber_loss(const Tensor& self, const Tensor& target, std::int64_t reduction, double delta) {
  TORCH_CHECK(delta > 0, "huber_loss does not support non-positive values for delta.\n[huber_loss] got ", delta, ".");
  const Tensor d = absolute_difference("huber_cpu", self, target);
  return apply_reduction(where(d <= delta, d.pow(2) * 0.5, (d - 0.5 * delta) * delta), reduction);
}

Tensor kl_div(const Tensor& self, const Tensor& target, std::int64_t reduction, bool log_target) {
  if (log_target) return apply_reduction(target.exp() * (target - self), reduction);
  // 0 * log(0) counts 0: the logarithm is taken of 1 there.
  const Tensor positive = where(target > 0, target, ones_like(target));
  return apply_reduction(target * positive.log() - target * self, reduction);
}

// %%
//| export nn/loss.cpp
namespace {
bool is_given(const std::optional<Tensor>& tensor) { return tensor.has_value() && tensor->defined(); }

// losses * weight, reduced.
Tensor weigh_and_reduce(const Tensor& loss, const std::optional<Tensor>& weight, std::int64_t reduction) {
  return apply_reduction(is_given(weight) ? loss * *weight : loss, reduction);
}
}  // namespace

// %%
//| export nn/loss.cpp
namespace {
Tensor binary_cross_entropy_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction) {
  const Tensor loss = empty(self.sizes(), self.options());
  const Tensor labels = to_dtype(target, self.scalar_type());
  dispatch_floating_types(self.scalar_type(), "binary_cross_entropy", [&]<class T>() {
    zip_into<T, T, T>(loss, self, labels, [](T p, T t) {
      TORCH_CHECK(p >= 0 && p <= 1, "all elements of input should be between 0 and 1\n[binary_cross_entropy] found ", p,
                  "; for logits use binary_cross_entropy_with_logits.");
      return (t - 1) * std::max(std::log1p(-p), T{-100}) - t * std::max(std::log(p), T{-100});
    });
  });
  return weigh_and_reduce(loss, weight, reduction);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t)> op::binary_cross_entropy(
    "binary_cross_entropy", {.cpu = binary_cross_entropy_cpu});

Tensor binary_cross_entropy(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction) {
  TORCH_CHECK_VALUE(target.sizes() == self.sizes(), "Using a target size (", target.sizes(), ") that is different to the input size (",
                    self.sizes(), ") is deprecated. Please ensure they have the same size.");
  return op::binary_cross_entropy(self, target, weight, reduction);
}

// %% {"nbgrader": {"grade": false, "grade_id": "04-bce-with-logits", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/loss.cpp
namespace {
// (1 - target) * x + (1 + (pos_weight - 1) * target) * log(1 + exp(-x)) for one logit x. No finite x overflows.
//
// TODO: Compute the loss of one logit without exp of a positive number.
template <class T>
T bce_of_logit(T x, T target, T pos_weight) {
  // BEGIN SOLUTION
  const T log_term = std::log1p(std::exp(-std::abs(x))) + std::max(-x, T{0});
  return (1 - target) * x + (1 + (pos_weight - 1) * target) * log_term;
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/loss.cpp
namespace {
Tensor bce_with_logits_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                           const std::optional<Tensor>& pos_weight, std::int64_t reduction) {
  const Tensor loss = empty(self.sizes(), self.options());
  const Tensor labels = to_dtype(target, self.scalar_type());
  // Without weights, a single 1 is read for every element, by a stride of 0.
  const Tensor positive = is_given(pos_weight) ? to_dtype(*pos_weight, self.scalar_type()) : ones({}, self.options());
  const Tensor factor = expand(positive, self.sizes());
  const StridedLoop<4> loop(self.sizes(), {loss.strides(), self.strides(), labels.strides(), factor.strides()});
  dispatch_floating_types(self.scalar_type(), "log_sigmoid_cpu", [&]<class T>() {
    T* const out = loss.data<T>();
    const T* const x = self.data<T>();
    const T* const t = labels.data<T>();
    const T* const w = factor.data<T>();
    loop.run([&](const auto& at, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i)
        out[at[0] + i * step[0]] = bce_of_logit(x[at[1] + i * step[1]], t[at[2] + i * step[2]], w[at[3] + i * step[3]]);
    });
  });
  return weigh_and_reduce(loss, weight, reduction);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, const std::optional<Tensor>&, std::int64_t)>
    op::binary_cross_entropy_with_logits("binary_cross_entropy_with_logits", {.cpu = bce_with_logits_cpu});

Tensor binary_cross_entropy_with_logits(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                                        const std::optional<Tensor>& pos_weight, std::int64_t reduction) {
  TORCH_CHECK_VALUE(target.sizes() == self.sizes(), "Target size (", target.sizes(), ") must be the same as input size (", self.sizes(), ")");
  return op::binary_cross_entropy_with_logits(self, target, weight, pos_weight, reduction);
}

// %% {"nbgrader": {"grade": false, "grade_id": "04-class-losses", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/classification_loss.cpp
namespace {
// For input (N, C) and target (N): weight[t] * loss_of_row(row, t) of every sample with target t, which counts 0 when t is
// `ignore_index`. Returns (N) for None, else a scalar: the sum, or for Mean the sum divided by the sum of the weight[t] that count.
// Throws IndexError for a target outside [0, C). `weight` may be null: all ones.
//
// TODO: Walk over the samples, skip the ignored ones, weigh the others, and reduce.
template <class T, class LossOfRow>
Tensor class_losses(const Tensor& input, const Tensor& target, const T* weight, std::int64_t reduction, std::int64_t ignore_index,
                    LossOfRow loss_of_row) {
  // BEGIN SOLUTION
  const std::int64_t C = input.size(1);
  const Tensor labels = target.contiguous();
  const Tensor losses = reduction == Reduction::None ? empty({input.size(0)}, input.options()) : Tensor();
  double total = 0;
  double total_weight = 0;
  for_each_row<T>(input, 1, [&](std::int64_t n, const T* row, std::int64_t stride) {
    const std::int64_t t = labels.data<std::int64_t>()[n];
    TORCH_CHECK_INDEX(t == ignore_index || (t >= 0 && t < C), "Target ", t, " is out of bounds.\n[nll_loss] classes are 0 to ", C - 1,
                      "; sample ", n, " is not, and ignore_index is ", ignore_index, ".");
    const double factor = t == ignore_index ? 0 : weight == nullptr ? 1 : static_cast<double>(weight[t]);
    const double loss = t == ignore_index ? 0 : factor * static_cast<double>(loss_of_row(Row<const T>{row, stride}, t));
    if (losses.defined()) losses.data<T>()[n] = static_cast<T>(loss);
    total += loss;
    total_weight += factor;
  });
  if (losses.defined()) return losses;
  return full({}, reduction == Reduction::Mean ? total / total_weight : total, input.options());
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/classification_loss.cpp
namespace {
// The factors of the classes as (C) contiguous elements of type T, or null. `weight` keeps them alive.
template <class T>
const T* class_weights(const std::optional<Tensor>& weight) {
  return weight && weight->defined() ? weight->data_ptr<T>() : nullptr;
}

std::optional<Tensor> contiguous_weight(const std::optional<Tensor>& weight) {
  return weight && weight->defined() ? std::optional(weight->contiguous()) : std::nullopt;
}

Tensor nll_loss_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction,
                    std::int64_t ignore_index) {
  const std::optional<Tensor> factors = contiguous_weight(weight);
  return dispatch_floating_types(self.scalar_type(), "nll_loss_out_frame", [&]<class T>() {
    return class_losses<T>(self, target, class_weights<T>(factors), reduction, ignore_index,
                           [](Row<const T> row, std::int64_t t) { return -row[t]; });
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t, std::int64_t)> op::nll_loss(
    "nll_loss", {.cpu = nll_loss_cpu});

// %% {"nbgrader": {"grade": false, "grade_id": "04-cross-entropy", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/classification_loss.cpp
namespace {
// log(sum of exp(row[j])) - row[t] of one row of C logits. Reads the row once; no finite logit overflows.
//
// TODO: Compute the loss of one sample from its logits.
template <class T>
T cross_entropy_of_row(Row<const T> row, std::int64_t C, std::int64_t t) {
  // BEGIN SOLUTION
  const RowNormalizer<T> normalizer = row_normalizer(row, C);
  return normalizer.maximum - row[t] + static_cast<T>(std::log(normalizer.sum));
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/classification_loss.cpp
namespace {
Tensor cross_entropy_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction,
                         std::int64_t ignore_index) {
  const std::optional<Tensor> factors = contiguous_weight(weight);
  const std::int64_t C = self.size(1);
  return dispatch_floating_types(self.scalar_type(), "log_softmax_lastdim_kernel_impl", [&]<class T>() {
    return class_losses<T>(self, target, class_weights<T>(factors), reduction, ignore_index,
                           [C](Row<const T> row, std::int64_t t) { return cross_entropy_of_row(row, C, t); });
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t, std::int64_t)> op::cross_entropy(
    "cross_entropy", {.cpu = cross_entropy_cpu});

// %%
//| export nn/classification_loss.cpp
namespace {
std::int64_t class_dim(const Tensor& self) { return self.dim() == 1 ? 0 : 1; }

// Input and class indices of any allowed shape as (M, C) and (M), and the shape of one loss per sample.
struct ClassSamples {
  Tensor input;
  Tensor target;
  DimVector sizes;
};

void check_class_samples(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction) {
  TORCH_CHECK_VALUE(reduction >= Reduction::None && reduction <= Reduction::Sum, reduction, " is not a valid value for reduction");
  TORCH_CHECK_VALUE(self.dim() >= 1, "Expected 1 or more dimensions (got 0)");
  if (self.dim() > 1) {
    TORCH_CHECK(self.dim() > 2 || target.dim() <= 1, "0D or 1D target tensor expected, multi-target not supported\n[nll_loss] sizes ",
                self.sizes(), " and ", target.sizes(), "; a target without the dimension of classes holds one index per sample.");
    TORCH_CHECK_VALUE(target.dim() > 0 && self.size(0) == target.size(0), "Expected input batch_size (", self.size(0),
                      ") to match target batch_size (", target.dim() > 0 ? target.size(0) : 1, ").");
  } else {
    TORCH_CHECK_VALUE(target.numel() == 1, "For 1D input, 1D target must have size 1, but got target size: ", target.numel());
  }
  TORCH_CHECK(target.scalar_type() == kLong || target.scalar_type() == kByte, "expected target dtype to be Long or Byte, but got ",
              target.scalar_type());
  if (!weight || !weight->defined()) return;
  const std::int64_t C = self.size(class_dim(self));
  TORCH_CHECK(weight->dim() == 1 && weight->numel() == C, "weight tensor should be defined either for all ", C,
              " classes or no classes but got weight tensor of shape: ", weight->sizes());
  TORCH_CHECK(weight->scalar_type() == self.scalar_type(), "expected scalar type ", self.scalar_type(), " but found ", weight->scalar_type());
}

// (N, C, d1, ...) becomes (N * d1 * ..., C): a copy only when there are d1, ...
ClassSamples class_samples(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction) {
  check_class_samples(self, target, weight, reduction);
  const Tensor labels = target.to(kLong);
  if (self.dim() == 1) return {self.unsqueeze(0), labels.reshape({1}), {}};
  if (self.dim() == 2) return {self, labels, {self.size(0)}};
  DimVector sizes(self.sizes());
  sizes.erase(1);
  TORCH_CHECK(IntArrayRef(sizes) == target.sizes(), "Expected target size ", IntArrayRef(sizes), ", got ", target.sizes());
  DimVector classes_last{0};
  for (std::int64_t d = 2; d < self.dim(); ++d) classes_last.push_back(d);
  classes_last.push_back(1);
  return {self.permute(classes_last).reshape({multiply_sizes(sizes), self.size(1)}), labels.reshape({multiply_sizes(sizes)}), sizes};
}
}  // namespace

// %%
//| export nn/classification_loss.cpp
Tensor nll_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction,
                std::int64_t ignore_index) {
  const ClassSamples samples = class_samples(self, target, weight, reduction);
  const Tensor loss = op::nll_loss(samples.input, samples.target, weight, reduction, ignore_index);
  return reduction == Reduction::None ? loss.view(samples.sizes) : loss;
}

// %%
//| export nn/classification_loss.cpp
namespace {
// One factor per class in a shape that broadcasts against `self`.
Tensor broadcast_weight(const Tensor& self, const Tensor& weight) {
  DimVector sizes(static_cast<std::size_t>(self.dim()), 1);
  sizes[static_cast<std::size_t>(class_dim(self))] = weight.numel();
  return weight.view(sizes);
}

// The target gives a probability for each class.
Tensor cross_entropy_of_probabilities(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction,
                                      double label_smoothing) {
  TORCH_CHECK(target.is_floating_point(), "Expected floating point type for target with class probabilities, got ", target.scalar_type());
  const std::int64_t C = self.size(class_dim(self));
  const bool weighted = weight && weight->defined();
  TORCH_CHECK(!weighted || (weight->dim() == 1 && weight->numel() == C), "cross_entropy: weight tensor should be defined either for all ", C,
              " classes or no classes but got weight tensor of shape: ", weight->sizes());
  const Tensor smooth = label_smoothing > 0 ? target * (1 - label_smoothing) + label_smoothing / static_cast<double>(C) : target;
  const Tensor log_probabilities = log_softmax(self, class_dim(self));
  const Tensor terms = weighted ? log_probabilities * smooth * broadcast_weight(self, *weight) : log_probabilities * smooth;
  if (reduction == Reduction::None) return -terms.sum({class_dim(self)});
  if (reduction == Reduction::Sum) return -terms.sum();
  const auto samples = C == 0 ? 0.0 : static_cast<double>(self.numel() / C);
  return -terms.sum() / samples;
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "04-label-smoothing", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/classification_loss.cpp
namespace {
// (1 - label_smoothing) * nll_loss + label_smoothing * the mean over the classes of -weight * log-probability, where ignored
// samples count 0 and Mean divides both by the same sum of weights. `self`: logits; `target`: class indices.
//
// TODO: Mix the loss of the target with the loss of all classes.
Tensor smoothed_cross_entropy(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction,
                              std::int64_t ignore_index, double label_smoothing) {
  // BEGIN SOLUTION
  const std::int64_t dim = class_dim(self);
  const Tensor log_probabilities = log_softmax(self, dim);
  const Tensor of_target = nll_loss(log_probabilities, target, weight, reduction, ignore_index);
  const Tensor weighted = weight && weight->defined() ? log_probabilities * broadcast_weight(self, *weight) : log_probabilities;
  const Tensor per_sample = -weighted.sum({dim});
  Tensor of_all = where(target.view(per_sample.sizes()) == ignore_index, zeros_like(per_sample), per_sample);
  if (reduction != Reduction::None) of_all = of_all.sum();
  if (reduction == Reduction::Mean) {
    // The sum of the weights that count is the loss of log-probabilities of -1.
    of_all = of_all / nll_loss(full_like(self, -1), target, weight, Reduction::Sum, ignore_index);
  }
  return of_target * (1 - label_smoothing) + of_all * (label_smoothing / static_cast<double>(self.size(dim)));
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/classification_loss.cpp
Tensor cross_entropy_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction,
                          std::int64_t ignore_index, double label_smoothing) {
  TORCH_CHECK(label_smoothing >= 0 && label_smoothing <= 1, "label_smoothing must be between 0.0 and 1.0. Got: ", label_smoothing);
  if (self.sizes() == target.sizes()) {
    TORCH_CHECK(ignore_index < 0, "ignore_index is not supported for floating point target");
    return cross_entropy_of_probabilities(self, target, weight, reduction, label_smoothing);
  }
  if (label_smoothing > 0) return smoothed_cross_entropy(self, target, weight, reduction, ignore_index, label_smoothing);
  const ClassSamples samples = class_samples(self, target, weight, reduction);
  const Tensor loss = op::cross_entropy(samples.input, samples.target, weight, reduction, ignore_index);
  return reduction == Reduction::None ? loss.view(samples.sizes) : loss;
}

// %%
}  // namespace tinytorch
