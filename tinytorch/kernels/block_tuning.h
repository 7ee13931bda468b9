// From the lesson modules/61_block_tuning/block_tuning_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tinytorch/core/scalar_type.h"

namespace tinytorch {

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

}  // namespace tinytorch
