// The gradients of every row: against PyTorch's, and of first and second order against finite differences.
#include "package/recorded.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

// sum(weights * results) over the results that have a gradient.
Tensor weighted_sum(const OperatorCase& row, const Inputs& inputs) {
  Inputs fresh;  // an operator in place must not write into a leaf
  for (const Tensor& x : inputs) fresh.push_back(x.clone());
  manual_seed(7);
  Tensor total = zeros({}, kDouble);
  for (const Tensor& result : row.call(fresh))
    if (result.requires_grad()) total = total + (result * weights_like(result)).sum();
  return total;
}

// Leaves in place of the floating-point inputs, but not of those that PyTorch has no gradient for, such as weights of losses.
Inputs as_leaves(const OperatorCase& row, const Inputs& inputs) {
  const auto& known = recorded(row.name).gradients;
  std::size_t position = 0;
  Inputs leaves;
  for (const Tensor& x : inputs) {
    const Tensor copy = x.clone();
    if (x.is_floating_point() && (!known || (*known)[position++].defined())) copy.requires_grad_();
    leaves.push_back(copy);
  }
  return leaves;
}

Inputs that_require_gradients(const Inputs& inputs) {
  Inputs out;
  for (const Tensor& x : inputs)
    if (x.requires_grad()) out.push_back(x);
  return out;
}

Inputs gradients(const Tensor& of, const Inputs& inputs, bool create_graph) {
  return autograd::grad({of}, that_require_gradients(inputs), {}, create_graph, create_graph, true);
}

// Sum of all first gradients, each element with a weight of its own: its gradient shows every second derivative.
Tensor weighted_gradients(const OperatorCase& row, const Inputs& leaves) {
  Tensor total = zeros({}, kDouble);
  const Tensor sum = weighted_sum(row, leaves);
  if (!sum.requires_grad()) return total;
  for (const Tensor& gradient : gradients(sum, leaves, true))
    if (gradient.defined()) total = total + (gradient * (weights_like(gradient) - 0.2)).sum();
  return total;
}

using Function = Tensor (*)(const OperatorCase&, const Inputs&);

// d function / d input by central differences, for each input that has a gradient.
Inputs differences(const OperatorCase& row, Function function, const Inputs& inputs) {
  constexpr double step = 1e-6;
  Inputs out;
  for (std::size_t which = 0; which < inputs.size(); ++which) {
    if (!as_leaves(row, inputs)[which].requires_grad()) continue;
    const Tensor gradient = zeros(inputs[which].sizes(), kDouble);
    const auto value = [&](std::int64_t i, double change) {
      const Inputs moved = as_leaves(row, inputs);
      moved[which].data<double>()[i] += change;
      return function(row, moved).item<double>();
    };
    for (std::int64_t i = 0; i < gradient.numel(); ++i)
      gradient.data<double>()[i] = (value(i, step) - value(i, -step)) / (2 * step);
    out.push_back(gradient);
  }
  return out;
}

// An absent gradient is a zero: PyTorch gives one or the other where nothing depends on an input, and so may we.
std::string why_different(const Inputs& actual, const Inputs& expected, double rtol, double atol) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!actual[i].defined() && !expected[i].defined()) continue;
    const Tensor zero = zeros((actual[i].defined() ? actual[i] : expected[i]).sizes(), kDouble);
    const std::string complaint = tito::why_not_close(actual[i].defined() ? actual[i].detach() : zero,
                                                      expected[i].defined() ? expected[i] : zero, rtol, atol);
    if (!complaint.empty()) return "input " + std::to_string(i) + ": " + complaint;
  }
  return "";
}

Inputs defined_of(const Inputs& tensors) {
  Inputs out;
  for (const Tensor& tensor : tensors)
    if (tensor.defined()) out.push_back(tensor);
  return out;
}

}  // namespace

TEST_CASE("what PyTorch differentiates has its gradient, and nothing else has one") {
  std::size_t compared = 0;
  for (const OperatorCase& row : all_cases()) {
    const Recorded& of = recorded(row.name);
    if (!has_values(row)) continue;
    const Inputs leaves = as_leaves(row, inputs_of(of, "Double"));
    const Tensor sum = weighted_sum(row, leaves);
    if (row.options.leaves_out == "gradients") continue;
    CHECK_MESSAGE(sum.requires_grad() == of.gradients.has_value(), row.name, " has a gradient here or in PyTorch only");
    if (!sum.requires_grad() || !of.gradients) continue;
    ++compared;
    const std::string complaint = why_different(gradients(sum, leaves, false), defined_of(*of.gradients), row.options.gradient_rtol, 1e-12);
    CHECK_MESSAGE(complaint.empty(), row.name, ": ", complaint);
  }
  CHECK(compared > 150);
}

TEST_CASE("gradients agree with finite differences, and gradients of gradients too") {
  std::size_t compared = 0;
  for (const OperatorCase& row : all_cases()) {
    const Recorded& of = recorded(row.name);
    if (!has_values(row) || !of.gradients || row.options.at_kink || row.options.leaves_out == "gradients") continue;
    ++compared;
    const Inputs inputs = inputs_of(of, "Double");
    const Inputs leaves = as_leaves(row, inputs);
    const std::string first =
        why_different(gradients(weighted_sum(row, leaves), leaves, false), differences(row, weighted_sum, inputs), 1e-6, 1e-7);
    CHECK_MESSAGE(first.empty(), row.name, ", first order: ", first);
    const Tensor again = weighted_gradients(row, leaves);
    const Inputs second = again.requires_grad() ? gradients(again, leaves, false) : Inputs(that_require_gradients(leaves).size());
    const std::string complaint = why_different(second, differences(row, weighted_gradients, inputs), 1e-5, 1e-6);
    CHECK_MESSAGE(complaint.empty(), row.name, ", second order: ", complaint);
  }
  CHECK(compared > 120);
}

// Each node owns the one before it: recursion in the backward pass or in freeing would need hundreds of megabytes of stack.
TEST_CASE("a chain of a million nodes is run and freed without recursion") {
  const Tensor x = ones({1}, requires_grad());
  Tensor y = x;
  for (int i = 0; i < 1000000; ++i) y = -y;
  y.backward();
  CHECK_EQ(x.grad(), ones({1}));
}

}  // namespace tinytorch::testing
