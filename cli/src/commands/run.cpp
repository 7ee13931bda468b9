// tito run NN: a module's demonstrations.
#include <fmt/core.h>

#include <memory>

#include "build/progress.h"
#include "build/stage_build.h"
#include "commands/commands.h"

namespace tito {
namespace {

constexpr double time_limit = 600;

void run_module(const std::string& name, const std::string& filter) {
  const fs::path root = project_root();
  const std::vector<Module> course = load_stage_of(root, name);
  const Module& module = find_module(course, name);
  if (module.tests.empty()) {
    fmt::print("{} has no demonstrations\n", module.folder());
    return;
  }
  StageOptions options;
  options.stage = module.stage();
  options.units = Units::Optimized;
  options.only = {module.number};
  const StageBuild build(root, course, options);
  const std::string program = build.tests_of(module);
  build_for_command(build, program, module.folder());
  ProcessOptions running;
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

}  // namespace

void add_run_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Run a module's demonstrations");
  const auto module = std::make_shared<std::string>();
  const auto filter = std::make_shared<std::string>();
  command->add_option("module", *module, "05 or autograd")->required();
  command->add_option("--only", *filter, "only demonstrations with this in their name");
  command->callback([module, filter] { run_module(*module, *filter); });
}

}  // namespace tito
