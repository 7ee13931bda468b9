#include "build/library.h"

#include <fmt/core.h>

#include "format/export.h"

namespace tito {

fs::path library_folder(const fs::path& root) { return root / "build/library"; }

fs::path library_file(const fs::path& root) { return library_folder(root) / "libtinytorch.a"; }

void run_cmake(const Command& arguments) {
  Command command{"cmake"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const ProcessResult result = run_process(command);
  if (!result.ok()) throw std::runtime_error(fmt::format("cmake failed ({}):\n{}", how_it_ended(result), result.output));
}

NinjaResult build_library(const fs::path& root, const std::vector<std::string>& targets) {
  const fs::path folder = library_folder(root);
  if (!fs::exists(folder / "build.ninja")) {
    Command arguments{"-S", root.string(), "-B", folder.string(), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                      "-DTINYTORCH_PROGRAMS=ON", "-DTINYTORCH_WERROR=ON"};
    // Paths relative to the root: what one clone has compiled, no other compiles again.
    if (!find_program("ccache").empty()) arguments.push_back(fmt::format("-DCMAKE_CXX_COMPILER_LAUNCHER=env;CCACHE_SLOPPINESS=pch_defines,time_macros;CCACHE_BASEDIR={};ccache", root.string()));
    run_cmake(arguments);
  }
  LineMap lines(root);
  for (const GeneratedFile& file : export_package(load_course(root)).files) lines.add(fs::path("tinytorch") / file.path, file);
  return run_ninja(NinjaOptions{folder, folder, targets, "building the library", true}, lines);
}

}  // namespace tito
