// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 94: Data files and pipelines
//
// Module 07 builds the interfaces and the machinery: dataset, sampler, transform, loader. This chapter puts breadth behind the same interfaces, with the same tools. It has two halves:
// what comes from files, and what stands between a dataset and the loader.
//
//     files                                               pipelines
//     IDX (plain, .gz)     read_idx, MNIST                lambdas as transforms        Lambda, BatchLambda, TensorLambda, Collate
//     raw values, mapped   map_file, map_idx              one dataset for all workers  SharedBatchDataset
//     tables               read_csv, Digits               kept and changed examples    CachedDataset, AugmentedDataset
//     CIFAR-10, binary     CIFAR10                        an epoch saved and resumed   state(), set_state()
//     lines of text        TextLines                      several machines             Distributed{Random,Sequential}Sampler
//                                                         streams                      StreamSampler, StatefulDataLoader

// %%
//| after 07
//| export data/idx.h
#include <string>
#include "tinytorch/core/ops.h"
//| export data/idx.cpp
#include <zlib.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include "tinytorch/data/idx_header.h"
//| export data/mapped.h
#include <cstdint>
#include <string>
#include "tinytorch/core/ops.h"
//| export data/mapped.cpp
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstring>
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/idx_header.h"
//| export data/csv.h
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/ops.h"
//| export data/csv.cpp
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
//| export data/text_lines.h
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/data/datasets.h"
//| export data/text_lines.cpp
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
//| export data/vision.h
#include <cstdint>
#include <optional>
#include <string>
#include <vector>
#include "tinytorch/data/datasets.h"
//| export data/vision.cpp
#include <cmath>
#include <filesystem>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/csv.h"
#include "tinytorch/data/idx.h"
#include "tinytorch/data/mapped.h"
//| export data/lambda.h
#include <functional>
#include <utility>
#include "tinytorch/data/transforms.h"
//| export data/shared.h
#include <memory>
#include <optional>
#include <utility>
#include "tinytorch/data/datasets.h"
//| export data/cache.h
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>
#include "tinytorch/data/datasets.h"
//| export data/augment.h
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>
#include "tinytorch/core/generator.h"
#include "tinytorch/data/datasets.h"
//| export data/augment.cpp
#include <algorithm>
#include <cmath>
#include <numbers>
#include "tinytorch/core/more_ops.h"
//| export data/distributed.h
#include <cstddef>
#include <optional>
#include <vector>
#include "tinytorch/data/samplers.h"
//| export data/distributed.cpp
#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <tuple>
#include <utility>
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/saved_state.h"
//| export data/stream.h
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>
#include "tinytorch/data/dataloader.h"
//| export data/stream.cpp
#include <algorithm>
#include "tinytorch/data/saved_state.h"
//| export data/saved_state.h
#include <cstddef>
#include <cstdint>
#include "tinytorch/data/samplers.h"
//| export data/saved_state.cpp
#include <vector>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

// %%
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <thread>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/dataloader.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

// %%
namespace tinytorch {

// %% [markdown]
// ### IDX files, whole
//
// Module 07's `parse_idx_header` decides whether a header can be true. Here is the rest of the reader. zlib's `gzread` reads plain files as they are and unpacks compressed ones, so one path serves both.

// %%
//| export data/idx.h
namespace data {

// The numbers of an IDX file, plain or compressed by gzip, in the type and shape that its header names.
// Throws Error, one sentence that names the file, if it is missing, is not IDX, is cut off, damaged, or longer than it says;
// nothing is allocated for a size that the file cannot hold. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
Tensor read_idx(const std::string& path);

}  // namespace data

// %%
//| export data/idx.cpp
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

// %%
//| export data/idx.cpp
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

// %%
TEST_CASE("read_idx: plain and compressed, and every way in which a file can be wrong") {
  using namespace std::string_literals;
  const tito::Scratch scratch;
  const std::string good = "\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x01\x02\x03\x04\x05\xff"s;
  const Tensor expected = tensor({{1, 2, 3}, {4, 5, 255}}).to(kByte);
  CHECK_EQ(data::read_idx(scratch.write("good.idx", good)), expected);
  CHECK_EQ(data::read_idx(scratch.write("short.idx", "\0\0\x0B\x01\0\0\0\x02\x01\x00\xff\xfe"s)), tensor({256, -2}).to(kShort));
  // `good`, as `gzip -n` packs it.
  const std::string packed =
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x63\x60\xe0\x60\x62\x60\x60\x00\x61\x66\x46\x26\x66\x16\xd6\xff\x00\xf0\xde\x5f\x21\x12\x00\x00\x00"s;
  CHECK_EQ(data::read_idx(scratch.write("good.idx.gz", packed)), expected);

  CHECK_ERROR(data::read_idx(scratch.path("missing.idx")), "No such file or directory");
  CHECK_ERROR(data::read_idx(scratch.path("")), "it is a folder");
  CHECK_ERROR(data::read_idx(scratch.write("empty.idx", "")), "the file is cut off: it ends after 0 of 4 bytes of its header");
  CHECK_ERROR(data::read_idx(scratch.write("header.idx", good.substr(0, 9))), "of its header");
  CHECK_ERROR(data::read_idx(scratch.write("values.idx", good.substr(0, 16))), "cut off");
  CHECK_ERROR(data::read_idx(scratch.write("long.idx", good + "x")), "the file goes on after the 6 bytes that its header announces");
  CHECK_ERROR(data::read_idx(scratch.write("png.idx", "\x89PNG")), "not an IDX file");
  CHECK_ERROR(data::read_idx(scratch.write("cut.idx.gz", packed.substr(0, 20))), "cut off");
  std::string damaged = packed;
  damaged[25] = static_cast<char>(damaged[25] ^ 0x10);
  CHECK_ERROR(data::read_idx(scratch.write("damaged.idx.gz", damaged)), "damaged");

  // A header that asks for 2^62 bytes: refused before anything is allocated.
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  CHECK_ERROR(data::read_idx(scratch.write("huge.idx", "\0\0\x08\x02\x80\0\0\0\x80\0\0\0abc"s)), "its header is damaged");
  CHECK_EQ(memory::stats().peak, before);
}

// %% [markdown]
// ### Files that are memory already
//
// `read_idx` copies the file into memory before anyone has asked for an example. `mmap` does not: it gives an address range that *is* the file. A page (4 KiB) is fetched when it is touched for the first time, may be
// dropped again when memory is short, and is shared by all processes that map the same file. For a set that is larger than memory, and for a program that needs ten examples of a million, that is the difference.
//
//     read        file --copy--> tensor          all bytes at the start, in every process again
//     map         file <-------- tensor          a page at the first touch, shared by all
//
// The tensor's storage has a deleter which takes the mapping down when the last view is gone. The file must keep its length meanwhile: touching a page that was cut off ends the process (SIGBUS). And nothing is
// converted on the way, so only numbers in this machine's byte order can be mapped: bytes always, the wider types of an IDX file (big-endian) never.

// %%
//| export data/mapped.h
namespace data {

// Values of type `dtype` that stand in the file from byte `offset` on, row by row, in this machine's byte order. O(1): nothing is read before it is touched. Writing into the tensor changes this
// process's view of it and never the file. Throws Error if the file cannot be opened or ends before the last value.
// REQUIRES: the file is not cut short while the tensor lives; `offset` is a multiple of the type's size.
Tensor map_file(const std::string& path, IntArrayRef sizes, ScalarType dtype = kByte, std::int64_t offset = 0);

// The values of an uncompressed IDX file of one-byte numbers, mapped. Throws Error as read_idx does, and for wider types and compressed files.
Tensor map_idx(const std::string& path);

}  // namespace data

// %%
//| export data/mapped.cpp
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

// %%
//| export data/mapped.cpp
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

// %%
TEST_CASE("map_file and map_idx: the file's values, private writes, and files that are too short") {
  using namespace std::string_literals;
  const tito::Scratch scratch;
  const std::string raw = scratch.write("raw", "head"s + "\x01\x00\x00\x00\xff\xff\xff\xff"s);
  Tensor view;
  {
    const Tensor mapped = data::map_file(raw, {2}, kInt, 4);
    CHECK_EQ(mapped, tensor({1, -1}).to(kInt));
    mapped[0] = 9;
    CHECK_EQ(data::map_file(raw, {2}, kInt, 4)[0].item<int>(), 1);  // the file is as it was
    view = mapped[0];
  }
  CHECK_EQ(view.item<int>(), 9);  // the view keeps the mapping
  CHECK_EQ(data::map_file(raw, {0, 3}).numel(), 0);
  CHECK_ERROR(data::map_file(raw, {3}, kInt, 4), "raw: the file is cut off: [3] of Int from byte 4 on need 12 bytes, the file has 12");
  CHECK_ERROR(data::map_file(raw, {1}, kInt, 100), "cut off");
  CHECK_THROWS_AS(data::map_file(raw, {1}, kInt, 2), ValueError);
  CHECK_THROWS_AS(data::map_file(raw, {std::int64_t{1} << 62, 4}), ValueError);
  CHECK_ERROR(data::map_file(scratch.path("missing"), {1}), "No such file or directory");
  CHECK_ERROR(data::map_file(scratch.path(""), {1}), "it is not a regular file");

  const std::string good = "\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x01\x02\x03\x04\x05\xff"s;
  const std::string path = scratch.write("good.idx", good);
  CHECK_EQ(data::map_idx(path), data::read_idx(path));
  CHECK_ERROR(data::map_idx(scratch.write("short.idx", good.substr(0, 15))), "cut off");
  CHECK_ERROR(data::map_idx(scratch.write("header.idx", good.substr(0, 7))), "within its header");
  CHECK_ERROR(data::map_idx(scratch.write("wide.idx", "\0\0\x0B\x01\0\0\0\x01\0\x01"s)), "cannot be mapped");
  CHECK_ERROR(data::map_idx(scratch.write("packed.idx.gz", "\x1f\x8b\x08"s)), "a compressed file cannot be mapped");
}

// %%
DEMO("64 MiB of a file: read whole, and mapped") {
  const tito::Scratch scratch;
  const std::string path = scratch.write("values", std::string(std::size_t{64} << 20, 'x'));
  const std::int64_t rows = 16384;  // of a page each
  const auto growth = [](auto use) {
    const std::int64_t before = resident_bytes();
    const Tensor kept = use();
    return format_bytes(std::max<std::int64_t>(0, resident_bytes() - before));
  };
  const auto touch = [](const Tensor& mapped, std::int64_t count) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += mapped.data_ptr<std::uint8_t>()[i * 64 * 4096];
    do_not_optimize(sum);
    return mapped;
  };
  std::cout << "memory that the process holds more than before\n"
            << "  read                    " << growth([&] {
                 const Tensor copy = empty({rows, 4096}, kByte);
                 std::ifstream(path, std::ios::binary).read(static_cast<char*>(copy.data_ptr()), static_cast<std::streamsize>(copy.nbytes()));
                 return copy;
               })
            << "\n  mapped                  " << growth([&] { return data::map_file(path, {rows, 4096}); })
            << "\n  mapped, 256 rows used   " << growth([&] { return touch(data::map_file(path, {rows, 4096}), 256); })
            << "   (the system fetches some pages around each one that is touched)\n";
}

// %% [markdown]
// ### Tables of numbers
//
// CSV is the other format that everyone meets. It has no header that counts anything, so nothing is known before the last line is read,
// and its errors are those of people: a missing value, a column too many, a decimal comma. An error therefore says *where*: line and column,
// and the column's name if there are names.
//
//     height,width,label        <- names, if header(true)
//     1.5,2.0,0                 <- line 2: three values for three names
//     1.7,x,1                   <- iris.csv:3: column 2 (width): 'x' is not a number
//
// How to read it fast is no secret but worth measuring (Part 2): the obvious `std::getline` with `std::stringstream` and `std::stod` makes a
// string for each value and asks for the locale each time. `std::from_chars` reads a number where it stands.

