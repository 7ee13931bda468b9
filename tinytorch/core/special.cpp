// From the lesson modules/74_tensor_breadth/tensor_breadth_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/special.h"

#include <cmath>
#include <limits>

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace {
// The Hurwitz zeta function: the sum of (q + k)^-s over k = 0, 1, ..., for a whole s > 1. Sums ten terms (for a negative q those below 10), and the rest by the Euler-Maclaurin formula.
double hurwitz_zeta(double s, double q) {
  constexpr double bernoulli[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510};
  if (q <= 0 && q == std::floor(q)) return std::numeric_limits<double>::infinity();
  double sum = 0;
  double x = q;
  for (int k = 0; k < 10 || x <= 10; ++k, ++x) sum += std::pow(x, -s);
  sum += std::pow(x, 1 - s) / (s - 1) + std::pow(x, -s) / 2;
  double factor = s * std::pow(x, -s - 1) / 2;  // s (s + 1) ... x^(-s - 2j + 1) / (2j)!
  for (int j = 0; j < 8; ++j) {
    sum += bernoulli[j] * factor;
    factor *= (s + 2 * j + 1) * (s + 2 * j + 2) / (x * x * (2 * j + 3) * (2 * j + 4));
  }
  return sum;
}

double digamma_of(double x) {
  constexpr double pi = 3.14159265358979323846;
  if (x == 0) return std::copysign(std::numeric_limits<double>::infinity(), -x);
  if (x < 0) {
    double whole;
    const double part = std::modf(x, &whole);
    return part == 0 ? std::numeric_limits<double>::quiet_NaN() : digamma_of(1 - x) - pi / std::tan(pi * part);
  }
  double sum = 0;
  for (; x < 10; ++x) sum -= 1 / x;
  const double y = 1 / (x * x);
  const double tail = y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760 - y / 12))))));
  return sum + std::log(x) - 0.5 / x - tail;
}

double polygamma_of(std::int64_t n, double x) {
  if (n == 0) return digamma_of(x);
  const auto order = static_cast<double>(n);
  return (n % 2 == 0 ? -1 : 1) * std::exp(std::lgamma(order + 1)) * hurwitz_zeta(order + 1, x);
}

double erfinv_of(double y) {
  constexpr double pi = 3.14159265358979323846;
  if (!(std::abs(y) <= 1)) return std::numeric_limits<double>::quiet_NaN();
  if (std::abs(y) == 1) return y * std::numeric_limits<double>::infinity();
  if (y == 0) return y;
  const double log_term = std::log1p(-y * y);
  const double a = 2 / (pi * 0.147) + log_term / 2;
  double x = std::copysign(std::sqrt(std::sqrt(a * a - log_term / 0.147) - a), y);
  for (int step = 0; step < 3; ++step) {
    const double error = std::abs(y) < 0.5 ? std::erf(x) - y : (y < 0 ? -1 : 1) * ((1 - std::abs(y)) - std::erfc(std::abs(x)));
    const double newton = error / (2 / std::sqrt(pi) * std::exp(-x * x));
    x -= newton / (1 + x * newton);
  }
  return x;
}

// f(self) in double precision, rounded to self's dtype.
template <class F>
Tensor map_in_double(const char* name, const Tensor& self, F f) {
  return map_floating(name, self, [f](auto x) { return static_cast<decltype(x)>(f(static_cast<double>(x))); });
}

Tensor acos_cpu(const Tensor& self) { return map_floating("acos", self, [](auto x) { return std::acos(x); }); }
Tensor asin_cpu(const Tensor& self) { return map_floating("asin", self, [](auto x) { return std::asin(x); }); }
Tensor sinh_cpu(const Tensor& self) { return map_floating("sinh", self, [](auto x) { return std::sinh(x); }); }
Tensor cosh_cpu(const Tensor& self) { return map_floating("cosh", self, [](auto x) { return std::cosh(x); }); }
Tensor asinh_cpu(const Tensor& self) { return map_floating("asinh", self, [](auto x) { return std::asinh(x); }); }
Tensor acosh_cpu(const Tensor& self) { return map_floating("acosh", self, [](auto x) { return std::acosh(x); }); }
Tensor atanh_cpu(const Tensor& self) { return map_floating("atanh", self, [](auto x) { return std::atanh(x); }); }
Tensor exp2_cpu(const Tensor& self) { return map_floating("exp2", self, [](auto x) { return std::exp2(x); }); }
Tensor erfc_cpu(const Tensor& self) { return map_floating("erfc", self, [](auto x) { return std::erfc(x); }); }
Tensor erfinv_cpu(const Tensor& self) { return map_in_double("erfinv", self, erfinv_of); }
Tensor lgamma_cpu(const Tensor& self) { return map_floating("lgamma", self, [](auto x) { return std::lgamma(x); }); }
Tensor polygamma_cpu(const Tensor& self, std::int64_t n) {
  return map_in_double("polygamma", self, [n](double x) { return polygamma_of(n, x); });
}
}  // namespace

