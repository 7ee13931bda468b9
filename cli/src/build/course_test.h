// `tito test`: every test there is, in parts, each with its time; parts whose inputs have not changed since they
// passed are not run again.
#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace tito {

struct CourseTestOptions {
  bool sanitize = false;
  bool stages = false;
  bool thorough = false;
  bool notebooks = false;  // all of them, not two
  bool strict = false;
  bool json = false;
  std::set<std::string> parts;  // only these, whatever else is asked for; empty: what is asked for
  std::string compiler = "g++";
};

// True when nothing failed. Also writes build/test_report.json. Throws std::runtime_error, with the names of the parts, on an unknown one.
bool test_course(const std::filesystem::path& root, const CourseTestOptions& options);

}  // namespace tito
