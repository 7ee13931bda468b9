// Grading a submission without Jupyter: its answers are put into the instructor's module, what they touch is compiled against
// the stage's package, and every graded test runs with limits, in the sandbox.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "build/known_mistakes.h"
#include "build/stage_build.h"
#include "grade/sandbox.h"
#include "grade/submission.h"

namespace tito {

// What submissions are compiled against: the package of the module's stage, as students have it, or the whole course's library, which is built for
// other purposes anyway.
StageOptions at_own_stage(const Module& module);
StageOptions in_front_of_library(const fs::path& library);

struct GradedCell {
  std::string grade_id;
  double points = 0;
  bool passed = false;
  std::string text;  // what failed, or which ratio was not reached, for its author; empty when it passed
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
  bool sealed_reports = true;  // false shows what they are for
};

class Grader {
 public:
  // `folder` is the grader's own, for one module. Throws std::runtime_error when the course's own module does not compile.
  Grader(const StageBuild& build, const Module& module, Sandbox sandbox, fs::path folder, GradingLimits limits = {});

  // May be called from several threads. Throws std::runtime_error when the machine, not the submission, is at fault: then there
  // is no grade.
  Grade grade(const Submission& submission) const;
  // Also by the visible tests alone.
  std::pair<Grade, Grade> grade_also_visible(const Submission& submission) const;
  // Submissions with the same text get the same grade.
  std::string fingerprint(const Submission& submission) const;
  const Module& module() const { return module_; }

 private:
  struct Attempt;
  class Scratch;
  class Work;

  void write_headers();
  void precompile() const;
  void compile_course();
  Command compile_command(const std::string& source, const std::string& object, const std::vector<std::string>& includes, bool behind_all) const;
  std::vector<Command> build_commands(const Attempt& attempt, bool together) const;
  std::optional<ProcessResult> first_failure(const Attempt& attempt, const std::vector<Command>& commands) const;
  bool try_to_build(AnswerSheet& sheet, Attempt& attempt) const;
  void blame(AnswerSheet& sheet, const Attempt& attempt, const std::string& output) const;
  TestRun run_tests_of(const AnswerSheet& sheet, const Attempt& attempt, bool hidden_tests) const;
  Grade outcome(const Work& work, bool hidden_tests) const;
  std::string relative(const fs::path& path) const { return fs::relative(path, build_.root()).string(); }
  ProcessResult compile(const Command& command, const fs::path& folder) const;

  const StageBuild& build_;
  const Module& module_;
  Sandbox sandbox_;
  fs::path folder_;
  fs::path shared_;                     // has headers that no answer changes, and one that includes them all, precompiled
  std::set<std::string> same_for_all_;  // these
  GradingLimits limits_;
  std::vector<KnownMistake> known_;
  std::map<std::string, std::string> course_sources_;  // the module's, with their objects
  std::vector<GeneratedFile> course_units_;            // its tests
  std::vector<std::string> course_tests_;              // their objects
  bool together_ = true;                               // the module compiles behind all headers
};

// {"score": 12, "points": 40, "answers": [...], "cells": [...], "mistakes": [...]}
nlohmann::ordered_json json_of(const Grade& grade);
Grade grade_of(const nlohmann::json& json);

}  // namespace tito
