// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 97: More activations, losses and parameter containers
//
// What stands here needs module 05, because it is made of operators that bring their gradients along, or because it asks
// a tensor whether it requires one: the activation functions that module 02 left out, the losses for rankings, distances
// and sets of labels, lists and dictionaries of parameters, and the two functions that lay all parameters of a model into
// one vector and back. Functions, options, modules and error sentences are libtorch's.
//
//     a function with a bend or an exp of its own     one kernel, and its gradient beside it        mish, softshrink, ...
//     a function of other functions                   composed; its gradient follows                glu, all losses here
//
// Composed functions walk over memory once per operator. Where PyTorch composes, so does this chapter; where PyTorch has a
// kernel for a loss (`multi_margin_loss`, `multilabel_margin_loss`), the composed form is chosen for its short proof, and
// its cost stands beside it.

// %%
//| after 05
//| export nn/more_activations.h
#include "tinytorch/core/generator.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/activations.h"
//| export nn/more_activations.cpp
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
//| export nn/more_modules.h
#include <optional>
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/modules.h"
#include "tinytorch/nn/more_activations.h"
//| export nn/more_modules.cpp
#include <ostream>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"
//| export nn/parameters.h
#include <concepts>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/parameters.cpp
#include <ostream>
#include "tinytorch/core/more_ops.h"
//| export nn/distance.h
#include "tinytorch/core/arg.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/distance.cpp
#include <algorithm>
#include <ostream>
#include "tinytorch/core/more_ops.h"
//| export nn/padding.h
#include <cstdint>
#include <variant>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/core/ops.h"
//| export nn/padding.cpp
#include <algorithm>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
//| export nn/more_losses.h
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/loss.h"
//| export nn/more_losses.cpp
#include <algorithm>
#include <cmath>
#include <numbers>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/distance.h"
#include "tinytorch/nn/more_activations.h"
//| export nn/more_loss_modules.h
#include <functional>
#include "tinytorch/nn/distance.h"
#include "tinytorch/nn/loss_modules.h"
#include "tinytorch/nn/more_losses.h"
//| export nn/more_loss_modules.cpp
#include <ostream>
#include "tinytorch/core/formatting.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/more_activations.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/generator.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/more_loss_modules.h"
#include "tinytorch/nn/more_modules.h"
#include "tinytorch/nn/padding.h"
#include "tinytorch/nn/parameters.h"

// %%
namespace tinytorch {

// %%
//| lesson
// What a module prints.
template <class M>
std::string printed(const M& module) {
  std::ostringstream text;
  text << module;
  return text.str();
}

// The gradient of the sum of f(x).
Tensor slope(const std::function<Tensor(const Tensor&)>& f, const Tensor& values) {
  const Tensor x = values.detach().clone().requires_grad_();
  f(x).sum().backward();
  return x.grad();
}

// %% [markdown]
// ## Activation functions with a kernel
//
// Each is one formula for an element and one for its slope. What happens at a bend, and for NaN, is part of the
// definition, because a network with NaN in it should show it: all of these hand NaN on.
//
//     hardtanh             threshold            hardshrink           softshrink
//            ____                 /                    /                    /
//           /                    /                    /                    /
//     _____/               ____./ value         ___  . . .  ___       _____/
//                                                  /                  /
//                                                 /                  /

// %%
//| export nn/more_activations.h
// Each returns a new tensor of the shape of `self`; O(numel). Floating point only, unless said otherwise.
// min_val below min_val, max_val above max_val, x between; any dtype but Bool.
Tensor hardtanh(const Tensor& self, const Scalar& min_val = -1, const Scalar& max_val = 1);
Tensor relu6(const Tensor& self);  // hardtanh(x, 0, 6)
// x above `threshold`, else `value`; any dtype but Bool.
Tensor threshold(const Tensor& self, const Scalar& threshold, const Scalar& value);
Tensor hardshrink(const Tensor& self, const Scalar& lambd = 0.5);  // 0 where |x| <= lambd, else x
Tensor softshrink(const Tensor& self, const Scalar& lambd = 0.5);  // 0 where |x| <= lambd, else x moved by lambd towards 0
Tensor mish(const Tensor& self);         // x * tanh(softplus(x))
Tensor log_sigmoid(const Tensor& self);  // log(sigmoid(x)), finite for every finite x
// x where x > 0, else weight * x. `weight` has one element, or one for each channel (dim 1; the elements of a vector
// are channels of one sample).
Tensor prelu(const Tensor& self, const Tensor& weight);
// x where x > 0, else r * x. In training r is drawn for each such element, uniform in [lower, upper]; otherwise it is
// their mean.
Tensor rrelu(const Tensor& self, const Scalar& lower = 0.125, const Scalar& upper = 1.0 / 3, bool training = false,
             std::optional<Generator> generator = std::nullopt);
// ---- Composed of others.
Tensor selu(const Tensor& self);                           // elu with the two constants of Klambauer et al. 2017
Tensor celu(const Tensor& self, const Scalar& alpha = 1);  // max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))
Tensor glu(const Tensor& self, std::int64_t dim = -1);     // a * sigmoid(b) for the two halves a, b of `self` along `dim`
Tensor hardsigmoid(const Tensor& self);                    // min(max(x + 3, 0), 6) / 6: straight lines in place of sigmoid's curve
Tensor hardswish(const Tensor& self);                      // x * hardsigmoid(x)

// ---- The same over the elements of `self`, which they return. They compute the result first, then copy it.
const Tensor& hardtanh_(const Tensor& self, const Scalar& min_val = -1, const Scalar& max_val = 1);
const Tensor& relu6_(const Tensor& self);
const Tensor& threshold_(const Tensor& self, const Scalar& threshold, const Scalar& value);
const Tensor& rrelu_(const Tensor& self, const Scalar& lower = 0.125, const Scalar& upper = 1.0 / 3, bool training = false,
                     std::optional<Generator> generator = std::nullopt);
const Tensor& selu_(const Tensor& self);
const Tensor& celu_(const Tensor& self, const Scalar& alpha = 1);
const Tensor& hardsigmoid_(const Tensor& self);
const Tensor& hardswish_(const Tensor& self);

namespace op {
extern Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> hardtanh;
extern Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> threshold;
extern Operator<Tensor(const Tensor&, const Scalar&)> hardshrink;
extern Operator<Tensor(const Tensor&, const Scalar&)> softshrink;
extern Operator<Tensor(const Tensor&)> mish;
extern Operator<Tensor(const Tensor&)> log_sigmoid;
extern Operator<Tensor(const Tensor&)> hardsigmoid;
extern Operator<Tensor(const Tensor&)> hardswish;
extern Operator<Tensor(const Tensor&, std::int64_t)> glu;  // along a dimension >= 0 of an even size
extern Operator<Tensor(const Tensor&, const Tensor&)> prelu;  // weight broadcasts against self
}  // namespace op

// %%
//| export nn/more_activations.cpp
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

// %%
//| export nn/more_activations.cpp
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

// %%
//| export nn/more_activations.cpp
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

// %%
//| export nn/more_activations.cpp
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

// %%
TEST_CASE("activations: values at bends and ends, and their slopes") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = tensor({-2.0, -1.0, 0.0, 1.0, 2.0}, kDouble);
  CHECK_EQ(hardtanh(x), tensor({-1.0, -1.0, 0.0, 1.0, 1.0}, kDouble));
  CHECK_EQ(slope([](const Tensor& t) { return hardtanh(t); }, x), tensor({0.0, 0.0, 1.0, 0.0, 0.0}, kDouble));
  CHECK_EQ(threshold(x, 0.5, -7), tensor({-7.0, -7.0, -7.0, 1.0, 2.0}, kDouble));
  CHECK_EQ(hardshrink(x, 1), tensor({-2.0, 0.0, 0.0, 0.0, 2.0}, kDouble));
  CHECK_EQ(softshrink(x, 1), tensor({-1.0, 0.0, 0.0, 0.0, 1.0}, kDouble));
  CHECK_EQ(log_sigmoid(tensor({-1000.0, 1000.0})), tensor({-1000.0, -0.0}));
  CHECK_CLOSE(glu(tensor({1.0, 2.0, 0.0, 1000.0})), tensor({0.5, 2.0}));
  for (const auto& f : std::vector<std::function<Tensor(const Tensor&)>>{
           [](const Tensor& t) { return hardtanh(t); }, [](const Tensor& t) { return threshold(t, 0, 0); },
           [](const Tensor& t) { return hardshrink(t); }, [](const Tensor& t) { return softshrink(t); }, mish, log_sigmoid})
    CHECK(std::isnan(f(tensor({nan}))[0].item<double>()));
  CHECK_EQ(relu6(tensor({-3, 4, 8})), tensor({0, 4, 6}));
  Tensor y = x.clone();
  CHECK(celu_(y, 0.5).is_same(y));
  CHECK_EQ(y, celu(x, 0.5));
}

TEST_CASE("hardsigmoid and hardswish: PyTorch's numbers, recorded, and slopes at both bends") {
  const Tensor x = tensor({-4.0, -3.0, -2.5, -1.0, 0.0, 0.7, 2.0, 3.0, 5.0}, kDouble);
  CHECK_CLOSE(hardsigmoid(x), tensor({0.0, 0.0, 0.08333333333333333, 0.3333333333333333, 0.5, 0.6166666666666667, 0.8333333333333334, 1.0, 1.0}, kDouble), 1e-15, 1e-15);
  CHECK_CLOSE(hardswish(x), tensor({0.0, 0.0, -0.20833333333333334, -0.3333333333333333, 0.0, 0.43166666666666664, 1.6666666666666667, 3.0, 5.0}, kDouble), 1e-15, 1e-15);
  const double sixth = 1.0 / 6;  // PyTorch's own is rounded to float
  CHECK_CLOSE(slope([](const Tensor& t) { return hardsigmoid(t); }, x), tensor({0.0, 0.0, sixth, sixth, sixth, sixth, sixth, 0.0, 0.0}, kDouble), 1e-15, 1e-15);
  CHECK_CLOSE(slope([](const Tensor& t) { return hardswish(t); }, x), tensor({0.0, 0.0, -0.33333333333333337, 0.16666666666666669, 0.5, 0.7333333333333333, 1.1666666666666665, 1.0, 1.0}, kDouble), 1e-15, 1e-15);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(hardsigmoid(tensor({nan}, kDouble)).item<double>()));
  CHECK(std::isnan(hardswish(tensor({nan}, kDouble)).item<double>()));
  CHECK_ERROR(hardswish(tensor({1})), "\"hardswish_cpu\" not implemented for 'Long'");
  const Tensor y = x.clone();
  CHECK(hardswish_(y).is_same(y));
  CHECK_EQ(y, hardswish(x));
  CHECK_EQ(hardsigmoid_(y.copy_(x)), hardsigmoid(x));
}

// %%
TEST_CASE("prelu and rrelu: one slope for each channel, or one drawn for each element") {
  const Tensor x = tensor({{-1.0, -2.0}, {3.0, -4.0}}).requires_grad_();
  const Tensor weight = tensor({0.5, 0.25}).requires_grad_();
  const Tensor y = prelu(x, weight);
  CHECK_EQ(y.detach(), tensor({{-0.5, -0.5}, {3.0, -1.0}}));
  y.sum().backward();
  CHECK_EQ(x.grad(), tensor({{0.5, 0.25}, {1.0, 0.25}}));
  CHECK_EQ(weight.grad(), tensor({-1.0, -6.0}));
  CHECK_ERROR(prelu(ones({2, 3}), ones({2})),
              "Mismatch of parameter numbers and input channel size. Found parameter numbers = 2 and channel size = 3.");
  CHECK_ERROR(prelu(ones({}), ones({2})), "Not allow zero-dim input tensor.");

  manual_seed(1);  // PyTorch's numbers
  CHECK_CLOSE(rrelu(full({8}, -1.0), 0.1, 0.5, true),
              tensor({-0.124421313, -0.18982181, -0.193701014, -0.170839697, -0.322427213, -0.143777549, -0.284365147,
                      -0.383346111}));
  CHECK_CLOSE(rrelu(tensor({-1.0, 2.0}), 0.1, 0.5), tensor({-0.3, 2.0}));
  CHECK_ERROR(rrelu(ones({2}), 2, 1), "Lower bound should be less than or equal to the upper bound");
}

