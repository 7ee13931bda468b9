// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/scalar_type.h"

namespace tinytorch {

const char* toString(ScalarType type) {
  static constexpr const char* names[] = {"Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "BFloat16", "Float", "Double"};
  return names[static_cast<std::size_t>(type)];
}

const char* cpp_name(ScalarType type) {
  static constexpr const char* names[] = {"bool", "uint8_t", "int8_t", "int16_t", "int32_t", "int64_t", "c10::Half", "c10::BFloat16", "float", "double"};
  return names[static_cast<std::size_t>(type)];
}

const char* TypeMeta::name() const {
  static constexpr const char* names[] = {"bool", "unsigned char", "signed char", "short int", "int", "long int", "c10::Half", "c10::BFloat16", "float", "double"};
  return names[static_cast<std::size_t>(type_)];
}

void fail_reduced_type(ScalarType type) {
  throw NotImplementedError(std::string("this operator is not implemented for '") + toString(type) + "'. Convert with to(kFloat) first.");
}

}  // namespace tinytorch
