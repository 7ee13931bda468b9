// A folder or a file for the time of a test, or of a demonstration.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace tito {

// A folder of its own, removed with all that is in it.
class Scratch {
 public:
  Scratch() : folder_((std::filesystem::temp_directory_path() / "tinytorch-XXXXXX").string()) {
    if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("cannot make the folder " + folder_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& path() const { return folder_; }
  // Where the file `name` is, or would be.
  std::string path(std::string_view name) const { return folder_ + "/" + std::string(name); }
  // Writes a file; returns where it is.
  std::string write(std::string_view name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  // How many files and folders there are in it.
  std::size_t files() const {
    const auto all = std::filesystem::directory_iterator(folder_);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

 private:
  std::string folder_;
};

// A file that holds `bytes`.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view bytes) : path_(folder_.write("file", bytes)) {}
  const std::string& path() const { return path_; }

 private:
  Scratch folder_;
  std::string path_;
};

}  // namespace tito
