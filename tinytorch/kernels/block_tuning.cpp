// From the lesson modules/61_block_tuning/block_tuning_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/block_tuning.h"

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

namespace tinytorch {

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

void register_block_tuning() { kernels::measured_block_columns = columns_from_file; }

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

}  // namespace tinytorch
