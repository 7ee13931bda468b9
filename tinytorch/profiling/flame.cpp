// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/flame.h"

namespace tinytorch {

// Its contract stands at the declaration.
autograd::profiler::FlameNode autograd::profiler::flame_graph(const std::vector<FunctionEvent>& events) {
  FlameNode root;
  std::vector<FlameNode*> node_of;
  node_of.reserve(events.size());
  for (const FunctionEvent& event : events) {
    FlameNode& around = event.parent < 0 ? root : *node_of[static_cast<std::size_t>(event.parent)];
    FlameNode& node = around.children[event.name];
    node.total_ns += event.cpu_time_ns();
    node.self_ns += event.self_cpu_time_ns;
    ++node.count;
    if (event.parent < 0) root.total_ns += event.cpu_time_ns();
    node_of.push_back(&node);
  }
  return root;
}

}  // namespace tinytorch
