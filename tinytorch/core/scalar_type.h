// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <ostream>
#include <type_traits>

#include "tinytorch/core/error.h"
#include "tinytorch/core/half.h"

namespace tinytorch {

// The element types. The order is part of the promotion rules: within a category the later, wider type wins (Half and BFloat16, of which neither holds the other, give Float).
enum class ScalarType : std::uint8_t { Bool, Byte, Char, Short, Int, Long, Half, BFloat16, Float, Double };

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
inline constexpr ScalarType kFloat16 = ScalarType::Half;
inline constexpr ScalarType kHalf = ScalarType::Half;
inline constexpr ScalarType kBFloat16 = ScalarType::BFloat16;
inline constexpr ScalarType kFloat32 = ScalarType::Float;
inline constexpr ScalarType kFloat = ScalarType::Float;
inline constexpr ScalarType kFloat64 = ScalarType::Double;
inline constexpr ScalarType kDouble = ScalarType::Double;

inline bool isFloatingType(ScalarType type) { return type >= ScalarType::Half; }
inline bool isReducedFloatingType(ScalarType type) { return type == ScalarType::Half || type == ScalarType::BFloat16; }
inline bool isIntegralType(ScalarType type, bool include_bool) {
  return type < ScalarType::Half && (include_bool || type != ScalarType::Bool);
}
const char* toString(ScalarType type);  // "Float", "Long", ...
const char* cpp_name(ScalarType type);  // "float", "int64_t", ...
// Bytes of one element.
constexpr std::size_t elementSize(ScalarType type) {
  constexpr std::uint8_t sizes[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8};  // in the order of ScalarType
  return sizes[static_cast<std::size_t>(type)];
}
inline std::ostream& operator<<(std::ostream& out, ScalarType type) { return out << toString(type); }

// What `tensor.dtype()` gives: an element type that prints as its C++ type, "float" and not "Float". It compares with a ScalarType and becomes one where one is asked for.
// Source: c10/util/typeid.h.
class TypeMeta {
 public:
  explicit constexpr TypeMeta(ScalarType type) : type_(type) {}
  constexpr operator ScalarType() const { return type_; }
  constexpr ScalarType toScalarType() const { return type_; }
  std::size_t itemsize() const { return elementSize(type_); }
  const char* name() const;
  template <class T>
  static constexpr TypeMeta Make();
  friend constexpr bool operator==(TypeMeta a, TypeMeta b) { return a.type_ == b.type_; }
  friend constexpr bool operator==(TypeMeta a, ScalarType b) { return a.type_ == b; }
  friend std::ostream& operator<<(std::ostream& out, TypeMeta type) { return out << type.name(); }

 private:
  ScalarType type_;
};

// The ScalarType of a C++ type. Other integer types (long long, char) map to the one of their width and sign.
template <class T>
constexpr ScalarType scalar_type_of() {
  if constexpr (std::is_same_v<T, bool>) return ScalarType::Bool;
  else if constexpr (std::is_same_v<T, float>) return ScalarType::Float;
  else if constexpr (std::is_same_v<T, double>) return ScalarType::Double;
  else if constexpr (std::is_same_v<T, Half>) return ScalarType::Half;
  else if constexpr (std::is_same_v<T, BFloat16>) return ScalarType::BFloat16;
  else {
    static_assert(std::is_integral_v<T>, "no ScalarType for this C++ type");
    if constexpr (sizeof(T) == 1 && std::is_unsigned_v<T>) return ScalarType::Byte;
    else if constexpr (sizeof(T) == 1) return ScalarType::Char;
    else if constexpr (sizeof(T) == 2) return ScalarType::Short;
    else if constexpr (sizeof(T) == 4) return ScalarType::Int;
    else return ScalarType::Long;
  }
}
template <class T>
constexpr TypeMeta TypeMeta::Make() {
  return TypeMeta(scalar_type_of<T>());
}
inline TypeMeta scalarTypeToTypeMeta(ScalarType type) { return TypeMeta(type); }
inline ScalarType typeMetaToScalarType(TypeMeta type) { return type; }

[[noreturn]] void fail_reduced_type(ScalarType type);

// Calls f.operator()<T>() with the C++ type of `type`: how a run-time dtype becomes a compile-time one. Half and BFloat16, for which no kernels are compiled, are an error.
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
    case ScalarType::Half:
    case ScalarType::BFloat16: fail_reduced_type(type);
    case ScalarType::Double: break;
  }
  return f.template operator()<double>();
}

// The same with Half and BFloat16, for what stores and converts numbers but does not compute with them.
template <class F>
decltype(auto) dispatch_stored_types(ScalarType type, F&& f) {
  if (type == ScalarType::Half) return f.template operator()<Half>();
  if (type == ScalarType::BFloat16) return f.template operator()<BFloat16>();
  return dispatch_all_types(type, std::forward<F>(f));
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
