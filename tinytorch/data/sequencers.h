// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "tinytorch/core/error.h"

namespace tinytorch {

namespace data::detail::sequencers {

// Decides in which order results are delivered. `next_result` gives the next one that is done, or nothing when none is in flight.
// Source: torch/data/detail/sequencers.h.
template <class Result>
class Sequencer {
 public:
  using ResultProducer = std::function<std::optional<Result>()>;
  virtual ~Sequencer() = default;
  virtual std::optional<Result> next(ResultProducer next_result) = 0;
};

// As they come.
template <class Result>
class NoSequencer final : public Sequencer<Result> {
 public:
  using typename Sequencer<Result>::ResultProducer;
  std::optional<Result> next(ResultProducer next_result) override { return next_result(); }
};

// By `sequence_number`: 0, 1, 2, ... REQUIRES: at most `max_jobs` results are in flight.
template <class Result>
class OrderedSequencer final : public Sequencer<Result> {
 public:
  using typename Sequencer<Result>::ResultProducer;
  explicit OrderedSequencer(std::size_t max_jobs) : buffer_(max_jobs) {}
  std::optional<Result> next(ResultProducer next_result) override;

 private:
  std::optional<Result>& place(std::size_t sequence_number) { return buffer_[sequence_number % buffer_.size()]; }

  std::size_t next_sequence_number_ = 0;
  std::vector<std::optional<Result>> buffer_;
};

}  // namespace data::detail::sequencers

// The result with number next_sequence_number_; nothing when no result is left. Results that come too early wait in the buffer.
template <class Result>
std::optional<Result> data::detail::sequencers::OrderedSequencer<Result>::next(ResultProducer next_result) {
  std::optional<Result> result = std::exchange(place(next_sequence_number_), std::nullopt);
  while (!result) {
    std::optional<Result> arrived = next_result();
    if (!arrived) return std::nullopt;
    if (arrived->sequence_number == next_sequence_number_) {
      result = std::move(arrived);
    } else {
      std::optional<Result>& waiting = place(arrived->sequence_number);
      TORCH_INTERNAL_ASSERT(!waiting, "two results for one place: more jobs in flight than the sequencer has places");
      waiting = std::move(arrived);
    }
  }
  ++next_sequence_number_;
  return result;
}

}  // namespace tinytorch
