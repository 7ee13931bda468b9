// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/embedding_ops.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

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

namespace {
// out[i] = weight[ids[i]] for `count` ids, where `out` is (count, D) and contiguous. Row r of the table begins at
// weight + r * strides[0]; its elements are strides[1] apart. Throws IndexError by checked_row(). O(count * D).
template <class T>
void copy_rows(T* out, const T* weight, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
               std::int64_t D, IntArrayRef strides) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T* const row = weight + checked_row(ids[i], rows) * strides[0];
    for (std::int64_t d = 0; d < D; ++d) out[i * D + d] = row[d * strides[1]];
  }
}
}  // namespace

namespace {
// table[ids[i]] += grad[i] * factor for `count` ids: `table` is (rows, D) and begins as zeros, `grad` is (count,
// D), both contiguous. Positions whose id is `padding_idx` add nothing. `counts` is null, and the factor 1; or
// counts[r] says how often row r occurs among the ids, and the factor is 1 / counts[r]. Throws IndexError by
// checked_row(). O(count * D): no other row is touched.
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == padding_idx) continue;
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(counts[row]);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] = static_cast<T>(table[row * D + d] + grad[i * D + d] * static_cast<T>(factor));
  }
}
}  // namespace

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
  dispatch_stored_types(weight.scalar_type(), [&]<class T>() {
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
  dispatch_all_types(grad.scalar_type(), [&]<class T>() {
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

// The gradient of an embedding without its zeros, (rows, values): `rows` (U) of Long, ascending, each row that `indices`
// names except `padding_idx`; `values` (U, D), the sum of grad_output over the positions of the row, in the order of the positions.
// O(N log N + N D) time for N positions; memory besides the result: O(N) numbers.
std::tuple<Tensor, Tensor> nn::functional::embedding_row_gradient(const Tensor& grad_output, const Tensor& indices,
                                                                  std::int64_t padding_idx) {
  const Tensor flat = flat_indices(indices);
  const std::int64_t* const ids = flat.data<std::int64_t>();
  const std::int64_t D = grad_output.size(-1);
  // Positions by row; within a row in their order.
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < flat.numel(); ++i)
    if (ids[i] != padding_idx) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return ids[a] < ids[b]; });
  std::vector<std::int64_t> distinct;
  for (const std::int64_t i : order)
    if (distinct.empty() || distinct.back() != ids[i]) distinct.push_back(ids[i]);

  const Tensor rows = empty({static_cast<std::int64_t>(distinct.size())}, kLong);
  std::copy(distinct.begin(), distinct.end(), rows.data<std::int64_t>());
  const Tensor values = zeros({rows.numel(), D}, grad_output.scalar_type());
  const Tensor grad = grad_output.detach().contiguous();
  dispatch_all_types(grad.scalar_type(), [&]<class T>() {
    std::int64_t row = -1;
    for (std::size_t k = 0; k < order.size(); ++k) {
      if (k == 0 || ids[order[k]] != ids[order[k - 1]]) ++row;
      const T* const from = grad.data<T>() + order[k] * D;
      T* const to = values.data<T>() + row * D;
      for (std::int64_t d = 0; d < D; ++d) to[d] = static_cast<T>(to[d] + from[d]);
    }
  });
  return {rows, values};
}

}  // namespace tinytorch
