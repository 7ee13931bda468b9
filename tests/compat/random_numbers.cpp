// The same seed gives the same numbers.
#include <torch/torch.h>

#include <iostream>

int main() {
  torch::manual_seed(0);
  std::cout << torch::rand({3}) << "\n" << torch::randn({5}) << "\n" << torch::randn({4, 5}) << "\n";
  std::cout << torch::randint(10, {8}) << "\n" << torch::randint(-3, 3, {2, 4}) << "\n" << torch::randperm(7) << "\n";
  std::cout << torch::rand({2}, torch::kDouble) << "\n" << torch::randn({20}, torch::kDouble).sum().item<float>() << "\n";
  std::cout << torch::empty({3}).uniform_(-1, 1) << "\n" << torch::empty({3}).normal_(5, 2) << "\n";
  std::cout << torch::rand_like(torch::ones({2, 2})) << "\n" << torch::normal(0.0, 1.0, {3}) << "\n";
  std::cout << torch::multinomial(torch::tensor({0.1, 0.6, 0.3}), 4, /*replacement=*/true) << "\n";

  torch::manual_seed(0);
  std::cout << torch::empty({4}).cauchy_() << "\n" << torch::empty({2}, torch::kDouble).cauchy_(1, 3) << "\n";
  std::cout << torch::empty({4}).log_normal_() << "\n" << torch::empty({6}, torch::kLong).geometric_(0.3) << "\n";
  const torch::Tensor rates = torch::tensor({{0.5, 3.0, 0.0}, {12.0, 100.0, 9.9}});
  std::cout << torch::poisson(rates) << "\n" << torch::poisson(rates.t()) << "\n";

  torch::manual_seed(1234);
  const torch::Tensor first = torch::randn({100});
  torch::manual_seed(1234);
  std::cout << torch::equal(first, torch::randn({100})) << "\n" << first.mean().item<float>() << "\n";

  auto generator = at::detail::createCPUGenerator(42);
  const torch::Tensor a = torch::randn({3}, generator);
  std::cout << a << "\n" << generator.current_seed() << "\n";
  generator.set_current_seed(42);
  std::cout << torch::equal(a, torch::randn({3}, generator)) << "\n";
}
