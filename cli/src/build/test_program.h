// Running a test program (cli/runtime/test_main.cpp) and reading what it reports.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "build/line_map.h"
#include "build/process.h"

namespace tito {

struct TestFailure {
  std::string kind;  // "check", "threw", "message", "forged", or how the test was cut off: "crashed", "hung", "exited", "flooded"
  Place place;       // in the module file where that is known
  std::string check;
  std::string values;
  std::string difference;
  std::string subcase;
  std::vector<std::string> info;
  std::string cause;         // of a crash, where it is known: "stack overflow", "null pointer"
  std::vector<Place> trace;  // the module's lines that were being run, innermost first
};

struct TestOutcome {
  std::string name;
  Place place;
  bool passed = false;
  std::size_t checks = 0;
  double seconds = 0;
  std::vector<TestFailure> failures;
  std::string skipped;  // why, when it said so and returned
  double reached = 0;   // of one that measures: how many times as fast as its baseline,
  double wanted = 0;    // and how many its points ask for; 0: it does not measure

  // No ratio fails a test, but points follow it.
  bool gives_points() const { return passed && reached >= wanted; }
};

struct TestRun {
  std::vector<TestOutcome> tests;  // those that were started
  bool finished = false;           // the program came to its end
  std::string output;              // what it printed, in lines of the module files
  std::string problem;             // how it ended, when it did not finish
  double seconds = 0;

  std::size_t passed() const;
  std::size_t failed() const;
  std::size_t skipped() const;
  bool ok() const { return finished && failed() == 0; }
  const TestOutcome* find(std::string_view name) const;
};

struct TestOptions {
  fs::path root;  // it runs here
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> arguments;
  Command wrapper;                   // a command that runs the program, such as setarch -R
  double seconds_per_test = 60;      // a test that takes longer is stopped, and said to hang
  std::size_t output_bytes = std::size_t{64} << 20;  // one that prints more is stopped
  std::size_t memory_bytes = std::size_t{8} << 30;  // 0: no limit, which sanitizers need
  std::size_t file_bytes = 0;        // limit of each file it writes; 0: none
  bool sealed = false;               // believe only what the tests themselves have written to the report (tito/seal.h)
  fs::path report;                   // the file it reports to, where a wrapper wants to know it before
};

TestRun run_tests(const std::string& program, const LineMap& lines, const TestOptions& options);

// The failures of one test, for a learner: what was checked, both values, where.
std::string describe(const TestOutcome& test);

// "measured NAME: 9.3 times as fast as the baseline; the points ask for 8"; empty for a test that does not measure.
std::string describe_ratio(const TestOutcome& test);

// A sentence or more about a program that did not finish; empty for one that did.
std::string describe_end(const TestRun& run);

}  // namespace tito
