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
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 79: Kernels of functions
//
// Chapter 76 has kernels for what a network computes at every step, and chapter 77 for rows that become one number. Around them stand operators that a program calls now and then, each of which the reference does one number after the other: a function of the C library for each, a comparison for each pair. A probe of some ninety operators beside PyTorch, by hand, with one thread and 1,024 x 1,024 floats, found them: most of those below ran at 0.01 to 0.6 of its speed, and run at 0.8 to 28 times of it with the kernels of this chapter (benchmarks/notes.md has the numbers). For what a second probe found, milliseconds of one thread of an AMD EPYC with AVX-512, the fastest of 25 calls:
//
//                                            before       here          PyTorch
//     exp2                                   1.5          0.14          0.22
//     log2, log10                            1.6, 3.7     0.22          0.9
//     asin                                   2.9          0.23          1.5
//     atan2                                  20           0.38          1.0
//     erfinv                                 70           0.70          1.8
//     pow                                    3.2          1.5           1.7
//     sinh, cosh                             16, 6.7      0.26, 0.21    16, 7.1
//     asinh, acosh                           18, 14       0.64, 0.58    20, 14
//     atanh, erfc                            16, 11       0.56, 0.69    1.0, 1.5
//     hypot                                  2.2          0.16          0.75
//     prelu, one slope                       0.24         0.08          0.09
//     nan_to_num                             0.61         0.08          0.08
//     Huber, smooth L1                       1.05, 0.85   0.14          0.15
//     binary cross-entropy                   13           0.72          13
//
// A third one, with AVX2 and one thread of another EPYC, found operators that had stayed loops or compositions, most of which only choose or ask, where the vectors of every x86-64 are all that the reference's loops have:
//
//                                            before       here          PyTorch
//     frac, threshold                        0.30, 0.19   0.12          0.14
//     hardtanh, hardshrink, softshrink       0.14, 0.17   0.12          0.14, 0.14, 0.17
//     sign; copysign of one number           0.17, 0.68   0.13          0.15, 0.36
//     isnan, isinf, isfinite                 0.46, 0.66   0.09, 0.11    0.8 to 2.0
//     logaddexp                              5.2          1.4           3.6
//     lgamma                                 10.2         5.6           10.1
//     digamma, trigamma                      22, 241      5.4, 2.4      16, 10.7
//
// This chapter has functions of vectors, remainders, products and sums so far, losses of distances, and logic of bools. Distances of rows and sorting, which the same probes found, are in chapter 52.

// %%
//| after 16
//| export kernels/function_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/functions.cpp
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <numeric>
#include <type_traits>
#include <vector>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/special.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/function_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/more_activations.h"

// %%
//| export kernels/functions.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <cmath>
#include <type_traits>
#include "tinytorch/kernels/function_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pairs.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/special.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/more_activations.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Functions of vectors
//
// Chapter 76 made vectors of `exp` and `log`. With these two in hand, the functions that lose digits when they are written with them follow; what each needs is a form in which nothing cancels.
//
//     log1p(x)  = log(u) + c / u            u = 1 + x rounded, and c what that rounding left out
//     expm1(x)  = 2^n (exp(r) - 1) + (2^n - 1)       x = n log 2 + r; chapter 76's tanh has it
//     softplus  = max(x, 0) + log1p(exp(-|x|))       log_sigmoid(x) = -softplus(-x)
//     mish      = x w / (w + 2),  w = e (e + 2),  e = exp(x)      x tanh(log(1 + e)) without a logarithm
//     fmod(a, b) = a - n b,  n = trunc(a / b)        one operation that multiplies and adds rounds once, and this result needs no rounding
//
// In `softplus`, u = exp(-|x|) lies between 0 and 1. There `log(1 + u)` needs no exponent taken out and no rounding made good: with s = u / (2 + u), at most 1/3, it is `u - (u^2 / 2 - s (u^2 / 2 + s^2 P(s^2)))`, the form of chapter 76's logarithm of doubles, of which u itself is the exact first term. `logaddexp` takes 0.6 of the time that it took with `log1p`.
//
// Chapter 76 has sine and cosine for random numbers, where an error of 2 units beside 1 does not matter. As operators they shall be within 2 ulp of results near 0 too, and of large numbers. That needs a reduction of their own: `r = x - n pi/2`, with r small and n up to thousands, where x and `n pi/2` agree in most of their digits. An operation that multiplies and adds at once rounds once, and `pi/2` in three parts, each as long as a number can be, is enough: `x - n p1` is exact, since n p1 and x are both whole multiples of half of the last digit of p1, and what is left is less than 1; the second difference is rounded by half an ulp of r, and the third counts only where r is tiny.
// Without such an operation (before AVX2) `pi/2` comes in four parts. The first three have so few bits that n times each of them is exact, and what their subtractions round away is kept and added with the last part. That takes eleven operations more.
// Beyond that range (12,800 in float, 1.6 million in double) the parts would no longer do; such numbers, which are rare, go one by one to the C library, which knows more digits of pi. So do quotients of more than 2^22 (2^51) in `fmod`, where `n` is no longer exact; a quotient that was rounded up to the next whole number is noticed, since what is left is negative then.
//
//     x = 355  ->  n = 226,  226 pi/2 = 354.99996985...  ->  r = 0.0000301...     a single float for pi/2 would leave no right digit of r

// %%
//| export kernels/function_kernels.h
namespace kernels {

// out[i] = f(x[i]) for i < count; `out` may be x. elu: p is alpha. softplus: beta p, threshold q. O(count).
template <class T>
struct FunctionTable {
  using Kernel = void (*)(const T* x, std::int64_t count, T p, T q, T* out);
  Kernel log1p, expm1, sin, cos, tan, atan, elu, softplus, log_sigmoid, mish;
  Kernel exp2, log2, log10, asin, acos, erfinv, sinh, cosh, asinh, acosh, atanh, erfc, lgamma, digamma, trigamma;
  Kernel frac, sign, logit, hardsigmoid, hardswish, hardtanh, threshold, hardshrink, softshrink;  // logit, hardtanh: between p and q. threshold: q up to p. The others: p on both sides of 0.
  // out[i] = whether x[i] is one.
  using Question = void (*)(const T* x, std::int64_t count, bool* out);
  Question isnan, isinf, isfinite;
  // out[i] = f(a[i], b[i b_step]), b_step 0 or 1; `out` may be a.
  using PairKernel = void (*)(const T* a, const T* b, std::int64_t b_step, std::int64_t count, T p, T* out);
  PairKernel fmod, remainder, floor_divide, bce_with_logits;  // the last one: the binary cross-entropy of logits a with targets b
  PairKernel atan2, hypot, pow, power_of_base, prelu;         // power_of_base: b^a; prelu: a with slope b
  PairKernel copysign, logaddexp;
  PairKernel squared_error, smooth_l1, huber, bce;            // of a and targets b, with beta or delta p; bce of probabilities a
  void (*nan_to_num)(const T* x, std::int64_t count, T nan, T posinf, T neginf, T* out);
  // The product of `count` numbers, and totals[i] *= x[i] for i < count; both in double.
  double (*product)(const T* x, std::int64_t count);
  void (*multiply_to)(const T* x, std::int64_t count, double* totals);
};

struct FunctionKernels {
  FunctionTable<float> in_float;
  FunctionTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(FunctionKernels, function_kernels)

}  // namespace kernels

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// log(1 + x) within 2 ulp, as <cmath> where it is not finite.
template <class D, class V>
HWY_INLINE V Log1p(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1}), infinity = hn::Set(d, static_cast<T>(__builtin_inf()));
  const V sum = hn::Add(one, x);
  const V left_out = hn::IfThenElse(hn::Gt(x, one), hn::Sub(one, hn::Sub(sum, x)), hn::Sub(x, hn::Sub(sum, one)));
  const V y = hn::Add(LogOfPositive(d, sum), hn::Div(left_out, sum));
  const V at_end = hn::IfThenElse(hn::Eq(sum, hn::Zero(d)), hn::Neg(infinity), hn::Set(d, static_cast<T>(__builtin_nan(""))));
  const V finite = hn::IfThenElse(hn::Lt(sum, infinity), y, x);
  return hn::CopySign(hn::IfThenElse(hn::Gt(sum, hn::Zero(d)), finite, at_end), x);
}

// exp(x) - 1 within 2 ulp.
template <class D, class V>
HWY_INLINE V Expm1(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1}), border = hn::Set(d, static_cast<T>(FloatFormat<T>::kMantissa));  // there exp(x) is above 2^kMantissa, and 1 is lost beside it
  const V within = hn::Min(hn::Max(x, hn::Neg(border)), border);
  return hn::CopySign(hn::IfThenElse(hn::Le(hn::Abs(x), border), Expm1Reduced(d, within), hn::Sub(Exp(d, x), one)), x);
}

template <class T>
struct ShareConstants;

template <>
struct ShareConstants<float> {
  // (log((1 + s) / (1 - s)) / s - 2) / s^2 in s^2 for s <= 1/3, relative error of the logarithm 2^-31
  static constexpr float kSeries[] = {0.6666666732f, 0.3999970633f, 0.2859235799f, 0.217065758f, 0.2322432922f};
};

template <>
struct ShareConstants<double> {
  // relative error 2^-62
  static constexpr double kSeries[] = {0.666666666666666669, 0.399999999999995225, 0.285714285716000993, 0.222222221982367706, 0.181818198979627144, 0.153845439648605493,
                                       0.133351786314492558, 0.117342790613031975, 0.108451783948800148, 0.074921437955507673, 0.156305778009228504};
};

// log(1 + u) within 1 ulp. REQUIRES: 0 <= u <= 1 or NaN.
template <class D, class V>
HWY_INLINE V Log1pOfShare(D d, V u) {
  using T = hn::TFromD<D>;
  const V s = hn::Div(u, hn::Add(u, hn::Set(d, T{2}))), square = hn::Mul(s, s), half = hn::Mul(hn::Mul(u, u), hn::Set(d, T{0.5}));
  return hn::Sub(u, hn::NegMulAdd(s, hn::MulAdd(square, Polynomial(d, square, ShareConstants<T>::kSeries), half), half));
}

// log(1 + exp(x)) where nothing overflows: the sum of two terms that are not negative.
template <class D, class V>
HWY_INLINE V LogOnePlusExp(D d, V x) {
  // NaN is in both terms; Max may drop it.
  return hn::Add(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x), Log1pOfShare(d, Exp(d, hn::Neg(hn::Abs(x)))));
}

template <class T>
struct TurnConstants;

template <>
struct TurnConstants<float> {
  static constexpr float kFar = 12800;  // n fits into 13 bits before
  static constexpr float kTwoOverPi = 0x1.45f306p-1f;
#if HWY_NATIVE_FMA
  static constexpr float kHalfPi[] = {0x1.921fb6p0f, -0x1.777a5cp-25f, -0x1.ee59dap-50f};
#else
  static constexpr float kHalfPi[] = {0x1.92p0f, 0x1.fb4p-12f, 0x1.444p-24f, 2.563344152e-12f};  // 11 bits each, and the rest
#endif
  // (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2 for |r| <= pi / 4, relative errors 2^-35 and 2^-39
  static constexpr float kSine[] = {-0.1666666666f, 0.008333331691f, -0.0001983998958f, 2.723757724e-6f};
  static constexpr float kCosine[] = {0.04166666666f, -0.001388888752f, 2.480051929e-5f, -2.72906524e-7f};
};

template <>
struct TurnConstants<double> {
  static constexpr double kFar = 1.6e6;  // 20 bits
  static constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
#if HWY_NATIVE_FMA
  static constexpr double kHalfPi[] = {0x1.921fb54442d18p0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};
#else
  static constexpr double kHalfPi[] = {0x1.921fb544p0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 8.478427660368899643958701e-32};  // 33 bits each, and the rest
#endif
  // relative errors 2^-66 and 2^-71
  static constexpr double kSine[] = {-0.166666666666666667, 0.008333333333333331, -0.000198412698412640204, 2.75573192185428349e-6, -2.50521059613770006e-8, 1.60584895095587418e-10, -7.58426399603416657e-13};
  static constexpr double kCosine[] = {0.0416666666666666667, -0.00138888888888888876, 0.0000248015873015840657, -2.75573192209600783e-7, 2.08767556403691327e-9, -1.14704374752664988e-11, 4.74451910964800461e-14};
};

// x = n pi/2 + r: sine and cosine of r, and the bits of n.
template <class V, class Bits>
struct Turn {
  V sine, cosine;
  Bits quarter;
};

// REQUIRES: |x| <= kFar.
template <class D, class V>
HWY_INLINE auto TurnOf(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = TurnConstants<T>;
  const hn::RebindToUnsigned<D> du;
  const V magic = hn::Set(d, FloatFormat<T>::kRound);
  const V shifted = hn::MulAdd(x, hn::Set(d, Constants::kTwoOverPi), magic);
  const V n = hn::Sub(shifted, magic);
#if HWY_NATIVE_FMA
  const V nearly = hn::NegMulAdd(n, hn::Set(d, Constants::kHalfPi[1]), hn::NegMulAdd(n, hn::Set(d, Constants::kHalfPi[0]), x));
  const V r = hn::NegMulAdd(n, hn::Set(d, Constants::kHalfPi[2]), nearly);
#else
  // x - n pi/2 as a sum, r + low
  const V first = hn::NegMulAdd(n, hn::Set(d, Constants::kHalfPi[0]), x);
  const V middle = hn::Mul(n, hn::Set(d, Constants::kHalfPi[1])), small_part = hn::Mul(n, hn::Set(d, Constants::kHalfPi[2]));
  const V second = hn::Sub(first, middle), third = hn::Sub(second, small_part);
  const V left_out = hn::Add(hn::Sub(hn::Sub(first, second), middle), hn::Sub(hn::Sub(second, third), small_part));
  const V rest = hn::NegMulAdd(n, hn::Set(d, Constants::kHalfPi[3]), left_out);
  const V r = hn::Add(third, rest);
  const V low = hn::Add(hn::Sub(third, r), rest);
#endif
  const V square = hn::Mul(r, r);
  // 1 - r^2 / 2 rounds, and what that leaves out is added to the small terms.
  const V one = hn::Set(d, T{1}), half = hn::Mul(square, hn::Set(d, T{0.5}));
  const V most = hn::Sub(one, half), left_of_one = hn::Sub(hn::Sub(one, most), half);
  const V cube = hn::Mul(r, square), sine_series = Polynomial(d, square, Constants::kSine), cosine_series = Polynomial(d, square, Constants::kCosine);
#if HWY_NATIVE_FMA
  const V sine = hn::MulAdd(cube, sine_series, r), small = hn::MulAdd(hn::Mul(square, square), cosine_series, left_of_one);
#else
  // sin(r + low) = sin(r) + low, cos(r + low) = cos(r) - r low
  const V sine = hn::Add(r, hn::MulAdd(cube, sine_series, low));
  const V small = hn::MulAdd(hn::Mul(square, square), cosine_series, hn::NegMulAdd(r, low, left_of_one));
#endif
  const auto quarter = hn::BitCast(du, shifted);
  return Turn<V, std::remove_const_t<decltype(quarter)>>{sine, hn::Add(most, small), quarter};
}

template <class D, class Bits>
HWY_INLINE auto IsOdd(D d, Bits quarter) {
  const hn::RebindToUnsigned<D> du;
  const Bits one = hn::Set(du, hn::TFromD<decltype(du)>{1});
  return hn::MaskFromVec(hn::BitCast(d, hn::VecFromMask(du, hn::Ne(hn::And(quarter, one), hn::Zero(du)))));
}

// sin(x), or cos(x) as the sine a quarter of a circle on, within 2 ulp. REQUIRES: |x| <= kFar.
template <bool Cosine, class D, class V>
HWY_INLINE V SineNear(D d, V x) {
  using T = hn::TFromD<D>;
  const hn::RebindToUnsigned<D> du;
  using Bits = hn::TFromD<decltype(du)>;
  const auto turn = TurnOf(d, x);
  // The quarter that x lies in: odd ones change sine and cosine, the third and fourth the sign.
  const auto quarter = hn::Add(turn.quarter, hn::Set(du, Bits{Cosine}));
  const auto sign = hn::ShiftLeft<sizeof(T) * 8 - 2>(hn::And(quarter, hn::Set(du, Bits{2})));
  const V result = hn::Xor(hn::IfThenElse(IsOdd(d, quarter), turn.cosine, turn.sine), hn::BitCast(d, sign));
  if constexpr (Cosine) return result;
  else return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, result);  // -0 stays
}

// tan(x) within 3 ulp: sine over cosine, or in odd quarters -cosine over sine. REQUIRES: |x| <= kFar.
template <class D, class V>
HWY_INLINE V TangentNear(D d, V x) {
  const auto turn = TurnOf(d, x);
  const auto odd = IsOdd(d, turn.quarter);
  const V quotient = hn::Div(hn::IfThenElse(odd, hn::Neg(turn.cosine), turn.sine), hn::IfThenElse(odd, turn.sine, turn.cosine));
  return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, quotient);
}

// near_form(x), and where x is beyond kFar, infinite or NaN, f(x) for each number.
template <class D, class V, class Near, class F>
HWY_INLINE V NearOrFar(D d, V x, Near near_form, F f) {
  using T = hn::TFromD<D>;
  const auto near = hn::Le(hn::Abs(x), hn::Set(d, TurnConstants<T>::kFar));
  if (HWY_LIKELY(hn::AllTrue(d, near))) return near_form(x);
  T numbers[static_cast<std::size_t>(LanesOf(D()))];
  hn::StoreU(x, d, numbers);
  for (T& number : numbers) number = f(number);
  return hn::IfThenElse(near, near_form(hn::IfThenElseZero(near, x)), hn::LoadU(d, numbers));
}

}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Angles
//
// `atan` has one number, `atan2(y, x)` two, and the sign of x says on which side of the circle the point lies. Both take the quotient that is at most 1/2, and 0, 1/2 or 1 quarter of the circle beside it. The difference a - b is exact where a / b lies between 1/2 and 2, so the border stands there:
//
//     a <= b / 2           u = a / b                     0
//     between              u = (a - b) / (a + b)         pi/4         |u| <= 1/3
//     a > 2 b              u = -b / a                    pi/2
//     x < 0                pi less that angle: 2 - share quarters, and -angle
//
// Near 1 the arc sine rises so steeply that a series in x would not end. There the half of the angle is taken: with `1 - x = 2 s^2` it is `asin(x) = pi/2 - 2 asin(s)`, s at most 1/2, and `1 - x` is exact. `acos(x) = 2 asin(s)` keeps its digits at 1, where pi/2 - asin(x) would lose them all.
// A difference that is larger than the result rounds to fewer digits than the result has: `pi/2 - 2 s` may be a little above 1 where the arc sine is a little below. So it is `pi/4 + (pi/4 - 2 s - small)`: 1.3 ulp, and 2.01 without.

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
struct AtanConstants;

