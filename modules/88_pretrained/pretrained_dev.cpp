// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 88: Published models
//
// Module 12 builds GPT, and chapter 53 opens files of weights. This chapter brings them together: a folder with a model as it is published on the Hugging Face hub becomes a model that runs.
//
//     folder/
//       config.json             sizes: vocabulary, width, layers, heads
//       model.safetensors       the weights (or in several files with an index, or pytorch_model.bin, a checkpoint of PyTorch)
//       vocab.json, merges.txt  GPT-2's tokenizer (module 10)
//
// A published file has its own names and habits, and none of them is written in the file. GPT-2's are:
//
// - Its linear layers are *Conv1D*: the weight is (in, out), where `Linear` has (out, in). Four matrices in each block have to be turned. One of them, `attn.c_proj.weight`, is square: forget it, and every shape still fits.
// - Names may begin with `transformer.` (the language model) or not (the file that OpenAI's weights were converted to).
// - `lm_head.weight` is the token embedding again, or is left out.
// - `h.0.attn.bias` is not a bias but the causal mask, saved by accident.
//
// BERT's names begin with `bert.` or not; old files say `gamma` and `beta` for the weight and the bias of a normalization; and what was trained on top (`cls.`) is not part of the encoder.
//
// That a loaded model *runs* says nothing: with a matrix the wrong way round it runs as well. The tests in tests/integration compare logits and embeddings with those of the library that wrote the files.

// %%
//| after 12
//| export models/published.h
#include <string>
#include "tinytorch/core/ordered_dict.h"
#include "tinytorch/models/bert.h"
#include "tinytorch/models/gpt.h"
//| export models/published.cpp
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include "tinytorch/core/random.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/pickle.h"
#include "tinytorch/serialize/safetensors.h"
//| export models/bert.h
#include <string>
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/containers.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/embedding.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/linear.h"
//| export models/bert.cpp
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/attention.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <filesystem>
#include <fstream>
#include <unistd.h>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/models/generate.h"
#include "tinytorch/models/published.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/pickle.h"
#include "tinytorch/serialize/safetensors.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## BERT
//
// GPT reads from left to right and writes. BERT reads in both directions and answers with a vector for each token, in which its whole sentence takes part. It is the older arrangement: the normalization stands *behind* the sum, and there is no causal mask, only one for the filling of shorter sentences.
//
//     ids, types     word + position + type ──> LayerNorm ──> x
//     each layer     x ──> attention ──> + x ──> LayerNorm ──> dense, gelu, dense ──> + ──> LayerNorm ──> x
//     pooler         tanh(dense(vector of the first token))
//
// The modules are named as in the published files, so that no name has to be translated.

// %%
//| export models/bert.h
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

// %%
//| export models/bert.cpp
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

// %%
//| lesson
models::BertOptions small_bert() {
  return models::BertOptions().vocab_size(20).hidden_size(8).num_hidden_layers(2).num_attention_heads(2).intermediate_size(16).max_position_embeddings(6).dropout(0.0);
}

// Parameters that are far from their small initial values, so that every part of a model shows in its results.
void make_lively(const nn::Module& module) {
  const NoGradGuard no_grad;
  for (const Tensor& parameter : module.parameters()) parameter.normal_(parameter.dim() == 1 ? 0.2 : 0.0, 0.5);
}

