// From the lesson modules/79_function_kernels/function_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <cmath>
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
  using Format = FloatFormat<T>;
  const V one = hn::Set(d, T{1}), border = hn::Set(d, static_cast<T>(Format::kMantissa));  // there exp(x) is above 2^kMantissa, and 1 is lost beside it
  const V within = hn::Min(hn::Max(x, hn::Neg(border)), border);
  const V magic = Magic<true>(d);
  const V shifted = hn::MulAdd(within, hn::Set(d, Format::kInverseLog2), magic);
  const V n = hn::Sub(shifted, magic);
  const V r = hn::NegMulAdd(n, hn::Set(d, Format::kLog2Low), hn::NegMulAdd(n, hn::Set(d, Format::kLog2High), within));
  const V beside_one = hn::MulAdd(hn::Mul(r, r), Polynomial(d, r, ExpConstants<T>::kSeries), r);  // exp(r) - 1
  const V power = TimesPower<true>(d, one, shifted);
  const V near = hn::MulAdd(power, beside_one, hn::Sub(power, one));
  return hn::CopySign(hn::IfThenElse(hn::Le(hn::Abs(x), border), near, hn::Sub(Exp(d, x), one)), x);
}

// log(1 + exp(x)) where nothing overflows: the sum of two terms that are not negative.
template <class D, class V>
HWY_INLINE V LogOnePlusExp(D d, V x) {
  // NaN is in both terms; Max may drop it.
  return hn::Add(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x), Log1p(d, Exp(d, hn::Neg(hn::Abs(x)))));
}

template <class T>
struct TurnConstants;

template <>
struct TurnConstants<float> {
  static constexpr float kFar = 12800;  // n fits into 13 bits before
  static constexpr float kTwoOverPi = 0x1.45f306p-1f;
  static constexpr float kHalfPi[] = {0x1.92p0f, 0x1.fb4p-12f, 0x1.444p-24f, 2.563344152e-12f};  // 11 bits each, and the rest
  // (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2 for |r| <= pi / 4, relative errors 2^-35 and 2^-39
  static constexpr float kSine[] = {-0.1666666666f, 0.008333331691f, -0.0001983998958f, 2.723757724e-6f};
  static constexpr float kCosine[] = {0.04166666666f, -0.001388888752f, 2.480051929e-5f, -2.72906524e-7f};
};