// %% [markdown]
// ## The functions with options, and as modules

// %%
//| export nn/more_modules.h
// Source: torch/csrc/api/include/torch/nn/options/activation.h.
namespace nn {

struct SELUOptions {
  SELUOptions(bool inplace = false) : inplace_(inplace) {}
  TORCH_ARG(bool, inplace);
};
struct ReLU6Options {
  ReLU6Options(bool inplace = false) : inplace_(inplace) {}
  TORCH_ARG(bool, inplace);
};
struct GLUOptions {
  GLUOptions(std::int64_t dim = -1) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
};
struct HardshrinkOptions {
  HardshrinkOptions(double lambda = 0.5) : lambda_(lambda) {}
  TORCH_ARG(double, lambda);
};
struct SoftshrinkOptions {
  SoftshrinkOptions(double lambda = 0.5) : lambda_(lambda) {}
  TORCH_ARG(double, lambda);
};
struct HardtanhOptions {
  TORCH_ARG(double, min_val) = -1.0;
  TORCH_ARG(double, max_val) = 1.0;
  TORCH_ARG(bool, inplace) = false;
};
struct CELUOptions {
  TORCH_ARG(double, alpha) = 1.0;
  TORCH_ARG(bool, inplace) = false;
};
struct RReLUOptions {
  TORCH_ARG(double, lower) = 1.0 / 8.0;
  TORCH_ARG(double, upper) = 1.0 / 3.0;
  TORCH_ARG(bool, inplace) = false;
};
struct PReLUOptions {
  TORCH_ARG(std::int64_t, num_parameters) = 1;
  TORCH_ARG(double, init) = 0.25;
};
struct ThresholdOptions {
  ThresholdOptions(double threshold, double value) : threshold_(threshold), value_(value) {}
  TORCH_ARG(double, threshold);
  TORCH_ARG(double, value);
  TORCH_ARG(bool, inplace) = false;
};
struct SoftminOptions {
  SoftminOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
};

}  // namespace nn

// %%
//| export nn/more_modules.h
namespace nn::functional {

using SELUFuncOptions = SELUOptions;
using ReLU6FuncOptions = ReLU6Options;
using GLUFuncOptions = GLUOptions;
using HardshrinkFuncOptions = HardshrinkOptions;
using SoftshrinkFuncOptions = SoftshrinkOptions;
using HardtanhFuncOptions = HardtanhOptions;
using CELUFuncOptions = CELUOptions;
using ThresholdFuncOptions = ThresholdOptions;
struct RReLUFuncOptions {
  TORCH_ARG(double, lower) = 1.0 / 8.0;
  TORCH_ARG(double, upper) = 1.0 / 3.0;
  TORCH_ARG(bool, training) = false;
  TORCH_ARG(bool, inplace) = false;
};
struct SoftminFuncOptions {
  SoftminFuncOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
  TORCH_ARG(std::optional<ScalarType>, dtype) = std::nullopt;
};
struct GumbelSoftmaxFuncOptions {
  TORCH_ARG(double, tau) = 1.0;
  TORCH_ARG(bool, hard) = false;
  TORCH_ARG(int, dim) = -1;
};

Tensor selu(Tensor input, const SELUFuncOptions& options = {});
Tensor relu6(Tensor input, const ReLU6FuncOptions& options = {});
Tensor glu(const Tensor& input, const GLUFuncOptions& options = {});
Tensor hardshrink(const Tensor& input, const HardshrinkFuncOptions& options = {});
Tensor softshrink(const Tensor& input, const SoftshrinkFuncOptions& options = {});
Tensor hardtanh(Tensor input, const HardtanhFuncOptions& options = {});
Tensor celu(Tensor input, const CELUFuncOptions& options = {});
Tensor rrelu(Tensor input, const RReLUFuncOptions& options = {});
Tensor threshold(Tensor input, const ThresholdFuncOptions& options);
Tensor prelu(const Tensor& input, const Tensor& weight);
Tensor mish(const Tensor& input);
Tensor logsigmoid(const Tensor& input);
Tensor softsign(const Tensor& input);    // x / (1 + |x|)
Tensor tanhshrink(const Tensor& input);  // x - tanh(x)
Tensor softmin(const Tensor& input, const SoftminFuncOptions& options);  // softmax of -x
// A sample from the categorical distribution with these logits that can be differentiated: softmax((logits + Gumbel
// noise) / tau). With `hard` the result is one-hot, and its gradient is that of the soft sample. Jang et al. 2016.
Tensor gumbel_softmax(const Tensor& logits, const GumbelSoftmaxFuncOptions& options = {});

}  // namespace nn::functional

// %%
//| export nn/more_modules.cpp
Tensor nn::functional::selu(Tensor input, const SELUFuncOptions& options) {
  return options.inplace() ? selu_(input) : tinytorch::selu(input);
}
Tensor nn::functional::relu6(Tensor input, const ReLU6FuncOptions& options) {
  return options.inplace() ? relu6_(input) : tinytorch::relu6(input);
}
Tensor nn::functional::glu(const Tensor& input, const GLUFuncOptions& options) {
  TORCH_CHECK(input.dim() != 0, "glu does not support scalars because halving size must be even");
  return tinytorch::glu(input, options.dim());
}
Tensor nn::functional::hardshrink(const Tensor& input, const HardshrinkFuncOptions& options) {
  return tinytorch::hardshrink(input, options.lambda());
}
Tensor nn::functional::softshrink(const Tensor& input, const SoftshrinkFuncOptions& options) {
  return tinytorch::softshrink(input, options.lambda());
}
Tensor nn::functional::hardtanh(Tensor input, const HardtanhFuncOptions& options) {
  return options.inplace() ? hardtanh_(input, options.min_val(), options.max_val())
                           : tinytorch::hardtanh(input, options.min_val(), options.max_val());
}
Tensor nn::functional::celu(Tensor input, const CELUFuncOptions& options) {
  return options.inplace() ? celu_(input, options.alpha()) : tinytorch::celu(input, options.alpha());
}
Tensor nn::functional::rrelu(Tensor input, const RReLUFuncOptions& options) {
  return options.inplace() ? rrelu_(input, options.lower(), options.upper(), options.training())
                           : tinytorch::rrelu(input, options.lower(), options.upper(), options.training());
}
Tensor nn::functional::threshold(Tensor input, const ThresholdFuncOptions& options) {
  return options.inplace() ? threshold_(input, options.threshold(), options.value())
                           : tinytorch::threshold(input, options.threshold(), options.value());
}
Tensor nn::functional::prelu(const Tensor& input, const Tensor& weight) { return tinytorch::prelu(input, weight); }
Tensor nn::functional::mish(const Tensor& input) { return tinytorch::mish(input); }
Tensor nn::functional::logsigmoid(const Tensor& input) { return log_sigmoid(input); }
Tensor nn::functional::softsign(const Tensor& input) { return input / (input.abs() + 1); }
Tensor nn::functional::tanhshrink(const Tensor& input) { return input - input.tanh(); }
Tensor nn::functional::softmin(const Tensor& input, const SoftminFuncOptions& options) {
  return tinytorch::softmax(-input, options.dim(), options.dtype());
}

Tensor nn::functional::gumbel_softmax(const Tensor& logits, const GumbelSoftmaxFuncOptions& options) {
  const Tensor noise = -empty_like(logits).exponential_().log();
  const Tensor soft = tinytorch::softmax((logits + noise) / options.tau(), options.dim());
  if (!options.hard()) return soft;
  const Tensor chosen = soft.detach().argmax(options.dim(), /*keepdim=*/true);
  const Tensor one_hot = scatter(zeros_like(logits), options.dim(), chosen, ones({}, logits.options()).expand(chosen.sizes()));
  return one_hot - soft.detach() + soft;
}

// %%
//| export nn/more_modules.h
// Source: torch/csrc/api/include/torch/nn/modules/activation.h.
namespace nn {

class SELUImpl : public Cloneable<SELUImpl> {
 public:
  explicit SELUImpl(const SELUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::selu(input, options); }
  SELUOptions options;
};
TORCH_MODULE(SELU);
class ReLU6Impl : public Cloneable<ReLU6Impl> {
 public:
  explicit ReLU6Impl(const ReLU6Options& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::relu6(input, options); }
  ReLU6Options options;
};
TORCH_MODULE(ReLU6);
class HardtanhImpl : public Cloneable<HardtanhImpl> {
 public:
  explicit HardtanhImpl(const HardtanhOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::hardtanh(input, options); }
  HardtanhOptions options;
};
TORCH_MODULE(Hardtanh);
class CELUImpl : public Cloneable<CELUImpl> {
 public:
  explicit CELUImpl(const CELUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::celu(input, options); }
  CELUOptions options;
};
TORCH_MODULE(CELU);
class GLUImpl : public Cloneable<GLUImpl> {
 public:
  explicit GLUImpl(const GLUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::glu(input, options); }
  GLUOptions options;
};
TORCH_MODULE(GLU);
class HardshrinkImpl : public Cloneable<HardshrinkImpl> {
 public:
  explicit HardshrinkImpl(const HardshrinkOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::hardshrink(input, options); }
  HardshrinkOptions options;
};
TORCH_MODULE(Hardshrink);
class SoftshrinkImpl : public Cloneable<SoftshrinkImpl> {
 public:
  explicit SoftshrinkImpl(const SoftshrinkOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::softshrink(input, options); }
  SoftshrinkOptions options;
};
TORCH_MODULE(Softshrink);
class ThresholdImpl : public Cloneable<ThresholdImpl> {
 public:
  ThresholdImpl(double threshold, double value);
  explicit ThresholdImpl(const ThresholdOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::threshold(input, options); }
  ThresholdOptions options;
};
TORCH_MODULE(Threshold);
class SoftminImpl : public Cloneable<SoftminImpl> {
 public:
  explicit SoftminImpl(std::int64_t dim);
  explicit SoftminImpl(const SoftminOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::softmin(input, options.dim()); }
  SoftminOptions options;
};
TORCH_MODULE(Softmin);

}  // namespace nn

// %%
//| export nn/more_modules.h
namespace nn {

class LogSigmoidImpl : public Cloneable<LogSigmoidImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::logsigmoid(input); }
};
TORCH_MODULE(LogSigmoid);
class MishImpl : public Cloneable<MishImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::mish(input); }
};
TORCH_MODULE(Mish);
class SoftsignImpl : public Cloneable<SoftsignImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::softsign(input); }
};
TORCH_MODULE(Softsign);
class TanhshrinkImpl : public Cloneable<TanhshrinkImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::tanhshrink(input); }
};
TORCH_MODULE(Tanhshrink);
// softmax over the channels of (N, C, H, W) or (C, H, W).
class Softmax2dImpl : public Cloneable<Softmax2dImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);
};
TORCH_MODULE(Softmax2d);

// rrelu(): random slopes in training mode, their mean in evaluation mode.
class RReLUImpl : public Cloneable<RReLUImpl> {
 public:
  explicit RReLUImpl(const RReLUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input);
  RReLUOptions options;
};
TORCH_MODULE(RReLU);

