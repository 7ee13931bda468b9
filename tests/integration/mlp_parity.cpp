// The same network, seed and data as in tests/golden/record_mlp.py: the same parameters and losses as in PyTorch, step by step.
#include <cmath>
#include <functional>
#include <memory>

#include "golden/reader.h"
#include "integration/default_dtype.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

const nlohmann::json& recorded_mlp() {
  static const nlohmann::json document = read_golden("mlp.json");
  return document;
}

std::unique_ptr<optim::Optimizer> optimizer_named(const std::string& name, const std::vector<Tensor>& parameters) {
  if (name == "SGD")
    return std::make_unique<optim::SGD>(parameters, optim::SGDOptions(0.05).momentum(0.9).weight_decay(1e-3));
  if (name == "Adam") return std::make_unique<optim::Adam>(parameters, optim::AdamOptions(0.01));
  if (name == "AdamW") return std::make_unique<optim::AdamW>(parameters, optim::AdamWOptions(0.01).weight_decay(0.05));
  return std::make_unique<optim::SGD>(parameters, optim::SGDOptions(0.05).momentum(0.9).nesterov(true));
}

void check_parameters(const std::vector<Tensor>& parameters, const nlohmann::json& expected, double rtol, double atol) {
  REQUIRE_EQ(parameters.size(), expected.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    CAPTURE(i);
    CHECK_CLOSE(parameters[i].detach(), tensor_from(expected[i]), rtol, atol);
  }
}

// float64 agrees to 1e-9. In float32 sums round differently, and a hundred steps make more of it.
void check_training(const std::string& optimizer_name, ScalarType dtype) {
  const std::string name = optimizer_name + ", " + toString(dtype);
  CAPTURE(name);
  const nlohmann::json& run = recorded_mlp().at("runs").at(name);
  const DefaultDtype scope(dtype);
  const bool exact = dtype == kDouble;
  manual_seed(2024);
  const nn::Linear first(6, 16);  // on lines of their own: arguments are evaluated in any order, and each draws numbers
  const nn::Linear second(16, 4);
  nn::Sequential net(first, nn::ReLU(), second);
  const Tensor inputs = randn({24, 6});
  const Tensor targets = randint(0, 4, 24);
  check_parameters(net->parameters(), run.at("initial"), exact ? 1e-14 : 1e-6, exact ? 1e-15 : 1e-7);
  CHECK_CLOSE(inputs, tensor_from(run.at("inputs")), exact ? 1e-14 : 1e-6, exact ? 1e-15 : 1e-6);
  CHECK_EQ(targets, tensor_from(run.at("targets")));

  const auto optimizer = optimizer_named(optimizer_name, net->parameters());
  std::size_t step = 0;
  for (const nlohmann::json& expected : run.at("losses")) {
    CAPTURE(step);
    ++step;
    optimizer->zero_grad();
    const Tensor loss = cross_entropy_loss(net->forward(inputs), targets);
    loss.backward();
    optimizer->step();
    CHECK_CLOSE(loss.item<double>(), expected.get<double>(), exact ? 1e-9 : 1e-4, exact ? 1e-12 : 1e-5);
  }
  check_parameters(net->parameters(), run.at("final"), exact ? 1e-9 : 2e-3, exact ? 1e-11 : 2e-4);
}

void check_stream(const std::string& name, std::uint64_t seed, const std::function<std::vector<Tensor>()>& draw) {
  CAPTURE(name);
  manual_seed(seed);
  const std::vector<Tensor> drawn = draw();
  const nlohmann::json& expected = recorded_mlp().at("random").at(name);
  REQUIRE_EQ(drawn.size(), expected.size());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    CAPTURE(i);
    const bool exact = drawn[i].scalar_type() == kDouble;
    CHECK_CLOSE(drawn[i].detach(), tensor_from(expected[i]), exact ? 1e-14 : 1e-6, exact ? 1e-15 : 1e-7);
  }
}

}  // namespace

TEST_CASE("SGD with momentum trains as in PyTorch") {
  check_training("SGD", kDouble);
  check_training("SGD", kFloat);
}

TEST_CASE("SGD with Nesterov momentum trains as in PyTorch") {
  check_training("SGD with Nesterov momentum", kDouble);
  check_training("SGD with Nesterov momentum", kFloat);
}

TEST_CASE("Adam trains as in PyTorch") {
  check_training("Adam", kDouble);
  check_training("Adam", kFloat);
}

TEST_CASE("AdamW trains as in PyTorch") {
  check_training("AdamW", kDouble);
  check_training("AdamW", kFloat);
}

TEST_CASE("a seed gives PyTorch's random numbers") {
  check_stream("rand", 1, [] { return std::vector<Tensor>{rand(5), rand({3, 7}), rand(9, kDouble)}; });
  check_stream("randn", 2, [] { return std::vector<Tensor>{randn(5), randn(33), randn({6, 8}, kDouble), randn(3, kDouble)}; });
  check_stream("randint", 3, [] { return std::vector<Tensor>{randint(10, 20), randint(-5, std::int64_t{1} << 40, 6)}; });
  check_stream("randperm", 4, [] { return std::vector<Tensor>{randperm(1), randperm(64)}; });
  check_stream("one stream", 8, [] {
    return std::vector<Tensor>{rand(3), randn(3), randint(9, 3), randn(20), randperm(5), rand(1)};
  });
}

TEST_CASE("a seed gives PyTorch's initial weights") {
  // Braces evaluate from left to right.
  check_stream("kaiming", 5, [] {
    return std::vector<Tensor>{nn::init::kaiming_uniform_(empty({4, 5}), std::sqrt(5.0)),
                               nn::init::kaiming_normal_(empty({6, 5}), 0, kFanIn, kReLU)};
  });
  check_stream("xavier", 6, [] {
    return std::vector<Tensor>{nn::init::xavier_uniform_(empty({4, 5})), nn::init::xavier_normal_(empty({6, 5}), 2.0)};
  });
  check_stream("linear", 7, [] { return nn::Linear(7, 3)->parameters(); });
}

}  // namespace tinytorch::testing
