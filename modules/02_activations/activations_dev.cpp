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
// # Module 02: Activations
//
// The functions between the layers: relu and its relatives, and softmax, computed so that nothing overflows.

// %%
//| export nn/activation_methods.h
#include <optional>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/scalar_type.h"

// %%
//| export nn/activation_methods.h
//| extends Tensor
namespace tinytorch {
class Tensor;

// The activations that PyTorch offers as methods. Each calls the function of its name (nn/activations.h).
class ActivationMethods {
 public:
  Tensor relu() const;
  Tensor& relu_() const;
  Tensor sigmoid() const;
  Tensor tanh() const;
  Tensor softmax(std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt) const;
  Tensor log_softmax(std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt) const;
  Tensor logsumexp(IntArrayRef dim, bool keepdim = false) const;
};
}  // namespace tinytorch

// %%
//| export nn/activations.h
#include <optional>
#include <string_view>
#include "tinytorch/core/ops.h"
//| export nn/row_normalizer.h
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
//| export nn/activations.cpp
#include <cmath>
#include <numbers>
#include "tinytorch/core/loops.h"
#include "tinytorch/nn/row_normalizer.h"

// %%
#include "tito/lesson.h"
#include "tinytorch/core/tensor_data.h"

// %%
namespace tinytorch {

// %%
//| export nn/activations.h
// ---- Elementwise. Each returns a new tensor of the shape and dtype of `self`; O(numel) time.
Tensor relu(const Tensor& self);  // max(x, 0); any dtype but Bool
const Tensor& relu_(const Tensor& self);
Tensor leaky_relu(const Tensor& self, const Scalar& negative_slope = 0.01);  // x where x > 0, else negative_slope * x
// scale * x where x > 0, else scale * alpha * (exp(input_scale * x) - 1)
Tensor elu(const Tensor& self, const Scalar& alpha = 1, const Scalar& scale = 1, const Scalar& input_scale = 1);
// x * P(Z <= x) for a standard normal Z; approximate = "tanh" avoids erf and errs by less than 0.001.
Tensor gelu(const Tensor& self, std::string_view approximate = "none");
Tensor sigmoid(const Tensor& self);  // 1 / (1 + exp(-x)); sigmoid and tanh turn integers into the default dtype
Tensor tanh(const Tensor& self);
Tensor silu(const Tensor& self);  // x * sigmoid(x)
// log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold
Tensor softplus(const Tensor& self, const Scalar& beta = 1, const Scalar& threshold = 20);

// ---- Along a dimension. `dtype`: convert first, as when half precision would not hold the sum.
// exp(x) / sum of exp(x) along `dim`; no finite input overflows. A row of -inf gives NaN.
Tensor softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt);
// log(softmax(x)), computed as x - logsumexp(x): no log of a probability that was rounded to 0.
Tensor log_softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt);
// log of the sum of exp(x) over the dimensions `dim`. A row of -inf, or an empty one, gives -inf.
Tensor logsumexp(const Tensor& self, IntArrayRef dim, bool keepdim = false);

// %%
//| export nn/activations.h
namespace op {
extern Operator<Tensor(const Tensor&)> relu;
extern Operator<const Tensor&(const Tensor&)> relu_;
extern Operator<Tensor(const Tensor&, const Scalar&)> leaky_relu;
extern Operator<Tensor(const Tensor&, const Scalar&)> elu;
extern Operator<Tensor(const Tensor&, bool)> gelu;  // whether to use the tanh approximation
extern Operator<Tensor(const Tensor&)> sigmoid;
extern Operator<Tensor(const Tensor&)> tanh;
extern Operator<Tensor(const Tensor&)> silu;
extern Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> softplus;
extern Operator<Tensor(const Tensor&, std::int64_t)> softmax;
extern Operator<Tensor(const Tensor&, std::int64_t)> log_softmax;
}  // namespace op

