// From the lesson modules/88_pretrained/pretrained_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/bert.h"

#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/attention.h"

namespace tinytorch {

void models::BertDenseImpl::reset() { dense = register_module("dense", nn::Linear(in_, out_)); }

models::BertDenseImpl::BertDenseImpl(std::int64_t in, std::int64_t out) : in_(in), out_(out) { BertDenseImpl::reset(); }
models::BertOutputLayerImpl::BertOutputLayerImpl(std::int64_t in, BertOptions options_) : options(std::move(options_)), in_(in) { BertOutputLayerImpl::reset(); }
models::BertSelfAttentionImpl::BertSelfAttentionImpl(BertOptions options_) : options(std::move(options_)) { BertSelfAttentionImpl::reset(); }
models::BertAttentionImpl::BertAttentionImpl(BertOptions options_) : options(std::move(options_)) { BertAttentionImpl::reset(); }
models::BertLayerImpl::BertLayerImpl(BertOptions options_) : options(std::move(options_)) { BertLayerImpl::reset(); }
models::BertEncoderImpl::BertEncoderImpl(BertOptions options_) : options(std::move(options_)) { BertEncoderImpl::reset(); }
models::BertEmbeddingsImpl::BertEmbeddingsImpl(BertOptions options_) : options(std::move(options_)) { BertEmbeddingsImpl::reset(); }
models::BertImpl::BertImpl(BertOptions options_) : options(std::move(options_)) { BertImpl::reset(); }

namespace {
nn::LayerNorm bert_norm(const models::BertOptions& options) { return nn::LayerNorm(nn::LayerNormOptions({options.hidden_size()}).eps(options.layer_norm_eps())); }

Tensor activate(const Tensor& x, const std::string& name) {
  if (name == "relu") return relu(x);
  TORCH_CHECK_VALUE(name == "gelu" || name == "gelu_new", "BERT knows no activation '", name, "'\n[Bert] hidden_act is gelu, gelu_new or relu.");
  return gelu(x, name == "gelu" ? "none" : "tanh");
}
}  // namespace

void models::BertOutputLayerImpl::reset() {
  dense = register_module("dense", nn::Linear(in_, options.hidden_size()));
  layer_norm = register_module("LayerNorm", bert_norm(options));
  drop = register_module("dropout", nn::Dropout(options.dropout()));
}
Tensor models::BertOutputLayerImpl::forward(const Tensor& x, const Tensor& residual) { return layer_norm(drop(dense(x)) + residual); }

void models::BertSelfAttentionImpl::reset() {
  const std::int64_t C = options.hidden_size();
  TORCH_CHECK_VALUE(options.num_attention_heads() > 0 && C % options.num_attention_heads() == 0, "embed_dim must be divisible by num_heads\n[Bert] hidden_size is ", C, " and num_attention_heads is ",
                    options.num_attention_heads(), ".");
  query = register_module("query", nn::Linear(C, C));
  key = register_module("key", nn::Linear(C, C));
  value = register_module("value", nn::Linear(C, C));
}
Tensor models::BertSelfAttentionImpl::forward(const Tensor& x, const Tensor& mask) {
  const std::int64_t B = x.size(0), T = x.size(1), C = x.size(2), H = options.num_attention_heads();
  const auto heads = [&](nn::Linear& projection) { return projection(x).view({B, T, H, C / H}).transpose(1, 2); };
  const std::optional<Tensor> rule = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  const Tensor attended = scaled_dot_product_attention(heads(query), heads(key), heads(value), rule, is_training() ? options.dropout() : 0.0);
  return attended.transpose(1, 2).reshape({B, T, C});
}

void models::BertAttentionImpl::reset() {
  self = register_module("self", BertSelfAttention(options));
  output = register_module("output", BertOutputLayer(options.hidden_size(), options));
}

void models::BertLayerImpl::reset() {
  attention = register_module("attention", BertAttention(options));
  intermediate = register_module("intermediate", BertDense(options.hidden_size(), options.intermediate_size()));
  output = register_module("output", BertOutputLayer(options.intermediate_size(), options));
}
Tensor models::BertLayerImpl::forward(const Tensor& x, const Tensor& mask) {
  const Tensor attended = attention(x, mask);
  return output(activate(intermediate(attended), options.hidden_act()), attended);
}

void models::BertEncoderImpl::reset() {
  layer = register_module("layer", nn::ModuleList());
  for (std::int64_t i = 0; i < options.num_hidden_layers(); ++i) layer->push_back(BertLayer(options));
}
Tensor models::BertEncoderImpl::forward(Tensor x, const Tensor& mask) {
  for (std::size_t i = 0; i < layer->size(); ++i) x = BertLayer(layer->ptr<BertLayerImpl>(i))(x, mask);
  return x;
}

void models::BertEmbeddingsImpl::reset() {
  word_embeddings = register_module("word_embeddings", nn::Embedding(options.vocab_size(), options.hidden_size()));
  position_embeddings = register_module("position_embeddings", nn::Embedding(options.max_position_embeddings(), options.hidden_size()));
  token_type_embeddings = register_module("token_type_embeddings", nn::Embedding(options.type_vocab_size(), options.hidden_size()));
  layer_norm = register_module("LayerNorm", bert_norm(options));
  drop = register_module("dropout", nn::Dropout(options.dropout()));
}
Tensor models::BertEmbeddingsImpl::forward(const Tensor& input_ids, const Tensor& token_type_ids) {
  const Tensor words = word_embeddings(input_ids) + position_embeddings(arange(input_ids.size(1)));
  return drop(layer_norm(words + token_type_embeddings(token_type_ids)));
}

void models::BertImpl::reset() {
  embeddings = register_module("embeddings", BertEmbeddings(options));
  encoder = register_module("encoder", BertEncoder(options));
  if (options.pooler()) pooler = register_module("pooler", BertDense(options.hidden_size(), options.hidden_size()));
}

models::BertOutput models::BertImpl::forward(const Tensor& input_ids, const Tensor& attention_mask, const Tensor& token_type_ids) {
  TORCH_CHECK(input_ids.dim() == 2, "BERT expects input_ids of shape (batch, time), but got ", input_ids.sizes(), "\n[Bert] unsqueeze(0) makes a batch of one text.");
  TORCH_CHECK(input_ids.size(1) <= options.max_position_embeddings(), "Cannot forward sequence of length ", input_ids.size(1), ", this BERT has only ", options.max_position_embeddings(),
              " positions\n[Bert] cut the text.");
  for (const Tensor& other : {attention_mask, token_type_ids})
    TORCH_CHECK(!other.defined() || other.sizes() == input_ids.sizes(), "attention_mask and token_type_ids have the shape of input_ids, ", input_ids.sizes(), ", but got ", other.sizes(), "\n[Bert] one number for each token.");
  const Tensor mask = attention_mask.defined() ? (attention_mask != 0).unsqueeze(1).unsqueeze(1) : Tensor();
  const Tensor types = token_type_ids.defined() ? token_type_ids : zeros(input_ids.sizes(), kLong);
  BertOutput output;
  output.last_hidden_state = encoder(embeddings(input_ids, types), mask);
  if (options.pooler()) output.pooler_output = pooler(output.last_hidden_state.select(1, 0)).tanh();
  return output;
}

Tensor models::mean_embedding(const Tensor& hidden, const Tensor& attention_mask) {
  TORCH_CHECK(hidden.dim() == 3 && attention_mask.dim() == 2 && attention_mask.size(0) == hidden.size(0) && attention_mask.size(1) == hidden.size(1),
              "mean_embedding expects (B, T, C) and a mask (B, T), but got ", hidden.sizes(), " and ", attention_mask.sizes(), "\n[mean_embedding] one number for each token.");
  const Tensor weights = (attention_mask != 0).to(hidden.scalar_type()).unsqueeze(2);
  const Tensor mean = (hidden * weights).sum({1}) / weights.sum({1}).clamp_min(1e-9);
  return mean / mean.pow(2).sum({1}, true).sqrt().clamp_min(1e-12);
}

}  // namespace tinytorch
