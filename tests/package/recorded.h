// What PyTorch gave for the cases of the table, read from tests/golden/operators.json.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "package/operator_cases.h"

namespace tinytorch::testing {

// Either tensors or the first sentence of an error.
struct Outcome {
  std::vector<Tensor> tensors;
  std::string error;
};

struct Recorded {
  Inputs inputs;
  // By variant of the inputs: "Double" (as they are), "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool", "0-d", "empty".
  std::map<std::string, Outcome> outcomes;
  // Whether each result lies in the storage of an input.
  std::vector<bool> shares;
  // Of sum(weights * results), for each floating-point input; undefined where there is none. Absent: not differentiable.
  std::optional<std::vector<Tensor>> gradients;
};

// Throws std::runtime_error for an unknown case.
const Recorded& recorded(const std::string& name);
std::vector<std::string> recorded_names();
// Whether PyTorch computes the case, and does not refuse it.
inline bool has_values(const OperatorCase& row) { return recorded(row.name).outcomes.at("Double").error.empty(); }

// For "add, 1-d with 0-d" and such: by the dtype of the left operand, the dtypes of results (or "-") by that of the right.
const std::map<std::string, std::vector<std::string>>& recorded_promotion();

// Fresh tensors with the values of a variant.
Inputs inputs_of(const Recorded& of, const std::string& variant);

// 0.5, 0.87, 1.24, ... in the shape of `like`.
Tensor weights_like(const Tensor& like);

// The folder of the project.
std::filesystem::path project_folder();

}  // namespace tinytorch::testing
