// tito bench: TinyTorch beside its peers (bench_suites), and how long the builds take that people wait for. The builds are measured
// on a copy, so that no file of the project is touched.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "build/library.h"
#include "build/process.h"
#include "build/progress.h"
#include "build/stage_build.h"
#include "commands/bench_suites.h"
#include "commands/commands.h"

namespace tito {
namespace {

struct BenchArguments {
  std::string module = "05";
  int repeats = 5;
  bool json = false;
};

fs::path fresh_copy(const fs::path& root, const std::string& name) {
  const fs::path copy = root / "build/bench" / name;
  fs::remove_all(copy);
  fs::create_directories(copy);
  for (const char* part : {"modules", "cli", "tests", "tinytorch", "cmake", "milestones", "examples"}) {
    if (fs::exists(root / part)) fs::copy(root / part, copy / part, fs::copy_options::recursive);
  }
  for (const char* file : {"tito", "CMakeLists.txt"}) fs::copy(root / file, copy / file);
  if (fs::exists(root / "data")) fs::create_directory_symlink(root / "data", copy / "data");
  return copy;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One edit to a module file; `number` makes it different each time.
struct Edit {
  std::string name;
  std::function<void(std::vector<std::string>& lines, int number)> make;
};

std::vector<Edit> edits_of(const Module& module) {
  std::vector<Edit> edits;
  const auto insert = [](std::size_t line, const char* text) {
    return [line, text](std::vector<std::string>& lines, int number) {
      lines.insert(lines.begin() + static_cast<long>(line), fmt::format(fmt::runtime(text), number));
    };
  };
  for (const Cell& cell : module.cells) {
    if (cell.kind != Cell::Kind::Markdown) continue;
    edits.push_back({"a line of prose", insert(static_cast<std::size_t>(cell.body_line), "// Draft {}.")});
    break;
  }
  if (!module.holes.empty()) {
    const Hole& hole = module.holes[module.holes.size() / 2];
    const std::size_t first = static_cast<std::size_t>(module.cells[hole.cell].body_line) - 1 + hole.body_first;
    edits.push_back({"the body of " + hole.function, insert(first, "  static_cast<void>({});")});
  }
  for (const Test& test : module.tests) {
    if (test.is_demo || !test.graded) continue;
    const std::size_t last = static_cast<std::size_t>(module.cells[test.cell].body_line) - 1 + test.last;
    edits.push_back({"a test", insert(last, "  CHECK_EQ({0}, {0});")});
    break;
  }
  return edits;
}

double seconds_of_test(const fs::path& copy, const std::string& module) {
  ProcessOptions options;
  options.directory = copy;
  options.environment = {{"TITO_ROOT", copy.string()}};
  const ProcessResult result = run_process({fs::read_symlink("/proc/self/exe").string(), "test", module}, options);
  if (!result.ok()) throw std::runtime_error(fmt::format("tito test {} failed on the copy:\n{}", module, result.output));
  return result.seconds;
}

void print(const nlohmann::ordered_json& rows, bool json) {
  if (json) {
    fmt::print("{}\n", rows.dump(2));
    return;
  }
  for (const auto& row : rows) {
    fmt::print("{:<46} {:>8.2f} s\n", row["what"].get<std::string>(), row["seconds"].get<double>());
  }
}

void bench_edit_loop(const BenchArguments& arguments) {
  const fs::path root = project_root();
  const fs::path copy = fresh_copy(root, "edit_loop");
  const std::vector<Module> course = load_course(copy);
  const Module& module = find_module(course, arguments.module);
  const std::string text = read_text(module.file);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  rows.push_back({{"what", "the first tito test " + module.number}, {"seconds", seconds_of_test(copy, module.number)}});
  rows.push_back({{"what", "again, nothing changed"}, {"seconds", seconds_of_test(copy, module.number)}});
  const std::vector<Edit> edits = edits_of(module);
  ProgressBar progress("editing");
  std::size_t done = 0;
  for (const Edit& edit : edits) {
    std::vector<double> seconds;
    for (int i = 0; i < arguments.repeats; ++i) {
      std::vector<std::string> lines = split_lines(text);
      edit.make(lines, i + 1);
      std::ofstream(module.file) << join_lines(lines);
      seconds.push_back(seconds_of_test(copy, module.number));
      progress.update(++done, edits.size() * static_cast<std::size_t>(arguments.repeats));
    }
    rows.push_back({{"what", fmt::format("after an edit to {} (median of {})", edit.name, arguments.repeats)},
                    {"seconds", median(seconds)}});
  }
  progress.clear();
  fs::remove_all(copy);
  print(rows, arguments.json);
}

double seconds_of_build(const fs::path& source, const fs::path& build, const Command& more) {
  Command configure{"cmake", "-S", source.string(), "-B", build.string(), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"};
  configure.insert(configure.end(), more.begin(), more.end());
  ProcessOptions options;
  options.environment = {{"CCACHE_DISABLE", "1"}};
  double seconds = 0;
  for (const Command& command : {configure, Command{"cmake", "--build", build.string()}}) {
    const ProcessResult result = run_process(command, options);
    if (!result.ok()) throw std::runtime_error("the build failed:\n" + result.output);
    seconds += result.seconds;
  }
  return seconds;
}

void bench_build(const BenchArguments& arguments) {
  const fs::path root = project_root();
  const fs::path copy = fresh_copy(root, "clean_build");
  const double framework = seconds_of_build(copy, copy / "build/library", {});
  const double command_line = seconds_of_build(copy / "cli", copy / "build/cli", {});
  fs::remove_all(copy);
  print({{{"what", "framework, clean build"}, {"seconds", framework}},
         {{"what", "command line, clean build"}, {"seconds", command_line}},
         {{"what", fmt::format("both, on {} processors", processor_count())}, {"seconds", framework + command_line}}},
        arguments.json);
}

// What is wrong with a number of seconds; nothing for a good one.
std::string complaint_about_seconds(const std::string& text) {
  double seconds = 0;
  const bool in_range = CLI::detail::lexical_cast(text, seconds) && seconds > 0 && seconds <= 3600;  // not a number is not in it
  return in_range ? "" : fmt::format("'{}' is no number of seconds; it may be more than 0 and at most 3600", text);
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "Measure TinyTorch beside PyTorch and others, or how long the builds take");
  command->require_subcommand(0, 1);
  const auto suites = std::make_shared<SuiteArguments>();
  command->add_option("suites", suites->suites, "suites of benchmarks/cases.json; none: all");
  command->add_option("--against", suites->against, fmt::format("{}; none: what is installed", fmt::join(bench_peers, ", ")))->delimiter(',');
  command->add_option("--install", suites->install, "install these peers from PyPI into an environment of their own")->delimiter(',');
  command->add_option("--python", suites->python, "a python that has the peers already");
  command->add_option("--json", suites->json, "the file for the result");
  command->add_option("--threads", suites->threads, "threads for each side, on as many processors")->capture_default_str()->check(CLI::Range(1, 1024));
  command->add_option("--seconds", suites->seconds, "for the rounds of one case")->capture_default_str()->check(CLI::Validator(complaint_about_seconds, "up to 3600"));
  command->add_option("--busy", suites->busy, "processes that spin on the same processors meanwhile, as other programs do")->capture_default_str()->check(CLI::Range(0, 64));
  command->add_option("--compare", suites->compare, "two files of results: name what got slower; exit status 1 where something did, 2 where the files cannot be compared")->expected(2);
  command->add_flag("--page", suites->page, "write docs/performance.md and docs/performance_times.md from benchmarks/results");
  command->callback([command, suites] {
    if (command->get_subcommands().empty()) bench_suites(*suites);
  });
  const auto arguments = std::make_shared<BenchArguments>();
  CLI::App* edit_loop = command->add_subcommand("edit-loop", "From an edit in a module to the verdict of its tests");
  edit_loop->add_option("--module", arguments->module, "the module to edit")->capture_default_str();
  edit_loop->add_option("--repeats", arguments->repeats, "edits of each kind")->capture_default_str()->check(CLI::Range(1, 1000));
  edit_loop->add_flag("--json", arguments->json, "print JSON");
  edit_loop->callback([arguments] { bench_edit_loop(*arguments); });
  CLI::App* build = command->add_subcommand("build", "A clean build of the framework and the command line");
  build->add_flag("--json", arguments->json, "print JSON");
  build->callback([arguments] { bench_build(*arguments); });
}

}  // namespace tito
