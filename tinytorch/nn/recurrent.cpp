// From the lesson modules/54_recurrent/recurrent_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/recurrent.h"

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

namespace tinytorch {

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

}  // namespace tinytorch
