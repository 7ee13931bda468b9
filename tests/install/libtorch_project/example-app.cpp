#include <torch/torch.h>

#include <iostream>

int main() {
  torch::manual_seed(0);
  const torch::Tensor tensor = torch::rand({2, 3});
  std::cout << tensor << std::endl;
}
