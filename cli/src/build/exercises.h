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

// A learner who fills one hole after the other, in the module's order: at each step a graded test passes, or names an
// exercise that is still empty; in the end all pass.
std::vector<Proof> prove_journey(const StageBuild& build, const Module& module);

// A learner who makes each known mistake while what comes later is still empty. Fewer tests come far enough to show it then: they
// may be told nothing, and never the sentence of another mistake.
std::vector<Proof> prove_recognition(const StageBuild& build, const Module& module, const std::vector<KnownMistake>& known);

struct MistakeTrial {
  std::vector<KnownMistake> mistakes;
  std::vector<Proof> proofs;
};

// Each mistake in place of its solution, when all else is done: a test that a student has must fail. With what is `known` of the
// module's mistakes, the learner who makes it must be told its sentence, or nothing if it fails differently from run to run.
MistakeTrial try_mistakes(const StageBuild& build, const Module& module, const std::vector<KnownMistake>& known = {});

}  // namespace tito
