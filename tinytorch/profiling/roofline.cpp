// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/roofline.h"

#include <algorithm>

namespace tinytorch {

// The roofs: memory's on the left of the ridge, arithmetic's on the right.
double autograd::profiler::attainable(const Peaks& peaks, double intensity) {
  return std::min(peaks.flops_per_second, intensity * peaks.bytes_per_second);
}

std::vector<autograd::profiler::RooflinePoint> autograd::profiler::roofline(const EventList& averages, const Peaks& peaks) {
  std::vector<RooflinePoint> points;
  for (const FunctionEventAvg& row : averages.rows) {
    if (row.self_flops == 0 || row.self_bytes == 0 || row.self_cpu_time_total_ns == 0) continue;
    RooflinePoint point;
    point.name = row.key;
    point.intensity = static_cast<double>(row.self_flops) / static_cast<double>(row.self_bytes);
    point.flops_per_second = static_cast<double>(row.self_flops) / (static_cast<double>(row.self_cpu_time_total_ns) * 1e-9);
    point.share = point.flops_per_second / attainable(peaks, point.intensity);
    point.time_ns = row.self_cpu_time_total_ns;
    points.push_back(std::move(point));
  }
  std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.time_ns > b.time_ns; });
  return points;
}

}  // namespace tinytorch
