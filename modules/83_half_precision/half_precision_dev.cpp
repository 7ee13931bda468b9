// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 83: Computing with half precision
//
// Half and BFloat16 (chapter 92) are kept in two bytes, and no kernel of this course is compiled for them. Their operators compute all the same: in float, and the result is rounded once. That is also what PyTorch does on a
// CPU, for most operators to the bit (its `rsqrt` and `log_softmax` of BFloat16 round once more on the way). No exercises.
//
//     a + b                         both Half
//       Autograd                    records a node, as ever
//       InplaceOrView
//       HalfPrecision  <-- here     a, b to float  -->  add's CPU layer  -->  round the result to Half
//       CPU                         never sees a Half
//
// Nothing of this stands in the operators: a tensor of such a type asks for one layer more, and this chapter registers that layer for every operator that reads elements. Views have none and need none, as they read no
// elements. An operator that is not registered here says `not implemented for 'Half'`.

// %%
//| after 06
//| export core/half_precision.h
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>
#include "tinytorch/core/loops.h"
//| export core/half_precision.cpp
#include "tinytorch/core/half_precision.h"
#include <type_traits>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/more_activations.h"

// %%
#include <cmath>
#include <tuple>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/unique.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/loss.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## One wrapper for all operators
//
// Which type has the result? Where all floating-point operands are Half it is Half; with a float beside them it is what promotion says (module 01), and operands of lower rank, plain numbers and 0-d tensors, have no voice
// while another floating-point operand has one. Only a result that came out as float is rounded: a comparison gives Bool and an `argmax` Long, whatever went in.
//
//     Half + Half         Half                    Half (3,) + Float ()     Half
//     Half + BFloat16     Float                   Half ()   + Float (3,)   Float
//     Half == 0.1         Bool; 0.1 is rounded to Half before it is compared, or nothing would ever equal it
//     Half mod 0.7        Half; 0.7 is rounded first, so that what the remainder is less than is a number of Half too

// %%
//| export core/half_precision.h
namespace detail {
// Collects the arguments of a call and says which type its floating-point result shall have.
class ResultType {
 public:
  void see(const Tensor& tensor) {
    if (!tensor.defined() || !tensor.is_floating_point()) return;
    const std::size_t rank = tensor.impl().wrapped_number ? 0 : tensor.dim() == 0 ? 1 : 2;
    types_[rank] = types_[rank] ? promoteTypes(*types_[rank], tensor.scalar_type()) : tensor.scalar_type();
  }
  void see(const std::optional<Tensor>& tensor) {
    if (tensor) see(*tensor);
  }
  void see(TensorList tensors) {
    for (const Tensor& tensor : tensors) see(tensor);
  }
  template <class T>
    requires is_plain_argument<T>
  void see(const T&) {}

  ScalarType type() const {
    for (std::size_t rank = 3; rank-- > 0;)
      if (types_[rank]) return *types_[rank];
    return kFloat;
  }

 private:
  std::optional<ScalarType> types_[3];
};

// The argument with float in place of Half and BFloat16; floating-point tensors are first rounded to `rounded` when one is given.
inline Tensor widened(const Tensor& tensor, std::optional<ScalarType> rounded) {
  if (!tensor.defined() || !tensor.is_floating_point()) return tensor;
  const Tensor exact = rounded && isReducedFloatingType(*rounded) ? to_dtype(tensor, *rounded) : tensor;
  return isReducedFloatingType(exact.scalar_type()) ? to_dtype(exact, kFloat) : exact;
}
inline std::optional<Tensor> widened(const std::optional<Tensor>& tensor, std::optional<ScalarType> rounded) {
  return tensor ? std::optional<Tensor>(widened(*tensor, rounded)) : std::nullopt;
}
inline std::vector<Tensor> widened(TensorList tensors, std::optional<ScalarType> rounded) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) result.push_back(widened(tensor, rounded));
  return result;
}
template <class T>
  requires is_plain_argument<T>
const T& widened(const T& argument, std::optional<ScalarType>) {
  return argument;
}

