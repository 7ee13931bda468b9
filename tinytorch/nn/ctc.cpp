// From the lesson modules/82_more_functions/more_functions_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/ctc.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <utility>
#include <variant>
#include <vector>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

namespace {
template <class T>
constexpr T kNever = -std::numeric_limits<T>::infinity();  // the logarithm of a probability of 0

// log(exp(a) + exp(b) + exp(c)).
template <class T>
T log_sum_exp(T a, T b, T c = kNever<T>) {
  if (a < b) std::swap(a, b);
  if (a < c) std::swap(a, c);
  if (a == kNever<T>) return b + c;  // all are, or one is NaN
  return a + std::log(1 + std::exp(b - a) + (c == kNever<T> ? T{0} : std::exp(c - a)));
}

// One sample: its frames, and the classes that its states emit.
template <class T>
struct CtcSample {
  const T* log_probs;  // of its first frame
  std::int64_t step;   // from a frame to the next
  std::int64_t frames;
  std::vector<std::int64_t> states;  // a blank, a label, a blank, ..., a blank

  CtcSample(const T* first, std::int64_t step_, std::int64_t frames_, ArrayRef<std::int64_t> labels, std::int64_t blank)
      : log_probs(first), step(step_), frames(frames_), states(2 * labels.size() + 1, blank) {
    for (std::size_t i = 0; i < labels.size(); ++i) states[2 * i + 1] = labels[i];
  }
  T emitted(std::int64_t t, std::size_t s) const { return log_probs[t * step + states[s]]; }
  // Whether state s may follow the one before the last one: between two blanks, or two labels that are the same, nothing may be left out.
  bool may_skip_to(std::size_t s) const { return s >= 2 && s < states.size() && states[s] != states[s - 2]; }
};

// Fills the rows of `alphas`, one of `width` for each frame, which are kNever. Returns log p(labels).
template <class T>
T fill_alphas(const CtcSample<T>& sample, T* alphas, std::size_t width) {
  const std::size_t L = sample.states.size();
  if (sample.frames == 0) return L == 1 ? T{0} : kNever<T>;
  for (std::size_t s = 0; s < std::min<std::size_t>(L, 2); ++s) alphas[s] = sample.emitted(0, s);
  const T* last = alphas;
  for (std::int64_t t = 1; t < sample.frames; ++t) {
    T* const now = alphas + static_cast<std::size_t>(t) * width;
    for (std::size_t s = 0; s < L; ++s)
      now[s] = log_sum_exp(last[s], s > 0 ? last[s - 1] : kNever<T>, sample.may_skip_to(s) ? last[s - 2] : kNever<T>) + sample.emitted(t, s);
    last = now;
  }
  return log_sum_exp(last[L - 1], L > 1 ? last[L - 2] : kNever<T>);
}

// Calls f(n, sample) for each sample of contiguous log_probs (T, N, C).
template <class T, class F>
void for_each_ctc_sample(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank, F f) {
  const std::int64_t N = log_probs.size(1), C = log_probs.size(2);
  const Tensor labels = targets.contiguous();
  const std::int64_t* all = labels.data<std::int64_t>();
  for (std::int64_t n = 0; n < N; ++n) {
    const auto at = static_cast<std::size_t>(n);
    const ArrayRef<std::int64_t> own(all, static_cast<std::size_t>(target_lengths[at]));
    for (const std::int64_t label : own) TORCH_CHECK_INDEX(label >= 0 && label < C, "index ", label, " is out of bounds for dimension 1 with size ", C, "\n[ctc_loss] a label must be a class.");
    f(n, CtcSample<T>(log_probs.data<T>() + n * C, N * C, input_lengths[at], own, blank));
    all += targets.dim() == 1 ? target_lengths[at] : targets.size(1);
  }
}

std::tuple<Tensor, Tensor> ctc_loss_cpu(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank) {
  const Tensor frames = log_probs.contiguous();
  const std::int64_t T = frames.size(0), N = frames.size(1);
  const std::int64_t width = 2 * *std::max_element(target_lengths.begin(), target_lengths.end()) + 1;
  const Tensor losses = empty({N}, frames.scalar_type());
  const Tensor alphas = full({N, T, width}, kNever<double>, frames.scalar_type());
  dispatch_floating_types(frames.scalar_type(), "ctc_loss_cpu", [&]<class R>() {
    for_each_ctc_sample<R>(frames, targets, input_lengths, target_lengths, blank, [&](std::int64_t n, const CtcSample<R>& sample) {
      losses.data<R>()[n] = -fill_alphas(sample, alphas.data<R>() + n * T * width, static_cast<std::size_t>(width));
    });
  });
  return {losses, alphas};
}
}  // namespace

