// That milestones open, and that their gates close when a module under them is wrong.
#pragma once

#include <vector>

#include "build/exercises.h"
#include "learn/milestones.h"

namespace tito {

// The program as a stage's build makes it for the proof: with the modules of the mistakes in `closed_by` instrumented and the others
// optimized, or, where the milestone names whole modules, with all of them instrumented.
Program program_to_prove(const Milestone& milestone);

// The program passes its gate; of the known mistakes of each module that the milestone rests on, at least one closes it; and so does
// the first mistake in `closed_by`. REQUIRES: built with program_to_prove() and `variants`.
std::vector<Proof> prove_milestone(const StageBuild& build, const Milestone& milestone);

// Every mistake in `closed_by` but the first closes the gate. REQUIRES: there is one at least.
std::vector<Proof> prove_further_mistakes(const StageBuild& build, const Milestone& milestone);

}  // namespace tito
