// The main function of every test program that `tito` builds.
//
//   program                  runs the tests and prints each failure
//   program --json=PATH      writes one JSON object a line to PATH (`-` is standard output); `tito` reads them
//   program --sealed         with --json: each line is sealed with the key on standard input (tito/seal.h)
//   program --demos          runs the demonstrations instead
//   program --list-demos     names them
//
// With TITO_TESTS=visible in the environment, hidden tests are left out.
// doctest's own options (--test-case=..., --list-test-cases) work as well.
#define DOCTEST_CONFIG_IMPLEMENT
#ifndef DOCTEST_CONFIG_NO_POSIX_SIGNALS
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS  // tito/ending.h has its own
#endif
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tito/difference.h"
#include "tito/ending.h"
#include "tito/json_text.h"
#include "tito/lesson.h"
#include "tito/seal.h"

namespace tito {

std::string& last_difference() {
  static thread_local std::string text;
  return text;
}

void report_check(const At& at, std::string_view complaint) {
  doctest::detail::ResultBuilder result(doctest::assertType::DT_CHECK, at.file, at.line, at.text);
  result.m_failed = !complaint.empty();
  result.m_decomp = std::string(complaint).c_str();
  last_difference().clear();
  result.log();
  result.react();
}

std::string why_not_error(std::string_view message, std::string_view part) {
  if (message.find(part) != std::string_view::npos) return "";
  return "the error says \"" + std::string(message) + "\"";
}

std::string why_not_close(double actual, double expected, double rtol, double atol) {
  const double allowed = (atol < 0 ? 1e-7 : atol) + (rtol < 0 ? 1e-7 : rtol) * std::abs(expected);
  const bool same = actual == expected || (std::isnan(actual) && std::isnan(expected));
  if (same || std::abs(actual - expected) <= allowed) return "";
  char text[160];
  std::snprintf(text, sizeof text, "%.9g and %.9g differ by %.3g, %.3g is allowed", actual, expected,
                std::abs(actual - expected), allowed);
  return text;
}

namespace {

struct DemoEntry {
  const char* name;
  const char* file;
  int line;
  void (*run)();
};

std::vector<DemoEntry>& demos() {
  static std::vector<DemoEntry> entries;
  return entries;
}

const char* json_path = nullptr;

struct Failure {
  std::string kind;  // "check", "threw", "crashed" or "message"
  std::string file;
  int line = 0;
  std::string check;
  std::string values;
  std::string difference;
  std::string subcase;
  std::vector<std::string> info;
  std::string trace = "[]";  // of what threw
};

Failure describe(const doctest::AssertData& check) {
  Failure failure{"check", check.m_file, check.m_line, "", "", last_difference(), "", {}};
  const std::string expression = check.m_expr;
  const bool whole = expression.starts_with("CHECK_");
  failure.check =
      whole ? expression : std::string(doctest::assertString(check.m_at)) + "( " + expression + " )";
  if (check.m_threw) {
    failure.values = "threw " + std::string(check.m_exception.c_str());
  } else if ((check.m_at & doctest::assertType::is_throws) ||
             (check.m_at & doctest::assertType::is_throws_as)) {
    failure.values = "no exception was thrown";
  } else {
    failure.values = check.m_decomp.c_str();
  }
  return failure;
}

// What is no number counts as nothing.
std::string json_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", std::isfinite(value) ? value : 0.0);
  return text;
}

// Common to both reporters: notes the running test and collects what INFO and CAPTURE say.
struct LessonReporter : doctest::IReporter {
  const doctest::TestCaseData* test = nullptr;
  std::vector<std::string> subcases;

  explicit LessonReporter(const doctest::ContextOptions&) { running = this; }

  // The program has one.
  static inline LessonReporter* running = nullptr;

  virtual void failed(const Failure& failure) = 0;
  // What a test measured, and what its points ask for.
  virtual void measured(double reached, double wanted) = 0;
  // A test that says MESSAGE("skipped: why") and returns has not been passed.
  virtual void skipped(std::string_view why) = 0;