// prelu() with a weight of its own: (num_parameters), filled with `init`.
class PReLUImpl : public Cloneable<PReLUImpl> {
 public:
  explicit PReLUImpl(const PReLUOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::prelu(input, weight); }
  PReLUOptions options;
  Tensor weight;
};
TORCH_MODULE(PReLU);

}  // namespace nn

// %%
//| export nn/more_modules.cpp
nn::SELUImpl::SELUImpl(const SELUOptions& options_) : options(options_) {}
nn::ReLU6Impl::ReLU6Impl(const ReLU6Options& options_) : options(options_) {}
nn::HardtanhImpl::HardtanhImpl(const HardtanhOptions& options_) : options(options_) {}
nn::CELUImpl::CELUImpl(const CELUOptions& options_) : options(options_) {}
nn::GLUImpl::GLUImpl(const GLUOptions& options_) : options(options_) {}
nn::HardshrinkImpl::HardshrinkImpl(const HardshrinkOptions& options_) : options(options_) {}
nn::SoftshrinkImpl::SoftshrinkImpl(const SoftshrinkOptions& options_) : options(options_) {}
nn::ThresholdImpl::ThresholdImpl(double threshold, double value) : ThresholdImpl(ThresholdOptions(threshold, value)) {}
nn::ThresholdImpl::ThresholdImpl(const ThresholdOptions& options_) : options(options_) {}
nn::SoftminImpl::SoftminImpl(std::int64_t dim) : SoftminImpl(SoftminOptions(dim)) {}
nn::SoftminImpl::SoftminImpl(const SoftminOptions& options_) : options(options_) {}
nn::RReLUImpl::RReLUImpl(const RReLUOptions& options_) : options(options_) {}
nn::PReLUImpl::PReLUImpl(const PReLUOptions& options_) : options(options_) { PReLUImpl::reset(); }

Tensor nn::Softmax2dImpl::forward(const Tensor& input) {
  TORCH_CHECK(input.dim() == 3 || input.dim() == 4, "Softmax2d requires a 3D or 4D tensor as input");
  return tinytorch::softmax(input, -3);
}

Tensor nn::RReLUImpl::forward(Tensor input) {
  return functional::rrelu(std::move(input), functional::RReLUFuncOptions()
                                                 .lower(options.lower())
                                                 .upper(options.upper())
                                                 .training(is_training())
                                                 .inplace(options.inplace()));
}

void nn::PReLUImpl::reset() { weight = register_parameter("weight", full({options.num_parameters()}, options.init())); }

// %%
//| export nn/more_modules.cpp
namespace {
const char* in_place_text(bool inplace, const char* text = ", inplace=true") { return inplace ? text : ""; }
}  // namespace

