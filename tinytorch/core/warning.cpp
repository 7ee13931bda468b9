// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/warning.h"

#include <iostream>

namespace tinytorch {

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
