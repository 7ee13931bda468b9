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
// # Library chapter 51: Kernels of random numbers
//
// `randn` for the weights of a network and `dropout` in each of its steps draw millions of numbers, and the reference (chapter 96) draws them one by one from module 00's generator: a word of its state, tempered, made into a number of [0, 1), and for a normal distribution a logarithm, a root and a sine of the C library behind it. Nothing of that depends on the number
// before but the word itself.
//
//                       reference                                  here
//     the words         renewed in their place, one at a time      vectors of words, made behind each other
//     the numbers       one at a time                              8 or 16 at once, on all threads
//     normal numbers    log, sqrt, sin and cos for each            chapter 76's functions of vectors
//
// What comes out is the same: the reference's bits for uniform and Bernoulli numbers, and for normal ones a rounding or two beside them.

// %%
//| after 16 76
//| export kernels/random_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/random.cpp
#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/random_kernels.h"

// %%
//| export kernels/random.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/random_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/roofline.h"
#include "tinytorch/nn/dropout.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The same numbers for a seed
//
// The numbers for a seed are a promise: those of the generator mt19937, in PyTorch's order. So the way to be fast is not another generator but the same one for many numbers at once. Its state is 624 words, which module 00 renews in their place: x[k + 397], or x[k - 227] where that one is new already. Written behind each other instead,
// all words follow one rule:
//
//     word[k] = word[k - 227] ^ twist(word[k - 624], word[k - 623])
//
//     | the state, 624 words | 624 new ones | 624 more ...    |        the last 624 that were made are the state again
//             ^------------------- from where the generator stood, words are used where they are
//
// Word k needs none of the 16 before it, so vectors of words can be made at once, and nobody has to copy them out of the state. Then each is tempered and becomes a float of 24 bits or, with its neighbour, a double of 53. PyTorch's normal numbers come in blocks of 16 by Box and Muller's transformation: eight radii `sqrt(-2 log u)` and eight
// angles, whose cosines and sines are eight numbers each: vectors again.
//
// The words must be made one after another, but what follows (tempering, logarithms, sines) can be divided among threads.

// %%
//| export kernels/random_kernels.h
namespace kernels {

// `words` are words of mt19937's state, which are not tempered yet.
template <class T>
struct RandomTable {
  static constexpr int kWords = sizeof(T) / 4;  // that a number takes
  void (*uniform)(T* out, const std::uint32_t* words, std::int64_t count, T low, T width);             // low + width * u, one rounding where multiplication and addition are one instruction
  void (*normal)(T* out, const std::uint32_t* words, std::int64_t count, T mean, T std);               // by blocks of 16; REQUIRES: count is a multiple of 16
  void (*bernoulli)(T* out, const std::uint32_t* words, std::int64_t count, double p);                 // two words for a number, also for float
};

struct RandomKernels {
  void (*next_words)(std::uint32_t* words, std::int64_t count);  // makes words[0] to words[count - 1] of the 624 in front of them; REQUIRES: count is a multiple of 16
  bool fused;                                                    // whether multiplication and addition round once
  RandomTable<float> in_float;
  RandomTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(RandomKernels, random_kernels)

}  // namespace kernels

// %%
//| export kernels/random.simd.cpp
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

// Doubles out of the low 53 bits of two words, the first of which is the upper half. 32 bits at a time become a double by standing in the mantissa of 2^84 (2^52); taking those away again is exact.
template <class D>
HWY_INLINE hn::Vec<D> unit_numbers(D d, const std::uint32_t* words) requires(sizeof(hn::TFromD<D>) == 8) {
  const hn::RebindToUnsigned<D> du;
#if HWY_TARGET == HWY_SCALAR  // vectors of one word
  const hn::ScalableTag<std::uint32_t> dw;
  const std::uint64_t first = hn::GetLane(tempered(dw, hn::Set(dw, words[0]))), second = hn::GetLane(tempered(dw, hn::Set(dw, words[1])));
  const auto both = hn::Set(du, first | second << 32);
#else
  const hn::Repartition<std::uint32_t, D> dw;
  const auto both = hn::BitCast(du, tempered(dw, hn::LoadU(dw, words)));
#endif
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

void bernoulli_double(double* out, const std::uint32_t* words, std::int64_t count, double p) {
  fill_from_words(out, words, count, 2, [&](auto d, const std::uint32_t* from) { return hn::IfThenElseZero(hn::Lt(unit_numbers(d, from), hn::Set(d, p)), hn::Set(d, 1.0)); });
}

void bernoulli_float(float* out, const std::uint32_t* words, std::int64_t count, double p) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, hn::ScalableTag<double>> df;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<double>());
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto chosen = hn::IfThenElseZero(hn::Lt(unit_numbers(d, words + 2 * i), hn::Set(d, p)), hn::Set(d, 1.0));
    hn::StoreU(hn::DemoteTo(df, chosen), df, out + i);
  }
  double rest[static_cast<std::size_t>(lanes)];
  bernoulli_double(rest, words + 2 * i, count - i, p);
  for (std::int64_t k = 0; i + k < count; ++k) out[i + k] = static_cast<float>(rest[k]);
}
}  // namespace

