#include "format/export.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "format/cpp_scan.h"
#include "format/source.h"

namespace tito {
namespace {

constexpr std::string_view kEditTheModule = "edit the module, not this file.";

std::string module_path(const Module& module) {
  return "modules/" + module.folder() + "/" + module.name + "_dev.cpp";
}

// One exported file while it is put together.
struct Draft {
  const Module* module = nullptr;
  std::vector<std::size_t> cells;
};

struct Mixin {
  std::string target;  // Tensor, TensorOptions, Module
  std::string header;
  std::string name;    // within tinytorch: "AutogradMethods"
};

struct Registration {
  std::string function;
  std::string module;
};

bool opens_namespace(const Module& module, std::size_t cell) { return cell < module.open_cell; }

bool is_header(std::string_view path) { return path.ends_with(".h"); }

// A source that is compiled once for each CPU capability, by a generated file that includes it.
bool is_simd(std::string_view path) { return path.ends_with(".simd.cpp"); }
constexpr std::string_view capabilities[] = {"DEFAULT", "AVX2", "AVX512"};

std::vector<Item> items_of(const Module& module, std::size_t cell) {
  return scan_items(join_lines(module.cells[cell].body));
}

// ---- what may not be there twice -----------------------------------------------------------------------------------

class Definitions {
 public:
  void add_cell(const Module& module, std::size_t cell) { add(module, module.cells[cell], items_of(module, cell)); }

 private:
  struct Place {
    const Module* module;
    int line;
    bool internal;
  };

  void add(const Module& module, const Cell& cell, const std::vector<Item>& items) {
    for (const Item& item : items) {
      if (item.conditional) continue;
      if (item.kind == Item::Kind::Namespace) {
        add(module, cell, item.members);
      } else if (item.definition && !item.name.empty()) {
        if (item.kind == Item::Kind::Function) add_one(module, cell, item, item.signature);
        if (item.kind == Item::Kind::Class || item.kind == Item::Kind::Enum) add_one(module, cell, item, item.name);
        if (item.kind == Item::Kind::Variable) add_one(module, cell, item, item.name);
      }
    }
  }

  static std::string without_prefix(std::string text, const std::string& prefix) {
    const std::size_t at = text.find(prefix);
    if (at != std::string::npos) text.erase(at, prefix.size());
    return text;
  }

  void add_one(const Module& module, const Cell& cell, const Item& item, const std::string& key_text) {
    const std::string key = without_prefix(key_text, "tinytorch::");
    const int line = cell.body_line + static_cast<int>(item.name_line);
    for (const Place& place : places_[key]) {
      const bool same_module = place.module == &module;
      if (!same_module && (place.internal || item.internal)) continue;
      throw Diagnostic(module.file, line,
                       "'" + without_prefix(item.name, "tinytorch::") + "' is exported twice; first in " +
                           place.module->file.string() + ":" + std::to_string(place.line));
    }
    places_[key].push_back({&module, line, item.internal});
  }

  std::map<std::string, std::vector<Place>> places_;
};

// ---- one file ------------------------------------------------------------------------------------------------------

void add_blank(Source& out) {
  if (!out.empty() && !out.back().text.empty()) out.push_back({"", 0});
}

void add_include(Source& lines, const std::string& path, bool in_front = false) {
  const std::string text = "#include \"" + path + "\"";
  for (const SourceLine& line : lines) {
    if (line.text == text) return;
  }
  lines.insert(in_front ? lines.begin() : lines.end(), SourceLine{text, 0});
}

// The author's includes, system headers first; in the author's order when other directives stand among them.
void add_includes(Source& out, const Source& author, const Source& added) {
  const bool ordered = std::any_of(author.begin(), author.end(), [](const SourceLine& line) {
    return line.text.starts_with("#") && !line.text.starts_with("#include");
  });
  Source system, own;
  std::set<std::string> seen;
  for (const SourceLine& line : author) {
    if (!ordered && !seen.insert(line.text).second) continue;
    (ordered || line.text.starts_with("#include <") ? system : own).push_back(line);
  }
  for (const SourceLine& line : added) {
    if (seen.insert(line.text).second) own.push_back(line);
  }
  for (const Source& group : {system, own}) {
    if (!group.empty()) add_blank(out);
    out.insert(out.end(), group.begin(), group.end());
  }
}

class PackageBuilder {
 public:
  PackageBuilder(std::span<const Module> modules, const std::function<Bodies(const Module&)>& bodies)
      : modules_(modules), bodies_(bodies) {}