// %%
//| export data/csv.h
namespace data {

// How a table is written; setters chain: CsvOptions().delimiter(';').header(true).
struct CsvOptions {
  // Between values; spaces and tabs around a value never count.
  TORCH_ARG(char, delimiter) = ',';
  // Whether the first line has the names of the columns.
  TORCH_ARG(bool, header) = false;
  // What an empty value means, NaN for instance; without it an empty value is an error.
  TORCH_ARG(std::optional<double>, missing);
  // The names of columns that hold words, not numbers. Each new word gets the next number: 0, 1, 2, ...
  TORCH_ARG(std::vector<std::string>, categories);
};

// A table of numbers.
struct CsvTable {
  std::vector<std::string> names;  // empty without a header
  Tensor values;                   // (rows, columns), Double
  // For each column of words: word number i stands in `values` as i.
  std::map<std::string, std::vector<std::string>> categories;

  // The place of a column, and the column as a view (rows). Throw IndexError if none has this name.
  std::size_t index(const std::string& name) const;
  Tensor column(const std::string& name) const { return values.select(1, static_cast<std::int64_t>(index(name))); }
};

// Reads lines of numbers (and of words, where the options name their columns); a value may stand in double quotes, on one line, without quotes inside. Empty lines do not count. Throws Error
// that names file, line and column for anything but a number, and for a line with more or fewer values than the first; IndexError for a category that is no column.
CsvTable read_csv(const std::string& path, const CsvOptions& options = CsvOptions());

}  // namespace data

// %%
//| export data/csv.cpp
namespace {

// Walks over the values of a line.
class CsvLine {
 public:
  CsvLine(std::string_view line, char delimiter) : rest_(line), delimiter_(delimiter) {}
  bool done() const { return done_; }

  // The next value, without the blanks and quotes around it. A quote that is not closed, or closed before the value ends, is part of it.
  std::string_view next() {
    skip_blanks();
    const char* const start = rest_.data();
    std::string_view value;
    const std::size_t close = rest_.starts_with('"') ? rest_.find('"', 1) : std::string_view::npos;
    const bool quoted = close != std::string_view::npos;
    if (quoted) {
      value = rest_.substr(1, close - 1);
      rest_.remove_prefix(close + 1);
      skip_blanks();
    }
    const std::size_t end = std::min(rest_.find(delimiter_), rest_.size());
    if (!quoted || end > 0) value = std::string_view(start, static_cast<std::size_t>(rest_.data() + end - start));
    done_ = end == rest_.size();
    rest_.remove_prefix(std::min(rest_.size(), end + 1));
    while (!value.empty() && is_blank(value.back())) value.remove_suffix(1);
    return value;
  }

