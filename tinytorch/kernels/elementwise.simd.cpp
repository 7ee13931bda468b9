// From the lesson modules/76_vector_math/vector_math_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <type_traits>
#include "tinytorch/kernels/elementwise_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

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

}  // namespace tinytorch
