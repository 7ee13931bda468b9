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
// # Library chapter 92: Parts
//
// What a framework needs below its first tensor and no lesson has room for: warnings, the report of the machine, a reader for NumPy's files, lists of sizes, handles that
// count their owners, and the numbers themselves, as types that are known only when the program runs. No exercises; it comes to learners prebuilt.
//
//     module 00   errors, random numbers, time
//        |
//     this        warnings   system_info   read_npy   |   IntArrayRef, DimVector   intrusive_ptr   ScalarType, Scalar
//        |                                            |
//     module 01   storage, views, the dispatcher      <---+

// %%
//| after 00
//| export core/warning.h
#include <atomic>
#include <variant>
#include "tinytorch/core/error.h"
//| export core/warning.cpp
#include <iostream>
//| export core/check_op.h
#include <utility>
#include "tinytorch/core/error.h"
//| export core/irange.h
#include <cstddef>
#include <iterator>
#include <type_traits>
//| export core/function_ref.h
#include <memory>
#include <type_traits>
#include <utility>
//| export core/system_info.h
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>
//| export core/system_info.cpp
#include <sys/utsname.h>
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <ostream>
#include <sstream>
#include <string_view>
#include <thread>
#include "tinytorch/core/utils.h"
//| export core/npy.h
#include "tinytorch/core/utils.h"
//| export core/npy.cpp
#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <sstream>
#include "tinytorch/core/error.h"
//| export core/record_function.h
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>
//| export core/layer_set.h
#include <bit>
#include <cstdint>
#include <optional>
#include <type_traits>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/record_function.h"
#include "tinytorch/core/scalar.h"
//| export core/array_ref.h
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <vector>
#include "tinytorch/core/error.h"
//| export core/array_ref.cpp
#include <cstdint>
//| export core/optional_array_ref.h
#include <concepts>
#include <initializer_list>
#include <optional>
#include <type_traits>
#include "tinytorch/core/array_ref.h"
//| export core/small_memory.h
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define TINYTORCH_KNOWS_SINGLE_THREADED 1
#endif
#endif
//| export core/small_memory.cpp
#include <new>
//| export core/memory_format.h
#include <cstdint>
#include <ostream>
#include "tinytorch/core/array_ref.h"
//| export core/intrusive_ptr.h
#include <atomic>
#include <cstdint>
#include <utility>
#include "tinytorch/core/small_memory.h"
//| export core/small_vector.h
#include <array>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>
//| export core/pointer_map.h
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>
//| export core/half.h
#include <bit>
#include <cstdint>
#include <type_traits>
//| export core/scalar_type.h
#include <cstdint>
#include <ostream>
#include <type_traits>
#include "tinytorch/core/error.h"
#include "tinytorch/core/half.h"
//| export core/device.h
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
//| export core/device.cpp
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>
#include "tinytorch/core/error.h"
//| export core/scalar.h
#include <concepts>
#include <limits>
#include "tinytorch/core/scalar_type.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include "tinytorch/core/record_function.h"
#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>
#include "tinytorch/core/device.h"
#include "tinytorch/core/generator.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Warnings
//
// Some things deserve a word though nothing is wrong enough to stop: a deprecated argument, a loss that compares tensors of different shapes. A library cannot know where such
// words should go. A notebook wants a coloured box, a server its log, a test wants to count them. So the library hands every warning to a *handler*, and the program decides:
//
//     TORCH_WARN("...") --> Warning{type, where, msg} --> the thread's handler --+--> stderr (the default)
//                                                                                +--> a log, a box, a test

// %%
//| export core/warning.h
// Something that a user should know, though the program goes on.
class Warning {
 public:
  class UserWarning {};
  class DeprecationWarning {};
  using warning_variant_t = std::variant<UserWarning, DeprecationWarning>;

  Warning(warning_variant_t type, const SourceLocation& source_location, std::string msg,
          bool verbatim = false)
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
  ::tinytorch::warn(    \
      ::tinytorch::Warning(::tinytorch::UserWarning(), TINYTORCH_HERE, ::tinytorch::str(__VA_ARGS__)))

#define TORCH_WARN_DEPRECATION(...)                                                         \
  ::tinytorch::warn(::tinytorch::Warning(::tinytorch::DeprecationWarning(), TINYTORCH_HERE, \
                                         ::tinytorch::str(__VA_ARGS__)))

// Warns the first time that this line is reached.
#define TORCH_WARN_ONCE(...)                                                                \
  do {                                                                                      \
    static std::atomic<bool> torch_warned_once{false};                                      \
    if (!torch_warned_once.exchange(true) || ::tinytorch::WarningUtils::get_warnAlways()) { \
      TORCH_WARN(__VA_ARGS__);                                                              \
    }                                                                                       \
  } while (false)

// %%
//| export core/warning.cpp
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
  std::cerr << str("[W ", where.file, ":", where.line, "] ",
                   deprecation ? "DeprecationWarning: " : "Warning: ", warning.msg(), " (function ",
                   where.function, ")\n");
}

void WarningUtils::set_warning_handler(WarningHandler* handler) noexcept { current_handler = handler; }

WarningHandler* WarningUtils::get_warning_handler() noexcept {
  return current_handler != nullptr ? current_handler : &printing_handler();
}

void WarningUtils::set_warnAlways(bool setting) noexcept { warn_always = setting; }

bool WarningUtils::get_warnAlways() noexcept { return warn_always; }

void warn(const Warning& warning) { WarningUtils::get_warning_handler()->process(warning); }

// %%
//| lesson
// A handler that keeps the messages.
class CollectingHandler : public WarningHandler {
 public:
  void process(const Warning& warning) override { messages.push_back(warning.msg()); }
  std::vector<std::string> messages;
};

// %%
TEST_CASE("TORCH_WARN: goes to the handler of the scope, once where once was asked for") {
  CollectingHandler outer;
  const WarningUtils::WarningHandlerGuard outer_guard(&outer);
  {
    CollectingHandler inner;
    const WarningUtils::WarningHandlerGuard inner_guard(&inner);
    TORCH_WARN("sizes differ: ", 3, " and ", 4);
    CHECK_EQ(inner.messages, std::vector<std::string>{"sizes differ: 3 and 4"});
  }
  CHECK(outer.messages.empty());
  for (int i = 0; i < 3; ++i) TORCH_WARN_ONCE("only once, i = ", i);
  CHECK_EQ(outer.messages, std::vector<std::string>{"only once, i = 0"});
}

// %% [markdown]
// ## Checks that show both sides
//
// `TORCH_CHECK(a == b)` can only say that it failed. `TORCH_CHECK_EQ(a, b)` shows the two values as well, and more can be written behind it: `TORCH_CHECK_EQ(rows, 3) << "in " << file`. The error is thrown when the statement is over, by a destructor:
// when everything has been written.

// %%
//| export core/check_op.h
namespace detail {
// Collects what a failed comparison has to say and throws it as an Error when the statement ends. Source: c10/util/Logging.h (MessageLogger).
class FailedComparison {
 public:
  explicit FailedComparison(SourceLocation where) : where_(where) {}
  FailedComparison(const FailedComparison&) = delete;
  FailedComparison& operator=(const FailedComparison&) = delete;
  ~FailedComparison() noexcept(false) { throw Error(where_, out_.text()); }
  std::ostream& stream() { return out_.stream(); }

 private:
  SourceLocation where_;
  TextStream out_;
};

// Makes a stream void, so that both sides of a `?:` are.
struct IgnoreStream {
  void operator&(std::ostream&) const {}
};
}  // namespace detail

// Throws an Error that shows both values unless `val1 op val2` holds; they are evaluated again for it. Source: c10/util/Exception.h.
#define TORCH_CHECK_OP(val1, val2, op)                                                                                  \
  ((val1)op(val2)) ? static_cast<void>(0)                                                                               \
                   : ::tinytorch::detail::IgnoreStream() & ::tinytorch::detail::FailedComparison(TINYTORCH_HERE).stream() \
                         << "Check failed: " #val1 " " #op " " #val2 " (" << (val1) << " vs. " << (val2) << "). "
#define TORCH_CHECK_EQ(val1, val2) TORCH_CHECK_OP(val1, val2, ==)
#define TORCH_CHECK_NE(val1, val2) TORCH_CHECK_OP(val1, val2, !=)
#define TORCH_CHECK_LT(val1, val2) TORCH_CHECK_OP(val1, val2, <)
#define TORCH_CHECK_LE(val1, val2) TORCH_CHECK_OP(val1, val2, <=)
#define TORCH_CHECK_GT(val1, val2) TORCH_CHECK_OP(val1, val2, >)
#define TORCH_CHECK_GE(val1, val2) TORCH_CHECK_OP(val1, val2, >=)

// %%
TEST_CASE("TORCH_CHECK_EQ and its kind: say both values and what is written behind") {
  const int rows = 2;
  const auto wants_three = [&] { TORCH_CHECK_EQ(rows, 3) << "in a.txt"; };
  CHECK_ERROR(wants_three(), "Check failed: rows == 3 (2 vs. 3). in a.txt");
  TORCH_CHECK_EQ(rows, 2) << "never said";
  TORCH_CHECK_NE(rows, 3);
  TORCH_CHECK_LT(rows, 3);
  TORCH_CHECK_LE(rows, 2);
  TORCH_CHECK_GT(rows, 1);
  TORCH_CHECK_GE(rows, 2);
  const auto fails = [&](int which) {
    if (which == 0) TORCH_CHECK_NE(rows, 2);
    else if (which == 1) TORCH_CHECK_LT(rows, 2);
    else if (which == 2) TORCH_CHECK_LE(rows, 1);
    else if (which == 3) TORCH_CHECK_GT(rows, 2);
    else TORCH_CHECK_GE(rows, 3);
  };
  const char* said[] = {"rows != 2 (2 vs. 2)", "rows < 2 (2 vs. 2)", "rows <= 1 (2 vs. 1)", "rows > 2 (2 vs. 2)", "rows >= 3 (2 vs. 3)"};
  for (int which = 0; which < 5; ++which) CHECK_ERROR(fails(which), std::string("Check failed: ") + said[which]);
}

// %% [markdown]
// ## Counting
//
// Loops over a range of integers, under libtorch's name. `for (const auto i : irange(n))` takes the type of `n`, so that the comparison of signed and unsigned numbers, and
// the warning about it, never comes up.

// %%
//| export core/irange.h
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
requires std::is_integral_v<Begin> && std::is_integral_v<End> IntegerRange<End> irange(Begin begin, End end) {
  return {static_cast<End>(begin), end};
}

template <class End>
requires std::is_integral_v<End> IntegerRange<End> irange(End end) { return {End{0}, end}; }

// %%
TEST_CASE("irange: half-open, empty when the end comes first") {
  std::vector<int> seen;
  for (const auto i : irange(2, 5)) seen.push_back(i);
  CHECK_EQ(seen, std::vector<int>{2, 3, 4});
  for (const auto i : irange(5, 2)) seen.push_back(i);
  for (const auto i : irange(-1)) seen.push_back(i);
  CHECK_EQ(seen.size(), 3);
  const auto squares = irange(size_t{4});
  CHECK_EQ(std::accumulate(squares.begin(), squares.end(), size_t{0}), 6);
}

// %% [markdown]
// ## Functions by address
//
// A loop that takes any function as a template parameter is compiled again for each function: 200 conversions between types, each with its own walk over memory. A
// `function_ref` is what remains of a function when its type is forgotten: where its object lies, and how to call it. The loop around is then compiled once, and what it
// pays is a call that cannot be inlined, once for each run of elements. `std::function` would own a copy of the function; this borrows it.
//
// When module 01's walks began to take one, the operators of chapter 90, compiled by hand as one source by g++ 12 with -O3, took 13 s of processor time instead of 39, and
// their object shrank from 2.4 MB to 1.1. What it costs: a call for each row; additions in rows of four int64 took 1.5 times as long. PyTorch's TensorIterator takes its loops so too (`loop2d_t`); C++26 has `std::function_ref`.

// %%
//| export core/function_ref.h
template <class Signature>
class function_ref;

// A function by address: not owned, so it must outlive every call; a lambda written in the argument of a call does. Source: c10/util/FunctionRef.h.
template <class Result, class... Params>
class function_ref<Result(Params...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, function_ref> && std::is_invocable_r_v<Result, F&, Params...>)
  function_ref(F&& f)
      : function_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* function, Params... params) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(function))(std::forward<Params>(params)...);
        }) {}

  Result operator()(Params... params) const { return call_(function_, std::forward<Params>(params)...); }

 private:
  void* function_;
  Result (*call_)(void*, Params...);
};

