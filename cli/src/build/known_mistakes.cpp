#include "build/known_mistakes.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace tito {
namespace {

constexpr std::size_t recorded_checks = 5;
constexpr std::size_t recorded_value_length = 200;
constexpr std::string_view varying = "(differs from run to run)";  // recorded in place of values such as times

using OrderedJson = nlohmann::ordered_json;

bool same_check(const FailedCheck& left, const FailedCheck& right) {
  return left.test == right.test && left.check == right.check;
}

bool same_failure(const FailedCheck& recorded, const FailedCheck& failure) {
  return same_check(recorded, failure) && (recorded.values == varying || recorded.values == failure.values);
}

// The tests that stopped at an empty exercise.
std::set<std::string> waiting_tests(const TestRun& run, const Module& module) {
  std::set<std::string> names;
  for (const TestOutcome& test : run.tests) {
    for (const TestFailure& failure : test.failures) {
      for (const Hole& hole : module.holes) {
        if (failure.values.find(hole.message()) != std::string::npos) names.insert(test.name);
      }
    }
  }
  return names;
}

// How well the failures fit a mistake: the recorded checks that failed with the same values; 0 when one of them did not
// fail at all, though its test came that far. A crash may fail to come: what lies at a wrong address depends on what else is in the program.
std::size_t fit(const KnownMistake& mistake, const std::vector<FailedCheck>& failures, const std::set<std::string>& waiting) {
  std::size_t same_values = 0;
  for (const FailedCheck& recorded : mistake.signature) {
    bool failed = recorded.check == "crashed" || waiting.contains(recorded.test);
    for (const FailedCheck& failure : failures) {
      if (!same_check(recorded, failure)) continue;
      failed = true;
      if (!same_failure(recorded, failure)) continue;
      ++same_values;
      break;
    }
    if (!failed) return 0;
  }
  return same_values;
}

// What failed, without the places in generated files that an Error names: they lie elsewhere in a learner's workspace.
std::vector<FailedCheck> failures_of(const TestRun& run) {
  std::vector<FailedCheck> out;
  for (const TestOutcome& test : run.tests) {
    for (const TestFailure& failure : test.failures) {
      const std::string shown = failure.values.substr(0, failure.values.find("\nException raised from "));
      std::string values = shown + (failure.difference.empty() ? "" : "; " + failure.difference);
      values.resize(std::min(values.size(), recorded_value_length));
      out.push_back({test.name, failure.check.empty() ? failure.kind : failure.check, values});
    }
  }
  return out;
}

}  // namespace

std::vector<FailedCheck> signature_of(const TestRun& run) {
  std::vector<FailedCheck> checks = failures_of(run);
  checks.resize(std::min(checks.size(), recorded_checks));
  return checks;
}

std::vector<FailedCheck> in_common(const std::vector<FailedCheck>& signature, const std::vector<FailedCheck>& other) {
  std::vector<FailedCheck> out;
  for (FailedCheck check : signature) {
    const auto any = [&](const auto& alike) { return std::any_of(other.begin(), other.end(), [&](const FailedCheck& failure) { return alike(check, failure); }); };
    if (!any(same_check)) continue;
    if (!any(same_failure)) check.values = varying;
    out.push_back(check);
  }
  return out;
}

fs::path mistakes_file(const Module& module) { return module.file.parent_path() / "mistakes.json"; }

std::vector<KnownMistake> read_known_mistakes(const fs::path& file) {
  std::ifstream in(file);
  if (!in) return {};
  try {
    std::vector<KnownMistake> out;
    for (const nlohmann::json& entry : nlohmann::json::parse(in)) {
      KnownMistake mistake{entry.at("mistake"), entry.at("says"), {}};
      for (const nlohmann::json& check : entry.at("fails")) {
        mistake.signature.push_back({check.at("test"), check.at("check"), check.at("values")});
      }
      out.push_back(mistake);
    }
    return out;
  } catch (const nlohmann::json::exception& error) {
    throw Diagnostic(file, 1, std::string("not what `tito mistakes` writes: ") + error.what());
  }
}

std::string text_of(const std::vector<KnownMistake>& mistakes) {
  OrderedJson out = OrderedJson::array();
  for (const KnownMistake& mistake : mistakes) {
    OrderedJson fails = OrderedJson::array();
    for (const FailedCheck& check : mistake.signature) {
      fails.push_back({{"test", check.test}, {"check", check.check}, {"values", check.values}});
    }
    out.push_back({{"mistake", mistake.id}, {"says", mistake.says}, {"fails", fails}});
  }
  return out.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

namespace {
bool share_a_check(const std::vector<FailedCheck>& left, const std::vector<FailedCheck>& right) {
  if (left.empty() || right.empty()) return left.empty() && right.empty();
  return std::any_of(left.begin(), left.end(), [&](const FailedCheck& check) {
    return std::any_of(right.begin(), right.end(), [&](const FailedCheck& other) { return same_check(check, other); });
  });
}
}  // namespace

bool same_signatures(const std::vector<KnownMistake>& left, const std::vector<KnownMistake>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const KnownMistake& a, const KnownMistake& b) {
    return a.id == b.id && a.says == b.says && share_a_check(a.signature, b.signature);
  });
}

std::vector<KnownMistake> recognize(const std::vector<KnownMistake>& known, const TestRun& run, const Module& module) {
  const std::set<std::string> waiting = waiting_tests(run, module);
  const std::vector<FailedCheck> failures = failures_of(run);
  const std::vector<FailedCheck> first = signature_of(run);
  std::vector<KnownMistake> best;
  std::size_t best_fit = 0;
  for (const KnownMistake& mistake : known) {
    std::size_t found = fit(mistake, failures, waiting);
    const bool nothing_else = std::equal(mistake.signature.begin(), mistake.signature.end(), first.begin(), first.end(), same_failure);
    if (found > 0 && nothing_else) found += recorded_checks;  // before or between
    if (found > best_fit) best.clear();
    if (found > 0 && found >= best_fit) best.push_back(mistake);
    best_fit = std::max(best_fit, found);
  }
  return best;
}

std::string sentences_of(const std::vector<KnownMistake>& mistakes) {
  std::string text;
  for (const KnownMistake& mistake : mistakes) {
    if (text.find(mistake.says) == std::string::npos) text += (text.empty() ? "" : " Or: ") + mistake.says;
  }
  return text;
}

}  // namespace tito
