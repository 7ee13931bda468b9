#include "learn/screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string_view>

#include <fmt/core.h>

namespace tito {
namespace {

constexpr std::string_view enter_screen = "\033[?1049h\033[?25l";
constexpr std::string_view leave_screen = "\033[0m\033[?25h\033[?1049l";

constexpr int ending_signals[] = {SIGTERM, SIGHUP, SIGINT};

volatile std::sig_atomic_t child_process = 0;

void pass_on(int signal) {
  if (child_process > 0) kill(child_process, signal);
}

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno != EINTR) return;
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
}

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigaction(signal, &action, nullptr);
}

[[noreturn]] void run_child(const std::function<int()>& body, const termios& before, const sigset_t& mask) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  for (const int signal : ending_signals) set_handler(signal, SIG_DFL);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  set_handler(SIGWINCH, [](int) {});  // only so that it interrupts a wait
  termios raw = before;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  put(enter_screen);
  int result = 1;
  try {
    result = body();
  } catch (const std::exception& error) {
    put(leave_screen);
    fmt::print(stderr, "{}\n", error.what());
  }
  std::fflush(nullptr);
  _exit(result);
}

}  // namespace

int with_screen(const std::function<int()>& body) {
  termios before = {};
  if (isatty(STDOUT_FILENO) == 0 || tcgetattr(STDIN_FILENO, &before) != 0) {
    throw std::runtime_error("this needs a terminal; 'tito test' does the same once, anywhere");
  }
  std::fflush(nullptr);
  // A signal waits until it can be passed on: the child may have drawn by then, and only this process gives the terminal back.
  sigset_t ending, mask;
  sigemptyset(&ending);
  for (const int signal : ending_signals) sigaddset(&ending, signal);
  sigprocmask(SIG_BLOCK, &ending, &mask);
  const pid_t child = fork();
  if (child < 0) {
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    throw std::runtime_error(std::string("cannot start another process: ") + std::strerror(errno));
  }
  if (child == 0) run_child(body, before, mask);
  child_process = child;
  for (const int signal : ending_signals) set_handler(signal, pass_on);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  put(leave_screen);
  set_handler(SIGTTOU, SIG_IGN);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  throw std::runtime_error(std::string("the screen was ended: ") + strsignal(WTERMSIG(status)));
}

ScreenSize screen_size() {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_row, size.ws_col};
}

int read_key(int milliseconds) {
  pollfd waiting{STDIN_FILENO, POLLIN, 0};
  if (poll(&waiting, 1, milliseconds) <= 0) return 0;
  char key = 0;
  const ssize_t count = read(STDIN_FILENO, &key, 1);
  if (count == 1) return static_cast<unsigned char>(key);
  return count == 0 || errno != EINTR ? -1 : 0;
}

std::string cut_to_width(const std::string& line, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  bool cut = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\033') {  // colours stay, so that they are switched off again
      const std::size_t end = std::min(line.find('m', i), line.size() - 1);
      out += line.substr(i, end - i + 1);
      i = end;
      continue;
    }
    const bool begins_character = (static_cast<unsigned char>(line[i]) & 0xC0) != 0x80;
    if (begins_character && ++used > columns) cut = true;
    if (!cut) out += line[i];
  }
  return out;
}

void draw(const std::vector<std::string>& lines, const ScreenSize& size) {
  std::string out = "\033[H";
  for (std::size_t i = 0; i < lines.size() && i < size.rows; ++i) {
    // Cleared first: behind a line as wide as the screen the cursor stands on its last character.
    out += std::string(i == 0 ? "" : "\r\n") + "\033[K" + cut_to_width(lines[i], size.columns);
  }
  out += "\033[J";
  put(out);
}

}  // namespace tito