// %%
TEST_CASE("function_ref: calls what it was made of, without a copy of it") {
  int calls = 0;
  auto count = [calls](int by) mutable { return calls += by; };
  const function_ref<int(int)> counted(count);
  CHECK_EQ(counted(2), 2);
  CHECK_EQ(counted(3), 5);  // the same object: its state stays
  CHECK_EQ(count(0), 5);
  const function_ref<int(int)> copy = counted;  // of the address
  CHECK_EQ(copy(1), 6);
  const auto twice = [](function_ref<double(double)> f, double x) { return f(f(x)); };
  CHECK_EQ(twice([](double x) { return x * 3; }, 2), 18);
  CHECK_EQ(twice([&](auto x) { return x + calls + 1; }, 2), 4);
  const auto keep = [&](std::unique_ptr<int> p) { calls = *p; };  // with a name: a temporary would be gone before the call
  const function_ref<void(std::unique_ptr<int>)> takes(keep);
  takes(std::make_unique<int>(7));
  CHECK_EQ(calls, 7);
  CHECK(!std::is_constructible_v<function_ref<int(int)>, int (*)(std::string)>);
}

// %% [markdown]
// ## The report of the machine
//
// What decides how fast a framework runs is written down by the operating system in text files. Module 00's `value_of_key` and `parse_bytes` read them; here they are asked
// for everything that belongs beside a measurement.

// %%
//| export core/system_info.h
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

// %%
//| export core/system_info.cpp
namespace {

int64_t bytes_or_zero(std::string_view text) { return text.empty() ? 0 : parse_bytes(text); }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string compiler_name() {
#if defined(__clang__)
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

// The extensions that matter for kernels, in the order in which they came, out of the flags in /proc/cpuinfo.
std::vector<std::string> simd_extensions(std::string_view flags) {
  std::istringstream words{std::string(flags)};
  const std::vector<std::string> present{std::istream_iterator<std::string>(words), {}};
  std::vector<std::string> found;
  for (const char* name :
       {"sse2", "sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
        "amx_tile", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"}) {
    if (std::find(present.begin(), present.end(), name) != present.end()) found.emplace_back(name);
  }
  return found;
}

std::vector<CacheInfo> data_caches() {
  std::vector<CacheInfo> caches;
  for (int index = 0;; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    const std::string type = first_line(read_if_there(folder + "/type"));
    if (type.empty()) return caches;
    if (type == "Instruction") continue;
    const int level = std::atoi(read_if_there(folder + "/level").c_str());
    caches.push_back({level, bytes_or_zero(first_line(read_if_there(folder + "/size")))});
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
  const std::string memory = read_if_there("/proc/meminfo");
  info.memory_bytes = bytes_or_zero(value_of_key(memory, "MemTotal"));
  info.cache_line_bytes = bytes_or_zero(
      first_line(read_if_there("/sys/devices/system/cpu/cpu0/cache/index0/coherency_line_size")));
  info.caches = data_caches();
  const std::string_view x86_flags = value_of_key(cpuinfo, "flags");
  info.simd = simd_extensions(x86_flags.empty() ? value_of_key(cpuinfo, "Features") : x86_flags);
  return info;
}

std::ostream& operator<<(std::ostream& out, const SystemInfo& info) {
  const auto known = [](const std::string& s) { return s.empty() ? std::string("unknown") : s; };
  out << "system    " << known(info.os) << '\n';
  out << "compiler  " << known(info.compiler) << ", " << info.standard
      << (info.optimized ? ", optimized\n" : ", not optimized\n");
  out << "cpu       " << known(info.cpu_model) << ", " << info.cores
      << (info.cores == 1 ? " core\n" : " cores\n");
  out << "memory    " << (info.memory_bytes == 0 ? "unknown" : format_bytes(info.memory_bytes)) << '\n';
  out << "caches   ";
  for (const CacheInfo& cache : info.caches) out << " L" << cache.level << ' ' << format_bytes(cache.bytes);
  if (info.caches.empty()) out << " unknown";
  if (info.cache_line_bytes != 0) out << ", lines of " << info.cache_line_bytes << " bytes";
  out << "\nsimd     ";
  for (const std::string& extension : info.simd) out << ' ' << extension;
  if (info.simd.empty()) out << " unknown";
  return out << '\n';
}

// %%
TEST_CASE("system_info: knows this machine, and prints a line for each part") {
  const SystemInfo info = system_info();
  CHECK(info.cores >= 1);
  CHECK_EQ(info.standard, "C++20");
  CHECK_FALSE(info.compiler.empty());
  const std::string text = str(info);
  for (const char* part : {"system", "compiler", "cpu", "memory", "caches", "simd"}) {
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(str(SystemInfo()).find("caches    unknown\nsimd      unknown") != std::string::npos);
}

// %% [markdown]
// ## Arrays from NumPy's files
//
// A binary file is shorter and is read without parsing, but its first bytes make promises: "I hold 64 x 32 floats". The file may be shorter than its promise, because a
// download stopped; or the promise may be absurd, because a byte flipped. A reader that allocates what the header asks for, and then looks, can be made to take all memory by
// a file of 100 bytes. So: **never believe a number that a file claims; compare it with the bytes that are there, before you use it.**
//
//     header says: 64 x 32 x 4 bytes = 8192          bytes left in the file: 5000
//                           \                          /
//                            +---- compare first -----+      --> "the file ends inside the values of array 0"
//
// A file may hold several arrays, one after the other: 6 bytes `\x93NUMPY`, 2 bytes of version, the length of the header in 2 bytes (version 1) or 4, the header, the values.

// %%
//| export core/npy.h
// Reads the arrays of a NumPy file, one after the other, as repeated np.save(file, array) writes them. Takes f4, f8, i4, i8, u1 and b1 in row-major order. Throws Error,
// naming the file, if it is anything else, is cut off, or does not have `expected_arrays` arrays (-1: any number).
std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays = -1);

// %%
//| export core/npy.cpp
namespace {

struct NpyHeader {
  std::string descr;  // '<f4': little-endian, float, 4 bytes
  std::vector<int64_t> sizes;
};

// The text from behind `before` up to `after`; nothing if either is missing.
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
  const std::string_view shape = between(text, "'shape': (", ')');
  const bool has_shape = !shape.empty() || text.find("'shape': ()") != std::string_view::npos;
  TORCH_CHECK(
      !header.descr.empty() && has_shape, path,
      ": the header has no descr or no shape\n[read_npy] only plain arrays that np.save wrote can be read");
  TORCH_CHECK(text.find("'fortran_order': False") != std::string_view::npos, path,
              ": the array is not in row-major order\n[read_npy] save np.ascontiguousarray(array)");

  std::istringstream parts{std::string(shape)};
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t first = part.find_first_not_of(' ');
    if (first == std::string::npos) continue;  // after the comma of (3,)
    int64_t size = -1;
    const auto [end, error] = std::from_chars(part.data() + first, part.data() + part.size(), size);
    TORCH_CHECK(error == std::errc() && end == part.data() + part.size() && size >= 0, path, ": the shape (",
                shape, ") is not a list of sizes\n[read_npy] the header is damaged: save the file again");
    header.sizes.push_back(size);
  }
  return header;
}

template <class T>
std::vector<double> to_doubles(const char* bytes, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) {
    T element;
    std::memcpy(&element, bytes, sizeof(T));
    bytes += sizeof(T);
    value = static_cast<double>(element);
  }
  return values;
}

struct NpyType {
  const char* descr;
  int64_t bytes;
  std::vector<double> (*convert)(const char* bytes, int64_t count);
};
constexpr NpyType npy_types[] = {{"<f4", 4, to_doubles<float>},   {"<f8", 8, to_doubles<double>},
                                 {"<i4", 4, to_doubles<int32_t>}, {"<i8", 8, to_doubles<int64_t>},
                                 {"|u1", 1, to_doubles<uint8_t>}, {"|b1", 1, to_doubles<uint8_t>}};
static_assert(std::endian::native == std::endian::little, "read_npy takes little-endian numbers as they are");

// Takes bytes from the front of a file that may be shorter than it should be.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, const std::string& path) : rest_(bytes), path_(path) {}

  bool done() const { return rest_.empty(); }
  int64_t left() const { return static_cast<int64_t>(rest_.size()); }

  std::string_view take(int64_t count, const std::string& what) {
    TORCH_CHECK(count <= left(), path_, ": the file ends inside ", what, ": ", count, " bytes are needed, ",
                left(), " are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view taken = rest_.substr(0, static_cast<size_t>(count));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  // An unsigned number of `count` bytes, the lowest one first.
  int64_t take_number(int64_t count, const std::string& what) {
    const std::string_view digits = take(count, what);
    int64_t value = 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
    return value;
  }

 private:
  std::string_view rest_;
  const std::string& path_;
};

}  // namespace

// %%
//| export core/npy.cpp
std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays) {
  const std::string bytes = read_file(path, "read_npy");
  ByteReader reader(bytes, path);
  std::vector<NumericArray> arrays;
  while (!reader.done()) {
    const std::string which = str("array ", arrays.size());
    TORCH_CHECK(
        reader.take(6, "the start of " + which) == "\x93NUMPY", path, ": ", which,
        " does not begin with NumPy's magic string\n[read_npy] only files that np.save wrote can be read");
    const int64_t major = reader.take_number(1, "the version");
    reader.take_number(1, "the version");
    const int64_t header_length = reader.take_number(major == 1 ? 2 : 4, "the length of the header");
    NpyHeader header = parse_npy_header(reader.take(header_length, "the header of " + which), path);
    const NpyType* type = std::find_if(std::begin(npy_types), std::end(npy_types),
                                       [&](const NpyType& row) { return header.descr == row.descr; });
    TORCH_CHECK(type != std::end(npy_types), path, ": values of type ", header.descr,
                " cannot be read\n[read_npy] save them as float32, float64, int32, int64 or uint8");

    int64_t count = 1;
    bool overflow = false;
    for (int64_t size : header.sizes) overflow |= __builtin_mul_overflow(count, size, &count);
    TORCH_CHECK(!overflow && count <= reader.left() / type->bytes, path,
                ": the file ends inside the values of ", which, ": its sizes ask for more than the ",
                reader.left() / type->bytes,
                " values that are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view data = reader.take(count * type->bytes, "the values");
    arrays.push_back({std::move(header.sizes), type->convert(data.data(), count)});
  }
  TORCH_CHECK(expected_arrays < 0 || static_cast<int64_t>(arrays.size()) == expected_arrays, path,
              ": expected ", expected_arrays, " arrays but found ", arrays.size(),
              "\n[read_npy] is it the right file, and complete?");
  return arrays;
}

// %%
//| lesson
// The bytes that np.save writes: header and padding to a multiple of 64, then the values.
template <class T>
std::string npy_bytes(const std::string& descr, const std::string& shape, const std::vector<T>& values) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += '\1';
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return bytes;
}

// %%
TEST_CASE("read_npy: several arrays in one file, each with its sizes") {
  const tito::TemporaryFile file(npy_bytes<float>("<f4", "2, 3", {1, 2, 3, 4, 5, 6.5}) +
                           npy_bytes<int64_t>("<i8", "2,", {-7, 8}));
  const std::vector<NumericArray> arrays = read_npy(file.path(), 2);
  REQUIRE_EQ(arrays.size(), 2);
  CHECK_EQ(arrays[0].sizes, std::vector<int64_t>{2, 3});
  CHECK_EQ(arrays[0].values, std::vector<double>{1, 2, 3, 4, 5, 6.5});
  CHECK_EQ(arrays[1].sizes, std::vector<int64_t>{2});
  CHECK_EQ(arrays[1].values, std::vector<double>{-7, 8});
  CHECK_ERROR(read_npy(file.path(), 3), "expected 3 arrays but found 2");
  const tito::TemporaryFile scalar(npy_bytes<double>("<f8", "", {0.1}));
  CHECK(read_npy(scalar.path())[0].sizes.empty());
  CHECK_EQ(read_npy(scalar.path())[0].values, std::vector<double>{0.1});
  const tito::TemporaryFile empty(npy_bytes<uint8_t>("|u1", "0, 4", {}));
  CHECK_EQ(read_npy(empty.path())[0].sizes, std::vector<int64_t>{0, 4});
}

TEST_CASE("read_npy: a file that is cut off or lies is refused") {
  const std::string whole = npy_bytes<float>("<f4", "2, 3", {1, 2, 3, 4, 5, 6});
  const tito::TemporaryFile cut(whole.substr(0, whole.size() - 1));
  CHECK_ERROR(read_npy(cut.path()), "the file ends inside the values of array 0");
  const tito::TemporaryFile text("1,2,3\n4,5,6\n");
  CHECK_ERROR(read_npy(text.path()), "does not begin with NumPy's magic string");
  const tito::TemporaryFile absurd(npy_bytes<float>("<f4", "4611686018427387904, 8", {1}));
  CHECK_ERROR(read_npy(absurd.path()), "the file ends inside the values of array 0");
  for (size_t length = 1; length < whole.size(); ++length) {
    const tito::TemporaryFile part(whole.substr(0, length));
    CHECK_ERROR(read_npy(part.path()), part.path());
  }
  const tito::TemporaryFile complex(npy_bytes<float>("<c8", "1,", {1, 2}));
  CHECK_ERROR(read_npy(complex.path()), "values of type <c8 cannot be read");
  const tito::TemporaryFile negative(npy_bytes<float>("<f4", "-1", {1}));
  CHECK_ERROR(read_npy(negative.path()), "is not a list of sizes");
  CHECK_ERROR(read_npy("/no/such/file.npy"), "cannot open /no/such/file.npy");
}

// %% [markdown]
// ## Lists of sizes
//
// Sizes travel as `IntArrayRef`, which points to integers that someone else owns, and are kept in `DimVector`, which holds up to five inside itself. A heap allocation for
// each would cost more than a small addition.
//
//     IntArrayRef   [pointer | length] ----> 2 3 4        to pass
//     DimVector     [2 3 4 . . | length]                  to keep: up to five inside
//     DimVector     [pointer   | length] ----> 2 3 4 5 6 7   more on the heap

// %%
//| export core/array_ref.h
// A view of `size()` consecutive elements that someone else owns: pointer and length. Like PyTorch's c10::ArrayRef it converts from one element, braces, std::vector and
// std::array, so that `sum(0)`, `sum({0, 1})` and `view(sizes)` all work. The elements must outlive it: use it for parameters, never to keep.
template <class T>
class ArrayRef {
 public:
  using value_type = T;
  constexpr ArrayRef() = default;
  constexpr ArrayRef(const T& one) : data_(&one), size_(1) {}
  constexpr ArrayRef(const T* data, std::size_t size) : data_(data), size_(size) {}
  constexpr ArrayRef(std::initializer_list<T> list) : size_(list.size()) {
    if (size_ > 0) data_ = list.begin();
  }
  ArrayRef(const std::vector<T>& values) : data_(values.data()), size_(values.size()) {}
  template <std::size_t N>
  constexpr ArrayRef(const std::array<T, N>& values) : data_(values.data()), size_(N) {}

