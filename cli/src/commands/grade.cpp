// tito grade: an instructor's course with nbgrader, and grading at once from the shell.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>

#include "build/library.h"
#include "build/progress.h"
#include "commands/commands.h"
#include "format/student.h"
#include "grade/batch.h"
#include "grade/eight.h"
#include "grade/sandbox.h"
#include "learn/text_files.h"
#include "notebook/lesson.h"
#include "notebook/python.h"

namespace tito {
namespace {

struct RunArguments {
  std::string module;
  std::vector<std::string> files;
  std::string out;
  std::string stage;
  double seconds = GradingLimits().seconds_per_test;
  bool no_isolation = false;
  bool json = false;
  bool quiet = false;
};

void print_result(const BatchResult& result) {
  if (!result.error.empty()) {
    fmt::print("{}: no grade: {}\n", result.name, result.error);
    return;
  }
  const Grade& grade = result.grade;
  fmt::print("{}: {:g} of {:g} points{}\n", result.name, grade.score(), grade.points(), result.kept ? " (graded before)" : "");
  for (const Answer& answer : grade.answers) {
    if (answer.state == Answer::State::Answered) continue;
    fmt::print("  {} is {}{}{}\n", answer.grade_id, name_of(answer.state), answer.message.empty() ? "" : ": ", answer.message);
  }
  for (const GradedCell& cell : grade.cells) {
    if (cell.passed) continue;
    if (cell.text.starts_with("measured ")) fmt::print("  {} ({:g} points): {}", cell.grade_id, cell.points, cell.text);
    else fmt::print("  {} ({:g} points) failed\n", cell.grade_id, cell.points);
  }
  const std::string sentences = sentences_of(grade.mistakes);
  if (!sentences.empty()) fmt::print("  {}\n", sentences);
}

void run_files(const RunArguments& arguments) {
  const fs::path root = project_root();
  if (arguments.json) silence_progress();
  const std::vector<Module> course = load_stage_of(root, arguments.stage.empty() ? arguments.module : arguments.stage);
  const Module& module = find_module(course, arguments.module);
  const StageBuild build(root, course, at_own_stage(arguments.stage.empty() ? module : find_module(course, arguments.stage)));
  const fs::path folder = build.directory() / "grading" / module.folder();
  fs::create_directories(folder);
  const Sandbox sandbox = arguments.no_isolation ? Sandbox::none() : Sandbox::isolated(folder);
  GradingLimits limits;
  limits.seconds_per_test = arguments.seconds;
  const Grader grader(build, module, sandbox, folder, limits);
  const std::vector<fs::path> files(arguments.files.begin(), arguments.files.end());
  const std::vector<BatchResult> results = grade_files(grader, files, arguments.out);
  if (arguments.json) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (const BatchResult& result : results) {
      nlohmann::ordered_json entry = {{"submission", result.name}};
      if (result.error.empty()) {
        entry.update(json_of(result.grade));
      } else {
        entry["error"] = result.error;
      }
      out.push_back(entry);
    }
    fmt::print("{}\n", out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    for (const BatchResult& result : results) {
      if (!arguments.quiet || !result.error.empty()) print_result(result);
    }
  }
  const bool all = std::all_of(results.begin(), results.end(), [](const BatchResult& result) { return result.error.empty(); });
  if (!all) throw Exit{1};
}

void add_run(CLI::App& grade) {
  CLI::App* command = grade.add_subcommand("run", "Grade notebooks or module files at once, without Jupyter");
  const auto arguments = std::make_shared<RunArguments>();
  command->add_option("module", arguments->module, "05 or autograd")->required();
  command->add_option("files", arguments->files, "submissions: .ipynb or .cpp")->required()->check(CLI::ExistingFile);
  command->add_option("--out", arguments->out, "keep each grade in DIR/NAME.json; what is there for the same text is not graded again");
  command->add_option("--stage", arguments->stage, "the stage they are compiled at (default: the module's own)");
  command->add_option("--seconds", arguments->seconds, "limit for one test")->check(CLI::PositiveNumber);
  command->add_flag("--no-isolation", arguments->no_isolation, "run submissions as you: only if you trust every one");
  command->add_flag("--json", arguments->json, "print one JSON array");
  command->add_flag("--quiet", arguments->quiet, "print only what has no grade");
  command->callback([arguments] { run_files(*arguments); });
}

// ---- An instructor's folder, for nbgrader.

constexpr std::string_view marker = ".tito/grading.toml";

constexpr std::string_view nbgrader_config = R"config("""nbgrader's settings for this course, made by `tito grade init`. nbgrader itself reads them too."""
import os
import sys

sys.path.insert(0, @NOTEBOOK@)
os.environ.setdefault("TITO", @TITO@)
os.environ.setdefault("TITO_ROOT", @COURSE@)

from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader import preprocessors as nbgrader
from tinytorch_grading.preprocessors import FastPath, StudentCopy

here = os.path.dirname(os.path.abspath(__file__))
c = get_config()
c.CourseDirectory.course_id = @NAME@
c.CourseDirectory.root = here

# Exercises are emptied as in the student's copy, where each names itself.
c.GenerateAssignment.preprocessors = [
    nbgrader.LockCells, StudentCopy, nbgrader.ClearOutput, nbgrader.CheckCellMetadata, nbgrader.ComputeChecksums,
    nbgrader.SaveCells, nbgrader.ClearHiddenTests, nbgrader.ComputeChecksums, nbgrader.CheckCellMetadata,
]
c.StudentCopy.folder = os.path.join(here, ".tito", "student")
c.ClearHiddenTests.begin_test_delimeter = "BEGIN HIDDEN TESTS"
c.ClearHiddenTests.end_test_delimeter = "END HIDDEN TESTS"

# Submissions are compiled and tested by tito, apart from this machine's files.
c.Autograde.autograde_preprocessors = [
    FastPath, ClearMetadataPreprocessor, nbgrader.LimitOutput, nbgrader.SaveAutoGrades, nbgrader.AssignLatePenalties,
    nbgrader.CheckCellMetadata,
]
c.FastPath.grades = os.path.join(here, ".tito", "grades")
c.OverwriteCells.add_missing_cells = True
)config";

std::string with_value(std::string text, const std::string& name, const std::string& value) {
  const std::size_t at = text.find(name);
  return text.replace(at, name.size(), nlohmann::json(value).dump());
}

void make_folder(const fs::path& folder, const std::string& name) {
  if (fs::exists(folder) && !(fs::is_directory(folder) && fs::is_empty(folder))) {
    throw std::runtime_error(fmt::format("{} is there already and not empty; choose another folder", folder.string()));
  }
  const fs::path target = fs::absolute(folder).lexically_normal();
  std::string config(nbgrader_config);
  config = with_value(config, "@NOTEBOOK@", (course_folder() / "notebook").string());
  config = with_value(config, "@TITO@", fs::read_symlink("/proc/self/exe").string());
  config = with_value(config, "@COURSE@", course_folder().string());
  config = with_value(config, "@NAME@", name);
  write_atomically(target / "nbgrader_config.py", config);
  for (const char* part : {"source", "submitted"}) fs::create_directories(target / part);
  write_atomically(target / marker, "# This folder is an instructor's, made by `tito grade init`.\nformat = 1\n");
  fmt::print("{} is ready. In it:\n"
             "  tito grade assign 00             the assignment, with solutions and hidden tests\n"
             "  tito grade release 00            what students get\n"
             "  tito grade collect 00 FOLDER     what they handed in\n"
             "  tito grade autograde 00          compile it and run its tests\n"
             "  tito grade feedback 00           a page for each student\n"
             "  tito grade export                all grades as CSV\n"
             "  tito grade report 00             how the class did\n",
             folder.string());
}

fs::path instructors_folder() {
  for (fs::path folder = fs::current_path();; folder = folder.parent_path()) {
    if (fs::is_regular_file(folder / marker)) return folder;
    if (folder == folder.parent_path()) break;
  }
  throw std::runtime_error("this is not an instructor's folder: make one with 'tito grade init DIR', and work inside it");
}

// Runs the Python side: nbgrader itself, and what joins it to tito.
void run_python(const Command& arguments) {
  const fs::path root = instructors_folder();
  const fs::path notebook = course_folder() / "notebook";
  const fs::path python = python_with(notebook / "grading.txt");
  Command command{python.string(), "-m", "tinytorch_grading"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const char* path = std::getenv("PATH");
  ProcessOptions options;
  options.directory = root;
  options.show = true;
  options.environment = {{"PYTHONPATH", notebook.string()},
                         {"TITO", fs::read_symlink("/proc/self/exe").string()},
                         {"TITO_ROOT", course_folder().string()},
                         {"PATH", python.parent_path().string() + ":" + (path == nullptr ? "/usr/bin:/bin" : path)}};
  const ProcessResult result = run_process(command, options);
  if (!result.ok()) throw Exit{result.status > 0 ? result.status : 1};
}

// "05" -> "05_autograd".
std::string folder_of(const std::string& name) { return find_module(load_stage_of(course_folder(), name), name).folder(); }

void assign(const std::string& name) {
  const fs::path root = instructors_folder();
  const std::vector<Module> stage = load_stage_of(course_folder(), name);
  const Module& module = find_module(stage, name);
  if (module.library_chapter) throw std::runtime_error(module.folder() + " is a library chapter, which has no exercises");
  write_atomically(root / ".tito/text" / (module.folder() + ".cpp"), notebook_text(module));
  write_atomically(root / ".tito/student" / (module.folder() + ".cpp"), student_copy(module));
  run_python({"assign", module.folder()});
}

struct StepArguments {
  std::string module;
  std::string folder;
  std::string student;
  std::string stage;
  std::string to = "grades.csv";
  double seconds = 0;
  bool no_isolation = false;
  bool kernel = false;
  bool json = false;
};

void autograde(const StepArguments& arguments) {
  Command command{"autograde", folder_of(arguments.module)};
  if (!arguments.student.empty()) command.insert(command.end(), {"--student", arguments.student});
  if (!arguments.stage.empty()) command.insert(command.end(), {"--stage", arguments.stage});
  if (arguments.seconds > 0) command.insert(command.end(), {"--seconds", fmt::format("{}", arguments.seconds)});
  if (arguments.no_isolation) command.emplace_back("--no-isolation");
  if (arguments.kernel) command.emplace_back("--kernel");
  run_python(command);
}

struct EightArguments {
  std::string module;
  std::string write;
  bool library = false;
  bool record = false;
  bool isolation = false;
  bool forged = false;
};

// For the course's own tests: docs/grading.md.
void try_eight(const EightArguments& arguments) {
  const fs::path root = project_root();
  const std::vector<Module> course = arguments.library ? load_course(root) : load_stage_of(root, arguments.module);
  const Module& module = find_module(course, arguments.module);
  const fs::path tests = root / "tests/grading";
  if (!arguments.write.empty()) {
    for (const auto& [name, text] : eight_submissions(module, tests)) write_atomically(fs::path(arguments.write) / (name + ".cpp"), text);
    return;
  }
  const StageBuild build(root, course, arguments.library ? in_front_of_library(library_file(root)) : at_own_stage(module));
  if (arguments.record) return record_eight(build, module, tests);
  bool good = true;
  const std::vector<Proof> proofs = arguments.isolation ? prove_isolation(build, module)
                                    : arguments.forged  ? prove_reports(build, module)
                                                        : prove_grading(build, module, tests);
  for (const Proof& proof : proofs) {
    fmt::print("{}: {}\n", proof.name, proof.complaint.empty() ? "as expected" : proof.complaint);
    good = good && proof.complaint.empty();
  }
  if (!good) throw Exit{1};
}

void add_eight(CLI::App& grade) {
  CLI::App* command = grade.add_subcommand("eight", "Try the grader on eight submissions that show what it must tell apart");
  const auto arguments = std::make_shared<EightArguments>();
  command->add_option("module", arguments->module, "05 or autograd")->required();
  command->add_flag("--library", arguments->library, "in front of the whole course's library, which must be built, instead of the module's stage");
  command->add_option("--write", arguments->write, "only write them to this folder");
  command->add_flag("--isolation", arguments->isolation, "with 00: submissions that try to break out, instead");
  command->add_flag("--forged", arguments->forged, "with 00: submissions that forge the tests' report, instead");
  command->add_flag("--record", arguments->record, "write their scores to tests/grading/expected.json");
  command->callback([arguments] { try_eight(*arguments); });
}

void add_steps(CLI::App& grade) {
  const auto arguments = std::make_shared<StepArguments>();
  const auto add = [&](const char* name, const char* what, const std::function<void()>& work, bool of_module = true) {
    CLI::App* command = grade.add_subcommand(name, what);
    if (of_module) command->add_option("module", arguments->module, "05 or autograd")->required();
    command->callback(work);
    return command;
  };
  CLI::App* init = add("init", "Make an instructor's folder", [arguments] { make_folder(arguments->folder, "tinytorch"); }, false);
  init->add_option("folder", arguments->folder, "where")->required();
  add("assign", "Write an assignment: the module as a notebook, with solutions and hidden tests", [arguments] { assign(arguments->module); });
  add("release", "Make what students get", [arguments] { run_python({"release", folder_of(arguments->module)}); });
  CLI::App* collect = add("collect", "Take in what students handed in", [arguments] {
    run_python({"collect", folder_of(arguments->module), fs::absolute(arguments->folder).string()});
  });
  collect->add_option("folder", arguments->folder, "has STUDENT.ipynb, STUDENT.cpp or a folder for each student")->required()->check(CLI::ExistingDirectory);
  CLI::App* autograding = add("autograde", "Grade what was collected; what has its grade already keeps it", [arguments] { autograde(*arguments); });
  autograding->add_option("--student", arguments->student, "only this one");
  autograding->add_option("--stage", arguments->stage, "the stage submissions are compiled at (default: the module's own)");
  autograding->add_option("--seconds", arguments->seconds, "limit for one test");
  autograding->add_flag("--no-isolation", arguments->no_isolation, "run submissions as you: only if you trust every one");
  autograding->add_flag("--kernel", arguments->kernel, "run the notebooks in Jupyter, with nbgrader's own executor");
  CLI::App* feedback = add("feedback", "Write a page for each student", [arguments] {
    Command command{"feedback", folder_of(arguments->module)};
    if (!arguments->student.empty()) command.insert(command.end(), {"--student", arguments->student});
    run_python(command);
  });
  feedback->add_option("--student", arguments->student, "only this one");
  CLI::App* exporting = add("export", "Write all grades as CSV", [arguments] { run_python({"export", "--to", fs::absolute(arguments->to).string()}); }, false);
  exporting->add_option("--to", arguments->to, "the file")->capture_default_str();
  CLI::App* report = add("report", "Pass rates and the most common known mistakes", [arguments] {
    Command command{"report", folder_of(arguments->module)};
    if (arguments->json) command.emplace_back("--json");
    run_python(command);
  });
  report->add_flag("--json", arguments->json, "print one JSON object");
}

}  // namespace

void add_grade_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("grade", "For instructors: assignments, submissions and grades, with nbgrader");
  command->require_subcommand(1);
  add_steps(*command);
  add_run(*command);
  add_eight(*command);
}

}  // namespace tito