void nn::SELUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::SELU(" << in_place_text(options.inplace(), "inplace=true") << ')';
}
void nn::ReLU6Impl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::ReLU6(" << in_place_text(options.inplace(), "inplace=true") << ')';
}
void nn::HardtanhImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Hardtanh(min_val=" << options.min_val() << ", max_val=" << options.max_val()
         << in_place_text(options.inplace()) << ')';
}
void nn::CELUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::CELU(alpha=" << options.alpha() << in_place_text(options.inplace()) << ')';
}
void nn::RReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::RReLU(lower=" << options.lower() << ", upper=" << options.upper() << in_place_text(options.inplace())
         << ')';
}
void nn::ThresholdImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Threshold(threshold=" << options.threshold() << ", value=" << options.value()
         << in_place_text(options.inplace()) << ')';
}
void nn::GLUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::GLU(dim=" << options.dim() << ')'; }
void nn::HardshrinkImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Hardshrink(" << options.lambda() << ')';
}
void nn::SoftshrinkImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Softshrink(" << options.lambda() << ')';
}
void nn::PReLUImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::PReLU(num_parameters=" << options.num_parameters() << ')';
}
void nn::SoftminImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softmin(dim=" << options.dim() << ')'; }
void nn::LogSigmoidImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::LogSigmoid()"; }
void nn::MishImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Mish()"; }
void nn::SoftsignImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softsign()"; }
void nn::TanhshrinkImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Tanhshrink()"; }
void nn::Softmax2dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Softmax2d()"; }

// %%
TEST_CASE("more activation modules: the function, with its options") {
  namespace F = nn::functional;
  const Tensor x = tensor({-2.0, -0.25, 0.0, 3.0});
  CHECK_EQ(nn::SELU()(x), selu(x));
  CHECK_EQ(nn::ReLU6()(x * 3), tensor({0.0, 0.0, 0.0, 6.0}));
  CHECK_EQ(nn::Hardtanh(nn::HardtanhOptions().min_val(-0.5).max_val(2))(x), tensor({-0.5, -0.25, 0.0, 2.0}));
  CHECK_EQ(nn::CELU(nn::CELUOptions().alpha(2))(x), celu(x, 2));
  CHECK_EQ(nn::GLU(0)(x), glu(x, 0));
  CHECK_EQ(nn::Hardshrink(2)(x), tensor({0.0, 0.0, 0.0, 3.0}));
  CHECK_EQ(nn::Softshrink()(x), tensor({-1.5, 0.0, 0.0, 2.5}));
  CHECK_EQ(nn::Threshold(-1, 20)(x), tensor({20.0, -0.25, 0.0, 3.0}));
  CHECK_EQ(nn::Softmin(0)(x), softmax(-x, 0));
  CHECK_EQ(nn::LogSigmoid()(x), log_sigmoid(x));
  CHECK_EQ(nn::Mish()(x), mish(x));
  CHECK_EQ(nn::Softsign()(x), tensor({-2.0 / 3, -0.2, 0.0, 0.75}));
  CHECK_EQ(nn::Tanhshrink()(x), x - tanh(x));
  CHECK_EQ(nn::Softmax2d()(ones({4, 2, 3})), full({4, 2, 3}, 0.25));
  CHECK_ERROR(nn::Softmax2d()(x), "Softmax2d requires a 3D or 4D tensor as input");
  CHECK_ERROR(F::glu(ones({})), "glu does not support scalars because halving size must be even");

  nn::RReLU random_slopes;
  manual_seed(1);
  const Tensor drawn = random_slopes(x);
  CHECK(drawn[0].item<double>() < -0.25);
  CHECK(drawn[0].item<double>() > -0.667);
  random_slopes->eval();
  CHECK_CLOSE(random_slopes(x), leaky_relu(x, (1.0 / 8 + 1.0 / 3) / 2));

  nn::PReLU learned(nn::PReLUOptions().num_parameters(2).init(0.5));
  CHECK_EQ(learned->parameters().size(), 1);
  CHECK_EQ(learned(tensor({{-2.0, -4.0}})).detach(), tensor({{-1.0, -2.0}}));
  Tensor y = x.clone();
  CHECK(nn::Hardtanh(nn::HardtanhOptions().inplace(true))(y).is_same(y));
  CHECK_EQ(y, tensor({-1.0, -0.25, 0.0, 1.0}));
}

// %%
TEST_CASE("gumbel_softmax: a soft sample, or one-hot with the soft gradient") {
  namespace F = nn::functional;
  manual_seed(4);
  const Tensor logits = zeros({50, 3}).requires_grad_();
  const Tensor soft = F::gumbel_softmax(logits, F::GumbelSoftmaxFuncOptions().tau(0.5));
  CHECK_CLOSE(soft.detach().sum({1}), ones({50}));
  const Tensor hard = F::gumbel_softmax(logits, F::GumbelSoftmaxFuncOptions().hard(true));
  CHECK_CLOSE(hard.detach().amax({1}), ones({50}));
  CHECK_CLOSE(hard.detach().sum({1}), ones({50}));
  (hard * tensor({1.0, 2.0, 3.0})).sum().backward();
  CHECK(logits.grad().abs().sum().item<double>() > 0);
}

// %%
TEST_CASE("more activation modules: printed as libtorch prints them") {
  CHECK_EQ(printed(nn::SELU()), "torch::nn::SELU()");
  CHECK_EQ(printed(nn::SELU(nn::SELUOptions(true))), "torch::nn::SELU(inplace=true)");
  CHECK_EQ(printed(nn::ReLU6(true)), "torch::nn::ReLU6(inplace=true)");
  CHECK_EQ(printed(nn::Hardtanh(nn::HardtanhOptions().min_val(-2.5).inplace(true))),
           "torch::nn::Hardtanh(min_val=-2.5, max_val=1, inplace=true)");
  CHECK_EQ(printed(nn::CELU(nn::CELUOptions().alpha(2).inplace(true))), "torch::nn::CELU(alpha=2, inplace=true)");
  CHECK_EQ(printed(nn::RReLU()), "torch::nn::RReLU(lower=0.125, upper=0.333333)");
  CHECK_EQ(printed(nn::Threshold(0.1, 20)), "torch::nn::Threshold(threshold=0.1, value=20)");
  CHECK_EQ(printed(nn::GLU()), "torch::nn::GLU(dim=-1)");
  CHECK_EQ(printed(nn::Hardshrink(0.25)), "torch::nn::Hardshrink(0.25)");
  CHECK_EQ(printed(nn::Softshrink()), "torch::nn::Softshrink(0.5)");
  CHECK_EQ(printed(nn::PReLU()), "torch::nn::PReLU(num_parameters=1)");
  CHECK_EQ(printed(nn::Softmin(1)), "torch::nn::Softmin(dim=1)");
  CHECK_EQ(printed(nn::LogSigmoid()), "torch::nn::LogSigmoid()");
  CHECK_EQ(printed(nn::Mish()), "torch::nn::Mish()");
  CHECK_EQ(printed(nn::Softsign()), "torch::nn::Softsign()");
  CHECK_EQ(printed(nn::Tanhshrink()), "torch::nn::Tanhshrink()");
  CHECK_EQ(printed(nn::Softmax2d()), "torch::nn::Softmax2d()");
}

// %% [markdown]
// ## Lists and dictionaries of parameters, and all of them as one vector
//
// Some models own tensors that belong to no layer: a scale for each task, an embedding for each language. A
// `ParameterList` or `ParameterDict` registers them. An optimizer that looks at the model as one point in space (L-BFGS,
// or a line search) wants all parameters in one vector: `parameters_to_vector` joins copies of them,
// `vector_to_parameters` makes each parameter a piece of the given vector.
//
//     weight (2, 3) | bias (2)   --parameters_to_vector-->   (8)
//     weight (2, 3) | bias (2)   <--vector_to_parameters--   (8)      the parameters now share its memory

// %%
//| export nn/parameters.h
namespace nn {

// Parameters by position, registered as "0", "1", ...
// Source: torch/csrc/api/include/torch/nn/modules/container/parameterlist.h.
class ParameterListImpl : public Cloneable<ParameterListImpl> {
 public:
  using Item = OrderedDict<std::string, Tensor>::Item;
  using Iterator = OrderedDict<std::string, Tensor>::Iterator;
  using ConstIterator = OrderedDict<std::string, Tensor>::ConstIterator;

  ParameterListImpl() = default;
  template <class... Tensors>
    requires(sizeof...(Tensors) > 0 && (std::convertible_to<Tensors, Tensor> && ...))
  explicit ParameterListImpl(Tensors&&... parameters) {
    (append(Tensor(std::forward<Tensors>(parameters))), ...);
  }

  void reset() override {}
  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  // Registers `parameter`; it requires a gradient if it did before.
  void append(const Tensor& parameter);
  void append(const Item& item) { append(item.value()); }
  template <class Container>
  void extend(const Container& container) {
    for (const auto& parameter : container) append(parameter);
  }

  Iterator begin() { return parameters_.begin(); }
  Iterator end() { return parameters_.end(); }
  ConstIterator begin() const { return parameters_.begin(); }
  ConstIterator end() const { return parameters_.end(); }
  Tensor& at(std::size_t index);
  const Tensor& at(std::size_t index) const;
  Tensor& operator[](std::size_t index) { return at(index); }
  const Tensor& operator[](std::size_t index) const { return at(index); }
  std::size_t size() const noexcept { return parameters_.size(); }
  bool is_empty() const noexcept { return parameters_.is_empty(); }
};
TORCH_MODULE(ParameterList);

// Parameters by name. Source: torch/csrc/api/include/torch/nn/modules/container/parameterdict.h.
class ParameterDictImpl : public Cloneable<ParameterDictImpl> {
 public:
  using Iterator = OrderedDict<std::string, Tensor>::Iterator;
  using ConstIterator = OrderedDict<std::string, Tensor>::ConstIterator;

  ParameterDictImpl() = default;
  explicit ParameterDictImpl(const OrderedDict<std::string, Tensor>& parameters);

  void reset() override {}
  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  Tensor& insert(const std::string& key, const Tensor& parameter);
  // Takes a parameter out and returns it.
  Tensor pop(const std::string& key);
  // Replaces parameters whose names are there. Throws for a name that is not.
  template <class Container>
  void update(const Container& container) {
    for (const auto& item : container) parameters_[item.key()] = item.value();
  }
  void clear();

  std::vector<std::string> keys() const;
  std::vector<Tensor> values() const;
  Iterator begin() { return parameters_.begin(); }
  Iterator end() { return parameters_.end(); }
  ConstIterator begin() const { return parameters_.begin(); }
  ConstIterator end() const { return parameters_.end(); }
  std::size_t size() const noexcept { return parameters_.size(); }
  bool empty() const noexcept { return parameters_.is_empty(); }
  bool contains(const std::string& key) const noexcept;
  Tensor& get(const std::string& key);
  const Tensor& get(const std::string& key) const;
  Tensor& operator[](const std::string& key);
  const Tensor& operator[](const std::string& key) const;
};
TORCH_MODULE(ParameterDict);

namespace utils {
// The elements of all parameters, one after the other, as one vector that gradients flow through.
Tensor parameters_to_vector(const std::vector<Tensor>& parameters);
// Makes each parameter a piece of `vec`, in the order of parameters_to_vector: they share its memory afterwards.
// REQUIRES: vec has as many elements as the parameters together.
void vector_to_parameters(const Tensor& vec, const std::vector<Tensor>& parameters);
}  // namespace utils

}  // namespace nn

// %%
//| export nn/parameters.cpp
void nn::ParameterDictImpl::clear() { parameters_.clear(); }
std::vector<std::string> nn::ParameterDictImpl::keys() const { return parameters_.keys(); }
std::vector<Tensor> nn::ParameterDictImpl::values() const { return parameters_.values(); }
bool nn::ParameterDictImpl::contains(const std::string& key) const noexcept { return parameters_.contains(key); }
Tensor& nn::ParameterDictImpl::get(const std::string& key) { return parameters_[key]; }
const Tensor& nn::ParameterDictImpl::get(const std::string& key) const { return parameters_[key]; }
Tensor& nn::ParameterDictImpl::operator[](const std::string& key) { return parameters_[key]; }
const Tensor& nn::ParameterDictImpl::operator[](const std::string& key) const { return parameters_[key]; }

namespace {
void print_parameters(std::ostream& stream, const char* name, const OrderedDict<std::string, Tensor>& parameters) {
  stream << "torch::nn::" << name << "(\n";
  for (const auto& item : parameters)
    stream << '(' << item.key() << "): Parameter containing: [" << item->scalar_type() << " of size " << item->sizes() << "]\n";
  stream << ')';
}

// A parameter of its own with the values of `parameter`.
Tensor copied(const Tensor& parameter) { return parameter.detach().clone().requires_grad_(parameter.requires_grad()); }
}  // namespace

void nn::ParameterListImpl::append(const Tensor& parameter) {
  register_parameter(std::to_string(size()), parameter, parameter.requires_grad());
}

std::shared_ptr<nn::Module> nn::ParameterListImpl::clone(const std::optional<Device>& device) const {
  const auto copy = std::make_shared<ParameterListImpl>();
  for (const auto& item : parameters_) copy->append(copied(item.value()));
  copy->train(is_training());
  if (device) copy->to(*device);
  return copy;
}

void nn::ParameterListImpl::pretty_print(std::ostream& stream) const { print_parameters(stream, "ParameterList", parameters_); }

Tensor& nn::ParameterListImpl::at(std::size_t index) {
  TORCH_CHECK(index < size(), "Index out of range\n[ParameterList] asked for ", index, " of ", size());
  return parameters_[std::to_string(index)];
}
const Tensor& nn::ParameterListImpl::at(std::size_t index) const {
  TORCH_CHECK(index < size(), "Index out of range\n[ParameterList] asked for ", index, " of ", size());
  return parameters_[std::to_string(index)];
}

// %%
//| export nn/parameters.cpp
nn::ParameterDictImpl::ParameterDictImpl(const OrderedDict<std::string, Tensor>& parameters) {
  for (const auto& item : parameters) insert(item.key(), item.value());
}

Tensor& nn::ParameterDictImpl::insert(const std::string& key, const Tensor& parameter) {
  return register_parameter(key, parameter, parameter.requires_grad());
}

Tensor nn::ParameterDictImpl::pop(const std::string& key) {
  Tensor parameter = parameters_[key];
  parameters_.erase(key);
  return parameter;
}

std::shared_ptr<nn::Module> nn::ParameterDictImpl::clone(const std::optional<Device>& device) const {
  const auto copy = std::make_shared<ParameterDictImpl>();
  for (const auto& item : parameters_) copy->insert(item.key(), copied(item.value()));
  copy->train(is_training());
  if (device) copy->to(*device);
  return copy;
}

void nn::ParameterDictImpl::pretty_print(std::ostream& stream) const { print_parameters(stream, "ParameterDict", parameters_); }

// %%
//| export nn/parameters.cpp
Tensor nn::utils::parameters_to_vector(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> pieces;
  for (const Tensor& parameter : parameters) pieces.push_back(parameter.view({-1}));
  return cat(pieces);
}

void nn::utils::vector_to_parameters(const Tensor& vec, const std::vector<Tensor>& parameters) {
  const AutoDispatchBelowAutograd guard;
  std::int64_t start = 0;
  for (const Tensor& parameter : parameters) {
    parameter.set_data(vec.slice(0, start, start + parameter.numel()).view(parameter.sizes()));
    start += parameter.numel();
  }
}

// %%
TEST_CASE("ParameterList and ParameterDict: registered, cloned, printed") {
  nn::ParameterList list(ones({2, 3}), ones({1}).requires_grad_());
  CHECK_EQ(list->size(), 2);
  CHECK_EQ(list->named_parameters().keys(), std::vector<std::string>{"0", "1"});
  CHECK(!list->at(0).requires_grad());
  CHECK(list->at(1).requires_grad());
  CHECK_EQ(printed(list),
           "torch::nn::ParameterList(\n(0): Parameter containing: [Float of size [2, 3]]\n(1): Parameter containing: "
           "[Float of size [1]]\n)");
  CHECK_ERROR(list->at(2), "Index out of range");
  nn::ParameterList longer;
  longer->extend(*list);
  CHECK(longer->at(1).is_same(list->at(1)));
  const auto copy = std::dynamic_pointer_cast<nn::ParameterListImpl>(list->clone());
  CHECK(copy->at(1).requires_grad());
  CHECK(!copy->at(1).is_alias_of(list->at(1)));

  nn::ParameterDict dict;
  dict->insert("a", full({2}, 3.0));
  CHECK_EQ(dict[std::string("a")], full({2}, 3.0));
  CHECK(dict->contains("a"));
  CHECK_EQ(printed(dict), "torch::nn::ParameterDict(\n(a): Parameter containing: [Float of size [2]]\n)");
  CHECK_EQ(std::dynamic_pointer_cast<nn::ParameterDictImpl>(dict->clone())->get("a"), full({2}, 3.0));
  CHECK_ERROR(dict->pop("q"), "Parameter 'q' is not defined");
  CHECK_EQ(dict->pop("a"), full({2}, 3.0));
  CHECK(dict->empty());
}

// %%
TEST_CASE("parameters as one vector, and back") {
  nn::Linear layer(3, 2);
  const Tensor vec = nn::utils::parameters_to_vector(layer->parameters());
  CHECK_EQ(vec.sizes(), IntArrayRef({8}));
  CHECK_EQ(vec.detach().slice(0, 0, 6).view({2, 3}), layer->weight.detach());
  vec.sum().backward();
  CHECK_EQ(layer->bias.grad(), ones({2}));
  const Tensor other = arange(8).to(kFloat);
  nn::utils::vector_to_parameters(other, layer->parameters());
  CHECK_EQ(layer->weight.detach(), tensor({{0.0, 1.0, 2.0}, {3.0, 4.0, 5.0}}));
  CHECK_EQ(layer->bias.detach(), tensor({6.0, 7.0}));
  CHECK(layer->bias.requires_grad());
  CHECK(layer->weight.is_alias_of(other));
}

// %% [markdown]
// ## Distances
//
// How far apart are two vectors: by length (`pairwise_distance`, a p-norm of the difference) or by direction
// (`cosine_similarity`). Both reduce one dimension and keep clear of the places where their gradient would be infinite:
// the first adds eps to each difference, the second lets no length fall below eps.

// %%
//| export nn/distance.h
// The p-norm of x1 - x2 + eps over the last dimension; the shapes broadcast. O(numel).
Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p = 2, double eps = 1e-6, bool keepdim = false);
// The cosine of the angle between x1 and x2 along `dim`; no length counts less than eps. The shapes broadcast. O(numel).
Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, std::int64_t dim = 1, double eps = 1e-8);

namespace nn {

struct PairwiseDistanceOptions {
  TORCH_ARG(double, p) = 2.0;
  TORCH_ARG(double, eps) = 1e-6;
  TORCH_ARG(bool, keepdim) = false;
};
struct CosineSimilarityOptions {
  TORCH_ARG(std::int64_t, dim) = 1;
  TORCH_ARG(double, eps) = 1e-8;
};

namespace functional {
struct NormalizeFuncOptions {
  TORCH_ARG(double, p) = 2.0;
  TORCH_ARG(std::int64_t, dim) = 1;
  TORCH_ARG(double, eps) = 1e-12;
};
// input / its p-norm along `dim`, which counts no less than eps.
Tensor normalize(const Tensor& input, const NormalizeFuncOptions& options = {});

using PairwiseDistanceFuncOptions = PairwiseDistanceOptions;
using CosineSimilarityFuncOptions = CosineSimilarityOptions;
Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, const PairwiseDistanceFuncOptions& options = {});
Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, const CosineSimilarityFuncOptions& options = {});
}  // namespace functional

class PairwiseDistanceImpl : public Cloneable<PairwiseDistanceImpl> {
 public:
  explicit PairwiseDistanceImpl(const PairwiseDistanceOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& x1, const Tensor& x2) { return functional::pairwise_distance(x1, x2, options); }
  PairwiseDistanceOptions options;
};
TORCH_MODULE(PairwiseDistance);

class CosineSimilarityImpl : public Cloneable<CosineSimilarityImpl> {
 public:
  explicit CosineSimilarityImpl(const CosineSimilarityOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& x1, const Tensor& x2) { return functional::cosine_similarity(x1, x2, options); }
  CosineSimilarityOptions options;
};
TORCH_MODULE(CosineSimilarity);

}  // namespace nn

