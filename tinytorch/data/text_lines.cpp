// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/text_lines.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace tinytorch {

data::datasets::TextLines::TextLines(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  const bool folder = std::filesystem::is_directory(path);
  TORCH_CHECK(file.is_open() && !folder, "cannot open ", path, ": ", folder ? "it is a folder" : std::strerror(errno),
              "\n[TextLines] check the path; a relative one starts at ", std::filesystem::current_path().string());
  auto lines = std::make_shared<Lines>();
  lines->text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  // A last line without an end counts like the others.
  if (!lines->text.empty() && lines->text.back() != '\n') lines->text += '\n';
  lines->begins.push_back(0);
  for (std::size_t end = lines->text.find('\n'); end != std::string::npos; end = lines->text.find('\n', end + 1)) lines->begins.push_back(end + 1);
  lines_ = std::move(lines);
}

std::string_view data::datasets::TextLines::line(std::size_t index) const {
  TORCH_CHECK_INDEX(index < *size(), "index ", index, " is out of range for a text of ", *size(), " lines");
  const std::size_t begin = lines_->begins[index];
  std::string_view text = std::string_view(lines_->text).substr(begin, lines_->begins[index + 1] - begin - 1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

}  // namespace tinytorch
