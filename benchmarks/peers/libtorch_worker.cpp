// libtorch's side of the suites `overhead`, `start-up` and `memory`: the same calls in C++, where no Python stands between them.
#include <torch/torch.h>

#include <cstring>

#include "../worker.h"

namespace {

// The network of torch_worker.py; one call is a whole step.
Prepared lenet_step(long batch) {
  namespace nn = torch::nn;
  const torch::Tensor x = torch::arange(batch * 28 * 28, torch::kDouble).sin().to(torch::kFloat).view({batch, 1, 28, 28});
  const torch::Tensor y = (torch::arange(batch) * 7).remainder(10);
  nn::Sequential model(nn::Conv2d(nn::Conv2dOptions(1, 6, 5).padding(2)), nn::ReLU(), nn::MaxPool2d(2), nn::Conv2d(6, 16, 5), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                       nn::Linear(400, 120), nn::ReLU(), nn::Linear(120, 84), nn::ReLU(), nn::Linear(84, 10));
  const auto optimizer = std::make_shared<torch::optim::SGD>(model->parameters(), torch::optim::SGDOptions(0.01).momentum(0.9));
  return {[=]() mutable {
    optimizer->zero_grad();
    const torch::Tensor loss = torch::nn::functional::cross_entropy(model->forward(x), y);
    loss.backward();
    optimizer->step();
    return loss.item<double>();
  }};
}

Prepared prepare(const std::string& work, const std::vector<long>& arguments) {
  using torch::Tensor;
  if (work == "add_one" || work == "add_one_graph") {
    const bool graph = work == "add_one_graph";
    Tensor x = torch::ones({1}), y = torch::ones({1});
    if (graph) x.requires_grad_();
    return {[x, y, graph] {
              if (graph) return static_cast<double>((x + y).numel());
              const torch::NoGradGuard no_grad;
              return static_cast<double>((x + y).numel());
            },
            2.0};
  }
  if (work == "chain") {
    Tensor x = torch::ones({1});
    x.requires_grad_();
    const long length = arguments.at(0);
    return {[x, length] {
      Tensor y = x;
      for (long i = 0; i < length; ++i) y = y * x;
      y.backward();
      const double gradient = x.grad().item<double>();
      x.mutable_grad() = Tensor();
      return gradient;
    }};
  }
  if (work == "lenet") return lenet_step(arguments.at(0));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "first") == 0) {  // from process start to a first result
    std::printf("%g\n", (torch::ones({2}) + 1).sum().item<double>());
    return 0;
  }
  torch::set_num_threads(1);
  if (argc > 1 && std::strcmp(argv[1], "memory") == 0) return print_peak_bytes(lenet_step(64), 20);
  return serve(prepare);
}
