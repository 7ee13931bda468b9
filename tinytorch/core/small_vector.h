// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <cstddef>
#include <iterator>
#include <stdexcept>
#include <vector>

namespace tinytorch {

// A list that grows at its end, with room for N elements inside. T has a default value. Pointers to elements hold until it grows or is moved.
template <class T, std::size_t N>
class SmallVector {
 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T* begin() const { return more_.empty() ? few_.data() : more_.data(); }
  const T* end() const { return begin() + size_; }
  const T& operator[](std::size_t i) const { return begin()[i]; }
  const T& at(std::size_t i) const {
    if (i >= size_) throw std::out_of_range("SmallVector::at");
    return begin()[i];
  }
  // The place of a new element at the end, which has T's default value. O(1) amortised.
  T& add() {
    ++size_;
    if (size_ <= N) return few_[size_ - 1];
    if (more_.empty()) more_.assign(std::make_move_iterator(few_.begin()), std::make_move_iterator(few_.end()));
    return more_.emplace_back();
  }
  void clear() {
    few_ = {};
    more_.clear();
    size_ = 0;
  }

 private:
  std::array<T, N> few_{};
  std::vector<T> more_;  // all of them, once there are more than N
  std::size_t size_ = 0;
};

}  // namespace tinytorch
