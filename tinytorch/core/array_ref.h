// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <vector>

#include "tinytorch/core/error.h"

namespace tinytorch {

// A view of `size()` consecutive elements that someone else owns: pointer and length. Like PyTorch's c10::ArrayRef it converts from one element, braces, std::vector and
// std::array, so that `sum(0)`, `sum({0, 1})` and `view(sizes)` all work. The elements must outlive it: use it for parameters, never to keep.
template <class T>
class ArrayRef {
 public:
  using value_type = T;
  constexpr ArrayRef() = default;
  constexpr ArrayRef(const T& one) : data_(&one), size_(1) {}
  constexpr ArrayRef(const T* data, std::size_t size) : data_(data), size_(size) {}
  constexpr ArrayRef(std::initializer_list<T> list) : size_(list.size()) {
    if (size_ > 0) data_ = list.begin();
  }
  ArrayRef(const std::vector<T>& values) : data_(values.data()), size_(values.size()) {}
  template <std::size_t N>
  constexpr ArrayRef(const std::array<T, N>& values) : data_(values.data()), size_(N) {}

  constexpr const T* begin() const { return data_; }
  constexpr const T* end() const { return data_ + size_; }
  constexpr const T* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr const T& operator[](std::size_t i) const { return data_[i]; }
  constexpr const T& front() const { return data_[0]; }
  constexpr const T& back() const { return data_[size_ - 1]; }
  std::vector<T> vec() const { return std::vector<T>(begin(), end()); }
  // Without the first `begin` elements, or `count` of these. REQUIRES: there are so many.
  constexpr ArrayRef slice(std::size_t begin) const { return slice(begin, size_ - begin); }
  constexpr ArrayRef slice(std::size_t begin, std::size_t count) const { return ArrayRef(data_ + begin, count); }
  bool equals(ArrayRef other) const { return *this == other; }

  friend bool operator==(ArrayRef a, ArrayRef b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)
      if (!(a.data_[i] == b.data_[i])) return false;
    return true;
  }
  // Prints as PyTorch does: [3, 4].
  friend std::ostream& operator<<(std::ostream& out, ArrayRef list) {
    out << '[';
    for (std::size_t i = 0; i < list.size_; ++i) out << (i == 0 ? "" : ", ") << list.data_[i];
    return out << ']';
  }

 private:
  const T* data_ = nullptr;
  std::size_t size_ = 0;
};

using IntArrayRef = ArrayRef<std::int64_t>;

// A growable list of sizes or strides that keeps up to five of them inside itself, so that making a tensor of up to five dimensions costs no extra allocation. Source:
// c10/core/impl/SizesAndStrides.h.
class DimVector {
 public:
  DimVector() = default;
  explicit DimVector(std::size_t count, std::int64_t value = 0) : inline_{{value, value, value, value, value}} {  // all five: cheaper than to count
    size_ = count < kInline ? count : kInline;
    if (count > kInline) resize(count, value);
  }
  DimVector(IntArrayRef values) { assign(values); }
  DimVector(std::initializer_list<std::int64_t> values) { assign(values); }
  DimVector(const DimVector& other) { copy(other); }
  DimVector(DimVector&& other) noexcept { take(other); }
  DimVector& operator=(const DimVector& other) {
    if (this != &other) copy(other);
    return *this;
  }
  DimVector& operator=(DimVector&& other) noexcept {
    if (this != &other) take(other);
    return *this;
  }
  ~DimVector() { release(); }

  std::int64_t* begin() { return data_; }
  std::int64_t* end() { return data_ + size_; }
  const std::int64_t* begin() const { return data_; }
  const std::int64_t* end() const { return data_ + size_; }
  std::int64_t* data() { return data_; }
  const std::int64_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t& operator[](std::size_t i) { return data_[i]; }
  std::int64_t operator[](std::size_t i) const { return data_[i]; }
  std::int64_t& back() { return data_[size_ - 1]; }
  operator IntArrayRef() const { return {data_, size_}; }

  void resize(std::size_t count, std::int64_t value = 0);
  void assign(IntArrayRef values) {  // which may be its own
    if (values.size() > capacity_) grow(values.size());
    size_ = values.size();
    for (std::size_t i = 0; i < size_; ++i) data_[i] = values[i];
  }
  void push_back(std::int64_t value) {
    if (size_ == capacity_) grow(size_ + 1);
    data_[size_++] = value;
  }
  void insert(std::size_t position, std::int64_t value);
  void erase(std::size_t position);

 private:
  void copy(const DimVector& other);
  void grow(std::size_t count);
  void take(DimVector& other) noexcept;
  void release() {
    if (data_ != inline_.values) delete[] data_;
  }

  static constexpr std::size_t kInline = 5;
  struct Inline {
    std::int64_t values[kInline];
  };
  std::int64_t* data_ = inline_.values;  // or an array of its own on the heap
  std::size_t size_ = 0;
  std::size_t capacity_ = kInline;
  Inline inline_{};
};

// Takes over the elements of `other`. The five inside are copied whether used or not: that is cheaper than to count.
inline void DimVector::copy(const DimVector& other) {
  if (data_ != inline_.values || other.data_ != other.inline_.values) return assign(other);
  inline_ = other.inline_;  // one assignment: a loop would become a call of memmove
  size_ = other.size_;
}

// Takes the elements of `other`, which is empty afterwards. The five inside are copied whether used or not: that is cheaper than to ask.
inline void DimVector::take(DimVector& other) noexcept {
  release();
  const bool on_heap = other.data_ != other.inline_.values;
  data_ = on_heap ? other.data_ : inline_.values;
  inline_ = other.inline_;
  size_ = other.size_;
  capacity_ = other.capacity_;
  other.data_ = other.inline_.values;
  other.size_ = 0;
  other.capacity_ = kInline;
}

// Makes the list `count` long; new elements are `value`.
inline void DimVector::resize(std::size_t count, std::int64_t value) {
  if (count > capacity_) grow(count);
  for (std::size_t i = size_; i < count; ++i) data_[i] = value;
  size_ = count;
}

inline void DimVector::insert(std::size_t position, std::int64_t value) {
  resize(size_ + 1);
  for (std::size_t i = size_ - 1; i > position; --i) data_[i] = data_[i - 1];
  data_[position] = value;
}

inline void DimVector::erase(std::size_t position) {
  for (std::size_t i = position; i + 1 < size_; ++i) data_[i] = data_[i + 1];
  --size_;
}

}  // namespace tinytorch
