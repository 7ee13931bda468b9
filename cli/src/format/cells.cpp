#include "format/cells.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

namespace tito {

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

namespace {

constexpr std::string_view kCellStart = "// %%";

bool starts_cell(std::string_view line) {
  return line.starts_with(kCellStart) && (line.size() == kCellStart.size() || line[kCellStart.size()] == ' ');
}

// What each marker wants behind it.
enum class Argument { None, Required };

const std::map<std::string, Argument, std::less<>>& marker_words() {
  static const std::map<std::string, Argument, std::less<>> words = {
      {"export", Argument::Required},  {"extends", Argument::Required}, {"registers", Argument::None},
      {"lesson", Argument::None},      {"mistake", Argument::Required}, {"says", Argument::Required},
      {"exercise", Argument::Required}, {"after", Argument::Required},
  };
  return words;
}

std::string known_words() {
  std::string out;
  for (const auto& [word, argument] : marker_words()) out += (out.empty() ? "" : ", ") + word;
  return out;
}

Marker parse_marker(const fs::path& file, int line, std::string_view text) {
  std::string_view rest = text.substr(3);
  if (rest.empty() || rest.front() != ' ') {
    throw Diagnostic(file, line, "malformed marker '" + std::string(text) + "': write '//| word', with one space");
  }
  rest = trim(rest);
  const std::size_t space = rest.find(' ');
  Marker marker{std::string(rest.substr(0, space)), "", line};
  if (space != std::string_view::npos) marker.argument = trim(rest.substr(space));
  const auto known = marker_words().find(marker.word);
  if (known == marker_words().end()) {
    throw Diagnostic(file, line, "unknown marker '" + marker.word + "'; known are: " + known_words());
  }
  if (known->second == Argument::Required && marker.argument.empty()) {
    throw Diagnostic(file, line, "marker '" + marker.word + "' needs something behind it");
  }
  if (known->second == Argument::None && !marker.argument.empty()) {
    throw Diagnostic(file, line, "marker '" + marker.word + "' takes nothing behind it");
  }
  return marker;
}

// Refuses `// | export ...` and `//|export ...`, which look like markers and are not.
void refuse_lookalike(const fs::path& file, int line, std::string_view text) {
  if (!text.starts_with("//")) return;
  std::string_view rest = trim(text.substr(2));
  if (!rest.starts_with("|") || text.starts_with("//|")) return;
  rest = trim(rest.substr(1));
  if (marker_words().contains(rest.substr(0, rest.find(' ')))) {
    throw Diagnostic(file, line, "malformed marker: write '//| " + std::string(rest) + "'");
  }
}

void check_nbgrader(const fs::path& file, int line, const nlohmann::json& metadata) {
  if (!metadata.contains("nbgrader")) return;
  const nlohmann::json& grader = metadata["nbgrader"];
  const auto refuse = [&](const std::string& text) { throw Diagnostic(file, line, "nbgrader metadata: " + text); };
  if (!grader.is_object()) refuse("must be an object");
  static const std::set<std::string> kKeys = {"grade", "grade_id", "locked", "points", "schema_version", "solution", "task"};
  for (const auto& [key, value] : grader.items()) {
    if (!kKeys.contains(key)) refuse("unknown key \"" + key + "\"");
  }
  for (const char* key : {"grade", "locked", "solution", "task"}) {
    if (!grader.contains(key) || !grader[key].is_boolean()) refuse("\"" + std::string(key) + "\" must be true or false");
  }
  if (!grader.contains("grade_id") || !grader["grade_id"].is_string()) refuse("\"grade_id\" must be a string");
  if (grader.value("schema_version", nlohmann::json(0)) != 3) refuse("\"schema_version\" must be 3");
  const bool graded = grader["grade"].get<bool>();
  if (graded != grader.contains("points")) refuse(graded ? "a graded cell needs \"points\"" : "\"points\" without \"grade\": true");
  if (graded && (!grader["points"].is_number() || grader["points"].get<double>() < 0)) {
    refuse("\"points\" must be a number that is not negative");
  }
}

// The line "// %%", "// %% [markdown]", each perhaps with one JSON object.
Cell parse_title(const fs::path& file, int line, std::string_view text) {
  Cell cell;
  cell.line = line;
  cell.title_line = text;
  std::string_view rest = trim(text.substr(kCellStart.size()));
  if (rest.starts_with("[markdown]")) {
    cell.kind = Cell::Kind::Markdown;
    rest = trim(rest.substr(10));
  }
  if (rest.empty()) return cell;
  if (rest.front() != '{') {
    throw Diagnostic(file, line, "a cell begins with '// %%' or '// %% [markdown]' and perhaps one JSON object, not with '" +
                                     std::string(rest) + "'");
  }
  cell.metadata = nlohmann::json::parse(rest, nullptr, false);
  if (cell.metadata.is_discarded()) throw Diagnostic(file, line, "the cell's metadata is not a JSON object");
  check_nbgrader(file, line, cell.metadata);
  return cell;
}

void finish_cell(const fs::path& file, Cell& cell) {
  while (!cell.body.empty() && is_blank(cell.body.back())) cell.body.pop_back();
  const auto line_of = [&](std::size_t i) { return cell.body_line + static_cast<int>(i); };
  for (std::size_t i = 0; i < cell.body.size(); ++i) {
    const std::string& text = cell.body[i];
    if (cell.kind == Cell::Kind::Markdown) {
      if (text.starts_with("//|")) throw Diagnostic(file, line_of(i), "a marker in a markdown cell; markers begin code cells");
      if (!text.starts_with("//") && !is_blank(text)) {
        throw Diagnostic(file, line_of(i), "every line of a markdown cell begins with '//'");
      }
    } else if (text.starts_with("//|")) {
      cell.markers.push_back(parse_marker(file, line_of(i), text));
    } else {
      refuse_lookalike(file, line_of(i), text);
    }
  }
}

}  // namespace

const Marker* Cell::marker(std::string_view word) const {
  for (const Marker& marker : markers) {
    if (marker.word == word) return &marker;
  }
  return nullptr;
}

bool Cell::nbgrader_flag(const char* key) const {
  return metadata.is_object() && metadata.contains("nbgrader") && metadata["nbgrader"].value(key, false);
}

std::string Cell::grade_id() const {
  if (!metadata.is_object() || !metadata.contains("nbgrader")) return "";
  return metadata["nbgrader"].value("grade_id", "");
}

double Cell::points() const {
  if (!metadata.is_object() || !metadata.contains("nbgrader")) return 0;
  return metadata["nbgrader"].value("points", 0.0);
}

CellFile parse_cells(const fs::path& file, std::string_view text) {
  CellFile out;
  out.file = file;
  int line = 0;
  for (std::string& text_line : split_lines(text)) {
    ++line;
    if (starts_cell(text_line)) {
      out.cells.push_back(parse_title(file, line, text_line));
      out.cells.back().body_line = line + 1;
    } else if (text_line.starts_with("//%%") || text_line.starts_with("// %%")) {
      throw Diagnostic(file, line, "a cell begins with '// %%' and a space or the end of the line");
    } else if (out.cells.empty()) {
      if (!text_line.starts_with("//") && !is_blank(text_line)) {
        throw Diagnostic(file, line, "before the first cell only '// ' lines may stand");
      }
      out.header.push_back(std::move(text_line));
    } else {
      out.cells.back().body.push_back(std::move(text_line));
    }
  }
  if (out.cells.empty()) throw Diagnostic(file, 1, "no cell: a module is made of cells that begin with '// %%'");
  for (Cell& cell : out.cells) finish_cell(file, cell);
  while (!out.header.empty() && is_blank(out.header.back())) out.header.pop_back();
  return out;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) end = text.size();
    std::string_view line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    begin = end + 1;
  }
  return lines;
}

std::string join_lines(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) {
    out += line;
    out += '\n';
  }
  return out;
}

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file)) throw Diagnostic(file, 0, "cannot be read");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace tito
