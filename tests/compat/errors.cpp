// Broadcasting, and what libtorch says when shapes, dtypes and indices do not fit.
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <string>

// The first line of what an operation throws.
void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::IndexError& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << " (index): " << text.substr(0, text.find('\n')) << "\n";
  } catch (const c10::Error& error) {
    std::string text = error.what_without_backtrace();
    if (const std::size_t at = text.find("Check failed: "); at != std::string::npos) text.erase(0, at);  // before it, libtorch has the time and the place
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

void broadcasting() {
  const torch::Tensor column = torch::arange(3, torch::kFloat).unsqueeze(1);
  const torch::Tensor row = torch::tensor({10.0, 20.0});
  std::cout << column + row << "\n" << (column * torch::ones({2, 1, 2})).sizes() << "\n";
  std::cout << torch::add(torch::ones({4, 1}), torch::ones({1, 5})).sizes() << "\n";
}

int main() {
  broadcasting();
  const torch::Tensor x = torch::ones({2, 3});
  show("add", [&] { x + torch::ones({4}); });
  show("view", [&] { x.view({4, 2}); });
  show("view of a transpose", [&] { x.t().view({6}); });
  show("two inferred sizes", [&] { x.view({-1, -1}); });
  show("expand", [&] { x.expand({4, 3}); });
  show("select", [&] { x[5]; });
  show("dimension", [&] { x.sum(2); });
  show("item", [&] { x.item(); });
  show("cat", [&] { torch::cat({x, torch::ones({2, 4})}); });
  show("permute", [&] { x.permute({0, 0}); });
  show("data_ptr", [&] { x.data_ptr<double>(); });
  show("in place", [&] { torch::Tensor y = torch::ones({2}, torch::kInt); y.add_(0.5); });
  show("mean", [&] { torch::arange(3).mean(); });
  show("backward", [&] { x.backward(); });
  show("backward of many", [&] { torch::ones({2}, torch::requires_grad()).mul(2).backward(); });
  show("check", [&] { TORCH_CHECK(x.size(0) == 3, "wanted 3 rows, got ", x.size(0)); });
  const int64_t rows = x.size(0);
  show("check of two", [&] { TORCH_CHECK_EQ(rows, 3) << "in a sentence"; });
  show("check of an order", [&] { TORCH_CHECK_LT(rows, 2); });
  TORCH_CHECK_NE(rows, 3);
  TORCH_CHECK_GE(rows, 2) << "not said";
  show("nll", [&] { torch::nll_loss(x, torch::tensor({0, 7})); });
  show("undefined", [&] { torch::Tensor(); });
  show("a double and a float", [] { torch::tensor({1.0, 2.0F}); });
  show("an int and an int64", [&] { torch::tensor({{1}, {rows}}); });
  show("braces of two lengths", [] { torch::tensor({{1.5, 2.0}, {3.0}}); });
  show("braces and a number", [] { torch::tensor({{1, 2}, 3}); });
  std::cout << torch::tensor({static_cast<short>(1)}).dtype() << " " << torch::tensor({torch::Half(1.5)}).dtype() << " " << torch::tensor(std::vector<uint8_t>{1}).dtype() << " " << torch::tensor(std::vector<double>{1}).dtype() << "\n";
}
