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
// # Module 11: Attention
//
// A linear layer mixes the features of one position. A convolution mixes neighbours, always with the same weights. Attention mixes *all* positions of a sequence, with weights that are computed from the data: each position asks a question, every position
// answers, and the answers that fit are averaged. A pronoun finds its noun 300 words earlier in one step. That is the layer that language models are made of, and in this module you build it twice.
//
// The first version is three lines of tensor operations. It holds a matrix of N x N weights, which for 100,000 tokens and one head is 40 GB. The second version computes the same numbers without ever holding that matrix: it walks over the keys in blocks, with a softmax that can be
// corrected later, and in the backward pass it computes the weights again instead of remembering them. This is the idea behind FlashAttention, and it is why models can read books.
//
// **Objectives.** After this module you can
//
// - compute scaled dot-product attention with boolean, additive and causal masks, with grouped heads and dropout, with PyTorch's numbers;
// - say where N x N memory appears in the forward and the backward pass, and compute both without it;
// - derive the online softmax and the gradient of attention from its output and one number per row;
// - build MultiheadAttention on libtorch's interface, and recognize heads that were mixed by a wrong reshape;
// - measure memory and time of both versions and say when which is better.
//
// **Where it sits.** Below it: matmul and views (01, 91), softmax (02), Linear and its initialization (03, 93), the graph (05). Above it: the transformer of module 12, which is this layer, a norm and a small MLP, repeated.
//
// **Prerequisites.** Modules 01 to 06 and chapters 90, 91 and 93. Softmax and its gradient, the product of matrices.

// %%
//| export nn/online_softmax-inl.h
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
//| export nn/flash_attention.h
#include <optional>
#include <tuple>
#include "tinytorch/core/ops.h"
//| export nn/flash_attention.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/attention.h"
#include "tinytorch/nn/online_softmax-inl.h"
//| export nn/attention.h
#include <optional>
#include <tuple>
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/flash_attention.h"
#include "tinytorch/nn/linear.h"
//| export nn/attention.cpp
#include <cmath>
#include <limits>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/more_init.h"

// %%
#include "tito/lesson.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/optim/adam.h"
#include "tinytorch/optim/sgd.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### A lookup that is soft
//
// A dictionary compares a *query* with its *keys* and returns the *value* of the one that is equal. Attention compares by a dot product, turns the scores into weights that add up to 1, and returns the weighted mean of all values. A mean has a gradient where a choice has none.
//
//                     keys k_0     k_1     k_2     k_3
//                            │       │       │       │
//     query q_i  ──────────> ●       ●       ●       ●      scores   s_ij = q_i · k_j / sqrt(E)
//                          0.1     2.3    -1.0     0.4
//                            │       │       │       │
//                         softmax over the keys:  for each query, weights that add up to 1
//                          .08     .74     .03     .11      p_ij
//                            │       │       │       │
//                     values v_0     v_1     v_2     v_3
//                            └───────┴───┬───┴───────┘
//                                   o_i = Σ p_ij v_j
//
// For L queries of E features, S keys and S values:
//
//     S = Q K^T / sqrt(E)     (L, S)        L * S * E products
//     P = softmax(S)          (L, S)        each row adds up to 1
//     O = P V                 (L, E)        L * S * E products
//
// Time is O(L S E), and that is the least for exact attention as far as anybody knows. Memory as written is O(L S) for S and P; the inputs and outputs are only O((L + S) E). The second half of this module removes that gap.
//
// Why `sqrt(E)`? If the features of q and k are independent with mean 0 and variance 1, their dot product is a sum of E terms of variance 1: its standard deviation is `sqrt(E)`. Without the division a head of 64 features starts with scores of around 8, the softmax gives nearly all weight to one key,
// and where a softmax is saturated its gradient is 0.
//
// The names are those of PyTorch: `query (..., L, E)`, `key (..., S, E)`, `value (..., S, Ev)`, usually with a batch and heads in front: `(B, H, L, E)`. Here is what this module declares; you fill it from top to bottom.

// %%
//| export nn/attention.h
// softmax(query key^T * scale + mask) value, for query (..., L, E), key (..., S, E) and value (..., S, Ev) -> (..., L, Ev). All of one floating-point dtype; batch dimensions broadcast.
//   attn_mask   broadcasts to (..., L, S). Bool: true where a query may look at a key. Floating point: added to the scores. A query that may look nowhere gets zeros.
//   dropout_p   each weight becomes 0 with this probability, and the others are scaled up; also outside of training: the caller decides
//   is_causal   query i sees keys 0 ... i. Not together with a mask.
//   scale       default 1 / sqrt(E)
//   enable_gqa  key and value (..., Hk, S, E) may have fewer heads than query (..., H, L, E): each serves H / Hk neighbouring ones
// Without dropout, and unless the mask needs a gradient, it runs in blocks: O(L S E) time and O((L + S) E) memory, forwards and backwards. Otherwise memory is O(L S).
// Throws on other dtypes, on sizes that do not fit, and when both a mask and is_causal are given. Source: aten/src/ATen/native/transformers/attention.cpp.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask = std::nullopt,
                                    double dropout_p = 0.0, bool is_causal = false, std::optional<double> scale = std::nullopt, bool enable_gqa = false);

// The same as it is written down: (output, weights (..., L, S)), where the weights are those after dropout. O(L S) memory.
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask = std::nullopt,
                                                              double dropout_p = 0.0, bool is_causal = false, std::optional<double> scale = std::nullopt, bool enable_gqa = false);

namespace nn::detail {
// What is added to scores (..., L, S): 0 where a query may look, -inf where it may not.
Tensor attention_bias(const std::optional<Tensor>& attn_mask, bool is_causal, std::int64_t L, std::int64_t S, ScalarType dtype);
// (..., Hk, S, E) -> (..., heads, S, E): each head serves heads / Hk neighbours.
Tensor share_heads(const Tensor& x, std::int64_t heads);
// (L, B, H * D) -> (B, H, L, D), and back.
Tensor split_heads(const Tensor& x, std::int64_t heads);
Tensor merge_heads(const Tensor& x);
// Queries, keys and values (L, B, E) by three matrices that lie in one: weight (3 E, E), bias (3 E) or undefined.
std::tuple<Tensor, Tensor, Tensor> in_projection_packed(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& weight, const Tensor& bias);
}  // namespace nn::detail

// %% [markdown]
// ### Masks: who may look at whom
//
// A language model predicts word i + 1 from words 0 ... i, at all positions at once. So position i must not see what comes after it, or it would read the answer off: its loss would be wonderful and its text worthless. Other masks hide the padding behind short sequences, or everything that is far away.
//
//     causal, L = S = 4            padding: 3 words, 1 pad         window of 2
//     key   0  1  2  3                   0  1  2  3                  0  1  2  3
//     q 0   ●  .  .  .                   ●  ●  ●  .                  ●  .  .  .
//       1   ●  ●  .  .                   ●  ●  ●  .                  ●  ●  .  .
//       2   ●  ●  ●  .                   ●  ●  ●  .                  .  ●  ●  .
//       3   ●  ●  ●  ●                   ●  ●  ●  .                  .  .  ●  ●
//
// A mask acts on the scores, before the softmax: `s + 0` stays, `s + (-inf)` has the weight `exp(-inf) = 0`, and the row still adds up to 1. (Zeros written into the weights after the softmax would leave rows that add up to less, and the hidden keys would still have taken part in the sum.)
// So every kind of mask becomes one tensor that is added, the *bias*. In `scaled_dot_product_attention` a boolean mask says `true` where a query **may look**. (In `MultiheadAttention`, for historical reasons, `true` means **hidden**. Both are PyTorch's; expect to confuse them once.)

// %% {"nbgrader": {"grade": false, "grade_id": "11-attention-bias", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/attention.cpp
// What is added to the scores (..., L, S): 0 where a query may look at a key and -inf where it may not; a floating-point mask is added as it is. Of the mask's sizes, or (L, S) for
// is_causal, where query i sees keys 0 ... i. Undefined if there is neither. O(elements of the mask).
//
// TODO: Turn a mask into what is added to scores.
// APPROACH: 1. is_causal: key j is hidden from query i where j > i; compare two arange(), one of them as a column. 2. No mask: an undefined Tensor. 3. A Bool mask: zeros, filled with -inf
//           where it is false. 4. Any other: the mask, in `dtype`.
// EXAMPLE: attention_bias({}, true, 2, 3, kFloat) is [[0, -inf, -inf], [0, 0, -inf]].
// HINT: zeros(sizes, dtype).masked_fill(hidden, value) and logical_not().
Tensor nn::detail::attention_bias(const std::optional<Tensor>& attn_mask, bool is_causal, std::int64_t L, std::int64_t S, ScalarType dtype) {
  // BEGIN SOLUTION
  constexpr double hidden = -std::numeric_limits<double>::infinity();
  if (is_causal) return zeros({L, S}, dtype).masked_fill(arange(S).unsqueeze(0) > arange(L).unsqueeze(1), hidden);
  if (!attn_mask || !attn_mask->defined()) return {};
  if (attn_mask->scalar_type() == kBool) return zeros(attn_mask->sizes(), dtype).masked_fill(attn_mask->logical_not(), hidden);
  return attn_mask->to(dtype);
  // END SOLUTION
}

// %%
//| mistake 11-attention-bias turned
//| says In scaled_dot_product_attention true means that a query may look. This mask hides what should be seen and shows what should be hidden: fill -inf where the mask is false.
#if 0
Tensor nn::detail::attention_bias(const std::optional<Tensor>& attn_mask, bool is_causal, std::int64_t L, std::int64_t S, ScalarType dtype) {
  constexpr double hidden = -std::numeric_limits<double>::infinity();
  if (is_causal) return zeros({L, S}, dtype).masked_fill(arange(S).unsqueeze(0) > arange(L).unsqueeze(1), hidden);
  if (!attn_mask || !attn_mask->defined()) return {};
  if (attn_mask->scalar_type() == kBool) return zeros(attn_mask->sizes(), dtype).masked_fill(*attn_mask, hidden);
  return attn_mask->to(dtype);
}
#endif

// %%
//| mistake 11-attention-bias hides-itself
//| says A query sees itself, too: hidden is where j > i, not j >= i. Otherwise the first query sees nothing at all.
#if 0
Tensor nn::detail::attention_bias(const std::optional<Tensor>& attn_mask, bool is_causal, std::int64_t L, std::int64_t S, ScalarType dtype) {
  constexpr double hidden = -std::numeric_limits<double>::infinity();
  if (is_causal) return zeros({L, S}, dtype).masked_fill(arange(S).unsqueeze(0) >= arange(L).unsqueeze(1), hidden);
  if (!attn_mask || !attn_mask->defined()) return {};
  if (attn_mask->scalar_type() == kBool) return zeros(attn_mask->sizes(), dtype).masked_fill(attn_mask->logical_not(), hidden);
  return attn_mask->to(dtype);
}
#endif

// %%
//| mistake 11-attention-bias no-causal-mask
//| says is_causal hides nothing: every query sees the words that come after it. A language model trained like this reads its answers off and writes nonsense.
#if 0
Tensor nn::detail::attention_bias(const std::optional<Tensor>& attn_mask, bool is_causal, std::int64_t L, std::int64_t S, ScalarType dtype) {
  if (is_causal) return zeros({L, S}, dtype);
  if (!attn_mask || !attn_mask->defined()) return {};
  if (attn_mask->scalar_type() == kBool) return zeros(attn_mask->sizes(), dtype).masked_fill(attn_mask->logical_not(), -std::numeric_limits<double>::infinity());
  return attn_mask->to(dtype);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-attention-bias-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("attention_bias: true may look, later keys are hidden, numbers are added") {
  const double inf = std::numeric_limits<double>::infinity();
  const auto bias = [](const std::optional<Tensor>& mask, bool causal, std::int64_t L, std::int64_t S) { return nn::detail::attention_bias(mask, causal, L, S, kDouble); };
  CHECK_EQ(bias({}, true, 2, 3), tensor({{0.0, -inf, -inf}, {0.0, 0.0, -inf}}, kDouble));
  CHECK_EQ(bias({}, true, 3, 2), tensor({{0.0, -inf}, {0.0, 0.0}, {0.0, 0.0}}, kDouble));
  CHECK_EQ(bias(tensor({{true, false, true}}), false, 2, 3), tensor({{0.0, -inf, 0.0}}, kDouble));
  CHECK_EQ(bias(tensor({{0.5, -1.0}}), false, 1, 2), tensor({{0.5, -1.0}}, kDouble));
  CHECK(!bias({}, false, 2, 3).defined());
  // BEGIN HIDDEN TESTS
  CHECK(!bias(Tensor(), false, 2, 3).defined());
  CHECK_EQ(bias({}, true, 0, 3).numel(), 0);
  CHECK_EQ(nn::detail::attention_bias({}, true, 1, 1, kFloat).scalar_type(), kFloat);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Groups: fewer keys than queries
//
// Attention usually runs in several *heads* side by side: H queries, keys and values of E features each, every head with a softmax of its own. When a model writes text, the keys and values of all earlier words are kept, and this cache is often larger than the model. *Grouped-query attention* keeps
// fewer heads of keys and values, and each serves a group of **neighbouring** query heads:
//
//     query heads   0  1  2  3  4  5  6  7          H  = 8
//                    \ | | /    \ | | /
//     key heads         0          1                Hk = 2: a cache of a quarter of the size
//
// For the plain formula the shared heads are repeated. The copies need no memory before something is written: a new dimension of size 1 can be expanded (stride 0) and folded into the heads.

// %% {"nbgrader": {"grade": false, "grade_id": "11-share-heads", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/attention.cpp
// (..., Hk, S, E) -> (..., heads, S, E): head h of the result is head h / (heads / Hk) of x. x itself if Hk is `heads`. REQUIRES: Hk divides heads. O(elements of the result).
//
// TODO: Let each head serve its group.
// APPROACH: 1. A new dimension behind the heads: (..., Hk, 1, S, E). 2. Expand it to the group's size. 3. Flatten heads and group into one dimension.
// EXAMPLE: heads a, b shared by 4 give a, a, b, b.
// HINT: unsqueeze(-3), expand with -1 for sizes that stay, flatten(-4, -3).
Tensor nn::detail::share_heads(const Tensor& x, std::int64_t heads) {
  // BEGIN SOLUTION
  if (x.size(-3) == heads) return x;
  const Tensor grouped = x.unsqueeze(-3);
  DimVector sizes(grouped.sizes());
  sizes[sizes.size() - 3] = heads / x.size(-3);
  return grouped.expand(sizes).flatten(-4, -3);
  // END SOLUTION
}

// %%
//| mistake 11-share-heads repeats-the-whole
//| says The heads stand as a, b, a, b: groups are of neighbours, a, a, b, b. Put the new dimension behind the heads, not in front of them.
#if 0
Tensor nn::detail::share_heads(const Tensor& x, std::int64_t heads) {
  if (x.size(-3) == heads) return x;
  const Tensor grouped = x.unsqueeze(-4);
  DimVector sizes(grouped.sizes());
  sizes[sizes.size() - 4] = heads / x.size(-3);
  return grouped.expand(sizes).flatten(-4, -3);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-share-heads-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("share_heads: neighbours share") {
  const Tensor x = arange(4, kDouble).view({1, 2, 1, 2});  // two heads: [0 1] and [2 3]
  CHECK_EQ(nn::detail::share_heads(x, 4), tensor({{{{0.0, 1.0}}, {{0.0, 1.0}}, {{2.0, 3.0}}, {{2.0, 3.0}}}}, kDouble));
  CHECK(nn::detail::share_heads(x, 2).is_same(x));
  // BEGIN HIDDEN TESTS
  const Tensor unbatched = nn::detail::share_heads(x[0], 6);
  CHECK_EQ(unbatched.sizes(), IntArrayRef({6, 1, 2}));
  CHECK_EQ(unbatched.select(0, 2), x[0][0]);
  CHECK_EQ(unbatched.select(0, 3), x[0][1]);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Version 1: attention as it is written down
//
// Now the three lines. Where they put the N x N matrices is what the rest of the module is about:
//
//     query (..., L, E) ──┐
//                         ├─ matmul ─> scores (..., L, S) ─ + bias ─> ─ softmax ─> weights (..., L, S) ─ dropout ─┐
//     key^T (..., E, S) ──┘                                                                                       ├─ matmul ─> (..., L, Ev)
//     value (..., S, Ev) ─────────────────────────────────────────────────────────────────────────────────────────┘
//
// One detail: a row of scores that is -inf everywhere (a query that may look nowhere, as the rows of padding) has no softmax: 0 / 0. Such a query gets zeros, as in PyTorch. NaN in one padded row would, through the gradient of the shared weights, destroy the whole model.

// %%
//| export nn/attention.cpp
namespace {
// softmax along the last dimension; zeros for a row of -inf, and no NaN in its gradient.
Tensor masked_softmax(const Tensor& scores) {
  const Tensor hidden = (scores == -std::numeric_limits<double>::infinity()).all(-1, true);
  if (!hidden.any().item<bool>()) return softmax(scores, -1);
  return softmax(scores.masked_fill(hidden, 0), -1).masked_fill(hidden, 0);
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "11-attention-math", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/attention.cpp
// (output (..., L, Ev), weights (..., L, S)) for query (..., L, E), key (..., S, E), value (..., S, Ev); the weights are those after dropout. Arguments as in scaled_dot_product_attention. O(L S E) time, O(L S) memory.
//
// TODO: Scores, bias, softmax over the keys, dropout, weighted mean.
// APPROACH: 1. With enable_gqa, key and value get the heads of query. 2. The scale is 1 / sqrt(E) unless given; apply it to query, which is smaller than the scores. 3. Add attention_bias, if it is defined.
//           4. masked_softmax over the keys, dropout(weights, p, true). 5. Multiply with the values.
// EXAMPLE: with all scores equal and no mask, each output is the mean of the values.
// HINT: matmul(a, b.transpose(-2, -1)) multiplies the last two dimensions and broadcasts the others.
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask,
                                                              double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  // BEGIN SOLUTION
  const Tensor keys = enable_gqa ? nn::detail::share_heads(key, query.size(-3)) : key;
  const Tensor values = enable_gqa ? nn::detail::share_heads(value, query.size(-3)) : value;
  const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));
  Tensor scores = matmul(query * factor, keys.transpose(-2, -1));
  const Tensor bias = nn::detail::attention_bias(attn_mask, is_causal, query.size(-2), keys.size(-2), query.scalar_type());
  if (bias.defined()) scores = scores + bias;
  const Tensor weights = dropout(masked_softmax(scores), dropout_p, true);
  return {matmul(weights, values), weights};
  // END SOLUTION
}

// %%
//| lesson
// The gradients of sum(weights * f(leaves)) for each leaf, where the weights are 0.5, 0.87, 1.24, ...: every element of the output counts differently.
std::vector<Tensor> gradients_of(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& values) {
  std::vector<Tensor> leaves;
  for (const Tensor& value : values) leaves.push_back(value.detach().clone().requires_grad_());
  const Tensor output = f(leaves);
  const Tensor weights = (arange(output.numel(), output.scalar_type()) * 0.37 + 0.5).view(output.sizes());
  (output * weights).sum().backward();
  std::vector<Tensor> gradients;
  for (const Tensor& leaf : leaves) gradients.push_back(leaf.grad());
  return gradients;
}

// query, key, value of the same random numbers in every run.
std::vector<Tensor> random_qkv(std::int64_t B, std::int64_t H, std::int64_t Hk, std::int64_t L, std::int64_t S, std::int64_t E, ScalarType dtype = kDouble) {
  Generator generator(11);
  const Tensor query = randn({B, H, L, E}, generator, dtype);
  const Tensor key = randn({B, Hk, S, E}, generator, dtype);
  return {query, key, randn({B, Hk, S, E}, generator, dtype)};
}

// %%
//| mistake 11-attention-math no-scale
//| says The scores are not divided by sqrt(E): they grow with the number of features, and the softmax saturates.
#if 0
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask,
                                                              double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const Tensor keys = enable_gqa ? nn::detail::share_heads(key, query.size(-3)) : key;
  const Tensor values = enable_gqa ? nn::detail::share_heads(value, query.size(-3)) : value;
  const double factor = scale.value_or(1.0);
  Tensor scores = matmul(query * factor, keys.transpose(-2, -1));
  const Tensor bias = nn::detail::attention_bias(attn_mask, is_causal, query.size(-2), keys.size(-2), query.scalar_type());
  if (bias.defined()) scores = scores + bias;
  const Tensor weights = dropout(masked_softmax(scores), dropout_p, true);
  return {matmul(weights, values), weights};
}
#endif

// %%
//| mistake 11-attention-math divides-by-features
//| says The scores are divided by E, not by its square root: the weights become nearly equal.
#if 0
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask,
                                                              double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const Tensor keys = enable_gqa ? nn::detail::share_heads(key, query.size(-3)) : key;
  const Tensor values = enable_gqa ? nn::detail::share_heads(value, query.size(-3)) : value;
  const double factor = scale.value_or(1 / static_cast<double>(query.size(-1)));
  Tensor scores = matmul(query * factor, keys.transpose(-2, -1));
  const Tensor bias = nn::detail::attention_bias(attn_mask, is_causal, query.size(-2), keys.size(-2), query.scalar_type());
  if (bias.defined()) scores = scores + bias;
  const Tensor weights = dropout(masked_softmax(scores), dropout_p, true);
  return {matmul(weights, values), weights};
}
#endif

// %%
//| mistake 11-attention-math softmax-over-queries
//| says The softmax goes over the queries (dimension -2). Each query shares out its attention over the keys: dimension -1; every row of the weights adds up to 1.
#if 0
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask,
                                                              double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const Tensor keys = enable_gqa ? nn::detail::share_heads(key, query.size(-3)) : key;
  const Tensor values = enable_gqa ? nn::detail::share_heads(value, query.size(-3)) : value;
  const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));
  Tensor scores = matmul(query * factor, keys.transpose(-2, -1));
  const Tensor bias = nn::detail::attention_bias(attn_mask, is_causal, query.size(-2), keys.size(-2), query.scalar_type());
  if (bias.defined()) scores = scores + bias;
  const Tensor weights = dropout(masked_softmax(scores.transpose(-2, -1)).transpose(-2, -1), dropout_p, true);
  return {matmul(weights, values), weights};
}
#endif