// %%
//| export nn/distance.cpp
nn::PairwiseDistanceImpl::PairwiseDistanceImpl(const PairwiseDistanceOptions& options_) : options(options_) {}
nn::CosineSimilarityImpl::CosineSimilarityImpl(const CosineSimilarityOptions& options_) : options(options_) {}

Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p, double eps, bool keepdim) {
  return norm(x1 - x2 + eps, p, {-1}, keepdim);
}

Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, std::int64_t dim, double eps) {
  TORCH_CHECK(x1.is_floating_point() || x2.is_floating_point(),
              "expected common dtype to be floating point, yet common dtype is ", promoteTypes(x1.scalar_type(), x2.scalar_type()));
  const auto unit = [&](const Tensor& x) { return x / clamp_min(norm(x, 2, {dim}, true), eps); };
  const std::int64_t dims = std::max(x1.dim(), x2.dim());
  const std::int64_t wrapped = wrap_dim(dim, dims);
  if (x1.dim() == x2.dim()) return (unit(x1) * unit(x2)).sum({wrapped});
  const Tensor both = x1 * zeros_like(x2) + x2 * zeros_like(x1);  // of the common shape
  return cosine_similarity(x1.expand(both.sizes()), x2.expand(both.sizes()), wrapped, eps);
}

Tensor nn::functional::normalize(const Tensor& input, const NormalizeFuncOptions& options) {
  TORCH_CHECK(input.is_floating_point(), "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ",
              input.scalar_type());
  return input / clamp_min(norm(input, options.p(), {options.dim()}, true), options.eps());
}
Tensor nn::functional::pairwise_distance(const Tensor& x1, const Tensor& x2, const PairwiseDistanceFuncOptions& options) {
  return tinytorch::pairwise_distance(x1, x2, options.p(), options.eps(), options.keepdim());
}
Tensor nn::functional::cosine_similarity(const Tensor& x1, const Tensor& x2, const CosineSimilarityFuncOptions& options) {
  return tinytorch::cosine_similarity(x1, x2, options.dim(), options.eps());
}

void nn::PairwiseDistanceImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::PairwiseDistance(p=" << options.p() << ", eps=" << options.eps()
         << ", keepdim=" << (options.keepdim() ? "true" : "false") << ')';
}
void nn::CosineSimilarityImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::CosineSimilarity(dim=" << options.dim() << ", eps=" << options.eps() << ')';
}

// %%
TEST_CASE("distances: by length and by direction") {
  const Tensor a = tensor({{3.0, 4.0}, {1.0, 0.0}}, kDouble);
  const Tensor b = tensor({{0.0, 0.0}, {0.0, 2.0}}, kDouble);
  CHECK_CLOSE(pairwise_distance(a, b), tensor({5.0, std::sqrt(5.0)}, kDouble), 1e-5, 0.0);
  CHECK_CLOSE(nn::PairwiseDistance(nn::PairwiseDistanceOptions().p(1).keepdim(true))(a, b),
              tensor({{7.0}, {3.0}}, kDouble), 1e-5, 0.0);
  CHECK_CLOSE(cosine_similarity(a, a), ones({2}, kDouble));
  CHECK_EQ(cosine_similarity(a, b), tensor({0.0, 0.0}, kDouble));
  CHECK_CLOSE(nn::CosineSimilarity(nn::CosineSimilarityOptions().dim(0))(a, a * 2), ones({2}, kDouble));
  CHECK_CLOSE(cosine_similarity(a, tensor({3.0, 4.0}, kDouble)), tensor({1.0, 0.6}, kDouble));
  CHECK_CLOSE(nn::functional::normalize(a), tensor({{0.6, 0.8}, {1.0, 0.0}}, kDouble));
  CHECK_EQ(nn::functional::normalize(b, nn::functional::NormalizeFuncOptions().p(1).dim(0)), tensor({{0.0, 0.0}, {0.0, 1.0}}, kDouble));
  CHECK_EQ(printed(nn::PairwiseDistance()), "torch::nn::PairwiseDistance(p=2, eps=1e-06, keepdim=false)");
  CHECK_EQ(printed(nn::CosineSimilarity()), "torch::nn::CosineSimilarity(dim=1, eps=1e-08)");
}

// %% [markdown]
// ## Padding
//
// A window that slides over a signal needs something beyond its ends. What stands there is the mode; the amounts are
// given from the last dimension backwards, (before, after) for each. A negative amount cuts. So the gradient of a padding with
// a constant is a padding, too, with the negative amounts.
//
//     a b c d   padded by (2, 1)     constant   0 0 a b c d 0        reflect    c b a b c d c
//                                    replicate  a a a b c d d        circular   c d a b c d a

// %%
//| export nn/padding.h
TORCH_ENUM_DECLARE(Constant);
TORCH_ENUM_DECLARE(Reflect);
TORCH_ENUM_DECLARE(Replicate);
TORCH_ENUM_DECLARE(Circular);

namespace nn::functional {

struct PadFuncOptions {
  using mode_t = std::variant<enumtype::kConstant, enumtype::kReflect, enumtype::kReplicate, enumtype::kCircular>;
  PadFuncOptions(std::vector<std::int64_t> pad) : pad_(std::move(pad)) {}
  TORCH_ARG(std::vector<std::int64_t>, pad);
  TORCH_ARG(mode_t, mode) = kConstant;
  TORCH_ARG(double, value) = 0;
};

// `input` with pad[0] elements before and pad[1] behind each row of the last dimension, pad[2] and pad[3] of the one
// before it, and so on. For reflect the amounts are less than the size, for circular at most the size. O(numel).
Tensor pad(const Tensor& input, const PadFuncOptions& options);

}  // namespace nn::functional

enum class PadMode : std::uint8_t { Constant, Reflect, Replicate, Circular };  // in the order of PadFuncOptions::mode_t

// Where position i of a padded dimension takes its element from, which was of `size` and begins at 0; -1 for the constant.
struct PadSource {
  std::int64_t size;
  PadMode mode;
  std::int64_t operator()(std::int64_t i) const;
};

namespace op {
// The amounts as in PadFuncOptions, in bounds; then the mode and the constant.
extern Operator<Tensor(const Tensor&, IntArrayRef, PadMode, double)> pad;
}  // namespace op

// %%
//| export nn/padding.cpp
std::int64_t PadSource::operator()(std::int64_t i) const {
  if (i >= 0 && i < size) return i;
  if (mode == PadMode::Constant) return -1;
  if (mode == PadMode::Replicate) return std::clamp<std::int64_t>(i, 0, size - 1);
  if (mode == PadMode::Circular) return (i + size) % size;
  return i < 0 ? -i : 2 * (size - 1) - i;
}

namespace {
Tensor pad_constant(const Tensor& input, std::int64_t dim, std::int64_t before, std::int64_t after, double value) {
  DimVector sizes(input.sizes());
  const std::int64_t size = sizes[static_cast<std::size_t>(dim)];
  sizes[static_cast<std::size_t>(dim)] = size + before + after;
  const Tensor result = full(sizes, value, input.options());
  const std::int64_t kept = size + std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(after, 0);
  result.narrow(dim, std::max<std::int64_t>(before, 0), kept).copy_(input.narrow(dim, std::max<std::int64_t>(-before, 0), kept));
  return result;
}

// The element of a dimension of `size` that each element of the padded one takes: what index_select picks.
Tensor picked(std::int64_t size, std::int64_t before, std::int64_t after, PadMode mode) {
  const PadSource source{size, mode};
  std::vector<std::int64_t> indices;
  for (std::int64_t i = -before; i < size + after; ++i) indices.push_back(source(i));
  return tensor(indices);
}

// One dimension after the other.
Tensor pad_cpu(const Tensor& input, IntArrayRef amounts, PadMode mode, double value) {
  Tensor result = input;
  for (std::size_t i = 0; i < amounts.size(); i += 2) {
    const std::int64_t dim = input.dim() - 1 - static_cast<std::int64_t>(i / 2);
    result = mode == PadMode::Constant ? pad_constant(result, dim, amounts[i], amounts[i + 1], value)
                                       : index_select(result, dim, picked(result.size(dim), amounts[i], amounts[i + 1], mode));
  }
  return result;
}

// What was padded with a constant is cut away. What was picked goes back to where it came from, in the dimension that
// was padded last at first.
Tensor pad_backward(const Tensor& g, IntArrayRef sizes, const DimVector& amounts, PadMode mode) {
  if (mode == PadMode::Constant) {
    DimVector cut(amounts);
    for (std::int64_t& amount : cut) amount = -amount;
    return op::pad(g, cut, mode, 0);
  }
  Tensor result = g;
  for (std::size_t i = amounts.size(); i > 0; i -= 2) {
    const std::int64_t dim = g.dim() - static_cast<std::int64_t>(i / 2);
    const std::int64_t size = sizes[static_cast<std::size_t>(dim)];
    DimVector whole(result.sizes());
    whole[static_cast<std::size_t>(dim)] = size;
    result = index_add(zeros(whole, g.options()), dim, picked(size, amounts[i - 2], amounts[i - 1], mode), result);
  }
  return result;
}

void check_padding(IntArrayRef sizes, std::int64_t dim, std::int64_t before, std::int64_t after, PadMode mode) {
  const std::int64_t size = sizes[static_cast<std::size_t>(dim)];
  const std::int64_t most = std::max(before, after);
  TORCH_CHECK(mode != PadMode::Constant || size + before + after >= 0, "The input size ", size, ", plus negative padding ", before,
              " and ", after, ", resulted in a negative output size, which is invalid. Check dimension ", dim, " of your input.");
  TORCH_CHECK(mode != PadMode::Reflect || most < size,
              "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding (", before, ", ",
              after, ") at dimension ", dim, " of input ", sizes);
  TORCH_CHECK(mode != PadMode::Circular || most <= size, "Padding value causes wrapping around more than once.");
  TORCH_CHECK(mode == PadMode::Constant || size > 0, "Expected input with non-zero dimensions to pad from, but got ", sizes);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, PadMode, double)> op::pad(
    "pad", {.cpu = pad_cpu,
            .autograd = gradient_of<op::pad>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> amounts, Arg<2, PadMode> mode) {
              return pad_backward(g, sizes, amounts.value, mode.value);
            })});

// %%
//| export nn/padding.cpp
Tensor nn::functional::pad(const Tensor& input, const PadFuncOptions& options) {
  const std::vector<std::int64_t>& amounts = options.pad();
  TORCH_CHECK(amounts.size() % 2 == 0, "Padding length must be divisible by 2");
  TORCH_CHECK(static_cast<std::int64_t>(amounts.size()) <= input.dim() * 2,
              "Padding length should be less than or equal to two times the input dimension but got padding length ", amounts.size(),
              " and input of dimension ", input.dim());
  if (amounts.empty()) return input;
  const auto mode = static_cast<PadMode>(options.mode().index());
  DimVector sizes(input.sizes());  // as they are before the next dimension is padded
  for (std::size_t i = 0; i < amounts.size(); i += 2) {
    const std::int64_t dim = input.dim() - 1 - static_cast<std::int64_t>(i / 2);
    check_padding(sizes, dim, amounts[i], amounts[i + 1], mode);
    std::int64_t& size = sizes[static_cast<std::size_t>(dim)];
    size = std::max<std::int64_t>(size + amounts[i] + amounts[i + 1], 0);
  }
  const Tensor result = op::pad(input, amounts, mode, options.value());
  return input.dim() == 4 ? in_format_of(input, result) : result;
}

// %%
//| export nn/padding.cpp
//| registers
// It is made of other operators, which halves and other devices have.
void register_padding() {
  op::pad.set(Layer::HalfPrecision, pad_cpu);
  op::pad.set(Layer::PrivateUse1, pad_cpu);
}

