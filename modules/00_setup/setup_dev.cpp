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
// Before the first tensor exists, a machine-learning framework already needs four things, and every module after this one uses them in almost every function:
//
// 1. **Errors that say what to do.** Most of the time spent with a framework is spent reading its errors.
// 2. **Random numbers that come back.** The same seed must give the same weights (the numbers that a network learns), the same shuffling of the data, the same loss curve
//    (how its error falls), today and after a restart. Ours will be *PyTorch's* numbers, bit for bit.
// 3. **A description of the machine.** Two runs of the same program differ by a factor of ten because of a cache, a compiler flag or a vector extension. A number without the
//    machine it was measured on means little.
// 4. **Measurements that can be trusted**, and readers for numbers that do not trust the file.
//
// This module builds the four, and ends by measuring your own machine: how long a load from each cache takes, what a check costs, and when memory that you asked for becomes
// memory that you have.
//
// **Learning objectives.** After this module you can
//
// - write checks that cost one compare and one branch when they pass, and a whole helpful sentence when they fail;
// - build the Mersenne Twister and turn its bits into uniform and normal numbers as PyTorch does, and say which bits are used;
// - save and restore the state of a random stream, so that a run that was stopped goes on as if it never had been;
// - find out what machine a program runs on, and measure nanoseconds with a clock that only counts microseconds;
// - read files that may be missing, cut off or wrong, and answer with one clear sentence.
//
// **Where this sits.**
//
//     you are here
//         v
//     +----------+     +-----------+     +-------------+     +--------+     +-----------+
//     | 00 setup | --> | 01 tensor | --> | 02, 03, 04  | --> | 05     | --> | 06 07 08  | --> ...
//     | errors   |     | storage,  |     | activations |     | auto-  |     | optimize, |
//     | random   |     | views,    |     | layers      |     | grad   |     | load,     |
//     | machine  |     | dispatch  |     | losses      |     |        |     | train     |
//     +----------+     +-----------+     +-------------+     +--------+     +-----------+
//         exports core/error, core/generator, core/utils
//
// **Prerequisites.** C++: functions, classes, templates that take any type, `std::string` and `std::vector`. No machine learning yet. **Time:** four to five hours.
// **Pattern:** Build, Use, Reflect: you make design decisions here and should be able to defend them.
//
// An exercise is a function whose body is missing. Its contract stands above it, and its test right below. `tito test 00` says which are left; `tito run 00` runs the
// demonstrations, of which the first one works at once.
//
// What begins with `//|`, and the JSON after `// %%`, is for `tito`: `export core/error.h` sends a cell to that file of your framework, `lesson` keeps it in this file. In a
// test, `CHECK_ERROR(expression, "text")` wants an Error whose message contains the text, and `CHECK_CLOSE(a, b, r, t)` wants |a - b| <= t + r |b|. Code that a framework
// needs and nobody has to write stands in *library chapters*, which have numbers from 60 on.

// %%
//| export core/error.h
#include <cstdint>
#include <exception>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>
//| export core/error.cpp
#include <sstream>
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
#include <utility>
#include "tinytorch/core/error.h"
//| export core/utils.h
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>
//| export core/utils.cpp
#include <sys/resource.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include "tinytorch/core/error.h"

// %%
#include "tinytorch/core/system_info.h"
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

