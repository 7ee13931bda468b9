// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "tinytorch/core/dispatch.h"
#include "tinytorch/data/dataloader_options.h"
#include "tinytorch/data/datasets.h"
#include "tinytorch/data/iterator.h"
#include "tinytorch/data/queue.h"
#include "tinytorch/data/samplers.h"
#include "tinytorch/data/sequencers.h"
#include "tinytorch/data/threads.h"
#include "tinytorch/data/worker_exception.h"

namespace tinytorch {

namespace data {

// What loaders have in common: jobs, workers, results. Used from one thread. Source: torch/data/dataloader/base.h.
template <class Dataset, class Batch, class BatchRequest>
class DataLoaderBase {
 public:
  using BatchType = Batch;
  using BatchRequestType = BatchRequest;

  // Throws if the options make no sense.
  explicit DataLoaderBase(const DataLoaderOptions& options, std::unique_ptr<Dataset> main_thread_dataset = nullptr);
  virtual ~DataLoaderBase() { join(); }
  DataLoaderBase(const DataLoaderBase&) = delete;
  DataLoaderBase& operator=(const DataLoaderBase&) = delete;

  // Begins an epoch. What is left of one whose iterator is gone is thrown away; throws if an iterator is still on its way.
  Iterator<Batch> begin();
  Iterator<Batch> end() { return Iterator<Batch>(); }

  // Lets the workers finish what they do, and ends them. The loader cannot be used after that.
  void join();

  const FullDataLoaderOptions& options() const noexcept { return options_; }

 protected:
  struct Job {
    std::size_t sequence_number = 0;
    std::optional<BatchRequest> request;  // none: quit
    ThreadState thread;                   // of the thread that asked
  };
  struct Result {
    std::size_t sequence_number = 0;
    std::optional<Batch> batch;  // none: the dataset has no more
    std::exception_ptr exception;
  };

  // The next request of this epoch, or nothing at its end.
  virtual std::optional<BatchRequest> get_batch_request() = 0;
  // Begins an epoch; overriders prepare it and then call this one.
  virtual void reset();

  void prefetch(std::size_t requested_jobs);
  std::optional<Batch> next();
  std::optional<Batch> receive_batch();
  static Result run_job(Dataset& dataset, Job job);
  void worker_thread(Dataset& dataset);

  const FullDataLoaderOptions options_;
  std::unique_ptr<Dataset> main_thread_dataset_;
  detail::Threads workers_;
  std::size_t delivered_ = 0;  // batches of this epoch that next() has returned
  bool in_epoch_ = false;

 private:
  std::unique_ptr<detail::sequencers::Sequencer<Result>> new_sequencer() const;