 private:
  bool is_blank(char c) const { return (c == ' ' || c == '\t') && c != delimiter_; }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view rest_;
  char delimiter_;
  bool done_ = false;
};

// The number that `text` is, as a whole; nothing if it is none.
std::optional<double> parse_number(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The number of a word: its place among those that came before, or the next one.
double number_of_word(std::string_view word, std::vector<std::string>& known) {
  const auto found = std::find(known.begin(), known.end(), word);
  const auto place = found - known.begin();
  if (found == known.end()) known.emplace_back(word);
  return static_cast<double>(place);
}

// For each column of the table, where its words are kept; null for columns of numbers.
std::vector<std::vector<std::string>*> columns_of_words(data::CsvTable& table, const std::vector<std::string>& categories) {
  std::vector<std::vector<std::string>*> words(table.names.size());
  for (const std::string& name : categories) words[table.index(name)] = &table.categories[name];
  return words;
}

std::string read_text(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  const bool folder = std::filesystem::is_directory(path);
  TORCH_CHECK(file.is_open() && !folder, "cannot open ", path, ": ", folder ? "it is a folder" : std::strerror(errno),
              "\n[read_csv] check the path; a relative one starts at ", std::filesystem::current_path().string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

// %%
//| export data/csv.cpp
data::CsvTable data::read_csv(const std::string& path, const CsvOptions& options) {
  const std::string text = read_text(path);
  CsvTable table;
  std::vector<double> numbers;
  std::int64_t rows = 0;
  std::size_t columns = 0;
  std::vector<std::vector<std::string>*> words;  // for each column, its words; none: it has numbers
  TORCH_CHECK_VALUE(options.header() || options.categories().empty(), "read_csv: categories name columns, which have names only with header(true)");

  // The place of an error: "file:line: column 3 (width)".
  std::int64_t line_number = 0;
  const auto place = [&](std::size_t column) {
    return str(path, ":", line_number, ": column ", column, column <= table.names.size() ? " (" + table.names[column - 1] + ")" : "");
  };

  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // the mark with which some programs begin UTF-8
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;

    CsvLine values(line, options.delimiter());
    if (options.header() && columns == 0) {
      while (!values.done()) table.names.emplace_back(values.next());
      columns = table.names.size();
      words = columns_of_words(table, options.categories());
      continue;
    }
    std::size_t column = 0;
    while (!values.done()) {
      const std::string_view value = values.next();
      ++column;
      TORCH_CHECK(rows == 0 || column <= columns, place(column), ": one value too many\n[read_csv] the lines before have ", columns);
      const bool is_word = column <= words.size() && words[column - 1] != nullptr;
      const std::optional<double> number = value.empty() ? options.missing() : is_word ? number_of_word(value, *words[column - 1]) : parse_number(value);
      TORCH_CHECK(number, place(column), ": '", value, "' is not a number\n[read_csv] ",
                  value.empty() ? "a value is missing" : "all values must be numbers; header(true) skips a line of names");
      numbers.push_back(*number);
    }
    if (columns == 0) columns = column;
    TORCH_CHECK(column == columns, place(column), ": the line has ", column, " values, ", columns, " are expected\n[read_csv] was the file cut off?");
    ++rows;
  }
  TORCH_CHECK(rows > 0, path, ": there are no numbers in it\n[read_csv] the file has ", line_number, " lines");

  table.values = empty({rows, static_cast<std::int64_t>(columns)}, kDouble);
  std::copy(numbers.begin(), numbers.end(), table.values.data<double>());
  return table;
}

// %%
//| export data/csv.cpp
std::size_t data::CsvTable::index(const std::string& name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  TORCH_CHECK_INDEX(found != names.end(), "no column is named '", name, "'\n[CsvTable] the ", names.size(), " names are: ", ArrayRef<std::string>(names));
  return static_cast<std::size_t>(found - names.begin());
}

// %%
TEST_CASE("read_csv: numbers, names, quotes, and where an error is") {
  const tito::Scratch scratch;
  const data::CsvTable plain = data::read_csv(scratch.write("plain.csv", "1,2.5,-3e2\r\n\r\n 4 ,\"5\", +6\n"));
  CHECK_EQ(plain.values, tensor({{1.0, 2.5, -300.0}, {4.0, 5.0, 6.0}}, kDouble));
  CHECK(plain.names.empty());

  const std::string text = "\xef\xbb\xbfheight;\"the; width\"\n1;2\n3;4";
  const data::CsvTable named = data::read_csv(scratch.write("named.csv", text), data::CsvOptions().delimiter(';').header(true));
  CHECK_EQ(named.names, std::vector<std::string>{"height", "the; width"});
  CHECK_EQ(named.column("the; width"), tensor({2.0, 4.0}, kDouble));
  CHECK_ERROR(named.column("depth"), "no column is named 'depth'");

  const auto bad = [&scratch](const char* content, bool header = false) {
    return data::read_csv(scratch.write("bad.csv", content), data::CsvOptions().header(header));
  };
  CHECK_ERROR(bad("a,b\n1,2\n3,x\n", true), "bad.csv:3: column 2 (b): 'x' is not a number");
  CHECK_ERROR(bad("1,2\n3,\n"), "bad.csv:2: column 2: '' is not a number\n[read_csv] a value is missing");
  CHECK_ERROR(bad("1,2\n3,4,5\n"), "bad.csv:2: column 3: one value too many");
  CHECK_ERROR(bad("1,2,3\n4,5\n"), "bad.csv:2: column 2: the line has 2 values, 3 are expected");
  CHECK_ERROR(bad("1,2 3\n"), "column 2: '2 3' is not a number");
  CHECK_ERROR(bad("1,\"2\"x\n"), "column 2: '\"2\"x' is not a number");
  CHECK_ERROR(bad("1,\"2\n"), "column 2: '\"2' is not a number");
  CHECK_ERROR(bad("1,1e999\n"), "'1e999' is not a number");
  CHECK_ERROR(bad("\n \n"), "there are no numbers in it");
  CHECK_ERROR(bad("a,b\n1,2,3\n", true), "column 3: the line has 3 values, 2 are expected");
  CHECK_ERROR(data::read_csv(scratch.path("missing.csv")), "No such file or directory");
}

// %%
TEST_CASE("read_csv: missing values and columns of words") {
  const tito::Scratch scratch;
  const std::string path = scratch.write("iris.csv", "length,species,width\n5.1,setosa,\n,\"virginica\",2\n6,setosa,3\n");
  const auto options = data::CsvOptions().header(true).categories({"species"});
  CHECK_ERROR(data::read_csv(path, options), "iris.csv:2: column 3 (width): '' is not a number");
  const data::CsvTable table = data::read_csv(path, data::CsvOptions(options).missing(-1));
  CHECK_EQ(table.values, tensor({{5.1, 0.0, -1.0}, {-1.0, 1.0, 2.0}, {6.0, 0.0, 3.0}}, kDouble));
  CHECK_EQ(table.categories.at("species"), std::vector<std::string>{"setosa", "virginica"});
  CHECK_ERROR(data::read_csv(path, data::CsvOptions().header(true).missing(0)), "iris.csv:2: column 2 (species): 'setosa' is not a number");
  CHECK_THROWS_AS(data::read_csv(path, data::CsvOptions().header(true).categories({"colour"})), IndexError);
  CHECK_THROWS_AS(data::read_csv(path, data::CsvOptions().categories({"species"})), ValueError);
}

// %% [markdown]
// ### Reading numbers
//
// And the table. v1 below is how a table is usually read for the first time; `read_csv` looks at every character once.

// %%
//| lesson
// The table as a vector, by getline, stringstream and stod. No checks.
std::vector<double> read_csv_v1(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> numbers;
  for (std::string line; std::getline(file, line);) {
    std::stringstream values(line);
    for (std::string value; std::getline(values, value, ',');) numbers.push_back(std::stod(value));
  }
  return numbers;
}

// %%
TEST_CASE("read_csv and its first version read the same numbers") {
  const std::string path = find_data("digits/optdigits.csv");
  const std::vector<double> expected = read_csv_v1(path);
  const Tensor table = data::read_csv(path).values;
  CHECK_EQ(table.sizes(), IntArrayRef({1797, 65}));
  CHECK_EQ(table.flatten(), tensor(expected, kDouble));
}

// %%
DEMO("a table: streams and strings against from_chars") {
  const std::string path = find_data("digits/optdigits.csv");
  const auto bytes = static_cast<double>(std::filesystem::file_size(path));
  const double v1 = measure([&] { do_not_optimize(read_csv_v1(path)); }, {.samples = 5}).median;
  const double v2 = measure([&] { do_not_optimize(data::read_csv(path)); }, {.samples = 5}).median;
  std::cout << std::fixed << std::setprecision(1) << "v1 stringstream, stod  " << std::setw(9) << format_seconds(v1) << std::setw(8) << bytes / v1 / 1e6 << " MB/s\n"
            << "v2 from_chars          " << std::setw(9) << format_seconds(v2) << std::setw(8) << bytes / v2 / 1e6 << " MB/s   " << v1 / v2 << " x\n";
}

// %% [markdown]
// ### Lines of text
//
// A text of a gigabyte is one string and a list of where its lines begin: 8 bytes per line, not a `std::string` of 32 bytes and an
// allocation per line. And since every worker gets a copy of the dataset, both lie behind one `std::shared_ptr`: a copy costs two
// pointers.
//
//     TextLines (worker 0) --+                +--> text    "the first line\nthe second\n..."
//     TextLines (worker 1) --+--> one object -+
//     TextLines (loader)   --+                +--> begins  [0, 15, 26, ...]

// %%
//| export data/text_lines.h
namespace data::datasets {

// The lines of a text file, without their ends (\n or \r\n). Copies share the text.
class TextLines : public Dataset<TextLines, std::string> {
 public:
  // Reads the whole file. Throws Error if it cannot be read.
  explicit TextLines(const std::string& path);
  std::string get(std::size_t index) override { return std::string(line(index)); }
  std::optional<std::size_t> size() const override { return lines_->begins.size() - 1; }
  // Line `index` where it stands; valid as long as a copy of the dataset lives. Throws IndexError.
  std::string_view line(std::size_t index) const;

 private:
  struct Lines {
    std::string text;
    std::vector<std::size_t> begins;  // of each line, and the end of the last
  };
  std::shared_ptr<const Lines> lines_;
};

}  // namespace data::datasets

// %%
//| export data/text_lines.cpp
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

// %%
TEST_CASE("TextLines: lines without their ends, shared by copies") {
  const tito::Scratch scratch;
  data::datasets::TextLines lines(scratch.write("text.txt", "one\n\r\nthree\r\nfour"));
  CHECK_EQ(lines.size().value(), 4);
  CHECK_EQ(lines.get_batch({3, 0}), std::vector<std::string>{"four", "one"});
  CHECK_EQ(lines.get(1), "");
  CHECK_EQ(lines.get(2), "three");
  CHECK_THROWS_AS(lines.get(4), IndexError);
  const data::datasets::TextLines copy = lines;
  CHECK_EQ(static_cast<const void*>(copy.line(0).data()), static_cast<const void*>(lines.line(0).data()));
  CHECK_EQ(data::datasets::TextLines(scratch.write("empty.txt", "")).size().value(), 0);
  CHECK_ERROR(data::datasets::TextLines(scratch.path("missing.txt")), "No such file or directory");
}

// %% [markdown]
// ### Two datasets of handwritten digits
//
// `Digits` ships with the course: 1,797 images of 8 x 8 pixels with 17 grey levels, written by 43 people (Alpaydin and Kaynak, 1998). `MNIST` reads
// LeCun's files, 28 x 28, if you have them (`./tito data get mnist`). Both give images of shape (1, H, W) with values from 0 to 1, and a target from 0 to 9.
//
// What is learnt is judged on examples that were not learnt from, so `Digits` keeps a fifth of its images apart. Which ones must never
// change, or two runs cannot be compared, and they must not be the last fifth, because the file is not in random order. A permutation from a
// generator of its own, with a fixed seed, does both, and leaves the default generator's stream alone:
//
//     file order     0  1  2  3  4  ...  1796
//     randperm       a fixed shuffle, from Generator(seed)
//                    [ first 20 %: test ][ the rest: train ]

// %%
//| export data/vision.h
namespace data {

// Indices of the examples to learn from and of those to judge by: Long, disjoint, together all of 0 ... size - 1.
struct Split {
  Tensor train;
  Tensor test;
};

// A random split that is the same for the same arguments, always. The test part has ceil(size x test_fraction) examples.
// REQUIRES: 0 <= test_fraction <= 1.
Split train_test_split(std::int64_t size, double test_fraction = 0.2, std::uint64_t seed = 0);

}  // namespace data

namespace data::datasets {

// Images (N, 1, H, W) with values in [0, 1], and one class (Long) for each.
class ImageDataset {
 public:
  const Tensor& images() const { return images_; }
  const Tensor& targets() const { return targets_; }

 protected:
  Tensor images_, targets_;
};

// The 8 x 8 handwritten digits of data/digits, a fixed fifth of them for testing.
class Digits : public Dataset<Digits>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  // `path` names the table (64 pixels from 0 to 16, then the class); without it, find_data() looks for it.
  explicit Digits(Mode mode = Mode::kTrain, const std::string& path = "");
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

// LeCun, Cortes and Burges's 28 x 28 digits: 60,000 to learn from, 10,000 to test. `root` is the folder of the IDX files under their original
// names, plain or .gz. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
class MNIST : public Dataset<MNIST>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  explicit MNIST(const std::string& root, Mode mode = Mode::kTrain);
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

}  // namespace data::datasets

// %%
//| export data/vision.cpp
data::Split data::train_test_split(std::int64_t size, double test_fraction, std::uint64_t seed) {
  TORCH_CHECK_VALUE(size >= 0 && test_fraction >= 0 && test_fraction <= 1, "train_test_split needs a fraction from 0 to 1 of a size that is not negative, but got ",
                    test_fraction, " of ", size);
  const Tensor order = randperm(size, Generator(seed));
  const auto test = static_cast<std::int64_t>(std::ceil(static_cast<double>(size) * test_fraction));
  return {order.narrow(0, test, size - test), order.narrow(0, 0, test)};
}

// %%
//| export data/vision.cpp
namespace {

data::Example<> image_example(const data::datasets::ImageDataset& dataset, std::size_t index) {
  const auto i = static_cast<std::int64_t>(index);
  return {dataset.images()[i], dataset.targets()[i]};
}

// Throws unless every target is one of `classes` classes.
void check_classes(const Tensor& targets, std::int64_t classes, const std::string& path) {
  const std::int64_t* const first = targets.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < targets.numel(); ++i)
    TORCH_CHECK(first[i] >= 0 && first[i] < classes, path, ": the class of example ", i, " is ", first[i], ", not one of 0 to ", classes - 1);
}

}  // namespace

data::Example<> data::datasets::Digits::get(std::size_t index) { return image_example(*this, index); }
data::Example<> data::datasets::MNIST::get(std::size_t index) { return image_example(*this, index); }

// %%
//| export data/vision.cpp
data::datasets::Digits::Digits(Mode mode, const std::string& path) : mode_(mode) {
  const std::string file = path.empty() ? find_data("digits/optdigits.csv") : path;
  const Tensor table = read_csv(file).values;
  TORCH_CHECK(table.size(1) == 65, file, ": 65 values a line are expected (64 pixels and the class), but there are ", table.size(1));
  const Tensor targets = table.select(1, 64).to(kLong);
  check_classes(targets, 10, file);

  const Split split = train_test_split(table.size(0));
  const Tensor& chosen = mode == Mode::kTrain ? split.train : split.test;
  images_ = index_select(table.narrow(1, 0, 64), 0, chosen).to(kFloat).div(16).view({-1, 1, 8, 8});
  targets_ = index_select(targets, 0, chosen);
}

// %%
//| export data/vision.cpp
namespace {

// The IDX file of this name, plain or compressed, which must have the magic number `magic`: type Byte in the third byte, dimensions in the last.
Tensor read_mnist_file(const std::string& root, const std::string& name, const char* kind, std::uint32_t magic) {
  std::string path = (std::filesystem::path(root) / name).string();
  if (!std::filesystem::exists(path)) path += ".gz";
  TORCH_CHECK(std::filesystem::exists(path), "Error opening ", kind, " file at ", (std::filesystem::path(root) / name).string(),
              "\n[MNIST] neither this file nor ", name, ".gz is there");
  const Tensor values = data::read_idx(path);
  TORCH_CHECK(values.scalar_type() == kByte && values.dim() == static_cast<std::int64_t>(magic & 0xff), "Expected to read number ", magic, " but found another instead\n[MNIST] ",
              path, " holds ", values.dim(), " dimensions of ", values.scalar_type(), "; is it the ", kind, " file?");
  return values;
}

}  // namespace

// %%
//| export data/vision.cpp
data::datasets::MNIST::MNIST(const std::string& root, Mode mode) : mode_(mode) {
  constexpr std::uint32_t image_magic = 2051;
  constexpr std::uint32_t target_magic = 2049;
  const std::string prefix = mode == Mode::kTrain ? "train" : "t10k";
  const Tensor images = read_mnist_file(root, prefix + "-images-idx3-ubyte", "images", image_magic);
  const Tensor targets = read_mnist_file(root, prefix + "-labels-idx1-ubyte", "targets", target_magic);
  TORCH_CHECK(images.size(1) == 28 && images.size(2) == 28, "Expected images of 28 x 28 pixels but found ", images.size(1), " x ", images.size(2), " in ", root);
  TORCH_CHECK(images.size(0) == targets.size(0), "Expected as many images as targets but found ", images.size(0), " images and ", targets.size(0), " targets in ", root);
  images_ = images.to(kFloat).div_(255).unsqueeze(1);
  targets_ = targets.to(kLong);
  check_classes(targets_, 10, root);
}

// %%
TEST_CASE("train_test_split: disjoint, complete, the same every time, and nobody else's stream is touched") {
  manual_seed(1);
  const std::string stream = default_generator().state();
  const data::Split split = data::train_test_split(11, 0.2);
  CHECK_EQ(split.test.numel(), 3);
  CHECK_EQ(split.train.numel(), 8);
  std::set<std::int64_t> all;
  for (const Tensor& part : {split.train, split.test})
    for (std::int64_t i = 0; i < part.numel(); ++i) all.insert(part[i].item<std::int64_t>());
  CHECK_EQ(all.size(), 11);
  CHECK_EQ(data::train_test_split(11, 0.2).test, split.test);
  CHECK(!data::train_test_split(11, 0.2, 1).train.equal(split.train));
  CHECK_EQ(default_generator().state(), stream);
  CHECK_THROWS_AS(data::train_test_split(5, 1.5), ValueError);
}

// %%
TEST_CASE("Digits: 1,437 images to learn from and 360 to be judged by") {
  data::datasets::Digits train(data::datasets::Digits::Mode::kTrain);
  data::datasets::Digits test(data::datasets::Digits::Mode::kTest);
  CHECK_EQ(train.images().sizes(), IntArrayRef({1437, 1, 8, 8}));
  CHECK_EQ(test.images().sizes(), IntArrayRef({360, 1, 8, 8}));
  CHECK_EQ(train.size().value(), 1437);
  CHECK(train.is_train());
  CHECK_EQ(train.images().amax().item<float>(), 1.0f);
  CHECK_EQ(test.images().neg().amax().item<float>(), 0.0f);
  // The whole file has 182 ones and 174 eights.
  CHECK_EQ((train.targets() == 1).sum().item<std::int64_t>() + (test.targets() == 1).sum().item<std::int64_t>(), 182);
  CHECK_EQ((train.targets() == 8).sum().item<std::int64_t>() + (test.targets() == 8).sum().item<std::int64_t>(), 174);
  const data::Example<> example = test.get(7);
  CHECK_EQ(example.data.sizes(), IntArrayRef({1, 8, 8}));
  CHECK_EQ(example.target.dim(), 0);
  CHECK(example.data.is_alias_of(test.images()));

  const tito::Scratch scratch;
  CHECK_ERROR(data::datasets::Digits(data::datasets::Digits::Mode::kTest, scratch.write("narrow.csv", "1,2,3\n")), "65 values a line are expected");
}

// %%
TEST_CASE("MNIST: files of the original names, and what can be wrong with them") {
  using namespace std::string_literals;
  using data::datasets::MNIST;
  const tito::Scratch scratch;
  const std::string root = scratch.path("");
  CHECK_ERROR(MNIST(root), "Error opening images file at " + scratch.path("train-images-idx3-ubyte"));
  scratch.write("t10k-images-idx3-ubyte", "\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c"s + std::string(784, '\xff') + std::string(784, '\0'));
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "Error opening targets file at ");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x02\x07\x09"s);
  MNIST test(root, MNIST::Mode::kTest);
  CHECK(!test.is_train());
  CHECK_EQ(test.images().sizes(), IntArrayRef({2, 1, 28, 28}));
  CHECK_EQ(test.get(0).data, ones({1, 28, 28}));
  CHECK_EQ(test.targets(), tensor({7, 9}));
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x02\x07\x0a"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "the class of example 1 is 10");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x01\x07"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "2 images and 1 targets");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x02\0\0\0\x01\0\0\0\x01\x07"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "Expected to read number 2049");
}

