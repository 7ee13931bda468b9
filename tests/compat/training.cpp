// A whole training: data set, loader, model, optimizer, clipping, evaluation.
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

namespace nn = torch::nn;
using torch::Tensor;

// Points on two rings; everything about them is written down, nothing is drawn.
class Rings : public torch::data::datasets::Dataset<Rings> {
 public:
  explicit Rings(size_t count) : count_(count) {}
  torch::data::Example<> get(size_t index) override {
    const double angle = 2.399963 * static_cast<double>(index);
    const double radius = index % 2 == 0 ? 0.5 : 1.5;
    return {torch::tensor({radius * std::cos(angle), radius * std::sin(angle)}), torch::tensor(static_cast<int64_t>(index % 2))};
  }
  std::optional<size_t> size() const override { return count_; }

 private:
  size_t count_;
};

struct Net : nn::Module {
  Net() : hidden(register_module("hidden", nn::Linear(2, 8))), out(register_module("out", nn::Linear(8, 2))) {
    torch::NoGradGuard no_grad;
    for (Tensor& parameter : parameters()) parameter.copy_(torch::sin(torch::arange(parameter.numel()) * 1.7 + 0.3).view_as(parameter));
  }
  Tensor forward(Tensor x) { return out(torch::tanh(hidden(x))); }
  nn::Linear hidden, out;
};

int main() {
  auto data = Rings(60).map(torch::data::transforms::Stack<>());
  const size_t size = *data.size();
  auto loader = torch::data::make_data_loader<torch::data::samplers::SequentialSampler>(std::move(data), torch::data::DataLoaderOptions().batch_size(16));
  torch::Device device(torch::kCPU);
  Net net;
  net.to(device);
  torch::optim::SGD optimizer(net.parameters(), torch::optim::SGDOptions(0.5).momentum(0.9));
  for (int epoch = 1; epoch <= 10; ++epoch) {
    net.train();
    double total = 0;
    double norm = 0;
    for (auto& batch : *loader) {
      const Tensor x = batch.data.to(device);
      const Tensor target = batch.target.to(device);
      optimizer.zero_grad();
      const Tensor loss = nn::functional::cross_entropy(net.forward(x), target);
      loss.backward();
      norm = nn::utils::clip_grad_norm_(net.parameters(), 1.0);
      optimizer.step();
      total += loss.item<double>() * static_cast<double>(x.size(0));
    }
    std::printf("epoch %d: loss %.4f, norm %.3f, lr %.4f\n", epoch, total / static_cast<double>(size), norm, optimizer.param_groups()[0].options().get_lr());
  }
  net.eval();
  torch::NoGradGuard no_grad;
  int64_t right = 0;
  for (auto& batch : *loader) right += net.forward(batch.data).argmax(1).eq(batch.target).sum().item<int64_t>();
  std::printf("%d of %d\n", static_cast<int>(right), static_cast<int>(size));
}
