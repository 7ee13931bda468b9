// Stops in the middle of training, and goes on in a new network as if nothing had happened: bit for bit.
#include <tinytorch/tinytorch.h>

#include <cstdio>

using namespace tinytorch;

// All that one training run needs.
struct Run {
  nn::Sequential network{nn::Linear(8, 16), nn::Tanh(), nn::Linear(16, 1)};
  optim::Adam optimizer{network->parameters(), optim::AdamOptions(1e-2)};

  void train(int steps) {
    for (int step = 0; step < steps; ++step) {
      const Tensor x = randn({32, 8});  // data that is drawn as it is needed: the random state is part of a checkpoint
      optimizer.zero_grad();
      nn::functional::mse_loss(network->forward(x), x.sum(1, /*keepdim=*/true)).backward();
      optimizer.step();
    }
  }
  double error() {
    const Tensor x = linspace(-1, 1, 80).view({10, 8});
    return (network->forward(x) - x.sum(1, true)).abs().mean().item<double>();
  }
};

int main() {
  manual_seed(0);
  Run run;
  run.train(100);
  save(run.network, "network.safetensors");
  save(run.optimizer, "optimizer.safetensors");
  const std::string random_state = default_generator().state();
  run.train(100);

  Run resumed;
  load(resumed.network, "network.safetensors");
  load(resumed.optimizer, "optimizer.safetensors");
  default_generator().set_state(random_state);
  const double at_checkpoint = resumed.error();
  resumed.train(100);

  std::printf("error after 100 steps %.2f, after 200 steps %.2f\n", at_checkpoint, run.error());
  std::printf("the resumed run ends with the same bits: %s\n", run.error() == resumed.error() ? "yes" : "no");
}
