// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/key_value_cache.h"

#include <algorithm>

namespace tinytorch {

// Adds T positions of keys and values (B, H, T, D); the class above says what is returned, and at what cost.
std::pair<Tensor, Tensor> models::KeyValueCache::append(const Tensor& keys, const Tensor& values) {
  const std::int64_t added = keys.size(2);
  const std::int64_t capacity = keys_.defined() ? keys_.size(2) : 0;
  if (length_ + added > capacity) {
    const std::int64_t room = std::max(length_ + added, 2 * length_);
    const auto grown = [&](const Tensor& old, const Tensor& like) {
      DimVector sizes(like.sizes());
      sizes[2] = room;
      const Tensor larger = empty(sizes, like.options());
      if (length_ > 0) larger.narrow(2, 0, length_).copy_(old.narrow(2, 0, length_));
      return larger;
    };
    keys_ = grown(keys_, keys);
    values_ = grown(values_, values);
  }
  keys_.narrow(2, length_, added).copy_(keys);
  values_.narrow(2, length_, added).copy_(values);
  length_ += added;
  return {keys_.narrow(2, 0, length_), values_.narrow(2, 0, length_)};
}

void models::KeyValueCache::reorder(const Tensor& rows) {
  if (!keys_.defined()) return;
  keys_ = keys_.index_select(0, rows);
  values_ = values_.index_select(0, rows);
}

std::size_t models::KeyValueCache::bytes() const { return keys_.defined() ? keys_.nbytes() + values_.nbytes() : 0; }

}  // namespace tinytorch