// %%
TEST_CASE("MNIST: the real test set, if TINYTORCH_DATA names a folder that has it") {
  const char* const folder = std::getenv("TINYTORCH_DATA");
  const std::string root = folder == nullptr ? "" : (std::filesystem::path(folder) / "mnist").string();
  if (folder == nullptr || !std::filesystem::exists(root + "/t10k-images-idx3-ubyte.gz")) {
    MESSAGE("skipped: TINYTORCH_DATA does not name a folder with mnist/t10k-images-idx3-ubyte.gz");
    return;
  }
  const data::datasets::MNIST test(root, data::datasets::MNIST::Mode::kTest);
  CHECK_EQ(test.images().sizes(), IntArrayRef({10000, 1, 28, 28}));
  CHECK_EQ(test.targets().slice(0, 0, 10), tensor({7, 2, 1, 0, 4, 1, 4, 9, 5, 9}));
  CHECK_EQ((test.targets() == 5).sum().item<std::int64_t>(), 892);
  CHECK_CLOSE(test.images().mean().item<double>(), 0.1325, 1e-3, 0);
}

// %% [markdown]
// ### Small photographs
//
// CIFAR-10's binary files have no header at all: one record after the other, a byte for the class and then the red, the green and the blue plane of a 32 x 32 image. The only check is the length, and the classes.
//
//     byte   0        1 ... 1024     1025 ... 2048     2049 ... 3072
//            class    red (32,32)    green (32,32)     blue (32,32)        10,000 records in a file
//
// As floats the 50,000 training images take 614 MB, as bytes 154. So the dataset maps the files, keeps bytes, and makes floats of one example at a time, when it is asked for: the price is 3,072 divisions an
// example, which a worker pays.

// %%
//| export data/vision.h
namespace data::datasets {

// Krizhevsky's 32 x 32 photographs in 10 classes: 50,000 to learn from, 10,000 to test. `root` is the folder of data_batch_1.bin ... test_batch.bin, or the one above it. An example's data is
// (3, 32, 32), Float, from 0 to 1. The files are mapped: they must stay as they are while the dataset lives.
class CIFAR10 : public Dataset<CIFAR10> {
 public:
  enum class Mode { kTrain, kTest };
  explicit CIFAR10(const std::string& root, Mode mode = Mode::kTrain);
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(targets_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }
  const Tensor& targets() const { return targets_; }

 private:
  Mode mode_;
  std::vector<Tensor> records_;           // for each file (N, 3073), Byte
  std::vector<std::int64_t> first_of_;    // the number of its first example
  Tensor targets_;                        // Long
};

}  // namespace data::datasets

// %%
//| export data/vision.cpp
data::datasets::CIFAR10::CIFAR10(const std::string& root, Mode mode) : mode_(mode) {
  constexpr std::int64_t record_bytes = 1 + 3 * 32 * 32;
  const std::filesystem::path below = std::filesystem::path(root) / "cifar-10-batches-bin";
  const std::filesystem::path folder = std::filesystem::exists(below) ? below : std::filesystem::path(root);
  std::vector<std::string> names{"test_batch.bin"};
  if (mode == Mode::kTrain) names = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
  std::vector<Tensor> targets;
  std::int64_t examples = 0;
  for (const std::string& name : names) {
    const std::string path = (folder / name).string();
    TORCH_CHECK(std::filesystem::exists(path), "Error opening images file at ", path, "\n[CIFAR10] ./tito data get cifar10 fetches the files");
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
    TORCH_CHECK(bytes > 0 && bytes % record_bytes == 0, path, ": the file is cut off, or it is not CIFAR-10's binary version: ", bytes, " bytes are no multiple of ", record_bytes,
                "\n[CIFAR10] fetch it again");
    const Tensor records = map_file(path, {bytes / record_bytes, record_bytes});
    targets.push_back(records.select(1, 0).to(kLong));
    check_classes(targets.back(), 10, path);
    records_.push_back(records);
    first_of_.push_back(examples);
    examples += records.size(0);
  }
  targets_ = cat(targets);
}

data::Example<> data::datasets::CIFAR10::get(std::size_t index) {
  const auto i = static_cast<std::int64_t>(index);
  TORCH_CHECK_INDEX(index < *size(), "index ", index, " is out of range for a dataset of ", *size(), " examples");
  std::size_t file = 0;
  while (file + 1 < records_.size() && i >= first_of_[file + 1]) ++file;
  const Tensor pixels = records_[file][i - first_of_[file]].narrow(0, 1, 3 * 32 * 32);
  return {pixels.to(kFloat).div_(255).view({3, 32, 32}), targets_[i]};
}

// %%
TEST_CASE("CIFAR10: records of five files, planes of three colours, and files that cannot be right") {
  using data::datasets::CIFAR10;
  const tito::Scratch scratch;
  const std::string root = scratch.path("");
  CHECK_ERROR(CIFAR10(root), "Error opening images file at ");
  const auto record = [](char target, char red, char blue) { return std::string(1, target) + std::string(1024, red) + std::string(1024, '\0') + std::string(1024, blue); };
  for (int file = 1; file <= 5; ++file)
    scratch.write(str("data_batch_", file, ".bin"), record(static_cast<char>(file), '\xff', static_cast<char>(file)) + record('\0', '\0', '\0'));
  CIFAR10 train(root);
  CHECK(train.is_train());
  CHECK_EQ(train.targets(), tensor({1, 0, 2, 0, 3, 0, 4, 0, 5, 0}));
  const data::Example<> example = train.get(6);
  CHECK_EQ(example.data.sizes(), IntArrayRef({3, 32, 32}));
  CHECK_EQ(example.data[0], ones({32, 32}));
  CHECK_EQ(example.data[1], zeros({32, 32}));
  CHECK_CLOSE(example.data[2], full({32, 32}, 4.0 / 255, kFloat));
  CHECK_EQ(example.target, tensor(4));
  CHECK_THROWS_AS(train.get(10), IndexError);
  scratch.write("test_batch.bin", record('\x0b', 'a', 'b'));
  CHECK_ERROR(CIFAR10(root, CIFAR10::Mode::kTest), "the class of example 0 is 11");
  scratch.write("test_batch.bin", record('\x01', 'a', 'b').substr(1));
  CHECK_ERROR(CIFAR10(root, CIFAR10::Mode::kTest), "3072 bytes are no multiple of 3073");
}

// %% [markdown]
// ### Transforms from functions
//
// A transform of module 07 is a class with one function. For a function that is used once, a lambda is shorter; these classes hold one. The copy in each worker calls it at the same time as the others, so a
// lambda must not change what it captured.

// %%
//| export data/lambda.h
namespace data::transforms {

// A batch transform, or a transform, from a function. Source: torch/data/transforms/lambda.h.
template <class Input, class Output = Input>
class BatchLambda : public BatchTransform<Input, Output> {
 public:
  using FunctionType = std::function<Output(Input)>;
  explicit BatchLambda(FunctionType function) : function_(std::move(function)) {}
  Output apply_batch(Input input_batch) override { return function_(std::move(input_batch)); }

 private:
  FunctionType function_;
};

template <class Input, class Output = Input>
class Lambda : public Transform<Input, Output> {
 public:
  using FunctionType = std::function<Output(Input)>;
  explicit Lambda(FunctionType function) : function_(std::move(function)) {}
  Output apply(Input input) override { return function_(std::move(input)); }

 private:
  FunctionType function_;
};

// Changes the data tensor of each example by a function.
template <class Target = Tensor>
class TensorLambda : public TensorTransform<Target> {
 public:
  using FunctionType = std::function<Tensor(Tensor)>;
  explicit TensorLambda(FunctionType function) : function_(std::move(function)) {}
  Tensor operator()(Tensor input) override { return function_(std::move(input)); }

 private:
  FunctionType function_;
};

// A collation from a function: dataset.map(Collate<Example<>>([](std::vector<Example<>> examples) { ... })).
template <class T, class BatchType = std::vector<T>>
using Collate = BatchLambda<BatchType, T>;

}  // namespace data::transforms

// %%
//| lesson
// Example i is a (2, 1, 2) full of i, with target i.
struct Ramp : data::datasets::Dataset<Ramp> {
  data::Example<> get(std::size_t index) override {
    return {full({2, 1, 2}, static_cast<double>(index), kFloat), tensor(static_cast<std::int64_t>(index))};
  }
  std::optional<std::size_t> size() const override { return 5; }
};

// Example i is i squared, with target i.
struct Squares : data::datasets::Dataset<Squares, data::Example<std::int64_t, std::int64_t>> {
  explicit Squares(std::size_t count_of_squares) : count(count_of_squares) {}
  data::Example<std::int64_t, std::int64_t> get(std::size_t index) override {
    const auto i = static_cast<std::int64_t>(index);
    return {i * i, i};
  }
  std::optional<std::size_t> size() const override { return count; }
  std::size_t count;
};

// All targets of an epoch, in the order of delivery.
template <class Loader>
std::vector<std::int64_t> targets_of(Loader& loader) {
  std::vector<std::int64_t> targets;
  for (auto& batch : loader)
    for (auto& example : batch) targets.push_back(example.target);
  return targets;
}

std::vector<std::int64_t> first_numbers(std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return numbers;
}

// %%
TEST_CASE("lambdas: by tensor, by example, by batch, and as the collation") {
  using namespace data;
  auto chained = Ramp()
                     .map(transforms::TensorLambda<>([](Tensor x) { return x + 1; }))
                     .map(transforms::Normalize<>({1.0, 0.0}, {1.0, 2.0}))
                     .map(transforms::Lambda<Example<>>([](Example<> e) { return Example<>(e.data, e.target * 10); }));
  const std::vector<Example<>> batch = chained.get_batch({3, 0});
  CHECK_EQ(batch.at(0).data, tensor({{{3.0, 3.0}}, {{2.0, 2.0}}}));
  CHECK_EQ(batch.at(1).data, tensor({{{0.0, 0.0}}, {{0.5, 0.5}}}));
  CHECK_EQ(batch.at(0).target, tensor(30));

  auto counted = Ramp().map(transforms::BatchLambda<std::vector<Example<>>, std::size_t>([](const auto& examples) { return examples.size(); }));
  CHECK_EQ(counted.get_batch({1, 2, 3}), 3);
  auto first = Ramp().map(transforms::Collate<Example<>>([](std::vector<Example<>> examples) { return examples.front(); }));
  CHECK_EQ(first.get_batch({2, 1}).target, tensor(2));
}

// %% [markdown]
// ### One dataset for all workers
//
// Every worker of a stateless loader copies the dataset. If the data is a Tensor, the copies share one storage; if it is a `std::vector`, each worker has all of it again. For what must not be copied (an
// open file, a connection, a cache) `SharedBatchDataset` puts any dataset behind a pointer:
//
//     worker 0 --+
//     worker 1 --+--> SharedBatchDataset --> one dataset, whose get_batch is thread-safe
//     worker 2 --+

// %%
//| export data/shared.h
namespace data::datasets {

// One dataset object for all workers, for datasets that must not be copied. get_batch() must then be safe to call from
// several threads at once. Source: torch/data/datasets/shared.h.
template <class UnderlyingDataset>
class SharedBatchDataset
    : public BatchDataset<SharedBatchDataset<UnderlyingDataset>, typename UnderlyingDataset::BatchType,
                          typename UnderlyingDataset::BatchRequestType> {
 public:
  using BatchType = typename UnderlyingDataset::BatchType;
  using BatchRequestType = typename UnderlyingDataset::BatchRequestType;

  SharedBatchDataset(std::shared_ptr<UnderlyingDataset> shared_dataset) : dataset_(std::move(shared_dataset)) {}

  BatchType get_batch(BatchRequestType request) override { return dataset_->get_batch(std::move(request)); }
  std::optional<std::size_t> size() const override { return dataset_->size(); }
  void reset() { dataset_->reset(); }

  UnderlyingDataset& operator*() { return *dataset_; }
  const UnderlyingDataset& operator*() const { return *dataset_; }
  UnderlyingDataset* operator->() { return dataset_.get(); }
  const UnderlyingDataset* operator->() const { return dataset_.get(); }

 private:
  std::shared_ptr<UnderlyingDataset> dataset_;
};

template <class UnderlyingDataset, class... Args>
SharedBatchDataset<UnderlyingDataset> make_shared_dataset(Args&&... args) {
  return std::make_shared<UnderlyingDataset>(std::forward<Args>(args)...);
}

}  // namespace data::datasets

