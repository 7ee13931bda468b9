#include "learn/purpose.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace tito {
namespace {

constexpr std::size_t enough = 300;  // bytes; a sentence is not cut

std::string_view comment_text(std::string_view line) { return trim(trim(line).substr(2)); }

// Whether a sentence ends with the full stop here; "..." and "3. of" do not.
bool ends_sentence(const std::string& text, std::size_t stop) {
  const char next = stop + 2 < text.size() ? text[stop + 2] : ' ';
  return (next < 'a' || next > 'z') && stop > 0 && text[stop - 1] != '.';
}

// Whole sentences from the beginning, as long as they fit; at least one.
std::string first_sentences(const std::string& text) {
  std::size_t length = text.size() <= enough ? text.size() : 0;
  for (std::size_t stop = text.find(". "); stop != std::string::npos && (length == 0 || stop < enough); stop = text.find(". ", stop + 1)) {
    if (text.size() > enough && ends_sentence(text, stop)) length = stop + 1;
  }
  return length == 0 ? text : text.substr(0, length);
}

std::string comment_above(const Module& module, const Test& test) {
  const Cell& cell = module.cells[test.cell];
  std::string out;
  for (std::size_t i = test.first; i < cell.body.size() && trim(cell.body[i]).starts_with("//"); ++i) {
    out += (out.empty() ? "" : " ") + std::string(comment_text(cell.body[i]));
  }
  return out;
}

// Of the exercises that the test has new, the one that its name begins with, or the last.
const Hole* exercise_of(const Module& module, const Test& test) {
  const Hole* found = nullptr;
  for (const Hole& hole : module.holes) {
    if (std::find(test.holes.begin(), test.holes.end(), hole.grade_id) == test.holes.end()) continue;
    found = &hole;
    const std::string name = hole.function.substr(hole.function.rfind(':') + 1);
    if (test.name.starts_with(name)) break;
  }
  return found;
}

// Whether no heading stands between the exercise and the test: an integration test is about more than the last exercise.
bool in_one_section(const Module& module, const Hole& hole, const Test& test) {
  for (std::size_t i = hole.cell; i < test.cell; ++i) {
    const Cell& cell = module.cells[i];
    const auto is_heading = [](const std::string& line) { return line.starts_with("// #"); };
    if (cell.kind == Cell::Kind::Markdown && std::any_of(cell.body.begin(), cell.body.end(), is_heading)) return false;
  }
  return true;
}

// What stands between the markers and the TODO.
std::string contract_of(const Module& module, const Hole& hole) {
  const Cell& cell = module.cells[hole.cell];
  std::string out;
  for (std::size_t i = 0; i < hole.todo_first; ++i) {
    const std::string_view line = trim(cell.body[i]);
    if (line.starts_with("//|") || !line.starts_with("//") || comment_text(line).empty()) continue;
    out += (out.empty() ? "" : " ") + std::string(comment_text(line));
  }
  return out;
}

// The last paragraph that tells something: no heading, no picture, no table, and nothing that only leads to one of these.
std::string last_paragraph(const Cell& cell) {
  std::string last;
  std::string paragraph;
  std::vector<std::string> lines = cell.body;
  lines.emplace_back("//");
  for (const std::string& line : lines) {
    const std::string_view text = line.size() > 2 ? std::string_view(line).substr(2) : std::string_view();
    const bool picture = text.starts_with("     ") || text.starts_with(" |") || text.starts_with(" #") || text.starts_with(" ```");
    if (!trim(text).empty() && !picture) {
      paragraph += (paragraph.empty() ? "" : " ") + std::string(trim(text));
      continue;
    }
    if (!paragraph.empty() && !paragraph.ends_with(':')) last = paragraph;
    paragraph.clear();
  }
  for (std::size_t at = last.find("**"); at != std::string::npos; at = last.find("**")) last.erase(at, 2);
  return last;
}

std::string prose_before(const Module& module, const Test& test) {
  for (std::size_t i = test.cell; i-- > 0;) {
    if (module.cells[i].kind == Cell::Kind::Markdown) return last_paragraph(module.cells[i]);
  }
  return "";
}

}  // namespace

std::string purpose_of(const Module& module, const Test& test) {
  if (const std::string comment = comment_above(module, test); !comment.empty()) return "It is there because: " + comment;
  if (const Hole* hole = exercise_of(module, test); hole != nullptr && in_one_section(module, *hole, test)) {
    const std::string contract = contract_of(module, *hole);
    if (!contract.empty()) return fmt::format("What {} promises: {}", hole->function, first_sentences(contract));
  }
  const std::string prose = prose_before(module, test);
  return prose.empty() ? "" : "From the lesson: " + first_sentences(prose);
}

}  // namespace tito
