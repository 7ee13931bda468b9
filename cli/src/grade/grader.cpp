#include "grade/grader.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <regex>

#include "build/parallel.h"
#include "format/cpp_scan.h"
#include "format/units.h"
#include "learn/exercises.h"
#include "learn/text_files.h"

namespace tito {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view compile_flags =
    "-std=c++20 -pthread -fdiagnostics-color=never -O0 -g1 -w -Werror=return-type -fmax-errors=20 -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS"
    " --param ggc-min-heapsize=500000";  // looking for memory to free took a tenth of the time
constexpr std::size_t object_bytes = std::size_t{1} << 30;
constexpr std::size_t written_bytes = std::size_t{64} << 20;
constexpr std::size_t printed_bytes = std::size_t{8} << 20;
constexpr std::size_t shown_message = 1500;
constexpr std::string_view all_headers = "package.h";  // precompiled beside it
constexpr std::string_view answers_unit = "answers.cpp";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void add_words(Command& command, std::string_view words) {
  while (!words.empty()) {
    const std::size_t space = std::min(words.find(' '), words.size());
    command.emplace_back(words.substr(0, space));
    words.remove_prefix(std::min(space + 1, words.size()));
  }
}

std::string shortened(std::string text) {
  if (text.size() <= shown_message) return text;
  text.resize(shown_message);
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.pop_back();
  return text + " ...";
}

// Lessons whose answers stand in what a Tensor is made of: there is hardly a header that they do not change.
bool reaches_every_header(const Module& module) { return module.number < "02"; }

// Takes the course's text where an answer changes no more than comments, so that it counts as unchanged.
void keep_same_code(std::vector<GeneratedFile>& files, const std::vector<GeneratedFile>& course) {
  for (GeneratedFile& file : files) {
    const auto found = std::find_if(course.begin(), course.end(), [&](const GeneratedFile& other) { return other.path == file.path; });
    if (found != course.end() && found->text != file.text && same_code(found->text, file.text)) file = *found;
  }
}

// What an object depends on beside its source: the package's headers and how they are compiled.
std::string headers_of(const Package& package) {
  std::string all(compile_flags);
  for (const GeneratedFile& file : package.files) {
    if (file.path.ends_with(".h")) all += file.text;
  }
  return all;
}

// Of a command that compiles.
std::string source_of(const Command& command) { return *(std::find(command.begin(), command.end(), "-c") + 1); }

bool refuse(Answer& answer, const std::string& message) {
  if (answer.state != Answer::State::Answered) return false;
  answer.state = Answer::State::Refused;
  answer.message = message;
  return true;
}

// "submission/05_autograd/autograd_dev.cpp:812" -> "05-reduce-to:4"; the reference's lines are those of tests that no answer touches.
void name_cells(const AnswerSheet& sheet, const Module& submitted, const Module& reference, Place& place) {
  const bool answered = place.file == submitted.file.string();
  if (!answered && fs::path(place.file).filename() != reference.file.filename()) return;
  const auto [id, line] = sheet.place(answered ? submitted : reference, place.line);
  if (!id.empty()) place = {id, line};
}

}  // namespace

StageOptions at_own_stage(const Module& module) {
  StageOptions options;
  options.stage = module.stage();
  options.only = {"none"};
  return options;
}

StageOptions in_front_of_library(const fs::path& library) {
  StageOptions options;
  options.library = library;
  options.only = {"none"};
  options.folder = "stage-grading";
  return options;
}

// One try to compile a sheet of answers.
struct Grader::Attempt {
  explicit Attempt(const fs::path& root, const fs::path& scratch) : folder(scratch), lines(root) {}

  fs::path folder;  // with include/, tests/, the objects and the program
  Module module;
  LineMap lines;
  std::vector<std::string> replaced;  // sources of the package that are compiled here
  std::vector<std::string> units;     // test units that are compiled here, relative to the root
};

