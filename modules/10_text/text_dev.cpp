// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Module 10: Text

// %%
//| export nn/embedding.h
#include <optional>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/embedding.cpp
#include <algorithm>
#include <ostream>
#include <set>
#include <utility>
#include <vector>
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"

// %%
#include "tito/lesson.h"
#include <sstream>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// %% [markdown]
// ### From an id to a vector
//
// A network computes with real numbers, and an id is none: token 17 is not "more" than token 16. So each token
// gets a vector of its own, a row of a table of parameters (V, D), and the table is trained with everything
// else. Looking up rows is the same as multiplying one-hot vectors with the table, without the V - 1 products
// with zero for each token:
//
//       ids (2, 2)        weight (5, 3)                          embedding (2, 2, 3)
//       [ 3  0 ]      0 [ a0 a1 a2 ] <-------------+             [ [ d0 d1 d2 ] [ a0 a1 a2 ] ]
//       [ 3  1 ]      1 [ b0 b1 b2 ]               |             [ [ d0 d1 d2 ] [ b0 b1 b2 ] ]
//                     2 [ c0 c1 c2 ]               |
//                     3 [ d0 d1 d2 ]    ids[0][1] = 0
//                     4 [ e0 e1 e2 ]
//
// The gradient goes the other way: what arrives at a position is added to the row that was read there. Row d
// was read twice and receives a sum of two; rows c and e receive nothing. One position, the *padding* that
// fills short sentences, is kept out of training altogether. Time: O(N D) forward for N positions, whatever V
// is; the dense gradient also has V D zeros to write, and Part 2 measures what they cost.
//
// Two options come with it, both PyTorch's. `scale_grad_by_freq` divides what a row receives by how often it
// was read in the batch. `max_norm` shortens the rows that are read, before they are read.

// %%
//| export nn/embedding.h
// Row indices[i, ...] of `weight` (V, D), for each index: sizes of `indices` + (D), in the dtype of `weight`.
// `indices` is Long or Int, any shape; each index is in [0, V). In the backward pass the row `padding_idx`
// receives no gradient (-1: none is left out), and with `scale_grad_by_freq` what a row receives is divided by
// the number of its positions in `indices`. The gradient is dense; `sparse` must be false.
// Throws IndexError for an index out of range. O(numel(indices) * D) time, independent of V.
// Source: aten/src/ATen/native/Embedding.cpp.
Tensor embedding(const Tensor& weight, const Tensor& indices, std::int64_t padding_idx = -1,
                 bool scale_grad_by_freq = false, bool sparse = false);
// The gradient of embedding() with respect to its weight: (num_weights, D), from grad_output, whose sizes are
// those of `indices` + (D). O(num_weights * D + numel(grad_output)).
Tensor embedding_dense_backward(const Tensor& grad_output, const Tensor& indices, std::int64_t num_weights,
                                std::int64_t padding_idx, bool scale_grad_by_freq);
// Scales the rows of `self` that `indices` names to a norm of max_norm, those that are longer; not recorded for
// the backward pass. O(numel(indices) * D).
const Tensor& embedding_renorm_(const Tensor& self, const Tensor& indices, double max_norm, double norm_type);

namespace op {
// (weight, indices, padding_idx, scale_grad_by_freq)
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, bool)> embedding;
// (grad_output, indices, num_weights, padding_idx, scale_grad_by_freq)
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, std::int64_t, bool)>
    embedding_dense_backward;
}  // namespace op

