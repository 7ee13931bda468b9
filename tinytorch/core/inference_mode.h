// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/grad_mode.h"

namespace tinytorch {

// For a scope: nothing is recorded, and new tensors are inference tensors. With false, the opposite, inside such a scope.
// Source: c10/core/InferenceMode.h.
class InferenceMode {
 public:
  explicit InferenceMode(bool enabled = true) : saved_(thread_state().modes) {
    constexpr std::uint32_t both = GradMode::kOff | GradMode::kInference;
    thread_state().modes = enabled ? saved_ | both : saved_ & ~both;
  }
  ~InferenceMode() { thread_state().modes = saved_; }
  InferenceMode(const InferenceMode&) = delete;
  InferenceMode& operator=(const InferenceMode&) = delete;
  static bool is_enabled() { return in_inference_mode(); }

 private:
  std::uint32_t saved_;
};

}  // namespace tinytorch
