// Gradients: backward, grad, hooks, views and writes in place, modes.
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <string>

void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

void first_gradients() {
  const torch::Tensor x = torch::tensor({1.0, 2.0, 3.0}, torch::requires_grad());
  const torch::Tensor w = torch::full({3}, 0.5, torch::requires_grad());
  torch::Tensor y = (x * w).pow(2).sum();
  std::cout << y << "\n" << y.requires_grad() << y.is_leaf() << x.is_leaf() << " " << y.grad_fn()->name() << "\n";
  y.backward();
  std::cout << x.grad() << "\n" << w.grad() << "\n";
  (x * 2).sum().backward();
  std::cout << x.grad() << "\n";
  x.mutable_grad().zero_();
  (x * 3).backward(torch::tensor({1.0, 10.0, 100.0}));
  std::cout << x.grad() << "\n";
}

// What the nodes of a graph are called; overloads are counted.
void names() {
  const torch::Tensor x = torch::ones({2, 2}, torch::requires_grad());
  const torch::Tensor y = x + 2;
  const torch::Tensor z = y * y * 3;
  for (const torch::Tensor& result : {y, y * y, z, z.mean(), z.mean(0), z.sum(), z.sum(1), z.prod(), x - y, x - 1, 1 - x, x / y, x / 2, x.pow(2), x.exp(), x.mm(y), x.log_softmax(1), x.expand({3, 2, 2}), x.reshape({4}), x[0], x.clone()})
    std::cout << result.grad_fn()->name() << " ";
  torch::Tensor written = x * 1;
  written.add_(1);
  std::cout << written.grad_fn()->name() << " " << z.mean().grad_fn()->next_edges()[0].function->name() << "\n";
}

void higher_gradients() {
  const torch::Tensor x = torch::tensor({2.0, 3.0}, torch::requires_grad());
  const torch::Tensor y = x.pow(3).sum();
  const torch::Tensor first = torch::autograd::grad({y}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  const torch::Tensor second = torch::autograd::grad({first.sum()}, {x})[0];
  std::cout << first << "\n" << second << "\n";
}

void hooks() {
  const torch::Tensor x = torch::ones({2}, torch::requires_grad());
  torch::Tensor y = x * 2;
  y.retain_grad();
  const unsigned position = x.register_hook([](torch::Tensor grad) { return grad * 10; });
  y.register_hook([](torch::Tensor grad) { std::cout << "on its way: " << grad << "\n"; });
  (y * torch::tensor({1.0, 2.0})).sum().backward();
  std::cout << x.grad() << "\n" << y.grad() << "\n";
  x.remove_hook(position);
  (x * 2).sum().backward();
  std::cout << x.grad() << "\n";
}

void writes() {
  const torch::Tensor x = torch::ones({2, 2}, torch::requires_grad());
  torch::Tensor y = x * 3;
  y[0].mul_(2);
  y.index_put_({1, 1}, 7.0);
  std::cout << y.detach() << "\n";
  y.sum().backward();
  std::cout << x.grad() << "\n";
  show("leaf", [&] { x.add_(1); });
  show("twice", [&] {
    const torch::Tensor z = (x * x).sum();
    z.backward();
    z.backward();
  });
}

void modes() {
  const torch::Tensor x = torch::ones({2}, torch::requires_grad());
  {
    torch::NoGradGuard no_grad;
    std::cout << (x * 2).requires_grad() << torch::GradMode::is_enabled() << "\n";
    torch::AutoGradMode on(true);
    std::cout << (x * 2).requires_grad() << "\n";
  }
  std::cout << x.detach().requires_grad() << (x * 2).detach().is_leaf() << torch::GradMode::is_enabled() << "\n";
  torch::InferenceMode inference;
  std::cout << (x * 2).is_inference() << "\n";
}

int main() {
  first_gradients();
  names();
  higher_gradients();
  hooks();
  writes();
  modes();
}
