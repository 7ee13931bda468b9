// The operator case table: one row for each way to call an operator or function of the library.
//
// A row has the name of a case in tests/golden/record_operators.py, where its inputs are made and PyTorch's results for
// them recorded: "add", or "add.alpha", where the part before the dot is the operator. From each row follow
//   parity.cpp     the results for float64, float32, half precision, integers, bools, 0-d and empty inputs, and the errors
//   gradients.cpp  gradients of first and second order, by finite differences, and PyTorch's own at kinks
//   layouts.cpp    inputs that are not contiguous or stretched; views are tracked, writes are counted, other inputs are left alone
//   coverage.cpp   that no operator is without a row
#pragma once

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace tinytorch::testing {

using Inputs = std::vector<Tensor>;

struct Results : std::vector<Tensor> {
  Results(const Tensor& one) : std::vector<Tensor>{one} {}
  Results(const std::tuple<Tensor, Tensor>& two) : std::vector<Tensor>{std::get<0>(two), std::get<1>(two)} {}
  Results(std::vector<Tensor> several) : std::vector<Tensor>(std::move(several)) {}
  Results() = default;
};

struct CaseOptions {
  // The inputs lie where the function bends: PyTorch's gradient is compared, finite differences are not.
  bool at_kink = false;
  // What the function gives depends on how its input lies in memory.
  bool needs_contiguous = false;
  // Variants of the inputs (names as in recorded.h, separated by spaces) that PyTorch refuses and we take.
  std::string_view also_takes = "";
  // Variants that are not compared, or "gradients". Each use says why.
  std::string_view leaves_out = "";
  // How our error begins where it is meant to differ from PyTorch's.
  std::string_view says = "";
  // Allowed relative error of float32 results.
  double float_rtol = 2e-6;
  // Allowed relative difference from PyTorch's gradients.
  double gradient_rtol = 1e-10;
};

struct OperatorCase {
  std::string name;
  Results (*call)(const Inputs& x);
  CaseOptions options = {};

  // "add" of "add.alpha"
  std::string_view operator_name() const {
    const std::string_view all = name;
    return all.substr(0, all.find('.'));
  }
  // Operators that write into their first argument have names that end in an underscore.
  bool in_place() const { return operator_name().ends_with('_'); }
};

// The function of a row, written as an expression of its inputs x[0], x[1], ...
#define CALL(...) [](const Inputs& x) -> Results { return (static_cast<void>(x), __VA_ARGS__); }

std::vector<OperatorCase> view_cases();
std::vector<OperatorCase> creation_cases();
std::vector<OperatorCase> pointwise_cases();
std::vector<OperatorCase> in_place_cases();
std::vector<OperatorCase> reduction_cases();
std::vector<OperatorCase> indexing_cases();
std::vector<OperatorCase> matrix_cases();
std::vector<OperatorCase> activation_cases();
std::vector<OperatorCase> loss_cases();
std::vector<OperatorCase> more_nn_cases();
std::vector<OperatorCase> random_cases();
std::vector<OperatorCase> attention_cases();
std::vector<OperatorCase> text_cases();
std::vector<OperatorCase> image_cases();
std::vector<OperatorCase> breadth_cases();
std::vector<OperatorCase> linalg_cases();
std::vector<OperatorCase> resizing_cases();
std::vector<OperatorCase> reducing_cases();
std::vector<OperatorCase> composed_cases();

const std::vector<OperatorCase>& all_cases();

// What makes a random square matrix one that has an inverse.
inline Tensor threes(const Tensor& x) { return eye(x.size(-1), x.scalar_type()) * 3; }

}  // namespace tinytorch::testing