// %%
//| export nn/embedding.cpp
namespace {
// `row` itself, which must be one of 0 .. rows - 1.
std::int64_t checked_row(std::int64_t row, std::int64_t rows) {
  TORCH_CHECK_INDEX(row >= 0 && row < rows, "index out of range in self\n[embedding] found the index ", row,
                    "; the table has ", rows, " rows, so indices are 0 to ", rows - 1,
                    ": is num_embeddings the size of the vocabulary?");
  return row;
}

// The indices one after the other, as Long.
Tensor flat_indices(const Tensor& indices) {
  return to_dtype(indices, kLong).contiguous().view({indices.numel()});
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "10-embedding-rows", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/embedding.cpp
namespace {
// out[i] = weight[ids[i]] for `count` ids, where `out` is (count, D) and contiguous. Row r of the table begins at
// weight + r * strides[0]; its elements are strides[1] apart. Throws IndexError by checked_row(). O(count * D).
//
// TODO: Copy the row of each id.
// APPROACH: 1. checked_row(ids[i], rows) is the row, or throws.
//           2. Copy D elements to out + i * D, one by one: the table may be a view whose elements are apart.
// EXAMPLE: With rows [[1, 2], [3, 4]] and the ids 1, 1, 0 the output is 3 4 3 4 1 2.
template <class T>
void copy_rows(T* out, const T* weight, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
               std::int64_t D, IntArrayRef strides) {
  // BEGIN SOLUTION
  for (std::int64_t i = 0; i < count; ++i) {
    const T* const row = weight + checked_row(ids[i], rows) * strides[0];
    for (std::int64_t d = 0; d < D; ++d) out[i * D + d] = row[d * strides[1]];
  }
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 10-embedding-rows counts-from-the-end
//| says A negative index was taken from the end of the table. An id is a name, not a position: -1 is a mistake
//| says somewhere before (a padding value that was never replaced), and checked_row() should report it.
#if 0
template <class T>
void copy_rows(T* out, const T* weight, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
               std::int64_t D, IntArrayRef strides) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t r = ids[i] < 0 ? ids[i] + rows : ids[i];
    const T* const row = weight + checked_row(r, rows) * strides[0];
    for (std::int64_t d = 0; d < D; ++d) out[i * D + d] = row[d * strides[1]];
  }
}
#endif

// %%
//| mistake 10-embedding-rows assumes-a-dense-table
//| says The rows of a transposed or sliced table came out wrong: row r begins at r * strides[0], and its
//| says elements are strides[1] apart.
#if 0
template <class T>
void copy_rows(T* out, const T* weight, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
               std::int64_t D, IntArrayRef strides) {
  static_cast<void>(strides);
  for (std::int64_t i = 0; i < count; ++i) {
    const T* const row = weight + checked_row(ids[i], rows) * D;
    for (std::int64_t d = 0; d < D; ++d) out[i * D + d] = row[d];
  }
}
#endif

// %% {"nbgrader": {"grade": false, "grade_id": "10-embedding-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/embedding.cpp
namespace {
// table[ids[i]] += grad[i] * factor for `count` ids: `table` is (rows, D) and begins as zeros, `grad` is (count,
// D), both contiguous. Positions whose id is `padding_idx` add nothing. `counts` is null, and the factor 1; or
// counts[r] says how often row r occurs among the ids, and the factor is 1 / counts[r]. Throws IndexError by
// checked_row(). O(count * D): no other row is touched.
//
// TODO: Add the gradient of each position to the row that was read there.
// APPROACH: 1. Skip the padding. 2. row = checked_row(ids[i], rows). 3. Add D products to table + row * D.
// EXAMPLE: For the ids 1, 1, 0 and gradients of ones, row 1 receives 2 and row 0 receives 1; with counts, 1 and 1.
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  // BEGIN SOLUTION
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == padding_idx) continue;
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(counts[row]);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] += static_cast<T>(grad[i * D + d] * static_cast<T>(factor));
  }
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 10-embedding-backward overwrites
//| says A row that was read at several positions kept the gradient of the last one only. What is used n times
//| says receives the sum of n gradients: += instead of =.
#if 0
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == padding_idx) continue;
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(counts[row]);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] = static_cast<T>(grad[i * D + d] * static_cast<T>(factor));
  }
}
#endif

// %%
//| mistake 10-embedding-backward trains-the-padding
//| says The row of the padding received a gradient. It stands for "no word here" and must stay as it is: leave
//| says out positions whose id is padding_idx.
#if 0
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  static_cast<void>(padding_idx);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(counts[row]);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] += static_cast<T>(grad[i * D + d] * static_cast<T>(factor));
  }
}
#endif

