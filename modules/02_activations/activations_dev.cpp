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
// A layer multiplies by a matrix. Two layers in a row multiply by two matrices, and that is again one matrix:
// without something *between* them, a hundred layers can do no more than one. The something is an activation,
// a function applied to every element: relu, sigmoid, tanh, gelu and their relatives. At the end of a
// classifier (a network that says to which class its input belongs) stands one more, softmax, which looks
// at a whole row and turns it into probabilities.
//
// The formulas fit on a postcard. What makes them a systems topic is that the machine computes with 32 bits
// and moves memory: `exp` overflows at 89, a small difference between two large numbers vanishes, and a
// softmax written with five tensor operations walks over memory five times. You will write each function so
// that no finite input breaks it, and then measure where the time and the memory go.
//
// **Objectives.** After this module you can
//
// - write an elementwise operator over strided memory, as a new tensor and in place;
// - say for which inputs a formula overflows, cancels or loses its small values, and rewrite it so that it
//   does not;
// - compute a softmax in one pass over its input plus one over its output, and explain why that pass is the
//   heart of attention kernels (module 11);
// - tell an operation limited by memory from one limited by arithmetic, by measurement.
//
// **Where it sits.** The functions of this module are exported to `nn/activations.h`. Module 03 wraps them as
// layers, module 04 builds losses on the row pass, and module 05 gives all of them gradients without touching
// a line here.
//
// **Prerequisites.** Module 01: tensors, strides, `map_into`, the dispatcher. Module 00: checks and timers.

// %% [markdown]
// ## Part 1: Foundations
//
// ### A new method for an old class
//
// Module 01 finished the class `Tensor`, and programs should nevertheless be able to write `x.relu()`. A
// module adds methods by a *mixin*: a base class that `tito export` puts into Tensor's list of bases. The
// mixin is declared before `Tensor` is complete, so it only names its methods; they are defined at the end of
// this lesson, where the functions they call exist.
//
//     modules/01_tensor          modules/02_activations
//     class Tensor               class ActivationMethods { Tensor relu() const; ... };
//         |                              |
//         |      tito export             v
//         +----------------->  class TensorExtensions : public ActivationMethods {};
//                                        |
//                                        v
//                              class Tensor : public TensorExtensions { ... };
//
// An empty base class takes no space in the object: a Tensor stays one pointer wide.

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
//| export nn/row_normalizer-inl.h
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
//| export nn/map_real.h
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
//| export nn/activations.cpp
#include <cmath>
#include <numbers>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/nn/map_real.h"
#include "tinytorch/nn/row_normalizer-inl.h"

// %%
#include "tito/lesson.h"
#include <malloc.h>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>
#include <limits>
#include <string>
#include <vector>
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"

// %%
namespace tinytorch {

// %% [markdown]
// ### The functions, and why they are there
//
// Here is everything this module exports. `op::` holds the operator objects of the dispatcher; a function
// does its checks and calls its operator, so that later modules can put layers of the dispatcher
// (gradients, faster kernels; not the layers of a network) around it.
//
// All of them are O(numel) in time and return a tensor as large as their input. They differ in what one
// element costs, from one comparison to an `erf`, and you will measure that difference in Part 2.

// %%
//| export nn/activations.h
// ---- Elementwise. Each returns a new tensor of the shape and dtype of `self`; O(numel) time.
Tensor relu(const Tensor& self);  // max(x, 0); any dtype but Bool
const Tensor& relu_(const Tensor& self);
Tensor leaky_relu(const Tensor& self,
                  const Scalar& negative_slope = 0.01);  // x where x > 0, else negative_slope * x
// scale * x where x > 0, else scale * alpha * (exp(input_scale * x) - 1)
Tensor elu(const Tensor& self, const Scalar& alpha = 1, const Scalar& scale = 1,
           const Scalar& input_scale = 1);
// x * P(Z <= x) for a standard normal Z; approximate = "tanh" avoids erf and errs by less than 0.001.
Tensor gelu(const Tensor& self, std::string_view approximate = "none");
Tensor sigmoid(
    const Tensor& self);  // 1 / (1 + exp(-x)); sigmoid and tanh turn integers into the default dtype
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

// %% [markdown]
// Before writing any of them, look at their shapes. This draws the curves with the functions you are about to
// write, so it shows something only once the exercises below are done; run it again then.

// %%
//| lesson
// Draws f over [-4, 4] as rows of text; each row is half a unit of y.
void plot(const std::string& title, const std::function<Tensor(const Tensor&)>& f) {
  constexpr std::int64_t kColumns = 65;
  const Tensor x = arange(kColumns).to(kFloat) * 0.125 - 4;
  const Tensor y = f(x);
  std::cout << "  " << title << '\n';
  for (double level = 4; level >= -1; level -= 0.5) {
    std::string row(kColumns, level == 0 ? '-' : ' ');
    row[kColumns / 2] = '|';
    for (std::int64_t i = 0; i < kColumns; ++i) {
      const double value = y[i].item<double>();
      if (value >= level - 0.25 && value < level + 0.25) row[static_cast<std::size_t>(i)] = '*';
    }
    std::printf("%5.1f %s\n", level, row.c_str());
  }
  std::cout << std::flush;
}

// %%
DEMO("what the activations look like") {
  plot("relu: a bend at zero", relu);
  plot("gelu: the same bend, smooth, with a dip", [](const Tensor& x) { return gelu(x); });
  plot("sigmoid: squeezes everything into (0, 1)", sigmoid);
}

// %% [markdown]
// ### A bend is all it takes
//
// Two linear maps are one linear map: `W2 (W1 x) = (W2 W1) x`. With `relu` in between that no longer holds,
// and a sum of bends can approximate any curve.
//
//     x --> [W1] ----------> [W2] --> y      is  x --> [W2 W1] --> y, one layer
//                  nothing
//     x --> [W1] --> relu --> [W2] --> y     is more: |x| = relu(x) + relu(-x), and no matrix gives |x|
//
// The code follows the definition, `max(x, 0)`, with one decision to make: what happens to NaN? A NaN in the
// input means that something earlier went wrong. PyTorch passes it on, so that the mistake shows in the loss,
// the number that training makes smaller and everybody watches. A comparison with NaN is always false,
// therefore it matters which way round you write the test.
//
// The loop is not yours to write again: `map_into<T, T>(result, self, f)` from module 01 walks over any
// strides, and `dispatch_all_types` turns the run-time dtype into the compile-time type `T`.

// %% {"nbgrader": {"grade": false, "grade_id": "02-relu", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// max(x, 0) for every element, as a new tensor of the same shape and dtype. NaN stays NaN. O(numel).
//
// TODO: Fill a new tensor with max(x, 0).
// APPROACH: 1. empty_like(self) is an uninitialised tensor of the same sizes and dtype.
//           2. dispatch_all_types(self.scalar_type(), [&]<class T>() { ... }) gives the element type.
//           3. map_into<T, T>(result, self, f) writes f(x) for each x.
// EXAMPLE: relu of [-1, 0, 2] is [0, 0, 2].
// HINT: Which of `x > 0 ? x : 0` and `x < 0 ? 0 : x` keeps a NaN?
Tensor relu_cpu(const Tensor& self) {
  // BEGIN SOLUTION
  const Tensor result = empty_like(self);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    map_into<T, T>(result, self, [](T x) { return x < T{0} ? T{0} : x; });
  });
  return result;
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 02-relu swallows-nan
//| says NaN became 0: every comparison with NaN is false, so `x > 0 ? x : 0` takes the zero. Ask for x < 0
//| says instead, so that NaN falls through to x itself and a broken value stays visible.
#if 0
Tensor relu_cpu(const Tensor& self) {
  const Tensor result = empty_like(self);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    map_into<T, T>(result, self, [](T x) { return x > T{0} ? x : T{0}; });
  });
  return result;
}
#endif

