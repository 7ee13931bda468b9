#include "learn/completion.h"

#include <fmt/core.h>

#include <algorithm>

#include "learn/handed_out.h"

namespace tito {
namespace {

constexpr double milestone_seconds = 600;

bool is_learners(const Module& module) { return module.edition == Edition::Student; }

// The modules whose tests count when `folder` is to be complete. Chapters behind earlier modules were asked when those were completed.
std::vector<const Module*> tested_modules(const std::vector<Module>& modules, const std::string& folder) {
  std::vector<const Module*> out;
  for (const Module& module : modules) {
    if (is_learners(module) && !module.tests.empty()) out.push_back(&module);
  }
  for (const Module& module : modules) {
    if (module.library_chapter && module.after == folder.substr(0, 2) && !module.tests.empty()) out.push_back(&module);
  }
  return out;
}

}  // namespace

std::vector<Module> with_course_tests(const Workspace& workspace, const std::vector<Module>& modules, std::vector<std::string>& changed) {
  std::vector<Module> out;
  for (const Module& module : modules) {
    out.push_back(is_learners(module) ? workspace.module_with_course_tests(module.folder(), &changed) : module);
  }
  return out;
}

std::optional<Broken> first_broken(const Workspace& workspace, const std::vector<Module>& modules, const std::string& folder,
                                   const LessonOptions& options, const std::function<void(const Module&, const TestRun&)>& passed) {
  StageOptions stage = stage_options(workspace, find_module(modules, folder), options);
  stage.only.clear();
  stage.units = Units::Plain;
  const StageBuild build(workspace.root(), modules, stage);
  const std::vector<const Module*> tested = tested_modules(modules, folder);
  std::vector<std::string> programs;
  for (const Module* module : tested) programs.push_back(build.tests_of(*module));
  build.build(programs, "compiling the tests of all modules so far", true);
  for (const Module* one : tested) {
    const Module& module = *one;
    LessonRun run;
    const NinjaResult made = build.build({build.tests_of(module)}, "compiling " + module.folder());
    run.compiled = made.ok;
    run.messages = made.messages;
    if (made.ok) run.tests = run_tests(build.tests_of(module), build.lines(), running_options(workspace, options));
    if (made.ok && !run.tests.ok() && is_learners(module)) run.mistakes = recognize(handed_out_mistakes(workspace, module.folder()), run.tests, module);
    if (!run.ok()) return Broken{module.folder(), run};
    passed(module, run.tests);
  }
  return std::nullopt;
}

fs::path milestone_folder(const Workspace& workspace, const Milestone& milestone) {
  for (const Gate& gate : milestone.gates) {
    const std::string path = handed_out_path("data/" + gate.data);
    const HandedOut data = read_handed_out(workspace, path);
    if (!data.complaint.empty()) throw std::runtime_error(data.complaint);
    if (data.text.empty()) throw std::runtime_error(fmt::format("{} is gone; 'tito update' brings it", path));
  }
  return workspace.root() / ".tito/course";
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
  const fs::path folder_of_data = milestone_folder(workspace, milestone);
  ProcessOptions process = contained(folder_of_data);
  process.seconds = milestone_seconds;
  const ProcessResult result = run_process({(workspace.root() / program).string()}, process);
  run.output = build.lines().translate(result.output);
  if (!result.ok()) run.problem = how_it_ended(result);
  run.gate = judge(milestone.gates, result.output, folder_of_data / "data");
  return run;
}

}  // namespace tito
