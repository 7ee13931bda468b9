// The parts of `tito test`: what passed and failed in each, how long it took, and which need not run again.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "build/test_program.h"

namespace tito {

struct Part {
  std::string group;  // "modules"
  std::string name;   // "05_autograd"
  std::size_t passed = 0;
  std::size_t failed = 0;
  double seconds = 0;
  bool unchanged = false;          // its inputs are those it last passed with
  std::vector<std::string> skips;  // what was left out, and why
  std::vector<std::string> complaints;

  void expect(bool good, const std::string& complaint);
  void add(const TestRun& run);
};

class PartReport {
 public:
  // `memory` is the file that keeps what passed with which inputs.
  PartReport(fs::path memory, bool quiet);

  // Runs `work`, unless a part with this name passed before with the same `inputs` (empty: always run).
  void run(const std::string& group, const std::string& name, const std::string& inputs,
           const std::function<void(Part&)>& work);
  // The same for several parts, which run side by side. Their work must not use all processors by itself.
  struct Work {
    std::string name;
    std::string inputs;
    std::function<void(Part&)> work;
  };
  void run_all(const std::string& group, const std::vector<Work>& all);
  // What was asked for and cannot be done here.
  void skip(const std::string& group, const std::string& name, const std::string& why);
  // What was not asked for.
  void leave_out(const std::string& name, const std::string& option);

  std::size_t passed() const;
  std::size_t failed() const;
  bool skipped_anything() const;
  // Minutes per group, what was skipped and why, what failed, the totals.
  std::string table() const;
  std::string json() const;

 private:
  struct Passed {
    std::string inputs;
    std::size_t count = 0;
  };

  void remember(const Part& part, const std::string& inputs);
  void report(const Part& part);

  fs::path memory_;
  bool quiet_;
  std::map<std::string, Passed> passed_before_;
  std::vector<Part> parts_;
  std::vector<std::string> left_out_;
};

// A fingerprint of the contents of files and folders (with all that is in them), and of `more`.
std::string fingerprint(const std::vector<fs::path>& paths, const std::string& more = "");

}  // namespace tito
