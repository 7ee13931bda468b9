// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Module 00: Setup
//
// PLACEHOLDER-OPENING

// %%
//| export core/error.h
#include <atomic>
#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>
//| export core/error.cpp
#include <iostream>
//| export core/generator.h
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
//| export core/generator.cpp
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <numbers>
#include <sstream>
#include "tinytorch/core/error.h"
//| export core/utils.h
#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>
//| export core/utils.cpp
#include <sys/resource.h>
#include <sys/utsname.h>
#include <algorithm>
#include <bit>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <sstream>
#include <thread>
#include "tinytorch/core/error.h"

// %%
#include "tito/lesson.h"
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <random>
#include <set>
#include <thread>

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### Errors that say what to do

// %%
//| export core/error.h
// Where in the source something happened.
struct SourceLocation {
  const char* function;
  const char* file;
  uint32_t line;
};

std::ostream& operator<<(std::ostream& out, const SourceLocation& location);

// Thrown by an exercise that has not been written yet. Not an Error: a program that handles errors must not take a missing
// body for one.
class NotImplemented : public std::exception {
 public:
  explicit NotImplemented(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// %% {"nbgrader": {"grade": false, "grade_id": "00-str", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/error.h
// The arguments written one after the other with operator<<, as one string; "" without arguments.
//
// TODO: Stream all arguments into one string.
template <class... Args>
std::string str(const Args&... args) {
  // BEGIN SOLUTION
  std::ostringstream out;
  (void)(out << ... << args);
  return out.str();
  // END SOLUTION
}

// %%
//| export core/error.h
// The base of all errors that the framework throws.
// what() is the whole text with the place in the source; what_without_backtrace() is the message for a user.
class Error : public std::exception {
 public:
  Error(std::string msg, std::string backtrace = "");
  Error(SourceLocation source_location, std::string msg);

  // Adds a line that says what was going on ("while loading layer 3"). Pointers from what() become invalid.
  void add_context(std::string msg);

  const std::string& msg() const { return msg_; }
  const std::vector<std::string>& context() const { return context_; }
  const std::string& backtrace() const { return backtrace_; }

  const char* what() const noexcept override { return what_.c_str(); }
  virtual const char* what_without_backtrace() const noexcept { return what_without_backtrace_.c_str(); }

 private:
  void refresh_what();
  std::string compute_what(bool include_backtrace) const;

  std::string msg_;
  std::vector<std::string> context_;
  std::string backtrace_;
  std::string what_;
  std::string what_without_backtrace_;
};

// An index is outside its range.
class IndexError : public Error {
 public:
  using Error::Error;
};

// The type is right, but not the value.
class ValueError : public Error {
 public:
  using Error::Error;
};

// The type (dtype, kind of object) is wrong.
class TypeError : public Error {
 public:
  using Error::Error;
};

// The request makes sense, but nobody has written it.
class NotImplementedError : public Error {
 public:
  using Error::Error;
};

// %%
//| export core/error.cpp
std::ostream& operator<<(std::ostream& out, const SourceLocation& location) {
  return out << location.function << " at " << location.file << ":" << location.line;
}

Error::Error(std::string msg, std::string backtrace) : msg_(std::move(msg)), backtrace_(std::move(backtrace)) {
  refresh_what();
}

Error::Error(SourceLocation source_location, std::string msg)
    : Error(std::move(msg), str("Exception raised from ", source_location)) {}

void Error::add_context(std::string msg) {
  context_.push_back(std::move(msg));
  refresh_what();
}

void Error::refresh_what() {
  what_ = compute_what(/*include_backtrace=*/true);
  what_without_backtrace_ = compute_what(/*include_backtrace=*/false);
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-compute-what", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/error.cpp
// The message, then the context, then (if asked for and there is one) the backtrace on a line of its own.
// One context entry follows on the same line in parentheses; several stand on lines of their own, indented by two.
//
// TODO: Put message, context and backtrace together.
std::string Error::compute_what(bool include_backtrace) const {
  // BEGIN SOLUTION
  std::string text = msg_;
  if (context_.size() == 1) {
    text += " (" + context_[0] + ")";
  } else {
    for (const std::string& line : context_) text += "\n  " + line;
  }
  if (include_backtrace && !backtrace_.empty()) text += "\n" + backtrace_;
  return text;
  // END SOLUTION
}

// %%
//| export core/error.h
namespace detail {

// The failing side of every check. Never inlined and marked cold, so that the passing side is one compare and one branch.
template <class E, class... Args>
[[noreturn, gnu::cold, gnu::noinline]] void fail_check(SourceLocation where, const char* condition, const Args&... args) {
  if constexpr (sizeof...(args) == 0) {
    throw E(where, str("Expected ", condition, " to be true, but got false."));
  } else {
    throw E(where, str(args...));
  }
}

template <class... Args>
[[noreturn, gnu::cold, gnu::noinline]] void fail_internal_assert(SourceLocation where, const char* condition,
                                                                 const Args&... args) {
  throw Error(where, str(condition, " INTERNAL ASSERT FAILED at \"", where.file, "\":", where.line,
                         ", please report a bug to TinyTorch. ", args...));
}

}  // namespace detail

#define TINYTORCH_HERE \
  ::tinytorch::SourceLocation { __func__, __FILE__, static_cast<uint32_t>(__LINE__) }

// Throws `error` unless `cond` holds. The arguments after it make the message; they are evaluated only on failure.
#define TORCH_CHECK_WITH(error, cond, ...)                                                           \
  if (!(cond)) [[unlikely]] {                                                                        \
    ::tinytorch::detail::fail_check<::tinytorch::error>(TINYTORCH_HERE, #cond __VA_OPT__(, ) __VA_ARGS__); \
  }

// For what a caller may get wrong.
#define TORCH_CHECK(cond, ...) TORCH_CHECK_WITH(Error, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_INDEX(cond, ...) TORCH_CHECK_WITH(IndexError, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_VALUE(cond, ...) TORCH_CHECK_WITH(ValueError, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_TYPE(cond, ...) TORCH_CHECK_WITH(TypeError, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_NOT_IMPLEMENTED(cond, ...) TORCH_CHECK_WITH(NotImplementedError, cond __VA_OPT__(, ) __VA_ARGS__)

// For what only a mistake in the framework itself can break.
#define TORCH_INTERNAL_ASSERT(cond, ...)                                                         \
  if (!(cond)) [[unlikely]] {                                                                    \
    ::tinytorch::detail::fail_internal_assert(TINYTORCH_HERE, #cond __VA_OPT__(, ) __VA_ARGS__); \
  }

// The same, compiled in debug builds only: for places where even one branch is too much.
#ifdef NDEBUG
#define TORCH_INTERNAL_ASSERT_DEBUG_ONLY(...) \
  while (false) TORCH_INTERNAL_ASSERT(__VA_ARGS__)
#else
#define TORCH_INTERNAL_ASSERT_DEBUG_ONLY(...) TORCH_INTERNAL_ASSERT(__VA_ARGS__)
#endif

// %%
//| export core/error.h
// Something that a user should know, though the program goes on.
class Warning {
 public:
  class UserWarning {};
  class DeprecationWarning {};
  using warning_variant_t = std::variant<UserWarning, DeprecationWarning>;

  Warning(warning_variant_t type, const SourceLocation& source_location, std::string msg, bool verbatim = false)
      : type_(type), source_location_(source_location), msg_(std::move(msg)), verbatim_(verbatim) {}

  warning_variant_t type() const { return type_; }
  const SourceLocation& source_location() const { return source_location_; }
  const std::string& msg() const { return msg_; }
  bool verbatim() const { return verbatim_; }

 private:
  warning_variant_t type_;
  SourceLocation source_location_;
  std::string msg_;
  bool verbatim_;
};

using UserWarning = Warning::UserWarning;
using DeprecationWarning = Warning::DeprecationWarning;

// Receives warnings. This one prints to stderr; a program derives its own and installs it.
class WarningHandler {
 public:
  virtual ~WarningHandler() = default;
  virtual void process(const Warning& warning);
};

namespace WarningUtils {

// Installs `handler` for the calling thread; nullptr brings the printing one back. The caller keeps it alive.
void set_warning_handler(WarningHandler* handler) noexcept;
WarningHandler* get_warning_handler() noexcept;

// Installs a handler and puts the previous one back at the end of the scope.
class WarningHandlerGuard {
 public:
  explicit WarningHandlerGuard(WarningHandler* new_handler) : previous_(get_warning_handler()) {
    set_warning_handler(new_handler);
  }
  ~WarningHandlerGuard() { set_warning_handler(previous_); }
  WarningHandlerGuard(const WarningHandlerGuard&) = delete;
  WarningHandlerGuard& operator=(const WarningHandlerGuard&) = delete;

 private:
  WarningHandler* previous_;
};

// With true, TORCH_WARN_ONCE warns every time.
void set_warnAlways(bool setting) noexcept;
bool get_warnAlways() noexcept;

}  // namespace WarningUtils

// Hands `warning` to the handler of the calling thread.
void warn(const Warning& warning);

#define TORCH_WARN(...) \
  ::tinytorch::warn(::tinytorch::Warning(::tinytorch::UserWarning(), TINYTORCH_HERE, ::tinytorch::str(__VA_ARGS__)))

#define TORCH_WARN_DEPRECATION(...) \
  ::tinytorch::warn(::tinytorch::Warning(::tinytorch::DeprecationWarning(), TINYTORCH_HERE, ::tinytorch::str(__VA_ARGS__)))

// Warns the first time that this line is reached.
#define TORCH_WARN_ONCE(...)                                   \
  do {                                                         \
    static std::atomic<bool> torch_warned_once{false};         \
    if (!torch_warned_once.exchange(true) || ::tinytorch::WarningUtils::get_warnAlways()) TORCH_WARN(__VA_ARGS__); \
  } while (false)

// %%
//| export core/error.cpp
namespace {

thread_local WarningHandler* current_handler = nullptr;
std::atomic<bool> warn_always{false};

WarningHandler& printing_handler() {
  static WarningHandler handler;
  return handler;
}

}  // namespace

void WarningHandler::process(const Warning& warning) {
  const SourceLocation& where = warning.source_location();
  const bool deprecation = std::holds_alternative<DeprecationWarning>(warning.type());
  std::cerr << str("[W ", where.file, ":", where.line, "] ", deprecation ? "DeprecationWarning: " : "Warning: ",
                   warning.msg(), " (function ", where.function, ")\n");
}

void WarningUtils::set_warning_handler(WarningHandler* handler) noexcept { current_handler = handler; }

WarningHandler* WarningUtils::get_warning_handler() noexcept {
  return current_handler != nullptr ? current_handler : &printing_handler();
}

void WarningUtils::set_warnAlways(bool setting) noexcept { warn_always = setting; }

bool WarningUtils::get_warnAlways() noexcept { return warn_always; }

void warn(const Warning& warning) { WarningUtils::get_warning_handler()->process(warning); }

// %% [markdown]
// ### Random numbers that come back

// %%
//| export core/generator.h
// The seed of a Generator that nobody seeded; PyTorch's.
inline constexpr uint64_t default_rng_seed_val = 67280421310721;

// Everything that an mt19937 engine remembers.
struct mt19937_data_pod {
  static constexpr int N = 624;  // words of state
  static constexpr int M = 397;  // distance to the word that is mixed in

  uint64_t seed_ = 0;
  uint32_t next_ = N;  // the next word to hand out; N: all used
  std::array<uint32_t, N> state_{};
};

// %% {"nbgrader": {"grade": false, "grade_id": "00-temper", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.h
// Spreads the bits of one word of state. A bijection of the 32 bit numbers.
//
// TODO: Four shifts, each xored into y.
inline uint32_t mt19937_temper(uint32_t y) {
  // BEGIN SOLUTION
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  y ^= y >> 18;
  return y;
  // END SOLUTION
}

// %%
//| export core/generator.h
// Matsumoto and Nishimura's Mersenne Twister, 1998: 32 random bits a call, period 2^19937 - 1.
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

// %% {"nbgrader": {"grade": false, "grade_id": "00-mt-seed", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// Fills the state from the low 32 bits of `seed`; remembers all 64 of them. The first draw makes a fresh block.
//
// TODO: Fill state_ by the recurrence and mark all words as used.
void mt19937::init_with_uint32(uint64_t seed) {
  // BEGIN SOLUTION
  data_.seed_ = seed;
  data_.next_ = mt19937_data_pod::N;
  auto& x = data_.state_;
  x[0] = static_cast<uint32_t>(seed);
  for (uint32_t j = 1; j < mt19937_data_pod::N; ++j) {
    x[j] = 1812433253u * (x[j - 1] ^ (x[j - 1] >> 30)) + j;
  }
  // END SOLUTION
}

// %%
//| export core/generator.cpp
namespace {

// The top bit of u and the other 31 of v, shifted down by one, and xored with a constant when the bit that fell out was 1.
uint32_t twist(uint32_t u, uint32_t v) {
  const uint32_t mixed = (u & 0x80000000u) | (v & 0x7fffffffu);
  return (mixed >> 1) ^ ((v & 1u) != 0 ? 0x9908b0dfu : 0u);
}

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "00-mt-next-state", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// Replaces all words of state by the next ones, in place, and marks them as unused.
//
// TODO: Compute the next 624 words in place.
void mt19937::next_state() {
  // BEGIN SOLUTION
  constexpr int N = mt19937_data_pod::N;
  constexpr int M = mt19937_data_pod::M;
  auto& x = data_.state_;
  for (int k = 0; k < N - M; ++k) x[k] = x[k + M] ^ twist(x[k], x[k + 1]);
  for (int k = N - M; k < N - 1; ++k) x[k] = x[k + M - N] ^ twist(x[k], x[k + 1]);
  x[N - 1] = x[M - 1] ^ twist(x[N - 1], x[0]);
  data_.next_ = 0;
  // END SOLUTION
}

// %%
//| export core/generator.cpp
// An index in range, and not the one state that never leaves itself: all zero (but for 31 bits that are never used).
bool mt19937::is_valid() const {
  const auto& x = data_.state_;
  const bool stuck = (x[0] & 0x80000000u) == 0 && std::all_of(x.begin() + 1, x.end(), [](uint32_t w) { return w == 0; });
  return data_.next_ <= mt19937_data_pod::N && !stuck;
}

// %%
//| export core/generator.h
// A stream of random numbers: a cheap handle, whose copies share one stream. Gives PyTorch's CPU numbers for the same seed.
// Not thread-safe: hold mutex() while drawing from a generator that several threads use.
class Generator {
 public:
  explicit Generator(uint64_t seed = default_rng_seed_val) : impl_(std::make_shared<Impl>(seed)) {}

  void set_current_seed(uint64_t seed);
  uint64_t current_seed() const { return impl_->engine.seed(); }

  uint32_t random() { return impl_->engine(); }  // 32 random bits
  uint64_t random64();                           // 64 random bits from two draws, the first one the high half
  float uniform_float();                         // [0, 1), from 24 bits
  double uniform_double();                       // [0, 1), from 53 bits of random64
  double normal_double();                        // mean 0, standard deviation 1

  // The whole state as text, for checkpoints: set_state(state()) continues the stream exactly.
  std::string state() const;
  // Throws, and changes nothing, when `text` is not what state() writes.
  void set_state(std::string_view text);

  // A stream of its own that goes on from the same point.
  Generator clone() const;

  std::mutex& mutex() const { return impl_->mutex; }
  friend bool operator==(const Generator& a, const Generator& b) { return a.impl_ == b.impl_; }

 private:
  struct Impl {
    explicit Impl(uint64_t seed) : engine(seed) {}
    mt19937 engine;
    std::optional<double> next_normal;  // Box-Muller makes two; the second waits here
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

// %% {"nbgrader": {"grade": false, "grade_id": "00-random64", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.h
// TODO: Join two draws.
inline uint64_t Generator::random64() {
  // BEGIN SOLUTION
  const uint64_t high = random();
  const uint64_t low = random();
  return (high << 32) | low;
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-uniform-float", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.h
// TODO: Keep 24 bits and scale them.
inline float Generator::uniform_float() {
  // BEGIN SOLUTION
  constexpr uint32_t mask = (1u << 24) - 1;
  constexpr float scale = 1.0f / (1u << 24);
  return static_cast<float>(random() & mask) * scale;
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-uniform-double", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.h
// TODO: Keep 53 bits and scale them.
inline double Generator::uniform_double() {
  // BEGIN SOLUTION
  constexpr uint64_t mask = (uint64_t{1} << 53) - 1;
  constexpr double scale = 1.0 / static_cast<double>(uint64_t{1} << 53);
  return static_cast<double>(random64() & mask) * scale;
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-normal", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// TODO: Box-Muller.
double Generator::normal_double() {
  // BEGIN SOLUTION
  std::optional<double>& waiting = impl_->next_normal;
  if (waiting) return *std::exchange(waiting, std::nullopt);
  const double u1 = uniform_double();
  const double u2 = uniform_double();
  const double r = std::sqrt(-2.0 * std::log1p(-u2));
  const double theta = 2.0 * std::numbers::pi * u1;
  waiting = r * std::sin(theta);
  return r * std::cos(theta);
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-set-seed", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// TODO: Start the stream anew.
void Generator::set_current_seed(uint64_t seed) {
  // BEGIN SOLUTION
  impl_->engine = mt19937(seed);
  impl_->next_normal.reset();
  // END SOLUTION
}

// %%
//| export core/generator.cpp
namespace {

// "mt19937-1 SEED NEXT NORMAL WORDS...": NORMAL is "-" or the bits of the waiting number in hexadecimal, the words too.
constexpr std::string_view state_tag = "mt19937-1";

}  // namespace

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

// %%
//| export core/generator.cpp
namespace {

// Takes fields from the front of a text.
class StateReader {
 public:
  explicit StateReader(std::string_view text) : rest_(text) {}

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
    TORCH_CHECK_VALUE(error == std::errc() && end == text.data() + text.size(), "Invalid mt19937 state\n[set_state] ", what,
                      " is '", text, "', not a number in range; the text must be what state() returned");
    return value;
  }

  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "00-set-state", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// TODO: Read everything, check everything, then change the generator.
void Generator::set_state(std::string_view text) {
  // BEGIN SOLUTION
  StateReader reader(text);
  const std::string_view tag = reader.field("the tag");
  TORCH_CHECK_VALUE(tag == state_tag, "Invalid mt19937 state\n[set_state] it begins with '", tag.substr(0, 20),
                    "', not with '", state_tag, "'; was it written by Generator::state()?");

  mt19937_data_pod data;
  data.seed_ = reader.number<uint64_t>("the seed", 10);
  data.next_ = reader.number<uint32_t>("the position", 10);
  std::optional<double> normal;
  StateReader ahead = reader;
  if (ahead.field("the waiting normal number") == "-") {
    reader = ahead;
  } else {
    normal = std::bit_cast<double>(reader.number<uint64_t>("the waiting normal number", 16));
  }
  for (uint32_t& word : data.state_) word = reader.number<uint32_t>("a word of state", 16);
  TORCH_CHECK_VALUE(reader.done(), "Invalid mt19937 state\n[set_state] something follows after the last of ",
                    mt19937_data_pod::N, " words");

  mt19937 engine;
  engine.set_data(data);
  TORCH_CHECK_VALUE(engine.is_valid(), "Invalid mt19937 state\n[set_state] the position is ", data.next_,
                    " (at most ", mt19937_data_pod::N, " is possible), or all words are zero");
  impl_->engine = engine;
  impl_->next_normal = normal;
  // END SOLUTION
}

// %%
//| export core/generator.cpp
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

// %% [markdown]
// ### The machine

// %%
//| export core/utils.h
// The integers of [begin, end), for a range-based for loop; empty when end <= begin.
template <class Integer>
class IntegerRange {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Integer;
    using difference_type = std::ptrdiff_t;
    using pointer = const Integer*;
    using reference = Integer;

    explicit iterator(Integer value) : value_(value) {}
    Integer operator*() const { return value_; }
    iterator& operator++() {
      ++value_;
      return *this;
    }
    iterator operator++(int) { return iterator(value_++); }
    bool operator==(const iterator&) const = default;

   private:
    Integer value_;
  };

  IntegerRange(Integer begin, Integer end) : begin_(begin), end_(end < begin ? begin : end) {}
  iterator begin() const { return iterator(begin_); }
  iterator end() const { return iterator(end_); }

 private:
  Integer begin_;
  Integer end_;
};

// irange(begin, end) counts from begin to end - 1 in the type of end, irange(end) from 0.
template <class Begin, class End>
  requires std::is_integral_v<Begin> && std::is_integral_v<End>
IntegerRange<End> irange(Begin begin, End end) {
  return {static_cast<End>(begin), end};
}

template <class End>
  requires std::is_integral_v<End>
IntegerRange<End> irange(End end) {
  return {End{0}, end};
}

// %%
//| export core/utils.h
struct CacheInfo {
  int level = 0;
  int64_t bytes = 0;
};

// What a result was measured on. Unknown strings are empty, unknown numbers 0.
struct SystemInfo {
  std::string os;
  std::string compiler;
  std::string standard;
  bool optimized = false;  // the library was compiled with optimization
  std::string cpu_model;
  int cores = 0;  // logical
  int64_t memory_bytes = 0;
  int64_t cache_line_bytes = 0;
  std::vector<CacheInfo> caches;  // data and unified caches, nearest first
  std::vector<std::string> simd;  // what the CPU supports, not what the code was compiled for
};

SystemInfo system_info();
std::ostream& operator<<(std::ostream& out, const SystemInfo& info);

// The value after "key :" on the first line of `text` that has this key; empty if there is none.
// This is how /proc/cpuinfo, /proc/meminfo and /proc/self/status are written.
std::string_view value_of_key(std::string_view text, std::string_view key);

// "32K", "8192 kB", "16M" or "123" as a number of bytes. Throws ValueError for anything else.
int64_t parse_bytes(std::string_view text);

// 1536 as "1.5 KiB".
std::string format_bytes(int64_t bytes);

// Memory of this process that is in RAM now, and the most there ever was.
int64_t resident_bytes();
int64_t peak_resident_bytes();

// %% {"nbgrader": {"grade": false, "grade_id": "00-value-of-key", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// TODO: Find the line and return what stands after its colon.
std::string_view value_of_key(std::string_view text, std::string_view key) {
  // BEGIN SOLUTION
  const auto trim = [](std::string_view s) {
    const size_t first = s.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return std::string_view();
    return s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key) return trim(line.substr(colon + 1));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return {};
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-parse-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// TODO: A number, then perhaps a unit.
int64_t parse_bytes(std::string_view text) {
  // BEGIN SOLUTION
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  std::erase(unit, ' ');
  int64_t scale = 0;
  if (unit.empty() || unit == "B") scale = 1;
  if (unit == "K" || unit == "kB" || unit == "KiB") scale = int64_t{1} << 10;
  if (unit == "M" || unit == "MB" || unit == "MiB") scale = int64_t{1} << 20;
  if (unit == "G" || unit == "GB" || unit == "GiB") scale = int64_t{1} << 30;
  TORCH_CHECK_VALUE(error == std::errc() && scale != 0 && value >= 0, "'", text, "' is not a number of bytes\n",
                    "[parse_bytes] expected digits and perhaps a unit: B, K, kB, M or G, as in 32K");
  return value * scale;
  // END SOLUTION
}

// %%
//| export core/utils.cpp
std::string format_bytes(int64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  std::ostringstream out;
  out.precision(std::abs(value) >= 100 || unit == 0 ? 0 : 1);
  out << std::fixed << value << ' ' << units[unit];
  return out.str();
}

namespace {

// The whole file, or "" if it cannot be read. For the small files in /proc and /sys, which may be missing.
std::string read_if_there(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int64_t bytes_or_zero(std::string_view text) { return text.empty() ? 0 : parse_bytes(text); }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

int64_t resident_bytes() { return bytes_or_zero(value_of_key(read_if_there("/proc/self/status"), "VmRSS")); }

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return usage.ru_maxrss;
#else
  return int64_t{usage.ru_maxrss} * 1024;
#endif
}

// %%
//| export core/utils.cpp
namespace {

std::string compiler_name() {
#ifdef __clang__
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "g++ " __VERSION__;
#else
  return {};
#endif
}

std::string standard_name() {
  if constexpr (__cplusplus > 202002L) return "C++23 or later";
  return __cplusplus == 202002L ? "C++20" : "before C++20";
}

// The extensions that matter for kernels, in the order in which they came, from the flags of /proc/cpuinfo.
std::vector<std::string> simd_extensions(std::string_view flags) {
  std::vector<std::string> found;
  std::istringstream words{std::string(flags)};
  std::vector<std::string> present{std::istream_iterator<std::string>(words), {}};
  for (const char* name : {"sse2", "sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
                           "amx_tile", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"}) {
    if (std::find(present.begin(), present.end(), name) != present.end()) found.emplace_back(name);
  }
  return found;
}

std::vector<CacheInfo> data_caches() {
  std::vector<CacheInfo> caches;
  const std::string base = "/sys/devices/system/cpu/cpu0/cache/index";
  for (int index = 0;; ++index) {
    const std::string folder = base + std::to_string(index);
    const std::string type = first_line(read_if_there(folder + "/type"));
    if (type.empty()) return caches;
    if (type == "Instruction") continue;
    caches.push_back({std::atoi(read_if_there(folder + "/level").c_str()),
                      bytes_or_zero(first_line(read_if_there(folder + "/size")))});
  }
}

}  // namespace

SystemInfo system_info() {
  SystemInfo info;
  utsname name{};
  if (uname(&name) == 0) info.os = std::string(name.sysname) + " " + name.release + " " + name.machine;
  info.compiler = compiler_name();
  info.standard = standard_name();
#ifdef __OPTIMIZE__
  info.optimized = true;
#endif

  const std::string cpuinfo = read_if_there("/proc/cpuinfo");
  info.cpu_model = value_of_key(cpuinfo, "model name");
  info.cores = static_cast<int>(std::thread::hardware_concurrency());
  info.memory_bytes = bytes_or_zero(value_of_key(read_if_there("/proc/meminfo"), "MemTotal"));
  info.cache_line_bytes =
      bytes_or_zero(first_line(read_if_there("/sys/devices/system/cpu/cpu0/cache/index0/coherency_line_size")));
  info.caches = data_caches();
  const std::string_view x86_flags = value_of_key(cpuinfo, "flags");
  info.simd = simd_extensions(x86_flags.empty() ? value_of_key(cpuinfo, "Features") : x86_flags);
  return info;
}

std::ostream& operator<<(std::ostream& out, const SystemInfo& info) {
  const auto known = [](const std::string& s) { return s.empty() ? std::string("unknown") : s; };
  out << "system    " << known(info.os) << '\n'
      << "compiler  " << known(info.compiler) << ", " << info.standard << (info.optimized ? ", optimized" : ", not optimized")
      << '\n'
      << "cpu       " << known(info.cpu_model) << ", " << info.cores << (info.cores == 1 ? " core\n" : " cores\n")
      << "memory    " << (info.memory_bytes == 0 ? "unknown" : format_bytes(info.memory_bytes)) << '\n'
      << "caches   ";
  for (const CacheInfo& cache : info.caches) out << " L" << cache.level << ' ' << format_bytes(cache.bytes);
  if (info.caches.empty()) out << " unknown";
  if (info.cache_line_bytes != 0) out << ", lines of " << info.cache_line_bytes << " bytes";
  out << "\nsimd     ";
  for (const std::string& extension : info.simd) out << ' ' << extension;
  if (info.simd.empty()) out << " unknown";
  return out << '\n';
}

// %% [markdown]
// ### Time

// %%
//| export core/utils.h
// Seconds since it was made or last reset, from a clock that never runs backward.
class Timer {
 public:
  void reset() { start_ = std::chrono::steady_clock::now(); }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Makes the optimizer believe that `value` is read, so that computing it is not removed.
template <class T>
inline void do_not_optimize(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

// The value in the middle; the mean of the two middle ones when the count is even. Throws ValueError if there are none.
double median_of(std::vector<double> values);

struct MeasureOptions {
  int samples = 7;              // measurements, of which the median counts
  double sample_seconds = 1e-3; // each calls the function often enough to take at least this long
};

struct Measurement {
  double median = 0;  // seconds per call
  double minimum = 0;
  double maximum = 0;
  int samples = 0;
  int64_t calls_per_sample = 0;
};

// How long one call of `function` takes. `clock` returns seconds; without one it is a steady clock.
Measurement measure(const std::function<void()>& function, MeasureOptions options = {},
                    const std::function<double()>& clock = {});

// 0.00000153 as "1.53 us".
std::string format_seconds(double seconds);

// %% {"nbgrader": {"grade": false, "grade_id": "00-median", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// TODO: Sort and take the middle.
double median_of(std::vector<double> values) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(!values.empty(), "median of no values\n[median_of] pass at least one value");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-measure", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
//| exercise design
// TODO: Design a measurement that keeps its contract.
Measurement measure(const std::function<void()>& function, MeasureOptions options, const std::function<double()>& clock) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(options.samples >= 1, "measure needs at least one sample, but samples is ", options.samples);
  const Timer timer;
  const std::function<double()> now = clock ? clock : [&timer] { return timer.seconds(); };
  const auto time_of = [&](int64_t calls) {
    const double start = now();
    for (int64_t i = 0; i < calls; ++i) function();
    return now() - start;
  };

  // Warm up, and double the number of calls until a sample is long enough for the clock.
  function();
  constexpr int64_t most_calls = int64_t{1} << 40;
  int64_t calls = 1;
  while (time_of(calls) < options.sample_seconds && calls < most_calls) calls *= 2;

  std::vector<double> seconds;
  for (int i = 0; i < options.samples; ++i) seconds.push_back(time_of(calls) / static_cast<double>(calls));
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return {median_of(seconds), *fastest, *slowest, options.samples, calls};
  // END SOLUTION
}

// %%
//| export core/utils.cpp
std::string format_seconds(double seconds) {
  struct Unit {
    double size;
    const char* name;
  };
  constexpr Unit units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
  const Unit* unit = std::find_if(std::begin(units), std::end(units) - 1, [&](const Unit& u) { return std::abs(seconds) >= u.size; });
  std::ostringstream out;
  const double value = seconds / unit->size;
  out.precision(std::abs(value) < 10 ? 2 : std::abs(value) < 100 ? 1 : 0);
  out << std::fixed << value << ' ' << unit->name;
  return out.str();
}

// %% [markdown]
// ### Numbers from files

// %%
//| export core/utils.h
// Numbers with sizes, in row-major order: values.size() is the product of sizes.
struct NumericArray {
  std::vector<int64_t> sizes;
  std::vector<double> values;
};

// Where a data file of the course lies: in the folder that the variable TINYTORCH_DATA names, or in `data/` here or in a
// folder above. Throws Error with the places where it looked.
std::string find_data(std::string_view name);

// Reads lines of numbers between commas, spaces or tabs as an array {rows, columns}. Empty lines and lines that begin
// with '#' do not count. Throws Error, naming file and line, for anything else than the same number of numbers in each.
NumericArray read_numeric_text(const std::string& path);

// Reads the arrays of a NumPy file: one after the other, as repeated np.save(file, array) writes them.
// Takes f4, f8, i4, i8, u1 and b1 in row-major order. Throws Error, naming the file, if it is anything else, is cut off,
// or does not have `expected_arrays` arrays (-1: any number).
std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays = -1);

// %%
//| export core/utils.cpp
namespace {

std::string read_file(const std::string& path, const char* reader) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  TORCH_CHECK(file.is_open() && !std::filesystem::is_directory(path), "cannot open ", path, ": ",
              errno != 0 ? std::strerror(errno) : "not a file", "\n[", reader,
              "] check the path; a relative one starts at ", std::filesystem::current_path().string());
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  TORCH_CHECK(!file.bad(), "cannot read ", path, "\n[", reader, "] the device failed after ", bytes.size(), " bytes");
  return bytes;
}

}  // namespace

std::string find_data(std::string_view name) {
  std::string looked_in;
  const auto found = [&](const std::filesystem::path& path) {
    std::error_code ignored;
    looked_in += "\n  " + path.string();
    return std::filesystem::exists(path, ignored);
  };
  if (const char* folder = std::getenv("TINYTORCH_DATA")) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    if (found(path)) return path.string();
  }
  std::filesystem::path here = std::filesystem::current_path();
  while (true) {
    const std::filesystem::path path = here / "data" / name;
    if (found(path)) return path.string();
    if (here == here.parent_path()) break;
    here = here.parent_path();
  }
  TORCH_CHECK(false, "cannot find the data file ", name, "\n[find_data] start the program in a folder of the repository, ",
              "or set TINYTORCH_DATA to the folder with the data; looked for", looked_in);
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-read-text", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// TODO: Read line by line, number by number.
NumericArray read_numeric_text(const std::string& path) {
  // BEGIN SOLUTION
  const std::string text = read_file(path, "read_numeric_text");
  NumericArray table{{0, 0}, {}};
  int64_t& rows = table.sizes[0];
  int64_t& columns = table.sizes[1];
  const auto is_gap = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };

  const char* at = text.data();
  const char* const text_end = at + text.size();
  for (int64_t line = 1; at < text_end; ++line) {
    const char* const line_end = std::find(at, text_end, '\n');
    at = std::find_if_not(at, line_end, is_gap);
    int64_t count = 0;
    while (at < line_end && *at != '#') {
      double value = 0;
      const auto [after, error] = std::from_chars(at, line_end, value);
      const bool ends_well = after == line_end || is_gap(*after) || *after == ',';
      TORCH_CHECK(error == std::errc() && ends_well, path, ":", line, ": '", std::string(at, std::find_if(at, line_end, [&](char c) {
                    return c == ',' || is_gap(c);
                  })), "' is not a number\n[read_numeric_text] value ", count + 1, " of the line; only numbers and lines that begin with # may stand in the file");
      table.values.push_back(value);
      ++count;
      at = std::find_if_not(after, line_end, is_gap);
      if (at < line_end && *at == ',') at = std::find_if_not(at + 1, line_end, is_gap);
    }
    if (count > 0) {
      if (rows == 0) columns = count;
      TORCH_CHECK(count == columns, path, ":", line, ": expected ", columns, " values but found ", count,
                  "\n[read_numeric_text] every line must have as many values as the first; a short last line means that the "
                  "file was cut off: fetch it again");
      ++rows;
    }
    at = line_end == text_end ? text_end : line_end + 1;
  }
  TORCH_CHECK(rows > 0, path, ": there are no numbers in it (", text.size(), " bytes)\n[read_numeric_text] fetch the file again");
  return table;
  // END SOLUTION
}

// %%
//| export core/utils.cpp
namespace {

struct NpyHeader {
  std::string descr;  // '<f4': little-endian, float, 4 bytes
  std::vector<int64_t> sizes;
};

// The text between `before` and `after` in `text`; nothing if either is missing.
std::string_view between(std::string_view text, std::string_view before, char after) {
  const size_t start = text.find(before);
  if (start == std::string_view::npos) return {};
  text.remove_prefix(start + before.size());
  const size_t end = text.find(after);
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end);
}

// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (64, 32), }.
NpyHeader parse_npy_header(std::string_view text, const std::string& path) {
  NpyHeader header;
  header.descr = between(text, "'descr': '", '\'');
  TORCH_CHECK(text.find("'fortran_order': False") != std::string_view::npos, path,
              ": the array is not in row-major order\n[read_npy] save np.ascontiguousarray(array)");
  const std::string_view shape = between(text, "'shape': (", ')');
  TORCH_CHECK(!header.descr.empty() && (!shape.empty() || text.find("'shape': ()") != std::string_view::npos), path,
              ": the header has no descr or no shape\n[read_npy] was it written by np.save?");
  std::istringstream dimensions{std::string(shape)};
  for (std::string part; std::getline(dimensions, part, ',');) {
    const size_t first = part.find_first_not_of(' ');
    if (first == std::string::npos) continue;
    int64_t size = -1;
    const auto [end, error] = std::from_chars(part.data() + first, part.data() + part.size(), size);
    TORCH_CHECK(error == std::errc() && end == part.data() + part.size() && size >= 0, path, ": the shape (", shape,
                ") is not a list of sizes\n[read_npy] was it written by np.save?");
    header.sizes.push_back(size);
  }
  return header;
}

template <class T>
std::vector<double> converted(const char* bytes, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    values[static_cast<size_t>(i)] = static_cast<double>(value);
  }
  return values;
}

struct NpyType {
  const char* descr;
  int64_t bytes;
  std::vector<double> (*convert)(const char*, int64_t);
};
constexpr NpyType npy_types[] = {{"<f4", 4, converted<float>},   {"<f8", 8, converted<double>}, {"<i4", 4, converted<int32_t>},
                                 {"<i8", 8, converted<int64_t>}, {"|u1", 1, converted<uint8_t>}, {"|b1", 1, converted<uint8_t>}};
static_assert(std::endian::native == std::endian::little, "read_npy copies little-endian numbers as they are");

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "00-read-npy", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// TODO: Take one array after the other, and never believe a number that the file claims.
std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays) {
  // BEGIN SOLUTION
  const std::string bytes = read_file(path, "read_npy");
  std::string_view rest = bytes;
  const auto take = [&](size_t count, const char* what) {
    TORCH_CHECK(rest.size() >= count, path, ": the file ends inside ", what, ": ", count, " bytes are needed, ", rest.size(),
                " are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view taken = rest.substr(0, count);
    rest.remove_prefix(count);
    return taken;
  };
  const auto little_endian = [](std::string_view digits) {
    size_t value = 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
    return value;
  };

  std::vector<NumericArray> arrays;
  while (!rest.empty()) {
    const std::string_view start = take(8, "the magic string");
    TORCH_CHECK(start.substr(0, 6) == "\x93NUMPY", path, ": array ", arrays.size(),
                " does not begin with NumPy's magic string\n[read_npy] only files that np.save wrote can be read");
    const size_t length = little_endian(take(start[6] == 1 ? 2 : 4, "the length of the header"));
    NpyHeader header = parse_npy_header(take(length, "the header"), path);
    const NpyType* type = std::find_if(std::begin(npy_types), std::end(npy_types),
                                       [&](const NpyType& t) { return header.descr == t.descr; });
    TORCH_CHECK(type != std::end(npy_types), path, ": values of type ", header.descr,
                " cannot be read\n[read_npy] save them as float32, float64, int32, int64 or uint8");

    int64_t count = 1;
    for (int64_t size : header.sizes) {
      TORCH_CHECK(!__builtin_mul_overflow(count, size, &count), path, ": the shape is too large for any memory\n[read_npy] ",
                  "the header is damaged: save the file again");
    }
    TORCH_CHECK(count <= static_cast<int64_t>(rest.size()) / type->bytes, path, ": the file ends inside the values of array ",
                arrays.size(), ": its shape asks for ", count, " values, ", static_cast<int64_t>(rest.size()) / type->bytes,
                " are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view data = take(static_cast<size_t>(count * type->bytes), "the values");
    arrays.push_back({std::move(header.sizes), type->convert(data.data(), count)});
  }
  TORCH_CHECK(expected_arrays < 0 || static_cast<int64_t>(arrays.size()) == expected_arrays, path, ": expected ",
              expected_arrays, " arrays but found ", arrays.size(), "\n[read_npy] is it the right file?");
  return arrays;
  // END SOLUTION
}

// %%
}  // namespace tinytorch
