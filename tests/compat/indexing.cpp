// Reading and writing parts of a tensor.
#include <torch/torch.h>

#include <iostream>

using torch::indexing::Ellipsis;
using torch::indexing::None;
using torch::indexing::Slice;

void reading() {
  const torch::Tensor x = torch::arange(24).view({2, 3, 4});
  std::cout << x[0] << "\n" << x[1][2] << "\n" << x[-1][0][3].item<int>() << "\n";
  std::cout << x.index({0}) << "\n" << x.index({Slice(), 1}) << "\n" << x.index({Ellipsis, 0}) << "\n";
  std::cout << x.index({"...", Slice(1, None)}) << "\n" << x.index({0, Slice(None, None, 2), Slice(-2, None)}) << "\n";
  std::cout << x.index({None, 0, 0}).sizes() << x.index({0, None, Ellipsis, None}).sizes() << "\n";
  std::cout << x.index({torch::tensor({1, 0, 1}), 2}) << "\n";
  std::cout << x.index({x % 5 == 0}) << "\n";
  std::cout << x.index({0, torch::tensor({0, 2}), torch::tensor({1, 3})}) << "\n";
  std::cout << x.select(2, 1) << "\n" << x.slice(1, 0, 2).sizes() << "\n" << x.narrow(2, 1, 2).sizes() << "\n";
  std::cout << torch::index_select(x[0], 1, torch::tensor({3, 0})) << "\n";
  std::cout << torch::masked_select(x, x > 20) << "\n" << torch::nonzero(x[0] > 9) << "\n";
}

void writing() {
  torch::Tensor x = torch::zeros({3, 4});
  x[0] = 1;
  x[1][2] = 5.5;
  x[2] = torch::arange(4);
  std::cout << x << "\n";
  x.index_put_({Slice(), 0}, -1);
  x.index({Slice(1, 3), Slice(1, 3)}) = torch::full({2, 2}, 9.0);
  x.index_put_({torch::tensor({0, 2}), torch::tensor({3, 3})}, torch::tensor({7.0, 8.0}));
  std::cout << x << "\n";
  x.masked_fill_(x < 0, 0);
  x.index({x == 9}) = 0.5;
  std::cout << x << "\n";
  torch::Tensor row = x.select(0, 0);
  row.fill_(3);
  std::cout << x[0] << "\n";
  torch::Tensor counts = torch::zeros({4}, torch::kLong);
  counts.index_put_({torch::tensor({0, 1, 1, 3, 1})}, torch::ones({5}, torch::kLong), /*accumulate=*/true);
  std::cout << counts << "\n";
}

void gathering() {
  const torch::Tensor logits = torch::tensor({{0.1, 0.7, 0.2}, {0.5, 0.2, 0.3}});
  const torch::Tensor labels = torch::tensor({1, 2});
  std::cout << logits.gather(1, labels.unsqueeze(1)).squeeze(1) << "\n";
  std::cout << torch::zeros({2, 3}).scatter_(1, labels.unsqueeze(1), 1) << "\n";
  std::cout << torch::zeros({3}).scatter_add_(0, torch::tensor({0, 0, 2}), torch::tensor({1.0, 2.0, 3.0})) << "\n";
}

int main() {
  reading();
  writing();
  gathering();
}
