#include "build/course_test.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <random>

#include "build/exercises.h"
#include "build/generate_test.h"
#include "build/library.h"
#include "build/milestone_proof.h"
#include "build/parallel.h"
#include "build/part_report.h"
#include "build/performance.h"
#include "build/progress.h"
#include "build/recorded_output.h"
#include "build/stage_build.h"
#include "build/thorough.h"
#include "format/lint.h"
#include "grade/eight.h"
#include "grade/grader.h"
#include "notebook/kernel.h"
#include "notebook/python.h"
#include "notebook/student_notebook.h"

namespace tito {
namespace {

constexpr int missing_packages = 77;  // the exit status of a script that has not what it needs

class CourseTest {
 public:
  CourseTest(const fs::path& root, const CourseTestOptions& options)
      : root_(root),
        options_(options),
        course_(load_course(root)),
        tool_(fingerprint({fs::read_symlink("/proc/self/exe")})),
        report_(root / "build/passed.json", options.json) {
    const char* data = std::getenv("TINYTORCH_DATA");
    data_ = fingerprint({root / "data", root / "tests/golden"}, data == nullptr ? "" : data);
  }

  bool run() {
    const std::vector<Step> steps = all_steps();
    check_names(steps);
    for (const Step& step : steps) {
      if (options_.parts.empty() ? step.asked : options_.parts.contains(step.name)) step.work();
    }
    say_what_was_not_asked_for();
    write_if_changed(root_ / "build/test_report.json", report_.json());
    fmt::print("{}", options_.json ? report_.json() : report_.table());
    return report_.failed() == 0 && !(options_.strict && report_.skipped_anything());
  }

 private:
  // What `tito test --part NAME` runs alone.
  struct Step {
    std::string name;
    bool asked;  // without --part
    std::function<void()> work;
  };

  std::vector<Step> all_steps() {
    const bool thorough = options_.thorough;
    std::vector<Step> steps{{"export", true, [this] { check_export(); }},
                            {"lint", true, [this] { check_lint(); }},
                            {"fuzzing", true, [this] { test_damaged_modules(); }},
                            {"performance", true, [this] { check_performance(); }},
                            {"command-line", true, [this] { test_command_line(); }},
                            {"modules", true, [this] { test_last_stage(); }},
                            {"grading", true, [this] { test_grading(); }},
                            {"journey", true, [this] { test_journey(); }},
                            {"library", true, [this] { test_library(); }},
                            {"libtorch-programs", true, [this] { test_libtorch_programs(); }},
                            {"notebooks", true, [this] { test_notebooks(); }},
                            {"sanitizers", options_.sanitize, [this] { test_with_sanitizers(); }}};
    for (const Module& module : course_) {
      if (module.library_chapter || module.number == course_.back().stage()) continue;
      const bool usual = module.number == "01" || module.number == "04" || module.number == "05";
      steps.push_back({"stage-" + module.number, thorough || (options_.stages && usual),
                       [this, stage = module.number] { test_stage(stage, options_.compiler); }});
    }
    const std::vector<Step> more{{"clang", thorough, [this] { test_with_clang(); }},
                                 {"plain-units", thorough, [this] { compile_plain_units(); }},
                                 {"neon", thorough, [this] { compile_kernels_for_neon(); }},
                                 {"libtorch", thorough, [this] { record_with_libtorch(); }},
                                 {"long-tests", thorough, [this] { test_at_length(); }},
                                 {"fresh-machine", thorough, [this] { test_on_fresh_machine(); }}};
    steps.insert(steps.end(), more.begin(), more.end());
    return steps;
  }

  void check_names(const std::vector<Step>& steps) const {
    std::vector<std::string> names;
    for (const Step& step : steps) names.push_back(step.name);
    for (const std::string& part : options_.parts) {
      if (std::find(names.begin(), names.end(), part) != names.end()) continue;
      throw std::runtime_error(fmt::format("there is no part '{}'; there are: {}", part, fmt::join(names, ", ")));
    }
  }

  void check_export() {
    report_.run("export", "tinytorch/", "", [&](Part& part) {
      const Package package = export_package(course_);
      for (const auto& [path, what] : compare_with_folder(root_ / "tinytorch", package.files)) {
        part.expect(false, fmt::format("tinytorch/{} {}; run: ./tito export", path, what));
      }
      if (part.failed == 0) part.expect(true, "");
    });
  }

  void check_lint() {
    report_.run("lint", "modules", "", [&](Part& part) {
      for (const Module& module : course_) {
        std::string complaint;
        for (const Finding& finding : lint_module(module, course_)) {
          if (finding.level != Finding::Level::Error) continue;
          complaint += fmt::format("{}:{}: {}\n", fs::relative(finding.file, root_).string(), finding.line, finding.message);
        }
        part.expect(complaint.empty(), complaint);
      }
    });
  }