// %%
//| mistake 10-embedding-backward divides-by-all
//| says The factor of scale_grad_by_freq is 1 / counts[row], how often this row occurs, not 1 / the number of
//| says positions.
#if 0
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == padding_idx) continue;
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(count);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] += static_cast<T>(grad[i * D + d] * static_cast<T>(factor));
  }
}
#endif

// %% [markdown]
// The operators around the two loops are given. The gradient of the gradient closes the circle: backward is
// linear in what arrives, and transposing "add to row" gives "read the row" again, so the derivative of
// `embedding_dense_backward` is an `embedding`, with the same positions left out and the same factors.
//
//       embedding                weight (V, D)  --- read rows --->  output (N, D)
//       embedding_dense_backward grad_weight    <--- add rows ---   grad_output
//       its gradient             g (V, D)       --- read rows --->  (N, D)

// %%
//| export nn/embedding.cpp
namespace {
// How often each of 0 .. rows - 1 occurs among the indices.
std::vector<std::int64_t> occurrences(const Tensor& flat, std::int64_t rows) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(rows));
  const std::int64_t* const ids = flat.data<std::int64_t>();
  for (std::int64_t i = 0; i < flat.numel(); ++i) ++counts[static_cast<std::size_t>(checked_row(ids[i], rows))];
  return counts;
}

Tensor embedding_cpu(const Tensor& weight, const Tensor& indices, std::int64_t, bool) {
  const Tensor flat = flat_indices(indices);
  DimVector sizes(indices.sizes());
  sizes.push_back(weight.size(1));
  const Tensor result = empty(sizes, weight.scalar_type());
  dispatch_all_types(weight.scalar_type(), [&]<class T>() {
    copy_rows(result.data<T>(), weight.data<T>(), flat.data<std::int64_t>(), flat.numel(), weight.size(0),
              weight.size(1), weight.strides());
  });
  return result;
}

Tensor embedding_dense_backward_cpu(const Tensor& grad_output, const Tensor& indices,
                                    std::int64_t num_weights, std::int64_t padding_idx,
                                    bool scale_grad_by_freq) {
  const Tensor flat = flat_indices(indices);
  const Tensor grad = grad_output.contiguous();
  const std::int64_t D = grad.size(-1);
  const Tensor result = zeros({num_weights, D}, grad.scalar_type());
  const auto counts = scale_grad_by_freq ? occurrences(flat, num_weights) : std::vector<std::int64_t>();
  dispatch_floating_types(grad.scalar_type(), "embedding_backward", [&]<class T>() {
    add_rows(result.data<T>(), grad.data<T>(), flat.data<std::int64_t>(), flat.numel(), num_weights, D,
             padding_idx, scale_grad_by_freq ? counts.data() : nullptr);
  });
  return result;
}

// What add_rows() multiplies the gradient of each position with: sizes of `indices` + (1).
Tensor position_factors(const Tensor& indices, std::int64_t num_weights, std::int64_t padding_idx,
                        bool scale_grad_by_freq, ScalarType type) {
  const Tensor flat = flat_indices(indices);
  const auto counts = scale_grad_by_freq ? occurrences(flat, num_weights) : std::vector<std::int64_t>();
  const Tensor factors = empty({flat.numel()}, kDouble);
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    const std::int64_t id = flat.data<std::int64_t>()[i];
    const double shared = scale_grad_by_freq ? static_cast<double>(counts[static_cast<std::size_t>(id)]) : 1.0;
    factors.data<double>()[i] = id == padding_idx ? 0.0 : 1.0 / shared;
  }
  DimVector sizes(indices.sizes());
  sizes.push_back(1);
  return factors.view(sizes).to(type);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, bool)> op::embedding(
    "embedding", {.cpu = embedding_cpu,
                  .autograd = gradient_of<op::embedding>(
                      [](const Tensor& g, Sizes<0> weight, Input<1> indices, Arg<2, std::int64_t> padding_idx,
                         Arg<3, bool> scale_grad_by_freq) {
                        return tinytorch::embedding_dense_backward(g, indices, weight[0], padding_idx,
                                                        scale_grad_by_freq);
                      },
                      no_gradient)});

constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, std::int64_t, bool)>
    op::embedding_dense_backward(
        "embedding_dense_backward",
        {.cpu = embedding_dense_backward_cpu,
         .autograd = gradient_of<op::embedding_dense_backward>(
             [](const Tensor& g, Input<1> indices, Arg<2, std::int64_t> num_weights,
                Arg<3, std::int64_t> padding_idx, Arg<4, bool> scale_grad_by_freq) {
               return tinytorch::embedding(g, indices) * position_factors(indices, num_weights, padding_idx,
                                                               scale_grad_by_freq, g.scalar_type());
             },
             no_gradient)});

// %%
//| export nn/embedding.cpp
namespace {
void check_indices(const char* function, const Tensor& indices) {
  TORCH_CHECK(indices.scalar_type() == kLong || indices.scalar_type() == kInt,
              "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but "
              "got torch.",
              indices.scalar_type(), "Tensor instead (while checking arguments for ", function,
              ")\n[embedding] indices name rows; convert them with to(kLong).");
}
}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& indices, std::int64_t padding_idx, bool scale_grad_by_freq,
                 bool sparse) {
  TORCH_CHECK(weight.dim() == 2, "'weight' must be 2-D\n[embedding] got sizes ", weight.sizes(),
              "; a table has one row for each index.");
  check_indices("embedding", indices);
  TORCH_CHECK_NOT_IMPLEMENTED(!sparse, "embedding: there are no sparse gradients\n[embedding] with sparse = false "
                                       "the gradient is dense, and zero but for the rows that were read.");
  return op::embedding(weight, indices, padding_idx, scale_grad_by_freq);
}

Tensor embedding_dense_backward(const Tensor& grad_output, const Tensor& indices, std::int64_t num_weights,
                                std::int64_t padding_idx, bool scale_grad_by_freq) {
  check_indices("embedding_backward", indices);
  DimVector expected(indices.sizes());
  expected.push_back(grad_output.dim() > 0 ? grad_output.size(-1) : 0);
  TORCH_CHECK(grad_output.sizes() == IntArrayRef(expected),
              "embedding_dense_backward: grad_output of size ", grad_output.sizes(),
              " does not belong to indices of size ", indices.sizes(),
              "\n[embedding_dense_backward] its sizes are those of the indices and the length of a row.");
  return op::embedding_dense_backward(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq);
}

const Tensor& embedding_renorm_(const Tensor& self, const Tensor& indices, double max_norm, double norm_type) {
  TORCH_CHECK(self.dim() == 2, "Expected 2-dimensional tensor, but got ", self.dim(),
              "-dimensional tensor for argument #1 'self' (while checking arguments for embedding_renorm_)");
  check_indices("embedding_renorm_", indices);
  const NoGradGuard guard;
  const Tensor flat = flat_indices(indices);
  const std::int64_t* const ids = flat.data<std::int64_t>();
  std::set<std::int64_t> used;
  for (std::int64_t i = 0; i < flat.numel(); ++i) used.insert(checked_row(ids[i], self.size(0)));
  const Tensor rows = empty({static_cast<std::int64_t>(used.size())}, kLong);
  std::copy(used.begin(), used.end(), rows.data<std::int64_t>());
  const Tensor values = index_select(self, 0, rows);
  const Tensor norms = norm(values, norm_type, {1}, /*keepdim=*/true);
  // The 1e-7 is PyTorch's.
  const Tensor scale = where(norms > max_norm, max_norm / (norms + 1e-7), ones_like(norms));
  return index_put_(self, std::vector<std::optional<Tensor>>{rows}, values * scale);
}

