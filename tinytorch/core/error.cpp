// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/error.h"

#include <iostream>

namespace tinytorch {

std::ostream& operator<<(std::ostream& out, const SourceLocation& location) {
  return out << location.function << " at " << location.file << ":" << location.line;
}

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

// The message, then the context, then, if asked for and there is one, the backtrace on a line of its own. A
// single context entry follows on the same line as " (entry)"; several stand on a line each, indented by two
// spaces.
std::string Error::compute_what(bool include_backtrace) const {
  std::string text = msg_;
  if (context_.size() == 1) {
    text += " (" + context_[0] + ")";
  } else {
    for (const std::string& line : context_) text += "\n  " + line;
  }
  if (include_backtrace && !backtrace_.empty()) text += "\n" + backtrace_;
  return text;
}

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

}  // namespace tinytorch
