// Initialization and losses as modules: what weights are drawn, what each loss and its gradient are under each reduction.
#include <torch/torch.h>

#include <iomanip>
#include <iostream>
#include <string>

namespace nn = torch::nn;
using torch::Tensor;

// Numbers that no random stream decides.
Tensor numbers(torch::IntArrayRef sizes, double start) {
  Tensor out = torch::empty(sizes, torch::kDouble);
  out.copy_(torch::sin(torch::arange(out.numel(), torch::kDouble) * 0.7 + start).view(sizes));
  return out;
}

template <class Loss, class... More>
void show(const std::string& name, Loss loss, const Tensor& input, const More&... more) {
  const Tensor x = input.detach().clone().set_requires_grad(true);
  const Tensor value = loss(x, more...);
  value.sum().backward();
  std::cout << name << ": ";
  if (value.dim() == 0) std::cout << value.template item<double>() << "\n" << x.grad() << "\n";  // as a tensor it would print 16 digits
  else std::cout << value << "\n" << x.grad() << "\n";
}

void initialize() {
  torch::manual_seed(3);
  const auto print = [](const std::string& name, const Tensor& weight) { std::cout << name << "\n" << weight << "\n"; };
  print("ones_", nn::init::ones_(torch::empty({2, 2}, torch::kDouble)));
  print("zeros_", nn::init::zeros_(torch::empty({2, 2}, torch::kDouble)));
  print("constant_", nn::init::constant_(torch::empty({2, 2}, torch::kDouble), 0.3));
  print("eye_", nn::init::eye_(torch::empty({2, 3}, torch::kDouble)));
  print("dirac_", nn::init::dirac_(torch::empty({2, 2, 3}, torch::kDouble)));
  print("uniform_", nn::init::uniform_(torch::empty({2, 3}, torch::kDouble), -2, 2));
  print("normal_", nn::init::normal_(torch::empty({2, 3}, torch::kDouble), 1, 0.5));
  print("xavier_uniform_", nn::init::xavier_uniform_(torch::empty({3, 4}, torch::kDouble), 2.0));
  print("xavier_normal_", nn::init::xavier_normal_(torch::empty({3, 4}, torch::kDouble)));
  print("kaiming_uniform_", nn::init::kaiming_uniform_(torch::empty({3, 4}, torch::kDouble), 0.1, torch::kFanOut, torch::kLeakyReLU));
  print("kaiming_normal_", nn::init::kaiming_normal_(torch::empty({3, 2, 2}, torch::kDouble), 0, torch::kFanIn, torch::kReLU));
  std::cout << nn::init::calculate_gain(torch::kTanh) << " " << nn::init::calculate_gain(torch::kLeakyReLU, 0.2) << " " << nn::init::calculate_gain(torch::kConv2D) << "\n";
  try {
    nn::init::xavier_uniform_(torch::empty({3}));
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    std::cout << what.substr(0, what.find('\n')) << "\n";
  }
}

