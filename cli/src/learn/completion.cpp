#include "learn/completion.h"

#include <algorithm>

namespace tito {
namespace {

constexpr double milestone_seconds = 600;

bool is_learners(const Module& module) { return module.edition == Edition::Student; }

}  // namespace

std::vector<Module> with_course_tests(const Workspace& workspace, const std::vector<Module>& modules, std::vector<std::string>& changed) {
  std::vector<Module> out;
  for (const Module& module : modules) {
    out.push_back(is_learners(module) ? workspace.module_with_course_tests(module.folder(), &changed) : module);
  }
  return out;
}

std::optional<Broken> first_broken(const Workspace& workspace, const std::vector<Module>& modules, const std::string& folder,
                                   const LessonOptions& options, const std::function<void(const std::string&)>& passed) {
  StageOptions stage = stage_options(workspace, find_module(modules, folder), options);
  stage.only.clear();
  stage.units = Units::Plain;
  const StageBuild build(workspace.root(), modules, stage);
  std::vector<std::string> programs;
  for (const Module& module : modules) {
    if (is_learners(module) && !module.tests.empty()) programs.push_back(build.tests_of(module));
  }
  build.build(programs, "compiling the tests of all modules so far", true);
  for (const Module& module : modules) {
    if (!is_learners(module) || module.tests.empty()) continue;
    LessonRun run;
    const NinjaResult made = build.build({build.tests_of(module)}, "compiling " + module.folder());
    run.compiled = made.ok;
    run.messages = made.messages;
    if (made.ok) run.tests = run_tests(build.tests_of(module), build.lines(), running_options(workspace, options));
    if (made.ok && !run.tests.ok()) run.mistakes = recognize(read_known_mistakes(workspace.mistakes_file(module.folder())), run.tests, module);
    if (!run.ok()) return Broken{module.folder(), run};
    passed(module.folder());
  }
  return std::nullopt;
}

MilestoneRun try_milestone(const Workspace& workspace, const std::vector<Module>& modules, const Milestone& milestone,
                           const std::string& folder, const LessonOptions& options) {
  StageOptions stage = stage_options(workspace, find_module(modules, folder), options);
  stage.units = Units::Plain;
  stage.programs = {{milestone.name, {}}};
  const StageBuild build(workspace.root(), modules, stage);
  const std::string program = build.program_of(milestone.name);
  const NinjaResult made = build.build({program}, "compiling " + milestone.name);
  MilestoneRun run;
  run.built = made.ok;
  run.output = made.messages;
  if (!made.ok) return run;
  ProcessOptions process;
  process.directory = workspace.root();
  process.seconds = milestone_seconds;
  process.output_bytes = std::size_t{8} << 20;
  const ProcessResult result = run_process({(workspace.root() / program).string()}, process);
  run.output = build.lines().translate(result.output);
  if (!result.ok()) run.problem = how_it_ended(result);
  run.gate = judge(milestone, result.output, workspace.root() / "data");
  return run;
}

}  // namespace tito