// A float result rounded to `type`.
inline Tensor narrowed(const Tensor& result, ScalarType type) {
  return result.defined() && result.scalar_type() == kFloat && isReducedFloatingType(type) ? to_dtype(result, type) : result;
}
template <class... T>
std::tuple<T...> narrowed(const std::tuple<T...>& results, ScalarType type) {
  return std::apply([type](const auto&... result) { return std::tuple<T...>(narrowed(result, type)...); }, results);
}

constexpr LayerSet above_cpu = LayerSet(Layer::HalfPrecision) | Layer::InplaceOrView | Layer::Autograd;

template <auto& Op, bool RoundFirst, class Signature>
struct InFloat;

template <auto& Op, bool RoundFirst, class R, class... Args>
struct InFloat<Op, RoundFirst, Operator<R(Args...)>> {
  static R call(Args... args) {
    const ExcludeLayersGuard guard(above_cpu);
    ResultType seen;
    (seen.see(args), ...);
    const std::optional<ScalarType> rounded = RoundFirst ? std::optional(seen.type()) : std::nullopt;
    return narrowed(Op(widened(args, rounded)...), seen.type());
  }
};

// Checked before the operands become float copies.
inline void refuse_overlap(const Tensor& self, const Tensor& argument) {
  if (argument.defined()) check_no_partial_overlap(self, argument);
}
template <class T>
void refuse_overlap(const Tensor&, const T&) {}

// In place: computed on a float copy of self, which is written back rounded.
template <auto& Op, bool RoundFirst, class... Args>
struct InFloat<Op, RoundFirst, Operator<const Tensor&(const Tensor&, Args...)>> {
  static const Tensor& call(const Tensor& self, Args... args) {
    const ExcludeLayersGuard guard(above_cpu);
    if (!isReducedFloatingType(self.scalar_type())) {
      // Refused here, where the operand's dtype still has its name. What is drawn may be written as any dtype.
      ResultType seen;
      (seen.see(args), ...);
      constexpr bool is_drawn = (std::is_same_v<std::remove_cvref_t<Args>, std::optional<Generator>> || ...);
      TORCH_CHECK(is_drawn || self.is_floating_point(), "result type ", seen.type(), " can't be cast to the desired output type ", self.scalar_type());
      return Op(self, widened(args, std::nullopt)...), self;
    }
    check_no_internal_overlap(self);
    (refuse_overlap(self, args), ...);
    const Tensor copy = to_dtype(self, kFloat);
    Op(copy, widened(args, std::nullopt)...);
    copy_into(self, copy);
    return self;
  }
};
}  // namespace detail

// Gives operators a layer for Half and BFloat16 that computes in float. At start-up only.
template <auto&... Ops>
void compute_in_float() {
  (Ops.set(Layer::HalfPrecision, &detail::InFloat<Ops, false, std::remove_cvref_t<decltype(Ops)>>::call), ...);
}
// The same where operands are rounded to their common type first: for comparisons, choices and remainders.
template <auto&... Ops>
void round_and_compute_in_float() {
  (Ops.set(Layer::HalfPrecision, &detail::InFloat<Ops, true, std::remove_cvref_t<decltype(Ops)>>::call), ...);
}

// %%
//| export core/half_precision.cpp
namespace {
// As PyTorch draws them: blocks of 16, each transformed before the next is drawn; a last one that is not full overlaps the block before it.
const Tensor& normal_in_float(const Tensor& self, double mean, double std, std::optional<Generator> generator) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const Tensor whole = to_dtype(self, kFloat);
  const std::int64_t n = self.numel();
  if (n < 16 || !self.is_contiguous() || n % 16 == 0) {
    op::normal_(whole, mean, std, generator);
  } else {
    const Tensor flat = whole.view({n});
    op::normal_(flat.slice(0, 0, n / 16 * 16), mean, std, generator);
    op::normal_(flat.slice(0, n - 16, n), mean, std, generator);
  }
  copy_into(self, whole);
  return self;
}

// Without bounds, as many integers as the dtype holds exactly: 2^11 and 2^8.
const Tensor& random_in_float(const Tensor& self, std::optional<std::int64_t> from, std::optional<std::int64_t> to, std::optional<Generator> generator) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const Tensor whole = to_dtype(self, kFloat);
  op::random_(whole, from.value_or(0), !from && !to ? (self.scalar_type() == kHalf ? 2049 : 257) : to, generator);
  copy_into(self, whole);
  return self;
}