// %% {"nbgrader": {"grade": true, "grade_id": "10-embedding-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("embedding: rows by index, and gradients to the rows that were read") {
  const Tensor weight = tensor({{0.0, 0.5}, {1.0, 1.5}, {2.0, 2.5}, {3.0, 3.5}}).requires_grad_();
  const Tensor ids = tensor({{3, 0}, {3, 1}});
  const Tensor out = embedding(weight, ids, 1);
  CHECK_EQ(out, tensor({{{3.0, 3.5}, {0.0, 0.5}}, {{3.0, 3.5}, {1.0, 1.5}}}));
  (out * tensor({{1.0, 2.0}, {4.0, 8.0}}).unsqueeze(2)).sum().backward();
  CHECK_EQ(weight.grad(), tensor({{2.0, 2.0}, {0.0, 0.0}, {0.0, 0.0}, {5.0, 5.0}}));

  // Divided by how often a row was read; an Int index; an index without dimensions.
  const Tensor g = ones({3, 2});
  CHECK_EQ(embedding_dense_backward(g, tensor({2, 2, 0}), 3, -1, true), tensor({{1.0, 1.0}, {0.0, 0.0}, {1.0, 1.0}}));
  CHECK_EQ(embedding(weight.detach(), tensor({2}, kInt)), tensor({{2.0, 2.5}}));
  CHECK_EQ(embedding(weight.detach(), tensor(1)), tensor({1.0, 1.5}));
  // A transposed table is read by its strides.
  CHECK_EQ(embedding(weight.detach().t(), tensor({1, 1})), tensor({{0.5, 1.5, 2.5, 3.5}, {0.5, 1.5, 2.5, 3.5}}));

  CHECK_ERROR(embedding(weight, tensor({0, 4})), "index out of range in self");
  CHECK_ERROR(embedding(weight, tensor({-1})), "found the index -1; the table has 4 rows, so indices are 0 to 3");
  CHECK_ERROR(embedding(weight, tensor({1.0})), "one of the following scalar types: Long, Int; but got torch.FloatTensor");
  CHECK_ERROR(embedding(weight[0], ids), "'weight' must be 2-D");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(embedding(weight.detach(), empty({0, 5}, kLong)).sizes(), IntArrayRef({0, 5, 2}));
  CHECK_EQ(embedding_dense_backward(g, tensor({2, 0, 2}), 3, 2, false), tensor({{1.0, 1.0}, {0.0, 0.0}, {0.0, 0.0}}));
  CHECK_ERROR(embedding_dense_backward(g, tensor({1, 5, 1}), 3, -1, false), "index out of range in self");
  CHECK_ERROR(embedding_dense_backward(g, tensor({1, 1}), 3, -1, false), "does not belong to indices of size [2]");
  // END HIDDEN TESTS
}

// %%
TEST_CASE("embedding_renorm_: long rows are shortened, once, and without a gradient") {
  const Tensor table = tensor({{3.0, 4.0}, {0.3, 0.4}, {6.0, 8.0}});
  embedding_renorm_(table, tensor({0, 1, 0}), 1.0, 2.0);
  CHECK_CLOSE(table, tensor({{0.6, 0.8}, {0.3, 0.4}, {6.0, 8.0}}));
  embedding_renorm_(table, tensor({2}), 7.0, 1.0);
  CHECK_CLOSE(table[2], tensor({3.0, 4.0}));
  CHECK_ERROR(embedding_renorm_(table, tensor({3}), 1.0, 2.0), "index out of range in self");
}

// %% [markdown]
// The module around the function owns the table. A new table holds normal numbers, with a row of zeros for
// the padding; `from_pretrained` takes a table that exists, and does not train it unless it is asked to.

// %%
//| export nn/embedding.h
namespace nn {

// Options of a table of num_embeddings rows of embedding_dim numbers; `weight`, if given, is that table.
struct EmbeddingOptions {
  EmbeddingOptions(std::int64_t num_embeddings, std::int64_t embedding_dim)
      : num_embeddings_(num_embeddings), embedding_dim_(embedding_dim) {}
  TORCH_ARG(std::int64_t, num_embeddings);
  TORCH_ARG(std::int64_t, embedding_dim);
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(bool, sparse) = false;
  TORCH_ARG(Tensor, weight) = Tensor();
};

struct EmbeddingFromPretrainedOptions {
  TORCH_ARG(bool, freeze) = true;
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(bool, sparse) = false;
};

namespace functional {
struct EmbeddingFuncOptions {
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(bool, sparse) = false;
};

// embedding(weight, input) with the options; a negative padding_idx counts from the end of the table. With
// max_norm the rows that are read are first shortened in place. Source:
// torch/csrc/api/include/torch/nn/functional/embedding.h.
Tensor embedding(const Tensor& input, const Tensor& weight, const EmbeddingFuncOptions& options = {});
}  // namespace functional

// A trained table: forward of indices of any shape gives their sizes + (embedding_dim). Born normal (0, 1), its
// padding row zero. Source: torch/csrc/api/src/nn/modules/embedding.cpp.
class EmbeddingImpl : public Cloneable<EmbeddingImpl> {
 public:
  EmbeddingImpl(std::int64_t num_embeddings, std::int64_t embedding_dim)
      : EmbeddingImpl(EmbeddingOptions(num_embeddings, embedding_dim)) {}
  explicit EmbeddingImpl(EmbeddingOptions options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& indices);

