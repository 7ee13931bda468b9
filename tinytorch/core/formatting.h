// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.
#pragma once

#include <ostream>

#include "tinytorch/core/ops.h"

namespace tinytorch {

// Prints all elements, then dtype and sizes: `[ CPUFloatType{2,2} ]`. Lines hold up to `linesize` characters. The stream's format is left as it was.
// Source: aten/src/ATen/core/Formatting.cpp.
std::ostream& print(std::ostream& stream, const Tensor& tensor, std::int64_t linesize);
std::ostream& operator<<(std::ostream& stream, const Tensor& tensor);

}  // namespace tinytorch
