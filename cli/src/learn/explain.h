// What a learner reads about a run of their tests: the verdict, and the first failure in full.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "learn/exercises.h"
#include "learn/lesson_test.h"
#include "learn/style.h"

namespace tito {

// The first failure, taken apart.
struct Explanation {
  std::string test;
  std::string purpose;            // what the test is for (learn/purpose.h)
  Place place;                    // of the check, in the learner's file
  std::string problem;            // in a sentence: "the program crashed: a null pointer was used"; empty for a check
  std::string check;              // "CHECK_EQ( twice(3), 6 )"
  std::string got, expected;      // where the values can be told apart; otherwise both are in `got`
  std::string difference;         // of tensors
  std::vector<std::string> notes;  // what INFO and CAPTURE said, the subcase
  std::vector<Place> trace;       // the learner's lines that were being run, innermost first
  std::vector<const Hole*> exercises;  // what it tests
  const Hole* empty = nullptr;    // the exercise that has nothing in it yet and that the test needs
};

// Nothing when all tests passed.
std::optional<Explanation> explain_first_failure(const Module& module, const LessonRun& run);

// "9, 6" -> {"9", "6"}; nothing when it is not clear where one value ends.
std::optional<std::pair<std::string, std::string>> two_values(const std::string& values);

// What a sanitizer's report means, in plain words, with the first line of the learner's files in it; empty when `output`
// has none.
struct SanitizerReport {
  std::string meaning;
  std::string sentence;  // the sanitizer's own
  std::optional<Place> place;
};
std::optional<SanitizerReport> read_sanitizer_report(const std::string& output);

// All of it as text, as JSON.
std::string describe_run(const Module& module, const LessonRun& run, const Style& style);
std::string json_of_run(const Module& module, const LessonRun& run);
// The same facts about a lesson that cannot be read.
std::string json_of_unreadable(const std::string& folder, const Diagnostic& error);

// "[##..] 05-reduce-to  5 points" for each exercise.
std::string exercise_list(const std::vector<Exercise>& exercises, const Style& style, std::size_t width);

}  // namespace tito
