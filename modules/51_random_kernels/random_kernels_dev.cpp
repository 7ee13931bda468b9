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
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
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
#include <bit>
#include <cmath>
#include <cstdint>
#include "tinytorch/kernels/random_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>
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
// The words must be made one after another, but what follows (tempering, logarithms, sines) can be divided among threads: the section after the kernels says how.

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

// %% [markdown]
// ## On all threads
//
// Two things can go wrong when several threads draw from one generator. The numbers must not depend on who was first, or a program gives other results on another machine. And the words must not travel: when one thread makes them for all, the others fetch them from its cache, which costs more than to make them. `rand`
// of a million numbers took 280 us with one thread that way, 350 with two.
//
// So each thread makes its words itself. What travels is the state, 2.5 KB, and with it the turn:
//
//     thread 0   | words of piece 0 | numbers of piece 0         | words of piece 2 | numbers of piece 2     ...
//     thread 1                      | words of piece 1 | numbers of piece 1         | words of piece 3 | ...
//                                 state                                           state
//
// Whose turn it is takes the next piece of the tensor and the next words, in this order, under a lock. Piece 7 has the same words whoever takes it, so the numbers are the same for any number of threads, and behind the last piece the state is the one that a thread alone would have left. Nobody waits at the
// end of each piece, so a thread that the system stops while it makes numbers holds up the others only at the end of all; in its turn it would, but turns are short. A million numbers of `rand` take two threads 157 us that way.
//
// The words are still made one after the other, and this limits what threads gain. Where a thread alone makes words for a part `w` of its time, any number of threads is at most `1 / w` times as fast: with AVX-512 about 2.2 times for uniform floats, where making words is nearly half of the work, and about 8 times for normal ones. In `dropout`
// each number takes two words, but the mask is divided and multiplied as well: about 5 times.
//
// The alternative is to jump: to compute the state a million words ahead without those in between. The state is multiplied by a polynomial of degree 19,936 over the bits, so about ten thousand states are added up, which is about as much work as making a million words: it pays for streams that are set up once, not for each tensor.

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

// A lock that is held for some microseconds: a thread that went to sleep for it would wake too late.
class BriefLock {
 public:
  void lock() {
    for (int looks = 1; taken_.exchange(true, std::memory_order_acquire);) {
      for (; taken_.load(std::memory_order_relaxed); ++looks) {
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
        if (looks % kLooks == 0) std::this_thread::yield();  // the thread that holds it may be waiting for this processor
      }
    }
  }
  void unlock() { taken_.store(false, std::memory_order_release); }

 private:
  static constexpr int kLooks = 256;
  std::atomic<bool> taken_ = false;
};

// A generator's words in their order, as they are before tempering. The generator is locked meanwhile, and goes on behind the last word that was taken.
class RawWords {
 public:
  // For `numbers` numbers of `per` words.
  RawWords(std::optional<Generator> generator, std::int64_t numbers, int per)
      : generator_(generator ? *std::move(generator) : default_generator()), lock_(generator_.mutex()), data_(generator_.engine().data()),
        threads_(std::clamp<std::int64_t>(numbers / kWorthAThread, 1, get_num_threads())), together_(drawn_together(numbers, threads_)), room_(together_ * per + 2 * N), buffers_(static_cast<std::size_t>(threads_)) {}
  ~RawWords() {
    if (state_ != data_.state_.data()) std::copy_n(state_, N, data_.state_.data());
    generator_.engine().set_data(data_);
  }
  RawWords(const RawWords&) = delete;
  RawWords& operator=(const RawWords&) = delete;

  std::int64_t threads() const { return threads_; }    // that shall draw
  std::int64_t together() const { return together_; }  // how many numbers each draws at a time

  // The next `count` words, at most those of together() numbers; they stay until thread `own` takes more. REQUIRES: one thread at a time calls this.
  const std::uint32_t* take(std::int64_t own, std::int64_t count);

 private:
  static constexpr std::int64_t N = mt19937_data_pod::N, kWorthAThread = 1 << 14;
  static std::int64_t drawn_together(std::int64_t numbers, std::int64_t threads);
  struct Free {
    void operator()(std::uint32_t* words) const { ::operator delete(words, std::align_val_t{64}); }
  };
  Generator generator_;
  std::lock_guard<std::mutex> lock_;
  mt19937_data_pod data_;
  const std::uint32_t* state_ = data_.state_.data();  // 624 words: later those at the end of the buffer that was filled last
  std::int64_t threads_, together_, room_;
  std::vector<std::unique_ptr<std::uint32_t, Free>> buffers_;  // of each thread: a state, and what follows from it
};

