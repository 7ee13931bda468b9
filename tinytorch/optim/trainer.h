// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/generator.h"
#include "tinytorch/data/dataloader.h"
#include "tinytorch/nn/module.h"
#include "tinytorch/optim/lr_scheduler.h"
#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

struct TrainerOptions {
  TORCH_ARG(std::int64_t, epochs) = 1;
  TORCH_ARG(std::int64_t, accumulate) = 1;         // batches whose gradients are added up before one step
  TORCH_ARG(double, clip_norm) = 0;                // 0: do not clip
  TORCH_ARG(std::string, checkpoint);              // where to save; empty: nowhere
  TORCH_ARG(std::int64_t, checkpoint_every) = 0;   // steps between checkpoints; 0: at the end of each epoch
};

// How far a run is, and what its last step gave.
struct Progress {
  std::int64_t epoch = 0;    // finished epochs
  std::int64_t batch = 0;    // batches done in this epoch
  std::int64_t step = 0;     // updates of the parameters so far
  double loss = 0;           // of the last batch
  double loss_sum = 0;       // of the batches of this epoch
  double grad_norm = 0;      // before clipping, if clip_norm is set
  bool stopped = false;      // a callback has ended the run
  double mean_loss() const { return batch == 0 ? 0 : loss_sum / static_cast<double>(batch); }
};

// The training loop: forward, backward, clip, update, checkpoint. A run that was cut off and resumed gives the numbers of one that was not,
// bit for bit: the checkpoint holds parameters, optimizer, schedule, the place in the epoch and the default generator. (A transform that draws random
// numbers in the loader's workers is outside of this.) Module, optimizer, loader and scheduler must outlive the trainer.
class Trainer {
 public:
  using Forward = std::function<Tensor(const Tensor& input)>;
  using Loss = std::function<Tensor(const Tensor& output, const Tensor& target)>;

  Trainer(nn::Module& module, Forward forward, Optimizer& optimizer, Loss loss, TrainerOptions options = {});

  // Trains until options.epochs are done, from where resume() left off if it was called. The batches have `data` and `target`.
  template <class Loader>
  void fit(Loader& loader);

  // Takes up the checkpoint if there is one; says whether there was. Throws, and changes nothing, if it is damaged or does not fit.
  template <class Loader>
  bool resume(Loader& loader);

  void set_scheduler(LRScheduler& scheduler) { scheduler_ = &scheduler; }  // stepped after each epoch
  void on_step(std::function<void(const Progress&)> callback);
  // A callback that returns false ends the run after this epoch; it stays ended when it is resumed.
  void on_epoch(std::function<bool(const Progress&)> callback);
  // Values of a callback that belong to the run: kept in the checkpoint, and put back by resume(). They must outlive the trainer.
  void remember(const std::string& name, Fields fields);
  const Progress& progress() const { return progress_; }

 private:
  // What a checkpoint holds, checked, and the changes that take it up.
  struct Checkpoint {
    Progress progress;
    unsigned schedule = 0;
    std::string generator;
    std::vector<std::function<void()>> changes;  // of module, optimizer, and what callbacks remember
    data::State loader;
  };

  void train_batch(const Tensor& input, const Tensor& target);
  void update();
  void finish_epoch();
  void save_checkpoint(const data::State& loader_state) const;
  std::optional<Checkpoint> read_checkpoint();
  void take_up(const Checkpoint& checkpoint);

  nn::Module& module_;
  Forward forward_;
  Optimizer& optimizer_;
  Loss loss_;
  TrainerOptions options_;
  LRScheduler* scheduler_ = nullptr;
  Progress progress_;
  std::int64_t pending_ = 0;  // batches whose gradients wait for the update
  std::vector<std::function<void(const Progress&)>> step_callbacks_;
  std::vector<std::function<bool(const Progress&)>> epoch_callbacks_;
  std::vector<std::pair<std::string, Fields>> remembered_;
};

}  // namespace optim

template <class Loader>
void optim::Trainer::fit(Loader& loader) {
  optimizer_.zero_grad();
  pending_ = 0;
  while (!progress_.stopped && progress_.epoch < options_.epochs()) {
    module_.train();
    std::int64_t last_saved = progress_.step;
    for (auto& batch : loader) {
      train_batch(batch.data, batch.target);
      const bool due = options_.checkpoint_every() > 0 && pending_ == 0 && progress_.step - last_saved >= options_.checkpoint_every();
      if (!due || options_.checkpoint().empty()) continue;
      save_checkpoint(loader.state());
      last_saved = progress_.step;
    }
    if (pending_ > 0) update();
    finish_epoch();
    if (!options_.checkpoint().empty()) save_checkpoint({});
  }
}

template <class Loader>
bool optim::Trainer::resume(Loader& loader) {
  const std::optional<Checkpoint> checkpoint = read_checkpoint();
  if (!checkpoint) return false;
  loader.set_state(checkpoint->loader);  // the last check: throws, and changes nothing, if it does not fit
  take_up(*checkpoint);
  return true;
}

}  // namespace tinytorch
