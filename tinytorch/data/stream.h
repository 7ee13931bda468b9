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

// A request of another kind than a list of indices; a loader asks it only how many examples it is for. Source: torch/data/samplers/custom_batch_request.h.
struct CustomBatchRequest {
  CustomBatchRequest() = default;
  CustomBatchRequest(const CustomBatchRequest&) = default;
  CustomBatchRequest(CustomBatchRequest&&) noexcept = default;
  CustomBatchRequest& operator=(const CustomBatchRequest&) = default;
  CustomBatchRequest& operator=(CustomBatchRequest&&) noexcept = default;
  virtual ~CustomBatchRequest() = default;
  virtual std::size_t size() const = 0;
};

// A request by number alone, for streams.
struct BatchSize : public CustomBatchRequest {
  explicit BatchSize(std::size_t count) : size_(count) {}
  std::size_t size() const noexcept override { return size_; }
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

namespace datasets {

// A dataset that knows itself where it is. get_batch() gives an optional batch: none ends the epoch. reset() begins the next one.
// Source: torch/data/datasets/stateful.h.
template <class Self, class Batch = std::vector<Example<>>, class BatchRequest = std::size_t>
class StatefulDataset : public BatchDataset<Self, std::optional<Batch>, BatchRequest> {
 public:
  virtual void reset() = 0;
  virtual void save(serialize::OutputArchive& archive) const = 0;
  virtual void load(serialize::InputArchive& archive) = 0;
};

}  // namespace datasets

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
    this->workers_.start([this] { this->worker_thread(*this->main_thread_dataset_); });
  }
}

}  // namespace tinytorch
