// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace nn::functional {
// The table (length, dim) of sinusoids in `float`: column 2k of row p holds sin(p / base^(2k / dim)), column 2k + 1 the cosine.
// Throws ValueError unless dim is even. O(length * dim).
Tensor sinusoidal_positions(std::int64_t length, std::int64_t dim, double base = 10000.0);

// x (..., T, D), of which row t stands at position offset + t: each pair of numbers k = 0 .. D/2 - 1 is turned by the angle
// position / base^(2k / D). The pairs are (x[k], x[k + D/2]), or with `interleaved` (x[2k], x[2k + 1]). The dot product of
// two turned rows depends on the difference of their positions only. Throws ValueError unless D is even. O(numel).
// Source: Su et al. 2021; pairs as in GPT-NeoX and LLaMA, interleaved as in the paper and in GPT-J.
Tensor rotary_embedding(const Tensor& x, std::int64_t offset = 0, double base = 10000.0, bool interleaved = false);
}  // namespace nn::functional

}  // namespace tinytorch