// An operator that takes numbers of self to other places moves their bits: no float copy of a table of which a few rows are asked for.
template <auto& Op, class Signature>
struct ByBits;

template <auto& Op, class... Args>
struct ByBits<Op, Operator<Tensor(const Tensor&, Args...)>> {
  static Tensor call(const Tensor& self, Args... args) {
    const ExcludeLayersGuard guard(detail::above_cpu);
    return isReducedFloatingType(self.scalar_type()) ? Op(self.view(kShort), args...).view(self.scalar_type()) : Op(self, args...);
  }
};

template <auto&... Ops>
void move_by_bits() {
  (Ops.set(Layer::HalfPrecision, &ByBits<Ops, std::remove_cvref_t<decltype(Ops)>>::call), ...);
}
}  // namespace

// %%
//| export core/half_precision.cpp
//| registers
void register_half_precision() {
  compute_in_float<op::add, op::add_, op::sub, op::sub_, op::mul, op::mul_,
                   op::div, op::div_, op::neg, op::pow, op::pow_tensor, op::floor_divide>();
  compute_in_float<op::exp, op::log, op::log1p, op::expm1, op::log2, op::log10, op::sqrt, op::rsqrt,
                   op::reciprocal, op::abs, op::sign, op::sin, op::cos, op::tan, op::atan, op::erf>();
  compute_in_float<op::floor, op::ceil, op::round, op::trunc, op::clamp, op::lerp, op::addcmul, op::addcdiv, op::lerp_, op::addcmul_, op::addcdiv_>();
  round_and_compute_in_float<op::eq, op::ne, op::lt, op::le, op::gt, op::ge, op::maximum, op::minimum, op::where, op::remainder>();
  compute_in_float<op::logical_not, op::logical_and, op::logical_or, op::logical_xor, op::isnan, op::isinf, op::isfinite>();
  compute_in_float<op::sum, op::amax, op::amin, op::max, op::min, op::argmax, op::argmin, op::prod,
                   op::any, op::all, op::var, op::std, op::norm, op::cumsum, op::sort, op::topk>();
  compute_in_float<op::mm, op::bmm, op::addmm, op::tril, op::triu>();
  move_by_bits<op::index, op::index_select, op::gather>();
  compute_in_float<op::index_put_, op::index_add_, op::scatter_, op::scatter_add_, op::nonzero>();
  compute_in_float<op::relu, op::relu_, op::leaky_relu, op::elu, op::gelu,
                   op::sigmoid, op::tanh, op::silu, op::softplus, op::softmax, op::log_softmax>();
  compute_in_float<op::hardsigmoid, op::hardswish, op::glu, op::hardtanh, op::threshold, op::hardshrink, op::softshrink, op::mish, op::log_sigmoid, op::prelu>();
  compute_in_float<op::nll_loss, op::nll_loss2d, op::cross_entropy, op::binary_cross_entropy, op::binary_cross_entropy_with_logits>();
  compute_in_float<op::uniform_, op::bernoulli_, op::bernoulli_tensor_, op::exponential_, op::cauchy_, op::log_normal_, op::geometric_, op::poisson>();
  op::normal_.set(Layer::HalfPrecision, normal_in_float);
  op::random_.set(Layer::HalfPrecision, random_in_float);
  detail::asks_for_gradients = [](const Tensor& self) { return self.requires_grad(); };
}

// %%
//| lesson
Tensor left(ScalarType type) { return tensor({0.1, -2.5, 3.75, 1000.0, 0.0001}, kDouble).to(type); }
Tensor right(ScalarType type) { return tensor({3.0, 0.7, -1.1, 0.003, 12.0}, kDouble).to(type); }
// The tensor's numbers, exactly; its dtype is checked on the way.
Tensor exactly(const Tensor& result, ScalarType type) {
  CHECK_EQ(result.scalar_type(), type);
  return result.to(kDouble);
}

