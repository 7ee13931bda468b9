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
// # Library chapter 77: Elementwise kernels in vectors
//
// Most operators of a network are no matrix products. They read a tensor, compute something for each element, and write a tensor: `add`, `relu`, `gelu`, their gradients, `softmax` along a row. Each is cheap, there are many of them, and in the reference
// version an `exp` is a call into the C library for one number at a time. This chapter puts a tuned version of them beside the reference (module 16 has shown how, and why the reference stays). No exercises.
//
//     x  ....................................  4 million floats
//        [ 16 floats ][ 16 floats ][ ...        one instruction each        (AVX-512; AVX2 8, SSE2 and NEON 4)
//        |--- thread 0 ---|--- thread 1 ---|    ranges of fixed size, so the result does not depend on how many threads there are
//     y  ....................................   past the caches, if y is larger than they are
//
// Four parts: functions for a vector of numbers (`exp`, `log`, `tanh`, ...), each with its error measured against an exact answer; loops over an array; loops over tensors of any strides, with threads; and the operators. Reductions, normalizations, copies and optimizers
// follow in chapter 76.
//
// How production does it: PyTorch compiles `aten/src/ATen/native/cpu/*.cpp` once for each capability with its own vector class (`aten/src/ATen/cpu/vec/`), whose functions come from SLEEF; oneDNN generates the instructions when the program runs (JIT, `src/cpu/x64/injectors`);
// XLA and Triton's CPU backend let LLVM vectorize and bring polynomials of their own. The loops over strided tensors are TensorIterator (`aten/src/ATen/TensorIterator.cpp`, `native/cpu/Loops.h`).

// %%
//| after 16
//| export kernels/vector_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/vector.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include "tinytorch/kernels/vector_kernels.h"
//| export kernels/elementwise.h
#include "tinytorch/core/loops.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/vector_kernels.h"
//| export kernels/elementwise.cpp
#include "tinytorch/core/system_info.h"
#include "tinytorch/kernels/capability.h"
//| export kernels/pointwise.cpp
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/nn/activations.h"
//| export kernels/softmax.cpp
#include <cmath>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"

// %%
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <iostream>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The table
//
// What is compiled for a capability is a table of functions over plain arrays; it knows no tensor. An operand that does not move (`x_moves` false) is one number for the whole run: that is what broadcasting looks like from inside a loop.

// %%
//| export kernels/vector_kernels.h
namespace kernels {

// y = f(x). A parameter is LeakyRelu's slope or Elu's alpha.
enum class Unary : int { Neg, Abs, Square, Sqrt, Rsqrt, Reciprocal, Relu, LeakyRelu, Elu, Exp, Log, Tanh, Sigmoid, Silu, GeluTanh, Erf, Gelu };
inline constexpr int kUnaryCount = 17;

// z = f(x, y). Add is x + parameter * y. The gradients take what arrives as x, and the result (of relu, sigmoid and tanh) or the input (of the others) as y.
enum class Binary : int { Add, Mul, Div, Max, Min, ReluBackward, SigmoidBackward, TanhBackward, SiluBackward, GeluTanhBackward, GeluBackward };
inline constexpr int kBinaryCount = 11;

enum class Compare : int { Eq, Ne, Lt, Le, Gt, Ge };
inline constexpr int kCompareCount = 6;

// Loops over arrays of `n` numbers. Results may be written over an input that moves. `stream` writes past the caches. A null pointer: not for this T (erf and gelu of double).
template <class T>
struct VectorKernels {
  using UnaryRun = void (*)(const T* x, T* y, std::int64_t n, T parameter, bool stream);
  using BinaryRun = void (*)(const T* x, bool x_moves, const T* y, bool y_moves, T* z, std::int64_t n, T parameter, bool stream);
  using CompareRun = void (*)(const T* x, bool x_moves, const T* y, bool y_moves, bool* z, std::int64_t n);
  using Rows = void (*)(const T* g, const T* y, T* out, std::int64_t rows, std::int64_t n);

  UnaryRun unary[kUnaryCount];
  BinaryRun binary[kBinaryCount];
  CompareRun compare[kCompareCount];
  void (*where)(const bool* condition, const T* x, bool x_moves, const T* y, bool y_moves, T* z, std::int64_t n);

  // For `rows` rows of `n` numbers, one behind the other.
  void (*softmax)(const T* x, T* y, std::int64_t rows, std::int64_t n);
  void (*log_softmax)(const T* x, T* y, std::int64_t rows, std::int64_t n);
  Rows softmax_backward;      // out = y (g - sum g y)
  Rows log_softmax_backward;  // out = g - exp(y) sum g
  // The maximum of a row and the sum of exp(x - maximum).
  void (*exp_sum)(const T* x, std::int64_t n, T* maximum, double* sum);
  // out = scale * softmax(x), for one row.
  void (*scaled_softmax)(const T* x, T* out, std::int64_t n, T scale);
  // softmax, or log_softmax, along a dimension that is not the last: element j of column i is x[j * stride + i]. `width` columns of `n` numbers.
  void (*softmax_columns)(const T* x, T* y, std::int64_t n, std::int64_t stride, std::int64_t width, bool logarithm);
};

TINYTORCH_DECLARE_PER_CAPABILITY(VectorKernels<float>, vector_kernels_float)
TINYTORCH_DECLARE_PER_CAPABILITY(VectorKernels<double>, vector_kernels_double)

}  // namespace kernels

// %% [markdown]
// ## Functions of a vector
//
// A library computes `exp(x)` in three steps, and a vector can do the same if no step asks a question that has different answers in different lanes:
//
//     exp(x)      x = n ln 2 + r, |r| <= ln 2 / 2       e^r by a polynomial            times 2^n: n is added to the exponent bits
//     log(x)      x = 2^k m, sqrt(1/2) <= m < sqrt(2)   log(1 + f) by a polynomial     plus k ln 2
//     tanh, sigmoid, gelu                               from exp, so arranged that nothing overflows and no digits cancel
//
// Where a scalar function would branch, a vector computes both sides and selects. Three details decide whether the last digit is right:
//
// - **n ln 2 is subtracted in two pieces**, the first with so few bits that its product with n is exact (Cody and Waite 1980). What is lost when the second is subtracted is added behind the polynomial.
// - **n comes without a conversion**: adding 1.5 * 2^23 pushes everything behind the point out of a float; the lowest bits of the sum *are* n.
// - **2^n is multiplied in two halves**, since results near the smallest float have a 2^n that is not a float any more.
//
// The polynomials are near-minimax: they were fitted (by `make_polynomials.py` beside this file) so that the largest relative error over the interval is as small as possible, with coefficients that are floats. A Taylor series of the same length is exact at 0 and worst
// at the ends. For double the series of `exp` is Taylor's, with 13 terms.

// %%
//| export kernels/vector.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using hn::Vec;

template <class D>
HWY_INLINE Vec<D> constant(D d, double value) {
  return hn::Set(d, static_cast<hn::TFromD<D>>(value));
}

// c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule.
template <class D, std::size_t N>
HWY_INLINE Vec<D> polynomial(D d, Vec<D> x, const double (&c)[N]) {
  Vec<D> sum = constant(d, c[N - 1]);
  for (std::size_t i = N - 1; i-- > 0;) sum = hn::MulAdd(sum, x, constant(d, c[i]));
  return sum;
}

template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int mantissa = 23, bias = 127;
  static constexpr double magic = 0x1.8p23, ln2_high = 0x1.62e4p-1, ln2_low = 1.428606820309417e-06;
  static constexpr double lowest_exponent = -104, highest_exponent = 89;  // e^x is 0 below, infinite above
  static constexpr double smallest_normal = 0x1p-126, to_normal = 0x1p23;
  static constexpr std::int32_t sqrt_half = 0x3f3504f3;  // its bits
};
template <>
struct Format<double> {
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double magic = 0x1.8p52, ln2_high = 0x1.62e42feep-1, ln2_low = 1.9082149292705877e-10;
  static constexpr double lowest_exponent = -746, highest_exponent = 710;
  static constexpr double smallest_normal = 0x1p-1022, to_normal = 0x1p52;
  static constexpr std::int64_t sqrt_half = 0x3fe6a09e667f3bcd;
};

// (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2. Float: relative error of e^r 2^-33.
constexpr double exp_float[] = {0.5, 0.166666657, 0.0416664556, 0.00833356846, 0.00139359338, 0.000197435074};
constexpr double exp_double[] = {1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,        1.0 / 5040,       1.0 / 40320,
                                 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800, 1.0 / 87178291200};

// e^(x + low) = (1 + minus_one) * 2^n, where |low| is small against 1. REQUIRES: e^x is neither 0 nor infinite by far.
template <class D>
struct ExpParts {
  Vec<D> minus_one;
  Vec<hn::RebindToSigned<D>> n;
};

template <class D>
HWY_INLINE ExpParts<D> exp_parts(D d, Vec<D> x, Vec<D> low) {
  using T = hn::TFromD<D>;
  using F = Format<T>;
  const hn::RebindToSigned<D> di;
  const Vec<D> magic = constant(d, F::magic);
  const Vec<D> shifted = hn::MulAdd(x, constant(d, 1.4426950408889634), magic);
  const Vec<D> n = hn::Sub(shifted, magic);
  const Vec<D> first = hn::NegMulAdd(n, constant(d, F::ln2_high), x);
  const Vec<D> second = hn::NegMulAdd(n, constant(d, F::ln2_low), low);
  const Vec<D> r = hn::Add(first, second);
  const Vec<D> lost = hn::Sub(second, hn::Sub(r, first));
  Vec<D> q;
  if constexpr (sizeof(T) == 4) {
    q = polynomial(d, r, exp_float);
  } else {
    q = polynomial(d, r, exp_double);
  }
  return {hn::Add(r, hn::MulAdd(hn::Mul(r, r), q, lost)), hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, magic))};
}

// 2^n for -bias < n <= bias.
template <class D, class I>
HWY_INLINE Vec<D> power_of_two(D d, I n) {
  using F = Format<hn::TFromD<D>>;
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<F::mantissa>(hn::Add(n, hn::Set(di, F::bias))));
}

// x * 2^n, rounded once if that is subnormal.
template <class D, class I>
HWY_INLINE Vec<D> times_power_of_two(D d, Vec<D> x, I n) {
  const auto half = hn::ShiftRight<1>(n);
  return hn::Mul(hn::Mul(x, power_of_two(d, half)), power_of_two(d, hn::Sub(n, half)));
}

template <class D>
HWY_INLINE Vec<D> within(D d, Vec<D> x, double lowest, double highest) {
  return hn::Min(hn::Max(x, constant(d, lowest)), constant(d, highest));
}

template <class D>
HWY_INLINE Vec<D> exp_of(D d, Vec<D> x) {
  using F = Format<hn::TFromD<D>>;
  const ExpParts<D> parts = exp_parts(d, within(d, x, F::lowest_exponent, F::highest_exponent), hn::Zero(d));
  return hn::IfThenElse(hn::IsNaN(x), x, times_power_of_two(d, hn::Add(constant(d, 1), parts.minus_one), parts.n));
}

// e^x for x <= 0, 0 where that would be subnormal: what sums of exponentials and 1 + e^x need. NaN stays NaN.
template <class D>
HWY_INLINE Vec<D> exp_not_above_zero(D d, Vec<D> x) {
  const Vec<D> inside = hn::Max(x, constant(d, sizeof(hn::TFromD<D>) == 4 ? -87.33 : -708.39));
  const ExpParts<D> parts = exp_parts(d, inside, hn::Zero(d));
  const Vec<D> scale = power_of_two(d, parts.n);
  const Vec<D> result = hn::MulAdd(scale, parts.minus_one, scale);
  return hn::IfThenElse(hn::Ge(x, inside), result, hn::IfThenElse(hn::IsNaN(x), x, hn::Zero(d)));
}

