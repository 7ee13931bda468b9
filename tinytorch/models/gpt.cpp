// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/gpt.h"

#include <cmath>
#include <ostream>

#include "tinytorch/core/grad_mode.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/attention.h"
#include "tinytorch/nn/init.h"
#include "tinytorch/nn/loss.h"

namespace tinytorch {

// REQUIRES: 1 <= queries <= keys; left_padding is undefined or Long (B).
Tensor models::attention_mask(std::int64_t queries, std::int64_t keys, const Tensor& left_padding) {
  const Tensor k = arange(keys).unsqueeze(0);
  const Tensor q = arange(keys - queries, keys).unsqueeze(1);
  const Tensor seen = k <= q;
  if (!left_padding.defined()) return seen;
  const Tensor real = k >= left_padding.view({-1, 1, 1});
  return (seen & (real | (k == q))).unsqueeze(1);
}

models::CausalSelfAttentionImpl::CausalSelfAttentionImpl(GPTOptions options_) : options(std::move(options_)) { CausalSelfAttentionImpl::reset(); }
models::FeedForwardImpl::FeedForwardImpl(GPTOptions options_) : options(std::move(options_)) { FeedForwardImpl::reset(); }
models::BlockImpl::BlockImpl(GPTOptions options_) : options(std::move(options_)) { BlockImpl::reset(); }

void models::CausalSelfAttentionImpl::reset() {
  const std::int64_t C = options.n_embd();
  TORCH_CHECK(options.n_head() > 0 && C % options.n_head() == 0, "embed_dim must be divisible by num_heads\n[CausalSelfAttention] n_embd is ", C, " and n_head is ",
              options.n_head(), "; choose n_embd as a multiple.");
  c_attn = register_module("c_attn", nn::Linear(C, 3 * C));
  c_proj = register_module("c_proj", nn::Linear(C, C));
  resid_dropout = register_module("resid_dropout", nn::Dropout(options.dropout()));
}

void models::FeedForwardImpl::reset() {
  const std::int64_t C = options.n_embd();
  c_fc = register_module("c_fc", nn::Linear(C, 4 * C));
  c_proj = register_module("c_proj", nn::Linear(4 * C, C));
  dropout = register_module("dropout", nn::Dropout(options.dropout()));
}

Tensor models::FeedForwardImpl::forward(const Tensor& x) { return dropout(c_proj(gelu(c_fc(x), "tanh"))); }

void models::BlockImpl::reset() {
  const auto norm = [&] { return nn::LayerNorm(nn::LayerNormOptions({options.n_embd()}).eps(options.layer_norm_epsilon())); };
  ln_1 = register_module("ln_1", norm());
  attn = register_module("attn", CausalSelfAttention(options));
  ln_2 = register_module("ln_2", norm());
  mlp = register_module("mlp", FeedForward(options));
}

// (B, T, C) -> (B, T, C): causal, or by `mask`; with a cache the new positions follow those in it.
Tensor models::CausalSelfAttentionImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  const std::int64_t B = x.size(0), T = x.size(1), C = x.size(2), H = options.n_head();
  const std::vector<Tensor> parts = c_attn(x).split(C, 2);
  const auto heads = [&](const Tensor& part) { return part.view({B, T, H, C / H}).transpose(1, 2); };
  const Tensor query = heads(parts[0]);
  Tensor key = heads(parts[1]);
  Tensor value = heads(parts[2]);
  if (cache != nullptr) std::tie(key, value) = cache->append(key, value);
  const bool causal = !mask.defined() && key.size(2) == T;
  const std::optional<Tensor> rule = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  const Tensor attended = scaled_dot_product_attention(query, key, value, rule, is_training() ? options.dropout() : 0.0, causal);
  return resid_dropout(c_proj(attended.transpose(1, 2).reshape({B, T, C})));
}

// (B, T, C) -> (B, T, C): x + attention of its norm, and to that + feed-forward of its norm.
Tensor models::BlockImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  const Tensor mixed = x + attn(ln_1(x), mask, cache);
  return mixed + mlp(ln_2(mixed));
}

void models::GPTCache::reorder(const Tensor& rows) {
  for (KeyValueCache& layer : layers) layer.reorder(rows);
}

std::size_t models::GPTCache::bytes() const {
  std::size_t sum = 0;
  for (const KeyValueCache& layer : layers) sum += layer.bytes();
  return sum;
}

models::GPTImpl::GPTImpl(GPTOptions options_) : options(std::move(options_)) { GPTImpl::reset(); }

