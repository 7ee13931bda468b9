// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/lr_scheduler.h"

#include <cmath>

namespace tinytorch {

optim::LRScheduler::LRScheduler(Optimizer& optimizer, bool counts_first) : optimizer_(optimizer), counts_first_(counts_first) {
  for (OptimizerParamGroup& group : optimizer_.param_groups()) {
    if (!group.initial_lr()) group.initial_lr() = group.options().get_lr();
    base_lrs_.push_back(*group.initial_lr());
  }
}

std::vector<double> optim::LRScheduler::get_current_lrs() const {
  std::vector<double> rates;
  for (const OptimizerParamGroup& group : optimizer_.param_groups()) rates.push_back(group.options().get_lr());
  return rates;
}

void optim::LRScheduler::step() {
  if (counts_first_) ++step_count_;
  set_lrs(get_lrs());
  if (!counts_first_) ++step_count_;
}

void optim::LRScheduler::start() {
  set_step_count(first_count());
  set_lrs(base_lrs_);
  set_lrs(get_lrs());
}

void optim::LRScheduler::set_lrs(const std::vector<double>& rates) {
  std::vector<OptimizerParamGroup>& groups = optimizer_.param_groups();
  TORCH_CHECK(rates.size() == groups.size(), "Number of learning rates not equal to the number of param groups\nNumber of learning rates given: ",
              rates.size(), "\nNumber of param groups: ", groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i) groups[i].options().set_lr(rates[i]);
}

optim::StepLR::StepLR(Optimizer& optimizer, unsigned step_size, double gamma) : LRScheduler(optimizer, true), step_size_(step_size), gamma_(gamma) {
  TORCH_CHECK_VALUE(step_size > 0, "StepLR needs a step_size of at least 1, but got 0");
}

std::vector<double> optim::StepLR::get_lrs() {
  std::vector<double> rates = get_current_lrs();
  if (step_count_ > 1 && (step_count_ - 1) % step_size_ == 0)
    for (double& rate : rates) rate *= gamma_;
  return rates;
}

optim::CosineAnnealingLR::CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min)
    : LRScheduler(optimizer, true), T_max_(T_max), eta_min_(eta_min) {
  TORCH_CHECK_VALUE(T_max > 0, "CosineAnnealingLR needs a T_max of at least 1, but got ", T_max);
}

// The rate of each group after step_count_ steps: on half a cosine from its first rate (base_lrs_) at 0 to eta_min_ at T_max_.
std::vector<double> optim::CosineAnnealingLR::get_lrs() {
  const double progress = static_cast<double>(step_count_) / static_cast<double>(T_max_);
  const double height = (1 + std::cos(std::acos(-1.0) * progress)) / 2;
  std::vector<double> rates = base_lrs_;
  for (double& rate : rates) rate = eta_min_ + (rate - eta_min_) * height;
  return rates;
}

}  // namespace tinytorch