template <>
struct AtanConstants<float> {
  static constexpr float kHalfPi = 0x1.921fb6p0f, kHalfPiLow = -0x1.777a5cp-25f;
  // (atan(u) / u - 1) / u^2 in u^2 for |u| <= 1/2, relative error of atan 2^-31
  static constexpr float kSeries[] = {-0.3333332709f, 0.199994992f, -0.1427225078f, 0.1094236513f, -0.07989104633f, 0.03879164097f};
};

template <>
struct AtanConstants<double> {
  static constexpr double kHalfPi = 0x1.921fb54442d18p0, kHalfPiLow = 0x1.1a62633145c07p-54;
  // relative error 2^-62
  static constexpr double kSeries[] = {-0.333333333333333129, 0.199999999999934457, -0.142857142849777622, 0.11111111069363623, -0.0909090769206861108, 0.0769227747654082228, -0.0666622370364600672,
                                       0.0587780936888103559, -0.0523003037455986996, 0.0458953428482107115, -0.0371213242914086166, 0.0236593523652584875, -0.00836879484059062316};
};

// atan(a / b) = share pi/2 + angle, |angle| <= atan(1/2).
template <class V>
struct Angle {
  V share, angle;
};

// REQUIRES: a and b are not negative, and at most one of them 0 or infinite.
template <class D, class V>
HWY_INLINE Angle<V> AngleOf(D d, V a, V b) {
  using T = hn::TFromD<D>;
  const auto large = hn::Gt(a, hn::Mul(b, hn::Set(d, T{2}))), middle = hn::Gt(a, hn::Mul(b, hn::Set(d, T{0.5})));
  const V above = hn::IfThenElse(large, hn::Neg(b), hn::IfThenElse(middle, hn::Sub(a, b), a));
  const V below = hn::IfThenElse(large, a, hn::IfThenElse(middle, hn::Add(a, b), b));
  const V u = hn::Div(above, below), square = hn::Mul(u, u);
  return {hn::IfThenElse(large, hn::Set(d, T{1}), hn::IfThenElseZero(middle, hn::Set(d, T{0.5}))), hn::MulAdd(hn::Mul(u, square), Polynomial(d, square, AtanConstants<T>::kSeries), u)};
}

// Within 2 ulp.
template <class D, class V>
HWY_INLINE V Atan(D d, V x) {
  using T = hn::TFromD<D>;
  const auto [share, angle] = AngleOf(d, hn::Abs(x), hn::Set(d, T{1}));
  return hn::CopySign(hn::MulAdd(share, hn::Set(d, AtanConstants<T>::kHalfPi), hn::MulAdd(share, hn::Set(d, AtanConstants<T>::kHalfPiLow), angle)), x);
}

// The angle of the point (x, y), within 2 ulp.
template <class D, class V>
HWY_INLINE V Atan2(D d, V y, V x) {
  using T = hn::TFromD<D>;
  using Constants = AtanConstants<T>;
  const V one = hn::Set(d, T{1}), two = hn::Set(d, T{2}), infinity = hn::Set(d, static_cast<T>(__builtin_inf())), zero = hn::Zero(d);
  const V rise = hn::Abs(y), run = hn::Abs(x);
  // The sum of two of the largest numbers would be infinite; a quarter of both has the same angle.
  const V large = hn::Set(d, sizeof(T) == 4 ? static_cast<T>(0x1p125) : static_cast<T>(0x1p1021));
  const V scale = hn::IfThenElse(hn::Or(hn::Gt(rise, large), hn::Gt(run, large)), hn::Set(d, T{0.25}), one);
  const auto same_end = hn::And(hn::Eq(rise, run), hn::Or(hn::Eq(rise, zero), hn::Eq(rise, infinity)));
  // Two infinities are one diagonal; two zeros lie on the axis of x.
  const V a = hn::IfThenElse(same_end, hn::Min(rise, one), hn::Mul(rise, scale)), b = hn::IfThenElse(same_end, one, hn::Mul(run, scale));
  const auto [share, angle] = AngleOf(d, a, b);
  const auto left = hn::Lt(hn::CopySign(one, x), zero);
  const V quarters = hn::IfThenElse(left, hn::Sub(two, share), share), rest = hn::IfThenElse(left, hn::Neg(angle), angle);
  return hn::CopySign(hn::MulAdd(quarters, hn::Set(d, Constants::kHalfPi), hn::MulAdd(quarters, hn::Set(d, Constants::kHalfPiLow), rest)), y);
}

template <class T>
struct AsinConstants;

template <>
struct AsinConstants<float> {
  // (asin(s) / s - 1) / s^2 in s^2 for s <= 1/2, relative error of asin 2^-31
  static constexpr float kSeries[] = {0.1666665987f, 0.07500510956f, 0.04451571067f, 0.03181769925f, 0.01440226229f, 0.03756568967f};
};

template <>
struct AsinConstants<double> {
  // relative error 2^-59
  static constexpr double kSeries[] = {0.166666666666667624, 0.074999999999702572, 0.0446428571751245716, 0.0303819426834675006, 0.0223722156638558392, 0.0173516000371956953, 0.0139809620212100032,
                                       0.0113977718658727551, 0.0107865498215918536, 0.00368297028820575047, 0.0217636610728620038, -0.0210775080128142603, 0.032677018496034966};
};

// asin(s) = s + more; s is |x|, or beyond 1/2 the root of (1 - |x|) / 2, and x then asin of 1 - 2 s^2.
template <class V, class Mask>
struct AsinParts {
  V s, more;
  Mask beyond;
};

template <class D, class V>
HWY_INLINE auto AsinPartsOf(D d, V x) {
  using T = hn::TFromD<D>;
  const V a = hn::Abs(x), half = hn::Set(d, T{0.5});
  const auto beyond = hn::Gt(a, half);
  const V square = hn::IfThenElse(beyond, hn::Mul(half, hn::Sub(hn::Set(d, T{1}), a)), hn::Mul(a, a));
  const V s = hn::IfThenElse(beyond, hn::Sqrt(square), a);
  return AsinParts<V, std::remove_const_t<decltype(beyond)>>{s, hn::Mul(hn::Mul(s, square), Polynomial(d, square, AsinConstants<T>::kSeries)), beyond};
}

template <class D, class V>
HWY_INLINE V Asin(D d, V x) {
  using T = hn::TFromD<D>;
  const V two = hn::Set(d, T{2}), eighth = hn::Set(d, AtanConstants<T>::kHalfPi / 2);  // of a circle
  const auto [s, more, beyond] = AsinPartsOf(d, x);
  // pi/2 - 2 (s + more): half of pi/2 is added last, so that nothing before is larger than the result.
  const V far = hn::Add(eighth, hn::Sub(hn::NegMulAdd(two, s, eighth), hn::MulSub(two, more, hn::Set(d, AtanConstants<T>::kHalfPiLow))));
  return hn::CopySign(hn::IfThenElse(beyond, far, hn::Add(s, more)), x);
}

template <class D, class V>
HWY_INLINE V Acos(D d, V x) {
  using T = hn::TFromD<D>;
  const auto [s, more, beyond] = AsinPartsOf(d, x);
  const V high = hn::Set(d, AtanConstants<T>::kHalfPi), low = hn::Set(d, AtanConstants<T>::kHalfPiLow);
  const auto negative = hn::Lt(x, hn::Zero(d));
  // pi/2 - asin(s), or pi/2 + asin(s) for a negative x; half of the angle beyond 1/2
  const V signed_s = hn::CopySign(s, x), signed_more = hn::CopySign(more, x);
  const V near = hn::Sub(high, hn::Add(signed_s, hn::Sub(signed_more, low)));
  const V half = hn::IfThenElse(negative, hn::Sub(high, hn::Add(s, hn::Sub(more, low))), hn::Add(s, more));
  return hn::IfThenElse(beyond, hn::Add(half, half), near);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Powers of 2, logarithms to 2 and 10
//
// `exp2` needs no log 2 for its reduction: x less its whole number n is exact, and `2^r = exp(r log 2)` is the polynomial of `exp`. The logarithms come in parts (chapter 76), `log(x) = e log 2 + f + small`. With each of them multiplied on its own
//
//     log2(x)  = e + f log2(e) + small log2(e)                        powers of 2 are exact
//     log10(x) = e log10(2) + f log10(e) + small log10(e)             e log10(2) is exact in its high part
//
// the number that rounds is the largest one, once; `log(x) / log(2)` would round log(x) first, then divide, and miss 46 of 254 powers of 2 in float. PyTorch has Sleef's `log2_u10` and `exp2_u10` for these.

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// 2^x within 2 ulp.
template <class D, class V>
HWY_INLINE V Exp2(D d, V x) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  constexpr int bias = static_cast<int>(Format::kBias);
  const V lowest = hn::Set(d, static_cast<T>(-bias - Format::kMantissa - 1));  // 0 below
  const V within = hn::Min(hn::Max(x, lowest), hn::Set(d, static_cast<T>(bias + 2)));
  const V magic = Magic<false>(d);
  const V shifted = hn::Add(within, magic);
  const V r = hn::Mul(hn::Sub(x, hn::Sub(shifted, magic)), hn::Set(d, static_cast<T>(0.693147180559945309417)));
  const V power = TimesPower<false>(d, hn::Add(hn::MulAdd(hn::Mul(r, r), Polynomial(d, r, ExpConstants<T>::kSeries), r), hn::Set(d, T{1})), shifted);
  return hn::IfThenZeroElse(hn::Lt(x, lowest), power);
}

// f(x) where x is positive and finite; elsewhere what a logarithm is there.
template <class D, class V, class F>
HWY_INLINE V AsLogarithm(D d, V x, F f) {
  using T = hn::TFromD<D>;
  const V zero = hn::Zero(d), infinity = hn::Set(d, static_cast<T>(__builtin_inf()));
  const V outside = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), hn::Set(d, static_cast<T>(__builtin_nan(""))));
  return hn::IfThenElse(hn::Gt(x, zero), hn::IfThenElse(hn::Lt(x, infinity), f(x), x), outside);
}

template <class T>
struct BaseConstants;

template <>
struct BaseConstants<float> {
  static constexpr float kLog2E = 0x1.715476p0f, kLog2ELow = 1.92596299e-8f, kLog10E = 0x1.bcb7b2p-2f, kLog10ELow = -1.01030501e-8f;
  static constexpr float kLog10Of2 = 0x1.344p-2f, kLog10Of2Low = 4.60503898e-6f;
};

template <>
struct BaseConstants<double> {
  static constexpr double kLog2E = 0x1.71547652b82fep0, kLog2ELow = 2.0355273740931032e-17, kLog10E = 0x1.bcb7b1526e50ep-2, kLog10ELow = 1.09831965021676511e-17;
  static constexpr double kLog10Of2 = 0x1.34413509f8p-2, kLog10Of2Low = -8.53234431705710653e-14;
};

template <class D, class V>
HWY_INLINE V Log2(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = BaseConstants<T>;
  const auto [e, f, half_square, tail] = LogPartsOf(d, x);
  const V factor = hn::Set(d, Constants::kLog2E);
  return hn::Add(e, hn::MulAdd(f, factor, hn::MulAdd(hn::Sub(tail, half_square), factor, hn::Mul(f, hn::Set(d, Constants::kLog2ELow)))));
}

