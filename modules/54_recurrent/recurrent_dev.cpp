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
// # Library chapter 54: Recurrent networks
//
// Before attention, a sequence was read word by word: a network with a *state* takes the next input and its own last state, and gives a new state. The same weights serve every step, so a sequence may have any length; and because step t needs the state of step t - 1,
// nothing can be computed in parallel along the sequence. That last property, not the quality of the models, is why attention replaced them.
//
//     h_0 ──> cell ──> h_1 ──> cell ──> h_2 ──> cell ──> h_3            time: T cells, one after the other
//              ▲                ▲                ▲                      memory: O(1) in inference; in training
//             x_1              x_2              x_3                     what every step saved, O(T)
//
// This chapter has libtorch's `RNN`, `LSTM` and `GRU`, in several layers, in both directions, with dropout between layers and (LSTM) projections, and their cells. Names, layouts and initial weights are PyTorch's: a state_dict of one fits the other. Sequences of unequal lengths are packed.
//
// The products with the inputs do not depend on the state. So a layer makes them for all T steps in one product, and only the product with the state is left in the loop.

// %%
//| after 08
//| export nn/recurrent.h
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/packed_sequence.h"
//| export nn/packed_sequence.h
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>
#include "tinytorch/core/tensor.h"
//| export nn/packed_sequence.cpp
#include <algorithm>
#include <utility>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
//| export nn/recurrent.cpp
#include <algorithm>
#include <cmath>
#include <ostream>
#include <utility>
#include "tinytorch/core/custom_function.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/init.h"
#include "tinytorch/nn/linear.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/optim/adam.h"

// %%
namespace tinytorch {

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

// What a module prints.
template <class M>
std::string printed(const M& module) {
  std::ostringstream text;
  text << module;
  return text.str();
}

// %% [markdown]
// ## One step
//
// All three cells compute *gates* from input and state, each a linear layer; their weights lie in one matrix, one gate below the other.
//
//     RNN    h' = tanh(W x + b + U h + c)                                    or relu
//
//     LSTM   i, f, o = sigmoid(...)   g = tanh(...)                          gates in the order i f g o
//            c' = f c + i g           what is kept, and what is written      c is the long memory: a sum,
//            h' = o tanh(c')          what is shown                          through which gradients pass unscaled where f is 1
//
//     GRU    r, z = sigmoid(...)      n = tanh(W x + b + r (U h + c))        gates in the order r z n
//            h' = (1 - z) n + z h     one gate decides both keeping and writing
//
// In a plain RNN the gradient of step 1 passes through T products with U and T slopes of tanh: it dies or explodes. The LSTM's cell state is the first residual connection.

// %%
//| export nn/recurrent.h
// One step: input (B, I) or (I), state hx (B, H) or (H) -> the next state, for weights (gates * H, I) and (gates * H, H) and biases (gates * H), or undefined ones for none. O(B gates H (I + H)). Throws on sizes that do not
// fit. Source: aten/src/ATen/native/RNN.cpp.
Tensor rnn_tanh_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih = {}, const Tensor& b_hh = {});
Tensor rnn_relu_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih = {}, const Tensor& b_hh = {});
// Gates r, z, n.
Tensor gru_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih = {}, const Tensor& b_hh = {});
// Gates i, f, g, o; hx is {h, c}, and so is the result.
std::tuple<Tensor, Tensor> lstm_cell(const Tensor& input, TensorList hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih = {}, const Tensor& b_hh = {});

// Whole layers: input (T, B, I), or (B, T, I) with batch_first, from the first states hx (layers * directions, B, H) -> outputs and last states. `params` lists w_ih, w_hh, with has_biases b_ih and b_hh, and where an LSTM
// projects (its h is smaller than its c) w_hr, of each direction of each layer. Between the layers dropout when `train`. Throws on sizes that do not fit.
std::tuple<Tensor, Tensor> rnn_tanh(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first);
std::tuple<Tensor, Tensor> rnn_relu(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first);
std::tuple<Tensor, Tensor> gru(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first);
std::tuple<Tensor, Tensor, Tensor> lstm(const Tensor& input, TensorList hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first);

// %%
//| export nn/recurrent.cpp
namespace {

// The steps from W x + b (given as `gates`) and the state.
Tensor rnn_tanh_step(const Tensor& gates, const Tensor& h, const Tensor& w_hh, const Tensor& b_hh) { return tanh(gates + linear(h, w_hh, b_hh)); }
Tensor rnn_relu_step(const Tensor& gates, const Tensor& h, const Tensor& w_hh, const Tensor& b_hh) { return relu(gates + linear(h, w_hh, b_hh)); }

Tensor gru_step(const Tensor& gates, const Tensor& h, const Tensor& w_hh, const Tensor& b_hh) {
  const std::vector<Tensor> x = gates.chunk(3, -1);
  const std::vector<Tensor> u = linear(h, w_hh, b_hh).chunk(3, -1);
  const Tensor reset = sigmoid(x[0] + u[0]);
  const Tensor keep = sigmoid(x[1] + u[1]);
  const Tensor fresh = tanh(x[2] + reset * u[2]);
  return fresh + keep * (h - fresh);
}

}  // namespace

// %% [markdown]
// ## What an LSTM does behind its products
//
// Composed, what a step does behind its two products is ten operators: the sum of the gates, four activations of a quarter of them each, two products and a sum for c', tanh, and a product. For each unit they read 21 numbers and write 13, most of which only the next operator wants, and each of the ten looks at dtypes,
// asks for memory and, in training, makes a node. In a step of 16 sequences and 128 units that takes nearly as long as the product.
//
//     input gates  (B, 4 H)   i | f | g | o ─┐
//     hidden gates (B, 4 H)   i | f | g | o ─┴─ + ──> i f g o after sigmoid and tanh ──> the workspace (B, 4 H), saved
//     c            (B, H)    ────────────────────────> c' = f c + i g                ──> c' (B, H), saved
//                                                      h' = o tanh(c')               ──> h' (B, H)
//
// As one operator it can be one walk: 9 numbers are read and 6 written, all others stay in registers. PyTorch's is `_thnn_fused_lstm_cell`, and so is ours. Here is its definition, made of operators; chapter 89 has the walk.
//
// The gradient is one walk, too. With dh and dc for what arrives at the results, it needs the activated gates, since the slopes of sigmoid and tanh follow from their results, and both cells:
//
//     at c'        dc + dh o (1 - tanh(c')^2)                         c' goes on to the next step, and through tanh to h'
//     at the gates di = dc' g    df = dc' c    dg = dc' i    do = dh tanh(c')
//     at the sums  di i (1 - i)   df f (1 - f)   dg (1 - g^2)   do o (1 - o)         this is the gradient of both products
//     at c         dc' f
//
// So the workspace is saved instead of the sums, and tanh(c'), one number of six, is computed again. A recorded backward pass, whose own gradient may be asked for, takes the formulas as operators. What they read of the workspace depends on the sums; so the workspace counts as a result with a gradient of its own, dw, which is added to di, df, dg and do.

// %%
//| export nn/recurrent.h
// What an LSTM's step does behind its products: of the gates i, f, g, o, which are input_gates + hidden_gates (..., 4 H), and cx (..., H) -> the next h and c (..., H) and the workspace, the gates behind sigmoid and tanh (..., 4 H). O(numel). Throws on sizes that do not fit.
// PyTorch's takes biases besides; here the products bring them. Source: aten/src/ATen/native/cuda/RNN.cu.
std::tuple<Tensor, Tensor, Tensor> _thnn_fused_lstm_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx);

namespace op {
extern Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&)> _thnn_fused_lstm_cell;
// Its gradient: of h and c (at least one of them), from cx, c and the workspace, -> of the gates, which is that of both operands, and of cx.
extern Operator<std::tuple<Tensor, Tensor>(const std::optional<Tensor>&, const std::optional<Tensor>&, const Tensor&, const Tensor&, const Tensor&)> _thnn_fused_lstm_cell_backward;
}  // namespace op

// %%
//| export nn/recurrent.cpp
namespace {

std::tuple<Tensor, Tensor, Tensor> fused_lstm_cell_cpu(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx) {
  const std::vector<Tensor> parts = (input_gates + hidden_gates).chunk(4, -1);
  const Tensor i = sigmoid(parts[0]), f = sigmoid(parts[1]), g = tanh(parts[2]), o = sigmoid(parts[3]);
  const Tensor cell = f * cx + i * g;
  return {o * tanh(cell), cell, cat({i, f, g, o}, -1)};
}

// dh, dc and dw are what arrives at h, c and the workspace; at least one is given.
std::tuple<Tensor, Tensor> lstm_cell_gradients(const std::optional<Tensor>& dh, const std::optional<Tensor>& dc, const std::optional<Tensor>& dw, const Tensor& cx, const Tensor& cy, const Tensor& workspace) {
  const std::vector<Tensor> gates = workspace.chunk(4, -1);
  const Tensor &i = gates[0], &f = gates[1], &g = gates[2], &o = gates[3], shown = tanh(cy), none = zeros_like(cy);
  Tensor at_cell = dc.value_or(none);
  if (dh) at_cell = at_cell + *dh * o * (1 - shown * shown);
  Tensor at_gates = cat({at_cell * g, at_cell * cx, at_cell * i, dh ? *dh * shown : none}, -1);
  if (dw) at_gates = at_gates + *dw;
  const Tensor slopes = cat({i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)}, -1);
  return {at_gates * slopes, at_cell * f};
}

std::tuple<Tensor, Tensor> fused_lstm_cell_backward_cpu(const std::optional<Tensor>& grad_hy, const std::optional<Tensor>& grad_cy, const Tensor& cx, const Tensor& cy, const Tensor& workspace) {
  return lstm_cell_gradients(grad_hy, grad_cy, std::nullopt, cx, cy, workspace);
}

// Three results with gradients need a node of their own.
class FusedLstmCellNode : public Node {
 public:
  std::string name() const override { return detail::node_name(op::_thnn_fused_lstm_cell.name()); }

  variable_list apply(variable_list&& grads) override {
    const auto given = [&](std::size_t result) { return grads[result].defined() ? std::optional(grads[result]) : std::nullopt; };
    const std::optional<Tensor> dh = given(0), dc = given(1), dw = given(2);
    if (!dh && !dc && !dw) return variable_list(3);
    const Tensor before = cx.unpack(*this), after = cy.unpack(*this), gates = workspace.unpack(*this);
    const auto [of_gates, of_cell] = is_recording() || dw ? lstm_cell_gradients(dh, dc, dw, before, after, gates) : op::_thnn_fused_lstm_cell_backward(dh, dc, before, after, gates);
    variable_list result{of_gates, of_gates, of_cell};
    for (std::size_t i = 0; i < 3; ++i)
      if (!next_edge(i).is_valid()) result[i] = Tensor();
    return result;
  }
  void release_variables() override {
    for (SavedVariable* saved : {&cx, &cy, &workspace}) saved->reset();
  }

  SavedVariable cx, cy, workspace;
};

std::tuple<Tensor, Tensor, Tensor> fused_lstm_cell_autograd(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx) {
  const auto below = [&] {
    const ExcludeLayersGuard guard(Layer::Autograd);
    return op::_thnn_fused_lstm_cell(input_gates, hidden_gates, cx);
  };
  if (!is_recording() || !(detail::needs_grad(input_gates) || detail::needs_grad(hidden_gates) || detail::needs_grad(cx))) return below();
  const auto node = make_node<FusedLstmCellNode>();
  for (const Tensor* input : {&input_gates, &hidden_gates, &cx}) detail::append_edges(*node, *input);
  node->cx = SavedVariable(cx, false);
  auto results = below();
  std::apply([&](const auto&... result) { (set_history(result, node), ...); }, results);
  // Saved with their history, which says the how many-th results they are.
  node->cy = SavedVariable(std::get<1>(results), true);
  node->workspace = SavedVariable(std::get<2>(results), true);
  return results;
}

}  // namespace

constinit Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&)> op::_thnn_fused_lstm_cell("_thnn_fused_lstm_cell",
                                                                                                                            {.cpu = fused_lstm_cell_cpu, .autograd = fused_lstm_cell_autograd});
constinit Operator<std::tuple<Tensor, Tensor>(const std::optional<Tensor>&, const std::optional<Tensor>&, const Tensor&, const Tensor&, const Tensor&)> op::_thnn_fused_lstm_cell_backward(
    "_thnn_fused_lstm_cell_backward", {.cpu = fused_lstm_cell_backward_cpu});

std::tuple<Tensor, Tensor, Tensor> _thnn_fused_lstm_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx) {
  TORCH_CHECK(cx.dim() > 0 && input_gates.sizes() == hidden_gates.sizes(), "_thnn_fused_lstm_cell expects gates of one size, and a cell, but got ", input_gates.sizes(), ", ", hidden_gates.sizes(), " and ", cx.sizes());
  DimVector sizes(cx.sizes());
  sizes.back() *= 4;
  TORCH_CHECK(input_gates.sizes() == IntArrayRef(sizes), "_thnn_fused_lstm_cell expects four gates for each number of the cell, but got ", input_gates.sizes(), " for ", cx.sizes(),
              "\n[_thnn_fused_lstm_cell] gates (..., 4 H) in the order i, f, g, o, and cx (..., H).");
  return op::_thnn_fused_lstm_cell(input_gates, hidden_gates, cx);
}

// %%
//| lesson
// The same, made of operators that each record a node of their own.
std::tuple<Tensor, Tensor> composed_lstm_cell(const Tensor& gates, const Tensor& c) {
  const std::vector<Tensor> parts = gates.chunk(4, -1);
  const Tensor cell = sigmoid(parts[1]) * c + sigmoid(parts[0]) * tanh(parts[2]);
  return {sigmoid(parts[3]) * tanh(cell), cell};
}