constinit Operator<Tensor(const Tensor&)> op::acos("acos", {.cpu = acos_cpu, .autograd = gradient_of<op::acos>([](const Tensor& g, Input<0> x) { return g * -((-x * x + 1).rsqrt()); })});
constinit Operator<Tensor(const Tensor&)> op::asin("asin", {.cpu = asin_cpu, .autograd = gradient_of<op::asin>([](const Tensor& g, Input<0> x) { return g * (-x * x + 1).rsqrt(); })});
constinit Operator<Tensor(const Tensor&)> op::sinh("sinh", {.cpu = sinh_cpu, .autograd = gradient_of<op::sinh>([](const Tensor& g, Input<0> x) { return g * cosh(x); })});
constinit Operator<Tensor(const Tensor&)> op::cosh("cosh", {.cpu = cosh_cpu, .autograd = gradient_of<op::cosh>([](const Tensor& g, Input<0> x) { return g * sinh(x); })});
constinit Operator<Tensor(const Tensor&)> op::asinh("asinh", {.cpu = asinh_cpu, .autograd = gradient_of<op::asinh>([](const Tensor& g, Input<0> x) { return g * (x * x + 1).rsqrt(); })});
constinit Operator<Tensor(const Tensor&)> op::acosh("acosh", {.cpu = acosh_cpu, .autograd = gradient_of<op::acosh>([](const Tensor& g, Input<0> x) { return g * (x * x - 1).rsqrt(); })});
constinit Operator<Tensor(const Tensor&)> op::atanh("atanh", {.cpu = atanh_cpu, .autograd = gradient_of<op::atanh>([](const Tensor& g, Input<0> x) { return g / (1 - x * x); })});
constinit Operator<Tensor(const Tensor&)> op::exp2("exp2", {.cpu = exp2_cpu, .autograd = gradient_of<op::exp2>([](const Tensor& g, Output y) { return g * y * std::log(2.0); })});
constinit Operator<Tensor(const Tensor&)> op::erfc("erfc", {.cpu = erfc_cpu, .autograd = gradient_of<op::erfc>([](const Tensor& g, Input<0> x) {
  return g * (exp(-x * x) * -1.12837916709551257390);  // -2 / sqrt(pi)
})});
constinit Operator<Tensor(const Tensor&)> op::erfinv("erfinv", {.cpu = erfinv_cpu, .autograd = gradient_of<op::erfinv>([](const Tensor& g, Output y) {
  return g * (exp(y * y) * 0.88622692545275801365);  // sqrt(pi) / 2
})});
constinit Operator<Tensor(const Tensor&)> op::lgamma("lgamma", {.cpu = lgamma_cpu, .autograd = gradient_of<op::lgamma>([](const Tensor& g, Input<0> x) { return g * digamma(x); })});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::polygamma("polygamma", {.cpu = polygamma_cpu, .autograd = gradient_of<op::polygamma>([](const Tensor& g, Input<0> x, Arg<1, std::int64_t> n) {
  return g * tinytorch::polygamma(n.value + 1, x);
})});

Tensor acos(const Tensor& self) { return op::acos(self); }
Tensor asin(const Tensor& self) { return op::asin(self); }
Tensor sinh(const Tensor& self) { return op::sinh(self); }
Tensor cosh(const Tensor& self) { return op::cosh(self); }
Tensor asinh(const Tensor& self) { return op::asinh(self); }
Tensor acosh(const Tensor& self) { return op::acosh(self); }
Tensor atanh(const Tensor& self) { return op::atanh(self); }
Tensor exp2(const Tensor& self) { return op::exp2(self); }
Tensor erfc(const Tensor& self) { return op::erfc(self); }
Tensor erfinv(const Tensor& self) { return op::erfinv(self); }
Tensor lgamma(const Tensor& self) { return op::lgamma(self); }
Tensor digamma(const Tensor& self) { return op::polygamma(self, 0); }
Tensor polygamma(std::int64_t n, const Tensor& self) {
  TORCH_CHECK(n >= 0, "polygamma(n, x) does not support negative n.");
  return op::polygamma(self, n);
}

