// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/trace.h"

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tinytorch/serialize/file.h"

namespace tinytorch {

namespace {
using TraceJson = nlohmann::json;

const char* trace_category(RecordScope scope) {
  switch (scope) {
    case RecordScope::FUNCTION: return "cpu_op";
    case RecordScope::BACKWARD_FUNCTION: return "backward";
    case RecordScope::MODULE: return "module";
    default: return "user_annotation";
  }
}

std::string trace_layer(Layer layer) {
  switch (layer) {
    case Layer::CPU: return "CPU";
    case Layer::HalfPrecision: return "HalfPrecision";
    case Layer::PrivateUse1: return "PrivateUse1";
    case Layer::InplaceOrView: return "InplaceOrView";
    case Layer::Autograd: return "Autograd";
    default: return "layer " + std::to_string(static_cast<int>(layer));
  }
}

// What a viewer shows of an event that is selected.
TraceJson trace_arguments(const autograd::profiler::FunctionEvent& event) {
  TraceJson arguments = TraceJson::object();
  if (!event.inputs.empty()) {
    TraceJson sizes = TraceJson::array();
    TraceJson types = TraceJson::array();
    for (const auto& tensor : event.inputs) {
      sizes.push_back(std::vector<std::int64_t>(tensor.sizes.begin(), tensor.sizes.end()));
      std::ostringstream type;
      type << tensor.dtype;
      types.push_back(type.str());
    }
    arguments["Input Dims"] = std::move(sizes);
    arguments["Input type"] = std::move(types);
  }
  if (event.scope == RecordScope::FUNCTION) arguments["layer"] = trace_layer(event.layer);
  if (event.sequence_nr >= 0) arguments["Sequence number"] = event.sequence_nr;
  if (!event.nodes.empty()) arguments["Sequence number"] = event.nodes.back();
  if (event.flops > 0) arguments["flops"] = event.flops;
  if (event.bytes > 0) arguments["bytes"] = event.bytes;
  if (event.cpu_memory_usage != 0) arguments["memory"] = event.cpu_memory_usage;
  return arguments;
}

double microseconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }
}  // namespace

// One event as an entry of kind X.
namespace {
TraceJson complete_event(const autograd::profiler::FunctionEvent& event) {
  return TraceJson{{"ph", "X"},
                   {"name", event.name},
                   {"cat", trace_category(event.scope)},
                   {"pid", 1},
                   {"tid", event.thread},
                   {"ts", microseconds(event.start_ns)},
                   {"dur", microseconds(event.cpu_time_ns())},
                   {"args", trace_arguments(event)}};
}
}  // namespace

std::string autograd::profiler::chrome_trace(const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory) {
  TraceJson entries = TraceJson::array();
  entries.push_back({{"ph", "M"}, {"name", "process_name"}, {"pid", 1}, {"tid", 0}, {"args", {{"name", "tinytorch"}}}});
  std::set<std::uint64_t> threads;
  for (const FunctionEvent& event : events) threads.insert(event.thread);
  for (const std::uint64_t thread : threads)
    entries.push_back({{"ph", "M"}, {"name", "thread_name"}, {"pid", 1}, {"tid", thread}, {"args", {{"name", "thread " + std::to_string(thread)}}}});
  for (const FunctionEvent& event : events) {
    entries.push_back(complete_event(event));
    if (event.forward < 0) continue;
    const FunctionEvent& forward = events[static_cast<std::size_t>(event.forward)];
    const auto flow = [&](const char* phase, const FunctionEvent& end) {
      return TraceJson{{"ph", phase}, {"name", "fwdbwd"}, {"cat", "fwdbwd"}, {"id", event.sequence_nr}, {"pid", 1}, {"tid", end.thread}, {"ts", microseconds(end.start_ns)}};
    };
    entries.push_back(flow("s", forward));
    entries.push_back(flow("f", event));
    entries.back()["bp"] = "e";  // binds to the event around this time, not to the next one
  }
  for (const MemoryEvent& point : memory)
    entries.push_back({{"ph", "C"}, {"name", "memory"}, {"pid", 1}, {"tid", 0}, {"ts", microseconds(point.time_ns)}, {"args", {{"live bytes", point.live}}}});
  return TraceJson{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(entries)}}.dump(-1, ' ', false, TraceJson::error_handler_t::replace);
}

void autograd::profiler::save_chrome_trace(const std::string& path, const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory) {
  serialize::write_file_atomically(path, chrome_trace(events, memory));
}

}  // namespace tinytorch