  constexpr const T* begin() const { return data_; }
  constexpr const T* end() const { return data_ + size_; }
  constexpr const T* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr const T& operator[](std::size_t i) const { return data_[i]; }
  constexpr const T& front() const { return data_[0]; }
  constexpr const T& back() const { return data_[size_ - 1]; }
  std::vector<T> vec() const { return std::vector<T>(begin(), end()); }
  // Without the first `begin` elements, or `count` of these. REQUIRES: there are so many.
  constexpr ArrayRef slice(std::size_t begin) const { return slice(begin, size_ - begin); }
  constexpr ArrayRef slice(std::size_t begin, std::size_t count) const { return ArrayRef(data_ + begin, count); }
  bool equals(ArrayRef other) const { return *this == other; }

  friend bool operator==(ArrayRef a, ArrayRef b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)
      if (!(a.data_[i] == b.data_[i])) return false;
    return true;
  }
  // Prints as PyTorch does: [3, 4].
  friend std::ostream& operator<<(std::ostream& out, ArrayRef list) {
    out << '[';
    for (std::size_t i = 0; i < list.size_; ++i) out << (i == 0 ? "" : ", ") << list.data_[i];
    return out << ']';
  }

 private:
  const T* data_ = nullptr;
  std::size_t size_ = 0;
};

using IntArrayRef = ArrayRef<std::int64_t>;

// %%
//| export core/array_ref.h
// A growable list of sizes or strides that keeps up to five of them inside itself, so that making a tensor of up to five dimensions costs no extra allocation. Source:
// c10/core/impl/SizesAndStrides.h.
class DimVector {
 public:
  DimVector() = default;
  explicit DimVector(std::size_t count, std::int64_t value = 0) : inline_{{value, value, value, value, value}} {  // all five: cheaper than to count
    size_ = count < kInline ? count : kInline;
    if (count > kInline) resize(count, value);
  }
  DimVector(IntArrayRef values) { assign(values); }
  DimVector(std::initializer_list<std::int64_t> values) { assign(values); }
  DimVector(const DimVector& other) { copy(other); }
  DimVector(DimVector&& other) noexcept { take(other); }
  DimVector& operator=(const DimVector& other) {
    if (this != &other) copy(other);
    return *this;
  }
  DimVector& operator=(DimVector&& other) noexcept {
    if (this != &other) take(other);
    return *this;
  }
  ~DimVector() { release(); }

  std::int64_t* begin() { return data_; }
  std::int64_t* end() { return data_ + size_; }
  const std::int64_t* begin() const { return data_; }
  const std::int64_t* end() const { return data_ + size_; }
  std::int64_t* data() { return data_; }
  const std::int64_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t& operator[](std::size_t i) { return data_[i]; }
  std::int64_t operator[](std::size_t i) const { return data_[i]; }
  std::int64_t& back() { return data_[size_ - 1]; }
  operator IntArrayRef() const { return {data_, size_}; }

  void resize(std::size_t count, std::int64_t value = 0);
  void assign(IntArrayRef values) {  // which may be its own
    if (values.size() > capacity_) grow(values.size());
    size_ = values.size();
    for (std::size_t i = 0; i < size_; ++i) data_[i] = values[i];
  }
  void push_back(std::int64_t value) {
    if (size_ == capacity_) grow(size_ + 1);
    data_[size_++] = value;
  }
  void insert(std::size_t position, std::int64_t value);
  void erase(std::size_t position);

 private:
  void copy(const DimVector& other);
  void grow(std::size_t count);
  void take(DimVector& other) noexcept;
  void release() {
    if (data_ != inline_.values) delete[] data_;
  }

  static constexpr std::size_t kInline = 5;
  struct Inline {
    std::int64_t values[kInline];
  };
  std::int64_t* data_ = inline_.values;  // or an array of its own on the heap
  std::size_t size_ = 0;
  std::size_t capacity_ = kInline;
  Inline inline_{};
};

// %%
//| export core/array_ref.cpp
// Makes room for at least `count`, on the heap. It is not in the header: there it would be compiled into every function that makes a list, whose
// usual path, for up to five sizes, would save registers for it.
void DimVector::grow(std::size_t count) {
  const std::size_t capacity = count > 2 * capacity_ ? count : 2 * capacity_;
  auto* const grown = new std::int64_t[capacity];
  for (std::size_t i = 0; i < size_; ++i) grown[i] = data_[i];
  release();
  data_ = grown;
  capacity_ = capacity;
}

// %%
//| export core/array_ref.h
// Takes over the elements of `other`. The five inside are copied whether used or not: that is cheaper than to count.
inline void DimVector::copy(const DimVector& other) {
  if (data_ != inline_.values || other.data_ != other.inline_.values) return assign(other);
  inline_ = other.inline_;  // one assignment: a loop would become a call of memmove
  size_ = other.size_;
}

// Takes the elements of `other`, which is empty afterwards. The five inside are copied whether used or not: that is cheaper than to ask.
inline void DimVector::take(DimVector& other) noexcept {
  release();
  const bool on_heap = other.data_ != other.inline_.values;
  data_ = on_heap ? other.data_ : inline_.values;
  inline_ = other.inline_;
  size_ = other.size_;
  capacity_ = other.capacity_;
  other.data_ = other.inline_.values;
  other.size_ = 0;
  other.capacity_ = kInline;
}

// %%
//| export core/array_ref.h
// Makes the list `count` long; new elements are `value`.
inline void DimVector::resize(std::size_t count, std::int64_t value) {
  if (count > capacity_) grow(count);
  for (std::size_t i = size_; i < count; ++i) data_[i] = value;
  size_ = count;
}

// %%
//| export core/array_ref.h
inline void DimVector::insert(std::size_t position, std::int64_t value) {
  resize(size_ + 1);
  for (std::size_t i = size_ - 1; i > position; --i) data_[i] = data_[i - 1];
  data_[position] = value;
}

// %%
//| export core/array_ref.h
inline void DimVector::erase(std::size_t position) {
  for (std::size_t i = position; i + 1 < size_; ++i) data_[i] = data_[i + 1];
  --size_;
}

// %%
TEST_CASE("DimVector: five sizes inside, more on the heap") {
  DimVector sizes{2, 3};
  sizes.insert(1, 7);
  CHECK_EQ(IntArrayRef(sizes), IntArrayRef({2, 7, 3}));
  for (std::int64_t i = 0; i < 6; ++i) sizes.push_back(i);
  CHECK_EQ(IntArrayRef(sizes), IntArrayRef({2, 7, 3, 0, 1, 2, 3, 4, 5}));
  const DimVector copy = sizes;
  sizes.erase(0);
  CHECK_EQ(copy.size(), 9);
  CHECK_EQ(sizes[0], 7);
  DimVector moved = std::move(sizes);
  CHECK_EQ(IntArrayRef(moved), IntArrayRef({7, 3, 0, 1, 2, 3, 4, 5}));
  CHECK(sizes.empty());
  sizes = DimVector{4, 5};
  moved = std::move(sizes);
  CHECK_EQ(IntArrayRef(moved), IntArrayRef({4, 5}));
  sizes = copy;
  CHECK_EQ(sizes.size(), 9);
}

// %%
//| export core/optional_array_ref.h
// What an IntArrayRef takes, or nothing, for a parameter. A std::optional<IntArrayRef> would not do: it takes no `{0, 1}`, and of the number 1 it would keep a reference into itself being made. Source: c10/util/OptionalArrayRef.h.
class OptionalIntArrayRef : public std::optional<IntArrayRef> {
 public:
  OptionalIntArrayRef() = default;
  OptionalIntArrayRef(std::nullopt_t) {}
  OptionalIntArrayRef(const std::int64_t& one) : optional(IntArrayRef(one)) {}
  OptionalIntArrayRef(std::initializer_list<std::int64_t> list) : optional(IntArrayRef(list)) {}
  template <class T>
    requires(std::convertible_to<const T&, IntArrayRef> && !std::is_arithmetic_v<T>)
  OptionalIntArrayRef(const T& list) : optional(IntArrayRef(list)) {}
};

// Dimensions that may be absent, where the argument's own type says so. Braces and numbers could become either, so functions take them as an IntArrayRef.
template <class T>
concept OptionalDims = std::same_as<T, OptionalIntArrayRef> || std::same_as<T, std::nullopt_t>;

// The list, or the empty one, which reductions read as all dimensions.
inline IntArrayRef dims_or_all(const OptionalIntArrayRef& dim) { return dim.value_or(IntArrayRef()); }

// %%
TEST_CASE("OptionalIntArrayRef: nothing, one number, braces and lists") {
  const auto text = [](OptionalIntArrayRef list) { return list ? str(*list) : "none"; };
  CHECK_EQ(text({}), "none");
  CHECK_EQ(text(std::nullopt), "none");
  CHECK_EQ(text(7), "[7]");
  CHECK_EQ(text({0, 1}), "[0, 1]");
  CHECK_EQ(text(IntArrayRef()), "[]");
  CHECK_EQ(text(std::vector<std::int64_t>{4, 5}), "[4, 5]");
  CHECK_EQ(text(DimVector{2, 3}), "[2, 3]");
  CHECK_EQ(str(dims_or_all(std::nullopt)), "[]");
  CHECK_EQ(str(dims_or_all(7)), "[7]");
}

// %% [markdown]
// ## Orders of dimensions in memory
//
// An image batch has the sizes (N, C, H, W) whatever its memory looks like. *Contiguous* memory has W fastest; *channels last* has C fastest, so that the channels of one pixel are neighbours, which convolutions on vector units like.
// Only the strides tell.
//
//     sizes (1, 2, 2, 3)     contiguous: strides (12, 6, 3, 1)     channels last: strides (12, 1, 6, 2)

// %%
//| export core/memory_format.h
// How a tensor shall lie in memory. Source: c10/core/MemoryFormat.h.
enum class MemoryFormat : std::int8_t { Contiguous, Preserve, ChannelsLast, ChannelsLast3d };

inline std::ostream& operator<<(std::ostream& out, MemoryFormat format) {
  constexpr const char* names[] = {"Contiguous", "Preserve", "ChannelsLast", "ChannelsLast3d"};
  return out << names[static_cast<std::size_t>(format)];
}

// Whether elements are found by strides, or only those that are not zero are kept.
enum class Layout : std::int8_t { Strided, Sparse };
inline constexpr Layout kStrided = Layout::Strided;
inline constexpr Layout kSparse = Layout::Sparse;

inline std::ostream& operator<<(std::ostream& out, Layout layout) { return out << (layout == Layout::Strided ? "Strided" : "Sparse"); }

// The strides of a dense tensor (N, C, ...) whose channels are fastest. REQUIRES: sizes of four or five dimensions. O(dims).
inline DimVector channels_last_strides(IntArrayRef sizes) {
  DimVector strides(sizes.size());
  std::int64_t step = 1;
  const auto place = [&](std::size_t dim) {
    strides[dim] = step;
    step *= sizes[dim] > 1 ? sizes[dim] : 1;
  };
  place(1);
  for (std::size_t dim = sizes.size(); dim-- > 2;) place(dim);
  place(0);
  return strides;
}