// %%
TEST_CASE("pad: four modes, from the last dimension backwards") {
  namespace F = nn::functional;
  const Tensor x = tensor({1.0, 2.0, 3.0, 4.0});
  CHECK_EQ(F::pad(x, F::PadFuncOptions({2, 1})), tensor({0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0}));
  CHECK_EQ(F::pad(x, F::PadFuncOptions({-1, 1}).value(9)), tensor({2.0, 3.0, 4.0, 9.0}));
  CHECK_EQ(F::pad(x, F::PadFuncOptions({2, 1}).mode(kReflect)), tensor({3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0}));
  CHECK_EQ(F::pad(x, F::PadFuncOptions({2, 1}).mode(kReplicate)), tensor({1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0}));
  CHECK_EQ(F::pad(x, F::PadFuncOptions({2, 1}).mode(kCircular)), tensor({3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0}));
  CHECK_EQ(F::pad(ones({2, 3}), F::PadFuncOptions({0, 0, 1, 0})).sizes(), IntArrayRef({3, 3}));
  CHECK_EQ(slope([](const Tensor& t) { return F::pad(t, F::PadFuncOptions({2, 1}).mode(kReflect)); }, x),
           tensor({1.0, 2.0, 3.0, 1.0}));
  CHECK_EQ(slope([](const Tensor& t) { return F::pad(t, F::PadFuncOptions({-1, 1})); }, x), tensor({0.0, 1.0, 1.0, 1.0}));
  const Tensor leaf = x.clone().requires_grad_();
  const Tensor first = autograd::grad({F::pad(leaf, F::PadFuncOptions({-1, 1}).value(9)).pow(3).sum()}, {leaf}, {}, std::nullopt, true)[0];
  CHECK_EQ(first.detach(), tensor({0.0, 12.0, 27.0, 48.0}));
  CHECK_EQ(autograd::grad({first.sum()}, {leaf})[0], tensor({0.0, 12.0, 18.0, 24.0}));
  CHECK_ERROR(F::pad(x, F::PadFuncOptions({1})), "Padding length must be divisible by 2");
  CHECK_ERROR(F::pad(x, F::PadFuncOptions({4, 0}).mode(kReflect)),
              "Padding size should be less than the corresponding input dimension, but got: padding (4, 0) at dimension 0 of input [4]");
}

// %% [markdown]
// ## Losses that compare
//
// The losses of module 04 compare an answer with the right one. Often there is no right number, only an order: this
// document before that one, these two faces alike, those two not. Then the loss is a *hinge*: zero once the order holds
// with a margin to spare, and growing in proportion to what is missing.
//
//       loss                         hinge(x) = max(0, x)
//         \                          margin_ranking    hinge(-y (x1 - x2) + margin)
//          \                         hinge_embedding   y = 1: x;  y = -1: hinge(margin - x)
//           \_________               cosine_embedding  y = 1: 1 - cos;  y = -1: hinge(cos - margin)
//            margin                  triplet_margin    hinge(d(a, p) - d(a, n) + margin)
//                                    multi_margin      sum over i != y of hinge(margin - x[y] + x[i])^p, / C
//
// Two more belong to counts and to sets of labels: `poisson_nll_loss` is the negative log-likelihood of a Poisson number,
// and the soft-margin losses are binary cross-entropies with targets written as -1 and 1, or one for each class.

// %%
//| export nn/more_losses.h
// In all of them `reduction` is a Reduction, as in nn/loss.h, and the shapes broadcast unless said otherwise.

// max(0, -target * (input1 - input2) + margin) for target 1 (input1 shall be larger) or -1.
Tensor margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin = 0.0,
                           std::int64_t reduction = Reduction::Mean);
// self where target is 1, max(0, margin - self) where it is -1, their sum elsewhere.
Tensor hinge_embedding_loss(const Tensor& self, const Tensor& target, double margin = 1.0,
                            std::int64_t reduction = Reduction::Mean);
// log(1 + exp(-target * self)) for target 1 or -1.
Tensor soft_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean);
// With c the cosine of input1 and input2, (N, D) or (D): 1 - c where target (N) or () is 1, max(0, c - margin) where -1.
Tensor cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin = 0.0,
                             std::int64_t reduction = Reduction::Mean);
// max(0, d(anchor, positive) - d(anchor, negative) + margin) for d = pairwise_distance with p and eps. `swap` takes the
// smaller of d(anchor, negative) and d(positive, negative). Balntas et al. 2016.
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin = 1.0,
                           double p = 2, double eps = 1e-6, bool swap = false, std::int64_t reduction = Reduction::Mean);
// self (N, C) or (C), target (N) or () of Long: the sum over i != target of max(0, margin - self[target] + self[i])^p,
// times weight[target], divided by C. p is 1 or 2. O(numel).
Tensor multi_margin_loss(const Tensor& self, const Tensor& target, const Scalar& p = 1, const Scalar& margin = 1,
                         const std::optional<Tensor>& weight = {}, std::int64_t reduction = Reduction::Mean);
// self (N, C) or (C), target the same of Long: class indices, ended by -1. The sum over labels t and non-labels i of
// max(0, 1 - (self[t] - self[i])), divided by C. O(N C^2) time and memory.
Tensor multilabel_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction = Reduction::Mean);
// For a rate exp(self) (or self, unless log_input) and a count target: exp(self) - target * self (or self - target *
// log(self + eps)); `full` adds Stirling's approximation of log(target!) where target > 1.
Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, bool log_input, bool full, double eps, std::int64_t reduction);

// %%
//| export nn/more_losses.cpp
namespace {
// max(0, x)
Tensor hinge(const Tensor& x) { return clamp_min(x, 0); }

Tensor or_zero(const Tensor& condition, const Tensor& x) { return where(condition, x, zeros({}, x.options())); }
}  // namespace

Tensor margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin,
                           std::int64_t reduction) {
  return apply_reduction(hinge(-target * (input1 - input2) + margin), reduction);
}

Tensor hinge_embedding_loss(const Tensor& self, const Tensor& target, double margin, std::int64_t reduction) {
  const Tensor of_unlike = or_zero(target != 1, hinge(margin - self));
  const Tensor of_like = or_zero(target != -1, self);
  return apply_reduction(of_unlike + of_like, reduction);
}

Tensor soft_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  return apply_reduction(log1p(exp(-target * self)), reduction);
}

Tensor cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin,
                             std::int64_t reduction) {
  const std::int64_t dim = target.dim();
  TORCH_CHECK(dim <= 1, "0D or 1D target tensor expected, multi-target not supported");
  TORCH_CHECK(input1.dim() == dim + 1 && input2.dim() == dim + 1, dim, "D target tensor expects ", dim + 1,
              "D input tensors, but found inputs with sizes ", input1.sizes(), " and ", input2.sizes(), ".");
  constexpr double kEpsilon = 1e-12;
  const Tensor squares = ((input1 * input1).sum({dim}) + kEpsilon) * ((input2 * input2).sum({dim}) + kEpsilon);
  const Tensor cosine = (input1 * input2).sum({dim}) / sqrt(squares);
  return apply_reduction(or_zero(target == 1, 1 - cosine) + or_zero(target == -1, hinge(cosine - margin)), reduction);
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin, double p,
                           double eps, bool swap, std::int64_t reduction) {
  TORCH_CHECK(anchor.dim() == positive.dim() && positive.dim() == negative.dim(),
              "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor ",
              anchor.dim(), "D, positive ", positive.dim(), "D, and negative ", negative.dim(), "D inputs");
  const Tensor to_positive = pairwise_distance(anchor, positive, p, eps);
  Tensor to_negative = pairwise_distance(anchor, negative, p, eps);
  if (swap) to_negative = minimum(to_negative, pairwise_distance(positive, negative, p, eps));
  return apply_reduction(hinge(margin + to_positive - to_negative), reduction);
}

Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, bool log_input, bool full, double eps,
                        std::int64_t reduction) {
  Tensor loss = log_input ? exp(input) - target * input : input - target * log(input + eps);
  if (full) {
    const Tensor above_one = target > 1;
    const Tensor count = where(above_one, target, ones({}, target.options()));  // so that no logarithm is infinite
    loss = loss + or_zero(above_one, count * log(count) - count + log(count * (2 * std::numbers::pi)) * 0.5);
  }
  return apply_reduction(loss, reduction);
}

// %% [markdown]
// The margin losses with class indices compare every class with the right one. The right one is gathered and kept as a
// column, so that broadcasting makes the comparison; a mask takes out the comparison of a class with itself.
//
//     self (N, C)    gather target -> (N, 1)      margin - (N, 1) + (N, C) -> hinge -> mask -> sum over C -> (N)

// %%
//| export nn/more_losses.cpp
namespace {
void check_vector_or_matrix(const char* kernel, const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "\"", kernel, "\" not implemented for '", self.scalar_type(), "'");
  TORCH_CHECK((self.dim() == 1 || self.dim() == 2) && self.size(-1) > 0,
              "Expected non-empty vector or matrix with optional 0-dim batch size, but got: ", self.sizes());
}

// The losses of the samples, for Reduction::None without the batch dimension that a single sample was given.
Tensor reduce_samples(const Tensor& losses, bool single, std::int64_t reduction) {
  return apply_reduction(single ? losses.squeeze(0) : losses, reduction);
}
}  // namespace

Tensor multi_margin_loss(const Tensor& self, const Tensor& target, const Scalar& p, const Scalar& margin,
                         const std::optional<Tensor>& weight, std::int64_t reduction) {
  check_vector_or_matrix("multi_margin_loss_cpu_kernel", self);
  TORCH_CHECK(p.toDouble() == 1 || p.toDouble() == 2, "only p == 1 and p == 2 supported");
  const bool single = self.dim() == 1;
  const Tensor x = single ? self.unsqueeze(0) : self;
  const std::int64_t C = x.size(1);
  TORCH_CHECK(target.dim() <= 1 && target.numel() == x.size(0),
              "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch size). "
              "Expected target size [", x.size(0), "], but got ", target.sizes(), ". Input has shape ", self.sizes(), ".");
  const bool weighted = weight && weight->defined();
  TORCH_CHECK(!weighted || (weight->dim() <= 1 && weight->numel() == C), "inconsistent weight size, expected ", C, " but got ",
              weighted ? weight->sizes() : IntArrayRef());
  const Tensor labels = target.reshape({-1, 1});
  TORCH_CHECK(!any(logical_or(labels < 0, labels >= C)).item<bool>(), "target out of range");

  Tensor missing = hinge(x - gather(x, 1, labels) + margin);
  if (p.toDouble() == 2) missing = missing * missing;
  if (weighted) missing = missing * index_select(*weight, 0, labels.flatten()).unsqueeze(1);
  const Tensor is_label = arange(C).unsqueeze(0) == labels;
  const Tensor others = where(is_label, zeros({}, x.options()), missing);
  return reduce_samples(others.sum({1}) / C, single, reduction);
}

Tensor multilabel_margin_loss(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  check_vector_or_matrix("multilabel_margin_loss_forward_out_frame", self);
  TORCH_CHECK(target.sizes() == self.sizes(), "inconsistent target size: ", target.sizes(), " for input of size: ", self.sizes());
  const bool single = self.dim() == 1;
  const Tensor x = single ? self.unsqueeze(0) : self;
  const Tensor labels = single ? target.unsqueeze(0) : target;
  const std::int64_t C = x.size(1);
  const Tensor counts = cumsum((labels < 0).to(kLong), 1) == 0;  // labels before the first -1
  const Tensor classes = where(counts, labels, zeros({}, kLong));
  TORCH_CHECK(!any(classes >= C).item<bool>(), "argument #2 'target' is out of range");

  const Tensor is_label = scatter_add(zeros({x.size(0), C}, x.options()), 1, classes, counts.to(x.scalar_type())) > 0;
  const Tensor pairs = hinge(1 - gather(x, 1, classes).unsqueeze(2) + x.unsqueeze(1));  // (N, label, class)
  const Tensor compared = logical_and(counts.unsqueeze(2), logical_not(is_label).unsqueeze(1));
  return reduce_samples(or_zero(compared, pairs).sum({1, 2}) / C, single, reduction);
}