// %%
TEST_CASE("SharedBatchDataset: copies are one dataset") {
  auto shared = data::datasets::make_shared_dataset<data::datasets::TensorDataset>(arange(4));
  auto other = shared;
  CHECK_EQ(&*shared, &*other);
  CHECK_EQ(shared->size().value(), 4);
  CHECK_EQ(other.get_batch({3, 1}).at(0).data, tensor(3));
}

// %% [markdown]
// The allocator counts tensors only, so this demonstration looks at the memory of the whole process.

// %%
DEMO("a dataset of 32 MiB in four workers: shared, and copied") {
  static constexpr std::size_t floats = 8 * 1024 * 1024;
  struct InTensor : data::datasets::Dataset<InTensor, float> {
    float get(std::size_t index) override { return values.data<float>()[index]; }
    std::optional<std::size_t> size() const override { return floats; }
    Tensor values = zeros({static_cast<std::int64_t>(floats)});
  };
  struct InVector : data::datasets::Dataset<InVector, float> {
    float get(std::size_t index) override { return values[index]; }
    std::optional<std::size_t> size() const override { return floats; }
    std::vector<float> values = std::vector<float>(floats);
  };
  const auto growth = [](auto dataset) {
    const std::int64_t before = resident_bytes();
    auto loader = data::make_data_loader<data::samplers::SequentialSampler>(std::move(dataset), data::DataLoaderOptions(64).workers(4));
    auto first = loader->begin();
    do_not_optimize(*first);
    return format_bytes(std::max<std::int64_t>(0, resident_bytes() - before));
  };
  std::cout << "what the process holds with four workers beyond the one dataset that it had before\n";
  std::cout << "  dataset with a Tensor        " << growth(InTensor()) << '\n';
  std::cout << "  the same, in SharedBatchDataset " << growth(data::datasets::make_shared_dataset<InVector>()) << '\n';
  std::cout << "  dataset with a std::vector   " << growth(InVector()) << '\n';
}

// %% [markdown]
// ### Kept examples, changed examples
//
// Two things that stand between a slow source and the loader. A *cache* keeps each example after it was made for the first time, for all workers at once: the first epoch pays for decoding, the later ones do not.
// *Augmentation* shows a changed copy of each image in every epoch (moved, mirrored, turned), so that a network learns what does not matter. The order is not a matter of taste:
//
//     files --> CachedDataset --> AugmentedDataset --> Stack --> loader          a new change in each epoch
//     files --> AugmentedDataset --> CachedDataset                               the first epoch's changes, for ever
//
// Random changes made by several workers have a trap of their own. If each worker draws from one common generator, the numbers depend on who comes first, and no run can be repeated; if each has a copy with the same
// seed, they draw the same numbers. Here randomness is a function of (seed, epoch, index), as in JAX users' Grain: example 17 of epoch 3 is changed the same way by whichever worker makes it, on however many cores.

// %%
//| export data/cache.h
namespace data::datasets {

// `source` with every example kept that was made. Copies share what is kept, so that workers profit from each other; get() may be called from several threads at once, and makes an example twice
// if two ask for it for the first time at the same moment. REQUIRES: the source's size is known; nobody writes into the tensors of an example.
template <class Source>
class CachedDataset : public Dataset<CachedDataset<Source>, typename Source::ExampleType> {
 public:
  using ExampleType = typename Source::ExampleType;

  explicit CachedDataset(Source source) : source_(std::move(source)), kept_(std::make_shared<Kept>()) {
    TORCH_CHECK(source_.size().has_value(), "CachedDataset needs a dataset of known size");
    kept_->examples.resize(*source_.size());
  }

  ExampleType get(std::size_t index) override {
    TORCH_CHECK_INDEX(index < kept_->examples.size(), "index ", index, " is out of range for a dataset of ", kept_->examples.size(), " examples");
    std::optional<ExampleType>& place = kept_->examples[index];
    {
      const std::lock_guard lock(kept_->mutex);
      if (place) return *place;
    }
    // Made without the lock: the other workers go on meanwhile.
    ExampleType example = source_.get(index);
    const std::lock_guard lock(kept_->mutex);
    if (!place) {
      place = std::move(example);
      ++kept_->count;
    }
    return *place;
  }

  std::optional<std::size_t> size() const override { return source_.size(); }
  // How many examples are kept by now.
  std::size_t cached() const {
    const std::lock_guard lock(kept_->mutex);
    return kept_->count;
  }

 private:
  struct Kept {
    std::mutex mutex;
    std::vector<std::optional<ExampleType>> examples;
    std::size_t count = 0;
  };
  Source source_;
  std::shared_ptr<Kept> kept_;
};

}  // namespace data::datasets

// %%
TEST_CASE("CachedDataset: each example is made once, whoever asks") {
  struct Counting : data::datasets::Dataset<Counting, int> {
    int get(std::size_t index) override {
      ++*made;
      return static_cast<int>(index) * 10;
    }
    std::optional<std::size_t> size() const override { return 40; }
    std::shared_ptr<std::atomic<int>> made = std::make_shared<std::atomic<int>>(0);
  };
  Counting source;
  data::datasets::CachedDataset<Counting> cached(source);
  CHECK_EQ(cached.get(3), 30);
  CHECK_EQ(cached.get(3), 30);
  CHECK_EQ(*source.made, 1);
  CHECK_THROWS_AS(cached.get(40), IndexError);

  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(cached, data::DataLoaderOptions(4).workers(3));
  for (int epoch = 0; epoch < 3; ++epoch) {
    int sum = 0;
    for (auto& batch : *loader) sum += std::accumulate(batch.begin(), batch.end(), 0);
    CHECK_EQ(sum, 10 * 780);
  }
  CHECK_EQ(cached.cached(), 40);  // the workers' copies share it
  CHECK_EQ(*source.made, 40);
}

// %%
//| export data/augment.h
namespace data::augment {

// Changes an image (C, H, W) with numbers from `generator`, and leaves the one that it was given as it is. Each throws ValueError for anything but three dimensions.
using Function = std::function<Tensor(const Tensor& image, Generator& generator)>;

// A window of size x size at a random place of the image with `padding` zeros around it. Throws ValueError if the window is larger.
Function random_crop(std::int64_t size, std::int64_t padding = 0);
// Mirrored left to right with probability p.
Function random_horizontal_flip(double p = 0.5);
// Turned around its centre by an angle from -degrees to degrees; between pixels bilinear, zero from outside. Float only.
Function random_rotation(double degrees);
// A square of size x size of zeros around a random pixel, cut off at the border (DeVries and Taylor, 2017).
Function cutout(std::int64_t size);

// One number from three, well mixed: neighbouring indices and epochs give unrelated streams.
std::uint64_t seed_of(std::uint64_t seed, std::uint64_t epoch, std::uint64_t index);

}  // namespace data::augment

namespace data::datasets {

// `source` with its examples' data changed by `steps`, one after the other, by a generator that depends on (seed, epoch, index) and nothing else.
template <class Source>
class AugmentedDataset : public Dataset<AugmentedDataset<Source>, typename Source::ExampleType> {
 public:
  using ExampleType = typename Source::ExampleType;

  AugmentedDataset(Source source, std::vector<augment::Function> steps, std::uint64_t seed = 0)
      : source_(std::move(source)), steps_(std::move(steps)), seed_(seed), epoch_(std::make_shared<std::atomic<std::uint64_t>>(0)) {}

  // For this dataset and all its copies, those in the workers too. Call it between epochs.
  void set_epoch(std::uint64_t epoch) { epoch_->store(epoch); }
  std::uint64_t epoch() const { return epoch_->load(); }

  ExampleType get(std::size_t index) override {
    Generator generator(augment::seed_of(seed_, epoch(), index));
    ExampleType example = source_.get(index);
    for (const augment::Function& step : steps_) example.data = step(example.data, generator);
    return example;
  }
  std::optional<std::size_t> size() const override { return source_.size(); }

 private:
  Source source_;
  std::vector<augment::Function> steps_;
  std::uint64_t seed_;
  std::shared_ptr<std::atomic<std::uint64_t>> epoch_;
};

}  // namespace data::datasets

// %%
//| export data/augment.cpp
std::uint64_t data::augment::seed_of(std::uint64_t seed, std::uint64_t epoch, std::uint64_t index) {
  // The finishing steps of SplitMix64 (Steele, Lea and Flood, 2014), after each part.
  std::uint64_t mixed = 0;
  for (const std::uint64_t part : {seed, epoch, index}) {
    mixed += part + 0x9E3779B97F4A7C15U;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBU;
    mixed ^= mixed >> 31;
  }
  return mixed;
}

namespace {

void check_image(const Tensor& image, const char* step) {
  TORCH_CHECK_VALUE(image.dim() == 3, step, " expects an image (channels, height, width), but got sizes ", image.sizes());
}

// A whole number from 0 to limit - 1.
std::int64_t below(std::int64_t limit, Generator& generator) { return static_cast<std::int64_t>(generator.random64() % static_cast<std::uint64_t>(limit)); }

// The pixel at (y, x), between pixels a weighted mean of the four around it; zero outside.
float bilinear(const float* plane, std::int64_t H, std::int64_t W, double y, double x) {
  const double top = std::floor(y), left = std::floor(x);
  const auto pixel = [&](double row, double column) {
    const bool inside = row >= 0 && row < static_cast<double>(H) && column >= 0 && column < static_cast<double>(W);
    return inside ? plane[static_cast<std::int64_t>(row) * W + static_cast<std::int64_t>(column)] : 0.0f;
  };
  const auto down = static_cast<float>(y - top), right = static_cast<float>(x - left);
  return (1 - down) * ((1 - right) * pixel(top, left) + right * pixel(top, left + 1)) + down * ((1 - right) * pixel(top + 1, left) + right * pixel(top + 1, left + 1));
}

Tensor rotated(const Tensor& image, double radians) {
  const std::int64_t C = image.size(0), H = image.size(1), W = image.size(2);
  const Tensor from = image.contiguous(), to = empty(image.sizes(), image.options());
  const double cosine = std::cos(radians), sine = std::sin(radians);
  const double centre_y = static_cast<double>(H - 1) / 2, centre_x = static_cast<double>(W - 1) / 2;
  for (std::int64_t c = 0; c < C; ++c) {
    for (std::int64_t y = 0; y < H; ++y) {
      for (std::int64_t x = 0; x < W; ++x) {
        // Where this pixel comes from: the same place, turned back.
        const double dy = static_cast<double>(y) - centre_y, dx = static_cast<double>(x) - centre_x;
        to.data_ptr<float>()[(c * H + y) * W + x] =
            bilinear(from.data_ptr<float>() + c * H * W, H, W, centre_y + cosine * dy - sine * dx, centre_x + sine * dy + cosine * dx);
      }
    }
  }
  return to;
}

}  // namespace

// %%
//| export data/augment.cpp
data::augment::Function data::augment::random_crop(std::int64_t size, std::int64_t padding) {
  TORCH_CHECK_VALUE(size > 0 && padding >= 0, "random_crop needs a positive size and a padding that is not negative, but got ", size, " and ", padding);
  return [size, padding](const Tensor& image, Generator& generator) {
    check_image(image, "random_crop");
    const std::int64_t H = image.size(1), W = image.size(2);
    TORCH_CHECK_VALUE(size <= H + 2 * padding && size <= W + 2 * padding, "random_crop: a window of ", size, " x ", size, " does not fit into ", H, " x ", W, " with ",
                      padding, " zeros around it");
    Tensor padded = image;
    if (padding > 0) {
      padded = zeros({image.size(0), H + 2 * padding, W + 2 * padding}, image.options());
      padded.narrow(1, padding, H).narrow(2, padding, W).copy_(image);
    }
    const std::int64_t top = below(padded.size(1) - size + 1, generator);
    const std::int64_t left = below(padded.size(2) - size + 1, generator);
    return padded.narrow(1, top, size).narrow(2, left, size).contiguous();
  };
}

