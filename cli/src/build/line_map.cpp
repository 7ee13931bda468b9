#include "build/line_map.h"

#include <fmt/core.h>

#include <cctype>
#include <charconv>

namespace tito {
namespace {

bool in_path(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("_./+-").find(c) != std::string_view::npos;
}

bool is_source_name(std::string_view path) { return path.ends_with(".h") || path.ends_with(".cpp"); }

// Reads the number that `text` begins with; returns how many characters it has.
std::size_t read_number(std::string_view text, int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() ? static_cast<std::size_t>(end - text.data()) : 0;
}

// gcc's excerpt "   12 |   code": the position of the number and its length; {0, 0} for other lines.
std::pair<std::size_t, std::size_t> excerpt_number(std::string_view line) {
  const std::size_t start = line.find_first_not_of(' ');
  if (start == std::string_view::npos) return {0, 0};
  int number = 0;
  const std::size_t length = read_number(line.substr(start), number);
  if (length == 0 || line.substr(start + length, 3) != " | ") return {0, 0};
  return {start, length};
}

}  // namespace

void LineMap::add(const fs::path& written, const GeneratedFile& file) {
  if (file.source.empty()) return;
  const fs::path relative = file.source.is_absolute() ? fs::relative(file.source, root_) : file.source;
  files_[written.lexically_normal().string()] = Origin{relative.string(), file.origin};
}

const LineMap::Origin* LineMap::origin_of(std::string_view file) const {
  std::string path = fs::path(file).lexically_normal().string();
  const std::string prefix = root_.string() + "/";
  if (path.starts_with(prefix)) path.erase(0, prefix.size());
  while (path.starts_with("../")) path.erase(0, 3);  // from a build folder
  // The rest of a path with a blank in it, or of another folder that the compiler's cache has seen.
  const std::size_t stage = path.find("build/stage");
  if (stage != std::string::npos) path.erase(0, stage);
  const auto found = files_.find(path);
  return found == files_.end() ? nullptr : &found->second;
}

std::optional<Place> LineMap::find(std::string_view file, int line) const {
  const Origin* origin = origin_of(file);
  if (origin == nullptr || line < 1) return std::nullopt;
  const std::size_t index = static_cast<std::size_t>(line) - 1;
  if (index >= origin->lines.size() || origin->lines[index] == 0) return std::nullopt;
  return Place{origin->source, origin->lines[index]};
}

std::string LineMap::translate(std::string_view text) const {
  std::string out;
  std::string excerpt_file;  // the generated file that the excerpts below a message come from
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;

    if (const auto [at, length] = excerpt_number(line); length > 0 && !excerpt_file.empty()) {
      int number = 0;
      read_number(line.substr(at), number);
      if (const std::optional<Place> place = find(excerpt_file, number)) {
        out += fmt::format("{:>{}}{}\n", place->line, at + length, line.substr(at + length));
        continue;
      }
    }
    std::size_t copied = 0;
    for (std::size_t colon = line.find(':'); colon != std::string_view::npos; colon = line.find(':', colon + 1)) {
      std::size_t first = colon;
      while (first > copied && in_path(line[first - 1])) --first;
      const std::string_view path = line.substr(first, colon - first);
      int number = 0;
      const std::size_t digits = read_number(line.substr(colon + 1), number);
      if (digits == 0 || path.empty()) continue;
      excerpt_file = path;
      if (!is_source_name(path)) continue;
      const std::optional<Place> place = find(path, number);
      if (!place) continue;
      out += line.substr(copied, first - copied);
      out += fmt::format("{}:{}", place->file, place->line);
      copied = colon + 1 + digits;
    }
    out += line.substr(copied);
    out += '\n';
  }
  return out;
}

}  // namespace tito
