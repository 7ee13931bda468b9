// The networks of tests/golden/record_modules.py: the same initial parameters, outputs, losses and gradients as in PyTorch.
#include <functional>
#include <string>
#include <vector>

#include "golden/reader.h"
#include "integration/default_dtype.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

namespace F = nn::functional;

struct Run {
  std::vector<Tensor> parameters;
  std::vector<Tensor> inputs;
  Tensor output;
  Tensor loss;
};

void check_all(const std::vector<Tensor>& tensors, const nlohmann::json& expected, double rtol, double atol) {
  REQUIRE_EQ(tensors.size(), expected.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CAPTURE(i);
    CHECK_CLOSE(tensors[i].detach(), tensor_from(expected[i]), rtol, atol);
  }
}

// float64 agrees to 1e-12. In float32 sums round differently.
void check_network(const std::string& network, std::uint64_t seed, const std::function<Run()>& build) {
  static const nlohmann::json document = read_golden("modules.json");
  for (const ScalarType dtype : {kDouble, kFloat}) {
    const std::string name = network + ", " + toString(dtype);
    CAPTURE(name);
    const nlohmann::json& expected = document.at("networks").at(name);
    const DefaultDtype scope(dtype);
    const bool exact = dtype == kDouble;
    manual_seed(seed);
    const Run run = build();
    check_all(run.parameters, expected.at("initial"), exact ? 1e-14 : 1e-6, exact ? 1e-15 : 1e-7);
    check_all(run.inputs, expected.at("inputs"), exact ? 1e-14 : 1e-6, exact ? 1e-15 : 1e-6);
    const double rtol = exact ? 1e-12 : 1e-4;
    const double atol = exact ? 1e-13 : 1e-6;
    CHECK_CLOSE(run.output.detach(), tensor_from(expected.at("output")), rtol, atol);
    CHECK_CLOSE(run.loss.detach(), tensor_from(expected.at("loss")), rtol, atol);
    run.loss.backward();
    std::vector<Tensor> gradients;
    for (const Tensor& parameter : run.parameters) gradients.push_back(parameter.grad());
    check_all(gradients, expected.at("gradients"), rtol, atol);
  }
}

}  // namespace

// Modules are made one statement after the other: each draws random numbers, and arguments are evaluated in any order.

TEST_CASE("smooth activations compute what PyTorch's do, forwards and backwards") {
  check_network("smooth", 0, [] {
    nn::Sequential net;
    net->push_back(nn::Linear(5, 8));
    net->push_back(nn::SELU());
    net->push_back(nn::Linear(8, 8));
    net->push_back(nn::Mish());
    net->push_back(nn::GELU());
    net->push_back(nn::Linear(8, 8));
    net->push_back(nn::SiLU());
    net->push_back(nn::Softplus(nn::SoftplusOptions().beta(2)));
    net->push_back(nn::GLU());
    net->push_back(nn::LogSigmoid());
    net->push_back(nn::Tanhshrink());
    net->push_back(nn::Softsign());
    net->push_back(nn::Tanh());
    net->push_back(nn::Sigmoid());
    const Tensor x = randn({6, 5});
    const Tensor output = net->forward(x);
    const Tensor labels = (x.slice(1, 0, 4) > 0).to(x.scalar_type());
    return Run{net->parameters(), {x}, output, F::multilabel_soft_margin_loss(output, labels)};
  });
}

TEST_CASE("bent activations compute what PyTorch's do, forwards and backwards") {
  check_network("bent", 1, [] {
    nn::Sequential net;
    net->push_back(nn::Linear(5, 8));
    net->push_back(nn::PReLU(nn::PReLUOptions().num_parameters(8)));
    net->push_back(nn::Linear(8, 8));
    net->push_back(nn::CELU(nn::CELUOptions().alpha(0.5)));
    net->push_back(nn::Softshrink(0.1));
    net->push_back(nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.2)));
    net->push_back(nn::Linear(8, 8));
    net->push_back(nn::ELU(nn::ELUOptions().alpha(0.5)));
    net->push_back(nn::Hardshrink(0.1));
    net->push_back(nn::Threshold(-0.2, -0.3));
    net->push_back(nn::Hardtanh(nn::HardtanhOptions().min_val(-0.9).max_val(0.8)));
    net->push_back(nn::ReLU6());
    net->push_back(nn::Linear(8, 3));
    net->push_back(nn::LogSoftmax(1));
    const Tensor x = randn({6, 5});
    const Tensor t = randint(0, 3, 6);
    const Tensor output = net->forward(x);
    return Run{net->parameters(), {x, t}, output, F::nll_loss(output, t) + F::multi_margin_loss(output, t)};
  });
}

TEST_CASE("Bilinear computes what PyTorch's does, forwards and backwards") {
  check_network("two inputs", 2, [] {
    nn::ModuleList net;
    net->push_back(nn::Bilinear(3, 4, 5));
    net->push_back(nn::Linear(nn::LinearOptions(5, 4).bias(false)));
    const Tensor a = randn({6, 3});
    const Tensor b = randn({6, 4});
    const Tensor hidden = relu(net->at<nn::BilinearImpl>(0).forward(a, b));
    const Tensor output = net->at<nn::LinearImpl>(1).forward(hidden);
    return Run{net->parameters(), {a, b}, output,
               F::smooth_l1_loss(output, b) + F::cosine_embedding_loss(output, b, ones({6}))};
  });
}

TEST_CASE("layers that change shapes compute what PyTorch's do, forwards and backwards") {
  check_network("shapes", 3, [] {
    nn::Sequential net;
    net->push_back(nn::Flatten());
    net->push_back(nn::Linear(12, 8));
    net->push_back(nn::Unflatten(1, std::vector<std::int64_t>{2, 4}));
    net->push_back(nn::Linear(4, 3));
    net->push_back(nn::Softmin(-1));
    net->push_back(nn::Identity());
    net->push_back(nn::Flatten());
    net->push_back(nn::Linear(6, 4));
    const Tensor x = randn({6, 3, 2, 2});
    const Tensor output = net->forward(x);
    const Tensor distances = F::triplet_margin_loss(output.slice(0, 0, 2), output.slice(0, 2, 4), output.slice(0, 4, 6));
    const Tensor counts = F::poisson_nll_loss(output, x.flatten(1).slice(1, 0, 4).abs());
    return Run{net->parameters(), {x}, output, distances + counts};
  });
}

}  // namespace tinytorch::testing
