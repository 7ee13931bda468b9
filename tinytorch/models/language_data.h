// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>
#include <vector>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace models {

// Training examples for a language model: (inputs, targets), Long (batch, length) each, cut from random places of `tokens`, Long (N). targets[i][j] is the token after
// inputs[i][j]. Each of the N - length places is equally likely; they are drawn by one randint from the default generator. REQUIRES: N > length.
std::pair<Tensor, Tensor> random_windows(const Tensor& tokens, std::int64_t batch, std::int64_t length);

}  // namespace models

namespace models {

// Prompts of unequal length as a rectangle, ready for generation.
struct PaddedPrompts {
  Tensor tokens;        // Long (B, longest)
  Tensor left_padding;  // Long (B): how many columns at the left of each row are filling
};

// All prompts end in the last column. REQUIRES: at least one prompt, none of them empty.
PaddedPrompts pad_left(const std::vector<std::vector<std::int64_t>>& prompts);

}  // namespace models

}  // namespace tinytorch
