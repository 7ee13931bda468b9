// Functions without state: activations, losses, linear algebra, reductions.
#include <torch/torch.h>

#include <cmath>
#include <iostream>

namespace F = torch::nn::functional;
using torch::Tensor;

// Ten-thousandths: the last digits of a sum depend on its order.
double rounded(const Tensor& x) { return std::round(x.item<double>() * 1e4); }

Tensor points() { return torch::linspace(-2, 2, 5); }

void activations() {
  const Tensor x = points();
  std::cout << torch::relu(x) << "\n" << torch::sigmoid(x) << "\n" << torch::tanh(x) << "\n" << F::gelu(x) << "\n" << F::gelu(x, F::GELUFuncOptions().approximate("tanh")) << "\n";
  std::cout << F::leaky_relu(x, F::LeakyReLUFuncOptions().negative_slope(0.1)) << "\n" << F::elu(x) << "\n" << F::silu(x) << "\n" << F::softplus(x) << "\n" << F::hardtanh(x) << "\n" << F::mish(x) << "\n";
  std::cout << F::softmax(x, 0) << "\n" << F::log_softmax(x.view({1, 5}), F::LogSoftmaxFuncOptions(1)) << "\n" << torch::softmax(torch::ones({2, 4}), 1) << "\n";
}

void losses() {
  const Tensor scores = torch::tensor({{1.0, 2.0, 0.5}, {0.1, -1.0, 0.3}, {2.0, 2.0, 2.0}});
  const Tensor labels = torch::tensor({1, 0, 2});
  std::cout << rounded(F::cross_entropy(scores, labels)) << "\n" << F::cross_entropy(scores, labels, F::CrossEntropyFuncOptions().reduction(torch::kNone)) << "\n";
  std::cout << rounded(F::cross_entropy(scores, labels, F::CrossEntropyFuncOptions().weight(torch::tensor({1.0, 2.0, 3.0})).ignore_index(2).label_smoothing(0.1))) << "\n";
  std::cout << F::nll_loss(torch::log_softmax(scores, 1), labels, F::NLLLossFuncOptions().reduction(torch::kSum)) << "\n";
  const Tensor a = torch::tensor({0.0, 1.0, 4.0});
  const Tensor b = torch::tensor({0.5, 1.0, 1.0});
  std::cout << F::mse_loss(a, b) << "\n" << F::l1_loss(a, b) << "\n" << F::smooth_l1_loss(a, b) << "\n" << F::huber_loss(a, b) << "\n";
  std::cout << rounded(F::binary_cross_entropy(torch::sigmoid(a), torch::tensor({0.0, 1.0, 1.0}))) << "\n" << rounded(F::binary_cross_entropy_with_logits(a, torch::tensor({0.0, 1.0, 1.0}))) << "\n";
  std::cout << rounded(F::kl_div(torch::log_softmax(scores, 1), torch::softmax(scores.t(), 1), F::KLDivFuncOptions().reduction(torch::kBatchMean))) << "\n";
  std::cout << F::ctc_loss(torch::log_softmax(scores.unsqueeze(1), 2), torch::ones({1, 1}, torch::kLong), torch::tensor({3}), torch::tensor({1})) << "\n";
}

void algebra() {
  const Tensor a = torch::arange(6, torch::kFloat).view({2, 3});
  const Tensor b = torch::arange(12, torch::kFloat).view({3, 4});
  std::cout << a.mm(b) << "\n" << torch::matmul(a, torch::ones({3})) << "\n" << torch::bmm(a.expand({2, 2, 3}), b.expand({2, 3, 4})).sizes() << "\n";
  std::cout << torch::addmm(torch::ones({4}), a, b, 0.5, 2) << "\n" << torch::outer(a[0], a[1]) << "\n" << torch::dot(a[0], a[1]) << "\n";
  std::cout << torch::einsum("ij,jk->ki", {a, b}) << "\n" << torch::einsum("...i,i->...", {b.t(), torch::tensor({1.0, 0.0, 2.0})}) << "\n" << torch::einsum("ii", {torch::eye(3)}) << "\n";
  std::cout << F::linear(a, torch::ones({2, 3}), torch::tensor({0.5, -0.5})) << "\n" << F::one_hot(torch::tensor({0, 2, 1}), 4) << "\n";
  std::cout << F::normalize(a, F::NormalizeFuncOptions().dim(1)) << "\n" << F::cosine_similarity(a[0], a[1], F::CosineSimilarityFuncOptions().dim(0)) << "\n";
  std::cout << torch::tril(b) << "\n" << torch::triu(b, 1) << "\n" << torch::diagonal(b) << "\n";
}

void reductions() {
  const Tensor x = torch::tensor({{3.0, 1.0, 2.0}, {-1.0, 5.0, 0.0}});
  std::cout << x.sum() << "\n" << x.sum(0) << "\n" << x.mean(1, true) << "\n" << x.std() << "\n" << x.var(1, false) << "\n" << x.norm() << "\n" << x.prod(1) << "\n";
  const auto [values, indices] = x.max(1);
  std::cout << values << "\n" << indices << "\n" << x.argmax() << "\n" << x.argmin(1) << "\n" << x.min() << "\n";
  const auto [sorted, order] = x.sort(1, true);
  std::cout << sorted << "\n" << order << "\n" << std::get<0>(x.topk(2)) << "\n" << x.cumsum(1) << "\n" << torch::logsumexp(x, 1) << "\n";
  std::cout << (x > 0).any(1) << "\n" << (x > -2).all() << "\n" << torch::tensor({0, 2}, torch::kByte).any() << "\n" << torch::tensor({0, 2, 200}, torch::kByte).clamp(-1, 100) << "\n";
  const auto [values_of, inverse, counts] = torch::_unique2(torch::tensor({3, 1, 2, 3, 1}), true, true, true);
  std::cout << values_of << "\n" << inverse << "\n" << counts << "\n";
  std::cout << torch::where(x > 1, x, torch::zeros({})) << "\n" << torch::allclose(x, x + 1e-9) << torch::equal(x, x.clone()) << "\n";
}

int main() {
  activations();
  losses();
  algebra();
  reductions();
}
