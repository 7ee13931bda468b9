// 2019: a language model learns to write, letter by letter, from the prose of this course.
//
// A. Radford et al. (2019), Language Models are Unsupervised Multitask Learners. The model is GPT-2's, four thousand times smaller. It reads nine tenths of data/lessons.txt; from the last
// tenth it is asked for the letter that follows 32 letters.
//
//   2019_gpt                the prose of this course, and the questions
//   2019_gpt shakespeare    tinyshakespeare.txt below TINYTORCH_DATA; tests/integration/gpt_shakespeare.cpp holds its losses to PyTorch's
//   2019_gpt FILE           any text
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

constexpr std::int64_t kContext = 32;
constexpr int kSteps = 2500;
constexpr std::int64_t kBatch = 16;

// The bytes that occur in a text, as tokens.
class Letters {
 public:
  explicit Letters(const std::string& text) {
    known_.fill(-1);
    for (const char letter : text) known_[static_cast<unsigned char>(letter)] = 0;
    for (int byte = 0; byte < 256; ++byte) {
      if (known_[static_cast<std::size_t>(byte)] < 0) continue;
      known_[static_cast<std::size_t>(byte)] = static_cast<std::int64_t>(bytes_.size());
      bytes_.push_back(byte);
    }
  }
  std::int64_t size() const { return static_cast<std::int64_t>(bytes_.size()); }
  // Bytes that did not occur become the first letter.
  std::int64_t token(int byte) const { return std::max<std::int64_t>(known_[static_cast<std::size_t>(byte & 255)], 0); }
  int byte(std::int64_t token) const { return bytes_[static_cast<std::size_t>(token)]; }
  std::vector<std::int64_t> tokens(const std::string& text) const {
    std::vector<std::int64_t> result;
    for (const char letter : text) result.push_back(token(static_cast<unsigned char>(letter)));
    return result;
  }

 private:
  std::array<std::int64_t, 256> known_;
  std::vector<int> bytes_;
};

double validation_loss(models::GPT& model, const Tensor& held_out) {
  const NoGradGuard no_grad;
  const std::int64_t step = (held_out.size(0) - kContext - 1) / 200;
  const Tensor rows = (arange(200) * step).unsqueeze(1) + arange(kContext + 1).unsqueeze(0);
  const Tensor windows = held_out.index_select(0, rows.view({-1})).view({200, kContext + 1});
  return model->loss(windows.narrow(1, 0, kContext), windows.narrow(1, 1, kContext)).item<double>();
}

void train(models::GPT& model, const Tensor& training, const Tensor& held_out) {
  const auto settings = optim::AdamWOptions(1e-2).weight_decay(0.1);
  optim::AdamW optimizer(models::decay_groups(*model, settings), settings);
  optim::WarmupCosineLR schedule(optimizer, 50, kSteps);
  double sum = 0;
  for (int step = 1; step <= kSteps; ++step) {
    const auto [inputs, targets] = models::random_windows(training, kBatch, kContext);
    const Tensor loss = model->loss(inputs, targets);
    optimizer.zero_grad();
    loss.backward();
    nn::utils::clip_grad_norm_(model->parameters(), 1.0);
    optimizer.step();
    schedule.step();
    sum += loss.item<double>();
    if (step % 50 == 0) {
      std::printf("step %3d: loss %.3f, on unseen text %.3f\n", step, sum / 50, validation_loss(model, held_out));
      std::fflush(stdout);
      sum = 0;
    }
  }
}

void write(models::GPT& model, const Letters& letters, const std::string& beginning) {
  std::printf("\n%s", beginning.c_str());
  const auto options = models::GenerateOptions().max_new_tokens(300).sampling(models::SamplingOptions().temperature(0.7).top_p(0.9));
  models::generate_text(model, letters.tokens(beginning), [&](std::int64_t token) { return std::string(1, static_cast<char>(letters.byte(token))); }, options, {},
                        [](const std::string& piece) {
                          std::printf("%s", piece.c_str());
                          std::fflush(stdout);
                        });
  std::printf("\n\n");
}

// The letter after each row of 32 in the file of questions.
void answer_questions(models::GPT& model, const Letters& letters) {
  const NoGradGuard no_grad;
  const Tensor questions = data::read_csv(find_data("lessons_next.csv")).values.to(kLong);
  for (std::int64_t row = 0; row < questions.size(0); ++row) {
    std::vector<std::int64_t> context;
    for (std::int64_t i = 0; i < kContext; ++i) context.push_back(letters.token(static_cast<int>(questions[row][i].item<std::int64_t>())));
    const Tensor logits = model->forward(tensor(context).unsqueeze(0));
    std::printf("guess next-letter %lld %d\n", static_cast<long long>(row), letters.byte(logits[0][kContext - 1].argmax().item<std::int64_t>()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  manual_seed(2019);
  const std::string wish = argc > 1 ? argv[1] : "";
  const std::string text = read_file(wish.empty() ? find_data("lessons.txt") : wish == "shakespeare" ? find_data("tinyshakespeare.txt") : wish, "2019_gpt");
  const Letters letters(text);
  const Tensor tokens = tensor(letters.tokens(text));
  const std::int64_t count = tokens.size(0) * 9 / 10;

  models::GPT model(models::GPTOptions(letters.size(), kContext).n_layer(2).n_head(4).n_embd(32));
  std::printf("%lld parameters, %lld letters of text\n", static_cast<long long>(model->num_parameters()), static_cast<long long>(count));
  train(model, tokens.narrow(0, 0, count), tokens.narrow(0, count, tokens.size(0) - count));
  model->eval();
  write(model, letters, wish.empty() ? "The gradient " : "\n");
  if (wish.empty()) answer_questions(model, letters);
  return 0;
}