  void check_performance() {
    report_.run("performance", "docs/performance.md", "", [&](Part& part) {
      const std::string complaint = check_performance_page(root_);
      part.expect(complaint.empty(), complaint);
    });
  }

  void test_command_line() {
    const NinjaResult made = run_ninja({root_ / "build/cli", root_ / "build/cli", {"tito_tests"}, "compiling tito's tests"},
                                       LineMap(root_));
    const std::string program = "build/cli/tito_tests";
    const std::string inputs = inputs_of({root_ / program, root_ / "tests/cli", root_ / "modules"});
    report_.run("command line", "tests/cli", made.ok ? inputs : "", [&](Part& part) {
      part.seconds += made.seconds;
      if (!made.ok) return part.expect(false, made.messages);
      // Those in a workspace compile lessons, which takes twice as long as everything else.
      const std::string in_workspace = "--source-file=*learner*";
      const std::vector<std::vector<std::string>> pieces{{in_workspace, "--last=10"}, {in_workspace, "--first=11"}, {"--source-file-exclude=*learner*"}};
      std::vector<TestRun> runs(pieces.size());
      in_parallel(pieces.size(), "running tito's tests", [&](std::size_t i) {
        TestOptions running = plain_run();
        running.memory_bytes = 0;        // they run sanitizers
        running.seconds_per_test = 900;  // and compile
        running.arguments = pieces[i];
        runs[i] = run_tests(program, LineMap(root_), running);
      });
      for (const TestRun& run : runs) part.add(run);
    });
  }

  // A learner in a workspace of their own, with the program itself: through modules 00 to 08, thoroughly through all. Usually there is a test after
  // each exercise in 00 only (the others' exercises are filled one by one without a workspace, see prove_way), thoroughly everywhere.
  void test_journey() {
    if (!fs::is_directory(root_ / "tests/journey")) return;
    const NinjaResult made = run_ninja({root_ / "build/cli", root_ / "build/cli", {"tito_journey"}, "compiling the journey"}, LineMap(root_));
    const std::string program = "build/cli/tito_journey";
    const std::string last = options_.thorough ? course_.back().stage() : "08";
    const std::string inputs = inputs_of({root_ / program, root_ / "modules", root_ / "cli/runtime", root_ / "milestones"});
    report_.run("journey", "a workspace to module " + last, made.ok ? inputs : "", [&](Part& part) {
      if (!made.ok) return part.expect(false, made.messages);
      TestOptions running = plain_run();
      running.memory_bytes = 0;
      running.seconds_per_test = 3600;
      running.environment = {{"TITO_JOURNEY", last}, {"TITO_JOURNEY_EACH", options_.thorough ? last : "00"}};
      part.add(run_tests(program, LineMap(root_), running));
    });
    if (!options_.thorough) report_.leave_out("a workspace to module " + course_.back().stage(), "--thorough");
  }

  // The last stage's tests link the library that the demonstration and plain CMake build, if it is what the modules export.
  StageOptions last_stage() {
    StageOptions options;
    options.toolchain.compiler = options_.compiler;
    options.variants = true;
    const bool exported = compare_with_folder(root_ / "tinytorch", export_package(course_).files).empty();
    if (!exported || options_.compiler != StageOptions().toolchain.compiler) return options;
    report_.run("compile", "the library", "", [&](Part& part) {
      const NinjaResult built = build_library(root_);
      if (built.ok) options.library = library_file(root_);
      if (!built.ok) part.expect(false, built.messages);
    });
    return options;
  }

  void test_last_stage() {
    StageOptions options = last_stage();
    const std::vector<Milestone> milestones = read_milestones(root_);
    for (const Milestone& milestone : milestones) options.programs.push_back(program_to_prove(milestone));
    const StageBuild build(root_, course_, options);
    std::vector<std::string> programs;
    for (const Milestone& milestone : milestones) programs.push_back(build.program_of(milestone.name));
    for (const Module& module : build.modules()) {
      if (module.tests.empty()) continue;
      programs.push_back(build.tests_of(module));
      if (module.library_chapter) continue;
      programs.push_back(build.student_of(module));
      programs.push_back(build.variants_of(module));
    }
    for (const std::string& folder : folders(build)) programs.push_back(build.folder_tests(folder));
    compile(build, "the last stage", programs);
    run_programs(build, "modules", module_programs(build, build.modules()), plain_run());
    run_programs(build, "programs' tests", folder_programs(build), plain_run());
    for (const Module& module : build.modules()) {
      if (!module.tests.empty() && !module.library_chapter) prove_exercises(build, module);
    }
    prove_milestones(build, milestones);
  }

