// Functions with a backward pass of their own.
#include <torch/torch.h>

#include <cmath>
#include <iostream>

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
}
