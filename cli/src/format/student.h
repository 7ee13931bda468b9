// The student's copy of a module: holes instead of solutions, no mistakes, no hidden tests.
#pragma once

#include <string>

#include "format/module.h"

namespace tito {

// With `hidden_tests`, what a grader puts answers into.
std::string student_copy(const Module& module, bool hidden_tests = false);

}  // namespace tito