// %%
TEST_CASE("fused step: values and gradients of first and second order, as the composed step's") {
  const DoubleScope scope;
  manual_seed(20);
  for (const DimVector& sizes : {DimVector{5}, DimVector{3, 2}, DimVector{4, 37}, DimVector{2, 3, 7}}) {
    CAPTURE(sizes);
    DimVector four(sizes);
    four.back() *= 4;
    const Tensor a = randn(four), b = randn(four), c = randn(sizes), weight_h = randn(sizes), weight_c = randn(sizes), direction = randn(four);
    // Which of both results the loss sees.
    for (const auto& [with_h, with_c] : {std::pair{true, true}, std::pair{true, false}, std::pair{false, true}}) {
      const auto results = [&, h_counts = with_h, c_counts = with_c](bool fused) {
        const Tensor x = a.clone().requires_grad_(), y = b.clone().requires_grad_(), cell = c.clone().requires_grad_();
        const auto [h, next] = fused ? [&] {
          const auto [hy, cy, workspace] = _thnn_fused_lstm_cell(x, y, cell);
          return std::tuple(hy, cy);
        }() : composed_lstm_cell(x + y, cell);
        Tensor loss = zeros({});
        if (h_counts) loss = loss + (h * weight_h).sum();
        if (c_counts) loss = loss + (next * next * weight_c).sum();
        // Not recorded, and recorded.
        std::vector<Tensor> all{h.detach(), next.detach()};
        for (const Tensor& gradient : autograd::grad({loss}, {x, y, cell}, {}, true)) all.push_back(gradient);
        const std::vector<Tensor> first = autograd::grad({loss}, {x, y, cell}, {}, std::nullopt, true);
        for (const Tensor& gradient : first) all.push_back(gradient.detach());
        for (const Tensor& gradient : autograd::grad({(first[0] * direction).sum() + (first[2] * first[2]).sum()}, {x, y, cell})) all.push_back(gradient);
        return all;
      };
      const std::vector<Tensor> fused = results(true), composed = results(false);
      for (std::size_t i = 0; i < fused.size(); ++i) {
        CAPTURE(i);
        CHECK_CLOSE(fused[i], composed[i], 1e-11, 1e-12);
      }
    }
  }
}

TEST_CASE("fused step: its gradient by finite differences, of the workspace too") {
  const DoubleScope scope;
  manual_seed(21);
  const Tensor a = randn({2, 12}), b = randn({2, 12}), c = randn({2, 3}), weight_h = randn({2, 3}), weight_c = randn({2, 3}), weight_w = randn({2, 12});
  for (const bool with_workspace : {false, true}) {
    const auto loss = [&](const Tensor& x, const Tensor& y, const Tensor& cell) {
      const auto [h, next, workspace] = _thnn_fused_lstm_cell(x, y, cell);
      const Tensor sum = (h * weight_h).sum() + (next * weight_c).sum();
      return with_workspace ? sum + (workspace * weight_w).sum() : sum;
    };
    const Tensor x = a.clone().requires_grad_(), y = b.clone().requires_grad_(), cell = c.clone().requires_grad_();
    const std::vector<Tensor> gradients = autograd::grad({loss(x, y, cell)}, {x, y, cell});
    const std::vector<Tensor> points{a, b, c};
    const double step = 1e-6;
    for (std::size_t k = 0; k < points.size(); ++k)
      for (std::int64_t i = 0; i < points[k].numel(); ++i) {
        const auto moved = [&](double by) {
          std::vector<Tensor> at{a, b, c};
          at[k] = at[k].clone();
          at[k].view(-1)[i] += by;
          return loss(at[0], at[1], at[2]).item<double>();
        };
        CHECK(gradients[k].view(-1)[i].item<double>() == doctest::Approx((moved(step) - moved(-step)) / (2 * step)).epsilon(1e-6));
      }
  }
}

TEST_CASE("fused step: gates far out saturate, NaN stays, sizes that do not fit are named") {
  const Tensor far = tensor({{100.0F, -100.0F, 100.0F, 100.0F}, {-100.0F, 100.0F, 3.0F, 100.0F}});  // write 1 and forget; keep and write nothing
  const auto [h, c, workspace] = _thnn_fused_lstm_cell(far, zeros({2, 4}), tensor({{0.3F}, {0.7F}}));
  CHECK_CLOSE(c, tensor({{1.0F}, {0.7F}}), 1e-6, 1e-6);
  CHECK_CLOSE(h, tanh(c), 1e-6, 1e-6);
  CHECK_CLOSE(workspace, tensor({{1.0F, 0.0F, 1.0F, 1.0F}, {0.0F, 1.0F, std::tanh(3.0F), 1.0F}}), 1e-6, 1e-6);
  const Tensor nan = full({1, 4}, std::nanf(""));
  CHECK_EQ(isnan(std::get<0>(_thnn_fused_lstm_cell(nan, zeros({1, 4}), zeros({1, 1})))), ones({1, 1}, kBool));
  CHECK_ERROR(_thnn_fused_lstm_cell(ones({2, 8}), ones({2, 4}), ones({2, 2})), "_thnn_fused_lstm_cell expects gates of one size");
  CHECK_ERROR(_thnn_fused_lstm_cell(ones({2, 6}), ones({2, 6}), ones({2, 2})), "_thnn_fused_lstm_cell expects four gates for each number of the cell, but got [2, 6] for [2, 2]");
}

// %% [markdown]
// ## Cells as functions

// %%
//| export nn/recurrent.cpp
namespace {

std::tuple<Tensor, Tensor> lstm_step(const Tensor& gates, const Tensor& h, const Tensor& c, const Tensor& w_hh, const Tensor& b_hh) {
  auto [shown, cell, workspace] = _thnn_fused_lstm_cell(gates, linear(h, w_hh, b_hh), c);
  return {std::move(shown), std::move(cell)};
}

// Throws unless one step of `gates` gates can be made.
void check_step(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh, std::int64_t gates) {
  const std::int64_t hidden = w_hh.size(1);
  TORCH_CHECK(input.size(-1) == w_ih.size(1), "input has inconsistent input_size: got ", input.size(-1), " expected ", w_ih.size(1));
  const auto check_rows = [&](const char* name, const Tensor& weight) {
    TORCH_CHECK(weight.size(0) == gates * hidden, name, " first dim must be ", gates, " * hidden_size = ", gates * hidden, ", but got ", weight.size(0));
  };
  check_rows("weight_ih", w_ih);
  check_rows("weight_hh", w_hh);
  TORCH_CHECK(hx.size(-1) == hidden, "hidden0 has inconsistent hidden_size: got ", hx.size(-1), ", expected ", hidden);
  TORCH_CHECK(input.dim() == hx.dim() && (input.dim() == 1 || input.size(0) == hx.size(0)), "Input batch size ", input.dim() == 1 ? 1 : input.size(0), " doesn't match hidden0 batch size ",
              hx.dim() == 1 ? 1 : hx.size(0), "\n[rnn_cell] input ", input.sizes(), " and state ", hx.sizes(), " must both have a batch, or neither.");
}

}  // namespace

Tensor rnn_tanh_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh) {
  check_step(input, hx, w_ih, w_hh, 1);
  return rnn_tanh_step(linear(input, w_ih, b_ih), hx, w_hh, b_hh);
}

Tensor rnn_relu_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh) {
  check_step(input, hx, w_ih, w_hh, 1);
  return rnn_relu_step(linear(input, w_ih, b_ih), hx, w_hh, b_hh);
}

Tensor gru_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh) {
  check_step(input, hx, w_ih, w_hh, 3);
  return gru_step(linear(input, w_ih, b_ih), hx, w_hh, b_hh);
}

std::tuple<Tensor, Tensor> lstm_cell(const Tensor& input, TensorList hx, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh) {
  TORCH_CHECK(hx.size() == 2, "lstm_cell expects two hidden states");
  check_step(input, hx[0], w_ih, w_hh, 4);
  TORCH_CHECK(hx[1].sizes() == hx[0].sizes(), "lstm_cell expects two hidden states of one size, but got ", hx[0].sizes(), " and ", hx[1].sizes());
  return lstm_step(linear(input, w_ih, b_ih), hx[0], hx[1], w_hh, b_hh);
}

// %%
TEST_CASE("cells: one step by hand") {
  const DoubleScope scope;
  const Tensor x = tensor({1.0}), h = tensor({0.5});
  const Tensor one = ones({1, 1}), two = full({1, 1}, 2.0);
  CHECK_CLOSE(rnn_tanh_cell(x, h, one, two), tensor({std::tanh(2.0)}));
  CHECK_CLOSE(rnn_relu_cell(-x, h, one, one), tensor({0.0}));
  // A gate is 1 / (1 + exp(-100)) = 1 or 0 by its bias: keep the cell, write nothing, show it.
  const Tensor w = zeros({4, 1});
  const auto [shown, cell] = lstm_cell(x, {h, tensor({0.3})}, w, w, tensor({-100.0, 100.0, 0.0, 100.0}), zeros({4}));
  CHECK_CLOSE(cell, tensor({0.3}));
  CHECK_CLOSE(shown, tensor({std::tanh(0.3)}));
  const Tensor v = zeros({3, 1});
  CHECK_CLOSE(gru_cell(x, h, v, v, tensor({0.0, 100.0, 0.0}), zeros({3})), h);           // keeps the state
  CHECK_CLOSE(gru_cell(x, h, v, v, tensor({0.0, -100.0, 0.7}), zeros({3})), tensor({std::tanh(0.7)}));
  CHECK_ERROR(rnn_tanh_cell(ones({2}), h, one, one), "input has inconsistent input_size: got 2 expected 1");
  CHECK_ERROR(gru_cell(x, ones({2}), v, v), "hidden0 has inconsistent hidden_size: got 2, expected 1");
  CHECK_ERROR(rnn_tanh_cell(ones({3, 1}), ones({2, 1}), one, one), "Input batch size 3 doesn't match hidden0 batch size 2");
}

// %% [markdown]
// ## Cells as modules

// %%
//| export nn/recurrent.h
namespace nn {

struct RNNCellOptions {
  using nonlinearity_t = std::variant<enumtype::kTanh, enumtype::kReLU>;
  RNNCellOptions(std::int64_t input_size, std::int64_t hidden_size) : input_size_(input_size), hidden_size_(hidden_size) {}
  TORCH_ARG(std::int64_t, input_size);
  TORCH_ARG(std::int64_t, hidden_size);
  TORCH_ARG(bool, bias) = true;
  TORCH_ARG(nonlinearity_t, nonlinearity) = kTanh;
};

struct LSTMCellOptions {
  LSTMCellOptions(std::int64_t input_size, std::int64_t hidden_size) : input_size_(input_size), hidden_size_(hidden_size) {}
  TORCH_ARG(std::int64_t, input_size);
  TORCH_ARG(std::int64_t, hidden_size);
  TORCH_ARG(bool, bias) = true;
};

using GRUCellOptions = LSTMCellOptions;

namespace detail {

struct RNNCellOptionsBase {
  RNNCellOptionsBase(std::int64_t input_size, std::int64_t hidden_size, bool bias, std::int64_t num_chunks)
      : input_size_(input_size), hidden_size_(hidden_size), bias_(bias), num_chunks_(num_chunks) {}
  TORCH_ARG(std::int64_t, input_size);
  TORCH_ARG(std::int64_t, hidden_size);
  TORCH_ARG(bool, bias);
  TORCH_ARG(std::int64_t, num_chunks);
};

// Registers weight_ih (gates * H, I), weight_hh (gates * H, H) and, if `bias`, bias_ih and bias_hh in `module`, uniform on [-1/sqrt(H), 1/sqrt(H)]; {weight_ih, weight_hh, bias_ih, bias_hh}.
std::vector<Tensor> register_cell_weights(Module& module, const RNNCellOptionsBase& options);
// Throws unless a cell can take `input`, called `name`: one or two dimensions.
void check_cell_input(const Tensor& input, const char* name);
// "(10, 20)", with what differs from the defaults.
std::string cell_description(const RNNCellOptionsBase& options, const std::string& nonlinearity);

// What the three cells share. Source: torch/csrc/api/src/nn/modules/rnn.cpp.
template <class Derived>
class RNNCellImplBase : public Cloneable<Derived> {
 public:
  explicit RNNCellImplBase(const RNNCellOptionsBase& options) : options_base(options) { RNNCellImplBase::reset(); }
  void reset() override {
    const std::vector<Tensor> weights = register_cell_weights(*this, options_base);
    weight_ih = weights[0];
    weight_hh = weights[1];
    bias_ih = weights[2];
    bias_hh = weights[3];
  }

  RNNCellOptionsBase options_base;
  Tensor weight_ih, weight_hh, bias_ih, bias_hh;

 protected:
  // The state that was given, or zeros (B, H) or (H).
  Tensor state_or_zeros(const Tensor& input, const Tensor& hx) const {
    check_cell_input(input, "input");
    if (hx.defined()) return check_cell_input(hx, "hidden"), hx;
    DimVector sizes(input.sizes());
    sizes[sizes.size() - 1] = options_base.hidden_size();
    return zeros(sizes, input.scalar_type());
  }
};

}  // namespace detail

// One step of rnn_tanh_cell or rnn_relu_cell; without hx from a state of zeros.
class RNNCellImpl : public detail::RNNCellImplBase<RNNCellImpl> {
 public:
  RNNCellImpl(std::int64_t input_size, std::int64_t hidden_size);
  explicit RNNCellImpl(const RNNCellOptions& options_);
  Tensor forward(const Tensor& input, const Tensor& hx = {});
  void pretty_print(std::ostream& stream) const override;
  RNNCellOptions options;
};
TORCH_MODULE(RNNCell);

// One step of lstm_cell: (h, c); without hx from zeros.
class LSTMCellImpl : public detail::RNNCellImplBase<LSTMCellImpl> {
 public:
  LSTMCellImpl(std::int64_t input_size, std::int64_t hidden_size);
  explicit LSTMCellImpl(const LSTMCellOptions& options_);
  std::tuple<Tensor, Tensor> forward(const Tensor& input, std::optional<std::tuple<Tensor, Tensor>> hx_opt = {});
  void pretty_print(std::ostream& stream) const override;
  LSTMCellOptions options;
};
TORCH_MODULE(LSTMCell);

// One step of gru_cell; without hx from zeros.
class GRUCellImpl : public detail::RNNCellImplBase<GRUCellImpl> {
 public:
  GRUCellImpl(std::int64_t input_size, std::int64_t hidden_size);
  explicit GRUCellImpl(const GRUCellOptions& options_);
  Tensor forward(const Tensor& input, const Tensor& hx = {});
  void pretty_print(std::ostream& stream) const override;
  GRUCellOptions options;
};
TORCH_MODULE(GRUCell);

}  // namespace nn

// %%
//| export nn/recurrent.cpp
nn::RNNCellImpl::RNNCellImpl(std::int64_t input_size, std::int64_t hidden_size) : RNNCellImpl(RNNCellOptions(input_size, hidden_size)) {}
nn::RNNCellImpl::RNNCellImpl(const RNNCellOptions& options_) : RNNCellImplBase({options_.input_size(), options_.hidden_size(), options_.bias(), 1}), options(options_) {}
nn::LSTMCellImpl::LSTMCellImpl(std::int64_t input_size, std::int64_t hidden_size) : LSTMCellImpl(LSTMCellOptions(input_size, hidden_size)) {}
nn::LSTMCellImpl::LSTMCellImpl(const LSTMCellOptions& options_) : RNNCellImplBase({options_.input_size(), options_.hidden_size(), options_.bias(), 4}), options(options_) {}
nn::GRUCellImpl::GRUCellImpl(std::int64_t input_size, std::int64_t hidden_size) : GRUCellImpl(GRUCellOptions(input_size, hidden_size)) {}
nn::GRUCellImpl::GRUCellImpl(const GRUCellOptions& options_) : RNNCellImplBase({options_.input_size(), options_.hidden_size(), options_.bias(), 3}), options(options_) {}

