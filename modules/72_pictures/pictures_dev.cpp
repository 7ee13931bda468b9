// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 72: Pictures of a profile
//
// What module 14 draws with: tables of text, flame views, memory over time, rooflines, and the two numbers under which a roofline hangs. Everything here takes plain values; what they mean, and where they come from, is the lesson's matter.
// No exercises; it comes to learners prebuilt.
//
//     module 14    events ──► averages ──► EventList          time, memory and shares by name
//                    │           └───────► roofline_text, roofline_svg ◄── measure_peaks
//                    ├──► FlameNode ─────► flame_text, flame_svg
//                    └──► MemoryEvent ───► memory_text

// %%
//| after 12
//| export profiling/text_table.h
#include <cstdint>
#include <string>
#include <utility>
#include <vector>
//| export profiling/text_table.cpp
#include <algorithm>
#include <cstdio>
//| export profiling/event_list.h
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/core/record_function.h"
//| export profiling/event_list.cpp
#include <algorithm>
#include <utility>
#include "tinytorch/core/error.h"
#include "tinytorch/profiling/text_table.h"
//| export profiling/pictures.h
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>
//| export profiling/pictures.cpp
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <optional>
#include <sstream>
#include <utility>
#include "tinytorch/core/error.h"
#include "tinytorch/profiling/text_table.h"
//| export profiling/peaks.h
#include "tinytorch/profiling/pictures.h"
//| export profiling/peaks.cpp
#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <thread>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#endif
#include "tinytorch/core/error.h"
#include "tinytorch/core/system_info.h"
#include "tinytorch/core/utils.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// %%
#include "tito/lesson.h"
#include <cmath>
#include <string>
#include <vector>
#include "tinytorch/core/error.h"
#include "tinytorch/profiling/event_list.h"
#include "tinytorch/profiling/peaks.h"
#include "tinytorch/profiling/pictures.h"
#include "tinytorch/profiling/text_table.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Numbers and tables
//
// Three digits behind the point and a unit, as PyTorch's profiler writes them, and columns that are as wide as they must be.

// %%
//| export profiling/text_table.h
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

// %%
//| export profiling/text_table.cpp
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

// %%
TEST_CASE("times, memory and tables as text") {
  using namespace autograd::profiler;
  CHECK_EQ(format_time(1234567), "1.235ms");
  CHECK_EQ(format_time(999), "0.999us");
  CHECK_EQ(format_time(2500000000), "2.500s");
  CHECK_EQ(format_memory(-1536), "-1.50 KB");
  CHECK_EQ(format_memory(12), "12 B");
  TextTable table;
  table.add_row({"Name", "Calls"});
  table.add_row({"a name of many letters", "3"});
  CHECK_EQ(table.text(),
           "----------------------  ------------  \n"
           "                  Name         Calls  \n"
           "----------------------  ------------  \n"
           "a name of many letters             3  \n"
           "----------------------  ------------  \n");
}

// %% [markdown]
// ## Averages
//
// What module 14 adds up by name, in PyTorch's columns.

// %%
//| export profiling/event_list.h
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

// %%
//| export profiling/event_list.cpp
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

// %%
//| export profiling/event_list.cpp
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

// %%
TEST_CASE("table: sorted, limited, in PyTorch's columns") {
  using namespace autograd::profiler;
  EventList list;
  list.rows.resize(2);
  list.rows[0].key = "add";
  list.rows[0].count = 2;
  list.rows[0].self_cpu_time_total_ns = list.rows[0].cpu_time_total_ns = 1500;
  list.rows[1].key = "mm";
  list.rows[1].count = 1;
  list.rows[1].self_cpu_time_total_ns = list.rows[1].cpu_time_total_ns = 3000;
  const std::string table = list.table();
  CHECK_LT(table.find(" mm "), table.find(" add "));
  CHECK_LT(list.table("count").find(" add "), list.table("count").find(" mm "));
  CHECK_EQ(list.table("cpu_time", 1).find(" add "), std::string::npos);
  CHECK_NE(table.find("66.67%"), std::string::npos);
  CHECK_NE(table.find("0.750us"), std::string::npos);  // on average
  CHECK_NE(table.find("Self CPU time total: 4.500us"), std::string::npos);
  CHECK_NE(table.find("Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg    # of Calls"), std::string::npos);
  CHECK_EQ(table.find("MFLOPs"), std::string::npos);
  list.rows[1].flops = 2000000;
  CHECK_NE(list.table().find("2.000"), std::string::npos);
  CHECK_ERROR(list.table("speed"), "cannot sort by 'speed'");
  CHECK_ERROR(list.at("conv"), "no event is called 'conv'");
  CHECK_EQ(list.at("mm").count, 1);
}

// %% [markdown]
// ## Flame views and memory
//
// A flame view draws a tree: each box is as wide as its share, its children stand below it, the widest first. As text it has one line for each depth; as SVG it has times and calls under the pointer.
//
// Names come from programs, and a program may name a scope as it likes. An SVG document is XML, which knows no control characters but tabs and ends of lines, and is UTF-8: one byte of another kind, and no browser draws any of it. `xml_text` puts U+FFFD in the place of each.

// %%
//| export profiling/pictures.h
namespace autograd::profiler {

// `live` bytes were held by tensors from this time on.
struct MemoryEvent {
  std::int64_t time_ns = 0;
  std::int64_t live = 0;
};

// All events with the same names around them.
struct FlameNode {
  std::int64_t total_ns = 0;
  std::int64_t self_ns = 0;
  std::int64_t count = 0;
  std::map<std::string, FlameNode> children{};
};

// As lines of text of `width` columns, one for each depth up to `depth`.
std::string flame_text(const FlameNode& root, std::size_t width = 100, std::size_t depth = 12);
// As a picture for a browser, with times and calls under the pointer.
std::string flame_svg(const FlameNode& root, int width = 1200);
// Live memory over time, as text: the highest level of each column. Nothing for an empty timeline.
// Throws ValueError for a picture without a column or a row.
std::string memory_text(const std::vector<MemoryEvent>& timeline, std::size_t width = 100, std::size_t height = 10);

// `text` as it may stand in an XML document: & < > and " as entities, U+FFFD for what XML does not know (control characters, bytes that are not UTF-8).
std::string xml_text(std::string_view text);

}  // namespace autograd::profiler

