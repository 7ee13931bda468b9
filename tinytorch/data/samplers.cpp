// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/samplers.h"

#include <algorithm>

#include "tinytorch/core/random.h"

namespace tinytorch {

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

}  // namespace tinytorch
