#include "format/leaks.h"

#include <algorithm>
#include <optional>

#include <fmt/core.h>

namespace tito {
namespace {

// Shorter ones stand in many places.
constexpr std::size_t telling_statement = 40;
constexpr std::size_t telling_pair = 30;
constexpr std::size_t telling_body = 20;  // of one line

using Lines = std::vector<std::string>;

// One space for each run of blanks, none at the ends.
std::string with_single_spaces(std::string_view line) {
  std::string out;
  for (const char c : trim(line)) {
    const bool blank = c == ' ' || c == '\t';
    if (!blank || out.back() != ' ') out += blank ? ' ' : c;
  }
  return out;
}

bool is_comment(std::string_view line) { return trim(line).starts_with("//"); }

std::string without_slashes(std::string_view line) {
  std::string_view text = trim(line);
  if (text.starts_with("//")) text.remove_prefix(2);
  return with_single_spaces(text);
}

// Lines of code without comments; lone braces tell nothing.
Lines code_lines(const Lines& lines) {
  Lines out;
  for (const std::string& line : lines) {
    std::string text = with_single_spaces(std::string_view(line).substr(0, line.find("  //")));
    if (text.size() > 2 && !is_comment(text)) out.push_back(std::move(text));
  }
  return out;
}

std::string joined(const Lines& lines, char between) {
  std::string out(1, between);
  for (const std::string& line : lines) out += line + between;
  return out;
}

// What a student gets, as texts to be searched: code line by line, prose as one long line, since it wraps.
struct Texts {
  std::string open;   // code that has no business with a solution
  std::string prose;  // and comments
  std::string given;  // code that may share lines with it

  bool code_has(const std::string& text, const Lines& part) const { return text.find(joined(part, '\n')) != std::string::npos; }
  bool open_has(const Lines& part) const {
    std::string sentence = joined(part, ' ');
    return code_has(open, part) || prose.find(sentence.substr(1, sentence.size() - 2)) != std::string::npos;
  }
};

// `lessons_are_given`: the program that a debug exercise is about stands in them.
Texts texts_of(const std::vector<Cell>& cells, bool lessons_are_given) {
  Texts out;
  for (const Cell& cell : cells) {
    Lines prose;
    for (const std::string& line : cell.body) {
      if (cell.kind == Cell::Kind::Markdown || is_comment(line)) prose.push_back(without_slashes(line));
    }
    out.prose += joined(prose, ' ') + "\n";
    if (cell.kind == Cell::Kind::Markdown) continue;
    const bool exercise = cell.nbgrader_flag("solution");
    const bool given = !exercise && (cell.marker("export") != nullptr || (lessons_are_given && cell.marker("lesson") != nullptr));
    (given ? out.given : out.open) += joined(code_lines(cell.body), '\n');
  }
  return out;
}

// What must not be in a student's hands.
struct Secret {
  enum class Kind { Solution, HiddenTests, Answer };

  Kind kind = Kind::Solution;
  std::string name;
  int line = 0;
  Lines lines;
  bool debug = false;
};

Lines between(const Lines& lines, std::string_view begin, std::string_view end) {
  Lines out;
  bool inside = false;
  for (const std::string& line : lines) {
    if (trim(line) == end) inside = false;
    if (inside) out.push_back(line);
    if (trim(line) == begin) inside = true;
  }
  return out;
}

std::vector<Secret> secrets_of(const Module& module) {
  std::vector<Secret> out;
  for (const Hole& hole : module.holes) {
    const auto body = module.cells[hole.cell].body.begin();
    const Lines lines(body + static_cast<std::ptrdiff_t>(hole.body_first), body + static_cast<std::ptrdiff_t>(hole.body_last) + 1);
    out.push_back({Secret::Kind::Solution, "the solution of '" + hole.grade_id + "'", hole.line, code_lines(lines), hole.kind == "debug"});
  }
  for (const Cell& cell : module.cells) {
    if (cell.marker("mistake") != nullptr) continue;
    if (cell.kind == Cell::Kind::Code) {
      const Lines hidden = code_lines(between(cell.body, "// BEGIN HIDDEN TESTS", "// END HIDDEN TESTS"));
      out.push_back({Secret::Kind::HiddenTests, "hidden tests of '" + cell.grade_id() + "'", cell.line, hidden, false});
    } else if (cell.nbgrader_flag("solution")) {
      Lines answer;
      for (const std::string& line : between(cell.body, "// BEGIN SOLUTION", "// END SOLUTION")) answer.push_back(without_slashes(line));
      std::erase(answer, "");
      out.push_back({Secret::Kind::Answer, "the answer of '" + cell.grade_id() + "'", cell.line, answer, false});
    }
  }
  return out;
}

// Tests make ready in the same words; what they check is secret.
bool tells(const Secret& secret, const Lines& part) {
  return secret.kind != Secret::Kind::HiddenTests ||
         std::any_of(part.begin(), part.end(), [](const std::string& line) { return line.find("CHECK") != std::string::npos; });
}

// The first part of the secret that a student can read; none if nothing of it is there.
std::optional<Lines> readable_part(const Secret& secret, const Texts& texts) {
  const Lines& lines = secret.lines;
  if (lines.empty()) return std::nullopt;
  const bool long_enough = lines.size() > 1 || lines[0].size() >= telling_statement;
  if (long_enough && texts.code_has(texts.given, lines)) return lines;
  if (lines.size() == 1) return lines[0].size() >= telling_body && texts.open_has(lines) ? std::optional(lines) : std::nullopt;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    const Lines pair{lines[i], lines[i + 1]};
    if (pair[0].size() + pair[1].size() >= telling_pair && tells(secret, pair) && texts.open_has(pair)) return pair;
  }
  if (secret.kind != Secret::Kind::Solution) return std::nullopt;
  for (const std::string& line : lines) {
    const bool statement = line.size() >= telling_statement && line.ends_with(';');
    if (statement && texts.open_has({line}) && !texts.code_has(texts.given, {line})) return Lines{line};
  }
  return std::nullopt;
}

}  // namespace

std::vector<Finding> find_leaks(const Module& module, const std::vector<Cell>& given, std::string_view what) {
  const Texts usual = texts_of(given, false);
  const Texts debugging = texts_of(given, true);
  std::vector<Finding> findings;
  for (const Secret& secret : secrets_of(module)) {
    const std::optional<Lines> part = readable_part(secret, secret.debug ? debugging : usual);
    if (!part) continue;
    const char* share = part->size() < secret.lines.size() ? "part of " : "";
    findings.push_back({Finding::Level::Error, module.file, secret.line, "student-copy",
                        fmt::format("the student's {} has {}{}: {}", what, share, secret.name, part->front())});
  }
  return findings;
}

}  // namespace tito
