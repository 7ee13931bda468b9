// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/event_list.h"

#include <algorithm>
#include <utility>

#include "tinytorch/core/error.h"
#include "tinytorch/profiling/text_table.h"

namespace tinytorch {

const autograd::profiler::FunctionEventAvg& autograd::profiler::EventList::at(std::string_view key) const {
  const auto found = std::find_if(rows.begin(), rows.end(), [key](const FunctionEventAvg& row) { return row.key == key; });
  TORCH_CHECK_VALUE(found != rows.end(), "no event is called '", key, "'\n[at] table() shows the names that there are.");
  return *found;
}

namespace {
using autograd::profiler::FunctionEventAvg;
// What a row is sorted by.
std::int64_t FunctionEventAvg::* sort_column(std::string_view name) {
  using Column = std::pair<std::string_view, std::int64_t FunctionEventAvg::*>;
  static constexpr Column columns[] = {{"self_cpu_time_total", &FunctionEventAvg::self_cpu_time_total_ns}, {"cpu_time_total", &FunctionEventAvg::cpu_time_total_ns},
                                       {"self_cpu_memory_usage", &FunctionEventAvg::self_cpu_memory_usage}, {"cpu_memory_usage", &FunctionEventAvg::cpu_memory_usage},
                                       {"peak_memory", &FunctionEventAvg::peak_memory},                     {"count", &FunctionEventAvg::count},
                                       {"flops", &FunctionEventAvg::flops},                                 {"bytes", &FunctionEventAvg::bytes}};
  for (const auto& [known, column] : columns)
    if (known == name) return column;
  throw ValueError("cannot sort by '" + std::string(name) + "'\n[table] choose self_cpu_time_total, cpu_time_total, cpu_time, self_cpu_memory_usage, cpu_memory_usage, peak_memory, count, flops or bytes.");
}

std::string percent(std::int64_t part, std::int64_t whole) { return autograd::profiler::with_decimals(whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole), 2, "%"); }
}  // namespace

std::string autograd::profiler::EventList::table(std::string_view sort_by, std::size_t row_limit) const {
  std::vector<FunctionEventAvg> sorted = rows;
  if (sort_by == "cpu_time") {
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.cpu_time_total_ns / a.count > b.cpu_time_total_ns / b.count; });
  } else {
    const auto column = sort_column(sort_by);
    std::stable_sort(sorted.begin(), sorted.end(), [column](const auto& a, const auto& b) { return a.*column > b.*column; });
  }
  std::int64_t self_total = 0;
  bool any_memory = false, any_flops = false, any_shapes = false;
  for (const FunctionEventAvg& row : rows) {
    self_total += row.self_cpu_time_total_ns;
    any_memory = any_memory || row.self_allocations != 0 || row.self_cpu_memory_usage != 0;
    any_flops = any_flops || row.flops != 0;
    any_shapes = any_shapes || !row.input_shapes.empty();
  }
  TextTable out;
  std::vector<std::string> head = {"Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"};
  if (any_memory) head.insert(head.end(), {"CPU Mem", "Self CPU Mem", "Peak Mem"});
  head.emplace_back("# of Calls");
  if (any_flops) head.emplace_back("Total MFLOPs");
  if (any_shapes) head.emplace_back("Input Shapes");
  out.add_row(std::move(head));
  for (std::size_t i = 0; i < std::min(row_limit, sorted.size()); ++i) {
    const FunctionEventAvg& row = sorted[i];
    std::vector<std::string> cells = {row.key.size() > 55 ? row.key.substr(0, 52) + "..." : row.key,
                                      percent(row.self_cpu_time_total_ns, self_total),
                                      format_time(row.self_cpu_time_total_ns),
                                      percent(row.cpu_time_total_ns, self_total),
                                      format_time(row.cpu_time_total_ns),
                                      format_time(row.cpu_time_total_ns / row.count)};
    if (any_memory) cells.insert(cells.end(), {format_memory(row.cpu_memory_usage), format_memory(row.self_cpu_memory_usage), format_memory(row.peak_memory)});
    cells.push_back(std::to_string(row.count));
    if (any_flops) cells.push_back(row.flops == 0 ? "--" : with_decimals(static_cast<double>(row.flops) / 1e6, 3, ""));
    if (any_shapes) cells.push_back(row.input_shapes);
    out.add_row(std::move(cells));
  }
  return out.text() + "Self CPU time total: " + format_time(self_total) + "\n";
}

}  // namespace tinytorch
