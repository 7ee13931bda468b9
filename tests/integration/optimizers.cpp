// The same runs as in tests/golden/record_optim.py: each optimizer's losses and each scheduler's rates over 100 steps are PyTorch's, and every optimizer goes
// on from a file as if nothing had happened.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "golden/reader.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

using namespace optim;
using Parameters = std::vector<Tensor>;
using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(const Parameters&)>;

const nlohmann::json& recorded_optimizers() {
  static const nlohmann::json document = read_golden("optim.json");
  return document;
}

template <class Kind, class Options>
MakeOptimizer with(const Options& options) {
  return [options](const Parameters& parameters) { return std::make_unique<Kind>(parameters, options); };
}

const std::map<std::string, MakeOptimizer>& optimizers() {
  static const std::map<std::string, MakeOptimizer> all = {
      {"SGD", with<SGD>(SGDOptions(0.1))},
      {"SGD, momentum, dampening, decay", with<SGD>(SGDOptions(0.1).momentum(0.9).dampening(0.3).weight_decay(1e-2))},
      {"SGD, Nesterov, decay", with<SGD>(SGDOptions(0.05).momentum(0.9).nesterov(true).weight_decay(1e-2))},
      {"Adagrad", with<Adagrad>(AdagradOptions(0.05))},
      {"Adagrad, all", with<Adagrad>(AdagradOptions(0.1).lr_decay(0.02).weight_decay(1e-2).initial_accumulator_value(0.1).eps(1e-6))},
      {"RMSprop", with<RMSprop>(RMSpropOptions(0.005))},
      {"RMSprop, momentum, decay", with<RMSprop>(RMSpropOptions(0.002).alpha(0.95).momentum(0.8).weight_decay(1e-2))},
      {"RMSprop, centered, momentum", with<RMSprop>(RMSpropOptions(0.002).alpha(0.9).momentum(0.5).centered(true).eps(1e-3))},
      {"Adam", with<Adam>(AdamOptions(0.01))},
      {"Adam, all", with<Adam>(AdamOptions(0.02).betas({0.8, 0.95}).eps(1e-6).weight_decay(1e-2).amsgrad(true))},
      {"AdamW", with<AdamW>(AdamWOptions(0.01))},
      {"AdamW, all", with<AdamW>(AdamWOptions(0.02).betas({0.8, 0.95}).eps(1e-6).weight_decay(0.1).amsgrad(true))},
      {"LBFGS", with<LBFGS>(LBFGSOptions(0.05).max_iter(2).history_size(5))},
      {"LBFGS, strong Wolfe", with<LBFGS>(LBFGSOptions(1).max_iter(2).history_size(3).line_search_fn("strong_wolfe"))},
  };
  return all;
}

struct DoubleByDefault {
  DoubleByDefault() { set_default_dtype(kDouble); }
  ~DoubleByDefault() { set_default_dtype(kFloat); }
};

// The network and data of the script, after its seed.
struct Problem {
  Problem() {
    manual_seed(7);
    const nn::Linear first(5, 8);  // on lines of their own: each draws numbers
    const nn::Linear second(8, 3);
    net = nn::Sequential(first, nn::Tanh(), second);
    inputs = randn({16, 5});
    targets = randint(0, 3, 16);
  }
  double step(Optimizer& optimizer) {
    return optimizer
        .step([&] {
          optimizer.zero_grad();
          const Tensor loss = cross_entropy_loss(net->forward(inputs), targets);
          loss.backward();
          return loss;
        })
        .item<double>();
  }
  nn::Sequential net;
  Tensor inputs, targets;
};

std::string scratch_file() {
  return (std::filesystem::temp_directory_path() / ("optimizers_" + std::to_string(getpid()))).string();
}

using Step = std::function<void(std::int64_t step)>;