// e^x and e^x - 1 for x <= 0, and what lies below -60 as if it were there.
template <class D>
struct ExpAndMinusOne {
  Vec<D> exp, minus_one;
};
template <class D>
HWY_INLINE ExpAndMinusOne<D> exp_and_minus_one(D d, Vec<D> x) {
  const ExpParts<D> parts = exp_parts(d, hn::Max(x, constant(d, -60)), hn::Zero(d));
  const Vec<D> scale = power_of_two(d, parts.n);
  return {hn::MulAdd(scale, parts.minus_one, scale), hn::MulAdd(scale, parts.minus_one, hn::Sub(scale, constant(d, 1)))};
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// `log` splits its argument by arithmetic on the bits: subtracting those of `sqrt(1/2)` leaves in the exponent field how many times to halve. A subnormal argument is first multiplied by 2^23 (2^52).

// %%
//| export kernels/vector.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

// Float: log(1 + f) = f - f^2 / 2 + f^3 P(f), relative error 2^-30. Double: 2 atanh(s) = 2 s + s^3 R(s^2), s = f / (2 + f), relative error 2^-66.
constexpr double log_float[] = {0.333333135, -0.250000089, 0.200020716, -0.166679934, 0.142203629, -0.124061286, 0.118834004, -0.116707236, 0.0675037876};
constexpr double log_double[] = {0x1.5555555555555p-1, 0x1.9999999999d95p-2, 0x1.24924924319f6p-2, 0x1.c71c7252eaec9p-3,
                                 0x1.745cdfcc468acp-3, 0x1.3b20701ce2b65p-3, 0x1.0f6157c991d61p-3, 0x1.0f3e866f4debbp-3};

template <class D>
HWY_INLINE Vec<D> log_of(D d, Vec<D> x) {
  using T = hn::TFromD<D>;
  using F = Format<T>;
  const hn::RebindToSigned<D> di;
  const auto subnormal = hn::Lt(x, constant(d, F::smallest_normal));
  const auto bits = hn::BitCast(di, hn::IfThenElse(subnormal, hn::Mul(x, constant(d, F::to_normal)), x));
  const auto k = hn::ShiftRight<F::mantissa>(hn::Sub(bits, hn::Set(di, F::sqrt_half)));
  const Vec<D> m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<F::mantissa>(k)));
  const Vec<D> e = hn::Sub(hn::ConvertTo(d, k), hn::IfThenElseZero(subnormal, constant(d, F::mantissa)));
  const Vec<D> f = hn::Sub(m, constant(d, 1));
  const Vec<D> square = hn::Mul(f, f);
  const Vec<D> half_square = hn::Mul(square, constant(d, 0.5));
  Vec<D> result;
  if constexpr (sizeof(T) == 4) {
    const Vec<D> rest = hn::Mul(hn::Mul(square, f), polynomial(d, f, log_float));
    const Vec<D> small = hn::Sub(hn::MulAdd(e, constant(d, F::ln2_low), rest), half_square);
    result = hn::MulAdd(e, constant(d, F::ln2_high), hn::Add(f, small));
  } else {
    const Vec<D> s = hn::Div(f, hn::Add(f, constant(d, 2)));
    const Vec<D> z = hn::Mul(s, s);
    const Vec<D> rest = hn::Mul(z, polynomial(d, z, log_double));
    const Vec<D> small = hn::MulAdd(s, hn::Add(half_square, rest), hn::Mul(e, constant(d, F::ln2_low)));
    result = hn::Sub(hn::Mul(e, constant(d, F::ln2_high)), hn::Sub(hn::Sub(half_square, small), f));
  }
  const Vec<D> infinity = hn::Inf(d);
  result = hn::IfThenElse(hn::Eq(x, infinity), infinity, result);
  result = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), result);
  return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), result, hn::NaN(d));
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// **From exp.** Near 0 `tanh(x) = -t / (2 + t)` with `t = e^(-2x) - 1`, which keeps every digit of a small x; further out `1 - 2e / (1 + e)`, where an error of `e` hardly counts. `sigmoid` goes through `e^-|x|`: it cannot overflow, and for negative x the result `e / (1 + e)`
// keeps its digits down to the smallest float. `silu(x) = x sigmoid(x)` and the approximated `gelu(x) = x sigmoid(2u)` multiply by x *before* 2^n, or the product would be made of a subnormal number that has lost its digits.
//
// For gelu's `u = sqrt(2 / pi) (x + 0.044715 x^3)` one float is not enough: at x = -10 the exponent `2u` is about -87, and half a unit of its last digit changes `e^2u` by 32 units of its own. So `2u` is kept as a sum of two floats; the rounding error of a product is known exactly, by
// a fused multiply-add, or by Dekker's splitting (1971) where there is none.

// %%
//| export kernels/vector.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

template <class D>
HWY_INLINE Vec<D> tanh_of(D d, Vec<D> x) {
  const Vec<D> a = hn::Abs(x);
  const ExpAndMinusOne<D> e = exp_and_minus_one(d, hn::Mul(a, constant(d, -2)));
  const auto near = hn::Lt(a, constant(d, 0.6));
  const Vec<D> twice = hn::Add(e.exp, e.exp);
  const Vec<D> quotient = hn::Div(hn::IfThenElse(near, hn::Neg(e.minus_one), twice), hn::Add(e.minus_one, constant(d, 2)));
  const Vec<D> result = hn::IfThenElse(near, quotient, hn::Sub(constant(d, 1), quotient));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::CopySign(result, x));
}

// factor / (1 + e^-(x + low)).
template <class D>
HWY_INLINE Vec<D> times_sigmoid(D d, Vec<D> x, Vec<D> low, Vec<D> factor) {
  const hn::RebindToSigned<D> di;
  const auto negative = hn::Lt(x, hn::Zero(d));
  const Vec<D> exponent = hn::Max(hn::Neg(hn::Abs(x)), constant(d, Format<hn::TFromD<D>>::lowest_exponent));
  const ExpParts<D> parts = exp_parts(d, exponent, hn::IfThenElse(negative, low, hn::Neg(low)));
  const Vec<D> m = hn::Add(constant(d, 1), parts.minus_one);
  const Vec<D> below = hn::Add(constant(d, 1), times_power_of_two(d, m, parts.n));
  const Vec<D> quotient = hn::Div(hn::IfThenElse(negative, hn::Mul(factor, m), factor), below);
  const auto n = hn::IfThenElseZero(hn::RebindMask(di, negative), parts.n);
  return hn::IfThenElse(hn::IsNaN(x), x, times_power_of_two(d, quotient, n));
}

template <class D>
HWY_INLINE Vec<D> sigmoid_of(D d, Vec<D> x) {
  return times_sigmoid(d, x, hn::Zero(d), constant(d, 1));
}

// What the formulas x * sigmoid(...) give for -infinity, as the reference and PyTorch do: -infinity * 0.
template <class D>
HWY_INLINE Vec<D> nan_at_minus_infinity(D d, Vec<D> x, Vec<D> result) {
  return hn::IfThenElse(hn::Eq(x, hn::Neg(hn::Inf(d))), hn::NaN(d), result);
}

// Numbers so far below 0 that x * f(x) is 0: their product must not become large again.
template <class D>
HWY_INLINE Vec<D> not_far_below(D d, Vec<D> x, double limit) {
  return hn::IfThenElse(hn::Lt(x, constant(d, limit)), constant(d, limit), x);
}

template <class D>
HWY_INLINE Vec<D> silu_of(D d, Vec<D> x) {
  const Vec<D> inside = not_far_below(d, x, sizeof(hn::TFromD<D>) == 4 ? -120 : -760);
  return nan_at_minus_infinity(d, x, times_sigmoid(d, inside, hn::Zero(d), inside));
}

// The rounding error of the product p = a * b, exactly.
template <class D>
HWY_INLINE Vec<D> product_error([[maybe_unused]] D d, Vec<D> a, Vec<D> b, Vec<D> p) {
#if HWY_NATIVE_FMA
  return hn::MulSub(a, b, p);
#else
  const Vec<D> split = constant(d, sizeof(hn::TFromD<D>) == 4 ? 4097.0 : 134217729.0);  // gives halves whose products are exact
  const Vec<D> ta = hn::Mul(a, split), tb = hn::Mul(b, split);
  const Vec<D> ah = hn::Sub(ta, hn::Sub(ta, a)), bh = hn::Sub(tb, hn::Sub(tb, b));
  const Vec<D> al = hn::Sub(a, ah), bl = hn::Sub(b, bh);
  return hn::Add(hn::Add(hn::Add(hn::Sub(hn::Mul(ah, bh), p), hn::Mul(ah, bl)), hn::Mul(al, bh)), hn::Mul(al, bl));
#endif
}

template <class D>
struct TwoParts {
  Vec<D> high, low;
};

constexpr double gelu_c1 = 1.59576912160573071176;  // 2 sqrt(2 / pi)
constexpr double gelu_c2 = 0.07135481627159999;     // 0.044715 of that

// 2 sqrt(2 / pi) (x + 0.044715 x^3) = x (c1 + c2 x^2).
template <class D>
HWY_INLINE TwoParts<D> gelu_tanh_argument(D d, Vec<D> x) {
  using T = hn::TFromD<D>;
  constexpr double c1_low = gelu_c1 - static_cast<double>(static_cast<T>(gelu_c1));
  constexpr double c2_low = gelu_c2 - static_cast<double>(static_cast<T>(gelu_c2));
  const Vec<D> c1 = constant(d, gelu_c1), c2 = constant(d, gelu_c2);
  const Vec<D> square = hn::Mul(x, x);
  const Vec<D> square_low = product_error(d, x, x, square);
  const Vec<D> p = hn::Mul(square, c2);
  const Vec<D> p_low = hn::Add(product_error(d, square, c2, p), hn::MulAdd(square, constant(d, c2_low), hn::Mul(square_low, c2)));
  const Vec<D> v = hn::Add(c1, p);  // and what this sum loses (Knuth):
  const Vec<D> moved = hn::Sub(v, c1);
  const Vec<D> lost = hn::Add(hn::Sub(c1, hn::Sub(v, moved)), hn::Sub(p, moved));
  const Vec<D> v_low = hn::Add(lost, hn::Add(p_low, constant(d, c1_low)));
  const Vec<D> high = hn::Mul(x, v);
  return {high, hn::MulAdd(x, v_low, product_error(d, x, v, high))};
}

template <class D>
HWY_INLINE Vec<D> gelu_tanh_of(D d, Vec<D> x) {
  const Vec<D> inside = not_far_below(d, x, -30);
  const TwoParts<D> twice = gelu_tanh_argument(d, hn::Min(inside, constant(d, 30)));
  return nan_at_minus_infinity(d, x, hn::IfThenElse(hn::IsNaN(x), x, times_sigmoid(d, twice.high, twice.low, inside)));
}

template <class D>
HWY_INLINE Vec<D> silu_slope(D d, Vec<D> x) {
  const Vec<D> one = constant(d, 1);
  const Vec<D> s = sigmoid_of(d, x);
  return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
}

template <class D>
HWY_INLINE Vec<D> gelu_tanh_slope(D d, Vec<D> x) {
  const Vec<D> one = constant(d, 1);
  const Vec<D> inside = within(d, x, -30, 30);
  const Vec<D> square = hn::Mul(inside, inside);
  const Vec<D> s = sigmoid_of(d, hn::Mul(inside, hn::MulAdd(square, constant(d, gelu_c2), constant(d, gelu_c1))));
  const Vec<D> rise = hn::Mul(inside, hn::MulAdd(square, constant(d, 3 * gelu_c2), constant(d, gelu_c1)));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(s, hn::MulAdd(rise, hn::Sub(one, s), one)));
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// **erf and gelu.** The exact gelu is `x P(Z <= x)` for a normal Z. Written as `x (1 + erf(x / sqrt(2))) / 2` it loses all digits below x = -5, where `erf` is -1 but for its last bits. So what is computed is the tail `P(Z > a) = e^(-a^2 / 2) f(u) / (1 + a)`: the factor `f` varies between
// 0.4 and 0.7 over all a >= 0 and is a polynomial in `u = (a - 3) / (a + 3)`. `erf` is `x + x P(x^2)` near 0 and `1 - e^(-x Q(x))` beyond. Both are for float; in double they stay with the C library.

// %%
//| export kernels/vector.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

// Relative errors 2^-30 and 2^-31.9 of erf, and 2^-27 of the tail.
constexpr double erf_near[] = {0.128379166, -0.376126289, 0.112836257, -0.0268557407, 0.00519246049, -0.000805080403, 8.00277485e-05};
constexpr double erf_far[] = {1.12854147, 0.635672987, 0.105169855, -0.0225760434, 0.00286941673, -2.75543662e-05, -4.99145353e-05, 5.29464842e-06};
constexpr double normal_tail[] = {0.486055791,   -0.0965267718,   -0.0164322425,  0.0451644659,   -0.0227275398, 0.00115572475,
                                  0.00299375528, -0.000340752915, -0.00047269027, 1.15797884e-05, 4.71751337e-05};

template <class D>
HWY_INLINE Vec<D> erf_of(D d, Vec<D> x) {
  const Vec<D> a = hn::Min(hn::Abs(x), constant(d, 4));
  const Vec<D> near = hn::MulAdd(x, polynomial(d, hn::Mul(a, a), erf_near), x);
  const Vec<D> far = hn::Sub(constant(d, 1), exp_not_above_zero(d, hn::Neg(hn::Mul(a, polynomial(d, a, erf_far)))));
  const Vec<D> result = hn::IfThenElse(hn::Lt(hn::Abs(x), constant(d, 0.92)), near, hn::CopySign(far, x));
  return hn::IfThenElse(hn::IsNaN(x), x, result);
}

// P(Z > a) = (m * f) * 2^n for 0 <= a.
template <class D>
struct Tail {
  Vec<D> m, f;
  Vec<hn::RebindToSigned<D>> n;
};
template <class D>
HWY_INLINE Tail<D> tail_of(D d, Vec<D> a) {
  const Vec<D> inside = hn::Min(a, constant(d, 14.6));
  const Vec<D> square = hn::Mul(inside, inside);
  const Vec<D> low = hn::Mul(product_error(d, inside, inside, square), constant(d, -0.5));
  const ExpParts<D> parts = exp_parts(d, hn::Mul(square, constant(d, -0.5)), low);
  const Vec<D> u = hn::Div(hn::Sub(inside, constant(d, 3)), hn::Add(inside, constant(d, 3)));
  const Vec<D> f = hn::Div(polynomial(d, u, normal_tail), hn::Add(inside, constant(d, 1)));
  return {hn::Add(constant(d, 1), parts.minus_one), f, parts.n};
}

