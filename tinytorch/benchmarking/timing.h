// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "tinytorch/benchmarking/statistics.h"

namespace tinytorch {

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

namespace benchmarking {

// How many samples at the beginning are warm-up: the d in [0, n / 2] at which the rest has the smallest error (MSER, White 1997), the smallest such d. Nothing when that is at
// n / 2 of n > 1 samples: the series has not settled. O(n).
std::optional<std::size_t> warmup_length(const std::vector<double>& samples);

}  // namespace benchmarking

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

}  // namespace tinytorch
