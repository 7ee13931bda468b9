#include "build/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <system_error>

#include <fmt/core.h>

extern char** environ;

namespace tito {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The process groups that run now; the signal handler ends them all.
constexpr std::size_t max_groups = 64;
std::array<std::atomic<pid_t>, max_groups> groups;
std::atomic<int> interrupting_signal = 0;

void on_signal(int signal) {
  interrupting_signal = signal;
  bool any = false;
  for (std::atomic<pid_t>& group : groups) {
    const pid_t id = group.load();
    if (id <= 0) continue;
    any = true;
    kill(-id, SIGTERM);
  }
  if (!any) _exit(128 + signal);
}

void install_handlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  });
}

// Holds a place in the table of groups.
class GroupEntry {
 public:
  explicit GroupEntry(pid_t id) {
    for (std::atomic<pid_t>& group : groups) {
      pid_t empty = 0;
      if (!group.compare_exchange_strong(empty, id)) continue;
      place_ = &group;
      return;
    }
  }
  ~GroupEntry() {
    if (place_ != nullptr) *place_ = 0;
  }
  GroupEntry(const GroupEntry&) = delete;
  GroupEntry& operator=(const GroupEntry&) = delete;

 private:
  std::atomic<pid_t>* place_ = nullptr;
};

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& [key, value] : added) replaced = replaced || key == name;
    if (!replaced) variables.emplace_back(text);
  }
  for (const auto& [key, value] : added) variables.push_back(key + "=" + value);
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

void limit(__rlimit_resource what, rlim_t amount) {
  const rlimit value{amount, amount};
  setrlimit(what, &value);
}

