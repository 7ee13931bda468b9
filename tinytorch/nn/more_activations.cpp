// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_activations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/map_real.h"
#include "tinytorch/nn/modules.h"

namespace tinytorch {

namespace {
Tensor hardtanh_cpu(const Tensor& self, const Scalar& min_val, const Scalar& max_val) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    map_into<T, T>(result, self, [low = min_val.to<T>(), high = max_val.to<T>()](T x) {
      const T raised = x < low ? low : x;
      return raised > high ? high : raised;
    });
  });
  return result;
}

Tensor threshold_cpu(const Tensor& self, const Scalar& threshold, const Scalar& value) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    map_into<T, T>(result, self, [t = threshold.to<T>(), v = value.to<T>()](T x) { return x <= t ? v : x; });
  });
  return result;
}

Tensor hardshrink_cpu(const Tensor& self, const Scalar& lambd) {
  return map_real("hardshrink_cpu", self, [l = lambd.toDouble()](auto x) {
    using T = decltype(x);
    return x >= static_cast<T>(-l) && x <= static_cast<T>(l) ? T{0} : x;
  });
}

Tensor softshrink_cpu(const Tensor& self, const Scalar& lambd) {
  return map_real("softshrink_cpu", self, [l = lambd.toDouble()](auto x) {
    using T = decltype(x);
    // What is cut off from both sides is what remains between them: two choices of numbers that are there, where a jump would be guessed wrong. NaN stays.
    const T width = static_cast<T>(l), above = x < -width ? -width : x;
    return x - (above > width ? width : above);
  });
}

Tensor mish_cpu(const Tensor& self) {
  return map_real("mish_cpu", self, [](auto x) { return x * std::tanh(std::log1p(std::exp(x))); });
}

Tensor log_sigmoid_cpu(const Tensor& self) {
  return map_real("log_sigmoid_cpu", self, [](auto x) {
    using T = decltype(x);
    return std::min(T{0}, x) - std::log1p(std::exp(-std::abs(x)));
  });
}

// x + 3 between 0 and 6, a sixth of which hardsigmoid is. NaN stays.
template <class T>
T three_above_cut(T x) {
  const T raised = std::max(x + 3, T{0});
  return std::min(raised, T{6});
}

Tensor hardsigmoid_cpu(const Tensor& self) {
  return map_real("hardsigmoid_cpu", self, [](auto x) { return three_above_cut(x) / 6; });
}

Tensor hardswish_cpu(const Tensor& self) {
  return map_real("hardswish_cpu", self, [](auto x) { return x * three_above_cut(x) / 6; });
}

// The two halves along `dim`, as views.
std::pair<Tensor, Tensor> halves_of(const Tensor& self, std::int64_t dim) {
  const std::int64_t half = self.size(dim) / 2;
  return {self.narrow(dim, 0, half), self.narrow(dim, half, half)};
}

Tensor glu_cpu(const Tensor& self, std::int64_t dim) {
  const std::pair<Tensor, Tensor> halves = halves_of(self, dim);
  return halves.first * sigmoid(halves.second);
}

Tensor mish_backward(const Tensor& g, const Tensor& self) {
  const Tensor t = tanh(softplus(self));
  return g * (t + self * sigmoid(self) * (1 - t * t));
}

Tensor prelu_cpu(const Tensor& self, const Tensor& weight) { return where(self > 0, self, weight * self); }

// `g` where `passes`, 0 elsewhere.
Tensor gated(const Tensor& passes, const Tensor& g) { return where(passes, g, zeros({}, g.options())); }
}  // namespace

// Of chapter 89 too, whose kernels compute them in one pass where no graph is recorded.
Tensor hardsigmoid_backward(const Tensor& g, const Tensor& self) {
  return where(logical_or(self <= -3, self >= 3), zeros({}, g.options()), g / 6);
}

Tensor hardswish_backward(const Tensor& g, const Tensor& self) {
  return where(self <= -3, zeros({}, g.options()), where(self >= 3, g, g * (self / 3 + 0.5)));
}

Tensor glu_backward(const Tensor& g, const Tensor& self, std::int64_t dim) {
  const std::pair<Tensor, Tensor> halves = halves_of(self, dim);
  const Tensor gate = sigmoid(halves.second);
  return cat({g * gate, g * halves.first * (gate * (1 - gate))}, dim);
}

constinit Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> op::hardtanh(
    "hardtanh", {.cpu = hardtanh_cpu,
                 .autograd = gradient_of<op::hardtanh>(
                     [](const Tensor& g, Input<0> self, Arg<1, Scalar> min_val, Arg<2, Scalar> max_val) {
                       const Tensor cut = logical_or(self <= min_val.value, self >= max_val.value);
                       return where(cut, zeros({}, g.options()), g);
                     })});
