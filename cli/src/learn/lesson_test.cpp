#include "learn/lesson_test.h"

#include <fmt/core.h>

#include <chrono>

#include "learn/handed_out.h"
#include "learn/lessons.h"

namespace tito {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t memory_limit = std::size_t{4} << 30;
constexpr std::size_t output_limit = std::size_t{8} << 20;

Command without_address_randomization() {
  if (find_program("setarch").empty() || !run_process({"setarch", "-R", "true"}).ok()) return {};
  return {"setarch", "-R"};
}

}  // namespace

std::vector<Module> stage_modules(const Workspace& workspace, const Progress& progress, const std::string& folder,
                                  const LessonOptions& options) {
  std::vector<Module> modules;
  std::string missing;
  for (const fs::path& file : module_files(workspace.course(), folder)) {
    const std::string name = file.parent_path().filename().string();
    const bool chapter = is_library_chapter(name);
    if (name == folder || (!chapter && is_complete(progress, name))) {
      modules.push_back(workspace.module(name));
    } else if (chapter || options.reference) {
      modules.push_back(parse_module(file));
    } else if (missing.empty()) {
      missing = name;
    }
  }
  if (missing.empty()) return modules;
  throw std::runtime_error(fmt::format(
      "{} stands on {}, which is not complete: finish it with 'tito complete {}', or borrow the course's with --reference",
      folder, missing, missing.substr(0, 2)));
}

StageOptions stage_options(const Workspace& workspace, const Module& module, const LessonOptions& options) {
  StageOptions out;
  out.stage = module.stage();
  out.toolchain = {options.compiler, options.sanitizer};
  out.units = Units::Precompiled;
  out.learner = true;
  out.edited = module.number;
  out.course = workspace.course();
  out.only = {module.number};
  return out;
}

TestOptions running_options(const Workspace& workspace, const LessonOptions& options) {
  TestOptions out;
  out.root = workspace.root();
  out.seconds_per_test = options.seconds_per_test;
  out.output_bytes = output_limit;
  out.memory_bytes = memory_limit;
  if (options.sanitizer == Sanitizer::None) return out;
  out.memory_bytes = 0;  // sanitizers reserve much more than they use
  out.seconds_per_test *= 5;
  out.wrapper = without_address_randomization();
  out.environment = {{"ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1:hard_rss_limit_mb=4096"},
                     {"UBSAN_OPTIONS", "print_stacktrace=1"},
                     {"TSAN_OPTIONS", "halt_on_error=1:second_deadlock_stack=1"}};
  return out;
}

ProcessOptions contained(const fs::path& folder) {
  ProcessOptions out;
  out.directory = folder;
  out.output_bytes = output_limit;
  out.memory_bytes = memory_limit;
  return out;
}

LessonRun test_lesson(const Workspace& workspace, const std::vector<Module>& modules, const std::string& folder,
                      const LessonOptions& options) {
  const Clock::time_point start = Clock::now();
  const Module& module = find_module(modules, folder);
  const StageBuild build(workspace.root(), modules, stage_options(workspace, module, options));
  const std::string program = build.tests_of(module);
  LessonRun run;
  const NinjaResult made = build.build({program}, "compiling " + folder);
  run.compiled = made.ok;
  run.messages = made.messages;
  if (made.ok) {
    run.tests = run_tests(program, build.lines(), running_options(workspace, options));
    if (!run.tests.ok()) run.mistakes = recognize(handed_out_mistakes(workspace, folder), run.tests, module);
  }
  run.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return run;
}

NinjaResult build_ahead(const Workspace& workspace, const std::vector<Module>& modules, const std::string& folder,
                        const LessonOptions& options) {
  const Module& module = find_module(modules, folder);
  const StageBuild build(workspace.root(), modules, stage_options(workspace, module, options));
  return build.build({build.tests_of(module)}, "compiling what " + folder + " stands on");
}

}  // namespace tito
