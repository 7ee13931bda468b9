// 1986: a network with a hidden layer, trained by back-propagation, reads handwritten digits.
//
// D. Rumelhart, G. Hinton and R. Williams (1986), Learning representations by back-propagating errors; Y. LeCun et al. (1989),
// Backpropagation Applied to Handwritten Zip Code Recognition.
//
//   1986_mlp          the 8 x 8 digits that ship with TinyTorch
//   1986_mlp mnist    MNIST's 10,000 test images below TINYTORCH_DATA/mnist: 8,000 to learn from, 2,000 to judge by
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

constexpr int kEpochs = 15;
constexpr std::int64_t kBatch = 32;
constexpr std::int64_t kHeldOutEvery = 5;  // the rows 0, 5, 10, ... of the file

struct Digits {
  Tensor images;  // (N, pixels), from 0 to 1
  Tensor targets;
};

Digits rows_of(const Tensor& table, bool held_out) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < table.size(0); ++row) {
    if ((row % kHeldOutEvery == 0) == held_out) rows.push_back(row);
  }
  const Tensor chosen = table.index_select(0, tensor(rows));
  return {chosen.narrow(1, 0, 64).to(kFloat).div(16), chosen.select(1, 64).to(kLong)};
}

void train(nn::Sequential& network, const Digits& digits) {
  auto loader = data::make_data_loader<data::samplers::RandomSampler>(
      data::datasets::TensorBatchDataset(digits.images, digits.targets), data::DataLoaderOptions().batch_size(kBatch));
  optim::SGD optimizer(network->parameters(), optim::SGDOptions(0.1).momentum(0.9));
  for (int epoch = 1; epoch <= kEpochs; ++epoch) {
    double sum = 0;
    int batches = 0;
    for (auto& batch : *loader) {
      optimizer.zero_grad();
      Tensor loss = cross_entropy_loss(network->forward(batch.data), batch.target);
      loss.backward();
      optimizer.step();
      sum += static_cast<double>(loss.item<float>());
      ++batches;
    }
    if (epoch % 5 == 0) std::printf("epoch %2d: loss %.4f\n", epoch, sum / batches);
  }
}

// Its answers to rows `first`, `first + step`, ... of a data file.
void say_guesses(const char* label, nn::Sequential& network, const Tensor& images, std::int64_t first, std::int64_t step) {
  const NoGradGuard no_grad;
  const Tensor guesses = network->forward(images).argmax(1);
  for (std::int64_t i = 0; i < guesses.numel(); ++i) {
    std::printf("guess %s %lld %lld\n", label, static_cast<long long>(first + i * step), static_cast<long long>(guesses[i].item<std::int64_t>()));
  }
}

int read_mnist() {
  const char* const folder = std::getenv("TINYTORCH_DATA");
  if (folder == nullptr) {
    std::fprintf(stderr, "1986_mlp: set TINYTORCH_DATA to the folder that holds mnist/\n");
    return 1;
  }
  const data::datasets::MNIST mnist(std::string(folder) + "/mnist", data::datasets::MNIST::Mode::kTest);
  const Tensor images = mnist.images().flatten(1);
  nn::Sequential network(nn::Linear(28 * 28, 64), nn::Tanh(), nn::Linear(64, 10));
  train(network, {images.narrow(0, 0, 8'000), mnist.targets().narrow(0, 0, 8'000)});
  say_guesses("mnist", network, images.narrow(0, 8'000, 2'000), 8'000, 1);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  manual_seed(1986);
  if (argc > 1 && std::string(argv[1]) == "mnist") return read_mnist();
  nn::Sequential network(nn::Linear(64, 32), nn::Tanh(), nn::Linear(32, 10));
  const Tensor table = data::read_csv(find_data("digits/optdigits.csv")).values;
  train(network, rows_of(table, false));
  say_guesses("held-out", network, rows_of(table, true).images, 0, kHeldOutEvery);
  return 0;
}