template <class D>
HWY_INLINE Vec<D> gelu_of(D d, Vec<D> x) {
  const hn::RebindToSigned<D> di;
  const auto negative = hn::Lt(x, hn::Zero(d));
  const Vec<D> inside = not_far_below(d, x, -20);
  const Tail<D> tail = tail_of(d, hn::Abs(inside));
  const Vec<D> p = hn::Mul(tail.m, tail.f);
  const Vec<D> above = hn::Sub(constant(d, 1), times_power_of_two(d, p, tail.n));
  const Vec<D> product = hn::Mul(inside, hn::IfThenElse(negative, p, above));
  const auto n = hn::IfThenElseZero(hn::RebindMask(di, negative), tail.n);
  return nan_at_minus_infinity(d, x, hn::IfThenElse(hn::IsNaN(x), x, times_power_of_two(d, product, n)));
}

// P(Z <= x) + x times the density of Z at x.
template <class D>
HWY_INLINE Vec<D> gelu_slope(D d, Vec<D> x) {
  const Vec<D> inside = within(d, x, -14.5, 14.5);
  const Tail<D> tail = tail_of(d, hn::Abs(inside));
  const Vec<D> e = times_power_of_two(d, tail.m, tail.n);
  const Vec<D> p = hn::Mul(e, tail.f);
  const Vec<D> below = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), p, hn::Sub(constant(d, 1), p));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::MulAdd(hn::Mul(inside, constant(d, 0.39894228040143267794)), e, below));
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Loops over arrays
//
// A loop takes whole vectors, and then what is left. For cheap functions the rest goes number by number, as vectors of one lane (the same function, another `D`); for long ones it is copied into a vector that is filled up, since fifteen times `exp` is slower than once more.
//
//     n = 37:   [ 0 .. 15 ][ 16 .. 31 ][ 32 33 34 35 36 | 0 0 0 ... ]
//
// **Past the caches.** A store into memory that is in no cache first reads the line it will overwrite, which costs a third of the traffic of `y = f(x)`. A *non-temporal* store does not. It also leaves nothing in the caches for the next operator: for tensors
// that fit, that loses more than it gains. So the caller decides by size (`stream`).

// %%
//| export kernels/vector.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

// The first `count` numbers of a vector, the others `filling`.
template <class D, class T>
HWY_INLINE Vec<D> load_some(D d, const T* x, std::int64_t count, T filling) {
  HWY_ALIGN T lanes[hn::MaxLanes(D())];
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = static_cast<std::int64_t>(i) < count ? x[i] : filling;
  return hn::Load(d, lanes);
}
template <class D, class T>
HWY_INLINE void store_some(D d, Vec<D> v, T* y, std::int64_t count) {
  HWY_ALIGN T lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  for (std::int64_t i = 0; i < count; ++i) y[i] = lanes[i];
}

template <class T>
using One = hn::CappedTag<T, 1>;

// How many numbers until `y` is where a vector may be streamed to.
template <class D, class T>
HWY_INLINE std::int64_t until_aligned(D d, const T* y, std::int64_t n) {
  const std::size_t past = reinterpret_cast<std::uintptr_t>(y) / sizeof(T) % hn::Lanes(d);
  const std::int64_t count = past == 0 ? 0 : static_cast<std::int64_t>(hn::Lanes(d) - past);
  return count < n ? count : n;
}

// Calls step(d, i) for whole vectors, and one lane at a time for the rest.
template <class T, class Step>
HWY_INLINE void in_steps(std::int64_t begin, std::int64_t end, Step step) {
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = begin;
  for (; i + N <= end; i += N) step(d, i);
  for (; i < end; ++i) step(One<T>(), i);
}

template <bool Cheap, class T, class F>
HWY_INLINE void unary_loop(const T* x, T* y, std::int64_t n, bool stream, F f) {
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  if (stream) {
    const std::int64_t head = until_aligned(d, y, n);
    if (head > 0) store_some(d, f(d, load_some(d, x, head, T{0})), y, head);
    for (i = head; i + N <= n; i += N) hn::Stream(f(d, hn::LoadU(d, x + i)), d, y + i);
    hwy::FlushStream();
  } else {
    for (; i + N <= n; i += N) hn::StoreU(f(d, hn::LoadU(d, x + i)), d, y + i);
  }
  if constexpr (Cheap) {
    const One<T> one;
    for (; i < n; ++i) hn::StoreU(f(one, hn::LoadU(one, x + i)), one, y + i);
  } else {
    if (i < n) store_some(d, f(d, load_some(d, x + i, n - i, T{0})), y + i, n - i);
  }
}

template <bool XMoves, bool YMoves, class T, class F>
HWY_INLINE void binary_loop(const T* x, const T* y, T* z, std::int64_t n, bool stream, F f) {
  const auto operand_x = [x](auto d, std::int64_t i) {
    if constexpr (XMoves) return hn::LoadU(d, x + i);
    else return hn::Set(d, *x);
  };
  const auto operand_y = [y](auto d, std::int64_t i) {
    if constexpr (YMoves) return hn::LoadU(d, y + i);
    else return hn::Set(d, *y);
  };
  const auto step = [&](auto d, std::int64_t i) { hn::StoreU(f(d, operand_x(d, i), operand_y(d, i)), d, z + i); };
  if (!stream) return in_steps<T>(0, n, step);
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t head = until_aligned(d, z, n);
  std::int64_t i = head;
  in_steps<T>(0, head, step);
  for (; i + N <= n; i += N) hn::Stream(f(d, operand_x(d, i), operand_y(d, i)), d, z + i);
  hwy::FlushStream();
  in_steps<T>(i, n, step);
}

// F is a function object type that is made from the parameter.
template <class T, class F, bool Cheap>
void unary_run(const T* x, T* y, std::int64_t n, T parameter, bool stream) {
  unary_loop<Cheap>(x, y, n, stream, F{parameter});
}
template <class T, class F>
void binary_run(const T* x, bool x_moves, const T* y, bool y_moves, T* z, std::int64_t n, T parameter, bool stream) {
  const F f{parameter};
  if (x_moves && y_moves) binary_loop<true, true>(x, y, z, n, stream, f);
  else if (x_moves) binary_loop<true, false>(x, y, z, n, stream, f);
  else binary_loop<false, true>(x, y, z, n, stream, f);
}

// A comparison makes one byte of each number; the compiler vectorizes such loops by itself.
template <class T, class F>
void compare_run(const T* x, bool x_moves, const T* y, bool y_moves, bool* z, std::int64_t n) {
  const F f{};
  if (x_moves && y_moves) {
    for (std::int64_t i = 0; i < n; ++i) z[i] = f(x[i], y[i]);
  } else if (x_moves) {
    for (std::int64_t i = 0; i < n; ++i) z[i] = f(x[i], *y);
  } else {
    for (std::int64_t i = 0; i < n; ++i) z[i] = f(*x, y[i]);
  }
}

template <class T>
void where_run(const bool* condition, const T* x, bool x_moves, const T* y, bool y_moves, T* z, std::int64_t n) {
  if (x_moves && y_moves) {
    for (std::int64_t i = 0; i < n; ++i) z[i] = condition[i] ? x[i] : y[i];
  } else if (x_moves) {
    const T other = *y;
    for (std::int64_t i = 0; i < n; ++i) z[i] = condition[i] ? x[i] : other;
  } else {
    const T chosen = *x;
    for (std::int64_t i = 0; i < n; ++i) z[i] = condition[i] ? chosen : y[i];
  }
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// What the table's entries do, as small function objects. They are generic over `D`, so that the same text makes the vector of 16 and the vector of one.

// %%
//| export kernels/vector.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

// Defines a function object `Name` with a member `parameter`.
#define TINYTORCH_UNARY(Name, ...)                              \
  template <class T>                                            \
  struct Name {                                                 \
    T parameter;                                                \
    template <class D, class V = Vec<D>>                        \
    HWY_INLINE V operator()([[maybe_unused]] D d, V x) const {  \
      return __VA_ARGS__;                                       \
    }                                                           \
  };
#define TINYTORCH_BINARY(Name, ...)                                  \
  template <class T>                                                 \
  struct Name {                                                      \
    T parameter;                                                     \
    template <class D, class V = Vec<D>>                             \
    HWY_INLINE V operator()([[maybe_unused]] D d, V x, V y) const {  \
      return __VA_ARGS__;                                            \
    }                                                                \
  };

TINYTORCH_UNARY(NegOp, hn::Neg(x))
TINYTORCH_UNARY(AbsOp, hn::Abs(x))
TINYTORCH_UNARY(SquareOp, hn::Mul(x, x))
TINYTORCH_UNARY(SqrtOp, hn::Sqrt(x))
TINYTORCH_UNARY(RsqrtOp, hn::Div(constant(d, 1), hn::Sqrt(x)))
TINYTORCH_UNARY(ReciprocalOp, hn::Div(constant(d, 1), x))
TINYTORCH_UNARY(ReluOp, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x))  // NaN stays, which Max would lose
TINYTORCH_UNARY(LeakyReluOp, hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Mul(x, hn::Set(d, parameter))))
TINYTORCH_UNARY(EluOp, hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x,
                                      hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(hn::Set(d, parameter), exp_and_minus_one(d, hn::Min(x, hn::Zero(d))).minus_one))))
TINYTORCH_UNARY(ExpOp, exp_of(d, x))
TINYTORCH_UNARY(LogOp, log_of(d, x))
TINYTORCH_UNARY(TanhOp, tanh_of(d, x))
TINYTORCH_UNARY(SigmoidOp, sigmoid_of(d, x))
TINYTORCH_UNARY(SiluOp, silu_of(d, x))
TINYTORCH_UNARY(GeluTanhOp, gelu_tanh_of(d, x))
TINYTORCH_UNARY(ErfOp, erf_of(d, x))
TINYTORCH_UNARY(GeluOp, gelu_of(d, x))

TINYTORCH_BINARY(AddOp, hn::Add(x, y))
TINYTORCH_BINARY(AddScaledOp, hn::Add(x, hn::Mul(hn::Set(d, parameter), y)))
TINYTORCH_BINARY(MulOp, hn::Mul(x, y))
TINYTORCH_BINARY(DivOp, hn::Div(x, y))
// The first operand that is NaN wins.
TINYTORCH_BINARY(MaxOp, hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElse(hn::Lt(y, x), x, y)))
TINYTORCH_BINARY(MinOp, hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElse(hn::Gt(y, x), x, y)))
TINYTORCH_BINARY(ReluBackwardOp, hn::IfThenElse(hn::Le(y, hn::Zero(d)), hn::Zero(d), x))
TINYTORCH_BINARY(SigmoidBackwardOp, hn::Mul(x, hn::Mul(y, hn::Sub(constant(d, 1), y))))
TINYTORCH_BINARY(TanhBackwardOp, hn::Mul(x, hn::NegMulAdd(y, y, constant(d, 1))))
TINYTORCH_BINARY(SiluBackwardOp, hn::Mul(x, silu_slope(d, y)))
TINYTORCH_BINARY(GeluTanhBackwardOp, hn::Mul(x, gelu_tanh_slope(d, y)))
TINYTORCH_BINARY(GeluBackwardOp, hn::Mul(x, gelu_slope(d, y)))
#undef TINYTORCH_UNARY
#undef TINYTORCH_BINARY

template <class T>
void add_run(const T* x, bool x_moves, const T* y, bool y_moves, T* z, std::int64_t n, T parameter, bool stream) {
  if (parameter == T{1}) binary_run<T, AddOp<T>>(x, x_moves, y, y_moves, z, n, parameter, stream);
  else binary_run<T, AddScaledOp<T>>(x, x_moves, y, y_moves, z, n, parameter, stream);
}

struct EqualTo {
  bool operator()(auto x, auto y) const { return x == y; }
};
struct NotEqualTo {
  bool operator()(auto x, auto y) const { return x != y; }
};
struct LessThan {
  bool operator()(auto x, auto y) const { return x < y; }
};
struct AtMost {
  bool operator()(auto x, auto y) const { return x <= y; }
};
struct MoreThan {
  bool operator()(auto x, auto y) const { return x > y; }
};
struct AtLeast {
  bool operator()(auto x, auto y) const { return x >= y; }
};

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Rows
//
// `softmax` along the last dimension is three passes over a row (maximum, exponentials and their sum, scaling), and one pass over memory: a row of a thousand floats stays in the first cache between them. The sum runs in float within blocks of 512 numbers and in double over
// the blocks; it is the same for any number of threads, since no row is shared between two.
//
//     row     3.1  -0.2  7.4  1.0         maximum 7.4
//             e^(x - 7.4) --------------> y, and their sum         written once, read again while still in the cache
//             y * (1 / sum) ------------> y
//
// Along another dimension the same three passes run over a strip of 16 columns at once, one lane each, so that memory is still read in whole cache lines.

// %%
//| export kernels/vector.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {

template <class T>
HWY_INLINE T lowest_of() {
  return -static_cast<T>(__builtin_inf());
}

// The largest number of a row; which one wins against NaN does not matter to the callers, who meet the NaN again.
template <class T>
HWY_INLINE T row_maximum(const T* x, std::int64_t n) {
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  Vec<decltype(d)> a = hn::Set(d, lowest_of<T>()), b = a;
  std::int64_t i = 0;
  for (; i + 2 * N <= n; i += 2 * N) {
    a = hn::Max(a, hn::LoadU(d, x + i));
    b = hn::Max(b, hn::LoadU(d, x + i + N));
  }
  for (; i + N <= n; i += N) a = hn::Max(a, hn::LoadU(d, x + i));
  if (i < n) b = hn::Max(b, load_some(d, x + i, n - i, lowest_of<T>()));
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(a, b)));
}

