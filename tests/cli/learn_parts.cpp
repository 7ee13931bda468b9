// The parts of the learner's commands: hints, the record of progress, explanations, gates.
#include "learn/explain.h"
#include "learn/hints.h"
#include "learn/milestones.h"
#include "learn/progress.h"
#include "learn/purpose.h"
#include "learner_fixture.h"
#include "format/student.h"
#include "tito/lesson.h"

namespace tito {
namespace {

Module tiny_copy() {
  const fs::path file = "modules/00_tiny/tiny_dev.cpp";
  return parse_module(file, student_copy(parse_module(file, fixture::tiny_lesson)), Edition::Student);
}

}  // namespace

TEST_CASE("hints: steps, then hints, then what others did wrong") {
  const Module module = tiny_copy();
  const std::vector<KnownMistake> mistakes{{"00-twice/squares", "Not a square.", {}}, {"00-sum-to/off", "Other.", {}}};
  CHECK_EQ(hints_of(module, module.holes[0], mistakes),
           std::vector<std::string>{"1. Take x.", "2. Add it to itself.", "A sum is enough.", "Others went wrong here. Not a square."});
  CHECK_EQ(hints_of(module, module.holes[1], {}), std::vector<std::string>{"A loop, or Gauss."});
}

TEST_CASE("exercises: points and states from what passed") {
  const Module module = tiny_copy();
  const std::vector<Exercise> exercises = exercises_of(module, {});
  REQUIRE_EQ(exercises.size(), 3);
  CHECK_EQ(exercises[0].grade_id, "00-twice");
  CHECK_EQ(exercises[0].points, 2);
  CHECK(exercises[0].state == Exercise::State::Empty);
  CHECK_EQ(exercises[1].points, 3);
  CHECK_EQ(exercises[1].kind, "design");
  CHECK_EQ(exercises[2].kind, "explain");
  CHECK_EQ(exercises[2].todo, "Why is Gauss quicker?");
  Module solved = module;
  const fs::path file = module.file;
  const std::string text = fixture::with_replaced(student_copy(parse_module(file, fixture::tiny_lesson)),
                                                  "throw NotImplemented(\"00 twice: Multiply x by two.\");", "return x + x;");
  solved = parse_module(file, text, Edition::Student);
  CHECK(exercises_of(solved, {"00-twice-test"})[0].state == Exercise::State::Passed);
  CHECK_EQ(exercises_of(solved, {"00-twice-test"})[0].earned, 2);
  CHECK(exercises_of(solved, {})[0].state == Exercise::State::Failing);
}

TEST_CASE("progress: written and read back") {
  Progress progress;
  progress.milestones = {"1958_perceptron"};
  progress.modules["05_autograd"] = {"2026-11-21T07:10:00Z", "", {"05-a-test", "05-b-test"}, {{"05-a", 2}}};
  progress.modules["00_setup"] = {"2026-11-20T07:10:00Z", "2026-11-20T09:10:00Z", {}, {}};
  const std::string text = progress_text(progress);
  CHECK(text.find("[modules.\"05_autograd\"]\nstarted = \"2026-11-21T07:10:00Z\"\n") != std::string::npos);
  CHECK_EQ(parse_progress(text).value_or(Progress()) == progress, true);
}

TEST_CASE("progress: damage anywhere is noticed") {
  Progress progress;
  progress.modules["00_setup"] = {"2026-11-20T07:10:00Z", "", {"00-a-test"}, {{"00-a", 1}}};
  const std::string text = progress_text(progress);
  for (std::size_t length = 0; length < text.size(); ++length) {
    CAPTURE(length);
    CHECK_FALSE(parse_progress(text.substr(0, length)).has_value());
  }
  const std::size_t body = text.find("milestones");
  for (std::size_t i = body; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    CHECK_FALSE(parse_progress(damaged).has_value());
  }
}

TEST_CASE("explanations: two values are told apart where that is clear") {
  CHECK_EQ(two_values("9, 6")->first, "9");
  CHECK_EQ(two_values("Float[2] {1, 2}, Float[2] {1, 3}")->second, "Float[2] {1, 3}");
  CHECK_FALSE(two_values("a, b, c").has_value());
  CHECK_FALSE(two_values("nothing").has_value());
  CHECK_EQ(two_values("\"a, b\", c")->second, "c");
}

TEST_CASE("explanations: what a test is for: its comment, else its exercise's contract, else the prose before it") {
  const fs::path file = "modules/00_tiny/tiny_dev.cpp";
  const Module module = tiny_copy();
  CHECK_EQ(purpose_of(module, module.tests[0]), "It is there because: Two is where a square looks like a double.");
  CHECK_EQ(purpose_of(module, module.tests[1]), "What sum_to promises: 1 + 2 + ... + n.");
  std::string text = student_copy(parse_module(file, fixture::tiny_lesson));
  text = fixture::with_replaced(text, "// %% [markdown] {", R"(// %% [markdown]
// ### Halves
//
// Of a **number**, as in a picture. It is not shown.
//
//     1 -> 0.5
//
// And this leads to:
//
// | a | table |

// %%
TEST_CASE("halves: of nothing") { CHECK_EQ(1, 1); }

// %% [markdown] {)");
  const Module more = parse_module(file, text, Edition::Student);
  CHECK_EQ(purpose_of(more, more.tests[2]), "From the lesson: Of a number, as in a picture. It is not shown.");
}

TEST_CASE("explanations: sanitizers in plain words") {
  const auto overflow = read_sanitizer_report("==12==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1\n"
                                              "    #0 0x1 in f build/x.h:3\n    #1 0x2 in twice(int) modules/00_tiny/tiny_dev.cpp:31\n");
  REQUIRE(overflow.has_value());
  CHECK(overflow->meaning.find("beyond the end") != std::string::npos);
  CHECK_EQ(overflow->place->line, 31);
  const auto race = read_sanitizer_report("WARNING: ThreadSanitizer: data race (pid=1)\n  Write at modules/07_data/data_dev.cpp:12 x\n");
  CHECK(race->meaning.find("two threads") != std::string::npos);
  CHECK_FALSE(read_sanitizer_report("all is well").has_value());
}

TEST_CASE("gates: computed from what the program says and from the data") {
  const fixture::TemporaryFolder folder;
  write_atomically(folder.path() / "d.csv", "5,0\n5,1\n5,2\n5,1\n");
  Milestone milestone;
  milestone.gates = {{"all", "d.csv", 0, {}, 1, 0.75, 1}};
  CHECK(judge(milestone.gates, "guess all 0 0\nguess all 1 1\nguess all 2 2\n", folder.path()).open);
  CHECK_FALSE(judge(milestone.gates, "guess all 0 0\nguess all 1 1\n", folder.path()).open);
  CHECK_FALSE(judge(milestone.gates, "guess other 0 0\nguess other 1 1\nguess other 2 2\n", folder.path()).open);
  CHECK_FALSE(judge(milestone.gates, "", folder.path()).open);
  milestone.gates = {{"all", "d.csv", 0, {1}, 2, 1, 1}};  // of the ones, the first
  CHECK(judge(milestone.gates, "guess all 1 1\n", folder.path()).open);
  milestone.gates = {{"all", "d.csv", 0, {}, 1, 0, 0.5}};  // must not be too good
  CHECK_FALSE(judge(milestone.gates, "guess all 0 0\nguess all 1 1\nguess all 2 2\n", folder.path()).open);
  CHECK_EQ(right_guesses(milestone.gates[0], folder.path()), "guess all 0 0\nguess all 1 1\nguess all 2 2\nguess all 3 1\n");
  CHECK_FALSE(judge(milestone.gates, right_guesses(milestone.gates[0], folder.path()), folder.path()).open);
  milestone.gates = {{"all", "d.csv", 2, {}, 1, 1, 1}};  // the rows that were held out
  CHECK(judge(milestone.gates, "guess all 0 7\nguess all 2 2\nguess all 3 1\n", folder.path()).open);
  CHECK_FALSE(judge(milestone.gates, "guess all 0 0\nguess all 1 1\nguess all 2 2\n", folder.path()).open);

  // MNIST's labels: 3, 1, 4.
  write_atomically(folder.path() / "labels", std::string("\0\0\x08\x01\0\0\0\3\3\1\4", 11));
  REQUIRE(run_process({"gzip", (folder.path() / "labels").string()}).ok());
  milestone.gates = {{"all", "labels.gz", 1, {}, 1, 1, 1}};
  CHECK(judge(milestone.gates, "guess all 1 1\nguess all 2 4\n", folder.path()).open);
  CHECK_FALSE(judge(milestone.gates, "guess all 1 1\nguess all 2 3\n", folder.path()).open);
  milestone.gates[0].data = "none.gz";
  CHECK_THROWS_AS(judge(milestone.gates, "guess all 1 1\n", folder.path()), std::runtime_error);
  milestone.gates.clear();
  CHECK_FALSE(judge(milestone.gates, "guess all 0 0\n", folder.path()).open);
}

TEST_CASE("milestones: found by name, year or subject") {
  std::vector<Milestone> all(2);
  all[0].name = "1998_lenet";
  all[1].name = "2019_gpt";
  for (const char* name : {"2019_gpt", "gpt", "2019"}) CHECK_EQ(find_milestone(all, name).name, "2019_gpt");
  CHECK_THROWS_WITH(find_milestone(all, "bert"), "unknown milestone 'bert'; there are: 1998_lenet, 2019_gpt");
}

TEST_CASE("milestones: what a program prints is shown as it comes, without its guesses") {
  WithoutGuesses words;
  CHECK_EQ(words.add("step 1"), "step 1");
  CHECK_EQ(words.add(": loss\ngue"), ": loss\n");  // it may become a guess
  CHECK_EQ(words.add("ss all 0 1\nguess all 1"), "");
  CHECK_EQ(words.add(" 0\nguest"), "guest");
  CHECK_EQ(words.add("s guess again\n\ng"), "s guess again\n\n");
  CHECK_EQ(words.add("o\n"), "go\n");
}

}  // namespace tito
