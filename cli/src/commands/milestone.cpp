// tito milestone list; tito milestone run NAME: a program from the history of the field. In a workspace it runs on the learner's package, elsewhere on the course's library.
#include <fmt/core.h>

#include <cstdlib>
#include <memory>
#include <optional>

#include "build/library.h"
#include "commands/commands.h"
#include "learn/completion.h"
#include "learn/explain.h"
#include "learn/lessons.h"

namespace tito {
namespace {

constexpr double time_limit = 3600;

// The program, built and ready to run, and the folder with the data/ that it reads and is judged by.
struct Built {
  fs::path program;
  fs::path folder;
};

[[noreturn]] void does_not_build(const Milestone& milestone, const std::string& messages) {
  fmt::print(stderr, "{}\n{} does not compile\n", messages, milestone.name);
  throw Exit{1};
}

Built build_in_workspace(const Workspace& workspace, const Milestone& milestone, bool reference) {
  LessonOptions options;
  options.reference = reference;
  const std::string folder = workspace.find(milestone.after);
  const std::vector<Module> modules = stage_modules(workspace, read_progress(workspace), folder, options);
  StageOptions stage = stage_options(workspace, find_module(modules, folder), options);
  stage.units = Units::Plain;
  stage.programs = {{milestone.name, {}}};
  const StageBuild build(workspace.root(), modules, stage);
  const NinjaResult made = build.build({build.program_of(milestone.name)}, "compiling " + milestone.name);
  if (!made.ok) does_not_build(milestone, made.messages);
  return {workspace.root() / build.program_of(milestone.name), milestone_folder(workspace, milestone)};
}

Built build_in_course(const fs::path& root, const Milestone& milestone) {
  const NinjaResult made = build_library(root, {milestone.name});
  if (!made.ok) does_not_build(milestone, made.messages);
  return {library_folder(root) / "bin" / milestone.name, root};
}

// Shows what the program prints as it comes, without its guesses; returns all of it. Throws Exit.
std::string show_run(const Built& built, const Milestone& milestone, const std::vector<std::string>& arguments) {
  WithoutGuesses words;
  ProcessOptions options = contained(built.folder);
  options.seconds = time_limit;
  options.on_text = [&](std::string_view text) {
    fmt::print("{}", words.add(text));
    std::fflush(stdout);
  };
  Command command{built.program.string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const ProcessResult result = run_process(command, options);
  if (result.ok()) return result.output;
  fmt::print(stderr, "{}: {}\n", milestone.name, how_it_ended(result));
  throw Exit{1};
}

// The folder that TINYTORCH_DATA names, if it has the file.
std::optional<fs::path> folder_with(const std::string& file) {
  const char* const folder = std::getenv("TINYTORCH_DATA");
  if (folder == nullptr || *folder == '\0' || !fs::exists(fs::path(folder) / file)) return std::nullopt;
  return folder;
}

bool say_gates(const std::vector<Gate>& gates, const std::string& output, const fs::path& data) {
  const GateResult gate = judge(gates, output, data);
  for (const std::string& line : split_lines(gate.report)) fmt::print("Gate, {}\n", line);
  fmt::print("{}\n", gate.open ? output_style().green("The gate is open.") : output_style().red("The gate stays closed."));
  return gate.open;
}

void run_milestone(const std::string& name, bool reference) {
  const std::optional<Workspace> workspace = find_workspace();
  const fs::path course = workspace ? workspace->course() : project_root();
  const std::vector<Milestone> milestones = read_milestones(course);
  const Milestone& milestone = find_milestone(milestones, name);
  const Style style = output_style();
  fmt::print("{}\n{}", style.bold(milestone.title), wrapped(milestone.story, 100, "  "));
  std::fflush(stdout);
  const Built built = workspace ? build_in_workspace(*workspace, milestone, reference) : build_in_course(course, milestone);
  const std::string output = show_run(built, milestone, {});
  bool open = say_gates(milestone.gates, output, built.folder / "data");
  for (const LargerRun& run : milestone.larger) {
    const std::optional<fs::path> data = folder_with(run.data);
    if (!data) {
      fmt::print("\nIt goes on with {}, where TINYTORCH_DATA names a folder that has it.\n", run.data);
      continue;
    }
    fmt::print("\n{}\n", style.bold(run.data));
    std::fflush(stdout);
    const std::string larger = show_run(built, milestone, {run.argument});
    if (!run.gates.empty()) open = say_gates(run.gates, larger, *data) && open;
  }
  if (!open) throw Exit{1};
}

void list_milestones() {
  const std::optional<Workspace> workspace = find_workspace();
  for (const Milestone& milestone : read_milestones(workspace ? workspace->course() : project_root())) {
    fmt::print("{:<18} after module {}  {}\n", milestone.name, milestone.after, milestone.title);
  }
}

}  // namespace

void add_milestone_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("milestone", "Programs from the history of the field: list them, run one");
  command->require_subcommand(1);
  command->add_subcommand("list", "What there is, and after which module")->callback([] { list_milestones(); });
  CLI::App* run = command->add_subcommand("run", "Run one and judge it; with the public data under TINYTORCH_DATA too");
  const auto name = std::make_shared<std::string>();
  const auto reference = std::make_shared<bool>(false);
  run->add_option("name", *name, "2019_gpt, or gpt, or 2019")->required();
  run->add_flag("--reference", *reference, "in a workspace: borrow the course's modules for those that are not complete");
  run->callback([name, reference] { run_milestone(*name, *reference); });
}

}  // namespace tito
