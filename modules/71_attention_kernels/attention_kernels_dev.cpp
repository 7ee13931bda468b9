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
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 71: Attention kernels
//
// Module 11's blocked attention never holds the N x N weights, but it computes a tile in plain loops and one exponential at a time. Everything in it is a small product, and module 16 has tiles for those; what is left is a row of exponentials. This chapter puts the two together:
//
//     once per head      K  -- pack, turned --> panels (E, keys)          V  -- pack --> panels (keys, Ev)
//
//     24 queries         scores = scale Q K^T       tiles                 (24, up to 256 keys), in the second cache
//                        p = exp(scores - max)      a row in vectors      and its sum
//                        out = correction out + p V tiles
//
// A block of queries is a task. It computes its rows alone and in one order, so the bits do not depend on threads.
//
// Heads are read where they lie, with the distance that their rows have, and results and gradients are written the same way, in the order of memory of what they belong to (module 11): a head of a projection's view is columns of a matrix.

// %%
//| after 16 77
//| export kernels/softmax_row_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/attention.cpp
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>
#include <tuple>
#include <type_traits>
#include "tinytorch/core/block_cache.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/product_ways.h"
#include "tinytorch/kernels/softmax_row_kernels.h"
#include "tinytorch/nn/flash_attention.h"

// %%
//| export kernels/softmax_rows.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include "tinytorch/kernels/row_vectors-inl.h"
#include "tinytorch/kernels/softmax_row_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <cstdio>
#include <limits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/flash_attention.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## A row of weights
//
// Forward, a row of scores becomes weights `exp(score - maximum)`, where the maximum is that of all scores of the row so far; if it rose, what was summed before is too large by a known factor, which is returned. Backward, the weights are computed again from the saved logarithm of the sum, and the gradient of a score is
// `weight * (gradient of the weight - delta)`, in the same pass over the row.
//
//     forward     scores --max--> m --> exp(scores - m) --> weights, their sum          correction = exp(m before - m)
//     backward    scores --> exp(scores - logsumexp) --> weights --> weights * (grad_weights - delta)

// %%
//| export kernels/softmax_row_kernels.h
namespace kernels {

template <class T>
struct SoftmaxRowTable {
  // scores[j] = exp(scores[j] - maximum) for j < count, where the maximum is that of *maximum and all scores (0 in its place while that is -inf); *sum = correction * *sum + their sum. Returns the correction, exp(*maximum before - *maximum). A NaN stays one.
  T (*absorb)(T* scores, std::int64_t count, T* maximum, T* sum);
  // scores[j] = exp(scores[j] - logsumexp); grad[j] = scores[j] * (grad[j] - delta).
  void (*weigh)(T* scores, T* grad, std::int64_t count, T logsumexp, T delta);
  // x[j] *= factor.
  void (*scale)(T* x, std::int64_t count, T factor);
  T (*dot)(const T* a, const T* b, std::int64_t count);
};

struct SoftmaxRowKernels {
  SoftmaxRowTable<float> in_float;
  SoftmaxRowTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(SoftmaxRowKernels, softmax_row_kernels)

}  // namespace kernels

// %%
//| export kernels/softmax_rows.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
T absorb(T* scores, std::int64_t count, T* maximum, T* sum) {
  const Tag<T> d;
  Largest<T> seen;
  seen.see(scores, count);
  const T now = seen.value() > *maximum ? seen.value() : *maximum;
  const T subtracted = now == -kInfinity<T> ? T{0} : now;
  const Vector<T> m = hn::Set(d, subtracted);
  Vector<T> total = hn::Zero(d);
  for_each_vector(
      static_cast<const T*>(scores), count,
      [&](std::int64_t j, Vector<T> score, std::int64_t lanes) HWY_ATTR {
        const Vector<T> weight = ExpBelowZero(d, hn::Sub(score, m));
        total = hn::Add(total, weight);
        put(weight, scores + j, lanes);
      },
      -kInfinity<T>);
  const T correction = *maximum == -kInfinity<T> ? T{0} : hn::GetLane(ExpBelowZero(d, hn::Set(d, *maximum - subtracted)));
  *maximum = now;
  *sum = correction * *sum + hn::GetLane(hn::SumOfLanes(d, total));
  return correction;
}

template <class T>
void weigh(T* scores, T* grad, std::int64_t count, T logsumexp, T delta) {
  const Tag<T> d;
  const Vector<T> l = hn::Set(d, logsumexp), s = hn::Set(d, delta);
  for_each_vector(static_cast<const T*>(scores), count, [=](std::int64_t j, Vector<T> score, std::int64_t lanes) HWY_ATTR {
    const Vector<T> weight = ExpBelowZero(d, hn::Sub(score, l));
    put(weight, scores + j, lanes);
    put(hn::Mul(weight, hn::Sub(load_lanes(grad + j, lanes), s)), grad + j, lanes);
  });
}

template <class T>
void scale(T* x, std::int64_t count, T factor) {
  for (std::int64_t j = 0; j < count; ++j) x[j] *= factor;
}

template <class T>
T dot(const T* a, const T* b, std::int64_t count) {
  const Tag<T> d;
  Vector<T> sum = hn::Zero(d);
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) sum = hn::MulAdd(hn::LoadU(d, a + j), hn::LoadU(d, b + j), sum);
  T rest{0};
  for (; j < count; ++j) rest += a[j] * b[j];
  return hn::GetLane(hn::SumOfLanes(d, sum)) + rest;
}
}  // namespace

