#include "package/operator_cases.h"

namespace tinytorch::testing {

const std::vector<OperatorCase>& all_cases() {
  static const std::vector<OperatorCase> table = [] {
    std::vector<OperatorCase> all;
    for (const auto& part : {view_cases, creation_cases, pointwise_cases, in_place_cases, reduction_cases, indexing_cases,
                             matrix_cases, activation_cases, loss_cases, more_nn_cases, random_cases, attention_cases, text_cases,
                             image_cases, breadth_cases, linalg_cases, resizing_cases, reducing_cases, composed_cases}) {
      for (const OperatorCase& row : part()) all.push_back(row);
    }
    return all;
  }();
  return table;
}

}  // namespace tinytorch::testing
