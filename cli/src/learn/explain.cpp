#include "learn/explain.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "learn/purpose.h"

namespace tito {
namespace {

constexpr std::size_t text_width = 100;

std::string place_text(const Place& place) { return fmt::format("{}:{}", place.file, place.line); }

const Hole* find_hole(const Module& module, const std::string& grade_id) {
  for (const Hole& hole : module.holes) {
    if (hole.grade_id == grade_id) return &hole;
  }
  return nullptr;
}

const Test* test_named(const Module& module, const std::string& name) {
  for (const Test& test : module.tests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

// The hole whose NotImplemented the failure shows.
const Hole* empty_hole(const Module& module, const TestFailure& failure) {
  for (const Hole& hole : module.holes) {
    if (failure.values.find(hole.message()) != std::string::npos) return &hole;
  }
  return nullptr;
}

std::string problem_of(const TestFailure& failure) {
  if (failure.kind == "threw") return "the test ended with an error: " + failure.values;
  if (failure.kind == "hung") {
    return "the test did not end in its time limit, so it was stopped. Look at the loop or the recursion at the line below: does its "
           "condition ever change?";
  }
  if (failure.kind == "exited") {
    return "the program ended in the middle of the test: something called exit(). A function gives its answer by returning, and a "
           "failure by throwing.";
  }
  if (failure.kind == "flooded") return "the test printed without end, so it was stopped. Look at the loop that prints.";
  if (failure.kind != "crashed") return "";
  if (failure.cause == "stack overflow") {
    return "the stack overflowed: a function calls itself without end. What ends the recursion?";
  }
  if (failure.cause == "null pointer") return "the program crashed: it used a pointer that points to nothing (nullptr), or an object that is empty.";
  if (failure.values.find("SIGSEGV") != std::string::npos || failure.values.find("SIGBUS") != std::string::npos) {
    return "the program crashed: it used memory that is not its own. An index beyond the end and a pointer to something that is gone do "
           "that; 'tito test --sanitize' says which.";
  }
  if (failure.values.find("SIGFPE") != std::string::npos) return "the program crashed: a whole number was divided by zero.";
  if (failure.values.find("SIGABRT") != std::string::npos) {
    return "the program gave up (abort): an error was thrown where nothing could catch it, or memory was freed twice.";
  }
  return "the program crashed: " + failure.values;
}

// Memory that ran out reads better than its exception's name.
std::string plain_error(std::string problem) {
  if (problem.find("bad_alloc") == std::string::npos) return problem;
  return "the test asked for more memory than it may have (4 GB). Does something grow without end, or is a size negative or far too large?";
}

nlohmann::ordered_json json_of(const Place& place) { return {{"file", place.file}, {"line", place.line}}; }

struct SanitizerMeaning {
  std::string_view word;
  std::string_view meaning;
};
constexpr std::array<SanitizerMeaning, 15> sanitizer_meanings = {{
    {"heap-buffer-overflow", "it read or wrote beyond the end (or before the beginning) of memory that was allocated: an index is too large, or a size too small"},
    {"stack-buffer-overflow", "it read or wrote beyond the end of a local array"},
    {"global-buffer-overflow", "it read or wrote beyond the end of a global array"},
    {"container-overflow", "it used an element of a vector beyond its size()"},
    {"heap-use-after-free", "it used memory that had been given back: a pointer, a reference or a view outlived what it points into"},
    {"stack-use-after-return", "it used a local variable of a function that has returned"},
    {"stack-use-after-scope", "it used a local variable after the block that it lives in"},
    {"attempting double-free", "it gave the same memory back twice"},
    {"alloc-dealloc-mismatch", "memory was allocated in one way and given back in another (new with free, new[] with delete)"},
    {"stack-overflow", "a function calls itself without end"},
    {"detected memory leaks", "memory was allocated and never given back"},
    {"data race", "two threads use the same memory at the same time, and at least one writes: protect it with a mutex, or make it atomic"},
    {"lock-order-inversion", "two threads take the same locks in different orders, so that each can wait for the other for ever"},
    {"SEGV", "it used a pointer that points to nothing of its own"},
    {"allocation-size-too-big", "it asked for an impossible amount of memory: a size is negative, or was computed wrongly"},
}};

std::optional<Place> first_place_in_modules(std::string_view text) {
  for (std::size_t at = text.find("modules/"); at != std::string_view::npos; at = text.find("modules/", at + 1)) {
    const std::size_t end = text.find_first_of(" \n)", at);
    const std::string_view item = text.substr(at, end - at);
    const std::size_t colon = item.find(".cpp:");
    if (colon == std::string_view::npos) continue;
    return Place{std::string(item.substr(0, colon + 4)), std::atoi(std::string(item.substr(colon + 5)).c_str())};
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::pair<std::string, std::string>> two_values(const std::string& values) {
  std::optional<std::size_t> split;
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const char c = values[i];
    if (c == '"' && (i == 0 || values[i - 1] != '\\')) in_string = !in_string;
    if (in_string) continue;
    if (c == '[' || c == '{' || c == '(') ++depth;
    if (c == ']' || c == '}' || c == ')') --depth;
    const bool comma = depth == 0 && c == ',' && i + 1 < values.size() && values[i + 1] == ' ';
    if (comma && split) return std::nullopt;
    if (comma) split = i;
  }
  if (!split || depth != 0 || in_string) return std::nullopt;
  return std::pair(values.substr(0, *split), values.substr(*split + 2));
}

std::optional<SanitizerReport> read_sanitizer_report(const std::string& output) {
  for (const char* tool : {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error: "}) {
    const std::size_t at = output.find(tool);
    if (at == std::string::npos) continue;
    const std::size_t begin = output.rfind('\n', at) == std::string::npos ? 0 : output.rfind('\n', at) + 1;
    SanitizerReport report;
    report.sentence = output.substr(begin, output.find('\n', at) - begin);
    report.place = first_place_in_modules(std::string_view(output).substr(begin));
    report.meaning = "its arithmetic or its memory access has no defined meaning in C++";
    for (const SanitizerMeaning& known : sanitizer_meanings) {
      if (report.sentence.find(known.word) == std::string::npos) continue;
      report.meaning = known.meaning;
      break;
    }
    return report;
  }
  return std::nullopt;
}

std::optional<Explanation> explain_first_failure(const Module& module, const LessonRun& run) {
  for (const TestOutcome& outcome : run.tests.tests) {
    if (outcome.passed) continue;
    Explanation out;
    out.test = outcome.name;
    out.place = outcome.place;
    if (const Test* test = test_named(module, outcome.name)) {
      out.purpose = purpose_of(module, *test);
      for (const std::string& id : test->holes) {
        if (const Hole* hole = find_hole(module, id)) out.exercises.push_back(hole);
      }
    }
    if (outcome.failures.empty()) return out;
    const TestFailure& failure = outcome.failures.front();
    out.place = failure.place;
    out.check = failure.kind == "check" ? failure.check : "";
    out.problem = plain_error(problem_of(failure));
    out.empty = empty_hole(module, failure);
    if (failure.kind == "check" || failure.kind == "message") {
      const auto values = two_values(failure.values);
      out.got = values ? values->first : failure.values;
      if (values) out.expected = values->second;
    }
    out.difference = failure.difference;
    out.notes = failure.info;
    if (!failure.subcase.empty()) out.notes.insert(out.notes.begin(), "in " + failure.subcase);
    for (const Place& place : failure.trace) {
      if (place.file != out.place.file || place.line != out.place.line) out.trace.push_back(place);
    }
    return out;
  }
  return std::nullopt;
}

namespace {

std::string describe_failure(const Explanation& failure, const LessonRun& run, const Style& style) {
  if (failure.empty != nullptr) {
    return fmt::format("{}  {}\n  {}:{}: {}\n  The test \"{}\" waits for it.\n", style.bold("NEXT"), style.bold(failure.empty->function),
                       failure.place.file, failure.empty->line, failure.empty->todo, failure.test);
  }
  std::string out = fmt::format("{}  {}\n  {}\n", style.red("FAILED"), style.bold(failure.test), place_text(failure.place));
  if (!failure.purpose.empty()) out += style.faint(wrapped(failure.purpose, text_width, "  "));
  out += "\n";
  if (!failure.check.empty()) out += fmt::format("    {}\n\n", failure.check);
  if (!failure.problem.empty()) out += wrapped(failure.problem, text_width, "  ");
  if (!failure.expected.empty()) {
    out += fmt::format("  {:<10}{}\n  {:<10}{}\n", "first", style.red(failure.got), "second", style.green(failure.expected));
  } else if (!failure.got.empty()) {
    out += fmt::format("  {:<10}{}\n", "values", style.red(failure.got));
  }
  if (!failure.difference.empty()) out += fmt::format("  {:<10}{}\n", "differs", failure.difference);
  for (const std::string& note : failure.notes) out += fmt::format("  {:<10}{}\n", "note", note);
  for (std::size_t i = 0; i < std::min<std::size_t>(failure.trace.size(), 5); ++i) {
    out += fmt::format("  {:<10}{}\n", i == 0 ? "at" : "from", place_text(failure.trace[i]));
  }
  std::string tested;
  for (const Hole* hole : failure.exercises) tested += fmt::format("{}{} (line {})", tested.empty() ? "" : ", ", hole->function, hole->line);
  if (!tested.empty()) out += wrapped("It tests " + tested + ".", text_width, "  ");
  if (!run.mistakes.empty()) {
    out += fmt::format("\n  {}\n{}", style.yellow("Others have made this mistake:"), wrapped(sentences_of(run.mistakes), text_width, "  "));
  }
  return out;
}

std::string describe_sanitizer(const SanitizerReport& report, const std::string& test, const Style& style) {
  std::string out = fmt::format("{}  {}\n", style.red("SANITIZER"), report.sentence);
  if (!test.empty()) out += fmt::format("  in the test \"{}\"\n", test);
  if (report.place) out += fmt::format("  at {}\n", place_text(*report.place));
  return out + wrapped("In plain words: " + report.meaning + ".", text_width, "  ");
}

}  // namespace

std::string describe_run(const Module& module, const LessonRun& run, const Style& style) {
  if (!run.compiled) {
    return fmt::format("{}\n{}  {} does not compile; the first message above is the one to mend ({:.1f} s)\n", run.messages,
                       style.red("ERROR"), module.folder(), run.seconds);
  }
  std::string out;
  const std::optional<SanitizerReport> report = run.tests.ok() ? std::nullopt : read_sanitizer_report(run.tests.output);
  const std::optional<Explanation> failure = explain_first_failure(module, run);
  if (report) {
    out += describe_sanitizer(*report, failure ? failure->test : "", style);
  } else if (failure) {
    out += describe_failure(*failure, run, style);
  }
  if (!run.tests.finished && run.tests.tests.empty()) out += describe_end(run.tests);
  std::vector<std::string> others;
  for (const TestOutcome& test : run.tests.tests) {
    if (!test.passed) others.push_back(test.name);
    out += describe_ratio(test);
    if (test.passed && !test.skipped.empty()) out += fmt::format("skipped {}: {}\n", test.name, test.skipped);
  }
  if (others.size() > 1) {
    out += fmt::format("\n  {} more {}, beginning with \"{}\"\n", others.size() - 1, others.size() == 2 ? "fails" : "fail", others[1]);
  }
  const std::string verdict = fmt::format("{}: {} tests passed, {} failed", module.folder(), run.tests.passed(), run.tests.failed());
  if (!out.empty()) out += "\n";
  out += fmt::format("{} ({:.1f} s)\n", run.ok() ? style.green(verdict) : style.red(verdict), run.seconds);
  return out;
}

std::string json_of_run(const Module& module, const LessonRun& run) {
  using Json = nlohmann::ordered_json;
  Json out = {{"module", module.folder()}, {"ok", run.ok()},           {"compiled", run.compiled},
              {"messages", run.messages},  {"passed", run.tests.passed()}, {"failed", run.tests.failed()},
              {"finished", run.tests.finished}, {"seconds", run.seconds},  {"hint", sentences_of(run.mistakes)}};
  Json failures = Json::array();
  for (const TestOutcome& test : run.tests.tests) {
    for (const TestFailure& failure : test.failures) {
      Json trace = Json::array();
      for (const Place& place : failure.trace) trace.push_back(json_of(place));
      failures.push_back({{"test", test.name}, {"kind", failure.kind}, {"file", failure.place.file}, {"line", failure.place.line},
                          {"check", failure.check}, {"values", failure.values}, {"difference", failure.difference},
                          {"cause", failure.cause}, {"trace", trace}});
    }
  }
  out["failures"] = failures;
  Json exercises = Json::array();
  static constexpr std::array<const char*, 4> states = {"empty", "failing", "passed", "untested"};
  for (const Exercise& exercise : exercises_of(module, passed_cells(module, run.tests))) {
    exercises.push_back({{"id", exercise.grade_id}, {"function", exercise.function}, {"todo", exercise.todo}, {"kind", exercise.kind},
                         {"line", exercise.line}, {"points", exercise.points}, {"earned", exercise.earned},
                         {"state", states[static_cast<std::size_t>(exercise.state)]}});
  }
  out["exercises"] = exercises;
  const std::optional<Explanation> first = explain_first_failure(module, run);
  if (first) {
    out["first"] = {{"test", first->test}, {"file", first->place.file}, {"line", first->place.line}, {"purpose", first->purpose},
                    {"problem", first->problem}, {"check", first->check}, {"got", first->got}, {"expected", first->expected},
                    {"difference", first->difference}, {"empty", first->empty == nullptr ? "" : first->empty->grade_id}};
  }
  out["text"] = describe_run(module, run, Style{});
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string json_of_unreadable(const std::string& folder, const Diagnostic& error) {
  const nlohmann::ordered_json out = {
      {"module", folder}, {"ok", false},          {"compiled", false},
      {"messages", error.what()}, {"passed", 0},  {"failed", 0},
      {"finished", false}, {"seconds", 0},        {"hint", ""},
      {"failures", nlohmann::ordered_json::array()}, {"exercises", nlohmann::ordered_json::array()},
      {"first", {{"file", error.file.string()}, {"line", error.line}, {"problem", error.message}}},
      {"text", std::string(error.what()) + "\n"}};
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string exercise_list(const std::vector<Exercise>& exercises, const Style& style, std::size_t width) {
  std::string out;
  for (const Exercise& exercise : exercises) {
    std::string state;
    switch (exercise.state) {
      case Exercise::State::Passed: state = style.green("done"); break;
      case Exercise::State::Failing: state = style.red("open"); break;
      case Exercise::State::Empty: state = style.faint("    "); break;
      case Exercise::State::Untested: state = style.faint("  - "); break;
    }
    std::string points = exercise.points > 0 ? fmt::format("{:g}/{:g}", exercise.earned, exercise.points) : "";
    if (exercise.kind == "explain") points = fmt::format("{:g} by hand", exercise.points);
    std::string text = fmt::format("{:>5}  {:<34} {:<9} ", exercise.line, exercise.function.substr(0, 34), points);
    if (width > text.size() + 8) text += exercise.todo.substr(0, width - text.size() - 8);
    out += fmt::format("  {} {}\n", state, text);
  }
  return out;
}

}  // namespace tito
