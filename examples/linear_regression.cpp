// Fits a plane to points with nothing but tensors and gradients.
#include <tinytorch/tinytorch.h>

#include <cstdio>

using namespace tinytorch;

int main() {
  manual_seed(0);
  // Points of y = 3 a - 2 b + 1, with a little noise.
  const Tensor true_weight = tensor({{3.0}, {-2.0}});
  const Tensor x = randn({200, 2});
  const Tensor y = x.mm(true_weight) + 1 + 0.1 * randn({200, 1});

  Tensor weight = zeros({2, 1}, requires_grad());
  Tensor bias = zeros({1}, requires_grad());
  for (int step = 0; step <= 100; ++step) {
    const Tensor loss = (x.mm(weight) + bias - y).pow(2).mean();
    if (step % 25 == 0) std::printf("step %3d  loss %.4f\n", step, loss.item<double>());
    loss.backward();
    // The update itself is no part of the graph.
    const NoGradGuard no_grad;
    for (Tensor parameter : {weight, bias}) {
      parameter -= 0.1 * parameter.grad();
      parameter.mutable_grad().zero_();
    }
  }
  std::printf("y = %.2f a %+.2f b %+.2f\n", weight[0].item<double>(), weight[1].item<double>(), bias.item<double>());
}
