// Gradients of gradients: penalties, products with the Hessian, through layers, hooks and custom functions.
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

using torch::Tensor;
using torch::autograd::grad;

void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

const auto in_double = torch::TensorOptions(torch::kDouble);

void derivatives_of_a_power() {
  const Tensor x = torch::tensor({2.0, -1.0}, torch::dtype(torch::kDouble).requires_grad(true));
  Tensor y = x.pow(4).sum();
  for (int order = 1; order <= 4; ++order) {
    y = grad({y}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
    std::cout << order << " " << y.detach() << y.requires_grad() << "\n";
    y = y.sum();
  }
}

void penalty() {
  torch::nn::Sequential net(torch::nn::Linear(2, 3), torch::nn::Tanh(), torch::nn::Linear(3, 1));
  net->to(torch::kDouble);
  {
    torch::NoGradGuard no_grad;
    double start = 0;
    for (Tensor& parameter : net->parameters()) parameter.copy_(torch::cos(torch::arange(parameter.numel(), in_double) + (start += 0.5)).view_as(parameter));
  }
  const Tensor x = torch::linspace(-1, 1, 6, in_double).view({3, 2}).requires_grad_();
  const Tensor slope = grad({net->forward(x).sum()}, {x}, {}, true, true)[0];
  const Tensor loss = (slope.norm(2, 1) - 1).pow(2).mean();
  loss.backward();
  std::cout << loss << "\n";
  for (const auto& item : net->named_parameters()) {
    if (item.value().grad().defined()) std::cout << item.key() << "\n" << item.value().grad() << "\n";
    else std::cout << item.key() << " has none\n";
  }
}

void hessian_vector_product() {
  const Tensor x = torch::tensor({0.5, 1.0, 2.0}, torch::dtype(torch::kDouble).requires_grad(true));
  const Tensor v = torch::tensor({1.0, 0.0, -1.0}, torch::kDouble);
  const Tensor f = (x[0] * x[1].exp() + x[2].sin() * x[0]).sum();
  const Tensor g = grad({f}, {x}, {}, true, true)[0];
  std::cout << grad({g}, {x}, {v}, /*retain_graph=*/true)[0] << "\n";
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < 3; ++i) rows.push_back(grad({g[i]}, {x}, {}, true)[0]);
  std::cout << torch::stack(rows) << "\n";
}

void through(const std::string& name, const std::function<Tensor(const Tensor&)>& f) {
  const Tensor x = torch::tensor({{0.3, -1.2, 0.7}, {1.1, 0.4, -0.6}}, torch::dtype(torch::kDouble).requires_grad(true));
  const Tensor y = f(x);
  const Tensor g = grad({(y * y).sum()}, {x}, {}, true, true)[0];
  const auto second = grad({(g * g).sum()}, {x}, {}, false, false, /*allow_unused=*/true);
  std::cout << name << "\n" << second[0] << "\n";
}

struct Cube : torch::autograd::Function<Cube> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x) {
    context->save_for_backward({x});
    return x * x * x;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    const Tensor x = context->get_saved_variables()[0];
    return {gradients[0] * 3 * x * x};
  }
};

// Two results, of which one is used: the hook of the other is called with an undefined gradient.
struct Two : torch::autograd::Function<Two> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext*, const Tensor& x) { return {x * 2, x * 3}; }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*, torch::autograd::variable_list gradients) {
    std::cout << "arrived " << gradients[0].defined() << gradients[1].defined() << "\n";
    return {gradients[0] * 2};
  }
};

void hooks_without_gradients() {
  const Tensor x = torch::ones({2}, torch::requires_grad());
  const auto both = Two::apply(x);
  both[0].register_hook([](Tensor g) { std::cout << "used " << g.defined() << "\n"; });
  both[1].register_hook([](Tensor g) { std::cout << "unused " << g.defined() << "\n"; });
  both[0].sum().backward();
  std::cout << x.grad() << "\n";
}

void views_of_several() {
  const Tensor x = torch::ones({4}, torch::requires_grad()) * 1;
  show("split", [&] { x.split(2)[1].mul_(2); });
  show("chunk", [&] { x.chunk(2)[0].zero_(); });
  show("unbind", [&] { x.view({2, 2}).unbind()[1].add_(1); });
  show("split_with_sizes", [&] { x.split_with_sizes({1, 3})[1].add_(1); });
  const Tensor largest = torch::tensor({1.0, std::nan(""), std::nan(""), 0.0}, torch::requires_grad());
  largest.max().backward();
  std::cout << largest.grad() << "\n";
}

void unused_and_freed() {
  const Tensor x = torch::ones({2}, torch::requires_grad());
  const Tensor z = torch::ones({2}, torch::requires_grad());
  show("unused", [&] { grad({(x * 2).sum()}, {z}); });
  std::cout << grad({(x * 2).sum()}, {z, x}, {}, {}, false, true)[0].defined() << "\n";
  show("no graph", [&] {
    const Tensor g = grad({(x * x).sum()}, {x})[0];
    std::cout << g.requires_grad() << "\n";
    grad({g.sum()}, {x});
  });
  show("freed", [&] {
    const Tensor y = (x * x).sum();
    grad({y}, {x});
    grad({y}, {x});
  });
  show("not a scalar", [&] { grad({x * 2}, {x}); });
  show("wrong gradient", [&] { grad({x * 2}, {x}, {torch::ones({3})}); });
}

void backward_twice_through_hooks() {
  const Tensor x = torch::tensor({1.0, 2.0}, torch::requires_grad());
  const Tensor y = x * x;
  y.register_hook([](Tensor g) { return g * 2; });
  const Tensor g = grad({y.sum()}, {x}, {}, true, true)[0];
  g.sum().backward();
  std::cout << g.detach() << "\n" << x.grad() << "\n";
}

int main() {
  derivatives_of_a_power();
  penalty();
  hessian_vector_product();
  through("softmax", [](const Tensor& x) { return torch::softmax(x, 1); });
  through("log_softmax", [](const Tensor& x) { return torch::log_softmax(x, 1); });
  through("matmul", [](const Tensor& x) { return x.mm(x.t()); });
  through("sigmoid", [](const Tensor& x) { return torch::sigmoid(x); });
  through("gelu", [](const Tensor& x) { return torch::gelu(x); });
  through("layer norm", [](const Tensor& x) { return torch::layer_norm(x, {3}); });
  through("division", [](const Tensor& x) { return x / (x * x + 1); });
  through("logsumexp", [](const Tensor& x) { return torch::logsumexp(x, 1); });
  through("maximum", [](const Tensor& x) { return x.clamp(-1, 1).cumsum(1); });
  through("index", [](const Tensor& x) { return x.index({torch::tensor({0, 0, 1})}).prod(1); });
  through("var", [](const Tensor& x) { return x.var(1); });
  through("cube", [](const Tensor& x) { return Cube::apply(x); });
  hooks_without_gradients();
  views_of_several();
  unused_and_freed();
  backward_twice_through_hooks();
}
