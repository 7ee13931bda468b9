// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/roofline.h"

#include <algorithm>
#include <cstdint>

#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/profiling/peaks.h"

namespace tinytorch {

// See the declaration. O(1).
double kernels::reachable_flops(const MachinePeaks& peaks, double intensity) {
  return std::min(peaks.flops, intensity * peaks.bytes_per_second);
}

// Both roofs of this machine, promised above: the table knows what to spin for the arithmetic.
const kernels::MachinePeaks& kernels::machine_peaks() {
  static const MachinePeaks peaks = [] {
    const GemmTable<float>& table = gemm_table<float>();
    float sink = 0;
    constexpr std::int64_t rounds = 20000;
    const double operations = table.spin_arithmetic(rounds, &sink);
    const double seconds = measure([&] { do_not_optimize(table.spin_arithmetic(rounds, &sink)); }).minimum;
    return MachinePeaks{operations / seconds, autograd::profiler::measure_bandwidth(1)};
  }();
  return peaks;
}

}  // namespace tinytorch
