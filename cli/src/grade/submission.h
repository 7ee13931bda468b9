// What a student handed in, as answers put into the instructor's module.
//
// Only the cells of exercises count: everything else, tests above all, is the instructor's, whatever was changed in the file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "format/module.h"

namespace tito {

struct Submission {
  std::string name;                         // the file's name without its ending
  std::map<std::string, std::string> cells;  // grade_id -> text
};

// A notebook (.ipynb) or a module file (.cpp). Of two cells with one grade_id the last counts, as for nbgrader. Throws Diagnostic
// on a notebook that is none.
Submission read_submission(const fs::path& file);

struct Answer {
  enum class State {
    Missing,   // its cell is gone
    Empty,     // as it was handed out
    Answered,
    Refused,   // cannot be used: `message` says why; it counts as empty
  };

  std::string grade_id;
  std::string function;
  State state = State::Missing;
  std::string message;
  std::vector<std::string> body;  // of the cell, markers included
  int shift = 0;                  // added to a line of `body` (from 1), the line of the student's cell
};

// "missing", "empty", "answered", "refused".
std::string_view name_of(Answer::State state);

class AnswerSheet {
 public:
  // The exercises of `reference` with what `submission` has for them. An answer that is not one function is refused here.
  AnswerSheet(const Module& reference, const Submission& submission);

  std::vector<Answer> answers;  // in the module's order

  // The instructor's module, hidden tests included, with the answers that are not refused.
  Module module() const;
  // The answer whose cell has the line of `module`; null for other lines.
  Answer* at(const Module& module, int line);
  // "05-reduce-to" and the line in that cell, for a line of `module`; {"", 0} for a line of no such cell.
  std::pair<std::string, int> place(const Module& module, int line) const;
  // A text that differs when anything that is compiled differs.
  std::string text() const;

 private:
  std::string with(const std::map<std::string, const Answer*>& used) const;

  fs::path file_;
  CellFile base_;  // the instructor's module with all exercises empty
};

}  // namespace tito
