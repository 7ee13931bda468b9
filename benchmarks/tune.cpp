// Measures how many rows of a product's operand are packed at a time, says what each candidate took, and keeps the best in the machine's file (library chapter 61). `tito doctor --tune` runs it.
#include <cstdio>
#include <exception>

#include "tinytorch/kernels/block_tuning.h"
#include "tinytorch/kernels/capability.h"

int main() {
  try {
    for (const auto& trial : tinytorch::kernels::autotune_blocks())
      std::printf("%s, kernels for %s: blocks of %5lld columns %8.2f ms%s%s\n", trial.type == tinytorch::kFloat ? "float " : "double", tinytorch::get_cpu_capability().c_str(), static_cast<long long>(trial.columns),
                  trial.seconds * 1e3, trial.calculated ? "  calculated" : "", trial.chosen ? "  chosen" : "");
    std::printf("written: %s\n", tinytorch::kernels::block_file().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
