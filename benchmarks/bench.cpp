// `tito bench SUITE`: TinyTorch and its peers in turns, in one run, measured and judged with module 15.
//
//     bench --cases cases.json --suite SUITE... --out FILE.json [--seconds S] [--threads N] [--busy N] [--peer NAME=COMMAND]... --ours COMMAND
//     bench --compare BEFORE.json AFTER.json
//
// Each side is a process that lives as long as the run (worker.h); only one works at a time, on the same processors. The file has
// every sample, and the ratios with their intervals.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "comparison.h"
#include "tinytorch/benchmarking/results.h"
#include "tinytorch/benchmarking/timing.h"
#include "tinytorch/core/error.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/serialize/file.h"

namespace {

using namespace tinytorch;
using Json = nlohmann::ordered_json;

struct Settings {
  std::string cases, out, ours;
  std::vector<std::string> suites;
  std::vector<std::pair<std::string, std::string>> peers;  // name, shell command of its worker
  double seconds = 3;        // for the rounds of one case
  double longest_call = 60;  // a call that takes longer is given up
  int threads = 1;
  int busy = 0;  // processes that spin on the same processors meanwhile
};

// Processes that want a processor all the time, as another program's would, for as long as this lives.
class BusyProcesses {
 public:
  explicit BusyProcesses(int count) {
    for (int i = 0; i < count; ++i) {
      const pid_t child = fork();
      if (child < 0) throw std::runtime_error("no process that keeps a processor busy");
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);  // not longer than the benchmark, however it ends
        for (volatile int turn = 0;;) static_cast<void>(turn);
      }
      children_.push_back(child);
    }
  }
  ~BusyProcesses() {
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }
  BusyProcesses(const BusyProcesses&) = delete;
  BusyProcesses& operator=(const BusyProcesses&) = delete;

 private:
  std::vector<pid_t> children_;
};

// What an error says, without the places in the code.
std::string sentence_of(const std::exception& error) {
  const auto* const own = dynamic_cast<const Error*>(&error);
  return own == nullptr ? error.what() : own->what_without_backtrace();
}

pid_t start(const std::string& command, int* to, int* from) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for " + command);
  const pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    dup2(in[0], 0);
    dup2(out[1], 1);
    execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  *to = in[1];
  *from = out[0];
  return child;
}

// A worker process and the lines it speaks.
class Worker {
 public:
  Worker(std::string name, std::string command) : name_(std::move(name)), command_(std::move(command)) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { stop(); }

  const std::string& name() const { return name_; }
  const std::string& command() const { return command_; }

  // Sends a line and waits for the answer. Throws when there is none within the limit; the process is ended then.
  std::string ask(const std::string& line, double limit) {
    if (child_ < 0) child_ = start(command_, &to_, &from_);
    const std::string text = line + "\n";
    if (write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) give_up("it does not read");
    const double until = benchmarking::steady_seconds() + limit;
    std::size_t end = 0;
    while ((end = pending_.find('\n')) == std::string::npos) {
      const double left = until - benchmarking::steady_seconds();
      pollfd readable{from_, POLLIN, 0};
      if (left <= 0 || poll(&readable, 1, static_cast<int>(left * 1000) + 1) == 0) give_up("no answer within " + format_seconds(limit));
      char buffer[4096];
      const ssize_t count = read(from_, buffer, sizeof buffer);
      if (count <= 0) give_up("it ended");
      pending_.append(buffer, static_cast<std::size_t>(count));
    }
    const std::string answer = pending_.substr(0, end);
    pending_.erase(0, end + 1);
    return answer;
  }

  // How much processor time its process has taken so far.
  double processor_seconds() const {
    clockid_t clock{};
    timespec taken{};
    if (child_ < 0 || clock_getcpuclockid(child_, &clock) != 0 || clock_gettime(clock, &taken) != 0) return 0;
    return static_cast<double>(taken.tv_sec) + 1e-9 * static_cast<double>(taken.tv_nsec);
  }

