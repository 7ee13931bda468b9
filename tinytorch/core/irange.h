// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <iterator>
#include <type_traits>

namespace tinytorch {

// The integers of [begin, end), for a range-based for loop; empty when end <= begin.
template <class Integer>
class IntegerRange {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Integer;
    using difference_type = std::ptrdiff_t;
    using pointer = const Integer*;
    using reference = Integer;

    explicit iterator(Integer value) : value_(value) {}
    Integer operator*() const { return value_; }
    iterator& operator++() {
      ++value_;
      return *this;
    }
    iterator operator++(int) { return iterator(value_++); }
    bool operator==(const iterator&) const = default;

   private:
    Integer value_;
  };

  IntegerRange(Integer begin, Integer end) : begin_(begin), end_(end < begin ? begin : end) {}
  iterator begin() const { return iterator(begin_); }
  iterator end() const { return iterator(end_); }

 private:
  Integer begin_;
  Integer end_;
};

// irange(begin, end) counts from begin to end - 1 in the type of end, irange(end) from 0.
template <class Begin, class End>
requires std::is_integral_v<Begin> && std::is_integral_v<End> IntegerRange<End> irange(Begin begin, End end) {
  return {static_cast<End>(begin), end};
}

template <class End>
requires std::is_integral_v<End> IntegerRange<End> irange(End end) { return {End{0}, end}; }

}  // namespace tinytorch
