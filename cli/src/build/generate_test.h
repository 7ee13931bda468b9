// That the program behind `tito generate` writes what the library that made a model writes, and says in a sentence what is wrong.
#pragma once

#include <vector>

#include "build/exercises.h"

namespace tito {

// Runs `program` as tests/generate/cases.json says, on the recorded model of tests/golden/pretrained.json, which is written into `folder`. A case has
//   "name", "arguments"          {model} stands for the folder of the model
//   "without"                    a file that is taken out of that folder
//   "hex" or "text"              what is printed, or
//   "error"                      how what it says begins, with {model} as above; the exit status is then 1, and nothing is printed
//   "repeats"                    instead of these: twice the same, and something else with the arguments in "other"
std::vector<Proof> prove_generate(const fs::path& root, const fs::path& program, const fs::path& folder);

}  // namespace tito
