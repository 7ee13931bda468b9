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
// # Library chapter 76: Vector mathematics
//
// Module 16 brought the matrix product to the machine's peak. What remains of a training step is elementwise: activations, sums of two tensors, copies (chapter 50), random numbers (chapter 51). They do one to thirty operations for each number that they read, so their roof is the bandwidth of memory, and the reference loops are far below it for
// two reasons: `std::exp` takes one number at a time, and a loop that asks for each element's stride does not become vector instructions.
//
//     numbers per second     reference                    here
//     exp, tanh, gelu        a call for each number       8 or 16 at once, no call, no branch      limited by arithmetic -> by memory
//     add, relu              vectors of the baseline      as wide as the machine has; on threads   limited by memory in both
//
// The chapter has three parts: functions of a vector of numbers, which other chapters' kernels use too; kernels that walk over tensors in vectors; and the operators that stand on them.

// %%
//| after 16
//| export kernels/vector_math-inl.h
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <cstdint>
//| export kernels/elementwise_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/elementwise.h
#include <cstdint>
#include "tinytorch/core/tensor.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/rows.h"

// %%
//| export kernels/elementwise.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/elementwise_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"

// %%
//| export kernels/elementwise.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <type_traits>
#include "tinytorch/kernels/elementwise_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Functions of vectors
//
// How does one compute `exp` of eight numbers at once? Not with a table or a branch for each case, but with arithmetic that is the same for all of them. Two ideas carry all functions of this part.
//
// **Argument reduction.** A polynomial is good near one point only. So the argument is first brought into a small interval by a property of the function:
//
//     exp(x) = 2^n exp(r)           n = round(x / log 2),  r = x - n log 2   in [-0.35, 0.35]
//     log(x) = e log 2 + log(m)     x = 2^e m              m                 in [0.71, 1.41]
//     sin(x), cos(x)                n = round(x / (pi / 2)), r = x - n pi/2  in [-0.79, 0.79], n says which of them and which sign
//
// `2^n` costs nothing: n goes into the exponent's bits. The subtraction must be exact, or the error of `n log 2` becomes the error of the result. So `log 2` comes in two parts (Cody and Waite, 1980): the high one has so few bits that its product with n is exact, with or without fused multiply-add.
//
// **Polynomials for the rest**, with coefficients that make the largest relative error smallest (Remez's exchange algorithm), not Taylor's, which are best at one point and worse at the ends. The leading term stays outside: `1 + (r + r^2 q(r))`, so that what the polynomial rounds is small beside the result.
//
// **What is good enough?** A result is compared with the real number rounded correctly; the distance is counted in *ulp*, units in the last place: the distance of neighbouring floating-point numbers there. Rounding the exact value is off by at most 0.5 ulp. The C library promises about 1 and takes branches, tables and double precision for it.
// Here the bound is 2 ulp, measured over the whole range for both dtypes and each capability, NaN, infinities, overflow and denormal numbers included. The functions are named as Highway names its own, take a tag `d`, and are written for every capability, so they also run without fused multiply-add.

// %%
//| export kernels/vector_math-inl.h
// For *.simd.cpp files, which define TINYTORCH_CAPABILITY: functions of a Highway vector `x` of float or double, with `d` its tag. Each is within 2 ulp of the correctly rounded result, Gelu within 3.5 without FMA (measured by the
// tests of chapter 76), and gives what <cmath> gives for NaN, infinities, zeros, denormal numbers and where it overflows. No branches, no memory but for constants.
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// How a floating-point number lies in its bits, and constants of the same precision.
template <class T>
struct FloatFormat;

template <>
struct FloatFormat<float> {
  using Bits = std::uint32_t;
  static constexpr int kMantissa = 23;  // bits
  static constexpr Bits kBias = 127;    // of the exponent
  static constexpr float kRound = 0x1.8p23f;  // added, it leaves no bits for fractions
  static constexpr float kInverseLog2 = 0x1.715476p0f;
  static constexpr float kLog2 = 0x1.62e43p-1f, kLog2High = 0x1.62e4p-1f, kLog2Low = 0x1.7f7d1cp-20f;  // log 2; a product of the first part with a whole number up to 2^8 is exact
};

template <>
struct FloatFormat<double> {
  using Bits = std::uint64_t;
  static constexpr int kMantissa = 52;
  static constexpr Bits kBias = 1023;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kInverseLog2 = 0x1.71547652b82fep0;
  static constexpr double kLog2High = 0x1.62e42feep-1, kLog2Low = 0x1.a39ef35793c76p-33;
};

// c[0] + c[1] x + c[2] x^2 + ... Long ones as two interleaved halves in x^2, which do not wait for each other.
template <class D, class V, class T, int N>
HWY_INLINE V Polynomial(D d, V x, const T (&c)[N]) {
  if constexpr (N < 6) {
    V sum = hn::Set(d, c[N - 1]);
    HWY_UNROLL(6)
    for (int k = N - 2; k >= 0; --k) sum = hn::MulAdd(sum, x, hn::Set(d, c[k]));
    return sum;
  } else {
    constexpr int last_even = (N - 1) / 2 * 2, last_odd = N / 2 * 2 - 1;
    const V square = hn::Mul(x, x);
    V even = hn::Set(d, c[last_even]), odd = hn::Set(d, c[last_odd]);
    HWY_UNROLL(16)
    for (int k = last_even - 2; k >= 0; k -= 2) even = hn::MulAdd(even, square, hn::Set(d, c[k]));
    HWY_UNROLL(16)
    for (int k = last_odd - 2; k >= 1; k -= 2) odd = hn::MulAdd(odd, square, hn::Set(d, c[k]));
    return hn::MulAdd(odd, x, even);
  }
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### exp
//
// The whole number n comes out of one addition: `x / log 2 + 1.5 * 2^23` has no room for fractions, so the low bits of the sum *are* n, rounded, and subtracting the constant again gives n as a float. If the constant also carries the exponent's bias, the bits only need shifting to be the float `2^n`.
//
// Denormal results and those near overflow have exponents that no single float has: there `2^n` is applied as two factors, and only the last multiplication rounds. Where the result is known to be an ordinary number (inside `tanh` and `erf`) one factor is enough.

// %%
//| export kernels/vector_math-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kLowest = -104, kHighest = 89;  // 0 and infinity from there on
  // (exp(r) - 1 - r) / r^2, relative error of exp 2^-28
  static constexpr float kSeries[] = {0.4999999341f, 0.1666652011f, 0.04166839412f, 0.008368779965f, 0.001381447104f};
};

template <>
struct ExpConstants<double> {
  static constexpr double kLowest = -746, kHighest = 710;
  // relative error 2^-64
  static constexpr double kSeries[] = {0.500000000000000004,     0.166666666666666836,     0.0416666666666660892,    0.00833333333331691763,  0.00138888888891172741,  0.000198412698966809643,
                                       0.0000248015869245586564, 2.7557234557852664e-6,    2.75575828443380604e-7,   2.51121450268150818e-8,  2.08265203832189969e-9};
};

// Added to x / log 2 it leaves the whole number n in the low bits, with the exponent's bias, or twice the bias where 2^n comes as two factors.
template <bool Ordinary, class D>
HWY_INLINE hn::Vec<D> Magic(D d) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  return hn::Set(d, Format::kRound + static_cast<T>(Ordinary ? Format::kBias : 2 * Format::kBias));
}

// y 2^n, with n as Magic left it in `shifted`.
template <bool Ordinary, class D, class V>
HWY_INLINE V TimesPower(D d, V y, V shifted) {
  using Format = FloatFormat<hn::TFromD<D>>;
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, shifted);
  if constexpr (Ordinary) {
    return hn::Mul(y, hn::BitCast(d, hn::ShiftLeft<Format::kMantissa>(bits)));
  } else {
    const auto half = hn::ShiftRight<1>(bits);
    const V first = hn::BitCast(d, hn::ShiftLeft<Format::kMantissa>(half));
    const V second = hn::BitCast(d, hn::ShiftLeft<Format::kMantissa>(hn::Sub(bits, half)));
    return hn::Mul(hn::Mul(y, first), second);
  }
}

// exp(x), with the power of two taken from `within`, which is x brought into the range where the exponent has room: [kLowest, kHighest], or with Ordinary where exp is neither denormal nor infinite.
// With Precise what the reduction rounds away is added again: 0.8 ulp instead of 0.95, for results that are divided afterwards. With OneStep n times the whole of log 2 is taken away at once.
template <bool Ordinary, bool Precise = false, bool OneStep = false, class D, class V>
HWY_INLINE V ExpReduced(D d, V x, V within) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  const V magic = Magic<Ordinary>(d);
  const V shifted = hn::MulAdd(within, hn::Set(d, Format::kInverseLog2), magic);
  const V n = hn::Sub(shifted, magic);
  const V low = hn::Set(d, Format::kLog2Low);
  V exact, r;
  if constexpr (OneStep) {
    r = exact = hn::NegMulAdd(n, hn::Set(d, Format::kLog2), x);
  } else {
    exact = hn::NegMulAdd(n, hn::Set(d, Format::kLog2High), x);
    r = hn::NegMulAdd(n, low, exact);
  }
  const V square = hn::Mul(r, r), series = Polynomial(d, r, ExpConstants<T>::kSeries);
  V tail;
  if constexpr (Precise) tail = hn::Add(r, hn::MulAdd(square, series, hn::NegMulAdd(n, low, hn::Sub(exact, r))));
  else tail = hn::MulAdd(square, series, r);
  if constexpr (Ordinary) {
    const V power = TimesPower<true>(d, hn::Set(d, T{1}), shifted);
    return hn::MulAdd(tail, power, power);
  } else {
    return TimesPower<false>(d, hn::Add(tail, hn::Set(d, T{1})), shifted);
  }
}

template <bool Precise = false, class D, class V>
HWY_INLINE V Exp(D d, V x) {
  using Constants = ExpConstants<hn::TFromD<D>>;
  const V lowest = hn::Set(d, Constants::kLowest);
  const V within = hn::Min(hn::Max(x, lowest), hn::Set(d, Constants::kHighest));
  // x itself enters the polynomial: NaN stays NaN and infinity infinity. Only what lies below must be cut off.
  return hn::IfThenZeroElse(hn::Lt(x, lowest), ExpReduced<false, Precise>(d, x, within));
}

// x, or `lowest` where x is less; NaN stays NaN.
template <class V>
HWY_INLINE V AtLeast(V lowest, V x) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return hn::Max(lowest, x);  // these processors give the second where one is NaN
#else
  return hn::IfThenElse(hn::Lt(x, lowest), lowest, x);
#endif
}

// exp(x) for x that is at most a little above 0, as in a softmax. Below -87.7 (double: -708.7) it is 0, which nothing beside the largest of a row notices: x is cut off where the bits of the power of two are those of 0.
// float takes n log 2 away in one step where a product is added unrounded (HWY_NATIVE_FMA). log 2 as a float is wrong by 2^-29, n times: down to exp(-20) 1.5 units in the last place at most, 4.5 where results are nearly denormal (double: 1.03). A test of chapter 77 measures it.
template <class D, class V>
HWY_INLINE V ExpBelowZero(D d, V x) {
  using T = hn::TFromD<D>;
  const V within = AtLeast(hn::Set(d, sizeof(T) == 4 ? T{-88} : T{-709}), x);
  return ExpReduced<true, false, sizeof(T) == 4 && HWY_NATIVE_FMA>(d, within, within);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### log
//
// Bits again: the exponent e is taken out so that m lies around 1, and `f = m - 1` is exact. In float a polynomial in f is enough. In double the series in `s = f / (2 + f)`, `log(1 + f) = 2 (s + s^3 / 3 + ...)`, is half as long for one division (it is the C library's way since fdlibm, 1993). Numbers below the smallest normal one are first multiplied by a power of two.

// %%
//| export kernels/vector_math-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
struct LogConstants;

template <>
struct LogConstants<float> {
  static constexpr std::uint32_t kSqrtHalf = 0x3f3504f3;
  static constexpr float kSmallestNormal = 0x1p-126f, kLift = 25;  // what is smaller is multiplied by 2^kLift
  // (log(1 + f) - f + f^2 / 2) / f^3, relative error of log 2^-27
  static constexpr float kSeries[] = {0.3333331673f, -0.2500081035f, 0.2000228608f, -0.1662455541f, 0.141811967f, -0.1312874909f, 0.1288161564f, -0.07859584102f};
};

template <>
struct LogConstants<double> {
  static constexpr std::uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  static constexpr double kSmallestNormal = 0x1p-1022, kLift = 54;
  // (log((1 + s) / (1 - s)) / s - 2) / s^2 in s^2, relative error of log 2^-59
  static constexpr double kSeries[] = {0.666666666666673491, 0.399999999994110525, 0.285714287432689399, 0.222221984755132348, 0.181835697580153439, 0.153139029066297808, 0.147975101141062217};
};

// x = 2^e m, with m in [sqrt(1/2), sqrt(2)).
template <class V>
struct Binary {
  V e, m;
};

// REQUIRES: x > 0, neither infinite nor NaN.
template <class D, class V>
HWY_INLINE Binary<V> BinaryOf(D d, V x) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  using Bits = typename Format::Bits;
  using Constants = LogConstants<T>;
  const hn::RebindToUnsigned<D> du;
  constexpr Bits one = Format::kBias << Format::kMantissa;
  const auto denormal = hn::Lt(x, hn::Set(d, Constants::kSmallestNormal));
  const V lifted = hn::IfThenElse(denormal, hn::Mul(x, hn::Set(d, static_cast<T>(Bits{1} << static_cast<int>(Constants::kLift)))), x);
  // The exponent changes where the bits pass those of sqrt(1/2).
  const auto bits = hn::Add(hn::BitCast(du, lifted), hn::Set(du, static_cast<Bits>(one - Constants::kSqrtHalf)));
  const V biased = hn::BitCast(d, hn::Or(hn::ShiftRight<Format::kMantissa>(bits), hn::BitCast(du, hn::Set(d, static_cast<T>(Bits{1} << Format::kMantissa)))));
  const V bias = hn::Add(hn::Set(d, static_cast<T>((Bits{1} << Format::kMantissa) + Format::kBias)), hn::IfThenElseZero(denormal, hn::Set(d, Constants::kLift)));
  const V m = hn::BitCast(d, hn::Add(hn::And(bits, hn::Set(du, static_cast<Bits>((Bits{1} << Format::kMantissa) - 1))), hn::Set(du, Constants::kSqrtHalf)));
  return {hn::Sub(biased, bias), m};
}

