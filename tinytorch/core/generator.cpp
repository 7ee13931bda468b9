// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/generator.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <numbers>
#include <sstream>
#include <utility>

#include "tinytorch/core/error.h"

namespace tinytorch {

// Fills state_ from the low 32 bits of `seed` and remembers all 64 in seed_. No word may be handed out before next_state() has run: the block counts as used up. O(624).
void mt19937::init_with_uint32(uint64_t seed) {
  data_.seed_ = seed;
  data_.next_ = mt19937_data_pod::N;
  auto& x = data_.state_;
  x[0] = static_cast<uint32_t>(seed);
  for (uint32_t j = 1; j < mt19937_data_pod::N; ++j) {
    x[j] = 1812433253u * (x[j - 1] ^ (x[j - 1] >> 30)) + j;
  }
}

namespace {

// The top bit of u and the other 31 of v, shifted down by one; xored with a constant when the bit that fell out was 1.
uint32_t twist(uint32_t u, uint32_t v) {
  const uint32_t joined = (u & 0x80000000u) | (v & 0x7fffffffu);
  return (joined >> 1) ^ ((v & 1u) != 0 ? 0x9908b0dfu : 0u);
}

}  // namespace

// Replaces all words of state_ by the next 624, in place, and marks them as unused (next_ = 0). O(624), no memory.
void mt19937::next_state() {
  constexpr int N = mt19937_data_pod::N;
  constexpr int M = mt19937_data_pod::M;
  auto& x = data_.state_;
  for (int k = 0; k < N - M; ++k) x[k] = x[k + M] ^ twist(x[k], x[k + 1]);
  for (int k = N - M; k < N - 1; ++k) x[k] = x[k + M - N] ^ twist(x[k], x[k + 1]);
  x[N - 1] = x[M - 1] ^ twist(x[N - 1], x[0]);
  data_.next_ = 0;
}

// An index in range, and not the one state that never leaves itself: all bits zero, but for 31 that are never used.
bool mt19937::is_valid() const {
  const auto& x = data_.state_;
  const auto is_zero = [](uint32_t word) { return word == 0; };
  const bool stuck = (x[0] & 0x80000000u) == 0 && std::all_of(x.begin() + 1, x.end(), is_zero);
  return data_.next_ <= mt19937_data_pod::N && !stuck;
}

// Starts the stream of `seed` from its beginning, whatever was drawn before.
void Generator::set_current_seed(uint64_t seed) {
  impl_->engine = mt19937(seed);
  impl_->next_normal.reset();
}

// A normal number (mean 0, standard deviation 1) by Box-Muller: r cos t now, r sin t with the next call.
double Generator::normal_double() {
  std::optional<double>& waiting = impl_->next_normal;
  if (waiting) return *std::exchange(waiting, std::nullopt);
  const double u1 = uniform_double();
  const double u2 = uniform_double();
  const double r = std::sqrt(-2.0 * std::log1p(-u2));
  const double t = 2.0 * std::numbers::pi * u1;
  waiting = r * std::sin(t);
  return r * std::cos(t);
}

namespace {

constexpr std::string_view state_tag = "mt19937-1";

}  // namespace

// "TAG SEED POSITION NORMAL WORDS...": NORMAL is "-" or the bits of the waiting number in hexadecimal, as are the words.
std::string Generator::state() const {
  const mt19937_data_pod& data = impl_->engine.data();
  std::ostringstream out;
  out << state_tag << ' ' << data.seed_ << ' ' << data.next_ << ' ' << std::hex;
  if (impl_->next_normal) {
    out << std::bit_cast<uint64_t>(*impl_->next_normal);
  } else {
    out << '-';
  }
  for (uint32_t word : data.state_) out << ' ' << word;
  return out.str();
}

namespace {

// Takes fields from the front of a text.
class StateReader {
 public:
  explicit StateReader(std::string_view text) : rest_(text) {}

  // Everything up to the next space. `what` names the field in errors.
  std::string_view field(std::string_view what) {
    TORCH_CHECK_VALUE(!rest_.empty(), "Invalid mt19937 state\n[set_state] the text ends before ", what,
                      "; it must be the whole text that state() returned");
    const std::string_view result = rest_.substr(0, rest_.find(' '));
    rest_.remove_prefix(std::min(rest_.size(), result.size() + 1));
    return result;
  }

  template <class T>
  T number(std::string_view what, int base) {
    const std::string_view text = field(what);
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    TORCH_CHECK_VALUE(error == std::errc() && end == text.data() + text.size(),
                      "Invalid mt19937 state\n[set_state] ", what, " is '", text.substr(0, 20),
                      "', which is not a number in range; the text must be what ", "state() returned");
    return value;
  }

  bool next_is(char c) const { return !rest_.empty() && rest_.front() == c; }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace

// Takes over the state that state() wrote. Throws ValueError that begins with "Invalid mt19937 state", and changes nothing, if the tag is another one, the text is cut off or
// goes on, a field is not a number in its range, or the state cannot be (is_valid).
void Generator::set_state(std::string_view text) {
  StateReader reader(text);
  const std::string_view tag = reader.field("the tag");
  TORCH_CHECK_VALUE(tag == state_tag, "Invalid mt19937 state\n[set_state] it begins with '",
                    tag.substr(0, 20), "' and not with '", state_tag,
                    "'; was it written by Generator::state()?");

  mt19937_data_pod data;
  data.seed_ = reader.number<uint64_t>("the seed", 10);
  data.next_ = reader.number<uint32_t>("the position", 10);
  std::optional<double> normal;
  if (reader.next_is('-')) {
    reader.field("the waiting number");
  } else {
    normal = std::bit_cast<double>(reader.number<uint64_t>("the waiting number", 16));
  }
  for (uint32_t& word : data.state_) word = reader.number<uint32_t>("the last of the 624 words", 16);
  TORCH_CHECK_VALUE(reader.done(),
                    "Invalid mt19937 state\n[set_state] the text goes on after the last of the 624 words");

  mt19937 engine;
  engine.set_data(data);
  TORCH_CHECK_VALUE(
      engine.is_valid(), "Invalid mt19937 state\n[set_state] the position is ", data.next_,
      " (at most 624 is possible), or all words are zero; the text was changed after state() wrote it");
  impl_->engine = engine;
  impl_->next_normal = normal;
}

Generator::Generator(uint64_t seed) : impl_(std::make_shared<Impl>(seed)) {}

Generator Generator::clone() const {
  Generator copy(current_seed());
  copy.impl_->engine = impl_->engine;
  copy.impl_->next_normal = impl_->next_normal;
  return copy;
}

Generator& default_generator() {
  static Generator generator;
  return generator;
}

void manual_seed(uint64_t seed) {
  Generator& generator = default_generator();
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(seed);
}

}  // namespace tinytorch
