// From the lesson modules/11_attention/attention_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/attention.h"

#include <cmath>
#include <limits>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/more_init.h"

namespace tinytorch {

// What is added to the scores (..., L, S): 0 where a query may look at a key and -inf where it may not; a floating-point mask is added as it is. Of the mask's sizes, or (L, S) for
// is_causal, where query i sees keys 0 ... i. Undefined if there is neither. O(elements of the mask).
Tensor nn::detail::attention_bias(const std::optional<Tensor>& attn_mask, bool is_causal, std::int64_t L, std::int64_t S, ScalarType dtype) {
  constexpr double hidden = -std::numeric_limits<double>::infinity();
  if (is_causal) return zeros({L, S}, dtype).masked_fill(arange(S).unsqueeze(0) > arange(L).unsqueeze(1), hidden);
  if (!attn_mask || !attn_mask->defined()) return {};
  if (attn_mask->scalar_type() == kBool) return zeros(attn_mask->sizes(), dtype).masked_fill(attn_mask->logical_not(), hidden);
  return attn_mask->to(dtype);
}

// (..., Hk, S, E) -> (..., heads, S, E): head h of the result is head h / (heads / Hk) of x. x itself if Hk is `heads`. REQUIRES: Hk divides heads. O(elements of the result).
Tensor nn::detail::share_heads(const Tensor& x, std::int64_t heads) {
  if (x.size(-3) == heads) return x;
  const Tensor grouped = x.unsqueeze(-3);
  DimVector sizes(grouped.sizes());
  sizes[sizes.size() - 3] = heads / x.size(-3);
  return grouped.expand(sizes).flatten(-4, -3);
}

namespace {
// softmax along the last dimension; zeros for a row of -inf, and no NaN in its gradient.
Tensor masked_softmax(const Tensor& scores) {
  const Tensor hidden = (scores == -std::numeric_limits<double>::infinity()).all(-1, true);
  if (!hidden.any().item<bool>()) return softmax(scores, -1);
  return softmax(scores.masked_fill(hidden, 0), -1).masked_fill(hidden, 0);
}
}  // namespace

// (output (..., L, Ev), weights (..., L, S)) for query (..., L, E), key (..., S, E), value (..., S, Ev); the weights are those after dropout. Arguments as in scaled_dot_product_attention. O(L S E) time, O(L S) memory.
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask,
                                                              double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const Tensor keys = enable_gqa ? nn::detail::share_heads(key, query.size(-3)) : key;
  const Tensor values = enable_gqa ? nn::detail::share_heads(value, query.size(-3)) : value;
  const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));
  Tensor scores = matmul(query * factor, keys.transpose(-2, -1));
  const Tensor bias = nn::detail::attention_bias(attn_mask, is_causal, query.size(-2), keys.size(-2), query.scalar_type());
  if (bias.defined()) scores = scores + bias;
  const Tensor weights = dropout(masked_softmax(scores), dropout_p, true);
  return {matmul(weights, values), weights};
}

