// From the lesson modules/57_run_length/run_length_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <optional>

#include "tinytorch/benchmarking/scenarios.h"

namespace tinytorch {

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

}  // namespace tinytorch
