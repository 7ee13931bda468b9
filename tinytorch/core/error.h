// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace tinytorch {

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

}  // namespace tinytorch
