// A course of two small modules and a library chapter with a milestone, and a learner's workspace of it, both in a temporary folder.
#pragma once

#include <unistd.h>

#include <fstream>
#include <string>

#include "build/process.h"
#include "format/cells.h"
#include "learn/text_files.h"

namespace tito::fixture {

inline constexpr const char* tiny_lesson = R"lesson(// %% [markdown]
// # Module 00: Tiny

// %%
//| export core/tiny.h
#include <stdexcept>

// %%
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export core/tiny.h
struct NotImplemented : std::logic_error {
  using std::logic_error::logic_error;
};
int twice(int x);
int sum_to(int n);

// %% [markdown]
// A number, and the same number again.

// %% {"nbgrader": {"grade": false, "grade_id": "00-twice", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/tiny.cpp
// Two times x.
//
// TODO: Multiply x by two.
// APPROACH: 1. Take x. 2. Add it
// to itself.
// HINT: A sum is enough.
int twice(int x) {
  // BEGIN SOLUTION
  return 2 * x;
  // END SOLUTION
}

// %%
//| mistake 00-twice squares
//| says Twice is a sum, not a square.
#if 0
int twice(int x) {
  return x * x;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "00-twice-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
// Two is where a square looks like a double.
TEST_CASE("twice: a number and itself") {
  CHECK_EQ(twice(3), 6);
}

// %% {"nbgrader": {"grade": false, "grade_id": "00-sum-to", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/tiny.cpp
//| exercise design
// 1 + 2 + ... + n.
//
// TODO: Add the numbers up.
// HINT: A loop, or Gauss.
int sum_to(int n) {
  // BEGIN SOLUTION
  return n * (n + 1) / 2;
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "00-sum-to-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("sum_to: all numbers up to n") {
  CHECK_EQ(sum_to(4), 10);
}

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "00-explain", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}}
// Why is Gauss quicker?
//
// BEGIN SOLUTION
// No loop.

// %%
}  // namespace tinytorch
)lesson";

inline constexpr const char* more_lesson = R"lesson(// %% [markdown]
// # Module 01: More

// %%
//| export core/more.cpp
#include "tinytorch/core/tiny.h"

// %%
#include <cstdio>

#include "tinytorch/core/tiny.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export core/more.h
int thrice(int x);

// %% {"nbgrader": {"grade": false, "grade_id": "01-thrice", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/more.cpp
// Three times x.
//
// TODO: Use twice.
int thrice(int x) {
  // BEGIN SOLUTION
  return twice(x) + x;
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "01-thrice-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("thrice: one more than twice") {
  CHECK_EQ(thrice(5), 15);
}

// %%
DEMO("three times two") { std::printf("thrice(2) is %d\n", thrice(2)); }

// %%
}  // namespace tinytorch
)lesson";

// A library chapter: a learner's package has it, and nobody has to complete it.
inline constexpr const char* extra_chapter = R"lesson(// %% [markdown]
// # Library chapter 78: Extra

// %%
//| after 00
//| export core/extra.h
#include "tinytorch/core/tiny.h"

// %%
#include "tinytorch/core/tiny.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export core/extra.h
inline int four_times(int x) { return twice(twice(x)); }

// %%
TEST_CASE("four_times: twice, twice") {
  CHECK_EQ(four_times(5), 20);
}

// %%
}  // namespace tinytorch
)lesson";

inline constexpr const char* milestones = R"(
[[milestone]]
name = "0001_counting"
title = "The year 1: counting"
after = "01"
rests_on = ["00"]
story = "Somebody counted."
[[milestone.gate]]
label = "all"
data = "counts.csv"
at_least = 1.0
)";

inline constexpr const char* counting_program = R"(#include <cstdio>
#include "tinytorch/tinytorch.h"
int main() {
  for (int row = 0; row < 3; ++row) std::printf("guess all %d %d\n", row, tinytorch::thrice(row));
}
)";

