// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/padding.h"

#include <algorithm>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

std::int64_t PadSource::operator()(std::int64_t i) const {
  if (i >= 0 && i < size) return i;
  if (mode == PadMode::Constant) return -1;
  if (mode == PadMode::Replicate) return std::clamp<std::int64_t>(i, 0, size - 1);
  if (mode == PadMode::Circular) return (i + size) % size;
  return i < 0 ? -i : 2 * (size - 1) - i;
}

namespace {
Tensor pad_constant(const Tensor& input, std::int64_t dim, std::int64_t before, std::int64_t after, double value) {
  DimVector sizes(input.sizes());
  const std::int64_t size = sizes[static_cast<std::size_t>(dim)];
  sizes[static_cast<std::size_t>(dim)] = size + before + after;
  const Tensor result = full(sizes, value, input.options());
  const std::int64_t kept = size + std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(after, 0);
  result.narrow(dim, std::max<std::int64_t>(before, 0), kept).copy_(input.narrow(dim, std::max<std::int64_t>(-before, 0), kept));
  return result;
}

// The element of a dimension of `size` that each element of the padded one takes: what index_select picks.
Tensor picked(std::int64_t size, std::int64_t before, std::int64_t after, PadMode mode) {
  const PadSource source{size, mode};
  std::vector<std::int64_t> indices;
  for (std::int64_t i = -before; i < size + after; ++i) indices.push_back(source(i));
  return tensor(indices);
}

// One dimension after the other.
Tensor pad_cpu(const Tensor& input, IntArrayRef amounts, PadMode mode, double value) {
  Tensor result = input;
  for (std::size_t i = 0; i < amounts.size(); i += 2) {
    const std::int64_t dim = input.dim() - 1 - static_cast<std::int64_t>(i / 2);
    result = mode == PadMode::Constant ? pad_constant(result, dim, amounts[i], amounts[i + 1], value)
                                       : index_select(result, dim, picked(result.size(dim), amounts[i], amounts[i + 1], mode));
  }
  return result;
}

// What was padded with a constant is cut away. What was picked goes back to where it came from, in the dimension that
// was padded last at first.
Tensor pad_backward(const Tensor& g, IntArrayRef sizes, const DimVector& amounts, PadMode mode) {
  if (mode == PadMode::Constant) {
    DimVector cut(amounts);
    for (std::int64_t& amount : cut) amount = -amount;
    return op::pad(g, cut, mode, 0);
  }
  Tensor result = g;
  for (std::size_t i = amounts.size(); i > 0; i -= 2) {
    const std::int64_t dim = g.dim() - static_cast<std::int64_t>(i / 2);
    const std::int64_t size = sizes[static_cast<std::size_t>(dim)];
    DimVector whole(result.sizes());
    whole[static_cast<std::size_t>(dim)] = size;
    result = index_add(zeros(whole, g.options()), dim, picked(size, amounts[i - 2], amounts[i - 1], mode), result);
  }
  return result;
}

void check_padding(IntArrayRef sizes, std::int64_t dim, std::int64_t before, std::int64_t after, PadMode mode) {
  const std::int64_t size = sizes[static_cast<std::size_t>(dim)];
  const std::int64_t most = std::max(before, after);
  TORCH_CHECK(mode != PadMode::Constant || size + before + after >= 0, "The input size ", size, ", plus negative padding ", before,
              " and ", after, ", resulted in a negative output size, which is invalid. Check dimension ", dim, " of your input.");
  TORCH_CHECK(mode != PadMode::Reflect || most < size,
              "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding (", before, ", ",
              after, ") at dimension ", dim, " of input ", sizes);
  TORCH_CHECK(mode != PadMode::Circular || most <= size, "Padding value causes wrapping around more than once.");
  TORCH_CHECK(mode == PadMode::Constant || size > 0, "Expected input with non-zero dimensions to pad from, but got ", sizes);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, PadMode, double)> op::pad(
    "pad", {.cpu = pad_cpu,
            .autograd = gradient_of<op::pad>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> amounts, Arg<2, PadMode> mode) {
              return pad_backward(g, sizes, amounts.value, mode.value);
            })});

Tensor nn::functional::pad(const Tensor& input, const PadFuncOptions& options) {
  const std::vector<std::int64_t>& amounts = options.pad();
  TORCH_CHECK(amounts.size() % 2 == 0, "Padding length must be divisible by 2");
  TORCH_CHECK(static_cast<std::int64_t>(amounts.size()) <= input.dim() * 2,
              "Padding length should be less than or equal to two times the input dimension but got padding length ", amounts.size(),
              " and input of dimension ", input.dim());
  if (amounts.empty()) return input;
  const auto mode = static_cast<PadMode>(options.mode().index());
  DimVector sizes(input.sizes());  // as they are before the next dimension is padded
  for (std::size_t i = 0; i < amounts.size(); i += 2) {
    const std::int64_t dim = input.dim() - 1 - static_cast<std::int64_t>(i / 2);
    check_padding(sizes, dim, amounts[i], amounts[i + 1], mode);
    std::int64_t& size = sizes[static_cast<std::size_t>(dim)];
    size = std::max<std::int64_t>(size + amounts[i] + amounts[i + 1], 0);
  }
  const Tensor result = op::pad(input, amounts, mode, options.value());
  return input.dim() == 4 ? in_format_of(input, result) : result;
}

// It is made of other operators, which halves and other devices have.
void register_padding() {
  op::pad.set(Layer::HalfPrecision, pad_cpu);
  op::pad.set(Layer::PrivateUse1, pad_cpu);
}

}  // namespace tinytorch