constinit const SoftmaxRowKernels softmax_row_kernels = {{absorb<float>, weigh<float>, scale<float>, dot<float>}, {absorb<double>, weigh<double>, scale<double>, dot<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Panels of a head
//
// A tile reads its right operand from a panel: lines of 16 (or 32) numbers, one for each step of the sum. Of a head there are two kinds. For `scores = Q K^T` the sum runs over E, so a line holds one number of 16 keys: the keys are packed *turned*. For `out = p V` it runs over keys, and a line holds 16 numbers of one value. The left operands, and those that are
// transposed in the backward pass, are read in place with their strides, as module 16 allows.

// %%
//| export kernels/attention.cpp
namespace {
constexpr std::int64_t kQueries = 24;            // a block of queries: whole tiles of 6 or 12 rows, and few scores behind the diagonal of a causal head
constexpr std::int64_t kKeys = 256;              // a block of keys: the scores of a block stay in the first or second cache
constexpr std::int64_t kScoreRow = kKeys + 16;   // the numbers of a row of scores. 1,024 bytes apart, a column's lines would share four sets of the first cache, which hold 32 of them

template <class T>
const kernels::SoftmaxRowTable<T>& softmax_rows() {
  using namespace kernels;
  static constexpr const SoftmaxRowKernels* tables[] = TINYTORCH_PER_CAPABILITY(softmax_row_kernels);
  const SoftmaxRowKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// Memory for a while, uninitialised.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t count) : bytes_(static_cast<std::size_t>(count) * sizeof(T)), data_(count == 0 ? nullptr : static_cast<T*>(memory::allocate_block(bytes_))) {
    if (count != 0 && data_ == nullptr) throw std::bad_alloc();
  }
  ~Scratch() {
    if (data_ != nullptr) memory::free_block(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* at(std::int64_t i) const { return data_ + i; }

 private:
  std::size_t bytes_;
  T* data_;
};

// Rows of adjacent numbers, `step` apart.
template <class T>
struct Lines {
  const T* data;
  std::int64_t step;
};

// A right operand in panels: the strip of columns s begins at data + s * strip, its lines are as wide as a tile.
template <class T>
struct Strips {
  const T* data;
  std::int64_t strip;
};

std::int64_t strips_of(std::int64_t columns, std::int64_t width) { return (columns + width - 1) / width; }

// The numbers that panels of (K, N) take.
template <class T>
std::int64_t panel_size(std::int64_t K, std::int64_t N) {
  const std::int64_t width = kernels::gemm_table<T>().columns;
  return strips_of(N, width) * width * K;
}

// x (K, N) as it is.
template <class T>
Strips<T> pack_rows(T* to, Lines<T> x, std::int64_t K, std::int64_t N) {
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const std::int64_t width = table.columns;
  for (std::int64_t s = 0; s * width < N; ++s) table.pack(to + s * width * K, table.columns, x.data + s * width, 1, x.step, static_cast<int>(std::min(width, N - s * width)), K);
  return {to, width * K};
}

// x (N, K), turned.
template <class T>
Strips<T> pack_turned(T* to, Lines<T> x, std::int64_t K, std::int64_t N) {
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const std::int64_t width = table.columns;
  for (std::int64_t s = 0; s * width < N; ++s) table.pack(to + s * width * K, table.columns, x.data + s * width * x.step, x.step, 1, static_cast<int>(std::min(width, N - s * width)), K);
  return {to, width * K};
}

// out (M, N) = alpha * a (M, K) x b (K, N), added to what is there if `adds`; a's element (i, k) is a[i * a_row + k * a_k].
template <class T>
void multiply_strips(std::int64_t M, std::int64_t N, std::int64_t K, T alpha, const T* a, std::int64_t a_row, std::int64_t a_k, Strips<T> b, bool adds, T* out, std::int64_t out_row) {
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const std::int64_t width = table.columns, parts = strips_of(M, table.rows);
  for (std::int64_t j = 0; j < N; j += width) {
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = M * part / parts, rows = M * (part + 1) / parts - first;
      T* const place = out + first * out_row + j;
      table.tile({a + first * a_row, a_row, a_k, b.data + j / width * b.strip, width, K, place, out_row, adds ? place : nullptr, out_row, alpha, T{1}}, static_cast<int>(rows),
                 static_cast<int>(std::min(width, N - j)), false);
    }
  }
}

// What all blocks of one call share, as in module 11. Heads' rows are adjacent numbers.
struct Attention {
  Attention(const Tensor& query_, const Tensor& key_, const Tensor& value_, bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale_)
      : query(dense_rows(query_)), key(dense_rows(key_)), value(dense_rows(value_)), causal(is_causal), B(query.size(0)), H(query.size(1)), Hk(key.size(1)), L(query.size(2)), S(key.size(2)), E(query.size(3)),
        Ev(value.size(3)), scale(scale_.value_or(1 / std::sqrt(static_cast<double>(E)))) {
    if (attn_mask && attn_mask->defined()) mask = attn_mask->expand({B, H, L, S});
  }
  static Tensor dense_rows(const Tensor& x) { return x.stride(-1) == 1 || x.size(-1) <= 1 ? x : x.contiguous(); }

  template <class T>
  static Lines<T> head(const Tensor& x, std::int64_t b, std::int64_t h) {
    return {x.data<T>() + b * x.stride(0) + h * x.stride(1), x.stride(2)};
  }
  std::int64_t key_head(std::int64_t h) const { return h / (H / Hk); }
  // How many keys any query before row `end` sees.
  std::int64_t visible(std::int64_t end) const { return causal ? std::min(end, S) : S; }
  // How many of the keys from j0 on, `columns` of them, query i sees.
  std::int64_t seen(std::int64_t i, std::int64_t j0, std::int64_t columns) const { return causal ? std::clamp<std::int64_t>(i + 1 - j0, 0, columns) : columns; }

  // scores (rows, columns) += mask, for queries from i0 on and keys from j0 on.
  template <class T>
  void add_mask(std::int64_t b, std::int64_t h, std::int64_t i0, std::int64_t rows, std::int64_t j0, std::int64_t columns, T* scores) const {
    if (!mask.defined()) return;
    const T* const first = mask.data<T>() + b * mask.stride(0) + h * mask.stride(1) + i0 * mask.stride(2) + j0 * mask.stride(3);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) scores[i * kScoreRow + j] += first[i * mask.stride(2) + j * mask.stride(3)];
  }

  Tensor query, key, value, mask;
  bool causal;
  std::int64_t B, H, Hk, L, S, E, Ev;
  double scale;
};

// Where head h of batch b begins in what is written; its rows are x.stride(2) apart.
template <class T>
T* out_head(const Tensor& x, std::int64_t b, std::int64_t h) {
  return x.data<T>() + b * x.stride(0) + h * x.stride(1);
}
}  // namespace

// %% [markdown]
// ## Forward
//
// One query alone, the next token of a text, is a special case: packing the keys would cost more than reading them. Its scores are dot products of lines, as in module 16's few rows, and its output is a row times a matrix, for which chapter 62 has a kernel.

// %%
//| export kernels/attention.cpp
namespace {
// Queries [i0, i0 + rows) of head (b, h): out (rows, Ev), whose rows are out_row apart; logsumexp (rows). scores: (kQueries, kScoreRow) of scratch.
template <class T>
void attend(const Attention& of, std::int64_t b, std::int64_t h, std::int64_t i0, std::int64_t rows, Strips<T> keys, Strips<T> values, T* scores, T* out, std::int64_t out_row, T* logsumexp) {
  const kernels::SoftmaxRowTable<T>& softmax = softmax_rows<T>();
  const std::int64_t width = kernels::gemm_table<T>().columns;
  const Lines<T> query = Attention::head<T>(of.query, b, h);
  T maximum[kQueries], sum[kQueries];
  std::fill_n(maximum, rows, -std::numeric_limits<T>::infinity());
  std::fill_n(sum, rows, T{0});
  const std::int64_t visible = of.visible(i0 + rows);
  for (std::int64_t j0 = 0; j0 < visible; j0 += kKeys) {
    const std::int64_t columns = std::min(kKeys, visible - j0);
    multiply_strips<T>(rows, columns, of.E, static_cast<T>(of.scale), query.data + i0 * query.step, query.step, 1, {keys.data + j0 / width * keys.strip, keys.strip}, false, scores, kScoreRow);
    of.add_mask(b, h, i0, rows, j0, columns, scores);
    for (std::int64_t i = 0; i < rows; ++i) {
      T* const row = scores + i * kScoreRow;
      const std::int64_t seen = of.seen(i0 + i, j0, columns);
      std::fill(row + seen, row + columns, T{0});
      if (seen == 0) continue;
      const T correction = softmax.absorb(row, seen, &maximum[i], &sum[i]);
      if (j0 > 0 && correction != T{1}) softmax.scale(out + i * out_row, of.Ev, correction);
    }
    multiply_strips<T>(rows, of.Ev, columns, T{1}, scores, kScoreRow, 1, {values.data + j0 * width, values.strip}, j0 > 0, out, out_row);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    logsumexp[i] = sum[i] == 0 ? T{0} : maximum[i] + std::log(sum[i]);
    if (sum[i] != 0) softmax.scale(out + i * out_row, of.Ev, T{1} / sum[i]);
  }
}

// One query of head (b, h), which sees `visible` keys. scores: (S) of scratch.
template <class T>
void attend_alone(const Attention& of, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t visible, T* scores, T* out, T* logsumexp) {
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const Lines<T> query = Attention::head<T>(of.query, b, h), key = Attention::head<T>(of.key, b, of.key_head(h)), value = Attention::head<T>(of.value, b, of.key_head(h));
  table.multiply_lines({query.data + i * query.step, query.step, key.data, key.step, 1, visible, of.E, scores, visible, nullptr, 0, static_cast<T>(of.scale), T{1}});
  if (of.mask.defined()) {
    const T* const mask = of.mask.data<T>() + b * of.mask.stride(0) + h * of.mask.stride(1) + i * of.mask.stride(2);
    for (std::int64_t j = 0; j < visible; ++j) scores[j] += mask[j * of.mask.stride(3)];
  }
  T maximum = -std::numeric_limits<T>::infinity(), sum{0};
  softmax_rows<T>().absorb(scores, visible, &maximum, &sum);
  *logsumexp = sum == 0 ? T{0} : maximum + std::log(sum);
  kernels::shape_table<T>().row({scores, 0, 1, value.data, value.step, visible, out, 0, nullptr, 0, sum == 0 ? T{1} : T{1} / sum, T{1}}, of.Ev);
}

template <class T>
void attend_all(const Attention& of, const Tensor& out, T* logsumexp) {
  if (of.L == 1) {
    kernels::run_tasks(of.B * of.H, [&](std::int64_t head) {
      const Scratch<T> scores(of.S);
      attend_alone(of, head / of.H, head % of.H, 0, of.visible(1), scores.at(0), out_head<T>(out, head / of.H, head % of.H), logsumexp + head);
    });
    return;
  }
  const std::int64_t heads = of.B * of.Hk, key_size = panel_size<T>(of.E, of.S), value_size = panel_size<T>(of.S, of.Ev);
  const Scratch<T> keys(heads * key_size), values(heads * value_size);
  kernels::run_tasks(heads, [&](std::int64_t head) {
    pack_turned(keys.at(head * key_size), Attention::head<T>(of.key, head / of.Hk, head % of.Hk), of.E, of.S);
    pack_rows(values.at(head * value_size), Attention::head<T>(of.value, head / of.Hk, head % of.Hk), of.S, of.Ev);
  });
  const std::int64_t width = kernels::gemm_table<T>().columns, blocks = strips_of(of.L, kQueries);
  kernels::run_tasks(of.B * of.H * blocks, [&](std::int64_t task) {
    const Scratch<T> scores(kQueries * kScoreRow);
    const std::int64_t head = task / blocks, b = head / of.H, h = head % of.H, i0 = task % blocks * kQueries;
    const std::int64_t key_head = b * of.Hk + of.key_head(h);
    attend<T>(of, b, h, i0, std::min(kQueries, of.L - i0), {keys.at(key_head * key_size), width * of.E}, {values.at(key_head * value_size), width * of.S}, scores.at(0), out_head<T>(out, b, h) + i0 * out.stride(2),
              out.stride(2), logsumexp + head * of.L + i0);
  });
}

// Whether these kernels do it: float or double throughout, and something to do.
bool attention_is_ours(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& mask) {
  const ScalarType type = query.scalar_type();
  const bool masked = mask && mask->defined();
  return (type == kFloat || type == kDouble) && key.scalar_type() == type && value.scalar_type() == type && (!masked || mask->scalar_type() == type) && query.numel() > 0 && key.numel() > 0 && value.numel() > 0;
}

std::tuple<Tensor, Tensor> attention_tuned(const Tensor& query, const Tensor& key, const Tensor& value, double dropout_p, bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  if (!attention_is_ours(query, key, value, attn_mask)) return op::_scaled_dot_product_flash_attention_for_cpu.function(Layer::CPU)(query, key, value, dropout_p, is_causal, attn_mask, scale);
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  const Attention of(query, key, value, is_causal, attn_mask, scale);
  const Tensor output = nn::detail::empty_heads({of.B, of.H, of.L, of.Ev}, query), logsumexp = empty({of.B, of.H, of.L}, query.scalar_type());
  if (query.scalar_type() == kFloat) attend_all(of, output, logsumexp.data<float>());
  else attend_all(of, output, logsumexp.data<double>());
  return {output, logsumexp};
}
}  // namespace

// %% [markdown]
// ## Backward
//
// Five products for each block, in the notation of module 11; three of them add into what other blocks add to, too. Gradients of keys and values are shared by all queries, so a task is a head of keys with all its queries, and they are added up in one order.
//
//     scores = scale Q K^T        K turned            p, grad s = one pass over the rows
//     grad p = G V^T              V turned            grad V += p^T G              p read in place, transposed; G packed
//                                                     grad K += scale grad s^T Q   the same
//                                                     grad Q  = scale grad s K     K packed as it is

// %%
//| export kernels/attention.cpp
namespace {
// Head kh of batch b: all of its gradients.
template <class T>
void attend_back(const Attention& of, std::int64_t b, std::int64_t kh, const Tensor& grad_out, const Tensor& out, const T* logsumexp, const Tensor& grad_query, const Tensor& grad_key, const Tensor& grad_value) {
  const kernels::SoftmaxRowTable<T>& softmax = softmax_rows<T>();
  const std::int64_t width = kernels::gemm_table<T>().columns, group = of.H / of.Hk;
  const T factor = static_cast<T>(of.scale);
  const Lines<T> key = Attention::head<T>(of.key, b, kh), value = Attention::head<T>(of.value, b, kh);
  const Scratch<T> key_panels(panel_size<T>(of.E, of.S)), key_lines(panel_size<T>(of.S, of.E)), value_panels(panel_size<T>(of.Ev, of.S));
  const Scratch<T> query_lines(panel_size<T>(kQueries, of.E)), grad_lines(panel_size<T>(kQueries, of.Ev)), weights(kQueries * kScoreRow), grad_scores(kQueries * kScoreRow);
  const Strips<T> keys_turned = pack_turned(key_panels.at(0), key, of.E, of.S), keys = pack_rows(key_lines.at(0), key, of.S, of.E), values_turned = pack_turned(value_panels.at(0), value, of.Ev, of.S);
  const std::int64_t query_row = grad_query.stride(2), key_row = grad_key.stride(2), value_row = grad_value.stride(2);
  T* const own_key_grad = out_head<T>(grad_key, b, kh);
  T* const own_value_grad = out_head<T>(grad_value, b, kh);
  for (std::int64_t j = 0; j < of.S; ++j) {
    std::fill_n(own_key_grad + j * key_row, of.E, T{0});
    std::fill_n(own_value_grad + j * value_row, of.Ev, T{0});
  }
  for (std::int64_t h = kh * group; h < (kh + 1) * group; ++h) {
    const Lines<T> query = Attention::head<T>(of.query, b, h), grad = Attention::head<T>(grad_out, b, h), result = Attention::head<T>(out, b, h);
    for (std::int64_t i0 = 0; i0 < of.L; i0 += kQueries) {
      const std::int64_t rows = std::min(kQueries, of.L - i0), visible = of.visible(i0 + rows);
      const Lines<T> own_query{query.data + i0 * query.step, query.step}, own_grad{grad.data + i0 * grad.step, grad.step};
      const Strips<T> queries = pack_rows(query_lines.at(0), own_query, rows, of.E), grads = pack_rows(grad_lines.at(0), own_grad, rows, of.Ev);
      T delta[kQueries];
      for (std::int64_t i = 0; i < rows; ++i) delta[i] = softmax.dot(own_grad.data + i * grad.step, result.data + (i0 + i) * result.step, of.Ev);
      T* const own_query_grad = out_head<T>(grad_query, b, h) + i0 * query_row;
      for (std::int64_t j0 = 0; j0 < visible; j0 += kKeys) {
        const std::int64_t columns = std::min(kKeys, visible - j0);
        multiply_strips<T>(rows, columns, of.E, factor, own_query.data, query.step, 1, {keys_turned.data + j0 / width * keys_turned.strip, keys_turned.strip}, false, weights.at(0), kScoreRow);
        of.add_mask(b, h, i0, rows, j0, columns, weights.at(0));
        multiply_strips<T>(rows, columns, of.Ev, T{1}, own_grad.data, grad.step, 1, {values_turned.data + j0 / width * values_turned.strip, values_turned.strip}, false, grad_scores.at(0), kScoreRow);
        for (std::int64_t i = 0; i < rows; ++i) {
          const std::int64_t seen = of.seen(i0 + i, j0, columns);
          T* const row = weights.at(i * kScoreRow);
          T* const grad_row = grad_scores.at(i * kScoreRow);
          softmax.weigh(row, grad_row, seen, logsumexp[(b * of.H + h) * of.L + i0 + i], delta[i]);
          std::fill(row + seen, row + columns, T{0});
          std::fill(grad_row + seen, grad_row + columns, T{0});
        }
        multiply_strips<T>(columns, of.Ev, rows, T{1}, weights.at(0), 1, kScoreRow, grads, true, own_value_grad + j0 * value_row, value_row);
        multiply_strips<T>(columns, of.E, rows, factor, grad_scores.at(0), 1, kScoreRow, queries, true, own_key_grad + j0 * key_row, key_row);
        multiply_strips<T>(rows, of.E, columns, factor, grad_scores.at(0), kScoreRow, 1, {keys.data + j0 * width, keys.strip}, j0 > 0, own_query_grad, query_row);
      }
      for (std::int64_t i = 0; visible == 0 && i < rows; ++i) std::fill_n(own_query_grad + i * query_row, of.E, T{0});
    }
  }
}

std::tuple<Tensor, Tensor, Tensor> attention_backward_tuned(const Tensor& grad_out, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out, const Tensor& logsumexp, double dropout_p,
                                                            bool is_causal, const std::optional<Tensor>& attn_mask, std::optional<double> scale) {
  const bool ours = attention_is_ours(query, key, value, attn_mask) && grad_out.scalar_type() == query.scalar_type();
  if (!ours) return op::_scaled_dot_product_flash_attention_for_cpu_backward.function(Layer::CPU)(grad_out, query, key, value, out, logsumexp, dropout_p, is_causal, attn_mask, scale);
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  const Attention of(query, key, value, is_causal, attn_mask, scale);
  const Tensor grad = Attention::dense_rows(grad_out), result = Attention::dense_rows(out), sums = logsumexp.contiguous();
  const Tensor grad_query = nn::detail::empty_heads(query.sizes(), query), grad_key = nn::detail::empty_heads(key.sizes(), key), grad_value = nn::detail::empty_heads(value.sizes(), value);
  const auto back = [&]<class T>() {
    kernels::run_tasks(of.B * of.Hk, [&](std::int64_t head) {
      attend_back<T>(of, head / of.Hk, head % of.Hk, grad, result, sums.data<T>(), grad_query, grad_key, grad_value);
    });
  };
  if (query.scalar_type() == kFloat) back.template operator()<float>();
  else back.template operator()<double>();
  return {grad_query, grad_key, grad_value};
}
}  // namespace

// %%
//| export kernels/attention.cpp
//| registers
void register_tuned_attention() {
  op::_scaled_dot_product_flash_attention_for_cpu.set(Layer::TunedCPU, attention_tuned);
  op::_scaled_dot_product_flash_attention_for_cpu_backward.set(Layer::TunedCPU, attention_backward_tuned);
}

// %%
//| lesson
struct AttentionCase {
  std::int64_t B, H, Hk, L, S, E, Ev;
  bool causal = false;
  bool masked = false;
};

// Output, logsumexp and the three gradients.
std::vector<Tensor> attention_of(const AttentionCase& c, ScalarType type) {
  Generator generator(71);
  const Tensor q = randn({c.B, c.L, c.H, c.E}, generator, type).transpose(1, 2);  // heads lie between each other, as a projection leaves them
  const Tensor k = randn({c.B, c.Hk, c.S, c.E}, generator, type), v = randn({c.S, c.B, c.Hk, c.Ev}, generator, type).permute({1, 2, 0, 3}), g = randn({c.B, c.H, c.L, c.Ev}, generator, type);
  std::optional<Tensor> mask;
  if (c.masked) {
    mask = randn({c.B, 1, c.L, c.S}, generator, type) * 2;
    mask->slice(3, 0, 1).fill_(-std::numeric_limits<double>::infinity());
  }
  const auto [out, lse] = _scaled_dot_product_flash_attention_for_cpu(q, k, v, 0, c.causal, mask, 0.4);
  const auto [grad_q, grad_k, grad_v] = _scaled_dot_product_flash_attention_for_cpu_backward(g, q, k, v, out, lse, 0, c.causal, mask, 0.4);
  return {out, lse, grad_q, grad_k, grad_v};
}

std::vector<AttentionCase> attention_cases() {
  return {{1, 1, 1, 1, 1, 1, 1}, {2, 3, 3, 1, 70, 20, 9}, {2, 2, 1, 50, 33, 16, 16}, {1, 4, 2, 97, 300, 24, 40, false, true}, {1, 2, 2, 130, 130, 64, 64, true}, {1, 1, 1, 40, 600, 8, 5, true, true}, {1, 1, 1, 600, 530, 17, 33, true}, {1, 1, 1, 1, 40, 8, 8, true}};
}

// %%
TEST_CASE("tuned attention gives what the reference gives, forward and backward") {
  for (const AttentionCase& c : attention_cases()) {
    CAPTURE(c.L);
    CAPTURE(c.S);
    for (const ScalarType type : {kFloat, kDouble}) {
      const std::vector<Tensor> expected = [&] {
        const kernels::ReferenceKernelsGuard reference;
        return attention_of(c, type);
      }();
      for (int i = 0; i <= static_cast<int>(kernels::hardware_capability()); ++i) {
        const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(i));
        const std::vector<Tensor> tuned = attention_of(c, type);
        const double tolerance = type == kFloat ? 2e-5 : 1e-12;
        for (std::size_t r = 0; r < tuned.size(); ++r) {
          CHECK_CLOSE(tuned[r], expected[r], tolerance, tolerance);
          CHECK_EQ(tuned[r].strides(), expected[r].strides());
        }
      }
    }
  }
}

