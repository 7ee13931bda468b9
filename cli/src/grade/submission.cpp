#include "grade/submission.h"

#include <fmt/core.h>

#include <algorithm>
#include <regex>
#include <string_view>

#include "format/student.h"

namespace tito {
namespace {

using nlohmann::json;

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// A string, or a list of them.
std::string source_of(const json& cell) {
  const auto source = cell.find("source");
  if (source == cell.end()) return "";
  if (source->is_string()) return source->get<std::string>();
  std::string text;
  if (source->is_array()) {
    for (const json& line : *source) text += line.is_string() ? line.get<std::string>() : "";
  }
  return text;
}

std::string grade_id_of(const json& metadata) {
  if (!metadata.is_object()) return "";
  const auto grader = metadata.find("nbgrader");
  if (grader == metadata.end() || !grader->is_object()) return "";
  const auto id = grader->find("grade_id");
  return id != grader->end() && id->is_string() ? id->get<std::string>() : "";
}

std::map<std::string, std::string> notebook_cells(const fs::path& file, const std::string& text) {
  const json notebook = json::parse(text, nullptr, false);
  if (!notebook.is_object() || !notebook.contains("cells") || !notebook["cells"].is_array()) {
    throw Diagnostic(file, 0, "this is not a notebook; hand in the .ipynb as Jupyter saved it, or the module file");
  }
  std::map<std::string, std::string> cells;
  for (const json& cell : notebook["cells"]) {
    if (!cell.is_object() || !cell.contains("metadata")) continue;
    const std::string id = grade_id_of(cell["metadata"]);
    if (!id.empty()) cells[id] = source_of(cell);
  }
  return cells;
}

// As tolerant as it can be: one broken line is not the end of a whole submission.
std::map<std::string, std::string> module_cells(const std::string& text) {
  std::map<std::string, std::string> cells;
  std::string id;
  for (const std::string& line : split_lines(text)) {
    if (line.starts_with("// %%")) {
      const std::size_t brace = line.find('{');
      id = brace == std::string::npos ? "" : grade_id_of(json::parse(line.substr(brace), nullptr, false));
      if (!id.empty()) cells[id].clear();
    } else if (!id.empty()) {
      cells[id] += line + "\n";
    }
  }
  return cells;
}

// The cell's lines as an answer: markers are the instructor's, and no line begins a cell.
Answer as_answer(const Hole& hole, const Cell& base, const std::string& text) {
  Answer answer{hole.grade_id, hole.function, Answer::State::Answered, "", {}, 0};
  for (const std::string& line : base.body) {
    if (line.starts_with("//|")) answer.body.push_back(line);
  }
  answer.shift = -static_cast<int>(answer.body.size());
  const std::vector<std::string> lines = split_lines(text);
  const bool has_todo = std::any_of(lines.begin(), lines.end(), [](const std::string& line) { return trim(line).starts_with("// TODO:"); });
  if (!has_todo) {  // what the exercise is called stays known
    answer.body.push_back("// TODO: " + hole.todo);
    --answer.shift;
  }
  for (const std::string& line : lines) {
    if (line.starts_with("//|")) {
      ++answer.shift;
    } else if (line.starts_with("// %%") || line.starts_with("//%%")) {
      answer.body.push_back(" " + line);
    } else {
      answer.body.push_back(line);
    }
  }
  while (!answer.body.empty() && trim(answer.body.back()).empty()) answer.body.pop_back();
  return answer;
}

// Words that reach out of an exercise's own function into the tests.
std::string why_refused(const Answer& answer) {
  static const std::regex directive(R"(^\s*(#|%:|\?\?=))");
  static const std::regex test_words(R"(\b(TEST_CASE|TEST_SUITE|SUBCASE|REGISTER_REPORTER|DEMO|_Pragma)\b)");
  static const std::regex testing(R"(doctest|DOCTEST|\btito\s*::|\bnamespace\s+tito\b|4tito)");
  static const std::regex ahead_of_main(
      R"(\b(asm|__asm|__asm__)\b|(__attribute__|\bgnu\s*:)[^;{]*\b_*(constructor|init_priority|ifunc|alias|section)_*\b)");
  std::string code;
  for (const std::string& line : answer.body) {
    if (line.starts_with("//")) continue;
    // The compiler joins lines before it looks for words.
    line.ends_with('\\') ? code.append(line, 0, line.size() - 1) : code.append(line + "\n");
    if (std::regex_search(line, directive)) return "an answer has no preprocessor lines: " + line;
    if (std::regex_search(line, test_words)) return "an answer has no tests of its own; write them in a cell beside it: " + line;
  }
  std::smatch found;
  if (std::regex_search(code, found, testing)) return "an answer does not use what tests it: " + found.str();
  if (std::regex_search(code, found, ahead_of_main)) return "an answer has no assembler, and nothing that runs or is linked in another's place: " + found.str();
  return "";
}

const Cell* find_cell(const CellFile& file, const std::string& id) {
  for (const Cell& cell : file.cells) {
    if (cell.grade_id() == id) return &cell;
  }
  return nullptr;
}

}  // namespace

Submission read_submission(const fs::path& file) {
  const std::string text = read_text(file);
  return {file.stem().string(), file.extension() == ".ipynb" ? notebook_cells(file, text) : module_cells(text)};
}

std::string_view name_of(Answer::State state) {
  switch (state) {
    case Answer::State::Missing:
      return "missing";
    case Answer::State::Empty:
      return "empty";
    case Answer::State::Answered:
      return "answered";
    case Answer::State::Refused:
      break;
  }
  return "refused";
}

AnswerSheet::AnswerSheet(const Module& reference, const Submission& submission)
    : file_("submission/" + reference.folder() + "/" + reference.file.filename().string()),
      base_(parse_cells(file_, student_copy(reference, true))) {
  for (const Hole& hole : reference.holes) {
    const Cell& base = *find_cell(base_, hole.grade_id);
    const auto found = submission.cells.find(hole.grade_id);
    if (found == submission.cells.end()) {
      answers.push_back({hole.grade_id, hole.function, Answer::State::Missing, "the cell of this exercise is not in the submission", {}, 0});
      continue;
    }
    Answer answer = as_answer(hole, base, found->second);
    if (answer.body == base.body) {
      answer.state = Answer::State::Empty;
    } else {
      answer.message = why_refused(answer);
      try {
        const Module alone = parse_module(file_, with({{hole.grade_id, &answer}}), Edition::Student);
        const auto mine = std::find_if(alone.holes.begin(), alone.holes.end(), [&](const Hole& other) { return other.grade_id == hole.grade_id; });
        if (answer.message.empty() && mine->function != hole.function) {
          answer.message = fmt::format("the last function in the cell is {}, not {}", mine->function, hole.function);
        }
      } catch (const Diagnostic& error) {
        if (answer.message.empty()) answer.message = error.message;
      }
      if (!answer.message.empty()) answer.state = Answer::State::Refused;
    }
    answers.push_back(std::move(answer));
  }
}

std::string AnswerSheet::with(const std::map<std::string, const Answer*>& used) const {
  std::string out = join_lines(base_.header);
  for (const Cell& cell : base_.cells) {
    const auto answer = used.find(cell.grade_id());
    const bool replaced = answer != used.end() && !cell.grade_id().empty();
    if (!out.empty()) out += '\n';
    out += cell.title_line + '\n' + join_lines(replaced ? answer->second->body : cell.body);
  }
  return out;
}

std::string AnswerSheet::text() const {
  std::map<std::string, const Answer*> used;
  for (const Answer& answer : answers) {
    if (answer.state == Answer::State::Answered) used[answer.grade_id] = &answer;
  }
  return with(used);
}

Module AnswerSheet::module() const { return parse_module(file_, text(), Edition::Student); }

Answer* AnswerSheet::at(const Module& module, int line) {
  const std::string id = place(module, line).first;
  for (Answer& answer : answers) {
    if (answer.grade_id == id) return &answer;
  }
  return nullptr;
}

std::pair<std::string, int> AnswerSheet::place(const Module& module, int line) const {
  const Cell* found = nullptr;
  for (const Cell& cell : module.cells) {
    if (cell.line <= line) found = &cell;
  }
  if (found == nullptr || found->grade_id().empty()) return {"", 0};
  int shift = 0;
  for (const Answer& answer : answers) {
    if (answer.grade_id == found->grade_id() && answer.state == Answer::State::Answered) shift = answer.shift;
  }
  return {found->grade_id(), line - found->body_line + 1 + shift};
}

}  // namespace tito