// log(x) = e log(2) + f + (tail - half_square), in falling order of size; e and f are exact.
template <class V>
struct LogParts {
  V e, f, half_square, tail;
};

// REQUIRES: x > 0, neither infinite nor NaN.
template <class D, class V>
HWY_INLINE LogParts<V> LogPartsOf(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = LogConstants<T>;
  const auto [e, m] = BinaryOf(d, x);
  const V f = hn::Sub(m, hn::Set(d, T{1}));
  const V square = hn::Mul(f, f), half_square = hn::Mul(hn::Set(d, T{0.5}), square);
  if constexpr (sizeof(T) == 4) {
    return {e, f, half_square, hn::Mul(hn::Mul(f, square), Polynomial(d, f, Constants::kSeries))};
  } else {
    const V s = hn::Div(f, hn::Add(f, hn::Set(d, T{2})));
    const V z = hn::Mul(s, s);
    return {e, f, half_square, hn::Mul(s, hn::MulAdd(z, Polynomial(d, z, Constants::kSeries), half_square))};
  }
}

// log(x) for x > 0 that is neither infinite nor NaN.
template <class D, class V>
HWY_INLINE V LogOfPositive(D d, V x) {
  using Format = FloatFormat<hn::TFromD<D>>;
  const auto [e, f, half_square, tail] = LogPartsOf(d, x);
  const V small = hn::Sub(hn::MulAdd(e, hn::Set(d, Format::kLog2Low), tail), half_square);
  return hn::MulAdd(e, hn::Set(d, Format::kLog2High), hn::Add(f, small));
}

template <class D, class V>
HWY_INLINE V Log(D d, V x) {
  using T = hn::TFromD<D>;
  const V zero = hn::Zero(d), infinity = hn::Set(d, static_cast<T>(__builtin_inf()));
  const V outside = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), hn::Set(d, static_cast<T>(__builtin_nan(""))));
  const V y = hn::IfThenElse(hn::Lt(x, infinity), LogOfPositive(d, x), x);
  return hn::IfThenElse(hn::Gt(x, zero), y, outside);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### sigmoid, tanh, erf
//
// All three end in an exponential, and all three need care where the result is near 0 or 1, because a difference of nearly equal numbers has few right digits:
//
//     sigmoid(x) = 1 / (1 + e) for x >= 0,  e / (1 + e) for x < 0,  e = exp(-|x|)         e never overflows; tiny results keep their digits
//     tanh(x)    = w / (w + 2),  w = exp(2 |x|) - 1            w without cancellation, see below
//     erf(x)     = x + x P(x^2)             where |x| is small
//                = 1 - exp(-|x| - |x| Q(|x|))  beyond, Q a polynomial for the logarithm of 1 - erf
//
// Both forms of `erf` are computed for all lanes and a mask takes the right one of each: for vectors that is cheaper than a branch. `tanh` could be had in two forms too, `x + x^3 P(x^2)` near 0 and `1 - 2 / (exp(2 |x|) + 1)` beyond. One form that is right
// everywhere takes a fifth fewer operations:
//
//     exp(z) - 1 = 2^n (exp(r) - 1) + (2^n - 1)       z = n log 2 + r; the reduction has exp(r) - 1 in hand, and for n = 0 the second term is exactly 0
//
// The quotient is where digits could get lost. Near 0 the sum `w + 2` is rounded by up to an ulp of 2, which is many ulp of a small w, as far as the quotient is concerned; the quotient itself is rounded too. Both are made good by what an operation that multiplies and adds at once makes exact: with a
// quotient q, and some inverse g of the sum, `(w - 2 q) - q w` is what is missing from `q (w + 2)` to w, and `q + g` times that is the result. And then neither q nor g need have all digits: a guess of the inverse with 14 bits is enough, for which AVX-512 has an instruction; on an Intel processor, and with numbers in the cache, the whole function takes 7 % less time with it than with a division, and 12 % less than in two forms.

// %%
//| export kernels/vector_math-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// 1 / (1 + exp(-x)). Exponential, sum and quotient would round three times, each by up to one ulp of a result just below a power of two; so what the sum rounds away is taken off again: a / (b + c) = a / b - a / b * c / b for a tiny c.
template <class D, class V>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, hn::TFromD<D>{1});
  const auto negative = hn::Lt(x, hn::Zero(d));
  const V e = Exp<true>(d, hn::Neg(hn::Abs(x)));
  const V sum = hn::Add(one, e);
  const V lost = hn::Sub(e, hn::Sub(sum, one));
  const V quotient = hn::Div(hn::IfThenElse(negative, e, one), sum);
  const V inverse = hn::IfThenElse(negative, hn::Sub(one, quotient), quotient);  // of the sum
  return hn::NegMulAdd(hn::Mul(quotient, lost), inverse, quotient);
}

// exp(x) - 1. REQUIRES: |x| <= kMantissa + 1, or NaN.
template <class D, class V>
HWY_INLINE V Expm1Reduced(D d, V x) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  const V one = hn::Set(d, T{1}), magic = Magic<true>(d);
  const V shifted = hn::MulAdd(x, hn::Set(d, Format::kInverseLog2), magic);
  const V n = hn::Sub(shifted, magic);
  const V r = hn::NegMulAdd(n, hn::Set(d, Format::kLog2Low), hn::NegMulAdd(n, hn::Set(d, Format::kLog2High), x));
  const V beside_one = hn::MulAdd(hn::Mul(r, r), Polynomial(d, r, ExpConstants<T>::kSeries), r);  // exp(r) - 1
  const V power = TimesPower<true>(d, one, shifted);
  return hn::MulAdd(power, beside_one, hn::Sub(power, one));
}

// 1 / x, with 14 right bits or more. REQUIRES: x in [2, 2^100].
template <class D, class V>
HWY_INLINE V RoughInverse(D d, V x) {
  if constexpr (HWY_TARGET == HWY_AVX3 && sizeof(hn::TFromD<D>) == 4) return hn::ApproximateReciprocal(x);
  else return hn::Div(hn::Set(d, hn::TFromD<D>{1}), x);
}

// w / (w + 2), as if the sum had not been rounded. REQUIRES: 0 <= w < 2^99, or NaN.
template <class D, class V>
HWY_INLINE V ShareBesideTwo(D d, V w) {
  const V two = hn::Set(d, hn::TFromD<D>{2}), inverse = RoughInverse(d, hn::Add(w, two)), share = hn::Mul(w, inverse);
  const V missing = hn::NegMulAdd(share, w, hn::NegMulAdd(share, two, w));
  return hn::MulAdd(missing, inverse, share);
}

template <class D, class V>
HWY_INLINE V Tanh(D d, V x) {
  using T = hn::TFromD<D>;
  const V top = hn::Set(d, sizeof(T) == 4 ? T{10} : T{20});  // tanh is 1 from there on
  const V a = hn::Abs(x);
  const V within = hn::IfThenElse(hn::Gt(a, top), top, a);  // NaN is not greater, and stays
  return hn::CopySign(ShareBesideTwo(d, Expm1Reduced(d, hn::Add(within, within))), x);
}

template <class T>
struct ErfConstants;

template <>
struct ErfConstants<float> {
  static constexpr float kBorder = 0.875f, kOne = 4;  // between the two forms; erf is 1 from there on
  // erf(x) / x - 1 in x^2, relative error 2^-26
  static constexpr float kNearZero[] = {0.1283791585f, -0.3761255717f, 0.1128252436f, -0.02679396029f, 0.005035879071f, -0.0006222454147f};
  // -log(1 - erf(x)) / x - 1, relative error of erf 2^-29
  static constexpr float kBeyond[] = {0.1286224309f, 0.6352588744f, 0.1060562558f, -0.0236042378f, 0.003566832795f, -0.0003039716949f, 9.328077314e-6f};
};

template <>
struct ErfConstants<double> {
  static constexpr double kBorder = 1, kOne = 6;
  // relative error 2^-62
  static constexpr double kNearZero[] = {0.128379167095512574,      -0.376126389031837482,     0.112837916709548845,  -0.0268661706450778743,  0.00522397762482842784, -0.000854832698142566102, 0.000120553311329686649,
                                         -0.0000149255957726592617, 1.6461008487758625e-6,     -1.63503963490365215e-7, 1.46603296920580437e-8, -1.13749598971148339e-9, 5.96069301194035188e-11};
  // relative error of erf 2^-56
  static constexpr double kBeyond[] = {0.128379083658936215,     0.636620485797202137,     0.102769920419103314,     -0.0191228620935953004,   -0.000215230209898918814,
                                       0.00169584417856260306,   -0.00057667574647463409,  -5.96764584740797856e-7,  0.0000961644412916918355, -0.0000569170805691325503,
                                       0.0000209537006071315413, -5.66942451847251285e-6,  1.17633465846045944e-6,   -1.88265734963060048e-7,  2.29206312145878614e-8,
                                       -2.05555627281368976e-9,  1.2804395572436565e-10,   -4.94517628701406635e-12, 8.91004061043310266e-14};
};

template <class D, class V>
HWY_INLINE V Erf(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = ErfConstants<T>;
  const V one = hn::Set(d, T{1});
  const V a = hn::Abs(x);
  const V near_zero = hn::MulAdd(a, Polynomial(d, hn::Mul(a, a), Constants::kNearZero), a);
  const V within = hn::Min(a, hn::Set(d, Constants::kOne));
  const V exponent = hn::Neg(hn::MulAdd(within, Polynomial(d, within, Constants::kBeyond), within));
  const V beyond = hn::Sub(one, ExpReduced<true>(d, exponent, exponent));
  return hn::CopySign(hn::IfThenElse(hn::Gt(a, hn::Set(d, Constants::kBorder)), beyond, near_zero), x);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### The normal distribution
//
// `gelu(x) = x P(Z <= x)`, and `P = (1 + erf(x / sqrt(2))) / 2` is how everybody writes it. For x = -5 that is `1 - 0.99999943`: of float's 24 bits 20 cancel, and from x = -5.6 on the result is 0, where the true one is -6e-8. No better `erf` can mend that. The tail must be computed as a tail:
//
//     P(Z <= -t) = exp(-t^2 / 2) h(t)           t >= 0        h(0) = 1/2, and for large t  h(t) ~ 0.4 / t
//     gelu(-t)   = -t P(Z <= -t)
//     gelu(t)    = t - t P(Z <= -t)                           nothing cancels: P is at most 1/2
//
//     h:   |\                     a polynomial cannot fall like 1 / t over [0, 39]; so h (t + k) is taken, which does not fall,
//          | '-.___               in v = 2 t / (t + k) - 1, which squeezes that interval into [-1, 1): ten coefficients do for
//          |       ''''-----      float. One division, t / (t + k), gives v and the factor t / (t + k) of t h(t)
//
// Near 0, where P is between 1/4 and 3/4, `1/2 + x R(x^2)` is better still: a division and a sum fewer round.
//
// The exponential wants care. `t^2` is rounded, and an error of half an ulp in an exponent of -100 is an error of 50 ulp in the result. So t is split into a part whose square is exact, because half of its bits are 0, and the rest: `t^2 = high^2 + (t - high) (t + high)`. The reduction of `exp` works with two parts anyway, so the second one joins what is left of `n log 2`.
// PyTorch's gelu has the other form and its cancellation, on CPUs and GPUs (ATen/native/cpu/Activation.cpp). Does a network notice? Hardly: the lost digits belong to results below 1e-6.
//
// Roundings in a row add up: the sum t + k, the division, the last sums of the polynomial and two products would be 3 ulp. So the tail is carried in two parts, as `t^2` is: an operation that multiplies and adds rounds once, and with it what a sum, a quotient and a product leave out can be had exactly. These small parts are added where the result is put together, whose last sum is then the only rounding of its size. It takes
// fourteen operations more, and nearly half as long again; this gelu is within 2 ulp everywhere. Without such an operation (before AVX2) what is left out is only estimated, and it is within 3.5.
//
// That is seventy operations, and most numbers do not need them: of a million from a normal distribution 63 lie beyond 4. For float, `P(Z <= -t)` from 0 to 4 is cut into 16 pieces of 1/4, each with a polynomial of degree 6 around its middle:
//
//     t = 1.3:   piece 5, [1.25, 1.5)     r = t - 1.375      P = c0[5] + c1[5] r + ... + c6[5] r^6         gelu(x) = max(x, 0) - |x| P
//
// Each lane wants the numbers of its own piece. Reading them from memory lane by lane (*gather*) would take as long as the polynomial saves. But 16 floats are one register with AVX-512, and *permuting* a register by indices in another is one instruction: it is a table of 16 numbers that all lanes read at once. So seven tables are seven permutations. With AVX2 a table is two registers.
// The last line has one rounding, since it multiplies and adds at once, and needs no case for the sign; with P's it is within 1.9 ulp. Where a lane of a vector is beyond 4, the vector takes the way above too, and each lane keeps what its own number asks for: a result must not depend on its neighbours.

// %%
//| export kernels/vector_math-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// (factor + factor_low) exp(x + more) for a `more` that is small beside 1: sums that no single number holds. The power of two comes last, so that a denormal result is rounded once. REQUIRES: 2 kLowest <= x <= kHighest + 1.
template <class D, class V>
HWY_INLINE V TimesExpOfSum(D d, V factor, V factor_low, V x, V more) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  const V magic = Magic<false>(d);
  const V shifted = hn::MulAdd(x, hn::Set(d, Format::kInverseLog2), magic);
  const V n = hn::Sub(shifted, magic);
  const V exact = hn::NegMulAdd(n, hn::Set(d, Format::kLog2High), x);
  const V rest = hn::NegMulAdd(n, hn::Set(d, Format::kLog2Low), more);
  const V r = hn::Add(exact, rest);
  const V lost = hn::Add(hn::Sub(exact, r), rest);
  const V beside_r = hn::MulAdd(hn::Mul(r, r), Polynomial(d, r, ExpConstants<T>::kSeries), lost);  // exp(r) - 1 - r
  const V beside_factor = hn::MulAdd(factor, r, hn::MulAdd(factor, beside_r, factor_low));
  return TimesPower<false>(d, hn::Add(factor, beside_factor), shifted);
}

