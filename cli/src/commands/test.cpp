// tito test [NN]: one module's tests, quickly; or everything.
#include <fmt/core.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "build/course_test.h"
#include "build/known_mistakes.h"
#include "build/progress.h"
#include "build/stage_build.h"
#include "build/test_program.h"
#include "build/thorough.h"
#include "commands/commands.h"
#include "learn/workspace.h"

namespace tito {
namespace {

struct TestArguments {
  std::string module;
  bool reference = false;
  std::string sanitize;
  CourseTestOptions course;
};

void print_json(const Module& module, const TestRun& run, const std::vector<KnownMistake>& mistakes) {
  nlohmann::ordered_json failures = nlohmann::ordered_json::array();
  for (const TestOutcome& test : run.tests) {
    for (const TestFailure& failure : test.failures) {
      failures.push_back({{"test", test.name},
                          {"kind", failure.kind},
                          {"file", failure.place.file},
                          {"line", failure.place.line},
                          {"check", failure.check},
                          {"values", failure.values},
                          {"difference", failure.difference}});
    }
  }
  const nlohmann::ordered_json out = {{"module", module.folder()},
                                      {"passed", run.passed()},
                                      {"failed", run.failed()},
                                      {"finished", run.finished},
                                      {"seconds", run.seconds},
                                      {"hint", sentences_of(mistakes)},
                                      {"failures", failures}};
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void print_text(const Module& module, const TestRun& run, const std::vector<KnownMistake>& mistakes) {
  for (const TestOutcome& test : run.tests) {
    if (!test.passed) fmt::print("{}\n", describe(test));
    fmt::print("{}", describe_ratio(test));
    if (test.passed && !test.skipped.empty()) fmt::print("skipped {}: {}\n", test.name, test.skipped);
  }
  fmt::print("{}", describe_end(run));
  if (!mistakes.empty()) fmt::print("This looks like a mistake that others have made: {}\n\n", sentences_of(mistakes));
  fmt::print("{}: {} tests passed, {} failed ({:.1f} s)\n", module.folder(), run.passed(), run.failed(), run.seconds);
}

}  // namespace

void build_for_command(const StageBuild& build, const std::string& program, const std::string& what) {
  const NinjaResult made = build.build({program}, "compiling " + what);
  if (made.ok) return;
  fmt::print("{}\n{} does not compile\n", made.messages, what);
  throw Exit{1};
}

namespace {

void print_not_tested(const std::string& module, const std::string& messages) {
  const nlohmann::ordered_json out = {{"module", module}, {"passed", 0}, {"failed", 0}, {"finished", false}, {"compiled", false},
                                      {"messages", messages}, {"failures", nlohmann::ordered_json::array()}};
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

// As build_for_command, but the compiler's messages are part of a JSON object.
void build_for_json(const StageBuild& build, const std::string& program, const std::string& module) {
  const NinjaResult made = build.build({program}, "compiling " + module);
  if (made.ok) return;
  print_not_tested(module, made.messages);
  throw Exit{1};
}

// Tests one module at its own stage.
void test_module(const fs::path& root, const TestArguments& arguments) {
  const std::vector<Module> course = load_stage_of(root, arguments.module);
  const Module& module = find_module(course, arguments.module);
  const bool sanitize = arguments.course.sanitize;
  const Sanitizer sanitizer = !sanitize ? Sanitizer::None : arguments.sanitize == "thread" ? Sanitizer::Thread : Sanitizer::Memory;
  StageOptions options;
  options.stage = module.stage();
  options.toolchain = {arguments.course.compiler, sanitizer};
  options.units = Units::Precompiled;
  options.only = {module.number};
  options.edited = module.number;
  if (module.tests.empty()) {
    fmt::print("{} has no tests\n", module.folder());
    return;
  }
  const StageBuild build(root, course, options);
  const std::string program = build.tests_of(module);
  if (arguments.course.json) build_for_json(build, program, module.folder());
  else build_for_command(build, program, module.folder());
  TestOptions running;
  running.root = root;
  if (sanitize) running.memory_bytes = 0;
  const TestRun run = run_tests(program, build.lines(), running);
  std::vector<KnownMistake> mistakes;
  if (!run.ok()) mistakes = recognize(read_known_mistakes(mistakes_file(module)), run, module);
  arguments.course.json ? print_json(module, run, mistakes) : print_text(module, run, mistakes);
  if (!run.ok()) throw Exit{1};
}

void run_test(const TestArguments& arguments) {
  if (arguments.course.json) silence_progress();
  if (find_workspace()) {
    return test_in_workspace({arguments.module, arguments.reference, arguments.sanitize, arguments.course.json, arguments.course.compiler});
  }
  const fs::path root = project_root();
  const bool all = arguments.module.empty() || arguments.module == "all";
  if (!all && !arguments.course.parts.empty()) throw std::runtime_error("--part is for the whole course: ./tito test --part NAME");
  if (!all) {
    try {
      return test_module(root, arguments);
    } catch (const Diagnostic& error) {
      if (!arguments.course.json) throw;
      print_not_tested(arguments.module, error.what());
      throw Exit{1};
    }
  }
  if (!test_course(root, arguments.course)) throw Exit{1};
}

// For tito test, which runs it as a process of its own.
void add_fuzz_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("fuzz", "Parse and export damaged copies of the modules")->group("");
  const auto tries = std::make_shared<std::size_t>();
  const auto seed = std::make_shared<std::uint64_t>();
  command->add_option("tries", *tries)->required();
  command->add_option("seed", *seed)->required();
  command->callback([tries, seed] {
    for (const std::string& complaint : fuzz_module_files(load_course(project_root()), *tries, *seed)) fmt::print("{}\n", complaint);
    fmt::print("tries {}\n", *tries);
  });
}

}  // namespace

void add_test_command(CLI::App& app) {
  add_fuzz_command(app);
  CLI::App* command = app.add_subcommand("test", "Run the tests of one module, or all tests there are");
  const auto arguments = std::make_shared<TestArguments>();
  CourseTestOptions& course = arguments->course;
  command->add_option("module", arguments->module, "05, autograd or all (the default)");
  command->add_flag("--sanitize{memory}", arguments->sanitize,
                    "also under the address, undefined-behaviour and thread sanitizers; for one module --sanitize or --sanitize=thread")
      ->check(CLI::IsMember({"memory", "thread"}));
  command->add_flag("--reference", arguments->reference, "in a workspace: borrow the course's modules for those that are missing");
  command->add_flag("--stages", course.stages, "also the packages of stages 01, 04 and 05");
  command->add_flag("--thorough", course.thorough,
                    "also every stage, clang, plain translation units, kernels for ARM, more fuzzing, and a fresh machine");
  command->add_flag("--notebooks", course.notebooks, "also every module as a notebook, from top to bottom");
  command->add_option("--part", course.parts, "only these parts of the whole, as plain-units,clang; a wrong name lists all")->delimiter(',');
  command->add_flag("--strict", course.strict, "fail when something that was asked for had to be skipped");
  command->add_flag("--json", course.json, "print one JSON object");
  command->add_option("--compiler", course.compiler, "the C++ compiler")->capture_default_str();
  command->callback([arguments] {
    arguments->course.sanitize = !arguments->sanitize.empty();
    run_test(*arguments);
  });
}

}  // namespace tito
