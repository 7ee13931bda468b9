// From modules to the package tinytorch/: clean C++ files, and the few that join the modules.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/module.h"

namespace tito {

enum class Bodies {
  Reference,     // the solutions
  Student,       // every hole throws
  Instrumented,  // tito::variant() chooses among hole, mistakes and solution when the program runs
};

struct GeneratedFile {
  std::string path;  // relative: "core/tensor.cpp"
  std::string text;
  fs::path source;          // the module file; empty for files that join modules
  std::vector<int> origin;  // line i + 1 of the text comes from line origin[i] of the source; 0: from none
};

struct Package {
  std::vector<GeneratedFile> files;
  // In module order: "05_autograd" -> its .cpp paths. What the stage generates is under "generated".
  std::vector<std::pair<std::string, std::vector<std::string>>> sources;
};

// What is compiled once for each CPU capability (docs/module_format.md): an exported "kernels/gemm.simd.cpp" is part of three generated
// sources, "kernels/gemm.simd.AVX2.cpp" and so on. The flags are those of this machine's architecture; empty where a source needs none.
bool is_capability_source(std::string_view path);
std::string capability_flags(std::string_view path);

// The stage that consists of `modules`. Throws Diagnostic on what cannot be exported.
Package export_package(std::span<const Module> modules, const std::function<Bodies(const Module&)>& bodies);
Package export_package(std::span<const Module> modules, Bodies bodies = Bodies::Reference);

// The modules of the course up to a stage ("05"), library chapters of those stages included.
std::vector<Module> up_to_stage(const std::vector<Module>& course, std::string_view number);

// Paths that the module exports, in the order of their first appearance.
std::vector<std::string> exported_paths(const Module& module);

// Whether tinytorch.h includes an exported file, so that every program compiles it: a header, but not one of templates that only sources share (-inl.h).
bool is_public_header(std::string_view path);

// Rewrites what differs; `remove_stale` deletes files in `dir` that are not among `files`. Returns the paths rewritten
// or removed.
std::vector<std::string> write_changed_paths(const fs::path& dir, const std::vector<GeneratedFile>& files,
                                             bool remove_stale);
std::size_t write_changed(const fs::path& dir, const std::vector<GeneratedFile>& files, bool remove_stale);

// What `write_changed` would do: each path with "differs", "is missing" or "does not come from a module".
std::vector<std::pair<std::string, std::string>> compare_with_folder(const fs::path& dir,
                                                                     const std::vector<GeneratedFile>& files);

}  // namespace tito