constexpr std::int64_t sum_block = 512;

// The sum over i of f(d, x[i] as a vector, i), in blocks; f is also called for a vector whose end is `filling`, with how many numbers count.
template <class T, class F>
HWY_INLINE double blocked_sum(const T* x, std::int64_t n, T filling, F f) {
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += sum_block) {
    const std::int64_t end = begin + sum_block < n ? begin + sum_block : n;
    Vec<decltype(d)> sum = hn::Zero(d);
    std::int64_t i = begin;
    for (; i + N <= end; i += N) sum = hn::Add(sum, f(d, hn::LoadU(d, x + i), i, N));
    if (i < end) sum = hn::Add(sum, f(d, load_some(d, x + i, end - i, filling), i, end - i));
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
  return total;
}

// The sum of exp(x - maximum); stores the terms if `Store`.
template <bool Store, class T>
HWY_INLINE double sum_of_exp(const T* x, T* y, std::int64_t n, T maximum) {
  return blocked_sum(x, n, lowest_of<T>(), [=](auto d, auto v, std::int64_t i, std::int64_t count) {
    const auto e = exp_not_above_zero(d, hn::Sub(v, hn::Set(d, maximum)));
    if constexpr (Store) {
      if (count == static_cast<std::int64_t>(hn::Lanes(d))) hn::StoreU(e, d, y + i);
      else store_some(d, e, y + i, count);
    }
    return e;
  });
}

template <class T>
void scaled_softmax_row(const T* x, T* out, std::int64_t n, T scale) {
  const T maximum = row_maximum(x, n);
  const double sum = sum_of_exp<true>(x, out, n, maximum);
  const T factor = static_cast<T>(static_cast<double>(scale) / sum);
  in_steps<T>(0, n, [=](auto d, std::int64_t i) { hn::StoreU(hn::Mul(hn::LoadU(d, out + i), hn::Set(d, factor)), d, out + i); });
}

template <class T>
void softmax_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  for (std::int64_t r = 0; r < rows; ++r) scaled_softmax_row(x + r * n, y + r * n, n, T{1});
}

template <class T>
void exp_sum_row(const T* x, std::int64_t n, T* maximum, double* sum) {
  *maximum = row_maximum(x, n);
  *sum = sum_of_exp<false, T>(x, nullptr, n, *maximum);
}

template <class T>
void log_softmax_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  for (std::int64_t r = 0; r < rows; ++r, x += n, y += n) {
    T maximum;
    double sum;
    exp_sum_row(x, n, &maximum, &sum);
    const T log_sum = static_cast<T>(__builtin_log(sum));
    in_steps<T>(0, n, [=](auto d, std::int64_t i) {
      hn::StoreU(hn::Sub(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, maximum)), hn::Set(d, log_sum)), d, y + i);
    });
  }
}

template <class T>
void softmax_backward_rows(const T* g, const T* y, T* out, std::int64_t rows, std::int64_t n) {
  for (std::int64_t r = 0; r < rows; ++r, g += n, y += n, out += n) {
    const T dot = static_cast<T>(blocked_sum(g, n, T{0}, [=](auto d, auto v, std::int64_t i, std::int64_t count) {
      const bool whole = count == static_cast<std::int64_t>(hn::Lanes(d));
      return hn::Mul(v, whole ? hn::LoadU(d, y + i) : load_some(d, y + i, count, T{0}));
    }));
    in_steps<T>(0, n, [=](auto d, std::int64_t i) {
      hn::StoreU(hn::Mul(hn::LoadU(d, y + i), hn::Sub(hn::LoadU(d, g + i), hn::Set(d, dot))), d, out + i);
    });
  }
}

template <class T>
void log_softmax_backward_rows(const T* g, const T* y, T* out, std::int64_t rows, std::int64_t n) {
  const hn::ScalableTag<T> d;
  const auto N = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < rows; ++r, g += n, y += n, out += n) {
    const auto total = hn::Set(d, static_cast<T>(blocked_sum(g, n, T{0}, [](auto, auto v, std::int64_t, std::int64_t) { return v; })));
    const auto gradient = [&](auto grad, auto result) { return hn::NegMulAdd(exp_of(d, result), total, grad); };
    std::int64_t i = 0;
    for (; i + N <= n; i += N) hn::StoreU(gradient(hn::LoadU(d, g + i), hn::LoadU(d, y + i)), d, out + i);
    if (i < n) store_some(d, gradient(load_some(d, g + i, n - i, T{0}), load_some(d, y + i, n - i, T{0})), out + i, n - i);
  }
}

// `Lanes` columns beside each other: element j of each is a vector at x + j * stride.
template <class D, class T>
HWY_INLINE void softmax_strip(D d, const T* x, T* y, std::int64_t n, std::int64_t stride, bool logarithm) {
  Vec<D> maximum = hn::Set(d, lowest_of<T>());
  for (std::int64_t j = 0; j < n; ++j) maximum = hn::Max(maximum, hn::LoadU(d, x + j * stride));
  Vec<D> sum = hn::Zero(d);
  for (std::int64_t begin = 0; begin < n; begin += sum_block) {
    const std::int64_t end = begin + sum_block < n ? begin + sum_block : n;
    Vec<D> block = hn::Zero(d);
    for (std::int64_t j = begin; j < end; ++j) {
      const Vec<D> e = exp_not_above_zero(d, hn::Sub(hn::LoadU(d, x + j * stride), maximum));
      if (!logarithm) hn::StoreU(e, d, y + j * stride);
      block = hn::Add(block, e);
    }
    sum = hn::Add(sum, block);
  }
  if (logarithm) {
    const Vec<D> log_sum = log_of(d, sum);
    for (std::int64_t j = 0; j < n; ++j) hn::StoreU(hn::Sub(hn::Sub(hn::LoadU(d, x + j * stride), maximum), log_sum), d, y + j * stride);
  } else {
    const Vec<D> scale = hn::Div(constant(d, 1), sum);
    for (std::int64_t j = 0; j < n; ++j) hn::StoreU(hn::Mul(hn::LoadU(d, y + j * stride), scale), d, y + j * stride);
  }
}

template <class T>
void softmax_columns(const T* x, T* y, std::int64_t n, std::int64_t stride, std::int64_t width, bool logarithm) {
  in_steps<T>(0, width, [=](auto d, std::int64_t i) { softmax_strip(d, x + i, y + i, n, stride, logarithm); });
}

}  // namespace

template <class T>
constexpr VectorKernels<T> table_of() {
  VectorKernels<T> table{
      .unary = {unary_run<T, NegOp<T>, true>, unary_run<T, AbsOp<T>, true>, unary_run<T, SquareOp<T>, true>, unary_run<T, SqrtOp<T>, true>,
                unary_run<T, RsqrtOp<T>, true>, unary_run<T, ReciprocalOp<T>, true>, unary_run<T, ReluOp<T>, true>, unary_run<T, LeakyReluOp<T>, true>,
                unary_run<T, EluOp<T>, false>, unary_run<T, ExpOp<T>, false>, unary_run<T, LogOp<T>, false>, unary_run<T, TanhOp<T>, false>,
                unary_run<T, SigmoidOp<T>, false>, unary_run<T, SiluOp<T>, false>, unary_run<T, GeluTanhOp<T>, false>, nullptr, nullptr},
      .binary = {add_run<T>, binary_run<T, MulOp<T>>, binary_run<T, DivOp<T>>, binary_run<T, MaxOp<T>>, binary_run<T, MinOp<T>>,
                 binary_run<T, ReluBackwardOp<T>>, binary_run<T, SigmoidBackwardOp<T>>, binary_run<T, TanhBackwardOp<T>>,
                 binary_run<T, SiluBackwardOp<T>>, binary_run<T, GeluTanhBackwardOp<T>>, nullptr},
      .compare = {compare_run<T, EqualTo>, compare_run<T, NotEqualTo>, compare_run<T, LessThan>, compare_run<T, AtMost>, compare_run<T, MoreThan>,
                  compare_run<T, AtLeast>},
      .where = where_run<T>,
      .softmax = softmax_rows<T>,
      .log_softmax = log_softmax_rows<T>,
      .softmax_backward = softmax_backward_rows<T>,
      .log_softmax_backward = log_softmax_backward_rows<T>,
      .exp_sum = exp_sum_row<T>,
      .scaled_softmax = scaled_softmax_row<T>,
      .softmax_columns = softmax_columns<T>};
  if constexpr (sizeof(T) == 4) {
    table.unary[static_cast<int>(Unary::Erf)] = unary_run<T, ErfOp<T>, false>;
    table.unary[static_cast<int>(Unary::Gelu)] = unary_run<T, GeluOp<T>, false>;
    table.binary[static_cast<int>(Binary::GeluBackward)] = binary_run<T, GeluBackwardOp<T>>;
  }
  return table;
}
constinit const VectorKernels<float> vector_kernels_float = table_of<float>();
constinit const VectorKernels<double> vector_kernels_double = table_of<double>();

}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## How large is the error?
//
// An *ulp* is the distance between neighbouring floats. A result that is the exact one rounded is at most 0.5 ulp away; two ulp is what these functions promise, over all floats: near 0, near the ends, subnormal, infinite. There are only 4 billion floats, so the claim can be
// tested by trying them. The test takes every 65,521st bit pattern for each capability; the demonstration takes every 257th and prints the worst.

// %%
//| lesson
// How far `got` is from `exact`, in units of the last place of the exact result's float; 1e9 if one is NaN or infinite and the other is not.
double ulps(float got, double exact) {
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) == std::isnan(got) ? 0 : 1e9;
  if (std::isinf(static_cast<float>(exact)) || std::isinf(got)) return got == static_cast<float>(exact) ? 0 : 1e9;
  const int exponent = std::max(std::ilogb(exact == 0 ? 0x1p-300 : exact), -126);
  return std::abs(static_cast<double>(got) - exact) / std::ldexp(1.0, exponent - 23);
}

struct Worst {
  double error = 0;
  float at = 0;
};

// The largest error of a function over every `step`-th float.
Worst worst_over_floats(kernels::Unary function, const std::function<double(double)>& exact, std::uint32_t step) {
  constexpr std::size_t block = 1024;
  const kernels::VectorKernels<float>& table = kernels::vector_kernels<float>();
  Worst worst;
  std::vector<float> x(block), y(block);
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += std::uint64_t{step} * block) {
    for (std::size_t i = 0; i < block; ++i) x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(bits + i * step));
    table.unary[static_cast<int>(function)](x.data(), y.data(), block, 1, false);
    for (std::size_t i = 0; i < block; ++i) {
      const double error = ulps(y[i], exact(static_cast<double>(x[i])));
      if (error > worst.error) worst = {error, x[i]};
    }
  }
  return worst;
}

struct Measured {
  const char* name;
  kernels::Unary function;
  double (*exact)(double);
};
constexpr double two_sqrt_two_over_pi = 1.59576912160573071176;
const Measured measured_functions[] = {
    {"exp", kernels::Unary::Exp, [](double x) { return std::exp(x); }},
    {"log", kernels::Unary::Log, [](double x) { return std::log(x); }},
    {"tanh", kernels::Unary::Tanh, [](double x) { return std::tanh(x); }},
    {"sigmoid", kernels::Unary::Sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"silu", kernels::Unary::Silu, [](double x) { return x / (1 + std::exp(-x)); }},
    {"erf", kernels::Unary::Erf, [](double x) { return std::erf(x); }},
    {"gelu", kernels::Unary::Gelu, [](double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752440); }},
    {"gelu tanh", kernels::Unary::GeluTanh, [](double x) { return x / (1 + std::exp(-two_sqrt_two_over_pi * (x + 0.044715 * x * x * x))); }},
};

// Runs f for each capability that this machine has.
template <class F>
void on_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    f();
  }
}

// %%
TEST_CASE("vector functions are within two units in the last place, over all floats") {
  on_each_capability([] {
    for (const Measured& f : measured_functions) {
      const Worst worst = worst_over_floats(f.function, f.exact, 65521);
      CHECK_MESSAGE(worst.error <= 2, f.name, " of ", worst.at, " is wrong by ", worst.error, " ulp, with ", get_cpu_capability());
    }
  });
}

TEST_CASE("vector functions at the ends: zeros, infinities, NaN, the smallest and the largest numbers") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float tiny = std::numeric_limits<float>::denorm_min(), huge = std::numeric_limits<float>::max();
  const std::vector<float> ends{0.f, -0.f, inf, -inf, nan, tiny, -tiny, huge, -huge, std::numeric_limits<float>::min(), -103.9f, 88.72f, 88.73f, 1.f, -1.f};
  on_each_capability([&] {
    for (const Measured& f : measured_functions) {
      std::vector<float> y(ends.size());
      kernels::vector_kernels<float>().unary[static_cast<int>(f.function)](ends.data(), y.data(), static_cast<std::int64_t>(ends.size()), 1, false);
      for (std::size_t i = 0; i < ends.size(); ++i) {
        CHECK_MESSAGE(ulps(y[i], f.exact(static_cast<double>(ends[i]))) <= 2, f.name, " of ", ends[i], " is ", y[i], " with ", get_cpu_capability());
      }
    }
  });
}

