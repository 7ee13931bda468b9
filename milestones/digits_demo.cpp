// Trains a two-layer network on the 8x8 digits that ship with TinyTorch, saves it, and in another process loads it and reads digits that it has not seen.
//
//   digits_demo train    [CHECKPOINT]
//   digits_demo classify [CHECKPOINT]
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;
using data::datasets::Digits;

constexpr std::int64_t kEpochs = 60;
constexpr std::int64_t kBatch = 32;
constexpr double kLearningRate = 3e-3;

nn::MLP make_network() { return nn::MLP(std::vector<std::int64_t>{64, 32, 10}); }

// ---- What the terminal shows.

const bool on_terminal = ::isatty(STDOUT_FILENO) == 1;

std::string progress_bar(std::int64_t done, std::int64_t total, int width) {
  const auto filled = static_cast<int>(done * width / total);
  std::string bar;
  for (int i = 0; i < width; ++i) bar += i < filled ? "█" : "░";
  return bar;
}

// The losses of the epochs so far as a curve of block characters, two epochs each, on a logarithmic scale.
std::string loss_curve(const std::vector<double>& all) {
  std::vector<double> losses;
  for (std::size_t i = 0; i < all.size(); i += 2) losses.push_back(all[i]);
  static constexpr std::array<const char*, 8> levels = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const auto [low, high] = std::minmax_element(losses.begin(), losses.end());
  const double bottom = std::log(*low);
  const double range = std::max(std::log(*high) - bottom, 1e-9);
  std::string curve;
  for (const double loss : losses) curve += levels[static_cast<std::size_t>(std::clamp((std::log(loss) - bottom) / range * 7.999, 0.0, 7.0))];
  return curve;
}

void print_confusion_matrix(const Tensor& guesses, const Tensor& targets) {
  std::array<std::array<int, 10>, 10> counts{};
  for (std::int64_t i = 0; i < targets.numel(); ++i)
    ++counts[static_cast<std::size_t>(targets[i].item<std::int64_t>())][static_cast<std::size_t>(guesses[i].item<std::int64_t>())];
  std::printf("\n  Confusion matrix of the held-out digits (row: the digit, column: the guess)\n\n       ");
  for (int digit = 0; digit < 10; ++digit) std::printf("%4d", digit);
  std::printf("\n      +%s\n", std::string(41, '-').c_str());
  for (std::size_t truth = 0; truth < 10; ++truth) {
    std::printf("  %3zu |", truth);
    for (std::size_t guess = 0; guess < 10; ++guess) {
      const int count = counts[truth][guess];
      if (count == 0) std::printf("   .");
      else if (on_terminal && guess != truth) std::printf("\033[31m%4d\033[0m", count);
      else std::printf("%4d", count);
    }
    std::printf("\n");
  }
}

// Draws digits side by side, each pixel two characters wide, with the guess and the probability beneath.
void draw_digits(const Tensor& images, const Tensor& guesses, const Tensor& targets, const Tensor& probabilities, const std::vector<std::int64_t>& which) {
  static constexpr std::array<const char*, 5> shades = {"  ", "░░", "▒▒", "▓▓", "██"};
  for (std::int64_t row = 0; row < 8; ++row) {
    std::printf("  ");
    for (const std::int64_t i : which) {
      const Tensor image = images[i].reshape({8, 8});
      for (std::int64_t column = 0; column < 8; ++column) {
        const double ink = image[row][column].item<double>();
        std::printf("%s", shades[static_cast<std::size_t>(std::clamp(ink * 4.999, 0.0, 4.0))]);
      }
      std::printf("   ");
    }
    std::printf("\n");
  }
  std::printf("  ");
  for (const std::int64_t i : which) {
    const auto guess = guesses[i].item<std::int64_t>();
    char text[64];
    std::snprintf(text, sizeof text, "%lld (%.0f %%)%s", static_cast<long long>(guess), 100 * probabilities[i][guess].item<double>(),
                  guess == targets[i].item<std::int64_t>() ? "" : " wrong");
    std::printf("%-19s", text);
  }
  std::printf("\n\n");
}

// ---- Training and use.

double accuracy(const Tensor& guesses, const Tensor& targets) {
  return static_cast<double>((guesses == targets).sum().item<std::int64_t>()) / static_cast<double>(targets.numel());
}