// %%
//| export profiling/pictures.cpp
namespace {
using autograd::profiler::FlameNode;
// The children of a node, the widest first.
std::vector<std::pair<std::string_view, const FlameNode*>> widest_first(const FlameNode& node) {
  std::vector<std::pair<std::string_view, const FlameNode*>> children;
  for (const auto& [name, child] : node.children) children.emplace_back(name, &child);
  std::stable_sort(children.begin(), children.end(), [](const auto& a, const auto& b) { return a.second->total_ns > b.second->total_ns; });
  return children;
}

// Writes the boxes of a node's children into lines[depth], from column `start`.
void draw_children(const FlameNode& node, double start, double columns_per_ns, std::size_t depth, std::vector<std::string>& lines) {
  if (depth >= lines.size()) return;
  for (const auto& [name, child] : widest_first(node)) {
    const double end = start + static_cast<double>(child->total_ns) * columns_per_ns;
    const auto from = static_cast<std::size_t>(std::lround(start));
    const std::size_t to = std::min(static_cast<std::size_t>(std::lround(end)), lines[depth].size());
    if (to > from + 1) {
      std::string box = std::string(name) + (child->count > 1 ? " x" + std::to_string(child->count) : "");
      box.resize(to - from - 2, ' ');
      lines[depth].replace(from, to - from, "[" + box + "]");
      draw_children(*child, start, columns_per_ns, depth + 1, lines);
    }
    start = end;
  }
}

// How many bytes the character has that begins `text`, if XML knows it; 0 otherwise.
std::size_t xml_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto first = byte(0);
  if (first < 0x80) return first >= 0x20 || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  std::uint32_t code = first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3FU);
  }
  const std::uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  const bool known = first >= 0xC0 && first < 0xF8 && code >= least && code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF) && code != 0xFFFE && code != 0xFFFF;
  return known ? length : 0;
}

// The first bytes of a name, at most so many, without a piece of a character at the end.
std::string_view beginning_of(std::string_view name, std::size_t bytes) {
  if (bytes >= name.size()) return name;
  while (bytes > 0 && (static_cast<unsigned char>(name[bytes]) & 0xC0U) == 0x80) --bytes;
  return name.substr(0, bytes);
}

// Rectangles of a node's children, and below them of theirs. Returns how many levels there are.
int svg_children(const FlameNode& node, double left, double pixels_per_ns, int level, std::int64_t all_ns, std::ostream& out) {
  int levels = level;
  for (const auto& [name, child] : widest_first(node)) {
    const double width = static_cast<double>(child->total_ns) * pixels_per_ns;
    if (width >= 0.5) {
      const auto hue = static_cast<unsigned>(std::hash<std::string_view>{}(name) % 50) + 10;  // red to yellow, the same for the same name
      out << "<g><title>" << autograd::profiler::xml_text(name) << ": " << static_cast<double>(child->total_ns) / 1e6 << " ms (" << 100.0 * static_cast<double>(child->total_ns) / static_cast<double>(all_ns)
          << " %), self " << static_cast<double>(child->self_ns) / 1e6 << " ms, " << child->count << " calls</title><rect x=\"" << left << "\" y=\"" << level * 18 << "\" width=\"" << width
          << "\" height=\"17\" fill=\"hsl(" << hue << ",80%,65%)\" stroke=\"white\" stroke-width=\"0.5\"/>";
      const auto letters = static_cast<std::size_t>(width / 7);
      if (letters >= 3) out << "<text x=\"" << left + 3 << "\" y=\"" << level * 18 + 13 << "\">" << autograd::profiler::xml_text(beginning_of(name, letters)) << "</text>";
      out << "</g>\n";
      levels = std::max(levels, svg_children(*child, left, pixels_per_ns, level + 1, all_ns, out));
    }
    left += width;
  }
  return std::max(levels, level + (node.children.empty() ? 0 : 1));
}
}  // namespace

std::string autograd::profiler::xml_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = xml_character(text);
    const char c = text[0];
    out += length == 0 ? "\xEF\xBF\xBD" : c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : std::string(text.substr(0, length));
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string autograd::profiler::flame_text(const FlameNode& root, std::size_t width, std::size_t depth) {
  std::vector<std::string> lines(depth, std::string(width, ' '));
  if (root.total_ns > 0) draw_children(root, 0, static_cast<double>(width) / static_cast<double>(root.total_ns), 0, lines);
  std::string out;
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    if (!line.empty()) out += line + "\n";
  }
  return out;
}

std::string autograd::profiler::flame_svg(const FlameNode& root, int width) {
  std::ostringstream boxes;
  const int levels = root.total_ns > 0 ? svg_children(root, 0, static_cast<double>(width) / static_cast<double>(root.total_ns), 0, root.total_ns, boxes) : 0;
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\"" << std::max(levels, 1) * 18 << "\" font-family=\"monospace\" font-size=\"11\">\n" << boxes.str() << "</svg>\n";
  return out.str();
}

