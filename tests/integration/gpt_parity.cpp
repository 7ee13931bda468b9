// The same GPT, text and seed as in tests/golden/record_gpt.py: PyTorch's losses, step by step, and its validation loss; a GPT in half precision; and nn::Transformer with PyTorch's results.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "golden/reader.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

constexpr std::int64_t kBlock = 16;
constexpr unsigned kSteps = 50;

const nlohmann::json& recorded_gpt() {
  static const nlohmann::json document = read_golden("gpt.json");
  return document;
}

struct DefaultDtype {
  explicit DefaultDtype(ScalarType type) : before(get_default_dtype()) { set_default_dtype(type); }
  ~DefaultDtype() { set_default_dtype(before); }
  ScalarType before;
};

struct Text {
  Tensor tokens;
  std::int64_t vocabulary = 0;
};

Text lessons() {
  std::ifstream in(folder_with_golden() / "data/lessons.txt");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  REQUIRE(!text.empty());
  std::string letters = text;
  std::sort(letters.begin(), letters.end());
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  std::vector<std::int64_t> tokens;
  for (const char letter : text) tokens.push_back(static_cast<std::int64_t>(letters.find(letter)));
  return {tensor(tokens), static_cast<std::int64_t>(letters.size())};
}

void check_training(ScalarType dtype) {
  CAPTURE(dtype);
  const nlohmann::json& run = recorded_gpt().at("runs").at(toString(dtype));
  const DefaultDtype scope(dtype);
  const bool exact = dtype == kDouble;
  const Text text = lessons();
  const std::int64_t count = text.tokens.size(0) * 9 / 10;
  manual_seed(2019);
  models::GPT model(models::GPTOptions(text.vocabulary, kBlock).n_layer(2).n_head(2).n_embd(16));
  const auto settings = optim::AdamWOptions(1e-2).weight_decay(0.1);
  optim::AdamW optimizer(models::decay_groups(*model, settings), settings);
  optim::WarmupCosineLR schedule(optimizer, 10, kSteps, 0.1);
  std::size_t step = 0;
  for (const nlohmann::json& expected : run.at("losses")) {
    CAPTURE(step);
    ++step;
    const auto [inputs, targets] = models::random_windows(text.tokens.narrow(0, 0, count), 4, kBlock);
    optimizer.zero_grad();
    const Tensor loss = model->loss(inputs, targets);
    loss.backward();
    nn::utils::clip_grad_norm_(model->parameters(), 1.0);
    optimizer.step();
    schedule.step();
    CHECK_CLOSE(loss.item<double>(), expected.get<double>(), exact ? 1e-9 : 2e-3, 0.0);
  }
  CHECK_EQ(step, kSteps);
  const NoGradGuard no_grad;
  const Tensor rows = (arange(64) * 100).unsqueeze(1) + arange(kBlock + 1).unsqueeze(0) + count;
  const Tensor windows = text.tokens.index_select(0, rows.view({-1})).view({64, kBlock + 1});
  const Tensor validation = model->loss(windows.narrow(1, 0, kBlock), windows.narrow(1, 1, kBlock));
  CHECK_CLOSE(validation.item<double>(), run.at("validation").get<double>(), exact ? 1e-9 : 0.02, 0.0);
}

void check_transformer(const std::string& activation, const nn::TransformerOptions::activation_t& function) {
  CAPTURE(activation);
  const nlohmann::json& expected = recorded_gpt().at("transformer").at(activation);
  const DefaultDtype scope(kDouble);
  nn::Transformer model(nn::TransformerOptions(8, 2, 2, 2).dim_feedforward(12).dropout(0).activation(function));
  const auto parameters = model->named_parameters();
  std::vector<std::string> names = parameters.keys();
  std::sort(names.begin(), names.end());
  manual_seed(5);
  {
    const NoGradGuard no_grad;
    for (const std::string& name : names) parameters[name].normal_(0, 0.3);
  }
  const Tensor src = randn({4, 2, 8});
  const Tensor tgt = randn({3, 2, 8});
  const Tensor hidden = tensor({{0, 0, 0, 1}, {0, 0, 0, 0}}) == 1;
  const Tensor result = model(src, tgt, Tensor(), nn::TransformerImpl::generate_square_subsequent_mask(3), Tensor(), hidden, Tensor(), hidden);
  CHECK_CLOSE(result.detach(), tensor_from(expected.at("result")), 1e-10, 1e-11);
  (result * arange(result.numel(), kDouble).view(result.sizes()) * 0.01).sum().backward();
  REQUIRE_EQ(names.size(), expected.at("gradients").size());
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK_CLOSE(parameters[name].grad().abs().sum().item<double>(), expected.at("gradients").at(name).get<double>(), 1e-8, 1e-10);
  }
}

// The same weights in two bytes a number; the text goes through the model at once, and token by token with a cache.
void check_half(ScalarType dtype, double tolerance) {
  CAPTURE(dtype);
  const NoGradGuard no_grad;
  manual_seed(65);
  models::GPT model(models::GPTOptions(50, 24).n_layer(2).n_head(4).n_embd(64));
  for (const Tensor& parameter : model->parameters())
    if (parameter.dim() >= 2) parameter.mul_(4);
  model->to(dtype);
  const Tensor tokens = (arange(20) * 31).remainder(50).unsqueeze(0), expected = tensor_from(recorded_gpt().at("half").at(toString(dtype)).at("logits"));
  const auto every_third = [](const Tensor& logits) { return logits.select(0, 0).slice(0, 0, 20, 3).to(kDouble); };
  CHECK_CLOSE(every_third(model->forward(tokens)), expected, tolerance, tolerance);
  models::GPTCache cache(2);
  std::vector<Tensor> parts;
  for (std::int64_t t = 0; t < 20; ++t) parts.push_back(model->forward(tokens.narrow(1, t, 1), &cache));
  CHECK_CLOSE(every_third(cat(parts, 1)), expected, tolerance, tolerance);
}

}  // namespace

TEST_CASE("a GPT in Half and BFloat16 says what it says in PyTorch") {
  check_half(kHalf, 0.004);
  check_half(kBFloat16, 0.03);
}

TEST_CASE("a GPT trains as in PyTorch: 50 steps with warm-up, cosine, clipping and decay groups") {
  check_training(kDouble);
  check_training(kFloat);
}

TEST_CASE("nn::Transformer computes what PyTorch's does, with its gradients") {
  check_transformer("relu", kReLU);
  check_transformer("gelu", kGELU);
}

}  // namespace tinytorch::testing
