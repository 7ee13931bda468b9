// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/arg.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace models {

// How a token is chosen from logits. Source of the names: Hugging Face transformers, generation/logits_process.py.
struct SamplingOptions {
  TORCH_ARG(double, temperature) = 1.0;         // 0: the most likely token
  TORCH_ARG(std::int64_t, top_k) = 0;           // 0: all
  TORCH_ARG(double, top_p) = 1.0;               // 1: all
  TORCH_ARG(double, repetition_penalty) = 1.0;  // 1: none
};

// (B, V): -inf for what is smaller than the k largest of its row (equal ones stay together). k < 1 or k >= V changes nothing. O(B V log V).
Tensor keep_top_k(const Tensor& logits, std::int64_t k);
// (B, V): -inf for all but the smallest set of most likely tokens of a row whose probabilities add up to at least p. The most likely one always stays. Source: Holtzman et al. 2020.
Tensor keep_top_p(const Tensor& logits, double p);
// (V): the logits of all tokens that occur in `seen` (Long, n) divided by `penalty` where positive and multiplied by it where not, once, however often they occur. Source: Keskar et al. 2019.
Tensor penalize_repetition(const Tensor& logits, const Tensor& seen, double penalty);
// One token, Long (B), for each row of logits (B, V): by temperature, top-k and top-p (the penalty needs the text, and is applied before). Draws from the default generator.
Tensor sample_token(const Tensor& logits, const SamplingOptions& options);

}  // namespace models

}  // namespace tinytorch
