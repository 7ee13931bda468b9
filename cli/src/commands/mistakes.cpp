// tito mistakes [NN]: puts each known mistake in, requires that a test catches it, and records how it shows.
#include <fmt/core.h>

#include <memory>

#include "build/exercises.h"
#include "commands/commands.h"

namespace tito {
namespace {

bool record_mistakes(const StageBuild& build, const Module& module) {
  const MistakeTrial trial = try_mistakes(build, module);
  bool good = true;
  for (const Proof& proof : trial.proofs) {
    if (proof.complaint.empty()) continue;
    good = false;
    fmt::print("{}: {}\n", proof.name, proof.complaint);
  }
  write_if_changed(mistakes_file(module), text_of(trial.mistakes));
  fmt::print("{}: {} mistakes tried\n", module.folder(), trial.mistakes.size());
  return good;
}

void run_mistakes(const std::string& name) {
  const fs::path root = project_root();
  const std::vector<Module> course = name.empty() ? load_course(root) : load_stage_of(root, name);
  std::vector<const Module*> modules;
  for (const Module& module : course) {
    const bool asked_for = name.empty() || &find_module(course, name) == &module;
    if (asked_for && !module.library_chapter) modules.push_back(&module);
  }
  StageOptions options;
  options.stage = name.empty() || modules.empty() ? "" : modules.front()->stage();
  options.variants = true;
  options.quick_library = true;
  const StageBuild build(root, course, options);
  std::vector<std::string> programs;
  for (const Module* module : modules) {
    if (!module->mistakes.empty()) programs.push_back(build.variants_of(*module));
  }
  const NinjaResult made =
      programs.empty() ? NinjaResult{} : build.build(programs, "compiling the instrumented package");
  if (!made.ok) {
    fmt::print("{}\nthe instrumented package does not compile\n", made.messages);
    throw Exit{1};
  }
  bool good = true;
  for (const Module* module : modules) good = record_mistakes(build, *module) && good;
  if (!good) throw Exit{1};
}

}  // namespace

void add_mistakes_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("mistakes", "Try each known mistake and record in mistakes.json how tests catch it");
  const auto module = std::make_shared<std::string>();
  command->add_option("module", *module, "05 or autograd; all modules by default");
  command->callback([module] { run_mistakes(*module); });
}

}  // namespace tito
