// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/idx.h"

#include <zlib.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "tinytorch/data/idx_header.h"

namespace tinytorch {

namespace {

// A file that is unpacked while it is read, if it is compressed.
class PackedFile {
 public:
  explicit PackedFile(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    TORCH_CHECK(file_ != nullptr && !std::filesystem::is_directory(path), "cannot open ", path, ": ", file_ != nullptr ? "it is a folder" : std::strerror(errno),
                "\n[read_idx] check the path; a relative one starts at ", std::filesystem::current_path().string());
  }

  // Reads up to `count` bytes; fewer at the end of the file. Throws if the compressed data is damaged.
  std::int64_t read_some(char* to, std::int64_t count) {
    std::int64_t done = 0;
    while (done < count) {
      const auto piece = static_cast<unsigned>(std::min<std::int64_t>(count - done, std::int64_t{1} << 30));
      const int got = gzread(file_.get(), to + done, piece);
      int error = Z_OK;
      const char* const message = gzerror(file_.get(), &error);
      TORCH_CHECK(got >= 0 && (error == Z_OK || error == Z_STREAM_END), path_, ": the compressed data is damaged or cut off (", message, ")\n[read_idx] fetch it again");
      if (got == 0) break;
      done += got;
    }
    return done;
  }

  void read(char* to, std::int64_t count, const char* what) {
    const std::int64_t got = read_some(to, count);
    TORCH_CHECK(got == count, path_, ": the file is cut off: it ends after ", got, " of ", count, " bytes of its ", what, "\n[read_idx] fetch it again");
  }

  // The most bytes that the file can hold when unpacked.
  std::int64_t capacity() const {
    constexpr std::int64_t best_ratio = 1032;  // of deflate; see zlib's "Technical Details"
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
    return gzdirect(file_.get()) != 0 ? bytes : bytes * best_ratio;
  }

 private:
  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

}  // namespace

Tensor data::read_idx(const std::string& path) {
  PackedFile file(path);
  std::string bytes(4, '\0');
  file.read(bytes.data(), 4, "header");
  // The fourth byte counts the dimensions, so the header has at most 4 + 4 x 255 bytes. A file that is not IDX ends at the magic number.
  const auto dims = static_cast<unsigned char>(bytes[3]);
  if (bytes[0] == 0 && bytes[1] == 0) {
    bytes.resize(4 + 4 * std::size_t{dims});
    file.read(bytes.data() + 4, 4 * std::int64_t{dims}, "header");
  }
  const detail::IdxHeader header = detail::parse_idx_header(bytes, file.capacity() - static_cast<std::int64_t>(bytes.size()), path);

  const Tensor values = empty(header.sizes, header.type);
  file.read(static_cast<char*>(values.data_ptr()), header.nbytes, "values");
  char more = 0;
  TORCH_CHECK(file.read_some(&more, 1) == 0, path, ": the file goes on after the ", header.nbytes, " bytes that its header announces\n[read_idx] the header is damaged: fetch it again");

  // To the byte order of this machine.
  const auto width = static_cast<std::ptrdiff_t>(values.element_size());
  if (width > 1) {
    char* const first = static_cast<char*>(values.data_ptr());
    for (char* element = first; element < first + header.nbytes; element += width) std::reverse(element, element + width);
  }
  return values;
}

}  // namespace tinytorch
