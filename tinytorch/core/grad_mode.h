// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/dispatch.h"

namespace tinytorch {

// Whether this thread records operators. Recording is a mode of the thread, on at first. Source: c10/core/GradMode.h.
struct GradMode {
  static constexpr std::uint32_t kOff = 1;        // a bit of ThreadState::modes
  static constexpr std::uint32_t kInference = 2;  // another: the stricter mode of chapter 99, in which nothing is recorded either
  static bool is_enabled() { return (thread_state().modes & kOff) == 0; }
  static void set_enabled(bool enabled) {
    thread_state().modes = enabled ? thread_state().modes & ~kOff : thread_state().modes | kOff;
  }
};

// Records, or does not, for a scope.
class AutoGradMode {
 public:
  explicit AutoGradMode(bool enabled) : saved_(GradMode::is_enabled()) { GradMode::set_enabled(enabled); }
  ~AutoGradMode() { GradMode::set_enabled(saved_); }
  AutoGradMode(const AutoGradMode&) = delete;
  AutoGradMode& operator=(const AutoGradMode&) = delete;

 private:
  bool saved_;
};

class NoGradGuard : public AutoGradMode {
 public:
  NoGradGuard() : AutoGradMode(false) {}
};

inline bool in_inference_mode() { return (thread_state().modes & GradMode::kInference) != 0; }
inline bool is_recording() { return GradMode::is_enabled() && !in_inference_mode(); }

}  // namespace tinytorch