// %%
TEST_CASE("Half: PyTorch's numbers, recorded") {
  const Tensor a = left(kHalf);
  const Tensor b = right(kHalf);
  CHECK_EQ(exactly(a + b, kHalf), tensor({3.099609375, -1.7998046875, 2.650390625, 1000.0, 12.0}, kDouble));
  CHECK_EQ(exactly(a * b, kHalf), tensor({0.2998046875, -1.75, -4.125, 3.0, 0.0011997222900390625}, kDouble));
  CHECK_EQ(exactly(a / b, kHalf).slice(0, 0, 3), tensor({0.0333251953125, -3.5703125, -3.41015625}, kDouble));
  CHECK(std::isinf((a / b)[3].item<double>()));
  CHECK_EQ(exactly(a + 0.1, kHalf), tensor({0.199951171875, -2.400390625, 3.849609375, 1000.0, 0.10009765625}, kDouble));
  CHECK_EQ(exactly(exp(-a.abs()), kHalf), tensor({0.90478515625, 0.08209228515625, 0.0235137939453125, 0.0, 1.0}, kDouble));
  CHECK_EQ(exactly(a.sum(), kHalf).item<double>(), 1001.5);
  CHECK_EQ(exactly(softmax(b, 0), kHalf), tensor({0.0001233816146850586, 1.239776611328125e-05, 2.0265579223632812e-06, 6.139278411865234e-06, 1.0}, kDouble));
  CHECK_EQ(exactly(a.view({1, 5}).mm(b.view({5, 1})), kHalf).item<double>(), -2.572265625);
  CHECK_EQ(exactly(b.cumsum(0), kHalf), tensor({3.0, 3.69921875, 2.6015625, 2.603515625, 14.6015625}, kDouble));
  CHECK_EQ(exactly(b.std(), kHalf).item<double>(), 5.29296875);
  CHECK_EQ(exactly(b.norm(), kHalf).item<double>(), 12.4375);
  CHECK_EQ(exactly(remainder(a, 0.7), kHalf), tensor({0.0999755859375, 0.30078125, 0.2490234375, 0.12109375, 0.00010001659393310547}, kDouble));
  CHECK(allclose(a, a + 1e-4, 0.0, 0.01));
  CHECK(!allclose(a, b));
  CHECK_EQ(a < 0.1, tensor({false, true, false, false, true}));
  CHECK_EQ(a == 0.1, tensor({true, false, false, false, false}));
  CHECK_EQ(exactly(addcmul(a, a, b, 0.5), kHalf), tensor({0.25, -3.375, 1.6884765625, 1001.5, 0.0006999969482421875}, kDouble));
  CHECK_EQ(exactly(where(a > 0, a, b), kHalf), tensor({0.0999755859375, 0.7001953125, 3.75, 1000.0, 0.00010001659393310547}, kDouble));
  CHECK_EQ(exactly(nn::functional::linear(a.view({1, 5}), b.view({1, 5}), tensor({0.5}, kHalf)), kHalf).item<double>(), -2.072265625);
  CHECK_EQ(a.argmax().item<int>(), 3);
  CHECK_EQ(exactly(std::get<0>(a.sort()), kHalf)[0].item<double>(), -2.5);
}

TEST_CASE("BFloat16: PyTorch's numbers, recorded") {
  const Tensor a = left(kBFloat16);
  const Tensor b = right(kBFloat16);
  CHECK_EQ(exactly(a + b, kBFloat16), tensor({3.09375, -1.796875, 2.65625, 1000.0, 12.0}, kDouble));
  CHECK_EQ(exactly(a / b, kBFloat16), tensor({0.033447265625, -3.578125, -3.40625, 331776.0, 8.344650268554688e-06}, kDouble));
  CHECK_EQ(exactly(a - 1e-3, kBFloat16), tensor({0.09912109375, -2.5, 3.75, 1000.0, -0.0009002685546875}, kDouble));
  CHECK_EQ(exactly(a.sum(), kBFloat16).item<double>(), 1000.0);
  CHECK_EQ(exactly(gelu(b), kBFloat16), tensor({3.0, 0.53125, -0.1494140625, 0.00150299072265625, 12.0}, kDouble));
  CHECK_EQ(exactly(log_softmax(b, 0).slice(0, 0, 4), kBFloat16), tensor({-9.0, -11.3125, -13.125, -12.0}, kDouble));
  CHECK_CLOSE(b.abs().rsqrt(), tensor({0.578125, 1.1953125, 0.95703125, 18.25, 0.2890625}).to(kBFloat16), 0.008, 0);  // PyTorch rounds the root as well
  CHECK_EQ(a == 0.1, tensor({true, false, false, false, false}));
  CHECK_EQ(exactly(b.prod(), kBFloat16).item<double>(), -0.08349609375);
}

