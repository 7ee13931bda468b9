// Proofs about a module's exercises: its tests fail by name on what is empty, and catch every known mistake.
#pragma once

#include <string>
#include <vector>

#include "build/known_mistakes.h"
#include "build/stage_build.h"

namespace tito {

// What was found for one hole, mistake or graded test. An empty `complaint` means that it is as it should be.
struct Proof {
  std::string name;
  std::string complaint;
};

// The student's copy, untouched: every graded test fails and names a hole of the module, and the program survives.
// With the reference's bodies, all of its tests pass.
std::vector<Proof> prove_student_copy(const StageBuild& build, const Module& module);

// Each hole alone: of the graded tests that follow it, one fails and names it, and the program survives.
std::vector<Proof> prove_holes(const StageBuild& build, const Module& module);

// A learner who fills one hole after the other, in the module's order, while all later modules are empty: each graded test
// fails and names a hole while the last exercise before it is empty, and passes as soon as that one is filled.
std::vector<Proof> prove_journey(const StageBuild& build, const Module& module);

// A learner who makes each known mistake once, at its place in the module's order, with what comes later still empty: where a
// test shows it, its own sentence is found.
std::vector<Proof> prove_recognition(const StageBuild& build, const Module& module, const std::vector<KnownMistake>& known);

struct MistakeTrial {
  std::vector<KnownMistake> mistakes;
  std::vector<Proof> proofs;
};

// Each mistake in place of its solution: a test that a student has must fail.
MistakeTrial try_mistakes(const StageBuild& build, const Module& module);

}  // namespace tito