  void test_case_start(const doctest::TestCaseData& data) override {
    test = &data;
    subcases.clear();
  }
  void test_case_reenter(const doctest::TestCaseData&) override { subcases.clear(); }
  void subcase_start(const doctest::SubcaseSignature& subcase) override {
    subcases.push_back(subcase.m_name.c_str());
  }
  void subcase_end() override {
    if (!subcases.empty()) subcases.pop_back();
  }
  void log_assert(const doctest::AssertData& check) override {
    if (check.m_failed) failed(with_context(describe(check)));
    last_difference().clear();
  }
  void log_message(const doctest::MessageData& message) override {
    if (message.m_severity == doctest::assertType::is_warn) {
      constexpr std::string_view opening = "skipped: ";
      const std::string_view text = message.m_string.c_str();
      if (text.starts_with(opening)) skipped(text.substr(opening.size()));
      return;
    }
    failed(with_context(
        Failure{"message", message.m_file, message.m_line, "FAIL", message.m_string.c_str(), "", "", {}}));
  }
  void test_case_exception(const doctest::TestCaseException& exception) override {
    Failure failure{exception.is_crash ? "crashed" : "threw", "", 0,  "",
                    exception.error_string.c_str(),           "", "", {}, last_throw_addresses()};
    if (test != nullptr) {
      failure.file = test->m_file.c_str();
      failure.line = static_cast<int>(test->m_line);
    }
    for (int i = 0; i < get_num_stringified_contexts(); ++i) {
      failure.info.push_back(get_stringified_contexts()[i].c_str());
    }
    failed(with_context(failure));
  }
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  Failure with_context(Failure failure) const {
    for (const std::string& subcase : subcases)
      failure.subcase += (failure.subcase.empty() ? "" : " / ") + subcase;
    for (int i = 0; i < get_num_active_contexts(); ++i) {
      std::ostringstream text;
      get_active_contexts()[i]->stringify(&text);
      failure.info.push_back(text.str());
    }
    return failure;
  }
};

// One JSON object a line, written out at once, so that nothing is lost when the program dies.
struct JsonReporter : LessonReporter {
  std::FILE* out;
  char test_name[512] = "\"\"";

  explicit JsonReporter(const doctest::ContextOptions& options)
      : LessonReporter(options), out(std::strcmp(json_path, "-") == 0 ? stdout : std::fopen(json_path, "w")) {
    if (out == nullptr) {
      std::fprintf(stderr, "cannot write %s\n", json_path);
      std::exit(2);
    }
    report_unexpected_end(fileno(out), test_name);
  }

  void line(const std::string& text) {
    const std::string object = "{" + text + "}";
    std::array<char, seal_digits + 1> seal;
    std::fwrite(seal.data(), 1, put_seal(seal, object), out);
    std::fprintf(out, "%s\n", object.c_str());
    std::fflush(out);
  }
  void failed(const Failure& failure) override {
    std::string info;
    for (const std::string& text : failure.info) info += (info.empty() ? "" : ",") + json_text(text);
    line("\"event\":\"failure\",\"test\":" + json_text(test == nullptr ? "" : test->m_name) +
         ",\"kind\":" + json_text(failure.kind) + ",\"file\":" + json_text(failure.file) +
         ",\"line\":" + std::to_string(failure.line) + ",\"check\":" + json_text(failure.check) +
         ",\"values\":" + json_text(failure.values) + ",\"difference\":" + json_text(failure.difference) +
         ",\"subcase\":" + json_text(failure.subcase) + ",\"info\":[" + info + "],\"trace\":" + failure.trace);
  }
  void measured(double reached, double wanted) override {
    line("\"event\":\"measured\",\"reached\":" + json_number(reached) + ",\"wanted\":" + json_number(wanted));
  }
  void skipped(std::string_view why) override {
    line("\"event\":\"skipped\",\"why\":" + json_text(why));
  }
  void test_run_start() override { line("\"event\":\"start\""); }
  void test_run_end(const doctest::TestRunStats& stats) override {
    line("\"event\":\"end\",\"tests\":" + std::to_string(stats.numTestCasesPassingFilters) + ",\"failed\":" +
         std::to_string(stats.numTestCasesFailed) + ",\"checks\":" + std::to_string(stats.numAsserts));
  }
  void test_case_start(const doctest::TestCaseData& data) override {
    LessonReporter::test_case_start(data);
    std::snprintf(test_name, sizeof test_name, "%s", json_text(data.m_name).c_str());
    line("\"event\":\"test\",\"test\":" + json_text(data.m_name) +
         ",\"file\":" + json_text(data.m_file.c_str()) + ",\"line\":" + std::to_string(data.m_line));
  }
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    line("\"event\":\"done\",\"test\":" + json_text(test->m_name) +
         ",\"passed\":" + (stats.testCaseSuccess ? "true" : "false") + ",\"checks\":" +
         std::to_string(stats.numAssertsCurrentTest) + ",\"seconds\":" + std::to_string(stats.seconds));
  }
  void report_query(const doctest::QueryData& query) override {
    for (unsigned i = 0; i < query.num_data; ++i) {
      const doctest::TestCaseData& data = *query.data[i];
      line("\"event\":\"test\",\"test\":" + json_text(data.m_name) +
           ",\"file\":" + json_text(data.m_file.c_str()) + ",\"line\":" + std::to_string(data.m_line));
    }
  }
};

