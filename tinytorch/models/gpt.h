// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/models/key_value_cache.h"
#include "tinytorch/nn/containers.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/embedding.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/optim/adam.h"

namespace tinytorch {

namespace models {

// Bool, true where a query may see a key: the last `queries` of `keys` positions ask, and see the positions up to their own. Without `left_padding` (queries, keys). With it,
// a Long tensor (B) of how many positions at the left of each row are filling: (B, 1, queries, keys), where filling is seen by itself only. O(B queries keys).
Tensor attention_mask(std::int64_t queries, std::int64_t keys, const Tensor& left_padding = Tensor());

}  // namespace models

namespace models {

// Settings of a GPT. Those of GPT-2: GPTOptions(50257, 1024).n_layer(12).n_head(12).n_embd(768).dropout(0.1).
struct GPTOptions {
  GPTOptions(std::int64_t vocab_size, std::int64_t block_size) : vocab_size_(vocab_size), block_size_(block_size) {}
  TORCH_ARG(std::int64_t, vocab_size);
  TORCH_ARG(std::int64_t, block_size);  // the longest text it can see, in tokens
  TORCH_ARG(std::int64_t, n_layer) = 4;
  TORCH_ARG(std::int64_t, n_head) = 4;
  TORCH_ARG(std::int64_t, n_embd) = 64;  // C, a multiple of n_head
  TORCH_ARG(double, dropout) = 0.0;
  TORCH_ARG(double, layer_norm_epsilon) = 1e-5;
  TORCH_ARG(bool, tie_weights) = true;  // the output layer is the token embedding, transposed
};

// Causal self-attention with H heads over (B, T, C), with a cache for generation.
class CausalSelfAttentionImpl : public nn::Cloneable<CausalSelfAttentionImpl> {
 public:
  explicit CausalSelfAttentionImpl(GPTOptions options_);
  void reset() override;
  // (B, T, C) -> (B, T, C). Each position sees itself and those before it; `mask`, as attention_mask() makes it, replaces this rule. With a `cache` the T positions follow those
  // in it, and are added to it; then T > 1 new positions after others need a mask. O(T S C + T C^2) for S positions in all.
  Tensor forward(const Tensor& x, const Tensor& mask = Tensor(), KeyValueCache* cache = nullptr);

  GPTOptions options;
  nn::Linear c_attn = nullptr, c_proj = nullptr;
  nn::Dropout resid_dropout = nullptr;
};
TORCH_MODULE(CausalSelfAttention);

// The feed-forward network: C -> 4 C -> gelu (by tanh, as GPT-2) -> C, for each position by itself.
class FeedForwardImpl : public nn::Cloneable<FeedForwardImpl> {
 public:
  explicit FeedForwardImpl(GPTOptions options_);
  void reset() override;
  Tensor forward(const Tensor& x);

  GPTOptions options;
  nn::Linear c_fc = nullptr, c_proj = nullptr;
  nn::Dropout dropout = nullptr;
};
TORCH_MODULE(FeedForward);

// One transformer block, pre-norm. Source: Radford et al. 2019; Xiong et al. 2020 on the place of the normalization.
class BlockImpl : public nn::Cloneable<BlockImpl> {
 public:
  explicit BlockImpl(GPTOptions options_);
  void reset() override;
  // (B, T, C) -> (B, T, C): x plus attention of norm 1, plus feed-forward of norm 2. `mask` and `cache` go to the attention.
  Tensor forward(const Tensor& x, const Tensor& mask = Tensor(), KeyValueCache* cache = nullptr);

  GPTOptions options;
  nn::LayerNorm ln_1 = nullptr, ln_2 = nullptr;
  CausalSelfAttention attn = nullptr;
  FeedForward mlp = nullptr;
};
TORCH_MODULE(Block);

}  // namespace models

namespace models {

// What GPT keeps between calls while it generates: a cache for each block.
struct GPTCache {
  explicit GPTCache(std::int64_t n_layer) : layers(static_cast<std::size_t>(n_layer)) {}
  std::int64_t length() const { return layers.empty() ? 0 : layers.front().length(); }
  void reorder(const Tensor& rows);
  std::size_t bytes() const;
  std::vector<KeyValueCache> layers;
};

// A decoder-only transformer: GPT-2's, at any size. Names of parameters as in GPT-2 (without the prefix "transformer."); weights are (out, in) as in Linear.
// Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
class GPTImpl : public nn::Cloneable<GPTImpl> {
 public:
  explicit GPTImpl(GPTOptions options_);
  void reset() override;
  // Draws all parameters anew, as GPT-2 does.
  void init_weights();
  void pretty_print(std::ostream& stream) const override;
  // tokens (B, T), Long -> logits (B, T, vocab_size) for the token after each. `cache` and `left_padding` as in features().
  Tensor forward(const Tensor& tokens, GPTCache* cache = nullptr, const Tensor& left_padding = Tensor());
  // The stream after the last normalization, (B, T, n_embd). With a `cache` (recording off) the T tokens follow those in it. left_padding, Long (B): how many columns at the
  // left of each row, counted from the first column that the cache has seen, are filling. At most block_size columns in all.
  Tensor features(const Tensor& tokens, GPTCache* cache = nullptr, const Tensor& left_padding = Tensor());
  // (..., n_embd) -> (..., vocab_size).
  Tensor logits(const Tensor& hidden);
  // The mean cross entropy of forward(tokens) against the next tokens (B, T). -100 as a target is left out.
  Tensor loss(const Tensor& tokens, const Tensor& targets);
  std::int64_t num_parameters() const;

  GPTOptions options;
  nn::Embedding wte = nullptr, wpe = nullptr;
  nn::Dropout drop = nullptr;
  nn::ModuleList h = nullptr;
  nn::LayerNorm ln_f = nullptr;
  nn::Linear lm_head = nullptr;  // empty with tied weights
};
TORCH_MODULE(GPT);

// The parameters of `module` in two groups for AdamW: those of two or more dimensions, with the weight decay of `defaults`, and the others, without.
std::vector<optim::OptimizerParamGroup> decay_groups(const nn::Module& module, const optim::AdamWOptions& defaults);

}  // namespace models

}  // namespace tinytorch