TEST_CASE("half precision: what is made in it, and means that are rounded once") {
  CHECK_EQ(exactly(arange(0, 2, 0.3, kHalf), kHalf), tensor({0.0, 0.300048828125, 0.60009765625, 0.89990234375, 1.2001953125, 1.5, 1.7998046875}, kDouble));
  CHECK_EQ(arange(3, kBFloat16), tensor({0.0, 1.0, 2.0}, kBFloat16));
  CHECK_EQ(exactly(linspace(0, 1, 4, kHalf), kHalf), tensor({0.0, 0.333251953125, 0.66650390625, 1.0}, kDouble));
  CHECK_EQ(exactly(linspace(-0.3, 0.7, 5, kBFloat16), kBFloat16), tensor({-0.30078125, -0.05078125, 0.19921875, 0.44921875, 0.69921875}, kDouble));
  CHECK_EQ(std::get<0>(unique_dim(tensor({{1.0, 2.0}, {1.0, 2.0}, {0.0, 1.0}}, kHalf), 0)), tensor({{0.0, 1.0}, {1.0, 2.0}}, kHalf));
  manual_seed(1);
  CHECK_EQ(randperm(5, kHalf), tensor({0.0, 4.0, 2.0, 3.0, 1.0}, kHalf));
  CHECK_ERROR(randperm(3000, kHalf), "n cannot be greater than 2049 for Half type.");
  CHECK_ERROR(linspace(0, 1e6, 4, kHalf), "value cannot be converted to type c10::Half without overflow");
  // The sum is 6137; the half numbers beside it are 6136 and 6140, and a third of 6136 would round to 2045.
  CHECK_EQ(exactly(tensor({2047.0, 2047.0, 2043.0}, kHalf).mean(), kHalf).item<double>(), 2046.0);
}

TEST_CASE("half precision: conversion, promotion and writing in place") {
  const Tensor h = tensor({1.0, 2.0, 3.0}, kHalf);
  CHECK_EQ((h + tensor({1.0, 2.0, 3.0}, kBFloat16)).scalar_type(), kFloat);
  CHECK_EQ((h + tensor(1.5)).scalar_type(), kHalf);
  CHECK_EQ((h + tensor({1.5})).scalar_type(), kFloat);
  CHECK_EQ((h + arange(3)).scalar_type(), kHalf);
  CHECK_EQ((tensor(1.0, kHalf) + tensor({1.5})).scalar_type(), kFloat);
  CHECK_EQ((tensor(1.0, kHalf) + tensor(1.5)).scalar_type(), kFloat);
  CHECK_EQ((2.5 * h).scalar_type(), kHalf);
  CHECK_EQ(exactly(tensor({70000.0, 1e-8, -65520.0}).to(kHalf), kHalf), tensor({double{INFINITY}, 0.0, -double{INFINITY}}, kDouble));
  CHECK_EQ(tensor({300.7, -3.9}).to(kHalf).to(kLong), tensor({300, -3}));
  CHECK_EQ(tensor({16777217}).to(kBFloat16).item<double>(), 16777216.0);
  Tensor c = h.clone();
  c += 0.1;
  c *= h;
  c.div_(3);
  CHECK_EQ(exactly(c, kHalf), tensor({0.366455078125, 1.3994140625, 3.099609375}, kDouble));
  c.index_put_({0}, 7);
  CHECK_EQ(c.select(0, 0).item<float>(), 7.0F);
  CHECK_EQ(exactly(cat({h, h}), kHalf).sum().item<double>(), 12.0);
  CHECK_EQ(exactly(h.index({tensor({2, 0})}), kHalf), tensor({3.0, 1.0}, kDouble));
  CHECK_EQ(exactly(h.view({3, 1}).expand({3, 2}).sum({1}), kHalf), tensor({2.0, 4.0, 6.0}, kDouble));
  CHECK_ERROR(h.view({3, 1}).expand({3, 2}).add_(1), "more than one element of the written-to tensor");
  CHECK_ERROR(tensor({1, 2}).mul_(h[0]), "result type Half can't be cast to the desired output type Long");
  CHECK_ERROR(tensor({true}).add_(tensor({1.0}, kBFloat16)), "result type BFloat16 can't be cast to the desired output type Bool");
  CHECK_EQ(tensor({0, 1}).bernoulli_(ones({2}, kHalf)), tensor({1, 1}));
  CHECK_ERROR(full({2}, 1e6, kHalf), "value cannot be converted to type c10::Half without overflow");
  CHECK_ERROR(ones({2, 2}).mm(ones({2, 2}, kHalf)), "expected m1 and m2 to have the same dtype, but got: float != c10::Half");
}

