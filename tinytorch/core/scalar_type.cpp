// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/scalar_type.h"

namespace tinytorch {

ScalarType promoteTypes(ScalarType a, ScalarType b) {
  const ScalarType low = a < b ? a : b;
  const ScalarType high = a < b ? b : a;
  // uint8 and int8 have no common type of their width: the next signed type holds both.
  if (low == ScalarType::Byte && high == ScalarType::Char) return ScalarType::Short;
  return high;
}

const char* toString(ScalarType type) {
  static constexpr const char* names[] = {"Bool", "Byte", "Char", "Short", "Int", "Long", "Float", "Double"};
  return names[static_cast<std::size_t>(type)];
}

const char* cpp_name(ScalarType type) {
  static constexpr const char* names[] = {"bool", "uint8_t", "int8_t", "int16_t", "int32_t", "int64_t", "float", "double"};
  return names[static_cast<std::size_t>(type)];
}

std::size_t elementSize(ScalarType type) {
  return dispatch_all_types(type, []<class T>() { return sizeof(T); });
}

}  // namespace tinytorch
