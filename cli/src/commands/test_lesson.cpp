// tito test [NN] in a workspace: the learner's module at its stage, against their own earlier modules.
#include <fmt/core.h>

#include "commands/commands.h"
#include "learn/explain.h"
#include "learn/lessons.h"

namespace tito {
namespace {

Sanitizer sanitizer_named(const std::string& name) {
  if (name.empty()) return Sanitizer::None;
  return name == "thread" ? Sanitizer::Thread : Sanitizer::Memory;
}

// Only a full run counts: a sanitizer's program may stop early.
void remember(const Workspace& workspace, const Module& module, const LessonRun& run) {
  change_progress(workspace, [&](Progress& progress) {
    ModuleProgress& entry = progress.modules[module.folder()];
    if (entry.started.empty()) entry.started = now();
    entry.passed = passed_cells(module, run.tests);
  });
}

void test_and_report(const Workspace& workspace, const Progress& progress, const std::string& folder, const LessonOptions& options, bool json) {
  const std::vector<Module> modules = stage_modules(workspace, progress, folder, options);
  const Module& module = find_module(modules, folder);
  const LessonRun run = test_lesson(workspace, modules, folder, options);
  if (run.compiled && options.sanitizer == Sanitizer::None) remember(workspace, module, run);
  fmt::print("{}", json ? json_of_run(module, run) : describe_run(module, run, output_style()));
  if (!run.ok()) throw Exit{1};
  if (!json && !is_complete(progress, folder)) fmt::print("Next: tito complete {}\n", module.number);
}

}  // namespace

void test_in_workspace(const LessonTestArguments& arguments) {
  const Workspace workspace = require_workspace();
  const Progress progress = read_progress(workspace);
  const std::string folder = current_lesson(workspace, progress, arguments.module);
  LessonOptions options;
  options.reference = arguments.reference;
  options.sanitizer = sanitizer_named(arguments.sanitize);
  options.compiler = arguments.compiler;
  try {
    test_and_report(workspace, progress, folder, options, arguments.json);
  } catch (const Diagnostic& error) {
    if (!arguments.json) throw;
    fmt::print("{}", json_of_unreadable(folder, error));
    throw Exit{1};
  }
}

}  // namespace tito
