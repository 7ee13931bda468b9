#include "learn/update.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "learn/handed_out.h"
#include "learn/merge.h"
#include "learn/text_files.h"

namespace tito {
namespace {

// The decided update stands in one file: written whole or not at all.
fs::path journal(const Workspace& workspace) { return workspace.root() / ".tito/update.json"; }

bool is_ours(const std::string& path) { return path.starts_with(".tito/"); }
bool is_lesson(const std::string& path) { return path.starts_with("modules/") && path.ends_with("_dev.cpp"); }
// Numbers of two are not put together, and what was never text is not either.
bool has_lines(const std::string& path) { return !path.starts_with("data/"); }

std::string folder_of(const std::string& path) { return fs::path(path).parent_path().filename().string(); }

std::string yours_stays(const std::string& path) {
  return fmt::format("{} is not as it was handed out, so yours stays; the course's is {}", path, handed_out_path(path));
}

bool is_readable_lesson(const fs::path& file, const std::string& text, std::string& why_not) {
  try {
    parse_module(file, text, Edition::Student);
    return true;
  } catch (const Diagnostic& error) {
    why_not = error.message;
    return false;
  }
}

// One file of the workspace that the course has too, on its three sides.
struct Sides {
  std::string path;
  HandedOut base;
  std::string mine;
  std::string course;
};

// Both sides changed a lesson.
void merge_lesson(const Workspace& workspace, const Sides& file, bool keep_mine, Update& update) {
  if (file.base.text.empty()) {
    const std::string why = file.base.complaint.empty() ? "there is no handed-out copy to compare it with in .tito/course" : file.base.complaint;
    if (keep_mine) update.kept.push_back(yours_stays(file.path));
    else update.conflicts.push_back(fmt::format("{}: {}", file.path, why));
    return;
  }
  update.changed_modules.push_back(folder_of(file.path));
  Merged merged;
  try {
    merged = merge_lessons(file.base.text, file.mine, file.course);
  } catch (const Diagnostic& error) {
    update.conflicts.push_back(fmt::format("{}:{}: cannot be read as a lesson ({}); mend that first", file.path, error.line, error.message));
    return;
  }
  for (const MergeConflict& conflict : merged.conflicts) {
    if (!keep_mine) update.conflicts.push_back(fmt::format("{}:{}: you and the course both changed '{}'", file.path, conflict.line, conflict.cell));
  }
  const fs::path name = workspace.root() / file.path;
  std::string why_not;
  std::string ignored;
  if (!is_readable_lesson(name, merged.text, why_not) && is_readable_lesson(name, file.mine, ignored)) {
    update.conflicts.push_back(fmt::format("{}: your changes and the course's do not fit together ({})", file.path, why_not));
    return;
  }
  if (merged.text != file.mine) update.files[file.path] = merged.text;
}

// Both sides changed another file: where their lines do not fit together, the learner's stay.
void merge_text(const Sides& file, Update& update) {
  const bool comparable = has_lines(file.path) && file.base.complaint.empty();
  const std::optional<std::vector<std::string>> lines =
      comparable ? merge_lines(split_lines(file.base.text), split_lines(file.mine), split_lines(file.course)) : std::nullopt;
  if (lines) update.files[file.path] = join_lines(*lines);
  else update.kept.push_back(yours_stays(file.path));
}

void plan_file(const Workspace& workspace, const std::string& path, const std::string& course_text, bool keep_mine, Update& update) {
  const fs::path name = workspace.root() / path;
  const bool there = fs::exists(name);
  const Sides file{path, read_handed_out(workspace, handed_out_path(path)), read_if_there(name), course_text};
  if (there && file.mine == course_text) return;
  const bool known = file.base.complaint.empty();
  if (there && known && file.base.text == course_text) return;  // only the learner changed it
  if (!there || (known && file.mine == file.base.text)) {
    update.files[path] = course_text;
    if (is_lesson(path)) update.changed_modules.push_back(folder_of(path));
  } else if (is_lesson(path)) {
    merge_lesson(workspace, file, keep_mine, update);
  } else {
    merge_text(file, update);
  }
}

// JSON has no bytes, and data files are not always text: each byte becomes the character of its number.
std::string as_characters(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) out += static_cast<char>(0xC0 | byte >> 6);
    out += static_cast<char>(byte < 0x80 ? byte : 0x80 | (byte & 0x3F));
  }
  return out;
}

