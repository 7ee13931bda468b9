// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "tinytorch/data/samplers.h"

namespace tinytorch {

namespace data::samplers {

// The part of one process, `rank`, of `num_replicas`. Whoever trains calls set_epoch() before each epoch, with the same number in all processes. Source: torch/data/samplers/distributed.h.
template <class BatchRequest = std::vector<std::size_t>>
class DistributedSampler : public Sampler<BatchRequest> {
 public:
  DistributedSampler(std::size_t size, std::size_t num_replicas = 1, std::size_t rank = 0, bool allow_duplicates = true)
      : size_(size), num_replicas_(num_replicas), rank_(rank), allow_duplicates_(allow_duplicates) {
    TORCH_CHECK_VALUE(rank < num_replicas, "Invalid rank ", rank, ", rank should be in the interval [0, ", static_cast<std::int64_t>(num_replicas) - 1, "]");
  }
  void set_epoch(std::size_t epoch) { epoch_ = epoch; }
  std::size_t epoch() const { return epoch_; }

 protected:
  std::size_t local_sample_count() const { return allow_duplicates_ ? (size_ + num_replicas_ - 1) / num_replicas_ : size_ / num_replicas_; }

  std::size_t size_;
  std::size_t num_replicas_;
  std::size_t rank_;
  std::size_t epoch_ = 0;
  bool allow_duplicates_;
};

// A random part: std::mt19937(epoch) shuffles, as in libtorch. The order is that of the standard library's std::shuffle.
class DistributedRandomSampler : public DistributedSampler<> {
 public:
  explicit DistributedRandomSampler(std::size_t size, std::size_t num_replicas = 1, std::size_t rank = 0, bool allow_duplicates = true);
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<std::vector<std::size_t>> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;
  // The place of the next index in the list of all processes.
  std::size_t index() const noexcept { return sample_index_; }

 private:
  std::size_t end_index_ = 0;
  std::size_t sample_index_ = 0;
  std::vector<std::size_t> all_indices_;
};

// A part in order.
class DistributedSequentialSampler : public DistributedSampler<> {
 public:
  explicit DistributedSequentialSampler(std::size_t size, std::size_t num_replicas = 1, std::size_t rank = 0, bool allow_duplicates = true);
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<std::vector<std::size_t>> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;
  std::size_t index() const noexcept { return sample_index_; }

 private:
  std::size_t end_index_ = 0;
  std::size_t sample_index_ = 0;
};

}  // namespace data::samplers

}  // namespace tinytorch
