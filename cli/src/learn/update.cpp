#include "learn/update.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "learn/merge.h"
#include "learn/text_files.h"

namespace tito {
namespace {

// The decided update stands in one file: written whole or not at all.
fs::path journal(const Workspace& workspace) { return workspace.root() / ".tito/update.json"; }

bool is_lesson(const std::string& path) { return path.starts_with("modules/") && path.ends_with("_dev.cpp"); }

bool is_readable_lesson(const fs::path& file, const std::string& text, std::string& why_not) {
  try {
    parse_module(file, text, Edition::Student);
    return true;
  } catch (const Diagnostic& error) {
    why_not = error.message;
    return false;
  }
}

void merge_lesson(const Workspace& workspace, const std::string& path, const std::string& course_text, bool keep_mine, Update& update) {
  const std::string folder = fs::path(path).parent_path().filename().string();
  const std::string base = read_if_there(workspace.handed_out_file(folder));
  const std::string mine = read_if_there(workspace.root() / path);
  if (base == course_text && !mine.empty()) return;
  update.changed_modules.push_back(folder);
  if (mine.empty() || mine == base) {
    update.files[path] = course_text;
    return;
  }
  if (base.empty()) {
    update.conflicts.push_back(fmt::format("{}: there is no handed-out copy to compare it with in .tito/course", path));
    return;
  }
  Merged merged;
  try {
    merged = merge_lessons(base, mine, course_text);
  } catch (const Diagnostic& error) {
    update.conflicts.push_back(fmt::format("{}:{}: cannot be read as a lesson ({}); mend that first", path, error.line, error.message));
    return;
  }
  for (const MergeConflict& conflict : merged.conflicts) {
    if (!keep_mine) update.conflicts.push_back(fmt::format("{}:{}: you and the course both changed '{}'", path, conflict.line, conflict.cell));
  }
  std::string why_not;
  std::string ignored;
  if (!is_readable_lesson(workspace.root() / path, merged.text, why_not) && is_readable_lesson(workspace.root() / path, mine, ignored)) {
    update.conflicts.push_back(fmt::format("{}: your changes and the course's do not fit together ({})", path, why_not));
    return;
  }
  if (merged.text != mine) update.files[path] = merged.text;
}

void put(const Workspace& workspace, const nlohmann::json& entry, std::vector<std::string>& kept) {
  const std::string path = entry.at("path");
  const std::string text = entry.at("text");
  const fs::path file = workspace.root() / path;
  const std::string there = read_if_there(file);
  if (there == text) return;
  // Of a lesson that stays old, the handed-out copy stays old too, so that the next update merges it.
  const std::string folder = fs::path(path).parent_path().filename().string();
  const bool lesson_kept = std::any_of(kept.begin(), kept.end(), [&](const std::string& other) {
    return is_lesson(other) && fs::path(other).parent_path().filename() == folder;
  });
  if (lesson_kept && path.starts_with(".tito/course/")) return;
  const bool edited_since = hash_of(there) != entry.at("replaces").get<std::string>();
  if (edited_since) {
    kept.push_back(path);
  } else {
    write_atomically(file, text);
  }
}

}  // namespace

Update plan_update(const Workspace& workspace, bool keep_mine) {
  Update update;
  for (const auto& [path, text] : course_files(workspace.course())) {
    if (is_lesson(path)) {
      merge_lesson(workspace, path, text, keep_mine, update);
    } else if (read_if_there(workspace.root() / path) != text && path != "README.md" && path != ".gitignore") {
      update.files[path] = text;
    }
  }
  return update;
}

void apply_update(const Workspace& workspace, const Update& update) {
  // The handed-out copies come last: while one is old, its lesson would be merged again, not lost.
  std::vector<std::string> paths;
  for (const auto& [path, text] : update.files) paths.push_back(path);
  std::stable_partition(paths.begin(), paths.end(), [](const std::string& path) { return !path.starts_with(".tito/"); });
  nlohmann::ordered_json entries = nlohmann::ordered_json::array();
  for (const std::string& path : paths) {
    entries.push_back({{"path", path}, {"replaces", hash_of(read_if_there(workspace.root() / path))}, {"text", update.files.at(path)}});
  }
  write_atomically(journal(workspace), entries.dump(0, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  finish_update(workspace);
}

std::vector<std::string> finish_update(const Workspace& workspace) {
  std::vector<std::string> kept;
  const fs::path file = journal(workspace);
  if (!fs::exists(file)) return kept;
  const nlohmann::json entries = nlohmann::json::parse(read_text(file), nullptr, false);
  if (entries.is_array()) {
    for (const nlohmann::json& entry : entries) put(workspace, entry, kept);
  }
  fs::remove(file);
  return kept;
}

}  // namespace tito