constinit const RandomKernels random_kernels = {next_words, HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON,
                                                {uniform<float>, normal<float>, bernoulli_float}, {uniform<double>, normal<double>, bernoulli_double}};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/random.cpp
namespace {
const kernels::RandomKernels& random_table() {
  using namespace kernels;
  static constexpr const RandomKernels* tables[] = TINYTORCH_PER_CAPABILITY(random_kernels);
  return for_capability(tables);
}

template <class T>
const kernels::RandomTable<T>& random_table_of() {
  if constexpr (std::is_same_v<T, float>) return random_table().in_float;
  else return random_table().in_double;
}

// Numbers for which words are made at a time, and how many of them a task takes: few, so that their words are still in a near cache when they are used.
constexpr std::int64_t kDrawnTogether = 1 << 15, kDrawGrain = 1 << 12;

// A generator's words in their order, as they are before tempering. The generator is locked meanwhile, and goes on behind the last word that was taken.
class RawWords {
 public:
  // For `numbers` numbers of `per` words.
  RawWords(std::optional<Generator> generator, std::int64_t numbers, int per)
      : generator_(generator ? *std::move(generator) : default_generator()), lock_(generator_.mutex()), data_(generator_.engine().data()),
        together_(std::min(numbers, get_num_threads() == 1 ? kDrawGrain : kDrawnTogether)), words_(std::make_unique_for_overwrite<std::uint32_t[]>(static_cast<std::size_t>(together_ * per + 2 * N))) {
    std::copy_n(data_.state_.data(), N, words_.get());
  }
  ~RawWords() {
    std::copy_n(words_.get() + state_, N, data_.state_.data());
    generator_.engine().set_data(data_);
  }
  RawWords(const RawWords&) = delete;
  RawWords& operator=(const RawWords&) = delete;

  // How many numbers may be drawn at once.
  std::int64_t together() const { return together_; }
  const std::uint32_t* take(std::int64_t count);