// For reading: each failure with its check, both values and its place; a count at the end.
struct TextReporter : LessonReporter {
  const doctest::TestCaseData* announced = nullptr;

  using LessonReporter::LessonReporter;

  void failed(const Failure& failure) override {
    const bool first = announced != test;
    announced = test;
    if (first && test != nullptr) std::printf("\nFAILED  %s\n", test->m_name);
    if (!failure.subcase.empty()) std::printf("  in %s\n", failure.subcase.c_str());
    std::printf("  %s:%d: %s\n", failure.file.c_str(), failure.line,
                failure.kind == "check" ? failure.check.c_str() : failure.kind.c_str());
    if (!failure.values.empty()) std::printf("    %s\n", failure.values.c_str());
    if (!failure.difference.empty()) std::printf("    %s\n", failure.difference.c_str());
    for (const std::string& text : failure.info) std::printf("    %s\n", text.c_str());
    std::fflush(stdout);
  }
  void measured(double reached, double wanted) override {
    std::printf("measured %s: %.3g times as fast as the baseline; the points ask for %.3g\n", test->m_name, reached, wanted);
  }
  void skipped(std::string_view why) override { std::printf("skipped %s: %s\n", test->m_name, std::string(why).c_str()); }
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    std::printf("%u tests passed, %u failed (%d checks)\n",
                stats.numTestCasesPassingFilters - stats.numTestCasesFailed, stats.numTestCasesFailed,
                stats.numAsserts);
  }
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void report_query(const doctest::QueryData& query) override {
    for (unsigned i = 0; i < query.num_data; ++i) std::printf("%s\n", query.data[i]->m_name);
  }
};

REGISTER_REPORTER("text", 1, TextReporter);
REGISTER_REPORTER("json", 2, JsonReporter);

int run_demos(std::string_view filter) {
  int failures = 0;
  for (const DemoEntry& demo : demos()) {
    if (std::string_view(demo.name).find(filter) == std::string_view::npos) continue;
    std::printf("\n--- %s\n\n", demo.name);
    std::fflush(stdout);
    try {
      demo.run();
    } catch (const std::exception& error) {
      std::printf("\n%s:%d: the demonstration stopped: %s\n", demo.file, demo.line, error.what());
      ++failures;
    }
    std::fflush(stdout);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace

void report_ratio(double reached, double wanted) { LessonReporter::running->measured(reached, wanted); }

bool runs_hidden_tests() {
  static const char* const tests = std::getenv("TITO_TESTS");
  return tests == nullptr || std::strcmp(tests, "visible") != 0;
}

Demo::Demo(const char* name, const char* file, int line, void (*run)()) {
  demos().push_back(DemoEntry{name, file, line, run});
}

}  // namespace tito

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    if (argument == "--demos") return tito::run_demos("");
    if (argument.starts_with("--demos=")) return tito::run_demos(argument.substr(8));
    if (argument == "--list-demos") {
      for (const tito::DemoEntry& demo : tito::demos()) std::printf("%s\n", demo.name);
      return 0;
    }
    if (argument == "--json") tito::json_path = "-";
    if (argument.starts_with("--json=")) tito::json_path = argv[i] + 7;
  }
  doctest::Context context;
  context.setOption("reporters", tito::json_path != nullptr ? "json" : "text");
  context.setOption("no-path-filenames", false);
  context.setOption("order-by", "file");
  if (!tito::runs_hidden_tests()) context.setOption("test-suite-exclude", "hidden tests");
  context.applyCommandLine(argc, argv);
  const int result = context.run();
  tito::expect_end();
  return result;
}