// %%
TEST_CASE("comparing losses: PyTorch's values") {
  const Tensor x = tensor({0.5, -1.0, 2.0}, kDouble);
  const Tensor y = tensor({1.0, -1.0, -1.0}, kDouble);
  CHECK_CLOSE(margin_ranking_loss(x, zeros({3}, kDouble), y, 0.5, Reduction::None), tensor({0.0, 0.0, 2.5}, kDouble));
  CHECK_CLOSE(hinge_embedding_loss(x, y, 1.0, Reduction::None), tensor({0.5, 2.0, 0.0}, kDouble));
  CHECK_CLOSE(soft_margin_loss(x, y, Reduction::Sum),
              full({}, std::log1p(std::exp(-0.5)) + std::log1p(std::exp(-1.0)) + std::log1p(std::exp(2.0)), kDouble));
  CHECK_CLOSE(multilabel_margin_loss(tensor({{0.1, 0.2, 0.4, 0.8}}, kDouble), tensor({{3, 0, -1, 1}})), full({}, 0.85, kDouble));
  CHECK_CLOSE(poisson_nll_loss(x, tensor({0.0, 2.0, 5.0}, kDouble), true, true, 1e-8, Reduction::None),
              tensor({1.6487212707, 3.0196910443, 2.1598564571}, kDouble), 1e-4, 0.0);
  CHECK_ERROR(multi_margin_loss(ones({2, 3}), tensor({0, 3})), "target out of range");
  CHECK_ERROR(multi_margin_loss(ones({2, 3}), tensor({0, 1}), 3), "only p == 1 and p == 2 supported");
  CHECK_ERROR(multilabel_margin_loss(ones({2, 3}), full({2, 3}, 3)), "argument #2 'target' is out of range");
  CHECK_ERROR(multilabel_margin_loss(ones({2, 3}), ones({2, 2}, kLong)),
              "inconsistent target size: [2, 2] for input of size: [2, 3]");
  CHECK_ERROR(triplet_margin_loss(ones({2, 3}), ones({2}), ones({2, 3})),
              "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor 2D, "
              "positive 1D, and negative 2D inputs");
  CHECK_ERROR(cosine_embedding_loss(ones({2, 3}), ones({2, 3}), ones({2, 2})),
              "0D or 1D target tensor expected, multi-target not supported");
  CHECK_ERROR(cosine_embedding_loss(ones({3}), ones({3}), ones({2})),
              "1D target tensor expects 2D input tensors, but found inputs with sizes [3] and [3].");
}

// %% [markdown]
// ## Losses with options, and as modules

// %%
//| export nn/more_loss_modules.h
// Source: torch/csrc/api/include/torch/nn/options/loss.h.
namespace nn {

struct MarginRankingLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(double, margin) = 0;
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct HingeEmbeddingLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(double, margin) = 1.0;
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct CosineEmbeddingLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(double, margin) = 0.0;
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct SoftMarginLossOptions {
  using reduction_t = LossReduction;
  SoftMarginLossOptions() = default;
  template <std::convertible_to<reduction_t> R>
  SoftMarginLossOptions(R reduction) : reduction_(reduction) {}
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct MultiLabelMarginLossOptions {
  using reduction_t = LossReduction;
  MultiLabelMarginLossOptions() = default;
  template <std::convertible_to<reduction_t> R>
  MultiLabelMarginLossOptions(R reduction) : reduction_(reduction) {}
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct MultiLabelSoftMarginLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(Tensor, weight);
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct MultiMarginLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(std::int64_t, p) = 1;
  TORCH_ARG(double, margin) = 1.0;
  TORCH_ARG(Tensor, weight);
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct TripletMarginLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(double, margin) = 1.0;
  TORCH_ARG(double, p) = 2.0;
  TORCH_ARG(double, eps) = 1e-6;
  TORCH_ARG(bool, swap) = false;
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct TripletMarginWithDistanceLossOptions {
  using reduction_t = LossReduction;
  using distance_function_t = std::function<Tensor(const Tensor&, const Tensor&)>;
  TORCH_ARG(std::optional<distance_function_t>, distance_function) = std::nullopt;  // pairwise_distance if none
  TORCH_ARG(double, margin) = 1.0;
  TORCH_ARG(bool, swap) = false;
  TORCH_ARG(reduction_t, reduction) = kMean;
};
struct PoissonNLLLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(bool, log_input) = true;
  TORCH_ARG(bool, full) = false;
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(reduction_t, reduction) = kMean;
};

}  // namespace nn

// %%
//| export nn/more_loss_modules.h
namespace nn::functional {
using MarginRankingLossFuncOptions = MarginRankingLossOptions;
using HingeEmbeddingLossFuncOptions = HingeEmbeddingLossOptions;
using CosineEmbeddingLossFuncOptions = CosineEmbeddingLossOptions;
using SoftMarginLossFuncOptions = SoftMarginLossOptions;
using MultilabelMarginLossFuncOptions = MultiLabelMarginLossOptions;
using MultilabelSoftMarginLossFuncOptions = MultiLabelSoftMarginLossOptions;
using MultiMarginLossFuncOptions = MultiMarginLossOptions;
using TripletMarginLossFuncOptions = TripletMarginLossOptions;
using TripletMarginWithDistanceLossFuncOptions = TripletMarginWithDistanceLossOptions;
using PoissonNLLLossFuncOptions = PoissonNLLLossOptions;

Tensor margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                           const MarginRankingLossFuncOptions& options = {});
Tensor hinge_embedding_loss(const Tensor& input, const Tensor& target, const HingeEmbeddingLossFuncOptions& options = {});
Tensor cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                             const CosineEmbeddingLossFuncOptions& options = {});
Tensor soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossFuncOptions& options = {});
Tensor multilabel_margin_loss(const Tensor& input, const Tensor& target, const MultilabelMarginLossFuncOptions& options = {});
// The binary cross-entropies of the C classes of (..., C), averaged over the classes.
Tensor multilabel_soft_margin_loss(const Tensor& input, const Tensor& target,
                                   const MultilabelSoftMarginLossFuncOptions& options = {});
Tensor multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossFuncOptions& options = {});
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           const TripletMarginLossFuncOptions& options = {});
// triplet_margin_loss with a distance of your own.
Tensor triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                         const TripletMarginWithDistanceLossFuncOptions& options = {});
Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNLLLossFuncOptions& options = {});
}  // namespace nn::functional

// %%
//| export nn/more_loss_modules.cpp
namespace {
std::int64_t number_of(const nn::LossReduction& reduction) { return enumtype::reduction_get_enum(reduction); }
}  // namespace

Tensor nn::functional::margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                           const MarginRankingLossFuncOptions& options) {
  TORCH_CHECK(input1.dim() == input2.dim() && input1.dim() == target.dim(),
              "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: ", input1.sizes(),
              ", input2: ", input2.sizes(), ", target: ", target.sizes());
  return tinytorch::margin_ranking_loss(input1, input2, target, options.margin(), number_of(options.reduction()));
}
Tensor nn::functional::hinge_embedding_loss(const Tensor& input, const Tensor& target,
                                            const HingeEmbeddingLossFuncOptions& options) {
  return tinytorch::hinge_embedding_loss(input, target, options.margin(), number_of(options.reduction()));
}
Tensor nn::functional::cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                             const CosineEmbeddingLossFuncOptions& options) {
  return tinytorch::cosine_embedding_loss(input1, input2, target, options.margin(), number_of(options.reduction()));
}
Tensor nn::functional::soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossFuncOptions& options) {
  return tinytorch::soft_margin_loss(input, target, number_of(options.reduction()));
}
Tensor nn::functional::multilabel_margin_loss(const Tensor& input, const Tensor& target,
                                              const MultilabelMarginLossFuncOptions& options) {
  return tinytorch::multilabel_margin_loss(input, target, number_of(options.reduction()));
}
Tensor nn::functional::multilabel_soft_margin_loss(const Tensor& input, const Tensor& target,
                                                   const MultilabelSoftMarginLossFuncOptions& options) {
  Tensor loss = -(target * log_sigmoid(input) + (1 - target) * log_sigmoid(-input));
  if (options.weight().defined()) loss = loss * options.weight();
  return apply_reduction(loss.sum({-1}) / input.size(-1), number_of(options.reduction()));
}
Tensor nn::functional::multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossFuncOptions& options) {
  TORCH_CHECK(options.p() == 1 || options.p() == 2, "only p == 1 and p == 2 supported");
  TORCH_CHECK(!options.weight().defined() || options.weight().dim() == 1, "weight must be one-dimensional");
  return tinytorch::multi_margin_loss(input, target, options.p(), options.margin(), options.weight(),
                                      number_of(options.reduction()));
}
Tensor nn::functional::triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                           const TripletMarginLossFuncOptions& options) {
  return tinytorch::triplet_margin_loss(anchor, positive, negative, options.margin(), options.p(), options.eps(), options.swap(),
                                        number_of(options.reduction()));
}
Tensor nn::functional::triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                                         const TripletMarginWithDistanceLossFuncOptions& options) {
  const auto distance = [&](const Tensor& a, const Tensor& b) {
    return options.distance_function() ? (*options.distance_function())(a, b) : tinytorch::pairwise_distance(a, b);
  };
  const Tensor to_positive = distance(anchor, positive);
  Tensor to_negative = distance(anchor, negative);
  if (options.swap()) to_negative = minimum(to_negative, distance(positive, negative));
  return apply_reduction(clamp_min(to_positive - to_negative + options.margin(), 0), number_of(options.reduction()));
}
Tensor nn::functional::poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNLLLossFuncOptions& options) {
  return tinytorch::poisson_nll_loss(input, target, options.log_input(), options.full(), options.eps(),
                                     number_of(options.reduction()));
}

