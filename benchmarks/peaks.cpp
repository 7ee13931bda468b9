// What this machine can do at most, with one thread and with all: fused multiply-adds, and bytes from and to memory, measured. Prints one JSON array; `tito doctor --peaks` runs it.
#include <algorithm>
#include <cstdio>
#include <thread>

#include "tinytorch/profiling/peaks.h"

int main() {
  const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::printf("[");
  for (int threads = 1; threads <= all; threads = threads == 1 && all > 1 ? all : all + 1) {
    const auto peaks = tinytorch::autograd::profiler::measure_peaks(threads);
    std::printf("%s{\"threads\": %d, \"flops_per_second\": %.4g, \"bytes_per_second\": %.4g, \"simd\": \"%s\"}", threads == 1 ? "" : ", ", threads, peaks.flops_per_second, peaks.bytes_per_second,
                peaks.simd.c_str());
  }
  std::printf("]\n");
  return 0;
}
