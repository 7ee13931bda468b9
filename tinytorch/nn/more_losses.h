// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/ops.h"
#include "tinytorch/nn/loss.h"

namespace tinytorch {

// In all of them `reduction` is a Reduction, as in nn/loss.h, and the shapes broadcast unless said otherwise.

// max(0, -target * (input1 - input2) + margin) for target 1 (input1 shall be larger) or -1.
Tensor margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin = 0.0,
                           std::int64_t reduction = Reduction::Mean);
// self where target is 1, max(0, margin - self) where it is -1, their sum elsewhere.
Tensor hinge_embedding_loss(const Tensor& self, const Tensor& target, double margin = 1.0,
                            std::int64_t reduction = Reduction::Mean);
// log(1 + exp(-target * self)) for target 1 or -1.
Tensor soft_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean);
// With c the cosine of input1 and input2, (N, D) or (D): 1 - c where target (N) or () is 1, max(0, c - margin) where -1.
Tensor cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin = 0.0,
                             std::int64_t reduction = Reduction::Mean);
// max(0, d(anchor, positive) - d(anchor, negative) + margin) for d = pairwise_distance with p and eps. `swap` takes the
// smaller of d(anchor, negative) and d(positive, negative). Balntas et al. 2016.
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin = 1.0,
                           double p = 2, double eps = 1e-6, bool swap = false, std::int64_t reduction = Reduction::Mean);
// self (N, C) or (C), target (N) or () of Long: the sum over i != target of max(0, margin - self[target] + self[i])^p,
// times weight[target], divided by C. p is 1 or 2. O(numel).
Tensor multi_margin_loss(const Tensor& self, const Tensor& target, const Scalar& p = 1, const Scalar& margin = 1,
                         const std::optional<Tensor>& weight = {}, std::int64_t reduction = Reduction::Mean);
// self (N, C) or (C), target the same of Long: class indices, ended by -1. The sum over labels t and non-labels i of
// max(0, 1 - (self[t] - self[i])), divided by C. O(N C^2) time and memory.
Tensor multilabel_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean);
// For a rate exp(self) (or self, unless log_input) and a count target: exp(self) - target * self (or self - target *
// log(self + eps)); `full` adds Stirling's approximation of log(target!) where target > 1.
Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, bool log_input, bool full, double eps, std::int64_t reduction);

}  // namespace tinytorch
