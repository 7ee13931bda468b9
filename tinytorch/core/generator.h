// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace tinytorch {

// The seed of a Generator that nobody seeded; PyTorch's.
inline constexpr uint64_t default_rng_seed_val = 67280421310721;

// Everything that an mt19937 engine remembers.
struct mt19937_data_pod {
  static constexpr int N = 624;  // words of state
  static constexpr int M = 397;  // distance to the word that is mixed in

  uint64_t seed_ = 0;
  uint32_t next_ = N;  // the next word to hand out; N: all are used
  std::array<uint32_t, N> state_{};
};

// Spreads the bits of one word of state: y ^= y >> 11, then y << 7 masked by 0x9d2c5680, then y << 15 masked by 0xefc60000, then y >> 18. A bijection of the 32 bit numbers.
inline uint32_t mt19937_temper(uint32_t y) {
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  y ^= y >> 18;
  return y;
}

// Matsumoto and Nishimura's Mersenne Twister (1998): 32 random bits a call, period 2^19937 - 1.
class mt19937 {
 public:
  explicit mt19937(uint64_t seed = 5489) { init_with_uint32(seed); }

  uint32_t operator()() {
    if (data_.next_ == mt19937_data_pod::N) next_state();
    return mt19937_temper(data_.state_[data_.next_++]);
  }

  uint64_t seed() const { return data_.seed_; }
  const mt19937_data_pod& data() const { return data_; }
  void set_data(const mt19937_data_pod& data) { data_ = data; }
  bool is_valid() const;

 private:
  void init_with_uint32(uint64_t seed);
  void next_state();

  mt19937_data_pod data_;
};

// A stream of random numbers: a cheap handle, whose copies share one stream. Gives PyTorch's CPU numbers for a seed. Not thread-safe: hold mutex() while drawing from a
// generator that several threads use.
class Generator {
 public:
  explicit Generator(uint64_t seed = default_rng_seed_val);

  void set_current_seed(uint64_t seed);
  uint64_t current_seed() const { return impl_->engine.seed(); }

  uint32_t random() { return impl_->engine(); }  // 32 random bits
  uint64_t random64();                           // 64 random bits, from two draws
  float uniform_float();                         // [0, 1), from 24 bits
  double uniform_double();                       // [0, 1), from 53 bits
  double normal_double();                        // mean 0, standard deviation 1

  // The whole state as text, for checkpoints: set_state(state()) continues the stream exactly.
  std::string state() const;
  // Throws ValueError, and changes nothing, when `text` is not what state() writes.
  void set_state(std::string_view text);

  // A stream of its own that goes on from the same point.
  Generator clone() const;

  std::mutex& mutex() const { return impl_->mutex; }
  mt19937& engine() const { return impl_->engine; }  // for kernels that draw many numbers at once
  friend bool operator==(const Generator& a, const Generator& b) { return a.impl_ == b.impl_; }

 private:
  struct Impl {
    explicit Impl(uint64_t seed) : engine(seed) {}
    mt19937 engine;
    std::optional<double> next_normal;  // Box-Muller makes two; the second one waits here
    std::mutex mutex;
  };
  std::shared_ptr<Impl> impl_;
};

// The generator that is used where no other is named.
Generator& default_generator();

// Seeds the default generator.
void manual_seed(uint64_t seed);

namespace detail {
// libtorch's names.
inline Generator createCPUGenerator(uint64_t seed_val = default_rng_seed_val) { return Generator(seed_val); }
inline const Generator& getDefaultCPUGenerator() { return default_generator(); }
}  // namespace detail

// 64 random bits from two draws: the first is the upper half.
inline uint64_t Generator::random64() {
  const uint64_t high = random();
  const uint64_t low = random();
  return (high << 32) | low;
}

// A number from [0, 1) out of the low 24 bits of one draw: a multiple of 2^-24. Never 1.
inline float Generator::uniform_float() {
  constexpr uint32_t mask = (1u << 24) - 1;
  constexpr float scale = 1.0f / (1u << 24);
  return static_cast<float>(random() & mask) * scale;
}

// A number from [0, 1) out of the low 53 bits of random64(): a multiple of 2^-53. Never 1.
inline double Generator::uniform_double() {
  constexpr uint64_t mask = (uint64_t{1} << 53) - 1;
  constexpr double scale = 1.0 / static_cast<double>(uint64_t{1} << 53);
  return static_cast<double>(random64() & mask) * scale;
}

}  // namespace tinytorch
