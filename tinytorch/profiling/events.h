// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/core/record_function.h"
#include "tinytorch/core/tensor.h"
#include "tinytorch/profiling/pictures.h"

namespace tinytorch {

namespace autograd::profiler {

// What is kept of a tensor that went into an operator, or came out.
struct TensorInfo {
  DimVector sizes{};
  ScalarType dtype = kFloat;
  std::int64_t bytes = 0;         // of its distinct elements: a dimension of stride 0 counts once
  const void* storage = nullptr;  // whose bytes they are; to be compared, not followed
  std::int64_t numel() const;
};
TensorInfo info_of(const TensorImpl& tensor);

// One thing that happened in one thread. Times are in nanoseconds from the start of the profile. Source: torch/autograd/profiler_util.py (FunctionEvent).
struct FunctionEvent {
  std::string name{};
  RecordScope scope = RecordScope::FUNCTION;
  Layer layer{};                       // of an operator: the lowest layer that ran, which did the work
  const void* source = nullptr;        // the operator or module
  std::uint64_t thread = 0;            // 1, 2, ... in the order in which threads appeared
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::int64_t parent = -1;            // the event around it, by index; -1 for none
  std::vector<TensorInfo> inputs{};
  std::vector<TensorInfo> outputs{};
  std::vector<std::uint64_t> nodes{};  // sequence numbers of the nodes that it recorded for the backward pass
  std::int64_t sequence_nr = -1;       // of a BACKWARD_FUNCTION: the number of its node
  std::int64_t forward = -1;           // of a BACKWARD_FUNCTION: the event that recorded its node, by index

  std::int64_t self_cpu_time_ns = 0;
  std::int64_t self_cpu_memory_usage = 0;  // bytes taken less bytes given back, without its children's
  std::int64_t cpu_memory_usage = 0;       // and with them
  std::int64_t self_allocations = 0;       // calls that took memory, without its children's
  std::int64_t peak_memory = 0;            // the most bytes that were live during it, above those at its start
  std::int64_t live_at_start = 0;
  std::int64_t flops = 0;                  // by the formula of its operator; 0 where there is none
  std::int64_t bytes = 0;                  // that must be moved at least
  std::int64_t self_flops = 0;             // of these, what no operator that it called has counted: the work of its self time
  std::int64_t self_bytes = 0;

  std::int64_t cpu_time_ns() const { return end_ns - start_ns; }
};

}  // namespace autograd::profiler

namespace autograd::profiler {

// Fills in self_cpu_time_ns of all events, from their times and parents. O(events).
void compute_self_times(std::vector<FunctionEvent>& events);
// Fills in cpu_memory_usage, from self_cpu_memory_usage and the parents. REQUIRES: parents stand before their children. O(events).
void add_up_memory(std::vector<FunctionEvent>& events);
// Fills in `forward` of the nodes of backward passes. O(events).
void link_backward(std::vector<FunctionEvent>& events);

}  // namespace autograd::profiler

}  // namespace tinytorch
