// Writing build.ninja files and running ninja on them.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "build/line_map.h"
#include "build/process.h"

namespace tito {

// One step of a build. `rule` names a rule of the file.
struct Edge {
  std::string output;
  std::string rule;
  std::vector<std::string> inputs;
  std::vector<std::string> implicit;  // it depends on these too, but they are not on the command line
  std::vector<std::pair<std::string, std::string>> variables;
};

class NinjaFile {
 public:
  void variable(std::string_view name, std::string_view value);
  void rule(std::string_view name, std::string_view command, std::string_view description, bool has_depfile);
  // A second edge with the same output is the same step, and is left out.
  void add(const Edge& edge);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::set<std::string> outputs_;
};

struct NinjaOptions {
  fs::path root;       // where ninja runs: paths in messages are relative to it
  fs::path directory;  // has the build.ninja
  std::vector<std::string> targets;
  std::string label;        // of the progress bar
  bool keep_going = false;  // builds what it can after a failure
};

struct NinjaResult {
  bool ok = true;
  std::string messages;                   // what failed, in lines of the module files
  std::vector<std::string> failed_files;  // outputs that could not be made
  std::size_t steps = 0;                  // that were run
  double seconds = 0;
};

// Throws std::runtime_error when ninja itself cannot run.
NinjaResult run_ninja(const NinjaOptions& options, const LineMap& lines);

// Writes `text` if the file differs. Throws with one sentence when the disk is full.
void write_if_changed(const fs::path& file, std::string_view text);

}  // namespace tito