// %%
//| mistake 02-relu multiplies-by-a-mask
//| says Infinity times 0 is NaN, so multiplying by a mask of zeros breaks for -inf (and reads memory twice
//| says more). Choose between x and 0 for each element instead.
#if 0
Tensor relu_cpu(const Tensor& self) { return self * (self > 0).to(self.scalar_type()); }
#endif

// %%
//| export nn/activations.cpp
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

// %% {"nbgrader": {"grade": true, "grade_id": "02-relu-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("relu: keeps what is positive, and NaN") {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_EQ(relu(tensor({-inf, -1.5F, 0.0F, 2.0F, inf, nan})), tensor({0.0F, 0.0F, 0.0F, 2.0F, inf, nan}));
  CHECK_EQ(relu(tensor({-3, 0, 7})), tensor({0, 0, 7}));
  const Tensor x = tensor({{-1.0, 2.0}, {3.0, -4.0}});
  CHECK_EQ(relu(x.t()), tensor({{0.0, 3.0}, {2.0, 0.0}}));
  CHECK_EQ(x, tensor({{-1.0, 2.0}, {3.0, -4.0}}));
  CHECK_ERROR(relu(tensor({true, false})), "Boolean inputs not supported for relu");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(relu(empty({0, 3})).sizes(), IntArrayRef({0, 3}));
  CHECK_EQ(relu(full({}, -2.0)), full({}, 0.0));
  // END HIDDEN TESTS
}

// %% [markdown]
// An activation in the middle of a network often overwrites its input: nobody needs the numbers from before.
// The in-place form ends in `_`, writes over the elements of `self`, returns `self`, and takes no memory. It
// must respect strides too: `self` may be a view, and what lies between its elements belongs to somebody
// else.

// %% {"nbgrader": {"grade": false, "grade_id": "02-relu-inplace", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// Writes max(x, 0) over every element x of `self` and returns `self`. NaN stays NaN. Takes no memory for
// elements; touches nothing between the elements of a view. O(numel).
//
// TODO: Overwrite each element with max(x, 0).
// APPROACH: map_into may write to the tensor that it reads.
// EXAMPLE: With x = [-1, 2], after relu_(x) both x and every view of it hold [0, 2].
const Tensor& relu_inplace_cpu(const Tensor& self) {
  // BEGIN SOLUTION
  dispatch_all_types(self.scalar_type(),
                     [&]<class T>() { map_into<T, T>(self, self, [](T x) { return x < T{0} ? T{0} : x; }); });
  return self;
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 02-relu-inplace ignores-strides
//| says A view's elements need not lie next to each other. Walking numel() elements from data<T>() changed
//| says memory that is not part of the view and missed elements that are: let map_into follow the strides.
#if 0
const Tensor& relu_inplace_cpu(const Tensor& self) {
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    T* const data = self.data<T>();
    for (std::int64_t i = 0; i < self.numel(); ++i)
      if (data[i] < T{0}) data[i] = T{0};
  });
  return self;
}
#endif

// %%
//| mistake 02-relu-inplace makes-a-copy-first
//| says The numbers are right, but a whole new tensor was made and copied back. In place means that no memory
//| says is taken: read and write the same element.
#if 0
const Tensor& relu_inplace_cpu(const Tensor& self) { return copy_(self, relu_cpu(self)); }
#endif

// %%
//| export nn/activations.cpp
constinit Operator<const Tensor&(const Tensor&)> op::relu_("relu_", {.cpu = relu_inplace_cpu});

const Tensor& relu_(const Tensor& self) {
  check_relu(self);
  return op::relu_(self);
}

