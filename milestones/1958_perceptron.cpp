// 1958: Rosenblatt's perceptron tells a handwritten 0 from a handwritten 1.
//
// F. Rosenblatt (1958), The Perceptron: A Probabilistic Model for Information Storage and Organization in the Brain.
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

constexpr int kPasses = 5;
constexpr int kHeldOutEvery = 5;

struct Sample {
  int row;        // in the file
  Tensor pixels;  // (1, 64), from 0 to 1
  int digit;
};

// The zeros and ones of the file.
std::vector<Sample> read_samples() {
  std::ifstream file(find_data("digits/optdigits.csv"));
  std::vector<Sample> samples;
  int row = 0;
  for (std::string line; std::getline(file, line); ++row) {
    std::istringstream numbers(line);
    std::vector<float> pixels;
    for (std::string number; std::getline(numbers, number, ',');) pixels.push_back(std::stof(number) / 16);
    const int digit = static_cast<int>(pixels.back() * 16);
    pixels.pop_back();
    if (digit <= 1) samples.push_back({row, tensor(ArrayRef<float>(pixels)).reshape({1, 64}), digit});
  }
  return samples;
}

}  // namespace

int main() {
  const std::vector<Sample> samples = read_samples();
  Tensor weight = zeros({1, 64});
  Tensor bias = zeros({1});
  const auto answer = [&](const Sample& sample) { return linear(sample.pixels, weight, bias).item<float>() > 0 ? 1 : 0; };

  for (int pass = 1; pass <= kPasses; ++pass) {
    int wrong = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (i % kHeldOutEvery == 0) continue;
      const int error = samples[i].digit - answer(samples[i]);
      if (error == 0) continue;
      ++wrong;
      weight.add_(samples[i].pixels, error);  // towards the right answer
      bias.add_(error);
    }
    std::printf("pass %d: %d wrong answers on the way\n", pass, wrong);
  }
  for (std::size_t i = 0; i < samples.size(); i += kHeldOutEvery) {
    std::printf("guess held-out %d %d\n", samples[i].row, answer(samples[i]));
  }
  return 0;
}
