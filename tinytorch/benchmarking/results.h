// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/benchmarking/statistics.h"

namespace tinytorch {

namespace benchmarking {

// What the numbers were measured on, and when.
struct Machine {
  std::string cpu, os, compiler;
  int cores = 0;
  std::int64_t memory_bytes = 0;
  std::vector<std::string> simd;
  double load = 0;     // processes that wanted to run in the last minute, on average; 0 where the system does not tell
  std::string date;    // 2026-11-22T11:30:00Z
};

Machine this_machine();

// The samples of one subject in one case.
struct Result {
  std::string suite, name, subject;
  std::vector<double> seconds;  // per call, one for each round or block
  std::int64_t calls = 1;       // in a block
  double flops = 0;             // of one call; 0: nobody counts them
  double bytes = 0;             // that one call must at least move
  std::string note;
};

struct ResultFile {
  Machine machine;
  std::map<std::string, std::string> versions, settings;
  std::vector<Result> results;
};

// The file as JSON.
std::string results_text(const ResultFile& file);

// Writes that text whole or not at all: beside, flushed, renamed. Throws Error when it cannot be written; what was there before is untouched.
void write_results(const std::string& path, const ResultFile& file);

// Throws Error for a file that cannot be read, is no such file, or has a time that is not a positive number, and names what is wrong with it.
ResultFile read_results(const std::string& path);

}  // namespace benchmarking

namespace benchmarking {

enum class Verdict { Faster, Same, Slower, NoVerdict };

// What happened between two files to one subject in one case.
struct Change {
  std::string suite, name, subject;
  Verdict verdict = Verdict::NoVerdict;
  double ratio = 0;   // of the medians, after / before: above 1 it takes longer now
  Interval interval;  // of that ratio, at 95 %
};

// Judges two samples that were measured independently. `tolerance` 0.05 means that 5 % either way counts as the same. No verdict when one has fewer than six values.
// Throws ValueError when one has none.
Change compare_samples(const std::vector<double>& before, const std::vector<double>& after, double tolerance = 0.05);

// The cases that both files have, judged; in the order of `before`.
std::vector<Change> compare_files(const ResultFile& before, const ResultFile& after, double tolerance = 0.05);
// A sentence for each case that has times in one of the files only.
std::vector<std::string> not_compared(const ResultFile& before, const ResultFile& after);

// Why times of these files should not be compared at all (another CPU, other settings, another compiler); empty if nothing speaks against it. Files from before the settings `capability` and `kernels` say nothing
// about them, which speaks against nothing.
std::string why_not_comparable(const ResultFile& before, const ResultFile& after);

std::string_view name_of(Verdict verdict);

}  // namespace benchmarking

}  // namespace tinytorch
