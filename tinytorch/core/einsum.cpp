// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cctype>
#include <string>

#include "tinytorch/core/matrix_ops.h"

namespace tinytorch {

namespace {
// A tensor whose dimensions have names, one letter each.
struct Labelled {
  Tensor tensor;
  std::string labels;
};

bool has(std::string_view labels, char label) { return labels.find(label) != std::string_view::npos; }

// The equation taken apart: the letters of each operand and of the result.
struct Equation {
  std::vector<std::string> operands;
  std::string result;
};

// Within labels, one '.' stands for a whole ellipsis until the operands' dimensions are known.
void check_ellipsis(std::string_view equation, std::size_t at, const std::string& labels, const std::string& place, const char* found) {
  TORCH_CHECK(!has(labels, '.'), "einsum(): found '.' for ", place, found);
  TORCH_CHECK(equation.substr(at, 3) == "...", "einsum(): found '.' for ", place, " that is not part of any ellipsis", place == "output" ? " (...)" : "");
}

Equation parse_equation(std::string_view equation) {
  Equation parsed;
  parsed.operands.emplace_back();
  const std::size_t arrow = equation.find("->");
  for (std::size_t i = 0; i < equation.size(); ++i) {
    const char c = equation[i];
    if (i == arrow) ++i;
    else if (c == ',' && i < arrow) parsed.operands.emplace_back();
    else if (c == '.') {
      if (i < arrow) check_ellipsis(equation, i, parsed.operands.back(), str("operand ", parsed.operands.size() - 1), " for which an ellipsis was already found");
      else check_ellipsis(equation, i, parsed.result, "output", " but an ellipsis (...) was already found");
      (i < arrow ? parsed.operands.back() : parsed.result) += c;
      i += 2;
    } else if (c != ' ') {
      TORCH_CHECK(std::isalpha(static_cast<unsigned char>(c)), "einsum(): invalid subscript given at index ",
                  i, " in the equation string, subscripts must be in [a-zA-Z]");
      (i < arrow ? parsed.operands.back() : parsed.result) += c;
    }
  }
  if (arrow != std::string_view::npos) return parsed;
  std::string all;
  for (const std::string& labels : parsed.operands) all += labels;
  std::sort(all.begin(), all.end());
  if (has(all, '.')) parsed.result += '.';
  for (const char label : all)
    if (label != '.' && std::count(all.begin(), all.end(), label) == 1) parsed.result += label;
  return parsed;
}

// Gives the dimensions behind each '.' labels of their own, characters that no equation can hold: the last dimension of every ellipsis has the same one.
void name_ellipses(Equation& equation, TensorList tensors) {
  std::size_t longest = 0;
  std::vector<std::size_t> covered;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string& labels = equation.operands[i];
    covered.push_back(0);
    if (!has(labels, '.')) continue;
    const auto dims = static_cast<std::size_t>(tensors[i].dim());
    TORCH_CHECK(labels.size() - 1 <= dims, "einsum(): the number of subscripts in the equation (", labels.size() - 1,
                ") is more than the number of dimensions (", dims, ") for operand ", i);
    covered.back() = dims - (labels.size() - 1);
    longest = std::max(longest, covered.back());
  }
  TORCH_CHECK(longest <= 64, "einsum(): an ellipsis may stand for at most 64 dimensions");
  std::string names;
  for (std::size_t d = 0; d < longest; ++d) names += static_cast<char>(128 + d);
  const auto put = [&names](std::string& labels, std::size_t count) {
    const std::size_t at = labels.find('.');
    if (at != std::string::npos) labels.replace(at, 1, names.substr(names.size() - count));
  };
  for (std::size_t i = 0; i < tensors.size(); ++i) put(equation.operands[i], covered[i]);
  put(equation.result, longest);
}
}  // namespace

