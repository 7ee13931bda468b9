// The student's copy of a module: holes instead of solutions, no mistakes, no hidden tests.
#pragma once

#include <string>

#include "format/module.h"

namespace tito {

std::string student_copy(const Module& module);

}  // namespace tito