namespace {
// Uniform on [-1/sqrt(hidden_size), 1/sqrt(hidden_size)], in order.
void reset_recurrent(const std::vector<Tensor>& weights, std::int64_t hidden_size) {
  const double bound = hidden_size > 0 ? 1 / std::sqrt(static_cast<double>(hidden_size)) : 0.0;
  for (const Tensor& weight : weights)
    if (weight.defined()) nn::init::uniform_(weight, -bound, bound);
}
}  // namespace

std::vector<Tensor> nn::detail::register_cell_weights(Module& module, const RNNCellOptionsBase& options) {
  const std::int64_t rows = options.num_chunks() * options.hidden_size();
  const auto bias = [&](const char* name) { return module.register_parameter(name, options.bias() ? empty({rows}) : Tensor(), options.bias()); };
  std::vector<Tensor> weights;
  weights.push_back(module.register_parameter("weight_ih", empty({rows, options.input_size()})));
  weights.push_back(module.register_parameter("weight_hh", empty({rows, options.hidden_size()})));
  weights.push_back(bias("bias_ih"));
  weights.push_back(bias("bias_hh"));
  reset_recurrent(weights, options.hidden_size());
  return weights;
}

void nn::detail::check_cell_input(const Tensor& input, const char* name) {
  TORCH_CHECK(input.dim() == 1 || input.dim() == 2, "Expected ", name, " to be 1D or 2D, got ", input.dim(), "D instead");
}

std::string nn::detail::cell_description(const RNNCellOptionsBase& options, const std::string& nonlinearity) {
  return str('(', options.input_size(), ", ", options.hidden_size(), options.bias() ? "" : ", bias=false", nonlinearity, ')');
}

Tensor nn::RNNCellImpl::forward(const Tensor& input, const Tensor& hx) {
  const Tensor state = state_or_zeros(input, hx);
  const bool relu_cell = std::holds_alternative<enumtype::kReLU>(options.nonlinearity());
  return (relu_cell ? rnn_relu_cell : rnn_tanh_cell)(input, state, weight_ih, weight_hh, bias_ih, bias_hh);
}

std::tuple<Tensor, Tensor> nn::LSTMCellImpl::forward(const Tensor& input, std::optional<std::tuple<Tensor, Tensor>> hx_opt) {
  const Tensor h = state_or_zeros(input, hx_opt ? std::get<0>(*hx_opt) : Tensor());
  const Tensor c = state_or_zeros(input, hx_opt ? std::get<1>(*hx_opt) : Tensor());
  return lstm_cell(input, {h, c}, weight_ih, weight_hh, bias_ih, bias_hh);
}

Tensor nn::GRUCellImpl::forward(const Tensor& input, const Tensor& hx) { return gru_cell(input, state_or_zeros(input, hx), weight_ih, weight_hh, bias_ih, bias_hh); }

void nn::RNNCellImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::RNNCell" << detail::cell_description(options_base, std::holds_alternative<enumtype::kReLU>(options.nonlinearity()) ? ", nonlinearity=kReLU" : "");
}
void nn::LSTMCellImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::LSTMCell" << detail::cell_description(options_base, ""); }
void nn::GRUCellImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::GRUCell" << detail::cell_description(options_base, ""); }

// %% [markdown]
// ## Sequences of unequal lengths
//
// A batch is a rectangle, sentences are not. Filling them up costs steps that mean nothing, and the last state of a short sentence would be the state behind its filling. A *packed* sequence holds only what is real: sorted by
// falling length, all first steps, then all second steps of those that have one, and so on. Step t then takes the first batch_sizes[t] rows of the state, and no row is ever computed for nothing.
//
//     filled up (T = 4, B = 3)        packed                                        batch_sizes
//     a: a1 a2 a3 a4                  data: a1 b1 c1 | a2 b2 c2 | a3 b3 | a4         3 3 2 1
//     b: b1 b2 b3 .
//     c: c1 c2 .  .                   the state shrinks: (a b c) (a b c) (a b) (a);  those that leave are the last states of their sequences
//
// From the end it is the other way round: the state begins with a alone and *grows*, b and c join with their first state.

// %%
//| export nn/packed_sequence.h
namespace nn::utils::rnn {

// Sequences of unequal lengths without their filling. data (sum of lengths, ...): the first steps of all sequences, longest first, then the second steps, ...; batch_sizes (T), Long: how many sequences have a step t.
// sorted_indices and unsorted_indices, Long (B), or undefined where the sequences came in falling length: the order of packing, and back. Source: torch/csrc/api/include/torch/nn/utils/rnn.h.
class PackedSequence {
 public:
  PackedSequence() = default;
  explicit PackedSequence(Tensor data, Tensor batch_sizes, Tensor sorted_indices = {}, Tensor unsorted_indices = {});
  const Tensor& data() const { return data_; }
  const Tensor& batch_sizes() const { return batch_sizes_; }
  const Tensor& sorted_indices() const { return sorted_indices_; }
  const Tensor& unsorted_indices() const { return unsorted_indices_; }

 private:
  Tensor data_, batch_sizes_, sorted_indices_, unsorted_indices_;
};

// The permutation that undoes `permutation`, Long (n). O(n).
Tensor invert_permutation(const Tensor& permutation);

// input (T, B, ...), or (B, T, ...) if batch_first, with lengths, Long (B), from 1 to T. Throws unless the lengths fall, or enforce_sorted is false: then the sequences are sorted, and pad_packed_sequence and the layers
// bring them back into their order. O(size of the result).
PackedSequence pack_padded_sequence(Tensor input, Tensor lengths, bool batch_first = false, bool enforce_sorted = true);

// The inverse: ((T, B, ...) or (B, T, ...) filled up with padding_value, lengths (B)). total_length: T, if it is to be more than the longest length. Throws if it is less.
std::tuple<Tensor, Tensor> pad_packed_sequence(PackedSequence sequence, bool batch_first = false, double padding_value = 0.0, std::optional<std::int64_t> total_length = std::nullopt);

// Sequences (T_i, ...) as one (T, B, ...) or (B, T, ...) with padding_value behind the shorter ones; and packed.
Tensor pad_sequence(const std::vector<Tensor>& sequences, bool batch_first = false, double padding_value = 0);
PackedSequence pack_sequence(const std::vector<Tensor>& sequences, bool enforce_sorted = true);

}  // namespace nn::utils::rnn

// %%
//| export nn/packed_sequence.cpp
namespace {

using Lengths = std::vector<std::int64_t>;

Lengths numbers_of(const Tensor& tensor) {
  const Tensor values = tensor.contiguous();
  const auto* const first = values.data_ptr<std::int64_t>();
  return Lengths(first, first + values.numel());
}

// Without the first dimension.
Lengths row_sizes(const Tensor& tensor) {
  TORCH_CHECK(tensor.dim() > 0, "a sequence has at least one dimension, its steps");
  return Lengths(tensor.sizes().begin() + 1, tensor.sizes().end());
}

Lengths checked_lengths(const Tensor& input, const Tensor& lengths) {
  TORCH_CHECK(input.dim() >= 2 && input.numel() > 0, "Cannot pack empty tensors.");
  TORCH_CHECK(lengths.dim() == 1 && lengths.scalar_type() == kLong, "'lengths' argument should be a 1D CPU int64 tensor, but got ", lengths.dim(), "D ", lengths.scalar_type(), " tensor");
  TORCH_CHECK(lengths.size(0) == input.size(1), "Expected `len(lengths)` to be equal to batch_size, but got ", lengths.size(0), " (batch_size=", input.size(1), ")");
  const Lengths numbers = numbers_of(lengths);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    TORCH_CHECK(numbers[i] > 0, "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0");
    TORCH_CHECK(numbers[i] <= input.size(0), "lengths[", i, "] is ", numbers[i], ", but input has ", input.size(0), " steps\n[pack_padded_sequence] is batch_first what you meant?");
    TORCH_CHECK(i == 0 || numbers[i] <= numbers[i - 1],
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do "
                "not need ONNX exportability.");
  }
  return numbers;
}

}  // namespace

nn::utils::rnn::PackedSequence::PackedSequence(Tensor data, Tensor batch_sizes, Tensor sorted_indices, Tensor unsorted_indices)
    : data_(std::move(data)), batch_sizes_(std::move(batch_sizes)), sorted_indices_(std::move(sorted_indices)), unsorted_indices_(std::move(unsorted_indices)) {
  if (sorted_indices_.defined() && !unsorted_indices_.defined()) unsorted_indices_ = invert_permutation(sorted_indices_);
}

Tensor nn::utils::rnn::invert_permutation(const Tensor& permutation) {
  if (!permutation.defined()) return Tensor();
  return empty_like(permutation).scatter(0, permutation, arange(permutation.numel()));
}

nn::utils::rnn::PackedSequence nn::utils::rnn::pack_padded_sequence(Tensor input, Tensor lengths, bool batch_first, bool enforce_sorted) {
  if (batch_first) input = input.transpose(0, 1);
  Tensor order;
  if (!enforce_sorted) {
    TORCH_CHECK(lengths.dim() == 1 && input.dim() >= 2 && lengths.size(0) == input.size(1), "Expected `len(lengths)` to be equal to batch_size, but got ", lengths.numel(), " (batch_size=", input.size(1), ")");
    std::tie(lengths, order) = sort(lengths, 0, true);
    input = input.index_select(1, order);
  }
  const Lengths steps = checked_lengths(input, lengths);
  Lengths rows, batch_sizes;
  const std::int64_t B = input.size(1);
  for (std::int64_t t = 0; t < steps.front(); ++t) {
    std::int64_t count = 0;
    for (; count < B && steps[static_cast<std::size_t>(count)] > t; ++count) rows.push_back(t * B + count);
    batch_sizes.push_back(count);
  }
  return PackedSequence(input.flatten(0, 1).index_select(0, tensor(rows)), tensor(batch_sizes), order);
}

std::tuple<Tensor, Tensor> nn::utils::rnn::pad_packed_sequence(PackedSequence sequence, bool batch_first, double padding_value, std::optional<std::int64_t> total_length) {
  const Lengths batch_sizes = numbers_of(sequence.batch_sizes());
  const auto longest = static_cast<std::int64_t>(batch_sizes.size());
  TORCH_CHECK(!total_length || *total_length >= longest, "Expected total_length to be at least the length of the longest sequence in input, but got total_length=", total_length.value_or(0),
              " and max sequence length being ", longest);
  const Tensor& data = sequence.data();
  const std::int64_t T = total_length.value_or(longest), B = batch_sizes.front(), filling = data.size(0);
  // One row of filling stands behind the data, for all places that have no step.
  Lengths rows, lengths(static_cast<std::size_t>(B), 0);
  std::int64_t next = 0;
  for (std::int64_t t = 0; t < T; ++t)
    for (std::int64_t b = 0; b < B; ++b) {
      const bool real = t < longest && b < batch_sizes[static_cast<std::size_t>(t)];
      rows.push_back(real ? next++ : filling);
      if (real) ++lengths[static_cast<std::size_t>(b)];
    }
  DimVector one_row(data.sizes());
  one_row[0] = 1;
  DimVector sizes{T, B};
  for (const std::int64_t size : row_sizes(data)) sizes.push_back(size);
  Tensor padded = cat({data, full(one_row, padding_value, data.scalar_type())}).index_select(0, tensor(rows)).view(sizes);
  Tensor counts = tensor(lengths);
  if (sequence.unsorted_indices().defined()) {
    padded = padded.index_select(1, sequence.unsorted_indices());
    counts = counts.index_select(0, sequence.unsorted_indices());
  }
  return {batch_first ? padded.transpose(0, 1) : padded, counts};
}

Tensor nn::utils::rnn::pad_sequence(const std::vector<Tensor>& sequences, bool batch_first, double padding_value) {
  TORCH_CHECK(!sequences.empty(), "received an empty list of sequences");
  std::int64_t longest = 0;
  for (const Tensor& sequence : sequences) longest = std::max(longest, sequence.size(0));
  std::vector<Tensor> filled;
  for (const Tensor& sequence : sequences) {
    TORCH_CHECK(row_sizes(sequence) == row_sizes(sequences[0]), "The size of tensor a (", IntArrayRef(row_sizes(sequence)), ") must match the size of tensor b (", IntArrayRef(row_sizes(sequences[0])),
                ")\n[pad_sequence] sequences may differ in their first dimension only.");
    DimVector rest(sequence.sizes());
    rest[0] = longest - sequence.size(0);
    filled.push_back(cat({sequence, full(rest, padding_value, sequence.scalar_type())}));
  }
  return stack(filled, batch_first ? 0 : 1);
}

nn::utils::rnn::PackedSequence nn::utils::rnn::pack_sequence(const std::vector<Tensor>& sequences, bool enforce_sorted) {
  Lengths lengths;
  for (const Tensor& sequence : sequences) lengths.push_back(sequence.size(0));
  const Tensor padded = pad_sequence(sequences);
  return pack_padded_sequence(padded, tensor(lengths), false, enforce_sorted);
}

