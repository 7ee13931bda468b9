// From the lesson modules/50_copy_kernels/copy_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace kernels {

// Operands of one shape as rows: neighbouring dimensions that follow each other in memory for every operand are merged, and the last one that remains is the row. Unlike StridedLoop it finds any row, so threads can begin in the middle.
template <std::size_t N>
class Rows {
 public:
  using Places = std::array<std::int64_t, N>;

  // The strides are counted in elements, 0 where an operand is stretched. Without `merges` dimensions stay as they are.
  Rows(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides, bool merges = true);

  std::int64_t count() const { return count_; }    // of rows
  std::int64_t length() const { return sizes_[sizes_.size() - 1]; }  // of a row
  Places steps() const;                            // from one number of a row to the next
  std::int64_t numel() const { return count_ * length(); }
  const DimVector& sizes() const { return sizes_; }  // after merging; the row's length is the last one
  const DimVector& strides(std::size_t k) const { return strides_[k]; }

  // Calls f(places) for rows [first, stop), places[k] being where the row begins in operand k. O(stop - first), after O(dimensions) to find the first one.
  template <class F>
  void run(std::int64_t first, std::int64_t stop, F f) const;

 private:
  DimVector sizes_;
  std::array<DimVector, N> strides_;
  std::int64_t count_ = 1;
};

template <std::size_t N>
Rows<N>::Rows(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides, bool merges) {
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (merges && sizes[i] == 1) continue;
    bool follows = merges && !sizes_.empty();
    for (std::size_t k = 0; follows && k < N; ++k) follows = strides_[k].back() == strides[k][i] * sizes[i];
    if (!follows) sizes_.push_back(1);
    sizes_.back() *= sizes[i];
    for (std::size_t k = 0; k < N; ++k) {
      if (follows) strides_[k].back() = strides[k][i];
      else strides_[k].push_back(strides[k][i]);
    }
  }
  if (sizes_.empty()) {
    sizes_.push_back(1);
    for (DimVector& steps : strides_) steps.push_back(0);
  }
  for (std::size_t i = 0; i + 1 < sizes_.size(); ++i) count_ *= sizes_[i];
}

template <std::size_t N>
typename Rows<N>::Places Rows<N>::steps() const {
  Places steps{};
  for (std::size_t k = 0; k < N; ++k) steps[k] = strides_[k][sizes_.size() - 1];
  return steps;
}

template <std::size_t N>
template <class F>
void Rows<N>::run(std::int64_t first, std::int64_t stop, F f) const {
  const std::size_t outer = sizes_.size() - 1;
  DimVector index(outer);
  Places places{};
  for (std::size_t d = outer, rest = static_cast<std::size_t>(first); d-- > 0;) {
    index[d] = static_cast<std::int64_t>(rest) % sizes_[d];
    rest /= static_cast<std::size_t>(sizes_[d]);
    for (std::size_t k = 0; k < N; ++k) places[k] += index[d] * strides_[k][d];
  }
  for (std::int64_t row = first; row < stop; ++row) {
    f(places);
    for (std::size_t d = outer; d-- > 0;) {
      for (std::size_t k = 0; k < N; ++k) places[k] += strides_[k][d];
      if (++index[d] < sizes_[d]) break;
      for (std::size_t k = 0; k < N; ++k) places[k] -= strides_[k][d] * sizes_[d];
      index[d] = 0;
    }
  }
}

// Elements that are a task of their own, and so few that the reference takes them.
inline constexpr std::int64_t kElementwiseGrain = 1 << 15;
inline constexpr std::int64_t kFewElements = 128;

}  // namespace kernels

}  // namespace tinytorch