// %%
//| mistake 11-attention-math mask-after-softmax
//| says The mask was applied to the weights, after the softmax: hidden keys still took part in the sum, and the rows add up to less than 1. Add the bias to the scores.
#if 0
std::tuple<Tensor, Tensor> _scaled_dot_product_attention_math(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& attn_mask,
                                                              double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const Tensor keys = enable_gqa ? nn::detail::share_heads(key, query.size(-3)) : key;
  const Tensor values = enable_gqa ? nn::detail::share_heads(value, query.size(-3)) : value;
  const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));
  Tensor scores = matmul(query * factor, keys.transpose(-2, -1));
  const Tensor bias = nn::detail::attention_bias(attn_mask, is_causal, query.size(-2), keys.size(-2), query.scalar_type());
  Tensor weights = masked_softmax(scores);
  if (bias.defined()) weights = weights * exp(bias);
  weights = dropout(weights, dropout_p, true);
  return {matmul(weights, values), weights};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-attention-math-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("attention, version 1: a mean of the values, weighted by scores of queries and keys") {
  const Tensor key = tensor({{1.0, 0.0}, {0.0, 1.0}, {1.0, 1.0}}, kDouble);
  const Tensor value = tensor({{1.0}, {2.0}, {6.0}}, kDouble);
  const auto output = [&](const Tensor& query, const std::optional<Tensor>& mask, bool causal = false, std::optional<double> scale = {}) {
    return std::get<0>(_scaled_dot_product_attention_math(query, key, value, mask, 0, causal, scale));
  };
  CHECK_CLOSE(output(zeros({1, 2}, kDouble), {}), tensor({{3.0}}, kDouble));
  // Scores log 3, 0 and log 3: weights 3/7, 1/7, 3/7.
  const double s = std::log(3.0) * std::sqrt(2.0);
  CHECK_CLOSE(output(tensor({{s, 0.0}}, kDouble), {}), tensor({{(3 + 2 + 18) / 7.0}}, kDouble));
  CHECK_CLOSE(output(tensor({{std::log(3.0), 0.0}}, kDouble), {}, false, 1.0), tensor({{(3 + 2 + 18) / 7.0}}, kDouble));
  // Hidden keys: their weight goes to the others.
  CHECK_CLOSE(output(tensor({{s, 0.0}}, kDouble), tensor({{true, true, false}})), tensor({{(3 + 2) / 4.0}}, kDouble));
  CHECK_CLOSE(output(zeros({3, 2}, kDouble), {}, true), tensor({{1.0}, {1.5}, {3.0}}, kDouble));
  // A query that may look nowhere gets zeros, and its gradient is 0, not NaN.
  const Tensor nowhere = tensor({{true, false, false}, {false, false, false}});
  CHECK_EQ(output(ones({2, 2}, kDouble), nowhere), tensor({{1.0}, {0.0}}, kDouble));
  CHECK_EQ(gradients_of([&](const std::vector<Tensor>& x) { return std::get<0>(_scaled_dot_product_attention_math(x[0], x[1], value, nowhere)); }, {ones({2, 2}, kDouble), key})[0], zeros({2, 2}, kDouble));
  const auto [mean, weights] = _scaled_dot_product_attention_math(key, key, value, {}, 0, true);
  CHECK_CLOSE(weights.sum(-1), ones({3}, kDouble));
  CHECK_CLOSE(weights.triu(1), zeros({3, 3}, kDouble));
  // BEGIN HIDDEN TESTS
  const auto x = random_qkv(2, 4, 2, 3, 5, 4);
  const auto shared = _scaled_dot_product_attention_math(x[0], x[1], x[2], {}, 0, false, {}, true);
  CHECK_CLOSE(std::get<0>(shared).select(1, 3), std::get<0>(_scaled_dot_product_attention_math(x[0].select(1, 3), x[1].select(1, 1), x[2].select(1, 1))));
  manual_seed(1);
  const Tensor dropped = std::get<1>(_scaled_dot_product_attention_math(zeros({50, 1}), zeros({50, 1}), zeros({50, 1}), {}, 0.5));
  CHECK(((dropped == 0) | (abs(dropped - 0.04) < 1e-6)).all().item<bool>());
  CHECK_CLOSE((dropped == 0).to(kFloat).mean().item<double>(), 0.5, 0.1, 0.0);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### A softmax that arrives in blocks
//
// To get rid of the N x N matrix, walk over the keys in blocks of some dozens and keep, for each query, only the weighted sum of values so far. What stands in the way is the softmax: its denominator needs all scores of the row, and to be safe from overflow it subtracts the maximum of all scores. Both are known only at the end.
//
// The way out is the one-pass softmax of module 02: work with the maximum *so far*, and when a larger one comes, correct what was summed with the old one. For a row with scores s and values v, after some blocks:
//
//     m = max of the scores so far        l = Σ exp(s - m)          o = Σ exp(s - m) v
//
//     a block arrives:   m' = max(m, its scores)         c = exp(m - m')             <- at most 1; 0 for the first block
//
//         scores   [ 1  3 | 2  7 | 5 ... ]               l' = c l + Σ exp(s - m')
//                    m=3     m'=7                        o' = c o + Σ exp(s - m') v
//                            c = exp(3 - 7) = 0.018      everything summed before was too large by 1 / c
//
// At the end `o / l` is the output, exactly: the same sums as in version 1, in another order. And `m + log l` is the logarithm of the row's sum of exponentials, one number, which will be all that the backward pass needs.
//
// A block may be hidden entirely (-inf everywhere). As long as nothing was seen, m' is -inf, and `exp(-inf - (-inf))` would be NaN; take 0 in place of m' in the differences then: `exp(-inf - 0)` is 0, for the correction and for the weights.

// %%
//| export nn/online_softmax-inl.h
// What a softmax remembers of a row whose scores arrive in blocks: the largest score so far, and the sum of exp(score - maximum).
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
template <class T>
struct OnlineSoftmax {
  T maximum = -std::numeric_limits<T>::infinity();
  T sum = 0;

  // The logarithm of the sum of exp(score); 0 for a row in which everything was hidden.
  T logsumexp() const { return sum == 0 ? T{0} : maximum + std::log(sum); }
};

// %% {"nbgrader": {"grade": false, "grade_id": "11-absorb-block", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/online_softmax-inl.h
// Takes the next `count` scores of a row into `state` and turns them, in place, into exp(score - the new maximum). Returns the factor by which everything that was summed with the old maximum must be
// multiplied: 1 if the maximum stayed. Hidden scores (-inf) become 0; NaN stays NaN. O(count).
//
// TODO: Find the new maximum, correct the sum, turn scores into weights.
// APPROACH: 1. The maximum of the old one and the block. 2. If it is still -inf, subtract 0 instead of it below. 3. The correction is exp(old maximum - new). 4. Each score becomes exp(score - new); add these up.
//           5. sum = correction * sum + the block's sum.
// EXAMPLE: after scores {0, 0} the state is (0, 2); then {log 2} gives maximum log 2, sum 2 / 2 + 1 = 2, and returns 0.5.
// HINT: exp(-inf) is 0, so the first block needs no special case.
template <class T>
T absorb_block(OnlineSoftmax<T>& state, T* scores, std::int64_t count) {
  // BEGIN SOLUTION
  T maximum = state.maximum;
  for (std::int64_t j = 0; j < count; ++j) maximum = std::max(maximum, scores[j]);
  const T subtracted = maximum == -std::numeric_limits<T>::infinity() ? T{0} : maximum;
  const T correction = std::exp(state.maximum - subtracted);
  T sum = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - subtracted);
    sum += scores[j];
  }
  state.maximum = maximum;
  state.sum = correction * state.sum + sum;
  return correction;
  // END SOLUTION
}

// %%
//| mistake 11-absorb-block keeps-the-old-sum
//| says When a larger score comes, the sum so far was made with a smaller maximum and is too large: multiply it by exp(old maximum - new).
#if 0
template <class T>
T absorb_block(OnlineSoftmax<T>& state, T* scores, std::int64_t count) {
  T maximum = state.maximum;
  for (std::int64_t j = 0; j < count; ++j) maximum = std::max(maximum, scores[j]);
  const T subtracted = maximum == -std::numeric_limits<T>::infinity() ? T{0} : maximum;
  const T correction = std::exp(state.maximum - subtracted);
  T sum = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - subtracted);
    sum += scores[j];
  }
  state.maximum = maximum;
  state.sum = state.sum + sum;
  return correction;
}
#endif

// %%
//| mistake 11-absorb-block reports-no-correction
//| says The returned factor is always 1: the weighted sum of values, which the caller keeps, stays at the old maximum while the denominator moves to the new one.
#if 0
template <class T>
T absorb_block(OnlineSoftmax<T>& state, T* scores, std::int64_t count) {
  T maximum = state.maximum;
  for (std::int64_t j = 0; j < count; ++j) maximum = std::max(maximum, scores[j]);
  const T subtracted = maximum == -std::numeric_limits<T>::infinity() ? T{0} : maximum;
  const T correction = std::exp(state.maximum - subtracted);
  T sum = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - subtracted);
    sum += scores[j];
  }
  state.maximum = maximum;
  state.sum = correction * state.sum + sum;
  return correction == T{0} ? correction : T{1};
}
#endif

