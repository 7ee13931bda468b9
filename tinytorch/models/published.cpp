// From the lesson modules/88_pretrained/pretrained_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/published.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tinytorch/core/random.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/pickle.h"
#include "tinytorch/serialize/safetensors.h"

namespace tinytorch {

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

}  // namespace tinytorch
