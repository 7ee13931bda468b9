// What `bench` decides without measuring: which processors a run has, what its kernels are, and whether a second file is slower than a first.
#pragma once

#include <cstdio>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "tinytorch/benchmarking/results.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/error.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"

// How `bench --compare` ends.
enum class Compared { NothingSlower = 0, Slower = 1, Not = 2 };

// The first processors of those that are allowed, one for each thread. Throws ValueError for more threads than there are; without a list (the system does not tell) they are 0, 1, 2, ...
inline std::vector<int> processors_for(int threads, const std::vector<int>& allowed) {
  std::vector<int> processors;
  for (int i = 0; i < threads; ++i) processors.push_back(allowed.empty() ? i : i < static_cast<int>(allowed.size()) ? allowed[static_cast<std::size_t>(i)] : -1);
  TORCH_CHECK_VALUE(processors.empty() || processors.back() >= 0, "--threads ", threads, " needs as many processors, but this process may run on ", allowed.size(),
                    " only; ask for no more, or give it more (taskset -c)");
  return processors;
}

// Which kernels this process runs, and with it its workers, who have the same environment: settings of a result file.
inline std::map<std::string, std::string> settings_of_kernels() {
  using namespace tinytorch;
  return {{"capability", get_cpu_capability()}, {"kernels", birth_layers.has(Layer::TunedCPU) ? "tuned" : "reference"}};
}

inline std::string version_in(const tinytorch::benchmarking::ResultFile& file) {
  const auto found = file.versions.find("tinytorch");
  return found == file.versions.end() ? "unknown" : found->second;
}

// Names what got slower between two files, and what only one of them has.
inline Compared compare(const tinytorch::benchmarking::ResultFile& before, const tinytorch::benchmarking::ResultFile& after, std::ostream& out) {
  using namespace tinytorch;
  if (const std::string why = benchmarking::why_not_comparable(before, after); !why.empty()) {
    out << "These files should not be compared: " << why << ".\n";
    return Compared::Not;
  }
  out << "TinyTorch " << version_in(before) << ", then " << version_in(after) << "\n";
  const std::vector<benchmarking::Change> changes = benchmarking::compare_files(before, after);
  int slower = 0;
  for (const benchmarking::Change& change : changes) {
    slower += change.verdict == benchmarking::Verdict::Slower && change.subject == "tinytorch";
    char numbers[96];
    std::snprintf(numbers, sizeof numbers, "%-11s %7.3f [%.3f, %.3f]  ", std::string(benchmarking::name_of(change.verdict)).c_str(), change.ratio, change.interval.low, change.interval.high);
    out << numbers << change.suite << ": " << change.name << ", " << change.subject << "\n";
  }
  for (const std::string& sentence : benchmarking::not_compared(before, after)) out << "not compared  " << sentence << "\n";
  if (changes.empty()) {
    out << "These files cannot be compared: no case has times in both.\n";
    return Compared::Not;
  }
  out << slower << " of TinyTorch's cases got slower (times after / before, intervals at 95 %, tolerance 5 %)\n";
  return slower > 0 ? Compared::Slower : Compared::NothingSlower;
}
