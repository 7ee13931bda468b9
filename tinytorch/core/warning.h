// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <variant>

#include "tinytorch/core/error.h"

namespace tinytorch {

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