  Package run() {
    check_grade_ids();
    for (const Module& module : modules_) collect(module);
    for (const std::string& path : order_) package_.files.push_back(exported_file(path, drafts_.at(path)));
    add_extension_headers();
    add_register_all();
    add_capability_sources();
    add_umbrella();
    add_sources();
    return std::move(package_);
  }

 private:
  void check_grade_ids() const {
    std::map<std::string, const Module*> seen;
    for (const Module& module : modules_) {
      for (const Cell& cell : module.cells) {
        const std::string id = cell.grade_id();
        if (id.empty()) continue;
        const auto [place, fresh] = seen.emplace(id, &module);
        if (!fresh && place->second != &module) {
          throw Diagnostic(module.file, cell.line, "grade_id '" + id + "' stands already in " + place->second->file.string());
        }
      }
    }
  }

  void collect(const Module& module) {
    for (std::size_t i = 0; i < module.cells.size(); ++i) {
      const Cell& cell = module.cells[i];
      if (cell.kind != Cell::Kind::Code) continue;
      const bool includes = is_include_cell(module, i);
      for (const Marker& marker : cell.markers) {
        if (marker.word != "export") continue;
        Draft& draft = draft_for(module, marker);
        if (!includes) draft.cells.push_back(i);
      }
      if (includes || cell.marker("export") == nullptr) continue;
      definitions_.add_cell(module, i);
      collect_mixin(module, i);
      collect_registration(module, i);
    }
  }

  Draft& draft_for(const Module& module, const Marker& marker) {
    const auto [place, fresh] = drafts_.try_emplace(marker.argument);
    Draft& draft = place->second;
    if (fresh) {
      draft.module = &module;
      order_.push_back(marker.argument);
    } else if (draft.module != &module) {
      throw Diagnostic(module.file, marker.line,
                       marker.argument + " is exported by " + draft.module->file.string() + " already; a file has one module");
    }
    return draft;
  }

  static const Item* first_class(const std::vector<Item>& items) {
    for (const Item& item : items) {
      if (item.kind == Item::Kind::Class && item.definition) return &item;
      if (const Item* inside = first_class(item.members); item.kind == Item::Kind::Namespace && inside != nullptr) return inside;
    }
    return nullptr;
  }

  static std::string name_in_tinytorch(const std::string& name) {
    return name.starts_with("tinytorch::") ? name.substr(11) : name;
  }

  void collect_mixin(const Module& module, std::size_t index) {
    const Cell& cell = module.cells[index];
    const Marker* extends = cell.marker("extends");
    if (extends == nullptr) return;
    const std::vector<Item> items = items_of(module, index);
    const Item* mixin = first_class(items);
    if (mixin == nullptr) throw Diagnostic(module.file, extends->line, "'//| extends' wants a class in its cell");
    mixins_.push_back({extends->argument, cell.marker("export")->argument, name_in_tinytorch(mixin->name)});
  }

  void collect_registration(const Module& module, std::size_t index) {
    if (module.cells[index].marker("registers") == nullptr) return;
    std::vector<Item> level = items_of(module, index);
    while (!level.empty()) {
      std::vector<Item> below;
      for (const Item& item : level) {
        const bool callable = item.kind == Item::Kind::Function && item.definition && item.returns_nothing &&
                              !item.internal && item.signature.ends_with("()");
        if (callable) registrations_.push_back({name_in_tinytorch(item.name), module.folder()});
        if (item.kind == Item::Kind::Namespace) below.insert(below.end(), item.members.begin(), item.members.end());
      }
      level = std::move(below);
    }
  }