template <class D, class V>
HWY_INLINE V Log10(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = BaseConstants<T>;
  const auto [e, f, half_square, tail] = LogPartsOf(d, x);
  const V factor = hn::Set(d, Constants::kLog10E);
  const V low = hn::MulAdd(e, hn::Set(d, Constants::kLog10Of2Low), hn::Mul(f, hn::Set(d, Constants::kLog10ELow)));
  return hn::MulAdd(e, hn::Set(d, Constants::kLog10Of2), hn::MulAdd(f, factor, hn::MulAdd(hn::Sub(tail, half_square), factor, low)));
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Powers
//
// `x^y = exp(y log x)`, and that is the hard one: an error of 1 ulp in log(x) is multiplied by y. For 1.01^8000 the exponent is 79.6, of 24 bits it keeps 17 behind the point, and the result has 17 right bits. So logarithm and product need more digits than a number has: as the sum of two numbers, the second of which is what the first rounds away.
//
//     a + b   ->  sum, b - (sum - a)                              exact for |a| >= |b|
//     a b     ->  product, a b - product                          exact by one operation that rounds once, or by Dekker's halves of digits
//     log(m)  =   2 s + s^3 (2/3 + s^2 series)                    s = (m - 1) / (m + 1); up to 2/3 twofold, the series is small beside it
//     x^y     =   exp(high + low)                                 chapter 76's exponential of a sum, made for gelu
//
// Before the last rounding less than half an ulp is lost, so a power that is a number (3^4, 10^5, x^1) comes out as this number. Negative x have the powers of |x|, with a sign for odd y and NaN for y that are no whole numbers; every even number from 2^24 (2^53) on is such a y.
// PyTorch calls Sleef's `pow_u10`, which calculates the same way. Powers of 2, 3, 1/2, -1/2 and -1 are one or two operations there and here (chapter 76).

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// A number as the sum of two, which has twice the digits.
template <class V>
struct Twofold {
  V high, low;
};

// a + b without error. REQUIRES: |a| >= |b| or a = 0.
template <class V>
HWY_INLINE Twofold<V> SumOf(V a, V b) {
  const V sum = hn::Add(a, b);
  return {sum, hn::Sub(b, hn::Sub(sum, a))};
}

// a b without error: by one operation that rounds once, or from halves of the digits, whose products are exact (Dekker, 1971).
template <class D, class V>
HWY_INLINE Twofold<V> ProductOf(D d, V a, V b) {
  const V product = hn::Mul(a, b);
#if HWY_NATIVE_FMA
  (void)d;
  return {product, hn::MulSub(a, b, product)};
#else
  using T = hn::TFromD<D>;
  const V splitter = hn::Set(d, static_cast<T>((std::uint64_t{1} << ((FloatFormat<T>::kMantissa + 2) / 2)) + 1));
  const V wide_a = hn::Mul(splitter, a), wide_b = hn::Mul(splitter, b);
  const V a_high = hn::Sub(wide_a, hn::Sub(wide_a, a)), b_high = hn::Sub(wide_b, hn::Sub(wide_b, b));
  const V a_low = hn::Sub(a, a_high), b_low = hn::Sub(b, b_high);
  const V rest = hn::Add(hn::Add(hn::Sub(hn::Mul(a_high, b_high), product), hn::Add(hn::Mul(a_high, b_low), hn::Mul(a_low, b_high))), hn::Mul(a_low, b_low));
  return {product, rest};
#endif
}

template <class D, class V>
HWY_INLINE Twofold<V> ProductOf(D d, Twofold<V> a, Twofold<V> b) {
  const Twofold<V> high = ProductOf(d, a.high, b.high);
  return {high.high, hn::Add(high.low, hn::MulAdd(a.high, b.low, hn::Mul(a.low, b.high)))};
}

template <class T>
struct PowConstants;

template <>
struct PowConstants<float> {
  static constexpr float kTwoThirds = 0x1.555556p-1f, kTwoThirdsLow = -1.98682149e-8f;
  // (log((1 + s) / (1 - s)) / s - 2 - 2/3 s^2) / s^4 in s^2, relative error of log 2^-44
  static constexpr float kSeries[] = {0.3999999817f, 0.2857187385f, 0.2218501268f, 0.1946786646f};
};

template <>
struct PowConstants<double> {
  static constexpr double kTwoThirds = 0x1.5555555555555p-1, kTwoThirdsLow = 3.7007434154171884681e-17;
  // relative error 2^-73
  static constexpr double kSeries[] = {0.399999999999999775, 0.285714285714450986, 0.222222222175395771, 0.181818188699374647, 0.153845568964579, 0.133363164483065125, 0.116748380664849223, 0.119888512357640102};
};

// log(a). REQUIRES: a > 0, neither infinite nor NaN.
template <class D, class V>
HWY_INLINE Twofold<V> LogTwofold(D d, V a) {
  using T = hn::TFromD<D>;
  using Constants = PowConstants<T>;
  const auto [e, m] = BinaryOf(d, a);
  const V one = hn::Set(d, T{1});
  const V f = hn::Sub(m, one);
  // s = f / (m + 1)
  const V below = hn::Add(m, one), below_low = hn::Sub(m, hn::Sub(below, one)), inverse = hn::Div(one, below);
  const V quotient = hn::Mul(f, inverse);
  const Twofold<V> back = ProductOf(d, quotient, below);
  const Twofold<V> s{quotient, hn::Mul(inverse, hn::NegMulAdd(quotient, below_low, hn::Sub(hn::Sub(f, back.high), back.low)))};
  const Twofold<V> z = ProductOf(d, s, s);
  // log(m) = 2 s + s z (2/3 + z series)
  Twofold<V> inner = SumOf(hn::Set(d, Constants::kTwoThirds), hn::Mul(z.high, Polynomial(d, z.high, Constants::kSeries)));
  inner.low = hn::Add(inner.low, hn::Set(d, Constants::kTwoThirdsLow));
  const Twofold<V> more = ProductOf(d, ProductOf(d, s, z), inner);
  const Twofold<V> first = SumOf(hn::Mul(e, hn::Set(d, FloatFormat<T>::kLog2High)), hn::Add(s.high, s.high));
  const Twofold<V> second = SumOf(first.high, more.high);
  const V low = hn::Add(hn::Add(first.low, second.low), hn::Add(hn::Add(s.low, s.low), more.low));
  return SumOf(second.high, hn::MulAdd(e, hn::Set(d, FloatFormat<T>::kLog2Low), low));
}

// x to the power of y, as <cmath> at all ends; within 2 ulp.
template <class D, class V>
HWY_INLINE V Pow(D d, V x, V y) {
  using T = hn::TFromD<D>;
  const V zero = hn::Zero(d), one = hn::Set(d, T{1}), infinity = hn::Set(d, static_cast<T>(__builtin_inf())), nan = hn::Set(d, static_cast<T>(__builtin_nan("")));
  const V a = hn::Abs(x);
  const auto inside = hn::And(hn::Gt(a, zero), hn::Lt(a, infinity));
  const Twofold<V> log = LogTwofold(d, hn::IfThenElse(inside, a, one));
  // log(0) and log(infinity) are infinite, and NaN stays.
  const V log_high = hn::IfThenElse(inside, log.high, hn::IfThenElse(hn::Eq(a, zero), hn::Neg(infinity), a));
  const V exponent = hn::Mul(y, log_high);
  // The power is 0 or infinite beyond these.
  const V lowest = hn::Set(d, ExpConstants<T>::kLowest), highest = hn::Set(d, ExpConstants<T>::kHighest);
  const V within = hn::IfThenElse(hn::Lt(exponent, highest), hn::IfThenElse(hn::Gt(exponent, lowest), exponent, lowest), highest);
  const auto small = hn::AndNot(hn::Eq(exponent, zero), hn::Eq(exponent, within));  // 0 is exact, also of 1 to a power that Dekker's halves would make infinite
  const V lost = hn::IfThenElseZero(small, hn::MulAdd(y, log.low, ProductOf(d, hn::IfThenElseZero(small, y), hn::IfThenElseZero(small, log_high)).low));
  const V power = hn::IfThenElse(hn::IsNaN(exponent), exponent, TimesExpOfSum(d, one, hn::Zero(d), within, lost));
  // The sign of an odd power of a negative number; powers of it that are not whole do not exist.
  const V half = hn::Mul(y, hn::Set(d, T{0.5}));
  const auto whole = hn::Eq(hn::Floor(y), y), even = hn::Eq(hn::Floor(half), half);
  const V with_sign = hn::IfThenElse(hn::AndNot(even, whole), hn::CopySign(power, x), power);
  const auto none = hn::AndNot(whole, hn::And(hn::Lt(x, zero), hn::Gt(x, hn::Neg(infinity))));
  const auto always_one = hn::Or(hn::Eq(y, zero), hn::Eq(x, one));
  const auto one_at_ends = hn::And(hn::Eq(a, one), hn::Eq(hn::Abs(y), infinity));
  return hn::IfThenElse(hn::Or(always_one, one_at_ends), one, hn::IfThenElse(none, nan, with_sign));
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### The inverse of erf
//
// It turns uniform numbers into normal ones. Around 0 it is nearly straight; towards 1 it rises as slowly as the root of a logarithm does:
//
//     |x| <= 27/32      x + x R(x^2)                   R between -0.12 and 0.19
//     beyond            t - Q(t)                       t = sqrt(-log(1 - |x|)), and 1 - |x| is exact; Q between 0.2 and 0.4
//
// R and Q are quotients of two polynomials, since a single one would need some 50 terms for doubles. Both are a correction of a number that is there already, so the ten or twenty roundings in them count a fifth; t has its logarithm's and its root's, and 2.6 ulp are the worst of it. One division does for both: a mask chooses the coefficients.
// The reference improves an approximation three times by Halley's rule, with an `exp` and an `erf` in each; PyTorch takes two steps of Newton's rule after a quotient for floats too (`calc_erfinv` in ATen/native/Math.h), or MKL's `vsErfInv`.

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
struct ErfinvConstants;

template <>
struct ErfinvConstants<float> {
  // erfinv(x) / x - 1 in kBorder^2 - x^2, error of erfinv 2^-28
  static constexpr float kNearAbove[] = {0.1881884054f, 0.06332734279f, -1.499119655f, -1.239394039f, -0.03300693005f};
  static constexpr float kNearBelow[] = {1, 4.938446627f, 6.61049642f, 2.125002863f};
  // erfinv(1 - exp(-t^2)) - t in t - kFirst, relative error 2^-30
  static constexpr float kFarAbove[] = {-0.3600212639f, -0.4071588979f, -0.1090504662f, -0.002098063625f, 5.061688105e-5f};
  static constexpr float kFarBelow[] = {1, 1.21608614f, 0.5164852782f, 0.06317071714f};
};

template <>
struct ErfinvConstants<double> {
  // 2^-61 and 2^-59
  static constexpr double kNearAbove[] = {0.188188409628491774, 1.3403326946400798, 1.68135899295848052, -8.41980658948762221, -29.2322000767172538, -34.6749032372131804, -17.4066984498730198, -3.30780019760859412, -0.155098099399887775};
  static constexpr double kNearBelow[] = {1, 11.7242352488509912, 54.7384147459305508, 130.153725003944905, 167.53260073410321, 114.840314392955613, 38.5656810188720121, 5.25803524611553234, 0.182899499615045908};
  static constexpr double kFarAbove[] = {-0.360021264654006542, -1.04526351534066707, -1.23057745662148494, -0.742634571965172158, -0.234068519673381688, -0.0328521749291234359, -0.000698897578488737631, 0.00014700227387744022, 4.99667138468140448e-6, 5.91349551469422077e-9};
  static constexpr double kFarBelow[] = {1, 2.98849447241444661, 3.78258265815121971, 2.59324840208014274, 1.01161763687627033, 0.21199354550922786, 0.0182753501672464832, -0.000257804372315493407, -0.0000880492156723768062, -1.79645642332121224e-6};
};

// The polynomial with coefficients `first` where the mask is true, else `second`: the shorter one ends in zeros.
template <class D, class V, class Mask, class T, int N, int M>
HWY_INLINE V ChosenPolynomial(D d, V x, Mask chooses_first, const T (&first)[N], const T (&second)[M]) {
  constexpr int last = (N > M ? N : M) - 1;
  const auto coefficient = [&](int k) HWY_ATTR { return hn::IfThenElse(chooses_first, hn::Set(d, k < N ? first[k] : T{0}), hn::Set(d, k < M ? second[k] : T{0})); };
  V sum = coefficient(last);
  HWY_UNROLL(10)
  for (int k = last - 1; k >= 0; --k) sum = hn::MulAdd(sum, x, coefficient(k));
  return sum;
}

// Within 3 ulp.
template <class D, class V>
HWY_INLINE V Erfinv(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = ErfinvConstants<T>;
  constexpr T border = static_cast<T>(0.84375), first = static_cast<T>(1.359375);
  const V a = hn::Abs(x), one = hn::Set(d, T{1});
  const auto near = hn::Le(a, hn::Set(d, border)), within = hn::Lt(a, one);
  // 1 - |x| is exact beyond 1/2.
  const V t = hn::Sqrt(hn::Neg(LogOfPositive(d, hn::IfThenElse(within, hn::Sub(one, a), one))));
  const V r = hn::IfThenElse(near, hn::NegMulAdd(a, a, hn::Set(d, border * border)), hn::Sub(t, hn::Set(d, first)));
  const V share = hn::Div(ChosenPolynomial(d, r, near, Constants::kNearAbove, Constants::kFarAbove), ChosenPolynomial(d, r, near, Constants::kNearBelow, Constants::kFarBelow));
  const V inside = hn::IfThenElse(near, hn::MulAdd(a, share, a), hn::Add(t, share));
  // At 1 it is infinite; beyond, and of NaN, it is 0 / 0.
  const V outside = hn::Div(hn::IfThenElseZero(hn::Eq(a, one), one), hn::Zero(d));
  return hn::CopySign(hn::IfThenElse(within, inside, outside), x);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Hyperbolic functions, the tail of erf, and lengths
//
// Differences of exponentials and logarithms near 1 once more, each in a form in which nothing cancels:
//
//     cosh(x)   = h + 1 / (4 h),   h = exp(|x|) / 2       the half is there before the power of two, so h is finite wherever cosh is
//     sinh(x)   = h - 1 / (4 h) beyond 1, where the second term is below a seventh of the first; x + x^3 P(x^2) up to 1
//     asinh(x)  = log(1 + x + x^2 / (1 + sqrt(x^2 + 1)))  acosh(1 + t) = log(1 + t + sqrt(2 t + t^2)), both log(2 x) far out
//     atanh(x)  = log(1 + 2 x / (1 - x)) / 2              up to 1/2 as 2 x + 2 x^2 / (1 - x), whose first term is exact
//     erfc(x)   = 2 P(Z <= -sqrt(2) x)                    gelu's tail (chapter 76); below 0.46 it is 1 - erf(x)
//
// `log(1 + t)` is log1p's: what rounding leaves out of 1 + t is added again. PyTorch's `sinh`, `cosh`, `asinh` and `acosh` take as long as the C library's, one number after the other; `atanh`, `erfc` and `hypot` are Sleef's.

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
struct SinhConstants;

template <>
struct SinhConstants<float> {
  // (sinh(x) / x - 1) / x^2 in x^2 for |x| <= 1, relative error 2^-34
  static constexpr float kSeries[] = {0.166666665f, 0.008333350083f, 0.0001983615512f, 2.816976533e-6f};
};

template <>
struct SinhConstants<double> {
  // relative error 2^-63
  static constexpr double kSeries[] = {0.166666666666666674, 0.00833333333333314741, 0.00019841269841432098, 2.75573191570017989e-6, 2.50521231476305935e-8, 1.60572589389883891e-10, 7.75877336226694047e-13};
};

// exp(a) / 2, which is finite where cosh(a) is. REQUIRES: a >= 0 or NaN.
template <class D, class V>
HWY_INLINE V HalfExp(D d, V a) {
  using T = hn::TFromD<D>;
  const V highest = hn::Set(d, ExpConstants<T>::kHighest + 1);
  const V half = TimesExpOfSum(d, hn::Set(d, T{0.5}), hn::Zero(d), hn::IfThenElse(hn::Lt(a, highest), a, highest), hn::Zero(d));
  return hn::IfThenElse(hn::IsNaN(a), a, half);
}

// Within 2 ulp.
template <class D, class V>
HWY_INLINE V Cosh(D d, V x) {
  const V half = HalfExp(d, hn::Abs(x));
  return hn::Add(half, hn::Div(hn::Set(d, hn::TFromD<D>{0.25}), half));
}

// Within 2 ulp.
template <class D, class V>
HWY_INLINE V Sinh(D d, V x) {
  using T = hn::TFromD<D>;
  const V a = hn::Abs(x), square = hn::Mul(a, a), half = HalfExp(d, a);
  const V near_zero = hn::MulAdd(hn::Mul(a, square), Polynomial(d, square, SinhConstants<T>::kSeries), a);
  const V beyond = hn::Sub(half, hn::Div(hn::Set(d, T{0.25}), half));
  return hn::CopySign(hn::IfThenElse(hn::Gt(a, hn::Set(d, T{1})), beyond, near_zero), x);
}

// log(1 + rest), or log(2 a) where `a` is so large that nothing else counts.
template <class D, class V>
HWY_INLINE V LogOfSumOrTwice(D d, V a, V rest) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  const V one = hn::Set(d, T{1}), largest = hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023));
  const auto large = hn::Gt(a, hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 1e6 : 1e14)));
  const V sum = hn::IfThenElse(large, hn::Min(a, largest), hn::Add(one, rest));
  const V left_out = hn::IfThenZeroElse(large, hn::IfThenElse(hn::Gt(rest, one), hn::Sub(one, hn::Sub(sum, rest)), hn::Sub(rest, hn::Sub(sum, one))));
  const auto [e, f, half_square, tail] = LogPartsOf(d, sum);
  const V n = hn::Add(e, hn::IfThenElseZero(large, one));
  const V small = hn::Add(hn::Sub(hn::MulAdd(n, hn::Set(d, Format::kLog2Low), tail), half_square), hn::Div(left_out, sum));
  const V y = hn::MulAdd(n, hn::Set(d, Format::kLog2High), hn::Add(f, small));
  return hn::IfThenElse(hn::Or(hn::IsNaN(rest), hn::Gt(a, largest)), hn::Add(a, rest), y);
}

// Within 2 ulp.
template <class D, class V>
HWY_INLINE V Asinh(D d, V x) {
  using T = hn::TFromD<D>;
  const V a = hn::Abs(x), one = hn::Set(d, T{1}), far = hn::Set(d, static_cast<T>(1e15));
  const V within = hn::IfThenElse(hn::Lt(a, far), a, far), square = hn::Mul(within, within);  // which shall not be infinite
  // sqrt(a^2 + 1) - 1 without a difference
  const V more = hn::Div(square, hn::Add(one, hn::Sqrt(hn::Add(square, one))));
  return hn::CopySign(LogOfSumOrTwice(d, a, hn::Add(a, more)), x);
}

// Within 3 ulp.
template <class D, class V>
HWY_INLINE V Acosh(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1});
  const V beyond = hn::IfThenElse(hn::Lt(x, one), hn::Set(d, static_cast<T>(__builtin_nan(""))), hn::Sub(x, one));
  return LogOfSumOrTwice(d, x, hn::Add(beyond, hn::Sqrt(hn::MulAdd(beyond, beyond, hn::Add(beyond, beyond)))));
}

// Within 2 ulp.
template <class D, class V>
HWY_INLINE V Atanh(D d, V x) {
  using T = hn::TFromD<D>;
  const V a = hn::Abs(x), one = hn::Set(d, T{1}), half = hn::Set(d, T{0.5}), twice = hn::Add(a, a);
  const V quotient = hn::Div(hn::IfThenElse(hn::Lt(a, half), hn::Mul(twice, a), twice), hn::Sub(one, a));
  return hn::CopySign(hn::Mul(half, Log1p(d, hn::IfThenElse(hn::Lt(a, half), hn::Add(twice, quotient), quotient))), x);
}

// 1 - erf(x) within 5 ulp, as twice the normal distribution's tail at sqrt(2) |x|.
template <class D, class V>
HWY_INLINE V Erfc(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = GeluConstants<T>;
  const hn::RebindToUnsigned<D> du;
  const V one = hn::Set(d, T{1}), two = hn::Set(d, T{2});
  const V a = hn::Abs(x), within = hn::Min(a, hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 10.5 : 27.5)));
  const V t = hn::Mul(within, hn::Set(d, static_cast<T>(1.414213562373095048802)));
  const V below = hn::Add(t, hn::Set(d, Constants::kMiddle));
  const V part = hn::Div(t, below);
  const V v = hn::Sub(hn::Add(part, part), one);
  V curve = Polynomial(d, v, Constants::kTail);
  HWY_UNROLL(3)
  for (int k = 2; k >= 0; --k) curve = hn::MulAdd(curve, v, hn::Set(d, Constants::kFirst[k]));
  const V high = hn::BitCast(d, hn::And(hn::BitCast(du, within), hn::Set(du, Constants::kHalfOfTheBits)));
  const V more = hn::Mul(hn::Sub(within, high), hn::Add(within, high));
  const V tail = TimesExpOfSum(d, hn::Div(hn::Add(curve, curve), below), hn::Zero(d), hn::Neg(hn::Mul(high, high)), hn::Neg(more));
  const V beyond = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Sub(two, tail), tail);
  return hn::IfThenElse(hn::Gt(a, hn::Set(d, static_cast<T>(0.4641))), beyond, hn::Sub(one, Erf(d, x)));
}