// A stepper of the scheduler of this name, made on `optimizer`.
Step scheduler_named(const std::string& name, Optimizer& optimizer) {
  const auto stepping = [](auto scheduler) { return [scheduler](std::int64_t) { scheduler->step(); }; };
  const auto following = [](auto scheduler) {
    return [scheduler](std::int64_t step) {
      const auto t = static_cast<double>(step);
      scheduler->step(std::sin(0.3 * t) - 0.02 * t);
    };
  };
  if (name == "StepLR") {
    const auto scheduler = std::make_shared<StepLR>(optimizer, 7, 0.8);
    scheduler->step();  // Python's constructor takes this one itself
    return stepping(scheduler);
  }
  if (name == "MultiStepLR") return stepping(std::make_shared<MultiStepLR>(optimizer, std::vector<unsigned>{3, 20, 20, 70}, 0.5));
  if (name == "ExponentialLR") return stepping(std::make_shared<ExponentialLR>(optimizer, 0.97));
  if (name == "ConstantLR") return stepping(std::make_shared<ConstantLR>(optimizer, 0.25, 12));
  if (name == "LinearLR") return stepping(std::make_shared<LinearLR>(optimizer, 0.1, 0.9, 30));
  if (name == "CosineAnnealingLR") return stepping(std::make_shared<CosineAnnealingLR>(optimizer, 60, 0.01));
  if (name == "CosineAnnealingWarmRestarts") return stepping(std::make_shared<CosineAnnealingWarmRestarts>(optimizer, 10, 2, 0.01));
  if (name == "CosineAnnealingWarmRestarts, same length") return stepping(std::make_shared<CosineAnnealingWarmRestarts>(optimizer, 9));
  if (name == "OneCycleLR") return stepping(std::make_shared<OneCycleLR>(optimizer, OneCycleLROptions(0.5, 101)));
  if (name == "OneCycleLR, linear, three phases") {
    return stepping(std::make_shared<OneCycleLR>(
        optimizer, OneCycleLROptions(0.5, 101).pct_start(0.4).linear(true).three_phase(true).div_factor(10).final_div_factor(100)));
  }
  if (name == "SequentialLR") {
    const auto first = std::make_shared<LinearLR>(optimizer, 0.2, 1.0, 10);
    const auto second = std::make_shared<CosineAnnealingLR>(optimizer, 50, 0.02);
    const auto third = std::make_shared<StepLR>(optimizer, 5, 0.5);
    const std::vector<std::shared_ptr<LRScheduler>> parts{first, second, third};
    return stepping(std::make_shared<SequentialLR>(optimizer, parts, std::vector<unsigned>{10, 60}));
  }
  using Plateau = ReduceLROnPlateauScheduler;
  if (name == "ReduceLROnPlateau")
    return following(std::make_shared<Plateau>(optimizer, Plateau::min, 0.5, 2, 0.01, Plateau::rel, 3, std::vector<float>{0.03125f, 0.0f}));
  if (name == "ReduceLROnPlateau, max, abs") return following(std::make_shared<Plateau>(optimizer, Plateau::max, 0.7, 1, 0.05, Plateau::abs));
  throw std::runtime_error("no scheduler is called " + name);
}

}  // namespace

TEST_CASE("each optimizer's first 100 steps are PyTorch's") {
  const DoubleByDefault scope;
  CHECK_EQ(recorded_optimizers().at("optimizers").size(), optimizers().size());
  for (const auto& entry : recorded_optimizers().at("optimizers").items()) {
    const std::string& name = entry.key();
    const auto& run = entry.value();
    CAPTURE(name);
    Problem problem;
    const auto optimizer = optimizers().at(name)(problem.net->parameters());
    std::size_t step = 0;
    for (const nlohmann::json& expected : run.at("losses")) {
      CAPTURE(step);
      ++step;
      CHECK_CLOSE(problem.step(*optimizer), expected.get<double>(), 1e-9, 1e-12);
    }
    const std::vector<Tensor> parameters = problem.net->parameters();
    REQUIRE_EQ(parameters.size(), run.at("final").size());
    for (std::size_t i = 0; i < parameters.size(); ++i) CHECK_CLOSE(parameters[i].detach(), tensor_from(run.at("final")[i]), 1e-9, 1e-10);
  }
}

