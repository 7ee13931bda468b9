// From the lesson modules/54_recurrent/recurrent_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/recurrent.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <utility>

#include "tinytorch/core/custom_function.h"
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

std::tuple<Tensor, Tensor> lstm_step(const Tensor& gates, const Tensor& h, const Tensor& c, const Tensor& w_hh, const Tensor& b_hh) {
  const std::vector<Tensor> parts = (gates + linear(h, w_hh, b_hh)).chunk(4, -1);
  const Tensor cell = sigmoid(parts[1]) * c + sigmoid(parts[0]) * tanh(parts[2]);
  return {sigmoid(parts[3]) * tanh(cell), cell};
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
std::tuple<Tensor, std::vector<Tensor>> run_lstm(const Tensor& x, std::vector<Tensor> state, const nn::detail::CellWeights& w, bool reverse, IntArrayRef batch_sizes) {
  return run_steps(x, std::move(state), w, reverse, batch_sizes, [&](const Tensor& gates, const std::vector<Tensor>& s) {
    auto [h, c] = lstm_step(gates, s[0], s[1], w.w_hh, w.b_hh);
    if (w.w_hr.defined()) h = linear(h, w.w_hr);
    return std::vector<Tensor>{h, c};
  });
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
