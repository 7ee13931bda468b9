// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/optim/lr_scheduler.h"

namespace tinytorch {

namespace optim {

// A straight rise to the first rate over warmup_steps steps, then half a cosine down to final_ratio times the first rate at total_steps, and that rate from there on. To be
// stepped after each batch.
class WarmupCosineLR : public LRScheduler {
 public:
  WarmupCosineLR(Optimizer& optimizer, unsigned warmup_steps, unsigned total_steps, double final_ratio = 0.1);
  // The rate of a step, as a multiple of the first rate.
  double factor(unsigned step) const;

 private:
  std::vector<double> get_lrs() override;
  unsigned warmup_steps_, total_steps_;
  double final_ratio_;
};

}  // namespace optim

}  // namespace tinytorch
