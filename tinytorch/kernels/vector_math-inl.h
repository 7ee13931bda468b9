// From the lesson modules/76_vector_math/vector_math_dev.cpp:
// edit the module, not this file.
#pragma once

#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <cstdint>

namespace tinytorch {

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

}  // namespace tinytorch
