// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/indexing.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/pointwise_ops.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/core/warning.h"

namespace tinytorch {

// ---- Creation. `options` names the dtype (default: get_default_dtype(), or the type of the given values).
Tensor eye(std::int64_t n, const TensorOptions& options = {});
Tensor eye(std::int64_t n, std::int64_t m, const TensorOptions& options = {});
Tensor linspace(const Scalar& start, const Scalar& end, std::int64_t steps,
                const TensorOptions& options = {});  // both ends included

}  // namespace tinytorch
