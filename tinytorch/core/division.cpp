// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <cmath>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
template <class T>
T integer_power(T base, std::int64_t exponent) {
  T result = 1;
  for (; exponent > 0; exponent /= 2, base = static_cast<T>(base * base))
    if (exponent % 2 == 1) result = static_cast<T>(result * base);
  return result;
}

Tensor pow_cpu(const Tensor& self, const Scalar& exponent) {
  const double e = exponent.toDouble();
  if (self.is_floating_point() || exponent.isFloatingPoint()) {
    // PyTorch takes these as products, roots and quotients too: the root of minus infinity is NaN, which std::pow(-inf, 0.5) is not.
    if (e == 2) return map_floating("pow", self, [](auto x) { return x * x; });
    if (e == 3) return map_floating("pow", self, [](auto x) { return x * x * x; });
    if (e == 0.5) return map_floating("pow", self, [](auto x) { return std::sqrt(x); });
    if (e == -0.5) return map_floating("pow", self, [](auto x) { return 1 / std::sqrt(x); });
    if (e == -1) return map_floating("pow", self, [](auto x) { return 1 / x; });
    if (e == -2) return map_floating("pow", self, [](auto x) { return 1 / (x * x); });
    return map_floating("pow", self, [e](auto x) { return std::pow(x, static_cast<decltype(x)>(e)); });
  }
  TORCH_CHECK(e >= 0, "Integers to negative integer powers are not allowed.");
  return map_same(self.scalar_type() == kBool ? to_dtype(self, exponent.type()) : self, [n = exponent.toLong()](auto x) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return x;
    else return integer_power(x, n);
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::pow("pow", {.cpu = pow_cpu});
Tensor pow(const Tensor& self, const Scalar& exponent) { return op::pow(self, exponent); }

namespace {
template <class T>
void check_divisor(T divisor) {
  if constexpr (std::is_integral_v<T>) TORCH_CHECK(divisor != 0, "ZeroDivisionError");
}

// x modulo y with the sign of y.
template <class T>
T modulo(T x, T y) {
  check_divisor(y);
  if constexpr (std::is_floating_point_v<T>) {
    const T rest = std::fmod(x, y);
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
  } else if constexpr (std::is_signed_v<T>) {
    if (y == -1) return 0;  // the quotient of the lowest integer by -1 does not exist
    const auto rest = static_cast<T>(x % y);
    return rest != 0 && (rest < 0) != (y < 0) ? static_cast<T>(rest + y) : rest;
  } else {
    return static_cast<T>(x % y);
  }
}

// x / y rounded down.
template <class T>
T floor_quotient(T x, T y) {
  check_divisor(y);
  if constexpr (std::is_floating_point_v<T>) {
    if (y == 0) return x / y;
    const T rest = std::fmod(x, y);
    const T quotient = (x - rest) / y - (rest != 0 && (rest < 0) != (y < 0) ? 1 : 0);
    if (quotient == 0) return std::copysign(T{0}, x / y);
    const T down = std::floor(quotient);  // quotient is an integer but for rounding
    return quotient - down > T{0.5} ? down + 1 : down;
  } else if constexpr (std::is_signed_v<T>) {
    if (y == -1) return static_cast<T>(-static_cast<std::uint64_t>(x));
    return static_cast<T>(x / y - (x % y != 0 && (x < 0) != (y < 0)));
  } else {
    return static_cast<T>(x / y);
  }
}

Tensor remainder_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return modulo(x, y); });
}
Tensor floor_divide_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return floor_quotient(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::remainder("remainder", {.cpu = remainder_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::floor_divide("floor_divide",
                                                                          {.cpu = floor_divide_cpu});
Tensor remainder(const Tensor& self, const Tensor& other) { return op::remainder(self, other); }
Tensor remainder(const Tensor& self, const Scalar& other) {
  return op::remainder(self, wrapped_scalar(other));
}
Tensor floor_divide(const Tensor& self, const Tensor& other) { return op::floor_divide(self, other); }
Tensor floor_divide(const Tensor& self, const Scalar& other) {
  return op::floor_divide(self, wrapped_scalar(other));
}

namespace {
// Integers by repeated squaring, modulo 2^bits; a negative exponent gives 0 unless the base is 1 or -1.
template <class T>
T power(T base, T exponent) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::pow(base, exponent);
  } else {
    if constexpr (std::is_signed_v<T>)
      if (exponent < 0)
        return base == 1 ? T{1} : base == -1 ? static_cast<T>(exponent % 2 == 0 ? 1 : -1) : T{0};
    std::uint64_t result = 1;
    auto factor = static_cast<std::uint64_t>(base);
    for (auto e = static_cast<std::uint64_t>(exponent); e > 0; e /= 2, factor *= factor)
      if (e % 2 == 1) result *= factor;
    return static_cast<T>(result);
  }
}
Tensor pow_tensor_cpu(const Tensor& self, const Tensor& exponent) {
  TORCH_CHECK_NOT_IMPLEMENTED(result_type(self, exponent) != kBool, "\"pow\" not implemented for 'Bool'");
  return zip_promoted(self, exponent, [](auto x, auto y) { return power(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::pow_tensor("pow", {.cpu = pow_tensor_cpu});
Tensor pow(const Tensor& self, const Tensor& exponent) { return op::pow_tensor(self, exponent); }
Tensor pow(const Scalar& self, const Tensor& exponent) {
  return op::pow_tensor(wrapped_scalar(self), exponent);
}

}  // namespace tinytorch
