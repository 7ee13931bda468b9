// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "tinytorch/core/error.h"

namespace tinytorch {

namespace data {

namespace detail {
// A running pass over batches: each one is made when somebody looks. If that throws, the next look asks for the next batch.
template <class Batch>
struct Pass {
  std::function<std::optional<Batch>()> next_batch;
  std::optional<Batch> batch;
  bool fetched = false;

  std::optional<Batch>& current() {
    if (!fetched) {
      batch = next_batch();
      fetched = true;
    }
    return batch;
  }
};
}  // namespace detail

// An input iterator over batches. Copies share one pass; without a pass it is the end. Source: torch/data/iterator.h.
template <class Batch>
class Iterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = Batch;
  using pointer = Batch*;
  using reference = Batch&;
  using iterator_category = std::input_iterator_tag;

  Iterator() = default;
  explicit Iterator(std::shared_ptr<detail::Pass<Batch>> pass) : pass_(std::move(pass)) {}

  Iterator& operator++() {
    TORCH_CHECK(pass_ != nullptr, "Incrementing the DataLoader's past-the-end iterator is not allowed");
    TORCH_CHECK(pass_->current().has_value(), "Attempted to increment iterator past the end");
    pass_->batch.reset();  // its memory is free before the next batch is waited for
    pass_->fetched = false;
    pass_->current();
    return *this;
  }
  Batch& operator*() const {
    TORCH_CHECK(pass_ != nullptr, "Dereferencing the DataLoader's past-the-end iterator is not allowed");
    TORCH_CHECK(pass_->current().has_value(), "Attempted to dereference iterator that was past the end");
    return *pass_->current();
  }
  Batch* operator->() const { return &**this; }
  bool operator==(const Iterator& other) const { return pass_ == other.pass_ || (at_end() && other.at_end()); }

 private:
  bool at_end() const { return !pass_ || !pass_->current(); }
  std::shared_ptr<detail::Pass<Batch>> pass_;
};

}  // namespace data

}  // namespace tinytorch
