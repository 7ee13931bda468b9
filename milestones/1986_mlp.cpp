// 1986: a network with a hidden layer, trained by back-propagation, reads handwritten digits.
//
// D. Rumelhart, G. Hinton and R. Williams (1986), Learning representations by back-propagating errors; Y. LeCun et al. (1989),
// Backpropagation Applied to Handwritten Zip Code Recognition.
#include <cstdio>
#include <utility>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;
using data::datasets::Digits;

constexpr int kEpochs = 15;
constexpr std::int64_t kBatch = 32;
constexpr int kHeldOutEvery = 5;  // Digits holds out the rows 0, 5, 10, ... of its file

void train(nn::Sequential& network) {
  const Digits digits(Digits::Mode::kTrain);
  auto loader = data::make_data_loader<data::samplers::RandomSampler>(
      data::datasets::TensorBatchDataset(digits.images(), digits.targets()), data::DataLoaderOptions().batch_size(kBatch));
  optim::SGD optimizer(network->parameters(), optim::SGDOptions(0.1).momentum(0.9));
  for (int epoch = 1; epoch <= kEpochs; ++epoch) {
    double sum = 0;
    int batches = 0;
    for (auto& batch : *loader) {
      optimizer.zero_grad();
      Tensor loss = cross_entropy_loss(network->forward(batch.data.reshape({-1, 64})), batch.target);
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
  train(network);
  const Digits held_out(Digits::Mode::kTest);
  const Tensor guesses = network->forward(held_out.images().reshape({-1, 64})).argmax(1);
  for (std::int64_t i = 0; i < guesses.numel(); ++i) {
    std::printf("guess held-out %lld %lld\n", static_cast<long long>(i * kHeldOutEvery), static_cast<long long>(guesses[i].item<std::int64_t>()));
  }
  return 0;
}