template <class T>
struct GeluConstants;

template <>
struct GeluConstants<float> {
  static constexpr std::uint32_t kHalfOfTheBits = 0xfffff000;
  static constexpr float kMiddle = 2.5f, kFarthest = 15;  // gelu(-15) is 0
  // (P(Z <= x) - 1/2) / x in x^2 for |x| <= 0.66, relative error 2^-30
  static constexpr float kNearZero[] = {0.3989422801f, -0.0664903489f, 0.009972985436f, -0.001183639913f, 0.0001056263487f};
  // h(t) (t + kMiddle) in 2 t / (t + kMiddle) - 1, relative error 2^-28; what is added last rounds most, and is added one by one
  static constexpr float kFirst[] = {0.7066566561f, -0.4336921168f, 0.1319873566f};
  static constexpr float kTail[] = {0.009238144547f, -0.01639124081f, -0.001613362961f, 0.002544388407f, 0.0007071421004f, -0.0003371723616f, -0.0001668953015f};
};

template <>
struct GeluConstants<double> {
  static constexpr std::uint64_t kHalfOfTheBits = 0xfffffffff8000000;
  static constexpr double kMiddle = 5, kFarthest = 39;
  // relative error 2^-59
  static constexpr double kNearZero[] = {0.398942280401432677, -0.0664903800669052772, 0.00997355701002550205, -0.00118732821523788309, 0.000115434684755017078,
                                          -9.4446372740928333e-6, 6.65895189468834699e-7, -4.10571873396337269e-8, 2.06276992159705893e-9};
  // relative error 2^-57
  static constexpr double kFirst[] = {0.769193049750062959, -0.665382502890056937, 0.495305615969976421};
  static constexpr double kTail[] = {-0.313533156671276348, 0.165020366170379647, -0.0691186387073036205, 0.0207950668000778543, -0.00299337675440783168, -0.000797869401444260804,
                                      0.00054489892084477713, -0.0000593757039597694565, -0.0000497620382181831096, 0.0000166810983718980538, 3.97827103791712701e-6, -2.76891986858342231e-6,
                                      -3.30966519382161973e-7, 4.32475579640120513e-7, 3.48208259736012646e-8, -6.51498207380036224e-8, -3.7966466932473759e-9, 7.12619795417079989e-9};
};

template <class V>
struct TwoParts {
  V high, low;
};

// t h(t), and what rounding left out of it.
template <class D, class V>
HWY_INLINE TwoParts<V> TailCurve(D d, V t) {
  using T = hn::TFromD<D>;
  using Constants = GeluConstants<T>;
  const V middle = hn::Set(d, Constants::kMiddle), one = hn::Set(d, T{1});
  // part + part_low = t / (t + k): the sum's rounding error is exact, and so is what the quotient leaves of t.
  const V sum = hn::Add(t, middle);
  const V sum_low = hn::Sub(hn::Min(t, middle), hn::Sub(sum, hn::Max(t, middle)));
  const V inverse = hn::Div(one, sum);
  const V part = hn::Mul(t, inverse);
  const V part_low = hn::Mul(hn::NegMulAdd(part, sum_low, hn::NegMulAdd(part, sum, t)), inverse);
  const V v = hn::Sub(hn::Add(part, part), one);
  const V third = hn::MulAdd(Polynomial(d, v, Constants::kTail), v, hn::Set(d, Constants::kFirst[2]));
  const V second = hn::MulAdd(third, v, hn::Set(d, Constants::kFirst[1]));
  const V first = hn::MulAdd(second, v, hn::Set(d, Constants::kFirst[0]));
  // What the last two sums left out, and how far the curve goes on from v to v + 2 part_low.
  const V second_low = hn::MulAdd(third, v, hn::Sub(hn::Set(d, Constants::kFirst[1]), second));
  const V first_low = hn::MulAdd(second, v, hn::Sub(hn::Set(d, Constants::kFirst[0]), first));
  const V slope = hn::MulAdd(third, v, second);
  const V low = hn::MulAdd(slope, hn::Add(part_low, part_low), hn::MulAdd(v, second_low, first_low));
  const V product = hn::Mul(first, part);
  return {product, hn::MulAdd(low, part, hn::MulAdd(first, part_low, hn::MulSub(first, part, product)))};
}

// P(Z <= -t) for t up to kLimit, in pieces.
struct NormalPieces {
  static constexpr float kLimit = 4, kPerWidth = 4;  // 16 pieces, of a quarter
  // Row k has the numbers before r^k of all pieces, r being the distance from a piece's middle; relative error 2^-27.
  alignas(64) static constexpr float kTable[7][16] = {
      {0.450261772f, 0.353830248f, 0.265985519f, 0.190786958f, 0.130294517f, 0.0845657215f, 0.0520812795f, 0.0303963609f, 0.0167933069f, 0.00877447519f, 0.00433244836f, 0.00202013738f, 0.000889025279f, 0.000369078451f, 0.000144480728f, 5.33123493e-05f},
      {-0.395837694f, -0.37185508f, -0.328160971f, -0.272055f, -0.211876646f, -0.155012265f, -0.106538266f, -0.0687862784f, -0.0417209864f, -0.0237719007f, -0.0127241816f, -0.00639812043f, -0.00302225794f, -0.00134111883f, -0.000559061533f, -0.000218931644f},
      {0.0247416515f, 0.0697152615f, 0.10255558f, 0.11902158f, 0.119180843f, 0.106571384f, 0.0865623131f, 0.0644875765f, 0.044328317f, 0.0282290839f, 0.0167004932f, 0.00919735152f, 0.00472228741f, 0.00226313947f, 0.00101329805f, 0.000424180151f},
      {0.0649435073f, 0.0532575995f, 0.033329431f, 0.0106275771f, -0.0093798684f, -0.0230096709f, -0.029131962f, -0.0288395565f, -0.0244456846f, -0.0183861442f, -0.0124922507f, -0.00774771674f, -0.00441535655f, -0.00232251943f, -0.00113122026f, -0.000511405815f},
      {-0.00638330309f, -0.0156450942f, -0.0229730904f, -0.0218458623f, -0.0172545258f, -0.00990934856f, -0.00258790376f, 0.00271401601f, 0.00562740862f, 0.00621792162f, 0.00541391317f, 0.00402896944f, 0.00266131945f, 0.00158229284f, 0.000856417697f, 0.000424727798f},
      {-0.0096312426f, -0.00659914874f, -0.00223880797f, 0.00225399341f, 0.00526401494f, 0.00615011388f, 0.0052242903f, 0.00326270238f, 0.00128159602f, -0.000184919118f, -0.000963934581f, -0.00115643197f, -0.000999703538f, -0.000719484815f, -0.000451888103f, -0.000253179373f},
      {0.0094658602f, -0.0327839777f, 0.0277944282f, -0.00890670065f, 0.00236774003f, 0.00197522715f, -0.00124228373f, 0.00069332571f, -0.00222861464f, -0.000969530025f, -0.000271274243f, 0.00026498019f, 0.000205103381f, 0.000197625282f, 0.00015355392f, 0.000106406434f},
  };
};

// table[index] in each lane, for indices from 0 to 15. REQUIRES: vectors of 8 or 16 floats.
template <class D, class Index>
HWY_INLINE hn::Vec<D> Permuted(D d, const float (&table)[16], Index index) {
  if constexpr (hn::MaxLanes(D()) == 16) {
    return hn::TableLookupLanes(hn::Load(d, table), hn::IndicesFromVec(d, index));
  } else {
    const hn::RebindToUnsigned<D> du;
    const auto within = hn::IndicesFromVec(d, hn::And(index, hn::Set(du, 7)));
    const auto is_upper = hn::MaskFromVec(hn::BitCast(d, hn::ShiftLeft<28>(index)));  // bit 3 where masks are looked for
    return hn::IfThenElse(is_upper, hn::TableLookupLanes(hn::Load(d, table + 8), within), hn::TableLookupLanes(hn::Load(d, table), within));
  }
}

// x P(Z <= x), by pieces, where a, |x|, is at most kLimit.
template <class D, class V>
HWY_INLINE V GeluByPieces(D d, V x, V a) {
  using Pieces = NormalPieces;
  const hn::RebindToUnsigned<D> du;
  // The number of the piece is floor(4 a): what is 16 belongs to the last piece. Its middle is (number + 1/2) / 4.
  const auto number = hn::Min(hn::ConvertTo(hn::RebindToSigned<D>(), hn::Mul(a, hn::Set(d, Pieces::kPerWidth))), hn::Set(hn::RebindToSigned<D>(), 15));
  const V r = hn::NegMulAdd(hn::ConvertTo(d, number), hn::Set(d, 1 / Pieces::kPerWidth), hn::Sub(a, hn::Set(d, 0.5f / Pieces::kPerWidth)));
  const auto index = hn::BitCast(du, number);
  V p = Permuted(d, Pieces::kTable[6], index);
  HWY_UNROLL(6)
  for (int k = 5; k >= 0; --k) p = hn::MulAdd(p, r, Permuted(d, Pieces::kTable[k], index));
  return hn::CopySign(hn::NegMulAdd(a, p, hn::Max(x, hn::Zero(d))), x);  // of -0 it is -0
}

// x P(Z <= x), with the tail computed as a tail.
template <class D, class V>
HWY_INLINE V GeluAnywhere(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = GeluConstants<T>;
  const hn::RebindToUnsigned<D> du;
  const V half = hn::Set(d, T{0.5}), zero = hn::Zero(d);
  const V a = hn::Abs(x);
  const V per_x = Polynomial(d, hn::Mul(x, x), Constants::kNearZero);
  const V share = hn::MulAdd(x, per_x, half), share_low = hn::MulAdd(x, per_x, hn::Sub(half, share));  // P, and what its rounding left out
  const V near_zero = hn::MulAdd(x, share, hn::Mul(x, share_low));
  const V t = hn::Min(a, hn::Set(d, Constants::kFarthest));
  const auto [curve, curve_low] = TailCurve(d, t);
  const V high = hn::BitCast(d, hn::And(hn::BitCast(du, t), hn::Set(du, Constants::kHalfOfTheBits)));
  const V more = hn::Mul(hn::Mul(hn::Sub(t, high), hn::Add(t, high)), half);
  const V tail = TimesExpOfSum(d, curve, curve_low, hn::Neg(hn::Mul(hn::Mul(high, high), half)), hn::Neg(more));  // t P(Z <= -t)
  // -infinity times 0 is NaN, as in PyTorch.
  const V beyond = hn::IfThenElse(hn::Lt(x, zero), hn::MulAdd(x, zero, hn::Neg(tail)), hn::Sub(x, tail));
  // NaN is not greater: it takes the first form, which keeps it.
  return hn::IfThenElse(hn::Gt(a, hn::Set(d, T{0.65625})), beyond, near_zero);
}

