// tito complete NN: the module's tests and those of every module before it; the package in tinytorch/ grows; milestones open.
#include <fmt/core.h>

#include <memory>
#include <set>

#include "commands/commands.h"
#include "format/export.h"
#include "learn/completion.h"
#include "learn/explain.h"
#include "learn/lessons.h"

namespace tito {
namespace {

// The program's own words, without what was said to the gate; of very many the last.
std::string without_guesses(const std::string& output) {
  std::string out;
  for (const std::string& line : split_lines(output)) {
    if (!line.starts_with("guess ")) out += "  " + line + "\n";
  }
  constexpr std::size_t shown = 6000;
  return out.size() > shown ? "  ...\n" + out.substr(out.find('\n', out.size() - shown) + 1) : out;
}

bool open_milestone(const Workspace& workspace, const std::vector<Module>& modules, const Milestone& milestone,
                    const std::string& folder, const LessonOptions& options, const Style& style) {
  fmt::print("\n{}  {}\n{}", style.bold("MILESTONE"), style.bold(milestone.title), wrapped(milestone.story, 100, "  "));
  std::fflush(stdout);
  const MilestoneRun run = try_milestone(workspace, modules, milestone, folder, options);
  if (!run.built) {
    fmt::print("{}\n  It does not compile on your package.\n", run.output);
    return false;
  }
  fmt::print("{}", without_guesses(run.output));
  if (!run.problem.empty()) fmt::print("  The program did not come to its end: {}\n", run.problem);
  for (const std::string& line : split_lines(run.gate.report)) fmt::print("  Gate, {}\n", line);
  fmt::print("  {}\n", run.open() ? style.green("The gate is open.") : style.red("The gate stays closed: something it stands on is not right."));
  return run.open();
}

// The first of its tests that fails; empty when it does not compile.
std::string first_failed(const Broken& broken) {
  for (const TestOutcome& test : broken.run.tests.tests) {
    if (!test.passed) return test.name;
  }
  return "";
}

[[noreturn]] void refuse(const std::vector<Module>& modules, const std::string& folder, const Broken& broken, const Style& style) {
  fmt::print("{}", describe_run(find_module(modules, broken.folder), broken.run, style));
  const std::string failed = first_failed(broken);
  if (is_library_chapter(broken.folder)) {
    fmt::print("\n{} stands on your package", broken.folder);
    if (!failed.empty()) fmt::print(", and its test \"{}\" fails there", failed);
    fmt::print(": something in your modules is not right where their own tests do not look.\n");
  } else if (broken.folder != folder) {
    fmt::print("\n{} stands on {}, which is broken", folder, broken.folder);
    if (!failed.empty()) fmt::print(": its test \"{}\" fails on the package of module {}", failed, folder.substr(0, 2));
    fmt::print(".\nMend {} first: tito test {}\n", broken.folder, broken.folder.substr(0, 2));
  }
  throw Exit{1};
}

void check_holes(const Module& module) {
  for (const Hole& hole : module.holes) {
    if (is_empty(module, hole)) {
      throw std::runtime_error(fmt::format("{}:{}: {} is still empty: {}", module.file.string(), hole.line, hole.function, hole.todo));
    }
  }
}

// The package of what is complete, with `folder`.
void write_package(const Workspace& workspace, const std::vector<Module>& modules) {
  const Package package = export_package(modules);
  const std::size_t changed = write_changed(workspace.package(), package.files, true);
  fmt::print("tinytorch/ has {} files now, {} new or changed.\n", package.files.size(), changed);
}

void run_complete(const std::string& name, bool reference) {
  const Workspace workspace = require_workspace();
  const Progress before = read_progress(workspace);
  const std::string folder = current_lesson(workspace, before, name);
  const Style style = output_style();
  LessonOptions options;
  options.reference = reference;
  std::vector<std::string> changed;
  const std::vector<Module> own = stage_modules(workspace, before, folder, options);
  const std::vector<Module> modules = with_course_tests(workspace, own, changed);
  check_holes(find_module(modules, folder));
  for (const std::string& id : changed) fmt::print("The test {} is not as it was handed out; the handed-out one counts.\n", id);
  std::set<std::string> earned;
  const auto say_passed = [&](const Module& module, const TestRun& run) {
    for (const TestOutcome& test : run.tests) fmt::print("{}", describe_ratio(test));
    fmt::print("{} {}\n", style.green("passed"), module.folder());
    std::fflush(stdout);
    if (module.folder() == folder) earned = passed_cells(module, run);
  };
  if (const std::optional<Broken> broken = first_broken(workspace, modules, folder, options, say_passed)) {
    if (broken->folder == folder && is_complete(before, folder)) {
      change_progress(workspace, [&](Progress& progress) { progress.modules[folder].completed.clear(); });
    }
    refuse(modules, folder, *broken, style);
  }
  write_package(workspace, own);
  const Progress after = change_progress(workspace, [&](Progress& progress) {
    ModuleProgress& entry = progress.modules[folder];
    entry.completed = now();
    if (entry.started.empty()) entry.started = entry.completed;
    entry.passed = earned;
  });
  fmt::print("{}\n", style.green(folder + " is complete."));

  bool all_open = true;
  for (const Milestone& milestone : read_milestones(workspace.course())) {
    if (milestone.after > folder.substr(0, 2) || after.milestones.contains(milestone.name)) continue;
    const bool open = open_milestone(workspace, own, milestone, folder, options, style);
    all_open = all_open && open;
    if (!open) continue;
    change_progress(workspace, [&](Progress& progress) { progress.milestones.insert(milestone.name); });
  }
  if (const std::optional<std::string> next = next_lesson(workspace, after)) fmt::print("\nNext: tito start {}\n", next->substr(0, 2));
  if (!all_open) throw Exit{1};
}

}  // namespace

void add_complete_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("complete", "In a workspace: all tests so far; your package grows, milestones open");
  const auto module = std::make_shared<std::string>();
  const auto reference = std::make_shared<bool>(false);
  command->add_option("module", *module, "05 or autograd");
  command->add_flag("--reference", *reference, "borrow the course's modules for those that are not complete");
  command->callback([module, reference] { run_complete(*module, *reference); });
}

}  // namespace tito
