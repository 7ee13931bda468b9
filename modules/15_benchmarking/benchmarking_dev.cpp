// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Module 15: Benchmarking
//
// "My version is 12 % faster." Than what, on which machine, in how many runs, and would the same program beat itself by 12 % if you ran it twice? This module builds the tools that let you write such a sentence and stand by it: repetition, medians with intervals, two
// programs that take turns in one run, files of results that can be compared a month later, and the three ways in which MLPerf asks how fast a model is.
//
// Time is an unusual quantity to measure. Its errors have one sign: a machine can be disturbed into taking longer, hardly ever into taking less. They are not independent: a slow moment lasts for many measurements. And what is measured changes by being measured: caches
// fill, compilers remove what nobody reads, queues grow while you wait. Each tool of this module answers one of these.
//
// **Objectives.** After this module you can
//
// - say why the median, and compute an interval for it that assumes nothing about the distribution;
// - find where warm-up ends, name outliers without hiding them, and decide how many runs are enough;
// - compare two programs so that a machine that slows down favours neither;
// - load a server the way its users do, and report percentiles that include the time in the queue;
// - compare two files of results and say "slower", "faster", "the same", or "this noise allows no verdict".
//
// **Where it sits.** Below it: module 00's timers and random numbers, and everything that is worth measuring. Above it: module 16 makes kernels faster and proves it with this module; `tito bench` measures TinyTorch against PyTorch with it.
//
// **Prerequisites.** Modules 00 to 08; means, medians and the binomial distribution.

// %%
//| export benchmarking/statistics.h
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>
#include "tinytorch/core/generator.h"
//| export benchmarking/statistics.cpp
#include <algorithm>
#include <cmath>
#include <numeric>
#include "tinytorch/core/error.h"
//| export benchmarking/timing.h
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>
#include "tinytorch/benchmarking/statistics.h"
//| export benchmarking/timing.cpp
#include <algorithm>
#include <chrono>
#include <cmath>
#include "tinytorch/core/error.h"
#include "tinytorch/core/utils.h"
//| export benchmarking/scenarios.h
#include <cstdint>
#include <functional>
#include <string>
#include <vector>
#include "tinytorch/core/generator.h"
//| export benchmarking/scenarios.cpp
#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include "tinytorch/core/error.h"
#include "tinytorch/core/special.h"
#include "tinytorch/core/tensor_data.h"
//| export benchmarking/results.h
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/benchmarking/statistics.h"
//| export benchmarking/results.cpp
#include <algorithm>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include "tinytorch/core/error.h"
#include "tinytorch/core/system_info.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/serialize/file.h"
//| export benchmarking/pareto.h
#include <cstddef>
#include <string>
#include <vector>
//| export benchmarking/pareto.cpp
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include "tinytorch/core/error.h"
#include "tinytorch/profiling/pictures.h"

// %%
//| export benchmarking/timing.cpp
#if defined(__linux__)
#include <sched.h>
#endif

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/mlp.h"
#include "tinytorch/optim/adam.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### What a sample of times looks like
//
// Run the same function 200 times and draw how often each time occurs. It is not a bell. There is a steep left side, which is the time the work takes, and a long tail to the right: an interrupt, another process, a page that had to be fetched.
//
//       how often
//         |   #
//         |  ###
//         |  ####
//         |  #####
//         |  ########                                   mean: pulled to the right by the tail
//         |  ###########  #    #  #        #      #      median: half of the runs were faster
//         +--^-----^----------------------------------> time
//          minimum median
//
// The *mean* of such a sample says as much about the tail as about the work: one run that was 100 times slower moves the mean of 100 runs by 100 %. The *median* moves by one rank. The *minimum* is the least disturbed run, and useful for "what can this code do", but it depends on how
// often you tried, and hides a cost that occurs in every tenth run. This module reports medians, keeps every sample, and puts an interval around each number.
//
// A *quantile* is the general case: `quantile(values, q)` is the value with the fraction `q` of the sorted sample below it. Between two ranks it interpolates, as NumPy's and PyTorch's do:
//
//       sorted   x0      x1      x2      x3      x4            position = q (n - 1)
//       q         0     0.25     0.5    0.75      1            q = 0.3:  position 1.2  ->  x1 + 0.2 (x2 - x1)
//
// Sorting costs O(n log n), which for samples of times is nothing.

// %%
//| export benchmarking/statistics.h
namespace benchmarking {

// The value below which lies the fraction q of the values, with linear interpolation between ranks, as torch.quantile does. O(n log n).
// Throws ValueError for no values and for q outside of [0, 1].
double quantile(std::vector<double> values, double q);

inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

}  // namespace benchmarking

// %% {"nbgrader": {"grade": false, "grade_id": "15-quantile", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/statistics.cpp
// The value at position q (n - 1) of the sorted values, counted from 0; between two positions the straight line.
//
// TODO: Sort, find the position, interpolate.
// APPROACH: TORCH_CHECK_VALUE for no values ("quantile() needs at least one value") and for q ("quantile() q values must be in the range [0, 1]"); then position, its floor, and what is left over.
// EXAMPLE: quantile({30, 10, 20}, 0.75) is 25.
// HINT: at q = 1 there is no element behind the last one.
double benchmarking::quantile(std::vector<double> values, double q) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(!values.empty(), "quantile() needs at least one value\n[quantile] the sample is empty; measure something first.");
  TORCH_CHECK_VALUE(q >= 0 && q <= 1, "quantile() q values must be in the range [0, 1]\n[quantile] got q = ", q, "; the 90th percentile is 0.9.");
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
  // END SOLUTION
}

