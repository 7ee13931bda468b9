#include "learn/lessons.h"

#include <stdexcept>

#include "learn/text_files.h"

namespace tito {

bool is_complete(const Progress& progress, const std::string& folder) {
  const auto found = progress.modules.find(folder);
  return found != progress.modules.end() && !found->second.completed.empty();
}

bool is_started(const Progress& progress, const std::string& folder) {
  const auto found = progress.modules.find(folder);
  return found != progress.modules.end() && !found->second.started.empty();
}

std::optional<std::string> next_lesson(const Workspace& workspace, const Progress& progress) {
  for (const std::string& folder : workspace.folders()) {
    if (!is_complete(progress, folder)) return folder;
  }
  return std::nullopt;
}

std::string current_lesson(const Workspace& workspace, const Progress& progress, const std::string& name) {
  if (!name.empty()) return workspace.find(name);
  std::string last;
  for (const std::string& folder : workspace.folders()) {
    const bool open = is_started(progress, folder) && !is_complete(progress, folder);
    if (open && (last.empty() || progress.modules.at(folder).started > progress.modules.at(last).started)) last = folder;
  }
  if (!last.empty()) return last;
  if (const std::optional<std::string> next = next_lesson(workspace, progress)) return *next;
  throw std::runtime_error("all modules are complete; name one, as in 'tito test 05'");
}

std::string readme_paragraph(const Workspace& workspace, const std::string& folder, const std::string& opening) {
  std::string out;
  bool inside = false;
  for (const std::string& line : split_lines(read_if_there(workspace.root() / "modules" / folder / "README.md"))) {
    if (!inside && line.starts_with(opening)) {
      inside = true;
      out = line.substr(opening.size());
    } else if (inside && (line.empty() || line.starts_with("#"))) {
      break;
    } else if (inside) {
      out += " " + line;
    }
  }
  const std::size_t first = out.find_first_not_of(" ");
  return first == std::string::npos ? "" : out.substr(first);
}

std::string learning_pattern(const Workspace& workspace, const std::string& folder) {
  return readme_paragraph(workspace, folder, "## Learning pattern:");
}

}  // namespace tito
