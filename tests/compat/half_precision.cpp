// Float16 and bfloat16: creation, printing, promotion, networks that are converted and learn, and what is refused. The numbers are small multiples of
// powers of two, whose sums are exact in any order; others are printed in hundredths.
#include <torch/torch.h>

#include <exception>
#include <iostream>
#include <string>

namespace nn = torch::nn;
namespace F = torch::nn::functional;
using torch::Tensor;

Tensor quarters(torch::IntArrayRef sizes, std::int64_t step) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return ((torch::arange(count) * step) % 9 - 4).to(torch::kFloat).view(sizes) / 4;
}

Tensor hundredths(const Tensor& x) { return (x.detach().to(torch::kDouble) * 100).round() / 100 + 0.0; }

std::string first_sentence(const std::string& what) { return what.substr(0, what.find('\n')); }

template <class Function>
void refused(Function function) {
  try {
    function();
    std::cout << "not refused\n";
  } catch (const std::exception& error) {
    std::cout << first_sentence(error.what()) << "\n";
  }
}

void creation(torch::ScalarType type) {
  std::cout << torch::linspace(0, 1, 4, type) << "\n" << torch::arange(0, 2, 0.3, type) << "\n" << torch::eye(2, type) << "\n";
  std::cout << torch::full({2}, 1.1, type) << "\n" << torch::tensor({1.5, -2.25}, type) << "\n" << torch::zeros({2, 2}, type).sizes() << "\n";
  torch::manual_seed(3);
  std::cout << torch::randperm(6, torch::TensorOptions(type)) << "\n" << torch::randint(0, 9, {5}, type) << "\n";
  const Tensor x = torch::tensor({0.1, -2.5, 3.75, 1000.0}, type);
  std::cout << x[1].item().type() << ' ' << x[0].item<double>() << ' ' << x.element_size() << ' ' << x.dtype() << ' ' << x.is_floating_point() << "\n";
  std::cout << (x + torch::ones({4})).dtype() << ' ' << (x + 1.5).dtype() << ' ' << (x + torch::tensor(2.0, torch::kDouble)).dtype() << ' '
            << (x + torch::ones({4}, torch::kLong)).dtype() << ' ' << (x > 0).dtype() << ' ' << x.argmax().dtype() << ' ' << (x / 3).dtype() << "\n";
}

void arithmetic(torch::ScalarType type) {
  const Tensor a = quarters({3, 4}, 5).to(type), b = quarters({3, 4}, 7).to(type);
  std::cout << a + b << "\n" << a * b << "\n" << torch::where(a > b, a, b) << "\n" << torch::remainder(a, 0.75) << "\n" << torch::fmod(a, 0.75) << "\n";
  std::cout << a.sum() << "\n" << a.amax(1) << "\n" << a.matmul(b.t()) << "\n" << std::get<0>(a.cummax(1)) << "\n" << std::get<1>(a.cummin(0)) << "\n";
  std::cout << torch::allclose(a, a + 0.001, 0, 0.25) << torch::equal(a, b) << ' ' << std::get<0>(a.flatten().sort()) << "\n";
  std::cout << std::get<0>(torch::unique_dim(torch::stack({a[0], a[1], a[0]}), 0)) << "\n";
  const Tensor index = torch::tensor({0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}).view({3, 4});
  std::cout << torch::zeros({2, 4}, type).scatter_add(0, index, b) << "\n" << torch::zeros({2, 4}, type).scatter_reduce(0, index, b, "amax") << "\n";
  std::cout << hundredths(a.softmax(1)) << "\n" << hundredths(a.std(0)) << "\n" << hundredths(torch::gelu(a)) << "\n";
}

void images(torch::ScalarType type) {
  const Tensor x = quarters({1, 2, 4, 5}, 4).to(type).set_requires_grad(true);
  const Tensor w = quarters({3, 2, 2, 2}, 2).to(type).set_requires_grad(true);
  const Tensor y = torch::conv2d(x, w, quarters({3}, 1).to(type));
  std::cout << y.detach() << "\n";
  y.sum().backward();
  std::cout << x.grad() << "\n" << w.grad() << "\n";
  const auto [largest, places] = F::max_pool2d_with_indices(x.detach(), F::MaxPool2dFuncOptions(2));
  std::cout << largest << "\n" << places << "\n" << F::avg_pool2d(x.detach(), F::AvgPool2dFuncOptions(2)) << "\n";
  std::cout << F::unfold(x.detach(), F::UnfoldFuncOptions(2).stride(2)) << "\n";
  nn::BatchNorm2d norm(2);
  norm->to(type);
  const Tensor normed = norm(x.detach());
  std::cout << normed.dtype() << ' ' << norm->running_mean.dtype() << "\n" << hundredths(normed) << "\n" << (norm->running_var.to(torch::kDouble) * 10).round() << "\n";
  norm->eval();
  std::cout << norm(x.detach()).dtype() << ' ' << F::interpolate(x.detach(), F::InterpolateFuncOptions().size(std::vector<std::int64_t>{8, 10}).mode(torch::kNearest)).sizes() << "\n";
}

// An older graph is still there when the network is converted.
void converted(torch::ScalarType type) {
  nn::Linear layer(4, 2);
  {
    torch::NoGradGuard guard;
    layer->weight.copy_(quarters({2, 4}, 5));
    layer->bias.zero_();
  }
  const Tensor older = layer(quarters({3, 4}, 2)).sum();
  layer->to(type);
  torch::optim::SGD optimizer(layer->parameters(), torch::optim::SGDOptions(0.125).momentum(0.5));
  for (int i = 0; i < 2; ++i) {
    optimizer.zero_grad();
    layer(quarters({3, 4}, 2).to(type)).sum().backward();
    std::cout << layer->weight.grad().dtype() << "\n" << layer->weight.grad() << "\n";
    optimizer.step();
  }
  std::cout << layer->weight.detach() << "\n" << older.dtype() << "\n";
}

void refusals() {
  const Tensor x = torch::ones({2, 3}, torch::kHalf);
  refused([&] { x.mm(torch::ones({3, 2})); });
  refused([&] { torch::full({2}, 1e6, torch::kHalf); });
  refused([&] { torch::linspace(0, 1e6, 3, torch::kHalf); });
  refused([&] { torch::randperm(3000, torch::TensorOptions(torch::kHalf)); });
  refused([&] { x & x; });
  refused([&] { x.quantile(0.5); });
  refused([&] { F::ctc_loss(torch::ones({3, 1, 2}, torch::kHalf), torch::ones({1, 1}, torch::kLong), torch::tensor({3}), torch::tensor({1})); });
}

int main() {
  for (const torch::ScalarType type : {torch::kHalf, torch::kBFloat16}) {
    creation(type);
    arithmetic(type);
    images(type);
    converted(type);
  }
  refusals();
}
