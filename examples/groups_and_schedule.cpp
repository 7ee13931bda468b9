// A module of one's own, trained with two parameter groups and a falling learning rate.
#include <tinytorch/tinytorch.h>

#include <cstdio>
#include <iostream>

using namespace tinytorch;

// Two hidden layers around which the input takes a short cut.
class ResidualNetImpl : public nn::Module {
 public:
  ResidualNetImpl(std::int64_t features, std::int64_t hidden) {
    down = register_module("down", nn::Linear(features, hidden));
    up = register_module("up", nn::Linear(hidden, features));
    head = register_module("head", nn::Linear(features, 1));
    gain = register_parameter("gain", zeros({1}));
  }
  Tensor forward(const Tensor& x) { return head(x + gain * up(tanh(down(x)))); }

 private:
  nn::Linear down{nullptr}, up{nullptr}, head{nullptr};
  Tensor gain;
};
TORCH_MODULE(ResidualNet);

int main() {
  manual_seed(0);
  const Tensor x = randn({256, 4});
  const Tensor y = x.select(1, 0) * x.select(1, 1) + x.select(1, 2);

  ResidualNet net(4, 32);
  std::cout << net << "\n";

  // Weights decay; biases and the gain do not.
  std::vector<Tensor> decayed, others;
  for (const auto& item : net->named_parameters()) (item.value().dim() > 1 ? decayed : others).push_back(item.value());
  optim::AdamW optimizer({optim::OptimizerParamGroup(decayed, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(1e-2).weight_decay(0.1))),
                          optim::OptimizerParamGroup(others)},
                         optim::AdamWOptions(1e-2).weight_decay(0));
  optim::StepLR schedule(optimizer, /*step_size=*/100, /*gamma=*/0.3);
  schedule.step();  // begins the schedule
  for (int step = 1; step <= 300; ++step) {
    optimizer.zero_grad();
    const Tensor loss = nn::functional::mse_loss(net(x).squeeze(1), y);
    loss.backward();
    nn::utils::clip_grad_norm_(net->parameters(), 1.0);
    optimizer.step();
    schedule.step();
    if (step % 100 == 0) std::printf("step %d  loss %.2f  next rate %.4f\n", step, loss.item<double>(), optimizer.param_groups()[0].options().get_lr());
  }
}
