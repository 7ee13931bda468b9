// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_losses.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/distance.h"
#include "tinytorch/nn/more_activations.h"

namespace tinytorch {

namespace {
// max(0, x)
Tensor hinge(const Tensor& x) { return clamp_min(x, 0); }

Tensor or_zero(const Tensor& condition, const Tensor& x) { return where(condition, x, zeros({}, x.options())); }
}  // namespace

Tensor margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin,
                           std::int64_t reduction) {
  return apply_reduction(hinge(-target * (input1 - input2) + margin), reduction);
}

Tensor hinge_embedding_loss(const Tensor& self, const Tensor& target, double margin, std::int64_t reduction) {
  const Tensor of_unlike = or_zero(target != 1, hinge(margin - self));
  const Tensor of_like = or_zero(target != -1, self);
  return apply_reduction(of_unlike + of_like, reduction);
}

Tensor soft_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  return apply_reduction(log1p(exp(-target * self)), reduction);
}

Tensor cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin,
                             std::int64_t reduction) {
  const std::int64_t dim = target.dim();
  TORCH_CHECK(dim <= 1, "0D or 1D target tensor expected, multi-target not supported");
  TORCH_CHECK(input1.dim() == dim + 1 && input2.dim() == dim + 1, dim, "D target tensor expects ", dim + 1,
              "D input tensors, but found inputs with sizes ", input1.sizes(), " and ", input2.sizes(), ".");
  constexpr double kEpsilon = 1e-12;
  const Tensor squares = ((input1 * input1).sum({dim}) + kEpsilon) * ((input2 * input2).sum({dim}) + kEpsilon);
  const Tensor cosine = (input1 * input2).sum({dim}) / sqrt(squares);
  return apply_reduction(or_zero(target == 1, 1 - cosine) + or_zero(target == -1, hinge(cosine - margin)), reduction);
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin, double p,
                           double eps, bool swap, std::int64_t reduction) {
  TORCH_CHECK(anchor.dim() == positive.dim() && positive.dim() == negative.dim(),
              "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor ",
              anchor.dim(), "D, positive ", positive.dim(), "D, and negative ", negative.dim(), "D inputs");
  const Tensor to_positive = pairwise_distance(anchor, positive, p, eps);
  Tensor to_negative = pairwise_distance(anchor, negative, p, eps);
  if (swap) to_negative = minimum(to_negative, pairwise_distance(positive, negative, p, eps));
  return apply_reduction(hinge(margin + to_positive - to_negative), reduction);
}

Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, bool log_input, bool full, double eps,
                        std::int64_t reduction) {
  Tensor loss = log_input ? exp(input) - target * input : input - target * log(input + eps);
  if (full) {
    const Tensor above_one = target > 1;
    const Tensor count = where(above_one, target, ones({}, target.options()));  // so that no logarithm is infinite
    loss = loss + or_zero(above_one, count * log(count) - count + log(count * (2 * std::numbers::pi)) * 0.5);
  }
  return apply_reduction(loss, reduction);
}

namespace {
void check_vector_or_matrix(const char* kernel, const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "\"", kernel, "\" not implemented for '", self.scalar_type(), "'");
  TORCH_CHECK((self.dim() == 1 || self.dim() == 2) && self.size(-1) > 0,
              "Expected non-empty vector or matrix with optional 0-dim batch size, but got: ", self.sizes());
}

// The losses of the samples, for Reduction::None without the batch dimension that a single sample was given.
Tensor reduce_samples(const Tensor& losses, bool single, std::int64_t reduction) {
  return apply_reduction(single ? losses.squeeze(0) : losses, reduction);
}
}  // namespace

Tensor multi_margin_loss(const Tensor& self, const Tensor& target, const Scalar& p, const Scalar& margin,
                         const std::optional<Tensor>& weight, std::int64_t reduction) {
  check_vector_or_matrix("multi_margin_loss_cpu_kernel", self);
  TORCH_CHECK(p.toDouble() == 1 || p.toDouble() == 2, "only p == 1 and p == 2 supported");
  const bool single = self.dim() == 1;
  const Tensor x = single ? self.unsqueeze(0) : self;
  const std::int64_t C = x.size(1);
  TORCH_CHECK(target.dim() <= 1 && target.numel() == x.size(0),
              "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch size). "
              "Expected target size [", x.size(0), "], but got ", target.sizes(), ". Input has shape ", self.sizes(), ".");
  const bool weighted = weight && weight->defined();
  TORCH_CHECK(!weighted || (weight->dim() <= 1 && weight->numel() == C), "inconsistent weight size, expected ", C, " but got ",
              weighted ? weight->sizes() : IntArrayRef());
  const Tensor labels = target.reshape({-1, 1});
  TORCH_CHECK(!any(logical_or(labels < 0, labels >= C)).item<bool>(), "target out of range");

  Tensor missing = hinge(x - gather(x, 1, labels) + margin);
  if (p.toDouble() == 2) missing = missing * missing;
  if (weighted) missing = missing * index_select(*weight, 0, labels.flatten()).unsqueeze(1);
  const Tensor is_label = arange(C).unsqueeze(0) == labels;
  const Tensor others = where(is_label, zeros({}, x.options()), missing);
  return reduce_samples(others.sum({1}) / C, single, reduction);
}

Tensor multilabel_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  check_vector_or_matrix("multilabel_margin_loss_forward_out_frame", self);
  TORCH_CHECK(target.sizes() == self.sizes(), "inconsistent target size: ", target.sizes(), " for input of size: ", self.sizes());
  const bool single = self.dim() == 1;
  const Tensor x = single ? self.unsqueeze(0) : self;
  const Tensor labels = single ? target.unsqueeze(0) : target;
  const std::int64_t C = x.size(1);
  const Tensor counts = cumsum((labels < 0).to(kLong), 1) == 0;  // labels before the first -1
  const Tensor classes = where(counts, labels, zeros({}, kLong));
  TORCH_CHECK(!any(classes >= C).item<bool>(), "argument #2 'target' is out of range");

  const Tensor is_label = scatter_add(zeros({x.size(0), C}, x.options()), 1, classes, counts.to(x.scalar_type())) > 0;
  const Tensor pairs = hinge(1 - gather(x, 1, classes).unsqueeze(2) + x.unsqueeze(1));  // (N, label, class)
  const Tensor compared = logical_and(counts.unsqueeze(2), logical_not(is_label).unsqueeze(1));
  return reduce_samples(or_zero(compared, pairs).sum({1, 2}) / C, single, reduction);
}

}  // namespace tinytorch
