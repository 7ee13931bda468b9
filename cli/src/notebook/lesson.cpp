#include "notebook/lesson.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "format/source.h"

namespace tito {
namespace {

std::string path_in(const std::string& include_line) {
  constexpr std::string_view opening = "#include \"tinytorch/";
  return include_line.starts_with(opening) ? include_line.substr(opening.size(), include_line.rfind('"') - opening.size()) : "";
}

bool contains(const std::vector<std::string>& paths, const std::string& path) {
  return std::find(paths.begin(), paths.end(), path) != paths.end();
}

// The headers with classes that are bases of Tensor and others, and those of the module's own headers that they include.
std::set<std::string> mixin_headers(const Module& module) {
  std::set<std::string> headers;
  for (const Cell& cell : module.cells) {
    if (cell.marker("extends") != nullptr) headers.insert(cell.marker("export")->argument);
  }
  const std::vector<std::string> own = exported_paths(module);
  for (std::size_t before = 0; before != headers.size();) {
    before = headers.size();
    for (const std::string& header : std::set<std::string>(headers)) {
      for (const SourceLine& line : include_lines(module, header)) {
        if (const std::string path = path_in(line.text); contains(own, path)) headers.insert(path);
      }
    }
  }
  return headers;
}

// A cell of include lines without those for other files than `headers`.
Cell include_cell_for(const Cell& cell, const std::set<std::string>& headers) {
  Cell out = cell;
  out.body.clear();
  out.markers.clear();
  bool wanted = false;
  std::size_t next = 0;
  for (const std::string& line : cell.body) {
    if (line.starts_with("//|")) {
      const Marker& found = cell.markers[next++];
      wanted = found.word == "export" && headers.contains(found.argument);
      if (wanted) out.markers.push_back(found);
    }
    if (wanted) out.body.push_back(line);
  }
  return out;
}

// The module with nothing but the classes that are bases of Tensor and others, and what they include: they must be there before
// those are.
Module only_mixins(const Module& module) {
  Module out = module;
  out.cells.clear();
  out.holes.clear();
  out.mistakes.clear();
  out.tests.clear();
  out.include_breaks.clear();
  const std::set<std::string> headers = mixin_headers(module);
  for (std::size_t i = 0; i < module.cells.size(); ++i) {
    const Cell& cell = module.cells[i];
    if (i == module.open_cell) out.open_cell = out.cells.size();
    if (i == module.close_cell) out.close_cell = out.cells.size();
    const bool frame = i == module.open_cell || i == module.close_cell;
    if (is_include_cell(module, i)) {
      const Cell filtered = include_cell_for(cell, headers);
      if (!filtered.body.empty()) out.cells.push_back(filtered);
    } else if (const Marker* target = cell.marker("export"); frame || (target != nullptr && headers.contains(target->argument))) {
      out.cells.push_back(cell);
    }
  }
  return out;
}

bool has_marker(const Module& module, std::string_view word) {
  return std::any_of(module.cells.begin(), module.cells.end(), [&](const Cell& cell) { return cell.marker(word) != nullptr; });
}

bool extends_something(const Module& module) { return has_marker(module, "extends"); }

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

// The library chapters that stand behind the lesson at its stage.
std::vector<Module> chapters_behind(const std::vector<Module>& stage, const Module& module) {
  const auto own = std::find_if(stage.begin(), stage.end(), [&](const Module& other) { return other.number == module.number; });
  return {own == stage.end() ? own : own + 1, stage.end()};
}

bool extends(const Module& module, std::string_view target) {
  return std::any_of(module.cells.begin(), module.cells.end(), [&](const Cell& cell) {
    const Marker* base = cell.marker("extends");
    return base != nullptr && base->argument == target;
  });
}

// Of those chapters' headers, the ones that the lesson includes. They stand on the lesson's own cells, so they join a unit only when
// a cell needs them; until then the lesson's #include line finds an empty file.
std::vector<std::string> headers_behind(const std::vector<Module>& behind, const Module& module) {
  std::vector<std::string> out;
  for (const Module& chapter : behind) {
    for (const std::string& path : exported_paths(chapter)) {
      if (path.ends_with(".h") && includes(module, path)) out.push_back(path);
    }
  }
  return out;
}

// Those headers, and all others of the package that they include.
std::set<std::string> with_included(const std::vector<std::string>& headers, const Package& package) {
  std::map<std::string, std::string> texts;
  for (const GeneratedFile& file : package.files) texts[file.path] = file.text;
  std::set<std::string> out(headers.begin(), headers.end());
  for (std::vector<std::string> next = headers; !next.empty();) {
    const std::vector<std::string> lines = split_lines(texts[next.back()]);
    next.pop_back();
    for (const std::string& line : lines) {
      if (const std::string path = path_in(line); texts.contains(path) && out.insert(path).second) next.push_back(path);
    }
  }
  return out;
}

// What those chapters define, as an archive: a cell that calls it is linked with it. It is compiled against the lesson as its file
// has it, in a folder beside the cells'. Empty where there are none, or where they do not compile with it.
fs::path archive_of(const std::vector<Module>& chapters, const StageBuild& cells, const std::vector<Module>& stage) {
  if (chapters.empty()) return {};
  StageOptions options = cells.options();
  options.stage.clear();
  options.cells = false;
  options.quick_library = true;
  options.sections = true;
  options.only = {"none"};
  options.folder = cells.directory().filename().string() + "-behind";  // it has the lesson's own sources, which a submission must not see
  const StageBuild build(cells.root(), stage, options);
  std::vector<std::string> objects;
  for (const Module& chapter : chapters) {
    for (const std::string& object : build.library_of(chapter.folder())) objects.push_back(object);
  }
  if (!build.build(objects, "compiling the library chapters behind the lesson").ok) return {};
  const fs::path archive = cells.directory() / "cells/behind.a";
  const fs::path growing = cells.directory() / "cells/behind.a.partial";
  std::error_code ignored;
  fs::remove(growing, ignored);
  Command command{"ar", "qcs", growing.string()};
  command.insert(command.end(), objects.begin(), objects.end());
  ProcessOptions running;
  running.directory = cells.root();
  if (!run_process(command, running).ok()) return {};
  fs::rename(growing, archive);
  return archive;
}

// A source that joins what those chapters register, as the stage's core/register_all.cpp does; empty when they register nothing.
std::string registrations_of(const std::vector<Module>& chapters, const Package& package) {
  std::string declarations, calls;
  const auto file = std::find_if(package.files.begin(), package.files.end(), [](const GeneratedFile& other) { return other.path == "core/register_all.cpp"; });
  if (file == package.files.end()) return "";
  std::vector<bool> wanted;
  std::size_t called = 0;
  for (const std::string& line : split_lines(file->text)) {
    if (const std::size_t mark = line.find(";  // "); mark != std::string::npos || line.find("}  // ") != std::string::npos) {
      const std::string folder = line.substr(line.find("  // ") + 5);
      if (folder == "namespace tinytorch") continue;
      wanted.push_back(std::any_of(chapters.begin(), chapters.end(), [&](const Module& chapter) { return chapter.folder() == folder; }));
      if (wanted.back()) declarations += line + "\n";
    } else if (line.starts_with("  ") && line.ends_with("();")) {
      if (wanted.at(called++)) calls += line + "\n";
    }
  }
  if (calls.empty()) return "";
  return "namespace tinytorch {\n" + declarations + "namespace {\n[[maybe_unused]] const bool registered_behind = [] {\n" + calls +
         "  return true;\n}();\n}  // namespace\n}  // namespace tinytorch\n";
}

// For each *.simd.cpp of the lesson: the CPU capabilities it is compiled for, and the flags for each.
nlohmann::ordered_json capabilities(const StageBuild& build, const Module& module, const Package& package) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const GeneratedFile& file : package.files) {
    if (!is_capability_source(file.path)) continue;
    const std::size_t end = file.path.size() - std::string_view(".cpp").size();
    const std::size_t dot = file.path.rfind('.', end - 1);
    const std::string source = file.path.substr(0, dot) + ".cpp", capability = file.path.substr(dot + 1, end - dot - 1);
    if (!makes(module, source) || (capability != "DEFAULT" && capability_flags(file.path).empty())) continue;
    out[source][capability] = build.capability_compiler_flags(file.path);
  }
  return out;
}

