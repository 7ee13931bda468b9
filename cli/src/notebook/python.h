// The Python side of notebooks and grading: programs in a virtual environment of their own, installed when they are first needed.
#pragma once

#include <string>

#include "build/process.h"

namespace tito {

// The python of an environment that has what `requirements` (a pip file with pinned versions) lists. It lies in
// $TITO_PYTHON or else in ~/.local/share/tinytorch, under a name made from the file's text, so that workspaces share it and a
// newer course gets another one. Installs it when it is not there, and says so. Throws std::runtime_error with what to do
// where it cannot.
fs::path python_with(const fs::path& requirements);

// The same if it is there already, and an empty path otherwise.
fs::path python_if_installed(const fs::path& requirements);

// The folder that holds such environments: $TITO_PYTHON or else ~/.local/share/tinytorch.
fs::path python_environments();

}  // namespace tito