  // Side by side, the last first: the later, the longer they train.
  void prove_milestones(const StageBuild& build, const std::vector<Milestone>& milestones) {
    std::vector<PartReport::Work> works;
    for (auto milestone = milestones.rbegin(); milestone != milestones.rend(); ++milestone) {
      const std::string program = build.program_of(milestone->name);
      if (!made(build, program)) {
        not_built("milestones", milestone->name);
        continue;
      }
      const std::string inputs = inputs_of({root_ / program, root_ / "milestones/milestones.toml"});
      works.push_back({milestone->name, inputs, [&build, milestone](Part& part) { add(part, prove_milestone(build, *milestone)); }});
      if (milestone->closed_by.size() < 2) continue;
      if (options_.thorough) {
        works.push_back({milestone->name + ", further mistakes", inputs, [&build, milestone](Part& part) { add(part, prove_further_mistakes(build, *milestone)); }});
      } else {
        report_.leave_out(milestone->name + " with further mistakes", "--thorough");
      }
    }
    report_.run_all("milestones", works);
  }

  // Eight submissions of each module to 08, thoroughly of all, without Jupyter; thoroughly also a class with nbgrader. A class is graded on the
  // package of its stage, which takes minutes to compile; usually the whole course's library, which is there already, stands behind the answers.
  void test_grading() {
    const fs::path tests = root_ / "tests/grading";
    if (!fs::is_directory(tests)) return;
    const fs::path library = options_.thorough ? fs::path() : last_stage().library;
    std::optional<StageBuild> whole;
    for (const Module& module : course_) {
      if (module.tests.empty() || module.library_chapter) continue;
      if (module.number > "08" && !options_.thorough) continue;
      std::vector<fs::path> inputs{tests, root_ / "cli/runtime", mistakes_file(module)};
      if (library.empty() || quick_to_compile(module.number)) {
        for (const Module& below : up_to_stage(course_, module.stage())) inputs.push_back(below.file);
        prove_grading_of(module, StageBuild(root_, course_, at_own_stage(module)), inputs_of(inputs));
      } else {
        if (!whole) whole.emplace(root_, course_, in_front_of_library(library));
        inputs.insert(inputs.end(), {library, module.file});
        prove_grading_of(module, *whole, inputs_of(inputs));
      }
    }
    if (options_.thorough) return test_class();
    report_.leave_out("grading of the other modules, by the kernel too, and a class with nbgrader", "--thorough");
  }

  void prove_grading_of(const Module& module, const StageBuild& build, const std::string& inputs) {
    report_.run("grading", module.folder(), inputs, [&](Part& part) { add(part, prove_grading(build, module, root_ / "tests/grading")); });
    if (module.number != "00") return;
    report_.run("grading", "forged reports", inputs, [&](Part& part) { add(part, prove_reports(build, module)); });
    if (const std::string why_not = why_no_isolation(build, module); !why_not.empty()) {
      report_.skip("grading", "isolation", why_not);
    } else {
      report_.run("grading", "isolation", inputs, [&](Part& part) { add(part, prove_isolation(build, module)); });
    }
  }

  // A class of module 00 with nbgrader, from `tito grade init` to its report.
  void test_class() {
    fs::path python;
    try {
      python = python_with(root_ / "notebook/grading.txt");
    } catch (const std::runtime_error& error) {
      return report_.skip("grading", "nbgrader", error.what());
    }
    report_.run("grading", "nbgrader", "", [&](Part& part) { run_grading_script(part, python, {"class_of_eight.py"}); });
  }

  // nbgrader's own way through the kernel, which gives what the fast path gives: two submissions of module 00; thoroughly the eight of each module.
  std::vector<PartReport::Work> kernel_paths() {
    std::vector<PartReport::Work> paths;
    fs::path python;
    try {
      python = python_with(root_ / "notebook/grading.txt");
    } catch (const std::runtime_error& error) {
      report_.skip("notebooks", "grading by the kernel", error.what());
      return paths;
    }
    for (const Module& module : course_) {
      if (module.tests.empty() || module.library_chapter || (module.number != "00" && !options_.thorough)) continue;
      std::vector<fs::path> inputs{root_ / "tests/grading", root_ / "notebook", root_ / "cli/runtime"};
      for (const Module& below : up_to_stage(course_, module.number)) inputs.push_back(below.file);
      Command script{"kernel_path.py", module.number};
      if (!options_.thorough) script.emplace_back("wrong");  // and the one that tries to break out, which is right
      paths.push_back({fmt::format("grading {}{}", module.folder(), options_.thorough ? ", at length" : ""), inputs_of(inputs),
                       [this, python, script](Part& part) { run_grading_script(part, python, script); }});
      if (module.number == "00") {
        paths.push_back({"grading, damaged submissions", inputs_of(inputs), [this, python](Part& part) { run_grading_script(part, python, {"damaged.py"}); }});
      }
    }
    return paths;
  }

