// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/sampling.h"

#include <algorithm>
#include <limits>

#include "tinytorch/nn/activations.h"

namespace tinytorch {

// (B, V) -> (B, V): all but the most likely tokens that together reach probability p become -inf. O(B V log V).
Tensor models::keep_top_p(const Tensor& logits, double p) {
  if (p >= 1) return logits;
  const auto [sorted, order] = sort(logits, -1, true);
  const Tensor probabilities = softmax(sorted, -1);
  Tensor dropped = (probabilities.cumsum(-1) - probabilities) >= p;
  dropped.select(1, 0).fill_(false);
  const Tensor kept = sorted.masked_fill(dropped, -std::numeric_limits<double>::infinity());
  return empty_like(logits).scatter(1, order, kept);
}

// (V) -> (V): the logits of the tokens in `seen` pushed away from likely, once each. O(V).
Tensor models::penalize_repetition(const Tensor& logits, const Tensor& seen, double penalty) {
  const Tensor old = logits.gather(0, seen);
  return logits.scatter(0, seen, where(old > 0, old / penalty, old * penalty));
}

Tensor models::keep_top_k(const Tensor& logits, std::int64_t k) {
  if (k < 1 || k >= logits.size(1)) return logits;
  const Tensor smallest = std::get<0>(topk(logits, k)).narrow(1, k - 1, 1);
  return logits.masked_fill(logits < smallest, -std::numeric_limits<double>::infinity());
}

Tensor models::sample_token(const Tensor& logits, const SamplingOptions& options) {
  TORCH_CHECK(logits.dim() == 2, "sample_token expects logits of shape (batch, vocabulary), but got ", logits.sizes(), "\n[sample_token] take the last position: select(1, T - 1).");
  TORCH_CHECK_VALUE(options.temperature() >= 0, "temperature has to be at least 0, but got ", options.temperature());
  TORCH_CHECK_VALUE(options.top_p() > 0 && options.top_p() <= 1, "top_p has to be above 0 and at most 1, but got ", options.top_p());
  if (options.temperature() == 0) return logits.argmax(1);
  const Tensor kept = keep_top_p(keep_top_k(logits / options.temperature(), options.top_k()), options.top_p());
  return multinomial(softmax(kept, 1), 1).squeeze(1);
}

}  // namespace tinytorch
