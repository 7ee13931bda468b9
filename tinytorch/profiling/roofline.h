// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/profiling/averages.h"

namespace tinytorch {

namespace autograd::profiler {

// The highest rate of an operator with `intensity` FLOPs per byte, in FLOP/s. O(1).
double attainable(const Peaks& peaks, double intensity);

// The operators of `averages` that have FLOPs and bytes of their own, those that took longest first. Rates are own work over self time.
std::vector<RooflinePoint> roofline(const EventList& averages, const Peaks& peaks);
}  // namespace autograd::profiler

}  // namespace tinytorch
