#include "notebook/lesson.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "format/source.h"

namespace tito {
namespace {

// The module with nothing but the cells for which `keep` holds.
template <class Keep>
Module with_only(const Module& module, const Keep& keep) {
  Module out = module;
  out.cells.clear();
  out.holes.clear();
  out.mistakes.clear();
  out.tests.clear();
  for (std::size_t i = 0; i < module.open_cell; ++i) {
    if (keep(module.cells[i])) out.cells.push_back(module.cells[i]);
  }
  out.open_cell = out.cells.size();
  out.cells.push_back(module.cells[module.open_cell]);
  for (std::size_t i = module.open_cell + 1; i < module.close_cell; ++i) {
    if (keep(module.cells[i])) out.cells.push_back(module.cells[i]);
  }
  out.close_cell = out.cells.size();
  out.cells.push_back(module.cells[module.close_cell]);
  return out;
}

// The module with nothing but the classes that are bases of Tensor and others: they must be there before the classes are.
Module only_mixins(const Module& module) {
  return with_only(module, [](const Cell& cell) { return cell.marker("extends") != nullptr; });
}

// Of an include cell, what the files in `paths` include.
Cell includes_of(const Cell& cell, const std::set<std::string>& paths) {
  Cell out = cell;
  out.body.clear();
  out.markers.clear();
  bool wanted = false;
  for (const std::string& line : cell.body) {
    if (line.starts_with("//| export ")) wanted = paths.contains(line.substr(11));
    if (wanted || line.starts_with("//| after")) out.body.push_back(line);
  }
  for (const Marker& mark : cell.markers) {
    if (mark.word != "export" || paths.contains(mark.argument)) out.markers.push_back(mark);
  }
  return out;
}

// The same of a library chapter behind the lesson, with the headers of the chapter that these classes include.
Module only_mixins_of_chapter(const Module& chapter) {
  std::set<std::string> mixins, all;
  for (const Cell& cell : chapter.cells) {
    if (cell.marker("extends") != nullptr && cell.marker("export") != nullptr) mixins.insert(cell.marker("export")->argument);
  }
  all = mixins;
  const std::vector<std::string> own = exported_paths(chapter);
  for (std::size_t before = 0; before != all.size();) {
    before = all.size();
    for (const std::string& path : own) {
      const auto includes_it = [&](const std::string& other) {
        return std::any_of(chapter.cells.begin(), chapter.cells.end(), [&](const Cell& cell) {
          const Cell part = includes_of(cell, {other});
          return std::find(part.body.begin(), part.body.end(), "#include \"tinytorch/" + path + "\"") != part.body.end();
        });
      };
      if (path.ends_with(".h") && std::any_of(all.begin(), all.end(), includes_it)) all.insert(path);
    }
  }
  Module out = with_only(chapter, [&](const Cell& cell) {
    const Marker* exported = cell.marker("export");
    if (cell.marker("extends") != nullptr) return true;
    if (exported == nullptr) return false;
    const bool includes = is_include_cell(chapter, static_cast<std::size_t>(&cell - chapter.cells.data()));
    return includes || (all.contains(exported->argument) && !mixins.contains(exported->argument));
  });
  for (std::size_t i = 0; i < out.open_cell; ++i) {
    if (is_include_cell(out, i)) out.cells[i] = includes_of(out.cells[i], all);
  }
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

// The library chapters behind the lesson, at its stage.
std::vector<const Module*> chapters_behind(const std::vector<Module>& stage, const Module& module) {
  std::vector<const Module*> out;
  bool behind = false;
  for (const Module& chapter : stage) {
    if (behind) out.push_back(&chapter);
    behind = behind || chapter.number == module.number;
  }
  return out;
}

// Their headers, and those of them that the lesson includes. They stand on the lesson's own cells, so they join a unit only when a
// cell needs them; until then the lesson's #include line finds an empty file.
std::vector<std::string> headers_behind(const std::vector<Module>& stage, const Module& module, bool included) {
  std::vector<std::string> out;
  for (const Module* chapter : chapters_behind(stage, module)) {
    for (const std::string& path : exported_paths(*chapter)) {
      if (path.ends_with(".h") && (!included || includes(module, path))) out.push_back(path);
    }
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

StageOptions behind_options(const Module& module, const Toolchain& toolchain) {
  StageOptions options;
  options.stage = module.stage();
  options.toolchain = toolchain;
  options.only = {module.number};
  options.folder = fmt::format("behind{}-{}", module.number, toolchain.name());
  return options;
}

std::vector<Module> modules_below(const std::vector<Module>& stage, const Module& module) {
  std::vector<Module> below;
  bool behind = false;
  for (const Module& other : stage) {
    const bool itself = other.number == module.number;
    if (!behind && !itself) {
      below.push_back(other);
    } else if (extends_something(other)) {
      below.push_back(itself ? only_mixins(other) : only_mixins_of_chapter(other));
    }
    behind = behind || itself;
  }
  return below;
}

bool uses_chapters_behind(const std::vector<Module>& stage, const Module& module) {
  const std::vector<const Module*> chapters = chapters_behind(stage, module);
  return !headers_behind(stage, module, true).empty() ||
         std::any_of(chapters.begin(), chapters.end(), [](const Module* chapter) { return extends_something(*chapter); });
}

std::vector<std::string> build_chapters_behind(const StageBuild& whole, const std::vector<Module>& stage, const Module& module) {
  std::vector<std::string> objects;
  const std::vector<std::string> sources = sources_of(whole.package());
  for (const Module* chapter : chapters_behind(stage, module)) {
    for (const std::string& path : exported_paths(*chapter)) {
      const auto found = std::find(sources.begin(), sources.end(), path);
      if (found != sources.end()) objects.push_back(whole.library()[static_cast<std::size_t>(found - sources.begin())]);
    }
  }
  const NinjaResult built = whole.build(objects, "compiling what stands on " + module.folder());
  if (!built.ok) objects.clear();  // the lesson's file is being worked on; its notebook does without them
  return objects;
}

std::string describe_cells(const StageBuild& build, const std::vector<Module>& stage, const Module& module,
                           const LessonTexts& texts, const std::vector<std::string>& chapters) {
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
  const std::vector<std::string> behind = headers_behind(stage, module, false);
  nlohmann::ordered_json late_files = nlohmann::ordered_json::array(), late_texts = nlohmann::ordered_json::array();
  const fs::path late = build.directory() / "cells/late";
  if (!behind.empty()) {
    write_changed(late / "tinytorch", export_package(stage).files, true);
    for (const std::string& path : headers_behind(stage, module, true)) {
      late_files.push_back((late / "tinytorch" / path).string());
      stand_ins.push_back({path, "", {}, {}});
    }
    for (const std::string& path : behind) late_texts.push_back((late / "tinytorch" / path).string());
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
      {"late_texts", late_texts},
      {"late_folder", late.string()},
      {"late_objects", chapters},
  };
  return out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace tito