namespace {
// Takes from `gradient` (frames as far apart as the sample's, zeros) each frame's shares of the ways, times `factor`.
template <class T>
void subtract_shares(const CtcSample<T>& sample, const T* alphas, std::size_t width, T loss, T factor, T* gradient) {
  const std::size_t L = sample.states.size();
  std::vector<T> betas(L, kNever<T>);
  betas[L - 1] = 0;
  if (L > 1) betas[L - 2] = 0;
  std::vector<T> next(L + 2, kNever<T>);  // p * beta of the frame behind, and two states that no way enters
  for (std::int64_t t = sample.frames; t-- > 0;) {
    const T* const alpha = alphas + static_cast<std::size_t>(t) * width;
    for (std::size_t s = 0; s < L; ++s) {
      gradient[t * sample.step + sample.states[s]] -= factor * std::exp(alpha[s] + betas[s] + loss);
      next[s] = betas[s] + sample.emitted(t, s);
    }
    for (std::size_t s = 0; s < L; ++s) betas[s] = log_sum_exp(next[s], next[s + 1], sample.may_skip_to(s + 2) ? next[s + 2] : kNever<T>);
  }
}

Tensor ctc_loss_backward_cpu(const Tensor& g, const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank, const Tensor& losses, const Tensor& alphas) {
  const Tensor frames = log_probs.contiguous(), factors = g.contiguous();
  const Tensor result = zeros(frames.sizes(), frames.scalar_type());
  const std::int64_t C = frames.size(2), width = alphas.size(2);
  dispatch_floating_types(frames.scalar_type(), "ctc_loss_backward_cpu", [&]<class R>() {
    for_each_ctc_sample<R>(frames, targets, input_lengths, target_lengths, blank, [&](std::int64_t n, const CtcSample<R>& sample) {
      const R loss = losses.data<R>()[n];
      if (loss == -kNever<R>) return;  // there is no way to have a share
      subtract_shares(sample, alphas.data<R>() + n * frames.size(0) * width, static_cast<std::size_t>(width), loss, factors.data<R>()[n], result.data<R>() + n * C);
    });
  });
  return result;
}
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, std::int64_t, const Tensor&, const Tensor&)> ctc_loss_backward("ctc_loss_backward", {.cpu = ctc_loss_backward_cpu});
}  // namespace

