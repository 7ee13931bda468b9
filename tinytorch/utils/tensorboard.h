// From the lesson modules/67_watching/watching_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace utils::tensorboard {

// Writes scalars and histograms of a run for TensorBoard, into a new file events.out.tfevents.* in `log_dir` (made if it is not there). Each value is on its way to the
// disk when the call returns. Source: torch/utils/tensorboard/writer.py.
class SummaryWriter {
 public:
  // `clock` gives the time of each event, in seconds since 1970.
  explicit SummaryWriter(const std::string& log_dir = "runs", std::function<double()> clock = now);
  ~SummaryWriter();
  SummaryWriter(const SummaryWriter&) = delete;
  SummaryWriter& operator=(const SummaryWriter&) = delete;

  void add_scalar(const std::string& tag, double value, std::int64_t step = 0);
  // The distribution of the values, in TensorFlow's buckets, which grow by a tenth from 1e-12 in both directions. O(elements * log(buckets)).
  // Throws for an empty tensor and for values that are not finite.
  void add_histogram(const std::string& tag, const Tensor& values, std::int64_t step = 0);
  const std::string& path() const { return path_; }

 private:
  static double now();
  void append(std::string_view event_fields, std::int64_t step);

  std::function<double()> clock_;
  std::string path_;
  int fd_ = -1;
};

}  // namespace utils::tensorboard

}  // namespace tinytorch
