// From the lesson modules/02_activations/activations_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/activations.h"

#include <cmath>
#include <numbers>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/nn/map_real.h"
#include "tinytorch/nn/row_normalizer-inl.h"

namespace tinytorch {

namespace {
// max(x, 0) for every element, as a new tensor of the same shape and dtype. NaN stays NaN. O(numel).
Tensor relu_cpu(const Tensor& self) {
  const Tensor result = empty_like(self);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    map_into<T, T>(result, self, [](T x) { return x < T{0} ? T{0} : x; });
  });
  return result;
}
}  // namespace

namespace {
void check_relu(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(!self.defined() || self.scalar_type() != kBool,
                              "Boolean inputs not supported for relu\n[relu] convert with to(kFloat) first.");
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::relu("relu", {.cpu = relu_cpu});

Tensor relu(const Tensor& self) {
  check_relu(self);
  return op::relu(self);
}

namespace {
// Writes max(x, 0) over every element x of `self` and returns `self`. NaN stays NaN. Takes no memory for
// elements; touches nothing between the elements of a view. O(numel).
const Tensor& relu_inplace_cpu(const Tensor& self) {
  dispatch_all_types(self.scalar_type(),
                     [&]<class T>() { map_into<T, T>(self, self, [](T x) { return x < T{0} ? T{0} : x; }); });
  return self;
}
}  // namespace

constinit Operator<const Tensor&(const Tensor&)> op::relu_("relu_", {.cpu = relu_inplace_cpu});

const Tensor& relu_(const Tensor& self) {
  check_relu(self);
  return op::relu_(self);
}

namespace {
Tensor leaky_relu_cpu(const Tensor& self, const Scalar& negative_slope) {
  return map_real("leaky_relu_cpu", self, [slope = negative_slope.toDouble()](auto x) {
    return x > 0 ? x : x * static_cast<decltype(x)>(slope);
  });
}

Tensor elu_cpu(const Tensor& self, const Scalar& alpha) {
  return map_real("elu_cpu", self, [a = alpha.toDouble()](auto x) {
    return x > 0 ? x : static_cast<decltype(x)>(a) * std::expm1(x);
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::leaky_relu("leaky_relu",
                                                                        {.cpu = leaky_relu_cpu});
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::elu("elu", {.cpu = elu_cpu});

Tensor leaky_relu(const Tensor& self, const Scalar& negative_slope) {
  return op::leaky_relu(self, negative_slope);
}

Tensor elu(const Tensor& self, const Scalar& alpha, const Scalar& scale, const Scalar& input_scale) {
  if (scale.equal(1) && input_scale.equal(1)) return op::elu(self, alpha);
  if (input_scale.equal(1)) return op::elu(self, alpha) * scale;
  return where(self > 0, self * scale, op::elu(self * input_scale, alpha) * scale);
}

namespace {
// 1 / (1 + exp(-x)) for every element; integers are converted to the default dtype first. No number x gives
// NaN. O(numel).
Tensor sigmoid_cpu(const Tensor& self) {
  return map_floating("sigmoid_cpu", self, [](auto x) { return 1 / (1 + std::exp(-x)); });
}
}  // namespace

namespace {
Tensor tanh_cpu(const Tensor& self) {
  return map_floating("tanh_cpu", self, [](auto x) { return std::tanh(x); });
}

Tensor silu_cpu(const Tensor& self) {
  return map_real("silu_cpu", self, [](auto x) { return x / (1 + std::exp(-x)); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::sigmoid("sigmoid", {.cpu = sigmoid_cpu});
constinit Operator<Tensor(const Tensor&)> op::tanh("tanh", {.cpu = tanh_cpu});
constinit Operator<Tensor(const Tensor&)> op::silu("silu", {.cpu = silu_cpu});
Tensor sigmoid(const Tensor& self) { return op::sigmoid(self); }
Tensor tanh(const Tensor& self) { return op::tanh(self); }
Tensor silu(const Tensor& self) { return op::silu(self); }

namespace {
// log(1 + exp(beta * x)) / beta for every element, and x itself where beta * x > threshold. No number
// overflows, and small results keep their digits. Floating-point dtypes only. O(numel).
Tensor softplus_cpu(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return map_real("softplus_cpu", self, [b = beta.toDouble(), limit = threshold.toDouble()](auto x) {
    using T = decltype(x);
    const T scaled = x * static_cast<T>(b);
    return scaled > static_cast<T>(limit) ? x : std::log1p(std::exp(scaled)) / static_cast<T>(b);
  });
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> op::softplus("softplus",
                                                                                     {.cpu = softplus_cpu});
Tensor softplus(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return op::softplus(self, beta, threshold);
}

namespace {
// x * P(Z <= x) for every element: P(Z <= x) = (1 + erf(x / sqrt(2))) / 2, or by the approximation
// (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2. Floating-point dtypes only. O(numel).
Tensor gelu_cpu(const Tensor& self, bool tanh_approximation) {
  if (tanh_approximation) {
    return map_real("GeluKernelImpl", self, [](auto x) {
      using T = decltype(x);
      constexpr T scale = std::numbers::sqrt2_v<T> * std::numbers::inv_sqrtpi_v<T>;
      return T{0.5} * x * (1 + std::tanh(scale * (x + static_cast<T>(0.044715) * x * x * x)));
    });
  }
  return map_real("GeluKernelImpl", self, [](auto x) {
    using T = decltype(x);
    return T{0.5} * x * (1 + std::erf(x / std::numbers::sqrt2_v<T>));
  });
}
}  // namespace

constinit Operator<Tensor(const Tensor&, bool)> op::gelu("gelu", {.cpu = gelu_cpu});

Tensor gelu(const Tensor& self, std::string_view approximate) {
  TORCH_CHECK(approximate == "none" || approximate == "tanh",
              "approximate argument must be either none or tanh.\n[gelu] got \"", approximate, "\".");
  return op::gelu(self, approximate == "tanh");
}

namespace {
// Calls f(in, out, count) for each row of `self` along `dim` and the same row of `result`, which is
// contiguous.
template <class T, class F>
void for_each_row_pair(const Tensor& self, const Tensor& result, std::int64_t dim, F f) {
  const std::int64_t count = self.dim() == 0 ? 1 : self.size(dim);
  const std::int64_t step = self.dim() == 0 ? 1 : result.stride(dim);
  for_each_row<T>(self, dim, [&](std::int64_t k, const T* in, std::int64_t stride) {
    T* const out = result.data<T>() + k / step * step * count + k % step;
    f(Row<const T>{in, stride}, Row<T>{out, step}, count);
  });
}
}  // namespace

namespace {
// exp(x) / (sum of exp(x) along `dim`), as a new tensor. Floating-point dtypes only. A row of -inf gives NaN.
// O(numel): reads the input twice.
// REQUIRES: 0 <= dim < max(self.dim(), 1).
Tensor softmax_cpu(const Tensor& self, std::int64_t dim) {
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_floating_types(self.scalar_type(), "softmax_lastdim_kernel_impl", [&]<class T>() {
    for_each_row_pair<T>(self, result, dim, [](Row<const T> in, Row<T> out, std::int64_t count) {
      const RowNormalizer<T> row = row_normalizer(in, count);
      const T scale = static_cast<T>(1 / row.sum);
      for (std::int64_t j = 0; j < count; ++j) out[j] = std::exp(in[j] - row.maximum) * scale;
    });
  });
  return result;
}
}  // namespace

namespace {
// x - log(sum of exp(x) along `dim`), as a new tensor. Floating-point dtypes only. Finite scores give finite
// results. O(numel).
// REQUIRES: 0 <= dim < max(self.dim(), 1).
Tensor log_softmax_cpu(const Tensor& self, std::int64_t dim) {
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_floating_types(self.scalar_type(), "log_softmax_lastdim_kernel_impl", [&]<class T>() {
    for_each_row_pair<T>(self, result, dim, [](Row<const T> in, Row<T> out, std::int64_t count) {
      const RowNormalizer<T> row = row_normalizer(in, count);
      const T log_sum = static_cast<T>(std::log(row.sum));
      for (std::int64_t j = 0; j < count; ++j) out[j] = in[j] - row.maximum - log_sum;
    });
  });
  return result;
}
}  // namespace

constinit Operator<Tensor(const Tensor&, std::int64_t)> op::softmax("softmax", {.cpu = softmax_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::log_softmax("log_softmax",
                                                                        {.cpu = log_softmax_cpu});

Tensor softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) {
  return op::softmax(dtype ? self.to(*dtype) : self, wrap_dim(dim, self.dim()));
}
Tensor log_softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) {
  return op::log_softmax(dtype ? self.to(*dtype) : self, wrap_dim(dim, self.dim()));
}

// log of the sum of exp(x) over the dimensions `dim`, which stay with size 1 if `keepdim`. Integers are
// converted to the default dtype.
// A row of -inf, or an empty one, gives -inf; one with +inf gives +inf. Composed of amax, exp, sum and log.
// O(numel).
Tensor logsumexp(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const Tensor input = self.is_floating_point() ? self : self.to(get_default_dtype());
  if (input.numel() == 0) return log(sum(exp(input), dim, keepdim));
  Tensor shift;
  {
    AutoDispatchBelowAutograd guard;
    const Tensor maximum = amax(input, dim, true);
    shift = where(abs(maximum) == std::numeric_limits<double>::infinity(), zeros_like(maximum), maximum);
  }
  const Tensor result = log(sum(exp(input - shift), dim, true)) + shift;
  return keepdim ? result : view(result, reduced_sizes(input.sizes(), reduction_mask(input, dim), false));
}

namespace {
const Tensor& tensor_of(const ActivationMethods& methods) { return static_cast<const Tensor&>(methods); }
}  // namespace

Tensor ActivationMethods::relu() const { return tinytorch::relu(tensor_of(*this)); }
Tensor& ActivationMethods::relu_() const { return const_cast<Tensor&>(tinytorch::relu_(tensor_of(*this))); }
Tensor ActivationMethods::sigmoid() const { return tinytorch::sigmoid(tensor_of(*this)); }
Tensor ActivationMethods::tanh() const { return tinytorch::tanh(tensor_of(*this)); }
Tensor ActivationMethods::softmax(std::int64_t dim, std::optional<ScalarType> dtype) const {
  return tinytorch::softmax(tensor_of(*this), dim, dtype);
}
Tensor ActivationMethods::log_softmax(std::int64_t dim, std::optional<ScalarType> dtype) const {
  return tinytorch::log_softmax(tensor_of(*this), dim, dtype);
}
Tensor ActivationMethods::logsumexp(IntArrayRef dim, bool keepdim) const {
  return tinytorch::logsumexp(tensor_of(*this), dim, keepdim);
}

}  // namespace tinytorch
