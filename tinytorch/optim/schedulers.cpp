// From the lesson modules/98_optim_extras/optim_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/schedulers.h"

#include <algorithm>
#include <cmath>

namespace tinytorch {

namespace {
std::vector<double> scaled(std::vector<double> rates, double factor) {
  for (double& rate : rates) rate *= factor;
  return rates;
}

// From `start` at 0 to `end` at 1 along half a cosine.
double half_cosine(double start, double end, double progress) { return end + (start - end) / 2 * (std::cos(std::acos(-1.0) * progress) + 1); }
}  // namespace

optim::MultiStepLR::MultiStepLR(Optimizer& optimizer, std::vector<unsigned> milestones, double gamma)
    : LRScheduler(optimizer, true), milestones_(std::move(milestones)), gamma_(gamma) {}

std::vector<double> optim::MultiStepLR::get_lrs() {
  const auto times = std::count(milestones_.begin(), milestones_.end(), step_count_);
  return scaled(get_current_lrs(), std::pow(gamma_, static_cast<double>(times)));
}

optim::ExponentialLR::ExponentialLR(Optimizer& optimizer, double gamma) : LRScheduler(optimizer, true), gamma_(gamma) {}

std::vector<double> optim::ExponentialLR::get_lrs() { return scaled(get_current_lrs(), step_count_ == 0 ? 1.0 : gamma_); }

optim::ConstantLR::ConstantLR(Optimizer& optimizer, double factor, unsigned total_iters) : LRScheduler(optimizer, true), factor_(factor), total_iters_(total_iters) {
  TORCH_CHECK_VALUE(factor >= 0 && factor <= 1, "Constant multiplicative factor expected to be between 0 and 1.");
  start();
}

std::vector<double> optim::ConstantLR::get_lrs() { return scaled(base_lrs_, step_count_ < total_iters_ ? factor_ : 1.0); }

optim::LinearLR::LinearLR(Optimizer& optimizer, double start_factor, double end_factor, unsigned total_iters)
    : LRScheduler(optimizer, true), start_factor_(start_factor), end_factor_(end_factor), total_iters_(total_iters) {
  TORCH_CHECK_VALUE(start_factor > 0 && start_factor <= 1, "Starting multiplicative factor expected to be greater than 0 and less or equal to 1.");
  TORCH_CHECK_VALUE(end_factor >= 0 && end_factor <= 1, "Ending multiplicative factor expected to be between 0 and 1.");
  TORCH_CHECK_VALUE(total_iters > 0, "LinearLR needs total_iters of at least 1, but got 0");
  start();
}

std::vector<double> optim::LinearLR::get_lrs() {
  const double progress = static_cast<double>(std::min(step_count_, total_iters_)) / total_iters_;
  return scaled(base_lrs_, start_factor_ + (end_factor_ - start_factor_) * progress);
}

optim::CosineAnnealingWarmRestarts::CosineAnnealingWarmRestarts(Optimizer& optimizer, unsigned T_0, unsigned T_mult, double eta_min)
    : LRScheduler(optimizer, true), T_0_(T_0), T_mult_(T_mult), eta_min_(eta_min) {
  TORCH_CHECK_VALUE(T_0 > 0, "Expected positive integer T_0, but got ", T_0);
  TORCH_CHECK_VALUE(T_mult >= 1, "Expected integer T_mult >= 1, but got ", T_mult);
}

std::vector<double> optim::CosineAnnealingWarmRestarts::get_lrs() {
  unsigned within = step_count_;  // steps since the last restart
  unsigned length = T_0_;
  if (T_mult_ == 1) within %= T_0_;
  for (; within >= length; length *= T_mult_) within -= length;
  std::vector<double> rates = base_lrs_;
  for (double& rate : rates) rate = half_cosine(rate, eta_min_, static_cast<double>(within) / length);
  return rates;
}

optim::OneCycleLR::OneCycleLR(Optimizer& optimizer, OneCycleLROptions options) : LRScheduler(optimizer, true), options_(std::move(options)) {
  TORCH_CHECK_VALUE(options_.total_steps() > 0, "Expected positive integer total_steps, but got ", options_.total_steps());
  TORCH_CHECK_VALUE(options_.pct_start() >= 0 && options_.pct_start() <= 1, "Expected float between 0 and 1 pct_start, but got ", options_.pct_start());
  const double first = options_.max_lr() / options_.div_factor();
  const double last = first / options_.final_div_factor();
  const double high = options_.max_momentum(), low = options_.base_momentum();
  const double rise = options_.pct_start() * options_.total_steps();
  phases_.push_back({rise - 1, first, options_.max_lr(), high, low});
  if (options_.three_phase()) {
    phases_.push_back({2 * rise - 2, options_.max_lr(), first, low, high});
    phases_.push_back({options_.total_steps() - 1.0, first, last, high, high});
  } else {
    phases_.push_back({options_.total_steps() - 1.0, options_.max_lr(), last, low, high});
  }
  for (std::size_t i = 0; i < base_lrs_.size(); ++i) {
    base_lrs_[i] = first;
    optimizer_.param_groups()[i].initial_lr() = first;
  }
  start();
}

// Sets `momentum`, or `beta1`, of each group.
void optim::OneCycleLR::set_momentum(double value) {
  for (OptimizerParamGroup& group : optimizer_.param_groups()) {
    bool found = false;
    for (const auto& [name, field] : group.options().fields()) {
      if (name != "momentum" && name != "beta1") continue;
      *std::get<double*>(field) = value;
      found = true;
    }
    TORCH_CHECK_VALUE(found, "optimizer must support momentum or beta1 with `cycle_momentum` option enabled");
  }
}

std::vector<double> optim::OneCycleLR::get_lrs() {
  TORCH_CHECK_VALUE(step_count_ <= options_.total_steps(), "Tried to step ", step_count_, " times. The specified number of total steps is ", options_.total_steps());
  std::size_t i = 0;
  while (i + 1 < phases_.size() && step_count_ > phases_[i].end_step) ++i;
  const Phase& phase = phases_[i];
  const double begin = i == 0 ? 0.0 : phases_[i - 1].end_step;
  const double progress = (step_count_ - begin) / (phase.end_step - begin);
  const auto between = [&](double start_value, double end_value) {
    return options_.linear() ? start_value + (end_value - start_value) * progress : half_cosine(start_value, end_value, progress);
  };
  if (options_.cycle_momentum()) set_momentum(between(phase.start_momentum, phase.end_momentum));
  return std::vector<double>(base_lrs_.size(), between(phase.start_lr, phase.end_lr));
}

optim::SequentialLR::SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<LRScheduler>> schedulers, std::vector<unsigned> milestones)
    : LRScheduler(optimizer, true), schedulers_(std::move(schedulers)), milestones_(std::move(milestones)) {
  TORCH_CHECK_VALUE(!schedulers_.empty(), "SequentialLR expects at least one scheduler, but got no scheduler.");
  TORCH_CHECK_VALUE(milestones_.size() + 1 == schedulers_.size(),
                    "Sequential Schedulers expects number of schedulers provided to be one more than the number of milestone points, but got number of schedulers ",
                    schedulers_.size(), " and the number of milestones to be equal to ", milestones_.size());
  TORCH_CHECK_VALUE(std::is_sorted(milestones_.begin(), milestones_.end()), "SequentialLR expects milestones in ascending order");
  schedulers_[running_at(0).first]->start();
}

std::pair<std::size_t, unsigned> optim::SequentialLR::running_at(unsigned step) const {
  const auto next = std::upper_bound(milestones_.begin(), milestones_.end(), step);
  const auto index = static_cast<std::size_t>(next - milestones_.begin());
  return {index, index == 0 ? 0 : milestones_[index - 1]};
}

// The one that runs sets the rates itself.
std::vector<double> optim::SequentialLR::get_lrs() {
  const auto [index, begin] = running_at(step_count_);
  if (step_count_ == begin) {
    schedulers_[index]->start();
  } else {
    schedulers_[index]->step();
  }
  return get_current_lrs();
}

void optim::SequentialLR::set_step_count(unsigned count) {
  LRScheduler::set_step_count(count);
  const auto [index, begin] = running_at(count);
  schedulers_[index]->set_step_count(count - begin + schedulers_[index]->first_count());
}

}  // namespace tinytorch