// x P(Z <= x) for a standard normal Z.
template <class D, class V>
HWY_INLINE V Gelu(D d, V x) {
  if constexpr (std::is_same_v<hn::TFromD<D>, float> && (hn::MaxLanes(D()) == 8 || hn::MaxLanes(D()) == 16)) {
    const V a = hn::Abs(x), limit = hn::Set(d, NormalPieces::kLimit);
    const auto within = hn::Le(a, limit);  // NaN is not
    const V by_pieces = GeluByPieces(d, x, hn::Min(a, limit));
    if (HWY_LIKELY(hn::AllTrue(d, within))) return by_pieces;
    return hn::IfThenElse(within, by_pieces, GeluAnywhere(d, x));
  } else {
    return GeluAnywhere(d, x);
  }
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Sine and cosine
//
// One polynomial for each, of r between -pi/4 and pi/4. The last two bits of n say what becomes of them: an odd quarter of a turn exchanges sine and cosine, half a turn turns their signs. The functions come as a pair, since random numbers (chapter 51) want both, and are good to 2 units of the last place beside 1; chapter 79 has sines of their own, to 2 ulp of results near 0 and of large arguments.
//
//     n mod 4        0         1         2         3
//     sin(x)       sin(r)    cos(r)   -sin(r)   -cos(r)
//     cos(x)       cos(r)   -sin(r)   -cos(r)    sin(r)

// %%
//| export kernels/vector_math-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
struct CircleConstants;

template <>
struct CircleConstants<float> {
  // pi / 2 in three parts, the first two with few bits
  static constexpr float kHigh = 1.5703125f, kMiddle = 4.837512969970703125e-4f, kLow = 7.54978995489188e-8f;
  static constexpr float kSine[] = {-0.166666548f, 0.008332168928f, -0.0001951601222f};     // (sin(r) - r) / r^3 in r^2
  static constexpr float kCosine[] = {0.04166664543f, -0.001388730348f, 2.443167017e-5f};  // (cos(r) - 1 + r^2 / 2) / r^4 in r^2
};

template <>
struct CircleConstants<double> {
  static constexpr double kHigh = 1.57079632673412561417e+00, kMiddle = 6.07710050630396597660e-11, kLow = 2.02226624879595063154e-21;
  static constexpr double kSine[] = {-0.166666666666666312, 0.00833333333332220525, -0.000198412698296331417, 2.75573136288171037e-6, -2.50507478713631631e-8, 1.58961821599176533e-10};
  static constexpr double kCosine[] = {0.0416666666666665911, -0.00138888888888727328, 0.0000248015872886441888, -2.75573141178594569e-7, 2.08756922979973202e-9, -1.1358084587818486e-11};
};

// sin(x) and cos(x), within 2 ulp of 1. REQUIRES: |x| <= 100.
template <class D, class V>
HWY_INLINE void SinCos(D d, V x, V& sine, V& cosine) {
  using T = hn::TFromD<D>;
  using Bits = typename FloatFormat<T>::Bits;
  using Constants = CircleConstants<T>;
  const hn::RebindToUnsigned<D> du;
  const V magic = hn::Set(d, FloatFormat<T>::kRound);
  const V shifted = hn::MulAdd(x, hn::Set(d, static_cast<T>(0.63661977236758134308)), magic);
  const V n = hn::Sub(shifted, magic);
  V r = hn::NegMulAdd(n, hn::Set(d, Constants::kHigh), x);
  r = hn::NegMulAdd(n, hn::Set(d, Constants::kMiddle), r);
  r = hn::NegMulAdd(n, hn::Set(d, Constants::kLow), r);
  const V square = hn::Mul(r, r);
  const V s = hn::MulAdd(hn::Mul(r, square), Polynomial(d, square, Constants::kSine), r);
  const V c = hn::MulAdd(hn::Mul(square, square), Polynomial(d, square, Constants::kCosine), hn::NegMulAdd(hn::Set(d, T{0.5}), square, hn::Set(d, T{1})));
  // A quarter of a turn exchanges the two, half a turn changes signs.
  const auto bits = hn::BitCast(du, shifted);
  const auto odd = hn::RebindMask(d, hn::TestBit(bits, hn::Set(du, Bits{1})));
  constexpr int to_sign = 8 * static_cast<int>(sizeof(T)) - 2;
  const auto two = hn::Set(du, Bits{2});
  const V sine_sign = hn::BitCast(d, hn::ShiftLeft<to_sign>(hn::And(bits, two)));
  const V cosine_sign = hn::BitCast(d, hn::ShiftLeft<to_sign>(hn::And(hn::Add(bits, hn::Set(du, Bits{1})), two)));
  sine = hn::Xor(hn::IfThenElse(odd, c, s), sine_sign);
  cosine = hn::Xor(hn::IfThenElse(odd, s, c), cosine_sign);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Measured in ulp
//
// The test sweeps over bit patterns, so that every exponent, both signs, denormal numbers, infinities and NaN are met, and for double also over the range where the functions bend. The exact value comes from the C library at higher precision. It runs the operators of this chapter's end, which call these functions, for each capability.

// %%
//| lesson
// The distance of `got` from the real number `exact`, in units of the last place that T has there.
template <class T>
double ulps(T got, long double exact) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const T rounded = static_cast<T>(exact);
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) == std::isnan(got) ? 0 : infinity;
  if (got == rounded) return 0;
  if (std::isinf(rounded) || std::isinf(got)) return infinity;
  const int exponent = rounded == 0 ? std::numeric_limits<T>::min_exponent : std::max(std::ilogb(rounded), std::numeric_limits<T>::min_exponent - 1);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) / std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits + 1));
}

struct VectorFunction {
  const char* name;
  Tensor (*tuned)(const Tensor&);
  long double (*exact)(long double);
  double (*exact_for_float)(double);
  double without_fma = 2;  // ulp allowed where no instruction multiplies and adds; others: 2

  double bound() const { return get_cpu_capability() == "DEFAULT" ? without_fma : 2; }
};

// x P(Z <= x). What rounding leaves out of x / sqrt(2) counts x^2 times in the tail, so it is put back: erfc(a + e) is erfc(a) - 2 / sqrt(pi) exp(-a^2) e.
long double exact_gelu(long double x) {
  constexpr long double root = 0.707106781186547524400844362104849039L, root_low = 1.89503255889325708e-20L;
  const long double a = -x * root;
  const long double left_out = std::isfinite(a) ? -(std::fma(x, root, a) + x * root_low) : 0;
  return x / 2 * (std::erfc(a) - 2 * std::numbers::inv_sqrtpi_v<long double> * std::exp(-a * a) * left_out);
}

const VectorFunction kVectorFunctions[] = {
    {"exp", [](const Tensor& x) { return exp(x); }, [](long double x) { return std::exp(x); }, [](double x) { return std::exp(x); }},
    {"log", [](const Tensor& x) { return log(x); }, [](long double x) { return std::log(x); }, [](double x) { return std::log(x); }},
    {"sigmoid", [](const Tensor& x) { return sigmoid(x); }, [](long double x) { return 1 / (1 + std::exp(-x)); }, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"tanh", [](const Tensor& x) { return tanh(x); }, [](long double x) { return std::tanh(x); }, [](double x) { return std::tanh(x); }, 2.5},
    {"erf", [](const Tensor& x) { return erf(x); }, [](long double x) { return std::erf(x); }, [](double x) { return std::erf(x); }},
    {"gelu", [](const Tensor& x) { return gelu(x); }, exact_gelu, [](double x) { return x * 0.5 * std::erfc(-x * std::numbers::sqrt2 / 2); }, 3.5},
};

// Runs f once for each capability that this machine has.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// Sets the number of threads for a scope.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : before_(get_num_threads()) { set_num_threads(threads); }
  ~ThreadsGuard() { set_num_threads(before_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  int before_;
};

// Floats of all exponents and signs: every so manieth bit pattern.
Tensor float_patterns() {
  constexpr std::uint32_t step = 4099;
  const std::int64_t count = (std::int64_t{1} << 32) / step;
  const Tensor x = empty({count}, kFloat);
  for (std::int64_t i = 0; i < count; ++i) x.data<float>()[i] = std::bit_cast<float>(static_cast<std::uint32_t>(i) * step);
  return x;
}

// Doubles of all exponents and signs, then of the ranges in which the functions are neither linear nor constant.
Tensor double_patterns() {
  constexpr std::int64_t each = 40'000;
  const Tensor x = empty({4 * each}, kDouble);
  double* const data = x.data<double>();
  for (std::int64_t i = 0; i < each; ++i) {
    const double fraction = static_cast<double>(i) / static_cast<double>(each);
    data[i] = std::bit_cast<double>(static_cast<std::uint64_t>(i) * 0x0001a36e2eb1c433u);
    data[each + i] = (2 * fraction - 1) * 750;
    data[2 * each + i] = (2 * fraction - 1) * 8;
    data[3 * each + i] = 0.25 + 1.75 * fraction;
  }
  return x;
}

template <class T>
struct WorstUlps {
  double ulp = 0;
  T at = 0;
};

template <class T>
WorstUlps<T> worst_ulps(const VectorFunction& function, const Tensor& x) {
  const Tensor y = function.tuned(x);
  WorstUlps<T> worst;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const T number = x.data<T>()[i];
    const long double exact = sizeof(T) == 4 ? static_cast<long double>(function.exact_for_float(static_cast<double>(number))) : function.exact(static_cast<long double>(number));
    const double distance = ulps(y.data<T>()[i], exact);
    if (distance > worst.ulp) worst = {distance, number};
  }
  return worst;
}

// %%
TEST_CASE("exp, log, sigmoid, tanh, erf and gelu of floats are within 2 ulp") {
  const Tensor x = float_patterns();
  for_each_capability([&] {
    for (const VectorFunction& function : kVectorFunctions) {
      const WorstUlps<float> worst = worst_ulps<float>(function, x);
      CHECK_MESSAGE(worst.ulp <= function.bound(), function.name, "(", worst.at, ") is off by ", worst.ulp, " ulp");
    }
  });
}

// x / (1 + exp(-w)), where w has been rounded: half an ulp of it is w / 2 ulp of its exponential, and it takes three operations to compute.
TEST_CASE("gelu by tanh, of floats: within 2 + 3 |w| ulp where it is no denormal number") {
  constexpr double scale = 2 * 0.79788456080286535588;
  for_each_capability([&] {
    const Tensor x = arange(-10, 12, 1e-4, kFloat);
    const Tensor y = gelu(x, "tanh");
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const double number = x.data<float>()[i];
      const double w = scale * (number + 0.044715 * number * number * number);
      const double exact = number / (1 + std::exp(-w));
      const double off = ulps(y.data<float>()[i], static_cast<long double>(exact));
      CHECK_MESSAGE(off <= 2 + 3 * std::fabs(w), "gelu(", number, ", tanh) is off by ", off, " ulp");
    }
  });
}

TEST_CASE("exp, log, sigmoid, tanh, erf and gelu of doubles are within 2 ulp") {
  if (std::numeric_limits<long double>::digits <= std::numeric_limits<double>::digits) {
    MESSAGE("skipped: this machine has no numbers more precise than double to compare with");
    return;
  }
  const Tensor x = double_patterns();
  for_each_capability([&] {
    for (const VectorFunction& function : kVectorFunctions) {
      const WorstUlps<double> worst = worst_ulps<double>(function, x);
      CHECK_MESSAGE(worst.ulp <= function.bound(), function.name, "(", worst.at, ") is off by ", worst.ulp, " ulp");
    }
  });
}

TEST_CASE("special values are what the C library gives") {
  constexpr double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> special{0.0, -0.0, infinity, -infinity, nan, 1.0, -1.0, 710.0, -746.0, 88.8, -104.5, -103.0, 1e30, -1e30, 4.9e-324, -4.9e-324, 1e-40, 1e-310};
  special.resize(256, 0.5);  // enough for the kernels to take it
  for_each_capability([&] {
    for (const ScalarType type : {kFloat, kDouble}) {
      const Tensor x = empty({static_cast<std::int64_t>(special.size())}, kDouble).copy_(from_blob(special.data(), {static_cast<std::int64_t>(special.size())}, kDouble)).to(type);
      for (const VectorFunction& function : kVectorFunctions) {
        CAPTURE(function.name);
        const Tensor got = function.tuned(x).to(kDouble);
        for (std::size_t i = 0; i < 20; ++i) {
          const double number = x.to(kDouble).data<double>()[i];
          const double expected = type == kFloat ? static_cast<double>(static_cast<float>(function.exact_for_float(number))) : function.exact_for_float(number);
          const double result = got.data<double>()[i];
          CAPTURE(number);
          CHECK_EQ(std::isnan(result), std::isnan(expected));
          if (std::isnan(expected)) continue;
          CHECK_EQ(std::signbit(result), std::signbit(expected));
          if (std::isinf(expected) || expected == 0) CHECK_EQ(result, expected);
          else CHECK_CLOSE(result, expected, 1e-6, 0.0);
        }
      }
    }
  });
}

// %% [markdown]
// ## Elementwise kernels
//
// A kernel walks over its operands in vectors. What does not fill a vector at the end is one more step with a mask, with the same instructions, so that an element's bits do not depend on where in a tensor it stands, or on how threads cut it.
//
//     out   | v | v | v | v | v | v | v | part |
//     a     | v | v | v | v | v | v | v | part |        numbers beside each other
//     b     |  one number in all lanes         |        or a single number, broadcast
//
// **Stores that pass the cache by.** A processor that writes into a line it does not have reads the line first. An array that is larger than all caches is thus moved three times by `relu` (input, output read, output written) where two would do. Non-temporal stores write whole lines without reading them. But they also throw the line
// out: if the result would have stayed in the cache, whoever reads it next pays a trip to memory, two to five times the gain. So they are used only for a result that is larger than the last cache, and never in place, where the line was just read.
//
// **Asking ahead.** A processor watches addresses and fetches what comes next, but only to the end of a page of 4 KB, since the page behind it may lie anywhere. A walk of two operands and a result comes to three ends of pages every thousand floats, and waits there. So each step asks for what lies a kilobyte further on in every array, the result's too: a prefetch
// that meets no memory does nothing. For 16 MB in the last cache of an Intel server that takes 4 % from `relu` and `add` and 6 % from `exp`; without the result's lines `add` would be slower than before, and half a page ahead short arrays were, whose end is passed.
// What comes from memory, and goes there past the caches, is asked for two kilobytes ahead, and one array is walked in two halves at a time: `relu` of 512 MB takes 0.85 of its time there, `exp` and `tanh` 0.62, since without it the long way to memory and the arithmetic follow one another. Of two operands halves make four walks, which `add` was not faster with; it asks only, 0.8.

// %%
//| export kernels/elementwise_kernels.h
namespace kernels {

// One call of an elementwise kernel: out[i] = f(a[i], b[i], c[i]) for i < count, with a, b or c one number for all i where its step is 0. `out` may be a, b or c, but not overlap them otherwise.
template <class T, class Out = T>
struct Elementwise {
  Out* out;
  const T *a, *b, *c;
  std::int64_t a_step, b_step, c_step;  // 1 or 0
  std::int64_t count;
  T p, q;             // parameters: alpha of add, bounds of clamp, ...
  bool beyond_cache;  // whether to write past the caches
};

template <class T, class Out = T>
using ElementwiseKernel = void (*)(const Elementwise<T, Out>&);

template <class T>
struct ElementwiseTable {
  using Kernel = ElementwiseKernel<T>;
  Kernel exp, log, tanh, sigmoid, erf, relu, leaky_relu, gelu, gelu_tanh, silu;                                // of a; leaky_relu with slope p
  Kernel neg, abs, sqrt, rsqrt, reciprocal, square, cube, floor, ceil, round, trunc, clamp;                          // of a; clamp between p and q
  Kernel add, add_scaled, mul, div, maximum, minimum;                                                          // of a and b; add_scaled is a + p b
  Kernel addcmul, addcdiv, lerp;                                                                               // a + p b c; a + p b / c; from a to b by p
  ElementwiseKernel<T, bool> eq, ne, lt, le, gt, ge;                                                           // of a and b
  void (*where)(T* out, const bool* mask, const T* a, const T* b, std::int64_t a_step, std::int64_t b_step, std::int64_t count);  // a where the mask is true, else b
};

struct ElementwiseKernels {
  ElementwiseTable<float> in_float;
  ElementwiseTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ElementwiseKernels, elementwise_kernels)

}  // namespace kernels

