// The results of every row against PyTorch's.
#include <cmath>
#include <map>
#include <set>

#include "package/recorded.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

bool lists(std::string_view words, const std::string& word) {
  return (" " + std::string(words) + " ").find(" " + word + " ") != std::string::npos;
}

// What a row says of Int holds for the smaller integers.
std::string as_said_in_rows(const std::string& variant) { return variant == "Short" || variant == "Char" ? "Int" : variant; }

// That PyTorch was not compiled with a kernel for these dtypes is no rule to follow.
bool lacks_kernel(const std::string& variant, const std::string& error) {
  const bool small = variant == "Half" || variant == "BFloat16" || variant == "Short" || variant == "Char";
  return small && error.find("not implemented for '" + variant + "'") != std::string::npos;
}

// PyTorch's sentence without the name in front of it, "mm: " or "split(): ", which comes and goes with its versions.
std::string without_name(const std::string& sentence) {
  const std::size_t colon = sentence.find(": ");
  return colon != std::string::npos && sentence.find(' ') > colon ? sentence.substr(colon + 2) : sentence;
}

// Rows that refuse a dtype for the same reason as PyTorch, in another sentence.
const std::map<std::string_view, std::string_view> other_words{
    {"clamp_", "C++'s name of the dtype, which other forms in place do not use"},
    {"hinge_embedding_loss", "of two bools, or of one"},
    {"hinge_embedding_loss.none", "of two bools, or of one"},
    {"scaled_dot_product_attention.may_look", "PyTorch stumbles when it writes -inf into integers"},
    {"affine_grid_generator", "Python's name of the dtype"},
    {"affine_grid_generator.volume", "Python's name of the dtype"},
    {"embedding_renorm_", "the norm's sentence, as it is elsewhere"},
    {"histc", "PyTorch first converts a negative bound to the dtype"},
    {"dist", "the norm's sentence, as it is elsewhere"},
    {"linalg_pinv", "the sentence of other functions of matrices"},
    {"linalg_matrix_rank", "the sentence of other functions of matrices"},
    {"linalg_lstsq", "the sentence of other functions of matrices"},
    {"linalg_lstsq.residuals", "the sentence of other functions of matrices"},
    {"linalg_lstsq.batch", "the sentence of other functions of matrices"},
};

std::string why_not_refused(const OperatorCase& row, const Outcome& expected, const std::string& variant, const std::string& message) {
  if (variant == "0-d" || variant == "empty") return "";  // whichever check comes first
  const bool as_recorded = variant == "Double";
  // PyTorch names kernels there, and which of them it comes to first is its own affair.
  if (!as_recorded && (other_words.contains(row.name) || expected.error.find("not implemented for") != std::string::npos)) return "";
  const std::string sentence = row.options.says.empty() || !as_recorded ? without_name(expected.error) : std::string(row.options.says);
  return without_name(message).starts_with(sentence) ? "" : "says \"" + message + "\" where PyTorch says \"" + sentence + "\"";
}

double largest(const Tensor& values) {
  const Tensor sizes = values.to(kDouble).abs().flatten();
  const Tensor finite = sizes.index({sizes.isfinite()});
  return finite.numel() == 0 ? 0 : finite.max().item<double>();
}

struct Tolerance {
  double relative;
  double absolute;
};

// In half precision both sides round float32 results that may differ in their last digit, and PyTorch rounds in the middle of some functions too.
Tolerance tolerance_of(const OperatorCase& row, const Tensor& expected) {
  switch (expected.scalar_type()) {
    case kFloat: return {row.options.float_rtol, 1e-6};
    case kHalf: return {std::ldexp(1, -10), std::ldexp(largest(expected), -10)};
    case kBFloat16: return {std::ldexp(1, -7), std::ldexp(largest(expected), -7)};
    default: return {1e-12, 1e-13};
  }
}

std::string why_not_equal(const OperatorCase& row, const Outcome& expected, const Results& results) {
  if (results.size() != expected.tensors.size()) return "another number of results";
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Tolerance allowed = tolerance_of(row, expected.tensors[i]);
    const std::string complaint = tito::why_not_close(results[i].detach(), expected.tensors[i], allowed.relative, allowed.absolute);
    if (!complaint.empty()) return "result " + std::to_string(i) + ": " + complaint;
  }
  return "";
}

// What keeps a row from giving what PyTorch gives for one variant of its inputs; empty when nothing does.
std::string complaint_about(const OperatorCase& row, const std::string& variant) {
  const Recorded& of = recorded(row.name);
  const auto expected = of.outcomes.find(variant);
  if (expected == of.outcomes.end() || lists(row.options.leaves_out, as_said_in_rows(variant))) return "";
  const Inputs inputs = inputs_of(of, variant);
  manual_seed(7);
  try {
    const Results results = row.call(inputs);
    if (!expected->second.error.empty()) {
      const bool takes = lists(row.options.also_takes, as_said_in_rows(variant)) || lacks_kernel(variant, expected->second.error);
      return takes ? "" : "no error, but PyTorch says \"" + expected->second.error + "\"";
    }
    return why_not_equal(row, expected->second, results);
  } catch (const Error& error) {
    const std::string message = error.what_without_backtrace();
    if (expected->second.error.empty()) return "refused: " + message;
    return why_not_refused(row, expected->second, variant, message);
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
TEST_CASE("operators give PyTorch's results and errors for float32") { check_variant("Float"); }
TEST_CASE("operators give PyTorch's results and errors for float16") { check_variant("Half"); }
TEST_CASE("operators give PyTorch's results and errors for bfloat16") { check_variant("BFloat16"); }
TEST_CASE("operators give PyTorch's results and errors for int64") { check_variant("Long"); }
TEST_CASE("operators give PyTorch's results and errors for int32") { check_variant("Int"); }
TEST_CASE("operators give PyTorch's results and errors for int16") { check_variant("Short"); }
TEST_CASE("operators give PyTorch's results and errors for int8") { check_variant("Char"); }
TEST_CASE("operators give PyTorch's results and errors for uint8") { check_variant("Byte"); }
TEST_CASE("operators give PyTorch's results and errors for bool") { check_variant("Bool"); }
TEST_CASE("operators give PyTorch's results for 0-d tensors") { check_variant("0-d"); }
TEST_CASE("operators give PyTorch's results for empty tensors") { check_variant("empty"); }

}  // namespace tinytorch::testing