  void stop() {
    if (child_ < 0) return;
    kill(-child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    close(to_);
    close(from_);
    child_ = -1;
    pending_.clear();
  }

 private:
  [[noreturn]] void give_up(const std::string& why) {
    stop();
    throw std::runtime_error(why);
  }

  std::string name_, command_, pending_;
  pid_t child_ = -1;
  int to_ = -1, from_ = -1;
};

// One side of a case, ready to be timed.
struct Side {
  std::string name, note;
  benchmarking::Timed timed;  // empty: it cannot, and `note` says why
  double value = NAN;
  std::int64_t calls = 1;
};

// What a side measured. Throws for what no time and no memory can be: it would make the file one that nobody can compare.
double positive(double value, const std::string& answer) {
  if (!(value > 0 && std::isfinite(value))) throw std::runtime_error("a time that cannot be: " + answer);
  return value;
}

Side prepare(Worker& worker, const std::string& work, const Settings& settings) {
  Side side;
  side.name = worker.name();
  try {
    const std::string answer = worker.ask("prepare " + work, 2 * settings.longest_call);
    if (!answer.starts_with("ready ")) {
      side.note = answer.starts_with("cannot ") ? answer.substr(7) : "an answer that nobody understands: " + answer;
      return side;
    }
    side.value = std::strtod(answer.c_str() + 6, nullptr);
    side.timed = [&worker, &settings](std::int64_t calls) {
      const std::string taken = worker.ask("run " + std::to_string(calls), settings.longest_call + 10 * settings.seconds);
      return positive(std::strtod(taken.c_str(), nullptr), taken);
    };
  } catch (const std::exception& error) {
    side.note = error.what();
  }
  return side;
}

// Runs a shell command to its end and returns the seconds; throws when it fails.
double seconds_of(const std::string& command) {
  const double begin = benchmarking::steady_seconds();
  if (std::system((command + " >/dev/null 2>&1").c_str()) != 0) throw std::runtime_error("the command fails: " + command);
  return benchmarking::steady_seconds() - begin;
}

// Runs a shell command to its end and returns the number that it prints; throws when it fails.
double number_from(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> output(popen((command + " 2>/dev/null").c_str(), "r"), pclose);
  double number = NAN;
  if (!output || std::fscanf(output.get(), "%lf", &number) != 1) throw std::runtime_error("the command fails: " + command);
  return positive(number, "what it prints");
}

// The cases of the suites `start-up` and `memory` are whole commands, in the environment's TITO_BENCH_<name>_<side>. `measure` runs one and returns its
// seconds, or the bytes that it prints.
Side command_side(const std::string& side_name, const std::string& name, double (*measure)(const std::string& command)) {
  Side side;
  side.name = side_name;
  const char* command = std::getenv(("TITO_BENCH_" + name + "_" + side_name).c_str());
  if (command == nullptr) {
    side.note = "not installed";
    return side;
  }
  side.timed = [text = std::string(command), measure](std::int64_t calls) {
    double sum = 0;
    for (std::int64_t i = 0; i < calls; ++i) sum += measure(text);
    return sum;
  };
  return side;
}

// The same, each time after a block that is not counted, while blocks take less than 50 ms. Processors that nobody used meanwhile are slow to come back: on a virtual machine the second thread of a block can share a core with the first for some ten milliseconds.
benchmarking::Timed after_a_block(const benchmarking::Timed& timed) {
  return [timed, last = 0.0](std::int64_t calls) mutable {
    if (last < 0.05) timed(calls);
    return last = timed(calls);
  };
}

// Warms one side up and finds how many calls make a block of 10 ms; a side that fails says so.
void warm_up(Side& side, const Settings& settings) {
  if (!side.timed) return;
  try {
    if (side.timed(1) > settings.seconds) return;  // so long that one call is a block, and has warmed it up
    side.calls = benchmarking::calls_for(side.timed, 0.01);
    // Until the blocks have settled, or a fifth of the time is over.
    std::vector<double> blocks;
    const double until = benchmarking::steady_seconds() + settings.seconds / 5;
    while (benchmarking::steady_seconds() < until && blocks.size() < 40) {
      blocks.push_back(side.timed(side.calls));
      const std::optional<std::size_t> warm = benchmarking::warmup_length(blocks);
      if (blocks.size() >= 6 && warm && *warm < blocks.size() / 3) break;
    }
    side.calls = benchmarking::calls_for(side.timed, 0.01);
  } catch (const std::exception& error) {
    side.timed = {};
    side.note = error.what();
  }
}

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string ratio_text(const benchmarking::Ratio& ratio) {
  std::string text = formatted("%8.3f", ratio.value);
  if (ratio.interval) return text + formatted("  [%.3f, ", ratio.interval->low) + formatted("%.3f]", ratio.interval->high);
  return text + "  (too few rounds for an interval)";
}

class Run {
 public:
  explicit Run(Settings settings) : settings_(std::move(settings)), ours_("tinytorch", settings_.ours) {
    for (const auto& [name, command] : settings_.peers) peers_.push_back(std::make_unique<Worker>(name, command));
    file_.machine = benchmarking::this_machine();
    file_.settings = {{"threads", std::to_string(settings_.threads)}, {"seconds a case", formatted("%g", settings_.seconds)}};
    file_.settings.merge(settings_of_kernels());
    if (settings_.busy > 0) file_.settings["busy processes"] = std::to_string(settings_.busy);
  }

