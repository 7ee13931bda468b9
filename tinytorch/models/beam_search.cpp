// From the lesson modules/86_transformer_layers/transformer_layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

namespace {
double scored(const models::Hypothesis& text, double length_penalty) { return text.log_probability / std::pow(static_cast<double>(text.tokens.size()), length_penalty); }
}  // namespace

std::vector<models::Hypothesis> models::beam_search(GPT& model, const std::vector<std::int64_t>& prompt, const BeamSearchOptions& options) {
  TORCH_CHECK_VALUE(options.beams() >= 1, "beam_search needs at least one beam, but got ", options.beams());
  TORCH_CHECK_VALUE(!prompt.empty(), "the prompt is empty\n[beam_search] begin with one token, such as the end of a text.");
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(*model);
  const auto beams = static_cast<std::size_t>(options.beams());
  GPTCache cache(model->options.n_layer());
  Tensor tokens = tensor(prompt).unsqueeze(0);
  std::vector<Hypothesis> alive(1), ended;
  for (std::int64_t step = 0; step < options.max_new_tokens() && !alive.empty() && ended.size() < beams; ++step) {
    // All continuations of all beams compete.
    const Tensor next = log_softmax(next_token_logits(model, tokens, Tensor(), &cache).to(kDouble), 1);
    const std::int64_t V = next.size(1);
    std::vector<double> before;
    for (const Hypothesis& beam : alive) before.push_back(beam.log_probability);
    const Tensor totals = (next + tensor(before, kDouble).unsqueeze(1)).view({-1});
    const auto [best, places] = topk(totals, std::min<std::int64_t>(2 * options.beams(), totals.size(0)));

    std::vector<Hypothesis> going_on;
    std::vector<std::int64_t> parents, chosen;
    for (std::int64_t i = 0; i < best.size(0) && going_on.size() < beams; ++i) {
      const std::int64_t place = places[i].item<std::int64_t>();
      Hypothesis text = alive[static_cast<std::size_t>(place / V)];
      text.tokens.push_back(place % V);
      text.log_probability = best[i].item<double>();
      if (options.end_token() == place % V) {
        ended.push_back(std::move(text));
        continue;
      }
      parents.push_back(place / V);
      chosen.push_back(place % V);
      going_on.push_back(std::move(text));
    }
    alive = std::move(going_on);
    if (alive.empty()) break;
    // Each beam goes on from its parent's past.
    const Tensor rows = tensor(parents);
    cache.reorder(rows);
    tokens = cat({tokens.index_select(0, rows), tensor(chosen).unsqueeze(1)}, 1);
  }
  if (ended.size() < beams) ended.insert(ended.end(), alive.begin(), alive.end());
  for (Hypothesis& text : ended) text.score = text.tokens.empty() ? 0 : scored(text, options.length_penalty());
  std::stable_sort(ended.begin(), ended.end(), [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  if (ended.size() > beams) ended.resize(beams);
  return ended;
}

}  // namespace tinytorch
