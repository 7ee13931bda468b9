// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <cmath>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
Tensor exp_cpu(const Tensor& self) {
  return map_floating("exp", self, [](auto x) { return std::exp(x); });
}
Tensor log_cpu(const Tensor& self) {
  return map_floating("log", self, [](auto x) { return std::log(x); });
}
Tensor sqrt_cpu(const Tensor& self) {
  return map_floating("sqrt", self, [](auto x) { return std::sqrt(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::exp("exp", {.cpu = exp_cpu});
constinit Operator<Tensor(const Tensor&)> op::log("log", {.cpu = log_cpu});
constinit Operator<Tensor(const Tensor&)> op::sqrt("sqrt", {.cpu = sqrt_cpu});
Tensor exp(const Tensor& self) { return op::exp(self); }
Tensor log(const Tensor& self) { return op::log(self); }
Tensor sqrt(const Tensor& self) { return op::sqrt(self); }

namespace {
Tensor log1p_cpu(const Tensor& self) {
  return map_floating("log1p", self, [](auto x) { return std::log1p(x); });
}
Tensor expm1_cpu(const Tensor& self) {
  return map_floating("expm1", self, [](auto x) { return std::expm1(x); });
}
Tensor log2_cpu(const Tensor& self) {
  return map_floating("log2", self, [](auto x) { return std::log2(x); });
}
Tensor log10_cpu(const Tensor& self) {
  return map_floating("log10", self, [](auto x) { return std::log10(x); });
}
Tensor sin_cpu(const Tensor& self) {
  return map_floating("sin", self, [](auto x) { return std::sin(x); });
}
Tensor cos_cpu(const Tensor& self) {
  return map_floating("cos", self, [](auto x) { return std::cos(x); });
}
Tensor tan_cpu(const Tensor& self) {
  return map_floating("tan", self, [](auto x) { return std::tan(x); });
}
Tensor atan_cpu(const Tensor& self) {
  return map_floating("atan", self, [](auto x) { return std::atan(x); });
}
Tensor erf_cpu(const Tensor& self) {
  return map_floating("erf", self, [](auto x) { return std::erf(x); });
}
Tensor reciprocal_cpu(const Tensor& self) {
  return map_floating("reciprocal", self, [](auto x) { return 1 / x; });
}
Tensor rsqrt_cpu(const Tensor& self) {
  return map_floating("rsqrt", self, [](auto x) { return 1 / std::sqrt(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::log1p("log1p", {.cpu = log1p_cpu});
constinit Operator<Tensor(const Tensor&)> op::expm1("expm1", {.cpu = expm1_cpu});
constinit Operator<Tensor(const Tensor&)> op::log2("log2", {.cpu = log2_cpu});
constinit Operator<Tensor(const Tensor&)> op::log10("log10", {.cpu = log10_cpu});
constinit Operator<Tensor(const Tensor&)> op::sin("sin", {.cpu = sin_cpu});
constinit Operator<Tensor(const Tensor&)> op::cos("cos", {.cpu = cos_cpu});
constinit Operator<Tensor(const Tensor&)> op::tan("tan", {.cpu = tan_cpu});
constinit Operator<Tensor(const Tensor&)> op::atan("atan", {.cpu = atan_cpu});
constinit Operator<Tensor(const Tensor&)> op::erf("erf", {.cpu = erf_cpu});
constinit Operator<Tensor(const Tensor&)> op::reciprocal("reciprocal", {.cpu = reciprocal_cpu});
constinit Operator<Tensor(const Tensor&)> op::rsqrt("rsqrt", {.cpu = rsqrt_cpu});

Tensor log1p(const Tensor& self) { return op::log1p(self); }
Tensor expm1(const Tensor& self) { return op::expm1(self); }
Tensor log2(const Tensor& self) { return op::log2(self); }
Tensor log10(const Tensor& self) { return op::log10(self); }
Tensor sin(const Tensor& self) { return op::sin(self); }
Tensor cos(const Tensor& self) { return op::cos(self); }
Tensor tan(const Tensor& self) { return op::tan(self); }
Tensor atan(const Tensor& self) { return op::atan(self); }
Tensor erf(const Tensor& self) { return op::erf(self); }
Tensor reciprocal(const Tensor& self) { return op::reciprocal(self); }
Tensor rsqrt(const Tensor& self) { return op::rsqrt(self); }
Tensor square(const Tensor& self) { return pow(self, Scalar(2)); }

namespace {
// Rounding changes floating-point numbers only: integers come back as a copy.
template <class F>
Tensor rounded(const char* name, const Tensor& self, F f) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"", name,
                              "_vml_cpu\" not implemented for 'Bool'");
  return self.is_floating_point() ? map_floating(name, self, f) : clone(self);
}
Tensor floor_cpu(const Tensor& self) {
  return rounded("floor", self, [](auto x) { return std::floor(x); });
}
Tensor ceil_cpu(const Tensor& self) {
  return rounded("ceil", self, [](auto x) { return std::ceil(x); });
}
Tensor round_cpu(const Tensor& self) {
  return rounded("round", self, [](auto x) { return std::nearbyint(x); });  // halves to even
}
Tensor trunc_cpu(const Tensor& self) {
  return rounded("trunc", self, [](auto x) { return std::trunc(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::floor("floor", {.cpu = floor_cpu});
constinit Operator<Tensor(const Tensor&)> op::ceil("ceil", {.cpu = ceil_cpu});
constinit Operator<Tensor(const Tensor&)> op::round("round", {.cpu = round_cpu});
constinit Operator<Tensor(const Tensor&)> op::trunc("trunc", {.cpu = trunc_cpu});
Tensor floor(const Tensor& self) { return op::floor(self); }
Tensor ceil(const Tensor& self) { return op::ceil(self); }
Tensor round(const Tensor& self) { return op::round(self); }
Tensor trunc(const Tensor& self) { return op::trunc(self); }

}  // namespace tinytorch
