// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch {

namespace kernels {

// What this machine can do in one thread, measured when first asked for (some tens of milliseconds).
struct MachinePeaks {
  double flops;            // float multiply-adds in registers, two operations each, per second
  double bytes_per_second; // reading memory that no cache holds
};
const MachinePeaks& machine_peaks();

// The most operations per second that a kernel of this arithmetic intensity (operations per byte) can reach: the lower of the two roofs.
double reachable_flops(const MachinePeaks& peaks, double intensity);

}  // namespace kernels

}  // namespace tinytorch
