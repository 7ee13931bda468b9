#include "grade/grader.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <regex>

#include "format/units.h"
#include "learn/exercises.h"
#include "learn/text_files.h"

namespace tito {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view compile_flags =
    "-std=c++20 -pthread -fdiagnostics-color=never -O0 -g1 -w -Werror=return-type -fmax-errors=20 -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS";
constexpr std::size_t object_bytes = std::size_t{1} << 30;
constexpr std::size_t written_bytes = std::size_t{64} << 20;
constexpr std::size_t printed_bytes = std::size_t{8} << 20;
constexpr std::size_t shown_message = 1500;

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

// A folder that goes with its owner.
class Scratch {
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

// One try to compile a sheet of answers.
struct Grader::Attempt {
  explicit Attempt(const fs::path& root, const fs::path& scratch) : folder(scratch), lines(root) {}

  fs::path folder;  // with include/, tests/, the objects and the program
  Module module;
  LineMap lines;
  std::vector<std::string> replaced;  // sources of the package that are compiled here
  std::vector<std::string> units;     // test units that are compiled here, relative to the root
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
      headers_(folder_ / "include"),
      precompiled_(folder_ / "precompiled/package.h"),
      limits_(limits),
      known_(read_known_mistakes(mistakes_file(module))) {
  if (build_.library().size() != sources_of(build_.package()).size()) {
    throw std::logic_error("submissions are graded on a build that compiles each source by itself");
  }
  const NinjaResult made = build_.build({build_.tests_of(module_)}, "compiling what submissions of " + module_.folder() + " stand on");
  if (!made.ok) throw std::runtime_error("the course's own " + module_.folder() + " does not compile:\n" + made.messages);
  write_headers();
  precompile();
}

// The headers that no answer changes. Neither sources nor other headers are there: they have the solutions, which a submission
// must not see.
void Grader::write_headers() {
  std::vector<Module> course = build_.modules();
  for (Module& module : course) {
    if (module.number == module_.number) module = AnswerSheet(module_, Submission{}).module();
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
  write_changed(headers_ / "tinytorch", headers, true);
  write_if_changed(precompiled_, all);
}

void Grader::precompile() const {
  const fs::path output = precompiled_.string() + ".gch";
  const std::string inputs = hash_of(read_text(precompiled_) + [&] {
    std::string all(compile_flags);
    for (const GeneratedFile& file : build_.package().files) {
      if (file.path.ends_with(".h")) all += file.text;
    }
    return all;
  }());
  const fs::path made_from = precompiled_.parent_path() / "inputs";
  if (fs::exists(output) && read_if_there(made_from) == inputs) return;
  Command command{"g++"};
  add_words(command, compile_flags);
  const std::string growing = output.string() + ".new";
  command.insert(command.end(), {"-I", relative(headers_), "-I", "cli/runtime", "-x", "c++-header", relative(precompiled_), "-o", relative(growing)});
  ProcessOptions options;
  options.directory = build_.root();
  const ProcessResult result = run_process(command, options);
  if (!result.ok()) throw std::runtime_error("the headers of " + module_.folder() + " cannot be precompiled:\n" + result.output);
  fs::rename(growing, output);
  write_atomically(made_from, inputs);
}

ProcessResult Grader::compile(const Command& command, const fs::path& folder) const {
  Reach reach{build_.root(), {headers_, precompiled_.parent_path(), build_.root() / "cli/runtime", build_.directory() / "obj"}, {folder}, {}, true};
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
  const std::string include = relative(attempt.folder / "include");
  const auto add = [&](const std::string& source, const std::string& object) {
    Command command{"g++"};
    add_words(command, compile_flags);
    const bool simd = is_capability_source(source);
    if (simd) add_words(command, "-O3 " + capability_flags(source));
    if (together && !simd) command.insert(command.end(), {"-include", relative(precompiled_)});
    command.insert(command.end(), {"-I", include, "-I", relative(headers_), "-I", "cli/runtime"});
    command.insert(command.end(), {"-c", source, "-o", object});
    commands.push_back(command);
    objects.push_back(object);
  };
  if (together && !attempt.replaced.empty()) {
    add(relative(attempt.folder / "answers.cpp"), relative(attempt.folder / "answers.o"));
  }
  for (const std::string& source : attempt.replaced) {
    if (!together || is_capability_source(source)) {
      const std::string path = relative(attempt.folder / "include/tinytorch" / source);
      add(path, path + ".o");
    }
  }
  for (const std::string& unit : attempt.units) add(unit, unit + ".o");
  if (attempt.units.empty()) {
    const std::vector<std::string>& tests = build_.test_objects_of(module_);
    objects.insert(objects.end(), tests.begin(), tests.end());
  }
  const std::vector<std::string> sources = sources_of(build_.package());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const bool replaced = std::find(attempt.replaced.begin(), attempt.replaced.end(), sources[i]) != attempt.replaced.end();
    if (!replaced) objects.push_back(build_.library()[i]);
  }
  Command link{"g++", "-pthread"};
  if (!find_program("mold").empty()) link.emplace_back("-fuse-ld=mold");
  // The runtime's first: what it does before main comes before what answers do there.
  link.insert(link.end(), build_.runtime_objects().begin(), build_.runtime_objects().end());
  link.insert(link.end(), objects.begin(), objects.end());
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
  write_if_changed(attempt.folder / "answers.cpp", together);
  const std::vector<GeneratedFile> units = test_units(attempt.module, true);
  const std::vector<GeneratedFile> course_units = test_units(module_, true);
  const bool same_units = std::equal(units.begin(), units.end(), course_units.begin(), course_units.end(),
                                     [](const GeneratedFile& a, const GeneratedFile& b) { return a.text == b.text; });
  if (own_headers || !same_units) write_changed(attempt.folder / "tests", units, true);
  for (const GeneratedFile& unit : units) {
    const std::string path = relative(attempt.folder / "tests" / unit.path);
    attempt.lines.add(path, unit);
    if (own_headers || !same_units) attempt.units.push_back(path);
  }
  for (const GeneratedFile& unit : course_units) attempt.lines.add(relative(build_.directory() / "tests" / unit.path), unit);
  if (together_ && !first_failure(attempt, true)) return true;
  const std::optional<ProcessResult> failure = first_failure(attempt, false);
  if (!failure) {
    together_ = false;
    return true;
  }
  blame(sheet, attempt, failure->output.empty() || failure->timed_out ? "the compiler was " + how_it_ended(*failure) : failure->output);
  return false;
}

std::optional<ProcessResult> Grader::first_failure(const Attempt& attempt, bool together) const {
  for (const Command& command : build_commands(attempt, together)) {
    const ProcessResult result = compile(command, attempt.folder);
    if (!result.ok()) return result;
  }
  return std::nullopt;
}

// Every test runs, also behind one that ends the program: it is started again from the next test on.
TestRun Grader::run_tests_of(const AnswerSheet& sheet, const Attempt& attempt) const {
  const Clock::time_point start = Clock::now();
  const fs::path report = attempt.folder / "report.jsonl";
  std::ofstream(report).close();
  Reach reach;
  reach.directory = build_.root();
  reach.readable = {attempt.folder};
  if (fs::is_directory(build_.root() / "data")) reach.readable.push_back(build_.root() / "data");
  reach.writable = {report};
  TestOptions options;
  if (!limits_.hidden_tests) reach.environment = options.environment = {{"TITO_TESTS", "visible"}};
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

Grade Grader::grade(const Submission& submission) const {
  const Clock::time_point start = Clock::now();
  AnswerSheet sheet(module_, submission);
  Grade grade;
  TestRun run;
  Module module;
  for (bool built = false; !built;) {
    const Scratch scratch(folder_ / "work");
    Attempt attempt(build_.root(), scratch.path());
    built = try_to_build(sheet, attempt);
    if (!built) continue;
    run = run_tests_of(sheet, attempt);
    module = attempt.module;
  }
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
  grade.answers = sheet.answers;
  grade.seconds = seconds_since(start);
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
