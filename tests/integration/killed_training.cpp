// A training process that is killed again and again ends where one that was left alone ends.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch {
namespace {

constexpr std::int64_t epochs = 6;

struct KilledRun {
  KilledRun(std::uint64_t seed, const std::string& checkpoint)
      : model(seeded(seed)),
        optimizer(model->parameters(), optim::AdamOptions(0.01)),
        trainer(*model, [this](const Tensor& x) { return model->forward(x); }, optimizer,
                [](const Tensor& output, const Tensor& target) { return cross_entropy_loss(output, target); },
                optim::TrainerOptions().epochs(epochs).checkpoint(checkpoint).checkpoint_every(1)) {
    const Tensor inputs = (arange(96, kFloat) * 0.7).sin().view({24, 4});
    const Tensor targets = arange(24).remainder(3);
    loader = data::make_data_loader<data::samplers::RandomSampler>(data::datasets::TensorBatchDataset(inputs, targets),
                                                                   data::DataLoaderOptions(4));
  }
  static nn::Sequential seeded(std::uint64_t seed) {
    manual_seed(seed);
    const nn::Linear first(4, 16);
    const nn::Linear second(16, 3);
    return nn::Sequential(first, nn::ReLU(), nn::Dropout(0.3), second);
  }
  void train() {
    trainer.resume(*loader);
    trainer.fit(*loader);
  }

  nn::Sequential model;
  optim::Adam optimizer;
  optim::Trainer trainer;
  std::unique_ptr<data::StatelessDataLoader<data::datasets::TensorBatchDataset, data::samplers::RandomSampler>> loader;
};

// Trains in a process of its own and kills it after `microseconds`. Says whether it had already finished.
bool finishes_within(const std::string& checkpoint, unsigned microseconds) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    try {
      KilledRun(99, checkpoint).train();
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  usleep(microseconds);
  kill(child, SIGKILL);
  int status = 0;
  REQUIRE_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status)) CHECK_EQ(WEXITSTATUS(status), 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The first steps, so that each process goes on from the seed of this one.
void begin(const std::string& checkpoint) {
  struct Enough {};
  KilledRun first(5, checkpoint);
  first.trainer.on_step([](const optim::Progress& progress) {
    if (progress.step == 2) throw Enough();
  });
  CHECK_THROWS_AS(first.trainer.fit(*first.loader), Enough);
}

// The step of the checkpoint on the disk, which must be sound whatever the moment.
std::int64_t step_on_disk(const std::string& checkpoint) {
  KilledRun seen(1, checkpoint);
  CHECK(seen.trainer.resume(*seen.loader));
  return seen.trainer.progress().step;
}

void check_same_end(const std::string& checkpoint, const KilledRun& whole) {
  KilledRun resumed(99, checkpoint);
  resumed.train();
  CHECK_EQ(resumed.trainer.progress().step, whole.trainer.progress().step);
  const std::vector<Tensor> expected = whole.model->parameters();
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK_EQ(resumed.model->parameters()[i].detach(), expected[i].detach());
}

// Removes what killed processes left unfinished beside the checkpoint; each such file is a kill inside of a write.
int remove_unfinished(const std::string& folder, const std::string& checkpoint) {
  int count = 0;
  std::vector<std::filesystem::path> unfinished;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path() != checkpoint) unfinished.push_back(entry.path());
  for (const auto& path : unfinished) count += std::filesystem::remove(path) ? 1 : 0;
  return count;
}

std::string new_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "killed-training-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  return name;
}

}  // namespace

TEST_CASE("a training process that is killed a dozen times ends with the bits of one that was not") {
  const std::string folder = new_folder();
  const std::string checkpoint = folder + "/run";
  begin(checkpoint);
  std::mt19937 random(12);
  int killed = 0;
  for (int attempt = 0; attempt < 12; ++attempt) {
    killed += finishes_within(checkpoint, 200 + random() % 7800) ? 0 : 1;
    step_on_disk(checkpoint);
  }
  CHECK(killed > 0);
  KilledRun whole(5, "");
  whole.trainer.fit(*whole.loader);
  check_same_end(checkpoint, whole);
  std::filesystem::remove_all(folder);
}

TEST_CASE("thorough: a thousand kills at random moments, many of them inside of a write" * doctest::skip()) {
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  const std::string folder = new_folder();
  const std::string checkpoint = folder + "/run";
  KilledRun whole(5, "");
  whole.trainer.fit(*whole.loader);
  int killed = 0, inside_a_write = 0, finished = 0;
  while (killed < 1000) {
    begin(checkpoint);
    std::int64_t step = step_on_disk(checkpoint);
    for (bool done = false; !done && killed < 1000;) {
      CAPTURE(seed);
      CAPTURE(killed);
      done = finishes_within(checkpoint, random() % 8000);
      killed += done ? 0 : 1;
      inside_a_write += remove_unfinished(folder, checkpoint);
      const std::int64_t now = step_on_disk(checkpoint);
      CHECK_GE(now, step);  // never an older one than before
      step = now;
    }
    check_same_end(checkpoint, whole);
    ++finished;
    std::filesystem::remove(checkpoint);
  }
  std::printf("seed %u: %d kills in %d runs, %d of them inside of a write\n", seed, killed, finished, inside_a_write);
  CHECK(inside_a_write > 0);
  std::filesystem::remove_all(folder);
}

}  // namespace tinytorch