  void run_grading_script(Part& part, const fs::path& python, const Command& script) {
    ProcessOptions running;
    running.seconds = 7200;
    running.environment = {{"TITO", fs::read_symlink("/proc/self/exe").string()}, {"TITO_ROOT", root_.string()}};
    Command command{python.string(), "-B", (root_ / "tests/grading" / script.front()).string()};
    command.insert(command.end(), script.begin() + 1, script.end());
    const ProcessResult result = run_process(command, running);
    if (result.status == missing_packages) return part.skips.push_back(result.output);
    part.expect(result.ok(), script.front() + ": " + result.output);
  }

  void prove_exercises(const StageBuild& build, const Module& module) {
    const std::string student = build.student_of(module);
    if (made(build, student) && made(build, build.tests_of(module))) {
      const std::string inputs = inputs_of({root_ / student, root_ / build.tests_of(module), module.file});
      report_.run("students' copies", module.folder(), inputs,
                  [&](Part& part) { add(part, prove_student_copy(build, module)); });
    } else {
      not_built("students' copies", module.folder());
    }
    const std::string variants = build.variants_of(module);
    if (!made(build, variants)) return not_built("holes and mistakes", module.folder());
    report_.run("holes", module.folder(), inputs_of({root_ / variants, module.file}),
                [&](Part& part) { add(part, prove_holes(build, module)); });
    prove_way(build, module);
    report_.run("mistakes", module.folder(), inputs_of({root_ / variants, module.file, mistakes_file(module)}),
                [&](Part& part) {
                  const std::vector<KnownMistake> known = read_known_mistakes(mistakes_file(module));
                  const MistakeTrial trial = try_mistakes(build, module, known);
                  add(part, trial.proofs);
                  part.expect(same_signatures(known, trial.mistakes),
                              fmt::format("{} is out of date; run: ./tito mistakes {}",
                                          fs::relative(mistakes_file(module), root_).string(), module.number));
                });
  }

  // Few modules stand below.
  static bool quick_to_compile(const std::string& stage) { return stage < "02"; }

  // Two learners: one fills one exercise after the other, one makes each known mistake while the rest is still empty.
  void prove_way(const StageBuild& build, const Module& module) {
    const fs::path variants = root_ / build.variants_of(module);
    report_.run("journey", module.folder(), inputs_of({variants, module.file}),
                [&](Part& part) { add(part, prove_journey(build, module)); });
    report_.run("recognition", module.folder(), inputs_of({variants, module.file, mistakes_file(module)}), [&](Part& part) {
      add(part, prove_recognition(build, module, read_known_mistakes(mistakes_file(module))));
    });
  }

  // The committed package with plain CMake, installed, and used by a project outside.
  void test_library() {
    const std::string inputs =
        inputs_of({root_ / "tinytorch", root_ / "compat", root_ / "CMakeLists.txt", root_ / "cmake", root_ / "tests/install",
                   root_ / "milestones", root_ / "examples", root_ / "programs"});
    report_.run("library", "plain CMake", inputs, [&](Part& part) {
      const NinjaResult built = build_library(root_);
      part.expect(built.ok, "the library does not build with plain CMake:\n" + built.messages);
    });
    run_recorded("examples", "", "examples", root_ / "tests/examples");
    run_recorded("a device from outside", "accelerator_", "examples/accelerator", root_ / "tests/examples/accelerator");
    const fs::path generate = library_folder(root_) / "bin/generate";
    report_.run("library", "generate", inputs_of({generate, root_ / "tests/generate"}),
                [&](Part& part) { add(part, prove_generate(root_, generate, root_ / "build/generate_model")); });
    if (!fs::exists(root_ / "tests/install/CMakeLists.txt")) return;
    report_.run("library", "install", inputs, [&](Part& part) {
      const fs::path prefix = root_ / "build/install";
      fs::remove_all(prefix);
      run_cmake({"--install", library_folder(root_).string(), "--prefix", prefix.string()});
      const fs::path torch = prefix / "lib/cmake/TinyTorch/Torch";
      use_installed(part, "tests/install", "user", "-DCMAKE_PREFIX_PATH=" + prefix.string());
      use_installed(part, "tests/install/libtorch_project", "example-app", "-DTorch_DIR=" + torch.string());
      use_installed(part, "examples/cmake_project", "predict", "-DCMAKE_PREFIX_PATH=" + prefix.string());
      use_installed(part, "examples/accelerator", "accelerator_check_device", "-DCMAKE_PREFIX_PATH=" + prefix.string());
    });
  }

