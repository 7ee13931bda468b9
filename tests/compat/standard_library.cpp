// A program that includes nothing but libtorch's header, and uses what comes with it of the standard library.
#include <torch/torch.h>

int main() {
  std::vector<double> numbers(6);
  std::iota(numbers.begin(), numbers.end(), -2.0);
  std::sort(numbers.begin(), numbers.end(), std::greater<>());
  const torch::Tensor x = torch::tensor(numbers);
  std::cout << std::fixed << std::setprecision(3) << std::sqrt(2.0) << ' ' << std::accumulate(numbers.begin(), numbers.end(), 0.0) << '\n';
  std::cout << torch::isinf(x * INFINITY).sum().item<int64_t>() << ' ' << std::isnan(NAN) << ' ' << M_PI << '\n';

  const auto start = std::chrono::steady_clock::now();
  float copied[6];
  const torch::Tensor floats = x.to(torch::kFloat);
  std::memcpy(copied, floats.data_ptr<float>(), sizeof copied);
  assert(copied[0] == 3.0f);
  std::cout << copied[5] << ' ' << (std::chrono::steady_clock::now() >= start) << '\n';

  std::mutex mutex;
  double total = 0;
  std::thread other([&] {
    const std::lock_guard<std::mutex> lock(mutex);
    total += x.sum().item<double>();
  });
  other.join();
  std::stringstream text;
  text << total << ' ' << std::abs(std::complex<double>(3, 4)) << ' ' << std::bitset<4>(5);
  std::cout << text.str() << '\n';

  std::map<std::string, std::list<int>> lists{{"a", {1, 2}}};
  std::stack<int> stack;
  stack.push(static_cast<int>(lists["a"].size()));
  std::set<std::string> names{"b", "a"};
  std::cout << stack.top() << ' ' << *names.begin() << ' ' << std::max_element(numbers.begin(), numbers.end()) - numbers.begin() << '\n';
}