data::augment::Function data::augment::random_horizontal_flip(double p) {
  TORCH_CHECK_VALUE(p >= 0 && p <= 1, "random_horizontal_flip needs a probability from 0 to 1, but got ", p);
  return [p](const Tensor& image, Generator& generator) {
    check_image(image, "random_horizontal_flip");
    return generator.uniform_double() < p ? flip(image, {2}) : image;
  };
}

data::augment::Function data::augment::random_rotation(double degrees) {
  TORCH_CHECK_VALUE(degrees >= 0, "random_rotation needs an angle that is not negative, but got ", degrees);
  return [degrees](const Tensor& image, Generator& generator) {
    check_image(image, "random_rotation");
    TORCH_CHECK_VALUE(image.scalar_type() == kFloat, "random_rotation expects an image of Float, but got ", image.scalar_type());
    return rotated(image, (2 * generator.uniform_double() - 1) * degrees * std::numbers::pi / 180);
  };
}

data::augment::Function data::augment::cutout(std::int64_t size) {
  TORCH_CHECK_VALUE(size > 0, "cutout needs a positive size, but got ", size);
  return [size](const Tensor& image, Generator& generator) {
    check_image(image, "cutout");
    const Tensor changed = image.clone();
    Tensor window = changed;
    for (const std::int64_t dim : {1, 2}) {
      const std::int64_t middle = below(image.size(dim), generator);
      const std::int64_t first = std::max<std::int64_t>(0, middle - size / 2);
      const std::int64_t last = std::min(image.size(dim), middle - size / 2 + size);
      window = window.narrow(dim, first, last - first);
    }
    window.zero_();
    return changed;
  };
}

// %%
TEST_CASE("augmentations: what they may change and what not") {
  const Tensor image = arange(2 * 4 * 6).to(kFloat).view({2, 4, 6}).add(1);
  Generator generator(1);
  const Tensor before = image.clone();

  std::set<float> corners;
  for (int i = 0; i < 200; ++i) {
    const Tensor crop = data::augment::random_crop(4, 1)(image, generator);
    REQUIRE_EQ(crop.sizes(), IntArrayRef({2, 4, 4}));
    corners.insert(crop[0][1][1].item<float>());
    CHECK_EQ(crop[1][1][1].item<float>() - crop[0][1][1].item<float>(), 24);  // the channels move together
  }
  CHECK_EQ(corners.size(), 3 * 5);  // every place that the window can have
  CHECK_EQ(data::augment::random_crop(4)(image, generator).size(2), 4);
  CHECK_THROWS_AS(data::augment::random_crop(5)(image, generator), ValueError);

  CHECK_EQ(data::augment::random_horizontal_flip(1)(image, generator), image.flip({2}));
  CHECK_EQ(data::augment::random_horizontal_flip(0)(image, generator), image);
  int flipped = 0;
  for (int i = 0; i < 400; ++i) flipped += data::augment::random_horizontal_flip()(image, generator).equal(image) ? 0 : 1;
  CHECK_GT(flipped, 150);
  CHECK_LT(flipped, 250);

  CHECK_EQ(data::augment::random_rotation(0)(image, generator), image);
  const Tensor turned = data::augment::random_rotation(20)(ones({1, 9, 9}), generator);
  CHECK_CLOSE(turned[0][4][4], tensor(1.0f));
  CHECK_LT(turned.sum().item<float>(), 81);  // zeros came in at the corners
  CHECK_GT(turned.sum().item<float>(), 60);

  const Tensor cut = data::augment::cutout(2)(image, generator);
  CHECK_EQ(cut.sizes(), image.sizes());
  const auto zeros_in = (cut == 0).sum().item<std::int64_t>();
  CHECK((zeros_in == 2 * 1 || zeros_in == 2 * 2 || zeros_in == 2 * 4));
  CHECK(where(cut == 0, image, cut).equal(image));
  CHECK_THROWS_AS(data::augment::cutout(2)(zeros({4, 6}), generator), ValueError);
  CHECK_EQ(image, before);
}

// %%
TEST_CASE("random_rotation by a quarter turns pixels onto pixels") {
  // The angle is drawn; a generator whose first number is the largest gives nearly +90 degrees, so look for such a stream.
  const Tensor image = tensor({{{1.0f, 2.0f}, {3.0f, 4.0f}}});
  for (std::uint64_t seed = 0; seed < 10000; ++seed) {
    if (Generator(seed).uniform_double() < 0.999) continue;
    Generator generator(seed);
    const Tensor turned = data::augment::random_rotation(90)(image, generator);
    CHECK_CLOSE(turned, tensor({{{3.0f, 1.0f}, {4.0f, 2.0f}}}), 0, 0.03);
    return;
  }
  FAIL("no such stream");
}

// %%
TEST_CASE("AugmentedDataset: the same changes for any number of workers, other ones in the next epoch") {
  struct Images : data::datasets::Dataset<Images> {
    data::Example<> get(std::size_t index) override { return {full({1, 4, 4}, static_cast<double>(index) + 1, kFloat), tensor(static_cast<std::int64_t>(index))}; }
    std::optional<std::size_t> size() const override { return 32; }
  };
  data::datasets::AugmentedDataset<Images> images(Images(), {data::augment::random_crop(4, 2), data::augment::random_horizontal_flip()}, 5);
  const auto epoch = [&images](std::size_t workers, std::uint64_t number) {
    images.set_epoch(number);
    auto loader = data::make_data_loader<data::samplers::SequentialSampler>(images.map(data::transforms::Stack<>()), data::DataLoaderOptions(5).workers(workers));
    std::vector<Tensor> batches;
    for (auto& batch : *loader) batches.push_back(batch.data);
    return cat(batches);
  };
  const Tensor first = epoch(0, 0);
  CHECK_EQ(epoch(1, 0), first);
  CHECK_EQ(epoch(3, 0), first);
  CHECK(!epoch(3, 1).equal(first));
  CHECK_EQ(epoch(2, 1), epoch(0, 1));
  // Neighbours are not changed alike: where the zeros are differs.
  CHECK(!(first[0] == 0).equal(first[1] == 0));
}

// %% [markdown]
// ### An epoch saved and resumed
//
// A sampler's state is a position, and for the random one its permutation; a loader's is the sampler's at the beginning of the epoch and the number of batches that were delivered (module 07 says why). What
// comes out of a checkpoint is a claim like any other file's: each entry is looked at before anything changes.
//
//     RandomSampler      indices (N)  the permutation          index ()  how many were given
//     StatelessDataLoader             sampler.indices, sampler.index, delivered, batch_size

// %%
//| export data/saved_state.h
namespace data::detail {

// The tensor `key` of a saved state. Throws if it is missing or is not whole numbers of `dim` dimensions.
Tensor saved_tensor(const State& state, const char* key, std::int64_t dim);
// The position `key`, which must be in [0, limit].
std::int64_t saved_position(const State& state, const char* key, std::int64_t limit);
State state_of_position(const char* key, std::size_t position);

}  // namespace data::detail

// %%
//| export data/saved_state.cpp
Tensor data::detail::saved_tensor(const State& state, const char* key, std::int64_t dim) {
  const auto found = state.find(key);
  TORCH_CHECK(found != state.end(), "The saved state has no '", key, "'\n[set_state] it was not made by this kind of sampler");
  TORCH_CHECK(found->second.defined() && found->second.dim() == dim && isIntegralType(found->second.scalar_type(), false),
              "The saved state is damaged: '", key, "' must be whole numbers of ", dim, " dimensions\n[set_state] take what state() gave");
  return found->second;
}

std::int64_t data::detail::saved_position(const State& state, const char* key, std::int64_t limit) {
  const auto position = saved_tensor(state, key, 0).item<std::int64_t>();
  TORCH_CHECK(position >= 0 && position <= limit, "The saved state is damaged: '", key, "' is ", position, ", outside of [0, ", limit,
              "]\n[set_state] was it made for a dataset of this size?");
  return position;
}

data::State data::detail::state_of_position(const char* key, std::size_t position) { return {{key, tensor(static_cast<std::int64_t>(position))}}; }

// %%
//| export data/saved_state.cpp
data::State data::samplers::SequentialSampler::state() const { return detail::state_of_position("index", index_); }

void data::samplers::SequentialSampler::set_state(const State& state) {
  index_ = static_cast<std::size_t>(detail::saved_position(state, "index", static_cast<std::int64_t>(size_)));
}

// %%
//| export data/saved_state.cpp
data::State data::samplers::RandomSampler::state() const {
  return {{"index", tensor(index_)}, {"indices", indices_}};
}

void data::samplers::RandomSampler::set_state(const State& state) {
  const Tensor indices = detail::saved_tensor(state, "indices", 1).to(kLong).contiguous();
  const std::int64_t position = detail::saved_position(state, "index", indices.numel());
  // Every index once: a damaged permutation would show some examples twice, or point outside of the dataset.
  std::vector<bool> seen(static_cast<std::size_t>(indices.numel()));
  for (std::int64_t i = 0; i < indices.numel(); ++i) {
    const std::int64_t index = indices.data<std::int64_t>()[i];
    TORCH_CHECK(index >= 0 && index < indices.numel() && !seen[static_cast<std::size_t>(index)],
                "The saved state is damaged: 'indices' is not a permutation of 0 ... ", indices.numel() - 1, "\n[set_state] entry ", i, " is ", index);
    seen[static_cast<std::size_t>(index)] = true;
  }
  indices_ = indices.to(indices_.scalar_type());
  index_ = position;
}

// %%
//| export data/saved_state.cpp
void data::detail::save_state(serialize::OutputArchive& archive, const State& state) {
  for (const auto& [key, value] : state) serialize::archive_access.write(archive, key, value);
}

data::State data::detail::load_state(serialize::InputArchive& archive, const State& known) {
  State loaded;
  for (const auto& [key, value] : known) loaded[key] = serialize::archive_access.read(archive, key);
  return loaded;
}

data::State data::detail::pack_epoch(const EpochState& epoch, std::size_t batch_size) {
  TORCH_CHECK_NOT_IMPLEMENTED(!epoch.sampler.empty(), "This loader's sampler cannot be saved\n[DataLoader::state] it does not override state() and set_state()");
  State state;
  for (const auto& [key, value] : epoch.sampler) state["sampler." + key] = value;
  state["delivered"] = tensor(static_cast<std::int64_t>(epoch.delivered));
  state["batch_size"] = tensor(static_cast<std::int64_t>(batch_size));
  return state;
}

data::detail::EpochState data::detail::unpack_epoch(const State& state, std::size_t batch_size) {
  const auto number = [&state](const char* key) {
    const auto found = state.find(key);
    TORCH_CHECK(found != state.end() && found->second.defined() && found->second.numel() == 1, "The saved state has no number '", key,
                "'\n[DataLoader::set_state] take what state() gave");
    return static_cast<std::size_t>(found->second.item<std::int64_t>());
  };
  EpochState epoch;
  epoch.delivered = number("delivered");
  TORCH_CHECK(number("batch_size") == batch_size, "The saved state is of a loader with batch_size ", number("batch_size"), ", this one has ", batch_size,
              "\n[DataLoader::set_state] use the same batch size to go on");
  for (const auto& [key, value] : state)
    if (key.starts_with("sampler.")) epoch.sampler[key.substr(8)] = value;
  return epoch;
}

// %%
TEST_CASE("samplers: a saved state goes on where it stood, a damaged one changes nothing") {
  data::samplers::RandomSampler sampler(20);
  sampler.next(7);
  const data::State state = sampler.state();
  const auto expected = sampler.next(13);
  data::samplers::RandomSampler other(20);
  other.set_state(state);
  CHECK_EQ(other.index(), 7);
  CHECK_EQ(*other.next(13), *expected);

  data::State damaged = state;
  damaged["index"] = tensor(21);
  CHECK_ERROR(other.set_state(damaged), "'index' is 21, outside of [0, 20]");
  damaged = state;
  damaged["indices"] = zeros({20}, kLong);
  CHECK_ERROR(other.set_state(damaged), "'indices' is not a permutation");
  CHECK_ERROR(other.set_state({}), "The saved state has no 'indices'");
  CHECK_EQ(other.index(), 20);

  data::samplers::SequentialSampler sequential(5);
  CHECK_EQ(*sequential.next(3), std::vector<std::size_t>{0, 1, 2});
  data::samplers::SequentialSampler resumed(5);
  resumed.set_state(sequential.state());
  CHECK_EQ(*resumed.next(3), std::vector<std::size_t>{3, 4});
  CHECK(!resumed.next(3).has_value());
}

