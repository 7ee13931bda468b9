// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/core/record_function.h"

namespace tinytorch {

namespace autograd::profiler {

// All events of one key. Times and memory are sums. Source: torch/autograd/profiler_util.py (FunctionEventAvg).
struct FunctionEventAvg {
  std::string key{};
  std::string input_shapes{};  // when grouped by them: "[[128, 784], [784, 512]]"
  RecordScope scope = RecordScope::FUNCTION;
  std::int64_t count = 0;
  std::int64_t self_cpu_time_total_ns = 0;
  std::int64_t cpu_time_total_ns = 0;  // an event inside of another of its own key does not count again
  std::int64_t self_cpu_memory_usage = 0;
  std::int64_t cpu_memory_usage = 0;  // likewise
  std::int64_t self_allocations = 0;
  std::int64_t peak_memory = 0;  // the largest of all
  std::int64_t flops = 0;
  std::int64_t bytes = 0;
  std::int64_t self_flops = 0;  // without what the operators that it called have counted
  std::int64_t self_bytes = 0;
};

struct EventList {
  std::vector<FunctionEventAvg> rows;
  // The row of this key; throws ValueError if there is none.
  const FunctionEventAvg& at(std::string_view key) const;
  // As PyTorch prints it. `sort_by`: self_cpu_time_total, cpu_time_total, cpu_time, self_cpu_memory_usage, cpu_memory_usage, peak_memory, count, flops or bytes; the largest
  // comes first. Throws ValueError for another.
  std::string table(std::string_view sort_by = "self_cpu_time_total", std::size_t row_limit = 100) const;
};

}  // namespace autograd::profiler

}  // namespace tinytorch
