// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_init.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

Tensor nn::init::constant_(Tensor tensor, Scalar value) {
  const AutoDispatchBelowAutograd guard;
  return tensor.fill_(value);
}

Tensor nn::init::zeros_(Tensor tensor) { return constant_(tensor, 0); }
Tensor nn::init::ones_(Tensor tensor) { return constant_(tensor, 1); }

Tensor nn::init::eye_(Tensor matrix) {
  TORCH_CHECK(matrix.dim() == 2, "Only tensors with 2 dimensions are supported");
  zeros_(matrix);
  const std::int64_t shorter = std::min(matrix.size(0), matrix.size(1));
  const AutoDispatchBelowAutograd guard;
  for (std::int64_t i = 0; i < shorter; ++i) matrix.select(0, i).select(0, i).fill_(1);
  return matrix;
}

Tensor nn::init::dirac_(Tensor tensor) {
  TORCH_CHECK(tensor.dim() >= 3 && tensor.dim() <= 5, "Only tensors with 3, 4, or 5 dimensions are supported");
  zeros_(tensor);
  const AutoDispatchBelowAutograd guard;
  for (std::int64_t channel = 0; channel < std::min(tensor.size(0), tensor.size(1)); ++channel) {
    Tensor kernel = tensor.select(0, channel).select(0, channel);
    while (kernel.dim() > 0) kernel = kernel.select(0, kernel.size(0) / 2);  // the middle of the kernel
    kernel.fill_(1);
  }
  return tensor;
}

namespace {
double xavier_std(const Tensor& tensor, double gain) {
  const auto [fan_in, fan_out] = nn::init::_calculate_fan_in_and_fan_out(tensor);
  return fan_in + fan_out == 0 ? 0.0 : gain * std::sqrt(2.0 / static_cast<double>(fan_in + fan_out));
}
}  // namespace

Tensor nn::init::xavier_uniform_(Tensor tensor, double gain) {
  const double bound = std::sqrt(3.0) * xavier_std(tensor, gain);
  return init::uniform_(tensor, -bound, bound);
}

Tensor nn::init::xavier_normal_(Tensor tensor, double gain) {
  return init::normal_(tensor, 0, xavier_std(tensor, gain));
}

namespace {
// Makes the columns of a (rows, columns) matrix, rows >= columns, orthonormal, each without turning it around.
// `at(i, j)` refers to an element. O(rows columns^2).
void orthonormalize(std::vector<double>& matrix, std::size_t rows, std::size_t columns) {
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return matrix[i * columns + j]; };
  const auto dot = [&](std::size_t j, std::size_t k) {
    double sum = 0;
    for (std::size_t i = 0; i < rows; ++i) sum += at(i, j) * at(i, k);
    return sum;
  };
  for (std::size_t j = 0; j < columns; ++j) {
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t k = 0; k < j; ++k) {
        const double part = dot(j, k);
        for (std::size_t i = 0; i < rows; ++i) at(i, j) -= part * at(i, k);
      }
    }
    const double length = std::sqrt(dot(j, j));
    for (std::size_t i = 0; i < rows; ++i) at(i, j) /= length;
  }
}
}  // namespace

Tensor nn::init::orthogonal_(Tensor tensor, double gain) {
  TORCH_CHECK(tensor.dim() >= 2, "Only tensors with 2 or more dimensions are supported");
  if (tensor.numel() == 0) return tensor;
  const AutoDispatchBelowAutograd guard;
  const std::int64_t rows = tensor.size(0);
  const std::int64_t columns = tensor.numel() / rows;
  const bool wide = rows < columns;
  const Tensor drawn = randn({rows, columns}).to(kDouble);
  const Tensor tall = (wide ? drawn.t() : drawn).contiguous();
  const double* const data = tall.data_ptr<double>();
  std::vector<double> q(data, data + tall.numel());
  orthonormalize(q, static_cast<std::size_t>(tall.size(0)), static_cast<std::size_t>(tall.size(1)));
  std::copy(q.begin(), q.end(), tall.data_ptr<double>());
  tensor.copy_((wide ? tall.t() : tall).reshape(tensor.sizes()));
  return tensor.mul_(gain);
}

Tensor nn::init::sparse_(Tensor tensor, double sparsity, double std) {
  TORCH_CHECK(tensor.dim() == 2, "Only tensors with 2 dimensions are supported");
  const std::int64_t rows = tensor.size(0);
  const auto zeros_per_column = static_cast<std::int64_t>(std::ceil(sparsity * static_cast<double>(rows)));
  init::normal_(tensor, 0, std);
  const AutoDispatchBelowAutograd guard;
  for (std::int64_t column = 0; column < tensor.size(1); ++column) {
    const Tensor order = randperm(rows);
    for (std::int64_t i = 0; i < zeros_per_column; ++i)
      tensor.select(1, column).select(0, order[i].item<std::int64_t>()).fill_(0);
  }
  return tensor;
}

}  // namespace tinytorch
