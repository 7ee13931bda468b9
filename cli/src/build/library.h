// The framework built from the committed tinytorch/ with plain CMake, as a user builds it.
#pragma once

#include <filesystem>

#include "build/ninja.h"

namespace tito {

// Configures build/library and builds `targets` there; none: the library and the programs in milestones/, examples/ and programs/.
// Throws std::runtime_error with CMake's message when it cannot be configured.
NinjaResult build_library(const fs::path& root, const std::vector<std::string>& targets = {});

fs::path library_folder(const fs::path& root);
fs::path library_file(const fs::path& root);  // that the tests of the last stage link

// Runs `cmake arguments`; throws std::runtime_error with what it printed when it fails.
void run_cmake(const Command& arguments);

}  // namespace tito