Tensor predict(nn::MLP& network, const Tensor& images) {
  const NoGradGuard no_grad;
  network->eval();
  return softmax(network->forward(images), 1);
}

void train(const std::string& checkpoint) {
  manual_seed(0);
  const Digits digits(Digits::Mode::kTrain);
  const Digits held_out(Digits::Mode::kTest);
  nn::MLP network = make_network();
  std::printf("\n  %lld digits to learn from, %lld held out. The network:\n\n", static_cast<long long>(digits.targets().numel()),
              static_cast<long long>(held_out.targets().numel()));
  std::cout << *network << "\n\n";

  data::datasets::TensorBatchDataset samples(digits.images(), digits.targets());
  auto loader = data::make_data_loader<data::samplers::RandomSampler>(std::move(samples), data::DataLoaderOptions().batch_size(kBatch));
  optim::Adam optimizer(network->parameters(), optim::AdamOptions(kLearningRate));
  optim::Trainer trainer(
      *network, [&](const Tensor& input) { return network->forward(input); }, optimizer,
      [](const Tensor& output, const Tensor& target) { return cross_entropy_loss(output, target); }, optim::TrainerOptions().epochs(kEpochs));

  std::vector<double> losses;
  double sum = 0;
  std::int64_t count = 0;
  trainer.on_step([&](const optim::Progress& progress) {
    sum += progress.loss;
    ++count;
  });
  trainer.on_epoch([&](const optim::Progress& progress) {
    losses.push_back(sum / static_cast<double>(count));
    sum = 0;
    count = 0;
    if (on_terminal || progress.epoch % 15 == 0) {
      std::printf("%s  %s epoch %2lld/%lld   loss %.4f   %s%s", on_terminal ? "\r" : "", progress_bar(progress.epoch, kEpochs, 24).c_str(),
                  static_cast<long long>(progress.epoch), static_cast<long long>(kEpochs), losses.back(), loss_curve(losses).c_str(), on_terminal ? "" : "\n");
      std::fflush(stdout);
    }
    return true;
  });
  const auto start = std::chrono::steady_clock::now();
  trainer.fit(*loader);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%s  trained in %.2f s\n", on_terminal ? "\n" : "", seconds.count());

  const Tensor guesses = predict(network, held_out.images()).argmax(1);
  print_confusion_matrix(guesses, held_out.targets());
  std::printf("\n  accuracy on the held-out digits: %.2f %%\n", 100 * accuracy(guesses, held_out.targets()));
  std::filesystem::create_directories(std::filesystem::absolute(checkpoint).parent_path());
  save(network, checkpoint);
  std::printf("  saved as %s\n", checkpoint.c_str());
}

void classify(const std::string& checkpoint) {
  const Digits held_out(Digits::Mode::kTest);
  nn::MLP network = make_network();
  load(network, checkpoint);
  const Tensor probabilities = predict(network, held_out.images());
  const Tensor guesses = probabilities.argmax(1);

  std::vector<std::int64_t> wrong;
  for (std::int64_t i = 0; i < guesses.numel(); ++i)
    if (guesses[i].item<std::int64_t>() != held_out.targets()[i].item<std::int64_t>()) wrong.push_back(i);
  std::printf("\n  A new process loaded %s and reads held-out digits:\n\n", checkpoint.c_str());
  draw_digits(held_out.images(), guesses, held_out.targets(), probabilities, {0, 1, 2, 3});
  draw_digits(held_out.images(), guesses, held_out.targets(), probabilities, {4, 5, 6, 7});
  if (!wrong.empty()) {
    std::printf("  Some of the %zu that it gets wrong:\n\n", wrong.size());
    wrong.resize(std::min<std::size_t>(wrong.size(), 4));
    draw_digits(held_out.images(), guesses, held_out.targets(), probabilities, wrong);
  }
  std::printf("  accuracy on the held-out digits: %.2f %%\n", 100 * accuracy(guesses, held_out.targets()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::string checkpoint = argc > 2 ? argv[2] : "build/demo/digits.safetensors";
  try {
    if (what == "train") train(checkpoint);
    else if (what == "classify") classify(checkpoint);
    else {
      std::fprintf(stderr, "usage: digits_demo train|classify [CHECKPOINT]\n");
      return 2;
    }
  } catch (const tinytorch::Error& error) {
    std::fprintf(stderr, "digits_demo: %s\n", error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "digits_demo: %s\n", error.what());
    return 1;
  }
  return 0;
}
