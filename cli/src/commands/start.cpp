// tito start NN: gets ready for a module; compiles ahead what it stands on.
#include <fmt/core.h>

#include <memory>

#include "commands/commands.h"
#include "learn/explain.h"
#include "learn/lessons.h"

namespace tito {
namespace {

void run_start(const std::string& name, bool reference) {
  const Workspace workspace = require_workspace();
  const Progress progress = read_progress(workspace);
  const std::string folder = current_lesson(workspace, progress, name);
  LessonOptions options;
  options.reference = reference;
  const std::vector<Module> modules = stage_modules(workspace, progress, folder, options);
  const Module& module = find_module(modules, folder);
  const Progress started = change_progress(workspace, [&](Progress& record) {
    std::string& when = record.modules[folder].started;
    if (when.empty()) when = now();
  });
  const Style style = output_style();
  fmt::print("{}  {}\n", style.bold(folder), learning_pattern(workspace, folder));
  fmt::print("{}\n", wrapped(readme_paragraph(workspace, folder, "**Rationale.**"), 100, "  "));
  fmt::print("{}\n", exercise_list(exercises_of(module, started.modules.at(folder).passed), style, 110));
  fmt::print("Read and work in {}.\n", workspace.file_of(folder).string());
  std::fflush(stdout);
  const NinjaResult built = build_ahead(workspace, modules, folder, options);
  if (!built.ok) {
    fmt::print("\n{}\n{} does not compile yet; the message above says where.\n", built.messages, folder);
    throw Exit{1};
  }
  fmt::print("\nReady. Next: tito test {}, or a live screen: tito watch {}\n", module.number, module.number);
}

}  // namespace

void add_start_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("start", "In a workspace: get ready for a module");
  const auto module = std::make_shared<std::string>();
  const auto reference = std::make_shared<bool>(false);
  command->add_option("module", *module, "05 or autograd; the next one when it is left out");
  command->add_flag("--reference", *reference, "borrow the course's modules for those that are not complete");
  command->callback([module, reference] { run_start(*module, *reference); });
}

}  // namespace tito