TEST_CASE("vector functions of doubles agree with the C library") {
  const Tensor x = cat({linspace(-30, 30, 4001, kDouble), tensor({0.0, -0.0, 1e-300, -745.0, 709.7, -1e-18, 1e-9}, kDouble)}, 0);
  on_each_capability([&] {
    const auto agree = [&](const Tensor& input, auto f) {
      const Tensor tuned = f(input);
      const kernels::ReferenceKernelsGuard guard;
      CHECK_CLOSE(tuned, f(input), 2e-15, 0);
    };
    agree(x, [](const Tensor& t) { return exp(t); });
    agree(x.abs(), [](const Tensor& t) { return log(t); });
    agree(x, [](const Tensor& t) { return tanh(t); });
    agree(x, [](const Tensor& t) { return sigmoid(t); });
  });
}

DEMO("errors of the vector functions, over every 257th float") {
  std::cout << "capability " << get_cpu_capability() << '\n';
  for (const Measured& f : measured_functions) {
    const Worst worst = worst_over_floats(f.function, f.exact, 257);
    std::cout << f.name << ": " << worst.error << " ulp, at " << worst.at << '\n';
  }
}

// %% [markdown]
// ## From arrays to tensors
//
// An operator walks over several tensors at once, each with its own strides. Dimensions that follow each other in memory in all operands are merged first (as in module 01), so that most calls end up with one long run, and each run is handed to the loops above. What they
// cannot take, a stride that is neither 0 nor 1, is copied 256 numbers at a time into a buffer on the stack.
//
//     out (8, 512, 64) contiguous        sizes merge to  (8, 512, 64) -> (8 * 512, 64)?   not for b: its stride is 0 in the middle
//     a   (8, 512, 64) contiguous
//     b   (8,   1, 64)                   runs of 64: a moves, b moves, out moves
//
// For the threads the elements of the result are numbered and cut into pieces of fixed size. A piece may begin in the middle of a row: the walk can start at any number.

// %%
//| export kernels/elementwise.h
namespace kernels {

// Elements of a piece of work, for cheap functions and for long ones: some ten microseconds.
inline constexpr std::int64_t kCheapGrain = 1 << 15;
inline constexpr std::int64_t kCostlyGrain = 1 << 12;

// Whether an output of `bytes` should be written past the caches: when the last one cannot hold it.
bool stream_pays(std::int64_t bytes);

// The loops for the capability in use. T is float or double.
template <class T>
const VectorKernels<T>& vector_kernels();

// f.operator()<float>() or <double>(). REQUIRES: type is one of them.
template <class F>
decltype(auto) for_float_types(ScalarType type, F f) {
  return type == kFloat ? f.template operator()<float>() : f.template operator()<double>();
}
inline bool is_tuned_type(ScalarType type) { return type == kFloat || type == kDouble; }

// Whether tuned kernels are switched on for `self` in this thread.
inline bool tuned_for(const Tensor& self) { return is_tuned_type(self.scalar_type()) && layers_of(self).has(Layer::TunedCPU) && !thread_state().excluded.has(Layer::TunedCPU); }

// A walk over the elements of N operands of one shape, from any element to any other. Like StridedLoop (module 01), which always takes all of them.
template <std::size_t N>
class Walk {
 public:
  using Numbers = std::array<std::int64_t, N>;
  Walk(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides);

  // Calls inner(offsets, count, steps) for each run within elements [first, stop) in the order of `sizes`.
  template <class F>
  void run(std::int64_t first, std::int64_t stop, F inner) const;

  bool single_run() const { return sizes_.size() == 1; }

 private:
  DimVector sizes_;
  std::array<DimVector, N> strides_;
};

template <std::size_t N>
Walk<N>::Walk(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides) {
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 1) continue;
    bool follows = !sizes_.empty();
    for (std::size_t k = 0; follows && k < N; ++k) follows = strides_[k].back() == strides[k][i] * sizes[i];
    if (!follows) sizes_.push_back(1);
    sizes_.back() *= sizes[i];
    for (std::size_t k = 0; k < N; ++k) {
      if (follows) strides_[k].back() = strides[k][i];
      else strides_[k].push_back(strides[k][i]);
    }
  }
  if (!sizes_.empty()) return;
  sizes_.push_back(1);
  for (DimVector& steps : strides_) steps.push_back(0);
}

template <std::size_t N>
template <class F>
void Walk<N>::run(std::int64_t first, std::int64_t stop, F inner) const {
  const std::size_t last = sizes_.size() - 1;
  DimVector index(sizes_.size());
  Numbers offsets{}, steps{};
  std::int64_t rest = first;
  for (std::size_t d = sizes_.size(); d-- > 0; rest /= sizes_[d]) {
    index[d] = rest % sizes_[d];
    for (std::size_t k = 0; k < N; ++k) offsets[k] += index[d] * strides_[k][d];
  }
  for (std::size_t k = 0; k < N; ++k) steps[k] = strides_[k][last];
  while (first < stop) {
    const std::int64_t count = std::min(sizes_[last] - index[last], stop - first);
    inner(offsets, count, steps);
    first += count;
    // To the beginning of the next run: carry, like an odometer.
    for (std::size_t k = 0; k < N; ++k) offsets[k] -= index[last] * steps[k];
    index[last] = 0;
    for (std::size_t d = last; d-- > 0;) {
      for (std::size_t k = 0; k < N; ++k) offsets[k] += strides_[k][d];
      if (++index[d] < sizes_[d]) break;
      for (std::size_t k = 0; k < N; ++k) offsets[k] -= strides_[k][d] * sizes_[d];
      index[d] = 0;
    }
  }
}

// out = f(self), element by element. REQUIRES: one dtype, float or double; self broadcasts to out's sizes, and may be out itself. Parallel.
template <class T>
void unary_into(Unary kind, const Tensor& self, const Tensor& out, T parameter = T{1});

// out = f(x, y). REQUIRES: out and operands with dimensions have dtype T; x and y broadcast to out's sizes; an operand that shares memory with out has its elements in the same places.
// A 0-d operand may have any dtype. Parallel.
template <class T>
void binary_into(Binary kind, const Tensor& x, const Tensor& y, const Tensor& out, T parameter = T{1});
template <class T>
void compare_into(Compare kind, const Tensor& x, const Tensor& y, const Tensor& out);

}  // namespace kernels

// %%
//| export kernels/elementwise.cpp
namespace {
std::int64_t last_level_cache() {
  std::int64_t largest = 0;
  for (const CacheInfo& cache : system_info().caches) largest = std::max<std::int64_t>(largest, cache.bytes);
  return largest > 0 ? largest : std::int64_t{32} << 20;
}
}  // namespace

bool kernels::stream_pays(std::int64_t bytes) {
  if (bytes < (std::int64_t{1} << 20)) return false;
  static const std::int64_t limit = last_level_cache();
  return bytes > limit;
}

template <>
const kernels::VectorKernels<float>& kernels::vector_kernels<float>() {
  static constexpr const VectorKernels<float>* tables[] = TINYTORCH_PER_CAPABILITY(vector_kernels_float);
  return for_capability(tables);
}
template <>
const kernels::VectorKernels<double>& kernels::vector_kernels<double>() {
  static constexpr const VectorKernels<double>* tables[] = TINYTORCH_PER_CAPABILITY(vector_kernels_double);
  return for_capability(tables);
}

// %% [markdown]
// **Tiny tensors.** For one element nothing of this matters, and every line of it costs. So each function first asks for the case that a small model meets most, operands that lie flat beside each other, and goes straight to the loop: no merging of dimensions, no pieces, no threads.

// %%
//| export kernels/elementwise.cpp
namespace {
constexpr std::int64_t kBlock = 256;

// `count` elements at `from` as an array: themselves if they lie so, else copied into `buffer`.
template <class T>
const T* gathered(const T* from, std::int64_t step, std::int64_t count, T* buffer) {
  if (step == 1 || count == 1) return from;
  for (std::int64_t i = 0; i < count; ++i) buffer[i] = from[i * step];
  return buffer;
}

// Whether an operand can go into a loop as it is: it moves by one, or not at all.
bool loops(std::int64_t step, std::int64_t count) { return count == 1 || step == 1 || step == 0; }

// The value of a 0-d tensor.
template <class T>
T number_of(const Tensor& self) {
  return self.scalar_type() == scalar_type_of<T>() ? *self.data<T>() : self.item().to<T>();
}

// run(x, x_moves, y, y_moves, z, count) for one run of a walk; strides of any kind go through buffers.
template <class T, class Z, class F>
void two_operand_run(const T* x, std::int64_t x_step, const T* y, std::int64_t y_step, Z* z, std::int64_t z_step, std::int64_t count, F run) {
  if (count == 1) return run(x, true, y, true, z, count);
  if ((z_step == 1) && loops(x_step, count) && loops(y_step, count) && x_step + y_step > 0) return run(x, x_step != 0, y, y_step != 0, z, count);
  T x_buffer[kBlock], y_buffer[kBlock];
  Z z_buffer[kBlock];
  for (std::int64_t i = 0; i < count; i += kBlock) {
    const std::int64_t size = std::min(kBlock, count - i);
    Z* const to = z_step == 1 ? z + i : z_buffer;
    run(gathered(x + i * x_step, x_step, size, x_buffer), true, gathered(y + i * y_step, y_step, size, y_buffer), true, to, size);
    if (z_step != 1)
      for (std::int64_t j = 0; j < size; ++j) z[(i + j) * z_step] = z_buffer[j];
  }
}

// What binary and comparing operators share: run(x, x_moves, y, y_moves, z, count, stream).
template <class T, class Z, class F>
void two_operands_into(const Tensor& x, const Tensor& y, const Tensor& out, std::int64_t grain, F run) {
  const std::int64_t n = out.numel();
  if (n == 0) return;
  T x_number{}, y_number{};
  const bool x_moves = x.dim() > 0, y_moves = y.dim() > 0;
  if (!x_moves) x_number = number_of<T>(x);
  if (!y_moves) y_number = number_of<T>(y);
  const T* const from_x = x_moves ? x.data<T>() : &x_number;
  const T* const from_y = y_moves ? y.data<T>() : &y_number;
  Z* const to = out.data<Z>();
  if (n == 1) return run(from_x, true, from_y, true, to, 1, false);
  const auto flat = [&](const Tensor& operand) { return operand.is_contiguous() && operand.sizes() == out.sizes(); };
  if (out.is_contiguous() && (x_moves || y_moves) && (!x_moves || flat(x)) && (!y_moves || flat(y))) {
    if (n <= grain) return run(from_x, x_moves, from_y, y_moves, to, n, false);
    const bool stream = !out.is_alias_of(x) && !out.is_alias_of(y) && stream_pays(n * static_cast<std::int64_t>(sizeof(Z)));
    return parallel_for(0, n, grain, [&](std::int64_t first, std::int64_t stop) {
      run(from_x + (x_moves ? first : 0), x_moves, from_y + (y_moves ? first : 0), y_moves, to + first, stop - first, stream);
    });
  }
  const DimVector still(out.sizes().size());
  const DimVector x_strides = x_moves ? broadcast_strides(x, out.sizes()) : still;
  const DimVector y_strides = y_moves ? broadcast_strides(y, out.sizes()) : still;
  const kernels::Walk<3> walk(out.sizes(), {out.strides(), IntArrayRef(x_strides), IntArrayRef(y_strides)});
  parallel_for(0, n, grain, [&](std::int64_t first, std::int64_t stop) {
    walk.run(first, stop, [&](const auto& offset, std::int64_t count, const auto& step) {
      two_operand_run(from_x + offset[1], step[1], from_y + offset[2], step[2], to + offset[0], step[0], count,
                      [&](const T* a, bool a_moves, const T* b, bool b_moves, Z* z, std::int64_t size) { run(a, a_moves, b, b_moves, z, size, false); });
    });
  });
}
}  // namespace

template <class T>
void kernels::binary_into(Binary kind, const Tensor& x, const Tensor& y, const Tensor& out, T parameter) {
  const auto loop = vector_kernels<T>().binary[static_cast<int>(kind)];
  const std::int64_t grain = kind >= Binary::SiluBackward ? kCostlyGrain : kCheapGrain;
  two_operands_into<T, T>(x, y, out, grain, [loop, parameter](const T* a, bool a_moves, const T* b, bool b_moves, T* z, std::int64_t n, bool stream) {
    loop(a, a_moves, b, b_moves, z, n, parameter, stream);
  });
}
template void kernels::binary_into(Binary, const Tensor&, const Tensor&, const Tensor&, float);
template void kernels::binary_into(Binary, const Tensor&, const Tensor&, const Tensor&, double);

template <class T>
void kernels::compare_into(Compare kind, const Tensor& x, const Tensor& y, const Tensor& out) {
  const auto loop = vector_kernels<T>().compare[static_cast<int>(kind)];
  two_operands_into<T, bool>(x, y, out, kCheapGrain, [loop](const T* a, bool a_moves, const T* b, bool b_moves, bool* z, std::int64_t n, bool) {
    loop(a, a_moves, b, b_moves, z, n);
  });
}
template void kernels::compare_into<float>(Compare, const Tensor&, const Tensor&, const Tensor&);
template void kernels::compare_into<double>(Compare, const Tensor&, const Tensor&, const Tensor&);

