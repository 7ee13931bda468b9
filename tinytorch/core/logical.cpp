// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <cmath>
#include <type_traits>
#include <utility>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
template <class T>
bool truth(T x) {
  return x != T{};
}
Tensor logical_not_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return !truth(x); });
}
Tensor logical_and_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted<bool>(self, other, [](auto x, auto y) { return truth(x) && truth(y); });
}
Tensor logical_or_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted<bool>(self, other, [](auto x, auto y) { return truth(x) || truth(y); });
}
Tensor logical_xor_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted<bool>(self, other, [](auto x, auto y) { return truth(x) != truth(y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::logical_not("logical_not", {.cpu = logical_not_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logical_and("logical_and",
                                                                         {.cpu = logical_and_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logical_or("logical_or",
                                                                        {.cpu = logical_or_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logical_xor("logical_xor",
                                                                         {.cpu = logical_xor_cpu});
Tensor logical_not(const Tensor& self) { return op::logical_not(self); }
Tensor logical_and(const Tensor& self, const Tensor& other) { return op::logical_and(self, other); }
Tensor logical_or(const Tensor& self, const Tensor& other) { return op::logical_or(self, other); }
Tensor logical_xor(const Tensor& self, const Tensor& other) { return op::logical_xor(self, other); }

namespace {
void check_bits(const char* name, ScalarType type) {
  TORCH_CHECK_NOT_IMPLEMENTED(!isFloatingType(type), "\"", name, "_cpu\" not implemented for '", type, "'");
}

// f on the bits of both; floating-point numbers were refused before.
template <class F>
Tensor zip_bits(const char* name, const Tensor& self, const Tensor& other, F f) {
  check_bits(name, result_type(self, other));
  return zip_promoted(self, other, [f](auto x, auto y) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return x;
    else return static_cast<decltype(x)>(f(x, y));
  });
}
Tensor bitwise_not_cpu(const Tensor& self) {
  check_bits("bitwise_not", self.scalar_type());
  return map_same(self, [](auto x) {
    if constexpr (std::is_same_v<decltype(x), bool>) return !x;
    else if constexpr (std::is_integral_v<decltype(x)>) return static_cast<decltype(x)>(~x);
    else return x;
  });
}
Tensor bitwise_and_cpu(const Tensor& self, const Tensor& other) {
  return zip_bits("bitwise_and", self, other, [](auto x, auto y) { return x & y; });
}
Tensor bitwise_or_cpu(const Tensor& self, const Tensor& other) {
  return zip_bits("bitwise_or", self, other, [](auto x, auto y) { return x | y; });
}
Tensor bitwise_xor_cpu(const Tensor& self, const Tensor& other) {
  return zip_bits("bitwise_xor", self, other, [](auto x, auto y) { return x ^ y; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::bitwise_not("bitwise_not", {.cpu = bitwise_not_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_and("bitwise_and",
                                                                         {.cpu = bitwise_and_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_or("bitwise_or",
                                                                        {.cpu = bitwise_or_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_xor("bitwise_xor",
                                                                         {.cpu = bitwise_xor_cpu});
Tensor bitwise_not(const Tensor& self) { return op::bitwise_not(self); }
Tensor bitwise_and(const Tensor& self, const Tensor& other) { return op::bitwise_and(self, other); }
Tensor bitwise_or(const Tensor& self, const Tensor& other) { return op::bitwise_or(self, other); }
Tensor bitwise_xor(const Tensor& self, const Tensor& other) { return op::bitwise_xor(self, other); }

namespace {
// |x| as an unsigned number of at least 32 bits.
template <class T>
auto magnitude(T x) {
  using Unsigned = std::make_unsigned_t<decltype(x + 0)>;
  return x < 0 ? Unsigned{0} - static_cast<Unsigned>(x) : static_cast<Unsigned>(x);
}

template <class T>
T common_divisor(T x, T y) {
  T a = static_cast<T>(magnitude(x));
  T b = static_cast<T>(magnitude(y));
  while (a != 0) {
    b = static_cast<T>(b % a);
    std::swap(a, b);
  }
  return b;
}

template <class T>
T common_multiple(T x, T y) {
  const T divisor = common_divisor(x, y);
  if (divisor == 0) return 0;
  const auto product = magnitude(x) / magnitude(divisor) * magnitude(y);
  return static_cast<T>(magnitude(static_cast<decltype(x + 0)>(product)));
}

// f on integers that are no bools; other types are refused.
template <class F>
Tensor zip_integers(const char* name, const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  TORCH_CHECK_NOT_IMPLEMENTED(isIntegralType(type, false), "\"", name, "_cpu\" not implemented for '", type, "'");
  return zip_promoted(self, other, [f](auto x, auto y) {
    using T = decltype(x);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return f(x, y);
    else return x;
  });
}
Tensor gcd_cpu(const Tensor& self, const Tensor& other) {
  return zip_integers("gcd", self, other, [](auto x, auto y) { return common_divisor(x, y); });
}
Tensor lcm_cpu(const Tensor& self, const Tensor& other) {
  return zip_integers("lcm", self, other, [](auto x, auto y) { return common_multiple(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::gcd("gcd", {.cpu = gcd_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::lcm("lcm", {.cpu = lcm_cpu});
Tensor gcd(const Tensor& self, const Tensor& other) { return op::gcd(self, other); }
Tensor lcm(const Tensor& self, const Tensor& other) { return op::lcm(self, other); }

namespace {
Tensor isnan_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return std::isnan(static_cast<double>(x)); });
}
Tensor isinf_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return std::isinf(static_cast<double>(x)); });
}
Tensor isfinite_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return std::isfinite(static_cast<double>(x)); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::isnan("isnan", {.cpu = isnan_cpu});
constinit Operator<Tensor(const Tensor&)> op::isinf("isinf", {.cpu = isinf_cpu});
constinit Operator<Tensor(const Tensor&)> op::isfinite("isfinite", {.cpu = isfinite_cpu});
Tensor isnan(const Tensor& self) { return op::isnan(self); }
Tensor isinf(const Tensor& self) { return op::isinf(self); }
Tensor isfinite(const Tensor& self) { return op::isfinite(self); }

Tensor where(const Tensor& condition, const Scalar& self, const Tensor& other) {
  return where(condition, wrapped_scalar(self), other);
}
Tensor where(const Tensor& condition, const Tensor& self, const Scalar& other) {
  return where(condition, self, wrapped_scalar(other));
}
Tensor where(const Tensor& condition, const Scalar& self, const Scalar& other) {
  const ScalarType type = result_type(wrapped_scalar(self), wrapped_scalar(other));
  return where(condition, full({}, self, type), full({}, other, type));
}

Tensor masked_fill(const Tensor& self, const Tensor& mask, const Tensor& value) {
  TORCH_CHECK(mask.scalar_type() == kBool,
              "masked_fill_ only supports boolean masks, but got mask with dtype ",
              type_meta_name(mask.scalar_type()));
  TORCH_CHECK(value.dim() == 0,
              "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with ", value.dim(),
              " dimension(s).");
  return where(mask, to_dtype(value, self.scalar_type()), self);
}
Tensor masked_fill(const Tensor& self, const Tensor& mask, const Scalar& value) {
  return masked_fill(self, mask, full({}, value, self.options()));
}

}  // namespace tinytorch