 private:
  static constexpr std::int64_t N = mt19937_data_pod::N;
  Generator generator_;
  std::lock_guard<std::mutex> lock_;
  mt19937_data_pod data_;
  std::int64_t together_, state_ = 0;       // where in words_ the state lies, 624 words
  std::unique_ptr<std::uint32_t[]> words_;  // a state, and what follows from it
};

// The next `count` words, at most those of together() numbers. They stay until more are taken.
const std::uint32_t* RawWords::take(std::int64_t count) {
  if (state_ > 0) std::copy_n(words_.get() + state_, N, words_.get());
  const std::int64_t first = data_.next_, stop = first + count;
  state_ = (stop - 1) / N * N;  // that of the last word: new ones are made when they are asked for
  random_table().next_words(words_.get() + N, state_);
  data_.next_ = static_cast<std::uint32_t>(stop - state_);
  return words_.get() + first;
}

// Calls f(place, words, count) for all of `count` numbers at `out`, `per` words for a number, in pieces of whole blocks of 16; on the threads of the pool.
template <class T, class F>
void fill_drawn(T* out, std::int64_t count, int per, RawWords& raw, F f) {
  for (std::int64_t first = 0; first < count; first += raw.together()) {
    const std::int64_t numbers = std::min(raw.together(), count - first);
    const std::uint32_t* const words = raw.take(numbers * per);
    parallel_for(0, numbers, kDrawGrain, [&](std::int64_t begin, std::int64_t end) { f(out + first + begin, words + begin * per, end - begin); });
  }
}

bool is_drawn_type(ScalarType type) { return type == kFloat || type == kDouble; }

template <class F>
decltype(auto) with_drawn_type(ScalarType type, F f) {
  return type == kFloat ? f.template operator()<float>() : f.template operator()<double>();
}

// Copying the generator's state pays for itself from some hundred numbers on.
bool takes_drawing(const Tensor& self) { return self.numel() >= 512 && is_drawn_type(self.scalar_type()) && self.is_contiguous(); }

const Tensor& uniform_tuned(const Tensor& self, double from, double to, std::optional<Generator> generator) {
  const bool takes = takes_drawing(self) && from <= to && with_drawn_type(self.scalar_type(), [&]<class T>() {
    const T low = static_cast<T>(from), width = static_cast<T>(to) - low;
    // The reference rounds once; so must this.
    return to - from <= std::numeric_limits<T>::max() && (random_table().fused || low == 0 || width == 1);
  });
  if (!takes) return op::uniform_.function(Layer::CPU)(self, from, to, std::move(generator));
  with_drawn_type(self.scalar_type(), [&]<class T>() {
    RawWords raw(std::move(generator), self.numel(), kernels::RandomTable<T>::kWords);
    const T low = static_cast<T>(from), width = static_cast<T>(to) - low;
    const auto uniform = random_table_of<T>().uniform;
    fill_drawn(self.data<T>(), self.numel(), kernels::RandomTable<T>::kWords, raw, [&](T* out, const std::uint32_t* words, std::int64_t count) { uniform(out, words, count, low, width); });
  });
  return self;
}

// All of the numbers are drawn before those at the end, which stand in for the last 16 where these are no whole block.
const Tensor& normal_tuned(const Tensor& self, double mean, double std, std::optional<Generator> generator) {
  if (!takes_drawing(self)) return op::normal_.function(Layer::CPU)(self, mean, std, std::move(generator));
  with_drawn_type(self.scalar_type(), [&]<class T>() {
    constexpr int per = kernels::RandomTable<T>::kWords;
    RawWords raw(std::move(generator), self.numel(), per);
    const auto normal = random_table_of<T>().normal;
    const auto draw = [&](T* out, const std::uint32_t* words, std::int64_t count) { normal(out, words, count, static_cast<T>(mean), static_cast<T>(std)); };
    const std::int64_t whole = self.numel() / 16 * 16;
    fill_drawn(self.data<T>(), whole, per, raw, draw);
    if (whole == self.numel()) return;
    raw.take((self.numel() - whole) * per);
    draw(self.data<T>() + self.numel() - 16, raw.take(16 * per), 16);
  });
  return self;
}

const Tensor& bernoulli_tuned(const Tensor& self, double p, std::optional<Generator> generator) {
  if (!takes_drawing(self)) return op::bernoulli_.function(Layer::CPU)(self, p, std::move(generator));
  RawWords raw(std::move(generator), self.numel(), 2);
  with_drawn_type(self.scalar_type(), [&]<class T>() {
    const auto bernoulli = random_table_of<T>().bernoulli;
    fill_drawn(self.data<T>(), self.numel(), 2, raw, [&](T* out, const std::uint32_t* words, std::int64_t count) { bernoulli(out, words, count, p); });
  });
  return self;
}

// The probabilities are looked at first, since one that is none must leave nothing behind: the reference says which.
template <class T>
bool are_probabilities(const T* p, std::int64_t count) {
  bool all = true;
  for (std::int64_t i = 0; i < count; ++i) all &= p[i] >= 0 && p[i] <= 1;
  return all;
}

const Tensor& bernoulli_tensor_tuned(const Tensor& self, const Tensor& p, std::optional<Generator> generator) {
  const bool ours = takes_drawing(self) && p.scalar_type() == self.scalar_type() && p.sizes() == self.sizes() && p.is_contiguous() && !p.is_alias_of(self);
  const bool valid = ours && with_drawn_type(self.scalar_type(), [&]<class T>() { return are_probabilities(p.data<T>(), p.numel()); });
  if (!valid) return op::bernoulli_tensor_.function(Layer::CPU)(self, p, std::move(generator));
  with_drawn_type(self.scalar_type(), [&]<class T>() {
    RawWords raw(std::move(generator), self.numel(), kernels::RandomTable<T>::kWords);
    const auto uniform = random_table_of<T>().uniform;
    T* const to = self.data<T>();
    const T* const chances = p.data<T>();
    fill_drawn(to, self.numel(), kernels::RandomTable<T>::kWords, raw, [=](T* out, const std::uint32_t* words, std::int64_t count) {
      uniform(out, words, count, T{0}, T{1});
      const T* const chance = chances + (out - to);
      for (std::int64_t i = 0; i < count; ++i) out[i] = out[i] < chance[i];
    });
  });
  return self;
}
}  // namespace

// %%
//| export kernels/random.cpp
//| registers
void register_random_kernels() {
  op::uniform_.set(Layer::TunedCPU, uniform_tuned);
  op::normal_.set(Layer::TunedCPU, normal_tuned);
  op::bernoulli_.set(Layer::TunedCPU, bernoulli_tuned);
  op::bernoulli_tensor_.set(Layer::TunedCPU, bernoulli_tensor_tuned);
}

// %%
//| lesson
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

// What `fill` draws into a tensor of `count` after a few numbers have been drawn, and the state of the generator behind it.
template <class F>
std::pair<Tensor, std::string> drawn(std::int64_t count, ScalarType type, F fill) {
  Generator generator(11);
  for (int i = 0; i < 5; ++i) generator.random();
  const Tensor x = empty({count}, type);
  fill(x, generator);
  return {x, generator.state()};
}