// sqrt(x^2 + y^2) within 2 ulp; where a square would be infinite or too small, of numbers that are a power of two nearer to 1.
template <class D, class V>
HWY_INLINE V Hypot(D d, V x, V y) {
  using T = hn::TFromD<D>;
  constexpr T far = sizeof(T) == 4 ? static_cast<T>(0x1p62) : static_cast<T>(0x1p500), scale = sizeof(T) == 4 ? static_cast<T>(0x1p100) : static_cast<T>(0x1p700);
  const V a = hn::Abs(x), b = hn::Abs(y), one = hn::Set(d, T{1}), infinity = hn::Set(d, static_cast<T>(__builtin_inf()));
  const V larger = hn::IfThenElse(hn::Lt(a, b), b, a), smaller = hn::IfThenElse(hn::Lt(a, b), a, b);
  const auto high = hn::Gt(larger, hn::Set(d, far)), low = hn::Lt(larger, hn::Set(d, 1 / far));
  const V down = hn::IfThenElse(high, hn::Set(d, 1 / scale), hn::IfThenElse(low, hn::Set(d, scale), one));
  const V up = hn::IfThenElse(high, hn::Set(d, scale), hn::IfThenElse(low, hn::Set(d, 1 / scale), one));
  const V p = hn::Mul(larger, down), q = hn::Mul(smaller, down);
  const V length = hn::Mul(hn::Sqrt(hn::MulAdd(p, p, hn::Mul(q, q))), up);
  return hn::IfThenElse(hn::Or(hn::Eq(a, infinity), hn::Eq(b, infinity)), infinity, length);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### The gamma function
//
// `lgamma` is the logarithm of |Gamma(x)|, `digamma` its derivative, and `trigamma`, which is `polygamma(1, x)`, the next one. Where x is large, Stirling's series gives all three, and from 8 on six or seven terms are enough. Below 8 what Gamma(x + 1) = x Gamma(x) says is used:
//
//     lgamma(a) = log(f) + lgamma(2 + t)       f = (a - 1) (a - 2) ... (2 + t), so that |t| <= 1/2; below 3/2 it is -log(f), with f = a or a (a + 1)
//     digamma(a) = digamma(a + 8) - p' / p     p = a (a + 1) ... (a + 7):  p' / p is 1 / a + 1 / (a + 1) + ..., in one division
//     trigamma(a) = trigamma(a + 8) + n / q    q = p^2, and n grows beside it: one division for the sum of eight squares, none of which is negative
//
// `lgamma` is 0 at 1 and at 2, and only a form that is exactly 0 there keeps its digits beside them. `lgamma(2 + t)` is therefore t times a polynomial, and at 1, where a = 1 + t exactly, the logarithm of a joins it: both are 0, and their sum loses nothing. There is one logarithm for all ranges, since its argument is chosen before: a, or f.
//
// Below 0 the functions are mirrored. The sine of pi r needs no reduction: r = |a - round(a)| is exact and at most 1/2.
//
//     lgamma(-a)   = log(pi) - log(a sin(pi r)) - lgamma(a)       infinity where r is 0
//     digamma(-a)  = digamma(1 + a) + pi cot(pi r), negative right of a whole number; NaN where r is 0
//     trigamma(-a) = (pi / sin(pi r))^2 - trigamma(1 + a)
//
// Floats are computed as doubles: half as many numbers in a vector, but then the zeros need no care, and rounding the result is all that is left, 0.5 ulp of any float. Errors of doubles, in 3,200,000 numbers from 1e-300 to 2e305 and from -200 to -1e-300, beside the C library's `lgammal` and sums in long double; with a multiplication that adds and rounds once, and without:
//
//     lgamma      x > 0   2.7 and 2.7 ulp          up to 5.5 and 7.2 between 1.2 and 1.6, where it is about -0.1, the difference of larger terms
//                 x < 0   6.7 and 12.6 units       a unit: 2^-52, or 1 ulp where the result is beyond 1
//     digamma     x > 0   8.2 and 9.0 units        PyTorch, in 3,000 numbers: 7.6
//                 x < 0   13.4 and 15.3 units      PyTorch: 1,025 between -4 and -1
//     trigamma            6.4 and 7.0 ulp          PyTorch: 4,200,000
//
// The zeros of `digamma`, and those of `lgamma` below 0, lie between floating-point numbers, and beside them the terms of the sum are larger than the result: there only an absolute error can be promised. The C library's `lgamma`, which PyTorch calls for each number, is within 0.7 ulp above 0, and its time is 1.8 times that of this kernel for floats and 5 times for doubles; where half of the floats are below 0, it is the same. It remains the reference.
// PyTorch's other two add one quotient at a time (`aten/src/ATen/native/Math.h`).

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
struct GammaConstants {
  static constexpr double kBorder = 8;  // from here on the series
  // log(Gamma(2 + t)) / t for |t| <= 1/2, relative error 2^-58
  static constexpr double kNearTwo[] = {0.422784335098467139, 0.322467033424113236, -0.0673523010531981034, 0.0205808084277803801, -0.0073855510286719984, 0.00289051033103426686, -0.00119275391184281569,
                                        0.000509669515411545835, -0.000223154754005205077, 0.0000994576735581949821, -0.0000449263133791556975, 0.0000205055907558334531, -9.43871509921153266e-6,
                                        4.38470440459836033e-6, -2.04390481070299067e-6, 9.20052789496810049e-7, -4.32523934456048164e-7, 2.78740805211358998e-7, -1.32199456661178745e-7};
  // log(Gamma(x)) = (x - 1/2) (log(x) - 1) + kStirling + series(1 / x^2) / x, error 2^-57
  static constexpr double kStirling = 0.41893853320467274178;  // log(2 pi) / 2 - 1/2
  static constexpr double kSeries[] = {0.0833333333333332961, -0.0027777777776062441, 0.0007936506649488251, -0.00059520259518026087, 0.000837283451206468859, -0.00165260044554406489};
  // digamma(x) = log(x) - 1 / (2 x) - series(1 / x^2) / x^2, error 2^-62
  static constexpr double kDigamma[] = {0.0833333333333333246, -0.00833333333327863614, 0.00396825391195370866, -0.00416664482304969017, 0.00757168962028283317, -0.0206979873723159119, 0.0636215058752706352};
  // trigamma(x) = 1 / x + 1 / (2 x^2) + series(1 / x^2) / x^3, error 2^-61
  static constexpr double kTrigamma[] = {0.166666666666666533, -0.033333333332492874, 0.0238095229438931462, -0.0333329970636965453, 0.0756948131007204392, -0.246997409457968462, 0.858688009089249113};
  static constexpr double kLogPi = 1.1447298858494001741;
  // sin(pi r) / r in r^2 for r <= 1/2, relative error 2^-61
  static constexpr double kSine[] = {3.14159265358979324, -5.16771278004996961, 2.55016403987730047, -0.599264529318944681, 0.082145886573102895, -0.0073704305059169434, 0.00046629981618983938, -0.0000219034970746260172,
                                     7.69782766822419065e-7};
};

// sin(pi r) for 0 <= r <= 1/2.
template <class D, class V>
HWY_INLINE V SineOfHalfTurns(D d, V r) {
  return hn::Mul(r, Polynomial(d, hn::Mul(r, r), GammaConstants::kSine));
}

// How far x is from the nearest whole number; NaN if it is infinite.
template <class V>
HWY_INLINE V FromWhole(V x) {
  return hn::Abs(hn::Sub(x, hn::Round(x)));
}

// log(Gamma(a)). REQUIRES: a >= 0 or NaN; doubles.
template <class D, class V>
HWY_INLINE V LogGamma(D d, V a) {
  const V one = hn::Set(d, 1.0), two = hn::Set(d, 2.0);
  const auto far = hn::Ge(a, hn::Set(d, GammaConstants::kBorder));
  const bool some_near = !hn::AllTrue(d, far), some_far = !hn::AllFalse(d, far);
  const V whole = hn::Round(a), t = hn::Sub(a, whole);
  V factor = hn::IfThenElse(hn::Lt(whole, one), hn::Mul(a, hn::Add(a, one)), hn::IfThenElse(hn::Lt(whole, two), a, one));
  if (!hn::AllFalse(d, hn::AndNot(far, hn::Gt(whole, two)))) {
    for (double k = 1; k < GammaConstants::kBorder - 1; ++k) factor = hn::IfThenElse(hn::Gt(whole, hn::Set(d, k + 1)), hn::Mul(factor, hn::Sub(a, hn::Set(d, k))), factor);
  }
  const V log = Log(d, hn::IfThenElse(far, a, factor));
  V result = a;
  if (some_near) result = hn::MulAdd(t, Polynomial(d, t, GammaConstants::kNearTwo), hn::IfThenElse(hn::Lt(whole, two), hn::Neg(log), log));
  if (some_far) {
    const V z = hn::Div(one, a), small = hn::MulAdd(z, Polynomial(d, hn::Mul(z, z), GammaConstants::kSeries), hn::Set(d, GammaConstants::kStirling));
    result = hn::IfThenElse(far, hn::MulAdd(hn::Sub(a, hn::Set(d, 0.5)), hn::Sub(log, one), small), result);
  }
  return result;
}

template <class D, class V>
HWY_INLINE V Lgamma(D d, V x) {
  const V a = hn::Abs(x), y = LogGamma(d, a), infinity = hn::Set(d, __builtin_inf());
  const auto below = hn::Lt(x, hn::Zero(d));
  if (HWY_LIKELY(hn::AllFalse(d, below))) return y;
  const V r = FromWhole(a);
  const V mirrored = hn::Sub(hn::Sub(hn::Set(d, GammaConstants::kLogPi), Log(d, hn::Mul(a, SineOfHalfTurns(d, r)))), y);
  const V finite = hn::IfThenElse(hn::Lt(a, hn::Set(d, 0x1p-60)), y, mirrored);  // beside 0 both sides are -log(a), and a sin(pi a) may be 0
  return hn::IfThenElse(below, hn::IfThenElse(hn::Or(hn::Eq(r, hn::Zero(d)), hn::Eq(a, infinity)), infinity, finite), y);
}

template <class D, class V>
HWY_INLINE V Digamma(D d, V x) {
  const V one = hn::Set(d, 1.0), half = hn::Set(d, 0.5), zero = hn::Zero(d);
  const auto below = hn::Lt(x, zero);
  const V u = hn::IfThenElse(below, hn::Sub(one, x), x);
  const auto near = hn::Lt(u, hn::Set(d, GammaConstants::kBorder));
  // Two products of four numbers and their derivatives side by side.
  const V middle = hn::Add(u, hn::Set(d, GammaConstants::kBorder / 2));
  V low = u, high = middle, low_slope = one, high_slope = one;
  for (double k = 1; k < GammaConstants::kBorder / 2; ++k) {
    const V a = hn::Add(u, hn::Set(d, k)), b = hn::Add(middle, hn::Set(d, k));
    low_slope = hn::MulAdd(low_slope, a, low);
    high_slope = hn::MulAdd(high_slope, b, high);
    low = hn::Mul(low, a);
    high = hn::Mul(high, b);
  }
  const V reciprocals = hn::Div(hn::MulAdd(low_slope, high, hn::Mul(high_slope, low)), hn::Mul(low, high));
  const V moved = hn::Add(u, hn::IfThenElseZero(near, hn::Set(d, GammaConstants::kBorder)));
  const V z = hn::Div(one, moved), square = hn::Mul(z, z);
  const V distant = hn::Sub(Log(d, moved), hn::MulAdd(square, Polynomial(d, square, GammaConstants::kDigamma), hn::Mul(half, z)));
  const V y = hn::Sub(distant, hn::IfThenElseZero(near, reciprocals));
  if (HWY_LIKELY(hn::AllFalse(d, below))) return y;
  const V r = FromWhole(x), cotangent = hn::Div(SineOfHalfTurns(d, hn::Sub(half, r)), SineOfHalfTurns(d, r));
  const V pi = hn::CopySign(hn::Set(d, GammaConstants::kSine[0]), hn::Sub(x, hn::Round(x)));
  const V mirrored = hn::IfThenElse(hn::Eq(r, zero), hn::Set(d, __builtin_nan("")), hn::NegMulAdd(pi, cotangent, y));
  return hn::IfThenElse(below, mirrored, y);
}

template <class D, class V>
HWY_INLINE V Trigamma(D d, V x) {
  const V one = hn::Set(d, 1.0), half = hn::Set(d, 0.5), infinity = hn::Set(d, __builtin_inf());
  const auto below = hn::Lt(x, hn::Zero(d));
  const V u = hn::IfThenElse(below, hn::Sub(one, x), x);
  const auto near = hn::Lt(u, hn::Set(d, GammaConstants::kBorder));
  // 1 / u^2 + 1 / (u + 1)^2 + ..., in two halves as the reciprocals of digamma.
  const V middle = hn::Add(u, hn::Set(d, GammaConstants::kBorder / 2));
  V low = hn::Mul(u, u), high = hn::Mul(middle, middle), low_sum = one, high_sum = one;
  for (double k = 1; k < GammaConstants::kBorder / 2; ++k) {
    const V a = hn::Add(u, hn::Set(d, k)), b = hn::Add(middle, hn::Set(d, k)), a_square = hn::Mul(a, a), b_square = hn::Mul(b, b);
    low_sum = hn::MulAdd(low_sum, a_square, low);
    high_sum = hn::MulAdd(high_sum, b_square, high);
    low = hn::Mul(low, a_square);
    high = hn::Mul(high, b_square);
  }
  const V reciprocals = hn::Div(hn::MulAdd(low_sum, high, hn::Mul(high_sum, low)), hn::Mul(low, high));
  const V z = hn::Div(one, hn::Add(u, hn::IfThenElseZero(near, hn::Set(d, GammaConstants::kBorder)))), square = hn::Mul(z, z);
  const V distant = hn::MulAdd(square, hn::MulAdd(z, Polynomial(d, square, GammaConstants::kTrigamma), half), z);
  const V y = hn::Add(distant, hn::IfThenElseZero(near, reciprocals));
  if (HWY_LIKELY(hn::AllFalse(d, below))) return y;
  const V quotient = hn::Div(hn::Set(d, GammaConstants::kSine[0]), SineOfHalfTurns(d, FromWhole(x)));
  const V mirrored = hn::IfThenElse(hn::Eq(x, hn::Neg(infinity)), infinity, hn::MulSub(quotient, quotient, y));
  return hn::IfThenElse(below, mirrored, y);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Remainders, losses, and walks over the numbers
//
// A walk takes whole vectors, and what is left at the end with a mask: the same instructions, so a result does not depend on where its number stands. Of a pair, the second operand is a row as well or one number for all.
//
// The losses of module 04 are pairs too. Composed, `huber_loss` passes through memory once for each of its operators (difference, absolute value, comparison, square, two products, difference, choice); as a kernel once:
//
//     mse         d^2
//     huber       d^2 / 2           where d = |x - t| <= delta      (d - delta / 2) delta    beyond
//     smooth L1   d^2 / (2 beta)    where d < beta                  d - beta / 2             beyond
//     bce         (t - 1) max(log1p(-p), -100) - t max(log(p), -100)
//
// Some operators only choose. A choice between numbers that are both there costs nothing beside reading and writing them, where a jump would be guessed wrong for every second number; what they must get right is what happens to NaN, infinities and zeros:
//
//     hardtanh     low where x < low, high where x > high, else x       NaN is neither, and stays
//     hardsigmoid  hardtanh of x + 3 between 0 and 6, divided by 6      hardswish: x times that
//     threshold    the value where x <= border, else x
//     hardshrink   0 where -l <= x <= l, else x                         softshrink: x less what of it lies between -l and l
//     sign         (1 where x > 0) - (1 where x < 0)                    0 of NaN, and of -0
//     frac         x - trunc(x)                                         NaN of infinities
//     isnan        x != x                                               isfinite: x - x = 0, which it is neither of infinities nor of NaN
//
// `logit`, the inverse of sigmoid, cuts like `hardtanh` if it is given an eps, and is then log(x / (1 - x)): NaN stays NaN, 0 and 1 become infinities, and the logarithm makes NaN of what is no probability. As three operators it took 2.5 times as long.
//
// `logaddexp`, log(exp(a) + exp(b)), is max(a, b) + log1p(exp(-|a - b|)): one walk where its composition (chapter 74) has nine. Equal infinities are no distance apart.
//
// The sum or mean of what a kernel wrote is chapter 77's, whose order is fixed. The derivative of the distances is one expression, `clamp(x - t, -delta, delta)`, which chapter 89 computes in one pass. PyTorch has `huber_kernel` and `smooth_l1_kernel` in `BinaryOpsKernel.cpp`, and a scalar loop for the cross-entropy (`aten/src/ATen/native/Loss.cpp`).

// %%
//| export kernels/functions.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// The remainder with a's sign, exact. Without an operation that rounds product and sum once it is the C library's.
template <class D, class V>
HWY_INLINE V Fmod(D d, V a, V b) {
  using T = hn::TFromD<D>;
  const V x = hn::Abs(a), y = hn::Abs(b);
#if HWY_NATIVE_FMA
  const V quotient = hn::Trunc(hn::Div(x, y));
  const auto near = hn::And(hn::Lt(quotient, hn::Set(d, static_cast<T>(std::uint64_t{1} << (FloatFormat<T>::kMantissa - 1)))), hn::Lt(y, hn::Set(d, static_cast<T>(__builtin_inf()))));
  const V left = hn::NegMulAdd(quotient, y, x);
  const V rest = hn::CopySign(hn::IfThenElse(hn::Lt(left, hn::Zero(d)), hn::Add(left, y), left), a);  // rounded up to a whole number
  if (HWY_LIKELY(hn::AllTrue(d, near))) return rest;
#else
  const auto near = hn::Lt(x, y);
  const V rest = a;
#endif
  T numbers[static_cast<std::size_t>(LanesOf(D()))], divisors[static_cast<std::size_t>(LanesOf(D()))];
  hn::StoreU(a, d, numbers);
  hn::StoreU(b, d, divisors);
  for (std::size_t i = 0; i < static_cast<std::size_t>(LanesOf(D())); ++i) numbers[i] = std::fmod(numbers[i], divisors[i]);
  return hn::IfThenElse(near, rest, hn::LoadU(d, numbers));
}

// Where a remainder has not the sign of what it was divided by.
template <class D, class V>
HWY_INLINE auto HasOtherSign(D d, V rest, V b) {
  const V zero = hn::Zero(d);
  return hn::And(hn::Ne(rest, zero), hn::Xor(hn::Lt(rest, zero), hn::Lt(b, zero)));
}

// Each step as in chapter 90.
template <class D, class V>
HWY_INLINE V FloorQuotient(D d, V a, V b) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1}), zero = hn::Zero(d), plain = hn::Div(a, b);
  const V rest = Fmod(d, a, b);
  const V quotient = hn::Sub(hn::Div(hn::Sub(a, rest), b), hn::IfThenElseZero(HasOtherSign(d, rest, b), one));
  const V down = hn::Floor(quotient);
  const V nearest = hn::IfThenElse(hn::Gt(hn::Sub(quotient, down), hn::Set(d, T{0.5})), hn::Add(down, one), down);
  const V result = hn::IfThenElse(hn::Eq(quotient, zero), hn::CopySign(zero, plain), nearest);
  return hn::IfThenElse(hn::Eq(b, zero), plain, result);
}

// Two vectors at a time, as in slopes.
template <class T, auto F>
void walk_function(const T* x, std::int64_t count, T p, T q, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  const auto vp = hn::Set(d, p), vq = hn::Set(d, q);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto first = F(d, hn::LoadU(d, x + i), vp, vq);
    const auto second = F(d, hn::LoadU(d, x + i + lanes), vp, vq);
    hn::StoreU(first, d, out + i);
    hn::StoreU(second, d, out + i + lanes);
  }
  for (; i + lanes <= count; i += lanes) hn::StoreU(F(d, hn::LoadU(d, x + i), vp, vq), d, out + i);
  if (i < count) StorePart(F(d, LoadPart(d, x + i, count - i), vp, vq), d, out + i, count - i);
}

constexpr auto sine_of = [](auto d, auto x, auto, auto) {
  return NearOrFar(d, x, [d](auto v) { return SineNear<false>(d, v); }, [](auto number) { return std::sin(number); });
};
constexpr auto cosine_of = [](auto d, auto x, auto, auto) {
  return NearOrFar(d, x, [d](auto v) { return SineNear<true>(d, v); }, [](auto number) { return std::cos(number); });
};
constexpr auto tangent_of = [](auto d, auto x, auto, auto) {
  return NearOrFar(d, x, [d](auto v) { return TangentNear(d, v); }, [](auto number) { return std::tan(number); });
};

constexpr auto log2_of = [](auto d, auto x, auto, auto) {
  return AsLogarithm(d, x, [d](auto v) { return Log2(d, v); });
};
constexpr auto log10_of = [](auto d, auto x, auto, auto) {
  return AsLogarithm(d, x, [d](auto v) { return Log10(d, v); });
};

constexpr auto elu_of = [](auto d, auto x, auto alpha, auto) { return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Mul(alpha, Expm1(d, x))); };

constexpr auto softplus_of = [](auto d, auto x, auto beta, auto threshold) {
  const auto scaled = hn::Mul(x, beta);
  return hn::IfThenElse(hn::Gt(scaled, threshold), x, hn::Div(LogOnePlusExp(d, scaled), beta));
};

// tanh(log(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1); from 40 on it is 1. Below -87 (-708 in double) e is a denormal number, and the result has no more digits than e.
constexpr auto mish_of = [](auto d, auto x, auto, auto) {
  using T = hn::TFromD<decltype(d)>;
  const auto two = hn::Set(d, T{2}), one_from_here = hn::Set(d, T{40});
  const auto e = Exp(d, hn::IfThenElse(hn::Gt(x, one_from_here), one_from_here, x));
  const auto w = hn::Mul(e, hn::Add(e, two));
  return hn::Mul(x, hn::Div(w, hn::Add(w, two)));
};

