// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "tinytorch/core/small_memory.h"

namespace tinytorch {

// Base class of objects that count their owners themselves. Source: c10/util/intrusive_ptr.h.
class RefCounted : public memory::Pooled {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  virtual ~RefCounted() = default;
  std::uint32_t use_count() const { return count_.load(std::memory_order_acquire); }

 private:
  template <class T>
  friend class intrusive_ptr;
  std::atomic<std::uint32_t> count_{0};
};

// A shared owner of a RefCounted object: one pointer wide, because the count lives in the object. Copies are thread-safe as std::shared_ptr's are; one handle must not be
// changed by two threads at once.
template <class T>
class intrusive_ptr {
 public:
  intrusive_ptr() = default;
  explicit intrusive_ptr(T* object) : object_(object) { retain(); }
  intrusive_ptr(const intrusive_ptr& other) : object_(other.object_) { retain(); }
  intrusive_ptr(intrusive_ptr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  intrusive_ptr& operator=(const intrusive_ptr& other) {
    intrusive_ptr(other).swap(*this);
    return *this;
  }
  intrusive_ptr& operator=(intrusive_ptr&& other) noexcept {
    intrusive_ptr(std::move(other)).swap(*this);
    return *this;
  }
  ~intrusive_ptr() {
    if (object_ != nullptr) release();
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  void reset() { intrusive_ptr().swap(*this); }
  void swap(intrusive_ptr& other) noexcept { std::swap(object_, other.object_); }

 private:
  void retain();
  void release();
  T* object_ = nullptr;
};

// One owner more. The increment needs no ordering: whoever copies a handle already sees the object.
template <class T>
void intrusive_ptr<T>::retain() {
  if (object_ != nullptr) memory::add_shared(object_->count_, 1U, std::memory_order_relaxed);
}

// One owner less; the last one deletes. Acquire-release makes all writes of other owners visible to the destructor. Who finds a count of 1 is alone, and need not count down. REQUIRES: there is an object.
template <class T>
void intrusive_ptr<T>::release() {
  if (object_->use_count() == 1 || memory::add_shared(object_->count_, ~0U, std::memory_order_acq_rel) == 1) delete object_;
}

template <class T, class... Args>
intrusive_ptr<T> make_intrusive(Args&&... args) {
  return intrusive_ptr<T>(new T(std::forward<Args>(args)...));
}

}  // namespace tinytorch
