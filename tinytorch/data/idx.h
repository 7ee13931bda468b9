// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace data {

// The numbers of an IDX file, plain or compressed by gzip, in the type and shape that its header names.
// Throws Error, one sentence that names the file, if it is missing, is not IDX, is cut off, damaged, or longer than it says;
// nothing is allocated for a size that the file cannot hold. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
Tensor read_idx(const std::string& path);

}  // namespace data

}  // namespace tinytorch
