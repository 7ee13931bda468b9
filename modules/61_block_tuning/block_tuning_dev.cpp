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
// # Library chapter 61: Blocks found by measuring
//
// Module 16 cuts a product into blocks whose sizes follow from the caches. A formula knows the sizes of caches and nothing else: not that a neighbour uses half of one, not how good the processor is at fetching ahead. A measurement knows all of it, for the moment at which it was taken. So the formula stays what everybody gets, and who wants more measures once:
//
//     ./tito doctor --tune   -->  a product with blocks of 1/2, 3/4, 1, 3/2 and 2 times the calculated columns, in turns
//                            -->  ~/.cache/tinytorch/block_columns_AVX2.txt  (in XDG_CACHE_HOME, if that is set; a file for each capability)
//
//     every program          -->  at its first large product: is there a file, and is it about this machine?  -->  its columns, or the calculated ones
//
// **What is varied, and what is not.** A block has a depth (K) and a width (N, columns of B). The depth decides where a sum over K is interrupted, and so its last bits. The width decides only which columns are packed together: every element keeps its sum, in its order. So only the width is measured, and a file on a machine changes no result by a bit. A test below holds it to that.
//
// **Noise.** Where no candidate is better in every round, and by 3 % in the median, the calculated columns stay. Otherwise the file would keep noise: with the median alone, four runs on one machine chose four different blocks.
//
// **The file** is text, with what it is about in its first lines. It is written beside, flushed and renamed, so that two programs that write at once leave one whole file. What is damaged, or was made on another machine or by another version, or is no file at all but a folder or a pipe, is left out with one warning, and the calculated columns are used.

// %%
//| after 16
//| export kernels/block_tuning.h
#include <cstdint>
#include <string>
#include <vector>
#include "tinytorch/core/scalar_type.h"
//| export kernels/block_tuning.cpp
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <sstream>
#include <system_error>
#include "tinytorch/core/error.h"
#include "tinytorch/core/system_info.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/core/warning.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/serialize/file.h"

// %%
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/warning.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/serialize/file.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The file

// %%
//| export kernels/block_tuning.h
namespace kernels {

// One candidate: blocks of `columns` columns of B, and the seconds of a product with them (the median of the rounds).
struct BlockTrial {
  ScalarType type;
  std::int64_t columns;
  double seconds;
  bool calculated;  // what block_sizes() says
  bool chosen;
};

// Measures products of `size` x `size` floats, and of doubles of three quarters of that, with several widths of blocks, for the capability in use, on the threads in use (two seconds or so); writes what was chosen to block_file(), and uses it from now on.
// No result changes by a bit. Throws Error where the file cannot be written, or where there is no folder for it.
std::vector<BlockTrial> autotune_blocks(std::int64_t size = 1024);

// tinytorch/block_columns_AVX2.txt (for the capability in use) in XDG_CACHE_HOME, or else in .cache of HOME. Empty where the environment names neither.
std::string block_file();

// The columns of a block that such a file gives for float and for double, 0 and 0 where it is not about this machine, library and capability() or is damaged; `why_not` then says which in a sentence.
struct BlockColumns {
  std::int64_t in_float = 0, in_double = 0;
};
BlockColumns read_block_columns(const std::string& text, std::string& why_not);
std::string block_file_text(const BlockColumns& columns);

// What block_file() gives; 0 and 0 where there is none, and where it is left out, with a warning that says why.
BlockColumns read_block_file();

}  // namespace kernels

// %%
//| export kernels/block_tuning.cpp
namespace {
// What a file is about: its first lines. The first one changes with the format and with the kernels.
std::string about_this_machine() {
  const kernels::CacheSizes caches = kernels::cache_sizes();
  return str("tinytorch 0.1.0, columns of a block\ncpu ", system_info().cpu_model, "\ncaches ", caches.first, " ", caches.second, "\ncapability ", get_cpu_capability(), "\n");
}

// Such a file has some two hundred bytes.
constexpr std::uintmax_t kLargestFile = 4096;

// Whether a block may have so many columns: a multiple of the tile's, as calculated ones are.
template <class T>
bool may_be_columns(std::int64_t columns) {
  return columns > 0 && columns <= (std::int64_t{1} << 20) && columns % kernels::gemm_table<T>().columns == 0;
}
}  // namespace

std::string kernels::block_file() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const std::string name = str("/tinytorch/block_columns_", get_cpu_capability(), ".txt");
  if (cache != nullptr && cache[0] == '/') return cache + name;  // a relative one is to be ignored, says the specification
  const char* const home = std::getenv("HOME");
  return home == nullptr || home[0] == '\0' ? "" : str(home, "/.cache", name);
}