template <class T>
void kernels::unary_into(Unary kind, const Tensor& self, const Tensor& out, T parameter) {
  const auto loop = vector_kernels<T>().unary[static_cast<int>(kind)];
  const std::int64_t n = out.numel();
  const std::int64_t grain = kind >= Unary::Elu ? kCostlyGrain : kCheapGrain;
  const T* const from = self.data<T>();
  T* const to = out.data<T>();
  if (n == 0) return;
  if (n == 1) return loop(from, to, 1, parameter, false);
  if (out.is_contiguous() && self.is_contiguous() && self.sizes() == out.sizes()) {
    if (n <= grain) return loop(from, to, n, parameter, false);
    const bool stream = !out.is_alias_of(self) && stream_pays(n * static_cast<std::int64_t>(sizeof(T)));
    return parallel_for(0, n, grain, [&](std::int64_t first, std::int64_t stop) { loop(from + first, to + first, stop - first, parameter, stream); });
  }
  const DimVector strides = broadcast_strides(self, out.sizes());
  const Walk<2> walk(out.sizes(), {out.strides(), IntArrayRef(strides)});
  parallel_for(0, n, grain, [&](std::int64_t first, std::int64_t stop) {
    walk.run(first, stop, [&](const auto& offset, std::int64_t count, const auto& step) {
      if (step[0] == 1 && step[1] == 1) return loop(from + offset[1], to + offset[0], count, parameter, false);
      T in[kBlock], result[kBlock];
      for (std::int64_t i = 0; i < count; i += kBlock) {
        const std::int64_t size = std::min(kBlock, count - i);
        loop(gathered(from + offset[1] + i * step[1], step[1], size, in), result, size, parameter, false);
        for (std::int64_t j = 0; j < size; ++j) to[offset[0] + (i + j) * step[0]] = result[j];
      }
    });
  });
}
template void kernels::unary_into(Unary, const Tensor&, const Tensor&, float);
template void kernels::unary_into(Unary, const Tensor&, const Tensor&, double);

// %% [markdown]
// ## The operators
//
// Each operator asks whether the case is one that the kernels know: float or double, and one dtype for all operands that have dimensions. If not, it calls the function that stands in the layer below, which also finds the words for whatever is wrong.

// %%
//| export kernels/pointwise.cpp
namespace {
using kernels::Binary;
using kernels::Compare;
using kernels::Unary;

// The dtype in which the kernels can compute with both operands.
std::optional<ScalarType> tuned_type(const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  const auto fits = [type](const Tensor& operand) { return operand.scalar_type() == type || operand.dim() == 0; };
  if (!kernels::is_tuned_type(type) || !fits(self) || !fits(other)) return std::nullopt;
  return type;
}

// The sizes of the result, without a list on the way when they are the same.
DimVector sizes_of_both(const Tensor& self, const Tensor& other) {
  if (self.sizes() == other.sizes() || other.dim() == 0) return self.sizes();
  return infer_size(self.sizes(), other.sizes());
}

// parameter: what is to be multiplied with `other`.
Tensor two_operands(Binary kind, const Tensor& self, const Tensor& other, ScalarType type, const Scalar& parameter) {
  const Tensor result = empty(sizes_of_both(self, other), type);
  kernels::for_float_types(type, [&]<class T>() { kernels::binary_into<T>(kind, self, other, result, parameter.to<T>()); });
  return result;
}

// Whether the kernels may write f(self, other) into self: then it has this dtype and the result's sizes, and reading and writing do not get in each other's way.
bool can_write(const Tensor& self, const Tensor& other) {
  if (tuned_type(self, other) != self.scalar_type() || !self.is_contiguous()) return false;
  if (other.dim() == 0) return true;
  return IntArrayRef(infer_size(self.sizes(), other.sizes())) == self.sizes() && (same_elements(self, other) || !ranges_overlap(self, other));
}

const Tensor& in_place(Binary kind, const Tensor& self, const Tensor& other, const Scalar& parameter) {
  kernels::for_float_types(self.scalar_type(), [&]<class T>() { kernels::binary_into<T>(kind, self, other, self, parameter.to<T>()); });
  return self;
}

Tensor add_tuned(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  const auto type = tuned_type(self, other);
  return type ? two_operands(Binary::Add, self, other, *type, alpha) : op::add.function(Layer::CPU)(self, other, alpha);
}
Tensor sub_tuned(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  const auto type = tuned_type(self, other);
  return type ? two_operands(Binary::Add, self, other, *type, -alpha) : op::sub.function(Layer::CPU)(self, other, alpha);
}
const Tensor& add_tuned_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return can_write(self, other) ? in_place(Binary::Add, self, other, alpha) : op::add_.function(Layer::CPU)(self, other, alpha);
}
const Tensor& sub_tuned_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return can_write(self, other) ? in_place(Binary::Add, self, other, -alpha) : op::sub_.function(Layer::CPU)(self, other, alpha);
}

template <auto& Op, Binary kind>
Tensor two_operands_tuned(const Tensor& self, const Tensor& other) {
  const auto type = tuned_type(self, other);
  return type ? two_operands(kind, self, other, *type, 1) : Op.function(Layer::CPU)(self, other);
}
template <auto& Op, Binary kind>
const Tensor& two_operands_tuned_(const Tensor& self, const Tensor& other) {
  return can_write(self, other) ? in_place(kind, self, other, 1) : Op.function(Layer::CPU)(self, other);
}

template <auto& Op, Compare kind>
Tensor compare_tuned(const Tensor& self, const Tensor& other) {
  const auto type = tuned_type(self, other);
  if (!type) return Op.function(Layer::CPU)(self, other);
  const Tensor result = empty(sizes_of_both(self, other), kBool);
  kernels::for_float_types(*type, [&]<class T>() { kernels::compare_into<T>(kind, self, other, result); });
  return result;
}

Tensor one_operand(Unary kind, const Tensor& self, const Scalar& parameter = 1) {
  const Tensor result = empty(self.sizes(), self.scalar_type());
  kernels::for_float_types(self.scalar_type(), [&]<class T>() { kernels::unary_into<T>(kind, self, result, parameter.to<T>()); });
  return result;
}

// Whether there is such a loop for the dtype.
bool has_loop(Unary kind, ScalarType type) { return type == kFloat || (type == kDouble && kind < Unary::Erf); }

template <auto& Op, Unary kind>
Tensor one_operand_tuned(const Tensor& self) {
  return has_loop(kind, self.scalar_type()) ? one_operand(kind, self) : Op.function(Layer::CPU)(self);
}
template <auto& Op, Unary kind>
Tensor one_operand_tuned(const Tensor& self, const Scalar& parameter) {
  return has_loop(kind, self.scalar_type()) ? one_operand(kind, self, parameter) : Op.function(Layer::CPU)(self, parameter);
}

Tensor gelu_tuned(const Tensor& self, bool tanh_approximation) {
  const Unary kind = tanh_approximation ? Unary::GeluTanh : Unary::Gelu;
  return has_loop(kind, self.scalar_type()) ? one_operand(kind, self) : op::gelu.function(Layer::CPU)(self, tanh_approximation);
}
Tensor pow_tuned(const Tensor& self, const Scalar& exponent) {
  const bool square = kernels::is_tuned_type(self.scalar_type()) && exponent.toDouble() == 2;
  return square ? one_operand(Unary::Square, self) : op::pow.function(Layer::CPU)(self, exponent);
}
const Tensor& relu_tuned_(const Tensor& self) {
  if (!kernels::is_tuned_type(self.scalar_type()) || !self.is_contiguous()) return op::relu_.function(Layer::CPU)(self);
  kernels::for_float_types(self.scalar_type(), [&]<class T>() { kernels::unary_into<T>(Unary::Relu, self, self); });
  return self;
}

// where() of flat operands: the condition and one choice at least lie like the result, the other may be a number.
Tensor where_tuned(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const auto flat = [&](const Tensor& choice) { return choice.dim() == 0 || (choice.is_contiguous() && choice.sizes() == condition.sizes()); };
  const bool ours = condition.scalar_type() == kBool && condition.is_contiguous() && condition.dim() > 0 && self.scalar_type() == other.scalar_type() &&
                    kernels::is_tuned_type(self.scalar_type()) && self.dim() + other.dim() > 0 && flat(self) && flat(other) &&
                    result_type(self, other) == self.scalar_type();
  if (!ours) return op::where.function(Layer::CPU)(condition, self, other);
  const Tensor result = empty(condition.sizes(), self.scalar_type());
  kernels::for_float_types(self.scalar_type(), [&]<class T>() {
    const bool x_moves = self.dim() > 0, y_moves = other.dim() > 0;
    const auto loop = kernels::vector_kernels<T>().where;
    parallel_for(0, result.numel(), kernels::kCheapGrain, [&](std::int64_t first, std::int64_t stop) {
      loop(condition.data<bool>() + first, self.data<T>() + (x_moves ? first : 0), x_moves, other.data<T>() + (y_moves ? first : 0), y_moves,
           result.data<T>() + first, stop - first);
    });
  });
  return result;
}
}  // namespace

// %% [markdown]
// **Gradients in one pass.** Module 05 wrote gradients as operators: that of `sigmoid` is `g * (result * (1 - result))`, three passes over memory and two tensors nobody keeps. The formulas must stay, because with `create_graph` the backward pass is itself recorded and needs
// derivatives of the derivative. But in an ordinary backward pass nothing is recorded, and one loop can compute the whole formula. So the gradient asks: is anyone recording?

// %%
//| export kernels/pointwise.cpp
namespace {
constexpr double kSqrtOfHalf = 0.70710678118654752440;
constexpr double kDensityAtZero = 0.39894228040143267794;  // 1 / sqrt(2 pi)

// Whether a gradient may be computed in one pass: it is not recorded, and the tuned kernels are on.
bool in_one_pass(const Tensor& g, const Tensor& saved) {
  return !GradMode::is_enabled() && g.scalar_type() == saved.scalar_type() && g.sizes() == saved.sizes() && kernels::tuned_for(saved);
}
Tensor one_pass(Binary kind, const Tensor& g, const Tensor& saved) { return two_operands(kind, g, saved, saved.scalar_type(), 1); }

Tensor gelu_gradient(const Tensor& g, const Tensor& x, bool tanh_approximation) {
  if (in_one_pass(g, x) && (tanh_approximation || x.scalar_type() == kFloat)) return one_pass(tanh_approximation ? Binary::GeluTanhBackward : Binary::GeluBackward, g, x);
  if (!tanh_approximation) return g * ((erf(x * kSqrtOfHalf) + 1) * 0.5 + x * (exp(x * x * -0.5) * kDensityAtZero));
  constexpr double scale = 2 * kDensityAtZero;
  const Tensor square = x * x;
  const Tensor t = tanh((x + x * square * 0.044715) * scale);
  return g * ((t + 1) * 0.5 + x * (1 - t * t) * ((square * (3 * 0.044715) + 1) * (0.5 * scale)));
}
}  // namespace

//| registers
void register_one_pass_gradients() {
  gradient<op::relu, op::relu_>([](const Tensor& g, Output result) {
    return in_one_pass(g, result) ? one_pass(Binary::ReluBackward, g, result) : where(result <= 0, zeros({}, g.options()), g);
  });
  gradient<op::sigmoid>([](const Tensor& g, Output result) { return in_one_pass(g, result) ? one_pass(Binary::SigmoidBackward, g, result) : g * (result * (1 - result)); });
  gradient<op::tanh>([](const Tensor& g, Output result) { return in_one_pass(g, result) ? one_pass(Binary::TanhBackward, g, result) : g * (1 - result * result); });
  gradient<op::silu>([](const Tensor& g, Input<0> self) {
    if (in_one_pass(g, self)) return one_pass(Binary::SiluBackward, g, self);
    const Tensor s = sigmoid(self);
    return g * (s * (self * (1 - s) + 1));
  });
  gradient<op::gelu>([](const Tensor& g, Input<0> self, Arg<1, bool> tanh_approximation) { return gelu_gradient(g, self, tanh_approximation); });
}

// %%
//| export kernels/pointwise.cpp
//| registers
void register_tuned_pointwise() {
  op::add.set(Layer::TunedCPU, add_tuned);
  op::sub.set(Layer::TunedCPU, sub_tuned);
  op::mul.set(Layer::TunedCPU, two_operands_tuned<op::mul, Binary::Mul>);
  op::div.set(Layer::TunedCPU, two_operands_tuned<op::div, Binary::Div>);
  op::maximum.set(Layer::TunedCPU, two_operands_tuned<op::maximum, Binary::Max>);
  op::minimum.set(Layer::TunedCPU, two_operands_tuned<op::minimum, Binary::Min>);
  op::add_.set(Layer::TunedCPU, add_tuned_);
  op::sub_.set(Layer::TunedCPU, sub_tuned_);
  op::mul_.set(Layer::TunedCPU, two_operands_tuned_<op::mul_, Binary::Mul>);
  op::div_.set(Layer::TunedCPU, two_operands_tuned_<op::div_, Binary::Div>);
  op::eq.set(Layer::TunedCPU, compare_tuned<op::eq, Compare::Eq>);
  op::ne.set(Layer::TunedCPU, compare_tuned<op::ne, Compare::Ne>);
  op::lt.set(Layer::TunedCPU, compare_tuned<op::lt, Compare::Lt>);
  op::le.set(Layer::TunedCPU, compare_tuned<op::le, Compare::Le>);
  op::gt.set(Layer::TunedCPU, compare_tuned<op::gt, Compare::Gt>);
  op::ge.set(Layer::TunedCPU, compare_tuned<op::ge, Compare::Ge>);
  op::where.set(Layer::TunedCPU, where_tuned);
  op::neg.set(Layer::TunedCPU, one_operand_tuned<op::neg, Unary::Neg>);
  op::abs.set(Layer::TunedCPU, one_operand_tuned<op::abs, Unary::Abs>);
  op::sqrt.set(Layer::TunedCPU, one_operand_tuned<op::sqrt, Unary::Sqrt>);
  op::rsqrt.set(Layer::TunedCPU, one_operand_tuned<op::rsqrt, Unary::Rsqrt>);
  op::reciprocal.set(Layer::TunedCPU, one_operand_tuned<op::reciprocal, Unary::Reciprocal>);
  op::exp.set(Layer::TunedCPU, one_operand_tuned<op::exp, Unary::Exp>);
  op::log.set(Layer::TunedCPU, one_operand_tuned<op::log, Unary::Log>);
  op::erf.set(Layer::TunedCPU, one_operand_tuned<op::erf, Unary::Erf>);
  op::pow.set(Layer::TunedCPU, pow_tuned);
  op::relu.set(Layer::TunedCPU, one_operand_tuned<op::relu, Unary::Relu>);
  op::relu_.set(Layer::TunedCPU, relu_tuned_);
  op::leaky_relu.set(Layer::TunedCPU, one_operand_tuned<op::leaky_relu, Unary::LeakyRelu>);
  op::elu.set(Layer::TunedCPU, one_operand_tuned<op::elu, Unary::Elu>);
  op::sigmoid.set(Layer::TunedCPU, one_operand_tuned<op::sigmoid, Unary::Sigmoid>);
  op::tanh.set(Layer::TunedCPU, one_operand_tuned<op::tanh, Unary::Tanh>);
  op::silu.set(Layer::TunedCPU, one_operand_tuned<op::silu, Unary::Silu>);
  op::gelu.set(Layer::TunedCPU, gelu_tuned);
}