// A folder that goes with its owner.
class Grader::Scratch {
 public:
  explicit Scratch(const fs::path& parent) {
    static std::atomic<int> count = 0;
    path_ = parent / fmt::format("{}-{}", getpid(), count++);
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// A submission as a program: with the answers that compile.
class Grader::Work {
 public:
  Work(const Grader& grader, const Submission& submission) : sheet(grader.module_, submission) {
    bool built = false;
    while (!built) {
      scratch_.emplace(grader.folder_ / "work");
      attempt.emplace(grader.build_.root(), scratch_->path());
      built = grader.try_to_build(sheet, *attempt);
    }
  }

  const Clock::time_point start = Clock::now();
  AnswerSheet sheet;
  std::optional<Attempt> attempt;

 private:
  std::optional<Scratch> scratch_;
};

double Grade::score() const {
  double sum = 0;
  for (const GradedCell& cell : cells) sum += cell.passed ? cell.points : 0;
  return sum;
}

double Grade::points() const {
  double sum = 0;
  for (const GradedCell& cell : cells) sum += cell.points;
  return sum;
}

Grader::Grader(const StageBuild& build, const Module& module, Sandbox sandbox, fs::path folder, GradingLimits limits)
    : build_(build),
      module_(module),
      sandbox_(std::move(sandbox)),
      folder_(std::move(folder)),
      shared_((reaches_every_header(module) ? folder_ : folder_.parent_path()) / "headers"),
      limits_(limits),
      known_(read_known_mistakes(mistakes_file(module))) {
  std::vector<std::string> below = build_.library_without({module_.number});
  below.insert(below.end(), build_.runtime_objects().begin(), build_.runtime_objects().end());
  const NinjaResult made = build_.build(below, "compiling what submissions of " + module_.folder() + " stand on");
  if (!made.ok) throw std::runtime_error("what " + module_.folder() + " stands on does not compile:\n" + made.messages);
  write_headers();
  precompile();
  compile_course();
}

// The headers that no answer changes: neither this lesson's nor another's that is graded behind the same. Neither sources nor other
// headers are there: they have the solutions, which a submission must not see.
void Grader::write_headers() {
  std::vector<Module> course = build_.modules();
  for (Module& module : course) {
    const bool graded_here = module.number == module_.number || !(reaches_every_header(module_) || reaches_every_header(module));
    if (!module.library_chapter && graded_here) module = AnswerSheet(module, Submission{}).module();
  }
  const std::set<std::string> affected = affected_files(export_package(course), build_.package());
  std::vector<GeneratedFile> headers;
  std::string all = "#include \"tito/lesson.h\"\n#include <algorithm>\n#include <cmath>\n#include <functional>\n#include <memory>\n"
                    "#include <sstream>\n#include <string>\n#include <vector>\n";
  for (const GeneratedFile& file : build_.package().files) {
    if (!file.path.ends_with(".h") || affected.contains(file.path)) continue;
    headers.push_back(file);
    same_for_all_.insert(file.path);
    if (file.path != "tinytorch.h") all += "#include \"tinytorch/" + file.path + "\"\n";
  }
  write_changed(shared_ / "include/tinytorch", headers, true);
  write_if_changed(shared_ / all_headers, all);
}

void Grader::precompile() const {
  const fs::path header = shared_ / all_headers;
  const fs::path output = header.string() + ".gch";
  const std::string inputs = hash_of(read_text(header) + headers_of(build_.package()));
  const fs::path made_from = shared_ / "inputs";
  if (fs::exists(output) && read_if_there(made_from) == inputs) return;
  const std::string growing = output.string() + ".new";
  Command command{"g++"};
  add_words(command, compile_flags);
  command.insert(command.end(), {"-I", relative(shared_ / "include"), "-I", "cli/runtime", "-x", "c++-header", relative(header), "-o", relative(growing)});
  ProcessOptions options;
  options.directory = build_.root();
  const ProcessResult result = run_process(command, options);
  if (!result.ok()) throw std::runtime_error("the headers of " + module_.folder() + " cannot be precompiled:\n" + result.output);
  fs::rename(growing, output);
  write_atomically(made_from, inputs);
}

// The module's sources and tests as the course has them, for submissions that leave them as they are.
void Grader::compile_course() {
  const fs::path folder = folder_ / "course";
  course_units_ = test_units(module_, true);
  write_changed(folder / "tests", course_units_, true);
  struct Unit {
    std::string source, object, inputs;
  };
  const std::string headers = headers_of(build_.package());
  std::vector<Unit> stale;
  const auto wants = [&](const std::string& source, const fs::path& object, const std::string& text) {
    const Unit unit{source, relative(object), hash_of(headers + text)};
    if (!fs::exists(object) || read_if_there(object.string() + ".inputs") != unit.inputs) stale.push_back(unit);
    return unit.object;
  };
  for (const GeneratedFile& file : build_.package().files) {
    const auto& sources = build_.package().sources;
    const bool own = std::any_of(sources.begin(), sources.end(), [&](const auto& entry) {
      return entry.first == module_.folder() && std::find(entry.second.begin(), entry.second.end(), file.path) != entry.second.end();
    });
    if (own) course_sources_[file.path] = wants(build_.include() + "/tinytorch/" + file.path, folder / (file.path + ".o"), file.text);
  }
  for (const GeneratedFile& unit : course_units_) course_tests_.push_back(wants(relative(folder / "tests" / unit.path), folder / (unit.path + ".o"), unit.text));
  std::atomic<bool> together = true;
  in_parallel(stale.size(), "compiling the course's own " + module_.folder(), [&](std::size_t i) {
    const Unit& unit = stale[i];
    fs::create_directories((build_.root() / unit.object).parent_path());
    ProcessOptions options;
    options.directory = build_.root();
    ProcessResult result = run_process(compile_command(unit.source, unit.object, {build_.include()}, true), options);
    if (result.ok()) return write_atomically(build_.root() / (unit.object + ".inputs"), unit.inputs);
    together = false;
    result = run_process(compile_command(unit.source, unit.object, {build_.include()}, false), options);
    if (!result.ok()) throw std::runtime_error("the course's own " + module_.folder() + " does not compile:\n" + result.output);
  });
  together_ = together;
}

Command Grader::compile_command(const std::string& source, const std::string& object, const std::vector<std::string>& includes, bool behind_all) const {
  Command command{"g++"};
  add_words(command, compile_flags);
  const bool simd = is_capability_source(source);
  if (simd) add_words(command, "-O3 " + capability_flags(source));
  if (behind_all && !simd) command.insert(command.end(), {"-include", relative(shared_ / all_headers)});
  for (const std::string& include : includes) command.insert(command.end(), {"-I", include});
  command.insert(command.end(), {"-I", "cli/runtime", "-c", source, "-o", object});
  return command;
}

ProcessResult Grader::compile(const Command& command, const fs::path& folder) const {
  Reach reach{build_.root(), {shared_, folder_ / "course", build_.root() / "cli/runtime", build_.directory() / "obj"}, {folder}, {}, true};
  if (!build_.options().library.empty()) reach.readable.push_back(build_.options().library);
  Command whole = sandbox_.wrapper(reach);
  whole.insert(whole.end(), command.begin(), command.end());
  ProcessOptions options;
  options.directory = build_.root();
  options.seconds = limits_.compile_seconds;
  options.memory_bytes = limits_.memory_bytes;
  options.file_bytes = object_bytes;
  options.output_bytes = printed_bytes;
  options.environment = {{"LC_ALL", "C"}};
  const ProcessResult result = run_process(whole, options);
  if (result.output.starts_with("bwrap: ")) throw std::runtime_error("the sandbox failed: " + result.output);
  if (result.output.find("No space left on device") != std::string::npos) {
    throw std::runtime_error(fmt::format("the disk that holds {} is full; free some space and run this again", folder_.string()));
  }
  return result;
}

// `together`: the answers' sources as one unit, and everything behind the precompiled headers. That is several times quicker, but
// a name may be ambiguous where all headers are in sight; then only what a source includes itself decides.
std::vector<Command> Grader::build_commands(const Attempt& attempt, bool together) const {
  std::vector<Command> commands;
  std::vector<std::string> objects;
  const std::vector<std::string> includes{relative(attempt.folder / "include"), relative(shared_ / "include")};
  const auto add = [&](const std::string& source) {
    objects.push_back(source + ".o");
    commands.push_back(compile_command(source, objects.back(), includes, together));
  };
  if (together && !attempt.replaced.empty()) add(relative(attempt.folder / answers_unit));
  for (const std::string& source : attempt.replaced) {
    if (!together || is_capability_source(source)) add(relative(attempt.folder / "include/tinytorch" / source));
  }
  for (const std::string& unit : attempt.units) add(unit);
  if (attempt.units.empty()) objects.insert(objects.end(), course_tests_.begin(), course_tests_.end());
  for (const auto& [source, object] : course_sources_) {
    if (std::find(attempt.replaced.begin(), attempt.replaced.end(), source) == attempt.replaced.end()) objects.push_back(object);
  }
  Command link{"g++", "-pthread"};
  if (!find_program("mold").empty()) link.emplace_back("-fuse-ld=mold");
  // The runtime's first: what it does before main comes before what answers do there.
  link.insert(link.end(), build_.runtime_objects().begin(), build_.runtime_objects().end());
  link.insert(link.end(), objects.begin(), objects.end());
  const std::vector<std::string> below = build_.library_without({module_.number});
  link.insert(link.end(), below.begin(), below.end());
  link.insert(link.end(), {"-o", relative(attempt.folder / "program"), "-lz"});
  commands.push_back(link);
  return commands;
}

// Takes out the answer that the compiler complains about; all of them, when it cannot be told which one it is.
void Grader::blame(AnswerSheet& sheet, const Attempt& attempt, const std::string& output) const {
  static const std::regex at_line(R"(([^\s:]+):(\d+)(:\d+)?:)");
  std::string message = output;
  for (const std::string& line : split_lines(output)) {
    const std::size_t error = line.find("error: ");
    if (error != std::string::npos) {
      message = line.substr(error);
      break;
    }
  }
  for (std::sregex_iterator found(output.begin(), output.end(), at_line), stop; found != stop; ++found) {
    const std::optional<Place> place = attempt.lines.find((*found)[1].str(), std::stoi((*found)[2].str()));
    Answer* answer = place ? sheet.at(attempt.module, place->line) : nullptr;
    if (answer == nullptr || answer->state != Answer::State::Answered) continue;
    const auto [id, line] = sheet.place(attempt.module, place->line);
    refuse(*answer, shortened(fmt::format("it does not compile: {}, line {}: {}", id, line, message)));
    return;
  }
  bool any = false;
  for (Answer& answer : sheet.answers) any = refuse(answer, shortened("the answers do not compile together: " + message)) || any;
  if (!any) throw std::runtime_error("the module without any answer does not compile:\n" + shortened(output));
}

// False when an answer was refused, and another try is due.
bool Grader::try_to_build(AnswerSheet& sheet, Attempt& attempt) const {
  Package package;
  try {
    attempt.module = sheet.module();
    std::vector<Module> course = build_.modules();
    for (Module& module : course) {
      if (module.number == module_.number) module = attempt.module;
    }
    package = export_package(course);
    keep_same_code(package.files, build_.package().files);
  } catch (const Diagnostic& error) {
    Answer* answer = error.line > 0 ? sheet.at(attempt.module, error.line) : nullptr;
    if (answer != nullptr && refuse(*answer, error.message)) return false;
    bool any = false;
    for (Answer& other : sheet.answers) any = refuse(other, error.message) || any;
    if (!any) throw;
    return false;
  }
  const bool own_headers = !same_headers(package, build_.package());
  const std::set<std::string> affected = affected_files(package, build_.package());
  const std::vector<std::string> mine = [&] {
    for (const auto& [folder, paths] : package.sources) {
      if (folder == module_.folder()) return paths;
    }
    return std::vector<std::string>();
  }();
  for (const std::string& source : mine) {
    if (affected.contains(source)) attempt.replaced.push_back(source);
  }
  std::vector<GeneratedFile> written;
  for (const GeneratedFile& file : package.files) {
    const bool replaced = std::find(attempt.replaced.begin(), attempt.replaced.end(), file.path) != attempt.replaced.end();
    const bool simd = file.path.ends_with(".simd.cpp") && affected.contains(file.path);
    if (replaced || simd || (file.path.ends_with(".h") && !same_for_all_.contains(file.path))) written.push_back(file);
    attempt.lines.add(fs::path(relative(attempt.folder / "include")) / "tinytorch" / file.path, file);
  }
  write_changed(attempt.folder / "include/tinytorch", written, true);
  // One unit: names with internal linkage are distinct within a module.
  std::string together;
  for (const std::string& source : attempt.replaced) {
    if (!is_capability_source(source)) together += "#include \"tinytorch/" + source + "\"\n";
  }
  write_if_changed(attempt.folder / answers_unit, together);
  std::vector<GeneratedFile> units = test_units(attempt.module, true);
  keep_same_code(units, course_units_);
  const bool same_units = std::equal(units.begin(), units.end(), course_units_.begin(), course_units_.end(),
                                     [](const GeneratedFile& a, const GeneratedFile& b) { return a.text == b.text; });
  if (own_headers || !same_units) write_changed(attempt.folder / "tests", units, true);
  for (const GeneratedFile& unit : units) {
    const std::string path = relative(attempt.folder / "tests" / unit.path);
    attempt.lines.add(path, unit);
    if (own_headers || !same_units) attempt.units.push_back(path);
  }
  for (const GeneratedFile& file : build_.package().files) {
    if (course_sources_.contains(file.path)) attempt.lines.add(fs::path(build_.include()) / "tinytorch" / file.path, file);
  }
  for (const GeneratedFile& unit : course_units_) attempt.lines.add(relative(folder_ / "course/tests" / unit.path), unit);
  std::vector<Command> apart = build_commands(attempt, false);
  if (together_) {
    const std::optional<ProcessResult> failure = first_failure(attempt, build_commands(attempt, true));
    if (!failure) return true;
    // What was complained about comes first: what does not compile without the other headers either is known soon.
    std::stable_partition(apart.begin(), apart.end() - 1, [&](const Command& command) { return failure->output.find(source_of(command) + ":") != std::string::npos; });
  }
  const std::optional<ProcessResult> failure = first_failure(attempt, apart);
  if (!failure) return true;
  blame(sheet, attempt, failure->output.empty() || failure->timed_out ? "the compiler was " + how_it_ended(*failure) : failure->output);
  return false;
}

std::optional<ProcessResult> Grader::first_failure(const Attempt& attempt, const std::vector<Command>& commands) const {
  for (const Command& command : commands) {
    const ProcessResult result = compile(command, attempt.folder);
    if (!result.ok()) return result;
  }
  return std::nullopt;
}

// Every test runs, also behind one that ends the program: it is started again from the next test on.
TestRun Grader::run_tests_of(const AnswerSheet& sheet, const Attempt& attempt, bool hidden_tests) const {
  const Clock::time_point start = Clock::now();
  const fs::path report = attempt.folder / "report.jsonl";
  std::ofstream(report).close();
  Reach reach;
  reach.directory = build_.root();
  reach.readable = {attempt.folder};
  if (fs::is_directory(build_.root() / "data")) reach.readable.push_back(build_.root() / "data");
  reach.writable = {report};
  TestOptions options;
  if (!hidden_tests) reach.environment.emplace_back("TITO_TESTS", "visible");
  // In the package of the whole course tuned kernels would answer in place of the submission.
  if (module_.stage() < "16") reach.environment.emplace_back("TINYTORCH_KERNELS", "reference");
  options.environment = reach.environment;
  options.root = build_.root();
  options.wrapper = sandbox_.wrapper(reach);
  options.report = report;
  options.seconds_per_test = limits_.seconds_per_test;
  options.memory_bytes = limits_.memory_bytes;
  options.file_bytes = written_bytes;
  options.output_bytes = printed_bytes;
  options.sealed = limits_.sealed_reports;
  const std::string program = relative(attempt.folder / "program");
  TestRun all;
  all.finished = true;
  for (std::size_t first = 1;; first = all.tests.size() + 1) {
    std::ofstream(report, std::ios::trunc).close();
    options.arguments = {fmt::format("--first={}", first)};
    TestRun run = run_tests(program, attempt.lines, options);
    if (run.output.starts_with("bwrap: ")) throw std::runtime_error("the sandbox failed: " + run.output);
    all.tests.insert(all.tests.end(), run.tests.begin(), run.tests.end());
    all.seconds += run.seconds;
    if (run.finished) break;
    all.finished = false;
    all.problem = run.problem;
    if (run.tests.empty() || seconds_since(start) > limits_.seconds) break;
  }
  for (TestOutcome& test : all.tests) {
    for (TestFailure& failure : test.failures) {
      name_cells(sheet, attempt.module, module_, failure.place);
      for (Place& place : failure.trace) name_cells(sheet, attempt.module, module_, place);
    }
  }
  return all;
}

Grade Grader::grade(const Submission& submission) const { return outcome(Work(*this, submission), true); }

std::pair<Grade, Grade> Grader::grade_also_visible(const Submission& submission) const {
  const Work work(*this, submission);
  return {outcome(work, true), outcome(work, false)};
}

Grade Grader::outcome(const Work& work, bool hidden_tests) const {
  const Module& module = work.attempt->module;
  const TestRun run = run_tests_of(work.sheet, *work.attempt, hidden_tests);
  Grade grade;
  const std::set<std::string> passed = passed_cells(module, run);
  std::map<std::string, GradedCell> cells;
  for (const Test& test : module.tests) {
    if (!test.graded || test.is_demo) continue;
    GradedCell& cell = cells[test.grade_id];
    cell.passed = passed.contains(test.grade_id);
    const TestOutcome* outcome = run.find(test.name);
    if (outcome == nullptr) {
      cell.text += fmt::format("FAILED  {}\n  it was not reached: {}\n", test.name, run.problem);
    } else if (!outcome->passed) {
      cell.text += shortened(describe(*outcome)) + "\n";
    } else if (!outcome->gives_points()) {
      cell.text += describe_ratio(*outcome);
    }
  }
  for (const Cell& cell : module.cells) {
    const auto found = cells.find(cell.grade_id());
    if (found != cells.end() && !cell.grade_id().empty()) {
      found->second.grade_id = cell.grade_id();
      found->second.points = cell.points();
      grade.cells.push_back(found->second);
    } else if (cell.kind == Cell::Kind::Markdown && cell.nbgrader_flag("grade")) {
      grade.by_hand += cell.points();
    }
  }
  if (!run.ok()) grade.mistakes = recognize(known_, run, module_);
  grade.answers = work.sheet.answers;
  grade.seconds = seconds_since(work.start);
  return grade;
}

std::string Grader::fingerprint(const Submission& submission) const {
  std::string all = AnswerSheet(module_, submission).text();
  for (const GeneratedFile& file : build_.package().files) all += file.text;
  return hash_of(all + read_if_there(mistakes_file(module_)));
}

nlohmann::ordered_json json_of(const Grade& grade) {
  using Json = nlohmann::ordered_json;
  Json answers = Json::array();
  for (const Answer& answer : grade.answers) {
    answers.push_back({{"grade_id", answer.grade_id}, {"function", answer.function}, {"state", name_of(answer.state)}, {"message", answer.message}});
  }
  Json cells = Json::array();
  for (const GradedCell& cell : grade.cells) {
    cells.push_back({{"grade_id", cell.grade_id}, {"points", cell.points}, {"passed", cell.passed}, {"text", cell.text}});
  }
  Json mistakes = Json::array();
  for (const KnownMistake& mistake : grade.mistakes) mistakes.push_back({{"mistake", mistake.id}, {"says", mistake.says}});
  return {{"score", grade.score()}, {"points", grade.points()}, {"by_hand", grade.by_hand}, {"seconds", grade.seconds},
          {"answers", answers},     {"cells", cells},           {"mistakes", mistakes}};
}

Grade grade_of(const nlohmann::json& json) {
  Grade grade;
  for (const nlohmann::json& entry : json.at("answers")) {
    Answer answer{entry.at("grade_id"), entry.at("function"), Answer::State::Answered, entry.at("message"), {}, 0};
    for (const Answer::State state : {Answer::State::Missing, Answer::State::Empty, Answer::State::Refused}) {
      if (entry.at("state") == name_of(state)) answer.state = state;
    }
    grade.answers.push_back(answer);
  }
  for (const nlohmann::json& entry : json.at("cells")) {
    grade.cells.push_back({entry.at("grade_id"), entry.at("points"), entry.at("passed"), entry.at("text")});
  }
  for (const nlohmann::json& entry : json.at("mistakes")) grade.mistakes.push_back({entry.at("mistake"), entry.at("says"), {}});
  grade.by_hand = json.at("by_hand");
  grade.seconds = json.at("seconds");
  return grade;
}

}  // namespace tito