namespace {

void check_attention(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask, bool is_causal, bool enable_gqa) {
  TORCH_CHECK(query.scalar_type() == key.scalar_type() && query.scalar_type() == value.scalar_type(), "Expected query, key, and value to have the same dtype, but got query.dtype: ", cpp_name(query.scalar_type()),
              " key.dtype: ", cpp_name(key.scalar_type()), " and value.dtype: ", cpp_name(value.scalar_type()), " instead.");
  TORCH_CHECK(query.dim() >= 2 && key.dim() >= 2 && value.dim() >= 2, "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: ", query.dim(), " key.dim: ", key.dim(),
              " and value.dim: ", value.dim(), " instead.");
  TORCH_CHECK(query.is_floating_point(), "expected scalar type Float but found ", query.scalar_type(), "\n[scaled_dot_product_attention] its weights are fractions: convert the inputs with to(kFloat) first.");
  if (enable_gqa) {
    TORCH_CHECK(query.dim() >= 3 && key.dim() >= 3 && value.dim() >= 3, "Expected query, key, and value to all be at least 3 dimensional with enable_gqa, but got ", query.sizes(), ", ", key.sizes(), " and ", value.sizes());
    const std::int64_t heads = query.size(-3);
    TORCH_CHECK(key.size(-3) > 0 && value.size(-3) > 0 && heads % key.size(-3) == 0 && heads % value.size(-3) == 0,
                "Number of heads in key and value must divide the number of heads in query\n[scaled_dot_product_attention] query has ", heads, " heads, key ", key.size(-3), ", value ", value.size(-3));
  }
  if (!attn_mask || !attn_mask->defined()) return;
  TORCH_CHECK(!is_causal, "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True\n[scaled_dot_product_attention] hide the later keys in the mask itself.");
  const ScalarType type = attn_mask->scalar_type();
  TORCH_CHECK(type == kBool || type == kFloat || type == query.scalar_type(), "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: ", cpp_name(type),
              " and  query.dtype: ", cpp_name(query.scalar_type()), " instead.");
}

// Whether `mask` broadcasts to `sizes` as it stands.
bool broadcasts_to(const Tensor& mask, IntArrayRef sizes) {
  const std::int64_t extra = static_cast<std::int64_t>(sizes.size()) - mask.dim();
  if (extra < 0) return false;
  for (std::int64_t d = 0; d < mask.dim(); ++d)
    if (mask.size(d) != 1 && mask.size(d) != sizes[static_cast<std::size_t>(d + extra)]) return false;
  return true;
}

// Whether the inputs have up to four dimensions that agree without broadcasting.
bool fits_blocks(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& bias, bool enable_gqa) {
  const std::int64_t dims = query.dim();
  if (dims > 4 || key.dim() != dims || value.dim() != dims) return false;
  if (query.size(-1) != key.size(-1) || key.size(-2) != value.size(-2)) return false;
  for (std::int64_t d = 0; d < dims - 2; ++d) {
    if (key.size(d) != value.size(d)) return false;
    if (key.size(d) != query.size(d) && !(enable_gqa && d == dims - 3)) return false;
  }
  DimVector scores(query.sizes());
  scores[scores.size() - 1] = key.size(-2);
  return !bias.defined() || broadcasts_to(bias, scores);
}

// (B, H, L, E), with B and H of 1 where x has fewer dimensions.
Tensor with_four_dimensions(Tensor x) {
  while (x.dim() < 4) x = x.unsqueeze(0);
  return x;
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask, double dropout_p, bool is_causal,
                                    std::optional<double> scale, bool enable_gqa) {
  check_attention(query, key, value, attn_mask, is_causal, enable_gqa);
  const bool mask_learns = attn_mask && attn_mask->defined() && attn_mask->requires_grad() && is_recording();
  if (dropout_p == 0 && !mask_learns) {
    const Tensor bias = nn::detail::attention_bias(attn_mask, false, query.size(-2), key.size(-2), query.scalar_type());
    if (fits_blocks(query, key, value, bias, enable_gqa)) {
      const auto [output, logsumexp_] = _scaled_dot_product_flash_attention_for_cpu(with_four_dimensions(query), with_four_dimensions(key), with_four_dimensions(value), 0, is_causal,
                                                                                    bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, scale);
      Tensor result = output;
      while (result.dim() > query.dim()) result = result.squeeze(0);
      return result;
    }
  }
  try {
    return std::get<0>(_scaled_dot_product_attention_math(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa));
  } catch (Error& error) {
    error.add_context(str("[scaled_dot_product_attention] query ", query.sizes(), ", key ", key.sizes(), ", value ", value.sizes(),
                          ": query and key agree in their last dimension, key and value in the one before, and the others must broadcast."));
    throw;
  }
}

// (L, B, H * D) -> (B, H, L, D): head h has the features h * D ... (h + 1) * D - 1. A view if x's last dimension is dense. REQUIRES: heads divides the features. O(1).
Tensor nn::detail::split_heads(const Tensor& x, std::int64_t heads) {
  return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).permute({1, 2, 0, 3});
}

// (B, H, L, D) -> (L, B, H * D): undoes split_heads. One copy.
Tensor nn::detail::merge_heads(const Tensor& x) {
  return x.permute({2, 0, 1, 3}).reshape({x.size(2), x.size(0), x.size(1) * x.size(3)});
}

