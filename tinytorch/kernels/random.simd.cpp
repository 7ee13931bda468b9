// From the lesson modules/51_random_kernels/random_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <bit>
#include <cmath>
#include <cstdint>
#include "tinytorch/kernels/random_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
using Words = hn::ScalableTag<std::uint32_t>;

void next_words(std::uint32_t* words, std::int64_t count) {
  const Words d;
  constexpr std::int64_t N = 624, M = 397, lanes = static_cast<std::int64_t>(hn::MaxLanes(Words()));
  const auto upper = hn::Set(d, 0x80000000U), lower = hn::Set(d, 0x7fffffffU), one = hn::Set(d, 1U), matrix = hn::Set(d, 0x9908b0dfU);
  for (std::int64_t k = 0; k < count; k += lanes) {
    const std::uint32_t* const old = words + k - N;
    const auto u = hn::LoadU(d, old), v = hn::LoadU(d, old + 1), far = hn::LoadU(d, old + M);
    const auto joined = hn::Or(hn::And(u, upper), hn::And(v, lower));
    const auto odd = hn::And(hn::Sub(hn::Zero(d), hn::And(v, one)), matrix);
    hn::StoreU(hn::Xor(far, hn::Xor(hn::ShiftRight<1>(joined), odd)), d, words + k);
  }
}

template <class D>
HWY_INLINE hn::Vec<D> tempered(D d, hn::Vec<D> y) {
  y = hn::Xor(y, hn::ShiftRight<11>(y));
  y = hn::Xor(y, hn::And(hn::ShiftLeft<7>(y), hn::Set(d, 0x9d2c5680U)));
  y = hn::Xor(y, hn::And(hn::ShiftLeft<15>(y), hn::Set(d, 0xefc60000U)));
  return hn::Xor(y, hn::ShiftRight<18>(y));
}

// Numbers of [0, 1): floats out of the low 24 bits of a word.
template <class D>
HWY_INLINE hn::Vec<D> unit_numbers(D d, const std::uint32_t* words) requires(sizeof(hn::TFromD<D>) == 4) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::And(tempered(du, hn::LoadU(du, words)), hn::Set(du, (1U << 24) - 1));
  return hn::Mul(hn::ConvertTo(d, hn::BitCast(di, bits)), hn::Set(d, 0x1p-24f));
}

// Two words in 64 bits, the first in the lower half.
template <class D>
HWY_INLINE hn::Vec<D> tempered_pairs(D d, const std::uint32_t* words) requires(sizeof(hn::TFromD<D>) == 8) {
#if HWY_TARGET == HWY_SCALAR  // vectors of one word
  const hn::ScalableTag<std::uint32_t> dw;
  const std::uint64_t first = hn::GetLane(tempered(dw, hn::Set(dw, words[0]))), second = hn::GetLane(tempered(dw, hn::Set(dw, words[1])));
  return hn::Set(d, first | second << 32);
#else
  const hn::Repartition<std::uint32_t, D> dw;
  return hn::BitCast(d, tempered(dw, hn::LoadU(dw, words)));
#endif
}

// Doubles out of the low 53 bits of two words, the first of which is the upper half. 32 bits at a time become a double by standing in the mantissa of 2^84 (2^52); taking those away again is exact.
template <class D>
HWY_INLINE hn::Vec<D> unit_numbers(D d, const std::uint32_t* words) requires(sizeof(hn::TFromD<D>) == 8) {
  const hn::RebindToUnsigned<D> du;
  const auto both = tempered_pairs(du, words);
  const auto high = hn::And(both, hn::Set(du, (std::uint64_t{1} << 21) - 1));
  const auto low = hn::ShiftRight<32>(both);
  const auto high_number = hn::BitCast(d, hn::Or(high, hn::BitCast(du, hn::Set(d, 0x1p84))));
  const auto low_number = hn::BitCast(d, hn::Or(low, hn::BitCast(du, hn::Set(d, 0x1p52))));
  const auto whole = hn::Add(hn::Sub(high_number, hn::Set(d, 0x1p84 + 0x1p52)), low_number);
  return hn::Mul(whole, hn::Set(d, 0x1p-53));
}

