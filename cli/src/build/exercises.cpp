#include "build/exercises.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>

#include "build/parallel.h"

namespace tito {
namespace {

const std::pair<std::string, std::string> visible_tests{"TITO_TESTS", "visible"};

// The tuned kernels of module 16 and the chapters behind it lie above what an earlier module computes, and would hide its faults.
void below_tuned_kernels(const Module& module, TestOptions& options) {
  if (module.stage() < "16") options.environment.emplace_back("TINYTORCH_KERNELS", "reference");
}

TestRun run_variant(const StageBuild& build, const Module& module, const std::string& variant) {
  TestOptions options;
  options.root = build.root();
  options.environment = {{"TITO_VARIANT", variant}, visible_tests};
  below_tuned_kernels(module, options);
  options.seconds_per_test = 20;
  options.memory_bytes = std::size_t{4} << 30;
  return run_tests(build.variants_of(module), build.lines(), options);
}

bool mentions(const TestOutcome& test, const std::string& text) {
  return std::any_of(test.failures.begin(), test.failures.end(), [&](const TestFailure& failure) {
    return failure.values.find(text) != std::string::npos;
  });
}

bool mentions_any_hole(const TestOutcome& test, const Module& module) {
  return std::any_of(module.holes.begin(), module.holes.end(),
                     [&](const Hole& hole) { return mentions(test, hole.message()); });
}

// The first thing wrong with a graded test that should have failed; empty when it failed and `names` holds.
std::string complaint_about(const TestRun& run, const Test& test, const std::function<bool(const TestOutcome&)>& names) {
  const TestOutcome* outcome = run.find(test.name);
  if (outcome == nullptr) return fmt::format("the test \"{}\" was not reached: {}", test.name, run.problem);
  if (outcome->passed) return fmt::format("the test \"{}\" passes on an empty hole", test.name);
  const bool crashed = std::any_of(outcome->failures.begin(), outcome->failures.end(), [](const TestFailure& failure) {
    return failure.kind == "crashed" || failure.kind == "hung";
  });
  if (crashed) return fmt::format("the test \"{}\" crashes or hangs on an empty hole", test.name);
  if (!names(*outcome)) {
    return fmt::format("the test \"{}\" fails without naming the hole:\n{}", test.name, describe(*outcome));
  }
  return "";
}

}  // namespace

std::vector<Proof> prove_student_copy(const StageBuild& build, const Module& module) {
  TestOptions options;
  options.root = build.root();
  options.environment = {visible_tests};
  options.seconds_per_test = 20;
  below_tuned_kernels(module, options);
  std::vector<Proof> proofs;
  const TestRun untouched = run_tests(build.student_of(module), build.lines(), options);
  for (const Test& test : build.student_copy_of(module).tests) {
    if (!test.graded) continue;
    proofs.push_back({test.name, complaint_about(untouched, test, [&](const TestOutcome& outcome) {
                        return mentions_any_hole(outcome, module);
                      })});
  }
  const TestRun solved = run_tests(build.tests_of(module), build.lines(), options);
  Proof proof{"the copy's tests with the reference's bodies", ""};
  for (const TestOutcome& test : solved.tests) {
    if (!test.passed) proof.complaint += describe(test);
  }
  proof.complaint += describe_end(solved);
  proofs.push_back(proof);
  return proofs;
}

std::vector<Proof> prove_holes(const StageBuild& build, const Module& module) {
  std::vector<Proof> proofs(module.holes.size());
  const std::vector<Test>& tests = build.student_copy_of(module).tests;
  in_parallel(module.holes.size(), module.folder() + ": holes", [&](std::size_t i) {
    const Hole& hole = module.holes[i];
    const TestRun run = run_variant(build, module, hole.grade_id);
    proofs[i].name = hole.grade_id;
    // A graded cell may have several tests, each for some of the holes before it: one of them must name this hole.
    bool tested = false;
    bool named = false;
    std::string complaint;
    for (const Test& test : tests) {
      if (!test.graded || std::find(test.holes.begin(), test.holes.end(), hole.grade_id) == test.holes.end()) continue;
      tested = true;
      const std::string found = complaint_about(
          run, test, [&](const TestOutcome& outcome) { return mentions(outcome, hole.message()); });
      named = named || found.empty();
      if (complaint.empty()) complaint = found;
    }
    if (!named) proofs[i].complaint = complaint;
    if (named && !run.finished) proofs[i].complaint = "the test program does not survive it: " + run.problem;
    if (!tested) proofs[i].complaint = "no graded test follows this hole";
  });
  return proofs;
}

namespace {

// The holes that are empty when the first `filled` of the module are not.
std::string unfilled(const Module& module, std::size_t filled) {
  std::string variant;
  for (std::size_t i = filled; i < module.holes.size(); ++i) variant += (variant.empty() ? "" : ",") + module.holes[i].grade_id;
  return variant;
}

// The first graded test that fails and names no empty exercise.
std::string unexplained_failure(const TestRun& run, const std::vector<Test>& tests, const Module& module) {
  for (const Test& test : tests) {
    if (!test.graded) continue;
    const TestOutcome* outcome = run.find(test.name);
    if (outcome == nullptr) return fmt::format("the test \"{}\" was not reached: {}", test.name, run.problem);
    if (!outcome->passed && !mentions_any_hole(*outcome, module)) {
      return fmt::format("the test \"{}\" fails without naming an exercise:\n{}", test.name, describe(*outcome));
    }
  }
  return "";
}

bool is_told(const std::vector<KnownMistake>& recognized, const Mistake& mistake) {
  return std::any_of(recognized.begin(), recognized.end(), [&](const KnownMistake& other) { return other.says == mistake.says; });
}

// What a learner is told whose tests end as `run` did. Times and threads make a mistake look different from run to run: it may be made again, and where
// the runs fail differently the learner may be told nothing, but not the sentence of another mistake.
std::string complaint_about_sentence(const StageBuild& build, const Module& module, const Mistake& mistake,
                                     const std::vector<KnownMistake>& known, TestRun run) {
  constexpr int tries = 3;
  const std::vector<FailedCheck> first = signature_of(run);
  bool fails_alike = true;
  for (int i = 1;; ++i) {
    const std::vector<KnownMistake> recognized = recognize(known, run, module);
    if (is_told(recognized, mistake)) return "";
    if (i == tries) {
      if (recognized.empty() && !fails_alike) return "";
      return "a learner who makes it is told: " + (recognized.empty() ? "nothing" : sentences_of(recognized));
    }
    run = run_variant(build, module, mistake.id());
    fails_alike = fails_alike && signature_of(run) == first;
  }
}

}  // namespace

std::vector<Proof> prove_journey(const StageBuild& build, const Module& module) {
  std::vector<Proof> proofs(module.holes.size() + 1);
  const std::vector<Test>& tests = build.student_copy_of(module).tests;
  in_parallel(proofs.size(), module.folder() + ": journey", [&](std::size_t filled) {
    const TestRun run = run_variant(build, module, unfilled(module, filled));
    proofs[filled].name = fmt::format("{} with {} of {} exercises", module.folder(), filled, module.holes.size());
    proofs[filled].complaint = unexplained_failure(run, tests, module);
  });
  return proofs;
}

std::vector<Proof> prove_recognition(const StageBuild& build, const Module& module, const std::vector<KnownMistake>& known) {
  std::vector<Proof> proofs(module.mistakes.size());
  in_parallel(proofs.size(), module.folder() + ": recognition", [&](std::size_t i) {
    const Mistake& mistake = module.mistakes[i];
    proofs[i].name = mistake.id();
    const auto hole = std::find_if(module.holes.begin(), module.holes.end(), [&](const Hole& other) { return other.grade_id == mistake.grade_id; });
    const auto filled = static_cast<std::size_t>(hole - module.holes.begin()) + 1;
    const std::string rest = unfilled(module, filled);
    const TestRun run = run_variant(build, module, mistake.id() + (rest.empty() ? "" : "," + rest));
    const std::vector<KnownMistake> recognized = recognize(known, run, module);
    if (!recognized.empty() && !is_told(recognized, mistake)) {
      proofs[i].complaint = "a learner who makes it with the rest still empty is told: " + sentences_of(recognized);
    }
  });
  return proofs;
}

namespace {

// What the mistake makes fail in each of several runs.
std::vector<FailedCheck> lasting_signature(const StageBuild& build, const Module& module, const Mistake& mistake, const TestRun& run) {
  constexpr int more_runs = 2;
  std::vector<FailedCheck> signature = signature_of(run);
  for (int i = 0; i < more_runs; ++i) signature = in_common(signature, signature_of(run_variant(build, module, mistake.id())));
  return signature;
}

}  // namespace

MistakeTrial try_mistakes(const StageBuild& build, const Module& module, const std::vector<KnownMistake>& known) {
  MistakeTrial trial;
  trial.mistakes.resize(module.mistakes.size());
  trial.proofs.resize(module.mistakes.size());
  in_parallel(module.mistakes.size(), module.folder() + ": mistakes", [&](std::size_t i) {
    const Mistake& mistake = module.mistakes[i];
    const TestRun run = run_variant(build, module, mistake.id());
    const bool recording = known.empty();
    trial.mistakes[i] = KnownMistake{mistake.id(), mistake.says, recording ? lasting_signature(build, module, mistake, run) : signature_of(run)};
    trial.proofs[i].name = mistake.id();
    if (run.tests.empty()) {
      trial.proofs[i].complaint = "the tests do not start with it: " + run.problem + "\n" + run.output;
    } else if (run.ok()) {
      trial.proofs[i].complaint = "no test that a student has catches it";
    } else if (!recording) {
      trial.proofs[i].complaint = complaint_about_sentence(build, module, mistake, known, run);
    }
  });
  return trial;
}

}  // namespace tito
