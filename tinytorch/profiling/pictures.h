// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tinytorch {

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

}  // namespace tinytorch
