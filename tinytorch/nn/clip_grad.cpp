// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/clip_grad.h"

#include <algorithm>
#include <cmath>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace {
// The norm of all gradients as one vector, summed in double.
double common_norm(const std::vector<Tensor>& parameters, double norm_type) {
  double total = 0;
  for (const Tensor& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    if (norm_type == 0) ++total;
    if (norm_type == 0 || parameter.grad().numel() == 0) continue;
    const Tensor magnitude = parameter.grad().detach().abs().to(kDouble);
    if (std::isinf(norm_type)) {
      const double largest = magnitude.max().item<double>();
      total = std::isnan(largest) ? largest : std::max(total, largest);
    } else {
      total += magnitude.pow(norm_type).sum().item<double>();
    }
  }
  return std::isinf(norm_type) || norm_type == 0 ? total : std::pow(total, 1.0 / norm_type);
}
}  // namespace

void nn::utils::clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value) {
  const NoGradGuard no_grad;
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) clamp_(parameter.mutable_grad(), -clip_value, clip_value);
}

// Multiplies all gradients, in place, by one factor: max_norm / (norm + 1e-6), but at most 1. Returns the norm before. With
// error_if_nonfinite, a norm that is infinite or NaN throws, and nothing has changed. O(elements).
double nn::utils::clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type, bool error_if_nonfinite) {
  const NoGradGuard no_grad;
  const double norm = common_norm(parameters, norm_type);
  TORCH_CHECK(!error_if_nonfinite || std::isfinite(norm), "The total norm of order ", norm_type,
              " for gradients from `parameters` is non-finite, so it cannot be clipped. To disable this error and scale the gradients with the "
              "non-finite norm anyway, set `error_if_nonfinite=false`");
  const double scale = std::isnan(norm) ? norm : std::min(1.0, max_norm / (norm + 1e-6));
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) parameter.mutable_grad().mul_(scale);
  return norm;
}

}  // namespace tinytorch
