// Whether what a student gets has something in it that is the instructor's: searched by content.
#pragma once

#include <string_view>
#include <vector>

#include "format/lint.h"

namespace tito {

// `given` are the cells that a student gets of the module, `what` says in which form ("copy", "notebook"). A solution, a hidden test and the answer
// of an explain exercise are found as a whole wherever they stand; in prose, comments, tests and examples also in part: two lines that follow
// one another, or one long statement. Exported code beside the exercises, and the faulty program of a debug exercise, may share lines with a solution.
std::vector<Finding> find_leaks(const Module& module, const std::vector<Cell>& given, std::string_view what);

}  // namespace tito
