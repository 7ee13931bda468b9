// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/stream.h"

#include <algorithm>

#include "tinytorch/data/saved_state.h"

namespace tinytorch {

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
  return detail::state_of_position("examples_retrieved_so_far", examples_retrieved_so_far_);
}

void data::samplers::StreamSampler::set_state(const State& state) {
  examples_retrieved_so_far_ =
      static_cast<std::size_t>(detail::saved_position(state, "examples_retrieved_so_far", static_cast<std::int64_t>(epoch_size_)));
}

}  // namespace tinytorch
