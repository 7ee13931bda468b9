// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/utils.h"

namespace tinytorch {

// Reads the arrays of a NumPy file, one after the other, as repeated np.save(file, array) writes them. Takes f4, f8, i4, i8, u1 and b1 in row-major order. Throws Error,
// naming the file, if it is anything else, is cut off, or does not have `expected_arrays` arrays (-1: any number).
std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays = -1);

}  // namespace tinytorch
