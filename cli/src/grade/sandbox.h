// Running what somebody handed in: under bubblewrap, without a network, with nothing of the machine's files but the compiler
// and what is named, and without the means to start other programs.
#pragma once

#include <string>
#include <vector>

#include "build/process.h"

namespace tito {

// What a program in the sandbox can reach, beside the system's compiler and libraries (read only) and a small /tmp of its own.
struct Reach {
  fs::path directory;               // where it runs
  std::vector<fs::path> readable;   // files and folders
  std::vector<fs::path> writable;
  std::vector<std::pair<std::string, std::string>> environment;
  bool starts_programs = false;     // a compiler must; a test program must not
};

class Sandbox {
 public:
  // With isolation. `folder` gets a small file that says which system calls are refused. Throws std::runtime_error, with what
  // to do, where bubblewrap is missing or may not work.
  static Sandbox isolated(const fs::path& folder);
  // Without: only the limits of ProcessOptions hold.
  static Sandbox none() { return Sandbox(); }

  bool isolates() const { return !filter_.empty(); }
  // What stands before a command to run it inside; empty without isolation.
  Command wrapper(const Reach& reach) const;

 private:
  Sandbox() = default;
  fs::path filter_;
};

}  // namespace tito
