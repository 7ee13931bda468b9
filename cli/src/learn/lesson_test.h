// Compiling a learner's module at its stage, against their own earlier modules, and running its tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "build/known_mistakes.h"
#include "build/stage_build.h"
#include "learn/progress.h"
#include "learn/workspace.h"

namespace tito {

struct LessonOptions {
  bool reference = false;  // take the course's modules for those that are not complete
  Sanitizer sanitizer = Sanitizer::None;
  std::string compiler = "g++";
  double seconds_per_test = 20;
};

// The modules of a stage: the learner's `folder` and completed ones, the course's library chapters, and with `reference`
// the course's for what is not complete. Throws std::runtime_error that says which module is missing.
std::vector<Module> stage_modules(const Workspace& workspace, const Progress& progress, const std::string& folder,
                                  const LessonOptions& options);

struct LessonRun {
  bool compiled = true;
  std::string messages;  // of the compiler, in lines of the learner's file
  TestRun tests;
  std::vector<KnownMistake> mistakes;   // that the failures look like
  double seconds = 0;                   // from the start to the verdict

  bool ok() const { return compiled && tests.ok(); }
};

LessonRun test_lesson(const Workspace& workspace, const std::vector<Module>& modules, const std::string& folder,
                      const LessonOptions& options);

// Compiles what `folder` needs except its own tests' outcome, so that the first test is quick.
NinjaResult build_ahead(const Workspace& workspace, const std::vector<Module>& modules, const std::string& folder,
                        const LessonOptions& options);

// How test programs of this workspace run: with limits for code that is not finished.
TestOptions running_options(const Workspace& workspace, const LessonOptions& options);

// How other programs run that stand on what a learner wrote, demonstrations and milestones: in this folder, with the same limits.
ProcessOptions contained(const fs::path& folder);

StageOptions stage_options(const Workspace& workspace, const Module& module, const LessonOptions& options);

}  // namespace tito
