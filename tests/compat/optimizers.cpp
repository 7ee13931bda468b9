// Optimizers on one small problem: their steps, groups and closures.
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

using torch::Tensor;

Tensor loss_of(const Tensor& w) { return (w - torch::tensor({1.0, -2.0, 3.0}, torch::kDouble)).pow(2).mul(torch::tensor({1.0, 10.0, 0.1}, torch::kDouble)).sum(); }

void run(const std::string& name, const std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<Tensor>)>& make) {
  const Tensor w = torch::zeros({3}, torch::dtype(torch::kDouble).requires_grad(true));
  const auto optimizer = make({w});
  for (int step = 0; step < 20; ++step) {
    optimizer->zero_grad();
    loss_of(w).backward();
    optimizer->step();
  }
  std::cout << name << "\n" << w.detach() * 1000 << "\n";
}

int main() {
  using namespace torch::optim;
  run("SGD", [](std::vector<Tensor> w) { return std::make_unique<SGD>(w, SGDOptions(0.01)); });
  run("SGD with momentum", [](std::vector<Tensor> w) { return std::make_unique<SGD>(w, SGDOptions(0.01).momentum(0.9).nesterov(true).weight_decay(0.01)); });
  run("SGD with dampening", [](std::vector<Tensor> w) { return std::make_unique<SGD>(w, SGDOptions(0.01).momentum(0.9).dampening(0.5)); });
  run("Adam", [](std::vector<Tensor> w) { return std::make_unique<Adam>(w, AdamOptions(0.1).betas(std::make_tuple(0.8, 0.99)).weight_decay(0.01)); });
  run("AMSGrad", [](std::vector<Tensor> w) { return std::make_unique<Adam>(w, AdamOptions(0.1).amsgrad(true)); });
  run("AdamW", [](std::vector<Tensor> w) { return std::make_unique<AdamW>(w, AdamWOptions(0.1).weight_decay(0.1)); });
  run("RMSprop", [](std::vector<Tensor> w) { return std::make_unique<RMSprop>(w, RMSpropOptions(0.05).momentum(0.5).centered(true)); });
  run("Adagrad", [](std::vector<Tensor> w) { return std::make_unique<Adagrad>(w, AdagradOptions(0.5).lr_decay(0.1)); });

  const Tensor w = torch::zeros({3}, torch::dtype(torch::kDouble).requires_grad(true));
  LBFGS lbfgs(std::vector<Tensor>{w}, LBFGSOptions(1).max_iter(20).line_search_fn("strong_wolfe"));
  lbfgs.step([&] {
    lbfgs.zero_grad();
    const Tensor loss = loss_of(w);
    loss.backward();
    return loss;
  });
  std::cout << "LBFGS\n" << w.detach() << "\n";

  const Tensor slow = torch::ones({2}, torch::requires_grad());
  const Tensor fast = torch::ones({2}, torch::requires_grad());
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<Tensor>{slow});
  groups.emplace_back(std::vector<Tensor>{fast}, std::make_unique<SGDOptions>(0.5));
  SGD grouped(groups, SGDOptions(0.1));
  (slow.sum() + fast.sum()).backward();
  grouped.step();
  std::cout << slow.detach() << "\n" << fast.detach() << "\n" << grouped.param_groups().size() << " " << grouped.param_groups()[1].options().get_lr() << "\n";

  static_cast<SGDOptions&>(grouped.param_groups()[0].options()).lr(7);
  std::cout << static_cast<SGDOptions&>(grouped.param_groups()[0].options()).lr() << "\n";
  grouped.zero_grad();
  std::cout << slow.grad().defined() << "\n";
}