  std::size_t sequence_number_ = 0;
  detail::DataShuttle<Job, Result> shuttle_;
  std::unique_ptr<detail::sequencers::Sequencer<Result>> sequencer_;
  std::weak_ptr<detail::Pass<Batch>> pass_;
  bool joined_ = false;
};

}  // namespace data

template <class Dataset, class Batch, class BatchRequest>
data::DataLoaderBase<Dataset, Batch, BatchRequest>::DataLoaderBase(const DataLoaderOptions& options, std::unique_ptr<Dataset> main_thread_dataset)
    : options_(options), main_thread_dataset_(std::move(main_thread_dataset)), sequencer_(new_sequencer()) {
  TORCH_CHECK(options_.batch_size > 0, "batch_size must be positive\n[DataLoader] a batch of 0 examples never ends");
  TORCH_CHECK(options_.workers == 0 || options_.max_jobs > 0,
              "max_jobs must be positive when there are workers\n[DataLoader] with max_jobs 0 the ", options_.workers, " workers would never get a job");
}

template <class Dataset, class Batch, class BatchRequest>
auto data::DataLoaderBase<Dataset, Batch, BatchRequest>::new_sequencer() const -> std::unique_ptr<detail::sequencers::Sequencer<Result>> {
  if (options_.enforce_ordering) return std::make_unique<detail::sequencers::OrderedSequencer<Result>>(options_.max_jobs);
  return std::make_unique<detail::sequencers::NoSequencer<Result>>();
}

template <class Dataset, class Batch, class BatchRequest>
data::Iterator<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::begin() {
  TORCH_CHECK(shuttle_.in_flight_jobs() == 0 || pass_.expired(),
              "Attempted to get a new DataLoader iterator while another iterator is not yet exhausted");
  TORCH_CHECK(!joined_ || options_.workers == 0, "The DataLoader's workers have ended\n[DataLoader] do not call join() before the last epoch");
  reset();
  auto pass = std::make_shared<detail::Pass<Batch>>();
  pass->next_batch = [this] { return next(); };
  pass_ = pass;
  return Iterator<Batch>(std::move(pass));
}

template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::reset() {
  shuttle_.drain();
  sequence_number_ = 0;
  sequencer_ = new_sequencer();
  in_epoch_ = true;
  if (options_.workers > 0) prefetch(options_.max_jobs);
}

// Sends out up to `requested_jobs` jobs; fewer at the end of the epoch.
template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::prefetch(std::size_t requested_jobs) {
  for (std::size_t i = 0; i < requested_jobs; ++i) {
    std::optional<BatchRequest> request = get_batch_request();
    if (!request) return;
    shuttle_.push_job({sequence_number_++, std::move(request), thread_state()});
  }
}

// The next batch of the epoch, made here or by the workers; nothing at its end.
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::next() {
  std::optional<Batch> batch;
  if (options_.workers > 0) {
    batch = receive_batch();
  } else if (std::optional<BatchRequest> request = get_batch_request()) {
    batch = main_thread_dataset_->get_batch(std::move(*request));
  }
  in_epoch_ = batch.has_value();
  delivered_ += in_epoch_ ? 1 : 0;
  return batch;
}

// A worker's life: one job after the other, until one says quit.
template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::worker_thread(Dataset& dataset) {
  std::size_t sequence_number = 0;
  try {
    while (true) {
      Job job = shuttle_.pop_job();
      if (!job.request) return;
      sequence_number = job.sequence_number;
      shuttle_.push_result(run_job(dataset, std::move(job)));
    }
  } catch (...) {
    // run_job() sends back what the dataset throws; this is a failure of the machinery itself.
    shuttle_.push_result({sequence_number, std::nullopt, std::current_exception()});
  }
}

template <class Dataset, class Batch, class BatchRequest>
void data::DataLoaderBase<Dataset, Batch, BatchRequest>::join() {
  if (joined_) return;
  joined_ = true;
  shuttle_.cancel_jobs();
  // Each worker takes one of these and ends.
  for (std::size_t i = 0; i < workers_.size(); ++i) shuttle_.push_job({});
  workers_.join();
}

// Asks the dataset for the job's batch, with the job's thread state in place. Returns the batch, or the exception that was thrown,
// under the job's sequence number. Throws nothing itself. REQUIRES: the job has a request.
template <class Dataset, class Batch, class BatchRequest>
auto data::DataLoaderBase<Dataset, Batch, BatchRequest>::run_job(Dataset& dataset, Job job) -> Result {
  Result result{job.sequence_number, std::nullopt, nullptr};
  try {
    const ThreadStateGuard guard(job.thread);
    result.batch = dataset.get_batch(std::move(*job.request));
  } catch (...) {
    result.exception = std::current_exception();
  }
  return result;
}

// The next batch from the workers, or nothing when no job is in flight any more. Throws WorkerException for an exception in a worker, and
// Error when the timeout is over.
template <class Dataset, class Batch, class BatchRequest>
std::optional<Batch> data::DataLoaderBase<Dataset, Batch, BatchRequest>::receive_batch() {
  while (std::optional<Result> result = sequencer_->next([this] { return shuttle_.pop_result(options_.timeout); })) {
    if (result->exception) throw WorkerException(result->exception);
    if (!result->batch) continue;
    prefetch(1);
    return std::move(result->batch);
  }
  return std::nullopt;
}

namespace data {

// A dataset, a sampler, and workers that each have a copy of the dataset. Source: torch/data/dataloader/stateless.h.
template <class Dataset, class Sampler>
class StatelessDataLoader : public DataLoaderBase<Dataset, typename Dataset::BatchType, typename Sampler::BatchRequestType> {
 public:
  using super = DataLoaderBase<Dataset, typename Dataset::BatchType, typename Sampler::BatchRequestType>;
  using typename super::BatchRequestType;