// %%
//| mistake 11-absorb-block hidden-blocks
//| says While nothing has been seen the maximum is -inf, and -inf - (-inf) is NaN. Subtract 0 in its place then.
#if 0
template <class T>
T absorb_block(OnlineSoftmax<T>& state, T* scores, std::int64_t count) {
  T maximum = state.maximum;
  for (std::int64_t j = 0; j < count; ++j) maximum = std::max(maximum, scores[j]);
  const T subtracted = maximum;
  const T correction = std::exp(state.maximum - subtracted);
  T sum = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - subtracted);
    sum += scores[j];
  }
  state.maximum = maximum;
  state.sum = correction * state.sum + sum;
  return correction;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-absorb-block-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("absorb_block: sums are corrected when a larger score comes") {
  const double inf = std::numeric_limits<double>::infinity();
  OnlineSoftmax<double> state;
  std::vector<double> first = {0, 0};
  CHECK_EQ(absorb_block(state, first.data(), 2), 0.0);
  CHECK_EQ(first, std::vector<double>{1, 1});
  CHECK_CLOSE(state.sum, 2.0, 1e-15, 0.0);
  std::vector<double> larger = {std::log(2.0)};
  CHECK_CLOSE(absorb_block(state, larger.data(), 1), 0.5, 1e-15, 0.0);
  CHECK_CLOSE(state.sum, 2.0, 1e-15, 0.0);
  CHECK_CLOSE(state.logsumexp(), std::log(4.0), 1e-15, 0.0);
  std::vector<double> smaller = {-inf, std::log(2.0) - 1};
  CHECK_EQ(absorb_block(state, smaller.data(), 2), 1.0);
  CHECK_EQ(smaller[0], 0.0);
  CHECK_CLOSE(smaller[1], std::exp(-1.0), 1e-15, 0.0);

  OnlineSoftmax<double> late;  // hidden at first
  std::vector<double> hidden = {-inf, -inf};
  absorb_block(late, hidden.data(), 2);
  CHECK_EQ(hidden, std::vector<double>{0, 0});
  CHECK_EQ(late.sum, 0.0);
  CHECK_EQ(late.logsumexp(), 0.0);
  std::vector<double> seen = {1000, 1000};
  CHECK_EQ(absorb_block(late, seen.data(), 2), 0.0);
  CHECK_CLOSE(late.logsumexp(), 1000 + std::log(2.0), 1e-15, 0.0);
  // BEGIN HIDDEN TESTS
  std::vector<float> values(300);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((i * 37) % 101) - 50.0f;
  double exact = 0;
  for (const float value : values) exact += std::exp(static_cast<double>(value));
  OnlineSoftmax<float> row;
  for (std::size_t i = 0; i < values.size(); i += 7) absorb_block(row, values.data() + i, static_cast<std::int64_t>(std::min<std::size_t>(7, values.size() - i)));
  CHECK_CLOSE(static_cast<double>(row.logsumexp()), std::log(exact), 1e-6, 0.0);
  std::vector<double> broken = {std::nan("")};
  OnlineSoftmax<double> poisoned;
  absorb_block(poisoned, broken.data(), 1);
  CHECK(std::isnan(poisoned.sum));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Version 2, forwards: blocks of queries against blocks of keys
//
// A block of 32 queries meets one block of 64 keys after the other. All that is ever held is one tile of scores and the running sums of the 32 queries:
//
//                        keys, 64 at a time  ──────────>
//                      ┌──────┬──────┬──────┬──────┐
//          32 queries  │ tile │ tile │ tile │ tile │   ──> o (32, Ev), m and l of 32 rows
//                      ├──────┼──────┼──────┼──────┤
//          32 queries  │      │      │      │      │       one tile exists at a time: 32 x 64 numbers,
//                      ├──────┼──────┼──────┼──────┤       whatever N is
//          32 queries  │      │      │      │      │
//                      └──────┴──────┴──────┴──────┘
//                          causal: tiles right of the diagonal are not even computed
//
// The tile fits into the first-level cache (8 KB in float), and so do the keys and values that it needs. On a GPU this matters even more than the saved memory: the N x N matrix of version 1 goes through slow memory four times.
//
// First the pieces that you can read over: a matrix whose rows lie apart (so that heads can be read in place, without a copy), three small products, and what all tiles of one call share. `score_tile` computes one tile, for the forward and for the backward pass.

// %%
//| export nn/flash_attention.cpp
namespace {

constexpr std::int64_t kQueryBlock = 32;
constexpr std::int64_t kKeyBlock = 64;

// Rows of adjacent elements; row i begins `step` elements behind row i - 1.
template <class T>
struct Matrix {
  T* data;
  std::int64_t step;
  T* operator[](std::int64_t i) const { return data + i * step; }
  Matrix from(std::int64_t row) const { return {data + row * step, step}; }
};

template <class T>
Matrix<T> matrix_of(const Tensor& x) {
  return {x.data<T>(), x.size(-1)};
}

// out (M, N) += factor * a (M, K) x b (K, N)
template <class T>
void add_product(Matrix<T> out, T factor, Matrix<T> a, Matrix<T> b, std::int64_t M, std::int64_t K, std::int64_t N) {
  for (std::int64_t i = 0; i < M; ++i) {
    for (std::int64_t k = 0; k < K; ++k) {
      const T scaled = factor * a[i][k];
      const T* const row = b[k];
      T* const sums = out[i];
      for (std::int64_t j = 0; j < N; ++j) sums[j] += scaled * row[j];
    }
  }
}

// out (M, N) += factor * a (K, M) transposed x b (K, N)
template <class T>
void add_transposed_product(Matrix<T> out, T factor, Matrix<T> a, Matrix<T> b, std::int64_t M, std::int64_t K, std::int64_t N) {
  for (std::int64_t k = 0; k < K; ++k) {
    for (std::int64_t i = 0; i < M; ++i) {
      const T scaled = factor * a[k][i];
      const T* const row = b[k];
      T* const sums = out[i];
      for (std::int64_t j = 0; j < N; ++j) sums[j] += scaled * row[j];
    }
  }
}

// out (N, M) = a (M, N) transposed
template <class T>
void transpose_tile(Matrix<T> out, Matrix<T> a, std::int64_t M, std::int64_t N) {
  for (std::int64_t i = 0; i < M; ++i)
    for (std::int64_t j = 0; j < N; ++j) out[j][i] = a[i][j];
}

template <class T>
void fill_rows(Matrix<T> out, std::int64_t M, std::int64_t N, T value) {
  for (std::int64_t i = 0; i < M; ++i) std::fill(out[i], out[i] + N, value);
}

// x itself if the elements of each row are adjacent, else a copy in which they are.
Tensor with_dense_rows(const Tensor& x) { return x.stride(-1) == 1 || x.size(-1) <= 1 ? x : x.contiguous(); }

// What all tiles of one call share. query (B, H, L, E), key (B, Hk, S, E), value (B, Hk, S, Ev); mask: added to the scores, expanded to (B, H, L, S) with strides of 0, or undefined.
struct FlashProblem {
  FlashProblem(const Tensor& query_, const Tensor& key_, const Tensor& value_, bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale_)
      : query(with_dense_rows(query_)), key(with_dense_rows(key_)), value(with_dense_rows(value_)), causal(is_causal),
        B(query.size(0)), H(query.size(1)), Hk(key.size(1)), L(query.size(2)), S(key.size(2)), E(query.size(3)), Ev(value.size(3)),
        scale(scale_.value_or(1 / std::sqrt(static_cast<double>(E)))) {
    if (attn_mask && attn_mask->defined()) mask = attn_mask->expand({B, H, L, S});
  }
  // The head of keys and values that serves query head h.
  std::int64_t key_head(std::int64_t h) const { return h / (H / Hk); }
  // How many keys the queries before row `end` may see at most.
  std::int64_t visible_keys(std::int64_t end) const { return causal ? std::min(end, S) : S; }
  template <class T>
  static Matrix<T> head(const Tensor& x, std::int64_t b, std::int64_t h) {
    return {x.data<T>() + b * x.stride(0) + h * x.stride(1), x.stride(2)};
  }

  Tensor query, key, value, mask;
  bool causal;
  std::int64_t B, H, Hk, L, S, E, Ev;
  double scale;
};

// scores (rows, columns) = scale * query key^T + mask, for the queries of head (b, h) from i0 on and the keys from j0 on, which stand transposed in key_t (E, columns). Hidden pairs get -inf.
template <class T>
void score_tile(const FlashProblem& of, std::int64_t b, std::int64_t h, std::int64_t i0, std::int64_t rows, std::int64_t j0, std::int64_t columns, Matrix<T> key_t, Matrix<T> scores) {
  fill_rows(scores, rows, columns, T{0});
  add_product(scores, static_cast<T>(of.scale), FlashProblem::head<T>(of.query, b, h).from(i0), key_t, rows, of.E, columns);
  if (of.mask.defined()) {
    const T* const mask = of.mask.data<T>() + b * of.mask.stride(0) + h * of.mask.stride(1);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) scores[i][j] += mask[(i0 + i) * of.mask.stride(2) + (j0 + j) * of.mask.stride(3)];
  }
  if (!of.causal) return;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = std::max<std::int64_t>(0, i0 + i + 1 - j0); j < columns; ++j) scores[i][j] = -std::numeric_limits<T>::infinity();
}

}  // namespace

// %% [markdown]
// Your part is the loop over the key blocks. It is `absorb_block` for each row, and two products.

// %% {"nbgrader": {"grade": false, "grade_id": "11-flash-rows", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/flash_attention.cpp
// The attention of queries i0 ... i0 + rows - 1 of head (b, h): their outputs into out (rows, Ev), which holds zeros, and the logarithms of their sums of exponentials into logsumexp (rows).
// Scratch: key_t (E, kKeyBlock), scores (kQueryBlock, kKeyBlock). O(rows S E).
//
// TODO: Walk over the blocks of keys with an online softmax for each row.
// APPROACH: 1. One OnlineSoftmax per row. 2. For each block of keys that may be visible, of.visible_keys(i0 + rows): transpose_tile its keys into key_t; score_tile; absorb_block each row of scores, and multiply the
//           row of `out` by the returned correction; add_product the weights (rows, columns) and the block of values. 3. At the end divide each row of `out` by its sum, unless that is 0, and write its logsumexp().
// HINT: of.head<T>(of.key, b, of.key_head(h)) are the keys of the head as a Matrix; .from(j0) begins at row j0. The last block may be shorter.
namespace {
template <class T>
void flash_rows(const FlashProblem& of, std::int64_t b, std::int64_t h, std::int64_t i0, std::int64_t rows, Matrix<T> key_t, Matrix<T> scores, Matrix<T> out, T* logsumexp) {
  // BEGIN SOLUTION
  const Matrix<T> keys = FlashProblem::head<T>(of.key, b, of.key_head(h));
  const Matrix<T> values = FlashProblem::head<T>(of.value, b, of.key_head(h));
  OnlineSoftmax<T> softmax[kQueryBlock];
  const std::int64_t visible = of.visible_keys(i0 + rows);
  for (std::int64_t j0 = 0; j0 < visible; j0 += kKeyBlock) {
    const std::int64_t columns = std::min(kKeyBlock, visible - j0);
    transpose_tile(key_t, keys.from(j0), columns, of.E);
    score_tile(of, b, h, i0, rows, j0, columns, key_t, scores);
    for (std::int64_t i = 0; i < rows; ++i) {
      const T correction = absorb_block(softmax[i], scores[i], columns);
      for (std::int64_t e = 0; e < of.Ev; ++e) out[i][e] *= correction;
    }
    add_product(out, T{1}, scores, values.from(j0), rows, columns, of.Ev);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    logsumexp[i] = softmax[i].logsumexp();
    if (softmax[i].sum == 0) continue;
    for (std::int64_t e = 0; e < of.Ev; ++e) out[i][e] /= softmax[i].sum;
  }
  // END SOLUTION
}
}  // namespace

// %% [markdown]
// The operator calls it for every block of every head. Its scratch memory is taken from the framework's allocator, like any tensor, so that the measurements of Part 2 count it.
//
// Where its result lies matters to the operators around it. A projection gives (B, L, H E), and `view` and `transpose(1, 2)` make heads of it without moving a number: in memory the heads of one position stay side by side. What follows attention wants to go back the same way, by `transpose(1, 2)` and `reshape`. That is free if the output has the query's order in memory, and a copy of the whole output
// if its heads lie one after the other. The same holds for the three gradients on their way back to the projection. So output and gradients take the order of what they belong to, as PyTorch's output does.

// %%
//| export nn/flash_attention.h
namespace op {
// (output, logsumexp) of query, key, value, dropout_p, is_causal, attn_mask, scale.
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, double, bool, const std::optional<Tensor>&, std::optional<double>)>
    _scaled_dot_product_flash_attention_for_cpu;
extern Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, bool, const std::optional<Tensor>&, std::optional<double>)>
    _scaled_dot_product_flash_attention_for_cpu_backward;
}  // namespace op

namespace nn::detail {
// Uninitialised (B, H, L, E) whose rows are dense, and whose batches, heads and positions follow each other in memory as those of `like` do.
Tensor empty_heads(IntArrayRef sizes, const Tensor& like);
}  // namespace nn::detail

// Attention in blocks: query (B, H, L, E), key (B, Hk, S, E), value (B, Hk, S, Ev), where Hk divides H -> (output (B, H, L, Ev), logsumexp (B, H, L)). attn_mask: floating point, added to the scores, broadcasts to
// (B, H, L, S), gets no gradient. dropout_p must be 0. logsumexp has no gradient. O(L S E) time; O((L + S) E) memory for what is returned and saved. Throws on other dtypes, dimensions and sizes.
// Source: aten/src/ATen/native/cpu/FlashAttentionKernel.cpp; Dao et al., FlashAttention, 2022.
std::tuple<Tensor, Tensor> _scaled_dot_product_flash_attention_for_cpu(const Tensor& query, const Tensor& key, const Tensor& value, double dropout_p = 0.0, bool is_causal = false,
                                                                       const std::optional<Tensor>& attn_mask = std::nullopt, std::optional<double> scale = std::nullopt);
// Its gradients for query, key and value, from that of the output, and from output and logsumexp. Not differentiable itself.
std::tuple<Tensor, Tensor, Tensor> _scaled_dot_product_flash_attention_for_cpu_backward(const Tensor& grad_out, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out,
                                                                                        const Tensor& logsumexp, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask = std::nullopt,
                                                                                        std::optional<double> scale = std::nullopt);

// %%
//| export nn/flash_attention.cpp
Tensor nn::detail::empty_heads(IntArrayRef sizes, const Tensor& like) {
  std::array<std::size_t, 3> slowest_first{0, 1, 2};
  std::stable_sort(slowest_first.begin(), slowest_first.end(), [&](std::size_t a, std::size_t b) { return like.strides()[a] > like.strides()[b]; });
  DimVector in_memory(sizes), place{0, 1, 2, 3};
  for (std::size_t i = 0; i < slowest_first.size(); ++i) {
    in_memory[i] = sizes[slowest_first[i]];
    place[slowest_first[i]] = static_cast<std::int64_t>(i);
  }
  return empty(in_memory, like.scalar_type()).permute(place);
}

namespace {

std::tuple<Tensor, Tensor> flash_attention_cpu(const Tensor& query, const Tensor& key, const Tensor& value, double, bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const FlashProblem of(query, key, value, is_causal, attn_mask, scale);
  const Tensor output = nn::detail::empty_heads({of.B, of.H, of.L, of.Ev}, query);
  fill_(output, 0);
  const Tensor logsumexp = empty({of.B, of.H, of.L}, query.scalar_type());
  const Tensor key_t = empty({of.E, kKeyBlock}, query.scalar_type());
  const Tensor scores = empty({kQueryBlock, kKeyBlock}, query.scalar_type());
  dispatch_floating_types(query.scalar_type(), "flash_attention", [&]<class T>() {
    for (std::int64_t b = 0; b < of.B; ++b)
      for (std::int64_t h = 0; h < of.H; ++h)
        for (std::int64_t i0 = 0; i0 < of.L; i0 += kQueryBlock)
          flash_rows(of, b, h, i0, std::min(kQueryBlock, of.L - i0), matrix_of<T>(key_t), matrix_of<T>(scores), FlashProblem::head<T>(output, b, h).from(i0),
                     logsumexp.data<T>() + (b * of.H + h) * of.L + i0);
  });
  return {output, logsumexp};
}

}  // namespace

// %%
//| mistake 11-flash-rows never-divides
//| says The weighted sums were not divided by the sum of the weights at the end.
#if 0
template <class T>
void flash_rows(const FlashProblem& of, std::int64_t b, std::int64_t h, std::int64_t i0, std::int64_t rows, Matrix<T> key_t, Matrix<T> scores, Matrix<T> out, T* logsumexp) {
  const Matrix<T> keys = FlashProblem::head<T>(of.key, b, of.key_head(h));
  const Matrix<T> values = FlashProblem::head<T>(of.value, b, of.key_head(h));
  OnlineSoftmax<T> softmax[kQueryBlock];
  const std::int64_t visible = of.visible_keys(i0 + rows);
  for (std::int64_t j0 = 0; j0 < visible; j0 += kKeyBlock) {
    const std::int64_t columns = std::min(kKeyBlock, visible - j0);
    transpose_tile(key_t, keys.from(j0), columns, of.E);
    score_tile(of, b, h, i0, rows, j0, columns, key_t, scores);
    for (std::int64_t i = 0; i < rows; ++i) {
      const T correction = absorb_block(softmax[i], scores[i], columns);
      for (std::int64_t e = 0; e < of.Ev; ++e) out[i][e] *= correction;
    }
    add_product(out, T{1}, scores, values.from(j0), rows, columns, of.Ev);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    logsumexp[i] = softmax[i].logsumexp();
  }
}
#endif