TEST_CASE("tuned attention: the same bits for any number of threads, rows that see nothing, and what is not a number") {
  const int before = get_num_threads();
  const AttentionCase many{2, 4, 2, 100, 120, 32, 32, true, true};
  set_num_threads(1);
  const std::vector<Tensor> alone = attention_of(many, kFloat);
  set_num_threads(3);
  const std::vector<Tensor> together = attention_of(many, kFloat);
  set_num_threads(before);
  for (std::size_t r = 0; r < alone.size(); ++r) CHECK_EQ(together[r], alone[r]);

  const double inf = std::numeric_limits<double>::infinity();
  const Tensor x = ones({1, 1, 3, 4}), nothing = full({3, 3}, -inf);
  const auto [out, lse] = _scaled_dot_product_flash_attention_for_cpu(x, x, x, 0, false, nothing);
  CHECK_EQ(out, zeros({1, 1, 3, 4}));
  CHECK_EQ(lse, zeros({1, 1, 3}));
  const auto [one, one_lse] = _scaled_dot_product_flash_attention_for_cpu(x.slice(2, 0, 1), x, x, 0, false, nothing.slice(0, 0, 1));
  CHECK_EQ(one, zeros({1, 1, 1, 4}));
  CHECK_EQ(one_lse, zeros({1, 1, 1}));
  const Tensor poisoned = x.clone();
  poisoned.select(2, 1).fill_(std::numeric_limits<double>::quiet_NaN());
  const Tensor seen = std::get<0>(_scaled_dot_product_flash_attention_for_cpu(poisoned, x, x));
  CHECK_EQ(seen.select(2, 0), ones({1, 1, 4}));
  CHECK(seen.select(2, 1).isnan().all().item<bool>());
}

