// The program itself: what it says to a wrong command line, and how it ends when it is interrupted.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "build/process.h"
#include "tito/lesson.h"

namespace tito {
namespace {

std::string program() { return fs::read_symlink("/proc/self/exe").parent_path() / "tito"; }

TEST_CASE("tito: an unknown command is named, with the ones there are") {
  const ProcessResult result = run_process({program(), "tset"});
  CHECK_EQ(result.status, 2);
  CHECK_EQ(result.output.find("unknown command 'tset'; there are: demo, test, run, "), 0);
  CHECK_EQ(result.output.find("fuzz"), std::string::npos);
}

TEST_CASE("tito: an unknown option is a wrong usage") {
  const ProcessResult result = run_process({program(), "export", "--chek"});
  CHECK_EQ(result.status, 2);
  CHECK(result.output.find("--chek") != std::string::npos);
}

TEST_CASE("tito bench: --busy takes a number of processes") {
  for (const char* wrong : {"-1", "many"}) {
    const ProcessResult result = run_process({program(), "bench", "gemm", "--busy", wrong});
    CHECK_EQ(result.status, 2);
    CHECK(result.output.find("--busy") != std::string::npos);
  }
}

TEST_CASE("tito bench: numbers that are none are refused in a short sentence, and --help names every peer") {
  const auto refused = [](const std::string& option, const std::string& value) {
    const ProcessResult result = run_process({program(), "bench", "--against", "nobody", option, value});  // nobody: it must not come to a measurement
    CHECK_EQ(result.status, 2);
    CHECK_LT(result.output.size(), 200);
    return result.output;
  };
  CHECK_EQ(refused("--threads", "0").find("--threads: Value 0 not in range 1 to 1024"), 0);
  for (const char* wrong : {"nan", "inf", "0", "-1", "1e9", "two"}) CHECK_EQ(refused("--seconds", wrong).find("--seconds: '" + std::string(wrong) + "' is no number of seconds"), 0);
  CHECK(run_process({program(), "bench", "--help"}).output.find("torch-index-select") != std::string::npos);
}

TEST_CASE("tito: an unknown module is named, with the ones there are") {
  const ProcessResult result = run_process({program(), "test", "42"});
  CHECK_EQ(result.status, 1);
  CHECK_EQ(result.output.find("unknown module '42'; there are: 00_setup, "), 0);
}

TEST_CASE("tito: an unknown part of the tests is named, with the ones there are; a module has none") {
  const ProcessResult result = run_process({program(), "test", "--part", "lint,lnit"});
  CHECK_EQ(result.status, 1);
  CHECK_EQ(result.output.find("there is no part 'lnit'; there are: export, lint, fuzzing, performance, command-line, "), 0);
  CHECK(run_process({program(), "test", "05", "--part", "lint"}).output.starts_with("--part is for the whole course"));
}

// There is nothing in it that students get as a notebook.
TEST_CASE("tito lint: a library chapter alone") {
  const ProcessResult result = run_process({program(), "lint", "92"});
  CHECK_EQ(result.output.find("Traceback"), std::string::npos);
  CHECK_EQ(result.status, 0);
}

TEST_CASE("tito: an interrupt ends it and what it runs, with status 130") {
  // In the place of ninja stands a program that never ends.
  const fs::path folder = fs::temp_directory_path() / ("tito_interrupt_" + std::to_string(getpid()));
  fs::create_directories(folder);
  const fs::path started = folder / "started";
  std::ofstream(folder / "ninja") << "#!/bin/sh\necho $$ > " << started.string() << ".new; mv " << started.string() << ".new "
                                  << started.string() << "; exec sleep 100\n";
  fs::permissions(folder / "ninja", fs::perms::owner_all);
  const std::string path = "PATH=" + folder.string() + ":" + std::getenv("PATH");
  const pid_t tool = fork();
  REQUIRE_GE(tool, 0);
  if (tool == 0) {
    execl("/usr/bin/env", "env", path.c_str(), program().c_str(), "run", "00", static_cast<char*>(nullptr));
    _exit(127);
  }
  for (int i = 0; i < 500 && !fs::exists(started); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  REQUIRE(fs::exists(started));
  kill(tool, SIGINT);
  int status = 0;
  REQUIRE_EQ(waitpid(tool, &status, 0), tool);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 130);
  pid_t ninja = 0;
  std::ifstream(started) >> ninja;
  CHECK_EQ(kill(ninja, 0), -1);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace tito