// %%
//| export profiling/pictures.cpp
std::string autograd::profiler::memory_text(const std::vector<MemoryEvent>& timeline, std::size_t width, std::size_t height) {
  TORCH_CHECK_VALUE(width > 0 && height > 0, "a picture of memory needs a column and a row at least, but got ", width, " columns and ", height, " rows");
  if (timeline.empty()) return "";
  const std::int64_t first = timeline.front().time_ns;
  const double span = std::max<double>(1, static_cast<double>(timeline.back().time_ns - first));
  std::vector<std::int64_t> levels(width, -1), last(width, -1);
  for (const MemoryEvent& point : timeline) {
    const auto column = std::min(width - 1, static_cast<std::size_t>(std::max(0.0, static_cast<double>(point.time_ns - first)) / span * static_cast<double>(width)));
    levels[column] = std::max(levels[column], point.live);
    last[column] = point.live;
  }
  for (std::size_t i = 1; i < width; ++i)
    if (last[i] < 0) levels[i] = last[i] = last[i - 1];  // nothing changed there
  const std::int64_t highest = std::max<std::int64_t>(1, *std::max_element(levels.begin(), levels.end()));
  std::string out;
  for (std::size_t row = height; row > 0; --row) {
    std::string line;
    for (const std::int64_t level : levels) line += level * static_cast<std::int64_t>(height) >= highest * static_cast<std::int64_t>(row) - highest / 2 ? '#' : ' ';
    line.erase(line.find_last_not_of(' ') + 1);
    out += "|" + line + "\n";
  }
  return out + "+" + std::string(width, '-') + "  highest: " + std::to_string(highest) + " bytes\n";
}

// %%
TEST_CASE("flame: boxes as wide as their share, children below, the widest first") {
  using namespace autograd::profiler;
  FlameNode root;
  root.total_ns = 100;
  FlameNode& step = root.children["step"];
  step = {.total_ns = 100, .self_ns = 0, .count = 1};
  step.children["Linear"] = {.total_ns = 60, .self_ns = 15, .count = 1};
  step.children["Linear"].children["mm"] = {.total_ns = 45, .self_ns = 45, .count = 1};
  step.children["MmBackward0"] = {.total_ns = 40, .self_ns = 0, .count = 1};
  step.children["MmBackward0"].children["a<b>"] = {.total_ns = 40, .self_ns = 40, .count = 2};
  CHECK_EQ(flame_text(root, 20),
           "[step              ]\n"
           "[Linear    ][MmBack]\n"
           "[mm     ]   [a<b> x]\n");
  const std::string svg = flame_svg(root, 700);
  CHECK_NE(svg.find("<title>mm: "), std::string::npos);
  CHECK_NE(svg.find("x=\"420\" y=\"18\" width=\"280\""), std::string::npos);  // MmBackward0
  CHECK_NE(svg.find("height=\"54\""), std::string::npos);
  CHECK_NE(svg.find("a&lt;b&gt;"), std::string::npos);
  CHECK_EQ(flame_text(FlameNode(), 20), "");
}

TEST_CASE("memory_text: the highest level of each column, and what was there before where nothing changed") {
  using namespace autograd::profiler;
  CHECK_EQ(memory_text({{0, 4}, {10, 8}, {11, 0}, {40, 4}}, 4, 2),
           "| #\n"
           "|## #\n"
           "+----  highest: 8 bytes\n");
  CHECK_EQ(memory_text({}), "");
  CHECK_ERROR(memory_text({{0, 4}}, 0), "got 0 columns and 10 rows");
  CHECK_ERROR(memory_text({{0, 4}}, 4, 0), "got 4 columns and 0 rows");
}

TEST_CASE("xml_text: entities, and a mark for what XML does not know") {
  using autograd::profiler::xml_text;
  CHECK_EQ(xml_text("a<b> & \"c\"\n"), "a&lt;b&gt; &amp; &quot;c&quot;\n");
  CHECK_EQ(xml_text("gr\xC3\xB6\xC3\x9F" "e \xF0\x9F\x94\xA5"), "gr\xC3\xB6\xC3\x9F" "e \xF0\x9F\x94\xA5");
  const std::string mark = "\xEF\xBF\xBD";
  CHECK_EQ(xml_text("a\x1b[31m"), "a" + mark + "[31m");
  CHECK_EQ(xml_text(std::string("a\0b", 3)), "a" + mark + "b");
  CHECK_EQ(xml_text("half \xC3"), "half " + mark);              // cut off
  CHECK_EQ(xml_text("\xC0\xAF"), mark + mark);                  // '/' in two bytes
  CHECK_EQ(xml_text("\xED\xA0\x80"), mark + mark + mark);       // half of a pair of UTF-16
  CHECK_EQ(xml_text("\xEF\xBF\xBE"), mark + mark + mark);       // U+FFFE is no character
}

// %% [markdown]
// ## Rooflines
//
// Both axes are logarithmic. The roof rises with memory's bandwidth up to the ridge and is flat from there on; each operator is a letter, or a dot, somewhere below it.

// %%
//| export profiling/pictures.h
namespace autograd::profiler {

// What a machine can do at most, as measured.
struct Peaks {
  double flops_per_second = 0;
  double bytes_per_second = 0;
  int threads = 1;
  std::string simd{};  // the instructions that were used
};

// An operator under the roofline.
struct RooflinePoint {
  std::string name{};
  double intensity = 0;         // FLOPs per byte
  double flops_per_second = 0;  // over its self time
  double share = 0;             // of what is attainable
  std::int64_t time_ns = 0;
};

// As a picture in text, letters for operators, with a list of them below; and as a picture for a browser, in which an operator's name is left out where those of operators that took longer leave no room.
// A point whose intensity or rate is no positive number has no place, and is counted in a line of its own. Throws ValueError for peaks that are not positive numbers.
std::string roofline_text(const std::vector<RooflinePoint>& points, const Peaks& peaks);
std::string roofline_svg(const std::vector<RooflinePoint>& points, const Peaks& peaks);


}  // namespace autograd::profiler

// %%
//| export profiling/pictures.cpp
namespace {
double roof(const autograd::profiler::Peaks& peaks, double intensity) { return std::min(peaks.flops_per_second, intensity * peaks.bytes_per_second); }
}  // namespace

