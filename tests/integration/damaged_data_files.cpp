// Thousands of damaged data files. Each is either read or refused by one of the library's errors; none may crash, hang, or allocate what
// the file cannot hold. The seed is fixed, and a failing try leaves its number in the output.
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch {
namespace {

// A file for the tries, removed at the end.
struct DamagedFile {
  DamagedFile() : path((std::filesystem::temp_directory_path() / str("tinytorch-damaged-", std::random_device()())).string()) {}
  ~DamagedFile() { std::filesystem::remove(path); }
  DamagedFile(const DamagedFile&) = delete;
  DamagedFile& operator=(const DamagedFile&) = delete;
  void write(const std::string& bytes) const { std::ofstream(path, std::ios::binary) << bytes; }
  std::string path;
};

// One to four changes: a byte or a bit, a piece cut out, doubled or filled with one value, the end cut off or made longer.
std::string damaged(std::string bytes, std::mt19937& random) {
  const auto below = [&random](std::size_t limit) { return limit == 0 ? 0 : random() % limit; };
  for (std::size_t change = 1 + below(4); change > 0; --change) {
    const std::size_t at = below(bytes.size());
    const std::size_t length = std::min(bytes.size() - at, 1 + below(8));
    switch (below(7)) {
      case 0: if (!bytes.empty()) bytes[at] = static_cast<char>(random()); break;
      case 1: if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
      case 2: bytes.erase(at, length); break;
      case 3: bytes.insert(at, bytes.substr(at, length)); break;
      case 4: std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, static_cast<char>(below(2) == 0 ? 0xff : 0)); break;
      case 5: bytes.resize(at); break;
      default: bytes += std::string(1 + below(20), static_cast<char>(random())); break;
    }
  }
  return bytes;
}

// The bytes as gzip packs them.
std::string packed(const std::string& bytes) {
  const DamagedFile file;
  const gzFile out = gzopen(file.path.c_str(), "wb");
  gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(out);
  std::ifstream in(file.path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Reads `tries` damaged copies; returns how many were read in spite of it.
template <class Read>
int read_damaged(const std::string& good, int tries, Read read) {
  std::mt19937 random(94);
  const DamagedFile file;
  int were_read = 0;
  for (int i = 0; i < tries; ++i) {
    CAPTURE(i);
    file.write(damaged(good, random));
    memory::reset_peak();
    const std::size_t before = memory::stats().live;
    try {
      read(file.path);
      ++were_read;
    } catch (const Error& error) {
      CHECK(!std::string(error.what_without_backtrace()).empty());
    }
    // A file of some hundred bytes unpacks to at most 1,032 times as many.
    CHECK_LE(memory::stats().peak - before, std::size_t{1} << 20);
  }
  return were_read;
}

std::string idx_file() {
  std::string bytes = {0, 0, 0x08, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6};
  for (int i = 0; i < 4 * 5 * 6; ++i) bytes += static_cast<char>(i);
  return bytes;
}

}  // namespace

TEST_CASE("damaged IDX files are read or refused: plain, compressed, mapped") {
  const auto read = [](const std::string& path) { data::read_idx(path); };
  const int plain = read_damaged(idx_file(), 3000, read);
  CHECK_GT(plain, 0);     // changed pixels are pixels
  CHECK_LT(plain, 3000);
  CHECK_LT(read_damaged(packed(idx_file()), 3000, read), 3000);
  CHECK_LT(read_damaged(idx_file(), 1000, [](const std::string& path) { data::map_idx(path).sum(); }), 1000);
}

TEST_CASE("damaged tables are read or refused") {
  const std::string table = "length,species,width\n5.1,setosa,1e2\n\"4.9\",\"virginica\",-.5\n6, setosa ,3\r\n\n7.25,setosa,0\n";
  const auto options = data::CsvOptions().header(true).categories({"species"});
  const int were_read = read_damaged(table, 4000, [&](const std::string& path) { data::read_csv(path, options); });
  CHECK_GT(were_read, 0);
  CHECK_LT(were_read, 4000);
}

TEST_CASE("damaged CIFAR-10 and text files are read or refused") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / str("tinytorch-damaged-", std::random_device()());
  std::filesystem::create_directory(folder);
  std::mt19937 random(10);
  int were_read = 0;
  for (int i = 0; i < 500; ++i) {
    std::ofstream(folder / "test_batch.bin", std::ios::binary) << damaged(std::string(2 * 3073, '\x03'), random);
    try {
      data::datasets::CIFAR10 test(folder.string(), data::datasets::CIFAR10::Mode::kTest);
      for (std::size_t index = 0; index < *test.size(); ++index) test.get(index);
      ++were_read;
    } catch (const Error&) {
    }
    std::ofstream(folder / "text.txt", std::ios::binary) << damaged("one\ntwo\r\n\nfour", random);
    data::datasets::TextLines lines((folder / "text.txt").string());
    for (std::size_t index = 0; index < *lines.size(); ++index) lines.get(index);
  }
  CHECK_GT(were_read, 0);
  CHECK_LT(were_read, 500);
  std::filesystem::remove_all(folder);
}

}  // namespace tinytorch