// %%
//| lesson
// f() with the reference kernels.
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard guard;
  return f();
}

// Tensors that lie in memory in different ways, all with sizes (5, 3, 37).
std::vector<Tensor> layouts_of(ScalarType type) {
  manual_seed(3);
  const auto numbers = [type](IntArrayRef sizes) { return (rand(sizes) * 6 - 3).to(type); };
  return {numbers({5, 3, 37}), numbers({37, 3, 5}).permute({2, 1, 0}), numbers({5, 3, 74}).slice(2, 0, 74, 2), numbers({5, 1, 37}).expand({5, 3, 37}),
          numbers({5, 3, 1}).expand({5, 3, 37})};
}

// %%
TEST_CASE("operators with one operand: tuned against reference, for every layout and capability") {
  using F = Tensor (*)(const Tensor&);
  const F functions[] = {[](const Tensor& x) { return -x; },           [](const Tensor& x) { return abs(x); },    [](const Tensor& x) { return sqrt(x.abs()); },
                         [](const Tensor& x) { return rsqrt(x.abs()); }, [](const Tensor& x) { return reciprocal(x); }, [](const Tensor& x) { return relu(x); },
                         [](const Tensor& x) { return leaky_relu(x, 0.2); }, [](const Tensor& x) { return elu(x, 1.5); }, [](const Tensor& x) { return exp(x); },
                         [](const Tensor& x) { return log(x.abs()); },   [](const Tensor& x) { return tanh(x); },  [](const Tensor& x) { return sigmoid(x); },
                         [](const Tensor& x) { return silu(x); },        [](const Tensor& x) { return erf(x); },   [](const Tensor& x) { return gelu(x); },
                         [](const Tensor& x) { return gelu(x, "tanh"); }, [](const Tensor& x) { return x.pow(2); }, [](const Tensor& x) { return relu_(x.clone()); }};
  on_each_capability([&] {
    for (const ScalarType type : {kFloat, kDouble}) {
      for (const Tensor& x : layouts_of(type)) {
        for (std::size_t i = 0; i < std::size(functions); ++i) {
          CAPTURE(i);
          CHECK_CLOSE(functions[i](x), by_reference([&] { return functions[i](x); }), type == kFloat ? 1e-6 : 1e-14, type == kFloat ? 1e-6 : 1e-14);
        }
      }
    }
  });
}

TEST_CASE("operators with two operands: tuned against reference, for every pair of layouts") {
  using F = Tensor (*)(const Tensor&, const Tensor&);
  const F functions[] = {[](const Tensor& x, const Tensor& y) { return x + y; },
                         [](const Tensor& x, const Tensor& y) { return add(x, y, 0.5); },
                         [](const Tensor& x, const Tensor& y) { return x - y; },
                         [](const Tensor& x, const Tensor& y) { return x * y; },
                         [](const Tensor& x, const Tensor& y) { return x / y; },
                         [](const Tensor& x, const Tensor& y) { return maximum(x, y); },
                         [](const Tensor& x, const Tensor& y) { return minimum(x, y); },
                         [](const Tensor& x, const Tensor& y) { return x < y; },
                         [](const Tensor& x, const Tensor& y) { return where(x >= y, x, y); },
                         [](const Tensor& x, const Tensor& y) { return x.clone().sub_(y); },
                         [](const Tensor& x, const Tensor& y) { return x.clone().mul_(y); }};
  on_each_capability([&] {
    for (const ScalarType type : {kFloat, kDouble}) {
      std::vector<Tensor> operands = layouts_of(type);
      operands.push_back(full({}, 0.75, type));
      operands.push_back(full({3, 1}, -2, type));
      operands.push_back(wrapped_scalar(1.25));
      for (const Tensor& x : layouts_of(type)) {
        for (const Tensor& y : operands) {
          for (std::size_t i = 0; i < std::size(functions); ++i) {
            CAPTURE(i);
            CHECK_EQ(functions[i](x, y), by_reference([&] { return functions[i](x, y); }));
          }
        }
      }
    }
  });
}

TEST_CASE("every length comes out right, in pieces, in place and over memory that is not aligned") {
  on_each_capability([] {
    for (const std::int64_t n : {1, 2, 15, 16, 17, 33, 255, 4097, 32769, 100003}) {
      CAPTURE(n);
      const Tensor x = linspace(-4, 4, n + 1).slice(0, 1), y = linspace(1, 3, n);
      CHECK_EQ(x + y, by_reference([&] { return x + y; }));
      CHECK_CLOSE(tanh(x), by_reference([&] { return tanh(x); }), 4e-7, 0);
      const Tensor z = x.clone();
      z.add_(z).mul_(0.5);
      CHECK_EQ(z, x);
      const Tensor shifted = z.slice(0, 1);  // overlaps what is written: as if copied first
      if (n > 1) CHECK_EQ(z.slice(0, 0, n - 1).add_(shifted), x.slice(0, 0, n - 1) + x.slice(0, 1));
    }
  });
}

TEST_CASE("what the caches cannot hold is streamed, and comes out the same") {
  const kernels::VectorKernels<float>& table = kernels::vector_kernels<float>();
  const Tensor x = linspace(-2, 2, 1003), y = linspace(0, 5, 1003);
  for (const std::int64_t skip : {0, 1, 7}) {
    const std::int64_t n = 1003 - skip;
    const Tensor plain = empty({n}), streamed = empty({1003}).slice(0, skip);
    table.unary[static_cast<int>(kernels::Unary::Exp)](x.data<float>() + skip, plain.data<float>(), n, 1, false);
    table.unary[static_cast<int>(kernels::Unary::Exp)](x.data<float>() + skip, streamed.data<float>(), n, 1, true);
    CHECK_EQ(streamed, plain);
    table.binary[static_cast<int>(kernels::Binary::Mul)](x.data<float>() + skip, true, y.data<float>(), false, plain.data<float>(), n, 1, false);
    table.binary[static_cast<int>(kernels::Binary::Mul)](x.data<float>() + skip, true, y.data<float>(), false, streamed.data<float>(), n, 1, true);
    CHECK_EQ(streamed, plain);
  }
}

TEST_CASE("NaN wins in maximum and minimum, and relu keeps it") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = tensor({nan, 1.f, 2.f}), y = tensor({0.f, nan, 3.f});
  CHECK_EQ(maximum(x, y), tensor({nan, nan, 3.f}));
  CHECK_EQ(minimum(x, y), tensor({nan, nan, 2.f}));
  CHECK_EQ(relu(x), x);
}

TEST_CASE("gradients in one pass are the recorded ones, and second derivatives still exist") {
  using F = Tensor (*)(const Tensor&);
  for (const F f : {F([](const Tensor& x) { return relu(x); }), F([](const Tensor& x) { return sigmoid(x); }), F([](const Tensor& x) { return tanh(x); }),
                    F([](const Tensor& x) { return silu(x); }), F([](const Tensor& x) { return gelu(x); }), F([](const Tensor& x) { return gelu(x, "tanh"); })}) {
    for (const ScalarType type : {kFloat, kDouble}) {
      const Tensor x = linspace(-8, 8, 101, type).requires_grad_(), weight = linspace(-1, 2, 101, type);
      const auto slope = [&](bool create_graph) { return autograd::grad({f(x)}, {x}, {weight}, true, create_graph)[0]; };
      CHECK_CLOSE(slope(false), by_reference([&] { return slope(true); }).detach(), type == kFloat ? 2e-6 : 1e-13, type == kFloat ? 1e-6 : 1e-13);
      const Tensor twice = autograd::grad({slope(true)}, {x}, {weight}, true, false)[0];
      CHECK_CLOSE(twice, by_reference([&] { return autograd::grad({slope(true)}, {x}, {weight}, true, false)[0]; }), 1e-4, 1e-5);
    }
  }
}

// %% [markdown]
// ## softmax and cross-entropy
//
// `softmax` over the last dimension goes by rows, over another one by strips of columns. Their gradients need one number for each row, `sum g y`, and then each element: two passes over a row that is in the cache. The composed gradient of module 05 made four tensors.
//
// Cross-entropy needs of each row of logits only the maximum and the sum of exponentials; its gradient is `softmax(x) - one_hot(target)`, times what the row counts, written once.
//
//     logits (N, C)  --->  maximum, sum of exp  (one pass over the row)  --->  loss[n]  --->  their sum, in the order of n
//          |
//          +-- backward:  coefficient[n] * softmax(row), minus coefficient[n] at the target

// %%
//| export kernels/softmax.cpp
namespace {
// A tensor seen as (outer, n, inner) around a dimension.
struct Around {
  std::int64_t outer = 1, n = 1, inner = 1;
};
Around around(const Tensor& self, std::int64_t dim) {
  Around shape;
  for (std::int64_t d = 0; d < self.dim(); ++d) (d < dim ? shape.outer : d == dim ? shape.n : shape.inner) *= self.size(d);
  return shape;
}

// How many rows of n elements make a piece of work.
std::int64_t row_grain(std::int64_t n) { return std::max<std::int64_t>(1, kernels::kCostlyGrain / std::max<std::int64_t>(n, 1)); }

constexpr std::int64_t kStrip = 64;  // columns that a task takes

template <class T>
void softmax_into(const Tensor& input, const Tensor& result, std::int64_t dim, bool logarithm) {
  const Around shape = around(input, dim);
  const kernels::VectorKernels<T>& table = kernels::vector_kernels<T>();
  const T* const x = input.data<T>();
  T* const y = result.data<T>();
  if (shape.inner == 1) {
    const auto rows = logarithm ? table.log_softmax : table.softmax;
    parallel_for(0, shape.outer, row_grain(shape.n), [&](std::int64_t first, std::int64_t stop) { rows(x + first * shape.n, y + first * shape.n, stop - first, shape.n); });
    return;
  }
  const std::int64_t strips = (shape.inner + kStrip - 1) / kStrip;
  parallel_for(0, shape.outer * strips, row_grain(shape.n * kStrip), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) {
      const std::int64_t column = i % strips * kStrip;
      const std::int64_t offset = i / strips * shape.n * shape.inner + column;
      table.softmax_columns(x + offset, y + offset, shape.n, shape.inner, std::min(kStrip, shape.inner - column), logarithm);
    }
  });
}

Tensor softmax_by_vectors(const Tensor& self, std::int64_t dim, bool logarithm) {
  const Tensor input = self.contiguous();
  const Tensor result = empty(self.sizes(), self.scalar_type());
  if (result.numel() > 0) kernels::for_float_types(self.scalar_type(), [&]<class T>() { softmax_into<T>(input, result, dim, logarithm); });
  return result;
}
Tensor softmax_tuned(const Tensor& self, std::int64_t dim) {
  return kernels::is_tuned_type(self.scalar_type()) ? softmax_by_vectors(self, dim, false) : op::softmax.function(Layer::CPU)(self, dim);
}
Tensor log_softmax_tuned(const Tensor& self, std::int64_t dim) {
  return kernels::is_tuned_type(self.scalar_type()) ? softmax_by_vectors(self, dim, true) : op::log_softmax.function(Layer::CPU)(self, dim);
}

// Whether the gradient of a softmax can be computed row by row, unrecorded.
bool by_rows(const Tensor& g, const Tensor& result, std::int64_t dim) {
  return !GradMode::is_enabled() && kernels::tuned_for(result) && g.scalar_type() == result.scalar_type() && result.is_contiguous() && result.numel() > 0 &&
         around(result, dim).inner == 1;
}
Tensor rows_backward(const Tensor& g, const Tensor& result, std::int64_t dim, bool logarithm) {
  const Tensor grad = g.contiguous();
  const Tensor out = empty(result.sizes(), result.scalar_type());
  const Around shape = around(result, dim);
  kernels::for_float_types(result.scalar_type(), [&]<class T>() {
    const auto rows = logarithm ? kernels::vector_kernels<T>().log_softmax_backward : kernels::vector_kernels<T>().softmax_backward;
    parallel_for(0, shape.outer, row_grain(shape.n), [&](std::int64_t first, std::int64_t stop) {
      const std::int64_t at = first * shape.n;
      rows(grad.data<T>() + at, result.data<T>() + at, out.data<T>() + at, stop - first, shape.n);
    });
  });
  return out;
}
}  // namespace

