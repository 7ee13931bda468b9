// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/roofline.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/gemm.h"

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
    // Four times the memory of any cache that is likely: a sum over it, in whole cache lines.
    std::vector<std::uint64_t> memory((std::size_t{128} << 20) / sizeof(std::uint64_t), 1);
    const double reading = measure([&] {
      std::uint64_t sums[8] = {};
      for (std::size_t i = 0; i < memory.size(); i += 8)
        for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += memory[i + lane];
      do_not_optimize(sums);
    }, {.samples = 3}).minimum;
    return MachinePeaks{operations / seconds, static_cast<double>(memory.size() * sizeof(std::uint64_t)) / reading};
  }();
  return peaks;
}

}  // namespace tinytorch