std::string kernels::block_file_text(const BlockColumns& columns) { return str(about_this_machine(), "float ", columns.in_float, "\ndouble ", columns.in_double, "\nend\n"); }

kernels::BlockColumns kernels::read_block_columns(const std::string& text, std::string& why_not) {
  const std::string about = about_this_machine();
  BlockColumns columns;
  if (!text.starts_with(about)) {
    why_not = "it is about another machine or another version";
    return {};
  }
  std::istringstream lines(text.substr(about.size()));
  std::string in_float, in_double;
  lines >> in_float >> columns.in_float >> in_double >> columns.in_double;
  if (!lines || text != block_file_text(columns) || !may_be_columns<float>(columns.in_float) || !may_be_columns<double>(columns.in_double)) {
    why_not = "it is damaged";
    return {};
  }
  return columns;
}

// %%
//| export kernels/block_tuning.cpp
kernels::BlockColumns kernels::read_block_file() {
  const std::string path = block_file();
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (path.empty() || !std::filesystem::exists(status)) return {};
  BlockColumns columns;
  std::string why_not;
  if (!std::filesystem::is_regular_file(status)) why_not = "it is no regular file and must be removed";  // a folder has no text, and a pipe would be waited for
  else if (std::filesystem::file_size(path, ignored) > kLargestFile) why_not = "it is damaged";
  else if (std::ifstream file(path, std::ios::binary); !file) why_not = "it cannot be read";
  else columns = read_block_columns(std::string(std::istreambuf_iterator<char>(file), {}), why_not);
  if (!why_not.empty()) TORCH_WARN(path, " is not used: ", why_not, "; tito doctor --tune measures anew.");
  return columns;
}

// %% [markdown]
// ## Who uses it
//
// Module 16 asks one function for the width of a block, if there is one. It reads the file when it is first asked, once for each capability (a program may force another one, as tests do).

// %%
//| export kernels/block_tuning.cpp
namespace {
// For each capability: what the file says. 0: as calculated.
struct ColumnsInUse {
  std::once_flag read;
  std::atomic<std::int64_t> in_float{0}, in_double{0};
};

ColumnsInUse& columns_in_use() {
  static std::array<ColumnsInUse, kernels::kCapabilityCount> all;
  return all[static_cast<std::size_t>(kernels::capability())];
}

void use_columns(const kernels::BlockColumns& columns) {
  columns_in_use().in_float.store(columns.in_float, std::memory_order_relaxed);
  columns_in_use().in_double.store(columns.in_double, std::memory_order_relaxed);
}

void read_file_of_columns() { use_columns(kernels::read_block_file()); }

std::int64_t columns_from_file(bool of_double) {
  ColumnsInUse& columns = columns_in_use();
  std::call_once(columns.read, read_file_of_columns);
  return (of_double ? columns.in_double : columns.in_float).load(std::memory_order_relaxed);
}
}  // namespace

// %%
//| export kernels/block_tuning.cpp
//| registers
void register_block_tuning() { kernels::measured_block_columns = columns_from_file; }

// %% [markdown]
// ## Measuring
//
// Each candidate multiplies once in each round, and the rounds take turns forwards and backwards, so that a processor that becomes slower meanwhile does not decide. The matrices are larger than a block in every direction.

// %%
//| export kernels/block_tuning.cpp
namespace {
// The calculated columns and four others around them, without repetitions.
template <class T>
std::vector<std::int64_t> candidate_columns() {
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const std::int64_t calculated = kernels::block_sizes(kernels::cache_sizes(), sizeof(T), table.rows, table.columns).N;
  std::vector<std::int64_t> candidates{calculated};
  for (const double factor : {0.5, 0.75, 1.5, 2.0}) {
    const std::int64_t columns = std::max<std::int64_t>(table.columns, static_cast<std::int64_t>(factor * static_cast<double>(calculated)) / table.columns * table.columns);
    if (std::find(candidates.begin(), candidates.end(), columns) == candidates.end()) candidates.push_back(columns);
  }
  return candidates;
}

// Measures the candidates for T; the calculated one is first, and is chosen unless another is faster in every round and by 3 % in the median.
template <class T>
std::vector<kernels::BlockTrial> try_candidates(std::int64_t size, std::atomic<std::int64_t>& columns_used) {
  constexpr int rounds = 9;
  const ScalarType type = sizeof(T) == 4 ? kFloat : kDouble;
  const std::vector<std::int64_t> candidates = candidate_columns<T>();
  std::vector<std::vector<double>> seconds(candidates.size());
  const std::size_t count = static_cast<std::size_t>(size * size);
  const std::vector<T> a(count, T{1}), b(count, T{2});
  std::vector<T> out(count);
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const std::size_t which = round % 2 == 0 ? i : candidates.size() - 1 - i;
      columns_used.store(candidates[which], std::memory_order_relaxed);
      const Timer timer;
      kernels::multiply<T>(size, size, size, T{1}, {a.data(), size, 1}, {b.data(), size, 1}, T{0}, {nullptr, 0, 0}, out.data(), size);
      seconds[which].push_back(timer.seconds());
    }
  std::vector<kernels::BlockTrial> trials;
  for (std::size_t i = 0; i < candidates.size(); ++i) trials.push_back({type, candidates[i], median_of(seconds[i]), i == 0, false});
  std::size_t chosen = 0;
  for (std::size_t i = 1; i < trials.size(); ++i) {
    const bool in_every_round = std::equal(seconds[i].begin(), seconds[i].end(), seconds[0].begin(), std::less<>());
    if (in_every_round && trials[i].seconds < 0.97 * trials[0].seconds && trials[i].seconds < trials[chosen].seconds) chosen = i;
  }
  trials[chosen].chosen = true;
  return trials;
}

