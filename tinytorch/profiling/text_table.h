// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tinytorch {

namespace autograd::profiler {

// `value` with so many decimals, and the unit behind it.
std::string with_decimals(double value, int decimals, const char* unit);
// 1234567 ns as "1.235ms"; 1536 bytes as "1.50 KB".
std::string format_time(std::int64_t nanoseconds);
std::string format_memory(std::int64_t bytes);

// A table in text, with a line of dashes above, below the head, and below.
class TextTable {
 public:
  void add_row(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace autograd::profiler

}  // namespace tinytorch