// %%
//| mistake 11-flash-rows ignores-the-correction
//| says The rows of `out` were summed with an older, smaller maximum: multiply each by what absorb_block returns before the next block is added.
#if 0
template <class T>
void flash_rows(const FlashProblem& of, std::int64_t b, std::int64_t h, std::int64_t i0, std::int64_t rows, Matrix<T> key_t, Matrix<T> scores, Matrix<T> out, T* logsumexp) {
  const Matrix<T> keys = FlashProblem::head<T>(of.key, b, of.key_head(h));
  const Matrix<T> values = FlashProblem::head<T>(of.value, b, of.key_head(h));
  OnlineSoftmax<T> softmax[kQueryBlock];
  const std::int64_t visible = of.visible_keys(i0 + rows);
  for (std::int64_t j0 = 0; j0 < visible; j0 += kKeyBlock) {
    const std::int64_t columns = std::min(kKeyBlock, visible - j0);
    transpose_tile(key_t, keys.from(j0), columns, of.E);
    score_tile(of, b, h, i0, rows, j0, columns, key_t, scores);
    for (std::int64_t i = 0; i < rows; ++i) {
      absorb_block(softmax[i], scores[i], columns);
    }
    add_product(out, T{1}, scores, values.from(j0), rows, columns, of.Ev);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    logsumexp[i] = softmax[i].logsumexp();
    if (softmax[i].sum == 0) continue;
    for (std::int64_t e = 0; e < of.Ev; ++e) out[i][e] /= softmax[i].sum;
  }
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-flash-rows-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("attention, version 2: blocks give the numbers of version 1") {
  const auto check = [](const std::vector<Tensor>& x, bool causal, const std::optional<Tensor>& mask, std::optional<double> scale) {
    const auto [output, logsumexp_] = _scaled_dot_product_flash_attention_for_cpu(x[0], x[1], x[2], 0, causal, mask, scale);
    CHECK_CLOSE(output, std::get<0>(_scaled_dot_product_attention_math(x[0], x[1], x[2], mask, 0, causal, scale, true)), 1e-12, 1e-13);
    const Tensor keys = nn::detail::share_heads(x[1], x[0].size(1));
    Tensor scores = matmul(x[0], keys.transpose(-2, -1)) * scale.value_or(1 / std::sqrt(static_cast<double>(x[0].size(-1))));
    const Tensor bias = nn::detail::attention_bias(mask, causal, x[0].size(2), x[1].size(2), kDouble);
    if (bias.defined()) scores = bias + scores;
    CHECK_CLOSE(logsumexp_, logsumexp(scores, -1), 1e-12, 1e-13);
  };
  check(random_qkv(1, 1, 1, 3, 5, 4), false, {}, {});           // one tile
  check(random_qkv(2, 2, 2, 70, 150, 8), false, {}, {});        // several, the last ones cut
  check(random_qkv(1, 2, 2, 100, 100, 8), true, {}, {});        // causal
  check(random_qkv(1, 1, 1, 40, 130, 8), true, {}, 0.3);        // more keys than queries
  check(random_qkv(1, 4, 2, 33, 65, 4), false, {}, {});         // heads in groups
  Generator generator(3);
  check(random_qkv(2, 2, 2, 40, 70, 4), false, randn({2, 1, 40, 70}, generator, kDouble) * 3, {});
  // The largest scores come last: what was summed before must be corrected.
  const auto x = random_qkv(1, 1, 1, 4, 200, 4);
  check({x[0].abs(), x[1].abs() * arange(200, kDouble).unsqueeze(1), x[2]}, false, {}, {});
  // BEGIN HIDDEN TESTS
  const Tensor nowhere = zeros({1, 1, 70}, kDouble).masked_fill(ones({70}, kBool), -std::numeric_limits<double>::infinity());
  const auto y = random_qkv(1, 1, 1, 2, 70, 4);
  const auto [output, lse] = _scaled_dot_product_flash_attention_for_cpu(y[0], y[1], y[2], 0, false, nowhere);
  CHECK_EQ(output, zeros({1, 1, 2, 4}, kDouble));
  CHECK_EQ(lse, zeros({1, 1, 2}, kDouble));
  // Heads that lie between each other in memory, as a projection leaves them.
  const Tensor packed = randn({5, 2, 3, 4}, generator, kDouble).permute({1, 2, 0, 3});
  check({packed, packed, packed}, true, {}, {});
  CHECK_EQ(std::get<0>(_scaled_dot_product_flash_attention_for_cpu(y[0], y[1].slice(2, 0, 0), y[2].slice(2, 0, 0))), zeros({1, 1, 2, 4}, kDouble));
  // From a projection and back to one, nothing is copied.
  const std::vector<Tensor> parts = randn({2, 5, 24}, generator, kDouble).split(8, 2);
  const auto heads = [](const Tensor& part) { return part.view({2, 5, 2, 4}).transpose(1, 2); };
  const Tensor in_order = std::get<0>(_scaled_dot_product_flash_attention_for_cpu(heads(parts[0]), heads(parts[1]), heads(parts[2])));
  CHECK_EQ(in_order.strides(), (IntArrayRef{40, 4, 8, 1}));
  CHECK_EQ(in_order.transpose(1, 2).view({2, 5, 8}).size(2), 8);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Version 2, backwards: compute the weights again
//
// The graph of version 1 saves the weights (N x N) for the backward pass. Version 2 saves its inputs, its output and one number per query, the logarithm of the sum, and computes each tile of weights a second time: `p_ij = exp(s_ij - logsumexp_i)`, without any search for a maximum. The price is one more product Q K^T;
// the gain is that nothing of size N x N ever lives.
//
// The gradients, for a gradient g_i that arrives at output o_i:
//
//     o_i  = Σ_j p_ij v_j        grad v_j  += p_ij g_i              grad p_ij = g_i · v_j
//     p_i  = softmax(s_i)        grad s_ij  = p_ij (grad p_ij - δ_i)          δ_i = Σ_k p_ik grad p_ik
//     s_ij = scale q_i · k_j     grad q_i  += scale grad s_ij k_j   grad k_j += scale grad s_ij q_i
//
// δ needs a whole row of weights before any tile can be finished. But the row is not needed itself: pull the sum into the dot product,
//
//     δ_i = Σ_k p_ik (g_i · v_k) = g_i · Σ_k p_ik v_k = g_i · o_i
//
// which is one dot product per query, known before the first tile. So each tile can be computed, used and forgotten:
//
//     for each block of keys:
//       for each block of queries (causal: that sees any of these keys):
//             ┌───────────┐      p, then grad s           grad value[keys]   += p^T g
//             │ tile of p │      in the same 32 x 64      grad query[rows]   += scale grad s  k
//             └───────────┘                               grad key[keys]     += scale grad s^T q

// %%
//| export nn/flash_attention.cpp
namespace {
// One tile in the backward pass. Rows are queries, columns are keys; everything begins at the tile's first row or column.
template <class T>
struct BackwardTile {
  std::int64_t rows, columns, E, Ev;
  T scale;
  Matrix<T> scores;                                // (rows, columns), computed again; may be overwritten
  Matrix<T> grad_weights;                          // (rows, columns) of scratch
  const T* logsumexp;                              // (rows)
  const T* delta;                                  // (rows): grad_out · out
  Matrix<T> query, key, value_t, grad_out;         // (rows, E), (columns, E), (Ev, columns), (rows, Ev)
  Matrix<T> grad_query, grad_key, grad_value;      // (rows, E), (columns, E), (columns, Ev): add into them
};
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "11-backward-tile", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/flash_attention.cpp
// Adds what one tile contributes to the gradients of query, key and value. O(rows columns (E + Ev)).
//
// TODO: Weights again, the gradient of the scores, and three products.
// APPROACH: 1. scores become weights: exp(score - logsumexp of the row). 2. grad_value += weights^T grad_out. 3. grad_weights = grad_out value^T: fill_rows with 0, then add_product with value_t.
//           4. grad_weights becomes the gradient of the scores: weight * (grad_weight - delta of the row). 5. grad_query += scale * it * key; grad_key += scale * it^T * query.
// EXAMPLE: with one key the weight is 1, grad_weight equals delta, and query and key get zeros: a single key is chosen whatever its score.
// HINT: add_product(out, factor, a, b, M, K, N) for a (M, K), add_transposed_product(out, factor, a, b, M, K, N) for a (K, M).
namespace {
template <class T>
void backward_tile(const BackwardTile<T>& t) {
  // BEGIN SOLUTION
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.scores[i][j] = std::exp(t.scores[i][j] - t.logsumexp[i]);
  add_transposed_product(t.grad_value, T{1}, t.scores, t.grad_out, t.columns, t.rows, t.Ev);
  fill_rows(t.grad_weights, t.rows, t.columns, T{0});
  add_product(t.grad_weights, T{1}, t.grad_out, t.value_t, t.rows, t.Ev, t.columns);
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.grad_weights[i][j] = t.scores[i][j] * (t.grad_weights[i][j] - t.delta[i]);
  add_product(t.grad_query, t.scale, t.grad_weights, t.key, t.rows, t.columns, t.E);
  add_transposed_product(t.grad_key, t.scale, t.grad_weights, t.query, t.columns, t.rows, t.E);
  // END SOLUTION
}
}  // namespace

// %%
//| export nn/flash_attention.cpp
namespace {
// All tiles of one head, key block by key block.
template <class T>
void backward_head(const FlashProblem& of, std::int64_t b, std::int64_t h, BackwardTile<T> tile, const T* logsumexp, const T* delta, Matrix<T> key_t, Matrix<T> grad_out,
                   Matrix<T> grad_query, Matrix<T> grad_key, Matrix<T> grad_value) {
  const Matrix<T> query = FlashProblem::head<T>(of.query, b, h);
  const Matrix<T> key = FlashProblem::head<T>(of.key, b, of.key_head(h));
  const Matrix<T> value = FlashProblem::head<T>(of.value, b, of.key_head(h));
  for (std::int64_t j0 = 0; j0 < of.S; j0 += kKeyBlock) {
    tile.columns = std::min(kKeyBlock, of.S - j0);
    tile.key = key.from(j0);
    tile.grad_key = grad_key.from(j0);
    tile.grad_value = grad_value.from(j0);
    transpose_tile(key_t, tile.key, tile.columns, of.E);
    transpose_tile(tile.value_t, value.from(j0), tile.columns, of.Ev);
    // Causal: queries before j0 see none of these keys.
    for (std::int64_t i0 = of.causal ? j0 / kQueryBlock * kQueryBlock : 0; i0 < of.L; i0 += kQueryBlock) {
      tile.rows = std::min(kQueryBlock, of.L - i0);
      tile.query = query.from(i0);
      tile.grad_query = grad_query.from(i0);
      tile.grad_out = grad_out.from(i0);
      tile.logsumexp = logsumexp + i0;
      tile.delta = delta + i0;
      score_tile(of, b, h, i0, tile.rows, j0, tile.columns, key_t, tile.scores);
      backward_tile(tile);
    }
  }
}

std::tuple<Tensor, Tensor, Tensor> flash_attention_backward_cpu(const Tensor& grad_out_, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out, const Tensor& logsumexp, double,
                                                                bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const FlashProblem of(query, key, value, is_causal, attn_mask, scale);
  const ScalarType dtype = query.scalar_type();
  const Tensor grad_out = grad_out_.contiguous();
  const Tensor delta = (grad_out * out).sum(-1).contiguous();
  const auto zeros_beside = [](const Tensor& x) { return fill_(nn::detail::empty_heads(x.sizes(), x), 0); };
  const Tensor grad_query = zeros_beside(query);
  const Tensor grad_key = zeros_beside(key);
  const Tensor grad_value = zeros_beside(value);
  const Tensor key_t = empty({of.E, kKeyBlock}, dtype);
  const Tensor value_t = empty({of.Ev, kKeyBlock}, dtype);
  const Tensor scores = empty({kQueryBlock, kKeyBlock}, dtype);
  const Tensor grad_weights = empty({kQueryBlock, kKeyBlock}, dtype);
  dispatch_floating_types(dtype, "flash_attention_backward", [&]<class T>() {
    BackwardTile<T> tile{};
    tile.E = of.E;
    tile.Ev = of.Ev;
    tile.scale = static_cast<T>(of.scale);
    tile.scores = matrix_of<T>(scores);
    tile.grad_weights = matrix_of<T>(grad_weights);
    tile.value_t = matrix_of<T>(value_t);
    for (std::int64_t b = 0; b < of.B; ++b) {
      for (std::int64_t h = 0; h < of.H; ++h) {
        const std::int64_t first_row = (b * of.H + h) * of.L;
        backward_head(of, b, h, tile, logsumexp.data<T>() + first_row, delta.data<T>() + first_row, matrix_of<T>(key_t), FlashProblem::head<T>(grad_out, b, h),
                      FlashProblem::head<T>(grad_query, b, h), FlashProblem::head<T>(grad_key, b, of.key_head(h)), FlashProblem::head<T>(grad_value, b, of.key_head(h)));
      }
    }
  });
  return {grad_query, grad_key, grad_value};
}
}  // namespace

constinit Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, bool, const std::optional<Tensor>&, std::optional<double>)>
    op::_scaled_dot_product_flash_attention_for_cpu_backward("_scaled_dot_product_flash_attention_for_cpu_backward", {.cpu = flash_attention_backward_cpu});

std::tuple<Tensor, Tensor, Tensor> _scaled_dot_product_flash_attention_for_cpu_backward(const Tensor& grad_out, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out,
                                                                                        const Tensor& logsumexp, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask,
                                                                                        std::optional<double> scale) {
  const NoGradGuard no_grad;
  return op::_scaled_dot_product_flash_attention_for_cpu_backward(grad_out, query, key, value, out, logsumexp, dropout_p, is_causal, attn_mask, scale);
}

// %%
//| mistake 11-backward-tile no-delta
//| says A softmax shares out: raising one score lowers the other weights. Subtract delta, the mean of the gradients of the weights, before multiplying by the weight.
#if 0
template <class T>
void backward_tile(const BackwardTile<T>& t) {
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.scores[i][j] = std::exp(t.scores[i][j] - t.logsumexp[i]);
  add_transposed_product(t.grad_value, T{1}, t.scores, t.grad_out, t.columns, t.rows, t.Ev);
  fill_rows(t.grad_weights, t.rows, t.columns, T{0});
  add_product(t.grad_weights, T{1}, t.grad_out, t.value_t, t.rows, t.Ev, t.columns);
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.grad_weights[i][j] = t.scores[i][j] * t.grad_weights[i][j];
  add_product(t.grad_query, t.scale, t.grad_weights, t.key, t.rows, t.columns, t.E);
  add_transposed_product(t.grad_key, t.scale, t.grad_weights, t.query, t.columns, t.rows, t.E);
}
#endif

// %%
//| mistake 11-backward-tile forgets-the-weight
//| says The gradient of a score is its weight times (gradient of the weight - delta): the factor p is missing.
#if 0
template <class T>
void backward_tile(const BackwardTile<T>& t) {
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.scores[i][j] = std::exp(t.scores[i][j] - t.logsumexp[i]);
  add_transposed_product(t.grad_value, T{1}, t.scores, t.grad_out, t.columns, t.rows, t.Ev);
  fill_rows(t.grad_weights, t.rows, t.columns, T{0});
  add_product(t.grad_weights, T{1}, t.grad_out, t.value_t, t.rows, t.Ev, t.columns);
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.grad_weights[i][j] = t.grad_weights[i][j] - t.delta[i];
  add_product(t.grad_query, t.scale, t.grad_weights, t.key, t.rows, t.columns, t.E);
  add_transposed_product(t.grad_key, t.scale, t.grad_weights, t.query, t.columns, t.rows, t.E);
}
#endif

// %%
//| mistake 11-backward-tile forgets-the-scale
//| says The scores were scaled in the forward pass, so the gradients of query and key have the factor `scale`, too.
#if 0
template <class T>
void backward_tile(const BackwardTile<T>& t) {
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.scores[i][j] = std::exp(t.scores[i][j] - t.logsumexp[i]);
  add_transposed_product(t.grad_value, T{1}, t.scores, t.grad_out, t.columns, t.rows, t.Ev);
  fill_rows(t.grad_weights, t.rows, t.columns, T{0});
  add_product(t.grad_weights, T{1}, t.grad_out, t.value_t, t.rows, t.Ev, t.columns);
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.grad_weights[i][j] = t.scores[i][j] * (t.grad_weights[i][j] - t.delta[i]);
  add_product(t.grad_query, T{1}, t.grad_weights, t.key, t.rows, t.columns, t.E);
  add_transposed_product(t.grad_key, T{1}, t.grad_weights, t.query, t.columns, t.rows, t.E);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-backward-tile-test", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("attention, version 2: gradients from output and logsumexp are those of version 1") {
  const auto check = [](const std::vector<Tensor>& x, bool causal, const std::optional<Tensor>& mask, std::optional<double> scale) {
    const auto [output, logsumexp_] = _scaled_dot_product_flash_attention_for_cpu(x[0], x[1], x[2], 0, causal, mask, scale);
    const Tensor grad = (arange(output.numel(), kDouble) * 0.37 + 0.5).view(output.sizes());
    const auto [query, key, value] = _scaled_dot_product_flash_attention_for_cpu_backward(grad, x[0], x[1], x[2], output, logsumexp_, 0, causal, mask, scale);
    const auto expected = gradients_of([&](const std::vector<Tensor>& y) { return std::get<0>(_scaled_dot_product_attention_math(y[0], y[1], y[2], mask, 0, causal, scale, true)); }, x);
    CHECK_CLOSE(query, expected[0], 1e-10, 1e-10);
    CHECK_CLOSE(key, expected[1], 1e-10, 1e-10);
    CHECK_CLOSE(value, expected[2], 1e-10, 1e-10);
  };
  check(random_qkv(1, 1, 1, 3, 1, 4), false, {}, {});  // one key: only the value has a gradient
  check(random_qkv(1, 1, 1, 3, 5, 4), false, {}, {});
  check(random_qkv(2, 2, 2, 40, 70, 4), false, {}, 0.7);
  check(random_qkv(1, 2, 2, 70, 70, 4), true, {}, {});
  check(random_qkv(1, 4, 2, 5, 7, 4), false, {}, {});  // heads that share keys add up
  // BEGIN HIDDEN TESTS
  Generator generator(3);
  const Tensor packed = randn({5, 2, 3, 4}, generator, kDouble).permute({1, 2, 0, 3});
  check({packed, packed, packed}, true, {}, {});
  {
    const auto [out, lse] = _scaled_dot_product_flash_attention_for_cpu(packed, packed, packed);
    const auto [query, key, value] = _scaled_dot_product_flash_attention_for_cpu_backward(ones_like(out), packed, packed.contiguous(), packed, out, lse, 0, false);
    CHECK_EQ(query.strides(), packed.strides());
    CHECK(key.is_contiguous());
    CHECK_EQ(value.strides(), packed.strides());
  }
  check(random_qkv(2, 2, 2, 9, 70, 4), false, randn({2, 1, 9, 70}, generator, kDouble) * 3, {});
  check(random_qkv(1, 1, 1, 130, 40, 4), true, {}, {});
  const double inf = std::numeric_limits<double>::infinity();
  check(random_qkv(1, 1, 1, 2, 2, 4), false, tensor({{-inf, -inf}, {0.0, -inf}}, kDouble), {});
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The operator, and who calls it
//
// Both passes become one operator. Its Autograd layer records a node of its own instead of using `gradient_of` (chapter on operators): that would call one function for each of query, key and value, and each would walk over all tiles. The node saves what the two passes agreed on:
//
//     forward:   query, key, value ──> output, logsumexp
//                  │                     │        │
//     the node:  saved ................ saved .. saved        (L + S) * E numbers per head, nothing of N x N
//                  │
//     backward:  grad_out ──> grad_query, grad_key, grad_value
//
// When somebody asks for second derivatives (`create_graph`), the node cannot use the tiles: they are no operators, and nothing would record them. It then computes the same gradient from tensor operations, with N x N memory. That is rare, and an exact answer is better than none.
//
// `scaled_dot_product_attention` chooses: dropout draws a random number for each weight, and a mask that learns has a gradient for each weight, so these two take version 1.

// %%
//| export nn/flash_attention.cpp
namespace {

// The gradients as tensor operations, which can be differentiated again. O(L S) memory.
variable_list composed_gradients(const Tensor& grad, const Tensor& query, const Tensor& key, const Tensor& value, bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));
  const Tensor keys = nn::detail::share_heads(key, query.size(1));
  const Tensor values = nn::detail::share_heads(value, query.size(1));
  const auto [output, weights] = _scaled_dot_product_attention_math(query, keys, values, attn_mask, 0, is_causal, scale);
  const Tensor grad_scores = weights * (matmul(grad, values.transpose(-2, -1)) - (grad * output).sum(-1, true)) * factor;
  // Query heads that share a head of keys and values add their gradients.
  const auto of_group = [](const Tensor& x, const Tensor& like) {
    return x.reshape({x.size(0), like.size(1), -1, x.size(2), x.size(3)}).sum(2);
  };
  return {matmul(grad_scores, keys), of_group(matmul(grad_scores.transpose(-2, -1), query), key), of_group(matmul(weights.transpose(-2, -1), grad), value)};
}

struct FlashAttentionBackward : Node {
  std::string name() const override { return "ScaledDotProductFlashAttentionForCpuBackward0"; }

  variable_list apply(variable_list&& grads) override {
    if (!grads[0].defined()) return variable_list(3);
    const Tensor q = query.unpack(*this), k = key.unpack(*this), v = value.unpack(*this);
    std::optional<Tensor> bias;
    if (masked) bias = mask.unpack(*this);
    if (GradMode::is_enabled()) return composed_gradients(grads[0], q, k, v, is_causal, bias, scale);
    auto [grad_query, grad_key, grad_value] =
        _scaled_dot_product_flash_attention_for_cpu_backward(grads[0], q, k, v, output.unpack(*this), logsumexp.unpack(*this), 0, is_causal, bias, scale);
    return {std::move(grad_query), std::move(grad_key), std::move(grad_value)};
  }
  void release_variables() override {
    for (SavedVariable* saved : {&query, &key, &value, &mask, &output, &logsumexp}) saved->reset();
  }

  SavedVariable query, key, value, mask, output, logsumexp;
  bool is_causal = false, masked = false;
  std::optional<double> scale;
};

std::tuple<Tensor, Tensor> flash_attention_autograd(const Tensor& query, const Tensor& key, const Tensor& value, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask,
                                                    std::optional<double> scale) {
  const auto below = [&] {
    const ExcludeLayersGuard guard(Layer::Autograd);
    return op::_scaled_dot_product_flash_attention_for_cpu(query, key, value, dropout_p, is_causal, attn_mask, scale);
  };
  if (!is_recording() || !(query.requires_grad() || key.requires_grad() || value.requires_grad())) return below();
  const auto node = make_node<FlashAttentionBackward>();
  node->set_next_edges({gradient_edge(query), gradient_edge(key), gradient_edge(value)});
  node->query = SavedVariable(query, false);
  node->key = SavedVariable(key, false);
  node->value = SavedVariable(value, false);
  node->masked = attn_mask && attn_mask->defined();
  if (node->masked) node->mask = SavedVariable(*attn_mask, false);
  node->is_causal = is_causal;
  node->scale = scale;
  auto results = below();
  node->output = SavedVariable(std::get<0>(results), true);
  node->logsumexp = SavedVariable(std::get<1>(results), false);
  set_history(std::get<0>(results), node);
  return results;
}

}  // namespace

constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, double, bool, const std::optional<Tensor>&, std::optional<double>)>
    op::_scaled_dot_product_flash_attention_for_cpu("_scaled_dot_product_flash_attention_for_cpu", {.cpu = flash_attention_cpu, .autograd = flash_attention_autograd});

