// The GPT of milestone 2019 on tinyshakespeare.txt, as PyTorch trains it in tests/golden/record_shakespeare.py: the same first losses, and the same loss on text that it has not read.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "golden/reader.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

constexpr std::int64_t kContext = 32;
constexpr std::int64_t kWindows = 200;

struct Shakespeare {
  Tensor training, held_out;
  std::int64_t vocabulary = 0;
};

// Nothing where TINYTORCH_DATA names no folder with the text.
std::optional<Shakespeare> shakespeare() {
  const char* const folder = std::getenv("TINYTORCH_DATA");
  if (folder == nullptr || !std::filesystem::exists(std::filesystem::path(folder) / "tinyshakespeare.txt")) {
    MESSAGE("skipped: TINYTORCH_DATA does not name a folder with tinyshakespeare.txt");
    return std::nullopt;
  }
  const std::string text = serialize::read_file(std::string(folder) + "/tinyshakespeare.txt");
  std::string letters = text;
  std::sort(letters.begin(), letters.end());
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  std::vector<std::int64_t> tokens;
  for (const char letter : text) tokens.push_back(static_cast<std::int64_t>(letters.find(letter)));
  const Tensor all = tensor(tokens);
  const std::int64_t count = all.size(0) * 9 / 10;
  return Shakespeare{all.narrow(0, 0, count), all.narrow(0, count, all.size(0) - count), static_cast<std::int64_t>(letters.size())};
}

double validation_loss(models::GPT& model, const Tensor& held_out) {
  const NoGradGuard no_grad;
  const std::int64_t stride = (held_out.size(0) - kContext - 1) / kWindows;
  const Tensor rows = (arange(kWindows) * stride).unsqueeze(1) + arange(kContext + 1).unsqueeze(0);
  const Tensor windows = held_out.index_select(0, rows.view({-1})).view({kWindows, kContext + 1});
  return model->loss(windows.narrow(1, 0, kContext), windows.narrow(1, 1, kContext)).item<double>();
}

// The validation loss ends within `tolerance` (relative) of PyTorch's. On the way, at the highest rate, rounding alone moves it by some percent
// (tuned and reference kernels agree to 1e-6 in every step's gradients, and part there): 10 % after every 50 steps.
void check_training(const std::string& run, double tolerance) {
  const std::optional<Shakespeare> text = shakespeare();
  if (!text) return;
  const nlohmann::json expected = read_golden("shakespeare.json").at(run);
  const auto steps = expected.at("steps").get<unsigned>();
  manual_seed(2019);
  models::GPT model(models::GPTOptions(text->vocabulary, kContext).n_layer(2).n_head(4).n_embd(32));
  const auto settings = optim::AdamWOptions(1e-2).weight_decay(0.1);
  optim::AdamW optimizer(models::decay_groups(*model, settings), settings);
  optim::WarmupCosineLR schedule(optimizer, 50, steps);
  for (std::size_t step = 0; step < steps; ++step) {
    CAPTURE(step);
    const auto [inputs, targets] = models::random_windows(text->training, 16, kContext);
    optimizer.zero_grad();
    const Tensor loss = model->loss(inputs, targets);
    loss.backward();
    nn::utils::clip_grad_norm_(model->parameters(), 1.0);
    optimizer.step();
    schedule.step();
    if (step < expected.at("losses").size()) CHECK_CLOSE(loss.item<double>(), expected.at("losses")[step].get<double>(), 1e-3, 0.0);
    if ((step + 1) % 50 == 0) CHECK_CLOSE(validation_loss(model, text->held_out), expected.at("validation")[step / 50].get<double>(), step + 1 == steps ? tolerance : 0.1, 0.0);
  }
}

}  // namespace

// Its 150 steps end before the rate has fallen, where rounding still moves the loss: with AVX2 it ended 3.2 % from PyTorch's, the reference kernels within 2.
TEST_CASE("a GPT learns Shakespeare as in PyTorch: 150 steps from the same seed, the validation loss within 5 %") { check_training("short", 0.05); }

TEST_CASE("thorough: a GPT learns Shakespeare as in PyTorch, for the 2,500 steps of milestone 2019" * doctest::skip()) { check_training("long", 0.02); }

}  // namespace tinytorch::testing