// Whether memory of these strides is dense with the channels fastest; a size of 1 may have any stride. O(dims).
inline bool is_channels_last(IntArrayRef sizes, IntArrayRef strides) {
  const DimVector expected = channels_last_strides(sizes);
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] != 1 && strides[i] != expected[i]) return false;
  return true;
}

// %%
TEST_CASE("channels last: the strides of images and of volumes") {
  CHECK_EQ(IntArrayRef(channels_last_strides({1, 2, 2, 3})), IntArrayRef({12, 1, 6, 2}));
  CHECK_EQ(IntArrayRef(channels_last_strides({2, 3, 2, 2, 2})), IntArrayRef({24, 1, 12, 6, 3}));
  CHECK(is_channels_last({1, 2, 2, 3}, {99, 1, 6, 2}));
  CHECK_FALSE(is_channels_last({2, 2, 2, 3}, {12, 6, 3, 1}));
}

// %% [markdown]
// ## Memory for small objects
//
// A tensor of few elements is two objects, its `TensorImpl` and its `StorageImpl` with the bytes; a recorded operator adds its node. All die soon and are made again at once. A thread therefore keeps the blocks that it
// frees, in a list for each size, and takes the next object from there: a few loads and stores, where the general allocator has more to decide, and most for memory that begins at a multiple of 64.
//
//     free lists of a thread     64 bytes: [ ]->[ ]->[ ]     128: [ ]->[ ]     ...     512: [ ]
//                                          ^ freed last, taken first: still in the cache
//
// What is freed by another thread than took it joins the other thread's lists. A list keeps at most a megabyte. Under the address and thread sanitizers each object is an allocation of its own, so that they see its end.
//
// Counts of owners are shared between threads, and a locked addition takes many times as long as a plain one. The C library knows whether the process has ever begun a second thread; until then
// a plain addition does. TensorFlow's `BFCAllocator` and PyTorch's `CUDACachingAllocator` keep freed memory for the same reason, because asking the device for memory is slow; jemalloc and tcmalloc have such lists inside `malloc`.

// %%
//| export core/small_memory.h
namespace memory {
// Whether no second thread has been started so far. "No" where the system cannot tell.
inline bool single_threaded() {
#ifdef TINYTORCH_KNOWS_SINGLE_THREADED
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

// count += delta, and what it was before; several threads may do it at once. O(1). Always inlined: a call takes longer than the addition, and g++ counts
// the branch of many threads, which is seldom taken, as if it were as long as it looks.
template <class T>
[[gnu::always_inline]] inline T add_shared(std::atomic<T>& count, T delta, std::memory_order order) {
  if (!single_threaded()) return count.fetch_add(delta, order);
  const T before = count.load(std::memory_order_relaxed);
  count.store(static_cast<T>(before + delta), std::memory_order_relaxed);
  return before;
}

// Holds a mutex as std::lock_guard does; a process with one thread needs none, and an uncontended mutex costs fifty instructions.
class Lock {
 public:
  explicit Lock(std::mutex& mutex) : mutex_(single_threaded() ? nullptr : &mutex) {
    if (mutex_ != nullptr) mutex_->lock();
  }
  ~Lock() {
    if (mutex_ != nullptr) mutex_->unlock();
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  std::mutex* mutex_;
};

// Under these sanitizers each object is an allocation of its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kKeepsBlocks = false;
#else
inline constexpr bool kKeepsBlocks = true;
#endif
inline constexpr std::size_t kSmallStep = 64;    // sizes are rounded up to a multiple of it, and blocks begin at one
inline constexpr std::size_t kSmallLimit = 512;  // the largest size that is kept
inline constexpr std::size_t kKeptBytes = std::size_t{1} << 20;  // of one size in one thread

// The blocks that this thread has freed, by size. It needs no destructor of its own, so that it can be used to the very end of the thread.
struct SmallLists {
  struct Block {
    Block* next;
  };
  Block* first[kSmallLimit / kSmallStep];
  std::size_t kept[kSmallLimit / kSmallStep];  // how many there are
  bool open;                                   // false before the first use, and again when the thread ends
  bool ended;
};
inline thread_local constinit SmallLists small_lists{};

void* allocate_small_anew(std::size_t nbytes);
void free_small_anew(void* block, std::size_t nbytes) noexcept;

// Memory for `nbytes`, which begins at a multiple of 64. REQUIRES: 0 < nbytes <= kSmallLimit. Throws std::bad_alloc. O(1).
inline void* allocate_small(std::size_t nbytes) {
  const std::size_t list = (nbytes - 1) / kSmallStep;
  SmallLists& lists = small_lists;
  SmallLists::Block* const block = lists.first[list];
  if (block == nullptr) return allocate_small_anew(nbytes);
  lists.first[list] = block->next;
  --lists.kept[list];
  return block;
}

// Gives back what allocate_small(nbytes) returned, in whatever thread. O(1).
inline void free_small(void* block, std::size_t nbytes) noexcept {
  const std::size_t list = (nbytes - 1) / kSmallStep;
  SmallLists& lists = small_lists;
  if (!lists.open || lists.kept[list] >= kKeptBytes / ((list + 1) * kSmallStep)) {
    free_small_anew(block, nbytes);
    return;
  }
  auto* const freed = static_cast<SmallLists::Block*>(block);
  freed->next = lists.first[list];
  lists.first[list] = freed;
  ++lists.kept[list];
}

// A base class whose objects come from there.
struct Pooled {
  static void* operator new(std::size_t nbytes) { return nbytes <= kSmallLimit ? allocate_small(nbytes) : ::operator new(nbytes); }
  static void operator delete(void* object, std::size_t nbytes) noexcept {
    if (nbytes <= kSmallLimit) free_small(object, nbytes);
    else ::operator delete(object);  // clang before 19 knows no form with a size
  }
};

// The same for the standard library's containers and shared pointers.
template <class T>
struct PooledAllocator {
  using value_type = T;
  PooledAllocator() = default;
  template <class U>
  PooledAllocator(const PooledAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(Pooled::operator new(count * sizeof(T))); }
  void deallocate(T* first, std::size_t count) noexcept { Pooled::operator delete(first, count * sizeof(T)); }
  friend bool operator==(const PooledAllocator&, const PooledAllocator&) { return true; }
};
}  // namespace memory

// %%
//| export core/small_memory.cpp
namespace {
constexpr std::align_val_t kBlockAlignment{memory::kSmallStep};

// Whole blocks where they are kept; under a sanitizer exactly what was asked for, so that it notices a step beyond.
std::size_t block_bytes(std::size_t nbytes) { return memory::kKeepsBlocks ? (nbytes + memory::kSmallStep - 1) / memory::kSmallStep * memory::kSmallStep : nbytes; }

// Gives the blocks back when the thread ends.
struct EndOfThread {
  ~EndOfThread() {
    memory::SmallLists& lists = memory::small_lists;
    lists.open = false;
    lists.ended = true;
    for (memory::SmallLists::Block*& first : lists.first)
      while (first != nullptr) {
        memory::SmallLists::Block* const next = first->next;
        ::operator delete(static_cast<void*>(first), kBlockAlignment);
        first = next;
      }
  }
};

void open_lists() {
  if (!memory::kKeepsBlocks || memory::small_lists.open || memory::small_lists.ended) return;
  static thread_local EndOfThread end_of_thread;
  memory::small_lists.open = true;
}
}  // namespace

void* memory::allocate_small_anew(std::size_t nbytes) {
  open_lists();
  return ::operator new(block_bytes(nbytes), kBlockAlignment);
}

void memory::free_small_anew(void* block, std::size_t nbytes) noexcept {
  const bool was_open = small_lists.open;
  open_lists();
  if (!was_open && small_lists.open) free_small(block, nbytes);
  else ::operator delete(block, kBlockAlignment);
}

// %%
TEST_CASE("small memory: what is freed is taken again, and threads can pass blocks on") {
  void* const first = memory::allocate_small(100);
  CHECK_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0);
  memory::free_small(first, 100);
  void* const second = memory::allocate_small(128);  // the same list: 65 to 128 bytes
  CHECK_EQ(reinterpret_cast<std::uintptr_t>(second) % 64, 0);
  // Two objects at the same time never share a block.
  std::vector<unsigned char*> blocks;
  for (int i = 0; i < 1000; ++i) {
    blocks.push_back(static_cast<unsigned char*>(memory::allocate_small(64)));
    std::fill_n(blocks.back(), 64, static_cast<unsigned char>(i));
  }
  bool kept = true;
  for (int i = 0; i < 1000; ++i) kept = kept && blocks[static_cast<std::size_t>(i)][63] == static_cast<unsigned char>(i);
  CHECK(kept);
  std::thread([&] {
    for (unsigned char* block : blocks) memory::free_small(block, 64);
    memory::free_small(second, 128);
  }).join();
  const std::vector<std::int64_t, memory::PooledAllocator<std::int64_t>> list(7, 3);
  CHECK_EQ(list[6], 3);
}

// %%
TEST_CASE("add_shared: counts from several threads") {
  std::atomic<std::uint32_t> count{5};
  CHECK_EQ(memory::add_shared(count, 2U, std::memory_order_relaxed), 5);
  std::vector<std::thread> threads;
  std::atomic<int> mistaken{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      if (memory::single_threaded()) ++mistaken;
      for (int step = 0; step < 10000; ++step) memory::add_shared(count, 1U, std::memory_order_relaxed);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(count.load(), 40007);
  CHECK_EQ(mistaken.load(), 0);
}

TEST_CASE("memory::Lock: one thread at a time") {
  std::mutex mutex;
  int count = 0;  // not atomic: only the lock keeps the additions apart
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int step = 0; step < 10000; ++step) {
        const memory::Lock lock(mutex);
        ++count;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(count, 40000);
}

// %% [markdown]
// ## Lists of one or two
//
// A recorded operator has one result and one or two inputs, almost always. A `std::vector` would be an allocation for each of these lists; this list has room for the first N elements inside itself, as `DimVector` has for numbers, and moves to a vector when it
// grows beyond. LLVM's `SmallVector`, which PyTorch uses too (`c10/util/SmallVector.h`), does the same.
//
// Other lists are empty almost always: a node has room for hooks, and hardly any node has one. Three empty vectors are 72 bytes that every node carries through the caches; a pointer to a vector that is not there is 8.

// %%
//| export core/small_vector.h
// A list that is one pointer wide, and has memory only once it has had an element: for what few objects of many have, their hooks for instance. Movable.
template <class T>
class LazyVector {
 public:
  LazyVector() = default;
  LazyVector(LazyVector&& other) noexcept : list_(std::exchange(other.list_, nullptr)) {}
  LazyVector& operator=(LazyVector&& other) noexcept {
    std::swap(list_, other.list_);
    return *this;
  }
  ~LazyVector() { delete list_; }

  std::size_t size() const { return list_ ? list_->size() : 0; }
  bool empty() const { return size() == 0; }
  const T* begin() const { return list_ ? list_->data() : nullptr; }
  const T* end() const { return begin() + size(); }
  const T& operator[](std::size_t i) const { return (*list_)[i]; }
  template <class... Args>
  T& emplace_back(Args&&... args) {
    return list().emplace_back(std::forward<Args>(args)...);
  }
  void push_back(T value) { emplace_back(std::move(value)); }
  // The list itself, for what has no short form here.
  std::vector<T>& list() {
    if (list_ == nullptr) list_ = new std::vector<T>();
    return *list_;
  }
  void clear() { delete std::exchange(list_, nullptr); }

 private:
  std::vector<T>* list_ = nullptr;
};

// %%
//| export core/small_vector.h
// A list that grows at its end, with room for N elements inside. T has a default value. Pointers to elements hold until it grows or is moved.
template <class T, std::size_t N>
class SmallVector {
 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T* begin() const { return size_ <= N ? few_.data() : more_.begin(); }
  const T* end() const { return begin() + size_; }
  const T& operator[](std::size_t i) const { return begin()[i]; }
  const T& at(std::size_t i) const {
    if (i >= size_) throw std::out_of_range("SmallVector::at");
    return begin()[i];
  }
  // The place of a new element at the end, which has T's default value. O(1) amortised.
  T& add() { return size_ < N ? few_[size_++] : add_beyond(); }
  void clear() {
    few_ = {};
    more_.clear();
    size_ = 0;
  }

 private:
  // An element that has no room inside. Not inlined: the usual path would save registers for it.
  [[gnu::noinline]] T& add_beyond() {
    if (more_.empty())
      for (T& element : few_) more_.push_back(std::move(element));
    T& added = more_.emplace_back();
    ++size_;
    return added;
  }

  std::array<T, N> few_{};
  LazyVector<T> more_;  // all of them, once there are more than N
  std::size_t size_ = 0;
};

// %%
TEST_CASE("SmallVector: keeps its elements when it grows beyond its room") {
  SmallVector<std::string, 2> list;
  CHECK(list.empty());
  for (int i = 0; i < 5; ++i) {
    list.add() = std::string(40, static_cast<char>('a' + i));
    CHECK_EQ(list.size(), static_cast<std::size_t>(i) + 1);
    for (int k = 0; k <= i; ++k) CHECK_EQ(list[static_cast<std::size_t>(k)], std::string(40, static_cast<char>('a' + k)));
  }
  CHECK_EQ(list.end() - list.begin(), 5);
  CHECK_EQ(list.at(4)[0], 'e');
  CHECK_THROWS_AS(list.at(5), std::out_of_range);
  list.clear();
  CHECK(list.empty());
  CHECK_EQ(list.add(), "");
}

// %%
TEST_CASE("LazyVector: a pointer until it has an element") {
  LazyVector<std::string> list;
  CHECK_EQ(sizeof list, sizeof(void*));
  CHECK(list.empty());
  CHECK(list.begin() == list.end());
  list.push_back("a");
  CHECK_EQ(list.emplace_back(3, 'b'), "bbb");
  CHECK_EQ(list.size(), 2);
  CHECK_EQ(list[1], "bbb");
  std::string all;
  for (const std::string& text : list) all += text;
  CHECK_EQ(all, "abbb");
  std::erase(list.list(), "a");
  CHECK_EQ(list[0], "bbb");
  list.clear();
  CHECK(list.empty());
}

// %% [markdown]
// ## Numbers for pointers
//
// A backward pass gives each node of its graph a number. `std::unordered_map` makes a small object on the heap for each entry; this table is one array, twice as long as it has entries, and looks at the neighbours of the
// place where an entry should be.

// %%
//| export core/pointer_map.h
// A map from pointers to small values, from which nothing is deleted. Null is no key. O(1) amortised.
template <class T, class Value>
class PointerMap {
 public:
  using Entry = std::pair<const T*, Value>;
  PointerMap() : entries_(16) {}
  std::size_t size() const { return size_; }
  const Entry* end() const { return nullptr; }
  const Entry* find(const T* key) const {
    const Entry& entry = entries_[place_of(key)];
    return entry.first == nullptr ? nullptr : &entry;
  }
  Value at(const T* key) const { return entries_[place_of(key)].second; }
  // The value of `key`, which gets `value` if it had none.
  Value at_or_put(const T* key, Value value) {
    Entry& entry = entries_[place_of(key)];
    if (entry.first != nullptr) return entry.second;
    entry = {key, value};
    if (2 * ++size_ > entries_.size()) grow();
    return value;
  }

 private:
  // Where `key` is, or the free place where it belongs.
  std::size_t place_of(const T* key) const {
    const std::size_t mask = entries_.size() - 1;
    std::size_t place = (reinterpret_cast<std::uintptr_t>(key) * 0x9E3779B97F4A7C15ULL >> 32) & mask;
    while (entries_[place].first != nullptr && entries_[place].first != key) place = (place + 1) & mask;
    return place;
  }
  [[gnu::noinline]] void grow() {
    const std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(4 * entries_.size()));
    for (const Entry& entry : old)
      if (entry.first != nullptr) entries_[place_of(entry.first)] = entry;
  }
  std::vector<Entry> entries_;  // a power of two, at most half full
  std::size_t size_ = 0;
};

// %%
TEST_CASE("PointerMap: numbers ten thousand pointers") {
  const std::vector<int> objects(10000);
  PointerMap<int, std::uint32_t> numbers;
  CHECK(numbers.find(objects.data()) == numbers.end());
  for (std::uint32_t i = 0; i < 10000; ++i) CHECK_EQ(numbers.at_or_put(&objects[i], i), i);
  CHECK_EQ(numbers.at_or_put(&objects[77], 5), 77);
  CHECK_EQ(numbers.size(), 10000);
  bool all = true;
  for (std::uint32_t i = 0; i < 10000; ++i) all = all && numbers.at(&objects[i]) == i && numbers.find(&objects[i])->second == i;
  CHECK(all);
}

// %% [markdown]
// ## Handles that count
//
// Several tensors share one storage, so someone must know when the last has gone. The object carries its own count of owners, which makes a handle one pointer wide;
// `std::shared_ptr` is two wide and keeps its count elsewhere. The count must be atomic, because tensors travel between threads.

// %%
//| export core/intrusive_ptr.h
// Base class of objects that count their owners themselves. Source: c10/util/intrusive_ptr.h.
class RefCounted : public memory::Pooled {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  virtual ~RefCounted() = default;
  std::uint32_t use_count() const { return count_.load(std::memory_order_acquire); }