// %% {"nbgrader": {"grade": true, "grade_id": "02-relu-inplace-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("relu_: writes into the tensor it was given, and only there") {
  const Tensor x = tensor({{-1.0, 2.0, -3.0}, {4.0, -5.0, 6.0}});
  const Tensor column = x.select(1, 1);
  CHECK(relu_(column).is_same(column));
  CHECK_EQ(x, tensor({{-1.0, 2.0, -3.0}, {4.0, 0.0, 6.0}}));
  const std::size_t allocations = memory::stats().allocations;
  relu_(x);
  CHECK_EQ(memory::stats().allocations, allocations);
  CHECK_EQ(x, tensor({{0.0, 2.0, 0.0}, {4.0, 0.0, 6.0}}));
  // BEGIN HIDDEN TESTS
  const Tensor whole = tensor({-1, -2, 3, 4});
  relu_(whole.slice(0, 1, 4, 2));
  CHECK_EQ(whole, tensor({-1, 0, 3, 4}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Relatives with a slope below zero
//
// A unit (one element of a layer's output) whose input stays negative outputs 0 and, as module 05 will show,
// receives no gradient: it is dead. `leaky_relu` leaves a small slope below zero, `elu` bends smoothly towards
// `-alpha`.
//
//       relu         leaky_relu            elu
//           /              /                  /
//          /              /                  /
//     ____/          ____/              ____/
//                   /                 _/
//                                    -alpha
//
// Near zero, `exp(x) - 1` subtracts two numbers that agree in nearly all their digits, and what remains is
// mostly rounding error. The library function `std::expm1` computes the difference directly. These two are
// given; read them, you will need the same care below.

// %%
//| export nn/map_real.h
// f(x) for every element x, in the dtype of `self`. `name` goes into the error for other dtypes than floating
// point.
template <class F>
Tensor map_real(const char* name, const Tensor& self, F f) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  dispatch_floating_types(self.scalar_type(), name, [&]<class T>() { map_into<T, T>(result, self, f); });
  return result;
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

// %%
TEST_CASE("leaky_relu and elu: PyTorch's values") {
  const Tensor x = tensor({-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0}, kDouble);
  CHECK_CLOSE(leaky_relu(x), tensor({-0.03, -0.01, -0.005, 0.0, 0.5, 1.0, 3.0}, kDouble));
  CHECK_CLOSE(elu(x, 1.5),
              tensor({-1.42531939745, -0.948180838243, -0.590204010431, 0.0, 0.5, 1.0, 3.0}, kDouble));
  CHECK_CLOSE(elu(x, 1.5, 2, 0.5),
              tensor({-2.33060951955, -1.18040802086, -0.663597650786, 0.0, 1.0, 2.0, 6.0}, kDouble));
  CHECK_CLOSE(elu(tensor({-1e-6}, kFloat)), tensor({-9.999995e-7}, kFloat), 1e-6, 0.0);
  CHECK_ERROR(elu(tensor({1, 2})), "\"elu_cpu\" not implemented for 'Long'");
}

// %% [markdown]
// ### Squeezing without overflow
//
// `sigmoid(x) = 1 / (1 + exp(-x))` maps every number into (0, 1). Multiply above and below by `exp(x)` and
// you get `exp(x) / (1 + exp(x))`: the same function on paper, but not in the machine. A float ends at about
// 3.4e38, and `exp` passes that at x = 88.7:
//
//       x            exp(x)           exp(x) / (1 + exp(x))       1 / (1 + exp(-x))
//     -1000      0                     0 / 1   =  0                1 / inf   =  0
//         0      1                     1 / 2   =  0.5              1 / 2     =  0.5
//      1000      inf  (overflow)     inf / inf = NaN               1 / 1     =  1
//
// Dividing by infinity is harmless, infinity divided by infinity is not. So the rule is: let the overflow
// happen where it ends in a correct 0.
//
// `sigmoid` takes integers too (a mask, say) and answers in the default dtype; `map_floating` from module 01
// does that conversion.

// %% {"nbgrader": {"grade": false, "grade_id": "02-sigmoid", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// 1 / (1 + exp(-x)) for every element; integers are converted to the default dtype first. No number x gives
// NaN. O(numel).
//
// TODO: Compute the logistic function so that no number gives NaN.
// APPROACH: map_floating("sigmoid_cpu", self, f) calls f with a float or a double.
// EXAMPLE: sigmoid of [-1000, 0, 1000] is [0, 0.5, 1].
Tensor sigmoid_cpu(const Tensor& self) {
  // BEGIN SOLUTION
  return map_floating("sigmoid_cpu", self, [](auto x) { return 1 / (1 + std::exp(-x)); });
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 02-sigmoid exp-above-and-below
//| says For large x both exp(x) are infinite, and infinity / infinity is NaN. Divide by 1 + exp(-x): there
//| says the overflow comes at the other end, where 1 / infinity is the right answer.
#if 0
Tensor sigmoid_cpu(const Tensor& self) {
  return map_floating("sigmoid_cpu", self, [](auto x) { return std::exp(x) / (1 + std::exp(x)); });
}
#endif

// %%
//| mistake 02-sigmoid flips-the-sign
//| says The curve falls instead of rising: the exponent is -x, not x.
#if 0
Tensor sigmoid_cpu(const Tensor& self) {
  return map_floating("sigmoid_cpu", self, [](auto x) { return 1 / (1 + std::exp(x)); });
}
#endif

// %% [markdown]
// With `exp(-x)` in hand, `silu(x) = x * sigmoid(x)` is one division, and `tanh(x) = 2 sigmoid(2x) - 1` would
// be one line. But near zero that line subtracts 1 from a number close to 1, and loses the digits that
// matter; `std::tanh` does not.

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

// %% {"nbgrader": {"grade": true, "grade_id": "02-sigmoid-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("sigmoid: PyTorch's values, and no NaN at the ends") {
  const Tensor x = tensor({-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0}, kDouble);
  CHECK_CLOSE(sigmoid(x), tensor({0.0474258731776, 0.26894142137, 0.377540668798, 0.5, 0.622459331202,
                                  0.73105857863, 0.952574126822},
                                 kDouble));
  const float inf = std::numeric_limits<float>::infinity();
  CHECK_EQ(sigmoid(tensor({-inf, -1000.0F, 0.0F, 1000.0F, inf})), tensor({0.0, 0.0, 0.5, 1.0, 1.0}));
  CHECK_CLOSE(sigmoid(tensor({-20.0})), tensor({2.06115369e-9}), 1e-6, 0.0);
  CHECK_EQ(sigmoid(tensor({0, 1000})), tensor({0.5, 1.0}));
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(sigmoid(x.view({7, 1}).expand({7, 3}).t()).select(0, 2), sigmoid(x));
  CHECK_EQ(sigmoid(tensor({false})).scalar_type(), kFloat);
  // END HIDDEN TESTS
}

// %%
TEST_CASE("tanh and silu: PyTorch's values") {
  const Tensor x = tensor({-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0}, kDouble);
  CHECK_CLOSE(tanh(x), tensor({-0.995054753687, -0.761594155956, -0.46211715726, 0.0, 0.46211715726,
                               0.761594155956, 0.995054753687},
                              kDouble));
  CHECK_CLOSE(silu(x), tensor({-0.142277619533, -0.26894142137, -0.188770334399, 0.0, 0.311229665601,
                               0.73105857863, 2.85772238047},
                              kDouble));
  CHECK_EQ(silu(tensor({-1000.0, 1000.0})), tensor({-0.0, 1000.0}));
  CHECK_ERROR(silu(tensor({1, 2})), "\"silu_cpu\" not implemented for 'Long'");
}

// %% [markdown]
// ### Small numbers beside large ones
//
// `softplus(x) = log(1 + exp(x))` is a smooth relu. It fails at both ends, in two different ways:
//
//      x = 100     exp(x) = inf           log(1 + inf) = inf         right answer: 100
//      x =  20     exp(x) = 4.9e8         log(1 + 4.9e8) = 20        right answer: 20
//      x = -20     exp(x) = 2.1e-9        1 + 2.1e-9 rounds to 1     log(1) = 0, right answer: 2.1e-9
//                                         (a float has 24 bits, so next to 1 it cannot see less than 6e-8)
//
// Above, the answer *is* x as soon as `exp(-x)` is too small to matter; PyTorch switches over at `beta * x >
// threshold`, 20 by default. Below, `std::log1p(y)` computes `log(1 + y)` without ever forming `1 + y`. The
// same function carries the losses of module 04.

// %% {"nbgrader": {"grade": false, "grade_id": "02-softplus", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// log(1 + exp(beta * x)) / beta for every element, and x itself where beta * x > threshold. No number
// overflows, and small results keep their digits. Floating-point dtypes only. O(numel).
//
// TODO: Compute softplus without overflow above and without losing small values below.
// APPROACH: 1. map_real("softplus_cpu", self, f) calls f with a float or a double.
//           2. beta.toDouble() and threshold.toDouble() are the numbers; convert them to the type of x, or a
//              float is computed in double.
// EXAMPLE: With beta 1, softplus of [-20, 0, 100] is [2.06e-9, 0.6931, 100].
// HINT: std::log1p.
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
//| mistake 02-softplus log-of-one-plus
//| says Below about -17 the result is exactly 0: 1 + exp(x) rounds to 1, and the small number is gone before
//| says the logarithm sees it. std::log1p(y) computes log(1 + y) without forming the sum.
#if 0
Tensor softplus_cpu(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return map_real("softplus_cpu", self, [b = beta.toDouble(), limit = threshold.toDouble()](auto x) {
    using T = decltype(x);
    const T scaled = x * static_cast<T>(b);
    return scaled > static_cast<T>(limit) ? x : std::log(1 + std::exp(scaled)) / static_cast<T>(b);
  });
}
#endif

// %%
//| mistake 02-softplus threshold-on-x
//| says The threshold is compared with beta * x, not with x: with beta = 2 the switch comes at half the x.
#if 0
Tensor softplus_cpu(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return map_real("softplus_cpu", self, [b = beta.toDouble(), limit = threshold.toDouble()](auto x) {
    using T = decltype(x);
    return x > static_cast<T>(limit) ? x : std::log1p(std::exp(x * static_cast<T>(b))) / static_cast<T>(b);
  });
}
#endif

// %%
//| export nn/activations.cpp
constinit Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> op::softplus("softplus",
                                                                                     {.cpu = softplus_cpu});
Tensor softplus(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return op::softplus(self, beta, threshold);
}

// %% {"nbgrader": {"grade": true, "grade_id": "02-softplus-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("softplus: right at both ends") {
  const Tensor x = tensor({-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0}, kDouble);
  CHECK_CLOSE(softplus(x), tensor({0.0485873515737, 0.313261687518, 0.47407698418, 0.69314718056,
                                   0.97407698418, 1.31326168752, 3.04858735157},
                                  kDouble));
  CHECK_CLOSE(softplus(x, 2, 3), tensor({0.00123784256887, 0.0634640055215, 0.156630843759, 0.34657359028,
                                         0.656630843759, 1.06346400552, 3.0},
                                        kDouble));
  CHECK_CLOSE(softplus(tensor({-20.0, 100.0, 1000.0})), tensor({2.06115369e-9, 100.0, 1000.0}), 1e-6, 0.0);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(softplus(x.to(kFloat)).scalar_type(), kFloat);
  CHECK_ERROR(softplus(tensor({1})), "\"softplus_cpu\" not implemented for 'Long'");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Weighing by the bell curve
//
// Transformers use GELU: `x` times the probability that a standard normal number is below `x`. Where relu
// asks "is x positive?", GELU asks "how surely?".
//
//      P(Z <= x)    1 |          .-----                gelu(x) = x * P(Z <= x)
//                     |       .-'
//                 0.5 |     .'                         exact:   P = (1 + erf(x / sqrt(2))) / 2
//                     |  .-'                           tanh:    P ~ (1 + tanh(u)) / 2
//                   0 |-'-----------                            u = sqrt(2/pi) (x + 0.044715 x^3)
//                    -3     0     3
//
// GPT-2 was trained with the tanh form because `erf` was slow then. Both live on in published weights, and a
// model loaded with the wrong one is slightly wrong everywhere: the values differ by a few parts in ten
// thousand, too little to notice and enough to change a generated word. So the choice is part of the
// operator.

// %% {"nbgrader": {"grade": false, "grade_id": "02-gelu", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// x * P(Z <= x) for every element: P(Z <= x) = (1 + erf(x / sqrt(2))) / 2, or by the approximation
// (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2. Floating-point dtypes only. O(numel).
//
// TODO: Compute GELU, exactly and by the tanh approximation.
// APPROACH: map_real("GeluKernelImpl", self, f), once with std::erf and once with std::tanh.
// EXAMPLE: gelu of 1 is 0.84134 exactly, and 0.84119 by the approximation.
// HINT: std::numbers::sqrt2_v<T> is the root of 2 in the type T; sqrt(2 / pi) is sqrt2 times inv_sqrtpi.
Tensor gelu_cpu(const Tensor& self, bool tanh_approximation) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 02-gelu erf-without-root-of-two
//| says erf belongs to a bell curve with variance 1/2. For the standard normal its argument is x / sqrt(2).
#if 0
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
    return T{0.5} * x * (1 + std::erf(x));
  });
}
#endif

