// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <tuple>

#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/recurrent_kernels.h"
#include "tinytorch/nn/recurrent.h"

namespace tinytorch {

namespace {
// Calls f(the table of T, T{}) for numbers of this type. REQUIRES: float or double.
template <class F>
void with_lstm_table(ScalarType type, F f) {
  using namespace kernels;
  static constexpr const RecurrentKernels* tables[] = TINYTORCH_PER_CAPABILITY(recurrent_kernels);
  const RecurrentKernels& chosen = for_capability(tables);
  if (type == kFloat) f(chosen.in_float, float{});
  else f(chosen.in_double, double{});
}

bool are_of(ScalarType type, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors)
    if (tensor->scalar_type() != type) return false;
  return type == kFloat || type == kDouble;
}

// Calls f(first row, rows) on the threads of the pool, for cells of these sizes: tasks of some 8,000 units.
template <class F>
void for_rows_of_cells(const Tensor& cell, F f) {
  const std::int64_t H = cell.size(-1);
  parallel_for(0, cell.numel() / H, std::max<std::int64_t>(1, (1 << 13) / H), [&](std::int64_t first, std::int64_t stop) { f(first, stop - first); });
}

std::tuple<Tensor, Tensor, Tensor> fused_lstm_cell_tuned(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx) {
  const ScalarType type = cx.scalar_type();
  if (cx.numel() == 0 || !are_of(type, {&input_gates, &hidden_gates, &cx})) return op::_thnn_fused_lstm_cell.function(Layer::CPU)(input_gates, hidden_gates, cx);
  const Tensor a = input_gates.contiguous(), b = hidden_gates.contiguous(), before = cx.contiguous();
  const Tensor hy = empty(cx.sizes(), type), cy = empty(cx.sizes(), type), workspace = empty(a.sizes(), type);
  with_lstm_table(type, [&]<class T>(const kernels::LSTMTable<T>& table, T) {
    for_rows_of_cells(cx, [&, H = cx.size(-1)](std::int64_t first, std::int64_t rows) {
      const std::int64_t cells = first * H, gates = 4 * cells;
      table.step(a.data<T>() + gates, b.data<T>() + gates, before.data<T>() + cells, rows, H, hy.data<T>() + cells, cy.data<T>() + cells, workspace.data<T>() + gates);
    });
  });
  return {hy, cy, workspace};
}

std::tuple<Tensor, Tensor> fused_lstm_cell_backward_tuned(const std::optional<Tensor>& grad_hy, const std::optional<Tensor>& grad_cy, const Tensor& cx, const Tensor& cy, const Tensor& workspace) {
  const ScalarType type = cx.scalar_type();
  const bool ours = cx.numel() > 0 && are_of(type, {&cy, &workspace, grad_hy ? &*grad_hy : &cx, grad_cy ? &*grad_cy : &cx});
  if (!ours) return op::_thnn_fused_lstm_cell_backward.function(Layer::CPU)(grad_hy, grad_cy, cx, cy, workspace);
  const Tensor dh = grad_hy ? grad_hy->contiguous() : Tensor(), dc = grad_cy ? grad_cy->contiguous() : Tensor();
  const Tensor before = cx.contiguous(), after = cy.contiguous(), saved = workspace.contiguous();
  const Tensor of_gates = empty(saved.sizes(), type), of_cell = empty(cx.sizes(), type);
  with_lstm_table(type, [&]<class T>(const kernels::LSTMTable<T>& table, T) {
    for_rows_of_cells(cx, [&, H = cx.size(-1)](std::int64_t first, std::int64_t rows) {
      const std::int64_t cells = first * H, gates = 4 * cells;
      const auto from = [&](const Tensor& grad) { return grad.defined() ? grad.data<T>() + cells : nullptr; };
      table.gradient(from(dh), from(dc), before.data<T>() + cells, after.data<T>() + cells, saved.data<T>() + gates, rows, H, of_gates.data<T>() + gates, of_cell.data<T>() + cells);
    });
  });
  return {of_gates, of_cell};
}
}  // namespace

void register_tuned_recurrent() {
  op::_thnn_fused_lstm_cell.set(Layer::TunedCPU, fused_lstm_cell_tuned);
  op::_thnn_fused_lstm_cell_backward.set(Layer::TunedCPU, fused_lstm_cell_backward_tuned);
}

}  // namespace tinytorch