// A thread alone takes so few that their words stay in its nearest cache. Of several each fetches 624 words of state from the cache of another and then makes its own, while the others may have to wait; so it takes many, but no more than let all threads end at about the same time.
std::int64_t RawWords::drawn_together(std::int64_t numbers, std::int64_t threads) {
  if (threads == 1) return std::min<std::int64_t>(numbers, 1 << 12);
  return std::clamp<std::int64_t>(numbers / (4 * threads), 1 << 12, 1 << 15) / 16 * 16;
}

const std::uint32_t* RawWords::take(std::int64_t own, std::int64_t count) {
  auto& buffer = buffers_[static_cast<std::size_t>(own)];
  if (!buffer) buffer.reset(static_cast<std::uint32_t*>(::operator new(static_cast<std::size_t>(room_) * sizeof(std::uint32_t), std::align_val_t{64})));
  std::uint32_t* const words = buffer.get();
  if (state_ != words) std::copy_n(state_, N, words);
  const std::int64_t first = data_.next_, stop = first + count, made = (stop - 1) / N * N;  // up to the state of the last word: new ones are made when they are asked for
  random_table().next_words(words + N, made);
  state_ = words + made;
  data_.next_ = static_cast<std::uint32_t>(stop - made);
  return words + first;
}

// Calls f(place, words, count) for all of `count` numbers at `out`, `per` words for a number, in pieces of whole blocks of 16; on the threads of the pool, which take turns at making the words of their next piece.
template <class T, class F>
void fill_drawn(T* out, std::int64_t count, int per, RawWords& raw, F f) {
  BriefLock turn;
  std::int64_t next = 0;
  kernels::run_tasks(raw.threads(), [&](std::int64_t own) {
    for (;;) {
      std::unique_lock my_turn(turn, std::defer_lock);
      if (raw.threads() > 1) my_turn.lock();
      const std::int64_t first = next, numbers = std::min(raw.together(), count - first);
      if (numbers == 0) return;
      const std::uint32_t* const words = raw.take(own, numbers * per);
      next += numbers;
      if (my_turn) my_turn.unlock();
      f(out + first, words, numbers);
    }
  });
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
    raw.take(0, (self.numel() - whole) * per);
    draw(self.data<T>() + self.numel() - 16, raw.take(0, 16 * per), 16);
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

// The chance is one of the numbers that are drawn, which is not below it, or the next double.
TEST_CASE("random numbers: a Bernoulli number is 1 where the uniform one is below the chance, exactly") {
  const Tensor u = drawn(1000, kDouble, [](const Tensor& x, const Generator& g) { uniform_(x, 0, 1, g); }).first;
  for_each_capability([&] {
    for (const std::int64_t place : {0, 17, 999}) {
      const double at = u[place].item<double>();
      for (const double p : {at, std::nextafter(at, 1.0), 0.0, 1e-300, 0x1p-53, 1 - 0x1p-53, 1.0}) {
        CAPTURE(p);
        for (const ScalarType type : {kFloat, kDouble}) CHECK(equal(drawn(1000, type, [p](const Tensor& x, const Generator& g) { bernoulli_(x, p, g); }).first, u.lt(p).to(type)));
      }
    }
  });
}

// 2^15 numbers are the first that two threads share, in pieces of 2^12; a million has pieces of other sizes for 1, 2, 3 and 9 threads.
TEST_CASE("random numbers: the same with any number of threads, and the same state behind them") {
  const auto uniform = [](const Tensor& x, const Generator& g) { uniform_(x, 0, 1, g); };
  const auto chance = [](const Tensor& x, const Generator& g) { bernoulli_(x, 0.3, g); };
  const auto chances = [](const Tensor& x, const Generator& g) { bernoulli_(x, arange(x.numel(), kLong).remainder(101).to(x.scalar_type()) / 100, g); };
  const auto bell = [](const Tensor& x, const Generator& g) { normal_(x, 0, 1, g); };
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const std::int64_t count : {(1 << 15) - 1, 1 << 15, (1 << 15) + 1, 9 << 12, 52 * 624 - 5, 52 * 624 - 4, 100'001, 1 << 20}) {
      CAPTURE(type);
      CAPTURE(count);
      const auto check = [&](auto fill) {
        ThreadsGuard guard(1);
        const auto [expected, expected_state] = drawn(count, type, fill);
        for (const int threads : {2, 3, 9}) {
          CAPTURE(threads);
          set_num_threads(threads);
          const auto [got, state] = drawn(count, type, fill);
          CHECK(equal(got, expected));
          CHECK_EQ(state, expected_state);
        }
      };
      check(uniform);
      check(chance);
      check(chances);
      check(bell);
    }
  }
}

