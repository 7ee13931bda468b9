// 1986: a network with a hidden layer, trained by back-propagation, reads handwritten digits.
//
// D. Rumelhart, G. Hinton and R. Williams (1986), Learning representations by back-propagating errors; Y. LeCun et al. (1989),
// Backpropagation Applied to Handwritten Zip Code Recognition.
#include <cstdio>
#include <utility>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

constexpr int kEpochs = 15;
constexpr std::int64_t kBatch = 32;
constexpr std::int64_t kHeldOutEvery = 5;  // the rows 0, 5, 10, ... of the file

struct Digits {
  Tensor images;  // (N, 64), from 0 to 1
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

}  // namespace

int main() {
  manual_seed(1986);
  nn::Sequential network(nn::Linear(64, 32), nn::Tanh(), nn::Linear(32, 10));
  const Tensor table = data::read_csv(find_data("digits/optdigits.csv")).values;
  train(network, rows_of(table, false));
  const Tensor guesses = network->forward(rows_of(table, true).images).argmax(1);
  for (std::int64_t i = 0; i < guesses.numel(); ++i) {
    std::printf("guess held-out %lld %lld\n", static_cast<long long>(i * kHeldOutEvery), static_cast<long long>(guesses[i].item<std::int64_t>()));
  }
  return 0;
}