TEST_CASE("each scheduler's first 100 rates are PyTorch's") {
  for (const auto& entry : recorded_optimizers().at("schedulers").items()) {
    const std::string& name = entry.key();
    const auto& rows = entry.value();
    CAPTURE(name);
    const Tensor a = zeros({1}), b = zeros({1});
    std::vector<OptimizerParamGroup> groups;
    groups.emplace_back(std::vector<Tensor>{a});
    groups.emplace_back(std::vector<Tensor>{b}, std::make_unique<SGDOptions>(0.1));
    SGD optimizer(groups, SGDOptions(0.4).momentum(0.9));
    const Step take = scheduler_named(name, optimizer);
    std::int64_t step = 0;
    for (const nlohmann::json& row : rows) {
      CAPTURE(step);
      CHECK_CLOSE(optimizer.param_groups()[0].options().get_lr(), row[0].get<double>(), 1e-9, 1e-15);
      CHECK_CLOSE(optimizer.param_groups()[1].options().get_lr(), row[1].get<double>(), 1e-9, 1e-15);
      if (row.size() > 2) CHECK_CLOSE(static_cast<const SGDOptions&>(optimizer.param_groups()[0].options()).momentum(), row[2].get<double>(), 1e-9, 0.0);
      if (step < 100) take(step);
      ++step;
    }
  }
}

TEST_CASE("every optimizer goes on from a file as if nothing had happened, with its options") {
  const DoubleByDefault scope;
  const std::string path = scratch_file();
  for (const auto& entry : optimizers()) {
    const auto& name = entry.first;
    const auto& make = entry.second;
    CAPTURE(name);
    Problem whole;
    const auto first = make(whole.net->parameters());
    for (int i = 0; i < 5; ++i) whole.step(*first);
    save(*first, path);
    Problem restarted;
    {
      const NoGradGuard no_grad;
      for (std::size_t i = 0; i < whole.net->parameters().size(); ++i) restarted.net->parameters()[i].copy_(whole.net->parameters()[i]);
    }
    // Made with a rate of its own: all options come from the file.
    const std::string kind = first->name();
    const Parameters parameters = restarted.net->parameters();
    std::unique_ptr<Optimizer> resumed;
    if (kind == "SGD") resumed = std::make_unique<SGD>(parameters, 9.0);
    if (kind == "Adagrad") resumed = std::make_unique<Adagrad>(parameters, 9.0);
    if (kind == "RMSprop") resumed = std::make_unique<RMSprop>(parameters, 9.0);
    if (kind == "Adam") resumed = std::make_unique<Adam>(parameters, 9.0);
    if (kind == "AdamW") resumed = std::make_unique<AdamW>(parameters, 9.0);
    if (kind == "LBFGS") resumed = std::make_unique<LBFGS>(parameters, 9.0);
    REQUIRE(resumed != nullptr);
    load(*resumed, path);
    for (int i = 0; i < 5; ++i) CHECK_EQ(restarted.step(*resumed), whole.step(*first));
    for (std::size_t i = 0; i < parameters.size(); ++i) CHECK_EQ(parameters[i].detach(), whole.net->parameters()[i].detach());
  }
  std::filesystem::remove(path);
}

TEST_CASE("an optimizer of one's own needs step() only, and says what it lacks when it is saved") {
  struct Plain : Optimizer {
    Plain(std::vector<Tensor> parameters, SGDOptions defaults) : Optimizer(std::move(parameters), std::make_unique<SGDOptions>(defaults)) {}
    Tensor step(LossClosure closure) override {
      const Tensor loss = closure ? closure() : Tensor();
      const NoGradGuard no_grad;
      for (OptimizerParamGroup& group : param_groups_)
        for (Tensor& parameter : group.params())
          if (parameter.grad().defined()) parameter.sub_(parameter.grad() * group.options().get_lr());
      return loss;
    }
  };
  const Tensor p = ones({2});
  p.requires_grad_();
  Plain optimizer({p}, 0.25);
  p.sum().backward();
  optimizer.step(nullptr);
  CHECK_EQ(p.detach(), full({2}, 0.75));
  serialize::OutputArchive archive;
  CHECK_ERROR(optimizer.save(archive), "name() is not implemented for this optimizer");
}

}  // namespace tinytorch::testing