// %%
TEST_CASE("Bert: filling changes nothing, order and the later words do") {
  manual_seed(3);
  models::Bert bert(small_bert());
  make_lively(*bert);
  const NoGradGuard no_grad;
  const Tensor ids = tensor({{2, 7, 9}});
  const Tensor filled = tensor({{2, 7, 9, 0, 0}});
  const Tensor mask = tensor({{1, 1, 1, 0, 0}});
  const auto alone = bert->forward(ids);
  CHECK(alone.last_hidden_state.sizes() == IntArrayRef({1, 3, 8}));
  CHECK(alone.pooler_output.sizes() == IntArrayRef({1, 8}));
  const auto padded = bert->forward(filled, mask);
  CHECK_CLOSE(padded.last_hidden_state.narrow(1, 0, 3), alone.last_hidden_state, 1e-5, 1e-5);
  CHECK(!allclose(bert->forward(filled).last_hidden_state.narrow(1, 0, 3), alone.last_hidden_state, 1e-3, 1e-3));
  CHECK(!allclose(bert->forward(tensor({{2, 7, 8}})).last_hidden_state[0][0], alone.last_hidden_state[0][0], 1e-3, 1e-3));
  CHECK(!allclose(bert->forward(ids, Tensor(), tensor({{0, 1, 1}})).last_hidden_state, alone.last_hidden_state, 1e-3, 1e-3));

  const Tensor embedding = models::mean_embedding(padded.last_hidden_state, mask);
  CHECK_CLOSE(embedding, models::mean_embedding(alone.last_hidden_state, ones({1, 3})), 1e-5, 1e-5);
  CHECK_CLOSE(embedding.pow(2).sum(), tensor(1.0f), 1e-5, 1e-5);

  CHECK_ERROR(bert->forward(tensor({2, 7})), "BERT expects input_ids of shape (batch, time), but got [2]");
  CHECK_ERROR(bert->forward(zeros({1, 7}, kLong)), "this BERT has only 6 positions");
  CHECK_ERROR(bert->forward(ids, mask), "have the shape of input_ids, [1, 3], but got [1, 5]");
  CHECK_EQ(bert->named_parameters().keys()[6], "encoder.layer.0.attention.self.query.bias");
  CHECK_EQ(std::dynamic_pointer_cast<models::BertImpl>(bert->clone())->forward(ids).last_hidden_state, alone.last_hidden_state);
}

// %% [markdown]
// ## From a folder to a model
//
// `config.json` comes from outside like everything else. Its sizes are compared with those of the weights *before* a model is built: a file of some kilobytes that claims a vocabulary of a billion words ends in a sentence, not in a request for terabytes.

// %%
//| export models/published.h
namespace models {

// The weights in `folder`: model.safetensors (in one file, or several with an index), or else pytorch_model.bin, a checkpoint of PyTorch. Throws Error if there is none, or a damaged one.
OrderedDict<std::string, Tensor> published_weights(const std::string& folder);

// GPT-2 as it is published: config.json and weights under Hugging Face's names, with or without "transformer.", with Conv1D's (in, out) matrices; lm_head.weight may be left out where it is tied. In evaluation mode.
// Nothing is drawn, and what safetensors hold as float32 is not copied: the parameters lie in the mapped file (Conv1D's as transposed views of it), which they never change.
// Throws Error if a file is missing or damaged, if sizes do not fit, or if the config asks for something that GPT (models/gpt.h) does not do. Source: modeling_gpt2.py of Hugging Face's transformers.
GPT load_gpt2(const std::string& folder);
// The same files of a GPT of ours: model.safetensors and config.json, which transformers opens. `folder` is created if it is not there.
void save_gpt2(const GPT& model, const std::string& folder);

// BERT as it is published: with or without "bert."; gamma and beta are names of old files; what was trained on top (cls.) is left out, and the pooler may be missing. In evaluation mode.
// Throws as load_gpt2 does. Source: modeling_bert.py of Hugging Face's transformers.
Bert load_bert(const std::string& folder);

}  // namespace models

