// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/samplers.h"

#include <algorithm>

#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

namespace {

// The tensor `key` of a saved state. Throws if it is missing or is not whole numbers of `dim` dimensions.
Tensor saved_tensor(const data::State& state, const char* key, std::int64_t dim) {
  const auto found = state.find(key);
  TORCH_CHECK(found != state.end(), "The saved state has no '", key, "'\n[set_state] it was not made by this kind of sampler");
  TORCH_CHECK(found->second.defined() && found->second.dim() == dim && isIntegralType(found->second.scalar_type(), false),
              "The saved state is damaged: '", key, "' must be whole numbers of ", dim, " dimensions\n[set_state] take what state() gave");
  return found->second;
}

// The position `key`, which must be in [0, limit].
std::int64_t saved_position(const data::State& state, const char* key, std::int64_t limit) {
  const auto position = saved_tensor(state, key, 0).item<std::int64_t>();
  TORCH_CHECK(position >= 0 && position <= limit, "The saved state is damaged: '", key, "' is ", position, ", outside of [0, ", limit,
              "]\n[set_state] was it made for a dataset of this size?");
  return position;
}

data::State state_of_position(const char* key, std::size_t position) { return {{key, tensor(static_cast<std::int64_t>(position))}}; }

}  // namespace

void data::samplers::SequentialSampler::reset(std::optional<std::size_t> new_size) {
  if (new_size) size_ = *new_size;
  index_ = 0;
}

std::optional<std::vector<std::size_t>> data::samplers::SequentialSampler::next(std::size_t batch_size) {
  const std::size_t count = std::min(batch_size, size_ - index_);
  if (index_ == size_) return std::nullopt;
  std::vector<std::size_t> batch(count);
  for (std::size_t& index : batch) index = index_++;
  return batch;
}

data::State data::samplers::SequentialSampler::state() const { return state_of_position("index", index_); }

void data::samplers::SequentialSampler::set_state(const State& state) {
  index_ = static_cast<std::size_t>(saved_position(state, "index", static_cast<std::int64_t>(size_)));
}

data::samplers::RandomSampler::RandomSampler(std::int64_t size, ScalarType index_dtype) : indices_(randperm(size, index_dtype)) {}

void data::samplers::RandomSampler::reset(std::optional<std::size_t> new_size) {
  const std::int64_t size = new_size ? static_cast<std::int64_t>(*new_size) : indices_.numel();
  indices_ = randperm(size, indices_.options());
  index_ = 0;
}

// The next indices of the permutation: `batch_size` of them, or as many as are left; nothing when all have been given.
// O(batch_size).
std::optional<std::vector<std::size_t>> data::samplers::RandomSampler::next(std::size_t batch_size) {
  const std::int64_t left = indices_.numel() - index_;
  if (left == 0) return std::nullopt;
  const std::int64_t count = std::min(left, static_cast<std::int64_t>(batch_size));
  const Tensor piece = indices_.slice(0, index_, index_ + count).to(kLong);
  const std::int64_t* const first = piece.data_ptr<std::int64_t>();
  index_ += count;
  return std::vector<std::size_t>(first, first + count);
}

data::State data::samplers::RandomSampler::state() const {
  return {{"index", tensor(index_)}, {"indices", indices_}};
}

void data::samplers::RandomSampler::set_state(const State& state) {
  const Tensor indices = saved_tensor(state, "indices", 1).to(kLong).contiguous();
  const std::int64_t position = saved_position(state, "index", indices.numel());
  // Every index once: a damaged permutation would show some examples twice, or point outside of the dataset.
  std::vector<bool> seen(static_cast<std::size_t>(indices.numel()));
  for (std::int64_t i = 0; i < indices.numel(); ++i) {
    const std::int64_t index = indices.data<std::int64_t>()[i];
    TORCH_CHECK(index >= 0 && index < indices.numel() && !seen[static_cast<std::size_t>(index)],
                "The saved state is damaged: 'indices' is not a permutation of 0 ... ", indices.numel() - 1, "\n[set_state] entry ", i, " is ", index);
    seen[static_cast<std::size_t>(index)] = true;
  }
  indices_ = indices.to(indices_.scalar_type());
  index_ = position;
}

void data::samplers::StreamSampler::reset(std::optional<std::size_t> new_size) {
  if (new_size) epoch_size_ = *new_size;
  examples_retrieved_so_far_ = 0;
}

std::optional<data::samplers::BatchSize> data::samplers::StreamSampler::next(std::size_t batch_size) {
  if (examples_retrieved_so_far_ >= epoch_size_) return std::nullopt;
  const std::size_t count = std::min(batch_size, epoch_size_ - examples_retrieved_so_far_);
  examples_retrieved_so_far_ += count;
  return BatchSize(count);
}

data::State data::samplers::StreamSampler::state() const {
  return state_of_position("examples_retrieved_so_far", examples_retrieved_so_far_);
}

void data::samplers::StreamSampler::set_state(const State& state) {
  examples_retrieved_so_far_ =
      static_cast<std::size_t>(saved_position(state, "examples_retrieved_so_far", static_cast<std::int64_t>(epoch_size_)));
}

}  // namespace tinytorch
