// From the lesson modules/54_recurrent/recurrent_dev.cpp:
// edit the module, not this file.
#pragma once

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

namespace tinytorch {

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

// What an LSTM's step does behind its products: of the gates i, f, g, o, which are input_gates + hidden_gates (..., 4 H), and cx (..., H) -> the next h and c (..., H) and the workspace, the gates behind sigmoid and tanh (..., 4 H). O(numel). Throws on sizes that do not fit.
// PyTorch's takes biases besides; here the products bring them. Source: aten/src/ATen/native/cuda/RNN.cu.
std::tuple<Tensor, Tensor, Tensor> _thnn_fused_lstm_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx);

namespace op {
extern Operator<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&)> _thnn_fused_lstm_cell;
// Its gradient: of h and c (at least one of them), from cx, c and the workspace, -> of the gates, which is that of both operands, and of cx.
extern Operator<std::tuple<Tensor, Tensor>(const std::optional<Tensor>&, const std::optional<Tensor>&, const Tensor&, const Tensor&, const Tensor&)> _thnn_fused_lstm_cell_backward;
}  // namespace op

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

}  // namespace tinytorch
