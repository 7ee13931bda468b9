// The test programs' sources: a module's tests and demonstrations in units of about 25.
#pragma once

#include <vector>

#include "format/export.h"

namespace tito {

// Paths are "05_autograd/tests_1.cpp", ... Each unit includes what the module exports (headers) and its unmarked
// includes, then has the lesson code in an unnamed namespace, then the tests. `bodies` concerns holes in lesson code.
std::vector<GeneratedFile> test_units(const Module& module, bool with_hidden, Bodies bodies = Bodies::Reference);

}  // namespace tito