// (q, k, v) for query (L, B, E), key and value (S, B, E) by the thirds of weight (3 E, E) and bias (3 E), or no bias if it is undefined. One product if the three are the same tensor. Source: torch/nn/functional.py,
// _in_projection_packed. O(L B E^2).
std::tuple<Tensor, Tensor, Tensor> nn::detail::in_projection_packed(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& weight, const Tensor& bias) {
  if (query.is_same(key) && key.is_same(value)) {
    const std::vector<Tensor> parts = linear(query, weight, bias).chunk(3, -1);
    return {parts[0], parts[1], parts[2]};
  }
  const std::vector<Tensor> weights = weight.chunk(3);
  const std::vector<Tensor> biases = bias.defined() ? bias.chunk(3) : std::vector<Tensor>(3);
  return {linear(query, weights[0], biases[0]), linear(key, weights[1], biases[1]), linear(value, weights[2], biases[2])};
}

nn::functional::MultiheadAttentionForwardFuncOptions::MultiheadAttentionForwardFuncOptions(std::int64_t embed_dim_to_check, std::int64_t num_heads, Tensor in_proj_weight, Tensor in_proj_bias,
                                                                                           Tensor bias_k, Tensor bias_v, bool add_zero_attn, double dropout_p, Tensor out_proj_weight,
                                                                                           Tensor out_proj_bias)
    : embed_dim_to_check_(embed_dim_to_check), num_heads_(num_heads), in_proj_weight_(std::move(in_proj_weight)), in_proj_bias_(std::move(in_proj_bias)), bias_k_(std::move(bias_k)),
      bias_v_(std::move(bias_v)), add_zero_attn_(add_zero_attn), dropout_p_(dropout_p), out_proj_weight_(std::move(out_proj_weight)), out_proj_bias_(std::move(out_proj_bias)) {}

nn::MultiheadAttentionImpl::MultiheadAttentionImpl(std::int64_t embed_dim, std::int64_t num_heads) : MultiheadAttentionImpl(MultiheadAttentionOptions(embed_dim, num_heads)) {}

namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// A mask of MultiheadAttention as what is added to scores: true becomes -inf.
Tensor additive(const Tensor& mask, const char* name, ScalarType dtype) {
  TORCH_CHECK(mask.scalar_type() == kBool || mask.is_floating_point(), "only bool and floating types of ", name, " are supported\n[MultiheadAttention] got ", mask.scalar_type(),
              "; a mask of zeros and ones becomes one with mask.to(kBool), where true hides.");
  return mask.scalar_type() == kBool ? zeros(mask.sizes(), dtype).masked_fill(mask, kHidden) : mask.to(dtype);
}

// The bias of the scores (B, H, L, S + added) from attn_mask and key_padding_mask, each undefined or of its documented size; the `added` keys at the end are seen by all. Undefined if both are.
Tensor bias_of_masks(const Tensor& attn_mask, const Tensor& key_padding_mask, std::int64_t B, std::int64_t H, std::int64_t L, std::int64_t S, std::int64_t added, ScalarType dtype) {
  Tensor bias;
  if (attn_mask.defined()) {
    TORCH_CHECK(attn_mask.dim() == 2 || attn_mask.dim() == 3, "attn_mask's dimension ", attn_mask.dim(), " is not supported\n[MultiheadAttention] it is (L, S) or (B * H, L, S).");
    const DimVector expected = attn_mask.dim() == 2 ? DimVector{L, S} : DimVector{B * H, L, S};
    TORCH_CHECK(attn_mask.sizes() == IntArrayRef(expected), "The shape of the ", attn_mask.dim(), "D attn_mask is ", attn_mask.sizes(), ", but should be ", IntArrayRef(expected), ".");
    bias = additive(attn_mask, "attn_mask", dtype);
    if (bias.dim() == 3) bias = bias.view({B, H, L, S});
  }
  if (key_padding_mask.defined()) {
    TORCH_CHECK(key_padding_mask.sizes() == IntArrayRef({B, S}), "The shape of the key_padding_mask is ", key_padding_mask.sizes(), ", but should be ", IntArrayRef({B, S}),
                "\n[MultiheadAttention] one row for each sample, one column for each key.");
    const Tensor padding = additive(key_padding_mask, "key_padding_mask", dtype).view({B, 1, 1, S});
    bias = bias.defined() ? bias + padding : padding;
  }
  if (!bias.defined() || added == 0) return bias;
  DimVector sizes(bias.sizes());
  sizes[sizes.size() - 1] = added;
  return cat({bias, zeros(sizes, dtype)}, -1);
}

