// That milestones open, and that their gates close when a module under them is wrong.
#pragma once

#include <vector>

#include "build/exercises.h"
#include "learn/milestones.h"

namespace tito {

// With the instrumented package: the program passes its gate; and of the known mistakes of each module that the milestone
// rests on, at least one closes it.
std::vector<Proof> prove_milestone(const StageBuild& build, const Milestone& milestone);

}  // namespace tito
