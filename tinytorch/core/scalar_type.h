// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <ostream>
#include <type_traits>

#include "tinytorch/core/error.h"

namespace tinytorch {

// The element types. The order is part of the promotion rules: within a category the later, wider type wins.
enum class ScalarType : std::uint8_t { Bool, Byte, Char, Short, Int, Long, Float, Double };

inline constexpr ScalarType kBool = ScalarType::Bool;
inline constexpr ScalarType kUInt8 = ScalarType::Byte;
inline constexpr ScalarType kByte = ScalarType::Byte;
inline constexpr ScalarType kInt8 = ScalarType::Char;
inline constexpr ScalarType kChar = ScalarType::Char;
inline constexpr ScalarType kInt16 = ScalarType::Short;
inline constexpr ScalarType kShort = ScalarType::Short;
inline constexpr ScalarType kInt32 = ScalarType::Int;
inline constexpr ScalarType kInt = ScalarType::Int;
inline constexpr ScalarType kInt64 = ScalarType::Long;
inline constexpr ScalarType kLong = ScalarType::Long;
inline constexpr ScalarType kFloat32 = ScalarType::Float;
inline constexpr ScalarType kFloat = ScalarType::Float;
inline constexpr ScalarType kFloat64 = ScalarType::Double;
inline constexpr ScalarType kDouble = ScalarType::Double;

inline bool isFloatingType(ScalarType type) { return type >= ScalarType::Float; }
inline bool isIntegralType(ScalarType type, bool include_bool) {
  return type < ScalarType::Float && (include_bool || type != ScalarType::Bool);
}
const char* toString(ScalarType type);  // "Float", "Long", ...
const char* cpp_name(ScalarType type);  // "float", "int64_t", ...
std::size_t elementSize(ScalarType type);
inline std::ostream& operator<<(std::ostream& out, ScalarType type) { return out << toString(type); }

// The ScalarType of a C++ type. Other integer types (long long, char) map to the one of their width and sign.
template <class T>
constexpr ScalarType scalar_type_of() {
  if constexpr (std::is_same_v<T, bool>) return ScalarType::Bool;
  else if constexpr (std::is_same_v<T, float>) return ScalarType::Float;
  else if constexpr (std::is_same_v<T, double>) return ScalarType::Double;
  else {
    static_assert(std::is_integral_v<T>, "no ScalarType for this C++ type");
    if constexpr (sizeof(T) == 1 && std::is_unsigned_v<T>) return ScalarType::Byte;
    else if constexpr (sizeof(T) == 1) return ScalarType::Char;
    else if constexpr (sizeof(T) == 2) return ScalarType::Short;
    else if constexpr (sizeof(T) == 4) return ScalarType::Int;
    else return ScalarType::Long;
  }
}

// Calls f.operator()<T>() with the C++ type of `type`: how a run-time dtype becomes a compile-time one.
template <class F>
decltype(auto) dispatch_all_types(ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Bool: return f.template operator()<bool>();
    case ScalarType::Byte: return f.template operator()<std::uint8_t>();
    case ScalarType::Char: return f.template operator()<std::int8_t>();
    case ScalarType::Short: return f.template operator()<std::int16_t>();
    case ScalarType::Int: return f.template operator()<std::int32_t>();
    case ScalarType::Long: return f.template operator()<std::int64_t>();
    case ScalarType::Float: return f.template operator()<float>();
    case ScalarType::Double: break;
  }
  return f.template operator()<double>();
}

// The same for kernels that exist for floating point only; `name` goes into the error for the others.
template <class F>
decltype(auto) dispatch_floating_types(ScalarType type, const char* name, F&& f) {
  if (type == ScalarType::Float) return f.template operator()<float>();
  TORCH_CHECK_NOT_IMPLEMENTED(type == ScalarType::Double, "\"", name, "\" not implemented for '", toString(type),
                              "'. Convert with to(kFloat) first.");
  return f.template operator()<double>();
}

}  // namespace tinytorch