  GeneratedFile exported_file(const std::string& path, const Draft& draft) const {
    const Module& module = *draft.module;
    const Bodies bodies = bodies_(module);
    Source out;
    out.push_back({"// From the lesson " + module_path(module) + ":", 0});
    out.push_back({"// " + std::string(kEditTheModule), 0});
    if (is_header(path)) out.push_back({"#pragma once", 0});
    Source includes = include_lines(module, path);
    const std::string own_header = path.substr(0, path.rfind('.')) + ".h";
    const auto own = drafts_.find(own_header);
    if (!is_header(path) && own != drafts_.end() && own->second.module == &module) {
      const std::string include = "#include \"tinytorch/" + own_header + "\"";
      add_blank(out);
      out.push_back({include, 0});
      std::erase_if(includes, [&](const SourceLine& line) { return line.text == include; });
    }
    add_includes(out, includes, includes_for_holes(path, draft, bodies));
    bool inside = false;
    for (const std::size_t cell : draft.cells) {
      const bool wrap = !opens_namespace(module, cell);
      if (wrap != inside) {
        add_blank(out);
        out.push_back(wrap ? SourceLine{"namespace tinytorch {", 0} : SourceLine{"}  // namespace tinytorch", 0});
        inside = wrap;
      }
      add_blank(out);
      const Source code = cell_code(module, cell, bodies);
      out.insert(out.end(), code.begin(), code.end());
    }
    if (inside) {
      add_blank(out);
      out.push_back({"}  // namespace tinytorch", 0});
    }
    return generated_file(path, &module, tidy(out));
  }

  // Empty holes throw NotImplemented, which core/error.h declares.
  Source includes_for_holes(const std::string& path, const Draft& draft, Bodies bodies) const {
    Source added;
    const Module& module = *draft.module;
    const bool holes = std::any_of(draft.cells.begin(), draft.cells.end(),
                                   [&](std::size_t cell) { return has_hole(module, cell); });
    if (!holes || (bodies == Bodies::Reference && module.edition == Edition::Reference)) return added;
    const bool has_it = path == "core/error.h" || path == "core/error.cpp" || !drafts_.contains("core/error.h");
    if (!has_it) add_include(added, "tinytorch/core/error.h");
    if (bodies == Bodies::Instrumented && module.edition == Edition::Reference) add_include(added, "tito/variant.h");
    return added;
  }

  std::string lessons() const {
    if (modules_.empty()) return "no lesson";
    if (modules_.size() == 1) return "the lesson " + modules_.front().folder();
    return "the lessons " + modules_.front().folder() + " to " + modules_.back().folder();
  }

  Source generated_head(const std::string& what) const {
    return {{"// " + what, 0}, {"// Generated from " + lessons() + ": " + std::string(kEditTheModule), 0}};
  }

  void add_generated(const std::string& path, const Source& lines) {
    package_.files.push_back(generated_file(path, nullptr, lines));
  }

  // `name` within tinytorch, as code in `scope` writes it: nn::A is A in tinytorch::nn.
  static std::string name_seen_from(const std::string& scope, const std::string& name) {
    const std::string inner = scope == "tinytorch" ? "" : scope.substr(11) + "::";
    return !inner.empty() && name.starts_with(inner) ? name.substr(inner.size()) : name;
  }

  void add_extension_header(const std::string& path, const std::string& target, const std::string& scope,
                            const std::string& class_name) {
    Source out = generated_head("The methods that lessons add to " + target + ".");
    out.push_back({"#pragma once", 0});
    std::string bases;
    Source includes;
    for (const Mixin& mixin : mixins_) {
      if (mixin.target != target) continue;
      add_include(includes, "tinytorch/" + mixin.header);
      bases += (bases.empty() ? " : public " : ", public ") + name_seen_from(scope, mixin.name);
    }
    if (!includes.empty()) out.push_back({"", 0});
    out.insert(out.end(), includes.begin(), includes.end());
    out.push_back({"", 0});
    out.push_back({"namespace " + scope + " {", 0});
    out.push_back({"", 0});
    out.push_back({"class " + class_name + bases + " {};", 0});
    out.push_back({"", 0});
    out.push_back({"}  // namespace " + scope, 0});
    add_generated(path, out);
  }

  void add_extension_headers() {
    add_extension_header("core/tensor_extensions.h", "Tensor", "tinytorch", "TensorExtensions");
    add_extension_header("core/options_extensions.h", "TensorOptions", "tinytorch", "OptionsExtensions");
    if (drafts_.contains("nn/module.h")) {
      add_extension_header("nn/module_extensions.h", "Module", "tinytorch::nn", "ModuleExtensions");
    }
  }

