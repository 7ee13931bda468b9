// Programs whose output is compared with a recorded one.
#include "build/recorded_output.h"

#include <fstream>

#include "tito/lesson.h"

namespace tito {
namespace {

// A script that runs `body`, and a file with `recorded`, in a folder of their own.
std::string compare(const std::string& body, const std::string& recorded) {
  const fs::path folder = fs::temp_directory_path() / "tito_recorded_output";
  fs::create_directories(folder);
  std::ofstream(folder / "program") << "#!/bin/sh\n" << body << "\n";
  fs::permissions(folder / "program", fs::perms::owner_all);
  std::ofstream(folder / "recorded.txt") << recorded;
  const std::string complaint = compare_with_recorded(folder / "program", folder / "empty", folder / "recorded.txt");
  fs::remove_all(folder);
  return complaint;
}

}  // namespace

TEST_CASE("recorded output: the same text is no complaint, and the folder is empty") {
  CHECK_EQ(compare("ls -a | wc -l; echo two", "2\ntwo\n"), "");
}

TEST_CASE("recorded output: the first line that differs is shown") {
  CHECK_EQ(compare("echo one; echo 2", "one\ntwo\n"), "program, line 2: prints 2\n  recorded: two");
  CHECK_EQ(compare("echo one", "one\ntwo\n"), "program, line 2: prints (nothing)\n  recorded: two");
  CHECK_EQ(compare("echo one; echo two", "one\n"), "program, line 2: prints two\n  recorded: (nothing)");
}

TEST_CASE("recorded output: a program that fails has failed, whatever it printed") {
  CHECK_EQ(compare("echo one; exit 3", "one\n"), "program: exit status 3\none\n");
}

}  // namespace tito