// %%
//| export kernels/softmax.cpp
namespace {
// What each of the N samples counts for the loss: the weight of its class; 0 if ignored. Empty if a target is no class.
template <class T>
std::vector<double> sample_counts(const Tensor& labels, const std::optional<Tensor>& weight, std::int64_t classes, std::int64_t ignore_index) {
  const bool weighted = weight && weight->defined();
  const Tensor factors = weighted ? weight->contiguous() : Tensor();
  std::vector<double> counts(static_cast<std::size_t>(labels.numel()));
  for (std::size_t n = 0; n < counts.size(); ++n) {
    const std::int64_t t = labels.data<std::int64_t>()[n];
    if (t == ignore_index) continue;
    if (t < 0 || t >= classes) return {};
    counts[n] = weighted ? static_cast<double>(factors.data<T>()[t]) : 1.0;
  }
  return counts;
}

// The sum in the order of the samples, whatever the threads did.
double total_of(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

bool is_row_major(const Tensor& self) { return kernels::is_tuned_type(self.scalar_type()) && self.is_contiguous() && self.numel() > 0; }

Tensor cross_entropy_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const auto reference = [&] { return op::cross_entropy.function(Layer::CPU)(self, target, weight, reduction, ignore_index); };
  if (!is_row_major(self)) return reference();
  const std::int64_t N = self.size(0), C = self.size(1);
  const Tensor labels = target.contiguous();
  return kernels::for_float_types(self.scalar_type(), [&]<class T>() {
    const std::vector<double> counts = sample_counts<T>(labels, weight, C, ignore_index);
    if (counts.empty()) return reference();  // it says which target is none of the classes
    std::vector<double> losses(counts.size());
    const auto exp_sum = kernels::vector_kernels<T>().exp_sum;
    parallel_for(0, N, row_grain(C), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t n = first; n < stop; ++n) {
        const std::int64_t t = labels.data<std::int64_t>()[n];
        if (t == ignore_index) continue;
        const T* const row = self.data<T>() + n * C;
        T maximum{};
        double sum = 0;
        exp_sum(row, C, &maximum, &sum);
        losses[static_cast<std::size_t>(n)] = counts[static_cast<std::size_t>(n)] * static_cast<double>(maximum - row[t] + static_cast<T>(std::log(sum)));
      }
    });
    if (reduction == Reduction::None) {
      const Tensor result = empty({N}, self.scalar_type());
      for (std::int64_t n = 0; n < N; ++n) result.data<T>()[n] = static_cast<T>(losses[static_cast<std::size_t>(n)]);
      return result;
    }
    return full({}, reduction == Reduction::Mean ? total_of(losses) / total_of(counts) : total_of(losses), self.scalar_type());
  });
}

// coefficient * (softmax(row) - one_hot(target)), unrecorded.
Tensor cross_entropy_rows_backward(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const std::int64_t N = self.size(0), C = self.size(1);
  const Tensor labels = target.contiguous(), arrived = g.contiguous();
  const Tensor out = empty(self.sizes(), self.scalar_type());
  kernels::for_float_types(self.scalar_type(), [&]<class T>() {
    const std::vector<double> counts = sample_counts<T>(labels, weight, C, ignore_index);
    const double total = reduction == Reduction::Mean ? total_of(counts) : 1;
    const auto scaled_softmax = kernels::vector_kernels<T>().scaled_softmax;
    parallel_for(0, N, row_grain(C), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t n = first; n < stop; ++n) {
        const double grad = static_cast<double>(arrived.data<T>()[reduction == Reduction::None ? n : 0]);
        const T coefficient = static_cast<T>(grad * counts[static_cast<std::size_t>(n)] / (total == 0 ? 1 : total));
        scaled_softmax(self.data<T>() + n * C, out.data<T>() + n * C, C, coefficient);
        const std::int64_t t = labels.data<std::int64_t>()[n];
        if (t != ignore_index) out.data<T>()[n * C + t] -= coefficient;
      }
    });
  });
  return out;
}

// The same as operators, for when it is recorded.
Tensor cross_entropy_composed_backward(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const Tensor nothing = zeros({}, self.options());
  const Tensor ignored = target.eq(ignore_index);
  const Tensor classes = where(ignored, zeros({}, kLong), target);
  const Tensor counts = where(ignored, nothing, weight.defined() ? index_select(weight, 0, classes) : ones({target.size(0)}, self.options()));
  Tensor coefficient = g * counts;
  if (reduction == Reduction::Mean) {
    const Tensor total = counts.sum();
    coefficient = coefficient / where(total.eq(0), ones_like(total), total);
  }
  const Tensor column = coefficient.unsqueeze(1);
  return softmax(self, 1) * column + scatter_add(zeros(self.sizes(), self.options()), 1, classes.unsqueeze(1), -column);
}
}  // namespace

//| registers
void register_tuned_softmax() {
  op::softmax.set(Layer::TunedCPU, softmax_tuned);
  op::log_softmax.set(Layer::TunedCPU, log_softmax_tuned);
  op::cross_entropy.set(Layer::TunedCPU, cross_entropy_tuned);
  gradient<op::softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) {
    if (by_rows(g, result, dim)) return rows_backward(g, result, dim, false);
    const Tensor weighted = g * result;
    return weighted - result * weighted.sum(dim.value, true);
  });
  gradient<op::log_softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) {
    if (by_rows(g, result, dim)) return rows_backward(g, result, dim, true);
    return g - exp(result) * g.sum(dim.value, true);
  });
  gradient<op::cross_entropy>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction, Arg<4, std::int64_t> ignore_index) {
    const bool rows = !GradMode::is_enabled() && kernels::tuned_for(self) && is_row_major(self) && g.scalar_type() == self.scalar_type();
    const auto backward = rows ? cross_entropy_rows_backward : cross_entropy_composed_backward;
    return backward(g, self, target, weight, reduction, ignore_index);
  });
}

// %%
TEST_CASE("softmax and log_softmax along every dimension, with their gradients: tuned against reference") {
  on_each_capability([] {
    for (const ScalarType type : {kFloat, kDouble}) {
      const double tolerance = type == kFloat ? 2e-6 : 1e-13;
      for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{{3, 5, 70}, {2, 1030, 3}, {130, 1, 1}, {4, 2, 2000}}) {
        manual_seed(5);
        const Tensor x = ((rand(sizes) * 40) - 20).to(type).requires_grad_(), weight = rand(sizes).to(type);
        for (std::int64_t dim = 0; dim < 3; ++dim) {
          for (const bool logarithm : {false, true}) {
            const auto f = [&] { return logarithm ? log_softmax(x, dim) : softmax(x, dim); };
            const auto slope = [&] { return autograd::grad({f()}, {x}, {weight})[0]; };
            CHECK_CLOSE(f().detach(), by_reference(f).detach(), tolerance, logarithm ? tolerance * 20 : 0);
            CHECK_CLOSE(slope(), by_reference(slope), tolerance * 10, tolerance * 10);
          }
        }
      }
    }
  });
}

TEST_CASE("softmax: rows of the same number, of -infinity, with +infinity or NaN, and of one element") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = tensor({5.f, 5.f, 5.f, 5.f, -inf, -inf, -inf, -inf, 1.f, inf, 2.f, 3.f, 1.f, nan, 2.f, 3.f, -inf, 0.f, -inf, -200.f}).view({5, 4});
  on_each_capability([&] {
    for (const std::int64_t dim : {0, 1}) {
      CHECK_CLOSE(softmax(x, dim), by_reference([&] { return softmax(x, dim); }), 1e-6, 0);
      CHECK_CLOSE(log_softmax(x, dim), by_reference([&] { return log_softmax(x, dim); }), 1e-6, 1e-6);
    }
    CHECK_EQ(softmax(full({3, 1}, 7.0), 1), ones({3, 1}));
    CHECK_EQ(softmax(tensor(3.f), 0), tensor(1.f));
  });
}

TEST_CASE("cross-entropy and its gradient: weights, ignored samples, all reductions") {
  manual_seed(11);
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor logits = (randn({37, 19}) * 5).to(type).requires_grad_(), target = randint(0, 19, {37}), weight = rand({19}).to(type);
    target.slice(0, 0, 37, 5).fill_(-100);
    for (const std::int64_t reduction : {Reduction::None, Reduction::Mean, Reduction::Sum}) {
      for (const std::optional<Tensor>& factors : {std::optional<Tensor>(), std::optional<Tensor>(weight)}) {
        const auto loss = [&] { return cross_entropy_loss(logits, target, factors, reduction); };
        const auto slope = [&](bool recorded) { return autograd::grad({loss().sum()}, {logits}, {}, true, recorded)[0].detach(); };
        const double tolerance = type == kFloat ? 2e-6 : 1e-13;
        CHECK_CLOSE(loss().detach(), by_reference(loss).detach(), tolerance, tolerance);
        CHECK_CLOSE(slope(false), by_reference([&] { return slope(false); }), tolerance, tolerance);
        CHECK_CLOSE(slope(true), slope(false), tolerance, tolerance);
      }
    }
  }
  CHECK_ERROR(cross_entropy_loss(zeros({2, 3}), tensor({0, 3})), "Target 3 is out of bounds.");
  const Tensor all_ignored = full({2}, -100, kLong), logits = ones({2, 3}).requires_grad_();
  CHECK_EQ(autograd::grad({cross_entropy_loss(logits, all_ignored)}, {logits})[0], zeros({2, 3}));
}

TEST_CASE("results are the same for any number of threads") {
  manual_seed(13);
  const Tensor x = randn({301, 1999}), target = randint(0, 1999, {301});
  const int before = get_num_threads();
  std::vector<Tensor> results;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    results.push_back(cat({(gelu(x) + x.select(1, 0).unsqueeze(1)).flatten(), softmax(x, 1).flatten(), softmax(x, 0).flatten(), cross_entropy_loss(x, target).view({1})}, 0));
  }
  set_num_threads(before);
  CHECK_EQ(results[1], results[0]);
  CHECK_EQ(results[2], results[0]);
}

// %% [markdown]
// ## What it brings
//
// The demonstration measures each operator with the reference kernels and with the tuned ones, in turn, in one run. A tensor of 4 MB fits into the caches of most machines, one of 256 MB into none, and one of a single element shows what a call costs.

// %%
//| lesson
// The shortest of several runs of f, in seconds, each of `times` calls.
template <class F>
double seconds_of(F f, int times) {
  double shortest = 1e9;
  for (int run = 0; run < 5; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) f();
    shortest = std::min(shortest, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / times);
  }
  return shortest;
}

// %%
DEMO("tuned against reference") {
  const NoGradGuard no_grad;
  std::cout << "capability " << get_cpu_capability() << ", " << get_num_threads() << " threads\n";
  struct Row {
    const char* name;
    Tensor (*f)(const Tensor&);
  };
  const Row rows[] = {{"add", [](const Tensor& x) { return x + x; }},          {"relu", [](const Tensor& x) { return relu(x); }},
                      {"exp", [](const Tensor& x) { return exp(x); }},          {"tanh", [](const Tensor& x) { return tanh(x); }},
                      {"gelu", [](const Tensor& x) { return gelu(x); }},        {"gelu tanh", [](const Tensor& x) { return gelu(x, "tanh"); }},
                      {"softmax rows", [](const Tensor& x) { return softmax(x, 1); }}, {"softmax columns", [](const Tensor& x) { return softmax(x, 0); }}};
  for (const std::int64_t count : {1, 1024, 1024 * 1024}) {
    const Tensor x = rand({std::max<std::int64_t>(1, count / 1024), std::min<std::int64_t>(1024, count)});
    const int times = static_cast<int>(std::max<std::int64_t>(1, 20000 / std::max<std::int64_t>(1, count / 10)));
    for (const Row& row : rows) {
      const double tuned = seconds_of([&] { row.f(x); }, times);
      const double reference = by_reference([&] { return seconds_of([&] { row.f(x); }, times); });
      std::cout << row.name << " of " << count << ": " << tuned * 1e9 << " ns, " << reference / tuned << " times as fast as the reference\n";
    }
  }
}

// %% [markdown]
// ## Where to read on
//
// - PyTorch: `aten/src/ATen/native/cpu/UnaryOpsKernel.cpp`, `BinaryOpsKernel.cpp`, `Activation.cpp`, `SoftMaxKernel.cpp`, `vec_log_softmax_lastdim`; the vector class in `aten/src/ATen/cpu/vec/vec512/vec512_float.h`.
// - SLEEF (`src/libm/sleefsimdsp.c`): vector functions with stated errors. Shibata and Petrogalli, "SLEEF: A Portable Vectorized Library of C Standard Mathematical Functions" (2020).
// - Muller et al., *Handbook of Floating-Point Arithmetic*: argument reduction, minimax polynomials, sums and products without error.
// - Cody and Waite, *Software Manual for the Elementary Functions* (1980).

// %%
}  // namespace tinytorch
