// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch {

namespace kernels {

// What this machine can do in one thread, measured when first asked for (about a second).
struct MachinePeaks {
  double flops;            // float multiply-adds in registers, two operations each, per second
  double bytes_per_second; // from and to memory that no cache holds, as module 14's roofline has it (chapter 72): the better of reading an array and of adding to one in place
};
const MachinePeaks& machine_peaks();

// The most operations per second that a kernel of this arithmetic intensity (operations per byte) can reach: the lower of the two roofs.
double reachable_flops(const MachinePeaks& peaks, double intensity);

}  // namespace kernels

}  // namespace tinytorch
