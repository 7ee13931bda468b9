// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/bag_kernels.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/embedding_bag.h"
#include "tinytorch/nn/embedding_ops.h"

namespace tinytorch {

namespace {
// Whether all indices are in [0, rows); the reference says which are not.
bool are_rows(const Tensor& ids, std::int64_t rows) { return rows > 0 && kernels::chosen_data_kernels().are_within(ids.data<std::int64_t>(), ids.numel(), rows); }

// Calls f<T> for dtypes whose elements these functions add; false for others.
template <class F>
bool with_element(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else if (type == kDouble) f.template operator()<double>();
  else if (type == kLong) f.template operator()<std::int64_t>();
  else return false;
  return true;
}

Tensor flat_long(const Tensor& indices) { return indices.to(kLong).contiguous().view({indices.numel()}); }

// Whether they are i, i - 1, i - 2, ...
bool falls_by_one(const std::int64_t* id, std::int64_t count) {
  std::int64_t off = 0;
  for (std::int64_t i = 1; i < count; ++i) off |= id[i] + i - id[0];
  return off == 0;
}

// out (outer, count, inner) = from (outer, rows, inner) at ids (count) along the middle.
template <class T>
void copy_table_rows(T* out, const T* from, const std::int64_t* ids, std::int64_t outer, std::int64_t count, std::int64_t rows, std::int64_t inner) {
  const std::int64_t together = std::max<std::int64_t>(1, (1 << 15) / inner);
  const bool turns = inner == 1 && falls_by_one(ids, count);  // as flip() asks for them
  parallel_for(0, outer * count, together, [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop;) {
      const T* const table = from + i / count * rows * inner;
      const std::int64_t* const id = ids + i % count;
      const std::int64_t picked = std::min(stop - i, count - i % count);  // of this table
      if (turns) kernels::bits_table<T>().reverse(table + id[picked - 1], picked, out + i);
      else if (inner == 1) for (std::int64_t j = 0; j < picked; ++j) out[i + j] = table[id[j]];
      else for (std::int64_t j = 0; j < picked; ++j) kernels::copy_bytes(out + (i + j) * inner, table + id[j] * inner, inner * static_cast<std::int64_t>(sizeof(T)));
      i += picked;
    }
  });
}

// table (rows, D)[ids[i]] += grad (count, D)[i], but for the positions of padding_idx.
template <class T>
void add_table_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows, std::int64_t D, std::int64_t padding_idx) {
  if (D == 1 && padding_idx < 0) {  // so little that the processor shall see nothing else in its way
    for (std::int64_t i = 0; i < count; ++i) table[ids[i]] += grad[i];
    return;
  }
  // To pass over a position costs as much as to add a number or two, so short rows are not divided so often.
  const std::int64_t tasks = std::clamp<std::int64_t>(count * D / (1 << 15), 1, std::min({rows, get_num_threads() == 1 ? std::int64_t{1} : std::int64_t{16}, D / 4 + 1}));
  kernels::run_tasks(tasks, [&](std::int64_t task) {
    const std::int64_t first = rows * task / tasks, stop = rows * (task + 1) / tasks;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t row = ids[i];
      if (row < first || row >= stop || row == padding_idx) continue;
      T* const to = table + row * D;
      const T* const from = grad + i * D;
      for (std::int64_t d = 0; d < D; ++d) to[d] = static_cast<T>(to[d] + from[d]);
    }
  });
}

Tensor embedding_tuned(const Tensor& weight, const Tensor& indices, std::int64_t padding_idx, bool scale_grad_by_freq) {
  const Tensor ids = flat_long(indices);
  DimVector sizes(indices.sizes());
  sizes.push_back(weight.size(1));
  const bool ours = weight.is_contiguous() && weight.size(1) > 0 && ids.numel() > 0 && are_rows(ids, weight.size(0));
  if (!ours) return op::embedding.function(Layer::CPU)(weight, indices, padding_idx, scale_grad_by_freq);
  const Tensor result = empty(sizes, weight.scalar_type());
  kernels::with_bits(weight.element_size(), [&]<class U>() {
    copy_table_rows(static_cast<U*>(result.data_ptr()), static_cast<const U*>(weight.data_ptr()), ids.data<std::int64_t>(), 1, ids.numel(), weight.size(0), weight.size(1));
  });
  return result;
}

Tensor embedding_backward_tuned(const Tensor& grad_output, const Tensor& indices, std::int64_t num_weights, std::int64_t padding_idx, bool scale_grad_by_freq) {
  const Tensor ids = flat_long(indices);
  const bool is_float = grad_output.scalar_type() == kFloat || grad_output.scalar_type() == kDouble;
  if (!is_float || scale_grad_by_freq || grad_output.numel() == 0 || !are_rows(ids, num_weights))
    return op::embedding_dense_backward.function(Layer::CPU)(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq);
  const Tensor grad = grad_output.contiguous(), result = zeros({num_weights, grad.size(-1)}, grad.scalar_type());
  with_element(grad.scalar_type(),
               [&]<class T>() { add_table_rows(result.data<T>(), grad.data<T>(), ids.data<std::int64_t>(), ids.numel(), num_weights, grad.size(-1), padding_idx); });
  return result;
}

template <class T>
kernels::SumRows<T> sum_rows_kernel() {
  using namespace kernels;
  static constexpr const BagKernels* tables[] = TINYTORCH_PER_CAPABILITY(bag_kernels);
  const BagKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.of_float;
  else return chosen.of_double;
}

