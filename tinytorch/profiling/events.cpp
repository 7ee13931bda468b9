// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/events.h"

#include <algorithm>
#include <unordered_map>

namespace tinytorch {

std::int64_t autograd::profiler::TensorInfo::numel() const { return multiply_sizes(sizes); }

autograd::profiler::TensorInfo autograd::profiler::info_of(const TensorImpl& tensor) {
  std::int64_t distinct = 1;
  for (std::size_t i = 0; i < tensor.sizes.size(); ++i) distinct *= tensor.strides[i] == 0 && tensor.sizes[i] > 0 ? 1 : tensor.sizes[i];
  return {tensor.sizes, tensor.dtype, distinct * static_cast<std::int64_t>(elementSize(tensor.dtype)), tensor.storage.get()};
}

// Its contract stands at the declaration.
void autograd::profiler::compute_self_times(std::vector<FunctionEvent>& events) {
  for (FunctionEvent& event : events) event.self_cpu_time_ns = event.cpu_time_ns();
  for (const FunctionEvent& event : events)
    if (event.parent >= 0) events[static_cast<std::size_t>(event.parent)].self_cpu_time_ns -= event.cpu_time_ns();
}

void autograd::profiler::add_up_memory(std::vector<FunctionEvent>& events) {
  for (FunctionEvent& event : events) event.cpu_memory_usage = event.self_cpu_memory_usage;
  for (auto event = events.rbegin(); event != events.rend(); ++event)
    if (event->parent >= 0) events[static_cast<std::size_t>(event->parent)].cpu_memory_usage += event->cpu_memory_usage;
}

// Sets `forward` of each BACKWARD_FUNCTION to the index of the event that recorded its node; -1 if none of them did.
void autograd::profiler::link_backward(std::vector<FunctionEvent>& events) {
  std::unordered_map<std::uint64_t, std::int64_t> recorded_by;
  for (std::size_t i = 0; i < events.size(); ++i)
    for (const std::uint64_t node : events[i].nodes) recorded_by[node] = static_cast<std::int64_t>(i);
  for (FunctionEvent& event : events) {
    event.forward = -1;
    if (event.scope != RecordScope::BACKWARD_FUNCTION || event.sequence_nr < 0) continue;
    if (const auto found = recorded_by.find(static_cast<std::uint64_t>(event.sequence_nr)); found != recorded_by.end()) event.forward = found->second;
  }
}

}  // namespace tinytorch
