// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/promotion.h"

namespace tinytorch {

ScalarType promoteTypes(ScalarType a, ScalarType b) {
  const ScalarType low = a < b ? a : b;
  const ScalarType high = a < b ? b : a;
  // uint8 and int8 have no common type of their width: the next signed type holds both.
  if (low == ScalarType::Byte && high == ScalarType::Char) return ScalarType::Short;
  if (low == ScalarType::Half && high == ScalarType::BFloat16) return ScalarType::Float;
  return high;
}

}  // namespace tinytorch