// A vector of doubles from floats or doubles.
template <class D, class T>
HWY_INLINE auto LoadWide(D d, const T* x) {
  if constexpr (sizeof(T) == 4) return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), x));
  else return hn::LoadU(d, x);
}

constexpr auto frac_of = [](auto, auto x, auto, auto) { return hn::Sub(x, hn::Trunc(x)); };

constexpr auto sign_of = [](auto d, auto x, auto, auto) {
  const auto one = hn::Set(d, hn::TFromD<decltype(d)>{1}), zero = hn::Zero(d);
  return hn::Sub(hn::IfThenElseZero(hn::Gt(x, zero), one), hn::IfThenElseZero(hn::Lt(x, zero), one));
};

constexpr auto hardtanh_of = [](auto, auto x, auto low, auto high) {
  const auto raised = hn::IfThenElse(hn::Lt(x, low), low, x);
  return hn::IfThenElse(hn::Gt(raised, high), high, raised);
};

template <class D, class V>
HWY_INLINE V ThreeAboveCut(D d, V x) {
  return hardtanh_of(d, hn::Add(x, hn::Set(d, hn::TFromD<D>{3})), hn::Zero(d), hn::Set(d, hn::TFromD<D>{6}));
}

constexpr auto hardsigmoid_of = [](auto d, auto x, auto, auto) { return hn::Div(ThreeAboveCut(d, x), hn::Set(d, hn::TFromD<decltype(d)>{6})); };

constexpr auto hardswish_of = [](auto d, auto x, auto, auto) { return hn::Div(hn::Mul(x, ThreeAboveCut(d, x)), hn::Set(d, hn::TFromD<decltype(d)>{6})); };

constexpr auto logit_of = [](auto d, auto x, auto low, auto high) {
  const auto share = hardtanh_of(d, x, low, high);
  return Log(d, hn::Div(share, hn::Sub(hn::Set(d, hn::TFromD<decltype(d)>{1}), share)));
};

constexpr auto threshold_of = [](auto, auto x, auto border, auto value) { return hn::IfThenElse(hn::Le(x, border), value, x); };

constexpr auto hardshrink_of = [](auto, auto x, auto width, auto) { return hn::IfThenZeroElse(hn::And(hn::Ge(x, hn::Neg(width)), hn::Le(x, width)), x); };

constexpr auto softshrink_of = [](auto d, auto x, auto width, auto) { return hn::Sub(x, hardtanh_of(d, x, hn::Neg(width), width)); };

// As doubles, which are converted by the compiler: hn::DemoteTo gives the largest float for what no float holds, on some machines.
template <class T, auto F>
void walk_in_double(const T* x, std::int64_t count, T, T, T* out) {
  const hn::ScalableTag<double> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<double>());
  const auto one_vector = [&](const T* from, T* to) HWY_ATTR {
    double numbers[static_cast<std::size_t>(lanes)];
    hn::StoreU(F(d, LoadWide(d, from)), d, numbers);
    for (std::int64_t k = 0; k < lanes; ++k) to[k] = static_cast<T>(numbers[k]);
  };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) one_vector(x + i, out + i);
  if (i == count) return;
  T part[static_cast<std::size_t>(lanes)] = {};
  for (std::int64_t k = i; k < count; ++k) part[k - i] = x[k];
  one_vector(part, part);
  for (std::int64_t k = i; k < count; ++k) out[k] = part[k - i];
}

// F(x) as a bool. The compiler makes vectors of these loops.
template <class T, auto F>
void ask(const T* x, std::int64_t count, bool* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = F(x[i]);
}

template <class T, auto F>
void walk_pair(const T* a, const T* b, std::int64_t b_step, std::int64_t count, T p, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  const auto single = hn::Set(d, b[0]), vp = hn::Set(d, p);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(F(d, hn::LoadU(d, a + i), b_step == 0 ? single : hn::LoadU(d, b + i), vp), d, out + i);
  if (i < count) StorePart(F(d, LoadPart(d, a + i, count - i), b_step == 0 ? single : LoadPart(d, b + i, count - i), vp), d, out + i, count - i);
}

constexpr auto fmod_of = [](auto d, auto a, auto b, auto) { return Fmod(d, a, b); };
constexpr auto floor_quotient_of = [](auto d, auto a, auto b, auto) { return FloorQuotient(d, a, b); };
constexpr auto remainder_of = [](auto d, auto a, auto b, auto) {
  const auto rest = Fmod(d, a, b);
  return hn::IfThenElse(HasOtherSign(d, rest, b), hn::Add(rest, b), rest);
};

// (1 - target) x + log(1 + exp(-x)), as module 04
constexpr auto bce_of_logits = [](auto d, auto x, auto target, auto) {
  return hn::MulAdd(hn::Sub(hn::Set(d, hn::TFromD<decltype(d)>{1}), target), x, LogOnePlusExp(d, hn::Neg(x)));
};

constexpr auto atan2_of = [](auto d, auto y, auto x, auto) { return Atan2(d, y, x); };
constexpr auto hypot_of = [](auto d, auto x, auto y, auto) { return Hypot(d, x, y); };
constexpr auto pow_of = [](auto d, auto x, auto y, auto) { return Pow(d, x, y); };
constexpr auto power_of_base_of = [](auto d, auto y, auto x, auto) { return Pow(d, x, y); };
constexpr auto prelu_of = [](auto d, auto x, auto slope, auto) { return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Mul(slope, x)); };

constexpr auto copysign_of = [](auto, auto x, auto sign, auto) { return hn::CopySign(x, sign); };

constexpr auto logaddexp_of = [](auto d, auto a, auto b, auto) {
  const auto larger = hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(b)), b, a);
  const auto distance = hn::IfThenZeroElse(hn::Eq(a, b), hn::Abs(hn::Sub(a, b)));
  return hn::Add(larger, Log1pOfShare(d, Exp(d, hn::Neg(distance))));
};

constexpr auto squared_error_of = [](auto, auto x, auto target, auto) {
  const auto difference = hn::Sub(x, target);
  return hn::Mul(difference, difference);
};

constexpr auto smooth_l1_of = [](auto d, auto x, auto target, auto beta) {
  const auto half = hn::Set(d, hn::TFromD<decltype(d)>{0.5});
  const auto distance = hn::Abs(hn::Sub(x, target));
  return hn::IfThenElse(hn::Lt(distance, beta), hn::Mul(hn::Mul(distance, distance), hn::Div(half, beta)), hn::NegMulAdd(half, beta, distance));
};

constexpr auto huber_of = [](auto d, auto x, auto target, auto delta) {
  const auto half = hn::Set(d, hn::TFromD<decltype(d)>{0.5});
  const auto distance = hn::Abs(hn::Sub(x, target));
  return hn::IfThenElse(hn::Le(distance, delta), hn::Mul(half, hn::Mul(distance, distance)), hn::Mul(hn::NegMulAdd(half, delta, distance), delta));
};

// As module 04, whose logarithms end at -100. REQUIRES: 0 <= p <= 1.
constexpr auto bce_of = [](auto d, auto p, auto target, auto) {
  using T = hn::TFromD<decltype(d)>;
  const auto lowest = hn::Set(d, T{-100});
  const auto no = hn::Max(Log1p(d, hn::Neg(p)), lowest), yes = hn::Max(Log(d, p), lowest);
  return hn::MulSub(hn::Sub(target, hn::Set(d, T{1})), no, hn::Mul(target, yes));
};

// Vectors without infinities and NaN, nearly all, are only looked at.
template <class T>
void replace_ends(const T* x, std::int64_t count, T nan, T posinf, T neginf, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  const auto replaced = [&](auto v) HWY_ATTR {
    const auto infinity = hn::Set(d, static_cast<T>(__builtin_inf()));
    if (HWY_LIKELY(hn::AllTrue(d, hn::Lt(hn::Abs(v), infinity)))) return v;
    const auto below = hn::IfThenElse(hn::Eq(v, infinity), hn::Set(d, posinf), hn::IfThenElse(hn::Eq(v, hn::Neg(infinity)), hn::Set(d, neginf), v));
    return hn::IfThenElse(hn::IsNaN(v), hn::Set(d, nan), below);
  };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(replaced(hn::LoadU(d, x + i)), d, out + i);
  if (i < count) StorePart(replaced(LoadPart(d, x + i, count - i)), d, out + i, count - i);
}

// Four products side by side, which do not wait for each other.
template <class T>
double product_of(const T* x, std::int64_t count) {
  const hn::ScalableTag<double> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<double>());
  auto p0 = hn::Set(d, 1.0), p1 = p0, p2 = p0, p3 = p0;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    p0 = hn::Mul(p0, LoadWide(d, x + i));
    p1 = hn::Mul(p1, LoadWide(d, x + i + lanes));
    p2 = hn::Mul(p2, LoadWide(d, x + i + 2 * lanes));
    p3 = hn::Mul(p3, LoadWide(d, x + i + 3 * lanes));
  }
  double numbers[static_cast<std::size_t>(lanes)], product = 1;
  hn::StoreU(hn::Mul(hn::Mul(p0, p1), hn::Mul(p2, p3)), d, numbers);
  for (const double number : numbers) product *= number;
  for (; i < count; ++i) product *= static_cast<double>(x[i]);
  return product;
}

template <class T>
void multiply_rows(const T* x, std::int64_t count, double* totals) {
  const hn::ScalableTag<double> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<double>());
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, totals + i), LoadWide(d, x + i)), d, totals + i);
  for (; i < count; ++i) totals[i] *= static_cast<double>(x[i]);
}

template <class T>
constexpr FunctionTable<T> function_table_of() {
  return {
      .log1p = walk_function<T, [](auto d, auto x, auto, auto) { return Log1p(d, x); }>,
      .expm1 = walk_function<T, [](auto d, auto x, auto, auto) { return Expm1(d, x); }>,
      .sin = walk_function<T, sine_of>,
      .cos = walk_function<T, cosine_of>,
      .tan = walk_function<T, tangent_of>,
      .atan = walk_function<T, [](auto d, auto x, auto, auto) { return Atan(d, x); }>,
      .elu = walk_function<T, elu_of>,
      .softplus = walk_function<T, softplus_of>,
      .log_sigmoid = walk_function<T, [](auto d, auto x, auto, auto) { return hn::Neg(LogOnePlusExp(d, hn::Neg(x))); }>,
      .mish = walk_function<T, mish_of>,
      .exp2 = walk_function<T, [](auto d, auto x, auto, auto) { return Exp2(d, x); }>,
      .log2 = walk_function<T, log2_of>,
      .log10 = walk_function<T, log10_of>,
      .asin = walk_function<T, [](auto d, auto x, auto, auto) { return Asin(d, x); }>,
      .acos = walk_function<T, [](auto d, auto x, auto, auto) { return Acos(d, x); }>,
      .erfinv = walk_function<T, [](auto d, auto x, auto, auto) { return Erfinv(d, x); }>,
      .sinh = walk_function<T, [](auto d, auto x, auto, auto) { return Sinh(d, x); }>,
      .cosh = walk_function<T, [](auto d, auto x, auto, auto) { return Cosh(d, x); }>,
      .asinh = walk_function<T, [](auto d, auto x, auto, auto) { return Asinh(d, x); }>,
      .acosh = walk_function<T, [](auto d, auto x, auto, auto) { return Acosh(d, x); }>,
      .atanh = walk_function<T, [](auto d, auto x, auto, auto) { return Atanh(d, x); }>,
      .erfc = walk_function<T, [](auto d, auto x, auto, auto) { return Erfc(d, x); }>,
      .lgamma = walk_in_double<T, [](auto d, auto x) { return Lgamma(d, x); }>,
      .digamma = walk_in_double<T, [](auto d, auto x) { return Digamma(d, x); }>,
      .trigamma = walk_in_double<T, [](auto d, auto x) { return Trigamma(d, x); }>,
      .frac = walk_function<T, frac_of>,
      .sign = walk_function<T, sign_of>,
      .logit = walk_function<T, logit_of>,
      .hardsigmoid = walk_function<T, hardsigmoid_of>,
      .hardswish = walk_function<T, hardswish_of>,
      .hardtanh = walk_function<T, hardtanh_of>,
      .threshold = walk_function<T, threshold_of>,
      .hardshrink = walk_function<T, hardshrink_of>,
      .softshrink = walk_function<T, softshrink_of>,
      .isnan = ask<T, [](T x) { return x != x; }>,
      .isinf = ask<T, [](T x) { return (x == static_cast<T>(__builtin_inf())) | (x == -static_cast<T>(__builtin_inf())); }>,
      .isfinite = ask<T, [](T x) { return x - x == T{0}; }>,
      .fmod = walk_pair<T, fmod_of>,
      .remainder = walk_pair<T, remainder_of>,
      .floor_divide = walk_pair<T, floor_quotient_of>,
      .bce_with_logits = walk_pair<T, bce_of_logits>,
      .atan2 = walk_pair<T, atan2_of>,
      .hypot = walk_pair<T, hypot_of>,
      .pow = walk_pair<T, pow_of>,
      .power_of_base = walk_pair<T, power_of_base_of>,
      .prelu = walk_pair<T, prelu_of>,
      .copysign = walk_pair<T, copysign_of>,
      .logaddexp = walk_pair<T, logaddexp_of>,
      .squared_error = walk_pair<T, squared_error_of>,
      .smooth_l1 = walk_pair<T, smooth_l1_of>,
      .huber = walk_pair<T, huber_of>,
      .bce = walk_pair<T, bce_of>,
      .nan_to_num = replace_ends<T>,
      .product = product_of<T>,
      .multiply_to = multiply_rows<T>,
  };
}
}  // namespace

constinit const FunctionKernels function_kernels = {function_table_of<float>(), function_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// Beside them stand a few operators that need no mathematics, only a loop the compiler can make vectors of: logic of bools, whose reference asks for every element what its dtype is, and triangles of matrices, whose rows are a copied part and zeros.

// %%
//| export kernels/functions.cpp
namespace {
template <class T>
const kernels::FunctionTable<T>& function_table() {
  using namespace kernels;
  static constexpr const FunctionKernels* tables[] = TINYTORCH_PER_CAPABILITY(function_kernels);
  const FunctionKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool has_function_kernel(const Tensor& x) { return x.numel() >= kernels::kFewElements && (x.scalar_type() == kFloat || x.scalar_type() == kDouble); }

template <class F>
void in_its_type(const Tensor& x, F f) {
  if (x.scalar_type() == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

// f(self) as a new tensor in self's order of memory. REQUIRES: has_function_kernel.
template <class Pick>
Tensor function_of(const Tensor& self, Pick pick, const Scalar& p = 0, const Scalar& q = 0) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  const bool dense = self.is_contiguous() || (self.strides() == result.strides() && is_dense(self));
  if (!dense) kernels::copy_elements(result, self);
  in_its_type(self, [&]<class T>() {
    const auto kernel = pick(function_table<T>());
    T* const out = result.data<T>();
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, in = dense ? self.data<T>() : out](std::int64_t first, std::int64_t stop) {
      kernel(in + first, stop - first, p.to<T>(), q.to<T>(), out + first);
    });
  });
  return result;
}

template <auto& Op, auto Pick>
Tensor function_tuned(const Tensor& self) {
  return has_function_kernel(self) ? function_of(self, Pick) : Op.function(Layer::CPU)(self);
}

Tensor elu_tuned(const Tensor& self, const Scalar& alpha) {
  return has_function_kernel(self) ? function_of(self, [](const auto& table) { return table.elu; }, alpha) : op::elu.function(Layer::CPU)(self, alpha);
}

Tensor softplus_tuned(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return has_function_kernel(self) ? function_of(self, [](const auto& table) { return table.softplus; }, beta, threshold) : op::softplus.function(Layer::CPU)(self, beta, threshold);
}

template <auto& Op, auto Pick>
Tensor between_tuned(const Tensor& self, const Scalar& p, const Scalar& q) {
  return has_function_kernel(self) ? function_of(self, Pick, p, q) : Op.function(Layer::CPU)(self, p, q);
}

// A width that no float holds is infinite among floats, as in the reference.
template <auto& Op, auto Pick>
Tensor shrink_tuned(const Tensor& self, const Scalar& width) {
  if (!has_function_kernel(self)) return Op.function(Layer::CPU)(self, width);
  const double l = width.toDouble();
  return function_of(self, Pick, self.scalar_type() == kFloat ? static_cast<double>(static_cast<float>(l)) : l);
}

Tensor logit_tuned(const Tensor& self, double low, double high) {
  return has_function_kernel(self) ? function_of(self, [](const auto& table) { return table.logit; }, low, high) : op::logit.function(Layer::CPU)(self, low, high);
}

Tensor polygamma_tuned(const Tensor& self, std::int64_t n) {
  if (!has_function_kernel(self) || n > 1) return op::polygamma.function(Layer::CPU)(self, n);
  return function_of(self, [n](const auto& table) { return n == 0 ? table.digamma : table.trigamma; });
}

// Bools in self's order of memory.
template <auto& Op, auto Pick>
Tensor question_tuned(const Tensor& self) {
  if (!has_function_kernel(self)) return Op.function(Layer::CPU)(self);
  const Tensor result = empty_beside(self, self.sizes(), kBool);
  if (!self.is_contiguous() && !(self.strides() == result.strides() && is_dense(self))) return Op.function(Layer::CPU)(self);
  in_its_type(self, [&]<class T>() {
    const auto kernel = Pick(function_table<T>());
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=, x = self.data<T>(), out = result.data<bool>()](std::int64_t first, std::int64_t stop) { kernel(x + first, stop - first, out + first); });
  });
  return result;
}

// f(self, other). REQUIRES: both contiguous and of one dtype; `other` of the same form or a single number.
template <class Pick>
Tensor pair_of(const Tensor& self, const Tensor& other, Pick pick, const Scalar& p = 0) {
  const Tensor result = empty(self.sizes(), self.scalar_type());
  const std::int64_t step = other.sizes() == self.sizes() ? 1 : 0;
  in_its_type(self, [&]<class T>() {
    const auto kernel = pick(function_table<T>());
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, x = self.data<T>(), y = other.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      kernel(x + first, y + first * step, step, stop - first, p.to<T>(), out + first);
    });
  });
  return result;
}

