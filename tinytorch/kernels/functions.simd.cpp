// From the lesson modules/79_function_kernels/function_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <cmath>
#include <type_traits>
#include "tinytorch/kernels/function_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

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

}  // namespace tinytorch
