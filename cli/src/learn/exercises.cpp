#include "learn/exercises.h"

#include <algorithm>

namespace tito {
namespace {

double points_of(const Module& module, const std::string& grade_id) {
  for (const Cell& cell : module.cells) {
    if (cell.grade_id() == grade_id) return cell.points();
  }
  return 0;
}

// The exercises that a graded cell has new: those between it and the graded cell before.
bool is_last_exercise_of(const Module& module, const Hole& hole, const Test& test) {
  return !test.holes.empty() && test.holes.back() == hole.grade_id && test.cell > hole.cell && module.cells[test.cell].points() > 0;
}

Exercise exercise_of(const Module& module, const Hole& hole, const std::set<std::string>& passed) {
  Exercise out{hole.grade_id, hole.function, hole.todo, hole.kind, hole.line, 0, 0, Exercise::State::Untested};
  std::set<std::string> cells;
  std::set<std::string> own;
  for (const Test& test : module.tests) {
    if (!test.graded || std::find(test.holes.begin(), test.holes.end(), hole.grade_id) == test.holes.end()) continue;
    cells.insert(test.grade_id);
    if (is_last_exercise_of(module, hole, test)) own.insert(test.grade_id);
  }
  for (const std::string& cell : own) {
    out.points += points_of(module, cell);
    if (passed.contains(cell)) out.earned += points_of(module, cell);
  }
  const bool all = !cells.empty() && std::includes(passed.begin(), passed.end(), cells.begin(), cells.end());
  if (is_empty(module, hole)) {
    out.state = Exercise::State::Empty;
  } else if (!cells.empty()) {
    out.state = all ? Exercise::State::Passed : Exercise::State::Failing;
  }
  return out;
}

std::string question_of(const Cell& cell) {
  for (const std::string& line : cell.body) {
    const std::size_t first = line.find_first_not_of("/ #*");
    if (first == std::string::npos) continue;
    std::string text = line.substr(first);
    if (text.starts_with("Explain: ")) text.erase(0, 9);
    for (std::size_t at = text.find("**"); at != std::string::npos; at = text.find("**")) text.erase(at, 2);
    return text;
  }
  return "";
}

}  // namespace

bool is_empty(const Module& module, const Hole& hole) {
  const Cell& cell = module.cells[hole.cell];
  for (std::size_t i = hole.body_first; i <= hole.body_last && i < cell.body.size(); ++i) {
    if (cell.body[i].find("throw NotImplemented(\"" + module.number + " ") != std::string::npos) return true;
  }
  return false;
}

std::vector<Exercise> exercises_of(const Module& module, const std::set<std::string>& passed) {
  std::vector<Exercise> out;
  std::size_t next = 0;
  for (std::size_t i = 0; i < module.cells.size(); ++i) {
    const Cell& cell = module.cells[i];
    while (next < module.holes.size() && module.holes[next].cell <= i) {
      out.push_back(exercise_of(module, module.holes[next++], passed));
    }
    const bool explain = cell.kind == Cell::Kind::Markdown && cell.nbgrader_flag("grade") && cell.nbgrader_flag("solution");
    if (explain) {
      out.push_back({cell.grade_id(), "in words", question_of(cell), "explain", cell.line, cell.points(), 0, Exercise::State::Untested});
    }
  }
  return out;
}

std::set<std::string> passed_cells(const Module& module, const TestRun& run) {
  std::set<std::string> passed = graded_cells(module);
  for (const Test& test : module.tests) {
    if (!test.graded || test.is_demo) continue;
    const TestOutcome* outcome = run.find(test.name);
    if (outcome == nullptr || !outcome->gives_points()) passed.erase(test.grade_id);
  }
  return passed;
}

std::set<std::string> graded_cells(const Module& module) {
  std::set<std::string> cells;
  for (const Test& test : module.tests) {
    if (test.graded && !test.is_demo) cells.insert(test.grade_id);
  }
  return cells;
}

}  // namespace tito
