// A lesson as a notebook, and what its cells are compiled against.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "build/stage_build.h"
#include "format/module.h"

namespace tito {

// What jupytext makes a notebook from: the lesson without the wrong bodies in it.
std::string notebook_text(const Module& module);

// The package below a lesson: the modules before it, with the classes by which the lesson extends Tensor and others. Its cells
// stand in the notebook, so the rest of it is not there.
StageOptions cell_options(const Module& module, const Toolchain& toolchain);
std::vector<Module> modules_below(const std::vector<Module>& stage, const Module& module);

// Of the library chapters behind the lesson at its stage, the ones without which its tests do not run: those of which it includes something (`included`, also indirectly), and
// where it is itself about what a Tensor is (it includes some of them, or gives Tensor methods), those that give classes methods or register functions.
std::vector<Module> chapters_used(const std::vector<Module>& stage, const Module& module, const std::set<std::string>& included);

// Headers that the lesson includes and that come from no lesson, where the package below it has none: the base of a class that the
// lesson itself defines.
std::vector<GeneratedFile> generated_for_cells(const std::vector<Module>& stage, const Module& module);

struct LessonTexts {
  fs::path mistakes;       // the file with the signatures of known mistakes
  std::string handed_out;  // the student's copy: where a cell uses a later one, that is what the later one says
};

// The same as one JSON object, for the kernel: compilers' command lines, objects, headers. Builds it first. Throws
// std::runtime_error with the compiler's messages when that fails.
std::string describe_cells(const StageBuild& build, const std::vector<Module>& stage, const Module& module, const LessonTexts& texts);

}  // namespace tito
