// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/module.h"
#include "tinytorch/profiling/averages.h"
#include "tinytorch/profiling/recorder.h"

namespace tinytorch {

namespace autograd::profiler {

// What to record, beside names and times. All of it is on by default: Part 2 of the lesson measures what it costs.
struct ProfilerConfig {
  bool report_input_shapes = true;  // sizes and dtypes; without them there are no FLOPs and no bytes
  bool profile_memory = true;       // allocations, by event and over time
  bool with_modules = true;         // the forward pass of modules that are called as net(x), or inside of a Sequential
};

// A finished record. Source: torch/csrc/autograd/profiler_kineto.h (ProfilerResult).
class ProfilerResult {
 public:
  ProfilerResult() = default;
  ProfilerResult(std::vector<FunctionEvent> events, std::vector<MemoryEvent> memory, std::int64_t duration_ns);

  // The events of one thread after another, each thread's in the order in which they began; parents stand before their children.
  const std::vector<FunctionEvent>& events() const { return events_; }
  // Bytes held by tensors of the whole process, in order of time.
  const std::vector<MemoryEvent>& memory_timeline() const { return memory_; }
  std::int64_t duration_ns() const { return duration_ns_; }
  EventList key_averages(bool group_by_input_shape = false) const;
  // Writes a trace that Chrome (about:tracing) and Perfetto (ui.perfetto.dev) open. Throws Error if the file cannot be written.
  void save(const std::string& path) const;
  // Puts the names that parts of `root` have in its tree before the events of these modules: "Linear" becomes "fc1 (Linear)".
  void name_modules(const nn::Module& root, const std::string& prefix = "model");

 private:
  std::vector<FunctionEvent> events_;
  std::vector<MemoryEvent> memory_;
  std::int64_t duration_ns_ = 0;
};

// Begins to record what all threads do. One profile at a time: throws Error if one is running.
void enableProfiler(const ProfilerConfig& config = {});
// Ends the profile and returns what was recorded; what is not finished ends now. Throws Error if none is running.
ProfilerResult disableProfiler();
bool profilerEnabled();

// Profiles a scope:
//
//     autograd::profiler::profile profile;
//     train_step();
//     profile.stop();
//     std::cout << profile.result().key_averages().table();
//
// Source: torch/autograd/profiler.py.
class profile {
 public:
  explicit profile(const ProfilerConfig& config = {});
  ~profile();
  profile(const profile&) = delete;
  profile& operator=(const profile&) = delete;

  void stop();
  // REQUIRES: stop() was called; throws Error otherwise.
  const ProfilerResult& result() const;
  ProfilerResult& result();

 private:
  bool running_ = true;
  ProfilerResult result_;
};

// Profiles a scope and saves its trace as the file `path`. A trace that cannot be written is a warning. Source: torch/csrc/autograd/profiler_legacy.h.
class RecordProfile {
 public:
  explicit RecordProfile(std::string path) : path_(std::move(path)) { enableProfiler(); }
  ~RecordProfile();
  RecordProfile(const RecordProfile&) = delete;
  RecordProfile& operator=(const RecordProfile&) = delete;

 private:
  std::string path_;
};

}  // namespace autograd::profiler

// Names a part of the program, until the end of the block: RECORD_USER_SCOPE("load batch"). Source: aten/src/ATen/record_function.h.
#define RECORD_USER_SCOPE(name) RECORD_USER_SCOPE_ON(name, __LINE__)
#define RECORD_USER_SCOPE_ON(name, line) RECORD_USER_SCOPE_AT(name, line)
#define RECORD_USER_SCOPE_AT(name, line) RECORD_USER_SCOPE_AS(name, user_scope_##line)
#define RECORD_USER_SCOPE_AS(name, variable)                                     \
  ::tinytorch::RecordFunction variable(::tinytorch::RecordScope::USER_SCOPE);    \
  variable.before(name)

}  // namespace tinytorch
