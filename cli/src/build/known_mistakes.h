// What each known mistake of a module does to its tests, as recorded in mistakes.json beside the module, and the
// sentence for a learner whose tests fail in the same way.
#pragma once

#include <string>
#include <vector>

#include "build/test_program.h"
#include "format/module.h"

namespace tito {

struct FailedCheck {
  std::string test;
  std::string check;
  std::string values;

  bool operator==(const FailedCheck&) const = default;
};

struct KnownMistake {
  std::string id;    // "05-reduce-to/drops-kept-dims"
  std::string says;  // the sentence that helps
  std::vector<FailedCheck> signature;
};

// The first failed checks of a run, in its order.
std::vector<FailedCheck> signature_of(const TestRun& run);

// Of `signature`, the checks that `other` has too. Where their values differ, as times do, the result has a mark that stands for any.
std::vector<FailedCheck> in_common(const std::vector<FailedCheck>& signature, const std::vector<FailedCheck>& other);

fs::path mistakes_file(const Module& module);
// Empty when there is no file. Throws Diagnostic when it cannot be read.
std::vector<KnownMistake> read_known_mistakes(const fs::path& file);
std::string text_of(const std::vector<KnownMistake>& mistakes);

// Same mistakes and sentences, and at least one failed check of each in common: with threads, which checks fail differs
// from run to run, and values may differ in their last digits from machine to machine.
bool same_signatures(const std::vector<KnownMistake>& left, const std::vector<KnownMistake>& right);

// The mistakes whose signature the run shows best: none when none fits, more than one when they show in the same way.
// Tests that only wait for an empty exercise of `module` say nothing for or against.
std::vector<KnownMistake> recognize(const std::vector<KnownMistake>& known, const TestRun& run, const Module& module);

// Their sentences; each once.
std::string sentences_of(const std::vector<KnownMistake>& mistakes);

}  // namespace tito
