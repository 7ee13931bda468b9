// The hints of an exercise, one at a time.
#pragma once

#include <string>
#include <vector>

#include "build/known_mistakes.h"
#include "format/module.h"
#include "learn/workspace.h"

namespace tito {

// From the scaffold above the function, in this order: each numbered step of the APPROACH, the EXAMPLE, the HINTs; then
// the sentences that belong to mistakes that others made in it.
std::vector<std::string> hints_of(const Module& module, const Hole& hole, const std::vector<KnownMistake>& mistakes);

// Which hint of so many comes next, from 1 on, and whether it was shown before since there are no more; notes that it was shown.
struct NextHint {
  std::size_t number;
  bool again;
};
NextHint next_hint(const Workspace& workspace, const std::string& folder, const Hole& hole, std::size_t count);

}  // namespace tito
