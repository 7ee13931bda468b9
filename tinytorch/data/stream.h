// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tinytorch/data/dataloader.h"

namespace tinytorch {

namespace data::samplers {

// A request by number alone, for streams.
struct BatchSize {
  explicit BatchSize(std::size_t count) : size_(count) {}
  std::size_t size() const noexcept { return size_; }
  operator std::size_t() const noexcept { return size_; }

  std::size_t size_;
};

// For datasets that are streams: says how many examples to read, until the epoch has had `epoch_size` of them.
// Source: torch/data/samplers/stream.h.
class StreamSampler : public Sampler<BatchSize> {
 public:
  explicit StreamSampler(std::size_t epoch_size) : epoch_size_(epoch_size) {}
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<BatchSize> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;

 private:
  std::size_t examples_retrieved_so_far_ = 0;
  std::size_t epoch_size_;
};

}  // namespace data::samplers

namespace data {

// A stream that all workers share; its get_batch() must be thread-safe. Source: torch/data/dataloader/stateful.h.
template <class Dataset>
class StatefulDataLoader : public DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType> {
 public:
  using super = DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType>;
  using typename super::BatchRequestType;

  StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options);

 private:
  void reset() override {
    this->main_thread_dataset_->reset();
    super::reset();
  }
  std::optional<BatchRequestType> get_batch_request() override { return BatchRequestType(this->options_.batch_size); }
};

// A loader of a stream.
template <class Dataset>
  requires(Dataset::is_stateful)
std::unique_ptr<StatefulDataLoader<Dataset>> make_data_loader(Dataset dataset, DataLoaderOptions options = DataLoaderOptions()) {
  return std::make_unique<StatefulDataLoader<Dataset>>(std::move(dataset), options);
}

}  // namespace data

template <class Dataset>
data::StatefulDataLoader<Dataset>::StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options)
    : super(options, std::make_unique<Dataset>(std::move(dataset))) {
  for (std::size_t i = 0; i < this->options_.workers; ++i) {
    this->workers_.emplace_back([this] { this->worker_thread(*this->main_thread_dataset_); });
  }
}

}  // namespace tinytorch
