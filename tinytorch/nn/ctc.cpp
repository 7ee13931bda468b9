// From the lesson modules/82_more_functions/more_functions_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/ctc.h"

#include <limits>
#include <ostream>
#include <variant>
#include <vector>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

nn::CTCLossImpl::CTCLossImpl(CTCLossOptions options_) : options(std::move(options_)) {}

namespace {
constexpr double kNever = -1e30;  // the logarithm of a probability of 0

// -log p(labels) of one sample: log_probs (T, C), labels (S).
Tensor ctc_of_one(const Tensor& log_probs, const Tensor& labels, std::int64_t blank) {
  const std::int64_t T = log_probs.size(0);
  const std::int64_t S = labels.size(0);
  const std::int64_t L = 2 * S + 1;
  const auto never = [&log_probs](std::int64_t count) { return full({count}, kNever, log_probs.scalar_type()); };
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
  return where(total < kNever / 2, full({}, std::numeric_limits<double>::infinity(), log_probs.scalar_type()), -total);
}

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
  std::vector<Tensor> losses;
  std::int64_t begin = 0;
  for (std::size_t n = 0; n < input_lengths.size(); ++n) {
    const auto sample = static_cast<std::int64_t>(n);
    const Tensor labels = targets.dim() == 1 ? targets.narrow(0, begin, target_lengths[n]) : targets.select(0, sample).narrow(0, 0, target_lengths[n]);
    begin += target_lengths[n];
    losses.push_back(ctc_of_one(log_probs.select(1, sample).narrow(0, 0, input_lengths[n]), labels.to(kLong), blank));
  }
  Tensor loss = stack(losses);
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

void nn::CTCLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::CTCLoss()"; }

}  // namespace tinytorch
