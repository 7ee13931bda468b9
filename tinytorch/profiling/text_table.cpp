// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/text_table.h"

#include <algorithm>
#include <cstdio>

namespace tinytorch {

std::string autograd::profiler::with_decimals(double value, int decimals, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f%s", decimals, value, unit);
  return text;
}

std::string autograd::profiler::format_time(std::int64_t nanoseconds) {
  const auto value = static_cast<double>(nanoseconds);
  return value >= 1e9 ? with_decimals(value / 1e9, 3, "s") : value >= 1e6 ? with_decimals(value / 1e6, 3, "ms") : with_decimals(value / 1e3, 3, "us");
}

std::string autograd::profiler::format_memory(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  const double size = bytes < 0 ? -value : value;
  if (size >= 1 << 30) return with_decimals(value / (1 << 30), 2, " GB");
  if (size >= 1 << 20) return with_decimals(value / (1 << 20), 2, " MB");
  return size >= 1 << 10 ? with_decimals(value / (1 << 10), 2, " KB") : std::to_string(bytes) + " B";
}

void autograd::profiler::TextTable::add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

std::string autograd::profiler::TextTable::text() const {
  std::vector<std::size_t> widths(rows_.at(0).size(), 12);
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string line;
  for (const std::size_t width : widths) line += std::string(width, '-') + "  ";
  std::string out = line + "\n";
  for (std::size_t number = 0; number < rows_.size(); ++number) {
    for (std::size_t i = 0; i < rows_[number].size(); ++i) out += std::string(widths[i] - rows_[number][i].size(), ' ') + rows_[number][i] + "  ";
    out += "\n" + (number == 0 ? line + "\n" : std::string());
  }
  return out + line + "\n";
}

}  // namespace tinytorch