// %%
//| export kernels/vector_math-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// How many numbers a vector has.
template <class D>
constexpr std::int64_t LanesOf(D d) {
  return static_cast<std::int64_t>(hn::MaxLanes(d));
}

// Asks for what lies a kilobyte behind `from`, whether or not anything does. For walks of several arrays.
template <class T>
HWY_INLINE void AskAhead(const T* from, std::uintptr_t bytes = 1024) {
  if (HWY_TARGET != HWY_SCALAR) hwy::Prefetch(reinterpret_cast<const T*>(reinterpret_cast<std::uintptr_t>(from) + bytes));
}

// Masked loads and stores of x86 do not touch what the mask leaves out; elsewhere the numbers go through a buffer.
constexpr bool kMaskedAccessIsSafe = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

// The first `count` numbers at `from`, of four or eight bytes, for which AVX2 has masks; then zeros. REQUIRES: 0 <= count < LanesOf(d).
template <class D, class T>
HWY_INLINE hn::Vec<D> LoadPart(D d, const T* from, std::int64_t count) {
  if constexpr (kMaskedAccessIsSafe) {
    return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count)), d, from);
  } else {
    T buffer[static_cast<std::size_t>(LanesOf(D()))] = {};
    for (std::int64_t i = 0; i < count; ++i) buffer[i] = from[i];
    return hn::LoadU(d, buffer);
  }
}

// Stores the first `count` numbers of the vector, of four or eight bytes. REQUIRES: 0 <= count < LanesOf(d).
template <class D, class V, class T>
HWY_INLINE void StorePart(V value, D d, T* to, std::int64_t count) {
  if constexpr (kMaskedAccessIsSafe) {
    hn::BlendedStore(value, hn::FirstN(d, static_cast<std::size_t>(count)), d, to);
  } else {
    T buffer[static_cast<std::size_t>(LanesOf(D()))];
    hn::StoreU(value, d, buffer);
    for (std::int64_t i = 0; i < count; ++i) to[i] = buffer[i];
  }
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/elementwise.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// An operand of which numbers are read one after another.
template <class T>
struct Numbers {
  const T* from;
  template <class D>
  HWY_INLINE hn::Vec<D> whole(D d, std::int64_t i) const { return hn::LoadU(d, from + i); }
  template <class D>
  HWY_INLINE hn::Vec<D> part(D d, std::int64_t i, std::int64_t count) const { return LoadPart(d, from + i, count); }
  HWY_INLINE void ask_ahead(std::int64_t i, std::uintptr_t bytes = 1024) const { AskAhead(from + i, bytes); }
};

// An operand that is one number.
template <class T>
struct Repeated {
  hn::Vec<hn::ScalableTag<T>> value;
  template <class D>
  HWY_INLINE hn::Vec<D> whole(D, std::int64_t) const { return value; }
  template <class D>
  HWY_INLINE hn::Vec<D> part(D, std::int64_t, std::int64_t) const { return value; }
  HWY_INLINE void ask_ahead(std::int64_t, std::uintptr_t = 0) const {}
};

// out[i] = f(d, operands[i]...)
template <class T, class F, class... Operands>
HWY_INLINE void walk(T* out, std::int64_t count, bool beyond_cache, F f, Operands... operands) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  std::int64_t i = 0;
  if (beyond_cache && count >= 2 * lanes) {
    // Up to a place where a vector is aligned, then whole vectors past the caches.
    const auto place = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(out) / sizeof(T));
    const std::int64_t before = (lanes - place % lanes) % lanes;
    if (before > 0) StorePart(f(d, operands.part(d, 0, before)...), d, out, before);
    const auto write = [&](std::int64_t at) HWY_ATTR {
      (operands.ask_ahead(at, 2048), ...);
      hn::Stream(f(d, operands.whole(d, at)...), d, out + at);
    };
    // One array is read in two halves at a time, more of them in one.
    constexpr bool one_array = (int{std::is_same_v<Operands, Numbers<T>>} + ...) == 1;
    const std::int64_t half = one_array ? (count - before) / (2 * lanes) * lanes : 0;
    for (i = before; i < before + half; i += lanes) write(i), write(i + half);
    for (i = before + 2 * half; i + lanes <= count; i += lanes) write(i);
    hwy::FlushStream();
  }
  // Two vectors at a time: neighbours, or in a long range one of each half, since a processor fetches more ahead of two streams than of one.
  constexpr std::int64_t kLong = 8192;
  const bool in_halves = i == 0 && count >= kLong;
  const std::int64_t half = count / 2 / lanes * lanes, apart = in_halves ? half : lanes, step = in_halves ? lanes : 2 * lanes, stop = in_halves ? half : count - 2 * lanes + 1;
  for (; i < stop; i += step) {
    // By itself it fetches nothing beyond the end of a page.
    for (const std::int64_t at : {i, i + apart}) {
      (operands.ask_ahead(at), ...);
      AskAhead(out + at);
    }
    const auto first = f(d, operands.whole(d, i)...);
    const auto second = f(d, operands.whole(d, i + apart)...);
    hn::StoreU(first, d, out + i);
    hn::StoreU(second, d, out + i + apart);
  }
  if (in_halves) i = 2 * half;
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(d, operands.whole(d, i)...), d, out + i);
  if (i < count) StorePart(f(d, operands.part(d, i, count - i)...), d, out + i, count - i);
}

template <class T>
Repeated<T> repeated(T value) {
  return {hn::Set(hn::ScalableTag<T>(), value)};
}

template <class T, auto F>
void of_one(const Elementwise<T>& x) {
  walk(x.out, x.count, x.beyond_cache, F, Numbers<T>{x.a});
}

// F(d, a, p, q)
template <class T, auto F>
void of_one_with(const Elementwise<T>& x) {
  walk(x.out, x.count, x.beyond_cache, F, Numbers<T>{x.a}, repeated(x.p), repeated(x.q));
}

// F(d, a, b, p)
template <class T, auto F>
void of_two(const Elementwise<T>& x) {
  const Repeated<T> p = repeated(x.p);
  if (x.a_step != 0 && x.b_step != 0) return walk(x.out, x.count, x.beyond_cache, F, Numbers<T>{x.a}, Numbers<T>{x.b}, p);
  if (x.a_step != 0) return walk(x.out, x.count, x.beyond_cache, F, Numbers<T>{x.a}, repeated(*x.b), p);
  if (x.b_step != 0) return walk(x.out, x.count, x.beyond_cache, F, repeated(*x.a), Numbers<T>{x.b}, p);
  walk(x.out, x.count, x.beyond_cache, F, repeated(*x.a), repeated(*x.b), p);
}

// F(d, a, b, c, p), all of them numbers one after another
template <class T, auto F>
void of_three(const Elementwise<T>& x) {
  walk(x.out, x.count, x.beyond_cache, F, Numbers<T>{x.a}, Numbers<T>{x.b}, Numbers<T>{x.c}, repeated(x.p));
}

// F(a, b) as a bool. The compiler makes vectors of these loops.
template <class T, auto F>
void compared(const Elementwise<T, bool>& x) {
  const T *const a = x.a, *const b = x.b;
  bool* const out = x.out;
  if (x.a_step != 0 && x.b_step != 0) {
    for (std::int64_t i = 0; i < x.count; ++i) out[i] = F(a[i], b[i]);
  } else if (x.a_step != 0) {
    for (std::int64_t i = 0; i < x.count; ++i) out[i] = F(a[i], *b);
  } else {
    for (std::int64_t i = 0; i < x.count; ++i) out[i] = F(*a, b[i * x.b_step]);
  }
}

// Bytes as unsigned numbers of d's width.
template <class D>
HWY_INLINE auto LoadBytes(D, const std::uint8_t* from) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<std::uint32_t, D> middle;
  const auto words = hn::PromoteTo(middle, hn::LoadU(hn::Rebind<std::uint8_t, D>(), from));
  if constexpr (sizeof(hn::TFromD<D>) == 4) return words;
  else return hn::PromoteTo(du, words);
}

// Both numbers are read whatever the mask says: a jump would be guessed wrong for every second number of a random mask.
template <class T>
void choose(T* out, const bool* mask, const T* a, const T* b, std::int64_t a_step, std::int64_t b_step, std::int64_t count) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  const auto* const flags = reinterpret_cast<const std::uint8_t*>(mask);
  const auto one_a = hn::Set(d, *a), one_b = hn::Set(d, *b);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto x = a_step == 0 ? one_a : hn::LoadU(d, a + i), y = b_step == 0 ? one_b : hn::LoadU(d, b + i);
    const auto flag = LoadBytes(d, flags + i);
    hn::StoreU(hn::IfThenElse(hn::RebindMask(d, hn::Eq(flag, hn::Zero(hn::RebindToUnsigned<decltype(d)>()))), y, x), d, out + i);
  }
  for (; i < count; ++i) out[i] = flags[i] != 0 ? a[i * a_step] : b[i * b_step];
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// The functions themselves are short now. The approximation of `gelu` by tanh is written as `x sigmoid(2 u)`, which is the same: `(1 + tanh u) / 2 = 1 / (1 + exp(-2 u))`, one exponential and one division, and no digits are lost where tanh is near -1. It is divided as it stands, `x / (1 + exp(-2 u))`: what `Sigmoid` does for its last digit would be lost on `u`, whose rounding counts `2 u` times, and takes two fifths of the time. So it is within 2.5 ulp above -1, but 12 ulp off at -2.7, 30 at -4.9 and 73 at -6.7 (measured); two numbers for `u` instead of one would mend that, for five times as many operations before the exponential. PyTorch's form, `1 + tanh(u)`, has no digits left there. Where the result would be denormal it is -0. `maximum` and `minimum` take pains with NaN, which wins, and with zeros, of which the first stays: the instructions of x86 do neither.

// %%
//| export kernels/elementwise.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
constexpr auto gelu_of = [](auto d, auto x) { return Gelu(d, x); };

constexpr auto gelu_tanh_of = [](auto d, auto x) {
  using T = hn::TFromD<decltype(d)>;
  constexpr double twice_scale = 2 * 0.79788456080286535588;  // 2 sqrt(2 / pi)
  const auto factor = hn::MulAdd(hn::Mul(x, x), hn::Set(d, static_cast<T>(-twice_scale * 0.044715)), hn::Set(d, static_cast<T>(-twice_scale)));
  return hn::Div(x, hn::Add(hn::Set(d, T{1}), Exp(d, hn::Mul(x, factor))));
};

// The first of two numbers where it is at least (at most) the other one, or NaN.
constexpr auto maximum_of = [](auto, auto a, auto b, auto) { return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(b)), b, a); };
constexpr auto minimum_of = [](auto, auto a, auto b, auto) { return hn::IfThenElse(hn::Or(hn::Lt(b, a), hn::IsNaN(b)), b, a); };

// Between p and q: NaN stays.
constexpr auto clamp_of = [](auto, auto x, auto p, auto q) {
  const auto raised = hn::IfThenElse(hn::Lt(x, p), p, x);
  return hn::IfThenElse(hn::Lt(q, raised), q, raised);
};

// From the nearer end, so that 0 and 1 are exact.
constexpr auto lerp_of = [](auto d, auto a, auto b, auto, auto p) {
  using T = hn::TFromD<decltype(d)>;
  const auto difference = hn::Sub(b, a);
  return hn::IfThenElse(hn::Lt(hn::Abs(p), hn::Set(d, T{0.5})), hn::MulAdd(p, difference, a), hn::NegMulAdd(difference, hn::Sub(hn::Set(d, T{1}), p), b));
};

