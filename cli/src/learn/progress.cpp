#include "learn/progress.h"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <chrono>
#include <algorithm>
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "format/export.h"
#include "learn/handed_out.h"
#include "learn/text_files.h"

namespace tito {
namespace {

constexpr std::string_view head = R"(# What you have done in this workspace. tito writes this file, and rebuilds it from your modules when it is damaged.
format = 1
)";

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string list(const std::set<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + quoted(item);
  return "[" + out + "]";
}

std::string body_of(const Progress& progress) {
  std::string out = fmt::format("milestones = {}\n", list(progress.milestones));
  for (const auto& [folder, module] : progress.modules) {
    out += fmt::format("\n[modules.{}]\n", quoted(folder));
    if (!module.started.empty()) out += fmt::format("started = {}\n", quoted(module.started));
    if (!module.completed.empty()) out += fmt::format("completed = {}\n", quoted(module.completed));
    out += fmt::format("passed = {}\n", list(module.passed));
    if (module.hints.empty()) continue;
    out += fmt::format("\n[modules.{}.hints]\n", quoted(folder));
    for (const auto& [exercise, count] : module.hints) out += fmt::format("{} = {}\n", quoted(exercise), count);
  }
  return out;
}

std::set<std::string> strings(const toml::table& table, std::string_view key) {
  std::set<std::string> out;
  if (const toml::array* array = table[key].as_array()) {
    for (const toml::node& node : *array) out.insert(node.value<std::string>().value_or(""));
  }
  return out;
}

// The text without blank lines, and without the include that a file with exercises has when its package has that header.
std::string essence(const std::string& text) {
  std::string out;
  for (const std::string& line : split_lines(text)) {
    if (!line.empty() && line != "#include \"tinytorch/core/error.h\"") out += line + "\n";
  }
  return out;
}

// Whether tinytorch/ has the module as it is now.
bool is_exported(const Workspace& workspace, const std::string& folder) {
  std::vector<Module> course;
  try {
    course.push_back(workspace.module(folder));
  } catch (const Diagnostic&) {
    return false;
  }
  // The generated files among them join other modules as well; only the module's own are compared.
  const Package package = export_package(course);
  const std::vector<std::string> own = exported_paths(course.front());
  if (own.empty()) return false;
  for (const GeneratedFile& file : package.files) {
    const bool exported = std::find(own.begin(), own.end(), file.path) != own.end();
    if (exported && essence(read_if_there(workspace.package() / file.path)) != essence(file.text)) return false;
  }
  return true;
}

// The number of the last module that is complete; empty when none is.
std::string last_complete(const Progress& progress) {
  std::string last;
  for (const auto& [folder, module] : progress.modules) {
    if (!module.completed.empty()) last = folder.substr(0, 2);
  }
  return last;
}

// The modules do not show which milestones had opened, nor which hints were read.
void say_what_was_lost(const Progress& rebuilt) {
  const std::string last = last_complete(rebuilt);
  if (!last.empty()) fmt::print(stderr, "Which milestones had opened is not known any more: 'tito complete {}' runs them again.\n", last);
}

}  // namespace

std::string progress_text(const Progress& progress) {
  const std::string body = body_of(progress);
  return fmt::format("{}checksum = \"{}\"\n{}", head, hash_of(body), body);
}

std::optional<Progress> parse_progress(const std::string& text) {
  const std::size_t checksum = text.find("\nchecksum = \"");
  const std::size_t body = checksum == std::string::npos ? std::string::npos : text.find('\n', checksum + 1);
  if (body == std::string::npos) return std::nullopt;
  if (text.substr(checksum + 13, 16) != hash_of(std::string_view(text).substr(body + 1))) return std::nullopt;
  try {
    const toml::table table = toml::parse(text);
    if (table["format"].value_or(0) != 1) return std::nullopt;
    Progress progress;
    progress.milestones = strings(table, "milestones");
    if (const toml::table* modules = table["modules"].as_table()) {
      for (const auto& [key, node] : *modules) {
        const toml::table* entry = node.as_table();
        if (entry == nullptr) return std::nullopt;
        ModuleProgress& module = progress.modules[std::string(key.str())];
        module.started = (*entry)["started"].value_or(std::string());
        module.completed = (*entry)["completed"].value_or(std::string());
        module.passed = strings(*entry, "passed");
        if (const toml::table* hints = (*entry)["hints"].as_table()) {
          for (const auto& [exercise, count] : *hints) module.hints[std::string(exercise.str())] = count.value_or(0);
        }
      }
    }
    return progress;
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

ModuleProgress rebuilt_progress(const Workspace& workspace, const std::string& folder) {
  ModuleProgress module;
  const HandedOut handed_out = read_handed_out(workspace, workspace.handed_out_file(folder).lexically_relative(workspace.root()).generic_string());
  if (handed_out.complaint.empty() && read_if_there(workspace.file_of(folder)) == handed_out.text) return module;
  module.started = now();
  if (!is_exported(workspace, folder)) return module;
  module.completed = module.started;
  for (const Test& test : workspace.module(folder).tests) {
    if (test.graded) module.passed.insert(test.grade_id);
  }
  return module;
}

Progress rebuilt_progress(const Workspace& workspace) {
  Progress progress;
  for (const std::string& folder : workspace.folders()) {
    const ModuleProgress module = rebuilt_progress(workspace, folder);
    if (!module.started.empty()) progress.modules[folder] = module;
  }
  return progress;
}

namespace {

void write_progress(const Workspace& workspace, const Progress& progress) {
  write_atomically(workspace.progress_file(), progress_text(progress));
}

// Whoever calls it holds the lock.
Progress read_or_rebuild(const Workspace& workspace) {
  const fs::path file = workspace.progress_file();
  const bool there = fs::exists(file);
  const std::string text = read_if_there(file);
  if (const std::optional<Progress> progress = parse_progress(text)) return *progress;
  const Progress rebuilt = rebuilt_progress(workspace);
  if (there) write_atomically(file.string() + ".damaged", text);
  if (there || !rebuilt.modules.empty()) write_progress(workspace, rebuilt);
  if (!there && last_complete(rebuilt).empty()) return rebuilt;  // a new workspace, perhaps with an edit in it
  fmt::print(stderr, "The record of your progress was {}; it was rebuilt from your modules{}.\n", there ? "damaged" : "gone",
             there ? fmt::format(" (the old one is {}.damaged)", file.filename().string()) : "");
  say_what_was_lost(rebuilt);
  return rebuilt;
}

}  // namespace

Progress read_progress(const Workspace& workspace) {
  // It is written whole or not at all: only to rebuild it, others must wait.
  if (const std::optional<Progress> progress = parse_progress(read_if_there(workspace.progress_file()))) return *progress;
  const FileLock lock(workspace.lock_file());
  return read_or_rebuild(workspace);
}

Progress change_progress(const Workspace& workspace, const std::function<void(Progress&)>& change) {
  const FileLock lock(workspace.lock_file());
  const Progress before = read_or_rebuild(workspace);
  Progress progress = before;
  change(progress);
  if (progress != before) write_progress(workspace, progress);
  return progress;
}

std::string now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

}  // namespace tito