namespace {
constexpr double kAlmostNever = -1e30;  // kNever, for what is differentiated

// -log p(labels) of one sample, composed of operators: log_probs (T, C), labels (S).
Tensor ctc_of_one(const Tensor& log_probs, const Tensor& labels, std::int64_t blank) {
  const std::int64_t T = log_probs.size(0);
  const std::int64_t S = labels.size(0);
  const std::int64_t L = 2 * S + 1;
  const auto never = [&log_probs](std::int64_t count) { return full({count}, kAlmostNever, log_probs.scalar_type()); };
  if (T == 0) return full({}, S == 0 ? 0.0 : std::numeric_limits<double>::infinity(), log_probs.scalar_type());

  // The states: a blank, a label, a blank, ... A label may be reached from the one before it, unless both are the same.
  const Tensor states = full({L}, blank, kLong);
  if (S > 0) states.slice(0, 1, L, 2).copy_(labels);
  const Tensor may_skip = never(L);
  for (std::int64_t s = 3; s < L; s += 2)
    if (states[s].item<std::int64_t>() != states[s - 2].item<std::int64_t>()) may_skip[s] = 0;

  const Tensor emitted = log_probs.index_select(1, states);  // (T, L)
  Tensor ways = L == 1 ? emitted[0] : cat({emitted[0].slice(0, 0, 2), never(L - 2)});
  for (std::int64_t t = 1; t < T; ++t) {
    if (L == 1) {
      ways = ways + emitted[t];
      continue;
    }
    const Tensor next = cat({never(1), ways.slice(0, 0, L - 1)});
    const Tensor skipped = cat({never(2), ways.slice(0, 0, L - 2)}) + may_skip;
    ways = stack({ways, next, skipped}).logsumexp(0) + emitted[t];
  }
  const Tensor total = L == 1 ? ways[0] : ways.slice(0, L - 2).logsumexp(0);
  return where(total < kAlmostNever / 2, full({}, std::numeric_limits<double>::infinity(), log_probs.scalar_type()), -total);
}

// The gradient, recorded: autograd's of the composed losses.
Tensor ctc_loss_backward_composed(const Tensor& g, const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank) {
  const Tensor frames = log_probs.view_as(log_probs);  // without hooks of log_probs, which wait for the gradient that is returned
  std::vector<Tensor> losses;
  std::int64_t begin = 0;
  for (std::size_t n = 0; n < input_lengths.size(); ++n) {
    const auto sample = static_cast<std::int64_t>(n);
    const Tensor labels = targets.dim() == 1 ? targets.narrow(0, begin, target_lengths[n]) : targets.select(0, sample).narrow(0, 0, target_lengths[n]);
    begin += target_lengths[n];
    losses.push_back(ctc_of_one(frames.select(1, sample).narrow(0, 0, input_lengths[n]), labels, blank));
  }
  const Tensor all = stack(losses);
  return all.requires_grad() ? autograd::grad({all}, {frames}, {g}, true, true)[0] : zeros_like(log_probs);
}
}  // namespace

constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, std::int64_t)> op::ctc_loss(
    "ctc_loss", {.cpu = ctc_loss_cpu,
                 .autograd = gradient_of<op::ctc_loss>(
                     [](const Tensor& g, Input<0> log_probs, Input<1> targets, Arg<2, DimVector> input_lengths, Arg<3, DimVector> target_lengths, Arg<4, std::int64_t> blank, Output losses, OutputAt<1> alphas) {
                       return is_recording() ? ctc_loss_backward_composed(g, log_probs, targets, input_lengths.value, target_lengths.value, blank)
                                             : ctc_loss_backward(g, log_probs, targets, input_lengths.value, target_lengths.value, blank, losses, alphas);
                     },
                     no_gradient)});