  void all() {
    const Json cases = Json::parse(std::ifstream(settings_.cases));
    std::string suite;
    for (const Json& one : cases) {
      if (std::find(settings_.suites.begin(), settings_.suites.end(), one.at("suite").get<std::string>()) == settings_.suites.end()) continue;
      if (one.at("suite") != suite) {
        suite = one.at("suite");
        std::printf("\n%s\n", suite.c_str());
      }
      measure(one);
      write();  // what is measured is kept, whatever comes next
    }
  }

 private:
  void measure(const Json& one) {
    const std::string work = one.at("work");
    std::printf("  %s\n", one.at("name").get<std::string>().c_str());
    std::fflush(stdout);
    const bool memory = work.starts_with("peak ");
    const auto side_of = [&](Worker& worker) {
      if (memory) return command_side(worker.name(), work.substr(5), number_from);
      if (work.starts_with("command ")) return command_side(worker.name(), work.substr(8), seconds_of);
      return prepare(worker, work, settings_);
    };
    std::vector<Side> sides;
    sides.push_back(side_of(ours_));
    for (const std::unique_ptr<Worker>& peer : peers_) {
      const Json& wanted = one.at("peers");
      if (std::find(wanted.begin(), wanted.end(), peer->name()) == wanted.end()) continue;
      sides.push_back(side_of(*peer));
    }
    if (!memory) {
      for (Side& side : sides) warm_up(side, settings_);
    }
    for (const Side& side : sides) {
      const bool differs = !std::isnan(side.value) && !std::isnan(sides[0].value) && !(std::abs(side.value - sides[0].value) <= 1e-3 * std::abs(sides[0].value) + 1e-12);
      if (differs) throw std::runtime_error(str(one.at("name").get<std::string>(), ": ", side.name, " computes ", side.value, ", tinytorch ", sides[0].value));
    }
    const std::vector<std::vector<double>> seconds = rounds(sides);
    for (std::size_t s = 0; s < sides.size(); ++s) {
      file_.results.push_back({one.at("suite"), one.at("name"), sides[s].name, seconds[s], sides[s].calls, one.at("flops"), one.at("bytes"), sides[s].note});
      if (seconds[s].empty()) {
        std::printf("    %-22s %s\n", sides[s].name.c_str(), sides[s].note.c_str());
        continue;
      }
      const double middle = benchmarking::median(seconds[s]);
      std::string rate;
      if (one.at("flops").get<double>() > 0) rate = formatted("%9.2f GFLOP/s", one.at("flops").get<double>() / middle * 1e-9);
      else if (one.at("bytes").get<double>() > 0) rate = formatted("%9.2f GB/s", one.at("bytes").get<double>() / middle * 1e-9);
      std::string judged;
      if (s > 0 && !seconds[0].empty()) {
        const std::size_t common = std::min(seconds[0].size(), seconds[s].size());
        const benchmarking::Ratio ratio = benchmarking::ratio_of({seconds[s].begin(), seconds[s].begin() + static_cast<std::ptrdiff_t>(common)},
                                                                 {seconds[0].begin(), seconds[0].begin() + static_cast<std::ptrdiff_t>(common)});
        judged = ratio_text(ratio);
        Json row = {{"suite", one.at("suite")}, {"name", one.at("name")}, {"against", sides[s].name}, {"ratio", ratio.value}, {"rounds", common}};
        row["low"] = ratio.interval ? Json(ratio.interval->low) : Json();
        row["high"] = ratio.interval ? Json(ratio.interval->high) : Json();
        ratios_.push_back(row);
      }
      std::printf("    %-22s %10s %-18s %s%s%s\n", sides[s].name.c_str(), (memory ? formatted("%.1f MB", middle * 1e-6) : format_seconds(middle)).c_str(), rate.c_str(), judged.c_str(), sides[s].note.empty() ? "" : "  ", sides[s].note.c_str());
    }
    std::fflush(stdout);
  }