  EmbeddingOptions options;
  Tensor weight;  // (num_embeddings, embedding_dim)
};

class Embedding : public ModuleHolder<EmbeddingImpl> {
 public:
  using ModuleHolder<EmbeddingImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = EmbeddingImpl;

  // A module on an existing table (V, D), which it shares; `freeze` (the default) keeps it from being trained.
  static Embedding from_pretrained(const Tensor& embeddings, const EmbeddingFromPretrainedOptions& options = {});
};

}  // namespace nn

// %%
//| export nn/embedding.cpp
namespace {
// `padding_idx` counted from the start; -1 for none.
std::int64_t padding_row(std::optional<std::int64_t> padding_idx, std::int64_t rows) {
  if (!padding_idx) return -1;
  TORCH_CHECK(*padding_idx >= -rows && *padding_idx < rows,
              "Padding_idx must be within num_embeddings\n[embedding] got ", *padding_idx, " for ", rows, " rows.");
  return *padding_idx < 0 ? *padding_idx + rows : *padding_idx;
}
}  // namespace

Tensor nn::functional::embedding(const Tensor& input, const Tensor& weight, const EmbeddingFuncOptions& options) {
  const std::int64_t rows = weight.dim() == 2 ? weight.size(0) : 0;
  const std::int64_t padding = padding_row(weight.dim() == 2 ? options.padding_idx() : std::nullopt, rows);
  if (options.max_norm()) embedding_renorm_(weight, input, *options.max_norm(), options.norm_type());
  return tinytorch::embedding(weight, input, padding, options.scale_grad_by_freq(), options.sparse());
}

nn::EmbeddingImpl::EmbeddingImpl(EmbeddingOptions options_) : options(std::move(options_)) {
  EmbeddingImpl::reset();
}

void nn::EmbeddingImpl::reset() {
  const DimVector sizes{options.num_embeddings(), options.embedding_dim()};
  if (options.padding_idx()) options.padding_idx(padding_row(options.padding_idx(), options.num_embeddings()));
  const Tensor given = options.weight();
  if (!given.defined()) {
    weight = register_parameter("weight", empty({options.num_embeddings(), options.embedding_dim()}));
    reset_parameters();
    return;
  }
  TORCH_CHECK(given.sizes() == IntArrayRef(sizes),
              "Shape of weight does not match num_embeddings and embedding_dim\n[Embedding] got ", given.sizes(), " for ",
              IntArrayRef(sizes), ".");
  // A clone has a weight already, and must not share the handle that was given.
  weight = weight.defined() ? register_parameter("weight", given.detach(), weight.requires_grad())
                            : register_parameter("weight", given);
}

void nn::EmbeddingImpl::reset_parameters() {
  init::normal_(weight);
  const NoGradGuard guard;
  if (options.padding_idx()) weight[*options.padding_idx()].fill_(0);
}

Tensor nn::EmbeddingImpl::forward(const Tensor& indices) {
  return functional::embedding(indices, weight,
                               functional::EmbeddingFuncOptions()
                                   .padding_idx(options.padding_idx())
                                   .max_norm(options.max_norm())
                                   .norm_type(options.norm_type())
                                   .scale_grad_by_freq(options.scale_grad_by_freq())
                                   .sparse(options.sparse()));
}