void models::GPTImpl::reset() {
  wte = register_module("wte", nn::Embedding(options.vocab_size(), options.n_embd()));
  wpe = register_module("wpe", nn::Embedding(options.block_size(), options.n_embd()));
  drop = register_module("drop", nn::Dropout(options.dropout()));
  h = register_module("h", nn::ModuleList());
  for (std::int64_t i = 0; i < options.n_layer(); ++i) h->push_back(Block(options));
  ln_f = register_module("ln_f", nn::LayerNorm(nn::LayerNormOptions({options.n_embd()}).eps(options.layer_norm_epsilon())));
  if (!options.tie_weights()) lm_head = register_module("lm_head", nn::Linear(nn::LinearOptions(options.n_embd(), options.vocab_size()).bias(false)));
  init_weights();
}

void models::GPTImpl::pretty_print(std::ostream& stream) const {
  stream << "GPT(vocab_size=" << options.vocab_size() << ", block_size=" << options.block_size() << ", n_layer=" << options.n_layer() << ", n_head=" << options.n_head()
         << ", n_embd=" << options.n_embd() << ')';
}

std::int64_t models::GPTImpl::num_parameters() const {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.numel();
  return count;
}

Tensor models::GPTImpl::forward(const Tensor& tokens, GPTCache* cache, const Tensor& left_padding) { return logits(features(tokens, cache, left_padding)); }

Tensor models::GPTImpl::loss(const Tensor& tokens, const Tensor& targets) {
  return cross_entropy_loss(forward(tokens).view({-1, options.vocab_size()}), targets.reshape({-1}));
}

std::vector<optim::OptimizerParamGroup> models::decay_groups(const nn::Module& module, const optim::AdamWOptions& defaults) {
  std::vector<Tensor> matrices, others;
  for (const Tensor& parameter : module.parameters()) (parameter.dim() >= 2 ? matrices : others).push_back(parameter);
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(matrices, std::make_unique<optim::AdamWOptions>(defaults));
  groups.emplace_back(others, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(defaults).weight_decay(0)));
  return groups;
}

// Draws all matrices with GPT-2's standard deviations, in the order of named_parameters(), below autograd.
void models::GPTImpl::init_weights() {
  const NoGradGuard no_grad;
  const double residual = 0.02 / std::sqrt(2.0 * static_cast<double>(options.n_layer()));
  for (const auto& item : named_parameters()) {
    if (item.value().dim() >= 2) {
      nn::init::normal_(item.value(), 0, item.key().ends_with("c_proj.weight") ? residual : 0.02);
    } else {
      item.value().fill_(item.key().ends_with(".bias") ? 0 : 1);
    }
  }
}

// (B, T) tokens -> (B, T, n_embd), the normalized stream. Throws for tokens that are no rectangle, a cache while recording, and more columns than block_size.
Tensor models::GPTImpl::features(const Tensor& tokens, GPTCache* cache, const Tensor& left_padding) {
  TORCH_CHECK(tokens.dim() == 2, "GPT expects tokens of shape (batch, time), but got ", tokens.sizes(), "\n[GPT] unsqueeze(0) makes a batch of one text.");
  TORCH_CHECK(cache == nullptr || !GradMode::is_enabled(), "a cache keeps no graph\n[GPT] generate under a NoGradGuard, or train without a cache.");
  const std::int64_t T = tokens.size(1);
  const std::int64_t start = cache != nullptr ? cache->length() : 0;
  TORCH_CHECK(start + T <= options.block_size(), "Cannot forward sequence of length ", start + T, ", block size is only ", options.block_size(),
              "\n[GPT] cut the text to its last ", options.block_size(), " tokens.");
  Tensor positions = arange(start, start + T);
  if (left_padding.defined()) positions = (positions.unsqueeze(0) - left_padding.unsqueeze(1)).clamp_min(0);
  Tensor mask;
  if (left_padding.defined() || (start > 0 && T > 1)) mask = attention_mask(T, start + T, left_padding);
  Tensor x = drop(wte(tokens) + wpe(positions));
  for (std::size_t i = 0; i < h->size(); ++i) x = Block(h->ptr<BlockImpl>(i))(x, mask, cache != nullptr ? &cache->layers[i] : nullptr);
  return ln_f(x);
}

Tensor models::GPTImpl::logits(const Tensor& hidden) { return lm_head.is_empty() ? linear(hidden, wte->weight) : lm_head(hidden); }

}  // namespace tinytorch
