// tito hint NN [EXERCISE]: the next hint, one at a time.
#include <fmt/core.h>

#include <memory>

#include "commands/commands.h"
#include "learn/explain.h"
#include "learn/handed_out.h"
#include "learn/hints.h"
#include "learn/lessons.h"

namespace tito {
namespace {

// The exercise that a person names, or the first that has not passed.
const Hole& chosen(const Module& module, const ModuleProgress& entry, const std::string& name) {
  std::string names;
  for (const Hole& hole : module.holes) {
    if (name == hole.grade_id || name == hole.function || module.number + "-" + name == hole.grade_id) return hole;
    names += (names.empty() ? "" : ", ") + hole.grade_id;
  }
  if (!name.empty()) throw std::runtime_error(fmt::format("no exercise '{}' in {}; there are: {}", name, module.folder(), names));
  for (const Exercise& exercise : exercises_of(module, entry.passed)) {
    if (exercise.state == Exercise::State::Passed || exercise.kind == "explain") continue;
    for (const Hole& hole : module.holes) {
      if (hole.grade_id == exercise.grade_id) return hole;
    }
  }
  throw std::runtime_error(fmt::format("all exercises of {} pass; name one for its hints", module.folder()));
}

void run_hint(const std::string& name, const std::string& exercise) {
  const Workspace workspace = require_workspace();
  const Progress progress = read_progress(workspace);
  const std::string folder = current_lesson(workspace, progress, name);
  const Module module = workspace.module(folder);
  const auto entry = progress.modules.find(folder);
  const Hole& hole = chosen(module, entry == progress.modules.end() ? ModuleProgress() : entry->second, exercise);
  const std::vector<std::string> hints = hints_of(module, hole, handed_out_mistakes(workspace, folder));
  fmt::print("{}  {}:{}\n{}\n", output_style().bold(hole.function), workspace.file_of(folder).string(), hole.line,
             wrapped(hole.todo, 100, "  "));
  if (hints.empty()) return fmt::print("There is no hint for it: the contract above the function says all there is.\n");
  const auto [number, again] = next_hint(workspace, folder, hole, hints.size());
  fmt::print("Hint {} of {}:\n{}", number, hints.size(), wrapped(hints[number - 1], 100, "  "));
  if (again) fmt::print("That was the last one.\n");
}

}  // namespace

void add_hint_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("hint", "In a workspace: the next hint for an exercise");
  const auto module = std::make_shared<std::string>();
  const auto exercise = std::make_shared<std::string>();
  command->add_option("module", *module, "05 or autograd");
  command->add_option("exercise", *exercise, "its id or its function; the first that does not pass when it is left out");
  command->callback([module, exercise] { run_hint(*module, *exercise); });
}

}  // namespace tito
