#include "build/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/core.h>

namespace tito {
namespace {

using Clock = std::chrono::steady_clock;

bool silent = false;

std::size_t terminal_width() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

void silence_progress() { silent = true; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)), start_(Clock::now()), last_(start_), terminal_(stderr_is_terminal()) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::update(std::size_t done, std::size_t total, std::string_view what) {
  using namespace std::chrono_literals;
  const Clock::time_point now = Clock::now();
  if (silent || now - start_ < 1s) return;
  if (now - last_ < (terminal_ ? 100ms : 10s)) return;
  last_ = now;
  const std::size_t all = std::max<std::size_t>(total, 1);
  if (!terminal_) {
    fmt::print(stderr, "{}: {} of {}\n", label_, done, total);
    return;
  }
  constexpr std::size_t width = 30;
  const std::size_t filled = std::min(done, all) * width / all;
  std::string line = fmt::format("{} [{}{}] {}/{} {}", label_, std::string(filled, '#'), std::string(width - filled, '.'),
                                 done, total, what);
  line.resize(std::min(line.size(), terminal_width() - 1));
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressBar::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
  shown_ = false;
}

}  // namespace tito