template <class T>
constexpr ElementwiseTable<T> elementwise_table_of() {
  return {
      .exp = of_one<T, [](auto d, auto x) { return Exp(d, x); }>,
      .log = of_one<T, [](auto d, auto x) { return Log(d, x); }>,
      .tanh = of_one<T, [](auto d, auto x) { return Tanh(d, x); }>,
      .sigmoid = of_one<T, [](auto d, auto x) { return Sigmoid(d, x); }>,
      .erf = of_one<T, [](auto d, auto x) { return Erf(d, x); }>,
      .relu = of_one<T, [](auto d, auto x) { return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x); }>,
      .leaky_relu = of_one_with<T, [](auto d, auto x, auto p, auto) { return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Mul(x, p)); }>,
      .gelu = of_one<T, gelu_of>,
      .gelu_tanh = of_one<T, gelu_tanh_of>,
      .silu = of_one<T, [](auto d, auto x) { return hn::Mul(x, Sigmoid(d, x)); }>,
      .neg = of_one<T, [](auto, auto x) { return hn::Neg(x); }>,
      .abs = of_one<T, [](auto, auto x) { return hn::Abs(x); }>,
      .sqrt = of_one<T, [](auto, auto x) { return hn::Sqrt(x); }>,
      .rsqrt = of_one<T, [](auto d, auto x) { return hn::Div(hn::Set(d, T{1}), hn::Sqrt(x)); }>,
      .reciprocal = of_one<T, [](auto d, auto x) { return hn::Div(hn::Set(d, T{1}), x); }>,
      .square = of_one<T, [](auto, auto x) { return hn::Mul(x, x); }>,
      .cube = of_one<T, [](auto, auto x) { return hn::Mul(hn::Mul(x, x), x); }>,
      .floor = of_one<T, [](auto, auto x) { return hn::Floor(x); }>,
      .ceil = of_one<T, [](auto, auto x) { return hn::Ceil(x); }>,
      .round = of_one<T, [](auto, auto x) { return hn::Round(x); }>,
      .trunc = of_one<T, [](auto, auto x) { return hn::Trunc(x); }>,
      .clamp = of_one_with<T, clamp_of>,
      .add = of_two<T, [](auto, auto a, auto b, auto) { return hn::Add(a, b); }>,
      .add_scaled = of_two<T, [](auto, auto a, auto b, auto p) { return hn::MulAdd(p, b, a); }>,
      .mul = of_two<T, [](auto, auto a, auto b, auto) { return hn::Mul(a, b); }>,
      .div = of_two<T, [](auto, auto a, auto b, auto) { return hn::Div(a, b); }>,
      .maximum = of_two<T, maximum_of>,
      .minimum = of_two<T, minimum_of>,
      .addcmul = of_three<T, [](auto, auto a, auto b, auto c, auto p) { return hn::MulAdd(hn::Mul(p, b), c, a); }>,
      .addcdiv = of_three<T, [](auto, auto a, auto b, auto c, auto p) { return hn::Add(a, hn::Div(hn::Mul(p, b), c)); }>,
      .lerp = of_three<T, lerp_of>,
      .eq = compared<T, [](T a, T b) { return a == b; }>,
      .ne = compared<T, [](T a, T b) { return a != b; }>,
      .lt = compared<T, [](T a, T b) { return a < b; }>,
      .le = compared<T, [](T a, T b) { return a <= b; }>,
      .gt = compared<T, [](T a, T b) { return (a > b); }>,
      .ge = compared<T, [](T a, T b) { return a >= b; }>,
      .where = choose<T>,
  };
}
}  // namespace

constinit const ElementwiseKernels elementwise_kernels = {elementwise_table_of<float>(), elementwise_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ### Memory for results
//
// A result of hundreds of megabytes costs more than its stores: memory that the process has not touched yet exists only on paper, and the first write to each page of 4 KB is a call of the system, which clears the page. Pages of 2 MB need a five hundredth of the calls, so the allocator (chapter 70) asks for them where results are large.

// %%
//| export kernels/elementwise.h
namespace kernels {

// Whether the reference is called before anything else is asked.
inline bool are_few(const Tensor& self, const Tensor& other) { return self.numel() < kFewElements && other.numel() < kFewElements; }

// self to the power of 1, 2, 3, 1/2, -1/2 or -1, which is two operations at most, as in the reference and in PyTorch; undefined for other exponents and what has no kernel. Chapter 79 has powers in general.
Tensor simple_power(const Tensor& self, double exponent);

// Whether a result of so many elements of so many bytes is larger than the caches.
inline bool passes_caches(std::int64_t numel, std::size_t element) { return numel * static_cast<std::int64_t>(element) > last_cache_bytes(); }

}  // namespace kernels

// %% [markdown]
// ## Beside the reference
//
// What the operators do with these kernels is the same for all of them: find out whether the operands can be read as rows of numbers (chapter 50), allocate the result, divide the rows or the one long row among threads at places that depend on sizes alone, and call the kernel for each piece. What cannot be read so goes to the reference, or for integers to chapter 80: Half, strides without a
// dense dimension, results that need conversion. So do tensors of few elements, where finding out costs more than it gains.
//
//     x + y, both (4096, 1024)                  1 row of 4 M numbers      in pieces of 32 K
//     x + bias, (4096, 1024) and (1024)         4096 rows of 1024         bias begins anew with each row
//     x + column, (4096, 1024) and (4096, 1)    4096 rows of 1024         the column is one number in each row

// %%
//| export kernels/elementwise.cpp
namespace {
template <class T>
const kernels::ElementwiseTable<T>& elementwise_table() {
  using namespace kernels;
  static constexpr const ElementwiseKernels* tables[] = TINYTORCH_PER_CAPABILITY(elementwise_kernels);
  const ElementwiseKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool is_single_or_double(ScalarType type) { return type == kFloat || type == kDouble; }

// Calls f.operator()<T>() for the two types that have kernels. REQUIRES: is_single_or_double(type).
template <class F>
decltype(auto) with_kernel_type(ScalarType type, F f) {
  return type == kFloat ? f.template operator()<float>() : f.template operator()<double>();
}

// One long row, in pieces on the threads of the pool.
template <class T, class Out>
void run_row(kernels::ElementwiseKernel<T, Out> kernel, const kernels::Elementwise<T, Out>& row) {
  parallel_for(0, row.count, kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) {
    kernels::Elementwise<T, Out> piece = row;
    piece.out += first;
    piece.a += first * row.a_step;
    piece.b += first * row.b_step;
    piece.c += first * row.c_step;
    piece.count = stop - first;
    kernel(piece);
  });
}

// f(self) as a new tensor in self's order of memory. REQUIRES: float or double.
template <class Pick>
Tensor mapped(const Tensor& self, Pick pick, const Scalar& p = 0, const Scalar& q = 0) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  // Both without gaps, in the same order: one row, whatever the dimensions are called.
  const bool dense = self.is_contiguous() || (self.strides() == result.strides() && is_dense(self));
  if (!dense) kernels::copy_elements(result, self);
  with_kernel_type(self.scalar_type(), [&]<class T>() {
    T* const out = result.data<T>();
    const T* const in = dense ? self.data<T>() : out;
    run_row<T, T>(pick(elementwise_table<T>()), {out, in, nullptr, nullptr, 1, 0, 0, self.numel(), p.to<T>(), q.to<T>(), dense && kernels::passes_caches(self.numel(), sizeof(T))});
  });
  return result;
}

bool takes_elementwise(const Tensor& self) { return self.numel() >= kernels::kFewElements && is_single_or_double(self.scalar_type()); }

template <auto& Op, auto Pick>
Tensor map_tuned(const Tensor& self) {
  return takes_elementwise(self) ? mapped(self, Pick) : Op.function(Layer::CPU)(self);
}

const Tensor& relu_inplace_tuned(const Tensor& self) {
  if (!takes_elementwise(self) || !is_dense(self)) return op::relu_.function(Layer::CPU)(self);
  with_kernel_type(self.scalar_type(), [&]<class T>() {
    T* const data = self.data<T>();
    run_row<T, T>(elementwise_table<T>().relu, {data, data, nullptr, nullptr, 1, 0, 0, self.numel(), T{}, T{}, false});
  });
  return self;
}

Tensor gelu_tuned(const Tensor& self, bool tanh_approximation) {
  if (!takes_elementwise(self)) return op::gelu.function(Layer::CPU)(self, tanh_approximation);
  return mapped(self, [&](const auto& table) { return tanh_approximation ? table.gelu_tanh : table.gelu; });
}

Tensor leaky_relu_tuned(const Tensor& self, const Scalar& negative_slope) {
  if (!takes_elementwise(self)) return op::leaky_relu.function(Layer::CPU)(self, negative_slope);
  return mapped(self, [](const auto& table) { return table.leaky_relu; }, negative_slope);
}

Tensor clamp_tuned(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double low = min ? min->toDouble() : -infinity, high = max ? max->toDouble() : infinity;
  if (!takes_elementwise(self) || std::isnan(low) || std::isnan(high)) return op::clamp.function(Layer::CPU)(self, min, max);
  return mapped(self, [](const auto& table) { return table.clamp; }, low, high);
}
}  // namespace

Tensor kernels::simple_power(const Tensor& self, double e) {
  const bool is_simple = e == 1 || e == 2 || e == 3 || e == 0.5 || e == -0.5 || e == -1;
  if (!takes_elementwise(self) || !is_simple) return {};
  if (e == 1) return clone(self);  // the slope of a square asks for it
  return mapped(self, [e](const auto& table) { return e == 2 ? table.square : e == 3 ? table.cube : e == 0.5 ? table.sqrt : e == -0.5 ? table.rsqrt : table.reciprocal; });
}

// %%
//| export kernels/elementwise.cpp
namespace {
// The dimensions, slowest in memory first: those of a result in channels last are images, rows, columns, channels, and its rows are its pixels.
std::vector<std::size_t> order_in_memory(IntArrayRef strides) {
  std::vector<std::size_t> order(strides.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return strides[a] > strides[b]; });
  return order;
}

DimVector reordered(const DimVector& values, const std::vector<std::size_t>& order) {
  DimVector result;
  for (const std::size_t d : order) result.push_back(values[d]);
  return result;
}

// Two operands and where the result goes, as rows that kernels can walk.
class Pair {
 public:
  Pair(const Tensor& self, const Tensor& other, ScalarType type) : a_(in_type(self, type)), b_(in_type(other, type)) {}

