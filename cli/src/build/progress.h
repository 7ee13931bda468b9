// A progress bar on standard error; plain lines when that is not a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace tito {

class ProgressBar {
 public:
  // Shows nothing until the work has taken a second.
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(std::size_t done, std::size_t total, std::string_view what = {});
  // Takes the bar away, so that something can be printed in its place.
  void clear();

 private:
  std::string label_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
  bool terminal_;
  bool shown_ = false;
};

// Switches all progress off, for --json.
void silence_progress();

bool stderr_is_terminal();
bool stdout_is_terminal();

}  // namespace tito