constinit Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> op::threshold(
    "threshold",
    {.cpu = threshold_cpu,
     .autograd = gradient_of<op::threshold>([](const Tensor& g, Input<0> self, Arg<1, Scalar> threshold) {
       return where(self <= threshold.value, zeros({}, g.options()), g);
     })});
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::hardshrink(
    "hardshrink", {.cpu = hardshrink_cpu,
                   .autograd = gradient_of<op::hardshrink>([](const Tensor& g, Input<0> self, Arg<1, Scalar> lambd) {
                     const double l = lambd.value.toDouble();
                     return where(logical_and(self >= -l, self <= l), zeros({}, g.options()), g);
                   })});
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::softshrink(
    "softshrink", {.cpu = softshrink_cpu,
                   .autograd = gradient_of<op::softshrink>([](const Tensor& g, Input<0> self, Arg<1, Scalar> lambd) {
                     const double l = lambd.value.toDouble();
                     return where(logical_and(self >= -l, self <= l), zeros({}, g.options()), g);
                   })});
constinit Operator<Tensor(const Tensor&)> op::mish(
    "mish", {.cpu = mish_cpu,
             .autograd = gradient_of<op::mish>([](const Tensor& g, Input<0> self) { return mish_backward(g, self); })});
constinit Operator<Tensor(const Tensor&)> op::log_sigmoid(
    "log_sigmoid", {.cpu = log_sigmoid_cpu, .autograd = gradient_of<op::log_sigmoid>([](const Tensor& g, Input<0> self) {
                      return g * sigmoid(-self);
                    })});
constinit Operator<Tensor(const Tensor&)> op::hardsigmoid(
    "hardsigmoid", {.cpu = hardsigmoid_cpu, .autograd = gradient_of<op::hardsigmoid>([](const Tensor& g, Input<0> self) {
                      return hardsigmoid_backward(g, self);
                    })});
constinit Operator<Tensor(const Tensor&)> op::hardswish(
    "hardswish", {.cpu = hardswish_cpu, .autograd = gradient_of<op::hardswish>([](const Tensor& g, Input<0> self) {
                    return hardswish_backward(g, self);
                  })});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::glu(
    "glu", {.cpu = glu_cpu, .autograd = gradient_of<op::glu>([](const Tensor& g, Input<0> self, Arg<1, std::int64_t> dim) {
              return glu_backward(g, self, dim);
            })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::prelu(
    "prelu", {.cpu = prelu_cpu,
              .autograd = gradient_of<op::prelu>(
                  [](const Tensor& g, Input<0> self, Input<1> weight) { return where(self > 0, g, weight * g); },
                  [](const Tensor& g, Input<0> self) { return gated(self <= 0, self * g); })});

namespace {
// A limit as `self` can hold it: whole for integers, and not below 0 for bytes.
Scalar limit_for(const Tensor& self, const Scalar& limit) {
  if (self.is_floating_point()) return limit;
  return self.scalar_type() == kByte ? std::max<std::int64_t>(limit.toLong(), 0) : limit.toLong();
}

void check_floating(const char* kernel, const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "\"", kernel, "\" not implemented for '", self.scalar_type(), "'");
}
}  // namespace

Tensor hardtanh(const Tensor& self, const Scalar& min_val, const Scalar& max_val) {
  TORCH_CHECK(self.scalar_type() != kBool, "Bool inputs not supported for hardtanh\n[hardtanh] convert with to(kFloat) first.");
  return op::hardtanh(self, limit_for(self, min_val), limit_for(self, max_val));
}
Tensor relu6(const Tensor& self) { return hardtanh(self, 0, 6); }

Tensor threshold(const Tensor& self, const Scalar& threshold, const Scalar& value) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"threshold_cpu\" not implemented for 'Bool'");
  return op::threshold(self, threshold, value);
}

Tensor hardshrink(const Tensor& self, const Scalar& lambd) { return op::hardshrink(self, lambd); }

Tensor softshrink(const Tensor& self, const Scalar& lambd) {
  check_floating("softshrink_check", self);
  const double most = self.scalar_type() == kDouble ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  TORCH_CHECK(lambd.toDouble() >= 0 && lambd.toDouble() <= most, "lambda must be in range [0, ", most, "] for input dtype ",
              self.scalar_type(), ", but found ", lambd.toDouble());
  return op::softshrink(self, lambd);
}

Tensor mish(const Tensor& self) { return op::mish(self); }
Tensor log_sigmoid(const Tensor& self) { return op::log_sigmoid(self); }

