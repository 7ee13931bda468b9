// From the lesson modules/98_optim_extras/optim_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

// libtorch's class. Two things are as in Python instead, where libtorch has them wrong: with `max` and `abs` a metric is better above best + threshold, and negative
// metrics can be a best for `max`; and the rate is computed in double, not with a float factor.
// Source: torch/csrc/api/include/torch/optim/schedulers/reduce_on_plateau_scheduler.h; torch/optim/lr_scheduler.py.
class ReduceLROnPlateauScheduler {
 public:
  enum SchedulerMode { min, max };
  enum ThresholdMode { rel, abs };
  // `min_lr` has one entry for each group, or none for 0.
  ReduceLROnPlateauScheduler(Optimizer& optimizer, SchedulerMode mode = min, double factor = 0.1, int patience = 10, double threshold = 1e-4,
                             ThresholdMode threshold_mode = rel, int cooldown = 0, const std::vector<float>& min_lr = {}, double eps = 1e-8,
                             bool verbose = false);
  void step(double metric);
  // What a checkpoint must hold; the rates are in the optimizer's groups.
  Fields fields();

 private:
  bool is_better(double metric) const;
  void reduce_lr();

  Optimizer& optimizer_;
  SchedulerMode mode_;
  double factor_;
  int patience_;
  double threshold_;
  ThresholdMode threshold_mode_;
  int cooldown_;
  std::vector<float> min_lrs_;
  double eps_;
  bool verbose_;
  double best_;
  std::int64_t last_epoch_ = 0;
  std::int64_t num_bad_epochs_ = 0;
  std::int64_t cooldown_counter_ = 0;
};

}  // namespace optim

}  // namespace tinytorch