  // `void nn::name();` must be declared in its namespace.
  static std::string declaration(const std::string& function) {
    const std::size_t at = function.rfind("::");
    if (at == std::string::npos) return "void " + function + "();";
    return "namespace " + function.substr(0, at) + " { void " + function.substr(at + 2) + "(); }";
  }

  void add_register_all() {
    Source out = generated_head("Joins what the lessons register, in their order.");
    out.push_back({"", 0});
    out.push_back({"namespace tinytorch {", 0});
    out.push_back({"", 0});
    for (const Registration& registration : registrations_) {
      out.push_back({declaration(registration.function) + "  // " + registration.module, 0});
    }
    out.push_back({"void register_all();", 0});
    out.push_back({"", 0});
    out.push_back({"void register_all() {", 0});
    for (const Registration& registration : registrations_) out.push_back({"  " + registration.function + "();", 0});
    out.push_back({"}", 0});
    out.push_back({"", 0});
    out.push_back({"}  // namespace tinytorch", 0});
    add_generated("core/register_all.cpp", out);
  }

  static std::string for_capability(const std::string& path, std::string_view capability) {
    return path.substr(0, path.size() - 3) + std::string(capability) + ".cpp";
  }

  // Each includes the lesson's file; other architectures than x86-64 have DEFAULT alone.
  void add_capability_sources() {
    for (const std::string& path : order_) {
      if (!is_simd(path)) continue;
      for (const std::string_view capability : capabilities) {
        Source out = generated_head(path + " for the CPU capability " + std::string(capability) + ".");
        out.push_back({"", 0});
        const bool conditional = capability != "DEFAULT";
        if (conditional) {
          out.push_back({"#ifdef __x86_64__", 0});
        } else {
          out.push_back({"// On ARM Highway is to use what every NEON has; with its own choice at run time, which is not used here, it asks for the crypto extension too.", 0});
          out.push_back({"#define TOOLCHAIN_MISS_SYS_AUXV_H", 0});
        }
        out.push_back({"#define TINYTORCH_CAPABILITY " + std::string(capability), 0});
        out.push_back({"#include \"tinytorch/" + path + "\"", 0});
        if (conditional) out.push_back({"#endif", 0});
        add_generated(for_capability(path, capability), out);
      }
    }
  }

  void add_umbrella() {
    Source out = generated_head("All of TinyTorch.");
    out.push_back({"#pragma once", 0});
    out.push_back({"", 0});
    for (const std::string& path : order_) {
      if (is_public_header(path)) out.push_back({"#include \"tinytorch/" + path + "\"", 0});
    }
    add_generated("tinytorch.h", out);
  }

  void add_sources() {
    for (const Module& module : modules_) {
      std::vector<std::string> paths;
      for (const std::string& path : order_) {
        if (is_header(path) || drafts_.at(path).module != &module) continue;
        if (!is_simd(path)) {
          paths.push_back(path);
          continue;
        }
        for (const std::string_view capability : capabilities) paths.push_back(for_capability(path, capability));
      }
      package_.sources.emplace_back(module.folder(), std::move(paths));
    }
    package_.sources.emplace_back("generated", std::vector<std::string>{"core/register_all.cpp"});
    Source out = {{"# The sources of each lesson, for CMakeLists.txt.", 0},
                  {"# Generated from " + lessons() + ": " + std::string(kEditTheModule), 0}};
    std::string names;
    for (const auto& [folder, paths] : package_.sources) {
      if (paths.empty()) continue;
      names += "\n  " + folder;
      out.push_back({"set(TINYTORCH_SOURCES_" + folder, 0});
      for (const std::string& path : paths) out.push_back({"  " + path, 0});
      out.back().text += ")";
    }
    out.push_back({"set(TINYTORCH_MODULES" + names + ")", 0});
    GeneratedFile file = generated_file("sources.cmake", nullptr, out);
    file.origin.assign(split_lines(file.text).size(), 0);
    package_.files.push_back(std::move(file));
  }

  std::span<const Module> modules_;
  const std::function<Bodies(const Module&)>& bodies_;
  std::map<std::string, Draft> drafts_;
  std::vector<std::string> order_;
  std::vector<Mixin> mixins_;
  std::vector<Registration> registrations_;
  Definitions definitions_;
  Package package_;
};

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  const fs::path partial = path.string() + ".partial";
  std::ofstream out(partial, std::ios::binary);
  out << text;
  out.close();
  if (!out) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    throw std::runtime_error(path.string() + " cannot be written");
  }
  fs::rename(partial, path);
}

