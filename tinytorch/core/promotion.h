// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/scalar_type.h"

namespace tinytorch {

// The type that holds values of both: the higher category (bool < integer < floating point), then the wider one. Source: c10/core/ScalarType.cpp, promoteTypes.
ScalarType promoteTypes(ScalarType a, ScalarType b);

// Whether a result of type `from` may be written into a tensor of type `to`: never from a higher category to a lower one.
inline bool canCast(ScalarType from, ScalarType to) {
  if (isFloatingType(from) && !isFloatingType(to)) return false;
  return from == ScalarType::Bool || to != ScalarType::Bool;
}

}  // namespace tinytorch
