// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/padding.h"

#include <algorithm>

#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

namespace {
Tensor pad_constant(const Tensor& input, std::int64_t dim, std::int64_t before, std::int64_t after, double value) {
  DimVector sizes(input.sizes());
  const std::int64_t size = sizes[static_cast<std::size_t>(dim)];
  const std::int64_t padded = size + before + after;
  TORCH_CHECK(padded >= 0, "The input size ", size, ", plus negative padding ", before, " and ", after,
              ", resulted in a negative output size, which is invalid. Check dimension ", dim, " of your input.");
  sizes[static_cast<std::size_t>(dim)] = padded;
  const Tensor result = full(sizes, value, input.options());
  const std::int64_t kept = size + std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(after, 0);
  result.narrow(dim, std::max<std::int64_t>(before, 0), kept).copy_(input.narrow(dim, std::max<std::int64_t>(-before, 0), kept));
  return result;
}

// Where position i of a row of `size` elements, before its beginning or behind its end, takes its element from.
std::int64_t source(std::int64_t i, std::int64_t size, const nn::functional::PadFuncOptions::mode_t& mode) {
  if (std::holds_alternative<enumtype::kReplicate>(mode)) return std::clamp<std::int64_t>(i, 0, size - 1);
  if (std::holds_alternative<enumtype::kCircular>(mode)) return (i + size) % size;
  return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
}

Tensor pad_from_input(const Tensor& input, std::int64_t dim, std::int64_t before, std::int64_t after,
                      const nn::functional::PadFuncOptions::mode_t& mode) {
  const std::int64_t size = input.size(dim);
  const std::int64_t most = std::max(before, after);
  TORCH_CHECK(!std::holds_alternative<enumtype::kReflect>(mode) || most < size,
              "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding (", before, ", ",
              after, ") at dimension ", dim, " of input ", input.sizes());
  TORCH_CHECK(!std::holds_alternative<enumtype::kCircular>(mode) || most <= size,
              "Padding value causes wrapping around more than once.");
  TORCH_CHECK(size > 0, "Expected input with non-zero dimensions to pad from, but got ", input.sizes());
  std::vector<std::int64_t> indices;
  for (std::int64_t i = -before; i < size + after; ++i) indices.push_back(source(i, size, mode));
  return index_select(input, dim, tensor(indices));
}
}  // namespace

Tensor nn::functional::pad(const Tensor& input, const PadFuncOptions& options) {
  const std::vector<std::int64_t>& amounts = options.pad();
  TORCH_CHECK(amounts.size() % 2 == 0, "Padding length must be divisible by 2");
  TORCH_CHECK(static_cast<std::int64_t>(amounts.size()) <= input.dim() * 2,
              "Padding length should be less than or equal to two times the input dimension but got padding length ", amounts.size(),
              " and input of dimension ", input.dim());
  Tensor result = input;
  for (std::size_t i = 0; i < amounts.size(); i += 2) {
    const std::int64_t dim = input.dim() - 1 - static_cast<std::int64_t>(i / 2);
    const bool constant = std::holds_alternative<enumtype::kConstant>(options.mode());
    result = constant ? pad_constant(result, dim, amounts[i], amounts[i + 1], options.value())
                      : pad_from_input(result, dim, amounts[i], amounts[i + 1], options.mode());
  }
  return input.dim() == 4 ? in_format_of(input, result) : result;
}

}  // namespace tinytorch
