// A dataset of one's own, whose examples are made by worker threads while the program uses the batch before.
#include <tinytorch/tinytorch.h>

#include <cmath>
#include <cstdio>

using namespace tinytorch;

// Sine waves of 64 samples with noise; the label says which of three frequencies it is. An example depends on
// its index only, so every epoch sees the same data, however many threads make it.
class Waves : public data::datasets::Dataset<Waves> {
 public:
  explicit Waves(std::size_t size) : size_(size) {}
  data::Example<> get(std::size_t index) override {
    Generator generator(index);
    const auto label = static_cast<std::int64_t>(index % 3);
    const Tensor time = linspace(0, 1, 64);
    const double phase = 6.283 * generator.uniform_double();
    const Tensor wave = sin(time * (6.283 * static_cast<double>(label + 1)) + phase);
    return {wave + 1.5 * randn({64}, generator), tensor(label)};
  }
  std::optional<std::size_t> size() const override { return size_; }

 private:
  std::size_t size_;
};

int main() {
  manual_seed(0);
  const auto options = data::DataLoaderOptions().batch_size(30).workers(2);
  auto loader = data::make_data_loader(Waves(600).map(data::transforms::Stack<>()), options);

  nn::Sequential network(nn::Linear(64, 32), nn::ReLU(), nn::Linear(32, 3));
  optim::Adam optimizer(network->parameters(), 3e-3);
  for (int epoch = 1; epoch <= 6; ++epoch) {
    double right = 0;
    for (const data::Example<>& batch : *loader) {
      optimizer.zero_grad();
      const Tensor scores = network->forward(batch.data);
      nn::functional::cross_entropy(scores, batch.target).backward();
      optimizer.step();
      right += scores.argmax(1).eq(batch.target).sum().item<double>();
    }
    if (epoch % 3 == 0) std::printf("epoch %d  %.0f %% right while training\n", epoch, 100 * right / 600);
  }
}
