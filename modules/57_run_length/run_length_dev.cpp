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
// # Library chapter 57: When a run is long enough
//
// Module 15 has MLPerf's fixed rules: a run counts when it made so many queries and took ten minutes. 270,336 queries are an hour at 13 ms each, and 19 days of a model that answers in six seconds. This chapter has the other way, early stopping: a run may end sooner, and pays for it with a number that is further out.
//
// The question is turned around. Not "how many queries until the 99th percentile is known?", but "of the queries that were made, how many may have been late, so that I still dare to say that 99 % of all queries to come would be in time?"
//
//     100 queries, none was late     a system that is late every 50th time (too often by half) gets through in 0.98^100 = 13 % of its attempts: this says nothing yet
//     459 queries, none was late     a system that is late every 100th time gets through in 0.99^459 = 1 %: with a confidence of 99 %, this one is better
//     662 queries, one was late      0.99^662 + 662 * 0.01 * 0.99^661 = 1 % again
//
// In general: whether a query is late is a coin that falls on "late" with probability 1 - p, if the system is just too bad. Of n queries, at most t are late with the probability of a binomial distribution, `sum over k <= t of C(n, k) (1 - p)^k p^(n - k)`, and the largest t for which that is at most 1 % may be forgiven.
// Nothing is assumed about the latencies themselves, but that one query's says nothing of the next one's. That is the doubtful part: where a slow moment makes a hundred queries in a row late, they are not a hundred coins.
//
// LoadGen computes the same sum as an incomplete beta function (`loadgen/early_stopping.cc` of mlcommons/inference). It looks after a run, not during it: who stops as soon as the numbers look good has tossed the coin until it fell well.

// %%
//| after 15
//| export benchmarking/run_length.h
#include <cstdint>
#include <optional>
#include "tinytorch/benchmarking/scenarios.h"
//| export benchmarking/run_length.cpp
#include <algorithm>
#include <cmath>
#include <functional>
#include "tinytorch/core/error.h"

// %%
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include "tinytorch/benchmarking/scenarios.h"
#include "tinytorch/core/error.h"
#include "tinytorch/core/generator.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export benchmarking/run_length.h
namespace benchmarking {

// How many of `queries` may have taken longer than a bound, so that one can say with this confidence: more than the fraction `percentile` of all queries stays within it. None if even the
// first one is too many. Throws ValueError unless both fractions are between 0 and 1. O(the result). Source: loadgen/early_stopping.cc of mlcommons/inference.
std::optional<std::int64_t> allowed_late(std::int64_t queries, double percentile, double confidence = 0.99);

// A latency that the percentile does not exceed, with this confidence: the smallest of those that was measured. None where there were too few queries (90 %: 64, 99 %: 662).
std::optional<double> latency_at_most(const Report& report, double percentile, double confidence = 0.99);

// Whether the report says, with this confidence, that the fraction `percentile` of queries is answered within `bound` seconds.
bool keeps_bound(const Report& report, double bound, double percentile = 0.99, double confidence = 0.99);

// single_stream(), until it was long enough: at least rules.queries queries and rules.seconds seconds.
Report single_stream_until(const Serve& serve, const RunRules& rules, const Time& time = real_time());

// How many queries a run at `rate` a second needs to be long enough: for server()'s arrivals and offline()'s samples, which are fixed beforehand. Throws ValueError unless the rate is positive.
std::int64_t queries_for(const RunRules& rules, double rate);

}  // namespace benchmarking

// %% [markdown]
// Each term of the sum is the one before it times `(n - k + 1) / k` and the odds of being late. The first, `p^n`, is smaller than the smallest double for some tens of thousands of queries already, so terms are carried as logarithms; what underflows is far below the 1 % that is asked about.

// %%
//| export benchmarking/run_length.cpp
std::optional<std::int64_t> benchmarking::allowed_late(std::int64_t queries, double percentile, double confidence) {
  TORCH_CHECK_VALUE(percentile > 0 && percentile < 1 && confidence > 0 && confidence < 1, "allowed_late takes a percentile and a confidence in (0, 1), but got ", percentile, " and ", confidence);
  const double log_odds = std::log((1 - percentile) / percentile);
  double log_term = static_cast<double>(queries) * std::log(percentile);  // the probability that none is late
  double at_most = std::exp(log_term);                                     // ... that at most `late` are
  std::int64_t late = 0;
  while (late <= queries && at_most <= 1 - confidence) {
    ++late;
    log_term += std::log(static_cast<double>(queries - late + 1) / static_cast<double>(late)) + log_odds;
    at_most += std::exp(log_term);
  }
  return late == 0 ? std::nullopt : std::optional(late - 1);
}

std::optional<double> benchmarking::latency_at_most(const Report& report, double percentile, double confidence) {
  const std::optional<std::int64_t> late = allowed_late(static_cast<std::int64_t>(report.latencies.size()), percentile, confidence);
  if (!late || *late == 0) return std::nullopt;
  // The *late-th from the end: for any bound just below it so many queries are late, and that many may be.
  std::vector<double> sorted = report.latencies;
  const auto place = sorted.end() - static_cast<std::ptrdiff_t>(*late);
  std::nth_element(sorted.begin(), place, sorted.end());
  return *place;
}