// x (B, H, S, D) with one more row of zeros.
Tensor with_zero_row(const Tensor& x) { return cat({x, zeros({x.size(0), x.size(1), 1, x.size(3)}, x.scalar_type())}, 2); }

// q, k, v (L or S, B, E) by the weights that `options` names.
std::tuple<Tensor, Tensor, Tensor> project_inputs(const Tensor& query, const Tensor& key, const Tensor& value, const nn::functional::MultiheadAttentionForwardFuncOptions& options) {
  if (!options.use_separate_proj_weight()) return nn::detail::in_projection_packed(query, key, value, options.in_proj_weight(), options.in_proj_bias());
  const auto check = [](const char* name, const Tensor& weight, const Tensor& input, std::int64_t embed_dim) {
    TORCH_CHECK(weight.size(0) == embed_dim && weight.size(1) == input.size(-1), "expecting ", name, " weights shape of ", IntArrayRef({embed_dim, input.size(-1)}), ", but got ", weight.sizes());
  };
  check("query", options.q_proj_weight(), query, query.size(2));
  check("key", options.k_proj_weight(), key, query.size(2));
  check("value", options.v_proj_weight(), value, query.size(2));
  const std::vector<Tensor> biases = options.in_proj_bias().defined() ? options.in_proj_bias().chunk(3) : std::vector<Tensor>(3);
  return {linear(query, options.q_proj_weight(), biases[0]), linear(key, options.k_proj_weight(), biases[1]), linear(value, options.v_proj_weight(), biases[2])};
}

void check_inputs(const Tensor& query, const Tensor& key, const Tensor& value, const nn::functional::MultiheadAttentionForwardFuncOptions& options) {
  TORCH_CHECK(query.dim() == 3 && key.dim() == 3 && value.dim() == 3, "MultiheadAttention expects query, key and value of three dimensions (sequence, batch, features), but got ", query.sizes(), ", ",
              key.sizes(), " and ", value.sizes());
  const std::int64_t embed_dim = query.size(2);
  TORCH_CHECK(embed_dim == options.embed_dim_to_check(), "was expecting embedding dimension of ", options.embed_dim_to_check(), ", but got ", embed_dim);
  TORCH_CHECK(options.num_heads() > 0, "num_heads must be greater than 0");
  TORCH_CHECK(embed_dim % options.num_heads() == 0, "embed_dim must be divisible by num_heads");
  TORCH_CHECK(key.size(0) == value.size(0) && key.size(1) == value.size(1), "key's sequence and batch dims ", IntArrayRef({key.size(0), key.size(1)}), " do not match value's ",
              IntArrayRef({value.size(0), value.size(1)}));
  TORCH_CHECK(key.size(1) == query.size(1), "key's batch size ", key.size(1), " does not match query's ", query.size(1), "\n[MultiheadAttention] dimension 0 is the sequence, dimension 1 the batch.");
  TORCH_CHECK(options.bias_k().defined() == options.bias_v().defined(), "bias_k and bias_v belong together, but only one of them is defined");
}

}  // namespace

// (output (L, B, E), weights (B, L, S) or (B, H, L, S) or undefined): see the declaration.
std::tuple<Tensor, Tensor> nn::functional::multi_head_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, const MultiheadAttentionForwardFuncOptions& options) {
  check_inputs(query, key, value, options);
  const std::int64_t L = query.size(0), B = query.size(1), H = options.num_heads(), D = query.size(2) / H;
  auto [q, k, v] = project_inputs(query, key, value, options);
  std::int64_t added = 0;
  if (options.bias_k().defined()) {
    TORCH_CHECK(!options.static_k().defined(), "bias cannot be added to static key.");
    TORCH_CHECK(!options.static_v().defined(), "bias cannot be added to static value.");
    k = cat({k, options.bias_k().repeat({1, B, 1})});
    v = cat({v, options.bias_v().repeat({1, B, 1})});
    ++added;
  }
  q = detail::split_heads(q, H);
  k = options.static_k().defined() ? options.static_k().view({B, H, -1, D}) : detail::split_heads(k, H);
  v = options.static_v().defined() ? options.static_v().view({B, H, -1, D}) : detail::split_heads(v, H);
  if (options.add_zero_attn()) {
    k = with_zero_row(k);
    v = with_zero_row(v);
    ++added;
  }
  const Tensor bias = bias_of_masks(options.attn_mask(), options.key_padding_mask(), B, H, L, k.size(2) - added, added, q.scalar_type());
  const double dropout_p = options.training() ? options.dropout_p() : 0.0;
  Tensor output, weights;
  if (options.need_weights()) {
    std::tie(output, weights) = _scaled_dot_product_attention_math(q, k, v, bias, dropout_p);
    if (options.average_attn_weights()) weights = weights.mean(1);
  } else {
    output = scaled_dot_product_attention(q, k, v, bias, dropout_p);
  }
  return {tinytorch::linear(detail::merge_heads(output), options.out_proj_weight(), options.out_proj_bias()), weights};
}