// %%
TEST_CASE("DataLoader: a saved epoch goes on with the next batch, whatever was in flight") {
  using data::DataLoaderOptions;
  for (const std::size_t workers : {0, 2}) {
    CAPTURE(workers);
    manual_seed(3);
    auto loader = data::make_data_loader(Squares(30), DataLoaderOptions(4).workers(workers));
    std::vector<std::int64_t> whole;
    data::State saved;
    for (auto& batch : *loader) {
      for (auto& example : batch) whole.push_back(example.target);
      if (whole.size() == 12) saved = loader->state();
    }
    CHECK(loader->state().empty());  // between epochs

    auto other = data::make_data_loader(Squares(30), DataLoaderOptions(4).workers(2 - workers));
    other->set_state(saved);
    const std::vector<std::int64_t> rest = targets_of(*other);
    CHECK_EQ(rest, std::vector<std::int64_t>(whole.begin() + 12, whole.end()));
    CHECK_EQ(targets_of(*other).size(), 30);

    auto wider = data::make_data_loader(Squares(30), DataLoaderOptions(5));
    CHECK_ERROR(wider->set_state(saved), "The saved state is of a loader with batch_size 4, this one has 5");
    saved["delivered"] = tensor(9);
    CHECK_ERROR(other->set_state(saved), "9 batches were delivered, but an epoch has 8");
    saved.erase("delivered");
    CHECK_ERROR(other->set_state(saved), "The saved state has no number 'delivered'");
  }
}

// %% [markdown]
// ### Several machines
//
// When R processes train together, each must see its own part of the epoch, and all parts must be equally long, or the last steps would wait for someone who has finished. N examples do not divide by R in general: either
// some come twice (`allow_duplicates`, ceil(N / R) each) or some not at all (floor(N / R)). Nobody talks to anybody: each process shuffles the same list with the same seed, the number of the epoch, and takes its part.
//
//     N = 10, R = 3       0 1 2 3 | 4 5 6 7 | 8 9 0 1          with duplicates: 4 each
//                         0 1 2 | 3 4 5 | 6 7 8                without: 3 each, example 9 waits for another epoch's order

// %%
//| export data/distributed.h
namespace data::samplers {

// The part of one process, `rank`, of `num_replicas`. Whoever trains calls set_epoch() before each epoch, with the same number in all processes. Source: torch/data/samplers/distributed.h.
template <class BatchRequest = std::vector<std::size_t>>
class DistributedSampler : public Sampler<BatchRequest> {
 public:
  DistributedSampler(std::size_t size, std::size_t num_replicas = 1, std::size_t rank = 0, bool allow_duplicates = true)
      : size_(size), num_replicas_(num_replicas), rank_(rank), allow_duplicates_(allow_duplicates) {
    TORCH_CHECK_VALUE(rank < num_replicas, "Invalid rank ", rank, ", rank should be in the interval [0, ", static_cast<std::int64_t>(num_replicas) - 1, "]");
  }
  void set_epoch(std::size_t epoch) { epoch_ = epoch; }
  std::size_t epoch() const { return epoch_; }

 protected:
  std::size_t local_sample_count() const { return allow_duplicates_ ? (size_ + num_replicas_ - 1) / num_replicas_ : size_ / num_replicas_; }

  std::size_t size_;
  std::size_t num_replicas_;
  std::size_t rank_;
  std::size_t epoch_ = 0;
  bool allow_duplicates_;
};

// A random part: std::mt19937(epoch) shuffles, as in libtorch. The order is that of the standard library's std::shuffle.
class DistributedRandomSampler : public DistributedSampler<> {
 public:
  explicit DistributedRandomSampler(std::size_t size, std::size_t num_replicas = 1, std::size_t rank = 0, bool allow_duplicates = true);
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<std::vector<std::size_t>> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;
  // The place of the next index in the list of all processes.
  std::size_t index() const noexcept { return sample_index_; }

 private:
  std::size_t end_index_ = 0;
  std::size_t sample_index_ = 0;
  std::vector<std::size_t> all_indices_;
};

// A part in order.
class DistributedSequentialSampler : public DistributedSampler<> {
 public:
  explicit DistributedSequentialSampler(std::size_t size, std::size_t num_replicas = 1, std::size_t rank = 0, bool allow_duplicates = true);
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<std::vector<std::size_t>> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;
  std::size_t index() const noexcept { return sample_index_; }

 private:
  std::size_t end_index_ = 0;
  std::size_t sample_index_ = 0;
};

}  // namespace data::samplers

// %%
//| export data/distributed.cpp
data::samplers::DistributedRandomSampler::DistributedRandomSampler(std::size_t size, std::size_t num_replicas, std::size_t rank, bool allow_duplicates)
    : DistributedSampler(size, num_replicas, rank, allow_duplicates) {
  reset();
}

void data::samplers::DistributedRandomSampler::reset(std::optional<std::size_t> new_size) {
  size_ = new_size.value_or(size_);
  const std::size_t count = local_sample_count();
  all_indices_.resize(count * num_replicas_);
  std::iota(all_indices_.begin(), all_indices_.end(), std::size_t{0});
  // The last ones, if there are more places than examples, are the first examples again.
  for (std::size_t i = size_; i < all_indices_.size(); ++i) all_indices_[i] = i - size_;
  std::mt19937 generator(static_cast<std::mt19937::result_type>(epoch_));
  std::shuffle(all_indices_.begin(), all_indices_.end(), generator);
  sample_index_ = rank_ * count;
  end_index_ = sample_index_ + count;
}

std::optional<std::vector<std::size_t>> data::samplers::DistributedRandomSampler::next(std::size_t batch_size) {
  if (sample_index_ == end_index_) return std::nullopt;
  const std::size_t end = std::min(end_index_, sample_index_ + batch_size);
  const std::vector<std::size_t> batch(all_indices_.begin() + static_cast<std::ptrdiff_t>(sample_index_), all_indices_.begin() + static_cast<std::ptrdiff_t>(end));
  sample_index_ = end;
  return batch;
}

// %%
//| export data/distributed.cpp
data::samplers::DistributedSequentialSampler::DistributedSequentialSampler(std::size_t size, std::size_t num_replicas, std::size_t rank, bool allow_duplicates)
    : DistributedSampler(size, num_replicas, rank, allow_duplicates) {
  reset();
}

void data::samplers::DistributedSequentialSampler::reset(std::optional<std::size_t> new_size) {
  size_ = new_size.value_or(size_);
  sample_index_ = rank_ * local_sample_count();
  end_index_ = sample_index_ + local_sample_count();
}

std::optional<std::vector<std::size_t>> data::samplers::DistributedSequentialSampler::next(std::size_t batch_size) {
  if (sample_index_ == end_index_) return std::nullopt;
  std::vector<std::size_t> batch(std::min(batch_size, end_index_ - sample_index_));
  for (std::size_t& index : batch) index = sample_index_++ % size_;
  return batch;
}

// %%
//| export data/distributed.cpp
namespace {

// Where the sampler stands within its part, and the epoch that its order comes from.
data::State distributed_state(std::size_t sample_index, std::size_t epoch) {
  return {{"sample_index_", tensor(static_cast<std::int64_t>(sample_index))}, {"epoch_", tensor(static_cast<std::int64_t>(epoch))}};
}

// The place, which must be in the part [first, end], and the epoch.
std::pair<std::size_t, std::size_t> saved_place(const data::State& state, std::size_t first, std::size_t end) {
  const std::int64_t epoch = data::detail::saved_position(state, "epoch_", std::numeric_limits<std::int64_t>::max());
  const auto place = static_cast<std::size_t>(data::detail::saved_position(state, "sample_index_", static_cast<std::int64_t>(end)));
  TORCH_CHECK(place >= first, "The saved state is of another process: 'sample_index_' is ", place, ", this process's part begins at ", first,
              "\n[set_state] give each process its own state");
  return {place, static_cast<std::size_t>(epoch)};
}

}  // namespace

data::State data::samplers::DistributedRandomSampler::state() const { return distributed_state(sample_index_, epoch_); }

void data::samplers::DistributedRandomSampler::set_state(const State& state) {
  const auto [place, epoch] = saved_place(state, rank_ * local_sample_count(), end_index_);
  epoch_ = epoch;
  reset();
  sample_index_ = place;
}

data::State data::samplers::DistributedSequentialSampler::state() const { return distributed_state(sample_index_, epoch_); }

void data::samplers::DistributedSequentialSampler::set_state(const State& state) {
  std::tie(sample_index_, epoch_) = saved_place(state, rank_ * local_sample_count(), end_index_);
}

// %%
//| lesson
// All indices that a sampler gives until its epoch ends.
template <class Sampler>
std::vector<std::size_t> rest_of(Sampler& sampler, std::size_t batch_size) {
  std::vector<std::size_t> all;
  while (const auto batch = sampler.next(batch_size)) all.insert(all.end(), batch->begin(), batch->end());
  return all;
}

// %%
TEST_CASE("distributed samplers: PyTorch's parts for each rank and epoch") {
  using namespace data::samplers;
  using Indices = std::vector<std::size_t>;
  // Recorded from PyTorch 2.15.0: 10 examples for three processes.
  const Indices sequential[] = {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 0, 1}};
  const Indices of_seven[] = {{0, 1, 2}, {3, 4, 5}, {6, 0, 1}};
  const Indices epoch_0[] = {{0, 2, 1, 5}, {9, 1, 4, 7}, {6, 0, 3, 8}};
  const Indices epoch_1[] = {{9, 0, 2, 5}, {1, 4, 6, 3}, {1, 8, 0, 7}};
  const Indices no_duplicates[] = {{2, 4, 6}, {0, 5, 1}, {8, 3, 7}};
  for (std::size_t rank = 0; rank < 3; ++rank) {
    CAPTURE(rank);
    DistributedSequentialSampler in_order(10, 3, rank);
    CHECK_EQ(rest_of(in_order, 3), sequential[rank]);
    DistributedSequentialSampler fewer(10, 3, rank, /*allow_duplicates=*/false);
    CHECK_EQ(rest_of(fewer, 2), Indices{3 * rank, 3 * rank + 1, 3 * rank + 2});
    in_order.reset(7);
    CHECK_EQ(rest_of(in_order, 3), of_seven[rank]);

    DistributedRandomSampler shuffled(10, 3, rank);
    CHECK_EQ(rest_of(shuffled, 3), epoch_0[rank]);
    shuffled.set_epoch(1);
    shuffled.reset();
    CHECK_EQ(rest_of(shuffled, 3), epoch_1[rank]);
    DistributedRandomSampler fewer_shuffled(10, 3, rank, /*allow_duplicates=*/false);
    CHECK_EQ(rest_of(fewer_shuffled, 2), no_duplicates[rank]);
  }
  DistributedRandomSampler resized(6, 2, 0);
  resized.reset(9);
  CHECK_EQ(rest_of(resized, 4), Indices{0, 2, 1, 5, 0});
}

// %%
TEST_CASE("RandomSampler: PyTorch's order for a seed, through resets and sizes") {
  using Indices = std::vector<std::size_t>;
  manual_seed(5);
  data::samplers::RandomSampler sampler(12);
  CHECK_EQ(rest_of(sampler, 5), Indices{11, 0, 9, 6, 10, 3, 4, 5, 8, 7, 1, 2});
  sampler.reset();
  CHECK_EQ(rest_of(sampler, 5), Indices{6, 4, 1, 3, 2, 9, 0, 5, 7, 8, 11, 10});
  sampler.reset(4);
  CHECK_EQ(rest_of(sampler, 5), Indices{0, 1, 2, 3});
  data::samplers::RandomSampler of_ints(7, kInt);
  CHECK_EQ(rest_of(of_ints, 3), Indices{0, 2, 6, 1, 4, 5, 3});
}