bool benchmarking::keeps_bound(const Report& report, double bound, double percentile, double confidence) {
  const auto late = std::count_if(report.latencies.begin(), report.latencies.end(), [bound](double latency) { return latency > bound; });
  const std::optional<std::int64_t> allowed = allowed_late(static_cast<std::int64_t>(report.latencies.size()), percentile, confidence);
  return allowed && late <= *allowed;
}

benchmarking::Report benchmarking::single_stream_until(const Serve& serve, const RunRules& rules, const Time& time) {
  Report report{"single-stream", 0, 0, {}};
  const double start = time.now();
  while (report.samples < rules.queries || report.seconds < rules.seconds) {
    report.latencies.push_back(single_stream(serve, 1, time).latencies.front());
    report.seconds = time.now() - start;
    ++report.samples;
  }
  return report;
}

std::int64_t benchmarking::queries_for(const RunRules& rules, double rate) {
  TORCH_CHECK_VALUE(rate > 0, "queries_for needs a positive rate, but got ", rate);
  return std::max(rules.queries, static_cast<std::int64_t>(std::ceil(rules.seconds * rate)));
}

// %%
TEST_CASE("allowed_late: as LoadGen counts") {
  CHECK(!benchmarking::allowed_late(458, 0.99).has_value());
  CHECK_EQ(benchmarking::allowed_late(459, 0.99).value(), 0);
  CHECK_EQ(benchmarking::allowed_late(661, 0.99).value(), 0);
  CHECK_EQ(benchmarking::allowed_late(662, 0.99).value(), 1);
  CHECK_EQ(benchmarking::allowed_late(63, 0.9).value(), 0);
  CHECK_EQ(benchmarking::allowed_late(64, 0.9).value(), 1);
  CHECK_EQ(benchmarking::allowed_late(10, 0.5, 0.9).value(), 2);  // 1 + 10 + 45 of 1,024, and with 120 more it is above a tenth
  CHECK_ERROR(benchmarking::allowed_late(10, 1), "a percentile and a confidence in (0, 1), but got 1 and 0.99");
}

TEST_CASE("allowed_late: as many queries as the fixed rule asks for may nearly be late by the percentile") {
  const std::int64_t queries = benchmarking::queries_needed(0.99);  // 270,336: 1 % are 2,703.36, give or take a deviation of 51.7
  const std::int64_t late = benchmarking::allowed_late(queries, 0.99).value();
  CHECK(late < 2703);
  CHECK(late > 2703 - 3 * 52);
  CHECK_EQ(late, 2583);
}

TEST_CASE("allowed_late: a system at the border passes once in a hundred times") {
  Generator generator(5);
  const std::int64_t allowed = benchmarking::allowed_late(2000, 0.99).value();
  int passed = 0;
  constexpr int attempts = 20000;
  for (int i = 0; i < attempts; ++i) {
    std::int64_t late = 0;
    for (int query = 0; query < 2000 && late <= allowed; ++query) late += generator.uniform_double() < 0.01;
    passed += late <= allowed;
  }
  CHECK(passed > attempts * 0.004);
  CHECK(passed < attempts * 0.0115);
}

TEST_CASE("latency_at_most and keeps_bound: what a short run may say") {
  benchmarking::Report report{"single-stream", 0, 0, {}};
  for (int i = 1; i <= 63; ++i) report.latencies.push_back(i);
  CHECK(!benchmarking::latency_at_most(report, 0.9).has_value());
  report.latencies.push_back(64);
  CHECK_EQ(benchmarking::latency_at_most(report, 0.9).value(), 64);  // the percentile itself would be 58
  CHECK_EQ(report.latency(0.9), 58);
  CHECK(benchmarking::keeps_bound(report, 63, 0.9));
  CHECK(!benchmarking::keeps_bound(report, 62.5, 0.9));
  CHECK(!benchmarking::keeps_bound(report, 100, 0.99));  // too few to say so, though none was late
  report.latencies.clear();
  for (int i = 1; i <= 10000; ++i) report.latencies.push_back(i);
  CHECK_EQ(benchmarking::latency_at_most(report, 0.99).value(), 10001 - benchmarking::allowed_late(10000, 0.99).value());
}

TEST_CASE("single_stream_until: goes on until both rules are kept") {
  double now = 0;
  const benchmarking::Time time{[&] { return now; }, [&](double moment) { now = std::max(now, moment); }};
  const auto run = [&](benchmarking::RunRules rules) { return benchmarking::single_stream_until([&](std::int64_t samples) { now += 0.5 * static_cast<double>(samples); }, rules, time); };
  const benchmarking::Report by_time = run({.queries = 64, .seconds = 600});
  CHECK_EQ(by_time.samples, 1200);
  CHECK_EQ(by_time.seconds, 600);
  CHECK_EQ(by_time.latencies.size(), 1200);
  CHECK_EQ(benchmarking::why_invalid(by_time, {.queries = 64, .seconds = 600}), "");
  const benchmarking::Report by_count = run({.queries = 1024, .seconds = 60});
  CHECK_EQ(by_count.samples, 1024);
  CHECK_EQ(by_count.seconds, 512);
  CHECK_EQ(benchmarking::queries_for({.queries = 64, .seconds = 600}, 10.001), 6001);
  CHECK_EQ(benchmarking::queries_for({.queries = 64, .seconds = 1}, 2), 64);
  CHECK_ERROR(benchmarking::queries_for({}, 0), "queries_for needs a positive rate, but got 0");
}

// %%
}  // namespace tinytorch
