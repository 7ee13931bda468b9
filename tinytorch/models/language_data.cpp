// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/language_data.h"

#include <algorithm>

#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

// (inputs, targets) of `length` tokens from `batch` random places; targets are one token ahead. Throws if `tokens` is too short.
std::pair<Tensor, Tensor> models::random_windows(const Tensor& tokens, std::int64_t batch, std::int64_t length) {
  TORCH_CHECK(tokens.dim() == 1 && tokens.size(0) > length, "windows of ", length, " tokens and their targets need more than ", length, " tokens in a line, but got ", tokens.sizes(),
              "\n[random_windows] take a longer text or shorter windows.");
  const Tensor starts = randint(0, tokens.size(0) - length, {batch});
  const Tensor rows = (starts.unsqueeze(1) + arange(length).unsqueeze(0)).view({-1});
  return {tokens.index_select(0, rows).view({batch, length}), tokens.index_select(0, rows + 1).view({batch, length})};
}

// The prompts as a rectangle whose rows end in the last column. Throws if there is none, or an empty one.
models::PaddedPrompts models::pad_left(const std::vector<std::vector<std::int64_t>>& prompts) {
  TORCH_CHECK(!prompts.empty(), "there is no prompt\n[pad_left] give at least one.");
  std::size_t longest = 0;
  for (const std::vector<std::int64_t>& prompt : prompts) {
    TORCH_CHECK(!prompt.empty(), "a prompt is empty\n[pad_left] begin with one token, such as the end of a text.");
    longest = std::max(longest, prompt.size());
  }
  const auto B = static_cast<std::int64_t>(prompts.size());
  const PaddedPrompts result{zeros({B, static_cast<std::int64_t>(longest)}, kLong), zeros({B}, kLong)};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::size_t filling = longest - prompts[i].size();
    std::copy(prompts[i].begin(), prompts[i].end(), result.tokens.data<std::int64_t>() + i * longest + filling);
    result.left_padding.data<std::int64_t>()[i] = static_cast<std::int64_t>(filling);
  }
  return result;
}

}  // namespace tinytorch
