// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.

#include "tinytorch/benchmarking/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include "tinytorch/core/error.h"
#include "tinytorch/core/utils.h"
#if defined(__linux__)
#include <sched.h>
#endif

namespace tinytorch {

// Reads the clock, calls `work` `calls` times, reads the clock: the difference, and the sum of the results.
benchmarking::Block benchmarking::run_block(const std::function<double()>& work, std::int64_t calls, const Clock& clock) {
  double checksum = 0;
  const double start = clock();
  for (std::int64_t i = 0; i < calls; ++i) checksum += work();
  const double stop = clock();
  return {stop - start, checksum};
}

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

// The smallest d in [0, n / 2] that minimizes z(d), or nothing if that is n / 2 and n > 1.
std::optional<std::size_t> benchmarking::warmup_length(const std::vector<double>& samples) {
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
}

namespace {

void check_sampling(const benchmarking::SampleOptions& options) {
  TORCH_CHECK_VALUE(options.min_samples >= 12 && options.max_samples >= options.min_samples, "sample_until needs 12 <= min_samples <= max_samples, but got ", options.min_samples, " and ",
                    options.max_samples);
}

}  // namespace

// Takes min_samples samples, then more while the interval is too wide, there are fewer than max_samples, and `seconds` have not passed since the beginning; min_samples are taken in any case.
// A series that has not settled (warmup_length has no answer) is not precise, however narrow its interval; its first half counts as warm-up. Nothing that was measured is dropped from `values`.
// Takes at most half as many samples again as a rule that looks after each one; computes O(n log n) between looks.
benchmarking::Sampling benchmarking::sample_until(const std::function<double()>& sample, const SampleOptions& options, const Clock& clock) {
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
}

namespace {

void check_turns(const std::vector<benchmarking::Timed>& subjects, const std::vector<std::int64_t>& calls) {
  TORCH_CHECK_VALUE(calls.size() == subjects.size(), "interleave needs a number of calls for each subject, but got ", calls.size(), " for ", subjects.size());
  for (const std::int64_t count : calls) TORCH_CHECK_VALUE(count > 0, "interleave needs at least one call in a block, but got ", count);
}

}  // namespace

// Each round runs one block of every subject in order, and then one of every subject in reverse order.
std::vector<std::vector<double>> benchmarking::interleave(const std::vector<Timed>& subjects, const std::vector<std::int64_t>& calls, int rounds, const std::function<void()>& pause) {
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
}

// The median over the rounds of theirs / ours, with its interval when there are at least six rounds.
benchmarking::Ratio benchmarking::ratio_of(const std::vector<double>& theirs, const std::vector<double>& ours) {
  TORCH_CHECK_VALUE(theirs.size() == ours.size() && !ours.empty(), "ratio_of needs the same rounds of both, at least one, but got ", theirs.size(), " and ", ours.size());
  std::vector<double> quotients;
  for (std::size_t i = 0; i < ours.size(); ++i) quotients.push_back(theirs[i] / ours[i]);
  Ratio ratio{median(quotients), std::nullopt};
  if (quotients.size() >= 6) ratio.interval = median_interval(quotients);
  return ratio;
}

}  // namespace tinytorch
