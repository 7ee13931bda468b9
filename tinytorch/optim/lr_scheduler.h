// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

// Sets the learning rate of every group after each epoch (or step). Source: torch/csrc/api/include/torch/optim/schedulers/lr_scheduler.h.
class LRScheduler {
 public:
  explicit LRScheduler(Optimizer& optimizer, bool counts_first = false);
  virtual ~LRScheduler() = default;
  void step();
  unsigned step_count() const { return step_count_; }
  // For resuming: the rates themselves are in the optimizer's groups.
  virtual void set_step_count(unsigned count) { step_count_ = count; }
  // The count that stands for the beginning of the schedule.
  virtual unsigned first_count() const { return 0; }
  // Goes to the beginning of the schedule and its rates, made from those before any scheduler.
  void start();

 protected:
  // The rates that step() sets, one for each group. As in libtorch it sees how many steps were taken before this one; with counts_first this one is counted.
  virtual std::vector<double> get_lrs() = 0;
  std::vector<double> get_current_lrs() const;
  void set_lrs(const std::vector<double>& rates);
  Optimizer& optimizer_;
  std::vector<double> base_lrs_;  // before any scheduler
  unsigned step_count_ = 0;

 private:
  bool counts_first_;
};

// Multiplies the rate by gamma every step_size steps. As in libtorch the first step() only begins the schedule, which Python's schedulers do when they are made: the rate falls in step() number
// step_size + 1, 2 step_size + 1, ...
class StepLR : public LRScheduler {
 public:
  StepLR(Optimizer& optimizer, unsigned step_size, double gamma = 0.1);
  unsigned first_count() const override { return 1; }

 private:
  std::vector<double> get_lrs() override;
  unsigned step_size_;
  double gamma_;
};

// From the first rate to eta_min along half a cosine over T_max steps, and up again after that. Source: Loshchilov and Hutter 2017.
class CosineAnnealingLR : public LRScheduler {
 public:
  CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min = 0);

 private:
  std::vector<double> get_lrs() override;
  std::int64_t T_max_;
  double eta_min_;
};

}  // namespace optim

}  // namespace tinytorch