// %%
//| export nn/activations.cpp
namespace {
// f(x) for every element x, in the dtype of `self`. `name` goes into the error for other dtypes than floating point.
template <class F>
Tensor map_real(const char* name, const Tensor& self, F f) {
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_floating_types(self.scalar_type(), name, [&]<class T>() { map_into<T, T>(result, self, f); });
  return result;
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "02-relu", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// max(x, 0) for every element, as a new tensor of the same dtype. NaN stays NaN.
//
// TODO: Fill a new tensor with max(x, 0).
Tensor relu_cpu(const Tensor& self) {
  // BEGIN SOLUTION
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    map_into<T, T>(result, self, [](T x) { return x < T{0} ? T{0} : x; });
  });
  return result;
  // END SOLUTION
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "02-relu-inplace", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// The same, written over the elements of `self`. Returns `self`; allocates no memory for elements.
//
// TODO: Overwrite each element with max(x, 0).
const Tensor& relu_inplace_cpu(const Tensor& self) {
  // BEGIN SOLUTION
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    map_into<T, T>(self, self, [](T x) { return x < T{0} ? T{0} : x; });
  });
  return self;
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/activations.cpp
namespace {
void check_relu(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(!self.defined() || self.scalar_type() != kBool,
                              "Boolean inputs not supported for relu\n[relu] convert with to(kFloat) first.");
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::relu("relu", {.cpu = relu_cpu});
constinit Operator<const Tensor&(const Tensor&)> op::relu_("relu_", {.cpu = relu_inplace_cpu});

Tensor relu(const Tensor& self) {
  check_relu(self);
  return op::relu(self);
}
const Tensor& relu_(const Tensor& self) {
  check_relu(self);
  return op::relu_(self);
}

// %%
//| export nn/activations.cpp
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
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::leaky_relu("leaky_relu", {.cpu = leaky_relu_cpu});
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::elu("elu", {.cpu = elu_cpu});

Tensor leaky_relu(const Tensor& self, const Scalar& negative_slope) { return op::leaky_relu(self, negative_slope); }

Tensor elu(const Tensor& self, const Scalar& alpha, const Scalar& scale, const Scalar& input_scale) {
  if (scale.equal(1) && input_scale.equal(1)) return op::elu(self, alpha);
  return where(self > 0, self * scale, op::elu(self * input_scale, alpha) * scale);
}

// %% {"nbgrader": {"grade": false, "grade_id": "02-sigmoid", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// 1 / (1 + exp(-x)) for every element; integers are converted to the default dtype. Never NaN for a number.
//
// TODO: Compute the logistic function so that no finite x gives NaN.
Tensor sigmoid_cpu(const Tensor& self) {
  // BEGIN SOLUTION
  return map_floating("sigmoid_cpu", self, [](auto x) { return 1 / (1 + std::exp(-x)); });
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/activations.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "02-softplus", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// log(1 + exp(beta * x)) / beta for every element, and x itself where beta * x > threshold.
//
// TODO: Compute softplus without overflow above and without losing small values below.
Tensor softplus_cpu(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  // BEGIN SOLUTION
  return map_real("softplus_cpu", self, [b = beta.toDouble(), limit = threshold.toDouble()](auto x) {
    using T = decltype(x);
    const T scaled = x * static_cast<T>(b);
    return scaled > static_cast<T>(limit) ? x : std::log1p(std::exp(scaled)) / static_cast<T>(b);
  });
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/activations.cpp
constinit Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> op::softplus("softplus", {.cpu = softplus_cpu});
Tensor softplus(const Tensor& self, const Scalar& beta, const Scalar& threshold) { return op::softplus(self, beta, threshold); }

// %% {"nbgrader": {"grade": false, "grade_id": "02-gelu", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// x * Phi(x), Phi the normal distribution function: Phi(x) = (1 + erf(x / sqrt(2))) / 2, or with the tanh approximation
// (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2.
//
// TODO: Compute GELU, exactly and by the tanh approximation.
Tensor gelu_cpu(const Tensor& self, bool tanh_approximation) {
  // BEGIN SOLUTION
  if (tanh_approximation) {
    return map_real("GeluKernelImpl", self, [](auto x) {
      using T = decltype(x);
      constexpr T scale = static_cast<T>(std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
      return T{0.5} * x * (1 + std::tanh(scale * (x + static_cast<T>(0.044715) * x * x * x)));
    });
  }
  return map_real("GeluKernelImpl", self, [](auto x) {
    using T = decltype(x);
    return T{0.5} * x * (1 + std::erf(x / std::numbers::sqrt2_v<T>));
  });
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/activations.cpp
constinit Operator<Tensor(const Tensor&, bool)> op::gelu("gelu", {.cpu = gelu_cpu});

Tensor gelu(const Tensor& self, std::string_view approximate) {
  TORCH_CHECK(approximate == "none" || approximate == "tanh",
              "approximate argument must be either none or tanh.\n[gelu] got \"", approximate, "\".");
  return op::gelu(self, approximate == "tanh");
}

// %%
//| export nn/row_normalizer.h
// The elements of one row of a strided tensor.
template <class T>
struct Row {
  T* data;
  std::int64_t stride;
  T& operator[](std::int64_t j) const { return data[j * stride]; }
};

// What a softmax must know of a row: its maximum, and the sum of exp(x - maximum), so that the sum of exp(x) is
// sum * exp(maximum) without ever being computed.
template <class T>
struct RowNormalizer {
  T maximum = -std::numeric_limits<T>::infinity();
  double sum = 0;

  // The logarithm of the sum of exp(x).
  T logsumexp() const { return static_cast<T>(static_cast<double>(maximum) + std::log(sum)); }
};

// %% {"nbgrader": {"grade": false, "grade_id": "02-row-normalizer", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/row_normalizer.h
//| exercise design
// The normalizer of values[0], ..., values[count - 1].
// Reads each value once and allocates nothing. No finite value overflows; -inf adds nothing; a NaN or +inf makes `sum` NaN;
// no values, or only -inf, leave the maximum at -inf and the sum 0. O(count).
//
// TODO: Design a single pass that keeps maximum and sum right together.
template <class Values>
auto row_normalizer(const Values& values, std::int64_t count) -> RowNormalizer<std::decay_t<decltype(values[0])>> {
  // BEGIN SOLUTION
  RowNormalizer<std::decay_t<decltype(values[0])>> so_far;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto x = values[j];
    if (x > so_far.maximum) {
      // A new maximum: what was summed against the old one shrinks; the new one itself counts 1.
      so_far.sum = so_far.sum * std::exp(so_far.maximum - x) + std::exp(x - x);
      so_far.maximum = x;
    } else if (!(x == -std::numeric_limits<decltype(x)>::infinity())) {
      so_far.sum += std::exp(x - so_far.maximum);
    }
  }
  return so_far;
  // END SOLUTION
}

// %%
//| export nn/activations.cpp
namespace {
// Calls f(in, out, count) for each row of `self` along `dim` and the same row of `result`, which is contiguous.
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

// %% {"nbgrader": {"grade": false, "grade_id": "02-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// exp(x) / sum of exp(x) along `dim`. REQUIRES: 0 <= dim < max(self.dim(), 1).
//
// TODO: Turn each row into probabilities.
Tensor softmax_cpu(const Tensor& self, std::int64_t dim) {
  // BEGIN SOLUTION
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_floating_types(self.scalar_type(), "softmax_lastdim_kernel_impl", [&]<class T>() {
    for_each_row_pair<T>(self, result, dim, [](Row<const T> in, Row<T> out, std::int64_t count) {
      const RowNormalizer<T> row = row_normalizer(in, count);
      const T scale = static_cast<T>(1 / row.sum);
      for (std::int64_t j = 0; j < count; ++j) out[j] = std::exp(in[j] - row.maximum) * scale;
    });
  });
  return result;
  // END SOLUTION
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "02-log-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// x - log of the sum of exp(x) along `dim`. REQUIRES: 0 <= dim < max(self.dim(), 1).
//
// TODO: Turn each row into log-probabilities.
Tensor log_softmax_cpu(const Tensor& self, std::int64_t dim) {
  // BEGIN SOLUTION
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_floating_types(self.scalar_type(), "log_softmax_lastdim_kernel_impl", [&]<class T>() {
    for_each_row_pair<T>(self, result, dim, [](Row<const T> in, Row<T> out, std::int64_t count) {
      const RowNormalizer<T> row = row_normalizer(in, count);
      const T log_sum = static_cast<T>(std::log(row.sum));
      for (std::int64_t j = 0; j < count; ++j) out[j] = in[j] - row.maximum - log_sum;
    });
  });
  return result;
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/activations.cpp
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::softmax("softmax", {.cpu = softmax_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::log_softmax("log_softmax", {.cpu = log_softmax_cpu});

Tensor softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) {
  return op::softmax(dtype ? self.to(*dtype) : self, wrap_dim(dim, self.dim()));
}
Tensor log_softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) {
  return op::log_softmax(dtype ? self.to(*dtype) : self, wrap_dim(dim, self.dim()));
}

// %% {"nbgrader": {"grade": false, "grade_id": "02-logsumexp", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
// TODO: Compose it from amax, exp, sum and log, with the maximum taken out.
Tensor logsumexp(const Tensor& self, IntArrayRef dim, bool keepdim) {
  // BEGIN SOLUTION
  const Tensor input = self.is_floating_point() ? self : self.to(get_default_dtype());
  if (input.numel() == 0) return log(sum(exp(input), dim, keepdim));
  Tensor shift;
  {
    // The shift cancels out, so its gradient would too: nothing of it is recorded.
    AutoDispatchBelowAutograd guard;
    const Tensor maximum = amax(input, dim, true);
    shift = where(abs(maximum) == std::numeric_limits<double>::infinity(), zeros_like(maximum), maximum);
  }
  const Tensor log_sum = log(sum(exp(input - shift), dim, true)) + shift;
  return keepdim ? log_sum : view(log_sum, reduced_sizes(input.sizes(), reduction_mask(input, dim), false));
  // END SOLUTION
}

// %%
//| export nn/activations.cpp
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

// %%
}  // namespace tinytorch
