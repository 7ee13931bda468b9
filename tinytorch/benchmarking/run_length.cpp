// From the lesson modules/57_run_length/run_length_dev.cpp:
// edit the module, not this file.

#include "tinytorch/benchmarking/run_length.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "tinytorch/core/error.h"

namespace tinytorch {

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

}  // namespace tinytorch
