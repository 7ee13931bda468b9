// A training process that is killed again and again ends where one that was left alone ends.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch {
namespace {

constexpr std::int64_t epochs = 6;

struct Run {
  Run(std::uint64_t seed, const std::string& checkpoint)
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
      Run(99, checkpoint).train();
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

}  // namespace

TEST_CASE("a training process that is killed a dozen times ends with the bits of one that was not") {
  const std::string folder = (std::filesystem::temp_directory_path() / ("killed_training_" + std::to_string(getpid()))).string();
  std::filesystem::create_directories(folder);
  const std::string checkpoint = folder + "/run";
  {  // The first step, so that each process below goes on from the seed of this one.
    struct Enough {};
    Run first(5, checkpoint);
    first.trainer.on_step([](const optim::Progress& progress) {
      if (progress.step == 2) throw Enough();
    });
    CHECK_THROWS_AS(first.trainer.fit(*first.loader), Enough);
  }
  manual_seed(12);
  int killed = 0;
  for (int attempt = 0; attempt < 12; ++attempt) {
    const auto microseconds = static_cast<unsigned>(randint(200, 8000, 1).item<std::int64_t>());
    killed += finishes_within(checkpoint, microseconds) ? 0 : 1;
    Run seen(1, checkpoint);  // whatever the moment, what is on the disk is a checkpoint
    CHECK(seen.trainer.resume(*seen.loader));
    manual_seed(static_cast<std::uint64_t>(attempt));
  }
  CHECK(killed > 0);

  Run whole(5, "");
  whole.trainer.fit(*whole.loader);
  Run resumed(99, checkpoint);
  resumed.train();
  CHECK_EQ(resumed.trainer.progress().step, whole.trainer.progress().step);
  const std::vector<Tensor> expected = whole.model->parameters();
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK_EQ(resumed.model->parameters()[i].detach(), expected[i].detach());
  std::filesystem::remove_all(folder);
}

}  // namespace tinytorch
