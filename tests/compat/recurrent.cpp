// Recurrent layers and cells: options, states, sequences of unequal lengths, gradients.
#include <torch/nn/utils/rnn.h>
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <string>

namespace nn = torch::nn;
using torch::Tensor;

void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

void fill(nn::Module& module) {
  module.to(torch::kDouble);
  torch::NoGradGuard no_grad;
  double start = 0;
  for (Tensor& parameter : module.parameters()) parameter.copy_(torch::sin(torch::arange(parameter.numel(), torch::kDouble) * 0.7 + (start += 1)).view_as(parameter) * 0.5);
}

Tensor numbers(torch::IntArrayRef sizes, double start = 0) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return torch::cos(torch::arange(count, torch::kDouble) * 1.3 + start).view(sizes);
}

void layers() {
  nn::RNN rnn(nn::RNNOptions(3, 2).num_layers(2).nonlinearity(torch::kReLU));
  fill(*rnn);
  const auto [output, state] = rnn(numbers({4, 2, 3}));
  std::cout << *rnn << "\n" << output << "\n" << state << "\n";
  for (const auto& item : rnn->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";

  nn::LSTM lstm(nn::LSTMOptions(3, 2).bidirectional(true).batch_first(true));
  fill(*lstm);
  const auto [sequence, states] = lstm(numbers({2, 4, 3}));
  std::cout << *lstm << "\n" << sequence << "\n" << std::get<0>(states) << "\n" << std::get<1>(states) << "\n";
  sequence.pow(2).sum().backward();
  for (const auto& item : lstm->named_parameters()) std::cout << item.key() << " " << torch::round(item.value().grad().sum() * 1e6).item<double>() << "\n";

  nn::LSTM projected(nn::LSTMOptions(3, 4).proj_size(2));
  fill(*projected);
  const auto [small, small_states] = projected(numbers({3, 1, 3}), std::make_tuple(numbers({1, 1, 2}), numbers({1, 1, 4}, 2)));
  std::cout << small << "\n" << std::get<1>(small_states) << "\n";

  nn::GRU gru(nn::GRUOptions(3, 2).bias(false));
  fill(*gru);
  const auto [last, hidden] = gru(numbers({3, 2, 3}), numbers({1, 2, 2}));
  std::cout << *gru << "\n" << last << "\n" << hidden << "\n";
  show("input size", [&] { gru(numbers({3, 2, 4})); });
  show("dimensions", [&] { lstm(numbers({3})); });
}

void cells() {
  nn::RNNCell rnn(nn::RNNCellOptions(3, 2).nonlinearity(torch::kTanh));
  nn::LSTMCell lstm(nn::LSTMCellOptions(3, 2));
  nn::GRUCell gru(nn::GRUCellOptions(3, 2).bias(false));
  fill(*rnn);
  fill(*lstm);
  fill(*gru);
  std::cout << *rnn << *lstm << *gru << "\n";
  const Tensor x = numbers({2, 3});
  std::cout << rnn(x) << "\n" << rnn(x, numbers({2, 2})) << "\n" << gru(x, numbers({2, 2})) << "\n";
  const auto [h, c] = lstm(x, std::make_tuple(numbers({2, 2}), numbers({2, 2}, 1)));
  std::cout << h << "\n" << c << "\n";
  show("cell", [&] { rnn(numbers({2, 4})); });
}

void packed() {
  namespace rnn = torch::nn::utils::rnn;
  const Tensor padded = rnn::pad_sequence({numbers({4, 3}), numbers({2, 3}, 1), numbers({1, 3}, 2)});
  std::cout << padded.sizes() << "\n" << rnn::pad_sequence({torch::ones(1), torch::ones(2)}, true, 7) << "\n";
  const auto sequence = rnn::pack_padded_sequence(padded, torch::tensor({4, 2, 1}));
  std::cout << sequence.data().sizes() << sequence.batch_sizes() << "\n";
  nn::GRU gru(nn::GRUOptions(3, 2));
  fill(*gru);
  const auto [output, state] = gru->forward_with_packed_input(sequence);
  const auto [unpacked, lengths] = rnn::pad_packed_sequence(output);
  std::cout << unpacked << "\n" << lengths << "\n" << state << "\n";
  const auto unsorted = rnn::pack_sequence({numbers({1, 3}), numbers({3, 3})}, /*enforce_sorted=*/false);
  std::cout << unsorted.sorted_indices() << unsorted.unsorted_indices() << unsorted.batch_sizes() << "\n";
  show("unsorted", [&] { rnn::pack_padded_sequence(padded, torch::tensor({1, 2, 4})); });
}

void functions() {
  nn::LSTM layer(nn::LSTMOptions(3, 2).num_layers(2).bidirectional(true));
  fill(*layer);
  const Tensor x = numbers({4, 1, 3});
  const auto [output, h, c] = torch::lstm(x, {torch::zeros({4, 1, 2}, torch::kDouble), torch::ones({4, 1, 2}, torch::kDouble)}, layer->parameters(), true, 2, 0.0, false, true, false);
  std::cout << output << "\n" << h << "\n" << c << "\n";
  nn::GRU gru(nn::GRUOptions(3, 2).batch_first(true).bias(false));
  fill(*gru);
  const auto [states, last] = torch::gru(x, torch::zeros({1, 4, 2}, torch::kDouble), gru->parameters(), false, 1, 0.0, false, false, true);
  std::cout << states << "\n" << last << "\n";
  show("weights", [&] { torch::gru(x, torch::zeros({1, 4, 2}, torch::kDouble), gru->parameters(), true, 1, 0.0, false, false, true); });
  show("states", [&] { torch::lstm(x, {torch::zeros({4, 1, 2}, torch::kDouble)}, layer->parameters(), true, 2, 0.0, false, true, false); });
}

int main() {
  std::cout << std::boolalpha;
  layers();
  cells();
  packed();
  functions();
}
