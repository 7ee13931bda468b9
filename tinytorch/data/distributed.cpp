// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/distributed.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <tuple>
#include <utility>

#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/saved_state.h"

namespace tinytorch {

data::samplers::DistributedRandomSampler::DistributedRandomSampler(std::size_t size, std::size_t num_replicas, std::size_t rank, bool allow_duplicates)
    : DistributedSampler(size, num_replicas, rank, allow_duplicates) {
  reset();
}

void data::samplers::DistributedRandomSampler::reset(std::optional<std::size_t> new_size) {
  size_ = new_size.value_or(size_);
  const std::size_t count = local_sample_count();
  all_indices_.resize(count * num_replicas_);
  std::iota(all_indices_.begin(), all_indices_.end(), std::size_t{0});
  // The last ones, if there are more places than examples, are the first examples again.
  for (std::size_t i = size_; i < all_indices_.size(); ++i) all_indices_[i] = i - size_;
  std::mt19937 generator(static_cast<std::mt19937::result_type>(epoch_));
  std::shuffle(all_indices_.begin(), all_indices_.end(), generator);
  sample_index_ = rank_ * count;
  end_index_ = sample_index_ + count;
}

std::optional<std::vector<std::size_t>> data::samplers::DistributedRandomSampler::next(std::size_t batch_size) {
  if (sample_index_ == end_index_) return std::nullopt;
  const std::size_t end = std::min(end_index_, sample_index_ + batch_size);
  const std::vector<std::size_t> batch(all_indices_.begin() + static_cast<std::ptrdiff_t>(sample_index_), all_indices_.begin() + static_cast<std::ptrdiff_t>(end));
  sample_index_ = end;
  return batch;
}

data::samplers::DistributedSequentialSampler::DistributedSequentialSampler(std::size_t size, std::size_t num_replicas, std::size_t rank, bool allow_duplicates)
    : DistributedSampler(size, num_replicas, rank, allow_duplicates) {
  reset();
}

void data::samplers::DistributedSequentialSampler::reset(std::optional<std::size_t> new_size) {
  size_ = new_size.value_or(size_);
  sample_index_ = rank_ * local_sample_count();
  end_index_ = sample_index_ + local_sample_count();
}

std::optional<std::vector<std::size_t>> data::samplers::DistributedSequentialSampler::next(std::size_t batch_size) {
  if (sample_index_ == end_index_) return std::nullopt;
  std::vector<std::size_t> batch(std::min(batch_size, end_index_ - sample_index_));
  for (std::size_t& index : batch) index = sample_index_++ % size_;
  return batch;
}

namespace {

// Where the sampler stands within its part, and the epoch that its order comes from.
data::State distributed_state(std::size_t sample_index, std::size_t epoch) {
  return {{"sample_index_", tensor(static_cast<std::int64_t>(sample_index))}, {"epoch_", tensor(static_cast<std::int64_t>(epoch))}};
}

// The place, which must be in the part [first, end], and the epoch.
std::pair<std::size_t, std::size_t> saved_place(const data::State& state, std::size_t first, std::size_t end) {
  const std::int64_t epoch = data::detail::saved_position(state, "epoch_", std::numeric_limits<std::int64_t>::max());
  const auto place = static_cast<std::size_t>(data::detail::saved_position(state, "sample_index_", static_cast<std::int64_t>(end)));
  TORCH_CHECK(place >= first, "The saved state is of another process: 'sample_index_' is ", place, ", this process's part begins at ", first,
              "\n[set_state] give each process its own state");
  return {place, static_cast<std::size_t>(epoch)};
}

}  // namespace

data::State data::samplers::DistributedRandomSampler::state() const { return distributed_state(sample_index_, epoch_); }

void data::samplers::DistributedRandomSampler::set_state(const State& state) {
  const auto [place, epoch] = saved_place(state, rank_ * local_sample_count(), end_index_);
  epoch_ = epoch;
  reset();
  sample_index_ = place;
}

data::State data::samplers::DistributedSequentialSampler::state() const { return distributed_state(sample_index_, epoch_); }

void data::samplers::DistributedSequentialSampler::set_state(const State& state) {
  std::tie(sample_index_, epoch_) = saved_place(state, rank_ * local_sample_count(), end_index_);
}

}  // namespace tinytorch
