// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/warmup_cosine.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tinytorch {

// The rate of `step` as a multiple of the optimizer's first rate.
double optim::WarmupCosineLR::factor(unsigned step) const {
  if (step < warmup_steps_) return static_cast<double>(step + 1) / warmup_steps_;
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps_) / (total_steps_ - warmup_steps_));
  return final_ratio_ + (1 - final_ratio_) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

optim::WarmupCosineLR::WarmupCosineLR(Optimizer& optimizer, unsigned warmup_steps, unsigned total_steps, double final_ratio)
    : LRScheduler(optimizer, true), warmup_steps_(warmup_steps), total_steps_(total_steps), final_ratio_(final_ratio) {
  TORCH_CHECK_VALUE(total_steps > warmup_steps, "WarmupCosineLR needs more steps than its warm-up has, but got ", total_steps, " with a warm-up of ", warmup_steps);
  start();
}

std::vector<double> optim::WarmupCosineLR::get_lrs() {
  std::vector<double> rates = base_lrs_;
  for (double& rate : rates) rate *= factor(step_count_);
  return rates;
}

}  // namespace tinytorch
