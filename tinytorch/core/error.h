// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tinytorch {

// Where in the source something happened.
struct SourceLocation {
  const char* function;
  const char* file;
  uint32_t line;
};

std::ostream& operator<<(std::ostream& out, const SourceLocation& location);

// Thrown by an exercise that has not been written yet. Not an Error: a program that handles errors must not
// take a missing body for one.
class NotImplemented : public std::exception {
 public:
  explicit NotImplemented(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// The arguments written one directly after the other with operator<<; "" without arguments.
// Works for every type that has an operator<<. O(length of the result).
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  static_cast<void>((out << ... << args));
  return out.str();
}

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

namespace detail {

// The failing side of every check. Never inlined and marked cold, so that the passing side is a compare and a
// branch.
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

// Throws `error` unless `cond` holds. The arguments after it make the message; they are evaluated only on
// failure.
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

}  // namespace tinytorch