void nn::EmbeddingImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Embedding(num_embeddings=" << options.num_embeddings()
         << ", embedding_dim=" << options.embedding_dim();
  if (options.padding_idx()) stream << ", padding_idx=" << *options.padding_idx();
  if (options.max_norm()) stream << ", max_norm=" << *options.max_norm();
  if (options.norm_type() != 2) stream << ", norm_type=" << options.norm_type();
  if (options.scale_grad_by_freq()) stream << ", scale_grad_by_freq=true";
  if (options.sparse()) stream << ", sparse=true";
  stream << ')';
}

nn::Embedding nn::Embedding::from_pretrained(const Tensor& embeddings,
                                             const EmbeddingFromPretrainedOptions& options) {
  TORCH_CHECK(embeddings.dim() == 2, "Embeddings parameter is expected to be 2-dimensional\n[from_pretrained] got sizes ",
              embeddings.sizes(), ".");
  Embedding module(EmbeddingOptions(embeddings.size(0), embeddings.size(1))
                       .weight(embeddings)
                       .padding_idx(options.padding_idx())
                       .max_norm(options.max_norm())
                       .norm_type(options.norm_type())
                       .scale_grad_by_freq(options.scale_grad_by_freq())
                       .sparse(options.sparse()));
  module->weight.requires_grad_(!options.freeze());
  return module;
}

// %%
TEST_CASE("nn::Embedding: PyTorch's numbers for a seed, options, and a table that exists") {
  manual_seed(0);
  nn::Embedding table(nn::EmbeddingOptions(5, 3).padding_idx(1));
  CHECK_CLOSE(table->weight.detach(),
              tensor({{1.5410, -0.2934, -2.1788}, {0.0, 0.0, 0.0}, {0.4033, 0.8380, -0.7193},
                      {-0.4033, -0.5966, 0.1820}, {-0.8567, 1.1006, -1.0712}}), 1e-4, 1e-4);
  CHECK_EQ(table(tensor({{1, 4}})).sizes(), IntArrayRef({1, 2, 3}));
  table(tensor({1, 4, 4})).sum().backward();
  CHECK_EQ(table->weight.grad().sum({1}), tensor({0.0, 0.0, 0.0, 0.0, 6.0}));
  CHECK_EQ(table->named_parameters().keys(), std::vector<std::string>{"weight"});

  std::ostringstream text;
  text << nn::Embedding(nn::EmbeddingOptions(5, 3).padding_idx(-1).max_norm(1.5));
  CHECK_EQ(text.str(), "torch::nn::Embedding(num_embeddings=5, embedding_dim=3, padding_idx=4, max_norm=1.5)");
  CHECK_ERROR(nn::Embedding(nn::EmbeddingOptions(5, 3).padding_idx(5)), "Padding_idx must be within num_embeddings");

  const Tensor known = tensor({{3.0, 4.0}, {0.3, 0.4}});
  nn::Embedding fixed = nn::Embedding::from_pretrained(known);
  CHECK_FALSE(fixed->weight.requires_grad());
  CHECK_EQ(fixed(tensor({1})), known.slice(0, 1));
  CHECK(fixed->weight.is_alias_of(known));
  const auto copy = std::dynamic_pointer_cast<nn::EmbeddingImpl>(fixed->clone());
  CHECK_FALSE(copy->weight.is_alias_of(known));
  CHECK_EQ(copy->weight, known);
  CHECK_FALSE(copy->weight.requires_grad());
  nn::Embedding bounded = nn::Embedding::from_pretrained(known, nn::EmbeddingFromPretrainedOptions().freeze(false).max_norm(1));
  CHECK(bounded->weight.requires_grad());
  CHECK_CLOSE(bounded(tensor({0})).detach(), tensor({{0.6, 0.8}}));
  CHECK_ERROR(nn::Embedding::from_pretrained(known[0]), "Embeddings parameter is expected to be 2-dimensional");
  CHECK_ERROR(nn::Embedding(nn::EmbeddingOptions(3, 2).weight(known)), "Shape of weight does not match");
}

// %%
}  // namespace tinytorch