namespace {
// 176e9 as "176 G".
std::string with_unit(double value) {
  const char* const units[] = {"", "k", "M", "G", "T", "P"};
  std::size_t unit = 0;
  for (; value >= 1000 && unit < 5; ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %s", value, units[unit]);
  return text;
}

// The part of the plane that a picture shows, in powers of two and ten.
struct RooflineAxes {
  static constexpr double kLeft = -6, kRight = 10;  // log2 of FLOPs per byte
  double bottom, top;                               // log10 of FLOP/s
  explicit RooflineAxes(const autograd::profiler::Peaks& peaks) : bottom(std::log10(peaks.flops_per_second) - 5), top(std::log10(peaks.flops_per_second) + 0.3) {}
  double x(double intensity) const { return std::clamp((std::log2(intensity) - kLeft) / (kRight - kLeft), 0.0, 1.0); }
  double y(double rate) const { return std::clamp((std::log10(rate) - bottom) / (top - bottom), 0.0, 1.0); }  // 0 is below
};

bool is_positive(double value) { return value > 0 && std::isfinite(value); }

void check_peaks(const autograd::profiler::Peaks& peaks) {
  TORCH_CHECK_VALUE(is_positive(peaks.flops_per_second) && is_positive(peaks.bytes_per_second), "a roofline needs peaks that are positive numbers, but got ", peaks.flops_per_second, " FLOP/s and ",
                    peaks.bytes_per_second, " bytes/s");
}

// The points that have a place on logarithmic axes.
std::vector<autograd::profiler::RooflinePoint> with_a_place(const std::vector<autograd::profiler::RooflinePoint>& points) {
  std::vector<autograd::profiler::RooflinePoint> placed;
  for (const auto& point : points)
    if (is_positive(point.intensity) && is_positive(point.flops_per_second)) placed.push_back(point);
  return placed;
}

// "2 operators have no place ..."; nothing if all have one.
std::string without_a_place(std::size_t count) {
  return count == 0 ? "" : std::to_string(count) + (count == 1 ? " operator has" : " operators have") + " no place: intensity or rate is no positive number";
}

std::string in_words(const autograd::profiler::RooflinePoint& point) {
  char text[160];
  std::snprintf(text, sizeof text, "%-28s %9.3f FLOP/byte %10.3f GFLOP/s %7.2f %% of attainable %12s", point.name.substr(0, 28).c_str(), point.intensity, point.flops_per_second * 1e-9, 100 * point.share,
                autograd::profiler::format_time(point.time_ns).c_str());
  return text;
}
}  // namespace

std::string autograd::profiler::roofline_text(const std::vector<RooflinePoint>& points, const Peaks& peaks) {
  constexpr std::size_t width = 80, height = 18;
  check_peaks(peaks);
  const std::vector<RooflinePoint> placed = with_a_place(points);
  const RooflineAxes axes(peaks);
  std::vector<std::string> picture(height, std::string(width, ' '));
  const auto mark = [&](double intensity, double rate, char letter) {
    const auto column = static_cast<std::size_t>(axes.x(intensity) * (width - 1));
    const auto row = static_cast<std::size_t>((1 - axes.y(rate)) * (height - 1));
    picture[row][column] = letter;
  };
  for (std::size_t i = 0; i < 4 * width; ++i) {
    const double intensity = std::exp2(RooflineAxes::kLeft + (RooflineAxes::kRight - RooflineAxes::kLeft) * static_cast<double>(i) / (4 * width - 1));
    mark(intensity, roof(peaks, intensity), intensity * peaks.bytes_per_second < peaks.flops_per_second ? '/' : '-');
  }
  const std::size_t shown = std::min<std::size_t>(placed.size(), 26);
  for (std::size_t i = shown; i > 0; --i) mark(placed[i - 1].intensity, placed[i - 1].flops_per_second, static_cast<char>('a' + i - 1));
  std::ostringstream out;
  out << "FLOP/s; peak " << with_unit(peaks.flops_per_second) << "FLOP/s, " << with_unit(peaks.bytes_per_second) << "B/s, ridge at " << peaks.flops_per_second / peaks.bytes_per_second << " FLOP/byte\n";
  for (std::string& line : picture) {
    line.erase(line.find_last_not_of(' ') + 1);
    out << "  |" << line << "\n";
  }
  out << "  +" << std::string(width, '-') << " FLOP/byte, 1/64 to 1024\n";
  for (std::size_t i = 0; i < shown; ++i) out << "  " << static_cast<char>('a' + i) << "  " << in_words(placed[i]) << "\n";
  if (placed.size() < points.size()) out << "  " << without_a_place(points.size() - placed.size()) << "\n";
  return out.str();
}

namespace {
// A piece of a picture, in pixels.
struct Box {
  double left, top, width, height;
  bool meets(const Box& other) const { return left < other.left + other.width && other.left < left + width && top < other.top + other.height && other.top < top + height; }
};

// Where a name stands, and which end of it is there.
struct Label {
  double x, y;
  const char* anchor;
};

// Where names stand beside dots: the first of four places (right, left, above, below) that meets no dot, no other name and no end of the picture.
class Labels {
 public:
  Labels(double width, double height) : width_(width), height_(height) {}
  void add_dot(double x, double y) { taken_.push_back({x - 5, y - 5, 10, 10}); }
  // The place for a name at a dot, which is taken from now on; nothing where there is none.
  std::optional<Label> place(const std::string& name, double x, double y) {
    const double width = 7 * static_cast<double>(name.size()), height = 12;  // of letters of 11 pixels
    for (const auto& [label, left] : {std::pair{Label{x + 7, y + 4, "start"}, x + 7}, std::pair{Label{x - 7, y + 4, "end"}, x - 7 - width}, std::pair{Label{x, y - 9, "middle"}, x - width / 2},
                                      std::pair{Label{x, y + 17, "middle"}, x - width / 2}}) {
      const Box box{left, label.y - 10, width, height};
      const bool inside = box.left >= 0 && box.top >= 0 && box.left + box.width <= width_ && box.top + box.height <= height_;
      if (!inside || std::any_of(taken_.begin(), taken_.end(), [&](const Box& other) { return box.meets(other); })) continue;
      taken_.push_back(box);
      return label;
    }
    return std::nullopt;
  }