// %%
//| mistake 02-gelu always-approximates
//| says Both answers are the approximation. tanh_approximation is a choice: without it the exact form with
//| says std::erf is asked for.
#if 0
Tensor gelu_cpu(const Tensor& self, bool tanh_approximation) {
  static_cast<void>(tanh_approximation);
  return map_real("GeluKernelImpl", self, [](auto x) {
    using T = decltype(x);
    constexpr T scale = std::numbers::sqrt2_v<T> * std::numbers::inv_sqrtpi_v<T>;
    return T{0.5} * x * (1 + std::tanh(scale * (x + static_cast<T>(0.044715) * x * x * x)));
  });
}
#endif

// %%
//| export nn/activations.cpp
constinit Operator<Tensor(const Tensor&, bool)> op::gelu("gelu", {.cpu = gelu_cpu});

Tensor gelu(const Tensor& self, std::string_view approximate) {
  TORCH_CHECK(approximate == "none" || approximate == "tanh",
              "approximate argument must be either none or tanh.\n[gelu] got \"", approximate, "\".");
  return op::gelu(self, approximate == "tanh");
}

// %% {"nbgrader": {"grade": true, "grade_id": "02-gelu-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("gelu: exact and approximate differ, and both are PyTorch's") {
  const Tensor x = tensor({-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0}, kDouble);
  CHECK_CLOSE(gelu(x), tensor({-0.00404969409489, -0.158655253931, -0.154268769363, 0.0, 0.345731230637,
                               0.841344746069, 2.99595030591},
                              kDouble));
  CHECK_CLOSE(gelu(x, "tanh"), tensor({-0.00363739208177, -0.158808009392, -0.154285990175, 0.0,
                                       0.345714009825, 0.841191990608, 2.99636260792},
                                      kDouble));
  CHECK_ERROR(gelu(x, "fast"), "approximate argument must be either none or tanh.");
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(gelu(x.to(kFloat)), gelu(x).to(kFloat));
  CHECK_ERROR(gelu(tensor({1})), "\"GeluKernelImpl\" not implemented for 'Long'");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### A row of scores becomes probabilities
//
// `softmax` turns a row of scores into positive numbers with sum 1: `p_i = exp(x_i) / sum_j exp(x_j)`.
// Written just so, a score of 89 already overflows. Here is that version, composed of module 01's operators,
// and a second one that uses a property of the formula: subtracting the same number from every score changes
// nothing, because `exp(x - m) = exp(x) / exp(m)` and the factor cancels. With `m` the maximum of the row,
// the largest exponent is 0, every `exp` is at most 1, and at least one is exactly 1: neither overflow nor a
// sum of 0 is possible. (`amax({dim}, true)` is the maximum along `dim`; `true` keeps that dimension, with size
// 1, so that the result broadcasts against the rows.)
//
//       scores        1000   1001   1002
//       exp            inf    inf    inf       inf / inf = NaN                      (v1)
//       minus 1002      -2     -1      0
//       exp           0.135  0.368   1.0       sum 1.503 -> 0.090  0.245  0.665     (v2)

// %%
//| lesson
// v1: the definition. Overflows for scores above 88 (float).
Tensor softmax_v1(const Tensor& self, std::int64_t dim) {
  const Tensor e = exp(self);
  return e / e.sum({dim}, true);
}

// v2: the maximum is taken out first. Right, but it walks over memory for each operator, and each makes a
// tensor.
Tensor softmax_v2(const Tensor& self, std::int64_t dim) {
  const Tensor e = exp(self - self.amax({dim}, true));
  return e / e.sum({dim}, true);
}

// %%
TEST_CASE("softmax v1 overflows, v2 does not") {
  const Tensor scores = tensor({1000.0, 1001.0, 1002.0});
  CHECK_EQ(softmax_v1(scores, 0).ne(softmax_v1(scores, 0)).sum().item<int>(),
           3);  // only NaN differs from itself
  CHECK_CLOSE(softmax_v2(scores, 0), tensor({0.0900305731704, 0.244728471055, 0.665240955775}));
}

// %% [markdown]
// v2 finds the maximum in one pass and the sum in a second one. Can both come from a *single* pass? The sum
// needs the maximum, and the maximum is known only at the end. But a sum that was taken against an old
// maximum can be repaired: if `s` is the sum of `exp(x - m)` over what was seen, then the sum against a new
// maximum `m'` is `s * exp(m - m')`.
//
//       row          3        1        5        2
//                    |        |        |        |
//       maximum      3        3        5        5
//       sum          1     1 + e^-2  (1 + e^-2) e^-2 + 1     ... + e^-3
//                                     ^^^^^^^^^^^^^^^^
//                                     what was summed against 3, now against 5
//
// This is the *online softmax* (Milakov and Gimelshein, 2018). The pair (maximum, sum) is all that anybody
// needs to know of a row, and two such pairs, from two halves of a row, can be joined in the same way. That
// is why attention kernels can work through a row in blocks that fit into the cache and never hold all of it
// (module 11).

// %%
//| export nn/row_normalizer-inl.h
// The elements of one row of a strided tensor.
template <class T>
struct Row {
  T* data;
  std::int64_t stride;
  T& operator[](std::int64_t j) const { return data[j * stride]; }
};

// What a softmax must know of a row: its maximum, and the sum of exp(x - maximum), so that the sum of exp(x)
// is sum * exp(maximum) without ever being computed.
template <class T>
struct RowNormalizer {
  T maximum = -std::numeric_limits<T>::infinity();
  double sum = 0;

  // The logarithm of the sum of exp(x).
  T logsumexp() const { return static_cast<T>(static_cast<double>(maximum) + std::log(sum)); }
};

// %% [markdown]
// The next exercise is a *design* exercise. Only the contract is given; how the single pass goes is yours to
// decide. Think about these cases before you write: the first value; a new maximum; `-inf` (a masked position
// in attention), also at the beginning, where `-inf - (-inf)` is NaN; and an empty row.

// %% {"nbgrader": {"grade": false, "grade_id": "02-row-normalizer", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/row_normalizer-inl.h
//| exercise design
// The maximum of values[0], ..., values[count - 1], and the sum of exp(x - maximum) over them.
// Reads each value exactly once, in any order, and keeps O(1) memory: a row may be longer than the cache. No
// finite value overflows; -inf adds nothing; NaN or +inf makes the sum NaN. Without values, or with only
// -inf, the maximum is -inf and the sum 0. O(count).
//
// TODO: Design a single pass that keeps maximum and sum right together.
template <class Values>
auto row_normalizer(const Values& values, std::int64_t count)
    -> RowNormalizer<std::decay_t<decltype(values[0])>> {
  // BEGIN SOLUTION
  RowNormalizer<std::decay_t<decltype(values[0])>> so_far;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto x = values[j];
    if (x > so_far.maximum) {
      // A new maximum: the sum against the old one shrinks; the new one itself counts exp(0), or NaN if it is
      // infinite.
      so_far.sum = so_far.sum * std::exp(so_far.maximum - x) + std::exp(x - x);
      so_far.maximum = x;
    } else if (x != -std::numeric_limits<decltype(so_far.maximum)>::infinity()) {
      so_far.sum += std::exp(x - so_far.maximum);
    }
  }
  return so_far;
  // END SOLUTION
}

