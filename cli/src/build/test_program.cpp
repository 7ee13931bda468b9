#include "build/test_program.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <sstream>

#include "format/cells.h"
#include "tito/seal.h"

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
  failure.cause = event.value("cause", "");
  return failure;
}

// Addresses in the program as lines of the modules.
class AddressBook {
 public:
  AddressBook(const fs::path& program, const LineMap& lines) : program_(program), lines_(lines) {}

  // All at once: addr2line reads the program anew each time.
  void look_up(const std::vector<nlohmann::json>& events) {
    if (find_program("addr2line").empty()) return;
    Command command{"addr2line", "--addresses", "--inlines", "--exe=" + program_.string()};
    for (const nlohmann::json& event : events) {
      for (const std::uint64_t address : addresses_of(event)) {
        if (places_.try_emplace(address).second) command.push_back(fmt::format("{:#x}", address));
      }
    }
    if (places_.empty()) return;
    std::vector<Place>* found = nullptr;
    for (const std::string& text : split_lines(run_process(command).output)) {
      if (text.starts_with("0x")) {
        found = &places_[std::stoull(text, nullptr, 16)];
      } else if (const std::optional<Place> place = place_of_line(text); place && found != nullptr) {
        found->push_back(*place);
      }
    }
  }

  // Innermost first.
  std::vector<Place> places(const nlohmann::json& event) const {
    std::vector<Place> out;
    for (const std::uint64_t address : addresses_of(event)) {
      const auto found = places_.find(address);
      if (found == places_.end()) continue;
      for (const Place& place : found->second) {
        if (out.empty() || out.back().file != place.file || out.back().line != place.line) out.push_back(place);
      }
    }
    return out;
  }

 private:
  // A return address lies behind its call; what a signal met is met exactly.
  static std::vector<std::uint64_t> addresses_of(const nlohmann::json& event) {
    if (!event.is_object()) return {};
    std::vector<std::uint64_t> trace = event.value("trace", std::vector<std::uint64_t>());
    const std::string kind = event.value("kind", "");
    const bool exact = kind == "crashed" || kind == "hung";
    for (std::size_t i = exact ? 1 : 0; i < trace.size(); ++i) --trace[i];
    return trace;
  }

  // "/where/it/was/compiled/build/stage05-gcc/tests/05_autograd/tests_1.cpp:12 (discriminator 3)"
  std::optional<Place> place_of_line(const std::string& text) const {
    const std::size_t begin = text.find("build/stage");
    const std::size_t colon = text.rfind(':');
    if (begin == std::string::npos || colon == std::string::npos || colon < begin) return std::nullopt;
    return lines_.find(text.substr(begin, colon - begin), std::atoi(text.c_str() + colon + 1));
  }

  fs::path program_;
  const LineMap& lines_;
  std::map<std::uint64_t, std::vector<Place>> places_;
};

bool was_forged(const TestOutcome& test) {
  return std::any_of(test.failures.begin(), test.failures.end(), [](const TestFailure& failure) { return failure.kind == "forged"; });
}

// Whatever runs in the program while a test does is that test's.
void note_forgery(TestRun& run) {
  if (run.tests.empty() || was_forged(run.tests.back())) return;
  TestOutcome& test = run.tests.back();
  test.passed = false;
  TestFailure failure;
  failure.kind = "forged";
  failure.place = test.place;
  failure.values = "only the tests report what they found; this line is ignored, and so is what it says";
  test.failures.push_back(failure);
}

SealKey new_key() {
  std::random_device random;
  SealKey key;
  for (std::uint64_t& word : key) word = std::uint64_t{random()} << 32 | random();
  return key;
}

// The text of a sealed line, if it is the report's line of that number.
std::optional<std::string> unsealed(const SealKey& key, std::uint64_t number, const std::string& line) {
  if (line.size() <= seal_digits + 1) return std::nullopt;
  const std::string text = line.substr(seal_digits + 1);
  if (line.substr(0, seal_digits + 1) != fmt::format("{:016x} ", seal_of_line(key, number, text))) return std::nullopt;
  return text;
}

void read_event(const nlohmann::json& event, const LineMap& lines, const AddressBook& addresses, TestRun& run) {
  const std::string kind = event.value("event", "");
  if (kind == "test") {
    run.tests.push_back(TestOutcome{event.value("test", ""), place_of(event, lines), false, 0, 0, {}, "", 0, 0});
  } else if (kind == "failure" && !run.tests.empty()) {
    TestFailure failure = failure_of(event, lines);
    failure.trace = addresses.places(event);
    if (failure.place.file.empty()) failure.place = run.tests.back().place;
    run.tests.back().failures.push_back(failure);
  } else if (kind == "skipped" && !run.tests.empty()) {
    run.tests.back().skipped = event.value("why", "");
  } else if (kind == "measured" && !run.tests.empty()) {
    run.tests.back().reached = event.value("reached", 0.0);
    run.tests.back().wanted = event.value("wanted", 0.0);
  } else if (kind == "done" && !run.tests.empty()) {
    TestOutcome& test = run.tests.back();
    test.passed = event.value("passed", false) && !was_forged(test);
    test.checks = event.value("checks", std::size_t{0});
    test.seconds = event.value("seconds", 0.0);
  } else if (kind == "end") {
    run.finished = true;
  }
}

