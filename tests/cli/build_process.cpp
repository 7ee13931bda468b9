// Child processes: their output, their limits, and that none of them stays behind.
#include "build/process.h"

#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "tito/lesson.h"

namespace tito {
namespace {

Command shell(const std::string& script) { return {"sh", "-c", script}; }

// True when no process with this id runs any more, within a second.
bool ends(pid_t id) {
  for (int i = 0; i < 50; ++i) {
    std::ifstream stat("/proc/" + std::to_string(id) + "/stat");
    std::string pid, name, state;
    if (!(stat >> pid >> name >> state) || state == "Z") return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

}  // namespace

TEST_CASE("process: output, errors and the exit status come back") {
  const ProcessResult result = run_process(shell("echo one; echo two >&2; exit 3"));
  CHECK_EQ(result.output, "one\ntwo\n");
  CHECK_EQ(result.status, 3);
  CHECK_FALSE(result.ok());
  CHECK_EQ(how_it_ended(result), "exit status 3");
}

TEST_CASE("process: what it is given to read, and nothing else") {
  ProcessOptions options;
  options.input = "a key";
  CHECK_EQ(run_process({"cat"}, options).output, "a key");
  CHECK_EQ(run_process({"cat"}).output, "");
}

TEST_CASE("process: a signal is named") {
  const ProcessResult result = run_process(shell("kill -SEGV $$"));
  CHECK_EQ(result.signal, SIGSEGV);
  CHECK_EQ(how_it_ended(result), "killed by signal 11 (Segmentation fault)");
}

TEST_CASE("process: each line is handed over once, the last one without a newline too") {
  std::vector<std::string> lines;
  ProcessOptions options;
  options.on_line = [&](std::string_view line) { lines.emplace_back(line); };
  run_process(shell("printf 'a\\nb'; sleep 0.1; printf 'c\\n\\nd'"), options);
  CHECK_EQ(lines, std::vector<std::string>{"a", "bc", "", "d"});
}

TEST_CASE("process: the time limit ends the whole group") {
  ProcessOptions options;
  options.seconds = 0.3;
  const auto start = std::chrono::steady_clock::now();
  const ProcessResult result = run_process(shell("sleep 100 & echo $!; sleep 100"), options);
  CHECK(result.timed_out);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
  CHECK(ends(std::stoi(result.output)));
}

TEST_CASE("process: a grandchild that keeps the output open does not keep us waiting") {
  const auto start = std::chrono::steady_clock::now();
  const ProcessResult result = run_process(shell("sleep 100 & echo $!"));
  CHECK(result.ok());
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
  CHECK(ends(std::stoi(result.output)));
}

TEST_CASE("process: one that stops making progress is ended") {
  ProcessOptions options;
  options.silent_seconds = 0.3;
  options.watched = fs::temp_directory_path() / "tito_no_such_file";
  CHECK(run_process(shell("sleep 100"), options).timed_out);
}

TEST_CASE("process: a memory limit holds") {
  ProcessOptions options;
  options.memory_bytes = std::size_t{1} << 30;
  CHECK_FALSE(run_process(shell("ulimit -v | grep -q unlimited"), options).ok());
}

TEST_CASE("process: variables are added and replaced") {
  ProcessOptions options;
  options.environment = {{"PATH", "/usr/bin:/bin"}, {"TITO_TEST", "x y"}};
  CHECK_EQ(run_process(shell("echo $PATH $TITO_TEST"), options).output, "/usr/bin:/bin x y\n");
}

TEST_CASE("process: a program that is not there") {
  CHECK_THROWS_WITH(run_process({"tito-no-such-program"}), "the program tito-no-such-program is not installed");
  CHECK_THROWS(run_process({"/no/such/program"}));
}

}  // namespace tito