  StatelessDataLoader(Dataset dataset, Sampler sampler, const DataLoaderOptions& options);

  // Where the epoch stands: the next begin() of a loader that has been given this state (of the same dataset, sampler and batch size)
  // goes on behind the batch that was delivered last. Between epochs it says to begin a new one.
  State state() const;
  // Throws, and changes nothing, if the state does not fit; REQUIRES that no iterator is in use.
  void set_state(const State& state);

 private:
  void reset() override;
  std::optional<BatchRequestType> get_batch_request() override;

  Sampler sampler_;
  State epoch_start_;  // of the sampler
  bool resumed_ = false;
};

}  // namespace data

template <class Dataset, class Sampler>
data::StatelessDataLoader<Dataset, Sampler>::StatelessDataLoader(Dataset dataset, Sampler sampler, const DataLoaderOptions& options)
    : super(options), sampler_(std::move(sampler)) {
  for (std::size_t i = 0; i < this->options_.workers; ++i) {
    this->workers_.start([this, dataset]() mutable { this->worker_thread(dataset); });
  }
  if (this->options_.workers == 0) this->main_thread_dataset_ = std::make_unique<Dataset>(std::move(dataset));
}

template <class Dataset, class Sampler>
void data::StatelessDataLoader<Dataset, Sampler>::reset() {
  if (!std::exchange(resumed_, false)) {
    sampler_.reset(std::nullopt);
    epoch_start_ = sampler_.state();
    this->delivered_ = 0;
  }
  super::reset();
}

template <class Dataset, class Sampler>
auto data::StatelessDataLoader<Dataset, Sampler>::get_batch_request() -> std::optional<BatchRequestType> {
  std::optional<BatchRequestType> request = sampler_.next(this->options_.batch_size);
  if (request && this->options_.drop_last && request->size() < this->options_.batch_size) return std::nullopt;
  return request;
}

template <class Dataset, class Sampler>
data::State data::StatelessDataLoader<Dataset, Sampler>::state() const {
  return resumed_ || this->in_epoch_ ? detail::pack_epoch({epoch_start_, this->delivered_}, this->options_.batch_size) : State();
}

template <class Dataset, class Sampler>
void data::StatelessDataLoader<Dataset, Sampler>::set_state(const State& state) {
  if (state.empty()) {
    resumed_ = this->in_epoch_ = false;
    return;
  }
  detail::EpochState epoch = detail::unpack_epoch(state, this->options_.batch_size);
  // Go to the place on a copy, so that a state which does not fit changes nothing.
  Sampler sampler = sampler_;
  sampler.set_state(epoch.sampler);
  for (std::size_t i = 0; i < epoch.delivered; ++i)
    TORCH_CHECK(sampler.next(this->options_.batch_size), "The saved state is damaged: ", epoch.delivered, " batches were delivered, but an epoch has ", i,
                "\n[DataLoader::set_state] was it made for a dataset of this size?");
  sampler_ = std::move(sampler);
  epoch_start_ = std::move(epoch.sampler);
  this->delivered_ = epoch.delivered;
  resumed_ = true;
}

namespace data {

// A loader of `dataset` in the order of `sampler`.
template <class Dataset, class Sampler>
  requires(!Dataset::is_stateful)
std::unique_ptr<StatelessDataLoader<Dataset, Sampler>> make_data_loader(Dataset dataset, Sampler sampler, DataLoaderOptions options) {
  return std::make_unique<StatelessDataLoader<Dataset, Sampler>>(std::move(dataset), std::move(sampler), options);
}

// A loader with a sampler of the dataset's size: make_data_loader<samplers::SequentialSampler>(dataset, 64).
template <class Sampler = samplers::RandomSampler, class Dataset>
  requires(!Dataset::is_stateful && std::is_constructible_v<Sampler, std::size_t>)
std::unique_ptr<StatelessDataLoader<Dataset, Sampler>> make_data_loader(Dataset dataset, DataLoaderOptions options = DataLoaderOptions()) {
  const std::optional<std::size_t> size = dataset.size();
  TORCH_CHECK(size.has_value(), "Expected the dataset to be sized in order to construct the Sampler");
  return make_data_loader(std::move(dataset), Sampler(*size), options);
}

}  // namespace data

}  // namespace tinytorch
