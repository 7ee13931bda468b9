// What a program is told when something goes wrong: clipped gradients, anomalies, warnings, and parameters as one vector.
#include <torch/torch.h>

#include <iostream>
#include <sstream>
#include <string>

namespace nn = torch::nn;
using torch::Tensor;

Tensor leaf(std::vector<double> values) { return torch::tensor(values, torch::dtype(torch::kDouble)).set_requires_grad(true); }

void first_line(const std::string& what) { std::cout << what.substr(0, what.find('\n')) << "\n"; }

void clipping() {
  const auto fresh = [] {
    std::vector<Tensor> parameters{leaf({1, 2}), leaf({3}), leaf({4, 5, 6})};
    parameters[0].mutable_grad() = torch::tensor({3.0, -4.0}, torch::kDouble);
    parameters[2].mutable_grad() = torch::tensor({0.0, 12.0, -1.0}, torch::kDouble);
    return parameters;
  };
  for (const double norm : {1.0, 2.0, std::numeric_limits<double>::infinity()}) {
    std::vector<Tensor> parameters = fresh();
    std::cout << nn::utils::clip_grad_norm_(parameters, 5.0, norm) << "\n" << parameters[0].grad() << "\n" << parameters[2].grad() << "\n";
  }
  std::vector<Tensor> parameters = fresh();
  nn::utils::clip_grad_value_(parameters, 3.5);
  std::cout << parameters[0].grad() << "\n" << parameters[2].grad() << "\n";
  parameters[2].mutable_grad()[0] = std::numeric_limits<double>::quiet_NaN();
  std::cout << nn::utils::clip_grad_norm_(parameters, 5.0) << "\n";
  try {
    nn::utils::clip_grad_norm_(parameters, 5.0, 2.0, true);
  } catch (const c10::Error& error) {
    first_line(error.what_without_backtrace());
  }
}

void as_one_vector() {
  const nn::Linear linear(3, 2);
  const Tensor vector = torch::arange(8, torch::kFloat) / 4;
  nn::utils::vector_to_parameters(vector, linear->parameters());
  std::cout << linear->weight.detach() << "\n" << linear->bias.detach() << "\n" << torch::equal(nn::utils::parameters_to_vector(linear->parameters()).detach(), vector) << "\n";
}

struct Collect : c10::WarningHandler {
  void process(const c10::Warning& warning) override { text << warning.msg() << "\n"; }
  std::ostringstream text;
};

void anomalies() {
  Collect collect;
  const c10::WarningUtils::WarningHandlerGuard listening(&collect);
  std::cout << torch::autograd::AnomalyMode::is_enabled() << "\n";
  {
    const torch::autograd::DetectAnomalyGuard guard;
    std::cout << torch::autograd::AnomalyMode::is_enabled() << torch::autograd::AnomalyMode::should_check_nan() << "\n";
    const Tensor x = leaf({-1, 4});
    try {
      (x.sqrt() * 2).sum().backward();
    } catch (const std::exception& error) {
      const std::string what = error.what();
      std::cout << what.substr(0, what.find('.')) << "\n";
    }
  }
  std::cout << torch::autograd::AnomalyMode::is_enabled() << "\n";
  first_line(collect.text.str());  // the second warning has the frames of the stack
}

void warnings() {
  Collect collect;
  {
    const c10::WarningUtils::WarningHandlerGuard guard(&collect);
    TORCH_WARN("the rate is ", 0.5, ", which is large");
    for (int i = 0; i < 3; ++i) TORCH_WARN_ONCE("said once");
  }
  std::cout << collect.text.str();
}

int main() {
  clipping();
  as_one_vector();
  anomalies();
  warnings();
}
