// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/profiling/event_list.h"
#include "tinytorch/profiling/events.h"

namespace tinytorch {

namespace autograd::profiler {

std::string shapes_of(const FunctionEvent& event);
// Groups events by scope and name, and by the sizes of their inputs if asked for. O(events * depth). REQUIRES: self times and memory are filled in.
EventList key_averages(const std::vector<FunctionEvent>& events, bool group_by_input_shape = false);

}  // namespace autograd::profiler

}  // namespace tinytorch