template <>
struct TurnConstants<double> {
  static constexpr double kFar = 1.6e6;  // 20 bits
  static constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  static constexpr double kHalfPi[] = {0x1.921fb544p0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 8.478427660368899643958701e-32};  // 33 bits each, and the rest
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
  // x - n pi/2 as a sum, r + low.
  const V first = hn::NegMulAdd(n, hn::Set(d, Constants::kHalfPi[0]), x);
  const V middle = hn::Mul(n, hn::Set(d, Constants::kHalfPi[1])), small_part = hn::Mul(n, hn::Set(d, Constants::kHalfPi[2]));
  const V second = hn::Sub(first, middle), third = hn::Sub(second, small_part);
  const V left_out = hn::Add(hn::Sub(hn::Sub(first, second), middle), hn::Sub(hn::Sub(second, third), small_part));
  const V rest = hn::NegMulAdd(n, hn::Set(d, Constants::kHalfPi[3]), left_out);
  const V r = hn::Add(third, rest);
  const V low = hn::Add(hn::Sub(third, r), rest);
  const V square = hn::Mul(r, r);
  // sin(r + low) = sin(r) + low, cos(r + low) = cos(r) - r low; 1 - r^2 / 2 rounds, and what that leaves out is added to the small terms.
  const V sine = hn::Add(r, hn::MulAdd(hn::Mul(r, square), Polynomial(d, square, Constants::kSine), low));
  const V one = hn::Set(d, T{1}), half = hn::Mul(square, hn::Set(d, T{0.5}));
  const V most = hn::Sub(one, half);
  const V small = hn::MulAdd(hn::Mul(square, square), Polynomial(d, square, Constants::kCosine), hn::NegMulAdd(r, low, hn::Sub(hn::Sub(one, most), half)));
  return Turn{sine, hn::Add(most, small), hn::BitCast(du, shifted)};
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

template <class T>
struct AtanConstants;

template <>
struct AtanConstants<float> {
  static constexpr float kHalfPi = 0x1.921fb6p0f, kHalfPiLow = -0x1.777a5cp-25f;
  // (atan(u) / u - 1) / u^2 in u^2 for |u| <= tan(pi / 8), relative error of atan 2^-30
  static constexpr float kSeries[] = {-0.3333331519f, 0.19998471524f, -0.14243533238f, 0.10593811887f, -0.060782146012f};
};

template <>
struct AtanConstants<double> {
  static constexpr double kHalfPi = 0x1.921fb54442d18p0, kHalfPiLow = 0x1.1a62633145c07p-54;
  // relative error 2^-64
  static constexpr double kSeries[] = {-0.3333333333333332746, 0.1999999999999765053, -0.1428571428538601333, 0.1111111108807219601, -0.09090908141320784475, 0.07692282698324218314,
                                       -0.06666226028395131419, 0.05877016093535002629, -0.0521837604567119368, 0.04503465228498113347, -0.033473158340471431, 0.01519445192030214083};
};

// Within 2 ulp.
template <class D, class V>
HWY_INLINE V Atan(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = AtanConstants<T>;
  const V a = hn::Abs(x), one = hn::Set(d, T{1});
  const auto large = hn::Gt(a, hn::Set(d, static_cast<T>(2.414213562373095))), middle = hn::Gt(a, hn::Set(d, static_cast<T>(0.41421356237309503)));
  // -1 / a, (a - 1) / (a + 1) or a; NaN takes the last form, which keeps it.
  const V above = hn::IfThenElse(large, hn::Neg(one), hn::Sub(a, one)), below = hn::IfThenElse(large, a, hn::Add(a, one));
  const V u = hn::IfThenElse(middle, hn::Div(above, below), a);
  const V share = hn::IfThenElse(large, one, hn::IfThenElseZero(middle, hn::Set(d, T{0.5})));  // of pi/2
  const V square = hn::Mul(u, u);
  const V tail = hn::MulAdd(hn::Mul(u, square), Polynomial(d, square, Constants::kSeries), hn::Mul(share, hn::Set(d, Constants::kHalfPiLow)));
  return hn::CopySign(hn::MulAdd(share, hn::Set(d, Constants::kHalfPi), hn::Add(u, tail)), x);
}

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

template <class T, auto F>
void walk_pair(const T* a, const T* b, std::int64_t b_step, std::int64_t count, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  const auto single = hn::Set(d, b[0]);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(F(d, hn::LoadU(d, a + i), b_step == 0 ? single : hn::LoadU(d, b + i)), d, out + i);
  if (i < count) StorePart(F(d, LoadPart(d, a + i, count - i), b_step == 0 ? single : LoadPart(d, b + i, count - i)), d, out + i, count - i);
}

constexpr auto fmod_of = [](auto d, auto a, auto b) { return Fmod(d, a, b); };
constexpr auto floor_quotient_of = [](auto d, auto a, auto b) { return FloorQuotient(d, a, b); };
constexpr auto remainder_of = [](auto d, auto a, auto b) {
  const auto rest = Fmod(d, a, b);
  return hn::IfThenElse(HasOtherSign(d, rest, b), hn::Add(rest, b), rest);
};

// (1 - target) x + log(1 + exp(-x)), as module 04
constexpr auto bce_of_logits = [](auto d, auto x, auto target) {
  return hn::MulAdd(hn::Sub(hn::Set(d, hn::TFromD<decltype(d)>{1}), target), x, LogOnePlusExp(d, hn::Neg(x)));
};

// A vector of doubles from floats or doubles.
template <class D, class T>
HWY_INLINE auto LoadWide(D d, const T* x) {
  if constexpr (sizeof(T) == 4) return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), x));
  else return hn::LoadU(d, x);
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
      .fmod = walk_pair<T, fmod_of>,
      .remainder = walk_pair<T, remainder_of>,
      .floor_divide = walk_pair<T, floor_quotient_of>,
      .bce_with_logits = walk_pair<T, bce_of_logits>,
      .product = product_of<T>,
      .multiply_to = multiply_rows<T>,
  };
}
}  // namespace

constinit const FunctionKernels function_kernels = {function_table_of<float>(), function_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
