// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/profiling/events.h"

namespace tinytorch {

namespace autograd::profiler {

// The events as a trace in Chrome's format, JSON: categories cpu_op, backward, module and user_annotation; shapes, dtypes, layer and FLOPs among the arguments; flows of category
// fwdbwd from operators to their nodes; live bytes as a counter. O(events).
std::string chrome_trace(const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory = {});
// The same into a file, whole or not at all. Throws Error if it cannot be written; what was there before is untouched.
void save_chrome_trace(const std::string& path, const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory = {});

}  // namespace autograd::profiler

}  // namespace tinytorch
