// 2017: a transformer learns to copy and to reverse, by attention alone.
//
// A. Vaswani et al. (2017), Attention Is All You Need. The model is the decoder of the paper, small: it reads the task and five digits, and writes the answer digit by digit. It
// is asked for digits that it has never seen.
#include <cstdint>
#include <cstdio>
#include <set>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

constexpr std::int64_t kDigits = 5;
constexpr std::int64_t kReverse = 11;  // 10 asks for a copy
constexpr std::int64_t kVocabulary = 12;
constexpr int kSteps = 800;
constexpr std::int64_t kBatch = 32;
constexpr double kRate = 1e-2;

std::int64_t number_of(const Tensor& digits) {
  std::int64_t number = 0;
  for (std::int64_t i = 0; i < kDigits; ++i) number = 10 * number + digits[i].item<std::int64_t>();
  return number;
}

// Rows of task, digits, answer: (kBatch, 1 + 2 kDigits), without the digits that are held out.
Tensor random_rows(const std::set<std::int64_t>& held_out) {
  const Tensor digits = randint(0, 10, {kBatch, kDigits});
  for (std::int64_t row = 0; row < kBatch; ++row)
    while (held_out.contains(number_of(digits[row]))) digits[row].copy_(randint(0, 10, {kDigits}));
  const Tensor tasks = randint(10, 12, {kBatch, 1});
  return cat({tasks, digits, where(tasks == kReverse, digits.flip({1}), digits)}, 1);
}

void train(models::GPT& model, const std::set<std::int64_t>& held_out) {
  const auto settings = optim::AdamWOptions(kRate).weight_decay(0.01);
  optim::AdamW optimizer(models::decay_groups(*model, settings), settings);
  optim::WarmupCosineLR schedule(optimizer, 100, kSteps, 0.02);
  double sum = 0;
  for (int step = 1; step <= kSteps; ++step) {
    const Tensor rows = random_rows(held_out);
    Tensor targets = rows.narrow(1, 1, 2 * kDigits).clone();
    targets.narrow(1, 0, kDigits).fill_(-100);  // nobody can guess the digits of the question
    const Tensor loss = model->loss(rows.narrow(1, 0, 2 * kDigits), targets);
    optimizer.zero_grad();
    loss.backward();
    nn::utils::clip_grad_norm_(model->parameters(), 1.0);
    optimizer.step();
    schedule.step();
    sum += loss.item<double>();
    if (step % 100 == 0) {
      std::printf("step %4d: loss %.4f\n", step, sum / 100);
      std::fflush(stdout);
      sum = 0;
    }
  }
}

}  // namespace

int main() {
  manual_seed(2017);
  const Tensor questions = data::read_csv(find_data("sequences.csv")).values.narrow(1, 0, 1 + kDigits).to(kLong).contiguous();
  std::set<std::int64_t> held_out;
  for (std::int64_t row = 0; row < questions.size(0); ++row) held_out.insert(number_of(questions[row].narrow(0, 1, kDigits)));

  models::GPT model(models::GPTOptions(kVocabulary, 2 * kDigits).n_layer(2).n_head(2).n_embd(32));
  train(model, held_out);

  std::vector<std::vector<std::int64_t>> prompts;
  for (std::int64_t row = 0; row < questions.size(0); ++row) {
    const std::int64_t* const first = questions.data_ptr<std::int64_t>() + row * (1 + kDigits);
    prompts.emplace_back(first, first + 1 + kDigits);
  }
  const auto answers = models::generate(model, prompts, models::GenerateOptions().max_new_tokens(kDigits).sampling(models::SamplingOptions().temperature(0)));
  for (std::size_t row = 0; row < answers.size(); ++row) {
    const Tensor answer = tensor(answers[row]);
    if (row < 6) {
      std::printf("%s %05lld -> %05lld\n", prompts[row][0] == kReverse ? "reverse" : "copy   ",
                  static_cast<long long>(number_of(questions[static_cast<std::int64_t>(row)].narrow(0, 1, kDigits))), static_cast<long long>(number_of(answer)));
    }
    std::printf("guess unseen %zu %lld\n", row, static_cast<long long>(number_of(answer)));
  }
  return 0;
}
