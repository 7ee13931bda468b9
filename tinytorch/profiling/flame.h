// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/profiling/events.h"

namespace tinytorch {

namespace autograd::profiler {

// Merges events by their stack of names, over all threads. The root stands for everything: its total is that of the events without a parent. O(events log names).
// REQUIRES: self times are filled in; parents stand before their children.
FlameNode flame_graph(const std::vector<FunctionEvent>& events);
}  // namespace autograd::profiler

}  // namespace tinytorch
