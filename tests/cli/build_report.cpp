// Known mistakes, parts that need not run again, and reports of test programs.
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "build/known_mistakes.h"
#include "build/ninja.h"
#include "build/part_report.h"
#include "build/test_program.h"
#include "tito/lesson.h"

namespace tito {
namespace {

class Folder {
 public:
  explicit Folder(const std::string& name) : path(fs::temp_directory_path() / ("tito_test_" + name + "_" + std::to_string(getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return path / name;
  }

  fs::path path;
};

TestRun run_with(const std::vector<FailedCheck>& failures) {
  TestRun run;
  run.finished = true;
  for (const FailedCheck& failed : failures) {
    TestOutcome test;
    test.name = failed.test;
    TestFailure failure;
    failure.kind = "check";
    failure.check = failed.check;
    failure.values = failed.values;
    test.failures.push_back(failure);
    run.tests.push_back(test);
  }
  return run;
}

// A test program that is a script: what it writes to its report stands in `events`.
TestRun run_script(const Folder& folder, const std::string& events, const std::string& then) {
  const fs::path script = folder.write(
      "program", "#!/bin/sh\nreport=${1#--json=}\ncat > \"$report\" <<'END'\n" + events + "END\n" + then + "\n");
  fs::permissions(script, fs::perms::owner_all);
  TestOptions options;
  options.root = folder.path;
  options.seconds_per_test = 0.5;
  return run_tests("program", LineMap(folder.path), options);
}

constexpr const char* started = "{\"event\":\"test\",\"test\":\"first\",\"file\":\"a.cpp\",\"line\":3}\n";
constexpr const char* done = "{\"event\":\"done\",\"test\":\"first\",\"passed\":true,\"checks\":2,\"seconds\":0.1}\n";
constexpr const char* end = "{\"event\":\"end\",\"tests\":1,\"failed\":0,\"checks\":2}\n";

}  // namespace

TEST_CASE("test program: a passing test") {
  const Folder folder("passing");
  const TestRun run = run_script(folder, std::string(started) + done + end, "exit 0");
  CHECK(run.ok());
  CHECK_EQ(run.passed(), 1);
  CHECK_EQ(run.find("first")->checks, 2);
  CHECK_EQ(run.find("second"), nullptr);
}

TEST_CASE("test program: a test that skips itself has not passed") {
  const Folder folder("skipping");
  const std::string skipped = "{\"event\":\"skipped\",\"why\":\"no data\"}\n";
  const TestRun run = run_script(folder, started + skipped + done + end, "exit 0");
  CHECK_EQ(run.passed(), 0);
  CHECK_EQ(run.skipped(), 1);
  CHECK_EQ(run.find("first")->skipped, "no data");
}

TEST_CASE("test program: a failed check keeps its place and its values") {
  const Folder folder("failing");
  const std::string failure =
      "{\"event\":\"failure\",\"test\":\"first\",\"kind\":\"check\",\"file\":\"a.cpp\",\"line\":4,\"check\":\"CHECK( x )\","
      "\"values\":\"1, 2\",\"difference\":\"first difference\",\"subcase\":\"\",\"info\":[\"i = 3\"]}\n";
  const std::string failed = "{\"event\":\"done\",\"test\":\"first\",\"passed\":false,\"checks\":1,\"seconds\":0}\n";
  const TestRun run = run_script(folder, started + failure + failed + end, "exit 1");
  CHECK(run.finished);
  CHECK_EQ(run.failed(), 1);
  CHECK_EQ(describe(run.tests[0]),
           "FAILED  first\n  a.cpp:4: CHECK( x )\n    1, 2\n    first difference\n    i = 3\n");
}

TEST_CASE("test program: a crash is blamed on the test that ran") {
  const Folder folder("crash");
  const TestRun run = run_script(folder, started, "kill -SEGV $$");
  CHECK_FALSE(run.finished);
  CHECK_EQ(run.failed(), 1);
  CHECK_EQ(run.tests[0].failures.at(0).kind, "crashed");
  CHECK_EQ(run.problem, "killed by signal 11 (Segmentation fault)");
}

TEST_CASE("test program: an endless loop is stopped and named") {
  const Folder folder("endless");
  const TestRun run = run_script(folder, started, "while :; do :; done");
  CHECK_FALSE(run.finished);
  CHECK_EQ(run.tests.at(0).failures.at(0).kind, "hung");
}

TEST_CASE("test program: success that ends with a bad exit status is no success") {
  const Folder folder("late");
  CHECK_FALSE(run_script(folder, std::string(started) + done + end, "echo leak; exit 23").ok());
}

TEST_CASE("test program: a ratio that is not reached fails nothing, and gives no points") {
  const Folder folder("ratio");
  const auto measured = [&](const std::string& ratio) { return run_script(folder, started + ratio + done + end, "exit 0"); };
  const TestRun missed = measured("{\"event\":\"measured\",\"reached\":1.25,\"wanted\":2}\n");
  CHECK(missed.ok());
  CHECK_EQ(missed.passed(), 1);
  CHECK_FALSE(missed.tests.at(0).gives_points());
  CHECK_EQ(describe_ratio(missed.tests.at(0)), "measured " + missed.tests.at(0).name + ": 1.25 times as fast as the baseline; the points ask for 2\n");
  CHECK(measured("{\"event\":\"measured\",\"reached\":2.5,\"wanted\":2}\n").tests.at(0).gives_points());
  CHECK(measured("").tests.at(0).gives_points());
  CHECK_EQ(describe_ratio(measured("").tests.at(0)), "");
}

TEST_CASE("test program: a program that says nothing is no success") {
  const Folder folder("silent");
  CHECK_FALSE(run_script(folder, "", "exit 0").ok());
}

TEST_CASE("known mistakes: what is written is read again") {
  const Folder folder("mistakes");
  const std::vector<KnownMistake> mistakes{{"05-a/b", "Say \"this\".", {{"t", "CHECK( x )", "1, 2"}}}};
  const std::vector<KnownMistake> read = read_known_mistakes(folder.write("mistakes.json", text_of(mistakes)));
  CHECK(same_signatures(read, mistakes));
  CHECK_EQ(read.at(0).signature.at(0).values, "1, 2");
  CHECK(read_known_mistakes(folder.path / "none.json").empty());
  CHECK_THROWS_AS(read_known_mistakes(folder.write("bad.json", "[{]")), Diagnostic);
  CHECK_THROWS_AS(read_known_mistakes(folder.write("bad.json", "[{\"mistake\": 1}]")), Diagnostic);
}

TEST_CASE("known mistakes: other values are the same signature, other checks are not") {
  const std::vector<KnownMistake> recorded{{"05-a/b", "s", {{"t", "c", "1"}}}};
  CHECK(same_signatures(recorded, {{"05-a/b", "s", {{"t", "c", "2"}}}}));
  CHECK(same_signatures(recorded, {{"05-a/b", "s", {{"other", "d", "1"}, {"t", "c", "1"}}}}));
  CHECK_FALSE(same_signatures(recorded, {{"05-a/b", "s", {{"t", "d", "1"}}}}));
  CHECK_FALSE(same_signatures(recorded, {{"05-a/b", "s", {}}}));
  CHECK_FALSE(same_signatures(recorded, {{"05-a/b", "other", {{"t", "c", "1"}}}}));
  CHECK_FALSE(same_signatures(recorded, {}));
}

TEST_CASE("known mistakes: a learner's failure is recognized by its checks and values") {
  const std::vector<KnownMistake> known{{"05-a/one", "one", {{"t", "c", "1"}, {"t", "d", "2"}}},
                                        {"05-a/two", "two", {{"t", "c", "1"}}}};
  Module module;
  Hole hole;
  hole.grade_id = "05-later";
  hole.function = "later";
  hole.todo = "Do it.";
  module.holes = {hole};
  const auto told = [&](const std::vector<FailedCheck>& failures) { return sentences_of(recognize(known, run_with(failures), module)); };
  CHECK_EQ(told({{"t", "c", "1"}, {"t", "d", "2"}}), "one");
  CHECK_EQ(told({{"t", "c", "1"}}), "two");
  CHECK_EQ(told({{"t", "c", "5"}}), "");
  CHECK_EQ(told({{"u", "c", "1"}}), "");
  // A test that waits for an empty exercise says nothing against a mistake that would show in it too.
  const std::vector<KnownMistake> shows_twice{{"05-a/one", "one", {{"t", "c", "1"}, {"u", "d", "2"}}}};
  CHECK(recognize(shows_twice, run_with({{"t", "c", "1"}}), module).empty());
  CHECK_EQ(recognize(shows_twice, run_with({{"t", "c", "1"}, {"u", "e", "threw 05 later: Do it."}}), module).size(), 1);
  // A crash that does not come here says nothing against it either, but it is not enough to know the mistake by.
  const std::vector<KnownMistake> crashes{{"05-a/one", "one", {{"t", "c", "1"}, {"u", "crashed", "SIGSEGV"}}}};
  CHECK_EQ(recognize(crashes, run_with({{"t", "c", "1"}}), module).size(), 1);
  CHECK(recognize(crashes, run_with({{"v", "c", "1"}}), module).empty());
  // What an Error says of the place in the code is not part of what it shows: a workspace has other folders.
  const std::vector<KnownMistake> thrown{{"05-a/one", "one", signature_of(run_with({{"t", "threw", "cut off\nException raised from f at here.cpp:1"}}))}};
  CHECK_EQ(recognize(thrown, run_with({{"t", "threw", "cut off\nException raised from f at /there.cpp:20"}}), module).size(), 1);
  // What differs from run to run was recorded as such, and is known by its check.
  const std::vector<FailedCheck> once{{"t", "c", "1"}, {"t", "slow", "0.3"}, {"t", "raced", "2"}};
  const std::vector<FailedCheck> lasting = in_common(once, {{"t", "slow", "0.4"}, {"t", "c", "1"}});
  CHECK_EQ(lasting.size(), 2);
  CHECK_EQ(lasting[0], once[0]);
  CHECK_NE(lasting[1].values, "0.3");
  CHECK_EQ(in_common(lasting, {{"t", "c", "1"}, {"t", "slow", "0.5"}}), lasting);
  const std::vector<KnownMistake> timed{{"05-a/one", "one", {lasting[1]}}, {"05-a/two", "two", {lasting[1], {"t", "d", "2"}}}};
  CHECK_EQ(sentences_of(recognize(timed, run_with({{"t", "slow", "0.7"}}), module)), "one");
  CHECK_EQ(sentences_of(recognize(timed, run_with({{"t", "slow", "0.8"}, {"t", "d", "2"}}), module)), "two");
  CHECK(recognize(timed, run_with({{"t", "quick", "0.7"}}), module).empty());
  // Mistakes that show in the same way are both named.
  const std::vector<KnownMistake> alike{{"05-a/one", "one", {{"t", "c", "1"}}}, {"05-b/two", "two", {{"t", "c", "1"}}}};
  CHECK_EQ(sentences_of(recognize(alike, run_with({{"t", "c", "1"}}), module)), "one Or: two");
}

TEST_CASE("parts: what passed with the same inputs is not run again") {
  const Folder folder("parts");
  int runs = 0;
  const auto test = [&](const std::string& inputs, bool good) {
    PartReport report(folder.path / "passed.json", true);
    report.run("group", "name", inputs, [&](Part& part) {
      ++runs;
      part.expect(true, "");
      part.expect(good, "bad");
    });
    return std::pair(report.passed(), report.failed());
  };
  CHECK_EQ(test("a", true), std::pair<std::size_t, std::size_t>(2, 0));
  CHECK_EQ(test("a", true), std::pair<std::size_t, std::size_t>(2, 0));
  CHECK_EQ(runs, 1);
  CHECK_EQ(test("b", false), std::pair<std::size_t, std::size_t>(1, 1));
  CHECK_EQ(test("b", false), std::pair<std::size_t, std::size_t>(1, 1));
  CHECK_EQ(runs, 3);
  // A failure also forgets the earlier success.
  test("a", true);
  CHECK_EQ(runs, 4);
}

TEST_CASE("parts: what passed beside one that was stopped is not run again") {
  const Folder folder("parts_stopped");
  const auto passes = [](Part& part) { part.expect(true, ""); };
  const std::string once = "inputs";
  PartReport first(folder.path / "passed.json", true);
  CHECK_THROWS_AS(first.run_all("group", {{"passes", once, passes}, {"stopped", once, [](Part&) { throw Interrupted(SIGTERM); }}}), Interrupted);
  PartReport second(folder.path / "passed.json", true);
  bool ran = false;
  second.run("group", "passes", once, [&](Part&) { ran = true; });
  CHECK_FALSE(ran);
  second.run("group", "stopped", once, [&](Part&) { ran = true; });
  CHECK(ran);
}

TEST_CASE("parts: an exception is one failure, and what was skipped is said") {
  const Folder folder("skips");
  PartReport report(folder.path / "passed.json", true);
  report.run("group", "name", "", [](Part&) { throw std::runtime_error("no such luck"); });
  report.skip("other", "part", "no root");
  CHECK_EQ(report.failed(), 1);
  CHECK(report.skipped_anything());
  CHECK(report.table().find("other, part: no root") != std::string::npos);
  CHECK(report.json().find("no such luck") != std::string::npos);
}

TEST_CASE("fingerprint: contents and names count") {
  const Folder folder("fingerprint");
  const fs::path file = folder.write("a", "1");
  const std::string before = fingerprint({folder.path});
  CHECK_EQ(fingerprint({folder.path}), before);
  CHECK_NE(fingerprint({folder.path}, "more"), before);
  fs::rename(file, folder.path / "b");
  CHECK_NE(fingerprint({folder.path}), before);
  fs::rename(folder.path / "b", file);
  folder.write("a", "2");
  CHECK_NE(fingerprint({folder.path}), before);
}

TEST_CASE("ninja: a failing step is reported in lines of the module, without the command") {
  const Folder folder("ninja");
  LineMap lines(folder.path);
  lines.add("x.cpp", {"x.cpp", "", folder.path / "modules/m.cpp", {0, 12}});
  NinjaFile file;
  file.rule("fails", "echo x.cpp:2:1: error: no; false", "$out", false);
  file.rule("works", "touch $out", "$out", false);
  file.add({"bad", "fails", {}, {}, {}});
  file.add({"good", "works", {}, {}, {}});
  write_if_changed(folder.path / "build.ninja", file.text());
  const NinjaResult failed = run_ninja({folder.path, folder.path, {"bad", "good"}, "", true}, lines);
  CHECK_FALSE(failed.ok);
  CHECK_EQ(failed.messages, "modules/m.cpp:12:1: error: no\n");
  CHECK_EQ(failed.failed_files, std::vector<std::string>{"bad"});
  CHECK(fs::exists(folder.path / "good"));
  CHECK(run_ninja({folder.path, folder.path, {"good"}, "", false}, lines).ok);
}

}  // namespace tito