// %%
TEST_CASE("random numbers: the reference's for a seed, and the generator goes on where it would") {
  const auto uniform = [](const Tensor& x, const Generator& g) { uniform_(x, 0, 1, g); };
  const auto wide = [](const Tensor& x, const Generator& g) { uniform_(x, -3, 5, g); };
  const auto chance = [](const Tensor& x, const Generator& g) { bernoulli_(x, 0.3, g); };
  const auto chances = [](const Tensor& x, const Generator& g) { bernoulli_(x, arange(x.numel(), kLong).remainder(101).to(x.scalar_type()) / 100, g); };
  const auto bell = [](const Tensor& x, const Generator& g) { normal_(x, 1, 2, g); };
  for_each_capability([&] {
    for (const ScalarType type : {kFloat, kDouble}) {
      for (const std::int64_t count : {511, 512, 513, 619, 624, 1000, 1248, 5003, 100'000}) {
        CAPTURE(type);
        CAPTURE(count);
        const auto check = [&](auto fill, bool exact) {
          const auto [got, state] = drawn(count, type, fill);
          const kernels::ReferenceKernelsGuard guard;
          const auto [expected, expected_state] = drawn(count, type, fill);
          CHECK_EQ(state, expected_state);
          if (exact) CHECK_EQ(got, expected);
          else CHECK_CLOSE(got, expected, type == kFloat ? 1e-5 : 1e-13, type == kFloat ? 2e-6 : 1e-14);
        };
        check(uniform, true);
        check(wide, true);
        check(chance, true);
        check(chances, true);
        check(bell, false);
      }
    }
  });
  const Tensor odd = full({1000}, 0.5);
  odd.select(0, 700).fill_(1.5);
  CHECK_ERROR(bernoulli_(empty({1000}), odd), "found the probability 1.5");
  odd.select(0, 700).fill_(std::nan(""));
  CHECK_ERROR(bernoulli_(empty({1000}), odd), "Expected p_in >= 0 && p_in <= 1 to be true");
}

TEST_CASE("random numbers: the same with any number of threads") {
  for (const ScalarType type : {kFloat, kDouble}) {
    const auto bell = [](const Tensor& x, const Generator& g) { normal_(x, 0, 1, g); };
    const Tensor expected = drawn(100'001, type, bell).first;
    for (const int threads : {1, 3}) {
      const ThreadsGuard guard(threads);
      CHECK_EQ(drawn(100'001, type, bell).first, expected);
    }
  }
}

// %% [markdown]
// ## What it gains
//
// Bytes of results for each second, of tuned kernels and of the reference, in one thread; `dropout` reads as many besides. A copy of the same size shows what memory can do.

// %%
DEMO("random numbers beside the reference, 16 MB, one thread") {
  const ThreadsGuard one(1);
  const Tensor x = rand({1 << 22});
  const auto line = [](const char* name, double bytes, auto f) {
    const double tuned = measure(f, {.samples = 5}).minimum;
    const kernels::ReferenceKernelsGuard guard;
    const double reference = measure(f, {.samples = 3}).minimum;
    std::printf("%-24s %7.2f GB/s, reference %7.2f GB/s, %5.1f times\n", name, bytes / tuned * 1e-9, bytes / reference * 1e-9, reference / tuned);
  };
  const double n = 1 << 22;
  line("clone", 8 * n, [&] { do_not_optimize(x.clone()); });
  line("uniform", 4 * n, [&] { do_not_optimize(rand({1 << 22})); });
  line("normal", 4 * n, [&] { do_not_optimize(randn({1 << 22})); });
  line("dropout", 8 * n, [&] { do_not_optimize(dropout(x, 0.5, true)); });
}

// %% [markdown]
// ## In production
//
// **PyTorch** draws random numbers one at a time under a lock (`aten/src/ATen/native/cpu/DistributionTemplates.h`); only normal ones are turned into vectors, sixteen at a time (`normal_fill_AVX2`). **TensorFlow** has a counter-based generator, Philox, in which any number can be computed without those before it, so that a thread begins anywhere; PyTorch has it
// too, on GPUs. **JAX**'s is Threefry, counter-based as well, and a program hands its state on as a value.
//
//     mt19937    word k from words k - 624, k - 623 and k - 227       a state of 2.5 KB; vectors of words, one thread
//     Philox     word k from the key and k                            no state; any word, any thread
//
// ## Where to read on
//
// - *Mersenne Twister* (Matsumoto and Nishimura, 1998); Saito and Matsumoto's *SIMD-oriented Fast Mersenne Twister* (2008) is a generator whose rule was chosen for vectors.
// - *Parallel Random Numbers: As Easy as 1, 2, 3* (Salmon and others, 2011), for Philox and Threefry.
// - *A Note on the Generation of Random Normal Deviates* (Box and Muller, 1958): two pages.

// %%
}  // namespace tinytorch
