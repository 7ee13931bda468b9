// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <string>

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace data {

// Values of type `dtype` that stand in the file from byte `offset` on, row by row, in this machine's byte order. O(1): nothing is read before it is touched. Writing into the tensor changes this
// process's view of it and never the file. Throws Error if the file cannot be opened or ends before the last value.
// REQUIRES: the file is not cut short while the tensor lives; `offset` is a multiple of the type's size.
Tensor map_file(const std::string& path, IntArrayRef sizes, ScalarType dtype = kByte, std::int64_t offset = 0);

// The values of an uncompressed IDX file of one-byte numbers, mapped. Throws Error as read_idx does, and for wider types and compressed files.
Tensor map_idx(const std::string& path);

}  // namespace data

}  // namespace tinytorch
