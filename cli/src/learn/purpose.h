// What a test is for, in a sentence or some: learners read it when it fails.
#pragma once

#include <string>

#include "format/module.h"

namespace tito {

// The comment above the test; without one the contract of the exercise that it tests; without that the prose in front of it.
// Empty when there is none of them.
std::string purpose_of(const Module& module, const Test& test);

}  // namespace tito
