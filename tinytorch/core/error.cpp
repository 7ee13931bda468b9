// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/error.h"

#include <sstream>

namespace tinytorch {

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

// The message, then the context, then, if asked for and there is one, the backtrace on a line of its own. A single context entry follows on the same line as " (entry)";
// several stand on a line each, indented by two spaces.
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

}  // namespace tinytorch