  // Builds the CMake project in `folder` outside of ours, and runs its program.
  void use_installed(Part& part, const std::string& folder, const std::string& program, const std::string& where) {
    const fs::path build = root_ / "build/install_user" / program;
    fs::remove_all(build);
    run_cmake({"-S", (root_ / folder).string(), "-B", build.string(), "-G", "Ninja", where});
    run_cmake({"--build", build.string()});
    ProcessOptions running;
    running.seconds = 60;
    const ProcessResult result = run_process({(build / program).string()}, running);
    part.expect(result.ok(), fmt::format("the program {} outside: {}\n{}", program, how_it_ended(result), result.output));
  }

  // Runs the program bin/PREFIX + NAME of the plain build for each NAME.txt in `recorded`, which holds what it prints.
  void run_recorded(const std::string& name, const std::string& prefix, const std::string& sources, const fs::path& recorded) {
    report_.run("library", name, inputs_of({library_folder(root_) / "bin", root_ / sources, recorded}), [&](Part& part) {
      for (const fs::directory_entry& entry : fs::directory_iterator(root_ / sources)) {
        if (entry.path().extension() != ".cpp") continue;
        const std::string stem = entry.path().stem().string();
        const std::string complaint = compare_with_recorded(library_folder(root_) / "bin" / (prefix + stem),
                                                            root_ / "build/recorded" / stem, recorded / (stem + ".txt"));
        part.expect(complaint.empty(), complaint);
      }
    });
  }

  // Programs written for libtorch print with our headers what they print with libtorch.
  void test_libtorch_programs() {
    report_.run("compile", "libtorch programs", "", [&](Part& part) {
      const NinjaResult built = build_library(root_, {"compat_programs"});
      if (!built.ok) part.expect(false, built.messages);
    });
    run_recorded("libtorch programs", "compat_", "tests/compat", root_ / "tests/compat/expected");
  }

  // The kernel's own tests, and lessons as notebooks, from top to bottom.
  void test_notebooks() {
    fs::path python;
    try {
      python = notebook_python();
    } catch (const std::exception& error) {
      return report_.skip("notebooks", "all", error.what());
    }
    const fs::path jupyter = root_ / "build/jupyter_tests";
    write_kernel(jupyter, python, {root_, "", false});
    ProcessOptions running;
    running.directory = root_ / "tests/notebook";
    running.seconds = 3600;
    running.environment = {{"JUPYTER_PATH", jupyter.string()}, {"PYTHONPATH", notebook_folder().string()}};
    std::vector<PartReport::Work> notebooks = kernel_paths();
    const auto add_part = [&](const std::string& name, const std::vector<fs::path>& inputs, const Command& arguments) {
      std::vector<fs::path> all = inputs;
      all.insert(all.end(), {root_ / "notebook", root_ / "tests/notebook", root_ / "cli/runtime"});
      notebooks.push_back({name, inputs_of(all), [&, arguments](Part& part) {
        Command command{python.string(), "-W", "ignore", (root_ / "tests/notebook/run.py").string()};
        command.insert(command.end(), arguments.begin(), arguments.end());
        add_python_tests(part, run_process(command, running));
      }});
    };
    add_part("kernel", {root_ / "modules/00_setup"}, {});
    if (options_.sanitize || options_.notebooks || options_.thorough) add_part("kernel, sanitizers", {root_ / "modules/00_setup"}, {"sanitizers"});
    for (const Module& module : course_) {
      if (module.library_chapter) continue;
      const bool usual = module.number == "00" || module.number == "02";
      if (!usual && !options_.notebooks && !options_.thorough) continue;
      std::vector<fs::path> inputs;
      for (const Module& below : up_to_stage(course_, module.number)) inputs.push_back(below.file);
      add_part(module.folder(), inputs, {module.folder()});
      if (options_.notebooks || options_.thorough) add_part(module.folder() + ", student's copy", inputs, {module.folder() + ":student"});
    }
    notebooks.push_back(students_notebooks(python));
    report_.run_all("notebooks", notebooks);
    if (!options_.notebooks && !options_.thorough) return report_.leave_out("the other notebooks, students' notebooks, a browser", "--notebooks");
    test_in_browser();
  }

  // No solution and no hidden test is in what students get as notebooks.
  PartReport::Work students_notebooks(const fs::path& python) {
    std::vector<fs::path> inputs{root_ / "notebook/tinytorch_kernel/convert.py", root_ / "cli/src/format"};
    std::vector<const Module*> lessons;
    for (const Module& module : course_) {
      if (module.library_chapter) continue;
      inputs.push_back(module.file);
      lessons.push_back(&module);
    }
    return {"students' notebooks give nothing away", inputs_of(inputs), [lessons, python](Part& part) {
              part.passed += lessons.size();
              for (const Finding& leak : leaks_in_notebooks(lessons, python)) part.expect(false, fmt::format("{}: {}", leak.line, leak.message));
            }};
  }