 private:
  double width_, height_;
  std::vector<Box> taken_;
};
}  // namespace

std::string autograd::profiler::roofline_svg(const std::vector<RooflinePoint>& points, const Peaks& peaks) {
  constexpr double width = 800, height = 480, border = 50;
  check_peaks(peaks);
  std::vector<RooflinePoint> placed = with_a_place(points);
  std::stable_sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) { return a.time_ns > b.time_ns; });
  const RooflineAxes axes(peaks);
  const auto x = [&](double intensity) { return border + axes.x(intensity) * (width - 2 * border); };
  const auto y = [&](double rate) { return height - border - axes.y(rate) * (height - 2 * border); };
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\"" << height << "\" font-family=\"sans-serif\" font-size=\"11\">\n<path d=\"M" << border << ' ' << border << " V"
      << height - border << " H" << width - border << "\" fill=\"none\" stroke=\"black\"/>\n";
  for (int power = -6; power <= 10; power += 2)
    out << "<text x=\"" << x(std::exp2(power)) << "\" y=\"" << height - border + 16 << "\" text-anchor=\"middle\">" << std::exp2(power) << "</text>\n";
  for (int power = static_cast<int>(std::ceil(axes.bottom)); power <= static_cast<int>(axes.top); ++power)
    out << "<text x=\"" << border - 4 << "\" y=\"" << y(std::pow(10, power)) << "\" text-anchor=\"end\">" << with_unit(std::pow(10, power)) << "</text>\n";
  out << "<text x=\"" << width / 2 << "\" y=\"" << height - 10 << "\" text-anchor=\"middle\">FLOPs per byte; on the left axis FLOP/s</text>\n";
  const double ridge = peaks.flops_per_second / peaks.bytes_per_second;
  const double left = std::exp2(RooflineAxes::kLeft);
  out << "<polyline points=\"" << x(left) << ',' << y(roof(peaks, left)) << ' ' << x(ridge) << ',' << y(peaks.flops_per_second) << ' ' << x(std::exp2(RooflineAxes::kRight)) << ','
      << y(peaks.flops_per_second) << "\" fill=\"none\" stroke=\"firebrick\" stroke-width=\"2\"/>\n";
  Labels labels(width, height - border);
  for (const RooflinePoint& point : placed) labels.add_dot(x(point.intensity), y(point.flops_per_second));
  for (const RooflinePoint& point : placed) {
    out << "<g><title>" << xml_text(in_words(point)) << "</title><circle cx=\"" << x(point.intensity) << "\" cy=\"" << y(point.flops_per_second) << "\" r=\"5\" fill=\"steelblue\" fill-opacity=\"0.8\"/>";
    if (const std::optional<Label> label = labels.place(point.name, x(point.intensity), y(point.flops_per_second)))
      out << "<text x=\"" << label->x << "\" y=\"" << label->y << "\" text-anchor=\"" << label->anchor << "\">" << xml_text(point.name) << "</text>";
    out << "</g>\n";
  }
  if (placed.size() < points.size()) out << "<text x=\"" << border + 8 << "\" y=\"" << border - 8 << "\">" << without_a_place(points.size() - placed.size()) << "</text>\n";
  out << "</svg>\n";
  return out.str();
}

// %%
TEST_CASE("roofline: a letter for each operator, and the ridge in words") {
  using namespace autograd::profiler;
  const Peaks peaks{.flops_per_second = 100e9, .bytes_per_second = 10e9};
  const std::vector<RooflinePoint> points = {{.name = "mm", .intensity = 100, .flops_per_second = 25e9, .share = 0.25, .time_ns = 40000},
                                             {.name = "add", .intensity = 1.0 / 12, .flops_per_second = 4e8, .share = 0.5, .time_ns = 2400}};
  const std::string picture = roofline_text(points, peaks);
  CHECK_NE(picture.find("peak 100 GFLOP/s, 10 GB/s, ridge at 10 FLOP/byte"), std::string::npos);
  CHECK_NE(picture.find("a  mm"), std::string::npos);
  CHECK_NE(picture.find("25.00 % of attainable     40.000us"), std::string::npos);
  CHECK_NE(picture.find("b  add"), std::string::npos);
  const std::string svg = roofline_svg(points, peaks);
  CHECK_NE(svg.find("<polyline"), std::string::npos);
  CHECK_NE(svg.find(">add</text>"), std::string::npos);
}

TEST_CASE("roofline: names do not lie upon each other, and the operators that took longer keep theirs") {
  using namespace autograd::profiler;
  const Peaks peaks{.flops_per_second = 100e9, .bytes_per_second = 10e9};
  std::vector<RooflinePoint> points;
  for (int i = 0; i < 12; ++i) points.push_back({.name = "operator_" + std::to_string(i), .intensity = 0.1 + 0.001 * i, .flops_per_second = 4e8, .share = 0.5, .time_ns = 1000 + i});
  const std::string svg = roofline_svg(points, peaks);
  std::size_t dots = 0;
  for (std::size_t at = 0; (at = svg.find("<circle", at)) != std::string::npos; ++at) ++dots;
  CHECK_EQ(dots, 12);
  CHECK_NE(svg.find(">operator_11</text>"), std::string::npos);
  CHECK_EQ(svg.find(">operator_0</text>"), std::string::npos);
  CHECK_NE(svg.find("<title>operator_0 "), std::string::npos);  // under the pointer it is still there
}

