// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/generate.h"

#include <algorithm>
#include <cmath>

#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/models/language_data.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

// What of the text so far may be shown now; see the class.
std::string models::StopStrings::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  std::size_t shown = first;
  if (first != std::string::npos) {
    stopped_ = true;
  } else {
    std::size_t kept = 0;
    for (const std::string& stop : stops_)
      for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > kept; --n)
        if (held_.ends_with(std::string_view(stop).substr(0, n))) kept = n;
    shown = held_.size() - kept;
  }
  const std::string result = held_.substr(0, shown);
  held_ = stopped_ ? std::string() : held_.substr(shown);
  return result;
}

models::StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) TORCH_CHECK_VALUE(!stop.empty(), "a stop string is empty\n[StopStrings] it would stop before the first letter; leave it out.");
}

std::string models::StopStrings::rest() {
  std::string result;
  std::swap(result, held_);
  return result;
}

Tensor models::next_token_logits(GPT& model, const Tensor& tokens, const Tensor& left_padding, GPTCache* cache) {
  const std::int64_t T = tokens.size(1), limit = model->options.block_size();
  Tensor hidden;
  if (T > limit) {
    const Tensor padding = left_padding.defined() ? (left_padding - (T - limit)).clamp_min(0) : Tensor();
    hidden = model->features(tokens.narrow(1, T - limit, limit), nullptr, padding);
  } else {
    const std::int64_t known = cache != nullptr ? cache->length() : 0;
    hidden = model->features(tokens.narrow(1, known, T - known), cache, left_padding);
  }
  return model->logits(hidden.select(1, hidden.size(1) - 1));
}

// The new tokens of each prompt. The declaration in generate.h is the contract.
std::vector<std::vector<std::int64_t>> models::generate(GPT& model, const std::vector<std::vector<std::int64_t>>& prompts, const GenerateOptions& options, const OnToken& on_token) {
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(*model);
  const PaddedPrompts batch = pad_left(prompts);
  Tensor tokens = batch.tokens;
  const Tensor padding = batch.left_padding.amax().item<std::int64_t>() > 0 ? batch.left_padding : Tensor();
  const double penalty = options.sampling().repetition_penalty();
  GPTCache cache(model->options.n_layer());
  std::vector<std::vector<std::int64_t>> results(prompts.size());
  std::vector<bool> ended(prompts.size(), false);
  for (std::int64_t step = 0; step < options.max_new_tokens(); ++step) {
    Tensor logits = next_token_logits(model, tokens, padding, options.use_cache() ? &cache : nullptr);
    if (penalty != 1) {
      std::vector<Tensor> rows;
      for (std::int64_t i = 0; i < tokens.size(0); ++i) {
        const std::int64_t filling = batch.left_padding[i].item<std::int64_t>();
        rows.push_back(penalize_repetition(logits[i], tokens[i].narrow(0, filling, tokens.size(1) - filling), penalty));
      }
      logits = stack(rows);
    }
    const Tensor next = sample_token(logits, options.sampling());
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (ended[i]) continue;
      const std::int64_t token = next[static_cast<std::int64_t>(i)].item<std::int64_t>();
      results[i].push_back(token);
      ended[i] = (on_token && !on_token(i, token)) || options.end_token() == token;
    }
    if (std::find(ended.begin(), ended.end(), false) == ended.end()) break;
    tokens = cat({tokens, next.unsqueeze(1)}, 1);
  }
  return results;
}

std::string models::generate_text(GPT& model, const std::vector<std::int64_t>& prompt, const std::function<std::string(std::int64_t)>& decode, const GenerateOptions& options,
                                  const std::vector<std::string>& stops, const std::function<void(const std::string&)>& on_text) {
  StopStrings filter(stops);
  std::string text;
  const auto show = [&](const std::string& piece) {
    text += piece;
    if (on_text && !piece.empty()) on_text(piece);
  };
  generate(model, {prompt}, options, [&](std::size_t, std::int64_t token) {
    show(filter.push(decode(token)));
    return !filter.stopped();
  });
  show(filter.rest());
  return text;
}

}  // namespace tinytorch