// %%
TEST_CASE("packed sequences: packed by steps, filled up again, in any order, with gradients") {
  namespace rnn = nn::utils::rnn;
  const Tensor padded = tensor({{1.0, 5.0, 8.0}, {2.0, 6.0, 9.0}, {3.0, 7.0, 0.0}, {4.0, 0.0, 0.0}});  // (T, B): a1 ... a4, b1 ... b3, c1 c2
  const rnn::PackedSequence packed = rnn::pack_padded_sequence(padded, tensor({4, 3, 2}));
  CHECK_EQ(packed.data(), tensor({1.0, 5.0, 8.0, 2.0, 6.0, 9.0, 3.0, 7.0, 4.0}));
  CHECK_EQ(packed.batch_sizes(), tensor({3, 3, 2, 1}));
  CHECK(!packed.sorted_indices().defined());
  const auto [back, lengths] = rnn::pad_packed_sequence(packed);
  CHECK_EQ(back, padded);
  CHECK_EQ(lengths, tensor({4, 3, 2}));
  const auto [longer, same_lengths] = rnn::pad_packed_sequence(packed, true, -1, 5);
  CHECK_EQ(longer, tensor({{1.0, 2.0, 3.0, 4.0, -1.0}, {5.0, 6.0, 7.0, -1.0, -1.0}, {8.0, 9.0, -1.0, -1.0, -1.0}}));
  CHECK_EQ(same_lengths, lengths);

  // The shortest first: sorted for packing, and back.
  const Tensor order = tensor({2, 0, 1});
  const rnn::PackedSequence any = rnn::pack_padded_sequence(padded.index_select(1, order), lengths.index_select(0, order), false, false);
  CHECK_EQ(any.data(), packed.data());
  CHECK_EQ(any.sorted_indices(), tensor({1, 2, 0}));
  CHECK_EQ(any.unsorted_indices(), order);
  CHECK_EQ(std::get<0>(rnn::pad_packed_sequence(any)), padded.index_select(1, order));
  CHECK_EQ(std::get<1>(rnn::pad_packed_sequence(any)), tensor({2, 4, 3}));

  const std::vector<Tensor> sequences = {tensor({8.0, 9.0}), tensor({1.0, 2.0, 3.0, 4.0}), tensor({5.0, 6.0, 7.0})};
  CHECK_EQ(rnn::pad_sequence(sequences), padded.index_select(1, order));
  CHECK_EQ(rnn::pad_sequence(sequences, true, 0.0), padded.index_select(1, order).t());
  CHECK_EQ(rnn::pack_sequence(sequences, false).data(), packed.data());

  // The gradient of what is filling is zero.
  const Tensor leaf = padded.clone().requires_grad_();
  (std::get<0>(rnn::pad_packed_sequence(rnn::pack_padded_sequence(leaf, lengths))) * 2).sum().backward();
  CHECK_EQ(leaf.grad(), tensor({{2.0, 2.0, 2.0}, {2.0, 2.0, 2.0}, {2.0, 2.0, 0.0}, {2.0, 0.0, 0.0}}));

  CHECK_ERROR(rnn::pack_padded_sequence(padded, tensor({3, 4, 2})), "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True");
  CHECK_ERROR(rnn::pack_padded_sequence(padded, tensor({4, 3})), "Expected `len(lengths)` to be equal to batch_size, but got 2 (batch_size=3)");
  CHECK_ERROR(rnn::pack_padded_sequence(padded, tensor({4, 3, 0})), "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0");
  CHECK_ERROR(rnn::pack_padded_sequence(padded, tensor({5, 3, 1})), "lengths[0] is 5, but input has 4 steps");
  CHECK_ERROR(rnn::pad_packed_sequence(packed, false, 0, 3), "Expected total_length to be at least the length of the longest sequence in input, but got total_length=3 and max sequence length being 4");
  CHECK_ERROR(rnn::pad_sequence({}), "received an empty list of sequences");
}

// %% [markdown]
// ## Layers
//
// A layer runs its cell along the sequence; with `bidirectional`, a second cell runs from the end, and both states of a position stand side by side. Several layers are stacked: the states of one are the inputs of the next.
//
//     layer 1   ──> ──> ──> ──>      weight_ih_l1, ...            output (T, B, directions * H): the states of the last layer
//               <── <── <── <──      weight_ih_l1_reverse, ...
//                 dropout                                         h_n (layers * directions, B, H): the last state of every cell,
//     layer 0   ──> ──> ──> ──>      weight_ih_l0, ...            in the order l0, l0_reverse, l1, l1_reverse, ...
//               <── <── <── <──      weight_ih_l0_reverse, ...
//                x_1 x_2 x_3 x_4
//
// `batch_first` changes the layout of input and output, (B, T, ...), and not that of the states.

// %%
//| export nn/recurrent.h
namespace nn {

namespace detail {

// What the options of RNN, LSTM and GRU have in common. num_chunks is the number of gates.
struct RNNOptionsBase {
  RNNOptionsBase(std::int64_t num_chunks, std::int64_t input_size, std::int64_t hidden_size) : num_chunks_(num_chunks), input_size_(input_size), hidden_size_(hidden_size) {}
  TORCH_ARG(std::int64_t, num_chunks);
  TORCH_ARG(std::int64_t, input_size);
  TORCH_ARG(std::int64_t, hidden_size);
  TORCH_ARG(std::int64_t, num_layers) = 1;
  TORCH_ARG(bool, bias) = true;
  TORCH_ARG(bool, batch_first) = false;
  TORCH_ARG(double, dropout) = 0.0;
  TORCH_ARG(bool, bidirectional) = false;
  TORCH_ARG(std::int64_t, proj_size) = 0;
};

// The weights of one cell of a layer; biases and projection may be undefined.
struct CellWeights {
  Tensor w_ih, w_hh, b_ih, b_hh, w_hr;
};

// Runs a cell over x (T, B, features) from its first state, forwards or from the end: (states (T, B, H), last states). With batch_sizes x is packed data (rows, features), and so are the states (rows, H).
using RunDirection = std::tuple<Tensor, std::vector<Tensor>> (*)(const Tensor& x, std::vector<Tensor> state, const CellWeights& weights, bool reverse, IntArrayRef batch_sizes);

// Registers and initializes the weights of all layers and directions in `module`; in PyTorch's order. Throws on bad options.
std::vector<CellWeights> register_recurrent_weights(Module& module, const RNNOptionsBase& options);
// All weights that there are, per cell.
std::vector<Tensor> all_recurrent_weights(const std::vector<CellWeights>& weights);
// (output, last states (layers * directions, B, H), one for each of `states`) of all layers. With batch_sizes input and output are packed data.
std::tuple<Tensor, std::vector<Tensor>> run_layers(const Tensor& input, const std::vector<Tensor>& states, const std::vector<CellWeights>& weights, const RNNOptionsBase& options, bool training, RunDirection run,
                                                   IntArrayRef batch_sizes = {});
// "(input_size=..., ...)"
std::string recurrent_description(const RNNOptionsBase& options);

// What RNN, LSTM and GRU share. Source: torch/csrc/api/src/nn/modules/rnn.cpp.
template <class Derived>
class RNNImplBase : public Cloneable<Derived> {
 public:
  explicit RNNImplBase(const RNNOptionsBase& options) : options_base(options) { RNNImplBase::reset(); }
  void reset() override { weights_ = register_recurrent_weights(*this, options_base); }
  // For libtorch's programs: there is nothing to flatten here.
  void flatten_parameters() {}
  std::vector<Tensor> all_weights() const { return all_recurrent_weights(weights_); }

  RNNOptionsBase options_base;

 protected:
  std::vector<CellWeights> weights_;
};

}  // namespace detail

struct RNNOptions {
  using nonlinearity_t = std::variant<enumtype::kTanh, enumtype::kReLU>;
  RNNOptions(std::int64_t input_size, std::int64_t hidden_size) : input_size_(input_size), hidden_size_(hidden_size) {}
  TORCH_ARG(std::int64_t, input_size);
  TORCH_ARG(std::int64_t, hidden_size);
  TORCH_ARG(std::int64_t, num_layers) = 1;
  TORCH_ARG(nonlinearity_t, nonlinearity) = kTanh;
  TORCH_ARG(bool, bias) = true;
  TORCH_ARG(bool, batch_first) = false;
  TORCH_ARG(double, dropout) = 0.0;
  TORCH_ARG(bool, bidirectional) = false;
};

struct LSTMOptions {
  LSTMOptions(std::int64_t input_size, std::int64_t hidden_size) : input_size_(input_size), hidden_size_(hidden_size) {}
  TORCH_ARG(std::int64_t, input_size);
  TORCH_ARG(std::int64_t, hidden_size);
  TORCH_ARG(std::int64_t, num_layers) = 1;
  TORCH_ARG(bool, bias) = true;
  TORCH_ARG(bool, batch_first) = false;
  TORCH_ARG(double, dropout) = 0.0;
  TORCH_ARG(bool, bidirectional) = false;
  TORCH_ARG(std::int64_t, proj_size) = 0;
};

struct GRUOptions {
  GRUOptions(std::int64_t input_size, std::int64_t hidden_size) : input_size_(input_size), hidden_size_(hidden_size) {}
  TORCH_ARG(std::int64_t, input_size);
  TORCH_ARG(std::int64_t, hidden_size);
  TORCH_ARG(std::int64_t, num_layers) = 1;
  TORCH_ARG(bool, bias) = true;
  TORCH_ARG(bool, batch_first) = false;
  TORCH_ARG(double, dropout) = 0.0;
  TORCH_ARG(bool, bidirectional) = false;
};

// input (T, B, I), or (B, T, I) if batch_first; hx (layers * directions, B, H), default zeros -> (output (T, B, directions * H), h_n). O(T B H (I + H)) time per layer and direction.
class RNNImpl : public detail::RNNImplBase<RNNImpl> {
 public:
  RNNImpl(std::int64_t input_size, std::int64_t hidden_size);
  explicit RNNImpl(const RNNOptions& options_);
  std::tuple<Tensor, Tensor> forward(const Tensor& input, Tensor hx = {});
  // The same for sequences of unequal lengths; hx and h_n in the order in which they were packed from. So for LSTM and GRU.
  std::tuple<utils::rnn::PackedSequence, Tensor> forward_with_packed_input(const utils::rnn::PackedSequence& packed_input, Tensor hx = {});
  void pretty_print(std::ostream& stream) const override;
  RNNOptions options;

 private:
  detail::RunDirection cell() const;
};
TORCH_MODULE(RNN);

// The same with hx = (h, c) -> (output, (h_n, c_n)). With proj_size P, h and the output have P features: h = W_hr (o tanh(c)).
class LSTMImpl : public detail::RNNImplBase<LSTMImpl> {
 public:
  LSTMImpl(std::int64_t input_size, std::int64_t hidden_size);
  explicit LSTMImpl(const LSTMOptions& options_);
  std::tuple<Tensor, std::tuple<Tensor, Tensor>> forward(const Tensor& input, std::optional<std::tuple<Tensor, Tensor>> hx_opt = {});
  std::tuple<utils::rnn::PackedSequence, std::tuple<Tensor, Tensor>> forward_with_packed_input(const utils::rnn::PackedSequence& packed_input, std::optional<std::tuple<Tensor, Tensor>> hx_opt = {});
  void pretty_print(std::ostream& stream) const override;
  LSTMOptions options;
};
TORCH_MODULE(LSTM);

class GRUImpl : public detail::RNNImplBase<GRUImpl> {
 public:
  GRUImpl(std::int64_t input_size, std::int64_t hidden_size);
  explicit GRUImpl(const GRUOptions& options_);
  std::tuple<Tensor, Tensor> forward(const Tensor& input, Tensor hx = {});
  std::tuple<utils::rnn::PackedSequence, Tensor> forward_with_packed_input(const utils::rnn::PackedSequence& packed_input, Tensor hx = {});
  void pretty_print(std::ostream& stream) const override;
  GRUOptions options;
};
TORCH_MODULE(GRU);

}  // namespace nn

// %%
//| export nn/recurrent.cpp
nn::RNNImpl::RNNImpl(std::int64_t input_size, std::int64_t hidden_size) : RNNImpl(RNNOptions(input_size, hidden_size)) {}
nn::LSTMImpl::LSTMImpl(std::int64_t input_size, std::int64_t hidden_size) : LSTMImpl(LSTMOptions(input_size, hidden_size)) {}
nn::GRUImpl::GRUImpl(std::int64_t input_size, std::int64_t hidden_size) : GRUImpl(GRUOptions(input_size, hidden_size)) {}

std::vector<nn::detail::CellWeights> nn::detail::register_recurrent_weights(Module& module, const RNNOptionsBase& options) {
  TORCH_CHECK(options.dropout() >= 0 && options.dropout() <= 1, "dropout should be a number in range [0, 1] representing the probability of an element being zeroed");
  TORCH_CHECK(options.hidden_size() > 0, "hidden_size must be greater than zero");
  TORCH_CHECK(options.num_layers() > 0, "num_layers must be greater than zero");
  TORCH_CHECK(options.proj_size() >= 0 && options.proj_size() < options.hidden_size(), "proj_size has to be a positive integer, smaller than hidden_size or zero to disable projections");
  const std::int64_t directions = options.bidirectional() ? 2 : 1;
  const std::int64_t rows = options.num_chunks() * options.hidden_size();
  const std::int64_t features = options.proj_size() > 0 ? options.proj_size() : options.hidden_size();
  std::vector<CellWeights> cells;
  for (std::int64_t layer = 0; layer < options.num_layers(); ++layer) {
    for (std::int64_t direction = 0; direction < directions; ++direction) {
      const std::string suffix = "_l" + std::to_string(layer) + (direction == 1 ? "_reverse" : "");
      CellWeights cell;
      cell.w_ih = module.register_parameter("weight_ih" + suffix, empty({rows, layer == 0 ? options.input_size() : features * directions}));
      cell.w_hh = module.register_parameter("weight_hh" + suffix, empty({rows, features}));
      if (options.bias()) {
        cell.b_ih = module.register_parameter("bias_ih" + suffix, empty({rows}));
        cell.b_hh = module.register_parameter("bias_hh" + suffix, empty({rows}));
      }
      if (options.proj_size() > 0) cell.w_hr = module.register_parameter("weight_hr" + suffix, empty({features, options.hidden_size()}));
      cells.push_back(cell);
    }
  }
  reset_recurrent(all_recurrent_weights(cells), options.hidden_size());
  return cells;
}

std::vector<Tensor> nn::detail::all_recurrent_weights(const std::vector<CellWeights>& weights) {
  std::vector<Tensor> all;
  for (const CellWeights& cell : weights)
    for (const Tensor& weight : {cell.w_ih, cell.w_hh, cell.b_ih, cell.b_hh, cell.w_hr})
      if (weight.defined()) all.push_back(weight);
  return all;
}

std::string nn::detail::recurrent_description(const RNNOptionsBase& options) {
  const auto word = [](bool value) { return value ? "true" : "false"; };
  return str("(input_size=", options.input_size(), ", hidden_size=", options.hidden_size(), ", num_layers=", options.num_layers(), ", bias=", word(options.bias()),
             ", batch_first=", word(options.batch_first()), ", dropout=", options.dropout(), ", bidirectional=", word(options.bidirectional()),
             options.proj_size() > 0 ? str(", proj_size=", options.proj_size()) : "", ")");
}

// %%
//| export nn/recurrent.cpp
namespace {

// x (T, ...) as T tensors. The gradient is one stack: T select() would each make a gradient of x's whole size, T * T rows of zeros.
struct Steps : autograd::Function<Steps> {
  static variable_list forward(autograd::AutogradContext*, const Tensor& x) {
    variable_list steps;
    for (const Tensor& step : x.unbind(0)) steps.push_back(step.clone());
    return steps;
  }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) { return {stack(grads)}; }
};

// Packed rows as the steps that they are made of; one gradient for all, as above.
struct PackedSteps : autograd::Function<PackedSteps> {
  static variable_list forward(autograd::AutogradContext*, const Tensor& x, const std::vector<std::int64_t>& batch_sizes) {
    variable_list steps;
    for (const Tensor& step : x.split_with_sizes(batch_sizes, 0)) steps.push_back(step.clone());
    return steps;
  }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) { return {cat(grads), Tensor()}; }
};

