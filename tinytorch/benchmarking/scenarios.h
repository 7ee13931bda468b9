// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tinytorch/core/generator.h"

namespace tinytorch {

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

}  // namespace tinytorch
