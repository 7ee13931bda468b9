// The submissions that every change of grading is tried on: right, wrong, hard-coded, untouched, with a syntax error, with a
// crash, with an endless loop, with changed tests.
#pragma once

#include <string>
#include <vector>

#include "build/exercises.h"
#include "build/stage_build.h"

namespace tito {

// The text of each, by name, made from the reference and its known mistakes. tests/hard_coded/GRADE_ID.txt has a body that knows
// the visible tests' answers.
std::vector<std::pair<std::string, std::string>> eight_submissions(const Module& module, const fs::path& tests);

// Grades them, and compares with the scores in tests/expected.json and with what each must show.
std::vector<Proof> prove_grading(const StageBuild& build, const Module& module, const fs::path& tests);
// Writes the scores there.
void record_eight(const StageBuild& build, const Module& module, const fs::path& tests);

// Submissions that try the network, other files, the gradebook and many processes: in the sandbox each is refused, and without
// it each succeeds, which shows that they try. `module` is 00.
std::vector<Proof> prove_isolation(const StageBuild& build, const Module& module);
// Submissions that write the tests' report themselves, every test passed: they get nothing, and full points where reports are not
// sealed. `module` is 00.
std::vector<Proof> prove_reports(const StageBuild& build, const Module& module);
// Why this machine cannot try isolation; empty where it can.
std::string why_no_isolation(const StageBuild& build, const Module& module);

}  // namespace tito
