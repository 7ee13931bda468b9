// docs/performance.md: written from the files that `tito bench` left in benchmarks/results, and from the targets in benchmarks/cases.json.
#pragma once

#include <filesystem>
#include <string>

namespace tito {

namespace fs = std::filesystem;

// The page as it should be. Throws std::runtime_error for a file that is none of the benchmark's, and names it.
std::string performance_page(const fs::path& root);

// Empty when docs/performance.md is that page; else what to do.
std::string check_performance_page(const fs::path& root);

}  // namespace tito
