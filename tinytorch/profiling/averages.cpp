// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/averages.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <tuple>

namespace tinytorch {

std::string autograd::profiler::shapes_of(const FunctionEvent& event) {
  std::ostringstream out;
  out << '[';
  for (std::size_t i = 0; i < event.inputs.size(); ++i) out << (i > 0 ? ", " : "") << IntArrayRef(event.inputs[i].sizes);
  out << ']';
  return out.str();
}

// Its contract stands at the declaration. Rows are in the order in which their keys first appear.
autograd::profiler::EventList autograd::profiler::key_averages(const std::vector<FunctionEvent>& events, bool group_by_input_shape) {
  EventList list;
  std::map<std::tuple<RecordScope, std::string, std::string>, std::size_t> numbers;
  std::vector<std::size_t> row_of;
  row_of.reserve(events.size());
  for (const FunctionEvent& event : events) {
    const std::string shapes = group_by_input_shape ? shapes_of(event) : std::string();
    const auto [entry, is_new] = numbers.try_emplace({event.scope, event.name, shapes}, list.rows.size());
    if (is_new) {
      FunctionEventAvg& fresh = list.rows.emplace_back();
      fresh.key = event.name;
      fresh.input_shapes = shapes;
      fresh.scope = event.scope;
    }
    const std::size_t number = entry->second;
    row_of.push_back(number);
    FunctionEventAvg& row = list.rows[number];
    ++row.count;
    row.self_cpu_time_total_ns += event.self_cpu_time_ns;
    row.self_cpu_memory_usage += event.self_cpu_memory_usage;
    row.self_allocations += event.self_allocations;
    row.peak_memory = std::max(row.peak_memory, event.peak_memory);
    row.flops += event.flops;
    row.bytes += event.bytes;
    row.self_flops += event.self_flops;
    row.self_bytes += event.self_bytes;
    bool inside_of_itself = false;
    for (std::int64_t up = event.parent; up >= 0; up = events[static_cast<std::size_t>(up)].parent)
      inside_of_itself = inside_of_itself || row_of[static_cast<std::size_t>(up)] == number;
    if (inside_of_itself) continue;
    row.cpu_time_total_ns += event.cpu_time_ns();
    row.cpu_memory_usage += event.cpu_memory_usage;
  }
  return list;
}

}  // namespace tinytorch