// %%
namespace tinytorch {

// %% [markdown]
// Something to look at before anything is built: the images that your networks will learn to read. They are 1,797 digits, written by 13 people, scanned and reduced to 8 x 8
// pixels with 17 shades each, and they ship with the course. Run `tito run 00` and look at a few.
//
//     one line of data/digits/optdigits.csv                    the image
//
//     0,0,5,13,9,1,0,0, 0,0,13,15,10,15,5,0, ..., 0            . . ░ ▓ ▒ . . .
//     \_______________/ \__________________/      |            . . ▓ █ ▒ █ ░ .
//          row 0               row 1            label          . . . . . . . .

// %%
//| lesson
// One row of pixels (0 to 16) as text, two characters each.
inline std::string draw_row(const double* pixels, int width) {
  static constexpr std::array<const char*, 5> shades = {"  ", "░░", "▒▒", "▓▓", "██"};
  std::string row;
  for (int i = 0; i < width; ++i) row += shades[static_cast<size_t>((pixels[i] + 3) / 4)];
  return row;
}

// The digits that ship with the course, looked for here and up to three folders above.
inline std::ifstream open_digits() {
  std::string path = "data/digits/optdigits.csv";
  for (int above = 0; above < 3 && !std::filesystem::exists(path); ++above) path.insert(0, "../");
  return std::ifstream(path);
}

// Images of 8 x 8 beside each other.
inline void draw_digits(const std::vector<const double*>& images) {
  for (int row = 0; row < 8; ++row) {
    for (const double* image : images) std::cout << "  " << draw_row(image + 8 * row, 8);
    std::cout << '\n';
  }
}

// %%
DEMO("what the networks of this course will learn to read") {
  std::ifstream file = open_digits();
  std::vector<std::array<double, 65>> digits(4);
  for (auto& digit : digits) {
    for (double& value : digit) {
      file >> value;
      file.ignore();  // the comma
    }
  }
  draw_digits({digits[0].data(), digits[1].data(), digits[2].data(), digits[3].data()});
  for (const auto& digit : digits) std::cout << "  label " << std::left << std::setw(10) << digit[64];
  std::cout << "\n";
}

// %% [markdown]
// ## Part 1: Foundations
//
// ### An error is a conversation
//
// Somebody multiplies a 2 x 3 matrix by a 4 x 5 one. Three ways to answer:
//
//     Segmentation fault                        the machine noticed, long after the mistake
//
//     assertion failed: a == b                  we noticed, and said nothing that helps
//
//     mat1 and mat2 shapes cannot be            the sentence that PyTorch says, so that what you know
//     multiplied (2x3 and 4x5)                  and what programs look for stays the same
//     [mm] inner sizes 3 and 4 must match;      operator, values, rule,
//     did you mean other.t()?                   next step
//
// Every error of TinyTorch has the third form. Making the text is slow: it formats numbers and allocates strings. That does not matter when a check fails, and must not happen
// when it passes, because a check stands in front of every operator (in this course an operation on tensors, such as the matrix product `mm`; not C++'s `operator+`). So a
// check has two sides, which live in different places:
//
//     TORCH_CHECK(dim < n, "dim ", dim, " is out of range for ", n)
//
//          dim < n ?  --- yes (always, nearly) ---> go on           hot: a compare and a branch
//              |
//              no
//              v
//          fail_check<Error>(where, dim, n)                         cold: out of line, streams the text, throws
//
// The macros and classes have the names that libtorch (PyTorch's C++ frontend) gives them. First come two small types: a place in the source, and what a missing exercise
// throws.

// %%
//| export core/error.h
// Where in the source something happened.
struct SourceLocation {
  const char* function;
  const char* file;
  uint32_t line;
};

std::ostream& operator<<(std::ostream& out, const SourceLocation& location);

// Thrown by an exercise that has not been written yet. Not an Error: a program that handles errors must not take a missing body for one.
class NotImplemented : public std::exception {
 public:
  explicit NotImplemented(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// %% [markdown]
// Messages are put together from pieces of any type: text, numbers, later the shapes and element types of tensors. `operator<<` already knows how to write all of them, and new
// types bring their own, so one small variadic template is enough, and here it is. A *fold expression* `(out << ... << args)` expands to `((out << a) << b) << c`.
//
// What they are written into is a `std::ostringstream`. But every file of the framework includes this header, and would compile `<sstream>` with it. So the header only knows that there is a buffer, and a pointer to it; what the buffer is stands in the source, where it is
// compiled once. C++ calls that *pimpl*, a pointer to the implementation. In a program that includes the whole framework, more than 250 headers, it pays: you will meet the same step again where threads are made.

// %%
//| export core/error.h
namespace detail {
// A text that is written with operator<<.
class TextStream {
 public:
  TextStream();
  ~TextStream();
  TextStream(const TextStream&) = delete;
  TextStream& operator=(const TextStream&) = delete;

  std::ostream& stream();
  std::string text() const;

 private:
  struct Buffer;
  std::unique_ptr<Buffer> buffer_;
};
}  // namespace detail

// The arguments written one directly after the other with operator<<; "" without arguments. Works for every type that has an operator<<. O(length of the result).
template <class... Args>
std::string str(const Args&... args) {
  detail::TextStream out;
  static_cast<void>((out.stream() << ... << args));
  return out.text();
}

// %%
//| export core/error.cpp
struct detail::TextStream::Buffer {
  std::ostringstream stream;
};

detail::TextStream::TextStream() : buffer_(std::make_unique<Buffer>()) {}
detail::TextStream::~TextStream() = default;
std::ostream& detail::TextStream::stream() { return buffer_->stream; }
std::string detail::TextStream::text() const { return buffer_->stream.str(); }

std::ostream& operator<<(std::ostream& out, const SourceLocation& location) {
  return out << location.function << " at " << location.file << ":" << location.line;
}

// %%
TEST_CASE("str: pieces of any type become one text") {
  CHECK_EQ(str("dim ", 3, " of ", 2.5), "dim 3 of 2.5");
  CHECK_EQ(str(), "");
  CHECK_EQ(str(SourceLocation{"mm", "ops.cpp", 12}), "mm at ops.cpp:12");
}

// %% [markdown]
// Now the error itself. It keeps three things apart, because three different readers want them:
//
//     Error
//     +------------+----------------------------------------------------------+-------------------------+
//     | msg()      | "expected 64 features but found 63"                      | the user                |
//     | context()  | "while loading layer 3", added on the way up             | who called              |
//     | backtrace()| "Exception raised from load at io.cpp:88"                | who debugs the library  |
//     +------------+----------------------------------------------------------+-------------------------+
//           what()                   = all of it
//           what_without_backtrace() = msg and context
//
// The kinds of errors are PyTorch's: `IndexError`, `ValueError`, `TypeError` and `NotImplementedError` all derive from `Error`, so that a program may catch as finely or as
// coarsely as it likes. `what()` must return a pointer that stays valid, so both texts are made when the error is, not when somebody asks: by then memory may be short.

// %%
//| export core/error.h
// The base of all errors that the framework throws. what() is the whole text with the place in the source; what_without_backtrace() is the message for a user.
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
Error::Error(std::string msg, std::string backtrace)
    : msg_(std::move(msg)), backtrace_(std::move(backtrace)) {
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
// The message, then the context, then, if asked for and there is one, the backtrace on a line of its own. A single context entry follows on the same line as " (entry)";
// several stand on a line each, indented by two spaces.
//
// TODO: Put message, context and backtrace together.
// APPROACH: 1. Start from msg_. 2. Add the context in one of its two forms. 3. Add "\n" and backtrace_ if it is wanted and not empty.
// EXAMPLE: message "no", contexts "a" and "b", backtrace "at x": "no\n  a\n  b\nat x", or without backtrace "no\n  a\n  b".
// HINT: context_.size() decides between the two forms; a loop over no entries adds nothing.
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
//| mistake 00-compute-what always-the-backtrace
//| says what_without_backtrace() is for a user, who cannot use our source lines: add the backtrace only when include_backtrace is true.
#if 0
std::string Error::compute_what(bool include_backtrace) const {
  static_cast<void>(include_backtrace);
  std::string text = msg_;
  if (context_.size() == 1) {
    text += " (" + context_[0] + ")";
  } else {
    for (const std::string& line : context_) text += "\n  " + line;
  }
  if (!backtrace_.empty()) text += "\n" + backtrace_;
  return text;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-compute-what-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("Error: the message for a user, the whole text for who debugs") {
  Error error("no", "at x");
  CHECK_EQ(std::string(error.what()), "no\nat x");
  CHECK_EQ(std::string(error.what_without_backtrace()), "no");

  error.add_context("a");
  CHECK_EQ(std::string(error.what()), "no (a)\nat x");
  error.add_context("b");
  CHECK_EQ(std::string(error.what()), "no\n  a\n  b\nat x");
  CHECK_EQ(std::string(error.what_without_backtrace()), "no\n  a\n  b");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(std::string(Error("alone").what()), "alone");
  CHECK_EQ(std::string(Error(SourceLocation{"mm", "ops.cpp", 12}, "no").what()),
           "no\nException raised from mm at ops.cpp:12");
  // END HIDDEN TESTS
}

// %% [markdown]
// The checks are macros and not functions, for three reasons: a macro sees the text of the condition, it knows the line it stands on, and it evaluates the arguments of the
// message *only on failure*. What remains in the caller is the branch. `[[unlikely]]` and `gnu::cold` move the rest to another part of the program, so that it does not even
// take room in the instruction cache.
//
//     your function                           .text.unlikely
//     +--------------------------+            +------------------------------+
//     | cmp  dim, n              |            | lea  pieces of the message   |
//     | jge  -----------------------------+-->| call fail_check<Error, ...>  |
//     | ... the work ...         |            +------------------------------+
//     | ret                      |
//     +--------------------------+
//
// `TORCH_INTERNAL_ASSERT` says: only a mistake in the framework itself can break this, so please report it. Keep the two apart: a user who passes a wrong shape has not found
// a bug.

// %%
//| export core/error.h
namespace detail {

// The failing side of every check. Never inlined and marked cold, so that the passing side is a compare and a branch.
template <class E, class... Args>
[[noreturn, gnu::cold, gnu::noinline]] void fail_check(SourceLocation where, const char* condition,
                                                       const Args&... args) {
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
#define TORCH_CHECK_WITH(error, cond, ...)                                                                 \
  if (!(cond)) [[unlikely]] {                                                                              \
    ::tinytorch::detail::fail_check<::tinytorch::error>(TINYTORCH_HERE, #cond __VA_OPT__(, ) __VA_ARGS__); \
  }

// For what a caller may get wrong.
#define TORCH_CHECK(cond, ...) TORCH_CHECK_WITH(Error, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_INDEX(cond, ...) TORCH_CHECK_WITH(IndexError, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_VALUE(cond, ...) TORCH_CHECK_WITH(ValueError, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_TYPE(cond, ...) TORCH_CHECK_WITH(TypeError, cond __VA_OPT__(, ) __VA_ARGS__)
#define TORCH_CHECK_NOT_IMPLEMENTED(cond, ...) \
  TORCH_CHECK_WITH(NotImplementedError, cond __VA_OPT__(, ) __VA_ARGS__)

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
TEST_CASE("TORCH_CHECK: throws the right kind, and makes the message only on failure") {
  int evaluated = 0;
  const auto piece = [&evaluated] { return ++evaluated; };
  TORCH_CHECK(1 + 1 == 2, "never made ", piece());
  CHECK_EQ(evaluated, 0);

  CHECK_ERROR([&] { TORCH_CHECK(false, "piece ", piece()); }(), "piece 1");
  CHECK_EQ(evaluated, 1);
  const int dim = 3;
  CHECK_ERROR([&] { TORCH_CHECK(dim < 2); }(), "Expected dim < 2 to be true, but got false.");
  CHECK_ERROR([&] { TORCH_INTERNAL_ASSERT(dim == 4, "dim is ", dim); }(),
              "please report a bug to TinyTorch. dim is 3");
  CHECK_THROWS_AS([] { TORCH_CHECK_INDEX(false, "i"); }(), IndexError);
  CHECK_THROWS_AS([] { TORCH_CHECK_VALUE(false, "v"); }(), ValueError);
  CHECK_THROWS_AS([] { TORCH_CHECK_TYPE(false, "t"); }(), TypeError);
  CHECK_THROWS_AS([] { TORCH_CHECK_NOT_IMPLEMENTED(false, "n"); }(), NotImplementedError);
}

TEST_CASE("TORCH_CHECK: what() says where, what_without_backtrace() does not") {
  std::string short_text, long_text;
  try {
    TORCH_CHECK(false, "no such dim");
  } catch (const Error& error) {
    short_text = error.what_without_backtrace();
    long_text = error.what();
  }
  CHECK(long_text.find("no such dim\nException raised from ") == 0);
  CHECK(long_text.find(__FILE__) != std::string::npos);
  CHECK_EQ(short_text.size(), std::string("no such dim").size());
}

// %% [markdown]
// ### Random numbers that come back
//
// A computer does not draw lots: it walks through a fixed, very long cycle of states, and shows us a few bits of each. That is exactly what we want. The *seed* chooses where
// on the cycle we start; whoever starts at the same place sees the same numbers.
//
//     seed --> [state 0] --next--> [state 1] --next--> [state 2] --next--> ...     2^19937 - 1 of them
//                  |                   |                   |
//                temper              temper              temper
//                  v                   v                   v
//              1608637542          3421126067          4083286876    ...             what we see (seed 42)
//
// PyTorch's CPU generator is the *Mersenne Twister* mt19937 of Matsumoto and Nishimura (1998), and so is ours. Its state is 624 words of 32 bits, x[0] to x[623]. The next
// word comes from three old ones. Take the top bit of x[k] and the other 31 of x[k+1], shift them down by one, xor with a constant where the bit that fell out was 1, and xor
// with the word 397 places further on:
//
//     x[k+624]  =  x[k+397]  xor  twist(x[k], x[k+1])
//
//         x[k]              x[k+1]                          x[k+397]               x[k+624]
//          |                   |                                |                     ^
//       top bit         low 31 bits                             |                     |
//          +------ join -------+--> >> 1 --> xor 0x9908b0df ----+------- xor ---------+
//                                            (if the last bit was 1)
//
// All of it is linear algebra over the numbers 0 and 1, with xor as the sum: one step multiplies a vector of 19,937 bits (624 words of 32, without the low 31 bits of the
// oldest word, which no step reads) by a matrix whose powers run through all states but zero. Time is O(1) per number; the memory is 2,496 bytes, whatever you draw.
//
// We begin at the end of the diagram. The words of the state have a visible pattern from one to the next; *tempering* spreads their bits:

// %%
//| export core/generator.h
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

// %% {"nbgrader": {"grade": false, "grade_id": "00-temper", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.h
// Spreads the bits of one word of state: y ^= y >> 11, then y << 7 masked by 0x9d2c5680, then y << 15 masked by 0xefc60000, then y >> 18. A bijection of the 32 bit numbers.
//
// TODO: Xor four shifts of y into y, one after the other.
// APPROACH: 1. y ^= y >> 11. 2. Shift left by 7, mask the result, xor. 3. Shift left by 15, mask, xor. 4. y ^= y >> 18.
// EXAMPLE: mt19937_temper(1) is 0x400091.
// HINT: the mask belongs to the shifted value: (y << 7) & mask. Each line uses the y that the line before left.
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
//| mistake 00-temper masks-before-shifting
//| says Shift first, then mask: (y << 7) & 0x9d2c5680. Masking first selects other bits.
#if 0
inline uint32_t mt19937_temper(uint32_t y) {
  y ^= y >> 11;
  y ^= (y & 0x9d2c5680u) << 7;
  y ^= (y & 0xefc60000u) << 15;
  y ^= y >> 18;
  return y;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-temper-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("mt19937_temper: spreads the bits of a word") {
  CHECK_EQ(mt19937_temper(0), 0u);
  CHECK_EQ(mt19937_temper(1), 0x400091u);
  CHECK_EQ(mt19937_temper(0x80000000u), 0x88102204u);
  CHECK_EQ(mt19937_temper(0xffffffffu), 0x6fe01bf8u);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(mt19937_temper(123456789u), 0x25d30fbu);
  // END HIDDEN TESTS
}

// %% [markdown]
// The engine hands out words until the block of 624 is used up, and then makes the next block in one go. The common case is one compare, one load and the tempering, short
// enough to be inlined; the rest is out of line.
//
//          next_
//            v
//     +------+------+------+------+- - - - -+--------+
//     | used | x[1] | x[2] | x[3] |         | x[623] |      next_ == 624: next_state() renews all of them
//     +------+------+------+------+- - - - -+--------+

// %%
//| export core/generator.h
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

// %% [markdown]
// 624 words must come from one seed. Knuth's recurrence fills them, so that seeds which differ in one bit differ everywhere soon:
//
//     x[0] = seed,     x[j] = 1812433253 * (x[j-1] xor (x[j-1] >> 30)) + j      (32 bits, wraps around)
//
// Look at the types: the seed has 64 bits, and x[0] has 32. PyTorch simply drops the upper half (and so must we, to get its numbers), which means that `manual_seed(5)` and
// `manual_seed(5 + 2^40)` are the same stream. Deriving seeds for workers by setting high bits gives every worker the same data.

// %% {"nbgrader": {"grade": false, "grade_id": "00-mt-seed", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// Fills state_ from the low 32 bits of `seed` and remembers all 64 in seed_. No word may be handed out before next_state() has run: the block counts as used up. O(624).
//
// TODO: Set seed_, next_ and the 624 words of state_.
// APPROACH: 1. seed_ and next_. 2. state_[0] from the low 32 bits. 3. The recurrence for j = 1 ... 623.
// EXAMPLE: for seed 5489, state_ begins 5489, 1301868182, 2938499221.
// HINT: unsigned 32 bit arithmetic wraps around by itself; use uint32_t for j, too.
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
//| mistake 00-mt-seed forgets-the-index
//| says The recurrence ends in + j. Without it the seed 0 gives a state of zeros only, which never leaves itself.
#if 0
void mt19937::init_with_uint32(uint64_t seed) {
  data_.seed_ = seed;
  data_.next_ = mt19937_data_pod::N;
  auto& x = data_.state_;
  x[0] = static_cast<uint32_t>(seed);
  for (uint32_t j = 1; j < mt19937_data_pod::N; ++j) {
    x[j] = 1812433253u * (x[j - 1] ^ (x[j - 1] >> 30));
  }
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-mt-seed-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("mt19937: the state that a seed makes") {
  const mt19937_data_pod data = mt19937(5489).data();
  CHECK_EQ(data.seed_, 5489u);
  CHECK_EQ(data.next_, 624u);
  CHECK_EQ(data.state_[0], 5489u);
  CHECK_EQ(data.state_[1], 1301868182u);
  CHECK_EQ(data.state_[2], 2938499221u);
  CHECK_EQ(data.state_[623], 79981964u);
  CHECK_EQ(mt19937(0).data().state_[623], 1796872496u);
  // BEGIN HIDDEN TESTS
  const uint64_t far = 42 + (uint64_t{1} << 40);
  CHECK_EQ(mt19937(far).seed(), far);
  CHECK_EQ(mt19937(far).data().state_[623], 26719530u);
  // END HIDDEN TESTS
}

// %% [markdown]
// Now the step itself. The textbook version makes one word at a time and wraps the index around with `%`. It is right, and you will measure it below as `v1`. Dividing by 624
// at every word is a waste, though: two plain loops do the same without any wrapping, and the compiler can turn them into vector instructions. The state is renewed *in
// place*, and that is the delicate point:
//
//     words 0 ... 226     read x[k+397], still old               x[k] = x[k+397] xor twist(x[k], x[k+1])
//     words 227 ... 622   read x[k-227], renewed in this pass    x[k] = x[k-227] xor twist(x[k], x[k+1])
//     word 623            reads x[396] and x[0], both renewed    x[623] = x[396] xor twist(x[623], x[0])

// %%
//| export core/generator.cpp
namespace {

// The top bit of u and the other 31 of v, shifted down by one; xored with a constant when the bit that fell out was 1.
uint32_t twist(uint32_t u, uint32_t v) {
  const uint32_t joined = (u & 0x80000000u) | (v & 0x7fffffffu);
  return (joined >> 1) ^ ((v & 1u) != 0 ? 0x9908b0dfu : 0u);
}

}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "00-mt-next-state", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// Replaces all words of state_ by the next 624, in place, and marks them as unused (next_ = 0). O(624), no memory.
//
// TODO: Compute the next 624 words in place.
// APPROACH: 1. A loop for k below N - M. 2. A loop for the k up to N - 2, which reads x[k + M - N]. 3. The last word. 4. next_ = 0.
// EXAMPLE: the first number of mt19937(42) is 1608637542.
// HINT: do not copy the state first: the second loop needs the words that the first one wrote.
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
//| mistake 00-mt-next-state reads-a-copy-of-the-old-block
//| says From word 227 on, the word that is mixed in is one that this pass has already renewed: read from the state that you are writing, not from a copy of the old one.
#if 0
void mt19937::next_state() {
  constexpr int N = mt19937_data_pod::N;
  constexpr int M = mt19937_data_pod::M;
  const auto old = data_.state_;
  for (int k = 0; k < N; ++k) data_.state_[k] = old[(k + M) % N] ^ twist(old[k], old[(k + 1) % N]);
  data_.next_ = 0;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-mt-next-state-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("mt19937: the numbers of the standard library's engine, over many blocks") {
  mt19937 engine(42);
  CHECK_EQ(engine(), 1608637542u);
  CHECK_EQ(engine(), 3421126067u);
  CHECK_EQ(engine(), 4083286876u);

  for (const uint32_t seed : {0u, 5489u, 4294967295u}) {
    mt19937 ours(seed);
    std::mt19937 standard(seed);
    int different = 0;
    for (int i = 0; i < 2000; ++i) different += ours() != standard();
    CHECK_EQ(different, 0);
  }
  // BEGIN HIDDEN TESTS
  mt19937 reference;
  for (int i = 1; i < 10000; ++i) reference();
  CHECK_EQ(reference(), 4123659995u);  // the value that the C++ standard demands
  // END HIDDEN TESTS
}

// %%
//| export core/generator.cpp
// An index in range, and not the one state that never leaves itself: all bits zero, but for 31 that are never used.
bool mt19937::is_valid() const {
  const auto& x = data_.state_;
  const auto is_zero = [](uint32_t word) { return word == 0; };
  const bool stuck = (x[0] & 0x80000000u) == 0 && std::all_of(x.begin() + 1, x.end(), is_zero);
  return data_.next_ <= mt19937_data_pod::N && !stuck;
}

// %% [markdown]
// Users hold a `Generator`. It is a *handle*: copies share one stream, as copies of a Tensor will share one memory. That is what makes "pass the generator to `randn`, then to
// `randperm`" work: each continues where the other stopped.
//
//     Generator a;   Generator b = a;              Generator c = a.clone();
//
//         a ---+--> { engine, waiting normal }         c ------> { engine, waiting normal }
//         b ---+         one stream                                a stream of its own
//
// A stream is not safe to share between threads by itself: two threads that draw at once would see half-written states. The handle carries the mutex that callers lock.

// %%
//| export core/generator.h
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

// %% [markdown]
// From here on it matters not only *that* bits are random, but *which* bits are used and in which order. A framework that reproduces another one's numbers must agree on every
// such detail. The first: 64 bits are two draws, and the first draw is the upper half.

// %% {"nbgrader": {"grade": false, "grade_id": "00-random64", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.h
// 64 random bits from two draws: the first is the upper half.
//
// TODO: Draw twice and join the halves.
// APPROACH: 1. Draw the upper half. 2. Draw the lower half. 3. Shift and join.
// EXAMPLE: draws 0x00000001 and then 0x00000002 give 0x0000000100000002.
// HINT: give each draw a line of its own. In one expression, random() << 32 | random(), C++ does not say which call comes first, and a 32 bit number cannot be shifted by 32.
inline uint64_t Generator::random64() {
  // BEGIN SOLUTION
  const uint64_t high = random();
  const uint64_t low = random();
  return (high << 32) | low;
  // END SOLUTION
}

// %%
//| mistake 00-random64 lower-half-first
//| says The first draw is the upper half.
#if 0
inline uint64_t Generator::random64() {
  const uint64_t low = random();
  const uint64_t high = random();
  return (high << 32) | low;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-random64-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("random64: two draws, the first one above") {
  Generator generator(42);
  CHECK_EQ(generator.random64(), (uint64_t{1608637542} << 32) + 3421126067);
  CHECK_EQ(generator.random(), 4083286876u);
  // BEGIN HIDDEN TESTS
  Generator whole(7), halves(7);
  for (int i = 0; i < 50; ++i) {
    const uint64_t high = halves.random(), low = halves.random();
    CHECK_EQ(whole.random64(), high * (uint64_t{1} << 32) + low);
  }
  // END HIDDEN TESTS
}

// %% [markdown]
// A `float` has 24 bits of precision. If all 32 random bits went in, the conversion would round, and the largest of them would round *up* to 1.0, outside of [0, 1). A `log(1
// - u)` somewhere later would then be minus infinity, once in about 33 million draws, which a training run makes in minutes. So keep the low 24 bits, and every step is exact:
//
//      31        24 23                                0
//     +------------+-----------------------------------+
//     |  dropped   |  24 bits: an integer k < 2^24     |  -->  k * 2^-24, from 0 to 16777215/16777216
//     +------------+-----------------------------------+
//
// The same for double, given here: 53 of the 64 bits.

// %% {"nbgrader": {"grade": false, "grade_id": "00-uniform-float", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.h
// A number from [0, 1) out of the low 24 bits of one draw: a multiple of 2^-24. Never 1.
//
// TODO: Keep the low 24 bits of one draw and scale them.
// APPROACH: 1. Mask one draw. 2. Convert to float. 3. Multiply by 2^-24.
// EXAMPLE: the draw 0x01800000 gives 0.5.
// HINT: the mask is (1u << 24) - 1, and 1.0f / (1u << 24) is exact.
inline float Generator::uniform_float() {
  // BEGIN SOLUTION
  constexpr uint32_t mask = (1u << 24) - 1;
  constexpr float scale = 1.0f / (1u << 24);
  return static_cast<float>(random() & mask) * scale;
  // END SOLUTION
}

// %%
//| mistake 00-uniform-float all-32-bits
//| says A float holds 24 bits. Dividing all 32 by 2^32 rounds, and 0xffffff80 and above become exactly 1: keep the low 24 bits.
#if 0
inline float Generator::uniform_float() {
  return static_cast<float>(random()) / 4294967296.0f;
}
#endif

// %%
//| export core/generator.h
// A number from [0, 1) out of the low 53 bits of random64(): a multiple of 2^-53. Never 1.
inline double Generator::uniform_double() {
  constexpr uint64_t mask = (uint64_t{1} << 53) - 1;
  constexpr double scale = 1.0 / static_cast<double>(uint64_t{1} << 53);
  return static_cast<double>(random64() & mask) * scale;
}

// %% [markdown]
// The values below were recorded from PyTorch 2.15 (`torch.manual_seed(s); torch.rand(1, dtype=...)`, one after the other), in hexadecimal, so that every bit counts.

// %% {"nbgrader": {"grade": true, "grade_id": "00-uniform-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("uniform: PyTorch's numbers, bit for bit") {
  Generator generator(0);
  for (const float expected : {0x1.fc2abp-2f, 0x1.89545ep-1f, 0x1.6a675p-4f, 0x1.0e66p-3f, 0x1.3acd0cp-2f}) {
    CHECK_EQ(generator.uniform_float(), expected);
  }
  Generator doubles(0);
  for (const double expected : {0x1.f0aac97c4aa2fp-1, 0x1.6a675d821cccp-1, 0x1.d6687b744a5f6p-2}) {
    CHECK_EQ(doubles.uniform_double(), expected);
  }
  // BEGIN HIDDEN TESTS
  CHECK_EQ(Generator(42).uniform_float(), 0x1.c3b8ccp-1f);
  CHECK_EQ(Generator(42).uniform_double(), 0x1.dc66cbea3db3p-5);
  Generator long_stream(1);
  for (int i = 0; i < 700; ++i) long_stream.uniform_float();  // past the end of the first block
  CHECK_EQ(long_stream.uniform_float(), 0x1.72ec4p-3f);
  // END HIDDEN TESTS
}

TEST_CASE("uniform: fills [0, 1) and stays below 1") {
  Generator generator(7);
  float largest = 0;
  for (int i = 0; i < 200000; ++i) largest = std::max(largest, generator.uniform_float());
  CHECK(largest < 1.0f);
  CHECK(largest > 0.9999f);
}

// %% [markdown]
// Seeding comes next, because it has a trap that shows only together with what follows it. A generator remembers more than its engine: normal numbers are made in pairs, and
// the second one waits for the next call. A stream that starts anew must not begin with a leftover of the old one. The test of the normal
// numbers, below, tries that.

// %% {"nbgrader": {"grade": false, "grade_id": "00-set-seed", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// Starts the stream of `seed` from its beginning, whatever was drawn before.
//
// TODO: Replace the engine and forget the number that waits.
// APPROACH: 1. A fresh mt19937. 2. Empty next_normal.
// EXAMPLE: g.set_current_seed(1) makes g behave like Generator(1).
// HINT: std::optional has reset().
void Generator::set_current_seed(uint64_t seed) {
  // BEGIN SOLUTION
  impl_->engine = mt19937(seed);
  impl_->next_normal.reset();
  // END SOLUTION
}

// %%
//| mistake 00-set-seed keeps-the-waiting-number
//| says The second number of the last pair still waits: seeding must forget it, or the first normal number belongs to the old stream.
#if 0
void Generator::set_current_seed(uint64_t seed) {
  impl_->engine = mt19937(seed);
}
#endif

// %% [markdown]
// Normal numbers come from uniform ones by the *Box-Muller* transform. Two independent normal numbers are a point in the plane whose distance and direction are easy: the
// direction is uniform, and the squared distance is exponential. So draw those two, and read off the coordinates:
//
//              |      . (r cos t, r sin t)
//              |     /                            t = 2 pi u1               the direction
//              |    / r                           r = sqrt(-2 ln(1 - u2))   the distance
//              |   /
//              |  /  ) t                          one pair of uniforms --> one pair of normals
//              +---------------
//
// Two details. `u2` may be exactly 0 and is never 1, so ln(1 - u2) is always finite while ln(u2) is not. And `log1p(-u)` is ln(1 - u) computed without losing the digits of a
// small u. PyTorch returns the cosine first and keeps the sine for the next call (for a whole tensor of 16 numbers and more it goes another way: library chapter 96).

// %% {"nbgrader": {"grade": false, "grade_id": "00-normal", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// A normal number (mean 0, standard deviation 1) by Box-Muller: r cos t now, r sin t with the next call.
//
// TODO: Hand out the number that waits, or make a pair.
// APPROACH: 1. If a number waits, return it and empty the place. 2. Draw u1, then u2 with uniform_double(). 3. r and t as above. 4. Store r sin t, return r cos t.
// EXAMPLE: with seed 0: 1.5409961..., -0.2934289..., -2.1787893....
// HINT: std::log1p(-u2), std::numbers::pi, and std::exchange(waiting, std::nullopt) takes a value out.
double Generator::normal_double() {
  // BEGIN SOLUTION
  std::optional<double>& waiting = impl_->next_normal;
  if (waiting) return *std::exchange(waiting, std::nullopt);
  const double u1 = uniform_double();
  const double u2 = uniform_double();
  const double r = std::sqrt(-2.0 * std::log1p(-u2));
  const double t = 2.0 * std::numbers::pi * u1;
  waiting = r * std::sin(t);
  return r * std::cos(t);
  // END SOLUTION
}

// %%
//| mistake 00-normal log-of-zero
//| says u2 may be exactly 0, and ln(0) is minus infinity: use log1p(-u2), which is ln(1 - u2) and always finite.
#if 0
double Generator::normal_double() {
  std::optional<double>& waiting = impl_->next_normal;
  if (waiting) return *std::exchange(waiting, std::nullopt);
  const double u1 = uniform_double();
  const double u2 = uniform_double();
  const double r = std::sqrt(-2.0 * std::log(u2));
  const double t = 2.0 * std::numbers::pi * u1;
  waiting = r * std::sin(t);
  return r * std::cos(t);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-normal-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("normal: PyTorch's numbers (torch.randn of less than 16, double)") {
  Generator generator(0);
  for (const double expected :
       {1.5409961082440433, -0.2934289057609464, -2.1787893820745574, 0.5684312772806678}) {
    CHECK_CLOSE(generator.normal_double(), expected, 1e-14, 0);
  }
  generator.normal_double();  // now one number waits
  generator.set_current_seed(42);
  CHECK_CLOSE(generator.normal_double(), 0.33669035438385886, 1e-14, 0);
  // BEGIN HIDDEN TESTS
  generator.set_current_seed(7);
  for (const double expected :
       {-0.1467950974849952, 0.7861412987235358, 0.9468216090039564, -1.1143440212610307}) {
    CHECK_CLOSE(generator.normal_double(), expected, 1e-14, 0);
  }
  // float32 tensors take the same numbers, rounded: torch.manual_seed(0); torch.randn(1)
  CHECK_EQ(static_cast<float>(Generator(0).normal_double()), 1.5409960746765137f);
  // END HIDDEN TESTS
}

TEST_CASE("normal: mean 0, variance 1, and the tails a bell has") {
  Generator generator(3);
  const int count = 20000;
  double sum = 0, squares = 0;
  int beyond_two = 0;
  for (int i = 0; i < count; ++i) {
    const double z = generator.normal_double();
    sum += z;
    squares += z * z;
    beyond_two += std::abs(z) > 2;
  }
  CHECK(std::abs(sum / count) < 0.03);
  CHECK(std::abs(squares / count - 1) < 0.04);
  CHECK(beyond_two > 0.040 * count);
  CHECK(beyond_two < 0.051 * count);
}

// %% [markdown]
// A long training run will be interrupted. To go on *exactly*, with the same shuffles and the same dropout (random zeros, module 03), a checkpoint must hold the state of the
// generator: the 624 words, the position among them, and the normal number that waits. Ours is a line of text, so that it fits into any file and can be looked at:
//
//     mt19937-1   42    3          -           5f2e31a0 9c01d2ee ... 624 words
//     \_______/  seed  position  the waiting   (hexadecimal)
//        tag                     number's bits,
//                                or -

// %%
//| export core/generator.cpp
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

// %% [markdown]
// Reading it back is where care is needed: the text comes from a file, and files get cut off, edited and mixed up. The rule, here and for everything that is ever loaded:
// **read all of it, check all of it, and only then change anything.** Whoever catches the error still has the generator they had before. A little reader that names what it
// wanted makes the messages good by itself:

// %%
//| export core/generator.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "00-set-state", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/generator.cpp
// Takes over the state that state() wrote. Throws ValueError that begins with "Invalid mt19937 state", and changes nothing, if the tag is another one, the text is cut off or
// goes on, a field is not a number in its range, or the state cannot be (is_valid).
//
// TODO: Read everything, check everything, then change the generator.
// APPROACH: 1. A StateReader; check its field("the tag") against state_tag. 2. Read seed and position (base 10), the waiting number ("-" or base 16) and 624 words (base 16) into local variables.
// 3. Check that nothing follows (done()) and that an engine with this data is_valid(); the tests look for "all words are zero" in that message. 4. Assign engine and waiting number.
// EXAMPLE: g.set_state(g.state()) changes nothing.
// HINT: std::bit_cast<double>(bits) turns the 64 bits back into the number they were.
void Generator::set_state(std::string_view text) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 00-set-state forgets-the-waiting-number
//| says The state holds three things: words, position, and the normal number that waits. Restore next_normal too.
#if 0
void Generator::set_state(std::string_view text) {
  StateReader reader(text);
  TORCH_CHECK_VALUE(reader.field("the tag") == state_tag, "Invalid mt19937 state");
  mt19937_data_pod data;
  data.seed_ = reader.number<uint64_t>("the seed", 10);
  data.next_ = reader.number<uint32_t>("the position", 10);
  reader.field("the waiting number");
  for (uint32_t& word : data.state_) word = reader.number<uint32_t>("the last of the 624 words", 16);
  TORCH_CHECK_VALUE(reader.done(), "Invalid mt19937 state");
  mt19937 engine;
  engine.set_data(data);
  TORCH_CHECK_VALUE(engine.is_valid(), "Invalid mt19937 state");
  impl_->engine = engine;
}
#endif

// %%
//| mistake 00-set-state changes-before-checking
//| says Nothing may change before everything has been read: fill local variables, and assign to the generator at the very end.
#if 0
void Generator::set_state(std::string_view text) {
  StateReader reader(text);
  TORCH_CHECK_VALUE(reader.field("the tag") == state_tag, "Invalid mt19937 state");
  mt19937_data_pod data;
  data.seed_ = reader.number<uint64_t>("the seed", 10);
  data.next_ = reader.number<uint32_t>("the position", 10);
  impl_->next_normal.reset();
  const bool waits = !reader.next_is('-');
  if (!waits) reader.field("the waiting number");
  if (waits) impl_->next_normal = std::bit_cast<double>(reader.number<uint64_t>("the waiting number", 16));
  for (uint32_t& word : data.state_) {
    word = reader.number<uint32_t>("the last of the 624 words", 16);
    impl_->engine.set_data(data);
  }
  TORCH_CHECK_VALUE(reader.done() && impl_->engine.is_valid(), "Invalid mt19937 state");
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-set-state-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("Generator: a restored stream goes on exactly, in the middle of a pair") {
  Generator original(5);
  for (int i = 0; i < 1001; ++i) original.normal_double();  // odd: one number waits
  Generator restored;
  restored.set_state(original.state());
  CHECK_EQ(restored.current_seed(), 5u);
  for (int i = 0; i < 1000; ++i) REQUIRE(restored.normal_double() == original.normal_double());
  CHECK_EQ(restored.random(), original.random());
}

TEST_CASE("Generator: a state that is wrong is refused and changes nothing") {
  Generator generator(5);
  generator.normal_double();
  const std::string before = generator.state();
  const std::string good = Generator(6).state();
  CHECK_ERROR(generator.set_state(good.substr(0, good.size() / 2)), "Invalid mt19937 state");
  CHECK_ERROR(generator.set_state(good + " 1"), "Invalid mt19937 state");
  CHECK_ERROR(generator.set_state("philox 1 2 3"), "Invalid mt19937 state");
  CHECK(generator.state() == before);
  // BEGIN HIDDEN TESTS
  CHECK_ERROR(generator.set_state(""), "the text ends before the tag");
  CHECK_ERROR(generator.set_state("mt19937-1 5 700" + good.substr(good.find(' ', 14))),
              "Invalid mt19937 state");
  std::string letters = good;
  letters.replace(letters.size() - 3, 2, "xy");
  CHECK_ERROR(generator.set_state(letters), "not a number in range");
  std::string zeros = "mt19937-1 5 0 -";
  for (int i = 0; i < 624; ++i) zeros += " 0";
  CHECK_ERROR(generator.set_state(zeros), "all words are zero");
  CHECK(generator.state() == before);
  // END HIDDEN TESTS
}

// %% [markdown]
// What is left is short: an independent copy, and the one generator that everything uses unless told otherwise.

// %%
//| export core/generator.cpp
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

// %%
TEST_CASE("Generator: a copy shares the stream, a clone has its own") {
  Generator a(9);
  Generator b = a;
  Generator c = a.clone();
  CHECK(a == b);
  CHECK_FALSE(a == c);
  const uint32_t first = a.random();
  CHECK(b.random() != first);   // the second number of the shared stream
  CHECK_EQ(c.random(), first);  // the first of its own
  CHECK_EQ(Generator().current_seed(), 67280421310721u);
}

TEST_CASE("manual_seed: starts the default stream anew") {
  const Generator before = default_generator().clone();
  manual_seed(42);
  const uint32_t first = default_generator().random();
  manual_seed(42);
  CHECK_EQ(default_generator().random(), first);
  CHECK_EQ(first, 1608637542u);
  default_generator().set_state(before.state());
}

// %% [markdown]
// ### The machine
//
// Where are we? What decides how fast a framework runs is written down by the operating system, as text, in files that are no files. Linux makes them when they are read:
//
//     /proc/cpuinfo                            model name      : AMD EPYC
//                                              flags           : fpu ... avx fma avx2 ...
//     /proc/meminfo                            MemTotal:       24586132 kB
//     /proc/self/status                        VmRSS:           3412 kB         this process, now
//     /sys/devices/system/cpu/cpu0/cache/      index0/size: 32K   index0/type: Data   index0/level: 1
//
// The first three are lines of `key : value`, so one function reads them all. It must find the *whole* key: `model` is a key of /proc/cpuinfo, too, and stands before `model
// name`.

// %%
//| export core/utils.h
// The value after "key :" on the first line of `text` with this key; empty if there is none. This is how /proc/cpuinfo, /proc/meminfo and /proc/self/status are written.
std::string_view value_of_key(std::string_view text, std::string_view key);

// The whole of a small file, or "" if it cannot be read: those in /proc and /sys may be missing.
std::string read_if_there(const std::string& path);

// "32K", "8192 kB", "16M" or "123" as a number of bytes. Throws ValueError for anything else.
int64_t parse_bytes(std::string_view text);

// 1536 as "1.5 KiB".
std::string format_bytes(int64_t bytes);

// Memory of this process that is in RAM now, and the most there ever was. 0 where the system does not tell.
int64_t resident_bytes();
int64_t peak_resident_bytes();

// %% {"nbgrader": {"grade": false, "grade_id": "00-value-of-key", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// The text after the colon on the first line whose text before the colon is `key`; without spaces and tabs around either. Empty if no line has this key. O(length of text);
// the result points into `text`, nothing is copied.
//
// TODO: Find the line with this key and return what stands after its colon.
// APPROACH: 1. Take lines from the front of the text. 2. Split each at its first colon. 3. Trim both sides; compare the left one with the key.
// EXAMPLE: value_of_key("a: 1\nmodel name\t: X 1\n", "model name") is "X 1".
// HINT: find, substr, remove_prefix, find_first_not_of and find_last_not_of of std::string_view copy nothing.
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
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key)
      return trim(line.substr(colon + 1));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return {};
  // END SOLUTION
}

// %%
//| mistake 00-value-of-key takes-a-longer-key
//| says Searching for the key as a part of the text finds longer keys, too ("model" in "model name"): compare the whole text before the colon.
#if 0
std::string_view value_of_key(std::string_view text, std::string_view key) {
  const size_t start = text.find(key);
  if (start == std::string_view::npos) return {};
  text.remove_prefix(start);
  text = text.substr(0, text.find('\n'));
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return {};
  text.remove_prefix(colon + 1);
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \t")));
  return text;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-value-of-key-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("value_of_key: the whole key, the first line, trimmed") {
  const std::string_view text =
      "model name\t: EPYC 7763\nmodel\t\t: 1\nflags : avx avx2 \nempty:\nflags: other\nurl: a:b\n";
  CHECK_EQ(value_of_key(text, "model name"), "EPYC 7763");
  CHECK_EQ(value_of_key(text, "model"), "1");
  CHECK_EQ(value_of_key(text, "flags"), "avx avx2");
  CHECK_EQ(value_of_key(text, "empty"), "");
  CHECK_EQ(value_of_key(text, "missing"), "");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(value_of_key(text, "url"), "a:b");
  CHECK_EQ(value_of_key("last: line without an end", "last"), "line without an end");
  CHECK_EQ(value_of_key("", "key"), "");
  const std::string_view value = value_of_key(text, "model name");
  CHECK(value.data() > text.data());  // points into the text
  CHECK(value.data() < text.data() + text.size());
  // END HIDDEN TESTS
}

// %% [markdown]
// Sizes come in three spellings: `32K` in /sys, `24586132 kB` in /proc, plain numbers elsewhere. All of them mean powers of two here, `kB` included: the kernel writes
// kilobytes and means kibibytes. Disk makers mean powers of ten; at a gigabyte the two differ by 7 %. `parse_bytes` reads all three, and `resident_bytes` is memory that this
// process has in RAM, which is not the memory it asked for: Part 2 looks at the difference. The report of the whole machine, `system_info()`, asks the same files for the
// rest; it stands in library chapter 92.

// %%
//| export core/utils.cpp
// Digits, perhaps spaces, perhaps a unit: B (or none), K/kB/KiB, M/MB/MiB, G/GB/GiB, in powers of 1024.
int64_t parse_bytes(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  std::erase(unit, ' ');
  int64_t scale = 0;
  if (unit.empty() || unit == "B") scale = 1;
  if (unit == "K" || unit == "kB" || unit == "KiB") scale = int64_t{1} << 10;
  if (unit == "M" || unit == "MB" || unit == "MiB") scale = int64_t{1} << 20;
  if (unit == "G" || unit == "GB" || unit == "GiB") scale = int64_t{1} << 30;
  TORCH_CHECK_VALUE(error == std::errc() && scale != 0 && value >= 0 && value <= (int64_t{1} << 62) / scale,
                    "'", text,
                    "' is not a number of bytes\n[parse_bytes] expected digits and perhaps a unit (B, K, kB, "
                    "M, G), as in 32K");
  return value * scale;
}

// %%
TEST_CASE("parse_bytes: the spellings of /sys and /proc") {
  CHECK_EQ(parse_bytes("32K"), 32768);
  CHECK_EQ(parse_bytes("24586132 kB"), int64_t{24586132} * 1024);
  CHECK_EQ(parse_bytes("2GiB"), int64_t{2} << 30);
  CHECK_EQ(parse_bytes("64"), 64);
  for (const char* wrong : {"lots", "12 parsecs", "", "-1K", "9000000000000000000K"}) CHECK_ERROR(parse_bytes(wrong), "is not a number of bytes");
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

std::string read_if_there(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int64_t resident_bytes() {
  const std::string status = read_if_there("/proc/self/status");
  const std::string_view resident = value_of_key(status, "VmRSS");
  return resident.empty() ? 0 : parse_bytes(resident);
}

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
TEST_CASE("format_bytes: powers of 1024, three digits at most before the unit changes") {
  CHECK_EQ(format_bytes(0), "0 B");
  CHECK_EQ(format_bytes(1023), "1023 B");
  CHECK_EQ(format_bytes(1536), "1.5 KiB");
  CHECK_EQ(format_bytes(int64_t{512} << 20), "512 MiB");
}

TEST_CASE("resident memory: what this process has, and the most it ever had") {
  CHECK(peak_resident_bytes() >= resident_bytes() / 2);
  CHECK(peak_resident_bytes() > 100000);
}

// %%
DEMO("your machine") { std::cout << system_info(); }

// %% [markdown]
// Keep this report. Every number that you publish, in a bug report, a paper or a chat, belongs next to one.
//
// ### Time
//
// "It takes 5 ms" is a claim about the future, made from the past. One measurement is a sample of a distribution with a peculiar shape: there is a floor that the work cannot
// go below, and a long tail to the right, because everything else that happens on a machine (other programs, interrupts, a cold cache, a slower clock) only ever *adds* time.
//
//     how often
//       |    █
//       |    █ █
//       |    █ █ ▄                                 the mean is pulled to the right by a
//       |   ▄█ █ █ ▄                               single interruption; the median is not
//       |   ██ █ █ █ ▄ ▄     ▄          ▄
//       +----+-+---+------------------------ time
//       floor  median  mean
//
// So we take several samples and report the median, with the smallest and the largest beside it. Of n samples the median ignores almost n/2 that are disturbed; the mean
// ignores none.

// %%
//| export core/utils.h
// Seconds since it was made or last reset, from a clock that never runs backward.
class Timer {
 public:
  Timer() { reset(); }
  void reset() { start_ = now(); }
  double seconds() const { return now() - start_; }

 private:
  static double now();  // in the source, so that not every file compiles <chrono>, which is a twentieth of the standard library's headers here
  double start_;
};

// Makes the optimizer believe that `value` is read, so that computing it is not removed.
template <class T>
inline void do_not_optimize(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

// The value in the middle; of an even number of values the mean of the two in the middle. Throws ValueError if there are none.
double median_of(std::vector<double> values);

struct MeasureOptions {
  int samples = 7;               // of which the median counts
  double sample_seconds = 1e-3;  // a sample is so many calls that it takes at least this long
};

// Seconds per call.
struct Measurement {
  double median = 0;
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

// %%
//| export core/utils.cpp
double Timer::now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// %% {"nbgrader": {"grade": false, "grade_id": "00-median", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// O(n log n). Throws ValueError that begins "median of no values" if there are none.
//
// TODO: Sort the values and take the middle.
// APPROACH: 1. Refuse an empty list. 2. Sort. 3. Odd: the middle one. Even: the mean of the middle two.
// EXAMPLE: median_of({3, 1, 2}) is 2, median_of({4, 1, 3, 2}) is 2.5.
// HINT: `values` is already a copy of yours: sort it in place.
double median_of(std::vector<double> values) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(!values.empty(), "median of no values\n[median_of] pass at least one value");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  // END SOLUTION
}

// %%
//| mistake 00-median middle-of-the-unsorted
//| says The median is the middle of the sorted values: sort them first.
#if 0
double median_of(std::vector<double> values) {
  TORCH_CHECK_VALUE(!values.empty(), "median of no values");
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-median-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("median_of: the middle, whatever the order and the outliers") {
  CHECK_EQ(median_of({3, 1, 2}), 2.0);
  CHECK_EQ(median_of({9, 1, 4, 2}), 3.0);
  CHECK_EQ(median_of({5}), 5.0);
  CHECK_EQ(median_of({2, 1, 1e9}), 2.0);
  CHECK_ERROR(median_of({}), "median of no values");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(median_of({-1, -2, -3, -4, -5, 100}), -2.5);
  // END HIDDEN TESTS
}

// %% [markdown]
// Now design a measurement. You get only its contract, and decide the rest. The difficulty is in the clock: reading it takes longer than many a call, and some clocks step by
// a whole microsecond, so the time of one fast call cannot be read off. And the first call is different from all others: it meets cold caches, pages that are not there yet,
// and functions of shared libraries whose addresses are only now looked up.
//
//     call    call call call call call call call      call call call call call call call
//     |-------| |----|----|----|----|----|----|  ...  |----|----|----|----|----|----|
//      cold     ^          one sample         ^       ^        another sample        ^
//               clock                     clock       clock                      clock
//
// The tests hand your function a clock of their own, on a pretended machine where a call takes 50 ns and the clock steps by 1 µs, so that the verdict does not depend on what
// else your computer is doing.

// %% {"nbgrader": {"grade": false, "grade_id": "00-measure", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
//| exercise design
// The contract. `function` is called at least once before anything that counts. A sample is calls_per_sample calls between two readings of the clock, and so many that it
// takes at least options.sample_seconds by that clock; all samples make the same number of calls. options.samples of them count; median, minimum and maximum are seconds per
// call among those. The clock is read at most twice per sample and 100 times besides. Memory O(samples). What `function` throws passes through. Throws ValueError if
// options.samples < 1.
//
// TODO: Design a measurement that keeps this contract.
// APPROACH: yours. Questions to answer first: How do you find the number of calls without knowing how long one takes? Which calls do you throw away?
// The message for samples < 1 says that there must be "at least one sample".
// EXAMPLE: measure([] { work(); }).median
// HINT: doubling the number of calls finds one that is long enough in a few steps, whatever the unit of time is.
Measurement measure(const std::function<void()>& function, MeasureOptions options,
                    const std::function<double()>& clock) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(options.samples >= 1, "a measurement needs at least one sample, but samples is ",
                    options.samples, "\n[measure] set MeasureOptions::samples to 1 or more");
  const Timer timer;
  const std::function<double()> now = clock ? clock : [&timer] { return timer.seconds(); };
  const auto time_of = [&](int64_t calls) {
    const double start = now();
    for (int64_t i = 0; i < calls; ++i) function();
    return now() - start;
  };

  // Warm up, and double the number of calls until a sample is long enough.
  function();
  constexpr int64_t most_calls = int64_t{1} << 30;
  int64_t calls = 1;
  while (time_of(calls) < options.sample_seconds && calls < most_calls) calls *= 2;

  std::vector<double> seconds;
  for (int i = 0; i < options.samples; ++i) seconds.push_back(time_of(calls) / static_cast<double>(calls));
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return {median_of(seconds), *fastest, *slowest, options.samples, calls};
  // END SOLUTION
}

// %%
//| mistake 00-measure one-call-per-sample
//| says One call is shorter than a step of the clock, so the clock shows 0 or a whole step: put many calls into a sample.
#if 0
Measurement measure(const std::function<void()>& function, MeasureOptions options,
                    const std::function<double()>& clock) {
  TORCH_CHECK_VALUE(options.samples >= 1, "a measurement needs at least one sample");
  const Timer timer;
  const std::function<double()> now = clock ? clock : [&timer] { return timer.seconds(); };
  function();
  std::vector<double> seconds;
  for (int i = 0; i < options.samples; ++i) {
    const double start = now();
    function();
    seconds.push_back(now() - start);
  }
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return {median_of(seconds), *fastest, *slowest, options.samples, 1};
}
#endif

// %%
//| mistake 00-measure counts-the-cold-call
//| says The first call is slower than all others (cold caches, missing pages): make it before anything is timed.
#if 0
Measurement measure(const std::function<void()>& function, MeasureOptions options,
                    const std::function<double()>& clock) {
  TORCH_CHECK_VALUE(options.samples >= 1, "a measurement needs at least one sample");
  const Timer timer;
  const std::function<double()> now = clock ? clock : [&timer] { return timer.seconds(); };
  const int64_t calls = 32768;
  std::vector<double> seconds;
  for (int i = 0; i < options.samples; ++i) {
    const double start = now();
    for (int64_t call = 0; call < calls; ++call) function();
    seconds.push_back((now() - start) / static_cast<double>(calls));
  }
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return {median_of(seconds), *fastest, *slowest, options.samples, calls};
}
#endif

// %%
//| lesson
// A machine on which time passes only by calling: 50 ns a call, 10 ms for the first one, and a clock that steps by 1 us. With interruptions, every 20 ms something else runs
// for 1 ms.
struct PretendedMachine {
  bool interruptions = false;
  double now = 0;
  int64_t calls = 0;
  int64_t readings = 0;

  void call() {
    const double before = now;
    now += calls++ == 0 ? 10e-3 : 50e-9;
    if (interruptions && std::floor(before / 20e-3) != std::floor(now / 20e-3)) now += 1e-3;
  }
  double clock() {
    ++readings;
    return std::floor(now * 1e6) * 1e-6;
  }
  Measurement measured(MeasureOptions options = {}) {
    return measure([this] { call(); }, options, [this] { return clock(); });
  }
};

// %% {"nbgrader": {"grade": true, "grade_id": "00-measure-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("measure: nanoseconds with a clock that steps by microseconds") {
  PretendedMachine machine;
  const Measurement m = machine.measured();
  CHECK_CLOSE(m.median, 50e-9, 0.01, 0);
  CHECK(m.maximum < 51e-9);  // the cold call is in no sample
  CHECK(m.minimum > 49e-9);
  CHECK_EQ(m.samples, 7);
  CHECK(static_cast<double>(m.calls_per_sample) * 50e-9 >= 0.99e-3);
  CHECK(machine.readings <= 2 * 7 + 100);
}

TEST_CASE("measure: one interruption does not move the median") {
  PretendedMachine machine;
  machine.interruptions = true;
  const Measurement m = machine.measured({.samples = 15, .sample_seconds = 1e-3});
  CHECK_CLOSE(m.median, 50e-9, 0.01, 0);
  CHECK(m.maximum > 60e-9);
  // BEGIN HIDDEN TESTS
  PretendedMachine longer;
  CHECK(longer.measured({.samples = 1, .sample_seconds = 20e-3}).calls_per_sample >= 390000);
  CHECK_ERROR(longer.measured({.samples = 0}), "at least one sample");
  int calls = 0;
  CHECK_THROWS_AS(measure([&calls] {
                    if (++calls == 3) throw std::runtime_error("third call");
                  }),
                  std::runtime_error);
  const Measurement slow = measure([] {}, {.samples = 3, .sample_seconds = 1e-4});  // with the real clock
  CHECK(slow.median > 0);
  CHECK(slow.minimum <= slow.median);
  CHECK(slow.median <= slow.maximum);
  // END HIDDEN TESTS
}

// %%
//| export core/utils.cpp
std::string format_seconds(double seconds) {
  struct Unit {
    double size;
    const char* name;
  };
  constexpr Unit units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
  const Unit* unit = std::find_if(std::begin(units), std::end(units) - 1,
                                  [&](const Unit& u) { return std::abs(seconds) >= u.size; });
  std::ostringstream out;
  const double value = seconds / unit->size;
  out.precision(std::abs(value) < 10 ? 2 : std::abs(value) < 100 ? 1 : 0);
  out << std::fixed << value << ' ' << unit->name;
  return out.str();
}

// %%
TEST_CASE("format_seconds: three digits and a unit; a Timer never runs backward") {
  CHECK_EQ(format_seconds(1.53e-6), "1.53 us");
  CHECK_EQ(format_seconds(0.25), "250 ms");
  CHECK_EQ(format_seconds(4.5e-10), "0.45 ns");
  const Timer timer;
  const double first = timer.seconds();
  CHECK(timer.seconds() >= first);
}

// %%
DEMO("a single measurement, ten times, and the median of many") {
  std::vector<double> numbers(2000);
  const auto work = [&numbers] {
    for (double& x : numbers) x = std::sqrt(x + 1);
    do_not_optimize(numbers.data());
  };
  std::cout << "one call each:";
  for (int i = 0; i < 10; ++i) {
    const Timer timer;
    work();
    std::cout << "  " << format_seconds(timer.seconds());
  }
  const Measurement m = measure(work);
  std::cout << "\nmeasure:        " << format_seconds(m.median) << "  (from " << format_seconds(m.minimum)
            << " to " << format_seconds(m.maximum) << " over " << m.samples << " samples of "
            << m.calls_per_sample << " calls)\n";
}

// %% [markdown]
// ### Numbers from files
//
// Training starts with reading, and reading is where real systems meet the world: a path that is wrong on this machine, a download that stopped, a spreadsheet that somebody
// saved with semicolons. A reader that believes its input turns each of them into a crash an hour later, or worse, into a model that is a little bad. There are readers for
// two formats; the first is yours, the second stands in library chapter 92:
//
//     data.csv              weights.npy
//     +-----------------+   +---------------------------------------------------------------+----------+
//     | 0,0,5,13,9,1    |   | NUMPY 1 0 | length | {'descr': '<f4', ..., 'shape': (2, 6), } | 48 bytes |
//     | 0,0,13,15,10,15 |   +---------------------------------------------------------------+----------+
//     +-----------------+                              type              sizes               values
//              |                                         |                 |                    |
//              v                                         v                 v                    v
//     +---------------+---------------------------------------+
//     | sizes {2, 6}  | values 0 0 5 13 9 1 0 0 13 15 10 15   |   one row after the other
//     +---------------+---------------------------------------+
//
// The second is NumPy's format for arrays. Both read in O(size of the file), and keep the file and the values in memory at once.

// %%
//| export core/utils.h
// Numbers with sizes, in row-major order: values.size() is the product of sizes.
struct NumericArray {
  std::vector<int64_t> sizes;
  std::vector<double> values;
};

// The bytes of a file. Throws Error if it cannot be read; `reader` names the calling function in it.
std::string read_file(const std::string& path, const char* reader);

// Where a data file of the course lies: in the folder that the variable TINYTORCH_DATA names, or in `data/` here or in a folder above. Throws Error with the places where it
// looked.
std::string find_data(std::string_view name);

// Reads lines of numbers between commas, spaces or tabs as an array {rows, columns}. Empty lines and lines that begin with '#' do not count. Throws Error, naming file and
// line, for anything but the same number of numbers in each line.
NumericArray read_numeric_text(const std::string& path);

// %%
//| export core/utils.cpp
std::string read_file(const std::string& path, const char* reader) {
  std::error_code ignored;
  TORCH_CHECK(!std::filesystem::is_directory(path, ignored), "cannot read ", path, ": it is a folder\n[",
              reader, "] name a file in it");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  TORCH_CHECK(file.is_open(), "cannot open ", path, ": ", std::strerror(errno), "\n[", reader,
              "] check the path; a relative one starts at ", std::filesystem::current_path(ignored).string());
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  TORCH_CHECK(!file.bad(), "cannot read ", path, " to its end\n[", reader, "] reading failed after ",
              bytes.size(), " bytes; check the disk");
  return bytes;
}

std::string find_data(std::string_view name) {
  std::string looked_for;
  std::error_code ignored;
  const auto is_there = [&](const std::filesystem::path& path) {
    looked_for += "\n  " + path.string();
    return std::filesystem::exists(path, ignored);
  };
  if (const char* folder = std::getenv("TINYTORCH_DATA")) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    if (is_there(path)) return path.string();
  }
  std::filesystem::path below;
  for (std::filesystem::path here = std::filesystem::current_path(); here != below;
       here = here.parent_path()) {
    const std::filesystem::path path = here / "data" / name;
    if (is_there(path)) return path.string();
    below = here;
  }
  throw Error(TINYTORCH_HERE,
              str("cannot find the data file ", name, "\n[find_data] start the program in a folder of the ",
                  "repository, or set TINYTORCH_DATA to the folder with the data; looked for", looked_for));
}

// %%
TEST_CASE("find_data: finds what ships, and lists the places where it looked") {
  CHECK(std::filesystem::exists(find_data("digits/optdigits.csv")));
  CHECK_ERROR(find_data("no/such.csv"), "cannot find the data file no/such.csv");
  CHECK_ERROR(find_data("no/such.csv"), "data/no/such.csv");
}

// %% [markdown]
// The text reader answers with file, line, value and rule. Five cases deserve care: a number followed by other characters (`12abc` is not 12), two commas with nothing
// between them ('' is not a number), a last line without line end (it counts), Windows line ends, and a line of another length, which most often means that the file was
// cut off.

// %% {"nbgrader": {"grade": false, "grade_id": "00-read-text", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/utils.cpp
// Numbers may be written as 3, -2.5 or 1e-3. Errors: "PATH:LINE: 'TEXT' is not a number" and "PATH:LINE: expected N values but found M", "PATH: there are no numbers in it",
// and read_file's. Lines count from 1.
//
// TODO: Read the numbers line by line, and check that all lines have as many.
// APPROACH: 1. read_file(path, "read_numeric_text"). 2. For each line: skip it if it is empty or begins with '#'. 3. Number after number: std::from_chars, then a comma or a
// gap or the end of the line. 4. Compare the count with that of the first line.
// EXAMPLE: "1,2\n3,4\n" gives sizes {2, 2} and values {1, 2, 3, 4}.
// HINT: from_chars returns where it stopped: whatever stands there must be a separator. It knows no leading spaces: skip them before.
NumericArray read_numeric_text(const std::string& path) {
  // BEGIN SOLUTION
  const std::string text = read_file(path, "read_numeric_text");
  NumericArray table{{0, 0}, {}};
  int64_t& rows = table.sizes[0];
  int64_t& columns = table.sizes[1];
  const auto is_gap = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  const auto is_separator = [&](char c) { return c == ',' || is_gap(c); };

  int64_t line = 0;
  for (const char *at = text.data(), *const text_end = at + text.size(); at < text_end;) {
    ++line;
    const char* const line_end = std::find(at, text_end, '\n');
    int64_t count = 0;
    at = std::find_if_not(at, line_end, is_gap);
    while (at < line_end && *at != '#') {
      double value = 0;
      const auto [after, error] = std::from_chars(at, line_end, value);
      TORCH_CHECK(error == std::errc() && (after == line_end || is_separator(*after)), path, ":", line, ": '",
                  std::string(at, std::find_if(at, line_end, is_separator)),
                  "' is not a number\n[read_numeric_text] ", "value ", count + 1,
                  " of the line; only numbers, and lines that begin with #, may stand in the file");
      table.values.push_back(value);
      ++count;
      at = std::find_if_not(after, line_end, is_gap);
      if (at < line_end && *at == ',') at = std::find_if_not(at + 1, line_end, is_gap);
    }
    if (count > 0) {
      if (rows == 0) columns = count;
      TORCH_CHECK(count == columns, path, ":", line, ": expected ", columns, " values but found ", count,
                  "\n[read_numeric_text] each line must have as many values as the first; a short last line "
                  "means that ",
                  "the file was cut off: fetch it again");
      ++rows;
    }
    at = std::min(line_end + 1, text_end);
  }
  TORCH_CHECK(rows > 0, path, ": there are no numbers in it\n[read_numeric_text] the file has ", text.size(),
              " bytes; is it the right one, and complete?");
  return table;
  // END SOLUTION
}

// %%
//| mistake 00-read-text believes-half-a-number
//| says from_chars reads 12 from 12abc and says where it stopped: a separator or the end of the line must stand there.
#if 0
NumericArray read_numeric_text(const std::string& path) {
  std::istringstream lines(read_file(path, "read_numeric_text"));
  NumericArray table{{0, 0}, {}};
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    std::istringstream parts(line);
    int64_t count = 0;
    for (std::string part; std::getline(parts, part, ',');) {
      table.values.push_back(std::atof(part.c_str()));
      ++count;
    }
    if (table.sizes[0] == 0) table.sizes[1] = count;
    TORCH_CHECK(count == table.sizes[1], path, ":", number, ": expected ", table.sizes[1], " values but found ",
                count);
    ++table.sizes[0];
  }
  TORCH_CHECK(table.sizes[0] > 0, path, ": there are no numbers in it");
  return table;
}
#endif

// %%
//| mistake 00-read-text takes-short-lines
//| says A line with fewer numbers shifts all that follow into wrong columns: compare the count of each line with that of the first.
#if 0
NumericArray read_numeric_text(const std::string& path) {
  std::string text = read_file(path, "read_numeric_text");
  NumericArray table{{0, 0}, {}};
  for (char& c : text) c = c == ',' ? ' ' : c;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream parts(line);
    for (double value; parts >> value;) table.values.push_back(value);
    if (++table.sizes[0] == 1) table.sizes[1] = static_cast<int64_t>(table.values.size());
  }
  TORCH_CHECK(table.sizes[0] > 0, path, ": there are no numbers in it");
  return table;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-read-text-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("read_numeric_text: rows and columns") {
  const tito::TemporaryFile file("# x, y\n1,2.5\n\n-3, 1e-3\n");
  const NumericArray table = read_numeric_text(file.path());
  CHECK_EQ(table.sizes, std::vector<int64_t>{2, 2});
  CHECK_EQ(table.values, std::vector<double>{1, 2.5, -3, 1e-3});
  // BEGIN HIDDEN TESTS
  const tito::TemporaryFile windows("1\t2\r\n3\t4\r\n5 6");
  CHECK_EQ(read_numeric_text(windows.path()).values, std::vector<double>{1, 2, 3, 4, 5, 6});
  // END HIDDEN TESTS
}

TEST_CASE("read_numeric_text: says which file, which line and what to do") {
  const tito::TemporaryFile junk("1,2\n3,12abc\n");
  CHECK_ERROR(read_numeric_text(junk.path()), junk.path() + ":2: '12abc' is not a number");
  const tito::TemporaryFile cut("1,2,3\n4,5,6\n7,8");
  CHECK_ERROR(read_numeric_text(cut.path()), ":3: expected 3 values but found 2");
  CHECK_ERROR(read_numeric_text("/no/such/file.csv"),
              "cannot open /no/such/file.csv: No such file or directory");
  // BEGIN HIDDEN TESTS
  const tito::TemporaryFile nothing("\n# nothing\n");
  CHECK_ERROR(read_numeric_text(nothing.path()), "there are no numbers in it");
  CHECK_ERROR(read_numeric_text("/"), "it is a folder");
  const tito::TemporaryFile gap("1,,2\n");
  CHECK_ERROR(read_numeric_text(gap.path()), "is not a number");
  // END HIDDEN TESTS
}

TEST_CASE("read_numeric_text: the digits that ship with the course") {
  const NumericArray digits = read_numeric_text(find_data("digits/optdigits.csv"));
  CHECK_EQ(digits.sizes, std::vector<int64_t>{1797, 65});
  CHECK_EQ(digits.values[64], 0.0);       // the label of the first
  CHECK_EQ(digits.values[65 + 64], 1.0);  // and of the second
  CHECK_EQ(std::accumulate(digits.values.begin(), digits.values.end(), 0.0), 569788.0);
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// All numbers of this part are measured while the file runs (`tito run 00`), on your machine. Write down what you *expect* before you look; the difference is what you learn.
//
// ### What a check costs
//
// A check was said to cost a compare and a branch. Measure it against no check at all, and against `v1`, the check that most people write first: a function that takes its
// message as a string. That string is made whether it is needed or not.
//
//     v1: check(ok, "index " + to_string(i) + ...)       v2: TORCH_CHECK(ok, "index ", i, ...)
//
//         allocate, format, append                            compare, branch
//         compare, branch
//         free

// %%
//| lesson
// v1: a function. Its message is made at every call.
inline void check_v1(bool ok, const std::string& message) {
  if (!ok) throw std::runtime_error(message);
}

inline double sum_unchecked(const std::vector<double>& values) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[i];
  return sum;
}

inline double sum_checked_v1(const std::vector<double>& values) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    check_v1(i < values.size(),
             "index " + std::to_string(i) + " is out of range for size " + std::to_string(values.size()));
    sum += values[i];
  }
  return sum;
}

inline double sum_checked_v2(const std::vector<double>& values, size_t size) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    TORCH_CHECK_INDEX(i < size, "index ", i, " is out of range for size ", size);
    sum += values[i];
  }
  return sum;
}

// A line of a table: a name, a time, and a bar that compares it with the largest.
inline void print_bar(const std::string& name, double seconds, double largest) {
  std::cout << "  " << std::left << std::setw(34) << name << std::right << std::setw(9)
            << format_seconds(seconds) << "  ";
  const int width = static_cast<int>(std::lround(40 * seconds / largest));
  for (int i = 0; i < std::max(width, 1); ++i) std::cout << "█";
  std::cout << '\n';
}

// %%
//| lesson
// What to know before comparing nanoseconds.
inline void print_how_compiled() {
#ifndef __OPTIMIZE__
  std::cout << "  (the loops of this lesson are compiled without optimization: they cost more than the "
               "library's)\n";
#endif
}

// %%
DEMO("the price of a check, per check") {
  print_how_compiled();
  const std::vector<double> values(1000, 1.0);
  const double count = static_cast<double>(values.size());
  const double none = measure([&] { do_not_optimize(sum_unchecked(values)); }).median / count;
  const double v1 = measure([&] { do_not_optimize(sum_checked_v1(values)); }).median / count;
  const double v2 = measure([&] { do_not_optimize(sum_checked_v2(values, values.size())); }).median / count;
  const double thrown = measure([] {
                          try {
                            TORCH_CHECK_INDEX(false, "index ", 12, " is out of range for size ", 10);
                          } catch (const IndexError& error) {
                            do_not_optimize(error.what());
                          }
                        }).median;
  print_bar("add one number, no check", none, v1);
  print_bar("v2: with TORCH_CHECK_INDEX", v2, v1);
  print_bar("v1: with a function and a string", v1, v1);
  std::cout << "  a check that fails, throws and is caught: " << format_seconds(thrown) << ", the price of "
            << std::lround(thrown / std::max(none, 1e-12)) << " additions\n";
}

// %%
TEST_CASE("the three sums agree, and only the checked ones notice a wrong size") {
  const std::vector<double> values = {1, 2, 3.5};
  CHECK_EQ(sum_unchecked(values), 6.5);
  CHECK_EQ(sum_checked_v1(values), 6.5);
  CHECK_EQ(sum_checked_v2(values, 3), 6.5);
  CHECK_ERROR(sum_checked_v2(values, 2), "index 2 is out of range for size 2");
}

// %% [markdown]
// ### What a load costs
//
// A load from the nearest cache is quick; one from memory takes many times as long. To see how many, each load must wait for the one before: the value loaded is the address
// of the next load. A walk through a random cycle does that, and no prefetcher can guess where it goes:
//
//     line 0      line 1      line 2      line 3      line 4             one line = 64 bytes = what the memory
//     +-----+     +-----+     +-----+     +-----+     +-----+            hands over at once, even if you asked
//     |  3  |     |  2  |     |  0  |     |  4  |     |  1  |            for one byte
//     +-----+     +-----+     +-----+     +-----+     +-----+
//        |                                   ^ |         ^ |
//        +-----------------------------------+ +---------+ +--> 1 -> 2 -> 0     all lines, in one cycle
//
// Sattolo's algorithm makes such a cycle with your generator: a shuffle in which each element, from the last on, changes places with an earlier one, never with itself.
// O(n) time, in place.

// %%
//| lesson
struct alignas(64) Line {
  uint64_t next = 0;
};

// A cycle through `count` lines in random order.
inline std::vector<Line> random_cycle(size_t count, Generator generator) {
  std::vector<Line> lines(count);
  for (size_t i = 0; i < count; ++i) lines[i].next = i;
  for (size_t i = count - 1; i > 0; --i) std::swap(lines[i].next, lines[generator.random() % i].next);
  return lines;
}

// Seconds per load on a walk through `bytes` of memory.
inline double seconds_per_load(int64_t bytes) {
  const std::vector<Line> lines = random_cycle(static_cast<size_t>(bytes) / sizeof(Line), Generator(1));
  constexpr int loads = 100000;
  uint64_t at = 0;
  const auto walk = [&] {
    for (int i = 0; i < loads; ++i) at = lines[at].next;
    do_not_optimize(at);
  };
  return measure(walk, {.samples = 3, .sample_seconds = 1e-3}).median / loads;
}

// %%
TEST_CASE("random_cycle: one cycle through all lines") {
  const std::vector<Line> lines = random_cycle(1000, Generator(3));
  uint64_t at = 0;
  std::set<uint64_t> seen;
  for (size_t i = 0; i < lines.size(); ++i) {
    seen.insert(at);
    at = lines[at].next;
  }
  CHECK_EQ(at, 0);
  CHECK_EQ(seen.size(), 1000);
}

// %%
DEMO("the caches of your machine, seen from a walk through memory") {
  std::vector<std::pair<int64_t, double>> points;
  for (int64_t bytes = 8 << 10; bytes <= 64 << 20; bytes *= 2)
    points.emplace_back(bytes, seconds_per_load(bytes));
  double largest = 0;
  for (const auto& point : points) largest = std::max(largest, point.second);
  for (const auto& [bytes, seconds] : points) {
    std::string fits = "memory";
    const std::vector<CacheInfo> caches = system_info().caches;
    for (auto cache = caches.rbegin(); cache != caches.rend(); ++cache) {
      if (bytes <= cache->bytes) fits = "L" + std::to_string(cache->level);
    }
    print_bar(format_bytes(bytes) + (caches.empty() ? "" : ", fits into " + fits), seconds, largest);
  }
}

// %% [markdown]
// The steps of the stairs stand where the report of your machine says the caches end, or a little before, because other data lives there, too. A tensor of a thousand floats
// is in L1; a batch of images, which pass through a network together, is not. In module 16 these stairs decide how a matrix is cut into tiles.
//
// ### What memory costs, and when
//
// Asking for memory is a promise, not a delivery. The system hands out addresses, and finds the page behind an address (4 KiB) when it is first touched, by way of a fault in
// the middle of your loop:
//
//     new char[64 MiB]            touch the first half          touch the rest
//     [ . . . . . . . . ]         [ █ █ █ █ . . . . ]           [ █ █ █ █ █ █ █ █ ]
//     resident: nothing new       resident: + 32 MiB            resident: + 64 MiB

// %%
DEMO("memory that you asked for, and memory that you have") {
  constexpr int64_t size = int64_t{64} << 20;
  const int64_t before = resident_bytes();
  const auto show = [before](const char* what) {
    const int64_t more = resident_bytes() - before;
    std::cout << "  " << std::left << std::setw(24) << what << std::right << std::setw(10)
              << format_bytes(more) << "  ";
    for (int64_t i = 0; i < more >> 21; ++i) std::cout << "█";
    std::cout << '\n';
  };
  const std::unique_ptr<char[]> block(new char[static_cast<size_t>(size)]);
  show("asked for 64 MiB");
  const auto touch = [&block](int64_t begin, int64_t end) {
    const Timer timer;
    for (int64_t i = begin; i < end; i += 4096) block[static_cast<size_t>(i)] = 1;
    return timer.seconds() / static_cast<double>((end - begin) / 4096);
  };
  const double first = touch(0, size / 2);
  show("touched the first half");
  touch(size / 2, size);
  show("touched the rest");
  const double again = touch(0, size / 2);
  std::cout << "  the first touch of a page takes " << format_seconds(first) << ", the next one "
            << format_seconds(again)
            << ";  most memory of this process so far: " << format_bytes(peak_resident_bytes()) << '\n';
}

// %% [markdown]
// That is why frameworks keep freed memory in a pool instead of giving it back: the second tensor of the same size finds its pages already there. Module 01's allocator counts
// what is live, and takes its memory from such a pool (library chapter 70).
//
// ### Block by block, and without a block: three generators
//
// Here is the textbook form of the generator (v1), which computes each word when it is wanted and wraps every index around with a division, beside yours (v2), and beside the one of the
// standard library. A third one (v3) is what GPUs, TensorFlow and JAX use: it has no state but a counter, and computes word number i from i.
//
//     v1, v2   word i-1 ---> word i ---> word i+1       one after the other: a thread that wants word i must pass all before it
//     v3       i ---> mix(i, seed) ---> word i          in any order, by any thread

// %%
//| lesson
// v1: one word at a time, every index modulo 624.
class TwisterV1 {
 public:
  explicit TwisterV1(uint32_t seed) {
    x_[0] = seed;
    for (uint32_t j = 1; j < 624; ++j) x_[j] = 1812433253u * (x_[j - 1] ^ (x_[j - 1] >> 30)) + j;
  }
  uint32_t operator()() {
    const uint32_t joined = (x_[k_] & 0x80000000u) | (x_[(k_ + 1) % 624] & 0x7fffffffu);
    x_[k_] = x_[(k_ + 397) % 624] ^ (joined >> 1) ^ ((joined & 1u) != 0 ? 0x9908b0dfu : 0u);
    const uint32_t word = x_[k_];
    k_ = (k_ + 1) % 624;
    return mt19937_temper(word);
  }

 private:
  std::array<uint32_t, 624> x_{};
  size_t k_ = 0;
};

// v3: no state but a position. Word number i is mixed out of i and the seed, so that any thread can make any word at once. Philox 4x32-10 (Salmon et al.,
// Parallel random numbers: as easy as 1, 2, 3, 2011): ten rounds of two products make four words.
class CounterV3 {
 public:
  explicit CounterV3(uint64_t seed) : seed_(seed) {}
  uint32_t operator()() {
    if (next_ % 4 == 0) words_ = words(next_ / 4);
    return words_[next_++ % 4];
  }
  // The words 4 * block to 4 * block + 3.
  std::array<uint32_t, 4> words(uint64_t block) const {
    std::array<uint32_t, 4> c{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0};
    auto key0 = static_cast<uint32_t>(seed_), key1 = static_cast<uint32_t>(seed_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t first = uint64_t{0xd2511f53u} * c[0], second = uint64_t{0xcd9e8d57u} * c[2];
      c = {static_cast<uint32_t>(second >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(second), static_cast<uint32_t>(first >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(first)};
      key0 += 0x9e3779b9u;
      key1 += 0xbb67ae85u;
    }
    return c;
  }

 private:
  uint64_t seed_;
  uint64_t next_ = 0;
  std::array<uint32_t, 4> words_{};
};

// Seconds per number that `next` makes.
template <class F>
double seconds_per_draw(F next) {
  constexpr int draws = 6240;
  return measure([&next] {
           uint32_t all = 0;
           for (int i = 0; i < draws; ++i) all ^= next();
           do_not_optimize(all);
         }).median /
         draws;
}

// %%
TEST_CASE("TwisterV1: the same numbers, word by word") {
  TwisterV1 v1(42);
  mt19937 v2(42);
  for (int i = 0; i < 2000; ++i) REQUIRE(v1() == v2());
}

// %%
TEST_CASE("CounterV3: the published words for a counter and a key of zeros, and any word by its number") {
  CHECK(CounterV3(0).words(0) == std::array<uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CounterV3 in_order(42);
  for (uint64_t i = 0; i < 40; ++i) REQUIRE(in_order() == CounterV3(42).words(i / 4)[i % 4]);
}

// %%
DEMO("a random number, in several ways") {
  print_how_compiled();
  Generator generator(1);
  const double v1 = seconds_per_draw(TwisterV1(1));
  const double v2 = seconds_per_draw(mt19937(1));
  const double v3 = seconds_per_draw(CounterV3(1));
  const double standard =
      seconds_per_draw([engine = std::mt19937(1)]() mutable { return static_cast<uint32_t>(engine()); });
  const double uniform =
      seconds_per_draw([&] { return static_cast<uint32_t>(generator.uniform_float() * 2); });
  const double normal =
      seconds_per_draw([&] { return static_cast<uint32_t>(generator.normal_double() > 0); });
  const double largest = std::max({v1, v2, v3, standard, uniform, normal});
  print_bar("v1: word by word", v1, largest);
  print_bar("v2: block by block", v2, largest);
  print_bar("v3: from a counter", v3, largest);
  print_bar("std::mt19937", standard, largest);
  print_bar("uniform_float", uniform, largest);
  print_bar("normal_double", normal, largest);
  std::printf("  bytes of state: v1 %zu, v2 %zu, v3 %zu\n", sizeof(TwisterV1), sizeof(mt19937), sizeof(CounterV3));
}

// %% [markdown]
// A normal number costs several times as much as a uniform one: it needs two of 64 bits for two results, a logarithm, a root, a sine and a cosine. To fill the weights of a
// model with a billion parameters takes seconds; PyTorch therefore has a second, vectorized path for tensors of 16 numbers and more.
//
// **Complexity**, all in one place:
//
//     what                      time                      memory
//     ------------------------  ------------------------  -----------------------------------------
//     a check that passes       O(1): 1 branch            0
//     a check that fails        microseconds              the message
//     a random number           O(1), 624 words at once   2.5 KB per stream, 5.6 KB as text
//     measure                   samples x sample_seconds  O(samples)
//     read_numeric_text         O(bytes)                  the file + 8 bytes per number
//
// ## Part 3: Production context
//
// The same four things, where you will meet them again. Paths are those of PyTorch's repository unless another one is named.
//
//     here                  PyTorch (aten = aten/src/ATen)        TensorFlow             JAX
//     --------------------  ------------------------------------  ---------------------  --------------------
//     Error, TORCH_CHECK    c10/util/Exception.h                  absl::Status and       Python exceptions,
//                                                                 OP_REQUIRES in         raised while tracing
//                                                                 op_requires.h
//     mt19937, Generator,   aten/core/MT19937RNGEngine.h          philox_random.h        jax/_src/prng.py
//     uniform, normal       aten/core/DistributionsHelper.h                              jax/_src/random.py
//                           aten/native/cpu/
//                             DistributionTemplates.h
//     SystemInfo            torch/utils/collect_env.py            tf.sysconfig           jax.print_
//                                                                                        environment_info
//     measure               torch/utils/benchmark/utils/timer.py  tf.test.Benchmark      block_until_ready
//
// (TensorFlow's are tensorflow/core/framework/op_requires.h and tensorflow/core/lib/random/philox_random.h.)
//
// **Errors.** PyTorch throws, as we do. TensorFlow's kernels were written without exceptions: every function returns a `Status`, and a macro returns early when it is not OK.
// An exception costs nothing while nothing fails, and microseconds when something does; a status costs a compare at every level, always, and every level must hand it on. What
// PyTorch has and we leave out: a real backtrace of the C++ stack (it is asked for with TORCH_SHOW_CPP_STACKTRACES=1), and the translation of `IndexError` and its kin into
// Python's.
//
// **Random numbers.** The twister is sequential: number one million needs all that come before. A GPU with a hundred thousand threads cannot wait for that, and two machines
// that share the work cannot share a stream. So GPUs, TensorFlow and JAX use *counter-based* generators: number i of stream k is a function of (k, i) and nothing else, a
// cipher that encrypts a counter.
//
//     mt19937:   state --> state --> state --> state          one after the other; 2.5 KB to save
//
//     Philox:    (key, 0)  (key, 1)  (key, 2)  (key, 3)       in any order, by any thread; 16 bytes to save
//                    |         |         |         |
//                  mix       mix       mix       mix
//                    v         v         v         v
//
// JAX goes furthest: there is no hidden stream at all. A program carries *keys*, and `split` makes new ones; a function that draws is a pure function of its key, which is
// what lets it be compiled, vectorized and repeated. PyTorch's design is easier to begin with, and has a hidden order: insert one `rand` and everything after it changes.
// Library chapter 92 has Philox 4x32-10 (Salmon et al., 2011) in fifteen lines, and measures how long each takes to reach number one million.

// %% [markdown]
// **Measuring.** `torch.utils.benchmark.Timer.blocked_autorange` does what your `measure` does: it finds a number of calls that takes long enough, takes several blocks, and
// reports the median and the spread. On a GPU there is one more trap: a call only *queues* the work, so a clock that does not wait for the device measures the queue.
//
// **The environment.** Three questions that every project has to answer:
//
// *Why do we need environments of our own?* A program is its source *and* everything it was built with. In Python, a virtual environment pins the versions of packages,
// because two projects on one machine want different ones. In C++ the same need goes deeper: compiler, standard library and flags decide the layout of every object that
// crosses from one library to another. Mixing two of them does not give an error message; it gives wrong fields. So this project names its compiler and its packages, builds
// into a folder of its own, and nothing it does depends on what else is installed:
//
//     source  +  compiler, flags  +  libraries  +  machine   -->  the numbers you see
//     git        build/<config>      Debian 12's    report
//                                    packages
//
// *How does our development setup compare to production?* It is the same code, compiled otherwise. While you learn, tests are built without optimization, because that
// compiles in a second; production is built with -O2, for several CPUs at once, and chooses its kernels at run time. Production pins its world in a container image, we in a
// list of Debian packages. What must not differ is behaviour: that is why the random numbers are the same in every build.
//
// *What are the trade-offs in our toolchain?* C++ gives control over memory and time, and takes safety and fast builds. We buy some of both back: sanitizers find what the
// language lets pass; splitting a module into small units, with a precompiled header and a compiler cache, keeps an edit at about a second. PyTorch and JAX answer with two
// languages, Python above and C++ below, and pay at the border between them. We stay on one side of it, so that you see everything. Few dependencies mean more to write and
// less to trust: this framework has no BLAS (a library of matrix products) inside, and module 16 pays for it.
//
// ## Integration test
//
// Everything together, as later modules will use it: data is found and read, a generator shuffles it, the run is interrupted and goes on, a wrong file is refused with a
// sentence that a user can act on, and nothing printed but what was asked for.

// %%
//| lesson
// A random order of 0 ... count - 1 (Fisher-Yates).
inline std::vector<int64_t> shuffled(int64_t count, Generator generator) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    std::swap(order[i], order[i + generator.random() % (order.size() - i)]);
  }
  return order;
}

// %% {"nbgrader": {"grade": true, "grade_id": "00-integration-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("integration: read, shuffle, stop, go on") {
  const NumericArray digits = read_numeric_text(find_data("digits/optdigits.csv"));
  const int64_t rows = digits.sizes[0];

  // Two epochs in one go, and two with an interruption between them, which keeps only a line of text.
  Generator one_go(11);
  shuffled(rows, one_go);
  const std::vector<int64_t> expected = shuffled(rows, one_go);

  std::string checkpoint;
  {
    Generator first_run(11);
    shuffled(rows, first_run);
    checkpoint = first_run.state();
  }
  Generator second_run;
  second_run.set_state(checkpoint);
  CHECK(shuffled(rows, second_run) == expected);
  CHECK(shuffled(rows, Generator(12)) != expected);
  CHECK_EQ(std::set<int64_t>(expected.begin(), expected.end()).size(), static_cast<size_t>(rows));
}

TEST_CASE("integration: what goes wrong far below says what was going on above") {
  const tito::TemporaryFile cut("1,2,3\n4,5\n");
  try {
    try {
      read_numeric_text(cut.path());
    } catch (Error& error) {
      error.add_context("while loading the test set");
      throw;
    }
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    const std::string text = error.what_without_backtrace();
    CHECK(text.find(cut.path() + ":2: expected 3 values but found 2") == 0);
    CHECK(text.find("while loading the test set") != std::string::npos);
    CHECK(text.find("Exception raised from") == std::string::npos);
  }
}

// %%
}  // namespace tinytorch

// %% [markdown]
// ## ML systems thinking
//
// Answer from what you measured; run `tito run 00` beside you.
//
//     your program            a check: ___      a call: ___        a load from L1: ___
//         |
//         v
//     one operator            arguments, checks, one call, one loop over the data
//         |
//         v
//     one training step       thousands of operators       a load from memory: ___      a new page: ___
//
// 1. An operator works on a tensor of one number. Which of the costs that you measured are larger than the work? At how many numbers do they stop to matter?
// 2. `manual_seed(s + (worker << 32))` was meant to give each data-loading worker a stream of its own. What happens with our generator, and with PyTorch's? What would you do
//    instead, and what would JAX do?
// 3. A colleague reports that a change made training 4 % faster, measured once before and once after. What do you ask for?

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "00-explain-memory", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Explain: the stairs.** A layer multiplies its inputs by a matrix of 256 x 256 weights in float32, and a second one by 4096 x 4096. Using the stairs that you measured, say
// for each from which level its weights come when a batch of inputs passes through, and estimate how long it takes to read them once, (a) if every cache line is waited for as
// in the walk and (b) if lines arrive one after the other without waiting, at 10 GB/s. What does the difference between (a) and (b) say about how a kernel should go through
// memory? Quote your numbers.
// BEGIN SOLUTION
// 256 x 256 x 4 bytes is 256 KiB: it fits into L2 on most machines (a few nanoseconds a line). 4096 x 4096 x 4 is 64 MiB, which is beyond most L3 caches: about 100 ns a line
// when each is waited for. (a) 64 MiB are 1,048,576 lines; at 100 ns that is about 0.1 s; the small one has 4,096 lines, at 4 ns about 16 us. (b) At 10 GB/s, 64 MiB take
// about 7 ms, fifteen times less than waiting, and 256 KiB take 26 us or less (from L2 the rate is higher). The latency is the same in both cases; the difference is how many
// loads are under way at once. Going through memory in order lets the prefetcher start loads before they are needed, and independent loads overlap. A kernel should read in
// order, use all of a line, and use what it has loaded many times (tiles that fit into a cache) before it goes on. A full answer quotes the measured latencies, places both
// layers, and names overlap or prefetching as the reason.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "00-explain-environment", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Explain: the same numbers, or not.** You train with seed 0 on your laptop and on a server, and the losses agree for 40 steps and then drift apart in the last digits. Name
// three parts of the environment that may cause it although the random numbers are bit for bit the same, say how you would find out which one it is, and say what of it a
// virtual environment or a container would fix and what it would not.
// BEGIN SOLUTION
// Candidates: another CPU with other vector extensions, so that sums are added in another order; another number of threads, with the same effect; another compiler or other
// flags (fused multiply-add, -ffast-math), another version of the mathematical library (exp and log differ in the last bit). To find out: compare the two reports of
// system_info(); force the same extension and one thread; then change one thing at a time and look for the first step at which a recorded value differs, comparing bits and
// not printed digits. A container fixes compiler, flags and libraries. It does not fix the CPU, its extensions or the number of cores. A full answer names the order of
// additions as the mechanism, separates what a container pins from what it does not, and gives a way to bisect.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// You built the floor that everything else stands on:
//
//     +--------------------------------------------------------------------------------------+
//     |                          every later module                                          |
//     +----------------------------+---------------------------+-----------------------------+
//     | core/error.h               | core/generator.h          | core/utils.h                |
//     | TORCH_CHECK, Error:        | mt19937, Generator:       | value_of_key, measure,      |
//     | a message only on failure, | PyTorch's numbers, exact  | median_of, readers that     |
//     | with context and place     | resume                    | check                       |
//     +----------------------------+---------------------------+-----------------------------+
//
// - A check is a branch; its message lives elsewhere and is made only when needed. Errors name values, the rule and the next step.
// - A generator is a state and a function. Reproducing a stream means agreeing on every bit that is used, in order; resuming means saving *all* of the state, the normal
//   number that waits included.
// - Never change anything before all of the input has been checked, and never believe a number that a file claims.
// - A time is a distribution. Warm up, take enough calls for the clock, report the median and the machine.
// - Caches, calls and page faults have prices that you have now seen on your own machine. Every design decision from here on is a trade among them.
//
// Next is module 01, the Tensor: bytes, sizes and strides, with these checks in front of every operator.
