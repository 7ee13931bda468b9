// From the lesson modules/98_optim_extras/optim_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/reduce_on_plateau.h"

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <limits>

namespace tinytorch {

optim::ReduceLROnPlateauScheduler::ReduceLROnPlateauScheduler(Optimizer& optimizer, SchedulerMode mode, double factor, int patience, double threshold,
                                                              ThresholdMode threshold_mode, int cooldown, const std::vector<float>& min_lr, double eps,
                                                              bool verbose)
    : optimizer_(optimizer), mode_(mode), factor_(factor), patience_(patience), threshold_(threshold), threshold_mode_(threshold_mode), cooldown_(cooldown),
      min_lrs_(min_lr.empty() ? std::vector<float>(optimizer.param_groups().size()) : min_lr), eps_(eps), verbose_(verbose),
      best_(mode == min ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity()) {
  TORCH_CHECK(min_lrs_.size() == optimizer.param_groups().size(), "Number of learning rates not equal to the number of param groups\nNumber of learning rates given: ",
              min_lrs_.size(), "\nNumber of param groups: ", optimizer.param_groups().size());
  TORCH_CHECK(factor < 1.0, "Factor should be < 1.0.");
}

void optim::ReduceLROnPlateauScheduler::step(double metric) {
  ++last_epoch_;
  if (is_better(metric)) {
    best_ = metric;
    num_bad_epochs_ = 0;
  } else {
    ++num_bad_epochs_;
  }
  if (cooldown_counter_ > 0) {
    --cooldown_counter_;
    num_bad_epochs_ = 0;
  }
  if (num_bad_epochs_ > patience_) {
    reduce_lr();
    cooldown_counter_ = cooldown_;
    num_bad_epochs_ = 0;
  }
}

optim::Fields optim::ReduceLROnPlateauScheduler::fields() {
  return {{"best", &best_}, {"last_epoch", &last_epoch_}, {"num_bad_epochs", &num_bad_epochs_}, {"cooldown_counter", &cooldown_counter_}};
}

bool optim::ReduceLROnPlateauScheduler::is_better(double metric) const {
  if (mode_ == min) return metric < (threshold_mode_ == rel ? best_ * (1 - threshold_) : best_ - threshold_);
  return metric > (threshold_mode_ == rel ? best_ * (1 + threshold_) : best_ + threshold_);
}

void optim::ReduceLROnPlateauScheduler::reduce_lr() {
  TORCH_CHECK(min_lrs_.size() == optimizer_.param_groups().size(), "The number of param groups in the `optimizer` (", optimizer_.param_groups().size(),
              ") differs from when `ReduceLROnPlateau` was initialized (", min_lrs_.size(), ")");
  for (std::size_t i = 0; i < min_lrs_.size(); ++i) {
    OptimizerOptions& options = optimizer_.param_groups()[i].options();
    const double reduced = std::max(options.get_lr() * factor_, static_cast<double>(min_lrs_[i]));
    if (options.get_lr() - reduced <= eps_) continue;
    options.set_lr(reduced);
    if (verbose_) std::cout << std::setprecision(4) << "Epoch " << last_epoch_ << ": reducing learning rate of group " << i << " to " << reduced << std::endl;
  }
}

}  // namespace tinytorch
