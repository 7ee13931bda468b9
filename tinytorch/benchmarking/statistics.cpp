// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.

#include "tinytorch/benchmarking/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tinytorch/core/error.h"

namespace tinytorch {

// The value at position q (n - 1) of the sorted values, counted from 0; between two positions the straight line.
double benchmarking::quantile(std::vector<double> values, double q) {
  TORCH_CHECK_VALUE(!values.empty(), "quantile() needs at least one value\n[quantile] the sample is empty; measure something first.");
  TORCH_CHECK_VALUE(q >= 0 && q <= 1, "quantile() q values must be in the range [0, 1]\n[quantile] got q = ", q, "; the 90th percentile is 0.9.");
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
}

namespace {

// The probability of `heads` heads in `tosses` tosses of a fair coin.
double probability_of_heads(std::size_t heads, std::size_t tosses) {
  const auto n = static_cast<double>(tosses);
  const auto k = static_cast<double>(heads);
  return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) - n * std::log(2.0));
}

}  // namespace

// [x(k), x(n + 1 - k)] of the sorted values, counted from 1, for the largest k with 2 P(at most k - 1 heads in n tosses) <= 1 - confidence.
benchmarking::Interval benchmarking::median_interval(std::vector<double> values, double confidence) {
  const std::size_t n = values.size();
  std::size_t k = 0;
  double outside = 0;
  while (k < n) {
    outside += 2 * probability_of_heads(k, n);
    if (outside > 1 - confidence) break;
    ++k;
  }
  TORCH_CHECK_VALUE(k > 0, "median_interval needs more values: ", n, " allow no interval of confidence ", confidence,
                    "\n[median_interval] the whole sample covers the median with probability 1 - 2 / 2^n only; measure at least 6 times for 0.95.");
  std::sort(values.begin(), values.end());
  return {values[k - 1], values[n - k]};
}

// values.size() values, each drawn from all of `values` with the same chance: some come twice, some not at all.
std::vector<double> benchmarking::resample(const std::vector<double>& values, Generator& generator) {
  const auto n = static_cast<double>(values.size());
  std::vector<double> drawn(values.size());
  for (double& value : drawn) value = values[static_cast<std::size_t>(generator.uniform_double() * n)];
  return drawn;
}

benchmarking::Interval benchmarking::bootstrap_interval(const std::vector<double>& values, const Statistic& statistic, double confidence, int resamples, Generator generator) {
  TORCH_CHECK_VALUE(values.size() >= 2, "bootstrap_interval needs at least two values, but got ", values.size(), "\n[bootstrap_interval] resamples of a single value are all the same.");
  TORCH_CHECK_VALUE(resamples > 0 && confidence > 0 && confidence < 1, "bootstrap_interval needs resamples > 0 and a confidence in (0, 1), but got ", resamples, " and ", confidence);
  std::vector<double> results;
  results.reserve(static_cast<std::size_t>(resamples));
  for (int i = 0; i < resamples; ++i) results.push_back(statistic(resample(values, generator)));
  const double tail = (1 - confidence) / 2;
  return {quantile(results, tail), quantile(results, 1 - tail)};
}

// Those values below q1 - 1.5 IQR or above q3 + 1.5 IQR, marked severe beyond 3 IQR, in the order in which they were measured.
std::vector<benchmarking::Outlier> benchmarking::outliers(const std::vector<double>& values) {
  std::vector<Outlier> found;
  if (values.size() < 4) return found;
  const double q1 = quantile(values, 0.25);
  const double q3 = quantile(values, 0.75);
  const double range = q3 - q1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double distance = std::max(q1 - values[i], values[i] - q3);
    if (distance > 1.5 * range) found.push_back({i, values[i], distance > 3 * range, values[i] > q3});
  }
  return found;
}

}  // namespace tinytorch