// %%
//| export nn/more_loss_modules.h
// Source: torch/csrc/api/include/torch/nn/modules/loss.h.
namespace nn {

class MarginRankingLossImpl : public Cloneable<MarginRankingLossImpl> {
 public:
  explicit MarginRankingLossImpl(MarginRankingLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input1, const Tensor& input2, const Tensor& target) {
    return functional::margin_ranking_loss(input1, input2, target, options);
  }
  MarginRankingLossOptions options;
};
TORCH_MODULE(MarginRankingLoss);
class HingeEmbeddingLossImpl : public Cloneable<HingeEmbeddingLossImpl> {
 public:
  explicit HingeEmbeddingLossImpl(HingeEmbeddingLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target) {
    return functional::hinge_embedding_loss(input, target, options);
  }
  HingeEmbeddingLossOptions options;
};
TORCH_MODULE(HingeEmbeddingLoss);
class CosineEmbeddingLossImpl : public Cloneable<CosineEmbeddingLossImpl> {
 public:
  explicit CosineEmbeddingLossImpl(CosineEmbeddingLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input1, const Tensor& input2, const Tensor& target) {
    return functional::cosine_embedding_loss(input1, input2, target, options);
  }
  CosineEmbeddingLossOptions options;
};
TORCH_MODULE(CosineEmbeddingLoss);
class SoftMarginLossImpl : public Cloneable<SoftMarginLossImpl> {
 public:
  explicit SoftMarginLossImpl(SoftMarginLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target) {
    return functional::soft_margin_loss(input, target, options);
  }
  SoftMarginLossOptions options;
};
TORCH_MODULE(SoftMarginLoss);
class MultiLabelMarginLossImpl : public Cloneable<MultiLabelMarginLossImpl> {
 public:
  explicit MultiLabelMarginLossImpl(MultiLabelMarginLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target) {
    return functional::multilabel_margin_loss(input, target, options);
  }
  MultiLabelMarginLossOptions options;
};
TORCH_MODULE(MultiLabelMarginLoss);
class TripletMarginLossImpl : public Cloneable<TripletMarginLossImpl> {
 public:
  explicit TripletMarginLossImpl(TripletMarginLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& anchor, const Tensor& positive, const Tensor& negative) {
    return functional::triplet_margin_loss(anchor, positive, negative, options);
  }
  TripletMarginLossOptions options;
};
TORCH_MODULE(TripletMarginLoss);
class TripletMarginWithDistanceLossImpl : public Cloneable<TripletMarginWithDistanceLossImpl> {
 public:
  explicit TripletMarginWithDistanceLossImpl(TripletMarginWithDistanceLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& anchor, const Tensor& positive, const Tensor& negative) {
    return functional::triplet_margin_with_distance_loss(anchor, positive, negative, options);
  }
  TripletMarginWithDistanceLossOptions options;
};
TORCH_MODULE(TripletMarginWithDistanceLoss);
class PoissonNLLLossImpl : public Cloneable<PoissonNLLLossImpl> {
 public:
  explicit PoissonNLLLossImpl(PoissonNLLLossOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& log_input, const Tensor& targets) {
    return functional::poisson_nll_loss(log_input, targets, options);
  }
  PoissonNLLLossOptions options;
};
TORCH_MODULE(PoissonNLLLoss);
class MultiLabelSoftMarginLossImpl : public Cloneable<MultiLabelSoftMarginLossImpl> {
 public:
  explicit MultiLabelSoftMarginLossImpl(MultiLabelSoftMarginLossOptions options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  MultiLabelSoftMarginLossOptions options;
  Tensor weight;  // a buffer; undefined if there is none
};
TORCH_MODULE(MultiLabelSoftMarginLoss);
class MultiMarginLossImpl : public Cloneable<MultiMarginLossImpl> {
 public:
  explicit MultiMarginLossImpl(MultiMarginLossOptions options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  MultiMarginLossOptions options;
  Tensor weight;  // a buffer; undefined if there is none
};
TORCH_MODULE(MultiMarginLoss);

}  // namespace nn

// %%
//| export nn/more_loss_modules.cpp
nn::MarginRankingLossImpl::MarginRankingLossImpl(MarginRankingLossOptions options_) : options(std::move(options_)) {}
nn::HingeEmbeddingLossImpl::HingeEmbeddingLossImpl(HingeEmbeddingLossOptions options_) : options(std::move(options_)) {}
nn::CosineEmbeddingLossImpl::CosineEmbeddingLossImpl(CosineEmbeddingLossOptions options_) : options(std::move(options_)) {}
nn::SoftMarginLossImpl::SoftMarginLossImpl(SoftMarginLossOptions options_) : options(std::move(options_)) {}
nn::MultiLabelMarginLossImpl::MultiLabelMarginLossImpl(MultiLabelMarginLossOptions options_) : options(std::move(options_)) {}
nn::TripletMarginLossImpl::TripletMarginLossImpl(TripletMarginLossOptions options_) : options(std::move(options_)) {}
nn::TripletMarginWithDistanceLossImpl::TripletMarginWithDistanceLossImpl(TripletMarginWithDistanceLossOptions options_) : options(std::move(options_)) {}
nn::PoissonNLLLossImpl::PoissonNLLLossImpl(PoissonNLLLossOptions options_) : options(std::move(options_)) {}
nn::MultiLabelSoftMarginLossImpl::MultiLabelSoftMarginLossImpl(MultiLabelSoftMarginLossOptions options_) : options(std::move(options_)) { MultiLabelSoftMarginLossImpl::reset(); }
nn::MultiMarginLossImpl::MultiMarginLossImpl(MultiMarginLossOptions options_) : options(std::move(options_)) { MultiMarginLossImpl::reset(); }

namespace {
// A copy, so that a clone of the module does not share its buffer with the options.
Tensor weight_buffer(nn::Module& module, const Tensor& weight) {
  return weight.defined() ? module.register_buffer("weight", weight.clone()) : Tensor();
}

const char* reduction_name(const nn::LossReduction& reduction) {
  const char* const names[] = {"kNone", "kMean", "kSum"};
  return names[reduction.index()];
}
}  // namespace

void nn::MultiLabelSoftMarginLossImpl::reset() { weight = weight_buffer(*this, options.weight()); }
Tensor nn::MultiLabelSoftMarginLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::multilabel_soft_margin_loss(input, target, MultiLabelSoftMarginLossOptions(options).weight(weight));
}
void nn::MultiMarginLossImpl::reset() {
  TORCH_CHECK(options.p() == 1 || options.p() == 2, "only p == 1 and p == 2 supported");
  TORCH_CHECK(!options.weight().defined() || options.weight().dim() == 1, "weight must be one-dimensional");
  weight = weight_buffer(*this, options.weight());
}
Tensor nn::MultiMarginLossImpl::forward(const Tensor& input, const Tensor& target) {
  return functional::multi_margin_loss(input, target, MultiMarginLossOptions(options).weight(weight));
}

void nn::MarginRankingLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::MarginRankingLoss()"; }
void nn::HingeEmbeddingLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::HingeEmbeddingLoss(margin=" << options.margin() << ')';
}
void nn::CosineEmbeddingLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::CosineEmbeddingLoss(margin=" << options.margin() << ')';
}
void nn::SoftMarginLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::SoftMarginLoss()"; }
void nn::MultiLabelMarginLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::MultiLabelMarginLoss()"; }
void nn::MultiLabelSoftMarginLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::MultiLabelSoftMarginLoss()";
}
void nn::MultiMarginLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::MultiMarginLoss(p=" << options.p() << ", margin=" << options.margin() << ", weight=" << options.weight()
         << ", reduction=" << reduction_name(options.reduction()) << ')';
}
void nn::TripletMarginLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::TripletMarginLoss(margin=" << options.margin() << ", p=" << options.p() << ", eps=" << options.eps()
         << ", swap=" << (options.swap() ? "true" : "false") << ')';
}
void nn::TripletMarginWithDistanceLossImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::TripletMarginWithDistanceLoss(margin=" << options.margin()
         << ", swap=" << (options.swap() ? "true" : "false") << ')';
}
void nn::PoissonNLLLossImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::PoissonNLLLoss()"; }

// %%
TEST_CASE("comparing losses with options, and as modules") {
  namespace F = nn::functional;
  const Tensor a = tensor({{0.5, -1.0}, {2.0, 1.0}}, kDouble);
  const Tensor b = tensor({{0.25, 1.0}, {-2.0, 1.5}}, kDouble);
  const Tensor c = tensor({{1.0, -1.0}, {2.0, 0.0}}, kDouble);
  const Tensor signs = tensor({1.0, -1.0}, kDouble);
  const Tensor labels = tensor({1, 0});
  const Tensor w = tensor({2.0, 0.5}, kDouble);
  CHECK_EQ(nn::MarginRankingLoss(nn::MarginRankingLossOptions().margin(0.5).reduction(kSum))(a[0], b[0], signs),
           margin_ranking_loss(a[0], b[0], signs, 0.5, Reduction::Sum));
  CHECK_EQ(nn::HingeEmbeddingLoss(nn::HingeEmbeddingLossOptions().margin(2))(a[0], signs),
           hinge_embedding_loss(a[0], signs, 2));
  CHECK_EQ(nn::CosineEmbeddingLoss(nn::CosineEmbeddingLossOptions().margin(0.1))(a, b, signs),
           cosine_embedding_loss(a, b, signs, 0.1));
  CHECK_EQ(nn::SoftMarginLoss(nn::SoftMarginLossOptions(kNone))(a[0], signs), soft_margin_loss(a[0], signs, Reduction::None));
  CHECK_EQ(nn::TripletMarginLoss(nn::TripletMarginLossOptions().swap(true).p(1))(a, b, c),
           triplet_margin_loss(a, b, c, 1, 1, 1e-6, true));
  CHECK_EQ(nn::TripletMarginWithDistanceLoss()(a, b, c), triplet_margin_loss(a, b, c));
  CHECK_EQ(nn::PoissonNLLLoss(nn::PoissonNLLLossOptions().log_input(false))(abs(a), abs(b)),
           poisson_nll_loss(abs(a), abs(b), false, false, 1e-8, Reduction::Mean));
  CHECK_EQ(nn::MultiMarginLoss(nn::MultiMarginLossOptions().p(2).weight(w))(a, labels), multi_margin_loss(a, labels, 2, 1, w));
  CHECK_EQ(nn::MultiLabelMarginLoss()(a, tensor({{1, -1}, {0, 1}})), multilabel_margin_loss(a, tensor({{1, -1}, {0, 1}})));
  CHECK_CLOSE(nn::MultiLabelSoftMarginLoss(nn::MultiLabelSoftMarginLossOptions().weight(w))(a, sigmoid(b)),
              binary_cross_entropy_with_logits(a, sigmoid(b), w));
  const auto by_l1 = [](const Tensor& x, const Tensor& y) { return (x - y).abs().sum({1}); };
  CHECK_CLOSE(F::triplet_margin_with_distance_loss(a, b, c, F::TripletMarginWithDistanceLossFuncOptions().distance_function(by_l1)),
              triplet_margin_loss(a, b, c, 1, 1, 0));
  CHECK_ERROR(F::margin_ranking_loss(ones({2}), ones({2, 1}), ones({2})),
              "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: [2], input2: [2, 1], "
              "target: [2]");
  CHECK_ERROR(nn::MultiMarginLoss(nn::MultiMarginLossOptions().p(3)), "only p == 1 and p == 2 supported");
  CHECK_EQ(nn::MultiMarginLoss(nn::MultiMarginLossOptions().weight(w))->buffers().size(), 1);
}

// %%
TEST_CASE("comparing losses: printed as libtorch prints them") {
  CHECK_EQ(printed(nn::MarginRankingLoss()), "torch::nn::MarginRankingLoss()");
  CHECK_EQ(printed(nn::HingeEmbeddingLoss()), "torch::nn::HingeEmbeddingLoss(margin=1)");
  CHECK_EQ(printed(nn::CosineEmbeddingLoss()), "torch::nn::CosineEmbeddingLoss(margin=0)");
  CHECK_EQ(printed(nn::SoftMarginLoss()), "torch::nn::SoftMarginLoss()");
  CHECK_EQ(printed(nn::MultiLabelMarginLoss()), "torch::nn::MultiLabelMarginLoss()");
  CHECK_EQ(printed(nn::MultiLabelSoftMarginLoss()), "torch::nn::MultiLabelSoftMarginLoss()");
  CHECK_EQ(printed(nn::MultiMarginLoss()),
           "torch::nn::MultiMarginLoss(p=1, margin=1, weight=[ Tensor (undefined) ], reduction=kMean)");
  CHECK_EQ(printed(nn::TripletMarginLoss()), "torch::nn::TripletMarginLoss(margin=1, p=2, eps=1e-06, swap=false)");
  CHECK_EQ(printed(nn::TripletMarginWithDistanceLoss()), "torch::nn::TripletMarginWithDistanceLoss(margin=1, swap=false)");
  CHECK_EQ(printed(nn::PoissonNLLLoss()), "torch::nn::PoissonNLLLoss()");
}

// %%
}  // namespace tinytorch
