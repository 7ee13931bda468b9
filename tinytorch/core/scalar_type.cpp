// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/scalar_type.h"

namespace tinytorch {

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
