// Files that a kill at any moment must not damage.
#pragma once

#include <string>
#include <string_view>

#include "format/cells.h"

namespace tito {

// The file has its old text or the new one, never anything between; the new one is on the disk when this returns.
// Throws std::runtime_error when it cannot be written.
void write_atomically(const fs::path& file, std::string_view text);

// Keeps other processes out while it lives; waits for them first.
class FileLock {
 public:
  explicit FileLock(const fs::path& file);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_;
};

// The text; nothing when there is no such file.
std::string read_if_there(const fs::path& file);

// The paths of all files below a folder, relative to it, sorted.
std::vector<std::string> files_below(const fs::path& folder);

// 16 hexadecimal digits that differ for different texts.
std::string hash_of(std::string_view text);

}  // namespace tito
