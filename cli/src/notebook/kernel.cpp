#include "notebook/kernel.h"

#include <nlohmann/json.hpp>

#include "format/module.h"
#include "learn/text_files.h"
#include "notebook/python.h"

namespace tito {

fs::path notebook_folder() { return course_folder() / "notebook"; }

fs::path notebook_python() { return python_with(notebook_folder() / "requirements.txt"); }

void write_kernel(const fs::path& jupyter, const fs::path& python, const KernelOptions& options) {
  const nlohmann::ordered_json environment = {{"PYTHONPATH", notebook_folder().string()},
                                              {"TITO", fs::read_symlink("/proc/self/exe").string()},
                                              {"TITO_ROOT", course_folder().string()},
                                              {"TITO_NOTEBOOK_ROOT", options.root.string()},
                                              {"TITO_SANITIZE", options.sanitize},
                                              {"TITO_REFERENCE", options.reference ? "1" : ""}};
  const nlohmann::ordered_json spec = {{"argv", {python.string(), "-m", "tinytorch_kernel", "-f", "{connection_file}"}},
                                       {"display_name", "C++20 (TinyTorch)"},
                                       {"language", "c++"},
                                       {"env", environment},
                                       {"metadata", {{"debugger", false}}}};
  write_atomically(jupyter / "kernels/tinytorch/kernel.json", spec.dump(1) + "\n");
}

}  // namespace tito