std::vector<std::string> files_below(const fs::path& dir) {
  std::vector<std::string> paths;
  if (!fs::is_directory(dir)) return paths;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(dir)) {
    if (!entry.is_directory()) paths.push_back(entry.path().lexically_relative(dir).generic_string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool was_generated(const fs::path& path) {
  const std::string text = read_text(path);
  const std::size_t second_line = text.find('\n');
  return second_line != std::string::npos && text.substr(0, text.find('\n', second_line + 1)).find(kEditTheModule) != std::string::npos;
}

}  // namespace

bool is_capability_source(std::string_view path) { return path.find(".simd.") != std::string_view::npos && !is_simd(path); }

std::string capability_flags([[maybe_unused]] std::string_view path) {
#ifdef __x86_64__
  const std::string avx2 = "-mavx2 -mfma -mf16c -mbmi -mbmi2 -mlzcnt -mpclmul -maes";
  if (path.ends_with(".simd.AVX2.cpp")) return avx2;
  if (path.ends_with(".simd.AVX512.cpp")) return avx2 + " -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl";
#endif
  return "";
}

Package export_package(std::span<const Module> modules, const std::function<Bodies(const Module&)>& bodies) {
  return PackageBuilder(modules, bodies).run();
}

Package export_package(std::span<const Module> modules, Bodies bodies) {
  return export_package(modules, [bodies](const Module&) { return bodies; });
}

std::vector<Module> up_to_stage(const std::vector<Module>& course, std::string_view number) {
  std::vector<Module> modules;
  for (const Module& module : course) {
    if (module.stage() <= number) modules.push_back(module);
  }
  return modules;
}

bool is_public_header(std::string_view path) { return is_header(path) && !path.ends_with("-inl.h"); }

std::vector<std::string> exported_paths(const Module& module) {
  std::vector<std::string> paths;
  for (const Cell& cell : module.cells) {
    for (const Marker& marker : cell.markers) {
      const bool fresh = std::find(paths.begin(), paths.end(), marker.argument) == paths.end();
      if (marker.word == "export" && fresh) paths.push_back(marker.argument);
    }
  }
  return paths;
}

std::vector<std::string> write_changed_paths(const fs::path& dir, const std::vector<GeneratedFile>& files,
                                             bool remove_stale) {
  std::vector<std::string> changed;
  std::set<std::string> wanted;
  for (const GeneratedFile& file : files) {
    wanted.insert(file.path);
    const fs::path path = dir / file.path;
    if (fs::exists(path) && read_text(path) == file.text) continue;
    write_text(path, file.text);
    changed.push_back(file.path);
  }
  if (!remove_stale) return changed;
  for (const std::string& path : files_below(dir)) {
    if (wanted.contains(path) || !was_generated(dir / path)) continue;
    fs::remove(dir / path);
    changed.push_back(path);
    for (fs::path folder = (dir / path).parent_path(); folder != dir && fs::is_empty(folder); folder = folder.parent_path()) {
      fs::remove(folder);
    }
  }
  return changed;
}

std::size_t write_changed(const fs::path& dir, const std::vector<GeneratedFile>& files, bool remove_stale) {
  return write_changed_paths(dir, files, remove_stale).size();
}

std::vector<std::pair<std::string, std::string>> compare_with_folder(const fs::path& dir,
                                                                     const std::vector<GeneratedFile>& files) {
  std::vector<std::pair<std::string, std::string>> findings;
  std::set<std::string> wanted;
  for (const GeneratedFile& file : files) {
    wanted.insert(file.path);
    const fs::path path = dir / file.path;
    if (!fs::exists(path)) {
      findings.emplace_back(file.path, "is missing");
    } else if (read_text(path) != file.text) {
      findings.emplace_back(file.path, "differs from what the modules say");
    }
  }
  for (const std::string& path : files_below(dir)) {
    if (!wanted.contains(path)) findings.emplace_back(path, "does not come from a module");
  }
  return findings;
}

}  // namespace tito
