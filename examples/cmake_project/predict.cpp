// Prints what an untrained network says about three points.
#include <tinytorch/tinytorch.h>

#include <iostream>

int main() {
  tinytorch::manual_seed(0);
  tinytorch::nn::Sequential network(tinytorch::nn::Linear(2, 8), tinytorch::nn::ReLU(), tinytorch::nn::Linear(8, 1));
  const tinytorch::NoGradGuard no_grad;
  std::cout << network->forward(tinytorch::tensor({{0.0, 0.0}, {0.0, 1.0}, {1.0, 0.0}})) << "\n";
}
