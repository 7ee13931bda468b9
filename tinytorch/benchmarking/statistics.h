// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "tinytorch/core/generator.h"

namespace tinytorch {

namespace benchmarking {

// The value below which lies the fraction q of the values, with linear interpolation between ranks, as torch.quantile does. O(n log n).
// Throws ValueError for no values and for q outside of [0, 1].
double quantile(std::vector<double> values, double q);

inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

}  // namespace benchmarking

namespace benchmarking {

struct Interval {
  double low = 0;
  double high = 0;
};

// An interval that holds the true median with at least this probability, whatever the distribution: two order statistics of the sample. O(n log n).
// Throws ValueError when the sample is too small for any such interval (below 6 values for 95 %).
Interval median_interval(std::vector<double> values, double confidence = 0.95);

}  // namespace benchmarking

namespace benchmarking {

using Statistic = std::function<double(const std::vector<double>&)>;

// As many values as there are, drawn from them with replacement.
std::vector<double> resample(const std::vector<double>& values, Generator& generator);

// The percentile bootstrap: between which values the statistic lies in `confidence` of all resamples. O(resamples * cost of the statistic).
// Source: Efron 1979. Throws ValueError for fewer than two values.
Interval bootstrap_interval(const std::vector<double>& values, const Statistic& statistic, double confidence = 0.95, int resamples = 1000, Generator generator = Generator(0));

}  // namespace benchmarking

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

}  // namespace tinytorch
