// From the lesson modules/04_losses/losses_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/row_normalizer-inl.h"

namespace tinytorch {

namespace {
// For input (N, C) and target (N) of Long: weight[t] * loss_of_row(row, t) for every sample with target t; 0
// where t is `ignore_index`.
// Returns them as (N) for None, else a scalar: their sum, or for Mean the sum divided by the sum of the
// weight[t] that took part.
// Throws IndexError for another target outside [0, C). `weight` may be null: all ones. O(N) calls of
// loss_of_row.
template <class T, class LossOfRow>
Tensor class_losses(const Tensor& input, const Tensor& target, const T* weight, std::int64_t reduction,
                    std::int64_t ignore_index, LossOfRow loss_of_row) {
  const std::int64_t C = input.size(1);
  const Tensor labels = target.contiguous();
  const Tensor losses = reduction == Reduction::None ? zeros({input.size(0)}, input.options()) : Tensor();
  double total = 0;
  double total_weight = 0;
  for_each_row<T>(input, 1, [&](std::int64_t n, const T* row, std::int64_t stride) {
    const std::int64_t t = labels.data<std::int64_t>()[n];
    if (t == ignore_index) return;
    TORCH_CHECK_INDEX(t >= 0 && t < C, "Target ", t, " is out of bounds.\n[nll_loss] the target of sample ",
                      n, " must be one of the classes 0 to ", C - 1, ", or the ignore_index ", ignore_index,
                      ".");
    const double factor = weight == nullptr ? 1.0 : static_cast<double>(weight[t]);
    const double loss = factor * static_cast<double>(loss_of_row(Row<const T>{row, stride}, t));
    if (losses.defined()) losses.data<T>()[n] = static_cast<T>(loss);
    total += loss;
    total_weight += factor;
  });
  if (losses.defined()) return losses;
  return full({}, reduction == Reduction::Mean ? total / total_weight : total, input.options());
}
}  // namespace

namespace {
// The factors of the classes as (C) contiguous elements of type T, or null. `weight` keeps them alive.
template <class T>
const T* class_weights(const std::optional<Tensor>& weight) {
  return weight && weight->defined() ? weight->data_ptr<T>() : nullptr;
}

std::optional<Tensor> contiguous_weight(const std::optional<Tensor>& weight) {
  return weight && weight->defined() ? std::optional(weight->contiguous()) : std::nullopt;
}

Tensor nll_loss_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                    std::int64_t reduction, std::int64_t ignore_index) {
  const std::optional<Tensor> factors = contiguous_weight(weight);
  return dispatch_floating_types(self.scalar_type(), "nll_loss_out_frame", [&]<class T>() {
    return class_losses<T>(self, target, class_weights<T>(factors), reduction, ignore_index,
                           [](Row<const T> row, std::int64_t t) { return -row[t]; });
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t,
                          std::int64_t)>
    op::nll_loss("nll_loss", {.cpu = nll_loss_cpu});

namespace {
std::int64_t class_dim(const Tensor& self) { return self.dim() == 1 ? 0 : 1; }

// Input and class indices of any allowed shape as (M, C) and (M), and the shape of one loss per sample.
struct ClassSamples {
  Tensor input;
  Tensor target;
  DimVector sizes;
};

void check_class_samples(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                         std::int64_t reduction) {
  TORCH_CHECK_VALUE(reduction >= Reduction::None && reduction <= Reduction::Sum, reduction,
                    " is not a valid value for reduction");
  TORCH_CHECK_VALUE(self.dim() >= 1, "Expected 1 or more dimensions (got 0)");
  if (self.dim() > 1) {
    TORCH_CHECK(self.dim() > 2 || target.dim() <= 1,
                "0D or 1D target tensor expected, multi-target not supported\n[nll_loss] sizes ",
                self.sizes(), " and ", target.sizes(),
                "; a target without the dimension of classes holds one index per sample.");
    TORCH_CHECK_VALUE(target.dim() > 0 && self.size(0) == target.size(0), "Expected input batch_size (",
                      self.size(0), ") to match target batch_size (", target.dim() > 0 ? target.size(0) : 1,
                      ").");
  } else {
    TORCH_CHECK_VALUE(target.numel() == 1,
                      "For 1D input, 1D target must have size 1, but got target size: ", target.numel());
  }
  TORCH_CHECK(target.scalar_type() == kLong || target.scalar_type() == kByte,
              "expected target dtype to be Long or Byte, but got ", target.scalar_type());
  if (self.dim() > 2) {
    DimVector sizes(self.sizes());
    sizes.erase(1);
    TORCH_CHECK(IntArrayRef(sizes) == target.sizes(), "Expected target size ", IntArrayRef(sizes), ", got ",
                target.sizes());
  }
  if (!weight || !weight->defined()) return;
  const std::int64_t C = self.size(class_dim(self));
  TORCH_CHECK(weight->dim() == 1 && weight->numel() == C, "weight tensor should be defined either for all ",
              C, " classes or no classes but got weight tensor of shape: ", weight->sizes());
  TORCH_CHECK(weight->scalar_type() == self.scalar_type(), "expected scalar type ", self.scalar_type(),
              " but found ", weight->scalar_type());
}

// (N, C, d1, ...) becomes (N * d1 * ..., C): a copy only when there are d1, ...
ClassSamples class_samples(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                           std::int64_t reduction) {
  check_class_samples(self, target, weight, reduction);
  const Tensor labels = target.to(kLong);
  if (self.dim() == 1) return {self.unsqueeze(0), labels.reshape({1}), {}};
  if (self.dim() == 2) return {self, labels, {self.size(0)}};
  DimVector classes_last{0};
  for (std::int64_t d = 2; d < self.dim(); ++d) classes_last.push_back(d);
  classes_last.push_back(1);
  return {self.permute(classes_last).reshape({target.numel(), self.size(1)}), labels.reshape({target.numel()}),
          target.sizes()};
}
}  // namespace

namespace {
// What a target that is no class ends in. It stands apart from the loop over the positions, so that the sums of
// an image stay in registers there.
[[noreturn]] void refuse_class(std::int64_t t, std::int64_t position, std::int64_t C, std::int64_t ignore_index) {
  TORCH_CHECK_INDEX(false, "Target ", t, " is out of bounds.\n[nll_loss] the target at position ", position,
                    " must be one of the classes 0 to ", C - 1, ", or the ignore_index ", ignore_index, ".");
}

// class_losses of input (N, C, K) and target (N, K), with the losses as (N, K) for None. O(N K).
template <class T>
Tensor position_losses(const Tensor& input, const Tensor& target, const T* weight, std::int64_t reduction,
                       std::int64_t ignore_index) {
  const std::int64_t C = input.size(1), K = input.size(2), class_step = input.stride(1), step = input.stride(2);
  const Tensor labels = target.contiguous();
  const Tensor losses = reduction == Reduction::None ? zeros(target.sizes(), input.options()) : Tensor();
  const std::int64_t* const classes = labels.data<std::int64_t>();
  T* const each = losses.defined() ? losses.data<T>() : nullptr;
  double total = 0;
  double total_weight = 0;
  for (std::int64_t n = 0; n < input.size(0); ++n) {
    const T* const numbers = input.data<T>() + n * input.stride(0);
    double image_total = 0;
    double image_weight = 0;
    for (std::int64_t k = 0; k < K; ++k) {
      const std::int64_t i = n * K + k, t = classes[i];
      if (t == ignore_index) continue;
      if (t < 0 || t >= C) refuse_class(t, i, C, ignore_index);
      const double factor = weight == nullptr ? 1.0 : static_cast<double>(weight[t]);
      const double loss = -factor * static_cast<double>(numbers[t * class_step + k * step]);
      if (each != nullptr) each[i] = static_cast<T>(loss);
      image_total += loss;
      image_weight += factor;
    }
    total += image_total;
    total_weight += image_weight;
  }
  if (losses.defined()) return losses;
  return full({}, reduction == Reduction::Mean ? total / total_weight : total, input.options());
}

Tensor nll_loss2d_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                      std::int64_t reduction, std::int64_t ignore_index) {
  const std::optional<Tensor> factors = contiguous_weight(weight);
  return dispatch_floating_types(self.scalar_type(), "nll_loss2d_forward_out_frame", [&]<class T>() {
    return position_losses<T>(self, target, class_weights<T>(factors), reduction, ignore_index);
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t,
                          std::int64_t)>
    op::nll_loss2d("nll_loss2d", {.cpu = nll_loss2d_cpu});

Tensor nll_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                std::int64_t reduction, std::int64_t ignore_index) {
  if (self.dim() > 2 && self.device().is_cpu()) {
    check_class_samples(self, target, weight, reduction);
    const Tensor loss =
        op::nll_loss2d(self.flatten(2), target.to(kLong).flatten(1), weight, reduction, ignore_index);
    return reduction == Reduction::None ? loss.view(target.sizes()) : loss;
  }
  const ClassSamples samples = class_samples(self, target, weight, reduction);
  const Tensor loss = op::nll_loss(samples.input, samples.target, weight, reduction, ignore_index);
  return reduction == Reduction::None ? loss.view(samples.sizes) : loss;
}

namespace {
// log(sum of exp(row[j])) - row[t] for one row of C logits. Reads the row once (and row[t] again); no finite
// logit overflows. O(C).
template <class T>
T cross_entropy_of_row(Row<const T> row, std::int64_t C, std::int64_t t) {
  const RowNormalizer<T> normalizer = row_normalizer(row, C);
  return normalizer.maximum - row[t] + static_cast<T>(std::log(normalizer.sum));
}
}  // namespace

namespace {
Tensor cross_entropy_cpu(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                         std::int64_t reduction, std::int64_t ignore_index) {
  const std::optional<Tensor> factors = contiguous_weight(weight);
  const std::int64_t C = self.size(1);
  return dispatch_floating_types(self.scalar_type(), "log_softmax_lastdim_kernel_impl", [&]<class T>() {
    return class_losses<T>(self, target, class_weights<T>(factors), reduction, ignore_index,
                           [C](Row<const T> row, std::int64_t t) { return cross_entropy_of_row(row, C, t); });
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t,
                          std::int64_t)>
    op::cross_entropy("cross_entropy", {.cpu = cross_entropy_cpu});

namespace {
// One factor per class in a shape that broadcasts against `self`.
Tensor broadcast_weight(const Tensor& self, const Tensor& weight) {
  DimVector sizes(static_cast<std::size_t>(self.dim()), 1);
  sizes[static_cast<std::size_t>(class_dim(self))] = weight.numel();
  return weight.view(sizes);
}

// The target gives a probability for each class.
Tensor cross_entropy_of_probabilities(const Tensor& self, const Tensor& target,
                                      const std::optional<Tensor>& weight, std::int64_t reduction,
                                      double label_smoothing) {
  TORCH_CHECK(target.is_floating_point(),
              "Expected floating point type for target with class probabilities, got ", target.scalar_type());
  const std::int64_t C = self.size(class_dim(self));
  const bool weighted = weight && weight->defined();
  TORCH_CHECK(!weighted || (weight->dim() == 1 && weight->numel() == C),
              "cross_entropy: weight tensor should be defined either for all ", C,
              " classes or no classes but got weight tensor of shape: ", weight->sizes());
  const Tensor smooth = label_smoothing > 0
                            ? target * (1 - label_smoothing) + label_smoothing / static_cast<double>(C)
                            : target;
  const Tensor log_probabilities = log_softmax(self, class_dim(self));
  const Tensor terms =
      weighted ? log_probabilities * smooth * broadcast_weight(self, *weight) : log_probabilities * smooth;
  if (reduction == Reduction::None) return -terms.sum({class_dim(self)});
  if (reduction == Reduction::Sum) return -terms.sum();
  const auto samples = C == 0 ? 0.0 : static_cast<double>(self.numel() / C);
  return -terms.sum() / samples;
}
}  // namespace

namespace {
// For label_smoothing > 0 and class indices; the next section.
Tensor smoothed_cross_entropy(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                              std::int64_t reduction, std::int64_t ignore_index, double label_smoothing);
}  // namespace

Tensor cross_entropy_loss(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                          std::int64_t reduction, std::int64_t ignore_index, double label_smoothing) {
  TORCH_CHECK(label_smoothing >= 0 && label_smoothing <= 1,
              "label_smoothing must be between 0.0 and 1.0. Got: ", label_smoothing);
  if (self.sizes() == target.sizes()) {
    TORCH_CHECK(ignore_index < 0, "ignore_index is not supported for floating point target");
    return cross_entropy_of_probabilities(self, target, weight, reduction, label_smoothing);
  }
  if (label_smoothing > 0)
    return smoothed_cross_entropy(self, target, weight, reduction, ignore_index, label_smoothing);
  // Across images one class after the other lies in memory, and a pass over all pixels for each is faster than
  // one pass over the classes of each pixel.
  if (self.dim() > 2) return nll_loss(log_softmax(self, 1), target, weight, reduction, ignore_index);
  const ClassSamples samples = class_samples(self, target, weight, reduction);
  const Tensor loss = op::cross_entropy(samples.input, samples.target, weight, reduction, ignore_index);
  return reduction == Reduction::None ? loss.view(samples.sizes) : loss;
}

namespace {
// (1 - label_smoothing) * nll_loss + label_smoothing / C * (sum over the classes c of -weight[c] *
// log-probability[c]) per sample. Ignored samples count 0 in both terms, and Mean divides both by the same
// sum of weight[target]. `self` are logits (N, C, ...), `target` class indices. O(numel).
Tensor smoothed_cross_entropy(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight,
                              std::int64_t reduction, std::int64_t ignore_index, double label_smoothing) {
  const std::int64_t dim = class_dim(self);
  const Tensor log_p = log_softmax(self, dim);
  const Tensor of_target = nll_loss(log_p, target, weight, reduction, ignore_index);
  const bool weighted = weight && weight->defined();
  const Tensor per_sample = -(weighted ? log_p * broadcast_weight(self, *weight) : log_p).sum({dim});
  Tensor of_all = where(target.view(per_sample.sizes()) == ignore_index, zeros_like(per_sample), per_sample);
  if (reduction != Reduction::None) of_all = of_all.sum();
  if (reduction == Reduction::Mean)
    of_all = of_all / nll_loss(full_like(self, -1), target, weight, Reduction::Sum, ignore_index);
  return of_target * (1 - label_smoothing) + of_all * (label_smoothing / static_cast<double>(self.size(dim)));
}
}  // namespace

// The mean cross-entropy of the logits input (N, D) x linear_weight^T (D, V) for target (N), over the samples
// whose target is not `ignore_index`: a 0-d tensor, up to rounding the same as cross_entropy_loss of all
// logits, for any N >= 1.
// Holds at most a quarter of the N * V logits at any time (N >= 16, linear_weight small beside them). O(N D
// V).
Tensor nn::functional::linear_cross_entropy(const Tensor& input, const Tensor& linear_weight,
                                            const Tensor& target, std::int64_t ignore_index) {
  const std::int64_t N = input.size(0);
  const std::int64_t rows = std::max<std::int64_t>(N / 16, 1);
  Tensor total = zeros({}, input.options());
  for (std::int64_t first = 0; first < N; first += rows) {
    const std::int64_t last = std::min(first + rows, N);
    const Tensor logits = input.slice(0, first, last).mm(linear_weight.t());
    total =
        total + cross_entropy_loss(logits, target.slice(0, first, last), {}, Reduction::Sum, ignore_index);
  }
  return total / target.ne(ignore_index).sum();
}

}  // namespace tinytorch