std::string as_bytes(const std::string& characters) {
  std::string out;
  for (std::size_t i = 0; i < characters.size(); ++i) {
    const auto byte = static_cast<unsigned char>(characters[i]);
    if (byte < 0x80 || i + 1 == characters.size()) out += characters[i];
    else out += static_cast<char>((byte & 0x03) << 6 | (static_cast<unsigned char>(characters[++i]) & 0x3F));
  }
  return out;
}

std::string as_text(const nlohmann::ordered_json& entries) {
  const std::string dumped = entries.dump(0);
  return fmt::format("{}\n{}", hash_of(dumped), dumped);
}

// What as_text has written; nothing when it is damaged.
std::optional<nlohmann::json> parse_journal(const std::string& text) {
  const std::size_t first = text.find('\n');
  if (first == std::string::npos || text.substr(0, first) != hash_of(std::string_view(text).substr(first + 1))) return std::nullopt;
  const nlohmann::json entries = nlohmann::json::parse(text.substr(first + 1), nullptr, false);
  return entries.is_array() ? std::optional(entries) : std::nullopt;
}

// The file gets its new text. Of one that was edited since and stays old, the handed-out copy stays old too, so that the next
// update merges it.
void put(const Workspace& workspace, const nlohmann::json& entry, std::vector<std::string>& kept, Checksums& checksums) {
  const std::string path = entry.at("path");
  const std::string text = as_bytes(entry.at("text"));
  const bool stays_old = std::any_of(kept.begin(), kept.end(), [&](const std::string& other) { return handed_out_path(other) == path; });
  if (stays_old) return;
  const std::string there = read_if_there(workspace.root() / path);
  const bool edited_since = there != text && !is_ours(path) && hash_of(there) != entry.at("replaces").get<std::string>();
  if (edited_since) return kept.push_back(path);
  if (there != text || !fs::exists(workspace.root() / path)) write_atomically(workspace.root() / path, text);
  if (is_ours(path)) checksums[path] = hash_of(text);
}

}  // namespace

Update plan_update(const Workspace& workspace, bool keep_mine) {
  Update update;
  const Checksums checksums = read_checksums(workspace);
  for (const auto& [path, text] : course_files(workspace.course())) {
    if (path == "README.md" || path == ".gitignore") continue;  // made once; then they are the learner's
    if (!is_ours(path)) {
      plan_file(workspace, path, text, keep_mine, update);
      continue;
    }
    const auto known = checksums.find(path);
    const bool is_handed_out = path.starts_with(".tito/course/");
    const bool trusted = !is_handed_out || (known != checksums.end() && known->second == hash_of(text));
    if (!trusted || read_if_there(workspace.root() / path) != text) update.files[path] = text;
  }
  return update;
}

void apply_update(const Workspace& workspace, const Update& update) {
  // The handed-out copies come last: while one is old, its lesson would be merged again, not lost.
  std::vector<std::string> paths;
  for (const auto& [path, text] : update.files) paths.push_back(path);
  std::stable_partition(paths.begin(), paths.end(), [](const std::string& path) { return !is_ours(path); });
  nlohmann::ordered_json entries = nlohmann::ordered_json::array();
  for (const std::string& path : paths) {
    entries.push_back({{"path", path},
                       {"replaces", hash_of(read_if_there(workspace.root() / path))},
                       {"text", as_characters(update.files.at(path))}});
  }
  write_atomically(journal(workspace), as_text(entries));
  finish_update(workspace);
}

std::vector<std::string> finish_update(const Workspace& workspace) {
  std::vector<std::string> kept;
  const fs::path file = journal(workspace);
  if (!fs::exists(file)) return kept;
  const FileLock lock(workspace.lock_file());
  if (!fs::exists(file)) return kept;  // another tito was quicker
  const std::string text = read_text(file);
  const std::optional<nlohmann::json> entries = parse_journal(text);
  if (!entries) {
    fs::rename(file, file.string() + ".damaged");
    fmt::print(stderr, "An update was cut off, and what it had decided is damaged (.tito/update.json.damaged); 'tito update' does it again.\n");
    return kept;
  }
  Checksums checksums = read_checksums(workspace);
  for (const nlohmann::json& entry : *entries) put(workspace, entry, kept, checksums);
  write_checksums(workspace.root(), checksums);
  fs::remove(file);
  return kept;
}

}  // namespace tito