  // Writes f(a, b) to `out`, whose dtype is that of Out. Returns false, and does nothing, where an operand's numbers do not lie in rows.
  template <class T, class Out>
  bool run(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const;

 private:
  template <class T, class Out>
  bool walk(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const;

  // `x` in the order of memory of `out`, if it is of its sizes: a copy in blocks where it lies otherwise.
  static Tensor in_order_of(const Tensor& out, const Tensor& x) {
    if (x.sizes() != out.sizes() || x.strides() == out.strides()) return x;
    const Tensor copy = empty_beside(out, out.sizes(), x.scalar_type());
    kernels::copy_elements(copy, x);
    return copy;
  }

  // Single numbers are converted, tensors are of the type already.
  static Tensor in_type(const Tensor& x, ScalarType type) { return x.scalar_type() == type ? x : op::to_dtype.function(Layer::CPU)(x, type); }

  Pair(const Tensor& a, const Tensor& b) : a_(a), b_(b) {}

  Tensor a_, b_;
};

template <class T, class Out>
bool Pair::run(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const {
  if (walk<T, Out>(kernel, out, p, in_place)) return true;
  // Rows beside columns: the copies, and rows of what they give, are faster than steps from number to number.
  const Pair ordered(in_order_of(out, a_), in_order_of(out, b_));
  return (!ordered.a_.is_same(a_) || !ordered.b_.is_same(b_)) && ordered.walk<T, Out>(kernel, out, p, in_place);
}

template <class T, class Out>
bool Pair::walk(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const {
  DimVector sizes(out.sizes()), out_strides(out.strides()), a_strides = broadcast_strides(a_, sizes), b_strides = broadcast_strides(b_, sizes);
  if (!out.is_contiguous()) {
    const std::vector<std::size_t> order = order_in_memory(out.strides());
    for (DimVector* dims : {&sizes, &out_strides, &a_strides, &b_strides}) *dims = reordered(*dims, order);
  }
  const kernels::Rows<3> rows(sizes, {IntArrayRef(out_strides), IntArrayRef(a_strides), IntArrayRef(b_strides)});
  const auto [out_step, a_step, b_step] = rows.steps();
  if (out_step != 1 || a_step < 0 || a_step > 1 || b_step < 0 || b_step > 1 || (rows.count() > 1 && rows.length() < 8)) return false;
  const bool long_rows = rows.length() * static_cast<std::int64_t>(sizeof(Out)) >= 4096;
  const kernels::Elementwise<T, Out> row{out.data<Out>(), a_.data<T>(), b_.data<T>(), nullptr, a_step, b_step, 0, rows.length(), p, T{}, !in_place && long_rows && kernels::passes_caches(rows.numel(), sizeof(Out))};
  if (rows.count() == 1) {
    run_row<T, Out>(kernel, row);
    return true;
  }
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / rows.length());
  parallel_for(0, rows.count(), grain, [&](std::int64_t first, std::int64_t stop) {
    rows.run(first, stop, [&](const auto& places) {
      kernels::Elementwise<T, Out> one = row;
      one.out += places[0];
      one.a += places[1];
      one.b += places[2];
      kernel(one);
    });
  });
  return true;
}

// Whether kernels take the two: float or double, or a single number beside such a tensor.
bool takes_pair(const Tensor& self, const Tensor& other) {
  if (self.scalar_type() == other.scalar_type()) return is_single_or_double(self.scalar_type());
  const Tensor& larger = self.numel() < other.numel() ? other : self;
  const Tensor& smaller = self.numel() < other.numel() ? self : other;
  return smaller.numel() == 1 && is_single_or_double(larger.scalar_type()) && result_type(self, other) == larger.scalar_type();
}

ScalarType type_of_pair(const Tensor& self, const Tensor& other) { return (self.numel() < other.numel() ? other : self).scalar_type(); }

// f(self, other) as a new tensor, or an undefined one where the kernels do not do it.
template <bool Compares, class Pick>
Tensor zipped(const Tensor& self, const Tensor& other, const Scalar& p, Pick pick) {
  if (!takes_pair(self, other)) return {};
  const ScalarType type = type_of_pair(self, other);
  const Tensor result = empty_beside(self, other, infer_size(self.sizes(), other.sizes()), Compares ? kBool : type);
  if (result.numel() == 0) return {};
  const bool done = with_kernel_type(type, [&]<class T>() {
    using Out = std::conditional_t<Compares, bool, T>;
    return Pair(self, other, type).template run<T, Out>(pick(elementwise_table<T>()), result, p.to<T>(), false);
  });
  return done ? result : Tensor();
}

// self = f(self, other). Returns false, and does nothing, where the kernels do not do it.
template <class Pick>
bool zipped_in_place(const Tensor& self, const Tensor& other, const Scalar& p, Pick pick) {
  if (!takes_pair(self, other) || type_of_pair(self, other) != self.scalar_type()) return false;
  if (!is_dense(self) || (!same_elements(self, other) && ranges_overlap(self, other))) return false;
  if (self.sizes() != other.sizes() && IntArrayRef(infer_size(self.sizes(), other.sizes())) != self.sizes()) return false;
  return with_kernel_type(self.scalar_type(), [&]<class T>() {
    return Pair(self, other, self.scalar_type()).template run<T, T>(pick(elementwise_table<T>()), self, p.to<T>(), true);
  });
}

template <auto& Op, auto Pick, bool Compares = false>
Tensor zip_tuned(const Tensor& self, const Tensor& other) {
  if (kernels::are_few(self, other)) return Op.function(Layer::CPU)(self, other);
  const Tensor result = zipped<Compares>(self, other, 0, Pick);
  return result.defined() ? result : Op.function(Layer::CPU)(self, other);
}

template <auto& Op, auto Pick>
const Tensor& zip_inplace_tuned(const Tensor& self, const Tensor& other) {
  return !kernels::are_few(self, other) && zipped_in_place(self, other, 0, Pick) ? self : Op.function(Layer::CPU)(self, other);
}

// add and sub: a + p b, with p = alpha or -alpha.
Scalar scaled_by(const Scalar& alpha, bool negative) { return negative ? Scalar(-alpha.toDouble()) : Scalar(alpha.toDouble()); }

template <auto& Op, bool Negative>
Tensor add_tuned(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (kernels::are_few(self, other)) return Op.function(Layer::CPU)(self, other, alpha);
  const bool plain = !Negative && alpha.equal(1);
  const Tensor result = zipped<false>(self, other, scaled_by(alpha, Negative), [plain](const auto& table) { return plain ? table.add : table.add_scaled; });
  return result.defined() ? result : Op.function(Layer::CPU)(self, other, alpha);
}

template <auto& Op, bool Negative>
const Tensor& add_inplace_tuned(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (kernels::are_few(self, other)) return Op.function(Layer::CPU)(self, other, alpha);
  const bool plain = !Negative && alpha.equal(1);
  const bool done = zipped_in_place(self, other, scaled_by(alpha, Negative), [plain](const auto& table) { return plain ? table.add : table.add_scaled; });
  return done ? self : Op.function(Layer::CPU)(self, other, alpha);
}
}  // namespace

// %%
//| export kernels/elementwise.cpp
namespace {
Tensor where_tuned(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const bool takes = condition.numel() >= kernels::kFewElements && condition.scalar_type() == kBool && (takes_pair(self, other) || self.scalar_type() == other.scalar_type());
  const ScalarType type = type_of_pair(self, other);
  const auto hand_down = [&] { return op::where.function(Layer::CPU)(condition, self, other); };
  const bool by_rows = condition.is_contiguous() && self.is_contiguous() && other.is_contiguous();
  if (!takes || !by_rows || !is_single_or_double(type)) return hand_down();
  const DimVector sizes = infer_size(condition.sizes(), infer_size(self.sizes(), other.sizes()));
  const DimVector own = contiguous_strides(sizes), mask = broadcast_strides(condition, sizes), first = broadcast_strides(self, sizes), second = broadcast_strides(other, sizes);
  const kernels::Rows<4> rows(sizes, {IntArrayRef(own), IntArrayRef(mask), IntArrayRef(first), IntArrayRef(second)});
  const auto steps = rows.steps();
  const std::int64_t a_step = steps[2], b_step = steps[3];
  if (rows.numel() == 0 || steps[0] != 1 || steps[1] != 1 || a_step < 0 || a_step > 1 || b_step < 0 || b_step > 1) return hand_down();
  const Tensor a = self.scalar_type() == type ? self : op::to_dtype.function(Layer::CPU)(self, type);
  const Tensor b = other.scalar_type() == type ? other : op::to_dtype.function(Layer::CPU)(other, type);
  const Tensor result = empty(sizes, type);
  with_kernel_type(type, [&]<class T>() {
    const auto choose = elementwise_table<T>().where;
    T* const to = result.data<T>();
    const bool* const chooses = condition.data<bool>();
    const T *const x = a.data<T>(), *const y = b.data<T>();
    if (rows.count() == 1) {
      parallel_for(0, rows.length(), kernels::kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
        choose(to + begin, chooses + begin, x + begin * a_step, y + begin * b_step, a_step, b_step, end - begin);
      });
    } else {
      parallel_for(0, rows.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / rows.length()), [&](std::int64_t begin, std::int64_t end) {
        rows.run(begin, end, [&](const auto& places) { choose(to + places[0], chooses + places[1], x + places[2], y + places[3], a_step, b_step, rows.length()); });
      });
    }
  });
  return result;
}

// Whether self, a and b are without gaps, in the same order of memory and of one dtype and shape.
bool lie_alike(const Tensor& self, const Tensor& a, const Tensor& b) {
  if (!takes_elementwise(self) || !is_dense(self)) return false;
  for (const Tensor& x : {a, b})
    if (x.scalar_type() != self.scalar_type() || x.sizes() != self.sizes() || (x.strides() != self.strides() && !(self.is_contiguous() && x.is_contiguous()))) return false;
  return true;
}

// out = f(self, a, b) of tensors that lie alike; `out` may be self.
template <class Pick>
void update_into(const Tensor& out, const Tensor& self, const Tensor& a, const Tensor& b, const Scalar& p, Pick pick) {
  with_kernel_type(self.scalar_type(), [&]<class T>() {
    run_row<T, T>(pick(elementwise_table<T>()), {out.data<T>(), self.data<T>(), a.data<T>(), b.data<T>(), 1, 1, 1, self.numel(), p.to<T>(), T{}, false});
  });
}

// self = f(self, a, b) of tensors that lie alike, none a part of another. Returns false, and does nothing, otherwise.
template <class Pick>
bool updated(const Tensor& self, const Tensor& a, const Tensor& b, const Scalar& p, Pick pick) {
  const auto is_apart = [&](const Tensor& x) { return same_elements(self, x) || !ranges_overlap(self, x); };
  if (!lie_alike(self, a, b) || !is_apart(a) || !is_apart(b)) return false;
  update_into(self, self, a, b, p, pick);
  return true;
}

// f(self, a, b) as a new tensor, which costs one reading less than a copy that is updated. An undefined tensor where they do not lie alike.
template <class Pick>
Tensor updated_copy(const Tensor& self, const Tensor& a, const Tensor& b, const Scalar& p, Pick pick) {
  if (!lie_alike(self, a, b)) return {};
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  update_into(result, self, a, b, p, pick);
  return result;
}

const Tensor& addcmul_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const bool done = updated(self, tensor1, tensor2, value, [](const auto& table) { return table.addcmul; });
  return done ? self : op::addcmul_.function(Layer::CPU)(self, tensor1, tensor2, value);
}
Tensor addcmul_copy_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const Tensor result = updated_copy(self, tensor1, tensor2, value, [](const auto& table) { return table.addcmul; });
  return result.defined() ? result : op::addcmul.function(Layer::CPU)(self, tensor1, tensor2, value);
}
Tensor addcdiv_copy_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const Tensor result = updated_copy(self, tensor1, tensor2, value, [](const auto& table) { return table.addcdiv; });
  return result.defined() ? result : op::addcdiv.function(Layer::CPU)(self, tensor1, tensor2, value);
}
Tensor lerp_copy_tuned(const Tensor& self, const Tensor& end, const Scalar& weight) {
  const Tensor result = updated_copy(self, end, end, weight, [](const auto& table) { return table.lerp; });
  return result.defined() ? result : op::lerp.function(Layer::CPU)(self, end, weight);
}
const Tensor& addcdiv_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const bool done = updated(self, tensor1, tensor2, value, [](const auto& table) { return table.addcdiv; });
  return done ? self : op::addcdiv_.function(Layer::CPU)(self, tensor1, tensor2, value);
}
const Tensor& lerp_tuned(const Tensor& self, const Tensor& end, const Scalar& weight) {
  const bool done = updated(self, end, end, weight, [](const auto& table) { return table.lerp; });
  return done ? self : op::lerp_.function(Layer::CPU)(self, end, weight);
}
}  // namespace

// %%
//| export kernels/elementwise.cpp
//| registers
// Puts the elementwise kernels above the reference.
void register_elementwise_kernels() {
  constexpr Layer tuned = Layer::TunedCPU;
  op::exp.set(tuned, map_tuned<op::exp, [](const auto& table) { return table.exp; }>);
  op::log.set(tuned, map_tuned<op::log, [](const auto& table) { return table.log; }>);
  op::tanh.set(tuned, map_tuned<op::tanh, [](const auto& table) { return table.tanh; }>);
  op::sigmoid.set(tuned, map_tuned<op::sigmoid, [](const auto& table) { return table.sigmoid; }>);
  op::erf.set(tuned, map_tuned<op::erf, [](const auto& table) { return table.erf; }>);
  op::silu.set(tuned, map_tuned<op::silu, [](const auto& table) { return table.silu; }>);
  op::relu.set(tuned, map_tuned<op::relu, [](const auto& table) { return table.relu; }>);
  op::relu_.set(tuned, relu_inplace_tuned);
  op::gelu.set(tuned, gelu_tuned);
  op::leaky_relu.set(tuned, leaky_relu_tuned);
  op::neg.set(tuned, map_tuned<op::neg, [](const auto& table) { return table.neg; }>);
  op::abs.set(tuned, map_tuned<op::abs, [](const auto& table) { return table.abs; }>);
  op::sqrt.set(tuned, map_tuned<op::sqrt, [](const auto& table) { return table.sqrt; }>);
  op::rsqrt.set(tuned, map_tuned<op::rsqrt, [](const auto& table) { return table.rsqrt; }>);
  op::reciprocal.set(tuned, map_tuned<op::reciprocal, [](const auto& table) { return table.reciprocal; }>);
  op::floor.set(tuned, map_tuned<op::floor, [](const auto& table) { return table.floor; }>);
  op::ceil.set(tuned, map_tuned<op::ceil, [](const auto& table) { return table.ceil; }>);
  op::round.set(tuned, map_tuned<op::round, [](const auto& table) { return table.round; }>);
  op::trunc.set(tuned, map_tuned<op::trunc, [](const auto& table) { return table.trunc; }>);
  op::clamp.set(tuned, clamp_tuned);
  op::add.set(tuned, add_tuned<op::add, false>);
  op::sub.set(tuned, add_tuned<op::sub, true>);
  op::add_.set(tuned, add_inplace_tuned<op::add_, false>);
  op::sub_.set(tuned, add_inplace_tuned<op::sub_, true>);
  op::mul.set(tuned, zip_tuned<op::mul, [](const auto& table) { return table.mul; }>);
  op::div.set(tuned, zip_tuned<op::div, [](const auto& table) { return table.div; }>);
  op::mul_.set(tuned, zip_inplace_tuned<op::mul_, [](const auto& table) { return table.mul; }>);
  op::div_.set(tuned, zip_inplace_tuned<op::div_, [](const auto& table) { return table.div; }>);
  op::maximum.set(tuned, zip_tuned<op::maximum, [](const auto& table) { return table.maximum; }>);
  op::minimum.set(tuned, zip_tuned<op::minimum, [](const auto& table) { return table.minimum; }>);
  op::eq.set(tuned, zip_tuned<op::eq, [](const auto& table) { return table.eq; }, true>);
  op::ne.set(tuned, zip_tuned<op::ne, [](const auto& table) { return table.ne; }, true>);
  op::lt.set(tuned, zip_tuned<op::lt, [](const auto& table) { return table.lt; }, true>);
  op::le.set(tuned, zip_tuned<op::le, [](const auto& table) { return table.le; }, true>);
  op::gt.set(tuned, zip_tuned<op::gt, [](const auto& table) { return table.gt; }, true>);
  op::ge.set(tuned, zip_tuned<op::ge, [](const auto& table) { return table.ge; }, true>);
  op::where.set(tuned, where_tuned);
  op::addcmul_.set(tuned, addcmul_tuned);
  op::addcdiv_.set(tuned, addcdiv_tuned);
  op::lerp_.set(tuned, lerp_tuned);
  op::addcmul.set(tuned, addcmul_copy_tuned);
  op::addcdiv.set(tuned, addcdiv_copy_tuned);
  op::lerp.set(tuned, lerp_copy_tuned);
}

// %%
//| lesson
struct Form {
  const char* name;
  Tensor (*call)(const Tensor&, const Tensor&);
};