// Forwards: whoever has no step t leaves, and what they leave with is their last state.
template <class Step>
std::tuple<Tensor, std::vector<Tensor>> run_packed_forwards(const std::vector<Tensor>& gates, std::vector<Tensor> state, Step step) {
  std::vector<Tensor> outputs;
  std::vector<std::vector<Tensor>> last(state.size());  // of each kind of state, from the end of the batch to its beginning
  for (const Tensor& now : gates) {
    const std::int64_t there = state[0].size(0), stay = now.size(0);
    for (std::size_t k = 0; k < state.size() && stay < there; ++k) {
      last[k].push_back(state[k].narrow(0, stay, there - stay));
      state[k] = state[k].narrow(0, 0, stay);
    }
    state = step(now, state);
    outputs.push_back(state[0]);
  }
  for (std::size_t k = 0; k < state.size(); ++k) {
    last[k].push_back(state[k]);
    std::reverse(last[k].begin(), last[k].end());
    state[k] = cat(last[k]);
  }
  return {cat(outputs), state};
}

// From the end: whoever has a step t, and none behind it, joins with the first state.
template <class Step>
std::tuple<Tensor, std::vector<Tensor>> run_packed_backwards(const std::vector<Tensor>& gates, const std::vector<Tensor>& first, Step step) {
  std::vector<Tensor> outputs(gates.size()), state;
  for (const Tensor& of_kind : first) state.push_back(of_kind.narrow(0, 0, gates.back().size(0)));
  for (std::size_t t = gates.size(); t-- > 0;) {
    const std::int64_t there = state[0].size(0), wanted = gates[t].size(0);
    for (std::size_t k = 0; k < state.size() && there < wanted; ++k) state[k] = cat({state[k], first[k].narrow(0, there, wanted - there)});
    state = step(gates[t], state);
    outputs[t] = state[0];
  }
  return {cat(outputs), state};
}

// Calls step(gates of time t, state) along x; the state's first tensor is what the layer puts out.
template <class Step>
std::tuple<Tensor, std::vector<Tensor>> run_steps(const Tensor& x, std::vector<Tensor> state, const nn::detail::CellWeights& weights, bool reverse, IntArrayRef batch_sizes, Step step) {
  if (!batch_sizes.empty()) {
    const std::vector<Tensor> packed = PackedSteps::apply(linear(x, weights.w_ih, weights.b_ih), batch_sizes.vec());
    return reverse ? run_packed_backwards(packed, state, step) : run_packed_forwards(packed, state, step);
  }
  const std::vector<Tensor> gates = Steps::apply(linear(x, weights.w_ih, weights.b_ih));  // of all steps, in one product
  std::vector<Tensor> outputs(gates.size());
  for (std::size_t i = 0; i < gates.size(); ++i) {
    const std::size_t t = reverse ? gates.size() - 1 - i : i;
    state = step(gates[t], state);
    outputs[t] = state[0];
  }
  return {stack(outputs), state};
}

std::tuple<Tensor, std::vector<Tensor>> run_rnn_tanh(const Tensor& x, std::vector<Tensor> state, const nn::detail::CellWeights& w, bool reverse, IntArrayRef batch_sizes) {
  return run_steps(x, std::move(state), w, reverse, batch_sizes, [&](const Tensor& gates, const std::vector<Tensor>& s) { return std::vector<Tensor>{rnn_tanh_step(gates, s[0], w.w_hh, w.b_hh)}; });
}
std::tuple<Tensor, std::vector<Tensor>> run_rnn_relu(const Tensor& x, std::vector<Tensor> state, const nn::detail::CellWeights& w, bool reverse, IntArrayRef batch_sizes) {
  return run_steps(x, std::move(state), w, reverse, batch_sizes, [&](const Tensor& gates, const std::vector<Tensor>& s) { return std::vector<Tensor>{rnn_relu_step(gates, s[0], w.w_hh, w.b_hh)}; });
}
std::tuple<Tensor, std::vector<Tensor>> run_gru(const Tensor& x, std::vector<Tensor> state, const nn::detail::CellWeights& w, bool reverse, IntArrayRef batch_sizes) {
  return run_steps(x, std::move(state), w, reverse, batch_sizes, [&](const Tensor& gates, const std::vector<Tensor>& s) { return std::vector<Tensor>{gru_step(gates, s[0], w.w_hh, w.b_hh)}; });
}
std::tuple<Tensor, std::vector<Tensor>> run_lstm_steps(const Tensor& x, std::vector<Tensor> state, const nn::detail::CellWeights& w, bool reverse, IntArrayRef batch_sizes) {
  return run_steps(x, std::move(state), w, reverse, batch_sizes, [&](const Tensor& gates, const std::vector<Tensor>& s) {
    auto [h, c] = lstm_step(gates, s[0], s[1], w.w_hh, w.b_hh);
    if (w.w_hr.defined()) h = linear(h, w.w_hr);
    return std::vector<Tensor>{h, c};
  });
}

}  // namespace

// %% [markdown]
// ### An LSTM's direction as one node
//
// A graph of T steps has T products that make a gradient of the same weights, and T sums of such gradients: 16 rows are multiplied to get the 512 x 128 numbers of `weight_hh.grad`, and these are added to those of the step before. But a sum of products is a product. With the steps' rows below each other,
//
//     dW_hh  =  dG_1^T h_0 + dG_2^T h_1 + ... + dG_T^T h_T-1  =  [dG_1; dG_2; ...; dG_T]^T [h_0; h_1; ...; h_T-1]         one product, of T B rows
//
// and the biases' gradient is one sum over all rows. So the whole direction is a node of its own, which walks back through the steps, keeps the gradients of their gates, and multiplies once. Only the way from h to h is left for the loop, `dh = dG W_hh`, and the part of dh that arrives from the layer's output is where that product's sums start.
// PyTorch does the same on CPUs (`mkldnn_rnn_layer`), and cuDNN on GPUs.
//
// Forwards, a loop uses one matrix T times, so its form can be chosen. Products of few rows go faster with W_hh^T than with W_hh, whose lines have to be summed across the lanes of vectors: 10 instead of 19 microseconds for 16 rows and 128 units. Turning the matrix costs 17, once.
//
// A backward pass that is recorded runs the steps again, with recording, and differentiates those.

// %%
//| export nn/recurrent.cpp
namespace {

// What the steps of a direction leave for its gradient, in the order of the sequence.
struct LSTMTrace {
  std::vector<Tensor> cells, workspaces;
};

// The steps in the order in which they run: of T, or from the end.
std::size_t place_of_step(std::size_t step, std::size_t T, bool reverse) { return reverse ? T - 1 - step : step; }

// w_hh^T, as a copy of its own where that pays: few rows, a matrix that stays in the caches, and steps enough to use it.
Tensor turned_weight(const Tensor& w_hh, std::int64_t T, std::int64_t B) {
  const bool pays = T >= 8 && B <= 32 && w_hh.size(1) <= 256;
  return pays ? w_hh.t().contiguous() : w_hh.t();
}

// The outputs (T, B, H), the last h and the last c of a direction without projection; its trace, if asked for. Records nothing of its own.
std::vector<Tensor> walk_lstm(const Tensor& x, Tensor h, Tensor c, const nn::detail::CellWeights& w, bool reverse, LSTMTrace* trace) {
  const Tensor gates = linear(x, w.w_ih, w.b_ih), right = turned_weight(w.w_hh, x.size(0), x.size(1));
  const auto T = static_cast<std::size_t>(x.size(0));
  std::vector<Tensor> outputs(T);
  if (trace != nullptr) trace->cells.resize(T), trace->workspaces.resize(T);
  for (std::size_t step = 0; step < T; ++step) {
    const std::size_t t = place_of_step(step, T, reverse);
    Tensor workspace;
    std::tie(h, c, workspace) = _thnn_fused_lstm_cell(gates[static_cast<std::int64_t>(t)], w.b_hh.defined() ? addmm(w.b_hh, h, right) : mm(h, right), c);
    outputs[t] = h;
    if (trace != nullptr) trace->cells[t] = c, trace->workspaces[t] = workspace;
  }
  return {stack(outputs), h, c};
}

struct LSTMDirection : autograd::Function<LSTMDirection> {
  static variable_list forward(autograd::AutogradContext* context, const Tensor& x, const Tensor& h, const Tensor& c, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh, bool reverse) {
    LSTMTrace trace;
    variable_list results = walk_lstm(x, h, c, {w_ih, w_hh, b_ih, b_hh, {}}, reverse, &trace);
    variable_list saved{x, h, c, w_ih, w_hh, b_ih, b_hh, results[0]};
    for (const Tensor& cell : trace.cells) saved.push_back(cell);
    for (const Tensor& workspace : trace.workspaces) saved.push_back(workspace);
    context->save_for_backward(saved);
    context->saved_data["reverse"] = reverse;
    context->set_materialize_grads(false);
    return results;
  }

  static variable_list backward(autograd::AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const bool reverse = context->saved_data["reverse"].toBool();
    variable_list result = is_recording() ? recorded(saved, reverse, grads) : walked(context, saved, reverse, grads);
    result.emplace_back();  // of `reverse`
    return result;
  }

 private:
  // The gradients of the seven inputs, of dh and dc at the last step and of the outputs; each may be undefined.
  static variable_list walked(autograd::AutogradContext* context, const variable_list& saved, bool reverse, const variable_list& grads) {
    const Tensor &x = saved[0], &h = saved[1], &c = saved[2], &w_ih = saved[3], &w_hh = saved[4], &outputs = saved[7];
    const auto T = static_cast<std::size_t>(x.size(0));
    const auto at = [](const Tensor& of_all, std::size_t t) { return of_all[static_cast<std::int64_t>(t)]; };
    const auto cell = [&](std::size_t step) { return step == 0 ? c : saved[8 + place_of_step(step - 1, T, reverse)]; };
    const Tensor& of_outputs = grads[0];
    Tensor dh = grads[1];
    std::optional<Tensor> dc = grads[2].defined() ? std::optional(grads[2]) : std::nullopt;
    if (of_outputs.defined()) {
      const Tensor last = at(of_outputs, place_of_step(T - 1, T, reverse));
      dh = dh.defined() ? dh + last : last;
    }
    std::vector<Tensor> of_gates(T);
    for (std::size_t step = T; step-- > 0;) {
      const std::size_t t = place_of_step(step, T, reverse);
      auto [of_sums, of_cell] = op::_thnn_fused_lstm_cell_backward(dh.defined() ? std::optional(dh) : std::nullopt, dc, cell(step), cell(step + 1), saved[8 + T + t]);
      dc = std::move(of_cell);
      if (step > 0) dh = of_outputs.defined() ? addmm(at(of_outputs, place_of_step(step - 1, T, reverse)), of_sums, w_hh) : of_sums.mm(w_hh);
      else dh = context->needs_input_grad(1) ? of_sums.mm(w_hh) : Tensor();
      of_gates[t] = std::move(of_sums);
    }
    const Tensor all = cat(of_gates);  // (T B, 4 H)
    variable_list result(7);
    if (context->needs_input_grad(0)) result[0] = all.mm(w_ih).view(x.sizes());
    result[1] = dh;
    if (context->needs_input_grad(2)) result[2] = *dc;
    if (context->needs_input_grad(3)) result[3] = all.t().mm(x.flatten(0, 1));
    if (context->needs_input_grad(4)) {
      const Tensor first = h.unsqueeze(0), others = outputs.narrow(0, reverse ? 1 : 0, x.size(0) - 1);
      result[4] = all.t().mm((reverse ? cat({others, first}) : cat({first, others})).flatten(0, 1));
    }
    if (context->needs_input_grad(5) || context->needs_input_grad(6)) result[5] = result[6] = all.sum(0);
    return result;
  }

  // The same made of operators that record.
  static variable_list recorded(const variable_list& saved, bool reverse, const variable_list& grads) {
    // Views, so that nobody else's hooks are called.
    variable_list inputs;
    for (std::size_t i = 0; i < 7; ++i) inputs.push_back(saved[i].defined() ? saved[i].view(saved[i].sizes()) : Tensor());
    const auto [output, state] = run_lstm_steps(inputs[0], {inputs[1], inputs[2]}, {inputs[3], inputs[4], inputs[5], inputs[6], {}}, reverse, {});
    variable_list roots, arrived, asked;
    for (const auto& [result, grad] : {std::pair(output, grads[0]), std::pair(state[0], grads[1]), std::pair(state[1], grads[2])})
      if (grad.defined()) roots.push_back(result), arrived.push_back(grad);
    for (const Tensor& input : inputs)
      if (input.defined() && input.requires_grad()) asked.push_back(input);
    const variable_list gradients = autograd::grad(roots, asked, arrived, std::nullopt, true, true);
    variable_list result(7);
    for (std::size_t i = 0, next = 0; i < 7; ++i)
      if (inputs[i].defined() && inputs[i].requires_grad()) result[i] = gradients[next++];
    return result;
  }
};

std::tuple<Tensor, std::vector<Tensor>> run_lstm(const Tensor& x, std::vector<Tensor> state, const nn::detail::CellWeights& w, bool reverse, IntArrayRef batch_sizes) {
  if (!batch_sizes.empty() || w.w_hr.defined()) return run_lstm_steps(x, std::move(state), w, reverse, batch_sizes);
  bool records = false;
  for (const Tensor& tensor : {x, state[0], state[1], w.w_ih, w.w_hh, w.b_ih, w.b_hh}) records = records || (is_recording() && tensor.defined() && tensor.requires_grad());
  const variable_list results = records ? LSTMDirection::apply(x, state[0], state[1], w.w_ih, w.w_hh, w.b_ih, w.b_hh, reverse) : walk_lstm(x, state[0], state[1], w, reverse, nullptr);
  return {results[0], {results[1], results[2]}};
}

void check_recurrent_input(const Tensor& input, const nn::detail::RNNOptionsBase& options) {
  TORCH_CHECK(input.dim() == 3, "input must have 3 dimensions, got ", input.dim(), "\n[RNN] (T, B, features), or (B, T, features) with batch_first; unsqueeze a single sequence.");
  TORCH_CHECK(input.size(-1) == options.input_size(), "input.size(-1) must be equal to input_size. Expected ", options.input_size(), ", got ", input.size(-1));
  TORCH_CHECK(input.size(options.batch_first() ? 1 : 0) > 0, "Expected sequence length to be larger than 0 in RNN");
}

// How many sequences there are.
std::int64_t batch_of(const Tensor& input, const nn::detail::RNNOptionsBase& options) { return input.size(options.batch_first() ? 0 : 1); }

// `state`, checked, or zeros (layers * directions, B, features).
Tensor state_or_zeros(const Tensor& state, const Tensor& input, std::int64_t batch, const nn::detail::RNNOptionsBase& options, std::int64_t features, const char* what) {
  const DimVector expected{options.num_layers() * (options.bidirectional() ? 2 : 1), batch, features};
  if (!state.defined()) return zeros(expected, input.scalar_type());
  TORCH_CHECK(state.sizes() == IntArrayRef(expected), "Expected ", what, " size ", IntArrayRef(expected), ", got ", state.sizes());
  return state;
}

using nn::utils::rnn::PackedSequence;

std::vector<std::int64_t> checked_batch_sizes(const PackedSequence& packed, const nn::detail::RNNOptionsBase& options) {
  const Tensor& data = packed.data();
  TORCH_CHECK(data.defined() && data.dim() == 2, "input must have 2 dimensions, got ", data.defined() ? data.dim() : 0, "\n[RNN] packed data is (rows, features).");
  TORCH_CHECK(data.size(-1) == options.input_size(), "input.size(-1) must be equal to input_size. Expected ", options.input_size(), ", got ", data.size(-1));
  const Tensor sizes = packed.batch_sizes().contiguous();
  const auto* const first = sizes.data_ptr<std::int64_t>();
  return std::vector<std::int64_t>(first, first + sizes.numel());
}

// States (layers * directions, B, H) in the order of `indices`; as they are where there is none.
Tensor in_order(const Tensor& state, const Tensor& indices) { return state.defined() && indices.defined() ? state.index_select(1, indices) : state; }

// The states with the sequences in the order of packing go in, and come out in the order that they came in.
std::tuple<PackedSequence, std::vector<Tensor>> run_packed(const PackedSequence& packed, const std::vector<std::int64_t>& batch_sizes, const std::vector<Tensor>& states,
                                                           const std::vector<nn::detail::CellWeights>& weights, const nn::detail::RNNOptionsBase& options, bool training, nn::detail::RunDirection run) {
  auto [output, last] = nn::detail::run_layers(packed.data(), states, weights, options, training, run, batch_sizes);
  for (Tensor& state : last) state = in_order(state, packed.unsorted_indices());
  return {PackedSequence(output, packed.batch_sizes(), packed.sorted_indices(), packed.unsorted_indices()), last};
}

}  // namespace