// %%
//| export models/published.cpp
namespace {
using nlohmann::json;

// config.json of a folder: numbers, words and switches, each checked when it is read.
class Config {
 public:
  explicit Config(const std::string& folder) : path_((std::filesystem::path(folder) / "config.json").string()) {
    values_ = json::parse(serialize::read_file(path_), nullptr, false);
    TORCH_CHECK(values_.is_object(), "cannot read ", path_, ": it is not a JSON object\n[load] fetch the file again.");
  }
  std::int64_t size(const char* name) const {
    TORCH_CHECK(values_.contains(name) && values_[name].is_number_unsigned() && values_[name].get<std::uint64_t>() > 0 && values_[name].get<std::uint64_t>() < std::uint64_t{1} << 31,
                path_, ": '", name, "' is missing, or no whole number from 1 to 2147483647\n[load] it is a size of the model.");
    return values_[name].get<std::int64_t>();
  }
  double number(const char* name, double otherwise) const {
    if (!has(name)) return otherwise;
    TORCH_CHECK(values_[name].is_number(), path_, ": '", name, "' is no number");
    return values_[name].get<double>();
  }
  std::string word(const char* name, const char* otherwise) const {
    if (!has(name)) return otherwise;
    TORCH_CHECK(values_[name].is_string(), path_, ": '", name, "' is no text");
    return values_[name].get<std::string>();
  }
  bool is(const char* name, bool otherwise) const {
    if (!has(name)) return otherwise;
    TORCH_CHECK(values_[name].is_boolean(), path_, ": '", name, "' is neither true nor false");
    return values_[name].get<bool>();
  }
  bool has(const char* name) const { return values_.contains(name) && !values_[name].is_null(); }
  void require(bool good, const std::string& what) const { TORCH_CHECK(good, path_, ": ", what, "\n[load] this model is not of the kind that is loaded here."); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  json values_;
};

using State = OrderedDict<std::string, Tensor>;

void check_sizes(const State& weights, const std::string& name, IntArrayRef sizes, const Config& config) {
  const Tensor* const found = weights.find(name);
  TORCH_CHECK(found != nullptr, "the weights beside ", config.path(), " have no tensor '", name, "'\n[load] are they of this model?");
  TORCH_CHECK(found->sizes() == sizes, "size mismatch for ", name, ": the file has ", found->sizes(), ", ", config.path(), " says ", sizes, "\n[load] weights and config belong to different models.");
}

// How many layers the weights have: one more than the largest number behind `prefix`.
std::int64_t layers_in(const State& weights, const std::string& prefix) {
  std::int64_t layers = 0;
  for (const auto& entry : weights) {
    if (!entry.key().starts_with(prefix)) continue;
    const std::string number = entry.key().substr(prefix.size(), entry.key().find('.', prefix.size()) - prefix.size());
    if (number.empty() || number.size() > 6 || number.find_first_not_of("0123456789") != std::string::npos) continue;
    layers = std::max<std::int64_t>(layers, std::stoll(number) + 1);
  }
  return layers;
}

bool is_conv1d(const std::string& name) {
  for (const char* matrix : {".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight"})
    if (name.ends_with(matrix)) return true;
  return false;
}

// A model of these options whose parameters were never drawn: its weights come next.
template <class Model, class Options>
Model without_weights(const Options& options) {
  const SkipRandomFill skip;
  return Model(options);
}

// Puts the tensors of `state` in the place of the model's own. They lie in the mapped file and stay there, so that nothing is read before it is used; only those of another dtype are converted. Throws as
// load_state_dict does.
void take_weights(nn::Module& model, const State& state) {
  const State own = model.state_dict();
  bool fits = own.size() == state.size();
  for (const auto& entry : own) {
    const Tensor* const found = state.find(entry.key());
    fits = fits && found != nullptr && found->sizes() == entry.value().sizes();
  }
  if (!fits) model.load_state_dict(state);  // which says what does not fit
  const AutoDispatchBelowAutograd guard;
  for (const auto& entry : own) {
    const Tensor& weight = *state.find(entry.key());
    if (weight.scalar_type() == entry.value().scalar_type()) entry.value().set_data(weight);
    else entry.value().copy_(weight);
  }
}

void replace_end(std::string& name, const std::string& old_end, const std::string& new_end) {
  if (name.ends_with(old_end)) name.replace(name.size() - old_end.size(), old_end.size(), new_end);
}
}  // namespace

OrderedDict<std::string, Tensor> models::published_weights(const std::string& folder) {
  const std::filesystem::path root(folder);
  if (std::filesystem::exists(root / "model.safetensors") || std::filesystem::exists(root / "model.safetensors.index.json")) return safetensors::load_sharded(folder);
  const std::string pickled = (root / "pytorch_model.bin").string();
  TORCH_CHECK(std::filesystem::exists(pickled), "no weights in ", folder, ": neither model.safetensors nor model.safetensors.index.json nor pytorch_model.bin is there\n[load] check the path.");
  return serialize::named_tensors(serialize::load_checkpoint(pickled));
}

// %%
//| export models/published.cpp
models::GPT models::load_gpt2(const std::string& folder) {
  const Config config(folder);
  config.require(config.word("model_type", "gpt2") == "gpt2", "model_type is '" + config.word("model_type", "") + "', not 'gpt2'");
  config.require(config.word("activation_function", "gelu_new") == "gelu_new", "activation_function is '" + config.word("activation_function", "") + "', not 'gelu_new'");
  config.require(!config.is("scale_attn_by_inverse_layer_idx", false) && config.is("scale_attn_weights", true), "attention is scaled in a way of its own");
  const std::int64_t C = config.size("n_embd");
  config.require(!config.has("n_inner") || config.size("n_inner") == 4 * C, "n_inner is not 4 n_embd");
  const GPTOptions options = GPTOptions(config.size("vocab_size"), config.size("n_positions"))
                                 .n_layer(config.size("n_layer"))
                                 .n_head(config.size("n_head"))
                                 .n_embd(C)
                                 .dropout(config.number("resid_pdrop", 0.1))
                                 .layer_norm_epsilon(config.number("layer_norm_epsilon", 1e-5))
                                 .tie_weights(config.is("tie_word_embeddings", true));
  State state("Tensor");
  for (const auto& entry : published_weights(folder)) {
    std::string name = entry.key();
    if (name.starts_with("transformer.")) name.erase(0, 12);
    if (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")) continue;  // the causal mask
    if (name == "lm_head.weight" && options.tie_weights()) continue;
    state.insert(name, is_conv1d(name) && entry.value().dim() == 2 ? entry.value().t() : entry.value());
  }
  check_sizes(state, "wte.weight", {options.vocab_size(), C}, config);
  check_sizes(state, "wpe.weight", {options.block_size(), C}, config);
  config.require(layers_in(state, "h.") == options.n_layer(), str("n_layer is ", options.n_layer(), ", but the weights have ", layers_in(state, "h."), " layers"));
  check_sizes(state, "h.0.mlp.c_fc.weight", {4 * C, C}, config);
  GPT model = without_weights<GPT>(options);
  take_weights(*model, state);
  model->eval();
  return model;
}

void models::save_gpt2(const GPT& model, const std::string& folder) {
  const GPTOptions& options = model->options;
  State state("Tensor");
  for (const auto& entry : model->state_dict()) {
    const std::string name = entry.key() == "lm_head.weight" ? entry.key() : "transformer." + entry.key();
    state.insert(name, is_conv1d(name) ? entry.value().detach().t() : entry.value().detach());
  }
  const json config = {{"model_type", "gpt2"},
                       {"architectures", {"GPT2LMHeadModel"}},
                       {"vocab_size", options.vocab_size()},
                       {"n_positions", options.block_size()},
                       {"n_embd", options.n_embd()},
                       {"n_layer", options.n_layer()},
                       {"n_head", options.n_head()},
                       {"activation_function", "gelu_new"},
                       {"attn_pdrop", options.dropout()},
                       {"embd_pdrop", options.dropout()},
                       {"resid_pdrop", options.dropout()},
                       {"layer_norm_epsilon", options.layer_norm_epsilon()},
                       {"tie_word_embeddings", options.tie_weights()}};
  std::filesystem::create_directories(folder);
  safetensors::save_sharded(state, folder);
  serialize::write_file_atomically((std::filesystem::path(folder) / "config.json").string(), config.dump(2) + "\n");
}

models::Bert models::load_bert(const std::string& folder) {
  const Config config(folder);
  config.require(config.word("model_type", "bert") == "bert", "model_type is '" + config.word("model_type", "") + "', not 'bert'");
  config.require(config.word("position_embedding_type", "absolute") == "absolute" && !config.is("is_decoder", false), "positions or attention are not BERT's");
  State state("Tensor");
  for (const auto& entry : published_weights(folder)) {
    std::string name = entry.key();
    if (name.starts_with("bert.")) name.erase(0, 5);
    if (!name.starts_with("embeddings.") && !name.starts_with("encoder.") && !name.starts_with("pooler.")) continue;  // trained on top
    if (name == "embeddings.position_ids") continue;                                                                  // 0, 1, 2, ...
    replace_end(name, ".LayerNorm.gamma", ".LayerNorm.weight");
    replace_end(name, ".LayerNorm.beta", ".LayerNorm.bias");
    state.insert(name, entry.value());
  }
  const BertOptions options = BertOptions()
                                  .vocab_size(config.size("vocab_size"))
                                  .hidden_size(config.size("hidden_size"))
                                  .num_hidden_layers(config.size("num_hidden_layers"))
                                  .num_attention_heads(config.size("num_attention_heads"))
                                  .intermediate_size(config.size("intermediate_size"))
                                  .max_position_embeddings(config.size("max_position_embeddings"))
                                  .type_vocab_size(config.size("type_vocab_size"))
                                  .layer_norm_eps(config.number("layer_norm_eps", 1e-12))
                                  .dropout(config.number("hidden_dropout_prob", 0.1))
                                  .hidden_act(config.word("hidden_act", "gelu"))
                                  .pooler(state.contains("pooler.dense.weight"));
  const std::int64_t C = options.hidden_size();
  check_sizes(state, "embeddings.word_embeddings.weight", {options.vocab_size(), C}, config);
  check_sizes(state, "embeddings.position_embeddings.weight", {options.max_position_embeddings(), C}, config);
  check_sizes(state, "embeddings.token_type_embeddings.weight", {options.type_vocab_size(), C}, config);
  config.require(layers_in(state, "encoder.layer.") == options.num_hidden_layers(),
                 str("num_hidden_layers is ", options.num_hidden_layers(), ", but the weights have ", layers_in(state, "encoder.layer."), " layers"));
  check_sizes(state, "encoder.layer.0.intermediate.dense.weight", {options.intermediate_size(), C}, config);
  check_sizes(state, "encoder.layer.0.attention.self.query.weight", {C, C}, config);
  Bert model = without_weights<Bert>(options);
  take_weights(*model, state);
  model->eval();
  return model;
}

// %%
TEST_CASE("GPT-2's files: there and back, as Hugging Face names and turns them") {
  const tito::Scratch scratch;
  manual_seed(5);
  const auto options = models::GPTOptions(11, 8).n_layer(2).n_head(2).n_embd(8);
  models::GPT model(options);
  make_lively(*model);
  models::save_gpt2(model, scratch.path("model"));
  const auto file = safetensors::load_file(scratch.path("model/model.safetensors"));
  CHECK(file["transformer.h.1.mlp.c_fc.weight"].sizes() == IntArrayRef({8, 32}));
  CHECK_EQ(file["transformer.h.0.attn.c_proj.weight"], model->named_parameters()["h.0.attn.c_proj.weight"].detach().t());
  CHECK(!file.contains("lm_head.weight"));

  const NoGradGuard no_grad;
  const Tensor tokens = tensor({{3, 1, 4, 1, 5}});
  const Tensor expected = model->forward(tokens);
  // The file's weights lie transposed in memory, so that another kernel may multiply by them: close, not equal to the bit.
  models::GPT loaded = models::load_gpt2(scratch.path("model"));
  CHECK(!loaded->is_training());
  CHECK_CLOSE(loaded->forward(tokens), expected, 1e-5, 1e-6);

  // As OpenAI's weights were converted: a pickle, no prefix, the causal mask and the head among the tensors.
  std::filesystem::create_directory(scratch.path("old"));
  std::filesystem::copy(scratch.path("model/config.json"), scratch.path("old/config.json"));
  OrderedDict<std::string, Tensor> old;
  for (const auto& entry : file) old.insert(entry.key().substr(12), entry.value());
  old.insert("h.0.attn.bias", ones({1, 1, 8, 8}));
  old.insert("h.0.attn.masked_bias", tensor(-1e4f));
  old.insert("lm_head.weight", file["transformer.wte.weight"]);
  serialize::save_checkpoint(serialize::to_value(old), scratch.path("old/pytorch_model.bin"));
  CHECK_CLOSE(models::load_gpt2(scratch.path("old"))->forward(tokens), expected, 1e-5, 1e-6);

  // A head of its own, in several files.
  models::GPT untied(models::GPTOptions(options).tie_weights(false));
  make_lively(*untied);
  models::save_gpt2(untied, scratch.path("untied"));
  CHECK_CLOSE(models::load_gpt2(scratch.path("untied"))->forward(tokens), untied->forward(tokens), 1e-5, 1e-6);
}

// %%
TEST_CASE("published models: loading draws no random numbers and copies no weights") {
  const tito::Scratch scratch;
  models::GPT model(models::GPTOptions(500, 64).n_layer(2).n_head(2).n_embd(32));
  models::save_gpt2(model, scratch.path("model"));
  manual_seed(42);
  const std::size_t before = memory::stats().live;
  models::GPT loaded = models::load_gpt2(scratch.path("model"));
  CHECK_LT(memory::stats().live - before, static_cast<std::size_t>(model->num_parameters()) * sizeof(float) / 4);
  CHECK_EQ(rand({}), tensor(0.882269263));
  for (const auto& entry : model->named_parameters()) {
    const Tensor parameter = loaded->named_parameters()[entry.key()];
    CHECK(parameter.requires_grad());
    CHECK_EQ(parameter.detach(), entry.value().detach());
  }

  // Training changes the model and not the file.
  loaded->train();
  loaded->loss(tensor({{1, 2, 3}}), tensor({{2, 3, 4}})).backward();
  {
    const NoGradGuard no_grad;
    for (const Tensor& parameter : loaded->parameters()) parameter.sub_(parameter.grad());
  }
  CHECK(!loaded->named_parameters()["wte.weight"].equal(model->named_parameters()["wte.weight"]));
  CHECK_EQ(models::load_gpt2(scratch.path("model"))->named_parameters()["wte.weight"].detach(), model->named_parameters()["wte.weight"].detach());
}

// %%
TEST_CASE("published models: what is missing or does not fit is one sentence") {
  const tito::Scratch scratch;
  models::GPT model(models::GPTOptions(11, 8).n_layer(2).n_head(2).n_embd(8));
  models::save_gpt2(model, scratch.path("model"));
  const std::string config = serialize::read_file(scratch.path("model/config.json"));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = config;
    changed.replace(changed.find(from), from.size(), to);
    std::ofstream(scratch.path("model/config.json")) << changed;
    models::load_gpt2(scratch.path("model"));
  };
  CHECK_ERROR(with("\"vocab_size\": 11", "\"vocab_size\": 2000000000"), "size mismatch for wte.weight: the file has [11, 8], " + scratch.path("model/config.json") + " says [2000000000, 8]");
  CHECK_ERROR(with("\"n_layer\": 2", "\"n_layer\": 1000000"), "n_layer is 1000000, but the weights have 2 layers");
  CHECK_ERROR(with("\"n_layer\": 2", "\"n_layer\": -2"), "'n_layer' is missing, or no whole number from 1 to");
  CHECK_ERROR(with("\"n_head\": 2", "\"n_head\": 3"), "embed_dim must be divisible by num_heads");
  CHECK_ERROR(with("gelu_new", "swish"), "activation_function is 'swish', not 'gelu_new'");
  CHECK_ERROR(with("\"gpt2\"", "\"llama\""), "model_type is 'llama', not 'gpt2'");
  CHECK_ERROR(with("{", "["), "it is not a JSON object");
  std::ofstream(scratch.path("model/config.json")) << config;
  CHECK_ERROR(models::load_bert(scratch.path("model")), "model_type is 'gpt2', not 'bert'");

  auto weights = safetensors::load_file(scratch.path("model/model.safetensors"));
  weights.erase("transformer.h.1.ln_2.bias");
  weights.insert("transformer.h.1.extra", ones({1}));
  safetensors::save_file(weights, scratch.path("model/model.safetensors"));
  CHECK_ERROR(models::load_gpt2(scratch.path("model")), "Missing key(s) in state_dict: \"h.1.ln_2.bias\"");
  CHECK_ERROR(models::load_gpt2(scratch.path("model")), "Unexpected key(s) in state_dict: \"h.1.extra\"");
  std::filesystem::remove(scratch.path("model/model.safetensors"));
  CHECK_ERROR(models::load_gpt2(scratch.path("model")), "neither model.safetensors nor model.safetensors.index.json nor pytorch_model.bin is there");
  CHECK_ERROR(models::load_gpt2(scratch.path("nowhere")), scratch.path("nowhere/config.json"));
}

// %%
}  // namespace tinytorch