 private:
  template <class T>
  friend class intrusive_ptr;
  std::atomic<std::uint32_t> count_{0};
};

// %%
//| export core/intrusive_ptr.h
// A shared owner of a RefCounted object: one pointer wide, because the count lives in the object. Copies are thread-safe as std::shared_ptr's are; one handle must not be
// changed by two threads at once.
template <class T>
class intrusive_ptr {
 public:
  intrusive_ptr() = default;
  explicit intrusive_ptr(T* object) : object_(object) { retain(); }
  intrusive_ptr(const intrusive_ptr& other) : object_(other.object_) { retain(); }
  intrusive_ptr(intrusive_ptr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  intrusive_ptr& operator=(const intrusive_ptr& other) {
    intrusive_ptr(other).swap(*this);
    return *this;
  }
  intrusive_ptr& operator=(intrusive_ptr&& other) noexcept {
    intrusive_ptr(std::move(other)).swap(*this);
    return *this;
  }
  ~intrusive_ptr() {
    if (object_ != nullptr) release();
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  void reset() { intrusive_ptr().swap(*this); }
  void swap(intrusive_ptr& other) noexcept { std::swap(object_, other.object_); }

 private:
  void retain();
  void release();
  T* object_ = nullptr;
};

// %%
//| export core/intrusive_ptr.h
// One owner more. The increment needs no ordering: whoever copies a handle already sees the object.
template <class T>
void intrusive_ptr<T>::retain() {
  if (object_ != nullptr) memory::add_shared(object_->count_, 1U, std::memory_order_relaxed);
}

// %%
//| export core/intrusive_ptr.h
// One owner less; the last one deletes. Acquire-release makes all writes of other owners visible to the destructor. Who finds a count of 1 is alone, and need not count down. REQUIRES: there is an object.
template <class T>
void intrusive_ptr<T>::release() {
  if (object_->use_count() == 1 || memory::add_shared(object_->count_, ~0U, std::memory_order_acq_rel) == 1) delete object_;
}

template <class T, class... Args>
intrusive_ptr<T> make_intrusive(Args&&... args) {
  return intrusive_ptr<T>(new T(std::forward<Args>(args)...));
}

// %%
TEST_CASE("intrusive_ptr: the last owner deletes") {
  struct Noted : RefCounted {
    explicit Noted(int& deleted) : deleted_(deleted) {}
    ~Noted() override { ++deleted_; }
    int& deleted_;
  };
  int deleted = 0;
  intrusive_ptr<Noted> first = make_intrusive<Noted>(deleted);
  {
    const intrusive_ptr<Noted> second = first;
    CHECK_EQ(first->use_count(), 2);
    intrusive_ptr<Noted> third = std::move(first);
    CHECK_FALSE(first);
    CHECK_EQ(third->use_count(), 2);
    first = third;
  }
  CHECK_EQ(deleted, 0);
  CHECK_EQ(first->use_count(), 1);
  first.reset();
  CHECK_EQ(deleted, 1);
}

// %% [markdown]
// ## Numbers whose type is data
//
// A tensor knows its element type only when the program runs; a loop must know it when it is compiled. `dispatch_all_types` is the bridge, and the only place where the list
// of types stands.
//
//     ScalarType::Float  --->  dispatch_all_types  --->  f.operator()<float>()      a loop over float*
//     (data)                   one switch                (compiled once per type)
//
// Two of the types have no arithmetic on most CPUs. They are ways to *keep* numbers in two bytes, and both are a float with something left out:
//
//     float       s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm      8 bits of exponent, 23 of mantissa
//     BFloat16    s eeeeeeee mmmmmmm                      the upper half of a float: the same range, 2 to 3 digits
//     Half        s eeeee mmmmmmmmmm                      up to 65504, 3 to 4 digits (IEEE 754 binary16)
//
// So reading one is a shift (and for Half a new exponent), and writing one rounds to the nearest, ties to the even neighbour. Kernels are compiled for the other types only; chapter 83 says how
// operators accept these two all the same.

// %%
//| export core/half.h
namespace detail {
// The float that a Half of these bits stands for, and the bits of the Half nearest to a float.
constexpr float float_from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7FFFU;
  if (magnitude < 0x0400U) {  // subnormal: so many times 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x03FFU) << 13);
  return std::bit_cast<float>(sign | ((magnitude << 13) + (112U << 23)));  // the exponents' biases are 15 and 127
}

constexpr std::uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<std::uint16_t>(sign | 0x7E00U);   // NaN
  if (magnitude >= 0x477FF000U) return static_cast<std::uint16_t>(sign | 0x7C00U);  // 65520 and more: infinity
  if (magnitude < 0x38800000U) {
    // Below 2^-14 Halfs are multiples of 2^-24, as floats next to 0.5 are: adding 0.5 rounds.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F)));
  }
  const std::uint32_t odd = magnitude >> 13 & 1U;
  return static_cast<std::uint16_t>(sign | (magnitude - (112U << 23) + 0x0FFFU + odd) >> 13);
}

constexpr float float_from_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

constexpr std::uint16_t bfloat16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return 0x7FC0U;  // NaN
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}
}  // namespace detail

// %%
//| export core/half.h
// Numbers of two bytes. Both convert to float and back by themselves; what is computed with them is computed in float and rounded.
// Source: c10/util/Half.h.
struct alignas(2) Half {
  struct from_bits_t {};
  Half() = default;
  constexpr Half(std::uint16_t bits, from_bits_t) : x(bits) {}
  constexpr Half(float value) : x(detail::half_from_float(value)) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr Half(T value) : Half(static_cast<float>(value)) {}
  constexpr operator float() const { return detail::float_from_half(x); }
  static constexpr from_bits_t from_bits() { return {}; }

  std::uint16_t x;
};

// Source: c10/util/BFloat16.h.
struct alignas(2) BFloat16 {
  struct from_bits_t {};
  BFloat16() = default;
  constexpr BFloat16(std::uint16_t bits, from_bits_t) : x(bits) {}
  constexpr BFloat16(float value) : x(detail::bfloat16_from_float(value)) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr BFloat16(T value) : BFloat16(static_cast<float>(value)) {}
  constexpr operator float() const { return detail::float_from_bfloat16(x); }
  static constexpr from_bits_t from_bits() { return {}; }

