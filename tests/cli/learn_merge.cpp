// Three-way merges of lessons: the learner's lines stay.
#include "learn/merge.h"

#include <algorithm>

#include "learner_fixture.h"
#include "tito/lesson.h"

namespace tito {
namespace {

using fixture::with_replaced;
using Lines = std::vector<std::string>;

const std::string base = fixture::tiny_lesson;
const std::string body = "  // BEGIN SOLUTION\n  return 2 * x;";

Merged merge(const std::string& mine, const std::string& course) { return merge_lessons(base, mine, course); }

}  // namespace

TEST_CASE("merge: what only one side changed is taken from it") {
  CHECK_EQ(merge(base, base).text, base);
  const std::string mine = with_replaced(base, body, "  int mine = x;\n  return mine + x;");
  CHECK_EQ(merge(mine, base).text, mine);
  CHECK_EQ(merge(base, mine).text, mine);
  CHECK_EQ(merge(mine, mine).text, mine);
}

TEST_CASE("merge: changes in different cells come together") {
  const std::string mine = with_replaced(base, body, "  int mine = x;\n  return mine + x;");
  const std::string course = with_replaced(base, "A number, and the same number again.", "Doubling.");
  const Merged merged = merge(mine, course);
  CHECK(merged.conflicts.empty());
  CHECK_EQ(merged.text, with_replaced(course, body, "  int mine = x;\n  return mine + x;"));
}

TEST_CASE("merge: a new contract above the learner's body") {
  const std::string mine = with_replaced(base, "return 2 * x;", "return x + x;  // mine");
  const std::string course = with_replaced(base, "// Two times x.", "// Two times `x`, for every x below 2^30.");
  const Merged merged = merge(mine, course);
  CHECK(merged.conflicts.empty());
  CHECK(merged.text.find("for every x below 2^30") != std::string::npos);
  CHECK(merged.text.find("return x + x;  // mine") != std::string::npos);
}

TEST_CASE("merge: cells that either side added stay, beside each other too") {
  const std::string at = "// %% [markdown]\n// A number,";
  const std::string mine = with_replaced(base, at, "// %% [markdown]\n// My note.\n\n" + at);
  const std::string course = with_replaced(base, at, "// %% [markdown]\n// A new picture.\n\n" + at);
  const Merged merged = merge(mine, course);
  CHECK(merged.conflicts.empty());
  CHECK(merged.text.find("// My note.") != std::string::npos);
  CHECK(merged.text.find("// A new picture.") != std::string::npos);
}

TEST_CASE("merge: the same line changed on both sides is a conflict, and the learner's stays") {
  const std::string mine = with_replaced(base, "return 2 * x;", "return x + x;  // mine");
  const std::string course = with_replaced(base, "return 2 * x;", "return x << 1;");
  const Merged merged = merge(mine, course);
  REQUIRE_EQ(merged.conflicts.size(), 1);
  CHECK_EQ(merged.conflicts[0].cell, "00-twice");
  CHECK_EQ(merged.text, mine);
}

TEST_CASE("merge: a cell that the course drops and the learner changed is a conflict") {
  const std::string prose = "// %% [markdown]\n// A number, and the same number again.\n\n";
  const Merged merged = merge(with_replaced(base, "the same number again.", "the same. My note."), with_replaced(base, prose, ""));
  CHECK_EQ(merged.conflicts.size(), 1);
  CHECK(merged.text.find("My note.") != std::string::npos);
}

TEST_CASE("merge: lines") {
  CHECK_EQ(*merge_lines({"a", "b", "c"}, {"a", "b", "c", "mine"}, {"course", "a", "b", "c"}), Lines{"course", "a", "b", "c", "mine"});
  CHECK_EQ(*merge_lines({"a", "b", "c"}, {"a", "c"}, {"a", "b", "c", "d"}), Lines{"a", "c", "d"});
  CHECK_FALSE(merge_lines({"a", "b", "c"}, {"a", "x", "c"}, {"a", "y", "c"}).has_value());
}

TEST_CASE("merge: whatever learner and course do, no line of the learner's is lost") {
  unsigned seed = 1;
  const auto random = [&seed](std::size_t below) {
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 8) % below;
  };
  const Lines lines = split_lines(base);
  const auto edited = [&](const std::string& word) {
    Lines out = lines;
    for (int edit = 0; edit < 4; ++edit) {
      const std::size_t at = random(out.size());
      if (out[at].starts_with("// %%") || out[at].starts_with("//|")) continue;
      const std::string own = "// " + word + " " + std::to_string(random(1000));
      if (random(2) == 0) out[at] = own;
      else out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), own);
    }
    return out;
  };
  for (int i = 0; i < 300; ++i) {
    const Lines mine = edited("mine");
    const Merged merged = merge_lessons(base, join_lines(mine), join_lines(edited("course")));
    const Lines result = split_lines(merged.text);
    for (const std::string& line : mine) {
      if (line.starts_with("// mine")) CHECK_MESSAGE(std::find(result.begin(), result.end(), line) != result.end(), line);
    }
  }
}

}  // namespace tito
