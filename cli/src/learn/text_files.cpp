#include "learn/text_files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace tito {
namespace {

[[noreturn]] void fail(const fs::path& file, int error) {
  throw std::runtime_error(fmt::format("cannot write {}: {}", file.string(), std::generic_category().message(error)));
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace

void write_atomically(const fs::path& file, std::string_view text) {
  if (!file.parent_path().empty()) fs::create_directories(file.parent_path());
  const fs::path partial = fmt::format("{}.{}.partial", file.string(), getpid());
  const int out = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (out < 0) fail(file, errno);
  const bool written = write_all(out, text) && fsync(out) == 0;
  const int error = errno;
  close(out);
  if (!written || std::rename(partial.c_str(), file.c_str()) != 0) {
    const int why = written ? errno : error;
    unlink(partial.c_str());
    fail(file, why);
  }
}

FileLock::FileLock(const fs::path& file) {
  fs::create_directories(file.parent_path());
  file_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail(file, errno);
  while (flock(file_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

FileLock::~FileLock() { close(file_); }

std::string read_if_there(const fs::path& file) { return fs::is_regular_file(file) ? read_text(file) : ""; }

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> out;
  if (!fs::is_directory(folder)) return out;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) out.push_back(entry.path().lexically_relative(folder).generic_string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return fmt::format("{:016x}", hash);
}

}  // namespace tito
