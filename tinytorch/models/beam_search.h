// From the lesson modules/86_transformer_layers/transformer_layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <vector>

#include "tinytorch/models/generate.h"

namespace tinytorch {

namespace models {

struct BeamSearchOptions {
  TORCH_ARG(std::int64_t, beams) = 4;
  TORCH_ARG(std::int64_t, max_new_tokens) = 50;
  TORCH_ARG(double, length_penalty) = 1.0;  // 0: the sum of log probabilities itself
  TORCH_ARG(std::optional<std::int64_t>, end_token) = std::nullopt;
};

// A continuation that was found.
struct Hypothesis {
  std::vector<std::int64_t> tokens;  // the new ones, with the end token
  double log_probability = 0;        // of all of them together
  double score = 0;                  // log_probability / length^length_penalty
};

// The best continuations of `prompt`, at most `beams`, the best score first; where as many texts have ended as there are beams, only those. With as many beams as there are texts it finds the best one; with one beam it writes greedily. Stops when as many texts have
// ended as there are beams. O(max_new_tokens * beams) columns through the model.
std::vector<Hypothesis> beam_search(GPT& model, const std::vector<std::int64_t>& prompt, const BeamSearchOptions& options = {});

}  // namespace models

}  // namespace tinytorch
