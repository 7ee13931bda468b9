// Grading many submissions, on every processor, so that a stop loses only what was under way.
#pragma once

#include <vector>

#include "grade/grader.h"

namespace tito {

struct BatchResult {
  std::string name;   // of the submission
  Grade grade;
  bool kept = false;  // its grade was there already
  std::string error;  // why there is none: the file cannot be read
};

// With `folder`, each grade is written to folder/NAME.json when it is known, and what stands there for the same text is kept.
std::vector<BatchResult> grade_files(const Grader& grader, const std::vector<fs::path>& files, const fs::path& folder);

}  // namespace tito