// The first `count` of the numbers that f makes of a vector of words, `per` words for a number.
template <class T, class F>
HWY_INLINE void fill_from_words(T* out, const std::uint32_t* words, std::int64_t count, int per, F f) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>());
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(d, words + i * per), d, out + i);
  if (i == count) return;
  std::uint32_t last[2 * static_cast<std::size_t>(lanes)] = {};
  for (std::int64_t k = 0; k < (count - i) * per; ++k) last[k] = words[i * per + k];
  StorePart(f(d, last), d, out + i, count - i);
}

template <class T>
void uniform(T* out, const std::uint32_t* words, std::int64_t count, T low, T width) {
  fill_from_words(out, words, count, RandomTable<T>::kWords, [&](auto d, const std::uint32_t* from) { return hn::MulAdd(unit_numbers(d, from), hn::Set(d, width), hn::Set(d, low)); });
}

template <class T>
void normal(T* out, const std::uint32_t* words, std::int64_t count, T mean, T std) {
  const hn::CappedTag<T, 8> d;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<T, 8>())), per = RandomTable<T>::kWords;
  const auto one = hn::Set(d, T{1}), two_pi = hn::Set(d, 2 * static_cast<T>(3.14159265358979323846));
  const auto scale = hn::Set(d, std), shift = hn::Set(d, mean);
  for (std::int64_t block = 0; block < count; block += 16, words += 16 * per) {
    for (int j = 0; j < 8; j += lanes) {
      const auto u = hn::Sub(one, unit_numbers(d, words + j * per));
      const auto radius = hn::Sqrt(hn::Mul(hn::Set(d, T{-2}), LogOfPositive(d, u)));
      auto sine = one, cosine = one;
      SinCos(d, hn::Mul(two_pi, unit_numbers(d, words + (j + 8) * per)), sine, cosine);
      hn::StoreU(hn::MulAdd(hn::Mul(radius, cosine), scale, shift), d, out + block + j);
      hn::StoreU(hn::MulAdd(hn::Mul(radius, sine), scale, shift), d, out + block + j + 8);
    }
  }
}

// No number needs to be made: the whole number w of 53 bits stands for w / 2^53, which is below p where w is below p 2^53, rounded up. Then the sign bit of the difference is set.
template <class T>
void bernoulli(T* out, const std::uint32_t* words, std::int64_t count, double p) {
  const hn::ScalableTag<std::uint64_t> d;
  const hn::Rebind<T, decltype(d)> dt;
  const hn::RebindToUnsigned<decltype(dt)> bits;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<std::uint64_t>());
  const auto mask = hn::Set(d, (std::uint64_t{1} << 53) - 1), limit = hn::Set(d, static_cast<std::uint64_t>(std::ceil(p * 0x1p53)));
  const auto one = hn::Set(d, std::uint64_t{std::bit_cast<hn::TFromD<decltype(bits)>>(T{1})});
  const auto chosen = [&](const std::uint32_t* from) {
    const auto whole = hn::And(hn::RotateRight<32>(tempered_pairs(d, from)), mask);
    const auto below = hn::ShiftRight<63>(hn::Sub(whole, limit));
    const auto ones = hn::And(hn::Sub(hn::Zero(d), below), one);
    if constexpr (sizeof(T) == 8) return hn::BitCast(dt, ones);
    else return hn::BitCast(dt, hn::TruncateTo(bits, ones));
  };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(chosen(words + 2 * i), dt, out + i);
  if (i == count) return;
  std::uint32_t last[2 * static_cast<std::size_t>(lanes)] = {};
  for (std::int64_t k = 0; k < 2 * (count - i); ++k) last[k] = words[2 * i + k];
  StorePart(chosen(last), dt, out + i, count - i);
}
}  // namespace

constinit const RandomKernels random_kernels = {next_words, HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON,
                                                {uniform<float>, normal<float>, bernoulli<float>}, {uniform<double>, normal<double>, bernoulli<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
