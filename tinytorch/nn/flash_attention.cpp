// From the lesson modules/11_attention/attention_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/flash_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/attention.h"
#include "tinytorch/nn/online_softmax-inl.h"

namespace tinytorch {

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

// The attention of queries i0 ... i0 + rows - 1 of head (b, h): their outputs into out (rows, Ev), which holds zeros, and the logarithms of their sums of exponentials into logsumexp (rows).
// Scratch: key_t (E, kKeyBlock), scores (kQueryBlock, kKeyBlock). O(rows S E).
namespace {
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
    if (softmax[i].sum == 0) continue;
    for (std::int64_t e = 0; e < of.Ev; ++e) out[i][e] /= softmax[i].sum;
  }
}
}  // namespace

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

// Adds what one tile contributes to the gradients of query, key and value. O(rows columns (E + Ev)).
namespace {
template <class T>
void backward_tile(const BackwardTile<T>& t) {
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.scores[i][j] = std::exp(t.scores[i][j] - t.logsumexp[i]);
  add_transposed_product(t.grad_value, T{1}, t.scores, t.grad_out, t.columns, t.rows, t.Ev);
  fill_rows(t.grad_weights, t.rows, t.columns, T{0});
  add_product(t.grad_weights, T{1}, t.grad_out, t.value_t, t.rows, t.Ev, t.columns);
  for (std::int64_t i = 0; i < t.rows; ++i)
    for (std::int64_t j = 0; j < t.columns; ++j) t.grad_weights[i][j] = t.scores[i][j] * (t.grad_weights[i][j] - t.delta[i]);
  add_product(t.grad_query, t.scale, t.grad_weights, t.key, t.rows, t.columns, t.E);
  add_transposed_product(t.grad_key, t.scale, t.grad_weights, t.query, t.columns, t.rows, t.E);
}
}  // namespace

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

}  // namespace tinytorch