// Types that the lesson's headers define. While a notebook has others, what was compiled against these does not fit.
nlohmann::ordered_json header_cells(const Module& module) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const Cell& cell : module.cells) {
    const Marker* target = cell.marker("export");
    if (target != nullptr && target->argument.ends_with(".h")) out.push_back(join_lines(cell.body));
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
  for (const Module& chapter : chapters_behind(stage, module)) {
    if (extends_something(chapter)) below.push_back(only_mixins(chapter));
  }
  return below;
}

std::vector<Module> chapters_used(const std::vector<Module>& stage, const Module& module, const std::set<std::string>& included) {
  std::vector<Module> out;
  for (const Module& chapter : chapters_behind(stage, module)) {
    const std::vector<std::string> paths = exported_paths(chapter);
    const bool wanted = std::any_of(paths.begin(), paths.end(), [&](const std::string& path) { return included.contains(path); });
    const bool joins = (extends_something(chapter) || has_marker(chapter, "registers")) && (!included.empty() || extends(module, "Tensor"));
    if (wanted || joins) out.push_back(chapter);
  }
  return out;
}

std::vector<GeneratedFile> generated_for_cells(const std::vector<Module>& stage, const Module& module) {
  std::set<std::string> there;
  for (const GeneratedFile& file : export_package(modules_below(stage, module)).files) there.insert(file.path);
  std::vector<GeneratedFile> out;
  for (const GeneratedFile& file : export_package(stage).files) {
    const bool of_lesson = std::any_of(stage.begin(), stage.end(), [&](const Module& other) { return makes(other, file.path); });
    if (!of_lesson && !there.contains(file.path) && includes(module, file.path)) out.push_back(file);
  }
  return out;
}

