// tito path: what comes next, and why.
#include <fmt/core.h>

#include "commands/commands.h"
#include "learn/explain.h"
#include "learn/lessons.h"
#include "learn/milestones.h"

namespace tito {
namespace {

void print_next(const Workspace& workspace, const Progress& progress, const std::string& folder, const Style& style) {
  fmt::print("\n{}  {}\n", style.bold("Next: " + folder), learning_pattern(workspace, folder));
  fmt::print("{}", wrapped("Why: " + readme_paragraph(workspace, folder, "**Rationale.**"), 100, "  "));
  if (!is_started(progress, folder)) return fmt::print("  tito start {}\n", folder.substr(0, 2));
  for (const Exercise& exercise : exercises_of(workspace.module(folder), progress.modules.at(folder).passed)) {
    if (exercise.state == Exercise::State::Passed || exercise.kind == "explain") continue;
    fmt::print("  The exercise you are at: {}, {}:{}\n{}", style.bold(exercise.function), workspace.file_of(folder).string(), exercise.line,
               wrapped(exercise.todo, 96, "    "));
    fmt::print("  tito watch {}, or tito hint {}\n", folder.substr(0, 2), folder.substr(0, 2));
    return;
  }
  fmt::print("  All its tests passed when they last ran: tito complete {}\n", folder.substr(0, 2));
}

void run_path() {
  const Workspace workspace = require_workspace();
  const Progress progress = read_progress(workspace);
  const Style style = output_style();
  const std::vector<Milestone> milestones = read_milestones(workspace.course());
  const std::optional<std::string> next = next_lesson(workspace, progress);
  for (const std::string& folder : workspace.folders()) {
    const bool done = is_complete(progress, folder);
    fmt::print("  {} {}\n", done ? style.green("done") : next == folder ? style.yellow("next") : "    ", folder);
    for (const Milestone& milestone : milestones) {
      if (milestone.after != folder.substr(0, 2)) continue;
      fmt::print("  {}   -> {}\n", progress.milestones.contains(milestone.name) ? style.green("open") : "    ", milestone.title);
    }
  }
  if (next) return print_next(workspace, progress, *next, style);
  fmt::print("\nYou have built all of it. tinytorch/ is yours.\n");
}

}  // namespace

void add_path_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("path", "In a workspace: what comes next, and why");
  command->callback([] { run_path(); });
}

}  // namespace tito
