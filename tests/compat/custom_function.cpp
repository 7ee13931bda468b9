// Functions with a backward pass of their own.
#include <torch/torch.h>

#include <cmath>
#include <iostream>
#include <vector>

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;
using torch::autograd::variable_list;

class Linear : public Function<Linear> {
 public:
  static Tensor forward(AutogradContext* ctx, Tensor input, Tensor weight, Tensor bias = Tensor()) {
    ctx->save_for_backward({input, weight, bias});
    Tensor output = input.mm(weight.t());
    if (bias.defined()) output += bias.unsqueeze(0).expand_as(output);
    return output;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grad_outputs) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor grad = grad_outputs[0];
    return {grad.mm(saved[1]), grad.t().mm(saved[0]), saved[2].defined() ? grad.sum(0) : Tensor()};
  }
};

class Scale : public Function<Scale> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, double factor) {
    ctx->saved_data["factor"] = factor;
    return x * factor;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) { return {grads[0] * ctx->saved_data["factor"].toDouble(), Tensor()}; }
};

// The gradient is a function of operators, so it can be differentiated again.
class Cube : public Function<Cube> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x) {
    ctx->save_for_backward({x});
    return x * x * x;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const Tensor x = ctx->get_saved_variables()[0];
    return {grads[0] * 3 * x * x};
  }
};

class Split : public Function<Split> {
 public:
  static variable_list forward(AutogradContext* ctx, const Tensor& x) {
    const Tensor whole = x.floor();
    ctx->mark_non_differentiable({whole});
    return {whole, x - whole};
  }
  static tensor_list backward(AutogradContext*, tensor_list grads) {
    std::cout << "whole part: " << grads[0] << "\n";
    return {grads[1]};
  }
};

class DoubleInPlace : public Function<DoubleInPlace> {
 public:
  static Tensor forward(AutogradContext* ctx, Tensor x) {
    x.mul_(2);
    ctx->mark_dirty({x});
    return x;
  }
  static tensor_list backward(AutogradContext*, tensor_list grads) { return {grads[0] * 2}; }
};

// Which gradients a run asks for: hooks and retained gradients on the way to the inputs only.
struct Product : torch::autograd::Function<Product> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& a, const Tensor& b) {
    ctx->save_for_backward({a, b});
    return a * b;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    std::cout << "asked for " << ctx->needs_input_grad(0) << ctx->needs_input_grad(1) << "\n";
    const auto saved = ctx->get_saved_variables();
    return {grads[0] * saved[1], grads[0] * saved[0]};
  }
};

void asked_gradients() {
  const Tensor a = torch::tensor({2.0, 3.0}).requires_grad_(), b = torch::tensor({5.0, 7.0}).requires_grad_();
  const Tensor c = a * 2, d = b * 3;
  c.retain_grad();
  d.retain_grad();
  c.register_hook([](const Tensor& grad) { std::cout << "hook of c\n" << grad << "\n"; });
  d.register_hook([](const Tensor& grad) { std::cout << "hook of d\n" << grad << "\n"; });
  const Tensor y = Product::apply(c, d);
  const auto retained = [&] { std::cout << "retained " << c.grad().defined() << d.grad().defined() << "\n"; };
  std::cout << torch::autograd::grad({y.sum()}, {a}, {}, true)[0] << "\n";
  retained();
  std::cout << torch::autograd::grad({y.sum()}, {d}, {}, true)[0] << "\n";
  retained();
  y.sum().backward({}, true, false, std::vector<Tensor>{b});
  std::cout << a.grad().defined() << b.grad() << "\n";
  y.sum().backward();
  std::cout << a.grad() << b.grad() << "\n";
  retained();
}

int main() {
  const Tensor input = torch::arange(6, torch::kFloat).view({2, 3}).requires_grad_();
  const Tensor weight = torch::tensor({{1.0, 0.0, -1.0}, {0.5, 0.5, 0.5}}, torch::requires_grad());
  const Tensor bias = torch::tensor({0.1, 0.2}, torch::requires_grad());
  const Tensor output = Linear::apply(input, weight, bias);
  std::cout << output << "\n";
  (output * output).sum().backward();
  std::cout << input.grad() << "\n" << weight.grad() << "\n" << bias.grad() << "\n";

  const Tensor x = torch::tensor({1.5, -2.25}, torch::requires_grad());
  Scale::apply(x, 4.0).sum().backward();
  std::cout << x.grad() << "\n";

  const Tensor slope = torch::autograd::grad({Cube::apply(x).sum()}, {x}, {}, true, true)[0];
  std::cout << slope << "\n" << torch::autograd::grad({slope.sum()}, {x})[0] << "\n";

  const variable_list parts = Split::apply(x);
  std::cout << parts[0] << "\n" << parts[1].detach() << "\n" << parts[0].requires_grad() << parts[1].requires_grad() << "\n";
  x.mutable_grad().zero_();
  (parts[1] * 2).sum().backward();
  std::cout << x.grad() << "\n";

  Tensor y = x * 1;
  DoubleInPlace::apply(y);
  std::cout << y.detach() << "\n";
  x.mutable_grad().zero_();
  y.sum().backward();
  std::cout << x.grad() << "\n";
  asked_gradients();
}
