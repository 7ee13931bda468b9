#include "format/student.h"

#include <string_view>

#include "format/export.h"
#include "format/source.h"

namespace tito {
namespace {

// The cell with its hole emptied; markers, contract and scaffold stay.
std::vector<std::string> with_empty_hole(const Module& module, const Hole& hole) {
  const Cell& cell = module.cells[hole.cell];
  std::vector<std::string> lines(cell.body.begin(), cell.body.begin() + static_cast<std::ptrdiff_t>(hole.body_first) - 1);
  for (const SourceLine& line : cell_code(module, hole.cell, Bodies::Student)) {
    if (line.text.find("throw NotImplemented(") == std::string::npos) continue;
    if (line.origin == cell.body_line + static_cast<int>(hole.body_first)) lines.push_back(line.text);
  }
  lines.insert(lines.end(), cell.body.begin() + static_cast<std::ptrdiff_t>(hole.body_last) + 2, cell.body.end());
  return lines;
}

std::vector<std::string> without_hidden_tests(const Cell& cell) {
  std::vector<std::string> lines;
  bool hidden = false;
  for (const std::string& line : cell.body) {
    const std::string_view text = trim(line);
    if (text == "// BEGIN HIDDEN TESTS") hidden = true;
    if (!hidden) lines.push_back(line);
    if (text == "// END HIDDEN TESTS") hidden = false;
  }
  return lines;
}

// The question of an explain exercise.
std::vector<std::string> without_answer(const Cell& cell) {
  std::vector<std::string> lines;
  for (const std::string& line : cell.body) {
    if (trim(line) == "// BEGIN SOLUTION") break;
    lines.push_back(line);
  }
  return lines;
}

bool has_code(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    const std::string_view text = trim(line);
    if (!text.empty() && !text.starts_with("//")) return true;
  }
  return false;
}

}  // namespace

std::string student_copy(const Module& module, bool hidden_tests) {
  std::string out = join_lines(module.header);
  for (std::size_t i = 0; i < module.cells.size(); ++i) {
    const Cell& cell = module.cells[i];
    if (cell.marker("mistake") != nullptr) continue;
    std::vector<std::string> lines;
    if (cell.kind == Cell::Kind::Markdown) {
      lines = without_answer(cell);
    } else if (const Hole* hole = hole_of(module, i)) {
      lines = with_empty_hole(module, *hole);
    } else if (hidden_tests) {
      lines = cell.body;
    } else {
      lines = without_hidden_tests(cell);
      if (!has_code(lines) && has_code(cell.body)) continue;  // everything in it was hidden
    }
    while (!lines.empty() && trim(lines.back()).empty()) lines.pop_back();
    if (!out.empty()) out += '\n';
    out += cell.title_line + '\n' + join_lines(lines);
  }
  return out;
}

}  // namespace tito
