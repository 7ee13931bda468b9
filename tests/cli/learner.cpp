// The learner's commands, end to end, on a course of two small modules.
#include "learner_fixture.h"
#include "learn/progress.h"
#include "tito/lesson.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

namespace tito {
namespace {

using fixture::Learner;

bool says(const ProcessResult& result, const std::string& text) {
  const bool found = result.output.find(text) != std::string::npos;
  if (!found) MESSAGE("not said: " << text << "\n" << result.output);
  return found;
}

nlohmann::json json_of(const ProcessResult& result) {
  nlohmann::json out = nlohmann::json::parse(result.output, nullptr, false);
  if (!out.is_object()) FAIL(result.output);
  return out;
}

void complete_tiny(const Learner& learner) {
  learner.fill_twice("return x + x;");
  learner.fill_sum("int sum = 0; for (int i = 1; i <= n; ++i) sum += i; return sum;");
  REQUIRE(says(learner.tito({"complete", "00"}), "00_tiny is complete."));
}

}  // namespace

TEST_CASE("learner: from an empty workspace to a milestone") {
  const Learner learner;
  CHECK(learner.made().ok());
  CHECK(fs::exists(learner.workspace() / ".git"));
  CHECK_EQ(read_text(learner.tiny()).find("return 2 * x;"), std::string::npos);

  CHECK(says(learner.tito({"path"}), "Next: 00_tiny  Build -> Use -> Reflect"));
  CHECK(says(learner.tito({"start"}), "Ready. Next: tito test 00"));

  // The first test names the exercise that it waits for, where it is.
  ProcessResult result = learner.tito({"test", "00"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "NEXT  twice\n  " + Learner::place_of(learner.tiny(), "int twice(int x) {") + ": Multiply x by two."));

  CHECK(says(learner.tito({"hint", "00"}), "Hint 1 of 4:\n  1. Take x."));
  CHECK(says(learner.tito({"hint"}), "Hint 2 of 4:\n  2. Add it to itself."));
  CHECK(says(learner.tito({"hint", "00", "sum_to"}), "Hint 1 of 1:\n  A loop, or Gauss."));
  CHECK(says(learner.tito({"hint", "00", "sum-to"}), "That was the last one."));
  CHECK(says(learner.tito({"hint", "00", "none"}), "no exercise 'none' in 00_tiny; there are: 00-twice, 00-sum-to"));

  // A known mistake: the check, both values, the place, what the test is for, and the sentence.
  learner.fill_twice("return x * x;");
  result = learner.tito({"test"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "FAILED  twice: a number and itself\n  " + Learner::place_of(learner.tiny(), "CHECK_EQ(twice(3)")));
  CHECK(says(result, "It is there because: Two is where a square looks like a double."));
  CHECK(says(result, "CHECK_EQ( twice(3), 6 )"));
  CHECK(says(result, "first     9\n  second    6"));
  CHECK(says(result, "It tests twice (line "));
  CHECK(says(result, "Others have made this mistake:\n  Twice is a sum, not a square."));
  CHECK_EQ(result.output.find('\033'), std::string::npos);

  Learner::replace(learner.tiny(), "return x * x;", "return x + x;");
  CHECK(says(learner.tito({"complete", "00"}), "sum_to is still empty: Add the numbers up."));
  CHECK(says(learner.tito({"test", "01"}), "01_more stands on 00_tiny, which is not complete"));

  learner.fill_sum("int sum = 0; for (int i = 1; i <= n; ++i) sum += i; return sum;");
  CHECK(says(learner.tito({"test"}), "00_tiny: 2 tests passed, 0 failed"));
  CHECK_FALSE(fs::exists(learner.workspace() / "tinytorch/core/tiny.h"));
  CHECK(says(learner.tito({"complete"}), "00_tiny is complete."));
  CHECK(fs::exists(learner.workspace() / "tinytorch/core/tiny.h"));
  CHECK(read_text(learner.workspace() / "tinytorch/core/tiny.cpp").find("sum += i") != std::string::npos);

  const nlohmann::json status = json_of(learner.tito({"status", "--json"}));
  CHECK_EQ(status["modules"][0]["state"], "complete");
  CHECK_EQ(status["modules"][0]["build"]["earned"], 2);
  CHECK_EQ(status["modules"][0]["reflect"]["earned"], 3);
  CHECK_EQ(status["modules"][0]["reflect"]["by_hand"], 1);
  CHECK_EQ(status["modules"][1]["build"]["possible"], 4);

  // A broken foundation keeps the next module from being complete, and is named.
  Learner::replace(learner.tiny(), "return x + x;", "return x + x + (x == 3 ? 1 : 0);");
  learner.fill_thrice("return twice(x) + x;");
  CHECK(says(learner.tito({"test", "01"}), "01_more: 1 tests passed"));
  CHECK(says(learner.tito({"status"}), "changed since it was complete"));
  result = learner.tito({"complete", "01"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "01_more stands on 00_tiny, which is broken: its test \"twice: a number and itself\" fails"));
  CHECK_FALSE(fs::exists(learner.workspace() / "tinytorch/core/more.h"));

  Learner::replace(learner.tiny(), " + (x == 3 ? 1 : 0)", "");
  result = learner.tito({"complete", "01"});
  CHECK(says(result, "passed 00_tiny\npassed 01_more"));
  CHECK(says(result, "MILESTONE  The year 1: counting"));
  CHECK(says(result, "all: 100.0 % right; asked for: at least 100.0 %"));
  CHECK(says(result, "The gate is open."));
  CHECK(result.ok());
  CHECK(says(learner.tito({"path"}), "You have built all of it."));

  result = learner.tito({"milestone", "run", "counting"});
  CHECK(says(result, "Somebody counted."));
  CHECK_FALSE(says(result, "guess all"));
  CHECK(says(result, "Gate, all: 100.0 % right"));
  CHECK(says(result, "The gate is open."));
  CHECK(result.ok());
  CHECK(says(learner.tito({"milestone", "list"}), "after module 01  The year 1: counting"));
  CHECK(says(learner.tito({"milestone", "run", "2"}), "unknown milestone '2'; there are: 0001_counting"));
}

TEST_CASE("learner: a ratio that is not reached costs points, and keeps nothing from being complete") {
  const Learner learner(fixture::with_replaced(fixture::with_replaced(fixture::tiny_lesson, "exercise design", "exercise optimize"), "CHECK_EQ(sum_to(4), 10);",
                                               "CHECK_EQ(sum_to(4), 10);\n  REPORT_RATIO(sum_to(1) + 0.5, 2.0);"));
  const std::string measured = "measured sum_to: all numbers up to n: 1.5 times as fast as the baseline; the points ask for 2";
  learner.fill_twice("return x + x;");
  learner.fill_sum("return n * (n + 1) / 2;");
  ProcessResult result = learner.tito({"test", "00"});
  CHECK(result.ok());
  CHECK(says(result, measured));
  CHECK(says(result, "00_tiny: 2 tests passed, 0 failed"));
  CHECK_EQ(json_of(learner.tito({"test", "00", "--json"}))["exercises"][1]["earned"], 0);
  result = learner.tito({"complete", "00"});
  CHECK(says(result, measured));
  CHECK(says(result, "00_tiny is complete."));
  nlohmann::json module = json_of(learner.tito({"status", "--json"}))["modules"][0];
  CHECK_EQ(module["state"], "complete");
  CHECK_EQ(module["build"]["earned"], 2);
  CHECK_EQ(module["optimize"]["earned"], 0);
  CHECK_EQ(module["optimize"]["possible"], 3);
  // A wrong answer fails as ever, however fast it is, and with the ratio come the points.
  Learner::replace(learner.tiny(), "return n * (n + 1) / 2;", "return n + 1;");
  CHECK(says(learner.tito({"test", "00"}), "FAILED  sum_to: all numbers up to n"));
  Learner::replace(learner.tiny(), "return n + 1;", "return n == 1 ? 2 : n * (n + 1) / 2;");
  CHECK(says(learner.tito({"complete", "00"}), "2.5 times as fast as the baseline; the points ask for 2"));
  module = json_of(learner.tito({"status", "--json"}))["modules"][0];
  CHECK_EQ(module["optimize"]["earned"], 3);
}

TEST_CASE("learner: a milestone's gate stays closed on a wrong package") {
  const Learner learner;
  complete_tiny(learner);
  learner.fill_thrice("return x == 2 ? 7 : twice(x) + x;");  // which the module's tests do not see
  Learner::replace(learner.workspace() / "data/counts.csv", "2,6", "2,7");  // nor would its own data: what was handed out judges
  const ProcessResult result = learner.tito({"complete", "01"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "all: 66.7 % right"));
  CHECK(says(result, "The gate stays closed"));
  CHECK_EQ(json_of(learner.tito({"status", "--json"}))["milestones"]["0001_counting"], false);
  CHECK(says(learner.tito({"milestone", "run", "counting"}), "Gate, all: 66.7 % right"));
}

TEST_CASE("learner: a milestone has the limits of a test") {
  const Learner learner;
  complete_tiny(learner);
  Learner::replace(learner.more(), "#include \"tinytorch/core/tiny.h\"", "#include <cstdio>\n#include <vector>\n#include \"tinytorch/core/tiny.h\"");
  learner.fill_thrice("if (x == 2) { std::vector<std::vector<char>> held(40); for (auto& one : held) one.reserve(1 << 28); } return twice(x) + x;");
  const ProcessResult memory = learner.tito({"complete", "01"});
  CHECK(says(memory, "The program did not come to its end: killed by signal 6"));
  CHECK_EQ(memory.status, 1);
  Learner::replace(learner.more(), "std::vector<std::vector<char>> held(40); for (auto& one : held) one.reserve(1 << 28);",
                   "for (;;) std::puts(\"again and again and again and again\");");
  for (const Command& command : {Command{"complete", "01"}, Command{"milestone", "run", "counting"}}) {
    const ProcessResult output = learner.tito(command);
    CHECK_EQ(output.status, 1);
    CHECK(output.output.find("stopped after 8 MB of output") != std::string::npos);
  }
}

TEST_CASE("learner: what the library's chapters test on the package counts too") {
  const Learner learner;
  learner.fill_twice("return x == 10 ? 21 : x + x;");  // which the module's own test does not see
  learner.fill_sum("return n * (n + 1) / 2;");
  ProcessResult result = learner.tito({"complete", "00"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "passed 00_tiny\n"));
  CHECK(says(result, "FAILED  four_times: twice, twice"));
  CHECK(says(result, "78_extra stands on your package, and its test \"four_times: twice, twice\" fails there: something in your modules"));
  CHECK_FALSE(fs::exists(learner.workspace() / "tinytorch/core/tiny.h"));
  Learner::replace(learner.tiny(), "x == 10 ? 21 : x + x", "x + x");
  result = learner.tito({"complete", "00"});
  CHECK(says(result, "passed 00_tiny\npassed 78_extra\n"));
  CHECK(says(result, "00_tiny is complete."));
}

TEST_CASE("learner: missing modules can be borrowed") {
  const Learner learner;
  learner.fill_thrice("return twice(x) + x;");
  CHECK(says(learner.tito({"test", "01", "--reference"}), "01_more: 1 tests passed"));
}

TEST_CASE("learner: demonstrations run on the learner's own modules") {
  const Learner learner;
  CHECK(says(learner.tito({"run", "01"}), "01_more stands on 00_tiny, which is not complete"));
  ProcessResult result = learner.tito({"run", "01", "--reference"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "--- three times two\n\n"));
  CHECK(says(result, "the demonstration stopped: 01 thrice: Use twice."));
  learner.fill_thrice("return twice(x) + x;");
  CHECK(says(learner.tito({"run", "01", "--reference"}), "thrice(2) is 6\n"));

  // Their twice is wrong where its test does not look: the demonstration is theirs.
  learner.fill_twice("return x == 2 ? 5 : x + x;");
  learner.fill_sum("return n * (n + 1) / 2;");
  REQUIRE(learner.tito({"complete", "00"}).ok());
  result = learner.tito({"run"});
  CHECK(says(result, "thrice(2) is 7\n"));
  CHECK(result.ok());
  CHECK_FALSE(says(learner.tito({"run", "01", "--only", "other"}), "thrice(2)"));

  Learner::replace(learner.more(), "return twice(x) + x;", "volatile int* p = nullptr; return *p;");
  CHECK(says(learner.tito({"run", "01"}), "01_more stopped: killed by signal 11"));
}

TEST_CASE("learner: the machine and the public data, from a workspace") {
  const Learner learner;
  write_atomically(learner.course() / "data/sets.toml", R"([letters]
title = "Three letters"
source = "the alphabet"
licence = "none"
folder = "few"
from = "http://127.0.0.1:1/"
files = [{ name = "letters.txt", bytes = 3, md5 = "900150983cd24fb0d6963f7d28e17f72" }]
)");
  CHECK(says(learner.tito({"data", "list"}), "Three letters"));
  write_atomically(learner.workspace() / "data/few/letters.txt", "abc");
  const ProcessResult got = learner.tito({"data", "get", "letters"});
  CHECK(says(got, "already there\nin " + (learner.workspace() / "data/few").string()));
  CHECK(got.ok());
  write_atomically(learner.course() / "data/few/letters.txt", "abc");
  const fs::path other = learner.course().parent_path() / "other";
  CHECK(learner.tito({"init", other.string()}, learner.course()).ok());
  CHECK(fs::exists(other / "data/counts.csv"));
  CHECK_FALSE(fs::exists(other / "data/few"));  // what was downloaded is no part of the course
  CHECK_EQ(json_of(learner.tito({"doctor", "--json"}))["disk"]["folder"], learner.workspace().string());
}

TEST_CASE("learner: what a notebook stands on is compiled once, and described as often as its kernel starts") {
  const Learner learner;
  const ProcessResult first = learner.tito({"notebook", "01", "--reference", "--describe"});
  CHECK_MESSAGE(first.ok(), first.output);
  CHECK(first.output.find("build/objects/core-tiny.cpp-") != std::string::npos);
  const ProcessResult again = learner.tito({"notebook", "01", "--reference", "--describe"});
  CHECK_EQ(again.output, first.output);
}

TEST_CASE("learner: a test that was changed does not count") {
  const Learner learner;
  learner.fill_twice("return 3 * x;");
  learner.fill_sum("return n * (n + 1) / 2;");
  Learner::replace(learner.tiny(), "CHECK_EQ(twice(3), 6);", "CHECK_EQ(twice(3), 9);");
  CHECK(says(learner.tito({"test", "00"}), "2 tests passed"));
  ProcessResult result = learner.tito({"complete", "00"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "The test 00-twice-test is not as it was handed out"));
  CHECK(says(result, "CHECK_EQ( twice(3), 6 )"));
  const std::string text = read_text(learner.tiny());
  const std::size_t begin = text.rfind("// %%", text.find("Two is where"));
  write_atomically(learner.tiny(), text.substr(0, begin) + text.substr(text.find("// %%", text.find("CHECK_EQ(twice"))));
  CHECK(says(learner.tito({"complete", "00"}), "the graded test 00-twice-test is gone"));
}

TEST_CASE("learner: whatever a solution does, tito says what, and where") {
  const Learner learner;
  learner.fill_sum("return n * (n + 1) / 2;");
  learner.fill_twice("return x;  // here");
  struct Case {
    const char* body;
    const char* kind;
    const char* sentence;
  };
  const std::vector<Case> cases = {
      {"volatile int* p = nullptr; return *p + x;  // here", "crashed", "a pointer that points to nothing"},
      {"volatile int* p = reinterpret_cast<int*>(0x123456789000); return *p + x;  // here", "crashed", "memory that is not its own"},
      {"volatile int y = x; if (y == 3) return twice(x) + twice(y);  return 0;  // here", "crashed", "a function calls itself without end"},
      {"volatile int zero = 0; return x / zero;  // here", "crashed", "divided by zero"},
      {"std::exit(x - 3);  // here", "exited", "something called exit()"},
      {"std::vector<int*> v; for (;;) v.push_back(new int[1 << 24]);  // here", "threw", "more memory than it may have"},
      {"throw std::out_of_range(\"no\");  // here", "threw", "ended with an error: no"},
      {"for (;;) std::puts(\"again and again and again and again and again\");  // here", "flooded", "printed without end"},
      {"for (volatile int i = 0;; i = i + 1) {}  // here", "hung", "did not end in its time limit"},
  };
  Learner::replace(learner.tiny(), "#include <stdexcept>", "#include <cstdio>\n#include <cstdlib>\n#include <stdexcept>\n#include <vector>");
  std::string before = "return x;  // here";
  for (const Case& broken : cases) {
    CAPTURE(std::string(broken.body));
    Learner::replace(learner.tiny(), before, broken.body);
    before = broken.body;
    const ProcessResult result = learner.tito({"test", "00", "--json"});
    CHECK_EQ(result.status, 1);
    const nlohmann::json report = json_of(result);
    REQUIRE_FALSE(report["failures"].empty());
    const nlohmann::json& failure = report["failures"].back();
    CHECK_EQ(failure["kind"], broken.kind);
    CHECK_EQ(failure["test"], "twice: a number and itself");
    const std::string text = report["text"];
    CHECK_MESSAGE(text.find(broken.sentence) != std::string::npos, text);
    CHECK_MESSAGE(text.find(Learner::place_of(learner.tiny(), "// here")) != std::string::npos, text);
  }
  Learner::replace(learner.tiny(), before, "return 2 * y;  // here");
  ProcessResult result = learner.tito({"test", "00"});
  CHECK(says(result, Learner::place_of(learner.tiny(), "// here") + ":"));
  CHECK(says(result, "00_tiny does not compile"));
  Learner::replace(learner.tiny(), "return 2 * y;", "");
  CHECK(says(learner.tito({"test", "00"}), "no return statement"));
}

TEST_CASE("learner: sanitizers in plain words") {
  const Learner learner;
  learner.fill_sum("return n * (n + 1) / 2;");
  Learner::replace(learner.tiny(), "#include <stdexcept>", "#include <memory>\n#include <stdexcept>\n#include <thread>");
  learner.fill_twice("const std::unique_ptr<int[]> p(new int[3]()); return p[x] + 2 * x;  // here");
  const ProcessResult memory = learner.tito({"test", "00", "--sanitize"});
  CHECK_EQ(memory.status, 1);
  CHECK(says(memory, "heap-buffer-overflow"));
  CHECK(says(memory, "at " + Learner::place_of(learner.tiny(), "// here")));
  CHECK(says(memory, "In plain words: it read or wrote beyond the end"));
  if (!run_process({"setarch", "-R", "true"}).ok()) {
    MESSAGE("skipped: setarch -R is refused here, and the thread sanitizer needs it");
    return;
  }
  Learner::replace(learner.tiny(), "const std::unique_ptr<int[]> p(new int[3]()); return p[x] + 2 * x;",
                   "int s = 0; std::thread a([&] { s += x; }); std::thread b([&] { s += x; }); a.join(); b.join(); return s;");
  const ProcessResult race = learner.tito({"test", "00", "--sanitize=thread"});
  CHECK_EQ(race.status, 1);
  CHECK(says(race, "data race"));
  CHECK(says(race, "two threads use the same memory"));
  CHECK(says(race, "at " + Learner::place_of(learner.tiny(), "// here")));
}

TEST_CASE("learner: the record of progress is rebuilt when it is damaged") {
  const Learner learner;
  complete_tiny(learner);
  const fs::path file = learner.workspace() / ".tito/progress.toml";
  const std::string good = read_text(file);
  CHECK(says(learner.tito({"status"}), "complete"));
  for (const std::string& damaged : {std::string(), good.substr(0, good.size() / 2), "\x01" + good, fixture::with_replaced(good, "00_tiny", "01_more")}) {
    write_atomically(file, damaged);
    const ProcessResult result = learner.tito({"status"});
    CHECK(says(result, "was damaged; it was rebuilt from your modules"));
    const nlohmann::json status = json_of(learner.tito({"status", "--json"}));
    CHECK_EQ(status["modules"][0]["state"], "complete");
    CHECK_EQ(status["modules"][1]["state"], "");
  }
  fs::remove(file);
  ProcessResult result = learner.tito({"status"});
  CHECK(says(result, "The record of your progress was gone; it was rebuilt from your modules.\n"));
  CHECK(says(result, "Which milestones had opened is not known any more: 'tito complete 00' runs them again."));
  CHECK_EQ(json_of(learner.tito({"status", "--json"}))["modules"][0]["state"], "complete");
}

TEST_CASE("learner: what was handed out is rebuilt from the course, or named, when it is damaged") {
  const Learner learner;
  learner.fill_twice("return x * x;");
  const fs::path copies = learner.workspace() / ".tito/course";
  const fs::path lesson = copies / "00_tiny/tiny_dev.cpp";
  const std::string handed_out = read_text(lesson);
  const std::string mine = read_text(learner.tiny());

  // A test program that was cut out of the copy would not be asked for; a copy that is gone could not be reset to.
  learner.fill_sum("return n * (n + 1) / 2;");
  Learner::replace(learner.tiny(), "CHECK_EQ(twice(3), 6);", "CHECK_EQ(twice(3), 9);");
  write_atomically(lesson, handed_out.substr(0, handed_out.find("// %% {\"nbgrader\": {\"grade\": true")) + "// %%\n}  // namespace tinytorch\n");
  ProcessResult result = learner.tito({"complete", "00"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, ".tito/course/00_tiny/tiny_dev.cpp was damaged; it was written anew from the course."));
  CHECK(says(result, "The test 00-twice-test is not as it was handed out"));
  CHECK_EQ(read_text(lesson), handed_out);
  fs::remove(lesson);
  CHECK(learner.tito({"reset", "00", "--yes"}).ok());
  CHECK_EQ(read_text(learner.tiny()), handed_out);

  // Others' mistakes are a help that may be missing.
  write_atomically(learner.tiny(), mine);
  for (const char* damaged : {"[", "[{\"mistake\": 1}]", "7"}) {
    write_atomically(copies / "00_tiny/mistakes.json", damaged);
    CHECK(says(learner.tito({"test", "00"}), "Twice is a sum, not a square."));
  }

  // The course has moved on: nobody has the old copy any more.
  Learner::replace(learner.course() / "modules/00_tiny/tiny_dev.cpp", "A number, and the same", "Doubling: the same");
  write_atomically(learner.course() / "modules/00_tiny/mistakes.json", "[]\n");
  write_atomically(copies / "00_tiny/mistakes.json", "");
  result = learner.tito({"test", "00"});
  CHECK(says(result, ".tito/course/00_tiny/mistakes.json does not fit its checksum, and the course has another version now"));
  CHECK(says(result, "FAILED  twice: a number and itself"));
  write_atomically(lesson, "");
  const std::string sentence = ".tito/course/00_tiny/tiny_dev.cpp does not fit its checksum, and the course has another version now: 'tito update --mine' keeps your work";
  CHECK(says(learner.tito({"reset", "00"}), sentence));
  result = learner.tito({"update"});
  CHECK(says(result, sentence));
  CHECK(says(result, "Nothing was changed."));
  CHECK(learner.tito({"update", "--mine"}).ok());
  CHECK_EQ(read_text(learner.tiny()), mine);
  CHECK(read_text(lesson).find("Doubling: the same") != std::string::npos);
  CHECK(says(learner.tito({"update"}), "has the course as it is"));
}

TEST_CASE("learner: damaged checksums of what was handed out are made anew for what the course has alike") {
  const Learner learner;
  const fs::path checksums = learner.workspace() / ".tito/course/checksums.txt";
  const std::string good = read_text(checksums);
  for (const std::string& damaged : {std::string(), good.substr(0, good.size() / 2), fixture::with_replaced(good, "counts", "amounts")}) {
    write_atomically(checksums, damaged);
    CHECK(says(learner.tito({"reset", "00"}), "they were made anew: all is as the course has it."));
    CHECK_EQ(read_text(checksums), good);
  }
  fs::remove(checksums);
  Learner::replace(learner.course() / "modules/00_tiny/tiny_dev.cpp", "A number, and the same", "Doubling: the same");
  CHECK(says(learner.tito({"reset", "00"}), "older than the course or damaged:\n  .tito/course/00_tiny/tiny_dev.cpp\n'tito update --mine'"));
  CHECK(learner.tito({"update", "--mine"}).ok());
  CHECK_FALSE(says(learner.tito({"reset", "00", "--yes"}), "damaged"));
}

TEST_CASE("learner: an update leaves what the learner changed beside the lessons") {
  const Learner learner;
  const fs::path readme = learner.workspace() / "modules/00_tiny/README.md";
  const fs::path counts = learner.workspace() / "data/counts.csv";
  Learner::replace(readme, "# Tiny\n", "# Tiny\n\nMy note.\n");
  Learner::replace(counts, "2,6", "2,6\n3,9");

  // The course did not change them: nothing is to be done.
  CHECK(says(learner.tito({"update"}), "has the course as it is"));
  CHECK(read_text(readme).find("My note.") != std::string::npos);

  // The course changed another line of the text, and the data; a file of bytes comes as it is.
  const std::string bytes("\x93NUMPY\0\xff\x80\n", 9);
  Learner::replace(learner.course() / "modules/00_tiny/README.md", "It is small.", "It is very small.");
  Learner::replace(learner.course() / "data/counts.csv", "0,0", "0,00");
  write_atomically(learner.course() / "data/new.npy", bytes);
  ProcessResult result = learner.tito({"update"});
  CHECK(result.ok());
  CHECK_EQ(read_text(readme), "# Tiny\n\nMy note.\n\n## Learning pattern: Build -> Use -> Reflect\n\n**Rationale.** It is very small.\n");
  CHECK(says(result, "data/counts.csv is not as it was handed out, so yours stays; the course's is .tito/course/data/counts.csv."));
  CHECK_EQ(read_text(counts), "0,0\n1,3\n2,6\n3,9\n");
  CHECK_EQ(read_text(learner.workspace() / ".tito/course/data/counts.csv"), "0,00\n1,3\n2,6\n");
  CHECK_EQ(read_text(learner.workspace() / "data/new.npy"), bytes);
  CHECK(says(learner.tito({"update"}), "has the course as it is"));

  // The same line: theirs stays.
  Learner::replace(readme, "It is very small.", "It is mine.");
  Learner::replace(learner.course() / "modules/00_tiny/README.md", "It is very small.", "It is tiny.");
  CHECK(says(learner.tito({"update"}), "modules/00_tiny/README.md is not as it was handed out, so yours stays"));
  CHECK(read_text(readme).find("It is mine.") != std::string::npos);
}

TEST_CASE("learner: what is written while a test runs stays") {
  const Learner learner;
  Learner::replace(learner.tiny(), "#include <stdexcept>", "#include <chrono>\n#include <filesystem>\n#include <fstream>\n#include <stdexcept>\n#include <thread>");
  learner.fill_twice("std::ofstream(\"running\") << x; while (!std::filesystem::exists(\"go on\")) "
                     "std::this_thread::sleep_for(std::chrono::milliseconds(10)); return x + x;");
  ProcessResult result;
  std::thread testing([&] { result = learner.tito({"test", "00"}); });
  for (int i = 0; i < 6000 && !fs::exists(learner.workspace() / "running"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const ProcessResult hint = learner.tito({"hint", "00", "twice"});
  write_atomically(learner.workspace() / "go on", "");
  testing.join();
  CHECK(says(hint, "Hint 1 of 4"));
  CHECK(says(result, "1 tests passed, 1 failed"));
  CHECK(says(learner.tito({"hint", "00", "twice"}), "Hint 2 of 4"));
  CHECK_EQ(json_of(learner.tito({"status", "--json"}))["modules"][0]["build"]["earned"], 2);
}

TEST_CASE("learner: reset asks, and keeps a backup") {
  const Learner learner;
  const std::string handed_out = read_text(learner.tiny());
  learner.fill_twice("return x + x;");
  const std::string mine = read_text(learner.tiny());
  CHECK(says(learner.tito({"reset", "00"}), "Nothing was changed."));
  CHECK_EQ(read_text(learner.tiny()), mine);
  CHECK(learner.tito({"reset", "00", "--yes"}).ok());
  CHECK_EQ(read_text(learner.tiny()), handed_out);
  CHECK_EQ(read_text(learner.workspace() / ".tito/backup/00_tiny_1.cpp"), mine);
}

TEST_CASE("learner: a newer course joins the work that is there") {
  const Learner learner;
  learner.fill_twice("return x + x;  // mine");
  CHECK(says(learner.tito({"update"}), "has the course as it is"));
  const fs::path lesson = learner.course() / "modules/00_tiny/tiny_dev.cpp";
  Learner::replace(lesson, "A number, and the same number again.", "Doubling.");
  Learner::replace(lesson, "CHECK_EQ(twice(3), 6);", "CHECK_EQ(twice(3), 6);\n  CHECK_EQ(twice(4), 8);");
  CHECK(says(learner.tito({"update"}), "00_tiny is up to date"));
  const std::string merged = read_text(learner.tiny());
  CHECK(merged.find("return x + x;  // mine") != std::string::npos);
  CHECK(merged.find("Doubling.") != std::string::npos);
  CHECK(merged.find("CHECK_EQ(twice(4), 8);") != std::string::npos);
  CHECK(says(learner.tito({"update"}), "has the course as it is"));

  // Both changed one line: nothing is changed, and it is said where.
  Learner::replace(learner.tiny(), "// Two times x.", "// My two times x.");
  Learner::replace(lesson, "// Two times x.", "// The course's two times x.");
  Learner::replace(lesson, "Doubling.", "Doubling numbers.");
  const std::string mine = read_text(learner.tiny());
  const ProcessResult result = learner.tito({"update"});
  CHECK_EQ(result.status, 1);
  CHECK(says(result, "you and the course both changed '00-twice'"));
  CHECK(says(result, "Nothing was changed."));
  CHECK_EQ(read_text(learner.tiny()), mine);
  CHECK(learner.tito({"update", "--mine"}).ok());
  CHECK(read_text(learner.tiny()).find("// My two times x.") != std::string::npos);
  CHECK(read_text(learner.tiny()).find("Doubling numbers.") != std::string::npos);
}

TEST_CASE("learner: an update that is cut off is completed, and takes no edit away") {
  const Learner learner;
  const fs::path journal = learner.workspace() / ".tito/update.json";
  const std::string handed_out = read_text(learner.tiny());
  const auto decided = [&](const std::string& text) {
    return nlohmann::json::array({{{"path", "modules/00_tiny/tiny_dev.cpp"}, {"replaces", hash_of(handed_out)}, {"text", text}},
                                  {{"path", ".tito/course/00_tiny/tiny_dev.cpp"}, {"replaces", hash_of(handed_out)}, {"text", text}}})
        .dump();
  };
  const auto journal_of = [&](const std::string& entries) { return hash_of(entries) + "\n" + entries; };
  const std::string newer = fixture::with_replaced(handed_out, "A number", "Any number");
  write_atomically(journal, journal_of(decided(newer)));
  CHECK(learner.tito({"status"}).ok());
  CHECK_EQ(read_text(learner.tiny()), newer);
  CHECK_FALSE(fs::exists(journal));
  for (const Command& command : {Command{"milestone", "list"}, Command{"notebook", "77"}}) {
    write_atomically(learner.tiny(), handed_out);
    write_atomically(journal, journal_of(decided(newer)));
    learner.tito(command);
    CHECK_MESSAGE(read_text(learner.tiny()) == newer, command.front());
  }
  CHECK(says(learner.tito({"reset", "00"}), "00_tiny is as it was handed out."));  // the new copy is trusted

  const Learner other;
  other.fill_twice("return x + x;");
  const std::string mine = read_text(other.tiny());
  write_atomically(other.workspace() / ".tito/update.json", journal_of(decided(newer)));
  CHECK(says(other.tito({"status"}), "was edited while an update was cut off; it stays as it is"));
  CHECK_EQ(read_text(other.tiny()), mine);
  CHECK_EQ(read_text(other.workspace() / ".tito/course/00_tiny/tiny_dev.cpp"), handed_out);

  // What was decided is not trusted when it is damaged, be it JSON or not.
  for (const std::string& damaged : {std::string("[{\"way\": 1}]"), std::string("{}"), std::string(), "0" + journal_of(decided(newer)), decided(newer)}) {
    write_atomically(other.workspace() / ".tito/update.json", damaged);
    CHECK(says(other.tito({"status"}), "what it had decided is damaged (.tito/update.json.damaged); 'tito update' does it again."));
    CHECK_EQ(read_text(other.tiny()), mine);
    CHECK(other.tito({"status"}).ok());
  }
}

TEST_CASE("learner: bad input gets one sentence") {
  const Learner learner;
  CHECK_EQ(learner.tito({"test", "77"}).output, "unknown module '77'; this workspace has: 00_tiny, 01_more\n");
  CHECK(says(learner.tito({"status"}, fs::temp_directory_path()), "this is not a workspace: make one with 'tito init DIR'"));
  CHECK(says(learner.tito({"init", learner.workspace().string()}, learner.course()), "is there already and not empty"));
  CHECK(says(learner.tito({"init", "inner"}), "inside of a workspace already"));
  CHECK(says(learner.tito({"watch", "00"}), "this needs a terminal"));
  const std::string good = read_text(learner.tiny());
  Learner::replace(learner.tiny(), "namespace tinytorch {", "namespace other {");
  CHECK(says(learner.tito({"test", "00"}), "closes nothing here"));

  // For tools the same as JSON, and what does not compile too.
  nlohmann::json report = json_of(learner.tito({"test", "00", "--json"}));
  CHECK_EQ(report["compiled"], false);
  CHECK_EQ(report["first"]["file"], "modules/00_tiny/tiny_dev.cpp");
  CHECK(report["first"]["line"] > 1);
  CHECK(report["text"].get<std::string>().find("closes nothing here") != std::string::npos);
  write_atomically(learner.tiny(), good);
  learner.fill_twice("return y;");
  report = json_of(learner.tito({"test", "00", "--json"}));
  CHECK_EQ(report["compiled"], false);
  CHECK(report["messages"].get<std::string>().find(Learner::place_of(learner.tiny(), "return y;")) != std::string::npos);
  report = json_of(learner.tito({"test", "00", "--json", "--compiler", "g++"}, learner.course()));  // the course's own
  CHECK_EQ(report["finished"], true);
  const fs::path lesson = learner.course() / "modules/00_tiny/tiny_dev.cpp";
  Learner::replace(lesson, "return 2 * x;", "return 2 * y;");
  report = json_of(learner.tito({"test", "00", "--json"}, learner.course()));
  CHECK_EQ(report["compiled"], false);
  CHECK(report["messages"].get<std::string>().find(Learner::place_of(lesson, "return 2 * y;")) != std::string::npos);
  Learner::replace(lesson, "namespace tinytorch {", "namespace other {");
  report = json_of(learner.tito({"test", "00", "--json"}, learner.course()));
  CHECK(report["messages"].get<std::string>().find("closes nothing here") != std::string::npos);
}

TEST_CASE("learner: an installed tito has the course with it") {
  const fixture::TemporaryFolder folder;
  const fs::path build = fs::path(TITO_SOURCE_ROOT) / "build/cli";
  const fs::path prefix = folder.path() / "usr";
  REQUIRE(run_process({"cmake", "--install", build.string(), "--prefix", prefix.string()}).ok());
  ProcessOptions options;
  options.directory = folder.path();
  options.environment = {{"TITO_ROOT", ""}};
  const std::string tito = (prefix / "bin/tito").string();
  REQUIRE(run_process({tito, "init", "mine"}, options).ok());
  options.directory = folder.path() / "mine";
  const ProcessResult path = run_process({tito, "path"}, options);
  CHECK(says(path, "Next: 00_setup"));
  const ProcessResult status = run_process({tito, "status"}, options);
  CHECK(says(status, "1986: back-propagation reads digits (after module 08)"));
  CHECK(says(run_process({tito, "data", "list"}, options), "MNIST"));
  CHECK(says(run_process({tito, "doctor", "--peaks"}, options), "an installed tito has no sources"));

  // All that a learner does, on the small course in place of the installed one.
  const Learner small;
  for (const char* part : {"modules", "milestones", "data"}) {
    fs::remove_all(prefix / "share/tinytorch" / part);
    fs::copy(small.course() / part, prefix / "share/tinytorch" / part, fs::copy_options::recursive);
  }
  fs::remove_all(small.workspace());
  options.directory = folder.path();
  REQUIRE(run_process({tito, "init", small.workspace().string()}, options).ok());
  options.directory = small.workspace();
  const auto run = [&](Command arguments) {
    arguments.insert(arguments.begin(), tito);
    return run_process(arguments, options);
  };
  CHECK(says(run({"start", "00"}), "Ready. Next: tito test 00"));
  small.fill_twice("return x * x;");
  CHECK(says(run({"test"}), "Twice is a sum, not a square."));
  CHECK(says(run({"hint"}), "Hint 1 of 4:\n  1. Take x."));
  Learner::replace(small.tiny(), "return x * x;", "return x + x;");
  small.fill_sum("return n * (n + 1) / 2;");
  CHECK(says(run({"complete"}), "00_tiny is complete."));
  small.fill_thrice("return twice(x) + x;");
  CHECK(says(run({"run", "01"}), "thrice(2) is 6"));
  CHECK(says(run({"complete", "01"}), "The gate is open."));
  CHECK(says(run({"milestone", "run", "counting"}), "The gate is open."));
  CHECK(says(run({"reset", "01", "--yes"}), "01_more is as it was handed out; yours is .tito/backup/01_more_1.cpp"));
  Learner::replace(prefix / "share/tinytorch/modules/00_tiny/tiny_dev.cpp", "A number, and the same", "Doubling: the same");
  CHECK(says(run({"update"}), "00_tiny is up to date; what you wrote in it is there."));
  CHECK(read_text(small.tiny()).find("Doubling: the same") != std::string::npos);
  CHECK(read_text(small.tiny()).find("return x + x;") != std::string::npos);
}

}  // namespace tito
