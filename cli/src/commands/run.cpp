// tito run NN: a module's demonstrations. In a workspace they are the learner's, on their own earlier modules.
#include <fmt/core.h>

#include <memory>

#include "build/progress.h"
#include "commands/commands.h"
#include "learn/lesson_test.h"
#include "learn/lessons.h"

namespace tito {
namespace {

constexpr double time_limit = 600;

struct RunArguments {
  std::string module;
  std::string filter;
  bool reference = false;
};

// Builds the module's demonstrations with all optimization, since they measure, and shows what they print as it comes.
void run_demonstrations(const fs::path& root, const std::vector<Module>& modules, const Module& module, StageOptions stage,
                        ProcessOptions running, const std::string& filter) {
  if (module.tests.empty()) {
    fmt::print("{} has no demonstrations\n", module.folder());
    return;
  }
  stage.units = Units::Optimized;
  const StageBuild build(root, modules, stage);
  const std::string program = build.tests_of(module);
  build_for_command(build, program, module.folder());
  running.directory = root;
  running.seconds = time_limit;
  running.on_line = [&](std::string_view line) {
    fmt::print("{}", build.lines().translate(std::string(line) + "\n"));
    std::fflush(stdout);
  };
  const ProcessResult result = run_process({(root / program).string(), "--demos=" + filter}, running);
  if (result.ok()) return;
  fmt::print("{} stopped: {}\n", module.folder(), how_it_ended(result));
  throw Exit{1};
}

void run_in_course(const RunArguments& arguments) {
  const fs::path root = project_root();
  const std::vector<Module> course = load_stage_of(root, arguments.module);
  const Module& module = find_module(course, arguments.module);
  StageOptions stage;
  stage.stage = module.stage();
  stage.only = {module.number};
  run_demonstrations(root, course, module, stage, {}, arguments.filter);
}

void run_in_workspace(const Workspace& workspace, const RunArguments& arguments) {
  const Progress progress = read_progress(workspace);
  const std::string folder = current_lesson(workspace, progress, arguments.module);
  LessonOptions options;
  options.reference = arguments.reference;
  const std::vector<Module> modules = stage_modules(workspace, progress, folder, options);
  const Module& module = find_module(modules, folder);
  StageOptions stage = stage_options(workspace, module, options);
  stage.edited.clear();
  run_demonstrations(workspace.root(), modules, module, stage, contained(workspace.root()), arguments.filter);
}

void run_run(const RunArguments& arguments) {
  if (const std::optional<Workspace> workspace = find_workspace()) return run_in_workspace(*workspace, arguments);
  if (arguments.module.empty()) throw std::runtime_error("which module? tito run 05");
  run_in_course(arguments);
}

}  // namespace

void add_run_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Run a module's demonstrations");
  const auto arguments = std::make_shared<RunArguments>();
  command->add_option("module", arguments->module, "05 or autograd; in a workspace the one that is worked on when it is left out");
  command->add_option("--only", arguments->filter, "only demonstrations with this in their name");
  command->add_flag("--reference", arguments->reference, "in a workspace: borrow the course's modules for those that are missing");
  command->callback([arguments] { run_run(*arguments); });
}

}  // namespace tito
