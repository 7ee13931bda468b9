// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace tinytorch {

struct CacheInfo {
  int level = 0;
  int64_t bytes = 0;
};

// What a result was measured on. Unknown strings are empty, unknown numbers 0.
struct SystemInfo {
  std::string os;
  std::string compiler;
  std::string standard;
  bool optimized = false;  // the library was compiled with optimization
  std::string cpu_model;
  int cores = 0;  // logical
  int64_t memory_bytes = 0;
  int64_t cache_line_bytes = 0;
  std::vector<CacheInfo> caches;  // data and unified caches, nearest first
  std::vector<std::string> simd;  // what the CPU supports, not what the code was compiled for
};

SystemInfo system_info();
std::ostream& operator<<(std::ostream& out, const SystemInfo& info);

}  // namespace tinytorch
