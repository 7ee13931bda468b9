#include "notebook/python.h"

#include <fmt/core.h>

#include <cstdlib>
#include <stdexcept>

#include "build/stage_build.h"
#include "format/cells.h"
#include "learn/text_files.h"

namespace tito {
namespace {

constexpr double install_limit = 1200;

std::string last_lines(const std::string& text) {
  constexpr std::size_t shown = 1500;
  return text.size() > shown ? "..." + text.substr(text.size() - shown) : text;
}

// For what these requirements list.
fs::path environment_of(const std::string& wanted) { return python_environments() / fmt::format("python-{}", hash_of(wanted).substr(0, 8)); }

void install(const fs::path& environment, const fs::path& requirements) {
  if (find_program("python3").empty()) {
    throw std::runtime_error("python3 is not installed, and notebooks need it (apt-get install python3-venv)");
  }
  fmt::print(stderr, "installing what {} lists into {} (a minute or two, once)\n", requirements.filename().string(), environment.string());
  ProcessOptions options;
  options.seconds = install_limit;
  const ProcessResult made = run_process({"python3", "-m", "venv", "--clear", environment.string()}, options);
  if (!made.ok()) {
    throw std::runtime_error("python3 cannot make a virtual environment (apt-get install python3-venv):\n" + last_lines(made.output));
  }
  const ProcessResult installed = run_process({(environment / "bin/python").string(), "-m", "pip", "install", "--quiet",
                                               "--disable-pip-version-check", "-r", requirements.string()}, options);
  if (installed.ok()) return;
  throw std::runtime_error(fmt::format("pip cannot install what {} lists ({}); is there a network?\n{}", requirements.string(),
                                       how_it_ended(installed), last_lines(installed.output)));
}

}  // namespace

fs::path python_environments() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value == nullptr ? "" : value);
  };
  if (const fs::path given = variable("TITO_PYTHON"); !given.empty()) return given;
  if (const fs::path data = variable("XDG_DATA_HOME"); !data.empty()) return data / "tinytorch";
  if (const fs::path home = variable("HOME"); !home.empty()) return home / ".local/share/tinytorch";
  return fs::temp_directory_path() / "tinytorch";
}

fs::path python_if_installed(const fs::path& requirements) {
  const std::string wanted = read_text(requirements);
  const fs::path environment = environment_of(wanted);
  const fs::path python = environment / "bin/python";
  // A file of the system's Python went with an upgrade: the link leads nowhere.
  return fs::exists(python) && read_if_there(environment / "ready") == wanted ? python : fs::path();
}

fs::path python_with(const fs::path& requirements) {
  if (const fs::path python = python_if_installed(requirements); !python.empty()) return python;
  const FolderLock lock(python_environments());
  if (const fs::path python = python_if_installed(requirements); !python.empty()) return python;
  const std::string wanted = read_text(requirements);
  const fs::path environment = environment_of(wanted);
  install(environment, requirements);
  write_atomically(environment / "ready", wanted);
  return environment / "bin/python";
}

}  // namespace tito
