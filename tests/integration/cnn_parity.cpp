// LeNet and ResNet-20 trained for 50 steps as in tests/golden/record_cnn.py: PyTorch's losses, parameters, running averages and scores.
#include "golden/reader.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

const nlohmann::json& recorded_networks() {
  static const nlohmann::json document = read_golden("cnn.json");
  return document;
}

struct DefaultDouble {
  DefaultDouble() : before(get_default_dtype()) { set_default_dtype(kDouble); }
  ~DefaultDouble() { set_default_dtype(before); }
  ScalarType before;
};

void check_norms(const std::vector<Tensor>& parameters, const nlohmann::json& expected, double rtol) {
  REQUIRE_EQ(parameters.size(), expected.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    CAPTURE(i);
    CHECK_CLOSE(parameters[i].detach().norm().item<double>(), expected[i].get<double>(), rtol, 1e-12);
  }
}

template <class Network>
void check_training(Network network, const nlohmann::json& run, IntArrayRef sizes, double rate) {
  const Tensor inputs = randn(sizes);
  const Tensor targets = randint(0, 10, {sizes[0]});
  check_norms(network->parameters(), run.at("initial"), 1e-13);
  optim::SGD optimizer(network->parameters(), optim::SGDOptions(rate).momentum(0.9).weight_decay(1e-4));
  std::size_t step = 0;
  for (const nlohmann::json& expected : run.at("losses")) {
    CAPTURE(step);
    ++step;
    optimizer.zero_grad();
    const Tensor loss = cross_entropy_loss(network->forward(inputs), targets);
    loss.backward();
    optimizer.step();
    CHECK_CLOSE(loss.template item<double>(), expected.get<double>(), 1e-7, 1e-10);
  }
  check_norms(network->parameters(), run.at("final"), 1e-8);
  const std::vector<Tensor> buffers = network->buffers();
  REQUIRE_EQ(buffers.size(), run.at("buffers").size());
  for (std::size_t i = 0; i < buffers.size(); ++i) CHECK_CLOSE(buffers[i].to(kDouble).sum().item<double>(), run.at("buffers")[i].get<double>(), 1e-8, 1e-10);
  network->eval();
  const NoGradGuard no_grad;
  const Tensor scores = network->forward(inputs).flatten();
  for (std::int64_t i = 0; i < 20; ++i) CHECK_CLOSE(scores[i].item<double>(), run.at("scores")[static_cast<std::size_t>(i)].get<double>(), 1e-7, 1e-9);
}

}  // namespace

TEST_CASE("LeNet trains as in PyTorch") {
  const DefaultDouble scope;
  manual_seed(2015);
  check_training(models::LeNet(12, 3), recorded_networks().at("lenet"), {16, 1, 12, 12}, 0.05);
}

TEST_CASE("ResNet-20 trains as in PyTorch") {
  const DefaultDouble scope;
  manual_seed(2015);
  check_training(models::resnet20(), recorded_networks().at("resnet20"), {4, 3, 8, 8}, 0.01);
}

}  // namespace tinytorch::testing
