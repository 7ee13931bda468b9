// Trains y = 2x with what is installed; exits with 0 when the weight has learned it.
#include <tinytorch/tinytorch.h>

#include <cmath>
#include <iostream>

int main() {
  tinytorch::manual_seed(0);
  tinytorch::nn::Linear layer(1, 1);
  tinytorch::optim::SGD optimizer(layer->parameters(), tinytorch::optim::SGDOptions(0.1));
  const tinytorch::Tensor x = tinytorch::randn({16, 1});
  const tinytorch::Tensor y = x * 2;
  for (int step = 0; step < 200; ++step) {
    optimizer.zero_grad();
    tinytorch::nn::functional::mse_loss(layer->forward(x), y).backward();
    optimizer.step();
  }
  const float weight = layer->weight.item<float>();
  std::cout << "learned the factor " << weight << "\n";
  return std::abs(weight - 2) < 1e-3F ? 0 : 1;
}
