// Grading a submission without Jupyter: its answers are put into the instructor's module, what they touch is compiled against
// the stage's package, and every graded test runs with limits, in the sandbox.
#pragma once

#include <atomic>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "build/known_mistakes.h"
#include "build/stage_build.h"
#include "grade/sandbox.h"
#include "grade/submission.h"

namespace tito {

struct GradedCell {
  std::string grade_id;
  double points = 0;
  bool passed = false;
  std::string text;  // what failed, for its author; empty when it passed
};

struct Grade {
  std::vector<Answer> answers;
  std::vector<GradedCell> cells;       // what programs test, in the module's order
  std::vector<KnownMistake> mistakes;  // that the failures look like
  double by_hand = 0;                  // points of what people grade
  double seconds = 0;

  double score() const;
  double points() const;  // that tests can give
};

struct GradingLimits {
  double seconds_per_test = 10;
  double seconds = 300;  // for all tests of a submission
  double compile_seconds = 180;
  std::size_t memory_bytes = std::size_t{4} << 30;
  bool hidden_tests = true;
  bool sealed_reports = true;  // false shows what they are for
};

class Grader {
 public:
  // `build` has the tests of `module`; `folder` is the grader's own, for one module. Throws std::runtime_error when the
  // reference itself does not compile.
  Grader(const StageBuild& build, const Module& module, Sandbox sandbox, fs::path folder, GradingLimits limits = {});

  // May be called from several threads. Throws std::runtime_error when the machine, not the submission, is at fault: then there
  // is no grade.
  Grade grade(const Submission& submission) const;
  // Submissions with the same text get the same grade.
  std::string fingerprint(const Submission& submission) const;
  const Module& module() const { return module_; }

 private:
  struct Attempt;

  void write_headers();
  void precompile() const;
  std::vector<Command> build_commands(const Attempt& attempt, bool together) const;
  std::optional<ProcessResult> first_failure(const Attempt& attempt, bool together) const;
  bool try_to_build(AnswerSheet& sheet, Attempt& attempt) const;
  void blame(AnswerSheet& sheet, const Attempt& attempt, const std::string& output) const;
  TestRun run_tests_of(const AnswerSheet& sheet, const Attempt& attempt) const;
  std::string relative(const fs::path& path) const { return fs::relative(path, build_.root()).string(); }
  ProcessResult compile(const Command& command, const fs::path& folder) const;

  const StageBuild& build_;
  const Module& module_;
  Sandbox sandbox_;
  fs::path folder_;
  std::set<std::string> same_for_all_;  // the package's headers that no answer changes
  fs::path headers_;                    // has these
  fs::path precompiled_;                // includes them all
  GradingLimits limits_;
  std::vector<KnownMistake> known_;
  mutable std::atomic<bool> together_ = true;  // answers compile in one unit behind all headers
};

// {"score": 12, "points": 40, "answers": [...], "cells": [...], "mistakes": [...]}
nlohmann::ordered_json json_of(const Grade& grade);
Grade grade_of(const nlohmann::json& json);

}  // namespace tito