namespace {
void check_lengths(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank) {
  const std::int64_t T = log_probs.size(0);
  const auto N = static_cast<std::size_t>(log_probs.size(1));
  TORCH_CHECK(blank >= 0 && blank < log_probs.size(2), "blank must be in label range\n[ctc_loss] blank is ", blank, ", there are ", log_probs.size(2), " classes.");
  TORCH_CHECK(input_lengths.size() == N, "input_lengths must be of size batch_size\n[ctc_loss] got ", input_lengths.size(), " for ", N, " samples.");
  TORCH_CHECK(target_lengths.size() == N, "target_lengths must be of size batch_size\n[ctc_loss] got ", target_lengths.size(), " for ", N, " samples.");
  for (const std::int64_t length : input_lengths) {
    TORCH_CHECK(length >= 0, "Expected input_lengths to have value at least 0, but got value ", length);
    TORCH_CHECK(length <= T, "Expected input_lengths to have value at most ", T, ", but got value ", length);
  }
  std::int64_t total = 0;
  std::int64_t longest = 0;
  for (const std::int64_t length : target_lengths) {
    TORCH_CHECK(length >= 0, "Expected target_lengths to have value at least 0, but got value ", length);
    total += length;
    longest = length > longest ? length : longest;
  }
  TORCH_CHECK(N > 0, "log_probs tensor must not be empty\n[ctc_loss] log_probs is ", log_probs.sizes(), ".");
  TORCH_CHECK(targets.dim() == 1 || targets.dim() == 2, "targets must be 1-D or 2-D, got ", targets.dim(), "-D");
  if (targets.dim() == 1) {
    TORCH_CHECK(targets.size(0) == total, "Expected tensor to have size ", total, " at dimension 0, but got size ", targets.size(0), " for argument #2 'targets'");
  } else {
    TORCH_CHECK(targets.size(0) == log_probs.size(1), "Expected tensor to have size ", log_probs.size(1), " at dimension 0, but got size ", targets.size(0), " for argument #2 'targets'");
    TORCH_CHECK(targets.size(1) >= longest, "Expected tensor to have size at least ", longest, " at dimension 1, but got size ", targets.size(1), " for argument #2 'targets'");
  }
}

// The whole numbers of a tensor, as a list.
std::vector<std::int64_t> numbers_of(const Tensor& lengths) {
  const Tensor dense = reshape(lengths, {-1}).to(kLong).contiguous();
  return {dense.data<std::int64_t>(), dense.data<std::int64_t>() + dense.numel()};
}
}  // namespace

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank, std::int64_t reduction, bool zero_infinity) {
  TORCH_CHECK_NOT_IMPLEMENTED(log_probs.scalar_type() == kFloat || log_probs.scalar_type() == kDouble, "\"ctc_loss_cpu\" not implemented for '", log_probs.scalar_type(), "'");
  if (log_probs.dim() == 2) {
    const Tensor one = ctc_loss(log_probs.unsqueeze(1), targets.dim() == 1 ? targets.unsqueeze(0) : targets, input_lengths, target_lengths, blank, reduction, zero_infinity);
    return reduction == Reduction::None ? one.squeeze(0) : one;
  }
  TORCH_CHECK(log_probs.dim() == 3, "log_probs must be (T, N, C) or (T, C), got ", log_probs.dim(), "-D");
  check_lengths(log_probs, targets, input_lengths, target_lengths, blank);
  Tensor loss = std::get<0>(op::ctc_loss(log_probs, targets.to(kLong), input_lengths, target_lengths, blank));
  if (zero_infinity) loss = where(loss.isinf(), zeros({}, loss.scalar_type()), loss);
  if (reduction == Reduction::None) return loss;
  if (reduction == Reduction::Sum) return loss.sum();
  std::vector<double> lengths;
  for (const std::int64_t length : target_lengths) lengths.push_back(length < 1 ? 1.0 : static_cast<double>(length));
  return (loss / tensor(ArrayRef<double>(lengths), loss.scalar_type())).mean();
}

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, std::int64_t blank, std::int64_t reduction, bool zero_infinity) {
  return ctc_loss(log_probs, targets, numbers_of(input_lengths), numbers_of(target_lengths), blank, reduction, zero_infinity);
}

Tensor nn::functional::ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, const CTCLossFuncOptions& options) {
  const std::int64_t reduction = std::holds_alternative<enumtype::kNone>(options.reduction()) ? Reduction::None
                                 : std::holds_alternative<enumtype::kSum>(options.reduction()) ? Reduction::Sum
                                                                                               : Reduction::Mean;
  return tinytorch::ctc_loss(log_probs, targets, input_lengths, target_lengths, options.blank(), reduction, options.zero_infinity());
}

nn::CTCLossImpl::CTCLossImpl(CTCLossOptions options_) : options(std::move(options_)) {}

void nn::CTCLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::CTCLoss()"; }

}  // namespace tinytorch
