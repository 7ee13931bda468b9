#include "build/test_program.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace tito {
namespace {

Place place_of(const nlohmann::json& event, const LineMap& lines) {
  const std::string file = event.value("file", "");
  const int line = event.value("line", 0);
  return lines.find(file, line).value_or(Place{file, line});
}

TestFailure failure_of(const nlohmann::json& event, const LineMap& lines) {
  TestFailure failure;
  failure.kind = event.value("kind", "");
  failure.place = place_of(event, lines);
  failure.check = event.value("check", "");
  failure.values = event.value("values", "");
  failure.difference = event.value("difference", "");
  failure.subcase = event.value("subcase", "");
  failure.info = event.value("info", std::vector<std::string>());
  return failure;
}

void read_event(const nlohmann::json& event, const LineMap& lines, TestRun& run) {
  const std::string kind = event.value("event", "");
  if (kind == "test") {
    run.tests.push_back(TestOutcome{event.value("test", ""), place_of(event, lines), false, 0, 0, {}, ""});
  } else if (kind == "failure" && !run.tests.empty()) {
    run.tests.back().failures.push_back(failure_of(event, lines));
  } else if (kind == "skipped" && !run.tests.empty()) {
    run.tests.back().skipped = event.value("why", "");
  } else if (kind == "done" && !run.tests.empty()) {
    TestOutcome& test = run.tests.back();
    test.passed = event.value("passed", false);
    test.checks = event.value("checks", std::size_t{0});
    test.seconds = event.value("seconds", 0.0);
  } else if (kind == "end") {
    run.finished = true;
  }
}

void read_events(const fs::path& file, const LineMap& lines, TestRun& run) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
    if (event.is_object()) read_event(event, lines, run);
  }
}

fs::path new_report_file() {
  static std::atomic<int> count = 0;
  return fs::temp_directory_path() / fmt::format("tito-{}-{}.jsonl", getpid(), count++);
}

// A program that stopped in the middle has a last test that never ended.
void blame_last_test(const ProcessResult& process, TestRun& run) {
  if (run.tests.empty() || run.tests.back().passed) return;
  TestOutcome& last = run.tests.back();
  TestFailure failure;
  failure.place = last.place;
  failure.kind = process.timed_out ? "hung" : "crashed";
  failure.values = process.timed_out ? "the test did not end in its time limit; is there an endless loop?"
                                     : "the program was " + how_it_ended(process);
  const bool known = std::any_of(last.failures.begin(), last.failures.end(),
                                 [](const TestFailure& other) { return other.kind == "crashed"; });
  if (!known) last.failures.push_back(failure);
}

std::string headline(const TestFailure& failure) {
  if (failure.kind == "threw") return "the test ended with an error";
  if (failure.kind == "crashed") return "the program crashed in this test";
  if (failure.kind == "hung") return "the test did not end";
  return failure.check;
}

}  // namespace

std::size_t TestRun::passed() const { return tests.size() - failed() - skipped(); }

std::size_t TestRun::failed() const {
  return static_cast<std::size_t>(
      std::count_if(tests.begin(), tests.end(), [](const TestOutcome& test) { return !test.passed; }));
}

std::size_t TestRun::skipped() const {
  return static_cast<std::size_t>(std::count_if(
      tests.begin(), tests.end(), [](const TestOutcome& test) { return test.passed && !test.skipped.empty(); }));
}

const TestOutcome* TestRun::find(std::string_view name) const {
  const auto found =
      std::find_if(tests.begin(), tests.end(), [&](const TestOutcome& test) { return test.name == name; });
  return found == tests.end() ? nullptr : &*found;
}

TestRun run_tests(const std::string& program, const LineMap& lines, const TestOptions& options) {
  const fs::path report = new_report_file();
  Command command = options.wrapper;
  command.push_back((options.root / program).string());
  command.push_back("--json=" + report.string());
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());

  ProcessOptions process;
  process.directory = options.root;
  process.environment = options.environment;
  process.silent_seconds = options.seconds_per_test;
  process.watched = report;
  process.memory_bytes = options.memory_bytes;

  TestRun run;
  std::error_code ignored;
  try {
    const ProcessResult result = run_process(command, process);
    read_events(report, lines, run);
    fs::remove(report, ignored);
    run.seconds = result.seconds;
    run.output = lines.translate(result.output);
    const bool normal_end = run.finished && result.signal == 0 && !result.timed_out && result.status <= 1;
    if (!normal_end) {
      blame_last_test(result, run);
      run.problem = how_it_ended(result);
      run.finished = false;
    }
  } catch (...) {
    fs::remove(report, ignored);
    throw;
  }
  return run;
}

std::string describe(const TestOutcome& test) {
  std::string text = fmt::format("FAILED  {}\n", test.name);
  for (const TestFailure& failure : test.failures) {
    text += fmt::format("  {}:{}: {}\n", failure.place.file, failure.place.line, headline(failure));
    if (!failure.subcase.empty()) text += fmt::format("    in {}\n", failure.subcase);
    if (!failure.values.empty()) text += fmt::format("    {}\n", failure.values);
    if (!failure.difference.empty()) text += fmt::format("    {}\n", failure.difference);
    for (const std::string& line : failure.info) text += fmt::format("    {}\n", line);
  }
  return text;
}

std::string describe_end(const TestRun& run) {
  if (run.finished) return "";
  std::string text = fmt::format("The test program did not come to its end: {}.\n", run.problem);
  constexpr std::size_t shown = 6000;
  text += run.output.size() > shown ? "...\n" + run.output.substr(run.output.size() - shown) : run.output;
  return text;
}

}  // namespace tito