TEST_CASE("roofline: points without a place, and peaks that are none") {
  using namespace autograd::profiler;
  const Peaks peaks{.flops_per_second = 100e9, .bytes_per_second = 10e9};
  const std::vector<RooflinePoint> points = {{.name = "a<b>\x01", .intensity = 1, .flops_per_second = 1e9}, {.name = "odd", .intensity = std::nan(""), .flops_per_second = 1e9}, {.name = "nothing", .intensity = 1}};
  CHECK_NE(roofline_text(points, peaks).find("  2 operators have no place: intensity or rate is no positive number\n"), std::string::npos);
  const std::string svg = roofline_svg(points, peaks);
  CHECK_NE(svg.find(">a&lt;b&gt;\xEF\xBF\xBD</text>"), std::string::npos);
  CHECK_EQ(svg.find("nan"), std::string::npos);
  CHECK_ERROR(roofline_text(points, {.flops_per_second = std::nan(""), .bytes_per_second = 1}), "peaks that are positive numbers, but got nan FLOP/s");
  CHECK_ERROR(roofline_svg(points, Peaks()), "but got 0 FLOP/s and 0 bytes/s");
}

// %% [markdown]
// ## The peaks of this machine
//
// Data sheets promise peaks; the machine you were given has others (fewer vector units, a lower clock under wide vectors, neighbours on the memory bus). So they are measured, by two loops that do nothing else:
//
//       arithmetic   12 independent chains  a = a * b + c  in registers, of the widest fused multiply-add there is     FLOP/s
//                    (one instruction needs the result of the one 4 cycles before it: one chain would wait)
//       memory       an array of twice the last cache is read, in four streams, and one half of it added to the     bytes/s
//                    other; the better of the two counts
//
//       thread 1  ──[ wait for all ]──[ loop ]──┐
//       thread 2  ──[ wait for all ]──[ loop ]──┴── the slowest one's time counts; the best of several rounds stays
//
// Memory has no single rate. One stream of addresses does not keep enough lines under way, so four are read at once. What is written goes back while other lines come, so a loop that also writes can move more bytes in a second than one that only reads: here the addition in place, which reads 8 bytes for 4
// that it writes. A store to a line that is not in a cache reads that line first, which nobody counts; in place it was read anyway, and large kernels store past the caches. So no operator should move more than the better of the two, and one that stands above 100 % had a part of its operands in a cache.
//
// The instructions are chosen when the program runs: AVX-512, AVX2 with FMA, or the compiler's plain loop; NEON on ARM.

// %%
//| export profiling/peaks.h
namespace autograd::profiler {

// Measures the peaks of this machine with `threads` threads at once, float32; takes a second or two. Throws ValueError if threads < 1.
Peaks measure_peaks(int threads = 1);

// Of these, bytes per second alone: the better of reading an array that no cache holds and of adding to one in place.
double measure_bandwidth(int threads = 1);

}  // namespace autograd::profiler

// %%
//| export profiling/peaks.cpp
namespace {
// Each kernel runs `rounds` rounds of fused multiply-adds and returns how many operations that were.
constexpr std::int64_t kChains = 12;

#if defined(__x86_64__)
[[gnu::target("avx512f")]] std::int64_t multiply_add_avx512(std::int64_t rounds) {
  const __m512 b = _mm512_set1_ps(0.999F), c = _mm512_set1_ps(0.001F);
  // Twelve different values: equal chains would be computed once.
  __m512 x0 = _mm512_set1_ps(0.0F), x1 = _mm512_set1_ps(1.0F), x2 = _mm512_set1_ps(2.0F), x3 = _mm512_set1_ps(3.0F);
  __m512 x4 = _mm512_set1_ps(4.0F), x5 = _mm512_set1_ps(5.0F), x6 = _mm512_set1_ps(6.0F), x7 = _mm512_set1_ps(7.0F);
  __m512 x8 = _mm512_set1_ps(8.0F), x9 = _mm512_set1_ps(9.0F), x10 = _mm512_set1_ps(10.0F), x11 = _mm512_set1_ps(11.0F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    x0 = _mm512_fmadd_ps(x0, b, c); x1 = _mm512_fmadd_ps(x1, b, c); x2 = _mm512_fmadd_ps(x2, b, c);
    x3 = _mm512_fmadd_ps(x3, b, c); x4 = _mm512_fmadd_ps(x4, b, c); x5 = _mm512_fmadd_ps(x5, b, c);
    x6 = _mm512_fmadd_ps(x6, b, c); x7 = _mm512_fmadd_ps(x7, b, c); x8 = _mm512_fmadd_ps(x8, b, c);
    x9 = _mm512_fmadd_ps(x9, b, c); x10 = _mm512_fmadd_ps(x10, b, c); x11 = _mm512_fmadd_ps(x11, b, c);
  }
  const __m512 ends[kChains] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11};
  __m512 sum = b;
  for (const __m512& end : ends) sum = _mm512_add_ps(sum, end);
  do_not_optimize(_mm512_cvtss_f32(sum));
  return rounds * kChains * 16 * 2;
}