// %%
TEST_CASE("distributed samplers: together the whole set, saved and resumed, and ranks that cannot be") {
  using namespace data::samplers;
  std::multiset<std::size_t> seen;
  for (std::size_t rank = 0; rank < 4; ++rank) {
    DistributedRandomSampler sampler(12, 4, rank);
    sampler.set_epoch(3);
    sampler.reset();
    for (const std::size_t index : rest_of(sampler, 2)) seen.insert(index);
  }
  CHECK_EQ(seen.size(), 12);
  CHECK_EQ(std::set<std::size_t>(seen.begin(), seen.end()).size(), 12);

  DistributedRandomSampler sampler(20, 2, 1);
  sampler.set_epoch(5);
  sampler.reset();
  sampler.next(3);
  DistributedRandomSampler other(20, 2, 1);
  other.set_state(sampler.state());
  CHECK_EQ(other.epoch(), 5);
  CHECK_EQ(rest_of(other, 4), rest_of(sampler, 4));
  DistributedRandomSampler first(20, 2, 0);
  CHECK_ERROR(first.set_state(other.state()), "'sample_index_' is 20, outside of [0, 10]");
  CHECK_ERROR(other.set_state(first.state()), "The saved state is of another process");
  DistributedSequentialSampler sequential(20, 2, 1), resumed(20, 2, 1);
  sequential.next(4);
  resumed.set_state(sequential.state());
  CHECK_EQ(rest_of(resumed, 4), rest_of(sequential, 4));
  CHECK_THROWS_AS(DistributedRandomSampler(20, 2, 2), ValueError);
}

// %% [markdown]
// ### Streams
//
// A stream has no indices: nobody can ask for example 7 of a log that is still being written. So the request is a number, and the dataset decides what comes. libtorch has two ways to load one:
//
//     StreamDataset + StreamSampler      stateless loader: each worker has its own copy of the stream; the sampler ends the epoch after so many examples
//     StatefulDataset                    stateful loader: all workers share one dataset, which ends the epoch itself, by giving no batch

// %%
//| export data/stream.h
namespace data::samplers {

// A request of another kind than a list of indices; a loader asks it only how many examples it is for. Source: torch/data/samplers/custom_batch_request.h.
struct CustomBatchRequest {
  CustomBatchRequest() = default;
  CustomBatchRequest(const CustomBatchRequest&) = default;
  CustomBatchRequest(CustomBatchRequest&&) noexcept = default;
  CustomBatchRequest& operator=(const CustomBatchRequest&) = default;
  CustomBatchRequest& operator=(CustomBatchRequest&&) noexcept = default;
  virtual ~CustomBatchRequest() = default;
  virtual std::size_t size() const = 0;
};

// A request by number alone, for streams.
struct BatchSize : public CustomBatchRequest {
  explicit BatchSize(std::size_t count) : size_(count) {}
  std::size_t size() const noexcept override { return size_; }
  operator std::size_t() const noexcept { return size_; }

  std::size_t size_;
};

// For datasets that are streams: says how many examples to read, until the epoch has had `epoch_size` of them.
// Source: torch/data/samplers/stream.h.
class StreamSampler : public Sampler<BatchSize> {
 public:
  explicit StreamSampler(std::size_t epoch_size) : epoch_size_(epoch_size) {}
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<BatchSize> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;

 private:
  std::size_t examples_retrieved_so_far_ = 0;
  std::size_t epoch_size_;
};

}  // namespace data::samplers

// %%
//| export data/stream.cpp
void data::samplers::StreamSampler::reset(std::optional<std::size_t> new_size) {
  if (new_size) epoch_size_ = *new_size;
  examples_retrieved_so_far_ = 0;
}

std::optional<data::samplers::BatchSize> data::samplers::StreamSampler::next(std::size_t batch_size) {
  if (examples_retrieved_so_far_ >= epoch_size_) return std::nullopt;
  const std::size_t count = std::min(batch_size, epoch_size_ - examples_retrieved_so_far_);
  examples_retrieved_so_far_ += count;
  return BatchSize(count);
}

data::State data::samplers::StreamSampler::state() const {
  return detail::state_of_position("examples_retrieved_so_far", examples_retrieved_so_far_);
}

void data::samplers::StreamSampler::set_state(const State& state) {
  examples_retrieved_so_far_ =
      static_cast<std::size_t>(detail::saved_position(state, "examples_retrieved_so_far", static_cast<std::int64_t>(epoch_size_)));
}

// %%
//| export data/stream.h
namespace data {

namespace datasets {

// A dataset that knows itself where it is. get_batch() gives an optional batch: none ends the epoch. reset() begins the next one.
// Source: torch/data/datasets/stateful.h.
template <class Self, class Batch = std::vector<Example<>>, class BatchRequest = std::size_t>
class StatefulDataset : public BatchDataset<Self, std::optional<Batch>, BatchRequest> {
 public:
  virtual void reset() = 0;
  virtual void save(serialize::OutputArchive& archive) const = 0;
  virtual void load(serialize::InputArchive& archive) = 0;
};

}  // namespace datasets

// A stream that all workers share; its get_batch() must be thread-safe. Source: torch/data/dataloader/stateful.h.
template <class Dataset>
class StatefulDataLoader : public DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType> {
 public:
  using super = DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType>;
  using typename super::BatchRequestType;

  StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options);

 private:
  void reset() override {
    this->main_thread_dataset_->reset();
    super::reset();
  }
  std::optional<BatchRequestType> get_batch_request() override { return BatchRequestType(this->options_.batch_size); }
};

// A loader of a stream.
template <class Dataset>
  requires(Dataset::is_stateful)
std::unique_ptr<StatefulDataLoader<Dataset>> make_data_loader(Dataset dataset, DataLoaderOptions options = DataLoaderOptions()) {
  return std::make_unique<StatefulDataLoader<Dataset>>(std::move(dataset), options);
}

}  // namespace data

// %%
//| export data/stream.h
template <class Dataset>
data::StatefulDataLoader<Dataset>::StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options)
    : super(options, std::make_unique<Dataset>(std::move(dataset))) {
  for (std::size_t i = 0; i < this->options_.workers; ++i) {
    this->workers_.start([this] { this->worker_thread(*this->main_thread_dataset_); });
  }
}

// %%
TEST_CASE("StreamSampler: numbers of examples, until the epoch has had enough") {
  data::samplers::StreamSampler stream(5);
  CHECK_EQ(stream.next(3)->size(), 3);
  CHECK_EQ(stream.next(3)->size(), 2);
  CHECK(!stream.next(3).has_value());
}

// %%
TEST_CASE("StreamDataset: each worker reads its own copy, and the sampler says when it is enough") {
  struct Noise : data::datasets::StreamDataset<Noise, std::vector<int>> {
    std::vector<int> get_batch(std::size_t request) override { return std::vector<int>(request, 7); }
    std::optional<std::size_t> size() const override { return std::nullopt; }
  };
  for (const std::size_t workers : {0, 2}) {
    auto loader = data::make_data_loader(Noise(), data::samplers::StreamSampler(10), data::DataLoaderOptions(4).workers(workers));
    std::vector<std::size_t> sizes;
    for (auto& batch : *loader) sizes.push_back(batch.size());
    CHECK_EQ(sizes, std::vector<std::size_t>{4, 4, 2});
  }
}

// %%
TEST_CASE("DataLoader: a stream that all workers share") {
  // Counts down; each request takes up to `request` numbers.
  struct Countdown : data::datasets::StatefulDataset<Countdown, std::vector<int>> {
    explicit Countdown(int first) : start(first), left(std::make_shared<std::atomic<int>>(first)) {}
    std::optional<std::vector<int>> get_batch(std::size_t request) override {
      std::vector<int> batch;
      while (batch.size() < request) {
        const int value = left->fetch_sub(1);
        if (value <= 0) break;
        batch.push_back(value);
      }
      if (batch.empty()) return std::nullopt;
      return batch;
    }
    std::optional<std::size_t> size() const override { return std::nullopt; }
    void reset() override { left->store(start); }
    void save(serialize::OutputArchive&) const override {}
    void load(serialize::InputArchive&) override {}
    int start;
    std::shared_ptr<std::atomic<int>> left;
  };
  for (const std::size_t workers : {0, 2}) {
    auto loader = data::make_data_loader(
        Countdown(20).map(data::transforms::BatchLambda<std::vector<int>, int>([](std::vector<int> x) { return std::accumulate(x.begin(), x.end(), 0); })),
        data::DataLoaderOptions(3).workers(workers));
    for (int epoch = 0; epoch < 2; ++epoch) {
      int sum = 0;
      for (const int part : *loader) sum += part;
      CHECK_EQ(sum, 210);
    }
  }
}

// %% [markdown]
// ### What module 07's loader promises
//
// Tests of the loader beyond those that stand in the lesson: iterators past the end, options, order and timeouts.

// %%
TEST_CASE("Iterator: one pass, its end, and past it") {
  int made = 0;
  auto pass = std::make_shared<data::detail::Pass<int>>();
  pass->next_batch = [&made] { return made < 3 ? std::optional<int>(++made) : std::nullopt; };
  data::Iterator<int> it(pass);
  const data::Iterator<int> end;
  CHECK_EQ(made, 0);  // nothing is made before somebody looks
  CHECK_EQ(*it, 1);
  CHECK_EQ(made, 1);
  CHECK_EQ(*++it, 2);
  CHECK(it != end);
  ++it;
  ++it;
  CHECK(it == end);
  CHECK_ERROR(*it, "Attempted to dereference iterator that was past the end");
  CHECK_ERROR(++it, "Attempted to increment iterator past the end");
  data::Iterator<int> sentinel;
  CHECK_ERROR(*sentinel, "Dereferencing the DataLoader's past-the-end iterator is not allowed");
  CHECK_ERROR(++sentinel, "Incrementing the DataLoader's past-the-end iterator is not allowed");
}

// %%
TEST_CASE("DataLoader: batches stay in order when some take longer") {
  struct Uneven : data::datasets::Dataset<Uneven, data::Example<std::int64_t, std::int64_t>> {
    data::Example<std::int64_t, std::int64_t> get(std::size_t index) override {
      if (index % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return {0, static_cast<std::int64_t>(index)};
    }
    std::optional<std::size_t> size() const override { return 24; }
  };
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(Uneven(), data::DataLoaderOptions(1).workers(4));
  CHECK_EQ(targets_of(*loader), first_numbers(24));
}

// %%
TEST_CASE("DataLoader: a worker that is too slow runs into the timeout") {
  struct Stuck : data::datasets::Dataset<Stuck, int> {
    int get(std::size_t) override {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return 1;
    }
    std::optional<std::size_t> size() const override { return 1; }
  };
  auto loader = data::make_data_loader(Stuck(), data::DataLoaderOptions(1).workers(1).timeout(std::chrono::milliseconds(5)));
  CHECK_ERROR(*loader->begin(), "Timeout in DataLoader queue while waiting for next batch (timeout was 5 ms)");
}

// %%
TEST_CASE("DataLoader: options that make no sense") {
  using data::DataLoaderOptions;
  struct Unsized : data::Dataset<Unsized, int> {
    int get(std::size_t) override { return 0; }
    std::optional<std::size_t> size() const override { return std::nullopt; }
  };
  CHECK_ERROR(data::make_data_loader(Unsized(), DataLoaderOptions(4)), "Expected the dataset to be sized in order to construct the Sampler");
  CHECK_ERROR(data::make_data_loader(Squares(5), DataLoaderOptions(0)), "batch_size must be positive");
  CHECK_ERROR(data::make_data_loader(Squares(5), DataLoaderOptions(1).workers(2).max_jobs(0)), "max_jobs must be positive");
  CHECK_EQ(DataLoaderOptions(3).workers(4).max_jobs().has_value(), false);
  CHECK_EQ(data::FullDataLoaderOptions(DataLoaderOptions(3).workers(4)).max_jobs, 8);
}

// %%
}  // namespace tinytorch
