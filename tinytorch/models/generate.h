// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/models/gpt.h"
#include "tinytorch/models/sampling.h"

namespace tinytorch {

namespace models {

// Passes text on as it comes, up to the first of some stop strings.
class StopStrings {
 public:
  // REQUIRES: none of them is empty.
  explicit StopStrings(std::vector<std::string> stops = {});
  // Adds a piece of text. Returns what may be shown now: nothing from a stop string on, and nothing yet that may become one. O(held text * stop strings).
  std::string push(std::string_view text);
  // Whether a stop string has come; what is pushed after it is ignored.
  bool stopped() const { return stopped_; }
  // What was held back when the text ends without a stop string.
  std::string rest();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace models

namespace models {

struct GenerateOptions {
  TORCH_ARG(std::int64_t, max_new_tokens) = 50;
  TORCH_ARG(SamplingOptions, sampling);
  TORCH_ARG(std::optional<std::int64_t>, end_token) = std::nullopt;  // a row ends behind it
  TORCH_ARG(bool, use_cache) = true;
};

// Called for each new token of a row, as soon as it is there; false ends the row.
using OnToken = std::function<bool(std::size_t row, std::int64_t token)>;

// Continues each prompt; returns the new tokens of each row, the end token included. Runs in evaluation mode without recording, and leaves the model's mode as it was. With
// temperature 0 a row's result does not depend on the other rows. O(max_new_tokens) passes of one column with a cache, as long as all fits into block_size.
std::vector<std::vector<std::int64_t>> generate(GPT& model, const std::vector<std::vector<std::int64_t>>& prompts, const GenerateOptions& options = {}, const OnToken& on_token = {});

// Continues `prompt` as text: the tokens of `on_text`'s pieces are decoded by `decode` one at a time; ends before any of `stops`. Returns the text; `on_text` gets it piece by piece.
std::string generate_text(GPT& model, const std::vector<std::int64_t>& prompt, const std::function<std::string(std::int64_t)>& decode, const GenerateOptions& options = {},
                          const std::vector<std::string>& stops = {}, const std::function<void(const std::string&)>& on_text = {});

// Logits (B, V) for the token after `tokens` (B, T), of which the cache, if there is one, holds the first columns. Beyond block_size: of the last block_size columns, without the cache.
Tensor next_token_logits(GPT& model, const Tensor& tokens, const Tensor& left_padding, GPTCache* cache);

// Puts a module into evaluation mode, and back when it ends.
class EvaluationMode {
 public:
  explicit EvaluationMode(nn::Module& module) : module_(module), before_(module.is_training()) { module_.eval(); }
  ~EvaluationMode() { module_.train(before_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  nn::Module& module_;
  bool before_;
};

}  // namespace models

}  // namespace tinytorch
