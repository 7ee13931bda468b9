// tito watch, on a terminal of its own.
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "learn/screen.h"
#include "learner_fixture.h"
#include "tito/lesson.h"

namespace tito {
namespace {

using fixture::Learner;

// The lines of the last screen that was drawn to its end; none when there is no such screen.
std::vector<std::string> last_frame(const std::string& output) {
  const std::size_t end = output.rfind("\033[J");
  const std::size_t begin = output.rfind("\033[H", end);
  if (end == std::string::npos || begin == std::string::npos) return {};
  return split_lines(output.substr(begin + 3, end - begin - 3));
}

// Of ASCII text: what takes room on the screen.
std::string without_colours(const std::string& line) {
  std::string out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\033') {
      while (i < line.size() && std::isalpha(static_cast<unsigned char>(line[i])) == 0) ++i;
    } else if (line[i] != '\r') {
      out += line[i];
    }
  }
  return out;
}

// A program on a pseudo-terminal; the test holds the other end, and both ends of the terminal stay open.
class Terminal {
 public:
  Terminal(const Learner& learner, const Command& arguments) {
    winsize size = {24, 100, 0, 0};
    REQUIRE_EQ(openpty(&master_, &slave_, nullptr, nullptr, &size), 0);
    REQUIRE_EQ(tcgetattr(slave_, &before_), 0);
    child_ = fork();
    if (child_ == 0) {
      setsid();
      ioctl(slave_, TIOCSCTTY, 0);
      for (int i = 0; i < 3; ++i) dup2(slave_, i);
      setenv("TITO_ROOT", learner.course().c_str(), 1);
      if (chdir(learner.workspace().c_str()) != 0) _exit(126);
      const std::string program = (fs::path(TITO_SOURCE_ROOT) / "build/cli/tito").string();
      std::vector<char*> list{const_cast<char*>(program.c_str())};
      for (const std::string& argument : arguments) list.push_back(const_cast<char*>(argument.c_str()));
      list.push_back(nullptr);
      execv(program.c_str(), list.data());
      _exit(127);
    }
  }
  ~Terminal() {
    if (child_ > 0) {
      kill(-child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(master_);
    close(slave_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // What was drawn since the last call, until it has `text`.
  bool shows(const std::string& text, double seconds = 60) {
    const auto start = std::chrono::steady_clock::now();
    while (seen_.find(text) == std::string::npos) {
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds) {
        MESSAGE("not shown: " << text << "\n" << seen_);
        return false;
      }
      read_some();
    }
    return true;
  }
  // A whole screen of at most so many lines and columns. The one that was being drawn when the size changed is not it.
  bool shows_screen(std::size_t rows, std::size_t columns, double seconds) {
    const auto start = std::chrono::steady_clock::now();
    const auto fits = [&](const std::vector<std::string>& lines) {
      return !lines.empty() && lines.size() <= rows &&
             std::all_of(lines.begin(), lines.end(), [&](const std::string& line) { return without_colours(line).size() <= columns; });
    };
    while (!fits(last_frame(seen_))) {
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds) {
        MESSAGE("no screen of " << rows << " x " << columns << "\n" << seen_);
        return false;
      }
      read_some();
    }
    return true;
  }
  void forget() { seen_.clear(); }
  void press(char key) const { CHECK_EQ(write(master_, &key, 1), 1); }
  void resize(unsigned short rows, unsigned short columns) const {
    winsize size = {rows, columns, 0, 0};
    ioctl(master_, TIOCSWINSZ, &size);
  }
  // The exit status, or -1 after a signal.
  int wait() {
    int status = 0;
    for (int i = 0; i < 600; ++i) {
      read_some();
      if (waitpid(child_, &status, WNOHANG) == child_) {
        child_ = 0;
        read_some();
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
      }
    }
    FAIL("it does not end");
    return -1;
  }
  pid_t child() const { return child_; }
  const std::string& seen() const { return seen_; }
  bool is_as_before() const {
    termios now = {};
    tcgetattr(slave_, &now);
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag;
  }

 private:
  void read_some() {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(master_, &set);
    timeval patience = {0, 100000};
    if (select(master_ + 1, &set, nullptr, nullptr, &patience) <= 0) return;
    char buffer[4096];
    const ssize_t count = read(master_, buffer, sizeof buffer);
    if (count > 0) seen_.append(buffer, static_cast<std::size_t>(count));
  }

  int master_ = -1, slave_ = -1;
  pid_t child_ = 0;
  termios before_ = {};
  std::string seen_;
};

bool left_screen(const std::string& output) { return output.rfind("\033[?1049l") > output.rfind("\033[?1049h") && output.rfind("\033[?25h") != std::string::npos; }

// The processes of a program's group that draw: the child that with_screen starts.
pid_t drawing_process(pid_t parent) {
  std::ifstream in("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
  pid_t child = 0;
  in >> child;
  return child;
}

}  // namespace

TEST_CASE("watch: tests on save, hints, next, resize, quit") {
  const Learner learner;
  Terminal terminal(learner, {"watch", "00"});
  CHECK(terminal.shows("00_tiny  0 passed, 2 failed"));
  CHECK(terminal.shows("NEXT  twice"));
  CHECK_FALSE(terminal.is_as_before());
  terminal.press('h');
  CHECK(terminal.shows("Hint 1 of 4 for twice: 1. Take x.", 5));
  terminal.forget();
  terminal.press('n');
  CHECK(terminal.shows("> ", 5));
  terminal.press('h');
  CHECK(terminal.shows("Hint 1 of 1 for sum_to", 5));
  terminal.forget();
  learner.fill_twice("return x * x;");
  CHECK(terminal.shows("FAILED  twice: a number and itself"));
  CHECK(terminal.shows("Twice is a sum, not a square."));
  terminal.forget();
  Learner::replace(learner.tiny(), "return x * x;", "return x + x;");
  CHECK(terminal.shows("1 passed, 1 failed"));
  CHECK(terminal.shows("2/5 points"));
  terminal.forget();
  terminal.resize(12, 40);
  CHECK(terminal.shows("00_tiny", 5));
  CHECK(terminal.shows_screen(12, 40, 5));
  terminal.press('q');
  CHECK_EQ(terminal.wait(), 0);
  CHECK(terminal.is_as_before());
  CHECK(terminal.seen().find("\033[?1049l") != std::string::npos);
}

TEST_CASE("watch: however it ends, the terminal is as it was") {
  const Learner learner;
  for (const int signal : {SIGSEGV, SIGKILL}) {
    CAPTURE(signal);
    Terminal terminal(learner, {"watch", "00"});
    CHECK(terminal.shows("\033[?1049h", 20));
    CHECK(terminal.shows("00_tiny", 20));
    const pid_t drawing = drawing_process(terminal.child());
    REQUIRE(drawing > 0);
    kill(drawing, signal);
    CHECK_EQ(terminal.wait(), 1);
    CHECK(terminal.is_as_before());
    CHECK(left_screen(terminal.seen()));
  }
  Terminal terminal(learner, {"watch", "00"});
  CHECK(terminal.shows("00_tiny", 20));
  kill(terminal.child(), SIGTERM);
  terminal.wait();
  CHECK(terminal.is_as_before());
  CHECK(left_screen(terminal.seen()));
}

TEST_CASE("screen: lines are cut at characters, and colours take no room") {
  CHECK_EQ(cut_to_width("abcdef", 3), "abc");
  CHECK_EQ(cut_to_width("\033[31mabc\033[0m", 2), "\033[31mab\033[0m");
  CHECK_EQ(cut_to_width("äöü", 2), "äö");
}

}  // namespace tito