namespace {
// The operand with each letter once: a letter that stands twice takes the diagonal of its dimensions.
Labelled label_operand(const Tensor& tensor, const std::string& labels, std::size_t number) {
  TORCH_CHECK(static_cast<std::int64_t>(labels.size()) == tensor.dim(),
              "einsum(): the number of subscripts in the equation (", labels.size(),
              ") does not match the number of dimensions (", tensor.dim(), ") for operand ", number,
              " and no ellipsis was given");
  Labelled operand{tensor, labels};
  for (std::size_t i = 0; i < operand.labels.size(); ++i) {
    const std::size_t again = operand.labels.find(operand.labels[i], i + 1);
    if (again == std::string::npos) continue;
    const auto first = static_cast<std::int64_t>(i);
    const auto second = static_cast<std::int64_t>(again);
    TORCH_CHECK(operand.tensor.size(first) == operand.tensor.size(second), "einsum(): subscript ",
                operand.labels[i], " is repeated for operand ", number, " but the sizes don't match, ",
                operand.tensor.size(second), " != ", operand.tensor.size(first));
    operand.tensor = diagonal(operand.tensor, 0, first, second);
    operand.labels += operand.labels[i];
    operand.labels.erase(again, 1);
    operand.labels.erase(i, 1);
    --i;
  }
  return operand;
}

// The operand without `label`, whose size there is 1.
Labelled without(const Labelled& operand, char label) {
  const std::size_t at = operand.labels.find(label);
  std::string labels = operand.labels;
  labels.erase(at, 1);
  return {select(operand.tensor, static_cast<std::int64_t>(at), 0), labels};
}

// Sums over the letters that are not in `kept`.
Labelled sum_others(const Labelled& operand, std::string_view kept) {
  std::vector<std::int64_t> dims;
  std::string labels;
  for (std::size_t i = 0; i < operand.labels.size(); ++i) {
    if (has(kept, operand.labels[i])) labels += operand.labels[i];
    else dims.push_back(static_cast<std::int64_t>(i));
  }
  return {dims.empty() ? operand.tensor : sum(operand.tensor, dims), labels};
}

// The operand's dimensions in the order of `labels`, all of which it has.
Tensor in_order(const Labelled& operand, const std::string& labels) {
  DimVector dims;
  for (const char label : labels) dims.push_back(static_cast<std::int64_t>(operand.labels.find(label)));
  return permute(operand.tensor, dims);
}

// The sizes of some of the operand's letters, and their product.
DimVector sizes_of(const Labelled& operand, const std::string& labels) {
  DimVector sizes;
  for (const char label : labels)
    sizes.push_back(operand.tensor.size(static_cast<std::int64_t>(operand.labels.find(label))));
  return sizes;
}
}  // namespace

namespace {
// Multiplies two operands and sums over the letters that both have and nobody needs later: (batch, left, summed) x (batch, summed, right) -> (batch, left, right).
Labelled contract(const Labelled& a, const Labelled& b, std::string_view kept) {
  std::string batch;
  std::string left;
  std::string summed;
  std::string right;
  for (const char label : a.labels)
    (!has(b.labels, label) ? left : has(kept, label) ? batch : summed) += label;
  for (const char label : b.labels)
    if (!has(a.labels, label)) right += label;
  const std::int64_t B = multiply_sizes(sizes_of(a, batch));
  const std::int64_t M = multiply_sizes(sizes_of(a, left));
  const std::int64_t K = multiply_sizes(sizes_of(a, summed));
  const std::int64_t N = multiply_sizes(sizes_of(b, right));
  const Tensor product = bmm(reshape(in_order(a, batch + left + summed), {B, M, K}),
                             reshape(in_order(b, batch + summed + right), {B, K, N}));
  DimVector sizes = sizes_of(a, batch + left);
  for (const std::int64_t size : sizes_of(b, right)) sizes.push_back(size);
  return {reshape(product, sizes), batch + left + right};
}

void check_operands(const Equation& equation, TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "einsum(): must provide at least one operand");
  TORCH_CHECK(tensors.size() >= equation.operands.size(),
              "einsum(): fewer operands were provided than specified in the equation");
  TORCH_CHECK(tensors.size() <= equation.operands.size(),
              "einsum(): more operands were provided than specified in the equation");
  for (const char label : equation.result) {
    if (label == '.') continue;  // without one in an operand it stands for no dimension
    const bool known = std::any_of(equation.operands.begin(), equation.operands.end(),
                                   [label](const std::string& labels) { return has(labels, label); });
    TORCH_CHECK(known, "einsum(): output subscript ", label,
                " does not appear in the equation for any input operand");
    TORCH_CHECK(std::count(equation.result.begin(), equation.result.end(), label) == 1,
                "einsum(): output subscript ", label, " appears more than once in the output");
  }
}
}  // namespace

Tensor einsum(std::string_view equation, TensorList tensors) {
  Equation parsed = parse_equation(equation);
  check_operands(parsed, tensors);
  name_ellipses(parsed, tensors);
  std::vector<Labelled> operands;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    operands.push_back(label_operand(tensors[i], parsed.operands[i], i));
  Labelled total;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    std::string later = parsed.result;
    for (std::size_t j = i + 1; j < operands.size(); ++j) later += operands[j].labels;
    if (i == 0) {
      total = sum_others(operands[0], later);
      continue;
    }
    for (const char label : std::string(total.labels)) {
      if (!has(operands[i].labels, label)) continue;
      const std::int64_t seen = sizes_of(total, {label})[0];
      const std::int64_t size = sizes_of(operands[i], {label})[0];
      TORCH_CHECK(seen == size || seen == 1 || size == 1, "einsum(): ", std::isalpha(static_cast<unsigned char>(label)) ? str("subscript ", label) : std::string("a dimension covered by the ellipsis"),
                  " has size ", size, " for operand ", i, " which does not broadcast with previously seen size ", seen);
      // A size of 1 broadcasts: the other operand alone has this letter then.
      if (seen < size) total = without(total, label);
      else if (size < seen) operands[i] = without(operands[i], label);
    }
    const Labelled next = sum_others(operands[i], later + total.labels);
    total = contract(sum_others(total, later + next.labels), next, later);
  }
  return in_order(total, parsed.result);
}

}  // namespace tinytorch