bool broadcasts_to(IntArrayRef sizes, IntArrayRef larger) {
  const std::size_t more = larger.size() - sizes.size();
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] != 1 && sizes[i] != larger[i + more]) return false;
  return true;
}

// Whether the result has self's form and dtype, for which there are kernels: `other` is a single number of any dtype, or broadcasts.
bool is_like_first(const Tensor& self, const Tensor& other) {
  if (!has_function_kernel(self) || !self.is_contiguous() || other.dim() > self.dim()) return false;
  if (other.numel() == 1) return result_type(self, other) == self.scalar_type();
  return other.scalar_type() == self.scalar_type() && broadcasts_to(other.sizes(), self.sizes());
}

// The only dimension of self along which `other` changes; -1 where there are more.
std::int64_t only_dimension(const Tensor& self, const Tensor& other) {
  std::int64_t only = -1;
  for (std::int64_t d = 0; d < other.dim(); ++d) {
    if (other.size(d) == 1) continue;
    if (only >= 0) return -1;
    only = d + self.dim() - other.dim();
  }
  return only;
}

// f(self, other) where `other` changes along dimension d only: a row of all of its numbers, or rows of one number each.
template <class Pick>
Tensor pair_by_rows(const Tensor& self, const Tensor& other, std::int64_t d, Pick pick) {
  const Tensor result = empty(self.sizes(), self.scalar_type()), numbers = other.contiguous();
  const std::int64_t count = self.size(d), inner = multiply_sizes(self.sizes().slice(static_cast<std::size_t>(d) + 1));
  const std::int64_t length = inner == 1 ? count : inner, step = inner == 1 ? 1 : 0;
  in_its_type(self, [&]<class T>() {
    const auto kernel = pick(function_table<T>());
    parallel_for(0, self.numel() / length, std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), [&, x = self.data<T>(), y = numbers.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) kernel(x + i * length, step == 1 ? y : y + i % count, step, length, T{0}, out + i * length);
    });
  });
  return result;
}

// REQUIRES: is_like_first(self, other).
template <class Pick>
Tensor pair_like_first(const Tensor& self, const Tensor& other, Pick pick) {
  constexpr std::int64_t long_enough = 32;  // for a call of the kernel
  if (other.numel() == 1) return pair_of(self, other.scalar_type() == self.scalar_type() ? other : to_dtype(other, self.scalar_type()), pick);
  const std::int64_t d = only_dimension(self, other);
  const bool by_rows = d >= 0 && (d == self.dim() - 1 ? self.size(d) : multiply_sizes(self.sizes().slice(static_cast<std::size_t>(d) + 1))) >= long_enough;
  return by_rows ? pair_by_rows(self, other, d, pick) : pair_of(self, other.expand(self.sizes()).contiguous(), pick);
}

template <auto& Op, auto Pick>
Tensor pair_tuned(const Tensor& self, const Tensor& other) {
  return is_like_first(self, other) ? pair_like_first(self, other, Pick) : Op.function(Layer::CPU)(self, other);
}

// Either operand may be the one that is stretched.
Tensor logaddexp_tuned(const Tensor& self, const Tensor& other) {
  const bool turned = !is_like_first(self, other) && is_like_first(other, self);
  return pair_tuned<op::logaddexp, [](const auto& table) { return table.logaddexp; }>(turned ? other : self, turned ? self : other);
}

Tensor pow_tuned(const Tensor& self, const Scalar& exponent) {
  const double e = exponent.toDouble();
  if (const Tensor simple = kernels::simple_power(self, e); simple.defined()) return simple;
  if (!has_function_kernel(self) || !self.is_contiguous() || e == -2) return op::pow.function(Layer::CPU)(self, exponent);
  return pair_of(self, full({}, exponent, self.scalar_type()), [](const auto& table) { return table.pow; });
}

// One base for all exponents too.
Tensor pow_tensor_tuned(const Tensor& self, const Tensor& exponent) {
  if (self.numel() == 1 && exponent.numel() > 1 && is_like_first(exponent, self)) return pair_like_first(exponent, self, [](const auto& table) { return table.power_of_base; });
  return pair_tuned<op::pow_tensor, [](const auto& table) { return table.pow; }>(self, exponent);
}

// x (outer, count, inner) multiplied along the middle. Blocks of a fixed size, whatever the number of threads.
template <class T>
void multiply_along(const T* x, std::int64_t outer, std::int64_t count, std::int64_t inner, T* out) {
  constexpr std::int64_t columns = 1024;
  const auto& table = function_table<T>();
  if (inner > 1) {
    const std::int64_t blocks = (inner + columns - 1) / columns;
    parallel_for(0, outer * blocks, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (count * std::min(inner, columns))), [=](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) {
        const std::int64_t begin = i % blocks * columns, width = std::min(columns, inner - begin);
        std::array<double, columns> totals;
        std::fill_n(totals.begin(), width, 1.0);
        for (std::int64_t k = 0; k < count; ++k) table.multiply_to(x + (i / blocks * count + k) * inner + begin, width, totals.data());
        std::transform(totals.begin(), totals.begin() + width, out + i / blocks * inner + begin, [](double total) { return static_cast<T>(total); });
      }
    });
  } else if (outer > 1) {
    parallel_for(0, outer, std::max<std::int64_t>(1, kernels::kElementwiseGrain / count), [=](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) out[i] = static_cast<T>(table.product(x + i * count, count));
    });
  } else {
    std::vector<double> parts(static_cast<std::size_t>((count + kernels::kElementwiseGrain - 1) / kernels::kElementwiseGrain));
    parallel_for(0, std::ssize(parts), 1, [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) {
        const std::int64_t begin = i * kernels::kElementwiseGrain;
        parts[static_cast<std::size_t>(i)] = table.product(x + begin, std::min(kernels::kElementwiseGrain, count - begin));
      }
    });
    out[0] = static_cast<T>(std::accumulate(parts.begin(), parts.end(), 1.0, std::multiplies<>()));
  }
}

// Along all dimensions or one.
Tensor prod_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const bool ours = has_function_kernel(self) && self.is_contiguous() && (dim.empty() || (dim.size() == 1 && dim[0] >= -self.dim() && dim[0] < self.dim()));
  if (!ours) return op::prod.function(Layer::CPU)(self, dim, keepdim);
  std::int64_t count = self.numel(), inner = 1;
  DimVector sizes(keepdim ? self.sizes().size() : 0, 1);
  if (!dim.empty()) {
    const auto d = static_cast<std::size_t>(dim[0] < 0 ? dim[0] + self.dim() : dim[0]);
    count = self.sizes()[d];
    inner = multiply_sizes(self.sizes().slice(d + 1));
    sizes = DimVector(self.sizes());
    if (keepdim) sizes[d] = 1;
    else sizes.erase(d);
  }
  const Tensor result = empty(sizes, self.scalar_type());
  in_its_type(self, [&]<class T>() { multiply_along(self.data<T>(), self.numel() / (count * inner), count, inner, result.data<T>()); });
  return result;
}

// What each scan does with a number, and where it begins.
struct SumSoFar {
  static constexpr double kBegin = 0;
  static double with(double total, double x) { return total + x; }
};
struct ProductSoFar {
  static constexpr double kBegin = 1;
  static double with(double total, double x) { return total * x; }
};

// Sums or products so far, in double, of x (outer, count, inner) along the middle: rows four at a time, which do not wait for each other.
template <class T, class Scan>
void scan_along(const T* x, std::int64_t outer, std::int64_t count, std::int64_t inner, T* out) {
  constexpr std::int64_t columns = 1024;
  if (inner > 1) {
    const std::int64_t blocks = (inner + columns - 1) / columns;
    parallel_for(0, outer * blocks, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (count * std::min(inner, columns))), [=](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) {
        const std::int64_t at = i % blocks * columns, width = std::min(columns, inner - at);
        std::array<double, columns> totals;
        std::fill_n(totals.begin(), width, Scan::kBegin);
        for (std::int64_t k = 0; k < count; ++k) {
          const std::int64_t row = (i / blocks * count + k) * inner + at;
          for (std::int64_t j = 0; j < width; ++j) out[row + j] = static_cast<T>(totals[static_cast<std::size_t>(j)] = Scan::with(totals[static_cast<std::size_t>(j)], static_cast<double>(x[row + j])));
        }
      }
    });
  } else {
    constexpr std::int64_t together = 4;
    parallel_for(0, (outer + together - 1) / together, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (together * count)), [=](std::int64_t first, std::int64_t stop) {
      const std::int64_t end = std::min(stop * together, outer);
      std::int64_t row = first * together;
      for (; row + together <= end; row += together) {
        std::array<double, together> totals;
        totals.fill(Scan::kBegin);
        for (std::int64_t k = 0; k < count; ++k)
          for (std::int64_t r = 0; r < together; ++r) {
            double& total = totals[static_cast<std::size_t>(r)];
            out[(row + r) * count + k] = static_cast<T>(total = Scan::with(total, static_cast<double>(x[(row + r) * count + k])));
          }
      }
      for (; row < end; ++row) {
        double total = Scan::kBegin;
        for (std::int64_t k = 0; k < count; ++k) out[row * count + k] = static_cast<T>(total = Scan::with(total, static_cast<double>(x[row * count + k])));
      }
    });
  }
}

template <auto& Op, class Scan>
Tensor scan_tuned(const Tensor& self, std::int64_t dim) {
  if (!has_function_kernel(self) || !self.is_contiguous()) return Op.function(Layer::CPU)(self, dim);
  const std::int64_t count = self.size(dim), inner = multiply_sizes(self.sizes().slice(static_cast<std::size_t>(dim) + 1));
  if (inner > 1 && inner < 8) return Op.function(Layer::CPU)(self, dim);  // such rows are not worth a block each
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_its_type(self, [&]<class T>() { scan_along<T, Scan>(self.data<T>(), self.numel() / (count * inner), count, inner, result.data<T>()); });
  return result;
}

bool is_weight(const std::optional<Tensor>& weight) { return weight && weight->defined(); }

bool has_loss_kernel(const Tensor& self, const Tensor& target) { return has_function_kernel(self) && target.scalar_type() == self.scalar_type() && target.sizes() == self.sizes(); }

// The sums of chapter 77, whose order is the same for any number of threads.
Tensor reduced(const Tensor& loss, std::int64_t reduction) {
  if (reduction == Reduction::None) return loss;
  return reduction == Reduction::Mean ? mean(loss) : sum(loss);
}

Tensor bce_with_logits_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, const std::optional<Tensor>& pos_weight, std::int64_t reduction) {
  const bool ours = has_loss_kernel(self, target) && !is_weight(weight) && !is_weight(pos_weight);
  if (!ours) return op::binary_cross_entropy_with_logits.function(Layer::CPU)(self, target, weight, pos_weight, reduction);
  return reduced(pair_of(self.contiguous(), target.contiguous(), [](const auto& table) { return table.bce_with_logits; }), reduction);
}

// The reference checks each probability and says which one is none.
bool are_probabilities(const Tensor& x) { return amin(x, {}).item<double>() >= 0 && amax(x, {}).item<double>() <= 1; }

Tensor bce_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction) {
  if (!has_loss_kernel(self, target) || is_weight(weight) || !are_probabilities(self)) return op::binary_cross_entropy.function(Layer::CPU)(self, target, weight, reduction);
  return reduced(pair_of(self.contiguous(), target.contiguous(), [](const auto& table) { return table.bce; }), reduction);
}

template <auto& Op, auto Pick>
Tensor distance_loss_tuned(const Tensor& self, const Tensor& target, std::int64_t reduction, double p) {
  if (!has_loss_kernel(self, target)) return Op.function(Layer::CPU)(self, target, reduction, p);
  return reduced(pair_of(self.contiguous(), target.contiguous(), Pick, p), reduction);
}

Tensor mse_loss_tuned(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  if (!has_loss_kernel(self, target) || reduction < Reduction::None || reduction > Reduction::Sum) return op::mse_loss.function(Layer::CPU)(self, target, reduction);
  return reduced(pair_of(self.contiguous(), target.contiguous(), [](const auto& table) { return table.squared_error; }, 0), reduction);
}

Tensor nan_to_num_tuned(const Tensor& self, double nan, double posinf, double neginf) {
  if (!has_function_kernel(self) || !self.is_contiguous()) return op::nan_to_num.function(Layer::CPU)(self, nan, posinf, neginf);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_its_type(self, [&]<class T>() {
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=, x = self.data<T>(), out = result.data<T>(), kernel = function_table<T>().nan_to_num](std::int64_t first, std::int64_t stop) {
      kernel(x + first, stop - first, static_cast<T>(nan), static_cast<T>(posinf), static_cast<T>(neginf), out + first);
    });
  });
  return result;
}
}  // namespace

// %%
//| export kernels/functions.cpp
namespace {
bool are_bools(const Tensor& self) { return self.scalar_type() == kBool && self.is_contiguous() && self.numel() >= kernels::kFewElements; }

// As bytes: what is not 0 is true, whatever wrote it there.
template <auto& Op, auto F>
Tensor bools_tuned(const Tensor& self, const Tensor& other) {
  if (!are_bools(self) || !are_bools(other) || self.sizes() != other.sizes()) return Op.function(Layer::CPU)(self, other);
  const Tensor result = empty(self.sizes(), kBool);
  const auto *const a = reinterpret_cast<const std::uint8_t*>(self.data<bool>()), *const b = reinterpret_cast<const std::uint8_t*>(other.data<bool>());
  bool* const out = result.data<bool>();
  parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) out[i] = F(a[i] != 0, b[i] != 0);
  });
  return result;
}

template <auto& Op>
Tensor not_tuned(const Tensor& self) {
  if (!are_bools(self)) return Op.function(Layer::CPU)(self);
  const Tensor result = empty(self.sizes(), kBool);
  const auto* const a = reinterpret_cast<const std::uint8_t*>(self.data<bool>());
  bool* const out = result.data<bool>();
  parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) out[i] = a[i] == 0;
  });
  return result;
}

// Of each row the columns up to the diagonal, or from it on; zeros beside them.
template <auto& Op, bool Upper>
Tensor triangle_tuned(const Tensor& self, std::int64_t diagonal) {
  if (!self.is_contiguous() || self.numel() < kernels::kFewElements) return Op.function(Layer::CPU)(self, diagonal);
  const std::int64_t height = self.size(-2), width = self.size(-1), bytes = self.element_size();
  const Tensor result = empty(self.sizes(), self.scalar_type());
  const auto* const from = static_cast<const char*>(self.data_ptr());
  auto* const to = static_cast<char*>(result.data_ptr());
  parallel_for(0, self.numel() / width, std::max<std::int64_t>(1, kernels::kElementwiseGrain / width), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t row = first; row < stop; ++row) {
      // Columns before `cut` are below or on the diagonal, or below it for the upper triangle.
      const std::int64_t cut = std::clamp<std::int64_t>(row % height + diagonal + (Upper ? 0 : 1), 0, width);
      const std::int64_t begin = row * width * bytes, middle = begin + cut * bytes, end = begin + width * bytes;
      std::copy(from + (Upper ? middle : begin), from + (Upper ? end : middle), to + (Upper ? middle : begin));
      std::fill(to + (Upper ? begin : middle), to + (Upper ? middle : end), '\0');
    }
  });
  return result;
}
}  // namespace