// %%
//| mistake 02-row-normalizer keeps-the-old-sum
//| says When a larger value comes, the sum so far was taken against the old maximum. Multiply it by exp(old
//| says maximum - new maximum) before adding.
#if 0
template <class Values>
auto row_normalizer(const Values& values, std::int64_t count)
    -> RowNormalizer<std::decay_t<decltype(values[0])>> {
  RowNormalizer<std::decay_t<decltype(values[0])>> so_far;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto x = values[j];
    if (x > so_far.maximum) so_far.maximum = x;
    so_far.sum += std::exp(x - so_far.maximum);
  }
  return so_far;
}
#endif

// %%
//| mistake 02-row-normalizer two-passes
//| says The result is right, but every value was read twice: once for the maximum, once for the sum. Repair
//| says the sum when the maximum changes, and one pass is enough.
#if 0
template <class Values>
auto row_normalizer(const Values& values, std::int64_t count)
    -> RowNormalizer<std::decay_t<decltype(values[0])>> {
  RowNormalizer<std::decay_t<decltype(values[0])>> so_far;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto x = values[j];
    if (x > so_far.maximum) so_far.maximum = x;
  }
  for (std::int64_t j = 0; j < count; ++j) {
    const auto x = values[j];
    if (x != -std::numeric_limits<decltype(so_far.maximum)>::infinity())
      so_far.sum += std::exp(x - so_far.maximum);
  }
  return so_far;
}
#endif

// %%
//| mistake 02-row-normalizer starts-at-zero
//| says A row of large negative scores came out with a maximum of 0, and all its exponentials became 0. The
//| says maximum of nothing is -inf, not 0.
#if 0
template <class Values>
auto row_normalizer(const Values& values, std::int64_t count)
    -> RowNormalizer<std::decay_t<decltype(values[0])>> {
  RowNormalizer<std::decay_t<decltype(values[0])>> so_far;
  so_far.maximum = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto x = values[j];
    if (x > so_far.maximum) {
      so_far.sum = so_far.sum * std::exp(so_far.maximum - x) + 1;
      so_far.maximum = x;
    } else {
      so_far.sum += std::exp(x - so_far.maximum);
    }
  }
  return so_far;
}
#endif

// %%
//| lesson
// A row that watches its reader: how often each value was read, and how much the heap grew between two reads.
class WatchedRow {
 public:
  explicit WatchedRow(std::vector<double> values) : values_(std::move(values)), reads_(values_.size()) {}
  double operator[](std::int64_t j) const {
    const struct mallinfo2 heap = mallinfo2();
    const std::size_t used = heap.uordblks + heap.hblkhd;
    if (first_use_ == 0) first_use_ = used;
    growth_ = std::max(growth_, used > first_use_ ? used - first_use_ : 0);
    ++reads_[static_cast<std::size_t>(j)];
    return values_[static_cast<std::size_t>(j)];
  }
  int most_reads() const { return *std::max_element(reads_.begin(), reads_.end()); }
  int fewest_reads() const { return *std::min_element(reads_.begin(), reads_.end()); }
  std::size_t heap_growth() const { return growth_; }

 private:
  std::vector<double> values_;
  mutable std::vector<int> reads_;
  mutable std::size_t first_use_ = 0;
  mutable std::size_t growth_ = 0;
};

// %% {"nbgrader": {"grade": true, "grade_id": "02-row-normalizer-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("row_normalizer: one pass, whatever the order of the values") {
  const double inf = std::numeric_limits<double>::infinity();
  const auto of = [](const std::vector<double>& values) {
    return row_normalizer(values.data(), static_cast<std::int64_t>(values.size()));
  };
  for (const std::vector<double>& row :
       {std::vector<double>{1, 2, 3}, {3, 2, 1}, {2, 3, 1}, {-inf, 3, -inf, 1, 2}}) {
    CHECK_EQ(of(row).maximum, 3.0);
    CHECK_CLOSE(of(row).sum, 1 + std::exp(-1.0) + std::exp(-2.0), 1e-12, 0.0);
  }
  CHECK_CLOSE(of({-1000, -1001}).sum, 1 + std::exp(-1.0), 1e-12, 0.0);
  CHECK_CLOSE(of({1000, 1000, 1000}).logsumexp(), 1000 + std::log(3.0), 1e-12, 0.0);
  CHECK_EQ(of({-inf, -inf}).maximum, -inf);
  CHECK_EQ(of({-inf, -inf}).sum, 0.0);
  CHECK_EQ(of({}).logsumexp(), -inf);
  CHECK(std::isnan(of({1, std::nan(""), 2}).sum));

  std::vector<double> rising(4096);
  for (std::size_t j = 0; j < rising.size(); ++j) rising[j] = static_cast<double>(j) * 0.01;
  const WatchedRow row(rising);
  CHECK_CLOSE(row_normalizer(row, 4096).sum, 1 / (1 - std::exp(-0.01)), 1e-12, 0.0);
  CHECK_EQ(row.most_reads(), 1);
  CHECK_EQ(row.fewest_reads(), 1);
  CHECK(row.heap_growth() < 4096);
  // BEGIN HIDDEN TESTS
  CHECK(std::isnan(of({1, inf}).sum));
  CHECK(std::isnan(of({inf, 1}).sum));
  CHECK_EQ(of({inf, 1}).maximum, inf);
  CHECK_CLOSE(of({710, -745, 710}).logsumexp(), 710 + std::log(2.0), 1e-12, 0.0);
  // END HIDDEN TESTS
}

// %% [markdown]
// Now the operator. `softmax(x, dim)` normalizes along any dimension: with `dim = 1` of a matrix each row
// sums to 1, with `dim = 0` each column. A "row" is therefore a start and a stride, and `for_each_row_pair`
// hands you one such row of the input together with the row of the result that it goes to.
//
//       softmax(x, 1): rows            softmax(x, 0): columns
//       [ a  b  c ]  sum 1             [ a  d ]      row a, d starts at a, stride 3
//       [ d  e  f ]  sum 1             [ b  e ]      (the matrix is stored a b c d e f)
//                                      [ c  f ]

// %%
//| export nn/activations.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "02-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// exp(x) / (sum of exp(x) along `dim`), as a new tensor. Floating-point dtypes only. A row of -inf gives NaN.
// O(numel): reads the input twice.
// REQUIRES: 0 <= dim < max(self.dim(), 1).
//
// TODO: Turn each row into probabilities.
// APPROACH: 1. empty(self.sizes(), self.options()) is a contiguous result, as for_each_row_pair wants it
//              (empty_like takes over self's order in memory); dispatch_floating_types(self.scalar_type(),
//              "softmax_lastdim_kernel_impl", [&]<class T>() { ... }).
//           2. for_each_row_pair<T>(self, result, dim, [](Row<const T> in, Row<T> out, std::int64_t count) {
//              ... }) visits all rows.
//           3. In each row: the normalizer, then out[j] from in[j].
// EXAMPLE: softmax of [1000, 1001, 1002] is [0.0900, 0.2447, 0.6652].
// HINT: Dividing once per row and multiplying per element is cheaper than dividing per element.
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

// %%
//| mistake 02-softmax one-maximum-for-all-rows
//| says One row is NaN: the maximum of the whole tensor was subtracted, and next to a row of large scores
//| says every exponential of a row of small ones became 0. Each row needs its own maximum.
#if 0
Tensor softmax_cpu(const Tensor& self, std::int64_t dim) {
  const Tensor e = exp(self - amax(self));
  return e / e.sum({dim}, true);
}
#endif