  // JupyterLab in chromium, as a learner uses it.
  void test_in_browser() {
    fs::path python;
    try {
      python = python_with(root_ / "tests/notebook/browser.txt");
    } catch (const std::exception& error) {
      return report_.skip("notebooks", "in a browser", error.what());
    }
    for (const char* program : {"chromium", "chromedriver"}) {
      if (!find_program(program).empty()) continue;
      return report_.skip("notebooks", "in a browser", fmt::format("{} is not installed (apt-get install chromium chromium-driver)", program));
    }
    const std::string inputs = inputs_of({root_ / "notebook", root_ / "tests/notebook", root_ / "cli/runtime", root_ / "modules/00_setup"});
    report_.run("notebooks", "in a browser", inputs, [&](Part& part) {
      ProcessOptions running;
      running.directory = root_ / "tests/notebook";
      running.seconds = 1800;
      running.environment = {{"TITO", fs::read_symlink("/proc/self/exe").string()}, {"TITO_ROOT", root_.string()}};
      add_python_tests(part, run_process({python.string(), "-W", "ignore", (root_ / "tests/notebook/browser.py").string()}, running));
    });
  }

  // Each test is a line: "passed NAME", "skipped NAME: why", or "failed NAME" and what it says in lines that are set in.
  static void add_python_tests(Part& part, const ProcessResult& result) {
    std::size_t failed = 0;
    std::string complaint;
    for (const std::string& line : split_lines(result.output)) {
      if (line.starts_with("passed ")) {
        part.expect(true, "");
      } else if (line.starts_with("skipped ")) {
        part.skips.push_back(line.substr(8));
      } else if (line.starts_with("failed ")) {
        if (!complaint.empty()) part.expect(false, complaint);
        complaint = line + "\n";
        ++failed;
      } else if (!complaint.empty()) {
        complaint += line + "\n";
      }
    }
    if (!complaint.empty()) part.expect(false, complaint);
    if (failed == 0 && !result.ok()) part.expect(false, how_it_ended(result) + ":\n" + result.output);
  }

  // What was recorded from PyTorch, libtorch and the other packages is still what they give, where they are installed.
  void record_with_libtorch() {
    const std::string python = recording_python();
    if (find_program(python).empty()) return report_.skip("libtorch itself", "all", python + " is not installed");
    std::vector<fs::path> scripts{root_ / "tests/compat/record.py"};
    for (const fs::directory_entry& entry : fs::directory_iterator(root_ / "tests/golden")) {
      if (entry.path().filename().string().starts_with("record_")) scripts.push_back(entry.path());
    }
    std::sort(scripts.begin() + 1, scripts.end());
    for (const fs::path& script : scripts) {
      const std::string name = fs::relative(script, root_ / "tests").string();
      report_.run("libtorch itself", name, inputs_of({script.parent_path()}), [&](Part& part) {
        const ProcessResult result = run_process({python, script.string(), "--check"});
        if (result.status == missing_packages) return part.skips.push_back(result.output.substr(0, result.output.find('\n')));
        part.expect(result.ok(), fmt::format("{} --check: {}\n{}", name, how_it_ended(result), result.output));
      });
    }
  }

  void test_with_sanitizers() {
    StageOptions options;
    options.toolchain = {options_.compiler, Sanitizer::Memory};
    const StageBuild memory(root_, course_, options);
    TestOptions running = plain_run();
    running.memory_bytes = 0;
    running.seconds_per_test = 300;
    running.environment = {{"ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1"},
                           {"UBSAN_OPTIONS", "print_stacktrace=1"}};
    running.wrapper = without_address_randomization();
    test_everything(memory, "address, undefined", memory.modules(), running);

    const std::string group = "thread";
    if (running.wrapper.empty()) {
      return report_.skip(group, "all", "setarch -R is refused here, and the thread sanitizer needs it");
    }
    options.toolchain.sanitizer = Sanitizer::Thread;
    options.tests = Chosen::WithThreads;
    const StageBuild thread(root_, course_, options);
    std::vector<Module> modules;
    for (const Module& module : thread.modules()) {
      if (thread.wants(module)) modules.push_back(module);
    }
    running.environment = {{"TSAN_OPTIONS", "halt_on_error=1:second_deadlock_stack=1"}};
    test_everything(thread, group, modules, running, options_.thorough);
    if (!options_.thorough) report_.leave_out("tests/ under the thread sanitizer", "--thorough");
  }