// Runs in the child. Reports a failure to start through `failure`, which closes by itself on success.
[[noreturn]] void become(const ProcessOptions& options, const fs::path& program, char* const* arguments,
                         char* const* variables, int in, int out, int failure) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_DFL);
  dup2(in >= 0 ? in : open("/dev/null", O_RDONLY), STDIN_FILENO);
  if (!options.show) {
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
  }
  limit(RLIMIT_CORE, 0);
  if (options.memory_bytes != 0) limit(RLIMIT_AS, options.memory_bytes);
  if (options.file_bytes != 0) limit(RLIMIT_FSIZE, options.file_bytes);
  if (options.directory.empty() || chdir(options.directory.c_str()) == 0) {
    execve(program.c_str(), arguments, variables);
  }
  const int error = errno;
  if (write(failure, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

// The end to read of a pipe that has `text`, which is short enough for a pipe's buffer, and then ends.
int pipe_with(std::string_view text) {
  int ends[2];
  if (text.size() > PIPE_BUF || pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for a program's input");
  const bool written = write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(ends[1]);
  if (!written) throw std::runtime_error("a program's input could not be written");
  return ends[0];
}

// Cuts what a process prints into lines for `on_line`.
class Lines {
 public:
  explicit Lines(const std::function<void(std::string_view)>& on_line) : on_line_(on_line) {}

  void add(std::string_view text) {
    if (!on_line_) return;
    pending_ += text;
    std::size_t start = 0;
    for (std::size_t end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n', start)) {
      on_line_(std::string_view(pending_).substr(start, end - start));
      start = end + 1;
    }
    pending_.erase(0, start);
  }
  void finish() {
    if (on_line_ && !pending_.empty()) on_line_(pending_);
  }

 private:
  const std::function<void(std::string_view)>& on_line_;
  std::string pending_;
};

std::uintmax_t size_of(const fs::path& file) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  return error ? 0 : size;
}

// Ends a group: first politely, so that ninja can end its compilers, then by force.
void stop_group(pid_t id, double elapsed_since_asked, bool& asked) {
  if (!asked) kill(-id, SIGTERM);
  asked = true;
  if (elapsed_since_asked > 3) kill(-id, SIGKILL);
}

}  // namespace

ProcessResult run_process(const Command& command, const ProcessOptions& options) {
  install_handlers();
  const fs::path program = command.at(0).find('/') == std::string::npos ? find_program(command[0]) : fs::path(command[0]);
  if (program.empty()) throw std::runtime_error(fmt::format("the program {} is not installed", command[0]));
  std::vector<std::string> arguments = command;
  std::vector<std::string> variables = environment_with(options.environment);
  const std::vector<char*> argument_list = pointers(arguments);
  const std::vector<char*> variable_list = pointers(variables);

  int out[2];
  int failure[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(failure, O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot start " + command[0]);
  }
  const int in = options.input.empty() ? -1 : pipe_with(options.input);
  const Clock::time_point start = Clock::now();
  const pid_t child = fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "cannot start " + command[0]);
  if (child == 0) become(options, program, argument_list.data(), variable_list.data(), in, out[1], failure[1]);
  setpgid(child, child);
  const GroupEntry entry(child);
  if (in >= 0) close(in);
  close(out[1]);
  close(failure[1]);
  int error = 0;
  const bool failed_to_start = read(failure[0], &error, sizeof error) == sizeof error;
  close(failure[0]);

  ProcessResult result;
  Lines lines(options.on_line);
  Clock::time_point stopping_since = start;
  Clock::time_point last_growth = start;
  std::uintmax_t watched_size = 0;
  bool stopping = false;
  bool asked = false;
  bool open = true;
  bool ended = false;
  int status = 0;
  const auto stop = [&] {
    if (!stopping) stopping_since = Clock::now();
    stopping = true;
    stop_group(child, seconds_since(stopping_since), asked);
  };
  while (open || !ended) {
    pollfd waiting{out[0], POLLIN, 0};
    const int ready = open ? poll(&waiting, 1, 50) : (usleep(2000), 0);
    if (ready > 0) {
      std::array<char, 65536> buffer;
      const ssize_t count = read(out[0], buffer.data(), buffer.size());
      if (count > 0 && result.flooded) continue;  // nobody reads the rest
      if (count > 0) {
        result.output.append(buffer.data(), static_cast<std::size_t>(count));
        lines.add(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
        if (options.on_text) options.on_text(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
      } else if (count == 0 || errno != EINTR) {
        open = false;
      }
    }
    if (!ended && waitpid(child, &status, WNOHANG) == child) ended = true;
    // A grandchild may hold the pipe open after the child has ended.
    if (ended && ready == 0) open = false;
    if (options.silent_seconds > 0) {
      const std::uintmax_t size = size_of(options.watched);
      if (size != watched_size) last_growth = Clock::now();
      watched_size = size;
    }
    const bool late = options.seconds > 0 && seconds_since(start) > options.seconds;
    const bool silent = options.silent_seconds > 0 && seconds_since(last_growth) > options.silent_seconds;
    if (!ended && (late || silent)) result.timed_out = true;
    const bool cancelled = options.cancelled != nullptr && *options.cancelled;
    if (!ended && options.output_bytes > 0 && result.output.size() > options.output_bytes) result.flooded = true;
    if (!ended && (result.timed_out || result.flooded || cancelled || interrupting_signal != 0)) stop();
  }
  close(out[0]);
  kill(-child, SIGKILL);
  lines.finish();
  result.seconds = seconds_since(start);
  if (interrupting_signal != 0) throw Interrupted(interrupting_signal);
  if (failed_to_start) throw std::system_error(error, std::generic_category(), "cannot start " + command[0]);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return result;
}

std::string how_it_ended(const ProcessResult& result) {
  if (result.timed_out) return fmt::format("stopped after {:.0f} s", result.seconds);
  if (result.flooded) return fmt::format("stopped after {} MB of output", result.output.size() >> 20);
  if (result.signal != 0) return fmt::format("killed by signal {} ({})", result.signal, strsignal(result.signal));
  return fmt::format("exit status {}", result.status);
}

fs::path find_program(std::string_view name) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const fs::path candidate = fs::path(rest.substr(0, colon)) / name;
    if (access(candidate.c_str(), X_OK) == 0 && fs::is_regular_file(candidate)) return candidate;
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  }
  return {};
}

unsigned processor_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

}  // namespace tito
