// 1969: what one layer cannot learn, and two can.
//
// M. Minsky and S. Papert (1969), Perceptrons; D. Rumelhart, G. Hinton and R. Williams (1986), Learning representations by
// back-propagating errors.
#include <cstdio>
#include <string>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

constexpr int kSteps = 400;

// The rows of data/xor.csv.
Tensor inputs() { return tensor({{0.F, 0.F}, {0.F, 1.F}, {1.F, 0.F}, {1.F, 1.F}}); }
Tensor targets() { return tensor({{0.F}, {1.F}, {1.F}, {0.F}}); }

// Trains, and says what the network answers to each row.
void train_and_answer(const std::string& name, nn::Sequential network) {
  optim::Adam optimizer(network->parameters(), optim::AdamOptions(0.05));
  for (int step = 1; step <= kSteps; ++step) {
    optimizer.zero_grad();
    Tensor loss = binary_cross_entropy_with_logits(network->forward(inputs()), targets());
    loss.backward();
    optimizer.step();
    if (step % 100 == 0) std::printf("%-10s step %d: loss %.4f\n", name.c_str(), step, static_cast<double>(loss.item<float>()));
  }
  const Tensor logits = network->forward(inputs());
  for (int row = 0; row < 4; ++row) {
    std::printf("guess %s %d %d\n", name.c_str(), row, logits[row][0].item<float>() > 0 ? 1 : 0);
  }
}

}  // namespace

int main() {
  manual_seed(1969);
  train_and_answer("one-layer", nn::Sequential(nn::Linear(2, 1)));
  train_and_answer("two-layers", nn::Sequential(nn::Linear(2, 8), nn::Tanh(), nn::Linear(8, 1)));
  return 0;
}