  // The modules' tests, and with `with_folders` those in tests/, of a build that is only for them.
  void test_everything(const StageBuild& build, const std::string& group, const std::vector<Module>& modules,
                       const TestOptions& running, bool with_folders = true) {
    std::vector<std::string> programs;
    for (const Module& module : modules) {
      if (!module.tests.empty()) programs.push_back(build.tests_of(module));
    }
    if (with_folders) {
      for (const std::string& folder : folders(build)) programs.push_back(build.folder_tests(folder));
    }
    compile(build, group, programs);
    std::vector<TestProgram> all = module_programs(build, modules);
    if (with_folders) {
      const std::vector<TestProgram> longest = folder_programs(build);
      all.insert(all.begin(), longest.begin(), longest.end());
    }
    run_programs(build, group, all, running);
  }

  void test_stage(const std::string& stage, const std::string& compiler) {
    StageOptions options;
    options.stage = stage;
    options.toolchain.compiler = compiler;
    options.quick_library = !quick_to_compile(stage);  // which is optimized for the grading already
    options.variants = options_.thorough && compiler == "g++";
    const StageBuild build(root_, course_, options);
    std::vector<std::string> programs;
    for (const Module& module : build.modules()) {
      if (!module.tests.empty()) programs.push_back(build.tests_of(module));
    }
    const Module& lesson = find_module(course_, stage);
    if (options.variants) programs.push_back(build.variants_of(lesson));
    const std::string group = "stage " + stage;
    compile(build, group, programs);
    run_programs(build, group, module_programs(build, build.modules()), plain_run());
    // A mistake may show otherwise where the modules behind it are missing, and a learner makes it there.
    if (options.variants && made(build, build.variants_of(lesson))) {
      report_.run(group, "recognition", inputs_of({root_ / build.variants_of(lesson), lesson.file, mistakes_file(lesson)}),
                  [&](Part& part) { add(part, prove_recognition(build, lesson, read_known_mistakes(mistakes_file(lesson)))); });
    }
  }

  void test_with_clang() {
    if (find_program("clang++").empty()) return report_.skip("clang", "all", "clang++ is not installed (apt-get install clang)");
    StageOptions options;
    options.toolchain.compiler = "clang++";
    options.quick_library = true;
    const StageBuild build(root_, course_, options);
    test_everything(build, "clang", build.modules(), plain_run());
  }

  void compile_plain_units() {
    for (const Module& module : course_) {
      std::vector<fs::path> inputs{root_ / "cli/runtime"};
      for (const Module& below : up_to_stage(course_, module.stage())) inputs.push_back(below.file);
      report_.run("plain units", module.folder(), inputs_of(inputs), [&](Part& part) {
        const std::string complaint = compile_as_plain_unit(root_, course_, module);
        part.expect(complaint.empty(), complaint);
      });
    }
  }

  // What kernels do on other processors than x86-64: compiled, not run.
  void compile_kernels_for_neon() {
    if (const std::string why_not = why_no_neon(); !why_not.empty()) return report_.skip("neon", "all", why_not);
    for (const fs::directory_entry& entry : fs::directory_iterator(root_ / "tinytorch/kernels")) {
      if (!entry.path().filename().string().ends_with(".simd.DEFAULT.cpp")) continue;
      report_.run("neon", entry.path().filename().string(), inputs_of({root_ / "tinytorch/kernels"}), [&](Part& part) {
        const std::string complaint = compile_for_neon(root_, entry.path());
        part.expect(complaint.empty(), complaint);
      });
    }
  }

  // Usually for about a second; thoroughly for minutes.
  void test_damaged_modules() {
    const std::size_t tries = options_.thorough ? 20'000 : 100;
    report_.run("fuzzing", fmt::format("{} damaged module files", tries), inputs_of({root_ / "modules"}), [&](Part& part) {
      const std::uint64_t seed = std::random_device{}();
      if (!options_.json) fmt::print("fuzzing: seed {}\n", seed);
      const FuzzResult result = fuzz_in_child(root_, tries, seed);
      part.passed += result.tries;
      part.expect(result.tries == tries, fmt::format("{} of {} damaged files were tried, seed {}", result.tries, tries, seed));
      for (const std::string& complaint : result.complaints) part.expect(false, complaint);
    });
  }

  void test_on_fresh_machine() {
    const std::string why_not = why_no_fresh_machine();
    if (!why_not.empty()) return report_.skip("fresh machine", "debootstrap", why_not);
    report_.run("fresh machine", "debootstrap", "", [&](Part& part) {
      const std::string complaint = try_fresh_machine(root_);
      part.expect(complaint.empty(), complaint);
    });
  }

