// From the lesson modules/77_row_kernels/row_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/softmax_kernels.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"

namespace tinytorch {

// Of chapter 95: what reaches each sample of the gradient of a reduced loss of classes.
Tensor gradient_per_sample(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction, std::int64_t ignore_index);

namespace {
template <class T>
const kernels::SoftmaxTable<T>& softmax_table() {
  using namespace kernels;
  static constexpr const SoftmaxKernels* tables[] = TINYTORCH_PER_CAPABILITY(softmax_kernels);
  const SoftmaxKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool is_float_or_double(const Tensor& x) { return x.scalar_type() == kFloat || x.scalar_type() == kDouble; }

// Whether x has rows for these kernels along `dim`.
bool has_rows(const Tensor& x, std::int64_t dim) { return is_float_or_double(x) && x.dim() > 0 && dim == x.dim() - 1 && x.numel() > 0; }

// f(first, rows) for some rows of `count` numbers at a time, on all threads: 32,768 numbers take some ten microseconds. Of many, twice as many make a piece, whose first row is alone under way.
template <class F>
void for_some_rows(std::int64_t rows, std::int64_t count, F f) {
  const std::int64_t numbers = rows * count < (1 << 22) ? 1 << 15 : 1 << 16;
  parallel_for(0, rows, std::max<std::int64_t>(1, numbers / count), [&](std::int64_t first, std::int64_t stop) { f(first, stop - first); });
}
// f(row) for each.
template <class F>
void for_rows(std::int64_t rows, std::int64_t count, F f) {
  for_some_rows(rows, count, [&](std::int64_t first, std::int64_t some) {
    for (std::int64_t row = first; row < first + some; ++row) f(row);
  });
}

template <class F>
void with_type(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

template <bool kLog>
void softmax_of_rows(const Tensor& x, std::int64_t count, const Tensor& result) {
  with_type(x.scalar_type(), [&]<class T>() {
    const kernels::SoftmaxTable<T>& table = softmax_table<T>();
    const bool beyond_cache = x.numel() * static_cast<std::int64_t>(sizeof(T)) > kernels::last_cache_bytes();
    for_some_rows(x.numel() / count, count, [&, from = x.data<T>(), to = result.data<T>()](std::int64_t first, std::int64_t rows) {
      if constexpr (kLog) table.log_softmax(from + first * count, rows, count, beyond_cache, to + first * count);
      else table.softmax(from + first * count, rows, count, nullptr, beyond_cache, to + first * count);
      if (beyond_cache) table.flush();
    });
  });
}

// Matrices (rows, columns) that follow each other, in strips of columns: calls f(where a strip begins, how many columns it has) on the threads of the pool.
template <class F>
void for_strips(std::int64_t matrices, std::int64_t rows, std::int64_t columns, F f) {
  using kernels::kFewestColumns, kernels::kSoftmaxColumns;
  const std::int64_t strips = (columns + kSoftmaxColumns - kFewestColumns) / kSoftmaxColumns;
  for_rows(matrices * strips, rows * std::min(columns, kSoftmaxColumns), [&](std::int64_t task) {
    const std::int64_t strip = task % strips, first = strip * kSoftmaxColumns;
    f(task / strips * rows * columns + first, strip + 1 < strips ? kSoftmaxColumns : columns - first);
  });
}

template <bool kLog>
void softmax_of_columns(const Tensor& x, std::int64_t rows, std::int64_t columns, const Tensor& result) {
  with_type(x.scalar_type(), [&]<class T>() {
    const auto kernel = kLog ? softmax_table<T>().log_softmax_of_columns : softmax_table<T>().softmax_of_columns;
    for_strips(x.numel() / (rows * columns), rows, columns,
               [&, from = x.data<T>(), to = result.data<T>()](std::int64_t at, std::int64_t width) { kernel(from + at, columns, rows, width, to + at); });
  });
}

// How many columns the matrices have along whose columns a softmax goes, 1 where it goes along rows; 0 if there is no kernel for them.
std::int64_t softmax_columns(const Tensor& self, std::int64_t dim) {
  if (!is_float_or_double(self) || self.dim() == 0 || self.numel() == 0) return 0;
  std::int64_t columns = 1;
  for (std::int64_t d = dim + 1; d < self.dim(); ++d) columns *= self.size(d);
  return columns == 1 || columns >= kernels::kFewestColumns ? columns : 0;
}

template <bool kLog>
Tensor softmax_tuned(const Tensor& self, std::int64_t dim) {
  const std::int64_t columns = softmax_columns(self, dim);
  if (columns == 0) return (kLog ? op::log_softmax : op::softmax).function(Layer::CPU)(self, dim);
  const Tensor x = self.contiguous(), result = empty(self.sizes(), self.scalar_type());
  if (columns == 1) softmax_of_rows<kLog>(x, x.size(dim), result);
  else softmax_of_columns<kLog>(x, x.size(dim), columns, result);
  return result;
}

// Without a kernel: module 05's formulas.
Tensor softmax_backward_composed(const Tensor& grad, const Tensor& result, std::int64_t dim) {
  const Tensor weighted = grad * result;
  return weighted - result * weighted.sum(dim, true);
}
Tensor log_softmax_backward_composed(const Tensor& grad, const Tensor& result, std::int64_t dim) { return grad - exp(result) * grad.sum(dim, true); }

// These operators are called where nothing is recorded only.
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> softmax_backward_op("softmax_backward", {.cpu = softmax_backward_composed});
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> log_softmax_backward_op("log_softmax_backward", {.cpu = log_softmax_backward_composed});

template <bool kLog>
Tensor softmax_backward_tuned(const Tensor& grad, const Tensor& result, std::int64_t dim) {
  const std::int64_t columns = grad.scalar_type() == result.scalar_type() ? softmax_columns(result, dim) : 0;
  if (columns == 0) return (kLog ? log_softmax_backward_op : softmax_backward_op).function(Layer::CPU)(grad, result, dim);
  const Tensor g = grad.contiguous(), y = result.contiguous(), input_grad = empty(y.sizes(), y.scalar_type());
  const std::int64_t count = y.size(dim);
  with_type(y.scalar_type(), [&]<class T>() {
    if (columns > 1) {
      const auto kernel = kLog ? softmax_table<T>().log_softmax_backward_of_columns : softmax_table<T>().softmax_backward_of_columns;
      for_strips(y.numel() / (count * columns), count, columns,
                 [&, from = g.data<T>(), of = y.data<T>(), to = input_grad.data<T>()](std::int64_t at, std::int64_t width) { kernel(from + at, of + at, columns, count, width, to + at); });
      return;
    }
    const auto kernel = kLog ? softmax_table<T>().log_softmax_backward : softmax_table<T>().softmax_backward;
    for_rows(y.numel() / count, count,
             [&, from = g.data<T>(), of = y.data<T>(), to = input_grad.data<T>()](std::int64_t row) { kernel(from + row * count, of + row * count, count, to + row * count); });
  });
  return input_grad;
}

// ---- Cross-entropy of self (N, C) with target (N).

// Whether all targets are classes or ignored; the reference says which are not.
bool are_classes(const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  const std::int64_t* const t = target.data<std::int64_t>();
  return std::all_of(t, t + target.numel(), [=](std::int64_t c) { return c == ignore_index || (c >= 0 && c < classes); });
}

Tensor cross_entropy_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const Tensor labels = target.contiguous();
  if (!has_rows(self, 1) || !are_classes(labels, self.size(1), ignore_index)) return op::cross_entropy.function(Layer::CPU)(self, target, weight, reduction, ignore_index);
  const Tensor x = self.contiguous();
  const Tensor factors = weight && weight->defined() ? weight->contiguous() : Tensor();
  const std::int64_t N = x.size(0), C = x.size(1);
  Tensor result;
  with_type(self.scalar_type(), [&]<class T>() {
    const T* const factor = factors.defined() ? factors.data<T>() : nullptr;
    const std::int64_t* const t = labels.data<std::int64_t>();
    const auto weight_of = [&](std::int64_t n) { return factor == nullptr ? 1.0 : static_cast<double>(factor[t[n]]); };
    std::vector<double> losses(static_cast<std::size_t>(N)), log_sums(static_cast<std::size_t>(N));
    for_some_rows(N, C, [&, from = x.data<T>()](std::int64_t first, std::int64_t rows) {
      double* const loss = losses.data();
      softmax_table<T>().sums(from + first * C, rows, C, loss + first, log_sums.data() + first);
      for (std::int64_t n = first; n < first + rows; ++n) loss[n] = t[n] == ignore_index ? 0 : weight_of(n) * (loss[n] - static_cast<double>(from[n * C + t[n]]) + log_sums[static_cast<std::size_t>(n)]);
    });
    if (reduction == Reduction::None) {
      result = empty({N}, self.scalar_type());
      std::transform(losses.begin(), losses.end(), result.data<T>(), [](double loss) { return static_cast<T>(loss); });
      return;
    }
    double total = 0, total_weight = 0;
    for (std::int64_t n = 0; n < N; ++n) {
      total += losses[static_cast<std::size_t>(n)];
      if (t[n] != ignore_index) total_weight += weight_of(n);
    }
    result = full({}, reduction == Reduction::Mean ? total / total_weight : total, self.scalar_type());
  });
  return result;
}

// (softmax(self) - one at each sample's class) * coefficient, for coefficient (N) and classes (N).
Tensor cross_entropy_backward_composed(const Tensor& coefficient, const Tensor& self, const Tensor& classes) {
  const Tensor at_classes = scatter_add(zeros(self.sizes(), self.options()), 1, classes.unsqueeze(1), -coefficient.unsqueeze(1));
  return softmax(self, 1) * coefficient.unsqueeze(1) + at_classes;
}
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> cross_entropy_backward_op("cross_entropy_backward", {.cpu = cross_entropy_backward_composed});

Tensor cross_entropy_backward_tuned(const Tensor& coefficient, const Tensor& self, const Tensor& classes) {
  if (!has_rows(self, 1) || coefficient.scalar_type() != self.scalar_type()) return cross_entropy_backward_op.function(Layer::CPU)(coefficient, self, classes);
  const Tensor x = self.contiguous(), c = coefficient.contiguous(), labels = classes.contiguous(), input_grad = empty(x.sizes(), x.scalar_type());
  with_type(x.scalar_type(), [&]<class T>() {
    const std::int64_t C = x.size(1);
    for_some_rows(x.size(0), C, [&, from = x.data<T>(), factor = c.data<T>(), t = labels.data<std::int64_t>(), to = input_grad.data<T>()](std::int64_t first, std::int64_t rows) {
      softmax_table<T>().softmax(from + first * C, rows, C, factor + first, false, to + first * C);
      for (std::int64_t n = first; n < first + rows; ++n) to[n * C + t[n]] -= factor[n];  // of one that is ignored the factor is 0
    });
  });
  return input_grad;
}

Tensor cross_entropy_gradient(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const Tensor coefficient = gradient_per_sample(g, self, target, weight, reduction, ignore_index);
  const Tensor classes = where(target.eq(ignore_index), zeros({}, kLong), target);
  return is_recording() ? cross_entropy_backward_composed(coefficient, self, classes) : cross_entropy_backward_op(coefficient, self, classes);
}
}  // namespace

void register_tuned_softmax() {
  op::softmax.set(Layer::TunedCPU, softmax_tuned<false>);
  op::log_softmax.set(Layer::TunedCPU, softmax_tuned<true>);
  op::cross_entropy.set(Layer::TunedCPU, cross_entropy_tuned);
  softmax_backward_op.set(Layer::TunedCPU, softmax_backward_tuned<false>);
  log_softmax_backward_op.set(Layer::TunedCPU, softmax_backward_tuned<true>);
  cross_entropy_backward_op.set(Layer::TunedCPU, cross_entropy_backward_tuned);
  kernels::fused_gradient<op::softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) {
    return is_recording() ? softmax_backward_composed(g, result, dim) : softmax_backward_op(g, result, dim);
  });
  kernels::fused_gradient<op::log_softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) {
    return is_recording() ? log_softmax_backward_composed(g, result, dim) : log_softmax_backward_op(g, result, dim);
  });
  kernels::fused_gradient<op::cross_entropy>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction, Arg<4, std::int64_t> ignore_index) {
    return cross_entropy_gradient(g, self, target, weight, reduction, ignore_index);
  });
}

}  // namespace tinytorch
