// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/recurrent_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// 1 / x for x from 1 to 2^30.
template <class D, class V>
HWY_INLINE V Inverse(D d, V x) {
  const V one = hn::Set(d, hn::TFromD<D>{1});
  if constexpr (HWY_TARGET == HWY_AVX3 && sizeof(hn::TFromD<D>) == 4) {
    const V guess = hn::ApproximateReciprocal(x);
    return hn::MulAdd(guess, hn::NegMulAdd(x, guess, one), guess);
  } else {
    return hn::Div(one, x);
  }
}

// sigmoid within 4 units of the last place, and exactly NaN for NaN; at least exp(-87), of doubles exp(-700).
template <class D, class V>
HWY_INLINE V GateSigmoid(D d, V x) {
  using T = hn::TFromD<D>;
  const V within = hn::Max(hn::Neg(hn::Abs(x)), hn::Set(d, sizeof(T) == 4 ? T{-87} : T{-700}));
  const V e = ExpReduced<true>(d, within, within), inverse = Inverse(d, hn::Add(hn::Set(d, T{1}), e));
  const V y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(e, inverse), inverse);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// How a vector's numbers are loaded and stored: all of them, or the first `count`.
struct WholeVector {
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    return hn::LoadU(d, from);
  }
  template <class D, class T>
  HWY_INLINE void store(hn::Vec<D> v, D d, T* to) const {
    hn::StoreU(v, d, to);
  }
};
struct PartOfVector {
  std::int64_t count;
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    return LoadPart(d, from, count);
  }
  template <class D, class T>
  HWY_INLINE void store(hn::Vec<D> v, D d, T* to) const {
    StorePart(v, d, to, count);
  }
};

// Calls at(access, unit) for all of H units.
template <class T, class At>
HWY_INLINE void for_units(std::int64_t H, At at) {
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  std::int64_t j = 0;
  for (; j + lanes <= H; j += lanes) at(WholeVector(), j);
  if (j < H) at(PartOfVector{H - j}, j);
}

template <class T>
void lstm_step(const T* input_gates, const T* hidden_gates, const T* cx, std::int64_t rows, std::int64_t H, T* hy, T* cy, T* workspace) {
  const hn::ScalableTag<T> d;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T *const a = input_gates + row * 4 * H, *const b = hidden_gates + row * 4 * H, *const before = cx + row * H;
    T *const h = hy + row * H, *const c = cy + row * H, *const gates = workspace + row * 4 * H;
    for_units<T>(H, [=](auto access, std::int64_t j) HWY_ATTR {
      const auto sum = [=](std::int64_t at) HWY_ATTR { return hn::Add(access.load(d, a + at), access.load(d, b + at)); };
      const auto i = GateSigmoid(d, sum(j)), f = GateSigmoid(d, sum(H + j)), g = Tanh(d, sum(2 * H + j)), o = GateSigmoid(d, sum(3 * H + j));
      const auto next = hn::MulAdd(i, g, hn::Mul(f, access.load(d, before + j)));
      access.store(next, d, c + j);
      access.store(hn::Mul(o, Tanh(d, next)), d, h + j);
      access.store(i, d, gates + j);
      access.store(f, d, gates + H + j);
      access.store(g, d, gates + 2 * H + j);
      access.store(o, d, gates + 3 * H + j);
    });
  }
}

template <class T>
void lstm_gradient(const T* grad_hy, const T* grad_cy, const T* cx, const T* cy, const T* workspace, std::int64_t rows, std::int64_t H, T* grad_gates, T* grad_cx) {
  const hn::ScalableTag<T> d;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T *const dh = grad_hy == nullptr ? nullptr : grad_hy + row * H, *const dc = grad_cy == nullptr ? nullptr : grad_cy + row * H;
    const T *const before = cx + row * H, *const after = cy + row * H, *const gates = workspace + row * 4 * H;
    T *const to = grad_gates + row * 4 * H, *const to_before = grad_cx + row * H;
    for_units<T>(H, [=](auto access, std::int64_t j) HWY_ATTR {
      const auto one = hn::Set(d, T{1});
      const auto i = access.load(d, gates + j), f = access.load(d, gates + H + j), g = access.load(d, gates + 2 * H + j), o = access.load(d, gates + 3 * H + j);
      const auto slope = [=](auto gate) HWY_ATTR { return hn::Mul(gate, hn::Sub(one, gate)); };  // of a sigmoid
      auto at_cell = dc == nullptr ? hn::Zero(d) : access.load(d, dc + j), at_shown = hn::Zero(d);
      if (dh != nullptr) {
        const auto arrived = access.load(d, dh + j), shown = Tanh(d, access.load(d, after + j));
        at_cell = hn::MulAdd(hn::Mul(arrived, o), hn::NegMulAdd(shown, shown, one), at_cell);
        at_shown = hn::Mul(arrived, shown);
      }
      access.store(hn::Mul(hn::Mul(at_cell, g), slope(i)), d, to + j);
      access.store(hn::Mul(hn::Mul(at_cell, access.load(d, before + j)), slope(f)), d, to + H + j);
      access.store(hn::Mul(hn::Mul(at_cell, i), hn::NegMulAdd(g, g, one)), d, to + 2 * H + j);
      access.store(hn::Mul(at_shown, slope(o)), d, to + 3 * H + j);
      access.store(hn::Mul(at_cell, f), d, to_before + j);
    });
  }
}

template <class T>
constexpr LSTMTable<T> lstm_table_of() {
  return {.step = lstm_step<T>, .gradient = lstm_gradient<T>};
}
}  // namespace

constinit const RecurrentKernels recurrent_kernels = {lstm_table_of<float>(), lstm_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
