// From the lesson modules/51_random_kernels/random_kernels_dev.cpp:
// edit the module, not this file.

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

void register_random_kernels() {
  op::uniform_.set(Layer::TunedCPU, uniform_tuned);
  op::normal_.set(Layer::TunedCPU, normal_tuned);
  op::bernoulli_.set(Layer::TunedCPU, bernoulli_tuned);
  op::bernoulli_tensor_.set(Layer::TunedCPU, bernoulli_tensor_tuned);
}

}  // namespace tinytorch
