#include "learn/handed_out.h"

#include <fmt/core.h>

#include <optional>

#include "learn/text_files.h"

namespace tito {
namespace {

constexpr std::string_view course_copies = ".tito/course/";

fs::path checksums_file(const fs::path& root) { return root / ".tito/course/checksums.txt"; }

// The first line is the checksum of the others.
std::optional<Checksums> parse_checksums(const std::string& text) {
  const std::size_t first = text.find('\n');
  if (first == std::string::npos || text.substr(0, first) != hash_of(std::string_view(text).substr(first + 1))) return std::nullopt;
  Checksums out;
  for (const std::string& line : split_lines(text.substr(first + 1))) {
    const std::size_t space = line.find("  ");
    if (space != std::string::npos) out[line.substr(space + 2)] = line.substr(0, space);
  }
  return out;
}

Checksums rebuilt_checksums(const Workspace& workspace) {
  Checksums out;
  std::string unknown;
  for (const auto& [path, text] : course_files(workspace.course())) {
    if (!path.starts_with(course_copies)) continue;
    if (read_if_there(workspace.root() / path) == text) out[path] = hash_of(text);
    else unknown += "\n  " + path;
  }
  write_checksums(workspace.root(), out);
  if (unknown.empty()) {
    fmt::print(stderr, "The checksums in .tito/course were damaged; they were made anew: all is as the course has it.\n");
  } else {
    fmt::print(stderr, "The checksums in .tito/course were damaged. Of these files nobody knows whether they are older than the course or damaged:{}\n"
                       "'tito update --mine' keeps your work and takes the course's copies.\n", unknown);
  }
  return out;
}

}  // namespace

std::string handed_out_path(const std::string& path) {
  constexpr std::string_view modules = "modules/";
  return std::string(course_copies) + (path.starts_with(modules) ? path.substr(modules.size()) : path);
}

void write_checksums(const fs::path& root, const Checksums& checksums) {
  std::string lines;
  for (const auto& [path, checksum] : checksums) lines += checksum + "  " + path + "\n";
  write_atomically(checksums_file(root), hash_of(lines) + "\n" + lines);
}

Checksums read_checksums(const Workspace& workspace) {
  if (std::optional<Checksums> checksums = parse_checksums(read_if_there(checksums_file(workspace.root())))) return *checksums;
  return rebuilt_checksums(workspace);
}

HandedOut read_handed_out(const Workspace& workspace, const std::string& path) {
  const fs::path file = workspace.root() / path;
  const std::string text = read_if_there(file);
  const Checksums checksums = read_checksums(workspace);
  const auto known = checksums.find(path);
  if (known != checksums.end() && hash_of(text) == known->second) return {text, ""};
  if (known == checksums.end() && text.empty()) return {};
  if (known != checksums.end()) {
    const std::map<std::string, std::string> course = course_files(workspace.course());
    const auto same = course.find(path);
    if (same != course.end() && hash_of(same->second) == known->second) {
      write_atomically(file, same->second);
      fmt::print(stderr, "{} was damaged; it was written anew from the course.\n", path);
      return {same->second, ""};
    }
  }
  return {"", fmt::format("{} does not fit its checksum, and the course has another version now: 'tito update --mine' keeps your work and takes the course's copy", path)};
}

std::string handed_out_lesson(const Workspace& workspace, const std::string& folder) {
  const std::string path = workspace.handed_out_file(folder).lexically_relative(workspace.root()).generic_string();
  const HandedOut lesson = read_handed_out(workspace, path);
  if (!lesson.complaint.empty()) throw std::runtime_error(lesson.complaint);
  if (lesson.text.empty()) {
    throw std::runtime_error(fmt::format("{} is gone: 'tito update --mine' keeps your work and takes the course's copy", path));
  }
  return lesson.text;
}

std::vector<KnownMistake> handed_out_mistakes(const Workspace& workspace, const std::string& folder) {
  const fs::path file = workspace.mistakes_file(folder);
  const HandedOut mistakes = read_handed_out(workspace, file.lexically_relative(workspace.root()).generic_string());
  if (mistakes.complaint.empty()) return read_known_mistakes(file);
  fmt::print(stderr, "{}\n", mistakes.complaint);
  return {};
}

}  // namespace tito