std::tuple<Tensor, std::vector<Tensor>> nn::detail::run_layers(const Tensor& input, const std::vector<Tensor>& states, const std::vector<CellWeights>& weights, const RNNOptionsBase& options, bool training,
                                                               RunDirection run, IntArrayRef batch_sizes) {
  const std::int64_t directions = options.bidirectional() ? 2 : 1;
  std::vector<std::vector<Tensor>> last(states.size());  // of each kind of state, the last one of every cell
  const bool turned = options.batch_first() && batch_sizes.empty();
  Tensor x = turned ? input.transpose(0, 1) : input;
  for (std::int64_t layer = 0; layer < options.num_layers(); ++layer) {
    std::vector<Tensor> outputs;
    for (std::int64_t direction = 0; direction < directions; ++direction) {
      const std::int64_t cell = layer * directions + direction;
      std::vector<Tensor> first;
      for (const Tensor& state : states) first.push_back(state[cell]);
      const auto [output, end] = run(x, first, weights[static_cast<std::size_t>(cell)], direction == 1, batch_sizes);
      outputs.push_back(output);
      for (std::size_t k = 0; k < last.size(); ++k) last[k].push_back(end[k]);
    }
    x = directions == 1 ? outputs[0] : cat(outputs, -1);
    if (layer + 1 < options.num_layers()) x = dropout(x, options.dropout(), training);
  }
  std::vector<Tensor> stacked;
  for (const std::vector<Tensor>& of_kind : last) stacked.push_back(stack(of_kind));
  return {turned ? x.transpose(0, 1) : x, stacked};
}

// %%
//| export nn/recurrent.cpp
namespace {
// Layers that are given by a list of weights, which says their sizes.
struct ListedLayers {
  ListedLayers(std::int64_t gates, const Tensor& input, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool bidirectional, bool batch_first, bool projects)
      : options(nn::detail::RNNOptionsBase(gates, 0, 0).num_layers(num_layers).dropout(dropout).bidirectional(bidirectional).batch_first(batch_first)) {
    const std::size_t each = 2 + (has_biases ? 2 : 0) + (projects ? 1 : 0), expected = each * static_cast<std::size_t>(num_layers * (bidirectional ? 2 : 1));
    TORCH_CHECK(params.size() == expected && expected > 0, "got an incorrect number of RNN parameters\n[RNN] expected ", expected, ", got ", params.size());
    for (std::size_t i = 0; i < params.size(); i += each) {
      nn::detail::CellWeights cell{params[i], params[i + 1], {}, {}, {}};
      if (has_biases) cell.b_ih = params[i + 2], cell.b_hh = params[i + 3];
      if (projects) cell.w_hr = params[i + each - 1];
      weights.push_back(cell);
    }
    options.input_size(params[0].size(1)).hidden_size(params[0].size(0) / gates);
    check_recurrent_input(input, options);
  }

  nn::detail::RNNOptionsBase options;
  std::vector<nn::detail::CellWeights> weights;
};

std::tuple<Tensor, Tensor> run_listed(std::int64_t gates, nn::detail::RunDirection run, const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout,
                                      bool train, bool bidirectional, bool batch_first) {
  const ListedLayers layers(gates, input, params, has_biases, num_layers, dropout, bidirectional, batch_first, false);
  const Tensor first = state_or_zeros(hx, input, batch_of(input, layers.options), layers.options, layers.options.hidden_size(), "hidden");
  const auto [output, last] = nn::detail::run_layers(input, {first}, layers.weights, layers.options, train, run);
  return {output, last[0]};
}
}  // namespace