// %%
DEMO("attention of 256 queries and keys, 6 heads of 64: reference and tuned") {
  const Tensor q = randn({1, 6, 256, 64}), k = randn({1, 6, 256, 64}), v = randn({1, 6, 256, 64}), g = randn({1, 6, 256, 64});
  const auto time = [&] {
    const auto attended = _scaled_dot_product_flash_attention_for_cpu(q, k, v, 0, true);
    const Tensor &out = std::get<0>(attended), &lse = std::get<1>(attended);
    const double forward = measure([&] { do_not_optimize(_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0, true)); }, {.samples = 3}).minimum;
    const double backward = measure([&] { do_not_optimize(_scaled_dot_product_flash_attention_for_cpu_backward(g, q, k, v, out, lse, 0, true)); }, {.samples = 3}).minimum;
    std::printf("forward %12s   backward %12s\n", format_seconds(forward).c_str(), format_seconds(backward).c_str());
  };
  time();
  const kernels::ReferenceKernelsGuard reference;
  time();
}

// %% [markdown]
// ## Where to read on
//
// PyTorch's CPU kernel (`aten/src/ATen/native/cpu/FlashAttentionKernel.cpp`) has the same loops with blocks chosen by the number of queries, and packs keys for AMX where there is one. FlashAttention-2 explains why the outer loop runs over queries forwards and over keys backwards on a GPU, where many blocks add into one place at a time; on a CPU with a head per task that does not arise.

// %%
}  // namespace tinytorch
