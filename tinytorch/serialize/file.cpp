// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.

#include "tinytorch/serialize/file.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "tinytorch/core/error.h"

namespace tinytorch {

namespace {
// A file descriptor that is closed at the end of its scope.
struct Descriptor {
  explicit Descriptor(int number) : fd(number) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

// Writes all bytes. Returns 0, or the errno of the write that failed.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

void sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor folder(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd >= 0) ::fsync(folder.fd);
}

// Throws the sentence for a save that failed with `error`, after removing what is unfinished.
[[noreturn]] void fail_to_write(const std::string& path, const std::string& unfinished, int error) {
  if (!unfinished.empty()) ::unlink(unfinished.c_str());
  throw Error("cannot write " + path + ": " + std::strerror(error) + "\n[save] " +
              (error == ENOSPC || error == EDQUOT || error == EFBIG ? "there is no room for it; free some space and save again. "
                                                                    : "check the folder and its permissions. ") +
              "What was saved there before is untouched.");
}

// A name beside `path` that no other save uses.
std::string unfinished_name(const std::string& path) {
  static std::atomic<unsigned> count{0};
  return path + ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(count.fetch_add(1));
}
}  // namespace

// Makes `path` (a file, or nothing yet) name a file of `bytes`, by the four steps above. If any of the first three fails, throws by
// fail_to_write() with the errno, with nothing left beside `path`, which still names what it named. O(bytes).
namespace {
void replace_file(const std::string& path, std::string_view bytes) {
  const std::string unfinished = unfinished_name(path);
  const Descriptor file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.fd < 0) fail_to_write(path, "", errno);
  if (const int error = write_all(file.fd, bytes)) fail_to_write(path, unfinished, error);
  if (::fsync(file.fd) != 0) fail_to_write(path, unfinished, errno);
  if (::rename(unfinished.c_str(), path.c_str()) != 0) fail_to_write(path, unfinished, errno);
  sync_folder_of(path);
}
}  // namespace

void serialize::write_file_atomically(const std::string& path, std::string_view bytes) {
  // What a link points to is replaced, not the link.
  std::error_code missing;
  const std::filesystem::path resolved = std::filesystem::canonical(path, missing);
  const std::string target = missing ? path : resolved.string();
  struct stat status {};
  if (::stat(target.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return replace_file(target, bytes);
  if (S_ISDIR(status.st_mode)) fail_to_write(path, "", EISDIR);
  const Descriptor device(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
  if (device.fd < 0) fail_to_write(path, "", errno);
  if (const int error = write_all(device.fd, bytes)) fail_to_write(path, "", error);
}

std::string serialize::read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0 || S_ISDIR(status.st_mode)) {
    const int error = file.fd >= 0 && S_ISDIR(status.st_mode) ? EISDIR : errno;
    throw Error("open file failed because of errno " + std::to_string(error) + " on fopen: " + std::strerror(error) + ", file path: " + path +
                "\n[load] check the path; relative paths begin at the current folder.");
  }
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    TORCH_CHECK(count >= 0, "cannot read ", path, ": ", std::strerror(errno));
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace tinytorch