std::tuple<Tensor, Tensor> rnn_tanh(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first) {
  return run_listed(1, run_rnn_tanh, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
}
std::tuple<Tensor, Tensor> rnn_relu(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first) {
  return run_listed(1, run_rnn_relu, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
}
std::tuple<Tensor, Tensor> gru(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first) {
  return run_listed(3, run_gru, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
}
std::tuple<Tensor, Tensor, Tensor> lstm(const Tensor& input, TensorList hx, TensorList params, bool has_biases, std::int64_t num_layers, double dropout, bool train, bool bidirectional, bool batch_first) {
  TORCH_CHECK(hx.size() == 2, "lstm expects two hidden states");
  const bool projects = hx[0].dim() == 3 && hx[1].dim() == 3 && hx[0].size(2) != hx[1].size(2);
  const ListedLayers layers(4, input, params, has_biases, num_layers, dropout, bidirectional, batch_first, projects);
  const std::int64_t batch = batch_of(input, layers.options), hidden = layers.options.hidden_size();
  const Tensor h = state_or_zeros(hx[0], input, batch, layers.options, projects ? layers.weights[0].w_hr.size(0) : hidden, "hidden[0]");
  const Tensor c = state_or_zeros(hx[1], input, batch, layers.options, hidden, "hidden[1]");
  const auto [output, last] = nn::detail::run_layers(input, {h, c}, layers.weights, layers.options, train, run_lstm);
  return {output, last[0], last[1]};
}

namespace {
template <class Options>
nn::detail::RNNOptionsBase base_options(std::int64_t gates, const Options& options) {
  return nn::detail::RNNOptionsBase(gates, options.input_size(), options.hidden_size())
      .num_layers(options.num_layers())
      .bias(options.bias())
      .batch_first(options.batch_first())
      .dropout(options.dropout())
      .bidirectional(options.bidirectional());
}
}  // namespace

nn::RNNImpl::RNNImpl(const RNNOptions& options_) : RNNImplBase(base_options(1, options_)), options(options_) {}
nn::LSTMImpl::LSTMImpl(const LSTMOptions& options_) : RNNImplBase(base_options(4, options_).proj_size(options_.proj_size())), options(options_) {}
nn::GRUImpl::GRUImpl(const GRUOptions& options_) : RNNImplBase(base_options(3, options_)), options(options_) {}

nn::detail::RunDirection nn::RNNImpl::cell() const { return std::holds_alternative<enumtype::kReLU>(options.nonlinearity()) ? run_rnn_relu : run_rnn_tanh; }

std::tuple<Tensor, Tensor> nn::RNNImpl::forward(const Tensor& input, Tensor hx) {
  check_recurrent_input(input, options_base);
  const Tensor first = state_or_zeros(hx, input, batch_of(input, options_base), options_base, options.hidden_size(), "hidden");
  const auto [output, last] = detail::run_layers(input, {first}, weights_, options_base, is_training(), cell());
  return {output, last[0]};
}

std::tuple<PackedSequence, Tensor> nn::RNNImpl::forward_with_packed_input(const PackedSequence& packed, Tensor hx) {
  const std::vector<std::int64_t> batch_sizes = checked_batch_sizes(packed, options_base);
  const Tensor first = state_or_zeros(in_order(hx, packed.sorted_indices()), packed.data(), batch_sizes.at(0), options_base, options.hidden_size(), "hidden");
  const auto [output, last] = run_packed(packed, batch_sizes, {first}, weights_, options_base, is_training(), cell());
  return {output, last[0]};
}

std::tuple<Tensor, std::tuple<Tensor, Tensor>> nn::LSTMImpl::forward(const Tensor& input, std::optional<std::tuple<Tensor, Tensor>> hx_opt) {
  check_recurrent_input(input, options_base);
  const std::int64_t features = options.proj_size() > 0 ? options.proj_size() : options.hidden_size();
  const std::int64_t batch = batch_of(input, options_base);
  const Tensor h = state_or_zeros(hx_opt ? std::get<0>(*hx_opt) : Tensor(), input, batch, options_base, features, "hidden[0]");
  const Tensor c = state_or_zeros(hx_opt ? std::get<1>(*hx_opt) : Tensor(), input, batch, options_base, options.hidden_size(), "hidden[1]");
  const auto [output, last] = detail::run_layers(input, {h, c}, weights_, options_base, is_training(), run_lstm);
  return {output, {last[0], last[1]}};
}

std::tuple<PackedSequence, std::tuple<Tensor, Tensor>> nn::LSTMImpl::forward_with_packed_input(const PackedSequence& packed, std::optional<std::tuple<Tensor, Tensor>> hx_opt) {
  const std::vector<std::int64_t> batch_sizes = checked_batch_sizes(packed, options_base);
  const std::int64_t features = options.proj_size() > 0 ? options.proj_size() : options.hidden_size();
  const auto given = [&](const Tensor& state) { return in_order(state, packed.sorted_indices()); };
  const Tensor h = state_or_zeros(hx_opt ? given(std::get<0>(*hx_opt)) : Tensor(), packed.data(), batch_sizes.at(0), options_base, features, "hidden[0]");
  const Tensor c = state_or_zeros(hx_opt ? given(std::get<1>(*hx_opt)) : Tensor(), packed.data(), batch_sizes.at(0), options_base, options.hidden_size(), "hidden[1]");
  const auto [output, last] = run_packed(packed, batch_sizes, {h, c}, weights_, options_base, is_training(), run_lstm);
  return {output, {last[0], last[1]}};
}

std::tuple<Tensor, Tensor> nn::GRUImpl::forward(const Tensor& input, Tensor hx) {
  check_recurrent_input(input, options_base);
  const Tensor first = state_or_zeros(hx, input, batch_of(input, options_base), options_base, options.hidden_size(), "hidden");
  const auto [output, last] = detail::run_layers(input, {first}, weights_, options_base, is_training(), run_gru);
  return {output, last[0]};
}

std::tuple<PackedSequence, Tensor> nn::GRUImpl::forward_with_packed_input(const PackedSequence& packed, Tensor hx) {
  const std::vector<std::int64_t> batch_sizes = checked_batch_sizes(packed, options_base);
  const Tensor first = state_or_zeros(in_order(hx, packed.sorted_indices()), packed.data(), batch_sizes.at(0), options_base, options.hidden_size(), "hidden");
  const auto [output, last] = run_packed(packed, batch_sizes, {first}, weights_, options_base, is_training(), run_gru);
  return {output, last[0]};
}

void nn::RNNImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::RNN" << detail::recurrent_description(options_base); }
void nn::LSTMImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::LSTM" << detail::recurrent_description(options_base); }
void nn::GRUImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::GRU" << detail::recurrent_description(options_base); }

// %%
//| lesson
// What PyTorch gave for a module: the output, all last states, the sum of each parameter, of each parameter's gradient, and of the input's gradient over time and batch.
struct Recorded {
  std::vector<double> output, states, parameters, gradients, input_gradient;
};

// Compares `module`, run on x with these results, with `expected`. The loss is weighted_sum of the output and of each state.
void check_recorded(const nn::Module& module, const Tensor& x, const Tensor& output, const std::vector<Tensor>& states, const Recorded& expected) {
  CHECK_CLOSE(output.reshape(-1), tensor(expected.output), 1e-12, 1e-13);
  std::vector<Tensor> flat;
  Tensor loss = weighted_sum(output);
  for (const Tensor& state : states) {
    flat.push_back(state.reshape(-1));
    loss = loss + weighted_sum(state);
  }
  CHECK_CLOSE(cat(flat), tensor(expected.states), 1e-12, 1e-13);
  loss.backward();
  std::vector<double> parameters, gradients;
  for (const Tensor& parameter : module.parameters()) {
    parameters.push_back(parameter.sum().item<double>());
    gradients.push_back(parameter.grad().sum().item<double>());
  }
  CHECK_CLOSE(tensor(parameters), tensor(expected.parameters), 1e-12, 1e-13);
  CHECK_CLOSE(tensor(gradients), tensor(expected.gradients), 1e-10, 1e-11);
  CHECK_CLOSE(x.grad().sum({0, 1}), tensor(expected.input_gradient), 1e-10, 1e-11);
}

// The names of all parameters.
std::string parameter_names(const nn::Module& module) {
  std::string names;
  for (const auto& parameter : module.named_parameters()) names += (names.empty() ? "" : " ") + parameter.key();
  return names;
}

// %%
// Recorded from PyTorch 2.15.0 in float64: manual_seed, the module, randn for the input and then for the states.
TEST_CASE("RNN: two layers of relu without bias; both directions of tanh, batch first") {
  const DoubleScope scope;
  manual_seed(0);
  nn::RNN deep(nn::RNNOptions(3, 4).num_layers(2).nonlinearity(kReLU).bias(false));
  CHECK_EQ(parameter_names(*deep), "weight_ih_l0 weight_hh_l0 weight_ih_l1 weight_hh_l1");
  const Tensor x = randn({4, 2, 3}).requires_grad_();
  const auto [output, last] = deep(x);
  check_recorded(*deep, x, output, {last},
      {{0.0, 0.0, 0.025826511866920015, 0.0, 0.0, 0.0, 0.014746332780367473, 0.0, 0.0, 0.0, 0.027070056546820574, 0.0, 0.0, 0.0, 0.027168369258858585, 0.0,
       0.091744434541356668, 0.0, 0.031615186878285961, 0.0, 0.18981954586327665, 0.058518858448361105, 0.1420051703925288, 0.092526418494557131,
       0.10355397426436341, 0.048650843429956604, 0.064965154189534413, 0.061439900795654367, 0.099387722458930627, 0.2654629690606608, 0.0, 0.0},
       {0.0, 0.0, 0.2857617297269151, 0.0, 0.1262981627145702, 0.0, 0.0, 0.41317569315659697, 0.10355397426436341, 0.048650843429956604, 0.064965154189534413,
       0.061439900795654367, 0.099387722458930627, 0.2654629690606608, 0.0, 0.0},
       {0.52313449238205301, -0.46321600781277728, -0.21789366044843972, 1.0189227461766541},
       {-44.48834965594353, 29.411969481178232, 110.88345920962817, 24.993692713618621},
       {-12.292790147019286, -4.6862374867793353, -4.3337178533504144}});

  manual_seed(1);
  nn::RNN both(nn::RNNOptions(3, 2).bidirectional(true).batch_first(true));
  CHECK_EQ(parameter_names(*both), "weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0 weight_ih_l0_reverse weight_hh_l0_reverse bias_ih_l0_reverse bias_hh_l0_reverse");
  const Tensor y = randn({2, 3, 3}).requires_grad_();
  const Tensor h = randn({2, 2, 2});
  const auto [output2, last2] = both(y, h);
  CHECK_EQ(output2.sizes(), IntArrayRef({2, 3, 4}));
  check_recorded(*both, y, output2, {last2},
      {{-0.41086414473841332, -0.8121209202577816, -0.9468863291482924, -0.89382693956405301, 0.42098056931998251, 0.12898366920524795, -0.85036214563309254,
       -0.70797406811422448, -0.2840054931068301, -0.33632193708659341, -0.92033252861710135, -0.76224762878525743, -0.12349158076166895, -0.9597615599608581,
       -0.27165464359022856, -0.59266848837961195, 0.73937422825383503, 0.45687523191021523, -0.28933777762372637, -0.23467381987288605, 0.36359992068019698,
       -0.45394199551029923, -0.52084566101886687, -0.51462023204151119},
       {-0.2840054931068301, -0.33632193708659341, 0.36359992068019698, -0.45394199551029923, -0.9468863291482924, -0.89382693956405301, -0.27165464359022856,
       -0.59266848837961195},
       {-2.3158151089544128, 0.34750301796729721, -0.22639746952515497, 0.14526411911000744, -1.0344346804848641, 2.3957085531085123, -0.00082088967245286248,
       0.21882785539195188},
       {-11.652836558067206, 11.175232995207718, 46.190873961804414, 46.190873961804414, -44.453923898001264, -81.717507751033096, 88.664419431789767,
       88.664419431789753},
       {-69.24326779280986, -29.063195592613273, 0.76394258129869508}});
}

TEST_CASE("LSTM: two layers in both directions with given states; projections") {
  const DoubleScope scope;
  manual_seed(2);
  nn::LSTM lstm(nn::LSTMOptions(3, 2).num_layers(2).bidirectional(true));
  const Tensor x = randn({3, 2, 3}).requires_grad_();
  const Tensor h = randn({4, 2, 2});
  const Tensor c = randn({4, 2, 2});
  const auto [output, states] = lstm(x, std::make_tuple(h, c));
  check_recorded(*lstm, x, output, {std::get<0>(states), std::get<1>(states)},
      {{-0.23300251677587816, -0.26328454786280303, 0.077177402605316303, 0.29809136905435857, -0.22117061407241392, -0.16895916624438398,
       0.045678759390872438, 0.26062726205293446, -0.097103451396392412, -0.25846704474528182, 0.048574098314954586, 0.31407867770417641,
       -0.11947798412096181, -0.16228488900601201, 0.067092489918051806, 0.24977964291765023, -0.070942542408526377, -0.20492508216230346,
       -0.047670312303831626, 0.43080801698298476, -0.047500611680279074, -0.14299674857894684, 0.089899202517631796, 0.21769186099521873},
       {0.0041883364601450141, 0.25420017837163861, -0.14817622409133335, 0.075122946099380444, -0.089136182875370965, -0.34318978152192753,
       0.068793606016775907, -0.12514756665522475, -0.070942542408526377, -0.20492508216230346, -0.047500611680279074, -0.14299674857894684,
       0.077177402605316303, 0.29809136905435857, 0.045678759390872438, 0.26062726205293446, 0.031278025063979809, 0.42289820464447891, -0.58675695423504681,
       0.16505831200804327, -0.47057690041940353, -0.74906402136864059, 0.42428964493921784, -0.54145872688209584, -0.19512167463781394, -0.48327504739975391,
       -0.12057947112557971, -0.28964820726583851, 0.21448489535552015, 0.80444488314314511, 0.13202827794316099, 0.63285786364014973},
       {2.1040553143320375, -2.838401789910463, -0.34433912870502881, -0.81610450600046103, 1.8088107564487141, -0.30766086822592015, -0.28249653443259093,
       -1.1941903734063566, -3.4633847414178169, -0.83807736589116066, -1.9015093847632341, 0.78931361563426239, -1.2787723807267797, -0.76980599696027163,
       -0.55197601620954051, 0.13694996229107723},
       {-1.8695565620565584, -0.29092112116781971, 4.6457254946209252, 4.6457254946209261, -6.9637432496755327, 3.158715326179554, 0.71498498075447658,
       0.71498498075447658, -5.3675730245930122, -7.2255816745038643, 19.225661906377333, 19.225661906377333, -10.547664043694565, 3.5495100175322314,
       43.36534857824671, 43.365348578246717},
       {0.63462181401131179, 3.6501705777137912, -0.41015992615335384}});

  manual_seed(3);
  nn::LSTM projected(nn::LSTMOptions(3, 4).proj_size(2).batch_first(true));
  CHECK_EQ(parameter_names(*projected), "weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0 weight_hr_l0");
  const Tensor y = randn({2, 3, 3}).requires_grad_();
  const auto [output2, states2] = projected(y);
  check_recorded(*projected, y, output2, {std::get<0>(states2), std::get<1>(states2)},
      {{-0.028205981031009443, -0.078514095536951337, -0.0020807104764452794, -0.20219780905427118, 0.0082802253260781666, -0.24382276795996716,
       -0.027787593252518311, 0.006242729902727371, -0.015287840283540993, -0.12798797582692173, -0.0093729951520985857, -0.17557129672043253},
       {0.0082802253260781666, -0.24382276795996716, -0.0093729951520985857, -0.17557129672043253, 0.88026711429232174, -0.20837043587337273,
       0.49451064930598759, -0.029631497228174288, 0.46187573270711224, -0.047582646550664208, 0.5074948816080731, -0.93725758586523322},
       {-2.9866280715493412, -2.7925845488017491, 0.83395249353193834, -0.93464231983562629, 0.10370932052992987},
       {-2.7993117703200712, -0.57645463251786722, 4.5652695671374088, 4.5652695671374079, 2.4220230627796244},
       {-1.3547418121951877, -1.1908068032098735, 1.5267502306847216}});
}

TEST_CASE("GRU: two layers in both directions") {
  const DoubleScope scope;
  manual_seed(4);
  nn::GRU gru(nn::GRUOptions(3, 2).num_layers(2).bidirectional(true));
  const Tensor x = randn({3, 2, 3}).requires_grad_();
  const auto [output, last] = gru(x);
  check_recorded(*gru, x, output, {last},
      {{-0.15804937731593419, -0.37188761115808949, 0.39308630136656142, -0.20554522070679579, -0.11067163465194929, -0.33905254327577838, 0.35464028787653279,
       -0.26138510171275375, -0.36495549194901339, -0.6198683259219433, 0.31201589885381931, -0.14575248217249265, -0.21979429626837405, -0.53616137527711627,
       0.28630197060522056, -0.20256405580966613, -0.37781945617184937, -0.70830864506582081, 0.16100444601834002, -0.12353996802858852, -0.30933218054136302,
       -0.51756057626411134, 0.19167153449911434, -0.1354093774389131},
       {-0.47314695027764464, 0.33588958022380389, -0.60159190485638392, -0.031395265767537622, -0.037083340091704747, 0.12538578682358051,
       0.04673058581180628, -0.13476294171798073, -0.37781945617184937, -0.70830864506582081, -0.30933218054136302, -0.51756057626411134, 0.39308630136656142,
       -0.20554522070679579, 0.35464028787653279, -0.26138510171275375},
       {-0.16926756870635895, -1.6471526376495758, -1.5073092461905713, 2.1217525806929092, -0.85988945868678435, -0.71072208370494605, -1.6908224432688517,
       0.45272389917896461, 0.013126163717022354, 3.3652079034017266, -0.55507697191362371, -0.18418669653711323, 3.258645635841587, -1.1647885829061004,
       -0.48123628311924238, 0.89059752120537883},
       {0.4741671885065617, 0.17761704257556798, -13.082543205804024, -7.9089272370331187, -6.9436028366697116, 0.58304279297386596, 6.6075002353794563,
       3.260081207376972, -3.4048045283590644, -11.087330934160182, 47.351838307568997, 26.692360856557741, -3.2698083149598425, 0.36582370170158029,
       34.581294139742603, 7.1013692444918277},
       {1.6590351314820424, 3.4998708520494954, 1.6559754879224882}});
}

TEST_CASE("layers as functions: what the modules compute with their weights") {
  manual_seed(3);
  const Tensor x = randn({2, 5, 3});
  nn::LSTM lstm_layer(nn::LSTMOptions(3, 4).num_layers(2).bidirectional(true).batch_first(true).proj_size(2));
  const auto [expected, states] = lstm_layer(x);
  const auto [output, h, c] = lstm(x, {zeros({4, 2, 2}), zeros({4, 2, 4})}, lstm_layer->all_weights(), true, 2, 0, true, true, true);
  CHECK_EQ(output.detach(), expected.detach());
  CHECK_EQ(h.detach(), std::get<0>(states).detach());
  CHECK_EQ(c.detach(), std::get<1>(states).detach());
  nn::GRU gru_layer(nn::GRUOptions(3, 4).bias(false));
  CHECK_EQ(std::get<0>(gru(x, zeros({1, 5, 4}), gru_layer->all_weights(), false, 1, 0, true, false, false)).detach(), std::get<0>(gru_layer(x)).detach());
  nn::RNN rnn_layer(nn::RNNOptions(3, 4).nonlinearity(kReLU));
  CHECK_EQ(std::get<1>(rnn_relu(x, zeros({1, 5, 4}), rnn_layer->all_weights(), true, 1, 0, true, false, false)).detach(), std::get<1>(rnn_layer(x)).detach());
  CHECK_ERROR(gru(x, zeros({1, 5, 4}), gru_layer->all_weights(), true, 1, 0, true, false, false), "got an incorrect number of RNN parameters");
  CHECK_ERROR(lstm(x, {zeros({1, 5, 4})}, lstm_layer->all_weights(), true, 2, 0, true, true, true), "lstm expects two hidden states");
  CHECK_ERROR(gru(x, zeros({1, 4, 4}), gru_layer->all_weights(), false, 1, 0, true, false, false), "Expected hidden size [1, 5, 4], got [1, 4, 4]");
}

// %%
TEST_CASE("LSTM as one node: values and gradients of first and second order are those of its steps") {
  const DoubleScope scope;
  manual_seed(22);
  // Few steps, and so many that the weights are turned.
  for (const std::int64_t T : {3, 9})
    for (const bool has_biases : {true, false}) {
      CAPTURE(T);
      CAPTURE(has_biases);
      std::vector<Tensor> inputs{randn({T, 2, 3}), randn({2, 2, 4}), randn({2, 2, 4})};
      for (int direction = 0; direction < 2; ++direction) {
        inputs.push_back(randn({16, 3}));
        inputs.push_back(randn({16, 4}));
        for (int bias = 0; bias < 2 && has_biases; ++bias) inputs.push_back(randn({16}));
      }
      for (Tensor& input : inputs) input.requires_grad_();
      const std::vector<Tensor> weights(inputs.begin() + 3, inputs.end());
      const auto by_layer = [&] {
        const auto [output, h, c] = lstm(inputs[0], {inputs[1], inputs[2]}, weights, has_biases, 1, 0, true, true, false);
        return std::vector<Tensor>{output, h, c};
      };
      const auto by_cells = [&] {
        std::vector<Tensor> outputs, hs, cs;
        for (std::int64_t direction = 0; direction < 2; ++direction) {
          const Tensor* const w = weights.data() + direction * (has_biases ? 4 : 2);
          std::vector<Tensor> steps(static_cast<std::size_t>(T));
          Tensor h = inputs[1][direction], c = inputs[2][direction];
          for (std::int64_t step = 0; step < T; ++step) {
            const std::int64_t t = direction == 0 ? step : T - 1 - step;
            const Tensor x = linear(inputs[0][t], w[0], has_biases ? w[2] : Tensor());
            std::tie(h, c) = composed_lstm_cell(x + linear(h, w[1], has_biases ? w[3] : Tensor()), c);
            steps[static_cast<std::size_t>(t)] = h;
          }
          outputs.push_back(stack(steps));
          hs.push_back(h);
          cs.push_back(c);
        }
        return std::vector<Tensor>{cat(outputs, -1), stack(hs), stack(cs)};
      };
      // Of the output alone, of the last states alone, of all.
      for (int losses = 1; losses <= 3; ++losses) {
        CAPTURE(losses);
        const auto all_of = [&](const std::vector<Tensor>& results) {
          Tensor loss = zeros({});
          if ((losses & 1) != 0) loss = loss + weighted_sum(results[0]);
          if ((losses & 2) != 0) loss = loss + weighted_sum(results[1]) + weighted_sum(results[2] * results[2]);
          std::vector<Tensor> all;
          for (const Tensor& result : results) all.push_back(result.detach());
          for (const Tensor& gradient : autograd::grad({loss}, inputs, {}, true)) all.push_back(gradient);
          const std::vector<Tensor> recorded = autograd::grad({loss}, inputs, {}, std::nullopt, true);
          Tensor squares = zeros({});
          for (const Tensor& gradient : recorded) {
            all.push_back(gradient.detach());
            squares = squares + (gradient * gradient).sum();
          }
          for (const Tensor& gradient : autograd::grad({squares}, inputs)) all.push_back(gradient);
          return all;
        };
        const std::vector<Tensor> layer = all_of(by_layer()), cells = all_of(by_cells());
        REQUIRE_EQ(layer.size(), cells.size());
        for (std::size_t i = 0; i < layer.size(); ++i) {
          CAPTURE(i);
          CHECK_CLOSE(layer[i], cells[i], 1e-10, 1e-10);
        }
      }
    }
}

TEST_CASE("LSTM as one node: what is frozen gets no gradient, no two gradients share memory, hooks are called once, saved tensors are watched") {
  manual_seed(23);
  nn::LSTM lstm(3, 4);
  const Tensor x = randn({5, 2, 3});
  std::get<0>(lstm(x)).sum().backward();
  const std::vector<Tensor> parameters = lstm->parameters();  // weight_ih, weight_hh, bias_ih, bias_hh
  std::vector<Tensor> expected;
  for (const Tensor& parameter : parameters) expected.push_back(parameter.grad().clone());
  CHECK_EQ(expected[2], expected[3]);
  CHECK(!parameters[2].grad().is_alias_of(parameters[3].grad()));

  lstm->zero_grad();
  parameters[1].requires_grad_(false);
  parameters[2].requires_grad_(false);
  std::get<0>(lstm(x)).sum().backward();
  for (const std::size_t i : {0, 3}) CHECK_EQ(parameters[i].grad(), expected[i]);
  for (const std::size_t i : {1, 2}) CHECK(!parameters[i].grad().defined());

  int calls = 0;
  parameters[0].register_hook([&](const Tensor& gradient) {
    ++calls;
    return gradient;
  });
  const Tensor output = std::get<0>(lstm(x));
  const Tensor gradient = autograd::grad({output.pow(2).sum()}, {parameters[0]}, {}, std::nullopt, true)[0];
  CHECK_EQ(calls, 1);
  CHECK(gradient.requires_grad());
  output.detach().zero_();
  CHECK_ERROR(output.sum().backward(), "has been modified by an inplace operation");
  const NoGradGuard no_grad;
  CHECK(!std::get<0>(lstm(x)).requires_grad());
}

// %%
TEST_CASE("cells: two steps, as PyTorch's and as a layer of one step") {
  const DoubleScope scope;
  manual_seed(5);
  nn::RNNCell rnn(3, 2);
  const Tensor x = randn({2, 3});
  CHECK_CLOSE(rnn(x, rnn(x)).view(-1), tensor({0.045095807023949892, -0.80421651333131772, 0.35843745048400333, -0.81231276099713678}), 1e-12, 1e-13);
  manual_seed(6);
  nn::LSTMCell lstm(3, 2);
  const Tensor y = randn({2, 3});
  const auto [h, c] = lstm(y, lstm(y));
  CHECK_CLOSE(h.view(-1), tensor({-0.069675436324451515, -0.4090104290381199, -0.084636955929330029, -0.63437085629688661}), 1e-12, 1e-13);
  CHECK_CLOSE(c.view(-1), tensor({-0.15422410584200691, -0.7711115312905843, -0.64000910851435855, -0.88071260052007827}), 1e-12, 1e-13);
  manual_seed(7);
  nn::GRUCell gru(3, 2);
  const Tensor z = randn({2, 3});
  CHECK_CLOSE(gru(z, gru(z)).view(-1), tensor({-0.27971243940642054, -0.82241069296184477, -0.22045233277501702, -0.45145531175614872}), 1e-12, 1e-13);
  CHECK_CLOSE(gru(z[0]), gru(z)[0], 1e-12, 1e-13);

  manual_seed(7);
  nn::GRU layer(3, 2);
  CHECK_CLOSE(std::get<0>(layer(z.unsqueeze(0)))[0], gru(z), 1e-12, 1e-13);
}

TEST_CASE("recurrent layers: dropout between layers in training only, clones, printing, errors") {
  manual_seed(9);
  nn::GRU gru(nn::GRUOptions(3, 4).num_layers(2).dropout(0.5));
  const Tensor x = randn({5, 2, 3});
  const Tensor trained = std::get<0>(gru(x));
  gru->eval();
  const Tensor evaluated = std::get<0>(gru(x));
  CHECK(!allclose(trained, evaluated));
  CHECK_EQ(std::get<0>(gru(x)), evaluated);
  const auto copy = std::dynamic_pointer_cast<nn::GRUImpl>(gru->clone());
  REQUIRE(copy != nullptr);
  CHECK_EQ(std::get<0>(copy->forward(x)), evaluated);
  copy->all_weights()[0].detach().zero_();
  CHECK_EQ(std::get<0>(gru(x)), evaluated);

  CHECK_EQ(printed(nn::LSTM(nn::LSTMOptions(128, 64).num_layers(3).dropout(0.2))),
           "torch::nn::LSTM(input_size=128, hidden_size=64, num_layers=3, bias=true, batch_first=false, dropout=0.2, bidirectional=false)");
  CHECK_EQ(printed(nn::RNNCell(nn::RNNCellOptions(10, 20).bias(false).nonlinearity(kReLU))), "torch::nn::RNNCell(10, 20, bias=false, nonlinearity=kReLU)");
  CHECK_EQ(printed(nn::GRUCell(10, 20)), "torch::nn::GRUCell(10, 20)");

  CHECK_ERROR(gru(ones({4, 3})), "input must have 3 dimensions, got 2");
  CHECK_ERROR(gru(ones({4, 2, 5})), "input.size(-1) must be equal to input_size. Expected 3, got 5");
  CHECK_ERROR(gru(ones({0, 2, 3})), "Expected sequence length to be larger than 0 in RNN");
  CHECK_ERROR(gru(x, ones({2, 3, 4})), "Expected hidden size [2, 2, 4], got [2, 3, 4]");
  nn::LSTM lstm(3, 2);
  CHECK_ERROR(lstm(x, std::make_tuple(zeros({1, 2, 2}), zeros({1, 3, 2}))), "Expected hidden[1] size [1, 2, 2], got [1, 3, 2]");
  CHECK_ERROR(nn::LSTM(nn::LSTMOptions(3, 2).proj_size(2)), "proj_size has to be a positive integer, smaller than hidden_size or zero to disable projections");
  CHECK_ERROR(nn::RNN(nn::RNNOptions(3, 2).dropout(1.5)), "dropout should be a number in range [0, 1]");
  CHECK_ERROR(nn::RNN(3, 0), "hidden_size must be greater than zero");
  CHECK_ERROR(nn::GRUCell(3, 2)(ones({1, 1, 3})), "Expected input to be 1D or 2D, got 3D instead");
}

// %%
// The rule that packing has to keep: each sequence gets what it would get alone.
TEST_CASE("packed sequences: every sequence as if it were alone, in both directions, in every order") {
  namespace rnn = nn::utils::rnn;
  const DoubleScope scope;
  manual_seed(11);
  const Tensor x = randn({5, 3, 4});
  const Tensor lengths = tensor({3, 5, 1});  // the longest in the middle
  const Tensor h = randn({4, 3, 2}), c = randn({4, 3, 3});
  nn::LSTM lstm(nn::LSTMOptions(4, 3).num_layers(2).bidirectional(true).proj_size(2));
  const auto [packed, states] = lstm->forward_with_packed_input(rnn::pack_padded_sequence(x, lengths, false, false), std::make_tuple(h, c));
  const auto [output, same_lengths] = rnn::pad_packed_sequence(packed);
  CHECK_EQ(same_lengths, lengths);
  CHECK_EQ(output.sizes(), IntArrayRef({5, 3, 4}));
  for (const std::int64_t b : {0, 1, 2}) {
    CAPTURE(b);
    const std::int64_t T = lengths[b].item<std::int64_t>();
    const auto [alone, last] = lstm->forward(x.narrow(0, 0, T).narrow(1, b, 1), std::make_tuple(h.narrow(1, b, 1), c.narrow(1, b, 1)));
    CHECK_CLOSE(output.narrow(0, 0, T).narrow(1, b, 1), alone, 1e-12, 1e-13);
    CHECK_EQ(output.narrow(0, T, 5 - T).select(1, b), zeros({5 - T, 4}));
    CHECK_CLOSE(std::get<0>(states).narrow(1, b, 1), std::get<0>(last), 1e-12, 1e-13);
    CHECK_CLOSE(std::get<1>(states).narrow(1, b, 1), std::get<1>(last), 1e-12, 1e-13);
  }

  nn::GRU gru(nn::GRUOptions(4, 3).bidirectional(true).batch_first(true));
  const auto [by_gru, last_of_gru] = gru->forward_with_packed_input(rnn::pack_padded_sequence(x.transpose(0, 1), lengths, true, false));
  CHECK_CLOSE(std::get<0>(rnn::pad_packed_sequence(by_gru, true)).select(0, 2).narrow(0, 0, 1), std::get<0>(gru(x.transpose(0, 1).narrow(0, 2, 1).narrow(1, 0, 1)))[0], 1e-12, 1e-13);
  CHECK_CLOSE(last_of_gru.narrow(1, 1, 1), std::get<1>(gru(x.transpose(0, 1).narrow(0, 1, 1))), 1e-12, 1e-13);
}

TEST_CASE("packed sequences: gradients are those of the sequences alone, and filling gets none") {
  namespace rnn = nn::utils::rnn;
  const DoubleScope scope;
  manual_seed(12);
  nn::RNN both(nn::RNNOptions(3, 2).bidirectional(true));
  const Tensor x = randn({4, 2, 3}).requires_grad_();
  const Tensor lengths = tensor({4, 2});
  const auto [packed, last] = both->forward_with_packed_input(rnn::pack_padded_sequence(x, lengths));
  (weighted_sum(std::get<0>(rnn::pad_packed_sequence(packed))) + weighted_sum(last)).backward();
  const Tensor by_packing = x.grad().clone();
  std::vector<Tensor> gradients;
  for (const Tensor& parameter : both->parameters()) gradients.push_back(parameter.grad().clone());
  CHECK_EQ(by_packing.narrow(0, 2, 2).select(1, 1), zeros({2, 3}));

  both->zero_grad();
  x.mutable_grad() = Tensor();
  const auto [first, first_last] = both(x.narrow(1, 0, 1));
  const auto [second, second_last] = both(x.narrow(0, 0, 2).narrow(1, 1, 1));
  const Tensor output = cat({first, cat({second, zeros({2, 1, 4})})}, 1);
  (weighted_sum(output) + weighted_sum(cat({first_last, second_last}, 1))).backward();
  CHECK_CLOSE(x.grad(), by_packing, 1e-12, 1e-13);
  for (std::size_t i = 0; i < gradients.size(); ++i) CHECK_CLOSE(both->parameters()[i].grad(), gradients[i], 1e-11, 1e-13);

  CHECK_ERROR(both->forward_with_packed_input(rnn::pack_padded_sequence(randn({4, 2, 5}), lengths)), "input.size(-1) must be equal to input_size. Expected 3, got 5");
  CHECK_ERROR(both->forward_with_packed_input(rnn::pack_padded_sequence(randn({4, 2}), lengths)), "input must have 2 dimensions, got 1");
  CHECK_ERROR(both->forward_with_packed_input(rnn::pack_padded_sequence(x, lengths), zeros({2, 3, 2})), "Expected hidden size [2, 2, 2], got [2, 3, 2]");
}

// %% [markdown]
// ## A task that needs a memory
//
// Is the number of ones so far odd? One bit of state is enough, but it must survive the whole sequence. The losses of an LSTM with six units are PyTorch's, step by step.

// %%
TEST_CASE("LSTM: learns the parity of bits, with PyTorch's losses") {
  const DoubleScope scope;
  manual_seed(8);
  nn::LSTM lstm(2, 6);
  nn::Linear head(6, 2);
  const Tensor bits = randint(0, 2, {7, 32});
  const Tensor x = stack({1 - bits, bits}, -1).to(kDouble);
  const Tensor sums = bits.cumsum(0);
  const Tensor target = sums.remainder(2).reshape(-1);
  std::vector<Tensor> parameters = lstm->parameters();
  for (const Tensor& parameter : head->parameters()) parameters.push_back(parameter);
  optim::Adam optimizer(parameters, 0.03);
  std::vector<double> losses;
  for (int i = 0; i < 60; ++i) {
    const Tensor loss = cross_entropy_loss(head(std::get<0>(lstm(x))).reshape({-1, 2}), target);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item<double>());
  }
  // Recorded from PyTorch 2.15.0, float64.
  CHECK_CLOSE(losses[0], 0.76533801793499412, 1e-9, 0.0);
  CHECK_CLOSE(losses[1], 0.72974451626296621, 1e-9, 0.0);
  CHECK_CLOSE(losses[9], 0.6881887367952475, 1e-9, 0.0);
  CHECK_CLOSE(losses[29], 0.65818977456742522, 1e-9, 0.0);
  CHECK_CLOSE(losses[59], 0.16459177509611517, 1e-8, 0.0);
}

// %% [markdown]
// ## What it costs
//
// The time per step does not fall with the length of the sequence, because the steps wait for each other; and each step of the graph saves its gates for the backward pass.

// %%
DEMO("one layer of 64 units on a batch of 8: time and memory by the length of the sequence") {
  std::printf("  %-5s %6s %14s %14s %14s\n", "", "T", "forward", "per step", "graph keeps");
  const auto row = [](const char* name, auto layer, std::int64_t T) {
    const Tensor x = randn({T, 8, 32});
    const double seconds = measure([&] {
      const NoGradGuard no_grad;
      layer(x);
    }, {.samples = 3}).median;
    const std::size_t before = memory::stats().live;
    const auto result = layer(x);
    std::printf("  %-5s %6lld %14s %14s %11.0f KB\n", name, static_cast<long long>(T), format_seconds(seconds).c_str(), format_seconds(seconds / static_cast<double>(T)).c_str(),
                static_cast<double>(memory::stats().live - before) / 1024);
  };
  for (const std::int64_t T : {8, 32, 128}) {
    row("RNN", nn::RNN(32, 64), T);
    row("GRU", nn::GRU(32, 64), T);
    row("LSTM", nn::LSTM(32, 64), T);
  }
  std::fflush(stdout);
}

// %% [markdown]
// ## Where to read on
//
// PyTorch's layers are `torch/csrc/api/src/nn/modules/rnn.cpp` (options, weights, checks) and `aten/src/ATen/native/RNN.cpp`, whose `FullLayer` is `run_steps` with the product of all inputs in front, and whose cells are the steps above: `LSTMCell` there composes on CPUs and calls `_thnn_fused_lstm_cell` (`aten/src/ATen/native/cuda/RNN.cu`) on GPUs.
// On CPUs whole LSTM layers of float go to oneDNN instead (`aten/src/ATen/native/mkldnn/RNN.cpp`), as on GPUs to cuDNN, which runs all layers as one kernel and starts layer 1 at step t
// as soon as layer 0 has made it. Keras has `keras/src/layers/rnn/lstm.py`; in JAX, `flax.linen.RNN` runs a cell with `jax.lax.scan`, so that the loop is compiled once.

// %%
}  // namespace tinytorch