Tensor prelu(const Tensor& self, const Tensor& weight) {
  TORCH_CHECK(self.scalar_type() == weight.scalar_type(), "prelu: Type promoting not supported. Got ", self.scalar_type(),
              " and ", weight.scalar_type());
  check_floating("prelu_cpu", self);
  if (weight.numel() == 1) return op::prelu(self, weight.dim() == 0 ? weight : weight.reshape({}));
  TORCH_CHECK(self.dim() > 0, "Not allow zero-dim input tensor.");
  const std::int64_t channels = self.dim() > 1 ? self.size(1) : 1;
  TORCH_CHECK(channels == weight.numel(),
              "Mismatch of parameter numbers and input channel size. Found parameter numbers = ", weight.numel(),
              " and channel size = ", channels, ".");
  TORCH_CHECK(weight.dim() <= 1, "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = ", weight.dim());
  DimVector sizes(static_cast<std::size_t>(self.dim()), 1);
  sizes[1] = channels;
  return op::prelu(self, weight.view(sizes));
}

namespace {
// 1 where x > 0, else a number drawn from [lower, upper), in the order of the elements.
Tensor rrelu_slopes(const Tensor& self, double lower, double upper, std::optional<Generator> generator) {
  if (const ScalarType type = self.scalar_type(); isReducedFloatingType(type)) return to_dtype(rrelu_slopes(to_dtype(self, kFloat), lower, upper, generator), type);
  const Tensor slopes = empty(self.sizes(), self.options());
  Generator source = generator ? *generator : default_generator();
  const Tensor x = self.contiguous();
  dispatch_floating_types(self.scalar_type(), "rrelu_with_noise_out_cpu", [&]<class T>() {
    for (std::int64_t i = 0; i < x.numel(); ++i)
      slopes.data<T>()[i] = x.data<T>()[i] <= 0 ? static_cast<T>(source.uniform_double() * (upper - lower) + lower) : T{1};
  });
  return slopes;
}

const Tensor& overwrite(const Tensor& self, const Tensor& result) {
  self.copy_(result);
  return self;
}

// What `self` holds before it is overwritten: a copy where a graph may want to keep it.
Tensor unwritten(const Tensor& self) { return layers_of(self).has(Layer::Autograd) ? self.clone() : self; }
}  // namespace

Tensor rrelu(const Tensor& self, const Scalar& lower, const Scalar& upper, bool training, std::optional<Generator> generator) {
  TORCH_CHECK(lower.toDouble() <= upper.toDouble(), "Lower bound should be less than or equal to the upper bound");
  if (!training) return leaky_relu(self, (lower.toDouble() + upper.toDouble()) / 2);
  return self * rrelu_slopes(self.detach(), lower.toDouble(), upper.toDouble(), std::move(generator));
}

Tensor selu(const Tensor& self) { return elu(self, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946); }

Tensor celu(const Tensor& self, const Scalar& alpha) {
  TORCH_CHECK(alpha.toDouble() != 0, "ZeroDivisionError: alpha cannot be 0 for CELU");
  check_floating("elu_cpu", self);
  return elu(self, alpha, 1, 1 / alpha.toDouble());
}

Tensor glu(const Tensor& self, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "glu does not support 0-dimensional tensors");
  const std::int64_t wrapped = wrap_dim(dim, self.dim());
  const std::int64_t size = self.size(wrapped);
  check_floating("glu_cpu", self);
  TORCH_CHECK(size % 2 == 0, "Halving dimension must be even, but dimension ", wrapped, " is size ", size);
  return op::glu(self, wrapped);
}

Tensor hardsigmoid(const Tensor& self) {
  check_floating("hardsigmoid_cpu", self);
  return op::hardsigmoid(self);
}

Tensor hardswish(const Tensor& self) {
  check_floating("hardswish_cpu", self);
  return op::hardswish(self);
}

const Tensor& hardtanh_(const Tensor& self, const Scalar& min_val, const Scalar& max_val) {
  return overwrite(self, hardtanh(unwritten(self), min_val, max_val));
}
const Tensor& relu6_(const Tensor& self) { return overwrite(self, relu6(unwritten(self))); }
const Tensor& threshold_(const Tensor& self, const Scalar& threshold, const Scalar& value) {
  return overwrite(self, tinytorch::threshold(unwritten(self), threshold, value));
}
const Tensor& rrelu_(const Tensor& self, const Scalar& lower, const Scalar& upper, bool training,
                     std::optional<Generator> generator) {
  return overwrite(self, rrelu(unwritten(self), lower, upper, training, std::move(generator)));
}
const Tensor& selu_(const Tensor& self) { return overwrite(self, selu(unwritten(self))); }
const Tensor& celu_(const Tensor& self, const Scalar& alpha) { return overwrite(self, celu(unwritten(self), alpha)); }
const Tensor& hardsigmoid_(const Tensor& self) { return overwrite(self, hardsigmoid(unwritten(self))); }
const Tensor& hardswish_(const Tensor& self) { return overwrite(self, hardswish(unwritten(self))); }

}  // namespace tinytorch