std::int64_t chosen_columns(const std::vector<kernels::BlockTrial>& trials) {
  return std::find_if(trials.begin(), trials.end(), [](const auto& trial) { return trial.chosen; })->columns;
}
}  // namespace

std::vector<kernels::BlockTrial> kernels::autotune_blocks(std::int64_t size) {
  const std::string path = block_file();
  TORCH_CHECK(!path.empty(), "there is no folder for what was measured\n[autotune_blocks] neither XDG_CACHE_HOME nor HOME is set; set one of them.");
  ColumnsInUse& columns = columns_in_use();
  std::call_once(columns.read, [] {});  // what the file says does not matter any more
  std::vector<BlockTrial> trials = try_candidates<float>(size, columns.in_float);
  const std::vector<BlockTrial> doubles = try_candidates<double>(size / 4 * 3, columns.in_double);
  const BlockColumns chosen{chosen_columns(trials), chosen_columns(doubles)};
  use_columns(chosen);
  std::error_code ignored;  // where there is no folder, writing says so
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  serialize::write_file_atomically(path, block_file_text(chosen));
  trials.insert(trials.end(), doubles.begin(), doubles.end());
  return trials;
}

// %%
//| lesson
// A cache folder of the test's own, for a scope.
class CacheFolder {
 public:
  CacheFolder() : before_(std::getenv("XDG_CACHE_HOME") == nullptr ? "" : std::getenv("XDG_CACHE_HOME")), path_(std::filesystem::temp_directory_path() / ("tinytorch_blocks_" + std::to_string(::getpid()))) {
    ::setenv("XDG_CACHE_HOME", path_.c_str(), 1);
  }
  ~CacheFolder() {
    std::filesystem::remove_all(path_);
    if (before_.empty()) ::unsetenv("XDG_CACHE_HOME");
    else ::setenv("XDG_CACHE_HOME", before_.c_str(), 1);
  }
  CacheFolder(const CacheFolder&) = delete;
  CacheFolder& operator=(const CacheFolder&) = delete;

 private:
  std::string before_;
  std::filesystem::path path_;
};

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// %%
TEST_CASE("block file: read back on this machine; damaged or foreign ones are left out, with the reason") {
  const kernels::GemmTable<float>& table = kernels::gemm_table<float>();
  const kernels::BlockColumns columns{7 * table.columns, 5 * kernels::gemm_table<double>().columns};
  const std::string text = kernels::block_file_text(columns);
  const auto read = [](const std::string& file) {
    std::string why_not;
    const kernels::BlockColumns found = kernels::read_block_columns(file, why_not);
    return why_not.empty() ? std::to_string(found.in_float) + " " + std::to_string(found.in_double) : why_not;
  };
  CHECK_EQ(read(text), std::to_string(columns.in_float) + " " + std::to_string(columns.in_double));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  CHECK_EQ(read(with("cpu ", "cpu Some other ")), "it is about another machine or another version");
  CHECK_EQ(read(with("caches ", "caches 1")), "it is about another machine or another version");
  CHECK_EQ(read(with("capability ", "capability NO")), "it is about another machine or another version");
  CHECK_EQ(read(with("0.1.0", "0.0.9")), "it is about another machine or another version");
  CHECK_EQ(read(""), "it is about another machine or another version");
  CHECK_EQ(read(text.substr(0, text.size() - 1)), "it is damaged");  // cut off
  CHECK_EQ(read(text + "\n"), "it is damaged");
  CHECK_EQ(read(with("float ", "float -")), "it is damaged");
  CHECK_EQ(read(with("float ", "float 1000000000000000000000")), "it is damaged");
  CHECK_EQ(read(kernels::block_file_text({0, columns.in_double})), "it is damaged");
  CHECK_EQ(read(kernels::block_file_text({columns.in_float + 1, columns.in_double})), table.columns == 1 ? "" : "it is damaged");
}