nn::MultiheadAttentionImpl::MultiheadAttentionImpl(const MultiheadAttentionOptions& options_) : Cloneable("torch::nn::MultiheadAttention"), options(options_) { MultiheadAttentionImpl::reset(); }

void nn::MultiheadAttentionImpl::reset() {
  const std::int64_t E = options.embed_dim();
  TORCH_CHECK(options.num_heads() > 0, "num_heads must be greater than 0");
  _qkv_same_embed_dim = options.kdim() == E && options.vdim() == E;
  head_dim = E / options.num_heads();
  TORCH_CHECK(head_dim * options.num_heads() == E, "embed_dim must be divisible by num_heads\n[MultiheadAttention] embed_dim ", E, ", num_heads ", options.num_heads());
  const auto parameter = [this](const char* name, bool wanted, IntArrayRef sizes) { return register_parameter(name, wanted ? empty(sizes) : Tensor(), wanted); };
  in_proj_weight = parameter("in_proj_weight", _qkv_same_embed_dim, {3 * E, E});
  q_proj_weight = parameter("q_proj_weight", !_qkv_same_embed_dim, {E, E});
  k_proj_weight = parameter("k_proj_weight", !_qkv_same_embed_dim, {E, options.kdim()});
  v_proj_weight = parameter("v_proj_weight", !_qkv_same_embed_dim, {E, options.vdim()});
  in_proj_bias = parameter("in_proj_bias", options.bias(), {3 * E});
  out_proj = register_module("out_proj", Linear(LinearOptions(E, E).bias(options.bias())));
  bias_k = parameter("bias_k", options.add_bias_kv(), {1, 1, E});
  bias_v = parameter("bias_v", options.add_bias_kv(), {1, 1, E});
  _reset_parameters();
}

void nn::MultiheadAttentionImpl::_reset_parameters() {
  if (_qkv_same_embed_dim) {
    init::xavier_uniform_(in_proj_weight);
  } else {
    init::xavier_uniform_(q_proj_weight);
    init::xavier_uniform_(k_proj_weight);
    init::xavier_uniform_(v_proj_weight);
  }
  if (in_proj_bias.defined()) {
    init::zeros_(in_proj_bias);
    init::zeros_(out_proj->bias);
  }
  if (bias_k.defined()) {
    init::xavier_normal_(bias_k);
    init::xavier_normal_(bias_v);
  }
}

std::tuple<Tensor, Tensor> nn::MultiheadAttentionImpl::forward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& key_padding_mask, bool need_weights, const Tensor& attn_mask,
                                                               bool average_attn_weights) {
  return functional::multi_head_attention_forward(query, key, value,
                                                  functional::MultiheadAttentionForwardFuncOptions(options.embed_dim(), options.num_heads(), in_proj_weight, in_proj_bias, bias_k, bias_v, options.add_zero_attn(),
                                                                                                   options.dropout(), out_proj->weight, out_proj->bias)
                                                      .training(is_training())
                                                      .key_padding_mask(key_padding_mask)
                                                      .need_weights(need_weights)
                                                      .attn_mask(attn_mask)
                                                      .use_separate_proj_weight(!_qkv_same_embed_dim)
                                                      .q_proj_weight(q_proj_weight)
                                                      .k_proj_weight(k_proj_weight)
                                                      .v_proj_weight(v_proj_weight)
                                                      .average_attn_weights(average_attn_weights));
}

}  // namespace tinytorch
