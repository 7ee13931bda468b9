// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/pictures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <optional>
#include <sstream>
#include <utility>

#include "tinytorch/core/error.h"
#include "tinytorch/profiling/text_table.h"

namespace tinytorch {

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

}  // namespace tinytorch