TEST_CASE("random numbers: a thousand, five and a million are those of one draw") {
  for (const int threads : {1, 2, 9}) {
    CAPTURE(threads);
    const ThreadsGuard guard(threads);
    const auto check = [](std::int64_t few, auto fill) {
      const std::int64_t many = 1'000'000;
      const auto [together, state] = drawn(992 + few + many, kFloat, fill);
      const auto [apart, state_apart] = drawn(992 + few + many, kFloat, [&](const Tensor& x, const Generator& g) {
        fill(x.slice(0, 0, 992), g);
        fill(x.slice(0, 992, 992 + few), g);
        fill(x.slice(0, 992 + few), g);
      });
      CHECK(equal(apart, together));
      CHECK_EQ(state_apart, state);
    };
    check(5, [](const Tensor& x, const Generator& g) { uniform_(x, 0, 1, g); });
    check(5, [](const Tensor& x, const Generator& g) { bernoulli_(x, 0.3, g); });
    check(528, [](const Tensor& x, const Generator& g) { normal_(x, 0, 1, g); });  // whole blocks of 16
  }
}

TEST_CASE("random numbers: drawn inside of a parallel call, and by threads that share a generator") {
  const auto uniform = [](const Tensor& x, const Generator& g) { uniform_(x, 0, 1, g); };
  const ThreadsGuard guard(3);
  const auto [expected, expected_state] = drawn(100'000, kFloat, uniform);
  std::vector<Tensor> got(8);
  kernels::run_tasks(8, [&](std::int64_t i) { got[static_cast<std::size_t>(i)] = drawn(100'000, kFloat, uniform).first; });
  for (const Tensor& each : got) CHECK(equal(each, expected));

  // Who is first is open, but each number is drawn once.
  Generator generator(3);
  const Tensor both = empty({2, 200'000}, kDouble), once = empty({400'000}, kDouble);
  std::thread other([&] { uniform_(both[0], 0, 1, generator); });
  uniform_(both[1], 0, 1, generator);
  other.join();
  uniform_(once, 0, 1, Generator(3));
  CHECK(equal(std::get<0>(both.reshape({-1}).sort()), std::get<0>(once.sort())));
}

// %% [markdown]
// ## What it gains
//
// Bytes for each second, of tuned kernels with one thread and with all, and of the reference, which has one; `clone` and `dropout` read as many bytes as they write. A copy of the same size shows what memory can do.

// %%
DEMO("random numbers beside the reference, 16 MB") {
  const int all = get_num_threads();
  const ThreadsGuard guard(1);
  const Tensor x = rand({1 << 22});
  const auto line = [all](const char* name, double bytes, auto f) {
    const double one = measure(f, {.samples = 5}).minimum;
    set_num_threads(all);
    const double many = measure(f, {.samples = 5}).minimum;
    set_num_threads(1);
    const kernels::ReferenceKernelsGuard reference_kernels;
    const double reference = measure(f, {.samples = 3}).minimum;
    std::printf("%-12s one thread %7.2f GB/s, %d threads %7.2f GB/s, reference %7.2f GB/s\n", name, bytes / one * 1e-9, all, bytes / many * 1e-9, bytes / reference * 1e-9);
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
// **PyTorch** draws random numbers one at a time under a lock (`aten/src/ATen/native/cpu/DistributionTemplates.h`), on one thread however many there are; only normal ones are turned into vectors, sixteen at a time (`normal_fill_AVX2`). What this costs: a million uniform numbers take it 3 to 6 ms on the machines of [docs/performance.md](../../docs/performance.md),
// with sixteen threads no less than with one; this chapter takes a ninth to a twelfth of that. On GPUs it has a counter-based generator, Philox, in which any number is computed from a key and its place, so that each of many thousand threads begins anywhere, and the state is a seed and an offset; the numbers for a seed are others than on the CPU.
// **TensorFlow** has Philox too. **JAX**'s is Threefry, counter-based as well, and a program hands its state on as a value.
//
//     mt19937    word k from words k - 624, k - 623 and k - 227       a state of 2.5 KB; vectors of words, one after the other
//     Philox     word k from the key and k                            no state; any word, any thread
//
// ## Where to read on
//
// - *Mersenne Twister* (Matsumoto and Nishimura, 1998); Saito and Matsumoto's *SIMD-oriented Fast Mersenne Twister* (2008) is a generator whose rule was chosen for vectors.
// - *Parallel Random Numbers: As Easy as 1, 2, 3* (Salmon and others, 2011), for Philox and Threefry.
// - *A Note on the Generation of Random Normal Deviates* (Box and Muller, 1958): two pages.

// %%
}  // namespace tinytorch
