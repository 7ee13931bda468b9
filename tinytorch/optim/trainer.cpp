// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/trainer.h"

#include <filesystem>

#include "tinytorch/core/ops.h"
#include "tinytorch/nn/clip_grad.h"
#include "tinytorch/serialize/save.h"

namespace tinytorch {

void optim::Trainer::on_step(std::function<void(const Progress&)> callback) { step_callbacks_.push_back(std::move(callback)); }
void optim::Trainer::on_epoch(std::function<bool(const Progress&)> callback) { epoch_callbacks_.push_back(std::move(callback)); }
void optim::Trainer::remember(const std::string& name, Fields fields) { remembered_.emplace_back(name, std::move(fields)); }

optim::Trainer::Trainer(nn::Module& module, Forward forward, Optimizer& optimizer, Loss loss, TrainerOptions options)
    : module_(module), forward_(std::move(forward)), optimizer_(optimizer), loss_(std::move(loss)), options_(std::move(options)) {
  TORCH_CHECK_VALUE(options_.accumulate() >= 1, "Trainer needs accumulate of at least 1, but got ", options_.accumulate());
}

// Forward and backward for one batch: its share of the gradient of the mean over `accumulate` batches is added to the gradients, progress_ gets the loss
// and counts the batch, and when `accumulate` batches are pending, update() is called.
void optim::Trainer::train_batch(const Tensor& input, const Tensor& target) {
  const Tensor loss = loss_(forward_(input), target);
  (loss / options_.accumulate()).backward();
  progress_.loss = loss.item<double>();
  progress_.loss_sum += progress_.loss;
  ++progress_.batch;
  if (++pending_ == options_.accumulate()) update();
}

// One update from the gradients that are there: if fewer than `accumulate` batches are pending they are scaled to the mean of those; then clipping, if clip_norm is
// set (progress_.grad_norm gets the norm before), the optimizer's step, and zero_grad. Counts the step and calls the step callbacks.
void optim::Trainer::update() {
  if (pending_ < options_.accumulate()) {
    const NoGradGuard no_grad;
    const double scale = static_cast<double>(options_.accumulate()) / static_cast<double>(pending_);
    for (const Tensor& parameter : module_.parameters())
      if (parameter.grad().defined()) parameter.mutable_grad().mul_(scale);
  }
  if (options_.clip_norm() > 0) progress_.grad_norm = nn::utils::clip_grad_norm_(module_.parameters(), options_.clip_norm());
  optimizer_.step();
  optimizer_.zero_grad();
  pending_ = 0;
  ++progress_.step;
  for (const auto& callback : step_callbacks_) callback(progress_);
}

void optim::Trainer::finish_epoch() {
  ++progress_.epoch;
  if (scheduler_ != nullptr) scheduler_->step();
  for (const auto& callback : epoch_callbacks_)
    if (!callback(progress_)) progress_.stopped = true;
  progress_.batch = 0;
  progress_.loss_sum = 0;
}

// Writes all that the run needs to go on, atomically, to options_.checkpoint(). Throws, and leaves the old checkpoint, if it cannot be
// written. Keys: module, optimizer, epoch, batch, step, loss_sum, stopped, schedule, generator, remembered.<name> for what callbacks remember, and
// loader.<key> for each entry of loader_state.
void optim::Trainer::save_checkpoint(const data::State& loader_state) const {
  serialize::OutputArchive archive;
  serialize::OutputArchive module;
  serialize::OutputArchive optimizer;
  module << module_;
  optimizer << optimizer_;
  archive.write("module", module);
  archive.write("optimizer", optimizer);
  archive.write("epoch", progress_.epoch);
  archive.write("batch", progress_.batch);
  archive.write("step", progress_.step);
  archive.write("loss_sum", progress_.loss_sum);
  archive.write("stopped", progress_.stopped);
  archive.write("schedule", scheduler_ == nullptr ? 0u : scheduler_->step_count());
  archive.write("generator", default_generator().state());
  for (const auto& [key, tensor] : loader_state) archive.write("loader." + key, tensor);
  for (const auto& [name, fields] : remembered_) serialize::write_fields(archive, "remembered." + name, fields);
  archive.save_to(options_.checkpoint());
}

namespace {
// Reads each field into a value of its own, so that an archive that does not fit throws here. Returns the change.
std::function<void()> prepare_fields(const serialize::InputArchive& archive, const std::string& prefix, const optim::Fields& fields) {
  for (const auto& [name, field] : fields)
    std::visit([&, key = name](auto* value) { auto trial = *value; serialize::read_fields(archive, prefix, {{key, &trial}}); }, field);
  return [archive, prefix, fields] { serialize::read_fields(archive, prefix, fields); };
}
}  // namespace

std::optional<optim::Trainer::Checkpoint> optim::Trainer::read_checkpoint() {
  if (options_.checkpoint().empty() || !std::filesystem::exists(options_.checkpoint())) return std::nullopt;
  serialize::InputArchive archive;
  archive.load_from(options_.checkpoint());
  Checkpoint checkpoint;
  archive.read("epoch", checkpoint.progress.epoch);
  archive.read("batch", checkpoint.progress.batch);
  archive.read("step", checkpoint.progress.step);
  archive.read("loss_sum", checkpoint.progress.loss_sum);
  archive.read("stopped", checkpoint.progress.stopped);
  archive.read("schedule", checkpoint.schedule);
  archive.read("generator", checkpoint.generator);
  Generator().set_state(checkpoint.generator);  // throws here if it is damaged
  serialize::InputArchive part;
  archive.read("module", part);
  checkpoint.changes.push_back([this, part, change = serialize::prepare_load(part, module_)]() mutable {
    change();
    part.set_restored(true);
    module_.load(part);  // what an overriding load() reads besides
  });
  archive.read("optimizer", part);
  checkpoint.changes.push_back(serialize::prepare_load(part, optimizer_));
  for (const auto& [name, fields] : remembered_) checkpoint.changes.push_back(prepare_fields(archive, "remembered." + name, fields));
  if (archive.try_read("loader", part)) checkpoint.loader = part.tensors();
  return checkpoint;
}

void optim::Trainer::take_up(const Checkpoint& checkpoint) {
  for (const auto& change : checkpoint.changes) change();
  default_generator().set_state(checkpoint.generator);
  if (scheduler_ != nullptr) scheduler_->set_step_count(checkpoint.schedule);
  progress_ = checkpoint.progress;
}

}  // namespace tinytorch