// %%
//| export nn/flash_attention.cpp
std::tuple<Tensor, Tensor> _scaled_dot_product_flash_attention_for_cpu(const Tensor& query, const Tensor& key, const Tensor& value, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask,
                                                                       std::optional<double> scale) {
  for (const Tensor& x : {query, key, value})
    TORCH_CHECK(x.dim() == 4, "scaled_dot_product_attention_flash_attention: Accept only 4 dims inputs shape of {B, H, T, K}, but got sizes ", x.sizes());
  TORCH_CHECK(query.is_floating_point(), "scaled_dot_product_attention_flash_attention: Expected data type in FP32, FP64, BF16, FP16, but got ", query.scalar_type(), " instead.");
  TORCH_CHECK(key.scalar_type() == query.scalar_type() && value.scalar_type() == query.scalar_type(), "scaled_dot_product_attention_flash_attention: Expected query, key and value of one dtype, but got ",
              query.scalar_type(), ", ", key.scalar_type(), " and ", value.scalar_type());
  TORCH_CHECK(dropout_p == 0, "scaled_dot_product_attention_flash_attention: Currently do not support dropout > 0\n[flash_attention] dropout_p is ", dropout_p,
              "; scaled_dot_product_attention takes any.");
  TORCH_CHECK(query.size(3) == key.size(3), "scaled_dot_product_attention_flash_attention: Q/K/V should have the same head size\n[flash_attention] query has ", query.size(3), " features, key ", key.size(3));
  TORCH_CHECK(key.size(0) == query.size(0) && value.size(0) == query.size(0) && value.size(1) == key.size(1) && value.size(2) == key.size(2),
              "scaled_dot_product_attention_flash_attention: batch, heads and keys must agree, but got query ", query.sizes(), ", key ", key.sizes(), " and value ", value.sizes());
  TORCH_CHECK(key.size(1) > 0 ? query.size(1) % key.size(1) == 0 : query.size(1) == 0, "Number of heads in key and value must divide the number of heads in query\n[flash_attention] key has ", key.size(1),
              " heads, query ", query.size(1));
  TORCH_CHECK(!attn_mask || !attn_mask->defined() || attn_mask->scalar_type() == query.scalar_type(),
              "scaled_dot_product_attention_flash_attention: Attention mask is the same data type as query\n[flash_attention] turn a boolean mask into 0 and -inf first.");
  return op::_scaled_dot_product_flash_attention_for_cpu(query, key, value, dropout_p, is_causal, attn_mask, scale);
}

// %%
//| export nn/attention.cpp
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

// %%
TEST_CASE("scaled_dot_product_attention: both versions, one answer") {
  const auto x = random_qkv(2, 4, 2, 40, 70, 8);
  const auto attend = [&](const std::vector<Tensor>& y) { return scaled_dot_product_attention(y[0], y[1], y[2], {}, 0, false, {}, true); };
  const auto written_out = [&](const std::vector<Tensor>& y) { return std::get<0>(_scaled_dot_product_attention_math(y[0], y[1], y[2], {}, 0, false, {}, true)); };
  CHECK_CLOSE(attend(x), written_out(x), 1e-12, 1e-13);
  const auto a = gradients_of(attend, x), b = gradients_of(written_out, x);
  for (std::size_t i = 0; i < 3; ++i) CHECK_CLOSE(a[i], b[i], 1e-10, 1e-10);

  // Fewer dimensions; a mask that learns; batches that broadcast.
  CHECK_CLOSE(scaled_dot_product_attention(x[0][0][0], x[1][0][0], x[2][0][0]), attend(x)[0][0], 1e-12, 1e-13);
  CHECK_CLOSE(scaled_dot_product_attention(x[0][0], x[1][0], x[2][0], {}, 0, false, {}, true), attend(x)[0], 1e-12, 1e-13);
  const Tensor mask = zeros({40, 70}, kDouble).requires_grad_();
  scaled_dot_product_attention(x[0], x[1], x[2], mask, 0, false, {}, true).sum().backward();
  CHECK(mask.grad().defined());
  CHECK_EQ(scaled_dot_product_attention(x[0][0], x[1].slice(1, 0, 1), x[2].slice(1, 0, 1)).sizes(), IntArrayRef({2, 4, 40, 8}));

  CHECK_ERROR(scaled_dot_product_attention(x[0], x[1].to(kFloat), x[2]), "Expected query, key, and value to have the same dtype, but got query.dtype: double key.dtype: float and value.dtype: double instead.");
  CHECK_ERROR(scaled_dot_product_attention(x[0], x[1], x[2]), "must match the size of tensor b (2) at non-singleton dimension 1");
  CHECK_ERROR(scaled_dot_product_attention(x[0], x[1], x[2], ones({40, 70}, kBool), 0, true, {}, true), "Explicit attn_mask should not be set when is_causal=True");
  CHECK_ERROR(scaled_dot_product_attention(x[0].slice(1, 0, 3), x[1], x[2], {}, 0, false, {}, true), "Number of heads in key and value must divide the number of heads in query");
  CHECK_ERROR(scaled_dot_product_attention(x[0].to(kLong), x[1].to(kLong), x[2].to(kLong)), "expected scalar type Float but found Long");
  CHECK_ERROR(scaled_dot_product_attention(x[0], x[1], x[2], {}, 1.5, false, {}, true), "dropout probability has to be between 0 and 1, but got 1.5");
}

TEST_CASE("scaled_dot_product_attention: second derivatives, and what the node keeps") {
  const auto x = random_qkv(1, 2, 1, 3, 4, 2);
  std::vector<Tensor> leaves;
  for (const Tensor& value : x) leaves.push_back(value.clone().requires_grad_());
  const auto second = [&](const std::function<Tensor()>& attention) {
    const auto first = autograd::grad({attention().pow(2).sum()}, leaves, {}, true, true);
    Tensor total = zeros({}, kDouble);
    for (const Tensor& gradient : first) total = total + gradient.pow(2).sum();
    return autograd::grad({total}, leaves);
  };
  const auto blocks = second([&] { return scaled_dot_product_attention(leaves[0], leaves[1], leaves[2], {}, 0, true, {}, true); });
  const auto plain = second([&] { return std::get<0>(_scaled_dot_product_attention_math(leaves[0], leaves[1], leaves[2], {}, 0, true, {}, true)); });
  for (std::size_t i = 0; i < 3; ++i) CHECK_CLOSE(blocks[i], plain[i], 1e-10, 1e-12);

  const Tensor output = scaled_dot_product_attention(leaves[0], leaves[1], leaves[2], {}, 0, false, {}, true);
  CHECK_EQ(output.grad_fn()->name(), "ScaledDotProductFlashAttentionForCpuBackward0");
  output.sum().backward();
  CHECK_ERROR(output.sum().backward(), "Trying to backward through the graph a second time");
}

// %% [markdown]
// ### Heads: cut the features, not the sequence
//
// One softmax can look at one place. So a layer of E features is cut into H heads of D = E / H features, and each attends for itself. It costs the same: H times (L S D) is L S E. libtorch's layout is `(L, B, E)`, sequence first, and attention wants `(B, H, L, D)`:
//
//     (L, B, E)  ──view──>  (L, B, H, D)  ──permute──>  (B, H, L, D)
//
//     word 0   [ a a | b b | c c ]            head a          head b          head c
//     word 1   [ a a | b b | c c ]    ──>     word 0 [a a]    word 0 [b b]    word 0 [c c]
//     word 2   [ a a | b b | c c ]            word 1 [a a]    word 1 [b b]    word 1 [c c]
//              E = 6: H = 3 of D = 2          word 2 [a a]    word 2 [b b]    word 2 [c c]
//
// Both steps are views: nothing is copied, and version 2 reads the heads where they lie. The classic mistake is to go from (L, B, E) to (B, H, L, D) by one `reshape`: the sizes are right, no error appears, the loss even falls somewhat, and every head holds pieces of different words and samples. `view` keeps the order of the numbers; only `permute` changes which
// dimension is which.

// %% {"nbgrader": {"grade": false, "grade_id": "11-split-heads", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/attention.cpp
// (L, B, H * D) -> (B, H, L, D): head h has the features h * D ... (h + 1) * D - 1. A view if x's last dimension is dense. REQUIRES: heads divides the features. O(1).
//
// TODO: Cut the features, then bring the dimensions into order.
// APPROACH: reshape to (L, B, H, D), then permute.
// EXAMPLE: one word, one sample, features [1 2 3 4], two heads: head 0 has [1 2], head 1 has [3 4].
Tensor nn::detail::split_heads(const Tensor& x, std::int64_t heads) {
  // BEGIN SOLUTION
  return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).permute({1, 2, 0, 3});
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "11-merge-heads", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/attention.cpp
// (B, H, L, D) -> (L, B, H * D): undoes split_heads. One copy.
//
// TODO: The way back.
// APPROACH: permute to (L, B, H, D), then fold the last two dimensions.
// EXAMPLE: merge_heads(split_heads(x, 2)) equals x.
Tensor nn::detail::merge_heads(const Tensor& x) {
  // BEGIN SOLUTION
  return x.permute({2, 0, 1, 3}).reshape({x.size(2), x.size(0), x.size(1) * x.size(3)});
  // END SOLUTION
}

// %%
//| mistake 11-split-heads one-reshape
//| says reshape keeps the order of the numbers and only changes where it is cut: the sizes are right, but a head now holds pieces of other words and samples. Cut the features first, (L, B, H, D), then permute.
#if 0
Tensor nn::detail::split_heads(const Tensor& x, std::int64_t heads) {
  return x.reshape({x.size(1), heads, x.size(0), x.size(2) / heads});
}
#endif

// %%
//| mistake 11-split-heads every-other-feature
//| says Head h took every H-th feature. PyTorch gives it D neighbouring ones: cut the features into (H, D), not (D, H); with weights from PyTorch the result is wrong otherwise.
#if 0
Tensor nn::detail::split_heads(const Tensor& x, std::int64_t heads) {
  return x.reshape({x.size(0), x.size(1), x.size(2) / heads, heads}).permute({1, 3, 0, 2});
}
#endif

