// Reads handwritten digits: a dataset, a loader, a network, and a file that keeps the best one.
#include <tinytorch/tinytorch.h>

#include <algorithm>
#include <cstdio>

using namespace tinytorch;
using data::datasets::Digits;

// The share of a dataset's images that the network reads correctly.
double accuracy(nn::Sequential& network, const Digits& digits) {
  const NoGradGuard no_grad;
  network->eval();
  const Tensor guesses = network->forward(digits.images().flatten(1)).argmax(1);
  network->train();
  return guesses.eq(digits.targets()).to(kDouble).mean().item<double>();
}

nn::Sequential make_network() { return nn::Sequential(nn::Linear(64, 64), nn::ReLU(), nn::Linear(64, 10)); }

int main() {
  manual_seed(0);
  const Digits held_out(Digits::Mode::kTest);
  auto loader = data::make_data_loader(Digits().map(data::transforms::Stack<>()), data::DataLoaderOptions(32).drop_last(true));

  nn::Sequential network = make_network();
  optim::Adam optimizer(network->parameters(), optim::AdamOptions(2e-3));
  double best = 0;
  for (int epoch = 1; epoch <= 10; ++epoch) {
    for (const data::Example<>& batch : *loader) {
      optimizer.zero_grad();
      nn::functional::cross_entropy(network->forward(batch.data.flatten(1)), batch.target).backward();
      optimizer.step();
    }
    const double now = accuracy(network, held_out);
    if (now > best) save(network, "digits.safetensors");
    best = std::max(best, now);
    if (epoch % 5 == 0) std::printf("epoch %2d  held-out accuracy %.1f %%\n", epoch, 100 * now);
  }

  nn::Sequential loaded = make_network();
  load(loaded, "digits.safetensors");
  std::printf("the best network, from its file: more than 95 %%: %s\n", accuracy(loaded, held_out) > 0.95 ? "yes" : "no");
}
