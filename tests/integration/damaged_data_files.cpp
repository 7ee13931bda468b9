// Data files that were damaged on the way: each is read, or refused with a sentence that names the file. Nothing crashes, and no other exception gets out.
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "golden/damage.h"
#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch::testing {
namespace {

void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// An IDX file of 5 x 4 x 3 numbers of the type with this code and width.
std::string idx_file(int type, std::size_t width) {
  std::string bytes{0, 0, static_cast<char>(type), 3, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 3};
  for (std::size_t i = 0; i < 60 * width; ++i) bytes.push_back(static_cast<char>(i * 7 % 120));
  return bytes;
}

std::string gzipped(const std::string& bytes, const std::string& path) {
  const gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  CHECK_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), static_cast<int>(bytes.size()));
  CHECK_EQ(gzclose(file), Z_OK);
  return serialize::read_file(path);
}

// Damages `bytes` some times, writes them to `path` and reads it. `action` returns a complaint of its own, or "".
template <class Action>
void damage_and_read(const std::string& bytes, const std::string& path, std::uint64_t seed, int times, Action action) {
  Damage damage(seed);
  int refused = 0;
  for (int i = 0; i < times; ++i) {
    write(path, damage.apply(bytes));
    CAPTURE(seed);
    CAPTURE(i);
    CAPTURE(damage.what());
    std::string sentence;
    CHECK_EQ(complaint_of([&] {
               try {
                 action(path);
               } catch (const Error& error) {
                 sentence = error.what_without_backtrace();
                 throw;
               }
             }),
             "");
    if (sentence.empty()) continue;
    ++refused;
    CHECK_NE(sentence.find(path), std::string::npos);
  }
  CHECK_GT(refused, 0);
}

void read_all_idx(const std::string& path) {
  const Tensor values = data::read_idx(path);
  if (values.numel() > 0) values.to(kDouble).sum();  // touches every value
}

void read_table(const std::string& path) {
  const data::CsvTable table = data::read_csv(path, data::CsvOptions().header(true).missing(0.0).categories(std::vector<std::string>{}));
  table.values.sum();
}

void damage_everything(std::uint64_t seed, int times) {
  const tito::Scratch folder;
  for (const auto& [number, width] : {std::pair{8, 1}, {9, 1}, {11, 2}, {12, 4}, {13, 4}, {14, 8}}) {
    const int type = number;
    CAPTURE(type);
    const std::string bytes = idx_file(type, static_cast<std::size_t>(width));
    CHECK_EQ(complaint_of([&] {
               write(folder.path("sound"), bytes);
               CHECK(data::read_idx(folder.path("sound")).sizes() == IntArrayRef({5, 4, 3}));
             }),
             "");
    damage_and_read(bytes, folder.path("numbers-idx3"), seed + static_cast<std::uint64_t>(type), times, read_all_idx);
  }
  damage_and_read(idx_file(8, 1), folder.path("mapped-idx3"), seed + 1, times, [](const std::string& path) {
    const Tensor values = data::map_idx(path);
    if (values.numel() > 0) values.to(kDouble).sum();
  });
  damage_and_read(gzipped(idx_file(8, 1), folder.path("sound.gz")), folder.path("numbers-idx3.gz"), seed + 2, times, read_all_idx);

  std::string table = "a,b,c\n";
  for (int row = 0; row < 20; ++row) table += std::to_string(row) + "," + std::to_string(row * 0.37 - 3) + (row % 3 == 0 ? ",\"1e-3\"\n" : ",\n");
  damage_and_read(table, folder.path("table.csv"), seed + 3, times, read_table);

  std::string digits;
  for (int row = 0; row < 6; ++row) {
    for (int pixel = 0; pixel < 64; ++pixel) digits += std::to_string((row * pixel) % 17) + ",";
    digits += std::to_string(row) + "\n";
  }
  damage_and_read(digits, folder.path("digits.csv"), seed + 4, times, [](const std::string& path) {
    const data::datasets::Digits set(data::datasets::Digits::Mode::kTest, path);
    set.images().sum();
  });

  // Two photographs. The reader is given the folder.
  std::string photographs;
  for (int i = 0; i < 2 * 3073; ++i) photographs.push_back(static_cast<char>(i % 3073 == 0 ? 7 : i % 251));
  damage_and_read(photographs, folder.path("test_batch.bin"), seed + 5, times, [&](const std::string&) {
    data::datasets::CIFAR10 set(folder.path(), data::datasets::CIFAR10::Mode::kTest);
    for (std::size_t i = 0; i < *set.size(); ++i) set.get(i);
  });

  damage_and_read(table, folder.path("lines.txt"), seed + 6, 1, [](const std::string& path) {
    data::datasets::TextLines lines(path);
    for (std::size_t i = 0; i < *lines.size(); ++i) lines.get(i);
    data::read_idx(path);  // a text is no IDX file
  });
}

}  // namespace

TEST_CASE("damaged data files: IDX, compressed and mapped IDX, tables, digits, photographs") { damage_everything(94, 200); }

TEST_CASE("thorough: damaged data files, at length" * doctest::skip()) {
  const std::uint64_t seed = std::random_device{}();
  MESSAGE("seed " << seed);
  damage_everything(seed, 20'000);
}

}  // namespace tinytorch::testing
