// The results of every row against PyTorch's.
#include <set>

#include "package/recorded.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

bool lists(std::string_view words, const std::string& word) {
  return (" " + std::string(words) + " ").find(" " + word + " ") != std::string::npos;
}

// PyTorch's sentence without the name in front of it, "mm: " or "split(): ", which comes and goes with its versions.
std::string without_name(const std::string& sentence) {
  const std::size_t colon = sentence.find(": ");
  return colon != std::string::npos && sentence.find(' ') > colon ? sentence.substr(colon + 2) : sentence;
}

std::string why_not_refused(const OperatorCase& row, const Outcome& expected, const std::string& message, bool compare_text) {
  if (!compare_text) return "";
  const std::string sentence = row.options.says.empty() ? without_name(expected.error) : std::string(row.options.says);
  return without_name(message).starts_with(sentence) ? "" : "says \"" + message + "\" where PyTorch says \"" + sentence + "\"";
}

std::string why_not_equal(const OperatorCase& row, const Outcome& expected, const Results& results) {
  if (results.size() != expected.tensors.size()) return "another number of results";
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bool single = expected.tensors[i].scalar_type() == kFloat;
    const std::string complaint = tito::why_not_close(results[i].detach(), expected.tensors[i],
                                                      single ? row.options.float_rtol : 1e-12, single ? 1e-6 : 1e-13);
    if (!complaint.empty()) return "result " + std::to_string(i) + ": " + complaint;
  }
  return "";
}

// What keeps a row from giving what PyTorch gives for one variant of its inputs; empty when nothing does.
std::string complaint_about(const OperatorCase& row, const std::string& variant) {
  const Recorded& of = recorded(row.name);
  const auto expected = of.outcomes.find(variant);
  if (expected == of.outcomes.end() || lists(row.options.leaves_out, variant)) return "";
  const Inputs inputs = inputs_of(of, variant);
  manual_seed(7);
  try {
    const Results results = row.call(inputs);
    if (!expected->second.error.empty()) {
      return lists(row.options.also_takes, variant) ? "" : "no error, but PyTorch says \"" + expected->second.error + "\"";
    }
    return why_not_equal(row, expected->second, results);
  } catch (const Error& error) {
    const std::string message = error.what_without_backtrace();
    if (expected->second.error.empty()) return "refused: " + message;
    return why_not_refused(row, expected->second, message, variant == "Double");
  }
}

void check_variant(const std::string& variant) {
  std::size_t compared = 0;
  for (const OperatorCase& row : all_cases()) {
    compared += recorded(row.name).outcomes.count(variant);
    const std::string complaint = complaint_about(row, variant);
    CHECK_MESSAGE(complaint.empty(), row.name, " of ", variant, ": ", complaint);
  }
  CHECK(compared > 50);
}

}  // namespace

TEST_CASE("every row is recorded, and every recorded case has a row") {
  std::set<std::string> rows;
  for (const OperatorCase& row : all_cases()) CHECK_MESSAGE(rows.insert(row.name).second, row.name, " has two rows");
  for (const std::string& name : recorded_names()) CHECK_MESSAGE(rows.contains(name), name, " has no row");
  CHECK_EQ(rows.size(), recorded_names().size());
}

TEST_CASE("operators give PyTorch's results and errors for float64") { check_variant("Double"); }
TEST_CASE("operators give PyTorch's results for float32") { check_variant("Float"); }
TEST_CASE("operators give PyTorch's results for int64") { check_variant("Long"); }
TEST_CASE("operators give PyTorch's results for int32") { check_variant("Int"); }
TEST_CASE("operators give PyTorch's results for uint8") { check_variant("Byte"); }
TEST_CASE("operators give PyTorch's results for bool") { check_variant("Bool"); }
TEST_CASE("operators give PyTorch's results for 0-d tensors") { check_variant("0-d"); }
TEST_CASE("operators give PyTorch's results for empty tensors") { check_variant("empty"); }

}  // namespace tinytorch::testing