// %%
//| mistake 11-merge-heads one-reshape
//| says The heads were folded where they lie in memory: features of one word now stand in several. Bring (B, H, L, D) to (L, B, H, D) first.
#if 0
Tensor nn::detail::merge_heads(const Tensor& x) {
  return x.reshape({x.size(2), x.size(0), x.size(1) * x.size(3)});
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-split-heads-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("split_heads and merge_heads: features are cut, words and samples stay whole") {
  const Tensor x = arange(2 * 3 * 4, kDouble).view({2, 3, 4});  // two words, three samples, four features
  const Tensor heads = nn::detail::split_heads(x, 2);
  REQUIRE_EQ(heads.sizes(), IntArrayRef({3, 2, 2, 2}));
  for (std::int64_t l = 0; l < 2; ++l)
    for (std::int64_t b = 0; b < 3; ++b)
      for (std::int64_t h = 0; h < 2; ++h) CHECK_EQ(heads[b][h][l], x[l][b].slice(0, 2 * h, 2 * h + 2));
  CHECK(heads.is_alias_of(x));
  CHECK_EQ(nn::detail::merge_heads(heads), x);
  // BEGIN HIDDEN TESTS
  const Tensor other = arange(2 * 3 * 5 * 4, kDouble).view({2, 3, 5, 4});  // (B, H, L, D), no square
  const Tensor merged = nn::detail::merge_heads(other);
  REQUIRE_EQ(merged.sizes(), IntArrayRef({5, 2, 12}));
  CHECK_EQ(merged[4][1].slice(0, 8, 12), other[1][2][4]);
  CHECK_EQ(nn::detail::split_heads(merged, 3), other);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Projections
//
// What a position asks, what it answers to and what it says are three different things, so each has a linear layer of its own. Where query, key and value have the same features, PyTorch keeps the three weights in one matrix, because in self-attention one product with it is faster than three:
//
//     in_proj_weight (3E, E)                 x (L, B, E) ── one product ──> (L, B, 3E) ── chunk ──> q | k | v
//     ┌──────────┐
//     │ W_query  │  rows 0 ... E - 1         query ≠ key: each with its own third
//     │ W_key    │  rows E ... 2E - 1
//     │ W_value  │  rows 2E ... 3E - 1
//     └──────────┘

// %% {"nbgrader": {"grade": false, "grade_id": "11-in-projection", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/attention.cpp
// (q, k, v) for query (L, B, E), key and value (S, B, E) by the thirds of weight (3 E, E) and bias (3 E), or no bias if it is undefined. One product if the three are the same tensor. Source: torch/nn/functional.py,
// _in_projection_packed. O(L B E^2).
//
// TODO: Project with one product or with three.
// APPROACH: 1. query.is_same(key) and key.is_same(value): linear with the whole weight, then chunk(3, -1). 2. Otherwise chunk weight and bias along dim 0 and call linear three times.
// EXAMPLE: with a weight of three identity matrices on top of each other, q, k and v are the inputs.
// HINT: an undefined bias cannot be chunked; linear takes it as it is.
std::tuple<Tensor, Tensor, Tensor> nn::detail::in_projection_packed(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& weight, const Tensor& bias) {
  // BEGIN SOLUTION
  if (query.is_same(key) && key.is_same(value)) {
    const std::vector<Tensor> parts = linear(query, weight, bias).chunk(3, -1);
    return {parts[0], parts[1], parts[2]};
  }
  const std::vector<Tensor> weights = weight.chunk(3);
  const std::vector<Tensor> biases = bias.defined() ? bias.chunk(3) : std::vector<Tensor>(3);
  return {linear(query, weights[0], biases[0]), linear(key, weights[1], biases[1]), linear(value, weights[2], biases[2])};
  // END SOLUTION
}

// %%
//| mistake 11-in-projection swaps-query-and-key
//| says The thirds of the weight are query, key, value, in this order. With published weights, swapped ones give another model.
#if 0
std::tuple<Tensor, Tensor, Tensor> nn::detail::in_projection_packed(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& weight, const Tensor& bias) {
  if (query.is_same(key) && key.is_same(value)) {
    const std::vector<Tensor> parts = linear(query, weight, bias).chunk(3, -1);
    return {parts[1], parts[0], parts[2]};
  }
  const std::vector<Tensor> weights = weight.chunk(3);
  const std::vector<Tensor> biases = bias.defined() ? bias.chunk(3) : std::vector<Tensor>(3);
  return {linear(query, weights[1], biases[1]), linear(key, weights[0], biases[0]), linear(value, weights[2], biases[2])};
}
#endif

// %%
//| mistake 11-in-projection always-self-attention
//| says Keys and values were computed from query: that is right in self-attention only. A decoder looks at the encoder, whose output is the key and value.
#if 0
std::tuple<Tensor, Tensor, Tensor> nn::detail::in_projection_packed(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& weight, const Tensor& bias) {
  static_cast<void>(key);
  static_cast<void>(value);
  const std::vector<Tensor> parts = linear(query, weight, bias).chunk(3, -1);
  return {parts[0], parts[1], parts[2]};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-in-projection-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("in_projection_packed: three layers in one matrix") {
  Generator generator(5);
  const Tensor weight = randn({12, 4}, generator, kDouble), bias = randn({12}, generator, kDouble);
  const Tensor x = randn({3, 2, 4}, generator, kDouble), y = randn({5, 2, 4}, generator, kDouble), z = randn({5, 2, 4}, generator, kDouble);
  const auto [q, k, v] = nn::detail::in_projection_packed(x, y, z, weight, bias);
  CHECK_CLOSE(q, linear(x, weight.slice(0, 0, 4), bias.slice(0, 0, 4)));
  CHECK_CLOSE(k, linear(y, weight.slice(0, 4, 8), bias.slice(0, 4, 8)));
  CHECK_CLOSE(v, linear(z, weight.slice(0, 8, 12), bias.slice(0, 8, 12)));
  const auto [sq, sk, sv] = nn::detail::in_projection_packed(x, x, x, weight, bias);
  CHECK_CLOSE(sq, q);
  CHECK_CLOSE(sk, linear(x, weight.slice(0, 4, 8), bias.slice(0, 4, 8)));
  CHECK_CLOSE(sv, linear(x, weight.slice(0, 8, 12), bias.slice(0, 8, 12)));
  CHECK(sq.is_alias_of(sv));  // one product
  // BEGIN HIDDEN TESTS
  const auto [nq, nk, nv] = nn::detail::in_projection_packed(x, y, y, weight, Tensor());
  CHECK_CLOSE(nq, linear(x, weight.slice(0, 0, 4)));
  CHECK_CLOSE(nk, linear(y, weight.slice(0, 4, 8)));
  CHECK_CLOSE(nv, linear(y, weight.slice(0, 8, 12)));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### MultiheadAttention
//
// Now the layer, with everything that libtorch's has. What may stand around the attention itself:
//
//     query, key, value (L or S, B, features)
//        │  in_proj: one (3E, E) matrix, or q_proj, k_proj, v_proj where features differ (kdim, vdim)
//        │  bias_k, bias_v (1, 1, E): one more key and value, learned                       add_bias_kv
//        ▼
//     split_heads ── one more key and value of zeros: "look nowhere"                        add_zero_attn
//        │             attn_mask (L, S) or (B * H, L, S)      true = hidden, or added
//        ▼             key_padding_mask (B, S)                true = hidden, or added
//     attention ─────> weights, averaged over the heads or not                              need_weights
//        │
//     merge_heads ── out_proj (E, E) ──> (L, B, E)
//
// `need_weights` is on by default, for pictures of who looks at whom. It forces version 1: switch it off in training.

// %%
//| export nn/attention.h
namespace nn {

// Source: torch/csrc/api/include/torch/nn/options/activation.h.
struct MultiheadAttentionOptions {
  MultiheadAttentionOptions(std::int64_t embed_dim, std::int64_t num_heads) : embed_dim_(embed_dim), num_heads_(num_heads), kdim_(embed_dim), vdim_(embed_dim) {}
  TORCH_ARG(std::int64_t, embed_dim);
  TORCH_ARG(std::int64_t, num_heads);
  TORCH_ARG(double, dropout) = 0.0;           // of the attention weights
  TORCH_ARG(bool, bias) = true;               // of all projections
  TORCH_ARG(bool, add_bias_kv) = false;       // a learned key and value behind the given ones
  TORCH_ARG(bool, add_zero_attn) = false;     // a key and value of zeros behind the given ones
  TORCH_ARG(std::int64_t, kdim);              // features of key; default embed_dim
  TORCH_ARG(std::int64_t, vdim);              // features of value; default embed_dim
};

namespace functional {

struct MultiheadAttentionForwardFuncOptions {
  MultiheadAttentionForwardFuncOptions(std::int64_t embed_dim_to_check, std::int64_t num_heads, Tensor in_proj_weight, Tensor in_proj_bias, Tensor bias_k, Tensor bias_v, bool add_zero_attn,
                                       double dropout_p, Tensor out_proj_weight, Tensor out_proj_bias);
  TORCH_ARG(std::int64_t, embed_dim_to_check);
  TORCH_ARG(std::int64_t, num_heads);
  TORCH_ARG(Tensor, in_proj_weight);
  TORCH_ARG(Tensor, in_proj_bias);
  TORCH_ARG(Tensor, bias_k);
  TORCH_ARG(Tensor, bias_v);
  TORCH_ARG(bool, add_zero_attn);
  TORCH_ARG(double, dropout_p);
  TORCH_ARG(Tensor, out_proj_weight);
  TORCH_ARG(Tensor, out_proj_bias);
  TORCH_ARG(bool, training) = true;
  TORCH_ARG(Tensor, key_padding_mask);
  TORCH_ARG(bool, need_weights) = true;
  TORCH_ARG(Tensor, attn_mask);
  TORCH_ARG(bool, use_separate_proj_weight) = false;
  TORCH_ARG(Tensor, q_proj_weight);
  TORCH_ARG(Tensor, k_proj_weight);
  TORCH_ARG(Tensor, v_proj_weight);
  TORCH_ARG(Tensor, static_k);  // (B * H, S, D): keys and values that are projected already
  TORCH_ARG(Tensor, static_v);
  TORCH_ARG(bool, average_attn_weights) = true;
};

// query (L, B, E), key (S, B, kdim), value (S, B, vdim) -> (output (L, B, E), weights). The weights are (B, L, S), averaged over the heads, or (B, H, L, S), or undefined without need_weights; then attention runs in
// blocks. S counts bias_k and the key of zeros, too. attn_mask (L, S) or (B * H, L, S) and key_padding_mask (B, S): Bool, true = HIDDEN, or floating point, added to the scores.
// O(L S E + (L + S) E^2). Throws on sizes that do not fit. Source: torch/csrc/api/include/torch/nn/functional/activation.h.
std::tuple<Tensor, Tensor> multi_head_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, const MultiheadAttentionForwardFuncOptions& options);

}  // namespace functional

// Attention with num_heads heads and projections in front and behind (Vaswani et al., 2017): see functional::multi_head_attention_forward for shapes and masks. Sequences come first: (L, B, E). in_proj_weight is
// xavier-uniform, biases are 0, out_proj is born as a Linear. Source: torch/csrc/api/src/nn/modules/activation.cpp.
class MultiheadAttentionImpl : public Cloneable<MultiheadAttentionImpl> {
 public:
  MultiheadAttentionImpl(std::int64_t embed_dim, std::int64_t num_heads);
  explicit MultiheadAttentionImpl(const MultiheadAttentionOptions& options_);
  void reset() override;
  void _reset_parameters();
  std::tuple<Tensor, Tensor> forward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& key_padding_mask = {}, bool need_weights = true, const Tensor& attn_mask = {},
                                     bool average_attn_weights = true);

  MultiheadAttentionOptions options;
  bool _qkv_same_embed_dim = true;
  Tensor in_proj_weight;  // (3 E, E), or undefined where kdim or vdim is not E
  Tensor in_proj_bias;    // (3 E)
  Tensor bias_k, bias_v;  // (1, 1, E)
  Linear out_proj = nullptr;
  Tensor q_proj_weight, k_proj_weight, v_proj_weight;  // (E, E), (E, kdim), (E, vdim)
  std::int64_t head_dim = 0;
};
TORCH_MODULE(MultiheadAttention);

}  // namespace nn

// %% [markdown]
// The masks come first. Both kinds, and the columns of the keys that were added, become one bias that broadcasts to (B, H, L, S).

// %%
//| export nn/attention.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "11-mha-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/attention.cpp
// (output (L, B, E), weights (B, L, S) or (B, H, L, S) or undefined): see the declaration.
//
// TODO: Put the pieces together.
// APPROACH: 1. check_inputs, project_inputs. 2. bias_k, bias_v: repeat them for each sample, {1, B, 1}, and cat them behind k and v. 3. split_heads of q, k and v; a static_k or static_v, (B * H, S, D), is viewed as (B, H, S, D) and
//           takes the place of k or v (not together with bias_k). 4. add_zero_attn: with_zero_row. 5. bias_of_masks; S is the number of keys without those that 2 and 4 added. 6. dropout_p counts only in training. With need_weights
//           _scaled_dot_product_attention_math, otherwise scaled_dot_product_attention. 7. merge_heads and the output projection. 8. Weights: their mean over the heads, or all.
// HINT: pass the bias as the attn_mask of the attention functions: it is a floating-point mask; an undefined one means none.
std::tuple<Tensor, Tensor> nn::functional::multi_head_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, const MultiheadAttentionForwardFuncOptions& options) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| export nn/attention.cpp
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

// %%
//| lesson
// float64 as the dtype of new tensors, for the time of a scope.
struct DoubleScope {
  DoubleScope() : before(get_default_dtype()) { set_default_dtype(kDouble); }
  ~DoubleScope() { set_default_dtype(before); }
  ScalarType before;
};

// sum((0.5, 0.87, 1.24, ...) * output).
Tensor weighted_sum(const Tensor& output) { return (output * (arange(output.numel(), kDouble) * 0.37 + 0.5).view(output.sizes())).sum(); }

// %%
//| mistake 11-mha-forward drops-in-evaluation
//| says Attention weights were dropped in evaluation mode: dropout_p counts only while options.training().
#if 0
std::tuple<Tensor, Tensor> nn::functional::multi_head_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, const MultiheadAttentionForwardFuncOptions& options) {
  check_inputs(query, key, value, options);
  const std::int64_t L = query.size(0), B = query.size(1), H = options.num_heads(), D = query.size(2) / H;
  auto [q, k, v] = project_inputs(query, key, value, options);
  std::int64_t added = 0;
  if (options.bias_k().defined()) {
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
  const double dropout_p = options.dropout_p();
  Tensor output, weights;
  if (options.need_weights()) {
    std::tie(output, weights) = _scaled_dot_product_attention_math(q, k, v, bias, dropout_p);
    if (options.average_attn_weights()) weights = weights.mean(1);
  } else {
    output = scaled_dot_product_attention(q, k, v, bias, dropout_p);
  }
  return {tinytorch::linear(detail::merge_heads(output), options.out_proj_weight(), options.out_proj_bias()), weights};
}
#endif

// %%
//| mistake 11-mha-forward sums-the-heads
//| says The weights of the heads were summed: rows add up to the number of heads. Average them.
#if 0
std::tuple<Tensor, Tensor> nn::functional::multi_head_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, const MultiheadAttentionForwardFuncOptions& options) {
  check_inputs(query, key, value, options);
  const std::int64_t L = query.size(0), B = query.size(1), H = options.num_heads(), D = query.size(2) / H;
  auto [q, k, v] = project_inputs(query, key, value, options);
  std::int64_t added = 0;
  if (options.bias_k().defined()) {
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
    if (options.average_attn_weights()) weights = weights.sum(1);
  } else {
    output = scaled_dot_product_attention(q, k, v, bias, dropout_p);
  }
  return {tinytorch::linear(detail::merge_heads(output), options.out_proj_weight(), options.out_proj_bias()), weights};
}
#endif

