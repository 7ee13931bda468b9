// What `tito complete` asks: that the learner's package of a stage holds.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "learn/lesson_test.h"
#include "learn/milestones.h"

namespace tito {

// A module whose tests do not pass at this stage.
struct Broken {
  std::string folder;
  LessonRun run;
};

// Compiles the stage and runs the graded tests, as they were handed out, of `folder` and of every module before it that
// is the learner's; then those of the library chapters that follow `folder`, which test the package where lessons do not look. Calls
// `passed` after each module with what its tests said. Returns the first that is broken.
std::optional<Broken> first_broken(const Workspace& workspace, const std::vector<Module>& modules, const std::string& folder,
                                   const LessonOptions& options, const std::function<void(const Module&, const TestRun&)>& passed);

// The modules with the tests that were handed out in place of the learner's. `changed` gets the ids of those that differ.
std::vector<Module> with_course_tests(const Workspace& workspace, const std::vector<Module>& modules, std::vector<std::string>& changed);

// Where a milestone's program runs: data/ there is as it was handed out, and judges it, whatever became of the workspace's own.
// Throws std::runtime_error when it is damaged and cannot be had again.
fs::path milestone_folder(const Workspace& workspace, const Milestone& milestone);

struct MilestoneRun {
  bool built = true;
  std::string output;   // of the program, or of the compiler
  std::string problem;  // how the program ended when it did not end well
  GateResult gate;

  bool open() const { return built && problem.empty() && gate.open; }
};

// Compiles the program on the learner's package and judges what it prints.
MilestoneRun try_milestone(const Workspace& workspace, const std::vector<Module>& modules, const Milestone& milestone,
                           const std::string& folder, const LessonOptions& options);

}  // namespace tito