  // The test cases in tests/ that are called "thorough: ..." and skipped otherwise.
  void test_at_length() {
    const StageBuild build(root_, course_, last_stage());
    TestOptions running = plain_run();
    running.arguments = {"--no-skip", "--test-case=thorough:*"};
    running.seconds_per_test = 1800;
    std::string why_not;
    const fs::path python = prepare_python(root_, why_not);
    if (python.empty()) {
      report_.skip("thorough tests", "with Python", why_not);
    } else {
      running.environment = {{"TINYTORCH_PYTHON", python.string()}};
    }
    if (has_torch(recording_python())) running.environment.emplace_back("TINYTORCH_PYTHON_WITH_TORCH", recording_python());
    for (const std::string& folder : folders(build)) {
      const std::string program = build.folder_tests(folder);
      if (!made(build, program)) {
        not_built("thorough tests", "tests/" + folder);
        continue;
      }
      report_.run("thorough tests", "tests/" + folder, inputs_of({root_ / program}), [&](Part& part) {
        const TestRun run = run_tests(program, build.lines(), running);
        fmt::print("{}", run.output);  // seeds and counts
        part.add(run);
      });
    }
  }

  void say_what_was_not_asked_for() {
    if (!options_.parts.empty()) return report_.leave_out("all other parts", "--part");
    if (!options_.sanitize) report_.leave_out("sanitizers", "--sanitize");
    if (!options_.stages && !options_.thorough) report_.leave_out("stages 01, 04, 05", "--stages");
    if (!options_.thorough) {
      report_.leave_out("other stages, clang, plain units, kernels for NEON, more fuzzing, libtorch itself, long tests, fresh machine", "--thorough");
    }
  }

  // ---- building and running

  void compile(const StageBuild& build, const std::string& what, const std::vector<std::string>& programs) {
    report_.run("compile", what, "", [&](Part& part) {
      const NinjaResult result = build.build(programs, "compiling " + what, true);
      if (!result.ok) part.expect(false, result.messages);
    });
  }

  // After a failed build, an old program may still stand there: asks ninja again about this one.
  bool made(const StageBuild& build, const std::string& program) const {
    return build.build({program}, "compiling " + program).ok;
  }

  void not_built(const std::string& group, const std::string& name) {
    report_.run(group, name, "", [](Part& part) { part.expect(false, "not run, since it does not compile"); });
  }

  struct TestProgram {
    std::string name;
    std::string path;
  };

  static std::vector<TestProgram> module_programs(const StageBuild& build, const std::vector<Module>& modules) {
    std::vector<TestProgram> programs;
    for (const Module& module : modules) {
      if (!module.tests.empty()) programs.push_back({module.folder(), build.tests_of(module)});
    }
    return programs;
  }

  static std::vector<TestProgram> folder_programs(const StageBuild& build) {
    std::vector<TestProgram> programs;
    for (const std::string& folder : folders(build)) programs.push_back({"tests/" + folder, build.folder_tests(folder)});
    return programs;
  }

  void run_programs(const StageBuild& build, const std::string& group, const std::vector<TestProgram>& programs, const TestOptions& running) {
    std::vector<PartReport::Work> all;
    for (const TestProgram& program : programs) {
      if (made(build, program.path)) {
        all.push_back({program.name, inputs_of({root_ / program.path}),
                       [&build, &running, path = program.path](Part& part) { part.add(run_tests(path, build.lines(), running)); }});
      } else {
        not_built(group, program.name);
      }
    }
    report_.run_all(group, all);
  }

  TestOptions plain_run() const {
    TestOptions options;
    options.root = root_;
    return options;
  }

  static std::vector<std::string> folders(const StageBuild& build) {
    std::vector<std::string> out;
    for (const char* folder : {"package", "integration", "regression"}) {
      if (!build.folder_tests(folder).empty()) out.emplace_back(folder);
    }
    return out;
  }

  static Command without_address_randomization() {
    const Command command{"setarch", "-R"};
    if (find_program("setarch").empty()) return {};
    return run_process({"setarch", "-R", "true"}).ok() ? command : Command{};
  }

  static void add(Part& part, const std::vector<Proof>& proofs) {
    for (const Proof& proof : proofs) {
      part.expect(proof.complaint.empty(), fmt::format("{}: {}", proof.name, proof.complaint));
    }
  }

  std::string inputs_of(const std::vector<fs::path>& paths) const { return fingerprint(paths, tool_ + data_); }

  fs::path root_;
  CourseTestOptions options_;
  std::vector<Module> course_;
  std::string tool_;
  std::string data_;
  PartReport report_;
};

}  // namespace

bool test_course(const fs::path& root, const CourseTestOptions& options) { return CourseTest(root, options).run(); }

}  // namespace tito
