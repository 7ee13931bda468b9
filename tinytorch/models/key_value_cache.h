// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace models {

// The keys and values of one attention layer for the tokens so far. Keeps no graph: for use while recording is off.
class KeyValueCache {
 public:
  // Adds the keys and values (B, H, T, D) of T new positions. Returns those of all positions, (B, H, length(), D): views that stay as they are when more is
  // appended. n calls with one position each make O(log n) allocations and copy O(n) elements in all; never more than twice the bytes that are in use are held.
  std::pair<Tensor, Tensor> append(const Tensor& keys, const Tensor& values);
  // How many positions it holds.
  std::int64_t length() const { return length_; }
  // Row i becomes what row rows[i] was; rows: Long (new B). For beam search, where one continuation goes on from another's past.
  void reorder(const Tensor& rows);
  // The bytes of its storages.
  std::size_t bytes() const;

 private:
  Tensor keys_, values_;  // (B, H, capacity, D); undefined before the first append
  std::int64_t length_ = 0;
};

}  // namespace models

}  // namespace tinytorch