// %%
//| export kernels/functions.cpp
//| registers
void register_tuned_functions() {
  constexpr Layer tuned = Layer::TunedCPU;
  op::log1p.set(tuned, function_tuned<op::log1p, [](const auto& table) { return table.log1p; }>);
  op::expm1.set(tuned, function_tuned<op::expm1, [](const auto& table) { return table.expm1; }>);
  op::sin.set(tuned, function_tuned<op::sin, [](const auto& table) { return table.sin; }>);
  op::cos.set(tuned, function_tuned<op::cos, [](const auto& table) { return table.cos; }>);
  op::tan.set(tuned, function_tuned<op::tan, [](const auto& table) { return table.tan; }>);
  op::atan.set(tuned, function_tuned<op::atan, [](const auto& table) { return table.atan; }>);
  op::fmod.set(tuned, pair_tuned<op::fmod, [](const auto& table) { return table.fmod; }>);
  op::remainder.set(tuned, pair_tuned<op::remainder, [](const auto& table) { return table.remainder; }>);
  op::floor_divide.set(tuned, pair_tuned<op::floor_divide, [](const auto& table) { return table.floor_divide; }>);
  op::exp2.set(tuned, function_tuned<op::exp2, [](const auto& table) { return table.exp2; }>);
  op::log2.set(tuned, function_tuned<op::log2, [](const auto& table) { return table.log2; }>);
  op::log10.set(tuned, function_tuned<op::log10, [](const auto& table) { return table.log10; }>);
  op::asin.set(tuned, function_tuned<op::asin, [](const auto& table) { return table.asin; }>);
  op::acos.set(tuned, function_tuned<op::acos, [](const auto& table) { return table.acos; }>);
  op::erfinv.set(tuned, function_tuned<op::erfinv, [](const auto& table) { return table.erfinv; }>);
  op::atan2.set(tuned, pair_tuned<op::atan2, [](const auto& table) { return table.atan2; }>);
  op::sinh.set(tuned, function_tuned<op::sinh, [](const auto& table) { return table.sinh; }>);
  op::cosh.set(tuned, function_tuned<op::cosh, [](const auto& table) { return table.cosh; }>);
  op::asinh.set(tuned, function_tuned<op::asinh, [](const auto& table) { return table.asinh; }>);
  op::acosh.set(tuned, function_tuned<op::acosh, [](const auto& table) { return table.acosh; }>);
  op::atanh.set(tuned, function_tuned<op::atanh, [](const auto& table) { return table.atanh; }>);
  op::erfc.set(tuned, function_tuned<op::erfc, [](const auto& table) { return table.erfc; }>);
  op::hypot.set(tuned, pair_tuned<op::hypot, [](const auto& table) { return table.hypot; }>);
  op::copysign.set(tuned, pair_tuned<op::copysign, [](const auto& table) { return table.copysign; }>);
  op::logaddexp.set(tuned, logaddexp_tuned);
  op::lgamma.set(tuned, function_tuned<op::lgamma, [](const auto& table) { return table.lgamma; }>);
  op::polygamma.set(tuned, polygamma_tuned);
  op::frac.set(tuned, function_tuned<op::frac, [](const auto& table) { return table.frac; }>);
  op::sign.set(tuned, function_tuned<op::sign, [](const auto& table) { return table.sign; }>);
  op::logit.set(tuned, logit_tuned);
  op::hardsigmoid.set(tuned, function_tuned<op::hardsigmoid, [](const auto& table) { return table.hardsigmoid; }>);
  op::hardswish.set(tuned, function_tuned<op::hardswish, [](const auto& table) { return table.hardswish; }>);
  op::hardtanh.set(tuned, between_tuned<op::hardtanh, [](const auto& table) { return table.hardtanh; }>);
  op::threshold.set(tuned, between_tuned<op::threshold, [](const auto& table) { return table.threshold; }>);
  op::hardshrink.set(tuned, shrink_tuned<op::hardshrink, [](const auto& table) { return table.hardshrink; }>);
  op::softshrink.set(tuned, shrink_tuned<op::softshrink, [](const auto& table) { return table.softshrink; }>);
  op::isnan.set(tuned, question_tuned<op::isnan, [](const auto& table) { return table.isnan; }>);
  op::isinf.set(tuned, question_tuned<op::isinf, [](const auto& table) { return table.isinf; }>);
  op::isfinite.set(tuned, question_tuned<op::isfinite, [](const auto& table) { return table.isfinite; }>);
  op::pow.set(tuned, pow_tuned);
  op::pow_tensor.set(tuned, pow_tensor_tuned);
  op::prelu.set(tuned, pair_tuned<op::prelu, [](const auto& table) { return table.prelu; }>);
  op::prod.set(tuned, prod_tuned);
  op::cumsum.set(tuned, scan_tuned<op::cumsum, SumSoFar>);
  op::cumprod.set(tuned, scan_tuned<op::cumprod, ProductSoFar>);
  op::mish.set(tuned, function_tuned<op::mish, [](const auto& table) { return table.mish; }>);
  op::log_sigmoid.set(tuned, function_tuned<op::log_sigmoid, [](const auto& table) { return table.log_sigmoid; }>);
  op::elu.set(tuned, elu_tuned);
  op::softplus.set(tuned, softplus_tuned);
  op::binary_cross_entropy_with_logits.set(tuned, bce_with_logits_tuned);
  op::binary_cross_entropy.set(tuned, bce_tuned);
  op::mse_loss.set(tuned, mse_loss_tuned);
  op::smooth_l1_loss.set(tuned, distance_loss_tuned<op::smooth_l1_loss, [](const auto& table) { return table.smooth_l1; }>);
  op::huber_loss.set(tuned, distance_loss_tuned<op::huber_loss, [](const auto& table) { return table.huber; }>);
  op::nan_to_num.set(tuned, nan_to_num_tuned);
  op::logical_and.set(tuned, bools_tuned<op::logical_and, [](bool a, bool b) { return a & b; }>);
  op::logical_or.set(tuned, bools_tuned<op::logical_or, [](bool a, bool b) { return a | b; }>);
  op::logical_xor.set(tuned, bools_tuned<op::logical_xor, [](bool a, bool b) { return a != b; }>);
  op::bitwise_and.set(tuned, bools_tuned<op::bitwise_and, [](bool a, bool b) { return a & b; }>);
  op::bitwise_or.set(tuned, bools_tuned<op::bitwise_or, [](bool a, bool b) { return a | b; }>);
  op::bitwise_xor.set(tuned, bools_tuned<op::bitwise_xor, [](bool a, bool b) { return a != b; }>);
  op::logical_not.set(tuned, not_tuned<op::logical_not>);
  op::bitwise_not.set(tuned, not_tuned<op::bitwise_not>);
  op::tril.set(tuned, triangle_tuned<op::tril, false>);
  op::triu.set(tuned, triangle_tuned<op::triu, true>);
}

// %%
//| lesson
// The largest distance from f at higher precision, in ulp, over bit patterns of all exponents and over the range where the functions bend.
template <class T, class F>
double worst_of(const Tensor& got, const Tensor& x, F exact) {
  double worst = 0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const long double right = exact(static_cast<long double>(x.data<T>()[i]));
    const T number = got.data<T>()[i], rounded = static_cast<T>(right);
    if (number == rounded || (std::isnan(number) && std::isnan(rounded))) continue;
    const int exponent = rounded == 0 ? std::numeric_limits<T>::min_exponent : std::max(std::ilogb(rounded), std::numeric_limits<T>::min_exponent - 1);
    const long double unit = std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits + 1);
    const double off = static_cast<double>(std::fabs(static_cast<long double>(number) - right) / unit);
    worst = std::max(worst, std::isfinite(number) && std::isfinite(rounded) ? off : std::numeric_limits<double>::infinity());
  }
  return worst;
}

// erfinv by Newton's rule for log(1 - erf), which is nearly a parabola.
long double exact_erfinv(long double x) {
  const long double a = std::fabs(x);
  if (!(a < 1)) return a == 1 ? x * std::numeric_limits<long double>::infinity() : std::numeric_limits<long double>::quiet_NaN();
  if (a < 1e-6L) return x * (0.886226925452758013649083741670572591L + 0.232013666534654970767L * x * x);
  long double y = std::sqrt(-std::log1p(-a * a) * (a < 0.5L ? 0.7854L : 0.9L));
  for (int step = 0; step < 12; ++step) {
    const long double slope = 1.128379167095512573896158903121545172L * std::exp(-y * y);
    if (a < 0.5L) y -= (std::erf(y) - a) / slope;
    else y -= std::log((1 - a) / std::erfc(y)) * std::erfc(y) / slope;
  }
  return std::copysign(y, x);
}

template <class T>
Tensor arguments() {
  constexpr std::int64_t each = 30'000;
  const Tensor x = empty({5 * each}, std::is_same_v<T, float> ? kFloat : kDouble);
  for (std::int64_t i = 0; i < each; ++i) {
    const double fraction = static_cast<double>(i) / each;
    T* const at = x.data<T>() + 5 * i;
    if constexpr (sizeof(T) == 4) at[0] = std::bit_cast<float>(static_cast<std::uint32_t>(i) * 143'165u);
    else at[0] = std::bit_cast<double>(static_cast<std::uint64_t>(i) * 0x0002'2f3d'a115'9b27u);
    at[1] = static_cast<T>((2 * fraction - 1) * 100);
    at[2] = static_cast<T>((2 * fraction - 1) * 3);
    at[3] = static_cast<T>(std::round(fraction * 8000) * 1.5707963267948966);  // as near as can be to where sine or cosine is 0
    at[4] = static_cast<T>((i % 2 == 0 ? 1 : -1) * (1 - std::pow(fraction, 6)));                  // near 1 and -1
  }
  return x;
}

// %%
TEST_CASE("functions: each within 2 ulp; tan, acosh and erfinv within 3, mish within 4, erfc within 5") {
  struct Function {
    std::string name;
    Tensor (*tuned)(const Tensor&);
    long double (*exact)(long double);
    double bound = 2;
  };
  const Function functions[] = {
      {"log1p", [](const Tensor& x) { return log1p(x); }, [](long double x) { return std::log1p(x); }},
      {"expm1", [](const Tensor& x) { return expm1(x); }, [](long double x) { return std::expm1(x); }},
      {"sin", [](const Tensor& x) { return sin(x); }, [](long double x) { return std::sin(x); }},
      {"cos", [](const Tensor& x) { return cos(x); }, [](long double x) { return std::cos(x); }},
      {"tan", [](const Tensor& x) { return tan(x); }, [](long double x) { return std::tan(x); }, 3},
      {"atan", [](const Tensor& x) { return atan(x); }, [](long double x) { return std::atan(x); }},
      {"asin", [](const Tensor& x) { return asin(x); }, [](long double x) { return std::asin(x); }},
      {"acos", [](const Tensor& x) { return acos(x); }, [](long double x) { return std::acos(x); }},
      {"exp2", [](const Tensor& x) { return exp2(x); }, [](long double x) { return std::exp2(x); }},
      {"log2", [](const Tensor& x) { return log2(x); }, [](long double x) { return std::log2(x); }},
      {"log10", [](const Tensor& x) { return log10(x); }, [](long double x) { return std::log10(x); }},
      {"erfinv", [](const Tensor& x) { return erfinv(x); }, exact_erfinv, 3},
      {"sinh", [](const Tensor& x) { return sinh(x); }, [](long double x) { return std::sinh(x); }},
      {"cosh", [](const Tensor& x) { return cosh(x); }, [](long double x) { return std::cosh(x); }},
      {"asinh", [](const Tensor& x) { return asinh(x); }, [](long double x) { return std::asinh(x); }},
      {"acosh", [](const Tensor& x) { return acosh(x); }, [](long double x) { return std::acosh(x); }, 3},
      {"atanh", [](const Tensor& x) { return atanh(x); }, [](long double x) { return std::atanh(x); }},
      {"erfc", [](const Tensor& x) { return erfc(x); }, [](long double x) { return std::erfc(x); }, 5},
      {"softplus", [](const Tensor& x) { return softplus(x); }, [](long double x) { return x > 20 ? x : std::log1p(std::exp(x)); }},
      {"log_sigmoid", [](const Tensor& x) { return log_sigmoid(x); }, [](long double x) { return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)); }},
      {"elu", [](const Tensor& x) { return elu(x); }, [](long double x) { return x > 0 ? x : std::expm1(x); }},
      {"mish", [](const Tensor& x) { return mish(clamp_min(x, -80)); }, [](long double x) { return x > 60 ? x : std::max(x, -80.0L) * std::tanh(std::log1p(std::exp(std::max(x, -80.0L)))); }, 4},
  };
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    for (const Function& function : functions) {
      const Tensor floats = arguments<float>(), results = function.tuned(floats);
      CHECK_EQ(function.tuned(floats.slice(0, 5, 1008)).nan_to_num(7), results.slice(0, 5, 1008).nan_to_num(7));  // whatever their place in a vector
      const double in_float = worst_of<float>(results, floats, function.exact);
      CHECK_MESSAGE(in_float <= function.bound, function.name, " of floats is off by ", in_float, " ulp");
      if (std::numeric_limits<long double>::digits <= std::numeric_limits<double>::digits) continue;  // nothing more precise to compare with
      const double in_double = worst_of<double>(function.tuned(arguments<double>()), arguments<double>(), function.exact);
      CHECK_MESSAGE(in_double <= function.bound, function.name, " of doubles is off by ", in_double, " ulp");
    }
  }
}

TEST_CASE("functions: zeros keep their sign, infinities and NaN are the C library's, far numbers too") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> special{0.0, -0.0, infinity, -infinity, std::nan(""), -1.0, -2.0, 1e30, -1e30, 1e-320, 12800.5, 1.7e6, 3e18, 88.8, -800.0};
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor x = zeros({256}, type);
    for (std::size_t i = 0; i < special.size(); ++i) x[static_cast<std::int64_t>(i)].fill_(special[i]);
    const auto check = [&](const std::string& name, const Tensor& got, double (*expected)(double)) {
      CAPTURE(name);
      for (std::size_t i = 0; i < special.size(); ++i) {
        const double number = x[static_cast<std::int64_t>(i)].item<double>(), result = got[static_cast<std::int64_t>(i)].item<double>();
        CAPTURE(number);
        const double right = type == kFloat ? static_cast<double>(static_cast<float>(expected(number))) : expected(number);
        CHECK_EQ(std::isnan(result), std::isnan(right));
        if (std::isnan(right)) continue;
        CHECK_EQ(std::signbit(result), std::signbit(right));
        if (std::isinf(right) || right == 0) CHECK_EQ(result, right);
        else CHECK_CLOSE(result, right, 1e-6, 0.0);
      }
    };
    check("log1p", log1p(x), [](double v) { return std::log1p(v); });
    check("expm1", expm1(x), [](double v) { return std::expm1(v); });
    check("sin", sin(x), [](double v) { return std::sin(v); });
    check("cos", cos(x), [](double v) { return std::cos(v); });
    check("tan", tan(x), [](double v) { return std::tan(v); });
    check("atan", atan(x), [](double v) { return std::atan(v); });
    check("asin", asin(x), [](double v) { return std::asin(v); });
    check("acos", acos(x), [](double v) { return std::acos(v); });
    check("exp2", exp2(x), [](double v) { return std::exp2(v); });
    check("log2", log2(x), [](double v) { return std::log2(v); });
    check("log10", log10(x), [](double v) { return std::log10(v); });
    check("sinh", sinh(x), [](double v) { return std::sinh(v); });
    check("cosh", cosh(x), [](double v) { return std::cosh(v); });
    check("asinh", asinh(x), [](double v) { return std::asinh(v); });
    check("acosh", acosh(x), [](double v) { return std::acosh(v); });
    check("atanh", atanh(x), [](double v) { return std::atanh(v); });
    check("erfc", erfc(x), [](double v) { return std::erfc(v); });
    check("erfinv", erfinv(x), [](double v) { return static_cast<double>(exact_erfinv(v)); });
    check("lgamma", lgamma(x), [](double v) { return std::lgamma(v); });
    for (const std::int64_t n : {0, 1}) CHECK_CLOSE(polygamma(n, x), op::polygamma.function(Layer::CPU)(x, n), 1e-6, 0.0);
  }
}

// %%
//| lesson
// digamma and trigamma in long double: shifted beyond 40, where Stirling's series has more digits than needed.
long double exact_digamma(long double x) {
  constexpr long double pi = 3.14159265358979323846264338327950288L;
  if (x < 0) return exact_digamma(1 - x) - pi / std::tan(pi * (x - std::round(x)));
  long double sum = 0;
  for (; x < 40; ++x) sum -= 1 / x;
  const long double y = 1 / (x * x);
  return sum + std::log(x) - 0.5L / x - y * (1 / 12.0L - y * (1 / 120.0L - y * (1 / 252.0L - y * (1 / 240.0L - y * (1 / 132.0L - y * (691 / 32760.0L - y / 12))))));
}

long double exact_trigamma(long double x) {
  constexpr long double pi = 3.14159265358979323846264338327950288L;
  if (x < 0) return std::pow(pi / std::sin(pi * (x - std::round(x))), 2.0L) - exact_trigamma(1 - x);
  long double sum = 0;
  for (; x < 40; ++x) sum += 1 / (x * x);
  const long double y = 1 / (x * x);
  return sum + 1 / x + y / 2 + y / x * (1 / 6.0L - y * (1 / 30.0L - y * (1 / 42.0L - y * (1 / 30.0L - y * (5 / 66.0L - y * (691 / 2730.0L - y * 7 / 6))))));
}

long double exact_lgamma(long double x) { return std::lgamma(x); }

// The largest error, where a result below 1 counts as 1.
template <class T>
double worst_in_units(const Tensor& got, const Tensor& x, long double (*exact)(long double)) {
  double worst = 0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const long double right = exact(static_cast<long double>(x.data<T>()[i]));
    const long double unit = std::ldexp(static_cast<long double>(std::numeric_limits<T>::epsilon()), std::max(0, std::ilogb(right)));
    worst = std::max(worst, static_cast<double>(std::fabs(static_cast<long double>(got.data<T>()[i]) - right) / unit));
  }
  return worst;
}

// Of all sizes, around 1 and 2, below 12, and from -30 on.
template <class T>
std::pair<Tensor, Tensor> gamma_arguments() {
  manual_seed(796);
  const Tensor u = rand({20'000}, kDouble);
  const ScalarType type = std::is_same_v<T, float> ? kFloat : kDouble;
  return {cat({exp(u * 80 - 40), 1 + (u - 0.5) * 0.01, 2 + (u - 0.5) * 0.01, u * 12 + 1e-3}).to(type), cat({u * -30 - 1e-3, -exp(u * 40 - 40)}).to(type)};
}

// %%
//| lesson
// Equal numbers, signs of zeros included, and NaN in the same places.
void check_same_bits(const Tensor& got, const Tensor& expected) {
  CHECK_EQ(got.scalar_type(), expected.scalar_type());
  CHECK_EQ(isnan(got), isnan(expected));
  CHECK_EQ(where(isnan(got), 0, got), where(isnan(expected), 0, expected));
  CHECK_EQ(signbit(where(isnan(got), 0, got)), signbit(where(isnan(expected), 0, expected)));
}

// %%
TEST_CASE("functions: lgamma, digamma and trigamma of floats are rounded once, of doubles within a few units") {
  struct Function {
    std::string name;
    Tensor (*tuned)(const Tensor&);
    long double (*exact)(long double);
    double above, below;  // 0
  };
  const Function functions[] = {
      {"lgamma", [](const Tensor& x) { return lgamma(x); }, exact_lgamma, 4, 15},
      {"digamma", [](const Tensor& x) { return digamma(x); }, exact_digamma, 12, 18},
      {"trigamma", [](const Tensor& x) { return polygamma(1, x); }, exact_trigamma, 8, 8},
  };
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    for (const Function& function : functions) {
      CAPTURE(function.name);
      const auto [floats, floats_below] = gamma_arguments<float>();
      CHECK_LE(worst_of<float>(function.tuned(floats), floats, function.exact), 0.51);
      CHECK_LE(worst_of<float>(function.tuned(floats_below), floats_below, function.exact), 0.51);
      CHECK_EQ(function.tuned(floats_below.slice(0, 5, 1008)), function.tuned(floats_below).slice(0, 5, 1008));
      if (std::numeric_limits<long double>::digits <= std::numeric_limits<double>::digits) continue;
      const auto [above, below] = gamma_arguments<double>();
      CHECK_LE(worst_in_units<double>(function.tuned(above), above, function.exact), function.above);
      CHECK_LE(worst_in_units<double>(function.tuned(below), below, function.exact), function.below);
      if (function.name == "lgamma") CHECK_LE(worst_of<double>(function.tuned(above), above, function.exact), 8);  // beside its zeros too
    }
  }
}

TEST_CASE("functions: logit as the reference, cut or not, with NaN of what is no probability") {
  manual_seed(797);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Tensor special = tensor({0.0, -0.0, 1.0, 0.5, infinity, -infinity, std::nan(""), -0.25, 1.25, 0.01, 0.99, 1e-40, 1e-320}, kDouble);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 1e-6 : 1e-15;
    const Tensor x = cat({special, rand({400}, kDouble), special}).to(type), matrix = x.slice(0, 0, 400).view({16, 25});
    for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
      const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
      for (const Tensor& view : {x, x.slice(0, 3, 300), matrix.t(), matrix.slice(1, 0, 25, 2)}) {
        CHECK_CLOSE(logit(view), op::logit.function(Layer::CPU)(view, -infinity, infinity), tolerance, tolerance);
        const Tensor low = full({}, 0.01, type);
        CHECK_CLOSE(logit(view, 0.01), op::logit.function(Layer::CPU)(view, low.item<double>(), (1 - low).item<double>()), tolerance, tolerance);
      }
    }
    CHECK_EQ(logit(x, 0.01).isnan(), x.isnan());
    CHECK_EQ(logit(x).isnan(), logical_or(x.isnan(), logical_or(x < 0, x > 1)));
  }
}

