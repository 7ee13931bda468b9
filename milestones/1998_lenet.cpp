// 1998: a convolutional network reads handwritten digits.
//
// Y. LeCun, L. Bottou, Y. Bengio and P. Haffner (1998), Gradient-Based Learning Applied to Document Recognition.
//
//   1998_lenet          the 8 x 8 digits that ship with TinyTorch, in a frame of two empty pixels
//   1998_lenet mnist    MNIST's 10,000 test images below TINYTORCH_DATA/mnist: 8,000 to learn from, 2,000 to judge by
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

constexpr std::int64_t kBatch = 32;
constexpr std::int64_t kHeldOutEvery = 5;  // the rows 0, 5, 10, ... of the file

struct Digits {
  Tensor images;  // (N, 1, H, W), from 0 to 1
  Tensor targets;
};

Digits rows_of(const Tensor& table, bool held_out) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < table.size(0); ++row) {
    if ((row % kHeldOutEvery == 0) == held_out) rows.push_back(row);
  }
  const Tensor chosen = table.index_select(0, tensor(rows));
  const Tensor images = chosen.narrow(1, 0, 64).to(kFloat).div(16).view({-1, 1, 8, 8});
  return {nn::functional::pad(images, nn::functional::PadFuncOptions({2, 2, 2, 2})), chosen.select(1, 64).to(kLong)};
}

void train(models::LeNet& network, const Digits& digits, int epochs, double rate) {
  auto loader = data::make_data_loader<data::samplers::RandomSampler>(data::datasets::TensorBatchDataset(digits.images, digits.targets),
                                                                      data::DataLoaderOptions().batch_size(kBatch));
  optim::SGD optimizer(network->parameters(), optim::SGDOptions(rate).momentum(0.9));
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    if (epoch == epochs) static_cast<optim::SGDOptions&>(optimizer.param_groups()[0].options()).lr(rate / 10);
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
    std::printf("epoch %2d: loss %.4f\n", epoch, sum / batches);
    std::fflush(stdout);
  }
}

Tensor guesses_of(models::LeNet& network, const Tensor& images) {
  const NoGradGuard no_grad;
  return network->forward(images).argmax(1);
}

int read_mnist() {
  const char* const folder = std::getenv("TINYTORCH_DATA");
  if (folder == nullptr) {
    std::fprintf(stderr, "1998_lenet: set TINYTORCH_DATA to the folder that holds mnist/\n");
    return 1;
  }
  const data::datasets::MNIST mnist(std::string(folder) + "/mnist", data::datasets::MNIST::Mode::kTest);
  models::LeNet network(28, 5);
  train(network, {mnist.images().narrow(0, 0, 8'000), mnist.targets().narrow(0, 0, 8'000)}, 4, 0.03);
  const Tensor right = guesses_of(network, mnist.images().narrow(0, 8'000, 2'000)).eq(mnist.targets().narrow(0, 8'000, 2'000));
  std::printf("%.2f %% of 2,000 digits that it has not seen\n", 100 * right.to(kDouble).mean().item<double>());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  manual_seed(1998);
  if (argc > 1 && std::string(argv[1]) == "mnist") return read_mnist();
  models::LeNet network(12, 3);
  const Tensor table = data::read_csv(find_data("digits/optdigits.csv")).values;
  train(network, rows_of(table, false), 12, 0.02);
  const Tensor guesses = guesses_of(network, rows_of(table, true).images);
  for (std::int64_t i = 0; i < guesses.numel(); ++i) {
    std::printf("guess held-out %lld %lld\n", static_cast<long long>(i * kHeldOutEvery), static_cast<long long>(guesses[i].item<std::int64_t>()));
  }
  return 0;
}
