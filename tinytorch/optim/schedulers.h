// From the lesson modules/98_optim_extras/optim_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <memory>

#include "tinytorch/core/arg.h"
#include "tinytorch/optim/lr_scheduler.h"

namespace tinytorch {

namespace optim {

// Multiplies the rate by gamma at each milestone (several times at one that is named several times).
class MultiStepLR : public LRScheduler {
 public:
  MultiStepLR(Optimizer& optimizer, std::vector<unsigned> milestones, double gamma = 0.1);

 private:
  std::vector<double> get_lrs() override;
  std::vector<unsigned> milestones_;
  double gamma_;
};

// Multiplies the rate by gamma in every step.
class ExponentialLR : public LRScheduler {
 public:
  ExponentialLR(Optimizer& optimizer, double gamma);

 private:
  std::vector<double> get_lrs() override;
  double gamma_;
};

// The first rate times factor for total_iters steps, and then the first rate itself.
class ConstantLR : public LRScheduler {
 public:
  ConstantLR(Optimizer& optimizer, double factor = 1.0 / 3, unsigned total_iters = 5);

 private:
  std::vector<double> get_lrs() override;
  double factor_;
  unsigned total_iters_;
};

// From the first rate times start_factor to the first rate times end_factor, in a straight line over total_iters steps: a warm-up.
class LinearLR : public LRScheduler {
 public:
  LinearLR(Optimizer& optimizer, double start_factor = 1.0 / 3, double end_factor = 1.0, unsigned total_iters = 5);

 private:
  std::vector<double> get_lrs() override;
  double start_factor_, end_factor_;
  unsigned total_iters_;
};

// Half a cosine down to eta_min over T_0 steps, then again from the first rate, each time T_mult times as long.
// Source: Loshchilov and Hutter 2017.
class CosineAnnealingWarmRestarts : public LRScheduler {
 public:
  CosineAnnealingWarmRestarts(Optimizer& optimizer, unsigned T_0, unsigned T_mult = 1, double eta_min = 0);

 private:
  std::vector<double> get_lrs() override;
  unsigned T_0_, T_mult_;
  double eta_min_;
};

struct OneCycleLROptions {
  OneCycleLROptions(double max_lr, unsigned total_steps) : max_lr_(max_lr), total_steps_(total_steps) {}
  TORCH_ARG(double, max_lr);
  TORCH_ARG(unsigned, total_steps);
  TORCH_ARG(double, pct_start) = 0.3;           // the part of the cycle in which the rate rises
  TORCH_ARG(bool, linear) = false;              // straight lines instead of cosines
  TORCH_ARG(bool, cycle_momentum) = true;       // momentum (or beta1) falls while the rate rises
  TORCH_ARG(double, base_momentum) = 0.85;
  TORCH_ARG(double, max_momentum) = 0.95;
  TORCH_ARG(double, div_factor) = 25;           // the first rate is max_lr / div_factor
  TORCH_ARG(double, final_div_factor) = 1e4;    // the last one is the first / final_div_factor
  TORCH_ARG(bool, three_phase) = false;         // up, down to the first rate in the same time, and then down to the last
};

// One rise of the rate and one fall, for the whole training: to be stepped after each batch. Source: Smith and Topin 2019.
class OneCycleLR : public LRScheduler {
 public:
  OneCycleLR(Optimizer& optimizer, OneCycleLROptions options);

 private:
  struct Phase {
    double end_step;
    double start_lr, end_lr;
    double start_momentum, end_momentum;
  };
  std::vector<double> get_lrs() override;
  void set_momentum(double value);
  OneCycleLROptions options_;
  std::vector<Phase> phases_;
};

// One scheduler after the other: schedulers[i] runs from milestones[i - 1] (0 for the first) and begins there at its own step 0. Make them before this one,
// on the same optimizer, and step only this one.
class SequentialLR : public LRScheduler {
 public:
  SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<LRScheduler>> schedulers, std::vector<unsigned> milestones);
  void set_step_count(unsigned count) override;

 private:
  std::vector<double> get_lrs() override;
  // Which scheduler runs at a step, and the step at which it began.
  std::pair<std::size_t, unsigned> running_at(unsigned step) const;
  std::vector<std::shared_ptr<LRScheduler>> schedulers_;
  std::vector<unsigned> milestones_;
};

}  // namespace optim

}  // namespace tinytorch
