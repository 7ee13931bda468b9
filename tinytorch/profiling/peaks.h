// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/profiling/pictures.h"

namespace tinytorch {

namespace autograd::profiler {

// Measures the peaks of this machine with `threads` threads at once, float32; takes a second or two. Throws ValueError if threads < 1.
Peaks measure_peaks(int threads = 1);

// Of these, bytes per second alone: the better of reading an array that no cache holds and of adding to one in place.
double measure_bandwidth(int threads = 1);

}  // namespace autograd::profiler

}  // namespace tinytorch