// %%
//| mistake 15-quantile forgets-to-sort
//| says The values were taken in the order in which they were measured. Quantiles are ranks: sort first.
#if 0
double benchmarking::quantile(std::vector<double> values, double q) {
  TORCH_CHECK_VALUE(!values.empty(), "quantile() needs at least one value");
  TORCH_CHECK_VALUE(q >= 0 && q <= 1, "quantile() q values must be in the range [0, 1]");
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-quantile-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("quantile: ranks of the sorted sample, with straight lines between them") {
  using benchmarking::median;
  using benchmarking::quantile;
  CHECK_CLOSE(quantile({30, 10, 20}, 0.75), 25.0, 1e-12, 0.0);
  CHECK_EQ(quantile({30, 10, 20}, 0), 10.0);
  CHECK_EQ(quantile({30, 10, 20}, 1), 30.0);
  CHECK_EQ(median({4, 1, 2, 3}), 2.5);
  CHECK_EQ(median({7}), 7.0);
  CHECK_ERROR(quantile({}, 0.5), "at least one value");
  CHECK_ERROR(quantile({1, 2}, 90), "q values must be in the range [0, 1]");
  // One run that was disturbed: the mean says 1090, the median what the work takes.
  std::vector<double> times(100, 100.0);
  times[17] = 99100.0;
  CHECK_EQ(median(times), 100.0);
  // BEGIN HIDDEN TESTS
  // Recorded from numpy 2.4.6: np.quantile([5, 3, 9, 1, 7, 2], [0.1, 0.25, 0.9, 0.99]).
  const std::vector<double> values = {5, 3, 9, 1, 7, 2};
  CHECK_CLOSE(quantile(values, 0.1), 1.5, 1e-12, 0.0);
  CHECK_CLOSE(quantile(values, 0.25), 2.25, 1e-12, 0.0);
  CHECK_CLOSE(quantile(values, 0.9), 8.0, 1e-12, 0.0);
  CHECK_CLOSE(quantile(values, 0.99), 8.9, 1e-12, 0.0);
  CHECK_ERROR(quantile({1}, -0.1), "[0, 1]");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### An interval for the median that assumes nothing
//
// A median of 30 runs is an estimate. How far may it be from the median of all runs one could have made? The textbook's `mean +- 1.96 s / sqrt(n)` is about the mean, and trusts a bell curve that is not there. For the median there is an argument with coins instead.
//
// Call M the true median. Each run falls below M with probability 1/2, whatever the distribution. So the number of runs below M is binomial, like heads in n tosses. The k-th smallest value `x(k)` lies above M only if fewer than k runs fell below: a question about coins.
//
//       sorted runs   x(1)  x(2)  x(3)  x(4)  x(5)  x(6)  x(7)  x(8)  x(9)  x(10)
//                            |<------------- M is in here ------------->|
//                            k = 2                                  n + 1 - k = 9
//       P(M outside) = 2 P(at most k - 1 heads in n tosses) = 2 (1 + 10) / 1024 = 2.1 %        so this is an interval of 97.9 %
//
// We take the largest k whose interval still has the confidence that was asked for. With fewer than six values even the whole sample, from minimum to maximum, covers M in less than 95 % of the cases: `1 - 2 / 2^5` is 93.75 %. Five runs allow no statement of 95 %, and the function must say so.

// %%
//| export benchmarking/statistics.h
namespace benchmarking {

struct Interval {
  double low = 0;
  double high = 0;
};

// An interval that holds the true median with at least this probability, whatever the distribution: two order statistics of the sample. O(n log n).
// Throws ValueError when the sample is too small for any such interval (below 6 values for 95 %).
Interval median_interval(std::vector<double> values, double confidence = 0.95);

}  // namespace benchmarking

// %%
//| export benchmarking/statistics.cpp
namespace {

// The probability of `heads` heads in `tosses` tosses of a fair coin.
double probability_of_heads(std::size_t heads, std::size_t tosses) {
  const auto n = static_cast<double>(tosses);
  const auto k = static_cast<double>(heads);
  return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) - n * std::log(2.0));
}

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "15-median-interval", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/statistics.cpp
// [x(k), x(n + 1 - k)] of the sorted values, counted from 1, for the largest k with 2 P(at most k - 1 heads in n tosses) <= 1 - confidence.
//
// TODO: Find k, and return the k-th value from either end.
// APPROACH: add up probability_of_heads(0, n), (1, n), ... while twice the sum stays within 1 - confidence; the number of terms is k. If k is 0, TORCH_CHECK_VALUE with "needs more values".
// EXAMPLE: for 10 values at 0.95 k is 2: from the second to the ninth value.
// HINT: counted from 0, the k-th value from the front is sorted[k - 1], from the back sorted[n - k].
benchmarking::Interval benchmarking::median_interval(std::vector<double> values, double confidence) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 15-median-interval mean-and-deviation
//| says This is the interval of a mean under a bell curve. A single slow run moves it and widens it; order statistics do not care how slow the slow runs were.
#if 0
benchmarking::Interval benchmarking::median_interval(std::vector<double> values, double confidence) {
  TORCH_CHECK_VALUE(values.size() >= 6, "median_interval needs more values: ", values.size(), " allow no interval of confidence ", confidence);
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double half = 1.96 * std::sqrt(squares / (n - 1) / n);
  return {mean - half, mean + half};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-median-interval-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("median_interval: two ranks, and no slow run can move them") {
  using benchmarking::median_interval;
  std::vector<double> ten = {10, 1, 9, 2, 8, 3, 7, 4, 6, 5};
  CHECK_EQ(median_interval(ten).low, 2.0);
  CHECK_EQ(median_interval(ten).high, 9.0);
  ten[0] = 1e9;  // the slowest run, a billion times slower
  CHECK_EQ(median_interval(ten).high, 9.0);
  std::vector<double> thirty(30);
  std::iota(thirty.begin(), thirty.end(), 1.0);
  CHECK_EQ(median_interval(thirty).low, 10.0);  // as tables of the sign test have it
  CHECK_EQ(median_interval(thirty).high, 21.0);
  CHECK_EQ(median_interval({1, 2, 3, 4, 5, 6}).low, 1.0);
  CHECK_ERROR(median_interval({1, 2, 3, 4, 5}), "needs more values: 5 allow no interval of confidence 0.95");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(median_interval({1, 2, 3, 4, 5}, 0.9).high, 5.0);
  std::vector<double> many(5000);
  std::iota(many.begin(), many.end(), 0.0);
  const benchmarking::Interval wide = median_interval(many);  // 2^-5000 is no double
  CHECK_CLOSE(wide.high - wide.low, 1.96 * std::sqrt(5000.0), 0.03, 0.0);
  // The promise itself: of 400 samples from a skewed distribution, at least 95 % (less four standard errors) have the median inside.
  Generator generator(15);
  int covered = 0;
  for (int i = 0; i < 400; ++i) {
    std::vector<double> sample(20);
    for (double& value : sample) value = -std::log(1 - generator.uniform_double());
    const benchmarking::Interval interval = median_interval(sample);
    covered += interval.low <= std::log(2.0) && std::log(2.0) <= interval.high;
  }
  CHECK_GE(covered, 363);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The bootstrap: an interval for anything
//
// Coins work for the median of one sample. For a 99th percentile, for a ratio of two medians, for anything computed from a sample there is a general method, which trades thought for arithmetic. If the sample is like the population, then a *resample*, n values drawn from it **with replacement**,
// is to the sample what the sample is to the population. Draw 1,000 of them and look how much the number moves (Efron 1979).
//
//       sample      5 3 9 1 7                          median 5
//       resample 1  3 3 9 1 5   -> 3  \
//       resample 2  7 9 9 5 1   -> 7   >  1,000 medians; their 2.5 % and 97.5 % quantiles are the interval
//       resample 3  1 5 5 3 7   -> 5  /
//
// It costs `resamples` times the statistic, and it knows nothing beyond the sample: a tail that was never seen cannot appear in a resample, so intervals of extreme percentiles from few runs are too narrow. The random numbers come from a Generator that the caller seeds: the same file of results
// gives the same interval on every machine.

// %%
//| export benchmarking/statistics.h
namespace benchmarking {

using Statistic = std::function<double(const std::vector<double>&)>;

// As many values as there are, drawn from them with replacement.
std::vector<double> resample(const std::vector<double>& values, Generator& generator);

// The percentile bootstrap: between which values the statistic lies in `confidence` of all resamples. O(resamples * cost of the statistic).
// Source: Efron 1979. Throws ValueError for fewer than two values.
Interval bootstrap_interval(const std::vector<double>& values, const Statistic& statistic, double confidence = 0.95, int resamples = 1000, Generator generator = Generator(0));

}  // namespace benchmarking

// %% {"nbgrader": {"grade": false, "grade_id": "15-resample", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/statistics.cpp
// values.size() values, each drawn from all of `values` with the same chance: some come twice, some not at all.
//
// TODO: Draw n times with replacement.
// APPROACH: a random index for each element of the result.
// EXAMPLE: a resample of {1, 2, 3} may be {3, 1, 3}.
// HINT: static_cast<std::size_t>(generator.uniform_double() * n) is an index from 0 to n - 1: uniform_double() is below 1.
std::vector<double> benchmarking::resample(const std::vector<double>& values, Generator& generator) {
  // BEGIN SOLUTION
  const auto n = static_cast<double>(values.size());
  std::vector<double> drawn(values.size());
  for (double& value : drawn) value = values[static_cast<std::size_t>(generator.uniform_double() * n)];
  return drawn;
  // END SOLUTION
}

// %%
//| mistake 15-resample without-replacement
//| says A shuffled sample has the same median, mean and maximum as before, so the interval has no width. Each draw must be from all values, those that were drawn already too.
#if 0
std::vector<double> benchmarking::resample(const std::vector<double>& values, Generator& generator) {
  std::vector<double> drawn = values;
  for (std::size_t i = drawn.size(); i > 1; --i) {
    std::swap(drawn[i - 1], drawn[static_cast<std::size_t>(generator.uniform_double() * static_cast<double>(i))]);
  }
  return drawn;
}
#endif

// %%
//| export benchmarking/statistics.cpp
benchmarking::Interval benchmarking::bootstrap_interval(const std::vector<double>& values, const Statistic& statistic, double confidence, int resamples, Generator generator) {
  TORCH_CHECK_VALUE(values.size() >= 2, "bootstrap_interval needs at least two values, but got ", values.size(), "\n[bootstrap_interval] resamples of a single value are all the same.");
  TORCH_CHECK_VALUE(resamples > 0 && confidence > 0 && confidence < 1, "bootstrap_interval needs resamples > 0 and a confidence in (0, 1), but got ", resamples, " and ", confidence);
  std::vector<double> results;
  results.reserve(static_cast<std::size_t>(resamples));
  for (int i = 0; i < resamples; ++i) results.push_back(statistic(resample(values, generator)));
  const double tail = (1 - confidence) / 2;
  return {quantile(results, tail), quantile(results, 1 - tail)};
}

// %% {"nbgrader": {"grade": true, "grade_id": "15-resample-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("bootstrap_interval: as wide as the statistic is uncertain") {
  using benchmarking::bootstrap_interval;
  Generator generator(3);
  const std::vector<double> values = {1, 2, 3, 4};
  std::map<double, int> seen;
  bool repeats = false;
  for (int i = 0; i < 500; ++i) {
    std::vector<double> drawn = benchmarking::resample(values, generator);
    REQUIRE_EQ(drawn.size(), 4);
    for (const double value : drawn) ++seen[value];
    std::sort(drawn.begin(), drawn.end());
    repeats = repeats || std::adjacent_find(drawn.begin(), drawn.end()) != drawn.end();
  }
  CHECK(repeats);
  REQUIRE_EQ(seen.size(), 4);  // no value but those of the sample
  for (const auto& entry : seen) {
    CAPTURE(entry.first);
    CHECK_GT(entry.second, 420);  // of 500 expected
    CHECK_LT(entry.second, 580);
  }
  // The mean of n values of deviation s moves by s / sqrt(n): the bootstrap must find that by itself.
  std::vector<double> normal(200);
  for (double& value : normal) value = 10 + generator.normal_double();
  const auto mean = [](const std::vector<double>& sample) { return std::accumulate(sample.begin(), sample.end(), 0.0) / static_cast<double>(sample.size()); };
  const benchmarking::Interval interval = bootstrap_interval(normal, mean);
  CHECK_CLOSE(interval.high - interval.low, 2 * 1.96 / std::sqrt(200.0), 0.15, 0.0);
  CHECK_ERROR(bootstrap_interval({1}, mean), "at least two values, but got 1");
  // BEGIN HIDDEN TESTS
  const benchmarking::Interval again = bootstrap_interval(normal, mean);
  CHECK_EQ(again.low, interval.low);  // the same seed, the same interval
  const benchmarking::Interval constant = bootstrap_interval({5, 5, 5}, mean);
  CHECK_EQ(constant.low, constant.high);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Outliers, kept and named
//
// A run of 40 ms among runs of 1 ms is an event, and an event is information: perhaps the garbage of another process, perhaps *your* program, which rebuilds a table every thousandth call. To delete it is to decide which. So outliers stay in the sample (the median does not mind), and the report names
// them: how many, how far.
//
// Tukey's fences mark what is far from the middle half of the sample. They stand at 1.5 and 3 times the *interquartile range* IQR = q(3/4) - q(1/4) beyond the quartiles:
//
//            severe  |   mild   |                                     |   mild   |  severe
//       -------------+----------+-----[======|======]-----------------+----------+-------------> time
//              q1 - 3 IQR   q1 - 1.5 IQR    q1  median  q3        q3 + 1.5 IQR  q3 + 3 IQR
//
// Why not "three standard deviations from the mean"? Because the outliers are in the mean and in the deviation. In a sample of ten, no value can be three deviations away, however slow it was: it makes its own yardstick longer. Quartiles are not moved by less than a quarter of the sample.

// %%
//| export benchmarking/statistics.h
namespace benchmarking {

// A value far from the middle half of its sample.
struct Outlier {
  std::size_t index = 0;  // in the order of measurement
  double value = 0;
  bool severe = false;  // beyond three times the interquartile range, not only one and a half
  bool high = true;
};

// The values outside of Tukey's fences, in the order of measurement. None for fewer than four values. O(n log n).
std::vector<Outlier> outliers(const std::vector<double>& values);

}  // namespace benchmarking

// %% {"nbgrader": {"grade": false, "grade_id": "15-outliers", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/statistics.cpp
// Those values below q1 - 1.5 IQR or above q3 + 1.5 IQR, marked severe beyond 3 IQR, in the order in which they were measured.
//
// TODO: Compute the quartiles, then compare each value with the fences.
// APPROACH: quantile(values, 0.25) and quantile(values, 0.75); how far a value lies outside of [q1, q3], in units of IQR, decides.
// EXAMPLE: {1, 2, 3, 4, 5, 50} has one: index 5, high, severe.
// HINT: with an IQR of 0 (half of the values equal) every other value is outside of the fences: compare distances with 1.5 * IQR instead of dividing.
std::vector<benchmarking::Outlier> benchmarking::outliers(const std::vector<double>& values) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 15-outliers three-deviations
//| says The outlier is part of the mean and of the deviation by which it is judged, and so hides itself. Use quartiles, which a single value cannot move.
#if 0
std::vector<benchmarking::Outlier> benchmarking::outliers(const std::vector<double>& values) {
  std::vector<Outlier> found;
  if (values.size() < 4) return found;
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / (n - 1));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double distance = std::abs(values[i] - mean);
    if (distance > 3 * deviation) found.push_back({i, values[i], distance > 6 * deviation, values[i] > mean});
  }
  return found;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-outliers-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("outliers: named by place and side, and judged by the middle half") {
  const std::vector<benchmarking::Outlier> found = benchmarking::outliers({10, 11, 12, 40, 11, 10, 12, 1, 11, 15});
  REQUIRE_EQ(found.size(), 3);  // q1 = 10.25, q3 = 12, IQR = 1.75: the fences are 7.625 and 14.625, 5 and 17.25
  CHECK_EQ(found[0].index, 3);
  CHECK(found[0].severe);
  CHECK(found[0].high);
  CHECK_EQ(found[1].value, 1.0);
  CHECK(!found[1].high);
  CHECK_EQ(found[2].index, 9);
  CHECK(!found[2].severe);
  CHECK(benchmarking::outliers({1, 2, 3, 4, 5, 6}).empty());
  CHECK(benchmarking::outliers({1, 1, 100}).empty());  // too few to say
  // BEGIN HIDDEN TESTS
  CHECK_EQ(benchmarking::outliers({5, 5, 5, 5, 5, 6}).size(), 1);
  CHECK(benchmarking::outliers({5, 5, 5, 5}).empty());
  CHECK(benchmarking::outliers({}).empty());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The block: what stands between two readings of the clock
//
// Reading a clock costs 20 to 50 ns, and its last digit may be coarser than that. Work of 100 ns therefore runs many times between two readings. That loop has two traps.
//
//       read clock                                   read clock
//           |  work  work  work  ...  work  work        |            one block: calls x work
//           |--------------------------------------------|
//                    results -> checksum -> used          else the compiler may see that nobody needs them
//
// *The clock inside the loop* adds its own cost to each call. *Results that nobody reads* are worse: a compiler that sees into the work may remove it, and the benchmark measures an empty loop, at 0.3 ns a call (Part 2 shows it happen). So each call returns a number, the block adds the numbers up and
// **returns the sum**. That gives a second thing for free: the sum tells whether the work was done right. A fast wrong answer is found in the same run.
//
// `Clock` is any function that returns seconds. The tests pass a clock that they move by hand, so that they check the logic and never the speed of the machine they run on.

// %%
//| export benchmarking/timing.h
namespace benchmarking {

using Clock = std::function<double()>;  // returns seconds, and never goes backward

// Seconds of a steady clock.
double steady_seconds();

// What a block of calls took, and the sum of what they returned.
struct Block {
  double seconds = 0;  // of all calls together
  double checksum = 0;
};

// Calls `work` so many times between two readings of the clock.
Block run_block(const std::function<double()>& work, std::int64_t calls, const Clock& clock = steady_seconds);

// Something that runs its work so many times and returns the seconds that it took; it may be another process.
using Timed = std::function<double(std::int64_t calls)>;

// How many calls make a block of at least `seconds`: 1, 2, 4, ... until it lasts that long, then what the rate says. At most `limit`.
std::int64_t calls_for(const Timed& timed, double seconds, std::int64_t limit = 1 << 24);

// Keeps this process, and those that it starts, on these processors: a thread that wanders between them finds its caches cold. False where the system has no such call or refuses.
bool pin_to_processors(const std::vector<int>& processors);

// The numbers of the processors that this process may run on, from low to high: taskset, containers and batch systems give it some of the machine's. Empty where the system does not tell.
std::vector<int> allowed_processors();

}  // namespace benchmarking

// %% {"nbgrader": {"grade": false, "grade_id": "15-run-block", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/timing.cpp
// Reads the clock, calls `work` `calls` times, reads the clock: the difference, and the sum of the results.
//
// TODO: Time the whole block, and keep every result.
// APPROACH: two readings of the clock in all; between them nothing but the calls and the sum.
// EXAMPLE: work that returns 2 and takes 3 s, 4 calls: 12 s, checksum 8.
// HINT: clock() and work() are plain calls of std::function.
benchmarking::Block benchmarking::run_block(const std::function<double()>& work, std::int64_t calls, const Clock& clock) {
  // BEGIN SOLUTION
  double checksum = 0;
  const double start = clock();
  for (std::int64_t i = 0; i < calls; ++i) checksum += work();
  const double stop = clock();
  return {stop - start, checksum};
  // END SOLUTION
}

// %%
//| mistake 15-run-block clock-inside-the-loop
//| says The clock is read in every call, so its own cost is measured along with the work. Read it twice per block.
#if 0
benchmarking::Block benchmarking::run_block(const std::function<double()>& work, std::int64_t calls, const Clock& clock) {
  double checksum = 0;
  double seconds = 0;
  for (std::int64_t i = 0; i < calls; ++i) {
    const double start = clock();
    checksum += work();
    seconds += clock() - start;
  }
  return {seconds, checksum};
}
#endif

// %%
//| mistake 15-run-block drops-the-results
//| says The results of the calls were thrown away. Then nobody notices when a compiler removes the work (dead-code elimination), or when its answers are wrong: add them up and return the sum.
#if 0
benchmarking::Block benchmarking::run_block(const std::function<double()>& work, std::int64_t calls, const Clock& clock) {
  const double start = clock();
  for (std::int64_t i = 0; i < calls; ++i) work();
  return {clock() - start, 0};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-run-block-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("run_block: two readings of the clock, every call, every result") {
  double now = 100;
  int readings = 0;
  const benchmarking::Clock clock = [&] {
    ++readings;
    return now += 0.5;  // reading it takes half a second
  };
  int calls = 0;
  const benchmarking::Block block = benchmarking::run_block([&] { now += 3; return ++calls * 1.0; }, 4, clock);
  CHECK_EQ(calls, 4);
  CHECK_EQ(readings, 2);
  CHECK_EQ(block.seconds, 12.5);
  CHECK_EQ(block.checksum, 1.0 + 2 + 3 + 4);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(benchmarking::run_block([] { return 1.0; }, 0, clock).checksum, 0.0);
  CHECK_GE(benchmarking::run_block([] { return 1.0; }, 10).seconds, 0.0);
  // END HIDDEN TESTS
}

// %%
//| export benchmarking/timing.cpp
double benchmarking::steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int64_t benchmarking::calls_for(const Timed& timed, double seconds, std::int64_t limit) {
  for (std::int64_t calls = 1;; calls *= 2) {
    const double took = timed(calls);
    if (took >= seconds || calls >= limit) return std::min(calls, limit);
    if (took <= seconds / 16) continue;
    return std::min(limit, static_cast<std::int64_t>(std::ceil(static_cast<double>(calls) * seconds / took)));
  }
}

bool benchmarking::pin_to_processors(const std::vector<int>& processors) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int processor : processors) {
    if (processor < 0 || processor >= CPU_SETSIZE) return false;
    CPU_SET(processor, &set);
  }
  return sched_setaffinity(0, sizeof set, &set) == 0;
#else
  static_cast<void>(processors);
  return false;
#endif
}

std::vector<int> benchmarking::allowed_processors() {
  std::vector<int> allowed;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return allowed;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor)
    if (CPU_ISSET(processor, &set)) allowed.push_back(processor);
#endif
  return allowed;
}

// %%
TEST_CASE("calls_for: enough calls for the block, and not many more") {
  const auto costs = [](double each) { return [each](std::int64_t calls) { return each * static_cast<double>(calls); }; };
  CHECK_EQ(benchmarking::calls_for(costs(1e-3), 0.01), 10);
  CHECK_EQ(benchmarking::calls_for(costs(5.0), 0.01), 1);
  CHECK_CLOSE(static_cast<double>(benchmarking::calls_for(costs(1e-9), 0.01)), 1e7, 0.01, 0.0);
  CHECK_EQ(benchmarking::calls_for(costs(0), 0.01, 1024), 1024);  // a clock that stands still
  CHECK(!benchmarking::pin_to_processors({-1}));
}

TEST_CASE("allowed_processors: what the process was given, and what it keeps") {
  const std::vector<int> before = benchmarking::allowed_processors();
  if (before.empty()) return;  // the system does not tell
  CHECK(std::is_sorted(before.begin(), before.end()));
  if (!benchmarking::pin_to_processors({before.back()})) return;
  CHECK(benchmarking::allowed_processors() == std::vector<int>{before.back()});
  benchmarking::pin_to_processors(before);
  CHECK(benchmarking::allowed_processors() == before);
}

// %% [markdown]
// ### Where warm-up ends
//
// The first calls are different: pages are touched for the first time, caches and branch predictors learn, a thread pool starts, an allocator fills, a clock frequency rises. "Run it once before" is a guess about how long that takes. The samples themselves can tell.
//
//       time
//        | *                                        d = 0: the mean of all, with a large error
//        |   *                                      d = 3: the smallest error
//        |     *                                    d = 8: thrown away what was good already, so the error grows
//        |       * * * * * * * * * * * * *
//        +-------^-----------------------------> run
//              d = 3
//
// The rule MSER (White 1997) was made for simulations that start in an atypical state. Suppose we cut off the first d runs. The error of the mean of the others is about `s / sqrt(n - d)`. Cutting a slow start lowers s; cutting good runs lowers n - d. Choose the d with the smallest squared error:
//
//       z(d) = sum over i >= d of (x_i - mean_d)^2 / (n - d)^2
//
// Two sums from behind give all z in O(n). d may be at most n / 2: if the best place is there, then the series may not have settled at all, and the honest answer is "measure longer".

// %%
//| export benchmarking/timing.h
namespace benchmarking {

// How many samples at the beginning are warm-up: the d in [0, n / 2] at which the rest has the smallest error (MSER, White 1997), the smallest such d. Nothing when that is at
// n / 2 of n > 1 samples: the series has not settled. O(n).
std::optional<std::size_t> warmup_length(const std::vector<double>& samples);

}  // namespace benchmarking

// %% {"nbgrader": {"grade": false, "grade_id": "15-warmup", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/timing.cpp
// The smallest d in [0, n / 2] that minimizes z(d), or nothing if that is n / 2 and n > 1.
//
// TODO: Walk from the last sample to the first and keep the best d.
// APPROACH: Welford's running mean and sum of squares, one sample at a time: delta = x - mean; mean += delta / count; squares += delta * (x - mean). Once d <= n / 2, compare squares / count^2 with the best so far.
// EXAMPLE: {9, 5, 3, 3, 3, 3, 3, 3} has a warm-up of 2.
// HINT: on equal z the smaller d wins, and you come from large ones: use <=.
std::optional<std::size_t> benchmarking::warmup_length(const std::vector<double>& samples) {
  // BEGIN SOLUTION
  const std::size_t n = samples.size();
  std::size_t best = n / 2;
  double smallest = 0;
  double mean = 0;
  double squares = 0;
  for (std::size_t d = n; d-- > 0;) {
    const auto count = static_cast<double>(n - d);
    const double delta = samples[d] - mean;
    mean += delta / count;
    squares += delta * (samples[d] - mean);
    if (d > n / 2) continue;
    const double error = squares / (count * count);
    if (d == n / 2 || error <= smallest) {
      best = d;
      smallest = error;
    }
  }
  if (n > 1 && best == n / 2) return std::nullopt;
  return best;
  // END SOLUTION
}

// %%
//| mistake 15-warmup first-run-only
//| says Only the first run was taken for warm-up. How long it lasts is in the samples: caches, pages and clock frequencies take different times to settle.
#if 0
std::optional<std::size_t> benchmarking::warmup_length(const std::vector<double>& samples) {
  return samples.size() > 1 ? 1 : 0;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-warmup-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("warmup_length: cuts the slow start, and nothing else") {
  using benchmarking::warmup_length;
  REQUIRE(warmup_length({9, 5, 3, 3, 3, 3, 3, 3}).has_value());
  CHECK_EQ(*warmup_length({9, 5, 3, 3, 3, 3, 3, 3}), 2);
  REQUIRE(warmup_length({3, 3, 3, 3, 3, 3}).has_value());
  CHECK_EQ(*warmup_length({3, 3, 3, 3, 3, 3}), 0);
  // No warm-up, and a rest that happens to be quieter: that is no reason to throw the beginning away.
  const std::vector<double> steady = {11, 12, 10, 11, 12, 10, 11, 11.8, 10.2, 11, 11.8, 10.2};
  REQUIRE(warmup_length(steady).has_value());
  CHECK_EQ(*warmup_length(steady), 0);
  CHECK(!warmup_length({10, 9, 8, 7, 6, 5, 4, 3, 2, 1}).has_value());  // still falling: measure longer
  // BEGIN HIDDEN TESTS
  Generator generator(1);
  std::vector<double> slow_start;
  for (int i = 0; i < 60; ++i) slow_start.push_back(1 + (i < 12 ? 0.5 : 0.0) + 0.01 * generator.uniform_double());
  REQUIRE(warmup_length(slow_start).has_value());
  CHECK_GE(*warmup_length(slow_start), 12);
  CHECK_LE(*warmup_length(slow_start), 15);
  CHECK_EQ(warmup_length({5}).value_or(9), 0);
  CHECK_EQ(warmup_length({}).value_or(9), 0);
  CHECK_EQ(*warmup_length({1e9 + 5, 1e9, 1e9, 1e9, 1e9, 1e9}), 1);  // no digits lost in sums of squares
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Design: how often is enough?
//
// "Seven runs" is too few for a noisy function and a waste for a quiet one. The interval says when to stop: when it is narrow enough for the question. Nobody wants to wait for ever, so there are two limits as well.
//
//       sample, sample, sample, ...  ->  cut warm-up  ->  interval of the median  ->  narrow enough?  --yes-->  done, settled
//          ^                                                                              | no
//          +------------------ unless the samples or the seconds are used up <------------+
//
// A warning that belongs to such rules: if you look after every sample, and stop the first time the interval looks narrow, you stop at lucky moments. The contract gives a smallest number of samples, and lets you choose when to look. Only the contract is given; the tests judge the samples taken, the
// order and completeness of what is kept, and what is said when a limit was hit.

// %%
//| export benchmarking/timing.h
namespace benchmarking {

struct SampleOptions {
  double precision = 0.02;         // of the interval: half its width, as a part of the median
  std::size_t min_samples = 12;    // at least 12
  std::size_t max_samples = 1000;
  double seconds = 5;              // after which no further sample is begun
};

struct Sampling {
  std::vector<double> values;  // every sample, in the order of measurement, warm-up and outliers too
  std::size_t warmup = 0;      // how many at the beginning do not count
  double median = 0;           // of those that count
  Interval interval;           // of that median, at 95 %
  bool settled = false;        // the interval is as narrow as was asked for; else a limit came first
};

// Takes samples until the median is known precisely enough, or a limit is reached. Throws ValueError for fewer than 12 min_samples and for max_samples below them.
Sampling sample_until(const std::function<double()>& sample, const SampleOptions& options = {}, const Clock& clock = steady_seconds);

}  // namespace benchmarking

// %%
//| export benchmarking/timing.cpp
namespace {

void check_sampling(const benchmarking::SampleOptions& options) {
  TORCH_CHECK_VALUE(options.min_samples >= 12 && options.max_samples >= options.min_samples, "sample_until needs 12 <= min_samples <= max_samples, but got ", options.min_samples, " and ",
                    options.max_samples);
}

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "15-sample-until", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/timing.cpp
//| exercise design
// Takes min_samples samples, then more while the interval is too wide, there are fewer than max_samples, and `seconds` have not passed since the beginning; min_samples are taken in any case.
// A series that has not settled (warmup_length has no answer) is not precise, however narrow its interval; its first half counts as warm-up. Nothing that was measured is dropped from `values`.
// Takes at most half as many samples again as a rule that looks after each one; computes O(n log n) between looks.
//
// TODO: Decide when to look and when to stop.
// APPROACH: yours; check_sampling(options) first. How do the two limits and the smallest number of samples come together in one loop, and what is in the result when a limit ended it?
// EXAMPLE: samples that are all 1 s take min_samples of them: settled, no warm-up, an interval from 1 to 1.
// HINT: median_interval needs six values: with at least 12 samples, and at most half of them warm-up, there are always so many.
benchmarking::Sampling benchmarking::sample_until(const std::function<double()>& sample, const SampleOptions& options, const Clock& clock) {
  // BEGIN SOLUTION
  check_sampling(options);
  const double start = clock();
  Sampling result;
  std::size_t next_look = options.min_samples;
  while (true) {
    result.values.push_back(sample());
    const std::size_t count = result.values.size();
    if (count < options.min_samples) continue;
    const bool last = count >= options.max_samples || clock() - start >= options.seconds;
    if (count < next_look && !last) continue;
    next_look = count + std::max<std::size_t>(1, count / 4);
    const std::optional<std::size_t> warmup = warmup_length(result.values);
    result.warmup = warmup.value_or(count / 2);
    const std::vector<double> counted(result.values.begin() + static_cast<std::ptrdiff_t>(result.warmup), result.values.end());
    result.median = benchmarking::median(counted);
    result.interval = median_interval(counted);
    result.settled = warmup.has_value() && result.interval.high - result.interval.low <= 2 * options.precision * result.median;
    if (result.settled || last) return result;
  }
  // END SOLUTION
}

// %%
//| mistake 15-sample-until warm-up-counts
//| says The slow start was counted with the rest. Cut off warmup_length(values) before the median and its interval are computed.
#if 0
benchmarking::Sampling benchmarking::sample_until(const std::function<double()>& sample, const SampleOptions& options, const Clock& clock) {
  check_sampling(options);
  const double start = clock();
  Sampling result;
  while (true) {
    result.values.push_back(sample());
    if (result.values.size() < options.min_samples) continue;
    result.median = benchmarking::median(result.values);
    result.interval = median_interval(result.values);
    result.settled = result.interval.high - result.interval.low <= 2 * options.precision * result.median;
    if (result.settled || result.values.size() >= options.max_samples || clock() - start >= options.seconds) return result;
  }
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-sample-until-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("sample_until: as many samples as the precision needs, and all of them kept") {
  using benchmarking::sample_until;
  double now = 0;
  const benchmarking::Clock clock = [&] { return now; };
  const benchmarking::Sampling quiet = sample_until([&] { now += 1e-3; return 1.0; }, {}, clock);
  CHECK(quiet.settled);
  CHECK_EQ(quiet.values.size(), 12);
  CHECK_EQ(quiet.warmup, 0);
  CHECK_EQ(quiet.median, 1.0);
  CHECK_EQ(quiet.interval.high, 1.0);
  // A slow start, and every fifth run three times as slow: nothing is dropped, and the start does not count.
  int run = 0;
  std::vector<double> measured;
  const benchmarking::Sampling uneven = sample_until([&] {
    ++run;
    measured.push_back((run <= 4 ? 8.0 : 1.0) * (run > 4 && run % 5 == 0 ? 3.0 : 1.0) + 0.01 * (run % 3));
    return measured.back();
  }, {.precision = 0.01, .min_samples = 24}, clock);
  CHECK(uneven.settled);
  CHECK(uneven.values == measured);
  CHECK_GE(uneven.warmup, 4);
  CHECK_CLOSE(uneven.median, 1.01, 0.011, 0.0);
  // Noise that no number of samples makes precise enough.
  Generator generator(7);
  const benchmarking::Sampling noisy = sample_until([&] { return generator.uniform_double() < 0.5 ? 1.0 : 2.0; }, {.precision = 1e-6, .max_samples = 100}, clock);
  CHECK(!noisy.settled);
  CHECK_EQ(noisy.values.size(), 100);
  CHECK_ERROR(sample_until([] { return 1.0; }, {.min_samples = 5}), "12 <= min_samples <= max_samples, but got 5 and 1000");
  // BEGIN HIDDEN TESTS
  now = 0;
  const benchmarking::Sampling late = sample_until([&] { now += 1; return generator.uniform_double(); }, {.precision = 1e-6, .seconds = 30}, clock);
  CHECK_EQ(late.values.size(), 30);
  const benchmarking::Sampling minimum = sample_until([&] { now += 100; return generator.uniform_double(); }, {.precision = 1e-6}, clock);
  CHECK_EQ(minimum.values.size(), 12);
  double falling = 1000;
  const benchmarking::Sampling trend = sample_until([&] { return falling -= 1e-3; }, {.max_samples = 50}, clock);
  CHECK(!trend.settled);  // narrow, but still falling
  CHECK_EQ(trend.warmup, 25);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### A and B take turns
//
// Measure A for a minute, then B for a minute. Between them the machine got warmer, a download began, the clock dropped by 8 %, and B "is slower". Whatever changes over time is charged to whoever runs later. The cure is old, and comes from experiments on fields and patients: let them take turns, and reverse the order every
// time, so that each stands first as often as last.
//
//       time ------------------------------------------------>                what a drift does
//       all A, then all B     A A A A A A B B B B B B                         B pays for all of it
//       A B A B               A B | A B | A B                                 B is always a little later than A
//       A B B A               A B B A | A B B A | A B B A                     the places 1 + 4 and 2 + 3 have the same mean: it cancels
//
// With more than two subjects a round goes through the list and back: `A B C C B A`. One round gives one value for each subject, the mean of its two blocks.

// %%
//| export benchmarking/timing.h
namespace benchmarking {

// Lets the subjects take turns for `rounds` rounds, through the list and back: A B C C B A. Subject s runs blocks of calls[s] calls. Returns seconds per call: result[s][round] is the mean of
// its two blocks in that round. `pause`, where given, is called before each block (so that the threads of the one before can go to sleep).
// Throws ValueError unless there are as many numbers of calls as subjects, all positive.
std::vector<std::vector<double>> interleave(const std::vector<Timed>& subjects, const std::vector<std::int64_t>& calls, int rounds, const std::function<void()>& pause = {});

// How many times as fast one is as the other.
struct Ratio {
  double value = 0;
  std::optional<Interval> interval;  // at 95 %; none for fewer than six rounds
};

// How many times as fast `ours` is as `theirs`, from what interleave() measured for them: above 1 we are faster.
Ratio ratio_of(const std::vector<double>& theirs, const std::vector<double>& ours);

}  // namespace benchmarking

// %%
//| export benchmarking/timing.cpp
namespace {

void check_turns(const std::vector<benchmarking::Timed>& subjects, const std::vector<std::int64_t>& calls) {
  TORCH_CHECK_VALUE(calls.size() == subjects.size(), "interleave needs a number of calls for each subject, but got ", calls.size(), " for ", subjects.size());
  for (const std::int64_t count : calls) TORCH_CHECK_VALUE(count > 0, "interleave needs at least one call in a block, but got ", count);
}

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "15-interleave", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/timing.cpp
// Each round runs one block of every subject in order, and then one of every subject in reverse order.
//
// TODO: Run the rounds, and add each subject's two blocks up.
// APPROACH: check_turns(subjects, calls); result[s] has `rounds` zeros; a lambda runs one block of subject s: pause, then add seconds / calls / 2 to result[s][round].
// EXAMPLE: two subjects and two rounds run as A B B A A B B A.
// HINT: for (std::size_t s = count; s-- > 0;) walks backward.
std::vector<std::vector<double>> benchmarking::interleave(const std::vector<Timed>& subjects, const std::vector<std::int64_t>& calls, int rounds, const std::function<void()>& pause) {
  // BEGIN SOLUTION
  check_turns(subjects, calls);
  std::vector<std::vector<double>> seconds(subjects.size(), std::vector<double>(static_cast<std::size_t>(rounds)));
  for (std::size_t round = 0; round < static_cast<std::size_t>(rounds); ++round) {
    const auto run = [&](std::size_t s) {
      if (pause) pause();
      seconds[s][round] += subjects[s](calls[s]) / static_cast<double>(calls[s]) / 2;
    };
    for (std::size_t s = 0; s < subjects.size(); ++s) run(s);
    for (std::size_t s = subjects.size(); s-- > 0;) run(s);
  }
  return seconds;
  // END SOLUTION
}

// %%
//| mistake 15-interleave one-after-the-other
//| says All blocks of the first subject ran before those of the second. If the machine changes meanwhile, the difference is charged to one of them: let them take turns.
#if 0
std::vector<std::vector<double>> benchmarking::interleave(const std::vector<Timed>& subjects, const std::vector<std::int64_t>& calls, int rounds, const std::function<void()>& pause) {
  check_turns(subjects, calls);
  std::vector<std::vector<double>> seconds(subjects.size(), std::vector<double>(static_cast<std::size_t>(rounds)));
  for (std::size_t s = 0; s < subjects.size(); ++s) {
    for (double& value : seconds[s]) {
      for (int block = 0; block < 2; ++block) {
        if (pause) pause();
        value += subjects[s](calls[s]) / static_cast<double>(calls[s]) / 2;
      }
    }
  }
  return seconds;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-interleave-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("interleave: a machine that slows down favours nobody") {
  // A machine on which everything takes longer with every second that passes.
  double now = 0;
  std::string order;
  const auto subject = [&](char name, double cost) {
    return [&now, &order, name, cost](std::int64_t calls) {
      order += name;
      const double took = cost * static_cast<double>(calls) * (1 + 0.001 * now);
      now += took;
      return took;
    };
  };
  int pauses = 0;
  const auto seconds = benchmarking::interleave({subject('a', 1), subject('b', 2)}, {4, 2}, 3, [&] { ++pauses; });
  CHECK_EQ(order, "abbaabbaabba");
  CHECK_EQ(pauses, 12);
  REQUIRE_EQ(seconds.size(), 2);
  REQUIRE_EQ(seconds[1].size(), 3);
  for (std::size_t round = 0; round < 3; ++round) CHECK_CLOSE(seconds[1][round] / seconds[0][round], 2.0, 1e-4, 0.0);
  CHECK_GT(seconds[0][2], seconds[0][0]);  // it did slow down
  CHECK_ERROR(benchmarking::interleave({subject('a', 1)}, {}, 1), "a number of calls for each subject, but got 0 for 1");
  CHECK_ERROR(benchmarking::interleave({subject('a', 1)}, {0}, 1), "at least one call in a block, but got 0");
  // BEGIN HIDDEN TESTS
  order.clear();
  CHECK_EQ(benchmarking::interleave({subject('a', 1), subject('b', 1), subject('c', 1)}, {1, 1, 1}, 1)[2].size(), 1);
  CHECK_EQ(order, "abccba");
  CHECK(benchmarking::interleave({}, {}, 2).empty());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### One number from many rounds
//
// Each round gives a pair of times that were measured under the same conditions, so the quotient of the two is what the round has to say. The ratio is the **median of the quotients**, and its interval is the interval of that median: no new mathematics.
//
//       round       1      2      3      4      5      6
//       theirs     20     21     20    300     22     20       mean 67         a ratio of means: 67 / 10.5 = 6.4, decided by one round in which
//       ours       10     10     11     10     11     11       mean 10.5       the machine was busy elsewhere
//       quotient  2.0    2.1    1.8     30    2.0    1.8       median 2.0      what the other five say

// %% {"nbgrader": {"grade": false, "grade_id": "15-ratio", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/timing.cpp
// The median over the rounds of theirs / ours, with its interval when there are at least six rounds.
//
// TODO: Divide round by round, then take the median.
// APPROACH: TORCH_CHECK_VALUE that both have the same number of rounds, and at least one ("ratio_of needs the same rounds of both").
// EXAMPLE: theirs {4, 6, 8}, ours {2, 2, 2}: 3, without an interval.
// HINT: median_interval throws below six values: ask for it only from six on.
benchmarking::Ratio benchmarking::ratio_of(const std::vector<double>& theirs, const std::vector<double>& ours) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(theirs.size() == ours.size() && !ours.empty(), "ratio_of needs the same rounds of both, at least one, but got ", theirs.size(), " and ", ours.size());
  std::vector<double> quotients;
  for (std::size_t i = 0; i < ours.size(); ++i) quotients.push_back(theirs[i] / ours[i]);
  Ratio ratio{median(quotients), std::nullopt};
  if (quotients.size() >= 6) ratio.interval = median_interval(quotients);
  return ratio;
  // END SOLUTION
}

// %%
//| mistake 15-ratio ratio-of-means
//| says The mean of times that are skewed is decided by the few slow ones: one disturbed round changed the ratio. Take the median of the quotients of each round.
#if 0
benchmarking::Ratio benchmarking::ratio_of(const std::vector<double>& theirs, const std::vector<double>& ours) {
  TORCH_CHECK_VALUE(theirs.size() == ours.size() && !ours.empty(), "ratio_of needs the same rounds of both, at least one, but got ", theirs.size(), " and ", ours.size());
  double their_sum = 0;
  double our_sum = 0;
  std::vector<double> quotients;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    their_sum += theirs[i];
    our_sum += ours[i];
    quotients.push_back(theirs[i] / ours[i]);
  }
  Ratio ratio{their_sum / our_sum, std::nullopt};
  if (quotients.size() >= 6) ratio.interval = median_interval(quotients);
  return ratio;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-ratio-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("ratio_of: the median of the rounds' quotients") {
  using benchmarking::ratio_of;
  CHECK_EQ(ratio_of({4, 6, 8}, {2, 2, 2}).value, 3.0);
  CHECK(!ratio_of({4, 6, 8}, {2, 2, 2}).interval.has_value());
  const benchmarking::Ratio ratio = ratio_of({20, 21, 20, 300, 22, 20}, {10, 10, 10, 10, 11, 10});
  CHECK_EQ(ratio.value, 2.0);
  REQUIRE(ratio.interval.has_value());
  CHECK_EQ(ratio.interval->low, 2.0);
  CHECK_EQ(ratio.interval->high, 30.0);  // six rounds: from the smallest to the largest
  CHECK_ERROR(ratio_of({1, 2}, {1}), "the same rounds of both, at least one, but got 2 and 1");
  // BEGIN HIDDEN TESTS
  CHECK_ERROR(ratio_of({}, {}), "at least one");
  CHECK_EQ(ratio_of(std::vector<double>(20, 3.0), std::vector<double>(20, 6.0)).interval->high, 0.5);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Three questions about one model: MLPerf's scenarios
//
// How fast is a model? The person with a phone, the operator of a web service and the owner of a million stored photos mean three different things. MLPerf's load generator (LoadGen) makes them into *scenarios*, and each has its own number:
//
//       scenario        how queries come                                   what is reported
//       single-stream   the next when the last is answered                 latency, its 90th percentile
//       server          at random moments (Poisson), ready or not          the highest rate at which the 99th percentile of latency stays within a bound
//       offline         all at once                                        samples per second
//
// A percentile of a few hundred latencies is a guess: of 100 queries the 99th percentile is the second largest, one hiccup. For 99 % confidence that it lies within a twentieth of the tail it takes 270,336 queries, and that many LoadGen asked of the server scenario; 24,576 (the 90th percentile's) of offline, as samples; of
// single-stream only 1,024; of all of them ten minutes. A run that is shorter gets its report, and the word INVALID in it. Where an answer takes a second nobody makes 270,336 of them, so newer versions of LoadGen may stop early: they then report a percentile so much further out that the confidence holds (library chapter 57).
//
// A system is a function that answers `samples` queries together. Time comes in as a pair of functions, *now* and *sleep until*, so that the tests run hours of load in microseconds.

// %%
//| export benchmarking/scenarios.h
namespace benchmarking {

// Answers so many queries together; returns when all are answered.
using Serve = std::function<void(std::int64_t samples)>;

// Where scenarios take their time from.
struct Time {
  std::function<double()> now;                // in seconds
  std::function<void(double)> sleep_until;    // returns at once if that moment is over
};

Time real_time();

// What a scenario measured.
struct Report {
  std::string scenario;
  std::int64_t samples = 0;
  double seconds = 0;              // from the first arrival to the last answer
  std::vector<double> latencies;   // of each query, from its arrival to its answer, in order of arrival

  double throughput() const { return static_cast<double>(samples) / seconds; }
  // The smallest latency that was measured with at least this fraction of the queries at or below it: never an interpolation.
  double latency(double percentile) const;
};

// How many queries it takes to know a percentile of latency within a twentieth of the tail (0.99: within 0.05 %) with this confidence:
// z^2 p (1 - p) / margin^2, rounded up to a multiple of 2^13. Source: Reddi et al. 2020, MLPerf Inference Benchmark. Throws ValueError unless both are between 0 and 1.
std::int64_t queries_needed(double percentile, double confidence = 0.99);

// What a run must have been before its number counts.
struct RunRules {
  std::int64_t queries = 0;
  double seconds = 600;  // caches, clock frequency and temperature settle
};

// MLPerf inference's fixed rules for "single-stream", "server" and "offline" (in samples). Source: mlperf.conf of mlcommons/inference. Throws ValueError for another scenario.
RunRules mlperf_rules(const std::string& scenario);

// Why the run does not count, in a sentence with both numbers; empty when it does.
std::string why_invalid(const Report& report, const RunRules& rules);

// One query after the other: the next one comes when the last is answered.
Report single_stream(const Serve& serve, std::int64_t queries, const Time& time = real_time());

// All queries are there from the beginning, and are answered in batches of at most `batch`.
Report offline(const Serve& serve, std::int64_t samples, std::int64_t batch, const Time& time = real_time());

// Moments, in seconds from the beginning, at which `count` queries come that know nothing of each other: `rate` a second on average. Source: a Poisson process has exponential gaps.
// Throws ValueError unless the rate is positive.
std::vector<double> poisson_arrivals(double rate, std::int64_t count, Generator generator);

// Query i arrives arrivals[i] seconds after the beginning, whether or not the system is ready. One batch is served at a time: of all that have arrived, the oldest `max_batch`.
Report server(const Serve& serve, const std::vector<double>& arrivals, std::int64_t max_batch = 1, const Time& time = real_time());

struct CapacityOptions {
  double bound = 0.1;         // seconds within which ...
  double percentile = 0.99;   // ... this part of the queries must be answered
  double lowest = 1;          // rates between which to search, in queries a second
  double highest = 1000;
  std::int64_t queries = 1000;
  std::int64_t max_batch = 1;
  std::uint64_t seed = 0;
};

// The highest rate of server() that keeps the bound, by halving the interval (of logarithms) eight times; 0 if not even `lowest` does.
double server_capacity(const Serve& serve, const CapacityOptions& options, const Time& time = real_time());

}  // namespace benchmarking

// %%
//| export benchmarking/scenarios.cpp
benchmarking::Time benchmarking::real_time() {
  using Seconds = std::chrono::duration<double>;
  const auto start = std::chrono::steady_clock::now();
  return {[start] { return Seconds(std::chrono::steady_clock::now() - start).count(); },
          [start](double moment) { std::this_thread::sleep_until(start + std::chrono::duration_cast<std::chrono::steady_clock::duration>(Seconds(moment))); }};
}

double benchmarking::Report::latency(double percentile) const {
  TORCH_CHECK_VALUE(!latencies.empty() && percentile > 0 && percentile <= 1, "latency needs queries and a percentile in (0, 1], but got ", latencies.size(), " queries and ", percentile);
  std::vector<double> sorted = latencies;
  const auto rank = static_cast<std::size_t>(std::ceil(percentile * static_cast<double>(sorted.size()) - 1e-9));
  const auto place = sorted.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
  std::nth_element(sorted.begin(), place, sorted.end());
  return *place;
}

std::int64_t benchmarking::queries_needed(double percentile, double confidence) {
  TORCH_CHECK_VALUE(percentile > 0 && percentile < 1 && confidence > 0 && confidence < 1, "queries_needed takes a percentile and a confidence in (0, 1), but got ", percentile, " and ", confidence);
  const double z = std::sqrt(2.0) * erfinv(tensor({confidence}, kDouble)).item<double>();  // a normal variable stays within z with this probability
  const double margin = (1 - percentile) / 20;
  const double queries = z * z * percentile * (1 - percentile) / (margin * margin);
  return (static_cast<std::int64_t>(queries) / 8192 + 1) * 8192;
}

benchmarking::RunRules benchmarking::mlperf_rules(const std::string& scenario) {
  if (scenario == "single-stream") return {.queries = 1024};
  if (scenario == "server") return {.queries = queries_needed(0.99)};
  TORCH_CHECK_VALUE(scenario == "offline", "mlperf_rules knows single-stream, server and offline, but got ", scenario);
  return {.queries = queries_needed(0.9)};
}

std::string benchmarking::why_invalid(const Report& report, const RunRules& rules) {
  if (report.samples < rules.queries) return str(report.scenario, ": ", report.samples, " queries were made, and at least ", rules.queries, " are asked for");
  if (report.seconds < rules.seconds) return str(report.scenario, ": the run took ", report.seconds, " s, and at least ", rules.seconds, " s are asked for");
  return "";
}

benchmarking::Report benchmarking::single_stream(const Serve& serve, std::int64_t queries, const Time& time) {
  Report report{"single-stream", queries, 0, {}};
  const double start = time.now();
  for (double sent = start; queries > 0; --queries) {
    serve(1);
    const double answered = time.now();
    report.latencies.push_back(answered - sent);
    report.seconds = answered - start;
    sent = answered;
  }
  return report;
}

benchmarking::Report benchmarking::offline(const Serve& serve, std::int64_t samples, std::int64_t batch, const Time& time) {
  TORCH_CHECK_VALUE(batch > 0, "offline needs batches of at least one sample, but got ", batch);
  Report report{"offline", samples, 0, {}};
  const double start = time.now();
  while (samples > 0) {
    const std::int64_t count = std::min(samples, batch);
    serve(count);
    report.seconds = time.now() - start;
    report.latencies.insert(report.latencies.end(), static_cast<std::size_t>(count), report.seconds);
    samples -= count;
  }
  return report;
}

// %%
//| lesson
// A clock that is moved by hand.
struct VirtualTime {
  double moment = 0;
  benchmarking::Time time() {
    return {[this] { return moment; }, [this](double until) { moment = std::max(moment, until); }};
  }
};

// %%
TEST_CASE("single-stream and offline: latency of one, throughput of all") {
  VirtualTime clock;
  const benchmarking::Serve serve = [&](std::int64_t samples) { clock.moment += 0.010 + 0.001 * static_cast<double>(samples); };
  const benchmarking::Report single = benchmarking::single_stream(serve, 100, clock.time());
  CHECK_EQ(single.samples, 100);
  CHECK_CLOSE(single.latency(0.9), 0.011, 1e-9, 0.0);
  CHECK_CLOSE(single.throughput(), 1 / 0.011, 1e-9, 0.0);
  const benchmarking::Report all = benchmarking::offline(serve, 1000, 100, clock.time());
  CHECK_CLOSE(all.seconds, 10 * 0.110, 1e-9, 0.0);
  CHECK_CLOSE(all.throughput(), 909.09, 1e-4, 0.0);  // ten times as many, and each waits for all before it
  CHECK_CLOSE(all.latency(1.0), 1.1, 1e-9, 0.0);
  const benchmarking::Report odd = benchmarking::offline(serve, 5, 4, clock.time());
  CHECK_EQ(odd.latencies.size(), 5);
  // Nearest rank: of ten latencies the 90th percentile is the ninth.
  benchmarking::Report ten{"", 10, 1, {5, 1, 2, 3, 4, 6, 7, 8, 9, 100}};
  CHECK_EQ(ten.latency(0.9), 9.0);
  CHECK_EQ(ten.latency(0.91), 100.0);
  CHECK_ERROR(ten.latency(90), "a percentile in (0, 1]");
}

// %%
TEST_CASE("a run counts when it was long enough") {
  CHECK_EQ(benchmarking::queries_needed(0.9), 24576);  // the paper's numbers
  CHECK_EQ(benchmarking::queries_needed(0.99), 270336);
  CHECK_ERROR(benchmarking::queries_needed(99), "queries_needed takes a percentile and a confidence in (0, 1), but got 99 and 0.99");
  CHECK_ERROR(benchmarking::mlperf_rules("training"), "mlperf_rules knows single-stream, server and offline, but got training");
  VirtualTime clock;
  const benchmarking::Serve serve = [&](std::int64_t) { clock.moment += 0.5; };
  const benchmarking::RunRules rules = benchmarking::mlperf_rules("single-stream");
  CHECK_EQ(benchmarking::why_invalid(benchmarking::single_stream(serve, 1000, clock.time()), rules), "single-stream: 1000 queries were made, and at least 1024 are asked for");
  const benchmarking::Report report = benchmarking::single_stream(serve, 1024, clock.time());
  CHECK_EQ(benchmarking::why_invalid(report, rules), "single-stream: the run took 512 s, and at least 600 s are asked for");
  CHECK_EQ(benchmarking::why_invalid(report, {.queries = 1024, .seconds = 60}), "");
  CHECK_EQ(benchmarking::why_invalid(benchmarking::single_stream(serve, 1200, clock.time()), rules), "");
}

// %% [markdown]
// ### Queries that know nothing of each other
//
// If each of many users asks now and then, independently, then the gaps between arrivals are exponential: short gaps are the commonest, and every now and then a crowd arrives. A gap with mean `1 / rate` is made from a uniform number u by `-log(1 - u) / rate`.
//
//       even gaps    |    |    |    |    |    |    |    |        a queue never forms below full load
//       Poisson      ||   |      | |||    |   |       | |        crowds and lulls at the same rate: queues at half load
//                    ^crowd        ^crowd        lull^

// %% {"nbgrader": {"grade": false, "grade_id": "15-poisson", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/scenarios.cpp
// count moments, increasing, whose gaps (the first one from 0) are exponential with mean 1 / rate.
//
// TODO: Add up exponential gaps.
// APPROACH: TORCH_CHECK_VALUE(rate > 0, "poisson_arrivals needs a positive rate, but got ..."); then moment += -log(1 - u) / rate for each.
// EXAMPLE: 1,000 arrivals at rate 50 end after about 20 seconds.
// HINT: uniform_double() is in [0, 1), so 1 - u is never 0. std::log1p(-u) is log(1 - u).
std::vector<double> benchmarking::poisson_arrivals(double rate, std::int64_t count, Generator generator) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(rate > 0, "poisson_arrivals needs a positive rate, but got ", rate);
  std::vector<double> arrivals;
  double moment = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    moment -= std::log1p(-generator.uniform_double()) / rate;
    arrivals.push_back(moment);
  }
  return arrivals;
  // END SOLUTION
}

// %%
//| mistake 15-poisson even-gaps
//| says All gaps are the same. Independent users come in crowds and lulls, and it is the crowds that make queues: draw exponential gaps.
#if 0
std::vector<double> benchmarking::poisson_arrivals(double rate, std::int64_t count, Generator generator) {
  TORCH_CHECK_VALUE(rate > 0, "poisson_arrivals needs a positive rate, but got ", rate);
  std::vector<double> arrivals;
  const double first = generator.uniform_double() / rate;
  for (std::int64_t i = 0; i < count; ++i) arrivals.push_back(first + static_cast<double>(i) / rate);
  return arrivals;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-poisson-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("poisson_arrivals: the right rate, and gaps as irregular as exponential ones") {
  const std::vector<double> arrivals = benchmarking::poisson_arrivals(50, 10000, Generator(4));
  REQUIRE_EQ(arrivals.size(), 10000);
  CHECK(std::is_sorted(arrivals.begin(), arrivals.end()));
  CHECK_CLOSE(arrivals.back(), 200.0, 0.05, 0.0);
  // Exponential: the deviation of the gaps equals their mean, and exp(-1) of them are longer than the mean.
  double squares = 0;
  int longer = 0;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    const double gap = arrivals[i] - (i == 0 ? 0.0 : arrivals[i - 1]);
    squares += (gap - 0.02) * (gap - 0.02);
    longer += gap > 0.02;
  }
  CHECK_CLOSE(std::sqrt(squares / 10000), 0.02, 0.05, 0.0);
  CHECK_CLOSE(longer / 10000.0, std::exp(-1.0), 0.05, 0.0);
  CHECK_ERROR(benchmarking::poisson_arrivals(0, 3, Generator(4)), "a positive rate, but got 0");
  // BEGIN HIDDEN TESTS
  CHECK(benchmarking::poisson_arrivals(50, 10000, Generator(4)) == arrivals);
  CHECK(benchmarking::poisson_arrivals(50, 10, Generator(5)) != std::vector<double>(arrivals.begin(), arrivals.begin() + 10));
  CHECK(benchmarking::poisson_arrivals(1, 0, Generator(4)).empty());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The server, and the queries that are not asked
//
// A common load test works like this: send a query, wait for the answer, note the time, wait until it is time for the next one. It looks right. Now the system stands still for ten seconds, for whatever reason. The test sends one query, waits ten seconds, and notes *one* slow query. In these ten seconds a thousand users would have
// asked and waited; the test did not ask them, because it was waiting too. Its 99th percentile is excellent. Gil Tene named this **coordinated omission**: the tester waits politely while the system is slow.
//
//       arrivals      a   b   c   d   e                       service takes 1, except b: 4
//       system        [a ][b             ][c ][d ][e ]
//       latency of d              |-------------------|        from its arrival to its answer: with the time in the queue
//       coordinated omission                      |---|        from the moment at which the system was ready for it
//
// So the moments of arrival are fixed *before* the test begins, and latency counts from there. A system that is late stays late for everybody in the queue.

// %% {"nbgrader": {"grade": false, "grade_id": "15-server", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/scenarios.cpp
// Serves the queries in order of arrival, in batches of those that have arrived, at most max_batch; latency counts from arrivals[i], moved to the beginning of the test.
//
// TODO: Wait for the next arrival if there is none, batch what is there, serve, and note each one's latency.
// APPROACH: next = 0; while next < n: sleep_until(start + arrivals[next]); count = how many of the next ones have arrived by now() - start, at most max_batch, and at least this one; serve(count); the latency of each is now() - start - arrivals[i].
// EXAMPLE: arrivals at 0, 0.5, 1 and 5, service of 1 s, batches of 1: latencies 1, 1.5, 2 and 1.
// HINT: the sleep returns at once when the moment is over. Never change `arrivals`, however late the system is.
benchmarking::Report benchmarking::server(const Serve& serve, const std::vector<double>& arrivals, std::int64_t max_batch, const Time& time) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(max_batch > 0, "server needs batches of at least one query, but got ", max_batch);
  Report report{"server", static_cast<std::int64_t>(arrivals.size()), 0, {}};
  const double start = time.now();
  std::size_t next = 0;
  while (next < arrivals.size()) {
    time.sleep_until(start + arrivals[next]);
    const double ready = time.now() - start;
    std::size_t count = 1;
    while (count < static_cast<std::size_t>(max_batch) && next + count < arrivals.size() && arrivals[next + count] <= ready) ++count;
    serve(static_cast<std::int64_t>(count));
    const double answered = time.now() - start;
    for (std::size_t i = next; i < next + count; ++i) report.latencies.push_back(answered - arrivals[i]);
    report.seconds = answered - arrivals.front();
    next += count;
  }
  return report;
  // END SOLUTION
}

// %%
//| mistake 15-server coordinated-omission
//| says Latency was counted from the moment at which the system was ready, so the time in the queue is missing (coordinated omission). A user's time begins when the query arrives.
#if 0
benchmarking::Report benchmarking::server(const Serve& serve, const std::vector<double>& arrivals, std::int64_t max_batch, const Time& time) {
  TORCH_CHECK_VALUE(max_batch > 0, "server needs batches of at least one query, but got ", max_batch);
  Report report{"server", static_cast<std::int64_t>(arrivals.size()), 0, {}};
  const double start = time.now();
  std::size_t next = 0;
  while (next < arrivals.size()) {
    time.sleep_until(start + arrivals[next]);
    const double ready = time.now() - start;
    std::size_t count = 1;
    while (count < static_cast<std::size_t>(max_batch) && next + count < arrivals.size() && arrivals[next + count] <= ready) ++count;
    serve(static_cast<std::int64_t>(count));
    const double answered = time.now() - start;
    for (std::size_t i = next; i < next + count; ++i) report.latencies.push_back(answered - ready);
    report.seconds = answered - arrivals.front();
    next += count;
  }
  return report;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-server-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("server: who arrives while the system is busy waits, and the wait counts") {
  VirtualTime clock;
  clock.moment = 1000;  // a clock does not begin at 0
  const benchmarking::Serve serve = [&](std::int64_t samples) { clock.moment += 0.75 + 0.25 * static_cast<double>(samples); };
  const benchmarking::Report one = benchmarking::server(serve, {0, 0.5, 1, 5}, 1, clock.time());
  CHECK(one.latencies == std::vector<double>{1, 1.5, 2, 1});
  CHECK_EQ(one.seconds, 6.0);
  const benchmarking::Report batches = benchmarking::server(serve, {0, 0.5, 1, 5}, 4, clock.time());
  CHECK(batches.latencies == std::vector<double>{1, 1.75, 1.25, 1});  // b and c together
  // It stands still for ten seconds, once, while a query arrives every second.
  int query = 0;
  const benchmarking::Serve stalls = [&](std::int64_t) { clock.moment += ++query == 20 ? 10.0 : 0.125; };
  std::vector<double> every_second(100);
  std::iota(every_second.begin(), every_second.end(), 0.0);
  const benchmarking::Report stalled = benchmarking::server(stalls, every_second, 1, clock.time());
  CHECK_EQ(stalled.latency(0.5), 0.125);
  CHECK_EQ(stalled.latency(0.99), 9.125);  // not one slow query, but eleven
  CHECK_EQ(std::count_if(stalled.latencies.begin(), stalled.latencies.end(), [](double l) { return l > 1; }), 11);
  // BEGIN HIDDEN TESTS
  query = 0;
  const benchmarking::Report two = benchmarking::server(serve, {0.25, 0.25, 0.25, 0.25, 0.25}, 2, clock.time());
  CHECK(two.latencies == std::vector<double>{1.25, 1.25, 2.5, 2.5, 3.5});
  CHECK_ERROR(benchmarking::server(serve, {0}, 0, clock.time()), "batches of at least one query, but got 0");
  CHECK(benchmarking::server(serve, {}, 1, clock.time()).latencies.empty());
  // END HIDDEN TESTS
}

// %%
//| export benchmarking/scenarios.cpp
double benchmarking::server_capacity(const Serve& serve, const CapacityOptions& options, const Time& time) {
  TORCH_CHECK_VALUE(options.lowest > 0 && options.highest > options.lowest, "server_capacity needs 0 < lowest < highest, but got ", options.lowest, " and ", options.highest);
  const auto keeps_bound = [&](double rate) {
    const std::vector<double> arrivals = poisson_arrivals(rate, options.queries, Generator(options.seed));
    return server(serve, arrivals, options.max_batch, time).latency(options.percentile) <= options.bound;
  };
  if (!keeps_bound(options.lowest)) return 0;
  double good = std::log(options.lowest);
  double bad = std::log(options.highest);
  for (int i = 0; i < 8; ++i) {
    const double middle = (good + bad) / 2;
    (keeps_bound(std::exp(middle)) ? good : bad) = middle;
  }
  return std::exp(good);
}

// %%
TEST_CASE("server_capacity: far below one over the service time, and more with batches") {
  VirtualTime clock;
  const benchmarking::Serve serve = [&](std::int64_t samples) { clock.moment += 0.009 + 0.001 * static_cast<double>(samples); };
  const double single = benchmarking::server_capacity(serve, {.bound = 0.05, .lowest = 1, .highest = 2000, .queries = 4000}, clock.time());
  const double batched = benchmarking::server_capacity(serve, {.bound = 0.05, .lowest = 1, .highest = 2000, .queries = 4000, .max_batch = 32}, clock.time());
  CHECK_GT(single, 30);
  CHECK_LT(single, 90);  // 100 a second would be full load; one query in a hundred may wait for four others
  CHECK_GT(batched, 4 * single);
  CHECK_EQ(benchmarking::server_capacity(serve, {.bound = 0.005}, clock.time()), 0.0);
  CHECK_ERROR(benchmarking::server_capacity(serve, {.lowest = 5, .highest = 5}, clock.time()), "0 < lowest < highest, but got 5 and 5");
}

// %% [markdown]
// ### A file that can be compared a month later
//
// "0.8 ms" in a note is worth nothing in a month: on which machine, with which compiler, which version, how many threads, was anything else running? A result file holds every sample together with that. Every *sample*, not only the median: whoever compares two files later needs the spread, and may want another statistic.
//
//       {"machine":  {"cpu": ..., "cores": ..., "memory_bytes": ..., "os": ..., "compiler": ..., "simd": [...], "load": ..., "date": ...},
//        "versions": {"tinytorch": ..., "torch": ...},           "settings": {"threads": "1", ...},
//        "results":  [{"suite": "gemm", "name": "512", "subject": "tinytorch", "seconds": [...], "calls": 8, "flops": 268435456, ...}, ...]}
//
// `load` is the system's load average when the file was made: with 2 cores and a load of 8, no number in the file deserves trust, and the file says so itself.
//
// An hour of measurements must not be lost because the disk is full at its end. So the file is written as a checkpoint is (module 08): beside, flushed, renamed. And a reader believes nothing: no program takes -1 s or no time at all, so a file that says so is refused.

// %%
//| export benchmarking/results.h
namespace benchmarking {

// What the numbers were measured on, and when.
struct Machine {
  std::string cpu, os, compiler;
  int cores = 0;
  std::int64_t memory_bytes = 0;
  std::vector<std::string> simd;
  double load = 0;     // processes that wanted to run in the last minute, on average; 0 where the system does not tell
  std::string date;    // 2026-11-22T11:30:00Z
};

Machine this_machine();

// The samples of one subject in one case.
struct Result {
  std::string suite, name, subject;
  std::vector<double> seconds;  // per call, one for each round or block
  std::int64_t calls = 1;       // in a block
  double flops = 0;             // of one call; 0: nobody counts them
  double bytes = 0;             // that one call must at least move
  std::string note;
};

struct ResultFile {
  Machine machine;
  std::map<std::string, std::string> versions, settings;
  std::vector<Result> results;
};

// The file as JSON.
std::string results_text(const ResultFile& file);

// Writes that text whole or not at all: beside, flushed, renamed. Throws Error when it cannot be written; what was there before is untouched.
void write_results(const std::string& path, const ResultFile& file);

// Throws Error for a file that cannot be read, is no such file, or has a time that is not a positive number, and names what is wrong with it.
ResultFile read_results(const std::string& path);

}  // namespace benchmarking

// %%
//| export benchmarking/results.cpp
namespace {

// The first number in /proc/loadavg.
double load_average() {
  const std::string text = read_if_there("/proc/loadavg");
  return text.empty() ? 0.0 : std::atof(text.c_str());
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

benchmarking::Machine benchmarking::this_machine() {
  const SystemInfo info = system_info();
  return {info.cpu_model, info.os, info.compiler, info.cores, info.memory_bytes, info.simd, load_average(), utc_now()};
}

std::string benchmarking::results_text(const ResultFile& file) {
  const Machine& m = file.machine;
  nlohmann::ordered_json document;
  document["machine"] = {{"cpu", m.cpu}, {"cores", m.cores}, {"memory_bytes", m.memory_bytes}, {"os", m.os}, {"compiler", m.compiler}, {"simd", m.simd}, {"load", m.load}, {"date", m.date}};
  document["versions"] = file.versions;
  document["settings"] = file.settings;
  document["results"] = nlohmann::ordered_json::array();
  for (const Result& result : file.results) {
    document["results"].push_back({{"suite", result.suite}, {"name", result.name}, {"subject", result.subject}, {"seconds", result.seconds}, {"calls", result.calls},
                                   {"flops", result.flops}, {"bytes", result.bytes}, {"note", result.note}});
  }
  return document.dump(1) + "\n";
}

void benchmarking::write_results(const std::string& path, const ResultFile& file) { serialize::write_file_atomically(path, results_text(file)); }

benchmarking::ResultFile benchmarking::read_results(const std::string& path) {
  const std::string text = read_file(path, "read_results");
  ResultFile file;
  try {
    const nlohmann::json document = nlohmann::json::parse(text);
    const nlohmann::json& m = document.at("machine");
    file.machine = {m.at("cpu"), m.at("os"), m.at("compiler"), m.at("cores"), m.at("memory_bytes"), m.at("simd"), m.at("load"), m.at("date")};
    file.versions = document.at("versions");
    file.settings = document.at("settings");
    for (const nlohmann::json& r : document.at("results")) {
      file.results.push_back({r.at("suite"), r.at("name"), r.at("subject"), r.at("seconds"), r.at("calls"), r.at("flops"), r.at("bytes"), r.at("note")});
    }
  } catch (const nlohmann::json::exception& error) {
    TORCH_CHECK(false, path, " is not a file of benchmark results\n[read_results] ", error.what());
  }
  for (const Result& result : file.results)
    for (const double time : result.seconds)
      TORCH_CHECK(time > 0 && std::isfinite(time), path, " has a time of ", time, " (", result.suite, ": ", result.name, ", ", result.subject,
                  ")\n[read_results] a time is a positive number of seconds; measure this case again, or delete it from the file.");
  return file;
}

// %%
TEST_CASE("result files: what is written comes back, and damage is named") {
  const tito::Scratch scratch;
  const std::string path = scratch.path("a.json");
  benchmarking::ResultFile file;
  file.machine = benchmarking::this_machine();
  CHECK_GT(file.machine.cores, 0);
  CHECK_EQ(file.machine.date.size(), 20);
  file.versions = {{"tinytorch", "0.1"}};
  file.settings = {{"threads", "2"}};
  file.results.push_back({"gemm", "512", "tinytorch", {1.5e-3, 1.25e-3, 0.1}, 8, 2.0 * 512 * 512 * 512, 3.0 * 512 * 512 * 4, ""});
  benchmarking::write_results(path, file);
  const benchmarking::ResultFile back = benchmarking::read_results(path);
  CHECK_EQ(back.machine.cpu, file.machine.cpu);
  CHECK_EQ(back.machine.date, file.machine.date);
  CHECK(back.versions == file.versions);
  CHECK_EQ(back.settings.at("threads"), "2");
  REQUIRE_EQ(back.results.size(), 1);
  CHECK(back.results[0].seconds == file.results[0].seconds);  // to the last bit
  CHECK_EQ(back.results[0].calls, 8);
  std::ofstream(path) << "{\"machine\": {}}";
  CHECK_ERROR(benchmarking::read_results(path), "is not a file of benchmark results");
  CHECK_ERROR(benchmarking::read_results(path), "cpu");
  CHECK_ERROR(benchmarking::write_results(scratch.path("missing/a.json"), file), "cannot write");
  file.results[0].seconds[1] = -1;
  benchmarking::write_results(path, file);
  CHECK_ERROR(benchmarking::read_results(path), "has a time of -1 (gemm: 512, tinytorch)");
  CHECK_EQ(scratch.files(), 1);  // nothing is left beside it
}

// %% [markdown]
// ### Slower, or only different?
//
// Two files, before and after a change: 1.00 ms and 1.06 ms. Is that a regression? The two samples were not taken in turns, so there are no pairs; but each can be resampled, and the ratio of the two medians comes with an interval. Where that interval lies, compared with a tolerance, is the verdict. There are **four** verdicts,
// and the fourth is the one that most tools lack:
//
//       ratio after / before     1/(1+t)        1        1+t
//                        ----------|------------+---------|---------->
//       Faster             [====]  |            |         |
//       Same                       |    [=======+====]    |               the interval lies within the tolerance
//       Slower                     |            |         |   [=====]
//       NoVerdict                  |      [=====+=========|======]        too wide to say: measure longer, or quieten the machine
//
// "The interval contains 1, so nothing changed" is the classical error: absence of evidence. An interval from 0.6 to 1.7 contains 1, and says nothing at all.
//
// Why a tolerance? Because two runs of the *same* program differ by more than their own samples show: the addresses at which code and data lie change with the environment and the link order, and with them the caches' luck (Mytkowicz and others 2009 found several per cent). Within 5 % two separate runs allow no statement about the code; when you must
// know, let both versions take turns in one run.

// %%
//| export benchmarking/results.h
namespace benchmarking {

enum class Verdict { Faster, Same, Slower, NoVerdict };

// What happened between two files to one subject in one case.
struct Change {
  std::string suite, name, subject;
  Verdict verdict = Verdict::NoVerdict;
  double ratio = 0;   // of the medians, after / before: above 1 it takes longer now
  Interval interval;  // of that ratio, at 95 %
};

// Judges two samples that were measured independently. `tolerance` 0.05 means that 5 % either way counts as the same. No verdict when one has fewer than six values.
// Throws ValueError when one has none.
Change compare_samples(const std::vector<double>& before, const std::vector<double>& after, double tolerance = 0.05);

// The cases that both files have, judged; in the order of `before`.
std::vector<Change> compare_files(const ResultFile& before, const ResultFile& after, double tolerance = 0.05);
// A sentence for each case that has times in one of the files only.
std::vector<std::string> not_compared(const ResultFile& before, const ResultFile& after);

// Why times of these files should not be compared at all (another CPU, other settings, another compiler); empty if nothing speaks against it. Files from before the settings `capability` and `kernels` say nothing
// about them, which speaks against nothing.
std::string why_not_comparable(const ResultFile& before, const ResultFile& after);

std::string_view name_of(Verdict verdict);

}  // namespace benchmarking

// %%
//| export benchmarking/results.cpp
namespace {

// Of median(after) / median(before), at 95 %: both sides are resampled 1,000 times.
benchmarking::Interval interval_of_ratio(const std::vector<double>& before, const std::vector<double>& after) {
  Generator generator(0);
  std::vector<double> ratios;
  for (int i = 0; i < 1000; ++i) {
    const double later = benchmarking::median(benchmarking::resample(after, generator));
    ratios.push_back(later / benchmarking::median(benchmarking::resample(before, generator)));
  }
  return {benchmarking::quantile(ratios, 0.025), benchmarking::quantile(ratios, 0.975)};
}

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "15-compare", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/results.cpp
// The ratio of medians, its bootstrap interval, and the verdict by the picture above.
//
// TODO: Compute the ratio and its interval, and judge where the interval lies.
// APPROACH: check that neither is empty; ratio; fewer than six values on a side: interval {0, 0} and NoVerdict. Else interval_of_ratio(before, after), and four cases.
// EXAMPLE: before about 1.0, after about 1.3, both with little noise: Slower.
// HINT: entirely above 1 + t; entirely below 1 / (1 + t); entirely between; anything else.
benchmarking::Change benchmarking::compare_samples(const std::vector<double>& before, const std::vector<double>& after, double tolerance) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(!before.empty() && !after.empty(), "compare_samples needs values on both sides, but got ", before.size(), " and ", after.size());
  Change change;
  change.ratio = median(after) / median(before);
  if (before.size() < 6 || after.size() < 6) return change;
  change.interval = interval_of_ratio(before, after);
  const auto [low, high] = change.interval;
  if (low > 1 + tolerance) {
    change.verdict = Verdict::Slower;
  } else if (high < 1 / (1 + tolerance)) {
    change.verdict = Verdict::Faster;
  } else if (low >= 1 / (1 + tolerance) && high <= 1 + tolerance) {
    change.verdict = Verdict::Same;
  }
  return change;
  // END SOLUTION
}

// %%
//| mistake 15-compare medians-only
//| says The verdict was made from the two medians, whatever their noise. When the interval of the ratio is wide, the honest answer is NoVerdict.
#if 0
benchmarking::Change benchmarking::compare_samples(const std::vector<double>& before, const std::vector<double>& after, double tolerance) {
  TORCH_CHECK_VALUE(!before.empty() && !after.empty(), "compare_samples needs values on both sides, but got ", before.size(), " and ", after.size());
  Change change;
  change.ratio = median(after) / median(before);
  change.interval = {change.ratio, change.ratio};
  change.verdict = change.ratio > 1 + tolerance ? Verdict::Slower : change.ratio < 1 / (1 + tolerance) ? Verdict::Faster : Verdict::Same;
  return change;
}
#endif

// %%
//| mistake 15-compare no-evidence-is-sameness
//| says An interval that reaches beyond the tolerance on either side was called Same because 1 lies in it. That both could be equal does not mean that they are: Same needs the whole interval within the tolerance.
#if 0
benchmarking::Change benchmarking::compare_samples(const std::vector<double>& before, const std::vector<double>& after, double tolerance) {
  TORCH_CHECK_VALUE(!before.empty() && !after.empty(), "compare_samples needs values on both sides, but got ", before.size(), " and ", after.size());
  Change change;
  change.ratio = median(after) / median(before);
  if (before.size() < 6 || after.size() < 6) return change;
  change.interval = interval_of_ratio(before, after);
  change.verdict = change.interval.low > 1 + tolerance ? Verdict::Slower : change.interval.high < 1 / (1 + tolerance) ? Verdict::Faster : Verdict::Same;
  return change;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-compare-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("compare_samples: four verdicts, and noise gets the fourth") {
  using benchmarking::compare_samples;
  using benchmarking::Verdict;
  const auto sample = [](double median, double noise, std::uint64_t seed) {
    Generator generator(seed);
    std::vector<double> values(40);
    for (double& value : values) value = median * (1 + noise * (generator.uniform_double() - 0.5));
    return values;
  };
  const auto verdict = [&](double after, double noise) { return benchmarking::name_of(compare_samples(sample(1, noise, 1), sample(after, noise, 2)).verdict); };
  CHECK_EQ(verdict(1.3, 0.02), "slower");
  CHECK_EQ(verdict(0.7, 0.02), "faster");
  CHECK_EQ(verdict(1.01, 0.02), "the same");
  CHECK_EQ(verdict(1.0, 1.9), "no verdict");   // noise of +- 95 %
  CHECK_EQ(verdict(1.2, 1.9), "no verdict");
  CHECK_EQ(verdict(1.05, 0.02), "no verdict");  // on the edge of the tolerance
  const benchmarking::Change change = compare_samples(sample(1, 0.02, 1), sample(1.3, 0.02, 2));
  CHECK_CLOSE(change.ratio, 1.3, 0.01, 0.0);
  CHECK_LT(change.interval.low, change.ratio);
  CHECK_GT(change.interval.high, change.ratio);
  CHECK_ERROR(compare_samples({}, {1}), "values on both sides, but got 0 and 1");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(compare_samples({1, 1, 1}, {2, 2, 2}).verdict, Verdict::NoVerdict);
  CHECK_EQ(compare_samples({1, 1, 1}, {2, 2, 2}).ratio, 2.0);
  CHECK_EQ(compare_samples(std::vector<double>(6, 1.0), std::vector<double>(6, 1.04)).verdict, Verdict::Same);
  CHECK_EQ(compare_samples(std::vector<double>(6, 1.0), std::vector<double>(6, 1.04), 0.01).verdict, Verdict::Slower);
  // END HIDDEN TESTS
}

// %%
//| export benchmarking/results.cpp
std::string_view benchmarking::name_of(Verdict verdict) {
  constexpr std::string_view names[] = {"faster", "the same", "slower", "no verdict"};
  return names[static_cast<std::size_t>(verdict)];
}

namespace {
// The same case of the same subject; nullptr if the file has none.
const benchmarking::Result* find_case(const benchmarking::ResultFile& file, const benchmarking::Result& like) {
  const auto same = [&](const benchmarking::Result& other) { return other.suite == like.suite && other.name == like.name && other.subject == like.subject; };
  const auto found = std::find_if(file.results.begin(), file.results.end(), same);
  return found == file.results.end() ? nullptr : &*found;
}

// Adds what has times in `here` and none in the other file.
void add_missing(std::vector<std::string>& sentences, const benchmarking::ResultFile& here, const benchmarking::ResultFile& other, const char* other_name) {
  for (const benchmarking::Result& one : here.results) {
    const benchmarking::Result* const found = find_case(other, one);
    if (one.seconds.empty() || (found != nullptr && !found->seconds.empty())) continue;
    sentences.push_back(str(one.suite, ": ", one.name, ", ", one.subject, found == nullptr ? " is not in the " : " has no times in the ", other_name, " file",
                            found != nullptr && !found->note.empty() ? str(" (", found->note, ")") : ""));
  }
}
}  // namespace

std::vector<std::string> benchmarking::not_compared(const ResultFile& before, const ResultFile& after) {
  std::vector<std::string> sentences;
  add_missing(sentences, before, after, "second");
  add_missing(sentences, after, before, "first");
  return sentences;
}

std::vector<benchmarking::Change> benchmarking::compare_files(const ResultFile& before, const ResultFile& after, double tolerance) {
  std::vector<Change> changes;
  for (const Result& old : before.results) {
    const Result* const now = find_case(after, old);
    if (now == nullptr || old.seconds.empty() || now->seconds.empty()) continue;
    Change change = compare_samples(old.seconds, now->seconds, tolerance);
    change.suite = old.suite;
    change.name = old.name;
    change.subject = old.subject;
    changes.push_back(std::move(change));
  }
  return changes;
}

std::string benchmarking::why_not_comparable(const ResultFile& before, const ResultFile& after) {
  std::string why;
  const auto differ = [&](const char* what, const std::string& left, const std::string& right) {
    if (left != right) why += str(why.empty() ? "" : "; ", what, " '", left, "' and '", right, "'");
  };
  differ("CPU", before.machine.cpu, after.machine.cpu);
  differ("cores", std::to_string(before.machine.cores), std::to_string(after.machine.cores));
  differ("compiler", before.machine.compiler, after.machine.compiler);
  std::map<std::string, std::string> all = before.settings;
  all.insert(after.settings.begin(), after.settings.end());
  const auto setting = [](const ResultFile& file, const std::string& name) {
    const auto found = file.settings.find(name);
    return found == file.settings.end() ? "" : found->second;
  };
  for (const auto& [name, value] : all) {
    const bool unknown = (name == "capability" || name == "kernels") && before.settings.count(name) != after.settings.count(name);
    if (!unknown) differ(name.c_str(), setting(before, name), setting(after, name));
  }
  return why;
}

// %%
TEST_CASE("compare_files: by name, not by place, and not across machines") {
  benchmarking::ResultFile before;
  before.machine.cpu = "one";
  before.settings["threads"] = "1";
  benchmarking::ResultFile after = before;
  const auto result = [](const char* name, double seconds) { return benchmarking::Result{"gemm", name, "tinytorch", std::vector<double>(8, seconds), 1, 0, 0, ""}; };
  before.results = {result("64", 1), result("128", 8), result("gone", 1)};
  after.results = {result("128", 8.1), result("64", 1.5), result("new", 1)};
  const std::vector<benchmarking::Change> changes = benchmarking::compare_files(before, after);
  REQUIRE_EQ(changes.size(), 2);
  CHECK_EQ(changes[0].name, "64");
  CHECK_EQ(changes[0].verdict, benchmarking::Verdict::Slower);
  CHECK_EQ(changes[1].verdict, benchmarking::Verdict::Same);
  CHECK_EQ(benchmarking::why_not_comparable(before, after), "");
  after.machine.cpu = "two";
  after.settings["threads"] = "2";
  after.settings["busy processes"] = "1";
  CHECK_EQ(benchmarking::why_not_comparable(before, after), "CPU 'one' and 'two'; busy processes '' and '1'; threads '1' and '2'");
  after = before;
  after.settings["capability"] = "AVX512";
  CHECK_EQ(benchmarking::why_not_comparable(before, after), "");  // the first file is older than this setting
  before.settings["capability"] = "DEFAULT";
  CHECK_EQ(benchmarking::why_not_comparable(before, after), "capability 'DEFAULT' and 'AVX512'");
}

TEST_CASE("not_compared: what vanished, failed or is new has a sentence") {
  const auto result = [](const char* name, std::vector<double> seconds, const char* note) { return benchmarking::Result{"gemm", name, "tinytorch", std::move(seconds), 1, 0, 0, note}; };
  benchmarking::ResultFile before, after;
  before.results = {result("64", {1}, ""), result("gone", {1}, ""), result("fails", {1}, ""), result("never worked", {}, "no")};
  after.results = {result("new", {2}, ""), result("fails", {}, "it ended"), result("64", {1}, ""), result("never worked", {}, "no")};
  CHECK_EQ(benchmarking::not_compared(before, after),
           std::vector<std::string>{"gemm: gone, tinytorch is not in the second file", "gemm: fails, tinytorch has no times in the second file (it ended)", "gemm: new, tinytorch is not in the first file"});
  CHECK(benchmarking::not_compared(before, before).empty());
}

// %% [markdown]
// ### Accuracy beside speed: the Pareto front
//
// A model can always be made faster by making it worse. A time without the accuracy that goes with it is half a result. Draw each candidate as a point, and ask which ones nobody would choose: those for which another is at least as fast *and* at least as accurate, and better in one of the two. Such a point is *dominated*; the others form the **Pareto front**,
// and between them it is a matter of what you need.
//
//       accuracy
//         |                      . D *-------
//         |            B *------'      C o             D, B, A: the front.   C is dominated by B: slower and worse
//         |        ---'
//         |   A *-'        E o                         E is dominated by B, too
//         +------------------------------------ time
//
// Sorting by time makes it O(n log n): walk from fast to slow, and keep a point if it is more accurate than all that were faster. Equal points need care: two candidates with the same time and the same accuracy do not dominate each other.

// %%
//| export benchmarking/pareto.h
namespace benchmarking {

// A candidate: how long it takes (less is better) and how good it is (more is better).
struct Candidate {
  std::string name;
  double seconds = 0;
  double accuracy = 0;
};

// The indices of those that no other dominates, from fast to slow. O(n log n).
std::vector<std::size_t> pareto_front(const std::vector<Candidate>& candidates);

// A picture for the terminal: '*' on the front, 'o' off it, time on a logarithmic axis, with a legend. Throws ValueError for no candidates, for times that are not positive numbers, for accuracies that are not finite, and for a picture without a column or a row.
std::string pareto_text(const std::vector<Candidate>& candidates, std::size_t width = 60, std::size_t height = 12);

// The same as an SVG document, the front joined by a line of steps.
std::string pareto_svg(const std::vector<Candidate>& candidates);

}  // namespace benchmarking

// %% {"nbgrader": {"grade": false, "grade_id": "15-pareto", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export benchmarking/pareto.cpp
// The candidates for which no other one is at least as fast and at least as accurate, and better in one; sorted by time, then by index.
//
// TODO: Sort by time and keep those that are more accurate than all that were faster.
// APPROACH: order of indices by (seconds, less accurate last, index); walk and compare with the best accuracy so far.
// EXAMPLE: (1 s, 0.8), (2 s, 0.9), (3 s, 0.85): the first two.
// HINT: keep a point, too, that equals the last one kept in both.
std::vector<std::size_t> benchmarking::pareto_front(const std::vector<Candidate>& candidates) {
  // BEGIN SOLUTION
  std::vector<std::size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const Candidate& left = candidates[a];
    const Candidate& right = candidates[b];
    return left.seconds != right.seconds ? left.seconds < right.seconds : left.accuracy > right.accuracy;
  });
  std::vector<std::size_t> front;
  for (const std::size_t i : order) {
    const bool better = front.empty() || candidates[i].accuracy > candidates[front.back()].accuracy;
    const bool equal = !front.empty() && candidates[i].accuracy == candidates[front.back()].accuracy && candidates[i].seconds == candidates[front.back()].seconds;
    if (better || equal) front.push_back(i);
  }
  return front;
  // END SOLUTION
}

// %%
//| mistake 15-pareto equal-time-keeps-all
//| says Two candidates take the same time, and the worse one is on the front: it is dominated as well. Among equal times look at the most accurate one first.
#if 0
std::vector<std::size_t> benchmarking::pareto_front(const std::vector<Candidate>& candidates) {
  std::vector<std::size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return candidates[a].seconds < candidates[b].seconds; });
  std::vector<std::size_t> front;
  for (const std::size_t i : order) {
    const bool better = front.empty() || candidates[i].accuracy > candidates[front.back()].accuracy;
    const bool equal = !front.empty() && candidates[i].accuracy == candidates[front.back()].accuracy && candidates[i].seconds == candidates[front.back()].seconds;
    if (better || equal) front.push_back(i);
  }
  return front;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-pareto-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("pareto_front: who is dominated by nobody") {
  using benchmarking::pareto_front;
  using Front = std::vector<std::size_t>;
  CHECK(pareto_front({{"a", 1, 0.8}, {"b", 2, 0.9}, {"c", 3, 0.85}}) == Front{0, 1});
  CHECK(pareto_front({{"slow", 9, 0.95}, {"poor", 2, 0.5}, {"good", 2, 0.9}}) == Front{2, 0});
  CHECK(pareto_front({{"poor", 2, 0.5}, {"good", 2, 0.9}}) == Front{1});
  CHECK(pareto_front({{"twin", 1, 0.5}, {"twin", 1, 0.5}, {"same accuracy, slower", 2, 0.5}}) == Front{0, 1});
  CHECK(pareto_front({}).empty());
  // BEGIN HIDDEN TESTS
  // Against the definition, for all pairs.
  Generator generator(9);
  std::vector<benchmarking::Candidate> many(60);
  for (benchmarking::Candidate& one : many) one = {"", std::floor(8 * generator.uniform_double()) + 1, std::floor(8 * generator.uniform_double())};
  const Front front = pareto_front(many);
  for (std::size_t i = 0; i < many.size(); ++i) {
    const bool dominated = std::any_of(many.begin(), many.end(), [&](const benchmarking::Candidate& other) {
      return other.seconds <= many[i].seconds && other.accuracy >= many[i].accuracy && (other.seconds < many[i].seconds || other.accuracy > many[i].accuracy);
    });
    CHECK_EQ(std::find(front.begin(), front.end(), i) == front.end(), dominated);
  }
  // END HIDDEN TESTS
}

// %%
//| export benchmarking/pareto.cpp
namespace {

// Where candidates lie in a picture: from 0 to 1, left is fast (on a logarithmic axis), up is good.
struct Axes {
  explicit Axes(const std::vector<benchmarking::Candidate>& candidates) {
    TORCH_CHECK_VALUE(!candidates.empty(), "a Pareto picture needs candidates, but got none");
    for (const benchmarking::Candidate& one : candidates) {
      TORCH_CHECK_VALUE(one.seconds > 0 && std::isfinite(one.seconds), "a Pareto picture needs positive times, but '", one.name, "' has ", one.seconds);
      TORCH_CHECK_VALUE(std::isfinite(one.accuracy), "a Pareto picture needs accuracies that are numbers, but '", one.name, "' has ", one.accuracy);
      fastest = std::min(fastest, one.seconds);
      slowest = std::max(slowest, one.seconds);
      worst = std::min(worst, one.accuracy);
      best = std::max(best, one.accuracy);
    }
  }
  double x(double seconds) const { return slowest > fastest ? (std::log(seconds) - std::log(fastest)) / (std::log(slowest) - std::log(fastest)) : 0.5; }
  double y(double accuracy) const { return best > worst ? (accuracy / 2 - worst / 2) / (best / 2 - worst / 2) : 0.5; }  // halves: a difference may be too large for a double

  double fastest = HUGE_VAL, slowest = 0, worst = HUGE_VAL, best = -HUGE_VAL;
};

std::string formatted(const char* format, double a, double b = 0) {
  char text[80];
  std::snprintf(text, sizeof text, format, a, b);
  return text;
}

}  // namespace

std::string benchmarking::pareto_text(const std::vector<Candidate>& candidates, std::size_t width, std::size_t height) {
  const Axes axes(candidates);
  TORCH_CHECK_VALUE(width > 0 && height > 0, "a Pareto picture needs a column and a row at least, but got ", width, " columns and ", height, " rows");
  const std::vector<std::size_t> front = pareto_front(candidates);
  std::vector<std::string> rows(height, std::string(width, ' '));
  const auto plot = [&](const Candidate& one, char mark) {
    const auto column = static_cast<std::size_t>(std::lround(axes.x(one.seconds) * static_cast<double>(width - 1)));
    const auto row = static_cast<std::size_t>(std::lround((1 - axes.y(one.accuracy)) * static_cast<double>(height - 1)));
    rows[row][column] = mark;
  };
  for (const Candidate& one : candidates) plot(one, 'o');
  for (const std::size_t i : front) plot(candidates[i], '*');
  std::string text;
  for (std::size_t row = 0; row < height; ++row) {
    const bool labelled = row == 0 || row + 1 == height;
    text += (labelled ? formatted("%8.4f |", row == 0 ? axes.best : axes.worst) : "         |") + rows[row] + "\n";
  }
  text += "         +" + std::string(width, '-') + formatted("\n          %.3g s to %.3g s, logarithmic\n", axes.fastest, axes.slowest);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const bool chosen = std::find(front.begin(), front.end(), i) != front.end();
    text += formatted("  %.6g s, %.4f  ", candidates[i].seconds, candidates[i].accuracy) + (chosen ? "* " : "o ") + candidates[i].name + "\n";
  }
  return text;
}

std::string benchmarking::pareto_svg(const std::vector<Candidate>& candidates) {
  const Axes axes(candidates);
  const auto x = [&](double seconds) { return 60 + 500 * axes.x(seconds); };
  const auto y = [&](double accuracy) { return 260 - 220 * axes.y(accuracy); };
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 320\" font-family=\"sans-serif\" font-size=\"11\">\n";
  svg += "<path d=\"M50 30V270H600\" fill=\"none\" stroke=\"black\"/>\n";
  svg += formatted("<text x=\"50\" y=\"300\">time, %.3g s to %.3g s (logarithmic)</text>", axes.fastest, axes.slowest);
  svg += formatted("<text x=\"50\" y=\"20\">accuracy, %.4g to %.4g</text>\n", axes.worst, axes.best);
  std::string steps;
  const std::vector<std::size_t> front = pareto_front(candidates);
  for (const std::size_t i : front) {
    steps += steps.empty() ? formatted("M%.1f %.1f", x(candidates[i].seconds), y(candidates[i].accuracy)) : formatted("H%.1fV%.1f", x(candidates[i].seconds), y(candidates[i].accuracy));
  }
  svg += "<path d=\"" + steps + "\" fill=\"none\" stroke=\"steelblue\"/>\n";
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const bool chosen = std::find(front.begin(), front.end(), i) != front.end();
    svg += formatted("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"", x(candidates[i].seconds), y(candidates[i].accuracy)) + (chosen ? " fill=\"steelblue\"/>" : " fill=\"silver\"/>");
    svg += formatted("<text x=\"%.1f\" y=\"%.1f\">", x(candidates[i].seconds) + 7, y(candidates[i].accuracy) + 4) + autograd::profiler::xml_text(candidates[i].name) + "</text>\n";
  }
  return svg + "</svg>\n";
}

// %%
TEST_CASE("Pareto pictures: every candidate is in them, the front is marked") {
  const std::vector<benchmarking::Candidate> candidates = {{"small", 0.001, 0.8}, {"large <2 layers>", 0.1, 0.9}, {"bad", 0.01, 0.75}};
  const std::string text = benchmarking::pareto_text(candidates, 21, 4);
  CHECK_EQ(text,
           "  0.9000 |                    *\n"
           "         |                     \n"
           "         |*                    \n"
           "  0.7500 |          o          \n"
           "         +---------------------\n"
           "          0.001 s to 0.1 s, logarithmic\n"
           "  0.001 s, 0.8000  * small\n"
           "  0.1 s, 0.9000  * large <2 layers>\n"
           "  0.01 s, 0.7500  o bad\n");
  const std::string svg = benchmarking::pareto_svg(candidates);
  CHECK(svg.find("large &lt;2 layers&gt;") != std::string::npos);
  CHECK(svg.find("<circle cx=\"310.0\" cy=\"260.0\" r=\"4\" fill=\"silver\"/>") != std::string::npos);
  CHECK(svg.find("d=\"M60.0 186.7H560.0V40.0\"") != std::string::npos);
  CHECK_ERROR(benchmarking::pareto_text({}), "needs candidates, but got none");
  CHECK_ERROR(benchmarking::pareto_svg({{"x", 0, 1}}), "positive times, but 'x' has 0");
  CHECK_ERROR(benchmarking::pareto_text({{"x", HUGE_VAL, 1}}), "positive times, but 'x' has inf");
  CHECK_ERROR(benchmarking::pareto_text({{"x", 1, NAN}}), "accuracies that are numbers, but 'x' has nan");
  CHECK_ERROR(benchmarking::pareto_text(candidates, 0, 4), "got 0 columns and 4 rows");
}

// %% [markdown]
// ### Debug: a device that answers at once
//
// A colleague has measured an accelerator: "a matrix product of any size takes 5 microseconds". Accelerators (and JAX, and CUDA) are *asynchronous*: a launch puts work into a queue and returns. Who reads the clock then has measured how long it takes to write a note.
//
//       host     |launch|launch|launch|clock!                            15 us, says the colleague
//       device          [  work        ][  work        ][  work        ]
//                                                              synchronize() returns here
//
// The device here is a small simulation with a clock of its own. Read the version as found, run the test, and write it as it should be. Something may be in the queue *before* you begin, too.

// %%
//| lesson
// An asynchronous device: launches cost the host 5 us and run one after the other.
class QueuedDevice {
 public:
  void launch(double work) {
    host_ += 5e-6;
    done_ = std::max(done_, host_) + work;
  }
  void synchronize() { host_ = std::max(host_, done_); }
  double now() const { return host_; }

 private:
  double host_ = 0;  // the host's clock
  double done_ = 0;  // when the queue will be empty
};

// As found: seconds per launch.
double seconds_per_launch_as_found(QueuedDevice& device, double work, int launches) {
  const double start = device.now();
  for (int i = 0; i < launches; ++i) device.launch(work);
  return (device.now() - start) / launches;
}

// %% {"nbgrader": {"grade": false, "grade_id": "15-debug-queue", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// Seconds that the device takes for one launch of this work, averaged over so many launches; what was in its queue before does not count.
//
// TODO: Measure the work, not the note about the work.
// APPROACH: when is the device idle, and at which two moments must it be?
// HINT: synchronize() waits until the queue is empty.
double seconds_per_launch(QueuedDevice& device, double work, int launches) {
  // BEGIN SOLUTION
  device.synchronize();
  const double start = device.now();
  for (int i = 0; i < launches; ++i) device.launch(work);
  device.synchronize();
  return (device.now() - start) / launches;
  // END SOLUTION
}

// %%
//| mistake 15-debug-queue reads-the-clock-too-early
//| says The clock was read while the device was still working: launches only fill a queue. Synchronize before the second reading.
#if 0
double seconds_per_launch(QueuedDevice& device, double work, int launches) {
  device.synchronize();
  const double start = device.now();
  for (int i = 0; i < launches; ++i) device.launch(work);
  return (device.now() - start) / launches;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-debug-queue-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("an asynchronous device: the work counts, not the launch, and nobody else's work") {
  QueuedDevice as_found;
  CHECK_CLOSE(seconds_per_launch_as_found(as_found, 1e-3, 10), 5e-6, 1e-9, 0.0);
  QueuedDevice device;
  CHECK_CLOSE(seconds_per_launch(device, 1e-3, 10), 1e-3, 1e-3, 0.0);
  device.launch(2.0);  // somebody else's
  CHECK_CLOSE(seconds_per_launch(device, 1e-3, 10), 1e-3, 1e-3, 0.0);
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(seconds_per_launch(device, 1e-7, 1000), 5e-6, 0.01, 0.0);  // tiny work: the launches are what takes time
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: the input that is used up
//
// Another colleague compares sorting functions, and insertion sort wins: a thousand numbers in 999 comparisons, in nine calls of ten. The benchmark calls the function ten times. What does the second call get?
//
//       call 1   7 2 9 4 1 ...   -> sorts          about n^2 / 4 comparisons
//       call 2   1 2 4 7 9 ...   -> is sorted      n - 1 comparisons
//
// The same fault has many faces: a training step that is timed on a network that has converged (or has become NaN, which some processors multiply more slowly), a cache that holds the answer to the only question ever asked, a generator that is at its end. **Each call must do the work of the first.**
//
// The cost here is counted in comparisons, so that the test says the same on every machine.

// %%
//| lesson
// Sorts by insertion; returns how many comparisons it made.
std::int64_t insertion_sort(std::vector<int>& values) {
  std::int64_t comparisons = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    for (std::size_t j = i; j > 0; --j) {
      ++comparisons;
      if (values[j - 1] <= values[j]) break;
      std::swap(values[j - 1], values[j]);
    }
  }
  return comparisons;
}

// As found: the cost of each of so many calls.
std::vector<std::int64_t> costs_of_calls_as_found(std::vector<int> input, int calls) {
  std::vector<std::int64_t> costs;
  for (int i = 0; i < calls; ++i) costs.push_back(insertion_sort(input));
  return costs;
}

// %% {"nbgrader": {"grade": false, "grade_id": "15-debug-input", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// The cost of each of `calls` calls of insertion_sort on this input. `input` is left as it was.
//
// TODO: Give every call the same work.
// APPROACH: what does a call leave behind, and who needs it as it was?
// HINT: a copy for each call. (With a clock, it is made before the first reading.)
std::vector<std::int64_t> costs_of_calls(const std::vector<int>& input, int calls) {
  // BEGIN SOLUTION
  std::vector<std::int64_t> costs;
  for (int i = 0; i < calls; ++i) {
    std::vector<int> values = input;
    costs.push_back(insertion_sort(values));
  }
  return costs;
  // END SOLUTION
}

// %%
//| mistake 15-debug-input one-copy-for-all
//| says Only the first call sorted anything: the others got a sorted list. Copy the input for each call.
#if 0
std::vector<std::int64_t> costs_of_calls(const std::vector<int>& input, int calls) {
  std::vector<std::int64_t> costs;
  std::vector<int> values = input;
  for (int i = 0; i < calls; ++i) costs.push_back(insertion_sort(values));
  return costs;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "15-debug-input-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("a benchmark that uses up its input measures something else from the second call on") {
  const std::vector<int> input = {7, 2, 9, 4, 1, 8, 3, 6, 5, 0};
  const std::vector<std::int64_t> wrong = costs_of_calls_as_found(input, 3);
  CHECK_EQ(wrong[0], 34);
  CHECK_EQ(wrong[1], 9);
  CHECK(costs_of_calls(input, 3) == std::vector<std::int64_t>{34, 34, 34});
  // BEGIN HIDDEN TESTS
  CHECK(costs_of_calls({1, 2, 3}, 2) == std::vector<std::int64_t>{2, 2});
  CHECK(costs_of_calls(input, 0).empty());
  // END HIDDEN TESTS
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// Everything below is measured when the file runs (`tito run 15`), on your machine. The first question is what your machine's noise looks like; the others are what it does to conclusions.
//
//       what is measured below                    grows with
//       interval of a median                      1 / sqrt(runs)                    width  ####### -> #### -> ## -> #
//       time in a server's queue                  1 / (1 - load)                    time   # -> ## -> #### -> ##############
//       memory of a batch                         its size; throughput levels off   bytes  # -> ## -> #### -> ########

// %%
//| lesson
// Work to measure: one forward pass of a small network on a batch.
struct SmallNetwork {
  explicit SmallNetwork(std::int64_t width = 64, std::int64_t batch = 16) : model(seeded(width)), input(randn({batch, 64})) {}
  static nn::MLP seeded(std::int64_t width) {
    manual_seed(15);
    return nn::MLP(std::vector<std::int64_t>{64, width, 10});
  }
  double run(const Tensor& images) {
    const NoGradGuard no_grad;
    return model->forward(images)[0][0].item<double>();
  }
  double run() { return run(input); }
  nn::MLP model;
  Tensor input;
};

std::string bar_of(double value, double most, double length = 44) {
  return std::string(static_cast<std::size_t>(std::clamp(value / most * length, 0.0, length)), '#');
}

// %%
DEMO("400 runs of one forward pass: what a sample of times looks like") {
  SmallNetwork network;
  std::vector<double> seconds;
  for (int i = 0; i < 400; ++i) seconds.push_back(benchmarking::run_block([&] { return network.run(); }, 1).seconds);
  const std::optional<std::size_t> warmup = benchmarking::warmup_length(seconds);
  std::printf("  the first run took %s, the tenth %s; warm-up: %s\n", format_seconds(seconds[0]).c_str(), format_seconds(seconds[9]).c_str(),
              warmup ? (std::to_string(*warmup) + " runs").c_str() : "it has not settled");
  const std::vector<double> counted(seconds.begin() + static_cast<std::ptrdiff_t>(warmup.value_or(200)), seconds.end());
  const double low = *std::min_element(counted.begin(), counted.end());
  const double step = (benchmarking::quantile(counted, 0.95) - low) / 12;
  for (int bin = 0; bin < 18; ++bin) {
    const double from = low + bin * step;
    const auto inside = std::count_if(counted.begin(), counted.end(), [&](double s) { return s >= from && (s < from + step || bin == 17); });
    std::printf("  %10s%s |%s\n", format_seconds(from).c_str(), bin == 17 ? " and more" : "         ", bar_of(static_cast<double>(inside), static_cast<double>(counted.size()) / 3).c_str());
  }
  const double mean = std::accumulate(counted.begin(), counted.end(), 0.0) / static_cast<double>(counted.size());
  const benchmarking::Interval interval = benchmarking::median_interval(counted);
  std::printf("  minimum %s   median %s [%s, %s]   mean %s   maximum %s\n", format_seconds(low).c_str(), format_seconds(benchmarking::median(counted)).c_str(), format_seconds(interval.low).c_str(),
              format_seconds(interval.high).c_str(), format_seconds(mean).c_str(), format_seconds(*std::max_element(counted.begin(), counted.end())).c_str());
  const std::vector<benchmarking::Outlier> far = benchmarking::outliers(counted);
  std::printf("  %zu outliers, %td of them severe\n", far.size(), std::count_if(far.begin(), far.end(), [](const benchmarking::Outlier& one) { return one.severe; }));
  std::fflush(stdout);
}

// %% [markdown]
// ### A loop that does nothing, at 0.3 ns a call
//
// Demonstrations are compiled with optimization (`tito run` uses -O3). Here is the same sum of squares, once with a result that nobody reads. The compiler proves that the loop has no effect and removes it.
//
//       result unused     for (...) total += x * x;              removed: no instruction is left
//       result used       ... do_not_optimize(total);            runs

// %%
//| lesson
// The sum of the squares below n; inlined, so that the compiler sees all of it.
inline double sum_of_squares(int n) {
  double total = 0;
  for (int i = 0; i < n; ++i) total += static_cast<double>(i) * i;
  return total;
}

// %%
DEMO("dead code: 1,000 multiplications and additions, with and without a reader") {
  constexpr int calls = 20000;
  const auto time = [&](const auto& body) {
    const double start = benchmarking::steady_seconds();
    for (int i = 0; i < calls; ++i) body();
    return (benchmarking::steady_seconds() - start) / calls;
  };
  const double removed = time([] { static_cast<void>(sum_of_squares(1000)); });
  const double kept = time([] { do_not_optimize(sum_of_squares(1000)); });
  const double summed = benchmarking::run_block([] { return sum_of_squares(1000); }, calls).seconds / calls;
  std::printf("  nobody reads the result: %s a call (%.3f ns for each multiplication: faster than any processor)\n", format_seconds(removed).c_str(), removed * 1e6);
  std::printf("  do_not_optimize(result): %s a call (%.3f ns)\n", format_seconds(kept).c_str(), kept * 1e6);
  std::printf("  run_block, checksum:     %s a call (%.3f ns)\n", format_seconds(summed).c_str(), summed * 1e6);
  std::fflush(stdout);
}

// %% [markdown]
// ### A against A
//
// The most useful experiment with any benchmark: compare a program with itself. Whatever differs from 1.00 is the error of your method. Twice here: all of one, then all of the other, and in turns.

// %%
DEMO("the same program against itself, ten times: one after the other, and in turns") {
  SmallNetwork network;
  const benchmarking::Timed timed = [&](std::int64_t calls) { return benchmarking::run_block([&] { return network.run(); }, calls).seconds; };
  const std::int64_t calls = benchmarking::calls_for(timed, 1e-3);
  const auto block = [&] { return timed(calls) / static_cast<double>(calls); };
  double worst_apart = 0;
  double worst_turns = 0;
  std::printf("  %28s   %s\n", "one after the other", "in turns (95 % interval)");
  for (int trial = 0; trial < 10; ++trial) {
    std::vector<double> first, second;
    for (int i = 0; i < 24; ++i) first.push_back(block());
    for (int i = 0; i < 24; ++i) second.push_back(block());
    const double apart = benchmarking::median(first) / benchmarking::median(second);
    const std::vector<std::vector<double>> both = benchmarking::interleave({timed, timed}, {calls, calls}, 12);
    const benchmarking::Ratio turns = benchmarking::ratio_of(both[0], both[1]);
    worst_apart = std::max(worst_apart, std::abs(apart - 1));
    worst_turns = std::max(worst_turns, std::abs(turns.value - 1));
    std::printf("  %28.4f   %.4f  [%.4f, %.4f]\n", apart, turns.value, turns.interval->low, turns.interval->high);
  }
  std::printf("  furthest from 1: %.1f %% and %.1f %%\n", 100 * worst_apart, 100 * worst_turns);
  std::fflush(stdout);
}

// %% [markdown]
// ### One model, three scenarios
//
// A small classifier is asked in the three ways. Look at three things: how much a batch is worth offline; how the server's 99th percentile grows long before the load is full; and what the same server looks like to a tester who waits politely.

// %%
DEMO("single-stream, offline, and a server at rising load") {
  SmallNetwork network(256, 1);
  const Tensor many = randn({64, 64});
  const benchmarking::Serve serve = [&](std::int64_t samples) { do_not_optimize(network.run(many.narrow(0, 0, samples))); };
  const benchmarking::Report single = benchmarking::single_stream(serve, 1000);
  std::printf("  single-stream: 90th percentile %s, median %s\n", format_seconds(single.latency(0.9)).c_str(), format_seconds(single.latency(0.5)).c_str());
  std::printf("  MLPerf would call that INVALID. %s\n", benchmarking::why_invalid(single, benchmarking::mlperf_rules(single.scenario)).c_str());
  for (const std::int64_t batch : {1, 8, 64}) {
    std::printf("  offline, batches of %2lld: %9.0f samples/s\n", static_cast<long long>(batch), benchmarking::offline(serve, 4096, batch).throughput());
  }
  const double full = 1 / benchmarking::median(single.latencies);
  std::printf("  server, one query at a time; full load would be %.0f queries/s\n", full);
  std::printf("  %8s %12s %12s %12s   %s\n", "load", "median", "p90", "p99", "p99 of a tester who waits for each answer");
  for (const double load : {0.2, 0.5, 0.7, 0.9}) {
    const benchmarking::Report report = benchmarking::server(serve, benchmarking::poisson_arrivals(load * full, 1500, Generator(1)));
    const double service = benchmarking::single_stream(serve, 1500).latency(0.99);  // the closed loop: there is never a queue
    std::printf("  %7.0f%% %12s %12s %12s   %s\n", 100 * load, format_seconds(report.latency(0.5)).c_str(), format_seconds(report.latency(0.9)).c_str(), format_seconds(report.latency(0.99)).c_str(),
                format_seconds(service).c_str());
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### Memory
//
// Two sides. What does the measurement itself hold? A latency is 8 bytes, and a server that is tested with 10,000 queries a second for ten minutes makes 48 MB of them: that is why load generators for long runs count into histograms (HdrHistogram) instead of keeping samples. And what does a batch cost? Throughput rises with it, and
// so does the peak.
//
//       batch       1    |parameters|a|
//       batch      64    |parameters|aaaaaaaaaa|          activations grow with the batch, parameters do not

// %%
DEMO("what a batch costs: peak memory beside throughput") {
  SmallNetwork network(512, 1);
  const Tensor many = randn({1024, 64});
  std::printf("  %6s %14s %16s\n", "batch", "samples/s", "peak, beyond what is held");
  for (const std::int64_t batch : {1, 4, 16, 64, 256, 1024}) {
    const Tensor part = many.narrow(0, 0, batch);
    memory::reset_peak();
    const std::size_t before = memory::stats().live;
    do_not_optimize(network.run(part));
    const auto peak = static_cast<std::int64_t>(memory::stats().peak - before);
    const Measurement time = measure([&] { do_not_optimize(network.run(part)); }, {.samples = 5});
    std::printf("  %6lld %14.0f %16s  %s\n", static_cast<long long>(batch), static_cast<double>(batch) / time.median, format_bytes(peak).c_str(), bar_of(std::log2(static_cast<double>(peak) + 1), 24).c_str());
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### Accuracy beside speed
//
// Networks of several widths, trained alike on the digits, and a linear one. For each: accuracy on images it has not seen, and the time for one image. Which would you put on a device that may take 5 us?

// %%
DEMO("widths of an MLP on the digits: the Pareto front") {
  const NumericArray table = read_numeric_text(find_data("digits/optdigits.csv"));
  const Tensor rows = tensor(table.values).view(table.sizes).to(kFloat);
  const Tensor images = rows.slice(1, 0, 64) / 16;
  const Tensor labels = rows.select(1, 64).to(kLong);
  const std::int64_t train = images.size(0) * 4 / 5;
  std::vector<benchmarking::Candidate> candidates;
  for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{{64, 10}, {64, 4, 10}, {64, 16, 10}, {64, 64, 10}, {64, 128, 10}, {64, 16, 16, 16, 10}}) {
    manual_seed(3);
    nn::MLP model(sizes);
    optim::Adam optimizer(model->parameters(), 5e-3);
    for (int epoch = 0; epoch < 20; ++epoch) {
      for (std::int64_t start = 0; start + 64 <= train; start += 64) {
        optimizer.zero_grad();
        cross_entropy_loss(model->forward(images.narrow(0, start, 64)), labels.narrow(0, start, 64)).backward();
        optimizer.step();
      }
    }
    const NoGradGuard no_grad;
    const std::int64_t rest = images.size(0) - train;
    const double accuracy = model->forward(images.narrow(0, train, rest)).argmax(1).eq(labels.narrow(0, train, rest)).to(kDouble).mean().item<double>();
    const Tensor one = images.narrow(0, 0, 1);
    std::string name = "64";
    for (std::size_t i = 1; i < sizes.size(); ++i) name += "-" + std::to_string(sizes[i]);
    candidates.push_back({name, measure([&] { do_not_optimize(model->forward(one)); }, {.samples = 9}).median, accuracy});
  }
  std::printf("%s", benchmarking::pareto_text(candidates).c_str());
  std::fflush(stdout);
}

// %% [markdown]
// ## Part 3: Production context
//
// The pieces are the same everywhere; what differs is which of them a tool leaves to you.
//
//       torch.utils.benchmark        Google Benchmark / criterion      LoadGen (MLPerf)             TinyTorch
//       blocked_autorange()          iterations until long enough      scenarios, schedules         run_block, calls_for
//       median, IQR, a warning       mean, median, stddev / bootstrap  percentiles, validity rules  median_interval, outliers
//       Compare: a table             compare.py: U test / thresholds   submission checker           interleave, compare_files
//
// - **PyTorch.** `torch/utils/benchmark/utils/timer.py`: `Timer.blocked_autorange` finds the number of calls as `calls_for` does, and synchronizes CUDA around each block. `torch/utils/benchmark/utils/common.py`: `Measurement` has median and interquartile range, and prints a warning when the range is more than a tenth of the median. It counts
//   instructions, too (`Timer.collect_callgrind`): a measure without noise, for code whose time is instructions. The operators' own suite is in `benchmarks/operator_benchmark`.
// - **TensorFlow.** `tensorflow/python/platform/benchmark.py`: `Benchmark.run_op_benchmark` burns some iterations, then runs `min_iters` and keeps every time; `tensorflow/core/util/reporter.h` writes them to a file with the machine's description.
// - **JAX.** Everything is asynchronous and compiled at the first call, so JAX's FAQ ("Benchmarking JAX code") names both of your debug exercises: call once before, and `block_until_ready()` before the clock is read (`jax/_src/api.py`). `benchmarks/api_benchmark.py` uses Google Benchmark's Python interface.
// - **MLPerf.** `loadgen/loadgen.cc` and `loadgen/test_settings.h` of mlcommons/inference: scenarios, their settings and a schedule that is drawn before the test begins; `loadgen/results.cc`: percentiles and whether a run is valid (long enough, enough queries, latency bound kept). A submission also runs in accuracy mode: the same system must reach the accuracy of the reference model.
// - **Load tests.** wrk2 and HdrHistogram are Gil Tene's answers to coordinated omission: a constant schedule, and latencies from the moment at which a request should have been sent.
//
// What production adds: machines reserved for benchmarks, with fixed clock frequencies; histories of thousands of runs with change-point detection instead of a comparison of two; counters of instructions and cache misses beside times; distributed load generators. Energy belongs to MLPerf's results as well, and needs a meter.

// %% [markdown]
// ## Integration test
//
// The whole way with simulated programs on a simulated machine, which slows down and has hiccups: measure two versions in turns, write both results, read them back, name the regression, and refuse a verdict where there is too much noise.

// %%
//| lesson
// A machine with its own clock: it gets slower by one part in ten thousand each second, and one block in sixteen is disturbed.
class SimulatedMachine {
 public:
  explicit SimulatedMachine(std::uint64_t seed) : generator_(seed) {}
  // A program whose calls take about `cost`, give or take this part of it.
  benchmarking::Timed program(double cost, double noise) {
    return [this, cost, noise](std::int64_t calls) {
      const double disturbed = generator_.uniform_double() < 0.0625 ? 3 : 1;
      const double took = static_cast<double>(calls) * cost * disturbed * (1 + 1e-4 * now_) * (1 + noise * (generator_.uniform_double() - 0.5));
      now_ += took;
      return took;
    };
  }

 private:
  Generator generator_;
  double now_ = 0;
};

// %%
TEST_CASE("benchmarking: from blocks to verdicts") {
  SimulatedMachine machine(2026);
  const benchmarking::Timed old_version = machine.program(1e-3, 0.04);
  const benchmarking::Timed new_version = machine.program(0.8e-3, 0.04);
  const std::vector<std::int64_t> calls = {benchmarking::calls_for(old_version, 0.1), benchmarking::calls_for(new_version, 0.1)};
  CHECK_GE(calls[0], 33);  // of 1 ms, or of 3 ms when disturbed
  const std::vector<std::vector<double>> seconds = benchmarking::interleave({old_version, new_version}, calls, 30);
  const benchmarking::Ratio ratio = benchmarking::ratio_of(seconds[0], seconds[1]);
  CHECK_CLOSE(ratio.value, 1.25, 0.05, 0.0);
  REQUIRE(ratio.interval.has_value());
  CHECK_LT(ratio.interval->low, 1.25);
  CHECK_GT(ratio.interval->high, 1.25);
  CHECK(!benchmarking::outliers(seconds[0]).empty());  // the hiccups are seen, and named
  const auto measured = [&](const benchmarking::Timed& program) {
    return benchmarking::sample_until([&] { return program(50) / 50; }, {.precision = 0.02, .min_samples = 30, .max_samples = 200}).values;
  };
  benchmarking::ResultFile before;
  before.machine = benchmarking::this_machine();
  before.settings = {{"threads", "1"}};
  benchmarking::ResultFile after = before;
  const auto add = [&](const char* name, double old_cost, double new_cost, double noise) {
    before.results.push_back({"suite", name, "tinytorch", measured(machine.program(old_cost, noise)), 50, 0, 0, ""});
    after.results.push_back({"suite", name, "tinytorch", measured(machine.program(new_cost, noise)), 50, 0, 0, ""});
  };
  add("regressed", 1e-3, 1.3e-3, 0.04);
  add("improved", 1e-3, 0.5e-3, 0.04);
  add("untouched", 2e-3, 2e-3, 0.02);
  add("noisy", 1e-3, 1.1e-3, 1.9);
  const tito::Scratch scratch;
  const std::string path = scratch.path("before.json");
  benchmarking::write_results(path, before);
  const std::vector<benchmarking::Change> changes = benchmarking::compare_files(benchmarking::read_results(path), after);
  REQUIRE_EQ(changes.size(), 4);
  CHECK_EQ(benchmarking::name_of(changes[0].verdict), "slower");
  CHECK_EQ(benchmarking::name_of(changes[1].verdict), "faster");
  CHECK_EQ(benchmarking::name_of(changes[2].verdict), "the same");
  CHECK_EQ(benchmarking::name_of(changes[3].verdict), "no verdict");
  // And real work, through the real clock: only what cannot depend on the machine's speed is checked.
  SmallNetwork network;
  const double expected = network.run();
  const benchmarking::Block block = benchmarking::run_block([&] { return network.run(); }, 4);
  CHECK_CLOSE(block.checksum, 4 * expected, 1e-6, 1e-9);
  CHECK_EQ(benchmarking::server([&](std::int64_t) { do_not_optimize(network.run()); }, benchmarking::poisson_arrivals(2000, 20, Generator(1))).latencies.size(), 20);
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Analyze**. Run `tito run 15`, keep the output, and answer from your numbers.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "15-explain-noise", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. What may you claim?** From "A against A" and the histogram: how far from 1 did a program's ratio to itself get, in either method? A change promises 2 %. Which method, with how many rounds, would let you confirm it on your machine? Mean, median and minimum differ in the first demonstration: which would you report for a library function, which for a service, and what does each one hide?
// BEGIN SOLUTION
// The ratio of a program to itself is the resolution of the method: whoever claims less than the worst of the ten trials claims noise. One after the other is typically off by several per cent as soon as anything else runs, in turns by a fraction of that; a promise of 2 % needs turns, and an interval that
// is narrower than 1 % to either side. The interval of a median narrows with the square root of the rounds: if 12 rounds gave +- 2 %, four times as many give +- 1 %. For a library function the median (or the minimum, as what the code can do), since its caller meets the typical case; for a service percentiles, since
// its users meet the tail. The minimum hides costs that come every few calls, the median hides the tail, the mean mixes both into a number that no run ever took.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "15-explain-load", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. Where does the queue begin?** From the scenarios: at which load is the 99th percentile ten times the service time? Why does it grow although the system is idle half of the time? What would batches do to the latency at low load, and to the highest rate? Your colleague's load test waits for each answer: which column is theirs, and what will production look like to them?
// BEGIN SOLUTION
// With Poisson arrivals and constant service time the mean wait is rho / (2 (1 - rho)) service times: half a service time at 50 % load, 4.5 at 90 %; the 99th percentile is several times that, so ten service times are reached between 70 and 90 % load on a quiet machine. The queue grows since arrivals come in crowds; idle time in a
// lull cannot be saved for them. At low load there is nobody to share a batch with, so latency stays; at high load a batch serves the whole crowd for little more than one query's cost (see the offline rows), and the highest rate rises by about the same factor. The closed loop never has a queue, so its p99 stays flat:
// the test reports the service time, and users will see the other column.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "15-explain-front", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Which one do you ship?** From the Pareto picture: which networks are dominated, and by which? A width four times as large costs how much more time for one image, and why is it less than four times? Would the front look the same at batch 64? What would you have to measure before you say that one is *more accurate* than another?
// BEGIN SOLUTION
// The front is 64-10, 64-16-10, 64-64-10 and 64-128-10: each is more accurate than all that are faster (88.3, 88.6, 90.6 and 91.4 %; `tito run 15` on a busy Xeon: 1.7, 2.8, 5.8 and 10.4 us). 64-4-10 is dominated by 64-10: four numbers are too few to tell ten digits apart. 64-16-16-16-10 is dominated by 64-10 and by 64-16-10:
// each layer costs a fixed price of calls and allocations, here four times, and what is deep and narrow is harder to train (81.4 %). From 16 to 64 the multiplications are four times as many and the time was twice as long, since at one image much of it is that fixed price. At batch 64 arithmetic dominates, times spread out towards the ratio of their
// multiplications, and the order can change. Accuracy is a sample as well: of 360 test images a difference of one per cent is under four images, and 64-16-10 is ahead of 64-10 by a single one. It needs an interval (several seeds, or a bootstrap over the test images) before it is called a difference.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - A sample of times is skewed: report the median, with an interval from order statistics that assumes nothing; keep every sample, and name outliers instead of deleting them.
// - The samples tell where warm-up ends and when you have enough of them. Two readings of the clock per block, results that are used, devices that are synchronized, input that is not used up.
// - A and B take turns, A B B A, and the ratio is the median of the rounds' quotients. A against A tells what your method can resolve.
// - Single-stream, server and offline are different questions. Arrivals do not wait for the system; latency counts from the arrival.
// - Comparing two files has four verdicts, and "no verdict" is one. Speed without accuracy is half a result: show the Pareto front.
//
// Module 16 makes things faster, and every step of its ladder is measured with these tools.

// %%
}  // namespace tinytorch
