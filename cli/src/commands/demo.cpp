// tito demo: checks the export, builds the framework, trains a network on handwritten digits, and in a new process
// loads what it saved and classifies digits that it has not seen.
#include <fmt/core.h>

#include "build/library.h"
#include "build/stage_build.h"
#include "commands/commands.h"

namespace tito {
namespace {

void check_export(const fs::path& root) {
  const std::vector<Module> course = load_course(root);
  const auto differences = compare_with_folder(root / "tinytorch", export_package(course).files);
  for (const auto& [path, what] : differences) fmt::print(stderr, "tinytorch/{} {}\n", path, what);
  if (!differences.empty()) {
    fmt::print(stderr, "tinytorch/ does not come from the modules as they are; run: ./tito export\n");
    throw Exit{1};
  }
  fmt::print("The framework in tinytorch/ is what the {} modules export.\n", course.size());
  std::fflush(stdout);
}

void run_demo_program(const fs::path& root, const std::string& what) {
  ProcessOptions options;
  options.directory = root;
  options.seconds = 600;
  options.show = true;
  const ProcessResult result = run_process({(library_folder(root) / "bin/digits_demo").string(), what}, options);
  if (result.ok()) return;
  fmt::print(stderr, "digits_demo {}: {}\n", what, how_it_ended(result));
  throw Exit{1};
}

void run_demo() {
  const fs::path root = project_root();
  check_export(root);
  const NinjaResult built = build_library(root, {"digits_demo"});
  if (!built.ok) {
    fmt::print(stderr, "{}\nthe framework does not build\n", built.messages);
    throw Exit{1};
  }
  if (built.steps > 0) fmt::print("Built the framework in {:.0f} s.\n", built.seconds);
  std::fflush(stdout);
  run_demo_program(root, "train");
  run_demo_program(root, "classify");
}

}  // namespace

void add_demo_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("demo", "Build the framework, train on digits, and classify new ones");
  command->callback([] { run_demo(); });
}

}  // namespace tito