const Form kForms[] = {
    {"exp", [](const Tensor& x, const Tensor&) { return exp(x); }},
    {"log", [](const Tensor& x, const Tensor&) { return log(x.abs() + 0.1); }},
    {"tanh", [](const Tensor& x, const Tensor&) { return tanh(x); }},
    {"sigmoid", [](const Tensor& x, const Tensor&) { return sigmoid(x); }},
    {"erf", [](const Tensor& x, const Tensor&) { return erf(x); }},
    {"relu", [](const Tensor& x, const Tensor&) { return relu(x); }},
    {"relu_", [](const Tensor& x, const Tensor&) { return relu_(x.clone()).clone(); }},
    {"leaky_relu", [](const Tensor& x, const Tensor&) { return leaky_relu(x, 0.1); }},
    {"gelu", [](const Tensor& x, const Tensor&) { return gelu(x); }},
    {"gelu tanh", [](const Tensor& x, const Tensor&) { return gelu(x, "tanh"); }},
    {"silu", [](const Tensor& x, const Tensor&) { return silu(x); }},
    {"neg", [](const Tensor& x, const Tensor&) { return -x; }},
    {"abs", [](const Tensor& x, const Tensor&) { return abs(x); }},
    {"sqrt", [](const Tensor& x, const Tensor&) { return sqrt(x); }},
    {"rsqrt", [](const Tensor& x, const Tensor&) { return rsqrt(x); }},
    {"reciprocal", [](const Tensor& x, const Tensor&) { return reciprocal(x); }},
    {"square", [](const Tensor& x, const Tensor&) { return square(x); }},
    {"floor", [](const Tensor& x, const Tensor&) { return floor(x); }},
    {"ceil", [](const Tensor& x, const Tensor&) { return ceil(x); }},
    {"round", [](const Tensor& x, const Tensor&) { return round(x); }},
    {"trunc", [](const Tensor& x, const Tensor&) { return trunc(x); }},
    {"clamp", [](const Tensor& x, const Tensor&) { return clamp(x, -1, 2); }},
    {"clamp from below", [](const Tensor& x, const Tensor&) { return clamp_min(x, 0.5); }},
    {"add", [](const Tensor& x, const Tensor& y) { return x + y; }},
    {"add scaled", [](const Tensor& x, const Tensor& y) { return add(x, y, 0.5); }},
    {"add a number", [](const Tensor& x, const Tensor&) { return x + 3; }},
    {"sub", [](const Tensor& x, const Tensor& y) { return x - y; }},
    {"sub from a number", [](const Tensor& x, const Tensor&) { return 1 - x; }},
    {"mul", [](const Tensor& x, const Tensor& y) { return x * y; }},
    {"div", [](const Tensor& x, const Tensor& y) { return x / y; }},
    {"maximum", [](const Tensor& x, const Tensor& y) { return maximum(x, y); }},
    {"minimum", [](const Tensor& x, const Tensor& y) { return minimum(x, y); }},
    {"eq", [](const Tensor& x, const Tensor&) { return x == x.round(); }},
    {"ne", [](const Tensor& x, const Tensor& y) { return x != y; }},
    {"lt", [](const Tensor& x, const Tensor& y) { return x < y; }},
    {"le", [](const Tensor& x, const Tensor&) { return x <= 0; }},
    {"gt", [](const Tensor& x, const Tensor&) { return gt(full({}, 0.5, x.scalar_type()), x); }},
    {"ge", [](const Tensor& x, const Tensor& y) { return x >= y; }},
    {"where", [](const Tensor& x, const Tensor& y) { return where(x > y, x, y); }},
    {"where with a number", [](const Tensor& x, const Tensor&) { return where(x > 0, x, zeros({}, x.options())); }},
    {"add_", [](const Tensor& x, const Tensor& y) { return x.clone().add_(y).clone(); }},
    {"sub_ scaled", [](const Tensor& x, const Tensor& y) { return x.clone().sub_(y, 0.25).clone(); }},
    {"mul_ by itself", [](const Tensor& x, const Tensor&) {
       const Tensor own = x.clone();
       return own.mul_(own).clone();
     }},
    {"div_", [](const Tensor& x, const Tensor& y) { return x.clone().div_(y).clone(); }},
    {"addcmul", [](const Tensor& x, const Tensor& y) { return addcmul(x, x, y, 0.5); }},
    {"addcdiv", [](const Tensor& x, const Tensor& y) { return addcdiv(x, x, y, 0.5); }},
    {"lerp", [](const Tensor& x, const Tensor& y) { return lerp(x, y, 0.75); }},
    {"addcmul_", [](const Tensor& x, const Tensor& y) { return addcmul_(x.clone(), x, y, 0.5).clone(); }},
    {"addcdiv_", [](const Tensor& x, const Tensor& y) { return addcdiv_(x.clone(), x, y, 0.5).clone(); }},
    {"lerp_", [](const Tensor& x, const Tensor& y) { return lerp_(x.clone(), y, 0.75).clone(); }},
};

// The reference's result.
Tensor by_reference(const Form& form, const Tensor& x, const Tensor& y) {
  const kernels::ReferenceKernelsGuard guard;
  return form.call(x, y);
}

// Positive and negative numbers, halves, zeros and one NaN.
Tensor mixed_numbers(std::int64_t count, ScalarType type) {
  const Tensor x = (arange(count).remainder(101) - 50).to(type) * 0.11;
  if (count > 4) x.select(0, 3).fill_(std::numeric_limits<double>::quiet_NaN());
  return x;
}

void check_form(const Form& form, const Tensor& x, const Tensor& y) {
  CAPTURE(form.name);
  CAPTURE(x.sizes());
  CAPTURE(y.sizes());
  const Tensor got = form.call(x, y), expected = by_reference(form, x, y);
  if (got.scalar_type() == kBool) CHECK_EQ(got, expected);
  else CHECK_CLOSE(got, expected, got.scalar_type() == kFloat ? 1e-6 : 1e-14, got.scalar_type() == kFloat ? 1e-6 : 1e-14);
}

// %%
TEST_CASE("long ranges: two halves and what is left over, each number once, in place too") {
  const ThreadsGuard guard(1);
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const std::int64_t count : {8191, 8192, 8209, 20003, 40001}) {
      CAPTURE(count);
      const Tensor x = (arange(count, kDouble) - 5000).to(type), y = arange(count, kDouble).remainder(97).to(type);
      const auto results = [&] {
        const Tensor own = x.clone();
        own.mul_(3).add_(y);
        return std::vector<Tensor>{relu(x), x + y, y - 2, own};
      };
      const std::vector<Tensor> expected = [&] {
        const kernels::ReferenceKernelsGuard reference;
        return results();
      }();
      for_each_capability([&] {
        const std::vector<Tensor> tuned = results();
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_EQ(tuned[i], expected[i]);
      });
    }
  }
}

TEST_CASE("every form, around the width of vectors, at any place in memory") {
  for_each_capability([] {
    for (const ScalarType type : {kFloat, kDouble}) {
      const Tensor many = mixed_numbers(400, type), others = mixed_numbers(400, type).flip({0}) + 0.07;
      for (const std::int64_t size : {127, 128, 129, 130, 135, 136, 143, 144, 160, 191}) {
        for (const std::int64_t offset : {0, 1, 7}) {
          for (const Form& form : kForms) check_form(form, many.narrow(0, offset, size), others.narrow(0, offset + 2, size));
        }
      }
    }
  });
}

TEST_CASE("operands that broadcast, and such as lie otherwise") {
  const Tensor x = mixed_numbers(24 * 36, kFloat).view({24, 36});
  const Tensor row = mixed_numbers(36, kFloat), column = mixed_numbers(24, kFloat).view({24, 1}), number = full({1, 1}, 0.3);
  const Tensor turned = mixed_numbers(36 * 24, kFloat).view({36, 24}).t();
  const Tensor part = mixed_numbers(24 * 80, kFloat).view({24, 80}).narrow(1, 5, 36);
  const Tensor blocks = mixed_numbers(2 * 3 * 4 * 36, kFloat).view({2, 3, 4, 36});
  const Tensor pixels = blocks.permute({0, 3, 1, 2});  // channels last
  for_each_capability([&] {
    for (const Form& form : kForms) {
      for (const Tensor& y : {row, column, number, turned, part}) check_form(form, x, y);
      for (const Tensor& y : {x, part, row}) check_form(form, turned, y);
      check_form(form, blocks, blocks.select(2, 0).unsqueeze(2));
      check_form(form, blocks, blocks.select(1, 1).unsqueeze(1));
      for (const Tensor& y : {row.view({36, 1, 1}), pixels, pixels.contiguous(), pixels.select(3, 2).unsqueeze(3), pixels.select(1, 1).unsqueeze(1)}) check_form(form, pixels, y);
      check_form(form, pixels.select(0, 1), row.view({36, 1, 1}));
    }
    check_form({"outer sum", [](const Tensor& a, const Tensor& b) { return a + b; }}, mixed_numbers(200, kFloat).view({200, 1}), row);
    check_form({"number and tensor", [](const Tensor& a, const Tensor& b) { return b / a; }}, x, number);
    check_form({"other dtype", [](const Tensor& a, const Tensor& b) { return a * b; }}, x, arange(36));
    check_form({"double number", [](const Tensor& a, const Tensor&) { return a * full({}, 0.1, kDouble); }}, x, row);
  });
}

TEST_CASE("zeros keep their sign, NaN wins, views that overlap are refused, and with gaps written as if copied") {
  const Tensor zero = zeros({200}), minus = -zero;
  CHECK(std::signbit(maximum(minus, zero).data<float>()[150]));
  CHECK(!std::signbit(minimum(zero, minus).data<float>()[150]));
  CHECK(std::signbit(relu(minus).data<float>()[150]));
  const Tensor nan = full({200}, std::numeric_limits<double>::quiet_NaN());
  for (const Tensor& y : {maximum(nan, zero), maximum(zero, nan), minimum(nan, zero), minimum(zero, nan)}) CHECK_EQ(y, nan);
  const Tensor base = arange(300).to(kFloat);
  const char* const overlap = "some elements of the input tensor and the written-to tensor refer to a single memory location";
  CHECK_ERROR(base.narrow(0, 1, 200).add_(base.narrow(0, 0, 200)), overlap);
  CHECK_ERROR(base.narrow(0, 2, 200).copy_(base.narrow(0, 0, 200)), overlap);
  CHECK_ERROR(base.narrow(0, 2, 200).addcmul_(base.narrow(0, 0, 200), base.narrow(0, 2, 200)), overlap);
  CHECK_EQ(base, arange(300).to(kFloat));
  base.slice(0, 0, 300, 2).copy_(base.narrow(0, 0, 150));
  CHECK_EQ(base.slice(0, 0, 300, 2), arange(150).to(kFloat));
}

TEST_CASE("an element's bits depend neither on its place nor on threads") {
  const Tensor x = mixed_numbers(100'003, kFloat), y = mixed_numbers(100'003, kFloat).flip({0});
  for (const Form& form : kForms) {
    CAPTURE(form.name);
    const Tensor whole = form.call(x, y);
    for (const int threads : {1, 3}) {
      const ThreadsGuard guard(threads);
      CHECK_EQ(form.call(x, y), whole);
    }
    CHECK_EQ(form.call(x.narrow(0, 5, 1001), y.narrow(0, 5, 1001)), whole.narrow(0, 5, 1001));
  }
}

TEST_CASE("results larger than the caches are the same as small ones") {
  // Through the kernels themselves: a tensor larger than the last cache takes too long for a test.
  using namespace kernels;
  static constexpr const ElementwiseKernels* tables[] = TINYTORCH_PER_CAPABILITY(elementwise_kernels);
  for_each_capability([&] {
    const ElementwiseTable<float>& table = for_capability(tables).in_float;
    const Tensor x = mixed_numbers(300, kFloat), through = empty({300}), past = empty({300});
    for (const std::int64_t offset : {0, 1, 5}) {
      for (const std::int64_t count : {1, 15, 16, 31, 64, 200}) {
        through.fill_(-7);
        past.fill_(-7);
        Elementwise<float> call{through.data<float>() + offset, x.data<float>() + 3, nullptr, nullptr, 1, 0, 0, count, 0, 0, false};
        table.exp(call);
        call.out = past.data<float>() + offset;
        call.beyond_cache = true;
        table.exp(call);
        CHECK_EQ(past, through);
      }
    }
  });
}

// %% [markdown]
// ## What it gains
//
// Bytes that must move, read and written, for each second, of tuned kernels and of the reference, in one thread. A copy of the same size shows what memory can do: kernels with little arithmetic cannot be faster.

// %%
DEMO("elementwise operators beside the reference, 16 MB, one thread") {
  const ThreadsGuard one(1);
  const Tensor x = rand({1 << 22}), y = rand({1 << 22});
  const auto line = [](const char* name, double bytes, auto f) {
    const double tuned = measure(f, {.samples = 5}).minimum;
    const kernels::ReferenceKernelsGuard guard;
    const double reference = measure(f, {.samples = 3}).minimum;
    std::printf("%-24s %7.2f GB/s, reference %7.2f GB/s, %5.1f times\n", name, bytes / tuned * 1e-9, bytes / reference * 1e-9, reference / tuned);
  };
  const double n = 1 << 22;
  line("clone", 8 * n, [&] { do_not_optimize(x.clone()); });
  line("add", 12 * n, [&] { do_not_optimize(x + y); });
  line("relu", 8 * n, [&] { do_not_optimize(relu(x)); });
  line("exp", 8 * n, [&] { do_not_optimize(exp(x)); });
  line("tanh", 8 * n, [&] { do_not_optimize(tanh(x)); });
  line("gelu, tanh", 8 * n, [&] { do_not_optimize(gelu(x, "tanh")); });
  line("gelu", 8 * n, [&] { do_not_optimize(gelu(x)); });
}

DEMO("the largest distance from the exact value, in ulp") {
  const Tensor floats = float_patterns(), doubles = double_patterns();
  for_each_capability([&] {
    for (const VectorFunction& function : kVectorFunctions)
      std::printf("%-8s %-8s float %.3f, double %.3f\n", get_cpu_capability().c_str(), function.name, worst_ulps<float>(function, floats).ulp, worst_ulps<double>(function, doubles).ulp);
  });
}

// ## In production
//
// **PyTorch** has the same three storeys. `aten/src/ATen/cpu/vec/vec256/vec256_float.h` and `vec512/` are `Vectorized<T>`, whose `exp`, `log`, `tanh` and `erf` call **Sleef**, a library of vector functions within 1 ulp (names end in `_u10`) or 3.5. `aten/src/ATen/native/cpu/UnaryOpsKernel.cpp` and `BinaryOpsKernel.cpp` are the loops, compiled for
// each capability; with Intel's MKL the larger unary functions go to its vector library instead (`aten/src/ATen/cpu/vml.h`). `aten/src/ATen/TensorIterator.cpp` merges dimensions, as chapter 50's `Rows` do, and finds the types. It uses no
// non-temporal stores.
//
// **TensorFlow** takes Eigen's packet functions (`Eigen/src/Core/arch/Default/GenericPacketMathFunctions.h`: `pexp_float` and its like are the polynomials of this chapter). **JAX** compiles whole chains of elementwise operators into one loop with XLA, so that a
// number passes through memory once for the chain and not once for each operator. That is the next step beyond a fast kernel: not to run it at all (module 18).
//
//     x -> [add] -> memory -> [gelu] -> memory -> [dropout] -> memory      three kernels at the speed of memory
//     x -> [add, gelu, dropout] -> memory                                  one: a third of the bytes

// %%
}  // namespace tinytorch
