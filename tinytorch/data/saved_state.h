// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tinytorch/data/samplers.h"

namespace tinytorch {

namespace data::detail {

// The tensor `key` of a saved state. Throws if it is missing or is not whole numbers of `dim` dimensions.
Tensor saved_tensor(const State& state, const char* key, std::int64_t dim);
// The position `key`, which must be in [0, limit].
std::int64_t saved_position(const State& state, const char* key, std::int64_t limit);
State state_of_position(const char* key, std::size_t position);

}  // namespace data::detail

}  // namespace tinytorch