TEST_CASE("block file: in XDG_CACHE_HOME, and whole whoever writes at the same time") {
  const CacheFolder folder;
  const std::string path = kernels::block_file();
  CHECK_EQ(path, std::string(std::getenv("XDG_CACHE_HOME")) + "/tinytorch/block_columns_" + get_cpu_capability() + ".txt");
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  const std::int64_t columns = kernels::gemm_table<float>().columns, columns_of_double = kernels::gemm_table<double>().columns;
  serialize::write_file_atomically(path, kernels::block_file_text({columns, columns_of_double}));
  std::atomic<int> writing = 3;
  std::vector<std::thread> writers;
  for (int w = 1; w <= 3; ++w)
    writers.emplace_back([&, w] {
      for (int i = 0; i < 20; ++i) serialize::write_file_atomically(path, kernels::block_file_text({w * columns, w * columns_of_double}));
      --writing;
    });
  while (writing > 0) {
    std::string why_not;
    const kernels::BlockColumns found = kernels::read_block_columns(text_of(path), why_not);
    REQUIRE_EQ(why_not, "");
    CHECK_EQ(found.in_float / columns, found.in_double / columns_of_double);
  }
  for (std::thread& writer : writers) writer.join();
  CHECK_EQ(std::distance(std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()), std::filesystem::directory_iterator()), 1);
}

TEST_CASE("block file: what is no regular file, or too large, is left out with one warning") {
  struct Collected : WarningHandler {
    void process(const Warning& warning) override { messages += warning.msg() + "\n"; }
    std::string messages;
  };
  const CacheFolder folder;
  const std::string path = kernels::block_file();
  const auto warning = [&] {
    Collected collected;
    const WarningUtils::WarningHandlerGuard guard(&collected);
    kernels::read_block_file();
    return collected.messages;
  };
  CHECK_EQ(warning(), "");  // there is none
  std::filesystem::create_directories(path);
  CHECK_EQ(warning(), path + " is not used: it is no regular file and must be removed; tito doctor --tune measures anew.\n");
  CHECK_ERROR(kernels::autotune_blocks(64), "cannot write " + path);
  std::filesystem::remove(path);
  REQUIRE_EQ(::mkfifo(path.c_str(), 0600), 0);  // a pipe that nobody writes to
  CHECK_NE(warning().find("it is no regular file"), std::string::npos);
  std::filesystem::remove(path);
  std::ofstream(path) << std::string(1 << 20, 'x');
  CHECK_NE(warning().find("it is damaged"), std::string::npos);
}

TEST_CASE("autotune_blocks: what it chose is in the file and in use, and no bit of a product changes") {
  const CacheFolder folder;
  manual_seed(4);
  const Tensor a = randn({700, 700}), b = randn({700, 300}), c = a.to(kDouble), d = b.to(kDouble);
  const Tensor before = mm(a, b), doubles_before = mm(c, d);
  const std::vector<kernels::BlockTrial> trials = kernels::autotune_blocks(256);  // what is chosen does not matter here
  std::string why_not;
  const kernels::BlockColumns kept = kernels::read_block_columns(text_of(kernels::block_file()), why_not);
  CHECK_EQ(why_not, "");
  int chosen = 0, calculated = 0;
  for (const kernels::BlockTrial& trial : trials) {
    CHECK_GT(trial.seconds, 0);
    chosen += trial.chosen ? 1 : 0;
    calculated += trial.calculated ? 1 : 0;
    if (trial.chosen) CHECK_EQ(trial.columns, trial.type == kFloat ? kept.in_float : kept.in_double);
  }
  CHECK_EQ(chosen, 2);
  CHECK_EQ(calculated, 2);
  CHECK_EQ(kernels::blocks_in_use<float>().N, kept.in_float);
  CHECK_EQ(kernels::blocks_in_use<double>().N, kept.in_double);
  CHECK_EQ(mm(a, b), before);
  CHECK_EQ(mm(c, d), doubles_before);
}

TEST_CASE("blocks: every width of a block gives the same bits") {
  manual_seed(5);
  const Tensor a = randn({500, 900}), b = randn({900, 350});
  const kernels::MeasuredBlockColumns before = kernels::measured_block_columns;
  static std::int64_t columns = 0;
  kernels::measured_block_columns = [](bool) { return columns; };
  const Tensor expected = mm(a, b);
  for (const std::int64_t panels : {1, 3, 10, 41, 200}) {
    columns = panels * kernels::gemm_table<float>().columns;
    CHECK_EQ(kernels::blocks_in_use<float>().N, columns);
    CHECK_EQ(mm(a, b), expected);
  }
  kernels::measured_block_columns = before;
}

// %%
}  // namespace tinytorch
