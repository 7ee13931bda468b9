// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/positions.h"

#include <cmath>
#include <utility>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

// The table (length, dim) of sinusoids in `float`: column 2k of row p holds sin(p / base^(2k / dim)), column 2k + 1 the cosine.
// Throws ValueError unless dim is even. O(length * dim).
Tensor nn::functional::sinusoidal_positions(std::int64_t length, std::int64_t dim, double base) {
  TORCH_CHECK_VALUE(dim % 2 == 0, "sinusoidal_positions: dim must be even, but is ", dim,
                    "\n[sinusoidal_positions] a sine and a cosine go together.");
  const Tensor table = empty({length, dim}, kFloat);
  float* const out = table.data<float>();
  for (std::int64_t p = 0; p < length; ++p) {
    for (std::int64_t c = 0; c < dim; c += 2) {
      const double angle = static_cast<double>(p) / std::pow(base, static_cast<double>(c) / static_cast<double>(dim));
      out[p * dim + c] = static_cast<float>(std::sin(angle));
      out[p * dim + c + 1] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

namespace {
// The pairs (first, second), each (..., T, D/2), turned by the angles whose cosines and sines are (T, D/2).
std::pair<Tensor, Tensor> turned(const Tensor& first, const Tensor& second, const Tensor& cosines, const Tensor& sines) {
  return {first * cosines - second * sines, second * cosines + first * sines};
}
}  // namespace

Tensor nn::functional::rotary_embedding(const Tensor& x, std::int64_t offset, double base, bool interleaved) {
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.size(-1) % 2 == 0, "rotary_embedding: expected (..., T, D) with an even D, but got sizes ",
                    x.sizes(), "\n[rotary_embedding] numbers are turned in pairs.");
  const std::int64_t T = x.size(-2);
  const std::int64_t D = x.size(-1);
  // (T, D/2), in double: float would lose the angle of far positions.
  const Tensor frequencies = (arange(0, D, 2, kDouble) * (-std::log(base) / static_cast<double>(D))).exp();
  const Tensor angles = arange(offset, offset + T, 1, kDouble).unsqueeze(1) * frequencies;
  const Tensor cosines = angles.cos().to(x.scalar_type());
  const Tensor sines = angles.sin().to(x.scalar_type());
  if (interleaved) {
    const auto [first, second] = turned(x.slice(-1, 0, D, 2), x.slice(-1, 1, D, 2), cosines, sines);
    return stack({first, second}, -1).reshape(x.sizes());
  }
  const auto [first, second] = turned(x.slice(-1, 0, D / 2), x.slice(-1, D / 2, D), cosines, sines);
  return cat({first, second}, -1);
}

}  // namespace tinytorch
