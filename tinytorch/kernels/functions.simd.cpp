// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
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

// sin(x), or cos(x) as the sine a quarter of a circle on, within 2 ulp. REQUIRES: |x| <= kFar.
template <bool Cosine, class D, class V>
HWY_INLINE V SineNear(D d, V x) {
  using T = hn::TFromD<D>;
  using Constants = TurnConstants<T>;
  const hn::RebindToUnsigned<D> du;
  using Bits = hn::TFromD<decltype(du)>;
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
  const V cosine = hn::Add(most, small);
  // The quarter that x lies in: odd ones change sine and cosine, the third and fourth the sign.
  const auto quarter = hn::Add(hn::BitCast(du, shifted), hn::Set(du, Bits{Cosine}));
  const auto odd = hn::MaskFromVec(hn::BitCast(d, hn::VecFromMask(du, hn::Ne(hn::And(quarter, hn::Set(du, Bits{1})), hn::Zero(du)))));
  const auto sign = hn::ShiftLeft<sizeof(T) * 8 - 2>(hn::And(quarter, hn::Set(du, Bits{2})));
  const V result = hn::Xor(hn::IfThenElse(odd, cosine, sine), hn::BitCast(d, sign));
  if constexpr (Cosine) return result;
  else return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, result);  // -0 stays
}

template <bool Cosine, class D, class V>
HWY_INLINE V Sine(D d, V x) {
  using T = hn::TFromD<D>;
  const V far = hn::Set(d, TurnConstants<T>::kFar);
  const auto near = hn::Le(hn::Abs(x), far);
  if (HWY_LIKELY(hn::AllTrue(d, near))) return SineNear<Cosine>(d, x);
  // Infinities and NaN are here as well.
  T numbers[static_cast<std::size_t>(LanesOf(D()))];
  hn::StoreU(x, d, numbers);
  for (T& number : numbers) number = Cosine ? std::cos(number) : std::sin(number);
  return hn::IfThenElse(near, SineNear<Cosine>(d, hn::IfThenElseZero(near, x)), hn::LoadU(d, numbers));
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

template <class T>
void bce_of_logits(const T* x, const T* target, std::int64_t count, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  // (1 - target) x + log(1 + exp(-x)), as module 04
  const auto loss = [d](auto logit, auto t) { return hn::MulAdd(hn::Sub(hn::Set(d, T{1}), t), logit, LogOnePlusExp(d, hn::Neg(logit))); };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(loss(hn::LoadU(d, x + i), hn::LoadU(d, target + i)), d, out + i);
  if (i < count) StorePart(loss(LoadPart(d, x + i, count - i), LoadPart(d, target + i, count - i)), d, out + i, count - i);
}

template <class T>
constexpr FunctionTable<T> function_table_of() {
  return {
      .log1p = walk_function<T, [](auto d, auto x, auto, auto) { return Log1p(d, x); }>,
      .expm1 = walk_function<T, [](auto d, auto x, auto, auto) { return Expm1(d, x); }>,
      .sin = walk_function<T, [](auto d, auto x, auto, auto) { return Sine<false>(d, x); }>,
      .cos = walk_function<T, [](auto d, auto x, auto, auto) { return Sine<true>(d, x); }>,
      .elu = walk_function<T, elu_of>,
      .softplus = walk_function<T, softplus_of>,
      .log_sigmoid = walk_function<T, [](auto d, auto x, auto, auto) { return hn::Neg(LogOnePlusExp(d, hn::Neg(x))); }>,
      .mish = walk_function<T, mish_of>,
      .bce_with_logits = bce_of_logits<T>,
  };
}
}  // namespace

constinit const FunctionKernels function_kernels = {function_table_of<float>(), function_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
