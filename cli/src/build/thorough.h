// The parts of `tito test --thorough` that need more than a build: plain translation units, fuzzing, a fresh machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "format/module.h"

namespace tito {

// Compiles the module file itself (-fsyntax-only), with empty stand-ins for its own exported headers first on the
// include path. Returns what the compiler says, or nothing.
std::string compile_as_plain_unit(const fs::path& root, const std::vector<Module>& course, const Module& module);

// Compiles a kernel's source for ARM's vector instructions (NEON), with a cross-compiler. Returns what it says, or nothing.
std::string compile_for_neon(const fs::path& root, const fs::path& source);
// Why that cannot be done here; empty when it can.
std::string why_no_neon();

// Parses and exports damaged copies of the modules, as many as `tries`: each must be accepted or refused with a Diagnostic. Returns
// a complaint for each that was not; the same seed damages the same lines.
std::vector<std::string> fuzz_module_files(const std::vector<Module>& course, std::size_t tries, std::uint64_t seed);

// The same in a child process (`tito fuzz`), so that a crash or an endless loop is one more complaint.
struct FuzzResult {
  std::size_t tries = 0;  // those that came to an end
  std::vector<std::string> complaints;
};
FuzzResult fuzz_in_child(const fs::path& root, std::size_t tries, std::uint64_t seed);

// Makes build/python, a virtual environment with the packages that tests/golden/read_with_python.py opens our files with.
// Returns the path of its Python; where that is not possible, an empty path, with the reason in `why_not`.
fs::path prepare_python(const fs::path& root, std::string& why_not);

// The Python with which PyTorch's values were recorded: TINYTORCH_PYTHON names it, otherwise it is python3.
std::string recording_python();

// Whether it has torch, and what tests/golden/open_checkpoints.py needs besides.
bool has_torch(const std::string& python);

// Why try_fresh_machine cannot run here; empty when it can.
std::string why_no_fresh_machine();

// Installs a minimal Debian into a folder, copies the project there, and runs `tito demo` in it.
std::string try_fresh_machine(const fs::path& root);

}  // namespace tito
