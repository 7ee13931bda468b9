// The program itself on a course of one small module: what a learner sees when something is wrong.
#include <unistd.h>

#include <fstream>

#include "build/process.h"
#include "tito/lesson.h"

namespace tito {
namespace {

constexpr const char* tiny_module = R"(// %% [markdown]
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

// %% {"nbgrader": {"grade": false, "grade_id": "00-twice", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/tiny.cpp
// Two times x.
//
// TODO: Multiply x by two.
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

// %% {"nbgrader": {"grade": true, "grade_id": "00-twice-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("twice: a number and itself") {
  CHECK_EQ(twice(3), 6);
}

// %%
DEMO("twice three") {
  MESSAGE(twice(3));
}

// %%
}  // namespace tinytorch
)";

class Course {
 public:
  Course() : root_(fs::temp_directory_path() / ("tito_test_course_" + std::to_string(getpid()))) {
    fs::remove_all(root_);
    fs::create_directories(root_ / "modules/00_tiny");
    fs::create_directory_symlink(fs::path(TITO_SOURCE_ROOT) / "cli", root_ / "cli");
    fs::create_directories(root_ / "tests");
    std::ofstream(root_ / "tito") << "";
    write(tiny_module);
  }
  ~Course() { fs::remove_all(root_); }
  Course(const Course&) = delete;
  Course& operator=(const Course&) = delete;

  void write(const std::string& text) const { std::ofstream(root_ / "modules/00_tiny/tiny_dev.cpp") << text; }
  void replace(const std::string& part, const std::string& by) const {
    std::string text = tiny_module;
    text.replace(text.find(part), part.size(), by);
    write(text);
  }
  ProcessResult tito(const Command& arguments) const {
    Command command{(fs::path(TITO_SOURCE_ROOT) / "build/cli/tito").string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    ProcessOptions options;
    options.directory = root_;
    options.environment = {{"TITO_ROOT", root_.string()}};
    options.seconds = 120;
    return run_process(command, options);
  }
  std::string place_of(const std::string& part) const {
    std::ifstream in(root_ / "modules/00_tiny/tiny_dev.cpp");
    int number = 1;
    for (std::string line; std::getline(in, line); ++number) {
      if (line.find(part) != std::string::npos) return "modules/00_tiny/tiny_dev.cpp:" + std::to_string(number);
    }
    return "not in the module";
  }

 private:
  fs::path root_;
};

bool says(const ProcessResult& result, const std::string& text) {
  const bool found = result.output.find(text) != std::string::npos;
  if (!found) MESSAGE(result.output);
  return found;
}

}  // namespace

TEST_CASE("tito test NN: from a passing module to one with mistakes") {
  const Course course;
  SUBCASE("passes") {
    const ProcessResult result = course.tito({"test", "00"});
    CHECK(result.ok());
    CHECK(says(result, "00_tiny: 1 tests passed, 0 failed"));
  }
  SUBCASE("a failing check has the module's line and both values") {
    course.replace("return 2 * x;", "return 3 * x;");
    const ProcessResult result = course.tito({"test", "tiny"});
    CHECK_EQ(result.status, 1);
    CHECK(says(result, course.place_of("CHECK_EQ") + ": CHECK_EQ( twice(3), 6 )"));
    CHECK(says(result, "9, 6"));
  }
  SUBCASE("a known mistake brings its sentence") {
    CHECK(course.tito({"mistakes", "00"}).ok());
    course.replace("return 2 * x;", "return x * x;");
    CHECK(says(course.tito({"test", "00"}), "Twice is a sum, not a square."));
  }
  SUBCASE("a syntax error has the module's line") {
    course.replace("return 2 * x;", "return 2 * ;");
    const ProcessResult result = course.tito({"test", "00"});
    CHECK_EQ(result.status, 1);
    CHECK(says(result, course.place_of("return 2 * ;")));
  }
  SUBCASE("a crash is contained") {
    course.replace("return 2 * x;", "volatile int* p = nullptr; return *p + x;");
    const ProcessResult result = course.tito({"test", "00"});
    CHECK_EQ(result.status, 1);
    CHECK(says(result, "the program crashed in this test"));
  }
  SUBCASE("JSON for tools") {
    const ProcessResult result = course.tito({"test", "00", "--json"});
    CHECK(says(result, "\"passed\": 1"));
    CHECK_EQ(result.output.front(), '{');
  }
}

TEST_CASE("tito: bad input gets one sentence") {
  const Course course;
  SUBCASE("an unknown module") {
    const ProcessResult result = course.tito({"test", "77"});
    CHECK_EQ(result.status, 1);
    CHECK_EQ(result.output, "unknown module '77'; there are: 00_tiny\n");
  }
  SUBCASE("a module whose cell goes nowhere") {
    course.replace("//| export core/tiny.cpp\n", "");
    const ProcessResult result = course.tito({"test", "00"});
    CHECK_EQ(result.status, 1);
    CHECK(says(result, "modules/00_tiny/tiny_dev.cpp:"));
  }
  SUBCASE("no compiler") {
    const ProcessResult result = course.tito({"test", "00", "--compiler", "no-such-compiler"});
    CHECK_EQ(result.status, 1);
    CHECK(says(result, "there is no C++ compiler: no-such-compiler is not installed"));
  }
}

TEST_CASE("tito mistakes: a mistake that no test catches is a failure") {
  const Course course;
  course.replace("return x * x;", "return x + x;");
  const ProcessResult result = course.tito({"mistakes", "00"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "00-twice/squares: no test that a student has catches it"));
}

}  // namespace tito