// %%
//| mistake 02-softmax always-the-last-dimension
//| says The rows sum to 1 where the columns should: `dim` was not used, or not for the sum.
#if 0
Tensor softmax_cpu(const Tensor& self, std::int64_t dim) {
  static_cast<void>(dim);
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_floating_types(self.scalar_type(), "softmax_lastdim_kernel_impl", [&]<class T>() {
    for_each_row_pair<T>(self, result, self.dim() - 1, [](Row<const T> in, Row<T> out, std::int64_t count) {
      const RowNormalizer<T> row = row_normalizer(in, count);
      for (std::int64_t j = 0; j < count; ++j)
        out[j] = static_cast<T>(std::exp(in[j] - row.maximum) / row.sum);
    });
  });
  return result;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "02-softmax-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("softmax: rows or columns that sum to 1, at any size of score") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {1000.0, 1001.0, 1002.0}, {-1000.0, 0.0, 1000.0}}, kDouble);
  const Tensor row = tensor({0.0900305731704, 0.244728471055, 0.665240955775}, kDouble);
  CHECK_CLOSE(softmax(x, 1)[0], row);
  CHECK_CLOSE(softmax(x, 1)[1], row);
  CHECK_CLOSE(softmax(x, -1)[2], tensor({0.0, 0.0, 1.0}, kDouble));
  CHECK_CLOSE(softmax(x, 0),
              tensor({{0.0, 0.0, 0.0}, {1.0, 1.0, 0.880797077978}, {0.0, 0.0, 0.119202922022}}, kDouble));
  CHECK_CLOSE(softmax(x.t(), 0), softmax(x, 1).t());
  const Tensor cube = (arange(12, kDouble) * 0.5 - 2).view({2, 2, 3});
  CHECK_CLOSE(softmax(cube, 1).select(1, 0), full({2, 3}, 0.182425523806, kDouble));
  CHECK_CLOSE(softmax(cube, 0).sum({0}), ones({2, 3}, kDouble));
  CHECK_ERROR(softmax(x, 2), "Dimension out of range (expected to be in range of [-2, 1], but got 2)");
  CHECK_ERROR(softmax(tensor({1, 2}), 0), "\"softmax_lastdim_kernel_impl\" not implemented for 'Long'");
  CHECK_CLOSE(softmax(tensor({1, 2}), 0, kDouble), tensor({0.26894142137, 0.73105857863}, kDouble));
  // BEGIN HIDDEN TESTS
  const double inf = std::numeric_limits<double>::infinity();
  CHECK_EQ(softmax(tensor({-inf, 1.0}), 0), tensor({0.0, 1.0}));
  CHECK(std::isnan(softmax(tensor({-inf, -inf}), 0)[0].item<double>()));
  CHECK_EQ(softmax(full({}, 3.0), 0), full({}, 1.0));
  CHECK_EQ(softmax(empty({2, 0}), 1).sizes(), IntArrayRef({2, 0}));
  CHECK_CLOSE(softmax(x.to(kFloat), 1), softmax(x, 1).to(kFloat));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Probabilities too small to hold
//
// A loss needs the logarithm of a probability. `log(softmax(x))` computes a probability first, and a
// probability may round to 0: then the logarithm is `-inf`, the loss infinite, and training over. The
// logarithm of the formula has no such step:
//
//       log p_i = log( exp(x_i) / sum )  =  x_i - logsumexp(x)  =  (x_i - m) - log(s)
//
//       scores          0       1000
//       softmax         0          1          the first is e^-1000, below the smallest double
//       log of that  -inf          0
//       log_softmax -1000          0          nothing was lost

// %% {"nbgrader": {"grade": false, "grade_id": "02-log-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
namespace {
// x - log(sum of exp(x) along `dim`), as a new tensor. Floating-point dtypes only. Finite scores give finite
// results. O(numel).
// REQUIRES: 0 <= dim < max(self.dim(), 1).
//
// TODO: Turn each row into log-probabilities.
// APPROACH: As softmax_cpu, with "log_softmax_lastdim_kernel_impl" for the name; per element only a
//           subtraction remains.
// EXAMPLE: log_softmax of [0, 1000] is [-1000, 0].
// HINT: Subtract the maximum first: x and the logsumexp are both large, and their difference is what counts.
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
//| mistake 02-log-softmax log-of-softmax
//| says A probability that rounded to 0 has the logarithm -inf. Do not form the probability at all: x -
//| says maximum - log(sum).
#if 0
Tensor log_softmax_cpu(const Tensor& self, std::int64_t dim) { return log(softmax_cpu(self, dim)); }
#endif

// %%
//| mistake 02-log-softmax forgets-the-sum
//| says The largest entry of every row is 0, as if its probability were 1: the logarithm of the sum is
//| says missing.
#if 0
Tensor log_softmax_cpu(const Tensor& self, std::int64_t dim) { return self - amax(self, {dim}, true); }
#endif

// %%
//| export nn/activations.cpp
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::softmax("softmax", {.cpu = softmax_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::log_softmax("log_softmax",
                                                                        {.cpu = log_softmax_cpu});

Tensor softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) {
  return op::softmax(dtype ? self.to(*dtype) : self, wrap_dim(dim, self.dim()));
}
Tensor log_softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) {
  return op::log_softmax(dtype ? self.to(*dtype) : self, wrap_dim(dim, self.dim()));
}

// %% {"nbgrader": {"grade": true, "grade_id": "02-log-softmax-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("log_softmax: finite where a probability would round to 0") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {1000.0, 1001.0, 1002.0}, {-1000.0, 0.0, 1000.0}}, kDouble);
  const Tensor expected = tensor({{-2.40760596444, -1.40760596444, -0.407605964444},
                                  {-2.40760596444, -1.40760596444, -0.407605964444},
                                  {-2000.0, -1000.0, 0.0}},
                                 kDouble);
  CHECK_CLOSE(log_softmax(x, 1), expected);
  CHECK_CLOSE(log_softmax(x.t(), 0), expected.t());
  CHECK_CLOSE(log_softmax(x.to(kFloat), 1), expected.to(kFloat));
  CHECK_CLOSE(exp(log_softmax(x, 0)), softmax(x, 0));
  CHECK_ERROR(log_softmax(x, -3), "Dimension out of range");
  // BEGIN HIDDEN TESTS
  const double inf = std::numeric_limits<double>::infinity();
  CHECK_EQ(log_softmax(tensor({-inf, 1.0}), 0), tensor({-inf, 0.0}));
  CHECK_EQ(log_softmax(full({}, 3.0), -1), full({}, 0.0));
  // END HIDDEN TESTS
}

// %% [markdown]
// `logsumexp` itself is worth a function: it is the smooth maximum, and it appears wherever probabilities are
// summed in the logarithm. This time you compose it from operators that exist, instead of writing a kernel. A
// composed function needs no operator object and no gradient of its own: module 05 will differentiate the
// parts. The maximum that you take out cancels, so its gradient cancels too, and there is no point in
// recording it: compute it in a block that begins with `AutoDispatchBelowAutograd guard;` (module 01), which keeps
// what is called in the block below the layer of module 05.
//
//       logsumexp(x) = m + log( sum exp(x - m) )          m = 0 instead where the maximum is infinite:
//                                                         -inf - (-inf) would be NaN
//
// Operators that help (library chapter 90): `where(condition, a, b)` takes each element from `a` or from `b`, a
// comparison such as `x == 1.0` gives the condition, and `abs(x)` and `zeros_like(x)` do what they say.

// %% {"nbgrader": {"grade": false, "grade_id": "02-logsumexp", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/activations.cpp
// log of the sum of exp(x) over the dimensions `dim`, which stay with size 1 if `keepdim`. Integers are
// converted to the default dtype.
// A row of -inf, or an empty one, gives -inf; one with +inf gives +inf. Composed of amax, exp, sum and log.
// O(numel).
//
// TODO: Compose it from amax, exp, sum and log, with the maximum taken out.
// APPROACH: 1. input is self, converted if it has integers. maximum = amax(input, dim, true); where it is
//              infinite, take 0 instead (where, abs, zeros_like).
//           2. log(sum(exp(input - shift), dim, true)) + shift.
//           3. Without keepdim, drop the dimensions of size 1 again: view(result, sizes), where module 01's reductions
//              compute the sizes as reduced_sizes(input.sizes(), reduction_mask(input, dim), false).
// EXAMPLE: logsumexp of [1000, 1000] is 1000.6931.
// HINT: amax refuses an empty dimension, and an empty tensor has no maximum to take out: answer it first. The
//       sum of nothing is 0, and its log is -inf.
Tensor logsumexp(const Tensor& self, IntArrayRef dim, bool keepdim) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 02-logsumexp forgets-to-add-the-maximum
//| says The maximum was taken out and never put back: logsumexp(x) = maximum + log(sum of exp(x - maximum)).
#if 0
Tensor logsumexp(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const Tensor input = self.is_floating_point() ? self : self.to(get_default_dtype());
  if (input.numel() == 0) return log(sum(exp(input), dim, keepdim));
  return log(sum(exp(input - amax(input, dim, true)), dim, keepdim));
}
#endif

// %%
//| mistake 02-logsumexp infinite-maximum
//| says A row of -inf became NaN: its maximum is -inf, and -inf - (-inf) is NaN. Take out 0 where the maximum
//| says is infinite.
#if 0
Tensor logsumexp(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const Tensor input = self.is_floating_point() ? self : self.to(get_default_dtype());
  if (input.numel() == 0) return log(sum(exp(input), dim, keepdim));
  const Tensor maximum = amax(input, dim, true);
  const Tensor result = log(sum(exp(input - maximum), dim, true)) + maximum;
  return keepdim ? result : view(result, reduced_sizes(input.sizes(), reduction_mask(input, dim), false));
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "02-logsumexp-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("logsumexp: a maximum with soft edges") {
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {1000.0, 1001.0, 1002.0}, {-1000.0, 0.0, 1000.0}}, kDouble);
  CHECK_CLOSE(logsumexp(x, 1), tensor({3.40760596444, 1002.40760596444, 1000.0}, kDouble));
  CHECK_EQ(logsumexp(x, 1, true).sizes(), IntArrayRef({3, 1}));
  const Tensor cube = (arange(12, kDouble) * 0.5 - 2).view({2, 2, 3});
  CHECK_CLOSE(logsumexp(cube, {0, 2}), tensor({2.72885702222, 4.22885702222}, kDouble));
  CHECK_EQ(logsumexp(tensor({{-inf, -inf}, {inf, 1.0}}), 1), tensor({-inf, inf}));
  CHECK_EQ(logsumexp(empty({2, 0}), 1), tensor({-inf, -inf}));
  CHECK_CLOSE(logsumexp(tensor({0, 0}), 0), full({}, 0.69314718056));
  // BEGIN HIDDEN TESTS
  CHECK_EQ(logsumexp(full({}, 3.0), 0), full({}, 3.0));
  CHECK_CLOSE(logsumexp(x.t(), {0}), logsumexp(x, {1}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The methods
//
// The mixin from the beginning gets its bodies. A method is the function with `self` in front; the cast is
// sound because only Tensor derives from `TensorExtensions`.
//
//       x.softmax(1)  -->  ActivationMethods::softmax  -->  softmax(x, 1)  -->  op::softmax  -->  softmax_cpu
//          method              this, seen as Tensor           checks            layers            loops

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
TEST_CASE("methods: the same as the functions") {
  const Tensor x = tensor({{-1.0, 2.0}, {0.5, -3.0}});
  CHECK_EQ(x.relu(), relu(x));
  CHECK_EQ(x.sigmoid(), sigmoid(x));
  CHECK_EQ(x.tanh(), tanh(x));
  CHECK_EQ(x.softmax(1), softmax(x, 1));
  CHECK_EQ(x.log_softmax(0, kDouble), log_softmax(x, 0, kDouble));
  CHECK_EQ(x.logsumexp({0, 1}), logsumexp(x, {0, 1}));
  const Tensor y = x.clone();
  CHECK(y.relu_().is_same(y));
  CHECK_EQ(y, relu(x));
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// Three questions, answered by measurement on your machine: what does an element cost, what does a softmax
// hold in memory, and what does it gain to walk over memory less often? Your softmax is *fused*: one kernel
// does what v2 composes of five operators.
//
// An elementwise operation on floats reads 4 bytes and writes 4 bytes per element. If the arithmetic is
// cheap, the time is that of moving the bytes, and a cheaper formula gains nothing: the operation is
// *memory-bound*. If the arithmetic is dear, memory waits: it is *compute-bound*.
//
//       time per element
//          ^
//          |                                  erf, tanh: the arithmetic decides
//          |            exp, log1p
//          |  relu, copy
//          +--------------------------------------------> arithmetic per element
//             memory decides

// %%
//| lesson
struct MemoryUse {
  double peak = 0;              // bytes held at most beyond what was held before
  std::size_t allocations = 0;  // tensors' storages made
};

// What calling f takes, its result included.
template <class F>
MemoryUse memory_of(F f) {
  const MemoryStats before = memory::stats();
  memory::reset_peak();
  const Tensor result = f();
  const MemoryStats after = memory::stats();
  return {static_cast<double>(after.peak - before.live), after.allocations - before.allocations};
}

// `length` of a bar for `value`, where `most` is the longest.
std::string bar(double value, double most, double length = 40) {
  return std::string(static_cast<std::size_t>(std::max(0.0, value / most * length)), '#');
}

Tensor some_scores(std::int64_t rows, std::int64_t columns) {
  const Tensor x = arange(rows * columns).to(kDouble) * 0.61803398875;
  return ((x - x.to(kLong).to(kDouble)) * 8 - 4).to(kFloat).view({rows, columns});  // spread over [-4, 4)
}

// %%
DEMO("what one element costs") {
  const std::int64_t n = 1 << 16;
  const Tensor x = some_scores(1, n);
  struct Row {
    const char* name;
    std::function<Tensor()> run;
    double seconds = 0;
  };
  std::vector<Row> rows = {
      {"copy", [&] { return x.clone(); }},       {"relu", [&] { return relu(x); }},
      {"sigmoid", [&] { return sigmoid(x); }},   {"silu", [&] { return silu(x); }},
      {"softplus", [&] { return softplus(x); }}, {"tanh", [&] { return tanh(x); }},
      {"gelu", [&] { return gelu(x); }},         {"gelu tanh", [&] { return gelu(x, "tanh"); }}};
  double most = 0;
  for (Row& row : rows) {
    row.seconds = measure([&] { do_not_optimize(row.run()); }).median;
    most = std::max(most, row.seconds);
  }
  std::printf("%lld floats            ns/element   GB/s moved\n", static_cast<long long>(n));
  for (const Row& row : rows) {
    const double elements = static_cast<double>(n);
    std::printf("  %-12s %18.2f %12.2f  %s\n", row.name, row.seconds / elements * 1e9,
                8 * elements / row.seconds * 1e-9, bar(row.seconds, most).c_str());
  }
  std::cout << std::flush;
}

// %%
DEMO("what a softmax holds in memory: composed against fused") {
  const Tensor x = some_scores(256, 256);
  const double input = static_cast<double>(x.nbytes());
  const auto report = [&](const char* name, const MemoryUse& use) {
    std::printf("  %-28s peak %5.2f x input  %2zu storages  %s\n", name, use.peak / input, use.allocations,
                bar(use.peak / input, 4).c_str());
  };
  std::printf("softmax of %.0f KiB\n", input / 1024);
  report("v1: exp, sum, div", memory_of([&] { return softmax_v1(x, 1); }));
  report("v2: amax, sub, exp, sum, div", memory_of([&] { return softmax_v2(x, 1); }));
  report("fused", memory_of([&] { return softmax(x, 1); }));
  const Tensor y = x.clone();
  report("relu", memory_of([&] { return relu(x); }));
  report("relu_, in place", memory_of([&] { return relu_(y); }));
  std::cout << std::flush;
}

// %%
DEMO("what fusing gains: time per element by row length") {
  const std::int64_t n = 1 << 16;
  std::printf("  row length      v1 ns      v2 ns   fused ns   v2 / fused\n");
  for (const std::int64_t columns : {4, 16, 256, 4096, 65536}) {
    const Tensor x = some_scores(n / columns, columns);
    const auto per_element = [&](Tensor (*f)(const Tensor&, std::int64_t)) {
      return measure([&] { do_not_optimize(f(x, 1)); }, {.samples = 5}).median / static_cast<double>(n) * 1e9;
    };
    const double v1 = per_element(softmax_v1);
    const double v2 = per_element(softmax_v2);
    const double fused = per_element([](const Tensor& self, std::int64_t dim) { return softmax(self, dim); });
    std::printf("  %10lld %10.2f %10.2f %10.2f %12.2f  %s\n", static_cast<long long>(columns), v1, v2, fused,
                v2 / fused, bar(v2 / fused, 8, 32).c_str());
  }
  std::cout << std::flush;
}

// %% [markdown]
// Run `tito run 02` and keep the output: the questions at the end refer to it. Things to look for:
//
// - How far is relu from a plain copy? What would a vectorized `max` change about that, and what not?
// - The fused softmax computes *more* exponentials than v2 when the maximum rises often. Does it show?
// - v2 makes its temporaries one after the other, and frees them. Which are alive at the same time at the
//   peak?

// %% [markdown]
// ## Part 3: Production context
//
// Every framework has these functions; they differ in who removes the passes over memory. *Eager*
// means that an operator runs when it is called; a graph is run later, as a whole.
//
//       PyTorch, eager          one hand-written kernel per operator      softmax: one kernel
//                               x --> [softmax kernel] --> y              relu after a matmul: two kernels
//       TensorFlow graph        operators in a graph, some patterns fused MatMul + BiasAdd + Relu becomes
//       (grappler)              x --> [MatMul+Bias+Relu] --> y            _FusedMatMul
//       JAX (XLA)               Python composes small operations,         max, sub, exp, sum, div:
//                               the compiler fuses the loops              two loops over memory are left
//
// - **PyTorch.** `aten/src/ATen/native/SoftMax.cpp` does the checks (compare its `softmax` with yours) and
//   `aten/src/ATen/native/cpu/SoftMaxKernel.cpp` holds the vectorized rows; the maximum and the sum are two
//   passes there, because with vectors a pass over a row in cache is cheap.
//   `aten/src/ATen/native/cpu/Activation.cpp` has GELU, ELU, softplus with the same thresholds as yours.
// - **TensorFlow.** `tensorflow/core/kernels/softmax_op_functor.h` composes softmax of Eigen expressions,
//   `tensorflow/core/kernels/relu_op_functor.h` has relu and its relatives.
// - **JAX.** `jax/_src/nn/functions.py`: `jax.nn.softmax` is composed as your `logsumexp` is, with
//   `stop_gradient` around the maximum, which is the guard you met. XLA fuses it, so that no temporary
//   reaches memory.
// - **Attention kernels** (FlashAttention; in PyTorch `aten/src/ATen/native/cpu/FlashAttentionKernel.cpp`)
//   are built on the online softmax: they keep your `(maximum, sum)` per row while blocks of scores come and
//   go, and repair the partial results when the maximum rises.
//
// What they have and this module leaves out: SIMD versions of `exp` and `erf` (Sleef in PyTorch; module 16
// does it), threads over rows, half-precision inputs with sums in float, and fusing an activation into the
// matrix product before it (module 16 as an epilogue, work added to the end of a kernel; module 18 by a
// compiler).

// %% [markdown]
// ## Integration test
//
// A classifier's forward pass on two samples, as module 03 will package it: a product, an activation, and
// log-probabilities. The expected numbers were recorded from PyTorch.

// %%
TEST_CASE("activations: the forward pass of a small classifier") {
  const Tensor x = tensor({{1.0, 2.0}, {-3.0, 0.5}}, kDouble);
  const Tensor weight = tensor({{0.5, -1.0}, {2.0, 0.25}, {-0.75, 1.5}}, kDouble);
  const Tensor hidden = gelu(x.mm(weight.t()));
  CHECK_CLOSE(hidden, tensor({{-0.100210801903, 2.48447583669, 2.22249493653},
                              {-0.0455002638964, -1.24210233834e-08, 2.99595030591}},
                             kDouble));
  const Tensor log_probabilities = hidden.log_softmax(1);
  CHECK_CLOSE(log_probabilities, tensor({{-3.1971363389, -0.612449700313, -0.874430600472},
                                         {-3.13471743701, -3.08921718553, -0.0932668672073}},
                                        kDouble));
  CHECK_EQ(log_probabilities.argmax(1), tensor({1, 2}));
  CHECK_CLOSE(hidden.softmax(1).sum({1}), ones({2}, kDouble));
  CHECK_CLOSE(hidden.logsumexp(1, true) + log_probabilities, hidden);
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Reflect**: you built the functions and used them; now say why
// they are as they are. Answer from your measurements.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "02-explain-bound", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. Memory or arithmetic?** From the first demonstration: which of the functions are limited by
// memory on your machine, and which by arithmetic? Give the numbers that say so. Then predict: what would
// eight threads change for relu, and what for gelu? What would a vectorized `exp` change for each?
// BEGIN SOLUTION
// relu lies close to the plain copy in ns per element and in GB/s moved; the rest is loop overhead. gelu and
// tanh take many times as long for the same bytes, so their arithmetic decides. Eight threads speed gelu up
// nearly eightfold, because cores multiply arithmetic; relu gains only until the shared memory bandwidth is
// used up (more as long as the tensor fits into the cores' own caches). A vectorized exp helps sigmoid, silu,
// softplus and, through tanh, gelu by a large factor, until they too are limited by memory; for relu it
// changes nothing.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "02-explain-fusion", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. What does fusing buy?** From the second and third demonstrations: why does v2's peak exceed
// the fused one's, and which tensors are alive at that moment? At which row lengths does fusing gain most,
// and why? An attention layer with sequence length N applies a softmax to an N x N matrix per head: for N =
// 8192 in float32, how many bytes is one temporary of that softmax?
// BEGIN SOLUTION
// At the division v2 holds the exponentials and the result at once (earlier the differences and the
// exponentials), where the fused kernel holds the result only. Per element v2 reads and writes memory about
// four times, plus a dispatch and an allocation per operator; with short rows its reductions also restart for
// every few elements, so the gain is largest there. 8192 * 8192 * 4 bytes = 256 MiB per head for each
// temporary, which is why attention kernels never form it.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "02-explain-design", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Where should an activation live?** PyTorch keeps activations apart from the layers before
// them; cuDNN, the library for NVIDIA's GPUs, offers convolution-with-relu as one call. What does each choice
// cost the user, and what the implementer? Why is `approximate="tanh"` an argument of gelu, and not a setting
// of the library?
// BEGIN SOLUTION
// Apart: every combination is possible with few operators, and gradients are written once each; the price is
// one more pass over memory, which a fusing compiler or an epilogue can win back. Together: fast, but every
// pair is one more kernel with its gradient and its tests, and a new activation is slow until somebody writes
// its pairs. The form of gelu belongs to the trained weights, so it must travel with the model; a global
// setting would be wrong for one of two models in a process.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - An activation is what makes a deep network more than one matrix. relu and its relatives choose, sigmoid
//   and tanh squeeze, softmax normalizes a row.
// - Equal on paper is not equal in the machine. Overflow is fine where it ends in a correct 0 (sigmoid),
//   subtraction of close numbers loses digits (`expm1`, `log1p`), and a maximum taken out keeps every
//   exponential in range (softmax, logsumexp).
// - The maximum and the sum of a row can be kept right in a single pass. That pair is the state of every
//   attention kernel.
// - Cheap elementwise functions are limited by memory, dear ones by arithmetic; a composed function pays for
//   each pass over memory, and fusing removes passes.
// - Functions check and dispatch, kernels loop, methods come by a mixin. Module 03 turns the functions into
//   layers.

// %%
}  // namespace tinytorch
