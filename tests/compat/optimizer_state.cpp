// Optimizers' states: what they hold, saved and loaded, and that training goes on as if it had not stopped.
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

using torch::Tensor;
using namespace torch::optim;

Tensor loss_of(const Tensor& w) { return (w - torch::tensor({1.0, -2.0, 3.0}, torch::kDouble)).pow(2).mul(torch::tensor({1.0, 10.0, 0.1}, torch::kDouble)).sum(); }

void train(Optimizer& optimizer, const Tensor& w, int steps) {
  for (int step = 0; step < steps; ++step) {
    optimizer.step([&] {
      optimizer.zero_grad();
      const Tensor loss = loss_of(w);
      loss.backward();
      return loss;
    });
  }
}

Tensor start() { return torch::zeros({3}, torch::dtype(torch::kDouble).requires_grad(true)); }

// Ten steps at a stretch, and five, an archive, another optimizer, and five.
void continues(const std::string& name, const std::function<std::unique_ptr<Optimizer>(std::vector<Tensor>)>& make) {
  const Tensor whole = start();
  const auto once = make({whole});
  train(*once, whole, 10);

  const Tensor first = start();
  const auto before = make({first});
  train(*before, first, 5);
  std::stringstream stream;
  torch::save(*before, stream);
  const Tensor second = first.detach().clone().requires_grad_();
  const auto after = make({second});
  torch::load(*after, stream);
  train(*after, second, 5);
  std::cout << name << " " << torch::equal(whole, second) << " " << after->size() << " " << after->state().size() << "\n" << second.detach() * 1000 << "\n";
}

void what_they_hold() {
  const Tensor w = start();
  Adam adam(std::vector<Tensor>{w}, AdamOptions(0.1).amsgrad(true));
  std::cout << adam.state().size() << "\n";
  train(adam, w, 3);
  const auto& state = static_cast<AdamParamState&>(*adam.state().at(w.unsafeGetTensorImpl()));
  std::cout << state.step() << "\n" << state.exp_avg() << "\n" << state.exp_avg_sq() << "\n" << state.max_exp_avg_sq() << "\n";

  const Tensor v = start();
  SGD sgd(std::vector<Tensor>{v}, SGDOptions(0.01).momentum(0.9));
  train(sgd, v, 2);
  std::cout << static_cast<SGDParamState&>(*sgd.state().at(v.unsafeGetTensorImpl())).momentum_buffer() << "\n";

  const Tensor u = start();
  Adagrad adagrad(std::vector<Tensor>{u}, AdagradOptions(0.1).initial_accumulator_value(0.5));
  std::cout << static_cast<AdagradParamState&>(*adagrad.state().at(u.unsafeGetTensorImpl())).sum() << "\n";
  train(adagrad, u, 2);
  std::cout << static_cast<AdagradParamState&>(*adagrad.state().at(u.unsafeGetTensorImpl())).sum() << "\n" << static_cast<AdagradParamState&>(*adagrad.state().at(u.unsafeGetTensorImpl())).step() << "\n";
}

// The options come out of the archive as well.
void options() {
  const Tensor w = start();
  Adam saved(std::vector<Tensor>{w}, AdamOptions(0.25).betas({0.5, 0.75}).weight_decay(0.125).eps(1e-3));
  std::stringstream stream;
  torch::save(saved, stream);
  Adam loaded(std::vector<Tensor>{w}, AdamOptions(1));
  torch::load(loaded, stream);
  const auto& read = static_cast<AdamOptions&>(loaded.param_groups()[0].options());
  std::cout << read.lr() << " " << std::get<0>(read.betas()) << " " << std::get<1>(read.betas()) << " " << read.weight_decay() << " " << read.eps() << " " << read.amsgrad() << "\n";
}

void groups() {
  const Tensor a = torch::ones({2}, torch::requires_grad());
  const Tensor b = torch::ones({2}, torch::requires_grad());
  SGD optimizer(std::vector<Tensor>{a}, SGDOptions(0.5));
  optimizer.add_param_group(OptimizerParamGroup({b}, std::make_unique<SGDOptions>(2.0)));
  std::cout << optimizer.param_groups().size() << " " << optimizer.size() << " " << optimizer.param_groups()[1].has_options() << "\n";
  (a.sum() + 3 * b.sum()).backward();
  optimizer.step();
  std::cout << a.detach() << "\n" << b.detach() << "\n";
  for (const auto& make : std::vector<std::function<void()>>{[&] { SGD({a}, SGDOptions(-1)); }, [&] { Adam({a}, AdamOptions(0.1).betas({1.5, 0.9})); }, [&] { RMSprop({a}, RMSpropOptions(0.1).alpha(-1)); },
                                                             [&] { SGD({a * 2}, SGDOptions(1)); }}) {
    try {
      make();
      std::cout << "taken\n";
    } catch (const c10::Error& error) {
      const std::string text = error.what_without_backtrace();
      std::cout << text.substr(0, text.find('\n')) << "\n";
    }
  }
  optimizer.zero_grad(/*set_to_none=*/false);
  std::cout << a.grad() << "\n";
}

int main() {
  std::cout << std::boolalpha;
  continues("SGD", [](std::vector<Tensor> w) { return std::make_unique<SGD>(w, SGDOptions(0.01).momentum(0.9).dampening(0.1)); });
  continues("Adam", [](std::vector<Tensor> w) { return std::make_unique<Adam>(w, AdamOptions(0.1).amsgrad(true)); });
  continues("AdamW", [](std::vector<Tensor> w) { return std::make_unique<AdamW>(w, AdamWOptions(0.1)); });
  continues("RMSprop", [](std::vector<Tensor> w) { return std::make_unique<RMSprop>(w, RMSpropOptions(0.05).momentum(0.5).centered(true)); });
  continues("Adagrad", [](std::vector<Tensor> w) { return std::make_unique<Adagrad>(w, AdagradOptions(0.5).lr_decay(0.1)); });
  continues("LBFGS", [](std::vector<Tensor> w) { return std::make_unique<LBFGS>(w, LBFGSOptions(0.1).max_iter(2).history_size(3)); });
  what_they_hold();
  options();
  groups();
}