// A check's values may be any bytes; those that are no UTF-8 become question marks, or JSON would refuse the whole line.
std::string as_utf8(std::string text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = byte < 0x80 ? 1 : byte >= 0xC2 && byte < 0xE0 ? 2 : byte >= 0xE0 && byte < 0xF0 ? 3 : byte >= 0xF0 && byte < 0xF5 ? 4 : 0;
    bool whole = length > 0 && i + length <= text.size();
    for (std::size_t k = 1; whole && k < length; ++k) whole = (static_cast<unsigned char>(text[i + k]) & 0xC0) == 0x80;
    if (!whole) text[i] = '?';
    i += whole ? length : 1;
  }
  return text;
}

void read_events(const fs::path& file, const std::optional<SealKey>& key, const LineMap& lines, AddressBook addresses, TestRun& run) {
  std::ifstream in(file);
  std::uint64_t number = 0;
  std::vector<nlohmann::json> events;  // null for a line that was forged
  for (std::string line; std::getline(in, line);) {
    if (in.eof()) break;  // cut off in the middle
    if (key) {
      const std::optional<std::string> text = unsealed(*key, number, line);
      if (!text) {
        events.push_back(nullptr);
        continue;
      }
      ++number;
      line = *text;
    }
    const nlohmann::json event = nlohmann::json::parse(as_utf8(line), nullptr, false);
    if (event.is_object()) events.push_back(event);
  }
  addresses.look_up(events);
  for (const nlohmann::json& event : events) {
    if (event.is_null()) note_forgery(run);
    else read_event(event, lines, addresses, run);
  }
}

fs::path new_report_file() {
  static std::atomic<int> count = 0;
  return fs::temp_directory_path() / fmt::format("tito-{}-{}.jsonl", getpid(), count++);
}

bool is_ending(std::string_view kind) {
  return kind == "crashed" || kind == "hung" || kind == "exited" || kind == "flooded";
}

// A program that stopped in the middle has a last test that never ended.
void blame_last_test(const ProcessResult& process, TestRun& run) {
  if (run.tests.empty() || run.tests.back().passed) return;
  TestOutcome& last = run.tests.back();
  TestFailure failure;
  const bool known = !last.failures.empty() && is_ending(last.failures.back().kind);
  if (known) {
    failure = last.failures.back();
    last.failures.pop_back();
  }
  failure.place = last.place;
  if (process.flooded) {
    failure.kind = "flooded";
    failure.values = fmt::format("the test printed more than {} MB; is there an endless loop?", process.output.size() >> 20);
  } else if (process.timed_out) {
    failure.kind = "hung";
    failure.values = "the test did not end in its time limit; is there an endless loop?";
  } else if (failure.kind == "exited" || (!known && process.signal == 0)) {
    failure.kind = "exited";
    failure.values = "the program ended in the middle of this test, as exit() does; a test ends by returning";
  } else if (!known) {
    failure.kind = "crashed";
    failure.values = "the program was " + how_it_ended(process);
  }
  last.failures.push_back(failure);
}

std::string place_text(const Place& place) { return fmt::format("{}:{}", place.file, place.line); }

std::string headline(const TestFailure& failure) {
  if (failure.kind == "threw") return "the test ended with an error";
  if (failure.kind == "crashed") return "the program crashed in this test";
  if (failure.kind == "hung") return "the test did not end";
  if (failure.kind == "exited") return "the program ended in this test";
  if (failure.kind == "flooded") return "the test did not stop printing";
  if (failure.kind == "forged") return "something other than the tests wrote to their report";
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
  const fs::path report = options.report.empty() ? new_report_file() : options.report;
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
  process.output_bytes = options.output_bytes;
  process.file_bytes = options.file_bytes;
  std::optional<SealKey> key;
  if (options.sealed) {
    key = new_key();
    process.input = fmt::format("{:016x}{:016x}", (*key)[0], (*key)[1]);
    command.emplace_back("--sealed");
  }

  TestRun run;
  std::error_code ignored;
  try {
    ProcessResult result = run_process(command, process);
    if (!options.wrapper.empty() && result.status > 128) {  // a wrapper tells a signal as a shell does
      result.signal = result.status - 128;
      result.status = -1;
    }
    read_events(report, key, lines, AddressBook(options.root / program, lines), run);
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
    if (!failure.cause.empty()) text += fmt::format("    cause: {}\n", failure.cause);
    if (!failure.trace.empty() && failure.kind != "check") text += fmt::format("    at {}\n", place_text(failure.trace.front()));
    if (!failure.difference.empty()) text += fmt::format("    {}\n", failure.difference);
    for (const std::string& line : failure.info) text += fmt::format("    {}\n", line);
  }
  return text;
}

std::string describe_ratio(const TestOutcome& test) {
  if (test.wanted == 0) return "";
  return fmt::format("measured {}: {:.3g} times as fast as the baseline; the points ask for {:.3g}\n", test.name, test.reached, test.wanted);
}

std::string describe_end(const TestRun& run) {
  if (run.finished) return "";
  std::string text = fmt::format("The test program did not come to its end: {}.\n", run.problem);
  constexpr std::size_t shown = 6000;
  text += run.output.size() > shown ? "...\n" + run.output.substr(run.output.size() - shown) : run.output;
  return text;
}

}  // namespace tito