// %%
//| mistake 11-mha-forward no-output-projection
//| says The heads stand side by side and never meet: the output projection, out_proj, mixes them.
#if 0
std::tuple<Tensor, Tensor> nn::functional::multi_head_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, const MultiheadAttentionForwardFuncOptions& options) {
  check_inputs(query, key, value, options);
  const std::int64_t L = query.size(0), B = query.size(1), H = options.num_heads(), D = query.size(2) / H;
  auto [q, k, v] = project_inputs(query, key, value, options);
  std::int64_t added = 0;
  if (options.bias_k().defined()) {
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
  return {detail::merge_heads(output), weights};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-mha-forward-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("MultiheadAttention: PyTorch's parameters, outputs, weights and gradients") {
  const DoubleScope scope;
  // Recorded from PyTorch 2.15.0: torch.manual_seed(0), nn.MultiheadAttention(4, 2), x = randn(3, 2, 4), float64.
  manual_seed(0);
  nn::MultiheadAttention attention(4, 2);
  const Tensor x = randn({3, 2, 4});
  const auto [output, weights] = attention(x, x, x);
  CHECK_CLOSE(output, tensor({-0.05424334131444186, -0.037926736435201336, -0.3367973769614491, 0.18268239454651053, 0.002036041765737545, -0.14316123657883342, -0.22448893207313045, 0.07267866382943428,
                              -0.013997312992196143, 0.00811700648023611, -0.3589291267985232, 0.19433374938657472, -0.08792011821802292, -0.33421034668405625, -0.20333249487949653, 0.0408777305475435,
                              -0.007093610377492232, 0.026493213812067595, -0.35997514633516425, 0.19745723588798206, 0.03399138209202504, -0.23512174450160248, -0.26578036918830983, 0.06030285609121528}).view({3, 2, 4}),
              1e-12, 1e-13);
  CHECK_CLOSE(weights, tensor({0.355723273639566, 0.32243293395062195, 0.3218437924098121, 0.4473773839612005, 0.26508939209539956, 0.2875332239434, 0.44737468277014836, 0.26299801065099015, 0.28962730657886154,
                               0.30770743377405996, 0.2789758811825358, 0.41331668504340424, 0.3442225287094126, 0.2947657274730955, 0.361011743817492, 0.32504015029751554, 0.3548891257854988, 0.3200707239169856}).view({2, 3, 3}),
              1e-12, 1e-13);
  const auto check_gradients = [&](const Tensor& result) {
    for (const Tensor& parameter : attention->parameters()) parameter.mutable_grad() = Tensor();
    weighted_sum(result).backward();
    CHECK_CLOSE(attention->in_proj_weight.grad().sum(1), tensor({0.23271771966601526, 0.6174682222160455, -0.13602959643990142, -0.25330671991212106, 0.4403677611521748, -0.027503897087580942, 0.0036816992599705833,
                                                                 0.2783175883381189, -2.0106247364540044, -1.555146803663881, 1.3461003379450451, 0.45351666971777127}), 1e-10, 1e-11);
    CHECK_CLOSE(attention->out_proj->weight.grad().sum(0), tensor({-57.027020532561124, 66.34859748976938, 68.44260232551247, 34.18494645797452}), 1e-10, 1e-11);
    CHECK_CLOSE(attention->in_proj_bias.grad().slice(0, 8, 12), tensor({13.621640803078158, 10.827548852303824, -11.811445779442185, -4.945545443013705}), 1e-10, 1e-11);
  };
  check_gradients(output);
  // Without weights, attention runs in blocks: the same output and gradients.
  const auto [in_blocks, nothing] = attention(x, x, x, Tensor(), false);
  CHECK(!nothing.defined());
  CHECK_CLOSE(in_blocks, output, 1e-12, 1e-13);
  check_gradients(in_blocks);
  // Dropout of the weights is for training.
  nn::MultiheadAttention dropping(nn::MultiheadAttentionOptions(4, 2).dropout(0.9));
  dropping->load_state_dict(attention->state_dict());
  CHECK(!allclose(std::get<0>(dropping(x, x, x)), output));
  dropping->eval();
  CHECK_CLOSE(std::get<0>(dropping(x, x, x)), output, 1e-12, 1e-13);
  // A batch is a batch: a sample alone gives what it gave beside another.
  CHECK_CLOSE(std::get<0>(attention(x.slice(1, 1, 2), x.slice(1, 1, 2), x.slice(1, 1, 2))), output.slice(1, 1, 2), 1e-12, 1e-13);
  // BEGIN HIDDEN TESTS
  CHECK_ERROR(attention(x, x, x.slice(0, 1)), "do not match value's");
  CHECK_ERROR(attention(x.slice(2, 0, 2), x, x), "was expecting embedding dimension of 4, but got 2");
  CHECK_ERROR(attention(x, x, x, ones({3, 2}, kBool)), "The shape of the key_padding_mask is [3, 2], but should be [2, 3]");
  CHECK_ERROR(attention(x, x, x, Tensor(), true, ones({2, 3})), "The shape of the 2D attn_mask is [2, 3], but should be [3, 3].");
  CHECK_ERROR(attention(x, x, x, Tensor(), true, ones({3, 3}, kLong)), "only bool and floating types of attn_mask are supported");
  CHECK_ERROR(nn::MultiheadAttention(5, 2), "embed_dim must be divisible by num_heads");
  // END HIDDEN TESTS
}

TEST_CASE("MultiheadAttention: masks, other features, learned and empty keys, as in PyTorch") {
  const DoubleScope scope;
  // Recorded from PyTorch 2.15.0, seed 1, with masks where true hides.
  manual_seed(1);
  nn::MultiheadAttention attention(nn::MultiheadAttentionOptions(4, 2).add_bias_kv(true).add_zero_attn(true).kdim(3).vdim(5));
  std::vector<std::string> names;
  for (const auto& parameter : attention->named_parameters()) names.push_back(parameter.key());
  CHECK_EQ(names, std::vector<std::string>{"q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias"});
  const Tensor query = randn({2, 2, 4});
  const Tensor key = randn({3, 2, 3});
  const Tensor value = randn({3, 2, 5});
  const Tensor padding = tensor({{false, false, true}, {false, true, true}});
  const Tensor mask = tensor({{false, true, false}, {false, false, false}});
  const auto [output, weights] = attention(query, key, value, padding, true, mask, false);
  CHECK_CLOSE(output, tensor({-0.003717118044315501, 0.1466834196257562, 0.024787276093018822, 0.2538435391987336, 0.18675814480683117, -0.1514044984076244, 0.035889292139520475, 0.35500182779874534,
                              0.03309756172778877, -0.17425159703347068, -0.0003249390997332319, 0.12269342289350568, 0.16357573135483283, -0.19859782615357174, 0.025008347535491145, 0.2747266982599922}).view({2, 2, 4}),
              1e-12, 1e-13);
  REQUIRE_EQ(weights.sizes(), IntArrayRef({2, 2, 2, 5}));
  CHECK_CLOSE(weights[0][0], tensor({{0.6672416400237706, 0.0, 0.0, 0.12321529366258108, 0.20954306631364833}, {0.03495974773308162, 0.11405828108320182, 0.0, 0.560622388539865, 0.2903595826438516}}), 1e-12, 1e-13);
  CHECK_CLOSE(weights[1][1], tensor({{0.39747718716092684, 0.0, 0.0, 0.43409579034038454, 0.16842702249868868}, {0.3528054292479111, 0.0, 0.0, 0.36645692607817837, 0.28073764467391044}}), 1e-12, 1e-13);
  weighted_sum(output).backward();
  CHECK_CLOSE(attention->bias_k.grad().view(-1), tensor({0.1984548244927874, 0.4118063590145712, 0.11774146337107554, -1.116616736598368}), 1e-10, 1e-11);
  CHECK_CLOSE(attention->bias_v.grad().view(-1), tensor({0.08007716782485123, -4.3283971505082945, -2.5219414142462644, -2.425763633944043}), 1e-10, 1e-11);
  CHECK_CLOSE(attention->k_proj_weight.grad().sum(0), tensor({-4.045758787287216, -1.4008523790185619, -0.2622257807233253}), 1e-10, 1e-11);
  CHECK_CLOSE(std::get<0>(attention(query, key, value, padding, false, mask)), output, 1e-12, 1e-13);
  // The same masks as numbers, one for each head.
  const Tensor numbers = zeros({2, 3}).masked_fill(mask, -std::numeric_limits<double>::infinity()).expand({4, 2, 3});
  CHECK_CLOSE(std::get<0>(attention(query, key, value, padding, false, numbers)), output, 1e-12, 1e-13);
}

// %% [markdown]
// ### Design: look back `window` words, and no further
//
// Long texts are mostly local. In *sliding window attention* query i sees the keys i - window + 1 ... i: itself and the window - 1 words before. That is a mask, and with a mask the answer is right; but the mask alone is N x N, and most of the tiles are computed to be hidden.
//
//     window 3, N = 9            blocks of queries, and the keys that each needs
//     q 0  ●
//       1  ●  ●
//       2  ●  ●  ●
//       3     ●  ●  ●               queries 3 4 5   ──>  keys 1 2 3 4 5
//       4        ●  ●  ●
//       5           ●  ●  ●
//       6              ●  ●  ●      queries 6 7 8   ──>  keys 4 5 6 7 8
//       7                 ●  ●  ●
//       8                    ●  ●  ●
//
// Which parts of queries and keys do you cut, and which mask does each part get? Time and memory should grow with N * window.

// %% {"nbgrader": {"grade": false, "grade_id": "11-window-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise design
// Attention in which query i sees the keys max(0, i - window + 1) ... i, for query, key and value (B, H, N, E) -> (B, H, N, E), differentiable. O(N window E) time; what it holds beside inputs and output grows with N and window,
// not with N * N. REQUIRES: window > 0.
//
// TODO: Cut the sequence so that nothing of size N x N is made.
// APPROACH: yours. How long is a block of queries, and how many keys does it need? What is the mask of a block, and is it the same for all?
// EXAMPLE: with window 1 the result is `value`: each word sees only itself.
// HINT: slice(2, begin, end) is a view; cat(list, 2) joins the blocks' outputs.
Tensor window_attention(const Tensor& query, const Tensor& key, const Tensor& value, std::int64_t window) {
  // BEGIN SOLUTION
  std::vector<Tensor> blocks;
  for (std::int64_t i0 = 0; i0 < query.size(2); i0 += window) {
    const std::int64_t end = std::min(i0 + window, query.size(2)), j0 = std::max<std::int64_t>(0, i0 - window + 1);
    const Tensor distance = arange(i0, end).unsqueeze(1) - arange(j0, end).unsqueeze(0);
    blocks.push_back(scaled_dot_product_attention(query.slice(2, i0, end), key.slice(2, j0, end), value.slice(2, j0, end), (distance >= 0) & (distance < window)));
  }
  return cat(blocks, 2);
  // END SOLUTION
}

// %%
//| lesson
// The most bytes that a call holds beyond what was there before it.
std::size_t peak_bytes(const std::function<void()>& call) {
  const std::size_t before = memory::stats().live;
  memory::reset_peak();
  call();
  return memory::stats().peak - before;
}

// %%
//| mistake 11-window-attention the-whole-mask
//| says The values are right, but a mask of N x N was made: at 100,000 words that alone is 10 GB. Cut the queries into blocks; each block sees less than two windows of keys.
#if 0
Tensor window_attention(const Tensor& query, const Tensor& key, const Tensor& value, std::int64_t window) {
  const Tensor distance = arange(query.size(2)).unsqueeze(1) - arange(query.size(2)).unsqueeze(0);
  return scaled_dot_product_attention(query, key, value, (distance >= 0) & (distance < window));
}
#endif

// %%
//| mistake 11-window-attention no-look-back
//| says Each block looks only at its own keys: the first query of a block sees nothing before it. A block from i0 on needs the window - 1 keys in front of it, too.
#if 0
Tensor window_attention(const Tensor& query, const Tensor& key, const Tensor& value, std::int64_t window) {
  std::vector<Tensor> blocks;
  for (std::int64_t i0 = 0; i0 < query.size(2); i0 += window) {
    const std::int64_t end = std::min(i0 + window, query.size(2));
    blocks.push_back(scaled_dot_product_attention(query.slice(2, i0, end), key.slice(2, i0, end), value.slice(2, i0, end), std::nullopt, 0, true));
  }
  return cat(blocks, 2);
}
#endif

// %%
//| mistake 11-window-attention one-key-too-many
//| says Query i sees the keys i - window + 1 ... i, which are `window` keys with itself: the distance must be less than window.
#if 0
Tensor window_attention(const Tensor& query, const Tensor& key, const Tensor& value, std::int64_t window) {
  std::vector<Tensor> blocks;
  for (std::int64_t i0 = 0; i0 < query.size(2); i0 += window) {
    const std::int64_t end = std::min(i0 + window, query.size(2)), j0 = std::max<std::int64_t>(0, i0 - window);
    const Tensor distance = arange(i0, end).unsqueeze(1) - arange(j0, end).unsqueeze(0);
    blocks.push_back(scaled_dot_product_attention(query.slice(2, i0, end), key.slice(2, j0, end), value.slice(2, j0, end), (distance >= 0) & (distance <= window)));
  }
  return cat(blocks, 2);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-window-attention-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("window_attention: the values of a mask, without its memory") {
  const auto masked = [](const std::vector<Tensor>& x, std::int64_t window) {
    const Tensor distance = arange(x[0].size(2)).unsqueeze(1) - arange(x[0].size(2)).unsqueeze(0);
    return scaled_dot_product_attention(x[0], x[1], x[2], (distance >= 0) & (distance < window));
  };
  const auto x = random_qkv(2, 2, 2, 23, 23, 4);
  for (const std::int64_t window : {1, 3, 7, 23, 40}) {
    CAPTURE(window);
    CHECK_CLOSE(window_attention(x[0], x[1], x[2], window), masked(x, window), 1e-12, 1e-13);
  }
  const auto gradients = gradients_of([](const std::vector<Tensor>& y) { return window_attention(y[0], y[1], y[2], 5); }, x);
  const auto expected = gradients_of([&](const std::vector<Tensor>& y) { return masked(y, 5); }, x);
  for (std::size_t i = 0; i < 3; ++i) CHECK_CLOSE(gradients[i], expected[i], 1e-10, 1e-10);
  const auto large = random_qkv(1, 1, 1, 2048, 2048, 4, kFloat);
  CHECK_LT(peak_bytes([&] { window_attention(large[0], large[1], large[2], 32); }), 1u << 20);  // a mask of 2048 x 2048 bools has 4 MB
  // BEGIN HIDDEN TESTS
  CHECK_LT(peak_bytes([&] { window_attention(large[0], large[1], large[2], 200); }), 3u << 20);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: a model that knows the answers
//
// A colleague trains a small language model: position t must predict word t + 1. After two minutes the loss is nearly 0, far below what anybody has reached on this text. The text that it then writes is noise. Only the last position, they say, is strange: it does worse than all others.
//
//     what the loss sees:   position   0    1    2   ...  N - 2   N - 1
//                           loss       0    0    0   ...    0     large
//
// The attention layer is the function below. Which positions does position t see? (Ask it: change the input at one position, and look where the output changes.) Then write it right.

// %%
//| lesson
// As found: x (N, B, E) -> (N, B, E); each position shall see itself and what is before it.
Tensor attend_to_past_as_found(nn::MultiheadAttention& attention, const Tensor& x) {
  const Tensor mask = ones({x.size(0), x.size(0)}, kBool).tril();  // true: query i, key j <= i
  return std::get<0>(attention(x, x, x, /*key_padding_mask=*/Tensor(), /*need_weights=*/false, mask));
}

// For each pair (query, key) whether the output at `query` depends on the input at `key`.
Tensor dependencies(const std::function<Tensor(const Tensor&)>& layer, std::int64_t N, std::int64_t E) {
  Generator generator(9);
  const Tensor x = randn({N, 1, E}, generator, kDouble);
  const Tensor before = layer(x);
  const Tensor depends = zeros({N, N}, kBool);
  for (std::int64_t key = 0; key < N; ++key) {
    const Tensor changed = x.clone();
    changed[key].add_(1.0);
    depends.select(1, key).copy_(((layer(changed) - before).abs() > 1e-9).view({N, E}).any(1));
  }
  return depends;
}

// %% {"nbgrader": {"grade": false, "grade_id": "11-debug-future", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// Self-attention of x (N, B, E) -> (N, B, E) in which position t sees positions 0 ... t. N * N bytes for the mask.
//
// TODO: Write the layer so that it sees the past only.
// APPROACH: what does true mean in a mask of MultiheadAttention, and what in one of scaled_dot_product_attention?
// HINT: triu(1) is what lies above the diagonal.
Tensor attend_to_past(nn::MultiheadAttention& attention, const Tensor& x) {
  // BEGIN SOLUTION
  const Tensor mask = ones({x.size(0), x.size(0)}, kBool).triu(1);
  return std::get<0>(attention(x, x, x, /*key_padding_mask=*/Tensor(), /*need_weights=*/false, mask));
  // END SOLUTION
}

// %%
//| mistake 11-debug-future as-found
//| says The mask is still that of scaled_dot_product_attention, where true may look. For MultiheadAttention true hides: this one hides the past and shows the future.
#if 0
Tensor attend_to_past(nn::MultiheadAttention& attention, const Tensor& x) {
  const Tensor mask = ones({x.size(0), x.size(0)}, kBool).tril();
  return std::get<0>(attention(x, x, x, Tensor(), false, mask));
}
#endif

// %%
//| mistake 11-debug-future hides-itself
//| says The mask hides the diagonal as well, so that position 0 sees nothing: hidden are the positions after the query, triu(1).
#if 0
Tensor attend_to_past(nn::MultiheadAttention& attention, const Tensor& x) {
  const Tensor mask = ones({x.size(0), x.size(0)}, kBool).triu();
  return std::get<0>(attention(x, x, x, Tensor(), false, mask));
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-debug-future-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: position t depends on positions 0 to t, and on no other") {
  const DoubleScope scope;
  manual_seed(4);
  nn::MultiheadAttention attention(8, 2);
  const NoGradGuard no_grad;
  const Tensor past = ones({6, 6}, kBool).tril();
  CHECK_EQ(dependencies([&](const Tensor& x) { return attend_to_past(attention, x); }, 6, 8), past);
  CHECK(!equal(dependencies([&](const Tensor& x) { return attend_to_past_as_found(attention, x); }, 6, 8), past));
  // BEGIN HIDDEN TESTS
  const Tensor x = randn({5, 3, 8});
  CHECK_CLOSE(attend_to_past(attention, x).slice(0, 0, 2), attend_to_past(attention, x.slice(0, 0, 2)), 1e-12, 1e-13);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: NaN since the first batch with padding
//
// Sentences of different lengths share a batch; the short ones are filled up. Training runs well on a data set of equal lengths. With the first batch of unequal ones the loss is NaN, and so is every parameter one step later. The learning rate is not the reason. This function makes the bias of the scores:
//
//     lengths 3, 1;  S = 4          ●  ●  ●  .        0     0     0   -inf
//                                   ●  .  .  .        0   -inf  -inf  -inf
//
// What does it really return?

// %%
//| lesson
// As found: 0 for words and -inf for padding, for sentences of `lengths` in a batch of S columns: (B, 1, 1, S).
Tensor padding_bias_as_found(const std::vector<std::int64_t>& lengths, std::int64_t S) {
  const Tensor is_word = arange(S).unsqueeze(0) < tensor(lengths).unsqueeze(1);
  return ((1 - is_word.to(kFloat)) * -std::numeric_limits<double>::infinity()).view({-1, 1, 1, S});
}

// %% {"nbgrader": {"grade": false, "grade_id": "11-debug-nan", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// What is added to scores (B, H, L, S): 0 for the words of each sentence and -inf for its padding. (B, 1, 1, S), float. O(B S).
//
// TODO: Return numbers that are 0 or -inf, and nothing else.
// APPROACH: print what the function above returns, and find out which of its operations has no answer.
// HINT: masked_fill chooses; it does not compute.
Tensor padding_bias(const std::vector<std::int64_t>& lengths, std::int64_t S) {
  // BEGIN SOLUTION
  const Tensor is_word = arange(S).unsqueeze(0) < tensor(lengths).unsqueeze(1);
  return zeros(is_word.sizes()).masked_fill(is_word.logical_not(), -std::numeric_limits<double>::infinity()).view({-1, 1, 1, S});
  // END SOLUTION
}

// %%
//| mistake 11-debug-nan as-found
//| says 0 * -inf is NaN, so every word that should be seen got NaN. Choose with where or masked_fill instead of multiplying.
#if 0
Tensor padding_bias(const std::vector<std::int64_t>& lengths, std::int64_t S) {
  return padding_bias_as_found(lengths, S);
}
#endif

// %%
//| mistake 11-debug-nan turned
//| says The words are hidden and the padding is seen: -inf belongs where the position is not less than the length.
#if 0
Tensor padding_bias(const std::vector<std::int64_t>& lengths, std::int64_t S) {
  const Tensor is_word = arange(S).unsqueeze(0) < tensor(lengths).unsqueeze(1);
  return zeros(is_word.sizes()).masked_fill(is_word, -std::numeric_limits<double>::infinity()).view({-1, 1, 1, S});
}
#endif

// %%
//| mistake 11-debug-nan off-by-one
//| says One word of padding is still seen: positions 0 ... length - 1 are words.
#if 0
Tensor padding_bias(const std::vector<std::int64_t>& lengths, std::int64_t S) {
  const Tensor is_word = arange(S).unsqueeze(0) <= tensor(lengths).unsqueeze(1);
  return zeros(is_word.sizes()).masked_fill(is_word.logical_not(), -std::numeric_limits<double>::infinity()).view({-1, 1, 1, S});
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "11-debug-nan-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: padding is hidden, and a padded sentence gives what it gives alone") {
  const auto x = random_qkv(2, 2, 2, 4, 4, 8, kFloat);
  const auto attend = [&](const Tensor& bias) { return scaled_dot_product_attention(x[0], x[1], x[2], bias); };
  CHECK(attend(padding_bias_as_found({3, 1}, 4)).isnan().any().item<bool>());
  const Tensor bias = padding_bias({3, 1}, 4);
  REQUIRE_EQ(bias.sizes(), IntArrayRef({2, 1, 1, 4}));
  const Tensor output = attend(bias);
  CHECK_CLOSE(output[0], scaled_dot_product_attention(x[0][0], x[1][0].slice(1, 0, 3), x[2][0].slice(1, 0, 3)), 1e-5, 1e-6);
  CHECK_CLOSE(output[1], x[2][1].slice(1, 0, 1).expand({2, 4, 8}), 1e-5, 1e-6);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(padding_bias({4}, 4), zeros({1, 1, 1, 4}));
  CHECK_EQ(attend(padding_bias({0, 4}, 4))[0], zeros({2, 4, 8}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// All numbers are measured when the file runs: `tito run 11`.
//
// ### Memory: N x N against N
//
// What does one call hold beyond its inputs, at its worst moment? For the forward pass alone, and for forward and backward, with one head of 32 features:
//
//     bytes                         version 1          memory = scores + weights + their gradients ...   N x N
//       │                          /
//       │                        /
//       │                    __/
//       │              ___--
//       │        __--
//       │ ____________________________  version 2       output + logsumexp + one tile                    N
//       └──────────────────────────────── N

// %%
//| lesson
enum class Pass { Forward, Training };

// One call of version 1 or 2 on (1, 1, N, 32), ready to be run and measured.
std::function<void()> attention_call(int version, std::int64_t N, Pass pass, bool is_causal = true) {
  const auto x = random_qkv(1, 1, 1, N, N, 32, kFloat);
  if (pass == Pass::Training)
    for (const Tensor& tensor : x) tensor.requires_grad_();
  return [=] {
    const Tensor output = version == 1 ? std::get<0>(_scaled_dot_product_attention_math(x[0], x[1], x[2], {}, 0, is_causal)) : scaled_dot_product_attention(x[0], x[1], x[2], {}, 0, is_causal);
    if (pass == Pass::Training) {
      output.sum().backward();
      for (const Tensor& tensor : x) tensor.mutable_grad() = Tensor();
    }
  };
}

// %%
TEST_CASE("memory: version 1 grows with N x N, version 2 with N") {
  for (const Pass pass : {Pass::Forward, Pass::Training}) {
    const auto peak = [&](int version, std::int64_t N) { return static_cast<double>(peak_bytes(attention_call(version, N, pass))); };
    CHECK_GT(peak(1, 512) / peak(1, 256), 3.5);
    CHECK_LT(peak(2, 1024) / peak(2, 512), 2.1);
  }
  CHECK_LT(static_cast<double>(peak_bytes(attention_call(2, 2048, Pass::Forward))), 2048 * 2048);  // not even one byte for each pair
  // What stays between the passes: version 2 keeps output and logsumexp.
  const auto x = random_qkv(1, 1, 1, 512, 512, 32, kFloat);
  for (const Tensor& tensor : x) tensor.requires_grad_();
  const std::size_t before = memory::stats().live;
  const Tensor output = scaled_dot_product_attention(x[0], x[1], x[2]);
  CHECK_EQ(memory::stats().live - before, (512 * 32 + 512) * sizeof(float));
}

// %%
DEMO("the most that one call holds (KB), one head of 32 features, causal") {
  std::printf("  %6s  %28s  %28s\n", "", "forward", "forward and backward");
  std::printf("  %6s  %9s %9s %8s  %9s %9s %8s\n", "N", "v1", "v2", "v1 / v2", "v1", "v2", "v1 / v2");
  for (const std::int64_t N : {128, 256, 512, 1024}) {
    std::printf("  %6lld", static_cast<long long>(N));
    for (const Pass pass : {Pass::Forward, Pass::Training}) {
      const double v1 = static_cast<double>(peak_bytes(attention_call(1, N, pass))) / 1024, v2 = static_cast<double>(peak_bytes(attention_call(2, N, pass))) / 1024;
      std::printf("  %9.0f %9.0f %8.1f", v1, v2, v1 / v2);
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### Time: the same products, fewer trips to memory
//
// Version 2 does not save arithmetic. Forwards it does what version 1 does, without the hidden half if the mask is causal; backwards it computes the scores a second time. What it saves is traffic: version 1 writes and reads N x N numbers for scores, bias, maximum, exponential, division and product, and each of these walks is longer than the cache.
//
//     v1    Q K^T ─> [N x N] ─> + bias ─> [N x N] ─> softmax ─> [N x N] ─> P V          every arrow goes through memory
//     v2    for each tile: Q K^T, exp, P V                                              the tile stays in the first-level cache

// %%
DEMO("time of one call (ms), one head of 32 features") {
  std::printf("  %6s %-9s %10s %10s %8s   %10s %10s %8s\n", "N", "mask", "v1 fwd", "v2 fwd", "v1 / v2", "v1 fwd+bwd", "v2 fwd+bwd", "v1 / v2");
  for (const bool causal : {false, true}) {
    for (const std::int64_t N : {64, 256, 1024}) {
      const auto ms = [&](int version, Pass pass) { return measure(attention_call(version, N, pass, causal), {.samples = 5}).median * 1e3; };
      const double f1 = ms(1, Pass::Forward), f2 = ms(2, Pass::Forward), t1 = ms(1, Pass::Training), t2 = ms(2, Pass::Training);
      std::printf("  %6lld %-9s %10.3f %10.3f %8.2f   %10.3f %10.3f %8.2f\n", static_cast<long long>(N), causal ? "causal" : "none", f1, f2, f1 / f2, t1, t2, t1 / t2);
    }
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### Why the scores are divided
//
// The demonstration gives a query and 64 keys of random features, with and without the division by `sqrt(E)`. The *perplexity* of the weights, exp of their entropy, says over how many keys the query spreads its attention: 64 is all of them equally, 1 is a single one. Beside it, how large the gradient of the scores is: p (1 - p), averaged over the keys.

// %%
DEMO("attention spreads over how many of 64 keys? And how much gradient is left?") {
  std::printf("  %6s %22s %22s\n", "E", "divided by sqrt(E)", "not divided");
  Generator generator(1);
  for (const std::int64_t E : {4, 16, 64, 256, 1024}) {
    const Tensor query = randn({200, E}, generator), key = randn({64, E}, generator);
    std::printf("  %6lld", static_cast<long long>(E));
    for (const bool divided : {true, false}) {
      const Tensor weights = std::get<1>(_scaled_dot_product_attention_math(query, key, key, {}, 0, false, divided ? std::nullopt : std::optional<double>(1.0)));
      const double entropy = -(weights * (weights + 1e-30).log()).sum(-1).mean().item<double>();
      std::printf("   %8.1f keys %.5f", std::exp(entropy), (weights * (1 - weights)).mean().item<double>());
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

// %% [markdown]
// ## Part 3: Production context
//
// All frameworks compute the formula above; they differ in who chooses the version.
//
//     PyTorch                            TensorFlow / Keras               JAX
//     scaled_dot_product_attention       MultiHeadAttention layer         jax.nn.dot_product_attention
//          │ picks a backend by               │ einsum equations,              │ XLA fuses the plain formula, or
//          │ dtype, mask, device              │ v1; a flash kernel             │ implementation="cudnn"
//       flash / memory-efficient /            │ where the backend has one      │ Pallas kernels for TPU and GPU
//       cuDNN / math
//
// - **PyTorch.** `aten/src/ATen/native/transformers/attention.cpp` has `scaled_dot_product_attention`, which chooses as yours does, `_scaled_dot_product_attention_math`, your version 1, and `_safe_softmax`, your `masked_softmax`. `aten/src/ATen/native/cpu/FlashAttentionKernel.cpp` is your version 2: the block sizes are chosen by the length, the two
//   products are GEMM calls, exp is vectorized, and threads share the blocks of queries. In Python, `torch/nn/functional.py` has `multi_head_attention_forward` and `_in_projection_packed`.
// - **On GPUs** the same algorithm is FlashAttention (Dao et al., 2022, 2023): a tile lives in the shared memory of one multiprocessor. There the time goes down as well as the memory, because slow memory is the limit. `flash_attn`'s CUDA sources and the Triton tutorial `06-fused-attention.py` are the ones to read.
// - **TensorFlow.** `keras/src/layers/attention/multi_head_attention.py` writes projections and heads as einsum equations, so that the layout (L, B, H, D) never appears as a reshape, and cannot be wrong.
// - **JAX.** `jax/_src/nn/functions.py` has `dot_product_attention` on (B, L, H, D), with grouped heads and windows; `jax/experimental/pallas/ops/tpu/flash_attention.py` is the tiled version.
//
// What production adds: half precision with float32 sums (your `OnlineSoftmax` is where the sums live), threads over blocks and heads (module 16), key blocks of several users' caches in pages (vLLM), and the KV cache, which module 12 builds.

// %% [markdown]
// ## Integration test
//
// A layer that must learn to look one word back: the target at position t is the word at t - 1. Words and positions are random vectors; MultiheadAttention and a linear layer are trained for 100 steps of Adam, from a seed. The losses must be PyTorch's, and at the end the attention weights must stand on the previous word.

// %%
//| lesson
// Trains as described; returns the losses. The last attention weights (B, L, L) go into `weights`.
std::vector<double> train_look_back(bool need_weights, Tensor* last_weights = nullptr) {
  const DoubleScope scope;
  manual_seed(2);
  nn::MultiheadAttention attention(8, 2);
  nn::Linear head(8, 5);
  const Tensor words = randn({5, 8});
  const Tensor positions = randn({6, 8});
  const Tensor ids = randint(0, 5, {6, 16});
  const Tensor x = words.index_select(0, ids.view(-1)).view({6, 16, 8}) + positions.unsqueeze(1);
  const Tensor mask = ones({6, 6}, kBool).triu(1);
  const Tensor target = cat({ids.slice(0, 0, 1), ids.slice(0, 0, 5)});
  std::vector<Tensor> parameters = attention->parameters();
  for (const Tensor& parameter : head->parameters()) parameters.push_back(parameter);
  optim::Adam optimizer(parameters, 0.01);
  std::vector<double> losses;
  for (int i = 0; i < 100; ++i) {
    const auto [output, weights] = attention(x, x, x, Tensor(), need_weights, mask);
    const Tensor loss = cross_entropy_loss(head(output).reshape({-1, 5}), target.reshape(-1));
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item<double>());
    if (last_weights != nullptr) *last_weights = weights.detach();
  }
  return losses;
}

// %%
TEST_CASE("integration: attention learns to look back, with PyTorch's losses, in both versions") {
  // Recorded from PyTorch 2.15.0, float64, seed 2, need_weights=False.
  const std::vector<std::pair<std::size_t, double>> expected = {{0, 1.7262252862617877}, {1, 1.6688844104261931}, {9, 1.4176411931942285}, {49, 0.070868147082680105}, {99, 0.0027612695696710228}};
  Tensor weights;
  const std::vector<double> in_blocks = train_look_back(false), with_weights = train_look_back(true, &weights);
  for (const auto& [index, loss] : expected) {
    const std::size_t step = index;
    CAPTURE(step);
    CHECK_CLOSE(in_blocks.at(step), loss, 1e-9, 0.0);
    CHECK_CLOSE(with_weights.at(step), loss, 1e-9, 0.0);
  }
  // From position 1 on, the previous word has more weight than any other.
  const Tensor looks_at = weights.mean(0).argmax(-1);
  CHECK_EQ(looks_at.slice(0, 1), arange(5));
}

// %%
DEMO("who looks at whom, after 100 steps of learning to look back (weights in percent, rows are queries)") {
  Tensor weights;
  train_look_back(true, &weights);
  const Tensor mean = weights.mean(0) * 100;
  for (std::int64_t i = 0; i < mean.size(0); ++i) {
    std::printf("  position %lld  ", static_cast<long long>(i));
    for (std::int64_t j = 0; j < mean.size(1); ++j) std::printf(j > i ? "     ." : "  %4.0f", mean[i][j].item<double>());
    std::printf("\n");
  }
  std::fflush(stdout);
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Analyze**. Run `tito run 11`, keep the output, and answer from your numbers.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "11-explain-memory", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. How long a text fits?** From the memory demonstration: how many bytes does version 1 hold per pair (query, key), forwards and in training? Which tensors are they? A model has 24 layers of 16 heads and 1 GB for activations: how long may a text be with either version (batch 1, 64 features a head, what the backward pass needs stays from the
// forward pass of every layer)? What of the memory of version 2 is left if the keys are visited in blocks of 32 instead of 64?
// BEGIN SOLUTION
// Per pair, divide the column by N * N: 13 bytes in the forward pass, 20 in training (at N = 512 and 1024). So three float tensors of N x N live at once in the forward pass (of the scores, the bias, their sum and the weights), and a mask of one byte per pair; in training five: the
// weights, which are kept, and the gradients of weights and scores with the temporaries of the softmax's gradient. From the forward to the backward pass only the weights stay, 4 bytes per pair and head, beside q, k, v and the output, 4 * 64 floats = 1024 bytes per word and head. With 24 * 16 = 384 heads that is
// 1536 N^2 + 393,216 N bytes: 2^30 bytes are full at N = 718. Version 2 keeps q, k, v, output and one number, 1028 bytes per word and head: 394,752 N, full at N = 2720, and linear from there. Blocks of 32 keys would halve
// the tile and the transposed keys, a few KB that are the same for every N: nothing to gain.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "11-explain-time", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. Where does the time go?** From the time demonstration: at which N is version 2 faster, and by how much, forwards and in training, with and without the causal mask? It computes the scores twice in training: why does that not cost what one would expect? How many arithmetic operations per second does version 2 reach at N = 1024 (count two for each of the
// 2 L S E products of the forward pass), and what would you improve next?
// BEGIN SOLUTION
// The products are the same in both versions; what version 2 saves are walks over N x N numbers (bias, comparison, maximum, exponential, sum, division, and in training the gradients of each), and with a causal mask the hidden tiles, nearly half of all
// products. In training it makes five products per tile (scores again, weights^T g, g V^T, and two with the gradient of the scores) where version 1 makes four, so the arithmetic grows by about a sixth over forward and backward together (seven products instead of six); the
// saved walks pay for it. Operations per second: 4 * N * N * 32 (causal: about half) divided by the time of the forward pass. Next: vectors for exp and for the products (a real GEMM of tiles), then threads over the blocks of queries: module 16.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "11-explain-scale", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. What does a head see?** From the demonstration of the scale: over how many keys does a query spread with and without the division at E = 64, and how does the gradient of the scores change? A colleague proposes to divide by E instead, "to be safe". What do your numbers say? In the last demonstration, what does position 0 look at, and why must every row of a
// causal mask have at least one visible key?
// BEGIN SOLUTION
// Divided, the spread does not depend on E: the scores have standard deviation 1 whatever E is. Not divided, their standard deviation is sqrt(E) (8 at E = 64), the weights approach a choice of one key, and the mean of p (1 - p), the slope through which the scores learn, falls towards 0. Divided by E the
// scores would have standard deviation 1 / sqrt(E): at E = 64 an eighth, the weights are nearly equal, and a head can hardly choose at all before its projections have grown by sqrt(E). Position 0 sees only itself, so its weight is 100 %, whatever is learned. A row without any visible key
// has no softmax: it gives zeros here, NaN in an implementation without that case, and no gradient to learn from in either.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - Attention is a mean of values, weighted by a softmax over scores of a query with all keys. It costs O(L S E) time; the division by sqrt(E) keeps the softmax from saturating.
// - A mask is added to the scores, before the softmax: -inf hides. In `scaled_dot_product_attention` true may look, in `MultiheadAttention` true is hidden. A query that sees nothing gets zeros, not NaN.
// - The online softmax lets scores arrive in blocks: a new maximum corrects what was summed with the old one. With it, nothing of size N x N is held.
// - The backward pass needs the output and one number per query. It computes each tile of weights again, and the sum over a row that the softmax's gradient needs is the dot product of the output with its gradient.
// - Heads are cut out of the features: view, then permute. A reshape that goes there in one step has the right sizes and the wrong numbers.
//
// Module 12 puts this layer between norms and residual connections, repeats it, and lets it write.

// %%
}  // namespace tinytorch
