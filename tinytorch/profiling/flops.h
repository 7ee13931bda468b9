// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/profiling/events.h"

namespace tinytorch {

namespace autograd::profiler {

// Floating-point operations of one call of operator `event.name`, from the sizes of its inputs and outputs; 0 for an operator without a formula.
// Source: torch/csrc/profiler/util.cpp (computeFlops), which has formulas for fewer.
std::int64_t flops_of(const FunctionEvent& event);

// The bytes that the call must read and write at least. 0 for a view.
std::int64_t bytes_of(const FunctionEvent& event);

// Fills in self_flops and self_bytes, from flops, bytes and the parents. REQUIRES: parents stand before their children. O(events).
void compute_own_work(std::vector<FunctionEvent>& events);

}  // namespace autograd::profiler

}  // namespace tinytorch
