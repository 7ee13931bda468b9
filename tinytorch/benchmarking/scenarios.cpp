// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.

#include "tinytorch/benchmarking/scenarios.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "tinytorch/core/error.h"
#include "tinytorch/core/special.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

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

// count moments, increasing, whose gaps (the first one from 0) are exponential with mean 1 / rate.
std::vector<double> benchmarking::poisson_arrivals(double rate, std::int64_t count, Generator generator) {
  TORCH_CHECK_VALUE(rate > 0, "poisson_arrivals needs a positive rate, but got ", rate);
  std::vector<double> arrivals;
  double moment = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    moment -= std::log1p(-generator.uniform_double()) / rate;
    arrivals.push_back(moment);
  }
  return arrivals;
}

// Serves the queries in order of arrival, in batches of those that have arrived, at most max_batch; latency counts from arrivals[i], moved to the beginning of the test.
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
    for (std::size_t i = next; i < next + count; ++i) report.latencies.push_back(answered - arrivals[i]);
    report.seconds = answered - arrivals.front();
    next += count;
  }
  return report;
}

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

}  // namespace tinytorch
