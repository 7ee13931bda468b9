// The test programs' sources: a module's tests and demonstrations, in units.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "format/export.h"

namespace tito {

// Paths are "05_autograd/tests_1.cpp", ... Each unit includes what the module exports (headers) and its unmarked
// includes, then has the lesson code in an unnamed namespace, then the tests. `bodies` concerns holes in lesson code.
// Small units are quick to compile again after an edit; one for the whole module is quickest from nothing.
constexpr std::size_t tests_per_unit = 25;
constexpr std::size_t whole_module = std::numeric_limits<std::size_t>::max();
enum class Chosen { AllTests, WithThreads };
std::vector<GeneratedFile> test_units(const Module& module, bool with_hidden, Bodies bodies = Bodies::Reference,
                                      std::size_t per_unit = tests_per_unit, Chosen chosen = Chosen::AllTests);

// Whether a test starts threads: by itself, as a loader's workers, or by saying how many an operator may take.
bool starts_threads(const Module& module, const Test& test);

}  // namespace tito
