// A small module in memory, and ways to change it.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "format/module.h"

namespace tito::fixture {

inline const fs::path kFile = "modules/05_sample/sample_dev.cpp";

inline constexpr std::string_view kSolutionTitle =
    R"(// %% {"nbgrader": {"grade": false, "grade_id": "05-twice", "locked": false, "schema_version": 3, "solution": true, "task": false}})";
inline constexpr std::string_view kTestTitle =
    R"(// %% {"nbgrader": {"grade": true, "grade_id": "05-twice-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}})";

// Line 1 of the text is the first line of the header.
inline std::string sample_text() {
  return R"(// ---
// jupyter: ...
// ---

// %% [markdown]
// # Module 05: Sample

// %%
//| export core/sample_methods.h
//| extends Tensor
namespace tinytorch {
class SampleMethods {
 public:
  void sample() const;
};
}  // namespace tinytorch

// %%
//| export core/sample.h
#include <vector>
//| export core/sample.cpp
#include "tinytorch/core/sample.h"
#include <cmath>

// %%
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export core/sample.h
// Twice the number.
int twice(int number);


namespace nn {
struct Pair {
  int first = 0;
};
}  // namespace nn

)" + std::string(kSolutionTitle) +
         R"(
//| export core/sample.cpp
// Twice `number`. O(1).
//
// TODO: Double the number.
// APPROACH: 1. Add it to itself.
int twice(int number) {
  // BEGIN SOLUTION
  const int sum = number + number;
  return sum;
  // END SOLUTION
}

// %%
//| mistake 05-twice squares
//| says Twice is not
//| says the square.
#if 0
int twice(int number) {
  return number * number;
}
#endif

)" + std::string(kTestTitle) +
         R"(
// Doubles.
TEST_CASE("twice: two of them") {
  CHECK_EQ(twice(3), 6);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(twice(-7), -14);
  // END HIDDEN TESTS
}

// %%
//| lesson
int twice_v1(int number) { return 2 * number; }

// %%
using std::vector;

DEMO("twice, shown") {
  twice_v1(2);
}

// %%
//| export core/sample.cpp
//| registers
void register_sample() {
  // nothing yet
}

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "05-explain", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}}
// Why twice?
//
// BEGIN SOLUTION
// Because once is not enough.

// %%
}  // namespace tinytorch
)";
}

// The sample with one piece replaced; the piece must be there.
inline std::string changed(std::string_view from, std::string_view to) {
  std::string text = sample_text();
  const std::size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, std::string(from));
  return text.replace(at, from.size(), to);
}

inline Module sample() { return parse_module(kFile, sample_text()); }
inline Module sample(std::string_view from, std::string_view to) { return parse_module(kFile, changed(from, to)); }

// The line (from 1) of `text` in which the first occurrence of `part` ends.
inline int line_of(std::string_view text, std::string_view part) {
  const std::size_t at = text.find(part);
  REQUIRE_MESSAGE(at != std::string_view::npos, std::string(part));
  int line = 1;
  for (const char c : text.substr(0, at + part.size() - 1)) line += c == '\n';
  return line;
}

// Requires that `body` throws a Diagnostic with this text, in the line where `at` ends.
template <class Body>
void check_refused(std::string_view text, std::string_view at, std::string_view message, Body body) {
  CAPTURE(std::string(message));
  try {
    body();
  } catch (const Diagnostic& diagnostic) {
    CHECK_MESSAGE(diagnostic.message.find(message) != std::string::npos, diagnostic.message);
    CHECK_EQ(diagnostic.line, line_of(text, at));
    CHECK_EQ(std::string(diagnostic.what()), diagnostic.file.string() + ":" + std::to_string(diagnostic.line) + ": " + diagnostic.message);
    return;
  }
  FAIL_CHECK("nothing was refused");
}

}  // namespace tito::fixture
