// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <limits>

#include "tinytorch/core/scalar_type.h"

namespace tinytorch {

// One number of any type: what `add(tensor, 2)` receives. It remembers whether it was a bool, an integer or floating point, which decides promotion. Source:
// c10/core/Scalar.h.
class Scalar {
 public:
  Scalar() : Scalar(std::int64_t{0}) {}
  template <class T>
    requires std::integral<T> && (!std::same_as<T, bool>)
  Scalar(T value) : kind_(ScalarType::Long), integer_(static_cast<std::int64_t>(value)) {}
  template <std::same_as<bool> T>
  Scalar(T value) : kind_(ScalarType::Bool), integer_(value) {}
  template <class T>
    requires std::floating_point<T> || ReducedFloat<T>
  Scalar(T value) : kind_(ScalarType::Double), real_(static_cast<double>(value)) {}

  ScalarType type() const { return kind_; }  // Bool, Long or Double
  bool isFloatingPoint() const { return kind_ == ScalarType::Double; }
  bool isIntegral(bool include_bool) const { return isIntegralType(kind_, include_bool); }
  bool isBoolean() const { return kind_ == ScalarType::Bool; }
  // The number as a T. Throws if T cannot hold it; a negative number wraps around in an unsigned T, as in C++.
  template <class T>
  T to() const;
  double toDouble() const { return to<double>(); }
  float toFloat() const { return to<float>(); }
  std::int64_t toLong() const { return to<std::int64_t>(); }
  int toInt() const { return to<int>(); }
  bool toBool() const { return to<bool>(); }
  bool equal(double value) const { return (isFloatingPoint() ? real_ : static_cast<double>(integer_)) == value; }
  Scalar operator-() const { return isFloatingPoint() ? Scalar(-real_) : Scalar(-integer_); }
  friend std::ostream& operator<<(std::ostream& out, const Scalar& s) {
    if (s.isFloatingPoint()) return out << s.real_;
    if (s.isBoolean()) return out << (s.toBool() ? "true" : "false");
    return out << s.integer_;
  }

 private:
  template <class T>
  bool fits() const;

  ScalarType kind_;
  union {
    std::int64_t integer_;
    double real_;
  };
};

// std::isfinite without <cmath>, which is a tenth of what the standard library's headers take to compile.
inline bool is_finite(double x) { return x - x == 0; }

// Source: c10/util/overflows.h.
template <class T>
bool Scalar::fits() const {
  using Limits = std::numeric_limits<T>;
  if constexpr (ReducedFloat<T>) {
    const double largest = std::is_same_v<T, Half> ? 65504.0 : 0x1.FEp127;
    return !is_finite(to<double>()) || (to<double>() >= -largest && to<double>() <= largest);
  } else if constexpr (std::is_same_v<T, bool>) return true;
  else if (isFloatingPoint()) {
    if (std::is_floating_point_v<T> && !is_finite(real_)) return true;
    return real_ >= static_cast<double>(Limits::lowest()) && real_ <= static_cast<double>(Limits::max());
  } else if constexpr (std::is_floating_point_v<T> || sizeof(T) == sizeof(std::int64_t)) {
    return true;
  } else {
    const std::int64_t lowest = std::is_signed_v<T> ? Limits::lowest() : -static_cast<std::int64_t>(Limits::max());
    return integer_ >= lowest && integer_ <= static_cast<std::int64_t>(Limits::max());
  }
}

template <class T>
T Scalar::to() const {
  TORCH_CHECK(fits<T>(), "value cannot be converted to type ", cpp_name(scalar_type_of<T>()), " without overflow\n[Scalar::to] the value is ",
              *this, "; choose a wider dtype.");
  return isFloatingPoint() ? static_cast<T>(real_) : static_cast<T>(integer_);
}

}  // namespace tinytorch