TEST_CASE("functions: choices, signs and questions are exactly the reference's") {
  manual_seed(798);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Tensor special = tensor({0.0, -0.0, infinity, -infinity, std::nan(""), -std::nan(""), 0.5, -0.5, 0.75, -0.75, 1.0, -1.0, 2.5, -7.25, 1e-320, -1e-40, 1e30, -1e30, 1.5e300}, kDouble);
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor x = cat({special, randn({400}, kDouble) * 2, special, -special}).to(type), y = x.flip({0}), matrix = x.slice(0, 0, 450).view({18, 25});
    for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
      const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
      CAPTURE(get_cpu_capability());
      for (const Tensor& view : {x, x.slice(0, 3, 300), matrix.t(), matrix.slice(1, 0, 25, 2)}) {
        check_same_bits(op::frac(view), op::frac.function(Layer::CPU)(view));
        check_same_bits(op::sign(view), op::sign.function(Layer::CPU)(view));
        check_same_bits(op::hardsigmoid(view), op::hardsigmoid.function(Layer::CPU)(view));
        check_same_bits(op::hardswish(view), op::hardswish.function(Layer::CPU)(view));
        check_same_bits(op::hardtanh(view, -0.5, 0.75), op::hardtanh.function(Layer::CPU)(view, -0.5, 0.75));
        check_same_bits(op::hardtanh(view, 1, -1), op::hardtanh.function(Layer::CPU)(view, 1, -1));
        check_same_bits(op::threshold(view, 0.5, -7), op::threshold.function(Layer::CPU)(view, 0.5, -7));
        for (const double width : {0.5, 0.75, 0.0, -1.0, 1e300}) {
          check_same_bits(op::hardshrink(view, width), op::hardshrink.function(Layer::CPU)(view, width));
          check_same_bits(op::softshrink(view, width), op::softshrink.function(Layer::CPU)(view, width));
        }
        CHECK_EQ(isnan(view), op::isnan.function(Layer::CPU)(view));
        CHECK_EQ(isinf(view), op::isinf.function(Layer::CPU)(view));
        CHECK_EQ(isfinite(view), op::isfinite.function(Layer::CPU)(view));
      }
      for (const auto& [a, b] : {std::pair(x, y), std::pair(x, full({}, -0.0, type)), std::pair(x, full({1}, 3, kLong)), std::pair(matrix, matrix.slice(0, 2, 3)), std::pair(matrix.t(), matrix.select(1, 0))})
        check_same_bits(copysign(a, b), op::copysign.function(Layer::CPU)(a, b));
    }
  }
}

TEST_CASE("functions: logaddexp as the reference, infinities and gradients included, with either operand stretched") {
  manual_seed(799);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Tensor special = tensor({0.0, -0.0, 1.0, -3.0, 700.0, -800.0, infinity, -infinity, std::nan(""), 1e-300, 1e300, -0.6931471805599453}, kDouble);
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor rows = special.unsqueeze(1).expand({12, 12}).contiguous().to(type), columns = rows.t().contiguous(), x = (randn({30, 40}, kDouble) * 5).to(type), number = full({1}, 0.3, type);
    for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
      const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
      for (const auto& [a, b] : {std::pair(rows, columns), std::pair(x, x.flip({0})), std::pair(x, number), std::pair(number, x), std::pair(x.select(0, 1), x), std::pair(x, x.slice(1, 0, 1)), std::pair(x.t(), x.t().flip({0}))})
        CHECK_CLOSE(logaddexp(a, b), op::logaddexp.function(Layer::CPU)(a, b), type == kFloat ? 1e-6 : 1e-14, type == kFloat ? 1e-6 : 1e-14);
    }
  }
  const Tensor same = full({200}, -infinity, kDouble).requires_grad_(), other = full({200}, -infinity, kDouble).requires_grad_();
  logaddexp(same, other).backward(ones({200}, kDouble));
  CHECK_EQ(same.grad(), full({200}, 0.5, kDouble));
  CHECK_EQ(other.grad(), full({200}, 0.5, kDouble));
}

TEST_CASE("functions: as the reference, with parameters, strides and any number of threads") {
  manual_seed(791);
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor x = (randn({70, 130}, kDouble) * 4).to(type), t = rand({70, 130}, type);
    const auto by_reference = [&](const Tensor& view) {
      return std::vector<Tensor>{op::elu.function(Layer::CPU)(view, 0.7), op::softplus.function(Layer::CPU)(view, 2.5, 3), op::sin.function(Layer::CPU)(view)};
    };
    for (const Tensor& slope : {full({}, 0.3, type), rand({130}, type), rand({70, 1}, type), rand({70, 130}, type)}) CHECK_EQ(op::prelu(x, slope), op::prelu.function(Layer::CPU)(x, slope));
    const Tensor pictures = x.view({2, 7, 50, 13});
    for (const DimVector& sizes : {DimVector{7, 1, 1}, DimVector{13}, DimVector{50, 1}, DimVector{50, 13}, DimVector{2, 1, 1, 1}}) {
      const Tensor slope = rand(sizes, type);
      CHECK_EQ(op::prelu(pictures, slope), op::prelu.function(Layer::CPU)(pictures, slope));
    }
    for (const Tensor& view : {x, x.t(), x.slice(1, 0, 130, 2)}) {
      const std::vector<Tensor> expected = by_reference(view);
      for (const int threads : {1, 2, 5}) {
        const int before = get_num_threads();
        set_num_threads(threads);
        CHECK_CLOSE(elu(view, 0.7), expected[0]);
        CHECK_CLOSE(softplus(view, 2.5, 3), expected[1]);
        CHECK_CLOSE(sin(view), expected[2]);
        set_num_threads(before);
      }
    }
    Tensor broken = x.clone();
    broken.flatten().slice(0, 0, 9'000, 7).fill_(std::nan(""));
    broken.flatten().slice(0, 1, 9'000, 7).fill_(-std::numeric_limits<double>::infinity());
    broken.flatten().slice(0, 3, 9'000, 7).fill_(std::numeric_limits<double>::infinity());
    CHECK_EQ(nan_to_num(broken), op::nan_to_num.function(Layer::CPU)(broken, 0, nan_to_num(broken).max().item<double>(), nan_to_num(broken).min().item<double>()));
    CHECK_EQ(nan_to_num(broken, 0.5, 2, -3), op::nan_to_num.function(Layer::CPU)(broken, 0.5, 2, -3));
    for (const std::int64_t reduction : {Reduction::None, Reduction::Mean, Reduction::Sum}) {
      CHECK_CLOSE(mse_loss(x, t, reduction), op::mse_loss.function(Layer::CPU)(x, t, reduction));
      CHECK_CLOSE(smooth_l1_loss(x, t, reduction, 0.7), op::smooth_l1_loss.function(Layer::CPU)(x, t, reduction, 0.7));
      CHECK_CLOSE(huber_loss(x, t.t().contiguous().t(), reduction, 1.3), op::huber_loss.function(Layer::CPU)(x, t, reduction, 1.3));
      CHECK_CLOSE(binary_cross_entropy(t.round(), x.abs(), {}, reduction), op::binary_cross_entropy.function(Layer::CPU)(t.round(), x.abs(), {}, reduction));
      CHECK_CLOSE(binary_cross_entropy(t, t, {}, reduction), op::binary_cross_entropy.function(Layer::CPU)(t, t, {}, reduction));
    }
    CHECK_ERROR(binary_cross_entropy(x, t), "all elements of input should be between 0 and 1");
    for (const std::int64_t reduction : {Reduction::None, Reduction::Mean, Reduction::Sum})
      CHECK_CLOSE(binary_cross_entropy_with_logits(x, t, {}, {}, reduction), op::binary_cross_entropy_with_logits.function(Layer::CPU)(x, t, {}, {}, reduction));
  }
}

// %%
//| lesson
struct PairFunction {
  std::string name;
  Tensor (*tuned)(const Tensor&, const Tensor&);
  long double (*exact)(long double, long double);
};

const PairFunction kPairFunctions[] = {
    {"atan2", [](const Tensor& a, const Tensor& b) { return atan2(a, b); }, [](long double a, long double b) { return std::atan2(a, b); }},
    {"hypot", [](const Tensor& a, const Tensor& b) { return hypot(a, b); }, [](long double a, long double b) { return std::hypot(a, b); }},
    {"pow", [](const Tensor& a, const Tensor& b) { return pow(a, b); }, [](long double a, long double b) { return std::pow(a, b); }},
};

// Pairs of any bits; of numbers of the same size; of bases and exponents whose powers are neither 0 nor infinite; of bases near 1 and large exponents.
template <class T>
std::pair<Tensor, Tensor> argument_pairs() {
  manual_seed(797);
  const Tensor any = arguments<T>(), order = randperm(any.numel());
  const Tensor u = rand({40'000}, kDouble), v = rand({40'000}, kDouble) * 2 - 1;
  const double end = std::log(static_cast<double>(std::numeric_limits<T>::max()));
  const Tensor base = exp((u * 2 - 1) * end), near = 1 + v * 0.01;
  return {cat({any, (u * 4 - 2).to(any.scalar_type()), base.to(any.scalar_type()), near.to(any.scalar_type())}),
          cat({any.index_select(0, order), (v * 3).to(any.scalar_type()), (v * end / log(base)).to(any.scalar_type()), (v * end * 90).to(any.scalar_type())})};
}

template <class T>
void check_pairs(const PairFunction& function) {
  const auto [a, b] = argument_pairs<T>();
  const Tensor got = function.tuned(a, b);
  CHECK_EQ(function.tuned(a.slice(0, 5, 1008), b.slice(0, 5, 1008)).nan_to_num(7), got.slice(0, 5, 1008).nan_to_num(7));
  std::int64_t i = 0;
  const double off = worst_of<T>(got, a, [&](long double x) { return function.exact(x, static_cast<long double>(b.template data<T>()[i++])); });
  CHECK_MESSAGE(off <= 2, function.name, " is off by ", off, " ulp");
}

// %%
TEST_CASE("functions: atan2, hypot and pow within 2 ulp, in any range") {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    for (const PairFunction& function : kPairFunctions) {
      check_pairs<float>(function);
      if (std::numeric_limits<long double>::digits > std::numeric_limits<double>::digits) check_pairs<double>(function);
    }
  }
}

TEST_CASE("functions: atan2, hypot and pow of zeros, ones, infinities, NaN, odd and even numbers are the C library's, and powers that are numbers are exact") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Tensor special = tensor({0.0, -0.0, 1.0, -1.0, infinity, -infinity, std::nan(""), 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1e30, -1e30, 1e-40, 16777217.0, -16777216.0, -1e-320, 0.99999994});
  const std::int64_t n = special.numel();
  for (const ScalarType type : {kFloat, kDouble}) {
    const auto same = [type](double got, double exact) {
      const double right = type == kFloat ? static_cast<double>(static_cast<float>(exact)) : exact;
      return std::isnan(right) ? std::isnan(got) : std::signbit(got) == std::signbit(right) && (got == right || std::fabs(got - right) <= 3e-7 * std::fabs(right) + (type == kFloat ? 2e-45 : 0.0));
    };
    const Tensor a = special.to(kDouble).unsqueeze(1).expand({n, n}).contiguous().to(type), b = special.to(kDouble).unsqueeze(0).expand({n, n}).contiguous().to(type);
    for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
      const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
      CAPTURE(get_cpu_capability());
      const Tensor angles = atan2(a, b).to(kDouble), lengths = hypot(a, b).to(kDouble), powers = pow(a, b).to(kDouble);
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          const double x = a[i][j].item<double>(), y = b[i][j].item<double>();
          const double power = type == kFloat ? static_cast<double>(std::pow(static_cast<float>(x), static_cast<float>(y))) : std::pow(x, y);
          CHECK_MESSAGE(same(angles[i][j].item<double>(), std::atan2(x, y)), "atan2(", x, ", ", y, ")");
          CHECK_MESSAGE(same(lengths[i][j].item<double>(), std::hypot(x, y)), "hypot(", x, ", ", y, ")");
          CHECK_MESSAGE(same(powers[i][j].item<double>(), power), "pow(", x, ", ", y, ") is ", powers[i][j].item<double>());
        }
      }
      const Tensor whole = arange(-20, 108, 1, type);
      CHECK_EQ(pow(whole, 4), whole * whole * whole * whole);
      CHECK_EQ(pow(whole, 1), whole);
      CHECK_EQ(pow(2, whole), exp2(whole));
      CHECK_EQ(log2(exp2(whole)), whole);
      CHECK_EQ(pow(whole.abs(), full({1}, 2.5, type)), pow(whole.abs(), 2.5));
      CHECK_CLOSE(pow(whole.abs().view({8, 16}), rand({16}, type) * 0), ones({8, 16}, type));
    }
  }
}

TEST_CASE("functions: fmod, remainder and floor_divide have the reference's bits, zeros, infinities and far quotients included") {
  manual_seed(793);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Tensor special = tensor({0.0, -0.0, 1.0, -3.0, 3.0, 1e-40, infinity, -infinity, std::nan(""), 5e6, 1e20, -0.1, 6.0}, kDouble);
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor rows = special.unsqueeze(1).expand({13, 13}).contiguous().to(type), columns = special.unsqueeze(0).expand({13, 13}).contiguous().to(type);
    // Whole multiples and their neighbours are where a quotient is rounded up.
    const Tensor y = (rand({40'000}, kDouble) * 9 - 4.5).to(type), x = cat({y.slice(0, 0, 20'000) * randint(-3000, 3000, {20'000}).to(type), (randn({20'000}, kDouble) * 100).to(type)});
    for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
      const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
      for (const auto& [a, b] : {std::pair(rows, columns), std::pair(x, y), std::pair(x, full({}, 0.7, type)), std::pair(x.view({200, 200}).t(), y.view({200, 200}))}) {
        check_same_bits(fmod(a, b), op::fmod.function(Layer::CPU)(a, b));
        check_same_bits(remainder(a, b), op::remainder.function(Layer::CPU)(a, b));
        check_same_bits(floor_divide(a, b), op::floor_divide.function(Layer::CPU)(a, b));
      }
    }
    CHECK_EQ(remainder(x, 3).scalar_type(), type);
    CHECK_EQ(remainder(x, full({1, 1}, 3.0, kDouble)).scalar_type(), op::remainder.function(Layer::CPU)(x, full({1, 1}, 3.0, kDouble)).scalar_type());
  }
}

TEST_CASE("functions: products, and sums and products so far, are the reference's along any dimension, with the same bits for any number of threads") {
  manual_seed(794);
  for (const ScalarType type : {kFloat, kDouble}) {
    const Tensor x = (rand({6, 70, 1100}, kDouble) * 0.02 + 0.99).to(type);
    const Tensor long_row = (rand({100'001}, kDouble) * 0.0002 + 0.9999).to(type);
    CHECK_CLOSE(long_row.prod(), op::prod.function(Layer::CPU)(long_row, {}, false));
    for (std::int64_t dim = -3; dim < 3; ++dim) {
      for (const bool keepdim : {false, true}) {
        const Tensor expected = op::prod.function(Layer::CPU)(x, dim, keepdim);
        CHECK_CLOSE(x.prod(dim, keepdim), expected);
        CHECK_EQ(x.prod(dim, keepdim).sizes(), expected.sizes());
      }
    }
    for (std::int64_t dim = 0; dim < 3; ++dim) {
      CHECK_EQ(cumsum(x, dim), op::cumsum.function(Layer::CPU)(x, dim));
      CHECK_EQ(cumprod(x, dim), op::cumprod.function(Layer::CPU)(x, dim));
    }
    const Tensor once = long_row.prod(), columns = x.prod(1);
    const int before = get_num_threads();
    for (const int threads : {1, 2, 5}) {
      set_num_threads(threads);
      CHECK_EQ(long_row.prod(), once);
      CHECK_EQ(x.prod(1), columns);
    }
    set_num_threads(before);
  }
}

TEST_CASE("functions: logic of bools and triangles are exactly the reference's") {
  manual_seed(792);
  const Tensor a = rand({33, 41}) > 0.5, b = rand({33, 41}) > 0.5;
  CHECK_EQ(logical_and(a, b), op::logical_and.function(Layer::CPU)(a, b));
  CHECK_EQ(a | b, op::bitwise_or.function(Layer::CPU)(a, b));
  CHECK_EQ(a ^ b, op::bitwise_xor.function(Layer::CPU)(a, b));
  CHECK_EQ(~a, op::bitwise_not.function(Layer::CPU)(a));
  CHECK_EQ(logical_not(b), op::logical_not.function(Layer::CPU)(b));
  for (const ScalarType type : {kFloat, kDouble, kLong, kInt, kByte}) {
    const Tensor x = randint(0, 9, {3, 17, 23}).to(type);
    for (const std::int64_t diagonal : {0, 1, -1, 5, -20, 40, -40}) {
      CHECK_EQ(tril(x, diagonal), op::tril.function(Layer::CPU)(x, diagonal));
      CHECK_EQ(triu(x, diagonal), op::triu.function(Layer::CPU)(x, diagonal));
    }
  }
}

// %% [markdown]
// ## Where to read on
//
// PyTorch takes such functions from Sleef or, where it is compiled with it, from Intel's MKL, a library of vector functions (`aten/src/ATen/cpu/vec/vec512/vec512_float.h`), and remainders from `Vectorized::fmod` in `aten/src/ATen/native/cpu/BinaryOpsKernel.cpp`.
//
// - **More digits than a number has.** Dekker's *A floating-point technique for extending the available precision* (1971); Shewchuk (1997) and Hida, Li and Bailey (2001) go on to sums of more numbers.
// - **The inverse of erf.** Wichura's *Algorithm AS 241* (1988), whose quotients of polynomials are this chapter's too; Giles (2010) has polynomials for GPUs.
// - **Functions.** *Elementary Functions: Algorithms and Implementation* (Muller, 2016), chapter 11 for reducing the argument of a sine; *Handbook of Floating-Point Arithmetic* (Muller and others, 2018) for remainders that need no rounding.

// %%
}  // namespace tinytorch