std::string describe_cells(const StageBuild& build, const std::vector<Module>& stage, const Module& module,
                           const LessonTexts& texts) {
  const NinjaResult built = build.build({build.cell_target()}, "compiling what " + module.folder() + " stands on");
  if (!built.ok) {
    throw std::runtime_error(built.messages + "\nwhat " + module.folder() + " stands on does not compile");
  }
  // Files that the lesson itself makes are there for its #include lines, and empty; what is generated for it is there too.
  std::vector<GeneratedFile> stand_ins;
  for (const std::string& path : exported_paths(module)) {
    if (path.ends_with(".h")) stand_ins.push_back({path, "", {}, {}});
  }
  const std::vector<Module> behind = chapters_behind(stage, module);
  const std::vector<std::string> late_included = headers_behind(behind, module);
  const Package package = export_package(stage);
  const std::set<std::string> included = late_included.empty() ? std::set<std::string>() : with_included(late_included, package);
  nlohmann::ordered_json late_files = nlohmann::ordered_json::array();
  nlohmann::ordered_json late_texts = nlohmann::ordered_json::array();
  nlohmann::ordered_json late_objects = nlohmann::ordered_json::array();
  const fs::path late = build.directory() / "cells/late";
  for (const std::string& path : late_included) {
    late_files.push_back((late / "tinytorch" / path).string());
    stand_ins.push_back({path, "", {}, {}});
  }
  std::vector<GeneratedFile> headers;  // of the chapters alone: the others are there, or stand in cells
  for (const Module& chapter : behind) {
    for (const std::string& path : exported_paths(chapter)) {
      if (!included.contains(path)) continue;
      late_texts.push_back((late / "tinytorch" / path).string());
      for (const GeneratedFile& file : package.files) {
        if (file.path == path) headers.push_back(file);
      }
    }
  }
  for (const GeneratedFile& file : generated_for_cells(stage, module)) stand_ins.push_back(file);
  if (!headers.empty()) write_changed(late / "tinytorch", headers, true);
  const std::vector<Module> used = chapters_used(stage, module, included);
  std::string registrations;
  if (const fs::path archive = archive_of(used, build, stage); !archive.empty()) {
    late_objects.push_back(archive.string());
    registrations = registrations_of(used, package);
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
      {"capabilities", capabilities(build, module, package)},
      {"handed_out", code_cells(module.file, texts.handed_out)},
      {"late_headers", late_headers(module)},
      {"late_files", late_files},
      {"late_texts", late_texts},
      {"late_objects", late_objects},
      {"late_registrations", registrations},
      {"header_cells", late_objects.empty() ? nlohmann::ordered_json::array() : header_cells(module)},
      {"late_folder", late.string()},
  };
  return out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace tito
