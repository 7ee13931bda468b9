#include "build/shared_objects.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "build/ninja.h"
#include "format/cells.h"
#include "learn/text_files.h"

namespace tito {
namespace {

constexpr std::string_view shared_folder = "build/objects";
constexpr std::string_view list_of_used = "objects";  // the beginning of its name
// Another tito may have made it a moment ago, for a stage whose list is not written yet.
constexpr std::chrono::hours kept_anyway{24};

// Files that a stage generates say from which lessons: that is a comment, and compiles to nothing.
std::string without_origin(const std::string& text) {
  const std::size_t begin = text.find("\n// Generated from ");
  return begin == std::string::npos ? text : text.substr(0, begin) + text.substr(text.find('\n', begin + 1));
}

}  // namespace

SharedObjects::SharedObjects(fs::path root, const Package& package, std::string_view same_for_all)
    : root_(std::move(root)), same_for_all_(same_for_all) {
  for (const GeneratedFile& file : package.files) {
    texts_[file.path] = file.text;
    hashes_[file.path] = hash_of(without_origin(file.text));
  }
}

void SharedObjects::add_includes(std::string_view text, std::set<std::string>& seen) const {
  for_each_include(text, [&](std::string_view path) {
    const auto found = texts_.find(path);
    if (found != texts_.end() && seen.insert(found->first).second) add_includes(found->second, seen);
  });
}

std::string SharedObjects::object_of(std::string_view name, std::string_view text, std::string_view flags) {
  std::set<std::string> includes;
  add_includes(text, includes);
  std::string key = fmt::format("{}\n{}\n{}\n{}\n", same_for_all_, flags, name, text);
  for (const std::string& path : includes) key += path + " " + hashes_.at(path) + "\n";
  std::string plain(name);
  std::replace(plain.begin(), plain.end(), '/', '-');
  const std::string object = fmt::format("{}/{}-{}.o", shared_folder, plain, hash_of(key));
  used_.insert(object);
  return object;
}

std::string SharedObjects::object_of_file(const std::string& path, std::string_view flags) { return object_of(path, texts_.at(path), flags); }

void SharedObjects::finish(const fs::path& stage, std::string_view kind) const {
  std::string list;
  for (const std::string& object : used_) list += object + "\n";
  write_if_changed(stage / fmt::format("{}-{}.txt", list_of_used, kind), list);
  if (!fs::is_directory(root_ / shared_folder)) return;
  std::set<std::string> used;
  for (const fs::directory_entry& other : fs::directory_iterator(root_ / "build")) {
    if (!other.is_directory() || other.path().filename() == "objects") continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(other.path())) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(list_of_used) || !name.ends_with(".txt")) continue;
      for (const std::string& object : split_lines(read_text(entry.path()))) used.insert(object);
    }
  }
  std::error_code ignored;
  const fs::file_time_type now = fs::file_time_type::clock::now();
  for (const fs::directory_entry& entry : fs::directory_iterator(root_ / shared_folder)) {
    if (used.contains(fmt::format("{}/{}", shared_folder, entry.path().filename().string()))) continue;
    const fs::file_time_type written = fs::last_write_time(entry.path(), ignored);
    if (!ignored && now - written > kept_anyway) fs::remove(entry.path(), ignored);
  }
}

}  // namespace tito
