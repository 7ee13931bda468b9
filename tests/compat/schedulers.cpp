// Learning rates that change: libtorch's own schedulers and one of the user's.
#include <torch/torch.h>

#include <cmath>
#include <iostream>
#include <memory>
#include <vector>

using torch::Tensor;
using namespace torch::optim;

// Warm-up and then a cosine, as users write it.
class WarmCosine : public LRScheduler {
 public:
  WarmCosine(Optimizer& optimizer, double base, unsigned warm, unsigned total) : LRScheduler(optimizer), base_(base), warm_(warm), total_(total) {}

 private:
  std::vector<double> get_lrs() override {
    std::vector<double> rates = get_current_lrs();
    for (double& rate : rates) {
      rate = step_count_ < warm_ ? base_ * (step_count_ + 1) / warm_ : base_ * 0.5 * (1 + std::cos(M_PI * (step_count_ - warm_) / (total_ - warm_)));
    }
    return rates;
  }
  double base_;
  unsigned warm_, total_;
};

std::vector<OptimizerParamGroup> two_groups() {
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<Tensor>{torch::zeros({1}, torch::requires_grad())});
  groups.emplace_back(std::vector<Tensor>{torch::zeros({1}, torch::requires_grad())}, std::make_unique<SGDOptions>(1.0));
  return groups;
}

void rates(const Optimizer& optimizer) {
  for (const auto& group : optimizer.param_groups()) std::cout << group.options().get_lr() << " ";
}

int main() {
  {
    SGD optimizer(two_groups(), SGDOptions(0.1));
    StepLR scheduler(optimizer, 3, 0.5);
    for (int step = 0; step < 8; ++step) {
      rates(optimizer);
      std::cout << "| ";
      optimizer.step();
      scheduler.step();
    }
    std::cout << "\n";
  }
  {
    Adam optimizer(std::vector<Tensor>{torch::zeros({1}, torch::requires_grad())}, AdamOptions(0.1));
    StepLR scheduler(optimizer, 2);
    for (int step = 0; step < 5; ++step) {
      scheduler.step();
      rates(optimizer);
    }
    std::cout << "\n";
  }
  {
    SGD optimizer(two_groups(), SGDOptions(0.5));
    ReduceLROnPlateauScheduler scheduler(optimizer, ReduceLROnPlateauScheduler::SchedulerMode::min, 0.1, 1, 1e-4, ReduceLROnPlateauScheduler::ThresholdMode::rel, 1, std::vector<float>{0.01f, 0.2f});
    for (const float loss : {1.0f, 0.9f, 0.95f, 0.95f, 0.95f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f}) {
      scheduler.step(loss);
      rates(optimizer);
      std::cout << "| ";
    }
    std::cout << "\n";
  }
  {
    AdamW optimizer(std::vector<Tensor>{torch::zeros({1}, torch::requires_grad())}, AdamWOptions(0.0));
    WarmCosine scheduler(optimizer, 1.0, 4, 12);
    for (int step = 0; step < 12; ++step) {
      scheduler.step();
      std::cout << std::round(1e6 * optimizer.param_groups()[0].options().get_lr()) << " ";
    }
    std::cout << "\n";
  }
  // What schedulers stand on: the options of a group, read and written.
  RMSprop optimizer(std::vector<Tensor>{torch::zeros({1}, torch::requires_grad())}, RMSpropOptions(0.3));
  auto& options = static_cast<RMSpropOptions&>(optimizer.param_groups()[0].options());
  options.set_lr(0.25);
  std::cout << options.lr() << " " << options.get_lr() << " " << static_cast<RMSpropOptions&>(optimizer.defaults()).lr() << "\n";
}