int main() {
  initialize();
  std::cout << std::setprecision(10);
  const Tensor x = numbers({3, 4}, 0.1), y = numbers({3, 4}, 1.3);
  const Tensor probability = torch::sigmoid(x), other = torch::sigmoid(y);
  const Tensor classes = torch::tensor({1, 3, 0}), sign = torch::tensor({1.0, -1.0, 1.0}, torch::kDouble);
  const Tensor signs = torch::where(y > 0, torch::ones_like(y), -torch::ones_like(y));
  const Tensor weight = torch::tensor({0.5, 1.0, 2.0, 0.25}, torch::kDouble);

  show("l1", nn::L1Loss(), x, y);
  show("l1, sum", nn::L1Loss(nn::L1LossOptions(torch::kSum)), x, y);
  show("mse", nn::MSELoss(), x, y);
  show("mse, none", nn::MSELoss(nn::MSELossOptions().reduction(torch::kNone)), x, y);
  show("smooth l1", nn::SmoothL1Loss(nn::SmoothL1LossOptions().beta(0.5)), x, y);
  show("huber", nn::HuberLoss(nn::HuberLossOptions().delta(0.6)), x, y);
  show("kl", nn::KLDivLoss(nn::KLDivLossOptions().reduction(torch::kBatchMean)), torch::log_softmax(x, 1), torch::softmax(y, 1));
  show("kl, log target", nn::KLDivLoss(nn::KLDivLossOptions().reduction(torch::kSum).log_target(true)), torch::log_softmax(x, 1), torch::log_softmax(y, 1));
  show("bce", nn::BCELoss(), probability, other);
  show("bce, weights", nn::BCELoss(nn::BCELossOptions().weight(weight).reduction(torch::kSum)), probability, other);
  show("bce with logits", nn::BCEWithLogitsLoss(nn::BCEWithLogitsLossOptions().pos_weight(weight)), x, other);
  show("nll", nn::NLLLoss(nn::NLLLossOptions().weight(weight)), torch::log_softmax(x, 1), classes);
  show("cross entropy", nn::CrossEntropyLoss(nn::CrossEntropyLossOptions().weight(weight).ignore_index(3).label_smoothing(0.1)), x, classes);
  show("cross entropy, none", nn::CrossEntropyLoss(nn::CrossEntropyLossOptions().reduction(torch::kNone)), x, classes);
  show("cross entropy, probabilities", nn::CrossEntropyLoss(), x, torch::softmax(y, 1));
  show("hinge embedding", nn::HingeEmbeddingLoss(nn::HingeEmbeddingLossOptions().margin(0.7)), x, signs);
  show("multi margin", nn::MultiMarginLoss(nn::MultiMarginLossOptions().margin(0.5).p(2)), x, classes);
  show("cosine embedding", nn::CosineEmbeddingLoss(nn::CosineEmbeddingLossOptions().margin(0.2)), x, y, sign);
  show("multilabel margin", nn::MultiLabelMarginLoss(), x, torch::tensor({{1, 3, -1, 0}, {0, -1, 2, 1}, {2, 1, 0, 3}}));
  show("soft margin", nn::SoftMarginLoss(), x, signs);
  show("multilabel soft margin", nn::MultiLabelSoftMarginLoss(nn::MultiLabelSoftMarginLossOptions().weight(weight)), x, (y > 0).to(torch::kDouble));
  show("triplet margin", nn::TripletMarginLoss(nn::TripletMarginLossOptions().margin(2).swap(true)), x, y, numbers({3, 4}, 2.2));
  show("triplet margin with a distance", nn::TripletMarginWithDistanceLoss(nn::TripletMarginWithDistanceLossOptions().margin(2).distance_function([](const Tensor& a, const Tensor& b) { return (a - b).abs().sum(1); })),
       x, y, numbers({3, 4}, 2.2));
  show("margin ranking", nn::MarginRankingLoss(nn::MarginRankingLossOptions().margin(0.1)), x.select(1, 0), y.select(1, 0), sign);
  show("poisson nll", nn::PoissonNLLLoss(nn::PoissonNLLLossOptions().full(true)), x, y.abs() * 3);
  // libtorch's gradient of it belongs to the scores in front of a log_softmax, whatever stands there.
  const auto ctc = [](const Tensor& scores, const Tensor& targets, const Tensor& lengths, const Tensor& target_lengths) {
    return nn::CTCLoss(nn::CTCLossOptions().blank(0))(torch::log_softmax(scores, 2), targets, lengths, target_lengths);
  };
  show("ctc", ctc, numbers({6, 2, 4}, 0.4), torch::tensor({{1, 2, 2}, {3, 1, 0}}), torch::tensor({6, 5}), torch::tensor({3, 2}));

  std::cout << nn::CrossEntropyLoss() << "\n" << nn::TripletMarginLoss(nn::TripletMarginLossOptions().margin(2)) << "\n" << nn::HuberLoss() << "\n" << nn::CTCLoss() << "\n";
  for (const auto& refused : {std::pair{x, y.slice(1, 0, 3)}, std::pair{x, x.to(torch::kLong)}}) {
    try {
      std::cout << nn::BCELoss()(torch::sigmoid(refused.first), refused.second) << "\n";
    } catch (const c10::Error& error) {
      const std::string what = error.what_without_backtrace();
      std::cout << what.substr(0, what.find('\n')) << "\n";
    }
  }
}
