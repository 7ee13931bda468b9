// From the lesson modules/51_random_kernels/random_kernels_dev.cpp:
// edit the module, not this file.

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

namespace tinytorch {

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

void register_random_kernels() {
  op::uniform_.set(Layer::TunedCPU, uniform_tuned);
  op::normal_.set(Layer::TunedCPU, normal_tuned);
  op::bernoulli_.set(Layer::TunedCPU, bernoulli_tuned);
  op::bernoulli_tensor_.set(Layer::TunedCPU, bernoulli_tensor_tuned);
}

}  // namespace tinytorch
