// docs/performance.md and docs/performance_times.md: written from the files that `tito bench` left in benchmarks/results, from the targets in benchmarks/cases.json, and from what benchmarks/not_met.md says of lines that are not met.
#pragma once

#include <filesystem>
#include <string>

namespace tito {

namespace fs = std::filesystem;

// The page as it should be. Throws std::runtime_error for a file that is none of the benchmark's, and names it.
std::string performance_page(const fs::path& root);

// docs/performance_times.md, with the time of every case.
std::string performance_times_page(const fs::path& root);

// Empty when the files are these pages, and benchmarks/not_met.md says why for each line that is not met, and for no line that is; else what to do.
std::string check_performance_page(const fs::path& root);

}  // namespace tito
