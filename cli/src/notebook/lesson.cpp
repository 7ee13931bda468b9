#include "notebook/lesson.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace tito {
namespace {

// The module with nothing but the classes that are bases of Tensor and others: they must be there before the classes are.
Module only_mixins(const Module& module) {
  Module out = module;
  out.cells.clear();
  out.holes.clear();
  out.mistakes.clear();
  out.tests.clear();
  for (const Cell& cell : module.cells) {
    if (cell.marker("extends") != nullptr) out.cells.push_back(cell);
  }
  out.open_cell = out.cells.size();
  out.cells.push_back(module.cells[module.open_cell]);
  out.close_cell = out.cells.size();
  out.cells.push_back(module.cells[module.close_cell]);
  return out;
}

bool extends_something(const Module& module) {
  for (const Cell& cell : module.cells) {
    if (cell.marker("extends") != nullptr) return true;
  }
  return false;
}

bool makes(const Module& module, std::string_view path) {
  const std::vector<std::string> paths = exported_paths(module);
  return std::find(paths.begin(), paths.end(), path) != paths.end();
}

bool includes(const Module& module, const std::string& path) {
  const std::string line = "#include \"tinytorch/" + path + "\"";
  for (const Cell& cell : module.cells) {
    if (cell.kind == Cell::Kind::Code && std::find(cell.body.begin(), cell.body.end(), line) != cell.body.end()) return true;
  }
  return false;
}

nlohmann::ordered_json code_cells(const fs::path& file, const std::string& text) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const Cell& cell : parse_cells(file, text).cells) {
    if (cell.kind == Cell::Kind::Code) out.push_back(join_lines(cell.body));
  }
  return out;
}

// Headers that want a class which the lesson itself makes: they are included when a cell has defined it.
nlohmann::ordered_json late_headers(const Module& module) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  if (makes(module, "core/tensor.h")) out["Tensor"] = {"tensor_checks.cpp", "tito/display_tensor.h"};
  if (makes(module, "core/node.h")) out["Node"] = {"tito/display_graph.h"};
  return out;
}

// A lesson may include what a library chapter behind it makes. Those files stand on the lesson's own cells, so they join a unit
// only when a cell needs them; until then the lesson's #include line finds an empty file.
std::vector<std::string> files_behind(const std::vector<Module>& stage, const Module& module) {
  std::vector<std::string> out;
  bool behind = false;
  for (const Module& chapter : stage) {
    if (behind) {
      const std::vector<std::string> paths = exported_paths(chapter);
      for (const std::string& path : paths) {
        if (!path.ends_with(".h") || !includes(module, path)) continue;
        out.push_back(path);
        const std::string source = path.substr(0, path.size() - 1) + "cpp";
        if (std::find(paths.begin(), paths.end(), source) != paths.end()) out.push_back(source);
      }
    }
    behind = behind || chapter.number == module.number;
  }
  return out;
}

}  // namespace

std::string notebook_text(const Module& module) {
  std::string out = join_lines(module.header);
  for (const Cell& cell : module.cells) {
    if (cell.marker("mistake") != nullptr) continue;
    out += '\n' + cell.title_line + '\n' + join_lines(cell.body);
  }
  return out;
}

StageOptions cell_options(const Module& module, const Toolchain& toolchain) {
  StageOptions options;
  options.toolchain = toolchain;
  options.cells = true;
  options.folder = fmt::format("notebook{}-{}", module.number, toolchain.name());
  return options;
}

std::vector<Module> modules_below(const std::vector<Module>& stage, const Module& module) {
  std::vector<Module> below;
  for (const Module& earlier : stage) {
    if (earlier.number == module.number) break;
    below.push_back(earlier);
  }
  if (extends_something(module)) below.push_back(only_mixins(module));
  return below;
}

std::string describe_cells(const StageBuild& build, const std::vector<Module>& stage, const Module& module,
                           const LessonTexts& texts) {
  std::vector<std::string> targets = build.library();
  targets.insert(targets.end(), build.runtime_objects().begin(), build.runtime_objects().end());
  for (const std::string_view level : {"-O0", "-O1"}) targets.push_back(build.cell_header(level) + ".gch");
  const NinjaResult built = build.build(targets, "compiling what " + module.folder() + " stands on");
  if (!built.ok) {
    throw std::runtime_error(built.messages + "\nwhat " + module.folder() + " stands on does not compile");
  }
  // Files that the lesson itself makes are there for its #include lines, and empty.
  std::vector<GeneratedFile> stand_ins;
  for (const std::string& path : exported_paths(module)) {
    if (path.ends_with(".h")) stand_ins.push_back({path, "", {}, {}});
  }
  const std::vector<std::string> behind = files_behind(stage, module);
  nlohmann::ordered_json late_files = nlohmann::ordered_json::array();
  const fs::path late = build.directory() / "cells/late";
  if (!behind.empty()) {
    write_changed(late / "tinytorch", export_package(stage).files, true);
    for (const std::string& path : behind) {
      late_files.push_back((late / "tinytorch" / path).string());
      if (path.ends_with(".h")) stand_ins.push_back({path, "", {}, {}});
    }
  }
  const fs::path empty = build.directory() / "cells/empty";
  write_changed(empty / "tinytorch", stand_ins, false);
  nlohmann::ordered_json mixins = nlohmann::ordered_json::array();
  for (const Cell& cell : module.cells) {
    if (cell.marker("extends") != nullptr) mixins.push_back(join_lines(cell.body));
  }
  std::vector<std::string> objects = build.library();
  objects.insert(objects.end(), build.runtime_objects().begin(), build.runtime_objects().end());
  const nlohmann::ordered_json out = {
      {"module", module.folder()},
      {"root", build.root().string()},
      {"folder", build.directory().string()},
      {"runtime", build.runtime_folder().string()},
      {"compile", {{"-O0", build.cell_compiler("-O0")}, {"-O1", build.cell_compiler("-O1")}}},
      {"header", {{"-O0", build.cell_header("-O0")}, {"-O1", build.cell_header("-O1")}}},
      {"stand_ins", empty.string()},
      {"include", build.include()},
      {"link", build.cell_linker()},
      {"objects", objects},
      {"mixins", mixins},
      {"mistakes", fs::absolute(texts.mistakes).string()},
      {"handed_out", code_cells(module.file, texts.handed_out)},
      {"late_headers", late_headers(module)},
      {"late_files", late_files},
      {"late_folder", late.string()},
  };
  return out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace tito
