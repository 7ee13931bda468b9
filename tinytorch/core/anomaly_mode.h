// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <vector>

#include "tinytorch/core/node.h"

namespace tinytorch {

// The calls in progress at one point of the program, innermost first, kept as addresses.
class StackTrace {
 public:
  static StackTrace here();
  // A line for each call: "function at file:line", as far as the program's symbols and debug information (-g) tell.
  std::vector<std::string> lines() const;
  std::string text() const;
  // The line of the innermost call that is not the framework's own.
  std::string caller() const;

 private:
  std::vector<void*> calls_;
};

// A mode for debugging, of all threads: nodes remember where they were recorded; a gradient that is NaN is an error; and an error in a
// backward pass warns with the calls that led to the node. Costs time: for finding faults only. Source: torch/csrc/autograd/anomaly_mode.h.
class AnomalyMode {
 public:
  static bool is_enabled() { return anomaly_mode.load(std::memory_order_relaxed); }
  static bool should_check_nan() { return check_nan_.load(std::memory_order_relaxed); }
  static void set_enabled(bool enabled, bool check_nan = true) {
    anomaly_mode = enabled;
    check_nan_ = check_nan;
  }

 private:
  static inline std::atomic<bool> check_nan_{true};
};

// Anomaly mode for a scope.
class DetectAnomalyGuard {
 public:
  DetectAnomalyGuard(bool check_nan = true);
  ~DetectAnomalyGuard() { AnomalyMode::set_enabled(was_enabled_, checked_nan_); }
  DetectAnomalyGuard(const DetectAnomalyGuard&) = delete;
  DetectAnomalyGuard& operator=(const DetectAnomalyGuard&) = delete;

 private:
  bool was_enabled_ = AnomalyMode::is_enabled();
  bool checked_nan_ = AnomalyMode::should_check_nan();
};

namespace autograd {
using tinytorch::AnomalyMode;
using tinytorch::DetectAnomalyGuard;
}  // namespace autograd

}  // namespace tinytorch
