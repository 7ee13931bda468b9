// The dtype of the result for every pair of dtypes, against PyTorch's.
#include <sstream>

#include "package/recorded.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

constexpr ScalarType dtypes[] = {kDouble, kFloat, kLong, kInt, kShort, kChar, kByte, kBool, kHalf, kBFloat16};  // the order of the file

using Binary = Tensor (*)(const Tensor&, const Tensor&);

const std::map<std::string, Binary>& operators() {
  static const std::map<std::string, Binary> table{
      {"add", [](const Tensor& x, const Tensor& y) { return x + y; }},
      {"sub", [](const Tensor& x, const Tensor& y) { return x - y; }},
      {"mul", [](const Tensor& x, const Tensor& y) { return x * y; }},
      {"div", [](const Tensor& x, const Tensor& y) { return x / y; }},
      {"pow", [](const Tensor& x, const Tensor& y) { return pow(x, y); }},
      {"remainder", [](const Tensor& x, const Tensor& y) { return remainder(x, y); }},
      {"maximum", [](const Tensor& x, const Tensor& y) { return maximum(x, y); }},
      {"eq", [](const Tensor& x, const Tensor& y) { return x == y; }},
      {"logical_and", [](const Tensor& x, const Tensor& y) { return logical_and(x, y); }},
      {"bitwise_and", [](const Tensor& x, const Tensor& y) { return x & y; }},
      {"where", [](const Tensor& x, const Tensor& y) { return where(x > 0, x, y); }},
      {"cat", [](const Tensor& x, const Tensor& y) { return cat({x.reshape(1), y.reshape(1)}); }},
  };
  return table;
}

const std::map<std::string, Tensor (*)(const Tensor&, const Scalar&)>& operators_with_number() {
  static const std::map<std::string, Tensor (*)(const Tensor&, const Scalar&)> table{
      {"add", [](const Tensor& x, const Scalar& y) { return x + y; }},
      {"sub", [](const Tensor& x, const Scalar& y) { return x - y; }},
      {"mul", [](const Tensor& x, const Scalar& y) { return x * y; }},
      {"div", [](const Tensor& x, const Scalar& y) { return x / y; }},
      {"pow", [](const Tensor& x, const Scalar& y) { return x.pow(y); }},
      {"remainder", [](const Tensor& x, const Scalar& y) { return remainder(x, y); }},
      {"eq", [](const Tensor& x, const Scalar& y) { return x == y; }},
  };
  return table;
}

template <class Function>
std::string dtype_or_refusal(const Function& function) {
  try {
    return toString(function().scalar_type());
  } catch (const Error&) {
    return "-";
  }
}

Tensor ones_of(ScalarType type, bool scalar) { return ones(scalar ? DimVector() : DimVector{1}, type); }

std::string results_of(const std::string& name, const std::string& form, ScalarType left) {
  std::ostringstream row;
  if (form == "1-d with a number") {
    for (const Scalar& number : {Scalar(true), Scalar(1), Scalar(1.0)})
      row << dtype_or_refusal([&] { return operators_with_number().at(name)(ones_of(left, false), number); }) << ' ';
  } else {
    for (const ScalarType right : dtypes)
      row << dtype_or_refusal([&] {
        return operators().at(name)(ones_of(left, form == "0-d with 1-d"), ones_of(right, form == "1-d with 0-d"));
      }) << ' ';
  }
  const std::string text = row.str();
  return text.substr(0, text.size() - 1);
}

}  // namespace

TEST_CASE("results of two dtypes have PyTorch's dtype") {
  for (const auto& recorded : recorded_promotion()) {
    const auto& key = recorded.first;
    const auto& rows = recorded.second;
    const std::size_t comma = key.find(", ");
    for (std::size_t left = 0; left < rows.size(); ++left) {
      if (key.starts_with("remainder") && dtypes[left] == kBool) continue;  // two bools: PyTorch has no kernel, we do
      const std::string mine = results_of(key.substr(0, comma), key.substr(comma + 2), dtypes[left]);
      CHECK_MESSAGE(mine == rows[left], key, ", left operand ", std::string(toString(dtypes[left])), ": ", mine, " where PyTorch gives ", rows[left]);
    }
  }
}

}  // namespace tinytorch::testing
