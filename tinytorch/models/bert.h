// From the lesson modules/88_pretrained/pretrained_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>

#include "tinytorch/core/arg.h"
#include "tinytorch/nn/containers.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/embedding.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/linear.h"

namespace tinytorch {

namespace models {

// Settings of a BERT. Those of bert-base-uncased are the defaults.
struct BertOptions {
  TORCH_ARG(std::int64_t, vocab_size) = 30522;
  TORCH_ARG(std::int64_t, hidden_size) = 768;
  TORCH_ARG(std::int64_t, num_hidden_layers) = 12;
  TORCH_ARG(std::int64_t, num_attention_heads) = 12;
  TORCH_ARG(std::int64_t, intermediate_size) = 3072;
  TORCH_ARG(std::int64_t, max_position_embeddings) = 512;
  TORCH_ARG(std::int64_t, type_vocab_size) = 2;
  TORCH_ARG(double, layer_norm_eps) = 1e-12;
  TORCH_ARG(double, dropout) = 0.1;
  TORCH_ARG(std::string, hidden_act) = "gelu";  // or "gelu_new" (by tanh), or "relu"
  TORCH_ARG(bool, pooler) = true;
};

// A linear layer under the name `dense`.
class BertDenseImpl : public nn::Cloneable<BertDenseImpl> {
 public:
  BertDenseImpl(std::int64_t in, std::int64_t out);
  void reset() override;
  Tensor forward(const Tensor& x) { return dense(x); }
  nn::Linear dense = nullptr;

 private:
  std::int64_t in_, out_;
};
TORCH_MODULE(BertDense);

// What ends both halves of a layer: LayerNorm(residual + dropout(dense(x))).
class BertOutputLayerImpl : public nn::Cloneable<BertOutputLayerImpl> {
 public:
  BertOutputLayerImpl(std::int64_t in, BertOptions options_);
  void reset() override;
  Tensor forward(const Tensor& x, const Tensor& residual);
  BertOptions options;
  nn::Linear dense = nullptr;
  nn::LayerNorm layer_norm = nullptr;
  nn::Dropout drop = nullptr;

 private:
  std::int64_t in_;
};
TORCH_MODULE(BertOutputLayer);

class BertSelfAttentionImpl : public nn::Cloneable<BertSelfAttentionImpl> {
 public:
  explicit BertSelfAttentionImpl(BertOptions options_);
  void reset() override;
  // (B, T, C) -> (B, T, C). `mask` (B, 1, 1, T), Bool: true where a token may be looked at; undefined: everywhere.
  Tensor forward(const Tensor& x, const Tensor& mask);
  BertOptions options;
  nn::Linear query = nullptr, key = nullptr, value = nullptr;
};
TORCH_MODULE(BertSelfAttention);

class BertAttentionImpl : public nn::Cloneable<BertAttentionImpl> {
 public:
  explicit BertAttentionImpl(BertOptions options_);
  void reset() override;
  Tensor forward(const Tensor& x, const Tensor& mask) { return output(self(x, mask), x); }
  BertOptions options;
  BertSelfAttention self = nullptr;
  BertOutputLayer output = nullptr;
};
TORCH_MODULE(BertAttention);

class BertLayerImpl : public nn::Cloneable<BertLayerImpl> {
 public:
  explicit BertLayerImpl(BertOptions options_);
  void reset() override;
  Tensor forward(const Tensor& x, const Tensor& mask);
  BertOptions options;
  BertAttention attention = nullptr;
  BertDense intermediate = nullptr;
  BertOutputLayer output = nullptr;
};
TORCH_MODULE(BertLayer);

class BertEncoderImpl : public nn::Cloneable<BertEncoderImpl> {
 public:
  explicit BertEncoderImpl(BertOptions options_);
  void reset() override;
  Tensor forward(Tensor x, const Tensor& mask);
  BertOptions options;
  nn::ModuleList layer = nullptr;
};
TORCH_MODULE(BertEncoder);

class BertEmbeddingsImpl : public nn::Cloneable<BertEmbeddingsImpl> {
 public:
  explicit BertEmbeddingsImpl(BertOptions options_);
  void reset() override;
  Tensor forward(const Tensor& input_ids, const Tensor& token_type_ids);
  BertOptions options;
  nn::Embedding word_embeddings = nullptr, position_embeddings = nullptr, token_type_embeddings = nullptr;
  nn::LayerNorm layer_norm = nullptr;
  nn::Dropout drop = nullptr;
};
TORCH_MODULE(BertEmbeddings);

struct BertOutput {
  Tensor last_hidden_state;  // (B, T, hidden_size)
  Tensor pooler_output;      // (B, hidden_size), or undefined without a pooler
};

// An encoder: a vector for each token, in which the whole text takes part. Source: Devlin et al. 2018, BERT; names of parameters as in the files published on Hugging Face.
class BertImpl : public nn::Cloneable<BertImpl> {
 public:
  explicit BertImpl(BertOptions options_ = {});
  void reset() override;
  // input_ids (B, T), Long. token_type_ids (B, T), Long: 0 for the first sentence, 1 for the second; undefined: all 0. attention_mask (B, T): not 0 for tokens, 0 for filling; undefined: no filling.
  // Throws on other shapes, and on texts longer than max_position_embeddings.
  BertOutput forward(const Tensor& input_ids, const Tensor& attention_mask = Tensor(), const Tensor& token_type_ids = Tensor());
  BertOptions options;
  BertEmbeddings embeddings = nullptr;
  BertEncoder encoder = nullptr;
  BertDense pooler = nullptr;
};
TORCH_MODULE(Bert);

// One vector of length 1 for each text: the mean of the vectors of its tokens, filling left out. hidden (B, T, C), attention_mask (B, T) -> (B, C).
// Source: Reimers and Gurevych 2019, Sentence-BERT.
Tensor mean_embedding(const Tensor& hidden, const Tensor& attention_mask);

}  // namespace models

}  // namespace tinytorch
