#include "learn/hints.h"

#include <array>
#include <cctype>
#include <string_view>

#include "learn/progress.h"

namespace tito {
namespace {

constexpr std::array<std::string_view, 5> kinds = {"APPROACH:", "EXAMPLE:", "HINTS:", "HINT:", "NOTE:"};

struct Paragraph {
  std::string_view kind;
  std::string text;
};

// The scaffold's paragraphs, each with the word it begins with.
std::vector<Paragraph> paragraphs(const Cell& cell, const Hole& hole) {
  std::vector<Paragraph> out;
  for (std::size_t i = hole.todo_first; i <= hole.todo_last; ++i) {
    std::string_view text = trim(trim(cell.body[i]).substr(2));
    bool opens = false;
    for (const std::string_view kind : kinds) {
      if (!text.starts_with(kind)) continue;
      out.push_back({kind, std::string(trim(text.substr(kind.size())))});
      opens = true;
      break;
    }
    if (!opens && !out.empty() && !text.empty()) out.back().text += (out.back().text.empty() ? "" : " ") + std::string(text);
  }
  return out;
}

// "1. Do this. 2. Do that." -> its steps; the whole text when it has no numbers.
std::vector<std::string> steps(const std::string& text) {
  std::vector<std::size_t> begins;
  int next = 1;
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    const std::string number = std::to_string(next) + ". ";
    const bool here = text.compare(i, number.size(), number) == 0 && (i == 0 || text[i - 1] == ' ');
    if (here) {
      begins.push_back(i);
      ++next;
    }
  }
  if (begins.size() < 2) return {text};
  std::vector<std::string> out;
  for (std::size_t k = 0; k < begins.size(); ++k) {
    const std::size_t stop = k + 1 < begins.size() ? begins[k + 1] : text.size();
    out.emplace_back(trim(std::string_view(text).substr(begins[k], stop - begins[k])));
  }
  return out;
}

}  // namespace

std::vector<std::string> hints_of(const Module& module, const Hole& hole, const std::vector<KnownMistake>& mistakes) {
  const std::vector<Paragraph> all = paragraphs(module.cells[hole.cell], hole);
  std::vector<std::string> out;
  for (const Paragraph& paragraph : all) {
    if (paragraph.kind != "APPROACH:") continue;
    for (const std::string& step : steps(paragraph.text)) out.push_back(step);
  }
  for (const Paragraph& paragraph : all) {
    if (paragraph.kind == "EXAMPLE:") out.push_back("For example: " + paragraph.text);
  }
  for (const Paragraph& paragraph : all) {
    if (paragraph.kind != "APPROACH:" && paragraph.kind != "EXAMPLE:") out.push_back(paragraph.text);
  }
  for (const KnownMistake& mistake : mistakes) {
    if (mistake.id.starts_with(hole.grade_id + "/")) out.push_back("Others went wrong here. " + mistake.says);
  }
  return out;
}

NextHint next_hint(const Workspace& workspace, const std::string& folder, const Hole& hole, std::size_t count) {
  NextHint next{count, true};
  change_progress(workspace, [&](Progress& progress) {
    int& shown = progress.modules[folder].hints[hole.grade_id];
    if (shown >= static_cast<int>(count)) return;
    next = {static_cast<std::size_t>(++shown), false};
  });
  return next;
}

}  // namespace tito