TEST_CASE("half precision: random numbers are PyTorch's, recorded") {
  const auto drawn = [](ScalarType type, const Tensor& (*draw)(const Tensor&), std::int64_t count) {
    manual_seed(1);
    return exactly(draw(empty({count}, type)), type);
  };
  const auto normals = [](const Tensor& x) -> const Tensor& { return normal_(x); };
  const auto integers = [](const Tensor& x) -> const Tensor& { return random_(x); };
  CHECK_EQ(drawn(kHalf, [](const Tensor& x) -> const Tensor& { return uniform_(x, -3, 5); }, 4), tensor({3.060546875, -0.765625, 0.224609375, 2.876953125}, kDouble));
  CHECK_EQ(drawn(kHalf, integers, 4), tensor({1426.0, 1016.0, 1416.0, 128.0}, kDouble));
  CHECK_EQ(drawn(kBFloat16, integers, 4), tensor({137.0, 180.0, 12.0, 2.0}, kDouble));
  CHECK_EQ(drawn(kHalf, normals, 3), tensor({0.6611328125, 0.266845703125, 0.061676025390625}, kDouble));
  CHECK_EQ(drawn(kHalf, normals, 18), tensor({-1.525390625, -0.75, -0.69677734375, -1.1611328125, 0.69970703125, 0.1990966796875, 0.86572265625, 0.244384765625, -0.6630859375, 0.80712890625, 1.1015625, -0.1759033203125, -2.24609375, -1.4462890625, 0.0611572265625, -0.61767578125, -0.7978515625, -0.131591796875}, kDouble));
}

TEST_CASE("half precision: numbers that are taken to other places keep their bits") {
  for (const ScalarType type : {kHalf, kBFloat16}) {
    // All patterns of 16 bits, among them every NaN, which float and back would change.
    const Tensor bits = arange(1 << 16).to(kShort).view({256, 256}), x = bits.view(type);
    const Tensor rows = tensor({200, 3, 127}), columns = rows.view({1, 3}).expand({256, 3}).contiguous();
    CHECK_EQ(x.index_select(0, rows).scalar_type(), type);
    CHECK_EQ(x.index_select(0, rows).view(kShort), bits.index_select(0, rows));
    CHECK_EQ(x.index({rows}).view(kShort), bits.index({rows}));
    CHECK_EQ(x.gather(1, columns).view(kShort), bits.gather(1, columns));
    CHECK_EQ(cat({x, x.t()}, 1).view(kShort), cat({bits, bits.t()}, 1));
    CHECK_EQ(cat({x.slice(0, 0, 2), ones({2, 256})}).scalar_type(), kFloat);
  }
}

TEST_CASE("half precision: gradients pass through, in the tensor's own type") {
  const Tensor w = tensor({0.1, 0.2}, dtype(kHalf).requires_grad(true));
  (w * 3).exp().sum().backward();
  CHECK_EQ(exactly(w.grad(), kHalf), tensor({4.046875, 5.46484375}, kDouble));
  const Tensor x = tensor({1.0, 2.0}, requires_grad());
  (x.to(kBFloat16) * 3).sum().backward();
  CHECK_EQ(x.grad(), tensor({3.0, 3.0}));
  CHECK_ERROR(x.resize_({3}), "cannot resize variables that require grad");
  CHECK_EQ(x.detach().clone().slice(0, 0, 1).resize_({2}).sizes(), IntArrayRef({2}));
}

// %%
}  // namespace tinytorch
