// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

namespace tinytorch {

// A list that is one pointer wide, and has memory only once it has had an element: for what few objects of many have, their hooks for instance. Movable.
template <class T>
class LazyVector {
 public:
  LazyVector() = default;
  LazyVector(LazyVector&& other) noexcept : list_(std::exchange(other.list_, nullptr)) {}
  LazyVector& operator=(LazyVector&& other) noexcept {
    std::swap(list_, other.list_);
    return *this;
  }
  ~LazyVector() { delete list_; }

  std::size_t size() const { return list_ ? list_->size() : 0; }
  bool empty() const { return size() == 0; }
  const T* begin() const { return list_ ? list_->data() : nullptr; }
  const T* end() const { return begin() + size(); }
  const T& operator[](std::size_t i) const { return (*list_)[i]; }
  template <class... Args>
  T& emplace_back(Args&&... args) {
    return list().emplace_back(std::forward<Args>(args)...);
  }
  void push_back(T value) { emplace_back(std::move(value)); }
  // The list itself, for what has no short form here.
  std::vector<T>& list() {
    if (list_ == nullptr) list_ = new std::vector<T>();
    return *list_;
  }
  void clear() { delete std::exchange(list_, nullptr); }

 private:
  std::vector<T>* list_ = nullptr;
};

// A list that grows at its end, with room for N elements inside. T has a default value. Pointers to elements hold until it grows or is moved.
template <class T, std::size_t N>
class SmallVector {
 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T* begin() const { return size_ <= N ? few_.data() : more_.begin(); }
  const T* end() const { return begin() + size_; }
  const T& operator[](std::size_t i) const { return begin()[i]; }
  const T& at(std::size_t i) const {
    if (i >= size_) throw std::out_of_range("SmallVector::at");
    return begin()[i];
  }
  // The place of a new element at the end, which has T's default value. O(1) amortised.
  T& add() { return size_ < N ? few_[size_++] : add_beyond(); }
  void clear() {
    few_ = {};
    more_.clear();
    size_ = 0;
  }

 private:
  // An element that has no room inside. Not inlined: the usual path would save registers for it.
  [[gnu::noinline]] T& add_beyond() {
    if (more_.empty())
      for (T& element : few_) more_.push_back(std::move(element));
    T& added = more_.emplace_back();
    ++size_;
    return added;
  }

  std::array<T, N> few_{};
  LazyVector<T> more_;  // all of them, once there are more than N
  std::size_t size_ = 0;
};

}  // namespace tinytorch