  // What each side took in each round: six rounds, however long they take, since fewer have no interval, and more while there is time.
  std::vector<std::vector<double>> rounds(std::vector<Side>& sides) {
    std::vector<std::vector<double>> seconds(sides.size());
    std::vector<std::size_t> able;
    for (std::size_t s = 0; s < sides.size(); ++s) {
      if (sides[s].timed) able.push_back(s);
    }
    try {
      std::vector<benchmarking::Timed> subjects;
      std::vector<std::int64_t> calls;
      for (const std::size_t s : able) {
        subjects.push_back(settings_.threads > 1 ? after_a_block(sides[s].timed) : sides[s].timed);
        calls.push_back(sides[s].calls);
      }
      const double until = benchmarking::steady_seconds() + settings_.seconds;
      const auto pause = [this] { wait_until_quiet(); };
      for (int done = 0; done < 6 || (done < 60 && benchmarking::steady_seconds() < until); ++done) {
        const std::vector<std::vector<double>> more = benchmarking::interleave(subjects, calls, 1, pause);
        for (std::size_t i = 0; i < able.size(); ++i) seconds[able[i]].push_back(more[i][0]);
      }
    } catch (const std::exception& error) {
      std::printf("    given up: %s\n", error.what());
    }
    return seconds;
  }

  // Threads spin for a while after their work, some libraries' for 200 ms; the next one must not share the processors with them. Waits until all workers together take less than a tenth of a processor for 3 ms.
  void wait_until_quiet() const {
    const auto taken = [this] {
      double sum = ours_.processor_seconds();
      for (const std::unique_ptr<Worker>& peer : peers_) sum += peer->processor_seconds();
      return sum;
    };
    constexpr int kMost = 150;  // half a second
    double before = taken();
    for (int i = 0; i < kMost; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      const double now = taken();
      if (now - before < 0.0003) return;
      before = now;
    }
  }

  void write() {
    for (const char* name : {"tinytorch", "torch", "numpy", "onnxruntime", "libtorch"}) {
      if (const char* version = std::getenv((std::string("TITO_BENCH_VERSION_") + name).c_str())) file_.versions[name] = version;
    }
    Json document = Json::parse(benchmarking::results_text(file_));
    document["ratios"] = ratios_;
    serialize::write_file_atomically(settings_.out, document.dump(1) + "\n");
  }

  Settings settings_;
  Worker ours_;
  std::vector<std::unique_ptr<Worker>> peers_;
  benchmarking::ResultFile file_;
  Json ratios_ = Json::array();
};

// Reads and compares two files; a file that cannot be read ends as one that cannot be compared.
int compare_paths(const std::string& before, const std::string& after) {
  try {
    return static_cast<int>(compare(benchmarking::read_results(before), benchmarking::read_results(after), std::cout));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", sentence_of(error).c_str());
    return static_cast<int>(Compared::Not);
  }
}

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    const std::string value = argv[i + 1];
    if (option == "--cases") settings.cases = value;
    else if (option == "--suite") settings.suites.push_back(value);
    else if (option == "--out") settings.out = value;
    else if (option == "--ours") settings.ours = value;
    else if (option == "--seconds") settings.seconds = std::stod(value);
    else if (option == "--threads") settings.threads = std::stoi(value);
    else if (option == "--busy") settings.busy = std::stoi(value);
    else if (option == "--peer") settings.peers.emplace_back(value.substr(0, value.find('=')), value.substr(value.find('=') + 1));
    else throw std::runtime_error("unknown option " + option);
  }
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 4 && std::strcmp(argv[1], "--compare") == 0) return compare_paths(argv[2], argv[3]);
    const Settings settings = parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (!benchmarking::pin_to_processors(processors_for(settings.threads, benchmarking::allowed_processors()))) std::printf("not pinned to %d processors: the system does not allow it\n", settings.threads);
    std::printf("ratio: how many times as fast as the peer TinyTorch is; median of the rounds, 95 %% interval\n");
    const BusyProcesses busy(settings.busy);
    Run(settings).all();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", sentence_of(error).c_str());
    return 1;
  }
}
