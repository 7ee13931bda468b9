// Making the kernel known to Jupyter.
#pragma once

#include <string>

#include "build/process.h"

namespace tito {

// The Python side of notebooks, in the course.
fs::path notebook_folder();
// A python that has what notebooks need; installed on demand (notebook/python.h).
fs::path notebook_python();

struct KernelOptions {
  fs::path root;           // the course or a workspace: what cells are compiled in
  std::string sanitize;    // empty, memory or thread
  bool reference = false;  // in a workspace: borrow the course's modules
};

// Writes `jupyter`/kernels/tinytorch, which Jupyter finds when JUPYTER_PATH names `jupyter`.
void write_kernel(const fs::path& jupyter, const fs::path& python, const KernelOptions& options);

}  // namespace tito
