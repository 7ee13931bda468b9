// The hints of an exercise, one at a time.
#pragma once

#include <string>
#include <vector>

#include "build/known_mistakes.h"
#include "format/module.h"

namespace tito {

// From the scaffold above the function, in this order: each numbered step of the APPROACH, the EXAMPLE, the HINTs; then
// the sentences that belong to mistakes that others made in it.
std::vector<std::string> hints_of(const Module& module, const Hole& hole, const std::vector<KnownMistake>& mistakes);

}  // namespace tito
