// From the lesson modules/82_more_functions/more_functions_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>

#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/loss_modules.h"

namespace tinytorch {

// The negative log-likelihood of `targets` under all alignments. log_probs: (T, N, C), or (T, C) for one sample; targets: (N, S) padded, or all targets behind each other (sum of target_lengths), without blanks.
// Gives (N) for Reduction::None; the mean divides each loss by its target's length first. A target that no alignment fits costs infinity, or 0 with zero_infinity, and has the gradient 0. Throws for lengths beyond T and S, a blank that is
// no class, and a label that is none. The gradient is that of log_probs, whatever they were computed by. O(N * T * S) time and memory. Source: aten/src/ATen/native/LossCTC.cpp.
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, IntArrayRef input_lengths, IntArrayRef target_lengths, std::int64_t blank = 0, std::int64_t reduction = Reduction::Mean,
                bool zero_infinity = false);
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, std::int64_t blank = 0, std::int64_t reduction = Reduction::Mean,
                bool zero_infinity = false);
namespace op {
// log_probs (T, N, C), targets of Long, checked lengths and blank -> losses (N), and for the gradient of these the logarithms of all alphas (N, T, 2 S + 1), which have none themselves; S is the largest target length.
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, std::int64_t)> ctc_loss;
}  // namespace op

namespace nn {
struct CTCLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(std::int64_t, blank) = 0;
  TORCH_ARG(reduction_t, reduction) = kMean;
  TORCH_ARG(bool, zero_infinity) = false;
};

namespace functional {
using CTCLossFuncOptions = CTCLossOptions;
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths, const CTCLossFuncOptions& options = {});
}  // namespace functional

class CTCLossImpl : public Cloneable<CTCLossImpl> {
 public:
  explicit CTCLossImpl(CTCLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths) {
    return functional::ctc_loss(log_probs, targets, input_lengths, target_lengths, options);
  }
  CTCLossOptions options;
};
TORCH_MODULE(CTCLoss);
}  // namespace nn

}  // namespace tinytorch
