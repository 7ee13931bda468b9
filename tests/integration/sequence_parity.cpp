// The layers of tests/golden/record_sequences.py: the same initial parameters, results and gradients as in PyTorch.
#include <functional>
#include <string>
#include <vector>

#include "golden/reader.h"
#include "integration/default_dtype.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

struct Layer {
  std::vector<Tensor> parameters;
  std::vector<Tensor> inputs;
  std::function<std::vector<Tensor>(const std::vector<Tensor>&)> run;
};

void check_all(const char* what, const std::vector<Tensor>& tensors, const nlohmann::json& expected, double rtol, double atol) {
  CAPTURE(what);
  REQUIRE_EQ(tensors.size(), expected.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CAPTURE(i);
    CHECK_CLOSE(tensors[i].detach(), tensor_from(expected[i]), rtol, atol);
  }
}

// float64 agrees to 1e-11. In float32 sums round differently.
void check_layer(const std::string& layer, std::uint64_t seed, const std::function<Layer()>& build) {
  static const nlohmann::json document = read_golden("sequences.json");
  for (const ScalarType dtype : {kDouble, kFloat}) {
    const std::string name = layer + ", " + toString(dtype);
    CAPTURE(name);
    const nlohmann::json& expected = document.at("layers").at(name);
    const DefaultDtype scope(dtype);
    const bool exact = dtype == kDouble;
    manual_seed(seed);
    const Layer made = build();
    check_all("initial parameters", made.parameters, expected.at("initial"), exact ? 1e-14 : 1e-6, exact ? 1e-15 : 1e-7);
    check_all("inputs", made.inputs, expected.at("inputs"), exact ? 1e-14 : 1e-6, exact ? 1e-15 : 1e-6);
    for (const Tensor& input : made.inputs) input.requires_grad_();
    const std::vector<Tensor> results = made.run(made.inputs);
    check_all("results", results, expected.at("results"), exact ? 1e-12 : 1e-4, exact ? 1e-13 : 1e-6);
    Tensor loss = zeros({});
    for (const Tensor& result : results) loss = loss + (result * result * (arange(result.numel(), dtype) * 0.37 + 0.5).view(result.sizes())).sum();
    loss.backward();
    std::vector<Tensor> gradients;
    for (const Tensor& parameter : made.parameters) gradients.push_back(parameter.grad());
    for (const Tensor& input : made.inputs) gradients.push_back(input.grad());
    check_all("gradients", gradients, expected.at("gradients"), exact ? 1e-11 : 2e-4, exact ? 1e-12 : 2e-4);
  }
}

using Tensors = std::vector<Tensor>;

}  // namespace

TEST_CASE("MultiheadAttention computes what PyTorch's does: self-attention, causal, and with everything that may be added") {
  check_layer("attention", 0, [] {
    nn::MultiheadAttention layer(12, 3);
    return Layer{layer->parameters(), {randn({5, 2, 12})}, [layer](const Tensors& x) mutable {
                   const auto [output, weights] = layer(x[0], x[0], x[0]);
                   return Tensors{output, weights};
                 }};
  });
  check_layer("causal attention", 1, [] {
    nn::MultiheadAttention layer(nn::MultiheadAttentionOptions(8, 2).bias(false));
    return Layer{layer->parameters(), {randn({6, 3, 8})}, [layer](const Tensors& x) mutable {
                   return Tensors{std::get<0>(layer(x[0], x[0], x[0], Tensor(), false, ones({6, 6}, kBool).triu(1)))};
                 }};
  });
  check_layer("cross attention", 2, [] {
    nn::MultiheadAttention layer(nn::MultiheadAttentionOptions(8, 2).add_bias_kv(true).add_zero_attn(true).kdim(5).vdim(3));
    const Tensor query = randn({4, 2, 8});
    const Tensor key = randn({3, 2, 5});
    const Tensor value = randn({3, 2, 3});
    return Layer{layer->parameters(), {query, key, value}, [layer](const Tensors& x) mutable {
                   const auto [output, weights] = layer(x[0], x[1], x[2], tensor({{false, false, true}, {false, false, false}}), true, Tensor(), false);
                   return Tensors{output, weights};
                 }};
  });
}

TEST_CASE("RNN, LSTM and GRU compute what PyTorch's do") {
  check_layer("rnn", 3, [] {
    nn::RNN layer(nn::RNNOptions(4, 5).num_layers(2).bidirectional(true));
    const Tensor x = randn({6, 3, 4});
    const Tensor h = randn({4, 3, 5});
    return Layer{layer->parameters(), {x, h}, [layer](const Tensors& in) mutable {
                   const auto [output, last] = layer(in[0], in[1]);
                   return Tensors{output, last};
                 }};
  });
  check_layer("lstm", 4, [] {
    nn::LSTM layer(nn::LSTMOptions(4, 6).num_layers(2).batch_first(true).proj_size(3));
    const Tensor x = randn({3, 5, 4});
    const Tensor h = randn({2, 3, 3});
    const Tensor c = randn({2, 3, 6});
    return Layer{layer->parameters(), {x, h, c}, [layer](const Tensors& in) mutable {
                   const auto [output, last] = layer(in[0], std::make_tuple(in[1], in[2]));
                   return Tensors{output, std::get<0>(last), std::get<1>(last)};
                 }};
  });
  check_layer("gru", 5, [] {
    nn::GRU layer(nn::GRUOptions(4, 5).num_layers(3).bidirectional(true).bias(false));
    return Layer{layer->parameters(), {randn({6, 3, 4})}, [layer](const Tensors& in) mutable {
                   const auto [output, last] = layer(in[0]);
                   return Tensors{output, last};
                 }};
  });
}

}  // namespace tinytorch::testing