[[gnu::target("avx2,fma")]] std::int64_t multiply_add_avx2(std::int64_t rounds) {
  const __m256 b = _mm256_set1_ps(0.999F), c = _mm256_set1_ps(0.001F);
  // Twelve different values: equal chains would be computed once.
  __m256 x0 = _mm256_set1_ps(0.0F), x1 = _mm256_set1_ps(1.0F), x2 = _mm256_set1_ps(2.0F), x3 = _mm256_set1_ps(3.0F);
  __m256 x4 = _mm256_set1_ps(4.0F), x5 = _mm256_set1_ps(5.0F), x6 = _mm256_set1_ps(6.0F), x7 = _mm256_set1_ps(7.0F);
  __m256 x8 = _mm256_set1_ps(8.0F), x9 = _mm256_set1_ps(9.0F), x10 = _mm256_set1_ps(10.0F), x11 = _mm256_set1_ps(11.0F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    x0 = _mm256_fmadd_ps(x0, b, c); x1 = _mm256_fmadd_ps(x1, b, c); x2 = _mm256_fmadd_ps(x2, b, c);
    x3 = _mm256_fmadd_ps(x3, b, c); x4 = _mm256_fmadd_ps(x4, b, c); x5 = _mm256_fmadd_ps(x5, b, c);
    x6 = _mm256_fmadd_ps(x6, b, c); x7 = _mm256_fmadd_ps(x7, b, c); x8 = _mm256_fmadd_ps(x8, b, c);
    x9 = _mm256_fmadd_ps(x9, b, c); x10 = _mm256_fmadd_ps(x10, b, c); x11 = _mm256_fmadd_ps(x11, b, c);
  }
  const __m256 ends[kChains] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11};
  __m256 sum = b;
  for (const __m256& end : ends) sum = _mm256_add_ps(sum, end);
  do_not_optimize(_mm256_cvtss_f32(sum));
  return rounds * kChains * 8 * 2;
}
#elif defined(__aarch64__)
std::int64_t multiply_add_neon(std::int64_t rounds) {
  const float32x4_t b = vdupq_n_f32(0.999F), c = vdupq_n_f32(0.001F);
  // Twelve different values: equal chains would be computed once.
  float32x4_t x0 = vdupq_n_f32(0.0F), x1 = vdupq_n_f32(1.0F), x2 = vdupq_n_f32(2.0F), x3 = vdupq_n_f32(3.0F);
  float32x4_t x4 = vdupq_n_f32(4.0F), x5 = vdupq_n_f32(5.0F), x6 = vdupq_n_f32(6.0F), x7 = vdupq_n_f32(7.0F);
  float32x4_t x8 = vdupq_n_f32(8.0F), x9 = vdupq_n_f32(9.0F), x10 = vdupq_n_f32(10.0F), x11 = vdupq_n_f32(11.0F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    x0 = vfmaq_f32(c, x0, b); x1 = vfmaq_f32(c, x1, b); x2 = vfmaq_f32(c, x2, b);
    x3 = vfmaq_f32(c, x3, b); x4 = vfmaq_f32(c, x4, b); x5 = vfmaq_f32(c, x5, b);
    x6 = vfmaq_f32(c, x6, b); x7 = vfmaq_f32(c, x7, b); x8 = vfmaq_f32(c, x8, b);
    x9 = vfmaq_f32(c, x9, b); x10 = vfmaq_f32(c, x10, b); x11 = vfmaq_f32(c, x11, b);
  }
  const float32x4_t ends[kChains] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11};
  float32x4_t sum = b;
  for (const float32x4_t& end : ends) sum = vaddq_f32(sum, end);
  do_not_optimize(vgetq_lane_f32(sum, 0));
  return rounds * kChains * 4 * 2;
}
#endif

std::int64_t multiply_add_portable(std::int64_t rounds) {
  float chain[4 * kChains];
  for (std::int64_t i = 0; i < 4 * kChains; ++i) chain[i] = static_cast<float>(i);
  for (std::int64_t i = 0; i < rounds; ++i)
    for (float& value : chain) value = value * 0.999F + 0.001F;
  float sum = 0;
  for (const float value : chain) sum += value;
  do_not_optimize(sum);
  return rounds * 4 * kChains * 2;
}

struct ArithmeticKernel {
  std::int64_t (*run)(std::int64_t rounds);
  const char* simd;
};
ArithmeticKernel widest_kernel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {multiply_add_avx512, "AVX-512"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {multiply_add_avx2, "AVX2 with FMA"};
#elif defined(__aarch64__)
  return {multiply_add_neon, "NEON"};
#endif
  return {multiply_add_portable, "what the compiler made of a loop"};
}
}  // namespace

// %% [markdown]
// For memory the same choice is made. Each function takes a number of elements that divides by 64, at addresses that divide by 64.

// %%
//| export profiling/peaks.cpp
namespace {
#if defined(__x86_64__)
[[gnu::target("avx512f")]] void read_avx512(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (const float* const end = from + part; from < end; from += 16) {
    sum0 = _mm512_add_ps(sum0, _mm512_load_ps(from));
    sum1 = _mm512_add_ps(sum1, _mm512_load_ps(from + part));
    sum2 = _mm512_add_ps(sum2, _mm512_load_ps(from + 2 * part));
    sum3 = _mm512_add_ps(sum3, _mm512_load_ps(from + 3 * part));
  }
  do_not_optimize(_mm512_cvtss_f32(_mm512_add_ps(_mm512_add_ps(sum0, sum1), _mm512_add_ps(sum2, sum3))));
}
[[gnu::target("avx512f")]] void add_avx512(float* to, const float* from, std::size_t count) {
  for (const float* const end = to + count; to < end; to += 16, from += 16) _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), _mm512_load_ps(from)));
}

[[gnu::target("avx2")]] void read_avx2(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (const float* const end = from + part; from < end; from += 8) {
    sum0 = _mm256_add_ps(sum0, _mm256_load_ps(from));
    sum1 = _mm256_add_ps(sum1, _mm256_load_ps(from + part));
    sum2 = _mm256_add_ps(sum2, _mm256_load_ps(from + 2 * part));
    sum3 = _mm256_add_ps(sum3, _mm256_load_ps(from + 3 * part));
  }
  do_not_optimize(_mm256_cvtss_f32(_mm256_add_ps(_mm256_add_ps(sum0, sum1), _mm256_add_ps(sum2, sum3))));
}
[[gnu::target("avx2")]] void add_avx2(float* to, const float* from, std::size_t count) {
  for (const float* const end = to + count; to < end; to += 8, from += 8) _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), _mm256_load_ps(from)));
}
#elif defined(__aarch64__)
void read_neon(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  float32x4_t sum0 = vdupq_n_f32(0.0F), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (const float* const end = from + part; from < end; from += 4) {
    sum0 = vaddq_f32(sum0, vld1q_f32(from));
    sum1 = vaddq_f32(sum1, vld1q_f32(from + part));
    sum2 = vaddq_f32(sum2, vld1q_f32(from + 2 * part));
    sum3 = vaddq_f32(sum3, vld1q_f32(from + 3 * part));
  }
  do_not_optimize(vgetq_lane_f32(vaddq_f32(vaddq_f32(sum0, sum1), vaddq_f32(sum2, sum3)), 0));
}
void add_neon(float* to, const float* from, std::size_t count) {
  for (const float* const end = to + count; to < end; to += 4, from += 4) vst1q_f32(to, vaddq_f32(vld1q_f32(to), vld1q_f32(from)));
}
#endif

