// Trains the network of the handwritten digits twice, on the CPU and on the simulated accelerator, and says what the machine did.
#include <tinytorch/tinytorch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "systolic/device.h"

using namespace tinytorch;
using data::datasets::Digits;

namespace {
constexpr std::int64_t kBatch = 64;
constexpr int kEpochs = 8;

struct Outcome {
  std::vector<float> losses;  // of each step
  double accuracy = 0;
};

// The loop that any program has: only `device` differs.
Outcome train(const Device& device) {
  manual_seed(0);
  nn::Sequential network(nn::Linear(64, 64), nn::ReLU(), nn::Linear(64, 10));
  network->to(device);
  optim::SGD optimizer(network->parameters(), optim::SGDOptions(0.1).momentum(0.9));
  const Digits digits, held_out(Digits::Mode::kTest);
  const Tensor images = digits.images().flatten(1).to(device), targets = digits.targets().to(device);

  Outcome outcome;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    for (std::int64_t first = 0; first + kBatch <= images.size(0); first += kBatch) {
      optimizer.zero_grad();
      const Tensor loss = nn::functional::cross_entropy(network->forward(images.slice(0, first, first + kBatch)), targets.slice(0, first, first + kBatch));
      loss.backward();
      optimizer.step();
      outcome.losses.push_back(loss.item<float>());
    }
  }
  const NoGradGuard no_grad;
  const Tensor guesses = network->forward(held_out.images().flatten(1).to(device)).cpu().argmax(1);
  outcome.accuracy = guesses.eq(held_out.targets()).to(kDouble).mean().item<double>();
  return outcome;
}

void report(std::size_t steps) {
  const auto usage = systolic::machine().usage();
  std::int64_t cycles = 0;
  std::vector<std::pair<std::string, systolic::Usage>> rows(usage.begin(), usage.end());
  for (const auto& [name, used] : rows) cycles += used.cycles;
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.cycles > b.second.cycles; });
  const auto share = [](std::int64_t part, std::int64_t whole) { return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole); };
  std::printf("\n%-16s %8s %11s %7s   %22s %8s\n", "operator", "calls", "cycles", "", "units busy", "array");
  std::printf("%-16s %8s %11s %7s   %6s %7s %7s %8s\n", "", "", "", "share", "array", "vector", "memory", "used");
  for (const auto& [name, u] : rows) {
    std::printf("%-16s %8lld %11lld %6.1f%%", name.c_str(), static_cast<long long>(u.programs), static_cast<long long>(u.cycles), share(u.cycles, cycles));
    if (u.link_bytes > 0) std::printf("   %lld bytes over the link\n", static_cast<long long>(u.link_bytes));
    else std::printf("   %5.0f%% %6.0f%% %6.0f%% %7.1f%%\n", share(u.matrix_busy, u.cycles), share(u.vector_busy, u.cycles), share(u.memory_busy, u.cycles), 100 * u.utilisation());
  }
  systolic::Usage all;
  for (const auto& [name, u] : rows) {
    all.cycles += u.cycles;
    all.multiply_adds += u.multiply_adds;
  }
  std::printf("%-16s %8s %11lld %6.1f%%   %31.1f%%\n", "all", "", static_cast<long long>(all.cycles), 100.0, 100 * all.utilisation());
  std::printf("\ncomputed by the CPU for it, in each of %zu steps:", steps);
  for (const auto& [name, count] : systolic::fallbacks()) std::printf(" %s %.3g", name.c_str(), static_cast<double>(count) / static_cast<double>(steps));
  std::printf("\n");
}
}  // namespace

int main() try {
  systolic::join();
  const Outcome here = train(kCPU);
  systolic::machine().reset_usage();
  const Outcome there = train("systolic");

  double largest = 0;
  for (std::size_t i = 0; i < here.losses.size(); ++i) largest = std::max(largest, std::fabs(static_cast<double>(here.losses[i]) - static_cast<double>(there.losses[i])));
  std::printf("%zu steps: loss %.3f -> %.3f on the CPU, %.3f -> %.3f on systolic\n", here.losses.size(), static_cast<double>(here.losses.front()), static_cast<double>(here.losses.back()),
              static_cast<double>(there.losses.front()), static_cast<double>(there.losses.back()));
  std::printf("all losses agree to 1e-3: %s\n", largest < 1e-3 ? "yes" : "no");
  std::printf("held-out accuracy above 95 %%: %s and %s\n", here.accuracy > 0.95 ? "yes" : "no", there.accuracy > 0.95 ? "yes" : "no");
  report(there.losses.size());
  return largest < 1e-3 ? 0 : 1;
} catch (const Error& error) {  // as where the digits are not found
  std::fprintf(stderr, "train_digits: %s\n", error.what_without_backtrace());
  return 1;
}