class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = fs::temp_directory_path() / ("tito_test_learner_" + std::to_string(getpid()) + "_" + std::to_string(count++));
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline std::string with_replaced(std::string text, const std::string& part, const std::string& by) {
  const std::size_t at = text.find(part);
  if (at == std::string::npos) throw std::logic_error("not in the text: " + part);
  return text.replace(at, part.size(), by);
}

class Learner {
 public:
  explicit Learner(const std::string& tiny = tiny_lesson) {
    write_atomically(course() / "modules/00_tiny/tiny_dev.cpp", tiny);
    write_atomically(course() / "modules/00_tiny/README.md", "# Tiny\n\n## Learning pattern: Build -> Use -> Reflect\n\n**Rationale.** It is small.\n");
    write_atomically(course() / "modules/01_more/more_dev.cpp", more_lesson);
    write_atomically(course() / "modules/78_extra/extra_dev.cpp", extra_chapter);
    write_atomically(course() / "modules/00_tiny/mistakes.json", R"json([{"mistake": "00-twice/squares", "says": "Twice is a sum, not a square.",
      "fails": [{"test": "twice: a number and itself", "check": "CHECK_EQ( twice(3), 6 )", "values": "9, 6"}]}])json");
    write_atomically(course() / "milestones/milestones.toml", milestones);
    write_atomically(course() / "milestones/0001_counting.cpp", counting_program);
    write_atomically(course() / "data/counts.csv", "0,0\n1,3\n2,6\n");
    write_atomically(course() / "tito", "");
    fs::create_directory_symlink(fs::path(TITO_SOURCE_ROOT) / "cli", course() / "cli");
    made_ = tito({"init", workspace().string()}, folder_.path());
  }

  const ProcessResult& made() const { return made_; }
  fs::path course() const { return folder_.path() / "course"; }
  fs::path workspace() const { return folder_.path() / "my torch"; }  // a space, as people have
  fs::path tiny() const { return workspace() / "modules/00_tiny/tiny_dev.cpp"; }
  fs::path more() const { return workspace() / "modules/01_more/more_dev.cpp"; }

  ProcessResult tito(const Command& arguments) const { return tito(arguments, workspace()); }
  ProcessResult tito(const Command& arguments, const fs::path& where) const {
    Command command{(fs::path(TITO_SOURCE_ROOT) / "build/cli/tito").string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    ProcessOptions options;
    options.directory = where;
    options.environment = {{"TITO_ROOT", course().string()}, {"TINYTORCH_DATA", ""}};
    options.seconds = 300;
    return run_process(command, options);
  }

  static void replace(const fs::path& file, const std::string& part, const std::string& by) {
    write_atomically(file, with_replaced(read_text(file), part, by));
  }
  // The body in place of the empty hole of a function.
  static void fill(const fs::path& file, const std::string& todo, const std::string& body) {
    const std::string text = read_text(file);
    const std::size_t end = text.find(todo + "\");");
    const std::size_t begin = text.rfind("throw NotImplemented(", end);
    if (end == std::string::npos) throw std::logic_error("no hole: " + todo);
    write_atomically(file, text.substr(0, begin) + body + text.substr(end + todo.size() + 3));
  }
  void fill_twice(const std::string& body) const { fill(tiny(), "Multiply x by two.", body); }
  void fill_sum(const std::string& body) const { fill(tiny(), "Add the numbers up.", body); }
  void fill_thrice(const std::string& body) const { fill(more(), "Use twice.", body); }

  // "modules/00_tiny/tiny_dev.cpp:12" for the first line with this text.
  static std::string place_of(const fs::path& file, const std::string& part) {
    std::ifstream in(file);
    int number = 1;
    for (std::string line; std::getline(in, line); ++number) {
      if (line.find(part) != std::string::npos) {
        return "modules/" + file.parent_path().filename().string() + "/" + file.filename().string() + ":" + std::to_string(number);
      }
    }
    return "not in the file";
  }

 private:
  TemporaryFolder folder_;
  ProcessResult made_;
};

}  // namespace tito::fixture
