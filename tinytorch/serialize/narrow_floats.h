// From the lesson modules/85_weights/weights_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>

namespace tinytorch {

namespace serialize {

// Writes `count` numbers of 16 bits, which begin anywhere in memory, as floats. Exact.
void widen_float16(const void* from, std::size_t count, float* to);
void widen_bfloat16(const void* from, std::size_t count, float* to);

}  // namespace serialize

}  // namespace tinytorch