void read_portable(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  float sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  for (const float* const end = from + part; from < end; ++from) {
    sum0 += from[0];
    sum1 += from[part];
    sum2 += from[2 * part];
    sum3 += from[3 * part];
  }
  do_not_optimize(sum0 + sum1 + sum2 + sum3);
}
void add_portable(float* to, const float* from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] += from[i];
}

struct MemoryKernel {
  void (*read)(const float* from, std::size_t count);            // in four streams
  void (*add)(float* to, const float* from, std::size_t count);  // to += from
};
MemoryKernel widest_memory_kernel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {read_avx512, add_avx512};
  if (__builtin_cpu_supports("avx2")) return {read_avx2, add_avx2};
#elif defined(__aarch64__)
  return {read_neon, add_neon};
#endif
  return {read_portable, add_portable};
}
}  // namespace

// %%
//| export profiling/peaks.cpp
namespace {
// The best rate of `rounds` rounds in which all threads run work(thread), which returns an amount, at the same time.
template <class Work>
double best_rate(int threads, int rounds, const Work& work) {
  std::barrier<> together(threads);
  std::mutex mutex;
  std::vector<double> slowest(static_cast<std::size_t>(rounds), 0), amounts(static_cast<std::size_t>(rounds), 0);
  const auto run = [&](int thread) {
    for (std::size_t round = 0; round < slowest.size(); ++round) {
      together.arrive_and_wait();
      const Timer timer;
      const auto amount = static_cast<double>(work(thread));
      const double seconds = timer.seconds();
      const std::lock_guard lock(mutex);
      slowest[round] = std::max(slowest[round], seconds);
      amounts[round] += amount;
    }
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  for (std::thread& other : others) other.join();
  double best = 0;
  for (std::size_t round = 0; round < slowest.size(); ++round) best = std::max(best, amounts[round] / slowest[round]);
  return best;
}

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

// Of an array that no cache holds when it is passed over again: twice the last cache and at least 256 MB, with many threads 32 MB for each, since groups of cores may have a last cache of their own. At most a quarter of the memory that is free.
std::size_t bytes_to_pass(int threads) {
  std::size_t bytes = std::max<std::size_t>(256, 32 * static_cast<std::size_t>(threads)) * kMegabyte;
  for (const CacheInfo& cache : system_info().caches) bytes = std::max(bytes, 2 * static_cast<std::size_t>(cache.bytes));
  const std::string memory = read_if_there("/proc/meminfo");
  const std::string_view free = value_of_key(memory, "MemAvailable");
  return free.empty() ? bytes : std::min(bytes, static_cast<std::size_t>(parse_bytes(free)) / 4);
}

struct FreeMemory {
  void operator()(float* memory) const { std::free(memory); }
};
}  // namespace

double autograd::profiler::measure_bandwidth(int threads) {
  TORCH_CHECK_VALUE(threads >= 1, "measure_bandwidth needs at least one thread, but got ", threads);
  const MemoryKernel kernel = widest_memory_kernel();
  // A whole number of megabytes for each half of a thread's share.
  const std::size_t half = std::max<std::size_t>(1, bytes_to_pass(threads) / 2 / static_cast<std::size_t>(threads) / kMegabyte) * kMegabyte / sizeof(float);
  const std::size_t bytes = 2 * half * static_cast<std::size_t>(threads) * sizeof(float);
  const std::unique_ptr<float, FreeMemory> array(static_cast<float*>(std::aligned_alloc(2 * kMegabyte, bytes)));
  if (array == nullptr) throw std::bad_alloc();
#ifdef __linux__
  ::madvise(array.get(), bytes, MADV_HUGEPAGE);  // as large tensors have them; advice
#endif
  const auto share_of = [&](int thread) { return array.get() + 2 * half * static_cast<std::size_t>(thread); };
  best_rate(threads, 1, [&](int thread) {
    std::fill_n(share_of(thread), 2 * half, 1.0F);  // each thread its own: memory near the processor that uses it
    return half;
  });
  const double reading = best_rate(threads, 6, [&](int thread) {
    kernel.read(share_of(thread), 2 * half);
    return 2 * half * sizeof(float);
  });
  const double adding = best_rate(threads, 6, [&](int thread) {
    kernel.add(share_of(thread), share_of(thread) + half, half);
    return 3 * half * sizeof(float);
  });
  return std::max(reading, adding);
}

autograd::profiler::Peaks autograd::profiler::measure_peaks(int threads) {
  TORCH_CHECK_VALUE(threads >= 1, "measure_peaks needs at least one thread, but got ", threads);
  const ArithmeticKernel kernel = widest_kernel();
  Peaks peaks;
  peaks.threads = threads;
  peaks.simd = kernel.simd;
  peaks.flops_per_second = best_rate(threads, 8, [&](int) { return kernel.run(2'000'000); });
  peaks.bytes_per_second = measure_bandwidth(threads);
  return peaks;
}

// %%
TEST_CASE("peaks: what was measured is possible") {
  using namespace autograd::profiler;
  const Peaks peaks = measure_peaks(1);
  CHECK_GT(peaks.flops_per_second, 1e7);
  CHECK_LT(peaks.flops_per_second, 1e13);
  CHECK_GT(peaks.bytes_per_second, 1e7);
  CHECK_LT(peaks.bytes_per_second, 1e13);
  CHECK_FALSE(peaks.simd.empty());
  CHECK_ERROR(measure_peaks(0), "measure_peaks needs at least one thread, but got 0");
  CHECK_ERROR(measure_bandwidth(0), "measure_bandwidth needs at least one thread, but got 0");
}

// %%
}  // namespace tinytorch
