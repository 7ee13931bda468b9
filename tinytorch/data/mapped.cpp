// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/mapped.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstring>

#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/idx_header.h"

namespace tinytorch {

namespace {

// An open file, for reading.
class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : path_(path), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    TORCH_CHECK(file_ >= 0, "cannot open ", path, ": ", std::strerror(errno), "\n[map_file] check the path");
    struct stat status {};
    const bool known = fstat(file_, &status) == 0;
    if (!known || !S_ISREG(status.st_mode)) {
      close(file_);
      throw Error("cannot map " + path + ": it is not a regular file\n[map_file] a folder, pipe or device cannot be mapped");
    }
    bytes_ = status.st_size;
  }
  ~OpenFile() { close(file_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  std::int64_t bytes() const { return bytes_; }

  // Up to `count` bytes from the beginning; fewer if the file is shorter.
  std::string head(std::size_t count) const {
    std::string bytes(count, '\0');
    const ssize_t got = pread(file_, bytes.data(), count, 0);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }

  // The whole file, private to this process.
  void* map() const {
    void* const address = mmap(nullptr, static_cast<std::size_t>(bytes_), PROT_READ | PROT_WRITE, MAP_PRIVATE, file_, 0);
    TORCH_CHECK(address != MAP_FAILED, "cannot map ", path_, ": ", std::strerror(errno));
    return address;
  }

 private:
  std::string path_;
  int file_;
  std::int64_t bytes_ = 0;
};

// The bytes of `sizes` values; throws if a size is negative or the product does not fit into 64 bits.
std::int64_t bytes_of(IntArrayRef sizes, ScalarType dtype) {
  auto bytes = static_cast<std::int64_t>(elementSize(dtype));
  for (const std::int64_t size : sizes)
    TORCH_CHECK_VALUE(size >= 0 && !__builtin_mul_overflow(bytes, size, &bytes), "map_file: sizes ", sizes, " are negative or too large");
  return bytes;
}

}  // namespace

Tensor data::map_file(const std::string& path, IntArrayRef sizes, ScalarType dtype, std::int64_t offset) {
  const OpenFile file(path);
  const std::int64_t bytes = bytes_of(sizes, dtype);
  TORCH_CHECK_VALUE(offset >= 0 && offset % static_cast<std::int64_t>(elementSize(dtype)) == 0, "map_file: offset ", offset, " is not a multiple of the ",
                    elementSize(dtype), " bytes of ", dtype);
  TORCH_CHECK(offset <= file.bytes() && bytes <= file.bytes() - offset, path, ": the file is cut off: ", sizes, " of ", dtype, " from byte ", offset, " on need ", bytes,
              " bytes, the file has ", file.bytes(), "\n[map_file] check the sizes, or fetch the file again");
  if (bytes == 0) return empty(sizes, dtype);
  void* const address = file.map();
  const auto length = static_cast<std::size_t>(file.bytes());
  return from_blob(static_cast<char*>(address) + offset, sizes, [address, length](void*) { munmap(address, length); }, dtype);
}

Tensor data::map_idx(const std::string& path) {
  const OpenFile file(path);
  std::string bytes = file.head(4 + 4 * 255);
  TORCH_CHECK(!bytes.starts_with("\x1f\x8b"), path, ": a compressed file cannot be mapped\n[map_idx] unpack it with gunzip, or use read_idx");
  const std::size_t header_bytes = bytes.size() < 4 ? 4 : 4 + 4 * std::size_t{static_cast<unsigned char>(bytes[3])};
  TORCH_CHECK(bytes.size() >= header_bytes, path, ": the file is cut off: it ends after ", bytes.size(), " bytes, within its header\n[map_idx] fetch it again");
  bytes.resize(header_bytes);
  const detail::IdxHeader header = detail::parse_idx_header(bytes, file.bytes() - static_cast<std::int64_t>(header_bytes), path);
  TORCH_CHECK(elementSize(header.type) == 1, path, ": values of ", header.type, " stand in the other byte order and cannot be mapped\n[map_idx] use read_idx");
  return map_file(path, header.sizes, header.type, static_cast<std::int64_t>(header_bytes));
}

}  // namespace tinytorch