namespace {
// The angles and lengths of floating-point numbers: integers are converted to the default dtype first.
template <class F>
Tensor zip_floating(const char* name, const Tensor& self, const Tensor& other, F f) {
  const ScalarType common = result_type(self, other);
  const ScalarType type = isFloatingType(common) ? common : get_default_dtype();
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  const Tensor result = empty_beside(a, b, infer_size(a.sizes(), b.sizes()), type);
  dispatch_floating_types(type, name, [&]<class T>() { zip_into<T, T, T>(result, a, b, f); });
  return result;
}

Tensor atan2_cpu(const Tensor& self, const Tensor& other) {
  return zip_floating("atan2", self, other, [](auto y, auto x) { return std::atan2(y, x); });
}
Tensor copysign_cpu(const Tensor& self, const Tensor& other) {
  return zip_floating("copysign", self, other, [](auto x, auto y) { return std::copysign(x, y); });
}
Tensor hypot_cpu(const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  TORCH_CHECK_NOT_IMPLEMENTED(isFloatingType(type), "\"hypot_cpu\" not implemented for '", type, "'");
  return zip_floating("hypot", self, other, [](auto x, auto y) { return std::hypot(x, y); });
}
Tensor fmod_cpu(const Tensor& self, const Tensor& other) {
  TORCH_CHECK_NOT_IMPLEMENTED(result_type(self, other) != kBool, "\"fmod_cpu\" not implemented for 'Bool'");
  return zip_promoted(self, other, [](auto x, auto y) {
    using T = decltype(x);
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(x, y);
    } else {
      TORCH_CHECK(y != 0, "ZeroDivisionError");
      return y == static_cast<T>(-1) && std::is_signed_v<T> ? T{0} : static_cast<T>(x % y);  // the smallest integer % -1 is a trap
    }
  });
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&)> op::atan2("atan2", {.cpu = atan2_cpu, .autograd = gradient_of<op::atan2>(
    [](const Tensor& g, Input<0> y, Input<1> x) { return g * (x / (y * y + x * x)); },
    [](const Tensor& g, Input<0> y, Input<1> x) { return g * (-y / (y * y + x * x)); })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::hypot("hypot", {.cpu = hypot_cpu, .autograd = gradient_of<op::hypot>(
    [](const Tensor& g, Input<0> self, Output result) { return g * (self / result); },
    [](const Tensor& g, Input<1> other, Output result) { return g * (other / result); })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::copysign("copysign", {.cpu = copysign_cpu, .autograd = gradient_of<op::copysign>(
    [](const Tensor& g, Input<0> self, Output result) { return where(self == 0, zeros({}, g.options()), g * (sign(self) * sign(result))); },
    [](const Tensor& g) { return zeros_like(g); })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::fmod("fmod", {.cpu = fmod_cpu, .autograd = gradient_of<op::fmod>(
    [](const Tensor& g) { return g; },
    [](const Tensor& g, Input<0> self, Input<1> other) { return -g * trunc(self / other); })});

Tensor atan2(const Tensor& self, const Tensor& other) { return op::atan2(self, other); }
Tensor hypot(const Tensor& self, const Tensor& other) { return op::hypot(self, other); }
Tensor copysign(const Tensor& self, const Tensor& other) { return op::copysign(self, other); }
Tensor copysign(const Tensor& self, const Scalar& other) { return op::copysign(self, wrapped_scalar(other)); }
Tensor fmod(const Tensor& self, const Tensor& other) { return op::fmod(self, other); }
Tensor fmod(const Tensor& self, const Scalar& other) { return op::fmod(self, wrapped_scalar(other)); }

namespace {
Tensor cumprod_cpu(const Tensor& self, std::int64_t dim) {
  const bool widens = !self.is_floating_point();
  const Tensor input = widens ? to_dtype(self, kLong) : self;
  const Tensor result = clone(input, MemoryFormat::Contiguous);
  if (result.dim() == 0 || result.numel() == 0) return result;
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, T>;  // as cumsum and PyTorch
    for_each_row<T>(result, dim, [&](std::int64_t, T* row, std::int64_t step) {
      Acc product{1};
      for (std::int64_t j = 0; j < result.size(dim); ++j) {
        product = static_cast<Acc>(product * static_cast<Acc>(row[j * step]));
        row[j * step] = static_cast<T>(product);
      }
    });
  });
  return result;
}

// The sum of x_i, x_(i+1), ... for each i.
Tensor reverse_cumsum(const Tensor& x, std::int64_t dim) { return flip(cumsum(flip(x, dim), dim), dim); }

Tensor cumprod_backward(const Tensor& grad, const Tensor& self, const Tensor& result, std::int64_t dim) {
  if (self.dim() == 0) return grad;
  if (!(self == 0).any().item<bool>()) return reverse_cumsum(grad * result, dim) / self;
  std::vector<Tensor> parts;
  const std::int64_t size = self.size(dim);
  for (std::int64_t i = 0; i < size; ++i) {
    // The products that hold x_i, without it: those before i times the products of what follows.
    const Tensor before = (i == 0 ? ones_like(self.select(dim, 0)) : self.narrow(dim, 0, i).prod(dim)).unsqueeze(dim);
    const Tensor products = i + 1 == size ? before : cat({before, before * cumprod(self.narrow(dim, i + 1, size - i - 1), dim)}, dim);
    parts.push_back((products * grad.narrow(dim, i, size - i)).sum(dim));
  }
  return stack(parts, dim);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::cumprod("cumprod", {.cpu = cumprod_cpu, .autograd = gradient_of<op::cumprod>(
    [](const Tensor& g, Input<0> self, Output result, Arg<1, std::int64_t> dim) { return cumprod_backward(g, self, result, dim); })});
Tensor cumprod(const Tensor& self, std::int64_t dim) { return op::cumprod(self, wrap_dim(dim, self.dim())); }

void register_special_half_precision() {
  compute_in_float<op::acos, op::asin, op::sinh, op::cosh, op::asinh, op::acosh, op::atanh, op::exp2, op::erfc, op::erfinv, op::lgamma, op::polygamma>();
  compute_in_float<op::atan2, op::hypot, op::copysign, op::cumprod>();
  round_and_compute_in_float<op::fmod>();
}

}  // namespace tinytorch
