// Child processes with a time limit, each in a process group of its own, so that nothing outlives `tito`.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tito {

namespace fs = std::filesystem;

using Command = std::vector<std::string>;

struct ProcessOptions {
  fs::path directory;                                            // where it runs; empty: here
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  double seconds = 0;                                            // its time limit; 0: none
  double silent_seconds = 0;     // stops it when `watched` has not grown for so long; 0: never
  fs::path watched;              // the file that shows that it is alive
  std::size_t memory_bytes = 0;  // limit of its address space; 0: none
  std::size_t file_bytes = 0;    // limit of each file it writes; 0: none
  std::size_t output_bytes = 0;  // stops it when it prints more; 0: no limit
  const std::atomic<bool>* cancelled = nullptr;  // stops it when that becomes true
  std::string input;             // what it reads from standard input, a few bytes; empty: nothing is there
  bool show = false;             // its output goes to our own, uncaptured
  std::function<void(std::string_view)> on_line;  // called with each line that it prints
  std::function<void(std::string_view)> on_text;  // called with what it prints, as it comes
};

struct ProcessResult {
  int status = 0;  // exit status, or -1 when a signal ended it
  int signal = 0;
  bool timed_out = false;
  bool flooded = false;  // it was stopped since it printed too much
  double seconds = 0;
  std::string output;  // standard output and error together

  bool ok() const { return status == 0 && signal == 0 && !timed_out && !flooded; }
};

// Thrown when the user pressed ^C (or tito was asked to terminate) while a child process ran.
struct Interrupted : std::runtime_error {
  explicit Interrupted(int number) : std::runtime_error("stopped"), signal(number) {}
  int signal;
};

// Runs the command to its end. Throws std::runtime_error if it cannot be started.
ProcessResult run_process(const Command& command, const ProcessOptions& options = {});

// "killed by signal 11 (Segmentation fault)", "exit status 2", "stopped after 10 s".
std::string how_it_ended(const ProcessResult& result);

// The full path of a program on PATH; empty when there is none.
fs::path find_program(std::string_view name);

// Processors that this process may use.
unsigned processor_count();

}  // namespace tito