  std::uint16_t x;
};

template <class T>
concept ReducedFloat = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <ReducedFloat T>
constexpr T operator+(T a, T b) { return T(static_cast<float>(a) + static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator-(T a, T b) { return T(static_cast<float>(a) - static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator*(T a, T b) { return T(static_cast<float>(a) * static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator/(T a, T b) { return T(static_cast<float>(a) / static_cast<float>(b)); }
template <ReducedFloat T>
constexpr T operator-(T a) { return T(-static_cast<float>(a)); }
template <ReducedFloat T>
constexpr T& operator+=(T& a, T b) { return a = a + b; }
template <ReducedFloat T>
constexpr T& operator-=(T& a, T b) { return a = a - b; }
template <ReducedFloat T>
constexpr T& operator*=(T& a, T b) { return a = a * b; }
template <ReducedFloat T>
constexpr T& operator/=(T& a, T b) { return a = a / b; }

// %%
TEST_CASE("Half and BFloat16: every number comes back, and rounding goes to the nearest, ties to even") {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const Half half(static_cast<std::uint16_t>(bits), Half::from_bits());
    const BFloat16 brain(static_cast<std::uint16_t>(bits), BFloat16::from_bits());
    if (std::isnan(static_cast<float>(half))) REQUIRE(std::isnan(static_cast<float>(Half(static_cast<float>(half)))));
    else REQUIRE(Half(static_cast<float>(half)).x == bits);
    if (std::isnan(static_cast<float>(brain))) REQUIRE(std::isnan(static_cast<float>(BFloat16(static_cast<float>(brain)))));
    else REQUIRE(BFloat16(static_cast<float>(brain)).x == bits);
  }
  CHECK_EQ(Half(1.0F).x, 0x3C00);
  CHECK_EQ(Half(0.1F).x, 0x2E66);
  CHECK_EQ(Half(65504.0F).x, 0x7BFF);
  CHECK_EQ(Half(65519.0F).x, 0x7BFF);
  CHECK_EQ(Half(65520.0F).x, 0x7C00);           // rounds up to infinity
  CHECK_EQ(Half(2049.0F).x, Half(2048.0F).x);  // halfway: to the even one
  CHECK_EQ(Half(2051.0F).x, Half(2052.0F).x);
  CHECK_EQ(Half(0x1p-24F).x, 1);
  CHECK_EQ(Half(0x1p-25F).x, 0);
  CHECK_EQ(Half(-0.0F).x, 0x8000);
  CHECK_EQ(BFloat16(1.0F).x, 0x3F80);
  CHECK_EQ(BFloat16(257.0F).x, BFloat16(256.0F).x);
  CHECK_EQ(BFloat16(259.0F).x, BFloat16(260.0F).x);
  CHECK_EQ(static_cast<float>(Half(1) / Half(3)), static_cast<float>(Half(1.0F / 3)));
}

// %%
//| export core/scalar_type.h
// The element types. The order is part of the promotion rules: within a category the later, wider type wins (Half and BFloat16, of which neither holds the other, give Float).
enum class ScalarType : std::uint8_t { Bool, Byte, Char, Short, Int, Long, Half, BFloat16, Float, Double };

inline constexpr ScalarType kBool = ScalarType::Bool;
inline constexpr ScalarType kUInt8 = ScalarType::Byte;
inline constexpr ScalarType kByte = ScalarType::Byte;
inline constexpr ScalarType kInt8 = ScalarType::Char;
inline constexpr ScalarType kChar = ScalarType::Char;
inline constexpr ScalarType kInt16 = ScalarType::Short;
inline constexpr ScalarType kShort = ScalarType::Short;
inline constexpr ScalarType kInt32 = ScalarType::Int;
inline constexpr ScalarType kInt = ScalarType::Int;
inline constexpr ScalarType kInt64 = ScalarType::Long;
inline constexpr ScalarType kLong = ScalarType::Long;
inline constexpr ScalarType kFloat16 = ScalarType::Half;
inline constexpr ScalarType kHalf = ScalarType::Half;
inline constexpr ScalarType kBFloat16 = ScalarType::BFloat16;
inline constexpr ScalarType kFloat32 = ScalarType::Float;
inline constexpr ScalarType kFloat = ScalarType::Float;
inline constexpr ScalarType kFloat64 = ScalarType::Double;
inline constexpr ScalarType kDouble = ScalarType::Double;

inline bool isFloatingType(ScalarType type) { return type >= ScalarType::Half; }
inline bool isReducedFloatingType(ScalarType type) { return type == ScalarType::Half || type == ScalarType::BFloat16; }
inline bool isIntegralType(ScalarType type, bool include_bool) {
  return type < ScalarType::Half && (include_bool || type != ScalarType::Bool);
}
const char* toString(ScalarType type);  // "Float", "Long", ...
const char* cpp_name(ScalarType type);  // "float", "int64_t", ...
// Bytes of one element.
constexpr std::size_t elementSize(ScalarType type) {
  constexpr std::uint8_t sizes[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8};  // in the order of ScalarType
  return sizes[static_cast<std::size_t>(type)];
}
inline std::ostream& operator<<(std::ostream& out, ScalarType type) { return out << toString(type); }

// What `tensor.dtype()` gives: an element type that prints as its C++ type, "float" and not "Float". It compares with a ScalarType and becomes one where one is asked for.
// Source: c10/util/typeid.h.
class TypeMeta {
 public:
  explicit constexpr TypeMeta(ScalarType type) : type_(type) {}
  constexpr operator ScalarType() const { return type_; }
  constexpr ScalarType toScalarType() const { return type_; }
  std::size_t itemsize() const { return elementSize(type_); }
  const char* name() const;
  template <class T>
  static constexpr TypeMeta Make();
  friend constexpr bool operator==(TypeMeta a, TypeMeta b) { return a.type_ == b.type_; }
  friend constexpr bool operator==(TypeMeta a, ScalarType b) { return a.type_ == b; }
  friend std::ostream& operator<<(std::ostream& out, TypeMeta type) { return out << type.name(); }

 private:
  ScalarType type_;
};

// %%
//| export core/scalar_type.h
// The ScalarType of a C++ type. Other integer types (long long, char) map to the one of their width and sign.
template <class T>
constexpr ScalarType scalar_type_of() {
  if constexpr (std::is_same_v<T, bool>) return ScalarType::Bool;
  else if constexpr (std::is_same_v<T, float>) return ScalarType::Float;
  else if constexpr (std::is_same_v<T, double>) return ScalarType::Double;
  else if constexpr (std::is_same_v<T, Half>) return ScalarType::Half;
  else if constexpr (std::is_same_v<T, BFloat16>) return ScalarType::BFloat16;
  else {
    static_assert(std::is_integral_v<T>, "no ScalarType for this C++ type");
    if constexpr (sizeof(T) == 1 && std::is_unsigned_v<T>) return ScalarType::Byte;
    else if constexpr (sizeof(T) == 1) return ScalarType::Char;
    else if constexpr (sizeof(T) == 2) return ScalarType::Short;
    else if constexpr (sizeof(T) == 4) return ScalarType::Int;
    else return ScalarType::Long;
  }
}
template <class T>
constexpr TypeMeta TypeMeta::Make() {
  return TypeMeta(scalar_type_of<T>());
}
inline TypeMeta scalarTypeToTypeMeta(ScalarType type) { return TypeMeta(type); }
inline ScalarType typeMetaToScalarType(TypeMeta type) { return type; }

[[noreturn]] void fail_reduced_type(ScalarType type);

// Calls f.operator()<T>() with the C++ type of `type`: how a run-time dtype becomes a compile-time one. Half and BFloat16, for which no kernels are compiled, are an error.
template <class F>
decltype(auto) dispatch_all_types(ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Bool: return f.template operator()<bool>();
    case ScalarType::Byte: return f.template operator()<std::uint8_t>();
    case ScalarType::Char: return f.template operator()<std::int8_t>();
    case ScalarType::Short: return f.template operator()<std::int16_t>();
    case ScalarType::Int: return f.template operator()<std::int32_t>();
    case ScalarType::Long: return f.template operator()<std::int64_t>();
    case ScalarType::Float: return f.template operator()<float>();
    case ScalarType::Half:
    case ScalarType::BFloat16: fail_reduced_type(type);
    case ScalarType::Double: break;
  }
  return f.template operator()<double>();
}

// The same with Half and BFloat16, for what stores and converts numbers but does not compute with them.
template <class F>
decltype(auto) dispatch_stored_types(ScalarType type, F&& f) {
  if (type == ScalarType::Half) return f.template operator()<Half>();
  if (type == ScalarType::BFloat16) return f.template operator()<BFloat16>();
  return dispatch_all_types(type, std::forward<F>(f));
}

// The same for kernels that exist for floating point only; `name` goes into the error for the others.
template <class F>
decltype(auto) dispatch_floating_types(ScalarType type, const char* name, F&& f) {
  if (type == ScalarType::Float) return f.template operator()<float>();
  TORCH_CHECK_NOT_IMPLEMENTED(type == ScalarType::Double, "\"", name, "\" not implemented for '", toString(type),
                              "'. Convert with to(kFloat) first.");
  return f.template operator()<double>();
}

// %%
//| export core/scalar_type.cpp
const char* toString(ScalarType type) {
  static constexpr const char* names[] = {"Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "BFloat16", "Float", "Double"};
  return names[static_cast<std::size_t>(type)];
}

const char* cpp_name(ScalarType type) {
  static constexpr const char* names[] = {"bool", "uint8_t", "int8_t", "int16_t", "int32_t", "int64_t", "c10::Half", "c10::BFloat16", "float", "double"};
  return names[static_cast<std::size_t>(type)];
}

const char* TypeMeta::name() const {
  static constexpr const char* names[] = {"bool", "unsigned char", "signed char", "short int", "int", "long int", "c10::Half", "c10::BFloat16", "float", "double"};
  return names[static_cast<std::size_t>(type_)];
}

void fail_reduced_type(ScalarType type) {
  throw NotImplementedError(std::string("this operator is not implemented for '") + toString(type) + "'. Convert with to(kFloat) first.");
}

// %%
//| export core/scalar.h
// One number of any type: what `add(tensor, 2)` receives. It remembers whether it was a bool, an integer or floating point, which decides promotion. Source:
// c10/core/Scalar.h.
class Scalar {
 public:
  Scalar() : Scalar(std::int64_t{0}) {}
  template <class T>
    requires std::integral<T> && (!std::same_as<T, bool>)
  Scalar(T value) : kind_(ScalarType::Long), integer_(static_cast<std::int64_t>(value)) {}
  template <std::same_as<bool> T>
  Scalar(T value) : kind_(ScalarType::Bool), integer_(value) {}
  template <class T>
    requires std::floating_point<T> || ReducedFloat<T>
  Scalar(T value) : kind_(ScalarType::Double), real_(static_cast<double>(value)) {}

  ScalarType type() const { return kind_; }  // Bool, Long or Double
  bool isFloatingPoint() const { return kind_ == ScalarType::Double; }
  bool isIntegral(bool include_bool) const { return isIntegralType(kind_, include_bool); }
  bool isBoolean() const { return kind_ == ScalarType::Bool; }
  // The number as a T. Throws if T cannot hold it; a negative number wraps around in an unsigned T, as in C++.
  template <class T>
  T to() const;
  double toDouble() const { return to<double>(); }
  float toFloat() const { return to<float>(); }
  std::int64_t toLong() const { return to<std::int64_t>(); }
  int toInt() const { return to<int>(); }
  bool toBool() const { return to<bool>(); }
  bool equal(double value) const { return (isFloatingPoint() ? real_ : static_cast<double>(integer_)) == value; }
  Scalar operator-() const { return isFloatingPoint() ? Scalar(-real_) : Scalar(-integer_); }
  friend std::ostream& operator<<(std::ostream& out, const Scalar& s) {
    if (s.isFloatingPoint()) return out << s.real_;
    if (s.isBoolean()) return out << (s.toBool() ? "true" : "false");
    return out << s.integer_;
  }

 private:
  template <class T>
  bool fits() const;

  ScalarType kind_;
  union {
    std::int64_t integer_;
    double real_;
  };
};

// %%
//| export core/scalar.h
// std::isfinite without <cmath>, which is a tenth of what the standard library's headers take to compile.
inline bool is_finite(double x) { return x - x == 0; }

// Source: c10/util/overflows.h.
template <class T>
bool Scalar::fits() const {
  using Limits = std::numeric_limits<T>;
  if constexpr (ReducedFloat<T>) {
    const double largest = std::is_same_v<T, Half> ? 65504.0 : 0x1.FEp127;
    return !is_finite(to<double>()) || (to<double>() >= -largest && to<double>() <= largest);
  } else if constexpr (std::is_same_v<T, bool>) return true;
  else if (isFloatingPoint()) {
    if (std::is_floating_point_v<T> && !is_finite(real_)) return true;
    return real_ >= static_cast<double>(Limits::lowest()) && real_ <= static_cast<double>(Limits::max());
  } else if constexpr (std::is_floating_point_v<T> || sizeof(T) == sizeof(std::int64_t)) {
    return true;
  } else {
    const std::int64_t lowest = std::is_signed_v<T> ? Limits::lowest() : -static_cast<std::int64_t>(Limits::max());
    return integer_ >= lowest && integer_ <= static_cast<std::int64_t>(Limits::max());
  }
}

template <class T>
T Scalar::to() const {
  TORCH_CHECK(fits<T>(), "value cannot be converted to type ", cpp_name(scalar_type_of<T>()), " without overflow\n[Scalar::to] the value is ",
              *this, "; choose a wider dtype.");
  return isFloatingPoint() ? static_cast<T>(real_) : static_cast<T>(integer_);
}

// %%
TEST_CASE("Scalar: remembers its kind, and converts only what fits") {
  CHECK_EQ(Scalar(true).type(), kBool);
  CHECK_EQ(Scalar(3).type(), kLong);
  CHECK_EQ(Scalar(3.0F).type(), kDouble);
  CHECK_EQ(Scalar(3.7).to<int>(), 3);
  CHECK_EQ(Scalar(-1).to<std::uint8_t>(), 255);
  CHECK_ERROR(Scalar(300).to<std::uint8_t>(), "value cannot be converted to type uint8_t without overflow");
  CHECK_ERROR(Scalar(1e300).to<float>(), "value cannot be converted to type float without overflow");
  CHECK_EQ(elementSize(kShort), 2);
  CHECK_EQ(std::string(toString(kDouble)), "Double");
  CHECK_EQ(elementSize(kBFloat16), 2);
  CHECK_EQ(Scalar(Half(0.5F)).type(), kDouble);
  CHECK_EQ(static_cast<float>(Scalar(0.1).to<Half>()), static_cast<float>(Half(0.1F)));
  CHECK_ERROR(Scalar(65536).to<Half>(), "value cannot be converted to type c10::Half without overflow");
  CHECK_ERROR(dispatch_all_types(kHalf, []<class T>() { return sizeof(T); }), "not implemented for 'Half'");
  CHECK_EQ(std::string(TypeMeta(kLong).name()), "long int");
  CHECK(TypeMeta(kFloat) == kFloat);
  CHECK(isIntegralType(kBool, true));
  CHECK_FALSE(isIntegralType(kBool, false));
}

// %% [markdown]
// ## Devices
//
// Programs for PyTorch say where a tensor shall live, and most of them begin by asking: `torch::Device device(torch::cuda::is_available() ? torch::kCUDA : torch::kCPU)`. TinyTorch computes on the CPU, so
// the answer is no, but a program has to be able to ask, to name a device, and to be told plainly when it wants one that is not there.
//
//     "cuda:1"  --->  Device { type CUDA, index 1 }  --->  zeros({2}, device)  --->  an error that names the device
//
// One type is free for a device that joins from outside of the library (chapter 84): `PrivateUse1`, as PyTorch calls it. Who brings the device gives the type its name, and from then on "tpu:0" is a device like another.
//
// An address means something on its own device only. `DataPtr` keeps the two together; a storage hands it out (module 01).

// %%
//| export core/device.h
// Where a tensor lives. The numbers are PyTorch's. Source: torch/headeronly/core/DeviceType.h.
enum class DeviceType : std::int8_t { CPU = 0, CUDA = 1, XLA = 9, XPU = 12, MPS = 13, Meta = 14, PrivateUse1 = 20 };
using DeviceIndex = std::int8_t;

inline constexpr DeviceType kCPU = DeviceType::CPU;
inline constexpr DeviceType kCUDA = DeviceType::CUDA;
inline constexpr DeviceType kXLA = DeviceType::XLA;
inline constexpr DeviceType kXPU = DeviceType::XPU;
inline constexpr DeviceType kMPS = DeviceType::MPS;
inline constexpr DeviceType kMeta = DeviceType::Meta;
inline constexpr DeviceType kPrivateUse1 = DeviceType::PrivateUse1;

// Gives devices of type PrivateUse1 their name, which is "privateuseone" before. Throws for one that is no lower-case word, that another type has, or when they have another already.
// Source: c10/core/DeviceType.cpp.
void register_privateuse1_backend(const std::string& name);
std::string get_privateuse1_backend(bool lower_case = true);

// "cuda", or "CUDA" when not lower_case.
std::string DeviceTypeName(DeviceType type, bool lower_case = false);
std::ostream& operator<<(std::ostream& out, DeviceType type);

// A device: its type, and which one of that type; -1 is the current one. Source: c10/core/Device.h.
class Device {
 public:
  Device(DeviceType type, DeviceIndex index = -1) : type_(type), index_(index) {
    if (index < -1 || (is_cpu() && index > 0)) check_index();
  }
  // "cpu", "cuda" or "cuda:1". Throws for another type, and for an index that is no number.
  Device(const std::string& text);
  Device(const char* text) : Device(std::string(text)) {}

  DeviceType type() const { return type_; }
  DeviceIndex index() const { return index_; }
  bool has_index() const { return index_ != -1; }
  void set_index(DeviceIndex index) { index_ = index; }
  bool is_cpu() const { return type_ == DeviceType::CPU; }
  bool is_cuda() const { return type_ == DeviceType::CUDA; }
  bool is_mps() const { return type_ == DeviceType::MPS; }
  bool is_meta() const { return type_ == DeviceType::Meta; }
  bool is_privateuseone() const { return type_ == DeviceType::PrivateUse1; }
  std::string str() const;  // "cuda:1"
  friend bool operator==(const Device&, const Device&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Device& device) { return out << device.str(); }

 private:
  void check_index() const;
  DeviceType type_;
  DeviceIndex index_;
};

// An address in a device's memory. It owns nothing: what it points to lives as long as the storage that gave it. Source: c10/core/Allocator.h.
class DataPtr {
 public:
  DataPtr(void* data, Device device) : data_(data), device_(device) {}
  void* get() const { return data_; }
  void* mutable_get() const { return data_; }
  void* operator->() const { return data_; }
  Device device() const { return device_; }
  explicit operator bool() const { return data_ != nullptr; }
  friend bool operator==(const DataPtr& pointer, std::nullptr_t) { return pointer.data_ == nullptr; }

 private:
  void* data_;
  Device device_;
};

// Throws unless tensors can live there: on the CPU. `name` is the function that was asked.
void require_cpu(const char* name, const Device& device);

namespace cuda {
bool is_available();         // false: there are no kernels for a graphics card here
std::size_t device_count();  // 0
bool cudnn_is_available();   // false
void manual_seed(std::uint64_t seed);      // nothing to seed
void manual_seed_all(std::uint64_t seed);  // nothing to seed
void synchronize(std::int64_t device_index = -1);
}  // namespace cuda

// %%
//| export core/device.cpp
namespace {
constexpr std::array<std::pair<DeviceType, const char*>, 6> kDeviceNames{{{DeviceType::CPU, "cpu"},
                                                                          {DeviceType::CUDA, "cuda"},
                                                                          {DeviceType::XLA, "xla"},
                                                                          {DeviceType::XPU, "xpu"},
                                                                          {DeviceType::MPS, "mps"},
                                                                          {DeviceType::Meta, "meta"}}};

std::string& privateuse1_name() {
  static std::string name = "privateuseone";
  return name;
}
}  // namespace

void register_privateuse1_backend(const std::string& name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  TORCH_CHECK(!name.empty() && std::all_of(name.begin(), name.end(), letter), "a device's name is a word of lower-case letters, but got '", name, "'");
  for (const auto& [type, text] : kDeviceNames) TORCH_CHECK(name != text, "Cannot register the name '", name, "': it is that of another type of device");
  std::string& known = privateuse1_name();
  TORCH_CHECK(known == "privateuseone" || known == name, "torch.register_privateuse1_backend() has already been set! Current backend: ", known, "\n[register_privateuse1_backend] a process has one device from outside.");
  known = name;
}

std::string get_privateuse1_backend(bool lower_case) { return DeviceTypeName(kPrivateUse1, lower_case); }

std::string DeviceTypeName(DeviceType type, bool lower_case) {
  std::string name = type == kPrivateUse1 ? privateuse1_name() : std::string();
  for (const auto& [known, text] : kDeviceNames)
    if (known == type) name = text;
  if (!lower_case)
    for (char& letter : name) letter = static_cast<char>(letter >= 'a' && letter <= 'z' ? letter - 'a' + 'A' : letter);
  return name;
}

std::ostream& operator<<(std::ostream& out, DeviceType type) { return out << DeviceTypeName(type, true); }

void Device::check_index() const {
  TORCH_CHECK(index_ >= -1, "Device index must be -1 or non-negative, got ", static_cast<int>(index_));
  TORCH_CHECK(!is_cpu() || index_ <= 0, "CPU device index must be -1 or zero, got ", static_cast<int>(index_));
}

Device::Device(const std::string& text) : Device(DeviceType::CPU) {
  TORCH_CHECK(!text.empty(), "Device string must not be empty");
  const std::size_t colon = text.find(':');
  const std::string type = text.substr(0, colon);
  bool known = type == privateuse1_name();
  if (known) type_ = DeviceType::PrivateUse1;
  for (const auto& [candidate, name] : kDeviceNames) {
    if (type != name) continue;
    type_ = candidate;
    known = true;
  }
  TORCH_CHECK(known, "Expected one of cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, mps, meta, hpu, mtia, privateuseone device type at start of device string: ", type);
  if (colon == std::string::npos) return;
  const std::string digits = text.substr(colon + 1);
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = !digits.empty() && digits[0] >= '0' && digits[0] <= '9' && error == std::errc() && end == digits.data() + digits.size();
  TORCH_CHECK(whole && (digits.size() == 1 || digits[0] != '0') && number <= 127, "Invalid device string: '", text, "'");
  *this = Device(type_, static_cast<DeviceIndex>(number));
}

std::string Device::str() const {
  std::string text = DeviceTypeName(type_, true);
  if (has_index()) text.append(1, ':').append(std::to_string(index_));
  return text;
}

void require_cpu(const char* name, const Device& device) {
  TORCH_CHECK_NOT_IMPLEMENTED(device.is_cpu(), "Could not run '", name, "' with arguments from the '", DeviceTypeName(device.type()),
                              "' backend.\n[", name, "] tensors live on the CPU here, not on ", device,
                              "; use torch::kCPU, and ask torch::cuda::is_available() before torch::kCUDA.");
}

bool cuda::is_available() { return false; }
std::size_t cuda::device_count() { return 0; }
bool cuda::cudnn_is_available() { return false; }
void cuda::manual_seed(std::uint64_t) {}
void cuda::manual_seed_all(std::uint64_t) {}
void cuda::synchronize(std::int64_t) { require_cpu("cuda::synchronize", Device(DeviceType::CUDA)); }

// %%
TEST_CASE("Device: from types and from text") {
  CHECK_EQ(Device("cpu").str(), "cpu");
  CHECK_EQ(Device(kCUDA, 2).str(), "cuda:2");
  CHECK(Device("cuda:2") == Device(kCUDA, 2));
  CHECK_FALSE(Device("cuda") == Device("cuda:0"));
  CHECK_EQ(Device("cuda:1").index(), 1);
  CHECK_FALSE(Device(kCPU).has_index());
  CHECK(Device("mps").is_mps());
  CHECK_EQ(DeviceTypeName(kCUDA), "CUDA");
  CHECK(Device("privateuseone:1") == Device(kPrivateUse1, 1));
  CHECK_ERROR(register_privateuse1_backend("cuda"), "Cannot register the name 'cuda'");
  CHECK_ERROR(register_privateuse1_backend("A device"), "a device's name is a word of lower-case letters, but got 'A device'");
  CHECK_ERROR(Device(""), "Device string must not be empty");
  CHECK_ERROR(Device("gpu"), "device type at start of device string: gpu");
  for (const char* text : {"cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:1x", "cuda:999"}) CHECK_ERROR(Device(text), std::string("Invalid device string: '") + text + "'");
  CHECK_ERROR(Device("cpu:1"), "CPU device index must be -1 or zero, got 1");
  int number = 3;
  const DataPtr pointer(&number, Device("cuda:1"));
  CHECK_EQ(pointer.get(), &number);
  CHECK_EQ(pointer.device().str(), "cuda:1");
  CHECK(pointer != nullptr);
  CHECK_FALSE(DataPtr(nullptr, kCPU));
  CHECK_FALSE(cuda::is_available());
  CHECK_EQ(cuda::device_count(), 0);
  CHECK_ERROR(require_cpu("empty", Device("cuda:1")), "Could not run 'empty' with arguments from the 'CUDA' backend.\n[empty] tensors live on the CPU here, not on cuda:1");
}

// %% [markdown]
// ## Someone who looks on
//
// A profiler wants to see every operator, every node of a backward pass, every module and every allocation, and a program that is not being profiled must not pay for it. So each of these places tests one global pointer, which is almost
// always null and which the branch predictor therefore gets right:
//
//     op::mm(a, b) ──► observer?  no ──► the function of the layer
//                         │
//                        yes ──► RecordFunction: note inputs, begin ──► the function ──► note outputs, end (also when it throws)
//
// What to do with what is seen is the observer's business; module 14 writes one. An observer is never destroyed: a call that began while it was
// installed ends with it, in whatever thread and however much later.

// %%
//| export core/record_function.h
struct TensorImpl;
enum class Layer : std::uint8_t;
class RecordFunction;

// What is being recorded: an operator, a node of a backward pass, a part that the user named, the forward pass of a module.
enum class RecordScope : std::uint8_t { FUNCTION, BACKWARD_FUNCTION, USER_SCOPE, MODULE };

// Sees what the program does while it is installed. Calls come from all threads at once.
class RecordObserver {
 public:
  virtual void begin(RecordFunction& call) = 0;
  virtual void end(RecordFunction& call) noexcept = 0;
  // Tensors took `change` bytes, or gave them back (below 0); `live` bytes are held now.
  virtual void memory(std::ptrdiff_t change, std::size_t live) noexcept = 0;
  // The call that this thread is in recorded a node for the backward pass.
  virtual void node(std::uint64_t sequence_nr) noexcept = 0;

 protected:
  ~RecordObserver() = default;
};
inline constinit std::atomic<RecordObserver*> record_observer{nullptr};

// A call under observation, from before() to end(), or to the end of its scope. Does nothing without an observer.
//
//     RecordFunction record(RecordScope::USER_SCOPE);
//     record.before("load batch");
//
// Source: aten/src/ATen/record_function.h.
class RecordFunction {
 public:
  explicit RecordFunction(RecordScope scope) : observer_(record_observer.load()), scope_(scope) {}
  ~RecordFunction() { end(); }
  RecordFunction(const RecordFunction&) = delete;
  RecordFunction& operator=(const RecordFunction&) = delete;

  bool isActive() const { return observer_ != nullptr; }
  // Begins the call. What calls of one operator or module have in common is `source`; a name that comes with a source must be there for ever.
  void before(std::string_view name, std::int64_t sequence_nr = -1, const void* source = nullptr, Layer layer = {});
  void end();

  RecordScope scope() const { return scope_; }
  std::string_view name() const { return name_; }
  const void* source() const { return source_; }
  Layer layer() const { return layer_; }
  std::int64_t sequence_nr() const { return sequence_nr_; }  // of a BACKWARD_FUNCTION; -1 for others

  // The tensors of the call: those noted before before() are its inputs, later ones its outputs. They live as long as the call.
  void add_tensor(const TensorImpl& tensor);
  std::size_t input_count() const { return inputs_; }
  std::size_t tensor_count() const { return tensors_; }
  const TensorImpl& tensor(std::size_t index) const { return index < few_.size() ? *few_[index] : *more_[index - few_.size()]; }

  // Two numbers in which the observer may remember where it keeps this call.
  std::array<std::uint64_t, 2> place{};

 private:
  RecordObserver* observer_;
  RecordScope scope_;
  bool begun_ = false;
  Layer layer_{};
  std::string_view name_;
  const void* source_ = nullptr;
  std::int64_t sequence_nr_ = -1;
  std::size_t inputs_ = 0;
  std::size_t tensors_ = 0;
  std::array<const TensorImpl*, 8> few_;
  std::vector<const TensorImpl*> more_;
};

inline void RecordFunction::before(std::string_view name, std::int64_t sequence_nr, const void* source, Layer layer) {
  if (!isActive() || begun_) return;
  name_ = name;
  sequence_nr_ = sequence_nr;
  source_ = source;
  layer_ = layer;
  inputs_ = tensors_;
  begun_ = true;
  observer_->begin(*this);
}

inline void RecordFunction::end() {
  if (!begun_) return;
  begun_ = false;
  observer_->end(*this);
}

inline void RecordFunction::add_tensor(const TensorImpl& tensor) {
  if (tensors_ < few_.size()) {
    few_[tensors_] = &tensor;
  } else {
    more_.push_back(&tensor);
  }
  ++tensors_;
}

// %%
//| lesson
// Writes down what it sees.
class Witness : public RecordObserver {
 public:
  void begin(RecordFunction& call) override { seen += "(" + std::string(call.name()); }
  void end(RecordFunction& call) noexcept override { seen += std::to_string(call.sequence_nr()) + ")"; }
  void memory(std::ptrdiff_t, std::size_t) noexcept override {}
  void node(std::uint64_t) noexcept override {}
  std::string seen;
};

// %%
TEST_CASE("RecordFunction: begins and ends under an observer, also when the scope is left by an exception") {
  static Witness witness;
  {
    RecordFunction unseen(RecordScope::USER_SCOPE);
    CHECK_FALSE(unseen.isActive());
    unseen.before("unseen");
  }
  record_observer.store(&witness);
  try {
    RecordFunction outer(RecordScope::USER_SCOPE);
    outer.before("outer", 7);
    RecordFunction inner(RecordScope::USER_SCOPE);
    inner.before("inner");
    inner.end();
    RecordFunction never(RecordScope::USER_SCOPE);  // not begun
    throw Error("out of here");
  } catch (const Error&) {
  }
  record_observer.store(nullptr);
  CHECK_EQ(witness.seen, "(outer(inner-1)7)");
}

// %% [markdown]
// ## Layers
//
// An operator of module 01 has one function for each *layer*, and a call runs the highest layer that its arguments ask for and this thread has not switched off. So sets of layers are joined, intersected and asked for their highest member at every call: they are the bits of one integer.
//
//     bit     31 ...        5         4              3             2              1         0
//         Elsewhere      Autograd  InplaceOrView  PrivateUse1  HalfPrecision  TunedCPU    CPU

// %%
//| export core/layer_set.h
// The layers that an operator can have, from the lowest to the highest. A call runs the highest one that its arguments ask for. Source: c10/core/DispatchKey.h.
// PrivateUse1 is for a device from outside (chapter 84). Elsewhere is no layer but a mark: of tensors on such a device, and of operators that have no function for it.
enum class Layer : std::uint8_t { CPU, TunedCPU, HalfPrecision, PrivateUse1, InplaceOrView, Autograd, Elsewhere = 31 };
inline constexpr std::size_t kLayerCount = 6;

// A set of layers, as bits. Source: c10/core/DispatchKeySet.h.
class LayerSet {
 public:
  constexpr LayerSet() = default;
  constexpr LayerSet(Layer layer) : bits_(static_cast<std::uint32_t>(1U << static_cast<unsigned>(layer))) {}
  constexpr bool has(Layer layer) const { return (bits_ & LayerSet(layer).bits_) != 0; }
  // Whether there is nothing to run: no layer, or the mark Elsewhere, which is the sign.
  constexpr bool empty() const { return static_cast<std::int32_t>(bits_) <= 0; }
  constexpr Layer highest() const { return static_cast<Layer>(std::bit_width(bits_) - 1); }
  friend constexpr LayerSet operator|(LayerSet a, LayerSet b) { return from_bits(a.bits_ | b.bits_); }
  friend constexpr LayerSet operator&(LayerSet a, LayerSet b) { return from_bits(a.bits_ & b.bits_); }
  friend constexpr LayerSet operator-(LayerSet a, LayerSet b) { return from_bits(a.bits_ & ~b.bits_); }
  friend constexpr bool operator==(LayerSet a, LayerSet b) = default;

 private:
  static constexpr LayerSet from_bits(std::uint32_t bits) {
    LayerSet set;
    set.bits_ = bits;
    return set;
  }
  std::uint32_t bits_ = 0;
};

// %%
//| export core/layer_set.h
// What a thread carries along: layers switched off, and modes, whose bits belong to later modules. Worker threads
// and engines copy it from the thread that started them. Source: c10/core/impl/LocalDispatchKeySet.h.
struct ThreadState {
  LayerSet excluded;
  std::uint32_t modes = 0;
};
inline thread_local constinit ThreadState current_thread_state{};
inline ThreadState& thread_state() { return current_thread_state; }

// Puts a thread state in place for a scope.
class ThreadStateGuard {
 public:
  explicit ThreadStateGuard(ThreadState state) : saved_(thread_state()) { thread_state() = state; }
  ~ThreadStateGuard() { thread_state() = saved_; }
  ThreadStateGuard(const ThreadStateGuard&) = delete;
  ThreadStateGuard& operator=(const ThreadStateGuard&) = delete;

 private:
  ThreadState saved_;
};

// Switches layers off for a scope.
class ExcludeLayersGuard {
 public:
  explicit ExcludeLayersGuard(LayerSet layers) : saved_(thread_state().excluded) {
    thread_state().excluded = saved_ | layers;
  }
  ~ExcludeLayersGuard() { thread_state().excluded = saved_; }
  ExcludeLayersGuard(const ExcludeLayersGuard&) = delete;
  ExcludeLayersGuard& operator=(const ExcludeLayersGuard&) = delete;

 private:
  LayerSet saved_;
};

// For code that changes parameters as such (initialisation, loading): runs below the layers above InplaceOrView, so
// that writes are still counted. Source: aten/src/ATen/core/LegacyTypeDispatch.h.
class AutoDispatchBelowAutograd : public ExcludeLayersGuard {
 public:
  AutoDispatchBelowAutograd() : ExcludeLayersGuard(Layer::Autograd) {}
};

// Layers that every new tensor is born with beside its backend's, and the modes of a thread in which each is shown to op::created, whatever its options ask for.
// A later module may add to them, at start-up.
inline constinit LayerSet birth_layers{};
inline constinit std::uint32_t birth_modes = 0;

// %%
//| export core/layer_set.h
// Which layers an argument asks for. Plain values ask for none; tensor.h adds tensors, lists of them and options.
// A type that is not listed does not compile: a silent "none" for a list of tensors once swallowed gradients.
template <class T>
inline constexpr bool is_plain_argument =
    std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_same_v<T, Scalar> || std::is_same_v<T, IntArrayRef>;
template <class T>
inline constexpr bool is_plain_argument<std::optional<T>> = is_plain_argument<T>;

template <class T>
  requires is_plain_argument<T>
constexpr LayerSet layers_of(const T&) {
  return {};
}
template <class T>
  requires is_plain_argument<T>
constexpr bool is_undefined(const T&) {
  return false;
}

// Notes the tensors among arguments and results, for an observer; tensor.h has the overloads that find some.
template <class T>
  requires is_plain_argument<T>
void note_tensors(RecordFunction&, const T&) {}

// %%
TEST_CASE("LayerSet: the highest layer, and a mark that is none") {
  const LayerSet both = LayerSet(Layer::CPU) | Layer::Autograd;
  CHECK(both.highest() == Layer::Autograd);
  CHECK((both - Layer::Autograd).highest() == Layer::CPU);
  CHECK(both.has(Layer::CPU));
  CHECK_FALSE(both.has(Layer::InplaceOrView));
  CHECK((both & Layer::InplaceOrView).empty());
  CHECK((both | Layer::Elsewhere).empty());
  CHECK(layers_of(3) == LayerSet());
}

// %%
TEST_CASE("guards of the thread state: what was switched off before stays so, and comes back") {
  const ExcludeLayersGuard outer(Layer::TunedCPU);
  {
    const AutoDispatchBelowAutograd inner;
    CHECK(thread_state().excluded == (LayerSet(Layer::TunedCPU) | Layer::Autograd));
    const ThreadStateGuard fresh{ThreadState()};
    CHECK(thread_state().excluded == LayerSet());
  }
  CHECK(thread_state().excluded == LayerSet(Layer::TunedCPU));
}

// %% [markdown]
// ## What a call costs
//
// A framework is full of calls whose target is not known when it is compiled: which kernel, which backend, which layer of the dispatcher. There are several ways to make such
// a call, and module 01 has to choose one:

//     inlined            no call: the body stands in the caller, and the optimizer sees through it
//     direct             call 0x1234                          the target is in the instruction
//     function pointer   load pointer; call                   one load, one guess of the branch predictor
//     virtual            load table; load entry; call         two loads, one after the other
//     std::function      check; load; call; call              the same, and a wrapper around it

// %%
//| lesson
inline void print_time(const std::string& name, double seconds) {
  std::cout << "  " << std::left << std::setw(20) << name << std::right << std::setw(9) << format_seconds(seconds) << '\n';
}

struct Step {
  virtual ~Step() = default;
  virtual uint64_t apply(uint64_t x) const = 0;
};
struct AddStep : Step {
  uint64_t apply(uint64_t x) const override { return x * 3 + 1; }
};

inline uint64_t step_inline(uint64_t x) { return x * 3 + 1; }
[[gnu::noinline]] inline uint64_t step_direct(uint64_t x) { return x * 3 + 1; }

// Seconds per step of a chain in which each step waits for the one before.
template <class F>
double seconds_per_step(const F& f) {
  constexpr int steps = 1000;
  return measure([&f] {
           uint64_t x = 1;
           for (int i = 0; i < steps; ++i) x = f(x);
           do_not_optimize(x);
         }).median /
         steps;
}

// %%
DEMO("the price of a call") {
  const std::unique_ptr<Step> object = std::make_unique<AddStep>();
  uint64_t (*volatile pointer)(uint64_t) = step_direct;
  const std::function<uint64_t(uint64_t)> wrapped = [](uint64_t x) { return x * 3 + 1; };
  const double inlined = seconds_per_step([](uint64_t x) { return step_inline(x); });
  const double direct = seconds_per_step([](uint64_t x) { return step_direct(x); });
  const double indirect = seconds_per_step([&pointer](uint64_t x) { return pointer(x); });
  const double virtually = seconds_per_step([&object](uint64_t x) { return object->apply(x); });
  const double function = seconds_per_step([&wrapped](uint64_t x) { return wrapped(x); });
  print_time("inlined", inlined);
  print_time("direct call", direct);
  print_time("through a pointer", indirect);
  print_time("virtual", virtually);
  print_time("std::function", function);
}

// %% [markdown]
// After a few rounds the processor predicts the target, and an indirect call costs hardly more than a direct one. What every call loses is *inlining*: the optimizer no longer
// sees both sides, cannot keep values in registers across the call, and cannot turn the loop into vector instructions. A nanosecond is nothing in front of a matrix product
// and everything inside its inner loop. That is why operators dispatch once per *tensor*, never once per number.
//
// ## A generator without a state
//
// The twister is sequential: number one million needs all that come before. Counter-based generators, as TensorFlow, JAX and PyTorch on a GPU use them, make number i of
// stream k from (k, i) alone: a cipher that encrypts a counter.

// %%
//| lesson
// Four random words for a counter and a key. Has no state.
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// %%
TEST_CASE("philox: the known answers of its authors") {
  using Words = std::array<uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
}

// %%
DEMO("number one million of a stream: walk there, or compute it") {
  const double walk = measure(
                          [] {
                            mt19937 engine(1);
                            for (int i = 1; i < 1000000; ++i) engine();
                            do_not_optimize(engine());
                          },
                          {.samples = 3})
                          .median;
  uint32_t index = 250000;
  const double jump = measure([&index] { do_not_optimize(philox({index++, 0, 0, 0}, {1, 0})[3]); }).median;
  std::cout << "  mt19937  " << format_seconds(walk) << "\n  philox   " << format_seconds(jump) << '\n';
}

// %%
}  // namespace tinytorch
