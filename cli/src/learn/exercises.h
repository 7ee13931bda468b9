// The exercises of a learner's module: what stands in them, and what their tests said.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "build/test_program.h"
#include "format/module.h"

namespace tito {

struct Exercise {
  enum class State { Empty, Failing, Passed, Untested };

  std::string grade_id;
  std::string function;
  std::string todo;
  std::string kind;  // fill, design, debug, optimize or explain
  int line = 0;
  double points = 0;  // of the graded cells that it is the last exercise of
  double earned = 0;
  State state = State::Untested;
};

// The exercises of a module in its order, those explained in words included. `passed` are the graded cells that passed.
std::vector<Exercise> exercises_of(const Module& module, const std::set<std::string>& passed);

// Whether the hole still throws NotImplemented, as it was handed out.
bool is_empty(const Module& module, const Hole& hole);

// The graded cells all of whose tests passed, and reached the ratio that their points ask for.
std::set<std::string> passed_cells(const Module& module, const TestRun& run);

// The graded cells of a module that a program tests.
std::set<std::string> graded_cells(const Module& module);

}  // namespace tito