// The bags are divided among threads.
Tensor sum_bags_tuned(const Tensor& table, const Tensor& ids, const Tensor& bounds, bool mean, std::int64_t left_out) {
  const std::int64_t D = table.size(1), bags = bounds.numel() - 1;
  const bool ours = (table.scalar_type() == kFloat || table.scalar_type() == kDouble) && are_rows(ids, table.size(0));
  if (!ours) return op::sum_bags.function(Layer::CPU)(table, ids, bounds, mean, left_out);
  const Tensor result = empty({bags, D}, table.scalar_type());
  with_element(table.scalar_type(), [&]<class T>() {
    if constexpr (std::is_floating_point_v<T>) {
      const std::int64_t together = (1 << 15) / std::max<std::int64_t>(1, ids.numel() * D / std::max<std::int64_t>(1, bags)) + 1;
      parallel_for(0, bags, together, [&, sum_rows = sum_rows_kernel<T>(), rows = table.data<T>(), out = result.data<T>(), id = ids.data<std::int64_t>(), bound = bounds.data<std::int64_t>()](std::int64_t first, std::int64_t stop) {
        for (std::int64_t bag = first; bag < stop; ++bag) {
          const std::int64_t* const begin = id + bound[bag];
          const std::int64_t count = bound[bag + 1] - bound[bag], summed = mean ? count - std::count(begin, begin + count, left_out) : 1;
          sum_rows(rows, D, begin, count, left_out, static_cast<T>(std::max<std::int64_t>(1, summed)), out + bag * D);
        }
      });
    }
  });
  return result;
}

// How many numbers lie behind one place of the dimension. Not its stride, which may be anything where the size is 1.
std::int64_t inner_numbers(const Tensor& self, std::int64_t dim) { return multiply_sizes(self.sizes().slice(static_cast<std::size_t>(dim) + 1)); }

Tensor index_select_tuned(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const auto reference = [&] { return op::index_select.function(Layer::CPU)(self, dim, index); };
  if (self.dim() == 0 || self.numel() == 0 || index.numel() == 0 || !self.is_contiguous()) return reference();
  const Tensor ids = flat_long(index);
  const std::int64_t rows = self.size(dim), inner = inner_numbers(self, dim);
  if (!are_rows(ids, rows)) return reference();
  DimVector sizes(self.sizes());
  sizes[static_cast<std::size_t>(dim)] = ids.numel();
  const Tensor result = empty(sizes, self.scalar_type());
  kernels::with_bits(self.element_size(), [&]<class U>() {
    copy_table_rows(static_cast<U*>(result.data_ptr()), static_cast<const U*>(self.data_ptr()), ids.data<std::int64_t>(), self.numel() / (rows * inner), ids.numel(), rows, inner);
  });
  return result;
}

// What is turned around is turned back. Other rows are added to where they came from.
Tensor index_select_backward(const Tensor& g, IntArrayRef sizes, std::int64_t dim, const Tensor& index) {
  const std::int64_t rows = sizes.empty() ? 0 : sizes[static_cast<std::size_t>(dim)];
  if (index.numel() == rows && rows > 0) {
    const Tensor ids = flat_long(index);
    if (ids.data<std::int64_t>()[0] == rows - 1 && falls_by_one(ids.data<std::int64_t>(), rows)) return index_select(g, dim, index);
  }
  return index_add(zeros(sizes, g.options()), dim, index, g);
}

// x (outer, rows, inner) += from (outer, count, inner) at ids (count) along the middle. Tables before the last dimension but one are divided among threads.
template <class T>
void add_along(T* x, const T* from, const std::int64_t* ids, std::int64_t outer, std::int64_t count, std::int64_t rows, std::int64_t inner) {
  if (outer == 1) return add_table_rows(x, from, ids, count, rows, inner, -1);
  parallel_for(0, outer, std::max<std::int64_t>(1, (1 << 15) / (count * inner)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) {
      T* const table = x + i * rows * inner;
      const T* const rows_from = from + i * count * inner;
      if (inner == 1) {
        for (std::int64_t k = 0; k < count; ++k) table[ids[k]] += rows_from[k];
        continue;
      }
      for (std::int64_t k = 0; k < count; ++k)
        for (std::int64_t d = 0; d < inner; ++d) table[ids[k] * inner + d] += rows_from[k * inner + d];
    }
  });
}

// Contiguous tensors that share no memory.
const Tensor& index_add_tuned(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const auto hand_down = [&]() -> const Tensor& { return op::index_add_.function(Layer::CPU)(self, dim, index, source); };
  const bool ours = self.dim() > 0 && source.numel() > 0 && source.dim() == self.dim() && self.is_contiguous() && !source.is_alias_of(self) && !index.is_alias_of(self);
  if (!ours) return hand_down();
  const Tensor ids = flat_long(index), from = source.contiguous();
  const std::int64_t rows = self.size(dim), inner = inner_numbers(self, dim);
  if (!are_rows(ids, rows)) return hand_down();
  const bool done = with_element(self.scalar_type(), [&]<class T>() {
    add_along(self.data<T>(), from.data<T>(), ids.data<std::int64_t>(), self.numel() / (rows * inner), ids.numel(), rows, inner);
  });
  return done ? self : hand_down();
}
}  // namespace

void register_tuned_table_rows() {
  op::embedding.set(Layer::TunedCPU, embedding_tuned);
  op::embedding_dense_backward.set(Layer::TunedCPU, embedding_backward_tuned);
  op::index_select.set(Layer::TunedCPU, index_select_tuned);
  op::index_add_.set(Layer::TunedCPU, index_add_tuned);
  op::sum_bags.set(Layer::TunedCPU, sum_bags_tuned);
  kernels::fused_gradient<op::index_select>(
      [](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Input<2> index) { return index_select_backward(g, sizes, dim, index); },
      no_gradient);
}

}  // namespace tinytorch
