// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <cmath>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
// self + alpha * other with the multiplication left out when alpha is 1.
template <class F>
void with_alpha(const Scalar& alpha, F f) {
  if (alpha.equal(1)) {
    f([](auto x, auto y) { return x + y; });
  } else {
    f([alpha](auto x, auto y) {
      using T = decltype(y);
      return static_cast<T>(x + alpha.to<T>() * y);
    });
  }
}

Tensor add_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  Tensor result;
  with_alpha(alpha, [&](auto f) { result = zip_as(self, other, result_type(self, other), f); });
  return result;
}

const Tensor& add_inplace_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  with_alpha(alpha, [&](auto f) { zip_in_place(self, other, result_type(self, other), f); });
  return self;
}
}  // namespace

void check_alpha(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (alpha.type() == kLong || !self.defined() || !other.defined()) return;
  const ScalarType type = result_type(self, other);
  TORCH_CHECK(!alpha.isBoolean() || type == kBool, "Boolean alpha only supported for Boolean results.");
  TORCH_CHECK(!alpha.isFloatingPoint() || isFloatingType(type),
              "For integral input tensors, argument alpha must not be a floating point number.");
}
constinit Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> op::add("add", {.cpu = add_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> op::add_("add_", {.cpu = add_inplace_cpu});

Tensor add(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_alpha(self, other, alpha);
  return op::add(self, other, alpha);
}
const Tensor& add_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_alpha(self, other, alpha);
  return op::add_(self, other, alpha);
}

namespace {
const Tensor& mul_inplace_cpu(const Tensor& self, const Tensor& other) {
  return zip_in_place(self, other, result_type(self, other), [](auto x, auto y) { return static_cast<decltype(x)>(x * y); });
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::mul_("mul_", {.cpu = mul_inplace_cpu});
const Tensor& mul_(const Tensor& self, const Tensor& other) { return op::mul_(self, other); }

namespace {
Tensor neg_cpu(const Tensor& self) {
  return map_same(self, [](auto x) { return -x; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::neg("neg", {.cpu = neg_cpu});

Tensor neg(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(!self.defined() || self.scalar_type() != kBool,
              "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
              "`logical_not()` operator instead.");
  return op::neg(self);
}

namespace {
ScalarType division_type(const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  return isFloatingType(type) ? type : get_default_dtype();
}
}  // namespace

namespace {
void check_sub(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (!self.defined() || !other.defined()) return;
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool || other.scalar_type() != kBool,
              "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead.");
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool && other.scalar_type() != kBool,
              "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
              "`logical_not()` operator instead.");
  check_alpha(self, other, alpha);
}
// self - alpha * other is self + (-alpha) * other: the kernels of add do it.
Tensor sub_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) { return op::add.function(Layer::CPU)(self, other, -alpha); }
const Tensor& sub_inplace_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return op::add_.function(Layer::CPU)(self, other, -alpha);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> op::sub("sub", {.cpu = sub_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> op::sub_("sub_", {.cpu = sub_inplace_cpu});

Tensor sub(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_sub(self, other, alpha);
  return op::sub(self, other, alpha);
}
const Tensor& sub_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_sub(self, other, alpha);
  return op::sub_(self, other, alpha);
}

namespace {
template <class T>
T quotient(T x, T y) {
  if constexpr (std::is_floating_point_v<T>) return x / y;
  else return T{};  // not reached: division_type() is a floating-point type
}
constexpr auto divide = [](auto x, auto y) { return quotient(x, y); };
Tensor div_cpu(const Tensor& self, const Tensor& other) { return zip_as(self, other, division_type(self, other), divide); }
const Tensor& div_inplace_cpu(const Tensor& self, const Tensor& other) { return zip_in_place(self, other, division_type(self, other), divide); }
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::div("div", {.cpu = div_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::div_("div_", {.cpu = div_inplace_cpu});
Tensor div(const Tensor& self, const Tensor& other) { return op::div(self, other); }
const Tensor& div_(const Tensor& self, const Tensor& other) { return op::div_(self, other); }

namespace {
Tensor abs_cpu(const Tensor& self) {
  return map_same(self, [](auto x) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return std::fabs(x);
    else return x < decltype(x){} ? static_cast<decltype(x)>(-x) : x;
  });
}
Tensor sign_cpu(const Tensor& self) {
  return map_same(self, [](auto x) { return (x > decltype(x){}) - (x < decltype(x){}); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::abs("abs", {.cpu = abs_cpu});
constinit Operator<Tensor(const Tensor&)> op::sign("sign", {.cpu = sign_cpu});

Tensor abs(const Tensor& self) { return op::abs(self); }
Tensor sign(const Tensor& self) { return op::sign(self); }

}  // namespace tinytorch
